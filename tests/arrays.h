/* Arrays of random numbers on the device k, for tests of its kernels. All are released after each test by
   release_all. Numbers are exact in fp32, so that a kernel and its reference start from the same ones. */
#ifndef ARRAYS_H
#define ARRAYS_H

#include "catch.h"
#include "fail.h"
#include "kernels.h"

#include <math.h>
#include <stdlib.h>

static const struct kernels *k; /* the device under test */

static struct {
    void *memory;
    bool on_device;
} kept[4096];
static int kept_count;
static uint64_t draws;

static inline void *keep(void *memory, bool on_device)
{
    assert_true(kept_count < (int)(sizeof kept / sizeof *kept));
    kept[kept_count].memory = memory;
    kept[kept_count++].on_device = on_device;
    return memory;
}

static inline int release_all(void **state)
{
    (void)state;
    draws = 0; /* each test has its own numbers, whatever the others do */
    while (kept_count > 0) {
        kept_count--;
        (kept[kept_count].on_device ? k->release : free)(kept[kept_count].memory);
    }
    return 0;
}

static inline double *zeros(size_t n)
{
    return keep(allocate(n, sizeof(double)), false);
}

static inline double *numbers(size_t n, double spread)
{
    double *x = zeros(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(spread * random_normal(7, draws++));
    return x;
}

static inline int below(int n)
{
    return (int)random_below(8, draws++, (uint64_t)n);
}

static inline void *on_device(const void *values, size_t bytes)
{
    void *array = keep(k->allocate(bytes), true);
    k->upload(array, values, bytes);
    return array;
}

static inline float *floats(const double *x, size_t n)
{
    float *values = keep(allocate(n, sizeof *values), false);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)x[i];
    return on_device(values, n * sizeof *values);
}

static inline real *reals(const double *x, size_t n)
{
    real *array = keep(k->allocate(n * k->real_size), true);
    k->to_real(floats(x, n), array, n);
    return array;
}

static inline int *integers(const int *x, size_t n)
{
    return on_device(x, n * sizeof *x);
}

static inline double *of_floats(const float *array, size_t n)
{
    float *values = keep(allocate(n, sizeof *values), false);
    double *x = zeros(n);
    k->download(values, array, n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        x[i] = values[i];
    return x;
}

static inline double *of_reals(const real *array, size_t n)
{
    float *values = keep(k->allocate(n * sizeof *values), true);
    k->to_float(array, values, n);
    return of_floats(values, n);
}

/* lookup_of: the rows that index[n] uses, of a table of count rows. */
static inline struct lookup lookup_of(const int *index, int n, int count)
{
    int *id = keep(allocate((size_t)count, sizeof *id), false), rows = 0, tokens = 0;
    int *start = keep(allocate((size_t)count + 1, sizeof *start), false);
    int *token = keep(allocate((size_t)n, sizeof *token), false);
    for (int row = 0; row < count; row++) {
        start[rows] = tokens;
        for (int t = 0; t < n; t++)
            if (index[t] == row)
                token[tokens++] = t;
        if (tokens > start[rows])
            id[rows++] = row;
    }
    start[rows] = tokens;
    return (struct lookup){rows, integers(id, (size_t)rows), integers(start, (size_t)rows + 1),
                           integers(token, (size_t)n)};
}

/* do_nothing: every operation on no rows and no elements. None may touch a, b and f, of 12 elements each, i of 3, or the
   state. */
static inline void do_nothing(real *a, real *b, float *f, int *i, float *state)
{
    struct lookup lookup = {0, i, i, i};
    struct attention attention = {2, 4, 0, 0, i, i, {0, 0}};
    struct softmax_loss softmax = {0, 3, 4, 1, 1, 1};
    struct adamw adamw = {0.1f, 0.9f, 0.9f, 1e-8f, 0, 1, 1, 1};
    struct dropout dropout = {0.5f, 1};
    k->linear(a, a, a, b, 0, 3, 4);
    k->linear_onto(a, a, a, a, b, 0, 3, 4);
    k->linear_input_gradient(a, a, b, 0, 3, 4, false);
    k->linear_weight_gradient(a, a, f, f, 0, 3, 4, true);
    k->embed(i, i, i, a, a, a, b, 0, 4);
    k->embed_gradient(a, &lookup, f, false, 4);
    k->norm(b, a, dropout, a, a, b, f, f, 0, 4, 1e-12f);
    struct norm_sums sums = {f, f, f, true};
    k->norm_gradient(a, a, f, f, a, dropout, b, b, &sums, 0, 4);
    k->dropout(a, b, 0, dropout);
    k->activate(GELU, a, b, 0);
    k->activate_gradient(GELU, a, a, b, f, 0, 4, true);
    k->add(a, b, 0);
    k->attention(&attention, a, b, f);
    k->attention_gradient(&attention, a, a, f, a, b);
    k->gather(a, i, b, 0, 4);
    k->scatter(a, i, b, 0, 4);
    k->softmax_loss(&softmax, b, a, i, f, f, f, f, f);
    k->cosine_loss(a, a, f, b, 0, 4, 1, f, f);
    k->relation_loss(&attention, a, a, 4, b, 1, f, f);
    k->squared_loss(b, f, 0, 1, f, f);
    k->sum(f, 0, f);
    k->square_norm(f, false, 0, state);
    k->adamw(&adamw, state, f, f, false, f, f, b, 0);
}

/* nothing_hides_a_nan: a number that is none comes out of every operation that looks at it, here from x[1]. */
static inline void nothing_hides_a_nan(void)
{
    double values[24], ones[24];
    for (int i = 0; i < 24; i++) {
        values[i] = i == 1 ? NAN : 0.1 * i;
        ones[i] = 1;
    }
    static const int labels[2] = {1, 2}, offsets[2] = {0, 2}, visible[1] = {2};
    real *x = reals(values, 24), *one = reals(ones, 24), *y = reals(ones, 24), *z = reals(ones, 24);
    float *f = floats(ones, 24), *loss = floats(ones, 24);
    struct attention attention = {1, 4, 1, 2, integers(offsets, 2), integers(visible, 1), {0, 0}};
    struct softmax_loss softmax = {2, 4, 4, 1, 1, 1};
    struct norm_sums sums = {f, f + 4, f + 8, false};
    struct dropout none = {0};
    for (int a = GELU; a <= RELU; a++) {
        k->activate((enum activation)a, x, y, 8);
        assert_true(isnan(of_reals(y, 8)[1]) && isfinite(of_reals(y, 8)[2]));
        k->activate_gradient((enum activation)a, x, one, y, f, 2, 4, false);
        assert_true(isnan(of_reals(y, 8)[1]) && isnan(of_floats(f, 4)[1]) && isfinite(of_floats(f, 4)[2]));
    }
    k->linear(x, one, NULL, y, 2, 4, 3);
    assert_true(isnan(of_reals(y, 6)[2]) && isfinite(of_reals(y, 6)[3]));
    k->norm(reals(values, 8), NULL, none, one, one, y, loss, loss + 2, 2, 4, 1e-3f);
    assert_true(isnan(of_reals(y, 8)[0]) && isfinite(of_reals(y, 8)[4]));
    k->norm_gradient(one, x, loss, loss + 2, one, none, y, NULL, &sums, 2, 4);
    assert_true(isnan(of_reals(y, 8)[0]) && isnan(of_floats(f, 12)[0]) && isnan(of_floats(f, 12)[8]));
    k->attention(&attention, x, y, loss);
    assert_true(isnan(of_reals(y, 8)[0]));
    k->attention_gradient(&attention, x, y, loss, one, z);
    assert_true(isnan(of_reals(z, 24)[0]));
    k->cosine_loss(x, one, NULL, y, 2, 4, 1, floats(ones, 1), loss);
    assert_true(isnan(of_floats(loss, 2)[0]) && isfinite(of_floats(loss, 2)[1]));
    k->relation_loss(&attention, x, one, 4, z, 1, floats(ones, 1), loss + 2);
    assert_true(isnan(of_floats(loss, 3)[2]) && isnan(of_reals(z, 24)[0]));
    k->softmax_loss(&softmax, reals(values, 8), one, integers(labels, 2), NULL, floats(ones, 1), loss, loss + 2, loss + 4);
    assert_true(isnan(of_floats(loss, 6)[0]) && isnan(of_floats(loss, 6)[2]) && isfinite(of_floats(loss, 6)[1]));
    k->squared_loss(reals(values, 2), f + 12, 2, 1, floats(ones, 1), loss);
    assert_true(isnan(of_floats(loss, 2)[1]));
}

#endif
