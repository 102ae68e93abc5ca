/* Tangled from chapters/11-encoder.md; edit there. */
#include "encoder.h"
#include "arena.h"
#include "fail.h"
#include "heads.h"
#include "losses.h"
#include "model.h"
#include "parts.h"

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
    m->master = k->allocate(size * k->master_size);
    m->weights = k->real_size == sizeof(float) ? m->master
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
    if (m->weights != m->master)
        m->k->release(m->weights);
    m->k->release(m->master);
    parameters_free(&m->parameters);
    free(m->filling);
    free(m->hidden);
    free(m->layers);
    free(m);
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
    m->k->split(values, m->master, m->weights, m->parameters.size);
    m->k->release(m->settled);
    m->settled = NULL;
    if (m->sequence_room > 0)
        settle(m);
}

void encoder_download(const struct model *m, float *values)
{
    m->k->join(m->master, m->weights, values, m->parameters.size);
}

void encoder_gradient(struct model *m, float *values)
{
    float state[STATE_SIZE];
    gradient_settle(m);
    m->k->download(state, m->state, sizeof state);
    m->k->download(values, m->gradient, m->parameters.size * sizeof(float));
    if (m->rounded)
        encoder_fetch(m, (const real *)m->gradient, values, m->parameters.decayed);
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
/* Lay out all that a model needs */
/* Whether there is a way back through its layers. */
static bool goes_back(const struct model *m)
{
    return m->learning == LEARN_ALL || m->learning == LEARN_LAYERS;
}

static struct layer take_layer(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    bool back = goes_back(m);
    struct layer layer = {
        .qkv = arena_reals(a, tokens, 3 * width),
        .logsum = arena_floats(a, tokens * (size_t)m->shape.heads),
        .context = arena_reals(a, tokens, width),
        .attention = norm_room(a, tokens, width, back),
        .middle = arena_reals(a, tokens, width),
        .wide = arena_reals(a, tokens, (size_t)m->shape.inner),
        .outer = norm_room(a, tokens, width, back),
    };
    layer.active = layer.wide;
    if (back)
        layer.active = arena_reals(a, tokens, (size_t)m->shape.inner);
    return layer;
}

static struct lookup take_lookup(struct arena *a, size_t tokens)
{
    return (struct lookup){.id = arena_ints(a, 3 * tokens + 1)}; /* and what follows */
}

static struct input take_input(struct arena *a, const struct model *m)
{
    size_t tokens = (size_t)m->token_room;
    struct input input = {
        .ids = arena_ints(a, batch_lists(m->token_room, m->sequence_room)),
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
        .hidden = arena_reals(a, tokens, width),
        .dense = arena_reals(a, tokens, width),
        .context = arena_reals(a, tokens, width),
        .qkv = arena_reals(a, tokens, 3 * width),
        .wide = arena_reals(a, tokens, (size_t)m->shape.inner),
    };
    if (m->learning == LEARN_LAYERS)
        backward.unread = arena_floats(a, 3 * width + (size_t)m->shape.inner);
    return backward;
}

static void lay_out(struct model *m, struct arena *a)
{
    size_t tokens = (size_t)m->token_room, width = (size_t)m->shape.width;
    m->input = take_input(a, m);
    m->embedded = norm_room(a, tokens, width, m->learning == LEARN_ALL);
    /* Lay out the layers of a route */
    int longest = m->shape.layers + m->detour;
    for (int l = 0; l <= longest; l++)
        m->hidden[l] = arena_reals(a, tokens, width);
    for (int l = 0; l < longest; l++)
        m->layers[l] = l == 0 || goes_back(m) ? take_layer(a, m) : m->layers[0];
    if (goes_back(m))
        m->backward = take_backward(a, m);
    heads_room(m, a);
    m->rows = losses_room(m, a);
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
    bytes += plan.size * k->master_size;
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
    heads_fill(m);
    return size;
}

/* Sort tokens by the row they use */
/* Which tokens use which rows of a table; used[tokens]: each token's row. Leaves one
   row out. */
static void look_up(const struct kernels *k, struct lookup *lookup, const int *used,
                    int tokens, int table_rows, int left_out)
{
    int *next = allocate((size_t)table_rows, sizeof *next);
    int *id = allocate(3 * (size_t)tokens + 1, sizeof *id);
    int *start = id + tokens, *token = start + tokens + 1;
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
    lookup->start = lookup->id + tokens;
    lookup->token = lookup->start + tokens + 1;
    k->upload(lookup->id, id, (3 * (size_t)tokens + 1) * sizeof *id);
    free(next);
    free(id);
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
static void check_rows(const char *what, const int *values, int count, int rows)
{
    for (int i = 0; i < count; i++)
        if (values[i] < 0 || values[i] >= rows)
            fail("batch", "token %d has %s %d; the model knows 0 to %d", i, what,
                 values[i], rows - 1);
}

static void send(struct model *m, const struct batch *batch)
{
    struct input *input = &m->input;
    if (m->token_room < batch->token_room || m->sequence_room < batch->sequence_room)
        encoder_reserve(m, batch->token_room, batch->sequence_room);
    /* See that each token is in the tables */
    check_rows("id", batch->ids, batch->tokens, m->shape.vocabulary);
    check_rows("position", batch->positions, batch->tokens, m->shape.positions);
    if (m->shape.types)
        check_rows("segment", batch->segments, batch->tokens, m->shape.types);
    input->tokens = batch->tokens;
    input->sequences = batch->sequences;
    input->longest = batch_longest(batch);
    /* Upload what says who is who */
    m->k->upload(input->ids, batch->ids,
                 batch_lists(batch->token_room, batch->sequence_room) * sizeof(int));
    input->segments = input->ids + (batch->segments - batch->ids);
    input->positions = input->ids + (batch->positions - batch->ids);
    input->offsets = input->ids + (batch->offsets - batch->ids);
    input->visible = input->ids + (batch->visible - batch->ids);
    if (m->learning == LEARN_ALL)
        sort_tokens(m, batch);
}

/* Go forward */
/* Embed the tokens */
static void embed(struct model *m)
{
    const struct input *input = &m->input;
    bool types = m->shape.types > 0;
    int tokens = input->tokens, width = m->shape.width;
    struct dropout none = {0}, dropout = dropout_at(m, AFTER_EMBEDDINGS, 0);
    m->k->embed(input->ids, input->positions, types ? input->segments : NULL,
                part_weights(m, WORD_TABLE, 0), part_weights(m, POSITION_TABLE, 0),
                types ? part_weights(m, TYPE_TABLE, 0) : NULL, m->embedded.sum, tokens,
                width);
    norm_forward(m, &m->embedded, NULL, none, EMBEDDING_NORM_GAIN, 0, m->hidden[0],
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
        .dropout = dropout_at(m, IN_ATTENTION, layer),
    };
}

/* Close half of a layer */
/* The gain of the norm stands behind the map's weight and bias. */
static void close_half(const struct model *m, int l, enum part weight,
                       enum dropout_place place, const real *x,
                       const struct normed *norm, const real *residual, real *y)
{
    struct dropout dropout = dropout_at(m, place, l);
    bool onto = m->k->onto && dropout.rate == 0;
    int tokens = m->input.tokens;
    if (onto)
        map_onto(m, weight, l, x, residual, norm->sum, tokens);
    else
        map_forward(m, weight, l, x, norm->sum, tokens);
    norm_forward(m, norm, onto ? NULL : residual, dropout, weight + 2, l, y, tokens);
}

/* Go forward through a layer */
static void forward_layer(struct model *m, int l)
{
    const struct layer *layer = &m->layers[l];
    struct attention attention = attention_at(m, l);
    int tokens = m->input.tokens;
    /* Let the tokens look at one another */
    map_forward(m, QUERY_WEIGHT, l, m->hidden[l], layer->qkv, tokens);
    m->k->attention(&attention, layer->qkv, layer->context, layer->logsum);
    close_half(m, l, ATTENTION_WEIGHT, AFTER_ATTENTION, layer->context, &layer->attention,
               m->hidden[l], layer->middle);
    /* Let each token think for itself */
    map_forward(m, INNER_WEIGHT, l, layer->middle, layer->wide, tokens);
    m->k->activate(GELU, layer->wide, layer->active, area(tokens, m->shape.inner));
    close_half(m, l, OUTER_WEIGHT, AFTER_OUTER, layer->active, &layer->outer, layer->middle,
               m->hidden[l + 1]);
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
    real *dense = norm_back(m, &layer->outer, dropout_at(m, AFTER_OUTER, l),
                            OUTER_NORM_GAIN, l);
    map_weight_gradient(m, OUTER_WEIGHT, l, layer->active, dense, tokens);
    map_back(m, OUTER_WEIGHT, l, dense, b->wide, tokens, false);
    activation_back(m, GELU, layer->wide, b->wide, INNER_BIAS, l, tokens, m->shape.inner);
    map_weight_gradient(m, INNER_WEIGHT, l, layer->middle, b->wide, tokens);
    map_back(m, INNER_WEIGHT, l, b->wide, b->hidden, tokens, true);
    /* Go back through the tokens' look at one another */
    dense = norm_back(m, &layer->attention, dropout_at(m, AFTER_ATTENTION, l),
                      ATTENTION_NORM_GAIN, l);
    map_weight_gradient(m, ATTENTION_WEIGHT, l, layer->context, dense, tokens);
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
static void add_to_table(const struct model *m, const struct lookup *lookup,
                         enum part table)
{
    gradient_clear(m, table, 0);
    m->k->embed_gradient(m->backward.hidden, lookup, part_gradient(m, table, 0),
                         m->rounded, m->shape.width);
}

void encoder_embedding_gradient(struct model *m)
{
    const struct input *input = &m->input;
    real *dy = m->backward.hidden;
    int width = m->shape.width;
    struct dropout none = {0}, dropout = dropout_at(m, AFTER_EMBEDDINGS, 0);
    if (dropout.rate > 0)
        m->k->dropout(dy, dy, area(input->tokens, width), dropout);
    norm_back(m, &m->embedded, none, EMBEDDING_NORM_GAIN, 0);
    add_to_table(m, &input->words, WORD_TABLE);
    add_to_table(m, &input->places, POSITION_TABLE);
    if (m->shape.types)
        add_to_table(m, &input->types, TYPE_TABLE);
}

/* Go back to what learns first */
void encoder_backward(struct model *m)
{
    int first = 0;
    while (first < m->depth && !part_learns(m, QUERY_WEIGHT, first))
        first++;
    for (int l = m->depth - 1; l >= first; l--)
        encoder_layer_gradient(m, l);
    if (m->learning == LEARN_ALL)
        encoder_embedding_gradient(m);
}
