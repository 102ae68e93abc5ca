/* Tangled from chapters/21-training.md; edit there. */
#ifndef FEED_H
#define FEED_H

#include "batch.h"
#include "losses.h"
#include "ranks.h"
#include "record.h"
#include "tokenizer.h"

/* A supply of masked batches from the corpus of a run, and its validation set. */
struct feed {
    struct tokenizer *tokenizer; /* owned */
    const struct batch *batch;   /* asked for last; good until the next but one */
    struct cut cut;              /* of its batches, for the ranks */
    int token_room, sequence_room;
    struct feed_state *state;
};

/* State what a feed gives */
/* feed_open: reads the corpora below the stage's data folder, for batches as the recipe
   has them, drawn and masked by the seed. Notes files and cuts in the record. The
   caller closes it. */
struct feed feed_open(const struct stage *stage, const struct recipe *recipe,
                      const struct corpus_settings *settings, uint64_t seed,
                      const char *vocabulary, int positions, struct record *record);
void feed_close(struct feed *feed);

/* feed_batch: puts masked batch number `index` of the run, counted from 0 over all
   epochs, into feed->batch; with several ranks the piece of that number. */
void feed_batch(struct feed *feed, long index);

/* feed_validate: how the model predicts the masked tokens of the validation set, always
   with the same masks: mean loss in *loss, share predicted right in *accuracy. */
void feed_validate(struct feed *feed, struct model *model, double *loss,
                   double *accuracy);

#endif
