/* Tangled from chapters/53-results-program.md; edit there. */
#include "results.h"
#include "benchmark.h"
#include "file.h"
#include "json.h"
#include "record.h"
#include "seal.h"
#include "trust.h"
#include "values.h"

#include <cblas.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

/* Write the summary */
/* The object at a path, "tasks/cola" say, made where there is none. */
static json_t *place(json_t *json, const char *path)
{
    for (size_t length; *path; path += length + (path[length] == '/')) {
        const char *name = say("%.*s", (int)(length = strcspn(path, "/")), path);
        if (!json_object_get(json, name))
            json_object_set_new(json, name, json_object());
        json = json_object_get(json, name);
    }
    return json;
}
#define summarise(summary, members, ...) \
    json_object_update_new(place(summary, say(__VA_ARGS__)), members)

static void summarise_finding(const struct findings *all, const struct finding *f,
                              json_t *summary)
{
    const struct sheet *sheet = f->sheet;
    const char *task = sheet ? sheet->task->name : NULL,
               *model = f->model ? f->model->name : "", *student =
                   strcmp(model, "student") ? say("students/%s", model) : "retention";
    if (f->quantity == CONSTANT_SCORE)
        summarise(summary, json_pack("{s:s, s:s, s:i, s:f}", "title", sheet->title,
                                     "metric", metric_name(sheet->task->metric),
                                     "rows", sheet->rows, "constant_answer",
                                     f->is.value), "tasks/%s", task);
    else if (f->quantity == SCORE && task)
        summarise(summary, estimate_json(&f->is, "score"), "tasks/%s/median/%s", task,
                  model);
    else if (f->quantity == CHANGE)
        summarise(summary, estimate_json(&f->is, "change"), "ablations/%s", model);
    else if (f->quantity == RETENTION && task && f->is.known)
        summarise(summary, estimate_json(&f->is, "retention"), "%s/tasks/%s", student,
                  task);
    else if (f->quantity == RETENTION && !task) {
        json_t *counted = json_array();
        const struct finding *part = NULL;
        while ((part = finding_next(all, part, RETENTION, model)))
            if (finding_counts(part, model))
                json_array_append_new(counted, json_string(part->sheet->task->name));
        summarise(summary, estimate_json(&f->is, "mean"), "%s", student);
        json_object_set_new(place(summary, student), "counted", counted);
    }
}

static void summarise_stages(const struct run *run, json_t *summary)
{
    struct words cuts = {NULL, 0};
    const char *stage, *path;
    json_t *record, *it, *told = json_array();
    size_t k;
    json_object_foreach(run->stages, stage, record) {
        json_object_update(place(summary, "settings"), json_at(record, "settings"));
        json_object_update(place(summary, "data"), json_at(record, "data"));
        json_object_set(place(summary, "seconds"), stage, json_at(record, "seconds"));
        json_array_foreach(json_at(record, "cuts"), k, it) {
            words_add(&cuts, json_string_value(it));
        }
        json_object_foreach(json_at(record, "files"), path, it) {
            if (run->plan->same_bits
                && (trust_is_weights(path) || !strncmp(path, "predictions/", 12)))
                json_object_set(place(summary, "sums"), path, it);
        }
    }
    for (int i = 0; i < cuts.count; i++)
        json_array_append_new(told, json_string(cuts.word[i]));
    json_object_set_new(summary, "cuts", told);
}

static json_t *make_summary(const struct findings *findings)
{
    const struct run *run = findings->run;
    const struct setting *now;
    json_t *summary = json_object();
    summarise_stages(run, summary);
    for (int i = 0; (now = settings_setting(run->plan->settings, i)); i++) {
        json_t *settings = place(summary, "settings");
        const char *name = say("%s.%s", now->section, now->key);
        if (strstr(" tasks models extended seeds ", say(" %s ", now->key))
            && json_object_get(settings, name))
            json_object_set_new(settings, name, json_string(now->value));
    }
    for (int i = 0; i < findings->count; i++)
        summarise_finding(findings, &findings->list[i], summary);
    for (const struct answers *a = run->answers; a->seeds; a++)
        for (int k = 0; k < a->seeds; k++)
            summarise(summary, json_pack("{s:f}", say("%d", a->seed[k]), a->scores[k]),
                      "tasks/%s/scores/%s", a->sheet->task->name, a->model->name);
    return summary;
}

/* Find a committed run on a GPU */
/* The benchmark of a committed run on a GPU, {"run": its name, "bench": …}; {} without
   one. */
static json_t *find_gpu(const char *reference)
{
    json_t *runs = json_others(reference, "bench.json", "gpu", "yes");
    void *first = json_object_iter(runs);
    json_t *gpu = first ? json_pack("{s:s, s:O}", "run", json_object_iter_key(first),
                                    "bench", json_object_iter_value(first))
                        : json_object();
    json_decref(runs);
    return gpu;
}

/* The run's benchmark and that one, as they are told. */
static json_t *tell_benches(const json_t *bench, const json_t *gpu)
{
    json_t *other = benchmark_told(json_at(gpu, "bench"));
    if (other)
        json_object_set(other, "run", json_object_get(gpu, "run"));
    return json_pack("{s:o*, s:o*}", "bench", benchmark_told(bench), "gpu", other);
}

/* Compute the results */
struct results results_compute(const char *folder, const struct plan *plan,
                               const json_t *given)
{
    static const char *const quoted[] = {"profile", "device", "date", "code"};
    struct results r = {.given = given, .run = run_open(folder, plan)};
    if (r.run->count == 0)
        fail(folder,
             "expected predictions of at least one model in predictions/, found none");
    r.told = tell_benches(r.run->bench, json_at(given, "gpu"));
    r.findings = findings_make(r.run);
    r.summary = make_summary(r.findings);
    r.settings = json_at(r.summary, "settings");
    r.verdicts = verdicts_judge(r.findings, plan->toyland, r.summary,
                                json_at(given, "references"));
    r.values = values_make(&r);
    for (int i = 0; i < 4; i++)
        value_put(r.summary, quoted[i], value_get(r.values, say("run.%s", quoted[i])));
    return r;
}

static void write_json(const char *folder, const char *name, const json_t *object)
{
    struct file_writer *writer = file_create(say("%s/%s", folder, name));
    json_dumpf(object, file_stream(writer),
               JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(10));
    fputc('\n', file_stream(writer));
    file_commit(writer);
}

void results_write(const struct results *results, const char *folder)
{
    json_t *verdicts = verdicts_json(results->verdicts, results->summary);
    write_json(folder, "summary.json", results->summary);
    write_json(folder, "verdicts.json", verdicts);
    write_json(folder, "values.json", results->values);
    tables_write(tables, results, say("%s/tables", folder));
    tables_write(plots, results, say("%s/figures", folder));
    json_decref(verdicts);
}

void results_free(struct results *results)
{
    json_decref(results->values);
    json_decref(results->summary);
    json_decref(results->told);
    verdicts_free(results->verdicts);
    findings_free(results->findings);
    run_close(results->run);
    forget();
}

/* Gather what the results are given */
/* The lines of a file as {KEY: text}, each key with a prefix; {} without the file. */
static json_t *read_pairs(const char *path, const char *prefix)
{
    json_t *pairs = json_object();
    char *text = path && file_exists(path) ? kept(file_text(path, NULL)) : NULL;
    char *line = text ? strtok(text, "\n") : NULL;
    for (; line; line = strtok(NULL, "\n")) {
        char *tab = strchr(line, '\t');
        bool has = !strncmp(line, prefix, strlen(prefix));
        if (!tab)
            fail(path, "expected a key, a tab and a text, found \"%s\"", line);
        *tab = '\0';
        value_put(pairs, say("%s%s", has ? "" : prefix, line), tab + 1);
    }
    return pairs;
}

static json_t *gather(const struct stage *stage)
{
    const char *slash = strrchr(stage->run, '/'),
               *profile = slash && slash[1] ? slash + 1 : stage->run,
               *missing = stage->keys ? say("%s/missing", stage->keys) : NULL;
    return json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:o, s:o, s:o, s:o}", "profile", profile,
        "code", *stage->key ? stage->key : "not recorded", "versions", "gcc",
        __VERSION__, "openblas", openblas_get_config(), "jansson",
        jansson_version_str(), "utf8proc", utf8proc_version(), "checks",
        read_pairs(stage->checks, "check."), "unavailable", read_pairs(missing, ""),
        "references", json_others(stage->reference, "summary.json", "profile", profile),
        "gpu", find_gpu(stage->reference));
}

/* Run the command */
static const char usage[] =
    "usage: distil results --profile FILE --run DIR [--reference DIR]\n"
    "                      [--checks FILE] [--key HASH] [--keys DIR]\n"
    "\n"
    "Computes all scores of a finished run from its predictions and writes\n"
    "summary.json, verdicts.json, values.json, tables/ and figures/ into its folder.\n"
    "\n"
    "  --profile FILE   the settings of the run\n"
    "  --run DIR        what the stages left, results/mini say\n"
    "  --reference DIR  runs to compare with, DIR/NAME/summary.json, where they are\n"
    "                   of the same profile\n"
    "  --checks FILE    figures that the tests measured, \"key TAB text\" lines\n"
    "  --key HASH       hash of the code, to be stated in the report\n"
    "  --keys DIR       has what the data step could not have\n";

/* Adds the sums of all that the results leave to files; or, where that is NULL, removes
   the tables. */
static void each_left(const struct stage *stage, json_t *files)
{
    static const char *const left[] = {"tables/*.tsv", "figures/*.tsv", "run.settings",
                                       "summary.json", "verdicts.json", "values.json"};
    glob_t found = {0};
    for (int i = 0; i < (files ? 6 : 2); i++)
        glob(say("%s/%s", stage->run, left[i]), i ? GLOB_APPEND : 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (files)
            stage_left(stage, files, found.gl_pathv[i]);
        else
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

int results_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--profile --run");
    json_t *given = gather(&stage), *files = json_object();
    struct results results = results_compute(stage.run, stage.plan, given);
    each_left(&stage, NULL);
    results_write(&results, stage.run);
    settings_write(stage.plan->settings, say("%s/run.settings", stage.run));
    each_left(&stage, files);
    json_object_set_new(given, "files", files);
    seal_write(say("%s/results.json", stage.run), given);
    printf("results: the student %s\n", retention_said(results.findings, "student"));
    results_free(&results);
    json_decref(given);
    stage_close(&stage);
    return 0;
}
