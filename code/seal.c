/* Tangled from chapters/48-stages.md; edit there. */
#include "seal.h"
#include "fail.h"
#include "file.h"
#include "sum.h"

#include <stdlib.h>
#include <string.h>

/* Take the sum out of a sealed text */
/* Copies the sum of a sealed text to *sum, puts zeros in its place and returns the
   place; NULL if the text has none. */
static char *take_sum(char *text, struct sum *sum)
{
    static const char mark[] = "\n  \"sum\": \"";
    char *place = strstr(text, mark);
    if (!place || strlen(place) < sizeof mark - 1 + SUM_DIGITS)
        return NULL;
    place += sizeof mark - 1;
    snprintf(sum->digits, sizeof sum->digits, "%s", place);
    memset(place, '0', SUM_DIGITS);
    return place;
}

/* Seal an object */
void seal_write(const char *path, json_t *object)
{
    struct sum sum;
    char *zeros = text_format("%0*d", SUM_DIGITS, 0);
    json_object_set_new(object, "sum", json_string(zeros));
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS);
    char *line = text ? text_format("%s\n", text) : NULL;
    char *place = line ? take_sum(line, &sum) : NULL;
    if (!place)
        fail(path, "cannot be put into words: out of memory");
    memcpy(place, sum_bytes(line, strlen(line)).digits, SUM_DIGITS);
    struct file_writer *writer = file_create(path);
    fputs(line, file_stream(writer));
    file_commit(writer);
    free(zeros);
    free(text);
    free(line);
}

/* Open a sealed object */
json_t *seal_read(const char *path)
{
    if (!file_exists(path))
        return NULL;
    size_t size;
    struct sum sum;
    char *text = file_read(path, &size);
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    bool whole = json_is_object(object) && strlen(text) == size && take_sum(text, &sum)
                 && !strcmp(sum.digits, sum_bytes(text, size).digits);
    free(text);
    if (!whole)
        json_decref(object);
    return whole ? object : NULL;
}
