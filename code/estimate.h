/* Tangled from chapters/60-bench.md; edit there. */
#ifndef ESTIMATE_H
#define ESTIMATE_H

#include "plan.h"
#include "watch.h"

#include <jansson.h>
#include <stdint.h>

/* estimate_t4: the limits of a T4, as published. */
struct machine estimate_t4(const json_t *published);

/* bert_base: the shape of BERT-base. any_rate: settings for an optimiser, whose work
   does not depend on them. */
extern const struct shape bert_base;
extern const struct optimizer_settings any_rate;

/* imagine: a model, with zeros for parameters, over a table that computes nothing. The
   caller frees it. */
struct model *imagine(const struct kernels *k, const struct shape *shape,
                      enum head head, int classes, enum learning learning);

/* published_number: the number at "section.key" in what chapters/published.json holds,
   whose numbers are texts as a book prints them, "25,000". Fails, naming the path, if
   there is none. */
double published_number(const json_t *published, const char *path);

/* made_up_lengths: fills lengths[rows] with lengths from 1 to longest whose sum is
   tokens and whose mean square is near rms^2. Fails if no such rows exist. */
void made_up_lengths(int rows, int64_t tokens, double rms, int longest, int *lengths);

/* estimate_experiment: how long a T4 would take for the course project's experiment, by
   the settings of the profile full and the published limits and sizes. The caller owns
   the result: {"minutes"; "gigabytes" of the distillation, "milliseconds" of one of its
   steps, and "products", percent of these; "hours_profile", with all
   students and seeds of the profile; "parts": {"distillation", "teacher", "student":
   {"minutes", "millions" of tokens}}; "families": {"gemm" and so on: {"minutes",
   "petaflops", "terabytes", and the minutes of each part}}}. */
json_t *estimate_experiment(const struct plan *full, const json_t *published);

#endif
