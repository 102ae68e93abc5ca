/* Tangled from chapters/53-results-program.md; edit there. */
#ifndef RESULTS_H
#define RESULTS_H

#include "findings.h"
#include "verdicts.h"

/* All that is computed of a run. given: what else it is computed from, as results.json
   has it; settings: what its stages used, {"SECTION.KEY": value}, which summary owns;
   told: its benchmark and that of a committed run on a GPU, {"bench", "gpu"}. */
struct results {
    const json_t *given;
    struct run *run;
    struct findings *findings;
    struct verdicts *verdicts;
    json_t *settings, *told, *summary, *values;
};

/* results_compute: from the predictions of the run in a folder, as far as it has come;
   fails if there are none. The arguments stay the caller's. results_free also forgets
   what was kept (said.h). results_write: writes all of it into a folder. */
struct results results_compute(const char *folder, const struct plan *plan,
                               const json_t *given);
void results_free(struct results *results);
void results_write(const struct results *results, const char *folder);
int results_main(int argc, char **argv);

/* A tab-separated file: what a function writes, or templates of rows. */
struct table {
    const char *name, *rows[7]; /* the one after the last of a list has no name */
    const char *families;       /* where in `told` those lie that %f stands for */
    void (*write)(const struct results *results, FILE *stream);
};
extern const struct table plots[];

#endif
