/* Tangled from chapters/16-triple-loss.md; edit there. */
#include "losses.h"
#include "fail.h"
#include "heads.h"

#include <math.h>
#include <stdlib.h>

/* Lay out the rows of the losses */
struct loss_rows losses_room(const struct model *m, struct arena *a)
{
    size_t tokens = (size_t)m->token_room;
    return (struct loss_rows){
        .labels = arena_ints(a, tokens),
        .target = arena_floats(a, (size_t)m->sequence_room),
        .said = arena_floats(a, m->head == HEAD_MLM ? 0 : 2 * tokens),
        .weight = arena_floats(a, tokens),
        .label = arena_floats(a, tokens),
        .soft = arena_floats(a, tokens),
        .hit = arena_floats(a, tokens),
        .turn = arena_floats(a, tokens),
        .sums = arena_floats(a, LOSS_SUMS),
    };
}

/* List the tokens at the positions that count */
/* Lists them in rows[tokens]; returns how many they are. */
static int choose(const struct batch *batch, enum positions positions, int *rows)
{
    int count = 0;
    for (int s = 0; s < batch->sequences; s++)
        for (int t = batch->offsets[s]; t < batch->offsets[s + 1]; t++) {
            /* Tell whether a token's position counts */
            bool counts = true;
            if (positions == REAL_POSITIONS)
                counts = t - batch->offsets[s] < batch->visible[s];
            else if (positions == MASKED_POSITIONS)
                counts = batch->labels[t] != NO_LABEL;
            if (counts)
                rows[count++] = t;
        }
    return count;
}

/* Read what the losses measured */
static double ratio(double sum, double count)
{
    return count > 0 ? sum / count : 0;
}

static void add_terms(struct loss_values *v)
{
    v->total = v->terms[0].weight * v->mlm + v->terms[1].weight * v->kl
               + v->terms[2].weight * v->cosine + v->terms[3].weight * v->relations;
}

static void read_values(struct model *m, const struct loss_settings *settings,
                        struct loss_values *values)
{
    struct loss_rows *rows = &m->rows;
    float sums[LOSS_SUMS], square = settings->temperature * settings->temperature;
    m->k->download(sums, rows->sums, sizeof sums);
    m->k->zero(rows->sums, sizeof sums);
    *values = (struct loss_values){
        /* Divide each sum by what it is over */
        .mlm = ratio(sums[MLM_SUM], rows->labels_counted),
        .kl = square * ratio(sums[KL_SUM], rows->soft_counted),
        .cosine = ratio(sums[COSINE_SUM], rows->turns_counted),
        .relations = ratio(sums[RELATION_SUM], rows->related_counted),
        .masked = (int)rows->labels_counted,
        .correct = (int)sums[HIT_SUM],
        .tokens = rows->tokens,
        .terms = {{settings->mlm, rows->labels_counted},
                  {settings->kl, rows->soft_counted},
                  {settings->cosine, rows->turns_counted},
                  {settings->relations, rows->related_counted}},
    };
    add_terms(values);
    rows->labels_counted = rows->soft_counted = rows->turns_counted = 0;
    rows->related_counted = rows->tokens = 0;
}

/* Makes the mean over count that over count + more_count, which becomes the count. */
static void join(double *mean, double *count, double more, double more_count)
{
    double whole = *count + more_count;
    if (*count > 0 && whole > *count)
        *mean = (*mean * *count + more * more_count) / whole;
    else if (more_count > 0)
        *mean = more;
    *count = whole;
}

void loss_values_join(struct loss_values *v, const struct loss_values *more)
{
    join(&v->mlm, &v->terms[0].count, more->mlm, more->terms[0].count);
    join(&v->kl, &v->terms[1].count, more->kl, more->terms[1].count);
    join(&v->cosine, &v->terms[2].count, more->cosine, more->terms[2].count);
    join(&v->relations, &v->terms[3].count, more->relations, more->terms[3].count);
    v->masked += more->masked;
    v->correct += more->correct;
    v->tokens += more->tokens;
    for (int i = 0; i < LOSS_TERMS && more->tokens > 0; i++)
        v->terms[i].weight = more->terms[i].weight;
    add_terms(v);
}

/* Run the MLM head over its rows, block by block */
static void predict_words(struct model *student, struct model *teacher,
                          const struct batch *batch,
                          const struct loss_settings *settings, float share, bool learn)
{
    const struct kernels *k = student->k;
    struct loss_rows *r = &student->rows;
    /* Choose the rows and their labels */
    int *rows = allocate((size_t)batch->tokens, sizeof *rows), masked = 0;
    int count = choose(batch, teacher ? settings->kl_positions : MASKED_POSITIONS, rows);
    mlm_choose(student, rows, count);
    if (teacher)
        mlm_choose(teacher, rows, count);
    if (learn && student->learning == LEARN_ALL && !student->mlm.all)
        k->zero(student->backward.hidden,
                (size_t)batch->tokens * (size_t)student->shape.width * k->real_size);
    for (int i = 0; i < count; i++) {
        rows[i] = batch->labels[rows[i]];
        masked += rows[i] != NO_LABEL;
    }
    k->upload(r->labels, rows, (size_t)count * sizeof *rows);
    free(rows);
    float square = settings->temperature * settings->temperature;
    float divisor = settings->kl_divisor == BY_SEQUENCES ? (float)batch->sequences
                                                         : (float)(count > 0 ? count : 1);
    /* Say what each row's losses weigh */
    struct softmax_loss loss = {
        .classes = student->shape.vocabulary,
        .stride = student->mlm.classes_room,
        .temperature = settings->temperature,
        .label_scale = masked ? share * settings->mlm / (float)masked : 0,
        /* Scale the gradient of the soft targets */
        .soft_scale = share * settings->kl * square / divisor,
    };
    int block = student->mlm.block;
    for (int first = 0; first < count; first += block) {
        /* Measure one block of rows and go back through the head */
        loss.rows = count - first < block ? count - first : block;
        mlm_forward(student, first, loss.rows);
        if (teacher)
            mlm_forward(teacher, first, loss.rows);
        k->softmax_loss(&loss, student->mlm.logits,
                        teacher ? teacher->mlm.logits : NULL, r->labels + first, NULL,
                        student->state + LOSS_SCALE, r->label + first, r->soft + first,
                        r->hit + first);
        if (learn)
            mlm_backward(student, first, loss.rows);
    }
    /* Sum what the rows measured */
    k->sum(r->label, count, r->sums + MLM_SUM);
    k->sum(r->soft, count, r->sums + KL_SUM);
    k->sum(r->hit, count, r->sums + HIT_SUM);
    r->labels_counted += masked;
    r->soft_counted += teacher ? divisor : 0;
    r->tokens += batch->tokens;
}

/* Compare the hidden states of one layer */
static void compare(struct model *student, const struct model *teacher,
                    const struct loss_settings *settings, int layer, float share)
{
    const struct kernels *k = student->k;
    struct loss_rows *r = &student->rows;
    int tokens = student->input.tokens, width = student->shape.width;
    float scale = share * settings->cosine / (float)(r->compared * settings->pairs);
    for (int i = 0; i < settings->pairs; i++) {
        struct layer_pair pair = settings->pair[i];
        if (pair.student != layer)
            continue;
        /* Compare one pair of hidden states */
        k->cosine_loss(student->hidden[pair.student], teacher->hidden[pair.teacher],
                       r->weight, student->backward.hidden, tokens, width, scale,
                       student->state + LOSS_SCALE, r->turn);
        k->sum(r->turn, tokens, r->sums + COSINE_SUM);
        r->turns_counted += r->compared;
    }
}

static void weigh_positions(struct model *m, const struct batch *batch,
                            enum positions positions)
{
    size_t tokens = (size_t)batch->tokens;
    int *rows = allocate(tokens, sizeof *rows);
    float *weight = allocate(tokens, sizeof *weight);
    int count = choose(batch, positions, rows);
    for (int i = 0; i < count; i++)
        weight[rows[i]] = 1;
    m->k->upload(m->rows.weight, weight, tokens * sizeof *weight);
    m->rows.compared = count > 0 ? count : 1;
    free(rows);
    free(weight);
}

/* Compare the relations of the last layers */
static void relate(struct model *student, const struct model *teacher,
                   const struct batch *batch, const struct loss_settings *settings,
                   float share)
{
    struct loss_rows *r = &student->rows;
    int visible = 0, last = student->shape.layers - 1;
    for (int s = 0; s < batch->sequences; s++)
        visible += batch->visible[s];
    /* Describe a relation as attention of other heads */
    struct attention relation = {
        .heads = settings->relation_heads,
        .width = student->shape.width,
        .sequences = student->input.sequences,
        .longest = student->input.longest,
        .offsets = student->input.offsets,
        .visible = student->input.visible,
    };
    float scale = share * settings->relations / (float)(visible > 0 ? visible : 1);
    student->k->relation_loss(&relation, student->layers[last].qkv,
                              teacher->layers[teacher->shape.layers - 1].qkv,
                              teacher->shape.width, student->backward.qkv, scale,
                              student->state + LOSS_SCALE, r->sums + RELATION_SUM);
    r->related_counted += visible;
}

void relations_refuse(const struct loss_settings *settings, const struct shape *teacher,
                      const struct shape *student)
{
    int heads = settings->relation_heads;
    if (settings->relations > 0
        && (heads < 1 || teacher->width % heads || student->width % heads))
        fail("teacher", "has width %d and its student %d; expected relation heads that "
             "divide both, found %d", teacher->width, student->width, heads);
}

/* Have a teacher read ahead */
/* Whether a term has any use for the teacher. */
static bool is_asked(const struct loss_settings *settings)
{
    return settings->kl > 0 || settings->cosine > 0 || settings->relations > 0;
}

void distillation_ahead(struct model *teacher, const struct batch *batch,
                        const struct loss_settings *settings)
{
    bool roomy = batch->token_room <= teacher->token_room
                 && batch->sequence_room <= teacher->sequence_room;
    if (!is_asked(settings) || !roomy)
        return; /* the step will see to it */
    teacher->k->aside();
    encoder_forward(teacher, batch, NULL);
    teacher->k->back();
    teacher->ahead = batch;
}

/* Take one step with the triple loss */
static void learn(struct model *student, struct model *teacher,
                  const struct batch *batch, const struct loss_settings *settings,
                  uint64_t key, float share, struct loss_values *values)
{
    const struct kernels *k = student->k;
    bool whole = student->learning == LEARN_ALL;
    /* Go up, and find the losses at the top */
    struct model *speaker = settings->kl > 0 ? teacher : NULL;
    encoder_forward(student, batch, whole ? &key : NULL);
    k->meet();
    if (settings->cosine > 0)
        weigh_positions(student, batch, settings->cosine_positions);
    predict_words(student, speaker, batch, settings, share, true);
    if (whole) {
        /* Go down through the student's layers */
        for (int l = student->shape.layers; l >= 0; l--) {
            if (settings->cosine > 0)
                compare(student, teacher, settings, l, share);
            if (l == 0) {
                encoder_embedding_gradient(student);
                break;
            }
            encoder_qkv_gradient(student, l - 1);
            if (settings->relations > 0 && l == student->shape.layers)
                relate(student, teacher, batch, settings, share);
            encoder_input_gradient(student, l - 1);
        }
    }
    if (values)
        read_values(student, settings, values);
}

void distillation_step(struct model *student, struct model *teacher,
                       const struct batch *batch, const struct loss_settings *settings,
                       uint64_t key, float share, struct loss_values *values)
{
    /* Refuse a teacher that does not fit its student */
    if (settings->kl > 0 && teacher->shape.vocabulary != student->shape.vocabulary)
        fail("teacher", "has %d words; its student %d", teacher->shape.vocabulary,
             student->shape.vocabulary);
    for (int i = 0; i < settings->pairs && settings->cosine > 0; i++) {
        struct layer_pair pair = settings->pair[i];
        if (pair.student > student->shape.layers || pair.teacher > teacher->shape.layers)
            fail("teacher", "has %d layers and its student %d; the cosine wants %d and %d",
                 teacher->shape.layers, student->shape.layers, pair.teacher, pair.student);
        if (teacher->shape.width != student->shape.width)
            fail("teacher", "has width %d; the cosine needs the student's, %d",
                 teacher->shape.width, student->shape.width);
    }
    if (teacher)
        relations_refuse(settings, &teacher->shape, &student->shape);
    if (is_asked(settings) && teacher->ahead != batch) {
        student->k->meet();
        encoder_forward(teacher, batch, NULL);
    }
    if (teacher)
        teacher->ahead = NULL;
    learn(student, teacher, batch, settings, key, share, values);
}

/* Take one step of masked-language modelling */
static const struct loss_settings words_alone = {.mlm = 1, .temperature = 1};

void masked_lm_step(struct model *model, const struct batch *batch, uint64_t key,
                    float share, struct loss_values *values)
{
    learn(model, NULL, batch, &words_alone, key, share, values);
}

void masked_lm_evaluate(struct model *model, const struct batch *batch,
                        struct loss_values *values)
{
    encoder_forward(model, batch, NULL);
    predict_words(model, NULL, batch, &words_alone, 1, false);
    read_values(model, &words_alone, values);
    if (!isfinite(values->mlm))
        fail("model", "guesses words with a loss of %g; expected a finite number",
             values->mlm);
}

/* Classify sequences */
/* Heed those who know the task */
/* Lets the n soft targets of a batch into the loss of its rows. Returns them, in soft,
   or NULL if the batch has none. */
static const real *heed(struct model *m, const struct batch *batch, int n, real *soft,
                        float share, struct softmax_loss *loss)
{
    float square = batch->temperature * batch->temperature;
    if (batch->soft_share == 0)
        return NULL;
    m->k->upload(m->rows.said, batch->soft, (size_t)n * sizeof *batch->soft);
    m->k->to_real(m->rows.said, soft, (size_t)n);
    loss->temperature = batch->temperature;
    loss->label_scale *= 1 - batch->soft_share;
    loss->soft_scale = share * batch->soft_share * square / (float)loss->rows;
    m->rows.soft_counted += loss->rows;
    return soft;
}

static void read_task_values(struct model *m, const struct batch *batch,
                             struct loss_values *values)
{
    struct loss_settings terms = words_alone;
    if (batch->soft_share > 0) {
        terms.mlm = 1 - batch->soft_share;
        terms.kl = batch->soft_share;
        terms.temperature = batch->temperature;
    }
    read_values(m, &terms, values);
}

/* Measure the loss of the classifier */
static void measure_classes(struct model *model, const struct batch *batch, float share)
{
    const struct kernels *k = model->k;
    struct loss_rows *r = &model->rows;
    int rows = batch->sequences, labelled = 0;
    for (int s = 0; s < rows; s++)
        labelled += batch->classes[s] != NO_LABEL;
    struct softmax_loss loss = {
        .rows = rows,
        .classes = model->classes,
        .stride = model->classes,
        .temperature = 1,
        .label_scale = labelled ? share / (float)labelled : 0,
    };
    /* Measure the loss of a batch of classes */
    const real *soft = heed(model, batch, rows * model->classes, model->classifier.soft,
                            share, &loss);
    k->upload(r->labels, batch->classes, (size_t)rows * sizeof *batch->classes);
    k->softmax_loss(&loss, model->classifier.logits, soft, r->labels, NULL,
                    model->state + LOSS_SCALE, r->label, r->soft, r->hit);
    k->sum(r->label, rows, r->sums + MLM_SUM);
    k->sum(r->soft, rows, r->sums + KL_SUM);
    k->sum(r->hit, rows, r->sums + HIT_SUM);
    r->labels_counted += labelled;
    r->tokens += batch->tokens;
}

/* Measure the loss of numbers */
static void measure_numbers(struct model *model, const struct batch *batch, float share)
{
    const struct kernels *k = model->k;
    struct loss_rows *r = &model->rows;
    int rows = batch->sequences;
    k->upload(r->target, batch->numbers, (size_t)rows * sizeof *batch->numbers);
    k->squared_loss(model->classifier.logits, r->target, rows, share / (float)rows,
                    model->state + LOSS_SCALE, r->label);
    k->sum(r->label, rows, r->sums + MLM_SUM);
    r->labels_counted += rows;
    r->tokens += batch->tokens;
}

/* Fetch what a model answers */
static void fetch_answers(const struct model *m, const real *from, float *logits,
                          size_t n)
{
    encoder_fetch(m, from, logits, n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(logits[i]))
            fail("model", "answers with %g; expected finite numbers. It has diverged, "
                 "for which a lower rate may help", logits[i]);
}

/* Learn to classify, and classify */
void classification_step(struct model *model, const struct batch *batch, uint64_t key,
                         float share, struct loss_values *values)
{
    size_t n = (size_t)batch->tokens * (size_t)model->shape.width;
    encoder_forward(model, batch, &key);
    classifier_forward(model);
    if (model->classes == 1)
        measure_numbers(model, batch, share);
    else
        measure_classes(model, batch, share);
    model->k->zero(model->backward.hidden, n * model->k->real_size);
    classifier_backward(model);
    encoder_backward(model);
    if (values)
        read_task_values(model, batch, values);
}

void classification_predict(struct model *model, const struct batch *batch,
                            float *logits)
{
    encoder_forward(model, batch, NULL);
    classifier_forward(model);
    fetch_answers(model, model->classifier.logits, logits,
                  (size_t)batch->sequences * (size_t)model->classes);
}

/* Point to answers */
/* place_spans: sends the tables for a batch; returns the width of the rectangle. */
static int place_spans(struct model *m, const struct batch *batch)
{
    const struct span_head *head = &m->span;
    int longest = batch_longest(batch), never = 2 * m->token_room;
    size_t cells = 2 * (size_t)batch->sequences * (size_t)longest;
    int *places = allocate(cells, sizeof *places);
    int *back = allocate(2 * (size_t)batch->tokens, sizeof *back);
    for (size_t cell = 0; cell < cells; cell++)
        places[cell] = never;
    /* Give each logit its cell, and each cell its logit */
    for (int s = 0; s < batch->sequences; s++)
        for (int t = batch->offsets[s]; t < batch->offsets[s + 1]; t++)
            for (int column = 0; column < 2; column++) {
                int at = t - batch->offsets[s];
                int cell = (2 * s + column) * longest + at;
                back[2 * t + column] = cell;
                if (at < batch->visible[s])
                    places[cell] = 2 * t + column;
            }
    m->k->upload(head->places, places, cells * sizeof *places);
    m->k->upload(head->back, back, 2 * (size_t)batch->tokens * sizeof *back);
    free(places);
    free(back);
    return longest;
}

static void measure_spans(struct model *m, const struct batch *batch, float share)
{
    const struct kernels *k = m->k;
    const struct span_head *head = &m->span;
    struct loss_rows *r = &m->rows;
    int longest = place_spans(m, batch), rows = 2 * batch->sequences, labelled = 0;
    for (int row = 0; row < rows; row++)
        labelled += batch->spans[row] != NO_LABEL;
    struct softmax_loss loss = {
        .rows = rows,
        .classes = longest,
        .stride = longest,
        .temperature = 1,
        .label_scale = labelled ? share / (float)labelled : 0,
    };
    /* Bring soft targets into the rectangle */
    const real *soft = heed(m, batch, 2 * batch->tokens, head->soft, share, &loss);
    if (soft) {
        k->gather(soft, head->places, head->soft_rows, rows * longest, 1);
        soft = head->soft_rows;
    }
    /* Measure the loss in the rectangle and bring its gradient back */
    k->upload(r->labels, batch->spans, (size_t)rows * sizeof *batch->spans);
    k->gather(head->logits, head->places, head->rows, rows * longest, 1);
    k->softmax_loss(&loss, head->rows, soft, r->labels, NULL, m->state + LOSS_SCALE,
                    r->label, r->soft, r->hit);
    k->gather(head->rows, head->back, head->logits, 2 * batch->tokens, 1);
    k->sum(r->label, rows, r->sums + MLM_SUM);
    k->sum(r->soft, rows, r->sums + KL_SUM);
    k->sum(r->hit, rows, r->sums + HIT_SUM);
    r->labels_counted += labelled;
    r->tokens += batch->tokens;
}

void span_step(struct model *model, const struct batch *batch, uint64_t key,
               float share, struct loss_values *values)
{
    encoder_forward(model, batch, &key);
    span_forward(model);
    measure_spans(model, batch, share);
    span_backward(model);
    encoder_backward(model);
    if (values)
        read_task_values(model, batch, values);
}

void span_predict(struct model *model, const struct batch *batch, float *logits)
{
    encoder_forward(model, batch, NULL);
    span_forward(model);
    fetch_answers(model, model->span.logits, logits, 2 * (size_t)batch->tokens);
}
