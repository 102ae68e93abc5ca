/* Tangled from chapters/48-stages.md; edit there. */
#include "record.h"
#include "fail.h"
#include "file.h"
#include "ranks.h"
#include "seal.h"
#include "sum.h"

#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Say what a record holds */
struct curve {
    const char *suffix;
    char *text; /* header and rows so far */
};

struct record {
    const struct stage *stage;
    char *name;
    long steps, first_step; /* first_step: where this process began */
    double began, before;   /* seconds: the clock at the beginning; what earlier
                               processes have spent */
    double started, part;   /* the clock when the first step began, and a part */
    double shown;           /* the clock when progress was last shown; 0: never */
    double saved;           /* the same of the curves */
    int64_t tokens;
    struct curve curves[2];
    json_t *object, *data, *cuts, *files, *from;
};

/* Open the record of a stage */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct record *record_open(const struct stage *stage, const char *name)
{
    struct record *record = allocate(1, sizeof *record);
    record->stage = stage;
    record->name = text_format("%s", name);
    record->began = now();
    record->curves[0].suffix = "";
    record->curves[1].suffix = "-validation";
    record->object = json_object();
    record->data = json_object();
    record->cuts = json_array();
    record->files = json_object();
    record->from = json_object();
    return record;
}

void record_expect(struct record *record, long steps)
{
    record->steps = steps;
    record->started = now();
}

double record_seconds(const struct record *record)
{
    return record->before + now() - record->began;
}

int64_t record_tokens(const struct record *record)
{
    return record->tokens;
}

/* Write the curves */
static char *curve_path(const struct record *record, const struct curve *curve)
{
    return stage_path(record->stage, "curves/%s%s.tsv", record->name, curve->suffix);
}

static void save(struct record *record)
{
    for (struct curve *curve = record->curves; curve < record->curves + 2; curve++) {
        if (!curve->text)
            continue;
        char *path = curve_path(record, curve);
        struct file_writer *writer = file_create(path);
        fputs(curve->text, file_stream(writer));
        file_commit(writer);
        free(path);
    }
    record->saved = now();
}

/* Add a row to a curve */
static struct curve *find_curve(struct record *record, const char *suffix)
{
    return &record->curves[*suffix ? 1 : 0];
}

static void append(char **text, char *more)
{
    char *joined = text_format("%s%s", *text ? *text : "", more);
    free(*text);
    free(more);
    *text = joined;
}

void record_row(struct record *record, const char *suffix, const char *columns,
                long step, const double *values, int count)
{
    struct curve *curve = find_curve(record, suffix);
    if (!curve->text)
        append(&curve->text, text_format("step\t%s\n", columns));
    append(&curve->text, text_format("%ld", step));
    for (int i = 0; i < count; i++)
        append(&curve->text, text_format("\t%.9g", values[i]));
    append(&curve->text, text_format("\n"));
    if (now() - record->saved >= 1 && ranks_rank() == 0)
        save(record);
}

/* Go on with the curves of an earlier process */
const char *record_curve(const struct record *record, const char *suffix)
{
    const char *text = record->curves[*suffix ? 1 : 0].text;
    return text ? text : "";
}

void record_resume(struct record *record, long step, double seconds, int64_t tokens,
                   const char *curve, const char *validation)
{
    record->first_step = step;
    record->before = seconds;
    record->tokens = tokens;
    if (*curve)
        record->curves[0].text = text_format("%s", curve);
    if (*validation)
        record->curves[1].text = text_format("%s", validation);
}

/* Copy and free a record */
struct record *record_copy(const struct record *record)
{
    struct record *copy = allocate(1, sizeof *copy);
    *copy = *record;
    copy->object = copy->data = copy->cuts = copy->files = copy->from = NULL;
    copy->name = text_format("%s", record->name);
    for (struct curve *curve = copy->curves; curve < copy->curves + 2; curve++)
        if (curve->text)
            curve->text = text_format("%s", curve->text);
    return copy;
}

void record_free(struct record *record)
{
    for (struct curve *curve = record->curves; curve < record->curves + 2; curve++)
        free(curve->text);
    json_decref(record->object);
    free(record->name);
    free(record);
}

/* Show how far a stage is */
static bool has_bar(const struct record *record)
{
    return !record->stage->lines && isatty(STDERR_FILENO) && ranks_rank() == 0;
}

/* How long the rest takes if what has been done took so many seconds; a new string. */
static char *left_text(double seconds, long done, long rest)
{
    double each = done > 0 ? seconds / (double)done : 0;
    long left = (long)(each * (double)rest + 0.5);
    if (left < 3600)
        return text_format("%ld:%02ld left", left / 60, left % 60);
    return text_format("%ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
}

static bool is_time(const struct record *record)
{
    return now() - record->shown >= (has_bar(record) ? 0.2 : 10);
}

/* Takes over what and left. */
static void show(struct record *record, long done, long whole, char *what, char *left)
{
    enum { WIDTH = 30 };
    int length = (int)(WIDTH * done / whole);
    if (has_bar(record))
        fprintf(stderr, "\r%-28s [%.*s%*s] %3ld %%  %-12s %s ", record->name, length,
                "##############################", WIDTH - length, "",
                100 * done / whole, what, left);
    else if (ranks_rank() == 0)
        fprintf(stderr, "%-28s %3ld %%  %s  %s\n", record->name, 100 * done / whole,
                what, left);
    record->shown = now();
    free(what);
    free(left);
}

void record_step(struct record *record, long step, int64_t tokens, double loss)
{
    bool last = step == record->steps;
    record->tokens += tokens;
    if (!record->shown || is_time(record) || last)
        show(record, step, record->steps, text_format("loss %.4f", loss),
             left_text(now() - record->started, step - record->first_step,
                       record->steps - step));
    if (last && has_bar(record))
        fputc('\n', stderr);
}

void record_part(struct record *record, const char *what, long done, long whole)
{
    if (!record)
        return;
    if (done == 0) {
        record->part = record->shown = now();
    } else if (done < whole && is_time(record)) {
        show(record, done, whole, text_format("%s", what),
             left_text(now() - record->part, done, whole - done));
    } else if (done == whole && has_bar(record)) {
        fprintf(stderr, "\r%*s\r", 90, "");
    }
}

/* Note facts about a stage */
void record_set(struct record *record, const char *key, json_t *value)
{
    json_object_set_new(record->object, key, value);
}

void record_cut(struct record *record, int64_t used, int64_t whole, const char *unit,
                const char *format, ...)
{
    char what[256], *part = number_text((double)used, 0);
    char *all = number_text((double)whole, 0);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    json_t *sentence = json_sprintf("%s %s of %s %s", what, part, all, unit);
    json_array_append_new(record->cuts, sentence);
    free(part);
    free(all);
}

void record_data(struct record *record, const char *path)
{
    const char *root = record->stage->data;
    size_t length = root ? strlen(root) : 0;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (length && !strncmp(path, root, length))
        name = path + length + strspn(path + length, "/");
    json_object_set_new(record->data, name, json_string(sum_file(path).digits));
}

void stage_left(const struct stage *stage, json_t *files, const char *path)
{
    size_t length = strlen(stage->run);
    if (!strncmp(path, stage->run, length) && path[length] == '/')
        json_object_set_new(files, path + length + 1,
                            json_string(sum_file(path).digits));
}

void record_left(struct record *record, const char *path)
{
    stage_left(record->stage, record->files, path);
}

void record_from(struct record *record, const char *folder)
{
    char *path = text_format("%s/model.safetensors", folder);
    stage_left(record->stage, record->from, path);
    free(path);
}

void record_left_model(struct record *record, const char *folder)
{
    static const char *const names[] = {"README.md", "config.json", "vocab.txt",
                                        "tokenizer_config.json", "model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = text_format("%s/%s", folder, names[i]);
        record_left(record, path);
        free(path);
    }
}

/* Close the record */
/* Bytes of memory at the peak of this process; Linux counts them in kilobytes. */
static json_int_t most_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024 * (json_int_t)usage.ru_maxrss : 0;
}

/* A fine-tuning has a task, a distillation a student. */
static json_t *settings_of(const struct stage *stage)
{
    enum stage_kind kind = stage->task ? FINETUNE : stage->student ? DISTILL : PRETRAIN;
    const char *model = kind == FINETUNE ? stage->name : stage->student;
    return plan_settings(stage->plan, kind, model, stage->task);
}

void record_close(struct record *record)
{
    json_t *object = record->object;
    /* Note what was run, when and on what */
    char date[16];
    time_t seconds = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d", gmtime(&seconds));
    json_object_set_new(object, "stage", json_string(record->name));
    json_object_set_new(object, "key", json_string(record->stage->key));
    json_object_set_new(object, "profile", json_string(record->stage->profile));
    json_object_set_new(object, "finished", json_string(date));
    json_object_set_new(object, "device", json_string(stage_device()));
    json_object_set_new(object, "threads", json_integer(omp_get_max_threads()));
    if (ranks_count() > 1)
        json_object_set_new(object, "ranks", json_integer(ranks_count()));
    /* Note what it took and from what it was made */
    json_object_set_new(object, "seconds", json_real(record_seconds(record)));
    json_object_set_new(object, "memory", json_integer(most_memory()));
    json_object_set_new(object, "steps", json_integer(record->steps));
    json_object_set_new(object, "tokens", json_integer(record->tokens));
    json_object_set_new(object, "settings", settings_of(record->stage));
    json_object_set_new(object, "data", record->data);
    json_object_set_new(object, "cuts", record->cuts);
    json_object_set_new(object, "files", record->files);
    json_object_set_new(object, "from", record->from);
    save(record);
    /* Note the sums of the curves */
    for (struct curve *curve = record->curves; curve < record->curves + 2; curve++) {
        char *path = curve_path(record, curve);
        if (curve->text)
            record_left(record, path);
        else
            unlink(path);
        free(path);
    }
    char *path = stage_path(record->stage, "stages/%s.json", record->name);
    seal_write(path, object);
    free(path);
    record_free(record);
}
