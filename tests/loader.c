/* The loader: batches come in order, or out of it, and always the one that was asked for. */
#include "fail.h"
#include "loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Batch number i holds i % 5 + 1 tokens, all of them i. */
static void prepare(void *context, long index, struct batch *batch)
{
    int ids[5] = {(int)index, (int)index, (int)index, (int)index, (int)index};
    ++*(long *)context;
    batch_clear(batch);
    batch_append(batch, ids, (int)(index % 5) + 1, 1, 0);
}

static void expect(const struct batch *batch, long index)
{
    assert_int_equal(batch->tokens, index % 5 + 1);
    for (int t = 0; t < batch->tokens; t++)
        assert_int_equal(batch->ids[t], index);
}

static void batches_come_in_order(void **state)
{
    long calls = 0;
    (void)state;
    struct loader *loader = loader_create(prepare, &calls, 8, 2);
    for (long i = 0; i < 1000; i++)
        expect(loader_batch(loader, i), i);
    loader_free(loader);
    assert_in_range(calls, 1000, 1001); /* each once, and perhaps the one after the last */
}

static void any_batch_can_be_asked_for(void **state)
{
    long calls = 0;
    (void)state;
    struct loader *loader = loader_create(prepare, &calls, 8, 2);
    const long order[] = {700, 701, 3, 3, 4, 0, 701, 702};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        expect(loader_batch(loader, order[i]), order[i]);
    loader_free(loader);
}

static void a_batch_stays_until_the_next_but_one(void **state)
{
    long calls = 0;
    (void)state;
    struct loader *loader = loader_create(prepare, &calls, 8, 2);
    const struct batch *batch = loader_batch(loader, 41);
    for (int i = 0; i < 1000; i++)
        expect(batch, 41);
    const struct batch *next = loader_batch(loader, 42);
    for (int i = 0; i < 1000; i++) { /* while number 43 is made */
        expect(batch, 41);
        expect(next, 42);
    }
    expect(loader_batch(loader, 43), 43);
    expect(next, 42);
    loader_free(loader);
}

static void a_loader_that_was_never_asked_can_go(void **state)
{
    long calls = 0;
    (void)state;
    loader_free(loader_create(prepare, &calls, 8, 2));
    assert_int_equal(calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_come_in_order),
        cmocka_unit_test(any_batch_can_be_asked_for),
        cmocka_unit_test(a_batch_stays_until_the_next_but_one),
        cmocka_unit_test(a_loader_that_was_never_asked_can_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
