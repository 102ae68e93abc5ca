/* Tangled from chapters/58-bench.md; edit there. */
#include "distill.h"
#include "fail.h"
#include "file.h"
#include "model.h"
#include "safetensors.h"
#include "task.h"
#include "training.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCES = 200, STEPS = 12, ROUNDS = 3 };

static const char usage[] =
    "usage: distil bench --profile FILE --run DIR --data DIR --student NAME\n"
    "                    --model DIR [--teacher DIR] [--key HASH]\n"
    "                    [--SECTION.SETTING VALUE …]\n\n"
    "Measures, for the teacher in --model and the run's student, one pass over\n"
    "sentences one at a time on one core and on all; and the distillation step.\n"
    "Writes bench.json in the run's folder, and bench/, the same batches and\n"
    "sentences for another program to be measured on.\n";

/* Read the sentences to be timed */
static struct examples *read_sentences(const struct stage *stage, const char *folder)
{
    char *tasks = text_format("%s",
                              settings_text(stage->settings, "finetune", "tasks"));
    tasks[strcspn(tasks, " ")] = '\0';
    char *vocabulary = text_format("%s/vocab.txt", folder);
    struct tokenizer *tokenizer = tokenizer_open(vocabulary);
    int length = (int)settings_count(stage->settings, "finetune", "length");
    struct examples *examples =
        task_read(task_find(tasks), stage->data, DEV, tokenizer, length, 0);
    tokenizer_free(tokenizer);
    free(vocabulary);
    free(tasks);
    return examples;
}

/* Time one pass over the sentences */
static double time_pass(struct model *model, const struct examples *examples,
                        struct batch *batch)
{
    float logits[2];
    double began = omp_get_wtime();
    for (int i = 0; i < examples->count && i < SENTENCES; i++) {
        examples_batch(examples, NULL, i, 1, batch, 0);
        classification_predict(model, batch, logits);
    }
    return omp_get_wtime() - began;
}

/* Time a model on one core and on all */
static json_t *time_model(const char *folder, const struct examples *examples)
{
    struct shape shape = model_shape(folder);
    struct parameters parameters = parameters_plan(&shape, HEAD_CLASSIFIER, 2);
    float *values = allocate(parameters.size, sizeof *values);
    bool *found = allocate((size_t)parameters.count, sizeof *found);
    model_read(folder, &parameters, values, found);
    model_initialise(&parameters, shape.initializer_range, values, found, 1);
    struct model *model = encoder_create(kernels_open("cpu"), &shape, HEAD_CLASSIFIER,
                                         2, values, LEARN_NOTHING);
    struct batch *batch = batch_create(shape.positions, 1);
    int all = omp_get_num_procs();
    double best[2] = {1e30, 1e30};
    time_pass(model, examples, batch);
    for (int round = 0; round < 2 * ROUNDS; round++) {
        omp_set_num_threads(round % 2 ? all : 1);
        double seconds = time_pass(model, examples, batch);
        if (seconds < best[round % 2])
            best[round % 2] = seconds;
    }
    omp_set_num_threads(all);
    json_t *object = json_pack(
        "{s:I, s:f, s:f}", "parameters", (json_int_t)parameters_total(&parameters),
        "seconds_one_core", best[0], "seconds_all_cores", best[1]);
    /* Free what timing a model took */
    batch_free(batch);
    encoder_free(model);
    parameters_free(&parameters);
    free(found);
    free(values);
    return object;
}

/* Leave the same work for another program */
static void leave(const struct stage *stage, const char *name,
                  const struct batch *batch)
{
    int *lengths = allocate((size_t)batch->sequences, sizeof *lengths);
    for (int s = 0; s < batch->sequences; s++)
        lengths[s] = batch->offsets[s + 1] - batch->offsets[s];
    char *path = stage_path(stage, "bench/%s.safetensors", name);
    size_t tokens = (size_t)batch->tokens, sequences = (size_t)batch->sequences;
    struct safetensors_writer *writer = safetensors_create(path);
    safetensors_add(writer, "ids", "I32", 1, &tokens, batch->ids);
    safetensors_add(writer, "labels", "I32", 1, &tokens, batch->labels);
    safetensors_add(writer, "lengths", "I32", 1, &sequences, lengths);
    safetensors_commit(writer);
    free(path);
    free(lengths);
}

/* Time the distillation step */
static json_t *time_distillation(const struct stage *stage, struct distillation *d)
{
    enum { WARM_UP = 2 };
    struct optimizer_settings settings = {.rate = 1e-5f, .beta1 = 0.9f, .beta2 = 0.999f,
                                          .epsilon = 1e-8f, .clip = 1, .steps = STEPS};
    struct optimizer *optimizer = optimizer_create(d->student, &settings);
    double began = 0;
    int64_t tokens = 0;
    for (int step = 0; step < STEPS; step++) {
        struct loss_values values;
        if (step == WARM_UP) {
            began = omp_get_wtime();
            tokens = 0;
        }
        tokens += distillation_work(d, step, 1, step == STEPS - 1 ? &values : NULL);
        optimizer_step(optimizer, step);
        /* Leave the batch for another program */
        double paused = omp_get_wtime();
        char *name = text_format("batch-%02d", step);
        leave(stage, name, d->feed.batch);
        free(name);
        began += omp_get_wtime() - paused;
    }
    double seconds = omp_get_wtime() - began;
    optimizer_free(optimizer);
    return json_pack("{s:I, s:i, s:f, s:f}", "tokens", (json_int_t)tokens, "steps",
                     STEPS - WARM_UP, "seconds", seconds, "tokens_per_second",
                     (double)tokens / seconds);
}

/* Run the benchmark */
int bench_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage,
                                    "--profile --run --data --student --model");
    char *student = stage_path(&stage, "models/%s", stage.student);
    struct examples *examples = read_sentences(&stage, stage.model);
    int sentences = examples->count < SENTENCES ? examples->count : SENTENCES;
    struct batch *batch = batch_create((int)examples->starts[sentences], sentences);
    examples_batch(examples, NULL, 0, sentences, batch, 0);
    leave(&stage, "sentences", batch);
    struct distillation *d = distillation_open(&stage);
    json_t *object = json_pack(
        "{s:s, s:s, s:i, s:i, s:I, s:{s:o, s:o}, s:o}", "key", stage.key, "device",
        stage_device(), "threads", omp_get_num_procs(), "sentences", sentences,
        "tokens", (json_int_t)examples->starts[sentences], "models", "teacher",
        time_model(stage.model, examples), "student", time_model(student, examples),
        "distillation", time_distillation(&stage, d));
    /* Write what the benchmark found */
    char *path = stage_path(&stage, "bench.json");
    struct file_writer *writer = file_create(path);
    json_dumpf(object, file_stream(writer), JSON_INDENT(2) | JSON_SORT_KEYS);
    fputc('\n', file_stream(writer));
    file_commit(writer);
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(object);
    free(path);
    distillation_close(d);
    examples_free(examples);
    batch_free(batch);
    free(student);
    stage_close(&stage);
    return 0;
}
