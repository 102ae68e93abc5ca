/* Any bytes as text, and any bytes as pieces of a vocabulary: whatever comes out is a list of known ids.
   Bytes before the first 0x1E, if there is one, are further lines of the vocabulary; the rest is text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tokenizer *open_with(const uint8_t *pieces, size_t size)
{
    char path[] = "/tmp/fuzz-vocab-XXXXXX";
    FILE *stream = fdopen(mkstemp(path), "w");
    fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", stream);
    for (size_t i = 0; i < size; i++) /* a second [PAD] would rightly be refused */
        putc(pieces[i] == '[' ? '(' : pieces[i], stream);
    fclose(stream);
    struct tokenizer *t = tokenizer_open(path);
    remove(path);
    return t;
}

static void expect(int promise)
{
    if (!promise)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *fixture;
    if (!fixture)
        fixture = tokenizer_open("tests/fixtures/tokenizer/vocab.txt");
    const uint8_t *end = memchr(data, 0x1E, size);
    struct tokenizer *t = end ? open_with(data, (size_t)(end - data)) : fixture;
    const char *text = (const char *)(end ? end + 1 : data);
    size_t length = size - (size_t)((const uint8_t *)text - data), half = length / 2;

    int *ids = allocate(length, sizeof *ids), *some = allocate(half, sizeof *some);
    int count = tokenizer_encode(t, text, length, ids, (int)length);
    expect(count >= 0 && (size_t)count <= length);
    for (int i = 0; i < count; i++)
        expect(ids[i] >= 0 && ids[i] < t->count);
    expect(tokenizer_encode(t, text, length, some, (int)half) == count);
    expect(memcmp(some, ids, (count < (int)half ? (size_t)count : half) * sizeof *ids) == 0);

    char *a = text_format("%.*s", (int)half, text), *b = text_format("%.*s", (int)half, text + half);
    int max_length = 3 + (int)(length % 60), first, pair[64];
    int whole = tokenizer_encode_pair(t, a, b, max_length, pair, &first);
    expect(whole >= 3 && whole <= max_length && first >= 2 && first < whole);
    expect(pair[0] == t->cls && pair[first - 1] == t->sep && pair[whole - 1] == t->sep);
    free(a);
    free(b);
    free(ids);
    free(some);
    if (end)
        tokenizer_free(t);
    return 0;
}
