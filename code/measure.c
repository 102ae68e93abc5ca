/* Tangled from chapters/55-measures.md; edit there. */
#include "measure.h"
#include "fail.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BOOTSTRAP_SEED = 2019 }; /* fixed: the same run gives the same intervals */

/* Find the middle of some values */
static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double measure_median(const double *values, int n)
{
    double *sorted = allocate((size_t)n, sizeof *sorted);
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_values);
    double middle = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    free(sorted);
    return middle;
}

/* Score one resample of rows and seeds */
struct scoring {
    enum metric metric;
    const double *labels;
    double *const *predictions;
    int rows, seeds;
    uint64_t rows_place, seeds_place;
};

/* rows, labels, predictions: [s->rows]; scores: [s->seeds]; all of them scratch. */
static double score_resample(const struct scoring *s, int resample, int *rows,
                             double *labels, double *predictions, double *scores)
{
    uint64_t rows_key = random_key(BOOTSTRAP_SEED, (uint64_t)resample, s->rows_place);
    uint64_t seeds_key = random_key(BOOTSTRAP_SEED, (uint64_t)resample, s->seeds_place);
    for (int row = 0; row < s->rows; row++) {
        rows[row] = (int)random_below(rows_key, (uint64_t)row, (uint64_t)s->rows);
        labels[row] = s->labels[rows[row]];
    }
    for (int seed = 0; seed < s->seeds; seed++) {
        uint64_t drawn = random_below(seeds_key, (uint64_t)seed, (uint64_t)s->seeds);
        for (int row = 0; row < s->rows; row++)
            predictions[row] = s->predictions[drawn][rows[row]];
        scores[seed] = metric_score(s->metric, labels, predictions, s->rows);
    }
    return measure_median(scores, s->seeds);
}

/* Measure a model's score on a task */
struct measure *measure_scores(const struct task *task, enum metric metric,
                               const double *labels, double *const *predictions,
                               int rows, int seeds, int place)
{
    uint64_t base = 1000 * (uint64_t)(task - task_list);
    struct scoring s = {
        metric, labels, predictions, rows, seeds, base, base + 1 + (uint64_t)place};
    struct measure *measure = allocate(1, sizeof *measure);
    double *scores = allocate((size_t)seeds, sizeof *scores);
    for (int seed = 0; seed < seeds; seed++)
        scores[seed] = metric_score(metric, labels, predictions[seed], rows);
    measure->value = measure_median(scores, seeds);
    free(scores);
#pragma omp parallel
    {
        int *drawn = allocate((size_t)rows, sizeof *drawn);
        double *columns = allocate(2 * (size_t)rows, sizeof *columns);
        double *scores = allocate((size_t)seeds, sizeof *scores);
#pragma omp for
        for (int r = 0; r < RESAMPLES; r++)
            measure->draws[r] =
                score_resample(&s, r, drawn, columns, columns + rows, scores);
        free(drawn);
        free(columns);
        free(scores);
    }
    return measure;
}

/* Combine measures life by life */
static double ratio(double part, double whole)
{
    return whole > 0 ? 100 * (part / whole) : NAN;
}

struct measure *measure_ratio(const struct measure *part, const struct measure *whole)
{
    struct measure *result = allocate(1, sizeof *result);
    result->value = ratio(part->value, whole->value);
    for (int r = 0; r < RESAMPLES; r++)
        result->draws[r] = ratio(part->draws[r], whole->draws[r]);
    return result;
}

struct measure *measure_mean(struct measure *const *list, int n)
{
    struct measure *result = allocate(1, sizeof *result);
    for (int i = 0; i < n; i++) {
        result->value += list[i]->value / n;
        for (int r = 0; r < RESAMPLES; r++)
            result->draws[r] += list[i]->draws[r] / n;
    }
    return result;
}

struct measure *measure_difference(const struct measure *a, const struct measure *b)
{
    struct measure *result = allocate(1, sizeof *result);
    result->value = a->value - b->value;
    for (int r = 0; r < RESAMPLES; r++)
        result->draws[r] = a->draws[r] - b->draws[r];
    return result;
}

/* Read an interval off the draws */
struct estimate measure_estimate(const struct measure *measure)
{
    struct estimate estimate = {0};
    if (!measure || isnan(measure->value))
        return estimate;
    estimate.known = true;
    estimate.value = measure->value;
    double *sorted = allocate(RESAMPLES, sizeof *sorted);
    int defined = 0;
    for (int r = 0; r < RESAMPLES; r++)
        if (!isnan(measure->draws[r]))
            sorted[defined++] = measure->draws[r];
    if (defined >= 0.95 * RESAMPLES) {
        qsort(sorted, (size_t)defined, sizeof *sorted, compare_values);
        estimate.bounded = true;
        estimate.low = sorted[(int)floor(0.025 * (defined - 1))];
        estimate.high = sorted[(int)ceil(0.975 * (defined - 1))];
    }
    free(sorted);
    return estimate;
}

/* Hold a measure against a claim */
const char *estimate_against(const struct estimate *estimate, double claim)
{
    if (!estimate->bounded)
        return "not comparable with";
    if (estimate->high < claim)
        return "below";
    if (estimate->low > claim)
        return "above";
    return "not distinguishable from";
}
