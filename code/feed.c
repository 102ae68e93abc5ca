/* Tangled from chapters/51-training.md; edit there. */
#include "feed.h"
#include "corpus.h"
#include "fail.h"
#include "file.h"
#include "loader.h"

#include <stdlib.h>
#include <string.h>

static const float MASKED_SHARE = 0.15f; /* Devlin et al. 2019, section 3.1 */

struct feed_state {
    struct corpus *train, *validation;
    const struct tokenizer *tokenizer;
    struct loader *loader;
    struct batch *questions; /* of the validation set */
    long per_epoch;  /* batches in an epoch */
    int *order;      /* [sequences of train] the order of this epoch */
    long epoch;      /* whose order it is; −1: none yet */
    int size, pad;   /* sequences in a batch; slots a sequence is padded to, or 0 */
    uint64_t seed;
};

/* Find the corpus file that is there */
static char *find_corpus(const struct stage *stage, const char *which)
{
    const char *names = settings_text(stage->settings, "corpus", which);
    for (const char *name = names; *name; name += strspn(name, " ")) {
        int length = (int)strcspn(name, " ");
        char *path = text_format("%s/%.*s", stage->data, length, name);
        if (file_exists(path))
            return path;
        free(path);
        name += length;
    }
    fail(stage->data, "expected the %s corpus there, one of: %s", which, names);
}

/* Read one corpus of the run */
static struct corpus *read_corpus(const struct stage *stage, const char *which,
                                  const struct tokenizer *tokenizer, int length,
                                  struct record *record)
{
    struct settings *settings = stage->settings;
    char *path = find_corpus(stage, which);
    char *limit_key = text_format("%s-tokens", which);
    long limit = settings_count(settings, "corpus", limit_key);
    bool split = settings_choice(settings, "corpus", "long", "cut split");
    struct corpus *corpus = corpus_read(tokenizer, path, length, split, limit);
    record_data(record, path);
    if (corpus->tokens < corpus->whole)
        record_cut(record, corpus->tokens, corpus->whole, "tokens",
                   "%s corpus %s: the first", which, strrchr(path, '/') + 1);
    free(limit_key);
    free(path);
    return corpus;
}

/* Prepare a batch of masked sequences */
static void prepare(void *context, long index, struct batch *batch)
{
    struct feed_state *state = context;
    long epoch = index / state->per_epoch,
         first = index % state->per_epoch * state->size;
    if (epoch != state->epoch) {
        free(state->order);
        state->order = batch_order(state->train->sequences, state->seed, (int)epoch);
        state->epoch = epoch;
    }
    corpus_batch(state->train, state->order, (int)first, state->size, batch,
                 state->pad);
    corpus_mask(state->tokenizer, batch, state->seed, index, MASKED_SHARE);
}

/* Open the feed */
struct feed feed_open(const struct stage *stage, const char *sections,
                      const char *vocabulary, int positions, struct record *record)
{
    struct settings *settings = stage->settings;
    int length = (int)settings_count(settings, "corpus", "length");
    if (length > positions)
        fail(vocabulary, "belongs to a model of %d positions; [corpus] length is %d",
             positions, length);
    struct feed feed = {.tokenizer = tokenizer_open(vocabulary)};
    struct feed_state *state = feed.state = allocate(1, sizeof *state);
    state->train = read_corpus(stage, "train", feed.tokenizer, length, record);
    state->validation = read_corpus(stage, "validation", feed.tokenizer, length,
                                    record);
    state->size = (int)settings_count(settings, sections, "batch");
    state->pad = (int)settings_count(settings, sections, "pad");
    state->seed = (uint64_t)settings_count(settings, "run", "seed");
    state->epoch = -1;
    if (state->size == 0)
        fail(sections, "expected a batch of at least one sequence");
    /* Make room for batches and orders */
    int sequences = state->train->sequences;
    feed.per_epoch = (sequences + state->size - 1) / state->size;
    feed.sequence_room = state->size;
    feed.token_room = state->size * (state->pad > length ? state->pad : length);
    state->tokenizer = feed.tokenizer;
    state->per_epoch = feed.per_epoch;
    state->questions = batch_create(feed.token_room, feed.sequence_room);
    state->loader = loader_create(prepare, state, feed.token_room, feed.sequence_room);
    return feed;
}

/* Take a batch from the feed */
void feed_batch(struct feed *feed, long index)
{
    feed->batch = loader_batch(feed->state->loader, index);
}

/* Validate on masked tokens */
void feed_validate(struct feed *feed, struct model *model, double *loss,
                   double *accuracy)
{
    struct feed_state *state = feed->state;
    double total = 0;
    long masked = 0, correct = 0;
    for (int first = 0; first < state->validation->sequences; first += state->size) {
        struct loss_values values = {0};
        corpus_batch(state->validation, NULL, first, state->size, state->questions, 0);
        corpus_mask(feed->tokenizer, state->questions, ~state->seed, first,
                    MASKED_SHARE);
        masked_lm_evaluate(model, state->questions, &values);
        total += values.mlm * values.masked;
        masked += values.masked;
        correct += values.correct;
    }
    *loss = masked ? total / (double)masked : 0;
    *accuracy = masked ? (double)correct / (double)masked : 0;
}

void feed_close(struct feed *feed)
{
    loader_free(feed->state->loader);
    corpus_free(feed->state->train);
    corpus_free(feed->state->validation);
    free(feed->state->order);
    batch_free(feed->state->questions);
    free(feed->state);
    tokenizer_free(feed->tokenizer);
}
