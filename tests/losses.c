/* The gradients of the losses against central differences in double precision, and the promises of the triple loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "catch.h"
#include "check.h"
#include "device.h"
#include "losses.h"
#include "relations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct kernels *k;
static const float one = 1;

static float *randoms(size_t n, double size, uint64_t key)
{
    float *x = calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(size * random_normal(key, i));
    return x;
}

/* The largest |a - b|, relative to the largest |b|. */
static double error(const float *a, const double *b, size_t n)
{
    double difference = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(a[i]));
        difference = fmax(difference, fabs(a[i] - b[i]));
        largest = fmax(largest, fabs(b[i]));
    }
    return difference / largest;
}

/* The losses again, straight from their definitions. -----------------------------------------------------------------*/

struct case_of {
    int n, label;
    double temperature;
    const float *teacher;
};

static double log_sum_of(const double *z, int n, double temperature)
{
    double largest = z[0], sum = 0;
    for (int c = 1; c < n; c++)
        largest = fmax(largest, z[c]);
    for (int c = 0; c < n; c++)
        sum += exp((z[c] - largest) / temperature);
    return largest / temperature + log(sum);
}

static double label_loss_of(const double *z, const struct case_of *o)
{
    return log_sum_of(z, o->n, 1) - z[o->label];
}

static double soft_loss_of(const double *z, const struct case_of *o)
{
    double *t = calloc((size_t)o->n, sizeof *t), loss = 0;
    for (int c = 0; c < o->n; c++)
        t[c] = o->teacher[c];
    double t_sum = log_sum_of(t, o->n, o->temperature), z_sum = log_sum_of(z, o->n, o->temperature);
    for (int c = 0; c < o->n; c++) {
        double log_q = t[c] / o->temperature - t_sum, log_p = z[c] / o->temperature - z_sum;
        loss += exp(log_q) * (log_q - log_p);
    }
    free(t);
    return loss;
}

static double cosine_loss_of(const double *s, const struct case_of *o)
{
    double ss = 0, tt = 0, st = 0;
    for (int c = 0; c < o->n; c++) {
        ss += s[c] * s[c];
        tt += (double)o->teacher[c] * o->teacher[c];
        st += s[c] * o->teacher[c];
    }
    return 1 - st / sqrt(ss * tt);
}

/* Central differences of a loss at x[n], into slope[n]; returns the loss. */
static double differences(double (*loss)(const double *, const struct case_of *), const struct case_of *o,
                          const float *x, double *slope)
{
    double *at = calloc((size_t)o->n, sizeof *at), largest = 1;
    for (int c = 0; c < o->n; c++) {
        at[c] = x[c];
        largest = fmax(largest, fabs(at[c]));
    }
    for (int c = 0; c < o->n; c++) {
        double middle = at[c], h = 1e-5;
        at[c] = middle + h;
        double above = loss(at, o);
        at[c] = middle - h;
        slope[c] = (above - loss(at, o)) / (2 * h);
        at[c] = middle;
    }
    double value = loss(at, o);
    free(at);
    return value;
}

/* One row through the kernel; z becomes the gradient. */
static void softmax_row(struct softmax_loss loss, float *z, const float *t, int label, float *label_loss,
                        float *soft_loss, float *hit)
{
    loss.rows = 1;
    k->softmax_loss(&loss, (real *)z, (const real *)t, &label, NULL, &one, label_loss, soft_loss, hit);
}

/* ---------------------------------------------------------------------------------------------------------------- */

static const int widths[] = {2, 3, 8, 97, 511, 512, 513, 1031};
enum { WIDTHS = sizeof widths / sizeof *widths };

static void test_labels(void **unused)
{
    (void)unused;
    const double sizes[] = {0.1, 1, 5, 200};
    double worst = 0, worst_sum = 0;
    int cases = 0;
    for (int w = 0; w < WIDTHS; w++)
        for (int size = 0; size < 4; size++, cases++) {
            int n = widths[w], stride = (n + 7) / 8 * 8, best = 0;
            float *z = randoms((size_t)stride, sizes[size], random_key(1, (uint64_t)w, (uint64_t)size));
            for (int c = 0; c < n; c++)
                best = z[c] > z[best] ? c : best;
            /* not the winner: a loss of almost nothing has a gradient that a float cannot hold */
            struct case_of o = {.n = n, .label = (best + 1) % n};
            double *slope = calloc((size_t)n, sizeof *slope), loss = differences(label_loss_of, &o, z, slope), sum = 0;
            float label_loss, soft_loss, hit;
            softmax_row((struct softmax_loss){.classes = n, .stride = stride, .temperature = 1, .label_scale = 1}, z,
                        NULL, o.label, &label_loss, &soft_loss, &hit);
            worst = fmax(worst, error(z, slope, (size_t)n));
            assert_true(fabs(label_loss - loss) <= 1e-6 * loss);
            for (int c = 0; c < n; c++)
                sum += z[c];
            worst_sum = fmax(worst_sum, fabs(sum));
            for (int c = n; c < stride; c++)
                assert_true(z[c] == 0);
            assert_true(hit == 0 && soft_loss == 0);
            free(slope);
            free(z);
        }
    check_report("mlm.error", "%.1e", worst);
    check_report("mlm.cases", "%.0f", cases);
    check_report("mlm.sum", "%.1e", worst_sum);
    assert_true(worst <= 1e-5);
    assert_true(worst_sum <= 1e-5);
}

/* The book's example: three words, the second of them right. Then one step down the gradient. */
static void test_labels_by_hand(void **unused)
{
    (void)unused;
    const double sum = exp(2) + exp(1) + 1, expected[] = {exp(2) / sum, exp(1) / sum - 1, 1 / sum};
    const double printed[] = {0.665, -0.755, 0.090}, lower[] = {1.335, 1.755, -0.090};
    const struct softmax_loss loss = {.classes = 3, .stride = 3, .temperature = 1, .label_scale = 1};
    float z[] = {2, 1, 0}, after[] = {2, 1, 0}, label_loss, soft_loss, hit;
    softmax_row(loss, z, NULL, 1, &label_loss, &soft_loss, &hit);
    assert_true(error(z, expected, 3) <= 1e-6 && hit == 0);
    assert_true(fabs(label_loss - (log(sum) - 1)) <= 1e-6 && fabs(label_loss - 1.408) < 5e-4);
    for (int c = 0; c < 3; c++) {
        assert_true(fabs(z[c] - printed[c]) < 5e-4);
        after[c] -= z[c];
        assert_true(fabs(after[c] - lower[c]) < 5e-4);
    }
    softmax_row(loss, after, NULL, 1, &label_loss, &soft_loss, &hit);
    assert_true(fabs(label_loss - 0.596) < 5e-4 && fabs(after[1] + 1 - 0.551) < 5e-4 && hit == 1);
}

static void test_soft_targets(void **unused)
{
    (void)unused;
    const float temperatures[] = {1, 2, 4, 8};
    double worst = 0, agreement = 0;
    int cases = 0;
    for (int w = 0; w < WIDTHS; w++)
        for (int i = 0; i < 4; i++, cases++) {
            int n = widths[w];
            float temperature = temperatures[i], label_loss, soft_loss, hit;
            float *z = randoms((size_t)n, 3, random_key(2, (uint64_t)w, (uint64_t)i));
            float *t = randoms((size_t)n, 3, random_key(3, (uint64_t)w, (uint64_t)i));
            float *same = calloc((size_t)n, sizeof *same);
            memcpy(same, t, (size_t)n * sizeof *same);
            struct case_of o = {.n = n, .temperature = temperature, .teacher = t};
            double *slope = calloc((size_t)n, sizeof *slope), loss = differences(soft_loss_of, &o, z, slope);
            struct softmax_loss kernel = {.classes = n, .stride = n, .temperature = temperature, .soft_scale = 1};
            softmax_row(kernel, z, t, -100, &label_loss, &soft_loss, &hit);
            worst = fmax(worst, error(z, slope, (size_t)n));
            assert_true(fabs(soft_loss - loss) <= 1e-5 * loss && label_loss == 0);
            softmax_row(kernel, same, t, -100, &label_loss, &soft_loss, &hit);
            agreement = fmax(agreement, fabs((double)soft_loss));
            for (int c = 0; c < n; c++)
                agreement = fmax(agreement, fabs((double)same[c]));
            free(slope);
            free(same);
            free(t);
            free(z);
        }
    check_report("kl.error", "%.1e", worst);
    check_report("kl.cases", "%.0f", cases);
    assert_true(worst <= 1e-5);
    assert_true(agreement == 0);
}

/* The book's example: a teacher of three words and a student that takes two of them for one; with a temperature and
   without. */
static void test_soft_targets_by_hand(void **unused)
{
    (void)unused;
    const float teacher[] = {8, 4, 0};
    const double printed[2][3] = {{-0.486, 0.477, 0.009}, {-0.797, 0.702, 0.095}}, printed_loss[] = {0.611, 1.397};
    for (int i = 0; i < 2; i++) {
        const double temperature = i + 1, e4 = exp(4 / temperature), e8 = exp(8 / temperature);
        const double p_sum = 2 * e4 + 1, q_sum = e8 + e4 + 1, square = temperature * temperature;
        const double p[] = {e4 / p_sum, e4 / p_sum, 1 / p_sum}, q[] = {e8 / q_sum, e4 / q_sum, 1 / q_sum};
        float z[] = {4, 4, 0}, label_loss, soft_loss, hit;
        softmax_row((struct softmax_loss){.classes = 3, .stride = 3, .temperature = (float)temperature,
                                          .soft_scale = (float)square}, z, teacher, -100, &label_loss, &soft_loss, &hit);
        double expected[3], divergence = 0;
        for (int c = 0; c < 3; c++) {
            expected[c] = temperature * (p[c] - q[c]);
            divergence += q[c] * log(q[c] / p[c]);
            assert_true(fabs(z[c] - printed[i][c]) < 5e-4);
        }
        assert_true(error(z, expected, 3) <= 1e-6 && fabs(soft_loss - divergence) <= 1e-6);
        assert_true(fabs(square * (double)soft_loss - printed_loss[i]) < 5e-4);
    }
}

/* At a high temperature T squared times the divergence is half the squared difference of the centred logits. */
static void test_hot_soft_targets(void **unused)
{
    (void)unused;
    enum { N = 50 };
    const float temperature = 1000;
    float *z = randoms(N, 1, 5), *t = randoms(N, 1, 6), label_loss, soft_loss, hit;
    double expected[N], z_mean = 0, t_mean = 0;
    for (int c = 0; c < N; c++) {
        z_mean += z[c] / N;
        t_mean += t[c] / N;
    }
    for (int c = 0; c < N; c++)
        expected[c] = ((z[c] - z_mean) - (t[c] - t_mean)) / N;
    softmax_row((struct softmax_loss){.classes = N, .stride = N, .temperature = temperature,
                                      .soft_scale = temperature * temperature},
                z, t, -100, &label_loss, &soft_loss, &hit);
    double worst = error(z, expected, N);
    check_report("kl.hot", "%.0f", temperature);
    check_report("kl.squares", "%.1e", worst);
    assert_true(worst <= 0.01);
    free(z);
    free(t);
}

static void test_both_losses_at_once(void **unused)
{
    (void)unused;
    enum { ROWS = 3, N = 29, STRIDE = 32 };
    float *z = randoms(ROWS * STRIDE, 2, 7), *t = randoms(ROWS * STRIDE, 2, 8);
    float label_loss[ROWS], soft_loss[ROWS], hit[ROWS];
    const int labels[ROWS] = {4, -100, 28};
    const float weights[ROWS] = {1, 1, 0}, scale = 8;
    double slope[ROWS][N] = {{0}}, part[N];
    for (int i = 0; i < ROWS; i++) {
        struct case_of o = {.n = N, .label = labels[i], .temperature = 2, .teacher = t + i * STRIDE};
        if (labels[i] >= 0)
            differences(label_loss_of, &o, z + i * STRIDE, part);
        for (int c = 0; c < N; c++)
            slope[i][c] += labels[i] >= 0 ? scale * 0.5 * part[c] : 0;
        differences(soft_loss_of, &o, z + i * STRIDE, part);
        for (int c = 0; c < N; c++)
            slope[i][c] += scale * 3 * weights[i] * part[c];
    }
    k->softmax_loss(&(struct softmax_loss){ROWS, N, STRIDE, 2, 0.5f, 3}, (real *)z, (real *)t, labels, weights, &scale,
                    label_loss, soft_loss, hit);
    for (int i = 0; i < ROWS; i++)
        assert_true(error(z + i * STRIDE, slope[i], N) <= 1e-5);
    assert_true(label_loss[0] > 0 && label_loss[1] == 0 && label_loss[2] > 0);
    assert_true(soft_loss[0] > 0 && soft_loss[1] > 0 && soft_loss[2] == 0);
    free(z);
    free(t);
}

static void test_hits(void **unused)
{
    (void)unused;
    const float logits[] = {1, 3, 3, -2};
    const bool expected[] = {false, true, false, false};
    for (int label = 0; label < 4; label++) {
        float z[4], label_loss, soft_loss, hit;
        memcpy(z, logits, sizeof z);
        softmax_row((struct softmax_loss){.classes = 4, .stride = 4, .temperature = 1}, z, NULL, label, &label_loss,
                    &soft_loss, &hit);
        assert_true((hit == 1) == expected[label]);
    }
}

static void test_cosine(void **unused)
{
    (void)unused;
    double worst = 0, orthogonal = 0;
    int cases = 0;
    for (int w = 0; w < WIDTHS; w++)
        for (int i = 0; i < 4; i++, cases++) {
            int n = widths[w];
            double sizes[] = {0.01, 1, 10, 1}, product = 0, s_length = 0, g_length = 0;
            float *s = randoms((size_t)n, sizes[i], random_key(9, (uint64_t)w, (uint64_t)i));
            float *t = randoms((size_t)n, 1, random_key(10, (uint64_t)w, (uint64_t)i));
            float *g = calloc((size_t)n, sizeof *g), loss, weight = 1;
            double *slope = calloc((size_t)n, sizeof *slope);
            struct case_of o = {.n = n, .teacher = t};
            double exact = differences(cosine_loss_of, &o, s, slope);
            k->cosine_loss((real *)s, (real *)t, &weight, (real *)g, 1, n, 1, &one, &loss);
            worst = fmax(worst, error(g, slope, (size_t)n));
            assert_true(fabs(loss - exact) <= 1e-6);
            for (int c = 0; c < n; c++) {
                product += (double)s[c] * g[c];
                s_length += (double)s[c] * s[c];
                g_length += (double)g[c] * g[c];
            }
            orthogonal = fmax(orthogonal, fabs(product) / sqrt(s_length * g_length));
            free(slope);
            free(g);
            free(t);
            free(s);
        }
    check_report("cosine.error", "%.1e", worst);
    check_report("cosine.cases", "%.0f", cases);
    check_report("cosine.orthogonal", "%.1e", orthogonal);
    assert_true(worst <= 1e-5);
    assert_true(orthogonal <= 1e-5);
}

/* The book's example in the plane. The second student is half as long, the second teacher twice as long. */
static void test_cosine_by_hand(void **unused)
{
    (void)unused;
    const float s[] = {4, 3, 2, 1.5f}, t[] = {0, 2, 0, 4};
    const double expected[] = {0.096, -0.128, 0.192, -0.256};
    float g[] = {0, 0, 0, 0}, loss[2];
    k->cosine_loss((const real *)s, (const real *)t, NULL, (real *)g, 2, 2, 1, &one, loss);
    assert_true(error(g, expected, 4) <= 1e-6);
    assert_true(fabsf(loss[0] - 0.4f) <= 1e-6f && fabsf(loss[1] - 0.4f) <= 1e-6f);
    assert_true(fabsf(s[0] * g[0] + s[1] * g[1]) <= 1e-6f);
    assert_true(fabsf(5 * hypotf(g[0], g[1]) - 0.8f) <= 1e-6f);
}

static void test_cosine_adds_and_weighs(void **unused)
{
    (void)unused;
    const float s[] = {1, 0, 1, 0, 0, 0}, t[] = {0, 2, 0, 2, 1, 1}, weight[] = {1, 0, 1}, scale = 2;
    float g[] = {10, 20, 30, 40, 50, 60}, loss[3];
    k->cosine_loss((const real *)s, (const real *)t, weight, (real *)g, 3, 2, 3, &scale, loss);
    const float expected[] = {10, 20 - 6, 30, 40, 50, 60}; /* a right angle; no weight; no length */
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(g[i] - expected[i]) < 1e-5f);
    assert_true(loss[0] == 1 && loss[1] == 0 && loss[2] == 1);
}

/* The relations of three sequences, of which two have tokens that are not visible. */

static const int relation_offsets[] = {0, 9, 10, 17}, relation_visible[] = {8, 1, 5};

enum { RELATED = 17 }; /* tokens */

static struct attention relation_of(int heads, int width)
{
    return (struct attention){heads, width, 3, 9, relation_offsets, relation_visible, {0, 0}};
}

/* The largest element of M - M^T, relative to the largest of M, where M is X^T dX of the visible rows of one head. */
static double rotation_of(const struct attention *a, const float *x, const float *dx, int part)
{
    int depth = a->width / a->heads, column = part % 3 * a->width + part / 3 * depth;
    double apart = 0, largest = 0;
    for (int c = 0; c < depth; c++)
        for (int d = 0; d < depth; d++) {
            double there = 0, back = 0;
            for (int s = 0; s < a->sequences; s++)
                for (int i = a->offsets[s]; i < a->offsets[s] + a->visible[s]; i++) {
                    const float *row = x + 3 * i * a->width + column, *slope = dx + 3 * i * a->width + column;
                    there += (double)row[c] * slope[d];
                    back += (double)row[d] * slope[c];
                }
            apart = fmax(apart, fabs(there - back));
            largest = fmax(largest, fabs(there));
        }
    return apart / largest;
}

static void test_relations(void **unused)
{
    (void)unused;
    const int sizes[][3] = {{1, 3, 5}, {2, 8, 8}, {4, 16, 8}, {3, 6, 24}}; /* heads, width, the teacher's */
    double worst = 0, rotation = 0, h = 1e-5;
    int cases = 0;
    for (int i = 0; i < 4; i++)
        for (int size = 0; size < 2; size++, cases++) {
            size_t n = (size_t)(RELATED * 3 * sizes[i][1]), m = (size_t)(RELATED * 3 * sizes[i][2]);
            struct attention relation = relation_of(sizes[i][0], sizes[i][1]);
            float *x = randoms(n, 0.5 + 2 * size, random_key(12, (uint64_t)i, (uint64_t)size)), total = 0;
            float *t = randoms(m, 0.5 + 2 * size, random_key(13, (uint64_t)i, (uint64_t)size));
            float *dx = calloc(n, sizeof *dx);
            double *student = calloc(n, sizeof *student), *teacher = calloc(m, sizeof *teacher), exact, above, below;
            double *slope = calloc(n, sizeof *slope);
            struct related p = {relation, sizes[i][2], student, teacher};
            for (size_t c = 0; c < n; c++)
                student[c] = x[c];
            for (size_t c = 0; c < m; c++)
                teacher[c] = t[c];
            relation_total(&p, &exact);
            k->relation_loss(&relation, (real *)x, (real *)t, sizes[i][2], (real *)dx, 1, &one, &total);
            assert_true(fabs(total - exact) <= 1e-6 * exact);
            for (size_t c = 0; c < n; c++) {
                student[c] = x[c] + h;
                relation_total(&p, &above);
                student[c] = x[c] - h;
                relation_total(&p, &below);
                student[c] = x[c];
                slope[c] = (above - below) / (2 * h);
            }
            worst = fmax(worst, error(dx, slope, n));
            for (int part = 0; part < 3 * relation.heads; part++)
                rotation = fmax(rotation, rotation_of(&relation, x, dx, part));
            free(slope);
            free(teacher);
            free(student);
            free(dx);
            free(t);
            free(x);
        }
    check_report("relations.error", "%.1e", worst);
    check_report("relations.cases", "%.0f", cases);
    check_report("relations.rotation", "%.1e", rotation);
    assert_true(worst <= 1e-5);
    assert_true(rotation <= 1e-5);
}

/* The book's example: two tokens, one head of depth 1. Only the queries differ. What is there is added to. */
static void test_relations_by_hand(void **unused)
{
    (void)unused;
    const int offsets[] = {0, 2}, visible[] = {2};
    const struct attention relation = {1, 1, 1, 2, offsets, visible, {0, 0}};
    const float x[] = {1, 2, 3, 0, 2, 3}, t[] = {1, 2, 3, 1, 2, 3}, scale = 4;
    const double p = 1 / (1 + exp(-1)), g = p - 0.5;
    float dx[] = {10, 20, 30, 40, 50, 60}, total = 5;
    k->relation_loss(&relation, (const real *)x, (const real *)t, 1, (real *)dx, 0.5f, &scale, &total);
    const double expected[] = {10 + 2 * 2 * g, 20, 30, 40 - 2 * g, 50, 60};
    assert_true(error(dx, expected, 6) <= 1e-6);
    assert_true(fabs(total - 5 - (0.5 * log(0.5 / p) + 0.5 * log(0.5 / (1 - p)))) <= 1e-6);
    assert_true(fabs(2 * g - 0.462) < 5e-4 && fabs(g - 0.231) < 5e-4 && fabs(total - 5 - 0.120) < 5e-4);
}

static void test_equal_relations(void **unused)
{
    (void)unused;
    enum { HEADS = 4, WIDTH = 8, N = RELATED * 3 * WIDTH };
    const struct attention relation = relation_of(HEADS, WIDTH);
    float *x = randoms(N, 2, 14), *dx = calloc(N, sizeof *dx), total = 0;
    k->relation_loss(&relation, (real *)x, (real *)x, WIDTH, (real *)dx, 1, &one, &total);
    assert_true(total == 0);
    for (int i = 0; i < N; i++)
        assert_true(dx[i] == 0);
    free(dx);
    free(x);
}

/* The triple loss on small models -----------------------------------------------------------------------------------*/

struct pair_of_models {
    struct model *teacher, *student;
    struct batch *batch;
};

static struct pair_of_models open_models(void)
{
    struct pair_of_models p = {
        encoder_open(k, "tests/fixtures/bert-tiny", HEAD_MLM, 0, LEARN_NOTHING),
        encoder_open(k, "tests/fixtures/distilbert-tiny", HEAD_MLM, 0, LEARN_ALL),
        batch_create(60, 3),
    };
    const int lengths[] = {9, 20, 13};
    for (int s = 0, number = 0; s < 3; s++) {
        int ids[20];
        for (int t = 0; t < lengths[s]; t++)
            ids[t] = 5 + (int)random_below(11, (uint64_t)number++, 92);
        batch_append(p.batch, ids, lengths[s], lengths[s], 20);
    }
    for (int t = 2; t < p.batch->tokens; t += 5)
        if (p.batch->ids[t] != PADDING)
            p.batch->labels[t] = p.batch->ids[t];
    p.student->shape.dropout = p.student->shape.attention_dropout = 0;
    return p;
}

static void close_models(struct pair_of_models *p)
{
    encoder_free(p->teacher);
    encoder_free(p->student);
    batch_free(p->batch);
}

static const struct loss_settings plain = {
    .temperature = 2, .kl_positions = REAL_POSITIONS, .cosine_positions = REAL_POSITIONS,
    .pairs = 2, .pair = {{2, 4}, {1, 3}},
};

static float *gradient_of(struct pair_of_models *p, struct loss_settings settings, float mlm, float kl, float cosine,
                          float share, struct loss_values *values)
{
    float *gradient = calloc(p->student->parameters.size, sizeof *gradient);
    settings.mlm = mlm;
    settings.kl = kl;
    settings.cosine = cosine;
    k->zero(p->student->gradient, p->student->parameters.size * sizeof(float));
    distillation_step(p->student, p->teacher, p->batch, &settings, 0, share, values);
    encoder_gradient(p->student, gradient);
    return gradient;
}

static void test_weights_are_additive(void **unused)
{
    (void)unused;
    struct pair_of_models p = open_models();
    struct loss_values values[5];
    float *mlm = gradient_of(&p, plain, 1, 0, 0, 1, &values[0]), *kl = gradient_of(&p, plain, 0, 1, 0, 1, &values[1]);
    float *cosine = gradient_of(&p, plain, 0, 0, 1, 1, &values[2]);
    struct loss_settings settings = plain;
    settings.relations = 1;
    settings.relation_heads = 8;
    float *relations = gradient_of(&p, settings, 0, 0, 0, 1, &values[4]);
    settings.relations = 7;
    float *all = gradient_of(&p, settings, 2, 5, 3, 0.5f, &values[3]);
    size_t n = p.student->parameters.size;
    double *sum = calloc(n, sizeof *sum);
    for (size_t i = 0; i < n; i++)
        sum[i] = 0.5 * (2.0 * mlm[i] + 5.0 * kl[i] + 3.0 * cosine[i] + 7.0 * relations[i]);
    double worst = error(all, sum, n);
    check_report("triple.additive", "%.1e", worst);
    assert_true(worst <= 1e-5);
    assert_true(fabs(values[3].mlm - values[0].mlm) <= 1e-6 * values[0].mlm);
    assert_true(fabs(values[3].kl - values[1].kl) <= 1e-6 * values[1].kl);
    assert_true(fabs(values[3].cosine - values[2].cosine) <= 1e-6 * values[2].cosine);
    assert_true(values[4].relations > 0 && values[0].relations == 0);
    assert_true(fabs(values[3].relations - values[4].relations) <= 1e-6 * values[4].relations);
    assert_true(fabs(values[3].total - 2 * values[3].mlm - 5 * values[3].kl - 3 * values[3].cosine
                     - 7 * values[3].relations) <= 1e-9);
    assert_int_equal(values[3].tokens, 60);
    free(sum);
    free(mlm);
    free(kl);
    free(cosine);
    free(relations);
    free(all);
    close_models(&p);
}

static void test_positions(void **unused)
{
    (void)unused;
    struct pair_of_models p = open_models();
    struct loss_values all, real, masked, by_sequence;
    struct loss_settings settings = plain;
    free(gradient_of(&p, settings, 0, 1, 1, 1, &real));
    settings.kl_positions = settings.cosine_positions = ALL_POSITIONS;
    free(gradient_of(&p, settings, 0, 1, 1, 1, &all));
    settings.kl_divisor = BY_SEQUENCES;
    free(gradient_of(&p, settings, 0, 1, 1, 1, &by_sequence));
    settings = plain;
    settings.kl_positions = settings.cosine_positions = MASKED_POSITIONS;
    free(gradient_of(&p, settings, 0, 1, 1, 1, &masked));
    assert_true(all.kl != real.kl && real.kl != masked.kl && all.cosine != real.cosine);
    assert_true(masked.cosine != real.cosine);
    assert_true(fabs(by_sequence.kl - all.kl * 60 / 3) <= 1e-5 * by_sequence.kl);
    assert_int_equal(all.masked, masked.masked);
    assert_int_equal(all.correct, masked.correct);
    close_models(&p);
}

/* Steps that are not asked for values leave them to the next that is. */
static void test_values_can_wait(void **unused)
{
    (void)unused;
    struct pair_of_models p = open_models();
    struct loss_values once, twice, evaluated;
    masked_lm_step(p.student, p.batch, 0, 1, &once);
    masked_lm_step(p.student, p.batch, 0, 1, NULL);
    masked_lm_step(p.student, p.batch, 0, 1, &twice);
    masked_lm_evaluate(p.student, p.batch, &evaluated);
    assert_int_equal(twice.masked, 2 * once.masked);
    assert_int_equal(twice.correct, 2 * once.correct);
    assert_int_equal(twice.tokens, 2 * once.tokens);
    assert_true(fabs(twice.mlm - once.mlm) <= 1e-6 * once.mlm);
    assert_true(evaluated.mlm == once.mlm && evaluated.correct == once.correct);
    assert_true(once.masked > 0);
    close_models(&p);
}

/* Means over parts are joined by what they are means over. */
static void test_values_are_joined(void **unused)
{
    (void)unused;
    struct loss_values all = {.mlm = 2, .relations = 1, .tokens = 5, .terms = {{2, 1}, {0, 0}, {0, 0}, {3, 10}}};
    const struct loss_values more = {.mlm = 6, .relations = 4, .tokens = 5, .terms = {{2, 3}, {0, 0}, {0, 0}, {3, 20}}};
    loss_values_join(&all, &more);
    assert_true(all.mlm == 5 && all.relations == 3 && all.terms[3].count == 30 && all.tokens == 10);
    assert_true(all.total == 2 * 5 + 3 * 3);
}

static void test_batch_without_labels(void **unused)
{
    (void)unused;
    struct pair_of_models p = open_models();
    struct loss_values values;
    for (int t = 0; t < p.batch->tokens; t++)
        p.batch->labels[t] = NO_LABEL;
    float *gradient = gradient_of(&p, plain, 1, 0, 0, 1, &values);
    assert_true(values.total == 0 && values.masked == 0);
    for (size_t i = 0; i < p.student->parameters.size; i++)
        assert_true(gradient[i] == 0);
    free(gradient);
    close_models(&p);
}

static void test_teacher_must_fit(void **unused)
{
    (void)unused;
    struct pair_of_models p = open_models();
    struct model *other = encoder_open(k, "tests/fixtures/bert-plain", HEAD_MLM, 0, LEARN_NOTHING);
    struct loss_settings settings = plain;
    settings.kl = 1;
    EXPECT_FAIL(distillation_step(p.student, other, p.batch, &settings, 0, 1, NULL), "has 37 words; its student 97");
    settings.kl = 0;
    settings.cosine = 1;
    settings.pair[0] = settings.pair[1] = (struct layer_pair){2, 2};
    EXPECT_FAIL(distillation_step(p.student, other, p.batch, &settings, 0, 1, NULL), "has width 16");
    settings.pair[1].teacher = 5;
    EXPECT_FAIL(distillation_step(p.student, p.teacher, p.batch, &settings, 0, 1, NULL), "the cosine wants 5 and 2");
    settings = plain;
    settings.relations = 1;
    settings.relation_heads = 5;
    EXPECT_FAIL(distillation_step(p.student, p.teacher, p.batch, &settings, 0, 1, NULL),
                "has width 32 and its student 32; expected relation heads that divide both, found 5");
    settings.relation_heads = 0;
    EXPECT_FAIL(distillation_step(p.student, p.teacher, p.batch, &settings, 0, 1, NULL), "found 0");
    encoder_free(other);
    close_models(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_labels_by_hand),
        cmocka_unit_test(test_soft_targets),
        cmocka_unit_test(test_soft_targets_by_hand),
        cmocka_unit_test(test_hot_soft_targets),
        cmocka_unit_test(test_both_losses_at_once),
        cmocka_unit_test(test_hits),
        cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_cosine_by_hand),
        cmocka_unit_test(test_cosine_adds_and_weighs),
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_relations_by_hand),
        cmocka_unit_test(test_equal_relations),
        cmocka_unit_test(test_weights_are_additive),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_values_can_wait),
        cmocka_unit_test(test_values_are_joined),
        cmocka_unit_test(test_batch_without_labels),
        cmocka_unit_test(test_teacher_must_fit),
    };
    k = device_open("cpu");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
