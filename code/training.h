/* Tangled from chapters/21-training.md; edit there. */
#ifndef TRAINING_H
#define TRAINING_H

#include "checkpoint.h"
#include "losses.h"
#include "ranks.h"

/* State what a training is */
/* A stage that trains. */
struct training {
    const char *name; /* of the stage and its curves */
    const struct recipe *recipe;
    struct model *model;
    long batches;     /* to work through, over all epochs */
    const struct cut *cut; /* of these batches, for the ranks */
    /* Works through one batch, or piece of one, adds share times its gradient, and
       returns how many tokens it had; values, unless NULL, takes the mean losses since
       they were last asked for. */
    int (*work)(void *context, long index, float share, struct loss_values *values);
    /* Measures the model after so many steps and adds a row to a curve; or NULL. */
    void (*validate)(void *context, long step);
    void *context;    /* for work and validate */
};

/* training_steps: how many steps of the optimiser so many batches are, `accumulate` of
   them in each. */
long training_steps(const struct recipe *recipe, long batches);

/* training_run: trains from the start, or from the last checkpoint if the stage
   resumes, to the end. */
void training_run(const struct stage *stage, const struct training *training,
                  struct record *record);

#endif
