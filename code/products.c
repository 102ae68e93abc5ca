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
enum { PANEL = 2 * VECTOR };

static struct matrix part(struct matrix m, size_t i, size_t j)
{
    size_t right = m.across ? j / PANEL * m.across : j * m.right;
    if (m.at)
        m.at += i * m.down + right;
    return m;
}

/* Multiply a tile */
#define UNROLLED _Pragma("GCC unroll 12")

/* What is asked for meanwhile: in step k, the memory at `at + k * step`. */
struct ahead {
    const float *at;
    int step;
};

/* c[rows, wide * VECTOR] = s + a b, each with its steps. */
static inline __attribute__((always_inline)) void
multiply_tile(int rows, int wide, struct matrix s, struct matrix a, struct matrix b,
              float *c, size_t stride, int inner, struct ahead ahead)
{
    vector sum[TILE_ROWS][2];
    /* Begin the chains */
    UNROLLED for (int i = 0; i < rows; i++)
        for (int j = 0; j < wide; j++)
            sum[i][j] = s.at ? *(const vector *)(s.at + i * s.down + j * VECTOR)
                             : (vector){0};
    /* Add a link to each chain in each step */
    for (int k = 0; k < inner; k++) {
        vector y[2];
        __builtin_prefetch(ahead.at + k * ahead.step, 0, 1);
        for (int j = 0; j < wide; j++)
            y[j] = *(const vector *)(b.at + k * b.down + j * VECTOR);
        UNROLLED for (int i = 0; i < rows; i++)
            for (int j = 0; j < wide; j++)
                sum[i][j] = fused(a.at[i * a.down + k * a.right], y[j], sum[i][j]);
    }
    /* Put the chains down */
    UNROLLED for (int i = 0; i < rows; i++)
        for (int j = 0; j < wide; j++)
            *(vector *)(c + i * stride + j * VECTOR) = sum[i][j];
}

/* Multiply a tile of any size */
static inline __attribute__((always_inline)) void
multiply_rows(int rows, int wide, struct matrix s, struct matrix a, struct matrix b,
              float *c, size_t stride, int inner, struct ahead ahead)
{
    struct matrix lying = {a.at, a.down, 1, 0}, standing = {a.at, 1, a.right, 0};
    if (a.right == 1 && wide == 2)
        multiply_tile(rows, 2, s, lying, b, c, stride, inner, ahead);
    else if (a.right == 1)
        multiply_tile(rows, 1, s, lying, b, c, stride, inner, ahead);
    else if (wide == 2)
        multiply_tile(rows, 2, s, standing, b, c, stride, inner, ahead);
    else
        multiply_tile(rows, 1, s, standing, b, c, stride, inner, ahead);
}

#define TALL(n) \
    case n: \
        multiply_rows(n < TILE_ROWS ? n : TILE_ROWS, wide, s, a, b, c, stride, inner,  \
                      ahead);                                                          \
        break

/* The same for any number of rows up to TILE_ROWS. */
static void multiply_any(int rows, int wide, struct matrix s, struct matrix a,
                         struct matrix b, float *c, size_t stride, int inner,
                         struct ahead ahead)
{
    switch (rows) {
        TALL(1); TALL(2); TALL(3); TALL(4); TALL(5); TALL(6);
        TALL(7); TALL(8); TALL(9); TALL(10); TALL(11); TALL(12);
    }
}

/* How high the next tile is, if so many rows are left. */
static int tile_height(int rows)
{
    return rows >= 2 * TILE_ROWS ? TILE_ROWS : rows > TILE_ROWS ? (rows + 1) / 2 : rows;
}

/* Turn a panel upright */
/* Four elements of each of the columns first, first + 4, ... of b, side by side. Where
   there are only so many columns, the first stands in for the others. */
static inline __attribute__((always_inline)) vector fours(struct matrix b, int first,
                                                          int columns)
{
#define COLUMN(j) (b.at + (size_t)(j < columns ? j : 0) * b.right)
    vector four;
#if defined __AVX512F__
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(COLUMN(first)));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(COLUMN(first + 4)), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(COLUMN(first + 8)), 2);
    four = _mm512_insertf32x4(x, _mm_loadu_ps(COLUMN(first + 12)), 3);
#elif defined __AVX__
    __m256 x = _mm256_castps128_ps256(_mm_loadu_ps(COLUMN(first)));
    four = _mm256_insertf128_ps(x, _mm_loadu_ps(COLUMN(first + 4)), 1);
#else
    memcpy(&four, COLUMN(first), sizeof four);
#endif
    return four;
}

#if defined __AVX512F__
#define PAIRED(half, x, y) _mm512_unpack##half##_ps(x, y)
#define JOINED(halves, x, y) _mm512_shuffle_ps(x, y, halves)
#elif defined __AVX__
#define PAIRED(half, x, y) _mm256_unpack##half##_ps(x, y)
#define JOINED(halves, x, y) _mm256_shuffle_ps(x, y, halves)
#endif

/* to[4, VECTOR], rows PANEL apart, = b[4, columns]. */
static inline __attribute__((always_inline)) void turn_fours(struct matrix b,
                                                             int columns, float *to)
{
    vector x[4], y[4];
    for (int i = 0; i < 4; i++)
        x[i] = fours(b, i, columns);
#ifdef __AVX__
    vector a = PAIRED(lo, x[0], x[1]), c = PAIRED(lo, x[2], x[3]);
    vector d = PAIRED(hi, x[0], x[1]), e = PAIRED(hi, x[2], x[3]);
    y[0] = JOINED(0x44, a, c), y[1] = JOINED(0xee, a, c);
    y[2] = JOINED(0x44, d, e), y[3] = JOINED(0xee, d, e);
#else
    for (int i = 0; i < 4; i++)
        y[i] = (vector){x[0][i], x[1][i], x[2][i], x[3][i]};
#endif
    for (int i = 0; i < 4; i++)
        *(vector *)(to + i * PANEL) = y[i];
}

/* to[inner, PANEL] = b[inner, columns], columns <= PANEL. What it has in other columns
   is of no account. */
static void turn_panel(struct matrix b, int inner, int columns, float *restrict to)
{
    int whole = b.down == 1 ? inner / 4 * 4 : 0;
    for (int j = 0; j < columns; j += VECTOR)
        for (int k = 0; k < whole; k += 4) {
            struct matrix from = {b.at + k + (size_t)j * b.right, 1, b.right, 0};
            if (columns - j >= VECTOR)
                turn_fours(from, VECTOR, to + (size_t)k * PANEL + j);
            else
                turn_fours(from, columns - j, to + (size_t)k * PANEL + j);
        }
    for (int k = whole; k < inner; k++)
        for (int j = 0; j < columns; j++)
            to[(size_t)k * PANEL + j] =
                b.at[(size_t)k * b.down + (size_t)j * b.right];
}

/* Multiply a block */
enum { DEPTH = 256, BLOCK_ROWS = 384, BLOCK_COLUMNS = 192 };

/* What a thread copies: panels of B, rows of A, and the tile at C's edge. */
static _Thread_local _Alignas(64) struct {
    float b[DEPTH * BLOCK_COLUMNS], a[DEPTH * TILE_ROWS], edge[TILE_ROWS * PANEL];
} room;

/* Asks for so many columns of b, whose elements stand side by side. */
static void fetch(struct matrix b, int inner, int columns)
{
    enum { LINE = 16 }; /* elements that come together */
    for (int j = 0; j < columns; j++)
        for (int k = 0; k < inner; k += LINE)
            __builtin_prefetch(b.at + (size_t)j * b.right + k, 0, 1);
}

/* Collects a tile's rows of a where that is worth it. */
static struct matrix collect_rows(struct matrix a, int inner, int rows, int columns)
{
    if (a.right == 1 || rows < TILE_ROWS || columns <= PANEL)
        return a;
    for (int k = 0; k < inner; k++)
        memcpy(room.a + k * TILE_ROWS, a.at + (size_t)k * a.right,
               TILE_ROWS * sizeof *room.a);
    return (struct matrix){room.a, 1, TILE_ROWS, 0};
}

/* product() for at most BLOCK_ROWS, DEPTH and BLOCK_COLUMNS. ahead: the panel after
   those of b, if it will be wanted next, or nothing. */
static void multiply_block(struct matrix s, struct matrix a, struct matrix b, float *c,
                           size_t stride, int rows, int inner, int columns,
                           struct matrix ahead)
{
    /* Turn the panels that do not lie upright */
    int upright = b.right != 1                ? 0
                  : columns % PANEL == VECTOR ? columns
                                              : columns / PANEL * PANEL;
    for (int j = upright; j < columns; j += PANEL)
        turn_panel(part(b, 0, j), inner, columns - j < PANEL ? columns - j : PANEL,
                   room.b + (size_t)j * DEPTH);
    for (int i = 0, high; i < rows; i += high) {
        high = tile_height(rows - i);
        struct matrix tall = collect_rows(part(a, i, 0), inner, high, columns);
        struct ahead next = {c, 0};
        /* Ask for a share of the next panel */
        int first = PANEL * i / rows, end = PANEL * (i + high) / rows;
        if (ahead.at && ahead.across)
            next = (struct ahead){ahead.at + (size_t)inner * PANEL * i / rows, end - first};
        else if (ahead.at)
            fetch(part(ahead, 0, (size_t)first), inner, end - first);
        /* Multiply the tiles of these rows */
        for (int j = 0; j < columns; j += PANEL) {
            int width = columns - j < PANEL ? columns - j : PANEL;
            struct matrix panel = {room.b + (size_t)j * DEPTH, PANEL, 1, 0};
            struct matrix start = part(s, (size_t)i, (size_t)j);
            float *to = c + (size_t)i * stride + j;
            if (j < upright)
                panel = part(b, 0, (size_t)j);
            if (width % VECTOR == 0)
                multiply_any(high, width / VECTOR, start, tall, panel, to, stride,
                             inner, next);
            else {
                /* Multiply a tile at the edge */
                struct matrix edge = {start.at ? room.edge : NULL, PANEL, 1, 0};
                for (int y = 0; start.at && y < high; y++)
                    memcpy(room.edge + y * PANEL, start.at + (size_t)y * start.down,
                           (size_t)width * sizeof *to);
                multiply_any(high, width > VECTOR ? 2 : 1, edge, tall, panel, room.edge, PANEL, inner,
                             next);
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
    int rows, inner, columns; /* of the product */
    int down;                 /* blocks from top to bottom */
    int high, wide;           /* rows and columns of one */
    int step;                 /* columns that are prepared together */
};

/* Multiplies columns j to j + width - 1 of rows i to i + high - 1. more: whether as
   many columns come next. */
static void multiply_columns(const struct grid *g, int i, int high, int j, int width,
                             bool more)
{
    float *c = g->c + (size_t)i * g->stride + j;
    struct matrix s = part(g->s, (size_t)i, (size_t)j), none = {0};
    for (int k = 0; k < g->inner; k += DEPTH) {
        struct matrix b = part(g->b, (size_t)k, (size_t)j);
        multiply_block(s, part(g->a, (size_t)i, (size_t)k), b, c, g->stride, high,
                       g->inner - k < DEPTH ? g->inner - k : DEPTH, width,
                       more ? part(b, 0, (size_t)width) : none);
        s = (struct matrix){c, g->stride, 1, 0};
    }
}

/* Multiplies the block of that number, counted down the columns of the grid. */
static void multiply_number(const struct grid *g, int number)
{
    int i = number % g->down * g->high, j = number / g->down * g->wide;
    int high = g->rows - i < g->high ? g->rows - i : g->high;
    int end = g->columns - j < g->wide ? g->columns : j + g->wide;
    for (; j < end; j += g->step)
        multiply_columns(g, i, high, j, end - j < g->step ? end - j : g->step,
                         g->step == PANEL && end - j >= 2 * PANEL);
}

enum { SHARED = 1 << 21 }; /* products of numbers that are worth a second thread */

/* How many threads multiply matrices of this size. */
static int threads_for(int rows, int inner, int columns)
{
    bool alone = (double)rows * inner * columns < SHARED || omp_in_parallel();
    return alone ? 1 : omp_get_max_threads();
}

/* How many pieces of a size there are in n. */
static int pieces(int n, int size)
{
    return (n + size - 1) / size;
}

/* How large the pieces are if n is cut into so many, in whole units. */
static int even(int n, int count, int unit)
{
    return pieces(pieces(n, count), unit) * unit;
}

static void multiply(struct grid *g)
{
    if (g->rows == 0 || g->columns == 0)
        return;
    int threads = threads_for(g->rows, g->inner, g->columns);
    /* Cut the product for so many threads */
    int wanted = threads > 1 ? 2 * threads : 1;
    bool few = g->rows <= FEW_ROWS && (g->b.right != 1 || g->b.across);
    g->step = few ? PANEL : BLOCK_COLUMNS;
    g->wide = few ? even(g->columns, wanted, PANEL)
                  : even(g->columns, pieces(g->columns, BLOCK_COLUMNS), PANEL);
    int across = pieces(g->columns, g->wide);
    /* Cut the rows */
    int times = pieces(g->rows, BLOCK_ROWS), most = pieces(g->rows, 2 * TILE_ROWS);
    int threaded = pieces(wanted, across);
    if (!few && threaded > times)
        times = threaded < most ? threaded : most;
    g->high = even(g->rows, times, TILE_ROWS);
    g->down = pieces(g->rows, g->high);
    int count = g->down * across;
    if (threads == 1) {
        for (int number = 0; number < count; number++)
            multiply_number(g, number);
        return;
    }
    #pragma omp parallel for schedule(dynamic)
    for (int number = 0; number < count; number++)
        multiply_number(g, number);
}

/* Lay a matrix out in panels */
bool product_settles(int columns)
{
    return columns % PANEL == 0;
}

void product_settle(struct matrix b, int inner, int columns, float *settled)
{
    for (int j = 0; j < columns; j += PANEL)
        turn_panel(part(b, 0, (size_t)j), inner, PANEL, settled + (size_t)j * inner);
}

struct matrix product_settled(const float *settled, int inner)
{
    return (struct matrix){settled, PANEL, 1, (size_t)inner * PANEL};
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
    if (in_order || b.across || (double)rows * inner * columns < LARGE) {
        multiply(&(struct grid){s, a, b, c, stride, rows, inner, columns, 0, 0, 0, 0});
        return;
    }
    /* Have OpenBLAS multiply */
    for (int i = 0; s.at && s.at != c && i < rows; i++)
        memcpy(c + (size_t)i * stride, s.at + (size_t)i * s.down,
               (size_t)columns * sizeof *c);
    bool a_lies = a.right == 1, b_lies = b.right == 1;
    cblas_sgemm(CblasRowMajor, a_lies ? CblasNoTrans : CblasTrans,
                b_lies ? CblasNoTrans : CblasTrans, rows, columns, inner, 1, a.at,
                (int)(a_lies ? a.down : a.right), b.at,
                (int)(b_lies ? b.down : b.right), s.at ? 1 : 0, c, (int)stride);
}
