/* NCCL, as far as it is used: messages between GPUs, here between the ranks of ranks.h, by the wire that joins them.
   Strict: a message outside of a group, to oneself, of another type or from memory that is not the device's is refused.
   Names and numbers are NCCL's. "missing" in the environment's NCCL_HOSTILE: it cannot be found. */
#ifndef NCCL_H
#define NCCL_H

#include "cuda_runtime.h"
#include "ranks.h"

#include <cstdlib>
#include <cstring>
#include <vector>

enum ncclResult_t { ncclSuccess = 0, ncclInvalidArgument = 4, ncclInvalidUsage = 5 };
enum ncclDataType_t { ncclFloat = 7 };
typedef struct { char internal[128]; } ncclUniqueId;
typedef struct ncclComm {
    int rank, count;
} *ncclComm_t;

#define NCCL_LIBRARY (getenv("NCCL_HOSTILE") ? "libnccl.so.missing" : NULL)

namespace harness {

inline const char nccl_name[] = "the ranks of this test";

struct message {
    char *at;
    size_t bytes;
    int rank;
    cudaStream_t stream;
};

inline std::vector<message> sent, wanted; /* in this group */
inline bool grouped;

inline message find(const std::vector<message> &messages, int rank)
{
    for (const message &m : messages)
        if (m.rank == rank)
            return m;
    return {NULL, 0, -1, NULL};
}

inline ncclResult_t add(std::vector<message> &messages, message m, ncclDataType_t type, ncclComm_t comm)
{
    if (!grouped)
        return ncclInvalidUsage;
    if (!comm || type != ncclFloat || m.rank < 0 || m.rank >= comm->count || m.rank == comm->rank
        || find(messages, m.rank).rank >= 0 || !on_device(m.at, m.bytes))
        return ncclInvalidArgument;
    messages.push_back(m);
    return ncclSuccess;
}

} // namespace harness

inline const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclInvalidUsage ? "invalid usage" : "invalid argument";
}

inline ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    strcpy(id->internal, harness::nccl_name);
    return ncclSuccess;
}

inline ncclResult_t ncclCommInitRank(ncclComm_t *comm, int count, ncclUniqueId id, int rank)
{
    *comm = new ncclComm{rank, count};
    return strcmp(id.internal, harness::nccl_name) ? ncclInvalidArgument : ncclSuccess;
}

inline ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int rank, ncclComm_t comm,
                             cudaStream_t stream)
{
    return harness::add(harness::sent, {(char *)from, count * sizeof(float), rank, stream}, type, comm);
}

inline ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int rank, ncclComm_t comm,
                             cudaStream_t stream)
{
    return harness::add(harness::wanted, {(char *)to, count * sizeof(float), rank, stream}, type, comm);
}

inline ncclResult_t ncclGroupStart()
{
    if (harness::grouped)
        return ncclInvalidUsage;
    harness::grouped = true;
    return ncclSuccess;
}

/* The messages go when the stream comes to them, all at once. What is sent may not change meanwhile, so it may not be
   received over. */
inline ncclResult_t ncclGroupEnd()
{
    auto sent = std::move(harness::sent), wanted = std::move(harness::wanted);
    bool grouped = harness::grouped;
    harness::sent.clear();
    harness::wanted.clear();
    harness::grouped = false;
    for (const harness::message &out : sent)
        for (const harness::message &in : wanted)
            if (out.stream != in.stream || (out.at < in.at + in.bytes && in.at < out.at + out.bytes))
                return ncclInvalidUsage;
    if (!grouped)
        return ncclInvalidUsage;
    cudaStream_t stream = sent.empty() ? wanted.empty() ? NULL : wanted[0].stream : sent[0].stream;
    harness::enqueue(stream, [=] {
        const struct wire *wire = ranks_wire();
        for (int step = 1; step < wire->count; step++) {
            harness::message out = harness::find(sent, (wire->rank + step) % wire->count);
            harness::message in = harness::find(wanted, (wire->rank + wire->count - step) % wire->count);
            wire->swap(out.rank, out.at, out.bytes, in.rank, in.at, in.bytes);
        }
    });
    return ncclSuccess;
}

#endif
