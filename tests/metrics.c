/* The metrics against scikit-learn, scipy and the rules of SQuAD's script (tests/reference/metrics.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "check.h"
#include "metrics.h"

enum { MOST = 4096, LINE = 4 * MOST };

static int cases;
static double worst;

/* expect: a score, 0 .. 1. */
static void expect(double found, double expected)
{
    double difference = fabs(found - expected);
    if (!(difference < 1e-12))
        fail_msg("case %d: %.17g where %.17g was expected", cases + 1, found, expected);
    worst = fmax(worst, difference);
}

/* read_column: digits one by one, or numbers with commas between them. */
static int read_column(const char *text, double *column)
{
    int n = 0;
    for (const char *at = text; *at; n++) {
        char *end = (char *)at + 1;
        assert_true(n < MOST);
        column[n] = strchr(text, '.') ? strtod(at, &end) : *at - '0';
        at = *end == ',' ? end + 1 : end;
    }
    return n;
}

static void scores_equal_those_of_python(void **state)
{
    (void)state;
    static char line[LINE], kind[16], labels_text[LINE], predictions_text[LINE];
    static double labels[MOST], predictions[MOST];
    FILE *stream = fopen("tests/fixtures/metrics.tsv", "r");
    assert_non_null(stream);
    int columns_of_classes = 0, columns_of_numbers = 0;
    for (; fgets(line, sizeof line, stream); cases++) {
        double a, b, c;
        int found = sscanf(line, "%15s %16383s %16383s %lf %lf %lf", kind, labels_text, predictions_text, &a, &b, &c);
        int n = read_column(labels_text, labels);
        assert_int_equal(read_column(predictions_text, predictions), n);
        if (strcmp(kind, "numbers") == 0) {
            assert_int_equal(found, 5);
            expect(metric_pearson(labels, predictions, n), a);
            expect(metric_spearman(labels, predictions, n), b);
            expect(metric_score(PEARSON_AND_SPEARMAN, labels, predictions, n) / 100, (a + b) / 2);
            columns_of_numbers++;
        } else {
            assert_int_equal(found, 6);
            struct confusion confusion = confusion_count(labels, predictions, n);
            expect(metric_accuracy(labels, predictions, n), a);
            expect(confusion_f1(&confusion), b);
            expect(confusion_matthews(&confusion), c);
            expect(metric_score(ACCURACY, labels, predictions, n) / 100, a);
            expect(metric_score(F1, labels, predictions, n) / 100, b);
            expect(metric_score(MATTHEWS, labels, predictions, n) / 100, c);
            expect(metric_score(ACCURACY_AND_F1, labels, predictions, n) / 100, (a + b) / 2);
            columns_of_classes++;
        }
    }
    fclose(stream);
    assert_true(columns_of_classes > 100 && columns_of_numbers > 70);
}

/* unescape: in place; returns where the next cell begins. */
static char *unescape(char *cell)
{
    char *to = cell, *from = cell;
    for (; *from && *from != '\t' && *from != '\n'; from++)
        if (*from == '\\') {
            from++;
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        } else {
            *to++ = *from;
        }
    char *next = *from ? from + 1 : from;
    *to = '\0';
    return next;
}

static void texts_are_compared_as_squad_does(void **state)
{
    (void)state;
    enum { MOST_ANSWERS = 8 };
    static char line[LINE];
    FILE *stream = fopen("tests/fixtures/texts.tsv", "r");
    assert_non_null(stream);
    int exact = 0, partly = 0, rows = 0;
    for (; fgets(line, sizeof line, stream); cases++, rows++) {
        const char *answers[MOST_ANSWERS];
        char *count_text = unescape(line), *cell = unescape(count_text);
        int count = atoi(count_text);
        assert_in_range(count, 1, MOST_ANSWERS);
        for (int i = 0; i < count; i++) {
            answers[i] = cell;
            cell = unescape(cell);
        }
        double expected[2];
        assert_int_equal(sscanf(cell, "%lf %lf", &expected[0], &expected[1]), 2);
        expect(text_exact(line, answers, count), expected[0]);
        expect(text_overlap(line, answers, count), expected[1]);
        exact += expected[0] == 1;
        partly += expected[1] > 0 && expected[1] < 1;
    }
    fclose(stream);
    assert_true(rows > 1000 && exact > 200 && partly > 100);
}

static void confusion_keeps_the_four_apart(void **state)
{
    (void)state;
    const double labels[] = {0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
    const double predictions[] = {1, 0, 0, 0, 0, 0, 1, 1, 1, 1};
    struct confusion c = confusion_count(labels, predictions, 10);
    assert_int_equal(c.true_negative, 3);
    assert_int_equal(c.false_positive, 1);
    assert_int_equal(c.false_negative, 2);
    assert_int_equal(c.true_positive, 4);
}

static void large_counts_do_not_overflow(void **state)
{
    (void)state;
    struct confusion c = {10000, 2500, 2500, 10000};
    assert_true(fabs(confusion_matthews(&c) - 0.6) < 1e-12);
}

static void accuracy_counts_any_classes(void **state)
{
    (void)state;
    const double labels[] = {0, 1, 2, 2}, predictions[] = {0, 2, 2, 2};
    assert_true(metric_accuracy(labels, predictions, 4) == 0.75);
}

static void compared_texts_are_averaged(void **state)
{
    (void)state;
    const double overlaps[] = {1, 0.5, 0, 0.25}, nothing[4] = {0};
    assert_true(metric_score(TEXT_OVERLAP, nothing, overlaps, 4) == 43.75);
    assert_true(metric_score(TEXT_EXACT, nothing, (double[]){1, 0, 0, 1}, 4) == 50);
    assert_string_equal(metric_key(TEXT_EXACT), "exact");
    assert_string_equal(metric_name(TEXT_OVERLAP), "F1");
}

static int report(void **state)
{
    (void)state;
    check_report("metrics.cases", "%.0f", cases);
    check_report("metrics.error", "%.1e", worst);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_equal_those_of_python),
        cmocka_unit_test(texts_are_compared_as_squad_does),
        cmocka_unit_test(confusion_keeps_the_four_apart),
        cmocka_unit_test(large_counts_do_not_overflow),
        cmocka_unit_test(accuracy_counts_any_classes),
        cmocka_unit_test(compared_texts_are_averaged),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, report);
}
