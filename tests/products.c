/* Products against the chains that define them, bit for bit, and OpenBLAS's against both within rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "products.h"
#include "random.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const float GUARD = 12345;
static const struct matrix nothing = {NULL, 0, 1, 0};

static float *numbers(size_t n, uint64_t key)
{
    float *x = calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)random_normal(key, i);
    return x;
}

/* The definition: a chain for each element, its links in the order of k. */
static void chains(struct matrix s, struct matrix a, struct matrix b, float *c, size_t stride, int rows, int inner, int columns)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            float *sum = c + (size_t)i * stride + j;
            *sum = s.at ? s.at[(size_t)i * s.down + (size_t)j] : 0;
            for (int k = 0; k < inner; k++)
                *sum = fmaf(a.at[(size_t)i * a.down + (size_t)k * a.right],
                            b.at[(size_t)k * b.down + (size_t)j * b.right], *sum);
        }
}

enum { ROOM = 3 }; /* elements between the rows of the result, which nobody may touch */

static float *guarded(int rows, int columns)
{
    size_t stride = (size_t)columns + ROOM, n = (size_t)rows * stride + ROOM;
    float *c = numbers(n, 7);
    for (size_t i = 0; i < n; i++)
        if (i % stride >= (size_t)columns || i >= (size_t)rows * stride)
            c[i] = GUARD;
    return c;
}

/* All layouts of one size. worst: of the difference, relative to what numbers of this size have; 0 in order. */
static double difference(int rows, int inner, int columns)
{
    float *x = numbers((size_t)rows * (size_t)inner, 1), *y = numbers((size_t)inner * (size_t)columns, 2);
    size_t stride = (size_t)columns + ROOM, n = (size_t)rows * stride + ROOM;
    double worst = 0;
    float *row = numbers((size_t)columns, 3), *panels = calloc((size_t)inner * (size_t)columns, sizeof *panels);
    for (int layout = 0; layout < 18; layout++) {
        struct matrix a = layout & 1 ? (struct matrix){x, 1, (size_t)rows, 0} : (struct matrix){x, (size_t)inner, 1, 0};
        struct matrix b = layout / 2 % 3 ? (struct matrix){y, 1, (size_t)inner, 0} : (struct matrix){y, (size_t)columns, 1, 0};
        float *found = guarded(rows, columns), *expected = guarded(rows, columns);
        struct matrix start = layout < 6 ? nothing : (struct matrix){row, 0, 1, 0};
        chains(layout < 12 ? start : (struct matrix){expected, stride, 1, 0}, a, b, expected, stride, rows, inner, columns);
        if (layout / 2 % 3 == 2 && product_settles(columns)) {
            product_settle(b, inner, columns, panels);
            b = product_settled(panels, inner);
        }
        product(layout < 12 ? start : (struct matrix){found, stride, 1, 0}, a, b, found, stride, rows, inner, columns);
        for (size_t i = 0; i < n; i++) {
            double off = fabs((double)found[i] - expected[i]) / (1 + sqrt(inner));
            worst = off <= worst ? worst : off;
        }
        free(found);
        free(expected);
    }
    free(x);
    free(y);
    free(row);
    free(panels);
    return worst;
}

/* Around every size at which something else is done: a register, a panel, a tile, a block; and none at all. */
static void products_are_chains(void **state)
{
    static const int rows[] = {1, 5, 6, 12, 13, 25, 385}, inner[] = {1, 8, 9, 257, 515},
                     columns[] = {1, 8, 15, 16, 17, 32, 33, 48, 193, 256};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t j = 0; j < sizeof inner / sizeof *inner; j++)
            for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
                if (rows[i] < 100 || (inner[j] > 200 && columns[k] > 30))
                    assert_true(difference(rows[i], inner[j], columns[k]) == 0);
    float c[2] = {3, GUARD};
    product(nothing, (struct matrix){c, 1, 1, 0}, (struct matrix){c, 1, 1, 0}, c, 1, 0, 5, 1);
    assert_true(c[0] == 3 && c[1] == GUARD);
}

static void threads_change_nothing(void **state)
{
    int threads = omp_get_max_threads();
    (void)state;
    for (int n = 1; n <= 8; n *= 2) {
        omp_set_num_threads(n);
        assert_true(difference(400, 300, 200) == 0);
        assert_true(difference(41, 300, 200) == 0); /* few rows, but worth sharing */
    }
    omp_set_num_threads(threads);
}

static void what_is_not_finite_stays_so(void **state)
{
    float a[] = {INFINITY, 1}, b[] = {0, 1}, c[] = {0, 0};
    (void)state;
    product(nothing, (struct matrix){a, 2, 1, 0}, (struct matrix){b, 1, 1, 0}, c, 1, 1, 2, 1);
    assert_true(isnan(c[0]) && c[1] == 0);
    b[0] = 2;
    product(nothing, (struct matrix){a, 2, 1, 0}, (struct matrix){b, 1, 1, 0}, c, 1, 1, 2, 1);
    assert_true(c[0] == INFINITY);
}

/* Large enough for OpenBLAS to be asked, and to find another order. */
static void openblas_makes_large_ones(void **state)
{
    (void)state;
    products_in_order(false);
    double off = difference(260, 1030, 300);
    products_in_order(true);
    assert_true(off > 0 && off < 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_chains),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(openblas_makes_large_ones),
    };
    return cmocka_run_group_tests_name("products", tests, NULL, NULL);
}
