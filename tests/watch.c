/* The watch: what it counts against formulas worked out by hand, and that nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "check.h"
#include "device.h"
#include "estimate.h"
#include "fail.h"
#include "losses.h"
#include "model.h"
#include "optimizer.h"
#include "watch.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEACHER "tests/fixtures/bert-tiny"
#define STUDENT "tests/fixtures/distilbert-tiny"

static const struct kernels *cpu;

/* On this machine nothing takes time but what a test gives it. */
static const struct machine fp32 = {.real_size = 4, .logit_rows = CPU_LOGIT_ROWS, .gemm = 1, .other = 1, .bandwidth = 1};
static const struct machine fp16 = {.real_size = 2, .logit_rows = CPU_LOGIT_ROWS, .gemm = 1, .other = 1, .bandwidth = 1};

static const struct loss_settings triple = {
    .mlm = 2, .kl = 5, .cosine = 1, .temperature = 2, .kl_positions = REAL_POSITIONS,
    .cosine_positions = REAL_POSITIONS, .pairs = 1, .pair = {{2, 4}},
};
static const struct optimizer_settings steps = {
    .rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .decay = 0.01f, .clip = 1, .steps = 4,
    .batches = 1,
};

/* `sequences` times the same length, all tokens visible; every seventh token has a label. */
static struct batch *make_batch(int sequences, int length, int vocabulary)
{
    struct batch *batch = batch_create(sequences * length, sequences);
    int *ids = calloc((size_t)length, sizeof *ids);
    for (int s = 0; s < sequences; s++) {
        for (int t = 0; t < length; t++)
            ids[t] = 5 + (s * length + t) % (vocabulary - 5);
        batch_append(batch, ids, length, length, 0);
        batch->classes[s] = s % 2;
    }
    for (int t = 0; t < batch->tokens; t += 7)
        batch->labels[t] = batch->ids[t];
    free(ids);
    return batch;
}

static double flops_of(enum kernel_family family)
{
    return watch_tally(family).flops;
}

/* One step of distillation of the tiny models, counted, with sequences of 3, 20 and 7 tokens. ----------------------- */

enum { T = 30, P = 3 * 3 + 20 * 20 + 7 * 7, W = 32, I = 64, V = 97, V8 = 104, LT = 4, LS = 2 };

static struct batch *ragged(void)
{
    const int lengths[] = {3, 20, 7};
    struct batch *batch = batch_create(T, 3);
    int ids[20];
    for (int t = 0; t < 20; t++)
        ids[t] = 5 + 4 * t;
    for (int s = 0; s < 3; s++)
        batch_append(batch, ids, lengths[s], lengths[s], 0);
    batch->labels[1] = batch->labels[5] = 9;
    return batch;
}

static void count_step_of(const struct kernels *k, const struct loss_settings *losses, struct tally *tallies)
{
    struct model *teacher = encoder_open(k, TEACHER, HEAD_MLM, 0, LEARN_NOTHING);
    struct model *student = encoder_open(k, STUDENT, HEAD_MLM, 0, LEARN_ALL);
    struct optimizer *optimizer = optimizer_create(student, &steps);
    struct batch *batch = ragged();
    watch_clear();
    distillation_step(student, teacher, batch, losses, 7, 1, NULL);
    optimizer_step(optimizer, 0);
    for (enum kernel_family f = 0; f < FAMILIES; f++)
        tallies[f] = watch_tally(f);
    optimizer_free(optimizer);
    batch_free(batch);
    encoder_free(student);
    encoder_free(teacher);
}

static void count_step(const struct kernels *k, struct tally *tallies)
{
    count_step_of(k, &triple, tallies);
}

static void test_flops(void **unused)
{
    (void)unused;
    struct tally t[FAMILIES];
    count_step(watch_open(cpu, NULL), t);
    const double layer = 2.0 * T * (3 * W * W + W * W + 2 * W * I), head = 2.0 * T * (W * W + W * V8);
    assert_true(t[GEMM].flops == LT * layer + head + 3 * (LS * layer + head));
    assert_int_equal(t[GEMM].calls, 4 * LT + 2 + 3 * (4 * LS + 2));
    assert_true(t[ATTENTION].flops == (4.0 * LT + 14.0 * LS) * P * W);
    assert_int_equal(t[ATTENTION].calls, LT + 2 * LS);
    /* norms: of the embeddings, two a layer, one of the head */
    /* and of the student back, with the sum for the bias of the map before it in a layer */
    assert_true(t[NORMALISATION].flops == (9.0 * (2 * LT + 2) + 23.0 * 2 * LS + 22.0 * 2) * T * W);
    /* GELU of layers and head; dropout of the student's embeddings and of their gradient */
    assert_true(t[POINTWISE].flops == 5.0 * T * (LT * I + W) + 14.0 * T * (LS * I + W) + 2.0 * T * W);
    /* tables, 3 and 2; their gradients in the student; all rows are chosen, so none is moved */
    assert_true(t[EMBEDDING].flops == (2 + 1 + 2.0) * T * W);
    /* the softmax, the cosine, and three sums and one over the rows */
    assert_true(t[LOSS].flops == 32.0 * T * V + 11.0 * T * W + 4.0 * T);
}

/* The relations come on top of the rest, with and without a device. */
static void test_relations(void **unused)
{
    (void)unused;
    struct tally without[FAMILIES], with[FAMILIES], dry[FAMILIES];
    struct loss_settings related = triple;
    related.relations = 1;
    related.relation_heads = 8;
    count_step(watch_open(cpu, NULL), without);
    count_step_of(watch_open(cpu, NULL), &related, with);
    count_step_of(watch_open(NULL, &fp32), &related, dry);
    assert_true(with[LOSS].flops == without[LOSS].flops + 24.0 * P * W);
    assert_true(with[LOSS].bytes == without[LOSS].bytes + 4 * 12.0 * T * W + 4 * 7);
    for (int f = 0; f < FAMILIES; f++)
        assert_true(dry[f].calls == with[f].calls && (f == LOSS || with[f].calls == without[f].calls));
}

static void test_bytes(void **unused)
{
    (void)unused;
    const double layer_weights = 3 * W * W + W * W + 2 * W * I, layer_rows = W + 3 * W + W + W + W + I + I + W;
    const double layer_bias = 3 * W + W + I + W, head_weights = W * W + W * V8, head_rows = W + W + W + V8;
    const double forward[2] = {LT * (layer_weights + layer_bias + T * layer_rows) + head_weights + W + V8 + T * head_rows,
                               LS * (layer_weights + layer_bias + T * layer_rows) + head_weights + W + V8 + T * head_rows};
    /* back through the inputs: two of a layer's maps and none of the head's add to what is there */
    const double inputs = LS * (layer_weights + T * layer_rows + 2 * T * W) + head_weights + T * head_rows;
    /* and through the weights, which nothing was there of before; with them come the sums for the biases of queries, keys
       and values and of the words */
    const double rows = T * (LS * layer_rows + head_rows);
    const double made = LS * layer_weights + head_weights, sums = LS * 3 * W + V8;
    /* norms forward, the teacher's without what is kept; back, too, each array goes once */
    const double norms[2] = {2 + LT * 2 * 3 + 2, 2 + LS * 2 * 4 + 2}, back = 3 + LS * (3 + 4) + 3;
    for (int size = 2; size <= 4; size += 2) {
        struct tally t[FAMILIES];
        count_step(watch_open(NULL, size == 2 ? &fp16 : &fp32), t);
        /* a residual is added by the map or by the norm; the student drops before its second sum */
        double onto = size == 2 ? 2 * LT + LS : 0, unwritten = size == 2 ? LS : 0;
        assert_true(t[GEMM].bytes == size * (forward[0] + forward[1] + inputs + rows + made + onto * T * W)
                                         + (size == 2 ? 2 + 2 + 4 : 4) * sums);
        assert_true(t[NORMALISATION].bytes
                    == size * ((norms[0] + norms[1] - onto - unwritten + back) * T * W + 2 * (2 * LT + 2) * W + 3 * (2 * LS + 2) * W)
                           + 4 * (4.0 * T * (2 * LS + 2) + (2 * LS * 3 + 2 * 2) * W));
        assert_true(t[POINTWISE].bytes
                    == size * (2.0 * T * (LT * I + W) + 5.0 * T * (LS * I + W) + 4.0 * T * W) + 4 * (LS * I + W));
        assert_true(t[ATTENTION].bytes
                    == size * (4.0 * LT + 12.0 * LS) * T * W + (LT + 2.0 * LS) * 4 * (T * 4 + 2 * 3 + 1));
        /* labels, three results; the weights of the cosine and its result; four sums */
        assert_true(t[LOSS].bytes == size * (3.0 * T * V + 4.0 * T * W) + 4.0 * T * (4 + 2 + 4));
        struct shape shape = model_shape(STUDENT);
        struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
        double n = (double)plan.size, rounded = (double)plan.decayed;
        assert_true(t[OPTIMISER].flops == 17 * n);
        assert_true(t[OPTIMISER].bytes == 24 * n + 2 * (size * rounded + 4 * (n - rounded))
                                              + 8 * STATE_SIZE);
        assert_int_equal(t[OPTIMISER].calls, 5);
        parameters_free(&plan);
    }
}

static void test_dry_counts_the_same(void **unused)
{
    (void)unused;
    struct tally dry[FAMILIES], done[FAMILIES];
    count_step(watch_open(NULL, &fp32), dry);
    count_step(watch_open(cpu, NULL), done);
    for (int f = 0; f < FAMILIES; f++) {
        assert_true(done[f].calls > 0);
        assert_int_equal(dry[f].calls, done[f].calls);
        assert_true(dry[f].flops == done[f].flops);
        assert_true(dry[f].bytes == done[f].bytes && done[f].bytes > 0);
        assert_true(dry[f].seconds == 0 && done[f].seconds > 0);
        assert_true(dry[f].estimate > 0 && done[f].estimate == 0);
    }
}

static void test_same_bits(void **unused)
{
    (void)unused;
    float *parameters[2];
    struct loss_values values[2];
    size_t size = 0;
    for (int watched = 0; watched < 2; watched++) {
        const struct kernels *k = watched ? watch_open(cpu, &fp16) : cpu;
        struct model *teacher = encoder_open(k, TEACHER, HEAD_MLM, 0, LEARN_NOTHING);
        struct model *student = encoder_open(k, STUDENT, HEAD_MLM, 0, LEARN_ALL);
        struct optimizer *optimizer = optimizer_create(student, &steps);
        struct batch *batch = ragged();
        for (int step = 0; step < 4; step++) {
            distillation_step(student, teacher, batch, &triple, 7, 1, step == 3 ? &values[watched] : NULL);
            optimizer_step(optimizer, step);
        }
        size = student->parameters.size * sizeof(float);
        parameters[watched] = malloc(size);
        encoder_download(student, parameters[watched]);
        optimizer_free(optimizer);
        batch_free(batch);
        encoder_free(student);
        encoder_free(teacher);
    }
    assert_memory_equal(parameters[0], parameters[1], size);
    assert_memory_equal(&values[0], &values[1], sizeof values[0]);
    free(parameters[0]);
    free(parameters[1]);
}

/* A classifier's step and its prediction go through the watch, too; a model may come to the watch late. */
static void test_classifier(void **unused)
{
    (void)unused;
    struct model *m = encoder_open(cpu, "tests/fixtures/bert-classifier", HEAD_CLASSIFIER, 3, LEARN_ALL);
    struct batch *batch = make_batch(2, 5, 97);
    float logits[6], again[6];
    classification_predict(m, batch, logits);
    m->k = watch_open(cpu, NULL);
    classification_predict(m, batch, again);
    assert_memory_equal(logits, again, sizeof logits);
    const struct shape *s = &m->shape;
    const double layer = 2.0 * 10 * (4 * s->width * s->width + 2 * s->width * s->inner);
    const double head = 2.0 * 2 * (s->width * s->width + s->width * 3);
    assert_true(flops_of(GEMM) == s->layers * layer + head);
    watch_clear();
    classification_step(m, batch, 7, 1, NULL);
    assert_true(flops_of(GEMM) == 3 * (s->layers * layer + head));
    assert_true(flops_of(OPTIMISER) == 0);
    m->k = cpu;
    batch_free(batch);
    encoder_free(m);
}

static void test_memory(void **unused)
{
    (void)unused;
    for (int learning = LEARN_NOTHING; learning <= LEARN_HEAD; learning++) {
        const struct kernels *k = watch_open(NULL, &fp16);
        struct model *m = encoder_open(k, TEACHER, HEAD_MLM, 0, learning);
        size_t n = m->parameters.size, state = STATE_SIZE * sizeof(float);
        size_t ones = learning == LEARN_HEAD ? 200 * sizeof(float) : 0; /* in fp32, for a moment */
        assert_int_equal(watch_allocated(), n * (2 + 2 + (learning ? 4 : 0)) + state);
        watch_clear();
        assert_int_equal(encoder_reserve(m, 200, 8), encoder_size(m, 200, 8));
        assert_int_equal(watch_allocated(), encoder_size(m, 200, 8) + ones);
        encoder_free(m);
    }
}

/* The functions of a table, for comparing tables: those of an operation that somebody forgot are NULL. */
enum { OPERATIONS = (sizeof(struct kernels) - offsetof(struct kernels, reserve)) / sizeof(void (*)(void)) };

static void functions_of(const struct kernels *k, void (**functions)(void))
{
    memcpy(functions, (const char *)k + offsetof(struct kernels, reserve), OPERATIONS * sizeof *functions);
}

static void test_complete(void **unused)
{
    (void)unused;
    void (*theirs[OPERATIONS])(void), (*ours[OPERATIONS])(void);
    functions_of(cpu, theirs);
    functions_of(watch_open(cpu, NULL), ours);
    for (int i = 0; i < OPERATIONS; i++) {
        assert_true(theirs[i] && ours[i]);
        assert_true(theirs[i] != ours[i]);
        for (int j = 0; j < i; j++)
            assert_true(ours[i] != ours[j]);
    }
}

/* What a step of distillation does not use. */
static void test_others(void **unused)
{
    (void)unused;
    const struct kernels *k = watch_open(NULL, &fp16);
    real *x = k->allocate(4000), *y = k->allocate(4000);
    k->squared_loss(x, (float *)y, 100, 1, (float *)y, (float *)x);
    assert_true(watch_tally(LOSS).flops == 400 && watch_tally(LOSS).bytes == 100 * (2 * 2 + 2 * 4));
    k->add(x, y, 500);
    assert_true(watch_tally(POINTWISE).flops == 500 && watch_tally(POINTWISE).bytes == 3000);
    k->copy(x, y, 600);
    k->to_float(x, (float *)y, 100);
    k->to_real((float *)y, x, 100);
    assert_true(watch_tally(MEMORY).flops == 0 && watch_tally(MEMORY).bytes == 1200 + 2 * 600);
    k->softmax_loss(&(struct softmax_loss){.rows = 10, .classes = 7, .stride = 8}, x, NULL, (int *)y, NULL, NULL,
                    NULL, NULL, NULL);
    assert_true(watch_tally(LOSS).flops == 400 + 8 * 70);
    assert_int_equal(watch_tally(MEMORY).calls, 3);
    /* to a bias that is added to, dy is read once more, by a kernel that nothing hides */
    watch_clear();
    k->linear_weight_gradient(x, x, y, (float *)y, 10, 20, 30, ADD);
    assert_true(watch_tally(GEMM).bytes == 2 * 500 + 2 * 4 * 600 + 2 * 300 + 2 * 4 * 30);
    assert_true(watch_tally(GEMM).estimate == 2 * 10 * 20 * 30 + 2 * 300 + 2 * 4 * 30);
    /* of a row that is longer than what is kept, the rest is read again: of the student's and of the teacher's */
    watch_clear();
    k->softmax_loss(&(struct softmax_loss){.rows = 1, .classes = 30522, .stride = 30528}, x, y, NULL, NULL, NULL, NULL,
                    NULL, NULL);
    assert_true(watch_tally(LOSS).bytes == 2 * (3 * 30522 + (30522 - 26240)) + 4 * 3);
    /* a parameter of four bytes passes in two halves of two */
    watch_clear();
    float values[100];
    k->split(values, x, y, 100);
    k->join(x, y, values, 100);
    assert_true(watch_tally(MEMORY).bytes == 2 * 100 * (4 + 2 + 2) && values[99] == 0);
}

static void test_roof(void **unused)
{
    (void)unused;
    const struct machine machine = {.real_size = 2, .gemm = 1e6, .other = 1e4, .bandwidth = 1e5, .launch = 3};
    const struct kernels *k = watch_open(NULL, &machine);
    real *x = k->allocate(1 << 20), *y = k->allocate(1 << 20);
    assert_true((char *)y - (char *)x >= 1 << 20);
    k->linear(x, x, NULL, y, 100, 200, 300); /* arithmetic decides: 12e6 FLOPs, 220,000 bytes */
    assert_true(fabs(watch_tally(GEMM).estimate - (12 + 3)) < 1e-9);
    watch_clear();
    k->linear(x, x, NULL, y, 1, 200, 300); /* memory decides: 0.12e6 FLOPs, 121,000 bytes */
    assert_true(fabs(watch_tally(GEMM).estimate - (1.21 + 3)) < 1e-9);
    k->activate(GELU, x, y, 40000); /* at the other rate: 0.2e6 FLOPs, 160,000 bytes */
    assert_true(fabs(watch_tally(POINTWISE).estimate - (20 + 3)) < 1e-9);
    float host[4] = {1, 2, 3, 4};
    k->download(host, y, sizeof host);
    assert_true(host[0] == 0 && host[3] == 0);
    struct attention attention = {.heads = 1, .width = 8, .sequences = 1, .offsets = (int *)x, .visible = (int *)y};
    EXPECT_FAIL(k->attention(&attention, x, y, (float *)y), "was asked about a list that it has not seen");
    k->release(x);
}

/* The figures of facts and papers. ---------------------------------------------------------------------------------- */

static double published(const char *key)
{
    json_t *object = json_load_file("chapters/published.json", 0, NULL);
    double number = strtod(json_string_value(json_object_get(json_object_get(object, "work"), key)), NULL);
    json_decref(object);
    return number;
}

static const struct shape base = {
    .family = BERT, .layers = 12, .width = 768, .heads = 12, .inner = 3072, .vocabulary = 30522, .positions = 512,
    .types = 2, .epsilon = 1e-12f, .dropout = 0.1f, .attention_dropout = 0.1f, .tied = true,
};

static struct model *dry_model(const struct kernels *k, const struct shape *shape, enum learning learning)
{
    struct parameters plan = parameters_plan(shape, HEAD_MLM, 0);
    float *values = calloc(plan.size, sizeof *values);
    struct model *m = encoder_create(k, shape, HEAD_MLM, 0, values, learning);
    free(values);
    parameters_free(&plan);
    return m;
}

static void test_published(void **unused)
{
    (void)unused;
    /* as long as the sequence in which the average token of WikiText-2 stands, cut to 128 */
    enum { SEQUENCES = 16, LENGTH = 109 };
    const struct kernels *k = watch_open(NULL, &fp16);
    struct shape half = model_student_shape(&base, 6);
    struct model *teacher = dry_model(k, &base, LEARN_NOTHING), *student = dry_model(k, &half, LEARN_ALL);
    struct batch *batch = make_batch(SEQUENCES, LENGTH, base.vocabulary);
    struct loss_settings settings = triple;
    settings.pair[0] = (struct layer_pair){6, 12};
    double million = 1e6 * batch->tokens, found[4];
    watch_clear();
    encoder_forward(teacher, batch, NULL);
    found[0] = flops_of(GEMM) / million;
    watch_clear();
    encoder_forward(student, batch, NULL);
    found[1] = flops_of(GEMM) / million;
    watch_clear();
    distillation_step(student, teacher, batch, &settings, 7, 1, NULL);
    found[3] = (flops_of(GEMM) + flops_of(ATTENTION)) / million;
    found[2] = (flops_of(GEMM) / million - found[0] - 3 * found[1]) / 4;
    const char *keys[] = {"encoder12", "encoder6", "head"}, *names[] = {"teacher", "student", "head"};
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(found[i] - published(keys[i])) <= 0.0501); /* they have one decimal */
        char name[40];
        snprintf(name, sizeof name, "watch.%s", names[i]);
        check_report(name, "%.1f", found[i]);
    }
    assert_true(fabs(found[3] / published("distillation") - 1) < 0.005);
    check_report("watch.distillation", "%.0f", found[3]);
    batch_free(batch);
    encoder_free(teacher);
    encoder_free(student);
}

/* A step of distillation at base size on T4s, each with its share of the batch, and what their all_sum takes over PCIe:
   each rank sends and receives (n - 1) / n of the gradient twice, and reads n slices and writes one in between. */
static void test_ranks(void **unused)
{
    (void)unused;
    json_t *all = json_load_file("chapters/published.json", 0, NULL);
    double reached = published_number(all, "t4.bandwidth-share") / 100;
    struct machine t4 = {
        .real_size = 2, .logit_rows = GPU_LOGIT_ROWS, .gemm = 1e12 * published_number(all, "t4.sustained"),
        .other = 1e12 * published_number(all, "t4.fp32"), .launch = 1e-6 * published_number(all, "t4.launch"),
        .bandwidth = 1e9 * reached * published_number(all, "t4.bandwidth")};
    double pcie = 1e9 * reached * published_number(all, "t4.pcie");
    const struct kernels *k = watch_open(NULL, &t4);
    struct shape half = model_student_shape(&base, 6);
    struct model *teacher = dry_model(k, &base, LEARN_NOTHING), *student = dry_model(k, &half, LEARN_ALL);
    struct optimizer *optimizer = optimizer_create(student, &steps);
    struct loss_settings settings = triple;
    settings.pair[0] = (struct layer_pair){6, 12};
    double bytes = 4 * (double)student->parameters.size, alone[2], times[2][3];
    for (int large = 0; large < 2; large++)
        for (int doubled = 0, ranks = 1; doubled < 3; doubled++, ranks *= 2) {
            struct batch *batch = make_batch((large ? 64 : 16) / ranks, 73, base.vocabulary); /* a line's tokens */
            double compute = 0, sends = 2 * bytes * (ranks - 1) / ranks;
            double exchange = ranks == 1 ? 0 : sends / pcie + bytes * (1 + 1.0 / ranks) / t4.bandwidth;
            watch_clear();
            distillation_step(student, teacher, batch, &settings, 7, 1, NULL);
            optimizer_step(optimizer, 0);
            for (enum kernel_family f = 0; f < FAMILIES; f++)
                compute += watch_tally(f).estimate;
            alone[large] = ranks == 1 ? compute : alone[large];
            times[large][doubled] = alone[large] / (compute + exchange);
            const char *names[] = {"computes", "exchanges", "faster"};
            double values[] = {1e3 * compute, 1e3 * exchange, times[large][doubled]};
            for (int i = 0; i < 3; i++) {
                char *name = text_format("ranks.%s.%d.%s", large ? "large" : "small", ranks, names[i]);
                check_report(name, i == 2 ? "%.1f" : "%.0f", values[i]);
                free(name);
            }
            batch_free(batch);
        }
    /* where there is much to compute, the exchange costs less of it; nobody gains more than his number */
    for (int doubled = 1, ranks = 2; doubled < 3; doubled++, ranks *= 2)
        assert_true(times[1][doubled] > times[0][doubled] && times[1][doubled] < ranks);
    check_report("ranks.megabytes", "%.0f", bytes / 1e6);
    optimizer_free(optimizer);
    encoder_free(teacher);
    encoder_free(student);
    json_decref(all);
}

int main(void)
{
    cpu = kernels_cpu();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flops), cmocka_unit_test(test_relations),
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_dry_counts_the_same),
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_classifier), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_complete), cmocka_unit_test(test_others), cmocka_unit_test(test_roof), cmocka_unit_test(test_published),
        cmocka_unit_test(test_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
