/* Tangled from chapters/51-run.md; edit there. */
#include "run.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "said.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Read the answers of a model */
/* The column of that name, of numbers from least to most, or of whole ones, classes;
   kept. */
static double *read_numbers(const struct grid *grid, const char *name, bool classes,
                            double least, double most)
{
    int column = grid_column(grid, name);
    double *numbers = kept(allocate((size_t)grid->rows, sizeof *numbers));
    for (int row = 0; row < grid->rows; row++) {
        double x = numbers[row] = grid_number(grid, row, column);
        if (x < least || x > most || (classes && x != floor(x)))
            fail(grid->path, "line %d: expected a %s from %g to %g, found \"%s\"",
                 row + 2, classes ? "class" : "number", least, most,
                 grid_text(grid, row, column));
    }
    return numbers;
}

static void hold_rows(struct sheet *sheet, const struct grid *grid)
{
    const struct task *task = sheet->task;
    bool classes = task->answer == A_CLASS, first = sheet->rows == 0;
    size_t rows = (size_t)grid->rows, bytes = rows * sizeof(double);
    double *indices = read_numbers(grid, "index", false, -INFINITY, INFINITY), *labels =
        task->answer == A_SPAN ? kept(allocate(rows, sizeof *labels))
        : read_numbers(grid, "label", classes, 0, classes ? task->classes - 1
                                                          : task->most);
    if (!first && (grid->rows != sheet->rows || memcmp(indices, sheet->indices, bytes)
                   || memcmp(labels, sheet->labels, bytes)))
        fail(grid->path, "expected the rows and labels of the other %s predictions, "
                         "found different ones; the settings changed between the runs",
             sheet->title);
    sheet->rows = grid->rows;
    sheet->indices = indices;
    sheet->labels = labels;
}

/* Adds a file's answers to those of a model, but for its seed. */
static void read_file(struct sheet *sheet, struct answers *a, const char *path)
{
    const struct task *task = sheet->task;
    struct grid *grid = grid_read(path);
    bool span = task->answer == A_SPAN, classes = task->answer == A_CLASS,
         alike = !span && grid->rows > 1;
    if (grid->rows == 0)
        fail(path, "expected a prediction for at least one row, found none");
    hold_rows(sheet, grid);
    double *told =
        read_numbers(grid, span ? metric_key(task->metric) : "prediction", classes,
                     span || classes ? 0 : -INFINITY,
                     span ? 1 : classes ? task->classes - 1 : INFINITY);
    for (int row = 1; row < grid->rows; row++)
        alike &= told[row] == told[0];
    a->predictions[a->seeds] = told;
    a->others[a->seeds] =
        span ? read_numbers(grid, metric_key(task->also), false, 0, 1) : told;
    a->scores[a->seeds] = metric_score(task->metric, sheet->labels, told, sheet->rows);
    a->collapsed[a->seeds] = alike;
    free(grid);
}

const char *run_predictions(const struct run *run, const struct task *task,
                            const struct planned_model *model, int seed)
{
    return say("%s/predictions/%s-%s-%d.tsv", run->folder, task->name, model->name,
               seed);
}

/* Adds the sheet of a task to the run if any model answered it. */
static void read_sheet(struct run *run, const struct task *task,
                       const struct planned_task *planned)
{
    struct sheet *sheet = &run->sheets[run->count];
    *sheet = (struct sheet){
        .task = task, .title = say(run->plan->toyland ? "toy %s" : "%s", task->title),
        .list = run->answers + run->answer_count};
    for (int i = 0; i < planned->model_count; i++) {
        struct answers *a = &sheet->list[sheet->count];
        *a = (struct answers){.sheet = sheet, .model = planned->models[i]};
        for (int place = 0; place < planned->seeds; place++) {
            int seed = planned->seed[place];
            const char *path = run_predictions(run, task, a->model, seed);
            if (!file_exists(path))
                continue;
            read_file(sheet, a, path);
            a->seed[a->seeds] = seed;
            a->origin[a->seeds++] = plan_distillation(a->model, place);
        }
        sheet->count += a->seeds > 0;
        sheet->seeds = a->seeds > sheet->seeds ? a->seeds : sheet->seeds;
    }
    run->answer_count += sheet->count;
    run->count += sheet->count > 0;
}

/* Open a run */
struct run *run_open(const char *folder, const struct plan *plan)
{
    struct run *run = kept(allocate(1, sizeof *run));
    size_t tasks = 0, models = (size_t)plan->model_count;
    for (const struct task *task = task_list; task->name; task++)
        tasks++;
    *run = (struct run){.folder = folder, .plan = plan, .stages = json_object(),
                        .sheets = kept(allocate(tasks + 1, sizeof *run->sheets)),
                        .answers = kept(allocate(tasks * models + 1,
                                                 sizeof *run->answers)),
                        .models = kept(allocate(models, sizeof *run->models))};
    for (int i = 0; i < plan->stage_count; i++) {
        const char *name = plan->stages[i].name,
                   *path = say("%s/stages/%s.json", folder, name);
        if (file_exists(path))
            json_object_set_new(run->stages, name, json_read(path));
    }
    const char *bench = say("%s/bench.json", folder);
    run->bench = file_exists(bench) ? json_read(bench) : NULL;
    for (const struct task *task = task_list; task->name; task++)
        if (plan_task(plan, task->name))
            read_sheet(run, task, plan_task(plan, task->name));
    /* Choose the tasks that are shown */
    int headlines = 0;
    for (struct sheet *sheet = run->sheets; sheet->count; sheet++)
        headlines += sheet->task->headline;
    for (struct sheet *sheet = run->sheets; sheet->count; sheet++) {
        sheet->shown = headlines == 3 ? sheet->task->headline : !sheet->task->of;
        sheet->confused = sheet->shown && sheet->task->classes == 2;
    }
    for (int i = 0; i < plan->model_count; i++)
        if (run_has(run, &plan->models[i]))
            run->models[run->model_count++] = &plan->models[i];
    return run;
}

void run_close(struct run *run)
{
    json_decref(run->stages);
    json_decref(run->bench);
}

/* Find things in a run */
const struct sheet *run_sheet(const struct run *run, const char *task)
{
    for (const struct sheet *sheet = run->sheets; sheet->count; sheet++)
        if (!strcmp(sheet->task->name, task))
            return sheet;
    return NULL;
}

const struct answers *run_answers(const struct sheet *sheet, const char *model)
{
    for (int i = 0; sheet && i < sheet->count; i++)
        if (!strcmp(sheet->list[i].model->name, model))
            return &sheet->list[i];
    return NULL;
}

bool run_has(const struct run *run, const struct planned_model *model)
{
    bool any = false;
    for (const struct answers *a = run->answers; a->seeds; a++)
        any |= a->model == model;
    return any;
}

struct shape run_shape(const struct run *run, const char *model)
{
    const char *folder = say("%s/models/%s", run->folder, model);
    bool known = file_exists(say("%s/config.json", folder));
    return known ? model_shape(folder) : (struct shape){.layers = 0};
}

struct grid *run_curve(const struct run *run, const char *stage, const char *which)
{
    const char *path = say("%s/curves/%s%s.tsv", run->folder, stage, which);
    bool ended = json_object_get(run->stages, stage);
    struct grid *grid = ended && file_exists(path) ? kept(grid_read(path)) : NULL;
    return grid && grid->rows > 0 ? grid : NULL;
}
