/* Tangled from chapters/61-probes.md; edit there. */
#include "encoder.h"
#include "device.h"
#include "fail.h"
#include "file.h"
#include "heads.h"
#include "model.h"
#include "safetensors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Say how inspect is used */
static const char usage[] =
    "usage: distil inspect --model DIR --ids FILE --out FILE.safetensors\n"
    "                      [--device NAME]\n"
    "\n"
    "Runs a model over sequences of piece ids and writes what it computes, one token\n"
    "after the other: hidden.0 (after the embeddings) to hidden.N (after the last\n"
    "layer), each [tokens, width], and the logits of the model's head: [tokens,\n"
    "vocabulary] for masked words, [sequences, classes] for a classifier, [tokens, 2]\n"
    "for a span head, none for a bare encoder.\n"
    "\n"
    "  --model DIR   a model folder in Hugging Face's format\n"
    "  --ids FILE    ids separated by spaces, a sequence a line, [CLS] and [SEP]\n"
    "                included; \"|\" stands before the second segment, if any\n"
    "  --out FILE    the safetensors file to write\n"
    "  --device NAME cpu (the default), cuda (fp16), cuda-fp32, or auto\n";

static int misused(const char *option)
{
    fprintf(stderr, "distil: %s: expected --model DIR, --ids FILE and --out FILE\n\n%s",
            option, usage);
    return 2;
}

/* Read sequences of ids */
static int count_words(const char *text)
{
    const char *const between = " |\t\r\n";
    int words = 0;
    for (text += strspn(text, between); *text; text += strspn(text, between), words++)
        text += strcspn(text, between);
    return words;
}

static int count_lines(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n' || !text[1];
    return lines;
}

/* Check a sequence against the model */
static void check_sequence(const char *path, int line, const int *ids, int length,
                           int first, const struct shape *shape)
{
    if (length == 0)
        fail(path, "line %d: expected a sequence, found an empty line", line);
    if (first == length)
        fail(path, "line %d: expected ids after the \"|\"", line);
    if (first >= 0 && shape->types == 1)
        fail(path, "line %d: has a second segment; the model knows one", line);
    if (length > shape->positions)
        fail(path, "line %d: has %d ids; the model knows %d positions", line, length,
             shape->positions);
    for (int i = 0; i < length; i++)
        if (ids[i] >= shape->vocabulary)
            fail(path, "line %d: token %d has id %d; the model knows 0 to %d", line, i,
                 ids[i], shape->vocabulary - 1);
}

static struct batch *read_sequences(const char *path, const struct shape *shape)
{
    char *text = file_text(path, NULL), *rest = text;
    struct batch *batch = batch_create(count_words(text), count_lines(text));
    int *ids = allocate((size_t)batch->token_room, sizeof *ids);
    for (int line = 1; *rest; line++) {
        /* Read one sequence of ids */
        int length = 0, first = -1;
        while (*(rest += strspn(rest, " \t\r")) && *rest != '\n') {
            char *end;
            long id = strtol(rest, &end, 10);
            if (*rest == '|' && first < 0 && length > 0) {
                first = length;
                end = rest + 1;
            } else if (end == rest || id < 0 || id > INT_MAX || !strchr(" \t\r\n|", *end)) {
                fail(path, "line %d: expected ids and at most one \"|\", found \"%.10s\"", line,
                     rest);
            } else {
                ids[length++] = (int)id;
            }
            rest = end;
        }
        check_sequence(path, line, ids, length, first, shape);
        batch_append(batch, ids, length, first < 0 ? length : first, 0);
        rest += *rest == '\n';
    }
    if (batch->sequences == 0)
        fail(path, "expected a line of ids, found none");
    free(ids);
    free(text);
    return batch;
}

/* Write the hidden states */
static void add_hidden(struct safetensors_writer *writer, const struct model *model,
                       int layer, float *values)
{
    size_t shape[] = {(size_t)model->input.tokens, (size_t)model->shape.width};
    char name[32];
    snprintf(name, sizeof name, "hidden.%d", layer);
    encoder_fetch(model, model->hidden[layer], values, shape[0] * shape[1]);
    safetensors_add(writer, name, "F32", 2, shape, values);
}

/* Write the logits */
static float *compute_words(struct model *model)
{
    int tokens = model->input.tokens, classes = model->shape.vocabulary;
    int most = model->mlm.block;
    size_t stride = (size_t)model->mlm.classes_room;
    float *logits = allocate((size_t)tokens * (size_t)classes, sizeof *logits);
    float *block = allocate((size_t)most * stride, sizeof *block);
    int *rows = allocate((size_t)tokens, sizeof *rows);
    for (int t = 0; t < tokens; t++)
        rows[t] = t;
    mlm_choose(model, rows, tokens);
    /* Fetch the logits block by block */
    for (int first = 0; first < tokens; first += most) {
        int count = tokens - first < most ? tokens - first : most;
        mlm_forward(model, first, count);
        encoder_fetch(model, model->mlm.logits, block, (size_t)count * stride);
        for (int i = 0; i < count; i++)
            memcpy(logits + (size_t)(first + i) * (size_t)classes,
                   block + (size_t)i * stride, (size_t)classes * sizeof *logits);
    }
    free(rows);
    free(block);
    return logits;
}

static float *compute_classes(struct model *model)
{
    size_t n = (size_t)model->input.sequences * (size_t)model->classes;
    float *logits = allocate(n, sizeof *logits);
    classifier_forward(model);
    encoder_fetch(model, model->classifier.logits, logits, n);
    return logits;
}

static float *compute_spans(struct model *model)
{
    size_t n = 2 * (size_t)model->input.tokens;
    float *logits = allocate(n, sizeof *logits);
    span_forward(model);
    encoder_fetch(model, model->span.logits, logits, n);
    return logits;
}

/* Inspect a model */
static void inspect(const struct kernels *k, const char *folder, const char *ids_path,
                    const char *out_path)
{
    int classes;
    enum head head = model_head(folder, &classes);
    struct model *model = encoder_open(k, folder, head, classes, LEARN_NOTHING);
    struct batch *batch = read_sequences(ids_path, &model->shape);
    size_t n = (size_t)batch->tokens * (size_t)model->shape.width;
    float *hidden = allocate(n * (size_t)(model->shape.layers + 1), sizeof *hidden);
    float *logits = NULL;
    struct safetensors_writer *writer = safetensors_create(out_path);
    encoder_forward(model, batch, NULL);
    for (int l = 0; l <= model->shape.layers; l++)
        add_hidden(writer, model, l, hidden + n * (size_t)l);
    /* Add the logits of its head */
    if (head == HEAD_MLM) {
        size_t shape[] = {(size_t)batch->tokens, (size_t)model->shape.vocabulary};
        logits = compute_words(model);
        safetensors_add(writer, "logits", "F32", 2, shape, logits);
    } else if (head == HEAD_CLASSIFIER) {
        size_t shape[] = {(size_t)batch->sequences, (size_t)classes};
        logits = compute_classes(model);
        safetensors_add(writer, "logits", "F32", 2, shape, logits);
    } else if (head == HEAD_SPAN) {
        size_t shape[] = {(size_t)batch->tokens, 2};
        logits = compute_spans(model);
        safetensors_add(writer, "logits", "F32", 2, shape, logits);
    }
    safetensors_commit(writer);
    free(logits);
    free(hidden);
    batch_free(batch);
    encoder_free(model);
}

int inspect_main(int argc, char **argv)
{
    const char *model = NULL, *ids = NULL, *out = NULL, *device = "cpu";
    /* Read the options of inspect */
    for (int i = 1; i < argc; i++) {
        const char **value = !strcmp(argv[i], "--model") ? &model
                           : !strcmp(argv[i], "--ids") ? &ids
                           : !strcmp(argv[i], "--out") ? &out
                           : !strcmp(argv[i], "--device") ? &device : NULL;
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        }
        if (!value || i + 1 == argc)
            return misused(argv[i]);
        *value = argv[++i];
    }
    if (!model || !ids || !out)
        return misused(!model ? "--model" : !ids ? "--ids" : "--out");
    inspect(device_open(device), model, ids, out);
    return 0;
}
