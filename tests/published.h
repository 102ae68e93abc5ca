/* What others have published, as the report quotes it. Include after cmocka.h and catch.h. */
#ifndef PUBLISHED_H
#define PUBLISHED_H

#include "fail.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* published_text: the text at a path of chapters/published.json, "course.cola.teacher" say; the caller frees it. */
static inline char *published_text(const char *path)
{
    json_t *object = json_load_file("chapters/published.json", 0, NULL), *at = object;
    assert_non_null(object);
    char *copy = text_format("%s", path);
    for (char *part = strtok(copy, "."); part; part = strtok(NULL, "."))
        at = json_object_get(at, part);
    if (!json_is_string(at))
        fail_msg("chapters/published.json has no text at %s", path);
    char *text = text_format("%s", json_string_value(at));
    free(copy);
    json_decref(object);
    return text;
}

#endif
