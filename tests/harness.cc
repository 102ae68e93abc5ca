/* The harness that runs CUDA kernels on the CPU (tests/cuda): small kernels that are right, which it must
   compute exactly, small kernels with faults planted in them, which it must report, and a machine on which
   the GPU cannot be had. */
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "catch.h"
}

#include <cublasLt.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

extern "C" {
#include "device.h"
}
#include "kernels.h"

#include <cmath>
#include <initializer_list>

static cudaStream_t stream;
static const unsigned ALL = 0xffffffff;

/* An array of the device with these numbers in it. */
template <class T> static T *array_of(const T *values, size_t n)
{
    void *array;
    assert_int_equal(cudaMalloc(&array, n * sizeof(T)), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(array, values, n * sizeof(T), cudaMemcpyHostToDevice, stream),
                     cudaSuccess);
    return (T *)array;
}

template <class T> static T *empty_array(size_t n)
{
    void *array;
    assert_int_equal(cudaMalloc(&array, n * sizeof(T)), cudaSuccess);
    return (T *)array;
}

template <class T> static void fetch(T *values, const T *array, size_t n)
{
    assert_int_equal(cudaMemcpyAsync(values, array, n * sizeof(T), cudaMemcpyDeviceToHost, stream),
                     cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
}

static void finish(void)
{
    cudaStreamSynchronize(stream);
}

static int free_all(void **)
{
    harness::dry = false;
    finish();
    while (!harness::arrays.empty())
        cudaFree(harness::arrays.begin()->first);
    return 0;
}

/* ---- Kernels that are right ---- */

static __global__ void sum_kernel(const double *x, int n, double *sums)
{
    __shared__ double part[32];
    int warps = (blockDim.x + 31) / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    double sum = i < n ? x[i] : 0;
    for (int delta = 16; delta > 0; delta /= 2)
        sum += __shfl_down_sync(ALL, sum, delta);
    if (lane == 0)
        part[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        sum = lane < warps ? part[lane] : 0;
        for (int bit = 16; bit > 0; bit /= 2)
            sum += __shfl_xor_sync(ALL, sum, bit);
        sum = __shfl_sync(ALL, sum, 5);
        __syncwarp();
        if (lane == 7)
            sums[blockIdx.x] = sum;
    }
}

static void sums_of_blocks_are_exact(void **)
{
    enum { N = 5000, BLOCKS = 20 };
    double x[N], sums[BLOCKS];
    for (int i = 0; i < N; i++)
        x[i] = i * i;
    double *device_sums = empty_array<double>(BLOCKS);
    LAUNCH(sum_kernel, BLOCKS, 256, array_of(x, N), N, device_sums);
    fetch(sums, device_sums, BLOCKS);
    for (int b = 0; b < BLOCKS; b++) {
        double right = 0;
        for (int i = 256 * b; i < 256 * (b + 1) && i < N; i++)
            right += x[i];
        assert_true(sums[b] == right);
    }
}

static __global__ void number_kernel(unsigned *numbers)
{
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned before = __shfl_sync(3u << (thread & ~1u) % 32, thread, (int)(thread & ~1u));
    numbers[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread + before;
}

static void threads_know_their_numbers(void **)
{
    enum { BLOCKS = 2 * 3 * 4, THREADS = 5 * 2 * 4 };
    unsigned numbers[BLOCKS * THREADS], *device_numbers = empty_array<unsigned>(BLOCKS * THREADS);
    LAUNCH(number_kernel, dim3(2, 3, 4), dim3(5, 2, 4), device_numbers);
    fetch(numbers, device_numbers, BLOCKS * THREADS);
    for (unsigned i = 0; i < BLOCKS * THREADS; i++) {
        unsigned block = i / THREADS, thread = i % THREADS;
        assert_int_equal(numbers[i], 1000 * block + thread + (thread & ~1u));
    }
}

/* d = a b + a b, for a by rows and b by columns */
template <class Half> static __global__ void tile_kernel(const Half *a, const Half *b, float *d)
{
    using namespace nvcuda::wmma;
    __shared__ __align__(32) Half left[16 * 24], right[16 * 16];
    __shared__ __align__(32) float sums[16 * 16];
    fragment<matrix_a, 16, 16, 16, Half, row_major> x;
    fragment<matrix_b, 16, 16, 16, Half, col_major> y;
    fragment<accumulator, 16, 16, 16, float> sum;
    for (int i = threadIdx.x; i < 256; i += 32) {
        left[i / 16 * 24 + i % 16] = a[i];
        right[i] = b[i];
    }
    __syncwarp();
    fill_fragment(sum, 0.0f);
    load_matrix_sync(x, left, 24);
    load_matrix_sync(y, right, 16);
    mma_sync(sum, x, y, sum);
    mma_sync(sum, x, y, sum);
    for (int i = 0; i < sum.num_elements; i++)
        sum.x[i] *= 0.5f;
    store_matrix_sync(sums, sum, 16, mem_row_major);
    __syncwarp();
    for (int i = threadIdx.x; i < 256; i += 32)
        d[i] = sums[i];
}

static void tiles_are_multiplied(void **)
{
    __half a[256], b[256];
    float d[256], *device_d = empty_array<float>(256);
    for (int i = 0; i < 256; i++) {
        a[i] = __float2half_rn((float)(i % 7));
        b[i] = __float2half_rn((float)(i % 11 - 5));
    }
    LAUNCH((tile_kernel<__half>), 1, 32, array_of(a, 256), array_of(b, 256), device_d);
    fetch(d, device_d, 256);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            float right = 0;
            for (int k = 0; k < 16; k++)
                right += (float)((16 * i + k) % 7) * (float)((16 * j + k) % 11 - 5);
            assert_true(d[16 * i + j] == right);
        }
}

static void halves_are_rounded(void **)
{
    const float tiny = 0x1p-24f;
    const struct {
        float from, to;
    } cases[] = {{1 + 0x1p-11f, 1}, {1 + 0x3p-11f, 1 + 0x1p-9f}, {65504, 65504}, {65519, 65504},
                 {65520, INFINITY}, {tiny, tiny}, {tiny / 2, 0}, {tiny * 0.75f, tiny}, {-2, -2}};
    for (auto c : cases)
        assert_true(__half2float(__float2half_rn(c.from)) == c.to);
    assert_int_equal(sizeof(__half), 2);
}

/* ---- Products ---- */

struct product {
    int m = 2, n = 3, k = 4, lda = 2, ldb = 4, ldd = 5;
    cudaDataType in = CUDA_R_32F, out = CUDA_R_32F;
    uint32_t promised = 4; /* alignment */
    bool bias = false;
    int shift = 0;         /* of A, in elements */
};

/* D = A B + D, for a[i] = i, b[i] = i, d[i] = 100, bias[i] = 1000 (1 + i). */
static cublasStatus_t multiply(product p, float *d)
{
    cublasLtHandle_t blas;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int count;
    float values[16], hundreds[16], biases[] = {1000, 2000}, *bias = array_of(biases, 2);
    const float one = 1;
    uint64_t workspace = 1024;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    for (int i = 0; i < 16; i++)
        values[i] = (float)i, hundreds[i] = 100;
    float *x = array_of(values, 16), *y = array_of(values, 16), *sums = array_of(hundreds, 16);
    cublasLtCreate(&blas);
    cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (p.bias) {
        cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
        cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    }
    cublasStatus_t status = cublasLtMatrixLayoutCreate(&a, p.in, p.m, p.k, p.lda);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    cublasLtMatrixLayoutCreate(&b, p.in, p.k, p.n, p.ldb);
    cublasLtMatrixLayoutCreate(&c, p.out, p.m, p.n, p.ldd);
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                         sizeof workspace);
    for (int i = 0; i < 4; i++)
        cublasLtMatmulPreferenceSetAttribute(
            preference, (cublasLtMatmulPreferenceAttributes_t)(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES + i),
            &p.promised, sizeof p.promised);
    status = cublasLtMatmulAlgoGetHeuristic(blas, operation, a, b, c, c, preference, 1, &found, &count);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    status = cublasLtMatmul(blas, operation, &one, x + p.shift, a, y, b, &one, sums, c, sums, c, &found.algo,
                            empty_array<char>(workspace), workspace, stream);
    if (status == CUBLAS_STATUS_SUCCESS)
        fetch(d, sums, 16);
    return status;
}

static void products_are_exact(void **)
{
    float d[16];
    product p;
    for (int with_bias = 0; with_bias < 2; with_bias++) {
        p.bias = with_bias;
        assert_int_equal(multiply(p, d), CUBLAS_STATUS_SUCCESS);
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 5; i++) {
                float right = 100;
                for (int k = 0; k < 4 && i < 2; k++)
                    right += (float)(2 * k + i) * (float)(4 * j + k);
                assert_true(d[5 * j + i] == right + (i < 2 && with_bias ? (float)(1000 * (i + 1)) : 0));
            }
    }
}

static void impossible_products_are_refused(void **)
{
    float d[16];
    auto refused = [&](product p) { return multiply(p, d) != CUBLAS_STATUS_SUCCESS; };
    product p;
    p.lda = 1;              /* columns overlap */
    assert_true(refused(p));
    p = {};
    p.out = CUDA_R_16F;     /* products of fp32 do not become fp16 */
    assert_true(refused(p));
    p = {};
    p.promised = 16;
    assert_false(refused(p));
    p.shift = 1;            /* not what was promised */
    assert_true(refused(p));
    p = {};
    p.shift = 9;            /* ends behind its array */
    assert_true(refused(p));
}

/* ---- Kernels with faults ---- */

static __global__ void late_kernel(int *x)
{
    if (threadIdx.x == 70)
        return;
    __syncthreads();
    x[0] = 1;
}

static __global__ void parted_kernel(int *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[0] = 1;
}

static void barriers_for_some_are_reported(void **)
{
    int *x = empty_array<int>(1);
    LAUNCH(late_kernel, 3, 96, x);
    EXPECT_FAIL(finish(), "thread 70 has ended");
    LAUNCH(parted_kernel, 3, 96, x);
    EXPECT_FAIL(finish(), "is at the barrier tests/harness.cc:");
    assert_non_null(strstr(catch_message, "cuda harness: parted_kernel, block ("));
}

static __global__ void unfilled_kernel(float *y)
{
    __shared__ float x[2];
    if (threadIdx.x == 0)
        x[0] = 1;
    __syncthreads();
    y[2 * blockIdx.x + threadIdx.x] = x[threadIdx.x];
}

static __global__ void beside_kernel(float *x, int n, int i, float *y)
{
    if (y)
        *y = x[i];
    else if (i >= n)
        x[i] = 0;
}

static void rubbish_is_not_a_number(void **)
{
    float values[2] = {1, 2}, *x = array_of(values, 2), *y = empty_array<float>(4), blocks[4];
    LAUNCH(unfilled_kernel, 2, 2, y);
    fetch(blocks, y, 4);
    for (int i = 0; i < 4; i++)
        assert_true(i % 2 ? isnan(blocks[i]) : blocks[i] == 1);
    for (int i : {-1, 2, 63}) { /* of an array that has numbers 0 and 1 */
        LAUNCH(beside_kernel, 1, 1, x, 2, i, y);
        fetch(values, y, 1);
        assert_true(isnan(values[0]));
    }
}

static void writing_beside_an_array_is_reported(void **)
{
    float *x = empty_array<float>(2);
    for (int i : {2, 63}) {
        LAUNCH(beside_kernel, 1, 1, x, 2, i, (float *)NULL);
        EXPECT_FAIL(finish(), "beside an array of 8 bytes");
    }
}

static __global__ void exchange_kernel(int *x, int fault)
{
    int lane = threadIdx.x;
    if (fault == 0 && lane == 9)
        return;
    if (fault == 1 && lane == 9)
        __syncthreads();
    unsigned mask = fault == 2 ? 0xff : ALL;
    if (fault != 2 || lane < 9)
        x[lane] = __shfl_sync(mask, lane, fault == 3 ? lane + 1 : 0);
}

static __global__ void far_lane_kernel(int *x)
{
    if (threadIdx.x < 8)
        x[threadIdx.x] = __shfl_sync(0xff, (int)threadIdx.x, 8);
}

static void exchanges_for_some_are_reported(void **)
{
    int *x = empty_array<int>(32);
    LAUNCH(exchange_kernel, 1, 32, x, 0);
    EXPECT_FAIL(finish(), "for lane 9, which has ended");
    LAUNCH(exchange_kernel, 1, 32, x, 1);
    EXPECT_FAIL(finish(), "waits for its warp");
    LAUNCH(exchange_kernel, 1, 32, x, 2);
    EXPECT_FAIL(finish(), "thread 8 is not in its own mask 000000ff");
    LAUNCH(exchange_kernel, 1, 31, x, 3);
    EXPECT_FAIL(finish(), "for lane 31, which has ended");
    LAUNCH(far_lane_kernel, 1, 32, x);
    EXPECT_FAIL(finish(), "of lane 8, which its mask does not name");
}

static __global__ void wrong_tile_kernel(float *y, int stride, int fault)
{
    using namespace nvcuda::wmma;
    __shared__ __align__(32) float x[512];
    fragment<accumulator, 16, 16, 16, float> sum;
    fill_fragment(sum, 1.0f);
    store_matrix_sync(x + (fault == 1 ? 4 : fault == 2 ? threadIdx.x / 16 * 8 : 0), sum, stride,
                      mem_row_major);
    *y = x[0];
}

static void wrong_tiles_are_reported(void **)
{
    float *y = empty_array<float>(1);
    LAUNCH(wrong_tile_kernel, 1, 32, y, 16, 1);
    EXPECT_FAIL(finish(), "a tile at");
    LAUNCH(wrong_tile_kernel, 1, 32, y, 17, 0);
    EXPECT_FAIL(finish(), "rows of 17 elements");
    LAUNCH(wrong_tile_kernel, 1, 32, y, 16, 2);
    EXPECT_FAIL(finish(), "lane 16 means another tile");
}

struct with_pointer {
    int n;
    const float *x;
};

static __global__ void struct_kernel(with_pointer p, float *y)
{
    *y = *p.x;
}

static void addresses_are_told_apart(void **)
{
    float here[2] = {1, 1}, there = 0, *x = array_of(here, 1), *y = empty_array<float>(1);
    EXPECT_FAIL(LAUNCH(beside_kernel, 1, 1, here, 1, 0, y), "is not an address of the device");
    EXPECT_FAIL(LAUNCH(struct_kernel, 1, 1, (with_pointer{1, here}), y), "in a structure");
    LAUNCH(struct_kernel, 1, 1, (with_pointer{1, x}), y);
    fetch(&there, y, 1);
    assert_true(there == 1);
    EXPECT_FAIL(there = *(volatile float *)x, "the host follows an address of the device");
    assert_int_equal(cudaMemcpyAsync(here, &there, 4, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(x, y, 4, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(x, here, 8, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue);
    assert_int_equal(cudaMemsetAsync(x, 0, 8, stream), cudaErrorInvalidValue);
}

static void large_launches_are_reported(void **)
{
    int *x = empty_array<int>(1);
    EXPECT_FAIL(LAUNCH(late_kernel, 1, 1025, x), "a block of 1025 by 1 by 1");
    EXPECT_FAIL(LAUNCH(late_kernel, 0, 32, x), "a grid of 0 by 1 by 1");
    EXPECT_FAIL(LAUNCH(late_kernel, dim3(1, 65536), 32, x), "a grid of 1 by 65536 by 1");
}

static __global__ void matrix_kernel(int *x, int rows, int width)
{
    x[rows * width] = 0;
}

static void dry_launches_are_checked(void **)
{
    int *x = empty_array<int>(1), seven = 7;
    const int many = 46341; /* squared, the first beyond an int */
    float d[16];
    product far;
    far.lda = 1 << 29; /* and four columns */
    finish();
    harness_dry(0);
    LAUNCH(late_kernel, 3, 96, x); /* its fault would be found if it ran */
    LAUNCH(matrix_kernel, 1, 1, x, many, many - 1);
    finish();
    assert_int_equal(harness_launches("late_kernel"), 1);
    assert_int_equal(harness_launches("kernel"), 2);
    EXPECT_FAIL(LAUNCH(late_kernel, dim3(1, 65536), 32, x), "a grid of 1 by 65536 by 1");
    EXPECT_FAIL(LAUNCH(late_kernel, 1, 1025, x), "a block of 1025 by 1 by 1");
    EXPECT_FAIL(LAUNCH(late_kernel, 1u << 26, 32, x), "2147483648 by 1 threads, more than an int counts");
    EXPECT_FAIL(LAUNCH(matrix_kernel, 1, 1, x, many, many), "a matrix of 46341 by 46341, more than an int counts");
    EXPECT_FAIL(LAUNCH(matrix_kernel, 1, 1, x, (int)((unsigned)many * many), 1), "it is given the number -");
    EXPECT_FAIL(LAUNCH(matrix_kernel, 1, 1, &seven, 1, 1), "is not an address of the device");
    EXPECT_FAIL(multiply(far, d), "a product's matrix of 4 by 536870912");
    assert_int_equal(cudaMemsetAsync(x, 0, 8, stream), cudaErrorInvalidValue);
    fetch(&seven, x, 1);
    assert_int_equal(seven, 0);
    assert_int_equal(harness_launches("kernel"), 2);
}

static void errors_wait_for_a_launch(void **)
{
    void *none;
    float values[2] = {1, 2}, *x = array_of(values, 2), *y = empty_array<float>(1);
    for (int taken = 0; taken < 2; taken++) {
        assert_int_equal(cudaMalloc(&none, (size_t)1 << 50), cudaErrorMemoryAllocation);
        if (taken)
            assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
        else
            EXPECT_FAIL(LAUNCH(beside_kernel, 1, 1, x, 2, 1, y), "reports the error of an earlier call");
    }
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    LAUNCH(beside_kernel, 1, 1, x, 2, 1, y);
    fetch(values, y, 1);
    assert_true(values[0] == 2);
}

/* ---- Streams: what no event orders comes in one order and in another; an event is what it was when it was asked. */

static __global__ void put_kernel(int *x, int value)
{
    *x = value;
}

static int last_of_two(bool ordered)
{
    cudaStream_t other;
    cudaEvent_t event;
    int value, *x = empty_array<int>(1);
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaStreamWaitEvent(stream, event, 0); /* for nothing: it was never recorded */
    harness::launch(other, "put_kernel", 1, 1, put_kernel, x, 1);
    cudaEventRecord(event, other);
    if (ordered)
        cudaStreamWaitEvent(stream, event, 0);
    LAUNCH(put_kernel, 1, 1, x, 2);
    harness::launch(other, "put_kernel", 1, 1, put_kernel, empty_array<int>(1), 3);
    cudaEventRecord(event, other); /* nobody waits for this */
    fetch(&value, x, 1);
    cudaStreamSynchronize(other);
    if (!ordered)
        fetch(&value, x, 1);
    return value;
}

static void streams_go_side_by_side(void **)
{
    int sum = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(last_of_two(true), 2);
        sum += last_of_two(false);
    }
    assert_in_range(sum, 11, 19); /* now the one was last and now the other */
}

/* Each thread reads what its neighbour wrote, and nothing made it wait. */
static __global__ void race_kernel(int *x)
{
    __shared__ int shared[64];
    shared[threadIdx.x] = 1;
    x[threadIdx.x] = shared[(threadIdx.x + 1) % 64];
}

#ifndef __SANITIZE_THREAD__
static void races_are_lost(void **)
{
    int first[64], now[64], *x = empty_array<int>(64);
    bool differs = false;
    for (int i = 0; i < 4; i++) {
        LAUNCH(race_kernel, 1, 64, x);
        fetch(now, x, 64);
        if (i == 0)
            memcpy(first, now, sizeof first);
        differs |= memcmp(first, now, sizeof first) != 0;
    }
    assert_true(differs);
}

#else
static void races_are_reported(void **)
{
    int *x = empty_array<int>(64);
    for (int i = 0; i < 4; i++) { /* whichever comes first */
        LAUNCH(race_kernel, 1, 64, x);
        EXPECT_FAIL(finish(), "of shared memory, which ");
        assert_non_null(strstr(catch_message, "race_kernel, block (0, 0, 0): a race: thread "));
    }
}

/* Turns 64 numbers round, in place: all must be read before one is written, and written before one is read. */
static __global__ void turn_kernel(int *x, bool wait, bool wait_again)
{
    __shared__ int shared[64];
    int i = threadIdx.x;
    shared[i] = x[i];
    __syncthreads();
    int other = shared[63 - i];
    if (wait)
        __syncthreads();
    shared[i] = other;
    if (wait_again)
        __syncthreads();
    x[63 - i] = shared[63 - i];
}

static void missing_barriers_are_reported(void **)
{
    int numbers[64] = {}, *x = array_of(numbers, 64);
    LAUNCH(turn_kernel, 1, 64, x, true, true);
    finish();
    LAUNCH(turn_kernel, 1, 64, x, false, true);
    EXPECT_FAIL(finish(), "of shared memory, which ");
    LAUNCH(turn_kernel, 1, 64, x, true, false);
    EXPECT_FAIL(finish(), "of shared memory, which ");
}

/* Every element is read and written by one thread alone; and then by another, in a later launch. */
template <class T> static __global__ void step_kernel(T *x, int shift, int same)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x + shift;
    x[i / same] = (T)(x[i / same] + 1);
}

static void blocks_that_write_one_address_are_reported(void **)
{
    int *x = empty_array<int>(130);
    short *y = empty_array<short>(130);
    char *z = empty_array<char>(130);
    for (int shift = 0; shift < 3; shift++) {
        LAUNCH((step_kernel<int>), 2, 64, x, shift, 1);
        LAUNCH((step_kernel<short>), 2, 64, y, shift, 1); /* two to a word, */
        LAUNCH((step_kernel<char>), 2, 64, z, shift, 1);  /* and four */
    }
    finish();
    LAUNCH((step_kernel<int>), 2, 1, x, 0, 2);
    EXPECT_FAIL(finish(), "byte 0 of an array of 520 bytes, which another block has written");
    LAUNCH((step_kernel<short>), 1, 64, y, 0, 2);
    EXPECT_FAIL(finish(), "of an array of 260 bytes, which thread ");
    LAUNCH((step_kernel<char>), 1, 64, z, 0, 2);
    EXPECT_FAIL(finish(), "of an array of 130 bytes, which thread ");
}

/* Reads what another block reads, and its last thread writes it. */
static __global__ void spoil_kernel(const int *x, int *y, int *z)
{
    y[blockIdx.x] = *x;
    if (blockIdx.x == gridDim.x - 1)
        *z = 1;
}

static void blocks_that_write_what_others_read_are_reported(void **)
{
    int *x = empty_array<int>(1), *y = empty_array<int>(5), *z = empty_array<int>(1);
    LAUNCH(spoil_kernel, 5, 1, x, y, z);
    finish();
    for (int i = 0; i < 4; i++) {
        LAUNCH(spoil_kernel, 5, 1, x, y, x);
        EXPECT_FAIL(finish(), "which another block has ");
    }
}

/* Lanes read what the lane that differs in these bits has written. How they wait: not; as a warp; as a warp, by an
   exchange; each half by itself. */
enum { NEVER, WARP_WAITS, WARP_EXCHANGES, HALVES_WAIT };

static __global__ void swap_kernel(int *x, int bits, int how)
{
    __shared__ int shared[64];
    int i = threadIdx.x;
    shared[i] = i;
    if (how == WARP_WAITS)
        __syncwarp();
    else if (how == WARP_EXCHANGES)
        __shfl_sync(ALL, i, 0);
    else if (how == HALVES_WAIT)
        __syncwarp(0xffffu << i % 32 / 16 * 16);
    x[i] = shared[i ^ bits];
}

static void missing_orders_of_warps_are_reported(void **)
{
    int *x = empty_array<int>(64);
    for (int how : {WARP_WAITS, WARP_EXCHANGES, HALVES_WAIT}) {
        LAUNCH(swap_kernel, 1, 64, x, 15, how);
        finish();
    }
    LAUNCH(swap_kernel, 1, 64, x, 0, NEVER);
    finish();
    LAUNCH(swap_kernel, 1, 64, x, 1, NEVER);
    EXPECT_FAIL(finish(), "of shared memory, which ");
    LAUNCH(swap_kernel, 1, 64, x, 16, HALVES_WAIT); /* the other half has not waited */
    EXPECT_FAIL(finish(), "of shared memory, which ");
    LAUNCH(swap_kernel, 1, 64, x, 32, WARP_WAITS); /* nor has the other warp */
    EXPECT_FAIL(finish(), "of shared memory, which ");
}

/* A tile goes through shared memory. */
static __global__ void store_kernel(float *y, bool wait, bool wait_again)
{
    using namespace nvcuda::wmma;
    __shared__ __align__(32) __half x[256];
    __shared__ __align__(32) float sums[256];
    fragment<matrix_a, 16, 16, 16, __half, row_major> left;
    fragment<matrix_b, 16, 16, 16, __half, row_major> right;
    fragment<accumulator, 16, 16, 16, float> sum;
    fill_fragment(sum, 0.0f);
    for (int i = threadIdx.x; i < 256; i += 32)
        x[i] = __float2half_rn(1);
    if (wait)
        __syncwarp();
    load_matrix_sync(left, x, 16);
    load_matrix_sync(right, x, 16);
    mma_sync(sum, left, right, sum);
    store_matrix_sync(sums, sum, 16, mem_row_major);
    store_matrix_sync(sums, sum, 16, mem_row_major);
    if (wait_again)
        __syncwarp();
    y[threadIdx.x] = sums[threadIdx.x];
}

static void tiles_that_race_are_reported(void **)
{
    float *y = empty_array<float>(32);
    LAUNCH(store_kernel, 1, 32, y, true, true);
    finish();
    LAUNCH(store_kernel, 1, 32, y, false, true);
    EXPECT_FAIL(finish(), "the warp of thread 0 reads byte ");
    LAUNCH(store_kernel, 1, 32, y, true, false);
    EXPECT_FAIL(finish(), "of shared memory, which a");
}

/* Each thread of each block leaves a number; the block that comes last adds all of them up. What is left out: nothing;
   the fence; the barrier before the atomic operation; the barrier behind it; the atomic operation. Or the fence comes
   too early, or is that of the first thread alone, behind the barrier, which is enough. */
enum { NOTHING, FENCE, BARRIER, LAST_BARRIER, ATOMIC, EARLY_FENCE, ONE_FENCE };

static __global__ void last_kernel(int *x, int *sum, unsigned *count, int without)
{
    __shared__ bool last;
    int i = threadIdx.x, n = blockDim.x, total = 0;
    if (without == EARLY_FENCE)
        __threadfence();
    x[blockIdx.x * n + i] = i;
    if (without != FENCE && without != EARLY_FENCE && without != ONE_FENCE)
        __threadfence();
    if (without != BARRIER)
        __syncthreads();
    if (without == ONE_FENCE && i == 0)
        __threadfence();
    if (i == 0)
        last = without == ATOMIC ? blockIdx.x == 0 : atomicInc(count, gridDim.x - 1) == gridDim.x - 1;
    if (without == LAST_BARRIER && i != 0)
        return;
    if (without != LAST_BARRIER)
        __syncthreads();
    if (last)
        for (unsigned b = 0; b < gridDim.x; b++)
            total += x[b * n + n - 1 - i];
    if (last)
        sum[i] = total;
}

static void blocks_that_read_of_others_are_reported(void **)
{
    unsigned zero = 0, *count = array_of(&zero, 1);
    int *x = empty_array<int>(5 * 64), *sum = empty_array<int>(64);
    for (int i = 0; i < 4; i++)
        for (int without : {NOTHING, ONE_FENCE, LAST_BARRIER}) { /* the thread that acquires need not wait */
            LAUNCH(last_kernel, 5, 64, x, sum, count, without);
            finish();
        }
    for (int without : {FENCE, BARRIER, ATOMIC, EARLY_FENCE}) {
        count = array_of(&zero, 1);
        LAUNCH(last_kernel, 5, 64, x, sum, count, without);
        EXPECT_FAIL(finish(), ", which another block has written");
    }
}
#endif

static void nothing_is_done_before_it_is_waited_for(void **)
{
    int *pinned, value = 0, *x = empty_array<int>(1);
    cudaEvent_t copied;
    cudaMallocHost((void **)&pinned, sizeof *pinned);
    cudaEventCreateWithFlags(&copied, cudaEventDisableTiming);
    for (int wait = 0; wait < 2; wait++) {
        *pinned = 1;
        cudaMemcpyAsync(x, pinned, sizeof *x, cudaMemcpyHostToDevice, stream);
        cudaEventRecord(copied, stream);
        if (wait)
            cudaEventSynchronize(copied);
        *pinned = 2;
        fetch(&value, x, 1);
        assert_int_equal(value, wait ? 1 : 2);
    }
}

/* ---- A machine whose GPU cannot be had ---- */

/* Each block counts itself; which is the last to do so differs, and there is one. */
static __global__ void count_kernel(unsigned *count, unsigned *last)
{
    if (atomicInc(count, gridDim.x - 1) == gridDim.x - 1)
        *last = blockIdx.x;
    __threadfence();
}

static void blocks_are_counted(void **)
{
    unsigned zero = 0, count, last, seen = 0, *x = array_of(&zero, 1), *y = empty_array<unsigned>(1);
    for (int i = 0; i < 8; i++) {
        LAUNCH(count_kernel, 5, 1, x, y);
        fetch(&count, x, 1);
        fetch(&last, y, 1);
        assert_int_equal(count, 0);
        assert_true(last < 5);
        seen |= 1u << last;
    }
    assert_true(seen & (seen - 1));
    LAUNCH(count_kernel, 1, 1, (unsigned *)((char *)x + 2), y);
    EXPECT_FAIL(finish(), "an atomic operation at");
}

static void missing_gpus_are_named(void **)
{
    const struct {
        cudaError_t error;
        const char *message;
        bool found;
    } cases[] = {{cudaErrorNoDevice, "cuda: there is no GPU here", false},
                 {cudaErrorInsufficientDriver, "cuda: the driver knows CUDA 11.4; expected 11.8 or newer", false},
                 {cudaErrorMemoryAllocation, "cuda: the GPU's memory is full", false},
                 {cudaErrorNoKernelImageForDevice, "expected make CUDA_ARCH=native", false},
                 {cudaErrorUnsupportedPtxVersion, "or a newer driver", false},
                 {cudaSuccess, NULL, true}};
    for (auto c : cases) {
        if (c.error == cudaErrorNoDevice || c.error == cudaSuccess) { /* other answers depend on the machine */
            harness::next_error = c.error;
            assert_true(kernels_cuda_found() == c.found);
        }
        harness::next_error = c.error;
        if (c.message)
            EXPECT_FAIL(device_open("cuda"), c.message);
    }
    harness::next_error = cudaErrorNoDevice;
    assert_ptr_equal(device_open("auto"), device_open("cpu"));
}

static void lost_gpus_are_named(void **)
{
    const struct kernels *k = device_open("auto");
    assert_string_equal(k->name, "CPU harness, fp16");
    harness::next_error = cudaErrorLaunchFailure;
    EXPECT_FAIL(k->wait(), "cuda: unspecified launch failure (cudaErrorLaunchFailure); the GPU is lost");
}

#define TEST(name) cmocka_unit_test_teardown(name, free_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sums_of_blocks_are_exact),
        TEST(threads_know_their_numbers),
        TEST(tiles_are_multiplied),
        TEST(halves_are_rounded),
        TEST(products_are_exact),
        TEST(impossible_products_are_refused),
        TEST(barriers_for_some_are_reported),
        TEST(rubbish_is_not_a_number),
        TEST(writing_beside_an_array_is_reported),
        TEST(exchanges_for_some_are_reported),
        TEST(wrong_tiles_are_reported),
        TEST(addresses_are_told_apart),
        TEST(large_launches_are_reported),
        TEST(dry_launches_are_checked),
        TEST(errors_wait_for_a_launch),
        TEST(streams_go_side_by_side),
#ifndef __SANITIZE_THREAD__
        TEST(races_are_lost),
#else
        TEST(races_are_reported),
        TEST(missing_barriers_are_reported),
        TEST(blocks_that_write_one_address_are_reported),
        TEST(blocks_that_write_what_others_read_are_reported),
        TEST(missing_orders_of_warps_are_reported),
        TEST(tiles_that_race_are_reported),
        TEST(blocks_that_read_of_others_are_reported),
#endif
        TEST(nothing_is_done_before_it_is_waited_for),
        TEST(blocks_are_counted),
        TEST(missing_gpus_are_named),
        TEST(lost_gpus_are_named),
    };
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    return cmocka_run_group_tests_name("harness", tests, NULL, NULL);
}
