/* Numbers that are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "catch.h"
#include "cache.h"
#include "check.h"
#include "corpus.h"
#include "fail.h"
#include "file.h"

static char folder[] = "/tmp/cache-XXXXXX";

static int open_folder(void **state)
{
    (void)state;
    return !mkdtemp(folder) || setenv("DISTIL_CACHE", folder, 1);
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *stream = opendir(folder);
    for (struct dirent *entry; (entry = readdir(stream));) {
        char *path = text_format("%s/%s", folder, entry->d_name);
        unlink(path);
        free(path);
    }
    closedir(stream);
    return rmdir(folder);
}

static void hash_is_fnv(void **state)
{
    (void)state;
    /* known answers of FNV-1a, 64 bits */
    assert_true(cache_hash(CACHE_START, "", 0) == 0xCBF29CE484222325);
    assert_true(cache_hash(CACHE_START, "a", 1) == 0xAF63DC4C8601EC8C);
    assert_true(cache_hash(CACHE_START, "foobar", 6) == 0x85944171F73967E8);
    assert_true(cache_hash(cache_hash(CACHE_START, "foo", 3), "bar", 3) == 0x85944171F73967E8);
}

static void what_is_kept_comes_back(void **state)
{
    (void)state;
    const int numbers[] = {3, -1, 0x7fffffff};
    int64_t count = 7;
    assert_null(cache_read(1, &count));
    cache_write(1, numbers, 3);
    cache_write(2, numbers, 0);
    int *kept = cache_read(1, &count);
    assert_int_equal(count, 3);
    assert_memory_equal(kept, numbers, sizeof numbers);
    free(kept);
    kept = cache_read(2, &count);
    assert_non_null(kept);
    assert_int_equal(count, 0);
    free(kept);
    cache_write(1, numbers + 1, 2);
    kept = cache_read(1, &count);
    assert_int_equal(count, 2);
    assert_memory_equal(kept, numbers + 1, 2 * sizeof *numbers);
    free(kept);
    unsetenv("DISTIL_CACHE");
    assert_null(cache_read(1, &count));
    cache_write(3, numbers, 3);
    setenv("DISTIL_CACHE", folder, 1);
    assert_null(cache_read(3, &count));
}

static void damage_is_seen(void **state)
{
    (void)state;
    const int numbers[] = {5, 6};
    int64_t count;
    size_t size;
    cache_write(4, numbers, 2);
    char *path = text_format("%s/%016x", folder, 4), *bytes = file_read(path, &size);
    for (size_t change = 0; change < 2 * size; change++) { /* flip a bit of a byte, or end before it */
        FILE *stream = fopen(path, "wb");
        bytes[change / 2] ^= 1;
        fwrite(bytes, 1, change % 2 ? change / 2 : size, stream);
        bytes[change / 2] ^= 1;
        fclose(stream);
        assert_null(cache_read(4, &count));
    }
    cache_write(4, numbers, 2);
    int *kept = cache_read(4, &count);
    assert_memory_equal(kept, numbers, sizeof numbers);
    free(kept);
    free(path);
    free(bytes);
}

static double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void a_corpus_comes_from_the_cache(void **state)
{
    (void)state;
    enum { WORDS = 400000 };
    struct tokenizer *tokenizer = tokenizer_open("tests/fixtures/tokenizer/vocab.txt");
    char *path = text_format("%s/text", folder);
    FILE *stream = fopen(path, "w");
    for (int i = 0; i < WORDS; i++)
        fprintf(stream, i % 20 == 19 ? "unaffable%d\n" : "unaffable%d ", i % 97);
    fclose(stream);
    double begun = seconds();
    struct corpus *first = corpus_read(tokenizer, &path, 1, 64, true, 0);
    double made = seconds();
    struct corpus *again = corpus_read(tokenizer, &path, 1, 64, true, 0);
    double kept = seconds();
    assert_int_equal(again->tokens, first->tokens);
    assert_memory_equal(again->ids, first->ids, (size_t)first->tokens * sizeof *first->ids);
    struct corpus *cut = corpus_read(tokenizer, &path, 1, 16, false, 1000); /* otherwise cut, the same pieces */
    setenv("DISTIL_CACHE", path, 1); /* a file, in which nothing can be kept */
    EXPECT_FAIL(corpus_read(tokenizer, &path, 1, 16, false, 1000), "cannot be");
    unsetenv("DISTIL_CACHE");
    struct corpus *fresh = corpus_read(tokenizer, &path, 1, 16, false, 1000);
    setenv("DISTIL_CACHE", folder, 1);
    assert_int_equal(cut->whole, fresh->whole);
    assert_memory_equal(cut->ids, fresh->ids, (size_t)fresh->tokens * sizeof *fresh->ids);
    check_report("cache.pieces", "%.0f thousand", WORDS / 1e3);
    check_report("cache.faster", "%.0f", (made - begun) / (kept - made));
    corpus_free(first);
    corpus_free(again);
    corpus_free(cut);
    corpus_free(fresh);
    tokenizer_free(tokenizer);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_fnv),
        cmocka_unit_test(what_is_kept_comes_back),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(a_corpus_comes_from_the_cache),
    };
    return cmocka_run_group_tests_name("cache", tests, open_folder, remove_folder);
}
