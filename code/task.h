/* Tangled from chapters/26-tasks.md; edit there. */
#ifndef TASK_H
#define TASK_H

#include "batch.h"
#include "metrics.h"
#include "questions.h"
#include "tokenizer.h"

#include <stdint.h>

enum split { TRAIN, DEV, HELD_BACK };

/* What a row of a task asks for. */
enum answer { A_CLASS, A_NUMBER, A_SPAN };

/* Describe a task in one row */
/* How a table, or a file of questions, lies below one of the places of a data
   folder. */
struct layout {
    const char *files[2][2];   /* [split]: one file, or two that follow each other */
    const char *header;        /* the columns' names, with tabs, if the file has none */
    const char *dev_ids;       /* file of pairs of ids: these rows are DEV, all others
                                  TRAIN; or NULL */
};

struct task {
    const char *name, *title;      /* "cola", "CoLA" */
    const char *of;                /* only a development set, for the models that were
                                      trained for this task; NULL: a task by itself */
    enum answer answer;
    enum metric metric, also;      /* also: a second figure that the paper quotes */
    bool headline;                 /* one of the three that retention is the mean of */
    bool glue;                     /* one of the nine of the GLUE score */
    int classes;                   /* 1 for a number, 0 for a span */
    double most;                   /* the largest number; the least is 0 */
    const char *names[3];          /* [classes] in the column, or a tree's folders */
    /* Say where a task's rows are found */
    int rows[2];                   /* [split] as published; 0: not known */
    struct layout layouts[3];      /* of a table: the first found is read; last empty */
    bool torn;                     /* lines of too few columns are left out */
    const char *label;             /* column of the class or the number */
    const char *text, *second;     /* columns; second is NULL for a single text */
    const char *ids[2];            /* columns that dev_ids speaks of */
    const char *tree[2];           /* [split] of a tree: the folder of its classes */
};

/* Hold the examples of a split */
/* Encoded rows. Example i owns the pieces ids[starts[i]] .. ids[starts[i + 1] - 1]. */
struct examples {
    int count;
    int64_t *starts;   /* [count + 1] */
    int *ids;          /* [starts[count]] with [CLS] and [SEP] */
    int *firsts;       /* [count] length of the first segment */
    double *labels;    /* [count] class or number */
    int *indices;      /* [count] number of the row in its split, from 0 */
    int kept, rows;    /* they are made from so many rows, of so many in the split */
    int published;     /* rows in its files, with those of another split */

    /* of a task that asks for spans, whose examples are windows; else NULL: */
    struct questions *questions;
    struct window *windows;  /* [count] */
    int *spans;              /* [count, 2] the answer's first and last token */
};

/* State what can be done with tasks */
/* task_list: all tasks; the row after the last has a NULL name. */
extern const struct task task_list[];

/* task_find: the task of that name, "cola" say. Fails, listing all names, if none is
   called that. */
const struct task *task_find(const char *name);

/* How much of a task is read. */
struct reading {
    int length;    /* tokens that an example is cut to */
    int stride;    /* of the windows of a task that asks for spans: see questions.h */
    int limit;     /* rows of a class-balanced sample, always the same; 0: all rows */
    int held_back; /* rows of the training set, class-balanced, always the same: these
                      are HELD_BACK, the others TRAIN */
};

/* task_is_there: whether data_dir, or one of its folders glue, imdb and squad, has what
   the task's development set is read from. */
bool task_is_there(const struct task *task, const char *data_dir);

/* task_read: reads one split of a task from data_dir or its folders glue, imdb or squad
   and encodes it, in file order; of HELD_BACK all, whatever the limit. Fails, naming
   file and line, on a malformed row, and if there is no row. */
struct examples *task_read(const struct task *task, const char *data_dir,
                           enum split split, const struct tokenizer *tokenizer,
                           struct reading reading);
void examples_free(struct examples *examples);

/* task_check_rows: warns on standard error if the split does not have the published
   number of rows (a generated data set never has), or answers not at their places. */
void task_check_rows(const struct task *task, enum split split,
                     const struct examples *examples);

/* examples_batch: clears the batch and fills it with examples order[first ..
   first+count-1] (fewer at the end), what is to be predicted set, each padded to
   pad_to tokens (0: not). order: from batch_order, or NULL for file order. */
void examples_batch(const struct examples *examples, const int *order, int first,
                    int count, struct batch *batch, int pad_to);

#endif
