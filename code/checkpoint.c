/* Tangled from chapters/51-training.md; edit there. */
#include "checkpoint.h"
#include "fail.h"
#include "file.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *checkpoint_path(const struct stage *stage, const char *name)
{
    return stage_path(stage, "checkpoints/%s.safetensors", name);
}

/* Write a checkpoint */
void checkpoint_write(const struct stage *stage, const char *name, struct model *model,
                      struct optimizer *optimizer, struct record *record, long step)
{
    size_t size = model->parameters.size, state_size = STATE_SIZE;
    float *values = allocate(3 * size + STATE_SIZE, sizeof *values);
    float *state = values + 3 * size;
    encoder_download(model, values);
    optimizer_download(optimizer, values + size, values + 2 * size, state);
    record_save(record);
    char *path = checkpoint_path(stage, name);
    char *progress = text_format("%ld %.17g %lld", step, record_seconds(record),
                                 (long long)record_tokens(record));
    struct safetensors_writer *writer = safetensors_create(path);
    safetensors_add(writer, "parameters", "F32", 1, &size, values);
    safetensors_add(writer, "first moment", "F32", 1, &size, values + size);
    safetensors_add(writer, "second moment", "F32", 1, &size, values + 2 * size);
    safetensors_add(writer, "state", "F32", 1, &state_size, state);
    safetensors_note(writer, "key", stage->key);
    safetensors_note(writer, "progress", progress);
    safetensors_commit(writer);
    free(progress);
    free(path);
    free(values);
}

/* Read a checkpoint */
/* Copy a vector out of a checkpoint */
static void copy_vector(const struct safetensors *file, const char *name, size_t count,
                        float *values)
{
    const struct tensor *tensor = safetensors_find(file, name);
    if (!tensor || tensor->count != count)
        fail(file->path, "expected %zu numbers as \"%s\", found %zu", count, name,
             tensor ? tensor->count : 0);
    safetensors_floats(file, tensor, values);
}

long checkpoint_read(const struct stage *stage, const char *name, struct model *model,
                     struct optimizer *optimizer, struct record *record)
{
    char *path = checkpoint_path(stage, name);
    long step = 0;
    if (stage->resume && file_exists(path)) {
        struct safetensors *file = safetensors_open(path);
        const char *key = safetensors_metadata(file, "key");
        if (key && !strcmp(key, stage->key)) {
            /* Go on from this checkpoint */
            const char *progress = safetensors_metadata(file, "progress");
            double seconds;
            long long tokens;
            if (!progress || sscanf(progress, "%ld %lg %lld", &step, &seconds, &tokens) != 3)
                fail(path, "expected \"step seconds tokens\" as the checkpoint's progress");
            size_t size = model->parameters.size;
            float *values = allocate(3 * size + STATE_SIZE, sizeof *values);
            copy_vector(file, "parameters", size, values);
            copy_vector(file, "first moment", size, values + size);
            copy_vector(file, "second moment", size, values + 2 * size);
            copy_vector(file, "state", STATE_SIZE, values + 3 * size);
            encoder_upload(model, values);
            optimizer_upload(optimizer, values + size, values + 2 * size, values + 3 * size);
            record_resume(record, step, seconds, tokens);
            free(values);
        }
        safetensors_close(file);
    }
    free(path);
    return step;
}

/* Remove a checkpoint */
void checkpoint_remove(const struct stage *stage, const char *name)
{
    char *path = checkpoint_path(stage, name);
    unlink(path);
    free(path);
}
