/* Tangled from chapters/21-kernels-cpu.md; edit there. */
#include "kernels.h"
#include "fail.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Look inside a real */
static const float *in(const real *x)
{
    return (const float *)x;
}

static float *out(real *x)
{
    return (float *)x;
}

/* Share work among threads */
enum { SPAN = 4096 };

static size_t span_end(size_t from, size_t n)
{
    return from + SPAN < n ? from + SPAN : n;
}

/* Compute exponentials eight at a time */
static inline float exponential(float x)
{
    return expf(x);
}

/* Keep memory on the CPU */
static void *allocate_cpu(size_t bytes)
{
    size_t rounded = (bytes + 63) / 64 * 64;
    void *memory = rounded < bytes ? NULL : aligned_alloc(64, rounded ? rounded : 64);
    if (!memory)
        fail("memory", "%zu bytes could not be had", bytes);
    memset(memory, 0, rounded);
    return memory;
}

static void copy_cpu(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static void zero_cpu(void *memory, size_t bytes)
{
    memset(memory, 0, bytes);
}

static void to_real_cpu(const float *from, real *to, size_t n)
{
    if (out(to) != from)
        memcpy(to, from, n * sizeof *from);
}

static void to_float_cpu(const real *from, float *to, size_t n)
{
    if (in(from) != to)
        memcpy(to, from, n * sizeof *to);
}

/* Multiply by matrices on the CPU */
static void linear_cpu(const real *x, const real *w, const real *bias, real *y,
                       int rows, int inner, int outer)
{
    #pragma omp parallel for if (bias)
    for (int i = 0; i < rows; i++)
        if (bias)
            memcpy(out(y) + (size_t)i * outer, bias, (size_t)outer * sizeof(float));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outer, inner,
                1, in(x), inner, in(w), inner, bias ? 1 : 0, out(y), outer);
}

static void linear_input_gradient_cpu(const real *dy, const real *w, real *dx,
                                      int rows, int inner, int outer, bool accumulate)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, inner, outer,
                1, in(dy), outer, in(w), inner, accumulate ? 1 : 0, out(dx), inner);
}

static void linear_weight_gradient_cpu(const real *x, const real *dy, float *dw, float *dbias,
                                       int rows, int inner, int outer)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outer, inner, rows,
                1, in(dy), outer, in(x), inner, 1, dw, inner);
    if (!dbias)
        return;
    #pragma omp parallel for
    for (int from = 0; from < outer; from += 64) {
        int to = from + 64 < outer ? from + 64 : outer;
        for (int i = 0; i < rows; i++)
            for (int j = from; j < to; j++)
                dbias[j] += in(dy)[(size_t)i * outer + j];
    }
}

/* Drop elements on the CPU */
static void drop(struct dropout dropout, uint64_t first, const float *x, float *y, size_t n)
{
    float scale = dropout_scale(dropout);
    for (size_t i = 0; i < n; i++)
        y[i] = dropout_keeps(dropout, first + i) ? scale * x[i] : 0;
}

static void dropout_cpu(const real *x, real *y, size_t n, struct dropout dropout)
{
    #pragma omp parallel for
    for (size_t from = 0; from < n; from += SPAN)
        drop(dropout, from, in(x) + from, out(y) + from, span_end(from, n) - from);
}

/* Look up embeddings on the CPU */
static void embed_cpu(const int *ids, const int *positions, const int *segments,
                      const real *words, const real *places, const real *types,
                      real *y, int rows, int width)
{
    #pragma omp parallel for
    for (int i = 0; i < rows; i++) {
        const float *word = in(words) + (size_t)ids[i] * width;
        const float *place = in(places) + (size_t)positions[i] * width;
        const float *type = types ? in(types) + (size_t)segments[i] * width : NULL;
        float *sum = out(y) + (size_t)i * width;
        for (int k = 0; k < width; k++)
            sum[k] = word[k] + place[k];
        for (int k = 0; type && k < width; k++)
            sum[k] += type[k];
    }
}

static void embed_gradient_cpu(const real *dy, const struct lookup *lookup, float *dtable,
                               int width)
{
    #pragma omp parallel for collapse(2) schedule(dynamic, 16)
    for (int r = 0; r < lookup->rows; r++)
        for (int from = 0; from < width; from += 64) {
            int to = from + 64 < width ? from + 64 : width;
            float *row = dtable + (size_t)lookup->id[r] * width;
            for (int t = lookup->start[r]; t < lookup->start[r + 1]; t++)
                for (int k = from; k < to; k++)
                    row[k] += in(dy)[(size_t)lookup->token[t] * width + k];
        }
}

/* Normalise rows on the CPU */
static void norm_cpu(real *x, const real *residual, struct dropout dropout,
                     const real *gain, const real *bias, real *y, float *mean,
                     float *deviation, int rows, int width, float epsilon)
{
    #pragma omp parallel for
    for (int i = 0; i < rows; i++) {
        size_t first = (size_t)i * width;
        float *row = out(x) + first, sum = 0, squares = 0;
        if (dropout.rate > 0)
            drop(dropout, first, row, row, width);
        for (int k = 0; residual && k < width; k++)
            row[k] += in(residual)[first + k];
        #pragma omp simd reduction(+ : sum)
        for (int k = 0; k < width; k++)
            sum += row[k];
        mean[i] = sum / width;
        #pragma omp simd reduction(+ : squares)
        for (int k = 0; k < width; k++)
            squares += (row[k] - mean[i]) * (row[k] - mean[i]);
        deviation[i] = 1 / sqrtf(squares / width + epsilon);
        for (int k = 0; k < width; k++)
            out(y)[first + k] =
                in(gain)[k] * (row[k] - mean[i]) * deviation[i] + in(bias)[k];
    }
}

static void norm_gradient_cpu(const real *dy, const real *x, const float *mean,
                              const float *deviation, const real *gain,
                              struct dropout dropout, real *dsum, real *dx,
                              float *dgain, float *dbias, int rows, int width)
{
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < width; k++) {
            size_t at = (size_t)i * width + k;
            dgain[k] += in(dy)[at] * (in(x)[at] - mean[i]) * deviation[i];
            dbias[k] += in(dy)[at];
        }
    #pragma omp parallel for
    for (int i = 0; i < rows; i++) {
        size_t first = (size_t)i * width;
        float average = 0, product = 0;
        for (int k = 0; k < width; k++) {
            float g = in(gain)[k] * in(dy)[first + k];
            average += g / width;
            product += g * (in(x)[first + k] - mean[i]) * deviation[i] / width;
        }
        for (int k = 0; k < width; k++) {
            float g = in(gain)[k] * in(dy)[first + k];
            float h = (in(x)[first + k] - mean[i]) * deviation[i];
            out(dsum)[first + k] = deviation[i] * (g - average - h * product);
        }
        if (dx)
            drop(dropout, first, in(dsum) + first, out(dx) + first, width);
    }
}

/* Apply functions to elements on the CPU */
static void activate_cpu(enum activation f, const real *x, real *y, size_t n)
{
    #pragma omp parallel for
    for (size_t i = 0; i < n; i++) {
        float v = in(x)[i];
        out(y)[i] = f == GELU ? 0.5f * v * (1 + erff(v * 0.70710678f))
                  : f == TANH ? tanhf(v) : v > 0 ? v : 0;
    }
}

static void activate_gradient_cpu(enum activation f, const real *x, const real *dy, real *dx,
                                  size_t n)
{
    #pragma omp parallel for
    for (size_t i = 0; i < n; i++) {
        float v = in(x)[i], t = tanhf(v);
        out(dx)[i] = in(dy)[i]
            * (f == GELU ? 0.5f * (1 + erff(v * 0.70710678f))
                           + v * 0.39894228f * expf(-0.5f * v * v)
               : f == TANH ? 1 - t * t : v > 0 ? 1 : 0);
    }
}

static void add_cpu(const real *x, real *y, size_t n)
{
    #pragma omp parallel for simd
    for (size_t i = 0; i < n; i++)
        out(y)[i] += in(x)[i];
}

/* Attend on the CPU */
static void attention_cpu(const struct attention *a, const real *qkv, real *y, float *logsum)
{
    int depth = a->width / a->heads, stride = 3 * a->width;
    float scale = 1 / sqrtf((float)depth);
    #pragma omp parallel
    {
        float *scores = allocate((size_t)a->longest * a->longest, sizeof *scores);
        #pragma omp for schedule(dynamic)
        for (int task = 0; task < a->sequences * a->heads; task++) {
            int s = task / a->heads, head = task % a->heads, first = a->offsets[s];
            int length = a->offsets[s + 1] - first, keys = a->visible[s];
            const float *q = in(qkv) + (size_t)first * stride + head * depth;
            const float *k = q + a->width, *v = k + a->width;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, length, keys, depth,
                        scale, q, stride, k, stride, 0, scores, keys);
            for (int i = 0; i < length; i++) {
                float *row = scores + (size_t)i * keys, largest = row[0], sum = 0;
                size_t number = (size_t)(first + i) * a->heads + head;
                for (int j = 1; j < keys; j++)
                    largest = fmaxf(largest, row[j]);
                for (int j = 0; j < keys; j++)
                    sum += row[j] = exponential(row[j] - largest);
                for (int j = 0; j < keys; j++)
                    row[j] /= sum;
                logsum[number] = largest + logf(sum);
                if (a->dropout.rate > 0)
                    drop(a->dropout, number * 65536, row, row, keys);
            }
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, length, depth, keys,
                        1, scores, keys, v, stride, 0,
                        out(y) + (size_t)first * a->width + head * depth, a->width);
        }
        free(scores);
    }
}

static void attention_gradient_cpu(const struct attention *a, const real *qkv, const real *y,
                                   const float *logsum, const real *dy, real *dqkv)
{
    int depth = a->width / a->heads, stride = 3 * a->width;
    float scale = 1 / sqrtf((float)depth);
    #pragma omp parallel
    {
        float *p = allocate((size_t)a->longest * a->longest, sizeof *p);
        float *kept = allocate((size_t)a->longest * a->longest, sizeof *kept);
        float *dp = allocate((size_t)a->longest * a->longest, sizeof *dp);
        #pragma omp for schedule(dynamic)
        for (int task = 0; task < a->sequences * a->heads; task++) {
            int s = task / a->heads, head = task % a->heads, first = a->offsets[s];
            int length = a->offsets[s + 1] - first, keys = a->visible[s];
            size_t at = (size_t)first * stride + head * depth;
            size_t place = (size_t)first * a->width + head * depth;
            const float *q = in(qkv) + at, *k = q + a->width, *v = k + a->width;
            float *dq = out(dqkv) + at, *dk = dq + a->width, *dv = dk + a->width;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, length, keys, depth,
                        scale, q, stride, k, stride, 0, p, keys);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, length, keys, depth,
                        1, in(dy) + place, a->width, v, stride, 0, dp, keys);
            for (int i = 0; i < length; i++) {
                size_t number = (size_t)(first + i) * a->heads + head, row = (size_t)i * keys;
                float dot = 0;
                for (int c = 0; c < depth; c++)
                    dot += in(dy)[place + (size_t)i * a->width + c]
                           * in(y)[place + (size_t)i * a->width + c];
                for (int j = 0; j < keys; j++)
                    p[row + j] = exponential(p[row + j] - logsum[number]);
                drop(a->dropout, number * 65536, p + row, kept + row, keys);
                drop(a->dropout, number * 65536, dp + row, dp + row, keys);
                for (int j = 0; j < keys; j++)
                    dp[row + j] = p[row + j] * (dp[row + j] - dot);
            }
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, keys, depth, length,
                        1, kept, keys, in(dy) + place, a->width, 0, dv, stride);
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, keys, depth, length,
                        scale, dp, keys, q, stride, 0, dk, stride);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, length, depth, keys,
                        scale, dp, keys, k, stride, 0, dq, stride);
            for (int j = keys; j < length; j++)
                for (int c = 0; c < depth; c++)
                    dk[(size_t)j * stride + c] = dv[(size_t)j * stride + c] = 0;
        }
        free(p);
        free(kept);
        free(dp);
    }
}

/* Choose rows on the CPU */
static void gather_cpu(const real *x, const int *index, real *y, int rows, int width)
{
    #pragma omp parallel for
    for (int i = 0; i < rows; i++)
        memcpy(out(y) + (size_t)i * width, in(x) + (size_t)index[i] * width,
               (size_t)width * sizeof(float));
}

static void scatter_cpu(const real *dy, const int *index, real *dx, int rows, int width)
{
    #pragma omp parallel for
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < width; k++)
            out(dx)[(size_t)index[i] * width + k] += in(dy)[(size_t)i * width + k];
}

/* Compute the softmax loss on the CPU */
/* Take the logarithm of a softmax's denominator */
enum { COLUMNS = 512 }; /* of a row of logits, worked on together */

/* log of the sum of exp(z[c] / tau) over c < classes. */
static double log_sum(const float *z, int classes, float tau)
{
    float largest = z[0];
    double sum = 0;
    for (int from = 0; from < classes; from += COLUMNS) {
        int to = from + COLUMNS < classes ? from + COLUMNS : classes;
        float before = largest, part = 0;
        #pragma omp simd reduction(max : largest)
        for (int c = from; c < to; c++)
            largest = z[c] > largest ? z[c] : largest;
        #pragma omp simd reduction(+ : part)
        for (int c = from; c < to; c++)
            part += exponential((z[c] - largest) / tau);
        sum = sum * exp((double)(before - largest) / tau) + part;
    }
    return (double)largest / tau + log(sum);
}

/* Tell whether the label has the first largest logit */
static bool leads(const float *z, int classes, int label)
{
    bool beaten = false;
    for (int c = 0; c < label; c++)
        beaten |= z[c] >= z[label];
    for (int c = label + 1; c < classes; c++)
        beaten |= z[c] > z[label];
    return !beaten;
}

/* Add the gradient of the label's loss */
/* gradient[c] += scale (p[c] - [c == label]) for count columns; label counts from the first. */
static void add_label_gradient(float *gradient, const float *z, int count, float log_sum,
                               int label, float scale)
{
    for (int c = 0; c < count; c++)
        gradient[c] += scale * exponential(z[c] - log_sum);
    if (label >= 0 && label < count)
        gradient[label] -= scale;
}

/* Add the gradient of the soft targets' loss */
/* gradient[c] += scale (p[c] - q[c]) / tau for count columns; returns their part of KL(q || p).
   z, t: logits of student and teacher; z_sum, t_sum: log of the denominators at temperature tau. */
static double add_soft_gradient(float *gradient, const float *z, const float *t, int count,
                                double z_sum, double t_sum, float tau, float scale)
{
    float divergence = 0;
    #pragma omp simd reduction(+ : divergence)
    for (int c = 0; c < count; c++) {
        float log_p = z[c] / tau - (float)z_sum, log_q = t[c] / tau - (float)t_sum;
        float p = exponential(log_p), q = exponential(log_q);
        divergence += q * (log_q - log_p);
        gradient[c] += scale * (p - q) / tau;
    }
    return divergence;
}

static void softmax_loss_cpu(const struct softmax_loss *loss, real *student,
                             const real *teacher, const int *labels,
                             const float *soft_weight, const float *loss_scale,
                             float *label_loss, float *soft_loss, float *hit)
{
    #pragma omp parallel for
    for (int i = 0; i < loss->rows; i++) {
        float *z = out(student) + (size_t)i * loss->stride;
        const float *t = teacher ? in(teacher) + (size_t)i * loss->stride : NULL;
        int label = labels ? labels[i] : -1;
        bool soft = t && (!soft_weight || soft_weight[i] > 0);
        /* Measure one row of logits and overwrite it with its gradient */
        double denominator = label >= 0 ? log_sum(z, loss->classes, 1) : 0;
        double student_soft = soft ? log_sum(z, loss->classes, loss->temperature) : 0;
        double teacher_soft = soft ? log_sum(t, loss->classes, loss->temperature) : 0;
        double divergence = 0;
        label_loss[i] = label >= 0 ? (float)(denominator - z[label]) : 0;
        hit[i] = label >= 0 && leads(z, loss->classes, label);
        for (int from = 0; from < loss->classes; from += COLUMNS) {
            int count = loss->classes - from < COLUMNS ? loss->classes - from : COLUMNS;
            float gradient[COLUMNS] = {0};
            if (label >= 0)
                add_label_gradient(gradient, z + from, count, (float)denominator, label - from,
                                   loss->label_scale * *loss_scale);
            if (soft)
                divergence += add_soft_gradient(gradient, z + from, t + from, count, student_soft,
                                                teacher_soft, loss->temperature,
                                                loss->soft_scale * *loss_scale);
            memcpy(z + from, gradient, (size_t)count * sizeof *gradient);
        }
        memset(z + loss->classes, 0, (size_t)(loss->stride - loss->classes) * sizeof *z);
        soft_loss[i] = (float)divergence;
    }
}

/* Compute the cosine loss on the CPU */
static void cosine_loss_cpu(const real *student, const real *teacher, const float *weight,
                            real *gradient, int rows, int width, float scale,
                            const float *loss_scale, float *row_loss)
{
    #pragma omp parallel for
    for (int i = 0; i < rows; i++) {
        size_t row = (size_t)i * (size_t)width;
        const float *s = in(student) + row, *t = in(teacher) + row;
        float *g = out(gradient) + row, w = weight ? weight[i] : 1;
        /* Measure two hidden states and the angle between them */
        float ss = 0, tt = 0, st = 0;
        #pragma omp simd reduction(+ : ss, tt, st)
        for (int k = 0; k < width; k++) {
            ss += s[k] * s[k];
            tt += t[k] * t[k];
            st += s[k] * t[k];
        }
        float inverse_s = ss > 0 ? 1 / sqrtf(ss) : 0, inverse_t = tt > 0 ? 1 / sqrtf(tt) : 0;
        float c = st * inverse_s * inverse_t;
        row_loss[i] = w * (1 - c);
        /* Turn the student's hidden state towards the teacher's */
        float factor = -scale * *loss_scale * w * inverse_s;
        for (int k = 0; k < width; k++)
            g[k] += factor * (t[k] * inverse_t - c * s[k] * inverse_s);
    }
}

/* Sum losses on the CPU */
static void sum_cpu(const float *x, int n, float *total)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    *total += (float)sum;
}

/* Step the optimiser on the CPU */
static void square_norm_cpu(const float *gradient, size_t n, float *state)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)gradient[i] * gradient[i];
    state[NORM2] += (float)sum;
}

static void decide_cpu(float *state, float clip)
{
    float norm = sqrtf(state[NORM2]) / state[LOSS_SCALE];
    float factor = clip > 0 && clip < norm + 1e-6f ? clip / (norm + 1e-6f) : 1;
    state[NORM2] = 0;
    state[NORM] = norm;
    state[FACTOR] = isfinite(norm) ? factor / state[LOSS_SCALE] : 0;
    state[SKIPPED] += !isfinite(norm);
}

static void adamw_cpu(const struct adamw *adamw, const float *state, float *master,
                      const float *gradient, float *m, float *v, real *weights, size_t n)
{
    float factor = state[FACTOR], beta1 = adamw->beta1, beta2 = adamw->beta2;
    if (factor == 0)
        return;
    float shrink = 1 - adamw->rate * adamw->decay, step = adamw->rate / adamw->correction1;
    float correction = sqrtf(adamw->correction2);
    #pragma omp parallel for
    for (size_t i = 0; i < n; i++) {
        float g = factor * gradient[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        master[i] = shrink * master[i]
                    - step * m[i] / (sqrtf(v[i]) / correction + adamw->epsilon);
        out(weights)[i] = master[i];
    }
}

/* Open the CPU's table */
const struct kernels *kernels_open(const char *device)
{
    static char name[32];
    static const struct kernels table = {
        .name = name, .real_size = sizeof(float), .loss_scale = 1,
        .allocate = allocate_cpu, .release = free, .upload = copy_cpu, .download = copy_cpu,
        .zero = zero_cpu, .copy = copy_cpu, .to_real = to_real_cpu, .to_float = to_float_cpu,
        .linear = linear_cpu, .linear_input_gradient = linear_input_gradient_cpu,
        .linear_weight_gradient = linear_weight_gradient_cpu,
        .embed = embed_cpu, .embed_gradient = embed_gradient_cpu,
        .norm = norm_cpu, .norm_gradient = norm_gradient_cpu, .dropout = dropout_cpu,
        .activate = activate_cpu, .activate_gradient = activate_gradient_cpu, .add = add_cpu,
        .attention = attention_cpu, .attention_gradient = attention_gradient_cpu,
        .gather = gather_cpu, .scatter = scatter_cpu, .softmax_loss = softmax_loss_cpu,
        .cosine_loss = cosine_loss_cpu, .sum = sum_cpu,
        .square_norm = square_norm_cpu, .decide = decide_cpu, .adamw = adamw_cpu,
    };
    if (strcmp(device, "cpu") != 0)
        fail(device, "is not a device that this program was built for; expected cpu");
    snprintf(name, sizeof name, "CPU, %d threads", omp_get_max_threads());
    return &table;
}
