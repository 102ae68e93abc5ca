/* The estimate for a GPU that is not here: its made-up rows, and its sums against formulas in the published sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "estimate.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

static json_t *published, *estimate;

static double at(const char *path)
{
    return published_number(published, path);
}

static double found(const char *object, const char *member, const char *key)
{
    const json_t *whole = json_object_get(estimate, object);
    const json_t *number = json_object_get(json_object_get(whole, member), key);
    assert_true(json_is_real(number));
    return json_real_value(number);
}

static void test_numbers(void **unused)
{
    (void)unused;
    assert_true(at("splits.imdb.train.tokens") == 5194473);
    assert_true(at("t4.fp32") == 8.1);
    EXPECT_FAIL(at("t4.fp128"), "t4.fp128: expected a number");
    EXPECT_FAIL(at("t4.source"), "t4.source: expected a number");
    EXPECT_FAIL(at("nothing.at.all"), "expected a number");
}

static void test_lengths(void **unused)
{
    (void)unused;
    enum { ROWS = 3000 };
    int lengths[ROWS], real[ROWS];
    for (uint64_t seed = 0; seed < 50; seed++) {
        int longest = 2 + (int)random_below(seed, 0, 300), rows = 1 + (int)random_below(seed, 1, ROWS);
        int64_t tokens = 0, again = 0;
        double squares = 0, made = 0;
        for (int i = 0; i < rows; i++) { /* rows as they might be: the more uneven, the higher the seed */
            real[i] = 1 + (int)(pow(random_uniform(seed, 2 + (uint64_t)i), 1 + 0.2 * (double)seed) * longest);
            tokens += real[i];
            squares += (double)real[i] * real[i];
        }
        made_up_lengths(rows, tokens, sqrt(squares / rows), longest, lengths);
        for (int i = 0; i < rows; i++) {
            assert_true(lengths[i] >= 1 && lengths[i] <= longest);
            again += lengths[i];
            made += (double)lengths[i] * lengths[i];
        }
        assert_true(again == tokens);
        /* one long row more or less, and lengths that are whole, are all that may be wrong */
        assert_true(fabs(made - squares) <= (double)longest * longest + 0.25 * rows);
    }
    EXPECT_FAIL(made_up_lengths(10, 100, 30, 20, lengths), "cannot have 100 in all and 30 in the mean square");
    EXPECT_FAIL(made_up_lengths(10, 300, 30, 20, lengths), "cannot have 300 in all");
}

/* FLOPs of products for a token: BERT's layers, forward. */
static const double layer = 2.0 * 12 * 768 * 768, head = 2.0 * 768 * (768 + 30528), judge = 2.0 * 768 * (768 + 2);

static void test_sums(void **unused)
{
    (void)unused;
    const char *tasks[] = {"cola", "mrpc", "imdb"};
    double flops = 10 * at("splits.corpus.train.tokens") * (12 * layer + head + 3 * (6 * layer + head)), tokens = 0;
    double minutes = 0, parts = 0;
    for (int i = 0; i < 3; i++) {
        char path[4][40];
        for (int j = 0; j < 4; j++)
            snprintf(path[j], sizeof path[j], "splits.%s.%s.%s", tasks[i], j / 2 ? "dev" : "train",
                     j % 2 ? "rows" : "tokens");
        flops += (9 * at(path[0]) + at(path[2])) * 18 * layer + 2 * (9 * at(path[1]) + at(path[3])) * judge;
        tokens += 3 * at(path[0]) + at(path[2]);
    }
    assert_true(fabs(found("families", "gemm", "petaflops") / (1e-15 * flops) - 1) < 1e-9);
    assert_true(fabs(found("parts", "distillation", "millions") - 1e-5 * at("splits.corpus.train.tokens")) < 1e-9);
    assert_true(fabs(found("parts", "teacher", "millions") - 1e-6 * tokens) < 1e-9);
    /* no roof is higher than the arithmetic's, and the same minutes add up both ways */
    assert_true(60 * found("families", "gemm", "minutes") > 1e-12 * flops / at("t4.sustained"));
    const char *member;
    json_t *value;
    json_object_foreach(json_object_get(estimate, "families"), member, value)
        minutes += found("families", member, "minutes");
    json_object_foreach(json_object_get(estimate, "parts"), member, value)
        parts += found("parts", member, "minutes");
    double total = json_real_value(json_object_get(estimate, "minutes"));
    assert_true(fabs(minutes - total) < 1e-9 && fabs(parts - total) < 1e-9);
    assert_true(json_real_value(json_object_get(estimate, "hours_profile")) * 60 > total);
    /* the steps of all epochs are the distillation's minutes, and products most of each */
    double step = json_real_value(json_object_get(estimate, "milliseconds"));
    double steps = 10 * ceil(at("splits.corpus.train.rows") / 16);
    assert_true(fabs(steps * step / 60e3 - found("parts", "distillation", "minutes")) < 1e-9);
    double products = json_real_value(json_object_get(estimate, "products"));
    double expected = 100 * found("families", "gemm", "distillation") / found("parts", "distillation", "minutes");
    assert_true(fabs(products - expected) < 1e-9 && products > 65);
    assert_true(fabs(step - at("spared.after")) <= 0.0501); /* it has one decimal */
}

/* Weights, gradient and two moments of the student, weights of the teacher; then what works on them. */
static void test_memory(void **unused)
{
    (void)unused;
    double bytes = 1e9 * json_real_value(json_object_get(estimate, "gigabytes"));
    double weights = 109.5e6 * (4 + 2) + 67e6 * (4 + 2 + 4 + 4 + 4);
    assert_true(bytes > weights && bytes < 1e9 * at("t4.memory"));
}

static int open_estimate(void **unused)
{
    (void)unused;
    struct plan *full = plan_open(settings_open("code/full.settings"));
    published = json_load_file("chapters/published.json", 0, NULL);
    estimate = estimate_experiment(full, published);
    plan_close(full);
    return !published || !estimate;
}

static int close_estimate(void **unused)
{
    (void)unused;
    json_decref(published);
    json_decref(estimate);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_sums), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, open_estimate, close_estimate);
}
