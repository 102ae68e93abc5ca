/* Tangled from chapters/55-run.md; edit there. */
#include "run.h"
#include "fail.h"
#include "file.h"

#include <dirent.h>
#include <errno.h>
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

/* Know the models by rank and title */
static const struct {
    const char *name, *title;
} models[] = {
    {"teacher", "teacher"},
    {"student", "student"},
    {"student-released", "student, released weights"},
    {"student-course", "student, as the course project ran it"},
    {"student-random", "student, random start"},
    {"student-no-mlm", "student, no masked words"},
    {"student-no-kl", "student, no soft targets"},
    {"student-no-cosine", "student, no cosine"},
    {"student-alone", "student, no teacher at all"},
    {"student-undistilled", "student, not distilled"},
    {"student-paper", "student, the paper's layers"},
    {"student-first", "student, the first half of the layers"},
    {"student-last", "student, the last half"},
    {"student-ends", "student, both ends"},
    {"student-twice", "student, distilled twice"},
    {"student-ensemble", "student, taught by an ensemble"},
};

int model_rank(const char *model)
{
    int count = (int)(sizeof models / sizeof *models);
    for (int rank = 0; rank < count; rank++)
        if (!strcmp(models[rank].name, model))
            return rank;
    return count;
}

const char *model_name(int rank)
{
    return rank < (int)(sizeof models / sizeof *models) ? models[rank].name : NULL;
}

const char *ablation_key(const char *model)
{
    const char *key = strncmp(model, "student-", 8) ? model : model + 8;
    return strncmp(key, "no-", 3) ? key : key + 3;
}

const char *model_title(const char *model)
{
    int rank = model_rank(model);
    return rank < (int)(sizeof models / sizeof *models) ? models[rank].title : model;
}

/* List the files of a folder */
char **run_files(const char *folder, const char *suffix, int *count)
{
    char **names = allocate(1, sizeof *names);
    *count = 0;
    DIR *stream = opendir(folder);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (length == tail || !text_ends(entry->d_name, suffix))
            continue;
        names = realloc(names, (size_t)(*count + 1) * sizeof *names);
        if (!names)
            fail(folder, "holds too many files for memory");
        names[(*count)++] = text_format("%.*s", (int)(length - tail), entry->d_name);
    }
    if (stream)
        closedir(stream);
    else if (errno != ENOENT)
        fail(folder, "cannot be listed: %s", strerror(errno));
    qsort(names, (size_t)*count, sizeof *names, text_order);
    return names;
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

/* Leave out what the settings do not ask for */
/* Whether the predictions of that name are of a fine-tuning. */
static bool predicts(const struct planned_stage *stage, const char *name)
{
    bool found = false;
    const char *trained = stage->task->task->name;
    for (const struct task *task = task_list; task->name && !found; task++)
        if (!strcmp(task->name, trained) || (task->of && !strcmp(task->of, trained))) {
            char *file = text_format("%s-%s-%d", task->name, stage->model->name,
                                     stage->seed);
            found = !strcmp(file, name);
            free(file);
        }
    return found;
}

bool run_asks(const struct plan *plan, const char *name)
{
    const char *first = strchr(name, '-');
    if (!first || first == strrchr(name, '-'))
        return true;
    bool found = plan_stage(plan, name);
    for (int i = 0; i < plan->stage_count && !found; i++)
        found = plan->stages[i].kind == FINETUNE && predicts(&plan->stages[i], name);
    return found;
}

/* File the answers under task and model */
static struct sheet *sheet_for(struct run *run, const struct plan *plan,
                               const struct task *task)
{
    int at = 0;
    while (at < run->count && run->sheets[at].task < task)
        at++;
    if (at < run->count && run->sheets[at].task == task)
        return &run->sheets[at];
    run->sheets = realloc(run->sheets, (size_t)(run->count + 1) * sizeof *run->sheets);
    if (!run->sheets)
        fail(run->folder, "holds too many tasks for memory");
    struct sheet *sheet = &run->sheets[at];
    memmove(sheet + 1, sheet, (size_t)(run->count++ - at) * sizeof *sheet);
    bool toy = plan->toyland;
    *sheet = (struct sheet){
        .task = task, .title = text_format(toy ? "toy %s" : "%s", task->title)};
    return sheet;
}
static struct answers *answers_for(struct sheet *sheet, const char *model)
{
    int at = 0, rank = model_rank(model);
    for (; at < sheet->count; at++) {
        int other = model_rank(sheet->list[at].model),
            names = strcmp(sheet->list[at].model, model);
        if (names == 0)
            return &sheet->list[at];
        if (other > rank || (other == rank && names > 0))
            break;
    }
    sheet->list =
        realloc(sheet->list, (size_t)(sheet->count + 1) * sizeof *sheet->list);
    if (!sheet->list)
        fail(model, "is one model too many for memory");
    struct answers *answers = &sheet->list[at];
    memmove(answers + 1, answers, (size_t)(sheet->count++ - at) * sizeof *answers);
    *answers = (struct answers){.model = text_format("%s", model)};
    return answers;
}
static void add_seed(struct answers *answers, int seed, double *predictions,
                     double *others)
{
    int at = answers->seeds++;
    answers->seed =
        realloc(answers->seed, (size_t)answers->seeds * sizeof *answers->seed);
    answers->predictions = realloc(
        answers->predictions, (size_t)answers->seeds * sizeof *answers->predictions);
    answers->others =
        realloc(answers->others, (size_t)answers->seeds * sizeof *answers->others);
    if (!answers->seed || !answers->predictions || !answers->others)
        fail(answers->model, "has too many seeds for memory");
    for (; at > 0 && answers->seed[at - 1] > seed; at--) {
        answers->seed[at] = answers->seed[at - 1];
        answers->predictions[at] = answers->predictions[at - 1];
        answers->others[at] = answers->others[at - 1];
    }
    answers->seed[at] = seed;
    answers->predictions[at] = predictions;
    answers->others[at] = others;
}

static void read_answers(struct run *run, const struct plan *plan, const char *name)
{
    char *path = text_format("%s/predictions/%s.tsv", run->folder, name), *end;
    const char *first = strchr(name, '-'), *last = strrchr(name, '-');
    long seed = first && last > first ? strtol(last + 1, &end, 10) : -1;
    if (seed < 0 || !last[1] || *end)
        fail(path, "expected a name of the form TASK-MODEL-SEED.tsv");
    char *task = text_format("%.*s", (int)(first - name), name);
    char *model = text_format("%.*s", (int)(last - first - 1), first + 1);
    struct sheet *sheet = sheet_for(run, plan, task_find(task));
    double *others = NULL;
    if (sheet->task->also)
        others = read_predictions(sheet, path, sheet->task->also);
    add_seed(answers_for(sheet, model), (int)seed,
             read_predictions(sheet, path, sheet->task->metric), others);
    free(task);
    free(model);
    free(path);
}

/* Score the answers */
static void score_answers(struct sheet *sheet)
{
    for (int i = 0; i < sheet->count; i++) {
        struct answers *a = &sheet->list[i];
        a->scores = allocate((size_t)a->seeds, sizeof *a->scores);
        for (int seed = 0; seed < a->seeds; seed++)
            a->scores[seed] = metric_score(sheet->task->metric, sheet->labels,
                                           a->predictions[seed], sheet->rows);
        a->score = measure_scores(sheet->task, sheet->task->metric, sheet->labels,
                                  a->predictions, sheet->rows, a->seeds,
                                  model_rank(a->model));
        if (sheet->task->also)
            a->also = measure_scores(sheet->task, sheet->task->also, sheet->labels,
                                     a->others, sheet->rows, a->seeds,
                                     model_rank(a->model));
    }
}

/* Score a constant answer */
static double constant_score(const struct sheet *sheet)
{
    double *constant = allocate((size_t)sheet->rows, sizeof *constant);
    double best = sheet->task->answer == A_CLASS ? -INFINITY : 0;
    for (int class = 0; class < sheet->task->classes; class ++) {
        for (int row = 0; row < sheet->rows; row++)
            constant[row] = class;
        best = fmax(best, metric_score(sheet->task->metric, sheet->labels, constant,
                                       sheet->rows));
    }
    free(constant);
    return best;
}

static void hold_against_constant(struct sheet *sheet)
{
    const struct answers *teacher = run_answers(sheet, "teacher");
    struct estimate score = measure_estimate(teacher ? teacher->score : NULL);
    sheet->constant = constant_score(sheet);
    sheet->above = score.bounded && score.low > sheet->constant;
}

/* List the models of a run */
static void list_models(struct run *run, const struct sheet *sheet)
{
    for (int i = 0; i < sheet->count; i++) {
        const char *model = sheet->list[i].model;
        int at = 0;
        while (at < run->model_count && strcmp(run->models[at], model))
            at++;
        if (at < run->model_count)
            continue;
        run->models =
            realloc(run->models, (size_t)(run->model_count + 1) * sizeof *run->models);
        if (!run->models)
            fail(run->folder, "holds too many models for memory");
        for (at = run->model_count++; at > 0; at--) {
            if (model_rank(run->models[at - 1]) <= model_rank(model))
                break;
            run->models[at] = run->models[at - 1];
        }
        run->models[at] = model;
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

/* Open a run */
struct run *run_open(const char *folder, const struct plan *plan)
{
    struct run *run = allocate(1, sizeof *run);
    run->folder = folder;
    run->stages = json_object();
    /* Read the records of the stages */
    int records;
    char *stages = text_format("%s/stages", folder),
         **record = run_files(stages, ".json", &records);
    for (int i = 0; i < records; i++) {
        char *path = text_format("%s/%s.json", stages, record[i]);
        if (run_asks(plan, record[i]))
            json_object_set_new(run->stages, record[i], run_json(path));
        free(path);
        free(record[i]);
    }
    free(record);
    free(stages);
    char *bench = text_format("%s/bench.json", folder);
    run->bench = file_exists(bench) ? run_json(bench) : NULL;
    free(bench);
    /* Read the predictions of all models */
    int files;
    char *predictions = text_format("%s/predictions", folder);
    char **file = run_files(predictions, ".tsv", &files);
    for (int i = 0; i < files; i++) {
        if (run_asks(plan, file[i]))
            read_answers(run, plan, file[i]);
        free(file[i]);
    }
    free(file);
    free(predictions);
    /* Choose the tasks that are shown */
    int headlines = 0;
    for (int i = 0; i < run->count; i++)
        headlines += run->sheets[i].task->headline;
    for (int i = 0; i < run->count; i++) {
        const struct task *task = run->sheets[i].task;
        run->sheets[i].shown = headlines == 3 ? task->headline : !task->of;
    }
    for (int i = 0; i < run->count; i++) {
        score_answers(&run->sheets[i]);
        hold_against_constant(&run->sheets[i]);
        list_models(run, &run->sheets[i]);
    }
    return run;
}

/* Find things in a run */
char *curve_stage(const char *name)
{
    static const char second[] = "-validation";
    size_t length = strlen(name) - (text_ends(name, second) ? strlen(second) : 0);
    return text_format("%.*s", (int)length, name);
}

struct grid *run_curve(const struct run *run, const char *name)
{
    char *stage = curve_stage(name);
    char *path = text_format("%s/curves/%s.tsv", run->folder, name);
    bool ended = json_object_get(run->stages, stage);
    struct grid *grid = ended && file_exists(path) ? grid_read(path) : NULL;
    free(stage);
    free(path);
    return grid;
}

const struct answers *run_answers(const struct sheet *sheet, const char *model)
{
    for (int i = 0; i < sheet->count; i++)
        if (!strcmp(sheet->list[i].model, model))
            return &sheet->list[i];
    return NULL;
}

bool run_counts(const struct sheet *sheet)
{
    return sheet->shown && sheet->above;
}

bool run_beyond(const struct run *run, const char *model)
{
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].task->glue && !run->sheets[i].task->headline
            && run_answers(&run->sheets[i], model))
            return true;
    return false;
}

/* Free a run */
void run_free(struct run *run)
{
    for (int i = 0; i < run->count; i++) {
        struct sheet *sheet = &run->sheets[i];
        for (int j = 0; j < sheet->count; j++) {
            struct answers *a = &sheet->list[j];
            for (int seed = 0; seed < a->seeds; seed++)
                free(a->predictions[seed]);
            for (int seed = 0; seed < a->seeds; seed++)
                free(a->others[seed]);
            free(a->predictions);
            free(a->others);
            free(a->also);
            free(a->seed);
            free(a->scores);
            free(a->score);
            free(a->model);
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
