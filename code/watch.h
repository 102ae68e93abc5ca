/* Tangled from chapters/43-watching.md; edit there. */
#ifndef WATCH_H
#define WATCH_H

#include "kernels.h"

/* Name the families of operations */
enum kernel_family {
    GEMM,          /* linear maps and their gradients */
    ATTENTION,
    NORMALISATION, /* with the dropout and the residual sum before it */
    POINTWISE,     /* activations, dropout by itself, sums */
    EMBEDDING,     /* rows of tables: looked up, gathered, scattered */
    LOSS,          /* with the sums of what it measured */
    OPTIMISER,
    MEMORY,        /* between host and device, within it, between precisions */
    FAMILIES
};

/* State what is noted of a family */
/* What the operations of a family came to. */
struct tally {
    long calls;
    double flops;    /* floating-point operations, as the rules below count them */
    double bytes;    /* that must be read or written at the least */
    double seconds;  /* they took; 0 where nothing is computed */
    double estimate; /* seconds they would take on the machine that was described */
};

/* Describe a machine that is not here */
/* What limits a machine: the width of a real, how many rows of logits are made at a
   time, FLOP/s of matrix products and of all else, bytes/s of its memory, and the
   seconds before an operation begins. */
struct machine {
    size_t real_size;
    int logit_rows;
    double gemm, other, bandwidth, launch;
};

/* State what can be done with the watch */
/* watch_open: a table that notes all operations and has inner do them. inner NULL:
   nothing is done; what is allocated cannot be used, and downloads give zeros. machine:
   whose time is estimated; if inner is NULL, it says how wide a real is; else it may be
   NULL. The counts start from zero. There is one watch: opening it again ends the
   watching before. A model that is there already is watched by putting this table in
   the place of its own, which must be inner. */
const struct kernels *watch_open(const struct kernels *inner,
                                 const struct machine *machine);

/* watch_clear: lets all counts start from zero again. */
void watch_clear(void);

/* watch_tally: what a family came to since the counts were zero. */
struct tally watch_tally(enum kernel_family family);

/* watch_allocated: the bytes that were asked of allocate in that time. */
size_t watch_allocated(void);

/* watch_name: what a family is called in files, "gemm". */
const char *watch_name(enum kernel_family family);

#endif
