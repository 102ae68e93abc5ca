/* Tangled from chapters/28-metrics.md; edit there. */
#ifndef METRICS_H
#define METRICS_H

#include <stdbool.h>

/* Declare the confusion counts and what follows from them */
/* How often each label met each prediction, of two classes; class 1 is the positive. */
struct confusion {
    int true_negative, false_positive, false_negative, true_positive;
};

/* confusion_count: counts n labels against n predictions, each 0 or 1. */
struct confusion confusion_count(const double *labels, const double *predictions,
                                 int n);

/* confusion_f1: 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall; 0
   where that has no value, as scikit-learn's f1_score. */
double confusion_f1(const struct confusion *confusion);

/* confusion_matthews: Matthews' correlation coefficient, -1 .. 1; 0 where labels or
   predictions are all alike, as scikit-learn's matthews_corrcoef. */
double confusion_matthews(const struct confusion *confusion);

/* Declare the correlations */
/* metric_pearson: Pearson's correlation of two columns of n > 0 numbers, -1 .. 1; 0
   where one of them is constant (scipy's pearsonr has no value there). metric_spearman:
   the same of their ranks, equal numbers sharing the mean of theirs. */
double metric_pearson(const double *x, const double *y, int n);
double metric_spearman(const double *x, const double *y, int n);

/* Declare how texts are compared */
/* text_exact: whether a predicted text equals one of the answers [count], and
   text_overlap: the best F1 of its words with those of one of them, 0 .. 1. Both as
   SQuAD's official script has it: without regard to case, punctuation, articles and
   white space. Texts are UTF-8. */
bool text_exact(const char *prediction, const char *const *answers, int count);
double text_overlap(const char *prediction, const char *const *answers, int count);

/* Declare the metrics of the tasks */
/* metric_accuracy: the share of n > 0 predictions that equal their label, 0 .. 1. */
double metric_accuracy(const double *labels, const double *predictions, int n);

/* What a task counts. The last two are means of what text_overlap and text_exact found
   for each row, which stand in the place of predictions; labels are not looked at. */
enum metric {
    NO_METRIC, ACCURACY, MATTHEWS, F1, ACCURACY_AND_F1 /* the mean of the two */,
    PEARSON_AND_SPEARMAN /* the mean of the two */, TEXT_OVERLAP, TEXT_EXACT
};

/* metric_name: "accuracy", "mean of accuracy and F1", …; metric_key: one word for it,
   "f1" for F1 and TEXT_OVERLAP, "exact" for TEXT_EXACT. */
const char *metric_name(enum metric metric);
const char *metric_key(enum metric metric);

/* metric_score: the metric of n > 0 predictions, in percent. */
double metric_score(enum metric metric, const double *labels, const double *predictions,
                    int n);

#endif
