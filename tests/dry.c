/* A dry run of the profile full at real size, in both precisions, on a GPU that is not here: the models of BERT-base's
   shape are opened, trained and asked as the profile says, by the GPU's tables, and the harness (tests/cuda) checks
   each launch, copy and product against what a GPU takes, without doing it. The device has as much memory as a T4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "catch.h"
#include "device.h"
#include "distill.h"
#include "estimate.h"
#include "fail.h"
#include "model.h"
#include "optimizer.h"
#include "pretrain.h"
#include "task.h"
#include "theseus.h"

/* of tests/cuda/harness.h */
void harness_dry(size_t bytes);
uint64_t harness_launches(const char *part);

static const struct kernels *k;
static struct plan *full, *headed; /* with a teacher from scratch; with one that lacks its head */
static struct shape teacher, student;
static float *zeros; /* parameters of any of the models; nobody writes them, so they take no memory */
static size_t zeros_size;

static void read_shapes(void)
{
    teacher = scratch_shape(full, 30522);
    student = model_student_shape(&teacher, plan_model(full, "student")->layers);
    struct parameters plan = parameters_plan(&teacher, HEAD_MLM, 0);
    zeros_size = plan.size + (1 << 20);
    zeros = allocate(zeros_size, sizeof *zeros);
    parameters_free(&plan);
}

/* ---- Models and batches ---- */

struct learner {
    struct model *model;
    struct optimizer *optimizer;
    long steps;
};

static struct model *open_model(const struct shape *shape, enum head head, int classes, enum learning learning)
{
    struct parameters plan = parameters_plan(shape, head, classes);
    assert_true(plan.size <= zeros_size);
    parameters_free(&plan);
    return encoder_create(k, shape, head, classes, zeros, learning);
}

static struct learner open_learner(const struct shape *shape, enum head head, int classes, enum learning learning)
{
    const struct optimizer_settings pace = {.rate = 1, .epsilon = 1e-8f, .clip = 1, .steps = 1000,
                                            .batches = 1};
    struct model *model = open_model(shape, head, classes, learning);
    return (struct learner){model, optimizer_create(model, &pace), 0};
}

static void close_learner(struct learner *l)
{
    optimizer_free(l->optimizer);
    encoder_free(l->model);
}

/* Sequences of a length, of which each word is another one, as far as there are words. */
static struct batch *batch_of(int sequences, int length, int pad_to, int classes)
{
    int longest = length > pad_to ? length : pad_to;
    struct batch *b = batch_create(sequences * longest, sequences);
    for (int s = 0; s < sequences; s++) {
        int ids[512];
        for (int t = 0; t < length; t++)
            ids[t] = 1 + (s * length + t) % (teacher.vocabulary - 1);
        batch_append(b, ids, length, length / 2, pad_to);
        for (int t = 1; t < length; t += 7)
            b->labels[b->offsets[s] + t] = ids[t];
        b->classes[s] = classes > 1 ? s % classes : 0;
        b->spans[2 * s] = 0;
        b->spans[2 * s + 1] = length - 1;
    }
    return b;
}

/* What is multiplied as ints in structures or on the host, where the harness does not see the factors. */
static void check_products(const struct model *m)
{
    const int64_t tokens = m->token_room, sequences = m->sequence_room, room = parameters_room(m->shape.vocabulary);
    const int64_t products[] = {
        tokens * m->shape.inner, tokens * 3 * m->shape.width, tokens * m->shape.heads, /* of a layer */
        (m->head == HEAD_MLM ? m->mlm.block : 1) * room, room * m->shape.width,        /* of the MLM head */
        2 * sequences * m->shape.positions, tokens * MAX_PAIRS,                        /* of spans and the cosine */
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        assert_in_range(products[i], 1, INT_MAX - 4 * 1024); /* and a block's threads go beyond the last */
}

static void finish_step(struct learner *l)
{
    optimizer_step(l->optimizer, l->steps++);
    check_products(l->model);
}

/* ---- Distillation: each student that the profile lists ---- */

static void distil(struct learner *pupil, struct model *master, const struct planned_model *planned)
{
    struct loss_settings losses = distillation_losses(planned, teacher.layers);
    struct loss_values values;
    const struct recipe *recipe = &planned->recipe;
    struct batch *batches[] = {batch_of(recipe->batch, planned->corpus.length, recipe->pad, 0),
                               batch_of(1, 3, recipe->pad, 0)};
    for (int i = 0; i < 2; i++) {
        distillation_step(pupil->model, master, batches[i], &losses, 1, 1, &values);
        finish_step(pupil);
        masked_lm_evaluate(pupil->model, batches[i], &values);
        check_products(master);
        batch_free(batches[i]);
    }
}

static void students_are_distilled(void **state)
{
    (void)state;
    struct model *master = open_model(&teacher, HEAD_MLM, 0, LEARN_NOTHING);
    struct learner pupil = open_learner(&student, HEAD_MLM, 0, LEARN_ALL);
    for (int i = 0; i < full->stage_count; i++)
        if (full->stages[i].kind == DISTILL)
            distil(&pupil, master, full->stages[i].model);
    assert_true(pupil.steps > 20);
    close_learner(&pupil);
    encoder_free(master);
}

/* ---- A teacher from scratch, and the head of one that was adopted without ---- */

static void read_words(const struct plan *plan, enum learning learning)
{
    struct learner reader = open_learner(&teacher, HEAD_MLM, 0, learning);
    struct batch *batch = batch_of(plan->recipe.batch, plan->corpus.length, plan->recipe.pad, 0);
    struct loss_values values;
    masked_lm_step(reader.model, batch, 1, 1, NULL);
    masked_lm_step(reader.model, batch, 2, 1, &values);
    finish_step(&reader);
    masked_lm_evaluate(reader.model, batch, &values);
    batch_free(batch);
    close_learner(&reader);
}

static void teachers_learn_to_read(void **state)
{
    (void)state;
    read_words(full, LEARN_ALL);
    read_words(headed, LEARN_HEAD);
}

/* ---- Tasks ---- */

/* Learning and answering: with full batches, with one that holds a single short text, and with one of the longest. */
static void take_task(const struct shape *shape, enum answer answer, int classes, int size, int length)
{
    const int shapes[][2] = {{size, length}, {1, 2}, {1, shape->positions}};
    enum head head = answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    struct learner learner = open_learner(shape, head, classes, LEARN_ALL);
    float *logits = allocate((size_t)(2 * size * length + 2 * shape->positions), sizeof *logits);
    struct loss_values values;
    for (int i = 0; i < 3; i++) {
        struct batch *batch = batch_of(shapes[i][0], shapes[i][1], 0, classes);
        for (int advised = 0; advised < (answer == A_NUMBER ? 1 : 2); advised++) {
            batch->soft_share = 0.5f * (float)advised;
            batch->temperature = 2;
            (head == HEAD_SPAN ? span_step : classification_step)(learner.model, batch, 1, 1, &values);
            finish_step(&learner);
        }
        (head == HEAD_SPAN ? span_predict : classification_predict)(learner.model, batch, logits);
        batch_free(batch);
    }
    free(logits);
    close_learner(&learner);
}

/* The same for who replaces layers: by routes of its own, of its teacher's, and of both. */
static void replace_layers(enum answer answer, int classes, int size, int length)
{
    const struct planned_model *planned = plan_model(full, "student-theseus");
    struct shape shape = theseus_shape(&teacher, planned);
    enum head head = answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    struct learner learner = open_learner(&shape, head, classes, LEARN_LAYERS);
    struct theseus *theseus = theseus_create(learner.model, open_model(&teacher, head, classes, LEARN_NOTHING),
                                             &planned->replacing, &full->recipe, 100, 1);
    struct batch *batch = batch_of(size, length, 0, classes);
    struct loss_values values;
    for (int route = 0; route < 3; route++) {
        bool stands[MAX_PAIRS];
        for (int b = 0; b < shape.layers; b++)
            stands[b] = route == 2 ? b % 2 : route;
        theseus_send(theseus, stands);
        (head == HEAD_SPAN ? span_step : classification_step)(learner.model, batch, 1, 1, &values);
        finish_step(&learner);
    }
    batch_free(batch);
    theseus_free(theseus);
    close_learner(&learner);
}

static void tasks_are_learnt(void **state)
{
    (void)state;
    int seen[16][4], kinds = 0, asked = 0;
    for (const struct planned_task *p = full->tasks; p < full->tasks + full->task_count; p++, asked++) {
        const struct task *t = p->task;
        int kind[] = {(int)t->answer, t->classes, p->recipe.batch, p->length}, i = 0;
        while (i < kinds && memcmp(seen[i], kind, sizeof kind) != 0)
            i++;
        if (i == kinds) { /* no other task is of these sizes */
            memcpy(seen[kinds++], kind, sizeof kind);
            take_task(&teacher, t->answer, t->classes, kind[2], kind[3]);
            take_task(&student, t->answer, t->classes, kind[2], kind[3]);
            replace_layers(t->answer, t->classes, kind[2], kind[3]);
        }
    }
    assert_true(asked > 10 && kinds >= 4);
}

/* ---- Linear maps of all sizes that base has, for batches of any number of tokens ---- */

static void linear_maps_fit(void **state)
{
    (void)state;
    const int width = teacher.width, inner = teacher.inner, words = parameters_room(teacher.vocabulary);
    const int maps[][2] = {{width, width}, {width, 3 * width}, {width, inner}, {inner, width}, {width, words},
                           {1, words}, {width, 1}, {width, 2}, {width, 3}};
    const int rows[] = {1, 2, 7, 8, 19, 512, 1171, 4608};
    size_t most = (size_t)4608 * (size_t)words; /* 4608 rows of logits, which are more than any run has */
    real *x = k->allocate(most * k->real_size), *w = k->allocate(most * k->real_size);
    float *dw = k->allocate((size_t)words * (size_t)width * sizeof *dw), *dbias = k->allocate(most * sizeof *dbias);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            k->linear(x, w, w, x, rows[j], maps[i][0], maps[i][1]);
            k->linear_onto(x, w, w, w, x, rows[j], maps[i][0], maps[i][1]);
            k->linear_input_gradient(x, w, x, rows[j], maps[i][0], maps[i][1], true);
            k->linear_weight_gradient(x, x, dw, dbias, rows[j], maps[i][0], maps[i][1], (int)j % 4);
        }
    k->release(x);
    k->release(w);
    k->release(dw);
    k->release(dbias);
}

/* ---- What was left out ---- */

/* A kernel that this run does not launch is one that it does not check. add and add_bias are none of its: the models
   add in other kernels, and the library adds biases, unless it is a hostile one (tests/hostile.sh). */
static void every_kernel_was_launched(void **state)
{
    (void)state;
    static const char *const kernels[] = {
        "convert_kernel", "sum_columns_kernel", "small_product_kernel", "embed_kernel", "embed_gradient_kernel",
        "norm_kernel", "norm_gradient_kernel", "activate_kernel", "dropout_kernel",
        "(attention_kernel", "query_gradient_kernel", "key_gradient_kernel", "move_rows_kernel",
        "softmax_loss_kernel", "cosine_loss_kernel", "relation_sums_kernel", "relation_gradient_kernel",
        "squared_loss_kernel", "sum_kernel", "squares_kernel", "decide_kernel", "adamw_kernel",
    };
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (harness_launches(kernels[i]) == 0)
            fail_msg("no launch of %s was checked", kernels[i]);
}

static void no_memory_was_touched(void **state)
{
    (void)state;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    assert_in_range(usage.ru_maxrss, 1, 500000); /* KiB; the parameters alone of one model are as many */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_are_distilled), cmocka_unit_test(teachers_learn_to_read),
        cmocka_unit_test(tasks_are_learnt), cmocka_unit_test(linear_maps_fit),
        cmocka_unit_test(every_kernel_was_launched), cmocka_unit_test(no_memory_was_touched),
    };
    static const char *const devices[] = {"cuda-fp32", "cuda"};
    json_t *published = json_load_file("chapters/published.json", 0, NULL);
    int failed = 0;
    struct settings *settings = settings_open("code/full.settings");
    settings_override(settings, "run.extended", "1");
    settings_override(settings, "teacher.source", "scratch");
    full = plan_open(settings);
    headed = plan_open(settings_open("code/full.settings"));
    read_shapes();
    for (int i = 0; i < 2; i++) {
        harness_dry((size_t)(1e9 * published_number(published, "t4.memory")));
        k = device_open(devices[i]);
        failed += cmocka_run_group_tests_name(devices[i], tests, NULL, NULL);
    }
    plan_close(full);
    plan_close(headed);
    json_decref(published);
    free(zeros);
    return failed;
}
