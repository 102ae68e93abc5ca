/* Tangled from chapters/23-foreign.md; edit there. */
#include "foreign.h"
#include "fail.h"
#include "file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Know what stands in a file's place */
const char *foreign_fault(const char *bytes, size_t size)
{
    /* List what may stand in a file's place */
    static const struct {
        const char *start, *fault;
    } known[] = {
        {"version https://git-lfs.github.com/spec/",
         "is a Git LFS pointer, not the file itself; git lfs pull gets it"},
        {"<!doctype", "is a web page, not the file itself"},
        {"<html", "is a web page, not the file itself"},
        {"PK\003\004", "is a zip archive, perhaps what torch.save wrote, not the file "
                       "itself"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t length = strlen(known[i].start);
        if (size >= length && strncasecmp(bytes, known[i].start, length) == 0)
            return known[i].fault;
    }
    return NULL;
}

/* Read a JSON object from a file */
json_t *foreign_json(const char *path)
{
    size_t size;
    char *text = file_text(path, &size);
    if (foreign_fault(text, size))
        fail(path, "%s", foreign_fault(text, size));
    if (size == 0)
        fail(path, "is empty");
    json_error_t error;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    /* Read it again with real numbers */
    if (!json && json_error_code(&error) == json_error_numeric_overflow)
        json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                          &error);
    free(text);
    if (!json)
        fail(path, "is not JSON: line %d: %s", error.line, error.text);
    if (!json_is_object(json))
        fail(path, "is not a JSON object");
    return json;
}

/* Ask for options */
int foreign_truth(const char *path, const json_t *json, const char *key)
{
    const json_t *flag = json_object_get(json, key);
    if (!flag || json_is_null(flag))
        return UNSTATED;
    if (!json_is_boolean(flag))
        fail(path, "has a \"%s\" that is neither true nor false", key);
    return json_is_true(flag);
}

bool foreign_flag(const char *path, const json_t *json, const char *key,
                  bool otherwise)
{
    int truth = foreign_truth(path, json, key);
    return truth == UNSTATED ? otherwise : truth;
}

const char *foreign_text(const char *path, const json_t *json, const char *key)
{
    const json_t *text = json_object_get(json, key);
    if (text && !json_is_null(text) && !json_is_string(text))
        fail(path, "has a \"%s\" that is no text", key);
    return json_string_value(text);
}

/* Refuse options that are not followed */
void foreign_expect_flag(const char *path, const json_t *json, const char *key,
                         bool only)
{
    if (foreign_flag(path, json, key, only) != only)
        fail(path, "has \"%s\" %s, which is not followed here", key,
             only ? "false" : "true");
}

void foreign_expect_text(const char *path, const json_t *json, const char *key,
                         const char *only)
{
    const char *text = foreign_text(path, json, key);
    if (text && strcmp(text, only) != 0)
        fail(path, "has \"%s\" \"%s\"; only \"%s\" is computed here", key, text, only);
}

void foreign_expect_number(const char *path, const json_t *json, const char *key,
                           int only)
{
    const json_t *number = json_object_get(json, key);
    if (!number || json_is_null(number))
        return;
    if (!json_is_integer(number))
        fail(path, "has a \"%s\" that is no whole number", key);
    if (json_integer_value(number) != only)
        fail(path, "has \"%s\" %lld; only %d is followed here", key,
             (long long)json_integer_value(number), only);
}

void foreign_empty(const char *path, const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    bool empty = !value || json_is_null(value) || json_is_false(value);
    if (json_is_array(value))
        empty = json_array_size(value) == 0;
    if (json_is_object(value))
        empty = json_object_size(value) == 0;
    if (json_is_string(value))
        empty = json_string_length(value) == 0;
    if (!empty)
        fail(path, "has \"%s\", which is not followed here", key);
}
