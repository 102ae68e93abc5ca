/* Tangled from chapters/21-training.md; edit there. */
#include "checkpoint.h"
#include "device.h"
#include "fail.h"
#include "file.h"
#include "ranks.h"
#include "safetensors.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Know what a checkpoint is of */
struct checkpoint {
    const struct stage *stage;
    char *path;
    struct model *model;
    struct optimizer *optimizer;
    struct record *record;
    /* Keep the copy of a state and who writes it */
    float *values;         /* [3 * parameters.size + STATE_SIZE]: parameters, both
                              moments, the device's state */
    char *progress;        /* "step seconds tokens" */
    struct record *curves; /* a copy of the record */
    pthread_t thread;
    bool started;          /* there is a thread to be joined */
    atomic_bool writing;   /* and it is not done with the copy */
};

/* Name the file of a checkpoint */
static char *checkpoint_path(const struct stage *stage, const char *name)
{
    return stage_path(stage, "checkpoints/%s.safetensors", name);
}

/* Wait for the thread that writes */
static void wait_for_writer(struct checkpoint *c)
{
    if (c->started)
        pthread_join(c->thread, NULL);
    c->started = false;
}

/* Open and close a checkpoint */
struct checkpoint *checkpoint_open(const struct stage *stage, const char *name,
                                   struct model *model, struct optimizer *optimizer,
                                   struct record *record)
{
    struct checkpoint *c = allocate(1, sizeof *c);
    c->stage = stage;
    c->path = checkpoint_path(stage, name);
    c->model = model;
    c->optimizer = optimizer;
    c->record = record;
    c->values = allocate(3 * model->parameters.size + STATE_SIZE, sizeof *c->values);
    return c;
}

size_t checkpoint_bytes(const struct kernels *k, const struct parameters *parameters)
{
    return k == kernels_cpu() ? 3 * parameters->size * sizeof(float) : 0;
}

void checkpoint_close(struct checkpoint *c)
{
    wait_for_writer(c);
    free(c->values);
    free(c->path);
    free(c);
}

/* Write the copy to the disk */
static void *write_copy(void *argument)
{
    struct checkpoint *c = argument;
    size_t size = c->model->parameters.size, state_size = STATE_SIZE;
    struct safetensors_writer *writer = safetensors_create(c->path);
    /* Put the copy into the file */
    safetensors_add(writer, "parameters", "F32", 1, &size, c->values);
    safetensors_add(writer, "first moment", "F32", 1, &size, c->values + size);
    safetensors_add(writer, "second moment", "F32", 1, &size, c->values + 2 * size);
    safetensors_add(writer, "state", "F32", 1, &state_size, c->values + 3 * size);
    safetensors_note(writer, "key", c->stage->key);
    safetensors_note(writer, "progress", c->progress);
    safetensors_note(writer, "curve", record_curve(c->curves, ""));
    safetensors_note(writer, "curve-validation",
                     record_curve(c->curves, "-validation"));
    safetensors_commit(writer);
    record_free(c->curves);
    free(c->progress);
    c->writing = false;
    return NULL;
}

/* Write a checkpoint */
bool checkpoint_write(struct checkpoint *c, long step)
{
    if (c->writing)
        return false;
    wait_for_writer(c);
    /* Copy the state of this moment */
    size_t size = c->model->parameters.size;
    encoder_download(c->model, c->values);
    optimizer_download(c->optimizer, c->values + size, c->values + 2 * size,
                       c->values + 3 * size);
    c->progress = text_format("%ld %.17g %lld", step, record_seconds(c->record),
                              (long long)record_tokens(c->record));
    c->curves = record_copy(c->record);
    c->writing = c->started = true;
    if (pthread_create(&c->thread, NULL, write_copy, c) != 0)
        fail("threads", "a thread for the checkpoint could not be started");
    return true;
}

/* Copy a vector out of a checkpoint */
static bool copy_vector(const struct safetensors *file, const char *name, size_t count,
                        float *values)
{
    const struct tensor *tensor = safetensors_find(file, name);
    if (!tensor || tensor->count != count)
        return false;
    safetensors_floats(file, tensor, values);
    return true;
}

/* Go on from a checkpoint */
/* Fills c->values and returns the step; 0 if the file is of another model. */
static long go_on(struct checkpoint *c, const struct safetensors *file)
{
    const char *progress = safetensors_metadata(file, "progress"),
               *curve = safetensors_metadata(file, "curve"),
               *validation = safetensors_metadata(file, "curve-validation");
    long step;
    double seconds;
    long long tokens;
    size_t size = c->model->parameters.size;
    if (!progress || !curve || !validation
        || sscanf(progress, "%ld %lg %lld", &step, &seconds, &tokens) != 3
        || !copy_vector(file, "parameters", size, c->values)
        || !copy_vector(file, "first moment", size, c->values + size)
        || !copy_vector(file, "second moment", size, c->values + 2 * size)
        || !copy_vector(file, "state", STATE_SIZE, c->values + 3 * size))
        return 0;
    record_resume(c->record, step, seconds, tokens, curve, validation);
    return step;
}

/* Read a checkpoint */
static long read_file(struct checkpoint *c)
{
    if (!c->stage->resume || !file_exists(c->path))
        return 0;
    char *fault = NULL;
    long step = 0;
    struct safetensors *file = safetensors_try(c->path, &fault);
    const char *key = file ? safetensors_metadata(file, "key") : NULL;
    if (file && !file->summed)
        fault = text_format("has no sum");
    else if (key && !strcmp(key, c->stage->key) && !(step = go_on(c, file)))
        fault = text_format("is not of this model");
    if (file)
        safetensors_close(file);
    /* Say that the checkpoint is of no use, and remove it */
    if (fault) {
        fprintf(stderr, "distil: %s: the checkpoint is of no use, and the stage begins "
                "from its start: %s\n", c->path, fault);
        unlink(c->path);
    }
    free(fault);
    return step;
}

long checkpoint_read(struct checkpoint *c)
{
    size_t size = c->model->parameters.size;
    long step = ranks_rank() == 0 ? read_file(c) : 0;
    ranks_share(&step, sizeof step);
    if (step == 0)
        return 0;
    ranks_share(c->values, (3 * size + STATE_SIZE) * sizeof *c->values);
    encoder_upload(c->model, c->values);
    optimizer_upload(c->optimizer, c->values + size, c->values + 2 * size,
                     c->values + 3 * size);
    return step;
}

/* Remove a checkpoint */
void checkpoint_remove(const struct stage *stage, const char *name)
{
    char *path = checkpoint_path(stage, name);
    unlink(path);
    free(path);
}
