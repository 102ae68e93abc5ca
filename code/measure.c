/* Tangled from chapters/50-measures.md; edit there. */
#include "measure.h"
#include "fail.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BOOTSTRAP_SEED = 2019,    /* fixed: the same run gives the same intervals */
    ORIGINS_PLACE = 1000000   /* behind those of all tasks */
};

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

bool measure_touched(const double *values, const bool *flags, int n)
{
    bool touched = false;
    for (int i = 0; i < n; i++) {
        int below = 0, above = 0;
        for (int j = 0; j < n; j++) {
            below += values[j] < values[i];
            above += values[j] > values[i];
        }
        touched |= flags[i] && 2 * below <= n && 2 * above <= n;
    }
    return touched;
}

/* Draw the fine-tunings of one life */
struct scoring {
    enum metric metric;
    const struct tries *tries;
    uint64_t place;        /* of the task: of its rows; behind it, of its seeds */
    int families, *family; /* [seeds] that of each fine-tuning, from 0 */
};

/* Numbers the distillations of which there are fine-tunings. */
static void number_families(struct scoring *s)
{
    const int *origin = s->tries->origin;
    s->family = allocate((size_t)s->tries->seeds, sizeof *s->family);
    s->families = origin ? 0 : 1;
    for (int i = 0; origin && i < s->tries->seeds; i++) {
        int before = 0;
        while (origin[before] != origin[i])
            before++;
        s->family[i] = before < i ? s->family[before] : s->families++;
    }
}

/* The seeds that one life has; at most families * seeds of them. Returns how many. */
static int draw_seeds(const struct scoring *s, uint64_t life, int *drawn)
{
    uint64_t many = (uint64_t)s->families,
             origins = random_key(BOOTSTRAP_SEED, life, ORIGINS_PLACE + many),
             seeds = random_key(BOOTSTRAP_SEED, life, s->place + many);
    int count = 0, members[s->tries->seeds];
    for (int i = 0; i < s->families; i++) {
        int family = (int)random_below(origins, (uint64_t)i, many), size = 0;
        for (int seed = 0; seed < s->tries->seeds; seed++)
            if (s->family[seed] == family)
                members[size++] = seed;
        for (int j = 0; j < size; j++, count++)
            drawn[count] =
                members[random_below(seeds, (uint64_t)count, (uint64_t)size)];
    }
    return count;
}

/* Score one resample of rows and seeds */
static double score_resample(const struct scoring *s, uint64_t life)
{
    const struct tries *tries = s->tries;
    size_t rows = (size_t)tries->rows, seeds = (size_t)(s->families * tries->seeds);
    uint64_t key = random_key(BOOTSTRAP_SEED, life, s->place);
    uint64_t *bits = allocate(rows, sizeof *bits);
    int *row = allocate(rows, sizeof *row), *seed = allocate(seeds, sizeof *seed);
    double *labels = allocate(rows, sizeof *labels),
           *predictions = allocate(rows, sizeof *predictions),
           *scores = allocate(seeds, sizeof *scores);
    /* Draw the rows of one life */
    #pragma omp simd
    for (size_t i = 0; i < rows; i++)
        bits[i] = random_bits(key, i);
    for (size_t i = 0; i < rows; i++) {
        row[i] = (int)(bits[i] % rows); /* as random_below has it */
        labels[i] = tries->labels[row[i]];
    }
    int drawn = draw_seeds(s, life, seed);
    /* Score each fine-tuning on the drawn rows */
    for (int k = 0; k < drawn; k++) {
        for (size_t i = 0; i < rows; i++)
            predictions[i] = tries->predictions[seed[k]][row[i]];
        scores[k] = metric_score(s->metric, labels, predictions, tries->rows);
    }
    double median = measure_median(scores, drawn);
    free(bits);
    free(row);
    free(seed);
    free(labels);
    free(predictions);
    free(scores);
    return median;
}

/* Measure a model's score on a task */
struct measure *measure_scores(const struct task *task, enum metric metric,
                               const struct tries *tries)
{
    struct scoring s = {.metric = metric, .tries = tries,
                        .place = 1000 * (uint64_t)(task - task_list)};
    struct measure *measure = allocate(1, sizeof *measure);
    double *scores = allocate((size_t)tries->seeds, sizeof *scores);
    for (int seed = 0; seed < tries->seeds; seed++)
        scores[seed] = metric_score(metric, tries->labels, tries->predictions[seed],
                                    tries->rows);
    measure->value = measure_median(scores, tries->seeds);
    number_families(&s);
#pragma omp parallel for
    for (int life = 0; life < RESAMPLES; life++)
        measure->draws[life] = score_resample(&s, (uint64_t)life);
    free(s.family);
    free(scores);
    return measure;
}

/* Score what learned nothing */
double measure_constant(const struct task *task, const double *labels, int n)
{
    double *constant = allocate((size_t)n, sizeof *constant),
           best = task->answer == A_CLASS ? -INFINITY : 0;
    for (int class = 0; class < task->classes; class ++) {
        for (int row = 0; row < n; row++)
            constant[row] = class;
        best = fmax(best, metric_score(task->metric, labels, constant, n));
    }
    free(constant);
    return best;
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
struct estimate measure_among(const struct measure *measure, int count)
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
    /* Leave out both ends of the values */
    if (defined >= 0.95 * RESAMPLES) {
        qsort(sorted, (size_t)defined, sizeof *sorted, compare_values);
        estimate.bounded = true;
        int outside = (int)floor(0.025 / count * (defined - 1));
        estimate.low = sorted[outside];
        estimate.high = sorted[defined - 1 - outside];
    }
    free(sorted);
    return estimate;
}

struct estimate measure_estimate(const struct measure *measure)
{
    return measure_among(measure, 1);
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

/* Write an estimate as JSON */
json_t *estimate_json(const struct estimate *e, const char *key)
{
    return json_pack("{s:o, s:o, s:o}", key,
                     e->known ? json_real(e->value) : json_null(), "low",
                     e->bounded ? json_real(e->low) : json_null(), "high",
                     e->bounded ? json_real(e->high) : json_null());
}

struct estimate estimate_read(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key),
                 *low = json_object_get(object, "low"),
                 *high = json_object_get(object, "high");
    return (struct estimate){json_is_number(value),
                             json_is_number(low) && json_is_number(high),
                             json_number_value(value), json_number_value(low),
                             json_number_value(high)};
}

/* Allow for the noise of a published figure */
const struct noise noise[] = {{"cola", 59.04, 1.06}, {"mrpc", 88.97, 0.72},
                              {"rte", 64.76, 1.04},  {"sst2", 92.23, 0.57},
                              {"stsb", 88.94, 0.07}, {.task = NULL}};

double measure_tolerance(double retention, double share)
{
    double squares = 0, count = 0;
    for (const struct noise *n = noise; n->task; n++, count++)
        squares += n->deviation / n->mean * (n->deviation / n->mean);
    return 1.96 * fabs(retention) * sqrt(2 * squares / count * share);
}
