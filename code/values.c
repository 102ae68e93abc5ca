/* Tangled from chapters/54-sentences.md; edit there. */
#include "values.h"
#include "file.h"
#include "json.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Set and get values */
void value_put(json_t *values, const char *key, const char *text)
{
    if (text && *text && json_object_set_new(values, key, json_string(text)) != 0)
        fail(key, "the value \"%s\" is not UTF-8", text);
}

const char *value_get(const json_t *values, const char *key)
{
    return text_at(json_object_get(values, key), "", "–");
}

/* Quote what was found */
enum { SIGNIFICANT = -1 };

static const struct {
    const char *key;
    int decimals; /* or three significant digits */
} quantities[QUANTITIES] = {
    [CONSTANT_SCORE] = {"constant", 1}, [SCORE] = {"score", 1},
    [SECOND] = {"second", 1}, [GLUE] = {"glue", 1}, [RETENTION] = {"retention", 1},
    [GLUE_KEPT] = {"glue.kept", 1}, [CHANGE] = {"ablation", 1},
    [GUESSED_FIRST] = {"accuracy.first", 1}, [GUESSED_LAST] = {"accuracy.last", 1},
    [PARAMETERS] = {"parameters", SIGNIFICANT},
    [SECONDS_ONE] = {"seconds.one", SIGNIFICANT},
    [SECONDS_ALL] = {"seconds.all", SIGNIFICANT},
    [TIMES_ONE] = {"times.one", 2}, [TIMES_ALL] = {"times.all", 2},
    [SMALLER] = {"smaller", 1}, [FASTER_ONE] = {"faster.one", 0},
    [MINUTES] = {"minutes", 1}, [MOST_KEPT] = {"kept.most", 1}};

/* Words for a gain, and for one below zero. */
static const char *const gains[QUANTITIES][2] = {
    [SMALLER] = {"fewer", "more"}, [FASTER_ONE] = {"faster", "slower"}};

static const char *quantity_said(enum quantity quantity, double value)
{
    double shown = quantity == PARAMETERS ? 1e-6 * value : value;
    int decimals = quantities[quantity].decimals;
    return decimals == SIGNIFICANT ? significant(shown) : rounded(shown, decimals);
}

const char *finding_said(const struct finding *f)
{
    return f->is.known                ? quantity_said(f->quantity, f->is.value)
           : f->quantity == RETENTION ? "not defined" : NULL;
}

/* "91.0 to 99.1"; NULL without an interval. */
static const char *finding_interval(const struct finding *f)
{
    return f->is.bounded ? say("%s to %s", quantity_said(f->quantity, f->is.low),
                               quantity_said(f->quantity, f->is.high)) : NULL;
}

const char *finding_measured(const struct finding *f)
{
    const char *value = finding_said(f);
    return !f->is.known             ? "–"
           : !f->is.bounded         ? say("%s (no interval)", value)
           : f->is.low < f->is.high ? say("%s (%s)", value, finding_interval(f))
                                    : value;
}

/* "57.3 ± 0.8", with the standard deviation over seeds, "57.3" of one; "†" behind a
   median that is the score of a collapsed fine-tuning. */
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
    bool touched = measure_touched(a->scores, a->collapsed, a->seeds);
    return say("%s%s%s", finding_said(score), spread, touched ? " †" : "");
}

static void quote_findings(const struct results *r, json_t *values)
{
    for (int i = 0; i < r->findings->count; i++) {
        const struct finding *f = &r->findings->list[i];
        const char *key = quantities[f->quantity].key,
                   *gain = gains[f->quantity][f->is.value < 0];
        if (f->quantity <= RETENTION) /* of a task, or the mean */
            key = say("%s.%s", key, f->sheet ? f->sheet->task->name : "mean");
        if (f->model)
            key = say("%s.%s", key, f->model->name);
        value_put(values, key, finding_said(f));
        value_set(values, finding_interval(f), "%s.interval", key);
        if (f->quantity == SCORE && f->sheet)
            value_set(values, spread_said(f), "%s.spread", key);
        if (gain)
            value_set(values, say("%s %% %s", rounded(fabs(f->is.value), 0), gain),
                      "%s.sentence", key);
    }
}

/* Quote what was recorded */
static void quote(json_t *values, const json_t *json, const char *key)
{
    static const struct {
        const char *keys;
        int decimals;
    } rounding[] = {
        {"*.percent", 1}, {"*.estimate.families.*", 1}, {"*.estimate.all.*", 1},
        {"*.distillation.speed_ratio", 1}, {"*.finetuning.speed_ratio", 1},
        {"*.aimed_batch", 0}};
    const char *name, *text = json_string_value(json);
    double number = json_number_value(json);
    json_t *member;
    if (json_is_number(json))
        text = json_is_integer(json) ? rounded(number, 0) : significant(number);
    for (size_t i = 0; i < sizeof rounding / sizeof *rounding; i++)
        if (json_is_number(json) && fnmatch(rounding[i].keys, key, 0) == 0)
            text = rounded(number, rounding[i].decimals);
    value_put(values, key, text);
    json_object_foreach((json_t *)json, name, member) {
        quote(values, member, *key ? say("%s.%s", key, name) : name);
    }
}

static void quote_recipe(const struct results *r, json_t *values)
{
    static const char *const distilled[] = {"unknown", "no", "yes"},
                      *const terms[] = {"mlm", "kl", "cosine"};
    const struct grid *curve = run_curve(r->run, "distill-student", "");
    const struct findings *f = r->findings;
    const struct planned_model *student = plan_model(r->run->plan, "student");
    const json_t *teacher = json_at(r->run->stages, "teacher");
    double tokens = number_at(teacher, "tokens"),
           seconds = number_at(teacher, "seconds"),
           guessed = finding_of(f, GUESSED_LAST, NULL, "teacher")->is.value,
           better = finding_of(f, GUESSED_LAST, NULL, "student")->is.value;
    const char *from =
        student ? numbered("layer", student->layer, student->layers) : NULL;
    quote(values, json_at(teacher, "beginning"), "teacher.beginning");
    value_put(values, "teacher.millions", significant(tokens / 1e6));
    value_put(values, "teacher.minutes", significant(seconds / 60));
    for (int i = 0; i < 2; i++) {
        const char *model = i ? "student" : "teacher";
        struct shape shape = run_shape(r->run, model);
        if (shape.layers)
            value_set(values, say("%s of width %d", count_said(shape.layers, "layer"),
                                  shape.width), "%s.shape", model);
    }
    value_put(values, "student.from", from);
    value_put(values, "distilled", distilled[f->student]);
    value_flag(values, guessed > 0 && better > guessed, "accuracy.above");
    for (int i = 0; i < 3 && curve; i++) {
        int rows = curve->rows, part = (rows + 19) / 20;
        value_set(values, significant(grid_mean(curve, terms[i], 0, part)),
                  "loss.%s.first", terms[i]);
        value_set(values, significant(grid_mean(curve, terms[i], rows - part, rows)),
                  "loss.%s.last", terms[i]);
    }
}

static void quote_answers(const struct results *r, json_t *values)
{
    int least = MOST_SEEDS, most = 0, distillations = 1, collapsed = 0;
    bool confused = false, far = false;
    for (const struct answers *a = r->run->answers; a->seeds; a++) {
        const struct task *task = a->sheet->task;
        const char *model = a->model->name;
        bool beyond = task->glue && !task->headline, student = a->model->student;
        least = a->sheet->seeds < least ? a->sheet->seeds : least;
        most = a->seeds > most ? a->seeds : most;
        confused |= a->sheet->shown && task->classes == 2;
        far |= (beyond && !student) || findings_further(r->findings, a->model);
        for (int k = 0; k < a->seeds; k++) {
            collapsed += a->collapsed[k];
            if (a->origin[k] >= distillations)
                distillations = a->origin[k] + 1;
        }
        value_flag(values, measure_touched(a->scores, a->collapsed, a->seeds),
                   "collapsed.medians");
        value_flag(values, student && strcmp(model, "student"), "models.others");
        value_flag(values, beyond, "glue.beyond.%s", model);
    }
    const char *from = count_said(distillations, "random start"),
               *starts = count_said(most, "random start");
    value_put(values, "seeds.starts",
              least < most ? say("%d to %s", least, starts) : starts);
    value_put(values, "distillations.starts", distillations > 1 ? from : NULL);
    value_put(values, "collapsed.count",
              collapsed ? count_said(collapsed, "fine-tuning") : NULL);
    value_put(values, "confusion", !confused ? NULL : far ? "appendix" : "report");
    value_flag(values, most > 1, "seeds.many");
}

/* Quote where a run is from */
static void quote_run(const struct results *r, json_t *values)
{
    struct words devices = {NULL, 0}, longer = {NULL, 0};
    const char *name, *date = "",
               *epochs = text_at(r->settings, "student.epochs",
                                 text_at(r->settings, "distill.epochs", NULL));
    double seconds = 0;
    json_t *it;
    json_object_foreach(r->run->stages, name, it) {
        const char *finished = text_at(it, "finished", "");
        date = strcmp(finished, date) > 0 ? finished : date;
        words_add(&devices, text_at(it, "device", "a device not recorded"));
        seconds += number_at(it, "seconds");
    }
    json_object_foreach(r->settings, name, it) {
        if (json_string_length(it) > SHORT_SETTING)
            words_add(&longer, say("%s = %s", name, json_string_value(it)));
    }
    value_put(values, "run.date", *date ? date : "a day not recorded");
    value_put(values, "run.device", words_said(&devices));
    value_put(values, "run.data", r->run->plan->toyland ? "toyland" : "real");
    value_put(values, "time.total", duration_said(seconds));
    value_put(values, "bootstrap.resamples", rounded(RESAMPLES, 0));
    value_put(values, "settings.long", words_said(&longer));
    if (epochs)
        value_put(values, "distill.epochs", count_said(strtod(epochs, NULL), "epoch"));
    quote(values, json_at(r->given, "profile"), "run.profile");
    quote(values, json_at(r->given, "code"), "run.code");
    quote(values, json_at(r->given, "versions"), "version");
    quote(values, json_at(r->given, "checks"), "");
    quote(values, r->settings, "setting");
    quote(values, r->told, "");
}

static void quote_gaps(const struct results *r, json_t *values)
{
    enum { MOST_CUTS = 6 };
    struct words cuts = {NULL, 0}, unavailable = {NULL, 0};
    const char *key;
    size_t i;
    int rows = 0;
    json_t *text;
    json_array_foreach(json_object_get(r->summary, "cuts"), i, text) {
        words_add(&cuts, json_string_value(text));
    }
    json_object_foreach(json_object_get(r->given, "unavailable"), key, text) {
        words_add(&unavailable, json_string_value(text));
    }
    for (int t = 0; t < r->run->plan->task_count; t++) {
        const struct planned_task *task = &r->run->plan->tasks[t];
        rows = task->held_back > rows ? task->held_back : rows;
        value_flag(values, task->rehearsal, "held-back.scored");
    }
    value_put(values, "cuts", words_joined(&cuts, "; "));
    cuts = words_few(&cuts, MOST_CUTS);
    value_put(values, "cuts.brief", words_joined(&cuts, "; "));
    value_put(values, "unavailable", words_joined(&unavailable, " "));
    value_put(values, "held-back.rows", rows ? rounded(rows, 0) : NULL);
}

static void quote_missing(const struct results *r, json_t *values)
{
    enum { MOST_MISSING = 5 };
    const struct plan *plan = r->run->plan;
    const struct planned_stage *end = plan->stages + plan->stage_count;
    enum tier reached = TIER_CORE;
    struct words missing = {NULL, 0}, here = {NULL, 0}, to_come = {NULL, 0};
    for (const struct planned_stage *s = plan->stages; s < end; s++)
        if (s->kind == FINETUNE && s->tier > reached
            && file_exists(run_predictions(r->run, s->task->task, s->model, s->seed)))
            reached = s->tier;
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
    value_put(values, "tiers.here", words_joined(&here, "; "));
    value_put(values, "tiers.to-come", words_joined(&to_come, "; "));
    value_put(values, "missing", words_joined(&missing, "; "));
}

/* Put the findings into sentences */
/* "the teacher did not answer RTE and WNLI; …": why tasks of the report do not count
   for a student's mean; "" if all do. */
static const char *left_out(const struct findings *findings, const char *model)
{
    static const char *const reasons[] = {
        [NO_TEACHER] = "the teacher did not answer",
        [NO_ANSWER] = "the student did not answer",
        [NOT_ABOVE] = "the teacher is not above a constant answer on"};
    struct words clauses = {NULL, 0};
    for (enum reason why = NO_TEACHER; why <= NOT_ABOVE; why++) {
        const struct finding *f = NULL;
        struct words titles = {NULL, 0};
        while ((f = finding_next(findings, f, RETENTION, model)))
            if (f->sheet && f->sheet->shown && f->why == why)
                words_add(&titles, f->sheet->title);
        if (titles.count > 0)
            words_add(&clauses, say("%s %s", reasons[why], words_said(&titles)));
    }
    bool planned = finding_next(findings, NULL, RETENTION, model);
    return planned ? words_joined(&clauses, "; ") : "there is no such model";
}

const char *retention_said(const struct findings *findings, const char *model)
{
    const struct finding *mean = finding_of(findings, RETENTION, NULL, model);
    if (!mean->is.known)
        return say("keeps a share of its teacher that is not defined: %s",
                   left_out(findings, model));
    const char *interval = finding_interval(mean);
    return say("keeps %s %% of its teacher's score%s", finding_said(mean),
               interval ? say(" (95 %% interval %s)", interval)
                        : ", but the teacher's is too near zero for an interval");
}

static void quote_retentions(const struct results *r, json_t *values)
{
    const struct findings *all = r->findings;
    const struct finding *kept_of[r->run->count + 1], *f = NULL,
                         *mean = finding_of(all, RETENTION, NULL, "student");
    struct words counted = {NULL, 0};
    int count = 0;
    while ((f = finding_next(all, f, RETENTION, "student")))
        if (finding_counts(f)) {
            words_add(&counted, f->sheet->title);
            kept_of[count++] = f;
        }
    findings_sort(kept_of, count, false);
    bool differ = count && kept_of[0]->is.value > kept_of[count - 1]->is.value;
    for (int i = 0; i < 2 && differ; i++) {
        f = kept_of[i ? count - 1 : 0];
        value_set(values, say("%s %% of %s", finding_said(f), f->sheet->title),
                  "retention.student.%s", i ? "least" : "most");
    }
    value_put(values, "retention.student.tasks", words_said(&counted));
    value_put(values, "retention.student.left-out", left_out(all, "student"));
    value_set(values, mean->is.known ? finding_said(mean) : NULL,
              "retention.%s.student",
              findings_three(all, "student") ? "three" : "others");
    for (const struct claim *claim = claims; claim->name; claim++) {
        const char *model = claim->model;
        mean = finding_of(all, claim->quantity, NULL, model);
        if (claim->quantity != RETENTION || !mean->model)
            continue;
        value_set(values, retention_said(all, model), "retention.%s.sentence", model);
        if (findings_claimed(all, model))
            value_set(values, estimate_against(&mean->is, claim->published),
                      "retention.%s.%s", model, claim->name);
    }
}

/* Put the differences into sentences */
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

static void quote_ablations(const struct results *r, json_t *values)
{
    static const char *const kinds[DIFFERENCES] = {
        [A_PART] = "parts", [OTHER_LAYERS] = "layers",
        [FINE_TUNED_TEACHERS] = "second", [ANOTHER_RECIPE] = "recipes",
        [ANOTHER_ORIGIN] = "foreign"};
    static const char *const is[] = {[PASS] = "worse", [FAIL] = "better",
                                     [UNDECIDED] = "alike"};
    const struct planned_model *first = plan_model(r->run->plan, "student");
    for (enum difference kind = A_PART; kind < DIFFERENCES; kind++) {
        const struct finding *changes[r->findings->count + 1], *f = NULL;
        int count = 0;
        while ((f = finding_next(r->findings, f, CHANGE, NULL))) {
            const char *model = f->model->name;
            enum verdict verdict = verdict_costs(&f->is);
            bool further = findings_further(r->findings, f->model);
            if (difference_of(f->model, first) != kind)
                continue;
            changes[count++] = f;
            value_flag(values, verdict == FAIL, "ablation.%s.better", kinds[kind]);
            value_flag(values, verdict != UNDECIDED, "ablation.%s.decided",
                       kinds[kind]);
            value_flag(values, true, "ablation.%s.%s", kinds[kind], model);
            value_set(values, is[verdict], "ablation.%s.is", model);
            value_flag(values, further, "ablation.further");
            value_flag(values, further, "ablation.further.%s", model);
        }
        if (count > 0)
            value_set(values, changes_said(changes, count), "ablation.%s.sentence",
                      kinds[kind]);
    }
}

static void quote_hour(const struct results *r, json_t *values)
{
    const struct findings *f = r->findings;
    bool asked = finding_of(f, MOST_KEPT, NULL, NULL)->why != NOT_MEASURED;
    for (int i = 0; i < r->run->plan->model_count; i++)
        if (findings_drawn(f, &r->run->plan->models[i])) {
            value_flag(values, true, "more.drawn");
            value_put(values, "more.quick",
                      asked ? count_said(f->quick, "student") : NULL);
        }
    value_put(values, "more.best", f->best ? title_short(f->best) : NULL);
}

json_t *values_make(const struct results *r)
{
    static void (*const quoters[])(const struct results *, json_t *) = {
        quote_findings, quote_run,        quote_recipe,    quote_gaps, quote_missing,
        quote_answers,  quote_retentions, quote_ablations, quote_hour};
    json_t *values = json_object();
    for (size_t i = 0; i < sizeof quoters / sizeof *quoters; i++)
        quoters[i](r, values);
    verdicts_set(r->verdicts, values);
    return values;
}
