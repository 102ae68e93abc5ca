/* Tangled from chapters/22-tokenizer.md; edit there. */
#include "fail.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Say how tokenize is used */
static const char usage[] =
    "usage: distil tokenize --vocab FILE [--pair]\n"
    "\n"
    "Reads lines from standard input and prints the ids of their pieces, separated by\n"
    "spaces, with [CLS] and [SEP].\n"
    "\n"
    "  --vocab FILE   vocabulary, one piece a line, as in BERT's vocab.txt; or a\n"
    "                 tokenizer.json; or a model folder with one of them\n"
    "  --pair         each line holds two texts, separated by a tab\n";

static int misused(const char *option)
{
    fprintf(stderr, "distil: %s: expected --vocab FILE, and --pair or nothing\n\n%s",
            option, usage);
    return 2;
}

/* Print the pieces of a text */
static void print_pieces(const struct tokenizer *tokenizer, const char *text,
                         size_t size)
{
    int *ids = allocate(size, sizeof *ids);
    int count = tokenizer_encode(tokenizer, text, size, ids, (int)size);
    for (int i = 0; i < count; i++)
        printf("%d ", ids[i]);
    printf("%d", tokenizer->sep);
    free(ids);
}

/* Print the pieces of every line */
static void print_lines(const char *vocab_path, bool pair)
{
    struct tokenizer *tokenizer = tokenizer_open(vocab_path);
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    for (long number = 1; (length = getline(&line, &room, stdin)) >= 0; number++) {
        /* Find one text or two in the line */
        size_t size = (size_t)length - (length > 0 && line[length - 1] == '\n');
        char *tab = pair ? memchr(line, '\t', size) : NULL;
        size_t first = tab ? (size_t)(tab - line) : size;
        if (pair && (!tab || memchr(tab + 1, '\t', size - first - 1)))
            fail("standard input",
                 "line %ld: expected two texts and a tab between them", number);
        printf("%d ", tokenizer->cls);
        print_pieces(tokenizer, line, first);
        if (pair) {
            putchar(' ');
            print_pieces(tokenizer, tab + 1, size - first - 1);
        }
        putchar('\n');
    }
    if (fflush(stdout) != 0)
        fail("standard output", "could not be written");
    free(line);
    tokenizer_free(tokenizer);
}

/* Answer the command tokenize */
int tokenize_main(int argc, char **argv)
{
    const char *vocab_path = NULL;
    bool pair = false;
    for (int i = 1; i < argc; i++) {
        /* Understand one option of tokenize */
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strcmp(argv[i], "--vocab") == 0 && i + 1 < argc) {
            vocab_path = argv[++i];
        } else if (strcmp(argv[i], "--pair") == 0) {
            pair = true;
        } else {
            return misused(argv[i]);
        }
    }
    if (!vocab_path)
        return misused("--vocab");
    print_lines(vocab_path, pair);
    return 0;
}
