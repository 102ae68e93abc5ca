/* Tangled from chapters/35-distillation.md; edit there. */
#include "distill.h"
#include "card.h"
#include "checkpoint.h"
#include "fail.h"
#include "model.h"
#include "training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* State the usage of distillation */
static const char usage[] =
    "usage: distil distill --profile FILE --run DIR --data DIR --student NAME\n"
    "                      [--teacher DIR] [--resume] [--lines] [--key HASH]\n"
    "                      [--ranks N] [--SECTION.SETTING VALUE …]\n\n"
    "Makes DIR/models/NAME in the run's folder: a student with some of the\n"
    "teacher's layers, trained by the triple loss of [distill], which the section\n"
    "[NAME] of the profile may change. The teacher is the run's models/teacher\n"
    "unless --teacher names another folder.\n";

/* Choose the layers that the cosine compares */
struct loss_settings distillation_losses(const struct planned_model *student,
                                         int teacher_layers)
{
    struct loss_settings losses = student->losses;
    losses.pairs = student->copied_layers ? student->layers : 1;
    losses.pair[0] = (struct layer_pair){student->layers, teacher_layers};
    for (int i = 0; student->copied_layers && i < student->layers; i++)
        losses.pair[i] = (struct layer_pair){i + 1, student->layer[i] + 1};
    return losses;
}

/* Make the student before training */
static void initialise(const struct stage *stage, const struct distillation *d,
                       const struct shape *shape, const int *layers, float *values)
{
    const struct model *teacher = d->teacher;
    switch (d->planned->initial) {
    case INITIAL_TEACHER: {
        /* Take over layers of the teacher */
        float *from = allocate(teacher->parameters.size, sizeof *from);
        encoder_download(teacher, from);
        model_student(&teacher->parameters, from, layers, &d->parameters, values);
        free(from);
        break;
    }
    case INITIAL_RANDOM:
        model_initialise(&d->parameters, teacher->shape.initializer_range, values, NULL,
                         d->seed);
        break;
    case INITIAL_FOLDER: {
        /* Begin as a model that is trained already */
        char *folder = text_format("%s/%s", stage->data, d->planned->folder);
        int found = model_shape(folder).layers;
        if (found != shape->layers)
            fail(folder, "has %d layers; the profile's student has %d", found,
                 shape->layers);
        model_read(folder, &d->parameters, values, NULL);
        free(folder);
    }
    }
}

/* Set up a distillation */
struct distillation *distillation_open(const struct stage *stage)
{
    struct distillation *d = allocate(1, sizeof *d);
    d->name = text_format("distill-%s", stage->student);
    /* Find the student in the plan */
    int distillation;
    d->planned = plan_student(stage->plan, stage->student, &distillation);
    if (!d->planned)
        fail(stage->profile, "expected a student called \"%s\" that is distilled once",
             stage->student);
    d->seed = (uint64_t)d->planned->seed[distillation];
    /* Find the student's teacher */
    d->record = record_open(stage, d->name);
    char *folder = stage->teacher ? text_format("%s", stage->teacher)
                                  : stage_path(stage, "models/teacher");
    d->vocabulary = text_format("%s", folder);
    record_from(d->record, folder);
    struct shape teacher = model_shape(folder);
    /* Choose the layers of the student */
    const int *layers = d->planned->layer;
    int limit = teacher.layers, count = d->planned->layers;
    for (int i = 0; i < count; i++)
        if (layers[i] >= limit)
            fail(folder,
                 "has %d layers, counted from 0; the profile's student wants layer %d",
                 limit, layers[i]);
    if (count == 0)
        fail(folder, "the profile's student wants none of its layers");
    struct shape shape = model_student_shape(&teacher, count);
    /* Open what the student learns by */
    d->parameters = parameters_plan(&shape, HEAD_MLM, 0);
    d->losses = distillation_losses(d->planned, teacher.layers);
    d->feed = feed_open(stage, &d->planned->recipe, &d->planned->corpus, d->seed,
                        d->vocabulary, shape.positions, d->record);
    d->batches = (long)ceil(d->planned->recipe.epochs * (double)d->feed.cut.per_epoch);
    d->read = -1;
    /* See that teacher and student fit the device */
    const struct kernels *k = stage_kernels(stage);
    int tokens = d->feed.token_room, sequences = d->feed.sequence_room;
    k->reserve(encoder_bytes(k, &teacher, HEAD_MLM, 0, LEARN_NOTHING, tokens, sequences)
                   + encoder_bytes(k, &shape, HEAD_MLM, 0, LEARN_ALL, tokens, sequences)
                   + optimizer_bytes(&d->parameters) + checkpoint_bytes(k, &d->parameters),
               "lower [distill] batch or [corpus] length");
    /* Open the teacher and build the student */
    d->teacher = encoder_open(k, folder, HEAD_MLM, 0, LEARN_NOTHING);
    float *values = allocate(d->parameters.size, sizeof *values);
    initialise(stage, d, &shape, layers, values);
    d->student = encoder_create(k, &shape, HEAD_MLM, 0, values, LEARN_ALL);
    free(values);
    free(folder);
    return d;
}

void distillation_close(struct distillation *d)
{
    encoder_free(d->student);
    encoder_free(d->teacher);
    feed_close(&d->feed);
    parameters_free(&d->parameters);
    free(d->vocabulary);
    free(d->name);
    free(d);
}

/* Distil one batch */
int distillation_work(void *context, long index, float share,
                      struct loss_values *values)
{
    struct distillation *d = context;
    if (d->read != index)
        feed_batch(&d->feed, index);
    long next = cut_next(&d->feed.cut, index);
    d->batch = d->feed.batch;
    distillation_step(d->student, d->teacher, d->batch, &d->losses,
                      random_key(d->seed, (uint64_t)index, 0), share, values);
    d->read = -1;
    if (next < d->batches * ranks_count()) {
        /* Have the teacher read the next batch */
        d->read = next;
        feed_batch(&d->feed, d->read);
        distillation_ahead(d->teacher, d->feed.batch, &d->losses);
    }
    return d->batch->tokens;
}

static void validate(void *context, long step)
{
    struct distillation *d = context;
    double values[2];
    feed_validate(&d->feed, d->student, &values[0], &values[1]);
    record_row(d->record, "-validation", "mlm\taccuracy", step, values, 2);
}

/* Distil a student */
int distill_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage,
                                    "--profile --run --data --student");
    struct distillation *d = distillation_open(&stage);
    double loss, accuracy;
    if (ranks_rank() == 0) {
        /* Ask the teacher the student's questions */
        feed_validate(&d->feed, d->teacher, &loss, &accuracy);
        record_set(d->record, "teacher_accuracy", json_real(accuracy));
    }
    /* Train the student by its recipe */
    struct training training = {
        .name = d->name,
        .recipe = &d->planned->recipe,
        .model = d->student,
        .batches = d->batches,
        .cut = &d->feed.cut,
        .work = distillation_work,
        .validate = validate,
        .context = d,
    };
    training_run(&stage, &training, d->record);
    if (ranks_rank() == 0) {
        /* Leave the student behind */
        char *folder = stage_path(&stage, "models/%s", stage.student);
        float *values = allocate(d->parameters.size, sizeof *values);
        encoder_download(d->student, values);
        /* Write the student's card */
        feed_validate(&d->feed, d->student, &loss, &accuracy);
        char *parent = stage.teacher ? text_format("%s", stage.teacher)
                                     : stage_path(&stage, "models/teacher");
        char *from = card_inherit(card_sources(&stage, &d->planned->corpus, NULL), parent);
        if (d->planned->initial == INITIAL_FOLDER)
            from = card_inherit(from, d->planned->folder);
        struct card_score score = {"validation text", "masked words found", 100 * accuracy};
        card_write(folder, &stage,
                   &(struct card){stage.student, "It is a student, distilled from the run's "
                                  "teacher.", &d->student->shape, HEAD_MLM,
                                  parameters_total(&d->parameters), from, &score, 1});
        free(parent);
        free(from);
        model_write(folder, &d->student->shape, &d->parameters, HEAD_MLM, 0, values,
                    d->vocabulary);
        record_set(d->record, "parameters",
                   json_integer((json_int_t)parameters_total(&d->parameters)));
        record_left_model(d->record, folder);
        record_close(d->record);
        checkpoint_remove(&stage, d->name);
        free(values);
        free(folder);
    }
    distillation_close(d);
    stage_close(&stage);
    return 0;
}
