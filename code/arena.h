/* Tangled from chapters/11-encoder.md; edit there. */
#ifndef ARENA_H
#define ARENA_H

#include "kernels.h"

struct arena {
    const struct kernels *k;
    char *memory; /* the device's, not owned; NULL: only counting */
    size_t used;  /* bytes */
};

/* arena_reals, arena_floats, arena_ints: device room for rows times columns, or count,
   of these, undefined; NULL from an arena that only counts. */
real *arena_reals(struct arena *arena, size_t rows, size_t columns);
float *arena_floats(struct arena *arena, size_t count);
int *arena_ints(struct arena *arena, size_t count);

#endif
