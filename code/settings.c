/* Tangled from chapters/44-settings.md; edit there. */
#include "settings.h"
#include "fail.h"
#include "file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Hold settings in memory */
struct settings {
    char *path;
    struct setting *list; /* owns its texts */
    int count;
    char **sections; /* all, those too that set nothing */
    int section_count;
};

/* Find a setting by section and key */
static bool same(const char *text, const char *word, size_t length)
{
    return strlen(text) == length && !strncmp(text, word, length);
}

static struct setting *find(const struct settings *settings, const char *section,
                            size_t length, const char *key)
{
    for (int i = 0; i < settings->count; i++) {
        struct setting *s = &settings->list[i];
        if (same(s->section, section, length) && !strcmp(s->key, key))
            return s;
    }
    return NULL;
}

/* Refuse a negative number */
char *settings_where(const struct setting *s)
{
    return s->path ? text_format("%s:%d", s->path, s->line)
                   : text_format("--%s.%s", s->section, s->key);
}

static void refuse_negative(const struct setting *s)
{
    char *end, *where = settings_where(s);
    if (strtod(s->value, &end) < 0 && !*end)
        fail(where, "[%s] %s: expected nothing below 0, found \"%s\"", s->section,
             s->key, s->value);
    free(where);
}

/* Add a setting */
/* Takes over the value; path: NULL: the command line's. */
static void set(struct settings *settings, const char *section, const char *key,
                char *value, const char *path, int line)
{
    refuse_negative(&(struct setting){section, key, value, path, line});
    struct setting *s = find(settings, section, strlen(section), key);
    if (!s) {
        /* Append a setting without a value */
        size_t room = (size_t)(settings->count + 1) * sizeof *settings->list;
        settings->list = realloc(settings->list, room);
        if (!settings->list)
            fail(settings->path, "is too large for memory");
        s = &settings->list[settings->count++];
        *s = (struct setting){.section = text_format("%s", section),
                              .key = text_format("%s", key)};
    }
    free((char *)s->value);
    free((char *)s->path);
    s->value = value;
    s->path = path ? text_format("%s", path) : NULL;
    s->line = line;
}

/* Add a section */
static void add_section(struct settings *settings, const char *section)
{
    for (int i = 0; i < settings->section_count; i++)
        if (!strcmp(settings->sections[i], section))
            return;
    /* Append the section */
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

struct reader {
    struct settings *settings;
    const char *path; /* of the file */
    int line, depth;  /* depth: how many files are based on this one */
    char *section;    /* "": none yet */
    int above;        /* the setting on the line above, or −1 */
};

static void read_file(struct settings *settings, const char *path, int depth);

/* Read one line of a profile */
static void assign(struct reader *reader, char *text, char *equals);

static void read_line(struct reader *reader, char *text)
{
    text[strcspn(text, "#")] = '\0';
    bool indented = *text == ' ';
    text = trim(text);
    char *equals = strchr(text, '='), *end = text + strlen(text);
    if (*text == '[' && end[-1] == ']') {
        /* Enter the section of a heading */
        end[-1] = '\0';
        reader->section = text + 1;
        add_section(reader->settings, reader->section);
        reader->above = -1;
    } else if (*text && indented && !equals && reader->above >= 0) {
        /* Go on with the value above this line */
        struct setting *above = &reader->settings->list[reader->above];
        char *longer = text_format("%s %s", above->value, text);
        free((char *)above->value);
        above->value = longer;
    } else if (*text) {
        assign(reader, text, equals);
    }
}

static void assign(struct reader *reader, char *text, char *equals)
{
    struct settings *settings = reader->settings;
    char *where = text_format("%s:%d", reader->path, reader->line);
    if (!equals)
        fail(where, "expected \"key = value\" or \"[section]\", found \"%s\"", text);
    *equals = '\0';
    char *key = trim(text), *value = trim(equals + 1), *section = reader->section;
    /* Read the file that this one is based on */
    if (!*section && !strcmp(key, "base")) {
        enum { DEEPEST = 8 };
        if (reader->depth == DEEPEST)
            fail(where, "is based on too many files; is one of them based on itself?");
        if (settings->count)
            fail(where, "expected base in front of all else");
        read_file(settings, value, reader->depth + 1);
        free(where);
        return;
    }
    if (!*section)
        fail(where, "\"%s\" stands before the first [section]", key);
    /* Set the key of this line */
    struct setting *old = find(settings, section, strlen(section), key);
    if (old && old->path && !strcmp(old->path, reader->path))
        fail(where, "\"%s\" is given twice in [%s]", key, section);
    set(settings, section, key, text_format("%s", value), reader->path, reader->line);
    reader->above = (int)(find(settings, section, strlen(section), key)
                          - settings->list);
    free(where);
}

static void read_file(struct settings *settings, const char *path, int depth)
{
    struct reader reader = {settings, path, 0, depth, "", -1};
    char *bytes = file_text(path, NULL);
    for (char *text = bytes, *next; text; text = next) {
        if ((next = strchr(text, '\n')))
            *next++ = '\0';
        reader.line++;
        read_line(&reader, text);
    }
    free(bytes);
}

struct settings *settings_open(const char *path)
{
    struct settings *settings = allocate(1, sizeof *settings);
    settings->path = text_format("%s", path);
    read_file(settings, path, 0);
    return settings;
}

/* Close the settings */
void settings_close(struct settings *settings)
{
    for (int i = 0; i < settings->count; i++) {
        free((char *)settings->list[i].section);
        free((char *)settings->list[i].key);
        free((char *)settings->list[i].value);
        free((char *)settings->list[i].path);
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
    /* Refuse a value that no profile can hold */
    if (value[strcspn(value, "#\n")])
        fail(name, "expected a value as in a profile, on one line and without #, found "
             "\"%s\"", value);
    const char *dot = strchr(name, '.');
    for (int i = 0; dot && i < settings->section_count; i++)
        if (same(settings->sections[i], name, (size_t)(dot - name))) {
            char *own = text_format("%s", value), *bare = text_format("%s", trim(own));
            free(own);
            set(settings, settings->sections[i], dot + 1, bare, NULL, 0);
            return;
        }
    fail(settings->path, "has no section for the setting \"%s\"", name);
}

/* Look a key up in several sections */
const struct setting *settings_find(const struct settings *settings,
                                    const char *sections, const char *key)
{
    for (const char *s = sections; *s; s += strspn(s, " ")) {
        size_t length = strcspn(s, " ");
        struct setting *found = find(settings, s, length, key);
        if (found)
            return found;
        s += length;
    }
    return NULL;
}

static const struct setting *look_up(const struct settings *settings,
                                     const char *sections, const char *key)
{
    const struct setting *found = settings_find(settings, sections, key);
    const char *last = strrchr(sections, ' ');
    if (!found)
        fail(settings->path, "the setting \"%s\" is missing; it belongs to [%s]", key,
             last ? last + 1 : sections);
    return found;
}

const char *settings_text(const struct settings *settings, const char *sections,
                          const char *key)
{
    return look_up(settings, sections, key)->value;
}

/* Read a setting as a number, a choice or a list */
static void refuse(const struct setting *s, const char *wanted)
{
    char *where = settings_where(s);
    fail(where, "[%s] %s: expected %s, found \"%s\"", s->section, s->key, wanted,
         s->value);
}

double settings_number(const struct settings *settings, const char *sections,
                       const char *key)
{
    const struct setting *s = look_up(settings, sections, key);
    char *end;
    double value = strtod(s->value, &end);
    if (end == s->value || *end || !isfinite(value))
        refuse(s, "a number");
    return value;
}

long settings_count(const struct settings *settings, const char *sections,
                    const char *key)
{
    const struct setting *s = look_up(settings, sections, key);
    char *end;
    errno = 0;
    long value = strtol(s->value, &end, 10);
    if (end == s->value || *end || value < 0 || errno)
        refuse(s, "a whole number, 0 or more");
    return value;
}

int settings_choice(const struct settings *settings, const char *sections,
                    const char *key, const char *choices)
{
    const struct setting *s = look_up(settings, sections, key);
    int place = 0;
    for (const char *c = choices; *c; c += strspn(c, " "), place++) {
        size_t length = strcspn(c, " ");
        if (same(s->value, c, length))
            return place;
        c += length;
    }
    char *wanted = text_format("one of \"%s\"", choices);
    refuse(s, wanted);
    return -1;
}

int settings_list(const struct settings *settings, const char *sections,
                  const char *key, int *list, int room)
{
    const struct setting *s = look_up(settings, sections, key);
    int count = 0;
    char *end;
    for (const char *text = s->value; *text; text = end + strspn(end, " "), count++) {
        /* Read one number of the list */
        long value = strtol(text, &end, 10);
        if (end == text || (*end && *end != ' ') || value < 0 || value > 1000000
            || count == room)
            refuse(s, "whole numbers separated by spaces");
        list[count] = (int)value;
    }
    return count;
}

/* Go through all settings */
const char *settings_section(const struct settings *settings, int i)
{
    return i < settings->section_count ? settings->sections[i] : NULL;
}

const struct setting *settings_setting(const struct settings *settings, int i)
{
    return i < settings->count ? &settings->list[i] : NULL;
}

const char *settings_path(const struct settings *settings)
{
    return settings->path;
}

static void print_setting(const struct setting *s, FILE *stream, bool sources)
{
    char *where = settings_where(s), *line = text_format("%s = %s", s->key, s->value);
    if (sources)
        fprintf(stream, "%-39s # %s\n", line, where);
    else
        fprintf(stream, "%s\n", line);
    free(line);
    free(where);
}

void settings_print(const struct settings *settings, FILE *stream, bool sources)
{
    for (int i = 0; i < settings->section_count; i++) {
        fprintf(stream, "%s[%s]\n", i ? "\n" : "", settings->sections[i]);
        for (int j = 0; j < settings->count; j++)
            if (!strcmp(settings->list[j].section, settings->sections[i]))
                print_setting(&settings->list[j], stream, sources);
    }
}

void settings_write(const struct settings *settings, const char *path)
{
    struct file_writer *writer = file_create(path);
    fprintf(file_stream(writer),
            "# The settings of this run, with what overrode its profile.\n\n");
    settings_print(settings, file_stream(writer), false);
    file_commit(writer);
}
