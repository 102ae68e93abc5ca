/* Half precision, as far as the kernels use it: storage. All arithmetic is in fp32. */
#ifndef CUDA_FP16_H
#define CUDA_FP16_H

#ifdef __aarch64__
typedef __fp16 half_bits;
#else
typedef _Float16 half_bits;
#endif

struct __half {
    half_bits bits;
};

inline float __half2float(__half x)
{
    return (float)x.bits;
}

/* to the nearest; of two as near, to the even one */
inline __half __float2half_rn(float x)
{
    return {(half_bits)x};
}

#endif
