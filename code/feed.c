/* Tangled from chapters/21-training.md; edit there. */
#include "feed.h"
#include "corpus.h"
#include "fail.h"
#include "file.h"
#include "loader.h"
#include "task.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

static const float MASKED_SHARE = 0.15f; /* Devlin et al. 2019, section 3.1 */

/* Know what a feed is made of */
struct feed_state {
    struct corpus *train, *validation;
    const struct tokenizer *tokenizer;
    struct loader *loader;
    struct batch *questions; /* of the validation set */
    struct record *record;   /* shows how far the validation is */
    struct cut cut;  /* of the batches of train */
    int *order;      /* [sequences of train] the order of this epoch */
    long epoch;      /* whose order it is; −1: none yet */
    int pad;         /* slots a sequence is padded to, or 0 */
    uint64_t seed, exam; /* of the training; of the validation, always the same */
};

/* Find the files of a corpus */
/* find_files: adds what is there of a word's first edition that is there. */
static void find_files(const struct stage *stage, const char *which, const char *word,
                       size_t length, glob_t *files)
{
    for (const char *edition = word, *end = word + length, *bar; edition < end;
         edition = bar + 1) {
        if (!(bar = memchr(edition, '|', (size_t)(end - edition))))
            bar = end;
        char *pattern = text_format("%s/%.*s", stage->data, (int)(bar - edition),
                                    edition);
        bool found = glob(pattern, files->gl_pathc ? GLOB_APPEND : 0, NULL, files) == 0;
        free(pattern);
        if (found)
            return;
    }
    fail(stage->data, "expected the %s corpus there: %.*s", which, (int)length, word);
}

/* Read one corpus of the run */
static struct corpus *read_corpus(const struct stage *stage, const char *which,
                                  const char *words, long limit,
                                  const struct corpus_settings *settings,
                                  const struct tokenizer *tokenizer,
                                  struct record *record)
{
    glob_t files = {0};
    for (const char *word = words; *word; word += strspn(word, " ")) {
        size_t letters = strcspn(word, " ");
        find_files(stage, which, word, letters, &files);
        word += letters;
    }
    if (files.gl_pathc == 0)
        fail(stage->profile, "[corpus] %s: expected the name of a file", which);
    struct corpus *corpus = corpus_read(tokenizer, files.gl_pathv, (int)files.gl_pathc,
                                        settings->length, settings->split, limit);
    /* Note the files and the cut in the record */
    for (size_t i = 0; i < files.gl_pathc; i++)
        record_data(record, files.gl_pathv[i]);
    const char *name = strrchr(files.gl_pathv[0], '/') + 1,
               *more = files.gl_pathc > 1 ? " and more" : "";
    if (corpus->tokens < corpus->whole)
        record_cut(record, corpus->tokens, corpus->whole, "tokens",
                   "%s corpus %s%s: the first", which, name, more);
    globfree(&files);
    return corpus;
}

/* Read the texts of tasks */
static struct corpus *read_rows(const struct stage *stage, const struct task_text *text,
                                int length, const struct tokenizer *tokenizer)
{
    struct reading reading = {
        .length = length, .stride = length, .held_back = text->held_back};
    struct examples *rows =
        task_read(text->task, stage->data, TRAIN, tokenizer, reading);
    struct corpus *corpus = allocate(1, sizeof *corpus);
    *corpus = (struct corpus){rows->ids, rows->starts, rows->firsts, rows->count,
                              rows->starts[rows->count], rows->starts[rows->count]};
    rows->ids = rows->firsts = NULL;
    rows->starts = NULL;
    examples_free(rows);
    return corpus;
}

static struct corpus *read_train(const struct stage *stage,
                                 const struct corpus_settings *settings,
                                 const struct tokenizer *tokenizer,
                                 struct record *record)
{
    long limit = settings->train_tokens;
    if (settings->task_count == 0)
        return read_corpus(stage, "train", settings->train, limit, settings, tokenizer,
                           record);
    struct corpus *texts[MOST_TEXTS + 1];
    int count = 0;
    /* Read the corpus, if there is one, and the rows of each task */
    if (*settings->train)
        texts[count++] = read_corpus(stage, "train", settings->train, 0, settings,
                                     tokenizer, record);
    for (int i = 0; i < settings->task_count; i++)
        texts[count++] =
            read_rows(stage, &settings->tasks[i], settings->length, tokenizer);
    struct corpus *mixed = corpus_mix(texts, count, limit);
    /* Note the tasks and the cut in the record */
    char *names = text_format("%s", *settings->train ? settings->train : "");
    for (int i = 0; i < settings->task_count; i++) {
        char *longer = text_format("%s%s%s", names, *names ? ", " : "",
                                   settings->tasks[i].task->title);
        free(names);
        names = longer;
    }
    if (mixed->sequences == 0)
        fail(stage->profile, "[corpus] train-tokens: %ld are too few for a sequence of %s",
             limit, names);
    if (mixed->tokens < mixed->whole)
        record_cut(record, mixed->tokens, mixed->whole, "tokens",
                   "train corpus of %s in turn: the first", names);
    free(names);
    return mixed;
}

/* Prepare a batch of masked sequences */
static void prepare(void *context, long index, struct batch *batch)
{
    struct feed_state *state = context;
    long epoch = cut_epoch(&state->cut, index);
    if (epoch != state->epoch) {
        free(state->order);
        state->order = batch_order(state->train->sequences, state->seed, (int)epoch);
        state->epoch = epoch;
    }
    corpus_batch(state->train, state->order, cut_first(&state->cut, index),
                 state->cut.size, batch, state->pad);
    corpus_mask(state->tokenizer, batch, state->seed, index, MASKED_SHARE);
}

/* Open the feed */
struct feed feed_open(const struct stage *stage, const struct recipe *recipe,
                      const struct corpus_settings *settings, uint64_t seed,
                      const char *vocabulary, int positions, struct record *record)
{
    int length = settings->length;
    if (length > positions)
        fail(vocabulary, "belongs to a model of %d positions; [corpus] length is %d",
             positions, length);
    struct feed feed = {.tokenizer = tokenizer_open(vocabulary)};
    struct feed_state *state = feed.state = allocate(1, sizeof *state);
    /* Read the texts to train on and to be asked about */
    state->train = read_train(stage, settings, feed.tokenizer, record);
    state->validation = read_corpus(stage, "validation", settings->validation,
                                    settings->validation_tokens, settings,
                                    feed.tokenizer, record);
    state->pad = recipe->pad;
    state->seed = seed;
    state->exam = stage->plan->seed;
    state->epoch = -1;
    int size = recipe->batch;
    feed.cut = state->cut = ranks_cut(stage->profile, state->train->sequences, size);
    /* Make room for batches and start to prepare them */
    feed.sequence_room = size;
    feed.token_room = size * (state->pad > length ? state->pad : length);
    state->tokenizer = feed.tokenizer;
    state->record = record;
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
    int sequences = state->validation->sequences, size = state->cut.batch;
    for (int first = 0; first < sequences; first += size) {
        /* Ask about one batch */
        struct loss_values values = {0};
        record_part(state->record, "validation", first, sequences);
        corpus_batch(state->validation, NULL, first, size, state->questions, 0);
        corpus_mask(feed->tokenizer, state->questions, ~state->exam, first,
                    MASKED_SHARE);
        masked_lm_evaluate(model, state->questions, &values);
        total += values.mlm * values.masked;
        masked += values.masked;
        correct += values.correct;
    }
    record_part(state->record, "validation", sequences, sequences);
    *loss = masked ? total / (double)masked : 0;
    *accuracy = masked ? (double)correct / (double)masked : 0;
}

/* Close the feed */
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
