/* Batches for the small models in tests/fixtures. */
#ifndef BATCHES_H
#define BATCHES_H

#include "batch.h"
#include "random.h"

#define BERT_FOLDER "tests/fixtures/bert-tiny"
#define DISTILBERT_FOLDER "tests/fixtures/distilbert-tiny"

/* Sequences of random pieces, a few of them labelled; pad_to as for batch_append. */
static inline struct batch *random_batch(const int *lengths, int sequences, int vocabulary, int pad_to)
{
    struct batch *batch = batch_create(40 * sequences, sequences);
    for (int s = 0, number = 0; s < sequences; s++) {
        int ids[40];
        for (int t = 0; t < lengths[s]; t++)
            ids[t] = 5 + (int)random_below(21, (uint64_t)number++, (uint64_t)(vocabulary - 5));
        batch_append(batch, ids, lengths[s], (lengths[s] + 1) / 2, pad_to);
        for (int t = 1; t < lengths[s]; t += 3)
            batch->labels[batch->offsets[s] + t] = 5 + (ids[t] + 1) % (vocabulary - 5);
        batch->classes[s] = s % 2;
        batch->numbers[s] = (float)s;
        batch->spans[2 * s] = lengths[s] / 3;
        batch->spans[2 * s + 1] = lengths[s] / 2;
    }
    return batch;
}

#endif
