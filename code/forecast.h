/* Tangled from chapters/47-forecast.md; edit there. */
#ifndef FORECAST_H
#define FORECAST_H

#include "stage.h"

/* State what is counted of a plan */
/* forecast_count: the seconds that each stage of the plan would take, as counted:
   [stage_count], for the caller to free. teacher: its folder, or "scratch". On a
   processor they are counted for this one, whose products are timed for a moment; on a
   GPU, or if t4 is set, for a T4, whose limits chapters/published.json has. */
double *forecast_count(const struct stage *stage, const char *teacher, bool t4);

/* forecast_teacher: the shape of the teacher in that folder, or of the one that will be
   there. */
struct shape forecast_teacher(const struct stage *stage, const char *teacher);

/* State what is left of a run */
/* A stage that shall run. */
struct forecast_row {
    char *name;
    enum tier tier;
    enum stage_kind kind;
    double counted; /* seconds */
    double taken;   /* as its record says; −1: there is none */
    bool done;      /* its record has its key */
};

/* What is left of a run. */
struct forecast {
    int stages, done;
    double left, whole; /* seconds, of those to come and of all */
    bool measured;      /* some record tells how long such a stage took */
};

/* forecast_look: sets what the record of a row's stage says, in the run's folder. It is
   done if the record has the key that the folder of keys has; without such a key, if
   there is a record. */
void forecast_look(struct forecast_row *row, const char *run, const char *keys);

/* forecast_left: what is left of the stages of some tiers, by what was counted and what
   the records of all rows say. */
struct forecast forecast_left(const struct forecast_row *rows, int count,
                              enum tier from, enum tier until);

/* State how a forecast is kept and told */
/* forecast_write: puts the rows, and how many stages run side by side, into a table.
   left_main: the command `distil left`; argv[0] is "left". It reads them again. */
void forecast_write(const char *path, const struct forecast_row *rows, int count,
                    int jobs);
int left_main(int argc, char **argv);

/* about_text: a time in a few words, "12 min"; the caller frees it. */
char *about_text(double seconds);

#endif
