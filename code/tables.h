/* Tangled from chapters/56-tables.md; edit there. */
#ifndef TABLES_H
#define TABLES_H

#include "findings.h"
#include "verdicts.h"

/* tables_write: writes FOLDER/tables/NAME.tsv, what the report shows, and
   FOLDER/figures/NAME.tsv, what its figures plot. settings: what the stages used,
   {"SECTION.KEY": value}; values: as values_make gives them. */
void tables_write(const struct findings *findings, const struct verdicts *verdicts,
                  const json_t *settings, const json_t *values, const char *folder);

#endif
