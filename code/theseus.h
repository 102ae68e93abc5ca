/* Tangled from chapters/38-replacing-layers.md; edit there. */
#ifndef THESEUS_H
#define THESEUS_H

#include "encoder.h"
#include "plan.h"

/* A student and the fine-tuned teacher whose layers it replaces. */
struct theseus;

/* theseus_shape: of a planned student that replaces the layers of such a teacher: a
   model like it, with fewer layers. Fails, naming the student, if the teacher's layers
   are not as many equal blocks. */
struct shape theseus_shape(const struct shape *teacher,
                           const struct planned_model *student);

/* theseus_begin: fills values [plan->size], of the student, from the teacher's folder:
   its layers as listed, and all else. The plan has the teacher's head. */
void theseus_begin(const char *folder, const struct planned_model *student,
                   enum head head, int classes, const struct parameters *plan,
                   float *values);

/* theseus_bytes: the device memory that replacing takes beside the student itself, with
   LEARN_LAYERS, for batches of this size. */
size_t theseus_bytes(const struct kernels *k, const struct shape *teacher,
                     const struct shape *student, enum head head, int classes,
                     int token_room, int sequence_room);

/* theseus_create: takes over the teacher. student: with LEARN_LAYERS and before its
   first batch, not owned. how: the probabilities; recipe, batches: of the whole
   training; seed: of the coins. The caller frees it; then the student stands alone. */
struct theseus *theseus_create(struct model *student, struct model *teacher,
                               const struct replacing *how,
                               const struct recipe *recipe, long batches,
                               uint64_t seed);
void theseus_free(struct theseus *theseus);

/* theseus_rate: the probability that a layer of the student stands, in a step, counted
   from 0, of so many (Xu et al. 2020, curriculum replacement, p = kt + b with b = rate
   and k = (1 - b) / (share steps)). */
double theseus_rate(const struct replacing *how, long step, long steps);

/* theseus_draw: sends the next batches of the student by the coins of batch number
   `batch`, which depend on the seed and the number alone. theseus_send: by these,
   [student's layers]: whether each of them stands. */
void theseus_draw(struct theseus *theseus, long batch);
void theseus_send(struct theseus *theseus, const bool *stands);

#endif
