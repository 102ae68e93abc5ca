/* Tangled from chapters/52-pretraining.md; edit there. */
#ifndef PRETRAIN_H
#define PRETRAIN_H

#include "parameters.h"
#include "settings.h"

/* scratch_shape: the shape of a teacher from scratch, as [teacher] has it, that knows
   so many pieces. */
struct shape scratch_shape(struct settings *settings, int vocabulary);

#endif
