/* Tangled from chapters/30-data.md; edit there. */
#ifndef CACHE_H
#define CACHE_H

#include <stddef.h>
#include <stdint.h>

/* Lists of numbers that are slow to make, kept in the folder DISTIL_CACHE of the
   environment by the hash of all that they depend on. */

static const uint64_t CACHE_START = 0xCBF29CE484222325;

/* cache_hash: the hash of what was hashed before, CACHE_START at first, and of the
   bytes that follow it (FNV-1a, 64 bits). */
uint64_t cache_hash(uint64_t hash, const void *bytes, size_t size);

/* cache_read: the numbers kept under the key, *count of them, for the caller to free;
   NULL if there are none, or they are damaged. */
int *cache_read(uint64_t key, int64_t *count);

/* cache_write: keeps the numbers under the key, if there is a cache. */
void cache_write(uint64_t key, const int *numbers, int64_t count);

#endif
