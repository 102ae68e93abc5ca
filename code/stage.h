/* Tangled from chapters/48-stages.md; edit there. */
#ifndef STAGE_H
#define STAGE_H

#include "kernels.h"
#include "plan.h"

#include <stdbool.h>
#include <stdint.h>

/* Hold what a command line said */
/* What the command line of a stage said. Text is owned by argv; NULL where an option
   was not given. */
struct stage {
    struct plan *plan;         /* of --profile, with overrides; NULL without it */
    char *profile;             /* its name without folder and ending; owned */
    const char *run;           /* folder for what the run leaves, results/mini say */
    const char *data;          /* folder of the data sets */
    const char *key;           /* hash of code, settings and data; "" if not given */
    const char *teacher;       /* a model folder, or "scratch"; in the plan, too */
    const char *student;       /* which student: student, student-alone, … */
    const char *task;          /* cola, mrpc, … */
    const char *model;         /* a model folder */
    const char *name;          /* what to call the model in the results */
    const char *out;           /* what to write */
    const char *keys;          /* folder of the keys */
    const char *until;         /* the last tier */
    const char *record;        /* the record of a stage */
    const char *title;         /* of the report, and who wrote it */
    const char *author;
    const char *checks;        /* figures that the tests measured */
    const char *reference;     /* folder of runs to compare with */
    const char *full;          /* the profile of the whole experiment */
    const char *published;     /* what others have published */
    long seed;                 /* −1 if not given */
    bool resume;               /* go on from the checkpoint, if it has the same key */
    bool lines;                /* progress as plain lines, not as a bar */
    bool launched;             /* each stage has a device of its own */
    bool make, list, settings, room; /* in which form to print the plan */
};

/* Say how a command line is read */
/* stage_open: reads the options that usage names. Prints usage and exits with 0 for
   --help; with 2, saying why, for anything the usage does not name. required: the
   options that must be given, separated by spaces. */
struct stage stage_open(int argc, char **argv, const char *usage, const char *required);
void stage_close(struct stage *stage);

/* Say what all stages ask for */
/* stage_path: "RUN/format…", a new string for the caller to free. */
char *stage_path(const struct stage *stage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* stage_kernels: the table of the device that [run] device names; kernels.h says which
   there are. */
const struct kernels *stage_kernels(const struct stage *stage);

/* stage_device: what the numbers were measured on, "Intel Xeon, 2 cores" say, or the
   GPU that stage_kernels opened; owned by the function. */
const char *stage_device(void);

#endif
