/* Tangled from chapters/33-metrics.md; edit there. */
#ifndef METRICS_H
#define METRICS_H

/* Declare the confusion counts and what follows from them */
/* How often each label met each prediction, of two classes; class 1 is the positive. */
struct confusion {
    int true_negative, false_positive, false_negative, true_positive;
};

/* confusion_count: counts n labels against n predictions, each 0 or 1. */
struct confusion confusion_count(const int *labels, const int *predictions, int n);

/* confusion_f1: 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall; 0
   where that has no value, as scikit-learn's f1_score. */
double confusion_f1(const struct confusion *confusion);

/* confusion_matthews: Matthews' correlation coefficient, -1 .. 1; 0 where labels or
   predictions are all alike, as scikit-learn's matthews_corrcoef. */
double confusion_matthews(const struct confusion *confusion);

/* metric_accuracy: the share of n > 0 predictions that equal their label, 0 .. 1. */
double metric_accuracy(const int *labels, const int *predictions, int n);

/* What a task counts. */
enum metric { ACCURACY, MATTHEWS, ACCURACY_AND_F1 /* the mean of the two */ };

/* metric_name: "accuracy", "Matthews correlation" or "mean of accuracy and F1". */
const char *metric_name(enum metric metric);

/* metric_score: the metric of n > 0 predictions, in percent. */
double metric_score(enum metric metric, const int *labels, const int *predictions,
                    int n);

#endif
