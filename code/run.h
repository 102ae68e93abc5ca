/* Tangled from chapters/51-run.md; edit there. */
#ifndef RUN_H
#define RUN_H

#include "grid.h"
#include "model.h"
#include "plan.h"
#include "task.h"

#include <jansson.h>

/* A task that the run answered. */
struct sheet {
    const struct task *task;
    const char *title; /* "CoLA", or "toy CoLA" if it was made, not collected */
    bool shown;        /* one of those that the report's means and figures are of */
    int rows;
    double *indices, *labels; /* [rows]; the labels of spans are all 0 */
    struct answers *list;     /* [count] those that answered, as planned */
    int count, seeds;         /* seeds: the most that one of them has */
};

/* One model's answers to a task; so many seeds, in the order of the plan. */
struct answers {
    const struct sheet *sheet;
    const struct planned_model *model;
    int seeds, seed[MOST_SEEDS];
    int origin[MOST_SEEDS];          /* the distillation that each began with, from 0 */
    double *predictions[MOST_SEEDS]; /* [rows] or, of spans, how well they agree */
    double *others[MOST_SEEDS];      /* [rows] what task->also is computed from */
    double scores[MOST_SEEDS];       /* the task's metric in percent */
    bool collapsed[MOST_SEEDS];      /* every row got the same answer */
};

/* Say what can be read from a run */
struct run {
    const char *folder;
    const struct plan *plan;
    json_t *stages;          /* {"finetune-cola-student-1": the stage's record, …} */
    json_t *bench;           /* bench.json; NULL if there is none */
    int count;
    struct sheet *sheets;    /* [count] as in task_list; the next has no count */
    struct answers *answers; /* those of all sheets in turn; the next has no seeds */
};

/* run_open: reads stages/, bench.json and predictions/ of a run, as far as it has come
   and as the plan, which stays the caller's, asks for them. Fails, naming the file, if
   one is malformed, or if two of one task hold different rows. run_close lets its JSON
   go; all else is kept. */
struct run *run_open(const char *folder, const struct plan *plan);
void run_close(struct run *run);

/* run_sheet, run_answers: a task, and a model's answers to one, by names; NULL if there
   are none. run_predictions: the path of a file of predictions, which may not be there.
   run_shape: the shape of models/MODEL; without layers if there is no such folder.
   run_curve: curves/STAGE.tsv, or with which = "-validation" the other one, kept; NULL
   if there is none, if it is empty, or if the stage has not ended. */
const struct sheet *run_sheet(const struct run *run, const char *task);
const struct answers *run_answers(const struct sheet *sheet, const char *model);
const char *run_predictions(const struct run *run, const struct task *task,
                            const struct planned_model *model, int seed);
struct shape run_shape(const struct run *run, const char *model);
struct grid *run_curve(const struct run *run, const char *stage, const char *which);

#endif
