/* Tangled from chapters/56-results.md; edit there. */
#ifndef RESULTS_H
#define RESULTS_H

/* A published percentage that the measured retention is held against. */
struct claim {
    const char *name; /* "paper": the value's text is verdict.retention.paper */
    double value;
};
extern const struct claim claims[]; /* the one after the last has a NULL name */

/* results_main: the command `distil results`; argv[0] is "results". Computes every
   score of a run from its predictions and writes RUN/summary.json, values.json, tables/
   and figures/. */
int results_main(int argc, char **argv);

#endif
