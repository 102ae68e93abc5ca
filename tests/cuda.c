/* The GPU's two tables against the CPU's: every operation, whole models, and training. Each case is a function that
   computes with the table k and hands over what came out. It runs three times from the same numbers: on the CPU, and
   twice on the GPU, which must agree with itself bit by bit and with the CPU up to rounding. This file knows nothing
   of CUDA; it is linked with the kernels as the harness in tests/cuda runs them or, on a machine with a GPU, with
   themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "arrays.h"
#include "batches.h"
#include "catch.h"
#include "device.h"
#include "losses.h"
#include "model.h"
#include "optimizer.h"
#include "theseus.h"

static const struct kernels *cpu, *gpu;

static bool half(void)
{
    return gpu->real_size == 2;
}

/* ---- What may differ. A real is rounded to UNIT of its size (2^-11, in fp16), or to half of the smallest fp16
   number; sums of n terms in fp32 are off by about SUM sqrt(n) of the largest result. What is rounded on the way to a
   result, as the probabilities of attention are, moves it by UNIT of the result's largest size at most.
   In a whole model such errors are many and independent, so that their squares add up: after n rounded arrays the
   result, as a vector, is off by UNIT sqrt(n) of its length. In fp32 it may be off by WHOLE. ---- */

static const double UNIT = 0x1p-11, SMALLEST = 0x1p-25, SUM = 1e-6, WHOLE = 2e-5;

struct allowance {
    double terms; /* of the sums */
    double inner; /* arrays rounded on the way */
    double size;  /* results count as no smaller than this */
    double share; /* of the length of the vector; 0: judge each element */
};

static const struct allowance exact = {0, 0, 0, 0}, pointwise = {1, 0, 0, 0};

static struct allowance allow(double terms, double inner, double size)
{
    return (struct allowance){terms, inner, size, 0};
}

static struct allowance sum_of(double terms)
{
    return allow(terms, 0, 0);
}

/* after: so many rounded arrays; for vectors of at least this size. */
static struct allowance after(double arrays, double size)
{
    return (struct allowance){0, 0, size, half() ? UNIT * sqrt(arrays) : WHOLE};
}

struct result {
    const char *name;
    size_t n;
    double *values;
    bool real;
    struct allowance allowance;
};

enum { RUNS = 3, MOST = 200 };

static struct result results[RUNS][MOST];
static int run, result_count, settled_count;
static double *settled[MOST];

static void result(const char *name, const double *values, size_t n, bool real, struct allowance allowance)
{
    assert_true(result_count < MOST);
    double *copy = malloc((n + 1) * sizeof *copy);
    memcpy(copy, values, n * sizeof *copy);
    results[run][result_count++] = (struct result){name, n, copy, real, allowance};
}

static void result_reals(const char *name, const real *x, size_t n, struct allowance allowance)
{
    result(name, of_reals(x, n), n, true, allowance);
}

static void result_floats(const char *name, const float *x, size_t n, struct allowance allowance)
{
    result(name, of_floats(x, n), n, false, allowance);
}

static void result_host(const char *name, const float *x, size_t n, struct allowance allowance)
{
    double *values = zeros(n);
    for (size_t i = 0; i < n; i++)
        values[i] = x[i];
    result(name, values, n, false, allowance);
}

static void compare_lengths(const char *what, const struct result *right, const struct result *got)
{
    double squares = 0, error = 0, share = right->allowance.share;
    for (size_t i = 0; i < right->n; i++) {
        squares += right->values[i] * right->values[i];
        error += (got->values[i] - right->values[i]) * (got->values[i] - right->values[i]);
    }
    double length = fmax(sqrt(squares), right->allowance.size);
    if (!(sqrt(error) <= share * length))
        fail_msg("%s, %s: off by %.1e of its length; expected %.1e", what, right->name, sqrt(error) / length, share);
}

static void compare(const char *what, const struct result *right, const struct result *got)
{
    double largest = right->allowance.size, slack;
    assert_int_equal(got->n, right->n);
    if (right->allowance.share > 0) {
        compare_lengths(what, right, got);
        return;
    }
    for (size_t i = 0; i < right->n; i++)
        largest = fmax(largest, fabs(right->values[i]));
    slack = largest * (SUM * sqrt(right->allowance.terms) + (half() ? UNIT * right->allowance.inner : 0));
    for (size_t i = 0; i < right->n; i++) {
        double x = got->values[i], y = right->values[i];
        double allowed = slack + (half() && right->real ? UNIT * fabs(y) + SMALLEST : 0);
        if (!(fabs(x - y) <= allowed) && x != y)
            fail_msg("%s, %s: element %zu of %zu is %.9g; expected %.9g, give or take %.1e", what, right->name, i,
                     right->n, x, y, allowed);
    }
}

static void compare_runs(const char *what)
{
    int count = result_count;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        compare(what, &results[0][i], &results[1][i]);
        if (memcmp(results[1][i].values, results[2][i].values, results[1][i].n * sizeof(double)) != 0)
            fail_msg("%s, %s: the second run gives other bits", what, results[1][i].name);
    }
    for (run = 0; run < RUNS; run++)
        for (int i = 0; i < count; i++)
            free(results[run][i].values);
    while (settled_count > 0)
        free(settled[--settled_count]);
}

/* CHECK: runs a case on both devices and compares. */
#define CHECK(...)                                \
    do {                                          \
        for (run = 0; run < RUNS; run++) {        \
            k = run == 0 ? cpu : gpu;             \
            result_count = settled_count = 0;     \
            __VA_ARGS__;                          \
            release_all(NULL);                    \
        }                                         \
        compare_runs(#__VA_ARGS__);               \
    } while (0)

/* ---- Numbers that both devices can hold ---- */

/* round_to_half: to the nearest fp16 number, of two as near to the even one. */
static double round_to_half(double x)
{
    int exponent;
    frexp(x, &exponent);
    double step = ldexp(1, (exponent < -13 ? -13 : exponent) - 11);
    double rounded = rint(x / step) * step;
    return fabs(rounded) < 65520 ? rounded : copysign(INFINITY, x);
}

static double *round_all(double *x, size_t n)
{
    for (size_t i = 0; half() && i < n; i++)
        x[i] = round_to_half(x[i]);
    return x;
}

/* some: n random reals on the device. */
static real *some(size_t n, double spread)
{
    return reals(round_all(numbers(n, spread), n), n);
}

static float *some_floats(size_t n, double spread)
{
    return floats(numbers(n, spread), n);
}

/* settle: an array that all runs go on from as the CPU has it, rounded to what reals can hold. */
static void settle(real *x, size_t n)
{
    double *values = of_reals(x, n);
    if (run == 0) {
        settled[settled_count] = malloc((n + 1) * sizeof *values);
        memcpy(settled[settled_count], round_all(values, n), n * sizeof *values);
    }
    k->to_real(floats(settled[settled_count++], n), x, n);
}

static void settle_floats(float *x, size_t n)
{
    double *values = of_floats(x, n);
    if (run == 0) {
        settled[settled_count] = malloc((n + 1) * sizeof *values);
        memcpy(settled[settled_count], values, n * sizeof *values);
    }
    k->copy(x, floats(settled[settled_count++], n), n * sizeof *x);
}

static struct dropout dropout_of(double rate)
{
    return (struct dropout){(float)rate, random_bits(1, draws++)};
}

/* ---- Memory ---- */

static void copies_case(size_t n)
{
    real *x = some(n, 1), *y = some(n, 1);
    k->copy(slice(k, y, n / 2), x, (n - n / 2) * k->real_size);
    k->zero(slice(k, y, n / 4), n / 8 * k->real_size);
    result_reals("copy", y, n, exact);
}

static void conversion_case(void)
{
    enum { N = 65536 + 20000 };
    double *x = zeros(N);
    for (int i = 0; i < 65536; i++) { /* every fp16 number and, at the end, infinities */
        int exponent = i >> 10 & 31;
        double size = exponent ? ldexp(1024 + (i & 1023), exponent - 25) : ldexp(i & 1023, -24);
        x[i] = (i >> 15 ? -1 : 1) * (exponent < 31 ? size : INFINITY);
    }
    for (int i = 65536; i < N; i++)
        x[i] = (float)ldexp(random_normal(7, draws++), below(36) - 18);
    x[N - 1] = 65519.996, x[N - 2] = 65520, x[N - 3] = 1 + 0x1p-11, x[N - 4] = 1 + 0x3p-11;
    real *rounded = reals(x, N);
    if (k == cpu)
        k->to_real(floats(round_all(x, N), N), rounded, N);
    result_reals("to_real", rounded, N, exact);
    if (k->real_size == sizeof(float)) {
        k->to_real((float *)rounded, rounded, N);
        k->to_float(rounded, (float *)rounded, N);
        result_reals("to_real in place", rounded, N, exact);
    }
}

/* Parameters in two halves: as they were, or within 2^-40 where they are smaller than 2^-16; and what is split again has
   the same bits, in both halves. */
static void halves_are_whole(void **state)
{
    (void)state;
    enum { N = 200003 };
    static float values[N], again[N];
    k = gpu;
    size_t size = k->master_size;
    real *weights[2] = {reals(zeros(N), N), reals(zeros(N), N)};
    void *masters[2] = {keep(k->allocate(N * size), true), keep(k->allocate(N * size), true)};
    char *halves[2][2];
    for (int i = 0; i < N; i++) {
        double x = ldexp(1 + below(1 << 23) * 0x1p-23, below(46) - 40); /* up to 2^6 and down to nothing */
        values[i] = (float)(below(2) ? x : -x);
        if (i % 4 == 0) /* on, or next to, what is as near to two fp16 numbers, or a power of two */
            values[i] = nextafterf((float)(round_to_half(x) * (1 + 0x1p-11)), (float)(below(3) - 1) * 1e9f);
        if (i % 4 == 1)
            values[i] = nextafterf((float)ldexp(1, below(30) - 24), (float)(below(3) - 1));
    }
    values[0] = 0, values[1] = -0.0f;
    for (int round = 0; round < 2; round++) {
        k->split(values, masters[round], weights[round], N);
        k->join(masters[round], weights[round], again, N);
        for (int i = 0; i < N; i++)
            if (fabsf(values[i]) < 0x1p-16f && half())
                assert_true(fabs((double)again[i] - values[i]) <= 0x1p-40);
            else if (again[i] != values[i])
                fail_msg("value %d, %a, comes back as %a", i, values[i], again[i]);
        memcpy(values, again, sizeof values);
        for (int other = 0; other < 2; other++) {
            size_t bytes = N * (other ? size : k->real_size);
            halves[round][other] = keep(malloc(bytes), false);
            k->download(halves[round][other], other ? masters[round] : weights[round], bytes);
        }
    }
    assert_memory_equal(halves[0][0], halves[1][0], N * k->real_size);
    assert_memory_equal(halves[0][1], halves[1][1], N * size);
    double *rounded = of_reals(weights[0], N);
    for (int i = 0; i < N && half(); i++)
        assert_true(rounded[i] == round_to_half(again[i]));
    release_all(NULL);
}

static void memory_is_kept(void **state)
{
    (void)state;
    CHECK(copies_case(1));
    CHECK(copies_case(1001));
    CHECK(copies_case(150000)); /* more than an upload takes at once */
    CHECK(conversion_case());
}

static void memory_is_zero_and_aligned(void **state)
{
    (void)state;
    k = gpu;
    for (size_t bytes = 0; bytes < 300; bytes += 37) {
        unsigned char *array = keep(k->allocate(bytes), true), values[300];
        assert_non_null(array);
        assert_int_equal((uintptr_t)array % 64, 0);
        memset(values, 1, sizeof values);
        k->download(values, array, bytes);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(values[i], 0);
        for (int other = 0; other < kept_count - 1; other++)
            assert_ptr_not_equal(kept[other].memory, array);
    }
    k->release(NULL);
    k->wait();
    EXPECT_FAIL(k->allocate(SIZE_MAX - 5), "could not be had");
    EXPECT_FAIL(k->allocate((size_t)1 << 50), "could not be had");
}

/* ---- Linear maps ---- */

/* accumulate: all that can be added is added */
static void linear_case(int rows, int in, int out, bool with_bias, bool accumulate)
{
    size_t nx = (size_t)rows * in, nw = (size_t)in * out, ny = (size_t)rows * out;
    real *x = some(nx, 1), *w = some(nw, 1), *y = some(ny, 1), *dy = some(ny, 1), *dx = some(nx, 1);
    real *bias = with_bias ? some((size_t)out, 1) : NULL;
    float *dw = some_floats(nw, 1), *dbias = with_bias ? some_floats((size_t)out, 1) : NULL;
    real *onto = some(ny, 1);
    k->linear(x, w, bias, y, rows, in, out);
    k->linear_onto(x, w, bias, dy, onto, rows, in, out);
    k->linear_input_gradient(dy, w, dx, rows, in, out, accumulate);
    k->linear_weight_gradient(x, dy, dw, dbias, rows, in, out, accumulate);
    /* a product may be rounded before it is added to a bias, or to what was there */
    result_reals("y", y, ny, allow(in, with_bias, 0));
    result_reals("y onto dy", onto, ny, allow(in, 1 + with_bias, 0));
    result_reals("dx", dx, nx, allow(out, accumulate, 0));
    result_floats("dw", dw, nw, sum_of(rows));
    if (with_bias)
        result_floats("dbias", dbias, (size_t)out, sum_of(rows));
    real *rounded = some(nw, 1);
    k->linear_weight_gradient(x, dy, rounded, dbias, rows, in, out, (accumulate ? ADD : 0) | REALS);
    result_reals("dw, rounded", rounded, nw, allow(rows, accumulate, 0));
    if (with_bias)
        result_floats("dbias again", dbias, (size_t)out, allow(rows, 1, 0)); /* as a real, on its way */
}

/* Each array in turn begins at no multiple of sixteen bytes, after a product of the same shape for which all did. */
static void crooked_case(void)
{
    enum { ROWS = 16, IN = 24, OUT = 40, PLACES = 4 };
    static const char *const names[PLACES + 1] = {"straight", "x", "w", "bias", "y"};
    static const size_t sizes[PLACES] = {ROWS * IN, IN * OUT, OUT, ROWS * OUT};
    for (int crooked = 0; crooked <= PLACES; crooked++) {
        real *a[PLACES];
        for (int i = 0; i < PLACES; i++)
            a[i] = slice(k, some(sizes[i] + 1, 1), crooked == i + 1);
        k->linear(a[0], a[1], a[2], a[3], ROWS, IN, OUT);
        result_reals(names[crooked], a[3], ROWS * OUT, allow(IN, 1, 0));
    }
}

static void linear_is_right(void **state)
{
    (void)state;
    CHECK(crooked_case());
    CHECK(linear_case(1, 1, 1, true, false));
    CHECK(linear_case(1, 5, 7, false, true));
    CHECK(linear_case(9, 20, 13, true, true));
    CHECK(linear_case(33, 3, 2, true, false));
    CHECK(linear_case(16, 64, 1, true, false)); /* a task that asks for a number */
    CHECK(linear_case(70, 64, 2, true, true));  /* for a span */
    CHECK(linear_case(1, 64, 3, true, true));   /* for a class, of one text */
    CHECK(linear_case(64, 64, 192, true, true));
    CHECK(linear_case(300, 48, 130, true, false));
    CHECK(linear_case(2100, 1, 4, true, false)); /* more rows than parts can ask for at once */
    CHECK(linear_case(1171, 16, 16, true, true)); /* base size, one dimension at a time */
    CHECK(linear_case(16, 3072, 16, true, true));
    CHECK(linear_case(16, 16, 3072, true, false));
    CHECK(linear_case(16, 16, 30528, true, false));
}

/* ---- Embeddings ---- */

static void embed_case(int rows, int width, bool with_types)
{
    enum { WORDS = 50, PLACES = 20, TYPES = 2 };
    size_t n = (size_t)rows * width, words = (size_t)WORDS * width;
    int *ids = keep(allocate(3 * (size_t)rows, sizeof *ids), false), *positions = ids + rows;
    int *segments = positions + rows;
    for (int i = 0; i < rows; i++) {
        ids[i] = below(2) ? below(WORDS - 1) : 3; /* one word is frequent, the last never used */
        positions[i] = i % PLACES;
        segments[i] = i % TYPES;
    }
    real *y = some(n, 1), *dy = some(n, 1);
    float *dwords = some_floats(words, 1);
    struct lookup lookup = lookup_of(ids, rows, WORDS);
    k->embed(integers(ids, (size_t)rows), integers(positions, (size_t)rows),
             with_types ? integers(segments, (size_t)rows) : NULL, some(words, 1), some((size_t)PLACES * width, 1),
             with_types ? some((size_t)TYPES * width, 1) : NULL, y, rows, width);
    k->embed_gradient(dy, &lookup, dwords, false, width);
    result_reals("y", y, n, pointwise);
    result_floats("dwords", dwords, words, sum_of(rows));
    real *rounded = some(words, 1);
    k->embed_gradient(dy, &lookup, rounded, true, width);
    result_reals("dwords, rounded", rounded, words, sum_of(rows));
}

static void embed_is_right(void **state)
{
    (void)state;
    CHECK(embed_case(1, 1, false));
    CHECK(embed_case(7, 5, true));
    CHECK(embed_case(150, 70, true));
    CHECK(embed_case(100, 384, false));
    CHECK(embed_case(30, 768, true));
}

/* ---- Normalisation ---- */

static void norm_case(int rows, int width, double rate, bool with_residual)
{
    size_t n = (size_t)rows * width, r = (size_t)rows, w = (size_t)width;
    struct dropout dropout = dropout_of(rate);
    real *x = some(n, 1), *residual = with_residual ? some(n, 1) : NULL, *gain = some(w, 1), *bias = some(w, 1);
    real *y = with_residual ? residual : some(n, 1); /* y may be residual */
    float *mean = some_floats(r, 1), *deviation = some_floats(r, 1);
    real *once = some(n, 1), *passing = some(n, 1);
    k->norm(once, residual, dropout, gain, bias, passing, NULL, NULL, rows, width, 1e-3f); /* there is no way back */
    result_reals("passing", passing, n, allow(width, 1, 0));
    k->norm(x, residual, dropout, gain, bias, y, mean, deviation, rows, width, 1e-3f);
    result_reals("x", x, n, pointwise);
    result_reals("y", y, n, allow(width, 1, 0));
    result_floats("mean", mean, r, allow(width, 1, 1));
    result_floats("deviation", deviation, r, allow(width, 1, 0));
    settle(x, n);
    settle_floats(mean, r);
    settle_floats(deviation, r);

    real *dsum = some(n, 1), *dx = rate > 0 ? some(n, 1) : NULL;
    float *dgain = some_floats(w, 1), *dbias = some_floats(w, 1), *before = some_floats(w, 1);
    struct norm_sums sums = {dgain, dbias, rows > 1 ? before : NULL, rows % 2};
    k->norm_gradient(dsum, x, mean, deviation, gain, dropout, dsum, dx, &sums, rows, width);
    result_reals("dsum", dsum, n, sum_of(width)); /* dsum may be dy */
    if (dx)
        result_reals("dx", dx, n, sum_of(width));
    result_floats("dgain", dgain, w, sum_of(rows));
    result_floats("dbias", dbias, w, sum_of(rows));
    result_floats("before", before, w, allow(rows, 1, 0)); /* of rounded numbers */
}

static void norm_is_right(void **state)
{
    (void)state;
    CHECK(norm_case(1, 4, 0, false));
    CHECK(norm_case(5, 8, 0, true));
    CHECK(norm_case(21, 31, 0.1, true));
    CHECK(norm_case(3, 37, 0.1, true));
    CHECK(norm_case(40, 10, 0.5, false));
    CHECK(norm_case(33, 64, 0, false));
    CHECK(norm_case(100, 300, 0.1, true));
    CHECK(norm_case(17, 312, 0.1, true));
    CHECK(norm_case(300, 33, 0, true));
    CHECK(norm_case(1100, 20, 0.1, true)); /* more rows than parts have at first */
    CHECK(norm_case(9, 768, 0.1, true));
    CHECK(norm_case(10, 1024, 0.1, true)); /* all that a warp keeps */
    CHECK(norm_case(18, 259, 0.1, true)); /* more than that, one by one */
    CHECK(norm_case(18, 1156, 0, true)); /* and by fours */
    CHECK(norm_case(3, 2052, 0.1, false));
    CHECK(norm_case(5, 3072, 0.1, true));
}

/* ---- Pointwise operations, also at addresses and lengths that four do not divide ---- */

static void bend_back(enum activation f, const real *x, real *dx, int rows, int width, size_t shift)
{
    size_t n = (size_t)rows * (size_t)width;
    float *dbias = some_floats((size_t)width, 1);
    k->activate_gradient(f, slice(k, x, shift), slice(k, dx, shift), slice(k, dx, shift), rows > 1 ? dbias : NULL, rows,
                         width, rows % 2); /* dx may be dy */
    result_reals("dx", dx, n + shift, pointwise);
    result_floats("dbias", dbias, (size_t)width, allow(rows, 1, 0)); /* of rounded numbers */
}

static void pointwise_case(size_t n, size_t shift, double rate)
{
    static const char *const names[] = {[GELU] = "gelu", [TANH] = "tanh", [RELU] = "relu"};
    size_t all = n + shift;
    real *x = some(all, 2), *sum = some(all, 1), *dropped = some(all, 1);
    k->add(slice(k, x, shift), slice(k, sum, shift), n);
    result_reals("add", sum, all, pointwise);
    k->dropout(slice(k, dropped, shift), slice(k, dropped, shift), n, dropout_of(rate)); /* y may be x */
    result_reals("dropout", dropped, all, pointwise);
    for (int f = GELU; f <= RELU; f++) {
        real *y = some(all, 1), *dx = some(all, 1);
        k->activate((enum activation)f, slice(k, x, shift), slice(k, y, shift), n);
        result_reals(names[f], y, all, pointwise);
        bend_back((enum activation)f, x, dx, n % 7 ? 1 : (int)n / 7, n % 7 ? (int)n : 7, shift);
    }
    k->activate(TANH, slice(k, x, shift), slice(k, x, shift), n); /* y may be x */
    result_reals("tanh in place", x, all, pointwise);
}

static void pointwise_is_right(void **state)
{
    (void)state;
    CHECK(pointwise_case(1, 0, 0.5));
    CHECK(pointwise_case(63, 0, 0));
    CHECK(pointwise_case(63, 1, 0.1));
    CHECK(pointwise_case(4096, 2, 0.1));
    CHECK(pointwise_case(40007, 0, 0.1));
}

/* ---- Attention ---- */

static void attention_case(int heads, int depth, double rate, int sequences, const int *lengths, const int *hidden)
{
    int offsets[16] = {0}, visible[16], width = heads * depth, longest = 0;
    for (int s = 0; s < sequences; s++) {
        offsets[s + 1] = offsets[s] + lengths[s];
        visible[s] = lengths[s] - (hidden ? hidden[s] : 0);
        longest = lengths[s] > longest ? lengths[s] : longest;
    }
    size_t tokens = (size_t)offsets[sequences], n = tokens * (size_t)width, rows = tokens * (size_t)heads;
    struct attention a = {heads, width, sequences, longest, integers(offsets, (size_t)sequences + 1),
                          integers(visible, (size_t)sequences), dropout_of(rate)};
    real *qkv = some(3 * n, 1), *y = some(n, 1), *dqkv = some(3 * n, 1), *dy = some(n, 1);
    float *logsum = some_floats(rows, 1);
    k->attention(&a, qkv, y, logsum);
    result_reals("y", y, n, allow(longest, 1, 4)); /* values are up to about 4 */
    result_floats("logsum", logsum, rows, allow(depth, 0, 1));
    settle(y, n);
    settle_floats(logsum, rows);
    k->attention_gradient(&a, qkv, y, logsum, dy, dqkv);
    result_reals("dqkv", dqkv, 3 * n, allow(longest + depth, 2, 1));
}

static void attention_is_right(void **state)
{
    (void)state;
    static const int edges[] = {1, 31, 32, 33, 64, 65}, hidden[] = {0, 30, 0, 1, 32, 3};
    CHECK(attention_case(1, 8, 0, 1, (int[]){1}, NULL));
    CHECK(attention_case(3, 8, 0.1, 6, edges, NULL));
    CHECK(attention_case(2, 16, 0, 6, edges, hidden));
    CHECK(attention_case(2, 32, 0.2, 6, edges, hidden));
    CHECK(attention_case(1, 64, 0.1, 6, edges, NULL));
    CHECK(attention_case(2, 64, 0.1, 2, (int[]){130, 20}, (int[]){9, 0}));
    CHECK(attention_case(1, 64, 0.1, 3, (int[]){128, 129, 300}, (int[]){0, 0, 20})); /* keys of several spans */
    CHECK(attention_case(1, 64, 0.1, 1, (int[]){384}, (int[]){57}));
    CHECK(attention_case(1, 64, 0, 1, (int[]){512}, NULL));
    CHECK(attention_case(2, 6, 0.5, 3, (int[]){5, 1, 40}, (int[]){4, 0, 7}));
    CHECK(attention_case(2, 33, 0, 1, (int[]){35}, NULL));
}

static void deep_heads_are_refused(void **state)
{
    (void)state;
    k = gpu;
    struct attention a = {1, 65, 1, 1, integers((int[]){0, 1}, 2), integers((int[]){1}, 1), {0, 0}};
    real *x = some(3 * 65, 1), *y = some(65, 1);
    EXPECT_FAIL(k->attention(&a, x, y, some_floats(1, 1)), "a head of depth 65 is too deep");
}

/* ---- Chosen rows ---- */

static void rows_case(int width)
{
    enum { ROWS = 7, ALL = 40 };
    static const int index[ROWS] = {39, 0, 3, 5, 38, 21, 7};
    size_t n = (size_t)ALL * width, m = (size_t)ROWS * width;
    real *y = some(m, 1), *dx = some(n, 1);
    k->gather(some(n, 1), integers(index, ROWS), y, ROWS, width);
    k->scatter(some(m, 1), integers(index, ROWS), dx, ROWS, width);
    result_reals("gather", y, m, exact);
    result_reals("scatter", dx, n, pointwise);
}

static void rows_are_gathered_and_scattered(void **state)
{
    (void)state;
    CHECK(rows_case(1));
    CHECK(rows_case(7));
    CHECK(rows_case(130));
    CHECK(rows_case(768));
}

/* ---- Losses ---- */

struct softmax_arguments {
    bool labels, teacher, weight;
};

static void softmax_case(struct softmax_loss s, double spread, struct softmax_arguments given)
{
    size_t rows = (size_t)s.rows, n = rows * (size_t)s.stride;
    double *z = round_all(numbers(n, spread), n), *weight = zeros(rows);
    int *labels = keep(allocate(rows, sizeof *labels), false);
    for (int i = 0; i < s.rows; i++) {
        double *row = z + (size_t)i * (size_t)s.stride;
        int best = 0;
        for (int c = 1; c < s.classes; c++)
            best = row[c] > row[best] ? c : best;
        for (int c = s.classes; c < s.stride; c++)
            row[c] = 60000; /* what stands in the padding must not matter */
        if (i % 5 == 3 && best > 0)
            row[best - 1] = row[best]; /* of equal logits the first counts */
        labels[i] = i % 3 == 0 ? -100 : i % 3 == 1 ? best : below(s.classes);
        weight[i] = i % 4 != 1;
    }
    const float scale = 1024;
    real *student = reals(z, n);
    float *losses = some_floats(3 * rows, 1);
    k->softmax_loss(&s, student, given.teacher ? some(n, spread) : NULL, given.labels ? integers(labels, rows) : NULL,
                    given.weight ? floats(weight, rows) : NULL, on_device(&scale, sizeof scale), losses,
                    losses + rows, losses + 2 * rows);
    result_reals("gradient", student, n, sum_of(16));
    result_floats("label loss", losses, rows, allow(4, 0, 1));
    result_floats("soft loss", losses + rows, rows, allow(100, 0, 1));
    result_floats("hit", losses + 2 * rows, rows, exact);
}

static void softmax_loss_is_right(void **state)
{
    (void)state;
    const struct softmax_arguments all = {true, true, true}, hard = {true, false, false};
    const struct softmax_arguments soft = {false, true, false}, both = {true, true, false};
    CHECK(softmax_case((struct softmax_loss){1, 2, 2, 2, 1, 1}, 1, soft));
    CHECK(softmax_case((struct softmax_loss){40, 2, 2, 1, 1, 0}, 2, hard));
    CHECK(softmax_case((struct softmax_loss){7, 3, 3, 1, 1, 0}, 2, hard));
    CHECK(softmax_case((struct softmax_loss){9, 5, 8, 2, 0.5f, 1.5f}, 2, all));
    CHECK(softmax_case((struct softmax_loss){9, 1003, 1008, 2, 0.25f, 2}, 4, all));
    CHECK(softmax_case((struct softmax_loss){3, 30522, 30528, 2, 0.25f, 2}, 3, both));
    CHECK(softmax_case((struct softmax_loss){2, 30522, 30528, 1, 0, 1}, 3, soft));
    CHECK(softmax_case((struct softmax_loss){3, 30522, 30528, 1, 1, 0}, 3, hard));
    CHECK(softmax_case((struct softmax_loss){2, 33001, 33008, 2, 0.25f, 2}, 3, all)); /* more than a block keeps */
    CHECK(softmax_case((struct softmax_loss){4, 384, 384, 2, 0.5f, 0.5f}, 2, all)); /* a span */
}

static void far_case(void)
{
    const float scale = 1;
    const int label = 1;
    struct softmax_loss s = {1, 3, 3, 1, 1, 1};
    real *gradient = reals((double[]){5000, -5000, 0}, 3);
    float *losses = some_floats(3, 1);
    k->softmax_loss(&s, gradient, reals((double[]){-5000, 5000, 0}, 3), on_device(&label, sizeof label), NULL,
                    on_device(&scale, sizeof scale), losses, losses + 1, losses + 2);
    result_reals("gradient", gradient, 3, pointwise);
    result_floats("losses", losses, 3, pointwise);
}

/* Logits below what fp16 can hold, of the label and of both models: the loss is large, and nothing is not a number. */
static void too_small_logits_cost_much(void)
{
    const float scale = 1;
    const int label = 1;
    struct softmax_loss s = {1, 4, 4, 1, 1, 1};
    real *gradient = reals((double[]){3, -INFINITY, -INFINITY, 1}, 4);
    float *losses = some_floats(3, 1);
    k->softmax_loss(&s, gradient, reals((double[]){1, 2, -INFINITY, 3}, 4), on_device(&label, sizeof label), NULL,
                    on_device(&scale, sizeof scale), losses, losses + 1, losses + 2);
    double *found = of_floats(losses, 3), *g = of_reals(gradient, 4), sum = 0;
    assert_true(found[0] > 1e4 && found[1] > 1e3 && isfinite(found[0]) && isfinite(found[1]) && found[2] == 0);
    for (int i = 0; i < 4; i++)
        sum += g[i];
    assert_true(fabs(sum) < 1e-2 && g[1] < -1 && g[2] == 0);
}

/* One row that knows it is wrong, with the weights of the paper: no gradient of its logits is infinite. */
static void a_lonely_row_stays_finite(void)
{
    const float scale = k->loss_scale;
    const int label = 1;
    struct softmax_loss s = {1, 4, 4, 2, 2, 5.0f * 4 / 3}; /* a third of the tokens; masked words alone */
    real *gradient = reals((double[]){30, -30, 0, 0}, 4);
    float *losses = some_floats(3, 1);
    k->softmax_loss(&s, gradient, reals((double[]){-30, 30, 0, 0}, 4), on_device(&label, sizeof label), NULL,
                    on_device(&scale, sizeof scale), losses, losses + 1, losses + 2);
    double *g = of_reals(gradient, 4);
    for (int i = 0; i < 4; i++)
        assert_true(isfinite(g[i]));
    assert_true(g[0] > 4 * scale);
}

static void far_apart_logits_stay_finite(void **state)
{
    (void)state;
    CHECK(far_case());
    k = gpu;
    a_lonely_row_stays_finite();
    if (half())
        too_small_logits_cost_much();
}

static void cosine_case(int rows, int width, bool weighted)
{
    size_t n = (size_t)rows * width, r = (size_t)rows;
    const float loss_scale = 256;
    double *student = round_all(numbers(n, 3), n), *teacher = round_all(numbers(n, 2), n);
    if (rows > 2) { /* a row without a direction each */
        memset(student, 0, (size_t)width * sizeof *student);
        memset(teacher + width, 0, (size_t)width * sizeof *teacher);
    }
    real *gradient = some(n, 1);
    float *loss = some_floats(r, 1);
    k->cosine_loss(reals(student, n), reals(teacher, n), weighted ? some_floats(r, 1) : NULL, gradient, rows, width,
                   0.125f, on_device(&loss_scale, sizeof loss_scale), loss);
    result_reals("gradient", gradient, n, sum_of(width));
    result_floats("loss", loss, r, allow(width, 0, 1));
}

static void cosine_loss_is_right(void **state)
{
    (void)state;
    CHECK(cosine_case(1, 2, false));
    CHECK(cosine_case(5, 8, false));
    CHECK(cosine_case(7, 33, true));
    CHECK(cosine_case(40, 384, true));
    CHECK(cosine_case(9, 768, true));
}

/* Sequences of these lengths, in which all but some tokens are visible. */
static void relation_case(int heads, int depth, int teacher_depth, int sequences, const int *lengths, const int *hidden)
{
    int offsets[16] = {0}, visible[16], width = heads * depth, teacher_width = heads * teacher_depth, longest = 0;
    for (int s = 0; s < sequences; s++) {
        offsets[s + 1] = offsets[s] + lengths[s];
        visible[s] = lengths[s] - (hidden ? hidden[s] : 0);
        longest = lengths[s] > longest ? lengths[s] : longest;
    }
    size_t tokens = (size_t)offsets[sequences], n = 3 * tokens * (size_t)width, m = 3 * tokens * (size_t)teacher_width;
    struct attention relation = {heads, width, sequences, longest, integers(offsets, (size_t)sequences + 1),
                                 integers(visible, (size_t)sequences), {0, 0}};
    const float loss_scale = 256;
    real *dqkv = some(n, 1);
    float *total = some_floats(1, 1);
    k->relation_loss(&relation, some(n, 1), some(m, 1.5), teacher_width, dqkv, 0.125f,
                     on_device(&loss_scale, sizeof loss_scale), total);
    result_reals("dqkv", dqkv, n, allow(longest + depth, 0, 1));
    result_floats("total", total, 1, allow(100, 0, (double)tokens));
}

static void relation_loss_is_right(void **state)
{
    (void)state;
    static const int edges[] = {1, 31, 32, 33, 64, 65}, hidden[] = {0, 30, 0, 1, 32, 3};
    CHECK(relation_case(1, 1, 1, 1, (int[]){2}, NULL));
    CHECK(relation_case(3, 4, 4, 6, edges, NULL));
    CHECK(relation_case(2, 16, 8, 6, edges, hidden));
    CHECK(relation_case(2, 7, 32, 3, (int[]){5, 1, 40}, (int[]){4, 0, 7}));
    CHECK(relation_case(1, 70, 33, 1, (int[]){20}, (int[]){3}));
    CHECK(relation_case(1, 16, 16, 1, (int[]){300}, (int[]){57}));
    CHECK(relation_case(35, 4, 4, 2, (int[]){3, 9}, (int[]){0, 4})); /* in three launches */
}

static void vast_batches_are_refused(void **state)
{
    (void)state;
    k = gpu;
    struct attention relation = {1, 4, 1000, 2000, NULL, NULL, {0, 0}};
    real *x = some(12, 1);
    EXPECT_FAIL(k->relation_loss(&relation, x, x, 4, x, 1, some_floats(1, 1), some_floats(1, 1)),
                "1000 sequences of 2000 tokens are too many");
}

static void squared_case(int n)
{
    const float loss_scale = 256;
    double *x = round_all(numbers((size_t)n, 3), (size_t)n);
    real *gradient = reals(x, (size_t)n);
    float *loss = some_floats((size_t)n, 1);
    k->squared_loss(gradient, some_floats((size_t)n, 2), n, 0.125f, on_device(&loss_scale, sizeof loss_scale), loss);
    result_reals("gradient", gradient, (size_t)n, pointwise);
    result_floats("loss", loss, (size_t)n, pointwise);
}

static void squared_loss_is_right(void **state)
{
    (void)state;
    CHECK(squared_case(1));
    CHECK(squared_case(16));
    CHECK(squared_case(1003));
}

/* ---- The optimiser ---- */

static void sums_case(int n)
{
    double *x = numbers((size_t)n, 1), begin[STATE_SIZE] = {[LOSS_SCALE] = 1};
    float *state = floats(begin, STATE_SIZE), *total = some_floats(1, 1), *gradient = floats(x, (size_t)n);
    for (int i = 0; i < n; i++)
        x[i] = fabs(x[i]);
    k->sum(floats(x, (size_t)n), n, total);
    result_floats("sum", total, 1, sum_of(25));
    k->square_norm(gradient, false, (size_t)n, state);
    k->square_norm(gradient, false, (size_t)n / 3, state);
    k->square_norm(some((size_t)n, 1), true, (size_t)n, state);
    result_floats("square_norm", state, STATE_SIZE, sum_of(25));
    for (int clip = 0; clip < 1000; clip = clip * 40 + 2) {
        k->decide(state, (float)clip);
        result_floats("norm, factor, skipped", state + FACTOR, STATE_SIZE - FACTOR, sum_of(25));
        result_floats("squares", state + NORM2, 1, exact);
        begin[NORM2] = 1000;
        k->upload(state, (float[STATE_SIZE]){1, 0, 1000}, sizeof(float[STATE_SIZE]));
    }
}

static void adamw_case(size_t n, bool shared, int skipped)
{
    float begin[STATE_SIZE] = {[LOSS_SCALE] = 4, [FACTOR] = 0.25f, [SKIPPED] = (float)skipped};
    float *state = on_device(begin, sizeof begin), *values = keep(allocate(n, sizeof *values), false);
    float *m = floats(zeros(n), n), *v = floats(zeros(n), n);
    real *weights = some(n, 1);
    void *master = shared && k->real_size == sizeof(float) ? weights : keep(k->allocate(n * k->master_size), true);
    double *start = numbers(n, 1);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)start[i];
    k->split(values, master, weights, n);
    for (int t = 1; t <= 5; t++) {
        struct adamw adamw = {0.01f, 0.9f, 0.98f, 1e-6f, 0.1f, (float)(t + skipped),
                              (float)(1 - pow(0.9, t + skipped)), (float)(1 - pow(0.98, t + skipped))};
        bool rounded = t % 2 == 0; /* the gradient */
        void *gradient = rounded ? (void *)some(n, 4) : some_floats(n, 4);
        k->adamw(&adamw, state, master, gradient, rounded, m, v, weights, n);
    }
    k->join(master, weights, values, n);
    result_host("values", values, n, sum_of(5));
    result_floats("m", m, n, sum_of(5));
    result_floats("v", v, n, sum_of(5));
    result_reals("weights", weights, n, sum_of(5));
    k->upload(state, (float[STATE_SIZE]){1, 0, 0, 0}, sizeof begin);
    k->adamw(&(struct adamw){1, 0.9f, 0.98f, 1e-6f, 0.1f, 1, 0.1f, 0.02f}, state, master, some_floats(n, 4), false, m, v,
             weights, n);
    k->join(master, weights, values, n);
    result_host("values, factor 0", values, n, sum_of(5));
    result_floats("m, factor 0", m, n, sum_of(5));
}

static void optimiser_is_right(void **state)
{
    (void)state;
    CHECK(sums_case(1));
    CHECK(sums_case(1000));
    CHECK(sums_case(40001));
    CHECK(adamw_case(1, false, 0));
    CHECK(adamw_case(4001, false, 0));
    CHECK(adamw_case(4001, false, 2));
    CHECK(adamw_case(40000, true, 0));
}

/* ---- Nothing to do ---- */

static void nothing_case(void)
{
    real *a = some(12, 1), *b = some(12, 1);
    float *f = some_floats(12, 1), *state = floats((double[STATE_SIZE]){1}, STATE_SIZE);
    int index[3] = {0}, *i = integers(index, 3);
    do_nothing(a, b, f, i, state);
    k->to_real(f, b, 0);
    k->to_float(b, f, 0);
    k->copy(a, b, 0);
    k->zero(a, 0);
    result_reals("a", a, 12, exact);
    result_reals("b", b, 12, exact);
    result_floats("f", f, 12, exact);
    result_floats("state", state, STATE_SIZE, exact);
}

static void no_operation_hides_a_nan(void **state)
{
    (void)state;
    for (int device = 0; device < 2; device++) {
        k = device ? gpu : cpu;
        nothing_hides_a_nan();
        release_all(NULL);
    }
}

static void empty_arrays_do_nothing(void **state)
{
    (void)state;
    CHECK(nothing_case());
}

/* ---- Whole models. A layer rounds ten arrays on the way forward and about as many on the way back; a head and its
   loss, ten in all. ---- */

enum loss { MLM, KL, COSINE, RELATIONS, TRIPLE, CLASSES };

/* make_ready: with weights that both devices can hold, and a scale of the loss that fp16 bears at once. */
static struct model *make_ready(struct model *m)
{
    size_t n = m->parameters.size;
    float *values = keep(allocate(n, sizeof *values), false), scale = k->real_size == 2 ? 1024 : 1;
    encoder_download(m, values);
    for (size_t i = 0; half() && i < n; i++)
        values[i] = (float)round_to_half(values[i]);
    encoder_upload(m, values);
    k->upload(m->state + LOSS_SCALE, &scale, sizeof scale);
    return m;
}

static struct model *open_model(const char *folder, enum head head, int classes, enum learning learning)
{
    return make_ready(encoder_open(k, folder, head, classes, learning));
}

static double length_of(const float *x, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * x[i];
    return sqrt(squares);
}

/* The gradient as a whole, and each array's, which may be off by twice as much, for it is the worst of many. A key
   bias's true gradient is zero; it is measured by the query bias's. So are those of the span head's bias and of the
   norm's below it, which move all logits of a column alike; they are measured by the weights'. */
static void result_gradient(struct model *m)
{
    const struct parameters *plan = &m->parameters;
    double arrays = 20 * m->shape.layers + 10;
    float *gradient = keep(allocate(plan->size, sizeof *gradient), false);
    encoder_gradient(m, gradient);
    result_host("gradient", gradient, plan->size, after(arrays, 0));
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *p = &plan->list[i], *by = p;
        if (p->part == KEY_BIAS)
            by = parameters_find(plan, QUERY_BIAS, p->layer);
        if (p->part == SPAN_BIAS)
            by = parameters_find(plan, SPAN_WEIGHT, 0);
        if (m->head == HEAD_SPAN && p->part == OUTER_NORM_BIAS && p->layer == m->shape.layers - 1)
            by = parameters_find(plan, OUTER_NORM_GAIN, p->layer);
        double size = length_of(gradient + by->offset, (size_t)by->rows * (size_t)by->columns);
        result_host(p->name, gradient + p->offset, (size_t)p->rows * (size_t)p->columns, after(4 * arrays, size));
    }
}

static void result_hidden(const struct model *m)
{
    if (m->input.tokens == 0)
        return; /* nobody asked this teacher */
    for (int l = 0; l <= m->shape.layers; l++)
        result_reals("hidden", m->hidden[l], (size_t)m->input.tokens * (size_t)m->shape.width, after(10 * l + 3, 0));
}

static void result_losses(const struct loss_values *v, const struct model *m)
{
    double losses[] = {v->mlm, v->kl, v->cosine, v->relations, v->total}, counts[] = {v->masked, v->tokens};
    result("losses", losses, 5, false, after(10 * m->shape.layers + 10, 1));
    result("counts", counts, 2, false, exact);
}

static const int lengths[] = {9, 40, 3, 21};

static struct loss_settings settings_of(enum loss loss)
{
    return (struct loss_settings){
        .mlm = loss == MLM || loss == TRIPLE ? 2 : 0, .kl = loss == KL || loss == TRIPLE ? 5 : 0,
        .cosine = loss == COSINE || loss == TRIPLE, .temperature = 2, .kl_positions = REAL_POSITIONS,
        .cosine_positions = REAL_POSITIONS, .pairs = 2, .pair = {{1, 1}, {2, 4}}, .relations = loss == RELATIONS,
        .relation_heads = 8,
    };
}

/* Dropout is on: both devices drop the same elements. */
static void distillation_case(enum loss loss, int pad_to)
{
    struct model *teacher = open_model(BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct model *student = open_model(DISTILBERT_FOLDER, HEAD_MLM, 0, LEARN_ALL);
    struct batch *batch = random_batch(lengths, 4, 97, pad_to);
    struct loss_settings settings = settings_of(loss);
    struct loss_values values;
    distillation_step(student, teacher, batch, &settings, 7, 0.5f, &values);
    result_losses(&values, student);
    result_hidden(student);
    result_hidden(teacher);
    result_gradient(student);
    batch_free(batch);
    encoder_free(student);
    encoder_free(teacher);
}

static void masked_lm_case(const char *folder, int vocabulary, enum learning learning)
{
    struct model *m = open_model(folder, HEAD_MLM, 0, learning);
    struct batch *batch = random_batch((int[]){9, 12, 4}, 3, vocabulary, 0);
    struct loss_values values;
    masked_lm_step(m, batch, 7, 1, &values);
    result_losses(&values, m);
    result_hidden(m);
    result_gradient(m);
    masked_lm_evaluate(m, batch, &values);
    result_losses(&values, m);
    batch_free(batch);
    encoder_free(m);
}

/* Gives a batch soft targets with a share in the loss, for any head. */
static void advise(struct batch *batch, float share)
{
    batch->soft_share = share;
    batch->temperature = 2;
    for (int i = 0; i < 2 * batch->tokens; i++)
        batch->soft[i] = (float)random_normal(9, (uint64_t)i);
}

/* A rectifier's slope jumps at 0. Where rounding can carry its input across, neither device is wrong, and their gradients
   are far apart: on an H100, one input of 2,304 moved the whole gradient by ten times its rounding. */
static void keep_clear_of_zero(const struct model *m, int sequences)
{
    const double *inputs = of_reals(m->classifier.mapped, (size_t)sequences * (size_t)m->shape.width);
    for (int i = 0; m->shape.family == DISTILBERT && run == 0 && i < sequences * m->shape.width; i++)
        if (fabs(inputs[i]) < 8 * UNIT)
            fail_msg("the rectifier's input %d is %.1e; choose weights with which none is near 0", i, inputs[i]);
}

static void classify(struct model *m, int classes, float soft_share)
{
    struct batch *batch = random_batch((int[]){9, 12, 4}, 3, 37, 0);
    advise(batch, soft_share);
    struct loss_values values;
    float logits[9];
    classification_step(m, batch, 5, 1, &values);
    keep_clear_of_zero(m, 3);
    result_losses(&values, m);
    result_gradient(m);
    classification_predict(m, batch, logits);
    result_host("logits", logits, (size_t)(3 * classes), after(10 * m->shape.layers + 5, 1));
    batch_free(batch);
    encoder_free(m);
}

static void classification_case(const char *folder, int classes, float soft_share)
{
    classify(open_model(folder, HEAD_CLASSIFIER, classes, LEARN_ALL), classes, soft_share);
}

/* One layer as wide as BERT-base's, for few tokens and words. */
static void wide_case(enum family family)
{
    const struct shape shape = {
        .family = family, .layers = 1, .width = 768, .heads = 12, .inner = 3072, .vocabulary = 37, .positions = 16,
        .types = family == BERT ? 2 : 0, .epsilon = 1e-12f, .dropout = 0.1f, .attention_dropout = 0.1f,
        .classifier_dropout = 0.1f,
    };
    struct parameters plan = parameters_plan(&shape, HEAD_CLASSIFIER, 3);
    float *values = keep(allocate(plan.size, sizeof *values), false);
    model_initialise(&plan, 0.02f, values, NULL, 1);
    parameters_free(&plan);
    classify(make_ready(encoder_create(k, &shape, HEAD_CLASSIFIER, 3, values, LEARN_ALL)), 3, 0);
}

/* A student's layer in one block, its teacher's two in the other. */
static void replacing_case(const bool *stands)
{
    struct model *models[2]; /* the student and its teacher */
    for (int i = 0; i < 2; i++) {
        struct shape shape = model_shape("tests/fixtures/bert-classifier");
        shape.layers = 2 + 2 * i;
        struct parameters plan = parameters_plan(&shape, HEAD_CLASSIFIER, 3);
        float *values = keep(allocate(plan.size, sizeof *values), false);
        model_initialise(&plan, 0.2f, values, NULL, 1);
        parameters_free(&plan);
        models[i] = make_ready(encoder_create(k, &shape, HEAD_CLASSIFIER, 3, values, i ? LEARN_NOTHING : LEARN_LAYERS));
    }
    struct recipe recipe = {.accumulate = 1};
    struct theseus *theseus = theseus_create(models[0], models[1], &(struct replacing){0}, &recipe, 1, 1);
    struct batch *batch = random_batch((int[]){9, 12, 4}, 3, 37, 0);
    struct loss_values values;
    theseus_send(theseus, stands);
    classification_step(models[0], batch, 5, 1, &values);
    result_losses(&values, models[1]);
    result_gradient(models[0]);
    batch_free(batch);
    theseus_free(theseus);
    encoder_free(models[0]);
}

static void span_case(const char *folder, int pad_to, float soft_share)
{
    struct model *m = open_model(folder, HEAD_SPAN, 0, LEARN_ALL);
    struct batch *batch = random_batch((int[]){9, 12, 4}, 3, 37, pad_to);
    advise(batch, soft_share);
    struct loss_values values;
    float logits[2 * 3 * 12];
    span_step(m, batch, 5, 1, &values);
    result_losses(&values, m);
    result_gradient(m);
    span_predict(m, batch, logits);
    result_host("logits", logits, 2 * (size_t)batch->tokens, after(10 * m->shape.layers + 5, 1));
    batch_free(batch);
    encoder_free(m);
}

static void models_are_right(void **state)
{
    (void)state;
    for (enum loss loss = MLM; loss <= TRIPLE; loss++)
        CHECK(distillation_case(loss, 0));
    CHECK(distillation_case(RELATIONS, 40));
    CHECK(distillation_case(TRIPLE, 40));
    CHECK(masked_lm_case(BERT_FOLDER, 97, LEARN_ALL));
    CHECK(masked_lm_case("tests/fixtures/bert-untied", 37, LEARN_ALL));
    CHECK(masked_lm_case("tests/fixtures/bert-untied", 37, LEARN_HEAD));
    CHECK(masked_lm_case("tests/fixtures/distilbert-untied", 37, LEARN_ALL));
    CHECK(classification_case("tests/fixtures/bert-classifier", 3, 0));
    CHECK(classification_case("tests/fixtures/bert-classifier", 3, 0.4f));
    CHECK(classification_case("tests/fixtures/distilbert-classifier", 2, 0));
    CHECK(classification_case("tests/fixtures/distilbert-classifier", 2, 0.4f));
    CHECK(classification_case("tests/fixtures/bert-number", 1, 0));
    CHECK(span_case("tests/fixtures/bert-span", 0, 0));
    CHECK(span_case("tests/fixtures/bert-span", 0, 0.4f));
    CHECK(span_case("tests/fixtures/distilbert-span", 0, 0));
    CHECK(span_case("tests/fixtures/distilbert-span", 0, 0.4f));
    CHECK(span_case("tests/fixtures/distilbert-span", 12, 0));
    CHECK(span_case("tests/fixtures/distilbert-span", 12, 0.4f));
    CHECK(wide_case(BERT));
    CHECK(replacing_case((const bool[]){true, false}));
}

/* ---- Training ---- */

/* Steps of one batch, whose gradients may be rounded; summed: of batches that are summed in fp32. */
static const struct optimizer_settings pace = {
    .rate = 5e-3f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-2f, .decay = 0.1f, .clip = 1, .warmup = 0.3,
    .linear_decay = true, .steps = 10, .batches = 1,
}, summed = {
    .rate = 5e-3f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-2f, .decay = 0.1f, .clip = 1, .warmup = 0.3,
    .linear_decay = true, .steps = 10, .batches = 2,
}, steady = {
    .rate = 5e-3f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-2f, .decay = 0.1f, .clip = 1, .steps = 10, .batches = 1,
};

struct trainee {
    struct model *teacher, *student;
    struct optimizer *optimizer;
    struct batch *batch;
    float *start; /* host [size]: the parameters before any step */
    size_t size;
};

static struct trainee begin_training(const struct optimizer_settings *pace)
{
    struct trainee t = {open_model(BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING),
                        open_model(DISTILBERT_FOLDER, HEAD_MLM, 0, LEARN_ALL), NULL,
                        random_batch(lengths, 4, 97, 0), NULL, 0};
    t.optimizer = optimizer_create(t.student, pace);
    t.size = t.student->parameters.size;
    t.start = keep(allocate(t.size, sizeof *t.start), false);
    encoder_download(t.student, t.start);
    return t;
}

static void end_training(struct trainee *t)
{
    batch_free(t->batch);
    optimizer_free(t->optimizer);
    encoder_free(t->student);
    encoder_free(t->teacher);
}

static void learn(struct trainee *t, int step, struct loss_values *values)
{
    struct loss_settings settings = settings_of(TRIPLE);
    distillation_step(t->student, t->teacher, t->batch, &settings, random_key(3, (uint64_t)step, 0), 1, values);
}

static float *parameters_of(const struct trainee *t)
{
    float *values = keep(allocate(t->size, sizeof *values), false);
    encoder_download(t->student, values);
    return values;
}

/* The way that the parameters have gone. Adam divides a gradient by its own size, so what is lost in the small ones
   counts as much as in the large; arrays: as for after. */
static void result_way(const struct trainee *t, double arrays)
{
    float *way = parameters_of(t);
    for (size_t i = 0; i < t->size; i++)
        way[i] -= t->start[i];
    result_host("way", way, t->size, after(arrays, 0));
}

static void training_case(const struct optimizer_settings *pace)
{
    enum { STEPS = 10 };
    struct trainee t = begin_training(pace);
    struct loss_values first, values;
    float state[STATE_SIZE];
    for (int step = 0; step < STEPS; step++) {
        learn(&t, step, &values);
        optimizer_step(t.optimizer, step);
        result_losses(&values, t.student);
        if (step == 0)
            first = values;
    }
    k->download(state, t.student->state, sizeof state);
    assert_true(state[SKIPPED] == 0);
    assert_true(values.total < first.total);
    result_way(&t, 20 * t.student->shape.layers + 10);
    end_training(&t);
}

static void ten_steps_are_right(void **state)
{
    (void)state;
    CHECK(training_case(&pace));
    CHECK(training_case(&summed));
}

/* As many steps before a pause as after it. */
static float *resumed(void)
{
    struct trainee first = begin_training(&pace), second = begin_training(&pace);
    float *values = keep(allocate(3 * first.size, sizeof *values), false), state[STATE_SIZE];
    for (int step = 0; step < 2; step++) {
        learn(&first, step, NULL);
        optimizer_step(first.optimizer, step);
    }
    encoder_download(first.student, values);
    optimizer_download(first.optimizer, values + first.size, values + 2 * first.size, state);
    encoder_upload(second.student, values);
    optimizer_upload(second.optimizer, values + first.size, values + 2 * first.size, state);
    for (int step = 2; step < 4; step++) {
        learn(&second, step, NULL);
        optimizer_step(second.optimizer, step);
    }
    encoder_download(second.student, values);
    end_training(&first);
    end_training(&second);
    return values;
}

static float *trained(int steps, size_t *size)
{
    struct trainee t = begin_training(&pace);
    for (int step = 0; step < steps; step++) {
        learn(&t, step, NULL);
        optimizer_step(t.optimizer, step);
    }
    float *values = parameters_of(&t);
    *size = t.size;
    end_training(&t);
    return values;
}

static void a_pause_changes_no_bit(void **state)
{
    (void)state;
    k = gpu;
    size_t size;
    float *values = trained(4, &size);
    assert_memory_equal(values, resumed(), size * sizeof *values);
}

/* A teacher that reads beside the optimiser, and beside its student, hears the same: of the batch that comes, or of
   another that comes instead. */
static float *taught_ahead(bool ahead, size_t *size)
{
    struct trainee t = begin_training(&pace);
    struct batch *batches[] = {t.batch, random_batch((int[]){20, 3}, 2, 97, 0), random_batch((int[]){9}, 1, 97, 0)};
    struct loss_settings settings = settings_of(TRIPLE);
    static const int order[] = {0, 1, 0, 2, 2, 1}, expected[] = {1, 0, 1, 2, 1, 0};
    for (int step = 0; step < 6; step++) {
        distillation_step(t.student, t.teacher, batches[order[step]], &settings, random_key(3, (uint64_t)step, 0), 1,
                          NULL);
        if (ahead)
            distillation_ahead(t.teacher, batches[expected[step]], &settings);
        optimizer_step(t.optimizer, step);
    }
    float *values = parameters_of(&t);
    *size = t.size;
    batch_free(batches[1]);
    batch_free(batches[2]);
    end_training(&t);
    return values;
}

static void teachers_may_read_ahead(void **state)
{
    (void)state;
    size_t size;
    for (int device = 0; device < 2; device++) {
        k = device ? gpu : cpu;
        float *values = taught_ahead(false, &size);
        for (int again = 0; again < 2; again++) /* in the harness, the lanes take their turns otherwise */
            assert_memory_equal(values, taught_ahead(true, &size), size * sizeof *values);
    }
}

/* ---- The scale of the loss: fixed in fp32; in fp16 halved when a gradient overflows ---- */

static void check_skipped(struct trainee *t, float bad)
{
    float *gradient = keep(allocate(t->size, sizeof *gradient), false), before[STATE_SIZE], state[STATE_SIZE];
    float *moments = keep(allocate(4 * t->size, sizeof *moments), false), *parameters = parameters_of(t);
    for (size_t i = 0; i < t->size; i++)
        gradient[i] = 0.01f;
    gradient[t->size / 2] = bad;
    k->upload(t->student->gradient, gradient, t->size * sizeof *gradient);
    if (t->student->rounded)
        k->to_real(on_device(gradient, t->size * sizeof *gradient), (real *)t->student->gradient,
                   t->student->parameters.decayed);
    for (int i = 0; i < t->student->parameters.count; i++)
        t->student->filling[i] = BEGUN;
    optimizer_download(t->optimizer, moments, moments + t->size, before);
    optimizer_step(t->optimizer, 1);
    optimizer_download(t->optimizer, moments + 2 * t->size, moments + 3 * t->size, state);
    assert_memory_equal(moments, moments + 2 * t->size, 2 * t->size * sizeof *moments);
    assert_memory_equal(parameters, parameters_of(t), t->size * sizeof *parameters);
    assert_true(state[FACTOR] == 0 && state[NORM2] == 0 && state[GOOD_STEPS] == 0);
    assert_true(state[SKIPPED] == before[SKIPPED] + 1);
    assert_true(state[LOSS_SCALE] == before[LOSS_SCALE] / (half() ? 2 : 1));
    encoder_gradient(t->student, gradient); /* of no step as yet */
    for (size_t i = 0; i < t->size; i++)
        assert_true(gradient[i] == 0);
}

static void bad_gradients_are_left_out(void **state)
{
    (void)state;
    k = gpu;
    for (int rounded = 0; rounded < 2; rounded++) {
        struct trainee t = begin_training(rounded ? &pace : &summed);
        assert_true(t.student->rounded == rounded);
        learn(&t, 0, NULL);
        optimizer_step(t.optimizer, 0);
        check_skipped(&t, INFINITY);
        check_skipped(&t, -INFINITY);
        check_skipped(&t, NAN);
        end_training(&t);
    }
}

/* A step whose first tries overflow: what is learnt in the end is what the CPU learns at once. */
static void overflow_case(void)
{
    struct trainee t = begin_training(&steady);
    float scale = k->real_size == 2 ? 0x1p23f : 1, now[STATE_SIZE];
    int tries = 0;
    k->upload(t.student->state + LOSS_SCALE, &scale, sizeof scale);
    do {
        learn(&t, 0, NULL);
        optimizer_step(t.optimizer, 2 + tries); /* the next step, as in a run */
        k->download(now, t.student->state, sizeof now);
        tries++;
        assert_true(now[SKIPPED] == tries || now[SKIPPED] == tries - 1);
        if (k->real_size == 2)
            assert_true(now[LOSS_SCALE] == ldexpf(scale, (int)-now[SKIPPED]));
    } while (now[SKIPPED] == tries);
    assert_true(k->real_size == 2 ? tries > 2 && now[GOOD_STEPS] == 1 : tries == 1 && now[GOOD_STEPS] == 0);
    result_way(&t, 20 * t.student->shape.layers + 10);
    end_training(&t);
}

static void overflow_is_recovered_from(void **state)
{
    (void)state;
    CHECK(overflow_case());
}

/* decisions: what becomes of the scale after so many gradients of this size; NULL: of size zero, which is as good. */
static float decisions(float *device_state, const float *gradient, int count)
{
    float now[STATE_SIZE];
    for (int i = 0; i < count; i++) {
        if (gradient)
            k->square_norm(gradient, false, 1, device_state);
        k->decide(device_state, 1);
    }
    k->download(now, device_state, sizeof now);
    return now[LOSS_SCALE];
}

static void the_scale_grows_again(void **state)
{
    (void)state;
    k = gpu;
    float *now = floats((double[STATE_SIZE]){k->loss_scale}, STATE_SIZE), *good = NULL;
    float *bad = floats((double[]){INFINITY}, 1), scale = k->loss_scale;
    int patience = 0;
    if (!half()) {
        assert_true(scale == 1);
        assert_true(decisions(now, good, 3000) == 1 && decisions(now, bad, 3) == 1);
        return;
    }
    assert_true(decisions(now, bad, 2) == scale / 4);
    while (decisions(now, good, 1) == scale / 4 && patience < 10000)
        patience++;
    assert_in_range(patience, 100, 9999);
    assert_true(decisions(now, good, patience) == scale / 2); /* not yet again */
    assert_true(decisions(now, bad, 1) == scale / 4);         /* which counts from the start */
    assert_true(decisions(now, good, patience) == scale / 4);
    assert_true(decisions(now, good, 1) == scale / 2);
    assert_true(decisions(now, bad, 200) > 0);
}

/* ---- A run that plans its memory ---- */

static void memory_is_planned(void **state)
{
    (void)state;
    k = gpu;
    size_t size;
    float *before = trained(2, &size);
    EXPECT_FAIL(k->reserve((size_t)1 << 50, "lower the batch"), "bytes and the GPU has");
    assert_non_null(strstr(catch_message, "lower the batch"));
    k->reserve((size_t)1 << 25, "lower the batch");
    float *after = trained(2, &size);
    assert_memory_equal(before, after, size * sizeof *before);
    void *first = k->allocate(0), *last = k->allocate(1000);
    assert_ptr_not_equal(first, last);
    k->release(last);
    assert_ptr_equal(k->allocate(1000), last); /* what was taken last can be given back */
    real *large = keep(k->allocate((size_t)1 << 26), true);
    k->zero(large, (size_t)1 << 26); /* more than was planned for */
    k->wait();
}

#define TEST(name) cmocka_unit_test_teardown(name, release_all)

/* Training launches the kernels of a model and of the optimiser again, so it has no new races to show. */
#ifdef RACES
static const bool trains = false;
#else
static const bool trains = true;
#endif

/* cuda [DEVICE [TEST]]: all tests, those of one device, or one of them; cuda auto says what device that is. On a GPU a test that loses the device would take
   the others with it; tests/gpu-day.sh gives each a process of its own. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(halves_are_whole), TEST(memory_is_kept),
        TEST(memory_is_zero_and_aligned),
        TEST(linear_is_right),
        TEST(embed_is_right),
        TEST(norm_is_right),
        TEST(pointwise_is_right),
        TEST(attention_is_right),
        TEST(deep_heads_are_refused),
        TEST(rows_are_gathered_and_scattered),
        TEST(softmax_loss_is_right),
        TEST(far_apart_logits_stay_finite),
        TEST(cosine_loss_is_right),
        TEST(relation_loss_is_right),
        TEST(vast_batches_are_refused),
        TEST(squared_loss_is_right),
        TEST(optimiser_is_right),
        TEST(empty_arrays_do_nothing),
        TEST(no_operation_hides_a_nan),
        TEST(models_are_right),
        TEST(bad_gradients_are_left_out),
        TEST(the_scale_grows_again),
    };
    const struct CMUnitTest training[] = {
        TEST(ten_steps_are_right),
        TEST(a_pause_changes_no_bit),
        TEST(teachers_may_read_ahead),
        TEST(overflow_is_recovered_from),
    };
    const struct CMUnitTest last[] = {TEST(memory_is_planned)}; /* a program does it once */
    static const char *const devices[] = {"cuda-fp32", "cuda"};
    int failed = 0;
    if (argc > 1 && !strcmp(argv[1], "auto"))
        return puts(device_open("auto")->name) < 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    for (int i = 0; i < 2; i++) {
        if (argc > 1 && strcmp(argv[1], devices[i]) != 0)
            continue;
        gpu = device_open(devices[i]);
        cpu = device_open("cpu");
        failed += cmocka_run_group_tests_name(devices[i], tests, NULL, NULL);
        if (trains)
            failed += cmocka_run_group_tests_name("training", training, NULL, NULL);
    }
    return trains ? failed + cmocka_run_group_tests_name("memory", last, NULL, NULL) : failed;
}
