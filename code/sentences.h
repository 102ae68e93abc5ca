/* Tangled from chapters/56-sentences.md; edit there. */
#ifndef SENTENCES_H
#define SENTENCES_H

#include "verdicts.h"

/* sentences_make: all values of a run, {KEY: text}; the caller frees them. settings:
   what its stages used, {"SECTION.KEY": value}; given: as in results.json, "From a run
   to its report". */
json_t *sentences_make(const struct findings *findings, const struct verdicts *verdicts,
                       const json_t *settings, const json_t *given);

/* sentences_cuts: what the stages left out, each sentence once, for the caller to
   free. */
json_t *sentences_cuts(const struct run *run);

/* What is said (values.h), for any outcome: what a student keeps, "keeps 95.2 % of its
   teacher's score …"; what the mean score changes by, "loses 1.3 points". */
const char *retention_said(const struct findings *findings, const char *model);
const char *change_said(const struct estimate *change);

#endif
