/* Tangled from chapters/64-helpers.md; edit there. */
#include "grid.h"
#include "file.h"
#include "said.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Read a tab-separated file */
struct grid *grid_read(const char *path)
{
    char *text = file_text(path, NULL);
    size_t length = strlen(text) + 1, most = 1;
    for (const char *c = text; *c; c++)
        most += *c == '\t' || *c == '\n';
    struct grid *grid = allocate(1, sizeof *grid + most * sizeof(char *) + length);
    char *at = memcpy((char *)(grid->cells + most), text, length), end;
    free(text);
    grid->path = say("%s", path);
    int line = 0;
    for (int cells = 0, found; *at; line++) {
        for (end = '\t', found = 0; end == '\t'; found++) {
            grid->cells[cells++] = at;
            at += strcspn(at, "\t\n");
            end = *at;
            if (end)
                *at++ = '\0';
        }
        grid->columns = line == 0 ? found : grid->columns;
        if (found != grid->columns)
            fail(path, "line %d: expected %d cells as in the header, found %d",
                 line + 1, grid->columns, found);
    }
    grid->rows = line > 0 ? line - 1 : 0;
    return grid;
}

bool grid_has(const struct grid *grid, const char *name)
{
    int column = 0;
    while (column < grid->columns && strcmp(grid->cells[column], name))
        column++;
    return column < grid->columns;
}

int grid_column(const struct grid *grid, const char *name)
{
    int place = 0, count = 0;
    for (int column = 0; column < grid->columns; column++)
        if (!strcmp(grid->cells[column], name) && ++count)
            place = column;
    if (count != 1)
        fail(grid->path, count ? "line 1: the column \"%s\" is named twice"
                               : "expected a column \"%s\" in the header", name);
    return place;
}

const char *grid_text(const struct grid *grid, int row, int column)
{
    return grid->cells[(row + 1) * grid->columns + column];
}

double grid_number(const struct grid *grid, int row, int column)
{
    const char *text = grid_text(grid, row, column);
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number))
        fail(grid->path, "line %d: expected a finite number, found \"%s\"", row + 2,
             text);
    return number;
}

double grid_mean(const struct grid *grid, const char *name, int first, int end)
{
    double sum = 0;
    for (int row = first; row < end; row++)
        sum += grid_number(grid, row, grid_column(grid, name));
    return sum / (end - first);
}
