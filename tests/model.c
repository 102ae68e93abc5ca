/* Model folders: those that transformers wrote are read alike in every dress, what is written reads back
   equal, and a student is its teacher's layers. With KEEP=FOLDER in the environment the folders written
   stay there, for tests/reference/model.py to hold against transformers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>

#include "catch.h"
#include "fail.h"
#include "file.h"
#include "model.h"
#include "safetensors.h"

#define FIXTURES "tests/fixtures/"

static char folder[4096] = "/tmp/model-XXXXXX";

/* A folder read whole. */
struct read {
    struct shape shape;
    struct parameters plan;
    float *values;
    bool *found;
};

static struct read read_folder(const char *path, enum head head, int classes)
{
    struct read r = {.shape = model_shape(path)};
    r.plan = parameters_plan(&r.shape, head, classes);
    r.values = allocate(r.plan.size, sizeof *r.values);
    r.found = allocate((size_t)r.plan.count, sizeof *r.found);
    model_read(path, &r.plan, r.values, r.found);
    return r;
}

static void free_read(struct read *r)
{
    parameters_free(&r->plan);
    free(r->values);
    free(r->found);
}

static int count_found(const struct read *r)
{
    int count = 0;
    for (int i = 0; i < r->plan.count; i++)
        count += r->found[i];
    return count;
}

/* Every float of the vector that no array covers must be zero. */
static void check_gaps(const struct read *r)
{
    size_t end = 0;
    for (int i = 0; i <= r->plan.count; i++) {
        const struct parameter *p = &r->plan.list[i];
        size_t next = i < r->plan.count ? p->offset : r->plan.size;
        for (size_t k = end; k < next; k++)
            assert_true(r->values[k] == 0);
        if (i < r->plan.count)
            end = p->offset + (size_t)p->rows * (size_t)p->columns;
    }
}

static void write_text(const char *name, const char *text)
{
    char *path = text_format("%s/%s", folder, name);
    struct file_writer *file = file_create(path);
    fputs(text, file_stream(file));
    file_commit(file);
    free(path);
}

static void shapes_are_read(void **state)
{
    (void)state;
    struct shape bert = model_shape(FIXTURES "bert-tiny"), distil = model_shape(FIXTURES "distilbert-tiny");
    assert_int_equal(bert.family, BERT);
    assert_int_equal(bert.layers, 4);
    assert_int_equal(bert.width, 32);
    assert_int_equal(bert.heads, 4);
    assert_int_equal(bert.inner, 64);
    assert_int_equal(bert.vocabulary, 97);
    assert_int_equal(bert.positions, 40);
    assert_int_equal(bert.types, 2);
    assert_true(bert.epsilon == 1e-12f && bert.dropout == 0.1f && bert.attention_dropout == 0.1f);
    assert_true(bert.classifier_dropout == 0.1f && bert.initializer_range == 0.2f && bert.tied);
    assert_int_equal(distil.family, DISTILBERT);
    assert_int_equal(distil.layers, 2);
    assert_int_equal(distil.width, 32);
    assert_int_equal(distil.heads, 4);
    assert_int_equal(distil.inner, 64);
    assert_int_equal(distil.types, 0);
    assert_true(distil.epsilon == 1e-12f && distil.classifier_dropout == 0.2f && distil.tied);
    assert_true(bert.span_dropout == 0 && distil.span_dropout == 0.1f);
    assert_false(model_shape(FIXTURES "bert-untied").tied);
    assert_false(model_shape(FIXTURES "distilbert-untied").tied);
}

static void heads_are_read(void **state)
{
    (void)state;
    int classes;
    assert_int_equal(model_head(FIXTURES "bert-tiny", &classes), HEAD_MLM);
    assert_int_equal(model_head(FIXTURES "bert-bare", &classes), HEAD_NONE);
    assert_int_equal(classes, 0);
    assert_int_equal(model_head(FIXTURES "bert-classifier", &classes), HEAD_CLASSIFIER);
    assert_int_equal(classes, 3);
    assert_int_equal(model_head(FIXTURES "distilbert-classifier", &classes), HEAD_CLASSIFIER);
    assert_int_equal(classes, 2);
    assert_int_equal(model_head(FIXTURES "bert-number", &classes), HEAD_CLASSIFIER);
    assert_int_equal(classes, 1);
    assert_int_equal(model_head(FIXTURES "distilbert-span", &classes), HEAD_SPAN);
    assert_int_equal(classes, 0);
}

static void check_refused(const char *fault)
{
    EXPECT_FAIL(model_shape(folder), fault);
}

/* One config, changed in one place each time. */
static void strange_configs_are_refused(void **state)
{
    (void)state;
    static const char *const good[] = {
        "\"model_type\":\"bert\"", "\"num_hidden_layers\":2", "\"hidden_size\":16",
        "\"num_attention_heads\":2", "\"intermediate_size\":24", "\"vocab_size\":37",
        "\"max_position_embeddings\":12", "\"type_vocab_size\":2", "\"hidden_act\":\"gelu\"",
        "\"hidden_dropout_prob\":0.1",
    };
    enum { KEYS = sizeof good / sizeof *good };
    const struct {
        int key;
        const char *instead, *fault;
    } cases[] = {
        {0, "\"x\":1", "has no \"model_type\""},
        {0, "\"model_type\":\"roberta\"", "is of a \"roberta\""},
        {1, "\"x\":1", "has no whole number \"num_hidden_layers\""},
        {2, "\"x\":1", "has no whole number \"hidden_size\""},
        {2, "\"hidden_size\":16.5", "has no whole number \"hidden_size\""},
        {2, "\"hidden_size\":0", "has \"hidden_size\" 0"},
        {2, "\"hidden_size\":17", "do not divide the width 17"},
        {3, "\"x\":1", "has no whole number \"num_attention_heads\""},
        {4, "\"intermediate_size\":9223372036854775807", "\"intermediate_size\" 9223372036854775807"},
        {5, "\"vocab_size\":-1", "has \"vocab_size\" -1"},
        {6, "\"x\":1", "has no whole number \"max_position_embeddings\""},
        {8, "\"hidden_act\":\"relu\"", "\"hidden_act\" \"relu\"; only \"gelu\""},
        {8, "\"position_embedding_type\":\"relative_key\"", "only \"absolute\" is computed"},
        {8, "\"is_decoder\":true", "is of a decoder"},
        {8, "\"is_decoder\":\"yes\"", "a \"is_decoder\" that is neither true nor false"},
        {8, "\"hidden_act\":7", "a \"hidden_act\" that is no text"},
        {8, "\"tie_word_embeddings\":\"false\"", "a \"tie_word_embeddings\" that is neither"},
        {8, "\"add_cross_attention\":true", "\"add_cross_attention\" true, which is not followed"},
        {8, "\"sinusoidal_pos_embds\":true", "\"sinusoidal_pos_embds\" true, which is not followed"},
        {8, "\"pad_token_id\":3", "has \"pad_token_id\" 3; only 0 is followed"},
        {8, "\"pad_token_id\":\"0\"", "has a \"pad_token_id\" that is no whole number"},
        {8, "\"pruned_heads\":{\"0\":[1]}", "has \"pruned_heads\", which is not followed"},
        {8, "\"auto_map\":{\"AutoModel\":\"own.Model\"}", "has \"auto_map\", which is not followed"},
        {8, "\"quantization_config\":{\"bits\":4}", "has \"quantization_config\", which is not followed"},
        {9, "\"hidden_dropout_prob\":1.5", "a \"hidden_dropout_prob\" that is not a number"},
        {9, "\"hidden_dropout_prob\":\"x\"", "a \"hidden_dropout_prob\" that is not a number"},
        {9, "\"x\":", "is not JSON: line 1"},
    };
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        bool last = i == sizeof cases / sizeof *cases;
        char text[1000] = "{";
        for (int key = 0; key < KEYS; key++) {
            strcat(text, key ? "," : "");
            strcat(text, !last && cases[i].key == key ? cases[i].instead : good[key]);
        }
        strcat(text, "}");
        write_text("config.json", text);
        if (last)
            assert_int_equal(model_shape(folder).width, 16);
        else
            check_refused(cases[i].fault);
    }
    write_text("vocab.txt", "[PAD]\n[UNK]\n");
    assert_int_equal(model_shape(folder).vocabulary, 37);
    char *text = allocate(100, 1);
    for (int i = 0; i < 38; i++)
        strcat(text, "a\n");
    write_text("vocab.txt", text);
    check_refused("has a vocabulary of 38 pieces, but its config.json a word table of only 37 rows");
    free(text);
    write_text("config.json", "[]");
    check_refused("is not a JSON object");
}

static void every_dress_reads_alike(void **state)
{
    (void)state;
    struct read plain = read_folder(FIXTURES "bert-plain", HEAD_MLM, 0);
    struct read old = read_folder(FIXTURES "bert-old", HEAD_MLM, 0);
    struct read bare = read_folder(FIXTURES "bert-bare", HEAD_MLM, 0);
    assert_true(old.shape.tied);
    assert_int_equal(count_found(&plain), plain.plan.count);
    assert_int_equal(count_found(&old), plain.plan.count);
    assert_int_equal(count_found(&bare), plain.plan.count - 5);
    assert_memory_equal(plain.values, old.values, plain.plan.size * sizeof(float));
    double sum = 0;
    for (int i = 0; i < bare.plan.count; i++) {
        const struct parameter *p = &bare.plan.list[i];
        assert_int_equal(bare.found[i], p->part < TRANSFORM_WEIGHT);
        if (bare.found[i])
            assert_memory_equal(plain.values + p->offset, bare.values + p->offset,
                                (size_t)p->rows * (size_t)p->columns * sizeof(float));
        sum += fabs((double)plain.values[p->offset]);
    }
    assert_true(sum > 1); /* the weights are weights, not zeros */
    check_gaps(&plain);
    free_read(&plain);
    free_read(&old);
    free_read(&bare);

    plain = read_folder(FIXTURES "distilbert-plain", HEAD_NONE, 0);
    bare = read_folder(FIXTURES "distilbert-bare", HEAD_NONE, 0);
    assert_int_equal(count_found(&bare), bare.plan.count);
    assert_memory_equal(plain.values, bare.values, plain.plan.size * sizeof(float));
    free_read(&plain);
    free_read(&bare);
}

/* The weights of a fixture with one tensor under another name, and its config, in a folder of this name. */
static char *rename_tensor(const char *fixture, const char *name, const char *from, const char *to)
{
    char *config_path = text_format(FIXTURES "%s/config.json", fixture), *config = file_read(config_path, NULL);
    char *weights = text_format(FIXTURES "%s/model.safetensors", fixture), *path = text_format("%s/%s", folder, name);
    char *config_name = text_format("%s/config.json", name), *copy = text_format("%s/model.safetensors", path);
    write_text(config_name, config);
    struct safetensors *file = safetensors_open(weights);
    struct safetensors_writer *writer = safetensors_create(copy);
    for (int i = 0; i < file->count; i++) {
        const struct tensor *t = &file->list[i];
        safetensors_add(writer, strcmp(t->name, from) == 0 ? to : t->name, t->type, t->rank, t->shape, t->data);
    }
    safetensors_commit(writer);
    safetensors_close(file);
    free(config_path), free(config), free(weights), free(config_name), free(copy);
    return path;
}

static void tied_tables_are_found_under_either_name(void **state)
{
    (void)state;
    const char *names[][3] = {
        {"bert-plain", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"},
        {"distilbert-plain", "distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight"},
        {"bert-untied", "bert.embeddings.word_embeddings.weight", "embeddings"},
        {"bert-untied", "cls.predictions.decoder.weight", "decoder"},
    };
    for (volatile int i = 0; i < 4; i++) {
        char *path = rename_tensor(names[i][0], "renamed", names[i][1], names[i][2]), *fixture;
        if (i < 2) {
            struct read renamed = read_folder(path, HEAD_MLM, 0);
            struct read plain = read_folder(fixture = text_format(FIXTURES "%s", names[i][0]), HEAD_MLM, 0);
            assert_int_equal(count_found(&renamed), renamed.plan.count);
            assert_memory_equal(plain.values, renamed.values, plain.plan.size * sizeof(float));
            free_read(&renamed), free_read(&plain), free(fixture);
        } else {
            struct shape shape = {.tied = false};
            EXPECT_FAIL(shape = model_shape(path); struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
                        float *values = allocate(plan.size, sizeof *values); model_read(path, &plan, values, NULL),
                        i == 2 ? "has no tensor \"bert.embeddings.word" : "has no tensor \"cls.predictions.decoder");
        }
    }
}

static void configs_are_held_against_the_weights(void **state)
{
    (void)state;
    const struct {
        const char *part, *instead, *fault;
    } cases[] = {
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "but config.json only 1 layers"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "has no tensor \"bert.encoder.layer.2."},
        {"\"vocab_size\": 37", "\"vocab_size\": 16000000", "is [37, 16]; expected [16000000, 16] by config.json"},
        {"\"hidden_size\": 16", "\"hidden_size\": 65536", "is [37, 16]; expected [37, 65536] by config.json"},
        {"\"type_vocab_size\": 2", "\"type_vocab_size\": 3", "is [2, 16]; expected [3, 16] by config.json"},
    };
    char *path = rename_tensor("bert-plain", "claims", "", ""), *config = file_read(FIXTURES "bert-plain/config.json", NULL);
    for (volatile size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = strstr(config, cases[i].part);
        assert_non_null(at);
        char *text = text_format("%.*s%s%s", (int)(at - config), config, cases[i].instead, at + strlen(cases[i].part));
        write_text("claims/config.json", text);
        free(text);
        EXPECT_FAIL(model_shape(path), cases[i].fault);
    }
}

static void separate_decoders_are_read(void **state)
{
    (void)state;
    struct safetensors *file = safetensors_open(FIXTURES "bert-untied/model.safetensors");
    struct read r = read_folder(FIXTURES "bert-untied", HEAD_MLM, 0);
    assert_int_equal(count_found(&r), r.plan.count);
    const struct tensor *decoder = safetensors_find(file, "cls.predictions.decoder.weight");
    const struct tensor *bias = safetensors_find(file, "cls.predictions.decoder.bias");
    const struct tensor *other = safetensors_find(file, "cls.predictions.bias");
    assert_memory_equal(r.values + parameters_offset(&r.plan, DECODER_WEIGHT, 0), decoder->data, decoder->bytes);
    assert_memory_equal(r.values + parameters_offset(&r.plan, DECODER_BIAS, 0), bias->data, bias->bytes);
    assert_memory_not_equal(bias->data, other->data, bias->bytes);
    check_gaps(&r);
    free_read(&r);
    safetensors_close(file);
    r = read_folder(FIXTURES "distilbert-untied", HEAD_MLM, 0);
    assert_int_equal(count_found(&r), r.plan.count);
    assert_non_null(parameters_find(&r.plan, DECODER_WEIGHT, 0));
    free_read(&r);
}

static void missing_weights_are_named(void **state)
{
    (void)state;
    struct read r = read_folder(FIXTURES "bert-classifier", HEAD_CLASSIFIER, 3);
    assert_int_equal(count_found(&r), r.plan.count);
    free_read(&r);
    r = read_folder(FIXTURES "bert-plain", HEAD_CLASSIFIER, 3); /* head missing: normal */
    assert_int_equal(count_found(&r), r.plan.count - 4);
    EXPECT_FAIL(model_read(FIXTURES "bert-plain", &r.plan, r.values, NULL),
                "has no tensor \"bert.pooler.dense.weight\"");
    EXPECT_FAIL(model_read(FIXTURES "distilbert-plain", &r.plan, r.values, r.found),
                "has no tensor \"bert.embeddings.word_embeddings.weight\"");
    free_read(&r);

    struct shape shape = model_shape(FIXTURES "bert-plain");
    shape.inner = 25;
    struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
    float *values = allocate(plan.size, sizeof *values);
    EXPECT_FAIL(model_read(FIXTURES "bert-plain", &plan, values, NULL),
                "\"bert.encoder.layer.0.intermediate.dense.weight\" is [24, 16]; expected [25, 16]");
    shape.inner = 24;
    shape.layers = 3;
    parameters_free(&plan);
    plan = parameters_plan(&shape, HEAD_MLM, 0);
    EXPECT_FAIL(model_read(FIXTURES "bert-plain", &plan, values, NULL), "has no tensor \"bert.encoder.layer.2.");
    parameters_free(&plan);
    free(values);

    struct parameters none = {0};
    write_text("empty/config.json", "{}");
    char *path = text_format("%s/empty", folder);
    EXPECT_FAIL(model_read(path, &none, NULL, NULL), "has no model.safetensors");
    write_text("empty/pytorch_model.bin", "");
    EXPECT_FAIL(model_read(path, &none, NULL, NULL), "only a pickle");
    write_text("empty/model.safetensors.index.json", "{}");
    EXPECT_FAIL(model_read(path, &none, NULL, NULL), "in several files");
    free(path);
}

static void fresh_weights_are_normal(void **state)
{
    (void)state;
    struct shape shape = model_shape(FIXTURES "bert-tiny");
    shape.width = 256;
    struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
    struct read r = {.shape = shape, .plan = plan, .values = allocate(plan.size, sizeof(float)),
                     .found = allocate((size_t)plan.count, sizeof(bool))};
    model_initialise(&plan, 0.05f, r.values, NULL, 11);
    check_gaps(&r);
    for (int i = 0; i < plan.count; i++) {
        const struct parameter *p = &plan.list[i];
        double sum = 0, squares = 0, n = (double)p->rows * p->columns;
        for (size_t k = 0; k < (size_t)p->rows * (size_t)p->columns; k++) {
            sum += r.values[p->offset + k];
            squares += (double)r.values[p->offset + k] * r.values[p->offset + k];
        }
        if (p->matrix) {
            assert_true(fabs(sum / n) < 4 * 0.05 / sqrt(n));
            assert_true(fabs(squares / n / (0.05 * 0.05) - 1) < 4 * sqrt(2 / n));
        } else {
            assert_true(sum == (strstr(p->name, "LayerNorm.weight") ? n : 0));
        }
    }
    const float *padding = r.values + parameters_offset(&plan, WORD_TABLE, 0);
    for (int k = 0; k < shape.width; k++)
        assert_true(padding[k] == 0 && padding[k + shape.width] != 0);
    size_t query = parameters_offset(&plan, QUERY_WEIGHT, 0), later = parameters_offset(&plan, QUERY_WEIGHT, 1);
    assert_true(r.values[query] != r.values[later]);

    /* Found arrays stay; others do not depend on which are found; another seed differs. */
    float *again = allocate(plan.size, sizeof *again);
    r.found[0] = true;
    model_initialise(&plan, 0.05f, again, r.found, 11);
    assert_true(again[plan.list[0].offset] == 0);
    assert_true(again[query] == r.values[query]);
    model_initialise(&plan, 0.05f, again, NULL, 12);
    assert_true(again[query] != r.values[query]);
    free(again);
    free_read(&r);
}

/* Reads a fixture, writes it as another folder, reads that: nothing may change. */
static void check_rewrite(const char *fixture)
{
    int classes;
    char *from = text_format(FIXTURES "%s", fixture), *to = text_format("%s/%s", folder, fixture);
    char *vocab = text_format("%s/vocab.txt", from);
    enum head head = model_head(from, &classes);
    struct read r = read_folder(from, head, classes);
    model_write(to, &r.shape, &r.plan, head, classes, r.values, vocab);
    int classes_again;
    assert_int_equal(model_head(to, &classes_again), head);
    assert_int_equal(classes_again, classes);
    struct read again = read_folder(to, head, classes);
    assert_memory_equal(&r.shape, &again.shape, offsetof(struct shape, tied));
    assert_int_equal(r.shape.tied, again.shape.tied);
    assert_int_equal(count_found(&again), count_found(&r));
    assert_memory_equal(r.values, again.values, r.plan.size * sizeof(float));
    free_read(&r);
    free_read(&again);
    char *copy = text_format("%s/vocab.txt", to);
    char *a = file_read(vocab, NULL), *b = file_read(copy, NULL);
    assert_string_equal(a, b);
    free(a), free(b), free(copy), free(from), free(to), free(vocab);
}

static void written_folders_read_equal(void **state)
{
    (void)state;
    const char *fixtures[] = {
        "bert-tiny", "distilbert-tiny", "bert-classifier", "distilbert-classifier",
        "bert-untied", "distilbert-untied", "bert-old", "bert-number", "bert-span", "distilbert-span",
    };
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++)
        check_rewrite(fixtures[i]);
}

static void lower_case_is_handed_on(void **state)
{
    (void)state;
    struct read r = read_folder(FIXTURES "bert-plain", HEAD_MLM, 0);
    char *source = text_format("%s/cased/vocab.txt", folder), *to = text_format("%s/cased-copy", folder);
    char *config = text_format("%s/tokenizer_config.json", to);
    write_text("cased/vocab.txt", "[PAD]\n");
    model_write(to, &r.shape, &r.plan, HEAD_MLM, 0, r.values, source);
    char *text = file_read(config, NULL);
    assert_non_null(strstr(text, "\"do_lower_case\": true"));
    free(text);
    write_text("cased/tokenizer_config.json", "{\"do_lower_case\": false}");
    model_write(to, &r.shape, &r.plan, HEAD_MLM, 0, r.values, source);
    text = file_read(config, NULL);
    assert_non_null(strstr(text, "\"do_lower_case\": false"));
    free(text), free(source), free(to), free(config);
    free_read(&r);
}

/* What was another tool's folder, with a tokenizer.json, is ours when it has been written. */
static void written_folders_have_one_vocabulary(void **state)
{
    (void)state;
    struct read r = read_folder(FIXTURES "bert-plain", HEAD_MLM, 0);
    char *to = text_format("%s/taken-over", folder), *stale = text_format("%s/tokenizer.json", to);
    char *config = text_format("%s/tokenizer_config.json", to), *vocab = text_format("%s/vocab.txt", to);
    char *json = file_read(FIXTURES "tokenizer/saved/tokenizer.json", NULL);
    write_text("taken-over/tokenizer.json", json);
    write_text("taken-over/tokenizer_config.json", "{\"tokenize_chinese_chars\": true}");
    model_write(to, &r.shape, &r.plan, HEAD_MLM, 0, r.values, to); /* a folder is a vocabulary, too */
    assert_false(file_exists(stale));
    char *pieces = file_read(vocab, NULL), *expected = file_read(FIXTURES "tokenizer/vocab.txt", NULL);
    assert_string_equal(pieces, expected);
    write_text("taken-over/tokenizer_config.json", "{\"tokenize_chinese_chars\": false, \"strip_accents\": false}");
    model_write(to, &r.shape, &r.plan, HEAD_MLM, 0, r.values, vocab);
    char *text = file_read(config, NULL);
    assert_non_null(strstr(text, "\"tokenize_chinese_chars\": false"));
    assert_non_null(strstr(text, "\"strip_accents\": false"));
    assert_non_null(strstr(text, "\"do_lower_case\": true"));
    free(text), free(pieces), free(expected), free(json), free(to), free(stale), free(config), free(vocab);
    free_read(&r);
}

static const float *find_values(const struct read *r, enum part part, int layer)
{
    return r->values + parameters_offset(&r->plan, part, layer);
}

static void check_student(const char *fixture, const char *name, const int *layers)
{
    char *from = text_format(FIXTURES "%s", fixture), *to = text_format("%s/%s", folder, name);
    char *vocab = text_format("%s/vocab.txt", from);
    struct read teacher = read_folder(from, HEAD_MLM, 0);
    struct read student = {.shape = model_student_shape(&teacher.shape, teacher.shape.layers / 2)};
    size_t width = (size_t)teacher.shape.width;
    assert_int_equal(student.shape.family, DISTILBERT);
    assert_int_equal(student.shape.types, 0);
    student.plan = parameters_plan(&student.shape, HEAD_MLM, 0);
    student.values = allocate(student.plan.size, sizeof(float));
    model_student(&teacher.plan, teacher.values, layers, &student.plan, student.values);
    check_gaps(&student);
    for (int i = 0; i < student.shape.layers; i++) {
        assert_memory_equal(find_values(&student, QUERY_WEIGHT, i), find_values(&teacher, QUERY_WEIGHT, layers[i]),
                            3 * width * width * sizeof(float));
        assert_memory_equal(find_values(&student, OUTER_NORM_GAIN, i),
                            find_values(&teacher, OUTER_NORM_GAIN, layers[i]), width * sizeof(float));
    }
    assert_memory_equal(find_values(&student, WORD_TABLE, 0), find_values(&teacher, WORD_TABLE, 0),
                        (size_t)teacher.shape.vocabulary * width * sizeof(float));
    assert_memory_equal(find_values(&student, DECODER_BIAS, 0), find_values(&teacher, DECODER_BIAS, 0),
                        (size_t)teacher.shape.vocabulary * sizeof(float));
    model_write(to, &student.shape, &student.plan, HEAD_MLM, 0, student.values, vocab);
    free_read(&teacher);
    free_read(&student);
    free(from), free(to), free(vocab);
}

static void students_are_their_teachers_layers(void **state)
{
    (void)state;
    check_student("bert-tiny", "student-of-bert-tiny", (const int[]){0, 3});
    check_student("bert-untied", "student-of-bert-untied", (const int[]){1});
    struct read teacher = read_folder(FIXTURES "bert-tiny", HEAD_MLM, 0);
    struct shape shape = model_student_shape(&teacher.shape, 1);
    struct parameters student = parameters_plan(&shape, HEAD_MLM, 0);
    struct parameters classifier = parameters_plan(&shape, HEAD_CLASSIFIER, 2);
    float *values = allocate(student.size, sizeof *values);
    EXPECT_FAIL(model_student(&teacher.plan, teacher.values, (const int[]){4}, &student, values),
                "no such array in layer 4");
    EXPECT_FAIL(model_student(&teacher.plan, teacher.values, (const int[]){0}, &classifier, values),
                "pre_classifier.weight: the teacher has no such array");
    shape.inner = 65;
    parameters_free(&student);
    student = parameters_plan(&shape, HEAD_MLM, 0);
    EXPECT_FAIL(model_student(&teacher.plan, teacher.values, (const int[]){0}, &student, values),
                "is [65, 32]; the teacher's is [64, 32]");
    parameters_free(&student);
    parameters_free(&classifier);
    free(values);
    free_read(&teacher);
}

/* A model that went astray before it was written. */
static void broken_weights_are_refused(void **state)
{
    (void)state;
    struct read r = read_folder(FIXTURES "bert-classifier", HEAD_CLASSIFIER, 3);
    char *to = text_format("%s/broken", folder);
    const struct parameter *p = &r.plan.list[3];
    const float faults[] = {NAN, INFINITY, -INFINITY};
    for (volatile int i = 0; i < 3; i++) {
        r.values[p->offset + 7] = faults[i];
        model_write(to, &r.shape, &r.plan, HEAD_CLASSIFIER, 3, r.values, FIXTURES "bert-classifier/vocab.txt");
        char *message = text_format("tensor \"%s\" has %g for its element 7", p->name, faults[i]);
        EXPECT_FAIL(model_read(to, &r.plan, r.values, NULL), message);
        free(message);
    }
    free(to);
    free_read(&r);
}

int main(void)
{
    const char *keep = getenv("KEEP");
    if (keep)
        snprintf(folder, sizeof folder, "%s", keep);
    else if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_read),
        cmocka_unit_test(heads_are_read),
        cmocka_unit_test(strange_configs_are_refused),
        cmocka_unit_test(every_dress_reads_alike),
        cmocka_unit_test(separate_decoders_are_read),
        cmocka_unit_test(tied_tables_are_found_under_either_name),
        cmocka_unit_test(configs_are_held_against_the_weights),
        cmocka_unit_test(missing_weights_are_named),
        cmocka_unit_test(broken_weights_are_refused),
        cmocka_unit_test(fresh_weights_are_normal),
        cmocka_unit_test(written_folders_read_equal),
        cmocka_unit_test(lower_case_is_handed_on),
        cmocka_unit_test(written_folders_have_one_vocabulary),
        cmocka_unit_test(students_are_their_teachers_layers),
    };
    int failures = cmocka_run_group_tests_name("model", tests, NULL, NULL);
    if (!keep) {
        char *remove = text_format("rm -rf '%s'", folder);
        failures += system(remove) != 0;
        free(remove);
    }
    return failures;
}
