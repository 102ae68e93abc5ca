/* What the encoder promises beyond parity (tests/parity.c): packing, padding, dropout, room, determinism, freezing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "batches.h"
#include "catch.h"
#include "check.h"
#include "counted.h"
#include "device.h"
#include "drawn.h"
#include "losses.h"
#include "model.h"
#include "optimizer.h"
#include "watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct kernels *k;

static float *hidden(const struct model *m, int layer)
{
    size_t n = (size_t)m->input.tokens * (size_t)m->shape.width;
    float *values = calloc(n, sizeof *values);
    encoder_fetch(m, m->hidden[layer], values, n);
    return values;
}

static double difference(const float *a, const float *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)a[i] - b[i]));
    return largest;
}

static void test_packing(void **unused)
{
    (void)unused;
    const int lengths[] = {5, 40, 1, 17};
    struct model *m = encoder_open(k, BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct batch *batch = random_batch(lengths, 4, 97, 0);
    encoder_forward(m, batch, NULL);
    float *together = hidden(m, m->shape.layers);
    for (int s = 0; s < 4; s++) {
        struct batch *alone = batch_create(40, 1);
        batch_append(alone, batch->ids + batch->offsets[s], lengths[s], (lengths[s] + 1) / 2, 0);
        encoder_forward(m, alone, NULL);
        float *expected = hidden(m, m->shape.layers);
        assert_true(difference(together + batch->offsets[s] * m->shape.width, expected,
                               (size_t)(lengths[s] * m->shape.width)) < 1e-5);
        free(expected);
        batch_free(alone);
    }
    free(together);
    batch_free(batch);
    encoder_free(m);
}

/* A model that is asked a row at a time keeps its layers' weights settled, and nothing else changes: not a bit of what it
   says, nor what its memory is said to be; new weights are settled anew. */
static void test_settled(void **unused)
{
    (void)unused;
    const int lengths[] = {5, 40, 1};
    struct shape shape = {.family = BERT, .layers = 2, .width = 64, .heads = 4, .inner = 96, .vocabulary = 97,
                          .positions = 128, .types = 2, .epsilon = 1e-12f};
    struct parameters plan = parameters_plan(&shape, HEAD_CLASSIFIER, 3);
    float *values = calloc(plan.size, sizeof *values), settled[3], plain[3];
    const struct kernels *watched = watch_open(k, NULL);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        model_initialise(&plan, 0.2f, values, NULL, seed);
        struct model *one = encoder_create(watched, &shape, HEAD_CLASSIFIER, 3, values, LEARN_NOTHING);
        struct model *two = encoder_create(k, &shape, HEAD_CLASSIFIER, 3, values, LEARN_NOTHING);
        for (int s = 0; s < 6; s++) {
            struct batch *batch = random_batch(lengths + s % 3, 1, 97, 0), *roomy = batch_create(200, 2);
            batch_append(roomy, batch->ids, batch->tokens, batch->tokens, 0);
            memset(batch->segments, 0, (size_t)batch->tokens * sizeof *batch->segments);
            classification_predict(one, batch, settled);
            classification_predict(two, roomy, plain);
            assert_true(one->settled && !two->settled);
            assert_memory_equal(settled, plain, sizeof plain);
            model_initialise(&plan, 0.2f, values, NULL, seed + 10);
            encoder_upload(one, values);
            encoder_upload(two, values);
            batch_free(batch);
            batch_free(roomy);
        }
        encoder_free(one);
        encoder_free(two);
    }
    watch_open(k, NULL);
    struct model *one = encoder_create(watched, &shape, HEAD_CLASSIFIER, 3, values, LEARN_NOTHING);
    encoder_reserve(one, 40, 1);
    size_t said = encoder_bytes(k, &shape, HEAD_CLASSIFIER, 3, LEARN_NOTHING, 40, 1), took = watch_allocated();
    assert_true(took <= said && said <= took + 8 * 256);
    encoder_free(one);
    free(values);
    parameters_free(&plan);
}

static void test_padding(void **unused)
{
    (void)unused;
    const int lengths[] = {5, 30, 17};
    struct model *m = encoder_open(k, DISTILBERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct batch *batch = random_batch(lengths, 3, 97, 0), *padded = random_batch(lengths, 3, 97, 33);
    encoder_forward(m, batch, NULL);
    float *expected = hidden(m, m->shape.layers);
    encoder_forward(m, padded, NULL);
    float *states = hidden(m, m->shape.layers);
    assert_int_equal(padded->tokens, 99);
    for (int s = 0; s < 3; s++)
        assert_true(difference(states + padded->offsets[s] * m->shape.width,
                               expected + batch->offsets[s] * m->shape.width,
                               (size_t)(lengths[s] * m->shape.width)) < 1e-5);
    free(states);
    free(expected);
    batch_free(padded);
    batch_free(batch);
    encoder_free(m);
}

static void test_room(void **unused)
{
    (void)unused;
    const int lengths[] = {40, 40};
    struct model *m = encoder_open(k, BERT_FOLDER, HEAD_MLM, 0, LEARN_ALL);
    struct batch *small = random_batch(lengths, 1, 97, 0), *large = random_batch(lengths, 2, 97, 0);
    assert_int_equal(encoder_size(m, 80, 2), encoder_reserve(m, 80, 2));
    assert_true(encoder_size(m, 80, 2) > encoder_size(m, 40, 1));
    void *arena = m->arena;
    struct loss_values first, second, again;
    masked_lm_evaluate(m, small, &first);
    masked_lm_evaluate(m, large, &second);
    assert_ptr_equal(m->arena, arena);       /* both fit the room */
    struct batch *larger = batch_create(200, 5);
    batch_append(larger, small->ids, 40, 20, 0);
    memcpy(larger->labels, small->labels, 40 * sizeof *small->labels);
    masked_lm_evaluate(m, larger, &again);   /* this does not */
    assert_int_equal(m->token_room, 200);
    assert_true(again.mlm == first.mlm);
    batch_free(larger);
    batch_free(large);
    batch_free(small);
    encoder_free(m);
}

static void test_refusals(void **unused)
{
    (void)unused;
    struct model *m = encoder_open(k, BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct batch *batch = batch_create(41, 1);
    int ids[41] = {0};
    ids[3] = 97;
    batch_append(batch, ids, 5, 5, 0);
    EXPECT_FAIL(encoder_forward(m, batch, NULL), "token 3 has id 97; the model knows 0 to 96");
    batch->ids[3] = -1;
    EXPECT_FAIL(encoder_forward(m, batch, NULL), "token 3 has id -1");
    batch->ids[3] = 96;
    batch->segments[4] = 2;
    EXPECT_FAIL(encoder_forward(m, batch, NULL), "token 4 has segment 2; the model knows 0 to 1");
    batch_clear(batch);
    ids[3] = 0;
    batch_append(batch, ids, 41, 41, 0);
    EXPECT_FAIL(encoder_forward(m, batch, NULL), "token 40 has position 40; the model knows 0 to 39");
    batch_free(batch);
    encoder_free(m);
}

/* A model that has diverged gets no score: whatever is compared with a NaN is false, and would be an answer. */
static void expect_no_answer(const char *folder, enum head head, int classes)
{
    const int lengths[] = {5, 7};
    float logits[24];
    struct model *m = encoder_open(k, folder, head, classes, LEARN_NOTHING);
    struct batch *batch = random_batch(lengths, 2, m->shape.vocabulary, 0);
    float *values = calloc(m->parameters.size, sizeof *values);
    encoder_download(m, values);
    values[parameters_offset(&m->parameters, INNER_WEIGHT, 0)] = NAN;
    encoder_upload(m, values);
    if (head == HEAD_SPAN)
        EXPECT_FAIL(span_predict(m, batch, logits), "model: answers with ");
    else
        EXPECT_FAIL(classification_predict(m, batch, logits), "model: answers with ");
    free(values);
    batch_free(batch);
    encoder_free(m);
}

static void test_no_answers(void **unused)
{
    (void)unused;
    const int lengths[] = {5, 7};
    expect_no_answer("tests/fixtures/bert-classifier", HEAD_CLASSIFIER, 3);
    expect_no_answer("tests/fixtures/distilbert-classifier", HEAD_CLASSIFIER, 2);
    expect_no_answer("tests/fixtures/distilbert-span", HEAD_SPAN, 0);
    struct loss_values values;
    struct model *m = encoder_open(k, BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct batch *batch = random_batch(lengths, 2, m->shape.vocabulary, 0);
    m->shape.epsilon = NAN;
    EXPECT_FAIL(masked_lm_evaluate(m, batch, &values), "model: guesses words with a loss of ");
    batch_free(batch);
    encoder_free(m);
}

/* Dropout --------------------------------------------------------------------------------------------------------- */

static void test_dropout_keys(void **unused)
{
    (void)unused;
    const int lengths[] = {9, 14};
    struct model *m = encoder_open(k, BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct batch *batch = random_batch(lengths, 2, 97, 0);
    size_t n = (size_t)batch->tokens * (size_t)m->shape.width;
    const uint64_t one = 1, two = 2;
    encoder_forward(m, batch, &one);
    float *first = hidden(m, 4);
    encoder_forward(m, batch, &two);
    float *second = hidden(m, 4);
    encoder_forward(m, batch, &one);
    float *again = hidden(m, 4);
    encoder_forward(m, batch, NULL);
    float *none = hidden(m, 4);
    m->shape.dropout = m->shape.attention_dropout = 0;
    encoder_forward(m, batch, &one);
    float *zero = hidden(m, 4);
    assert_memory_equal(first, again, n * sizeof *first);
    assert_memory_equal(none, zero, n * sizeof *none);
    assert_true(difference(first, second, n) > 0.1);
    assert_true(difference(first, none, n) > 0.1);
    free(first);
    free(second);
    free(again);
    free(none);
    free(zero);
    batch_free(batch);
    encoder_free(m);
}

enum { KEY = 5 }; /* not every key: with some, a unit of DistilBERT's classifier passes through the corner of ReLU */

struct trial {
    struct model *model;
    struct batch *batch;
    const float *origin;    /* [parameters.size] */
    const float *direction; /* [parameters.size] */
};

static double loss_at(const struct trial *t, double distance)
{
    size_t n = t->model->parameters.size;
    float *values = calloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(t->origin[i] + distance * t->direction[i]);
    encoder_upload(t->model, values);
    struct loss_values losses;
    enum head head = t->model->head;
    (head == HEAD_CLASSIFIER ? classification_step : head == HEAD_SPAN ? span_step : masked_lm_step)
        (t->model, t->batch, KEY, 1, &losses);
    free(values);
    return losses.total;
}

/* With dropout on and its key held, the loss is a smooth function still: its slope along the gradient must be the
   gradient's length. This covers the masks of the way back, which parity, without dropout, does not. */
static void test_dropout_gradient(void **unused)
{
    (void)unused;
    const char *const folders[] = {BERT_FOLDER, DISTILBERT_FOLDER, "tests/fixtures/bert-classifier",
                                   "tests/fixtures/distilbert-classifier", "tests/fixtures/bert-number",
                                   "tests/fixtures/bert-span", "tests/fixtures/distilbert-span"};
    const enum head heads[] = {HEAD_MLM, HEAD_MLM, HEAD_CLASSIFIER, HEAD_CLASSIFIER, HEAD_CLASSIFIER, HEAD_SPAN,
                               HEAD_SPAN};
    const int lengths[] = {9, 12, 4}, classes[] = {0, 0, 3, 2, 1, 0, 0};
    double worst = 0;
    for (int trials = 0; trials < 14; trials++) {
        int i = trials % 7;
        bool soft = trials >= 7; /* targets beside the labels, where the head can have them */
        if (soft && (heads[i] == HEAD_MLM || classes[i] == 1))
            continue;
        struct model *m = encoder_open(k, folders[i], heads[i], classes[i], LEARN_ALL);
        m->shape.dropout = m->shape.attention_dropout = m->shape.classifier_dropout = 0.3f;
        m->shape.span_dropout = m->shape.family == DISTILBERT ? 0.3f : 0;
        size_t n = m->parameters.size;
        float *origin = calloc(n, sizeof *origin), *gradient = calloc(n, sizeof *gradient);
        struct trial trial = {m, random_batch(lengths, 3, m->shape.vocabulary, 0), origin, gradient};
        trial.batch->soft_share = soft ? 0.4f : 0;
        trial.batch->temperature = 2;
        for (int j = 0; j < 2 * trial.batch->tokens; j++)
            trial.batch->soft[j] = (float)random_normal(9, (uint64_t)j);
        encoder_download(m, origin);
        loss_at(&trial, 0);
        encoder_gradient(m, gradient);
        double square = 0;
        for (size_t j = 0; j < n; j++)
            square += (double)gradient[j] * gradient[j];
        double h = 0.003 / sqrt(square);
        double slope = (8 * (loss_at(&trial, h) - loss_at(&trial, -h)) - loss_at(&trial, 2 * h) + loss_at(&trial, -2 * h))
                       / (12 * h);
        worst = fmax(worst, fabs(slope / square - 1));
        free(origin);
        free(gradient);
        batch_free(trial.batch);
        encoder_free(m);
    }
    check_report("encoder.dropout", "%.1e", worst);
    if (!(worst < 1e-4))
        fail_msg("the slope is off by %.1e", worst);
}

/* Training -------------------------------------------------------------------------------------------------------- */

static const struct optimizer_settings fast = {
    .rate = 1e-2f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .decay = 0.1f, .clip = 1, .steps = 5,
};

/* What a run reserves is what its training takes, but for what alignment may lose. */
static void test_reservation(void **unused)
{
    (void)unused;
    const int lengths[] = {40, 40};
    struct kernels counting = counting_table(k);
    struct shape shape = model_shape(BERT_FOLDER);
    struct batch *batch = random_batch(lengths, 2, 97, 0);
    struct loss_values values;
    for (enum learning learning = LEARN_NOTHING; learning <= LEARN_HEAD; learning++) {
        taken = 0;
        struct model *m = encoder_open(&counting, BERT_FOLDER, HEAD_MLM, 0, learning);
        size_t reserved = encoder_bytes(k, &shape, HEAD_MLM, 0, learning, batch->token_room, batch->sequence_room);
        if (learning == LEARN_NOTHING) {
            masked_lm_evaluate(m, batch, &values);
        } else {
            struct optimizer *o = optimizer_create(m, &fast);
            reserved += optimizer_bytes(&m->parameters);
            masked_lm_step(m, batch, 0, 1, &values);
            optimizer_step(o, 0);
            optimizer_free(o);
        }
        assert_true(taken <= reserved);
        assert_true(reserved - taken < 8 * 256);
        encoder_free(m);
    }
    batch_free(batch);
}

static float *trained(int steps, struct loss_values *values)
{
    const int lengths[] = {9, 40, 3, 21};
    struct model *teacher = encoder_open(k, BERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    struct model *student = encoder_open(k, DISTILBERT_FOLDER, HEAD_MLM, 0, LEARN_ALL);
    struct optimizer *optimizer = optimizer_create(student, &fast);
    struct batch *batch = random_batch(lengths, 4, 97, 0);
    struct loss_settings settings = {
        .mlm = 2, .kl = 5, .cosine = 1, .temperature = 2, .kl_positions = REAL_POSITIONS,
        .cosine_positions = REAL_POSITIONS, .pairs = 2, .pair = {{1, 1}, {2, 4}},
    };
    for (int step = 0; step < steps; step++) {
        distillation_step(student, teacher, batch, &settings, random_key(3, (uint64_t)step, 0), 1, values);
        optimizer_step(optimizer, step);
    }
    float *parameters = calloc(student->parameters.size, sizeof *parameters);
    encoder_download(student, parameters);
    batch_free(batch);
    optimizer_free(optimizer);
    encoder_free(student);
    encoder_free(teacher);
    return parameters;
}

static void test_same_bits(void **unused)
{
    (void)unused;
    struct loss_values first, second;
    float *a = trained(5, &first), *b = trained(5, &second);
    struct model *m = encoder_open(k, DISTILBERT_FOLDER, HEAD_MLM, 0, LEARN_NOTHING);
    assert_memory_equal(a, b, m->parameters.size * sizeof *a);
    assert_memory_equal(&first, &second, sizeof first);
    float *untrained = calloc(m->parameters.size, sizeof *untrained);
    encoder_download(m, untrained);
    assert_true(difference(a, untrained, m->parameters.size) > 1e-3);
    free(untrained);
    free(a);
    free(b);
    encoder_free(m);
}

static void test_shares_add_up(void **unused)
{
    (void)unused;
    const int lengths[] = {9, 40};
    struct model *m = encoder_open(k, DISTILBERT_FOLDER, HEAD_MLM, 0, LEARN_ALL);
    struct batch *batch = random_batch(lengths, 2, 97, 0);
    size_t n = m->parameters.size;
    float *whole = calloc(n, sizeof *whole), *halves = calloc(n, sizeof *halves);
    masked_lm_step(m, batch, 5, 1, NULL);
    encoder_gradient(m, whole);
    k->zero(m->gradient, n * sizeof(float));
    masked_lm_step(m, batch, 5, 0.5f, NULL);
    masked_lm_step(m, batch, 5, 0.5f, NULL);
    encoder_gradient(m, halves);
    assert_true(difference(whole, halves, n) < 1e-5);
    free(whole);
    free(halves);
    batch_free(batch);
    encoder_free(m);
}

/* A head that learns alone has the gradients it would have had, and leaves the encoder as it is. */
static void test_frozen_encoder(void **unused)
{
    (void)unused;
    const char *const folders[] = {BERT_FOLDER, "tests/fixtures/bert-untied"};
    const int lengths[] = {9, 12};
    for (int f = 0; f < 2; f++) {
        struct model *all = encoder_open(k, folders[f], HEAD_MLM, 0, LEARN_ALL);
        struct model *head = encoder_open(k, folders[f], HEAD_MLM, 0, LEARN_HEAD);
        struct batch *batch = random_batch(lengths, 2, all->shape.vocabulary, 0);
        struct optimizer *optimizer = optimizer_create(head, &fast);
        size_t n = all->parameters.size;
        float *expected = calloc(n, sizeof *expected), *gradient = calloc(n, sizeof *gradient);
        float *before = calloc(n, sizeof *before), *after = calloc(n, sizeof *after);
        struct loss_values first, values;
        all->shape.dropout = all->shape.attention_dropout = 0;
        masked_lm_step(all, batch, 5, 1, NULL);
        masked_lm_step(head, batch, 5, 1, &first);
        encoder_gradient(all, expected);
        encoder_gradient(head, gradient);
        encoder_download(head, before);
        for (int step = 0; step < 5; step++) {
            optimizer_step(optimizer, step);
            masked_lm_step(head, batch, 5, 1, &values);
        }
        encoder_download(head, after);
        for (int i = 0; i < all->parameters.count; i++) {
            const struct parameter *p = &all->parameters.list[i];
            size_t size = (size_t)p->rows * (size_t)p->columns, at = p->offset;
            bool learns = p->part >= TRANSFORM_WEIGHT;
            for (size_t j = at; j < at + size; j++)
                assert_true(learns ? fabsf(gradient[j] - expected[j]) < 1e-5f : gradient[j] == 0);
            if (learns)
                assert_true(difference(before + at, after + at, size) > 1e-3);
            else
                assert_memory_equal(before + at, after + at, size * sizeof *before);
        }
        assert_true(values.total < first.total);
        free(expected);
        free(gradient);
        free(before);
        free(after);
        optimizer_free(optimizer);
        batch_free(batch);
        encoder_free(all);
        encoder_free(head);
    }
}

/* A model of DistilBERT's widths, without a head, with room for so many tokens. */
static struct model *wide_model(enum learning learning, int tokens)
{
    struct shape shape = {.family = DISTILBERT, .layers = 2, .width = 768, .heads = 12, .inner = 3072,
                          .vocabulary = 8, .positions = tokens, .tied = true};
    struct parameters plan = parameters_plan(&shape, HEAD_NONE, 0);
    float *values = calloc(plan.size, sizeof *values);
    struct model *m = encoder_create(k, &shape, HEAD_NONE, 0, values, learning);
    encoder_reserve(m, tokens, 1);
    free(values);
    parameters_free(&plan);
    return m;
}

static void test_arena_as_drawn(void **unused)
{
    (void)unused;
    enum { TOKENS = 64 };
    const double unit = TOKENS * 768 * sizeof(float);
    struct model *m = wide_model(LEARN_ALL, TOKENS), *teacher = wide_model(LEARN_NOTHING, TOKENS);
    const struct layer *layer = m->layers, *one = teacher->layers;
    const struct backward *b = &m->backward;
    const char *places[] = {
        (char *)layer->qkv, (char *)layer->logsum, (char *)layer->context, (char *)layer->attention.sum,
        (char *)layer->middle, (char *)layer->wide, (char *)layer->outer.sum, (char *)layer->active,
        (char *)layer[1].qkv};
    double kept[8];
    char line[64];
    for (int i = 0; i < 8; i++)
        kept[i] = (double)(places[i + 1] - places[i]) / unit;
    assert_drawn_list("arena", "kept", kept, 8, 2);
    assert_ptr_equal(one[0].qkv, one[1].qkv);
    assert_ptr_equal(one->active, one->wide);
    snprintf(line, sizeof line, "shared = %.2f", (double)((char *)one->outer.sum - (char *)one->qkv) / unit + 1);
    assert_drawn("arena", line);
    snprintf(line, sizeof line, "under_way = %.2f",
             (double)((char *)b->wide - (char *)b->hidden) / unit + (double)m->shape.inner / m->shape.width);
    assert_drawn("arena", line);
    snprintf(line, sizeof line, "embedded = %.2f", (double)((char *)m->hidden[0] - (char *)m->embedded.sum) / unit);
    assert_drawn("arena", line);
    encoder_free(m);
    encoder_free(teacher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_settled),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_reservation),
        cmocka_unit_test(test_arena_as_drawn),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_no_answers),
        cmocka_unit_test(test_dropout_keys),
        cmocka_unit_test(test_dropout_gradient),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_shares_add_up),
        cmocka_unit_test(test_frozen_encoder),
    };
    k = device_open("cpu");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
