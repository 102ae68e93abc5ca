/* Whatever the bytes: a file is refused, or its tensors lie inside it one after another, and can be
   copied out. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "catch.h"
#include "safetensors.h"

static void check_tensors(const struct safetensors *file)
{
    const char *end = NULL;
    for (int i = 0; i < file->count; i++) {
        const struct tensor *t = &file->list[i];
        const char *data = t->data;
        if ((end && data != end) || data + t->bytes > (const char *)file->map + file->size)
            abort();
        end = data + t->bytes;
        if (safetensors_find(file, t->name) != t)
            abort();
        float *values = malloc(t->count * sizeof *values + 1);
        jmp_buf target;
        catch_target = &target;
        if (setjmp(target) == 0)
            safetensors_floats(file, t, values);
        else if (setjmp(target) == 0)
            safetensors_integers(file, t, (int *)values);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/fuzz-safetensors-%ld", (long)getpid());
    FILE *stream = fopen(path, "wb");
    if (!stream)
        abort();
    fwrite(bytes, 1, size, stream);
    fclose(stream);
    jmp_buf target;
    catch_target = &target;
    if (setjmp(target) == 0) {
        struct safetensors *file = safetensors_open(path);
        check_tensors(file);
        safetensors_close(file);
    }
    unlink(path);
    return 0;
}
