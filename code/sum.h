/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef SUM_H
#define SUM_H

#include <stddef.h>

enum { SUM_DIGITS = 64 };

/* A SHA-256 as text: hexadecimal digits, in lower case, and a NUL. */
struct sum {
    char digits[SUM_DIGITS + 1];
};

/* sum_bytes: the sum of these bytes. sum_file: the sum of a file, as sha256sum gives
   it; fails, naming path, if it cannot be read or is no file. */
struct sum sum_bytes(const void *bytes, size_t size);
struct sum sum_file(const char *path);

/* sum_begin, sum_add, sum_end: the sum of bytes that come in pieces. sum_end frees
   what sum_begin gave. */
struct summing *sum_begin(void);
void sum_add(struct summing *summing, const void *bytes, size_t size);
struct sum sum_end(struct summing *summing);

#endif
