/* A kernel table that counts what is allocated as a GPU makes it, in pieces of 256 bytes. */
#ifndef COUNTED_H
#define COUNTED_H

#include "kernels.h"

static const struct kernels *counted; /* whose memory it is */
static size_t taken;                  /* bytes since it was last set to 0 */

static void *count_bytes(size_t bytes)
{
    taken += (bytes + 255) / 256 * 256;
    return counted->allocate(bytes);
}

/* The same table as k, counting. */
static inline struct kernels counting_table(const struct kernels *k)
{
    struct kernels counting = *k;
    counted = k;
    counting.allocate = count_bytes;
    return counting;
}

#endif
