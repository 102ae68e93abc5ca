/* Tangled from chapters/64-helpers.md; edit there. */
#include "json.h"
#include "fail.h"
#include "said.h"

#include <glob.h>
#include <string.h>

/* Read JSON */
json_t *json_read(const char *path)
{
    json_error_t error;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object))
        fail(path, "expected a JSON object; line %d: %s", error.line, error.text);
    return object;
}

json_t *json_at(const json_t *json, const char *path)
{
    json_t *at = (json_t *)json;
    for (size_t length; at && *path; path += length + (path[length] == '/')) {
        length = strcspn(path, "/");
        at = json_object_get(at, say("%.*s", (int)length, path));
    }
    return at;
}

double number_at(const json_t *json, const char *path)
{
    return json_number_value(json_at(json, path));
}

const char *text_at(const json_t *json, const char *path, const char *otherwise)
{
    const char *text = json_string_value(json_at(json, path));
    return text ? text : otherwise;
}

json_t *json_others(const char *folder, const char *file, const char *key,
                   const char *text)
{
    json_t *others = json_object();
    glob_t found;
    if (!folder || glob(say("%s/*/%s", folder, file), 0, NULL, &found) != 0)
        return others;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *name = found.gl_pathv[i] + strlen(folder) + 1;
        json_t *object = json_read(found.gl_pathv[i]);
        if (!strcmp(text_at(object, key, ""), text))
            json_object_set(others, say("%.*s", (int)strcspn(name, "/"), name), object);
        json_decref(object);
    }
    globfree(&found);
    return others;
}
