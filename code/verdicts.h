/* Tangled from chapters/55-verdicts.md; edit there. */
#ifndef VERDICTS_H
#define VERDICTS_H

#include "findings.h"

#include <jansson.h>

enum verdict { UNDECIDED, PASS, FAIL };

/* verdict_reaches: is what was measured at least the bound? verdict_costs: is the
   change below zero? verdict_agrees: do two intervals have a point in common?
   UNDECIDED where an interval is not bounded. */
enum verdict verdict_reaches(const struct estimate *measured, double bound);
enum verdict verdict_costs(const struct estimate *change);
enum verdict verdict_agrees(const struct estimate *a, const struct estimate *b);

/* Say what was claimed and with what tolerance */
/* The one after the last has a NULL name. A change is to be below zero, all else to
   reach what was published, less the tolerance. */
extern const struct claim {
    const char *name, *title;
    enum quantity quantity;
    const char *model; /* NULL: it is about no model alone */
    double published;  /* percent, or points of the GLUE score */
    const char *path;  /* of the same number in published.json */
    double share;      /* v_n / K of what is kept (measure_tolerance); else 0 */
} claims[];

/* claim_tolerance: measure_tolerance; of the size by how much the claim exceeds the
   exact count of the paper's own two models; 0 of a claim that needs none. */
double claim_tolerance(const struct claim *claim);

/* Say what a judgement is */
struct judgement {
    const char *name;         /* "retention.student.paper" */
    const struct claim *held; /* NULL: it is held against another run */
    const char *claim;        /* "the student keeps 97 % (the paper)" */
    const char *asked;        /* "at least 96.4" */
    struct finding measured;
    enum verdict verdict;
    const char *why;
};

/* A list of them: so many claims held against this run, or numbers against others. */
struct judgements {
    const char *what, *against; /* "claim", "this run" */
    bool toyland;               /* the run is not of English */
    struct judgement *list;
    int count;
};

struct verdicts {
    struct judgements claims, agreement;
    const char *bits; /* whether the run is identical to committed ones; "": nothing */
};

/* verdicts_judge: the verdicts on a run, kept. summary: the run's own, to be held
   against references, other summaries of the same profile, {NAME: summary}, of which
   they keep names. verdict_said: "PASS on Toyland", "not decided". verdicts_set: sets
   what the report quotes. verdicts_json: verdicts.json, with profile, device, date and
   code from summary, for the caller to free. verdicts_print: prints that of a run. */
struct verdicts *verdicts_judge(const struct findings *findings, bool toyland,
                                const json_t *summary, const json_t *references);
const char *verdict_said(enum verdict verdict, bool toyland);
void verdicts_set(const struct verdicts *verdicts, json_t *values);
json_t *verdicts_json(const struct verdicts *verdicts, const json_t *summary);
void verdicts_print(const char *folder);

/* verdicts_said: "8 claims are held against this run: 3 pass, 1 fails and 4 are not
   decided", for any count of each verdict. */
const char *verdicts_said(const struct judgements *list);

#endif
