/* Tangled from chapters/55-values.md; edit there. */
#ifndef VALUES_H
#define VALUES_H

#include "measure.h"

#include <jansson.h>

/* significant_text: a number with three significant digits, without an exponent.
   duration_text: seconds in the two units that fit, "3 min 07 s". count_text: a number
   as it is written, and what it counts: "no epochs", "1 epoch", "0.5 epochs".
   list_text: appends a word to a list, "CoLA, MRPC and IMDb" for the last of three. All
   of them return new strings for the caller to free. */
char *significant_text(double number);
char *duration_text(double seconds);
char *count_text(const char *number, const char *what);
char *list_text(const char *list, const char *word, bool last);

/* State how rates and families are written */
/* rate_text: FLOP/s with a unit that fits, "24.1 TFLOP/s", for the caller to free. */
char *rate_text(double rate);

/* family_title: what the book calls a family of kernels: "matrix products" for
   "gemm". */
const char *family_title(const char *name);

/* stretch: how many times as long as counted a family took in a step of a benchmark. */
double stretch(const json_t *step, const char *name);

/* stretched_minutes: the estimate for one family of bench, stretched by what its own
   steps measured. */
double stretched_minutes(const json_t *bench, const char *name);

/* value_set: sets values[key] to text; key: as for printf. value_take frees the text as
   well. */
void value_set(json_t *values, const char *text, const char *key, ...)
    __attribute__((format(printf, 3, 4)));
void value_take(json_t *values, char *text, const char *key, ...)
    __attribute__((format(printf, 3, 4)));

/* value_get: the text of a key, or "–". Owned by values. */
const char *value_get(const json_t *values, const char *key, ...)
    __attribute__((format(printf, 2, 3)));

/* value_estimate: sets KEY, KEY.low and KEY.high to the estimate with one decimal, "–"
   where it has none, and KEY.interval to "91.0 to 99.1". */
void value_estimate(json_t *values, const struct estimate *estimate, const char *key);

#endif
