/* Tangled from chapters/55-measures.md; edit there. */
#include "measure.h"
#include "fail.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BOOTSTRAP_SEED = 2019,    /* fixed: the same run gives the same intervals */
    ORIGINS_PLACE = 1000000   /* behind the places of all tasks */
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

/* Draw the fine-tunings of one life */
struct scoring {
    enum metric metric;
    const struct tries *tries;
    uint64_t rows_place, seeds_place, origins_place;
    int families, *sizes, **members; /* [families] seeds by the distillation they had */
};

/* The seeds that one life has; at most families * seeds of them. Returns how many. */
static int draw_seeds(const struct scoring *s, uint64_t life, int *drawn)
{
    uint64_t origins = random_key(BOOTSTRAP_SEED, life, s->origins_place),
             seeds = random_key(BOOTSTRAP_SEED, life, s->seeds_place);
    int count = 0;
    for (int i = 0; i < s->families; i++) {
        uint64_t family = random_below(origins, (uint64_t)i, (uint64_t)s->families);
        for (int j = 0; j < s->sizes[family]; j++, count++)
            drawn[count] = s->members[family][random_below(
                seeds, (uint64_t)count, (uint64_t)s->sizes[family])];
    }
    return count;
}

/* Sort the fine-tunings into families */
static void sort_families(struct scoring *s)
{
    int seeds = s->tries->seeds, most = 0;
    for (int i = 0; s->tries->origin && i < seeds; i++)
        most = s->tries->origin[i] > most ? s->tries->origin[i] : most;
    s->sizes = allocate((size_t)most + 1, sizeof *s->sizes);
    s->members = allocate((size_t)most + 1, sizeof *s->members);
    for (int origin = 0; origin <= most; origin++) {
        int *members = allocate((size_t)seeds, sizeof *members), size = 0;
        for (int i = 0; i < seeds; i++)
            if ((s->tries->origin ? s->tries->origin[i] : 0) == origin)
                members[size++] = i;
        s->members[s->families] = members;
        s->sizes[s->families] = size;
        if (size > 0) /* a seed may be missing yet, and its family with it */
            s->families++;
        else
            free(members);
    }
}

/* Score one resample of rows and seeds */
/* What one thread works with. */
struct scratch {
    int *rows, *seeds;
    double *labels, *predictions, *scores;
};

static double score_resample(const struct scoring *s, int life,
                             const struct scratch *scratch)
{
    const struct tries *tries = s->tries;
    uint64_t key = random_key(BOOTSTRAP_SEED, (uint64_t)life, s->rows_place);
    for (int row = 0; row < tries->rows; row++) {
        int drawn = (int)random_below(key, (uint64_t)row, (uint64_t)tries->rows);
        scratch->rows[row] = drawn;
        scratch->labels[row] = tries->labels[drawn];
    }
    int seeds = draw_seeds(s, (uint64_t)life, scratch->seeds);
    for (int i = 0; i < seeds; i++) {
        const double *predictions = tries->predictions[scratch->seeds[i]];
        for (int row = 0; row < tries->rows; row++)
            scratch->predictions[row] = predictions[scratch->rows[row]];
        scratch->scores[i] = metric_score(s->metric, scratch->labels,
                                          scratch->predictions, tries->rows);
    }
    return measure_median(scratch->scores, seeds);
}

/* Measure a model's score on a task */
static void draw_lives(const struct scoring *s, struct measure *measure)
{
    size_t rows = (size_t)s->tries->rows,
           seeds = (size_t)(s->families * s->tries->seeds);
#pragma omp parallel
    {
        struct scratch scratch = {allocate(rows, sizeof(int)),
                                  allocate(seeds, sizeof(int)),
                                  allocate(rows, sizeof(double)),
                                  allocate(rows, sizeof(double)),
                                  allocate(seeds, sizeof(double))};
#pragma omp for
        for (int life = 0; life < RESAMPLES; life++)
            measure->draws[life] = score_resample(s, life, &scratch);
        free(scratch.rows);
        free(scratch.seeds);
        free(scratch.labels);
        free(scratch.predictions);
        free(scratch.scores);
    }
}

struct measure *measure_scores(const struct task *task, enum metric metric,
                               const struct tries *tries)
{
    uint64_t base = 1000 * (uint64_t)(task - task_list);
    uint64_t place = (uint64_t)tries->place;
    struct scoring s = {.metric = metric, .tries = tries, .rows_place = base,
                        .seeds_place = base + 1 + place,
                        .origins_place = ORIGINS_PLACE + place};
    struct measure *measure = allocate(1, sizeof *measure);
    double *scores = allocate((size_t)tries->seeds, sizeof *scores);
    for (int seed = 0; seed < tries->seeds; seed++)
        scores[seed] = metric_score(metric, tries->labels, tries->predictions[seed],
                                    tries->rows);
    measure->value = measure_median(scores, tries->seeds);
    sort_families(&s);
    draw_lives(&s, measure);
    /* Free the families */
    for (int i = 0; i < s.families; i++)
        free(s.members[i]);
    free(s.members);
    free(s.sizes);
    free(scores);
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
