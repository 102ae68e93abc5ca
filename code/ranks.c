/* Tangled from chapters/40-several-ranks.md; edit there. */
#include "ranks.h"
#include "fail.h"

#include <stdlib.h>
#include <string.h>

/* ranks_mpi: Open MPI's wire for so many ranks; fails if it cannot be had. */
const struct wire *ranks_mpi(int count);

static const struct wire *wire; /* NULL: this process is alone */
static float *slices;           /* [count, the largest slice] this rank's, of each */

/* Begin and end as one of several ranks */
void ranks_join(const struct wire *joined)
{
    wire = joined;
    slices = allocate((size_t)wire->count * ranks_slice(RANKS_BLOCK, 1),
                      sizeof *slices);
}

void ranks_open(int count)
{
    if (count < 1)
        fail("--ranks", "expected 1 or more");
    if (count > 1)
        ranks_join(ranks_mpi(count));
}

void ranks_close(void)
{
    if (wire)
        wire->close();
    free(slices);
    slices = NULL;
    wire = NULL;
}

const struct wire *ranks_wire(void)
{
    return wire;
}

int ranks_rank(void)
{
    return wire ? wire->rank : 0;
}

int ranks_count(void)
{
    return wire ? wire->count : 1;
}

__attribute__((weak)) const struct wire *ranks_mpi(int count)
{
    fail("--ranks", "this program was built without MPI, which %d ranks need; "
         "make deps RANKS=%d installs it", count, count);
}

/* Cut batches for the ranks */
struct cut ranks_cut(const char *where, int sequences, int batch)
{
    int count = ranks_count();
    if (batch == 0)
        fail(where, "expected a batch of at least one sequence");
    if (batch % count != 0)
        fail(where, "expected a batch that %d ranks can share evenly, found %d", count,
             batch);
    return (struct cut){
        .sequences = sequences,
        .batch = batch,
        .size = batch / count,
        .per_epoch = ((long)sequences + batch - 1) / batch,
    };
}

long cut_epoch(const struct cut *cut, long piece)
{
    return piece / ranks_count() / cut->per_epoch;
}

int cut_first(const struct cut *cut, long piece)
{
    long batch = piece / ranks_count() % cut->per_epoch, part = piece % ranks_count();
    return (int)(batch * cut->batch + part * cut->size);
}

bool cut_empty(const struct cut *cut, long piece)
{
    return cut_first(cut, piece) >= cut->sequences;
}

long cut_next(const struct cut *cut, long piece)
{
    do
        piece += ranks_count();
    while (cut_empty(cut, piece));
    return piece;
}

/* Share what one rank has */
void ranks_gather(const void *mine, void *all, size_t bytes)
{
    int rank = ranks_rank(), count = ranks_count();
    memcpy((char *)all + (size_t)rank * bytes, mine, bytes);
    for (int k = 1; k < count; k++) {
        int to = (rank + k) % count, from = (rank + count - k) % count;
        wire->swap(to, mine, bytes, from, (char *)all + (size_t)from * bytes, bytes);
    }
}

void ranks_share(void *memory, size_t bytes)
{
    const size_t block = RANKS_BLOCK * sizeof(float);
    for (size_t at = 0; wire && at < bytes; at += block) {
        char *part = (char *)memory + at;
        size_t length = bytes - at < block ? bytes - at : block;
        if (wire->rank > 0)
            wire->swap(-1, NULL, 0, 0, part, length);
        for (int to = 1; wire->rank == 0 && to < wire->count; to++)
            wire->swap(to, part, length, -1, NULL, 0);
    }
}

/* Sum one block in the order of the ranks */
static void sum_block(float *x, size_t n)
{
    int rank = wire->rank, count = wire->count;
    size_t begin = ranks_slice(n, rank), own = ranks_slice(n, rank + 1) - begin;
    /* Get this rank's slice from the others */
    memcpy(slices + (size_t)rank * own, x + begin, own * sizeof *x);
    for (int k = 1; k < count; k++) {
        int to = (rank + k) % count, from = (rank + count - k) % count;
        size_t at = ranks_slice(n, to), length = ranks_slice(n, to + 1) - at;
        wire->swap(to, x + at, length * sizeof *x, from, slices + (size_t)from * own,
                   own * sizeof *x);
    }
    /* Add the slices in the order of the ranks */
    for (int other = 1; other < count; other++)
        for (size_t i = 0; i < own; i++)
            slices[i] += slices[(size_t)other * own + i];
    memcpy(x + begin, slices, own * sizeof *x);
    /* Give the sum to the others, and get theirs */
    for (int k = 1; k < count; k++) {
        int to = (rank + k) % count, from = (rank + count - k) % count;
        size_t at = ranks_slice(n, from), length = ranks_slice(n, from + 1) - at;
        wire->swap(to, x + begin, own * sizeof *x, from, x + at, length * sizeof *x);
    }
}

/* Sum in the order of the ranks */
size_t ranks_slice(size_t n, int rank)
{
    const size_t line = 16; /* floats; a slice begins with a line of the cache */
    size_t count = (size_t)ranks_count(), lines = (n + line - 1) / line;
    size_t begin = (lines + count - 1) / count * line * (size_t)rank;
    return begin < n ? begin : n;
}

void ranks_sum(float *x, size_t n)
{
    for (size_t at = 0; wire && at < n; at += RANKS_BLOCK)
        sum_block(x + at, n - at < RANKS_BLOCK ? n - at : RANKS_BLOCK);
}
