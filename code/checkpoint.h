/* Tangled from chapters/51-training.md; edit there. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "encoder.h"
#include "optimizer.h"
#include "record.h"

/* checkpoint_write: the state after `step` steps, to RUN/checkpoints/NAME.safetensors;
   saves the curves of the record first, so that they are never behind. */
void checkpoint_write(const struct stage *stage, const char *name, struct model *model,
                      struct optimizer *optimizer, struct record *record, long step);

/* checkpoint_read: brings model, optimizer and record to the last checkpoint with the
   stage's key. Returns its step, or 0 if there is none to go on from. */
long checkpoint_read(const struct stage *stage, const char *name, struct model *model,
                     struct optimizer *optimizer, struct record *record);

/* checkpoint_remove: the stage is done and needs none. */
void checkpoint_remove(const struct stage *stage, const char *name);

#endif
