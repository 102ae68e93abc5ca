/* Tangled from chapters/51-run.md; edit there. */
#include "run.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "said.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The column of that name, kept: numbers from 0 to most, whole ones if they are
   classes; or, up to INFINITY, any. */
static double *read_numbers(const struct grid *grid, const char *name, bool classes,
                            double most)
{
    int column = grid_column(grid, name);
    double least = isinf(most) ? -INFINITY : 0,
           *numbers = kept(allocate((size_t)grid->rows, sizeof *numbers));
    for (int row = 0; row < grid->rows; row++) {
        double x = numbers[row] = grid_number(grid, row, column);
        if (x < least || x > most || (classes && x != floor(x)))
            fail(grid->path, "line %d: expected a %s from %g to %g, found \"%s\"",
                 row + 2, classes ? "class" : "number", least, most,
                 grid_text(grid, row, column));
    }
    return numbers;
}

/* Adds a file's answers to those of a model. */
static void read_file(struct sheet *sheet, struct answers *a, const char *path)
{
    const struct task *task = sheet->task;
    struct grid *grid = grid_read(path);
    bool span = task->answer == A_SPAN, class = task->answer == A_CLASS,
         alike = !span && grid->rows > 1;
    double top = span ? 1 : class ? task->classes - 1 : INFINITY;
    size_t bytes = (size_t)grid->rows * sizeof top;
    if (grid->rows == 0)
        fail(path, "expected a prediction for at least one row, found none");
    double *indices = read_numbers(grid, "index", false, INFINITY),
           *labels = span ? kept(allocate(1, bytes))
                   : read_numbers(grid, "label", class, class ? top : task->most),
           *told = read_numbers(grid, span ? metric_key(task->metric) : "prediction",
                                class, top);
    if (sheet->rows > 0
        && (grid->rows != sheet->rows || memcmp(indices, sheet->indices, bytes)
            || memcmp(labels, sheet->labels, bytes)))
        fail(path, "expected the rows and labels of the other %s predictions, found "
                   "different ones; the settings changed between the runs",
             sheet->title);
    sheet->rows = grid->rows;
    sheet->indices = indices;
    sheet->labels = labels;
    for (int row = 1; row < grid->rows; row++)
        alike &= told[row] == told[0];
    a->predictions[a->seeds] = told;
    a->others[a->seeds] =
        span ? read_numbers(grid, metric_key(task->also), false, top) : told;
    a->scores[a->seeds] = metric_score(task->metric, labels, told, grid->rows);
    a->collapsed[a->seeds++] = alike;
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
    struct answers *a = run->answers;
    while (a->seeds)
        a++;
    *sheet = (struct sheet){.task = task, .list = a,
                            .title = say(run->plan->toyland ? "toy %s" : "%s",
                                         task->title)};
    for (int i = 0; i < planned->model_count; i++) {
        *a = (struct answers){.sheet = sheet, .model = planned->models[i]};
        for (int place = 0; place < planned->seeds; place++) {
            int seed = a->seed[a->seeds] = planned->seed[place];
            const char *path = run_predictions(run, task, a->model, seed);
            a->origin[a->seeds] = plan_distillation(a->model, place);
            if (file_exists(path))
                read_file(sheet, a, path);
        }
        sheet->seeds = a->seeds > sheet->seeds ? a->seeds : sheet->seeds;
        sheet->count += a->seeds > 0;
        a += a->seeds > 0;
    }
    run->count += sheet->count > 0;
}

struct run *run_open(const char *folder, const struct plan *plan)
{
    struct run *run = kept(allocate(1, sizeof *run));
    size_t tasks = 0, models = (size_t)plan->model_count;
    const char *bench = say("%s/bench.json", folder);
    int headlines = 0;
    while (task_list[tasks].name)
        tasks++;
    *run = (struct run){
        .folder = folder, .plan = plan, .stages = json_object(),
        .bench = file_exists(bench) ? json_read(bench) : NULL,
        .sheets = kept(allocate(tasks + 1, sizeof *run->sheets)),
        .answers = kept(allocate(tasks * models + 1, sizeof *run->answers))};
    for (int i = 0; i < plan->stage_count; i++) {
        const char *name = plan->stages[i].name,
                   *path = say("%s/stages/%s.json", folder, name);
        if (file_exists(path))
            json_object_set_new(run->stages, name, json_read(path));
    }
    for (const struct task *task = task_list; task->name; task++)
        if (plan_task(plan, task->name))
            read_sheet(run, task, plan_task(plan, task->name));
    for (const struct sheet *sheet = run->sheets; sheet->count; sheet++)
        headlines += sheet->task->headline;
    for (struct sheet *sheet = run->sheets; sheet->count; sheet++)
        sheet->shown = headlines == 3 ? sheet->task->headline : !sheet->task->of;
    return run;
}

void run_close(struct run *run)
{
    json_decref(run->stages);
    json_decref(run->bench);
}

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
