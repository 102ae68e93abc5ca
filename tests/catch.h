/* Catches fail(): tests link catch.c in place of code/fail.c.
   EXPECT_FAIL(code, "part") runs code, which must call fail with a message that holds part.
   What the code had allocated is lost, so leak checks are off where this is used. */
#ifndef CATCH_H
#define CATCH_H

/* Include after cmocka.h, whose macro fail() would hide the function. */
#undef fail
#undef fail_msg
#define fail_msg(...) (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#include <setjmp.h>
#include <string.h>

extern jmp_buf *catch_target;      /* where fail jumps to; NULL: fail prints and exits */
extern char catch_message[1024];   /* "subject: message" of the last failure */

#define EXPECT_FAIL(code, part)                                                                    \
    do {                                                                                           \
        jmp_buf target_;                                                                           \
        catch_target = &target_;                                                                   \
        if (setjmp(target_) == 0) {                                                                \
            code;                                                                                  \
            catch_target = NULL;                                                                   \
            fail_msg("no failure; expected one with \"%s\"", part);                                \
        }                                                                                          \
        catch_target = NULL;                                                                       \
        if (!strstr(catch_message, part))                                                          \
            fail_msg("failed with \"%s\"; expected \"%s\" in it", catch_message, part);            \
    } while (0)

#endif
