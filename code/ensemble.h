/* Tangled from chapters/37-second-distillation.md; edit there. */
#ifndef ENSEMBLE_H
#define ENSEMBLE_H

#include "batch.h"
#include "kernels.h"
#include "record.h"
#include "task.h"

/* State what an ensemble does */
/* What fine-tuned teachers say of a task's examples, on average. */
struct ensemble;

/* ensemble_ask: has the models in folders [count, at least 1], fine-tuned for the task,
   predict all examples, one model after the other, `size` examples at a time. Softens
   their classes and spans by temperature and averages them; numbers are averaged as
   they are. share: of the ensemble in the loss, from 0 to 1. vocabulary: pieces that
   the examples are made of. Fails, naming the folder, if there is no model of this task
   and vocabulary in it. record: shows how far they are, or NULL. examples must live as
   long as the ensemble; the caller frees it. */
struct ensemble *ensemble_ask(const struct kernels *k, char *const *folders, int count,
                              const struct task *task, const struct examples *examples,
                              int size, int vocabulary, float share, float temperature,
                              struct record *record);
void ensemble_free(struct ensemble *ensemble);

/* ensemble_advise: gives a batch, filled by examples_batch with the same arguments,
   what the ensemble says: soft, soft_share and temperature, or other numbers. */
void ensemble_advise(const struct ensemble *ensemble, const int *order, int first,
                     struct batch *batch);

#endif
