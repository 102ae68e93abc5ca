/* Tangled from chapters/11-encoder.md; edit there. */
#include "parts.h"
#include "ranks.h"

/* Find who stands where */
/* Whose part this is, and in which of its layers (0 for parts outside the layers). */
struct stop part_stop(const struct model *m, enum part part, int layer)
{
    return m->route && part_in_layer(part) ? m->route[layer] : (struct stop){m, layer};
}

/* Whether a part that the way back comes by learns. */
bool part_learns(const struct model *m, enum part part, int layer)
{
    return m->learning != LEARN_LAYERS
           || (part_in_layer(part) && part_stop(m, part, layer).model == m);
}

/* Begin a gradient anew */
static int number_of(const struct model *m, enum part part, int layer)
{
    struct stop at = part_stop(m, part, layer);
    return (int)(parameters_find(&m->parameters, part, at.layer) - m->parameters.list);
}

/* is_led: whether the query's gradient stands for this one too. */
static bool is_led(enum part part)
{
    return part == KEY_WEIGHT || part == VALUE_WEIGHT || part == KEY_BIAS
           || part == VALUE_BIAS;
}

/* clear_forgotten: leaves zeros where an earlier step has left something. */
static void clear_forgotten(const struct model *m, int number)
{
    const struct parameter *list = m->parameters.list;
    int next = number + 1;
    if (m->filling[number] != FORGOTTEN)
        return;
    while (next < m->parameters.count && is_led(list[next].part))
        next++;
    size_t end = next < m->parameters.count ? list[next].offset : m->parameters.size;
    size_t at = list[number].offset;
    size_t each = gradient_rounded(m, at) ? m->k->real_size : sizeof(float);
    m->k->zero(gradient_at(m, at), (end - at) * each);
    m->filling[number] = CLEAR;
}

bool gradient_begin(const struct model *m, int layer, int count, const enum part *parts)
{
    bool begun = false;
    for (int i = 0; i < count; i++)
        begun |= m->filling[number_of(m, parts[i], layer)] == BEGUN;
    for (int i = 0; i < count; i++) {
        int number = number_of(m, parts[i], layer);
        if (begun)
            clear_forgotten(m, number);
        m->filling[number] = BEGUN;
    }
    return begun;
}

void gradient_settle(struct model *m)
{
    for (int i = 0; i < m->parameters.count; i++)
        clear_forgotten(m, i);
}

void gradient_forget(struct model *m)
{
    for (int i = 0; i < m->parameters.count; i++)
        if (m->filling[i] == BEGUN
            || (ranks_count() > 1 && !is_led(m->parameters.list[i].part)))
            m->filling[i] = FORGOTTEN;
}

void gradient_clear(const struct model *m, enum part part, int layer)
{
    int number = number_of(m, part, layer);
    clear_forgotten(m, number);
    m->filling[number] = BEGUN;
}

/* Find the weights and gradients of a part */
const real *part_weights(const struct model *m, enum part part, int layer)
{
    struct stop at = part_stop(m, part, layer);
    return slice(m->k, at.model->weights,
                 parameters_offset(&at.model->parameters, part, at.layer));
}

void *master_at(const struct model *m, size_t offset)
{
    return (char *)m->master + offset * m->k->master_size;
}

bool gradient_rounded(const struct model *m, size_t offset)
{
    return m->rounded && offset < m->parameters.decayed;
}

void *gradient_at(const struct model *m, size_t offset)
{
    if (gradient_rounded(m, offset))
        return slice(m->k, (const real *)m->gradient, offset);
    return m->gradient + offset;
}

void *part_gradient(const struct model *m, enum part part, int layer)
{
    struct stop at = part_stop(m, part, layer);
    return gradient_at(m, parameters_offset(&m->parameters, part, at.layer));
}

/* Choose what dropout drops */
struct dropout dropout_at(const struct model *m, enum dropout_place place, int layer)
{
    bool bert = m->shape.family == BERT;
    float rate = place == IN_ATTENTION      ? m->shape.attention_dropout
                 : place == AFTER_ATTENTION ? (bert ? m->shape.dropout : 0)
                 : place == IN_CLASSIFIER   ? m->shape.classifier_dropout
                 : place == BEFORE_SPAN     ? m->shape.span_dropout
                                            : m->shape.dropout;
    if (!m->training || rate == 0)
        return (struct dropout){0};
    return (struct dropout){rate, random_key(m->key, (uint64_t)layer, place)};
}

/* Map rows linearly */
struct map {
    const struct model *of;
    size_t weight, bias; /* their offsets; [out, in] and [out] */
    int in, out;
};

static bool is_decoder(enum part weight)
{
    return weight == WORD_TABLE || weight == DECODER_WEIGHT;
}

static enum part bias_of(enum part weight)
{
    return weight == QUERY_WEIGHT ? QUERY_BIAS
           : is_decoder(weight)   ? DECODER_BIAS
                                  : weight + 1;
}

static struct map find_map(const struct model *m, enum part weight, int layer)
{
    struct stop at = part_stop(m, weight, layer);
    const struct parameters *plan = &at.model->parameters;
    const struct parameter *w = parameters_find(plan, weight, at.layer);
    int out = weight == QUERY_WEIGHT ? 3 * w->rows
              : is_decoder(weight)   ? parameters_room(w->rows)
                                     : w->rows;
    return (struct map){at.model, w->offset,
                        parameters_offset(plan, bias_of(weight), at.layer), w->columns,
                        out};
}

void map_forward(const struct model *m, enum part weight, int layer, const real *x,
                 real *y, int rows)
{
    struct map map = find_map(m, weight, layer);
    const struct model *of = map.of;
    const real *bias = slice(m->k, of->weights, map.bias);
    size_t first = parameters_offset(&of->parameters, QUERY_WEIGHT, 0);
    if (of->settled && rows <= m->k->few_rows && part_in_layer(weight))
        m->k->linear_settled(x, slice(m->k, of->settled, map.weight - first), bias, y,
                             rows, map.in, map.out);
    else
        m->k->linear(x, slice(m->k, of->weights, map.weight), bias, y, rows, map.in,
                     map.out);
}

void map_onto(const struct model *m, enum part weight, int layer, const real *x,
              const real *base, real *y, int rows)
{
    struct map map = find_map(m, weight, layer);
    const real *weights = map.of->weights;
    m->k->linear_onto(x, slice(m->k, weights, map.weight),
                      slice(m->k, weights, map.bias), base, y, rows, map.in, map.out);
}

static int gradient_form(const struct model *m, bool begun)
{
    return (begun ? ADD : 0) | (m->rounded ? REALS : 0);
}

void map_weight_gradient(const struct model *m, enum part weight, int layer,
                         const real *x, const real *dy, int rows)
{
    if (!part_learns(m, weight, layer))
        return;
    struct map map = find_map(m, weight, layer);
    bool begun = gradient_begin(m, layer, 1, &weight);
    m->k->linear_weight_gradient(x, dy, gradient_at(m, map.weight), NULL, rows, map.in,
                                 map.out, gradient_form(m, begun));
}

void map_gradient(const struct model *m, enum part weight, int layer,
                  const real *x, const real *dy, int rows)
{
    if (!part_learns(m, weight, layer))
        return;
    struct map map = find_map(m, weight, layer);
    const enum part both[] = {weight, bias_of(weight)};
    bool begun = gradient_begin(m, layer, 2, both);
    m->k->linear_weight_gradient(x, dy, gradient_at(m, map.weight),
                                 gradient_at(m, map.bias), rows, map.in, map.out,
                                 gradient_form(m, begun));
}

void map_back(const struct model *m, enum part weight, int layer,
              const real *dy, real *dx, int rows, bool accumulate)
{
    struct map map = find_map(m, weight, layer);
    m->k->linear_input_gradient(dy, slice(m->k, map.of->weights, map.weight), dx, rows,
                                map.in, map.out, accumulate);
}

/* Normalise rows and keep what the way back needs */
struct normed norm_room(struct arena *a, size_t rows, size_t width, bool back)
{
    return (struct normed){arena_reals(a, rows, width),
                           back ? arena_floats(a, rows) : NULL,
                           back ? arena_floats(a, rows) : NULL};
}

void norm_forward(const struct model *m, const struct normed *norm,
                  const real *residual, struct dropout dropout, enum part gain,
                  int layer, real *y, int rows)
{
    m->k->norm(norm->sum, residual, dropout, part_weights(m, gain, layer),
               part_weights(m, gain + 1, layer), y, norm->mean, norm->deviation, rows,
               m->shape.width, m->shape.epsilon);
}

struct norm_sums norm_sums_of(const struct model *m, enum part gain,
                              int layer)
{
    bool mapped = gain == ATTENTION_NORM_GAIN || gain == OUTER_NORM_GAIN;
    enum part before = gain == ATTENTION_NORM_GAIN ? ATTENTION_BIAS : OUTER_BIAS;
    const enum part parts[] = {gain, gain + 1, before};
    /* Leave the sums of a norm that does not learn unread */
    if (!part_learns(m, gain, layer)) {
        float *unread = m->backward.unread;
        int width = m->shape.width;
        return (struct norm_sums){.gain = unread, .bias = unread + width,
                                  .before = mapped ? unread + 2 * width : NULL};
    }
    return (struct norm_sums){
        .gain = part_gradient(m, gain, layer),
        .bias = part_gradient(m, gain + 1, layer),
        .before = mapped ? part_gradient(m, before, layer) : NULL,
        .accumulate = gradient_begin(m, layer, mapped ? 3 : 2, parts),
    };
}

real *norm_back(struct model *m, const struct normed *norm,
                struct dropout dropout, enum part gain, int layer)
{
    struct backward *b = &m->backward;
    real *dense = dropout.rate > 0 ? b->dense : NULL;
    struct norm_sums sums = norm_sums_of(m, gain, layer);
    m->k->norm_gradient(b->hidden, norm->sum, norm->mean, norm->deviation,
                        part_weights(m, gain, layer), dropout, b->hidden, dense, &sums,
                        m->input.tokens, m->shape.width);
    return dense ? dense : b->hidden;
}

void activation_back(const struct model *m, enum activation f, const real *x,
                     real *d, enum part bias, int layer, int rows, int width)
{
    bool learning = part_learns(m, bias, layer);
    bool begun = learning && gradient_begin(m, layer, 1, &bias);
    float *sums = learning ? part_gradient(m, bias, layer)
                           : m->backward.unread + 3 * m->shape.width;
    m->k->activate_gradient(f, x, d, d, sums, rows, width, begun);
}
