/* Tangled from chapters/60-bench.md; edit there. */
#include "bench.h"
#include "benchmark.h"
#include "device.h"
#include "distill.h"
#include "estimate.h"
#include "fail.h"
#include "json.h"
#include "model.h"
#include "safetensors.h"
#include "said.h"
#include "seal.h"
#include "task.h"
#include "training.h"
#include "watch.h"

#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 10, ROUNDS = 3 };

/* State the usage of the benchmark */
static const char usage[] =
    "usage: distil bench --profile FILE --run DIR --data DIR --student NAME\n"
    "                    --model DIR --full FILE --published FILE [--teacher DIR]\n"
    "                    [--key HASH] [--SECTION.SETTING VALUE …]\n\n"
    "Measures, for the teacher in --model and the run's student, one pass over a\n"
    "development set (STS-B's, or else that of the first task of pairs), a row at a\n"
    "time, on one core and on all, with as many of its rows as fit into a minute;\n"
    "the steps of distillation and of fine-tuning; and the rate of large products.\n"
    "Estimates how long the experiment of the profile --full takes on a T4, by the\n"
    "limits in --published. Writes bench.json in the run's folder, and bench/, the\n"
    "same work for another program.\n";

/* Choose a task of the profile */
/* The task of that name, if the profile lists it; else its first task, or, of pairs,
   the first that has two texts; each only if its data is there. */
static const struct planned_task *choose_task(const struct stage *stage,
                                              const char *name, bool pairs)
{
    const struct plan *plan = stage->plan;
    const struct planned_task *first = NULL, *pair = NULL;
    for (int i = plan->task_count - 1; i >= 0; i--) {
        const struct planned_task *task = &plan->tasks[i];
        if (!task_is_there(task->task, stage->data))
            continue;
        if (!strcmp(task->task->name, name))
            return task;
        first = task;
        pair = task->task->second ? task : pair;
    }
    if (!first)
        fail(stage->data, "expected the data of one of the tasks of [finetune]");
    return pairs && pair ? pair : first;
}

/* Read the rows to be timed */
/* The rows of a split; limit: how many; 0: all. */
static struct examples *read_examples(const struct stage *stage,
                                      const struct planned_task *planned,
                                      enum split split, int limit)
{
    struct tokenizer *tokenizer = tokenizer_open(stage->model);
    struct reading reading = {
        .length = planned->length, .stride = planned->length, .limit = limit};
    struct examples *examples =
        task_read(planned->task, stage->data, split, tokenizer, reading);
    tokenizer_free(tokenizer);
    return examples;
}

/* Read a model that is to judge */
static struct model *open_classifier(const struct kernels *k, const char *folder,
                                     const struct task *task, enum learning learning)
{
    int classes = task->answer == A_SPAN ? 2 : task->classes;
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

/* Choose the rows of a pass */
enum { TENTHS = 10, MINUTE = 60 };

/* `chosen` of count rows, evenly spread. */
static int *spread_rows(int count, int chosen)
{
    int *rows = allocate((size_t)chosen, sizeof *rows);
    for (int i = 0; i < chosen; i++)
        rows[i] = (int)((long)count * i / chosen);
    return rows;
}

int *bench_rows(int count, double each, int *chosen)
{
    double room = each > 0 ? MINUTE / each : count;
    *chosen = room < TENTHS ? TENTHS : room < count ? (int)room : count;
    *chosen = *chosen < count ? *chosen : count;
    return spread_rows(count, *chosen);
}

/* Time a few rows, one at a time */
enum { MOST_CLASSES = 3 };

struct pass {
    const struct examples *examples;
    int *rows, count; /* which of them, in order */
};

/* A model on its way through the rows. */
struct runner {
    const char *name;
    struct model *model;
    struct batch *batch;
    double seconds[2][TENTHS]; /* on one core and on all; 0: not yet there */
};

/* Seconds for rows first .. end-1 of the pass. */
static double time_rows(struct runner *r, const struct pass *pass, int first, int end)
{
    float logits[MOST_CLASSES];
    double began = omp_get_wtime();
    for (int i = first; i < end && i < pass->count; i++) {
        examples_batch(pass->examples, pass->rows, i, 1, r->batch, 0);
        classification_predict(r->model, r->batch, logits);
    }
    return omp_get_wtime() - began;
}

/* Go over all rows with both models */
/* Takes one round, keeps what was quicker than before, and returns its seconds. */
static double take_round(struct runner runners[2], const struct pass *pass)
{
    double began = omp_get_wtime();
    for (int part = 0; part < TENTHS; part++) {
        int first = (int)((long)pass->count * part / TENTHS);
        int end = (int)((long)pass->count * (part + 1) / TENTHS);
        for (int i = 0; i < 4; i++) {
            struct runner *r = &runners[i % 2];
            double *kept = &r->seconds[i / 2][part];
            omp_set_num_threads(i < 2 ? 1 : omp_get_num_procs());
            double seconds = time_rows(r, pass, first, end);
            if (*kept == 0 || seconds < *kept)
                *kept = seconds;
        }
    }
    return omp_get_wtime() - began;
}

/* Time the teacher and the student */
static struct pass plan_pass(struct runner runners[2], const struct examples *examples)
{
    enum { WARMING = 20 };
    int few = examples->count < WARMING ? examples->count : WARMING;
    struct pass warming = {examples, spread_rows(examples->count, few), few};
    for (int i = 0; i < 2; i++)
        time_rows(&runners[i], &warming, 0, few);
    double seconds = take_round(runners, &warming);
    struct pass pass = {.examples = examples};
    pass.rows = bench_rows(examples->count, seconds / few, &pass.count);
    memset(runners[0].seconds, 0, sizeof runners[0].seconds);
    memset(runners[1].seconds, 0, sizeof runners[1].seconds);
    free(warming.rows);
    return pass;
}

static json_t *runner_json(const struct runner *r)
{
    double one = 0, all = 0;
    json_t *parts = json_array();
    for (int part = 0; part < TENTHS; part++) {
        one += r->seconds[0][part];
        all += r->seconds[1][part];
        json_array_append_new(parts, json_real(r->seconds[0][part]));
    }
    return json_pack("{s:I, s:f, s:o, s:f}", "parameters",
                     (json_int_t)parameters_total(&r->model->parameters),
                     "seconds_one_core", one, "parts_one_core", parts,
                     "seconds_all_cores", all);
}

/* pass: takes which rows were gone over. */
static json_t *time_models(const char *teacher, const char *student,
                           const struct task *task, const struct examples *examples,
                           struct pass *pass)
{
    const double patience = 10; /* seconds after which no other round begins */
    const struct kernels *cpu = device_open("cpu");
    const char *const folders[] = {teacher, student};
    struct runner runners[2] = {{.name = "teacher"}, {.name = "student"}};
    json_t *models = json_object();
    for (int i = 0; i < 2; i++) {
        runners[i].model = open_classifier(cpu, folders[i], task, LEARN_NOTHING);
        runners[i].batch = batch_create(runners[i].model->shape.positions, 1);
    }
    *pass = plan_pass(runners, examples);
    fprintf(stderr, "bench: %d of %d rows, one at a time\n", pass->count,
            examples->count);
    double spent = 0;
    for (int round = 0; round < ROUNDS && spent < patience; round++)
        spent += take_round(runners, pass);
    /* Report both models and let them go */
    for (int i = 0; i < 2; i++) {
        json_object_set_new(models, runners[i].name, runner_json(&runners[i]));
        batch_free(runners[i].batch);
        encoder_free(runners[i].model);
    }
    return models;
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
        /* Multiply until a spell is over */
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

/* Find the limits of this machine */
struct limits {
    struct machine machine;
    double waiting; /* seconds that a wait after an operation adds to it */
};

/* Seconds an operation on a handful of numbers takes, in the quickest of a few rows;
   waiting: for each. */
static double time_trifle(const struct kernels *k, bool waiting)
{
    enum { TRIFLES = 1000, HANDFUL = 16 };
    real *x = k->allocate(HANDFUL * k->real_size);
    real *y = k->allocate(HANDFUL * k->real_size);
    double best = 1e30;
    for (int round = 0; round <= ROUNDS; round++) {
        double began = omp_get_wtime();
        for (int i = 0; i < TRIFLES; i++) {
            k->add(x, y, HANDFUL);
            if (waiting)
                k->wait();
        }
        k->wait();
        double each = (omp_get_wtime() - began) / TRIFLES;
        best = round > 0 && each < best ? each : best;
    }
    k->release(y);
    k->release(x);
    return best;
}

/* Bytes read and written in a second of copying, in the quickest of a few spells. */
static double time_copy(const struct kernels *k)
{
    enum { COPIES = 10 };
    const size_t bytes = (size_t)1 << 28;
    void *from = k->allocate(bytes), *to = k->allocate(bytes);
    double best = 1e30;
    for (int round = 0; round <= ROUNDS; round++) {
        double began = omp_get_wtime();
        for (int i = 0; i < COPIES; i++)
            k->copy(to, from, bytes);
        k->wait();
        double each = (omp_get_wtime() - began) / COPIES;
        best = round > 0 && each < best ? each : best;
    }
    k->release(to);
    k->release(from);
    return 2 * (double)bytes / best;
}

static struct limits find_limits(const struct kernels *k, double rate)
{
    double launch = time_trifle(k, false);
    return (struct limits){.machine = {.real_size = k->real_size, .gemm = rate,
                                       .other = INFINITY, .bandwidth = time_copy(k),
                                       .launch = launch},
                           .waiting = time_trifle(k, true) - launch};
}

static json_t *limits_json(const struct limits *limits)
{
    return json_pack("{s:f, s:f, s:f}", "bandwidth", limits->machine.bandwidth,
                     "launch", limits->machine.launch, "waiting", limits->waiting);
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
static json_t *family_json(struct tally tally, double waiting)
{
    double seconds = tally.seconds - (double)tally.calls * waiting;
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "calls", (json_int_t)tally.calls,
                     "flops", tally.flops, "bytes", tally.bytes, "seconds",
                     seconds > 0 ? seconds : 0, "counted", tally.estimate);
}

/* What each family of kernels took, as JSON; in *products the FLOPs of all products. */
static json_t *watch_steps(const struct timed *t, struct optimizer *optimizer,
                           const struct limits *limits, double *products)
{
    const struct kernels *k = t->model->k, *watch = watch_open(k, &limits->machine);
    json_t *families = json_object();
    t->model->k = watch;
    if (t->teacher)
        t->teacher->k = watch;
    take_steps(t, optimizer, NULL);
    t->model->k = k;
    if (t->teacher)
        t->teacher->k = k;
    *products = watch_tally(GEMM).flops + watch_tally(ATTENTION).flops;
    for (enum kernel_family f = 0; f < FAMILIES; f++)
        json_object_set_new(families, watch_name(f),
                            family_json(watch_tally(f), limits->waiting));
    return families;
}

/* Time the steps of training */
static const struct optimizer_settings pace = {
    .rate = 1e-5f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .clip = 1,
    .steps = STEPS, .batches = 1,
};

/* Seconds of all steps, in the quickest round. first: what they took to get ready; on a
   slow machine it is all that is known. */
static double time_rounds(const struct timed *t, struct optimizer *optimizer,
                          double first)
{
    const double patience = 10; /* seconds */
    bool slow = first >= patience;
    double best = slow ? first : 1e30, spent = slow ? first : 0;
    for (int round = 0; round < ROUNDS && spent < patience; round++) {
        double began = omp_get_wtime();
        take_steps(t, optimizer, NULL);
        double seconds = omp_get_wtime() - began;
        spent += seconds;
        if (seconds < best)
            best = seconds;
    }
    return best;
}

static json_t *time_steps(const struct stage *stage, const struct timed *t,
                          const struct limits *limits)
{
    struct optimizer *optimizer = optimizer_create(t->model, &pace);
    double began = omp_get_wtime(), products;
    int tokens = take_steps(t, optimizer, stage);
    double best = time_rounds(t, optimizer, omp_get_wtime() - began);
    json_t *families = watch_steps(t, optimizer, limits, &products);
    optimizer_free(optimizer);
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:o}", "tokens", tokens, "steps", STEPS,
                     "seconds", best, "tokens_per_second", tokens / best, "share",
                     products / best / limits->machine.gemm, "families", families);
}

/* Time the distillation step */
static json_t *time_distillation(const struct stage *stage, struct distillation *d,
                                 const struct limits *limits)
{
    struct timed timed = {"batch", distillation_work, d, d->student, d->teacher,
                          &d->batch};
    d->batches = STEPS;
    json_t *object = time_steps(stage, &timed, limits);
    if (d->student->k->lanes > 1) {
        struct optimizer *optimizer = optimizer_create(d->student, &pace);
        d->batches = 0;
        json_object_set_new(object, "seconds_in_turn",
                            json_real(time_rounds(&timed, optimizer, 0)));
        optimizer_free(optimizer);
    }
    return object;
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
                               const struct limits *limits)
{
    const struct planned_task *planned = choose_task(stage, "imdb", false);
    struct judging j = {.size = planned->recipe.batch};
    j.examples = read_examples(stage, planned, TRAIN, STEPS * j.size);
    j.order = batch_order(j.examples->count, 1, 0);
    j.batch = batch_create(planned->length * j.size, j.size);
    j.model = open_classifier(k, stage->model, planned->task, LEARN_ALL);
    const struct batch *batch = j.batch;
    struct timed timed = {"task", judge, &j, j.model, NULL, &batch};
    json_t *object = time_steps(stage, &timed, limits);
    encoder_free(j.model);
    batch_free(j.batch);
    examples_free(j.examples);
    free(j.order);
    return object;
}

/* Run the benchmark */
/* Write what the benchmark found */
static void write_bench(const struct stage *stage, json_t *object)
{
    char *path = stage_path(stage, "bench.json");
    seal_write(path, object);
    free(path);
}

static void print_bench(const json_t *bench)
{
    json_t *told = benchmark_told(bench), *family;
    const char *name;
    printf("%s: %.3f TFLOP/s in squares of %.0f\n\n%-24s%16s%16s%16s\n",
           text_at(told, "device", ""), number_at(told, "squares/teraflops"),
           number_at(told, "squares/size"), "", "distillation", "fine-tuning",
           "T4, estimated");
    printf("%-24s%16.0f%16.0f\n%-24s%14.0f %%%14.0f %%\n", "tokens per second",
           number_at(told, "distillation/tokens_per_second"),
           number_at(told, "finetuning/tokens_per_second"), "of that rate",
           number_at(told, "distillation/percent"),
           number_at(told, "finetuning/percent"));
    printf("%-24s%14.0f %% with batches of %.0f; these are of %.0f\n", "the aim",
           number_at(told, "aims/share"), number_at(told, "aimed_batch"),
           number_at(told, "batch"));
    json_object_foreach(json_at(told, "estimate/families"), name, family) {
        const char *of_step = say("families/%s/milliseconds", name);
        printf("%-24s%13.3f ms%13.3f ms%12.1f min\n", text_at(family, "title", name),
               number_at(told, say("distillation/%s", of_step)),
               number_at(told, say("finetuning/%s", of_step)),
               number_at(family, "minutes"));
    }
    printf("%-24s%16s%16s%12.1f min\n\n", "all", "", "",
           number_at(told, "estimate/minutes"));
    /* Print the times of the pass */
    static const char *const models[] = {"teacher", "student"};
    printf("one pass over %.0f of the %.0f rows of %s's development set, a row at a time\n",
           number_at(told, "pass/rows"), number_at(told, "pass/whole"),
           text_at(told, "pass/title", ""));
    for (int i = 0; i < 2; i++)
        printf("%-24s%14.3f s on one core%14.3f s on all\n", models[i],
               number_at(told, say("models/%s/seconds_one_core", models[i])),
               number_at(told, say("models/%s/seconds_all_cores", models[i])));
    json_decref(told);
    forget();
}

int bench_main(int argc, char **argv)
{
    const char *required =
        "--profile --run --data --student --model --full --published";
    struct stage stage = stage_open(argc, argv, usage, required);
    json_t *object = json_object();
    /* Estimate what a T4 would need */
    json_error_t error;
    json_t *published = json_load_file(stage.published, 0, &error);
    json_t *aims = json_object();
    if (!published)
        fail(stage.published, "line %d: %s", error.line, error.text);
    struct plan *full = plan_open(settings_open(stage.full));
    json_object_set_new(object, "estimate", estimate_experiment(full, published));
    plan_close(full);
    static const char *const goals[] = {"course",     "practice", "share",
                                        "minutes",    "batch",    "large-batch",
                                        "processors"};
    for (int i = 0; i < 7; i++) {
        char *path = text_format("aims.%s", goals[i]);
        double aim = published_number(published, path);
        json_object_set_new(aims, goals[i], json_real(aim));
        free(path);
    }
    json_object_set_new(object, "aims", aims);
    json_decref(published);
    /* Time one pass over a development set */
    char *student = stage_path(&stage, "models/%s", stage.student);
    const struct planned_task *planned = choose_task(&stage, "stsb", true);
    const struct task *task = planned->task;
    struct examples *examples = read_examples(&stage, planned, DEV, 0);
    struct pass pass;
    json_object_set_new(object, "models",
                        time_models(stage.model, student, task, examples, &pass));
    struct batch *batch = batch_create((int)examples->starts[examples->count], pass.count);
    examples_batch(examples, pass.rows, 0, pass.count, batch, 0);
    leave(&stage, batch, "pass");
    char *title = text_format(stage.plan->toyland ? "toy %s" : "%s", task->title);
    json_object_set_new(object, "pass",
                        json_pack("{s:s, s:i, s:i, s:i}", "title", title, "rows",
                                  pass.count, "whole", examples->count, "tokens",
                                  batch->tokens));
    free(pass.rows);
    examples_free(examples);
    batch_free(batch);
    free(student);
    free(title);
    /* Time the steps on this device */
    double rate;
    struct distillation *d = distillation_open(&stage);
    const struct kernels *k = d->student->k;
    int distilled = d->feed.sequence_room;
    json_object_set_new(object, "squares", time_squares(k, &rate));
    struct limits limits = find_limits(k, rate);
    json_object_set_new(object, "limits", limits_json(&limits));
    fprintf(stderr, "bench: steps of distillation\n");
    json_object_set_new(object, "distillation", time_distillation(&stage, d, &limits));
    distillation_close(d);
    fprintf(stderr, "bench: steps of fine-tuning\n");
    json_object_set_new(object, "finetuning", time_finetuning(&stage, k, &limits));
    /* Say for which batches the aim is */
    bool large = k->processors > number_at(object, "aims/processors");
    json_object_set(object, "aimed_batch",
                    json_object_get(aims, large ? "large-batch" : "batch"));
    json_object_set_new(object, "batch", json_integer(distilled));
    json_object_set_new(object, "key", json_string(stage.key));
    json_object_set_new(object, "device", json_string(stage_device()));
    json_object_set_new(object, "gpu", json_string(k == kernels_cpu() ? "no" : "yes"));
    json_object_set_new(object, "threads", json_integer(omp_get_num_procs()));
    json_object_set_new(object, "files", json_object()); /* its batches are no result */
    write_bench(&stage, object);
    print_bench(object);
    json_decref(object);
    stage_close(&stage);
    return 0;
}
