/* Tangled from chapters/44-settings.md; edit there. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stdio.h>

/* Say what a setting is */
/* The settings of a run: a profile, what it is based on, and what the command line
   overrides. */
struct settings;

/* One of them. */
struct setting {
    const char *section, *key, *value;
    const char *path; /* of the file that it is from; NULL: the command line */
    int line;
};

/* State how settings come about */
/* settings_open: reads a profile and the file that its first line "base = FILE" names.
   Fails, naming file and line, on a line that is neither a section, a comment nor "key
   = value", on a key that is given twice, and on a negative number. The caller closes
   it. */
struct settings *settings_open(const char *path);
void settings_close(struct settings *settings);

/* settings_override: gives "section.key" another value; the section must be there. */
void settings_override(struct settings *settings, const char *name, const char *value);

/* State how a setting is found */
/* settings_find: the setting in the first of the space-separated sections that has the
   key; NULL if none has. Owned by settings. */
const struct setting *settings_find(const struct settings *settings,
                                    const char *sections, const char *key);

/* State as what a setting can be read */
/* The value of such a setting. Each fails, naming the profile, if no section has it or
   if it is not of the kind asked for. Text is owned by settings. */
const char *settings_text(const struct settings *settings, const char *sections,
                          const char *key);
double settings_number(const struct settings *settings, const char *sections,
                       const char *key);
long settings_count(const struct settings *settings, const char *sections,
                    const char *key);

/* settings_choice: the place, from 0, of the value among the space-separated
   choices. */
int settings_choice(const struct settings *settings, const char *sections,
                    const char *key, const char *choices);

/* settings_list: reads whole numbers separated by spaces into list; returns how many,
   at most room. */
int settings_list(const struct settings *settings, const char *sections,
                  const char *key, int *list, int room);

/* State how all settings are gone through */
/* settings_section: the name of section number i, from 0, in the order of the files;
   NULL behind the last. settings_setting: the same of the settings. */
const char *settings_section(const struct settings *settings, int i);
const struct setting *settings_setting(const struct settings *settings, int i);

/* settings_path: the profile's own. settings_where: "FILE:LINE" of a setting, or how it
   was overridden; the caller frees it. */
const char *settings_path(const struct settings *settings);
char *settings_where(const struct setting *setting);

/* State how settings are printed */
/* settings_print: writes all settings as one profile that stands on no other; sources:
   each with the place that it is from. settings_write: the same into a file, whole or
   not at all, without the places. */
void settings_print(const struct settings *settings, FILE *stream, bool sources);
void settings_write(const struct settings *settings, const char *path);

#endif
