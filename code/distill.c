/* Tangled from chapters/53-distillation.md; edit there. */
#include "fail.h"
#include "feed.h"
#include "model.h"
#include "training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: distil distill --profile FILE --run DIR --data DIR --student NAME [--teacher DIR]\n"
    "                      [--resume] [--lines] [--key HASH] [--SECTION.SETTING VALUE …]\n\n"
    "Makes DIR/models/NAME in the run's folder: a student with some of the teacher's layers,\n"
    "trained by the triple loss of [distill], which the section [NAME] of the profile may change.\n"
    "The teacher is the run's models/teacher unless --teacher names another folder.\n";

struct distillation {
    struct feed feed;
    struct model *teacher, *student;
    struct loss_settings losses;
    struct record *record;
    uint64_t seed;
};

/* Read the settings of the triple loss */
static struct loss_settings read_losses(struct settings *s, const char *sections,
                                        const int *layers, int student_layers, int teacher_layers)
{
    struct loss_settings losses = {
        .mlm = (float)settings_number(s, sections, "mlm"),
        .kl = (float)settings_number(s, sections, "kl"),
        .cosine = (float)settings_number(s, sections, "cosine"),
        .temperature = (float)settings_number(s, sections, "temperature"),
        .kl_positions = settings_choice(s, sections, "kl-positions", "all real masked"),
        .kl_divisor = settings_choice(s, sections, "kl-divisor", "tokens sequences"),
        .cosine_positions = settings_choice(s, sections, "cosine-positions", "all real masked"),
    };
    /* Choose the layers that the cosine compares */
    if (settings_choice(s, sections, "cosine-layers", "last copied") == 0) {
        losses.pairs = 1;
        losses.pair[0] = (struct layer_pair){student_layers, teacher_layers};
    } else {
        losses.pairs = student_layers;
        for (int i = 0; i < student_layers; i++)
            losses.pair[i] = (struct layer_pair){i + 1, layers[i] + 1};
    }
    return losses;
}

/* Open the teacher */
static struct model *open_teacher(const struct kernels *k, const char *folder)
{
    struct shape shape = model_shape(folder);
    struct parameters parameters = parameters_plan(&shape, HEAD_MLM, 0);
    float *values = allocate(parameters.size, sizeof *values);
    model_read(folder, &parameters, values, NULL);
    struct model *teacher = encoder_create(k, &shape, HEAD_MLM, 0, values, LEARN_NOTHING);
    free(values);
    parameters_free(&parameters);
    return teacher;
}

/* Make the student before training */
static void initialise(const struct stage *stage, const char *sections, struct model *teacher,
                       const int *layers, const struct parameters *parameters, float *values,
                       uint64_t seed)
{
    struct settings *s = stage->settings;
    switch (settings_choice(s, sections, "initial", "teacher random folder")) {
    case 0: {
        float *from = allocate(teacher->parameters.size, sizeof *from);
        encoder_download(teacher, from);
        model_student(&teacher->parameters, from, layers, parameters, values);
        free(from);
        break;
    }
    case 1:
        model_initialise(parameters, teacher->shape.initializer_range, values, NULL, seed);
        break;
    default: {
        char *folder = text_format("%s/%s", stage->data, settings_text(s, sections, "folder"));
        model_read(folder, parameters, values, NULL);
        free(folder);
    }
    }
}

/* Distil one batch */
static int work(void *context, long index, float share, struct loss_values *values)
{
    struct distillation *d = context;
    feed_batch(&d->feed, index);
    distillation_step(d->student, d->teacher, d->feed.batch, &d->losses,
                      random_key(d->seed, (uint64_t)index, 0), share, values);
    return d->feed.batch->tokens;
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
    struct stage stage = stage_open(argc, argv, usage, "--profile --run --data --student");
    char *sections = text_format("%s distill", stage.student);
    char *name = text_format("distill-%s", stage.student);
    char *teacher_folder = stage.teacher ? text_format("%s", stage.teacher)
                                         : stage_path(&stage, "models/teacher");
    char *vocabulary = text_format("%s/vocab.txt", teacher_folder);
    const struct kernels *k = kernels_open("cpu");
    struct distillation d = {.seed = (uint64_t)settings_count(stage.settings, "run", "seed")};
    d.teacher = open_teacher(k, teacher_folder);
    d.record = record_open(&stage, name);
    /* Choose the layers of the student */
    int layers[MAX_PAIRS];
    int count = settings_list(stage.settings, sections, "layers", layers, MAX_PAIRS);
    for (int i = 0; i < count; i++)
        if (layers[i] >= d.teacher->shape.layers)
            fail(teacher_folder, "has %d layers, counted from 0; the profile's student wants layer %d",
                 d.teacher->shape.layers, layers[i]);
    if (count == 0)
        fail(teacher_folder, "the profile's student wants none of its layers");
    struct shape shape = model_student_shape(&d.teacher->shape, count);
    struct parameters parameters = parameters_plan(&shape, HEAD_MLM, 0);
    float *values = allocate(parameters.size, sizeof *values);
    initialise(&stage, sections, d.teacher, layers, &parameters, values, d.seed);
    d.student = encoder_create(k, &shape, HEAD_MLM, 0, values, LEARN_ALL);
    d.losses = read_losses(stage.settings, sections, layers, count, d.teacher->shape.layers);
    d.feed = feed_open(&stage, sections, vocabulary, shape.positions, d.record);
    /* Distil for as many epochs as the profile says */
    double epochs = settings_number(stage.settings, sections, "epochs"), loss, accuracy;
    feed_validate(&d.feed, d.teacher, &loss, &accuracy);
    record_set(d.record, "teacher_accuracy", json_real(accuracy));
    struct training training = {
        .name = name,
        .sections = sections,
        .model = d.student,
        .batches = (long)ceil(epochs * (double)d.feed.per_epoch),
        .work = work,
        .validate = validate,
        .context = &d,
    };
    training_run(&stage, &training, d.record);
    /* Leave the student behind */
    char *folder = stage_path(&stage, "models/%s", stage.student);
    encoder_download(d.student, values);
    model_write(folder, &shape, &parameters, HEAD_MLM, 0, values, vocabulary);
    record_set(d.record, "parameters", json_integer((json_int_t)parameters_total(&parameters)));
    settings_finish(stage.settings, sections);
    record_close(d.record);
    checkpoint_remove(&stage, name);
    encoder_free(d.student);
    encoder_free(d.teacher);
    feed_close(&d.feed);
    parameters_free(&parameters);
    free(values);
    free(folder);
    free(vocabulary);
    free(teacher_folder);
    free(name);
    free(sections);
    stage_close(&stage);
    return 0;
}
