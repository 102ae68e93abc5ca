/* Tangled from chapters/54-sentences.md; edit there. */
#include "values.h"
#include "file.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Write numbers and durations */
const char *rounded(double number, int decimals)
{
    return kept(number_text(number, decimals));
}

const char *significant(double number)
{
    int magnitude = number == 0 ? 0 : (int)floor(log10(fabs(number)));
    return rounded(number, magnitude >= 2 ? 0 : 2 - magnitude);
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
    const char **longer = kept(allocate((size_t)words->count + 1, sizeof *longer));
    for (int i = 0; i < words->count; i++) {
        if (!strcmp(words->word[i], word))
            return;
        longer[i] = words->word[i];
    }
    longer[words->count++] = word;
    words->word = longer;
}

static const char *join(const struct words *words, const char *between,
                        const char *last)
{
    const char *text = "";
    for (int i = 0; i < words->count; i++)
        text = say("%s%s%s", text,
                   i == 0 ? "" : i + 1 < words->count ? between : last, words->word[i]);
    return text;
}

const char *words_said(const struct words *words)
{
    return join(words, ", ", " and ");
}

const char *words_joined(const struct words *words, const char *between)
{
    return join(words, between, between);
}

struct words words_few(const struct words *words, int most)
{
    struct words few = {NULL, 0};
    for (int i = 0; i < words->count && i < most; i++)
        words_add(&few, words->word[i]);
    if (words->count > most)
        words_add(&few, say("%d more", words->count - most));
    return few;
}

/* "layers 0 and 2", "layer 0": those of so many numbers of which flags, if it is not
   NULL, is set. */
static const char *numbered(const char *what, const int *numbers, const bool *flags,
                            int count)
{
    struct words words = {NULL, 0};
    for (int i = 0; i < count; i++)
        if (!flags || flags[i])
            words_add(&words, say("%d", numbers[i]));
    return say("%s%s %s", what, words.count == 1 ? "" : "s", words_said(&words));
}

/* Write rates and families as text */
const char *rate_said(double rate)
{
    bool tera = rate >= 1e12;
    return say("%s %s", significant(rate / (tera ? 1e12 : 1e9)),
               tera ? "TFLOP/s" : "GFLOP/s");
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

double family_sum(json_t *families, const char *key)
{
    const char *name;
    json_t *family;
    double sum = 0;
    json_object_foreach(families, name, family) {
        sum += number_at(family, key);
    }
    return sum;
}

double stretch(const json_t *step, const char *name)
{
    const json_t *family = json_at(step, say("families/%s", name));
    double counted = number_at(family, "counted");
    return counted > 0 ? number_at(family, "seconds") / counted : 1;
}

double stretched_minutes(const json_t *bench, const char *name)
{
    const json_t *family = json_at(bench, say("estimate/families/%s", name));
    double tasks = number_at(family, "teacher") + number_at(family, "student");
    return number_at(family, "distillation")
               * stretch(json_at(bench, "distillation"), name)
           + tasks * stretch(json_at(bench, "finetuning"), name);
}

/* Write a finding */
enum { SIGNIFICANT = -1 };

static const struct {
    const char *key;
    int decimals; /* or three significant digits */
    bool mean;    /* of no task, it is of the mean over tasks */
} quantities[QUANTITIES] = {
    [CONSTANT_SCORE] = {"constant", 1, false},
    [SCORE] = {"score", 1, true}, [SECOND] = {"second", 1, true},
    [GLUE] = {"glue", 1, true}, [GLUE_KEPT] = {"glue.kept", 1, false},
    [RETENTION] = {"retention", 1, true}, [CHANGE] = {"ablation", 1, false},
    [GUESSED_FIRST] = {"accuracy.first", 1, false},
    [GUESSED_LAST] = {"accuracy.last", 1, false},
    [PARAMETERS] = {"parameters", SIGNIFICANT, false},
    [SECONDS_ONE] = {"seconds.one", SIGNIFICANT, false},
    [SECONDS_ALL] = {"seconds.all", SIGNIFICANT, false},
    [TIMES_ONE] = {"times.one", 2, false}, [TIMES_ALL] = {"times.all", 2, false},
    [SMALLER] = {"smaller", 1, false},
    [FASTER_ONE] = {"faster.one", 0, false}, [FASTER_ALL] = {"faster.all", 0, false},
    [MINUTES] = {"minutes", 1, false}, [MOST_KEPT] = {"kept.most", 1, false}};

static const char *quantity_said(enum quantity quantity, double value)
{
    double shown = quantity == PARAMETERS ? 1e-6 * value : value;
    int decimals = quantities[quantity].decimals;
    return decimals == SIGNIFICANT ? significant(shown) : rounded(shown, decimals);
}

const char *finding_said(const struct finding *f)
{
    return f->is.known ? quantity_said(f->quantity, f->is.value)
           : f->quantity == RETENTION && f->why != NOT_MEASURED ? "not defined" : "–";
}

/* "91.0 to 99.1", or "–". */
static const char *finding_interval(const struct finding *f)
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
    return text_at(json_object_get(values, key), "", "–");
}

/* values[KEY] = the words, and values[KEY.known]: is there any? */
static void set_words(json_t *values, const char *key, const struct words *words,
                      const char *between)
{
    value_flag(values, words->count > 0, "%s.known", key);
    value_put(values, key, words_joined(words, between));
}

/* Quote what was recorded and found */
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
        value_put(values, key, significant(json_real_value(json)));
    else if (json_is_string(json))
        value_put(values, key, json_string_value(json));
}

static void set_stages(const struct run *run, json_t *values)
{
    const char *name, *date = "";
    json_t *record;
    struct words devices = {NULL, 0};
    double seconds = 0;
    json_object_foreach(run->stages, name, record) {
        const char *finished = text_at(record, "finished", "");
        date = strcmp(finished, date) > 0 ? finished : date;
        if (json_at(record, "device"))
            words_add(&devices, text_at(record, "device", ""));
        seconds += number_at(record, "seconds");
    }
    value_set(values, *date ? date : "a day not recorded", "run.date");
    value_set(values, words_said(&devices), "run.device");
    value_set(values, duration_said(seconds), "time.total");
}

static void set_provenance(const struct results *r, json_t *values)
{
    struct words longer = {NULL, 0};
    const char *key;
    json_t *value;
    set_stages(r->run, values);
    value_set(values, text_at(r->given, "code", "not recorded"), "run.code");
    value_set(values, text_at(r->given, "profile", "not recorded"), "run.profile");
    value_set(values, r->run->plan->toyland ? "toyland" : "real", "run.data");
    value_set(values, rounded(RESAMPLES, 0), "bootstrap.resamples");
    set_flat(values, json_object_get(r->given, "versions"), "version");
    set_flat(values, json_object_get(r->given, "checks"), "");
    set_flat(values, r->settings, "setting");
    json_object_foreach(r->settings, key, value) {
        if (json_string_length(value) > SHORT_SETTING)
            words_add(&longer, say("%s = %s", key, json_string_value(value)));
    }
    value_set(values, longer.count ? words_said(&longer) : "none", "settings.long");
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

static void set_findings(const struct results *r, json_t *values)
{
    for (int i = 0; i < r->findings->count; i++) {
        const struct finding *f = &r->findings->list[i];
        const char *key = quantities[f->quantity].key;
        if (f->sheet || quantities[f->quantity].mean)
            key = say("%s.%s", key, f->sheet ? f->sheet->task->name : "mean");
        if (f->model)
            key = say("%s.%s", key, f->model->name);
        value_put(values, key, finding_said(f));
        value_flag(values, f->is.known, "%s.known", key);
        value_set(values, finding_interval(f), "%s.interval", key);
        if (f->quantity == SCORE && f->sheet)
            value_set(values, spread_said(f), "%s.spread", key);
    }
}

/* Say what was done */
static void set_models(const struct results *r, json_t *values)
{
    static const char *const models[] = {"teacher", "student"};
    const json_t *teacher = json_at(r->run->stages, "teacher");
    const struct planned_model *student = plan_model(r->run->plan, "student");
    double millions = 1e-6 * number_at(teacher, "tokens");
    struct shape shape[2];
    /* Say how the teacher began */
    static const char *const origins[][2] = {
        {"from scratch", "trained from scratch for this report"},
        {"given a head", "published, with a masked-word head trained for this report"},
        {"adopted", "taken as it is published"}};
    const char *beginning = text_at(teacher, "beginning", ""),
               *origin = "of an origin that was not recorded";
    for (int i = 0; i < 3; i++)
        origin = strcmp(origins[i][0], beginning) ? origin : origins[i][1];
    value_set(values, origin, "teacher.origin");
    value_flag(values, !strcmp(beginning, origins[0][0]), "teacher.scratch");
    value_set(values, rounded(millions, millions < 1 ? 1 : 0), "teacher.millions");
    value_set(values, rounded(number_at(teacher, "seconds") / 60, 1),
              "teacher.minutes");
    for (int i = 0; i < 2; i++) {
        shape[i] = run_shape(r->run, models[i]);
        value_set(values, shape[i].layers ? count_said(shape[i].layers, "layer")
                                          : "layers that were not recorded",
                  "%s.depth", models[i]);
    }
    value_set(values, shape[0].layers ? rounded(shape[0].width, 0) : "not recorded",
              "teacher.width");
    if (student)
        value_set(values, numbered("layer", student->layer, NULL, student->layers),
                  "student.from");
}

/* The setting of a section that some stage used, or else that of the general one; NULL
   if neither is recorded. */
static const char *used_setting(const json_t *settings, const char *section,
                                const char *general, const char *key)
{
    return text_at(settings, say("%s.%s", section, key),
                   text_at(settings, say("%s.%s", general, key), NULL));
}

/* "2e-5 (SQuAD: 3e-5)": the first task's setting, and those of tasks that differ. what:
   the setting counts so many of it; or NULL. */
static const char *task_settings(const struct results *r, const char *key,
                                 const char *what)
{
    const char *first = NULL;
    struct words others = {NULL, 0};
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++) {
        const char *task = sheet->task->of ? sheet->task->of : sheet->task->name,
                   *used = used_setting(r->settings, task, "finetune", key);
        first = first ? first : used;
        if (used && !sheet->task->of && strcmp(used, first))
            words_add(&others, say("%s: %s", sheet->title, used));
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
        for (const struct sheet *sheet = run->sheets; sheet->count; sheet++) {
            const struct task *task = sheet->task;
            if (!task->of && task->metric == metric)
                words_add(&tasks, sheet->shown
                                      ? say("%s [@%s]", task->title, task->work)
                                      : task->title);
        }
        const char *verb = clauses.count     ? ""
                           : tasks.count > 1 ? "are scored " : "is scored ",
                   *article = metric == ACCURACY_AND_F1
                              || metric == PEARSON_AND_SPEARMAN ? "the " : "";
        if (tasks.count > 0)
            words_add(&clauses, say("%s %sby %s%s", words_said(&tasks), verb,
                                    article, metric_name(metric)));
    }
    return words_joined(&clauses, "; ");
}

static void set_lessons(const struct results *r, json_t *values)
{
    static const char *const distilled[] = {"unknown", "no", "yes"},
                      *const keys[][2] = {{"epochs", "epoch"}, {"batch", NULL},
                                          {"rate", NULL}, {"length", NULL}};
    const char *epochs = used_setting(r->settings, "student", "distill", "epochs");
    value_set(values, epochs ? count_said(strtod(epochs, NULL), "epoch")
                             : "epochs that were not recorded", "distill.epochs");
    value_set(values, distilled[r->findings->student], "distilled");
    for (int i = 0; i < 4; i++)
        value_set(values, task_settings(r, keys[i][0], keys[i][1]), "finetune.%s",
                  keys[i][0]);
    value_set(values, metrics_said(r->run), "tasks.scored");
}

static void set_held_back(const struct results *r, json_t *values)
{
    const struct plan *plan = r->run->plan;
    int rows = 0;
    bool rehearsal = false;
    for (int i = 0; i < plan->task_count; i++) {
        rows = plan->tasks[i].held_back > rows ? plan->tasks[i].held_back : rows;
        rehearsal |= plan->tasks[i].rehearsal;
    }
    value_flag(values, rows > 0 && !rehearsal, "held-back.unseen");
    value_flag(values, rehearsal, "held-back.scored");
    value_set(values, rounded(rows, 0), "held-back.rows");
}

/* Say what was cut, what is missing and what collapsed */
enum { MOST_CUTS = 6, MOST_MISSING = 5, MOST_COLLAPSED = 3 };

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

static void set_cuts(const struct results *r, json_t *values)
{
    struct words cuts = values_cuts(r->run), few = words_few(&cuts, MOST_CUTS),
                 unavailable = {NULL, 0};
    size_t i;
    json_t *sentence;
    set_words(values, "cuts", &cuts, "; ");
    value_set(values, words_joined(&few, "; "), "cuts.brief");
    json_array_foreach(json_object_get(r->given, "unavailable"), i, sentence) {
        words_add(&unavailable, json_string_value(sentence));
    }
    set_words(values, "unavailable", &unavailable, " ");
}

static void set_missing(const struct results *r, json_t *values)
{
    const struct plan *plan = r->run->plan;
    const struct planned_stage *end = plan->stages + plan->stage_count;
    enum tier reached = TIER_CORE;
    struct words missing = {NULL, 0}, here = {NULL, 0}, to_come = {NULL, 0};
    for (const struct planned_stage *s = plan->stages; s < end; s++)
        if (s->kind == FINETUNE && s->tier > reached
            && file_exists(run_predictions(r->run, s->task->task, s->model, s->seed)))
            reached = s->tier;
    /* Tell what is missing from what is to come */
    for (const struct planned_stage *s = plan->stages; s < end; s++) {
        words_add(s->tier <= reached ? &here : &to_come, tier_titles[s->tier]);
        for (const struct task *task = task_list; task->name; task++)
            if (s->kind == FINETUNE && s->tier <= reached
                && plan_task(plan, task->name) == s->task
                && !file_exists(run_predictions(r->run, task, s->model, s->seed)))
                words_add(&missing, say("%s of the %s, seed %d", task->title,
                                        s->model->title, s->seed));
    }
    missing = words_few(&missing, MOST_MISSING);
    value_set(values, words_joined(&here, "; "), "tiers.here");
    set_words(values, "tiers.to-come", &to_come, "; ");
    set_words(values, "missing", &missing, "; ");
}

static void set_seeds(const struct results *r, json_t *values)
{
    const struct answers *longest = &r->run->answers[0];
    int least = MOST_SEEDS, distillations = 1;
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++)
        least = sheet->seeds < least ? sheet->seeds : least;
    for (const struct answers *a = r->run->answers; a->seeds; a++) {
        longest = a->seeds > longest->seeds ? a : longest;
        for (int k = 0; k < a->seeds; k++)
            if (a->origin[k] >= distillations)
                distillations = a->origin[k] + 1;
    }
    int most = longest->seeds;
    const char *range = least == most ? "" : say("%d to ", least);
    value_set(values, numbered("seed", longest->seed, NULL, most), "seeds");
    value_set(values, say("%s%d", range, most), "seeds.count");
    value_set(values, say("%s%s", range, count_said(most, "random start")),
              "seeds.starts");
    value_flag(values, most > 1, "seeds.many");
    value_flag(values, distillations > 1, "distillations.many");
    value_set(values, count_said(distillations, "random start"),
              "distillations.starts");
}

static void set_collapsed(const struct results *r, json_t *values)
{
    struct words all = {NULL, 0}, touched = {NULL, 0};
    int count = 0;
    for (const struct answers *a = r->run->answers; a->seeds; a++) {
        const char *whose = say("of the %s on %s", a->model->title, a->sheet->title);
        int before = count;
        for (int k = 0; k < a->seeds; k++)
            count += a->collapsed[k];
        if (count > before)
            words_add(&all, say("%s %s", numbered("seed", a->seed, a->collapsed,
                                                  a->seeds), whose));
        if (findings_touched(a))
            words_add(&touched, whose);
    }
    /* Say what collapsed and which medians are made of it */
    bool one = touched.count == 1;
    all = words_few(&all, MOST_COLLAPSED);
    touched = words_few(&touched, MOST_COLLAPSED);
    value_flag(values, count > 0, "collapsed.known");
    value_flag(values, touched.count > 0, "collapsed.touched");
    value_set(values, say("%s gave every row the same answer: %s",
                          count_said(count, "fine-tuning"), words_joined(&all, "; ")),
              "collapsed.sentence");
    value_set(values, say("The median%s %s %s of such %s", one ? "" : "s",
                          words_said(&touched), one ? "is the score" : "are scores",
                          one ? "an answer" : "answers"), "collapsed.medians");
}

/* Put the findings into sentences */
static void set_tasks(const struct results *r, json_t *values)
{
    const struct run *run = r->run;
    bool others = false, confusion = false;
    struct words above = {NULL, 0};
    for (const struct sheet *sheet = run->sheets; sheet->count; sheet++) {
        others |= sheet->task->glue && !sheet->shown && run_answers(sheet, "teacher");
        confusion |= sheet->confused;
        if (findings_above(r->findings, sheet))
            words_add(&above, sheet->title);
    }
    bool all = above.count == run->count && run->count > 3;
    value_set(values, above.count == 0 ? "none of the tasks"
                      : all            ? say("all %d tasks", run->count)
                                       : words_said(&above), "teacher.above");
    value_flag(values, finding_of(r->findings, GLUE, NULL, "teacher")->is.known,
               "glue.complete");
    value_flag(values, run_answers(run_sheet(run, "squad"), "teacher"), "squad.known");
    value_flag(values, others, "glue.others");
    value_flag(values, confusion, "confusion.known");
}

static void set_students(const struct results *r, json_t *values)
{
    bool others = false;
    for (int i = 0; i < r->run->model_count; i++) {
        const char *model = r->run->models[i]->name;
        if (findings_beyond(r->findings, model))
            value_flag(values, true, "glue.beyond.%s", model);
        others |= r->run->models[i]->student && strcmp(model, "student");
    }
    value_flag(values, findings_beyond(r->findings, "teacher"), "glue.known");
    value_flag(values, others, "models.others");
}

/* "RTE and WNLI were not answered by the teacher; …": why tasks of the report do not
   count for a student's mean; "" if all do. */
static const char *left_out(const struct findings *findings, const char *model)
{
    const struct finding *mean = finding_of(findings, RETENTION, NULL, model),
                         *f = NULL;
    struct words clauses = {NULL, 0};
    for (enum reason why = NO_TEACHER; why <= NOT_ABOVE; why++) {
        struct words titles = {NULL, 0};
        while ((f = finding_next(findings, f, RETENTION, model)))
            if (f->sheet && f->sheet->shown && !f->is.known && f->why == why)
                words_add(&titles, f->sheet->title);
        const char *which = words_said(&titles),
                   *verb = titles.count == 1 ? "was" : "were";
        if (titles.count > 0)
            words_add(&clauses,
                      why == NOT_ABOVE
                          ? say("the teacher is not above a constant answer on %s",
                                which)
                          : say("%s %s not answered by the %s", which, verb,
                                why == NO_ANSWER ? mean->model->title : "teacher"));
    }
    return mean->model ? words_joined(&clauses, "; ") : "there is no such model";
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
    const struct finding *mean = finding_of(findings, RETENTION, NULL, model);
    bool comparable = findings_claimed(findings, model);
    const char *left = left_out(findings, model);
    value_flag(values, mean->is.known, "retention.%s.known", model);
    value_flag(values, !*left, "retention.%s.complete", model);
    value_flag(values, findings_three(findings, model), "retention.%s.three", model);
    value_flag(values, comparable, "retention.%s.comparable", model);
    value_set(values, retention_said(findings, model), "retention.%s.sentence", model);
    value_set(values, left, "retention.%s.left-out", model);
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == RETENTION)
            value_set(values, comparable ? estimate_against(&mean->is, claim->published)
                                         : "not comparable with",
                      "retention.%s.%s", model, claim->name);
}

static void set_counted(const struct findings *findings, const char *model,
                        json_t *values)
{
    const struct finding *f = NULL, *most = NULL, *least = NULL;
    struct words counted = {NULL, 0};
    while ((f = finding_next(findings, f, RETENTION, model))) {
        if (!finding_counts(f, model))
            continue;
        words_add(&counted, f->sheet->title);
        most = !most || f->is.value > most->is.value ? f : most;
        least = !least || f->is.value < least->is.value ? f : least;
    }
    bool differ = most && most->is.value > least->is.value;
    value_set(values, words_said(&counted), "retention.%s.tasks", model);
    value_flag(values, differ, "retention.%s.extremes.known", model);
    if (differ)
        value_set(values, say(counted.count > 2 ? "It keeps most on %s and least on %s"
                                                : "It keeps more on %s than on %s",
                              most->sheet->title, least->sheet->title),
                  "retention.%s.extremes", model);
}

static void set_retentions(const struct results *r, json_t *values)
{
    static const char *const models[] = {"student", "student-released"};
    for (int i = 0; i < 2; i++)
        if (i == 0 || finding_of(r->findings, RETENTION, NULL, models[i])->model) {
            set_retention(r->findings, models[i], values);
            set_counted(r->findings, models[i], values);
        }
}

const char *title_short(const struct planned_model *model)
{
    const char *student = "student, ";
    bool other = !strncmp(model->title, student, strlen(student));
    return model->title + (other ? strlen(student) : 0);
}

/* "“no cosine” (−1.3)", "“both ends” (+2.4)"; of what is not decided the name alone. */
static const char *changed_said(const struct finding *f)
{
    const char *name = say("“%s”", title_short(f->model));
    const char *sign = f->is.value > 0 ? "+" : "";
    return verdict_costs(&f->is) == UNDECIDED
               ? name : say("%s (%s%s)", name, sign, rounded(f->is.value, 1));
}

const char *changes_said(const struct finding *const *changes, int count)
{
    static const enum verdict order[] = {PASS, FAIL, UNDECIDED};
    static const char *const than[] = {
        [PASS] = "worse than", [FAIL] = "better than",
        [UNDECIDED] = "not distinguishable from"};
    enum { MOST_CHANGES = 3 }; /* or one more, rather than "1 more" */
    const struct finding *sorted[count];
    struct words clauses = {NULL, 0};
    memcpy(sorted, changes, sizeof sorted);
    findings_sort(sorted, count, true);
    for (int i = 0; i < 3; i++) {
        struct words which = {NULL, 0};
        for (int k = 0; k < count; k++)
            if (verdict_costs(&sorted[k]->is) == order[i])
                words_add(&which, changed_said(sorted[k]));
        const char *verb = which.count == 1 ? "is" : "are";
        if (which.count > MOST_CHANGES + 1)
            which = words_few(&which, MOST_CHANGES);
        if (which.count > 0)
            words_add(&clauses, say("%s %s %s %s", than[order[i]],
                                    clauses.count == 0 ? "the student" : "it", verb,
                                    words_said(&which)));
    }
    return words_joined(&clauses, "; ");
}

static void set_kind(const struct results *r, enum difference kind, const char *key,
                     json_t *values)
{
    const struct planned_model *first = plan_model(r->run->plan, "student");
    const struct finding *changes[r->findings->count + 1], *f = NULL;
    int count = 0, better = 0, alike = 0;
    while ((f = finding_next(r->findings, f, CHANGE, NULL))) {
        const char *model = f->model->name;
        enum verdict verdict = verdict_costs(&f->is);
        if (difference_of(f->model, first) != kind)
            continue;
        changes[count++] = f;
        better += verdict == FAIL;
        alike += verdict == UNDECIDED;
        value_flag(values, true, "ablation.%s.%s", key, model);
        value_flag(values, verdict == PASS, "ablation.%s.worse", model);
        if (findings_further(r->findings, f->model)) {
            value_flag(values, true, "ablation.further.%s", model);
            value_flag(values, true, "ablation.further.known");
        }
    }
    value_flag(values, count > 0, "ablation.%s.known", key);
    value_flag(values, better > 0, "ablation.%s.better", key);
    value_flag(values, count > 1 && alike == count, "ablation.%s.alike", key);
    if (count > 0)
        value_set(values, changes_said(changes, count), "ablation.%s.sentence", key);
}

static void set_ablations(const struct results *r, json_t *values)
{
    static const char *const keys[DIFFERENCES] = {
        [A_PART] = "parts", [OTHER_LAYERS] = "layers",
        [FINE_TUNED_TEACHERS] = "second", [ANOTHER_RECIPE] = "recipes",
        [ANOTHER_ORIGIN] = "foreign"};
    value_flag(values, false, "ablation.further.known");
    for (enum difference kind = A_PART; kind < DIFFERENCES; kind++)
        set_kind(r, kind, keys[kind], values);
}

const char *hour_said(const struct finding *most, int count, const char *best)
{
    return count == 0 ? "No student of half the layers took at most an hour"
                      : say("Of %s of half the layers that took at most an hour, “%s” "
                            "keeps most: %s %% (%s, an interval for the best of %d)",
                            count_said(count, "student"), best, finding_said(most),
                            finding_interval(most), count);
}

static void set_more_kept(const struct results *r, json_t *values)
{
    const struct findings *f = r->findings;
    const struct finding *most = finding_of(f, MOST_KEPT, NULL, NULL);
    const char *best = f->best ? title_short(f->best) : "";
    bool drawn = false;
    for (int i = 0; i < r->run->model_count; i++)
        drawn |= findings_drawn(f, r->run->models[i]);
    bool asked = drawn && most->why != NOT_MEASURED;
    value_flag(values, drawn, "more.known");
    value_flag(values, findings_claimed(f, "student"), "more.claimed");
    value_flag(values, asked, "more.asked");
    if (asked)
        value_set(values, hour_said(most, f->quick, best), "more.sentence");
}

static void set_training(const struct results *r, json_t *values)
{
    const struct findings *f = r->findings;
    const struct finding *student = finding_of(f, GUESSED_LAST, NULL, "student"),
                         *teacher = finding_of(f, GUESSED_LAST, NULL, "teacher");
    bool above = teacher->is.known && student->is.value > teacher->is.value;
    value_flag(values, above, "accuracy.above");
    value_flag(values, f->trained, "training.known");
    for (int i = 0; i < TERMS && f->trained; i++) {
        const struct ends *loss = &f->losses[i];
        value_set(values, significant(loss->first), "loss.%s.first", loss->name);
        value_set(values, significant(loss->last), "loss.%s.last", loss->name);
    }
}

static void set_speed(const struct results *r, json_t *values)
{
    static const char *const words[][2] = {{"fewer", "more"}, {"faster", "slower"}};
    const struct findings *f = r->findings;
    const json_t *pass = json_object_get(r->run->bench, "pass");
    const char *title = text_at(pass, "title", NULL);
    double taken = number_at(pass, "rows"), all = number_at(pass, "whole");
    for (enum quantity quantity = SMALLER; quantity <= FASTER_ONE; quantity++) {
        const struct estimate is = finding_of(f, quantity, NULL, "student")->is;
        value_set(values, is.known ? say("%s %% %s", rounded(fabs(is.value), 0),
                                         words[quantity != SMALLER][is.value < 0])
                                   : "at a speed that was not measured",
                  "%s.student.sentence", quantities[quantity].key);
    }
    value_flag(values, finding_of(f, SMALLER, NULL, "student")->is.known,
               "speed.known");
    value_set(values, !title ? "rows that were not recorded"
                      : say("%sthe %s rows of %s's development set",
                            all > taken ? say("%s of ", rounded(taken, 0)) : "",
                            rounded(fmax(all, taken), 0), title), "speed.pass");
    set_flat(values, r->run->bench, "bench");
    json_object_del(values, "bench.sum");
}

/* Set what the benchmark of the steps found */
static void set_aim(json_t *values, const json_t *aims, const char *key, double found,
                    bool at_most)
{
    double aim = number_at(aims, key);
    bool met = at_most ? found <= aim : found >= aim;
    bool open = !(aim > 0 && found > 0);
    value_set(values, open ? "open" : met ? "met" : "missed", "aim.%s", key);
}

/* How much faster than PyTorch both steps are; returns that of the distillation. */
static double set_recipe(json_t *values, const json_t *pytorch, const char *group,
                         const char *recipe)
{
    static const char *const steps[] = {"distillation", "finetuning"};
    const json_t *timed = json_at(pytorch, recipe);
    double times[2];
    for (int i = 0; i < 2; i++) {
        times[i] = number_at(timed, say("%s/speed_ratio", steps[i]));
        if (times[i] > 0)
            value_set(values, rounded(times[i], 1), "%s.%s.%s", group, recipe,
                      steps[i]);
    }
    value_flag(values, times[0] > 0 && times[1] > 0, "%s.%s.known", group, recipe);
    return times[0];
}

/* Whether another program has times for both models, on one core and on all. */
static void set_rows(json_t *values, const json_t *bench, const char *program)
{
    static const char *const passes[] = {"pass_one_core", "pass_all_cores"};
    bool all = true;
    for (int i = 0; i < 2; i++) {
        const json_t *pass = json_at(json_at(bench, program), passes[i]);
        all &= json_at(pass, "teacher") && json_at(pass, "student");
    }
    value_flag(values, all, "fast.rows.%s", program);
}

/* group: "fast", or "gpu" for the committed run. */
static void set_step(json_t *values, const json_t *bench, const char *group,
                     const char *step)
{
    const json_t *timed = json_at(bench, step);
    if (!json_at(timed, "families"))
        return;
    value_set(values, rounded(number_at(timed, "tokens_per_second"), 0),
              "%s.%s.tokens", group, step);
    value_set(values, rounded(100 * number_at(timed, "share"), 0), "%s.%s.share",
              group, step);
}

static void set_most(json_t *values, json_t *families)
{
    const char *name, *most = "";
    json_t *family;
    double largest = 0;
    json_object_foreach(families, name, family) {
        double seconds = number_at(family, "seconds");
        most = seconds > largest ? name : most;
        largest = fmax(seconds, largest);
    }
    value_set(values, family_title(most), "fast.most");
    value_set(values, rounded(100 * largest / family_sum(families, "seconds"), 0),
              "fast.most.share");
}

static void set_fast(const struct results *r, json_t *values)
{
    const json_t *bench = r->run->bench, *aims = json_at(bench, "aims"),
                 *timed = json_at(bench, "distillation"),
                 *pytorch = json_at(bench, "pytorch");
    json_t *families = json_at(timed, "families");
    bool on_gpu = !strcmp(text_at(bench, "gpu", "no"), "yes");
    value_flag(values, families, "fast.known");
    value_flag(values, pytorch, "fast.pytorch");
    value_flag(values, on_gpu, "fast.gpu");
    value_set(values, rate_said(number_at(bench, "squares/rate")), "fast.rate");
    value_set(values, rounded(number_at(bench, "squares/size"), 0), "fast.size");
    set_step(values, bench, "fast", "distillation");
    set_step(values, bench, "fast", "finetuning");
    double in_turn = number_at(timed, "seconds_in_turn");
    value_flag(values, in_turn > 0, "fast.lanes");
    if (in_turn > 0)
        value_set(values, rounded(in_turn / number_at(timed, "seconds"), 2),
                  "fast.lanes.times");
    if (families)
        set_most(values, families);
    /* Compare with other programs */
    set_rows(values, bench, "pytorch");
    set_rows(values, bench, "onnxruntime");
    set_recipe(values, pytorch, "fast", "usual");
    double course = set_recipe(values, pytorch, "fast", "course"),
           practice = set_recipe(values, pytorch, "fast", "practice");
    set_aim(values, aims, "course", on_gpu ? course : 0, false);
    set_aim(values, aims, "practice", on_gpu ? practice : 0, false);
    /* Set whether the other aims were met */
    double aimed = number_at(bench, "aimed_batch");
    bool applies = on_gpu && aimed > 0 && number_at(bench, "batch") == aimed;
    value_flag(values, on_gpu && aimed > 0 && !applies, "aim.share.elsewhere");
    value_set(values, rounded(aimed, 0), "aim.share.batch");
    set_aim(values, aims, "share", applies ? 100 * number_at(timed, "share") : 0,
            false);
    set_aim(values, aims, "minutes",
            number_at(bench, "estimate/minutes"), true);
}

static void set_gpu_step(const json_t *bench, const char *step, json_t *values)
{
    const json_t *timed = json_at(bench, step);
    double steps = number_at(timed, "steps"),
           counted = family_sum(json_at(timed, "families"), "counted");
    set_step(values, bench, "gpu", step);
    value_set(values, rounded(1e3 * number_at(timed, "seconds") / steps, 1),
              "gpu.%s.ms", step);
    value_set(values, rounded(1e3 * counted / steps, 1), "gpu.%s.counted", step);
}

static void set_gpu(const struct results *r, json_t *values)
{
    const json_t *gpu = json_at(r->given, "gpu"), *bench = json_at(gpu, "bench");
    const char *name;
    json_t *family;
    double minutes = 0;
    value_flag(values, bench, "gpu.known");
    if (!bench)
        return;
    json_object_foreach(json_at(bench, "estimate/families"), name, family) {
        minutes += stretched_minutes(bench, name);
    }
    value_set(values, text_at(gpu, "run", "–"), "gpu.run");
    value_set(values, text_at(bench, "device", "–"), "gpu.device");
    value_set(values, rate_said(number_at(bench, "squares/rate")), "gpu.rate");
    set_gpu_step(bench, "distillation", values);
    set_gpu_step(bench, "finetuning", values);
    /* Compare the GPU with PyTorch and the T4 */
    value_set(values, rounded(1e3 * number_at(bench, "distillation/seconds_in_turn")
                              / number_at(bench, "distillation/steps"), 1),
              "gpu.distillation.in_turn");
    set_recipe(values, json_at(bench, "pytorch"), "gpu", "course");
    set_recipe(values, json_at(bench, "pytorch"), "gpu", "practice");
    value_set(values, rounded(number_at(bench, "estimate/minutes"), 0),
              "gpu.t4.counted");
    value_set(values, rounded(minutes, 0), "gpu.t4.minutes");
}

/* Make all values */
json_t *values_make(const struct results *r)
{
    static void (*const setters[])(const struct results *, json_t *) = {
        set_provenance, set_findings,   set_models,    set_lessons,  set_held_back,
        set_cuts,       set_missing,    set_seeds,     set_collapsed, set_tasks,
        set_students,   set_retentions, set_ablations, set_more_kept, set_training,
        set_speed,      set_fast,       set_gpu};
    json_t *values = json_object();
    for (size_t i = 0; i < sizeof setters / sizeof *setters; i++)
        setters[i](r, values);
    verdicts_set(r->verdicts, values);
    return values;
}
