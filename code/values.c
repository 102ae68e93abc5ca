/* Tangled from chapters/56-sentences.md; edit there. */
#include "values.h"
#include "file.h"
#include "model.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Keep what is said */
static struct said {
    struct said *before;
    char *text;
} *said;

const char *kept(char *text)
{
    struct said *last = allocate(1, sizeof *last);
    *last = (struct said){said, text};
    said = last;
    return text;
}

const char *say(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    char *text = allocate((size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(again);
    va_end(arguments);
    return kept(text);
}

void forget_said(void)
{
    while (said) {
        struct said *last = said;
        said = last->before;
        free(last->text);
        free(last);
    }
}

/* Write numbers and durations */
const char *rounded(double number, int decimals)
{
    return kept(number_text(number, decimals));
}

char *significant_text(double number)
{
    int magnitude = number == 0 ? 0 : (int)floor(log10(fabs(number)));
    return number_text(number, magnitude >= 2 ? 0 : 2 - magnitude);
}

const char *duration_said(double seconds)
{
    long whole = lround(seconds);
    return seconds < 9.95 ? say("%.1f s", seconds)
           : whole < 60   ? say("%ld s", whole)
           : whole < 3600 ? say("%ld min %02ld s", whole / 60, whole % 60)
                          : say("%ld h %02ld min", whole / 3600, whole % 3600 / 60);
}

const char *count_said(double count, const char *what)
{
    return say("%s %s%s", count == 0 ? "no" : say("%g", count), what,
               count == 1 ? "" : "s");
}

/* Write a list of words */
void words_add(struct words *words, const char *word)
{
    for (int i = 0; i < words->count; i++)
        if (!strcmp(words->word[i], word))
            return;
    words->word = realloc(words->word, (size_t)(words->count + 1) * sizeof word);
    if (!words->word)
        fail(word, "is a word too many for memory");
    words->word[words->count++] = word;
}

void words_shorten(struct words *words, int most)
{
    int more = words->count - most;
    if (more > 0) {
        words->count = most;
        words_add(words, say("%d more", more));
    }
}

/* Joins them, with `last` before the last one. */
static const char *join(struct words *words, const char *between, const char *last)
{
    const char *text = "";
    for (int i = 0; i < words->count; i++)
        text = say("%s%s%s", text,
                   i == 0 ? "" : i + 1 < words->count ? between : last, words->word[i]);
    free(words->word);
    *words = (struct words){NULL, 0};
    return text;
}

const char *words_said(struct words *words)
{
    return join(words, ", ", " and ");
}

const char *words_joined(struct words *words, const char *between)
{
    return join(words, between, between);
}

/* Write rates and families as text */
char *rate_text(double rate)
{
    bool tera = rate >= 1e12;
    char *number = significant_text(rate / (tera ? 1e12 : 1e9));
    char *text = text_format("%s %s", number, tera ? "TFLOP/s" : "GFLOP/s");
    free(number);
    return text;
}

const char *family_title(const char *name)
{
    static const struct {
        const char *name, *title;
    } families[] = {
        {"gemm", "matrix products"},        {"attention", "attention"},
        {"norm", "normalisation"},          {"pointwise", "activations and dropout"},
        {"embedding", "rows of tables"},    {"loss", "losses"},
        {"optimiser", "optimiser"},         {"memory", "copies and uploads"},
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i].name, name))
            return families[i].title;
    return name;
}

static double member(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

double stretch(const json_t *step, const char *name)
{
    const json_t *family = json_object_get(json_object_get(step, "families"), name);
    double counted = member(family, "counted");
    return counted > 0 ? member(family, "seconds") / counted : 1;
}

double stretched_minutes(const json_t *bench, const char *name)
{
    const json_t *estimate = json_object_get(bench, "estimate");
    const json_t *family = json_object_get(json_object_get(estimate, "families"), name);
    double tasks = member(family, "teacher") + member(family, "student");
    return member(family, "distillation")
               * stretch(json_object_get(bench, "distillation"), name)
           + tasks * stretch(json_object_get(bench, "finetuning"), name);
}

/* Write a finding */
static const char *quantity_said(enum quantity quantity, double value)
{
    switch (quantity) {
    case PARAMETERS: return kept(significant_text(1e-6 * value)); /* in millions */
    case SECONDS_ONE:
    case SECONDS_ALL: return kept(significant_text(value));
    case TIMES_ONE:
    case TIMES_ALL: return rounded(value, 2);
    case FASTER_ONE:
    case FASTER_ALL: return rounded(value, 0);
    default: return rounded(value, 1);
    }
}

const char *finding_said(const struct finding *f)
{
    return f->is.known ? quantity_said(f->quantity, f->is.value)
           : f->quantity == RETENTION && f->why != NOT_MEASURED ? "not defined" : "–";
}

const char *finding_interval(const struct finding *f)
{
    return f->is.bounded ? say("%s to %s", quantity_said(f->quantity, f->is.low),
                               quantity_said(f->quantity, f->is.high)) : "–";
}

const char *finding_measured(const struct finding *f)
{
    const char *value = finding_said(f);
    return !f->is.known             ? "–"
           : !f->is.bounded         ? say("%s (no interval)", value)
           : f->is.low < f->is.high ? say("%s (%s)", value, finding_interval(f))
                                    : value;
}

/* Set and get values */
void value_put(json_t *values, const char *key, const char *text)
{
    if (json_object_set_new(values, key, json_string(text)) != 0)
        fail(key, "the value \"%s\" is not UTF-8", text);
}

const char *value_get(const json_t *values, const char *key)
{
    const char *text = json_string_value(json_object_get(values, key));
    return text ? text : "–";
}

/* Quote what was recorded */
static void set_flat(json_t *values, const json_t *json, const char *key)
{
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member) {
        set_flat(values, member, say("%s%s%s", key, *key ? "." : "", name));
    }
    if (json_is_integer(json))
        value_put(values, key, rounded((double)json_integer_value(json), 0));
    else if (json_is_real(json))
        value_put(values, key, kept(significant_text(json_real_value(json))));
    else if (json_is_string(json))
        value_put(values, key, json_string_value(json));
}

static double record_number(const json_t *record, const char *key)
{
    return json_number_value(json_object_get(record, key));
}
static void set_stages(const struct run *run, json_t *values)
{
    const char *name, *date = "";
    json_t *record;
    struct words devices = {NULL, 0};
    double seconds = 0;
    json_object_foreach(run->stages, name, record) {
        const char *finished = json_string_value(json_object_get(record, "finished")),
                   *device = json_string_value(json_object_get(record, "device"));
        if (finished && strcmp(finished, date) > 0)
            date = finished;
        if (device)
            words_add(&devices, device);
        seconds += record_number(record, "seconds");
    }
    value_set(values, *date ? date : "a day not recorded", "run.date");
    value_set(values, words_said(&devices), "run.device");
    value_set(values, duration_said(seconds), "time.total");
}

static void set_provenance(const struct run *run, const json_t *settings,
                           const json_t *given, json_t *values)
{
    struct words longer = {NULL, 0};
    const char *key;
    json_t *value, *profile = json_object_get(given, "profile"),
                   *code = json_object_get(given, "code");
    set_stages(run, values);
    value_set(values, code ? json_string_value(code) : "not recorded", "run.code");
    value_set(values, profile ? json_string_value(profile) : "not recorded",
              "run.profile");
    value_set(values, run->plan->toyland ? "toyland" : "real", "run.data");
    set_flat(values, json_object_get(given, "versions"), "version");
    set_flat(values, json_object_get(given, "checks"), "");
    set_flat(values, settings, "setting");
    json_object_foreach((json_t *)settings, key, value) {
        if (json_string_length(value) > SHORT_SETTING)
            words_add(&longer, say("%s = %s", key, json_string_value(value)));
    }
    value_set(values, longer.count ? words_said(&longer) : "none", "settings.long");
}

/* Quote all findings */
static const char *finding_key(const struct finding *f)
{
    static const char *const keys[QUANTITIES] = {
        [CONSTANT_SCORE] = "constant", [SCORE] = "score", [SECOND] = "second",
        [GLUE] = "glue", [RETENTION] = "retention", [GLUE_KEPT] = "glue.kept",
        [CHANGE] = "ablation", [GUESSED_FIRST] = "accuracy.first",
        [GUESSED_LAST] = "accuracy.last", [PARAMETERS] = "parameters",
        [SECONDS_ONE] = "seconds.one", [SECONDS_ALL] = "seconds.all",
        [TIMES_ONE] = "times.one", [TIMES_ALL] = "times.all", [SMALLER] = "smaller",
        [FASTER_ONE] = "faster.one", [FASTER_ALL] = "faster.all"};
    bool mean = !f->sheet && f->quantity >= SCORE && f->quantity <= RETENTION;
    return say("%s%s%s%s", keys[f->quantity],
               f->sheet ? say(".%s", f->sheet->task->name) : mean ? ".mean" : "",
               f->model ? "." : "", f->model ? f->model->name : "");
}

/* "57.3 ± 0.8", with the standard deviation over seeds, "57.3" of one seed; "†" behind
   a median that a collapsed fine-tuning touches. */
static const char *spread_said(const struct finding *score)
{
    const struct answers *a = run_answers(score->sheet, score->model->name);
    double mean = 0, squares = 0;
    for (int i = 0; i < a->seeds; i++)
        mean += a->scores[i] / a->seeds;
    for (int i = 0; i < a->seeds; i++)
        squares += (a->scores[i] - mean) * (a->scores[i] - mean);
    const char *spread =
        a->seeds > 1 ? say(" ± %s", rounded(sqrt(squares / (a->seeds - 1)), 1)) : "";
    return say("%s%s%s", finding_said(score), spread, findings_touched(a) ? " †" : "");
}

static void set_findings(const struct findings *findings, json_t *values)
{
    for (int i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        const char *key = finding_key(f);
        value_put(values, key, finding_said(f));
        value_flag(values, f->is.known, "%s.known", key);
        value_set(values, finding_interval(f), "%s.interval", key);
        if (f->quantity == SCORE && f->sheet)
            value_set(values, spread_said(f), "%s.spread", key);
    }
}

/* Say what the teacher and the student are */
static void set_shape(const struct run *run, const char *model, json_t *values)
{
    const char *folder = say("%s/models/%s", run->folder, model);
    bool known = file_exists(say("%s/config.json", folder));
    struct shape shape = known ? model_shape(folder) : (struct shape){.layers = 0};
    value_set(values, known ? count_said(shape.layers, "layer")
                            : "layers that were not recorded", "%s.depth", model);
    value_set(values, known ? rounded(shape.width, 0) : "not recorded", "%s.width",
              model);
}

/* "layers 0 and 2", "layer 0". */
static const char *numbered(const char *what, struct words *numbers)
{
    const char *plural = numbers->count == 1 ? "" : "s";
    return say("%s%s %s", what, plural, words_said(numbers));
}

static void set_models(const struct run *run, json_t *values)
{
    static const char *const origins[][2] = {
        {"from scratch", "trained from scratch for this report"},
        {"given a head", "published, with a masked-word head trained for this report"},
        {"adopted", "taken as it is published"}};
    const json_t *teacher = json_object_get(run->stages, "teacher"),
                 *beginning = json_object_get(teacher, "beginning");
    const struct planned_model *student = plan_model(run->plan, "student");
    struct words layers = {NULL, 0};
    double millions = 1e-6 * record_number(teacher, "tokens");
    value_set(values, "of an origin that was not recorded", "teacher.origin");
    value_flag(values, false, "teacher.scratch");
    for (int i = 0; i < 3; i++)
        if (beginning && !strcmp(origins[i][0], json_string_value(beginning))) {
            value_set(values, origins[i][1], "teacher.origin");
            value_flag(values, (i == 0), "teacher.scratch");
        }
    value_set(values, rounded(millions, millions < 1 ? 1 : 0), "teacher.millions");
    value_set(values, rounded(record_number(teacher, "seconds") / 60, 1),
              "teacher.minutes");
    set_shape(run, "teacher", values);
    set_shape(run, "student", values);
    for (int i = 0; student && i < student->layers; i++)
        words_add(&layers, say("%d", student->layer[i]));
    value_set(values, numbered("layer", &layers), "student.from");
}

/* Note what was cut and what is missing */
struct words values_cuts(const struct run *run)
{
    const char *name;
    size_t i;
    json_t *record, *cut;
    struct words cuts = {NULL, 0};
    json_object_foreach(run->stages, name, record) {
        json_array_foreach(json_object_get(record, "cuts"), i, cut) {
            words_add(&cuts, json_string_value(cut));
        }
    }
    return cuts;
}

static void set_cuts(const struct run *run, json_t *values)
{
    enum { MOST_TOLD = 6 };
    struct words all = values_cuts(run), few = values_cuts(run);
    words_shorten(&few, MOST_TOLD);
    value_flag(values, all.count > 0, "cuts.known");
    value_set(values, words_joined(&all, "; "), "cuts");
    value_set(values, words_joined(&few, "; "), "cuts.brief");
}
static void set_unavailable(const json_t *given, json_t *values)
{
    size_t i;
    json_t *sentence;
    struct words all = {NULL, 0};
    json_array_foreach(json_object_get(given, "unavailable"), i, sentence) {
        words_add(&all, say("%s", json_string_value(sentence)));
    }
    value_flag(values, all.count > 0, "unavailable.known");
    value_set(values, words_joined(&all, " "), "unavailable");
}
/* Whether a fine-tuning has left its answers to a task. */
static bool answered(const struct run *run, const struct planned_stage *stage,
                     const struct task *task)
{
    const struct sheet *sheet = run_sheet(run, task->name);
    const struct answers *a = run_answers(sheet, stage->model->name);
    for (int k = 0; a && k < a->seeds; k++)
        if (a->seed[k] == stage->seed)
            return true;
    return false;
}

static void set_missing(const struct run *run, json_t *values)
{
    enum { MOST_NAMED = 5 };
    enum tier reached = TIER_CORE;
    struct words missing = {NULL, 0}, here = {NULL, 0}, to_come = {NULL, 0};
    const struct planned_stage *stages = run->plan->stages,
                               *end = stages + run->plan->stage_count;
    for (const struct planned_stage *s = stages; s < end; s++)
        if (s->kind == FINETUNE && s->tier > reached
            && answered(run, s, s->task->task))
            reached = s->tier;
    for (const struct planned_stage *s = stages; s < end; s++) {
        words_add(s->tier <= reached ? &here : &to_come, tier_titles[s->tier]);
        for (const struct task *task = task_list; task->name; task++)
            if (s->kind == FINETUNE && s->tier <= reached && !answered(run, s, task)
                && plan_task(run->plan, task->name) == s->task)
                words_add(&missing, say("%s of the %s, seed %d", task->title,
                                        s->model->title, s->seed));
    }
    value_flag(values, missing.count > 0, "missing.known");
    words_shorten(&missing, MOST_NAMED);
    value_set(values, words_joined(&missing, "; "), "missing");
    value_flag(values, to_come.count > 0, "tiers.to-come.known");
    value_set(values, words_joined(&here, "; "), "tiers.here");
    value_set(values, words_joined(&to_come, "; "), "tiers.to-come");
}

/* Say how many starts there were */
static void set_seeds(const struct run *run, json_t *values)
{
    const struct answers *longest = NULL;
    struct words seeds = {NULL, 0};
    int least = 0, most = 0, distillations = 1;
    for (int i = 0; i < run->count; i++) {
        int here = 0;
        for (int j = 0; j < run->sheets[i].count; j++) {
            const struct answers *a = &run->sheets[i].list[j];
            here = a->seeds > here ? a->seeds : here;
            longest = longest && longest->seeds >= a->seeds ? longest : a;
            for (int k = 0; k < a->seeds; k++)
                if (a->origin[k] >= distillations)
                    distillations = a->origin[k] + 1;
        }
        least = i == 0 || here < least ? here : least;
        most = here > most ? here : most;
    }
    for (int k = 0; longest && k < longest->seeds; k++)
        words_add(&seeds, say("%d", longest->seed[k]));
    const char *range = least == most ? "" : say("%d to ", least);
    value_set(values, numbered("seed", &seeds), "seeds");
    value_set(values, say("%s%d", range, most), "seeds.count");
    value_set(values, say("%s%s", range, count_said(most, "random start")),
              "seeds.starts");
    value_flag(values, most > 1, "seeds.many");
    value_flag(values, distillations > 1, "distillations.many");
    value_set(values, count_said(distillations, "random start"),
              "distillations.starts");
}
static void set_collapsed(const struct run *run, json_t *values)
{
    enum { MOST_NAMED = 3 };
    struct words all = {NULL, 0}, touched = {NULL, 0};
    int count = 0;
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++) {
            const struct answers *a = &run->sheets[i].list[j];
            const char *whose = say("of the %s on %s", a->model->title,
                                    run->sheets[i].title);
            struct words seeds = {NULL, 0};
            for (int k = 0; k < a->seeds; k++)
                if (a->collapsed[k])
                    words_add(&seeds, say("%d", a->seed[k]));
            count += seeds.count;
            if (seeds.count > 0)
                words_add(&all, say("%s %s", numbered("seed", &seeds), whose));
            if (findings_touched(a))
                words_add(&touched, whose);
        }
    bool one = touched.count == 1;
    value_flag(values, count > 0, "collapsed.known");
    value_flag(values, touched.count > 0, "collapsed.touched");
    words_shorten(&all, MOST_NAMED);
    words_shorten(&touched, MOST_NAMED);
    value_set(values, say("%s gave every row the same answer: %s",
                          count_said(count, "fine-tuning"), words_joined(&all, "; ")),
              "collapsed.sentence");
    value_set(values, say("The median%s %s %s of such %s", one ? "" : "s",
                          words_said(&touched), one ? "is the score" : "are scores",
                          one ? "an answer" : "answers"), "collapsed.medians");
}

/* Say how the models were taught and asked */
/* The setting of a section that some stage used, or else that of the general one; NULL
   if neither is recorded. */
static const char *used_setting(const json_t *settings, const char *section,
                                const char *general, const char *key)
{
    const json_t *own = json_object_get(settings, say("%s.%s", section, key));
    return json_string_value(
        own ? own : json_object_get(settings, say("%s.%s", general, key)));
}

/* "2e-5 (SQuAD: 3e-5)": the first task's setting, and those of tasks that differ. what:
   the setting counts so many of it; or NULL. */
static const char *task_settings(const struct run *run, const json_t *settings,
                                 const char *key, const char *what)
{
    const char *first = NULL;
    struct words others = {NULL, 0};
    for (int i = 0; i < run->count; i++) {
        const struct task *task = run->sheets[i].task;
        const char *used = used_setting(settings, task->of ? task->of : task->name,
                                        "finetune", key);
        first = first ? first : used;
        if (used && !task->of && strcmp(used, first))
            words_add(&others, say("%s: %s", run->sheets[i].title, used));
    }
    const char *general = !first ? "not recorded"
                          : what ? count_said(strtod(first, NULL), what) : first;
    return others.count ? say("%s (%s)", general, words_joined(&others, ", "))
                        : general;
}
/* "CoLA [@warstadt2019] is scored by Matthews correlation; MRPC and QQP by the mean of
   …" */
static const char *metrics_said(const struct run *run)
{
    struct words clauses = {NULL, 0};
    for (enum metric metric = ACCURACY; metric <= TEXT_EXACT; metric++) {
        struct words tasks = {NULL, 0};
        for (int i = 0; i < run->count; i++) {
            const struct task *task = run->sheets[i].task;
            if (!task->of && task->metric == metric)
                words_add(&tasks, run->sheets[i].shown
                                      ? say("%s [@%s]", task->title, task->work)
                                      : task->title);
        }
        const char *verb = clauses.count     ? ""
                           : tasks.count > 1 ? "are scored " : "is scored ",
                   *article = metric == ACCURACY_AND_F1
                              || metric == PEARSON_AND_SPEARMAN ? "the " : "";
        if (tasks.count > 0)
            words_add(&clauses, say("%s %sby %s%s", words_said(&tasks), verb, article,
                                    metric_name(metric)));
    }
    return words_joined(&clauses, "; ");
}

static void set_lessons(const struct findings *f, const json_t *settings,
                        json_t *values)
{
    static const char *const distilled[] = {"unknown", "no", "yes"};
    static const char *const keys[][2] = {
        {"epochs", "epoch"}, {"batch", NULL}, {"rate", NULL}, {"length", NULL}};
    const char *epochs = used_setting(settings, "student", "distill", "epochs");
    value_set(values, epochs ? count_said(strtod(epochs, NULL), "epoch")
                             : "epochs that were not recorded", "distill.epochs");
    value_set(values, distilled[f->student], "distilled");
    for (int i = 0; i < 4; i++)
        value_set(values, task_settings(f->run, settings, keys[i][0], keys[i][1]),
                  "finetune.%s", keys[i][0]);
    value_set(values, metrics_said(f->run), "tasks.scored");
}

/* Put the retention into sentences */
/* "RTE and WNLI were not answered by the teacher; …": why tasks of the report do not
   count for a student's mean; "" if all do. */
static const char *left_out(const struct findings *findings, const char *model)
{
    struct words clauses = {NULL, 0};
    for (enum reason why = NO_TEACHER; why <= NOT_ABOVE; why++) {
        struct words titles = {NULL, 0};
        const char *whose = "teacher";
        for (int i = 0; i < findings->count; i++) {
            const struct finding *f = &findings->list[i];
            if (f->quantity == RETENTION && f->sheet && f->sheet->shown
                && !strcmp(f->model->name, model) && !f->is.known && f->why == why) {
                words_add(&titles, f->sheet->title);
                whose = why == NO_ANSWER ? f->model->title : whose;
            }
        }
        const char *verb = titles.count == 1 ? "was" : "were";
        if (titles.count > 0)
            words_add(&clauses,
                      why == NOT_ABOVE
                          ? say("the teacher is not above a constant answer on %s",
                                words_said(&titles))
                          : say("%s %s not answered by the %s", words_said(&titles),
                                verb, whose));
    }
    if (!finding_of(findings, RETENTION, NULL, model)->model)
        return "there is no such model";
    return words_joined(&clauses, "; ");
}

const char *retention_said(const struct findings *findings, const char *model)
{
    const struct finding *mean = finding_of(findings, RETENTION, NULL, model);
    if (!mean->is.known)
        return say("keeps a share of its teacher that is not defined: %s",
                   left_out(findings, model));
    if (!mean->is.bounded)
        return say("keeps %s %% of its teacher's score, but the teacher's is too near "
                   "zero for an interval", finding_said(mean));
    return say("keeps %s %% of its teacher's score (95 %% interval %s)",
               finding_said(mean), finding_interval(mean));
}
static void set_retention(const struct findings *findings, const char *model,
                          json_t *values)
{
    const struct finding *mean = finding_of(findings, RETENTION, NULL, model),
                         *most = NULL, *least = NULL;
    bool comparable = findings_comparable(findings, model);
    struct words counted = {NULL, 0};
    for (int i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        if (!finding_counts(f, model))
            continue;
        words_add(&counted, f->sheet->title);
        most = !most || f->is.value > most->is.value ? f : most;
        least = !least || f->is.value < least->is.value ? f : least;
    }
    /* Set what the sentences on retention depend on */
    bool differ = most && most->is.value > least->is.value;
    value_flag(values, mean->is.known, "retention.%s.known", model);
    value_flag(values, !*left_out(findings, model), "retention.%s.complete", model);
    value_flag(values, findings_three(findings, model), "retention.%s.three", model);
    value_flag(values, comparable, "retention.%s.comparable", model);
    value_flag(values, differ, "retention.%s.extremes.known", model);
    if (differ)
        value_set(values, say(counted.count > 2 ? "It keeps most on %s and least on %s"
                                                : "It keeps more on %s than on %s",
                              most->sheet->title, least->sheet->title),
                  "retention.%s.extremes", model);
    value_set(values, words_said(&counted), "retention.%s.tasks", model);
    value_set(values, retention_said(findings, model), "retention.%s.sentence", model);
    value_set(values, left_out(findings, model), "retention.%s.left-out", model);
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == RETENTION)
            value_set(values, comparable ? estimate_against(&mean->is, claim->published)
                                         : "not comparable with",
                      "retention.%s.%s", model, claim->name);
}

/* Put the ablations into sentences */
const char *change_said(const struct estimate *change)
{
    const char *points = rounded(fabs(change->value), 1),
               *verb = change->value < 0 ? "loses" : "gains";
    bool sure = change->bounded && (change->high < 0 || change->low > 0);
    return fabs(change->value) < 0.05 ? "keeps the same score"
           : sure ? say("%s %s points", verb, points)
                  : say("%s %s points, no more than chance may do", verb, points);
}

/* The group of ablations that a student belongs to. */
static const char *group_of(const struct planned_model *model,
                            const struct planned_model *student)
{
    bool same = model->layers == student->layers
             && !memcmp(model->layer, student->layer, sizeof model->layer);
    return model->from                                   ? "second"
           : model->initial == INITIAL_FOLDER            ? "foreign"
           : !same && model->initial == student->initial ? "layers" : "parts";
}

static void set_ablations(const struct findings *findings, json_t *values)
{
    const struct planned_model *student = plan_model(findings->run->plan, "student");
    for (const char *const *group = (const char *const[]){"", "parts.", "layers.",
                                                          "second.", NULL};
         *group; group++)
        value_flag(values, false, "ablation.%sknown", *group);
    for (int i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        if (f->quantity != CHANGE || !f->is.known)
            continue;
        value_flag(values, true, "ablation.known");
        value_flag(values, true, "ablation.%s.known", group_of(f->model, student));
        value_set(values, change_said(&f->is), "ablation.%s.sentence", f->model->name);
    }
}

/* Put training, size and speed into sentences */
static void set_training(const struct findings *f, json_t *values)
{
    const struct finding *student = finding_of(f, GUESSED_LAST, NULL, "student"),
                         *teacher = finding_of(f, GUESSED_LAST, NULL, "teacher");
    bool above = teacher->is.known && student->is.value > teacher->is.value;
    value_flag(values, above, "accuracy.above");
    value_flag(values, f->trained, "training.known");
    for (int i = 0; i < TERMS && f->trained; i++) {
        const struct ends *loss = &f->losses[i];
        value_take(values, significant_text(loss->first), "loss.%s.first", loss->name);
        value_take(values, significant_text(loss->last), "loss.%s.last", loss->name);
    }
}

/* "60 % faster", "3 % slower". */
static const char *more_said(const struct finding *f, const char *more,
                             const char *less)
{
    return f->is.known ? say("%s %% %s", rounded(fabs(f->is.value), 0),
                             f->is.value < 0 ? less : more)
                       : "at a speed that was not measured";
}

/* What the pass of the benchmark went over: "243 of the 1,500 rows of …". */
static const char *pass_said(const json_t *pass)
{
    const char *title = json_string_value(json_object_get(pass, "title"));
    double taken = record_number(pass, "rows"), all = record_number(pass, "whole");
    return title ? say("%sthe %s rows of %s's development set",
                       all > taken ? say("%s of ", rounded(taken, 0)) : "",
                       rounded(fmax(all, taken), 0), title)
                 : "rows that were not recorded";
}
static void set_speed(const struct findings *f, json_t *values)
{
    const struct finding *size = finding_of(f, SMALLER, NULL, "student");
    const char *fewer = more_said(size, "fewer", "more"), *faster[2];
    for (unsigned i = 0; i < 2; i++)
        faster[i] = more_said(finding_of(f, FASTER_ONE + i, NULL, "student"), "faster",
                              "slower");
    value_flag(values, size->is.known, "speed.known");
    value_set(values, size->is.known
                          ? say("The student has %s parameters and is, on one core, %s",
                                fewer, faster[0])
                          : "The size and the speed of the student were not measured",
              "speed.sentence");
    value_set(values, fewer, "smaller.student.sentence");
    value_set(values, faster[0], "faster.one.student.sentence");
    value_set(values, faster[1], "faster.all.student.sentence");
    value_set(values, pass_said(json_object_get(f->run->bench, "pass")), "speed.pass");
    json_t *bench = json_copy(f->run->bench);
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

/* Whether another program has times for both models, on one core and on all. */
static void set_rows(json_t *values, const json_t *bench, const char *program)
{
    static const char *const passes[] = {"pass_one_core", "pass_all_cores"};
    bool all = true;
    for (int i = 0; i < 2; i++) {
        const json_t *pass =
            json_object_get(json_object_get(bench, program), passes[i]);
        all &= json_object_get(pass, "teacher") && json_object_get(pass, "student");
    }
    value_set(values, all ? "yes" : "no", "fast.rows.%s", program);
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
    set_rows(values, bench, "pytorch");
    set_rows(values, bench, "onnxruntime");
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

static void set_gpu(const struct run *run, const json_t *gpu, json_t *values)
{
    const char *name;
    json_t *family;
    double minutes = 0;
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

/* Make all values */
static void set_kinds(const struct findings *f, json_t *values)
{
    const struct run *run = f->run;
    const struct sheet *mrpc = run_sheet(run, "mrpc");
    bool others = false, confusion = false, students = false;
    struct words above = {NULL, 0};
    for (int i = 0; i < run->count; i++) {
        const struct sheet *sheet = &run->sheets[i];
        others |= sheet->task->glue && !sheet->shown && run_answers(sheet, "teacher");
        confusion |= sheet->shown && sheet->task->classes == 2;
        if (findings_above(f, sheet))
            words_add(&above, sheet->title);
    }
    for (int i = 0; i < run->model_count; i++)
        students |= run->models[i]->student && strcmp(run->models[i]->name, "student");
    int count = above.count;
    const char *which = words_said(&above);
    value_set(values, count == 0                       ? "none of the tasks"
                      : count == run->count && count > 3 ? say("all %d tasks", count)
                                                       : which, "teacher.above");
    value_flag(values, findings_beyond(f, "teacher"), "glue.known");
    value_flag(values, finding_of(f, GLUE, NULL, "teacher")->is.known, "glue.complete");
    value_flag(values, run_answers(run_sheet(run, "squad"), "teacher"), "squad.known");
    value_flag(values, others, "glue.others");
    value_flag(values, confusion, "confusion.known");
    value_flag(values, students, "models.others");
    value_flag(values, (run_answers(mrpc, "teacher") && run_answers(mrpc, "student")
                        && run_answers(mrpc, "student-alone")), "mrpc.alone");
}
json_t *values_make(const struct findings *findings, const struct verdicts *verdicts,
                    const json_t *settings, const json_t *given)
{
    const struct run *run = findings->run;
    json_t *values = json_object();
    set_provenance(run, settings, given, values);
    set_models(run, values);
    set_cuts(run, values);
    set_missing(run, values);
    set_unavailable(given, values);
    set_seeds(run, values);
    set_collapsed(run, values);
    set_lessons(findings, settings, values);
    set_kinds(findings, values);
    set_findings(findings, values);
    value_set(values, rounded(RESAMPLES, 0), "bootstrap.resamples");
    set_retention(findings, "student", values);
    for (int i = 0; i < run->model_count; i++)
        if (run->models[i]->student)
            set_retention(findings, run->models[i]->name, values);
    set_ablations(findings, values);
    set_training(findings, values);
    set_speed(findings, values);
    set_fast(run, values);
    set_gpu(run, json_object_get(given, "gpu"), values);
    verdicts_set(verdicts, values);
    return values;
}
