/* Tangled from chapters/09-parameters.md; edit there. */
#include "parameters.h"
#include "fail.h"

#include <stdio.h>
#include <stdlib.h>

/* Name the parts in each family */
static const char *const bert_names[PARTS] = {
    [WORD_TABLE] = "bert.embeddings.word_embeddings.weight",
    [POSITION_TABLE] = "bert.embeddings.position_embeddings.weight",
    [TYPE_TABLE] = "bert.embeddings.token_type_embeddings.weight",
    [EMBEDDING_NORM_GAIN] = "bert.embeddings.LayerNorm.weight",
    [EMBEDDING_NORM_BIAS] = "bert.embeddings.LayerNorm.bias",
    /* Name the parts of a BERT layer */
    [QUERY_WEIGHT] = "bert.encoder.layer.%d.attention.self.query.weight",
    [QUERY_BIAS] = "bert.encoder.layer.%d.attention.self.query.bias",
    [KEY_WEIGHT] = "bert.encoder.layer.%d.attention.self.key.weight",
    [KEY_BIAS] = "bert.encoder.layer.%d.attention.self.key.bias",
    [VALUE_WEIGHT] = "bert.encoder.layer.%d.attention.self.value.weight",
    [VALUE_BIAS] = "bert.encoder.layer.%d.attention.self.value.bias",
    [ATTENTION_WEIGHT] = "bert.encoder.layer.%d.attention.output.dense.weight",
    [ATTENTION_BIAS] = "bert.encoder.layer.%d.attention.output.dense.bias",
    [ATTENTION_NORM_GAIN] = "bert.encoder.layer.%d.attention.output.LayerNorm.weight",
    [ATTENTION_NORM_BIAS] = "bert.encoder.layer.%d.attention.output.LayerNorm.bias",
    [INNER_WEIGHT] = "bert.encoder.layer.%d.intermediate.dense.weight",
    [INNER_BIAS] = "bert.encoder.layer.%d.intermediate.dense.bias",
    [OUTER_WEIGHT] = "bert.encoder.layer.%d.output.dense.weight",
    [OUTER_BIAS] = "bert.encoder.layer.%d.output.dense.bias",
    [OUTER_NORM_GAIN] = "bert.encoder.layer.%d.output.LayerNorm.weight",
    [OUTER_NORM_BIAS] = "bert.encoder.layer.%d.output.LayerNorm.bias",
    /* Name the parts of BERT's heads */
    [TRANSFORM_WEIGHT] = "cls.predictions.transform.dense.weight",
    [TRANSFORM_BIAS] = "cls.predictions.transform.dense.bias",
    [TRANSFORM_NORM_GAIN] = "cls.predictions.transform.LayerNorm.weight",
    [TRANSFORM_NORM_BIAS] = "cls.predictions.transform.LayerNorm.bias",
    [DECODER_WEIGHT] = "cls.predictions.decoder.weight",
    [DECODER_BIAS] = "cls.predictions.bias",
    [SUMMARY_WEIGHT] = "bert.pooler.dense.weight",
    [SUMMARY_BIAS] = "bert.pooler.dense.bias",
    [CLASSIFIER_WEIGHT] = "classifier.weight",
    [CLASSIFIER_BIAS] = "classifier.bias",
    [SPAN_WEIGHT] = "qa_outputs.weight",
    [SPAN_BIAS] = "qa_outputs.bias",
};

static const char *const distilbert_names[PARTS] = {
    [WORD_TABLE] = "distilbert.embeddings.word_embeddings.weight",
    [POSITION_TABLE] = "distilbert.embeddings.position_embeddings.weight",
    [EMBEDDING_NORM_GAIN] = "distilbert.embeddings.LayerNorm.weight",
    [EMBEDDING_NORM_BIAS] = "distilbert.embeddings.LayerNorm.bias",
    /* Name the parts of a DistilBERT layer */
    [QUERY_WEIGHT] = "distilbert.transformer.layer.%d.attention.q_lin.weight",
    [QUERY_BIAS] = "distilbert.transformer.layer.%d.attention.q_lin.bias",
    [KEY_WEIGHT] = "distilbert.transformer.layer.%d.attention.k_lin.weight",
    [KEY_BIAS] = "distilbert.transformer.layer.%d.attention.k_lin.bias",
    [VALUE_WEIGHT] = "distilbert.transformer.layer.%d.attention.v_lin.weight",
    [VALUE_BIAS] = "distilbert.transformer.layer.%d.attention.v_lin.bias",
    [ATTENTION_WEIGHT] = "distilbert.transformer.layer.%d.attention.out_lin.weight",
    [ATTENTION_BIAS] = "distilbert.transformer.layer.%d.attention.out_lin.bias",
    [ATTENTION_NORM_GAIN] = "distilbert.transformer.layer.%d.sa_layer_norm.weight",
    [ATTENTION_NORM_BIAS] = "distilbert.transformer.layer.%d.sa_layer_norm.bias",
    [INNER_WEIGHT] = "distilbert.transformer.layer.%d.ffn.lin1.weight",
    [INNER_BIAS] = "distilbert.transformer.layer.%d.ffn.lin1.bias",
    [OUTER_WEIGHT] = "distilbert.transformer.layer.%d.ffn.lin2.weight",
    [OUTER_BIAS] = "distilbert.transformer.layer.%d.ffn.lin2.bias",
    [OUTER_NORM_GAIN] = "distilbert.transformer.layer.%d.output_layer_norm.weight",
    [OUTER_NORM_BIAS] = "distilbert.transformer.layer.%d.output_layer_norm.bias",
    /* Name the parts of DistilBERT's heads */
    [TRANSFORM_WEIGHT] = "vocab_transform.weight",
    [TRANSFORM_BIAS] = "vocab_transform.bias",
    [TRANSFORM_NORM_GAIN] = "vocab_layer_norm.weight",
    [TRANSFORM_NORM_BIAS] = "vocab_layer_norm.bias",
    [DECODER_WEIGHT] = "vocab_projector.weight",
    [DECODER_BIAS] = "vocab_projector.bias",
    [SUMMARY_WEIGHT] = "pre_classifier.weight",
    [SUMMARY_BIAS] = "pre_classifier.bias",
    [CLASSIFIER_WEIGHT] = "classifier.weight",
    [CLASSIFIER_BIAS] = "classifier.bias",
    [SPAN_WEIGHT] = "qa_outputs.weight",
    [SPAN_BIAS] = "qa_outputs.bias",
};

/* Tell whether a model has a part */
static bool has_part(int part, const struct shape *shape, enum head head)
{
    if (part == TYPE_TABLE)
        return shape->types > 0;
    if (part == DECODER_WEIGHT)
        return head == HEAD_MLM && !shape->tied;
    if (part >= TRANSFORM_WEIGHT && part <= DECODER_BIAS)
        return head == HEAD_MLM;
    if (part >= SUMMARY_WEIGHT && part <= CLASSIFIER_BIAS)
        return head == HEAD_CLASSIFIER;
    if (part == SPAN_WEIGHT || part == SPAN_BIAS)
        return head == HEAD_SPAN;
    return true;
}

/* Measure a part */
static void measure_part(int part, const struct shape *shape, int classes,
                         struct parameter *p)
{
    p->matrix = true;
    p->rows = p->columns = shape->width;
    switch (part) {
    case WORD_TABLE:
    case DECODER_WEIGHT:    p->rows = shape->vocabulary; return;
    case POSITION_TABLE:    p->rows = shape->positions;  return;
    case TYPE_TABLE:        p->rows = shape->types;      return;
    case INNER_WEIGHT:      p->rows = shape->inner;      return;
    case OUTER_WEIGHT:      p->columns = shape->inner;   return;
    case CLASSIFIER_WEIGHT: p->rows = classes;           return;
    case SPAN_WEIGHT:       p->rows = 2;                 return;
    case QUERY_WEIGHT: case KEY_WEIGHT: case VALUE_WEIGHT:
    case ATTENTION_WEIGHT: case TRANSFORM_WEIGHT: case SUMMARY_WEIGHT:
        return;
    }
    /* Measure a vector */
    p->matrix = false;
    p->rows = 1;
    if (part == INNER_BIAS)
        p->columns = shape->inner;
    if (part == DECODER_BIAS)
        p->columns = shape->vocabulary;
    if (part == CLASSIFIER_BIAS)
        p->columns = classes;
    if (part == SPAN_BIAS)
        p->columns = 2;
}

/* Lay the parts out in one vector */
int parameters_room(int rows)
{
    return (rows + 7) / 8 * 8;
}

static size_t align(size_t offset)
{
    return (offset + 63) / 64 * 64;
}

static void add_parts(struct parameters *plan, const struct shape *shape,
                      enum head head, int classes, bool matrix, int from, int to,
                      int layer)
{
    const char *const *names = shape->family == BERT ? bert_names : distilbert_names;
    for (int part = from; part < to; part++) {
        struct parameter p = {.part = part, .layer = layer};
        measure_part(part, shape, classes, &p);
        if (p.matrix != matrix || !has_part(part, shape, head))
            continue;
        snprintf(p.name, sizeof p.name, names[part], layer);
        /* Give the part the next place */
        bool follows = part == KEY_WEIGHT || part == VALUE_WEIGHT
                    || part == KEY_BIAS || part == VALUE_BIAS;
        p.offset = follows ? plan->size : align(plan->size);
        size_t rows = (size_t)p.rows, columns = (size_t)p.columns;
        if (part == WORD_TABLE || part == DECODER_WEIGHT)
            rows = (size_t)parameters_room(p.rows);
        if (part == DECODER_BIAS)
            columns = (size_t)parameters_room(p.columns);
        plan->size = p.offset + rows * columns;
        plan->list[plan->count++] = p;
        plan->place[layer][part] = plan->count;
    }
}

struct parameters parameters_plan(const struct shape *shape, enum head head,
                                  int classes)
{
    struct parameters plan = {.layers = shape->layers};
    size_t layers = (size_t)shape->layers + 1; /* a model without layers has a first */
    plan.list = allocate(layers * PARTS, sizeof *plan.list);
    plan.place = allocate(layers, sizeof *plan.place);
    for (int pass = 0; pass < 2; pass++) {
        bool matrix = pass == 0;
        int first = QUERY_WEIGHT, after = TRANSFORM_WEIGHT; /* the parts of a layer */
        add_parts(&plan, shape, head, classes, matrix, 0, first, 0);
        for (int i = 0; i < shape->layers; i++)
            add_parts(&plan, shape, head, classes, matrix, first, after, i);
        add_parts(&plan, shape, head, classes, matrix, after, PARTS, 0);
        plan.size = align(plan.size);
        if (matrix)
            plan.decayed = plan.size;
    }
    return plan;
}

void parameters_free(struct parameters *parameters)
{
    free(parameters->list);
    free(parameters->place);
    *parameters = (struct parameters){0};
}

/* Find a part in a plan */
bool part_in_layer(enum part part)
{
    return part >= QUERY_WEIGHT && part <= OUTER_NORM_BIAS;
}

const struct parameter *parameters_find(const struct parameters *parameters,
                                        enum part part, int layer)
{
    bool there = layer >= 0 && layer <= parameters->layers;
    int place = there ? parameters->place[layer][part] : 0;
    return place > 0 ? &parameters->list[place - 1] : NULL;
}

size_t parameters_offset(const struct parameters *parameters, enum part part,
                         int layer)
{
    const struct parameter *p = parameters_find(parameters, part, layer);
    if (!p)
        fail(bert_names[part], "layer %d of the model has no such part", layer);
    return p->offset;
}

/* Count the parameters of a model */
size_t parameters_total(const struct parameters *parameters)
{
    size_t total = 0;
    for (int i = 0; i < parameters->count; i++)
        total += (size_t)parameters->list[i].rows * (size_t)parameters->list[i].columns;
    return total;
}
