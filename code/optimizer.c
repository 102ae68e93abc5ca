/* Tangled from chapters/18-optimizer.md; edit there. */
#include "optimizer.h"
#include "elementary.h"
#include "fail.h"
#include "parts.h"
#include "ranks.h"

#include <math.h>
#include <stdlib.h>

struct span {
    size_t begin, end; /* of the parameter vector */
    float decay;
};

struct optimizer {
    struct optimizer_settings settings;
    struct model *model;   /* not owned */
    struct span spans[2];
    float *first, *second; /* device [parameters.size]: m and v */
};

/* Find the span that learns */
static bool learns(const struct model *model, enum part part)
{
    return model->learning == LEARN_ALL
           || (model->learning == LEARN_LAYERS ? part_in_layer(part)
                                               : part >= TRANSFORM_WEIGHT);
}

/* Of the vector from begin to end. */
static struct span find_span(const struct model *model, size_t begin, size_t end)
{
    const struct parameter *p = model->parameters.list, *last;
    last = p + model->parameters.count;
    while (p->offset < begin || !learns(model, p->part))
        p++;
    struct span span = {.begin = p->offset, .end = end};
    while (p < last && p->offset < end && learns(model, p->part))
        p++;
    if (p < last && p->offset < end)
        span.end = p->offset;
    return span;
}

/* Create an optimiser */
static void check_settings(const struct optimizer_settings *s)
{
    if (!(s->epsilon > 0))
        fail("epsilon", "expected more than 0, found %g", s->epsilon);
    if (!(s->beta1 >= 0 && s->beta1 < 1 && s->beta2 >= 0 && s->beta2 < 1))
        fail("beta1, beta2", "expected 0 or more, and less than 1; found %g and %g",
             s->beta1, s->beta2);
    if (!(s->warmup >= 0 && s->warmup <= 1))
        fail("warmup", "expected a share from 0 to 1, found %g", s->warmup);
}

struct optimizer *optimizer_create(struct model *model,
                                   const struct optimizer_settings *settings)
{
    check_settings(settings);
    struct optimizer *o = allocate(1, sizeof *o);
    const struct parameters *plan = &model->parameters;
    o->settings = *settings;
    o->model = model;
    o->spans[0] = find_span(model, 0, plan->decayed);
    o->spans[1] = find_span(model, plan->decayed, plan->size);
    o->spans[0].decay = settings->decay;
    o->first = model->k->allocate(plan->size * sizeof(float));
    o->second = model->k->allocate(plan->size * sizeof(float));
    model->rounded = settings->batches == 1 && ranks_count() == 1;
    return o;
}

size_t optimizer_bytes(const struct parameters *parameters)
{
    const size_t alignment = 256; /* what it may take */
    return 2 * (parameters->size * sizeof(float) + alignment);
}

void optimizer_free(struct optimizer *o)
{
    o->model->k->release(o->first);
    o->model->k->release(o->second);
    free(o);
}

/* Follow the schedule of the learning rate */
float optimizer_rate(const struct optimizer_settings *s, long step)
{
    double warm = floor(s->warmup * (double)s->steps), n = (double)s->steps;
    double t = (double)step, share = 1;
    if (t < warm)
        share = (t + 1) / warm;
    else if (s->linear_decay)
        share = (n - t) / (n - warm);
    return (float)(s->rate * share);
}

/* Take a step of the optimiser */
void optimizer_step(struct optimizer *o, long step)
{
    const struct optimizer_settings *s = &o->settings;
    struct model *m = o->model;
    /* Work out what is the same for all parameters */
    struct adamw adamw = {
        .rate = optimizer_rate(s, step),
        .beta1 = s->beta1,
        .beta2 = s->beta2,
        .epsilon = s->epsilon,
        .t = (float)(step + 1),
        .correction1 = (float)(1 - whole_power(s->beta1, step + 1)),
        .correction2 = (float)(1 - whole_power(s->beta2, step + 1)),
    };
    gradient_settle(m);
    for (const struct span *span = o->spans; span < o->spans + 2; span++)
        m->k->all_sum(m->gradient + span->begin, span->end - span->begin);
    for (const struct span *span = o->spans; span < o->spans + 2; span++)
        m->k->square_norm(gradient_at(m, span->begin), gradient_rounded(m, span->begin),
                          span->end - span->begin, m->state);
    m->k->decide(m->state, s->clip);
    /* Move each span */
    for (const struct span *span = o->spans; span < o->spans + 2; span++) {
        size_t at = span->begin;
        adamw.decay = span->decay;
        m->k->adamw(&adamw, m->state, master_at(m, at), gradient_at(m, at),
                    gradient_rounded(m, at), o->first + at, o->second + at,
                    slice(m->k, m->weights, at), span->end - at);
    }
    gradient_forget(m);
}

/* Keep the optimiser's moments over a pause */
void optimizer_download(const struct optimizer *o, float *first, float *second,
                        float *state)
{
    const struct kernels *k = o->model->k;
    size_t size = o->model->parameters.size * sizeof(float);
    k->download(first, o->first, size);
    k->download(second, o->second, size);
    k->download(state, o->model->state, STATE_SIZE * sizeof(float));
}

void optimizer_upload(struct optimizer *o, const float *first, const float *second,
                      const float *state)
{
    const struct kernels *k = o->model->k;
    size_t size = o->model->parameters.size * sizeof(float);
    k->upload(o->first, first, size);
    k->upload(o->second, second, size);
    k->upload(o->model->state, state, STATE_SIZE * sizeof(float));
}
