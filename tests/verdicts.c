/* The rules by which a verdict is reached, what was claimed, and what a summary is judged to be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "catch.h"
#include "fail.h"
#include "measure.h"
#include "published.h"
#include "random.h"
#include "verdicts.h"

#include <jansson.h>

/* A published number; commas and a true minus sign are understood. */
static double number(const char *path)
{
    char *text = published_text(path), digits[64] = "", *to = digits;
    for (const char *from = text; *from && to < digits + 60; from++)
        if (!strncmp(from, "−", strlen("−")))
            *to++ = '-', from += strlen("−") - 1;
        else if (*from != ',')
            *to++ = *from;
    free(text);
    return strtod(digits, NULL);
}

static void at_least_needs_the_whole_interval(void **state)
{
    (void)state;
    const struct {
        double low, high;
        enum verdict verdict;
    } cases[] = {{96, 99, PASS},      {95, 99, PASS}, /* touches from above: is at the bound */
                 {94.9, 99, UNDECIDED}, {90, 95, UNDECIDED}, /* touches from below: may be at it */
                 {90, 94.9, FAIL},    {95, 95, PASS},
                 {94, 94, FAIL},      {-INFINITY, INFINITY, UNDECIDED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct estimate e = {true, true, (cases[i].low + cases[i].high) / 2, cases[i].low, cases[i].high};
        assert_int_equal(verdict_reaches(&e, 95), cases[i].verdict);
    }
}

static void a_cost_must_leave_zero(void **state)
{
    (void)state;
    const struct {
        double low, high;
        enum verdict verdict;
    } cases[] = {{-3, -1, PASS}, {-3, 0, UNDECIDED}, {-3, 1, UNDECIDED},
                 {0, 2, UNDECIDED}, {0, 0, UNDECIDED}, {1, 2, FAIL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct estimate e = {true, true, cases[i].low, cases[i].low, cases[i].high};
        assert_int_equal(verdict_costs(&e), cases[i].verdict);
    }
}

static void runs_agree_where_intervals_meet(void **state)
{
    (void)state;
    struct estimate a = {true, true, 5, 4, 6};
    const struct {
        double low, high;
        enum verdict verdict;
    } cases[] = {{5, 7, PASS}, {6, 7, PASS}, {6.1, 7, FAIL}, {1, 4, PASS}, {1, 3.9, FAIL}, {4.5, 5.5, PASS}, {1, 9, PASS}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct estimate b = {true, true, cases[i].low, cases[i].low, cases[i].high};
        assert_int_equal(verdict_agrees(&a, &b), cases[i].verdict);
        assert_int_equal(verdict_agrees(&b, &a), cases[i].verdict);
    }
}

static void nothing_is_decided_without_an_interval(void **state)
{
    (void)state;
    struct estimate unknown = {0}, unbounded = {true, false, 200, 0, 0}, sure = {true, true, 200, 200, 200};
    assert_int_equal(verdict_reaches(&unknown, 95), UNDECIDED);
    assert_int_equal(verdict_reaches(&unknown, -95), UNDECIDED);
    assert_int_equal(verdict_reaches(&unbounded, 95), UNDECIDED);
    assert_int_equal(verdict_costs(&unknown), UNDECIDED);
    assert_int_equal(verdict_costs(&unbounded), UNDECIDED);
    assert_int_equal(verdict_agrees(&unknown, &unknown), UNDECIDED);
    assert_int_equal(verdict_agrees(&sure, &unbounded), UNDECIDED);
    assert_int_equal(verdict_agrees(&unbounded, &sure), UNDECIDED);
}

static void claims_and_noise_are_the_published_ones(void **state)
{
    (void)state;
    int count = 0;
    for (const struct claim *claim = claims; claim->name; claim++, count++) {
        char *key = text_format("%s.retention", claim->name);
        assert_true(claim->value == number(key));
        free(key);
    }
    assert_int_equal(count, 2);
    count = 0;
    for (const struct noise *n = noise; n->task; n++, count++) {
        char *key = text_format("glue.%s", n->task), *text = published_text(key);
        double mean, deviation;
        assert_int_equal(sscanf(text, "%lf ± %lf", &mean, &deviation), 2);
        assert_true(n->mean == mean && n->deviation == deviation);
        free(key);
        free(text);
    }
    assert_int_equal(count, 5);
}

/* The tolerance again, by drawing: how far 95 % of retentions lie from their mean, over so many tasks, each the median
   of so many runs of a teacher and of a student, with the published noise. */
static double drawn_tolerance(double value, int tasks, int runs)
{
    enum { DRAWS = 20000 };
    double squares = 0, deviations = 0;
    for (const struct noise *n = noise; n->task; n++)
        deviations += pow(n->deviation / n->mean, 2) / 5;
    uint64_t place = 0;
    for (int draw = 0; draw < DRAWS; draw++) {
        double mean = 0;
        for (int task = 0; task < tasks; task++) {
            double middle[2], scores[8];
            for (int model = 0; model < 2; model++) {
                for (int run = 0; run < runs; run++)
                    scores[run] = 1 + sqrt(deviations) * random_normal(7, place++);
                middle[model] = measure_median(scores, runs);
            }
            mean += value * middle[0] / middle[1] / tasks;
        }
        squares += pow(mean - value, 2) / DRAWS;
    }
    return 1.96 * sqrt(squares);
}

static void tolerance_is_what_draws_say(void **state)
{
    (void)state;
    double paper = drawn_tolerance(97, 9, 5), course = drawn_tolerance(94.35, 3, 1);
    assert_true(fabs(claim_tolerance(&claims[0]) - paper) < 0.03 * paper);
    assert_true(fabs(claim_tolerance(&claims[1]) - course) < 0.03 * course);
}

/* The finding of that name in a list, or NULL. */
static json_t *find(const json_t *verdicts, const char *list, const char *name)
{
    json_t *findings = json_object_get(verdicts, list);
    for (size_t i = 0; i < json_array_size(findings); i++) {
        json_t *finding = json_array_get(findings, i);
        if (!strcmp(json_string_value(json_object_get(finding, "name")), name))
            return finding;
    }
    return NULL;
}

static void expect(const json_t *verdicts, const char *list, const char *name, const char *verdict, const char *why)
{
    json_t *finding = find(verdicts, list, name);
    if (!finding)
        fail_msg("no finding %s in %s", name, list);
    assert_string_equal(json_string_value(json_object_get(finding, "verdict")), verdict);
    assert_string_equal(json_string_value(json_object_get(finding, "why")), why);
}

/* A summary with what verdicts look at. */
static json_t *summary(double low, double high)
{
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:s}, s:{s:s}, s:{s:f, s:f, s:f, s:[s, s, s]}, s:{}, s:{s:{s:s, s:{s:{s:f, s:f, s:f}}}},"
        " s:{s:{s:f, s:f, s:f}}}",
        "profile", "mine", "settings", "run.jobs", "2", "distill.epochs", "3", "finetune.seeds", "1 2",
        "cola.seeds", "1 2", "data", "train.tsv", "ab12", "retention", "mean", (low + high) / 2, "low", low, "high", high,
        "counted", "cola", "mrpc", "imdb", "students", "tasks", "cola", "title", "CoLA",
        "median", "student", "score", 50.0, "low", 48.0, "high", 52.0, "ablations", "kl", "change", -2.0, "low", -3.0,
        "high", -1.0);
}

static json_t *judge(json_t *mine, json_t *other)
{
    json_t *references = json_object();
    if (other)
        json_object_set_new(references, "theirs", other);
    json_t *verdicts = verdicts_judge(mine, references, "real");
    json_decref(references);
    json_decref(mine);
    return verdicts;
}

static void a_claim_is_held_with_its_tolerance(void **state)
{
    (void)state;
    double bound = 97 - claim_tolerance(&claims[0]);
    json_t *verdicts = judge(summary(bound, bound + 1), NULL);
    expect(verdicts, "claims", "retention.student.paper", "PASS", "lies wholly at or above");
    expect(verdicts, "claims", "term.kl", "PASS", "lies wholly below");
    expect(verdicts, "claims", "term.mlm", "not decided", "not measured in this profile");
    expect(verdicts, "claims", "smaller", "not decided", "not measured in this profile");
    expect(verdicts, "claims", "faster", "not decided", "not measured in this profile");
    assert_null(find(verdicts, "claims", "retention.student-released.paper"));
    json_decref(verdicts);
    verdicts = judge(summary(bound - 2, bound - 0.01), NULL);
    expect(verdicts, "claims", "retention.student.paper", "FAIL", "lies wholly below");
    json_decref(verdicts);
    verdicts = judge(summary(bound - 2, bound + 2), NULL);
    expect(verdicts, "claims", "retention.student.paper", "not decided", "the bound lies inside");
    json_decref(verdicts);
}

static void a_retention_without_number_or_interval_says_why(void **state)
{
    (void)state;
    json_t *mine = summary(90, 95), *kept = json_object_get(mine, "retention");
    json_object_set_new(kept, "low", json_null());
    json_object_set_new(kept, "high", json_null());
    json_t *verdicts = judge(mine, NULL);
    expect(verdicts, "claims", "retention.student.paper", "not decided", "the teacher is too near zero");
    json_decref(verdicts);
    mine = summary(90, 95);
    json_object_set_new(json_object_get(mine, "retention"), "mean", json_null());
    json_object_del(json_object_get(mine, "retention"), "low");
    verdicts = judge(mine, NULL);
    expect(verdicts, "claims", "retention.student.paper", "not decided", "no task counts");
    assert_true(json_is_null(json_object_get(find(verdicts, "claims", "retention.student.paper"), "measured")));
    json_decref(verdicts);
}

/* A claim is held against a mean over its own tasks, of a student that was taught. */
static void a_retention_of_other_tasks_decides_nothing(void **state)
{
    (void)state;
    static const char *const others[][4] = {{"cola", "mrpc"}, {"rte"}, {"cola", "mrpc", "imdb", "rte"}, {"cola", "mrpc", "rte"}, {NULL}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        json_t *mine = summary(99, 100), *counted = json_array();
        for (int j = 0; j < 4 && others[i][j]; j++)
            json_array_append_new(counted, json_string(others[i][j]));
        json_object_set_new(json_object_get(mine, "retention"), "counted", counted);
        json_t *theirs = summary(99, 100), *verdicts = judge(mine, theirs);
        expect(verdicts, "claims", "retention.student.paper", "not decided", "other tasks count than the claim's");
        expect(verdicts, "claims", "term.kl", "PASS", "lies wholly below");
        assert_null(find(verdicts, "agreement", "reference.theirs.retention.student"));
        assert_non_null(find(verdicts, "agreement", "reference.theirs.cola.student"));
        json_decref(verdicts);
    }
    json_t *mine = summary(99, 100);
    json_object_set_new(mine, "distilled", json_false());
    json_t *verdicts = judge(mine, summary(99, 100));
    expect(verdicts, "claims", "retention.student.paper", "not decided", "the student was not distilled");
    expect(verdicts, "claims", "term.kl", "not decided", "the student was not distilled");
    assert_non_null(find(verdicts, "agreement", "reference.theirs.retention.student"));
    json_decref(verdicts);
}

static void the_released_student_is_judged_where_it_is(void **state)
{
    (void)state;
    json_t *mine = summary(90, 95);
    json_object_set_new(json_object_get(mine, "students"), "student-released",
                        json_pack("{s:f, s:f, s:f, s:[s, s, s]}", "mean", 99.0, "low", 98.0, "high", 100.0, "counted",
                                  "imdb", "cola", "mrpc"));
    json_t *verdicts = judge(mine, NULL);
    expect(verdicts, "claims", "retention.student-released.course", "PASS", "lies wholly at or above");
    expect(verdicts, "claims", "retention.student.paper", "FAIL", "lies wholly below");
    json_decref(verdicts);
}

/* What "40 % smaller" becomes for a teacher and a student of so many parameters. */
static const char *size_verdict(double teacher, double student)
{
    static char verdict[16];
    json_t *mine = summary(90, 95);
    json_object_set_new(mine, "models", json_pack("{s:{s:f}, s:{s:f}}", "teacher", "parameters", teacher, "student",
                                                  "parameters", student));
    json_t *verdicts = judge(mine, NULL);
    snprintf(verdict, sizeof verdict, "%s",
             json_string_value(json_object_get(find(verdicts, "claims", "smaller"), "verdict")));
    json_decref(verdicts);
    return verdict;
}

static void the_papers_own_models_are_small_enough(void **state)
{
    (void)state;
    double bert = number("course.parameters.teacher"), distilbert = number("course.parameters.student");
    assert_string_equal(size_verdict(bert, distilbert), "PASS");
    assert_string_equal(size_verdict(bert, distilbert + 1), "FAIL");
    assert_true(number("paper.smaller") == 40);
}

/* "60 % faster", for a teacher's parts of 11 and 10 seconds and a student's of these. */
static const char *speed_verdict(double first, double second)
{
    static char verdict[16];
    json_t *mine = summary(90, 95);
    json_object_set_new(mine, "models",
                        json_pack("{s:{s:f, s:[f, f]}, s:{s:f, s:[f, f]}}", "teacher", "seconds_one_core", 10.0,
                                  "parts_one_core", 11.0, 10.0, "student", "seconds_one_core", fmin(first, second),
                                  "parts_one_core", first, second));
    json_t *verdicts = judge(mine, NULL);
    snprintf(verdict, sizeof verdict, "%s",
             json_string_value(json_object_get(find(verdicts, "claims", "faster"), "verdict")));
    json_decref(verdicts);
    return verdict;
}

static void speed_must_be_there_in_every_part(void **state)
{
    (void)state;
    assert_true(number("paper.faster") == 60);
    assert_string_equal(speed_verdict(5.5, 6.25), "PASS"); /* 10 / 6.25 = 1.6 */
    assert_string_equal(speed_verdict(5.5, 6.3), "not decided");
    assert_string_equal(speed_verdict(6.7, 6.8), "not decided"); /* 11 / 6.7 = 1.64 */
    assert_string_equal(speed_verdict(7, 8), "FAIL");
}

static void terms_are_the_papers(void **state)
{
    (void)state;
    const char *keys[] = {"kl", "cosine", "mlm", "random"};
    json_t *verdicts = judge(summary(90, 95), NULL);
    for (int i = 0; i < 4; i++) {
        char *name = text_format("term.%s", keys[i]), *path = text_format("paper.table4.%s", keys[i]);
        json_t *finding = find(verdicts, "claims", name);
        assert_non_null(finding);
        assert_true(json_number_value(json_object_get(finding, "published")) == number(path));
        free(name);
        free(path);
    }
    json_decref(verdicts);
}

static void another_run_agrees_or_not(void **state)
{
    (void)state;
    json_t *verdicts = judge(summary(90, 95), summary(95, 97));
    expect(verdicts, "agreement", "reference.theirs.retention.student", "PASS", "the intervals meet");
    expect(verdicts, "agreement", "reference.theirs.cola.student", "PASS", "the intervals meet");
    assert_int_equal(json_array_size(json_object_get(verdicts, "agreement")), 2);
    json_decref(verdicts);
    verdicts = judge(summary(90, 95), summary(96, 97));
    expect(verdicts, "agreement", "reference.theirs.retention.student", "FAIL", "the intervals do not meet");
    json_decref(verdicts);
    json_t *other = summary(90, 95);
    json_object_set_new(json_object_get(other, "retention"), "low", json_null());
    verdicts = judge(summary(90, 95), other);
    expect(verdicts, "agreement", "reference.theirs.retention.student", "not decided", "the committed run has no interval");
    json_decref(verdicts);
}

/* The same run, but for one entry of "settings" or "data". */
static json_t *changed(const char *part, const char *key, const char *value)
{
    json_t *other = summary(90, 95);
    json_object_set_new(json_object_get(other, part), key, json_string(value));
    return judge(summary(90, 95), other);
}

static void another_experiment_is_not_compared(void **state)
{
    (void)state;
    const char *name = "reference.theirs.retention.student";
    json_t *verdicts = changed("settings", "distill.epochs", "10");
    expect(verdicts, "agreement", name, "not decided", "distill.epochs differs");
    json_decref(verdicts);
    verdicts = changed("data", "train.tsv", "cd34");
    expect(verdicts, "agreement", name, "not decided", "train.tsv differs");
    json_decref(verdicts);
    const char *free_ones[] = {"run.jobs", "finetune.seeds", "cola.seeds", "finetune.unheard-of"};
    for (int i = 0; i < 4; i++) {
        verdicts = changed("settings", free_ones[i], "7");
        expect(verdicts, "agreement", name, "PASS", "the intervals meet");
        json_decref(verdicts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_least_needs_the_whole_interval),
        cmocka_unit_test(a_cost_must_leave_zero),
        cmocka_unit_test(runs_agree_where_intervals_meet),
        cmocka_unit_test(nothing_is_decided_without_an_interval),
        cmocka_unit_test(claims_and_noise_are_the_published_ones),
        cmocka_unit_test(tolerance_is_what_draws_say),
        cmocka_unit_test(a_claim_is_held_with_its_tolerance),
        cmocka_unit_test(a_retention_without_number_or_interval_says_why),
        cmocka_unit_test(a_retention_of_other_tasks_decides_nothing),
        cmocka_unit_test(the_released_student_is_judged_where_it_is),
        cmocka_unit_test(the_papers_own_models_are_small_enough),
        cmocka_unit_test(speed_must_be_there_in_every_part),
        cmocka_unit_test(terms_are_the_papers),
        cmocka_unit_test(another_run_agrees_or_not),
        cmocka_unit_test(another_experiment_is_not_compared),
    };
    return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
