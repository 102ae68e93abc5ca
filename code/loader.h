/* Tangled from chapters/21-training.md; edit there. */
#ifndef LOADER_H
#define LOADER_H

#include "batch.h"

/* A thread that prepares batches, one ahead of the one that is asked for. */
struct loader;

/* loader_create: prepare(context, index, batch) shall make batch number index, whatever
   was made before; only the loader's thread calls it, and nothing else may touch what
   it changes. The caller frees the loader before the context. */
struct loader *loader_create(void (*prepare)(void *context, long index,
                                             struct batch *batch),
                             void *context, int token_room, int sequence_room);
void loader_free(struct loader *loader);

/* loader_batch: batch number index, the loader's own and good until the next call but
   one. It is there at once if the batch asked for before was number index - 1, or with
   several ranks this rank's one before. */
const struct batch *loader_batch(struct loader *loader, long index);

#endif
