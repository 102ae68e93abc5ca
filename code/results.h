/* Tangled from chapters/53-results-program.md; edit there. */
#ifndef RESULTS_H
#define RESULTS_H

#include "findings.h"
#include "verdicts.h"

/* Hold what is computed of a run */
/* All that is computed of a run. given: what else it is computed from, as results.json
   has it (chapter "From a run to its report"); settings: what its stages used,
   {"SECTION.KEY": value}. */
struct results {
    const json_t *given;
    struct run *run;
    struct findings *findings;
    struct verdicts *verdicts;
    json_t *settings, *summary, *values;
};

/* State how results are computed and written */
/* results_compute: computes it from the predictions of the run in a folder, as far as
   the run has come. folder, plan and given stay the caller's. Fails, naming the file,
   if there are no predictions or one is malformed. The caller frees it with
   results_free, which also forgets what was kept (run.h). */
struct results results_compute(const char *folder, const struct plan *plan,
                               const json_t *given);
void results_free(struct results *results);

/* results_write: writes summary.json, verdicts.json, values.json, tables/ and figures/
   into a folder; tables_write only the last two, FOLDER/tables/NAME.tsv, what the
   report shows, and FOLDER/figures/NAME.tsv, what its figures plot. */
void results_write(const struct results *results, const char *folder);
void tables_write(const struct results *results, const char *folder);

/* results_main: the command `distil results`; argv[0] is "results". Writes them into
   the folder of the run, with run.settings and results.json. */
int results_main(int argc, char **argv);

#endif
