/* Tangled from chapters/19-products.md; edit there. */
#include "products.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#ifdef __FMA__
#include <immintrin.h>
#endif

/* Fuse a multiplication and an addition in each lane */
#if defined __AVX512F__
enum { VECTOR = 16, TILE_ROWS = 12 };
#elif defined __AVX__
enum { VECTOR = 8, TILE_ROWS = 6 };
#else
enum { VECTOR = 4, TILE_ROWS = 6 };
#endif

typedef float vector
    __attribute__((vector_size(VECTOR * sizeof(float)), aligned(4), may_alias));

/* x y + z in each lane, rounded once */
static inline vector fused(float x, vector y, vector z)
{
#if defined __AVX512F__
    return _mm512_fmadd_ps(_mm512_set1_ps(x), y, z);
#elif defined __FMA__
    return _mm256_fmadd_ps(_mm256_set1_ps(x), y, z);
#else
    for (int i = 0; i < VECTOR; i++)
        z[i] = fmaf(x, y[i], z[i]);
    return z;
#endif
}

/* Take a part of a matrix */
static struct matrix part(struct matrix m, size_t i, size_t j)
{
    return (struct matrix){m.at ? m.at + i * m.down + j * m.right : NULL, m.down,
                           m.right};
}

/* Multiply a tile */
#define UNROLLED _Pragma("GCC unroll 12")

/* c[rows, wide * VECTOR] = s + a b, each with its steps. */
static inline __attribute__((always_inline)) void
multiply_tile(int rows, int wide, struct matrix s, struct matrix a, struct matrix b,
              float *c, size_t stride, int inner)
{
    vector sum[TILE_ROWS][2];
    UNROLLED for (int i = 0; i < rows; i++)
        for (int j = 0; j < wide; j++)
            sum[i][j] = s.at ? *(const vector *)(s.at + i * s.down + j * VECTOR)
                             : (vector){0};
    for (int k = 0; k < inner; k++) {
        vector y[2];
        for (int j = 0; j < wide; j++)
            y[j] = *(const vector *)(b.at + k * b.down + j * VECTOR);
        UNROLLED for (int i = 0; i < rows; i++)
            for (int j = 0; j < wide; j++)
                sum[i][j] = fused(a.at[i * a.down + k * a.right], y[j], sum[i][j]);
    }
    UNROLLED for (int i = 0; i < rows; i++)
        for (int j = 0; j < wide; j++)
            *(vector *)(c + i * stride + j * VECTOR) = sum[i][j];
}

/* Multiply a tile of any size */
static inline __attribute__((always_inline)) void
multiply_rows(int rows, int wide, struct matrix s, struct matrix a, struct matrix b,
              float *c, size_t stride, int inner)
{
    struct matrix lying = {a.at, a.down, 1}, standing = {a.at, 1, a.right};
    if (a.right == 1 && wide == 2)
        multiply_tile(rows, 2, s, lying, b, c, stride, inner);
    else if (a.right == 1)
        multiply_tile(rows, 1, s, lying, b, c, stride, inner);
    else if (wide == 2)
        multiply_tile(rows, 2, s, standing, b, c, stride, inner);
    else
        multiply_tile(rows, 1, s, standing, b, c, stride, inner);
}

/* The same for any number of rows up to TILE_ROWS. */
static void multiply_tiles(int rows, int wide, struct matrix s, struct matrix a,
                           struct matrix b, float *c, size_t stride, int inner)
{
    for (int i = 0, step; i < rows; i += step) {
        struct matrix start = part(s, (size_t)i, 0), rest = part(a, (size_t)i, 0);
        float *to = c + (size_t)i * stride;
        step = rows - i >= TILE_ROWS ? TILE_ROWS : rows - i >= 4 ? 4 : 1;
        if (step == TILE_ROWS)
            multiply_rows(TILE_ROWS, wide, start, rest, b, to, stride, inner);
        else if (step == 4)
            multiply_rows(4, wide, start, rest, b, to, stride, inner);
        else
            multiply_rows(1, wide, start, rest, b, to, stride, inner);
    }
}

/* Turn a panel upright */
enum { PANEL = 2 * VECTOR, SQUARE = 8 };

/* to[SQUARE, PANEL], from (0, j) on = a square of b, of which so many columns exist. */
static inline void turn_square(struct matrix b, int columns, float *restrict to)
{
    float square[SQUARE][SQUARE] = {{0}};
    for (int j = 0; j < (columns < SQUARE ? columns : SQUARE); j++)
        memcpy(square[j], b.at + (size_t)j * b.right, sizeof square[j]);
    for (int k = 0; k < SQUARE; k++)
        for (int j = 0; j < SQUARE; j++)
            to[k * PANEL + j] = square[j][k];
}

/* to[inner, PANEL] = b[inner, columns], columns <= PANEL, and zeros behind them. */
static void turn_panel(struct matrix b, int inner, int columns, float *restrict to)
{
    int whole = b.down == 1 ? inner / SQUARE * SQUARE : 0;
    for (int k = 0; k < whole; k += SQUARE)
        for (int j = 0; j < PANEL; j += SQUARE)
            turn_square((struct matrix){b.at + k + (size_t)j * b.right, 1, b.right},
                        columns - j, to + (size_t)k * PANEL + j);
    for (int k = whole; k < inner; k++)
        for (int j = 0; j < PANEL; j++)
            to[(size_t)k * PANEL + j] =
                j < columns ? b.at[(size_t)k * b.down + (size_t)j * b.right] : 0;
}

/* Multiply a block */
enum { DEPTH = 256, BLOCK_ROWS = 384, BLOCK_COLUMNS = 192 };

/* What a thread copies: panels of B, rows of A, and the tile at C's edge. */
static _Thread_local _Alignas(64) struct {
    float b[DEPTH * BLOCK_COLUMNS], a[DEPTH * TILE_ROWS], edge[TILE_ROWS * PANEL];
} room;

/* Collects a tile's rows of a where that is worth it. */
static struct matrix collect_rows(struct matrix a, int inner, int rows, int columns)
{
    if (a.right == 1 || rows < TILE_ROWS || columns <= PANEL)
        return a;
    for (int k = 0; k < inner; k++)
        memcpy(room.a + k * TILE_ROWS, a.at + (size_t)k * a.right,
               TILE_ROWS * sizeof *room.a);
    return (struct matrix){room.a, 1, TILE_ROWS};
}

/* product() for at most BLOCK_ROWS, DEPTH and BLOCK_COLUMNS. */
static void multiply_block(struct matrix s, struct matrix a, struct matrix b, float *c,
                           size_t stride, int rows, int inner, int columns)
{
    int upright = b.right != 1                ? 0
                  : columns % PANEL == VECTOR ? columns
                                              : columns / PANEL * PANEL;
    for (int j = upright; j < columns; j += PANEL)
        turn_panel(part(b, 0, j), inner, columns - j < PANEL ? columns - j : PANEL,
                   room.b + (size_t)j * DEPTH);
    for (int i = 0; i < rows; i += TILE_ROWS) {
        int high = rows - i < TILE_ROWS ? rows - i : TILE_ROWS;
        struct matrix tall = collect_rows(part(a, i, 0), inner, high, columns);
        for (int j = 0; j < columns; j += PANEL) {
            int width = columns - j < PANEL ? columns - j : PANEL;
            struct matrix panel = {room.b + (size_t)j * DEPTH, PANEL, 1};
            struct matrix start = part(s, (size_t)i, (size_t)j);
            float *to = c + (size_t)i * stride + j;
            if (j < upright)
                panel = part(b, 0, (size_t)j);
            if (width % VECTOR == 0)
                multiply_tiles(high, width / VECTOR, start, tall, panel, to, stride,
                               inner);
            else {
                /* Multiply a tile at the edge */
                struct matrix edge = {start.at ? room.edge : NULL, PANEL, 1};
                for (int y = 0; start.at && y < high; y++)
                    memcpy(room.edge + y * PANEL, start.at + (size_t)y * start.down,
                           (size_t)width * sizeof *to);
                multiply_tiles(high, width > VECTOR ? 2 : 1, edge, tall, panel, room.edge, PANEL,
                               inner);
                for (int y = 0; y < high; y++)
                    memcpy(to + (size_t)y * stride, room.edge + y * PANEL, (size_t)width * sizeof *to);
            }
        }
    }
}

/* Multiply matrices in order */
struct grid {
    struct matrix s, a, b;
    float *c;
    size_t stride;
    int rows, inner, columns, down;
};

/* Multiplies the block of that number, counted down the columns of the grid. */
static void multiply_number(const struct grid *g, int number)
{
    int i = number % g->down * BLOCK_ROWS, j = number / g->down * BLOCK_COLUMNS;
    int high = g->rows - i < BLOCK_ROWS ? g->rows - i : BLOCK_ROWS;
    int width = g->columns - j < BLOCK_COLUMNS ? g->columns - j : BLOCK_COLUMNS;
    float *c = g->c + (size_t)i * g->stride + j;
    struct matrix s = part(g->s, (size_t)i, (size_t)j);
    for (int k = 0; k < g->inner; k += DEPTH) {
        multiply_block(s, part(g->a, (size_t)i, (size_t)k),
                       part(g->b, (size_t)k, (size_t)j), c, g->stride, high,
                       g->inner - k < DEPTH ? g->inner - k : DEPTH, width);
        s = (struct matrix){c, g->stride, 1};
    }
}

enum { SHARED = 1 << 21 }; /* products of numbers that are worth a second thread */

static void multiply(const struct grid *g)
{
    int count = g->down * ((g->columns + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS);
    if ((double)g->rows * g->inner * g->columns < SHARED || omp_in_parallel()) {
        for (int number = 0; number < count; number++)
            multiply_number(g, number);
        return;
    }
    #pragma omp parallel for schedule(dynamic)
    for (int number = 0; number < count; number++)
        multiply_number(g, number);
}

/* Leave large products to OpenBLAS */
enum { LARGE = 1 << 26 }; /* products of numbers from which on OpenBLAS is faster */

static bool in_order = true;

void products_in_order(bool always)
{
    in_order = always;
}

void product(struct matrix s, struct matrix a, struct matrix b, float *c,
             size_t stride, int rows, int inner, int columns)
{
    if (in_order || (double)rows * inner * columns < LARGE) {
        struct grid grid = {s, a, b, c, stride, rows, inner, columns,
                            (rows + BLOCK_ROWS - 1) / BLOCK_ROWS};
        multiply(&grid);
        return;
    }
    for (int i = 0; s.at && s.at != c && i < rows; i++)
        memcpy(c + (size_t)i * stride, s.at + (size_t)i * s.down,
               (size_t)columns * sizeof *c);
    bool a_lies = a.right == 1, b_lies = b.right == 1;
    cblas_sgemm(CblasRowMajor, a_lies ? CblasNoTrans : CblasTrans,
                b_lies ? CblasNoTrans : CblasTrans, rows, columns, inner, 1, a.at,
                (int)(a_lies ? a.down : a.right), b.at,
                (int)(b_lies ? b.down : b.right), s.at ? 1 : 0, c, (int)stride);
}
