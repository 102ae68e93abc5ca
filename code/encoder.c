/* Tangled from chapters/11-encoder.md; edit there. */
#include "encoder.h"
#include "fail.h"
#include "model.h"
#include "ranks.h"

#include <stdlib.h>

/* Keep a model on a device */
/* Create a model */
struct model *encoder_create(const struct kernels *k, const struct shape *shape,
                             enum head head, int classes, const float *values,
                             enum learning learning)
{
    struct model *m = allocate(1, sizeof *m);
    *m = (struct model){.k = k, .shape = *shape, .head = head, .learning = learning};
    m->classes = head == HEAD_CLASSIFIER ? classes : 0;
    m->depth = shape->layers;
    m->parameters = parameters_plan(shape, head, classes);
    /* Take the vectors of a model */
    size_t size = m->parameters.size;
    m->master = k->allocate(size * sizeof(float));
    m->weights = k->real_size == sizeof(float) ? (real *)m->master
                                               : k->allocate(size * k->real_size);
    encoder_upload(m, values);
    if (learning != LEARN_NOTHING)
        m->gradient = k->allocate(size * sizeof(float));
    m->filling = allocate((size_t)m->parameters.count, sizeof *m->filling);
    float state[STATE_SIZE] = {k->loss_scale};
    m->state = k->allocate(sizeof state);
    k->upload(m->state, state, sizeof state);
    m->hidden = allocate((size_t)shape->layers + 1, sizeof *m->hidden);
    m->layers = allocate((size_t)shape->layers, sizeof *m->layers);
    return m;
}

void encoder_widen(struct model *m, int detour)
{
    size_t layers = (size_t)(m->shape.layers + detour);
    free(m->hidden);
    free(m->layers);
    m->hidden = allocate(layers + 1, sizeof *m->hidden);
    m->layers = allocate(layers, sizeof *m->layers);
    m->detour = detour;
}

void encoder_route(struct model *m, const struct stop *route, int depth)
{
    m->route = route;
    m->depth = route ? depth : m->shape.layers;
}

struct model *encoder_open(const struct kernels *k, const char *folder, enum head head,
                           int classes, enum learning learning)
{
    struct shape shape = model_shape(folder);
    struct parameters plan = parameters_plan(&shape, head, classes);
    float *values = allocate(plan.size, sizeof *values);
    model_read(folder, &plan, values, NULL);
    struct model *m = encoder_create(k, &shape, head, classes, values, learning);
    free(values);
    parameters_free(&plan);
    return m;
}

void encoder_free(struct model *m)
{
    m->k->release(m->arena);
    m->k->release(m->state);
    m->k->release(m->gradient);
    m->k->release(m->settled);
    if (m->weights != (real *)m->master)
        m->k->release(m->weights);
    m->k->release(m->master);
    parameters_free(&m->parameters);
    free(m->filling);
    free(m->hidden);
    free(m->layers);
    free(m);
}

/* Find who stands where */
/* Whose part this is, and in which of its layers (0 for parts outside the layers). */
static struct stop stop_at(const struct model *m, enum part part, int layer)
{
    return m->route && part_in_layer(part) ? m->route[layer] : (struct stop){m, layer};
}

/* Whether a part that the way back comes by learns. */
static bool learns(const struct model *m, enum part part, int layer)
{
    return m->learning != LEARN_LAYERS
           || (part_in_layer(part) && stop_at(m, part, layer).model == m);
}

/* Begin a gradient anew */
static int number_of(const struct model *m, enum part part, int layer)
{
    struct stop at = stop_at(m, part, layer);
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
    m->k->zero(m->gradient + list[number].offset,
               (end - list[number].offset) * sizeof *m->gradient);
    m->filling[number] = CLEAR;
}

/* begin: whether these gradients hold something of this step. From now on they do. */
static bool begin(const struct model *m, int layer, int count, const enum part *parts)
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

void encoder_settle_gradient(struct model *m)
{
    for (int i = 0; i < m->parameters.count; i++)
        clear_forgotten(m, i);
}

void encoder_forget_gradient(struct model *m)
{
    for (int i = 0; i < m->parameters.count; i++)
        if (m->filling[i] == BEGUN
            || (ranks_count() > 1 && !is_led(m->parameters.list[i].part)))
            m->filling[i] = FORGOTTEN;
}

/* Settle the weights of a model that answers */
/* The elements of the settled matrices, which lie as in the plan from the first on;
   0 if there shall be none. */
static size_t settled_size(const struct model *m, const struct parameters *plan,
                           int sequence_room)
{
    size_t first = parameters_offset(plan, QUERY_WEIGHT, 0), end = first;
    if (m->learning != LEARN_NOTHING || m->k->few_rows == 0 || sequence_room != 1)
        return 0;
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *p = &plan->list[i];
        if (!part_in_layer(p->part) || p->offset >= plan->decayed)
            continue;
        if (!m->k->settles(p->columns, p->rows))
            return 0;
        end = p->offset + (size_t)p->rows * (size_t)p->columns;
    }
    return end - first;
}

static void settle(struct model *m)
{
    const struct parameters *plan = &m->parameters;
    size_t first = parameters_offset(plan, QUERY_WEIGHT, 0),
           size = settled_size(m, plan, m->sequence_room);
    if (m->settled || size == 0)
        return;
    m->settled = m->k->allocate(size * m->k->real_size);
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *p = &plan->list[i];
        if (part_in_layer(p->part) && p->offset < plan->decayed)
            m->k->settle(slice(m->k, m->weights, p->offset),
                         slice(m->k, m->settled, p->offset - first), p->columns,
                         p->rows);
    }
}

/* Move parameters between host and device */
void encoder_upload(struct model *m, const float *values)
{
    m->k->upload(m->master, values, m->parameters.size * sizeof(float));
    m->k->to_real(m->master, m->weights, m->parameters.size);
    m->k->release(m->settled);
    m->settled = NULL;
    if (m->sequence_room > 0)
        settle(m);
}

void encoder_download(const struct model *m, float *values)
{
    m->k->download(values, m->master, m->parameters.size * sizeof(float));
}

void encoder_gradient(struct model *m, float *values)
{
    float state[STATE_SIZE];
    encoder_settle_gradient(m);
    m->k->download(state, m->state, sizeof state);
    m->k->download(values, m->gradient, m->parameters.size * sizeof(float));
    for (size_t i = 0; i < m->parameters.size; i++)
        values[i] /= state[LOSS_SCALE];
}

void encoder_fetch(const struct model *m, const real *x, float *values, size_t n)
{
    float *floats = m->k->allocate(n * sizeof(float));
    m->k->to_float(x, floats, n);
    m->k->download(values, floats, n * sizeof(float));
    m->k->release(floats);
}

/* Give a model room to work */
/* Take room from the arena */
struct arena {
    const struct kernels *k;
    char *memory; /* NULL: only counting */
    size_t used;  /* bytes */
};

static void *take(struct arena *arena, size_t count, size_t size)
{
    size_t at = arena->used;
    arena->used += (count * size + 63) / 64 * 64;
    return arena->memory ? arena->memory + at : NULL;
}

static real *take_reals(struct arena *arena, size_t rows, size_t columns)
{
    return take(arena, rows * columns, arena->k->real_size);
}

static float *take_floats(struct arena *arena, size_t count)
{
    return take(arena, count, sizeof(float));
}

static int *take_ints(struct arena *arena, size_t count)
{
    return take(arena, count, sizeof(int));
}

/* Lay out all that a model needs */
/* Whether there is a way back through its layers. */
static bool goes_back(const struct model *m)
{
    return m->learning == LEARN_ALL || m->learning == LEARN_LAYERS;
}

static struct normed take_normed(struct arena *a, size_t rows, size_t width, bool back)
{
    return (struct normed){take_reals(a, rows, width),
                           back ? take_floats(a, rows) : NULL,
                           back ? take_floats(a, rows) : NULL};
}

static struct layer take_layer(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    bool back = goes_back(m);
    struct layer layer = {
        .qkv = take_reals(a, tokens, 3 * width),
        .logsum = take_floats(a, tokens * (size_t)m->shape.heads),
        .context = take_reals(a, tokens, width),
        .attention = take_normed(a, tokens, width, back),
        .middle = take_reals(a, tokens, width),
        .wide = take_reals(a, tokens, (size_t)m->shape.inner),
        .outer = take_normed(a, tokens, width, back),
    };
    layer.active = layer.wide;
    if (back)
        layer.active = take_reals(a, tokens, (size_t)m->shape.inner);
    return layer;
}

static struct lookup take_lookup(struct arena *a, size_t tokens)
{
    return (struct lookup){.id = take_ints(a, tokens),
                           .start = take_ints(a, tokens + 1),
                           .token = take_ints(a, tokens)};
}

static struct input take_input(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room, sequences = (size_t)m->sequence_room;
    struct input input = {
        .ids = take_ints(a, tokens),
        .positions = take_ints(a, tokens),
        .segments = take_ints(a, tokens),
        .offsets = take_ints(a, sequences + 1),
        .visible = take_ints(a, sequences),
    };
    if (m->learning == LEARN_ALL) {
        input.words = take_lookup(a, tokens);
        input.places = take_lookup(a, tokens);
        input.types = take_lookup(a, tokens);
    }
    return input;
}

static struct backward take_backward(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    struct backward backward = {
        .hidden = take_reals(a, tokens, width),
        .dense = take_reals(a, tokens, width),
        .context = take_reals(a, tokens, width),
        .qkv = take_reals(a, tokens, 3 * width),
        .wide = take_reals(a, tokens, (size_t)m->shape.inner),
    };
    if (m->learning == LEARN_LAYERS)
        backward.unread = take_floats(a, 3 * width + (size_t)m->shape.inner);
    return backward;
}

/* Lay out the heads */
static struct mlm_head take_mlm_head(struct arena *a, const struct model *m)
{
    size_t most = (size_t)m->k->logit_rows, tokens = (size_t)m->token_room;
    size_t block = tokens < most ? tokens : most, width = (size_t)m->shape.width;
    bool back = m->learning != LEARN_NOTHING;
    struct mlm_head head = {
        .block = (int)block,
        .classes_room = parameters_room(m->shape.vocabulary),
        .index = take_ints(a, tokens),
        .x = take_reals(a, block, width),
        .mapped = take_reals(a, block, width),
        .transform = take_normed(a, block, width, back),
        .y = take_reals(a, block, width),
    };
    /* Take the logits of a block and what is for its way back */
    head.logits = take_reals(a, block, (size_t)head.classes_room);
    if (back)
        head.dy = take_reals(a, block, width);
    if (m->learning == LEARN_HEAD)
        head.ones = take_reals(a, block, 1);
    return head;
}

static struct classifier take_classifier(struct arena *a, const struct model *m)
{
    size_t sequences = (size_t)m->sequence_room, width = (size_t)m->shape.width;
    struct classifier head = {
        .x = take_reals(a, sequences, width),
        .mapped = take_reals(a, sequences, width),
        .summary = take_reals(a, sequences, width),
        .logits = take_reals(a, sequences, (size_t)m->classes),
    };
    if (m->learning != LEARN_NOTHING) {
        head.soft = take_reals(a, sequences, (size_t)m->classes);
        head.dy = take_reals(a, sequences, width);
    }
    return head;
}

static struct span_head take_span_head(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    size_t cells = 2 * (size_t)m->sequence_room * (size_t)m->shape.positions;
    struct span_head head = {
        .logits = take_reals(a, 2 * tokens + 1, 1),
        .rows = take_reals(a, cells, 1),
        .places = take_ints(a, cells),
        .back = take_ints(a, 2 * tokens),
    };
    if (m->learning != LEARN_NOTHING) {
        head.x = take_reals(a, tokens, width);
        head.soft = take_reals(a, 2 * tokens + 1, 1);
        head.soft_rows = take_reals(a, cells, 1);
    }
    return head;
}

/* Lay out the rows of the losses */
static struct loss_rows take_loss_rows(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room;
    return (struct loss_rows){
        .labels = take_ints(a, tokens),
        .target = take_floats(a, (size_t)m->sequence_room),
        .said = take_floats(a, m->head == HEAD_MLM ? 0 : 2 * tokens),
        .weight = take_floats(a, tokens),
        .label = take_floats(a, tokens),
        .soft = take_floats(a, tokens),
        .hit = take_floats(a, tokens),
        .turn = take_floats(a, tokens),
        .sums = take_floats(a, LOSS_SUMS),
    };
}

static void lay_out(struct model *m, struct arena *a)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    m->input = take_input(a, m);
    m->embedded = take_normed(a, tokens, width, m->learning == LEARN_ALL);
    /* Lay out the layers of a route */
    int longest = m->shape.layers + m->detour;
    for (int l = 0; l <= longest; l++)
        m->hidden[l] = take_reals(a, tokens, width);
    for (int l = 0; l < longest; l++)
        m->layers[l] = l == 0 || goes_back(m) ? take_layer(a, m) : m->layers[0];
    if (goes_back(m))
        m->backward = take_backward(a, m);
    /* Lay out the head that a model has */
    if (m->head == HEAD_MLM)
        m->mlm = take_mlm_head(a, m);
    if (m->head == HEAD_CLASSIFIER)
        m->classifier = take_classifier(a, m);
    if (m->head == HEAD_SPAN)
        m->span = take_span_head(a, m);
    m->rows = take_loss_rows(a, m);
}

/* Reserve the arena */
size_t encoder_bytes(const struct kernels *k, const struct shape *shape, enum head head,
                     int classes, enum learning learning, int token_room,
                     int sequence_room)
{
    const size_t alone = 256; /* what an allocation may lose to its alignment */
    struct model sketch = {.k = k, .shape = *shape, .head = head, .classes = classes,
                           .learning = learning};
    struct parameters plan = parameters_plan(shape, head, classes);
    size_t bytes = encoder_size(&sketch, token_room, sequence_room) + 6 * alone;
    /* Add what the vectors of a model take */
    bytes += plan.size * sizeof(float);
    bytes += settled_size(&sketch, &plan, sequence_room) * k->real_size;
    if (k->real_size != sizeof(float))
        bytes += plan.size * k->real_size;
    if (learning != LEARN_NOTHING)
        bytes += plan.size * sizeof(float);
    parameters_free(&plan);
    return bytes;
}

size_t encoder_size(const struct model *m, int token_room, int sequence_room)
{
    struct model sketch = *m;
    struct arena counting = {.k = m->k};
    sketch.token_room = token_room;
    sketch.sequence_room = sequence_room;
    size_t longest = (size_t)(m->shape.layers + m->detour);
    sketch.hidden = allocate(longest + 1, sizeof *sketch.hidden);
    sketch.layers = allocate(longest, sizeof *sketch.layers);
    lay_out(&sketch, &counting);
    free(sketch.hidden);
    free(sketch.layers);
    return counting.used;
}

size_t encoder_reserve(struct model *m, int token_room, int sequence_room)
{
    size_t size = encoder_size(m, token_room, sequence_room);
    m->k->release(m->arena);
    m->arena = m->k->allocate(size);
    m->token_room = token_room;
    m->sequence_room = sequence_room;
    lay_out(m, &(struct arena){m->k, m->arena, 0});
    settle(m);
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
    return size;
}

/* Find the weights and gradients of a part */
static const real *weights(const struct model *m, enum part part, int layer)
{
    struct stop at = stop_at(m, part, layer);
    return slice(m->k, at.model->weights,
                 parameters_offset(&at.model->parameters, part, at.layer));
}

/* Of a part that learns. */
static float *gradient(const struct model *m, enum part part, int layer)
{
    struct stop at = stop_at(m, part, layer);
    return m->gradient + parameters_offset(&m->parameters, part, at.layer);
}

static size_t area(int rows, int columns)
{
    return (size_t)rows * (size_t)columns;
}

/* Choose what dropout drops */
enum place {
    AFTER_EMBEDDINGS, IN_ATTENTION, AFTER_ATTENTION, AFTER_OUTER, IN_CLASSIFIER,
    BEFORE_SPAN
};

static struct dropout drop_at(const struct model *m, enum place place, int layer)
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

/* Sort tokens by the row they use */
/* Which tokens use which rows of a table; used[tokens]: each token's row. Leaves one
   row out. */
static void look_up(const struct kernels *k, struct lookup *lookup, const int *used,
                    int tokens, int table_rows, int left_out)
{
    int *next = allocate((size_t)table_rows, sizeof *next);
    int *id = allocate((size_t)tokens, sizeof *id);
    int *start = allocate((size_t)tokens + 1, sizeof *start);
    int *token = allocate((size_t)tokens, sizeof *token);
    int rows = 0, before = 0;
    /* Count the tokens of each row */
    for (int t = 0; t < tokens; t++)
        next[used[t]] += used[t] != left_out; /* at first, how many tokens use it */
    /* Give each used row a stretch of the list */
    for (int row = 0; row < table_rows; row++) {
        int count = next[row];
        next[row] = before;                   /* from here on, where the next goes */
        if (count > 0) {
            id[rows] = row;
            start[rows++] = before;
            before += count;
        }
    }
    start[rows] = before;
    /* Put each token into its row's stretch */
    for (int t = 0; t < tokens; t++)
        if (used[t] != left_out)
            token[next[used[t]]++] = t;
    /* Send the lookup to the device */
    lookup->rows = rows;
    k->upload(lookup->id, id, (size_t)rows * sizeof *id);
    k->upload(lookup->start, start, (size_t)(rows + 1) * sizeof *start);
    k->upload(lookup->token, token, (size_t)before * sizeof *token);
    free(next);
    free(id);
    free(start);
    free(token);
}

static void sort_tokens(struct model *m, const struct batch *batch)
{
    const int all = -1, tokens = batch->tokens;
    look_up(m->k, &m->input.words, batch->ids, tokens, m->shape.vocabulary, PADDING);
    look_up(m->k, &m->input.places, batch->positions, tokens, m->shape.positions, all);
    if (m->shape.types)
        look_up(m->k, &m->input.types, batch->segments, tokens, m->shape.types, all);
}

/* Send a batch to the device */
static void check(const char *what, const int *values, int count, int rows)
{
    for (int i = 0; i < count; i++)
        if (values[i] < 0 || values[i] >= rows)
            fail("batch", "token %d has %s %d; the model knows 0 to %d", i, what,
                 values[i], rows - 1);
}

static void send(struct model *m, const struct batch *batch)
{
    struct input *input = &m->input;
    size_t tokens = (size_t)batch->tokens, sequences = (size_t)batch->sequences;
    if (m->token_room < batch->token_room || m->sequence_room < batch->sequence_room)
        encoder_reserve(m, batch->token_room, batch->sequence_room);
    /* See that each token is in the tables */
    check("id", batch->ids, batch->tokens, m->shape.vocabulary);
    check("position", batch->positions, batch->tokens, m->shape.positions);
    if (m->shape.types)
        check("segment", batch->segments, batch->tokens, m->shape.types);
    input->tokens = batch->tokens;
    input->sequences = batch->sequences;
    input->longest = batch_longest(batch);
    /* Upload what says who is who */
    m->k->upload(input->ids, batch->ids, tokens * sizeof(int));
    m->k->upload(input->positions, batch->positions, tokens * sizeof(int));
    m->k->upload(input->segments, batch->segments, tokens * sizeof(int));
    m->k->upload(input->offsets, batch->offsets, (sequences + 1) * sizeof(int));
    m->k->upload(input->visible, batch->visible, sequences * sizeof(int));
    if (m->learning == LEARN_ALL)
        sort_tokens(m, batch);
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
    struct stop at = stop_at(m, weight, layer);
    const struct parameters *plan = &at.model->parameters;
    const struct parameter *w = parameters_find(plan, weight, at.layer);
    int out = weight == QUERY_WEIGHT ? 3 * w->rows
              : is_decoder(weight)   ? parameters_room(w->rows)
                                     : w->rows;
    return (struct map){at.model, w->offset,
                        parameters_offset(plan, bias_of(weight), at.layer), w->columns,
                        out};
}

/* y[rows, out] = x[rows, in] W^T + b. */
static void map(const struct model *m, enum part weight, int layer, const real *x,
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

/* Makes the gradient of a weight, or adds to it, from the input x and from dy. */
static void weight_gradient(const struct model *m, enum part weight, int layer,
                            const real *x, const real *dy, int rows)
{
    if (!learns(m, weight, layer))
        return;
    struct map map = find_map(m, weight, layer);
    bool begun = begin(m, layer, 1, &weight);
    m->k->linear_weight_gradient(x, dy, m->gradient + map.weight, NULL, rows, map.in,
                                 map.out, begun);
}

/* The same for a weight and its bias. */
static void map_gradient(const struct model *m, enum part weight, int layer,
                         const real *x, const real *dy, int rows)
{
    if (!learns(m, weight, layer))
        return;
    struct map map = find_map(m, weight, layer);
    bool begun = begin(m, layer, 2, (const enum part[]){weight, bias_of(weight)});
    m->k->linear_weight_gradient(x, dy, m->gradient + map.weight,
                                 m->gradient + map.bias, rows, map.in, map.out, begun);
}

/* dx[rows, in] = dy[rows, out] W; added to dx if accumulate. */
static void map_back(const struct model *m, enum part weight, int layer,
                     const real *dy, real *dx, int rows, bool accumulate)
{
    struct map map = find_map(m, weight, layer);
    m->k->linear_input_gradient(dy, slice(m->k, map.of->weights, map.weight), dx, rows,
                                map.in, map.out, accumulate);
}

/* Normalise rows and keep what the way back needs */
/* y = norm(drop(norm->sum) + residual); norm->sum comes in as a dense map's output. */
static void normalise(const struct model *m, const struct normed *norm,
                      const real *residual, struct dropout dropout, enum part gain,
                      int layer, real *y, int rows)
{
    m->k->norm(norm->sum, residual, dropout, weights(m, gain, layer),
               weights(m, gain + 1, layer), y, norm->mean, norm->deviation, rows,
               m->shape.width, m->shape.epsilon);
}

/* Where a norm's gradient puts its sums: for its gain, its bias, and the bias of the
   dense map whose output it was given, if there is one. */
static struct norm_sums sums_of_norm(const struct model *m, enum part gain,
                                     int layer)
{
    bool mapped = gain == ATTENTION_NORM_GAIN || gain == OUTER_NORM_GAIN;
    enum part before = gain == ATTENTION_NORM_GAIN ? ATTENTION_BIAS : OUTER_BIAS;
    const enum part parts[] = {gain, gain + 1, before};
    /* Leave the sums of a norm that does not learn unread */
    if (!learns(m, gain, layer)) {
        float *unread = m->backward.unread;
        int width = m->shape.width;
        return (struct norm_sums){.gain = unread, .bias = unread + width,
                                  .before = mapped ? unread + 2 * width : NULL};
    }
    return (struct norm_sums){
        .gain = gradient(m, gain, layer),
        .bias = gradient(m, gain + 1, layer),
        .before = mapped ? gradient(m, before, layer) : NULL,
        .accumulate = begin(m, layer, mapped ? 3 : 2, parts),
    };
}

/* Takes backward.hidden from the norm's output to its residual, and returns the
   gradient by the dense output below the dropout: the same array if there is no
   dropout. */
static real *normalise_gradient(struct model *m, const struct normed *norm,
                                struct dropout dropout, enum part gain, int layer)
{
    struct backward *b = &m->backward;
    real *dense = dropout.rate > 0 ? b->dense : NULL;
    struct norm_sums sums = sums_of_norm(m, gain, layer);
    m->k->norm_gradient(b->hidden, norm->sum, norm->mean, norm->deviation,
                        weights(m, gain, layer), dropout, b->hidden, dense, &sums,
                        m->input.tokens, m->shape.width);
    return dense ? dense : b->hidden;
}

/* d[rows, width]: from the gradient by f(x) to that by x, and by the bias in x. */
static void bend_gradient(const struct model *m, enum activation f, const real *x,
                          real *d, enum part bias, int layer, int rows, int width)
{
    bool learning = learns(m, bias, layer);
    bool begun = learning && begin(m, layer, 1, &bias);
    float *sums = learning ? gradient(m, bias, layer)
                           : m->backward.unread + 3 * m->shape.width;
    m->k->activate_gradient(f, x, d, d, sums, rows, width, begun);
}

/* Go forward */
/* Embed the tokens */
static void embed(struct model *m)
{
    const struct input *input = &m->input;
    bool types = m->shape.types > 0;
    int tokens = input->tokens, width = m->shape.width;
    struct dropout none = {0}, dropout = drop_at(m, AFTER_EMBEDDINGS, 0);
    m->k->embed(input->ids, input->positions, types ? input->segments : NULL,
                weights(m, WORD_TABLE, 0), weights(m, POSITION_TABLE, 0),
                types ? weights(m, TYPE_TABLE, 0) : NULL, m->embedded.sum, tokens,
                width);
    normalise(m, &m->embedded, NULL, none, EMBEDDING_NORM_GAIN, 0, m->hidden[0],
              tokens);
    if (dropout.rate > 0)
        m->k->dropout(m->hidden[0], m->hidden[0], area(tokens, width), dropout);
}

/* Describe the attention of a layer */
static struct attention attention_at(const struct model *m, int layer)
{
    return (struct attention){
        .heads = m->shape.heads,
        .width = m->shape.width,
        .sequences = m->input.sequences,
        .longest = m->input.longest,
        .offsets = m->input.offsets,
        .visible = m->input.visible,
        .dropout = drop_at(m, IN_ATTENTION, layer),
    };
}

/* Go forward through a layer */
static void forward_layer(struct model *m, int l)
{
    const struct layer *layer = &m->layers[l];
    struct attention attention = attention_at(m, l);
    int tokens = m->input.tokens;
    /* Let the tokens look at one another */
    map(m, QUERY_WEIGHT, l, m->hidden[l], layer->qkv, tokens);
    m->k->attention(&attention, layer->qkv, layer->context, layer->logsum);
    map(m, ATTENTION_WEIGHT, l, layer->context, layer->attention.sum, tokens);
    normalise(m, &layer->attention, m->hidden[l], drop_at(m, AFTER_ATTENTION, l),
              ATTENTION_NORM_GAIN, l, layer->middle, tokens);
    /* Let each token think for itself */
    map(m, INNER_WEIGHT, l, layer->middle, layer->wide, tokens);
    m->k->activate(GELU, layer->wide, layer->active, area(tokens, m->shape.inner));
    map(m, OUTER_WEIGHT, l, layer->active, layer->outer.sum, tokens);
    normalise(m, &layer->outer, layer->middle, drop_at(m, AFTER_OUTER, l),
              OUTER_NORM_GAIN, l, m->hidden[l + 1], tokens);
}

/* Go forward through the encoder */
void encoder_forward(struct model *m, const struct batch *batch, const uint64_t *key)
{
    send(m, batch);
    m->training = key != NULL;
    m->key = key ? *key : 0;
    embed(m);
    for (int l = 0; l < m->depth; l++)
        forward_layer(m, l);
}

/* Go back */
/* Go back through a layer */
void encoder_qkv_gradient(struct model *m, int l)
{
    const struct layer *layer = &m->layers[l];
    struct backward *b = &m->backward;
    struct attention attention = attention_at(m, l);
    int tokens = m->input.tokens;
    /* Go back through each token's own thought */
    real *dense = normalise_gradient(m, &layer->outer, drop_at(m, AFTER_OUTER, l),
                                     OUTER_NORM_GAIN, l);
    weight_gradient(m, OUTER_WEIGHT, l, layer->active, dense, tokens);
    map_back(m, OUTER_WEIGHT, l, dense, b->wide, tokens, false);
    bend_gradient(m, GELU, layer->wide, b->wide, INNER_BIAS, l, tokens, m->shape.inner);
    weight_gradient(m, INNER_WEIGHT, l, layer->middle, b->wide, tokens);
    map_back(m, INNER_WEIGHT, l, b->wide, b->hidden, tokens, true);
    /* Go back through the tokens' look at one another */
    dense = normalise_gradient(m, &layer->attention, drop_at(m, AFTER_ATTENTION, l),
                               ATTENTION_NORM_GAIN, l);
    weight_gradient(m, ATTENTION_WEIGHT, l, layer->context, dense, tokens);
    map_back(m, ATTENTION_WEIGHT, l, dense, b->context, tokens, false);
    m->k->attention_gradient(&attention, layer->qkv, layer->context, layer->logsum,
                             b->context, b->qkv);
}

void encoder_input_gradient(struct model *m, int l)
{
    struct backward *b = &m->backward;
    map_gradient(m, QUERY_WEIGHT, l, m->hidden[l], b->qkv, m->input.tokens);
    map_back(m, QUERY_WEIGHT, l, b->qkv, b->hidden, m->input.tokens, true);
}

void encoder_layer_gradient(struct model *m, int l)
{
    encoder_qkv_gradient(m, l);
    encoder_input_gradient(m, l);
}

/* Go back through the embeddings */
static float *table_gradient(const struct model *m, enum part table)
{
    int number = number_of(m, table, 0);
    clear_forgotten(m, number);
    m->filling[number] = BEGUN;
    return gradient(m, table, 0);
}

void encoder_embedding_gradient(struct model *m)
{
    const struct input *input = &m->input;
    real *dy = m->backward.hidden;
    int width = m->shape.width;
    struct dropout none = {0}, dropout = drop_at(m, AFTER_EMBEDDINGS, 0);
    if (dropout.rate > 0)
        m->k->dropout(dy, dy, area(input->tokens, width), dropout);
    normalise_gradient(m, &m->embedded, none, EMBEDDING_NORM_GAIN, 0);
    m->k->embed_gradient(dy, &input->words, table_gradient(m, WORD_TABLE), width);
    m->k->embed_gradient(dy, &input->places, table_gradient(m, POSITION_TABLE), width);
    if (m->shape.types)
        m->k->embed_gradient(dy, &input->types, table_gradient(m, TYPE_TABLE), width);
}

/* Go back to what learns first */
void encoder_backward(struct model *m)
{
    int first = 0;
    while (first < m->depth && !learns(m, QUERY_WEIGHT, first))
        first++;
    for (int l = m->depth - 1; l >= first; l--)
        encoder_layer_gradient(m, l);
    if (m->learning == LEARN_ALL)
        encoder_embedding_gradient(m);
}

/* Put heads on the encoder */
/* Put the MLM head on the encoder */
static enum part decoder(const struct model *m)
{
    return m->shape.tied ? WORD_TABLE : DECODER_WEIGHT;
}

void mlm_choose(struct model *m, const int *rows, int count)
{
    m->k->upload(m->mlm.index, rows, (size_t)count * sizeof *rows);
}

void mlm_forward(struct model *m, int first, int rows)
{
    const struct mlm_head *head = &m->mlm;
    const real *states = m->hidden[m->depth];
    int width = m->shape.width;
    struct dropout none = {0};
    m->k->gather(states, head->index + first, head->x, rows, width);
    map(m, TRANSFORM_WEIGHT, 0, head->x, head->mapped, rows);
    m->k->activate(GELU, head->mapped, head->transform.sum, area(rows, width));
    normalise(m, &head->transform, NULL, none, TRANSFORM_NORM_GAIN, 0, head->y, rows);
    map(m, decoder(m), 0, head->y, head->logits, rows);
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
    else
        m->k->linear_weight_gradient(head->ones, head->logits, gradient(m, DECODER_BIAS, 0),
                                     NULL, rows, 1, head->classes_room,
                                     begin(m, 0, 1, (const enum part[]){DECODER_BIAS}));
    map_back(m, decoder(m), 0, head->logits, head->dy, rows, false);
    /* Go back through the norm of the MLM head */
    struct norm_sums sums = sums_of_norm(m, TRANSFORM_NORM_GAIN, 0);
    m->k->norm_gradient(head->dy, norm->sum, norm->mean, norm->deviation,
                        weights(m, TRANSFORM_NORM_GAIN, 0), none, head->dy, NULL, &sums,
                        rows, width);
    bend_gradient(m, GELU, head->mapped, head->dy, TRANSFORM_BIAS, 0, rows, width);
    weight_gradient(m, TRANSFORM_WEIGHT, 0, head->x, head->dy, rows);
    /* Hand a block's gradient to the encoder */
    if (m->learning == LEARN_ALL) {
        map_back(m, TRANSFORM_WEIGHT, 0, head->dy, head->x, rows, false);
        m->k->scatter(head->x, head->index + first, m->backward.hidden, rows, width);
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
    struct dropout dropout = drop_at(m, IN_CLASSIFIER, 0);
    m->k->gather(states, m->input.offsets, head->x, rows, width);
    map(m, SUMMARY_WEIGHT, 0, head->x, head->mapped, rows);
    m->k->activate(summary_activation(m), head->mapped, head->summary, n);
    if (dropout.rate > 0)
        m->k->dropout(head->summary, head->summary, n, dropout);
    map(m, CLASSIFIER_WEIGHT, 0, head->summary, head->logits, rows);
}

void classifier_backward(struct model *m)
{
    const struct classifier *head = &m->classifier;
    int rows = m->input.sequences, width = m->shape.width;
    size_t n = area(rows, width);
    struct dropout dropout = drop_at(m, IN_CLASSIFIER, 0);
    map_gradient(m, CLASSIFIER_WEIGHT, 0, head->summary, head->logits, rows);
    map_back(m, CLASSIFIER_WEIGHT, 0, head->logits, head->dy, rows, false);
    if (dropout.rate > 0)
        m->k->dropout(head->dy, head->dy, n, dropout);
    bend_gradient(m, summary_activation(m), head->mapped, head->dy, SUMMARY_BIAS, 0,
                  rows, width);
    weight_gradient(m, SUMMARY_WEIGHT, 0, head->x, head->dy, rows);
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
                      area(tokens, m->shape.width), drop_at(m, BEFORE_SPAN, 0));
    map(m, SPAN_WEIGHT, 0, span_input(m), m->span.logits, tokens);
}

void span_backward(struct model *m)
{
    int tokens = m->input.tokens;
    real *dy = m->backward.hidden;
    map_gradient(m, SPAN_WEIGHT, 0, span_input(m), m->span.logits, tokens);
    map_back(m, SPAN_WEIGHT, 0, m->span.logits, dy, tokens, false);
    if (span_input(m) == m->span.x)
        m->k->dropout(dy, dy, area(tokens, m->shape.width), drop_at(m, BEFORE_SPAN, 0));
}
