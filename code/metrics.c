/* Tangled from chapters/33-metrics.md; edit there. */
#include "metrics.h"

#include <math.h>

/* Count labels against predictions */
struct confusion confusion_count(const int *labels, const int *predictions, int n)
{
    int counts[2][2] = {{0}};
    for (int i = 0; i < n; i++)
        counts[labels[i]][predictions[i]]++;
    return (struct confusion){counts[0][0], counts[0][1], counts[1][0], counts[1][1]};
}

/* Compute the F1 score */
double confusion_f1(const struct confusion *c)
{
    double doubled = 2.0 * c->true_positive;
    double all = doubled + c->false_positive + c->false_negative;
    return all > 0 ? doubled / all : 0;
}

/* Compute Matthews' correlation */
double confusion_matthews(const struct confusion *c)
{
    double tp = c->true_positive, tn = c->true_negative;
    double fp = c->false_positive, fn = c->false_negative;
    double variances = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn);
    return variances > 0 ? (tp * tn - fp * fn) / sqrt(variances) : 0;
}

/* Compute the accuracy */
double metric_accuracy(const int *labels, const int *predictions, int n)
{
    int right = 0;
    for (int i = 0; i < n; i++)
        right += labels[i] == predictions[i];
    return (double)right / n;
}

/* Score a task's predictions */
const char *metric_name(enum metric metric)
{
    static const char *const names[] = {
        [ACCURACY] = "accuracy",
        [MATTHEWS] = "Matthews correlation",
        [ACCURACY_AND_F1] = "mean of accuracy and F1",
    };
    return names[metric];
}

double metric_score(enum metric metric, const int *labels, const int *predictions,
                    int n)
{
    double accuracy = metric_accuracy(labels, predictions, n);
    if (metric == ACCURACY)
        return 100 * accuracy;
    struct confusion confusion = confusion_count(labels, predictions, n);
    if (metric == MATTHEWS)
        return 100 * confusion_matthews(&confusion);
    return 100 * (accuracy + confusion_f1(&confusion)) / 2;
}
