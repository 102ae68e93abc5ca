/* Tangled from chapters/31-safetensors.md; edit there. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>

enum { TENSOR_RANK = 8, FAULT_ROOM = 256 }; /* most dimensions; letters of a fault */

/* State what a safetensors file holds */
struct tensor {
    const char *name;
    const char *type;             /* "F32", "F16", "BF16", "I32", "I64", ... */
    int rank;                     /* number of dimensions; a scalar has none */
    size_t shape[TENSOR_RANK];
    size_t count;                 /* elements: the product of the shape */
    size_t bytes;                 /* count times the size of the type */
    const void *data;             /* row-major, little-endian, not always aligned */
};

/* A file that is open for reading. All that hangs on it belongs to it. */
struct safetensors {
    char *path;
    struct tensor *list;          /* in the order of their data */
    int count;
    /* Keep what a reader of safetensors needs */
    void *map;                    /* the whole file */
    size_t size;                  /* its length in bytes */
    struct json_t *header;        /* owns the names */
    bool summed;                  /* it carries a sum, and has it */
    char fault[FAULT_ROOM];       /* why the file was refused */
};

/* State how a safetensors file is read */
/* safetensors_open: maps a file and checks it. Fails, naming path and fault, unless the
   header is at most 100 MB of UTF-8 JSON without duplicate keys, each tensor's shape
   and type give its size without overflow, and the tensors cover the data without
   overlap, gap or rest, and unless a file that carries a sum has it. */
struct safetensors *safetensors_open(const char *path);

/* safetensors_try: the same, but returns NULL instead of failing, with the fault in
   *fault, for the caller to free. */
struct safetensors *safetensors_try(const char *path, char **fault);

/* safetensors_close: unmaps the file; its tensors are gone. */
void safetensors_close(struct safetensors *file);

/* safetensors_find: the tensor of that name, NULL if there is none. */
const struct tensor *safetensors_find(const struct safetensors *file, const char *name);

/* safetensors_metadata: a text of the header's "__metadata__"; NULL if it has none. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* safetensors_floats: copies the numbers of an F32, F16 or BF16 tensor to
   values[count], each exactly. Fails for other types. */
void safetensors_floats(const struct safetensors *file, const struct tensor *tensor,
                        float *values);

/* safetensors_integers: copies the numbers of an I32 or I64 tensor to values[count].
   Fails for other types, and for numbers that an int cannot hold. */
void safetensors_integers(const struct safetensors *file, const struct tensor *tensor,
                          int *values);

/* State how a safetensors file is written */
struct safetensors_writer;

/* safetensors_create: starts a file that shall become path, with its sum, and with the
   metadata "format": "pt" that transformers asks for. */
struct safetensors_writer *safetensors_create(const char *path);

/* safetensors_add: adds a tensor of this type ("F32", "I64", ...) and shape[rank]. The
   data, row-major, stay the caller's and must live until the commit. Names differ. */
void safetensors_add(struct safetensors_writer *writer, const char *name,
                     const char *type, int rank, const size_t *shape, const void *data);

/* safetensors_note: adds a text to the metadata. */
void safetensors_note(struct safetensors_writer *writer, const char *key,
                      const char *text);

/* safetensors_commit: writes the file whole or not at all (file_commit), and frees the
   writer. */
void safetensors_commit(struct safetensors_writer *writer);

#endif
