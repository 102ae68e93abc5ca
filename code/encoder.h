/* Tangled from chapters/11-encoder.md; edit there. */
#ifndef ENCODER_H
#define ENCODER_H

#include "batch.h"
#include "kernels.h"
#include "parameters.h"

/* State what can be learnt */
/* Which parameters of a model learn. With LEARN_HEAD, for HEAD_MLM, all of the encoder
   stays as it is: the word table too, although the head uses it as its decoder. With
   LEARN_LAYERS, for the other heads, tables and head stay as they are. */
enum learning { LEARN_NOTHING, LEARN_ALL, LEARN_HEAD, LEARN_LAYERS };

/* State where a batch goes */
/* A layer that a batch goes through: this one of that model. */
struct stop {
    const struct model *model;
    int layer;
};

/* State how a batch lies on the device */
/* The batch of the last forward pass, on the device. */
struct input {
    int tokens, sequences;
    int longest;                        /* tokens of the longest sequence */
    int *ids, *positions, *segments;    /* [tokens] rows of the three tables */
    int *offsets;                       /* [sequences + 1] where each sequence begins */
    int *visible;                       /* [sequences] leading tokens to attend to */
    struct lookup words, places, types; /* with LEARN_ALL: which tokens used what */
};

/* State what a layer keeps */
/* What normalising rows leaves for the way back. */
struct normed {
    real *sum;               /* [rows, width] what was normalised */
    float *mean, *deviation; /* [rows]; deviation is 1 / sqrt(variance + epsilon);
                                NULL where there is no way back */
};

/* What layer l of the route computes, in order, from hidden[l] to hidden[l + 1]. */
struct layer {
    real *qkv;               /* [tokens, 3 width] queries, keys, values */
    float *logsum;           /* [tokens, heads] log of the softmax's denominator */
    real *context;           /* [tokens, width] what each token has gathered */
    struct normed attention; /* [tokens, width] context mapped, plus the input */
    real *middle;            /* [tokens, width] normalised: between the two halves */
    real *wide;              /* [tokens, inner] middle mapped */
    real *active;            /* [tokens, inner] its GELU */
    struct normed outer;     /* [tokens, width] active mapped, plus middle */
};

/* State what a gradient is filled with */
/* Zeros; what an earlier step has left; or something of this step. */
enum filling { CLEAR, FORGOTTEN, BEGUN };

/* State what the backward pass needs */
/* The gradients that are under way; if layers learn. */
struct backward {
    real *hidden;  /* [tokens, width] by the hidden state the pass has come down to */
    real *dense;   /* [tokens, width] by the output of a dense map, below its dropout */
    real *context; /* [tokens, width] */
    real *qkv;     /* [tokens, 3 width] */
    real *wide;    /* [tokens, inner] */
    float *unread; /* [3 width + inner] with LEARN_LAYERS: sums that nobody asked for */
};

/* State what the heads keep */
/* What the MLM head computes for one block of rows. */
struct mlm_head {
    int block;                /* rows of logits that exist at a time */
    int classes_room;         /* columns of the logits: vocabulary and padding */
    int *index;               /* [token_room] the chosen tokens */
    bool all;                 /* every token is chosen, in order */
    real *x;                  /* [block, width] their hidden states */
    real *mapped;             /* [block, width] before GELU */
    struct normed transform;  /* [block, width] after GELU */
    real *y;                  /* [block, width] normalised */
    real *logits;             /* [block, classes_room]; then the gradient by them */
    real *dy;                 /* [block, width] unless nothing learns */
    real *ones;               /* [block] with LEARN_HEAD */
};

/* What the classifier computes. */
struct classifier {
    real *x;       /* [sequences, width] hidden states of the first tokens */
    real *mapped;  /* [sequences, width] before the activation */
    real *summary; /* [sequences, width] after activation and dropout */
    real *logits;  /* [sequences, classes]; then the gradient by them */
    real *soft;    /* [sequences, classes] soft targets, unless nothing learns */
    real *dy;      /* [sequences, width] unless nothing learns */
};

/* What the span head computes. */
struct span_head {
    real *x;      /* [tokens, width] hidden states after dropout, if there is any */
    real *logits; /* [tokens, 2], and NEVER at place 2 token_room; then the gradient */
    real *rows;   /* [sequences, 2, longest] the logits again, by sequence and column */
    real *soft;   /* [tokens, 2] soft targets, and NEVER, unless nothing learns */
    real *soft_rows; /* [sequences, 2, longest] those, by sequence and column */
    int *places;  /* [sequences, 2, longest] where in logits each of them stands */
    int *back;    /* [tokens, 2] where in rows each of the logits stands */
};

/* State what the losses measure */
/* What the losses measure, row by row and in sum. */
enum loss_sum { MLM_SUM, KL_SUM, COSINE_SUM, RELATION_SUM, HIT_SUM, LOSS_SUMS };

struct loss_rows {
    int *labels;                      /* [token_room] of the rows a head works on */
    float *target;                    /* [sequence_room] numbers to be predicted */
    float *said;                      /* [2 token_room] soft targets of a task */
    float *weight;                    /* [token_room] 1 where the cosine counts, or 0 */
    float *label, *soft, *hit, *turn; /* [token_room] results of the loss kernels */
    int compared;                     /* tokens of this batch where the cosine counts */

    /* since they were last read: sums, device [LOSS_SUMS], and what divides them */
    float *sums;
    double labels_counted, soft_counted, turns_counted, related_counted;
    int tokens;
};

/* State what a model is */
/* A model on a device. Arrays are the device's and the model's own, unless said
   otherwise. */
struct model {
    const struct kernels *k;
    struct shape shape;
    enum head head;
    int classes;                  /* of HEAD_CLASSIFIER, else 0 */
    enum learning learning;
    /* Say which layers a batch goes through */
    int depth;                    /* layers that a batch goes through: */
    const struct stop *route;     /* host [depth], not owned; NULL: its own, in order */
    int detour;                   /* a route may have so many more than its own */
    /* Hold the parameters and their gradient */
    struct parameters parameters; /* the plan of the three vectors below */
    void *master;                 /* [parameters.size] with weights, what learning moves */
    real *weights;                /* [parameters.size] the same in working precision */
    real *settled;                /* the layers' matrices, settled; NULL: none */
    float *gradient;              /* [parameters.size] times the loss scale; or NULL */
    bool rounded;                 /* its matrices are reals, in the same memory */
    enum filling *filling;        /* host [parameters.count] of each one's gradient */
    float *state;                 /* [STATE_SIZE] the optimiser's; has the loss scale */

    /* Hold what is computed of a batch */
    int token_room, sequence_room; /* what a batch may bring; 0 before the first */
    void *arena;                   /* all that follows lies in it */
    struct input input;
    struct normed embedded;        /* [token_room, width] the sum of the tables */
    real **hidden;                 /* host [layers + detour + 1] of [token_room,
                                      width] */
    struct layer *layers;          /* host [layers + detour] of the route */
    struct backward backward;
    struct mlm_head mlm;
    struct classifier classifier;
    struct span_head span;
    struct loss_rows rows;

    /* Remember the last forward pass */
    bool training;                 /* the last forward pass was with dropout, */
    uint64_t key;                  /* by this key */
    const struct batch *ahead;     /* what it has read for the next step; or NULL */
};

/* State what can be done with a model */
/* encoder_create: a model with these parameters. values: host [size of the plan for
   shape, head and classes], copied. The caller frees the model. */
struct model *encoder_create(const struct kernels *k, const struct shape *shape,
                             enum head head, int classes, const float *values,
                             enum learning learning);
void encoder_free(struct model *model);

/* encoder_open: the model of a folder, which must have all of this head. */
struct model *encoder_open(const struct kernels *k, const char *folder, enum head head,
                           int classes, enum learning learning);

/* encoder_download, encoder_upload: the parameters, all of the plan, from and to a host
   array [parameters.size]. encoder_gradient: downloads the gradient of the steps since
   gradient_forget, without the loss scale. */
void encoder_download(const struct model *model, float *values);
void encoder_upload(struct model *model, const float *values);
void encoder_gradient(struct model *model, float *values);

/* encoder_reserve: makes room for batches of so many tokens and sequences, in one
   allocation, and returns its size in bytes. The passes below do it by themselves for
   the rooms of the batch that they are given; to call it first is to know early whether
   a run will fit. */
size_t encoder_reserve(struct model *model, int token_room, int sequence_room);

/* encoder_bytes: the device memory that a model takes in all: its parameters, their
   gradient if it learns, and the room for batches of this size. */
size_t encoder_bytes(const struct kernels *k, const struct shape *shape, enum head head,
                     int classes, enum learning learning, int token_room,
                     int sequence_room);

/* encoder_size: the bytes that encoder_reserve would take, computed without taking
   them. */
size_t encoder_size(const struct model *model, int token_room, int sequence_room);

/* encoder_widen: makes room for routes that have so many layers more than the model;
   before its first batch. encoder_route: sends the batches to come through these
   layers, host [depth], which must live as long as the route is taken; NULL: through
   its own again. A layer's model has the sizes and the kernels of this one. */
void encoder_widen(struct model *model, int detour);
void encoder_route(struct model *model, const struct stop *route, int depth);

/* encoder_forward: computes the hidden states of a batch: hidden[0] after the
   embeddings, hidden[l] after l layers of the route. key: of this step's dropout; NULL:
   no dropout. Fails if an id, a segment or a position is not in the model's tables. */
void encoder_forward(struct model *model, const struct batch *batch,
                     const uint64_t *key);

/* encoder_fetch: n elements of a device array, to the host as fp32. */
void encoder_fetch(const struct model *model, const real *x, float *values, size_t n);

/* encoder_backward: from backward.hidden, the gradient by the last hidden state, adds
   to the gradients of all that learns below it. */
void encoder_backward(struct model *model);

/* encoder_layer_gradient: takes backward.hidden from the gradient by hidden[layer + 1]
   to that by hidden[layer], and adds to the gradients of the layer's parameters, if
   they learn. layer: number on the route of the last forward pass. In two steps,
   between which a loss may add to backward.qkv: encoder_qkv_gradient comes down to the
   gradient by the layer's queries, keys and values, and encoder_input_gradient goes on
   from there. */
void encoder_layer_gradient(struct model *model, int layer);
void encoder_qkv_gradient(struct model *model, int layer);
void encoder_input_gradient(struct model *model, int layer);

/* encoder_embedding_gradient: from backward.hidden, the gradient by hidden[0], adds to
   the gradients of the tables and their norm. */
void encoder_embedding_gradient(struct model *model);

#endif
