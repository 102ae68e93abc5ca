/* Tangled from chapters/12-heads.md; edit there. */
#include "heads.h"
#include "fail.h"
#include "parts.h"

#include <stdlib.h>

/* Lay out the heads */
/* Lay out each of the heads */
static struct mlm_head take_mlm_head(struct arena *a, const struct model *m)
{
    size_t most = (size_t)m->k->logit_rows, tokens = (size_t)m->token_room;
    size_t block = tokens < most ? tokens : most, width = (size_t)m->shape.width;
    bool back = m->learning != LEARN_NOTHING;
    struct mlm_head head = {
        .block = (int)block,
        .classes_room = parameters_room(m->shape.vocabulary),
        .index = arena_ints(a, tokens),
        .x = arena_reals(a, block, width),
        .mapped = arena_reals(a, block, width),
        .transform = norm_room(a, block, width, back),
        .y = arena_reals(a, block, width),
    };
    /* Take the logits of a block and what is for its way back */
    head.logits = arena_reals(a, block, (size_t)head.classes_room);
    if (back)
        head.dy = arena_reals(a, block, width);
    if (m->learning == LEARN_HEAD)
        head.ones = arena_reals(a, block, 1);
    return head;
}

static struct classifier take_classifier(struct arena *a, const struct model *m)
{
    size_t sequences = (size_t)m->sequence_room, width = (size_t)m->shape.width;
    struct classifier head = {
        .x = arena_reals(a, sequences, width),
        .mapped = arena_reals(a, sequences, width),
        .summary = arena_reals(a, sequences, width),
        .logits = arena_reals(a, sequences, (size_t)m->classes),
    };
    if (m->learning != LEARN_NOTHING) {
        head.soft = arena_reals(a, sequences, (size_t)m->classes);
        head.dy = arena_reals(a, sequences, width);
    }
    return head;
}

static struct span_head take_span_head(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    size_t cells = 2 * (size_t)m->sequence_room * (size_t)m->shape.positions;
    struct span_head head = {
        .logits = arena_reals(a, 2 * tokens + 1, 1),
        .rows = arena_reals(a, cells, 1),
        .places = arena_ints(a, cells),
        .back = arena_ints(a, 2 * tokens),
    };
    if (m->learning != LEARN_NOTHING) {
        head.x = arena_reals(a, tokens, width);
        head.soft = arena_reals(a, 2 * tokens + 1, 1);
        head.soft_rows = arena_reals(a, cells, 1);
    }
    return head;
}

void heads_room(struct model *m, struct arena *a)
{
    if (m->head == HEAD_MLM)
        m->mlm = take_mlm_head(a, m);
    if (m->head == HEAD_CLASSIFIER)
        m->classifier = take_classifier(a, m);
    if (m->head == HEAD_SPAN)
        m->span = take_span_head(a, m);
}

/* Fill what the heads never change */
void heads_fill(struct model *m)
{
    /* Fill the arena's constants */
    if (m->learning == LEARN_HEAD) {
        int count = m->mlm.block;
        float *ones = allocate((size_t)count, sizeof *ones);
        float *floats = m->k->allocate((size_t)count * sizeof *ones);
        for (int i = 0; i < count; i++)
            ones[i] = 1;
        m->k->upload(floats, ones, (size_t)count * sizeof *ones);
        m->k->to_real(floats, m->mlm.ones, (size_t)count);
        m->k->release(floats);
        free(ones);
    }
    if (m->head == HEAD_SPAN) {
        const float NEVER = -1e4f;
        size_t last = 2 * (size_t)m->token_room;
        float *number = m->k->allocate(sizeof *number);
        m->k->upload(number, &NEVER, sizeof NEVER);
        m->k->to_real(number, slice(m->k, m->span.logits, last), 1);
        if (m->span.soft)
            m->k->to_real(number, slice(m->k, m->span.soft, last), 1);
        m->k->release(number);
    }
}

/* Put the MLM head on the encoder */
static enum part decoder(const struct model *m)
{
    return m->shape.tied ? WORD_TABLE : DECODER_WEIGHT;
}

void mlm_choose(struct model *m, const int *rows, int count)
{
    m->mlm.all = count == m->input.tokens;
    if (!m->mlm.all)
        m->k->upload(m->mlm.index, rows, (size_t)count * sizeof *rows);
}

/* The hidden states of a block of chosen rows, or the gradient by them, if all lie in
   rows; else where they are gathered. */
static real *chosen(const struct model *m, const real *rows, int first)
{
    return m->mlm.all ? slice(m->k, rows, area(first, m->shape.width)) : m->mlm.x;
}

void mlm_forward(struct model *m, int first, int rows)
{
    const struct mlm_head *head = &m->mlm;
    const real *states = m->hidden[m->depth], *x = chosen(m, states, first);
    int width = m->shape.width;
    struct dropout none = {0};
    if (!head->all)
        m->k->gather(states, head->index + first, head->x, rows, width);
    map_forward(m, TRANSFORM_WEIGHT, 0, x, head->mapped, rows);
    m->k->activate(GELU, head->mapped, head->transform.sum, area(rows, width));
    norm_forward(m, &head->transform, NULL, none, TRANSFORM_NORM_GAIN, 0, head->y,
                 rows);
    map_forward(m, decoder(m), 0, head->y, head->logits, rows);
}

void mlm_backward(struct model *m, int first, int rows)
{
    const struct mlm_head *head = &m->mlm;
    const struct normed *norm = &head->transform;
    int width = m->shape.width;
    struct dropout none = {0};
    /* Add to the gradients of the decoder */
    if (m->learning == LEARN_ALL || !m->shape.tied)
        map_gradient(m, decoder(m), 0, head->y, head->logits, rows);
    else {
        enum part bias = DECODER_BIAS;
        bool begun = gradient_begin(m, 0, 1, &bias);
        m->k->linear_weight_gradient(head->ones, head->logits, part_gradient(m, bias, 0),
                                     NULL, rows, 1, head->classes_room, begun ? ADD : 0);
    }
    map_back(m, decoder(m), 0, head->logits, head->dy, rows, false);
    /* Go back through the norm of the MLM head */
    struct norm_sums sums = norm_sums_of(m, TRANSFORM_NORM_GAIN, 0);
    m->k->norm_gradient(head->dy, norm->sum, norm->mean, norm->deviation,
                        part_weights(m, TRANSFORM_NORM_GAIN, 0), none, head->dy, NULL,
                        &sums, rows, width);
    activation_back(m, GELU, head->mapped, head->dy, TRANSFORM_BIAS, 0, rows, width);
    map_weight_gradient(m, TRANSFORM_WEIGHT, 0, chosen(m, m->hidden[m->depth], first),
                        head->dy, rows);
    /* Hand a block's gradient to the encoder */
    if (m->learning == LEARN_ALL) {
        real *hidden = m->backward.hidden;
        map_back(m, TRANSFORM_WEIGHT, 0, head->dy, chosen(m, hidden, first), rows, false);
        if (!head->all)
            m->k->scatter(head->x, head->index + first, hidden, rows, width);
    }
}

/* Put the classifier on the encoder */
static enum activation summary_activation(const struct model *m)
{
    return m->shape.family == BERT ? TANH : RELU;
}

void classifier_forward(struct model *m)
{
    const struct classifier *head = &m->classifier;
    const real *states = m->hidden[m->depth];
    int rows = m->input.sequences, width = m->shape.width;
    size_t n = area(rows, width);
    struct dropout dropout = dropout_at(m, IN_CLASSIFIER, 0);
    m->k->gather(states, m->input.offsets, head->x, rows, width);
    map_forward(m, SUMMARY_WEIGHT, 0, head->x, head->mapped, rows);
    m->k->activate(summary_activation(m), head->mapped, head->summary, n);
    if (dropout.rate > 0)
        m->k->dropout(head->summary, head->summary, n, dropout);
    map_forward(m, CLASSIFIER_WEIGHT, 0, head->summary, head->logits, rows);
}

void classifier_backward(struct model *m)
{
    const struct classifier *head = &m->classifier;
    int rows = m->input.sequences, width = m->shape.width;
    size_t n = area(rows, width);
    struct dropout dropout = dropout_at(m, IN_CLASSIFIER, 0);
    map_gradient(m, CLASSIFIER_WEIGHT, 0, head->summary, head->logits, rows);
    map_back(m, CLASSIFIER_WEIGHT, 0, head->logits, head->dy, rows, false);
    if (dropout.rate > 0)
        m->k->dropout(head->dy, head->dy, n, dropout);
    activation_back(m, summary_activation(m), head->mapped, head->dy, SUMMARY_BIAS, 0,
                    rows, width);
    map_weight_gradient(m, SUMMARY_WEIGHT, 0, head->x, head->dy, rows);
    map_back(m, SUMMARY_WEIGHT, 0, head->dy, head->x, rows, false);
    m->k->scatter(head->x, m->input.offsets, m->backward.hidden, rows, width);
}

/* Put the span head on the encoder */
/* The states that the head maps. */
static const real *span_input(const struct model *m)
{
    return m->span.x && m->training ? m->span.x : m->hidden[m->depth];
}

void span_forward(struct model *m)
{
    int tokens = m->input.tokens;
    if (span_input(m) == m->span.x)
        m->k->dropout(m->hidden[m->depth], m->span.x,
                      area(tokens, m->shape.width), dropout_at(m, BEFORE_SPAN, 0));
    map_forward(m, SPAN_WEIGHT, 0, span_input(m), m->span.logits, tokens);
}

void span_backward(struct model *m)
{
    int tokens = m->input.tokens;
    real *dy = m->backward.hidden;
    map_gradient(m, SPAN_WEIGHT, 0, span_input(m), m->span.logits, tokens);
    map_back(m, SPAN_WEIGHT, 0, m->span.logits, dy, tokens, false);
    if (span_input(m) == m->span.x)
        m->k->dropout(dy, dy, area(tokens, m->shape.width),
                      dropout_at(m, BEFORE_SPAN, 0));
}
