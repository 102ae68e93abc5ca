/* Tangled from chapters/54-sentences.md; edit there. */
#ifndef VALUES_H
#define VALUES_H

#include "results.h"
#include "said.h"

/* values_make: all values of a run, {KEY: text}; the caller frees them. value_get: one
   of them, or "–"; owned by values. */
json_t *values_make(const struct results *results);
const char *value_get(const json_t *values, const char *key);

/* value_put: values[key] = text, unless that is NULL or empty. value_set: with a format
   and its arguments for the key. value_flag: "yes", or nothing. */
void value_put(json_t *values, const char *key, const char *text);
#define value_set(values, text, ...) value_put(values, say(__VA_ARGS__), text)
#define value_flag(values, flag, ...) \
    value_set(values, (flag) ? "yes" : NULL, __VA_ARGS__)

/* finding_said: the value with the decimals of its quantity; "not defined" for a
   retention that has none; NULL for all else that is not known. finding_measured: "92.7
   (87.1 to 96.1)", "43.5" for what is exact, "92.7 (no interval)", or "–".
   retention_said: "keeps 95.2 % of its teacher's score …". */
const char *finding_said(const struct finding *finding);
const char *finding_measured(const struct finding *finding);
const char *retention_said(const struct findings *findings, const char *model);

/* title_short: a student's title without the word. changes_said: of count > 0 changes
   of the mean score: "worse than the student is “no cosine” (−1.3); …". */
const char *title_short(const struct planned_model *model);
const char *changes_said(const struct finding *const *changes, int count);

enum { SHORT_SETTING = 24 }; /* bytes that a table has room for */

#endif
