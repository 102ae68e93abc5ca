/* Tangled from chapters/40-several-ranks.md; edit there. */
#ifndef RANKS_H
#define RANKS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Describe how ranks speak to each other */
struct wire {
    int rank, count;   /* this rank, from 0, and how many there are */
    int place, places; /* the same among those on this machine */
    /* swap: sends `sent` bytes to rank `to` and receives `got` bytes from rank `from`,
       both at once; a rank of -1: nobody. At most RANKS_BLOCK floats. What one sends,
       the other must want. */
    void (*swap)(int to, const void *out, size_t sent, int from, void *in, size_t got);
    void (*close)(void); /* waits until all ranks have come to it */
};

/* State what ranks do together */
enum { RANKS_BLOCK = 1 << 21 }; /* floats that are summed at a time */

/* ranks_open: makes this process one of so many ranks, which mpirun has started; with 1
   does nothing. Fails if they are not so many, or this program has no MPI. From then on
   a rank that fails ends all. ranks_close: the end; all ranks must come to it. */
void ranks_open(int count);
void ranks_close(void);

/* ranks_join: the same by another wire, which must stay. ranks_wire: the wire; NULL:
   this process is alone. */
void ranks_join(const struct wire *wire);
const struct wire *ranks_wire(void);

/* ranks_rank, ranks_count: this rank, from 0, and how many there are; 0 and 1 alone. */
int ranks_rank(void);
int ranks_count(void);

/* What follows all ranks must call, with the same sizes, in the same order. */

/* ranks_sum: x[n] = the sum of the x[n] of all ranks, added in the order of the ranks.
   It is the CPU's all_sum. */
void ranks_sum(float *x, size_t n);

/* ranks_gather: all[count, bytes] = what each rank has as mine[bytes]. */
void ranks_gather(const void *mine, void *all, size_t bytes);

/* ranks_share: what rank 0 has in memory[bytes], all have. */
void ranks_share(void *memory, size_t bytes);

/* ranks_slice: where the slice of a rank begins in a block of n floats; that of rank
   count, which does not exist, begins at n. */
size_t ranks_slice(size_t n, int rank);

/* State how batches are cut for the ranks */
/* A training's batches, each cut into a piece for each rank. Piece p is of batch
   p / count, and rank p % count works on it. */
struct cut {
    int sequences;   /* in an epoch */
    int batch, size; /* sequences of a batch, and of a piece */
    long per_epoch;  /* batches in an epoch */
};

/* ranks_cut: the cut of an epoch of so many sequences. Fails, naming where, if batch is
   0 or the number of ranks does not divide it. */
struct cut ranks_cut(const char *where, int sequences, int batch);

/* cut_epoch, cut_first: whose sequences a piece has, and from which on, in the order of
   the epoch. cut_empty: whether that is none. cut_next: this rank's next piece that is
   not empty, after one that is not. */
long cut_epoch(const struct cut *cut, long piece);
int cut_first(const struct cut *cut, long piece);
bool cut_empty(const struct cut *cut, long piece);
long cut_next(const struct cut *cut, long piece);

#ifdef __cplusplus
}
#endif

#endif
