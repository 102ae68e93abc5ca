/* Tangled from chapters/35-distillation.md; edit there. */
#ifndef DISTILL_H
#define DISTILL_H

#include "feed.h"
#include "losses.h"

/* State what a distillation is */
/* A distillation that is set up: a student before its first step. */
struct distillation {
    char *name;                     /* "distill-student" */
    const struct planned_model *planned;
    char *vocabulary;               /* the teacher's folder */
    struct feed feed;
    const struct batch *batch;      /* worked on last */
    long batches, read;             /* in all; the one the teacher has read, or −1 */
    struct model *teacher, *student;
    struct parameters parameters;   /* of the student */
    struct loss_settings losses;
    struct record *record;
    uint64_t seed;
};

/* State what can be done with a distillation */
/* distillation_open: reads the teacher, makes the student that --student names, opens
   the corpora and starts a record. distillation_close frees all but the record. */
struct distillation *distillation_open(const struct stage *stage);
void distillation_close(struct distillation *distillation);

/* distillation_losses: a student's triple loss where the teacher has so many layers. */
struct loss_settings distillation_losses(const struct planned_model *student,
                                         int teacher_layers);

/* distillation_work: works through batch number `index`, as struct training wants it;
   context is the distillation. */
int distillation_work(void *context, long index, float share,
                      struct loss_values *values);

#endif
