/* Tangled from chapters/55-verdicts.md; edit there. */
#ifndef VERDICTS_H
#define VERDICTS_H

#include "findings.h"

#include <jansson.h>

/* Say which verdicts there are */
enum verdict { UNDECIDED, PASS, FAIL };

/* verdict_reaches: is what was measured at least the bound? verdict_costs: is the
   change below zero? verdict_agrees: do two intervals have a point in common?
   UNDECIDED where an interval is not bounded. */
enum verdict verdict_reaches(const struct estimate *measured, double bound);
enum verdict verdict_costs(const struct estimate *change);
enum verdict verdict_agrees(const struct estimate *a, const struct estimate *b);

/* Say what was claimed and with what tolerance */
struct claim {
    const char *name, *title; /* "paper"; "the student keeps %s %% (the paper)" */
    enum quantity quantity;   /* a change is to be below zero; all else, to reach: */
    const char *model;        /* NULL: it is about no model alone */
    double published;         /* percent, or points of the GLUE score */
    const char *path;         /* of the same number in published.json */
    int tasks;                /* of a retention: how many it is a mean of, and */
    double quiet;             /* the variance of its scores, as a share of that of a
                                 single run's */
};
extern const struct claim claims[]; /* the one after the last has a NULL name */

/* Repeated fine-tunings of one model on a task: mean and standard deviation. */
struct noise {
    const char *task;
    double mean, deviation;
};
extern const struct noise noise[]; /* the one after the last has a NULL task */

/* claim_tolerance: of a retention the half-width of its 95 % interval, in points, from
   the published noise (formula: chapter "Verdicts"); of the size by how much the claim
   exceeds the exact count of the paper's own two models; else 0. */
double claim_tolerance(const struct claim *claim);

/* Say what a judgement is */
struct judgement {
    const char *name;  /* "retention.student.paper", "reference.RUN.TASK.MODEL" */
    const char *claim; /* "the student keeps 97 % (the paper)" */
    const char *asked; /* "at least 96.4" */
    struct finding measured;
    enum verdict verdict;
    const char *why;
    const struct claim *held; /* NULL: it is held against another run, */
    const char *run;          /* this one, */
    struct estimate other;    /* and what that has */
};

/* A list of them: so many claims held against this run, or numbers against others. */
struct judgements {
    const char *what, *against; /* "claim", "this run" */
    struct judgement *list;
    int count;
};

struct verdicts {
    bool toyland; /* not about English */
    struct judgements claims, agreement;
    const char *bits; /* what compare_bits says of all committed runs; "": nothing */
};


/* verdicts_judge: the verdicts on a run, kept. summary: the run's own, to be held
   against references, other summaries of the same profile, {NAME: summary}, of which
   they keep names. verdicts_said: "8 claims are held against this run: 3 pass, 1 fails
   and 4 are not decided", for any count of each verdict. verdict_said: "PASS on
   Toyland", "not decided". */
struct verdicts *verdicts_judge(const struct findings *findings, bool toyland,
                                const json_t *summary, const json_t *references);
const char *verdicts_said(const struct judgements *list, bool toyland);
const char *verdict_said(enum verdict verdict, bool toyland);

/* verdicts_set: what the report quotes of them; verdicts_json: verdicts.json, with the
   run's profile, device, date and code from summary, for the caller to free.
   verdicts_print: prints what `distil results` left of that in the folder of a run. */
void verdicts_set(const struct verdicts *verdicts, json_t *values);
json_t *verdicts_json(const struct verdicts *verdicts, const json_t *summary);
void verdicts_print(const char *folder);

#endif
