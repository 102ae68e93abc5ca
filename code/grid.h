/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef GRID_H
#define GRID_H

#include <stdbool.h>

/* A tab-separated file: a header line, then rows. */
struct grid {
    const char *path;
    int rows, columns;   /* without the header; 0 columns of an empty file */
    const char *cells[]; /* [rows + 1][columns], the header first; the text is behind
                            them */
};

/* grid_read: reads a file, for the caller to free. grid_column: the number of the
   column of that name; fails without it or with two of it. grid_has: whether there is
   one. grid_text, grid_number: a cell; row counts from 0. grid_mean: the mean of rows
   first .. end - 1 of the column of that name. They fail, naming path and line, if a
   row has not as many cells as the header, or a number is not finite. */
struct grid *grid_read(const char *path);
int grid_column(const struct grid *grid, const char *name);
bool grid_has(const struct grid *grid, const char *name);
const char *grid_text(const struct grid *grid, int row, int column);
double grid_number(const struct grid *grid, int row, int column);
double grid_mean(const struct grid *grid, const char *name, int first, int end);

#endif
