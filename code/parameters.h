/* Tangled from chapters/09-parameters.md; edit there. */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>

/* State what fixes a model's shape */
enum family { BERT, DISTILBERT };
enum head { HEAD_NONE, HEAD_MLM, HEAD_CLASSIFIER, HEAD_SPAN };

/* Everything in a model's config.json that changes what it computes. */
struct shape {
    enum family family;
    int layers;              /* encoder layers */
    int width;               /* length of a hidden state; a multiple of heads */
    int heads;               /* attention heads */
    int inner;               /* length of the state inside the feed-forward half */
    int vocabulary;          /* rows of the word table */
    int positions;           /* rows of the position table: the longest sequence */
    int types;               /* rows of the token type table; 0: the model has none */
    /* Say how a model normalises, drops and begins */
    float epsilon;           /* added to the variance in layer normalisation */
    float dropout;           /* of embeddings and of the output of each half layer */
    float attention_dropout; /* of attention probabilities */
    float classifier_dropout;/* before a classifier's last map */
    float span_dropout;      /* before the span head */
    float initializer_range; /* standard deviation of fresh weights */
    bool tied;               /* the MLM decoder is the word table itself */
};

/* State which parts a model has */
/* The kinds of array in a model. WEIGHT: [out, in]; TABLE: [rows, width]; GAIN and BIAS
   of a layer norm: [width]; other BIAS: [out]. Those of a layer occur in each layer. */
enum part {
    WORD_TABLE, POSITION_TABLE, TYPE_TABLE, EMBEDDING_NORM_GAIN, EMBEDDING_NORM_BIAS,

    QUERY_WEIGHT, KEY_WEIGHT, VALUE_WEIGHT, QUERY_BIAS, KEY_BIAS, VALUE_BIAS,
    ATTENTION_WEIGHT, ATTENTION_BIAS,       /* after the heads, [width, width] */
    ATTENTION_NORM_GAIN, ATTENTION_NORM_BIAS,
    INNER_WEIGHT, INNER_BIAS,               /* [inner, width] */
    OUTER_WEIGHT, OUTER_BIAS,               /* [width, inner] */
    OUTER_NORM_GAIN, OUTER_NORM_BIAS,

    /* List the parts of the heads */
    TRANSFORM_WEIGHT, TRANSFORM_BIAS, TRANSFORM_NORM_GAIN, TRANSFORM_NORM_BIAS,
    DECODER_WEIGHT,                         /* [vocabulary, width]; only if not tied */
    DECODER_BIAS,                           /* [vocabulary] */

    SUMMARY_WEIGHT, SUMMARY_BIAS,           /* [width, width], [width] */
    CLASSIFIER_WEIGHT, CLASSIFIER_BIAS,     /* [classes, width], [classes] */

    SPAN_WEIGHT, SPAN_BIAS,                 /* [2, width], [2] */
    PARTS
};

/* State what a plan of parameters holds */
/* One array of a model and its place in the vector. */
struct parameter {
    char name[96];       /* Hugging Face's full name */
    enum part part;
    int layer;           /* for the parts of a layer; else 0 */
    bool matrix;         /* WEIGHT or TABLE, [rows, columns]; else vector, [columns] */
    int rows, columns;   /* of a vector: 1, length */
    size_t offset;       /* where its first element lies in the vector; row-major */
};

/* All arrays of a model, in the order of their offsets: first the matrices and then the
   vectors, each in the order embeddings, layer after layer, head. */
struct parameters {
    struct parameter *list;
    int count, layers;
    int (*place)[PARTS]; /* [layers + 1] of a layer's part, from 1, in list; 0: none */
    size_t size;         /* length of the vector, in floats, with gaps */
    size_t decayed;      /* its first floats, the matrices, take weight decay */
};

/* State what can be done with a plan */
/* parameters_plan: the arrays of a model of this shape with this head, and where each
   lies. classes: for HEAD_CLASSIFIER, else ignored. Query, key and value weights of a
   layer lie without a gap in this order, as one matrix [3 width, width]; so do their
   biases. The word table, an untied decoder and the decoder's bias have room for
   parameters_room rows. Apart from key and value, each array begins at a multiple of
   64 floats. Gaps must stay zero. */
struct parameters parameters_plan(const struct shape *shape, enum head head,
                                  int classes);
void parameters_free(struct parameters *parameters);

/* parameters_room: rows rounded up to a multiple of 8. */
int parameters_room(int rows);

/* part_in_layer: whether each layer has such an array of its own. */
bool part_in_layer(enum part part);

/* parameters_find: the array of this part in this layer (0 for parts outside the
   layers); NULL if the model has none. */
const struct parameter *parameters_find(const struct parameters *parameters,
                                        enum part part, int layer);

/* parameters_offset: the offset of an array that the model must have; fails, naming
   it, if it has none. */
size_t parameters_offset(const struct parameters *parameters, enum part part,
                         int layer);

/* parameters_total: how many parameters the model has, as papers count them: without
   gaps and spare rows, and a tied decoder once. */
size_t parameters_total(const struct parameters *parameters);

#endif
