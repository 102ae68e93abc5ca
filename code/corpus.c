/* Tangled from chapters/31-corpus.md; edit there. */
#include "corpus.h"
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

/* Keep account of the reading */
struct reading {
    const struct tokenizer *tokenizer;
    struct corpus *corpus;
    int64_t id_room, start_room;   /* allocated elements of ids and starts */
    int64_t token_limit;           /* 0: none */
    bool full;                     /* the limit is reached: count, store nothing */
};

/* Grow an array */
/* grown: the array, of `size` bytes an element, with room for at least `wanted`. */
static void *grown(void *array, int64_t *room, int64_t wanted, size_t size)
{
    while (*room < wanted)
        *room = *room ? 2 * *room : 1024;
    array = realloc(array, (size_t)*room * size);
    if (!array)
        fail("memory", "%lld elements of a corpus do not fit", (long long)*room);
    return array;
}

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
    c->ids[c->tokens] = r->tokenizer->cls;
    memcpy(c->ids + c->tokens + 1, pieces, (size_t)length * sizeof *pieces);
    c->ids[tokens - 1] = r->tokenizer->sep;
    c->starts[c->sequences++] = c->tokens;
    c->starts[c->sequences] = c->tokens = tokens;
}

/* Add the sequences of a line */
static void add_line(struct reading *r, char *line, size_t size, int max_length,
                     bool split_long)
{
    if (strncmp(line, "<doc ", 5) == 0 || strncmp(line, "</doc>", 6) == 0)
        return;
    mend(line);
    int *pieces = allocate(size, sizeof *pieces), room = max_length - 2;
    int count = tokenizer_encode(r->tokenizer, line, size, pieces, (int)size);
    if (count > room && !split_long)
        count = room;
    for (int i = 0; i < count; i += room)
        add_sequence(r, pieces + i, count - i < room ? count - i : room);
    free(pieces);
}

/* Read a corpus line by line */
struct corpus *corpus_read(const struct tokenizer *tokenizer, const char *path,
                           int max_length, bool split_long, int64_t token_limit)
{
    if (max_length < 3)
        fail("max_length", "%d tokens leave no room for a piece", max_length);
    size_t size;
    char *text = file_read(path, &size), *end = text + size;
    struct corpus *corpus = allocate(1, sizeof *corpus);
    struct reading reading = {
        .tokenizer = tokenizer, .corpus = corpus, .token_limit = token_limit
    };
    for (char *line = text, *next; line < end; line = next + 1) {
        if (!(next = memchr(line, '\n', (size_t)(end - line))))
            next = end;
        *next = '\0';
        add_line(&reading, line, (size_t)(next - line), max_length, split_long);
    }
    free(text);
    if (corpus->sequences == 0)
        fail(path, "has no line of text within %lld tokens", (long long)token_limit);
    return corpus;
}

void corpus_free(struct corpus *corpus)
{
    free(corpus->ids);
    free(corpus->starts);
    free(corpus);
}

/* Fill a batch from a corpus */
void corpus_batch(const struct corpus *corpus, const int *order, int first, int count,
                  struct batch *batch, int pad_to)
{
    batch_clear(batch);
    for (int i = first; i < first + count && i < corpus->sequences; i++) {
        int s = order ? order[i] : i;
        int length = (int)(corpus->starts[s + 1] - corpus->starts[s]);
        batch_append(batch, corpus->ids + corpus->starts[s], length, length, pad_to);
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
        batch->labels[i] = batch->ids[i];
        float fate = random_uniform(key, counter + 1);
        if (fate < 0.8f)
            batch->ids[i] = tokenizer->mask;
        else if (fate < 0.9f)
            batch->ids[i] = (int)random_below(key, counter + 2,
                                              (uint64_t)tokenizer->count);
    }
}
