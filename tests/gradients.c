/* The kernel table against plain C in double precision: every operation's result, every gradient
   against central differences of the double-precision forward function, and the promises that
   kernels.h makes about accumulation, aliasing, dropout, empty arrays and threads.
   Errors are relative to the largest element of the right answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "arrays.h"
#include "catch.h"
#include "check.h"
#include "device.h"
#include "elementary.h"
#include "lanes.h"
#include "relations.h"

static const double FORWARD = 2e-6, GRADIENT = 1e-4;

/* ---- Checks. The worst error of each operation goes into the book. ---- */

static struct worst {
    const char *name;
    double forward, gradient;
    int cases;
} worst[32];

static struct worst *worst_of(const char *name)
{
    struct worst *w = worst;
    while (w->name && strcmp(w->name, name) != 0)
        w++;
    w->name = name;
    return w;
}

/* difference: relative to the largest right element, or to unit if that is larger. */
static double difference(const double *x, const double *right, size_t n, double unit)
{
    double error = 0, largest = unit;
    for (size_t i = 0; i < n; i++) {
        double e = fabs(x[i] - right[i]);
        error = e <= error ? error : e; /* so that NaN is an error */
        largest = fmax(largest, fabs(right[i]));
    }
    return largest > 0 ? error / largest : error;
}

static void check_result(const char *name, const double *x, const double *right, size_t n,
                         double unit)
{
    double error = difference(x, right, n, unit);
    struct worst *w = worst_of(name);
    w->forward = error <= w->forward ? w->forward : error;
    if (!(error <= FORWARD))
        fail_msg("%s: result is wrong by %.2e", name, error);
}

static void check_forward(const char *name, const double *x, const double *right, size_t n)
{
    check_result(name, x, right, n, 0);
}

/* A loss is a difference of numbers of the size of 1, and as exact as those. */
static void check_loss(const char *name, const double *x, const double *right, size_t n)
{
    check_result(name, x, right, n, 1);
}

/* reference: computes y from the arrays that problem points to. */
typedef void reference(const void *problem, double *y);

static double objective(reference *f, const void *problem, const double *dy, size_t size)
{
    double *y = allocate(size, sizeof *y), sum = 0;
    f(problem, y);
    for (size_t i = 0; i < size; i++)
        sum += dy[i] * y[i];
    free(y);
    return sum;
}

/* check_gradient: dx[n], which began as before[n] (NULL: nothing), against central differences of
   sum(dy * f) by x[n], an array of the problem: all elements of a small array, some of a large. */
static void check_gradient(const char *name, reference *f, const void *problem, double *x,
                           size_t n, const double *dy, size_t size, const double *dx,
                           const double *before)
{
    enum { SOME = 200 };
    const double step = 1e-5;
    double got[SOME], right[SOME];
    size_t count = n < SOME ? n : 40;
    for (size_t s = 0; s < count; s++) {
        size_t i = n < SOME ? s : (size_t)below((int)n);
        double at = x[i];
        x[i] = at + step;
        double above = objective(f, problem, dy, size);
        x[i] = at - step;
        right[s] = (above - objective(f, problem, dy, size)) / (2 * step);
        x[i] = at;
        got[s] = dx[i] - (before ? before[i] : 0);
    }
    double error = difference(got, right, count, 0);
    struct worst *w = worst_of(name);
    w->gradient = error <= w->gradient ? w->gradient : error;
    w->cases++;
    if (!(error <= GRADIENT))
        fail_msg("%s: gradient is wrong by %.2e", name, error);
}

static void assert_same(const double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(x[i] == y[i]))
            fail_msg("element %zu of %zu: %.9g where %.9g was expected", i, n, x[i], y[i]);
}

static double kept_scale(struct dropout dropout, uint64_t i)
{
    return dropout_keeps(dropout, i) ? dropout_scale(dropout) : 0;
}

/* ---- Memory ---- */

static void memory_is_zero_and_aligned(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 300; bytes += 37) {
        unsigned char *array = keep(k->allocate(bytes), true), values[300] = {0};
        assert_int_equal((uintptr_t)array % 64, 0);
        k->download(values, array, bytes);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(values[i], 0);
    }
    k->release(NULL);
}

static void arrays_are_copied(void **state)
{
    (void)state;
    enum { N = 100 };
    double *x = numbers(N, 1);
    real *a = reals(x, N), *b = reals(numbers(N, 1), N);
    k->copy(b, a, N * k->real_size);
    assert_same(of_reals(b, N), x, N);
    k->zero(slice(k, b, 10), 20 * k->real_size);
    memset(x + 10, 0, 20 * sizeof *x);
    assert_same(of_reals(b, N), x, N);
    if (k->real_size == sizeof(float)) {
        k->to_real((const float *)b, b, N);
        k->to_float(b, (float *)b, N);
        assert_same(of_reals(b, N), x, N);
    }
}

static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    EXPECT_FAIL(k->allocate(SIZE_MAX - 5), "could not be had");
    k->reserve(1, "");
    EXPECT_FAIL(k->reserve((size_t)1 << 60, "lower the batch"),
                "memory: this run needs 1152921504606846976 bytes and the machine has ");
    EXPECT_FAIL(k->reserve((size_t)1 << 60, "lower the batch"), " left; lower the batch");
}

static void unknown_device_is_named(void **state)
{
    (void)state;
    EXPECT_FAIL(device_open("abacus"), "abacus: is not a device");
}

/* ---- Linear maps ---- */

struct linear {
    int rows, in, out;
    double *x, *w, *bias;
};

static void linear_reference(const void *problem, double *y)
{
    const struct linear *p = problem;
    for (int i = 0; i < p->rows; i++)
        for (int j = 0; j < p->out; j++) {
            double sum = p->bias ? p->bias[j] : 0;
            for (int c = 0; c < p->in; c++)
                sum += p->x[i * p->in + c] * p->w[j * p->in + c];
            y[i * p->out + j] = sum;
        }
}

static void linear_case(int rows, int in, int out, bool with_bias, bool accumulate)
{
    size_t nx = (size_t)rows * in, nw = (size_t)in * out, ny = (size_t)rows * out;
    struct linear p = {rows, in, out, numbers(nx, 1), numbers(nw, 1),
                       with_bias ? numbers((size_t)out, 1) : NULL};
    double *right = zeros(ny), *dy = numbers(ny, 1);
    real *x = reals(p.x, nx), *w = reals(p.w, nw), *y = reals(numbers(ny, 1), ny);
    real *bias = with_bias ? reals(p.bias, (size_t)out) : NULL, *device_dy = reals(dy, ny);
    linear_reference(&p, right);
    k->linear(x, w, bias, y, rows, in, out);
    check_forward("linear", of_reals(y, ny), right, ny);
    if (k->few_rows && k->settles(in, out)) {
        real *settled = reals(numbers(nw, 1), nw), *again = reals(numbers(ny, 1), ny);
        k->settle(w, settled, in, out);
        k->linear_settled(x, settled, bias, again, rows, in, out);
        assert_memory_equal(of_reals(again, ny), of_reals(y, ny), ny * sizeof(double));
    }
    real *onto = reals(numbers(ny, 1), ny);
    k->linear_onto(x, w, bias, device_dy, onto, rows, in, out);
    k->add(device_dy, y, ny);
    assert_memory_equal(of_reals(onto, ny), of_reals(y, ny), ny * sizeof(double));

    double *old_dx = numbers(nx, 1), *old_dw = numbers(nw, 1), *old_db = numbers((size_t)out, 1);
    real *dx = reals(old_dx, nx);
    float *dw = floats(old_dw, nw), *db = floats(old_db, (size_t)out);
    k->linear_input_gradient(device_dy, w, dx, rows, in, out, accumulate);
    k->linear_weight_gradient(x, device_dy, dw, with_bias ? db : NULL, rows, in, out, accumulate);
    check_gradient("linear", linear_reference, &p, p.x, nx, dy, ny, of_reals(dx, nx),
                   accumulate ? old_dx : NULL);
    check_gradient("linear", linear_reference, &p, p.w, nw, dy, ny, of_floats(dw, nw),
                   accumulate ? old_dw : NULL);
    if (with_bias)
        check_gradient("linear", linear_reference, &p, p.bias, (size_t)out, dy, ny,
                       of_floats(db, (size_t)out), accumulate ? old_db : NULL);
}

static void linear_is_right(void **state)
{
    (void)state;
    linear_case(1, 1, 1, true, false);
    linear_case(1, 5, 7, false, true);
    linear_case(9, 20, 13, true, true);
    linear_case(33, 3, 2, true, false);
    linear_case(70, 48, 130, true, true);
    linear_case(70, 48, 64, true, false); /* can be settled, as no other can */
}

/* ---- Embeddings ---- */

enum { WORDS = 11, PLACES = 6, TYPES = 2 };

struct embed {
    int rows, width;
    int *ids, *positions, *segments;
    double *words, *places, *types;
};

static void embed_reference(const void *problem, double *y)
{
    const struct embed *p = problem;
    for (int i = 0; i < p->rows; i++)
        for (int c = 0; c < p->width; c++)
            y[i * p->width + c] = p->words[p->ids[i] * p->width + c]
                                  + p->places[p->positions[i] * p->width + c]
                                  + (p->types ? p->types[p->segments[i] * p->width + c] : 0);
}

static void check_table(const struct embed *p, double *table, const int *index, int count,
                        const double *dy)
{
    size_t n = (size_t)count * p->width, ny = (size_t)p->rows * p->width;
    struct lookup lookup = lookup_of(index, p->rows, count);
    double *before = numbers(n, 1);
    float *gradient = floats(before, n);
    k->embed_gradient(reals(dy, ny), &lookup, gradient, false, p->width);
    double *after = of_floats(gradient, n);
    check_gradient("embed", embed_reference, p, table, n, dy, ny, after, before);
    for (int row = 0; row < count; row++) {
        bool used = false;
        for (int t = 0; t < p->rows; t++)
            used |= index[t] == row;
        if (!used)
            assert_same(after + row * p->width, before + row * p->width, (size_t)p->width);
    }
}

static void embed_case(int rows, int width, bool with_types)
{
    struct embed p = {rows, width, NULL, NULL, NULL, numbers((size_t)WORDS * width, 1),
                      numbers((size_t)PLACES * width, 1),
                      with_types ? numbers((size_t)TYPES * width, 1) : NULL};
    int *all = keep(allocate(3 * (size_t)rows, sizeof *all), false);
    p.ids = all, p.positions = all + rows, p.segments = all + 2 * rows;
    for (int i = 0; i < rows; i++) {
        p.ids[i] = below(WORDS - 1); /* the last row is never used */
        p.positions[i] = below(PLACES);
        p.segments[i] = below(TYPES);
    }
    size_t ny = (size_t)rows * width;
    double *right = zeros(ny), *dy = numbers(ny, 1);
    real *y = reals(numbers(ny, 1), ny);
    embed_reference(&p, right);
    k->embed(integers(p.ids, (size_t)rows), integers(p.positions, (size_t)rows),
             with_types ? integers(p.segments, (size_t)rows) : NULL,
             reals(p.words, (size_t)WORDS * width), reals(p.places, (size_t)PLACES * width),
             with_types ? reals(p.types, (size_t)TYPES * width) : NULL, y, rows, width);
    check_forward("embed", of_reals(y, ny), right, ny);
    check_table(&p, p.words, p.ids, WORDS, dy);
    check_table(&p, p.places, p.positions, PLACES, dy);
    if (with_types)
        check_table(&p, p.types, p.segments, TYPES, dy);
}

static void embed_is_right(void **state)
{
    (void)state;
    embed_case(1, 1, false);
    embed_case(7, 5, true);
    embed_case(150, 70, true);
}

/* ---- Normalisation ---- */

struct norm {
    int rows, width;
    double *x, *residual, *gain, *bias, epsilon;
    struct dropout dropout;
};

static void norm_parts(const struct norm *p, double *sum, double *mean, double *deviation,
                       double *y)
{
    for (int i = 0; i < p->rows; i++) {
        double *row = sum + i * p->width, total = 0, squares = 0;
        for (int c = 0; c < p->width; c++) {
            int at = i * p->width + c;
            row[c] = p->x[at] * kept_scale(p->dropout, (uint64_t)at)
                     + (p->residual ? p->residual[at] : 0);
            total += row[c];
        }
        mean[i] = total / p->width;
        for (int c = 0; c < p->width; c++)
            squares += (row[c] - mean[i]) * (row[c] - mean[i]);
        deviation[i] = 1 / sqrt(squares / p->width + p->epsilon);
        for (int c = 0; c < p->width; c++)
            y[i * p->width + c] = p->gain[c] * (row[c] - mean[i]) * deviation[i] + p->bias[c];
    }
}

static void norm_reference(const void *problem, double *y)
{
    const struct norm *p = problem;
    double *sum = allocate((size_t)p->rows * (size_t)(p->width + 2), sizeof *sum);
    double *mean = sum + p->rows * p->width;
    norm_parts(p, sum, mean, mean + p->rows, y);
    free(sum);
}

static void norm_case(int rows, int width, double rate, bool with_residual)
{
    size_t n = (size_t)rows * width, r = (size_t)rows, w = (size_t)width;
    struct norm p = {rows, width, numbers(n, 1), with_residual ? numbers(n, 1) : NULL,
                     numbers(w, 1), numbers(w, 1), 1e-3, {(float)rate, random_bits(1, draws++)}};
    double *sum = zeros(n), *mean = zeros(r), *deviation = zeros(r), *right = zeros(n);
    norm_parts(&p, sum, mean, deviation, right);
    real *x = reals(p.x, n), *residual = with_residual ? reals(p.residual, n) : NULL;
    real *gain = reals(p.gain, w), *bias = reals(p.bias, w);
    real *y = residual ? residual : reals(numbers(n, 1), n); /* y may be residual */
    float *device_mean = floats(zeros(r), r), *device_deviation = floats(zeros(r), r);
    real *once = reals(p.x, n), *passing = reals(zeros(n), n);
    k->norm(once, residual, p.dropout, gain, bias, passing, NULL, NULL, rows, width, (float)p.epsilon);
    k->norm(x, residual, p.dropout, gain, bias, y, device_mean, device_deviation, rows, width,
            (float)p.epsilon);
    assert_same(of_reals(passing, n), of_reals(y, n), n); /* where there is no way back */
    check_forward("norm", of_reals(y, n), right, n);
    check_forward("norm", of_reals(x, n), sum, n);
    check_forward("norm", of_floats(device_deviation, r), deviation, r);

    double *dy = numbers(n, 1), *old_gain = numbers(w, 1), *old_bias = numbers(w, 1);
    real *dsum = reals(dy, n), *dx = rate > 0 ? reals(numbers(n, 1), n) : NULL;
    double *old_before = numbers(w, 1), *sum_before = zeros(w);
    bool more = rows % 2;
    struct norm_sums sums = {floats(old_gain, w), floats(old_bias, w), floats(old_before, w), more};
    k->norm_gradient(dsum, x, device_mean, device_deviation, gain, p.dropout, dsum, dx, &sums,
                     rows, width); /* dsum may be dy */
    check_gradient("norm", norm_reference, &p, p.x, n, dy, n, of_reals(dx ? dx : dsum, n), NULL);
    if (with_residual)
        check_gradient("norm", norm_reference, &p, p.residual, n, dy, n, of_reals(dsum, n), NULL);
    check_gradient("norm", norm_reference, &p, p.gain, w, dy, n, of_floats(sums.gain, w),
                   more ? old_gain : NULL);
    check_gradient("norm", norm_reference, &p, p.bias, w, dy, n, of_floats(sums.bias, w),
                   more ? old_bias : NULL);
    const double *dense = of_reals(dx ? dx : dsum, n);
    for (size_t i = 0; i < n + w; i++) /* a bias reaches x in every row */
        sum_before[i % w] += i < n ? dense[i] : more ? old_before[i - n] : 0;
    check_forward("norm", of_floats(sums.before, w), sum_before, w);
}

static void norm_is_right(void **state)
{
    (void)state;
    norm_case(1, 4, 0, false);
    norm_case(5, 8, 0, true);
    norm_case(3, 37, 0.1, true);
    norm_case(40, 10, 0.5, false);
    norm_case(100, 300, 0.1, true);
}

/* ---- Dropout ---- */

struct dropped {
    size_t n;
    double *x;
    struct dropout dropout;
};

static void dropout_reference(const void *problem, double *y)
{
    const struct dropped *p = problem;
    for (size_t i = 0; i < p->n; i++)
        y[i] = p->x[i] * kept_scale(p->dropout, i);
}

static void dropout_case(size_t n, double rate)
{
    struct dropped p = {n, numbers(n, 1), {(float)rate, random_bits(2, draws++)}};
    double *right = zeros(n), *dy = numbers(n, 1);
    dropout_reference(&p, right);
    real *x = reals(p.x, n), *dx = reals(dy, n);
    k->dropout(x, x, n, p.dropout); /* y may be x */
    k->dropout(dx, dx, n, p.dropout);
    check_forward("dropout", of_reals(x, n), right, n);
    if (n < 100)
        check_gradient("dropout", dropout_reference, &p, p.x, n, dy, n, of_reals(dx, n), NULL);
}

static void dropout_is_right(void **state)
{
    (void)state;
    dropout_case(1, 0.5);
    dropout_case(50, 0);
    dropout_case(63, 0.1);
    dropout_case(40007, 0.1);
}

static void dropout_keeps_its_share(void **state)
{
    (void)state;
    enum { N = 400000 };
    struct dropout dropout = {0.1f, 99};
    int kept_elements = 0;
    for (uint64_t i = 0; i < N; i++)
        kept_elements += dropout_keeps(dropout, i);
    double share = (double)kept_elements / N;
    assert_true(fabs(share - 0.9) < 4 * sqrt(0.09 / N)); /* four standard deviations */
    assert_true(fabs(dropout_scale(dropout) * 0.9 - 1) < 1e-5);
    assert_true(dropout_scale((struct dropout){0, 1}) == 1);
}

/* ---- Pointwise operations ---- */

struct activated {
    enum activation f;
    size_t n;
    double *x;
};

static void activate_reference(const void *problem, double *y)
{
    const struct activated *p = problem;
    for (size_t i = 0; i < p->n; i++) {
        double x = p->x[i];
        y[i] = p->f == GELU ? 0.5 * x * erfc(-x / sqrt(2)) : p->f == TANH ? tanh(x) : fmax(x, 0);
    }
}

static void activation_is_right(void **state)
{
    (void)state;
    static const char *const names[] = {[GELU] = "gelu", [TANH] = "tanh", [RELU] = "relu"};
    static const size_t sizes[] = {1, 150, 40001};
    for (int f = GELU; f <= RELU; f++)
        for (int s = 0; s < 3; s++) {
            size_t n = sizes[s];
            struct activated p = {(enum activation)f, n, numbers(n, 2)};
            double *right = zeros(n), *dy = numbers(n, 1);
            activate_reference(&p, right);
            real *x = reals(p.x, n), *y = reals(zeros(n), n), *dx = reals(dy, n);
            k->activate(p.f, x, y, n);
            check_forward(names[f], of_reals(y, n), right, n);
            k->activate_gradient(p.f, x, dx, dx, NULL, 1, (int)n, false); /* dx may be dy */
            k->activate(p.f, x, x, n);               /* y may be x */
            assert_same(of_reals(x, n), of_reals(y, n), n);
            if (n < 200)
                check_gradient(names[f], activate_reference, &p, p.x, n, dy, n, of_reals(dx, n),
                               NULL);
        }
}

/* The bias in x gets the sum over the rows of what x gets. */
static void activations_are_summed(void **state)
{
    (void)state;
    for (int f = GELU; f <= RELU; f++)
        for (int rows = 4; rows < 90; rows += 17) {
            size_t width = 33, n = (size_t)rows * width;
            double *old = numbers(width, 1), *right = zeros(width);
            real *x = reals(numbers(n, 2), n), *dy = reals(numbers(n, 1), n), *dx = reals(zeros(n), n);
            float *dbias = floats(old, width);
            k->activate_gradient((enum activation)f, x, dy, dx, dbias, rows, (int)width, rows % 2);
            const double *each = of_reals(dx, n);
            for (size_t i = 0; i < n + width; i++)
                right[i % width] += i < n ? each[i] : rows % 2 ? old[i - n] : 0;
            check_forward("bias", of_floats(dbias, width), right, width);
        }
}

static void sums_are_added(void **state)
{
    (void)state;
    enum { N = 40001 };
    double *x = numbers(N, 1), *y = numbers(N, 1), total = 3;
    real *device_x = reals(x, N), *device_y = reals(y, N);
    float *device_total = floats(&total, 1);
    k->add(device_x, device_y, N);
    k->sum(floats(x, N), N, device_total);
    for (int i = 0; i < N; i++) {
        y[i] += x[i];
        total += x[i];
    }
    check_forward("add", of_reals(device_y, N), y, N);
    check_forward("sum", of_floats(device_total, 1), &total, 1);
}

static void elementary_functions_are_accurate(void **state)
{
    (void)state;
    double exponential_error = 0, normal_error = 0;
    for (double x = -87; x <= 20; x += 1e-3) {
        float at = (float)x;
        exponential_error = fmax(exponential_error, fabs(exponential(at) / exp(at) - 1));
    }
    for (double x = -14; x <= 14; x += 1e-3) {
        float at = (float)x;
        double got = normal_distribution(at, exponential(-0.5f * at * at));
        normal_error = fmax(normal_error, fabs(got - 0.5 * erfc(-at / sqrt(2))));
    }
    check_report("exponential.error", "%.1e", exponential_error);
    check_report("normal.error", "%.1e", normal_error);
    assert_true(exponential_error < 8e-8);
    assert_true(normal_error < 3e-7);
    assert_true(exponential(0) == 1 && exponential(-0.0f) == 1 && exponential(1e-40f) == 1);
    assert_true(exponential(-87) > 0 && exponential(-87.1f) == 0);
    assert_true(exponential(-1e30f) == 0 && exponential(-INFINITY) == 0);
    assert_true(isnan(exponential(NAN)));
    assert_true(isnan(normal_distribution(NAN, NAN)));
    assert_true(normal_distribution(INFINITY, 0) == 1 && normal_distribution(-INFINITY, 0) == 0);
}

/* The larger error, of which what is not a number is the largest. */
static long double worse(long double error, long double value, long double right)
{
    long double e = fabsl(value - right);
    return e <= error ? error : e;
}

static void double_functions_are_accurate(void **state)
{
    (void)state;
    long double exponential_error = 0, logarithm_error = 0, cosine_error = 0, power_error = 0;
    for (double x = -708; x <= 709; x += 0.0137)
        exponential_error = worse(exponential_error, exponential_double(x) / expl(x), 1);
    assert_true(exponential_error < 2e-16L);
    for (double x = 0x1p-1060; x < 1e308; x *= 1.0123)
        logarithm_error = worse(logarithm_error, logarithm(x) / logl(x), 1);
    for (double off = 0.5; off > 1e-15; off *= 0.99) { /* near 1, where it is nearly nothing */
        logarithm_error = worse(logarithm_error, logarithm(1 - off) / logl(1 - off), 1);
        logarithm_error = worse(logarithm_error, logarithm(1 + off) / logl(1 + off), 1);
    }
    assert_true(logarithm_error < 4e-16L);
    for (int i = 0; i <= 100000; i++)
        cosine_error = worse(cosine_error, cosine_of_turns(i / 1e5), cosl(2 * acosl(-1) * (i / 1e5)));
    assert_true(cosine_error < 2e-16L);
    for (long n = 1; n < 20000; n += n / 8 + 1) {
        long double right = powl(0.999f, n);
        power_error = worse(power_error, whole_power(0.999f, n) / (n * right), 1.0L / n);
    }
    assert_true(power_error < 0x1p-53L);
}

static void tangents_are_accurate(void **state)
{
    (void)state;
    double error = 0;
    for (double x = 1e-30; x < 1e4; x *= 1.0012) {
        float at = (float)x, y = hyperbolic_tangent(at);
        error = fmax(error, fabs(y / tanh(at) - 1));
        assert_true(hyperbolic_tangent(-at) == -y);
    }
    assert_true(error < 7e-8);
    assert_true(hyperbolic_tangent(INFINITY) == 1 && hyperbolic_tangent(-INFINITY) == -1);
    assert_true(hyperbolic_tangent(1e-40f) == 1e-40f && signbit(hyperbolic_tangent(-0.0f)));
    assert_true(isnan(hyperbolic_tangent(NAN)));
}

static void double_functions_know_their_limits(void **state)
{
    (void)state;
    assert_true(exponential_double(0) == 1 && exponential_double(5e-324) == 1);
    assert_true(exponential_double(-INFINITY) == 0 && exponential_double(-1e300) == 0);
    assert_true(isinf(exponential_double(INFINITY)) && isinf(exponential_double(710)));
    assert_true(isnan(exponential_double(NAN)));
    assert_true(logarithm(1) == 0 && logarithm(0) == -INFINITY && logarithm(INFINITY) == INFINITY);
    assert_true(isnan(logarithm(-1)) && isnan(logarithm(-INFINITY)) && isnan(logarithm(NAN)));
    assert_true(cosine_of_turns(0) == 1 && cosine_of_turns(0.5) == -1 && cosine_of_turns(1) == 1);
    assert_true(cosine_of_turns(0.25) == 0 && cosine_of_turns(0.75) == 0 && isnan(cosine_of_turns(NAN)));
    assert_true(whole_power(0.5, 0) == 1 && whole_power(0.5, 13) == 0x1p-13 && whole_power(0, 5) == 0);
    assert_true(whole_power(0.9, 1000000000) == 0 && whole_power(1, 1000000000) == 1);
    assert_true(isnan(whole_power(NAN, 3)));
}

/* ---- Sums in lanes ---- */

static void lanes_are_folded_in_their_order(void **state)
{
    (void)state;
    float x[70], y[70];
    for (int i = 0; i < 70; i++)
        x[i] = (float)random_normal(1, (uint64_t)i), y[i] = (float)random_normal(2, (uint64_t)i);
    for (int n = 0; n <= 70; n++) {
        float sums[LANES] = {0}, products[LANES] = {0}, largest = -INFINITY;
        for (int i = 0; i < n; i++) {
            sums[i % LANES] += x[i];
            products[i % LANES] = fmaf(x[i], y[i], products[i % LANES]);
            largest = fmaxf(largest, x[i]);
        }
        for (int l = 0; l < 8; l++)
            sums[l] += sums[l + 8];
        assert_true(lanes_sum(x, n) == ((sums[0] + sums[4]) + (sums[2] + sums[6]))
                                           + ((sums[1] + sums[5]) + (sums[3] + sums[7])));
        assert_true(lanes_dot(x, y, n) == lanes_fold(products));
        assert_true(lanes_max(x, n) == largest);
    }
    x[20] = NAN, x[50] = INFINITY;
    assert_true(isnan(lanes_sum(x, 33)) && isnan(lanes_dot(x, y, 33)));
    assert_true(isfinite(lanes_max(x, 33)) && lanes_max(x, 70) == INFINITY && lanes_max(x + 20, 1) == -INFINITY);
}

/* ---- Attention ---- */

struct attended {
    struct attention shape; /* its arrays are the host's */
    double *qkv;
};

static void attention_rows(const struct attended *p, double *y, double *logsum)
{
    const struct attention *a = &p->shape;
    int depth = a->width / a->heads, stride = 3 * a->width;
    double *e = allocate((size_t)a->longest, sizeof *e);
    for (int s = 0; s < a->sequences; s++)
        for (int i = a->offsets[s]; i < a->offsets[s + 1]; i++)
            for (int h = 0; h < a->heads; h++) {
                const double *q = p->qkv + i * stride + h * depth;
                uint64_t row = (uint64_t)(i * a->heads + h);
                double sum = 0;
                for (int j = 0; j < a->visible[s]; j++) {
                    const double *key = p->qkv + (a->offsets[s] + j) * stride + a->width
                                        + h * depth;
                    double score = 0;
                    for (int c = 0; c < depth; c++)
                        score += q[c] * key[c] / sqrt(depth);
                    sum += e[j] = exp(score);
                }
                logsum[row] = log(sum);
                for (int j = 0; j < a->visible[s]; j++)
                    e[j] *= kept_scale(a->dropout, row * 65536 + (uint64_t)j) / sum;
                for (int c = 0; c < depth; c++) {
                    double *to = y + i * a->width + h * depth + c;
                    *to = 0;
                    for (int j = 0; j < a->visible[s]; j++)
                        *to += e[j] * p->qkv[(a->offsets[s] + j) * stride + 2 * a->width
                                             + h * depth + c];
                }
            }
    free(e);
}

static void attention_reference(const void *problem, double *y)
{
    const struct attended *p = problem;
    size_t tokens = (size_t)p->shape.offsets[p->shape.sequences];
    double *logsum = allocate(tokens * (size_t)p->shape.heads, sizeof *logsum);
    attention_rows(p, y, logsum);
    free(logsum);
}

static void attention_case(int heads, int width, double rate, int sequences, const int *lengths,
                           const int *visible)
{
    int *offsets = keep(allocate((size_t)sequences + 1, sizeof *offsets), false), longest = 0;
    for (int s = 0; s < sequences; s++) {
        offsets[s + 1] = offsets[s] + lengths[s];
        longest = lengths[s] > longest ? lengths[s] : longest;
    }
    size_t tokens = (size_t)offsets[sequences], n = tokens * (size_t)width;
    size_t rows = tokens * (size_t)heads;
    struct attended p = {{heads, width, sequences, longest, offsets, visible,
                          {(float)rate, random_bits(3, draws++)}}, numbers(3 * n, 1)};
    struct attention a = p.shape;
    a.offsets = integers(offsets, (size_t)sequences + 1);
    a.visible = integers(visible, (size_t)sequences);
    double *right = zeros(n), *right_logsum = zeros(rows), *dy = numbers(n, 1);
    attention_rows(&p, right, right_logsum);
    real *qkv = reals(p.qkv, 3 * n), *y = reals(numbers(n, 1), n);
    float *logsum = floats(zeros(rows), rows);
    k->attention(&a, qkv, y, logsum);
    check_forward("attention", of_reals(y, n), right, n);
    check_forward("attention", of_floats(logsum, rows), right_logsum, rows);

    real *dqkv = reals(numbers(3 * n, 1), 3 * n);
    k->attention_gradient(&a, qkv, y, logsum, reals(dy, n), dqkv);
    double *dx = of_reals(dqkv, 3 * n);
    check_gradient("attention", attention_reference, &p, p.qkv, 3 * n, dy, n, dx, NULL);
    for (int s = 0; s < sequences; s++)
        for (int i = offsets[s] + visible[s]; i < offsets[s + 1]; i++)
            for (int c = width; c < 3 * width; c++)
                assert_true(dx[i * 3 * width + c] == 0);
}

static void attention_is_right(void **state)
{
    (void)state;
    attention_case(1, 4, 0, 1, (int[]){1}, (int[]){1});
    attention_case(2, 6, 0, 3, (int[]){5, 1, 9}, (int[]){5, 1, 9});
    attention_case(3, 12, 0.2, 2, (int[]){7, 8}, (int[]){4, 8});
    attention_case(2, 16, 0, 3, (int[]){6, 3, 6}, (int[]){1, 3, 5});
    attention_case(2, 64, 0.1, 2, (int[]){130, 20}, (int[]){121, 20});
    attention_case(4, 128, 0.1, 5, (int[]){12, 17, 13, 1, 12}, (int[]){12, 17, 12, 1, 12});
}

/* ---- The numbers of chapters/11-encoder.md and 12-heads.md that are worked out by hand ---- */

static void expect_numbers(const double *x, const double *right, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(x[i] - right[i]) <= tolerance))
            fail_msg("element %zu is %.9g; worked out by hand it is %.9g", i, x[i], right[i]);
}

static void a_linear_map_worked_out_by_hand(void **state)
{
    (void)state;
    const double w[] = {1, 2, 3, 4}, x[] = {1, 2}, dy[] = {1, -1};
    const double dw[] = {1, 2, -1, -2}, db[] = {1, -1}, dx[] = {-2, -2};
    real *device_dx = reals(zeros(2), 2), *device_dy = reals(dy, 2);
    float *device_dw = floats(zeros(4), 4), *device_db = floats(zeros(2), 2);
    k->linear_input_gradient(device_dy, reals(w, 4), device_dx, 1, 2, 2, false);
    k->linear_weight_gradient(reals(x, 2), device_dy, device_dw, device_db, 1, 2, 2, false);
    expect_numbers(of_reals(device_dx, 2), dx, 2, 0);
    expect_numbers(of_floats(device_dw, 4), dw, 4, 0);
    expect_numbers(of_floats(device_db, 2), db, 2, 0);
}

static void a_norm_worked_out_by_hand(void **state)
{
    (void)state;
    enum { ROWS = 2, WIDTH = 4, N = ROWS * WIDTH };
    const double x[] = {1, 1, 3, 3, 2, 2, 6, 6}, dy[] = {1, 0, 0, 0, 1, 0, 0, 0};
    const double right[] = {-1, -1, 1, 1, -1, -1, 1, 1}, dx[] = {0.5, -0.5, 0, 0, 0.25, -0.25, 0, 0};
    const double ones[] = {1, 1, 1, 1}, d_gain[] = {-2, 0, 0, 0}, d_bias[] = {2, 0, 0, 0};
    real *sum = reals(x, N), *gain = reals(ones, WIDTH), *y = reals(zeros(N), N), *d = reals(dy, N);
    float *mean = floats(zeros(ROWS), ROWS), *deviation = floats(zeros(ROWS), ROWS);
    struct norm_sums sums = {floats(zeros(WIDTH), WIDTH), floats(zeros(WIDTH), WIDTH), NULL, false};
    struct dropout none = {0, 0};
    k->norm(sum, NULL, none, gain, reals(zeros(WIDTH), WIDTH), y, mean, deviation, ROWS, WIDTH, 0);
    expect_numbers(of_reals(y, N), right, N, 1e-6);
    k->norm_gradient(d, sum, mean, deviation, gain, none, d, NULL, &sums, ROWS, WIDTH);
    expect_numbers(of_reals(d, N), dx, N, 1e-6);
    expect_numbers(of_floats(sums.gain, WIDTH), d_gain, WIDTH, 1e-6);
    expect_numbers(of_floats(sums.bias, WIDTH), d_bias, WIDTH, 1e-6);
}

static void gelu_worked_out_by_hand(void **state)
{
    (void)state;
    const double u[] = {0, 1, -1, -0.75}, ones[] = {1, 1, 1, 1}, slope[] = {0.5, 1.083, -0.083, 0};
    real *d = reals(ones, 4);
    k->activate_gradient(GELU, reals(u, 4), d, d, NULL, 4, 1, false);
    expect_numbers(of_reals(d, 4), slope, 3, 0.0005);
    expect_numbers(of_reals(d, 4) + 3, slope + 3, 1, 0.005); /* it is lowest at -0.7518 */
}

static void attention_worked_out_by_hand(void **state)
{
    (void)state;
    const double log3 = log(3), ds = 3.0 / 16;
    const double qkv[] = {1, log3, 1, 0, 0, 0}, dy[] = {1, 0}; /* q, k, v of either token */
    const double right[] = {0.75, 0.5}, dqkv[] = {ds * log3, ds, 0.75, 0, -ds, 0.25};
    const int offsets[] = {0, 2}, visible[] = {2};
    struct attention a = {1, 1, 1, 2, integers(offsets, 2), integers(visible, 1), {0, 0}};
    real *device_qkv = reals(qkv, 6), *y = reals(zeros(2), 2), *d = reals(zeros(6), 6);
    float *logsum = floats(zeros(2), 2);
    k->attention(&a, device_qkv, y, logsum);
    expect_numbers(of_reals(y, 2), right, 2, 1e-6);
    k->attention_gradient(&a, device_qkv, y, logsum, reals(dy, 2), d);
    expect_numbers(of_reals(d, 6), dqkv, 6, 1e-6);
}

static void a_squared_loss_worked_out_by_hand(void **state)
{
    (void)state;
    const double x[] = {3, 4}, target[] = {5, 3.5}, loss[] = {4, 0.25}, dx[] = {-2, 0.5}, one = 1;
    real *device_x = reals(x, 2);
    float *row_loss = floats(zeros(2), 2);
    k->squared_loss(device_x, floats(target, 2), 2, 0.5f, floats(&one, 1), row_loss);
    expect_numbers(of_floats(row_loss, 2), loss, 2, 0);
    expect_numbers(of_reals(device_x, 2), dx, 2, 0);
}

/* ---- Chosen rows ---- */

struct gathered {
    int rows, width;
    const int *index;
    double *x;
};

static void gather_reference(const void *problem, double *y)
{
    const struct gathered *p = problem;
    for (int i = 0; i < p->rows; i++)
        memcpy(y + i * p->width, p->x + p->index[i] * p->width, (size_t)p->width * sizeof *y);
}

static void rows_are_gathered_and_scattered(void **state)
{
    (void)state;
    enum { ROWS = 4, ALL = 9, WIDTH = 7 };
    static const int index[ROWS] = {8, 0, 3, 5};
    struct gathered p = {ROWS, WIDTH, index, numbers(ALL * WIDTH, 1)};
    double *right = zeros(ROWS * WIDTH), *dy = numbers(ROWS * WIDTH, 1);
    double *before = numbers(ALL * WIDTH, 1);
    real *y = reals(zeros(ROWS * WIDTH), ROWS * WIDTH), *dx = reals(before, ALL * WIDTH);
    gather_reference(&p, right);
    k->gather(reals(p.x, ALL * WIDTH), integers(index, ROWS), y, ROWS, WIDTH);
    check_forward("gather", of_reals(y, ROWS * WIDTH), right, ROWS * WIDTH);
    k->scatter(reals(dy, ROWS * WIDTH), integers(index, ROWS), dx, ROWS, WIDTH);
    check_gradient("gather", gather_reference, &p, p.x, ALL * WIDTH, dy, ROWS * WIDTH,
                   of_reals(dx, ALL * WIDTH), before);
}

/* ---- The softmax loss ---- */

struct softmaxed {
    struct softmax_loss shape;
    double *student, *teacher, *weight;
    int *labels;
};

/* log_softmax of row[n] / temperature */
static void log_softmax(const double *row, int n, double temperature, double *y)
{
    double largest = row[0], sum = 0;
    for (int c = 0; c < n; c++)
        largest = fmax(largest, row[c]);
    for (int c = 0; c < n; c++)
        sum += exp((row[c] - largest) / temperature);
    for (int c = 0; c < n; c++)
        y[c] = (row[c] - largest) / temperature - log(sum);
}

/* y[2 * rows]: the labels' losses of all rows, then the soft ones. */
static void softmax_reference(const void *problem, double *y)
{
    const struct softmaxed *p = problem;
    const struct softmax_loss *s = &p->shape;
    double *one = allocate(3 * (size_t)s->classes, sizeof *one);
    double *soft = one + s->classes, *target = soft + s->classes;
    for (int i = 0; i < s->rows; i++) {
        const double *z = p->student + i * s->stride;
        double divergence = 0;
        log_softmax(z, s->classes, 1, one);
        log_softmax(z, s->classes, s->temperature, soft);
        if (p->teacher) {
            log_softmax(p->teacher + i * s->stride, s->classes, s->temperature, target);
            for (int c = 0; c < s->classes; c++)
                divergence += exp(target[c]) * (target[c] - soft[c]);
        }
        y[i] = p->labels && p->labels[i] >= 0 ? -one[p->labels[i]] : 0;
        y[s->rows + i] = divergence * (p->weight ? p->weight[i] : 1);
    }
    free(one);
}

static void softmax_case(struct softmax_loss s, double spread, bool labels, bool teacher,
                         bool weight)
{
    size_t rows = (size_t)s.rows, n = rows * (size_t)s.stride;
    struct softmaxed p = {s, numbers(n, spread), teacher ? numbers(n, spread) : NULL,
                          weight ? zeros(rows) : NULL,
                          keep(allocate(rows, sizeof(int)), false)};
    double scale = 1024, *right = zeros(2 * rows), *dy = zeros(2 * rows), *hits = zeros(rows);
    for (int i = 0; i < s.rows; i++) {
        for (int c = s.classes; c < s.stride; c++) /* what stands in the padding must not matter */
            p.student[i * s.stride + c] = 1e6;
        double *z = p.student + i * s.stride;
        int best = 0;
        for (int c = 1; c < s.classes; c++)
            best = z[c] > z[best] ? c : best;
        p.labels[i] = i % 3 == 0 ? -100 : i % 3 == 1 ? best : below(s.classes);
        hits[i] = labels && p.labels[i] == best;
        if (weight)
            p.weight[i] = i % 4 != 1;
        dy[i] = scale * s.label_scale;
        dy[s.rows + i] = scale * s.soft_scale;
    }
    int *device_labels = labels ? integers(p.labels, rows) : NULL;
    if (!labels)
        p.labels = NULL;
    softmax_reference(&p, right);
    real *gradient = reals(p.student, n);
    float *losses = floats(numbers(3 * rows, 1), 3 * rows);
    k->softmax_loss(&s, gradient, teacher ? reals(p.teacher, n) : NULL, device_labels,
                    weight ? floats(p.weight, rows) : NULL, floats(&scale, 1), losses,
                    losses + rows, losses + 2 * rows);
    double *got = of_floats(losses, 3 * rows), *dx = of_reals(gradient, n);
    check_loss("softmax_loss", got, right, rows);
    check_loss("softmax_loss", got + rows, right + rows, rows);
    assert_same(got + 2 * rows, hits, rows);
    for (int i = 0; i < s.rows; i++)
        for (int c = s.classes; c < s.stride; c++)
            assert_true(dx[i * s.stride + c] == 0);
    check_gradient("softmax_loss", softmax_reference, &p, p.student, n, dy, 2 * rows, dx, NULL);
}

static void softmax_loss_is_right(void **state)
{
    (void)state;
    struct softmax_loss small = {6, 5, 8, 2, 0.5f, 1.5f}, one = {1, 2, 2, 1, 1, 1};
    struct softmax_loss large = {9, 1003, 1008, 2, 0.25f, 2};
    softmax_case(small, 2, true, true, true);
    softmax_case(small, 2, true, true, false);
    softmax_case(small, 2, true, false, false);
    softmax_case(small, 2, false, true, true);
    softmax_case(one, 1, false, true, false);
    softmax_case(large, 4, true, true, true);
    large.temperature = 1;
    softmax_case(large, 4, true, true, false);
}

static void first_of_equal_logits_is_the_guess(void **state)
{
    (void)state;
    struct softmax_loss s = {3, 4, 4, 1, 1, 1};
    double z[12] = {1, 2, 2, 0, 1, 2, 2, 0, 5, 5, 5, 5}, scale = 1;
    int labels[3] = {1, 2, 0};
    float *losses = floats(zeros(9), 9);
    k->softmax_loss(&s, reals(z, 12), NULL, integers(labels, 3), NULL, floats(&scale, 1), losses,
                    losses + 3, losses + 6);
    assert_same(of_floats(losses + 6, 3), (double[]){1, 0, 1}, 3);
}

static void far_apart_logits_stay_finite(void **state)
{
    (void)state;
    struct softmax_loss s = {1, 3, 3, 1, 1, 1};
    double z[3] = {5000, -5000, 0}, t[3] = {-5000, 5000, 0}, scale = 1;
    int label = 1;
    real *gradient = reals(z, 3);
    float *losses = floats(zeros(3), 3);
    k->softmax_loss(&s, gradient, reals(t, 3), integers(&label, 1), NULL, floats(&scale, 1), losses,
                    losses + 1, losses + 2);
    check_forward("softmax_loss", of_floats(losses, 2), (double[]){10000, 10000}, 2);
    check_forward("softmax_loss", of_reals(gradient, 3), (double[]){2, -2, 0}, 3);
}

/* ---- The cosine loss ---- */

struct turned {
    int rows, width;
    double *student, *teacher, *weight;
};

static void cosine_reference(const void *problem, double *y)
{
    const struct turned *p = problem;
    for (int i = 0; i < p->rows; i++) {
        double ss = 0, tt = 0, st = 0;
        for (int c = 0; c < p->width; c++) {
            double s = p->student[i * p->width + c], t = p->teacher[i * p->width + c];
            ss += s * s;
            tt += t * t;
            st += s * t;
        }
        y[i] = (p->weight ? p->weight[i] : 1) * (1 - st / sqrt(ss * tt));
    }
}

static void cosine_case(int rows, int width, bool weighted)
{
    size_t n = (size_t)rows * width, r = (size_t)rows;
    struct turned p = {rows, width, numbers(n, 3), numbers(n, 2), weighted ? numbers(r, 1) : NULL};
    double scale = 0.125, loss_scale = 256, *right = zeros(r), *dy = zeros(r);
    double *before = numbers(n, 1);
    for (size_t i = 0; i < r; i++)
        dy[i] = scale * loss_scale;
    cosine_reference(&p, right);
    real *gradient = reals(before, n);
    float *loss = floats(zeros(r), r);
    k->cosine_loss(reals(p.student, n), reals(p.teacher, n), weighted ? floats(p.weight, r) : NULL,
                   gradient, rows, width, (float)scale, floats(&loss_scale, 1), loss);
    check_loss("cosine_loss", of_floats(loss, r), right, r);
    check_gradient("cosine_loss", cosine_reference, &p, p.student, n, dy, r, of_reals(gradient, n),
                   before);
}

static void cosine_loss_is_right(void **state)
{
    (void)state;
    cosine_case(1, 2, false);
    cosine_case(5, 8, false);
    cosine_case(7, 33, true);
    cosine_case(40, 384, true);
}

static void a_zero_row_has_no_direction(void **state)
{
    (void)state;
    double one = 1, *student = zeros(6), *teacher = numbers(6, 1);
    real *gradient = reals(zeros(6), 6);
    float *loss = floats(zeros(2), 2);
    student[4] = 1, teacher[3] = teacher[4] = teacher[5] = 0;
    k->cosine_loss(reals(student, 6), reals(teacher, 6), NULL, gradient, 2, 3, 1, floats(&one, 1),
                   loss);
    assert_same(of_floats(loss, 2), (double[]){1, 1}, 2);
    for (int i = 0; i < 6; i++)
        assert_true(isfinite(of_reals(gradient, 6)[i]));
}

/* ---- The relation loss ---- */

static void relation_case(int heads, int width, int teacher_width, double spread, int sequences,
                          const int *lengths, const int *visible)
{
    int *offsets = keep(allocate((size_t)sequences + 1, sizeof *offsets), false), longest = 0;
    for (int s = 0; s < sequences; s++) {
        offsets[s + 1] = offsets[s] + lengths[s];
        longest = lengths[s] > longest ? lengths[s] : longest;
    }
    size_t n = (size_t)(3 * width * offsets[sequences]), m = n / (size_t)width * (size_t)teacher_width;
    struct related p = {{heads, width, sequences, longest, offsets, visible, {0, 0}}, teacher_width,
                        numbers(n, spread), numbers(m, spread)};
    struct attention relation = p.shape;
    relation.offsets = integers(offsets, (size_t)sequences + 1);
    relation.visible = integers(visible, (size_t)sequences);
    double scale = 0.125, loss_scale = 256, dy = scale * loss_scale, right[1], *before = numbers(n, 1);
    real *dqkv = reals(before, n);
    float *total = floats((double[]){3}, 1);
    relation_total(&p, right);
    k->relation_loss(&relation, reals(p.student, n), reals(p.teacher, m), teacher_width, dqkv,
                     (float)scale, floats(&loss_scale, 1), total);
    double got = of_floats(total, 1)[0] - 3, *after = of_reals(dqkv, n);
    check_loss("relation_loss", &got, right, 1);
    check_gradient("relation_loss", relation_total, &p, p.student, n, &dy, 1, after, before);
    for (int s = 0; s < sequences; s++)
        for (int i = 3 * width * (offsets[s] + visible[s]); i < 3 * width * offsets[s + 1]; i++)
            assert_true(after[i] == before[i]);
}

static void relation_loss_is_right(void **state)
{
    (void)state;
    relation_case(1, 2, 2, 1, 1, (int[]){1}, (int[]){1});
    relation_case(2, 6, 6, 1, 3, (int[]){5, 1, 9}, (int[]){5, 1, 9});
    relation_case(3, 12, 6, 1, 2, (int[]){7, 8}, (int[]){4, 8});
    relation_case(4, 16, 48, 2, 2, (int[]){17, 3}, (int[]){15, 3});
}

/* ---- The squared loss ---- */

struct missed {
    int n;
    double *x, *target;
};

static void squared_reference(const void *problem, double *y)
{
    const struct missed *p = problem;
    for (int i = 0; i < p->n; i++)
        y[i] = (p->x[i] - p->target[i]) * (p->x[i] - p->target[i]);
}

static void squared_loss_is_right(void **state)
{
    (void)state;
    for (int n = 1; n <= 1000; n = 7 * n + 2) {
        struct missed p = {n, numbers((size_t)n, 2), numbers((size_t)n, 3)};
        double scale = 0.125, loss_scale = 256, *right = zeros((size_t)n), *dy = zeros((size_t)n);
        for (int i = 0; i < n; i++)
            dy[i] = scale * loss_scale;
        squared_reference(&p, right);
        real *x = reals(p.x, (size_t)n);
        float *loss = floats(zeros((size_t)n), (size_t)n);
        k->squared_loss(x, floats(p.target, (size_t)n), n, (float)scale, floats(&loss_scale, 1), loss);
        check_loss("squared_loss", of_floats(loss, (size_t)n), right, (size_t)n);
        check_gradient("squared_loss", squared_reference, &p, p.x, (size_t)n, dy, (size_t)n, of_reals(x, (size_t)n),
                       NULL);
    }
}

/* ---- The optimiser ---- */

static void norm_of_the_gradient_is_clipped(void **state)
{
    (void)state;
    enum { N = 40001 };
    double *g = numbers(N, 1), squares = 0, begin[STATE_SIZE] = {[LOSS_SCALE] = 1};
    for (int i = 0; i < N; i++)
        squares += g[i] * g[i];
    float *gradient = floats(g, N), *device_state = floats(begin, STATE_SIZE);
    k->square_norm(gradient, false, 7000, device_state);
    k->square_norm(gradient + 7000, false, N - 7000, device_state);
    double *now = of_floats(device_state, STATE_SIZE);
    check_forward("square_norm", now + NORM2, &squares, 1);
    k->decide(device_state, 2.5f);
    now = of_floats(device_state, STATE_SIZE);
    double norm = sqrt(squares), factor = 2.5 / (norm + 1e-6);
    check_forward("decide", now + NORM, &norm, 1);
    check_forward("decide", now + FACTOR, &factor, 1);
    assert_true(now[NORM2] == 0 && now[SKIPPED] == 0);

    for (int limit = 0; limit <= 1000; limit += 1000) { /* none, and one that is not reached */
        k->square_norm(gradient, false, N, device_state);
        k->decide(device_state, (float)limit);
        assert_true(of_floats(device_state, STATE_SIZE)[FACTOR] == 1);
    }
}

static void overflow_leaves_the_step_out(void **state)
{
    (void)state;
    double begin[STATE_SIZE] = {[LOSS_SCALE] = 1}, g[3] = {1, INFINITY, 2}, *x = numbers(3, 1);
    float *device_state = floats(begin, STATE_SIZE), *gradient = floats(g, 3);
    float *master = floats(x, 3), *moments = floats(zeros(6), 6);
    real *weights = reals(x, 3);
    struct adamw adamw = {0.1f, 0.9f, 0.999f, 1e-8f, 0.1f, 1, 0.1f, 0.001f};
    k->square_norm(gradient, false, 3, device_state);
    k->decide(device_state, 1);
    k->adamw(&adamw, device_state, master, gradient, false, moments, moments + 3, weights, 3);
    double *now = of_floats(device_state, STATE_SIZE);
    assert_true(now[FACTOR] == 0 && now[SKIPPED] == 1 && now[NORM2] == 0);
    assert_same(of_floats(master, 3), x, 3);
    assert_same(of_reals(weights, 3), x, 3);
    assert_same(of_floats(moments, 6), zeros(6), 6);
}

/* skipped: steps that were left out before these; they do not count */
static void adamw_steps(bool shared, int skipped)
{
    enum { N = 40001, STEPS = 5 };
    double begin[STATE_SIZE] = {[LOSS_SCALE] = 1, [FACTOR] = 0.5, [SKIPPED] = skipped};
    double *x = numbers(N, 1), *m = zeros(N), *v = zeros(N), *start = zeros(N);
    memcpy(start, x, N * sizeof *x);
    float *device_state = floats(begin, STATE_SIZE), *master = floats(x, N);
    float *device_m = floats(m, N), *device_v = floats(v, N);
    real *weights = shared ? (real *)master : reals(x, N);
    for (int t = 1; t <= STEPS; t++) {
        double *g = numbers(N, 1), c1 = 1 - pow(0.9, t), c2 = 1 - pow(0.98, t);
        double all1 = 1 - pow(0.9, t + skipped), all2 = 1 - pow(0.98, t + skipped);
        struct adamw adamw = {0.01f, 0.9f, 0.98f, 1e-6f, 0.1f, (float)(t + skipped), (float)all1, (float)all2};
        k->adamw(&adamw, device_state, master, floats(g, N), false, device_m, device_v, weights, N);
        for (int i = 0; i < N; i++) {
            double gradient = 0.5 * g[i];
            m[i] = 0.9 * m[i] + 0.1 * gradient;
            v[i] = 0.98 * v[i] + 0.02 * gradient * gradient;
            x[i] -= 0.01 * 0.1 * x[i];
            x[i] -= 0.01 * m[i] / c1 / (sqrt(v[i] / c2) + 1e-6);
        }
    }
    check_forward("adamw", of_floats(master, N), x, N);
    check_forward("adamw", of_reals(weights, N), of_floats(master, N), N);
    check_forward("adamw", of_floats(device_m, N), m, N);
    check_forward("adamw", of_floats(device_v, N), v, N);
    assert_true(difference(x, start, N, 0) > 1e-3);
}

static void adamw_is_right(void **state)
{
    (void)state;
    adamw_steps(false, 0);
    adamw_steps(false, 3);
    if (k->real_size == sizeof(float))
        adamw_steps(true, 0);
}

/* ---- Promises that hold for all ---- */

static void no_operation_hides_a_nan(void **state)
{
    (void)state;
    nothing_hides_a_nan();
}

static void empty_arrays_do_nothing(void **state)
{
    (void)state;
    double one[STATE_SIZE] = {1}, *x = numbers(12, 1);
    real *a = reals(x, 12), *b = reals(x, 12);
    float *f = floats(x, 12), *device_state = floats(one, STATE_SIZE);
    int index[3] = {0}, *i = integers(index, 3);
    do_nothing(a, b, f, i, device_state);
    assert_same(of_reals(a, 12), x, 12);
    assert_same(of_reals(b, 12), x, 12);
    assert_same(of_floats(f, 12), x, 12);
    assert_same(of_floats(device_state, STATE_SIZE), one, STATE_SIZE);
}

/* everything: each operation that sums once, into out[8 * ROWS * WIDTH]. */
enum { ROWS = 270, WIDTH = 128, N = ROWS * WIDTH }; /* enough that threads share */

static void run_everything(const double *x, double *results)
{
    static const int offsets[4] = {0, 60, 210, ROWS}, visible[3] = {60, 135, 60};
    int ids[ROWS];
    for (int i = 0; i < ROWS; i++)
        ids[i] = i * i % 5;
    struct dropout dropout = {0.1f, 5};
    struct lookup lookup = lookup_of(ids, ROWS, 5);
    struct attention attention = {4, WIDTH, 3, 150, integers(offsets, 4), integers(visible, 3),
                                  dropout};
    double begin[STATE_SIZE] = {1}, one = 1;
    real *a = reals(x, N), *b = reals(x + N, N), *y = reals(zeros(N), N), *dx = reals(zeros(N), N);
    real *qkv = reals(x, 3 * N), *dqkv = reals(zeros(3 * N), 3 * N);
    float *statistics = floats(zeros(N), N), *sums = floats(zeros(N), N);
    float *device_state = floats(begin, STATE_SIZE);
    k->norm(b, a, dropout, a, a, y, statistics, statistics + ROWS, ROWS, WIDTH, 1e-12f);
    struct norm_sums of_norm = {sums, sums + WIDTH, sums + 7 * WIDTH, false};
    k->norm_gradient(a, b, statistics, statistics + ROWS, a, dropout, dqkv, dx, &of_norm, ROWS, WIDTH);
    k->embed_gradient(dx, &lookup, sums + 2 * WIDTH, false, WIDTH);
    k->square_norm(floats(x, 3 * N), false, 3 * N, device_state);
    memcpy(results, of_reals(dx, N), N * sizeof *results);
    memcpy(results + N, of_floats(sums, N), N * sizeof *results);
    k->attention(&attention, qkv, y, statistics);
    k->attention_gradient(&attention, qkv, y, statistics, b, dqkv);
    k->relation_loss(&attention, qkv, b, 32, dqkv, 1, floats(&one, 1), statistics + N - 1);
    memcpy(results + 2 * N, of_reals(y, N), N * sizeof *results);
    memcpy(results + 3 * N, of_reals(dqkv, 3 * N), 3 * N * sizeof *results);
    struct softmax_loss softmax = {ROWS, WIDTH, WIDTH, 2, 1, 1};
    k->softmax_loss(&softmax, y, a, integers(ids, ROWS), NULL, floats(&one, 1), statistics,
                    statistics + ROWS, statistics + 2 * ROWS);
    k->cosine_loss(a, b, NULL, y, ROWS, WIDTH, 1, floats(&one, 1), statistics + 3 * ROWS);
    memcpy(results + 6 * N, of_reals(y, N), N * sizeof *results);
    memcpy(results + 7 * N, of_floats(statistics, N), N * sizeof *results);
    results[8 * N - 1] = of_floats(device_state, STATE_SIZE)[NORM2];
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    double *x = numbers(3 * N, 1), *one = zeros(8 * N), *many = zeros(8 * N);
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    run_everything(x, one);
    for (int count = 2; count <= 3; count++) {
        omp_set_num_threads(count);
        run_everything(x, many);
        assert_same(many, one, 8 * N);
    }
    omp_set_num_threads(threads);
}

/* ---- The examples that the book works by hand: what it prints, to the digits that it prints. ---- */

static int report_errors(void **state)
{
    (void)state;
    for (struct worst *w = worst; w->name; w++) {
        char key[64];
        snprintf(key, sizeof key, "%s.forward", w->name);
        check_report(key, "%.1e", w->forward);
        if (w->cases == 0)
            continue;
        snprintf(key, sizeof key, "%s.error", w->name);
        check_report(key, "%.1e", w->gradient);
        snprintf(key, sizeof key, "%s.cases", w->name);
        check_report(key, "%.0f", w->cases);
    }
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, release_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_is_zero_and_aligned),
        TEST(arrays_are_copied),
        TEST(absurd_sizes_are_refused),
        TEST(unknown_device_is_named),
        TEST(linear_is_right),
        TEST(embed_is_right),
        TEST(norm_is_right),
        TEST(dropout_is_right),
        TEST(dropout_keeps_its_share),
        TEST(activation_is_right),
        TEST(activations_are_summed),
        TEST(sums_are_added),
        TEST(elementary_functions_are_accurate),
        TEST(double_functions_are_accurate),
        TEST(tangents_are_accurate),
        TEST(double_functions_know_their_limits),
        TEST(lanes_are_folded_in_their_order),
        TEST(attention_is_right),
        TEST(a_linear_map_worked_out_by_hand),
        TEST(a_norm_worked_out_by_hand),
        TEST(gelu_worked_out_by_hand),
        TEST(attention_worked_out_by_hand),
        TEST(a_squared_loss_worked_out_by_hand),
        TEST(rows_are_gathered_and_scattered),
        TEST(softmax_loss_is_right),
        TEST(first_of_equal_logits_is_the_guess),
        TEST(far_apart_logits_stay_finite),
        TEST(cosine_loss_is_right),
        TEST(a_zero_row_has_no_direction),
        TEST(relation_loss_is_right),
        TEST(squared_loss_is_right),
        TEST(norm_of_the_gradient_is_clipped),
        TEST(overflow_leaves_the_step_out),
        TEST(adamw_is_right),
        TEST(empty_arrays_do_nothing),
        TEST(no_operation_hides_a_nan),
        TEST(results_do_not_depend_on_threads),
    };
    k = device_open("cpu");
    return cmocka_run_group_tests_name("gradients", tests, NULL, report_errors);
}
