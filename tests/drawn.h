/* assert_drawn: whether a line stands in figures/FIGURE.gp, so that a picture shows what the code does. */
#ifndef DRAWN_H
#define DRAWN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void assert_drawn(const char *figure, const char *line)
{
    char path[64], found[256];
    snprintf(path, sizeof path, "figures/%s.gp", figure);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    while (fgets(found, sizeof found, stream)) {
        found[strcspn(found, "\n")] = 0;
        if (strcmp(found, line) == 0) {
            fclose(stream);
            return;
        }
    }
    fclose(stream);
    fail_msg("%s: expected a line \"%s\"", path, line);
}

/* assert_drawn_list: the same of "array NAME = [1, 2, …]", with so many decimals. */
static inline void assert_drawn_list(const char *figure, const char *name, const double *values, int count, int decimals)
{
    char line[256];
    int used = snprintf(line, sizeof line, "array %s = [", name);
    for (int i = 0; i < count; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, "%s%.*f", i ? ", " : "", decimals, values[i]);
    snprintf(line + used, sizeof line - (size_t)used, "]");
    assert_drawn(figure, line);
}

#endif
