/* Tangled from chapters/24-vocabulary.md; edit there. */
#include "vocabulary.h"
#include "fail.h"
#include "file.h"
#include "foreign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Name what the files may decide */
enum { LOWER_CASE, STRIP_ACCENTS, SPLIT_IDEOGRAPHS, DECISIONS };

static const struct {
    const char *config, *normalizer;
} words[DECISIONS] = {
    {"do_lower_case", "lowercase"},
    {"strip_accents", "strip_accents"},
    {"tokenize_chinese_chars", "handle_chinese_chars"},
};

struct decisions {
    int truth[DECISIONS]; /* 1, 0 or UNSTATED */
};

/* Check the special tokens */
static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
enum { SPECIALS = sizeof specials / sizeof *specials };

static void expect_special(const char *path, const json_t *token)
{
    const char *name = json_is_object(token) ? foreign_text(path, token, "content")
                                             : json_string_value(token);
    bool known = false;
    for (int i = 0; name && i < SPECIALS; i++)
        known = known || !strcmp(name, specials[i]);
    if (!known)
        fail(path, "adds the token \"%s\", which is not followed here",
             name ? name : "without a name");
    foreign_expect_flag(path, token, "lstrip", false);
    foreign_expect_flag(path, token, "rstrip", false);
    foreign_expect_flag(path, token, "single_word", false);
    foreign_expect_flag(path, token, "normalized", false);
}

static void check_names(const char *path, const json_t *json)
{
    static const char *const keys[SPECIALS] = {"pad_token", "unk_token", "cls_token",
                                               "sep_token", "mask_token"};
    for (int i = 0; i < SPECIALS; i++) {
        const json_t *token = json_object_get(json, keys[i]);
        if (json_is_object(token)) {
            foreign_expect_text(path, token, "content", specials[i]);
            expect_special(path, token);
        } else {
            foreign_expect_text(path, json, keys[i], specials[i]);
        }
    }
    /* Expect no other token in the list of ids */
    const char *id;
    json_t *token;
    json_object_foreach(json_object_get(json, "added_tokens_decoder"), id, token) {
        expect_special(path, token);
    }
}

/* Read a tokenizer_config.json */
/* Open a file that stands beside */
static json_t *open_beside(const char *path, const char *name, char **found)
{
    const char *slash = strrchr(path, '/');
    *found = text_format("%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, name);
    return file_exists(*found) ? foreign_json(*found) : NULL;
}

/* Know BERT's tokenizer by its names */
static void expect_class(const char *path, const json_t *json, bool whole)
{
    /* List the names of BERT's tokenizer */
    static const char *const classes[] = {
        "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer",
        "MobileBertTokenizer", "PreTrainedTokenizer", "TokenizersBackend"};
    enum { NAMES = sizeof classes / sizeof *classes, OWN = NAMES - 2 };
    const char *name = foreign_text(path, json, "tokenizer_class");
    for (int i = 0; name && i < (whole ? NAMES : OWN); i++) {
        size_t length = strlen(classes[i]);
        if (!strncmp(name, classes[i], length)
            && (!name[length] || !strcmp(name + length, "Fast")))
            return;
    }
    if (name)
        fail(path, "has the \"tokenizer_class\" \"%s\"; only BERT's is followed here",
             name);
}

/* Read what older versions wrote beside */
static void read_older(const char *beside)
{
    char *path;
    json_t *json = open_beside(beside, "special_tokens_map.json", &path);
    check_names(path, json);
    foreign_empty(path, json, "additional_special_tokens");
    json_decref(json);
    free(path);
    json = open_beside(beside, "added_tokens.json", &path);
    /* Expect no added token but the special ones */
    const char *name;
    json_t *id;
    json_object_foreach(json, name, id) {
        json_t *token = json_string(name);
        expect_special(path, token);
        json_decref(token);
    }
    json_decref(json);
    free(path);
}

static struct decisions read_config(const char *beside, bool whole)
{
    struct decisions said = {{UNSTATED, UNSTATED, UNSTATED}};
    char *path;
    json_t *json = open_beside(beside, "tokenizer_config.json", &path);
    if (json) {
        expect_class(path, json, whole);
        /* Refuse arguments that are not followed */
        foreign_expect_flag(path, json, "do_basic_tokenize", true);
        foreign_expect_flag(path, json, "split_special_tokens", false);
        foreign_expect_text(path, json, "wordpieces_prefix", "##");
        foreign_expect_text(path, json, "truncation_side", "right");
        foreign_empty(path, json, "never_split");
        foreign_empty(path, json, "additional_special_tokens");
        foreign_empty(path, json, "extra_special_tokens");
        check_names(path, json);
        for (int i = 0; i < DECISIONS; i++)
            said.truth[i] = foreign_truth(path, json, words[i].config);
        json_decref(json);
    }
    free(path);
    return said;
}

/* Refuse other tokenizers than BERT's */
static const json_t *step_of(const char *path, const json_t *json, const char *key,
                             const char *type)
{
    const json_t *step = json_object_get(json, key);
    const char *found = json_is_object(step) ? foreign_text(path, step, "type") : NULL;
    if (!json_is_object(step))
        fail(path, "has no \"%s\"; \"%s\" was expected", key, type);
    if (found && strcmp(found, type) != 0)
        fail(path, "has the %s \"%s\"; only \"%s\" is followed here", key, found, type);
    return step;
}

/* Expect the template of BERT */
static const char pair_template[] =
    "[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},"
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}]";

static void expect_template(const char *path, const json_t *steps)
{
    const char *type = foreign_text(path, steps, "type");
    bool equal = !type || !strcmp(type, "BertProcessing");
    if (type && !strcmp(type, "TemplateProcessing")) {
        json_t *expected = json_loads(pair_template, 0, NULL);
        equal = json_equal(json_object_get(steps, "pair"), expected);
        while (json_array_size(expected) > 3)
            json_array_remove(expected, 3);
        equal = equal && json_equal(json_object_get(steps, "single"), expected);
        json_decref(expected);
    }
    if (!equal)
        fail(path, "has a post_processor of another kind than [CLS] A [SEP] B [SEP]");
}

static void expect_bert(const char *path, const json_t *json)
{
    const json_t *model = step_of(path, json, "model", "WordPiece");
    step_of(path, json, "pre_tokenizer", "BertPreTokenizer");
    foreign_empty(path, model, "merges");
    foreign_expect_text(path, model, "unk_token", "[UNK]");
    foreign_expect_text(path, model, "continuing_subword_prefix", "##");
    foreign_expect_number(path, model, "max_input_chars_per_word", 100);
    expect_template(path, json_object_get(json, "post_processor"));
    /* Check the added tokens */
    const json_t *added = json_object_get(json, "added_tokens"), *token;
    size_t i;
    json_array_foreach((json_t *)added, i, token) {
        expect_special(path, token);
        const char *name = json_string_value(json_object_get(token, "content"));
        const json_t *id = json_object_get(json_object_get(model, "vocab"), name);
        if (id && !json_equal(id, json_object_get(token, "id")))
            fail(path, "has the token %s under two ids", name);
    }
}

/* Turn an object of pieces into lines */
static const char **sort_pieces(const char *path, const json_t *pieces, size_t *bytes)
{
    size_t count = json_object_size(pieces);
    const char **lines = allocate(count, sizeof *lines), *piece;
    json_t *id;
    *bytes = 0;
    json_object_foreach((json_t *)pieces, piece, id) {
        /* Put the piece on the line of its id */
        json_int_t line = json_integer_value(id);
        if (!json_is_integer(id) || line < 0 || (size_t)line >= count)
            fail(path, "has a piece \"%s\" whose id is not 0 to %zu", piece, count - 1);
        if (lines[line])
            fail(path, "gives \"%s\" and \"%s\" the same id", lines[line], piece);
        if (strpbrk(piece, "\r\n"))
            fail(path, "has a line's end in the piece with id %lld", (long long)line);
        lines[line] = piece;
        *bytes += strlen(piece) + 1;
    }
    return lines;
}

static void write_pieces(struct vocabulary *v, const json_t *pieces)
{
    if (!json_is_object(pieces))
        fail(v->path, "has no \"vocab\" of pieces and their ids");
    const char **lines = sort_pieces(v->path, pieces, &v->size);
    char *end = v->pieces = allocate(v->size + 1, 1);
    for (size_t i = 0; i < json_object_size(pieces); i++)
        end += sprintf(end, "%s\n", lines[i]);
    free(lines);
}

/* Read a tokenizer.json */
static struct decisions read_json(struct vocabulary *v)
{
    struct decisions said;
    json_t *json = foreign_json(v->path);
    expect_bert(v->path, json);
    write_pieces(v, json_object_get(json_object_get(json, "model"), "vocab"));
    const json_t *normalizer = step_of(v->path, json, "normalizer", "BertNormalizer");
    foreign_expect_flag(v->path, normalizer, "clean_text", true);
    for (int i = 0; i < DECISIONS; i++)
        said.truth[i] = foreign_truth(v->path, normalizer, words[i].normalizer);
    json_decref(json);
    return said;
}

/* Read the lines of a vocab.txt */
static void read_lines(struct vocabulary *v)
{
    v->pieces = file_text(v->path, &v->size);
    if (foreign_fault(v->pieces, v->size))
        fail(v->path, "%s", foreign_fault(v->pieces, v->size));
}

static const char *next_line(const char *line, size_t *length)
{
    *length = strcspn(line, "\r\n");
    line += *length + (line[*length] == '\r');
    return line + (*line == '\n');
}

/* first_difference: the line from which on two vocabularies differ; -1: they do not. */
static long first_difference(const char *a, const char *b)
{
    for (long line = 0; *a || *b; line++) {
        size_t a_length, b_length;
        const char *a_next = next_line(a, &a_length), *b_next = next_line(b, &b_length);
        if (!*a || !*b || a_length != b_length || memcmp(a, b, a_length) != 0)
            return line;
        a = a_next;
        b = b_next;
    }
    return -1;
}

/* Choose the file of a folder */
static bool is_json(const char *path)
{
    return text_ends(path, ".json");
}

static char *choose_file(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        return text_format("%s", path);
    char *json = text_format("%s/tokenizer.json", path);
    if (file_exists(json))
        return json;
    free(json);
    return text_format("%s/vocab.txt", path);
}

static void compare_files(const struct vocabulary *v, const char *folder)
{
    struct vocabulary other = {.path = text_format("%s/vocab.txt", folder)};
    if (strcmp(v->path, folder) != 0 && is_json(v->path) && file_exists(other.path)) {
        read_lines(&other);
        long line = first_difference(v->pieces, other.pieces);
        if (line >= 0)
            fprintf(stderr, "distil: %s: warning: differs from the vocab.txt beside "
                    "from piece %ld on; the tokenizer.json is followed\n", v->path,
                    line);
    }
    vocabulary_free(&other);
}

/* Read a vocabulary */
static bool decide(const struct vocabulary *v, struct decisions own,
                   struct decisions config, int what, bool otherwise)
{
    int a = own.truth[what], b = config.truth[what];
    if (a != UNSTATED && b != UNSTATED && a != b)
        fail(v->path, "has \"%s\" %s, and the tokenizer_config.json beside it \"%s\" "
             "%s; they must agree", words[what].normalizer, a ? "true" : "false",
             words[what].config, b ? "true" : "false");
    return a != UNSTATED ? a : b != UNSTATED ? b : otherwise;
}

struct vocabulary vocabulary_read(const char *path)
{
    struct vocabulary v = {.path = choose_file(path)};
    struct decisions own = {{UNSTATED, UNSTATED, UNSTATED}};
    if (is_json(v.path))
        own = read_json(&v);
    else
        read_lines(&v);
    compare_files(&v, path);
    struct decisions config = read_config(v.path, is_json(v.path));
    read_older(v.path);
    v.lower_case = decide(&v, own, config, LOWER_CASE, true);
    v.strip_accents = decide(&v, own, config, STRIP_ACCENTS, v.lower_case);
    v.split_ideographs = decide(&v, own, config, SPLIT_IDEOGRAPHS, true);
    return v;
}

void vocabulary_free(struct vocabulary *v)
{
    free(v->pieces);
    free(v->path);
}

int vocabulary_count(const char *folder)
{
    struct vocabulary v = {.path = choose_file(folder)};
    size_t count = 0;
    if (file_exists(v.path) && is_json(v.path)) {
        json_t *json = foreign_json(v.path);
        count = json_object_size(
            json_object_get(json_object_get(json, "model"), "vocab"));
        json_decref(json);
    } else if (file_exists(v.path)) {
        read_lines(&v);
        for (size_t i = 0; i < v.size; i++)
            count += v.pieces[i] == '\n' || i + 1 == v.size;
    }
    vocabulary_free(&v);
    return (int)count;
}
