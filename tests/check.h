/* check_report: notes a figure that a test measured, for the book to quote as {{check.key}}.
   Appends "check.key<TAB>text" to the file that the environment variable CHECKS names; does nothing without it. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

static inline void check_report(const char *key, const char *format, double value)
{
    const char *path = getenv("CHECKS");
    FILE *stream = path ? fopen(path, "a") : NULL;
    if (!stream)
        return;
    fprintf(stream, "check.%s\t", key);
    fprintf(stream, format, value);
    fputc('\n', stream);
    fclose(stream);
}

#endif
