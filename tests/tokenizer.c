/* The tokenizer against transformers (tests/reference/tokenizer.py), and its own promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <utf8proc.h>

#include "catch.h"
#include "check.h"
#include "fail.h"
#include "file.h"
#include "folder.h"
#include "tokenizer.h"

#define FIXTURES "tests/fixtures/tokenizer/"

enum { ROOM = 4096 };

/* take_line: the next line of the text that ends at `end`, its own end made a NUL; NULL if none is left. */
static char *take_line(char **text, const char *end)
{
    char *line = *text, *newline = memchr(line, '\n', (size_t)(end - line));
    if (!newline)
        return NULL;
    *newline = '\0';
    *text = newline + 1;
    return line;
}

static int read_ids(char *line, int *ids)
{
    int count = 0;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        ids[count++] = atoi(word);
    return count;
}

/* The difficult lines through the tokenizer of a path; returns how many there are. */
static int compare_lines(const char *path, const char *ids_path)
{
    size_t size, ids_size;
    char *lines = file_read(FIXTURES "lines.txt", &size), *line = lines;
    char *wanted_ids = file_read(ids_path, &ids_size), *wanted_line = wanted_ids;
    struct tokenizer *t = tokenizer_open(path);
    static int ids[ROOM], expected[ROOM];
    int number = 0;
    for (char *found; (found = take_line(&line, lines + size)); number++) {
        int count = tokenizer_encode(t, found, (size_t)(line - found) - 1, ids + 1, ROOM - 2) + 2;
        ids[0] = t->cls;
        ids[count - 1] = t->sep;
        int wanted = read_ids(take_line(&wanted_line, wanted_ids + ids_size), expected);
        if (count != wanted || memcmp(ids, expected, (size_t)count * sizeof *ids) != 0)
            fail_msg("line %d differs: %s", number + 1, found);
    }
    assert_true(number >= 300);
    assert_ptr_equal(wanted_line, wanted_ids + ids_size);
    tokenizer_free(t);
    free(lines);
    free(wanted_ids);
    return number;
}

static void lines_equal_transformers(void **state)
{
    (void)state;
    int number = compare_lines(FIXTURES "vocab.txt", FIXTURES "lines.ids");
    check_report("tokenizer.lines", "%.0f", number);
    compare_lines(FIXTURES "saved", FIXTURES "lines.ids");
    compare_lines(FIXTURES "saved/tokenizer.json", FIXTURES "lines.ids");
}

static char *replace(const char *text, const char *part, const char *instead)
{
    const char *at = strstr(text, part);
    if (!at)
        fail_msg("no %s in %s", part, text);
    return text_format("%.*s%s%s", (int)(at - text), text, instead, at + strlen(part));
}

static char *saved(const char *part, const char *instead)
{
    char *json = file_read(FIXTURES "saved/tokenizer.json", NULL), *changed = replace(json, part, instead);
    char *path = folder_put("tokenizer.json", changed);
    free(json);
    free(changed);
    return path;
}

/* Case, accents and ideographs as a tokenizer_config.json or a tokenizer.json decides. */
static void decisions_equal_transformers(void **state)
{
    (void)state;
    const struct {
        const char *name, *config, *part, *instead;
    } variants[] = {
        {"cased", "{\"do_lower_case\": false}", "\"lowercase\": true", "\"lowercase\": false"},
        {"lower", "{\"strip_accents\": false}", "\"strip_accents\": null", "\"strip_accents\": false"},
        {"stripped", "{\"do_lower_case\": false, \"strip_accents\": true}",
         "\"strip_accents\": null,\n    \"lowercase\": true", "\"strip_accents\": true,\n    \"lowercase\": false"},
        {"unsplit", "{\"tokenize_chinese_chars\": false}", "\"handle_chinese_chars\": true",
         "\"handle_chinese_chars\": false"},
    };
    char *vocabulary = file_read(FIXTURES "vocab.txt", NULL), *path = folder_put("vocab.txt", vocabulary);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char *ids = text_format(FIXTURES "lines-%s.ids", variants[i].name);
        char *config = folder_put("tokenizer_config.json", variants[i].config);
        compare_lines(path, ids);
        assert_int_equal(remove(config), 0);
        char *json = saved(variants[i].part, variants[i].instead);
        compare_lines(json, ids);
        compare_lines(folder, ids); /* a tokenizer.json comes before a vocab.txt */
        assert_int_equal(remove(json), 0);
        free(ids), free(config), free(json);
    }
    free(vocabulary), free(path);
}

static void other_tokenizers_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *part, *instead, *fault;
    } cases[] = {
        {"\"WordPiece\",\n    \"unk", "\"Unigram\",\n    \"unk", "has the model \"Unigram\"; only \"WordPiece\""},
        {"\"##\",\n    \"max", "\"@@\",\n    \"max", "has \"continuing_subword_prefix\" \"@@\"; only \"##\""},
        {"_word\": 100", "_word\": 200", "has \"max_input_chars_per_word\" 200; only 100"},
        {"\"unk_token\": \"[UNK]\"", "\"unk_token\": \"<unk>\"", "has \"unk_token\" \"<unk>\""},
        {"\"BertNormalizer\"", "\"Lowercase\"", "has the normalizer \"Lowercase\"; only \"BertNormalizer\""},
        {"\"normalizer\"", "\"x\"", "has no \"normalizer\"; \"BertNormalizer\" was expected"},
        {"\"clean_text\": true", "\"clean_text\": false", "has \"clean_text\" false, which is not followed"},
        {"\"lowercase\": true", "\"lowercase\": \"yes\"", "has a \"lowercase\" that is neither true nor false"},
        {"\"BertPreTokenizer\"", "\"Whitespace\"", "has the pre_tokenizer \"Whitespace\""},
        {"\"id\": \"[CLS]\"", "\"id\": \"[SEP]\"", "has a post_processor of another kind"},
        {"\"content\": \"[MASK]\"", "\"content\": \"[NAME]\"", "adds the token \"[NAME]\", which is not followed"},
        {"\"lstrip\": false", "\"lstrip\": true", "has \"lstrip\" true"},
        {"\"id\": 4", "\"id\": 5", "has the token [MASK] under two ids"},
        {"\": 6,", "\": 5,", "the same id"},
        {"\": 6,", "\": 6.5,", "whose id is not 0 to 8"},
        {"\": 6,", "\": 400000,", "whose id is not 0 to 8"},
        {"\"vocab\"", "\"words\"", "has no \"vocab\" of pieces"},
        {"{", "", "tokenizer.json: is not JSON"},
        {"", "version https://git-lfs.github.com/spec/v1\n", "tokenizer.json: is a Git LFS pointer"},
    };
    for (volatile size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        free(saved(cases[i].part, cases[i].instead));
        EXPECT_FAIL(tokenizer_open(folder), cases[i].fault);
    }
}

static void other_arguments_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *config, *fault;
    } cases[] = {
        {"{\"do_lower_case\": \"false\"}", "has a \"do_lower_case\" that is neither true nor false"},
        {"{\"strip_accents\": 0}", "has a \"strip_accents\" that is neither"},
        {"{\"do_lower_case\": false}", "has \"lowercase\" true, and the tokenizer_config.json beside it"},
        {"{\"do_basic_tokenize\": false}", "has \"do_basic_tokenize\" false"},
        {"{\"never_split\": [\"a\"]}", "has \"never_split\", which is not followed"},
        {"{\"additional_special_tokens\": [\"[A]\"]}", "has \"additional_special_tokens\""},
        {"{\"mask_token\": \"<mask>\"}", "has \"mask_token\" \"<mask>\"; only \"[MASK]\""},
        {"{\"mask_token\": {\"content\": \"<mask>\"}}", "has \"content\" \"<mask>\"; only \"[MASK]\""},
        {"{\"added_tokens_decoder\": {\"9\": {\"content\": \"[A]\"}}}", "adds the token \"[A]\""},
        {"{\"tokenizer_class\": \"RobertaTokenizer\"}", "the \"tokenizer_class\" \"RobertaTokenizer\""},
        {"{\"truncation_side\": \"left\"}", "has \"truncation_side\" \"left\""},
        {"{\"do_lower_case\": true, \"do_lower_case\": false}", "is not JSON: line 1: duplicate"},
        {"", "tokenizer_config.json: is empty"},
    };
    free(saved("", ""));
    for (volatile size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        free(folder_put("tokenizer_config.json", cases[i].config));
        EXPECT_FAIL(tokenizer_open(folder), cases[i].fault);
    }
    free(folder_put("tokenizer_config.json", "{}"));
    char *added = folder_put("added_tokens.json", "{\"[MASK]\": 4, \"[NAME]\": 868}");
    EXPECT_FAIL(tokenizer_open(folder), "added_tokens.json: adds the token \"[NAME]\"");
    assert_int_equal(remove(added), 0);
    char *map = folder_put("special_tokens_map.json", "{\"cls_token\": \"<s>\"}");
    EXPECT_FAIL(tokenizer_open(folder), "special_tokens_map.json: has \"cls_token\" \"<s>\"");
    assert_int_equal(remove(map), 0);
    free(added), free(map);
    free(folder_put("tokenizer_config.json", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", "
                    "\"model_max_length\": 1000000000000000019884624838656}"));
    tokenizer_free(tokenizer_open(folder));
}

static void pieces_know_where_they_stand(void **state)
{
    (void)state;
    size_t size, places_size;
    char *lines = file_read(FIXTURES "lines.txt", &size), *line = lines;
    char *places = file_read(FIXTURES "lines.extents", &places_size), *place = places;
    struct tokenizer *t = tokenizer_open(FIXTURES "vocab.txt");
    static int ids[ROOM], plain[ROOM];
    static struct extent extents[ROOM];
    int located = 0;
    for (char *found; (found = take_line(&line, lines + size));) {
        size_t length = (size_t)(line - found) - 1;
        int count = tokenizer_locate(t, found, length, ids, extents, ROOM), wanted = 0, from, to, used;
        assert_int_equal(tokenizer_encode(t, found, length, plain, ROOM), count);
        assert_memory_equal(ids, plain, (size_t)count * sizeof *ids);
        char *expected = take_line(&place, places + places_size);
        if (*expected == '?')
            continue;
        for (; sscanf(expected, "%d-%d%n", &from, &to, &used) == 2; expected += used, wanted++)
            if (wanted >= count || extents[wanted].from != from || extents[wanted].to != to)
                fail_msg("piece %d is %d-%d, not %d-%d, in: %s", wanted, extents[wanted].from, extents[wanted].to, from,
                         to, found);
        assert_int_equal(wanted, count);
        located++;
    }
    assert_ptr_equal(place, places + places_size);
    assert_true(located > 250);
    check_report("tokenizer.located", "%.0f", located);
    tokenizer_free(t);
    free(lines);
    free(places);
}

static void pairs_equal_transformers(void **state)
{
    (void)state;
    size_t size, ids_size;
    char *lines = file_read(FIXTURES "pairs.tsv", &size), *line = lines;
    char *wanted_ids = file_read(FIXTURES "pairs.ids", &ids_size), *wanted_line = wanted_ids;
    struct tokenizer *t = tokenizer_open(FIXTURES "vocab.txt");
    static int ids[ROOM], expected[ROOM];
    int number = 0;
    for (char *found; (found = take_line(&line, lines + size)); number++) {
        char *a = strchr(found, '\t') + 1, *b = strchr(a, '\t') + 1;
        int max_length = atoi(found), first;
        b[-1] = '\0';
        int count = tokenizer_encode_pair(t, a, b, max_length, ids, &first);
        int wanted = read_ids(take_line(&wanted_line, wanted_ids + ids_size), expected) - 1;
        if (count != wanted || first != expected[0]
            || memcmp(ids, expected + 1, (size_t)count * sizeof *ids) != 0)
            fail_msg("pair %d differs: %s", number + 1, a);
    }
    assert_true(number >= 100);
    assert_ptr_equal(wanted_line, wanted_ids + ids_size);
    check_report("tokenizer.pairs", "%.0f", number);
    tokenizer_free(t);
    free(lines);
    free(wanted_ids);
}

/* what becomes of a code point between a and b, in the words of code-points.tsv */
static const char *outcome(const struct tokenizer *t, int32_t code)
{
    enum { A = 5, B = 6, AB = 7 };
    char text[8] = "a";
    size_t size = 1 + (size_t)utf8proc_encode_char(code, (uint8_t *)text + 1);
    text[size++] = 'b';
    int ids[8], count = tokenizer_encode(t, text, size, ids, 8);
    if (count == 1)
        return ids[0] == AB ? "gone" : "letter";
    assert_int_equal(ids[0], A);
    assert_int_equal(ids[count - 1], B);
    return count == 2 ? "space" : "word";
}

static void code_points_equal_transformers(void **state)
{
    (void)state;
    FILE *stream = fopen(FIXTURES "code-points.tsv", "r");
    assert_non_null(stream);
    struct tokenizer *t = tokenizer_open(FIXTURES "ab.txt");
    unsigned first, last;
    char expected[16];
    int checked = 0;
    while (fscanf(stream, "%x %x %15s", &first, &last, expected) == 3)
        for (unsigned code = first; code <= last; code++, checked++)
            if (strcmp(outcome(t, (int32_t)code), expected) != 0)
                fail_msg("U+%04X is %s, not %s", code, outcome(t, (int32_t)code), expected);
    assert_true(checked > 100000);
    check_report("tokenizer.code_points", "%.0f thousand", checked / 1000.0);
    fclose(stream);
    tokenizer_free(t);
}

static void speed_is_reported(void **state)
{
    (void)state;
    size_t size;
    char *lines = file_read(FIXTURES "lines.txt", &size);
    struct tokenizer *t = tokenizer_open(FIXTURES "vocab.txt");
    int *ids = allocate(size, sizeof *ids);
    long pieces = 0;
    clock_t start = clock();
    while (clock() - start < CLOCKS_PER_SEC / 5)
        pieces += tokenizer_encode(t, lines, size, ids, (int)size);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_true(pieces > 0);
    check_report("tokenizer.speed", "%.1f", (double)pieces / seconds / 1e6);
    tokenizer_free(t);
    free(lines);
    free(ids);
}

static void greedy_match_does_not_go_back(void **state)
{
    (void)state;
    /* with CRLF, an empty line, a piece given twice, and no end of line at the end */
    char *path = folder_put("vocab.txt", "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\n"
                            "a\r\nab\r\n##c\r\n##bcd\r\n\r\n##c\r\n##d\r\n##dd");
    struct tokenizer *t = tokenizer_open(path);
    int ids[8];
    assert_int_equal(t->count, 13);
    assert_int_equal(tokenizer_encode(t, "abcddd", 6, ids, 8), 4); /* ab ##c ##dd ##d */
    assert_int_equal(ids[0], 6);
    assert_int_equal(ids[1], 10);
    assert_int_equal(ids[2], 12);
    assert_int_equal(ids[3], 11);
    assert_int_equal(tokenizer_encode(t, "abcde a", 7, ids, 8), 2); /* [UNK], whole */
    assert_int_equal(ids[0], t->unk);
    assert_int_equal(ids[1], 5);
    tokenizer_free(t);
    free(path);
}

static void room_is_respected(void **state)
{
    (void)state;
    struct tokenizer *t = tokenizer_open(FIXTURES "ab.txt");
    int ids[4] = {-7, -7, -7, -7};
    assert_int_equal(tokenizer_encode(t, "a b a b", 7, ids, 2), 4);
    assert_int_equal(ids[1], 6);
    assert_int_equal(ids[2], -7);
    int first;
    assert_int_equal(tokenizer_encode_pair(t, "a b a b", NULL, 3, ids, &first), 3);
    assert_int_equal(first, 3);
    assert_int_equal(ids[2], t->sep);
    assert_int_equal(ids[3], -7);
    assert_int_equal(tokenizer_encode_pair(t, "", NULL, 2, ids, &first), 2);
    EXPECT_FAIL(tokenizer_encode_pair(t, "a", "b", 2, ids, &first), "leave no room");
    tokenizer_free(t);
}

static void special_tokens_are_known(void **state)
{
    (void)state;
    struct tokenizer *t = tokenizer_open(FIXTURES "vocab.txt");
    for (int id = 0; id < t->count; id++)
        assert_int_equal(tokenizer_special(t, id), id < 5);
    tokenizer_free(t);
}

static void config_decides_about_case(void **state)
{
    (void)state;
    char *path = folder_put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ne\nÉ\n");
    struct tokenizer *t = tokenizer_open(path);
    int ids[2];
    tokenizer_encode(t, "É", 2, ids, 2);
    assert_int_equal(ids[0], 5);
    tokenizer_free(t);
    free(folder_put("tokenizer_config.json", "{\"do_lower_case\": false}"));
    t = tokenizer_open(path);
    tokenizer_encode(t, "É", 2, ids, 2);
    assert_int_equal(ids[0], 6);
    tokenizer_free(t);
    free(folder_put("tokenizer_config.json", "{"));
    EXPECT_FAIL(tokenizer_open(path), "tokenizer_config.json: is not JSON: line 1");
    free(path);
}

static void unfit_vocabularies_are_refused(void **state)
{
    (void)state;
    char *path = folder_put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n");
    EXPECT_FAIL(tokenizer_open(path), "has no piece [MASK]");
    free(folder_put("vocab.txt", "a\n[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"));
    EXPECT_FAIL(tokenizer_open(path), "has [PAD] on line 2; it must be the first");
    free(folder_put("vocab.txt", ""));
    EXPECT_FAIL(tokenizer_open(path), "has no piece [PAD]");
    EXPECT_FAIL(tokenizer_open("/nowhere/vocab.txt"), "/nowhere/vocab.txt: cannot be opened");
    enum { TOO_MANY = (1 << 23) + 1 };
    char *long_word = malloc(TOO_MANY + 1);
    memset(long_word, 'a', TOO_MANY);
    long_word[TOO_MANY] = '\0';
    free(folder_put("vocab.txt", long_word));
    EXPECT_FAIL(tokenizer_open(path), "a vocabulary has at most 8 million");
    free(long_word);
    free(path);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_equal_transformers),
        IN_FOLDER(decisions_equal_transformers),
        IN_FOLDER(other_tokenizers_are_refused),
        IN_FOLDER(other_arguments_are_refused),
        cmocka_unit_test(pieces_know_where_they_stand),
        cmocka_unit_test(pairs_equal_transformers),
        cmocka_unit_test(code_points_equal_transformers),
        cmocka_unit_test(speed_is_reported),
        IN_FOLDER(greedy_match_does_not_go_back),
        cmocka_unit_test(room_is_respected),
        cmocka_unit_test(special_tokens_are_known),
        IN_FOLDER(config_decides_about_case),
        IN_FOLDER(unfit_vocabularies_are_refused),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
