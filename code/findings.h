/* Tangled from chapters/52-findings.md; edit there. */
#ifndef FINDINGS_H
#define FINDINGS_H

#include "measure.h"
#include "run.h"

enum quantity {
    /* in percent, of a task: the score of the best constant answer */
    CONSTANT_SCORE,
    /* in percent, of a task and a model, or where the task is NULL of the mean over
       those that the report is about: the median score; the figure that the paper
       quotes beside it; the score as GLUE counts it; 100 * student / teacher */
    SCORE, SECOND, GLUE, RETENTION,
    /* of a model: the share of the teacher's GLUE score; points by which its mean score
       differs from the student's; masked words guessed right, in percent, before and
       after the distillation */
    GLUE_KEPT, CHANGE, GUESSED_FIRST, GUESSED_LAST,
    /* of a model that was timed: parameters; seconds of a pass on one core and on all;
       how many times as fast as the teacher; by how many percent smaller and faster */
    PARAMETERS, SECONDS_ONE, SECONDS_ALL, TIMES_ONE, TIMES_ALL,
    SMALLER, FASTER_ONE, FASTER_ALL,
    /* of a student: its minutes of training; of the run: the most that a small student
       keeps that took an hour, in percent of the teacher's score */
    MINUTES, MOST_KEPT,
    QUANTITIES
};

/* Of a task: the teacher or the model did not answer it, or the teacher is not above a
   constant answer. Of a mean: no task counts. Of an interval alone: the teacher's score
   is too near zero, or the benchmark kept no parts. Of the most: no student is small
   and took an hour. NOT_MEASURED: all else. */
enum reason { NOT_MEASURED, NO_TEACHER, NO_ANSWER, NOT_ABOVE, NO_TASK, NEAR_ZERO,
              NO_PARTS, NO_STUDENT };

struct finding {
    enum quantity quantity;
    const struct sheet *sheet;         /* the task; NULL: none, or the mean */
    const struct planned_model *model; /* NULL: none */
    struct estimate is;
    enum reason why;         /* it is not known, or has no interval */
    struct measure *measure; /* what it is an estimate of; NULL: of nothing drawn */
};

struct findings {
    const struct run *run;
    struct finding *list; /* [count] */
    int count;
    enum { UNKNOWN, UNTAUGHT, TAUGHT } student; /* was it distilled? */
    int quick; /* so many small students took at most an hour, and */
    const struct planned_model *best; /* this one of them keeps most */
};

/* findings_make: all that a run says; the run stays the caller's. findings_add: adds
   one to the end. */
struct findings *findings_make(const struct run *run);
void findings_free(struct findings *findings);
void findings_add(struct findings *findings, struct finding finding);

/* finding_of: the finding of a quantity, by the names of task and model, NULL for none;
   one that is not known if the run has no such thing. Never NULL. finding_next: the
   next of a quantity behind one, NULL for the first; of that model, or where it is
   NULL, of any. NULL if there is none. So a model has a SCORE if it answered a task. */
const struct finding *finding_of(const struct findings *all, enum quantity quantity,
                                 const char *task, const char *model);
const struct finding *finding_next(const struct findings *all,
                                   const struct finding *last, enum quantity quantity,
                                   const char *model);

/* finding_counts: whether it is the retention of a task that counts for the mean.
   findings_three: whether those of a model that count are the three tasks of the course
   project, of which the claims are. */
bool finding_counts(const struct finding *finding);
bool findings_three(const struct findings *findings, const char *model);

/* Say what a student may differ in */
/* What a student has, or lacks, that the first one does not. */
enum difference {
    NO_DIFFERENCE, A_PART, OTHER_LAYERS, FINE_TUNED_TEACHERS, ANOTHER_RECIPE,
    ANOTHER_ORIGIN, DIFFERENCES
};

/* difference_of: that of a student from another one, the first; of the teacher, or
   where either is NULL, NO_DIFFERENCE. findings_further: whether a student is one of
   those that go beyond the recipe and its parts: with other layers, fine-tuned teachers
   or another recipe. findings_drawn: whether it is known what a student keeps and what
   it took. findings_claimed: whether the published retentions may stand beside what a
   model keeps: the run is of English, of the three tasks, and the student, if it is the
   first, was distilled. */
enum difference difference_of(const struct planned_model *model,
                              const struct planned_model *first);
bool findings_further(const struct findings *findings,
                      const struct planned_model *model);
bool findings_drawn(const struct findings *findings, const struct planned_model *model);
bool findings_claimed(const struct findings *findings, const char *model);

/* findings_sort: puts the largest value first, or by_size the farthest from zero; of
   equals, those of the earlier model. */
void findings_sort(const struct finding **list, int count, bool by_size);

#endif
