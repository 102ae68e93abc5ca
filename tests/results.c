/* Scores, ratios and intervals, and how numbers become text. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "catch.h"
#include "fail.h"
#include "file.h"
#include "measure.h"
#include "published.h"
#include "random.h"
#include "run.h"
#include "values.h"

#include <jansson.h>

static double published(const char *path)
{
    char *text = published_text(path);
    double number = strtod(text, NULL);
    free(text);
    return number;
}

/* A measure that would be the same in any resample. */
static struct measure *certain(double value)
{
    struct measure *measure = allocate(1, sizeof *measure);
    measure->value = value;
    for (int r = 0; r < RESAMPLES; r++)
        measure->draws[r] = value;
    return measure;
}

/* The mean retention over tasks, from a teacher's and a student's scores. */
static double retention(const double *teacher, const double *student, int tasks)
{
    struct measure *ratios[8] = {NULL};
    for (int i = 0; i < tasks; i++) {
        struct measure *t = certain(teacher[i]), *s = certain(student[i]);
        ratios[i] = measure_ratio(s, t);
        free(t);
        free(s);
    }
    struct measure *mean = measure_mean(ratios, tasks);
    double value = mean->value;
    for (int i = 0; i < tasks; i++)
        free(ratios[i]);
    free(mean);
    return value;
}

static void course_scores_give_course_retention(void **state)
{
    (void)state;
    double teacher[] = {published("course.cola.teacher"), published("course.mrpc.teacher"),
                        published("course.imdb.teacher")};
    double student[] = {published("course.cola.student"), published("course.mrpc.student"),
                        published("course.imdb.student")};
    assert_true(fabs(retention(teacher, student, 3) - 94.35) < 0.005);
    assert_true(fabs(published("course.retention") - 94.35) < 1e-9);
    const char *tasks[] = {"cola", "mrpc", "imdb"};
    for (int i = 0; i < 3; i++) {
        char *key = text_format("course.ratio.%s", tasks[i]);
        assert_true(fabs(retention(teacher + i, student + i, 1) - published(key)) <= 0.05);
        free(key);
    }
}

static void paper_scores_give_paper_ratios(void **state)
{
    (void)state;
    double bert[] = {published("paper.table1.bert.cola"), published("paper.table1.bert.mrpc"),
                     published("paper.table2.bert.imdb"), published("paper.table1.bert.score"),
                     published("paper.table2.bert.f1"), published("paper.table1.bert.sst2"),
                     published("paper.table1.bert.qqp"), published("paper.table1.bert.stsb"),
                     published("paper.table1.bert.mnli"), published("paper.table1.bert.qnli"),
                     published("paper.table1.bert.rte"), published("paper.table1.bert.wnli")};
    double distilbert[] = {
        published("paper.table1.distilbert.cola"), published("paper.table1.distilbert.mrpc"),
        published("paper.table2.distilbert.imdb"), published("paper.table1.distilbert.score"),
        published("paper.table2.distilbert.f1"), published("paper.table1.distilbert.sst2"),
        published("paper.table1.distilbert.qqp"), published("paper.table1.distilbert.stsb"),
        published("paper.table1.distilbert.mnli"), published("paper.table1.distilbert.qnli"),
        published("paper.table1.distilbert.rte"), published("paper.table1.distilbert.wnli")};
    const char *keys[] = {"cola", "mrpc", "imdb", "score", "squad", "sst2", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"};
    for (int i = 0; i < 12; i++) {
        char *key = text_format("paper.ratio.%s", keys[i]);
        assert_true(fabs(retention(bert + i, distilbert + i, 1) - published(key)) <= 0.05);
        free(key);
    }
    assert_true(fabs(retention(bert, distilbert, 3) - published("paper.ratio.three")) <= 0.05);
}

static void teacher_without_a_score_defines_no_retention(void **state)
{
    (void)state;
    for (double score = -3; score <= 0; score += 1.5) {
        struct measure *teacher = certain(score), *student = certain(20);
        struct measure *ratio = measure_ratio(student, teacher);
        struct estimate estimate = measure_estimate(ratio);
        assert_false(estimate.known);
        assert_false(estimate.bounded);
        assert_string_equal(estimate_against(&estimate, 97), "not comparable with");
        free(teacher);
        free(student);
        free(ratio);
    }
    struct estimate none = measure_estimate(NULL);
    assert_false(none.known);
}

static void interval_needs_nearly_all_resamples(void **state)
{
    (void)state;
    struct measure *measure = certain(1);
    for (int r = 0; r < RESAMPLES / 20; r++)
        measure->draws[r] = NAN;
    assert_true(measure_estimate(measure).bounded);
    measure->draws[RESAMPLES / 20] = NAN;
    struct estimate estimate = measure_estimate(measure);
    assert_true(estimate.known);
    assert_false(estimate.bounded);
    free(measure);
}

static void interval_leaves_out_the_outer_twentieth(void **state)
{
    (void)state;
    struct measure *measure = certain(0);
    for (int r = 0; r < RESAMPLES; r++)
        measure->draws[r] = (r * 7) % RESAMPLES; /* 0 .. 1999, each once, in another order */
    struct estimate estimate = measure_estimate(measure);
    assert_true(estimate.low == 49 && estimate.high == 1950);
    free(measure);
}

/* Of ten students of the same merit the best looks better than it is: its own interval misses the truth in one world
   of five, one for the best of ten in one of twenty at most. */
static void the_best_of_many_has_a_wider_interval(void **state)
{
    (void)state;
    enum { WORLDS = 200, STUDENTS = 10 };
    struct measure *m = certain(0);
    for (int r = 0; r < RESAMPLES; r++)
        m->draws[r] = (r * 7) % RESAMPLES;
    const int counts[] = {1, 10, 1000}, outside[] = {49, 4, 0};
    for (int i = 0; i < 3; i++) {
        struct estimate e = measure_among(m, counts[i]);
        assert_true(e.low == outside[i] && e.high == RESAMPLES - 1 - outside[i]);
    }
    int alone = 0, among = 0;
    for (int world = 0; world < WORLDS; world++) {
        double best_alone = -INFINITY, best_among = -INFINITY;
        for (int i = 0; i < STUDENTS; i++) {
            uint64_t place = (uint64_t)(world * STUDENTS + i) * (RESAMPLES + 1);
            m->value = random_normal(5, place);
            for (int r = 0; r < RESAMPLES; r++)
                m->draws[r] = m->value + random_normal(5, place + 1 + (uint64_t)r);
            best_alone = fmax(best_alone, measure_estimate(m).low);
            best_among = fmax(best_among, measure_among(m, STUDENTS).low);
        }
        alone += best_alone > 0;
        among += best_among > 0;
    }
    assert_true(alone > WORLDS / 10);
    assert_true(among <= WORLDS / 20);
    free(m);
}

static void median_is_the_middle(void **state)
{
    (void)state;
    assert_true(measure_median((double[]){5, 1, 9}, 3) == 5);
    assert_true(measure_median((double[]){5, 1, 9, 7}, 4) == 6);
    assert_true(measure_median((double[]){3}, 1) == 3);
}

enum { ROWS = 400 };

/* The answers of so many fine-tunings, by one of the distillations each. */
static struct measure *scores_of(const char *task, enum metric metric, const double *labels, double *const *list,
                                 const int *origin, int seeds)
{
    struct tries tries = {labels, list, origin, ROWS, seeds};
    return measure_scores(task_find(task), metric, &tries);
}

/* Labels, and predictions of which so many in a hundred are right. */
static void make_answers(double *labels, double *predictions, int right)
{
    for (int row = 0; row < ROWS; row++) {
        labels[row] = row % 2;
        predictions[row] = row * 100 < right * ROWS ? labels[row] : 1 - labels[row];
    }
}

static void bootstrap_agrees_with_the_binomial(void **state)
{
    (void)state;
    double labels[ROWS], predictions[ROWS], *list[] = {predictions};
    make_answers(labels, predictions, 80);
    struct measure *m = scores_of("imdb", ACCURACY, labels, list, NULL, 1);
    struct estimate estimate = measure_estimate(m);
    assert_true(fabs(estimate.value - 80) < 1e-9);
    double half = 1.96 * 100 * sqrt(0.8 * 0.2 / ROWS); /* 3.9 points */
    assert_true(fabs((estimate.high - estimate.low) / 2 - half) < 0.1 * half);
    assert_true(fabs((estimate.high + estimate.low) / 2 - 80) < 0.5);
    free(m);
}

static void seeds_widen_the_interval(void **state)
{
    (void)state;
    double labels[ROWS], a[ROWS], b[ROWS], c[ROWS], *list[] = {a, b, c};
    make_answers(labels, a, 60);
    make_answers(labels, b, 75);
    make_answers(labels, c, 90);
    struct measure *m = scores_of("imdb", ACCURACY, labels, list, NULL, 3);
    struct estimate estimate = measure_estimate(m);
    assert_true(fabs(estimate.value - 75) < 1e-9);
    assert_true(estimate.low < 65 && estimate.high > 85); /* all draws of seed 1, or of seed 3 */
    free(m);
}

/* Two distillations whose fine-tunings differ: an interval that knows of them is wider than one that takes the
   fine-tunings for so many of one kind. */
static void distillations_widen_the_interval(void **state)
{
    (void)state;
    double labels[ROWS], answers[6][ROWS], *list[6];
    const int right[6] = {60, 84, 68, 88, 72, 96}, origin[6] = {0, 1, 0, 1, 0, 1}, alike[6] = {0};
    for (int i = 0; i < 6; i++)
        make_answers(labels, list[i] = answers[i], right[i]);
    struct measure *known = scores_of("imdb", ACCURACY, labels, list, origin, 6),
                   *ignored = scores_of("imdb", ACCURACY, labels, list, NULL, 6),
                   *one = scores_of("imdb", ACCURACY, labels, list, alike, 6);
    struct estimate a = measure_estimate(known), b = measure_estimate(ignored);
    assert_true(a.value == 78 && b.value == 78);
    assert_true(a.high - a.low > 1.1 * (b.high - b.low));
    assert_memory_equal(ignored, one, sizeof *one); /* one distillation: the same draws */
    free(known);
    free(ignored);
    free(one);
}

/* A student's tasks share its distillations, so the mean over tasks is not surer of them than a single task. */
static void tasks_share_distillations(void **state)
{
    (void)state;
    double labels[ROWS], bad[ROWS], good[ROWS], *list[] = {bad, good};
    const int origin[] = {0, 1};
    make_answers(labels, bad, 0);
    make_answers(labels, good, 100);
    const char *tasks[] = {"imdb", "sst2", "rte", "wnli"};
    struct measure *scores[4];
    for (int i = 0; i < 4; i++)
        scores[i] = scores_of(tasks[i], ACCURACY, labels, list, origin, 2);
    for (int r = 0; r < RESAMPLES; r++)
        for (int i = 1; i < 4; i++)
            assert_true(scores[i]->draws[r] == scores[0]->draws[r]);
    struct measure *other = scores_of("imdb", ACCURACY, labels, list, NULL, 2);
    int differ = 0;
    for (int r = 0; r < RESAMPLES; r++)
        differ += other->draws[r] != scores[0]->draws[r];
    assert_true(differ > RESAMPLES / 4); /* a model that was not distilled twice has others */
    free(other);
    for (int i = 0; i < 4; i++)
        free(scores[i]);
}

/* Two students whose seeds are good and bad alike: what seeds do to both is no doubt about their difference. */
static void students_share_seeds(void **state)
{
    (void)state;
    double labels[ROWS], answers[8][ROWS], *better[4], *worse[4];
    const int right[4] = {60, 90, 70, 80}, origin[4] = {0, 1, 0, 1};
    for (int i = 0; i < 4; i++) {
        make_answers(labels, better[i] = answers[i], right[i] + 5);
        make_answers(labels, worse[i] = answers[4 + i], right[i]);
    }
    struct measure *a = scores_of("imdb", ACCURACY, labels, better, origin, 4),
                   *b = scores_of("imdb", ACCURACY, labels, worse, origin, 4), *change = measure_difference(a, b);
    struct estimate score = measure_estimate(a), difference = measure_estimate(change);
    assert_true(score.high - score.low > 15);
    assert_true(difference.low > 2 && difference.high < 8); /* the rows are all the doubt that is left */
    free(a);
    free(b);
    free(change);
}

static void same_answers_give_exactly_a_hundred(void **state)
{
    (void)state;
    double labels[ROWS], predictions[ROWS], *list[] = {predictions};
    make_answers(labels, predictions, 80);
    for (const struct task *task = task_list; task->name; task++) {
        struct measure *teacher = scores_of(task->name, task->metric, labels, list, NULL, 1);
        struct measure *student = scores_of(task->name, task->metric, labels, list, NULL, 1);
        struct measure *ratio = measure_ratio(student, teacher);
        struct estimate estimate = measure_estimate(ratio); /* the same rows were drawn for both */
        assert_true(estimate.value == 100 && estimate.low == 100 && estimate.high == 100);
        free(teacher);
        free(student);
        free(ratio);
    }
}

static void threads_change_nothing(void **state)
{
    (void)state;
    double labels[ROWS], a[ROWS], b[ROWS], *list[] = {a, b};
    make_answers(labels, a, 70);
    make_answers(labels, b, 72);
    omp_set_num_threads(1);
    struct measure *one = scores_of("cola", MATTHEWS, labels, list, NULL, 2);
    omp_set_num_threads(3);
    struct measure *three = scores_of("cola", MATTHEWS, labels, list, NULL, 2);
    assert_memory_equal(one, three, sizeof *one);
    free(one);
    free(three);
}

static void words_follow_the_interval(void **state)
{
    (void)state;
    struct estimate e = {true, true, 95, 93, 97};
    assert_string_equal(estimate_against(&e, 98), "below");
    assert_string_equal(estimate_against(&e, 92), "above");
    assert_string_equal(estimate_against(&e, 97), "not distinguishable from");
    assert_string_equal(estimate_against(&e, 93), "not distinguishable from");
}

static void numbers_become_texts(void **state)
{
    (void)state;
    const struct {
        double number;
        int decimals;
        const char *text;
    } cases[] = {{1234567, 0, "1,234,567"}, {-1234.56, 1, "−1,234.6"}, {999.96, 1, "1,000.0"},
                 {-0.04, 1, "0.0"},         {0.5, 2, "0.50"},          {100, 0, "100"},
                 {12, 0, "12"},             {-3, 0, "−3"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = number_text(cases[i].number, cases[i].decimals);
        assert_string_equal(text, cases[i].text);
        free(text);
    }
    const struct {
        double number;
        const char *significant, *duration;
    } more[] = {{0.01234, "0.0123", "0.0 s"},  {9.96, "9.96", "10 s"},   {12.34, "12.3", "12 s"},
                {0, "0.00", "0.0 s"},          {187, "187", "3 min 07 s"}, {3661, "3,661", "1 h 01 min"},
                {59.7, "59.7", "1 min 00 s"},  {2.04, "2.04", "2.0 s"}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        assert_string_equal(significant(more[i].number), more[i].significant);
        assert_string_equal(duration_said(more[i].number), more[i].duration);
    }
}

static void one_is_no_plural(void **state)
{
    (void)state;
    const struct {
        double count;
        const char *text;
    } cases[] = {{0, "no epochs"}, {1, "1 epoch"}, {3, "3 epochs"}, {0.5, "0.5 epochs"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(count_said(cases[i].count, "epoch"), cases[i].text);
}

static void words_become_lists(void **state)
{
    (void)state;
    const char *const texts[] = {"", "a", "a and b", "a, b and c", "a, b and 2 more"};
    for (int n = 0; n < 5; n++) {
        struct words words = {NULL, 0};
        for (int i = 0; i < n; i++) {
            words_add(&words, say("%c", 'a' + i));
            words_add(&words, "a"); /* is there already, or the first */
        }
        struct words few = words_few(&words, n == 4 ? 2 : 3);
        assert_string_equal(words_said(&few), texts[n]);
        assert_int_equal(words.count, n); /* the list is what it was */
        assert_int_equal(strlen(words_joined(&words, ", ")), n ? 3 * n - 2 : 0);
    }
    forget();
}

/* Students, and by how much each is worse, better, or neither: none, one or several of every kind are told in English. */
static void changes_become_sentences(void **state)
{
    (void)state;
    static const struct estimate kinds[3][5] = {
        {{true, true, -2.04, -3, -1}, {true, true, -4, -5, -3}, {true, true, -3, -4, -2}, {true, true, -1, -2, -0.1}, {true, true, -0.5, -0.6, -0.4}},
        {{true, true, 1.26, 1, 2}, {true, true, 4, 3, 5}, {true, true, 3, 2, 4}, {true, true, 1, 0.1, 2}, {true, true, 0.5, 0.1, 2}},
        {{true, true, -0.04, -1, 1}, {true, false, 0.7, 0, 0}, {true, true, 0.04, -1, 1}, {true, true, 0.5, -1, 1}, {true, true, -0.6, -1, 0}}};
    static const char *const texts[3][5] = {
        {"worse than %s is “s0” (−2.0)", "worse than %s are “s1” (−4.0) and “s0” (−2.0)",
         "worse than %s are “s1” (−4.0), “s2” (−3.0) and “s0” (−2.0)",
         "worse than %s are “s1” (−4.0), “s2” (−3.0), “s0” (−2.0) and “s3” (−1.0)",
         "worse than %s are “s1” (−4.0), “s2” (−3.0), “s0” (−2.0) and 2 more"},
        {"better than %s is “s0” (+1.3)", "better than %s are “s1” (+4.0) and “s0” (+1.3)",
         "better than %s are “s1” (+4.0), “s2” (+3.0) and “s0” (+1.3)",
         "better than %s are “s1” (+4.0), “s2” (+3.0), “s0” (+1.3) and “s3” (+1.0)",
         "better than %s are “s1” (+4.0), “s2” (+3.0), “s0” (+1.3) and 2 more"},
        {"not distinguishable from %s is “s0”", "not distinguishable from %s are “s1” and “s0”",
         "not distinguishable from %s are “s1”, “s0” and “s2”", "not distinguishable from %s are “s1”, “s3”, “s0” and “s2”",
         "not distinguishable from %s are “s1”, “s4”, “s3” and 2 more"}};
    static const struct planned_model models[5] = {{.title = "student, s0"}, {.title = "student, s1", .rank = 1},
                                                   {.title = "s2", .rank = 2}, {.title = "student, s3", .rank = 3},
                                                   {.title = "s4", .rank = 4}};
    for (int i = 1; i < 6 * 6 * 6; i++) {
        const int counts[3] = {i / 36, i / 6 % 6, i % 6};
        struct finding list[15];
        const struct finding *changes[15];
        const char *expected = "";
        int all = 0;
        for (int kind = 0; kind < 3; kind++) {
            const char *whom = *expected ? "it" : "the student";
            for (int k = counts[kind] - 1; k >= 0; k--, all++) {
                list[all] = (struct finding){.quantity = CHANGE, .model = &models[k], .is = kinds[kind][k]};
                changes[all] = &list[all];
            }
            if (counts[kind] > 0) {
                const char *text = texts[kind][counts[kind] - 1], *gap = strstr(text, "%s");
                expected = say("%s%s%.*s%s%s", expected, *expected ? "; " : "", (int)(gap - text), text, whom, gap + 2);
            }
        }
        assert_string_equal(changes_said(changes, all), expected);
    }
    forget();
}

/* What a student is there for is told by what was planned, not by its name. */
static void students_differ_in_one_thing(void **state)
{
    (void)state;
    const struct planned_model first = {.student = true, .layers = 2, .layer = {0, 2}, .losses = {.mlm = 2, .kl = 5, .cosine = 1},
                                        .recipe = {.epochs = 3}},
                               teacher = {.layers = 4};
    const struct planned_model replaces = {.student = true, .replaces = true, .layers = 2, .layer = {0, 1}};
    struct planned_model no_kl = first, random = first, untaught = first, last = first, more = first, related = first,
                         rate = first, both = first, twice = {.student = true, .from = &first, .hears = true},
                         longer = {.student = true, .from = &first}, released = first;
    no_kl.losses.kl = 0;
    random.initial = INITIAL_RANDOM;
    untaught.recipe.epochs = 0;
    last.layer[0] = 3;
    more.layers = 3;
    related.losses.relations = 1;
    rate.recipe.optimizer.rate = 1;
    both.losses.cosine = 0;
    both.layer[0] = 3;
    released.initial = INITIAL_FOLDER;
    released.recipe.epochs = 0;
    const struct {
        const struct planned_model *model;
        enum difference difference;
    } cases[] = {{&first, NO_DIFFERENCE}, {&teacher, NO_DIFFERENCE}, {NULL, NO_DIFFERENCE}, {&no_kl, A_PART},
                 {&random, A_PART}, {&untaught, A_PART}, {&last, OTHER_LAYERS}, {&more, OTHER_LAYERS},
                 {&related, ANOTHER_RECIPE}, {&rate, ANOTHER_RECIPE}, {&both, A_PART}, {&twice, FINE_TUNED_TEACHERS}, {&longer, ANOTHER_RECIPE},
                 {&released, ANOTHER_ORIGIN}, {&replaces, ANOTHER_RECIPE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(difference_of(cases[i].model, &first), cases[i].difference);
    assert_int_equal(difference_of(&last, NULL), NO_DIFFERENCE);
}

/* Which medians a collapsed fine-tuning touches: those that are its score, or the mean of it and another. */
static void a_median_says_when_it_is_touched(void **state)
{
    (void)state;
    const struct {
        int seeds;
        double scores[5];
        bool collapsed[5], touched;
    } cases[] = {{1, {50}, {true}, true},
                 {1, {50}, {false}, false},
                 {3, {50, 80, 81}, {true}, false},
                 {3, {80, 50, 50}, {false, true, true}, true},
                 {2, {50, 80}, {true}, true},
                 {4, {50, 80, 81, 82}, {true}, false},
                 {4, {50, 80, 50, 82}, {true, false, true}, true},
                 {5, {90, 50, 80, 50, 81}, {false, true, false, true}, false},
                 {3, {50, 50, 80}, {true, false, false}, true}}; /* the middle one's score, whoever has it */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(measure_touched(cases[i].scores, cases[i].collapsed, cases[i].seeds), cases[i].touched);
    }
}

static void write_file(const char *path, const char *text)
{
    struct file_writer *writer = file_create(path);
    fputs(text, file_stream(writer));
    file_commit(writer);
}

static void grids_are_read_and_refused(void **state)
{
    (void)state;
    char folder[] = "/tmp/results-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = text_format("%s/grid.tsv", folder);
    write_file(path, "step\tloss\n1\t2.5\n2\t\n3\tnan"); /* no newline at the end */
    struct grid *grid = grid_read(path);
    assert_int_equal(grid->rows, 3);
    assert_int_equal(grid_column(grid, "loss"), 1);
    EXPECT_FAIL(grid_column(grid, "los"), "expected a column \"los\" in the header");
    assert_true(grid_number(grid, 0, 1) == 2.5);
    assert_string_equal(grid_text(grid, 1, 1), "");
    EXPECT_FAIL(grid_number(grid, 1, 1), "line 3: expected a finite number, found \"\"");
    EXPECT_FAIL(grid_number(grid, 2, 1), "line 4: expected a finite number, found \"nan\"");
    write_file(path, "");
    grid = grid_read(path);
    assert_int_equal(grid->rows, 0);
    EXPECT_FAIL(grid_column(grid, ""), "expected a column \"\" in the header");
    write_file(path, "step\tloss\n1\t2\t3\n");
    EXPECT_FAIL(grid_read(path), "line 2: expected 2 cells as in the header, found 3");
    unlink(path);
    rmdir(folder);
    free(path);
}

/* The run that never happened, asked for all its tasks: what counts, and what is scored twice. */
static void tasks_are_scored_by_their_rows_of_the_table(void **state)
{
    (void)state;
    struct plan *plan = plan_open(settings_open("tests/fixtures/run/made-up-full.settings"));
    struct run *run = run_open("tests/fixtures/run", plan);
    struct findings *findings = findings_make(run);
    int tasks = 0;
    for (const struct task *task = task_list; task->name; task++, tasks++) {
        assert_ptr_equal(run->sheets[tasks].task, task); /* in the order of the table */
        const struct sheet *sheet = &run->sheets[tasks];
        assert_int_equal(sheet->shown, task->headline);
        assert_string_equal(sheet->title, task->title);
        const struct estimate score = finding_of(findings, SCORE, task->name, "teacher")->is;
        double constant = finding_of(findings, CONSTANT_SCORE, task->name, NULL)->is.value;
        assert_int_equal(finding_counts(finding_of(findings, RETENTION, task->name, "student")),
                         task->headline && score.bounded && score.low > constant);
        const struct answers *teacher = run_answers(sheet, "teacher");
        assert_int_equal(teacher->seeds, 1);
        assert_true(finding_of(findings, SCORE, task->name, "teacher")->is.value == teacher->scores[0]);
        const struct finding *also = finding_of(findings, SECOND, task->name, "teacher");
        assert_int_equal(also->is.known, task->also != NO_METRIC);
        if (task->also)
            assert_true(also->is.value
                        == metric_score(task->also, sheet->labels, teacher->others[0], sheet->rows));
    }
    assert_int_equal(run->count, tasks);
    assert_false(finding_of(findings, SCORE, "cola", "student-no-kl")->is.known);
    findings_free(findings);
    run_close(run);
    plan_close(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(course_scores_give_course_retention),
        cmocka_unit_test(paper_scores_give_paper_ratios),
        cmocka_unit_test(teacher_without_a_score_defines_no_retention),
        cmocka_unit_test(interval_needs_nearly_all_resamples),
        cmocka_unit_test(interval_leaves_out_the_outer_twentieth),
        cmocka_unit_test(the_best_of_many_has_a_wider_interval),
        cmocka_unit_test(median_is_the_middle),
        cmocka_unit_test(bootstrap_agrees_with_the_binomial),
        cmocka_unit_test(seeds_widen_the_interval),
        cmocka_unit_test(distillations_widen_the_interval),
        cmocka_unit_test(tasks_share_distillations),
        cmocka_unit_test(students_share_seeds),
        cmocka_unit_test(same_answers_give_exactly_a_hundred),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(words_follow_the_interval),
        cmocka_unit_test(numbers_become_texts),
        cmocka_unit_test(one_is_no_plural),
        cmocka_unit_test(words_become_lists),
        cmocka_unit_test(changes_become_sentences),
        cmocka_unit_test(students_differ_in_one_thing),
        cmocka_unit_test(a_median_says_when_it_is_touched),
        cmocka_unit_test(grids_are_read_and_refused),
        cmocka_unit_test(tasks_are_scored_by_their_rows_of_the_table),
    };
    return cmocka_run_group_tests_name("results", tests, NULL, NULL);
}
