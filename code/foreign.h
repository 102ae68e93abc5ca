/* Tangled from chapters/23-foreign.md; edit there. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* JSON files that other tools wrote, and the options in them. In what follows path is
   the file that json is from, or an object within it; it is for the message when the
   function fails. A key that is missing and one that is null are the same. */

/* State how a foreign file is read */
/* foreign_fault: what is wrong with a file that has these bytes, as a message, if it is
   a Git LFS pointer, a web page or a zip archive; else NULL. */
const char *foreign_fault(const char *bytes, size_t size);

/* foreign_json: the JSON object in a file, for json_decref. Fails, naming the file, if
   it cannot be read, something stands in its place, it is no JSON object or has a key
   twice. If a number in it is beyond 64 bits, all its numbers are real. */
json_t *foreign_json(const char *path);

/* State how options are asked for */
enum { UNSTATED = -1 };

/* foreign_truth: 1, 0 or UNSTATED. Fails if the value is no truth value. */
int foreign_truth(const char *path, const json_t *json, const char *key);

/* foreign_flag: the same, with a value for what is not stated. */
bool foreign_flag(const char *path, const json_t *json, const char *key,
                  bool otherwise);

/* foreign_text: the text, which is json's; NULL if not stated. Fails if it is none. */
const char *foreign_text(const char *path, const json_t *json, const char *key);

/* Each of these fails, naming the key, if it states anything else than the one value
   that is followed here: that truth value, text or whole number; for foreign_empty
   nothing, an empty list, an empty object, an empty text or false. */
void foreign_expect_flag(const char *path, const json_t *json, const char *key,
                         bool only);
void foreign_expect_text(const char *path, const json_t *json, const char *key,
                         const char *only);
void foreign_expect_number(const char *path, const json_t *json, const char *key,
                           int only);
void foreign_empty(const char *path, const json_t *json, const char *key);

#endif
