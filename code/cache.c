/* Tangled from chapters/30-data.md; edit there. */
#include "cache.h"
#include "fail.h"
#include "file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Hash what a list depends on */
uint64_t cache_hash(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * 0x100000001B3;
    return hash;
}

/* Name the file of a key */
static char *cache_path(uint64_t key)
{
    const char *folder = getenv("DISTIL_CACHE");
    return folder ? text_format("%s/%016llx", folder, (unsigned long long)key) : NULL;
}

/* Take numbers from the cache */
int *cache_read(uint64_t key, int64_t *count)
{
    char *path = cache_path(key);
    int *numbers = NULL;
    if (path && file_exists(path)) {
        /* Read the numbers, unless they are damaged */
        size_t size;
        char *bytes = file_read(path, &size);
        uint64_t hash = 0;
        size_t payload = size < sizeof hash ? 0 : size - sizeof hash;
        memcpy(&hash, bytes + payload, size - payload < sizeof hash ? 0 : sizeof hash);
        if (hash == cache_hash(CACHE_START, bytes, payload))
            numbers = (int *)bytes;
        else
            free(bytes);
        *count = (int64_t)(payload / sizeof *numbers);
    }
    free(path);
    return numbers;
}

/* Put numbers into the cache */
void cache_write(uint64_t key, const int *numbers, int64_t count)
{
    char *path = cache_path(key);
    if (!path)
        return;
    char *own = text_format("%s-%ld", path, (long)getpid());
    size_t size = (size_t)count * sizeof *numbers;
    uint64_t hash = cache_hash(CACHE_START, numbers, size);
    struct file_writer *writer = file_create(own);
    fwrite(numbers, 1, size, file_stream(writer));
    fwrite(&hash, sizeof hash, 1, file_stream(writer));
    file_commit(writer);
    if (rename(own, path) != 0)
        fail(path, "could not be renamed from %s", own);
    free(own);
    free(path);
}
