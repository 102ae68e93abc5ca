/* Tangled from chapters/20-kernels-cpu.md; edit there. */
#ifndef ELEMENTARY_H
#define ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Of what is not a number, all of them make what is not a number. */

/* exponential: e^x for x <= 88 with a relative error below 8e-8; 0 for x < -87. */
/* Compute an exponential by plain arithmetic */
static inline float exponential(float x)
{
    const float shift = 0x1.8p23f, per_ln2 = 1.44269504f;
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    float shifted = fmaf(x, per_ln2, shift), n = shifted - shift;
    float r = fmaf(n, -ln2_low, fmaf(n, -ln2_high, x));
    /* Sum the series of the exponential */
    float series = fmaf(r, 0.001381447073f, 0.008368778974f);
    series = fmaf(series, r, 0.04166839272f);
    series = fmaf(series, r, 0.1666651964f);
    series = fmaf(series, r, 0.4999999404f);
    series = fmaf(series, r, 1);
    series = fmaf(series, r, 1);
    /* Add to the exponent field */
    uint32_t field, bits;
    memcpy(&field, &shifted, sizeof field);
    memcpy(&bits, &series, sizeof bits);
    bits += field << 23;
    memcpy(&series, &bits, sizeof bits);
    return x < -87 ? 0 : series;
}

/* normal_distribution: the standard normal distribution function, given x and
   gauss = exponential(-x * x / 2), with an absolute error below 3e-7.
   Abramowitz and Stegun, Handbook of Mathematical Functions (1964), formula 7.1.26. */
/* Compute the normal distribution function by plain arithmetic */
static inline float normal_distribution(float x, float gauss)
{
    float t = 1 / fmaf(fabsf(x), 0.23164189f, 1);
    float series = fmaf(t, 0.5307027145f, -0.7265760135f);
    series = fmaf(series, t, 0.7107068705f);
    series = fmaf(series, t, -0.142248368f);
    series = fmaf(series, t, 0.127414796f);
    float tail = series * t * gauss;
    return x < 0 ? tail : 1 - tail;
}

/* polynomial: c[0] + c[1] x + ... + c[degree] x^degree, by Horner's rule. */
/* Compute a polynomial */
static inline double polynomial(double x, const double *c, int degree)
{
    double sum = c[degree];
    for (int i = degree - 1; i >= 0; i--)
        sum = fma(sum, x, c[i]);
    return sum;
}

/* exponential_double: e^x with a relative error below 2e-16; 0 for x < -708, and
   infinity for x > 709. */
/* Compute an exponential in double precision */
static inline double exponential_double(double x)
{
    static const double series[] = {
        1, 1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040,
        1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600,
        1.0 / 6227020800};
    const double shift = 0x1.8p52, per_ln2 = 1.4426950408889634;
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    if (x > 709 || x < -708)
        return x > 0 ? (double)INFINITY : 0;
    double shifted = fma(x, per_ln2, shift), n = shifted - shift;
    double r = fma(n, -ln2_low, fma(n, -ln2_high, x)), power;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return polynomial(r, series, 13) * power;
}

/* logarithm: ln x with a relative error below 4e-16; -infinity for 0, and of negative
   numbers what is not a number. */
/* Compute a logarithm in double precision */
static inline double logarithm(double x)
{
    static const double series[] = {1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11,
                                    1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    if (!(x > 0 && x < (double)INFINITY))
        return x == 0 ? -(double)INFINITY : x < 0 ? (double)NAN : x;
    /* Split a number into a power of two and a factor near 1 */
    const uint64_t root_half = 0x3fe6a09e667f3bcdu, fraction = 0x000fffffffffffffu;
    double k = x < 0x1p-1022 ? -54 : 0, m = x < 0x1p-1022 ? x * 0x1p54 : x;
    uint64_t bits;
    memcpy(&bits, &m, sizeof bits);
    bits -= root_half;
    k += (double)((int64_t)(bits & ~fraction) / (int64_t)(fraction + 1));
    bits = (bits & fraction) + root_half;
    memcpy(&m, &bits, sizeof m);
    double f = m - 1, s = f / (2 + f), square = s * s;
    double rest = 2 * s * square * polynomial(square, series, 9);
    return fma(k, ln2_high, fma(k, ln2_low, rest) + 2 * s);
}

/* cosine_of_turns: cos 2 pi x for 0 <= x <= 1, with an absolute error below 2e-16. */
/* Compute the cosine of a part of a turn */
static inline double cosine_of_turns(double x)
{
    static const double cosine[] = {
        1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
        1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000};
    static const double sine[] = {
        1, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
        1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000};
    double quarters = floor(4 * x + 0.5);
    double a = (x - quarters / 4) * 6.283185307179586;
    if (quarters == 1 || quarters == 3)
        return (quarters == 1 ? -a : a) * polynomial(a * a, sine, 8);
    return (quarters == 2 ? -1 : 1) * polynomial(a * a, cosine, 8);
}

/* hyperbolic_tangent: tanh x with a relative error below 7e-8. */
/* Compute a hyperbolic tangent */
static inline float hyperbolic_tangent(float x)
{
    if (fabsf(x) < 0x1p-12f)
        return x;
    double e = exponential_double(-2 * fabs((double)x)), y = (1 - e) / (1 + e);
    return (float)(x < 0 ? -y : y);
}

/* whole_power: x^n for 0 <= x <= 1 and n >= 0, with an error below n x^n 2^-53. */
/* Raise a number to a whole power */
static inline double whole_power(double x, long n)
{
    double power = 1;
    for (; n > 0; n /= 2, x *= x)
        if (n % 2 == 1)
            power *= x;
    return power;
}

#endif
