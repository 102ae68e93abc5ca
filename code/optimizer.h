/* Tangled from chapters/18-optimizer.md; edit there. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include "encoder.h"

/* State the settings of the optimiser */
struct optimizer_settings {
    float rate;          /* the highest learning rate of the schedule */
    float beta1, beta2;  /* how slowly the two moments forget */
    float epsilon;       /* added to the root of the second moment; more than 0 */
    float decay;         /* weight decay, of matrices and tables */
    float clip;          /* largest norm of the gradient; 0: any */
    double warmup;       /* share of the steps in which the rate rises from 0 */
    bool linear_decay;   /* then the rate falls to 0 at the last step; else it stays */
    long steps;          /* of the whole run */
    int batches;         /* whose gradients are summed for a step, if that is known */
};

/* State what the optimiser does */
/* AdamW for the learning parameters of one model. */
struct optimizer;

/* optimizer_create: an optimiser that has taken no step. The caller frees it, before
   the model. Fails if the settings are not ones to train with. */
struct optimizer *optimizer_create(struct model *model,
                                   const struct optimizer_settings *settings);
void optimizer_free(struct optimizer *optimizer);

/* optimizer_bytes: the device memory that an optimiser of these parameters takes. */
size_t optimizer_bytes(const struct parameters *parameters);

/* optimizer_rate: the learning rate of a step, counted from 0. */
float optimizer_rate(const struct optimizer_settings *settings, long step);

/* optimizer_step: moves the model's parameters by step number `step`, counted from 0,
   from the gradient that the model has gathered, and makes the gradient zero again. */
void optimizer_step(struct optimizer *optimizer, long step);

/* optimizer_download, optimizer_upload: what the next step needs besides the
   parameters, for a checkpoint: both moments, host [parameters.size], and the device's
   state, host [STATE_SIZE]. */
void optimizer_download(const struct optimizer *optimizer, float *first, float *second,
                        float *state);
void optimizer_upload(struct optimizer *optimizer, const float *first,
                      const float *second, const float *state);

#endif
