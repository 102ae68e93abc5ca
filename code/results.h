/* Tangled from chapters/56-results.md; edit there. */
#ifndef RESULTS_H
#define RESULTS_H

/* results_main: the command `distil results`; argv[0] is "results". Computes every
   score of a run from its predictions and writes RUN/summary.json, verdicts.json,
   values.json, tables/ and figures/. */
int results_main(int argc, char **argv);

#endif
