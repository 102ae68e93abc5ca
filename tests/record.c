/* The progress of a stage: what it says is left, and of what it tells that it is at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#undef fail
#include "folder.h"
#include "record.h"

static void pass_time(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

/* What the record says on standard error meanwhile; the caller's to free. */
static char *said_by(void (*act)(struct record *), struct record *record)
{
    char path[] = "/tmp/record-XXXXXX", text[1024] = "";
    int file = mkstemp(path), terminal = dup(STDERR_FILENO);
    assert_true(file >= 0 && terminal >= 0);
    fflush(stderr);
    dup2(file, STDERR_FILENO);
    act(record);
    fflush(stderr);
    dup2(terminal, STDERR_FILENO);
    lseek(file, 0, SEEK_SET);
    ssize_t size = read(file, text, sizeof text - 1);
    assert_true(size >= 0);
    close(file);
    close(terminal);
    unlink(path);
    return strdup(text);
}

static void take_the_first_of_many_steps(struct record *record)
{
    pass_time(0.8); /* the model is read */
    record_expect(record, 1001);
    pass_time(0.01);
    record_step(record, 1, 5, 2.5);
}

static void getting_ready_is_no_step(void **state)
{
    (void)state;
    struct stage stage = {.lines = true, .run = "/nowhere", .key = ""};
    char *said = said_by(take_the_first_of_many_steps, record_open(&stage, "teacher"));
    long minutes = -1, seconds = -1;
    const char *loss = strstr(said, "loss 2.5000");
    assert_non_null(loss);
    assert_int_equal(sscanf(loss, "loss 2.5000 %ld:%ld left", &minutes, &seconds), 2);
    assert_in_range(60 * minutes + seconds, 10, 300); /* 1,000 steps of a hundredth of a second */
    free(said);
}

static void take_hours(struct record *record)
{
    record_expect(record, 100001);
    pass_time(0.05);
    record_step(record, 1, 5, 2.5);
}

static void hours_are_hours(void **state)
{
    (void)state;
    struct stage stage = {.lines = true, .run = "/nowhere", .key = ""};
    char *said = said_by(take_hours, record_open(&stage, "teacher"));
    long hours = 0, minutes = 0, seconds = 0;
    const char *loss = strstr(said, "loss 2.5000");
    assert_non_null(loss);
    assert_int_equal(sscanf(loss, "loss 2.5000 %ld:%2ld:%2ld left", &hours, &minutes, &seconds), 3);
    assert_in_range(hours, 1, 5);
    free(said);
}

static void take_short_parts(struct record *record)
{
    for (long done = 0; done <= 10; done++)
        record_part(record, "exam", done, 10);
    record_part(NULL, "exam", 0, 10);
    record_part(NULL, "exam", 10, 10);
}

static void short_parts_pass_in_silence(void **state)
{
    (void)state;
    struct stage stage = {.lines = true, .run = "/nowhere", .key = ""};
    char *said = said_by(take_short_parts, record_open(&stage, "teacher"));
    assert_string_equal(said, "");
    free(said);
}

static void take_a_long_part(struct record *record)
{
    record_part(record, "exam", 0, 4);
    pass_time(10.1);
    record_part(record, "exam", 1, 4);
    record_part(record, "exam", 4, 4);
}

static void long_parts_are_shown(void **state)
{
    (void)state;
    struct stage stage = {.lines = true, .run = "/nowhere", .key = ""};
    char *said = said_by(take_a_long_part, record_open(&stage, "finetune-imdb-teacher-1"));
    assert_non_null(strstr(said, " 25 %  exam  0:3"));
    assert_string_equal(strchr(said, '\n'), "\n");
    free(said);
}

/* Holds what is on the disk against it. */
static void expect_curve(const char *name, const char *expected)
{
    char *path = folder_path(name), *text = file_read(path, NULL);
    assert_string_equal(text, expected);
    free(path);
    free(text);
}

static void curves_grow_on_the_disk(void **state)
{
    (void)state;
    struct stage stage = {.lines = true, .run = folder, .key = ""};
    struct record *record = record_open(&stage, "teacher");
    record_row(record, "", "loss\trate", 1, (double[]){0.5, 1}, 2);
    expect_curve("curves/teacher.tsv", "step\tloss\trate\n1\t0.5\t1\n");
    record_row(record, "-validation", "mlm", 1, (double[]){0.5}, 1);
    record_row(record, "", "loss\trate", 2, (double[]){0.25, 1}, 2);
    expect_curve("curves/teacher.tsv", "step\tloss\trate\n1\t0.5\t1\n"); /* it was written just now */
    pass_time(1.05);
    record_row(record, "", "loss\trate", 3, (double[]){0.125, 1}, 2);
    expect_curve("curves/teacher.tsv", "step\tloss\trate\n1\t0.5\t1\n2\t0.25\t1\n3\t0.125\t1\n");
    expect_curve("curves/teacher-validation.tsv", "step\tmlm\n1\t0.5\n");
    record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(getting_ready_is_no_step),
        cmocka_unit_test(hours_are_hours),
        cmocka_unit_test(short_parts_pass_in_silence),
        cmocka_unit_test(long_parts_are_shown),
        cmocka_unit_test(curves_grow_on_the_disk),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
