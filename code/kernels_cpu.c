/* Tangled from chapters/20-kernels-cpu.md; edit there. */
#include "kernels.h"
#include "device.h"
#include "elementary.h"
#include "fail.h"
#include "lanes.h"
#include "products.h"
#include "ranks.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Look inside a real */
static inline const float *in(const real *x)
{
    return (const float *)x;
}

static inline float *out(real *x)
{
    return (float *)x;
}

/* Share work among threads */
enum { SPAN = 4096, PARTS = 32, ALONE = 32768 };

/* span_length: elements in the span that begins at from, of n in all. */
static size_t span_length(size_t from, size_t n)
{
    return n - from < SPAN ? n - from : SPAN;
}

/* part_start: the first row of a part; part PARTS starts behind the last row. */
static int part_start(int part, int rows)
{
    return (int)((int64_t)rows * part / PARTS);
}

static bool worth_sharing(size_t rows, size_t width)
{
    return rows * width >= ALONE;
}

/* add_parts: total[width] = the sum of partial[part, 0 .. width - 1] over all parts, in
   order; += if accumulate. stride: floats from one part to the next. */
static void add_parts(const float *partial, size_t stride, int width, float *total,
                      bool accumulate)
{
    if (!accumulate)
        memset(total, 0, (size_t)width * sizeof *total);
    for (int part = 0; part < PARTS; part++)
        for (int k = 0; k < width; k++)
            total[k] += partial[part * stride + k];
}

/* Keep memory on the CPU */
/* See that OpenBLAS can start */
/* Address space in megabytes: of the program, and of OpenBLAS for each thread. */
enum { PROGRAM_MB = 400, BUFFER_MB = 140 };

static void see_to_addresses(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    /* Count the addresses that the program will need */
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
    for (char **e = environment; *e; e++)
        if (!strncmp(*e, "OMP_NUM_THREADS=", 16) && atol(*e + 16) > 0)
            threads = atol(*e + 16);
    long needed = PROGRAM_MB + BUFFER_MB * threads;
    if (limit.rlim_cur / 1000000 >= (rlim_t)needed)
        return;
    /* Say what is missing and end */
    char line[200];
    int length = snprintf(line, sizeof line,
                          "distil: memory: expected %ld MB of address space for %ld "
                          "threads, found a limit of %llu; raise ulimit -v or "
                          "lower OMP_NUM_THREADS\n",
                          needed, threads,
                          (unsigned long long)limit.rlim_cur / 1000000);
    _exit(write(STDERR_FILENO, line, (size_t)length) == length ? 1 : 2);
}

__attribute__((section(".preinit_array"), used)) static void (*const first_of_all)(
    int, char **, char **) = see_to_addresses;

/* The bytes of addresses that a limit leaves when each thread has its buffer. */
static size_t addresses_left(void)
{
    struct rlimit limit;
    unsigned long pages = 0;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    FILE *stream = fopen("/proc/self/statm", "r");
    if (stream && fscanf(stream, "%lu", &pages) != 1)
        pages = 0;
    if (stream)
        fclose(stream);
    size_t taken = pages * (size_t)sysconf(_SC_PAGESIZE)
                   + (size_t)omp_get_max_threads() * BUFFER_MB * 1000000;
    return limit.rlim_cur > taken ? limit.rlim_cur - taken : 0;
}

/* The bytes that programs can still have, swapped out or not; 0: nobody knows. */
static size_t memory_left(void)
{
    char line[256];
    unsigned long kilobytes, sum = 0;
    FILE *stream = fopen("/proc/meminfo", "r");
    while (stream && fgets(line, sizeof line, stream))
        if (sscanf(line, "MemAvailable: %lu", &kilobytes) == 1
            || sscanf(line, "SwapFree: %lu", &kilobytes) == 1)
            sum += kilobytes;
    if (stream)
        fclose(stream);
    return (size_t)sum * 1024;
}

static void reserve_cpu(size_t bytes, const char *advice)
{
    size_t left = memory_left() / (ranks_wire() ? (size_t)ranks_wire()->places : 1);
    size_t addresses = addresses_left();
    if (left == 0 || addresses < left)
        left = addresses;
    if (bytes > left)
        fail("memory", "this run needs %zu bytes and the machine has %zu left; %s",
             bytes, left, advice);
}

static void wait_cpu(void)
{
}

static void in_turn_cpu(void)
{
}

static void *allocate_cpu(size_t bytes)
{
    size_t rounded = bytes ? (bytes + 63) / 64 * 64 : 64;
    void *memory = rounded < bytes ? NULL : aligned_alloc(64, rounded);
    if (!memory)
        fail("memory", "%zu bytes could not be had", bytes);
    return memset(memory, 0, rounded);
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

static void split_cpu(const float *values, void *master, real *weights, size_t n)
{
    memcpy(master, values, n * sizeof *values);
    to_real_cpu(master, weights, n);
}

static void join_cpu(const void *master, const real *weights, float *values, size_t n)
{
    (void)weights;
    memcpy(values, master, n * sizeof *values);
}

/* Multiply by matrices on the CPU */
static struct matrix rows_of(const float *array, int width)
{
    return (struct matrix){array, (size_t)width, 1, 0};
}

static struct matrix columns_of(const float *array, int width)
{
    return (struct matrix){array, 1, (size_t)width, 0};
}

static const struct matrix nothing = {NULL, 0, 1, 0};

static void linear_cpu(const real *x, const real *w, const real *bias, real *y,
                       int rows, int inner, int outer)
{
    product(rows_of(bias ? in(bias) : NULL, 0), rows_of(in(x), inner),
            columns_of(in(w), inner), out(y), (size_t)outer, rows, inner, outer);
}

static bool settles_cpu(int inner, int outer)
{
    return inner > 0 && product_settles(outer);
}

static void settle_cpu(const real *w, real *settled, int inner, int outer)
{
    product_settle(columns_of(in(w), inner), inner, outer, out(settled));
}

static void linear_settled_cpu(const real *x, const real *settled, const real *bias,
                               real *y, int rows, int inner, int outer)
{
    product(rows_of(bias ? in(bias) : NULL, 0), rows_of(in(x), inner),
            product_settled(in(settled), inner), out(y), (size_t)outer, rows, inner,
            outer);
}

static void linear_input_gradient_cpu(const real *dy, const real *w, real *dx,
                                      int rows, int inner, int outer, bool accumulate)
{
    product(rows_of(accumulate ? in(dx) : NULL, inner), rows_of(in(dy), outer),
            rows_of(in(w), inner), out(dx), (size_t)inner, rows, outer, inner);
}

/* total[width] = the sum of x over its rows; += if accumulate */
static void add_columns(const float *x, int rows, int width, float *total,
                        bool accumulate)
{
    float *partial = allocate((size_t)PARTS * width, sizeof *partial);
    #pragma omp parallel for if (worth_sharing(rows, width))
    for (int part = 0; part < PARTS; part++) {
        float *sum = partial + (size_t)part * width;
        for (int i = part_start(part, rows); i < part_start(part + 1, rows); i++)
            for (int k = 0; k < width; k++)
                sum[k] += x[(size_t)i * width + k];
    }
    add_parts(partial, width, width, total, accumulate);
    free(partial);
}

static void linear_weight_gradient_cpu(const real *x, const real *dy, void *dw,
                                       float *dbias, int rows, int inner, int outer,
                                       int form)
{
    product(rows_of(form & ADD ? dw : NULL, inner), columns_of(in(dy), outer),
            rows_of(in(x), inner), dw, (size_t)inner, outer, rows, inner);
    if (dbias)
        add_columns(in(dy), rows, outer, dbias, form & ADD);
}

/* Drop elements on the CPU */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "draw_mask reads draws as bytes");

/* draw_mask: for n elements from number first on: 0 if dropped, else the scale. */
static void draw_mask(struct dropout dropout, uint64_t first, float *mask, int n)
{
    enum { DRAWS = 8, QUARTERS = 4 * DRAWS };
    uint64_t bits[DRAWS];
    uint16_t quarters[QUARTERS];
    uint32_t threshold = dropout_threshold(dropout);
    float scale = dropout_scale(dropout);
    for (int i = 0; threshold == 0 && i < n; i++)
        mask[i] = 1;
    while (threshold > 0 && n > 0) {
        /* Draw for the next elements */
        int skip = (int)(first % 4), count = n < QUARTERS - skip ? n : QUARTERS - skip;
        for (int draw = 0; draw < DRAWS; draw++)
            bits[draw] = random_bits(dropout.key, first / 4 + (uint64_t)draw);
        memcpy(quarters, bits, sizeof quarters);
        for (int i = 0; i < count; i++)
            mask[i] = quarters[skip + i] >= threshold ? scale : 0;
        first += (uint64_t)count;
        mask += count;
        n -= count;
    }
}

/* drop: y[n] = dropout of x[n], which begins with element number first; y may be x. */
static void drop(struct dropout dropout, uint64_t first, const float *x, float *y,
                 int n)
{
    enum { PIECE = 256 };
    float mask[PIECE];
    for (int from = 0; from < n; from += PIECE) {
        int count = n - from < PIECE ? n - from : PIECE;
        draw_mask(dropout, first + (uint64_t)from, mask, count);
        #pragma omp simd
        for (int i = 0; i < count; i++)
            y[from + i] = x[from + i] * mask[i];
    }
}

static void dropout_cpu(const real *x, real *y, size_t n, struct dropout dropout)
{
    #pragma omp parallel for if (n >= ALONE)
    for (size_t from = 0; from < n; from += SPAN)
        drop(dropout, from, in(x) + from, out(y) + from, (int)span_length(from, n));
}

/* Look up embeddings on the CPU */
static void embed_cpu(const int *ids, const int *positions, const int *segments,
                      const real *words, const real *places, const real *types,
                      real *y, int rows, int width)
{
    #pragma omp parallel for if (worth_sharing(rows, width))
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

static void embed_gradient_cpu(const real *dy, const struct lookup *lookup,
                               void *dtable, bool reals, int width)
{
    enum { COLUMNS = 64 };
    (void)reals;
    int tokens = lookup->rows ? lookup->start[lookup->rows] : 0;
    #pragma omp parallel for collapse(2) schedule(dynamic, 16) \
        if (worth_sharing(tokens, width))
    for (int r = 0; r < lookup->rows; r++)
        for (int from = 0; from < width; from += COLUMNS) {
            int to = from + COLUMNS < width ? from + COLUMNS : width;
            float *row = (float *)dtable + (size_t)lookup->id[r] * width;
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
    #pragma omp parallel for if (worth_sharing(rows, width))
    for (int i = 0; i < rows; i++) {
        float *row = out(x) + (size_t)i * width, *normal = out(y) + (size_t)i * width;
        /* Drop the row and add the residual */
        if (dropout.rate > 0)
            drop(dropout, (uint64_t)i * width, row, row, width);
        const float *rest = residual ? in(residual) + (size_t)i * width : NULL;
        #pragma omp simd
        for (int k = 0; k < (rest ? width : 0); k++)
            row[k] += rest[k];
        /* Measure a row's mean and deviation */
        float mu = lanes_sum(row, width) / (float)width;
        #pragma omp simd
        for (int k = 0; k < width; k++)
            normal[k] = row[k] - mu;
        float variance = lanes_dot(normal, normal, width) / (float)width;
        float delta = 1 / sqrtf(variance + epsilon);
        /* Scale and shift the row */
        #pragma omp simd
        for (int k = 0; k < width; k++)
            normal[k] = fmaf(in(gain)[k], normal[k] * delta, in(bias)[k]);
        if (mean) {
            mean[i] = mu;
            deviation[i] = delta;
        }
    }
}

static void norm_gradient_cpu(const real *dy, const real *x, const float *mean,
                              const float *deviation, const real *gain,
                              struct dropout dropout, real *dsum, real *dx,
                              const struct norm_sums *sums, int rows, int width)
{
    size_t stride = 4 * (size_t)width;
    float *partial = allocate(PARTS * stride, sizeof *partial);
    #pragma omp parallel for if (worth_sharing(rows, width))
    for (int part = 0; part < PARTS; part++) {
        float *part_gain = partial + part * stride, *part_bias = part_gain + width;
        float *h = part_bias + width, *g = h + width;
        /* Go back through the rows of a part */
        for (int i = part_start(part, rows); i < part_start(part + 1, rows); i++) {
            const float *dy_row = in(dy) + (size_t)i * width;
            const float *row = in(x) + (size_t)i * width;
            float *dsum_row = out(dsum) + (size_t)i * width;
            /* Turn a row's gradient back through the normalisation */
            float mu = mean[i], delta = deviation[i];
            #pragma omp simd
            for (int k = 0; k < width; k++) {
                h[k] = (row[k] - mu) * delta;
                g[k] = in(gain)[k] * dy_row[k];
                part_gain[k] = fmaf(dy_row[k], h[k], part_gain[k]);
                part_bias[k] += dy_row[k];
            }
            float g_mean = lanes_sum(g, width) / (float)width;
            float gh_mean = lanes_dot(g, h, width) / (float)width;
            #pragma omp simd
            for (int k = 0; k < width; k++)
                dsum_row[k] = delta * fmaf(-h[k], gh_mean, g[k] - g_mean);
            if (dx)
                drop(dropout, (uint64_t)i * width, dsum_row,
                     out(dx) + (size_t)i * width, width);
        }
    }
    add_parts(partial, stride, width, sums->gain, sums->accumulate);
    add_parts(partial + width, stride, width, sums->bias, sums->accumulate);
    free(partial);
    if (sums->before)
        add_columns(in(dx ? dx : dsum), rows, width, sums->before, sums->accumulate);
}

/* Apply functions to elements on the CPU */
static inline float gelu(float x)
{
    return x * normal_distribution(x, exponential(-0.5f * x * x));
}

static inline float gelu_slope(float x)
{
    float gauss = exponential(-0.5f * x * x);
    return fmaf(x * gauss, 0.39894228f, normal_distribution(x, gauss));
}

static inline float tanh_slope(float x)
{
    float y = hyperbolic_tangent(x);
    return 1 - y * y;
}

static inline float relu_slope(float x)
{
    return x > 0 ? 1 : x <= 0 ? 0 : x;
}

static void activate_cpu(enum activation f, const real *x, real *y, size_t n)
{
    #pragma omp parallel for if (n >= ALONE)
    for (size_t from = 0; from < n; from += SPAN) {
        const float *a = in(x) + from;
        float *b = out(y) + from;
        int count = (int)span_length(from, n);
        if (f == GELU) {
            #pragma omp simd
            for (int i = 0; i < count; i++)
                b[i] = gelu(a[i]);
        } else {
            for (int i = 0; i < count; i++)
                b[i] = f == TANH ? hyperbolic_tangent(a[i]) : a[i] < 0 ? 0 : a[i];
        }
    }
}

static void activate_gradient_cpu(enum activation f, const real *x, const real *dy,
                                  real *dx, float *dbias, int rows, int width,
                                  bool accumulate)
{
    size_t n = (size_t)rows * width;
    #pragma omp parallel for if (n >= ALONE)
    for (size_t from = 0; from < n; from += SPAN) {
        const float *a = in(x) + from, *db = in(dy) + from;
        float *da = out(dx) + from;
        int count = (int)span_length(from, n);
        /* Multiply by the slope */
        if (f == GELU) {
            #pragma omp simd
            for (int i = 0; i < count; i++)
                da[i] = db[i] * gelu_slope(a[i]);
        } else {
            for (int i = 0; i < count; i++)
                da[i] = db[i] * (f == TANH ? tanh_slope(a[i]) : relu_slope(a[i]));
        }
    }
    if (dbias)
        add_columns(in(dx), rows, width, dbias, accumulate);
}

static void add_cpu(const real *x, real *y, size_t n)
{
    #pragma omp parallel for simd if (n >= ALONE)
    for (size_t i = 0; i < n; i++)
        out(y)[i] += in(x)[i];
}

static void linear_onto_cpu(const real *x, const real *w, const real *bias,
                            const real *base, real *y, int rows, int inner, int outer)
{
    linear_cpu(x, w, bias, y, rows, inner, outer);
    add_cpu(base, y, (size_t)rows * (size_t)outer);
}

/* Attend on the CPU */
/* One head of one sequence: where it lies. */
struct task {
    int length, keys;   /* tokens, and how many of them are visible */
    size_t qkv, y;      /* its first element in qkv, and in y and dy */
    size_t row;         /* its first element in logsum; the next token's is heads on */
};

static struct task task_of(const struct attention *a, int number)
{
    int sequence = number / a->heads, head = number % a->heads;
    int depth = a->width / a->heads;
    size_t first = (size_t)a->offsets[sequence];
    return (struct task){
        .length = a->offsets[sequence + 1] - a->offsets[sequence],
        .keys = a->visible[sequence],
        .qkv = first * 3 * a->width + (size_t)head * depth,
        .y = first * a->width + (size_t)head * depth,
        .row = first * a->heads + (size_t)head,
    };
}

/* The elements that a row of scores for so many keys takes. */
static int room_for(int keys)
{
    return (keys + LANES - 1) / LANES * LANES;
}

/* softmax: turns p[n, room_for(keys)], of which each row begins with the products of so
   many keys, into probabilities; products are scores once they are scaled. logsum[i *
   heads]: log sum exp of row i's scores. */
static void softmax(float *p, int n, int keys, float scale, float *logsum, int heads)
{
    int room = room_for(keys);
    /* Find the largest product of each row */
    for (int i = 0; i < n; i++) {
        float *row = p + (size_t)i * room;
        for (int j = keys; j < room; j++)
            row[j] = -INFINITY;
        logsum[(size_t)i * heads] = lanes_max(row, room);
    }
    /* Compute the exponentials of all rows */
    for (int i = 0; i < n; i++) {
        float *row = p + (size_t)i * room, largest = logsum[(size_t)i * heads];
        #pragma omp simd
        for (int j = 0; j < room; j++)
            row[j] = exponential(scale * (row[j] - largest));
    }
    /* Divide each row by its sum */
    for (int i = 0; i < n; i++) {
        float *row = p + (size_t)i * room, *kept = logsum + (size_t)i * heads;
        float sum = lanes_sum(row, room), share = 1 / sum;
        #pragma omp simd
        for (int j = 0; j < room; j++)
            row[j] *= share;
        *kept = scale * *kept + (float)logarithm(sum);
    }
}

static void attention_cpu(const struct attention *a, const real *qkv, real *y,
                          float *logsum)
{
    int depth = a->width / a->heads, stride = 3 * a->width;
    float scale = 1 / sqrtf((float)depth);
    size_t square = (size_t)a->longest * room_for(a->longest);
    #pragma omp parallel if (worth_sharing(a->offsets[a->sequences], a->width))
    {
        float *p = allocate(square, sizeof *p);
        #pragma omp for schedule(dynamic)
        for (int number = 0; number < a->sequences * a->heads; number++) {
            /* Attend with one head in one sequence */
            struct task task = task_of(a, number);
            int n = task.length, keys = task.keys, room = room_for(keys);
            const float *q = in(qkv) + task.qkv, *k = q + a->width, *v = k + a->width;
            product(nothing, rows_of(q, stride), columns_of(k, stride), p, (size_t)room,
                    n, depth, keys);
            softmax(p, n, keys, scale, logsum + task.row, a->heads);
            /* Drop probabilities */
            for (int i = 0; i < n && a->dropout.rate > 0; i++) {
                size_t row = task.row + (size_t)i * a->heads;
                float *score = p + (size_t)i * room;
                drop(a->dropout, row * 65536, score, score, keys);
            }
            product(nothing, rows_of(p, room), rows_of(v, stride), out(y) + task.y,
                    (size_t)a->width, n, keys, depth);
        }
        free(p);
    }
}

static void attention_gradient_cpu(const struct attention *a, const real *qkv,
                                   const real *y, const float *logsum, const real *dy,
                                   real *dqkv)
{
    int depth = a->width / a->heads, width = a->width, stride = 3 * width;
    float scale = 1 / sqrtf((float)depth);
    size_t square = (size_t)a->longest * room_for(a->longest);
    #pragma omp parallel if (worth_sharing(a->offsets[a->sequences], a->width))
    {
        float *p = allocate(2 * square + (size_t)room_for(a->longest), sizeof *p);
        float *ds = p + square, *mask = ds + square;
        #pragma omp for schedule(dynamic)
        for (int number = 0; number < a->sequences * a->heads; number++) {
            /* Go back through one head of one sequence */
            struct task task = task_of(a, number);
            int n = task.length, keys = task.keys, room = room_for(keys);
            const float *q = in(qkv) + task.qkv, *k = q + width, *v = k + width;
            float *dq = out(dqkv) + task.qkv, *dk = dq + width, *dv = dk + width;
            const float *y_task = in(y) + task.y, *dy_task = in(dy) + task.y;
            /* Multiply for the scores and for the gradient of the probabilities */
            product(nothing, rows_of(q, stride), columns_of(k, stride), p, (size_t)room, n, depth,
                    keys);
            product(nothing, rows_of(dy_task, width), columns_of(v, stride), ds, (size_t)room, n,
                    depth, keys);
            for (int i = 0; i < n; i++) {
                /* Turn a row of gradients back through dropout and softmax */
                size_t row = task.row + (size_t)i * a->heads;
                float *p_row = p + (size_t)i * room, *ds_row = ds + (size_t)i * room;
                float dot = lanes_dot(dy_task + (size_t)i * width, y_task + (size_t)i * width, depth);
                draw_mask(a->dropout, row * 65536, mask, room);
                #pragma omp simd
                for (int j = 0; j < room; j++) {
                    float probability = exponential(scale * p_row[j] - logsum[row]);
                    ds_row[j] = scale * probability * fmaf(mask[j], ds_row[j], -dot);
                    p_row[j] = mask[j] * probability;
                }
            }
            /* Multiply for the gradients of queries, keys and values */
            product(nothing, rows_of(ds, room), rows_of(k, stride), dq, (size_t)stride, n, keys,
                    depth);
            product(nothing, columns_of(ds, room), rows_of(q, stride), dk, (size_t)stride, keys, n,
                    depth);
            product(nothing, columns_of(p, room), rows_of(dy_task, width), dv, (size_t)stride, keys,
                    n, depth);
            for (int j = keys; j < n; j++) {
                memset(dk + (size_t)j * stride, 0, (size_t)depth * sizeof *dk);
                memset(dv + (size_t)j * stride, 0, (size_t)depth * sizeof *dv);
            }
        }
        free(p);
    }
}

/* Choose rows on the CPU */
static void gather_cpu(const real *x, const int *index, real *y, int rows, int width)
{
    #pragma omp parallel for if (worth_sharing(rows, width))
    for (int i = 0; i < rows; i++)
        memcpy(out(y) + (size_t)i * width, in(x) + (size_t)index[i] * width,
               (size_t)width * sizeof(float));
}

static void scatter_cpu(const real *dy, const int *index, real *dx, int rows, int width)
{
    #pragma omp parallel for if (worth_sharing(rows, width))
    for (int i = 0; i < rows; i++) {
        float *to = out(dx) + (size_t)index[i] * width;
        const float *from = in(dy) + (size_t)i * width;
        #pragma omp simd
        for (int k = 0; k < width; k++)
            to[k] += from[k];
    }
}

/* Compute the losses on the CPU */
/* Compute the softmax loss on the CPU */
/* Take the exponentials of a row of logits */
enum { COLUMNS = 512 }; /* of a row of logits, worked on together */

/* The softmax of z[classes] / temperature. Its logarithm is (z - largest) inverse -
   rest. */
struct distribution {
    float *exponentials; /* exp((z - largest) inverse)[classes] */
    float largest, inverse, share, rest; /* share: 1 / their sum; rest: its logarithm */
};

/* exponentials: [classes], for the distribution to keep. */
static struct distribution distribute(const float *z, int classes, float temperature,
                                      float *exponentials)
{
    float largest = lanes_max(z, classes), inverse = 1 / temperature;
    double sum = 0;
    /* Sum the exponentials piece by piece */
    for (int from = 0; from < classes; from += COLUMNS) {
        int count = classes - from < COLUMNS ? classes - from : COLUMNS;
        #pragma omp simd
        for (int c = from; c < from + count; c++)
            exponentials[c] = exponential((z[c] - largest) * inverse);
        sum += (double)lanes_sum(exponentials + from, count);
    }
    return (struct distribution){exponentials, largest, inverse, (float)(1 / sum),
                                 (float)logarithm(sum)};
}

/* Tell whether the label has the first largest logit */
static bool leads(const float *z, int label, float largest)
{
    bool first = z[label] == largest;
    for (int c = 0; first && c < label; c++)
        first = z[c] < largest;
    return first;
}

/* Add the gradient of the label's loss */
/* gradient[classes] += scale (p - [c == label]) */
static void add_label_gradient(float *gradient, const struct distribution *p,
                               int classes, int label, float scale)
{
    float share = scale * p->share;
    #pragma omp simd
    for (int c = 0; c < classes; c++)
        gradient[c] = fmaf(share, p->exponentials[c], gradient[c]);
    gradient[label] -= scale;
}

/* Put the gradient of the soft targets' loss */
/* z[classes], the student's logits, become scale (p - q) / temperature; returns KL(q ||
   p). t[classes]: the teacher's; p, q: the distributions of z and t. Uses up q's
   exponentials. */
static float put_soft_gradient(float *z, const float *t, const struct distribution *p,
                               const struct distribution *q, int classes, float scale)
{
    float p_share = scale * p->inverse * p->share, inverse = p->inverse;
    float q_share = scale * q->inverse * q->share, rest = p->rest - q->rest;
    double sum = 0;
    float *ep = p->exponentials, *eq = q->exponentials;
    for (int from = 0; from < classes; from += COLUMNS) {
        /* Weigh one piece of the teacher's opinion against the student's */
        int count = classes - from < COLUMNS ? classes - from : COLUMNS;
        #pragma omp simd
        for (int c = from; c < from + count; c++) {
            float apart = (t[c] - q->largest) - (z[c] - p->largest);
            z[c] = p_share * ep[c] - q_share * eq[c];
            eq[c] *= fmaf(apart, inverse, rest);
        }
        sum += (double)lanes_sum(eq + from, count);
    }
    return (float)(sum * (double)q->share);
}

/* Turn rows of logits into their gradient */
static void softmax_loss_cpu(const struct softmax_loss *loss, real *student,
                             const real *teacher, const int *labels,
                             const float *soft_weight, const float *loss_scale,
                             float *label_loss, float *soft_loss, float *hit)
{
    #pragma omp parallel
    {
        size_t stride = (size_t)loss->stride;
        float *room = allocate(3 * stride, sizeof *room); /* three rows of them */
        #pragma omp for
        for (int i = 0; i < loss->rows; i++) {
            /* Find what a row of logits is held against */
            float *z = out(student) + (size_t)i * stride;
            const float *t = teacher ? in(teacher) + (size_t)i * stride : NULL;
            int label = labels ? labels[i] : -1;
            bool soft = t && (!soft_weight || soft_weight[i] > 0);
            /* Measure one row of logits */
            struct distribution guess = {0}, p = {0}, q = {0};
            if (label >= 0)
                guess = distribute(z, loss->classes, 1, room);
            if (soft) {
                p = distribute(z, loss->classes, loss->temperature, room + stride);
                q = distribute(t, loss->classes, loss->temperature, room + 2 * stride);
            }
            label_loss[i] = label >= 0 ? guess.rest + (guess.largest - z[label]) : 0;
            hit[i] = label >= 0 && leads(z, label, guess.largest);
            /* Overwrite the row with its gradient */
            float label_scale = loss->label_scale * *loss_scale;
            float soft_scale = loss->soft_scale * *loss_scale;
            soft_loss[i] = soft ? put_soft_gradient(z, t, &p, &q, loss->classes, soft_scale) : 0;
            if (!soft)
                memset(z, 0, stride * sizeof *z);
            if (label >= 0)
                add_label_gradient(z, &guess, loss->classes, label, label_scale);
            memset(z + loss->classes, 0, (stride - (size_t)loss->classes) * sizeof *z);
        }
        free(room);
    }
}

/* Compute the cosine loss on the CPU */
static void cosine_loss_cpu(const real *student, const real *teacher,
                            const float *weight, real *gradient, int rows, int width,
                            float scale, const float *loss_scale, float *row_loss)
{
    #pragma omp parallel for
    for (int i = 0; i < rows; i++) {
        size_t row = (size_t)i * (size_t)width;
        const float *s = in(student) + row, *t = in(teacher) + row;
        float *g = out(gradient) + row, w = weight ? weight[i] : 1;
        /* Measure two hidden states and the angle between them */
        float ss = lanes_dot(s, s, width), tt = lanes_dot(t, t, width);
        float st = lanes_dot(s, t, width);
        float inverse_s = ss > 0 ? 1 / sqrtf(ss) : 0, inverse_t = tt > 0 ? 1 / sqrtf(tt) : 0;
        float c = st * inverse_s * inverse_t;
        row_loss[i] = w * (1 - c);
        /* Turn the student's hidden state towards the teacher's */
        float factor = -scale * *loss_scale * w * inverse_s;
        for (int k = 0; k < width; k++)
            g[k] += factor * (t[k] * inverse_t - c * s[k] * inverse_s);
    }
}

/* Compute the relation loss on the CPU */
/* Compare one relation on the CPU */
/* The queries, keys or values of one head of one sequence: [n, depth], and the elements
   from one row to the next. */
struct head_rows {
    const float *x;
    int stride, depth;
};

/* products[n, n] = each row times each row. */
static void multiply_rows_with_rows(struct head_rows rows, int n, float *products)
{
    product(nothing, rows_of(rows.x, rows.stride), columns_of(rows.x, rows.stride),
            products, (size_t)n, n, rows.depth, n);
}

/* Adds scale times the gradient by the student's rows to dx, whose rows lie like
   theirs, and returns the sum of the rows' divergences. room: [2 n n + 2 n]. */
static double compare_relation(struct head_rows student, struct head_rows teacher,
                               int n, float scale, float *dx, float *room)
{
    float *s = room, *t = s + (size_t)n * n, *exponentials = t + (size_t)n * n;
    float depth = (float)student.depth, temperature = sqrtf(depth);
    float equal = sqrtf(depth / (float)teacher.depth);
    double loss = 0;
    multiply_rows_with_rows(student, n, s);
    multiply_rows_with_rows(teacher, n, t);
    for (int i = 0; i < n; i++) {
        /* Compare how one token stands to the others */
        float *s_row = s + (size_t)i * n, *t_row = t + (size_t)i * n;
        for (int j = 0; j < n; j++)
            t_row[j] *= equal;
        struct distribution p = distribute(s_row, n, temperature, exponentials);
        struct distribution q = distribute(t_row, n, temperature, exponentials + n);
        loss += (double)put_soft_gradient(s_row, t_row, &p, &q, n, scale);
    }
    /* Add the two products of the gradient */
    struct matrix x = rows_of(student.x, student.stride), sum = rows_of(dx, student.stride);
    size_t stride = (size_t)student.stride;
    product(sum, rows_of(s, n), x, dx, stride, n, n, student.depth);
    product(sum, columns_of(s, n), x, dx, stride, n, n, student.depth);
    return loss;
}

static void relation_loss_cpu(const struct attention *a, const real *qkv,
                              const real *teacher, int teacher_width, real *dqkv,
                              float scale, const float *loss_scale, float *total)
{
    int count = a->sequences * a->heads;
    size_t n = (size_t)a->longest;
    double *loss = allocate((size_t)count, sizeof *loss), sum = 0;
    scale *= *loss_scale / (float)a->heads;
    /* Deal the heads of all sequences to threads */
    #pragma omp parallel if (worth_sharing(a->offsets[a->sequences], a->width))
    {
        float *room = allocate(2 * n * n + 2 * n, sizeof *room);
        #pragma omp for schedule(dynamic)
        for (int number = 0; number < count; number++) {
            /* Compare the three relations of one head */
            struct task task = task_of(a, number);
            size_t first = (size_t)a->offsets[number / a->heads];
            int depth = teacher_width / a->heads, head = number % a->heads;
            const float *x = in(qkv) + task.qkv;
            const float *t = in(teacher) + first * 3 * teacher_width + (size_t)head * depth;
            for (int kind = 0; kind < 3; kind++)
                loss[number] += compare_relation(
                    (struct head_rows){x + kind * a->width, 3 * a->width, a->width / a->heads},
                    (struct head_rows){t + kind * teacher_width, 3 * teacher_width, depth},
                    task.keys, scale, out(dqkv) + task.qkv + kind * a->width, room);
        }
        free(room);
    }
    for (int number = 0; number < count; number++)
        sum += loss[number];
    *total += (float)(sum / a->heads);
    free(loss);
}

/* Compute the squared loss on the CPU */
static void squared_loss_cpu(real *x, const float *target, int n, float scale,
                             const float *loss_scale, float *row_loss)
{
    float *number = out(x);
    for (int i = 0; i < n; i++) {
        float off = number[i] - target[i];
        row_loss[i] = off * off;
        number[i] = 2 * scale * *loss_scale * off;
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
static double square_sum(const float *x, int n)
{
    double lanes[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        #pragma omp simd
        for (int l = 0; l < LANES; l++)
            lanes[l] += (double)x[i + l] * x[i + l];
    for (int l = 0; i + l < n; l++)
        lanes[l] += (double)x[i + l] * x[i + l];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

static void square_norm_cpu(const void *gradient, bool reals, size_t n, float *state)
{
    (void)reals;
    size_t spans = (n + SPAN - 1) / SPAN;
    double *squares = allocate(spans, sizeof *squares), total = 0;
    #pragma omp parallel for if (n >= ALONE)
    for (size_t span = 0; span < spans; span++)
        squares[span] = square_sum((const float *)gradient + span * SPAN,
                                   (int)span_length(span * SPAN, n));
    for (size_t span = 0; span < spans; span++)
        total += squares[span];
    state[NORM2] += (float)total;
    free(squares);
}

static void decide_cpu(float *state, float clip)
{
    float norm = sqrtf(state[NORM2]) / state[LOSS_SCALE], limit = clip / (norm + 1e-6f);
    float factor = clip > 0 && limit < 1 ? limit : 1;
    state[NORM2] = 0;
    state[NORM] = norm;
    state[FACTOR] = isfinite(norm) ? factor / state[LOSS_SCALE] : 0;
    state[SKIPPED] += !isfinite(norm);
}

static void adamw_cpu(const struct adamw *adamw, const float *state, void *master,
                      const void *gradient, bool reals, float *m, float *v,
                      real *weights, size_t n)
{
    (void)reals;
    float *values = master;
    float factor = state[FACTOR], beta1 = adamw->beta1, beta2 = adamw->beta2;
    float shrink = 1 - adamw->rate * adamw->decay, epsilon = adamw->epsilon;
    /* Make up for the zeros that the means began with */
    long t = (long)(adamw->t - state[SKIPPED]);
    bool all = state[SKIPPED] == 0; /* steps were taken */
    float correction1 = all ? adamw->correction1 : (float)(1 - whole_power(beta1, t));
    float correction2 = all ? adamw->correction2 : (float)(1 - whole_power(beta2, t));
    float step = adamw->rate / correction1, root = 1 / sqrtf(correction2);
    if (factor == 0)
        return;
    /* Move every parameter */
    #pragma omp parallel for simd if (n >= ALONE)
    for (size_t i = 0; i < n; i++) {
        float g = factor * ((const float *)gradient)[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        values[i] = shrink * values[i] - step * m[i] / (sqrtf(v[i]) * root + epsilon);
        out(weights)[i] = values[i];
    }
}

/* Open the CPU's table */
const struct kernels *kernels_cpu(void)
{
    static char name[32];
    static const struct kernels table = {
        /* Tell how the CPU counts */
        .name = name, .real_size = sizeof(float), .logit_rows = CPU_LOGIT_ROWS,
        .master_size = sizeof(float), .lanes = 1, .loss_scale = 1, .few_rows = FEW_ROWS,
        /* Enter how the CPU keeps memory */
        .reserve = reserve_cpu, .allocate = allocate_cpu, .release = free,
        .upload = copy_cpu, .download = copy_cpu, .wait = wait_cpu,
        .zero = zero_cpu, .copy = copy_cpu,
        .aside = in_turn_cpu, .back = in_turn_cpu, .meet = in_turn_cpu,
        .to_real = to_real_cpu, .to_float = to_float_cpu,
        .split = split_cpu, .join = join_cpu,
        /* Enter the operations of a layer */
        .linear = linear_cpu, .linear_input_gradient = linear_input_gradient_cpu,
        .linear_weight_gradient = linear_weight_gradient_cpu, .linear_onto = linear_onto_cpu,
        .settles = settles_cpu, .settle = settle_cpu,
        .linear_settled = linear_settled_cpu,
        .embed = embed_cpu, .embed_gradient = embed_gradient_cpu,
        .norm = norm_cpu, .norm_gradient = norm_gradient_cpu, .dropout = dropout_cpu,
        .activate = activate_cpu, .activate_gradient = activate_gradient_cpu,
        .add = add_cpu,
        .attention = attention_cpu, .attention_gradient = attention_gradient_cpu,
        .gather = gather_cpu, .scatter = scatter_cpu,
        /* Enter the losses and the optimiser */
        .softmax_loss = softmax_loss_cpu, .cosine_loss = cosine_loss_cpu,
        .relation_loss = relation_loss_cpu,
        .squared_loss = squared_loss_cpu, .sum = sum_cpu,
        .all_sum = ranks_sum, .square_norm = square_norm_cpu, .decide = decide_cpu,
        .adamw = adamw_cpu,
    };
    snprintf(name, sizeof name, "CPU, %d threads", omp_get_max_threads());
    return &table;
}
