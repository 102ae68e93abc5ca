/* Tangled from chapters/11-encoder.md; edit there. */
#ifndef PARTS_H
#define PARTS_H

#include "arena.h"
#include "encoder.h"

/* State how a part is found */
/* part_stop: whose part it is in a layer of the route, and in which of that model's
   layers. part_learns: whether it learns with this model. */
struct stop part_stop(const struct model *model, enum part part, int layer);
bool part_learns(const struct model *model, enum part part, int layer);

/* part_weights: on the device; part_gradient: of a part that learns, on the device. */
const real *part_weights(const struct model *model, enum part part, int layer);
void *part_gradient(const struct model *model, enum part part, int layer);

/* master_at: where the masters of the parameters from this offset on are. */
void *master_at(const struct model *model, size_t offset);

/* gradient_at: where the gradient of the parameters from this offset on is;
   gradient_rounded: whether it is of reals, and not of floats. */
void *gradient_at(const struct model *model, size_t offset);
bool gradient_rounded(const struct model *model, size_t offset);

static inline size_t area(int rows, int columns)
{
    return (size_t)rows * (size_t)columns;
}

/* gradient_begin: whether the gradients of these parts of a layer hold something of
   this step. From now on they do. */
bool gradient_begin(const struct model *model, int layer, int count,
                    const enum part *parts);

/* gradient_settle: clears what the gradient holds from before gradient_forget, so that
   all of it can be read. gradient_forget: lets the next step begin anew. */
void gradient_settle(struct model *model);
void gradient_forget(struct model *model);

/* gradient_clear: leaves zeros in the gradient of a part that holds nothing of this
   step yet, for who adds to some of it. */
void gradient_clear(const struct model *model, enum part part, int layer);

/* State what dropout drops */
enum dropout_place {
    AFTER_EMBEDDINGS, IN_ATTENTION, AFTER_ATTENTION, AFTER_OUTER, IN_CLASSIFIER,
    BEFORE_SPAN
};

/* dropout_at: what is dropped in a place of a layer in this pass; nothing outside of
   training. */
struct dropout dropout_at(const struct model *model, enum dropout_place place,
                          int layer);

/* State how rows go through a map */
/* map_forward: y[rows, out] = x[rows, in] W^T + b, by a weight and the bias that goes
   with it. */
void map_forward(const struct model *model, enum part weight, int layer, const real *x,
                 real *y, int rows);

/* map_onto: map_forward, and base[rows, out] added to y. */
void map_onto(const struct model *model, enum part weight, int layer, const real *x,
              const real *base, real *y, int rows);

/* map_weight_gradient: makes the gradient of a weight, or adds to it, from the map's
   input x[rows, in] and from dy[rows, out]. map_gradient: that of a weight and its
   bias. Neither does anything where the part does not learn. */
void map_weight_gradient(const struct model *model, enum part weight, int layer,
                         const real *x, const real *dy, int rows);
void map_gradient(const struct model *model, enum part weight, int layer, const real *x,
                  const real *dy, int rows);

/* map_back: dx[rows, in] = dy[rows, out] W; added to dx if accumulate. */
void map_back(const struct model *model, enum part weight, int layer, const real *dy,
              real *dx, int rows, bool accumulate);

/* State how rows go through a norm and a function */
/* norm_room: room for what a norm of so many rows keeps; back: for a way back, too. */
struct normed norm_room(struct arena *arena, size_t rows, size_t width, bool back);

/* norm_forward: y[rows, width] = norm(drop(norm->sum) + residual), where norm->sum
   comes in as a dense map's output; residual: NULL: none. */
void norm_forward(const struct model *model, const struct normed *norm,
                  const real *residual, struct dropout dropout, enum part gain,
                  int layer, real *y, int rows);

/* norm_sums_of: where a norm's gradient puts its sums: for its gain, its bias, and the
   bias of the dense map whose output it was given, if there is one. */
struct norm_sums norm_sums_of(const struct model *model, enum part gain, int layer);

/* norm_back: takes backward.hidden from the norm's output to its residual, and returns
   the gradient by the dense output below the dropout: the same array if there is no
   dropout. */
real *norm_back(struct model *model, const struct normed *norm, struct dropout dropout,
                enum part gain, int layer);

/* activation_back: takes d[rows, width] from the gradient by f(x) to that by x, and to
   that by the bias in x. */
void activation_back(const struct model *model, enum activation f, const real *x,
                     real *d, enum part bias, int layer, int rows, int width);

#endif
