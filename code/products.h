/* Tangled from chapters/19-products.md; edit there. */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>

/* A matrix in memory: its element (i, j) is at[i * down + j * right]. One of the two
   steps is 1. Its transpose has them exchanged. B may also lie in panels, from one of
   which to the next there are `across` elements; see product_settle. */
struct matrix {
    const float *at;
    size_t down, right, across;
};

/* State what a product is */
/* product: C[rows, columns] = S + A[rows, inner] B[inner, columns], where c_ij is
   c[i * stride + j]. S may be C itself, one row for all if s.down is 0, or zero if
   s.at is NULL; its rows' elements stand side by side. C must not overlap A or B.
   Outside of a parallel region, large products are shared among threads.
   After products_in_order(true), as at the start, each element is one chain of fused
   multiply-adds in the order of the inner index: the same bits on any processor, with
   any compiler and any number of threads. After products_in_order(false), OpenBLAS
   makes the large ones. */
void product(struct matrix s, struct matrix a, struct matrix b, float *c,
             size_t stride, int rows, int inner, int columns);

/* State how a matrix is made ready for many products */
/* Rows that are so few that fetching B takes longer than multiplying by it. */
enum { FEW_ROWS = 128 };

/* product_settles: whether so many columns can lie in panels. product_settle: copies
   b[inner, columns] to settled[inner * columns], in panels. product_settled: the matrix
   that lies there. As B it has the same products, and of few rows has them sooner. */
bool product_settles(int columns);
void product_settle(struct matrix b, int inner, int columns, float *settled);
struct matrix product_settled(const float *settled, int inner);

/* products_in_order: says how all products are made from now on. */
void products_in_order(bool always);

#endif
