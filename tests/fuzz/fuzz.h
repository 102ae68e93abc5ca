/* FUZZ_TRY(code): runs code, which may fail(); what it had allocated by then is freed, so that a fuzzer that
   meets a million failures does not run out of memory. Yields whether the code came to its end. */
#ifndef FUZZ_H
#define FUZZ_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sanitizer/allocator_interface.h>

extern jmp_buf *catch_target; /* tests/catch.c */

enum { FUZZ_ROOM = 1 << 16 };
static const volatile void *fuzz_memory[FUZZ_ROOM]; /* what was allocated and not freed during a try */
static size_t fuzz_count;
static bool fuzz_trying;

static void fuzz_note(const volatile void *memory, size_t size)
{
    (void)size;
    if (fuzz_trying && fuzz_count < FUZZ_ROOM)
        fuzz_memory[fuzz_count++] = memory;
}

static void fuzz_forget(const volatile void *memory)
{
    for (size_t i = fuzz_count; fuzz_trying && i-- > 0;)
        if (fuzz_memory[i] == memory) {
            fuzz_memory[i] = fuzz_memory[--fuzz_count];
            return;
        }
}

static void fuzz_begin(jmp_buf *target)
{
    static bool installed;
    if (!installed)
        installed = __sanitizer_install_malloc_and_free_hooks(fuzz_note, fuzz_forget) > 0;
    fuzz_count = 0;
    fuzz_trying = true;
    catch_target = target;
}

static void fuzz_end(bool failed)
{
    fuzz_trying = false;
    catch_target = NULL;
    while (failed && fuzz_count > 0)
        free((void *)(size_t)fuzz_memory[--fuzz_count]);
}

#define FUZZ_TRY(code)                          \
    do {                                        \
        jmp_buf fuzz_target;                    \
        if (setjmp(fuzz_target) == 0) {         \
            fuzz_begin(&fuzz_target);           \
            code;                               \
            fuzz_end(false);                    \
        } else {                                \
            fuzz_end(true);                     \
        }                                       \
    } while (0)

#endif
