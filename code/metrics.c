/* Tangled from chapters/28-metrics.md; edit there. */
#include "metrics.h"
#include "fail.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Count labels against predictions */
struct confusion confusion_count(const double *labels, const double *predictions,
                                 int n)
{
    int counts[2][2] = {{0}};
    for (int i = 0; i < n; i++)
        counts[(int)labels[i]][(int)predictions[i]]++;
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
double metric_accuracy(const double *labels, const double *predictions, int n)
{
    int right = 0;
    for (int i = 0; i < n; i++)
        right += labels[i] == predictions[i];
    return (double)right / n;
}

/* Compute Pearson's correlation */
static bool is_constant(const double *x, int n)
{
    for (int i = 1; i < n; i++)
        if (x[i] != x[0])
            return false;
    return true;
}

double metric_pearson(const double *x, const double *y, int n)
{
    double x_mean = 0, y_mean = 0, xx = 0, yy = 0, xy = 0;
    if (is_constant(x, n) || is_constant(y, n))
        return 0;
    for (int i = 0; i < n; i++) {
        x_mean += x[i] / n;
        y_mean += y[i] / n;
    }
    for (int i = 0; i < n; i++) {
        double a = x[i] - x_mean, b = y[i] - y_mean;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    return xy / (sqrt(xx) * sqrt(yy));
}

/* Compute Spearman's correlation */
struct placed {
    double value;
    int place;
};

static int by_value(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* rank: ranks[n], from 1, of x[n]. */
static void rank(const double *x, int n, double *ranks)
{
    struct placed *sorted = allocate((size_t)n, sizeof *sorted);
    for (int i = 0; i < n; i++)
        sorted[i] = (struct placed){x[i], i};
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    for (int first = 0, end; first < n; first = end) {
        /* Give equal numbers the mean of their ranks */
        for (end = first + 1; end < n && sorted[end].value == sorted[first].value;)
            end++;
        for (int i = first; i < end; i++)
            ranks[sorted[i].place] = (first + 1 + end) / 2.0;
    }
    free(sorted);
}
double metric_spearman(const double *x, const double *y, int n)
{
    double *ranks = allocate(2 * (size_t)n, sizeof *ranks);
    rank(x, n, ranks);
    rank(y, n, ranks + n);
    double correlation = metric_pearson(ranks, ranks + n, n);
    free(ranks);
    return correlation;
}

/* Write a text as normal words */
/* Tell white space and parts of words apart */
/* code_point: the character that a text of size bytes begins with, and how many bytes
   it has; 0 at the end, and U+FFFD for a byte that is not UTF-8. */
static int32_t code_point(const char *text, size_t size, size_t *used)
{
    int32_t c = 0;
    utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)text,
                                              (utf8proc_ssize_t)size, &c);
    *used = bytes > 0 ? (size_t)bytes : 1;
    return bytes > 0 ? c : size ? 0xFFFD : 0;
}

static bool in_word(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO
        && (category <= UTF8PROC_CATEGORY_LO || category >= UTF8PROC_CATEGORY_ND);
}

static bool is_space(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F) || c == 0x85
        || (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

/* Leave out an article */
/* without_article: the new length of a text whose last word begins at `word`. */
static size_t without_article(utf8proc_uint8_t *text, size_t word, size_t length)
{
    static const char *const articles[] = {"a", "an", "the"};
    for (int i = 0; i < 3; i++)
        if (length - word == strlen(articles[i])
            && memcmp(text + word, articles[i], length - word) == 0) {
            length = word;
            if (length > 0 && text[length - 1] != ' ')
                text[length++] = ' ';
            break;
        }
    return length;
}

/* normalise: the words of a text in normal form, a space between them; owned by the
   caller. */
static char *normalise(const char *text)
{
    size_t size = strlen(text), length = 0;
    utf8proc_uint8_t *normal = allocate(2 * size + 2, 1);
    size_t word = 0; /* where the run of letters and digits at the end begins */
    int32_t c = ' ';
    for (size_t at = 0, used; at <= size; at += used) {
        /* Write the next character in normal form */
        c = code_point(text + at, size - at, &used);
        if (c < 128 && ispunct(c))
            continue;
        if (!in_word(c)) {
            length = without_article(normal, word, length);
            c = is_space(c) || c == 0 ? ' ' : c;
        }
        if (c != ' ' || (length > 0 && normal[length - 1] != ' '))
            length += (size_t)utf8proc_encode_char(utf8proc_tolower(c),
                                                   normal + length);
        if (!in_word(c))
            word = length;
    }
    normal[length > 0 && normal[length - 1] == ' ' ? length - 1 : length] = '\0';
    return (char *)normal;
}

/* Compare two texts */
/* sorted_words: cuts a normal text into its words; words[strlen(text) + 1]. */
static int sorted_words(char *text, char **words)
{
    int count = 0;
    for (char *word = text; *word; count++) {
        words[count] = word;
        word += strcspn(word, " ");
        if (*word)
            *word++ = '\0';
    }
    qsort(words, (size_t)count, sizeof *words, text_order);
    return count;
}
/* overlap: the F1 of the words of two normal texts, which it cuts up. */
static double overlap(char *prediction, char *answer)
{
    char **p = allocate(strlen(prediction) + 1, sizeof *p);
    char **g = allocate(strlen(answer) + 1, sizeof *g);
    int p_count = sorted_words(prediction, p), g_count = sorted_words(answer, g);
    int common = 0;
    for (int i = 0, j = 0; i < p_count && j < g_count;) {
        int order = strcmp(p[i], g[j]);
        common += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    free(p);
    free(g);
    return common ? 2.0 * common / (p_count + g_count) : 0;
}
bool text_exact(const char *prediction, const char *const *answers, int count)
{
    char *normal = normalise(prediction);
    bool equal = false;
    for (int i = 0; i < count; i++) {
        char *answer = normalise(answers[i]);
        equal |= strcmp(normal, answer) == 0;
        free(answer);
    }
    free(normal);
    return equal;
}

double text_overlap(const char *prediction, const char *const *answers, int count)
{
    double best = 0;
    for (int i = 0; i < count; i++) {
        char *normal = normalise(prediction), *answer = normalise(answers[i]);
        best = fmax(best, overlap(normal, answer));
        free(normal);
        free(answer);
    }
    return best;
}

/* Score a task's predictions */
/* Name the metrics */
static const struct {
    const char *name, *key;
} names[] = {
    [ACCURACY] = {"accuracy", "accuracy"},
    [MATTHEWS] = {"Matthews correlation", "matthews"},
    [F1] = {"F1", "f1"},
    [ACCURACY_AND_F1] = {"mean of accuracy and F1", "mean"},
    [PEARSON_AND_SPEARMAN] = {"mean of Pearson's and Spearman's correlation", "mean"},
    [TEXT_OVERLAP] = {"F1", "f1"},
    [TEXT_EXACT] = {"exact match", "exact"},
};

const char *metric_name(enum metric metric)
{
    return names[metric].name;
}

const char *metric_key(enum metric metric)
{
    return names[metric].key;
}

static double mean(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

double metric_score(enum metric metric, const double *labels, const double *predictions,
                    int n)
{
    if (metric == TEXT_OVERLAP || metric == TEXT_EXACT)
        return 100 * mean(predictions, n);
    if (metric == PEARSON_AND_SPEARMAN)
        return 50 * (metric_pearson(labels, predictions, n)
                     + metric_spearman(labels, predictions, n));
    double accuracy = metric_accuracy(labels, predictions, n);
    if (metric == ACCURACY)
        return 100 * accuracy;
    struct confusion confusion = confusion_count(labels, predictions, n);
    double f1 = confusion_f1(&confusion);
    return metric == MATTHEWS ? 100 * confusion_matthews(&confusion)
           : metric == F1     ? 100 * f1
                              : 100 * (accuracy + f1) / 2;
}
