/* Tangled from chapters/53-results-program.md; edit there. */
#include "results.h"
#include "file.h"
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
static json_t *task_json(const struct findings *findings, const struct sheet *sheet)
{
    json_t *scores = json_object(), *medians = json_object();
    const char *task = sheet->task->name;
    for (int i = 0; i < sheet->count; i++) {
        const struct answers *a = &sheet->list[i];
        const char *model = a->model->name;
        const struct estimate median = finding_of(findings, SCORE, task, model)->is;
        json_t *seeds = json_object();
        for (int k = 0; k < a->seeds; k++)
            json_object_set_new(seeds, say("%d", a->seed[k]), json_real(a->scores[k]));
        json_object_set_new(scores, model, seeds);
        json_object_set_new(medians, model, estimate_json(&median, "score"));
    }
    return json_pack("{s:s, s:s, s:i, s:f, s:b, s:o, s:o}", "title", sheet->title,
                     "metric", metric_name(sheet->task->metric), "rows", sheet->rows,
                     "constant_answer",
                     finding_of(findings, CONSTANT_SCORE, task, NULL)->is.value,
                     "teacher_above", findings_above(findings, sheet), "scores",
                     scores, "median", medians);
}

static json_t *retention_json(const struct findings *findings, const char *model)
{
    json_t *tasks = json_object(), *counted = json_array(), *object =
        estimate_json(&finding_of(findings, RETENTION, NULL, model)->is, "mean");
    const struct finding *minutes = finding_of(findings, MINUTES, NULL, model),
                         *f = NULL;
    while ((f = finding_next(findings, f, RETENTION, model))) {
        const char *task = f->sheet ? f->sheet->task->name : NULL;
        if (task && f->is.known)
            json_object_set_new(tasks, task, estimate_json(&f->is, "retention"));
        if (finding_counts(f, model))
            json_array_append_new(counted, json_string(task));
    }
    if (minutes->is.known)
        json_object_set_new(object, "minutes", json_real(minutes->is.value));
    json_object_set_new(object, "tasks", tasks);
    json_object_set_new(object, "counted", counted);
    return object;
}

static void put_models(const struct findings *findings, json_t *summary)
{
    json_t *student = retention_json(findings, "student"), *students = json_object(),
           *ablations = json_object();
    const struct finding *f = NULL;
    while ((f = finding_next(findings, f, RETENTION, NULL)))
        if (!f->sheet && strcmp(f->model->name, "student"))
            json_object_set_new(students, f->model->name,
                                retention_json(findings, f->model->name));
    while ((f = finding_next(findings, f, CHANGE, NULL)))
        json_object_set_new(ablations, f->model->name, estimate_json(&f->is, "change"));
    json_object_set_new(student, "confidence", json_real(0.95));
    json_object_set_new(student, "resamples", json_integer(RESAMPLES));
    json_object_set_new(student, "sentence",
                        json_string(retention_said(findings, "student")));
    json_object_set_new(summary, "retention", student);
    json_object_set_new(summary, "students", students);
    json_object_set_new(summary, "ablations", ablations);
}

/* {path in the run's folder: sum}; NULL where no bits are promised. */
static json_t *promised_sums(const struct run *run)
{
    json_t *record, *sum, *sums = run->plan->same_bits ? json_object() : NULL;
    const char *path;
    for (int i = 0; sums && i < run->plan->stage_count; i++) {
        record = json_object_get(run->stages, run->plan->stages[i].name);
        json_object_foreach(json_object_get(record, "files"), path, sum) {
            if (trust_is_weights(path) || !strncmp(path, "predictions/", 12))
                json_object_set(sums, path, sum);
        }
    }
    return sums;
}

static json_t *make_summary(const struct results *r)
{
    struct words all_cuts = values_cuts(r->run);
    const char *name;
    json_t *record, *seconds = json_object(), *data = json_object(),
                    *tasks = json_object(), *cuts = json_array();
    json_object_foreach(r->run->stages, name, record) {
        json_object_update(data, json_object_get(record, "data"));
        json_object_set(seconds, name, json_object_get(record, "seconds"));
    }
    for (int i = 0; i < all_cuts.count; i++)
        json_array_append_new(cuts, json_string(all_cuts.word[i]));
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++)
        json_object_set_new(tasks, sheet->task->name, task_json(r->findings, sheet));
    json_t *summary = json_pack(
        "{s:O*, s:O*, s:O, s:o, s:o, s:o, s:o, s:b, s:o*}", "versions",
        json_object_get(r->given, "versions"), "models",
        json_object_get(r->run->bench, "models"), "settings", r->settings, "data", data,
        "seconds", seconds, "cuts", cuts, "tasks", tasks, "distilled",
        r->findings->student != UNTAUGHT, "sums", promised_sums(r->run));
    put_models(r->findings, summary);
    return summary;
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
    json_decref(results->settings);
    verdicts_free(results->verdicts);
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

/* Find a committed run on a GPU */
/* The benchmark of a committed run on a GPU, {"run": its name, "bench": …}; {} without
   one. */
static json_t *find_gpu(const char *reference)
{
    json_t *runs = run_others(reference, "bench.json", "gpu", "yes"), *gpu;
    void *first = json_object_iter(runs);
    gpu = first ? json_pack("{s:s, s:O}", "run", json_object_iter_key(first), "bench",
                            json_object_iter_value(first))
                : json_object();
    json_decref(runs);
    return gpu;
}

/* Gather what the results are given */
/* The lines of a file as {KEY: text}; {} without the file. */
static json_t *read_pairs(const char *path)
{
    json_t *pairs = json_object();
    char *text = path && file_exists(path) ? kept(file_text(path, NULL)) : NULL;
    char *line = text ? strtok(text, "\n") : NULL;
    for (; line; line = strtok(NULL, "\n")) {
        char *tab = strchr(line, '\t');
        if (!tab)
            fail(path, "expected a key, a tab and a text, found \"%s\"", line);
        *tab = '\0';
        value_put(pairs, line, tab + 1);
    }
    return pairs;
}

static json_t *gather(const struct stage *stage)
{
    const char *slash = strrchr(stage->run, '/'), *key,
               *profile = slash && slash[1] ? slash + 1 : stage->run;
    json_t *text, *checks = json_object(), *unavailable = json_array(),
                  *measured = read_pairs(stage->checks),
                  *missing = read_pairs(stage->keys ? say("%s/missing", stage->keys)
                                                    : NULL);
    json_object_foreach(measured, key, text) {
        const char *prefix = strncmp(key, "check.", 6) ? "check." : "";
        json_object_set(checks, say("%s%s", prefix, key), text);
    }
    json_object_foreach(missing, key, text) {
        json_array_append(unavailable, text);
    }
    json_decref(measured);
    json_decref(missing);
    return json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:o, s:o, s:o, s:o}", "profile", profile,
        "code", *stage->key ? stage->key : "not recorded", "versions", "gcc",
        __VERSION__, "openblas", openblas_get_config(), "jansson",
        jansson_version_str(), "utf8proc", utf8proc_version(), "checks", checks,
        "unavailable", unavailable, "references",
        run_others(stage->reference, "summary.json", "profile", profile), "gpu",
        find_gpu(stage->reference));
}

/* Leave what the results were computed from */
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

static void leave_grounds(const struct stage *stage, json_t *given)
{
    static const char *const patterns[] = {"run.settings", "summary.json",
                                           "verdicts.json", "values.json",
                                           "tables/*.tsv", "figures/*.tsv"};
    json_t *files = json_object();
    settings_write(stage->plan->settings, say("%s/run.settings", stage->run));
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        each_file(stage, patterns[i], files);
    json_object_set_new(given, "files", files);
    seal_write(say("%s/results.json", stage->run), given);
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

int results_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--profile --run");
    json_t *given = gather(&stage);
    struct results results = results_compute(stage.run, stage.plan, given);
    each_file(&stage, "tables/*.tsv", NULL);
    each_file(&stage, "figures/*.tsv", NULL);
    results_write(&results, stage.run);
    leave_grounds(&stage, given);
    printf("results: the student %s\n", retention_said(results.findings, "student"));
    results_free(&results);
    json_decref(given);
    stage_close(&stage);
    return 0;
}
