/* Tangled from chapters/21-training.md; edit there. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "encoder.h"
#include "optimizer.h"
#include "record.h"

/* The checkpoint of one training, RUN/checkpoints/NAME.safetensors, and the thread that
   writes it. */
struct checkpoint;

/* State what a checkpoint takes */
/* checkpoint_open: the checkpoint of this model, its optimizer and its record, none of
   which it owns. Takes 12 bytes of host memory a parameter when it is first written.
   The caller closes it, before the others. */
struct checkpoint *checkpoint_open(const struct stage *stage, const char *name,
                                   struct model *model, struct optimizer *optimizer,
                                   struct record *record);

/* checkpoint_bytes: what that copy takes of the device: nothing, unless the device
   is the host. */
size_t checkpoint_bytes(const struct kernels *k, const struct parameters *parameters);

/* State how a training goes on from a checkpoint */
/* checkpoint_write: copies the state after `step` steps and leaves the copy to the
   thread. Returns false, having done nothing, if the last one is still being written.
   If one cannot be written, the program fails, naming it, at once or by
   checkpoint_close. */
bool checkpoint_write(struct checkpoint *checkpoint, long step);

/* checkpoint_read: brings model, optimizer and record to the last checkpoint with the
   stage's key. Returns its step, or 0 if there is none to go on from; if that is
   because it is damaged, says so on standard error and removes it. */
long checkpoint_read(struct checkpoint *checkpoint);

/* checkpoint_close: waits until the last one is written whole; the file stays. */
void checkpoint_close(struct checkpoint *checkpoint);

/* checkpoint_remove: the stage is done and needs none. The checkpoint is closed. */
void checkpoint_remove(const struct stage *stage, const char *name);

#endif
