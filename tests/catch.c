/* The helpers of code/fail.c with a fail() that tests can catch. */
#define fail fail_and_exit
#include "fail.c"
#undef fail
#include "catch.h"

jmp_buf *catch_target;
char catch_message[1024];

void fail(const char *subject, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int used = snprintf(catch_message, sizeof catch_message, "%s: ", subject);
    if (used > 0 && (size_t)used < sizeof catch_message)
        vsnprintf(catch_message + used, sizeof catch_message - (size_t)used, format, arguments);
    va_end(arguments);
    if (catch_target)
        longjmp(*catch_target, 1);
    fprintf(stderr, "distil: %s\n", catch_message);
    exit(1);
}
