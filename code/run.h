/* Tangled from chapters/55-run.md; edit there. */
#ifndef RUN_H
#define RUN_H

#include "measure.h"
#include "plan.h"
#include "task.h"

#include <jansson.h>

/* A tab-separated file: a header line, then rows. */
struct grid {
    char *path, *text, **cells; /* cells: [rows + 1][columns], the header first; they
                                   point into text */
    int rows, columns;          /* without the header */
};

/* grid_read: reads a file. Fails, naming path and line, if a row has not as many cells
   as the header. The caller frees it with grid_free. */
struct grid *grid_read(const char *path);
void grid_free(struct grid *grid);

/* grid_column: the number of the column of that name. Fails, naming the path, without
   it or with two of it. */
int grid_column(const struct grid *grid, const char *name);

/* grid_text, grid_number: a cell; row counts from 0. grid_number fails, naming path and
   line, if the cell is not a number, or not a finite one. */
const char *grid_text(const struct grid *grid, int row, int column);
double grid_number(const struct grid *grid, int row, int column);

/* Hold the answers that models gave */
/* One model's answers to a task. */
struct answers {
    char *model; /* "student-no-kl" */
    int seeds;
    int *seed;             /* [seeds], ascending */
    double **predictions;  /* [seeds][rows] classes, numbers, or how well texts agree */
    double **others;       /* [seeds][rows] what task->also is computed from */
    double *scores;        /* [seeds] the task's metric in percent */
    struct measure *score; /* the median of them, with its resamples */
    struct measure *also;  /* the same of task->also; NULL if the task has none */
};

/* A task that the run answered. */
struct sheet {
    const struct task *task;
    char *title; /* "CoLA", or "toy CoLA" if it was made, not collected */
    bool shown;      /* one of those that the report's means and figures are of */
    bool above;      /* the teacher's whole interval is above a constant answer */
    double constant; /* the score of a constant answer, in percent */
    int rows, *indices; /* [rows] */
    double *labels;     /* [rows]; of spans all 0 */
    struct answers *list;        /* [count] in the order of model_rank */
    int count;
};

/* Say what can be read from a run */
struct run {
    const char *folder;
    json_t *stages;       /* {"finetune-cola-student-1": the stage's record, …} */
    json_t *bench;        /* bench.json; NULL if there is none */
    json_t *gpu;          /* the same of a committed run on a GPU; NULL until found */
    struct sheet *sheets; /* [count] in the order of task_list */
    int count;
    const char **models; /* [model_count] all that answered some task, by rank; owned by
                            sheets */
    int model_count;
};

/* run_open: reads stages/, bench.json and predictions/ of a run and scores every
   prediction file. Takes only what the settings ask for. Fails, naming the file, if one
   is malformed, or if two files of one task hold different rows. */
struct run *run_open(const char *folder, const struct plan *plan);
void run_free(struct run *run);

/* run_asks: whether a stage or a file of predictions, by its name, belongs to the run
   of this plan. */
bool run_asks(const struct plan *plan, const char *name);

/* run_files: the names in a folder that end in suffix, without it, sorted; *count of
   them, none if there is no folder. The caller frees each and the list. */
char **run_files(const char *folder, const char *suffix, int *count);

/* run_curve: curves/NAME.tsv, or NULL if the run left none of that name, or its stage
   has not ended. */
struct grid *run_curve(const struct run *run, const char *name);

/* curve_stage: the stage that left curves/NAME.tsv; a new string for the caller to
   free. */
char *curve_stage(const char *name);

/* run_json: the JSON object in a file. Fails, naming it, if there is none. The caller
   frees it. */
json_t *run_json(const char *path);

/* run_answers: a model's answers to a task; NULL if it gave none. run_counts: whether a
   task counts for the mean retention. run_beyond: whether a model answered tasks of
   GLUE beside the course project's. */
const struct answers *run_answers(const struct sheet *sheet, const char *model);
bool run_counts(const struct sheet *sheet);
bool run_beyond(const struct run *run, const char *model);

/* model_title: what the report calls a model: "student, random start" for
   "student-random". model_rank: its place in tables; models that have no title come
   last and are called by their name. model_name: the model of a rank, from 0, or NULL
   behind the last. */
const char *model_title(const char *model);
int model_rank(const char *model);
const char *model_name(int rank);

/* ablation_key: what a student is called among the ablations, for what it lacks or has:
   "kl" for "student-no-kl", "alone" for "student-alone". */
const char *ablation_key(const char *model);

#endif
