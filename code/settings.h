/* Tangled from chapters/14-settings.md; edit there. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <jansson.h>
#include <stdbool.h>

/* The settings of a run: a profile file and what the command line overrides. */
struct settings;

/* settings_open: reads a profile. Fails, naming file and line, on a line that is
   neither a section, a comment nor "key = value", on a key that is given twice, and on
   a negative number. The caller closes it. */
struct settings *settings_open(const char *path);
void settings_close(struct settings *settings);

/* settings_override: gives "section.key" another value; the section must be in the
   profile. */
void settings_override(struct settings *settings, const char *name, const char *value);

/* The value of key in the first of the space-separated sections that has it. Each
   fails, naming the profile, if no section has it or if it is not of the kind asked
   for. Text is owned by settings. */
const char *settings_text(struct settings *settings, const char *sections,
                          const char *key);
double settings_number(struct settings *settings, const char *sections,
                       const char *key);
long settings_count(struct settings *settings, const char *sections, const char *key);

/* settings_choice: the place, from 0, of the value among the space-separated
   choices. */
int settings_choice(struct settings *settings, const char *sections, const char *key,
                    const char *choices);

/* settings_list: reads whole numbers separated by spaces into list; returns how many,
   at most room. */
int settings_list(struct settings *settings, const char *sections, const char *key,
                  int *list, int room);

/* settings_lists: whether the value, words separated by spaces, has the word of length
   characters that name begins with. */
bool settings_lists(struct settings *settings, const char *sections, const char *key,
                    const char *name, size_t length);

/* settings_finish: a stage has asked for all it knows. Fails, naming file and line, if
   one of its sections holds a key that nobody asked for: a slip of the pen would
   otherwise be ignored. */
void settings_finish(struct settings *settings, const char *sections);

/* settings_limit: fails, naming file and line, on a section that keys_of does not know
   and gives NULL for, and on a key that is not among those that it gives, separated by
   spaces. */
void settings_limit(struct settings *settings,
                    const char *(*keys_of)(const char *section));

/* settings_json: what has been asked for so far, {"section.key": "value"}; the caller
   owns it. */
json_t *settings_json(const struct settings *settings);

/* settings_write: writes all settings, with what overrides them, as a profile of its
   own, whole or not at all. */
void settings_write(const struct settings *settings, const char *path);

#endif
