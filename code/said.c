/* Tangled from chapters/64-helpers.md; edit there. */
#include "said.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Keep what is said */
static struct keeping {
    struct keeping *before;
    void *memory;
} *keeping;

void *kept(void *memory)
{
    struct keeping *last = allocate(1, sizeof *last);
    *last = (struct keeping){keeping, memory};
    keeping = last;
    return memory;
}

void forget(void)
{
    while (keeping) {
        struct keeping *last = keeping;
        keeping = last->before;
        free(last->memory);
        free(last);
    }
}

/* Write numbers and durations */
const char *rounded(double number, int decimals)
{
    return kept(number_text(number, decimals));
}

const char *significant(double number)
{
    int magnitude = number == 0 ? 0 : (int)floor(log10(fabs(number)));
    return rounded(number, magnitude >= 2 ? 0 : 2 - magnitude);
}

const char *duration_said(double seconds)
{
    long whole = lround(seconds);
    return seconds < 9.95 ? say("%.1f s", seconds)
           : whole < 60   ? say("%ld s", whole)
           : whole < 3600 ? say("%ld min %02ld s", whole / 60, whole % 60)
                          : say("%ld h %02ld min", whole / 3600, whole % 3600 / 60);
}

const char *count_said(double count, const char *what)
{
    return say("%s %s%s", count == 0 ? "no" : say("%g", count), what,
               count == 1 ? "" : "s");
}

/* Write a list of words */
void words_add(struct words *words, const char *word)
{
    const char **longer = kept(allocate((size_t)words->count + 1, sizeof *longer));
    for (int i = 0; i < words->count; i++) {
        if (!strcmp(words->word[i], word))
            return;
        longer[i] = words->word[i];
    }
    longer[words->count++] = word;
    words->word = longer;
}

struct words words_few(const struct words *words, int most)
{
    struct words few = {NULL, 0};
    for (int i = 0; i < words->count && i < most; i++)
        words_add(&few, words->word[i]);
    if (words->count > most)
        words_add(&few, say("%d more", words->count - most));
    return few;
}

static const char *join(const struct words *words, const char *between,
                        const char *last)
{
    const char *text = "";
    for (int i = 0; i < words->count; i++)
        text = say("%s%s%s", text,
                   i == 0 ? "" : i + 1 < words->count ? between : last, words->word[i]);
    return text;
}

const char *words_joined(const struct words *words, const char *between)
{
    return join(words, between, between);
}

const char *words_said(const struct words *words)
{
    return join(words, ", ", " and ");
}

const char *numbered(const char *what, const int *numbers, int count)
{
    struct words words = {NULL, 0};
    for (int i = 0; i < count; i++)
        words_add(&words, say("%d", numbers[i]));
    return say("%s%s %s", what, words.count == 1 ? "" : "s", words_said(&words));
}
