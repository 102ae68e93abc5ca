/* The part of CUDA's interface for the host that the kernels' file uses, over harness.h.
   Names and numbers are CUDA's. */
#ifndef CUDA_RUNTIME_H
#define CUDA_RUNTIME_H

#include "harness.h"

#include <cstdlib>

enum cudaError_t {
    cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35, cudaErrorInvalidDeviceFunction = 98, cudaErrorNoDevice = 100,
    cudaErrorNoKernelImageForDevice = 209, cudaErrorJitCompilerNotFound = 221, cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3
};
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };

typedef harness::stream *cudaStream_t;

inline int __float_as_int(float x)
{
    int bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float __int_as_float(int bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem;
};

namespace harness {

/* How far a stream had come; none before it is recorded. */
struct event {
    stream *of;
    uint64_t at;
};

inline cudaError_t next_error; /* what the next call that can fail shall answer */
inline std::map<char *, size_t> pinned;

inline cudaError_t answer()
{
    cudaError_t error = next_error;
    next_error = cudaSuccess;
    return error;
}

inline bool is_pinned(const void *p, size_t bytes)
{
    for (auto [from, length] : pinned)
        if ((char *)p >= from && (char *)p + bytes <= from + length)
            return true;
    return false;
}

inline bool on_device(const void *p, size_t bytes)
{
    return bytes == 0 || room(p) >= (ptrdiff_t)bytes;
}

} // namespace harness

typedef harness::event *cudaEvent_t;

inline const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorLaunchFailure ? "cudaErrorLaunchFailure" : "cudaError";
}

inline const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorLaunchFailure ? "unspecified launch failure" : "error";
}

inline cudaError_t cudaGetLastError()
{
    bool refused = harness::refused;
    harness::refused = false;
    return refused ? cudaErrorMemoryAllocation : cudaSuccess;
}

inline cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return harness::answer();
}

inline cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int)
{
    *properties = {"CPU harness", 7, 5, 132, harness::memory_bytes};
    return cudaSuccess;
}

inline cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 11040;
    return cudaSuccess;
}

inline cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 11080;
    return cudaSuccess;
}

/* ---- Memory ---- */

inline cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = *total = harness::memory_bytes;
    for (auto [array, bytes] : harness::arrays)
        *free_bytes -= bytes;
    return cudaSuccess;
}

inline cudaError_t cudaMalloc(void **array, size_t bytes)
{
    *array = harness::take(bytes);
    harness::refused = harness::refused || !*array;
    return *array ? cudaSuccess : cudaErrorMemoryAllocation;
}

inline cudaError_t cudaFree(void *array)
{
    harness::wait_for_all();
    return !array || harness::arrays.erase((char *)array) ? cudaSuccess
                                                          : cudaErrorInvalidValue;
}

inline cudaError_t cudaMallocHost(void **array, size_t bytes)
{
    *array = malloc(bytes);
    harness::pinned[(char *)*array] = bytes;
    return cudaSuccess;
}

inline cudaError_t cudaMemsetAsync(void *array, int value, size_t bytes, cudaStream_t stream)
{
    if (!harness::on_device(array, bytes))
        return cudaErrorInvalidValue;
    harness::enqueue(stream, [=] { memset(array, value, bytes); });
    return cudaSuccess;
}

/* From or to memory of the host that is not pinned, the copy is made at once. */
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                                   enum cudaMemcpyKind kind, cudaStream_t stream)
{
    const void *host = kind == cudaMemcpyHostToDevice ? from
                       : kind == cudaMemcpyDeviceToHost ? to : NULL;
    if (kind != cudaMemcpyHostToDevice && !harness::on_device(from, bytes))
        return cudaErrorInvalidValue;
    if (kind != cudaMemcpyDeviceToHost && !harness::on_device(to, bytes))
        return cudaErrorInvalidValue;
    if (host && harness::room(host) >= 0)
        return cudaErrorInvalidValue;
    if (harness::dry && kind == cudaMemcpyDeviceToHost)
        memset(to, 0, bytes);
    harness::enqueue(stream, [=] { memcpy(to, from, bytes); });
    if (host && !harness::is_pinned(host, bytes))
        harness::wait_for(harness::which(stream), harness::which(stream)->queued);
    return cudaSuccess;
}

/* ---- Streams and events ---- */

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    harness::streams.push_back(*stream = new harness::stream);
    return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}

inline cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    harness::wait_for(harness::which(stream), harness::which(stream)->queued);
    return harness::answer();
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new harness::event();
    return cudaSuccess;
}

inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    *event = {harness::which(stream), harness::which(stream)->queued};
    return cudaSuccess;
}

inline cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->of)
        harness::wait_for(event->of, event->at);
    return cudaSuccess;
}

/* The stream waits for what the event is now, whatever is recorded later. */
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    harness::event now = *event;
    if (now.of)
        harness::enqueue(stream, [=] { harness::work_until(now.of, now.at); });
    return cudaSuccess;
}

#endif
