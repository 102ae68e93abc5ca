/* Tangled from chapters/56-tables.md; edit there. */
#ifndef TABLES_H
#define TABLES_H

#include "run.h"

/* tables_write: writes FOLDER/tables/NAME.tsv, what the report shows, and
   FOLDER/figures/NAME.tsv, what its figures plot. values: the values of the run, as set
   by results_compute. */
void tables_write(const struct run *run, const json_t *values, const char *folder);

/* how many bytes of a value have room in the table of settings */
enum { SHORT_SETTING = 24 };

#endif
