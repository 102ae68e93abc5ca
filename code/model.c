/* Tangled from chapters/32-model-folders.md; edit there. */
#include "model.h"
#include "fail.h"
#include "file.h"
#include "foreign.h"
#include "random.h"
#include "safetensors.h"
#include "vocabulary.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ask a config for its numbers */
struct config {
    char *path;
    json_t *json;
    enum family family;
};

static int size_of(const struct config *c, const char *key, int most)
{
    json_t *number = json_object_get(c->json, key);
    json_int_t value = json_integer_value(number);
    if (!json_is_integer(number))
        fail(c->path, "has no whole number \"%s\"", key);
    if (value < 1 || value > most)
        fail(c->path, "has \"%s\" %lld; expected 1 to %d", key, (long long)value, most);
    return (int)value;
}

static float rate_of(const struct config *c, const char *key, float otherwise)
{
    json_t *number = json_object_get(c->json, key);
    if (!number || json_is_null(number))
        return otherwise;
    double value = json_number_value(number);
    if (!json_is_number(number) || value < 0 || value >= 1)
        fail(c->path, "has a \"%s\" that is not a number from 0 to 1", key);
    return (float)value;
}

/* Find a tensor by any of its names */
static const struct tensor *find_tensor(const struct safetensors *file,
                                        const char *name)
{
    bool prefixed = strncmp(name, "bert.", strlen("bert.")) == 0
                 || strncmp(name, "distilbert.", strlen("distilbert.")) == 0;
    const char *names[] = {name, prefixed ? strchr(name, '.') + 1 : name};
    for (int i = 0; i < 2; i++) {
        const char *now = names[i];
        /* Look for a name, and for what it was in 2018 */
        const struct tensor *tensor = safetensors_find(file, now);
        char *old = text_format("%s", now);
        if (text_ends(now, "LayerNorm.weight"))
            strcpy(old + strlen(old) - strlen("weight"), "gamma");
        if (text_ends(now, "LayerNorm.bias"))
            strcpy(old + strlen(old) - strlen("bias"), "beta");
        if (!tensor)
            tensor = safetensors_find(file, old);
        free(old);
        if (tensor)
            return tensor;
    }
    return NULL;
}

static const struct tensor *find_part(const struct safetensors *file,
                                      const struct parameter *p, bool tied)
{
    const struct tensor *tensor = NULL;
    if (strcmp(p->name, "cls.predictions.bias") == 0)
        tensor = safetensors_find(file, "cls.predictions.decoder.bias");
    if (!tensor)
        tensor = find_tensor(file, p->name);
    if (!tensor && tied && p->part == WORD_TABLE)
        tensor = find_tensor(file, strncmp(p->name, "bert.", 5) == 0
                                       ? "cls.predictions.decoder.weight"
                                       : "vocab_projector.weight");
    return tensor;
}

static const struct tensor *require_part(const struct safetensors *file,
                                         const struct parameter *p, bool tied)
{
    const struct tensor *tensor = find_part(file, p, tied);
    if (!tensor)
        fail(file->path, "has no tensor \"%s\"; the first of its %d is \"%s\"", p->name,
             file->count, file->count ? file->list[0].name : "");
    return tensor;
}

/* Check the shape of a tensor */
static void check_shape(const struct safetensors *file, const struct tensor *tensor,
                        const struct parameter *p)
{
    int rank = p->matrix ? 2 : 1;
    bool equal = tensor->rank == rank
              && tensor->shape[rank - 1] == (size_t)p->columns
              && (rank == 1 || tensor->shape[0] == (size_t)p->rows);
    if (equal)
        return;
    /* Fail with both shapes */
    char found[200] = "";
    for (int i = 0; i < tensor->rank; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%zu",
                 i ? ", " : "", tensor->shape[i]);
    if (p->matrix)
        fail(file->path, "tensor \"%s\" is [%s]; expected [%d, %d] by config.json",
             tensor->name, found, p->rows, p->columns);
    fail(file->path, "tensor \"%s\" is [%s]; expected [%d] by config.json",
         tensor->name, found, p->columns);
}

/* Read the shape of a model */
/* Open a config */
static struct config open_config(const char *folder)
{
    struct config c = {.path = text_format("%s/config.json", folder)};
    /* Refuse a folder that holds only a change */
    char *adapter = text_format("%s/adapter_config.json", folder);
    if (file_exists(adapter) && !file_exists(c.path))
        fail(folder, "is an adapter, a change to a model that lies elsewhere; merge "
                     "the two and save the model");
    free(adapter);
    c.json = foreign_json(c.path);
    /* Tell the family */
    const char *type = json_string_value(json_object_get(c.json, "model_type"));
    if (!type)
        fail(c.path, "has no \"model_type\"; expected \"bert\" or \"distilbert\"");
    if (strcmp(type, "bert") != 0 && strcmp(type, "distilbert") != 0)
        fail(c.path, "is of a \"%s\"; expected \"bert\" or \"distilbert\"", type);
    c.family = strcmp(type, "bert") == 0 ? BERT : DISTILBERT;
    return c;
}

static void close_config(struct config *c)
{
    json_decref(c->json);
    free(c->path);
}

/* Refuse what is not computed here */
static void refuse_unknown(const struct config *c)
{
    static const char *const flags[] = {"add_cross_attention", "is_encoder_decoder",
                                        "sinusoidal_pos_embds"};
    static const char *const changes[] = {"pruned_heads", "auto_map",
                                          "quantization_config"};
    foreign_expect_text(c->path, c->json,
                        c->family == BERT ? "hidden_act" : "activation", "gelu");
    foreign_expect_text(c->path, c->json, "position_embedding_type", "absolute");
    foreign_expect_number(c->path, c->json, "pad_token_id", 0);
    if (foreign_flag(c->path, c->json, "is_decoder", false))
        fail(c->path, "is of a decoder (\"is_decoder\"); an encoder was expected");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        foreign_expect_flag(c->path, c->json, flags[i], false);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        foreign_empty(c->path, c->json, changes[i]);
}

static bool decoder_differs(const struct safetensors *file, const char *words_name,
                            const char *decoder_name)
{
    const struct tensor *words = find_tensor(file, words_name);
    const struct tensor *decoder = safetensors_find(file, decoder_name);
    return words && decoder && (words->bytes != decoder->bytes
              || memcmp(words->data, decoder->data, words->bytes) != 0);
}

/* Refuse layers beyond the last */
static void refuse_layers(const struct safetensors *file, const struct shape *shape)
{
    const char *mark = shape->family == BERT ? "encoder.layer." : "transformer.layer.";
    for (int i = 0; i < file->count; i++) {
        const char *at = strstr(file->list[i].name, mark), *name = file->list[i].name;
        if (at && strtol(at + strlen(mark), NULL, 10) >= shape->layers)
            fail(file->path, "has \"%s\", but config.json only %d layers", name,
                 shape->layers);
    }
}

static void hold_against_weights(const char *folder, struct shape *shape)
{
    char *path = text_format("%s/model.safetensors", folder);
    if (file_exists(path)) {
        struct safetensors *file = safetensors_open(path);
        /* Plan the encoder and look for all of it */
        struct shape untied = *shape;
        untied.tied = false;
        struct parameters plan = parameters_plan(&untied, HEAD_MLM, 0);
        for (int i = 0; i < plan.count; i++)
            if (plan.list[i].part < TRANSFORM_WEIGHT)
                check_shape(file, require_part(file, &plan.list[i], shape->tied),
                            &plan.list[i]);
        refuse_layers(file, shape);
        if (decoder_differs(file, parameters_find(&plan, WORD_TABLE, 0)->name,
                            parameters_find(&plan, DECODER_WEIGHT, 0)->name))
            shape->tied = false;
        parameters_free(&plan);
        safetensors_close(file);
    }
    free(path);
}

static void check_vocabulary(const char *folder, const struct shape *shape)
{
    int pieces = vocabulary_count(folder);
    if (pieces > shape->vocabulary)
        fail(folder, "has a vocabulary of %d pieces, but its config.json a word table "
             "of only %d rows", pieces, shape->vocabulary);
}

struct shape model_shape(const char *folder)
{
    struct config c = open_config(folder);
    bool bert = c.family == BERT;
    refuse_unknown(&c);
    struct shape shape = {
        /* Read the sizes of the family */
        .family = c.family,
        .layers = size_of(&c, bert ? "num_hidden_layers" : "n_layers", 1 << 10),
        .width = size_of(&c, bert ? "hidden_size" : "dim", 1 << 16),
        .heads = size_of(&c, bert ? "num_attention_heads" : "n_heads", 1 << 16),
        .inner = size_of(&c, bert ? "intermediate_size" : "hidden_dim", 1 << 20),
        .vocabulary = size_of(&c, "vocab_size", 1 << 24),
        .positions = size_of(&c, "max_position_embeddings", 1 << 20),
        .types = bert ? size_of(&c, "type_vocab_size", 1 << 10) : 0,
        .initializer_range = rate_of(&c, "initializer_range", 0.02f),
    };
    /* Read the rates of the family */
    shape.dropout = rate_of(&c, bert ? "hidden_dropout_prob" : "dropout", 0.1f);
    shape.attention_dropout =
        rate_of(&c, bert ? "attention_probs_dropout_prob" : "attention_dropout", 0.1f);
    shape.classifier_dropout = bert ? rate_of(&c, "classifier_dropout", shape.dropout)
                                    : rate_of(&c, "seq_classif_dropout", 0.2f);
    shape.span_dropout = bert ? 0 : rate_of(&c, "qa_dropout", 0.1f);
    shape.epsilon = bert ? rate_of(&c, "layer_norm_eps", 1e-12f) : 1e-12f;
    if (shape.width % shape.heads)
        fail(c.path, "has %d attention heads, which do not divide the width %d",
             shape.heads, shape.width);
    shape.tied = foreign_flag(c.path, c.json, "tie_word_embeddings", true);
    check_vocabulary(folder, &shape);
    hold_against_weights(folder, &shape);
    close_config(&c);
    return shape;
}

/* Tell which head a folder's model has */
enum head model_head(const char *folder, int *classes)
{
    struct config c = open_config(folder);
    json_t *names = json_object_get(c.json, "architectures");
    const char *name = json_string_value(json_array_get(names, 0));
    enum head head = HEAD_NONE;
    *classes = 0;
    if (name && (text_ends(name, "ForMaskedLM") || text_ends(name, "ForPreTraining")))
        head = HEAD_MLM;
    if (name && text_ends(name, "ForSequenceClassification")) {
        /* Count the classes of its classifier */
        json_t *labels = json_object_get(c.json, "id2label");
        head = HEAD_CLASSIFIER;
        if (labels && json_object_size(labels) == 0)
            fail(c.path, "has an \"id2label\" that names no classes");
        *classes = labels ? (int)json_object_size(labels) : 2;
    }
    if (name && text_ends(name, "ForQuestionAnswering"))
        head = HEAD_SPAN;
    close_config(&c);
    return head;
}

/* Read the weights of a model */
/* Open the weights of a folder */
static struct safetensors *open_weights(const char *folder)
{
    /* List what a folder may have instead */
    static const struct {
        const char *name, *why;
    } others[] = {
        {"model.safetensors.index.json",
         "its weights are in several files; save it again with a larger shard size"},
        {"pytorch_model.bin",
         "it has only a pickle, pytorch_model.bin; save it with a newer transformers"},
    };
    char *path = text_format("%s/model.safetensors", folder);
    for (int i = 0; i < 2 && !file_exists(path); i++) {
        char *other = text_format("%s/%s", folder, others[i].name);
        if (file_exists(other))
            fail(folder, "has no model.safetensors: %s", others[i].why);
        free(other);
    }
    if (!file_exists(path))
        fail(folder, "has no model.safetensors");
    struct safetensors *file = safetensors_open(path);
    free(path);
    return file;
}

/* Refuse weights that are no numbers */
static void check_finite(const struct safetensors *file, const struct tensor *tensor,
                         const float *values)
{
    for (size_t i = 0; i < tensor->count; i++)
        if (!isfinite(values[i]))
            fail(file->path, "tensor \"%s\" has %g for its element %zu; expected "
                 "finite numbers", tensor->name, values[i], i);
}

void model_read(const char *folder, const struct parameters *plan, float *values,
                bool *found)
{
    struct safetensors *file = open_weights(folder);
    bool tied = !parameters_find(plan, DECODER_WEIGHT, 0);
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *p = &plan->list[i];
        /* Find its tensor, if it may not be missing */
        bool needed = !found || p->part < TRANSFORM_WEIGHT;
        const struct tensor *tensor = needed ? require_part(file, p, tied)
                                             : find_part(file, p, tied);
        if (found)
            found[i] = tensor != NULL;
        if (!tensor)
            continue;
        check_shape(file, tensor, p);
        safetensors_floats(file, tensor, values + p->offset);
        check_finite(file, tensor, values + p->offset);
    }
    safetensors_close(file);
}

/* Make fresh weights */
void model_initialise(const struct parameters *plan, float range, float *values,
                      const bool *found, uint64_t seed)
{
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *p = &plan->list[i];
        if (found && found[i])
            continue;
        /* Fill the array with fresh weights */
        bool gain = p->part == EMBEDDING_NORM_GAIN || p->part == ATTENTION_NORM_GAIN
                 || p->part == OUTER_NORM_GAIN || p->part == TRANSFORM_NORM_GAIN;
        uint64_t key = random_key(seed, (uint64_t)p->part, (uint64_t)p->layer);
        size_t length = (size_t)p->rows * (size_t)p->columns;
        for (size_t k = 0; k < length; k++)
            values[p->offset + k] =
                p->matrix ? (float)(range * random_normal(key, k)) : gain;
        if (p->part == WORD_TABLE) /* its row 0 is [PAD]'s */
            memset(values + p->offset, 0, (size_t)p->columns * sizeof *values);
    }
}

/* Say a shape as a config */
/* Say a rate as JSON */
static json_t *rate(float value)
{
    char digits[32];
    for (int precision = 1; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtof(digits, NULL) == value)
            break;
    }
    return json_real(strtod(digits, NULL));
}

/* Say the head as JSON */
static void add_head(json_t *json, enum family family, enum head head, int classes)
{
    const char *suffix = head == HEAD_MLM          ? "ForMaskedLM"
                         : head == HEAD_CLASSIFIER ? "ForSequenceClassification"
                         : head == HEAD_SPAN       ? "ForQuestionAnswering"
                                                   : "Model";
    char *name = text_format("%s%s", family == BERT ? "Bert" : "DistilBert", suffix);
    json_object_set_new(json, "architectures", json_pack("[s]", name));
    free(name);
    if (head != HEAD_CLASSIFIER)
        return;
    /* Name the classes */
    json_t *names = json_object(), *numbers = json_object();
    for (int i = 0; i < classes; i++) {
        char number[16], label[32];
        snprintf(number, sizeof number, "%d", i);
        snprintf(label, sizeof label, "LABEL_%d", i);
        json_object_set_new(names, number, json_string(label));
        json_object_set_new(numbers, label, json_integer(i));
    }
    json_object_set_new(json, "id2label", names);
    json_object_set_new(json, "label2id", numbers);
}

static json_t *config_of(const struct shape *s, enum head head, int classes)
{
    /* Say sizes and rates in the words of the family */
    json_t *json = s->family == BERT
        ? json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:o, s:o, s:o, s:o}",
                    "model_type", "bert", "num_hidden_layers", s->layers,
                    "hidden_size", s->width, "num_attention_heads", s->heads,
                    "intermediate_size", s->inner, "type_vocab_size", s->types,
                    "hidden_act", "gelu", "layer_norm_eps", rate(s->epsilon),
                    "hidden_dropout_prob", rate(s->dropout),
                    "attention_probs_dropout_prob", rate(s->attention_dropout),
                    "classifier_dropout", rate(s->classifier_dropout))
        : json_pack("{s:s, s:i, s:i, s:i, s:i, s:s, s:b, s:o, s:o, s:o, s:o}",
                    "model_type", "distilbert", "n_layers", s->layers,
                    "dim", s->width, "n_heads", s->heads, "hidden_dim", s->inner,
                    "activation", "gelu", "sinusoidal_pos_embds", 0,
                    "dropout", rate(s->dropout),
                    "attention_dropout", rate(s->attention_dropout),
                    "seq_classif_dropout", rate(s->classifier_dropout),
                    "qa_dropout", rate(s->span_dropout));
    /* Add what both families call the same */
    json_t *rest = json_pack("{s:i, s:i, s:o, s:b, s:i}", "vocab_size", s->vocabulary,
                             "max_position_embeddings", s->positions,
                             "initializer_range", rate(s->initializer_range),
                             "tie_word_embeddings", s->tied, "pad_token_id", 0);
    json_object_update(json, rest);
    json_decref(rest);
    add_head(json, s->family, head, classes);
    return json;
}

/* Write a model folder */
/* Write JSON into a folder */
static void write_json(const char *folder, const char *name, json_t *json)
{
    char *path = text_format("%s/%s", folder, name);
    size_t style = JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9);
    char *text = json_dumps(json, style);
    if (!text)
        fail(path, "cannot be put into words: out of memory");
    struct file_writer *file = file_create(path);
    fprintf(file_stream(file), "%s\n", text);
    file_commit(file);
    free(text);
    free(path);
    json_decref(json);
}

/* Copy the vocabulary into a folder */
/* Say how the tokenizer works */
static json_t *tokenizer_config(const struct shape *shape, const struct vocabulary *v)
{
    json_t *inputs = json_pack("[s, s]", "input_ids", "attention_mask");
    if (shape->types)
        json_array_insert_new(inputs, 1, json_string("token_type_ids"));
    return json_pack("{s:s, s:b, s:b, s:b, s:i, s:o}",
                     "tokenizer_class", "BertTokenizer",
                     "do_lower_case", v->lower_case,
                     "strip_accents", v->strip_accents,
                     "tokenize_chinese_chars", v->split_ideographs,
                     "model_max_length", shape->positions,
                     "model_input_names", inputs);
}

static void write_vocabulary(const char *folder, const char *vocab_path,
                             const struct shape *shape)
{
    struct vocabulary v = vocabulary_read(vocab_path);
    char *path = text_format("%s/vocab.txt", folder);
    struct file_writer *file = file_create(path);
    fwrite(v.pieces, 1, v.size, file_stream(file));
    file_commit(file);
    /* Remove what would speak of another vocabulary */
    static const char *const others[] = {"tokenizer.json", "added_tokens.json",
                                         "special_tokens_map.json"};
    for (int i = 0; i < 3; i++) {
        char *other = text_format("%s/%s", folder, others[i]);
        if (remove(other) != 0 && errno != ENOENT)
            fail(other, "cannot be replaced: %s", strerror(errno));
        free(other);
    }
    free(path);
    write_json(folder, "tokenizer_config.json", tokenizer_config(shape, &v));
    vocabulary_free(&v);
}

/* Write the weights into a folder */
static void add_array(struct safetensors_writer *writer, const struct parameter *p,
                      const char *name, const float *values)
{
    size_t sides[] = {(size_t)p->rows, (size_t)p->columns};
    int rank = p->matrix ? 2 : 1;
    safetensors_add(writer, name, "F32", rank, sides + 2 - rank, values + p->offset);
}

static void write_weights(const char *folder, const struct shape *shape,
                          const struct parameters *plan, const float *values)
{
    char *path = text_format("%s/model.safetensors", folder);
    struct safetensors_writer *writer = safetensors_create(path);
    for (int i = 0; i < plan->count; i++) {
        const struct parameter *p = &plan->list[i];
        add_array(writer, p, p->name, values);
        if (p->part == DECODER_BIAS && shape->family == BERT && !shape->tied)
            add_array(writer, p, "cls.predictions.decoder.bias", values);
    }
    safetensors_commit(writer);
    free(path);
}

void model_write(const char *folder, const struct shape *shape,
                 const struct parameters *plan, enum head head, int classes,
                 const float *values, const char *vocab_path)
{
    write_json(folder, "config.json", config_of(shape, head, classes));
    write_vocabulary(folder, vocab_path, shape);
    write_weights(folder, shape, plan, values);
}

/* Make a student from a teacher */
struct shape model_student_shape(const struct shape *teacher, int layers)
{
    struct shape shape = *teacher;
    shape.family = DISTILBERT;
    shape.layers = layers;
    shape.types = 0;
    shape.epsilon = 1e-12f;
    shape.classifier_dropout = 0.2f;
    shape.span_dropout = 0.1f;
    return shape;
}

void model_student(const struct parameters *teacher, const float *teacher_values,
                   const int *layers, const struct parameters *student, float *values)
{
    for (int i = 0; i < student->count; i++) {
        const struct parameter *to = &student->list[i];
        int layer = part_in_layer(to->part) ? layers[to->layer] : 0;
        const struct parameter *from = parameters_find(teacher, to->part, layer);
        if (!from)
            fail(to->name, "the teacher has no such array in layer %d", layer);
        if (from->rows != to->rows || from->columns != to->columns)
            fail(to->name, "is [%d, %d]; the teacher's is [%d, %d]", to->rows,
                 to->columns, from->rows, from->columns);
        memcpy(values + to->offset, teacher_values + from->offset,
               (size_t)to->rows * (size_t)to->columns * sizeof *values);
    }
}
