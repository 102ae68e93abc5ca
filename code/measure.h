/* Tangled from chapters/50-measures.md; edit there. */
#ifndef MEASURE_H
#define MEASURE_H

#include "task.h"

#include <jansson.h>
#include <stdbool.h>

/* Say what a measure is */
enum { RESAMPLES = 2000 };

/* A number and what it is in each bootstrap resample. NAN marks a value that is not
   defined, such as a ratio to nothing; it never leaves this file: measure_estimate
   turns it into `known`. */
struct measure {
    double value;
    double draws[RESAMPLES];
};

/* Say how scores become measures */
/* measure_median: the middle one of n > 0 values; of an even number, the mean of the
   middle two. measure_touched: whether it is, or is made of, one of those that are
   flagged. */
double measure_median(const double *values, int n);
bool measure_touched(const double *values, const bool *flags, int n);

/* What a model answered to a task, once for each of its fine-tunings. */
struct tries {
    const double *labels;        /* [rows] */
    double *const *predictions;  /* [seeds][rows] */
    const int *origin;           /* [seeds] the distillation that each began with, from
                                    0; NULL: all began alike */
    int rows, seeds;
};

/* measure_scores: the median over seeds of the task's score, by one of its metrics, in
   percent. All models of one task draw the same rows; those with as many distillations
   draw the same seeds, and the same distillations in all tasks. The caller frees it. */
struct measure *measure_scores(const struct task *task, enum metric metric,
                               const struct tries *tries);

/* measure_constant: in percent, the score on n > 0 rows of the constant answer that
   scores best. */
double measure_constant(const struct task *task, const double *labels, int n);

/* Say what arithmetic measures allow */
/* measure_ratio: 100 * part / whole; not defined where whole is not above zero. */
struct measure *measure_ratio(const struct measure *part, const struct measure *whole);

/* measure_mean: the mean of n > 0 measures; not defined where one of them is not. */
struct measure *measure_mean(struct measure *const *list, int n);

/* measure_difference: a - b. All three return a new measure for the caller to free. */
struct measure *measure_difference(const struct measure *a, const struct measure *b);

/* Say what can be claimed of a measure */
/* A measure as it is reported. known: value holds; bounded: low and high hold, the ends
   of the interval that 95 % of the resamples fall into. */
struct estimate {
    bool known, bounded;
    double value, low, high;
};

/* measure_estimate: the value and its 95 % percentile interval. measure: NULL gives not
   known. measure_among: with the interval of one of so many measures, count > 0, of
   which all shall lie in theirs in 95 % of the cases (Bonferroni). */
struct estimate measure_estimate(const struct measure *measure);
struct estimate measure_among(const struct measure *measure, int count);

/* estimate_against: "below", "above" or "not distinguishable from" (the claim lies
   within the interval); "not comparable with" without an interval. */
const char *estimate_against(const struct estimate *estimate, double claim);

/* estimate_json: {KEY, "low", "high"} as in summary.json, null for what is not known;
   estimate_read: the estimate of such an object, NULL giving one that is not known. */
json_t *estimate_json(const struct estimate *estimate, const char *key);
struct estimate estimate_read(const json_t *object, const char *key);

/* Repeated fine-tunings of one model. The one after the last has a NULL task. */
extern const struct noise {
    const char *task;
    double mean, deviation;
} noise[];

/* measure_tolerance: t of a published retention; share: v_n / K (formula: section "The
   doubt of others"). */
double measure_tolerance(double retention, double share);

#endif
