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
        char *figure = text_format("%g %%", claim->published);
        assert_true(claim->published == number(claim->path));
        assert_true(claim->quantity == CHANGE || strstr(claim->title, figure));
        free(figure);
    }
    assert_int_equal(count, 11);
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

/* What verdicts look at, of a run that never happened: the retention of two students over tasks, the scores of one, the
   worth of the soft targets. */
static struct sheet sheets[5];
static const struct planned_model student = {.name = "student", .title = "student", .student = true},
                                  released = {.name = "student-released", .title = "student, released weights"},
                                  no_kl = {.name = "student-no-kl", .title = "student, no soft targets"};
static const struct estimate unbounded = {.known = true, .value = 95};

static struct estimate between(double low, double high)
{
    return (struct estimate){true, true, (low + high) / 2, low, high};
}

static void add(struct findings *f, enum quantity quantity, const struct sheet *sheet,
                const struct planned_model *model, struct estimate is, enum reason why)
{
    findings_add(f, (struct finding){quantity, sheet, model, is, why, NULL});
}

/* Tasks that count for the mean retention of a student, and the mean. */
static void add_retention(struct findings *f, const struct planned_model *model, const char *const *tasks,
                          struct estimate mean, enum reason why)
{
    for (int i = 0; tasks[i]; i++) {
        sheets[i] = (struct sheet){.task = task_find(tasks[i]), .title = (char *)task_find(tasks[i])->title, .shown = true};
        add(f, RETENTION, &sheets[i], model, between(90, 95), NOT_MEASURED);
    }
    add(f, RETENTION, NULL, model, mean, why);
}

static const char *const three[] = {"cola", "mrpc", "imdb", NULL};

static struct findings *made_up(double low, double high)
{
    struct findings *f = allocate(1, sizeof *f);
    f->student = TAUGHT;
    add_retention(f, &student, three, between(low, high), NOT_MEASURED);
    add(f, SCORE, &sheets[0], &student, between(48, 52), NOT_MEASURED);
    add(f, CHANGE, NULL, &no_kl, between(-3, -1), NOT_MEASURED);
    return f;
}

/* The summary of another run, which is like this one. */
static json_t *summary(double low, double high)
{
    return json_pack(
        "{s:{s:s, s:s, s:s, s:s}, s:{s:s}, s:{s:f, s:f, s:f, s:[s, s, s]}, s:{s:{s:{s:{s:f, s:f, s:f}}}}}", "settings",
        "run.jobs", "2", "distill.epochs", "3", "finetune.seeds", "1 2", "cola.seeds", "1 2", "data", "train.tsv", "ab12",
        "retention", "mean", (low + high) / 2, "low", low, "high", high, "counted", "cola", "mrpc", "imdb", "tasks", "cola",
        "median", "student", "score", 50.0, "low", 48.0, "high", 52.0);
}

/* Judges findings, which it frees, beside another run or NULL. */
static struct verdicts *judge(struct findings *f, json_t *other)
{
    static json_t *mine, *references; /* their names are kept */
    json_decref(mine);
    json_decref(references);
    mine = summary(90, 95);
    references = json_object();
    if (other)
        json_object_set_new(references, "theirs", other);
    struct verdicts *verdicts = verdicts_judge(f, false, mine, references);
    findings_free(f);
    return verdicts;
}

static const struct judgement *find(const struct judgements *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (!strcmp(list->list[i].name, name))
            return &list->list[i];
    return NULL;
}

static void expect(const struct judgements *list, const char *name, enum verdict verdict, const char *why)
{
    const struct judgement *j = find(list, name);
    if (!j)
        fail_msg("no judgement %s", name);
    assert_int_equal(j->verdict, verdict);
    assert_string_equal(j->why, why);
}

static void a_claim_is_held_with_its_tolerance(void **state)
{
    (void)state;
    double bound = 97 - claim_tolerance(&claims[0]);
    struct verdicts *v = judge(made_up(bound, bound + 1), NULL);
    expect(&v->claims, "retention.student.paper", PASS, "lies wholly at or above");
    expect(&v->claims, "term.student-no-kl", PASS, "lies wholly below");
    expect(&v->claims, "term.student-no-mlm", UNDECIDED, "not measured in this run");
    expect(&v->claims, "smaller", UNDECIDED, "not measured in this run");
    expect(&v->claims, "faster", UNDECIDED, "not measured in this run");
    assert_null(find(&v->claims, "retention.student-released.paper"));
    v = judge(made_up(bound - 2, bound - 0.01), NULL);
    expect(&v->claims, "retention.student.paper", FAIL, "lies wholly below");
    v = judge(made_up(bound - 2, bound + 2), NULL);
    expect(&v->claims, "retention.student.paper", UNDECIDED, "the bound lies inside");
}

static void a_retention_without_number_or_interval_says_why(void **state)
{
    (void)state;
    struct findings *f = allocate(1, sizeof *f);
    f->student = TAUGHT;
    add_retention(f, &student, three, unbounded, NEAR_ZERO);
    struct verdicts *v = judge(f, NULL);
    expect(&v->claims, "retention.student.paper", UNDECIDED, "the teacher is too near zero");
    f = allocate(1, sizeof *f);
    f->student = TAUGHT;
    add_retention(f, &student, (const char *const[]){NULL}, (struct estimate){.known = false}, NO_TASK);
    v = judge(f, NULL);
    expect(&v->claims, "retention.student.paper", UNDECIDED, "no task counts");
}

/* A claim is held against a mean over its own tasks, of a student that was taught. */
static void a_retention_of_other_tasks_decides_nothing(void **state)
{
    (void)state;
    static const char *const others[][5] = {{"cola", "mrpc"}, {"rte"}, {"cola", "mrpc", "imdb", "rte"}, {"cola", "mrpc", "rte"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct findings *f = allocate(1, sizeof *f);
        f->student = TAUGHT;
        add_retention(f, &student, others[i], between(99, 100), NOT_MEASURED);
        add(f, CHANGE, NULL, &no_kl, between(-3, -1), NOT_MEASURED);
        struct verdicts *v = judge(f, NULL);
        expect(&v->claims, "retention.student.paper", UNDECIDED, "other tasks count than the claim's");
        expect(&v->claims, "term.student-no-kl", PASS, "lies wholly below");
    }
    json_t *theirs = summary(99, 100);
    json_array_append_new(json_object_get(json_object_get(theirs, "retention"), "counted"), json_string("rte"));
    struct verdicts *v = judge(made_up(99, 100), theirs);
    assert_null(find(&v->agreement, "reference.theirs.retention.student"));
    assert_non_null(find(&v->agreement, "reference.theirs.cola.student"));
    struct findings *f = made_up(99, 100);
    f->student = UNTAUGHT;
    v = judge(f, summary(99, 100));
    expect(&v->claims, "retention.student.paper", UNDECIDED, "the student was not distilled");
    expect(&v->claims, "term.student-no-kl", UNDECIDED, "the student was not distilled");
    assert_non_null(find(&v->agreement, "reference.theirs.retention.student"));
}

/* Of a generated language, what is kept is held against no figure, and a part is judged without one. */
static void what_is_claimed_of_english_is_judged_of_english(void **state)
{
    (void)state;
    struct findings *f = made_up(99, 100);
    json_t *mine = summary(99, 100);
    add_retention(f, &released, three, between(98, 100), NOT_MEASURED);
    add(f, MOST_KEPT, NULL, NULL, between(98, 100), NEAR_ZERO);
    struct verdicts *v = verdicts_judge(f, true, mine, NULL);
    static const char *const about_english[] = {"retention.student.paper", "retention.student.course",
                                                "retention.student-released.paper", "hour"};
    for (size_t i = 0; i < sizeof about_english / sizeof *about_english; i++)
        assert_null(find(&v->claims, about_english[i]));
    expect(&v->claims, "term.student-no-kl", PASS, "lies wholly below");
    assert_string_equal(find(&v->claims, "term.student-no-kl")->claim, "soft targets help");
    assert_int_equal(find(&v->claims, "smaller")->verdict, UNDECIDED);
    findings_free(f);
    json_decref(mine);
}

static void the_released_student_is_judged_where_it_is(void **state)
{
    (void)state;
    struct findings *f = made_up(90, 95);
    add_retention(f, &released, three, between(98, 100), NOT_MEASURED);
    struct verdicts *v = judge(f, NULL);
    expect(&v->claims, "retention.student-released.course", PASS, "lies wholly at or above");
    expect(&v->claims, "retention.student.paper", FAIL, "lies wholly below");
}

/* The verdict on a claim about one number. */
static enum verdict verdict_on(const char *claim, enum quantity quantity, struct estimate is)
{
    struct findings *f = made_up(90, 95);
    add(f, quantity, NULL, &student, is, NOT_MEASURED);
    struct verdicts *v = judge(f, NULL);
    enum verdict verdict = find(&v->claims, claim)->verdict;
    return verdict;
}

static void the_papers_own_models_are_small_enough(void **state)
{
    (void)state;
    double bert = number("course.parameters.teacher"), distilbert = number("course.parameters.student"),
           smaller = 100 * (1 - distilbert / bert), less = 100 * (1 - (distilbert + 1) / bert);
    assert_int_equal(verdict_on("smaller", SMALLER, between(smaller, smaller)), PASS);
    assert_int_equal(verdict_on("smaller", SMALLER, between(less, less)), FAIL);
}

static void speed_must_be_there_in_every_part(void **state)
{
    (void)state;
    assert_int_equal(verdict_on("faster", FASTER_ONE, between(60, 100)), PASS);
    assert_int_equal(verdict_on("faster", FASTER_ONE, between(59, 100)), UNDECIDED);
    assert_int_equal(verdict_on("faster", FASTER_ONE, between(25, 57)), FAIL);
    assert_int_equal(verdict_on("faster", FASTER_ONE, unbounded), UNDECIDED);
}

/* The claim about an hour is asked where somebody looked for the most, and passes or fails by its ends. */
static void an_hour_is_asked_where_there_are_candidates(void **state)
{
    (void)state;
    double bound = 97 - claim_tolerance(&claims[0]);
    const struct {
        struct estimate most;
        enum reason why;
        enum verdict verdict;
        const char *text;
    } cases[] = {{between(bound, 99), NEAR_ZERO, PASS, "lies wholly at or above"},
                 {between(90, bound - 0.01), NEAR_ZERO, FAIL, "lies wholly below"},
                 {between(bound - 1, bound + 1), NEAR_ZERO, UNDECIDED, "the bound lies inside"},
                 {unbounded, NEAR_ZERO, UNDECIDED, "the teacher is too near zero"},
                 {{.known = false}, NO_STUDENT, UNDECIDED, "no small student took an hour or less"}};
    struct verdicts *v = judge(made_up(90, 95), NULL);
    assert_null(find(&v->claims, "hour"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct findings *f = made_up(90, 95);
        add(f, MOST_KEPT, NULL, NULL, cases[i].most, cases[i].why);
        v = judge(f, NULL);
        expect(&v->claims, "hour", cases[i].verdict, cases[i].text);
        expect(&v->claims, "retention.student.paper", FAIL, "lies wholly below");
    }
}

static void another_run_agrees_or_not(void **state)
{
    (void)state;
    struct verdicts *v = judge(made_up(90, 95), summary(95, 97));
    expect(&v->agreement, "reference.theirs.retention.student", PASS, "the intervals meet");
    expect(&v->agreement, "reference.theirs.cola.student", PASS, "the intervals meet");
    assert_int_equal(v->agreement.count, 2);
    v = judge(made_up(90, 95), summary(96, 97));
    expect(&v->agreement, "reference.theirs.retention.student", FAIL, "the intervals do not meet");
    json_t *other = summary(90, 95);
    json_object_set_new(json_object_get(other, "retention"), "low", json_null());
    v = judge(made_up(90, 95), other);
    expect(&v->agreement, "reference.theirs.retention.student", UNDECIDED, "the committed run has no interval");
}

/* The same run, but for one entry of "settings" or "data". */
static void expect_changed(const char *part, const char *key, const char *value, enum verdict verdict, const char *why)
{
    json_t *other = summary(90, 95);
    json_object_set_new(json_object_get(other, part), key, json_string(value));
    struct verdicts *v = judge(made_up(90, 95), other);
    expect(&v->agreement, "reference.theirs.retention.student", verdict, why);
}

static void another_experiment_is_not_compared(void **state)
{
    (void)state;
    expect_changed("settings", "distill.epochs", "10", UNDECIDED, "distill.epochs differs");
    expect_changed("data", "train.tsv", "cd34", UNDECIDED, "train.tsv differs");
    const char *free_ones[] = {"run.jobs", "finetune.seeds", "cola.seeds", "finetune.unheard-of"};
    for (int i = 0; i < 4; i++)
        expect_changed("settings", free_ones[i], "7", PASS, "the intervals meet");
}

/* What is said of so many judgements of each verdict. */
static const char *said(const char *what, const char *against, const int counts[3], bool toyland)
{
    struct judgement list[16] = {{.name = NULL}};
    struct judgements all = {what, against, toyland, list, 0};
    for (enum verdict verdict = UNDECIDED; verdict <= FAIL; verdict++)
        for (int i = 0; i < counts[verdict]; i++)
            list[all.count++].verdict = verdict;
    return verdicts_said(&all);
}

static void a_count_of_verdicts_is_english(void **state)
{
    (void)state;
    static const int numbers[] = {0, 1, 3}; /* none, one, several: PASS, FAIL, not decided */
    static const char *const texts[27] = {
        "No claim is held against this run",
        "1 claim is held against this run: 1 is not decided",
        "3 claims are held against this run: 3 are not decided",
        "1 claim is held against this run: 1 fails",
        "2 claims are held against this run: 1 fails and 1 is not decided",
        "4 claims are held against this run: 1 fails and 3 are not decided",
        "3 claims are held against this run: 3 fail",
        "4 claims are held against this run: 3 fail and 1 is not decided",
        "6 claims are held against this run: 3 fail and 3 are not decided",
        "1 claim is held against this run: 1 passes",
        "2 claims are held against this run: 1 passes and 1 is not decided",
        "4 claims are held against this run: 1 passes and 3 are not decided",
        "2 claims are held against this run: 1 passes and 1 fails",
        "3 claims are held against this run: 1 passes, 1 fails and 1 is not decided",
        "5 claims are held against this run: 1 passes, 1 fails and 3 are not decided",
        "4 claims are held against this run: 1 passes and 3 fail",
        "5 claims are held against this run: 1 passes, 3 fail and 1 is not decided",
        "7 claims are held against this run: 1 passes, 3 fail and 3 are not decided",
        "3 claims are held against this run: 3 pass",
        "4 claims are held against this run: 3 pass and 1 is not decided",
        "6 claims are held against this run: 3 pass and 3 are not decided",
        "4 claims are held against this run: 3 pass and 1 fails",
        "5 claims are held against this run: 3 pass, 1 fails and 1 is not decided",
        "7 claims are held against this run: 3 pass, 1 fails and 3 are not decided",
        "6 claims are held against this run: 3 pass and 3 fail",
        "7 claims are held against this run: 3 pass, 3 fail and 1 is not decided",
        "9 claims are held against this run: 3 pass, 3 fail and 3 are not decided",
    };
    for (int i = 0; i < 27; i++) {
        const int counts[3] = {[PASS] = numbers[i / 9], [FAIL] = numbers[i / 3 % 3], [UNDECIDED] = numbers[i % 3]};
        assert_string_equal(said("claim", "this run", counts, false), texts[i]);
    }
    assert_string_equal(said("claim", "this run", (int[3]){[PASS] = 1}, true), "1 claim is held against this run: 1 passes on Toyland");
    assert_string_equal(said("number", "committed runs", (int[3]){[PASS] = 2, [UNDECIDED] = 1}, true),
                        "3 numbers are held against committed runs: 2 pass on Toyland and 1 is not decided");
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
        cmocka_unit_test(what_is_claimed_of_english_is_judged_of_english),
        cmocka_unit_test(the_released_student_is_judged_where_it_is),
        cmocka_unit_test(the_papers_own_models_are_small_enough),
        cmocka_unit_test(speed_must_be_there_in_every_part),
        cmocka_unit_test(an_hour_is_asked_where_there_are_candidates),
        cmocka_unit_test(another_run_agrees_or_not),
        cmocka_unit_test(another_experiment_is_not_compared),
        cmocka_unit_test(a_count_of_verdicts_is_english),
    };
    return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
