/* Tangled from chapters/64-helpers.md; edit there. */
#include "fail.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Give up with a message */
static const char *among = "";
static void (*wait_for_others)(void);

void fail_among(const char *name, void (*wait)(void))
{
    among = name;
    wait_for_others = wait;
}

void fail(const char *subject, const char *format, ...)
{
    fflush(stdout);
    flockfile(stderr);
    if (wait_for_others)
        wait_for_others();
    fprintf(stderr, "distil: %s%s: ", among, subject);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    quick_exit(1);
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

/* Compare texts */
bool text_ends(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

int text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Write a number as text */
char *number_text(double number, int decimals)
{
    char *digits = text_format("%.*f", decimals, fabs(number));
    char grouped[512], *to = grouped;
    if (strlen(digits) > 300)
        fail("number", "%g is too large to be written", number);
    bool zero = strspn(digits, "0.") == strlen(digits);
    if (number < 0 && !zero)
        to += sprintf(to, "−");
    /* Copy the digits with commas */
    size_t whole = strcspn(digits, ".");
    for (size_t i = 0; digits[i]; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    free(digits);
    return text_format("%s", grouped);
}
