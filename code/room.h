/* Tangled from chapters/49-start.md; edit there. */
#ifndef ROOM_H
#define ROOM_H

#include "stage.h"

/* room_disk: the bytes that the models of a run will take on the disk, up to a tier and
   beside those that are there, with the checkpoints of the stages that run side by
   side. teacher: its shape. */
size_t room_disk(const struct stage *stage, const struct shape *teacher,
                 enum tier last);

/* room_needed: the same, when the data are there. Fails if the memory is too small for
   one of those stages, or, unless they are launched elsewhere, for all that run at
   once. teacher: its folder, or "scratch". */
size_t room_needed(const struct stage *stage, const char *teacher, enum tier last);

#endif
