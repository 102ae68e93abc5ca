/* Tangled from chapters/61-probes.md; edit there. */
#include "fail.h"
#include "device.h"
#include "losses.h"
#include "safetensors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Say how gradients is used */
static const char usage[] =
    "usage: distil gradients --teacher DIR --student DIR --batch FILE.safetensors\n"
    "                        --out FILE.safetensors [--loss NAME] [--device NAME]\n"
    "\n"
    "Runs one step of distillation without dropout and writes its losses (loss.mlm,\n"
    "loss.kl, loss.cosine, loss.total; loss.relations if that is asked for) and the\n"
    "gradient of each of the student's parameters, by the parameter's name.\n"
    "\n"
    "  --teacher, --student DIR   model folders with MLM heads\n"
    "  --batch FILE   integers: ids, lengths [sequences] and labels, -100 for none;\n"
    "                 ids and labels are [tokens], end to end, or [sequences, slots],\n"
    "                 where the slots from a sequence's length on are padding\n"
    "  --out FILE     the safetensors file to write\n"
    "  --loss NAME    mlm, kl, cosine or relations (in 8 heads): one term alone;\n"
    "                 triple: 2 mlm + 5 kl + cosine, the default; course: the course\n"
    "                 project's sum, with its padding\n"
    "  --device NAME  cpu (the default), cuda (fp16), cuda-fp32, or auto\n";

static int misused(const char *option)
{
    fprintf(stderr,
            "distil: %s: expected --teacher, --student, --batch, --out and perhaps "
            "--loss and --device, each with a value\n\n%s",
            option, usage);
    return 2;
}

/* Name the losses that can be asked for */
struct choice {
    const char *name;
    float mlm, kl, cosine, relations;
};

static const struct choice choices[] = {
    {"triple", 2, 5, 1, 0}, {"mlm", 1, 0, 0, 0}, {"kl", 0, 1, 0, 0},
    {"cosine", 0, 0, 1, 0}, {"relations", 0, 0, 0, 1}, {"course", 0.5f, 0.5f, 1, 0},
};

static const struct choice *find_choice(const char *name)
{
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (!strcmp(name, choices[i].name))
            return &choices[i];
    return NULL;
}

static struct loss_settings settings_of(const struct choice *choice, int layers,
                                        int teacher_layers)
{
    struct loss_settings settings = {
        .mlm = choice->mlm,
        .kl = choice->kl,
        .cosine = choice->cosine,
        .relations = choice->relations,
        .relation_heads = 8,
        .temperature = 2,
        .kl_positions = REAL_POSITIONS,
        .cosine_positions = REAL_POSITIONS,
        .pairs = 1,
        .pair = {{layers, teacher_layers}},
    };
    /* Compare as the course project does */
    if (!strcmp(choice->name, "course")) {
        settings.kl_positions = settings.cosine_positions = ALL_POSITIONS;
        settings.kl_divisor = BY_SEQUENCES;
        settings.pairs = layers < MAX_PAIRS ? layers : MAX_PAIRS;
        for (int l = 0; l < settings.pairs; l++)
            settings.pair[l] =
                (struct layer_pair){l + 1, l * (teacher_layers / layers) + 1};
    }
    return settings;
}

/* Read a batch from a file */
/* Read an array of integers */
static int *read_integers(const struct safetensors *file, const char *name,
                          size_t shape[2])
{
    const struct tensor *tensor = safetensors_find(file, name);
    if (!tensor)
        fail(file->path, "expected a tensor \"%s\"", name);
    if (tensor->rank < 1 || tensor->rank > 2 || tensor->count > INT_MAX / 2)
        fail(file->path, "has %zu \"%s\" in %d dimensions; expected fewer than %d in "
             "one or two", tensor->count, name, tensor->rank, INT_MAX / 2);
    int *values = allocate(tensor->count, sizeof *values);
    safetensors_integers(file, tensor, values);
    shape[0] = tensor->count ? tensor->shape[0] : 0;
    shape[1] = tensor->count && tensor->rank == 2 ? tensor->shape[1] : 0;
    return values;
}

/* Check the values of a sequence */
static void check_values(const char *path, size_t sequence, const int *ids,
                         const int *labels, int length, int room,
                         const struct shape *model)
{
    int last = model->vocabulary - 1;
    if (room > model->positions)
        fail(path, "sequence %zu has %d tokens; the models know %d positions", sequence,
             room, model->positions);
    /* Check each token and its label */
    for (int i = 0; i < room; i++) {
        if (ids[i] < 0 || ids[i] > last)
            fail(path, "sequence %zu: token %d has id %d; the models know 0 to %d",
                 sequence, i, ids[i], last);
        if (i >= length && ids[i] != 0)
            fail(path, "sequence %zu: token %d has id %d beyond the length of %d",
                 sequence, i, ids[i], length);
        if (labels[i] != NO_LABEL && (labels[i] < 0 || labels[i] > last))
            fail(path, "sequence %zu: token %d has label %d; expected %d or 0 to %d",
                 sequence, i, labels[i], NO_LABEL, last);
    }
}

static struct batch *read_batch(const char *path, const struct shape *model)
{
    struct safetensors *file = safetensors_open(path);
    size_t shape[2], labels_shape[2], lengths_shape[2];
    /* Read the arrays of a batch */
    int *ids = read_integers(file, "ids", shape);
    int *labels = read_integers(file, "labels", labels_shape);
    int *lengths = read_integers(file, "lengths", lengths_shape);
    size_t slots = shape[1], tokens = shape[0] * (slots ? slots : 1), at = 0;
    size_t sequences = lengths_shape[0];
    /* Check that the arrays of a batch fit together */
    if (labels_shape[0] != shape[0] || labels_shape[1] != slots)
        fail(path, "has labels of another shape than its ids");
    if (lengths_shape[1])
        fail(path, "has lengths in two dimensions; expected one for each sequence");
    struct batch *batch = batch_create((int)tokens, (int)sequences);
    for (size_t s = 0; s < sequences; s++) {
        size_t room = slots ? slots : (size_t)lengths[s];
        /* Append one sequence of the file */
        if (lengths[s] < 1 || (size_t)lengths[s] > room || at + room > tokens)
            fail(path, "sequence %zu: a length of %d does not fit the %zu ids", s, lengths[s],
                 tokens);
        check_values(path, s, ids + at, labels + at, lengths[s], (int)room, model);
        batch_append(batch, ids + at, lengths[s], lengths[s], (int)slots);
        memcpy(batch->labels + batch->offsets[s], labels + at, room * sizeof *labels);
        at += room;
    }
    if (at != tokens || tokens == 0)
        fail(path, "has %zu ids; the %zu lengths want %zu", tokens, sequences, at);
    free(ids);
    free(labels);
    free(lengths);
    safetensors_close(file);
    return batch;
}

/* Write losses and gradients */
static void write_gradients(const char *path, struct model *student,
                            const struct loss_values *values)
{
    static const char *const names[] = {"loss.mlm", "loss.kl", "loss.cosine",
                                        "loss.total", "loss.relations"};
    float losses[] = {(float)values->mlm, (float)values->kl, (float)values->cosine,
                      (float)values->total, (float)values->relations};
    const struct parameters *plan = &student->parameters;
    float *gradient = allocate(plan->size, sizeof *gradient);
    encoder_gradient(student, gradient);
    struct safetensors_writer *writer = safetensors_create(path);
    for (int i = 0; i < (values->terms[3].weight > 0 ? 5 : 4); i++)
        safetensors_add(writer, names[i], "F32", 0, NULL, &losses[i]);
    /* Add the gradient of each parameter */
    for (const struct parameter *p = plan->list; p < plan->list + plan->count; p++) {
        size_t shape[] = {(size_t)p->rows, (size_t)p->columns};
        safetensors_add(writer, p->name, "F32", p->matrix ? 2 : 1,
                        p->matrix ? shape : shape + 1, gradient + p->offset);
    }
    safetensors_commit(writer);
    free(gradient);
}

/* Compute the gradients of one batch */
int gradients_main(int argc, char **argv)
{
    const char *teacher_path = NULL, *student_path = NULL, *in = NULL, *out = NULL;
    const char *loss = choices[0].name, *device = "cpu";
    /* Read the options of gradients */
    for (int i = 1; i < argc; i++) {
        const char **value = !strcmp(argv[i], "--teacher") ? &teacher_path
                           : !strcmp(argv[i], "--student") ? &student_path
                           : !strcmp(argv[i], "--batch") ? &in
                           : !strcmp(argv[i], "--out") ? &out
                           : !strcmp(argv[i], "--device") ? &device
                           : !strcmp(argv[i], "--loss") ? &loss : NULL;
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        }
        if (!value || i + 1 == argc)
            return misused(argv[i]);
        *value = argv[++i];
    }
    if (!teacher_path || !student_path || !in || !out)
        return misused(!teacher_path ? "--teacher" : !student_path ? "--student"
                                     : !in ? "--batch" : "--out");
    /* Take the step and write what came of it */
    const struct kernels *k = device_open(device);
    const struct choice *choice = find_choice(loss);
    if (!choice)
        return misused(loss);
    struct model *teacher = encoder_open(k, teacher_path, HEAD_MLM, 0, LEARN_NOTHING);
    struct model *student = encoder_open(k, student_path, HEAD_MLM, 0, LEARN_ALL);
    struct shape both = student->shape;
    if (teacher->shape.positions < both.positions)
        both.positions = teacher->shape.positions;
    struct batch *batch = read_batch(in, &both);
    struct loss_settings settings =
        settings_of(choice, student->shape.layers, teacher->shape.layers);
    struct loss_values values;
    student->shape.dropout = student->shape.attention_dropout = 0;
    distillation_step(student, teacher, batch, &settings, 0, 1, &values);
    write_gradients(out, student, &values);
    batch_free(batch);
    encoder_free(student);
    encoder_free(teacher);
    return 0;
}
