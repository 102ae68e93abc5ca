/* Prints a sum of the bits of each elementary function over a grid, and of each kernel that is made of them, on numbers
   that depend on nothing. tests/bits.sh builds it in many ways and compares what they print. */
#include "device.h"
#include "elementary.h"
#include "fail.h"
#include "kernels.h"
#include "lanes.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t sum; /* Fowler, Noll and Vo's, of 64 bits */

static void add(const void *value, size_t size)
{
    const unsigned char *byte = value;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ byte[i]) * 0x100000001b3u;
}

static void add_float(float x)
{
    x = x != x ? 0 : x; /* what is not a number may have any sign */
    add(&x, sizeof x);
}

static void add_double(double x)
{
    x = x != x ? 0 : x;
    add(&x, sizeof x);
}

static void say(const char *name)
{
    printf("%s %016llx\n", name, (unsigned long long)sum);
    sum = 0xcbf29ce484222325u;
}

/* A float of every size and sign, what is not a number and the infinite among them, by its bits. */
static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

enum { STEP = 65521, GRID = 50000 };

static void functions(void)
{
    for (uint32_t i = 0; i < UINT32_MAX - STEP; i += STEP)
        if (!(float_of(i) > 88))
            add_float(exponential(float_of(i)));
    say("exponential");
    for (int i = -GRID; i <= GRID; i++) {
        float x = 14.0f / GRID * (float)i;
        add_float(normal_distribution(x, exponential(-0.5f * x * x)));
    }
    say("normal_distribution");
    for (int i = -GRID; i <= GRID; i++)
        add_double(exponential_double(720.0 / GRID * i));
    say("exponential_double");
    for (uint64_t i = 0; i < GRID; i++)
        add_double(logarithm(double_of(i * (UINT64_MAX / GRID))));
    say("logarithm");
    for (int i = 0; i <= GRID; i++)
        add_double(cosine_of_turns(1.0 / GRID * i));
    say("cosine_of_turns");
    for (uint32_t i = 0; i < UINT32_MAX - STEP; i += STEP)
        add_float(hyperbolic_tangent(float_of(i)));
    say("hyperbolic_tangent");
    for (long i = 0; i < 2000; i++)
        add_double(whole_power((double)0.9f, i)), add_double(whole_power((double)0.999f, i));
    say("whole_power");
    for (uint64_t i = 0; i < GRID; i++)
        add_double(random_normal(3, i));
    say("random_normal");
}

enum { ROWS = 7, WIDTH = 1003, N = ROWS * WIDTH };

static float *normals(uint64_t key)
{
    float *x = allocate(N, sizeof *x);
    for (uint64_t i = 0; i < N; i++)
        x[i] = (float)(4 * random_normal(key, i));
    return x;
}

static void say_floats(const char *name, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        add_float(x[i]);
    say(name);
}

static void sums(void)
{
    float *x = normals(1), *y = normals(2);
    for (int n = 0; n < 100; n++) {
        add_float(lanes_sum(x, n));
        add_float(lanes_dot(x, y, n));
        add_float(lanes_max(x, n));
    }
    say("lanes");
    free(x);
    free(y);
}

static void kernels(void)
{
    static const int labels[ROWS] = {-100, 0, 7, -100, 1002, 500, -100};
    const struct kernels *k = kernels_cpu();
    const float one = 1;
    float *x = normals(3), *y = normals(4), *z = normals(5), rows[3 * ROWS];
    for (int f = GELU; f <= RELU; f++) {
        k->activate((enum activation)f, (real *)x, (real *)z, N);
        say_floats("activate", z, N);
        k->activate_gradient((enum activation)f, (real *)x, (real *)y, (real *)z, NULL, ROWS, WIDTH, false);
        say_floats("activate_gradient", z, N);
    }
    k->cosine_loss((real *)x, (real *)y, NULL, (real *)z, ROWS, WIDTH, 1, &one, rows);
    say_floats("cosine_loss", rows, ROWS);
    say_floats("its gradient", z, N);
    static const int offsets[] = {0, 3, ROWS}, visible[] = {3, 3};
    const struct attention relation = {3, 333, 2, 4, offsets, visible, {0, 0}};
    k->relation_loss(&relation, (real *)x, (real *)y, 333, (real *)z, 1, &one, rows);
    say_floats("relation_loss", rows, 1);
    say_floats("its gradient", z, N);
    struct softmax_loss loss = {ROWS, WIDTH, WIDTH, 3, 0.5f, 2};
    k->softmax_loss(&loss, (real *)x, (real *)y, labels, NULL, &one, rows, rows + ROWS, rows + 2 * ROWS);
    say_floats("softmax_loss", rows, 3 * ROWS);
    say_floats("its gradient", x, N);
    k->squared_loss((real *)z, y, N, 0.3f, &one, x);
    say_floats("squared_loss", x, N);
    say_floats("its gradient", z, N);
    k->dropout((real *)y, (real *)z, N, (struct dropout){0.1f, 5});
    say_floats("dropout", z, N);
    static const struct adamw adamw = {0.01f, 0.9f, 0.98f, 1e-6f, 0.1f, 7, 0.5f, 0.1f};
    float state[STATE_SIZE] = {[LOSS_SCALE] = 1, [FACTOR] = 0.5f, [SKIPPED] = 3};
    float *m = normals(6), *v = allocate(N, sizeof *v);
    for (int step = 0; step < 3; step++)
        k->adamw(&adamw, state, x, y, false, m, v, (real *)x, N);
    say_floats("adamw", x, N);
    free(m);
    free(v);
    free(x);
    free(y);
    free(z);
}

int main(void)
{
    sum = 0xcbf29ce484222325u;
    functions();
    sums();
    kernels();
    return 0;
}
