/* Tangled from chapters/37-second-distillation.md; edit there. */
#include "ensemble.h"
#include "elementary.h"
#include "encoder.h"
#include "fail.h"
#include "losses.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Keep what the teachers have said */
struct ensemble {
    const struct task *task;
    const struct examples *examples;
    float share, temperature;
    float *said; /* [count, classes] logits or numbers of the examples; of spans
                    [starts[count], 2], by token */
};

/* Find what is said of an example */
static size_t place(const struct ensemble *e, int example)
{
    return e->task->answer == A_SPAN ? 2 * (size_t)e->examples->starts[example]
                                     : (size_t)(example * e->task->classes);
}

/* Soften and add up */
/* sum[n] += share softmax(z[n] / temperature); both have `stride` floats from one to
   the next. */
static void soften(const float *z, int n, int stride, float temperature, float share,
                   float *sum)
{
    double largest = -INFINITY, total = 0;
    for (int i = 0; i < n; i++)
        largest = fmax(largest, z[i * stride]);
    for (int i = 0; i < n; i++)
        total += exponential_double((z[i * stride] - largest) / temperature);
    for (int i = 0; i < n; i++) {
        double e = exponential_double((z[i * stride] - largest) / temperature);
        sum[i * stride] += share * (float)(e / total);
    }
}

/* Adds a share of what one teacher says of an example, by its logits. */
static void add_up(const struct ensemble *e, int example, const float *z, float share)
{
    float *sum = e->said + place(e, example);
    int classes = e->task->classes;
    int length = (int)(e->examples->starts[example + 1] - e->examples->starts[example]);
    if (e->task->answer == A_NUMBER)
        sum[0] += share * z[0];
    else if (e->task->answer == A_CLASS)
        soften(z, classes, 1, e->temperature, share, sum);
    else
        for (int column = 0; column < 2; column++)
            soften(z + column, length, 2, e->temperature, share, sum + column);
}

/* Hear one teacher */
static struct model *open_teacher(const struct kernels *k, const char *folder,
                                  const struct task *task, int vocabulary)
{
    enum head head = task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    struct shape shape = model_shape(folder);
    if (shape.vocabulary != vocabulary)
        fail(folder, "knows %d pieces; expected the student's %d", shape.vocabulary,
             vocabulary);
    return encoder_open(k, folder, head, task->classes, LEARN_NOTHING);
}

static void hear(const struct ensemble *e, struct model *teacher, int size, float share,
                 struct record *record)
{
    const struct examples *x = e->examples;
    bool spans = e->task->answer == A_SPAN;
    /* Make a batch for the longest examples */
    int longest = 0;
    for (int i = 0; i < x->count; i++) {
        int length = (int)(x->starts[i + 1] - x->starts[i]);
        longest = length > longest ? length : longest;
    }
    struct batch *batch = batch_create(size * longest, size);
    float *logits = allocate(2 * (size_t)batch->token_room, sizeof *logits);
    for (int first = 0; first < x->count; first += size) {
        record_part(record, "asks a teacher", first, x->count);
        examples_batch(x, NULL, first, size, batch, 0);
        /* Add up what the teacher says of the batch */
        if (spans)
            span_predict(teacher, batch, logits);
        else
            classification_predict(teacher, batch, logits);
        for (int s = 0; s < batch->sequences; s++)
            add_up(e, first + s,
                   logits + (spans ? 2 * batch->offsets[s] : s * e->task->classes),
                   share);
    }
    record_part(record, "asks a teacher", x->count, x->count);
    free(logits);
    batch_free(batch);
}

/* Ask the ensemble */
struct ensemble *ensemble_ask(const struct kernels *k, char *const *folders, int count,
                              const struct task *task, const struct examples *examples,
                              int size, int vocabulary, float share, float temperature,
                              struct record *record)
{
    struct ensemble *e = allocate(1, sizeof *e);
    *e = (struct ensemble){task, examples, share, temperature, NULL};
    size_t n = place(e, examples->count);
    e->said = allocate(n, sizeof *e->said);
    /* Hear the teachers one after the other */
    for (int i = 0; i < count; i++) {
        struct model *teacher = open_teacher(k, folders[i], task, vocabulary);
        hear(e, teacher, size, 1 / (float)count, record);
        encoder_free(teacher);
    }
    /* Turn mean probabilities into logits */
    if (task->answer != A_NUMBER)
        for (size_t i = 0; i < n; i++) {
            float p = e->said[i] < 1e-30f ? 1e-30f : e->said[i];
            e->said[i] = temperature * (float)logarithm(p);
        }
    return e;
}

void ensemble_free(struct ensemble *e)
{
    free(e->said);
    free(e);
}

/* Advise a batch */
void ensemble_advise(const struct ensemble *e, const int *order, int first,
                     struct batch *batch)
{
    float *to = batch->soft;
    for (int s = 0; s < batch->sequences; s++) {
        int example = order ? order[first + s] : first + s;
        /* Tell a row what the teachers say of it */
        const float *said = e->said + place(e, example);
        size_t n = place(e, example + 1) - place(e, example);
        if (e->task->answer == A_NUMBER)
            batch->numbers[s] += e->share * (said[0] - batch->numbers[s]);
        memcpy(to, said, n * sizeof *to);
        to += n;
    }
    if (e->task->answer != A_NUMBER)
        batch->soft_share = e->share;
    batch->temperature = e->temperature;
}
