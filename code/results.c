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

/* Merge the settings of all stages */
/* {"section.key": "value"} of what the stages used; the caller releases it. */
static json_t *merge_settings(const struct run *run)
{
    static const char *const lists[] = {"tasks", "models", "extended", "seeds"};
    const struct setting *now;
    const char *stage;
    json_t *record, *settings = json_object();
    json_object_foreach(run->stages, stage, record) {
        json_object_update(settings, json_object_get(record, "settings"));
    }
    for (int i = 0; (now = settings_setting(run->plan->settings, i)); i++)
        for (size_t j = 0; j < sizeof lists / sizeof *lists; j++) {
            const char *name = say("%s.%s", now->section, now->key);
            if (!strcmp(now->key, lists[j]) && json_object_get(settings, name))
                json_object_set_new(settings, name, json_string(now->value));
        }
    return settings;
}

/* Write the summary */
/* Puts a value at a path, "tasks/cola/title" say. */
static void put_at(json_t *json, const char *path, json_t *value)
{
    const char *slash = strchr(path, '/');
    if (!slash) {
        json_object_set_new(json, path, value);
        return;
    }
    const char *first = say("%.*s", (int)(slash - path), path);
    if (!json_object_get(json, first))
        json_object_set_new(json, first, json_object());
    put_at(json_object_get(json, first), slash + 1, value);
}
#define summarise(summary, value, ...) put_at(summary, say(__VA_ARGS__), value)

static void summarise_task(const struct findings *findings, const struct sheet *sheet,
                           json_t *tasks)
{
    const char *task = sheet->task->name;
    json_object_set_new(
        tasks, task,
        json_pack("{s:s, s:s, s:i, s:f, s:b}", "title", sheet->title, "metric",
                  metric_name(sheet->task->metric), "rows", sheet->rows,
                  "constant_answer",
                  finding_of(findings, CONSTANT_SCORE, task, NULL)->is.value,
                  "teacher_above", findings_above(findings, sheet)));
    for (const struct answers *a = sheet->list; a < sheet->list + sheet->count; a++) {
        const char *model = a->model->name;
        const struct finding *median = finding_of(findings, SCORE, task, model);
        summarise(tasks, estimate_json(&median->is, "score"), "%s/median/%s", task,
                  model);
        for (int k = 0; k < a->seeds; k++)
            summarise(tasks, json_real(a->scores[k]), "%s/scores/%s/%d", task, model,
                      a->seed[k]);
    }
}

static void summarise_models(const struct findings *findings, json_t *summary)
{
    const struct finding *f = NULL, *part = NULL;
    while ((f = finding_next(findings, f, RETENTION, NULL))) {
        const char *model = f->model->name;
        bool first = !strcmp(model, "student");
        if (f->sheet)
            continue;
        json_t *mean = estimate_json(&f->is, "mean"), *counted = json_array();
        const struct estimate took = finding_of(findings, MINUTES, NULL, model)->is;
        json_object_set_new(mean, "tasks", json_object());
        json_object_set_new(mean, "counted", counted);
        if (took.known)
            json_object_set_new(mean, "minutes", json_real(took.value));
        while ((part = finding_next(findings, part, RETENTION, model))) {
            const char *task = part->sheet ? part->sheet->task->name : NULL;
            if (task && part->is.known)
                summarise(mean, estimate_json(&part->is, "retention"), "tasks/%s",
                          task);
            if (finding_counts(part, model))
                json_array_append_new(counted, json_string(task));
        }
        summarise(summary, mean, first ? "retention" : "students/%s", model);
    }
    while ((f = finding_next(findings, f, CHANGE, NULL)))
        summarise(summary, estimate_json(&f->is, "change"), "ablations/%s",
                  f->model->name);
    summarise(summary, json_real(0.95), "retention/confidence");
    summarise(summary, json_integer(RESAMPLES), "retention/resamples");
    summarise(summary, json_string(retention_said(findings, "student")),
              "retention/sentence");
}

static json_t *make_summary(const struct results *r)
{
    struct words cuts = {NULL, 0};
    json_t *seconds = json_object(), *data = json_object(), *tasks = json_object(),
           *told = json_array(), *sum, *cut,
           *sums = r->run->plan->same_bits ? json_object() : NULL;
    for (int i = 0; i < r->run->plan->stage_count; i++) {
        const char *stage = r->run->plan->stages[i].name, *path;
        const json_t *record = json_object_get(r->run->stages, stage);
        size_t k;
        json_object_update(data, json_object_get(record, "data"));
        json_object_set(seconds, stage, json_object_get(record, "seconds"));
        json_array_foreach(json_object_get(record, "cuts"), k, cut) {
            words_add(&cuts, json_string_value(cut));
        }
        json_object_foreach(json_object_get(record, "files"), path, sum) {
            if (trust_is_weights(path) || !strncmp(path, "predictions/", 12))
                json_object_set(sums, path, sum);
        }
    }
    for (int i = 0; i < cuts.count; i++)
        json_array_append_new(told, json_string(cuts.word[i]));
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++)
        summarise_task(r->findings, sheet, tasks);
    json_t *summary = json_pack(
        "{s:O*, s:O*, s:O, s:o, s:o, s:o, s:o, s:b, s:o*, s:{}, s:{}}", "versions",
        json_object_get(r->given, "versions"), "models",
        json_object_get(r->run->bench, "models"), "settings", r->settings, "data", data,
        "seconds", seconds, "cuts", told, "tasks", tasks, "distilled",
        r->findings->student != UNTAUGHT, "sums", sums, "students", "ablations");
    summarise_models(r->findings, summary);
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
    r.settings = merge_settings(r.run);
    r.told = tell_benches(r.run->bench, json_at(given, "gpu"));
    r.findings = findings_make(r.run);
    r.summary = make_summary(&r);
    r.verdicts = verdicts_judge(r.findings, plan->toyland, r.summary,
                                json_object_get(given, "references"));
    r.values = values_make(&r);
    for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++)
        json_object_set_new(r.summary, quoted[i],
                            json_string(value_get(r.values, say("run.%s", quoted[i]))));
    return r;
}

void results_free(struct results *results)
{
    json_decref(results->values);
    json_decref(results->summary);
    json_decref(results->told);
    json_decref(results->settings);
    findings_free(results->findings);
    run_close(results->run);
    forget();
}

static void write_json(const char *folder, const char *name, const json_t *object)
{
    struct file_writer *writer = file_create(say("%s/%s", folder, name));
    json_dumpf(object, file_stream(writer),
               JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(10));
    fputc('\n', file_stream(writer));
    file_commit(writer);
}

static void write_tables(const struct results *r, const char *folder,
                         const struct table *table)
{
    for (; table->name; table++) {
        struct file_writer *w = file_create(say("%s/%s.tsv", folder, table->name));
        table_write(table, r, file_stream(w));
        file_commit(w);
    }
}

void results_write(const struct results *results, const char *folder)
{
    json_t *verdicts = verdicts_json(results->verdicts, results->summary);
    write_json(folder, "summary.json", results->summary);
    write_json(folder, "verdicts.json", verdicts);
    write_tables(results, say("%s/tables", folder), tables);
    write_tables(results, say("%s/figures", folder), plots);
    write_json(folder, "values.json", results->values);
    json_decref(verdicts);
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

/* Adds the sums of the files of a run that a pattern names to files; or removes them,
   where files is NULL. */
static void each_file(const struct stage *stage, const char *pattern, json_t *files)
{
    glob_t found;
    if (glob(say("%s/%s", stage->run, pattern), 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (files)
            stage_left(stage, files, found.gl_pathv[i]);
        else
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

int results_main(int argc, char **argv)
{
    static const char *const left[] = {"tables/*.tsv", "figures/*.tsv", "run.settings",
                                       "summary.json", "verdicts.json", "values.json"};
    struct stage stage = stage_open(argc, argv, usage, "--profile --run");
    json_t *given = gather(&stage), *files = json_object();
    struct results results = results_compute(stage.run, stage.plan, given);
    for (int i = 0; i < 2; i++)
        each_file(&stage, left[i], NULL);
    results_write(&results, stage.run);
    settings_write(stage.plan->settings, say("%s/run.settings", stage.run));
    for (int i = 0; i < 6; i++)
        each_file(&stage, left[i], files);
    json_object_set_new(given, "files", files);
    seal_write(say("%s/results.json", stage.run), given);
    printf("results: the student %s\n", retention_said(results.findings, "student"));
    results_free(&results);
    json_decref(given);
    stage_close(&stage);
    return 0;
}
