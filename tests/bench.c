/* Which rows of a development set a pass goes over, if it is to last a minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bench.h"

static void all_that_fit_are_taken(void **state)
{
    (void)state;
    int count, *rows = bench_rows(1500, 0.04, &count);
    assert_int_equal(count, 1500);
    for (int i = 0; i < count; i++)
        assert_int_equal(rows[i], i);
    free(rows);
    free(bench_rows(1500, 0, &count)); /* a clock that has not moved */
    assert_int_equal(count, 1500);
}

static void others_are_spread_over_the_set(void **state)
{
    (void)state;
    int count, *rows = bench_rows(1500, 0.25, &count);
    assert_int_equal(count, 240);
    assert_int_equal(rows[0], 0);
    for (int i = 1; i < count; i++)
        assert_in_range(rows[i] - rows[i - 1], 6, 7);
    assert_in_range(rows[count - 1], 1490, 1499);
    free(rows);
}

static void a_tenth_has_a_row(void **state)
{
    (void)state;
    int count;
    free(bench_rows(1500, 1e9, &count));
    assert_int_equal(count, 10);
    free(bench_rows(7, 1e9, &count)); /* or there are fewer */
    assert_int_equal(count, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_fit_are_taken),
        cmocka_unit_test(others_are_spread_over_the_set),
        cmocka_unit_test(a_tenth_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
