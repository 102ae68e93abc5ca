/* Tangled from chapters/59-trust.md; edit there. */
#include "verify.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "results.h"
#include "seal.h"
#include "stage.h"
#include "sum.h"
#include "trust.h"
#include "verdicts.h"

#include <dirent.h>
#include <glob.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Refuse a run */
/* A run that is being verified. */
struct trial {
    const char *folder;
    bool weights;
    const char *code; /* the hash of the code at hand; "": not known */
    json_t *files; /* all that its stages left, and their records, {path: sum} */
    json_t *from;  /* what each record was made from, {record: {path: sum}} */
    int stages, scores;
};

__attribute__((noreturn, format(printf, 3, 4)))
static void refuse(const struct trial *t, const char *name, const char *format, ...)
{
    char fault[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault, sizeof fault, format, arguments);
    va_end(arguments);
    char *path = text_format("%s/%s", t->folder, name);
    fail(path, "%s; %s", fault,
         t->weights ? "make report, with the PROFILE of the run, makes it again"
                    : "ask for the archive again");
}

/* Hold the stages to their records */
/* Takes in the files of one record. */
static void hold_record(struct trial *t, const char *name)
{
    char *path = text_format("%s/%s", t->folder, name);
    json_t *record = seal_read(path);
    if (!record)
        refuse(t, name, file_exists(path) ? "is damaged" : "is missing");
    json_t *files = json_object_get(record, "files");
    if (!json_is_object(files))
        refuse(t, name, "does not say what its stage left");
    char *fault = trust_fault(t->folder, files, t->weights);
    if (fault)
        refuse(t, name, "%s", fault);
    /* Put the files of the record onto the list */
    json_object_update(t->files, files);
    json_object_set_new(t->files, name, json_string(sum_file(path).digits));
    if (json_object_get(record, "from"))
        json_object_set(t->from, name, json_object_get(record, "from"));
    json_decref(record);
    free(path);
}

/* Refuses a table that the results would take and no stage has left. */
static void refuse_stray(const struct trial *t, char *name)
{
    char *path = text_format("%s/%s.tsv", t->folder, name),
         *file = text_format("%s.tsv", name);
    if (file_exists(path) && !json_object_get(t->files, file))
        fail(path, "is of no stage: no record tells of it; remove it");
    free(file);
    free(path);
    free(name);
}

/* The same of all that may be a stage's: its curves, and predictions. */
static void refuse_strays(const struct trial *t, const struct planned_stage *stage)
{
    char *record = text_format("stages/%s.json", stage->name);
    if (json_object_get(t->files, record)) {
        refuse_stray(t, text_format("curves/%s", stage->name));
        refuse_stray(t, text_format("curves/%s-validation", stage->name));
    }
    free(record);
    /* Refuse predictions that no stage has left */
    const char *trained = stage->kind == FINETUNE ? stage->task->task->name : "";
    for (const struct task *task = task_list; task->name; task++)
        if (!strcmp(task->name, trained) || (task->of && !strcmp(task->of, trained)))
            refuse_stray(t, text_format("predictions/%s-%s-%d", task->name,
                                        stage->model->name, stage->seed));
}

static void hold_stages(struct trial *t, const struct plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        char *name = text_format("stages/%s.json", plan->stages[i].name),
             *path = text_format("%s/%s", t->folder, name);
        if (file_exists(path)) {
            hold_record(t, name);
            t->stages++;
        }
        free(name);
        free(path);
    }
    /* Hold the benchmark to its record */
    char *bench = text_format("%s/bench.json", t->folder);
    if (file_exists(bench))
        hold_record(t, "bench.json");
    free(bench);
    /* Hold the stages to what they were made from */
    const char *name;
    json_t *from;
    json_object_foreach(t->from, name, from) {
        char *fault = trust_origin(from, t->files);
        if (fault)
            refuse(t, name, "%s", fault);
    }
    for (int i = 0; i < plan->stage_count; i++)
        refuse_strays(t, &plan->stages[i]);
}

/* Find a number that differs */
static char *difference(const json_t *stated, const json_t *found, const char *path);

/* The first difference between the members of two objects. */
static char *member_difference(const json_t *stated, const json_t *found,
                               const char *path)
{
    const char *key;
    json_t *value, *all = json_copy((json_t *)found);
    char *fault = NULL;
    json_object_update(all, (json_t *)stated);
    json_object_foreach(all, key, value) {
        char *at = text_format("%s%s%s", path, *path ? "." : "", key);
        if (!fault)
            fault = difference(json_object_get(stated, key),
                               json_object_get(found, key), at);
        free(at);
    }
    json_decref(all);
    return fault;
}

static bool same_number(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

/* The value as people read it; for the caller to free. */
static char *value_text(const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT
                                    | JSON_REAL_PRECISION(10)) : NULL;
    return text ? text : text_format("nothing");
}

/* "tasks.cola.rows is 41, but 40 comes out" for the first value in which the two
   differ; NULL if they do not. The caller frees it. path: where they stand. */
static char *difference(const json_t *stated, const json_t *found, const char *path)
{
    if (json_is_number(stated) && json_is_number(found)
        && same_number(json_number_value(stated), json_number_value(found)))
        return NULL;
    if (json_is_object(stated) && json_is_object(found))
        return member_difference(stated, found, path);
    if (json_is_array(stated) && json_array_size(stated) == json_array_size(found)) {
        /* Find an element that differs */
        char *fault = NULL;
        for (size_t i = 0; !fault && i < json_array_size(stated); i++) {
            char *at = text_format("%s.%zu", path, i);
            fault = difference(json_array_get(stated, i), json_array_get(found, i), at);
            free(at);
        }
        return fault;
    }
    if (json_equal(stated, found))
        return NULL;
    /* Say which two values differ */
    char *a = value_text(stated), *b = value_text(found);
    char *text = text_format("%s is %s, but %s comes out", path, a, b);
    free(a);
    free(b);
    return text;
}

/* Compute the results again */
/* What differs between a file of the run and the same one computed again; NULL if
   nothing does. The caller frees it. */
static char *file_difference(const struct trial *t, const char *again, const char *name)
{
    char *path = text_format("%s/%s", t->folder, name),
         *other = text_format("%s/%s", again, name), *fault = NULL;
    if (!file_exists(other)) {
        fault = text_format("is not among what comes out of the run");
    } else if (text_ends(name, ".json")) {
        json_t *stated = json_read(path), *found = json_read(other);
        fault = difference(stated, found, "");
        json_decref(stated);
        json_decref(found);
    } else if (strcmp(sum_file(path).digits, sum_file(other).digits)) {
        fault = text_format("is not what comes out of the predictions");
    }
    free(path);
    free(other);
    return fault;
}

/* Removes a folder that the results were written into. */
static void remove_again(const char *again)
{
    static const char *const parts[] = {"/tables/*", "/figures/*", "/*", ""};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *pattern = text_format("%s%s", again, parts[i]);
        glob_t found;
        if (glob(pattern, 0, NULL, &found) == 0) {
            for (size_t j = 0; j < found.gl_pathc; j++)
                remove(found.gl_pathv[j]);
            globfree(&found);
        }
        free(pattern);
    }
}

/* Takes over the results. Refuses the run at the first file that differs. given: as in
   results.json. */
static void hold_results(const struct trial *t, struct results *results,
                         const json_t *given)
{
    const char *code = json_string_value(json_object_get(given, "code"));
    const char *place = getenv("TMPDIR"), *name;
    char *again = text_format("%s/distil-XXXXXX", place ? place : "/tmp"),
         *fault = NULL, *where = NULL;
    json_t *sum;
    if (!mkdtemp(again))
        fail(again, "cannot be made a folder");
    results_write(results, again);
    /* Find the first file of the results that differs */
    json_object_foreach(json_object_get(given, "files"), name, sum) {
        if (!fault && strcmp(name, "run.settings")
            && (fault = file_difference(t, again, name)))
            where = text_format("%s", name);
    }
    remove_again(again);
    /* Refuse the run for a file that differs */
    if (fault && *t->code && code && strcmp(code, t->code))
        refuse(t, where, "%s by this code, %s, and the run is of %s", fault, t->code,
               code);
    if (fault)
        refuse(t, where, "%s", fault);
    results_free(results);
    free(again);
}

/* Verify a run */
static int count_scores(const struct run *run)
{
    int scores = 0;
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++)
            scores += run->sheets[i].list[j].seeds;
    return scores;
}

/* Refuses results that name none of what they are. */
static void expect_results(const struct trial *t, const json_t *files)
{
    static const char *const names[] = {"run.settings", "summary.json", "verdicts.json",
                                        "values.json", "tables/scores.tsv",
                                        "figures/scores.tsv"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!json_object_get(files, names[i]))
            refuse(t, "results.json", "does not tell of %s", names[i]);
}

json_t *verify_run(const char *folder, bool weights, const char *code)
{
    struct trial t = {.folder = folder, .weights = weights, .code = code,
                      .files = json_object(), .from = json_object()};
    char *path = text_format("%s/results.json", folder),
         *profile = text_format("%s/run.settings", folder);
    hold_record(&t, "results.json");
    expect_results(&t, t.files);
    json_t *given = json_read(path), *files = json_object_get(given, "files");
    struct plan *plan = plan_open(settings_open(profile));
    hold_stages(&t, plan);
    /* Hold the numbers to what comes out of the predictions */
    struct results results = results_compute(folder, plan, given);
    t.scores = count_scores(results.run);
    hold_results(&t, &results, given);
    printf("%d stages, %zu files: as recorded\n%d scores, %zu tables: as computed "
           "again from the predictions\n",
           t.stages, json_object_size(t.files), t.scores, json_object_size(files) - 4);
    plan_close(plan);
    json_decref(given);
    json_decref(t.from);
    free(profile);
    free(path);
    return t.files;
}

/* Hold a packed run to its list */
/* Read a list of sums */
/* {name: sum} of the lines "SUM  NAME" of a file; the caller releases it. */
static json_t *read_sums(const char *path)
{
    json_t *sums = json_object();
    char *text = file_text(path, NULL);
    int number = 0;
    for (char *line = text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        number++;
        /* Take sum and name from a line */
        bool whole = *next == '\n' && strspn(line, "0123456789abcdef") == SUM_DIGITS
                     && !strncmp(line + SUM_DIGITS, "  ", 2);
        if (!whole)
            fail(path, "line %d: expected a SHA-256, two spaces and a file", number);
        *next++ = '\0';
        line[SUM_DIGITS] = '\0';
        if (json_object_set_new(sums, line + SUM_DIGITS + 2, json_string(line)) != 0)
            fail(path, "line %d: expected a name in UTF-8", number);
    }
    free(text);
    return sums;
}

/* Hold the description to the sums */
/* Refuses a description, ro-crate-metadata.json, that has other sums than the list, or
   none of a file. */
static void expect_described(const struct trial *t, const json_t *sums)
{
    static const char name[] = "ro-crate-metadata.json";
    char *path = text_format("%s/%s", t->folder, name);
    json_t *crate = json_read(path), *graph = json_object_get(crate, "@graph");
    size_t described = 0;
    for (size_t i = 0; i < json_array_size(graph); i++) {
        /* Hold an entity to the list */
        json_t *entity = json_array_get(graph, i);
        const char *id = json_string_value(json_object_get(entity, "@id"));
        json_t *sum = json_object_get(entity, "sha256");
        if (!id || !sum || *id == '#')
            continue;
        if (!json_equal(sum, json_object_get(sums, id)))
            refuse(t, name, "has another sum of %s than SHA256SUMS", id);
        described++;
    }
    if (described + 1 != json_object_size(sums))
        refuse(t, name, "describes %zu files of %zu", described,
               json_object_size(sums) - 1);
    json_decref(crate);
    free(path);
}

/* See that the list is complete */
/* Refuses a file below the folder that the list does not have. below: where to look,
   "" or "tables/". */
static void expect_all(const struct trial *t, const json_t *sums, const char *below)
{
    char *folder = text_format("%s/%s", t->folder, below);
    DIR *stream = opendir(folder);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        char *name = text_format("%s%s", below, entry->d_name),
             *path = text_format("%s%s", folder, entry->d_name);
        /* Look for an entry in the list */
        struct stat status;
        bool self = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")
                    || !strcmp(name, "SHA256SUMS");
        if (!self && lstat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
            char *inside = text_format("%s/", name);
            expect_all(t, sums, inside);
            free(inside);
        } else if (!self && !json_object_get(sums, name)) {
            refuse(t, name, "is not in SHA256SUMS");
        }
        free(name);
        free(path);
    }
    if (stream)
        closedir(stream);
    free(folder);
}

/* Hold a folder to its list */
/* Holds a folder to its SHA256SUMS. */
static void hold_list(struct trial *t)
{
    char *path = text_format("%s/SHA256SUMS", t->folder);
    json_t *sums = read_sums(path);
    char *fault = trust_fault(t->folder, sums, true);
    if (fault)
        refuse(t, "SHA256SUMS", "%s, or its line here is", fault);
    expect_all(t, sums, "");
    expect_described(t, sums);
    printf("%zu files: as SHA256SUMS has them\n", json_object_size(sums));
    json_decref(sums);
    free(path);
}

/* Run the command that verifies */
static const char usage[] =
    "usage: distil verify --run DIR [--key HASH]\n"
    "\n"
    "Holds a run to its own records: each file that a stage left to its sum, and\n"
    "each result to what comes out when it is computed again from the predictions;\n"
    "a packed run, which has no models, also to its SHA256SUMS. Then prints the\n"
    "verdicts. Nothing is trained.\n"
    "\n"
    "  --run DIR   a finished run, results/mini say, or one that was unpacked\n"
    "  --key HASH  hash of the code at hand, to be told where results differ\n";

int verify_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--run");
    char *list = stage_path(&stage, "SHA256SUMS");
    bool packed = file_exists(list);
    struct trial trial = {.folder = stage.run};
    if (packed)
        hold_list(&trial);
    json_decref(verify_run(stage.run, !packed, stage.key));
    verdicts_print(stage.run);
    free(list);
    stage_close(&stage);
    return 0;
}
