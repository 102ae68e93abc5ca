/* Tangled from chapters/56-results.md; edit there. */
#include "results.h"
#include "fail.h"
#include "file.h"
#include "model.h"
#include "record.h"
#include "seal.h"
#include "stage.h"
#include "tables.h"
#include "values.h"
#include "verdicts.h"

#include <cblas.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

/* Set values from any JSON */
static void set_flat(json_t *values, const json_t *json, const char *key)
{
    const char *name;
    json_t *member;
    if (json_is_object(json)) {
        json_object_foreach((json_t *)json, name, member) {
            char *path = text_format("%s.%s", key, name);
            set_flat(values, member, path);
            free(path);
        }
    } else if (json_is_integer(json)) {
        value_take(values, number_text((double)json_integer_value(json), 0), "%s", key);
    } else if (json_is_real(json)) {
        value_take(values, significant_text(json_real_value(json)), "%s", key);
    } else if (json_is_string(json)) {
        value_set(values, json_string_value(json), "%s", key);
    }
}

static double record_number(const json_t *record, const char *key)
{
    return json_number_value(json_object_get(record, key));
}

/* Set a value to a list of words */
static void set_list(json_t *values, const json_t *words, const char *key)
{
    const char *word;
    json_t *unused;
    size_t left = json_object_size(words);
    char *list = text_format("%s", "");
    json_object_foreach((json_t *)words, word, unused) {
        char *longer = list_text(list, word, --left == 0);
        free(list);
        list = longer;
    }
    value_take(values, list, "%s", key);
}
/* "0 2 4" becomes "0, 2 and 4". Returns how many words there are. */
static int set_words(json_t *values, const char *text, const char *key)
{
    int count = 0;
    json_t *words = json_object();
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        char *word = text_format("%.*s", (int)strcspn(text, " "), text);
        json_object_set_new(words, word, json_true());
        text += strlen(word);
        count++;
        free(word);
    }
    set_list(values, words, key);
    json_decref(words);
    return count;
}

/* "0 2" becomes "layers 0 and 2", "0" becomes "layer 0". */
static void set_numbered(json_t *values, const char *text, const char *what,
                         const char *key)
{
    int count = set_words(values, text, key);
    value_take(values,
               text_format("%s%s %s", what, count == 1 ? "" : "s",
                           value_get(values, "%s", key)),
               "%s", key);
}

/* Say which software it was */
static json_t *find_versions(void)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "gcc", __VERSION__, "openblas",
                     openblas_get_config(), "jansson", jansson_version_str(),
                     "utf8proc", utf8proc_version());
}

/* Sets a value for each text of an object. */
static void set_texts(const json_t *texts, const char *prefix, json_t *values)
{
    const char *name;
    json_t *text;
    json_object_foreach((json_t *)texts, name, text) {
        if (json_is_string(text))
            value_set(values, json_string_value(text), "%s%s", prefix, name);
    }
}

/* Merge the settings of all stages */
/* {"section.key": "value"} of what the stages used; the caller releases it. */
static json_t *merge_settings(const struct run *run, const struct plan *plan)
{
    const char *name;
    json_t *record, *settings = json_object(), *now = json_object();
    json_object_foreach(run->stages, name, record) {
        json_object_update(settings, json_object_get(record, "settings"));
    }
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].kind == FINETUNE) {
            const struct planned_stage *stage = &plan->stages[i];
            json_t *own = plan_settings(plan, FINETUNE, stage->model->name,
                                        stage->task->task->name);
            json_object_update(now, own);
            json_decref(own);
        }
    json_object_update_existing(settings, now);
    json_decref(now);
    return settings;
}

/* Tell the long settings in a sentence */
static void set_long_settings(json_t *values)
{
    const char *key;
    json_t *value, *list = json_object();
    json_object_foreach(values, key, value) {
        if (strncmp(key, "setting.", 8) || json_string_length(value) <= SHORT_SETTING)
            continue;
        char *text = text_format("%s = %s", key + 8, json_string_value(value));
        json_object_set_new(list, text, json_true());
        free(text);
    }
    if (json_object_size(list) == 0)
        json_object_set_new(list, "none", json_true());
    set_list(values, list, "settings.long");
    json_decref(list);
}

/* Say where the numbers come from */
static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void set_provenance(const struct run *run, const struct plan *plan,
                           const json_t *given, json_t *values)
{
    const char *name, *date = "";
    json_t *record, *devices = json_object();
    json_object_foreach(run->stages, name, record) {
        const char *finished = json_string_value(json_object_get(record, "finished"));
        const char *device = json_string_value(json_object_get(record, "device"));
        if (finished && strcmp(finished, date) > 0)
            date = finished;
        if (device)
            json_object_set_new(devices, device, json_true());
        /* Quote the record of a stage that is not one of many */
        if (strncmp(name, "finetune-", 9)) {
            char *key = text_format("stage.%s", name);
            json_t *copy = json_copy(record);
            for (const char *const *part =
                     (const char *const[]){"settings", "data", "files", "from", "sum", NULL};
                 *part; part++)
                json_object_del(copy, *part);
            set_flat(values, copy, key);
            json_decref(copy);
            free(key);
        }
    }
    for (const char *const *key = (const char *const[]){"profile", "code", NULL}; *key;
         key++) {
        const char *text = json_string_value(json_object_get(given, *key));
        value_set(values, text ? text : "not recorded", "run.%s", *key);
    }
    value_set(values, *date ? date : "a day not recorded", "run.date");
    value_set(values, plan->toyland ? "toyland" : "real", "run.data");
    set_list(values, devices, "run.device");
    json_decref(devices);
    set_texts(json_object_get(given, "versions"), "version.", values);
    set_long_settings(values);
}

/* Say what the teacher and the student are */
static void set_shape(const struct run *run, const char *model, json_t *values)
{
    char *folder = text_format("%s/models/%s", run->folder, model);
    char *config = text_format("%s/config.json", folder);
    bool known = file_exists(config);
    struct shape shape = known ? model_shape(folder) : (struct shape){.layers = 0};
    value_take(values, known ? number_text(shape.layers, 0) : text_format("–"),
               "%s.layers", model);
    value_take(values, known ? number_text(shape.width, 0) : text_format("–"),
               "%s.width", model);
    free(config);
    free(folder);
}

static void set_models(const struct run *run, const struct plan *plan, json_t *values)
{
    static const struct {
        const char *beginning, *origin;
    } origins[] = {
        {"from scratch", "trained from scratch for this report"},
        {"given a head", "published, with a masked-word head trained for this report"},
        {"adopted", "taken as it is published"}};
    const json_t *teacher = json_object_get(run->stages, "teacher");
    const char *beginning = json_string_value(json_object_get(teacher, "beginning"));
    value_set(values, "of an origin that was not recorded", "teacher.origin");
    for (size_t i = 0; beginning && i < sizeof origins / sizeof *origins; i++)
        if (!strcmp(origins[i].beginning, beginning))
            value_set(values, origins[i].origin, "teacher.origin");
    value_set(values, beginning && !strcmp(beginning, "from scratch") ? "yes" : "no",
              "teacher.scratch");
    double millions = 1e-6 * record_number(teacher, "tokens");
    value_take(values, number_text(millions, millions < 1 ? 1 : 0), "teacher.millions");
    value_take(values, number_text(record_number(teacher, "seconds") / 60, 1),
               "teacher.minutes");
    set_shape(run, "teacher", values);
    set_shape(run, "student", values);
    value_take(values, count_text(value_get(values, "teacher.layers"), "layer"),
               "teacher.depth");
    value_take(values, count_text(value_get(values, "student.layers"), "layer"),
               "student.depth");
    set_numbered(values, settings_text(plan->settings, "student distill", "layers"), "layer",
                 "student.from");
}

/* Note what was cut and what is missing */
/* What the stages left out, each sentence once. */
static json_t *list_cuts(const struct run *run)
{
    const char *name;
    json_t *record, *seen = json_object(), *cuts = json_array();
    json_object_foreach(run->stages, name, record) {
        json_t *list = json_object_get(record, "cuts");
        for (size_t i = 0; i < json_array_size(list); i++) {
            json_t *cut = json_array_get(list, i);
            if (!json_object_get(seen, json_string_value(cut)))
                json_array_append(cuts, cut);
            json_object_set_new(seen, json_string_value(cut), json_true());
        }
    }
    json_decref(seen);
    return cuts;
}

/* At most so many cuts in a row; and how many more there are. */
static char *cuts_text(const json_t *cuts, size_t most)
{
    size_t count = json_array_size(cuts);
    char *text = text_format("%s", "");
    for (size_t i = 0; i < count && i < most; i++) {
        char *longer = text_format("%s%s%s", text, i ? "; " : "",
                                   json_string_value(json_array_get(cuts, i)));
        free(text);
        text = longer;
    }
    if (count <= most)
        return text;
    char *longer = text_format("%s; and %zu more", text, count - most);
    free(text);
    return longer;
}

static void set_cuts(const struct run *run, json_t *values)
{
    enum { MOST_TOLD = 6 };
    json_t *cuts = list_cuts(run);
    value_set(values, json_array_size(cuts) ? "yes" : "no", "cuts.known");
    value_take(values, cuts_text(cuts, json_array_size(cuts)), "cuts");
    value_take(values, cuts_text(cuts, MOST_TOLD), "cuts.brief");
    json_decref(cuts);
}
/* Leaves the first few words of a list, and the number of the others. */
static void shorten(json_t *words)
{
    enum { MOST_NAMED = 5 };
    int count = 0;
    const char *word;
    json_t *unused;
    void *next;
    json_object_foreach_safe(words, next, word, unused) {
        if (++count > MOST_NAMED)
            json_object_del(words, word);
    }
    char *others = text_format("%d more", count - MOST_NAMED);
    if (count > MOST_NAMED)
        json_object_set_new(words, others, json_true());
    free(others);
}
static void list_missing_tasks(const struct run *run, const struct plan *plan,
                               json_t *missing)
{
    for (const struct task *task = task_list; task->name; task++) {
        bool found = !plan_task(plan, task->name);
        for (int i = 0; i < run->count; i++)
            found |= run->sheets[i].task == task;
        char *text = text_format("%s of any model", task->title);
        if (!found)
            json_object_set_new(missing, text, json_true());
        free(text);
    }
}

static void set_missing(const struct run *run, const struct plan *plan,
                        json_t *values)
{
    int least = MOST_SEEDS, most = 0;
    json_t *missing = json_object();
    list_missing_tasks(run, plan, missing);
    for (int i = 0; i < run->count; i++) {
        const struct sheet *sheet = &run->sheets[i];
        const char *name = sheet->task->name;
        const struct planned_task *task = plan_task(plan, name);
        int wanted = task->seeds;
        char *sections = text_format("%s finetune", task->task->name);
        if (wanted > most)
            set_numbered(values, settings_text(plan->settings, sections, "seeds"), "seed",
                         "seeds");
        most = wanted > most ? wanted : most;
        least = wanted < least ? wanted : least;
        for (int j = 0; j < run->model_count; j++) {
            const char *model = run->models[j];
            const struct answers *a = run_answers(sheet, model);
            if ((a && a->seeds == wanted)
                || !plan_asks(task, plan_model(plan, model)))
                continue;
            char *text = text_format("%s of the %s has %d of %d seeds", sheet->title,
                                     model_title(model), a ? a->seeds : 0, wanted);
            json_object_set_new(missing, text, json_true());
            free(text);
        }
        free(sections);
    }
    value_take(values,
               least == most ? number_text(most, 0)
                             : text_format("%d to %d", least, most),
               "seeds.count");
    value_take(values, count_text(value_get(values, "seeds.count"), "random start"),
               "seeds.starts");
    value_set(values, most > 1 ? "yes" : "no", "seeds.many");
    value_set(values, json_object_size(missing) ? "yes" : "no", "missing.known");
    shorten(missing);
    set_list(values, missing, "missing");
    json_decref(missing);
}

/* Say how long it took */
static void set_times(const struct run *run, json_t *values)
{
    const char *name;
    json_t *record;
    double total = 0, finetuning = 0;
    json_object_foreach(run->stages, name, record) {
        double seconds = record_number(record, "seconds");
        total += seconds;
        if (!strncmp(name, "finetune-", 9))
            finetuning += seconds;
        else
            value_take(values, duration_text(seconds), "time.%s", name);
    }
    value_take(values, duration_text(total), "time.total");
    value_take(values, duration_text(finetuning), "time.finetune");
}

/* Set the scores */
/* Sets the values of a measure, or dashes for NULL. Frees the key. */
static void set_measure(json_t *values, const struct measure *measure, char *key)
{
    struct estimate estimate = measure_estimate(measure);
    value_estimate(values, &estimate, key);
    free(key);
}
/* The standard deviation over seeds; 0 for one seed. */
static double spread(const struct answers *a)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < a->seeds; i++)
        mean += a->scores[i] / a->seeds;
    for (int i = 0; i < a->seeds; i++)
        squares += (a->scores[i] - mean) * (a->scores[i] - mean);
    return a->seeds > 1 ? sqrt(squares / (a->seeds - 1)) : 0;
}
static bool answered_all(const struct run *run, const char *model)
{
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].shown && !run_answers(&run->sheets[i], model))
            return false;
    return true;
}

/* The mean of a model's scores over the tasks that are shown and that both models
   answered; NULL if there are none. */
static struct measure *mean_score(const struct run *run, const char *model,
                                  const char *other)
{
    struct measure *scores[run->count];
    int count = 0;
    for (int i = 0; i < run->count; i++) {
        const struct answers *a = run_answers(&run->sheets[i], model);
        if (run->sheets[i].shown && a && run_answers(&run->sheets[i], other))
            scores[count++] = a->score;
    }
    return count ? measure_mean(scores, count) : NULL;
}

static void set_task_scores(const struct sheet *sheet, json_t *values)
{
    const char *task = sheet->task->name;
    value_set(values, metric_name(sheet->task->metric), "metric.%s", task);
    value_take(values, number_text(sheet->rows, 0), "rows.%s", task);
    value_take(values, number_text(sheet->constant, 1), "constant.%s", task);
    for (int i = 0; i < sheet->count; i++) {
        const struct answers *a = &sheet->list[i];
        struct estimate estimate = measure_estimate(a->score);
        char *key = text_format("score.%s.%s", task, a->model);
        value_estimate(values, &estimate, key);
        value_take(values, number_text(spread(a), 1), "%s.spread", key);
        value_take(values, number_text(a->seeds, 0), "%s.seeds", key);
        if (a->also)
            set_measure(values, a->also,
                        text_format("%s.%s.%s", metric_key(sheet->task->also), task,
                                    a->model));
        free(key);
    }
}
static void set_teacher(const struct run *run, json_t *values)
{
    json_t *above = json_object();
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].above)
            json_object_set_new(above, run->sheets[i].title, json_true());
    set_list(values, above, "teacher.above");
    if ((int)json_object_size(above) == run->count && run->count > 3)
        value_take(values, text_format("all %d tasks", run->count), "teacher.above");
    if (json_object_size(above) == 0)
        value_set(values, "none of the tasks", "teacher.above");
    json_decref(above);
}
static const struct answers *answers_to(const struct run *run, const char *task,
                                        const char *model)
{
    for (int i = 0; i < run->count; i++)
        if (!strcmp(run->sheets[i].task->name, task))
            return run_answers(&run->sheets[i], model);
    return NULL;
}

/* A model's score on a task as GLUE counts it; NULL if it has not answered all of it.
   The caller frees it. */
static struct measure *glue_part(const struct run *run, const struct task *task,
                                 const char *model)
{
    struct measure *halves[2];
    int count = 0;
    for (const struct task *half = task_list; half->name; half++) {
        if (half != task && !(half->of && !strcmp(half->of, task->name)))
            continue;
        const struct answers *a = answers_to(run, half->name, model);
        if (!a)
            return NULL;
        halves[count++] = a->also ? a->also : a->score;
    }
    return measure_mean(halves, count);
}
/* Sets the parts of a model's GLUE score and returns it; NULL without all nine tasks.
   The caller frees it. */
static struct measure *glue_score(const struct run *run, const char *model,
                                  json_t *values)
{
    enum { MOST_PARTS = 9 };
    struct measure *parts[MOST_PARTS], *score = NULL;
    int count = 0, wanted = 0;
    for (const struct task *task = task_list; task->name; task++) {
        if (!task->glue)
            continue;
        struct measure *part = glue_part(run, task, model);
        set_measure(values, part, text_format("glue.%s.%s", task->name, model));
        if (part)
            parts[count++] = part;
        wanted++;
    }
    if (count == wanted)
        score = measure_mean(parts, count);
    set_measure(values, score, text_format("glue.score.%s", model));
    while (count > 0)
        free(parts[--count]);
    return score;
}
static void set_glue(const struct run *run, json_t *values)
{
    struct measure *teacher = NULL;
    for (int i = 0; i < run->model_count; i++) {
        const char *model = run->models[i];
        struct measure *score = glue_score(run, model, values);
        if (!strcmp(model, "teacher"))
            teacher = score;
        struct measure *kept = score && teacher ? measure_ratio(score, teacher) : NULL;
        set_measure(values, kept, text_format("glue.kept.%s", model));
        if (score != teacher)
            free(score);
        free(kept);
    }
    value_set(values, run_beyond(run, "teacher") ? "yes" : "no", "glue.known");
    value_set(values, teacher ? "yes" : "no", "glue.complete");
    bool spans = answers_to(run, "squad", "teacher");
    value_set(values, spans ? "yes" : "no", "squad.known");
    free(teacher);
}

/* What sentences depend on: are there tasks of GLUE that are not shown, tasks of two
   classes, students beside the first; and did all that the sentence on MRPC speaks of
   answer it? */
static void set_kinds(const struct run *run, json_t *values)
{
    bool others = false, confusion = false, students = false;
    for (int i = 0; i < run->count; i++) {
        const struct sheet *sheet = &run->sheets[i];
        others |= sheet->task->glue && !sheet->shown && run_answers(sheet, "teacher");
        confusion |= sheet->shown && sheet->task->classes == 2;
    }
    for (int i = 0; i < run->model_count; i++)
        students |= model_rank(run->models[i]) > model_rank("student");
    bool alone = answers_to(run, "mrpc", "teacher")
              && answers_to(run, "mrpc", "student")
              && answers_to(run, "mrpc", "student-alone");
    value_set(values, others ? "yes" : "no", "glue.others");
    value_set(values, confusion ? "yes" : "no", "confusion.known");
    value_set(values, students ? "yes" : "no", "models.others");
    value_set(values, alone ? "yes" : "no", "mrpc.alone");
}
static void set_scores(const struct run *run, json_t *values)
{
    json_t *titles = json_object();
    for (const struct task *task = task_list; task->name; task++) {
        value_set(values, "–", "score.%s.teacher", task->name);
        value_set(values, "–", "score.%s.student", task->name);
        value_set(values, "–", "rows.%s", task->name);
    }
    for (int i = 0; i < run->count; i++) {
        set_task_scores(&run->sheets[i], values);
        json_object_set_new(titles, run->sheets[i].title, json_true());
    }
    for (int i = 0; i < run->model_count; i++) {
        struct measure *mean = answered_all(run, run->models[i])
                                   ? mean_score(run, run->models[i], run->models[i])
                                   : NULL;
        set_measure(values, mean, text_format("score.mean.%s", run->models[i]));
        free(mean);
    }
    set_list(values, titles, "tasks");
    set_teacher(run, values);
    set_glue(run, values);
    set_kinds(run, values);
    value_take(values, number_text(RESAMPLES, 0), "bootstrap.resamples");
    json_decref(titles);
}

/* Say how the models were taught and asked */
/* The setting of a section that some stage used, or else that of the general one. */
static const char *used_setting(const json_t *values, const char *section,
                                const char *general, const char *key)
{
    const char *own = value_get(values, "setting.%s.%s", section, key);
    return strcmp(own, "–") ? own : value_get(values, "setting.%s.%s", general, key);
}

/* "2e-5 (SQuAD: 3e-5)": the first task's setting, and those of tasks that differ. */
static char *task_settings(const struct run *run, const json_t *values,
                           const char *key, const char *what)
{
    const char *first = NULL;
    char *others = text_format("%s", "");
    for (int i = 0; i < run->count; i++) {
        const struct task *task = run->sheets[i].task;
        const char *used = used_setting(values, task->of ? task->of : task->name,
                                        "finetune", key);
        if (!first)
            first = used;
        if (task->of || !strcmp(used, first))
            continue;
        char *longer = text_format("%s%s%s: %s", others, *others ? ", " : "",
                                   run->sheets[i].title, used);
        free(others);
        others = longer;
    }
    char *general = what ? count_text(first, what) : text_format("%s", first);
    char *text = *others ? text_format("%s (%s)", general, others)
                         : text_format("%s", general);
    free(general);
    free(others);
    return text;
}
/* "RTE [@dagan2006] and WNLI [@levesque2012]": the tasks of one metric, and how many
   they are. The caller frees the text. */
static char *tasks_of(const struct run *run, enum metric metric, int *count)
{
    json_t *values = json_object(), *words = json_object();
    for (int i = 0; i < run->count; i++) {
        const struct task *task = run->sheets[i].task;
        if (task->of || task->metric != metric)
            continue;
        char *word = run->sheets[i].shown
                         ? text_format("%s [@%s]", task->title, task->work)
                         : text_format("%s", task->title);
        json_object_set_new(words, word, json_true());
        free(word);
    }
    *count = (int)json_object_size(words);
    set_list(values, words, "tasks");
    char *text = text_format("%s", value_get(values, "tasks"));
    json_decref(words);
    json_decref(values);
    return text;
}
/* Whether a task is the first of the run with its metric. */
static bool has_new_metric(const struct run *run, int sheet)
{
    for (int i = 0; i < sheet; i++)
        if (run->sheets[i].task->metric == run->sheets[sheet].task->metric)
            return false;
    return true;
}

/* "CoLA is scored by Matthews correlation; MRPC and QQP by the mean of …" */
static void set_metrics(const struct run *run, json_t *values)
{
    char *text = text_format("%s", "");
    for (int i = 0; i < run->count; i++) {
        if (!has_new_metric(run, i))
            continue;
        enum metric metric = run->sheets[i].task->metric;
        int count;
        char *tasks = tasks_of(run, metric, &count);
        const char *verb = i > 0 ? "" : count == 1 ? "is scored " : "are scored ";
        const char *name = metric_name(metric),
                   *article = strncmp(name, "mean ", 5) ? "" : "the ";
        char *longer = text_format("%s%s%s %sby %s%s", text, i > 0 ? "; " : "", tasks,
                                   verb, article, name);
        free(tasks);
        free(text);
        text = longer;
    }
    value_take(values, text, "tasks.scored");
}
static void set_lessons(const struct run *run, json_t *values)
{
    static const char *const keys[][2] = {
        {"epochs", "epoch"}, {"batch", NULL}, {"rate", NULL}, {"length", NULL}};
    const char *epochs = used_setting(values, "student", "distill", "epochs");
    value_take(values, count_text(epochs, "epoch"), "distill.epochs");
    bool some = strtod(epochs, NULL) != 0;
    value_set(values, !strcmp(epochs, "–") ? "unknown" : some ? "yes" : "no",
              "distilled");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        value_take(values, task_settings(run, values, keys[i][0], keys[i][1]),
                   "finetune.%s", keys[i][0]);
    set_metrics(run, values);
}

/* Write an estimate as JSON */
/* {KEY, "low", "high"}; null for what is not defined. */
static json_t *estimate_json(const struct estimate *estimate, const char *key)
{
    return json_pack("{s:o, s:o, s:o}", key,
                     estimate->known ? json_real(estimate->value) : json_null(), "low",
                     estimate->bounded ? json_real(estimate->low) : json_null(), "high",
                     estimate->bounded ? json_real(estimate->high) : json_null());
}

/* Say why a task does not count */
enum obstacle { NONE, NO_TEACHER, NO_STUDENT, NOT_ABOVE };

static enum obstacle obstacle(const struct sheet *sheet, const char *model)
{
    return !run_answers(sheet, "teacher") ? NO_TEACHER
           : !run_answers(sheet, model)   ? NO_STUDENT
           : !sheet->above                ? NOT_ABOVE
                                          : NONE;
}

/* tasks: their titles as a list of count. The caller frees it. */
static char *obstacle_text(const char *tasks, int count, enum obstacle obstacle,
                           const char *model)
{
    if (obstacle == NOT_ABOVE)
        return text_format("the teacher is not above a constant answer on %s", tasks);
    return text_format("%s %s not answered by the %s", tasks,
                       count == 1 ? "was" : "were",
                       model_title(obstacle == NO_TEACHER ? "teacher" : model));
}
/* Why tasks of the report do not count for a student's mean; "" if all do. The caller
   frees it. */
static char *left_out_text(const struct run *run, const char *model)
{
    char *text = text_format("%s", "");
    for (enum obstacle why = NO_TEACHER; why <= NOT_ABOVE; why++) {
        json_t *words = json_object(), *list = json_object();
        for (int i = 0; i < run->count; i++)
            if (run->sheets[i].shown && obstacle(&run->sheets[i], model) == why)
                json_object_set_new(words, run->sheets[i].title, json_true());
        int count = (int)json_object_size(words);
        set_list(list, words, "tasks");
        if (count > 0) {
            char *reason = obstacle_text(value_get(list, "tasks"), count, why, model);
            char *longer = text_format("%s%s%s", text, *text ? "; " : "", reason);
            free(reason);
            free(text);
            text = longer;
        }
        json_decref(list);
        json_decref(words);
    }
    return text;
}

/* Set the retention of a student */
static void set_retention(const struct run *run, const char *model, json_t *values,
                          json_t *summary)
{
    struct measure *ratios[run->count];
    json_t *kept = json_object(), *tasks = json_object(), *counted = json_array();
    char *prefix =
        text_format(strcmp(model, "student") ? "retention.%s" : "retention", model);
    int count = 0;
    for (const struct task *task = task_list; task->name; task++)
        value_set(values, "–", "%s.%s", prefix, task->name);
    for (int i = 0; i < run->count; i++) {
        /* Divide the student's score on a task by the teacher's */
        const struct sheet *sheet = &run->sheets[i];
        const struct task *task = sheet->task;
        if (obstacle(sheet, model) != NONE) {
            char *reason = obstacle_text(sheet->title, 1, obstacle(sheet, model), model);
            value_take(values, text_format("not defined: %s", reason), "%s.%s", prefix,
                       task->name);
            free(reason);
            continue;
        }
        struct measure *kept_share = measure_ratio(run_answers(sheet, model)->score,
                                                   run_answers(sheet, "teacher")->score);
        struct estimate ratio = measure_estimate(kept_share);
        char *key = text_format("%s.%s", prefix, task->name);
        value_estimate(values, &ratio, key);
        free(key);
        json_object_set_new(tasks, task->name, estimate_json(&ratio, "retention"));
        if (!run_counts(sheet)) {
            free(kept_share);
            continue;
        }
        ratios[count++] = kept_share;
        json_object_set_new(kept, sheet->title, json_true());
        json_array_append_new(counted, json_string(task->name));
    }
    struct measure *mean = count ? measure_mean(ratios, count) : NULL;
    struct estimate estimate = measure_estimate(mean);
    /* Set the mean retention, or why there is none */
    char *left_out = left_out_text(run, model), *mean_key = text_format("%s.mean", prefix);
    value_estimate(values, &estimate, mean_key);
    if (!estimate.known)
        value_take(values, text_format("not defined: %s", left_out), "%s", mean_key);
    for (const char *const *end = (const char *const[]){"low", "high", "interval", NULL};
         *end; end++)
        value_set(values, value_get(values, "%s.%s", mean_key, *end), "%s.%s", prefix,
                  *end);
    char *tasks_key = text_format("%s.tasks", prefix);
    set_list(values, kept, tasks_key);
    value_set(values, estimate.known ? "yes" : "no", "%s.known", prefix);
    value_set(values, *left_out ? "no" : "yes", "%s.complete", prefix);
    value_take(values, left_out, "%s.left-out", prefix);
    /* Hold the mean against what was claimed of the same tasks */
    bool three = estimate.known && claims_are_of(counted);
    bool untaught = !strcmp(model, "student")
                 && strcmp(value_get(values, "distilled"), "yes");
    bool comparable = three && !untaught;
    value_set(values, three ? "yes" : "no", "%s.three", prefix);
    value_set(values, comparable ? "yes" : "no", "%s.comparable", prefix);
    for (const struct claim *claim = claims; claim->name; claim++)
        value_set(values,
                  comparable ? estimate_against(&estimate, claim->value)
                             : "not comparable with",
                  "verdict.%s.%s", prefix, claim->name);
    free(tasks_key);
    free(mean_key);
    json_object_set_new(summary, model, estimate_json(&estimate, "mean"));
    json_object_set_new(json_object_get(summary, model), "tasks", tasks);
    json_object_set_new(json_object_get(summary, model), "counted", counted);
    for (int i = 0; i < count; i++)
        free(ratios[i]);
    free(mean);
    free(prefix);
    json_decref(kept);
}

/* Set the retention as cells of a table */
static void set_cell(json_t *values, const char *name)
{
    const char *text = value_get(values, "retention.%s", name);
    value_set(values, strncmp(text, "not defined", 11) ? text : "not defined",
              "cell.%s", name);
}

static void set_cells(json_t *values)
{
    for (const struct task *task = task_list; task->name; task++)
        set_cell(values, task->name);
    set_cell(values, "mean");
}

/* Put the retention into sentences */
static void set_sentences(const struct run *run, json_t *values)
{
    const char *mean = value_get(values, "retention.mean");
    if (!strncmp(mean, "not defined: ", 13))
        value_take(values, text_format("keeps a share of its teacher that is %s", mean),
                   "retention.sentence");
    else if (!strcmp(value_get(values, "retention.interval"), "–"))
        value_take(
            values,
            text_format("keeps %s %% of its teacher's score, but the teacher's is "
                        "too near zero for an interval",
                        mean),
            "retention.sentence");
    else
        value_take(values,
                   text_format("keeps %s %% of its teacher's score (95 %% interval %s)",
                               mean, value_get(values, "retention.interval")),
                   "retention.sentence");
    /* Find the tasks that keep most and least */
    const char *most_task = NULL, *least_task = NULL;
    int count = 0;
    double most = -INFINITY, least = INFINITY;
    for (int i = 0; i < run->count; i++) {
        const struct answers *student = run_answers(&run->sheets[i], "student");
        const struct answers *teacher = run_answers(&run->sheets[i], "teacher");
        if (!run_counts(&run->sheets[i]) || !student)
            continue;
        count++;
        double ratio = student->score->value / teacher->score->value;
        if (ratio > most)
            most_task = run->sheets[i].title;
        if (ratio < least)
            least_task = run->sheets[i].title;
        most = fmax(most, ratio);
        least = fmin(least, ratio);
    }
    if (most > least)
        value_take(values,
                   text_format(count > 2 ? "It keeps most on %s and least on %s"
                                         : "It keeps more on %s than on %s",
                               most_task, least_task),
                   "retention.extremes");
    value_set(values, most > least ? "yes" : "no", "retention.extremes.known");
}

/* Set what each ablation costs */
static char *ablation_sentence(const struct estimate *change)
{
    if (!change->known)
        return text_format("was not measured in this run");
    char *points = number_text(fabs(change->value), 1), *text;
    if (!strcmp(points, "0.0"))
        text = text_format("keeps the same score");
    else if (change->bounded && change->high < 0)
        text = text_format("loses %s points", points);
    else if (change->bounded && change->low > 0)
        text = text_format("gains %s points", points);
    else
        text = text_format("%s %s points, no more than chance may do",
                           change->value < 0 ? "loses" : "gains", points);
    free(points);
    return text;
}
static void set_ablation(const struct run *run, json_t *values, const char *model,
                         json_t *changes)
{
    const char *key = ablation_key(model);
    struct measure *with = mean_score(run, "student", model);
    struct measure *without = mean_score(run, model, "student");
    struct measure *difference = with ? measure_difference(without, with) : NULL;
    struct estimate change = measure_estimate(difference);
    /* Set the values of one ablation */
    char *path = text_format("ablation.%s.change", key);
    value_estimate(values, &change, path);
    free(path);
    value_take(values, change.known ? number_text(-change.value, 1) : text_format("–"),
               "ablation.%s", key);
    value_set(values, change.known ? "yes" : "no", "ablation.%s.known", key);
    value_take(values, ablation_sentence(&change), "ablation.%s.sentence",
               key);
    if (change.known)
        json_object_set_new(changes, key, estimate_json(&change, "change"));
    free(with);
    free(without);
    free(difference);
}
/* Whether one of some ablations is known, by a name for them all. */
static void set_known(json_t *values, const char *const *keys, const char *name)
{
    bool known = false;
    for (; *keys; keys++)
        known |= !strcmp(value_get(values, "ablation.%s.known", *keys), "yes");
    value_set(values, known ? "yes" : "no", "ablation.%s.known", name);
}

/* Returns the changes that are known, by ablation, for the summary. */
static json_t *set_ablations(const struct run *run, json_t *values)
{
    json_t *changes = json_object();
    for (int rank = model_rank("student") + 1; model_name(rank); rank++)
        set_ablation(run, values, model_name(rank), changes);
    for (int j = 0; j < run->model_count; j++)
        if (!model_name(model_rank(run->models[j])))
            set_ablation(run, values, run->models[j], changes);
    value_set(values, json_object_size(changes) ? "yes" : "no", "ablation.known");
    set_known(values,
              (const char *const[]){"random", "mlm", "kl", "cosine", "alone",
                                    "undistilled", NULL},
              "parts");
    set_known(values, (const char *const[]){"paper", "first", "last", "ends", NULL},
              "layers");
    set_known(values, (const char *const[]){"twice", "ensemble", NULL}, "second");
    return changes;
}

/* Set the course of the training */
/* Returns the share that was guessed in the end; 0 if that is not known. */
static double set_accuracy(const struct run *run, const char *stage, const char *model,
                           json_t *values)
{
    double last = 0;
    char *name = text_format("%s-validation", stage);
    struct grid *curve = run_curve(run, name);
    value_set(values, "–", "accuracy.%s.first", model);
    value_set(values, "–", "accuracy.%s.last", model);
    value_set(values, curve && curve->rows > 0 ? "yes" : "no", "accuracy.%s.known",
              model);
    if (curve && curve->rows > 0) {
        int column = grid_column(curve, "accuracy");
        double first = grid_number(curve, 0, column);
        last = grid_number(curve, curve->rows - 1, column);
        value_take(values, number_text(100 * first, 1), "accuracy.%s.first", model);
        value_take(values, number_text(100 * last, 1), "accuracy.%s.last", model);
    }
    if (curve)
        grid_free(curve);
    free(name);
    return last;
}
static double column_mean(const struct grid *grid, int column, int first, int rows)
{
    double sum = 0;
    for (int row = first; row < first + rows; row++)
        sum += grid_number(grid, row, column);
    return sum / rows;
}
static void set_training(const struct run *run, json_t *values)
{
    static const char *const terms[] = {"loss", "mlm", "kl", "cosine"};
    double last = set_accuracy(run, "distill-student", "student", values);
    json_t *level = json_object_get(json_object_get(run->stages, "distill-student"),
                                    "teacher_accuracy");
    value_take(values,
               level ? number_text(100 * json_number_value(level), 1)
                     : text_format("–"),
               "accuracy.teacher");
    value_set(values, level && last > json_number_value(level) ? "yes" : "no",
              "accuracy.above");
    for (int i = 0; i < run->model_count; i++) {
        char *stage = text_format("distill-%s", run->models[i]);
        if (strcmp(run->models[i], "teacher"))
            set_accuracy(run, stage, run->models[i], values);
        free(stage);
    }
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        value_set(values, "–", "loss.%s.first", terms[i]);
        value_set(values, "–", "loss.%s.last", terms[i]);
    }
    struct grid *curve = run_curve(run, "distill-student");
    value_set(values, curve && curve->rows > 0 ? "yes" : "no", "training.known");
    if (!curve)
        return;
    int part = (curve->rows + 19) / 20;
    for (size_t i = 0; part > 0 && i < sizeof terms / sizeof *terms; i++) {
        int column = grid_column(curve, terms[i]);
        double first = column_mean(curve, column, 0, part);
        double last = column_mean(curve, column, curve->rows - part, part);
        value_take(values, significant_text(first), "loss.%s.first", terms[i]);
        value_take(values, significant_text(last), "loss.%s.last", terms[i]);
    }
    grid_free(curve);
}

/* Set size and speed */
static void set_change(json_t *values, double teacher, double student, const char *more,
                       const char *less, const char *key)
{
    double change = teacher > 0 && student > 0 ? 100 * (teacher / student - 1) : 0;
    bool known = teacher > 0 && student > 0;
    value_take(values, known ? number_text(change, 0) : text_format("–"), "%s", key);
    char *percent = number_text(fabs(change), 0);
    value_take(values,
               known ? text_format("%s %% %s", percent, change < 0 ? less : more)
                     : text_format("at a speed that was not measured"),
               "%s.sentence", key);
    free(percent);
}
static void set_speed(const struct run *run, json_t *values)
{
    json_t *models = json_object_get(run->bench, "models");
    json_t *teacher = json_object_get(models, "teacher");
    json_t *student = json_object_get(models, "student");
    value_set(values, teacher && student ? "yes" : "no", "speed.known");
    /* Set dashes for what was not timed */
    for (const char *const *whose = (const char *const[]){"teacher", "student", NULL};
         *whose; whose++) {
        value_set(values, "–", "parameters.%s.millions", *whose);
        value_set(values, "–", "speed.%s.one", *whose);
    }
    /* Set the speed of each model that was timed */
    const char *model;
    json_t *timed;
    json_object_foreach(models, model, timed) {
        double parameters = record_number(timed, "parameters");
        value_take(values, number_text(parameters, 0), "parameters.%s", model);
        value_take(values, significant_text(parameters / 1e6), "parameters.%s.millions",
                   model);
        /* Set the seconds of a pass on one core and on all */
        static const char *const cores[][2] = {{"one", "seconds_one_core"},
                                               {"all", "seconds_all_cores"}};
        for (int i = 0; i < 2; i++) {
            double seconds = record_number(timed, cores[i][1]),
                   whole = record_number(teacher, cores[i][1]);
            char *key = text_format("speed.%s.%s", model, cores[i][0]);
            value_take(values, significant_text(seconds), "%s", key);
            value_take(values,
                       !strcmp(model, "teacher")  ? text_format("1")
                       : seconds > 0 && whole > 0 ? number_text(whole / seconds, 2)
                                                  : text_format("–"),
                       "%s.times", key);
            free(key);
        }
    }
    /* Say what the pass went over */
    const json_t *pass = json_object_get(run->bench, "pass");
    const char *passed = json_string_value(json_object_get(pass, "title"));
    double taken = record_number(pass, "rows"), all = record_number(pass, "whole");
    char *rows = number_text(taken, 0), *whole_set = number_text(all, 0);
    char *some = all > taken ? text_format("%s of ", rows) : text_format("%s", "");
    value_take(values,
               passed ? text_format("%sthe %s rows of %s's development set", some,
                                    all > taken ? whole_set : rows, passed)
                      : text_format("rows that were not recorded"),
               "speed.pass");
    free(some);
    free(whole_set);
    free(rows);
    /* Compare the sizes */
    double before = record_number(teacher, "parameters"),
           after = record_number(student, "parameters");
    bool sized = before > 0 && after > 0;
    value_take(values,
               sized ? number_text(100 * (1 - after / before), 0) : text_format("–"),
               "speed.smaller");
    value_take(values,
               sized ? text_format("%s %% fewer", value_get(values, "speed.smaller"))
                     : text_format("–"),
               "speed.smaller.sentence");
    set_change(values, record_number(teacher, "seconds_one_core"),
               record_number(student, "seconds_one_core"), "faster", "slower",
               "speed.faster.one");
    set_change(values, record_number(teacher, "seconds_all_cores"),
               record_number(student, "seconds_all_cores"), "faster", "slower",
               "speed.faster.all");
    if (teacher && student)
        value_take(values,
                   text_format("The student has %s parameters and is, on one core, %s",
                               value_get(values, "speed.smaller.sentence"),
                               value_get(values, "speed.faster.one.sentence")),
                   "speed.sentence");
    else
        value_set(values, "The size and the speed of the student were not measured",
                  "speed.sentence");
    json_t *bench = json_copy(run->bench);
    json_object_del(bench, "sum");
    set_flat(values, bench, "bench");
    json_decref(bench);
}

/* Set what the benchmark of the steps found */
static void set_aim(json_t *values, const json_t *aims, const char *key, double found,
                    bool at_most)
{
    double aim = record_number(aims, key);
    bool met = at_most ? found <= aim : found >= aim;
    bool open = !(aim > 0 && found > 0);
    value_set(values, open ? "open" : met ? "met" : "missed", "aim.%s", key);
}

/* How much faster than PyTorch both steps are; in *ratio the distillation. */
static void set_recipe(json_t *values, const json_t *pytorch, const char *recipe,
                       double *ratio)
{
    static const char *const steps[] = {"distillation", "finetuning"};
    const json_t *timed = json_object_get(pytorch, recipe);
    double times[2];
    for (int i = 0; i < 2; i++) {
        times[i] = record_number(json_object_get(timed, steps[i]), "speed_ratio");
        if (times[i] > 0)
            value_take(values, number_text(times[i], 1), "fast.%s.%s", recipe,
                       steps[i]);
    }
    value_set(values, times[0] > 0 && times[1] > 0 ? "yes" : "no", "fast.%s.known",
              recipe);
    *ratio = times[0];
}

static void set_step(json_t *values, const json_t *bench, const char *step)
{
    const json_t *timed = json_object_get(bench, step);
    if (!json_object_get(timed, "families"))
        return;
    value_take(values, number_text(record_number(timed, "tokens_per_second"), 0),
               "fast.%s.tokens", step);
    value_take(values, number_text(100 * record_number(timed, "share"), 0),
               "fast.%s.share", step);
}

static void set_most(json_t *values, const json_t *families)
{
    const char *name, *most = "";
    json_t *family;
    double sum = 0, largest = 0;
    json_object_foreach((json_t *)families, name, family) {
        double seconds = record_number(family, "seconds");
        sum += seconds;
        if (seconds > largest) {
            largest = seconds;
            most = name;
        }
    }
    value_set(values, family_title(most), "fast.most");
    value_take(values, number_text(100 * largest / sum, 0), "fast.most.share");
}

static void set_fast(const struct run *run, json_t *values)
{
    const json_t *bench = run->bench, *aims = json_object_get(bench, "aims");
    const json_t *timed = json_object_get(bench, "distillation");
    const json_t *families = json_object_get(timed, "families");
    const json_t *squares = json_object_get(bench, "squares");
    const json_t *pytorch = json_object_get(bench, "pytorch");
    const char *gpu = json_string_value(json_object_get(bench, "gpu"));
    bool on_gpu = gpu && !strcmp(gpu, "yes");
    double usual, course, practice;
    value_set(values, families ? "yes" : "no", "fast.known");
    value_set(values, pytorch ? "yes" : "no", "fast.pytorch");
    value_set(values, on_gpu ? "yes" : "no", "fast.gpu");
    value_take(values, rate_text(record_number(squares, "rate")), "fast.rate");
    value_take(values, number_text(record_number(squares, "size"), 0), "fast.size");
    set_step(values, bench, "distillation");
    set_step(values, bench, "finetuning");
    double in_turn = record_number(timed, "seconds_in_turn");
    value_set(values, in_turn > 0 ? "yes" : "no", "fast.lanes");
    if (in_turn > 0)
        value_take(values, number_text(in_turn / record_number(timed, "seconds"), 2),
                   "fast.lanes.times");
    if (families)
        set_most(values, families);
    set_recipe(values, pytorch, "usual", &usual);
    set_recipe(values, pytorch, "course", &course);
    set_recipe(values, pytorch, "practice", &practice);
    set_aim(values, aims, "course", on_gpu ? course : 0, false);
    set_aim(values, aims, "practice", on_gpu ? practice : 0, false);
    double aimed = record_number(bench, "aimed_batch");
    bool applies = on_gpu && aimed > 0 && record_number(bench, "batch") == aimed;
    value_set(values, on_gpu && aimed > 0 && !applies ? "yes" : "no",
              "aim.share.elsewhere");
    value_take(values, number_text(aimed, 0), "aim.share.batch");
    set_aim(values, aims, "share", applies ? 100 * record_number(timed, "share") : 0,
            false);
    set_aim(values, aims, "minutes",
            record_number(json_object_get(bench, "estimate"), "minutes"), true);
}

/* The benchmark of a committed run on a GPU, {"run": its name, "bench": …}; {} without
   one. */
static json_t *find_gpu(const char *reference)
{
    json_t *gpu = json_object();
    char *pattern = text_format("%s/*/bench.json", reference ? reference : "");
    glob_t found;
    bool any = reference && glob(pattern, 0, NULL, &found) == 0;
    for (size_t i = 0; any && !json_object_size(gpu) && i < found.gl_pathc; i++) {
        const char *name = found.gl_pathv[i] + strlen(reference) + 1;
        json_t *bench = run_json(found.gl_pathv[i]);
        const char *known = json_string_value(json_object_get(bench, "gpu"));
        if (known && !strcmp(known, "yes")) {
            json_object_set_new(gpu, "run",
                                json_stringn(name, strcspn(name, "/")));
            json_object_set(gpu, "bench", bench);
        }
        json_decref(bench);
    }
    if (any)
        globfree(&found);
    free(pattern);
    return gpu;
}

static void set_gpu_step(const json_t *bench, const char *step, json_t *values)
{
    const json_t *timed = json_object_get(bench, step);
    const char *name;
    json_t *family;
    double counted = 0, steps = record_number(timed, "steps");
    json_object_foreach(json_object_get(timed, "families"), name, family)
        counted += record_number(family, "counted");
    value_take(values, number_text(record_number(timed, "tokens_per_second"), 0),
               "gpu.%s.tokens", step);
    value_take(values, number_text(100 * record_number(timed, "share"), 0),
               "gpu.%s.share", step);
    value_take(values, number_text(1e3 * record_number(timed, "seconds") / steps, 1),
               "gpu.%s.ms", step);
    value_take(values, number_text(1e3 * counted / steps, 1), "gpu.%s.counted", step);
}

static void set_gpu(struct run *run, const json_t *gpu, json_t *values)
{
    const char *name;
    json_t *family;
    double minutes = 0;
    run->gpu = json_incref(json_object_get(gpu, "bench"));
    value_set(values, run->gpu ? "yes" : "no", "gpu.known");
    if (!run->gpu)
        return;
    value_set(values, json_string_value(json_object_get(gpu, "run")), "gpu.run");
    const json_t *estimate = json_object_get(run->gpu, "estimate");
    json_object_foreach(json_object_get(estimate, "families"), name, family)
        minutes += stretched_minutes(run->gpu, name);
    value_set(values, json_string_value(json_object_get(run->gpu, "device")),
              "gpu.device");
    value_take(values, rate_text(record_number(json_object_get(run->gpu, "squares"),
                                               "rate")), "gpu.rate");
    set_gpu_step(run->gpu, "distillation", values);
    set_gpu_step(run->gpu, "finetuning", values);
    value_take(values, number_text(record_number(estimate, "minutes"), 0),
               "gpu.t4.counted");
    value_take(values, number_text(minutes, 0), "gpu.t4.minutes");
}

/* Take over what the tests measured */
static json_t *read_checks(const char *path)
{
    json_t *checks = json_object();
    if (!path || !file_exists(path))
        return checks;
    char *text = file_text(path, NULL);
    for (char *line = text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = '\0';
        char *tab = strchr(line, '\t');
        if (!tab)
            fail(path, "expected a key, a tab and a text, found \"%s\"", line);
        *tab = '\0';
        value_set(checks, tab + 1, "%s%s", strncmp(line, "check.", 6) ? "check." : "",
                  line);
    }
    free(text);
    return checks;
}

/* Write the summary */
static void write_json(const char *folder, const char *name, const json_t *object)
{
    char *path = text_format("%s/%s", folder, name);
    struct file_writer *writer = file_create(path);
    json_dumpf(object, file_stream(writer),
               JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(10));
    fputc('\n', file_stream(writer));
    file_commit(writer);
    free(path);
}

static json_t *task_json(const struct sheet *sheet)
{
    json_t *scores = json_object(), *medians = json_object();
    for (int i = 0; i < sheet->count; i++) {
        const struct answers *a = &sheet->list[i];
        json_t *seeds = json_object();
        for (int seed = 0; seed < a->seeds; seed++) {
            char *name = text_format("%d", a->seed[seed]);
            json_object_set_new(seeds, name, json_real(a->scores[seed]));
            free(name);
        }
        struct estimate estimate = measure_estimate(a->score);
        json_object_set_new(scores, a->model, seeds);
        json_object_set_new(medians, a->model, estimate_json(&estimate, "score"));
    }
    return json_pack("{s:s, s:s, s:i, s:f, s:b, s:o, s:o}", "title", sheet->title,
                     "metric", metric_name(sheet->task->metric), "rows", sheet->rows,
                     "constant_answer", sheet->constant, "teacher_above", sheet->above,
                     "scores", scores, "median", medians);
}
static void fill_summary(const struct run *run, const json_t *values, json_t *retention,
                         json_t *summary)
{
    const char *name, *texts[] = {"profile", "device", "date", "code"};
    json_t *record, *seconds = json_object(), *data = json_object(),
                    *tasks = json_object();
    json_t *versions = json_object(), *value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        json_object_set_new(summary, texts[i],
                            json_string(value_get(values, "run.%s", texts[i])));
    json_object_foreach(run->stages, name, record) {
        json_object_update(data, json_object_get(record, "data"));
        json_object_set(seconds, name, json_object_get(record, "seconds"));
    }
    json_object_foreach((json_t *)values, name, value) {
        if (!strncmp(name, "version.", 8))
            json_object_set(versions, name + 8, value);
    }
    for (int i = 0; i < run->count; i++)
        json_object_set_new(tasks, run->sheets[i].task->name,
                            task_json(&run->sheets[i]));
    /* Put the parts of the summary together */
    json_object_set_new(summary, "data", data);
    json_object_set_new(summary, "versions", versions);
    json_object_set_new(summary, "seconds", seconds);
    json_object_set_new(summary, "cuts", list_cuts(run));
    json_object_set_new(summary, "tasks", tasks);
    json_object_set(summary, "models", json_object_get(run->bench, "models"));
    json_object_set_new(summary, "distilled",
                        json_boolean(strcmp(value_get(values, "distilled"), "no")));
    json_t *student = json_object_get(retention, "student");
    json_object_set_new(student, "confidence", json_real(0.95));
    json_object_set_new(student, "resamples", json_integer(RESAMPLES));
    json_object_set_new(student, "sentence",
                        json_string(value_get(values, "retention.sentence")));
    json_object_set(summary, "retention", student);
    json_object_del(retention, "student");
    json_object_set_new(summary, "students", retention);
}

/* Compute the results */
struct results results_compute(const char *folder, const struct plan *plan,
                               const json_t *given)
{
    struct run *run = run_open(folder, plan);
    if (run->count == 0)
        fail(folder,
             "expected predictions of at least one model in predictions/, found none");
    json_t *values = json_object(), *summary = json_object();
    /* Compute all values */
    json_t *merged = merge_settings(run, plan);
    set_flat(values, merged, "setting");
    json_object_set_new(summary, "settings", merged);
    set_provenance(run, plan, given, values);
    set_models(run, plan, values);
    set_cuts(run, values);
    set_missing(run, plan, values);
    set_times(run, values);
    set_scores(run, values);
    set_lessons(run, values);
    json_t *retention = json_object();
    set_retention(run, "student", values, retention);
    for (int i = 0; i < run->model_count; i++)
        if (model_rank(run->models[i]) > model_rank("student"))
            set_retention(run, run->models[i], values, retention);
    set_cells(values);
    set_sentences(run, values);
    json_object_set_new(summary, "ablations", set_ablations(run, values));
    set_training(run, values);
    set_speed(run, values);
    set_fast(run, values);
    set_gpu(run, json_object_get(given, "gpu"), values);
    set_texts(json_object_get(given, "checks"), "", values);
    fill_summary(run, values, retention, summary);
    json_t *verdicts = verdicts_judge(summary, json_object_get(given, "references"),
                                      value_get(values, "run.data"));
    verdicts_set(verdicts, values);
    return (struct results){run, summary, verdicts, values};
}

void results_free(struct results *results)
{
    json_decref(results->values);
    json_decref(results->verdicts);
    json_decref(results->summary);
    run_free(results->run);
}

void results_write(const struct results *results, const char *folder)
{
    write_json(folder, "summary.json", results->summary);
    write_json(folder, "verdicts.json", results->verdicts);
    tables_write(results->run, results->values, folder);
    verdicts_tables(results->verdicts, folder);
    write_json(folder, "values.json", results->values);
}

/* Gather what the results are given */
static json_t *gather(const struct stage *stage)
{
    const char *profile = last_part(stage->run);
    json_t *references = stage->reference
                             ? verdicts_references(stage->reference, profile)
                             : json_object();
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "profile", profile, "code",
                     *stage->key ? stage->key : "not recorded", "versions",
                     find_versions(), "checks", read_checks(stage->checks),
                     "references", references, "gpu", find_gpu(stage->reference));
}

/* Leave what the results were computed from */
static void remove_tables(const struct stage *stage)
{
    for (const char *const *kind = (const char *const[]){"tables", "figures", NULL};
         *kind; kind++) {
        char *pattern = stage_path(stage, "%s/*.tsv", *kind);
        glob_t found;
        if (glob(pattern, 0, NULL, &found) == 0) {
            for (size_t i = 0; i < found.gl_pathc; i++)
                unlink(found.gl_pathv[i]);
            globfree(&found);
        }
        free(pattern);
    }
}

static void leave_grounds(const struct stage *stage, json_t *given)
{
    static const char *const patterns[] = {"run.settings",  "summary.json",
                                           "verdicts.json", "values.json",
                                           "tables/*.tsv",  "figures/*.tsv"};
    json_t *files = json_object();
    char *settings = stage_path(stage, "run.settings"),
         *record = stage_path(stage, "results.json");
    settings_write(stage->plan->settings, settings);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char *pattern = stage_path(stage, "%s", patterns[i]);
        glob_t found;
        if (glob(pattern, 0, NULL, &found) == 0) {
            for (size_t j = 0; j < found.gl_pathc; j++)
                stage_left(stage, files, found.gl_pathv[j]);
            globfree(&found);
        }
        free(pattern);
    }
    json_object_set_new(given, "files", files);
    seal_write(record, given);
    free(settings);
    free(record);
}

/* Run the command */
static const char usage[] =
    "usage: distil results --profile FILE --run DIR [--reference DIR]\n"
    "                      [--checks FILE] [--key HASH]\n"
    "\n"
    "Computes all scores of a finished run from its predictions and writes\n"
    "summary.json, verdicts.json, values.json, tables/ and figures/ into its folder.\n"
    "\n"
    "  --profile FILE   the settings of the run\n"
    "  --run DIR        what the stages left, results/mini say\n"
    "  --reference DIR  runs to compare with, DIR/NAME/summary.json, where they are\n"
    "                   of the same profile\n"
    "  --checks FILE    figures that the tests measured, \"key TAB text\" lines\n"
    "  --key HASH       hash of the code, to be stated in the report\n";

int results_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--profile --run");
    json_t *given = gather(&stage);
    struct results results = results_compute(stage.run, stage.plan, given);
    remove_tables(&stage);
    results_write(&results, stage.run);
    leave_grounds(&stage, given);
    printf("results: the student %s\n",
           value_get(results.values, "retention.sentence"));
    results_free(&results);
    json_decref(given);
    stage_close(&stage);
    return 0;
}
