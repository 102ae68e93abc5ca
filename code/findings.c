/* Tangled from chapters/52-findings.md; edit there. */
#include "findings.h"
#include "json.h"
#include "said.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void findings_add(struct findings *findings, struct finding finding)
{
    size_t room = (size_t)(findings->count + 1) * sizeof finding;
    findings->list = realloc(findings->list, room);
    if (!findings->list)
        fail("results", "are too many for memory");
    findings->list[findings->count++] = finding;
}

/* Adds what a measure says, and keeps it; or, where it is NULL, why there is none; of
   neither nothing. */
static void add(struct findings *f, enum quantity quantity, const struct sheet *sheet,
                const struct planned_model *model, struct measure *measure,
                enum reason why)
{
    struct estimate is = measure_estimate(measure);
    why = is.known && !is.bounded ? NEAR_ZERO : why;
    if (measure || why != NOT_MEASURED)
        findings_add(f, (struct finding){quantity, sheet, model, is, why,
                                         kept(measure)});
}

static void add_number(struct findings *f, enum quantity quantity,
                       const struct sheet *sheet, const struct planned_model *model,
                       double number)
{
    findings_add(f, (struct finding){quantity, sheet, model,
                                     .is = {.known = true, .value = number}});
}

static bool named(const char *wanted, const char *name)
{
    return wanted && name ? !strcmp(wanted, name) : wanted == name;
}

const struct finding *finding_next(const struct findings *all,
                                   const struct finding *last, enum quantity quantity,
                                   const char *model)
{
    const struct finding *f = last ? last + 1 : all->list;
    for (; f < all->list + all->count; f++)
        if (f->quantity == quantity
            && (!model || (f->model && named(model, f->model->name))))
            return f;
    return NULL;
}

const struct finding *finding_of(const struct findings *all, enum quantity quantity,
                                 const char *task, const char *model)
{
    static const struct finding nothing = {.why = NOT_MEASURED};
    const struct finding *f = NULL;
    while ((f = finding_next(all, f, quantity, model)))
        if (named(task, f->sheet ? f->sheet->task->name : NULL))
            return f;
    return &nothing;
}

static void find_scores(struct findings *f, const struct answers *a)
{
    const struct task *task = a->sheet->task;
    struct tries tries = {a->sheet->labels, a->predictions, a->origin, a->sheet->rows,
                          a->seeds};
    add(f, SCORE, a->sheet, a->model, measure_scores(task, task->metric, &tries),
        NOT_MEASURED);
    tries.predictions = a->others;
    if (task->also)
        add(f, SECOND, a->sheet, a->model, measure_scores(task, task->also, &tries),
            NOT_MEASURED);
}

/* The mean of a quantity of a model over so many tasks, or with 0 over any number; NULL
   if it is over others. other: only over those of which it has the quantity, too, or
   NULL. */
static struct measure *mean_of(const struct findings *f, enum quantity quantity,
                               const char *model, const char *other, int wanted)
{
    struct measure *parts[f->run->count + 1];
    int count = 0;
    for (const struct finding *p = NULL; (p = finding_next(f, p, quantity, model));)
        if (p->sheet && p->measure && (p->sheet->shown || quantity == GLUE)
            && (!other
                || finding_of(f, quantity, p->sheet->task->name, other)->measure))
            parts[count++] = p->measure;
    bool whole = count == wanted || !wanted;
    return count > 0 && whole ? measure_mean(parts, count) : NULL;
}

/* A model's score on a task as GLUE counts it; NULL if it has not answered all of
   it. */
static struct measure *glue_part(const struct findings *f, const struct task *task,
                                 const char *model)
{
    struct measure *halves[2];
    int count = 0;
    for (const struct task *half = task_list; half->name; half++)
        if (half == task || named(half->of, task->name)) {
            enum quantity quantity = half->also ? SECOND : SCORE;
            halves[count] = finding_of(f, quantity, half->name, model)->measure;
            if (!halves[count++])
                return NULL;
        }
    return measure_mean(halves, count);
}

static void find_glue(struct findings *f, const struct planned_model *model)
{
    int tasks = 0;
    for (const struct task *task = task_list; task->name; task++)
        if (task->glue && ++tasks)
            add(f, GLUE, run_sheet(f->run, task->name), model,
                glue_part(f, task, model->name), NOT_MEASURED);
    add(f, GLUE, NULL, model, mean_of(f, GLUE, model->name, NULL, tasks),
        NOT_MEASURED);
    const struct measure *whole = finding_of(f, GLUE, NULL, "teacher")->measure,
                         *score = finding_of(f, GLUE, NULL, model->name)->measure;
    if (whole && score && whole != score)
        add(f, GLUE_KEPT, NULL, model, measure_ratio(score, whole), NOT_MEASURED);
}

static void find_retention(struct findings *f, const struct planned_model *model)
{
    for (const struct sheet *sheet = f->run->sheets; sheet->count; sheet++) {
        const char *task = sheet->task->name;
        const struct finding *teacher = finding_of(f, SCORE, task, "teacher"),
                             *constant = finding_of(f, CONSTANT_SCORE, task, NULL);
        struct measure *part = finding_of(f, SCORE, task, model->name)->measure;
        bool above = teacher->is.bounded && teacher->is.low > constant->is.value;
        enum reason why = !teacher->measure ? NO_TEACHER
                          : !part           ? NO_ANSWER
                          : !above          ? NOT_ABOVE : NOT_MEASURED;
        if (sheet->shown || part)
            add(f, RETENTION, sheet, model,
                why ? NULL : measure_ratio(part, teacher->measure), why);
    }
    add(f, RETENTION, NULL, model, mean_of(f, RETENTION, model->name, NULL, 0),
        NO_TASK);
}

bool finding_counts(const struct finding *f)
{
    return f->quantity == RETENTION && f->sheet && f->sheet->shown && f->is.known;
}

bool findings_three(const struct findings *findings, const char *model)
{
    int headlines = 0, others = 0;
    const struct finding *f = NULL;
    while ((f = finding_next(findings, f, RETENTION, model))) {
        headlines += finding_counts(f) && f->sheet->task->headline;
        others += finding_counts(f) && !f->sheet->task->headline;
    }
    return headlines == 3 && others == 0;
}

static void find_change(struct findings *f, const struct planned_model *model)
{
    struct measure *with = kept(mean_of(f, SCORE, "student", model->name, 0)),
                   *without = kept(mean_of(f, SCORE, model->name, "student", 0));
    if (with)
        add(f, CHANGE, NULL, model, measure_difference(without, with), NOT_MEASURED);
}

static void find_guesses(struct findings *f, const struct planned_model *model)
{
    const json_t *teacher = json_at(f->run->stages, "distill-student/teacher_accuracy");
    struct grid *curve = run_curve(f->run, say("distill-%s", model->name),
                                   "-validation");
    if (!model->student && teacher)
        add_number(f, GUESSED_LAST, NULL, model, 100 * json_number_value(teacher));
    for (int last = 0; last < 2 && curve; last++) {
        int row = last ? curve->rows - 1 : 0;
        add_number(f, GUESSED_FIRST + last, NULL, model,
                   100 * grid_mean(curve, "accuracy", row, row + 1));
    }
}

/* Tell what a student differs in */
enum difference difference_of(const struct planned_model *model,
                              const struct planned_model *first)
{
    if (!model || !first || !model->student || model == first)
        return NO_DIFFERENCE;
    const struct loss_settings *a = &model->losses, *b = &first->losses;
    bool lacks = (a->mlm == 0 && b->mlm > 0) || (a->kl == 0 && b->kl > 0)
              || (a->cosine == 0 && b->cosine > 0)
              || (model->recipe.epochs == 0 && first->recipe.epochs > 0)
              || (model->initial == INITIAL_RANDOM && first->initial != INITIAL_RANDOM),
         layers = model->layers != first->layers
               || memcmp(model->layer, first->layer,
                         (size_t)first->layers * sizeof *first->layer);
    return model->hears                       ? FINE_TUNED_TEACHERS
           : model->initial == INITIAL_FOLDER ? ANOTHER_ORIGIN
           : model->from || model->replaces   ? ANOTHER_RECIPE
           : lacks                            ? A_PART
           : layers                           ? OTHER_LAYERS : ANOTHER_RECIPE;
}

bool findings_further(const struct findings *findings,
                      const struct planned_model *model)
{
    enum difference it = difference_of(model,
                                       plan_model(findings->run->plan, "student"));
    return it == OTHER_LAYERS || it == FINE_TUNED_TEACHERS || it == ANOTHER_RECIPE;
}

bool findings_drawn(const struct findings *findings, const struct planned_model *model)
{
    return finding_of(findings, MINUTES, NULL, model->name)->is.known
        && finding_of(findings, RETENTION, NULL, model->name)->is.known;
}

bool findings_claimed(const struct findings *findings, const char *model)
{
    return !findings->run->plan->toyland && findings_three(findings, model)
        && (strcmp(model, "student") || findings->student == TAUGHT);
}

void findings_sort(const struct finding **list, int count, bool by_size)
{
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0; k--) {
            const struct finding *f = list[k - 1], *g = list[k];
            double x = by_size ? fabs(f->is.value) : f->is.value,
                   y = by_size ? fabs(g->is.value) : g->is.value;
            if (x > y || (x == y && f->model->rank <= g->model->rank))
                break;
            list[k - 1] = g;
            list[k] = f;
        }
}

/* Find size and speed */
static struct estimate faster(const json_t *teacher, const json_t *student,
                              const char *cores)
{
    struct estimate speed = {.known = true, .low = INFINITY, .high = -INFINITY};
    const char *whole = say("seconds_%s", cores), *part = say("parts_%s", cores);
    const json_t *slow = json_at(teacher, part), *quick = json_at(student, part);
    speed.value = 100 * (number_at(teacher, whole) / number_at(student, whole) - 1);
    for (size_t i = 0; i < json_array_size(slow); i++) {
        double ratio = 100 * (json_number_value(json_array_get(slow, i))
                              / json_number_value(json_array_get(quick, i)) - 1);
        bool real = isfinite(ratio) && ratio > -100;
        speed.low = real ? fmin(speed.low, ratio) : speed.low;
        speed.high = real ? fmax(speed.high, ratio) : speed.high;
        speed.bounded |= real;
    }
    return speed;
}

static void find_speed(struct findings *f, const struct planned_model *model)
{
    static const char *const cores[] = {"one_core", "all_cores"};
    const json_t *teacher = json_at(f->run->bench, "models/teacher"),
                 *timed = json_at(f->run->bench, say("models/%s", model->name));
    double size = number_at(timed, "parameters"),
           whole = number_at(teacher, "parameters"), smaller = 100 * (1 - size / whole);
    if (size <= 0 || whole <= 0)
        return;
    add_number(f, PARAMETERS, NULL, model, size);
    findings_add(f, (struct finding){.quantity = SMALLER, .model = model,
                                     .is = {true, true, smaller, smaller, smaller}});
    for (unsigned i = 0; i < 2; i++) {
        const char *key = say("seconds_%s", cores[i]);
        double seconds = number_at(timed, key), slow = number_at(teacher, key);
        if (seconds <= 0 || slow <= 0)
            continue;
        add_number(f, SECONDS_ONE + i, NULL, model, seconds);
        add_number(f, TIMES_ONE + i, NULL, model, slow / seconds);
        findings_add(f, (struct finding){.quantity = FASTER_ONE + i, .model = model,
                                         .is = faster(teacher, timed, cores[i]),
                                         .why = NO_PARTS});
    }
}

/* Find what was within an hour */
/* A stage's seconds; NAN if it has not ended. */
static double seconds_of(const struct run *run, const struct planned_stage *stage)
{
    const json_t *record = json_object_get(run->stages, stage->name);
    return record ? number_at(record, "seconds") : NAN;
}

/* The mean over those of a model's stages that have ended, with the fine-tuned teachers
   that they need: its distillations, or its fine-tunings for a task; 0 if none is
   planned, NAN if none has ended. */
static double mean_seconds(const struct run *run, const struct planned_model *model,
                           const struct task *task)
{
    double seconds = 0, planned = 0, ended = 0;
    for (int i = 0; i < run->plan->stage_count; i++) {
        const struct planned_stage *stage = &run->plan->stages[i], *needed;
        if (stage->model != model || (stage->task ? stage->task->task : NULL) != task)
            continue;
        double took = seconds_of(run, stage);
        for (int k = 0; k < stage->need_count; k++)
            if ((needed = &run->plan->stages[stage->needs[k]])->kind == FINETUNE)
                took += seconds_of(run, needed);
        planned++;
        ended += !isnan(took);
        seconds += isnan(took) ? 0 : took;
    }
    return planned > 0 ? seconds / ended : 0;
}

/* The minutes that a student took; NAN if they are not known. */
static double minutes_of(const struct findings *f, const struct planned_model *model)
{
    double seconds = mean_seconds(f->run, model->from ? model->from : model, NULL);
    bool any = false;
    const struct finding *of = NULL;
    while ((of = finding_next(f, of, RETENTION, model->name)))
        if (finding_counts(of) && (any = true))
            seconds += mean_seconds(f->run, model, of->sheet->task);
    return any && seconds > 0 ? seconds / 60 : NAN;
}

static void find_more(struct findings *f)
{
    const struct plan *plan = f->run->plan;
    const struct planned_model *quick[plan->model_count];
    int layers = plan->scratch ? plan->shape.layers
                               : run_shape(f->run, "teacher").layers;
    bool any = false;
    for (int i = 0; i < plan->model_count; i++)
        any |= findings_further(f, &plan->models[i])
            && finding_next(f, NULL, SCORE, plan->models[i].name);
    for (int i = 0; any && i < plan->model_count; i++) {
        const struct planned_model *model = &plan->models[i],
                                   *made = model->from ? model->from : model;
        bool asked = findings_further(f, model) || named("student", model->name);
        double minutes = asked ? minutes_of(f, model) : NAN;
        if (!isnan(minutes))
            add_number(f, MINUTES, NULL, model, minutes);
        if (minutes <= 60 && 2 * made->layers <= layers
            && findings_three(f, model->name))
            quick[f->quick++] = model;
    }
    if (any && !plan->toyland) {
        /* Bound what the best of them keeps */
        struct estimate most = {f->quick > 0, f->quick > 0, -INFINITY, -INFINITY, -INFINITY};
        for (int i = 0; i < f->quick; i++) {
            const struct finding *keeps = finding_of(f, RETENTION, NULL, quick[i]->name);
            struct estimate one = measure_among(keeps->measure, f->quick);
            f->best = keeps->is.value > most.value ? quick[i] : f->best;
            most.value = fmax(most.value, keeps->is.value);
            most.low = fmax(most.low, one.low);
            most.high = fmax(most.high, one.high);
            most.bounded &= one.bounded;
        }
        enum reason why = f->quick ? NEAR_ZERO : layers ? NO_STUDENT : NOT_MEASURED;
        findings_add(f, (struct finding){.quantity = MOST_KEPT, .is = most, .why = why});
    }
}

struct findings *findings_make(const struct run *run)
{
    struct findings *f = allocate(1, sizeof *f);
    const json_t *record = json_at(run->stages, "distill-student");
    int shown = 0;
    f->run = run;
    f->student = !record                         ? UNKNOWN
                 : number_at(record, "steps") > 0 ? TAUGHT : UNTAUGHT;
    for (const struct sheet *sheet = run->sheets; sheet->count; sheet++) {
        add_number(f, CONSTANT_SCORE, sheet, NULL,
                   measure_constant(sheet->task, sheet->labels, sheet->rows));
        shown += sheet->shown;
    }
    for (const struct answers *a = run->answers; a->seeds; a++)
        find_scores(f, a);
    for (int i = 0; i < run->plan->model_count; i++) {
        const struct planned_model *model = &run->plan->models[i];
        bool first = named("student", model->name),
             there = finding_next(f, NULL, SCORE, model->name);
        find_guesses(f, model);
        add(f, SCORE, NULL, model, mean_of(f, SCORE, model->name, NULL, shown),
            NOT_MEASURED);
        find_glue(f, model);
        if (model->student && (first || there))
            find_retention(f, model);
        if (model->student && !first)
            find_change(f, model);
        find_speed(f, model);
    }
    find_more(f);
    return f;
}

void findings_free(struct findings *findings)
{
    free(findings->list);
    free(findings);
}
