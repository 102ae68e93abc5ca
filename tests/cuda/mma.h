/* Tensor cores: products of 16 by 16 tiles, of which each lane of a warp holds eight
   elements, number 8 lane to 8 lane + 7 by rows. Which lane holds what is the GPU's
   secret, so programs may only do the same to all of x. */
#ifndef MMA_H
#define MMA_H

#include "cuda_fp16.h"
#include "harness.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    static_assert(M == 16 && N == 16 && K == 16);
    static const int num_elements = 8;
    T x[num_elements];
};

template <class Use, class T, class Layout>
void fill_fragment(fragment<Use, 16, 16, 16, T, Layout> &f, T value)
{
    for (T &x : f.x)
        x = value;
}

/* Where a tile lies: the same for all lanes, and aligned as the GPU demands. */
struct tile_place {
    const void *p;
    size_t stride, size; /* elements; bytes of one */

    static void meet(void *const lanes[32])
    {
        tile_place *first = (tile_place *)lanes[0];
        if ((uintptr_t)first->p % 32 != 0 || first->stride * first->size % 16 != 0)
            harness::fault("a tile at %p with rows of %zu elements", first->p, first->stride);
        for (int i = 1; i < 32; i++) {
            tile_place *other = (tile_place *)lanes[i];
            if (other->p != first->p || other->stride != first->stride)
                harness::fault("lane %d means another tile than lane 0", i);
        }
    }
};

/* at: where in memory element i of this lane lies. */
inline size_t at(int i, size_t stride, bool by_rows)
{
    int element = (int)harness::lane() * 8 + i, row = element / 16, column = element % 16;
    return by_rows ? row * stride + column : column * stride + row;
}

template <class Use, class T, class Layout>
UNWATCHED void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout> &f, const T *p, unsigned stride,
                      HERE)
{
    tile_place place = {p, stride, sizeof(T)};
    harness::meet(0xffffffff, tile_place::meet, &place, file, line);
    if (harness::lane() == 0)
        harness::shadow::touch_tile(false, p, stride * sizeof(T), 16 * sizeof(T));
    for (int i = 0; i < f.num_elements; i++)
        f.x[i] = p[at(i, stride, std::is_same_v<Layout, row_major>)];
}

template <class T>
UNWATCHED void store_matrix_sync(T *p, const fragment<accumulator, 16, 16, 16, T> &f, unsigned stride,
                       layout_t layout, HERE)
{
    tile_place place = {p, stride, sizeof(T)};
    harness::meet(0xffffffff, tile_place::meet, &place, file, line);
    if (harness::lane() == 0)
        harness::shadow::touch_tile(true, p, stride * sizeof(T), 16 * sizeof(T));
    for (int i = 0; i < f.num_elements; i++)
        p[at(i, stride, layout == mem_row_major)] = f.x[i];
}

/* The four tiles of a product, as one lane holds them. */
struct tile_product {
    const __half *a, *b;
    const float *c;
    float *d;

    static void meet(void *const lanes[32])
    {
        float a[16][16], b[16][16], d[16][16] = {};
        for (int e = 0; e < 256; e++) {
            const tile_product *p = (const tile_product *)lanes[e / 8];
            a[e / 16][e % 16] = __half2float(p->a[e % 8]);
            b[e / 16][e % 16] = __half2float(p->b[e % 8]);
        }
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < 16; k++)
                for (int j = 0; j < 16; j++)
                    d[i][j] += a[i][k] * b[k][j];
        for (int e = 0; e < 256; e++) {
            const tile_product *p = (const tile_product *)lanes[e / 8];
            p->d[e % 8] = p->c[e % 8] + d[e / 16][e % 16];
        }
    }
};

template <class A, class B>
void mma_sync(fragment<accumulator, 16, 16, 16, float> &d,
              const fragment<matrix_a, 16, 16, 16, __half, A> &a,
              const fragment<matrix_b, 16, 16, 16, __half, B> &b,
              const fragment<accumulator, 16, 16, 16, float> &c, HERE)
{
    tile_product product = {a.x, b.x, c.x, d.x};
    harness::meet(0xffffffff, tile_product::meet, &product, file, line);
}

} // namespace nvcuda::wmma

#endif
