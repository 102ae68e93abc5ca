/* Tangled from chapters/27-questions.md; edit there. */
#ifndef QUESTIONS_H
#define QUESTIONS_H

#include "tokenizer.h"

#include <stdbool.h>

/* Hold questions and their texts */
/* A question; its answer is a part of its context. Text is UTF-8, places are bytes. */
struct question {
    const char *id, *text, *context;
    int index;                    /* its number in the file, from 0 */
    const char **answers;         /* [answer_count], what the readers marked */
    int answer_count;             /* at least 1 */
    struct extent answer;         /* of the context: the first of the answers */

    /* once they are encoded, owned by the questions: */
    int length, context_length;   /* in pieces */
    const int *pieces;            /* [length] */
    const int *context_pieces;    /* [context_length] */
    const struct extent *extents; /* [context_length] where they stand in the context */
};

struct questions {
    struct question *list;   /* [count] */
    int count;
    int misplaced;           /* first answers that are not the text at their place */
    struct json_t *file;     /* owns the text */
    int *numbers;            /* owns the pieces */
};

/* State what can be done with questions */
/* questions_read: the questions of a file in the format of SQuAD 1.1. Fails, naming the
   file and the question, if it is not in that format, or an answer lies outside its
   context. */
struct questions *questions_read(const char *path);
void questions_free(struct questions *questions);

/* questions_keep: drops the questions for which keep[count] is false. */
void questions_keep(struct questions *questions, const bool *keep);

/* questions_encode: cuts questions and contexts into pieces. */
void questions_encode(struct questions *questions, const struct tokenizer *tokenizer);

/* A question, and a part of its context. */
struct window {
    int question;       /* its place in the list */
    int first, count;   /* pieces of the context */
};

/* questions_cut: the windows of all questions, in their order, each of at most
   max_length tokens; each begins `stride` pieces after the one before. For the caller
   to free. Fails if a question leaves no room for its context. */
struct window *questions_cut(const struct questions *questions, int max_length,
                             int stride, int *count);

/* window_sequence: writes [CLS] question [SEP] part [SEP] to ids, *first being the
   length of the first segment; returns the length of the whole. */
int window_sequence(const struct questions *questions, const struct window *window,
                    const struct tokenizer *tokenizer, int *ids, int *first);

/* window_answer: the first and the last token of the answer in that sequence; both 0,
   the [CLS], if the window has not the whole answer. */
void window_answer(const struct questions *questions, const struct window *window,
                   int span[2]);

enum { BEST_TOKENS = 20, LONGEST_ANSWER = 30 };

/* The best answer so far: part of the context; score -INFINITY as long as there is
   none. */
struct reply {
    double score;
    struct extent extent;
};

/* window_find: replaces *best if the window has a better answer. logits: [length of the
   window's sequence, 2]. */
void window_find(const struct questions *questions, const struct window *window,
                 const float *logits, struct reply *best);

#endif
