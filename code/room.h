/* Tangled from chapters/49-start.md; edit there. */
#ifndef ROOM_H
#define ROOM_H

#include "stage.h"

/* room_disk: the bytes that the models of a run will take on the disk, up to a tier and
   beside those that are there, with the checkpoints of the stages that run side by
   side. teacher: its shape. */
size_t room_disk(const struct stage *stage, const struct shape *teacher,
                 enum tier last);

/* room_main: the command `distil room`; argv[0] is "room". */
int room_main(int argc, char **argv);

#endif
