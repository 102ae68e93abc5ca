/* Tangled from chapters/08-batch.md; edit there. */
#include "batch.h"
#include "fail.h"
#include "random.h"

#include <stdlib.h>

/* Make and free a batch */
size_t batch_lists(int token_room, int sequence_room)
{
    return 3 * (size_t)token_room + 2 * (size_t)sequence_room + 1;
}

struct batch *batch_create(int token_room, int sequence_room)
{
    struct batch *b = allocate(1, sizeof *b);
    b->ids = allocate(batch_lists(token_room, sequence_room), sizeof *b->ids);
    b->segments = b->ids + token_room;
    b->positions = b->segments + token_room;
    b->offsets = b->positions + token_room;
    b->visible = b->offsets + sequence_room + 1;
    /* Make room for labels and soft targets */
    b->labels = allocate((size_t)token_room, sizeof *b->labels);
    b->classes = allocate((size_t)sequence_room, sizeof *b->classes);
    b->numbers = allocate((size_t)sequence_room, sizeof *b->numbers);
    b->spans = allocate(2 * (size_t)sequence_room, sizeof *b->spans);
    b->soft = allocate(2 * (size_t)token_room, sizeof *b->soft);
    b->token_room = token_room;
    b->sequence_room = sequence_room;
    return b;
}

void batch_free(struct batch *b)
{
    free(b->ids);
    free(b->labels);
    free(b->classes);
    free(b->numbers);
    free(b->spans);
    free(b->soft);
    free(b);
}

void batch_clear(struct batch *b)
{
    b->tokens = b->sequences = 0;
    b->soft_share = 0;
}

/* Append a sequence to a batch */
void batch_append(struct batch *b, const int *ids, int length, int first, int pad_to)
{
    int whole = pad_to > length ? pad_to : length;
    if (b->sequences == b->sequence_room || whole > b->token_room - b->tokens)
        fail("batch", "holds %d of %d tokens and %d of %d sequences; no room for %d",
             b->tokens, b->token_room, b->sequences, b->sequence_room, whole);
    /* Lay the tokens behind those that are there */
    for (int i = 0, t = b->tokens; i < whole; i++, t++) {
        b->ids[t] = i < length ? ids[i] : PADDING;
        b->segments[t] = i >= first && i < length;
        b->positions[t] = i;
        b->labels[t] = NO_LABEL;
    }
    b->visible[b->sequences] = length;
    /* Begin with nothing to predict */
    b->classes[b->sequences] = NO_LABEL;
    b->numbers[b->sequences] = 0;
    b->spans[2 * b->sequences] = b->spans[2 * b->sequences + 1] = NO_LABEL;
    b->tokens += whole;
    b->offsets[++b->sequences] = b->tokens;
}

/* Find the longest sequence of a batch */
int batch_longest(const struct batch *b)
{
    int longest = 0;
    for (int s = 0; s < b->sequences; s++)
        if (b->offsets[s + 1] - b->offsets[s] > longest)
            longest = b->offsets[s + 1] - b->offsets[s];
    return longest;
}

/* Shuffle the sequences of an epoch */
enum { SHUFFLING = 0x73687566 };

int *batch_order(int count, uint64_t seed, int epoch)
{
    int *order = allocate((size_t)count, sizeof *order);
    for (int i = 0; i < count; i++)
        order[i] = i;
    random_shuffle(order, count, random_key(seed, (uint64_t)epoch, SHUFFLING));
    return order;
}
