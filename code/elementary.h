/* Tangled from chapters/21-kernels-cpu.md; edit there. */
#ifndef ELEMENTARY_H
#define ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exponential: e^x for x <= 88 with a relative error below 3e-7; e^-87 for x < -87. */
/* Compute an exponential by plain arithmetic */
static inline float exponential(float x)
{
    const float shift = 0x1.8p23f, per_ln2 = 1.44269504f;
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * per_ln2 + shift, n = shifted - shift;
    float r = (x - n * ln2_high) - n * ln2_low;
    float series = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24
        + r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)))))));
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

/* normal_distribution: the standard normal distribution function, given x and
   gauss = exponential(-x * x / 2), with an absolute error below 3e-7.
   Abramowitz and Stegun, Handbook of Mathematical Functions (1964), formula 7.1.26. */
/* Compute the normal distribution function by plain arithmetic */
static inline float normal_distribution(float x, float gauss)
{
    float z = fabsf(x) * 0.70710678f, t = 1 / (1 + 0.3275911f * z);
    float polynomial = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f
        + t * (-1.453152027f + t * 1.061405429f))));
    float tail = 0.5f * polynomial * gauss;
    return x < 0 ? tail : 1 - tail;
}

#endif
