/* The optimiser against its formulas, in double precision, and over a pause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "check.h"
#include "device.h"
#include "optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct kernels *k;

static const struct optimizer_settings settings = {
    .rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .decay = 0.1f, .clip = 3,
    .warmup = 0.25, .linear_decay = true, .steps = 8,
};

static struct model *open_model(void)
{
    return encoder_open(k, "tests/fixtures/distilbert-tiny", HEAD_MLM, 0, LEARN_ALL);
}

/* A gradient of its own for each step: random where the model has parameters, zero in the gaps. */
static void set_gradient(struct model *m, int step, float *gradient)
{
    memset(gradient, 0, m->parameters.size * sizeof *gradient);
    for (int i = 0; i < m->parameters.count; i++) {
        const struct parameter *p = &m->parameters.list[i];
        for (size_t j = p->offset; j < p->offset + (size_t)p->rows * (size_t)p->columns; j++)
            gradient[j] = (float)(0.03 * random_normal((uint64_t)step, j));
        m->filling[i] = BEGUN;
    }
    k->upload(m->gradient, gradient, m->parameters.size * sizeof *gradient);
}

static void test_schedule(void **unused)
{
    (void)unused;
    const double expected[] = {0.5, 1, 1, 5.0 / 6, 4.0 / 6, 3.0 / 6, 2.0 / 6, 1.0 / 6};
    struct optimizer_settings constant = settings;
    constant.linear_decay = false;
    constant.warmup = 0;
    for (int step = 0; step < 8; step++) {
        assert_true(fabs(optimizer_rate(&settings, step) - 0.01 * expected[step]) < 1e-8);
        assert_true(optimizer_rate(&constant, step) == 0.01f);
    }
}

static void test_formulas(void **unused)
{
    (void)unused;
    struct model *model = open_model();
    struct optimizer *optimizer = optimizer_create(model, &settings);
    size_t n = model->parameters.size;
    float *start = calloc(n, sizeof *start), *gradient = calloc(n, sizeof *gradient);
    double *theta = calloc(n, sizeof *theta), *m = calloc(n, sizeof *m), *v = calloc(n, sizeof *v), worst = 0;
    encoder_download(model, start);
    for (size_t i = 0; i < n; i++)
        theta[i] = start[i];
    for (int t = 1; t <= 8; t++) {
        set_gradient(model, t, gradient);
        double square = 0, rate = optimizer_rate(&settings, t - 1);
        for (size_t i = 0; i < n; i++)
            square += (double)gradient[i] * gradient[i];
        double factor = fmin(1, settings.clip / sqrt(square));
        assert_true(factor < 1);
        for (size_t i = 0; i < n; i++) {
            double g = factor * gradient[i], decay = i < model->parameters.decayed ? settings.decay : 0;
            m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g;
            v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g * g;
            theta[i] -= rate * decay * theta[i];
            theta[i] -= rate * m[i] / (1 - pow(settings.beta1, t))
                        / (sqrt(v[i] / (1 - pow(settings.beta2, t))) + settings.epsilon);
        }
        optimizer_step(optimizer, t - 1);
        encoder_gradient(model, gradient); /* of no step as yet */
        for (size_t i = 0; i < n; i++)
            assert_true(gradient[i] == 0);
    }
    encoder_download(model, gradient);
    for (size_t i = 0; i < n; i++)   /* relative to the way that was gone */
        if (theta[i] != start[i])
            worst = fmax(worst, fabs(gradient[i] - theta[i]) / 0.01);
        else
            assert_true(gradient[i] == start[i]);
    check_report("optimizer.step", "%.1e", worst);
    if (!(worst <= 1e-4))
        fail_msg("parameters are off by %.1e of a step", worst);
    optimizer_free(optimizer);
    encoder_free(model);
    free(start);
    free(gradient);
    free(theta);
    free(m);
    free(v);
}

/* The book's example: one weight and one bias that have a gradient, over two steps that clip. */
static void test_by_hand(void **unused)
{
    (void)unused;
    const struct optimizer_settings two = {.rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-12f,
                                           .decay = 0.1f, .clip = 1, .steps = 2};
    const double expected[][2] = {{0.989, -2.01}, {0.999 * 0.989 + 0.01 * 0.006 / 0.19 / 0.6, -2.02}};
    struct model *model = open_model();
    struct optimizer *optimizer = optimizer_create(model, &two);
    size_t n = model->parameters.size, bias = model->parameters.decayed;
    float *values = calloc(n, sizeof *values), *gradient = calloc(n, sizeof *gradient);
    values[0] = 1;
    values[bias] = -2;
    encoder_upload(model, values);
    for (int step = 0; step < 2; step++) {
        gradient[0] = step == 0 ? 3 : -3;
        gradient[bias] = 4;
        for (int i = 0; i < model->parameters.count; i++)
            model->filling[i] = BEGUN;
        k->upload(model->gradient, gradient, n * sizeof *gradient);
        optimizer_step(optimizer, step);
        encoder_download(model, values);
        assert_true(fabs(values[0] - expected[step][0]) <= 5e-7 && fabs(values[bias] - expected[step][1]) <= 5e-7);
    }
    assert_true(fabs(values[0] - 0.98854) < 5e-6);
    for (size_t i = 1; i < n; i++)
        assert_true(i == bias || values[i] == 0);
    free(values);
    free(gradient);
    optimizer_free(optimizer);
    encoder_free(model);
}

static void test_pause(void **unused)
{
    (void)unused;
    struct model *model = open_model(), *resumed = open_model();
    struct optimizer *optimizer = optimizer_create(model, &settings);
    size_t n = model->parameters.size;
    float *gradient = calloc(n, sizeof *gradient), *values = calloc(4 * n, sizeof *values), state[STATE_SIZE];
    for (int step = 0; step < 8; step++) {
        set_gradient(model, step, gradient);
        optimizer_step(optimizer, step);
        if (step == 3) {
            encoder_download(model, values);
            optimizer_download(optimizer, values + n, values + 2 * n, state);
        }
    }
    encoder_download(model, values + 3 * n);
    optimizer_free(optimizer);

    optimizer = optimizer_create(resumed, &settings);
    encoder_upload(resumed, values);
    optimizer_upload(optimizer, values + n, values + 2 * n, state);
    for (int step = 4; step < 8; step++) {
        set_gradient(resumed, step, gradient);
        optimizer_step(optimizer, step);
    }
    encoder_download(resumed, values);
    assert_memory_equal(values, values + 3 * n, n * sizeof *values);
    free(gradient);
    free(values);
    optimizer_free(optimizer);
    encoder_free(resumed);
    encoder_free(model);
}

static void test_refusals(void **unused)
{
    (void)unused;
    struct model *model = open_model();
    struct optimizer_settings wrong = settings;
    wrong.epsilon = 0;
    EXPECT_FAIL(optimizer_create(model, &wrong), "epsilon: expected more than 0");
    wrong = settings;
    wrong.beta2 = 1;
    EXPECT_FAIL(optimizer_create(model, &wrong), "beta1, beta2: expected");
    wrong = settings;
    wrong.warmup = 1.5;
    EXPECT_FAIL(optimizer_create(model, &wrong), "warmup: expected a share");
    encoder_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_refusals),
    };
    k = device_open("cpu");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
