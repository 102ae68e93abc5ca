/* Tangled from chapters/59-trust.md; edit there. */
#include "trust.h"
#include "fail.h"
#include "file.h"
#include "seal.h"
#include "stage.h"
#include "sum.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Hold files to their sums */
bool trust_is_weights(const char *name)
{
    return text_ends(name, ".safetensors");
}

/* What is wrong with a file, in a word or two; NULL if nothing is. */
static const char *file_fault(const char *path, const char *sum)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return "is missing";
    if (!S_ISREG(status.st_mode))
        return "is not a file";
    return sum && !strcmp(sum, sum_file(path).digits) ? NULL : "is damaged";
}

char *trust_fault(const char *folder, const json_t *sums, bool weights)
{
    const char *name;
    json_t *sum;
    json_object_foreach((json_t *)sums, name, sum) {
        if (*name == '/' || strstr(name, ".."))
            return text_format("%s leads out of the folder", name);
        /* Hold one file to its sum */
        char *path = text_format("%s/%s", folder, name);
        const char *fault = file_fault(path, json_string_value(sum));
        if (!weights && trust_is_weights(name) && !file_exists(path))
            fault = NULL;
        free(path);
        if (fault)
            return text_format("%s %s", name, fault);
    }
    return NULL;
}

/* Hold a stage to what it was made from */
char *trust_origin(const json_t *from, const json_t *left)
{
    const char *name;
    json_t *sum;
    json_object_foreach((json_t *)from, name, sum) {
        const json_t *now = json_object_get(left, name);
        if (now && !json_equal(sum, now))
            return text_format("%s is another than it was made from", name);
    }
    return NULL;
}

/* What all stages of a run have left, {path: sum}; the caller releases it. */
static json_t *all_left(const char *run)
{
    json_t *left = json_object();
    char *pattern = text_format("%s/stages/*.json", run);
    glob_t found;
    bool any = glob(pattern, 0, NULL, &found) == 0;
    for (size_t i = 0; any && i < found.gl_pathc; i++) {
        json_t *record = json_load_file(found.gl_pathv[i], 0, NULL);
        json_object_update(left, json_object_get(record, "files"));
        json_decref(record);
    }
    if (any)
        globfree(&found);
    free(pattern);
    return left;
}

/* Say why a record is not enough */
static const char due_usage[] =
    "usage: distil due --record FILE --key HASH [--out DIR]\n"
    "\n"
    "Says why a stage is due; nothing if its record has the key, and all that the\n"
    "stage left, and the models that it began with, are as the record says.\n"
    "\n"
    "  --record FILE  RUN/stages/NAME.json or RUN/bench.json\n"
    "  --key HASH     the hash of what the stage is made from\n"
    "  --out DIR      a model that the stage must have left, too\n";

/* The folder of the run that a record, RUN/stages/NAME.json or RUN/bench.json, belongs
   to; for the caller to free. */
static char *run_of(const char *record)
{
    char *run = text_format("%s", record), *name = strrchr(run, '/');
    if (!name)
        fail(record, "expected a record in the folder of its run");
    *name = '\0';
    if (text_ends(run, "/stages"))
        *strrchr(run, '/') = '\0';
    return run;
}

/* Whether the files of a run have a model in this folder. */
static bool keeps(const json_t *files, const char *run, const char *folder)
{
    size_t length = strlen(run);
    if (strncmp(folder, run, length) || folder[length] != '/')
        return false;
    char *model = text_format("%s/model.safetensors", folder + length + 1);
    bool kept = json_object_get(files, model);
    free(model);
    return kept;
}

/* Why the stage of a record is due; NULL if it is not. The caller frees it. kept: a
   folder that it must have left; NULL: none. */
static char *due_reason(const char *path, const char *key, const char *kept)
{
    if (!file_exists(path))
        return text_format("it is new");
    json_t *record = json_load_file(path, 0, NULL), *sealed = seal_read(path);
    const char *made_from = json_string_value(json_object_get(record, "key"));
    json_t *files = json_object_get(record, "files");
    char *run = run_of(path), *reason = NULL;
    /* Look for a reason in the record and its files */
    if (made_from && strcmp(made_from, key))
        reason = text_format("its record has another key");
    else if (!sealed || !made_from)
        reason = text_format("its record is damaged");
    else if (kept && !keeps(files, run, kept))
        reason = text_format("%s is to be kept", kept);
    else
        reason = trust_fault(run, files, true);
    /* Look for a reason in what the stage began with */
    json_t *from = json_object_get(record, "from");
    if (!reason && json_object_size(from) > 0) {
        json_t *left = all_left(run);
        reason = trust_origin(from, left);
        json_decref(left);
    }
    free(run);
    json_decref(record);
    json_decref(sealed);
    return reason;
}

int due_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, due_usage, "--record --key");
    char *reason = due_reason(stage.record, stage.key, stage.out);
    if (reason)
        puts(reason);
    free(reason);
    stage_close(&stage);
    return 0;
}
