/* Tangled from chapters/22-tokenizer.md; edit there. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* State what a tokenizer is */
/* BERT's WordPiece tokenizer. It never changes once open: threads may share it. */
struct tokenizer {
    int count;                      /* pieces in the vocabulary: ids are 0 .. count-1 */
    int pad, unk, cls, sep, mask;   /* the five special tokens; pad is always 0 */
    bool lower_case, strip_accents; /* uncased BERT does both */
    bool split_ideographs;          /* each Chinese character is a word */
    uint64_t hash;                  /* of the vocabulary and the three, for cache.h */
    struct trie *pieces;            /* the vocabulary, private */
};

/* A part of a text: its bytes from .. to - 1. */
struct extent {
    int from, to;
};

/* State what can be done with a tokenizer */
/* tokenizer_open: reads a vocab.txt, one piece a line, its id the line's number from 0,
   a tokenizer.json, or the one that a model folder has, and what stands beside about
   case, accents and ideographs (vocabulary.h). Fails, naming the file, when a special
   token is missing or [PAD] is not first. */
struct tokenizer *tokenizer_open(const char *vocab_path);
void tokenizer_free(struct tokenizer *tokenizer);

/* tokenizer_special: whether id is one of the five special tokens. */
bool tokenizer_special(const struct tokenizer *tokenizer, int id);

/* tokenizer_encode: the pieces of a text of size bytes, without [CLS] and [SEP].
   Special tokens that stand in the text, such as [MASK], stay whole; bytes that are not
   UTF-8 are dropped. Returns how many pieces the text has, at most size; only the first
   `room` of them are stored in ids[room]. */
int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size,
                     int *ids, int room);

/* tokenizer_locate: tokenizer_encode, and where in the text each piece stands;
   extents[room]. An accent that is left out belongs to no piece if it is a character of
   its own, and to its letter's if it is not. */
int tokenizer_locate(const struct tokenizer *tokenizer, const char *text, size_t size,
                     int *ids, struct extent *extents, int room);

/* tokenizer_encode_pair: [CLS] a [SEP], or with b [CLS] a [SEP] b [SEP], cut to
   max_length tokens by shortening the longer text, as transformers' "longest_first"
   does. b: NULL for a single text. ids[max_length] takes the pieces, *first the length
   of the first segment with its [SEP]. Returns the length of the whole. */
int tokenizer_encode_pair(const struct tokenizer *tokenizer, const char *a,
                          const char *b, int max_length, int *ids, int *first);

#endif
