/* Tangled from chapters/20-kernels-cpu.md; edit there. */
#ifndef LANES_H
#define LANES_H

#include <math.h>
#include <string.h>

/* The running sums of one sum. */
enum { LANES = 16 };

/* lanes_fold: the sum of the lanes, lane l + 8 to lane l first, then l + 4, l + 2,
   l + 1. */
/* Fold the lanes */
typedef float eight_lanes __attribute__((vector_size(32)));
typedef float four_lanes __attribute__((vector_size(16)));

static inline float lanes_fold(const float lanes[LANES])
{
    eight_lanes low, high;
    memcpy(&low, lanes, sizeof low);
    memcpy(&high, lanes + 8, sizeof high);
    low += high;
    four_lanes first, last;
    memcpy(&first, &low, sizeof first);
    memcpy(&last, (const char *)&low + sizeof first, sizeof last);
    first += last;
    return (first[0] + first[2]) + (first[1] + first[3]);
}

/* lanes_sum: x[0] + ... + x[n - 1]; 0 if n is 0. Element i goes to lane i % LANES. */
/* Sum in lanes */
static inline float lanes_sum(const float *x, int n)
{
    float lanes[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        #pragma omp simd
        for (int l = 0; l < LANES; l++)
            lanes[l] += x[i + l];
    for (int l = 0; i + l < n; l++)
        lanes[l] += x[i + l];
    return lanes_fold(lanes);
}

/* lanes_dot: x[0] y[0] + ... + x[n - 1] y[n - 1], each product and its addition rounded
   once; 0 if n is 0. */
/* Multiply and sum in lanes */
static inline float lanes_dot(const float *x, const float *y, int n)
{
    float lanes[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        #pragma omp simd
        for (int l = 0; l < LANES; l++)
            lanes[l] = fmaf(x[i + l], y[i + l], lanes[l]);
    for (int l = 0; i + l < n; l++)
        lanes[l] = fmaf(x[i + l], y[i + l], lanes[l]);
    return lanes_fold(lanes);
}

/* lanes_max: the largest of x[n] that is a number; -INFINITY if there is none. */
/* Find the largest in lanes */
static inline float lanes_max(const float *x, int n)
{
    float lanes[LANES];
    int i = 0;
    for (int l = 0; l < LANES; l++)
        lanes[l] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        #pragma omp simd
        for (int l = 0; l < LANES; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (int l = 0; i + l < n; l++)
        lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    float eight[8], four[4];
    for (int l = 0; l < 8; l++)
        eight[l] = lanes[l + 8] > lanes[l] ? lanes[l + 8] : lanes[l];
    for (int l = 0; l < 4; l++)
        four[l] = eight[l + 4] > eight[l] ? eight[l + 4] : eight[l];
    float even = four[2] > four[0] ? four[2] : four[0];
    float odd = four[3] > four[1] ? four[3] : four[1];
    return odd > even ? odd : even;
}

#endif
