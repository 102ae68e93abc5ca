/* Tangled from chapters/08-batch.md; edit there. */
#ifndef BATCH_H
#define BATCH_H

#include <stddef.h>
#include <stdint.h>

enum { NO_LABEL = -100, PADDING = 0 };

/* A batch: token sequences laid end to end, on the host. Sequence s owns the tokens
   offsets[s] .. offsets[s + 1] - 1. */
struct batch {
    /* Hold sequences end to end */
    int tokens, sequences;           /* how many it holds */
    int token_room, sequence_room;   /* how many it can hold */
    int *ids;                        /* [tokens] piece */
    int *segments;                   /* [tokens] 0 or 1 */
    int *positions;                  /* [tokens] place in its sequence, from 0 */
    int *offsets;                    /* [sequences + 1] */
    int *visible;                    /* [sequences] leading tokens to attend to */
    int *labels;                     /* [tokens] the piece to predict, or NO_LABEL */
    /* Hold what is to be predicted of a sequence */
    int *classes;                    /* [sequences] the class to predict, or NO_LABEL */
    float *numbers;                  /* [sequences] the number to predict */
    int *spans;                      /* [sequences, 2] the answer's first and last
                                        token, from 0 in its sequence; or NO_LABEL */
    float *soft;                     /* [sequences, classes] or [tokens, 2] logits of
                                        those who know the task */
    float soft_share;                /* of soft in the loss; 0: labels alone */
    float temperature;               /* of soft */
};

/* State what can be done with a batch */
/* batch_create: an empty batch with room for so many tokens and sequences. */
struct batch *batch_create(int token_room, int sequence_room);
void batch_free(struct batch *batch);

/* batch_lists: the ints from ids on to the end of visible, which lie in one piece. */
size_t batch_lists(int token_room, int sequence_room);

/* batch_clear: makes the batch empty again, and soft_share 0. */
void batch_clear(struct batch *batch);

/* batch_append: adds one sequence, ids[0 .. length-1]. Its first `first` tokens are
   segment 0, the others segment 1. With pad_to > length, PADDING tokens follow (segment
   0, not visible) until the sequence has pad_to tokens; with 0 none. Labels, class
   and span are NO_LABEL, the number is 0. Fails if there is no room. */
void batch_append(struct batch *batch, const int *ids, int length, int first,
                  int pad_to);

/* batch_longest: tokens of the longest sequence, its padding included; 0 if empty. */
int batch_longest(const struct batch *batch);

/* batch_order: the order in which an epoch visits `count` sequences: a permutation of
   0 .. count-1, a pure function of (count, seed, epoch), for the caller to free. */
int *batch_order(int count, uint64_t seed, int epoch);

#endif
