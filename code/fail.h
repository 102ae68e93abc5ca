/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef FAIL_H
#define FAIL_H

#include <stdbool.h>
#include <stddef.h>

/* fail: prints "distil: SUBJECT: MESSAGE" on standard error, removes files that were
   not committed, and ends the program with status 1, from whichever thread. subject:
   the file, setting or option at fault; format, ...: what was expected and what was
   found, as for printf. */
void fail(const char *subject, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

/* fail_among: this program is one of several that work together, and may meet what all
   of them meet. From now on fail calls wait first, where another one may end it, and
   puts name before the subject. */
void fail_among(const char *name, void (*wait)(void));

/* allocate: count * size bytes, all zero, for the caller to free. Never returns NULL:
   it fails when the product overflows or memory is out. A request for nothing still
   gives a pointer. */
void *allocate(size_t count, size_t size);

/* text_format: a new string as printf would print it, for the caller to free. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* text_ends: whether a text ends in another. */
bool text_ends(const char *text, const char *end);

/* text_order: the order of two texts by their bytes, for qsort of texts. */
int text_order(const void *a, const void *b);

/* number_text: a number with so many decimals, a true minus sign and commas between
   thousands, "−1,234.5", as a new string for the caller to free. A zero has no sign. */
char *number_text(double number, int decimals);

#endif
