/* Tangled from chapters/38-replacing-layers.md; edit there. */
#include "theseus.h"
#include "fail.h"
#include "model.h"
#include "random.h"
#include "training.h"

#include <stdlib.h>

struct theseus {
    struct model *student, *teacher; /* the teacher is owned */
    struct replacing how;
    int accumulate;
    long steps;
    uint64_t seed;
    struct stop *route; /* [teacher's layers] */
};

/* Make the student of a fine-tuned teacher */
struct shape theseus_shape(const struct shape *teacher,
                           const struct planned_model *student)
{
    struct shape shape = *teacher;
    shape.layers = student->layers;
    if (shape.layers < 1 || teacher->layers % shape.layers)
        fail(student->name, "has %d layers; expected as many equal blocks in the "
             "teacher's %d", shape.layers, teacher->layers);
    return shape;
}

void theseus_begin(const char *folder, const struct planned_model *student,
                   enum head head, int classes, const struct parameters *plan,
                   float *values)
{
    struct shape shape = model_shape(folder);
    struct parameters whole = parameters_plan(&shape, head, classes);
    float *teacher = allocate(whole.size, sizeof *teacher);
    model_read(folder, &whole, teacher, NULL);
    model_student(&whole, teacher, student->layer, plan, values);
    free(teacher);
    parameters_free(&whole);
}

size_t theseus_bytes(const struct kernels *k, const struct shape *teacher,
                     const struct shape *student, enum head head, int classes,
                     int token_room, int sequence_room)
{
    struct model own = {.k = k, .shape = *student, .head = head, .classes = classes,
                        .learning = LEARN_LAYERS}, longest = own;
    longest.detour = teacher->layers - student->layers;
    return encoder_bytes(k, teacher, head, classes, LEARN_NOTHING, 0, 0)
           + encoder_size(&longest, token_room, sequence_room)
           - encoder_size(&own, token_room, sequence_room);
}

/* Bring teacher and student together */
struct theseus *theseus_create(struct model *student, struct model *teacher,
                               const struct replacing *how,
                               const struct recipe *recipe, long batches,
                               uint64_t seed)
{
    struct theseus *t = allocate(1, sizeof *t);
    size_t layers = (size_t)teacher->shape.layers;
    *t = (struct theseus){student, teacher, *how, recipe->accumulate,
                          training_steps(recipe, batches), seed,
                          allocate(layers, sizeof *t->route)};
    encoder_widen(student, teacher->shape.layers - student->shape.layers);
    return t;
}

void theseus_free(struct theseus *t)
{
    encoder_route(t->student, NULL, 0);
    encoder_free(t->teacher);
    free(t->route);
    free(t);
}

/* Draw who stands */
double theseus_rate(const struct replacing *how, long step, long steps)
{
    double rising = how->share * (double)steps, t = (double)step;
    return t < rising ? how->rate + (1 - how->rate) * t / rising : 1;
}

void theseus_draw(struct theseus *t, long batch)
{
    int layers = t->student->shape.layers;
    bool *stands = allocate((size_t)layers, sizeof *stands);
    double rate = theseus_rate(&t->how, batch / t->accumulate, t->steps);
    uint64_t key = random_key(~t->seed, (uint64_t)batch, 0);
    for (int b = 0; b < layers; b++)
        stands[b] = random_uniform(key, (uint64_t)b) < rate;
    theseus_send(t, stands);
    free(stands);
}

void theseus_send(struct theseus *t, const bool *stands)
{
    int layers = t->student->shape.layers, depth = 0;
    int block = t->teacher->shape.layers / layers;
    for (int b = 0; b < layers; b++)
        if (stands[b])
            t->route[depth++] = (struct stop){t->student, b};
        else
            for (int l = b * block; l < (b + 1) * block; l++)
                t->route[depth++] = (struct stop){t->teacher, l};
    encoder_route(t->student, t->route, depth);
}
