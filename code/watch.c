/* Tangled from chapters/43-watching.md; edit there. */
#include "watch.h"
#include "fail.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Hold what the watch knows */
/* An array of ints that the model sent to its device. */
struct sent {
    const int *device, *end;
    int *ints;
};

static const struct kernels *inner; /* who does the work; NULL: nobody */
static struct machine machine;      /* whose time is estimated */
static struct tally tallies[FAMILIES];
static size_t allocated;
static struct sent *lists;          /* [list_count] */
static int list_count;
static double real_bytes;           /* of one real */
static double master_bytes;         /* and of its master */

/* Note an operation */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What an operation comes to: the FLOPs that count, those that are performed, the bytes
   and the launches. */
struct charge {
    double flops, work, bytes, launches;
};

static void add_charge(enum kernel_family family, const struct charge *charge)
{
    struct tally *tally = &tallies[family];
    tally->flops += charge->flops;
    tally->bytes += charge->bytes;
    /* Add the time on the machine that was described */
    if (machine.bandwidth > 0) {
        double work = charge->work / (family == GEMM ? machine.gemm : machine.other);
        double traffic = charge->bytes / machine.bandwidth;
        tally->estimate += (work > traffic ? work : traffic)
                           + charge->launches * machine.launch;
    }
}

static void note(enum kernel_family family, struct charge charge, double began)
{
    struct tally *tally = &tallies[family];
    tally->calls++;
    if (inner) {
        inner->wait();
        tally->seconds += now() - began;
    }
    add_charge(family, &charge);
}

/* Passes a call on to the inner table, and notes it: one launch, unless said. */
#define PASS(family, flops, bytes, call) PASS_AS(family, flops, flops, bytes, 1, call)
#define PASS_AS(family, flops, work, bytes, launches, call)                   \
    do {                                                                      \
        double began = now();                                                 \
        if (inner)                                                            \
            inner->call;                                                      \
        note(family, (struct charge){flops, work, bytes, launches}, began);   \
    } while (0)

/* Keep what was uploaded */
enum { LONGEST_LIST = 1 << 20 }; /* bytes; longer arrays are weights */

static void keep(const void *device, const void *host, size_t bytes)
{
    const int *begin = device, *end = begin + bytes / sizeof(int);
    for (int i = list_count - 1; i >= 0; i--)
        if (lists[i].device < end && begin < lists[i].end) {
            free(lists[i].ints);
            lists[i] = lists[--list_count];
        }
    lists = realloc(lists, (size_t)++list_count * sizeof *lists);
    if (!lists)
        fail("watch", "%d lists do not fit into memory", list_count);
    int *ints = allocate(bytes, 1);
    memcpy(ints, host, bytes);
    lists[list_count - 1] = (struct sent){begin, end, ints};
}

static const int *kept(const int *device)
{
    for (int i = 0; i < list_count; i++)
        if (lists[i].device <= device && device < lists[i].end)
            return lists[i].ints + (device - lists[i].device);
    fail("watch", "was asked about a list that it has not seen on its way");
}

/* Watch the memory */
static void watch_reserve(size_t bytes, const char *advice)
{
    if (inner)
        inner->reserve(bytes, advice);
}

static void *watch_allocate(size_t bytes)
{
    static uintptr_t next = 4096;
    allocated += bytes;
    if (inner)
        return inner->allocate(bytes);
    void *address = (void *)next;
    next += bytes / 64 * 64 + 64;
    return address;
}

static void watch_release(void *memory)
{
    if (inner)
        inner->release(memory);
}

static void watch_wait(void)
{
    if (inner)
        inner->wait();
}

static void watch_upload(void *device, const void *host, size_t bytes)
{
    if (bytes > 0 && bytes <= LONGEST_LIST)
        keep(device, host, bytes);
    PASS(MEMORY, 0, (double)bytes, upload(device, host, bytes));
}

static void watch_download(void *host, const void *device, size_t bytes)
{
    if (!inner)
        memset(host, 0, bytes);
    PASS(MEMORY, 0, (double)bytes, download(host, device, bytes));
}

static void watch_aside(void)
{
    if (inner)
        inner->aside();
}

static void watch_back(void)
{
    if (inner)
        inner->back();
}

static void watch_meet(void)
{
    if (inner)
        inner->meet();
}

static void watch_zero(void *memory, size_t bytes)
{
    PASS(MEMORY, 0, (double)bytes, zero(memory, bytes));
}

static void watch_copy(void *to, const void *from, size_t bytes)
{
    PASS(MEMORY, 0, 2 * (double)bytes, copy(to, from, bytes));
}

/* The bytes of n elements in both precisions; none if they need not be converted. */
static double both(const void *from, const void *to, size_t n)
{
    return from == to ? 0 : (double)n * (sizeof(float) + real_bytes);
}

static void watch_to_real(const float *from, real *to, size_t n)
{
    PASS(MEMORY, 0, both(from, to, n), to_real(from, to, n));
}

static void watch_to_float(const real *from, float *to, size_t n)
{
    PASS(MEMORY, 0, both(from, to, n), to_float(from, to, n));
}

static double halves(const void *master, const real *weights, size_t n)
{
    return (double)n * (master_bytes + (master == weights ? 0 : real_bytes));
}

static void watch_split(const float *values, void *master, real *weights, size_t n)
{
    PASS(MEMORY, 0, sizeof *values * (double)n + halves(master, weights, n),
         split(values, master, weights, n));
}

static void watch_join(const void *master, const real *weights, float *values, size_t n)
{
    if (!inner)
        memset(values, 0, n * sizeof *values);
    PASS(MEMORY, 0, sizeof *values * (double)n + halves(master, weights, n),
         join(master, weights, values, n));
}

/* Watch the linear maps */
static double bytes_of_linear(double n, double i, double o, bool bias)
{
    return real_bytes * (n * i + i * o + n * o + (bias ? o : 0));
}

static void watch_linear(const real *x, const real *w, const real *bias, real *y,
                         int rows, int in, int out)
{
    PASS(GEMM, 2.0 * rows * in * out, bytes_of_linear(rows, in, out, bias),
         linear(x, w, bias, y, rows, in, out));
}

static bool watch_settles(int in, int out)
{
    return inner && inner->settles(in, out);
}

static void watch_settle(const real *w, real *settled, int in, int out)
{
    PASS(MEMORY, 0, 2 * real_bytes * in * out, settle(w, settled, in, out));
}

static void watch_linear_settled(const real *x, const real *settled, const real *bias,
                                 real *y, int rows, int in, int out)
{
    PASS(GEMM, 2.0 * rows * in * out, bytes_of_linear(rows, in, out, bias),
         linear_settled(x, settled, bias, y, rows, in, out));
}

static void watch_linear_onto(const real *x, const real *w, const real *bias,
                              const real *base, real *y, int rows, int in, int out)
{
    PASS(GEMM, 2.0 * rows * in * out,
         bytes_of_linear(rows, in, out, bias) + real_bytes * rows * out,
         linear_onto(x, w, bias, base, y, rows, in, out));
}

static void watch_linear_input_gradient(const real *dy, const real *w, real *dx,
                                        int rows, int in, int out, bool accumulate)
{
    double n = rows, i = in, o = out, elements = n * o + i * o + n * i;
    PASS(GEMM, 2 * n * i * o, real_bytes * (elements + (accumulate ? n * i : 0)),
         linear_input_gradient(dy, w, dx, rows, in, out, accumulate));
}

static double bytes_of_gradient(bool reals)
{
    return reals ? real_bytes : sizeof(float);
}

static void watch_linear_weight_gradient(const real *x, const real *dy, void *dw,
                                         float *dbias, int rows, int in, int out,
                                         int form)
{
    double n = rows, i = in, o = out, each = bytes_of_gradient(form & REALS);
    double times = form & ADD ? 2 : 1;
    if (dbias && form & ADD)
        add_charge(GEMM, &(struct charge){.bytes = real_bytes * n * o
                                                   + sizeof(float) * 2 * o,
                                          .launches = 1});
    else if (dbias && each < sizeof(float))
        add_charge(GEMM, &(struct charge){.bytes = (each + sizeof(float)) * o,
                                          .launches = 1});
    PASS(GEMM, 2 * n * i * o,
         real_bytes * (n * o + n * i) + each * times * i * o
             + (dbias && !(form & ADD) ? each * o : 0),
         linear_weight_gradient(x, dy, dw, dbias, rows, in, out, form));
}

/* Watch the embeddings */
static void watch_embed(const int *ids, const int *positions, const int *segments,
                        const real *words, const real *places, const real *types,
                        real *y, int rows, int width)
{
    double tables = types ? 3 : 2, n = (double)rows * width;
    PASS(EMBEDDING, (tables - 1) * n,
         real_bytes * (tables + 1) * n + sizeof(int) * tables * rows,
         embed(ids, positions, segments, words, places, types, y, rows, width));
}

static void watch_embed_gradient(const real *dy, const struct lookup *lookup,
                                 void *dtable, bool reals, int width)
{
    double rows = lookup->rows, tokens = kept(lookup->start)[lookup->rows];
    double ints = 2 * rows + 1 + tokens;
    PASS(EMBEDDING, tokens * width,
         real_bytes * tokens * width + bytes_of_gradient(reals) * 2 * rows * width
             + sizeof(int) * ints,
         embed_gradient(dy, lookup, dtable, reals, width));
}

static void watch_gather(const real *x, const int *index, real *y, int rows, int width)
{
    PASS(EMBEDDING, 0, real_bytes * 2 * rows * width + sizeof(int) * (double)rows,
         gather(x, index, y, rows, width));
}

static void watch_scatter(const real *dy, const int *index, real *dx, int rows,
                          int width)
{
    double n = (double)rows * width;
    PASS(EMBEDDING, n, real_bytes * 3 * n + sizeof(int) * (double)rows,
         scatter(dy, index, dx, rows, width));
}

/* Watch the normalisation */
static void watch_norm(real *x, const real *residual, struct dropout dropout,
                       const real *gain, const real *bias, real *y, float *mean,
                       float *deviation, int rows, int width, float epsilon)
{
    double n = (double)rows * width;
    double arrays = 2 + (residual != NULL) + (mean && (residual || dropout.rate > 0));
    PASS(NORMALISATION, 9 * n,
         real_bytes * (arrays * n + 2.0 * width)
             + sizeof(float) * (mean ? 2.0 : 0) * rows,
         norm(x, residual, dropout, gain, bias, y, mean, deviation, rows, width,
              epsilon));
}

static void watch_norm_gradient(const real *dy, const real *x, const float *mean,
                                const float *deviation, const real *gain,
                                struct dropout dropout, real *dsum, real *dx,
                                const struct norm_sums *sums, int rows, int width)
{
    double n = (double)rows * width, arrays = 3 + (dx != NULL);
    double vectors = (sums->accumulate ? 2 : 1) * (sums->before ? 3 : 2);
    double flops = (sums->before ? 14 : 13) * n;
    PASS_AS(NORMALISATION, flops, flops,
            real_bytes * (arrays * n + width)
                + sizeof(float) * (2.0 * rows + vectors * width),
            2,
            norm_gradient(dy, x, mean, deviation, gain, dropout, dsum, dx, sums, rows,
                          width));
}

/* Watch the pointwise operations */
static void watch_dropout(const real *x, real *y, size_t n, struct dropout dropout)
{
    PASS(POINTWISE, (double)n, real_bytes * 2 * (double)n, dropout(x, y, n, dropout));
}

static void watch_activate(enum activation f, const real *x, real *y, size_t n)
{
    PASS(POINTWISE, 5 * (double)n, real_bytes * 2 * (double)n, activate(f, x, y, n));
}

static void watch_activate_gradient(enum activation f, const real *x, const real *dy,
                                    real *dx, float *dbias, int rows, int width,
                                    bool accumulate)
{
    double n = (double)rows * width, sums = dbias ? (accumulate ? 2 : 1) * width : 0;
    PASS(POINTWISE, (dbias ? 9 : 8) * n, real_bytes * 3 * n + sizeof(float) * sums,
         activate_gradient(f, x, dy, dx, dbias, rows, width, accumulate));
}

static void watch_add(const real *x, real *y, size_t n)
{
    PASS(POINTWISE, (double)n, real_bytes * 3 * (double)n, add(x, y, n));
}

/* Watch the attention */
/* Pairs of a query and a key: those that count, those in whole tiles, and of these the
   ones whose score does not wait for the second round. */
struct pairs {
    double counted, tiled, again;
};

static struct pairs pairs_of(const struct attention *a)
{
    const int *offsets = kept(a->offsets), *visible = kept(a->visible);
    struct pairs pairs = {0};
    for (int s = 0; s < a->sequences; s++) {
        double rows = offsets[s + 1] - offsets[s], keys = visible[s];
        double tiled = ceil(rows / GPU_TILE) * ceil(keys / GPU_TILE)
                       * (GPU_TILE * GPU_TILE);
        pairs.counted += rows * keys;
        pairs.tiled += tiled;
        pairs.again += keys > GPU_SPAN ? tiled : 0;
    }
    return pairs;
}

/* Of so many arrays [tokens, width], of the logarithms, and of the two lists. */
static double attention_bytes(const struct attention *a, double arrays)
{
    double tokens = kept(a->offsets)[a->sequences];
    return real_bytes * arrays * tokens * a->width
           + sizeof(float) * tokens * a->heads + sizeof(int) * (2.0 * a->sequences + 1);
}

static void watch_attention(const struct attention *a, const real *qkv, real *y,
                            float *logsum)
{
    struct pairs p = pairs_of(a);
    PASS_AS(ATTENTION, 4 * p.counted * a->width, (4 * p.tiled + 2 * p.again) * a->width,
            attention_bytes(a, 4), 1, attention(a, qkv, y, logsum));
}

static void watch_attention_gradient(const struct attention *a, const real *qkv,
                                     const real *y, const float *logsum,
                                     const real *dy, real *dqkv)
{
    struct pairs p = pairs_of(a);
    PASS_AS(ATTENTION, 10 * p.counted * a->width, 14 * p.tiled * a->width,
            attention_bytes(a, 8), 2,
            attention_gradient(a, qkv, y, logsum, dy, dqkv));
}

/* Watch the losses */
/* What a row has beyond the room for so many logits in fp16. */
static double beyond(int classes, int room)
{
    double kept = room * 2 / real_bytes;
    return classes > kept ? classes - kept : 0;
}

static void watch_softmax_loss(const struct softmax_loss *loss, real *student,
                               const real *teacher, const int *labels,
                               const float *soft_weight, const float *loss_scale,
                               float *label_loss, float *soft_loss, float *hit)
{
    double n = (double)loss->rows * loss->classes;
    double each = (labels ? 8 : 0) + (teacher ? 24 : 0);
    double columns = 3 + (labels != NULL) + (soft_weight != NULL);
    double again = beyond(loss->classes, GPU_KEPT_LOGITS)
                   + (teacher ? beyond(loss->classes, GPU_SHELVED_LOGITS) : 0);
    PASS(LOSS, each * n,
         real_bytes * ((teacher ? 3 : 2) * n + again * loss->rows)
             + sizeof(float) * columns * loss->rows,
         softmax_loss(loss, student, teacher, labels, soft_weight, loss_scale,
                      label_loss, soft_loss, hit));
}

static void watch_cosine_loss(const real *student, const real *teacher,
                              const float *weight, real *gradient, int rows, int width,
                              float scale, const float *loss_scale, float *row_loss)
{
    double n = (double)rows * width, columns = 1 + (weight != NULL);
    PASS(LOSS, 11 * n, real_bytes * 4 * n + sizeof(float) * columns * rows,
         cosine_loss(student, teacher, weight, gradient, rows, width, scale, loss_scale,
                     row_loss));
}

static void watch_relation_loss(const struct attention *relation, const real *qkv,
                                const real *teacher, int teacher_width, real *dqkv,
                                float scale, const float *loss_scale, float *total)
{
    const int *visible = kept(relation->visible);
    double w = relation->width, t = teacher_width, pairs = 0, charged = 0;
    double tokens = kept(relation->offsets)[relation->sequences];
    /* Count the pairs that are related */
    for (int s = 0; s < relation->sequences; s++) {
        pairs += (double)visible[s] * visible[s];
        charged += visible[s] * ceil(visible[s] / (double)GPU_TILE) * GPU_TILE;
    }
    PASS_AS(LOSS, (18 * w + 6 * t) * pairs, (18 * w + 12 * t) * charged,
            real_bytes * (9 * w + 3 * t) * tokens
                + sizeof(int) * (2.0 * relation->sequences + 1),
            3 * ceil(relation->heads / (double)GPU_RELATIONS),
            relation_loss(relation, qkv, teacher, teacher_width, dqkv, scale,
                          loss_scale, total));
}

static void watch_squared_loss(real *x, const float *target, int n, float scale,
                               const float *loss_scale, float *row_loss)
{
    PASS(LOSS, 4 * (double)n, (real_bytes * 2 + sizeof(float) * 2) * n,
         squared_loss(x, target, n, scale, loss_scale, row_loss));
}

static void watch_sum(const float *x, int n, float *total)
{
    PASS(LOSS, n, sizeof(float) * (double)n, sum(x, n, total));
}

/* Watch the optimiser */
static void watch_all_sum(float *gradient, size_t n)
{
    if (inner)
        inner->all_sum(gradient, n);
}

static void watch_square_norm(const void *gradient, bool reals, size_t n, float *state)
{
    PASS(OPTIMISER, 2 * (double)n, bytes_of_gradient(reals) * (double)n,
         square_norm(gradient, reals, n, state));
}

static void watch_decide(float *state, float clip)
{
    PASS(OPTIMISER, 0, sizeof(float) * 2.0 * STATE_SIZE, decide(state, clip));
}

static void watch_adamw(const struct adamw *adamw, const float *state, void *master,
                        const void *gradient, bool reals, float *m, float *v,
                        real *weights, size_t n)
{
    double weight = master == (void *)weights ? 0 : real_bytes;
    double each = 4 * sizeof(float) + bytes_of_gradient(reals) + 2 * master_bytes
                  + (master_bytes < sizeof(float) ? 2 : 1) * weight;
    PASS(OPTIMISER, 15 * (double)n, each * (double)n,
         adamw(adamw, state, master, gradient, reals, m, v, weights, n));
}

/* Open the watch and read it */
const struct kernels *watch_open(const struct kernels *who, const struct machine *whose)
{
    static struct kernels table;
    inner = who;
    machine = whose ? *whose : (struct machine){0};
    /* Forget the watching before */
    for (int i = 0; i < list_count; i++)
        free(lists[i].ints);
    list_count = 0;
    watch_clear();
    table = (struct kernels){
        .name = inner ? inner->name : "nobody",
        .real_size = inner ? inner->real_size : machine.real_size,
        .master_size = inner ? inner->master_size : machine.real_size,
        .lanes = 1,
        .logit_rows = inner ? inner->logit_rows : machine.logit_rows,
        .loss_scale = inner ? inner->loss_scale : 1,
        .onto = inner ? inner->onto : machine.real_size < sizeof(float),
        .few_rows = inner ? inner->few_rows : 0,
        /* Fill in what the watch does */
        .reserve = watch_reserve, .allocate = watch_allocate, .release = watch_release,
        .upload = watch_upload, .download = watch_download, .wait = watch_wait,
        .zero = watch_zero, .copy = watch_copy,
        .aside = watch_aside, .back = watch_back, .meet = watch_meet,
        .to_real = watch_to_real, .to_float = watch_to_float,
        .split = watch_split, .join = watch_join,
        .linear = watch_linear, .linear_input_gradient = watch_linear_input_gradient,
        .linear_weight_gradient = watch_linear_weight_gradient,
        .settles = watch_settles, .settle = watch_settle,
        .linear_settled = watch_linear_settled, .linear_onto = watch_linear_onto,
        .embed = watch_embed, .embed_gradient = watch_embed_gradient,
        .norm = watch_norm, .norm_gradient = watch_norm_gradient,
        .dropout = watch_dropout, .activate = watch_activate,
        .activate_gradient = watch_activate_gradient, .add = watch_add,
        .attention = watch_attention, .attention_gradient = watch_attention_gradient,
        .gather = watch_gather, .scatter = watch_scatter,
        .softmax_loss = watch_softmax_loss, .cosine_loss = watch_cosine_loss,
        .relation_loss = watch_relation_loss,
        .squared_loss = watch_squared_loss, .sum = watch_sum,
        .all_sum = watch_all_sum, .square_norm = watch_square_norm,
        .decide = watch_decide, .adamw = watch_adamw,
    };
    real_bytes = (double)table.real_size;
    master_bytes = (double)table.master_size;
    return &table;
}

void watch_clear(void)
{
    memset(tallies, 0, sizeof tallies);
    allocated = 0;
}

struct tally watch_tally(enum kernel_family family)
{
    return tallies[family];
}

size_t watch_allocated(void)
{
    return allocated;
}

const char *watch_name(enum kernel_family family)
{
    static const char *const names[FAMILIES] = {"gemm",      "attention", "norm",
                                                "pointwise", "embedding", "loss",
                                                "optimiser", "memory"};
    return names[family];
}
