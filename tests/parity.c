/* Holds the encoder, the losses and the optimiser against PyTorch and transformers, in double precision, whose results
   tests/reference/parity.py left in tests/fixtures/parity. Goes through the commands `inspect` and `gradients`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "check.h"
#include "device.h"
#include "folder.h"
#include "losses.h"
#include "optimizer.h"
#include "safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS "tests/fixtures/"
#define PARITY "tests/fixtures/parity/"

int inspect_main(int argc, char **argv);
int gradients_main(int argc, char **argv);

/* Largest difference, relative to the largest expected value or to scale, whichever is larger; absolute where both
   are zero. */
static double error(const float *values, const float *expected, size_t n, double scale)
{
    double difference = 0, largest = scale;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(values[i]));
        difference = fmax(difference, fabs((double)values[i] - expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    return largest > 0 ? difference / largest : difference;
}

static float *floats(const struct safetensors *file, const char *name, size_t *n)
{
    const struct tensor *tensor = safetensors_find(file, name);
    if (!tensor)
        fail_msg("%s: no tensor %s", file->path, name);
    float *values = calloc(tensor->count, sizeof *values);
    safetensors_floats(file, tensor, values);
    *n = tensor->count;
    return values;
}

static int *integers(const struct safetensors *file, const char *name, size_t *n)
{
    const struct tensor *tensor = safetensors_find(file, name);
    int *values = calloc(tensor->count, sizeof *values);
    safetensors_integers(file, tensor, values);
    *n = tensor->count;
    return values;
}

/* The largest element of the tensor that has another word in its name. */
static double largest_of(const struct safetensors *expected, const char *name, const char *word, const char *instead)
{
    char other[128];
    size_t n;
    const char *at = strstr(name, word);
    double largest = 0;
    snprintf(other, sizeof other, "%.*s%s%s", (int)(at - name), name, instead, at + strlen(word));
    float *values = floats(expected, other, &n);
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)values[i]));
    free(values);
    return largest;
}

/* A key bias moves all scores of a query by the same amount, which softmax does not see: its exact gradient is zero,
   and what is left is rounding. It is measured against the gradient of the query bias beside it. */
static double scale_of(const struct safetensors *expected, const char *name)
{
    if (strstr(name, "key.bias"))
        return largest_of(expected, name, "key", "query");
    return strstr(name, "k_lin.bias") ? largest_of(expected, name, "k_lin", "q_lin") : 0;
}

/* The worst error over all tensors; both files must have the same. */
static double compare_files(const char *path, const char *expected_path, double tolerance)
{
    struct safetensors *file = safetensors_open(path), *expected = safetensors_open(expected_path);
    double worst = 0;
    for (int i = 0; i < expected->count; i++) {
        const char *name = expected->list[i].name;
        size_t n, m;
        float *a = floats(file, name, &n), *b = floats(expected, name, &m);
        assert_int_equal(n, m);
        double e = error(a, b, n, scale_of(expected, name));
        if (!(e <= tolerance))
            fail_msg("%s: %s is off by %.1e", expected_path, name, e);
        worst = fmax(worst, e);
        free(a);
        free(b);
    }
    assert_int_equal(file->count, expected->count);
    safetensors_close(file);
    safetensors_close(expected);
    return worst;
}

static void test_forward(void **unused)
{
    (void)unused;
    const char *const models[] = {"bert-tiny", "distilbert-tiny", "bert-classifier", "distilbert-classifier",
                                  "bert-span"};
    double worst = 0;
    for (int i = 0; i < 5; i++) {
        char model[256], ids[256], out[256], expected[256];
        snprintf(model, sizeof model, MODELS "%s", models[i]);
        snprintf(ids, sizeof ids, PARITY "forward-%s.ids", models[i]);
        snprintf(out, sizeof out, "%s/forward.safetensors", folder);
        snprintf(expected, sizeof expected, PARITY "forward-%s.safetensors", models[i]);
        char *arguments[] = {"inspect", "--model", model, "--ids", ids, "--out", out};
        assert_int_equal(inspect_main(7, arguments), 0);
        worst = fmax(worst, compare_files(out, expected, 1e-5));
    }
    check_report("parity.hidden", "%.1e", worst);
}

static void test_gradients(void **unused)
{
    (void)unused;
    const struct {
        const char *teacher, *student, *batch, *loss, *expected;
    } cases[] = {
        {"bert-tiny", "distilbert-tiny", "packed", "mlm", "mlm"},
        {"bert-tiny", "distilbert-tiny", "packed", "kl", "kl"},
        {"bert-tiny", "distilbert-tiny", "packed", "cosine", "cosine"},
        {"bert-tiny", "distilbert-tiny", "packed", "relations", "relations"},
        {"bert-tiny", "distilbert-tiny", "padded", "relations", "relations"},
        {"bert-tiny", "distilbert-tiny", "packed", "triple", "triple"},
        {"bert-tiny", "distilbert-tiny", "padded", "triple", "triple"},
        {"bert-tiny", "distilbert-tiny", "padded", "course", "course"},
        {"bert-untied", "bert-plain", "small", "triple", "bert"},
        {"bert-plain", "distilbert-untied", "small", "triple", "untied"},
    };
    double worst = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char teacher[256], student[256], batch[256], out[256], expected[256];
        snprintf(teacher, sizeof teacher, MODELS "%s", cases[i].teacher);
        snprintf(student, sizeof student, MODELS "%s", cases[i].student);
        snprintf(batch, sizeof batch, PARITY "batch-%s.safetensors", cases[i].batch);
        snprintf(out, sizeof out, "%s/gradients.safetensors", folder);
        snprintf(expected, sizeof expected, PARITY "gradients-%s.safetensors", cases[i].expected);
        char *arguments[] = {"gradients", "--teacher", teacher, "--student", student, "--batch", batch,
                             "--out", out, "--loss", (char *)cases[i].loss};
        assert_int_equal(gradients_main(11, arguments), 0);
        worst = fmax(worst, compare_files(out, expected, 1e-4));
    }
    check_report("parity.gradients", "%.1e", worst);
}

/* The batch of a file, with what is to be predicted, each sequence padded to so many tokens. */
static struct batch *open_batch(const struct safetensors *file, int pad)
{
    size_t tokens, sequences, n;
    int *ids = integers(file, "ids", &tokens), *lengths = integers(file, "lengths", &sequences);
    int *segments = integers(file, "segments", &tokens), *classes = NULL, *spans = NULL;
    float *numbers = NULL;
    if (safetensors_find(file, "classes"))
        classes = integers(file, "classes", &n);
    if (safetensors_find(file, "spans"))
        spans = integers(file, "spans", &n);
    if (safetensors_find(file, "numbers"))
        numbers = floats(file, "numbers", &n);
    struct batch *batch = batch_create((int)tokens + pad * (int)sequences, (int)sequences);
    for (size_t s = 0, at = 0; s < sequences; at += (size_t)lengths[s++]) {
        int first = 0;
        while (first < lengths[s] && segments[at + (size_t)first] == 0)
            first++;
        batch_append(batch, ids + at, lengths[s], first, pad);
        if (classes)
            batch->classes[s] = classes[s];
        if (numbers)
            batch->numbers[s] = numbers[s];
        if (spans)
            memcpy(batch->spans + 2 * s, spans + 2 * s, 2 * sizeof *spans);
    }
    free(numbers);
    free(spans);
    free(classes);
    free(segments);
    free(lengths);
    free(ids);
    return batch;
}

/* The bias of the span head moves all logits of a column alike, and so does that of the norm below it: their exact
   gradients are zero, too, and what is left is measured against the gradient of the weight beside them. */
static bool moves_all_logits(const struct model *m, const struct parameter *p)
{
    return m->head == HEAD_SPAN
           && (p->part == SPAN_BIAS || (p->part == OUTER_NORM_BIAS && p->layer == m->shape.layers - 1));
}

/* The worst error of a head's logits and its loss, and of the gradient. */
static void check_head(const char *name, const char *kind, enum head head, int pad, double *worst_logits,
                       double *worst_gradient)
{
    char model[256], path[256];
    size_t n;
    snprintf(model, sizeof model, MODELS "%s", name);
    snprintf(path, sizeof path, PARITY "%s-%s.safetensors", kind, name);
    struct safetensors *file = safetensors_open(path);
    float *logits = floats(file, "logits", &n), *loss = floats(file, "loss", &(size_t){0});
    struct batch *batch = open_batch(file, pad);
    int classes = head == HEAD_CLASSIFIER ? (int)n / batch->sequences : 0;
    struct model *m = encoder_open(device_open("cpu"), model, head, classes, LEARN_ALL);
    m->shape.dropout = m->shape.attention_dropout = m->shape.classifier_dropout = m->shape.span_dropout = 0;
    float *predicted = calloc(n + 2 * (size_t)batch->tokens, sizeof *predicted);
    (head == HEAD_SPAN ? span_predict : classification_predict)(m, batch, predicted);
    if (pad == 0)
        *worst_logits = fmax(*worst_logits, error(predicted, logits, n, 0));

    struct loss_values values;
    (head == HEAD_SPAN ? span_step : classification_step)(m, batch, 0, 1, &values);
    *worst_logits = fmax(*worst_logits, fabs(values.total - loss[0]) / loss[0]);
    assert_int_equal(values.masked, (head == HEAD_SPAN ? 2 : 1) * batch->sequences);
    assert_int_equal(values.tokens, batch->tokens);
    float *gradient = calloc(m->parameters.size, sizeof *gradient);
    encoder_gradient(m, gradient);
    for (int p = 0; p < m->parameters.count; p++) {
        const struct parameter *parameter = &m->parameters.list[p];
        float *expected = floats(file, parameter->name, &n);
        double scale = scale_of(file, parameter->name);
        if (moves_all_logits(m, parameter))
            scale = largest_of(file, parameter->name, "bias", "weight");
        double e = error(gradient + parameter->offset, expected, n, scale);
        if (!(e <= 1e-4))
            fail_msg("%s: %s is off by %.1e", path, parameter->name, e);
        *worst_gradient = fmax(*worst_gradient, e);
        free(expected);
    }
    free(gradient);
    encoder_free(m);
    batch_free(batch);
    free(predicted);
    free(loss);
    free(logits);
    safetensors_close(file);
}

static void test_heads(void **unused)
{
    (void)unused;
    const struct {
        const char *name, *kind;
        enum head head;
        int pad;
    } cases[] = {
        {"bert-classifier", "classify", HEAD_CLASSIFIER, 0}, {"distilbert-classifier", "classify", HEAD_CLASSIFIER, 0},
        {"bert-number", "answer", HEAD_CLASSIFIER, 0},       {"bert-span", "answer", HEAD_SPAN, 0},
        {"distilbert-span", "answer", HEAD_SPAN, 0},         {"distilbert-span", "answer", HEAD_SPAN, 12},
    };
    double worst_logits = 0, worst_gradient = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_head(cases[i].name, cases[i].kind, cases[i].head, cases[i].pad, &worst_logits, &worst_gradient);
    assert_true(worst_logits <= 1e-5);
    check_report("parity.classifier", "%.1e", worst_gradient);
}

/* Ten steps of AdamW on two batches each, without dropout; every loss on the way. */
static void test_steps(void **unused)
{
    (void)unused;
    const struct kernels *k = device_open("cpu");
    struct safetensors *file = safetensors_open(PARITY "steps.safetensors");
    size_t n, sequences, steps;
    int *ids = integers(file, "ids", &n), *labels = integers(file, "labels", &n);
    int *lengths = integers(file, "lengths", &sequences);
    float *losses = floats(file, "losses", &n), *norms = floats(file, "norms", &steps);
    struct model *teacher = encoder_open(k, MODELS "bert-tiny", HEAD_MLM, 0, LEARN_NOTHING);
    struct model *student = encoder_open(k, MODELS "distilbert-tiny", HEAD_MLM, 0, LEARN_ALL);
    student->shape.dropout = student->shape.attention_dropout = 0;
    struct loss_settings settings = {
        .mlm = 2, .kl = 5, .cosine = 1, .temperature = 2, .kl_positions = REAL_POSITIONS,
        .cosine_positions = REAL_POSITIONS, .pairs = 1, .pair = {{2, 4}},
    };
    struct optimizer_settings optimizer_settings = {
        .rate = 3e-3f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .decay = 0.1f, .clip = 10,
        .warmup = 0.3, .linear_decay = true, .steps = (long)steps,
    };
    struct optimizer *optimizer = optimizer_create(student, &optimizer_settings);
    struct batch *batch = batch_create(256, 4);
    double worst = 0;
    size_t at = 0;
    assert_int_equal(steps, 10);
    assert_int_equal(n, 20);
    for (size_t b = 0; b < n; b++) {
        struct loss_values values;
        batch_clear(batch);
        for (size_t s = 4 * b; s < 4 * b + 4; at += (size_t)lengths[s++]) {
            batch_append(batch, ids + at, lengths[s], lengths[s], 0);
            memcpy(batch->labels + batch->offsets[s - 4 * b], labels + at, (size_t)lengths[s] * sizeof *labels);
        }
        distillation_step(student, teacher, batch, &settings, 0, 0.5f, &values);
        worst = fmax(worst, fabs(values.total - losses[b]) / losses[b]);
        if (b % 2 == 1) {
            float state[STATE_SIZE];
            optimizer_step(optimizer, (long)(b / 2));
            k->download(state, student->state, sizeof state);
            assert_true(fabs(state[NORM] - norms[b / 2]) <= 1e-4 * norms[b / 2]);
        }
    }
    check_report("parity.steps", "%.1e", worst);
    if (!(worst <= 1e-5))
        fail_msg("losses are off by %.1e", worst);
    batch_free(batch);
    optimizer_free(optimizer);
    encoder_free(student);
    encoder_free(teacher);
    free(ids);
    free(labels);
    free(lengths);
    free(losses);
    free(norms);
    safetensors_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
