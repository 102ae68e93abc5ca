/* Tangled from chapters/12-heads.md; edit there. */
#ifndef HEADS_H
#define HEADS_H

#include "arena.h"
#include "encoder.h"

/* State what the heads do */
/* mlm_choose: the tokens of the last forward pass that the MLM head shall work on.
   rows: host [count], distinct token numbers. */
void mlm_choose(struct model *model, const int *rows, int count);

/* mlm_forward: computes mlm.logits [rows, mlm.classes_room] of the chosen tokens number
   first to first + rows - 1; rows is at most mlm.block. */
void mlm_forward(struct model *model, int first, int rows);

/* mlm_backward: after mlm_forward with the same arguments, and with the gradient by the
   logits in their place: adds to the gradients of the head, and with LEARN_ALL to
   backward.hidden. */
void mlm_backward(struct model *model, int first, int rows);

/* classifier_forward: computes classifier.logits [sequences, classes] of the last
   forward pass. */
void classifier_forward(struct model *model);

/* classifier_backward: with the gradient by the logits in their place, adds to the
   gradients of the head and to backward.hidden. */
void classifier_backward(struct model *model);

/* span_forward: computes span.logits [tokens, 2] of the last forward pass, of being the
   first and of being the last token of an answer. */
void span_forward(struct model *model);

/* span_backward: with the gradient by the logits in their place, adds to the gradients
   of the head and makes backward.hidden. */
void span_backward(struct model *model);

/* heads_room: takes room for what the model's head keeps, for batches of token_room
   tokens and sequence_room sequences, and notes where it is. heads_fill: writes what
   never changes there; after heads_room, with an arena that has memory. */
void heads_room(struct model *model, struct arena *arena);
void heads_fill(struct model *model);

#endif
