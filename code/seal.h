/* Tangled from chapters/48-stages.md; edit there. */
#ifndef SEAL_H
#define SEAL_H

#include <jansson.h>

/* seal_write: writes the object to path, whole or not at all, with one member more,
   "sum": the SHA-256 of the file as it is with 64 zeros there. */
void seal_write(const char *path, json_t *object);

/* seal_read: the object of such a file, for json_decref; NULL if it cannot be read, is
   no JSON object, or does not have its sum. */
json_t *seal_read(const char *path);

#endif
