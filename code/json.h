/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef JSON_H
#define JSON_H

#include <jansson.h>

/* json_read: the JSON object in a file, for the caller to free. Fails, naming it, if
   there is none. */
json_t *json_read(const char *path);

/* json_at: what JSON has at a path, "models/teacher/parameters"; NULL if nothing.
   number_at: the number there, or 0; text_at: the text, or `otherwise`. */
json_t *json_at(const json_t *json, const char *path);
double number_at(const json_t *json, const char *path);
const char *text_at(const json_t *json, const char *path, const char *otherwise);

/* json_others: the objects in FOLDER/NAME/FILE whose KEY has this text, {NAME: object},
   for the caller to free; none if the folder is NULL. */
json_t *json_others(const char *folder, const char *file, const char *key,
                    const char *text);

#endif
