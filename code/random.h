/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef RANDOM_H
#define RANDOM_H

#include "elementary.h"

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define RANDOM_INLINE static inline __host__ __device__
#else
#define RANDOM_INLINE static inline
#endif

/* random_bits: 64 uniform bits, a pure function of key and counter (Philox4x32-10,
   Salmon et al. 2011, the first two words of the block whose counter is (counter,
   0)). */
/* Turn a key and a counter into 64 random bits */
RANDOM_INLINE uint64_t random_bits(uint64_t key, uint64_t counter)
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (uint64_t)c1 << 32 | c0;
}

/* random_key: a key for one purpose at one time, say (seed of the run, step, number of
   the layer). */
RANDOM_INLINE uint64_t random_key(uint64_t seed, uint64_t step, uint64_t place)
{
    return random_bits(random_bits(seed, step) ^ 0x5bd1e995u, place);
}

/* random_uniform: uniform in [0, 1), a multiple of 2^-24, so that every value is exact
   in fp32. */
RANDOM_INLINE float random_uniform(uint64_t key, uint64_t counter)
{
    return (float)(random_bits(key, counter) >> 40) * 0x1p-24f;
}

/* random_below: uniform in 0 .. n-1, n > 0. The bias of the modulus is below n /
   2^64. */
RANDOM_INLINE uint64_t random_below(uint64_t key, uint64_t counter, uint64_t n)
{
    return random_bits(key, counter) % n;
}

/* random_normal: standard normal, by Box and Muller's transform. */
static inline double random_normal(uint64_t key, uint64_t counter)
{
    uint64_t bits = random_bits(key, counter);
    double u = ((double)(bits >> 32) + 1) * 0x1p-32,
           v = (double)(uint32_t)bits * 0x1p-32;
    return sqrt(-2 * logarithm(u)) * cosine_of_turns(v);
}

/* random_shuffle: puts order[0 .. n-1] into a random order (Fisher and Yates). */
static inline void random_shuffle(int *order, int n, uint64_t key)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)random_below(key, (uint64_t)i, (uint64_t)i + 1), other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
}

#endif
