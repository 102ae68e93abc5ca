/* The small helpers: whole files or none, and random numbers that can be had again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "catch.h"
#include "fail.h"
#include "file.h"
#include "random.h"
#include "sum.h"

static void philox_known_answers(void **state)
{
    (void)state;
    /* Random123's kat_vectors: philox4x32 10 rounds, counter and key all zero: 6627e8d5 e169c58d ... */
    assert_true(random_bits(0, 0) == UINT64_C(0xe169c58d6627e8d5));
}

static void uniform_is_uniform(void **state)
{
    (void)state;
    enum { N = 100000, BINS = 10 };
    int bins[BINS] = {0};
    for (int i = 0; i < N; i++) {
        float u = random_uniform(random_key(7, 3, 1), (uint64_t)i);
        assert_true(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
    }
    double chi = 0;
    for (int b = 0; b < BINS; b++)
        chi += (bins[b] - N / BINS) * (double)(bins[b] - N / BINS) / (N / BINS);
    assert_true(chi < 27.9); /* chi-squared, 9 degrees of freedom, p = 0.001 */
}

static void normal_has_unit_variance(void **state)
{
    (void)state;
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = random_normal(5, i);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / 100000) < 0.015);
    assert_true(fabs(squares / 100000 - 1) < 0.025);
}

static void shuffle_permutes(void **state)
{
    (void)state;
    int order[100], seen[100] = {0}, moved = 0;
    for (int i = 0; i < 100; i++)
        order[i] = i;
    random_shuffle(order, 100, 9);
    for (int i = 0; i < 100; i++) {
        seen[order[i]]++;
        moved += order[i] != i;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
}

static void committed_file_appears_whole(void **state)
{
    (void)state;
    char folder[] = "/tmp/helpers-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = text_format("%s/a/b/c.txt", folder), *partial = text_format("%s.partial", path);
    struct file_writer *w = file_create(path);
    fputs("whole", file_stream(w));
    assert_false(file_exists(path));
    file_commit(w);
    assert_true(file_exists(path));
    assert_false(file_exists(partial));
    size_t size;
    char *text = file_read(path, &size);
    assert_int_equal(size, 5);
    assert_string_equal(text, "whole");
    free(text);
    free(path);
    free(partial);
}

/* Of one large write nothing is left to flush: only the write itself knows what went wrong. */
static void full_disk_is_named(void **state)
{
    (void)state;
    char folder[] = "/tmp/helpers-XXXXXX", *large = calloc(1 << 20, 1);
    assert_non_null(mkdtemp(folder));
    char *path = text_format("%s/file", folder), *partial = text_format("%s.partial", path);
    assert_int_equal(symlink("/dev/full", partial), 0);
    struct file_writer *w = file_create(path);
    fwrite(large, 1 << 20, 1, file_stream(w));
    EXPECT_FAIL(file_commit(w), "/file: could not be written whole: No space left on device");
    assert_false(file_exists(path));
    free(large);
    free(path);
    free(partial);
}
/* Files of its own, all begun before the first is committed: so the list of them is long, and all threads are at it. */
static void *write_files(void *folder)
{
    enum { FILES = 150 };
    struct file_writer *writers[FILES];
    for (int i = 0; i < FILES; i++)
        writers[i] = file_create(text_format("%s/%d", (char *)folder, i));
    for (int i = 0; i < FILES; i++)
        file_commit(writers[i]);
    return folder;
}
static void threads_write_files_at_once(void **state)
{
    enum { THREADS = 4 };
    (void)state;
    char folder[] = "/tmp/helpers-XXXXXX";
    assert_non_null(mkdtemp(folder));
    pthread_t threads[THREADS];
    char *folders[THREADS];
    for (int t = 0; t < THREADS; t++) {
        folders[t] = text_format("%s/%d", folder, t);
        assert_int_equal(pthread_create(&threads[t], NULL, write_files, folders[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        char *last = text_format("%s/149", folders[t]);
        assert_true(file_exists(last));
        free(last);
        free(folders[t]);
    }
    char *command = text_format("rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(command);
}
static void what_never_ends_is_not_waited_for(void **state)
{
    (void)state;
    char folder[] = "/tmp/helpers-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = text_format("%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    size_t size = 1;
    free(file_read(path, &size));
    assert_int_equal(size, 0);
    int ends[2];
    assert_int_equal(pipe(ends), 0); /* somebody has it open: this one is waited for */
    assert_int_equal(write(ends[1], "word", 4), 4);
    close(ends[1]);
    char *own = text_format("/dev/fd/%d", ends[0]), *text = file_read(own, &size);
    assert_string_equal(text, "word");
    EXPECT_FAIL(file_read("/dev/zero", NULL), "/dev/zero: gave 134217728 bytes and is no file that ends");
    unlink(path), rmdir(folder), close(ends[0]);
    free(path), free(own), free(text);
}

static char *text_of(const char *path, const char *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    fwrite(bytes, 1, size, stream);
    fclose(stream);
    return file_text(path, NULL);
}

static void texts_end_where_they_end(void **state)
{
    (void)state;
    char folder[] = "/tmp/helpers-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = text_format("%s/text", folder), *text = text_of(path, "\xEF\xBB\xBFwords\n", 9);
    assert_string_equal(text, "words\n");
    free(text);
    EXPECT_FAIL(text_of(path, "one\ntwo\0three\n", 14), "line 2: holds a byte of zero; expected text in UTF-8");
    EXPECT_FAIL(text_of(path, "\xFF\xFEo\0n\0", 6), "is UTF-16; expected UTF-8");
    free(path);
}

/* FIPS 180-4's examples, in one piece and in many, and from a file. */
static void sha256_known_answers(void **state)
{
    (void)state;
    char *million = malloc(1000000), path[] = "/tmp/sum-XXXXXX";
    memset(million, 'a', 1000000);
    assert_string_equal(sum_bytes("", 0).digits, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(sum_bytes("abc", 3).digits, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *sum = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    assert_string_equal(sum_bytes(million, 1000000).digits, sum);
    struct summing *summing = sum_begin();
    for (size_t at = 0, piece = 1; at < 1000000; at += piece, piece = 3 * piece % 997 + 1)
        sum_add(summing, million + at, at + piece > 1000000 ? 1000000 - at : piece);
    assert_string_equal(sum_end(summing).digits, sum);
    int file = mkstemp(path);
    for (int i = 0; i < 3; i++)
        assert_int_equal(write(file, million, 1000000), 1000000);
    assert_int_equal(ftruncate(file, 1000000), 0);
    close(file);
    assert_string_equal(sum_file(path).digits, sum);
    unlink(path);
    EXPECT_FAIL(sum_file(path), "cannot be opened");
    EXPECT_FAIL(sum_file("/tmp"), "is not a file");
    free(million);
}

static void missing_file_is_named(void **state)
{
    (void)state;
    EXPECT_FAIL(file_read("/nowhere/at-all", NULL), "/nowhere/at-all: cannot be opened");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),     cmocka_unit_test(uniform_is_uniform),
        cmocka_unit_test(normal_has_unit_variance), cmocka_unit_test(shuffle_permutes),
        cmocka_unit_test(what_never_ends_is_not_waited_for),
        cmocka_unit_test(committed_file_appears_whole), cmocka_unit_test(texts_end_where_they_end),
        cmocka_unit_test(sha256_known_answers),         cmocka_unit_test(missing_file_is_named),
        cmocka_unit_test(full_disk_is_named),           cmocka_unit_test(threads_write_files_at_once),
    };
    return cmocka_run_group_tests_name("helpers", tests, NULL, NULL);
}
