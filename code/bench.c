/* Tangled from chapters/58-bench.md; edit there. */
#include "distill.h"
#include "estimate.h"
#include "fail.h"
#include "file.h"
#include "model.h"
#include "safetensors.h"
#include "task.h"
#include "training.h"
#include "watch.h"

#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCES = 200, STEPS = 10, ROUNDS = 3 };

static const char usage[] =
    "usage: distil bench --profile FILE --run DIR --data DIR --student NAME\n"
    "                    --model DIR --full FILE --published FILE [--teacher DIR]\n"
    "                    [--key HASH] [--SECTION.SETTING VALUE …]\n\n"
    "Measures, for the teacher in --model and the run's student, one pass over\n"
    "sentences one at a time on one core and on all; the steps of distillation and\n"
    "of fine-tuning; and the rate of large products. Estimates how long the\n"
    "experiment of the profile --full takes on a T4, by the limits in --published.\n"
    "Writes bench.json in the run's folder, and bench/, the same work for another\n"
    "program.\n";

/* Name a task of the profile */
/* The first or the last task of the profile, for the caller to free. */
static char *name_task(const struct stage *stage, bool last)
{
    const char *tasks = settings_text(stage->settings, "finetune", "tasks");
    const char *space = strrchr(tasks, ' ');
    if (last)
        return text_format("%s", space ? space + 1 : tasks);
    return text_format("%.*s", (int)strcspn(tasks, " "), tasks);
}

/* Read the sentences to be timed */
/* The rows of a split; limit: how many; 0: all. */
static struct examples *read_examples(const struct stage *stage, const char *task,
                                      enum split split, int limit)
{
    char *vocabulary = text_format("%s/vocab.txt", stage->model);
    struct tokenizer *tokenizer = tokenizer_open(vocabulary);
    int length = (int)settings_count(stage->settings, "finetune", "length");
    struct examples *examples =
        task_read(task_find(task), stage->data, split, tokenizer,
                  (struct reading){.length = length, .stride = length, .limit = limit});
    tokenizer_free(tokenizer);
    free(vocabulary);
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

/* Read a model that is to judge */
static struct model *open_classifier(const struct kernels *k, const char *folder,
                                     int classes, enum learning learning)
{
    struct shape shape = model_shape(folder);
    struct parameters parameters = parameters_plan(&shape, HEAD_CLASSIFIER, classes);
    float *values = allocate(parameters.size, sizeof *values);
    bool *found = allocate((size_t)parameters.count, sizeof *found);
    model_read(folder, &parameters, values, found);
    model_initialise(&parameters, shape.initializer_range, values, found, 1);
    struct model *model =
        encoder_create(k, &shape, HEAD_CLASSIFIER, classes, values, learning);
    parameters_free(&parameters);
    free(found);
    free(values);
    return model;
}

/* Time a model on one core and on all */
static json_t *time_model(const char *folder, const struct examples *examples)
{
    const struct kernels *cpu = kernels_open("cpu");
    struct model *model = open_classifier(cpu, folder, 2, LEARN_NOTHING);
    struct batch *batch = batch_create(model->shape.positions, 1);
    int all = omp_get_num_procs();
    double best[2] = {1e30, 1e30};
    json_t *rounds = json_array();
    time_pass(model, examples, batch);
    for (int round = 0; round < 2 * ROUNDS; round++) {
        omp_set_num_threads(round % 2 ? all : 1);
        double seconds = time_pass(model, examples, batch);
        if (seconds < best[round % 2])
            best[round % 2] = seconds;
        if (round % 2 == 0)
            json_array_append_new(rounds, json_real(seconds));
    }
    omp_set_num_threads(all);
    json_t *object = json_pack("{s:I, s:f, s:o, s:f}", "parameters",
                               (json_int_t)parameters_total(&model->parameters),
                               "seconds_one_core", best[0], "rounds_one_core", rounds,
                               "seconds_all_cores", best[1]);
    batch_free(batch);
    encoder_free(model);
    return object;
}

/* Leave the same work for another program */
__attribute__((format(printf, 3, 4)))
static void leave(const struct stage *stage, const struct batch *batch,
                  const char *format, ...)
{
    char name[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    int *lengths = allocate((size_t)batch->sequences, sizeof *lengths);
    for (int s = 0; s < batch->sequences; s++)
        lengths[s] = batch->offsets[s + 1] - batch->offsets[s];
    char *path = stage_path(stage, "bench/%s.safetensors", name);
    size_t tokens = (size_t)batch->tokens, sequences = (size_t)batch->sequences;
    struct safetensors_writer *writer = safetensors_create(path);
    safetensors_add(writer, "ids", "I32", 1, &tokens, batch->ids);
    safetensors_add(writer, "labels", "I32", 1, &tokens, batch->labels);
    safetensors_add(writer, "lengths", "I32", 1, &sequences, lengths);
    safetensors_add(writer, "classes", "I32", 1, &sequences, batch->classes);
    safetensors_commit(writer);
    free(path);
    free(lengths);
}

/* Find the rate of large products */
/* Seconds for one product of squares of that size, in the quickest of a few spells. */
static double time_square(const struct kernels *k, int size)
{
    enum { SPELLS = 5 };
    const double spell = 0.03; /* seconds, at the least */
    size_t n = (size_t)size * (size_t)size;
    real *x[3];
    /* Fill two squares with random numbers */
    float *host = allocate(n, sizeof *host), *device = k->allocate(n * sizeof *host);
    for (size_t i = 0; i < n; i++)
        host[i] = 2 * random_uniform(1, i) - 1;
    k->upload(device, host, n * sizeof *host);
    for (int i = 0; i < 3; i++) {
        x[i] = k->allocate(n * k->real_size);
        k->to_real(device, x[i], n);
    }
    k->release(device);
    free(host);
    double best = 1e30;
    for (int round = 0; round <= SPELLS; round++) {
        double began = omp_get_wtime(), seconds = 0;
        int products = 0;
        for (int more = 1; seconds < spell; more *= 2) {
            for (int i = 0; i < more; i++)
                k->linear(x[0], x[1], NULL, x[2], size, size, size);
            k->wait();
            products += more;
            seconds = omp_get_wtime() - began;
        }
        if (round > 0 && seconds / products < best)
            best = seconds / products;
    }
    for (int i = 0; i < 3; i++)
        k->release(x[i]);
    return best;
}

static json_t *time_squares(const struct kernels *k, double *rate)
{
    const int largest = 4096;
    const double enough = 0.02; /* seconds of a product */
    int at = 0;
    double seconds = 0;
    *rate = 0;
    for (int size = 256; size <= largest && seconds < enough; size *= 2) {
        seconds = time_square(k, size);
        double found = 2.0 * size * size * size / seconds;
        if (found > *rate) {
            *rate = found;
            at = size;
        }
    }
    return json_pack("{s:i, s:f}", "size", at, "rate", *rate);
}

/* Take the steps that are timed */
struct timed {
    const char *name; /* of the files that hold its batches */
    int (*work)(void *context, long index, float share, struct loss_values *values);
    void *context;
    struct model *model, *teacher; /* teacher: NULL if there is none */
    const struct batch *const *batch; /* where the one lies that was worked on last */
};

/* Takes all steps once and returns how many tokens they had. stage: where to leave the
   batches; NULL: nowhere. */
static int take_steps(const struct timed *t, struct optimizer *optimizer,
                      const struct stage *stage)
{
    int tokens = 0;
    for (int step = 0; step < STEPS; step++) {
        tokens += t->work(t->context, step, 1, NULL);
        optimizer_step(optimizer, step);
        if (stage)
            leave(stage, *t->batch, "%s-%02d", t->name, step);
    }
    t->model->k->wait();
    return tokens;
}

/* Watch the steps that were timed */
/* What each family of kernels took, as JSON; in *products the FLOPs of all products. */
static json_t *watch_steps(const struct timed *t, struct optimizer *optimizer,
                           double *products)
{
    const struct kernels *k = t->model->k, *watch = watch_open(k, NULL);
    json_t *families = json_object();
    t->model->k = watch;
    if (t->teacher)
        t->teacher->k = watch;
    take_steps(t, optimizer, NULL);
    t->model->k = k;
    if (t->teacher)
        t->teacher->k = k;
    *products = watch_tally(GEMM).flops + watch_tally(ATTENTION).flops;
    for (enum kernel_family f = 0; f < FAMILIES; f++) {
        struct tally tally = watch_tally(f);
        json_object_set_new(families, watch_name(f),
                            json_pack("{s:I, s:f, s:f, s:f}", "calls",
                                      (json_int_t)tally.calls, "flops", tally.flops,
                                      "bytes", tally.bytes, "seconds", tally.seconds));
    }
    return families;
}

/* Time the steps of training */
static json_t *time_steps(const struct stage *stage, const struct timed *t, double rate)
{
    const double patience = 10; /* seconds */
    struct optimizer_settings settings = {.rate = 1e-5f, .beta1 = 0.9f, .beta2 = 0.999f,
                                          .epsilon = 1e-8f, .clip = 1, .steps = STEPS};
    struct optimizer *optimizer = optimizer_create(t->model, &settings);
    int tokens = take_steps(t, optimizer, stage);
    double best = 1e30, spent = 0;
    for (int round = 0; round < ROUNDS && spent < patience; round++) {
        double began = omp_get_wtime();
        take_steps(t, optimizer, NULL);
        double seconds = omp_get_wtime() - began;
        spent += seconds;
        if (seconds < best)
            best = seconds;
    }
    double products;
    json_t *families = watch_steps(t, optimizer, &products);
    optimizer_free(optimizer);
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:o}", "tokens", tokens, "steps", STEPS,
                     "seconds", best, "tokens_per_second", tokens / best, "share",
                     products / best / rate, "families", families);
}

/* Time the distillation step */
static json_t *time_distillation(const struct stage *stage, struct distillation *d,
                                 double rate)
{
    struct timed timed = {"batch", distillation_work, d, d->student, d->teacher,
                          &d->feed.batch};
    return time_steps(stage, &timed, rate);
}

/* Time the fine-tuning step */
struct judging {
    struct examples *examples;
    int *order, size; /* of the examples; examples in a batch */
    struct batch *batch;
    struct model *model;
};

static int judge(void *context, long index, float share, struct loss_values *values)
{
    struct judging *j = context;
    int first = (int)index * j->size % j->examples->count;
    examples_batch(j->examples, j->order, first, j->size, j->batch, 0);
    uint64_t key = random_key(1, (uint64_t)index, 0);
    classification_step(j->model, j->batch, key, share, values);
    return j->batch->tokens;
}

static json_t *time_finetuning(const struct stage *stage, const struct kernels *k,
                               double rate)
{
    struct settings *s = stage->settings;
    struct judging j = {.size = (int)settings_count(s, "finetune", "batch")};
    int length = (int)settings_count(s, "finetune", "length");
    char *task = name_task(stage, true);
    int classes = task_find(task)->classes;
    j.examples = read_examples(stage, task, TRAIN, STEPS * j.size);
    j.order = batch_order(j.examples->count, 1, 0);
    j.batch = batch_create(length * j.size, j.size);
    j.model = open_classifier(k, stage->model, classes, LEARN_ALL);
    const struct batch *batch = j.batch;
    struct timed timed = {"task", judge, &j, j.model, NULL, &batch};
    json_t *object = time_steps(stage, &timed, rate);
    encoder_free(j.model);
    batch_free(j.batch);
    examples_free(j.examples);
    free(j.order);
    free(task);
    return object;
}

/* Run the benchmark */
/* Write what the benchmark found */
static void write_bench(const struct stage *stage, const json_t *object)
{
    char *path = stage_path(stage, "bench.json");
    struct file_writer *writer = file_create(path);
    json_dumpf(object, file_stream(writer), JSON_INDENT(2) | JSON_SORT_KEYS);
    fputc('\n', file_stream(writer));
    file_commit(writer);
    free(path);
}

static double number(const json_t *object, const char *member, const char *key)
{
    return json_number_value(json_object_get(json_object_get(object, member), key));
}

static void print_bench(const json_t *object)
{
    const json_t *d = json_object_get(object, "distillation");
    const json_t *f = json_object_get(object, "finetuning");
    const json_t *t4 = json_object_get(object, "estimate");
    printf("%s: %.1f GFLOP/s in squares of %.0f\n\n%-20s%16s%16s%16s\n",
           json_string_value(json_object_get(object, "device")),
           1e-9 * number(object, "squares", "rate"), number(object, "squares", "size"),
           "", "distillation", "fine-tuning", "T4, estimated");
    printf("%-20s%16.0f%16.0f\n", "tokens per second",
           number(object, "distillation", "tokens_per_second"),
           number(object, "finetuning", "tokens_per_second"));
    printf("%-20s%14.0f %%%14.0f %%\n", "of that rate",
           100 * number(object, "distillation", "share"),
           100 * number(object, "finetuning", "share"));
    for (enum kernel_family i = 0; i < FAMILIES; i++) {
        const char *name = watch_name(i);
        printf("%-20s%13.3f ms%13.3f ms%12.1f min\n", name,
               1e3 / STEPS * number(json_object_get(d, "families"), name, "seconds"),
               1e3 / STEPS * number(json_object_get(f, "families"), name, "seconds"),
               number(json_object_get(t4, "families"), name, "minutes"));
    }
    printf("%-20s%16s%16s%12.1f min\n\n", "all", "", "",
           number(object, "estimate", "minutes"));
    /* Print the times of the sentences */
    const json_t *models = json_object_get(object, "models");
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "teacher" : "student";
        printf("%s, sentence by sentence: %.3f s on one core, %.3f s on all\n", name,
               number(models, name, "seconds_one_core"),
               number(models, name, "seconds_all_cores"));
    }
}

int bench_main(int argc, char **argv)
{
    const char *required =
        "--profile --run --data --student --model --full --published";
    struct stage stage = stage_open(argc, argv, usage, required);
    json_t *object = json_object(), *models = json_object();
    /* Estimate what a T4 would need */
    json_error_t error;
    json_t *published = json_load_file(stage.published, 0, &error);
    json_t *aims = json_object();
    if (!published)
        fail(stage.published, "line %d: %s", error.line, error.text);
    struct settings *full = settings_open(stage.full);
    json_object_set_new(object, "estimate", estimate_experiment(full, published));
    settings_close(full);
    static const char *const goals[] = {"course", "practice", "share", "minutes"};
    for (int i = 0; i < 4; i++) {
        char *path = text_format("aims.%s", goals[i]);
        double aim = published_number(published, path);
        json_object_set_new(aims, goals[i], json_real(aim));
        free(path);
    }
    json_object_set_new(object, "aims", aims);
    json_decref(published);
    /* Time the models on sentences */
    char *student = stage_path(&stage, "models/%s", stage.student);
    char *task = name_task(&stage, false);
    struct examples *examples = read_examples(&stage, task, DEV, 0);
    int sentences = examples->count < SENTENCES ? examples->count : SENTENCES;
    struct batch *batch = batch_create((int)examples->starts[sentences], sentences);
    examples_batch(examples, NULL, 0, sentences, batch, 0);
    leave(&stage, batch, "sentences");
    json_object_set_new(models, "teacher", time_model(stage.model, examples));
    json_object_set_new(models, "student", time_model(student, examples));
    json_object_set_new(object, "models", models);
    json_object_set_new(object, "sentences", json_integer(sentences));
    json_object_set_new(object, "tokens",
                        json_integer((json_int_t)examples->starts[sentences]));
    examples_free(examples);
    batch_free(batch);
    free(student);
    free(task);
    double rate;
    struct distillation *d = distillation_open(&stage);
    const struct kernels *k = d->student->k;
    json_object_set_new(object, "squares", time_squares(k, &rate));
    json_object_set_new(object, "distillation", time_distillation(&stage, d, rate));
    distillation_close(d);
    json_object_set_new(object, "finetuning", time_finetuning(&stage, k, rate));
    json_object_set_new(object, "key", json_string(stage.key));
    json_object_set_new(object, "device", json_string(stage_device()));
    json_object_set_new(object, "gpu", json_string(k == kernels_cpu() ? "no" : "yes"));
    json_object_set_new(object, "threads", json_integer(omp_get_num_procs()));
    write_bench(&stage, object);
    print_bench(object);
    json_decref(object);
    stage_close(&stage);
    return 0;
}
