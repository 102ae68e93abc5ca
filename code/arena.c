/* Tangled from chapters/11-encoder.md; edit there. */
#include "arena.h"

/* Take room from the arena */
static void *take(struct arena *arena, size_t count, size_t size)
{
    size_t at = arena->used;
    arena->used += (count * size + 63) / 64 * 64;
    return arena->memory ? arena->memory + at : NULL;
}

real *arena_reals(struct arena *arena, size_t rows, size_t columns)
{
    return take(arena, rows * columns, arena->k->real_size);
}

float *arena_floats(struct arena *arena, size_t count)
{
    return take(arena, count, sizeof(float));
}

int *arena_ints(struct arena *arena, size_t count)
{
    return take(arena, count, sizeof(int));
}
