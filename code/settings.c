/* Tangled from chapters/14-settings.md; edit there. */
#include "settings.h"
#include "fail.h"
#include "file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct setting {
    char *section, *key, *value;
    int line;   /* 0: from the command line */
    bool asked; /* some stage knows this key */
    bool used;  /* and took this value, not a more special one */
};

struct settings {
    char *path;
    struct setting *list;
    int count;
    char **sections; /* all, those too that set nothing */
    int section_count;
};

/* Find a setting by section and key */
static struct setting *find(const struct settings *settings, const char *section,
                            size_t length, const char *key)
{
    for (int i = 0; i < settings->count; i++) {
        struct setting *s = &settings->list[i];
        if (strlen(s->section) == length && !strncmp(s->section, section, length)
            && !strcmp(s->key, key))
            return s;
    }
    return NULL;
}

/* Add a setting */
static void refuse_negative(const struct settings *settings, const char *section,
                            const char *key, const char *value, int line)
{
    char *end, *where = text_format(line ? "%s:%d" : "%s", settings->path, line);
    if (strtod(value, &end) < 0 && !*end)
        fail(where, "[%s] %s: expected nothing below 0, found \"%s\"", section, key,
             value);
    free(where);
}
static void add(struct settings *settings, const char *section, const char *key,
                const char *value, int line)
{
    refuse_negative(settings, section, key, value, line);
    size_t room = (size_t)(settings->count + 1) * sizeof *settings->list;
    struct setting *list = realloc(settings->list, room);
    if (!list)
        fail(settings->path, "is too large for memory");
    settings->list = list;
    list[settings->count++] = (struct setting){
        .section = text_format("%s", section),
        .key = text_format("%s", key),
        .value = text_format("%s", value),
        .line = line,
    };
}

static void add_section(struct settings *settings, const char *section)
{
    size_t room = (size_t)(settings->section_count + 1) * sizeof *settings->sections;
    char **sections = realloc(settings->sections, room);
    if (!sections)
        fail(settings->path, "is too large for memory");
    settings->sections = sections;
    sections[settings->section_count++] = text_format("%s", section);
}

/* Read the lines of a profile */
static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    char *end = text + strlen(text);
    while (end > text && strchr(" \t\r", end[-1]))
        end--;
    *end = '\0';
    return text;
}

struct settings *settings_open(const char *path)
{
    struct settings *settings = allocate(1, sizeof *settings);
    settings->path = text_format("%s", path);
    char *bytes = file_text(path, NULL), *rest = bytes, *section = "";
    bool assigned = false; /* a value stands above, in this section */
    for (int line = 1; rest; line++) {
        char *text = rest, *where = text_format("%s:%d", path, line);
        if ((rest = strchr(text, '\n')))
            *rest++ = '\0';
        text[strcspn(text, "#")] = '\0';
        bool indented = *text == ' ';
        text = trim(text);
        char *equals = strchr(text, '='), *end = text + strlen(text);
        if (*text == '[' && end[-1] == ']') {
            end[-1] = '\0';
            section = text + 1;
            add_section(settings, section);
            assigned = false;
        } else if (*text && indented && !equals && assigned) {
            /* Go on with the value above this line */
            struct setting *above = &settings->list[settings->count - 1];
            char *longer = text_format("%s %s", above->value, text);
            free(above->value);
            above->value = longer;
        } else if (*text) {
            /* Add the assignment on this line */
            if (!equals)
                fail(where, "expected \"key = value\" or \"[section]\", found \"%s\"", text);
            *equals = '\0';
            char *key = trim(text), *value = trim(equals + 1);
            if (!*section)
                fail(where, "\"%s\" stands before the first [section]", key);
            if (find(settings, section, strlen(section), key))
                fail(where, "\"%s\" is given twice in [%s]", key, section);
            add(settings, section, key, value, line);
            assigned = true;
        }
        free(where);
    }
    free(bytes);
    return settings;
}

void settings_close(struct settings *settings)
{
    for (int i = 0; i < settings->count; i++) {
        free(settings->list[i].section);
        free(settings->list[i].key);
        free(settings->list[i].value);
    }
    for (int i = 0; i < settings->section_count; i++)
        free(settings->sections[i]);
    free(settings->sections);
    free(settings->list);
    free(settings->path);
    free(settings);
}

/* Override a setting */
void settings_override(struct settings *settings, const char *name, const char *value)
{
    if (value[strcspn(value, "#\n")])
        fail(name, "expected a value as in a profile, on one line and without #, found "
             "\"%s\"", value);
    const char *dot = strchr(name, '.');
    size_t length = dot ? (size_t)(dot - name) : 0;
    struct setting *old = dot ? find(settings, name, length, dot + 1) : NULL;
    char *own = text_format("%s", value);
    bool found = old;
    if (old) {
        refuse_negative(settings, old->section, old->key, trim(own), 0);
        free(old->value);
        old->value = text_format("%s", trim(own));
    }
    for (int i = 0; dot && !found && i < settings->section_count; i++)
        if (strlen(settings->sections[i]) == length
            && !strncmp(settings->sections[i], name, length)) {
            add(settings, settings->sections[i], dot + 1, trim(own), 0);
            found = true;
        }
    free(own);
    if (!found)
        fail(settings->path, "has no section for the setting \"%s\"", name);
}

/* Look a key up in several sections */
static struct setting *look_up(struct settings *settings, const char *sections,
                               const char *key)
{
    struct setting *winner = NULL;
    for (const char *s = sections; *s; s += strspn(s, " ")) {
        size_t length = strcspn(s, " ");
        struct setting *found = find(settings, s, length, key);
        if (found)
            found->asked = true;
        if (!winner)
            winner = found;
        s += length;
    }
    if (winner) {
        winner->used = true;
        return winner;
    }
    fail(settings->path, "the setting \"%s\" is missing; it belongs to [%s]", key,
         strrchr(sections, ' ') ? strrchr(sections, ' ') + 1 : sections);
}

const char *settings_text(struct settings *settings, const char *sections,
                          const char *key)
{
    return look_up(settings, sections, key)->value;
}

/* Read a setting as a number, a choice or a list */
static void refuse(const struct settings *settings, const struct setting *s,
                   const char *wanted)
{
    fail(settings->path, "[%s] %s: expected %s, found \"%s\"", s->section, s->key,
         wanted, s->value);
}

double settings_number(struct settings *settings, const char *sections, const char *key)
{
    struct setting *s = look_up(settings, sections, key);
    char *end;
    double value = strtod(s->value, &end);
    if (end == s->value || *end || !isfinite(value))
        refuse(settings, s, "a number");
    return value;
}

long settings_count(struct settings *settings, const char *sections, const char *key)
{
    struct setting *s = look_up(settings, sections, key);
    char *end;
    errno = 0;
    long value = strtol(s->value, &end, 10);
    if (end == s->value || *end || value < 0 || errno)
        refuse(settings, s, "a whole number, 0 or more");
    return value;
}

int settings_choice(struct settings *settings, const char *sections, const char *key,
                    const char *choices)
{
    struct setting *s = look_up(settings, sections, key);
    int place = 0;
    for (const char *c = choices; *c; c += strspn(c, " "), place++) {
        size_t length = strcspn(c, " ");
        if (strlen(s->value) == length && !strncmp(s->value, c, length))
            return place;
        c += length;
    }
    char *wanted = text_format("one of \"%s\"", choices);
    refuse(settings, s, wanted);
    return -1;
}

int settings_list(struct settings *settings, const char *sections, const char *key,
                  int *list, int room)
{
    struct setting *s = look_up(settings, sections, key);
    int count = 0;
    for (char *text = s->value, *end; *text; text = end + strspn(end, " "), count++) {
        long value = strtol(text, &end, 10);
        if (end == text || (*end && *end != ' ') || value < 0 || value > 1000000
            || count == room)
            refuse(settings, s, "whole numbers separated by spaces");
        list[count] = (int)value;
    }
    return count;
}

bool settings_lists(struct settings *settings, const char *sections, const char *key,
                    const char *name, size_t length)
{
    const char *list = settings_text(settings, sections, key);
    for (; *list; list += strspn(list, " ")) {
        size_t word = strcspn(list, " ");
        if (word == length && !strncmp(list, name, word))
            return true;
        list += word;
    }
    return false;
}

/* Refuse settings that nobody asked for */
__attribute__((noreturn)) static void refuse_unknown(const struct settings *settings,
                                                     const struct setting *s)
{
    char *where = text_format(s->line ? "%s:%d" : "%s", settings->path, s->line);
    fail(where, "the setting \"%s\" of [%s] is not known", s->key, s->section);
}

void settings_finish(struct settings *settings, const char *sections)
{
    for (int i = 0; i < settings->count; i++) {
        struct setting *s = &settings->list[i];
        for (const char *name = sections; *name && !s->asked;
             name += strspn(name, " ")) {
            size_t length = strcspn(name, " ");
            if (strlen(s->section) == length && !strncmp(s->section, name, length))
                refuse_unknown(settings, s);
            name += length;
        }
    }
}

void settings_limit(struct settings *settings,
                    const char *(*keys_of)(const char *section))
{
    for (int i = 0; i < settings->count; i++) {
        struct setting *s = &settings->list[i];
        const char *keys = keys_of(s->section);
        if (!keys)
            fail(settings->path, "[%s] is no section that any stage reads", s->section);
        size_t length = strlen(s->key);
        const char *at = strstr(keys, s->key);
        while (at
               && ((at > keys && at[-1] != ' ') || (at[length] && at[length] != ' ')))
            at = strstr(at + 1, s->key);
        if (!at)
            refuse_unknown(settings, s);
    }
}

/* Give the settings that were asked for */
json_t *settings_json(const struct settings *settings)
{
    json_t *object = json_object();
    for (int i = 0; i < settings->count; i++) {
        struct setting *s = &settings->list[i];
        char *name = text_format("%s.%s", s->section, s->key);
        if (s->used)
            json_object_set_new(object, name, json_string(s->value));
        free(name);
    }
    return object;
}

void settings_write(const struct settings *settings, const char *path)
{
    struct file_writer *writer = file_create(path);
    FILE *stream = file_stream(writer);
    fprintf(stream, "# The settings of this run, with what overrode its profile.\n");
    for (int i = 0; i < settings->section_count; i++) {
        const char *section = settings->sections[i];
        fprintf(stream, "\n[%s]\n", section);
        for (int j = 0; j < settings->count; j++)
            if (!strcmp(settings->list[j].section, section))
                fprintf(stream, "%s = %s\n", settings->list[j].key,
                        settings->list[j].value);
    }
    file_commit(writer);
}
