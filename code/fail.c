/* Tangled from chapters/13-helpers.md; edit there. */
#include "fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Give up with a message */
void fail(const char *subject, const char *format, ...)
{
    fflush(stdout);
    fprintf(stderr, "distil: %s: ", subject);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* Allocate or give up */
void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory)
        fail("memory", "%zu times %zu bytes could not be had", count, size);
    return memory;
}

/* Format a new string */
char *text_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = allocate((size_t)length + 1, 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
