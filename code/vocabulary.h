/* Tangled from chapters/24-vocabulary.md; edit there. */
#ifndef VOCABULARY_H
#define VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>

/* State what a vocabulary is */
/* What a tokenizer's files say. */
struct vocabulary {
    char *path;             /* the file that the pieces are from */
    char *pieces;           /* one a line; a piece's id is its line's number from 0 */
    size_t size;            /* bytes of pieces */
    bool lower_case;
    bool strip_accents;
    bool split_ideographs;  /* each Chinese character is a word */
};

/* State how a vocabulary is read */
/* vocabulary_read: path: a vocab.txt, a tokenizer.json (known by the ending .json), or
   a model folder, whose tokenizer.json comes first, as in transformers; if its
   vocab.txt has other pieces, standard error is told. The decisions are those of the
   tokenizer.json and of a tokenizer_config.json beside; what neither states is as in
   uncased BERT. Fails, naming file and key, if the two contradict each other, and if
   they or what else stands beside states what this program's tokenizer does not follow:
   other tokenizers, other special tokens, further tokens. */
struct vocabulary vocabulary_read(const char *path);
void vocabulary_free(struct vocabulary *vocabulary);

/* vocabulary_count: how many pieces a model folder's vocabulary has; 0 without one. */
int vocabulary_count(const char *folder);

#endif
