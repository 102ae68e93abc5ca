/* Tangled from chapters/17-forecast.md; edit there. */
#ifndef FORECAST_H
#define FORECAST_H

#include "stage.h"

/* forecast_count: the seconds that each stage of the plan would take, as counted:
   [stage_count], for the caller to free. teacher: its folder, or "scratch". On a
   processor they are counted for this one, whose products are timed for a moment; on a
   GPU, or if t4 is set, for a T4, whose limits chapters/published.json has. */
double *forecast_count(const struct stage *stage, const char *teacher, bool t4);

/* What is left of a run. */
struct forecast {
    int stages, done;   /* that have a record */
    double left, whole; /* seconds, of those to come and of all */
    bool measured;      /* some record tells how long such a stage took */
};

/* forecast_left: what is left of the stages up to a tier, by what was counted and what
   their records say. asked: [stage_count] which of them shall run. */
struct forecast forecast_left(const struct stage *stage, const double *counted,
                              const bool *asked, enum tier from, enum tier until);

#endif
