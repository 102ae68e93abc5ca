/* Tangled from chapters/21-training.md; edit there. */
#include "loader.h"
#include "fail.h"
#include "ranks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* Know what two threads share */
struct loader {
    void (*prepare)(void *context, long index, struct batch *batch);
    void *context;
    struct batch *earlier, *reading, *writing;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long wanted, made; /* of writing; −1: none */
    bool over;
};

/* Prepare batches until it is over */
static void *prepare_batches(void *argument)
{
    struct loader *loader = argument;
    pthread_mutex_lock(&loader->lock);
    while (!loader->over) {
        long index = loader->wanted;
        if (index == loader->made) {
            pthread_cond_wait(&loader->changed, &loader->lock);
            continue;
        }
        /* Prepare the wanted batch without the lock */
        loader->made = -1;
        pthread_mutex_unlock(&loader->lock);
        loader->prepare(loader->context, index, loader->writing);
        pthread_mutex_lock(&loader->lock);
        loader->made = index;
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* Create and free a loader */
struct loader *loader_create(void (*prepare)(void *context, long index,
                                             struct batch *batch),
                             void *context, int token_room, int sequence_room)
{
    struct loader *loader = allocate(1, sizeof *loader);
    loader->prepare = prepare;
    loader->context = context;
    loader->earlier = batch_create(token_room, sequence_room);
    loader->reading = batch_create(token_room, sequence_room);
    loader->writing = batch_create(token_room, sequence_room);
    loader->wanted = loader->made = -1;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->changed, NULL);
    if (pthread_create(&loader->thread, NULL, prepare_batches, loader) != 0)
        fail("threads", "a thread for the batches could not be started");
    return loader;
}

void loader_free(struct loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->over = true;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    pthread_join(loader->thread, NULL);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->lock);
    batch_free(loader->earlier);
    batch_free(loader->reading);
    batch_free(loader->writing);
    free(loader);
}

/* Take the batch that was prepared */
const struct batch *loader_batch(struct loader *loader, long index)
{
    pthread_mutex_lock(&loader->lock);
    loader->wanted = index;
    pthread_cond_broadcast(&loader->changed);
    while (loader->made != index)
        pthread_cond_wait(&loader->changed, &loader->lock);
    /* Exchange the batches and name the next */
    struct batch *made = loader->writing;
    loader->writing = loader->earlier;
    loader->earlier = loader->reading;
    loader->reading = made;
    loader->made = -1;
    loader->wanted = index + ranks_count();
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    return made;
}
