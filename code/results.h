/* Tangled from chapters/53-results-program.md; edit there. */
#ifndef RESULTS_H
#define RESULTS_H

#include "findings.h"
#include "verdicts.h"

/* Hold what is computed of a run */
/* All that is computed of a run. given: what else it is computed from, as results.json
   has it (chapter "From a run to its report"); settings: what its stages used,
   {"SECTION.KEY": value}; told: its benchmark and that of a committed run on a GPU,
   {"bench", "gpu"}. */
struct results {
    const json_t *given;
    struct run *run;
    struct findings *findings;
    struct verdicts *verdicts;
    json_t *settings, *told, *summary, *values;
};

/* results_compute: computes it from the predictions of the run in a folder, as far as
   the run has come. folder, plan and given stay the caller's. Fails, naming the file,
   if there are no predictions or one is malformed. The caller frees it with
   results_free, which also forgets what was kept (run.h). */
struct results results_compute(const char *folder, const struct plan *plan,
                               const json_t *given);
void results_free(struct results *results);

/* results_write: writes summary.json, verdicts.json, values.json, tables/ and figures/
   into a folder. */
void results_write(const struct results *results, const char *folder);

/* results_main: the command `distil results`; argv[0] is "results". Writes them into
   the folder of the run, with run.settings and results.json. */
int results_main(int argc, char **argv);

/* A tab-separated file: a head and templates of rows (section "Tables"), or what a
   function writes. Of both lists the one after the last has no name. */
struct table {
    const char *name; /* tables/NAME.tsv, figures/NAME.tsv */
    void (*write)(const struct results *results, FILE *stream);
    const char *head, *rows[5], *families; /* families: where they lie in `told` */
};
extern const struct table tables[], plots[];

/* table_write: writes one. write_row: writes a line of cells, the texts behind the
   stream. */
void table_write(const struct table *table, const struct results *r, FILE *stream);
void write_cells(FILE *stream, const char *const *cells);
#define write_row(stream, ...) \
    write_cells(stream, (const char *const[]){__VA_ARGS__, NULL})

#endif
