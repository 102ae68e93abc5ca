/* The second distillation: what an ensemble of teachers says, and what a student makes of it. */
#include "device.h"
#include "ensemble.h"
#include "fail.h"
#include "losses.h"
#include "model.h"
#include "random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "catch.h"

#define SHARE 0.4f
#define TEMPERATURE 2.0f

static const struct kernels *k;

/* Five examples for a small model of 37 pieces. */
static int ids[64], firsts[5] = {5, 9, 2, 6, 4};
static int64_t starts[6] = {0, 7, 19, 22, 32, 38};
static int spans[10] = {1, 3, 2, 2, 0, 1, 4, 8, 5, 6};
static double labels[5] = {0, 1, 1, 0, 1};
static int indices[5] = {0, 1, 2, 3, 4};

static struct examples examples(void)
{
    for (int i = 0; i < 38; i++)
        ids[i] = 5 + (int)random_below(4, (uint64_t)i, 32);
    return (struct examples){.count = 5, .rows = 5, .kept = 5, .ids = ids, .starts = starts, .firsts = firsts,
                             .labels = labels, .indices = indices, .spans = spans};
}

/* A teacher: a fixture with other parameters in its last map, in a folder of its own. */
static char *make_teacher(const char *fixture, enum head head, int classes, uint64_t seed)
{
    struct shape shape = model_shape(fixture);
    struct parameters plan = parameters_plan(&shape, head, classes);
    float *values = allocate(plan.size, sizeof *values);
    bool *found = allocate((size_t)plan.count, sizeof *found);
    model_read(fixture, &plan, values, found);
    for (int i = 0; i < plan.count; i++)
        found[i] = !strstr(plan.list[i].name, "classifier") && !strstr(plan.list[i].name, "qa_outputs");
    model_initialise(&plan, 0.5f, values, found, seed);
    char *folder = text_format("/tmp/distil-teacher-%d-%d", (int)getpid(), (int)seed);
    char *vocabulary = text_format("%s/vocab.txt", fixture);
    model_write(folder, &shape, &plan, head, classes, values, vocabulary);
    parameters_free(&plan);
    free(vocabulary);
    free(values);
    free(found);
    return folder;
}

static void remove_teacher(char *folder)
{
    char *command = text_format("rm -r %s", folder);
    assert_int_equal(system(command), 0);
    free(command);
    free(folder);
}

/* What the ensemble of these folders says of all examples, [n] floats. */
static struct batch *advice(char *const *folders, int count, const struct task *task)
{
    struct examples x = examples();
    struct ensemble *e = ensemble_ask(k, folders, count, task, &x, 2, 37, SHARE, TEMPERATURE, NULL);
    const int order[] = {3, 0, 4, 1, 2};
    struct batch *batch = batch_create(38, 5);
    examples_batch(&x, order, 0, 5, batch, 0);
    ensemble_advise(e, order, 0, batch);
    ensemble_free(e);
    return batch;
}

static float *gradient(const char *fixture, enum head head, int classes, const struct batch *batch)
{
    struct model *m = encoder_open(k, fixture, head, classes, LEARN_ALL);
    struct loss_values values;
    m->shape.dropout = m->shape.attention_dropout = m->shape.classifier_dropout = m->shape.span_dropout = 0;
    (head == HEAD_SPAN ? span_step : classification_step)(m, batch, 0, 1, &values);
    float *result = allocate(m->parameters.size, sizeof *result);
    encoder_gradient(m, result);
    encoder_free(m);
    return result;
}

static double apart(const float *a, const float *b, size_t n)
{
    double square = 0, whole = 0;
    for (size_t i = 0; i < n; i++) {
        square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        whole += (double)b[i] * b[i];
    }
    return sqrt(square / whole);
}

static const struct kind {
    const char *task, *fixture;
    enum head head;
    int classes;
} kinds[] = {
    {"cola", "tests/fixtures/distilbert-classifier", HEAD_CLASSIFIER, 2},
    {"mnli", "tests/fixtures/bert-classifier", HEAD_CLASSIFIER, 3},
    {"squad", "tests/fixtures/distilbert-span", HEAD_SPAN, 0},
};

/* exp(soft / T) of a group of numbers that are chosen among adds up to one, and is the mean of the members'. */
static void an_ensemble_says_the_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *kind = &kinds[i];
        char *teachers[] = {make_teacher(kind->fixture, kind->head, kind->classes, 1),
                            make_teacher(kind->fixture, kind->head, kind->classes, 2)};
        const struct task *task = task_find(kind->task);
        struct batch *both = advice(teachers, 2, task), *one = advice(teachers, 1, task),
                     *other = advice(teachers + 1, 1, task);
        int n = kind->head == HEAD_SPAN ? 2 * both->tokens : both->sequences * kind->classes;
        double total = 0, differ = 0;
        for (int j = 0; j < n; j++) {
            double p = exp(one->soft[j] / TEMPERATURE), q = exp(other->soft[j] / TEMPERATURE);
            assert_true(fabs(exp(both->soft[j] / TEMPERATURE) - (p + q) / 2) < 1e-6);
            total += p;
            differ = fmax(differ, fabs(p - q));
        }
        assert_true(fabs(total - (kind->head == HEAD_SPAN ? 10 : 5)) < 1e-5);
        assert_true(differ > 0.01);
        assert_true(both->soft_share == SHARE && both->temperature == TEMPERATURE);

        struct shape shape = model_shape(kind->fixture);
        struct parameters plan = parameters_plan(&shape, kind->head, kind->classes);
        float *together = gradient(kind->fixture, kind->head, kind->classes, both);
        float *first = gradient(kind->fixture, kind->head, kind->classes, one);
        float *second = gradient(kind->fixture, kind->head, kind->classes, other);
        assert_true(apart(first, second, plan.size) > 1e-3);
        for (size_t j = 0; j < plan.size; j++)
            first[j] = (first[j] + second[j]) / 2;
        assert_true(apart(together, first, plan.size) < 1e-5);
        free(together);
        free(first);
        free(second);
        parameters_free(&plan);
        batch_free(both);
        batch_free(one);
        batch_free(other);
        remove_teacher(teachers[0]);
        remove_teacher(teachers[1]);
    }
}

/* Each example is told what a teacher says of it, whatever the order: by the teacher's own logits, softened. */
static void examples_hear_what_is_said_of_them(void **state)
{
    (void)state;
    char *teacher = make_teacher(kinds[0].fixture, HEAD_CLASSIFIER, 2, 1);
    struct batch *batch = advice(&teacher, 1, task_find("cola"));
    struct model *m = encoder_open(k, teacher, HEAD_CLASSIFIER, 2, LEARN_NOTHING);
    float logits[10];
    classification_predict(m, batch, logits);
    for (int s = 0; s < 5; s++)
        assert_true(fabs(batch->soft[2 * s] - batch->soft[2 * s + 1] - (logits[2 * s] - logits[2 * s + 1])) < 1e-4);
    encoder_free(m);
    batch_free(batch);
    remove_teacher(teacher);
}

static void numbers_are_drawn_to_the_mean(void **state)
{
    (void)state;
    char *teachers[] = {make_teacher("tests/fixtures/bert-number", HEAD_CLASSIFIER, 1, 1),
                        make_teacher("tests/fixtures/bert-number", HEAD_CLASSIFIER, 1, 2)};
    struct batch *batch = advice(teachers, 2, task_find("stsb"));
    const int order[] = {3, 0, 4, 1, 2};
    double mean[5] = {0};
    for (int i = 0; i < 2; i++) {
        struct model *m = encoder_open(k, teachers[i], HEAD_CLASSIFIER, 1, LEARN_NOTHING);
        float number[5];
        classification_predict(m, batch, number);
        for (int s = 0; s < 5; s++)
            mean[s] += number[s] / 2;
        encoder_free(m);
    }
    for (int s = 0; s < 5; s++)
        assert_true(fabs(batch->numbers[s] - ((1 - SHARE) * labels[order[s]] + SHARE * mean[s])) < 1e-5);
    assert_true(batch->soft_share == 0);
    batch_free(batch);
    remove_teacher(teachers[0]);
    remove_teacher(teachers[1]);
}

/* The gradient by the bias of the last map is the sum over rows of (1 - w) (p - onehot) / n + w T (p_T - q) / n. */
static void the_gradient_is_the_derived_one(void **state)
{
    (void)state;
    char *teacher = make_teacher(kinds[1].fixture, HEAD_CLASSIFIER, 3, 1);
    struct batch *batch = advice(&teacher, 1, task_find("mnli"));
    float *found = gradient(kinds[1].fixture, HEAD_CLASSIFIER, 3, batch), z[15];
    struct model *m = encoder_open(k, kinds[1].fixture, HEAD_CLASSIFIER, 3, LEARN_NOTHING);
    classification_predict(m, batch, z);
    double expected[3] = {0};
    for (int s = 0; s < 5; s++)
        for (int c = 0; c < 3; c++) {
            double p = 0, p_soft = 0, q = exp(batch->soft[3 * s + c] / TEMPERATURE);
            for (int d = 0; d < 3; d++) {
                p += exp(z[3 * s + d] - z[3 * s + c]);
                p_soft += exp((z[3 * s + d] - z[3 * s + c]) / TEMPERATURE);
            }
            expected[c] += ((1 - SHARE) * (1 / p - (batch->classes[s] == c)) + SHARE * TEMPERATURE * (1 / p_soft - q)) / 5;
        }
    int bias = -1;
    for (int i = 0; i < m->parameters.count; i++)
        bias = strcmp(m->parameters.list[i].name, "classifier.bias") ? bias : i;
    assert_true(bias >= 0);
    for (int c = 0; c < 3; c++)
        assert_true(fabs(found[m->parameters.list[bias].offset + (size_t)c] - expected[c]) < 1e-5);
    free(found);
    encoder_free(m);
    batch_free(batch);
    remove_teacher(teacher);
}

static void a_teacher_must_be_there_and_know_the_task(void **state)
{
    (void)state;
    struct examples x = examples();
    const struct task *cola = task_find("cola");
    char *nowhere = "/tmp/distil-no-such-teacher", *other = "tests/fixtures/distilbert-bare";
    EXPECT_FAIL(ensemble_ask(k, &nowhere, 1, cola, &x, 2, 37, SHARE, TEMPERATURE, NULL), "/tmp/distil-no-such-teacher");
    EXPECT_FAIL(ensemble_ask(k, &other, 1, cola, &x, 2, 37, SHARE, TEMPERATURE, NULL), "classifier");
    EXPECT_FAIL(ensemble_ask(k, &other, 1, cola, &x, 2, 38, SHARE, TEMPERATURE, NULL), "knows 37 pieces; expected the student's 38");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ensemble_says_the_mean),
        cmocka_unit_test(examples_hear_what_is_said_of_them),
        cmocka_unit_test(numbers_are_drawn_to_the_mean),
        cmocka_unit_test(the_gradient_is_the_derived_one),
        cmocka_unit_test(a_teacher_must_be_there_and_know_the_task),
    };
    k = device_open("cpu");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
