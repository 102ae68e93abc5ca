/* Tangled from chapters/10-kernels.md; edit there. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Name what only kernels look into */
/* An array element in the device's working precision. Only kernels look inside. */
typedef struct real real;

/* How the devices cut their work: rows of logits; tiles and spans of attention; heads
   of relations. */
enum { CPU_LOGIT_ROWS = 512, GPU_LOGIT_ROWS = 4096, GPU_TILE = 32, GPU_SPAN = 128 };
enum { GPU_RELATIONS = 16, GPU_KEPT_LOGITS = 30720, GPU_SHELVED_LOGITS = 26240 };

/* Define which elements dropout keeps */
/* Dropout: each element is dropped with probability rate, below 1; rate 0 drops none.
   The key is made with random_key for one place of one step, and used for no other. */
struct dropout {
    float rate;
    uint64_t key;
};

/* dropout_threshold: the rate in units of 2^-16. */
RANDOM_INLINE uint32_t dropout_threshold(struct dropout dropout)
{
    return (uint32_t)(dropout.rate * 65536.0f + 0.5f);
}

/* dropout_scale: what a kept element is multiplied by. */
RANDOM_INLINE float dropout_scale(struct dropout dropout)
{
    return 65536.0f / (float)(65536 - dropout_threshold(dropout));
}

/* dropout_keeps: whether element i is kept. One draw serves elements 4n to 4n + 3, the
   first of them by its lowest 16 bits. */
RANDOM_INLINE bool dropout_keeps(struct dropout dropout, uint64_t i)
{
    uint64_t bits = random_bits(dropout.key, i / 4) >> 16 * (i % 4);
    return (bits & 0xffff) >= dropout_threshold(dropout);
}

/* Describe the arguments of the larger operations */
/* The form of a matrix's gradient: ADD: += instead of =; REALS: its elements are reals,
   and not floats. */
enum gradient_form { ADD = 1, REALS = 2 };

/* Where the rows of a table were used: row id[r] by the tokens token[start[r]] up to,
   not including, token[start[r + 1]]. Ids are distinct. All are on the device. */
struct lookup {
    int rows;    /* used rows of the table */
    int *id;     /* [rows] */
    int *start;  /* [rows + 1], start[0] = 0 */
    int *token;  /* [start[rows]] */
};

/* Where norm_gradient puts its sums over rows: the gradients of gain[width] and
   bias[width], and of a bias that was added to x before its dropout, before[width];
   before NULL: not wanted. Each = or, if accumulate, +=. */
struct norm_sums {
    float *gain, *bias, *before;
    bool accumulate;
};

/* GELU is BERT's, with erf; not its approximation by tanh. */
enum activation { GELU, TANH, RELU };

/* Packed sequences. Sequence s holds the tokens offsets[s] up to, not including,
   offsets[s + 1]; the first visible[s] of them, at least one, can be attended to. */
struct attention {
    int heads;              /* divides width */
    int width;              /* of all heads together */
    int sequences;
    int longest;            /* tokens of the longest sequence; at most 65536 */
    const int *offsets;     /* [sequences + 1], on the device; offsets[0] = 0 */
    const int *visible;     /* [sequences], on the device */
    struct dropout dropout; /* of the probabilities */
};

/* The two losses of rows of logits. stride: elements from a row to the next. */
struct softmax_loss {
    int rows, classes, stride;
    float temperature;  /* of the soft targets; the labels' loss always uses 1 */
    float label_scale;  /* factor of the labels' gradient */
    float soft_scale;   /* factor of the soft targets' gradient, with T^2 if wanted */
};

/* A step of AdamW: correction1 = 1 - beta1^t, correction2 = 1 - beta2^t, t = 1, 2
   ... if no step has been left out. */
struct adamw {
    float rate, beta1, beta2, epsilon, decay;
    float t, correction1, correction2;
};

/* Name the numbers of the optimiser's state */
/* The optimiser's state: floats on the device, {loss_scale, 0, 0, 0, 0, 0} to begin. */
enum state {
    LOSS_SCALE, /* factor on every loss's gradient; a power of two */
    GOOD_STEPS, /* steps since the scale changed; always 0 where the scale is fixed */
    NORM2,      /* sum of the squares of the scaled gradients, until decide takes it */
    FACTOR,     /* what adamw multiplies gradients by; 0: leave this step out */
    NORM,       /* norm of the gradient before clipping, unscaled, for the record */
    SKIPPED,    /* steps left out so far */
    STATE_SIZE
};

/* List what a device can do */
struct kernels {
    /* Describe the device */
    const char *name;  /* of the device, for people: "CPU, 2 threads" */
    size_t real_size;  /* bytes of a real: 4 (fp32) or 2 (fp16) */
    size_t master_size; /* and of a master */
    int processors;    /* multiprocessors of a GPU; 0 elsewhere */
    int lanes;         /* how many lists of operations go side by side: 1 or 2 */
    int logit_rows;    /* how many rows of logits it makes at a time */
    bool onto;         /* linear_onto takes no longer than linear */
    float loss_scale;  /* what state[LOSS_SCALE] starts from: 1 where real is fp32 */
    int few_rows;      /* that many rows, or less, are sooner mapped by settled weights;
                          0: the device has no such thing */

    /* Declare the operations on memory */
    /* reserve: takes in one piece the bytes that all later allocations will need together;
       at most once. Where that piece ends, allocations are made one by one. Fails if the
       device has not so many bytes, with both numbers and advice, which says what to lower.
       The CPU takes nothing yet; it only looks whether so much is there. */
    void (*reserve)(size_t bytes, const char *advice);

    /* allocate: device memory, all zero, aligned to 64 bytes, to be released by the caller.
       Never NULL: fails, saying how many bytes were wanted. release(NULL) does nothing. */
    void *(*allocate)(size_t bytes);
    void (*release)(void *memory);

    /* upload, download: between the program's memory and the device's. The program's array
       may change as soon as upload returns; download waits for all operations before it.
       wait does nothing else. */
    void (*upload)(void *device, const void *host, size_t bytes);
    void (*download)(void *host, const void *device, size_t bytes);
    void (*wait)(void);

    /* zero, copy: within the device. */
    void (*zero)(void *memory, size_t bytes);
    void (*copy)(void *to, const void *from, size_t bytes);

    /* to_real, to_float: n elements in the other precision. Where real_size is 4 the two
       arrays may be the same, and then nothing is done. */
    void (*to_real)(const float *from, real *to, size_t n);
    void (*to_float)(const real *from, float *to, size_t n);

    /* split: from the program's values[n] their weights, rounded, and their masters, of
       master_size bytes each; the program's array may change as soon as it returns. join:
       the values again, when all operations before it are done. Where master_size is 4
       masters are the values, and may be the weights. Where it is 2, values below 2^-16 are
       rounded to multiples of 2^-39, and all others come back as they were; what is split,
       joined and split again has the same weights. */
    void (*split)(const float *values, void *master, real *weights, size_t n);
    void (*join)(const void *master, const real *weights, float *values, size_t n);

    /* Declare what may go side by side */
    /* aside: what is called from here to back may be done beside what is called after back,
       until meet. It begins when all is done that was called before, except aside. meet:
       what follows comes after all that was called aside. Between aside and back nothing is
       allocated, released or downloaded; the arrays that are written there must not be used
       elsewhere before meet, nor those that are used there written. */
    void (*aside)(void);
    void (*back)(void);
    void (*meet)(void);

    /* Declare the linear operations */
    /* linear: y[rows, out] = x[rows, in] w[out, in]^T + bias[out]; bias NULL: none. */
    void (*linear)(const real *x, const real *w, const real *bias, real *y,
                   int rows, int in, int out);

    /* linear_onto: y[rows, out] = x[rows, in] w[out, in]^T + bias[out] + base[rows, out] */
    void (*linear_onto)(const real *x, const real *w, const real *bias, const real *base,
                        real *y, int rows, int in, int out);

    /* settles: whether weights of this size can be settled, on a device that has few_rows.
       settle: settled[out * in] = w[out, in], in the order in which linear_settled reads
       them soonest; linear_settled: linear, with the same result. */
    bool (*settles)(int in, int out);
    void (*settle)(const real *w, real *settled, int in, int out);
    void (*linear_settled)(const real *x, const real *settled, const real *bias, real *y,
                           int rows, int in, int out);

    /* linear_input_gradient: dx[rows, in] = dy[rows, out] w[out, in]; += if accumulate. */
    void (*linear_input_gradient)(const real *dy, const real *w, real *dx,
                                  int rows, int in, int out, bool accumulate);

    /* linear_weight_gradient: dw[out, in] = dy[rows, out]^T x[rows, in], of floats or, with
       REALS, of reals; dbias[out] = the sum of dy over its rows, which may then be rounded
       to a real; dbias NULL: not wanted. Both += with ADD. */
    void (*linear_weight_gradient)(const real *x, const real *dy, void *dw, float *dbias,
                                   int rows, int in, int out, int form);

    /* Declare the embedding operations */
    /* embed: y[rows, width] = words[ids] + places[positions] + types[segments], row by row.
       types and segments NULL: no types (DistilBERT). Ids must be rows of their tables. */
    void (*embed)(const int *ids, const int *positions, const int *segments,
                  const real *words, const real *places, const real *types,
                  real *y, int rows, int width);

    /* embed_gradient: dtable[id[r], :] += the sum of dy[t, :] over the tokens t that used
       the row, added in the order of lookup->token. Other rows are not touched. reals:
       dtable is of reals, and not of floats. */
    void (*embed_gradient)(const real *dy, const struct lookup *lookup, void *dtable,
                           bool reals, int width);

    /* Declare the normalisation operations */
    /* norm: x[rows, width] = dropout(x) + residual (NULL: zero), kept for the gradient, and
       y = gain * (x - mean) * deviation + bias with each row's own mean[rows] and
       deviation[rows] = 1 / sqrt(variance + epsilon). y may be residual. mean and deviation
       NULL: there will be no gradient, and what x holds afterwards is not defined. */
    void (*norm)(real *x, const real *residual, struct dropout dropout,
                 const real *gain, const real *bias, real *y, float *mean, float *deviation,
                 int rows, int width, float epsilon);

    /* norm_gradient: from dy, and from x, mean and deviation as norm left them:
       dsum[rows, width] = gradient of the sum, which is the residual's;
       dx[rows, width] = dsum through the dropout; NULL: not wanted; and the sums.
       dsum may be dy. Without dropout dx is dsum. */
    void (*norm_gradient)(const real *dy, const real *x, const float *mean,
                          const float *deviation, const real *gain, struct dropout dropout,
                          real *dsum, real *dx, const struct norm_sums *sums,
                          int rows, int width);

    /* Declare the pointwise operations */
    /* dropout: y[n] = the elements of x that are kept, scaled; zero for the others.
       y may be x. Its gradient is the same operation on dy. */
    void (*dropout)(const real *x, real *y, size_t n, struct dropout dropout);

    /* activate: y[n] = f(x[n]); y may be x. */
    void (*activate)(enum activation f, const real *x, real *y, size_t n);

    /* activate_gradient: dx[rows, width] = f'(x) dy, x the input of f; dx may be dy.
       dbias[width] = the sum of dx over its rows; += if accumulate; NULL: not wanted. */
    void (*activate_gradient)(enum activation f, const real *x, const real *dy, real *dx,
                              float *dbias, int rows, int width, bool accumulate);

    /* add: y[n] += x[n]. */
    void (*add)(const real *x, real *y, size_t n);

    /* Declare the attention operations */
    /* attention: y[tokens, width] = dropout(softmax(q k^T / sqrt(width / heads))) v, for
       each sequence and head by itself. qkv[tokens, 3 * width]: queries, keys, values side
       by side, each cut into heads. logsum[tokens, heads] = log of the softmax's
       denominator. Dropout's number for token i of the batch, in head h, attending to the
       j-th token of its sequence: (i * heads + h) * 65536 + j. */
    void (*attention)(const struct attention *attention, const real *qkv, real *y,
                      float *logsum);

    /* attention_gradient: dqkv[tokens, 3 * width] = from dy, and from y and logsum as
       attention left them. Keys and values that are not visible get zero. */
    void (*attention_gradient)(const struct attention *attention, const real *qkv,
                               const real *y, const float *logsum, const real *dy,
                               real *dqkv);

    /* Declare the operations on chosen rows */
    /* gather: y[i, :] = x[index[i], :] for i < rows. */
    void (*gather)(const real *x, const int *index, real *y, int rows, int width);

    /* scatter: dx[index[i], :] += dy[i, :] for i < rows; the indices are distinct. */
    void (*scatter)(const real *dy, const int *index, real *dx, int rows, int width);

    /* Declare the losses */
    /* softmax_loss: both losses of rows of logits [rows, stride], and their gradient.
       student: in its logits z, out
           loss_scale (label_scale (p - onehot) + soft_scale soft_weight (p_T - q_T) / T)
       with p = softmax(z), p_T = softmax(z / T), q_T = softmax(teacher / T); the columns
       from classes on get 0. teacher NULL: no soft targets. labels[rows], -100: none;
       NULL: all none. soft_weight[rows], 0 or 1; NULL: all 1.
       label_loss[rows] = -log p[label], 0 where there is no label;
       soft_loss[rows] = soft_weight KL(q_T || p_T), without T squared;
       hit[rows] = 1 where the first largest logit is the label's, else 0. */
    void (*softmax_loss)(const struct softmax_loss *loss, real *student,
                         const real *teacher, const int *labels, const float *soft_weight,
                         const float *loss_scale, float *label_loss, float *soft_loss,
                         float *hit);

    /* cosine_loss: row_loss[rows] = weight (1 - cos(student, teacher)) for rows of width
       elements; gradient[rows, width] += loss_scale scale times its derivative by student.
       weight[rows]; NULL: all 1. */
    void (*cosine_loss)(const real *student, const real *teacher, const float *weight,
                        real *gradient, int rows, int width, float scale,
                        const float *loss_scale, float *row_loss);

    /* relation_loss: for each sequence and each of the heads that `relation` has, which are
       not attention's, compares the softmax of q q^T / sqrt(depth) over the visible tokens
       with that of the teacher's queries, and so for keys and values. total[0] += the sum
       of the three divergences KL(teacher || student) over the visible tokens, each a mean
       over the heads; dqkv[tokens, 3 width] += loss_scale scale times its derivative by the
       student's qkv. teacher[tokens, 3 teacher_width]; the heads divide both widths.
       Nothing is dropped. (MiniLMv2's loss, Wang et al. 2021.) */
    void (*relation_loss)(const struct attention *relation, const real *qkv,
                          const real *teacher, int teacher_width, real *dqkv, float scale,
                          const float *loss_scale, float *total);

    /* squared_loss: row_loss[n] = (x - target)^2 of predicted numbers x[n]; then their
       gradient in their place, x = loss_scale scale 2 (x - target). */
    void (*squared_loss)(real *x, const float *target, int n, float scale,
                         const float *loss_scale, float *row_loss);

    /* sum: total[0] += x[0] + ... + x[n - 1], in a fixed order. */
    void (*sum)(const float *x, int n, float *total);

    /* Declare the optimiser's operations */
    /* all_sum: gradient[n] = the sum of the gradient[n] of all ranks, added in the order of
       the ranks; all ranks call it, and all get the same bits. Alone: nothing. */
    void (*all_sum)(float *gradient, size_t n);

    /* square_norm: state[NORM2] += the sum of the squares of gradient[n], of floats or of
       reals. */
    void (*square_norm)(const void *gradient, bool reals, size_t n, float *state);

    /* decide: NORM = sqrt(NORM2) / LOSS_SCALE, NORM2 = 0, and
       FACTOR = min(1, clip / (NORM + 1e-6)) / LOSS_SCALE, without the min if clip is 0.
       If NORM is not finite, FACTOR = 0 and SKIPPED += 1.
       Then moves LOSS_SCALE for the next step, unless the device's scale is fixed. */
    void (*decide)(float *state, float clip);

    /* adamw: with g = FACTOR * gradient[n], of floats or of reals, in this order
           m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
           value -= rate decay value,
           value -= rate (m / correction1) / (sqrt(v / correction2) + epsilon)
       for the values whose masters and weights these are. Does nothing if FACTOR is 0. */
    void (*adamw)(const struct adamw *adamw, const float *state, void *master,
                  const void *gradient, bool reals, float *m, float *v, real *weights,
                  size_t n);
};

/* Find an element of an array */
/* slice: the address n elements after p. Const arrays too; the caller keeps them so. */
static inline real *slice(const struct kernels *kernels, const real *p, size_t n)
{
    return (real *)((char *)p + n * kernels->real_size);
}

#ifdef __cplusplus
}
#endif

#endif
