/* The sum over ranks on GPUs: the harness runs the kernel, and a stand-in carries what NCCL would (tests/cuda/nccl.h). */
#include "device.h"
#include "kernels.h"
#include "mesh.h"
#include "model.h"
#include "optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"

static const size_t sizes[] = {0, 1, 16, 17, 1000, 5003, RANKS_BLOCK + 77};

static void sum_all(void *unused)
{
    (void)unused;
    const struct kernels *k = device_open("cuda-fp32");
    int count = ranks_count();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        float *x = malloc((n + 1) * sizeof *x), *device = k->allocate((n + 1) * sizeof *x);
        for (size_t i = 0; i <= n; i++)
            x[i] = mesh_number(ranks_rank(), i);
        k->upload(device, x, (n + 1) * sizeof *x);
        k->all_sum(device, n);
        k->download(x, device, (n + 1) * sizeof *x);
        for (size_t i = 0; i < n; i++)
            must(x[i] == mesh_total(count, i));
        must(x[n] == mesh_number(ranks_rank(), n)); /* and nothing behind */
        k->release(device);
        free(x);
    }
}

static void sums_are_in_the_order_of_the_ranks(void **state)
{
    (void)state;
    for (int count = 1; count <= 3; count++)
        assert_true(mesh_run(count, sum_all, NULL));
}

/* One rank's gradient overflows in the second of three steps: all leave it out, halve their scale, and go on alike. */
static void step_all(void *all)
{
    const struct kernels *k = device_open("cuda");
    struct model *m = encoder_open(k, "tests/fixtures/distilbert-tiny", HEAD_MLM, 0, LEARN_ALL);
    struct optimizer_settings settings = {.rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .clip = 3,
                                          .steps = 3};
    struct optimizer *optimizer = optimizer_create(m, &settings);
    size_t n = m->parameters.size;
    float *gradient = malloc(n * sizeof *gradient), *values = (float *)all + (size_t)ranks_rank() * (n + STATE_SIZE);
    for (int step = 0; step < 3; step++) {
        for (size_t i = 0; i < n; i++)
            gradient[i] = mesh_number(ranks_rank() + 2 * step, i);
        if (step == 1 && ranks_rank() == 1)
            gradient[17] = INFINITY;
        for (int i = 0; i < m->parameters.count; i++)
            m->filling[i] = BEGUN;
        k->upload(m->gradient, gradient, n * sizeof *gradient);
        optimizer_step(optimizer, step);
    }
    encoder_download(m, values);
    k->download(values + n, m->state, STATE_SIZE * sizeof *values);
    must(values[n + SKIPPED] == 1 && values[n + LOSS_SCALE] == k->loss_scale / 2);
}

static void all_ranks_step_alike(void **state)
{
    (void)state;
    struct shape shape = model_shape("tests/fixtures/distilbert-tiny");
    struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
    size_t bytes = (plan.size + STATE_SIZE) * sizeof(float);
    char *all = mesh_memory(2 * bytes);
    assert_true(mesh_run(2, step_all, all));
    assert_memory_equal(all, all + bytes, bytes);
}

static void refuse_one_gpu(void *unused)
{
    (void)unused;
    mesh_wire.places = 2; /* on this machine, which has one */
    EXPECT_FAIL(device_open("cuda"), "cuda: expected a GPU for each of 2 ranks on this machine, found 1");
}

static void refuse_without_nccl(void *unused)
{
    (void)unused;
    setenv("NCCL_HOSTILE", "missing", 1);
    EXPECT_FAIL(device_open("cuda"), "ranks on GPUs need NCCL");
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    assert_true(mesh_run(2, refuse_one_gpu, NULL));
    assert_true(mesh_run(2, refuse_without_nccl, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_in_the_order_of_the_ranks),
        cmocka_unit_test(all_ranks_step_alike),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
