/* Tangled from chapters/34-pretraining.md; edit there. */
#ifndef PRETRAIN_H
#define PRETRAIN_H

#include "parameters.h"
#include "plan.h"

/* scratch_shape: the shape of a teacher from scratch, as [teacher] has it, that knows
   so many pieces. */
struct shape scratch_shape(const struct plan *plan, int vocabulary);

#endif
