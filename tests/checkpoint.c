/* Checkpoints on a disk that stands still: a pipe in the place of the file takes what is written only when it is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "checkpoint.h"
#include "device.h"
#include "folder.h"
#include "model.h"
#include "safetensors.h"

#include <sys/stat.h>
#include <unistd.h>

static const struct kernels *k;

static const struct optimizer_settings settings = {
    .rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .decay = 0.1f, .steps = 20,
};

/* A training of its own: what a checkpoint is made of. */
struct training_state {
    struct stage stage;
    struct model *model;
    struct optimizer *optimizer;
    struct record *record;
    struct checkpoint *checkpoint;
};

static void begin(struct training_state *s)
{
    s->stage = (struct stage){.run = folder, .key = "a key", .resume = true, .lines = true};
    s->model = encoder_open(k, "tests/fixtures/distilbert-tiny", HEAD_MLM, 0, LEARN_ALL);
    s->optimizer = optimizer_create(s->model, &settings);
    s->record = record_open(&s->stage, "test");
    record_expect(s->record, 20);
    s->checkpoint = checkpoint_open(&s->stage, "test", s->model, s->optimizer, s->record);
}

static void end(struct training_state *s)
{
    checkpoint_close(s->checkpoint);
    optimizer_free(s->optimizer);
    encoder_free(s->model);
    record_free(s->record);
}

/* Step number `step`, from a gradient of its own, and a row of the curve. */
static void take_step(struct training_state *s, long step)
{
    size_t size = s->model->parameters.size;
    float *gradient = allocate(size, sizeof *gradient);
    for (size_t i = 0; i < size; i++)
        gradient[i] = (float)(0.03 * random_normal((uint64_t)step, i));
    k->upload(s->model->gradient, gradient, size * sizeof *gradient);
    optimizer_step(s->optimizer, step);
    record_step(s->record, step + 1, 100, 1);
    record_row(s->record, "", "loss", step + 1, (double[]){(double)step}, 1);
    free(gradient);
}

/* All numbers of the state, as a checkpoint has them; for the caller to free. */
static float *numbers(const struct training_state *s)
{
    size_t size = s->model->parameters.size;
    float *values = allocate(3 * size + STATE_SIZE, sizeof *values);
    encoder_download(s->model, values);
    optimizer_download(s->optimizer, values + size, values + 2 * size, values + 3 * size);
    return values;
}

/* Whether reading the checkpoint gives step and, bit for bit, these numbers. */
static void expect_checkpoint(long step, const float *values)
{
    struct training_state s;
    begin(&s);
    assert_int_equal(checkpoint_read(s.checkpoint), step);
    assert_int_equal(record_tokens(s.record), 100 * step);
    char curve[1024] = "step\tloss\n";
    size_t length = strlen(curve);
    for (long row = 1; row <= step; row++)
        length += (size_t)sprintf(curve + length, "%ld\t%ld\n", row, row - 1);
    assert_string_equal(record_curve(s.record, ""), curve);
    float *found = numbers(&s);
    assert_memory_equal(found, values, (3 * s.model->parameters.size + STATE_SIZE) * sizeof *found);
    free(found);
    end(&s);
}

/* Puts a pipe where the checkpoint is written before it has its name. */
static char *make_pipe(void)
{
    char *path = folder_path("checkpoints/test.safetensors.partial");
    file_make_folder(folder_path("checkpoints"));
    assert_int_equal(mkfifo(path, 0666), 0);
    return path;
}

/* Waits until the writer has come to the pipe, and reads it to its end, which lets the writer go on. */
static char *drain(const char *pipe, size_t *size)
{
    enum { ROOM = 1 << 24 };
    char *bytes = allocate(ROOM, 1);
    FILE *stream = fopen(pipe, "rb");
    *size = fread(bytes, 1, ROOM, stream);
    fclose(stream);
    assert_in_range(*size, 1, ROOM - 1);
    return bytes;
}

static void steps_go_on_while_the_disk_stands_still(void **unused)
{
    (void)unused;
    struct training_state s;
    size_t size;
    begin(&s);
    char *pipe = make_pipe(), *path = folder_path("checkpoints/test.safetensors");
    for (long step = 0; step < 3; step++)
        take_step(&s, step);
    float *then = numbers(&s);
    assert_true(checkpoint_write(s.checkpoint, 3));
    for (long step = 3; step < 8; step++) {
        take_step(&s, step);
        assert_false(checkpoint_write(s.checkpoint, step + 1));
    }
    float *now = numbers(&s);
    assert_memory_not_equal(now, then, s.model->parameters.size * sizeof *now);
    assert_int_equal(record_tokens(s.record), 800);
    assert_false(file_exists(path));

    char *bytes = drain(pipe, &size);
    checkpoint_close(s.checkpoint);
    unlink(path); /* the pipe, under its name now */
    FILE *stream = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    fclose(stream);
    expect_checkpoint(3, then);

    s.checkpoint = checkpoint_open(&s.stage, "test", s.model, s.optimizer, s.record);
    assert_true(checkpoint_write(s.checkpoint, 8));
    checkpoint_close(s.checkpoint);
    expect_checkpoint(8, now);
    s.checkpoint = checkpoint_open(&s.stage, "test", s.model, s.optimizer, s.record);
    end(&s);
    free(then);
    free(now);
    free(bytes);
    free(pipe);
    free(path);
}

/* As many as the disk takes, one after the other; the last that was taken is the one that is read. */
static void checkpoints_follow_one_another(void **unused)
{
    (void)unused;
    struct training_state s;
    float *last = NULL;
    long taken = 0;
    begin(&s);
    for (long step = 0; step < 20; step++) {
        take_step(&s, step);
        float *values = numbers(&s);
        if (checkpoint_write(s.checkpoint, step + 1)) {
            taken = step + 1;
            free(last);
            last = values;
        } else {
            free(values);
        }
    }
    end(&s);
    assert_true(taken > 0);
    expect_checkpoint(taken, last);
    free(last);
}

static void another_key_is_passed_over(void **unused)
{
    (void)unused;
    struct training_state s;
    begin(&s);
    take_step(&s, 0);
    assert_true(checkpoint_write(s.checkpoint, 1));
    end(&s);
    begin(&s);
    s.stage.key = "another";
    assert_int_equal(checkpoint_read(s.checkpoint), 0);
    s.stage.key = "a key";
    s.stage.resume = false;
    assert_int_equal(checkpoint_read(s.checkpoint), 0);
    s.stage.resume = true;
    assert_int_equal(checkpoint_read(s.checkpoint), 1);
    end(&s);
}

/* Copies the checkpoint to a file of another name, or back. */
static void copy(const char *from, const char *to)
{
    char *command = text_format("cp '%s/checkpoints/%s' '%s/checkpoints/%s'", folder, from, folder, to);
    assert_int_equal(system(command), 0);
    free(command);
}

/* A checkpoint with a flipped bit, one that ends early and one that has no sum: each is removed, and the stage begins from
   its start. */
static void a_damaged_one_is_removed(void **unused)
{
    (void)unused;
    struct training_state s;
    char *path = folder_path("checkpoints/test.safetensors");
    begin(&s);
    take_step(&s, 0);
    assert_true(checkpoint_write(s.checkpoint, 1));
    end(&s);
    copy("test.safetensors", "whole");
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    const long places[] = {0, 20, 60, 200, status.st_size / 2, status.st_size - 1, -5, -status.st_size};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        copy("whole", "test.safetensors");
        FILE *stream = fopen(path, "r+b");
        if (places[i] >= 0) {
            fseek(stream, places[i], SEEK_SET);
            int byte = fgetc(stream);
            fseek(stream, places[i], SEEK_SET);
            fputc(byte ^ 4, stream);
        } else {
            assert_int_equal(ftruncate(fileno(stream), status.st_size + places[i]), 0);
        }
        fclose(stream);
        begin(&s);
        assert_int_equal(checkpoint_read(s.checkpoint), 0);
        assert_int_equal(record_tokens(s.record), 0);
        assert_false(file_exists(path));
        end(&s);
    }
    copy("whole", "test.safetensors");
    begin(&s);
    assert_int_equal(checkpoint_read(s.checkpoint), 1);
    assert_string_equal(record_curve(s.record, ""), "step\tloss\n1\t0\n");
    end(&s);
    free(path);
}

/* A checkpoint of the same key, but of a model with other numbers: whoever gives no key may come upon one. */
static void one_of_another_model_is_removed(void **unused)
{
    (void)unused;
    struct training_state s;
    size_t one = 1;
    char *path = folder_path("checkpoints/test.safetensors");
    file_make_folder(folder_path("checkpoints"));
    struct safetensors_writer *writer = safetensors_create(path);
    safetensors_add(writer, "parameters", "F32", 1, &one, (float[]){1});
    for (const char *const *note = (const char *const[]){"curve", "curve-validation", NULL}; *note; note++)
        safetensors_note(writer, *note, "");
    safetensors_note(writer, "key", "a key");
    safetensors_note(writer, "progress", "3 1.5 300");
    safetensors_commit(writer);
    begin(&s);
    assert_int_equal(checkpoint_read(s.checkpoint), 0);
    assert_false(file_exists(path));
    end(&s);
    free(path);
}

/* What a checkpoint copies: the parameters and two moments. */
static void its_copy_is_counted(void **unused)
{
    (void)unused;
    struct shape shape = model_shape("tests/fixtures/distilbert-tiny");
    struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
    struct kernels gpu = *k; /* whose memory is another */
    assert_int_equal(checkpoint_bytes(k, &plan), 12 * plan.size);
    assert_int_equal(checkpoint_bytes(&gpu, &plan), 0);
    parameters_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_copy_is_counted),
        cmocka_unit_test_setup_teardown(steps_go_on_while_the_disk_stands_still, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(checkpoints_follow_one_another, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(another_key_is_passed_over, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_damaged_one_is_removed, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(one_of_another_model_is_removed, folder_make, folder_remove),
    };
    k = device_open("cpu");
    alarm(120); /* a step that waits for the pipe would wait for ever */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
