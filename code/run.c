/* Tangled from chapters/55-run.md; edit there. */
#include "run.h"
#include "fail.h"
#include "file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Read a tab-separated file */
static int count_cells(const char *line)
{
    int cells = 1;
    for (; *line && *line != '\n'; line++)
        cells += *line == '\t';
    return cells;
}

struct grid *grid_read(const char *path)
{
    struct grid *grid = allocate(1, sizeof *grid);
    grid->path = text_format("%s", path);
    grid->text = file_text(path, NULL);
    grid->columns = count_cells(grid->text);
    int lines = 0;
    for (char *c = grid->text; *c; c++)
        lines += *c == '\n' || !c[1];
    grid->cells = allocate((size_t)lines * (size_t)grid->columns, sizeof *grid->cells);
    char *at = grid->text;
    for (int line = 0; line < lines; line++) {
        if (count_cells(at) != grid->columns)
            fail(path, "line %d: expected %d cells as in the header, found %d",
                 line + 1, grid->columns, count_cells(at));
        for (int column = 0; column < grid->columns; column++) {
            grid->cells[line * grid->columns + column] = at;
            at += strcspn(at, "\t\n");
            if (*at)
                *at++ = '\0';
        }
    }
    grid->rows = lines > 0 ? lines - 1 : 0;
    return grid;
}

/* Look into a tab-separated file */
void grid_free(struct grid *grid)
{
    free(grid->path);
    free(grid->text);
    free(grid->cells);
    free(grid);
}

int grid_column(const struct grid *grid, const char *name)
{
    int found = -1;
    for (int column = 0; *grid->text && column < grid->columns; column++) {
        if (strcmp(grid->cells[column], name))
            continue;
        if (found >= 0)
            fail(grid->path, "line 1: the column \"%s\" is named twice", name);
        found = column;
    }
    if (found < 0)
        fail(grid->path, "expected a column \"%s\" in the header", name);
    return found;
}

const char *grid_text(const struct grid *grid, int row, int column)
{
    return grid->cells[(row + 1) * grid->columns + column];
}

double grid_number(const struct grid *grid, int row, int column)
{
    const char *text = grid_text(grid, row, column);
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number))
        fail(grid->path, "line %d: expected a finite number, found \"%s\"", row + 2,
             text);
    return number;
}

/* Read one file of predictions */
/* least, most: what a number may be; a class is one of the task's. */
static double answer_at(const struct grid *grid, int row, int column,
                        const struct task *task, double least, double most)
{
    double number = column < 0 ? 0 : grid_number(grid, row, column);
    bool class = number >= 0 && number < task->classes && number == floor(number);
    if (task->answer == A_CLASS && !class)
        fail(grid->path, "line %d: expected a class from 0 to %d, found \"%s\"",
             row + 2, task->classes - 1, grid_text(grid, row, column));
    if (task->answer != A_CLASS && (number < least || number > most))
        fail(grid->path, "line %d: expected a number from %g to %g, found \"%s\"",
             row + 2, least, most, grid_text(grid, row, column));
    return number;
}

static double label_at(const struct grid *grid, int row, int column,
                       const struct task *task)
{
    return answer_at(grid, row, column, task, 0, task->most);
}

static double *read_predictions(struct sheet *sheet, const char *path,
                                enum metric metric)
{
    struct grid *grid = grid_read(path);
    bool span = sheet->task->answer == A_SPAN;
    int index = grid_column(grid, "index");
    int label = span ? -1 : grid_column(grid, "label");
    int prediction = grid_column(grid, span ? metric_key(metric) : "prediction");
    if (grid->rows == 0)
        fail(path, "expected a prediction for at least one row, found none");
    /* Let the first file set the rows of the task */
    if (sheet->rows == 0) {
        sheet->rows = grid->rows;
        sheet->indices = allocate((size_t)grid->rows, sizeof *sheet->indices);
        sheet->labels = allocate((size_t)grid->rows, sizeof *sheet->labels);
        for (int row = 0; row < grid->rows; row++) {
            sheet->indices[row] = (int)grid_number(grid, row, index);
            sheet->labels[row] = label_at(grid, row, label, sheet->task);
        }
    }
    double *predictions = allocate((size_t)sheet->rows, sizeof *predictions);
    bool same = grid->rows == sheet->rows;
    for (int row = 0; same && row < grid->rows; row++) {
        same = (int)grid_number(grid, row, index) == sheet->indices[row]
               && label_at(grid, row, label, sheet->task) == sheet->labels[row];
        predictions[row] = answer_at(grid, row, prediction, sheet->task,
                                     span ? 0 : -INFINITY, span ? 1 : INFINITY);
    }
    if (!same)
        fail(path,
             "expected the rows and labels of the other %s predictions, found "
             "different ones; the settings changed between the runs",
             sheet->title);
    grid_free(grid);
    return predictions;
}

/* Read the answers of a model */
static bool all_alike(const double *predictions, int rows)
{
    for (int row = 1; row < rows; row++)
        if (predictions[row] != predictions[0])
            return false;
    return rows > 1;
}

static void read_answers(const struct run *run, const struct planned_task *planned,
                         struct sheet *sheet, struct answers *a)
{
    const struct task *task = sheet->task;
    for (int place = 0; place < planned->seeds; place++) {
        char *path = text_format("%s/predictions/%s-%s-%d.tsv", run->folder, task->name,
                                 a->model->name, planned->seed[place]);
        if (file_exists(path)) {
            int at = a->seeds++;
            a->seed[at] = planned->seed[place];
            a->origin[at] = plan_distillation(a->model, place);
            a->predictions[at] = read_predictions(sheet, path, task->metric);
            a->others[at] = task->also ? read_predictions(sheet, path, task->also)
                                       : NULL;
            a->scores[at] = metric_score(task->metric, sheet->labels,
                                         a->predictions[at], sheet->rows);
            a->collapsed[at] = task->answer != A_SPAN
                            && all_alike(a->predictions[at], sheet->rows);
        }
        free(path);
    }
}
/* Adds the sheet of a task to the run if any model answered it. */
static void read_sheet(struct run *run, const struct task *task,
                       const struct planned_task *planned)
{
    struct sheet sheet = {
        .task = task,
        .title = text_format(run->plan->toyland ? "toy %s" : "%s", task->title),
        .list = allocate((size_t)planned->model_count, sizeof *sheet.list)};
    for (int i = 0; i < planned->model_count; i++) {
        struct answers *a = &sheet.list[sheet.count];
        *a = (struct answers){.model = planned->models[i]};
        read_answers(run, planned, &sheet, a);
        sheet.count += a->seeds > 0;
    }
    if (sheet.count > 0) {
        run->sheets[run->count++] = sheet;
    } else {
        free(sheet.title);
        free(sheet.list);
    }
}

/* Read a JSON object */
json_t *run_json(const char *path)
{
    json_error_t error;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object))
        fail(path, "expected a JSON object; line %d: %s", error.line, error.text);
    return object;
}

static void read_record(struct run *run, const char *stage)
{
    char *path = text_format("%s/stages/%s.json", run->folder, stage);
    if (file_exists(path))
        json_object_set_new(run->stages, stage, run_json(path));
    free(path);
}

/* Find things in a run */
struct grid *run_curve(const struct run *run, const char *stage, const char *which)
{
    char *path = text_format("%s/curves/%s%s.tsv", run->folder, stage, which);
    bool ended = json_object_get(run->stages, stage);
    struct grid *grid = ended && file_exists(path) ? grid_read(path) : NULL;
    free(path);
    return grid;
}

const struct sheet *run_sheet(const struct run *run, const char *task)
{
    for (int i = 0; i < run->count; i++)
        if (!strcmp(run->sheets[i].task->name, task))
            return &run->sheets[i];
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
    bool has = false;
    for (int i = 0; i < run->count; i++)
        has |= run_answers(&run->sheets[i], model->name) != NULL;
    return has;
}

/* Open a run */
struct run *run_open(const char *folder, const struct plan *plan)
{
    struct run *run = allocate(1, sizeof *run);
    *run = (struct run){.folder = folder, .plan = plan, .stages = json_object()};
    run->sheets = allocate(2 * (size_t)plan->task_count, sizeof *run->sheets);
    run->models = allocate((size_t)plan->model_count, sizeof *run->models);
    for (int i = 0; i < plan->stage_count; i++)
        read_record(run, plan->stages[i].name);
    char *bench = text_format("%s/bench.json", folder);
    run->bench = file_exists(bench) ? run_json(bench) : NULL;
    free(bench);
    for (const struct task *task = task_list; task->name; task++)
        if (plan_task(plan, task->name))
            read_sheet(run, task, plan_task(plan, task->name));
    /* Choose the tasks that are shown */
    int headlines = 0;
    for (int i = 0; i < run->count; i++)
        headlines += run->sheets[i].task->headline;
    for (int i = 0; i < run->count; i++) {
        const struct task *task = run->sheets[i].task;
        run->sheets[i].shown = headlines == 3 ? task->headline : !task->of;
    }
    for (int i = 0; i < plan->model_count; i++)
        if (run_has(run, &plan->models[i]))
            run->models[run->model_count++] = &plan->models[i];
    return run;
}

/* Free a run */
void run_free(struct run *run)
{
    for (int i = 0; i < run->count; i++) {
        struct sheet *sheet = &run->sheets[i];
        for (int j = 0; j < sheet->count; j++)
            for (int k = 0; k < sheet->list[j].seeds; k++) {
                free(sheet->list[j].predictions[k]);
                free(sheet->list[j].others[k]);
            }
        free(sheet->list);
        free(sheet->title);
        free(sheet->indices);
        free(sheet->labels);
    }
    free(run->sheets);
    free(run->models);
    json_decref(run->stages);
    json_decref(run->bench);
    json_decref(run->gpu);
    free(run);
}
