/* Tangled from chapters/25-corpus.md; edit there. */
#include "corpus.h"
#include "cache.h"
#include "fail.h"
#include "file.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>

/* Undo what WikiText did to the words */
static void replace_each(char *line, const char *what, const char *by)
{
    for (char *found = line; (found = strstr(found, what)); found++)
        memcpy(found, by, strlen(by));
}

static void mend(char *line)
{
    replace_each(line, "<unk>", "[UNK]");
    replace_each(line, " @-@ ", "  -  ");
    replace_each(line, " @,@ ", "  ,  ");
    replace_each(line, " @.@ ", "  .  ");
}

/* Grow an array */
/* grown: the array, of `size` bytes an element, with room for at least `wanted`. */
static void *grown(void *array, int64_t *room, int64_t wanted, size_t size)
{
    if (*room >= wanted)
        return array;
    while (*room < wanted)
        *room = *room ? 2 * *room : 1024;
    array = realloc(array, (size_t)*room * size);
    if (!array)
        fail("memory", "%lld elements of a corpus do not fit", (long long)*room);
    return array;
}

/* Encode the lines of a file */
/* encode_file: the pieces of each line that has some, behind their count; *count is the
   length of the whole list, which the caller frees. */
static int *encode_file(const struct tokenizer *tokenizer, const char *path,
                        int64_t *count)
{
    size_t size;
    char *text = file_text(path, &size), *end = text + size;
    uint64_t key = cache_hash(cache_hash(tokenizer->hash, "lines", 6), text, size);
    int *numbers = cache_read(key, count);
    if (!numbers) {
        int64_t room = 0;
        numbers = grown(NULL, &room, 1, sizeof *numbers);
        /* Encode line by line */
        *count = 0;
        for (char *line = text, *next; line < end; line = next + 1) {
            if (!(next = memchr(line, '\n', (size_t)(end - line))))
                next = end;
            *next = '\0';
            if (strncmp(line, "<doc ", 5) == 0 || strncmp(line, "</doc>", 6) == 0)
                continue;
            /* Put down a line's pieces behind their count */
            mend(line);
            int length = (int)(next - line);
            numbers = grown(numbers, &room, *count + 1 + length, sizeof *numbers);
            int *pieces = numbers + *count;
            *pieces = tokenizer_encode(tokenizer, line, (size_t)length, pieces + 1, length);
            if (*pieces)
                *count += 1 + *pieces;
        }
        cache_write(key, numbers, *count);
    }
    free(text);
    return numbers;
}

/* Keep account of the reading */
struct reading {
    const struct tokenizer *tokenizer;
    struct corpus *corpus;
    int64_t id_room, start_room;   /* allocated elements of ids and starts */
    int64_t token_limit;           /* 0: none */
    bool full;                     /* the limit is reached: count, store nothing */
};

/* Add a sequence to the corpus */
static void add_sequence(struct reading *r, const int *pieces, int length)
{
    struct corpus *c = r->corpus;
    int64_t tokens = c->tokens + length + 2;
    c->whole += length + 2;
    r->full |= r->token_limit > 0 && tokens > r->token_limit;
    if (r->full)
        return;
    if (tokens > r->id_room)
        c->ids = grown(c->ids, &r->id_room, tokens, sizeof *c->ids);
    if (c->sequences + 2 > r->start_room)
        c->starts = grown(c->starts, &r->start_room, c->sequences + 2,
                          sizeof *c->starts);
    /* Frame the pieces and put them down */
    c->ids[c->tokens] = r->tokenizer->cls;
    memcpy(c->ids + c->tokens + 1, pieces, (size_t)length * sizeof *pieces);
    c->ids[tokens - 1] = r->tokenizer->sep;
    c->starts[c->sequences++] = c->tokens;
    c->starts[c->sequences] = c->tokens = tokens;
}

/* Read a corpus file by file */
struct corpus *corpus_read(const struct tokenizer *tokenizer, char *const *paths,
                           int files, int max_length, bool split_long,
                           int64_t token_limit)
{
    int room = max_length - 2;
    if (room < 1)
        fail("max_length", "%d tokens leave no room for a piece", max_length);
    struct corpus *corpus = allocate(1, sizeof *corpus);
    struct reading reading = {
        .tokenizer = tokenizer, .corpus = corpus, .token_limit = token_limit
    };
    /* Add the sequences of every file */
    for (int file = 0; file < files; file++) {
        int64_t count;
        int *numbers = encode_file(tokenizer, paths[file], &count);
        for (int64_t at = 0; at < count; at += 1 + numbers[at]) {
            /* Add the sequences of a line */
            int length = numbers[at] > room && !split_long ? room : numbers[at];
            for (int i = 0; i < length; i += room)
                add_sequence(&reading, numbers + at + 1 + i, length - i < room ? length - i : room);
        }
        free(numbers);
    }
    if (corpus->sequences == 0)
        fail(paths[0], "has no line of text within %lld tokens",
             (long long)token_limit);
    return corpus;
}

void corpus_free(struct corpus *corpus)
{
    free(corpus->ids);
    free(corpus->starts);
    free(corpus->firsts);
    free(corpus);
}

/* Mix corpora */
/* Which corpus has its turn, at[i] sequences of each having been taken; −1: none. */
static int whose_turn(struct corpus *const *corpora, int count, const int *at)
{
    int next = -1;
    for (int i = 0; i < count; i++)
        if (at[i] < corpora[i]->sequences
            && (next < 0
                || corpora[i]->starts[at[i]] < corpora[next]->starts[at[next]]))
            next = i;
    return next;
}

struct corpus *corpus_mix(struct corpus *const *corpora, int count,
                          int64_t token_limit)
{
    struct corpus *mixed = allocate(1, sizeof *mixed);
    int *at = allocate((size_t)count, sizeof *at), sequences = 0, turn;
    int64_t tokens = 0;
    /* Make room for all of the corpora */
    for (int i = 0; i < count; i++) {
        sequences += corpora[i]->sequences;
        tokens += corpora[i]->tokens;
        mixed->whole += corpora[i]->whole;
    }
    mixed->ids = allocate((size_t)tokens, sizeof *mixed->ids);
    mixed->starts = allocate((size_t)sequences + 1, sizeof *mixed->starts);
    mixed->firsts = allocate((size_t)sequences, sizeof *mixed->firsts);
    while ((turn = whose_turn(corpora, count, at)) >= 0) {
        /* Take the next sequence of the corpus that has its turn */
        const struct corpus *from = corpora[turn];
        int s = at[turn]++, length = (int)(from->starts[s + 1] - from->starts[s]);
        if (token_limit > 0 && mixed->tokens + length > token_limit)
            break;
        memcpy(mixed->ids + mixed->tokens, from->ids + from->starts[s],
               (size_t)length * sizeof *mixed->ids);
        mixed->firsts[mixed->sequences++] = from->firsts ? from->firsts[s] : length;
        mixed->starts[mixed->sequences] = mixed->tokens += length;
    }
    for (int i = 0; i < count; i++)
        corpus_free(corpora[i]);
    free(at);
    return mixed;
}

/* Fill a batch from a corpus */
void corpus_batch(const struct corpus *corpus, const int *order, int first, int count,
                  struct batch *batch, int pad_to)
{
    batch_clear(batch);
    for (int i = first; i < first + count && i < corpus->sequences; i++) {
        int s = order ? order[i] : i;
        int length = (int)(corpus->starts[s + 1] - corpus->starts[s]);
        batch_append(batch, corpus->ids + corpus->starts[s], length,
                     corpus->firsts ? corpus->firsts[s] : length, pad_to);
    }
}

/* Mask some of the tokens */
enum { MASKING = 0x6d61736b };

void corpus_mask(const struct tokenizer *tokenizer, struct batch *batch, uint64_t seed,
                 int64_t step, float rate)
{
    uint64_t key = random_key(seed, (uint64_t)step, MASKING);
    for (int i = 0; i < batch->tokens; i++) {
        uint64_t counter = 3 * (uint64_t)i;
        batch->labels[i] = NO_LABEL;
        if (tokenizer_special(tokenizer, batch->ids[i])
            || random_uniform(key, counter) >= rate)
            continue;
        /* Hide what was chosen */
        batch->labels[i] = batch->ids[i];
        float fate = random_uniform(key, counter + 1);
        if (fate < 0.8f)
            batch->ids[i] = tokenizer->mask;
        else if (fate < 0.9f)
            batch->ids[i] = (int)random_below(key, counter + 2,
                                              (uint64_t)tokenizer->count);
    }
}
