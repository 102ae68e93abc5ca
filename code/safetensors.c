/* Tangled from chapters/31-safetensors.md; edit there. */
#include "safetensors.h"
#include "fail.h"
#include "file.h"
#include "foreign.h"
#include "sum.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors files are little-endian, and so must this machine be"
#endif

/* List the types a tensor may have */
static const struct {
    const char *name;
    size_t size;
} types[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
    {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1}, {"BOOL", 1},
    {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1},
};

static int find_type(const char *name)
{
    for (int i = 0; i < (int)(sizeof types / sizeof *types); i++)
        if (strcmp(types[i].name, name) == 0)
            return i;
    return -1;
}

/* Read a safetensors file */
/* Refuse a safetensors file */
static bool refuse(struct safetensors *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(struct safetensors *file, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(file->fault, sizeof file->fault, format, arguments);
    va_end(arguments);
    for (char *c = file->fault; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    return false;
}

/* Read the header of a safetensors file */
static size_t header_size(const struct safetensors *file)
{
    uint64_t length;
    memcpy(&length, file->map, sizeof length);
    return (size_t)length;
}

/* Count a character of the header */
enum { TENSOR_LIMIT = 1 << 16 };

static size_t count_bytes(const struct safetensors *file, char c, size_t length)
{
    const char *header = (const char *)file->map + 8, *end = header + length;
    size_t count = 0;
    while (header < end && (header = memchr(header, c, (size_t)(end - header)))) {
        header++;
        count++;
    }
    return count;
}

static bool read_header(struct safetensors *file)
{
    if (file->size < 8)
        return refuse(file, "is too short to be safetensors: %zu bytes", file->size);
    const char *fault = foreign_fault(file->map, file->size);
    if (fault)
        return refuse(file, "%s", fault);
    size_t length = header_size(file);
    /* Refuse a header that is too long */
    if (length > 100000000)
        return refuse(file, "claims a header of %zu bytes; at most 100,000,000 may be",
                      length);
    if (length > file->size - 8)
        return refuse(file, "claims a header of %zu bytes, but only %zu follow", length,
                      file->size - 8);
    if (count_bytes(file, '{', length) > TENSOR_LIMIT
        || count_bytes(file, ',', length) > TENSOR_LIMIT * (TENSOR_RANK + 4))
        return refuse(file, "has a header of more than %d tensors", TENSOR_LIMIT);
    /* Parse the header as JSON */
    json_error_t error;
    const char *text = (const char *)file->map + 8;
    file->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!file->header) {
        enum json_error_code code = json_error_code(&error);
        return refuse(file, "has a header that %s: %s",
                      code == json_error_invalid_utf8    ? "is not UTF-8"
                      : code == json_error_duplicate_key ? "has a key twice"
                                                         : "is not JSON", error.text);
    }
    if (!json_is_object(file->header))
        return refuse(file, "has a header that is not a JSON object");
    return true;
}

/* Read one tensor's entry in the header */
/* Read a tensor's type */
static bool read_type(struct safetensors *file, struct tensor *tensor, json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name)
        return refuse(file, "tensor \"%.80s\" has no dtype", tensor->name);
    int type = find_type(name);
    if (type < 0)
        return refuse(file, "tensor \"%.80s\" has the unknown dtype \"%.20s\"",
                      tensor->name, name);
    tensor->type = types[type].name;
    tensor->bytes = types[type].size;
    return true;
}

/* Read a tensor's shape */
static bool read_shape(struct safetensors *file, struct tensor *tensor, json_t *entry)
{
    json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_RANK)
        return refuse(file, "tensor \"%.80s\" has no shape of at most %d dimensions",
                      tensor->name, TENSOR_RANK);
    tensor->rank = (int)json_array_size(shape);
    tensor->count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        /* Multiply a dimension in */
        json_t *number = json_array_get(shape, (size_t)i);
        if (!json_is_integer(number) || json_integer_value(number) < 0)
            return refuse(file, "tensor \"%.80s\" has a dimension that is no number",
                          tensor->name);
        size_t side = tensor->shape[i] = (size_t)json_integer_value(number);
        if (side && tensor->bytes * tensor->count > SIZE_MAX / side)
            return refuse(file, "tensor \"%.80s\" has more bytes than 64 bits count",
                          tensor->name);
        tensor->count *= side;
    }
    tensor->bytes *= tensor->count;
    return true;
}

/* Read a tensor's place in the data */
static bool read_place(struct safetensors *file, struct tensor *tensor, json_t *entry)
{
    json_t *place = json_object_get(entry, "data_offsets");
    json_t *begin = json_array_get(place, 0), *end = json_array_get(place, 1);
    if (json_array_size(place) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return refuse(file, "tensor \"%.80s\" has no two data_offsets", tensor->name);
    size_t data = file->size - 8 - header_size(file);
    long long from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > data)
        return refuse(file, "tensor \"%.80s\" lies at bytes %lld to %lld of %zu",
                      tensor->name, from, to, data);
    if ((uint64_t)(to - from) != tensor->bytes)
        return refuse(file, "tensor \"%.80s\" has %lld bytes, but by its shape %zu",
                      tensor->name, to - from, tensor->bytes);
    tensor->data = (const char *)file->map + (file->size - data) + from;
    return true;
}

static bool read_tensors(struct safetensors *file)
{
    file->list = allocate(json_object_size(file->header), sizeof *file->list);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (!json_is_object(entry))
            return refuse(file, "has an entry \"%.80s\" that is not an object", name);
        if (strcmp(name, "__metadata__") == 0) {
            /* Check that all metadata are texts */
            const char *key;
            json_t *text;
            json_object_foreach(entry, key, text)
                if (!json_is_string(text))
                    return refuse(file, "has metadata \"%.80s\" that are no text", key);
            continue;
        }
        /* Add a tensor to the list */
        struct tensor *tensor = &file->list[file->count++];
        tensor->name = name;
        if (!read_type(file, tensor, entry) || !read_shape(file, tensor, entry)
            || !read_place(file, tensor, entry))
            return false;
    }
    return true;
}

/* Check that the tensors cover the data */
static int compare_places(const void *a, const void *b)
{
    const struct tensor *s = a, *t = b;
    if (s->data != t->data)
        return (const char *)s->data < (const char *)t->data ? -1 : 1;
    return (s->bytes > t->bytes) - (s->bytes < t->bytes);
}

static bool check_cover(struct safetensors *file)
{
    const char *place = (const char *)file->map + 8 + header_size(file);
    qsort(file->list, (size_t)file->count, sizeof *file->list, compare_places);
    for (int i = 0; i < file->count; i++) {
        const struct tensor *t = &file->list[i];
        ptrdiff_t gap = (const char *)t->data - place;
        if (gap)
            return refuse(file, "tensor \"%.80s\" begins %td bytes %s the end of what "
                          "lies before it", t->name, gap < 0 ? -gap : gap,
                          gap < 0 ? "before" : "after");
        place += t->bytes;
    }
    const char *end = (const char *)file->map + file->size;
    if (place != end)
        return refuse(file, "has %td bytes after its last tensor", end - place);
    return true;
}

/* Hold a file to the sum that it carries */
#define SUM_KEY "distil.sha256"
static const char beginning[] = "{\"__metadata__\":{\"" SUM_KEY "\":\"";
enum { SUM_AT = 8 + sizeof beginning - 1 }; /* the first digit's place in the file */

/* The sum of a file with zeros in the place of its sum: of its first bytes up to there,
   of the zeros, and of what the summing is then given. */
static struct summing *begin_sum(const char *bytes)
{
    char zeros[SUM_DIGITS];
    memset(zeros, '0', sizeof zeros);
    struct summing *summing = sum_begin();
    sum_add(summing, bytes, SUM_AT);
    sum_add(summing, zeros, sizeof zeros);
    return summing;
}

static bool check_sum(struct safetensors *file)
{
    const char *bytes = file->map;
    size_t after = SUM_AT + SUM_DIGITS;
    if (file->size < after || memcmp(bytes + 8, beginning, sizeof beginning - 1) != 0)
        return true;
    struct summing *summing = begin_sum(bytes);
    sum_add(summing, bytes + after, file->size - after);
    struct sum sum = sum_end(summing);
    if (memcmp(sum.digits, bytes + SUM_AT, SUM_DIGITS) != 0)
        return refuse(file, "is damaged: its bytes do not have the sum that it was "
                      "written with");
    return file->summed = true;
}

/* Open and close a safetensors file */
/* Map the file */
static bool map_file(struct safetensors *file)
{
    int descriptor = open(file->path, O_RDONLY | O_NONBLOCK);
    if (descriptor < 0)
        return refuse(file, "cannot be opened: %s", strerror(errno));
    struct stat status;
    bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    size_t size = regular ? (size_t)status.st_size : 0;
    if (size)
        file->map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    int error = errno;
    close(descriptor);
    if (!regular)
        return refuse(file, "is not a file");
    if (file->map == MAP_FAILED)
        return refuse(file, "cannot be mapped: %s", strerror(error));
    file->size = size;
    return true;
}

struct safetensors *safetensors_try(const char *path, char **fault)
{
    struct safetensors *file = allocate(1, sizeof *file);
    file->path = text_format("%s", path);
    if (map_file(file) && read_header(file) && read_tensors(file) && check_cover(file)
        && check_sum(file))
        return file;
    *fault = text_format("%s", file->fault);
    safetensors_close(file);
    return NULL;
}

struct safetensors *safetensors_open(const char *path)
{
    char *fault, said[FAULT_ROOM];
    struct safetensors *file = safetensors_try(path, &fault);
    if (file)
        return file;
    snprintf(said, sizeof said, "%s", fault);
    free(fault);
    fail(path, "%s", said);
}

void safetensors_close(struct safetensors *file)
{
    if (file->size)
        munmap(file->map, file->size);
    json_decref(file->header);
    free(file->list);
    free(file->path);
    free(file);
}

/* Find things in a safetensors file */
const struct tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (strcmp(file->list[i].name, name) == 0)
            return &file->list[i];
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return json_string_value(
        json_object_get(json_object_get(file->header, "__metadata__"), key));
}

/* Take numbers out of a safetensors file */
/* Turn halves into floats */
static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_of_half(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    float value = float_of_bits(bits) * 0x1p112f;
    if (value >= 0x1p16f)
        value = float_of_bits(bits | 0x7f800000);
    return half & 0x8000 ? -value : value;
}

/* Copy a tensor's numbers out */
void safetensors_floats(const struct safetensors *file, const struct tensor *tensor,
                        float *values)
{
    bool half = strcmp(tensor->type, "F16") == 0;
    if (strcmp(tensor->type, "F32") == 0) {
        if (tensor->bytes)
            memcpy(values, tensor->data, tensor->bytes);
    } else if (half || strcmp(tensor->type, "BF16") == 0) {
        /* Copy halves, each as a float */
        for (size_t i = 0; i < tensor->count; i++) {
            uint16_t bits;
            memcpy(&bits, (const char *)tensor->data + 2 * i, sizeof bits);
            values[i] = half ? float_of_half(bits)
                             : float_of_bits((uint32_t)bits << 16);
        }
    } else {
        fail(file->path, "tensor \"%s\" has type %s; expected F32, F16 or BF16",
             tensor->name, tensor->type);
    }
}

void safetensors_integers(const struct safetensors *file, const struct tensor *tensor,
                          int *values)
{
    bool small = strcmp(tensor->type, "I32") == 0;
    if (!small && strcmp(tensor->type, "I64") != 0)
        fail(file->path, "tensor \"%s\" has type %s; expected I32 or I64", tensor->name,
             tensor->type);
    for (size_t i = 0; i < tensor->count; i++) {
        /* Copy a whole number */
        int64_t number = 0;
        int32_t word;
        if (small) {
            memcpy(&word, (const char *)tensor->data + 4 * i, sizeof word);
            number = word;
        } else {
            memcpy(&number, (const char *)tensor->data + 8 * i, sizeof number);
        }
        if (number < INT_MIN || number > INT_MAX)
            fail(file->path, "tensor \"%s\" holds %" PRId64 "; an int cannot",
                 tensor->name, number);
        values[i] = (int)number;
    }
}

/* Write a safetensors file */
/* Collect the tensors of a new file */
struct safetensors_writer {
    char *path;
    json_t *header, *metadata;     /* the header owns the metadata */
    struct tensor *list;
    int count, room;
};

struct safetensors_writer *safetensors_create(const char *path)
{
    struct safetensors_writer *writer = allocate(1, sizeof *writer);
    writer->path = text_format("%s", path);
    writer->header = json_object();
    writer->metadata = json_object();
    json_object_set_new(writer->header, "__metadata__", writer->metadata);
    char *zeros = text_format("%0*d", SUM_DIGITS, 0);
    safetensors_note(writer, SUM_KEY, zeros);
    free(zeros);
    safetensors_note(writer, "format", "pt");
    return writer;
}

void safetensors_note(struct safetensors_writer *writer, const char *key,
                      const char *text)
{
    if (json_object_set_new(writer->metadata, key, json_string(text)) != 0)
        fail(writer->path, "metadata \"%s\" is not UTF-8, or memory is out", key);
}

void safetensors_add(struct safetensors_writer *writer, const char *name,
                     const char *type, int rank, const size_t *shape, const void *data)
{
    int number = find_type(type);
    if (number < 0 || rank > TENSOR_RANK || json_object_get(writer->header, name))
        fail(writer->path, "cannot take tensor \"%s\", a new %s of %d dimensions", name,
             type, rank);
    /* Make room for one more tensor */
    if (writer->count == writer->room) {
        writer->room = writer->room ? 2 * writer->room : 64;
        size_t bytes = (size_t)writer->room * sizeof *writer->list;
        writer->list = realloc(writer->list, bytes);
        if (!writer->list)
            fail(writer->path, "out of memory at %d tensors", writer->count);
    }
    struct tensor t = {
        .type = types[number].name, .rank = rank, .count = 1, .data = data};
    /* Measure the tensor along its dimensions */
    json_t *dimensions = json_array();
    for (int i = 0; i < rank; i++) {
        t.shape[i] = shape[i];
        t.count *= shape[i];
        json_array_append_new(dimensions, json_integer((json_int_t)shape[i]));
    }
    t.bytes = t.count * types[number].size;
    /* Enter the tensor into the header */
    json_t *entry = json_pack("{s:s, s:o, s:[i, i]}", "dtype", t.type,
                              "shape", dimensions, "data_offsets", 0, 0);
    if (!entry || json_object_set_new(writer->header, name, entry) != 0)
        fail(writer->path, "tensor name \"%s\" is not UTF-8, or memory is out", name);
    t.name = json_object_iter_key(json_object_iter_at(writer->header, name));
    writer->list[writer->count++] = t;
}

/* Write the collected tensors */
static void sort_by_size(struct safetensors_writer *writer)
{
    struct tensor *sorted = allocate((size_t)writer->count, sizeof *sorted);
    int count = 0;
    for (size_t size = 8; size > 0; size /= 2)
        for (int i = 0; i < writer->count; i++)
            if (types[find_type(writer->list[i].type)].size == size)
                sorted[count++] = writer->list[i];
    free(writer->list);
    writer->list = sorted;
}

void safetensors_commit(struct safetensors_writer *writer)
{
    sort_by_size(writer);
    /* Enter the tensors' offsets into the header */
    size_t end = 0;
    for (int i = 0; i < writer->count; i++) {
        const struct tensor *t = &writer->list[i];
        json_t *entry = json_object_get(writer->header, t->name);
        json_t *offsets = json_object_get(entry, "data_offsets");
        json_integer_set(json_array_get(offsets, 0), (json_int_t)end);
        end += t->bytes;
        json_integer_set(json_array_get(offsets, 1), (json_int_t)end);
    }
    /* Lay out the start of the file */
    char *header = json_dumps(writer->header, JSON_COMPACT);
    if (!header)
        fail(writer->path, "out of memory for the header");
    uint64_t padded = (strlen(header) + 7) / 8 * 8;
    char *start = text_format("%8s%-*s", "", (int)padded, header);
    memcpy(start, &padded, sizeof padded);
    /* Put the sum in its place */
    struct summing *summing = begin_sum(start);
    size_t after = SUM_AT + SUM_DIGITS;
    sum_add(summing, start + after, 8 + padded - after);
    for (int i = 0; i < writer->count; i++)
        sum_add(summing, writer->list[i].data, writer->list[i].bytes);
    memcpy(start + SUM_AT, sum_end(summing).digits, SUM_DIGITS);
    struct file_writer *file = file_create(writer->path);
    fwrite(start, 1, 8 + padded, file_stream(file));
    for (int i = 0; i < writer->count; i++)
        if (writer->list[i].bytes)
            fwrite(writer->list[i].data, 1, writer->list[i].bytes, file_stream(file));
    file_commit(file);
    /* Free the writer */
    free(start);
    free(header);
    json_decref(writer->header);
    free(writer->list);
    free(writer->path);
    free(writer);
}
