/* Accuracy, F1 and Matthews' correlation against scikit-learn (tests/reference/metrics.py). */
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

enum { MOST = 4096 };

static int read_column(const char *digits, int *column)
{
    int n = (int)strlen(digits);
    assert_in_range(n, 1, MOST);
    for (int i = 0; i < n; i++)
        column[i] = digits[i] - '0';
    return n;
}

static void scores_equal_scikit_learn(void **state)
{
    (void)state;
    static char line[4 * MOST], labels_text[MOST], predictions_text[MOST];
    static int labels[MOST], predictions[MOST];
    FILE *stream = fopen("tests/fixtures/metrics.tsv", "r");
    assert_non_null(stream);
    double worst = 0;
    int cases = 0;
    for (; fgets(line, sizeof line, stream); cases++) {
        double accuracy, f1, matthews;
        assert_int_equal(sscanf(line, "%4095s %4095s %lf %lf %lf", labels_text, predictions_text,
                                &accuracy, &f1, &matthews), 5);
        int n = read_column(labels_text, labels);
        assert_int_equal(read_column(predictions_text, predictions), n);
        struct confusion confusion = confusion_count(labels, predictions, n);
        worst = fmax(worst, fabs(metric_accuracy(labels, predictions, n) - accuracy));
        worst = fmax(worst, fabs(confusion_f1(&confusion) - f1));
        worst = fmax(worst, fabs(confusion_matthews(&confusion) - matthews));
        worst = fmax(worst, fabs(metric_score(ACCURACY, labels, predictions, n) / 100 - accuracy));
        worst = fmax(worst, fabs(metric_score(MATTHEWS, labels, predictions, n) / 100 - matthews));
        worst = fmax(worst, fabs(metric_score(ACCURACY_AND_F1, labels, predictions, n) / 100
                                 - (accuracy + f1) / 2));
    }
    fclose(stream);
    assert_true(cases > 100);
    assert_true(worst < 1e-12);
    check_report("check.metrics.cases", "%.0f", cases);
    check_report("check.metrics.error", "%.1e", worst);
}

static void confusion_keeps_the_four_apart(void **state)
{
    (void)state;
    const int labels[] = {0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
    const int predictions[] = {1, 0, 0, 0, 0, 0, 1, 1, 1, 1};
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
    const int labels[] = {0, 1, 2, 2}, predictions[] = {0, 2, 2, 2};
    assert_true(metric_accuracy(labels, predictions, 4) == 0.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_equal_scikit_learn),
        cmocka_unit_test(confusion_keeps_the_four_apart),
        cmocka_unit_test(large_counts_do_not_overflow),
        cmocka_unit_test(accuracy_counts_any_classes),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
