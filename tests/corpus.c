/* Batches, corpora and masking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "catch.h"
#include "drawn.h"
#include "batch.h"
#include "cache.h"
#include "check.h"
#include "corpus.h"
#include "fail.h"
#include "file.h"
#include "tokenizer.h"

/* ids of tests/fixtures/tokenizer/ab.txt */
enum { PAD, UNK, CLS, SEP, MASK, A, B, AB };

static struct tokenizer *tokenizer;
static char text_path[] = "/tmp/corpus-XXXXXX";   /* of the text that a test reads */

static int open_vocabulary(void **state)
{
    (void)state;
    close(mkstemp(text_path));
    tokenizer = tokenizer_open("tests/fixtures/tokenizer/ab.txt");
    return 0;
}

static int free_vocabulary(void **state)
{
    (void)state;
    tokenizer_free(tokenizer);
    return unlink(text_path);
}

static void assert_ints(const int *found, int count, const int *expected)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(found[i], expected[i]);
}

static void batch_lays_sequences_end_to_end(void **state)
{
    (void)state;
    const int one[] = {CLS, A, B, SEP}, two[] = {CLS, B, SEP, A, SEP};
    struct batch *b = batch_create(12, 2);
    assert_int_equal(batch_longest(b), 0);
    for (int round = 0; round < 2; round++) {
        batch_clear(b);
        batch_append(b, one, 4, 4, 0);
        batch_append(b, two, 5, 3, 0);
        assert_int_equal(b->tokens, 9);
        assert_int_equal(b->sequences, 2);
        assert_int_equal(batch_longest(b), 5);
        assert_ints(b->ids, 9, (int[]){CLS, A, B, SEP, CLS, B, SEP, A, SEP});
        assert_ints(b->segments, 9, (int[]){0, 0, 0, 0, 0, 0, 0, 1, 1});
        assert_ints(b->positions, 9, (int[]){0, 1, 2, 3, 0, 1, 2, 3, 4});
        assert_ints(b->offsets, 3, (int[]){0, 4, 9});
        assert_ints(b->visible, 2, (int[]){4, 5});
        assert_ints(b->classes, 2, (int[]){NO_LABEL, NO_LABEL});
        for (int i = 0; i < 9; i++)
            assert_int_equal(b->labels[i], NO_LABEL);
    }
    double positions[9], segments[9], offsets[3];
    for (int i = 0; i < 9; i++) {
        positions[i] = b->positions[i];
        segments[i] = b->segments[i];
        offsets[i / 3] = b->offsets[i / 3];
    }
    assert_drawn_list("batch", "positions", positions, 9, 0);
    assert_drawn_list("batch", "segments", segments, 9, 0);
    assert_drawn_list("batch", "offsets", offsets, 3, 0);
    EXPECT_FAIL(batch_append(b, one, 2, 2, 0), "9 of 12 tokens and 2 of 2 sequences");
    batch_free(b);
}

static void padding_is_there_but_not_visible(void **state)
{
    (void)state;
    const int ids[] = {CLS, A, SEP, B, SEP};
    struct batch *b = batch_create(14, 3);
    batch_append(b, ids, 5, 3, 7);
    batch_append(b, ids, 5, 3, 5);
    assert_int_equal(b->tokens, 12);
    assert_ints(b->ids, 7, (int[]){CLS, A, SEP, B, SEP, PAD, PAD});
    assert_ints(b->segments, 7, (int[]){0, 0, 0, 1, 1, 0, 0});
    assert_ints(b->positions, 7, (int[]){0, 1, 2, 3, 4, 5, 6});
    assert_ints(b->offsets, 3, (int[]){0, 7, 12});
    assert_ints(b->visible, 2, (int[]){5, 5});
    assert_int_equal(batch_longest(b), 7);
    EXPECT_FAIL(batch_append(b, ids, 2, 2, 3), "12 of 14 tokens");
    batch_append(b, ids, 2, 2, 0);
    batch_free(b);
}

static void every_epoch_has_its_own_order(void **state)
{
    (void)state;
    enum { N = 500 };
    int *first = batch_order(N, 3, 0), *again = batch_order(N, 3, 0);
    int *second = batch_order(N, 3, 1), *other = batch_order(N, 4, 0), seen[N] = {0};
    assert_memory_equal(first, again, N * sizeof *first);
    assert_memory_not_equal(first, second, N * sizeof *first);
    assert_memory_not_equal(first, other, N * sizeof *first);
    for (int i = 0; i < N; i++)
        seen[second[i]]++;
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    free(first);
    free(again);
    free(second);
    free(other);
}

/* read_text: a corpus of that text. */
static struct corpus *read_text(const char *text, size_t size, int max_length, bool split_long,
                                int64_t token_limit)
{
    FILE *stream = fopen(text_path, "w");
    assert_non_null(stream);
    fwrite(text, 1, size, stream);
    fclose(stream);
    return corpus_read(tokenizer, (char *[]){text_path}, 1, max_length, split_long, token_limit);
}

static void expect_corpus(const char *text, int max_length, bool split_long, int64_t token_limit,
                          int64_t whole, int sequences, int tokens, const int *ids)
{
    struct corpus *c = read_text(text, strlen(text), max_length, split_long, token_limit);
    assert_int_equal(c->sequences, sequences);
    assert_int_equal(c->tokens, tokens);
    assert_int_equal(c->whole, whole);
    assert_int_equal(c->starts[0], 0);
    assert_int_equal(c->starts[sequences], tokens);
    assert_ints(c->ids, tokens, ids);
    for (int s = 0; s < sequences; s++) {
        assert_int_equal(c->ids[c->starts[s]], CLS);
        assert_int_equal(c->ids[c->starts[s + 1] - 1], SEP);
    }
    corpus_free(c);
}

static void a_line_is_a_sequence(void **state)
{
    (void)state;
    expect_corpus("a b\n\n \t \nab", 8, false, 0, 7, 2, 7,
                  (int[]){CLS, A, B, SEP, CLS, AB, SEP});
    expect_corpus("a\r\nb\r\n", 8, false, 0, 6, 2, 6, (int[]){CLS, A, SEP, CLS, B, SEP});
}

static void wikitext_is_mended(void **state)
{
    (void)state;
    expect_corpus(" \n = a = \n \n a <unk> b \n", 8, false, 0, 10, 2, 10,
                  (int[]){CLS, UNK, A, UNK, SEP, CLS, A, UNK, B, SEP});
    /* a hyphen is one piece, unknown to this vocabulary, and not three */
    expect_corpus("a @-@ b @,@ a @.@ b\n", 20, false, 0, 9, 1, 9,
                  (int[]){CLS, A, UNK, B, UNK, A, UNK, B, SEP});
    expect_corpus("a @-@ @-@ b@-@ a\n", 20, false, 0, 10, 1, 10,
                  (int[]){CLS, A, UNK, UNK, B, UNK, UNK, UNK, A, SEP});
}

static void article_tags_are_dropped(void **state)
{
    (void)state;
    expect_corpus("<doc id=\"1\" title=\"a\">\na\n\nb\n</doc>\n<doc id=\"2\">\nab\n</doc>\n", 8, false, 0,
                  9, 3, 9, (int[]){CLS, A, SEP, CLS, B, SEP, CLS, AB, SEP});
}

static void long_lines_are_cut_or_split(void **state)
{
    (void)state;
    expect_corpus("a b a b a\n", 4, false, 0, 4, 1, 4, (int[]){CLS, A, B, SEP});
    expect_corpus("a b a b a\n", 4, true, 0, 11, 3, 11,
                  (int[]){CLS, A, B, SEP, CLS, A, B, SEP, CLS, A, SEP});
    expect_corpus("a b a b\n", 4, true, 0, 8, 2, 8, (int[]){CLS, A, B, SEP, CLS, A, B, SEP});
}

static void token_limit_keeps_the_beginning(void **state)
{
    (void)state;
    const int ids[] = {CLS, A, SEP, CLS, B, SEP, CLS, A, B, SEP, CLS, A, SEP};
    expect_corpus("a\nb\na b\na\n", 8, false, 6, 13, 2, 6, ids);
    expect_corpus("a\nb\na b\na\n", 8, false, 9, 13, 2, 6, ids); /* no later, shorter line slips in */
    expect_corpus("a\nb\na b\na\n", 8, false, 10, 13, 3, 10, ids);
    expect_corpus("a\nb\na b\na\n", 8, false, 13, 13, 4, 13, ids);
    EXPECT_FAIL(read_text("a\n", 2, 8, false, 2), "has no line of text within 2 tokens");
    EXPECT_FAIL(read_text(" \n", 2, 8, false, 0), "has no line of text");
    EXPECT_FAIL(read_text("", 0, 8, false, 0), "has no line of text");
    EXPECT_FAIL(read_text("a", 1, 2, false, 0), "leave no room");
    EXPECT_FAIL(corpus_read(tokenizer, (char *[]){text_path, "/nowhere"}, 2, 8, false, 0), "/nowhere: cannot be opened");
}

static void several_files_are_one_text(void **state)
{
    (void)state;
    char other[] = "/tmp/corpus-XXXXXX";
    FILE *stream = fdopen(mkstemp(other), "w");
    fputs("ab b\n", stream);
    fclose(stream);
    corpus_free(read_text("a\nb", 3, 8, false, 0));
    struct corpus *c = corpus_read(tokenizer, (char *[]){text_path, other, text_path}, 3, 8, false, 12);
    assert_int_equal(c->whole, 16);
    assert_int_equal(c->sequences, 3);
    assert_ints(c->ids, 10, (int[]){CLS, A, SEP, CLS, B, SEP, CLS, AB, B, SEP});
    corpus_free(c);
    unlink(other);
}

/* files_of: how many files a folder has; the name of the last in name[64] */
static int files_of(const char *folder, char *name)
{
    DIR *stream = opendir(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(stream));)
        if (entry->d_name[0] != '.' && ++count)
            snprintf(name, 64, "%.63s", entry->d_name);
    closedir(stream);
    return count;
}

static void pieces_are_kept(void **state)
{
    (void)state;
    char folder[] = "/tmp/corpus-XXXXXX", name[64];
    assert_non_null(mkdtemp(folder));
    setenv("DISTIL_CACHE", folder, 1);
    corpus_free(read_text("a b\na\n", 6, 8, false, 0));
    assert_int_equal(files_of(folder, name), 1);
    cache_write(strtoull(name, NULL, 16), (int[]){1, AB}, 2);
    expect_corpus("a b\na\n", 8, false, 0, 3, 1, 3, (int[]){CLS, AB, SEP}); /* what was planted */
    expect_corpus("a b\nb\n", 8, false, 0, 7, 2, 7, (int[]){CLS, A, B, SEP, CLS, B, SEP}); /* another text */
    struct tokenizer *usual = tokenizer, *other = tokenizer_open("tests/fixtures/tokenizer/vocab.txt");
    tokenizer = other; /* another vocabulary */
    struct corpus *c = read_text("a b\na\n", 6, 8, false, 0);
    assert_int_equal(c->sequences, 2);
    tokenizer = usual;
    assert_int_equal(files_of(folder, name), 3);
    unsetenv("DISTIL_CACHE");
    corpus_free(c);
    tokenizer_free(other);
    char *command = text_format("rm -r %s", folder);
    assert_int_equal(system(command), 0);
    free(command);
}

static void batches_follow_the_order(void **state)
{
    (void)state;
    struct corpus *c = read_text("a\nb\na b\n", 8, 8, false, 0);
    struct batch *b = batch_create(32, 4);
    const int order[] = {2, 0, 1};
    corpus_batch(c, order, 0, 2, b, 0);
    assert_int_equal(b->sequences, 2);
    assert_ints(b->ids, 7, (int[]){CLS, A, B, SEP, CLS, A, SEP});
    corpus_batch(c, order, 2, 2, b, 0); /* the last batch is short */
    assert_int_equal(b->sequences, 1);
    assert_ints(b->ids, 3, (int[]){CLS, B, SEP});
    corpus_batch(c, NULL, 1, 2, b, 5);
    assert_ints(b->ids, 10, (int[]){CLS, B, SEP, PAD, PAD, CLS, A, B, SEP, PAD});
    assert_ints(b->visible, 2, (int[]){3, 4});
    batch_free(b);
    corpus_free(c);
}

/* ordinary_batch: a batch of special tokens and a pieces, in turns; a's only at odd places */
static struct batch *ordinary_batch(int tokens)
{
    struct batch *b = batch_create(tokens, 1);
    int *ids = allocate((size_t)tokens, sizeof *ids);
    for (int i = 0; i < tokens; i++)
        ids[i] = i % 2 ? A : i / 2 % 5;
    batch_append(b, ids, tokens, tokens, 0);
    free(ids);
    return b;
}

/* within: a binomial count of n draws lies within four standard deviations of n p */
static bool within(double count, double n, double p)
{
    return fabs(count - n * p) <= 4 * sqrt(n * p * (1 - p));
}

static void masking_keeps_its_proportions(void **state)
{
    (void)state;
    enum { TOKENS = 400000, ORDINARY = TOKENS / 2 };
    struct tokenizer *t = tokenizer_open("tests/fixtures/tokenizer/vocab.txt");
    struct batch *b = ordinary_batch(TOKENS);
    const int a = A; /* some ordinary piece of that vocabulary too */
    int chosen = 0, masked = 0, kept = 0, replaced = 0, *drawn = allocate((size_t)t->count, sizeof *drawn);
    corpus_mask(t, b, 1, 0, 0.15f);
    for (int i = 0; i < TOKENS; i++) {
        if (i % 2 == 0) {
            assert_int_equal(b->labels[i], NO_LABEL);
            assert_int_equal(b->ids[i], i / 2 % 5);
        } else if (b->labels[i] == NO_LABEL) {
            assert_int_equal(b->ids[i], a);
        } else {
            assert_int_equal(b->labels[i], a);
            chosen++;
            masked += b->ids[i] == t->mask;
            kept += b->ids[i] == a;
            replaced += b->ids[i] != t->mask && b->ids[i] != a;
            assert_in_range(b->ids[i], 0, t->count - 1);
            drawn[b->ids[i]]++;
        }
    }
    assert_true(within(chosen, ORDINARY, 0.15));
    assert_true(within(masked, chosen, 0.8 + 0.1 / t->count));
    assert_true(within(kept, chosen, 0.1 + 0.1 / t->count));
    assert_true(within(replaced, chosen, 0.1 - 0.2 / t->count));
    double chi = 0, each = (double)replaced / (t->count - 2), freedom = t->count - 3;
    for (int id = 0; id < t->count; id++)
        if (id != t->mask && id != a)
            chi += (drawn[id] - each) * (drawn[id] - each) / each;
    assert_true(fabs(chi - freedom) < 4 * sqrt(2 * freedom));
    check_report("corpus.masking_tokens", "%.0f thousand", ORDINARY / 1000.0);
    check_report("corpus.chosen", "%.2f", 100.0 * chosen / ORDINARY);
    check_report("corpus.masked", "%.1f", 100.0 * masked / chosen);
    check_report("corpus.random", "%.1f", 100.0 * replaced / chosen);
    check_report("corpus.kept", "%.1f", 100.0 * kept / chosen);
    batch_free(b);
    tokenizer_free(t);
    free(drawn);
}

static void masking_is_keyed_by_seed_step_and_place(void **state)
{
    (void)state;
    enum { TOKENS = 2000 };
    struct batch *one = ordinary_batch(TOKENS), *again = ordinary_batch(TOKENS);
    struct batch *next = ordinary_batch(TOKENS), *other = ordinary_batch(TOKENS);
    struct batch *half = ordinary_batch(TOKENS / 2);
    corpus_mask(tokenizer, one, 1, 7, 0.15f);
    corpus_mask(tokenizer, again, 1, 7, 0.15f);
    corpus_mask(tokenizer, next, 1, 8, 0.15f);
    corpus_mask(tokenizer, other, 2, 7, 0.15f);
    corpus_mask(tokenizer, half, 1, 7, 0.15f);
    assert_memory_equal(one->ids, again->ids, TOKENS * sizeof(int));
    assert_memory_equal(one->labels, again->labels, TOKENS * sizeof(int));
    assert_memory_not_equal(one->labels, next->labels, TOKENS * sizeof(int));
    assert_memory_not_equal(one->labels, other->labels, TOKENS * sizeof(int));
    assert_memory_equal(one->ids, half->ids, TOKENS / 2 * sizeof(int));
    batch_free(one);
    batch_free(again);
    batch_free(next);
    batch_free(other);
    batch_free(half);
}

static void rate_zero_masks_nothing_and_one_everything(void **state)
{
    (void)state;
    struct batch *b = ordinary_batch(1000);
    corpus_mask(tokenizer, b, 1, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b->labels[i], NO_LABEL);
    corpus_mask(tokenizer, b, 1, 0, 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b->labels[i], i % 2 ? A : NO_LABEL);
    batch_free(b);
}

/* A corpus of sequences of these lengths, which are all made of one piece; firsts: NULL, or [count]. */
static struct corpus *made(int piece, int count, const int *lengths, const int *firsts)
{
    struct corpus *c = allocate(1, sizeof *c);
    c->starts = allocate((size_t)count + 1, sizeof *c->starts);
    c->firsts = firsts ? allocate((size_t)count, sizeof *c->firsts) : NULL;
    c->ids = allocate(1000, sizeof *c->ids);
    for (; c->sequences < count; c->starts[++c->sequences] = c->tokens) {
        for (int i = 0; i < lengths[c->sequences]; i++)
            c->ids[c->tokens++] = piece;
        if (firsts)
            c->firsts[c->sequences] = firsts[c->sequences];
    }
    c->whole = c->tokens;
    return c;
}

/* The pieces that the sequences of a mixture begin with. */
static void expect_turns(struct corpus *mixed, int sequences, const int *pieces)
{
    assert_int_equal(mixed->sequences, sequences);
    for (int s = 0; s < sequences; s++)
        assert_int_equal(mixed->ids[mixed->starts[s]], pieces[s]);
    assert_int_equal(mixed->tokens, mixed->starts[sequences]);
    assert_int_equal(mixed->whole, 5 * 3 + 2 * 6 + 10);
}

static void texts_take_turns(void **state)
{
    (void)state;
    const int short_ones[] = {3, 3, 3, 3, 3}, pairs[] = {6, 6}, long_one[] = {10}, firsts[] = {2, 4};
    for (int limit = 0; limit < 40; limit += 30) {
        struct corpus *texts[] = {made(A, 5, short_ones, NULL), made(B, 2, pairs, firsts), made(AB, 1, long_one, NULL)};
        struct corpus *mixed = corpus_mix(texts, 3, limit); /* 3 0 0, 3 6 0, 3 6 10, 6 6 10, 9 6 10, 9 12 10, … */
        expect_turns(mixed, limit ? 5 : 8, (int[]){A, B, AB, A, A, B, A, A});
        struct batch *b = batch_create(40, 8);
        corpus_batch(mixed, NULL, 0, 3, b, 0);
        assert_ints(b->offsets, 4, (int[]){0, 3, 9, 19});
        assert_ints(b->segments, 10, (int[]){0, 0, 0, 0, 0, 1, 1, 1, 1, 0}); /* a pair has two */
        batch_free(b);
        corpus_free(mixed);
    }
    struct corpus *alone = made(B, 2, pairs, firsts);
    alone = corpus_mix(&alone, 1, 5); /* the first has six */
    assert_int_equal(alone->sequences, 0);
    assert_int_equal(alone->tokens, 0);
    corpus_free(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_lays_sequences_end_to_end),
        cmocka_unit_test(padding_is_there_but_not_visible),
        cmocka_unit_test(every_epoch_has_its_own_order),
        cmocka_unit_test(a_line_is_a_sequence),
        cmocka_unit_test(wikitext_is_mended),
        cmocka_unit_test(article_tags_are_dropped),
        cmocka_unit_test(long_lines_are_cut_or_split),
        cmocka_unit_test(token_limit_keeps_the_beginning),
        cmocka_unit_test(several_files_are_one_text),
        cmocka_unit_test(pieces_are_kept),
        cmocka_unit_test(texts_take_turns),
        cmocka_unit_test(batches_follow_the_order),
        cmocka_unit_test(masking_keeps_its_proportions),
        cmocka_unit_test(masking_is_keyed_by_seed_step_and_place),
        cmocka_unit_test(rate_zero_masks_nothing_and_one_everything),
    };
    return cmocka_run_group_tests_name("corpus", tests, open_vocabulary, free_vocabulary);
}
