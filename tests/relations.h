/* The relation loss again, straight from its definition and in double precision. */
#ifndef RELATIONS_H
#define RELATIONS_H

#include "kernels.h"

#include <math.h>

struct related {
    struct attention shape; /* its arrays are the host's */
    int teacher_width;
    double *student, *teacher; /* [tokens, 3 width] of each */
};

/* relation_score: of tokens i and j of the batch, of kind 0 (queries), 1 (keys) or 2 (values). */
static inline double relation_score(const double *qkv, int width, int heads, int head, int kind, int i, int j)
{
    int depth = width / heads, column = kind * width + head * depth;
    const double *x = qkv + 3 * i * width + column, *y = qkv + 3 * j * width + column;
    double sum = 0;
    for (int c = 0; c < depth; c++)
        sum += x[c] * y[c];
    return sum / sqrt(depth);
}

/* relation_log: the logarithm of what token i is related to token j by, of tokens first to last - 1. */
static inline double relation_log(const double *qkv, int width, int heads, int head, int kind, int i, int j, int first,
                                  int last)
{
    double score = relation_score(qkv, width, heads, head, kind, i, j), sum = 0;
    for (int l = first; l < last; l++)
        sum += exp(relation_score(qkv, width, heads, head, kind, i, l) - score);
    return -log(sum);
}

/* relation_total: what relation_loss adds to its total, into *total. */
static inline void relation_total(const void *problem, double *total)
{
    const struct related *p = problem;
    const struct attention *a = &p->shape;
    *total = 0;
    for (int s = 0; s < a->sequences; s++)
        for (int part = 0, first = a->offsets[s], last = first + a->visible[s]; part < 3 * a->heads; part++)
            for (int i = first; i < last; i++)
                for (int j = first; j < last; j++) {
                    double q = relation_log(p->teacher, p->teacher_width, a->heads, part / 3, part % 3, i, j, first, last);
                    double r = relation_log(p->student, a->width, a->heads, part / 3, part % 3, i, j, first, last);
                    *total += exp(q) * (q - r) / a->heads;
                }
}

#endif
