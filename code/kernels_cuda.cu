/* Tangled from chapters/41-kernels-cuda.md; edit there. */
/* Include what the GPU's table needs */
#include "kernels.h"

extern "C" {
#include "device.h"
#include "fail.h"
}
#include "ranks.h"

#include <cublasLt.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <mma.h>

#include <array>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <type_traits>

/* Hold the GPU's stream and its errors */
static cublasLtHandle_t blas;

/* Say what a lane has */
enum { LANES = 2, MANY_PROCESSORS = 80 };

static const size_t SCRATCH_FLOATS = 1 << 22, WORKSPACE_BYTES = 1 << 25;
static const size_t PART_FLOATS = SCRATCH_FLOATS / 2; /* of these, for parts of sums */
static const size_t FINISHED_BYTES = 1 << 19;         /* a count for each strip */

struct lane {
    cudaStream_t stream;
    float *scratch;
    unsigned *finished;   /* zeros between launches */
    void *workspace;
    cudaEvent_t reached;  /* what the other lane waits for */
};

static struct lane lanes[LANES]; /* the second is NULL where one is enough */

/* Of the lane of the moment. */
static cudaStream_t stream;
static float *scratch;
static unsigned *finished;
static void *workspace;

static void enter(const struct lane *lane)
{
    stream = lane->stream;
    scratch = lane->scratch;
    finished = lane->finished;
    workspace = lane->workspace;
}

static void check(cudaError_t error)
{
    int driver = 0, runtime = 0;
    switch (error) {
    case cudaSuccess:
        return;
    case cudaErrorNoDevice:
        fail("cuda", "there is no GPU here that CUDA can use");
    /* Say whether the driver is missing or too old */
    case cudaErrorInsufficientDriver:
        cudaDriverGetVersion(&driver);
        cudaRuntimeGetVersion(&runtime);
        if (driver == 0)
            fail("cuda", "there is no NVIDIA driver here");
        fail("cuda", "the driver knows CUDA %d.%d; expected %d.%d or newer",
             driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    case cudaErrorMemoryAllocation:
        fail("cuda",
             "the GPU's memory is full; expected that no other program uses it");
    /* Say for which GPU to build */
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
        fail("cuda", "this GPU is none that the program was built for; "
             "expected make CUDA_ARCH=native");
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
        fail("cuda", "the driver cannot translate the program for this GPU; "
             "expected make CUDA_ARCH=native, or a newer driver");
    default:
        fail("cuda",
             "%s (%s); the GPU is lost to this process. Start again: a run goes "
             "on from its last checkpoint",
             cudaGetErrorString(error), cudaGetErrorName(error));
    }
}

static void check(cublasStatus_t status)
{
    if (status != CUBLAS_STATUS_SUCCESS)
        fail("cuda", "cuBLASLt failed with status %d", (int)status);
}

/* Look up the library of products */
#ifndef LIBRARY
#define TEXT(number) #number
#define NUMBERED(name, number) name TEXT(number)
#define LIBRARY NUMBERED("libcublasLt.so.", CUBLAS_VER_MAJOR)
#define FIND(library, name) dlsym(library, #name)
#endif

#define EACH(USE)                                                              \
    USE(Create) USE(Matmul) USE(MatmulAlgoGetHeuristic) USE(MatmulDescCreate)  \
    USE(MatmulDescSetAttribute) USE(MatmulPreferenceCreate)                    \
    USE(MatmulPreferenceDestroy) USE(MatmulPreferenceSetAttribute)             \
    USE(MatrixLayoutCreate)

/* cuBLASLt's functions, each by its name without what all begin with. */
static struct {
#define DECLARE(name) decltype(&cublasLt##name) name;
    EACH(DECLARE)
} lt;

/* look_up: NULL if the functions are there, or why they are not. */
static const char *look_up(void)
{
    static void *library;
    if (!library)
        library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return dlerror();
#define ASSIGN(name) lt.name = (decltype(lt.name))FIND(library, cublasLt##name);
    EACH(ASSIGN)
#define MISSES(name) !lt.name ||
    return EACH(MISSES) false ? "libcublasLt lacks a function that is needed" : NULL;
}

/* Look up the library between GPUs */
#if __has_include(<nccl.h>)
#include <nccl.h>
#else
typedef struct ncclComm *ncclComm_t;
typedef struct { char internal[128]; } ncclUniqueId;
enum ncclResult_t { ncclSuccess };
enum ncclDataType_t { ncclFloat = 7 };
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRank(ncclComm_t *comm, int count, ncclUniqueId id, int rank);
ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int rank,
                      ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int rank,
                      ncclComm_t comm, cudaStream_t stream);
const char *ncclGetErrorString(ncclResult_t result);
#endif

#ifndef NCCL_LIBRARY
#define NCCL_LIBRARY "libnccl.so.2"
#endif
#define EACH_OF_NCCL(USE)                                                       \
    USE(GetUniqueId) USE(CommInitRank) USE(GroupStart) USE(GroupEnd) USE(Send)  \
    USE(Recv) USE(GetErrorString)

/* NCCL's functions, each by its name without what all begin with. */
static struct {
#define DECLARE_NCCL(name) decltype(&nccl##name) name;
    EACH_OF_NCCL(DECLARE_NCCL)
} nccl;

static void look_up_nccl(void)
{
    void *library = dlopen(NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail("cuda", "%s; ranks on GPUs need NCCL", dlerror());
#define ASSIGN_NCCL(name) nccl.name = (decltype(nccl.name))FIND(library, nccl##name);
    EACH_OF_NCCL(ASSIGN_NCCL)
#define MISSES_NCCL(name) !nccl.name ||
    if (EACH_OF_NCCL(MISSES_NCCL) false)
        fail("cuda", "%s lacks a function that is needed", NCCL_LIBRARY);
}

static void check(ncclResult_t result)
{
    if (result != ncclSuccess)
        fail("cuda", "NCCL: %s", nccl.GetErrorString(result));
}

/* Launch a kernel */
#ifndef LAUNCH
#define LAUNCH(kernel, blocks, threads, ...)                         \
    do {                                                             \
        kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__);         \
        check(cudaPeekAtLastError());                                \
    } while (0)
#endif

enum { WARP = 32, THREADS = 256, ROWS = 4 }; /* ROWS: of a block with a warp for each */

/* blocks_for: how many blocks of so many items cover n; at least one. */
static int blocks_for(size_t n, size_t items)
{
    return n > items ? (int)((n + items - 1) / items) : 1;
}

/* Read and write four neighbours */
static __device__ __forceinline__ float widen(float x) { return x; }
static __device__ __forceinline__ float widen(__half x) { return __half2float(x); }
static __device__ __forceinline__ void narrow(float x, float *y) { *y = x; }
static __device__ __forceinline__ void narrow(float x, __half *y)
{
    *y = __float2half_rn(x);
}

static __device__ __forceinline__ float widen(int16_t x) { return x; }
static __device__ __forceinline__ void narrow(float x, int16_t *y)
{
    *y = (int16_t)rintf(x);
}

template <class T, int N> struct alignas(N * sizeof(T)) neighbours {
    T x[N];
};
template <class T> using four = neighbours<T, 4>;

/* read4: elements at to at + 3 of x; those from n on count as 0. */
template <class T>
static __device__ __forceinline__ void read4(const T *x, size_t at, size_t n,
                                             float v[4])
{
    if (at + 4 <= n && (uintptr_t)(x + at) % sizeof(four<T>) == 0) {
        four<T> f = *(const four<T> *)(x + at);
        for (int j = 0; j < 4; j++)
            v[j] = widen(f.x[j]);
    } else {
        for (int j = 0; j < 4; j++)
            v[j] = at + j < n ? widen(x[at + j]) : 0.0f;
    }
}

/* write4: the same way back; nothing is written from n on. */
template <class T>
static __device__ __forceinline__ void write4(T *x, size_t at, size_t n,
                                              const float v[4])
{
    if (at + 4 <= n && (uintptr_t)(x + at) % sizeof(four<T>) == 0) {
        four<T> f;
        for (int j = 0; j < 4; j++)
            narrow(v[j], &f.x[j]);
        *(four<T> *)(x + at) = f;
    } else {
        for (int j = 0; j < 4 && at + j < n; j++)
            narrow(v[j], &x[at + j]);
    }
}

/* whole: whether rows of these arrays fall into groups of N neighbours. */
template <int N, class... T> static bool whole(int width, const T *...array)
{
    return width % N == 0 && (... && ((uintptr_t)array % (N * sizeof(T)) == 0));
}

/* load: a whole group. */
template <int N, class T>
static __device__ __forceinline__ void load(const T *x, float v[N])
{
    neighbours<T, N> group = *(const neighbours<T, N> *)x;
    for (int j = 0; j < N; j++)
        v[j] = widen(group.x[j]);
}

/* Sum over a warp and over a block */
static const unsigned ALL = 0xffffffffu; /* lanes of a warp */

static __device__ __forceinline__ float warp_sum(float x)
{
    for (int bit = WARP / 2; bit > 0; bit /= 2)
        x += __shfl_xor_sync(ALL, x, bit);
    return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
    for (int bit = WARP / 2; bit > 0; bit /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL, x, bit));
    return x;
}

/* block_sum: the sum of x over the block, for every thread of it. The block has whole
   warps and one dimension. */
static __device__ float block_sum(float x)
{
    __shared__ float part[WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    __syncthreads(); /* the sums of an earlier call have been read */
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? part[lane] : 0.0f);
}

/* Drop elements on the GPU */
/* drop: dropout of N neighbours, four or one, for which one draw is enough. The first
   is element number first, a multiple of N. */
template <int N>
static __device__ __forceinline__ void drop(struct dropout dropout, uint64_t first,
                                            float v[N])
{
    if (dropout.rate == 0)
        return;
    float scale = dropout_scale(dropout);
    uint64_t bits = random_bits(dropout.key, first / 4) >> first % 4 * 16;
    for (int j = 0; j < N; j++, bits >>= 16)
        v[j] = (bits & 0xffff) >= dropout_threshold(dropout) ? v[j] * scale : 0.0f;
}

/* drop4: dropout of any four neighbours. */
static __device__ __forceinline__ void drop4(struct dropout dropout, uint64_t first,
                                             float v[4])
{
    if (first % 4 == 0)
        drop<4>(dropout, first, v);
    else
        for (int j = 0; j < 4; j++)
            drop<1>(dropout, first + j, v + j);
}

/* Keep memory on the GPU */
enum {
    FETCHED_BYTES = 1 << 24, /* room for what is downloaded now and then */
    LOADED_BYTES = 1 << 26   /* and for kernels, which are loaded when first used */
};

static struct {
    char *memory;
    size_t size, used, last; /* last: where the allocation made last begins */
} arena;

static void reserve_cuda(size_t bytes, const char *advice)
{
    size_t free_bytes, total;
    bytes += FETCHED_BYTES;
    check(cudaMemGetInfo(&free_bytes, &total));
    if (bytes + LOADED_BYTES > free_bytes)
        fail("cuda", "this run needs %zu bytes and the GPU has %zu left of %zu; %s",
             bytes + LOADED_BYTES, free_bytes, total, advice);
    check(cudaMalloc((void **)&arena.memory, bytes));
    arena.size = bytes;
}

static void *allocate_cuda(size_t bytes)
{
    size_t rounded = bytes ? (bytes + 255) / 256 * 256 : 256;
    void *memory;
    if (rounded >= bytes && arena.size - arena.used >= rounded) {
        memory = arena.memory + arena.used;
        arena.last = arena.used;
        arena.used += rounded;
    } else {
        /* Ask the driver for memory of its own */
        cudaError_t error = rounded < bytes ? cudaErrorMemoryAllocation
                                            : cudaMalloc(&memory, rounded);
        if (error == cudaErrorMemoryAllocation) {
            cudaGetLastError(); /* or the next launch would be blamed for it */
            fail("cuda", "%zu bytes could not be had on the GPU", bytes);
        }
        check(error);
    }
    check(cudaMemsetAsync(memory, 0, rounded, stream));
    return memory;
}

static void release_cuda(void *memory)
{
    char *at = (char *)memory;
    bool inside = arena.size > 0 && at >= arena.memory
                  && at < arena.memory + arena.size;
    if (inside && at == arena.memory + arena.last)
        arena.used = arena.last;
    if (memory && !inside)
        check(cudaFree(memory)); /* which waits for all that may still use it */
}

static const size_t SLOTS = 64, SLOT_BYTES = 1 << 18;

static struct {
    char *memory; /* pinned [SLOTS * SLOT_BYTES] */
    cudaEvent_t left[SLOTS];
    size_t next;
} ring;

static void upload_cuda(void *device, const void *host, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += SLOT_BYTES) {
        size_t count = bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES;
        char *slot = ring.memory + ring.next * SLOT_BYTES;
        check(cudaEventSynchronize(ring.left[ring.next]));
        memcpy(slot, (const char *)host + at, count);
        check(cudaMemcpyAsync((char *)device + at, slot, count, cudaMemcpyHostToDevice,
                              stream));
        check(cudaEventRecord(ring.left[ring.next], stream));
        ring.next = (ring.next + 1) % SLOTS;
    }
}

static void wait_cuda(void)
{
    for (int i = 0; i < LANES; i++)
        if (lanes[i].stream)
            check(cudaStreamSynchronize(lanes[i].stream));
}

static void download_cuda(void *host, const void *device, size_t bytes)
{
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
    wait_cuda();
}

static void zero_cuda(void *memory, size_t bytes)
{
    check(cudaMemsetAsync(memory, 0, bytes, stream));
}

static void copy_cuda(void *to, const void *from, size_t bytes)
{
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
}

/* Go side by side */
static void aside_cuda(void)
{
    if (!lanes[1].stream)
        return;
    check(cudaEventRecord(lanes[0].reached, lanes[0].stream));
    check(cudaStreamWaitEvent(lanes[1].stream, lanes[0].reached, 0));
    enter(&lanes[1]);
}

static void back_cuda(void)
{
    if (!lanes[1].stream)
        return;
    check(cudaEventRecord(lanes[1].reached, lanes[1].stream));
    enter(&lanes[0]);
}

static void meet_cuda(void)
{
    if (lanes[1].stream)
        check(cudaStreamWaitEvent(lanes[0].stream, lanes[1].reached, 0));
}

/* Convert between precisions on the GPU */
template <class From, class To>
static __global__ void convert_kernel(const From *from, To *to, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float v[4];
    read4(from, at, n, v);
    if (at < n)
        write4(to, at, n, v);
}

template <class T> static void to_real_cuda(const float *from, real *to, size_t n)
{
    if ((const void *)from != (const void *)to)
        LAUNCH((convert_kernel<float, T>), blocks_for(n, 4 * THREADS), THREADS, from,
               (T *)to, n);
}

template <class T> static void to_float_cuda(const real *from, float *to, size_t n)
{
    if ((const void *)from != (const void *)to)
        LAUNCH((convert_kernel<T, float>), blocks_for(n, 4 * THREADS), THREADS,
               (const T *)from, to, n);
}

template <class T>
using master_of = typename std::conditional<sizeof(T) == 2, int16_t, float>::type;

/* largest_power: of two in |w|, but no less than 2^-14. */
static __device__ __forceinline__ float largest_power(float w)
{
    return fmaxf(__int_as_float(__float_as_int(w) & 0x7f800000), 0x1p-14f);
}

static __device__ __forceinline__ float inverse_power(float power)
{
    return __int_as_float(0x7f000000 - __float_as_int(power));
}

/* join4: x = the parameters at to at + 3; split4: the same way back. */
static __device__ __forceinline__ void join4(const float *master, const float *,
                                             size_t at, size_t n, float x[4])
{
    read4(master, at, n, x);
}

static __device__ __forceinline__ void split4(float *master, float *weights, size_t at,
                                              size_t n, const float x[4])
{
    write4(master, at, n, x);
    if (weights != master)
        write4(weights, at, n, x);
}

static __device__ __forceinline__ void join4(const int16_t *master,
                                             const __half *weights, size_t at, size_t n,
                                             float x[4])
{
    float w[4], r[4];
    read4(weights, at, n, w);
    read4(master, at, n, r);
    for (int j = 0; j < 4; j++)
        x[j] = w[j] + r[j] * (largest_power(w[j]) * 0x1p-25f);
}

static __device__ __forceinline__ void split4(int16_t *master, __half *weights,
                                              size_t at, size_t n, const float x[4])
{
    float w[4], r[4];
    for (int j = 0; j < 4; j++) {
        bool tiny = fabsf(x[j]) < 0x1p-16f;
        float y = tiny ? rintf(x[j] * 0x1p39f) * 0x1p-39f + 0.0f : x[j];
        w[j] = __half2float(__float2half_rn(y));
        r[j] = (y - w[j]) * (inverse_power(largest_power(w[j])) * 0x1p25f);
    }
    write4(weights, at, n, w);
    write4(master, at, n, r);
}

/* Split and join parameters on the GPU */
template <class T>
static __global__ void split_kernel(const float *values, master_of<T> *master,
                                    T *weights, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float x[4];
    read4(values, at, n, x);
    if (at < n)
        split4(master, weights, at, n, x);
}

template <class T>
static __global__ void join_kernel(const master_of<T> *master, const T *weights,
                                   float *values, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float x[4];
    join4(master, weights, at, n, x);
    if (at < n)
        write4(values, at, n, x);
}

template <class T>
static void split_cuda(const float *values, void *master, real *weights, size_t n)
{
    for (size_t at = 0; at < n; at += SCRATCH_FLOATS) {
        size_t count = n - at < SCRATCH_FLOATS ? n - at : SCRATCH_FLOATS;
        upload_cuda(scratch, values + at, count * sizeof *values);
        LAUNCH((split_kernel<T>), blocks_for(count, 4 * THREADS), THREADS, scratch,
               (master_of<T> *)master + at, (T *)weights + at, count);
    }
}

template <class T>
static void join_cuda(const void *master, const real *weights, float *values, size_t n)
{
    for (size_t at = 0; at < n; at += SCRATCH_FLOATS) {
        size_t count = n - at < SCRATCH_FLOATS ? n - at : SCRATCH_FLOATS;
        LAUNCH((join_kernel<T>), blocks_for(count, 4 * THREADS), THREADS,
               (const master_of<T> *)master + at, (const T *)weights + at, scratch,
               count);
        download_cuda(values + at, scratch, count * sizeof *values);
    }
}

/* Add up columns on the GPU */
enum { LINES = 8, AHEAD = 4, PARTS = 64, STRIP = 4 * WARP /* columns of a block */ };

template <class T, int N_, int SUMS_ = 1> struct elements {
    static const int N = N_, SUMS = SUMS_;
    const T *x; /* [rows, SUMS, width] */
    int width;
    struct fetched {
        neighbours<T, N> x[SUMS];
    };
    /* Fetch a matrix's numbers for a group of columns */
    __device__ struct fetched fetch(int row, int column) const
    {
        struct fetched f;
        for (int s = 0; s < SUMS; s++)
            f.x[s] = *(const neighbours<T, N> *)(x + ((size_t)row * SUMS + s) * width
                                                 + column);
        return f;
    }
    /* Take what was fetched of a matrix for the summands */
    __device__ void use(const struct fetched &f, int, int, float v[SUMS][N]) const
    {
        for (int s = 0; s < SUMS; s++)
            for (int j = 0; j < N; j++)
                v[s][j] = widen(f.x[s].x[j]);
    }
};

/* Where sums go, [width] each; NULL: not wanted. = or, if accumulate, +=. */
template <int SUMS> struct column_sums {
    float *sum[SUMS];
    bool accumulate;
};

/* sum_rows: the sums over rows begin to end - 1 of the block's strip of columns. */
template <class Value>
static __device__ void sum_rows(Value value, int begin, int end, int width,
                                const struct column_sums<Value::SUMS> &totals)
{
    /* Find a thread's place in the strip */
    const int N = Value::N, SUMS = Value::SUMS, strip = N * WARP;
    __shared__ float sums[LINES][SUMS * strip];
    int lane = threadIdx.x, line = threadIdx.y, number = line * WARP + lane;
    int column = blockIdx.x * strip + N * lane, summed = blockIdx.x * strip + number;
    float sum[SUMS][N] = {}, v[SUMS][N];
    typename Value::fetched ahead[AHEAD];
    for (int row = column < width ? begin + line : end; row < end;
         row += AHEAD * LINES) {
        /* Add as many rows as a thread fetches at once */
        for (int i = 0; i < AHEAD; i++)
            ahead[i] = value.fetch(row + i * LINES < end ? row + i * LINES : row, column);
        for (int i = 0; i < AHEAD; i++)
            if (row + i * LINES < end) {
                value.use(ahead[i], row + i * LINES, column, v);
                for (int s = 0; s < SUMS; s++)
                    for (int j = 0; j < N; j++)
                        sum[s][j] += v[s][j];
            }
    }
    /* Leave a line's sums for the others */
    for (int s = 0; s < SUMS; s++)
        for (int j = 0; j < N; j++)
            sums[line][s * strip + N * lane + j] = sum[s][j];
    __syncthreads();
    for (int s = 0; s < SUMS && number < strip && summed < width; s++) {
        /* Add the lines of one column */
        float *to = totals.sum[s], total = 0;
        if (!to)
            continue;
        for (int other = 0; other < LINES; other++)
            total += sums[other][s * strip + number];
        to[summed] = totals.accumulate ? to[summed] + total : total;
    }
}

static __device__ bool is_last(unsigned *finished, unsigned blocks)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0)
        last = atomicInc(finished, blocks - 1) == blocks - 1;
    __syncthreads();
    if (last)
        __threadfence();
    return last;
}

/* part_rows: how many rows a part has; the last may have fewer. part: [parts, SUMS,
   width]. */
template <class Value>
static __global__ void __launch_bounds__(THREADS, Value::SUMS == 1 ? 4 : 3)
sum_columns_kernel(Value value, int rows, int part_rows, int width, float *part,
                   unsigned *finished, struct column_sums<Value::SUMS> totals)
{
    const int SUMS = Value::SUMS;
    int begin = blockIdx.y * part_rows;
    int end = rows - begin < part_rows ? rows : begin + part_rows;
    struct column_sums<SUMS> mine = {{}, false};
    for (int s = 0; s < SUMS; s++)
        mine.sum[s] = part + ((size_t)blockIdx.y * SUMS + s) * width;
    sum_rows(value, begin, end, width, mine);
    if (is_last(finished + blockIdx.x, gridDim.y))
        sum_rows(elements<float, Value::N, SUMS>{part, width}, 0, gridDim.y, width,
                 totals);
}

/* sum_columns: the sums of value over the rows, for each column. */
template <class Value>
static void sum_columns(Value value, int rows, int width,
                        struct column_sums<Value::SUMS> totals)
{
    const size_t room = PART_FLOATS / Value::SUMS / width; /* for parts */
    if (room == 0)
        fail("cuda", "a row of %d is too wide for this table", width);
    size_t at_once = AHEAD * LINES, parts = room < PARTS ? room : (size_t)PARTS;
    int part_rows = at_once * blocks_for(rows, at_once * parts);
    LAUNCH((sum_columns_kernel<Value>),
           dim3(blocks_for(width, Value::N * WARP), blocks_for(rows, part_rows)),
           dim3(WARP, LINES), value, rows, part_rows, width, scratch, finished, totals);
}

/* sum_matrix: total[width] = the sum of x over its rows; += if accumulate. */
template <class T>
static void sum_matrix(const T *x, int rows, int width, float *total, bool accumulate)
{
    if (whole<4>(width, x))
        sum_columns(elements<T, 4>{x, width}, rows, width, {{total}, accumulate});
    else
        sum_columns(elements<T, 1>{x, width}, rows, width, {{total}, accumulate});
}

/* Multiply by matrices on the GPU */
/* A product D[m, n] = op(A) op(B) + beta C (+ bias[m]), read by columns; or with sums,
   D[m, n] = op(A) op(B), and bias[n] = the sums of op(B) over k. */
struct product {
    bool transpose_a, transpose_b, accumulate; /* accumulate: beta is 1 */
    int m, n, k;
    int lda, ldb, ldd;
    bool sums = false;
    /* what multiply fills in */
    cudaDataType in = CUDA_R_32F, out = CUDA_R_32F; /* of A, B, bias; of C, D, sums */
    bool bias = false;
    bool aligned = false; /* all arrays begin at multiples of 16 bytes */
};

struct plan {
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
    bool found;           /* the library has an algorithm */
    bool bias;            /* and adds the bias as well, or makes the sums */
};

static struct plan plan_product(const struct product *p, const void *some_bias)
{
    struct plan plan = {};
    plan.bias = p->bias;
    /* Describe the product to the library */
    cublasOperation_t op_a = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t op_b = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = p->sums ? CUBLASLT_EPILOGUE_BGRADB
                                          : CUBLASLT_EPILOGUE_BIAS;
    check(lt.MatmulDescCreate(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    check(lt.MatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                         &op_a, sizeof op_a));
    check(lt.MatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB,
                                         &op_b, sizeof op_b));
    /* Have the bias added on the way out */
    if (p->bias) {
        check(lt.MatmulDescSetAttribute(
            plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        check(lt.MatmulDescSetAttribute(plan.operation,
                                             CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                             &some_bias, sizeof some_bias));
    }
    /* Describe the arrays to the library */
    check(lt.MatrixLayoutCreate(&plan.a, p->in, p->transpose_a ? p->k : p->m,
                                     p->transpose_a ? p->m : p->k, p->lda));
    check(lt.MatrixLayoutCreate(&plan.b, p->in, p->transpose_b ? p->n : p->k,
                                     p->transpose_b ? p->k : p->n, p->ldb));
    check(lt.MatrixLayoutCreate(&plan.d, p->out, p->m, p->n, p->ldd));
    /* Ask the library for an algorithm */
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    uint32_t in = p->aligned ? 16 : p->in == CUDA_R_16F ? 2 : 4;
    uint32_t out = p->aligned ? 16 : p->out == CUDA_R_16F ? 2 : 4;
    uint32_t alignments[] = {in, in, out, out};
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    check(lt.MatmulPreferenceCreate(&preference));
    /* Limit the algorithm's memory and its freedom */
    check(lt.MatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES,
        sizeof WORKSPACE_BYTES));
    check(lt.MatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction,
        sizeof reduction));
    /* Say how the arrays are aligned */
    static const cublasLtMatmulPreferenceAttributes_t arrays[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    for (int i = 0; i < 4; i++)
        check(lt.MatmulPreferenceSetAttribute(preference, arrays[i],
                                                   &alignments[i], sizeof alignments[i]));
    cublasStatus_t status = lt.MatmulAlgoGetHeuristic(
        blas, plan.operation, plan.a, plan.b, plan.d, plan.d, preference, 1, &found,
        &count);
    check(lt.MatmulPreferenceDestroy(preference));
    plan.found = status == CUBLAS_STATUS_SUCCESS && count > 0;
    if (plan.found)
        plan.algorithm = found.algo;
    if (plan.found || !p->bias)
        return plan;
    struct product plain = *p;
    plain.bias = false;
    return plan_product(&plain, NULL);
}

enum { SMALL = 8 };

/* LANES: threads that share an element of D, 1 or WARP. */
template <class In, class Out, int LANES>
static __global__ void small_product_kernel(struct product p, const In *a,
                                            const In *b, const In *bias, const Out *c,
                                            Out *d)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) / LANES;
    if (at >= (size_t)p.m * p.n)
        return;
    /* Find a row of op(A) and a column of op(B) */
    int i = at % p.m, j = at / p.m;
    size_t step_a = p.transpose_a ? 1 : p.lda, step_b = p.transpose_b ? p.ldb : 1;
    a += p.transpose_a ? (size_t)i * p.lda : i;
    b += p.transpose_b ? j : (size_t)j * p.ldb;
    float sum = 0;
    for (int h = threadIdx.x % LANES; h < p.k; h += LANES)
        sum += widen(a[h * step_a]) * widen(b[h * step_b]);
    if (LANES == WARP)
        sum = warp_sum(sum);
    if (threadIdx.x % LANES != 0)
        return;
    /* Store an element of the product */
    size_t to = (size_t)j * p.ldd + i;
    sum += bias ? widen(bias[i]) : 0.0f;
    narrow(p.accumulate ? sum + widen(c[to]) : sum, &d[to]);
}

template <class In, class Out>
static void multiply_small(struct product p, const void *a, const void *b,
                           const void *bias, const void *c, void *d)
{
    size_t elements = (size_t)p.m * p.n;
    if (p.k < SMALL || elements > INT_MAX / WARP)
        LAUNCH((small_product_kernel<In, Out, 1>), blocks_for(elements, THREADS),
               THREADS, p, (const In *)a, (const In *)b, (const In *)bias,
               (const Out *)c, (Out *)d);
    else
        LAUNCH((small_product_kernel<In, Out, WARP>),
               blocks_for(elements, THREADS / WARP), THREADS, p, (const In *)a,
               (const In *)b, (const In *)bias, (const Out *)c, (Out *)d);
}

/* y[rows, width] += bias[width] in every row */
template <class T>
static __global__ void add_bias_kernel(const T *bias, T *y, int rows, int width)
{
    size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at < (size_t)rows * width)
        narrow(widen(y[at]) + widen(bias[at % width]), &y[at]);
}

template <class T>
static void add_bias(const struct product *p, const void *bias, void *d)
{
    LAUNCH((add_bias_kernel<T>), blocks_for((size_t)p->m * p->n, THREADS), THREADS,
           (const T *)bias, (T *)d, p->n, p->m);
}

template <class T> static constexpr cudaDataType data_type()
{
    return sizeof(T) == 2 ? CUDA_R_16F : CUDA_R_32F;
}

static bool aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

/* find_plan: the plan of a product, from the first time that it was asked for. */
static const struct plan *find_plan(const struct product *p, const void *bias)
{
    static std::map<std::array<int, 12>, struct plan> plans;
    std::array<int, 12> key = {
        p->transpose_a, p->transpose_b, p->m, p->n, p->k, p->lda, p->ldb, p->ldd,
        p->in == CUDA_R_16F, p->out == CUDA_R_16F,
        p->bias + 2 * p->accumulate + 4 * p->sums, p->aligned};
    auto place = plans.find(key);
    if (place == plans.end())
        place = plans.emplace(key, plan_product(p, bias)).first;
    return &place->second;
}

template <class In, class Out>
static bool multiply(struct product p, const void *a, const void *b, const void *bias,
                     const void *c, void *d)
{
    /* See what the arrays are like */
    p.in = data_type<In>();
    p.out = data_type<Out>();
    p.bias = bias != NULL;
    p.aligned = aligned(a) && aligned(b) && aligned(c) && aligned(d) && aligned(bias);
    if (p.m == 0 || p.n == 0 || (p.k == 0 && p.accumulate))
        return false;
    bool small = p.m < SMALL || p.n < SMALL || p.k < SMALL;
    const struct plan *plan = small ? NULL : find_plan(&p, bias);
    if (small || !plan->found) {
        multiply_small<In, Out>(p, a, b, p.sums ? NULL : bias, c, d);
        return false;
    }
    /* Have the library multiply */
    const float alpha = 1, beta = p.accumulate;
    if (plan->bias)
        check(lt.MatmulDescSetAttribute(plan->operation,
                                             CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                             sizeof bias));
    check(lt.Matmul(blas, plan->operation, &alpha, a, plan->a, b, plan->b, &beta, c,
                         plan->d, d, plan->d, &plan->algorithm, workspace, WORKSPACE_BYTES,
                         stream));
    if (bias && !plan->bias && !p.sums)
        add_bias<Out>(&p, bias, d);
    return plan->bias;
}

template <class T>
static void linear_cuda(const real *x, const real *w, const real *bias, real *y,
                        int rows, int in, int out)
{
    struct product p = {true, false, false, out, rows, in, in, in, out};
    multiply<T, T>(p, w, x, bias, y, y);
}

template <class T>
static void linear_onto_cuda(const real *x, const real *w, const real *bias,
                             const real *base, real *y, int rows, int in, int out)
{
    struct product p = {true, false, true, out, rows, in, in, in, out};
    multiply<T, T>(p, w, x, bias, base, y);
}

template <class T>
static void linear_input_gradient_cuda(const real *dy, const real *w, real *dx,
                                       int rows, int in, int out, bool accumulate)
{
    struct product p = {false, false, accumulate, in, rows, out, in, out, in};
    multiply<T, T>(p, w, dy, NULL, dx, dx);
}

template <class T>
static void linear_weight_gradient_cuda(const real *x, const real *dy, void *dw,
                                        float *dbias, int rows, int in, int out,
                                        int form)
{
    bool add = form & ADD, reals = form & REALS && sizeof(T) != sizeof(float);
    struct product p = {false, true, add, in, out, rows, in, out, in};
    p.sums = dbias && !add;
    float *sums = !p.sums ? NULL : reals ? scratch : dbias;
    bool summed =
        (reals ? multiply<T, T> : multiply<T, float>)(p, x, dy, sums, dw, dw);
    if (summed && reals)
        to_float_cuda<T>((const real *)scratch, dbias, out);
    if (dbias && !summed)
        sum_matrix((const T *)dy, rows, out, dbias, add);
}

/* Look up embeddings on the GPU */
template <class T>
static __global__ void embed_kernel(const int *ids, const int *positions,
                                    const int *segments, const T *words,
                                    const T *places, const T *types, T *y, int rows,
                                    int width)
{
    /* Take a row, if there is one for the warp */
    int row = blockIdx.x * ROWS + threadIdx.y;
    if (row >= rows)
        return;
    /* Find a token's rows in the tables */
    const T *word = words + (size_t)ids[row] * width;
    const T *place = places + (size_t)positions[row] * width;
    const T *type = types ? types + (size_t)segments[row] * width : NULL;
    for (int k = 4 * threadIdx.x; k < width; k += 4 * WARP) {
        /* Add four columns of a token's rows */
        float sum[4], v[4];
        read4(word, k, width, sum);
        read4(place, k, width, v);
        for (int j = 0; j < 4; j++)
            sum[j] += v[j];
        if (type) {
            read4(type, k, width, v);
            for (int j = 0; j < 4; j++)
                sum[j] += v[j];
        }
        write4(y + (size_t)row * width, k, width, sum);
    }
}

template <class T>
static void embed_cuda(const int *ids, const int *positions, const int *segments,
                       const real *words, const real *places, const real *types,
                       real *y, int rows, int width)
{
    LAUNCH((embed_kernel<T>), blocks_for(rows, ROWS), dim3(WARP, ROWS), ids, positions,
           segments, (const T *)words, (const T *)places, (const T *)types, (T *)y,
           rows, width);
}

template <class T, class G>
static __global__ void embed_gradient_kernel(const T *dy, struct lookup lookup,
                                             G *table, int width)
{
    __shared__ float sums[LINES][STRIP];
    int lane = threadIdx.x, line = threadIdx.y, column = blockIdx.y * STRIP + 4 * lane;
    /* Add up the gradients of a line's tokens */
    float sum[4] = {0, 0, 0, 0};
    for (int i = lookup.start[blockIdx.x] + line; i < lookup.start[blockIdx.x + 1];
         i += LINES) {
        float v[4];
        read4(dy + (size_t)lookup.token[i] * width, column, width, v);
        for (int j = 0; j < 4; j++)
            sum[j] += v[j];
    }
    for (int j = 0; j < 4; j++)
        sums[line][4 * lane + j] = sum[j];
    __syncthreads();
    if (line != 0)
        return;
    /* Add the lines to the table's row */
    G *row = table + (size_t)lookup.id[blockIdx.x] * width;
    float total[4];
    read4(row, column, width, total);
    for (int j = 0; j < 4; j++)
        for (int other = 0; other < LINES; other++)
            total[j] += sums[other][4 * lane + j];
    write4(row, column, width, total);
}

template <class T, class G>
static void add_to_table(const real *dy, const struct lookup *lookup, void *dtable,
                         int width)
{
    if (lookup->rows > 0)
        LAUNCH((embed_gradient_kernel<T, G>),
               dim3(lookup->rows, blocks_for(width, STRIP)), dim3(WARP, LINES),
               (const T *)dy, *lookup, (G *)dtable, width);
}

template <class T>
static void embed_gradient_cuda(const real *dy, const struct lookup *lookup,
                                void *dtable, bool reals, int width)
{
    (reals ? add_to_table<T, T> : add_to_table<T, float>)(dy, lookup, dtable, width);
}

/* Normalise rows on the GPU */
enum { GROUPS = 8 }; /* that a lane keeps of a row: at, at + N * WARP, ... */

/* FOR_GROUPS: for each group g that the row has; its first element is number k */
#define FOR_GROUPS                                              \
    _Pragma("unroll")                                           \
    for (int g = 0, k = at; g < GROUPS; g++, k += N * WARP)     \
        if (k < width)

template <class T, int N>
static __device__ __forceinline__ void fetch(const T *row, int at, int width,
                                             neighbours<T, N> part[GROUPS])
{
    for (int g = 0, k = at; g < GROUPS; g++, k += N * WARP)
        part[g] = *(const neighbours<T, N> *)(row + (k < width ? k : width - N));
}

template <class T, int N>
static __global__ void __launch_bounds__(WARP * ROWS)
norm_kernel(T *x, const T *residual, struct dropout dropout, const T *gain,
            const T *bias, T *y, float *mean, float *deviation, int rows, int width,
            float epsilon)
{
    const int SPAN = GROUPS * N * WARP, start = N * threadIdx.x;
    /* Take a row, if there is one for the warp */
    int row = blockIdx.x * ROWS + threadIdx.y;
    if (row >= rows)
        return;
    size_t first = (size_t)row * width;
    bool kept = (mean || width > SPAN) && (residual || dropout.rate > 0);
    neighbours<T, N> v[GROUPS], r[GROUPS], w[GROUPS], b[GROUPS];
    /* Add up the row, and find its mean */
    float sum = 0, squares = 0;
    int span = 0, at = start;
    do {
        /* Drop, add the residual, and store the sum */
        /* Fetch all that the row needs */
        fetch(x + first, at, width, v);
        fetch(gain, at, width, w);
        fetch(bias, at, width, b);
        fetch((residual ? residual : x) + first, at, width, r);
        __syncwarp(); /* no load is put off until its group's turn */
        FOR_GROUPS {
            float f[N];
            for (int j = 0; j < N; j++)
                f[j] = widen(v[g].x[j]);
            drop<N>(dropout, first + k, f);
            for (int j = 0; j < N; j++) {
                narrow(residual ? f[j] + widen(r[g].x[j]) : f[j], &v[g].x[j]);
                sum += widen(v[g].x[j]);
            }
            if (kept)
                *(neighbours<T, N> *)(x + first + k) = v[g];
        }
        at += SPAN;
    } while ((span += SPAN) < width);
    float mu = warp_sum(sum) / width;
    if (width > SPAN)
        __syncwarp(); /* the last group, another lane's, has been written */
    /* Find the deviation from the mean */
    for (at = start; at < width; at += SPAN) {
        if (width > SPAN)
            fetch(x + first, at, width, v);
        FOR_GROUPS
            for (int j = 0; j < N; j++)
                squares += (widen(v[g].x[j]) - mu) * (widen(v[g].x[j]) - mu);
    }
    float delta = 1 / sqrtf(warp_sum(squares) / width + epsilon);
    for (at = start; at < width; at += SPAN) {
        /* Write the normalised row */
        if (width > SPAN) {
            fetch(x + first, at, width, v);
            fetch(gain, at, width, w);
            fetch(bias, at, width, b);
        }
        FOR_GROUPS {
            neighbours<T, N> out;
            for (int j = 0; j < N; j++)
                narrow(widen(w[g].x[j]) * ((widen(v[g].x[j]) - mu) * delta) + widen(b[g].x[j]),
                       &out.x[j]);
            *(neighbours<T, N> *)(y + first + k) = out;
        }
    }
    /* Leave mean and deviation for the gradient */
    if (mean && threadIdx.x == 0) {
        mean[row] = mu;
        deviation[row] = delta;
    }
}

template <class T>
static void norm_cuda(real *x, const real *residual, struct dropout dropout,
                      const real *gain, const real *bias, real *y, float *mean,
                      float *deviation, int rows, int width, float epsilon)
{
    bool fours = whole<4>(width, (T *)x, (const T *)residual, (const T *)gain,
                          (const T *)bias, (T *)y);
    LAUNCH((fours ? norm_kernel<T, 4> : norm_kernel<T, 1>), blocks_for(rows, ROWS),
           dim3(WARP, ROWS), (T *)x, (const T *)residual, dropout, (const T *)gain,
           (const T *)bias, (T *)y, mean, deviation, rows, width, epsilon);
}

struct row_means {
    float g, gh;
};

enum { NORM_SUMS = 3 }; /* for gain, bias, and a bias before the norm */

/* part_rows: how many rows a block has; the last may have fewer. means: [rows].
   part: [blocks, NORM_SUMS, width]. */
template <class T, int N>
static __global__ void __launch_bounds__(WARP * LINES)
norm_gradient_kernel(const T *dy, const T *x, const float *mean, const float *deviation,
                     const T *gain, struct dropout dropout, T *dsum, T *dx,
                     struct row_means *means, float *part, int rows, int part_rows,
                     int width)
{
    const int SPAN = GROUPS * N * WARP;
    __shared__ neighbours<float, N> lines[LINES][SPAN / N];
    int lane = threadIdx.x, line = threadIdx.y, begin = blockIdx.x * part_rows;
    int end = rows - begin < part_rows ? rows : begin + part_rows;
    for (int start = 0; start < width; start += SPAN) {
        neighbours<float, N> sum[NORM_SUMS][GROUPS] = {};
        for (int row = begin + line; row < end; row += LINES) {
            /* Find the two means of a row, and keep a span */
            size_t first = (size_t)row * width;
            float mu = mean[row], delta = deviation[row], g_sum = 0, gh_sum = 0;
            neighbours<T, N> dv[GROUPS], v[GROUPS], w[GROUPS];
            for (int span = start > 0 ? start : (width - 1) / SPAN * SPAN; span >= start;
                 span -= SPAN) {
                int at = span + N * lane;
                fetch(dy + first, at, width, dv);
                fetch(x + first, at, width, v);
                fetch(gain, at, width, w);
                /* Add to a row's sums of g and of gh */
                FOR_GROUPS
                    for (int j = 0; j < N; j++) {
                        float d = widen(dv[g].x[j]) * widen(w[g].x[j]);
                        g_sum += d;
                        gh_sum += d * ((widen(v[g].x[j]) - mu) * delta);
                    }
            }
            struct row_means of = {warp_sum(g_sum) / width, warp_sum(gh_sum) / width};
            if (start > 0)
                of = means[row];
            else if (width > SPAN && lane == 0)
                means[row] = of;
            __syncwarp(); /* all lanes have fetched what is overwritten now */
            /* Write the span's gradient, and add to the sums */
            int at = start + N * lane;
            FOR_GROUPS {
                float out[N];
                for (int j = 0; j < N; j++) {
                    float h = (widen(v[g].x[j]) - mu) * delta, d = widen(dv[g].x[j]);
                    sum[0][g].x[j] += d * h;
                    sum[1][g].x[j] += d;
                    out[j] = delta * (d * widen(w[g].x[j]) - of.g - h * of.gh);
                    narrow(out[j], &dv[g].x[j]);
                }
                *(neighbours<T, N> *)(dsum + first + k) = dv[g];
                /* Let the gradient through the dropout, and sum it */
                if (dx) {
                    drop<N>(dropout, first + k, out);
                    for (int j = 0; j < N; j++)
                        narrow(out[j], &dv[g].x[j]);
                    *(neighbours<T, N> *)(dx + first + k) = dv[g];
                }
                for (int j = 0; j < N; j++)
                    sum[2][g].x[j] += widen(dv[g].x[j]);
            }
        }
        /* Add the lines of each column in the span */
        for (int s = 0; s < NORM_SUMS; s++) {
            __syncthreads(); /* the lines of an earlier sum have been read */
            for (int g = 0; g < GROUPS; g++)
                lines[line][g * WARP + lane] = sum[s][g];
            __syncthreads();
            for (int c = line * WARP + lane; c < SPAN && start + c < width; c += THREADS) {
                float total = 0;
                for (int other = 0; other < LINES; other++)
                    total += lines[other][c / N].x[c % N];
                part[((size_t)blockIdx.x * NORM_SUMS + s) * width + start + c] = total;
            }
        }
    }
}

template <class T, int N>
static void norm_gradient_of(const T *dy, const T *x, const float *mean,
                             const float *deviation, const T *gain,
                             struct dropout dropout, T *dsum, T *dx,
                             const struct norm_sums *sums, int rows, int width)
{
    int part_rows = 2 * LINES * blocks_for(rows, 2 * LINES * PARTS);
    int blocks = blocks_for(rows, part_rows);
    float *part = scratch + PART_FLOATS;
    struct row_means *means = (struct row_means *)(part + (size_t)blocks * NORM_SUMS
                                                              * width);
    if ((float *)(means + rows) > scratch + SCRATCH_FLOATS)
        fail("cuda", "%d tokens of width %d are too many for this table", rows, width);
    LAUNCH((norm_gradient_kernel<T, N>), blocks, dim3(WARP, LINES), dy, x, mean,
           deviation, gain, dropout, dsum, dx, means, part, rows, part_rows, width);
    sum_columns(elements<float, N, NORM_SUMS>{part, width}, blocks, width,
                {{sums->gain, sums->bias, sums->before}, sums->accumulate});
}

template <class T>
static void norm_gradient_cuda(const real *dy, const real *x, const float *mean,
                               const float *deviation, const real *gain,
                               struct dropout dropout, real *dsum, real *dx,
                               const struct norm_sums *sums, int rows, int width)
{
    bool fours = whole<4>(width, (const T *)dy, (const T *)x, (const T *)gain,
                          (T *)dsum, (T *)dx);
    (fours ? norm_gradient_of<T, 4> : norm_gradient_of<T, 1>)(
        (const T *)dy, (const T *)x, mean, deviation, (const T *)gain, dropout,
        (T *)dsum, (T *)dx, sums, rows, width);
}

/* Apply functions to elements on the GPU */
static __device__ float apply(enum activation f, float x)
{
    if (f == GELU)
        return x * 0.5f * (1 + erff(x * 0.70710678f));
    return f == TANH ? tanhf(x) : x < 0 ? 0.0f : x; /* fmaxf would hide a NaN */
}

static __device__ float slope(enum activation f, float x)
{
    if (f == GELU)
        return 0.5f * (1 + erff(x * 0.70710678f))
               + x * 0.39894228f * expf(-0.5f * x * x);
    if (f == TANH)
        return 1 - tanhf(x) * tanhf(x);
    return x > 0 ? 1.0f : x <= 0 ? 0.0f : x;
}

template <class T>
static __global__ void activate_kernel(enum activation f, const T *x, T *y, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float v[4];
    if (at >= n)
        return;
    read4(x, at, n, v);
    for (int j = 0; j < 4; j++)
        v[j] = apply(f, v[j]);
    write4(y, at, n, v);
}

template <class T, int N_> struct bent_gradient {
    static const int N = N_, SUMS = 1;
    enum activation f;
    const T *x, *dy;
    T *dx;
    int width;
    struct fetched {
        neighbours<T, N> x, dy;
    };
    /* Fetch what a slope is made of */
    __device__ struct fetched fetch(int row, int column) const
    {
        size_t at = (size_t)row * width + column;
        return {*(const neighbours<T, N> *)(x + at),
                *(const neighbours<T, N> *)(dy + at)};
    }
    /* Multiply by the slope, and write the gradient */
    __device__ void use(const struct fetched &got, int row, int column,
                        float v[SUMS][N]) const
    {
        neighbours<T, N> out;
        for (int j = 0; j < N; j++) {
            narrow(widen(got.dy.x[j]) * slope(f, widen(got.x.x[j])), &out.x[j]);
            v[0][j] = widen(out.x[j]);
        }
        *(neighbours<T, N> *)(dx + (size_t)row * width + column) = out;
    }
};

template <class T>
static __global__ void dropout_kernel(const T *x, T *y, size_t n,
                                      struct dropout dropout)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float v[4];
    if (at >= n)
        return;
    read4(x, at, n, v);
    drop4(dropout, at, v);
    write4(y, at, n, v);
}

template <class T> static __global__ void add_kernel(const T *x, T *y, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float v[4], sum[4];
    if (at >= n)
        return;
    read4(x, at, n, v);
    read4(y, at, n, sum);
    for (int j = 0; j < 4; j++)
        sum[j] += v[j];
    write4(y, at, n, sum);
}

template <class T>
static void dropout_cuda(const real *x, real *y, size_t n, struct dropout dropout)
{
    LAUNCH((dropout_kernel<T>), blocks_for(n, 4 * THREADS), THREADS, (const T *)x,
           (T *)y, n, dropout);
}

template <class T>
static void activate_cuda(enum activation f, const real *x, real *y, size_t n)
{
    LAUNCH((activate_kernel<T>), blocks_for(n, 4 * THREADS), THREADS, f, (const T *)x,
           (T *)y, n);
}

template <class T, int N>
static void bend_back(enum activation f, const T *x, const T *dy, T *dx, float *dbias,
                      int rows, int width, bool accumulate)
{
    struct bent_gradient<T, N> value = {f, x, dy, dx, width};
    sum_columns(value, rows, width, {{dbias}, accumulate});
}

template <class T>
static void activate_gradient_cuda(enum activation f, const real *x, const real *dy,
                                   real *dx, float *dbias, int rows, int width,
                                   bool accumulate)
{
    bool fours = whole<4>(width, (const T *)x, (const T *)dy, (T *)dx);
    (fours ? bend_back<T, 4> : bend_back<T, 1>)(f, (const T *)x, (const T *)dy,
                                                (T *)dx, dbias, rows, width,
                                                accumulate);
}

template <class T> static void add_cuda(const real *x, real *y, size_t n)
{
    LAUNCH((add_kernel<T>), blocks_for(n, 4 * THREADS), THREADS, (const T *)x, (T *)y,
           n);
}

/* Attend on the GPU */
/* Size the tiles */
enum { TILE = GPU_TILE, TILE_THREADS = 128, SPAN = GPU_SPAN };

/* tile_stride: elements from a row of a tile to the next. Sixteen bytes more than
   needed put neighbouring rows into different banks of shared memory. */
template <class T> static __device__ constexpr int tile_stride(int columns)
{
    return columns + 16 / (int)sizeof(T);
}

/* Spread sums over a block's registers */
/* A matrix [M, N] of sums, spread over the block's registers. */
template <class T, int M, int N> struct tile_sum;

/* Multiply tiles in fp32 */
template <int M, int N> struct tile_sum<float, M, N> {
    static const int EACH = M * N / TILE_THREADS;
    float sum[EACH];

    __device__ void clear()
    {
        for (int i = 0; i < EACH; i++)
            sum[i] = 0;
    }

    /* Add products to a thread's sums */
    /* add: += a[M, K] b[K, N] */
    template <int K, bool A_T, bool B_T>
    __device__ void add(const float *a, int stride_a, const float *b, int stride_b)
    {
        for (int i = 0; i < EACH; i++) {
            int element = i * TILE_THREADS + threadIdx.x, m = element / N,
                n = element % N;
            for (int k = 0; k < K; k++)
                sum[i] += (A_T ? a[k * stride_a + m] : a[m * stride_a + k])
                          * (B_T ? b[n * stride_b + k] : b[k * stride_b + n]);
        }
    }

    /* Write a thread's sums */
    /* write: to shared memory [M, N] */
    __device__ void write(float *to, int stride) const
    {
        for (int i = 0; i < EACH; i++) {
            int element = i * TILE_THREADS + threadIdx.x;
            to[element / N * stride + element % N] = sum[i];
        }
    }
};

/* Multiply tiles on tensor cores */
template <int M, int N> struct tile_sum<__half, M, N> {
    static const int SQUARES = M / 16 * (N / 16), WARPS = TILE_THREADS / WARP;
    static const int EACH = (SQUARES + WARPS - 1) / WARPS;
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float> sum[EACH];

    __device__ void clear()
    {
        for (int i = 0; i < EACH; i++)
            nvcuda::wmma::fill_fragment(sum[i], 0.0f);
    }

    /* Add products to a warp's squares */
    template <int K, bool A_T, bool B_T>
    __device__ void add(const __half *a, int stride_a, const __half *b, int stride_b)
    {
        using namespace nvcuda::wmma;
        typedef typename std::conditional<A_T, col_major, row_major>::type a_order;
        typedef typename std::conditional<B_T, col_major, row_major>::type b_order;
        for (int i = 0; i < EACH; i++) {
            /* Find the warp's square */
            int square = i * WARPS + threadIdx.x / WARP;
            if (SQUARES % WARPS != 0 && square >= SQUARES)
                return;
            int m = square / (N / 16) * 16, n = square % (N / 16) * 16;
            for (int k = 0; k < K; k += 16) {
                fragment<matrix_a, 16, 16, 16, __half, a_order> left;
                fragment<matrix_b, 16, 16, 16, __half, b_order> right;
                load_matrix_sync(
                    left, A_T ? a + k * stride_a + m : a + m * stride_a + k, stride_a);
                load_matrix_sync(
                    right, B_T ? b + n * stride_b + k : b + k * stride_b + n, stride_b);
                mma_sync(sum[i], left, right, sum[i]);
            }
        }
    }

    /* Write a warp's squares */
    __device__ void write(float *to, int stride) const
    {
        for (int i = 0; i < EACH; i++) {
            /* Find the warp's square */
            int square = i * WARPS + threadIdx.x / WARP;
            if (SQUARES % WARPS != 0 && square >= SQUARES)
                return;
            int m = square / (N / 16) * 16, n = square % (N / 16) * 16;
            nvcuda::wmma::store_matrix_sync(to + m * stride + n, sum[i], stride,
                                            nvcuda::wmma::mem_row_major);
        }
    }
};

/* Describe a tile of queries or keys */
struct tile {
    int first, length, keys; /* of the sequence: its first row here, its rows, keys */
    int depth, width;        /* of a head; of all heads together */
    int stride;              /* elements from a row of qkv to the next */
    bool whole;              /* all rows can be read sixteen bytes at a time */
    size_t token, head;      /* of the batch: the sequence's first token; the head */
    float scale;             /* of the scores */
};

static __device__ struct tile tile_here(const struct attention &a, bool whole)
{
    struct tile tile;
    int sequence = blockIdx.z;
    tile.first = blockIdx.x * TILE;
    tile.token = a.offsets[sequence];
    tile.length = a.offsets[sequence + 1] - a.offsets[sequence];
    tile.keys = a.visible[sequence];
    tile.head = blockIdx.y;
    tile.depth = a.width / a.heads;
    tile.width = a.width;
    tile.stride = 3 * a.width;
    tile.whole = whole;
    tile.scale = 1 / sqrtf((float)tile.depth);
    return tile;
}

/* The first query of the sequence and head; its keys and values lie width and twice
   width behind. */
template <class T>
static __device__ T *queries(const struct tile &tile, T *qkv)
{
    return qkv + tile.token * tile.stride + tile.head * tile.depth;
}

/* The first output of the sequence and head, or its gradient. */
template <class T>
static __device__ T *outputs(const struct tile &tile, T *y)
{
    return y + tile.token * tile.width + tile.head * tile.depth;
}

/* logsum_at: the number of a query's entry in logsum. */
static __device__ size_t logsum_at(const struct attention &a, const struct tile &tile,
                                   int row)
{
    return (tile.token + row) * a.heads + tile.head;
}

/* Read and write tiles */
/* Sixteen bytes on their way. They travel as words: whoever took them apart would have
   to wait for them. */
struct alignas(16) wide {
    uint32_t word[4];
};

/* A tile [TILE, DEPTH] on its way to shared memory, in the block's registers. */
template <class T, int DEPTH> struct tile_rows {
    static const int WIDTH = 16 / sizeof(T);     /* elements of a group */
    static const int GROUPS = DEPTH / WIDTH;     /* of a row */
    static const int ALL_GROUPS = TILE * GROUPS; /* of the tile; of a thread, EACH */
    static const int EACH = (ALL_GROUPS + TILE_THREADS - 1) / TILE_THREADS;
    wide held[EACH];

    /* Fetch a thread's part of a tile */
    /* fetch: rows first to first + TILE - 1 of from, [rows, depth] with a stride. */
    __device__ void fetch(const struct tile &tile, const T *from, int stride, int first,
                          int rows)
    {
        for (int i = 0; i < EACH; i++) {
            int group = i * TILE_THREADS + threadIdx.x;
            int row = first + group / GROUPS, column = group % GROUPS * WIDTH;
            int n = group < ALL_GROUPS && row < rows ? tile.depth - column : 0;
            const T *x = from + (int64_t)row * stride + column;
            held[i] = {};
            /* Ask for sixteen bytes at once, or for what there is of them */
            if (n > 0 && tile.whole)
                held[i] = *(const wide *)x;
            else if (n > 0) {
                T some[WIDTH] = {};
                for (int j = 0; j < WIDTH; j++)
                    if (j < n)
                        some[j] = x[j];
                memcpy(&held[i], some, sizeof some);
            }
        }
    }

    /* Put a thread's part of a tile down */
    __device__ void put(T *tile) const
    {
        for (int i = 0; i < EACH; i++) {
            int group = i * TILE_THREADS + threadIdx.x;
            T *to = tile + group / GROUPS * tile_stride<T>(DEPTH) + group % GROUPS * WIDTH;
            if (group < ALL_GROUPS)
                *(wide *)to = held[i];
        }
    }

    /* Multiply rows with other rows */
    /* multiply: to[TILE] = the product of each row with the same row of another tile. */
    __device__ void multiply(const tile_rows &other, float *to) const
    {
        for (int i = 0; i < EACH; i++) {
            int group = i * TILE_THREADS + threadIdx.x;
            float sum = 0;
            T x[WIDTH], y[WIDTH];
            memcpy(x, &held[i], sizeof x);
            memcpy(y, &other.held[i], sizeof y);
            for (int j = 0; j < WIDTH; j++)
                sum += widen(x[j]) * widen(y[j]);
            for (int bit = GROUPS / 2; bit > 0; bit /= 2)
                sum += __shfl_xor_sync(ALL, sum, bit);
            if (group < ALL_GROUPS && group % GROUPS == 0)
                to[group / GROUPS] = sum;
        }
    }
};

/* write_tile: scale times what the sums hold, into rows first to first + TILE - 1 of
   to; staged in shared memory [TILE, DEPTH] of floats. */
template <class T, int DEPTH>
static __device__ void write_tile(const struct tile_sum<T, TILE, DEPTH> &sums,
                                  float *staged, float scale, T *to, size_t stride,
                                  int first, int rows, int depth)
{
    const int groups = DEPTH / 4, staged_stride = tile_stride<float>(DEPTH);
    __syncthreads();
    sums.write(staged, staged_stride);
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * groups; i += TILE_THREADS) {
        int row = i / groups, column = i % groups * 4;
        four<float> f = *(const four<float> *)(staged + row * staged_stride + column);
        if (first + row >= rows || column >= depth)
            continue;
        for (int j = 0; j < 4; j++)
            f.x[j] *= scale;
        write4(to + (first + row) * stride, column, depth, f.x);
    }
}

/* Score a tile of keys */
enum { SHARE = 4, EACH = TILE / SHARE }; /* lanes of a query; scores of a lane */

/* column_of: in which column of a tile score i of this lane is. */
static __device__ __forceinline__ int column_of(int i)
{
    return threadIdx.x % SHARE * EACH + i;
}

static __device__ __forceinline__ float shared_sum(float x)
{
    x += __shfl_xor_sync(ALL, x, 1);
    return x + __shfl_xor_sync(ALL, x, 2);
}

static __device__ __forceinline__ float shared_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(ALL, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL, x, 2));
}

/* product: a b^T for tiles [TILE, DEPTH] in shared memory. */
template <class T, int DEPTH>
static __device__ __forceinline__ struct tile_sum<T, TILE, TILE> product(const T *a,
                                                                         const T *b)
{
    const int stride = tile_stride<T>(DEPTH);
    struct tile_sum<T, TILE, TILE> sums;
    sums.clear();
    sums.template add<DEPTH, false, true>(a, stride, b, stride);
    return sums;
}

/* real_stride: of reals that stand in rows of so many floats. */
template <class T> static __device__ constexpr int real_stride(int columns)
{
    return tile_stride<float>(columns) * (int)(sizeof(float) / sizeof(T));
}

/* read_share: this lane's eight of a tile's numbers, from its row. */
static __device__ __forceinline__ void read_share(const float *row, float x[EACH])
{
    for (int i = 0; i < EACH; i += 4) {
        four<float> f = *(const four<float> *)(row + column_of(i));
        for (int j = 0; j < 4; j++)
            x[i + j] = f.x[j];
    }
}

/* read_scores: the same of the scores, scaled; minus infinity for keys that are not. */
static __device__ __forceinline__ void read_scores(const struct tile &tile, int key,
                                                   const float *row, float s[EACH])
{
    read_share(row, s);
    for (int i = 0; i < EACH; i++)
        s[i] = key + column_of(i) < tile.keys ? s[i] * tile.scale : -INFINITY;
}

/* write_share: as reals; to: the row as the products see it. */
template <class T>
static __device__ __forceinline__ void write_share(const float x[EACH], T *to)
{
    const int N = 16 / sizeof(T);
    for (int i = 0; i < EACH; i += N) {
        T group[N];
        wide piece;
        for (int j = 0; j < N; j++)
            narrow(x[i + j], &group[j]);
        memcpy(&piece, group, sizeof piece);
        *(wide *)(to + column_of(i)) = piece;
    }
}

/* drop_share: dropout of this lane's eight probabilities of a query. */
static __device__ __forceinline__ void drop_share(const struct attention &a,
                                                  const struct tile &tile, int query,
                                                  int key, float p[EACH])
{
    uint64_t first = (uint64_t)logsum_at(a, tile, query) * 65536 + key;
    for (int i = 0; i < EACH; i += 4)
        drop4(a.dropout, first + column_of(i), p + i);
}

/* Attend to the keys tile by tile */
/* each_tile: calls use(column, x) with the tiles x of a span's keys or values; rows
   hold the first of them, and then the one behind the last. */
template <class T, int DEPTH, int SIZE, class F>
static __device__ __forceinline__ void
each_tile(struct tile_rows<T, DEPTH> &rows, const T *from, const struct tile &tile,
          int first, T (&places)[2][SIZE], F use)
{
    for (int column = 0; column < SPAN && first + column < tile.keys; column += TILE) {
        T *place = places[column / TILE % 2];
        rows.put(place);
        __syncthreads();
        rows.fetch(tile, from, tile.stride, first + column + TILE, tile.keys);
        use(column, place);
    }
    __syncthreads();
}

template <class T, int DEPTH>
static __global__ void __launch_bounds__(TILE_THREADS)
attention_kernel(struct attention a, bool whole, const T *qkv, T *y, float *logsum)
{
    const int stride = tile_stride<T>(DEPTH), span_stride = tile_stride<float>(SPAN);
    __shared__ __align__(32) T q[TILE * stride], kv[2][TILE * stride];
    __shared__ __align__(32) float scores[TILE * span_stride];
    /* Take a tile, if the sequence is that long */
    struct tile tile = tile_here(a, whole);
    if (tile.first >= tile.length)
        return;
    const T *from = queries(tile, qkv);
    const T *keys = from + a.width, *values = keys + a.width;
    int query = tile.first + threadIdx.x / SHARE;
    float *row = scores + threadIdx.x / SHARE * span_stride;
    auto score = [&](int column, const T *k) {
        product<T, DEPTH>(q, k).write(scores + column, span_stride);
    };
    /* Find each query's softmax over all keys */
    struct tile_rows<T, DEPTH> mine, rows;
    mine.fetch(tile, from, tile.stride, tile.first, tile.length);
    rows.fetch(tile, keys, tile.stride, 0, tile.keys);
    mine.put(q);
    float largest = -INFINITY, total = 0, s[EACH];
    for (int key = 0; key < tile.keys; key += SPAN) {
        each_tile(rows, keys, tile, key, kv, score);
        /* Let a span's scores count */
        float before = largest;
        int columns = tile.keys - key < SPAN ? tile.keys - key : SPAN;
        for (int column = 0; column < columns; column += TILE) {
            read_scores(tile, key + column, row + column, s);
            for (int i = 0; i < EACH; i++)
                largest = fmaxf(largest, s[i]);
        }
        largest = shared_max(largest);
        total *= expf(before - largest);
        for (int column = 0; column < columns; column += TILE) {
            read_scores(tile, key + column, row + column, s);
            for (int i = 0; i < EACH; i++)
                total += expf(s[i] - largest);
        }
    }
    float log_total = largest + logf(shared_sum(total));
    if (threadIdx.x % SHARE == 0 && query < tile.length)
        logsum[logsum_at(a, tile, query)] = log_total;
    /* Gather the values by their probabilities */
    const int p_stride = real_stride<T>(SPAN);
    T *p = (T *)scores, *p_row = (T *)row;
    struct tile_sum<T, TILE, DEPTH> sums;
    sums.clear();
    for (int key = 0; key < tile.keys; key += SPAN) {
        if (tile.keys > SPAN) {
            rows.fetch(tile, keys, tile.stride, key, tile.keys);
            each_tile(rows, keys, tile, key, kv, score);
        }
        rows.fetch(tile, values, tile.stride, key, tile.keys);
        /* Turn a span's scores into kept probabilities */
        for (int column = 0; column < SPAN && key + column < tile.keys; column += TILE) {
            read_scores(tile, key + column, row + column, s);
            for (int i = 0; i < EACH; i++)
                s[i] = expf(s[i] - log_total);
            drop_share(a, tile, query, key + column, s);
            __syncwarp(); /* all lanes of the row have read */
            write_share(s, p_row + column);
        }
        __syncthreads();
        each_tile(rows, values, tile, key, kv, [&](int column, const T *v) {
            sums.template add<TILE, false, false>(p + column, p_stride, v, stride);
        });
    }
    write_tile<T, DEPTH>(sums, (float *)kv, 1, outputs(tile, y), tile.width, tile.first,
                         tile.length, tile.depth);
}

/* Go back through a tile of scores */
/* What a block of the backward pass shares. p and ds are scores and dp at first, and
   later reals in the same rows. */
template <class T, int DEPTH> struct backward_tiles {
    alignas(32) T qg[2][TILE * tile_stride<T>(DEPTH)]; /* queries, dy */
    alignas(32) T kv[2][TILE * tile_stride<T>(DEPTH)]; /* keys, values */
    alignas(32) float p[TILE * tile_stride<float>(TILE)];
    alignas(32) float ds[TILE * tile_stride<float>(TILE)];
    float dots[TILE]; /* dy . y of each query */
};

/* Arrays of kernels.h that the backward pass reads by tiles. */
template <class T> struct backward_inputs {
    const T *qkv, *y, *dy;
};

template <class T, int DEPTH> struct query_rows {
    struct tile_rows<T, DEPTH> q, y, dy;

    __device__ void fetch(const struct backward_inputs<T> &from,
                          const struct tile &tile, int first)
    {
        q.fetch(tile, queries(tile, from.qkv), tile.stride, first, tile.length);
        y.fetch(tile, outputs(tile, from.y), tile.width, first, tile.length);
        dy.fetch(tile, outputs(tile, from.dy), tile.width, first, tile.length);
    }

    __device__ void put(struct backward_tiles<T, DEPTH> &to) const
    {
        q.put(to.qg[0]);
        dy.put(to.qg[1]);
        dy.multiply(y, to.dots);
    }
};

template <class T, int DEPTH> struct key_rows {
    struct tile_rows<T, DEPTH> k, v;

    __device__ void fetch(const struct backward_inputs<T> &from,
                          const struct tile &tile, int first)
    {
        const T *keys = queries(tile, from.qkv) + tile.width;
        k.fetch(tile, keys, tile.stride, first, tile.keys);
        v.fetch(tile, keys + tile.width, tile.stride, first, tile.keys);
    }

    __device__ void put(struct backward_tiles<T, DEPTH> &to) const
    {
        k.put(to.kv[0]);
        v.put(to.kv[1]);
    }
};

/* each_pair: calls use(first) with the block's tile and each tile of other rows, first
   to first + TILE - 1 up to rows, in shared memory together. stay, pass: query_rows and
   key_rows, or the other way round. */
template <class T, int DEPTH, class STAY, class PASS, class F>
static __device__ __forceinline__ void
each_pair(const struct backward_inputs<T> &from, const struct tile &tile,
          struct backward_tiles<T, DEPTH> &at, STAY stay, PASS pass, int rows, F use)
{
    stay.fetch(from, tile, tile.first);
    pass.fetch(from, tile, 0);
    stay.put(at);
    for (int first = 0; first < rows; first += TILE) {
        pass.put(at);
        __syncthreads();
        pass.fetch(from, tile, first + TILE);
        use(first);
        __syncthreads();
    }
}

/* score_gradients: from tiles of queries and keys, mu p and
   ds = mu p dy . v - p dy . y; between two barriers, of which the second is its own. */
template <class T, int DEPTH>
static __device__ void score_gradients(const struct attention &a,
                                       const struct tile &tile,
                                       struct backward_tiles<T, DEPTH> &at,
                                       const float *logsum, int first, int key)
{
    const int stride = tile_stride<float>(TILE);
    int row = threadIdx.x / SHARE, query = first + row;
    /* Ask for the denominator of the lane's query */
    float log_total = INFINITY;
    if (query < tile.length)
        log_total = logsum[logsum_at(a, tile, query)];
    struct tile_sum<T, TILE, TILE> scores = product<T, DEPTH>(at.qg[0], at.kv[0]);
    struct tile_sum<T, TILE, TILE> dp = product<T, DEPTH>(at.qg[1], at.kv[1]);
    scores.write(at.p, stride);
    dp.write(at.ds, stride);
    __syncthreads();
    /* Turn scores into probabilities and their gradients */
    float p[EACH], kept[EACH], ds[EACH];
    read_scores(tile, key, at.p + row * stride, p);
    for (int i = 0; i < EACH; i++)
        kept[i] = p[i] = expf(p[i] - log_total);
    drop_share(a, tile, query, key, kept);
    read_share(at.ds + row * stride, ds);
    for (int i = 0; i < EACH; i++)
        ds[i] = kept[i] * ds[i] - p[i] * at.dots[row];
    __syncwarp(); /* all lanes of the row have read */
    write_share(kept, (T *)(at.p + row * stride));
    write_share(ds, (T *)(at.ds + row * stride));
    __syncthreads();
}

/* write_gradient: scale times the sums, into the rows of the block's tile. to: where
   the sequence's first row of queries, keys or values has its gradient. */
template <class T, int DEPTH>
static __device__ void write_gradient(const struct tile &tile,
                                      struct backward_tiles<T, DEPTH> &at,
                                      const struct tile_sum<T, TILE, DEPTH> &sums,
                                      float scale, T *to)
{
    write_tile<T, DEPTH>(sums, (float *)at.qg, scale, to, tile.stride, tile.first,
                         tile.length, tile.depth);
}

/* Find the gradient of a tile of queries */
template <class T, int DEPTH>
static __global__ void __launch_bounds__(TILE_THREADS, sizeof(T) == 2 ? 5 : 1)
query_gradient_kernel(struct attention a, bool whole, const T *qkv, const T *y,
                      const float *logsum, const T *dy, T *dqkv)
{
    /* Begin a block of the backward pass */
    const int stride = tile_stride<T>(DEPTH), p_stride = real_stride<T>(TILE);
    __shared__ struct backward_tiles<T, DEPTH> at;
    /* Take a tile, if the sequence is that long */
    struct tile tile = tile_here(a, whole);
    if (tile.first >= tile.length)
        return;
    const struct backward_inputs<T> from = {qkv, y, dy};
    struct tile_sum<T, TILE, DEPTH> dq;
    dq.clear();
    each_pair(from, tile, at, query_rows<T, DEPTH>(), key_rows<T, DEPTH>(), tile.keys,
              [&](int key) {
        score_gradients(a, tile, at, logsum, tile.first, key);
        dq.template add<TILE, false, false>((T *)at.ds, p_stride, at.kv[0], stride);
    });
    write_gradient(tile, at, dq, tile.scale, queries(tile, dqkv));
}

/* Find the gradient of a tile of keys */
template <class T, int DEPTH>
static __global__ void __launch_bounds__(TILE_THREADS)
key_gradient_kernel(struct attention a, bool whole, const T *qkv, const T *y,
                    const float *logsum, const T *dy, T *dqkv)
{
    /* Begin a block of the backward pass */
    const int stride = tile_stride<T>(DEPTH), p_stride = real_stride<T>(TILE);
    __shared__ struct backward_tiles<T, DEPTH> at;
    /* Take a tile, if the sequence is that long */
    struct tile tile = tile_here(a, whole);
    if (tile.first >= tile.length)
        return;
    const struct backward_inputs<T> from = {qkv, y, dy};
    struct tile_sum<T, TILE, DEPTH> dk, dv;
    dk.clear();
    dv.clear();
    if (tile.first < tile.keys)
        each_pair(from, tile, at, key_rows<T, DEPTH>(), query_rows<T, DEPTH>(),
                  tile.length, [&](int query) {
            score_gradients(a, tile, at, logsum, query, tile.first);
            dk.template add<TILE, true, false>((T *)at.ds, p_stride, at.qg[0], stride);
            dv.template add<TILE, true, false>((T *)at.p, p_stride, at.qg[1], stride);
        });
    T *to = queries(tile, dqkv) + tile.width;
    write_gradient(tile, at, dk, tile.scale, to);
    write_gradient(tile, at, dv, 1, to + tile.width);
}

/* Launch attention */
template <class T, int DEPTH>
static void attention_of_depth(const struct attention *a, const real *qkv, real *y,
                               float *logsum, const real *dy, real *dqkv)
{
    dim3 blocks(blocks_for(a->longest, TILE), a->heads, a->sequences);
    bool whole = a->width / a->heads * sizeof(T) % 16 == 0 && aligned(qkv) && aligned(y)
                 && aligned(dy);
    if (!dy) {
        LAUNCH((attention_kernel<T, DEPTH>), blocks, TILE_THREADS, *a, whole,
               (const T *)qkv, (T *)y, logsum);
        return;
    }
    LAUNCH((query_gradient_kernel<T, DEPTH>), blocks, TILE_THREADS, *a, whole,
           (const T *)qkv, (const T *)y, logsum, (const T *)dy, (T *)dqkv);
    LAUNCH((key_gradient_kernel<T, DEPTH>), blocks, TILE_THREADS, *a, whole,
           (const T *)qkv, (const T *)y, logsum, (const T *)dy, (T *)dqkv);
}

template <class T>
static void attend(const struct attention *a, const real *qkv, real *y, float *logsum,
                   const real *dy, real *dqkv)
{
    int depth = a->width / a->heads;
    if (a->sequences == 0)
        return;
    if (depth <= 16)
        attention_of_depth<T, 16>(a, qkv, y, logsum, dy, dqkv);
    else if (depth <= 32)
        attention_of_depth<T, 32>(a, qkv, y, logsum, dy, dqkv);
    else if (depth <= 64)
        attention_of_depth<T, 64>(a, qkv, y, logsum, dy, dqkv);
    else
        fail("cuda", "a head of depth %d is too deep; expected at most 64", depth);
}

template <class T>
static void attention_cuda(const struct attention *a, const real *qkv, real *y,
                           float *logsum)
{
    attend<T>(a, qkv, y, logsum, NULL, NULL);
}

template <class T>
static void attention_gradient_cuda(const struct attention *a, const real *qkv,
                                    const real *y, const float *logsum, const real *dy,
                                    real *dqkv)
{
    attend<T>(a, qkv, (real *)y, (float *)logsum, dy, dqkv);
}

/* Choose rows on the GPU */
/* y[to[i] or i, :] = x[from[i] or i, :], or += it. */
template <class T>
static __global__ void move_rows_kernel(const T *x, const int *from, const int *to,
                                        T *y, int rows, int width)
{
    /* Take a row, if there is one for the warp */
    int row = blockIdx.x * ROWS + threadIdx.y;
    if (row >= rows)
        return;
    const T *source = x + (size_t)(from ? from[row] : row) * width;
    T *target = y + (size_t)(to ? to[row] : row) * width;
    for (int k = 4 * threadIdx.x; k < width; k += 4 * WARP) {
        float v[4], sum[4];
        read4(source, k, width, v);
        if (to) {
            read4(target, k, width, sum);
            for (int j = 0; j < 4; j++)
                v[j] += sum[j];
        }
        write4(target, k, width, v);
    }
}

template <class T>
static void gather_cuda(const real *x, const int *index, real *y, int rows, int width)
{
    LAUNCH((move_rows_kernel<T>), blocks_for(rows, ROWS), dim3(WARP, ROWS),
           (const T *)x, index, (const int *)NULL, (T *)y, rows, width);
}

template <class T>
static void scatter_cuda(const real *dy, const int *index, real *dx, int rows,
                         int width)
{
    LAUNCH((move_rows_kernel<T>), blocks_for(rows, ROWS), dim3(WARP, ROWS),
           (const T *)dy, (const int *)NULL, index, (T *)dx, rows, width);
}

/* Compute the softmax loss on the GPU */
/* Find a row's denominators */
enum { LOSS_THREADS = 256, KEPT = 15, HELD = 5, SHELF = 2000 };
enum { SHELVED = (SHELF + LOSS_THREADS - 1) / LOSS_THREADS }; /* groups of a thread */
static_assert(GPU_KEPT_LOGITS == 8 * LOSS_THREADS * KEPT
              && GPU_SHELVED_LOGITS == 8 * (LOSS_THREADS * HELD + SHELF), "as counted");
static const float LOG2_E = 1.44269504f, NO_LOGIT = -1e30f, LEAST_LOGIT = -65504;

/* The largest logit; the sums of exp(z - largest) and of exp((z - largest) / tau), or,
   when all threads have put theirs together, the sums' logarithms to base two. */
struct denominators {
    float largest, sum, soft_sum;
};

/* logit: of class c. */
template <class T>
static __device__ __forceinline__ float logit(T z, int c, int classes)
{
    float v = widen(z);
    v = sizeof(T) == 2 && v == -INFINITY ? LEAST_LOGIT : v;
    return c < classes ? v : NO_LOGIT;
}

static __device__ float block_max(float x)
{
    __shared__ float part[WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    return warp_max(lane < warps ? part[lane] : -INFINITY);
}

/* c: the first class of the group. tempered: log2(e) / tau */
template <class T, int N>
static __device__ __forceinline__ void add_logits(const neighbours<T, N> &z, int c,
                                                  int classes, float tempered,
                                                  bool hard, bool soft,
                                                  struct denominators *d)
{
    float before = d->largest, v[N];
    for (int j = 0; j < N; j++) {
        v[j] = logit(z.x[j], c + j, classes);
        d->largest = fmaxf(d->largest, v[j]);
    }
    if (hard) {
        d->sum *= exp2f((before - d->largest) * LOG2_E);
        for (int j = 0; j < N; j++)
            d->sum += exp2f((v[j] - d->largest) * LOG2_E);
    }
    if (soft) {
        d->soft_sum *= exp2f((before - d->largest) * tempered);
        for (int j = 0; j < N; j++)
            d->soft_sum += exp2f((v[j] - d->largest) * tempered);
    }
}

static __device__ struct denominators add_threads(struct denominators d, float tempered)
{
    float most = block_max(d.largest);
    bool any = d.largest > -INFINITY; /* this thread has seen a logit */
    float sum = any ? d.sum * exp2f((d.largest - most) * LOG2_E) : 0.0f;
    float soft_sum = any ? d.soft_sum * exp2f((d.largest - most) * tempered) : 0.0f;
    return {most, log2f(block_sum(sum)), log2f(block_sum(soft_sum))};
}

template <class T, int N>
static __global__ void __launch_bounds__(LOSS_THREADS, 2)
softmax_loss_kernel(struct softmax_loss loss, T *student, const T *teacher,
                    const int *labels, const float *soft_weight,
                    const float *loss_scale, float *label_loss, float *soft_loss,
                    float *hit)
{
    __shared__ neighbours<T, N> shelf[SHELF];
    /* See what the row is compared with */
    int row = blockIdx.x, label = labels ? labels[row] : -1;
    bool hard = label >= 0, soft = teacher && (!soft_weight || soft_weight[row] > 0);
    T *z = student + (size_t)row * loss.stride;
    const T *t = teacher + (soft ? (size_t)row * loss.stride : 0);
    float right = hard ? widen(z[label]) : 0.0f;
    float tempered = LOG2_E / loss.temperature, divergence = 0, beaten = 0;
    struct denominators dz = {-INFINITY, 0, 0}, dt = dz;
    /* Keep what a thread can of the student's row */
    neighbours<T, N> kept[KEPT], held[HELD];
    for (int g = 0; g < KEPT; g++) {
        int c = N * (g * LOSS_THREADS + threadIdx.x);
        if (c < loss.stride)
            kept[g] = *(const neighbours<T, N> *)(z + c);
    }
    auto each_group = [&](auto use) {
        _Pragma("unroll")
        for (int g = 0; g < KEPT; g++) {
            int c = N * (g * LOSS_THREADS + threadIdx.x);
            if (c < loss.stride)
                use(g, c, kept[g]);
        }
        for (int c = N * (KEPT * LOSS_THREADS + threadIdx.x); c < loss.stride;
             c += N * LOSS_THREADS)
            use(KEPT, c, *(const neighbours<T, N> *)(z + c));
    };
    each_group([&](int g, int c, const neighbours<T, N> &group) {
        /* Add a group of logits to the denominators */
        add_logits(group, c, loss.classes, tempered, hard, soft, &dz);
        if (soft) {
            neighbours<T, N> taught = *(const neighbours<T, N> *)(t + c);
            if (c / N < SHELF)
                shelf[c / N] = taught;
            else if (SHELVED <= g && g < SHELVED + HELD)
                held[g - SHELVED] = taught;
            add_logits(taught, c, loss.classes, tempered, false, true, &dt);
        }
    });
    /* Put the denominators together */
    dz = add_threads(dz, tempered);
    if (soft)
        dt = add_threads(dt, tempered);
    float label_scale = loss.label_scale * *loss_scale;
    float soft_scale = loss.soft_scale * *loss_scale / loss.temperature;
    each_group([&](int g, int c, const neighbours<T, N> &group) {
        /* Overwrite a group of logits with their gradient */
        neighbours<T, N> out, taught = {};
        bool holds = SHELVED <= g && g < SHELVED + HELD;
        if (soft)
            taught = c / N < SHELF ? shelf[c / N]
                     : holds       ? held[g - SHELVED]
                                   : *(const neighbours<T, N> *)(t + c);
        for (int j = 0; j < N; j++) {
            float v = logit(group.x[j], c + j, loss.classes), pull = 0;
            /* Add what the label pulls at */
            if (hard) {
                pull = label_scale * (exp2f((v - dz.largest) * LOG2_E - dz.sum)
                                      - (c + j == label ? 1.0f : 0.0f));
                beaten += c + j < label ? v >= right : c + j > label && v > right;
            }
            /* Add what the soft targets pull at */
            if (soft) {
                float u = logit(taught.x[j], c + j, loss.classes);
                float log_p = (v - dz.largest) * tempered - dz.soft_sum;
                float log_q = (u - dt.largest) * tempered - dt.soft_sum;
                float p = exp2f(log_p), q = exp2f(log_q);
                divergence += q * (log_q - log_p);
                pull += soft_scale * (p - q);
            }
            narrow(pull, &out.x[j]);
        }
        *(neighbours<T, N> *)(z + c) = out;
    });
    divergence = block_sum(divergence);
    beaten = block_sum(beaten);
    /* Leave the row's losses */
    if (threadIdx.x == 0) {
        right = right == -INFINITY ? LEAST_LOGIT : right;
        label_loss[row] = hard ? dz.sum / LOG2_E + (dz.largest - right) : 0.0f;
        soft_loss[row] = divergence / LOG2_E;
        hit[row] = hard && beaten == 0;
    }
}

template <class T>
static void softmax_loss_cuda(const struct softmax_loss *loss, real *student,
                              const real *teacher, const int *labels,
                              const float *soft_weight, const float *loss_scale,
                              float *label_loss, float *soft_loss, float *hit)
{
    const int N = 16 / sizeof(T);
    bool wide = whole<N>(loss->stride, (T *)student, (const T *)teacher);
    if (loss->rows > 0)
        LAUNCH((wide ? softmax_loss_kernel<T, N> : softmax_loss_kernel<T, 1>),
               loss->rows, LOSS_THREADS, *loss, (T *)student, (const T *)teacher,
               labels, soft_weight, loss_scale, label_loss, soft_loss, hit);
}

/* Compute the cosine loss on the GPU */
template <class T>
static __global__ void cosine_loss_kernel(const T *student, const T *teacher,
                                          const float *weight, T *gradient, int rows,
                                          int width, float scale,
                                          const float *loss_scale, float *row_loss)
{
    /* Take a row, if there is one for the warp */
    int row = blockIdx.x * ROWS + threadIdx.y;
    if (row >= rows)
        return;
    size_t first = (size_t)row * width;
    float w = weight ? weight[row] : 1.0f, s[4], t[4], g[4], ss = 0, tt = 0, st = 0;
    /* Add up the three products of a row */
    for (int k = 4 * threadIdx.x; k < width; k += 4 * WARP) {
        read4(student + first, k, width, s);
        read4(teacher + first, k, width, t);
        for (int j = 0; j < 4; j++) {
            ss += s[j] * s[j];
            tt += t[j] * t[j];
            st += s[j] * t[j];
        }
    }
    /* Find the lengths and the cosine */
    ss = warp_sum(ss);
    tt = warp_sum(tt);
    float inverse_s = ss > 0 ? 1 / sqrtf(ss) : 0,
          inverse_t = tt > 0 ? 1 / sqrtf(tt) : 0;
    float c = warp_sum(st) * inverse_s * inverse_t;
    float factor = -scale * *loss_scale * w * inverse_s;
    /* Add the gradient of the cosine */
    for (int k = 4 * threadIdx.x; k < width; k += 4 * WARP) {
        read4(student + first, k, width, s);
        read4(teacher + first, k, width, t);
        read4(gradient + first, k, width, g);
        for (int j = 0; j < 4; j++)
            g[j] += factor * (t[j] * inverse_t - c * s[j] * inverse_s);
        write4(gradient + first, k, width, g);
    }
    if (threadIdx.x == 0)
        row_loss[row] = w * (1 - c);
}

template <class T>
static void cosine_loss_cuda(const real *student, const real *teacher,
                             const float *weight, real *gradient, int rows, int width,
                             float scale, const float *loss_scale, float *row_loss)
{
    LAUNCH((cosine_loss_kernel<T>), blocks_for(rows, ROWS), dim3(WARP, ROWS),
           (const T *)student, (const T *)teacher, weight, (T *)gradient, rows, width,
           scale, loss_scale, row_loss);
}

/* Compute the squared loss on the GPU */
template <class T>
static __global__ void squared_loss_kernel(T *x, const float *target, int n,
                                           float scale, const float *loss_scale,
                                           float *row_loss)
{
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    float off = widen(x[i]) - target[i];
    row_loss[i] = off * off;
    narrow(2 * scale * *loss_scale * off, &x[i]);
}

template <class T>
static void squared_loss_cuda(real *x, const float *target, int n, float scale,
                              const float *loss_scale, float *row_loss)
{
    LAUNCH((squared_loss_kernel<T>), blocks_for(n, THREADS), THREADS, (T *)x, target, n,
           scale, loss_scale, row_loss);
}

/* Sum losses on the GPU */
/* add_up: *total += the sum of x, by one block. */
static __device__ void add_up(const float *x, int n, float *total)
{
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += THREADS)
        sum += x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *total += sum;
}

static __global__ void sum_kernel(const float *x, int n, float *total)
{
    add_up(x, n, total);
}

static void sum_cuda(const float *x, int n, float *total)
{
    LAUNCH(sum_kernel, 1, THREADS, x, n, total);
}

/* Compute the relation loss on the GPU */
/* One head's queries, keys or values of one sequence in one model: [tokens, depth]. */
template <class T> struct head_rows {
    const T *x;
    int stride, depth; /* stride: elements from one row to the next */
    float scale;       /* log2(e) / sqrt(depth) */

    /* Score two rows of a head */
    __device__ float score(int i, int j) const
    {
        const T *left = x + (size_t)i * stride, *right = x + (size_t)j * stride;
        float sum = 0, v[4], w[4];
        for (int k = 0; k < depth; k += 4) {
            read4(left, k, depth, v);
            read4(right, k, depth, w);
            for (int c = 0; c < 4; c++)
                sum += v[c] * w[c];
        }
        return sum * scale;
    }
};

/* A model's array [tokens, 3 width], cut into heads. */
template <class T> struct related_model {
    const T *qkv;
    int width, depth;
    float scale; /* of its scores */
    float *logs; /* [slots, heads] log2 of the rows' denominators */

    /* rows: of a sequence that begins with this token. kind: 0, 1, 2 for q, k, v. */
    __device__ head_rows<T> rows(int token, int kind, int head) const
    {
        return {qkv + (size_t)token * 3 * width + kind * width + head * depth,
                3 * width, depth, scale};
    }
};

/* heads: of this launch, from the first on. There is a slot for each sequence, row and
   kind, whether or not the sequence is that long. */
template <class T> struct relation_launch {
    struct attention relation;
    related_model<T> student, teacher;
    int first, heads;
    float *divergence; /* [slots] */

    __device__ size_t slot(int sequence, int row, int kind) const
    {
        return ((size_t)sequence * relation.longest + row) * 3 + kind;
    }
};

/* Of the scores of one row: the largest, the sum of 2^(score - largest), and the same
   sum with each term times `apart`. */
struct relation_sums {
    float largest, sum, weighted;

    /* Add a score to a row's sums */
    __device__ void add(float score, float apart)
    {
        float before = largest;
        largest = fmaxf(largest, score);
        float old = exp2f(before - largest), part = exp2f(score - largest);
        sum = sum * old + part;
        weighted = weighted * old + part * apart;
    }

    /* Put the sums of a warp's lanes together */
    /* add_lanes: puts the sums of a warp's lanes together; any: this one has some. */
    __device__ void add_lanes(bool any)
    {
        float most = warp_max(largest), old = any ? exp2f(largest - most) : 0.0f;
        sum = warp_sum(any ? sum * old : 0.0f);
        weighted = warp_sum(any ? weighted * old : 0.0f);
        largest = most;
    }
};

template <class T>
static __global__ void relation_sums_kernel(struct relation_launch<T> r)
{
    int row = blockIdx.x * ROWS + threadIdx.y, kind = blockIdx.y, lane = threadIdx.x;
    int sequence = blockIdx.z, keys = r.relation.visible[sequence];
    int token = r.relation.offsets[sequence];
    float divergence = 0;
    if (row >= r.relation.longest)
        return;
    size_t slot = r.slot(sequence, row, kind);
    for (int head = 0; head < r.heads && row < keys; head++) {
        /* Sum up a row's scores in one head */
        head_rows<T> s = r.student.rows(token, kind, r.first + head);
        head_rows<T> t = r.teacher.rows(token, kind, r.first + head);
        struct relation_sums p = {-INFINITY, 0, 0}, q = p;
        for (int j = lane; j < keys; j += WARP) {
            float mine = s.score(row, j), other = t.score(row, j);
            p.add(mine, 0);
            q.add(other, other - mine);
        }
        /* Leave the logarithms of a row */
        p.add_lanes(lane < keys);
        q.add_lanes(lane < keys);
        float log_p = p.largest + log2f(p.sum), log_q = q.largest + log2f(q.sum);
        divergence += q.weighted / q.sum - (log_q - log_p);
        if (lane == 0) {
            r.student.logs[slot * r.heads + head] = log_p;
            r.teacher.logs[slot * r.heads + head] = log_q;
        }
    }
    if (lane == 0)
        r.divergence[slot] = divergence / LOG2_E / r.relation.heads;
}

template <class T>
static __global__ void relation_gradient_kernel(struct relation_launch<T> r, T *dqkv,
                                                float scale, const float *loss_scale)
{
    /* Find the warp's row, kind, head and columns */
    int row = blockIdx.x * ROWS + threadIdx.y, lane = threadIdx.x;
    int sequence = blockIdx.z, keys = r.relation.visible[sequence];
    int token = r.relation.offsets[sequence], kind = blockIdx.y % 3;
    int head = blockIdx.y / 3 % r.heads;
    int column = blockIdx.y / 3 / r.heads * WARP + lane;
    if (row >= keys)
        return;
    head_rows<T> s = r.student.rows(token, kind, r.first + head);
    head_rows<T> t = r.teacher.rows(token, kind, r.first + head);
    size_t mine = r.slot(sequence, row, kind) * r.heads + head;
    float log_p = r.student.logs[mine], log_q = r.teacher.logs[mine], sum = 0;
    for (int first = 0; first < keys; first += WARP) {
        /* Make a number for each of 32 partners */
        float g = 0;
        if (first + lane < keys) {
            size_t theirs = r.slot(sequence, first + lane, kind) * r.heads + head;
            float own = s.score(row, first + lane), taught = t.score(row, first + lane);
            float p = exp2f(own - log_p) + exp2f(own - r.student.logs[theirs]);
            float q = exp2f(taught - log_q) + exp2f(taught - r.teacher.logs[theirs]);
            g = p - q;
        }
        /* Add the partners' rows, each by its number */
        for (int j = first; j < keys && j < first + WARP; j++) {
            float other = __shfl_sync(ALL, g, j - first);
            if (column < s.depth)
                sum += other * widen(s.x[(size_t)j * s.stride + column]);
        }
    }
    /* Add to the gradient of the row */
    if (column < s.depth) {
        T *to = dqkv + (s.x - r.student.qkv) + (size_t)row * s.stride + column;
        narrow(widen(*to) + scale * *loss_scale * sum, to);
    }
}

template <class T>
static struct related_model<T> related_model_of(const real *qkv, int width, int heads,
                                                float *logs)
{
    int depth = width / heads;
    return {(const T *)qkv, width, depth, LOG2_E / sqrtf((float)depth), logs};
}

template <class T>
static void relation_loss_cuda(const struct attention *relation, const real *qkv,
                               const real *teacher, int teacher_width, real *dqkv,
                               float scale, const float *loss_scale, float *total)
{
    size_t slots = 3 * (size_t)relation->sequences * relation->longest;
    int heads = relation->heads, depth = relation->width / heads;
    if (slots == 0)
        return;
    if (slots > SCRATCH_FLOATS / 3)
        fail("cuda", "%d sequences of %d tokens are too many for this table",
             relation->sequences, relation->longest);
    size_t room = (SCRATCH_FLOATS / slots - 1) / 2;
    int at_once = room < GPU_RELATIONS ? (int)room : GPU_RELATIONS;
    float factor = scale / (heads * sqrtf((float)depth));
    for (int first = 0; first < heads; first += at_once) {
        /* Launch the relations of some heads */
        int count = heads - first < at_once ? heads - first : at_once;
        float *logs = scratch + slots, *other_logs = logs + slots * count;
        struct relation_launch<T> r = {
            *relation, related_model_of<T>(qkv, relation->width, heads, logs),
            related_model_of<T>(teacher, teacher_width, heads, other_logs), first, count,
            scratch};
        int rows = blocks_for(relation->longest, ROWS), columns = blocks_for(depth, WARP);
        LAUNCH((relation_sums_kernel<T>), dim3(rows, 3, relation->sequences),
               dim3(WARP, ROWS), r);
        LAUNCH((relation_gradient_kernel<T>),
               dim3(rows, 3 * count * columns, relation->sequences), dim3(WARP, ROWS), r,
               (T *)dqkv, factor, loss_scale);
        sum_cuda(scratch, (int)slots, total);
    }
}

/* Step the optimiser on the GPU */
enum { NORM_BLOCKS = 512 }; /* at most */

template <class G>
static __global__ void squares_kernel(const G *gradient, size_t n, float *part,
                                      unsigned *finished, float *total)
{
    float sum = 0;
    for (size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4; at < n;
         at += (size_t)gridDim.x * THREADS * 4) {
        float v[4];
        read4(gradient, at, n, v);
        for (int j = 0; j < 4; j++)
            sum += v[j] * v[j];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
    if (is_last(finished, gridDim.x))
        add_up(part, gridDim.x, total);
}

template <class T>
static void square_norm_cuda(const void *gradient, bool reals, size_t n, float *state)
{
    int blocks = blocks_for(n, 4 * THREADS);
    if (blocks > NORM_BLOCKS)
        blocks = NORM_BLOCKS;
    if (reals)
        LAUNCH((squares_kernel<T>), blocks, THREADS, (const T *)gradient, n, scratch,
               finished, state + NORM2);
    else
        LAUNCH((squares_kernel<float>), blocks, THREADS, (const float *)gradient, n,
               scratch, finished, state + NORM2);
}

static const float LARGEST_SCALE = 8192; /* and the first */
enum { PATIENCE = 1000 }; /* good steps before a larger scale is tried */

static __global__ void decide_kernel(float *state, float clip, bool moving)
{
    float norm = sqrtf(state[NORM2]) / state[LOSS_SCALE], limit = clip / (norm + 1e-6f);
    bool good = isfinite(norm);
    float factor = clip > 0 && limit < 1 ? limit : 1.0f;
    state[NORM2] = 0;
    state[NORM] = norm;
    state[FACTOR] = good ? factor / state[LOSS_SCALE] : 0.0f;
    state[SKIPPED] += !good;
    if (!moving)
        return;
    /* Move the scale for the next step */
    state[GOOD_STEPS] = good ? state[GOOD_STEPS] + 1 : 0.0f;
    if (!good)
        state[LOSS_SCALE] = fmaxf(state[LOSS_SCALE] / 2, 1.0f);
    if (state[GOOD_STEPS] == PATIENCE) {
        state[LOSS_SCALE] = fminf(state[LOSS_SCALE] * 2, LARGEST_SCALE);
        state[GOOD_STEPS] = 0;
    }
}

template <class T> static void decide_cuda(float *state, float clip)
{
    LAUNCH(decide_kernel, 1, 1, state, clip, sizeof(T) == 2);
}

template <class T, class G>
static __global__ void adamw_kernel(struct adamw a, const float *state,
                                    master_of<T> *master, const G *gradient, float *m,
                                    float *v, T *weights, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float factor = state[FACTOR], w[4], g[4], mean[4], square[4];
    if (at >= n || factor == 0)
        return;
    join4(master, weights, at, n, w);
    read4(gradient, at, n, g);
    read4(m, at, n, mean);
    read4(v, at, n, square);
    /* Correct for the steps that were left out */
    float shrink = 1 - a.rate * a.decay, t = a.t - state[SKIPPED];
    bool all = state[SKIPPED] == 0; /* steps were taken */
    float correction1 = all ? a.correction1 : 1 - powf(a.beta1, t);
    float correction2 = all ? a.correction2 : 1 - powf(a.beta2, t);
    float step = a.rate / correction1, root = 1 / sqrtf(correction2);
    /* Step four parameters */
    for (int j = 0; j < 4; j++) {
        float x = factor * g[j];
        mean[j] = a.beta1 * mean[j] + (1 - a.beta1) * x;
        square[j] = a.beta2 * square[j] + (1 - a.beta2) * x * x;
        w[j] = shrink * w[j] - step * mean[j] / (sqrtf(square[j]) * root + a.epsilon);
    }
    /* Write the parameters and their moments */
    split4(master, weights, at, n, w);
    write4(m, at, n, mean);
    write4(v, at, n, square);
}

template <class T>
static void adamw_cuda(const struct adamw *adamw, const float *state, void *master,
                       const void *gradient, bool reals, float *m, float *v,
                       real *weights, size_t n)
{
    int blocks = blocks_for(n, 4 * THREADS);
    if (reals)
        LAUNCH((adamw_kernel<T, T>), blocks, THREADS, *adamw, state,
               (master_of<T> *)master, (const T *)gradient, m, v, (T *)weights, n);
    else
        LAUNCH((adamw_kernel<T, float>), blocks, THREADS, *adamw, state,
               (master_of<T> *)master, (const float *)gradient, m, v, (T *)weights, n);
}

/* Sum over the ranks on the GPU */
static ncclComm_t comm; /* NULL: this process is alone */

/* x[n], this rank's own, = the sum of the slices[count, n] of the ranks, of which x
   itself stands for this rank's. */
static __global__ void add_slices_kernel(const float *slices, int count, int rank,
                                         float *x, size_t n)
{
    size_t at = ((size_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    float sum[4], v[4];
    if (at >= n)
        return;
    read4(rank == 0 ? x : slices, at, n, sum);
    for (int other = 1; other < count; other++) {
        read4(rank == other ? x : slices + other * n, at, n, v);
        for (int j = 0; j < 4; j++)
            sum[j] += v[j];
    }
    write4(x, at, n, sum);
}

/* One message to a rank and one from another; what is empty is not sent. */
static void swap_cuda(int to, const float *out, size_t sent, int from, float *in,
                      size_t got)
{
    if (sent > 0)
        check(nccl.Send(out, sent, ncclFloat, to, comm, stream));
    if (got > 0)
        check(nccl.Recv(in, got, ncclFloat, from, comm, stream));
}

static void sum_block_cuda(float *x, size_t n)
{
    int rank = ranks_rank(), count = ranks_count();
    size_t begin = ranks_slice(n, rank), own = ranks_slice(n, rank + 1) - begin;
    /* Get this rank's slice from all others */
    check(nccl.GroupStart());
    for (int k = 1; k < count; k++) {
        int to = (rank + k) % count, from = (rank + count - k) % count;
        size_t at = ranks_slice(n, to), length = ranks_slice(n, to + 1) - at;
        swap_cuda(to, x + at, length, from, scratch + from * own, own);
    }
    check(nccl.GroupEnd());
    LAUNCH(add_slices_kernel, blocks_for(own, 4 * THREADS), THREADS, scratch, count,
           rank, x + begin, own);
    /* Give the slice's sum to all others */
    check(nccl.GroupStart());
    for (int k = 1; k < count; k++) {
        int to = (rank + k) % count, from = (rank + count - k) % count;
        size_t at = ranks_slice(n, from), length = ranks_slice(n, from + 1) - at;
        swap_cuda(to, x + begin, own, from, x + at, length);
    }
    check(nccl.GroupEnd());
}

static void all_sum_cuda(float *gradient, size_t n)
{
    const size_t block = RANKS_BLOCK;
    for (size_t at = 0; comm && at < n; at += block)
        sum_block_cuda(gradient + at, n - at < block ? n - at : block);
}

/* choose_device: the number of this process's GPU, of so many on this machine. */
static int choose_device(int count)
{
    const struct wire *wire = ranks_wire();
    if (wire && wire->places > count)
        fail("cuda", "expected a GPU for each of %d ranks on this machine, found %d",
             wire->places, count);
    return wire ? wire->place : 0;
}

static void meet_ranks(void)
{
    ncclUniqueId id = {};
    if (!ranks_wire())
        return;
    look_up_nccl();
    if (ranks_rank() == 0)
        check(nccl.GetUniqueId(&id));
    ranks_share(&id, sizeof id);
    check(nccl.CommInitRank(&comm, ranks_count(), id, ranks_rank()));
}

/* Open the GPU's tables */
/* open_lane: urgency: of its kernels, the lower the earlier. */
static struct lane open_lane(int urgency)
{
    struct lane lane;
    check(cudaStreamCreateWithPriority(&lane.stream, cudaStreamNonBlocking, urgency));
    check(cudaEventCreateWithFlags(&lane.reached, cudaEventDisableTiming));
    check(cudaMalloc((void **)&lane.scratch, SCRATCH_FLOATS * sizeof(float)));
    check(cudaMalloc((void **)&lane.finished, FINISHED_BYTES));
    check(cudaMemsetAsync(lane.finished, 0, FINISHED_BYTES, lane.stream));
    check(cudaMalloc(&lane.workspace, WORKSPACE_BYTES));
    return lane;
}

static cudaDeviceProp device; /* this process's GPU */

static void open_device(void)
{
    if (stream)
        return;
    int count, least, most;
    /* Choose this process's GPU */
    check(cudaGetDeviceCount(&count));
    if (count == 0)
        check(cudaErrorNoDevice);
    if (const char *why = look_up())
        fail("cuda", "%s", why);
    int own = choose_device(count);
    check(cudaSetDevice(own));
    check(cudaGetDeviceProperties(&device, own));
    check(cudaDeviceGetStreamPriorityRange(&least, &most));
    /* Open one lane, or two */
    lanes[0] = open_lane(least);
    if (device.multiProcessorCount > MANY_PROCESSORS)
        lanes[1] = open_lane(most);
    enter(&lanes[0]);
    check(lt.Create(&blas));
    /* Pin the ring of uploads */
    check(cudaMallocHost((void **)&ring.memory, SLOTS * SLOT_BYTES));
    for (size_t i = 0; i < SLOTS; i++)
        check(cudaEventCreateWithFlags(&ring.left[i], cudaEventDisableTiming));
    meet_ranks();
}

template <class T> static const struct kernels *open_table(void)
{
    static struct kernels k;
    static char name[320];
    open_device();
    snprintf(name, sizeof name, "%s, %s", device.name,
             sizeof(T) == 2 ? "fp16" : "fp32");
    k.name = name;
    k.real_size = sizeof(T);
    k.master_size = sizeof(master_of<T>);
    k.processors = device.multiProcessorCount;
    k.lanes = lanes[1].stream ? 2 : 1;
    k.logit_rows = GPU_LOGIT_ROWS;
    k.onto = true;
    k.loss_scale = sizeof(T) == 2 ? LARGEST_SCALE : 1;
    /* Fill in the operations */
    k.reserve = reserve_cuda;
    k.allocate = allocate_cuda;
    k.release = release_cuda;
    k.upload = upload_cuda;
    k.download = download_cuda;
    k.wait = wait_cuda;
    k.zero = zero_cuda;
    k.copy = copy_cuda;
    k.aside = aside_cuda;
    k.back = back_cuda;
    k.meet = meet_cuda;
    k.to_real = to_real_cuda<T>;
    k.to_float = to_float_cuda<T>;
    k.split = split_cuda<T>;
    k.join = join_cuda<T>;
    k.linear = linear_cuda<T>;
    k.linear_onto = linear_onto_cuda<T>;
    k.linear_input_gradient = linear_input_gradient_cuda<T>;
    k.linear_weight_gradient = linear_weight_gradient_cuda<T>;
    k.embed = embed_cuda<T>;
    k.embed_gradient = embed_gradient_cuda<T>;
    k.norm = norm_cuda<T>;
    k.norm_gradient = norm_gradient_cuda<T>;
    k.dropout = dropout_cuda<T>;
    k.activate = activate_cuda<T>;
    k.activate_gradient = activate_gradient_cuda<T>;
    k.add = add_cuda<T>;
    k.attention = attention_cuda<T>;
    k.attention_gradient = attention_gradient_cuda<T>;
    k.gather = gather_cuda<T>;
    k.scatter = scatter_cuda<T>;
    k.softmax_loss = softmax_loss_cuda<T>;
    k.cosine_loss = cosine_loss_cuda<T>;
    k.relation_loss = relation_loss_cuda<T>;
    k.squared_loss = squared_loss_cuda<T>;
    k.sum = sum_cuda;
    k.all_sum = all_sum_cuda;
    k.square_norm = square_norm_cuda<T>;
    k.decide = decide_cuda<T>;
    k.adamw = adamw_cuda<T>;
    return &k;
}

extern "C" const struct kernels *kernels_cuda(bool fp16)
{
    return fp16 ? open_table<__half>() : open_table<float>();
}

extern "C" bool kernels_cuda_found(void)
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    bool unusable = error != cudaSuccess && error != cudaErrorNoDevice;
    FILE *gpu = unusable ? fopen("/dev/nvidiactl", "r") : NULL;
    if (gpu)
        fclose(gpu);
    const char *why = look_up();
    if (why)
        fprintf(stderr, "distil: cuda: %s; the CPU computes instead\n", why);
    return !why && (gpu || (error == cudaSuccess && count > 0));
}
