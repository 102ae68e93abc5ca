/* Tangled from chapters/56-figures.md; edit there. */
#include "values.h"

#include <math.h>
#include <string.h>

/* Plot the training */
enum { POINTS = 100 };

static void plot_losses(const struct results *r, FILE *stream)
{
    static const char *const columns[] = {"mlm", "kl", "cosine", "relations",
                                          "accuracy"};
    struct grid *curve = run_curve(r->run, "distill-student", "");
    bool related = curve && grid_has(curve, columns[3]);
    int points = !curve ? 0 : curve->rows < POINTS ? curve->rows : POINTS;
    fprintf(stream, "step\tmlm\tkl\tcosine%s\taccuracy\n",
            related ? "\trelations" : "");
    for (int point = 0; point < points; point++) {
        int first = (int)((long)curve->rows * point / points),
            end = (int)((long)curve->rows * (point + 1) / points);
        fprintf(stream, "%.1f", grid_mean(curve, "step", first, end));
        for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
            if (i != 3 || related)
                fprintf(stream, "\t%.6g", grid_mean(curve, columns[i], first, end));
        fputc('\n', stream);
    }
}

/* The number of a model of the run in the figures; 0: it is not drawn. */
static int number_of(const struct results *r, const struct planned_model *model)
{
    int number = 0;
    bool drawn = false;
    for (const struct planned_model *m = r->run->plan->models; m <= model; m++) {
        drawn = finding_next(r->findings, NULL, SCORE, m->name)
             && !findings_further(r->findings, m);
        number += drawn;
    }
    return drawn ? number : 0;
}

static void plot_accuracy(const struct results *r, FILE *stream)
{
    const struct estimate level = finding_of(r->findings, GUESSED_LAST, NULL,
                                             "teacher")->is;
    double last_step = 0;
    for (int i = 0; i < r->run->plan->model_count; i++) {
        const struct planned_model *model = &r->run->plan->models[i];
        struct grid *curve = run_curve(r->run, say("distill-%s", model->name),
                                       "-validation");
        int number = number_of(r, model),
            rows = number > 0 && curve && curve->rows > 1 ? curve->rows : 0;
        for (int row = 0; row < rows; row++) {
            double step = grid_mean(curve, "step", row, row + 1),
                   share = grid_mean(curve, "accuracy", row, row + 1);
            last_step = fmax(last_step, step);
            fprintf(stream, "%.0f\t%.4f\t%d\t%s\n", step, 100 * share, number,
                    title_short(model));
        }
        fputs(rows > 0 ? "\n\n" : "", stream);
    }
    for (int end = 0; level.known && end < 2; end++)
        fprintf(stream, "%.0f\t%.4f\t1\tteacher\n", end * last_step, level.value);
}

/* Plot the scores */
static void plot_models(const struct results *r, FILE *stream)
{
    for (int i = 0; i < r->run->plan->model_count; i++) {
        const struct planned_model *model = &r->run->plan->models[i];
        int number = number_of(r, model);
        if (number > 0)
            fprintf(stream, "%d\t%s\n", number, title_short(model));
    }
}

static bool is_drawn(const struct sheet *sheet, bool confused)
{
    return sheet->shown && (!confused || sheet->task->classes == 2);
}

/* The number of a task of the run among those that are drawn. */
static int place_of(const struct results *r, const struct sheet *of, bool confused)
{
    int place = 0;
    for (const struct sheet *sheet = r->run->sheets; sheet < of; sheet++)
        place += is_drawn(sheet, confused);
    return place;
}

static void name_tasks(const struct results *r, bool confused, FILE *stream)
{
    for (const struct sheet *s = r->run->sheets; s->count; s++)
        if (is_drawn(s, confused))
            fprintf(stream, "%d\t%s\n", place_of(r, s, confused), s->title);
}

static void plot_tasks(const struct results *r, FILE *stream)
{
    name_tasks(r, false, stream);
}

static void plot_classes(const struct results *r, FILE *stream)
{
    name_tasks(r, true, stream);
}

/* "0\t1", the numbers of a task and a model; NULL if they are not drawn. */
static const char *panel_of(const struct results *r, const struct sheet *of,
                            const struct planned_model *model)
{
    int number = number_of(r, model);
    return of && of->shown && number > 0
               ? say("%d\t%d", place_of(r, of, false), number) : NULL;
}

static void plot_scores(const struct results *r, FILE *stream)
{
    const struct finding *f = NULL;
    while ((f = finding_next(r->findings, f, SCORE, NULL))) {
        const char *panel = panel_of(r, f->sheet, f->model);
        if (panel && f->is.bounded)
            fprintf(stream, "%s\t%.4f\t%.4f\t%.4f\n", panel, f->is.value, f->is.low,
                    f->is.high);
    }
}

static void plot_seeds(const struct results *r, FILE *stream)
{
    for (const struct answers *a = r->run->answers; a->seeds; a++) {
        const char *panel = panel_of(r, a->sheet, a->model);
        for (int k = 0; panel && k < a->seeds; k++)
            fprintf(stream, "%s\t%.4f\n", panel, a->scores[k]);
    }
}

static void plot_speed(const struct results *r, FILE *stream)
{
    const struct finding *size = NULL;
    fputs("model\tmillions\tone\tall\n", stream);
    while ((size = finding_next(r->findings, size, PARAMETERS, NULL))) {
        const char *name = size->model->name;
        fprintf(stream, "%s\t%.6g\t%.6g\t%.6g\n", size->model->title,
                1e-6 * size->is.value,
                finding_of(r->findings, SECONDS_ONE, NULL, name)->is.value,
                finding_of(r->findings, SECONDS_ALL, NULL, name)->is.value);
    }
}

/* Plot the confusions */
static void plot_matrix(int task, int model, const struct answers *a, FILE *stream)
{
    double median = measure_median(a->scores, a->seeds);
    int typical = 0;
    for (int seed = 1; seed < a->seeds; seed++)
        if (fabs(a->scores[seed] - median) < fabs(a->scores[typical] - median))
            typical = seed;
    struct confusion c = confusion_count(a->sheet->labels, a->predictions[typical],
                                         a->sheet->rows);
    int counts[2][2] = {{c.true_negative, c.false_positive},
                        {c.false_negative, c.true_positive}};
    for (int i = 0; i < 4; i++) {
        int label = i / 2, prediction = i % 2, count = counts[label][prediction],
            all = counts[label][0] + counts[label][1];
        fprintf(stream, "%d\t%d\t%d\t%d\t%.4f\t%d\n", task, model, prediction, label,
                all ? (double)count / all : 0, count);
    }
}

static void plot_confusions(const struct results *r, FILE *stream)
{
    fputs("task\tmodel\tprediction\tlabel\tshare\tcount\n", stream);
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++)
        for (int j = 0; j < 2 && is_drawn(sheet, true); j++) {
            const struct answers *a = run_answers(sheet, j ? "student" : "teacher");
            if (a)
                plot_matrix(place_of(r, sheet, true), j, a, stream);
        }
}

/* Plot what keeps more */
static void plot_kept(const struct results *r, FILE *stream)
{
    const struct findings *all = r->findings;
    const struct planned_model *first = plan_model(r->run->plan, "student");
    const struct finding *points[all->count + 1], *f = NULL; /* none is no array */
    int count = 0;
    while ((f = finding_next(all, f, RETENTION, NULL)))
        if (!f->sheet && findings_drawn(all, f->model))
            points[count++] = f;
    findings_sort(points, count, false);
    fprintf(stream, "difference\tminutes of training on %s\tretention\tlow\thigh"
                    "\tstudent\n", value_get(r->values, "run.device"));
    for (int i = 0; i < count; i++) {
        const struct planned_model *model = points[i]->model;
        const struct estimate e = points[i]->is,
                              took = finding_of(all, MINUTES, NULL, model->name)->is;
        fprintf(stream, "%d\t%.4f\t%.4f\t%.4f\t%.4f\t%s %s\n",
                (int)difference_of(model, first), took.value, e.value,
                e.bounded ? e.low : e.value, e.bounded ? e.high : e.value,
                finding_said(points[i]), title_short(model));
    }
}

static void plot_claimed(const struct results *r, FILE *stream)
{
    fputs("retention\twhose\n", stream);
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == RETENTION && !strcmp(claim->model, "student")
            && findings_claimed(r->findings, "student"))
            fprintf(stream, "%g\t%s\n", claim->published, claim->name);
}

/* Plot the plan */
/* Where each stage of the core, which are the first of the plan, stands in the picture:
   "1\t0\t3", the first of three in level 1; NULL behind the last. */
static const char *const *spots_of(const struct plan *plan)
{
    size_t most = (size_t)plan->stage_count + 1;
    int *level = kept(allocate(most, sizeof *level)), count = 0,
        *place = kept(allocate(most, sizeof *place)),
        *found = kept(allocate(most, sizeof *found));
    const char **spots = kept(allocate(most, sizeof *spots));
    for (; count < plan->stage_count; count++) {
        const struct planned_stage *stage = &plan->stages[count];
        if (stage->tier != TIER_CORE)
            break;
        for (int i = 0; i < stage->need_count; i++)
            if (level[stage->needs[i]] >= level[count])
                level[count] = level[stage->needs[i]] + 1;
        place[count] = found[level[count]]++;
    }
    for (int i = 0; i < count; i++)
        spots[i] = say("%d\t%d\t%d", level[i], place[i], found[level[i]]);
    return spots;
}

static void plot_stages(const struct results *r, FILE *stream)
{
    static const char *const done[] = {"make", "distil", "fine-tune"};
    const char *const *spots = spots_of(r->run->plan);
    fputs("level\tplace\tbeside\tdone\tmodel\ttask\n", stream);
    for (int i = 0; spots[i]; i++) {
        const struct planned_stage *stage = &r->run->plan->stages[i];
        fprintf(stream, "%s\t%s\t%s\t%s\n", spots[i], done[stage->kind],
                title_short(stage->model), stage->task ? stage->task->task->title : "");
    }
}

static void plot_needs(const struct results *r, FILE *stream)
{
    const char *const *spots = spots_of(r->run->plan);
    fputs("level\tplace\tbeside\tlevel\tplace\tbeside\n", stream);
    for (int i = 0; spots[i]; i++)
        for (int j = 0; j < r->run->plan->stages[i].need_count; j++)
            fprintf(stream, "%s\t%s\n", spots[r->run->plan->stages[i].needs[j]],
                    spots[i]);
}

const struct table plots[] = {
    {"losses", .write = plot_losses},   {"accuracy", .write = plot_accuracy},
    {"models", .write = plot_models},   {"tasks", .write = plot_tasks},
    {"scores", .write = plot_scores},   {"seeds", .write = plot_seeds},
    {"classes", .write = plot_classes}, {"confusion", .write = plot_confusions},
    {"speed", .write = plot_speed},     {"kept", .write = plot_kept},
    {"claimed", .write = plot_claimed}, {"stages", .write = plot_stages},
    {"needs", .write = plot_needs},     {.name = NULL}};
