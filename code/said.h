/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef SAID_H
#define SAID_H

#include "fail.h"

/* kept: takes over what was allocated. say: what printf would print, kept. Both live
   until forget. For one thread. */
void *kept(void *memory);
#define say(...) ((const char *)kept(text_format(__VA_ARGS__)))
void forget(void);

/* Say how numbers and words are written */
/* rounded: number_text, kept. significant: a number with three significant digits,
   without an exponent. duration_said: seconds in the two units that fit, "3 min 07 s".
   count_said: a number and what it counts: "no epochs", "1 epoch", "0.5 epochs". */
const char *rounded(double number, int decimals);
const char *significant(double number);
const char *duration_said(double seconds);
const char *count_said(double count, const char *what);

/* A list of words that are said. words_add: adds one that is not in it yet.
   words_said: "CoLA, MRPC and IMDb", "" of none. words_joined: the same with `between`
   between all. words_few: of more than `most` only the first, and "7 more" behind
   them. */
struct words {
    const char **word;
    int count;
};
void words_add(struct words *words, const char *word);
const char *words_said(const struct words *words);
const char *words_joined(const struct words *words, const char *between);
struct words words_few(const struct words *words, int most);

/* numbered: "layers 0 and 2", "layer 0". */
const char *numbered(const char *what, const int *numbers, int count);

#endif
