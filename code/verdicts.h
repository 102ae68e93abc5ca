/* Tangled from chapters/56-verdicts.md; edit there. */
#ifndef VERDICTS_H
#define VERDICTS_H

#include "measure.h"

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
/* A published retention. quiet: the variance of its scores, as a share of that of a
   single run's. */
struct claim {
    const char *name, *whose; /* "course", "the course project" */
    double value;             /* percent */
    int tasks;
    double quiet;
};
extern const struct claim claims[]; /* the one after the last has a NULL name */

/* Repeated fine-tunings of one model on a task: mean and standard deviation. */
struct noise {
    const char *task;
    double mean, deviation;
};
extern const struct noise noise[]; /* the one after the last has a NULL task */

/* claims_are_of: whether tasks, a list of names, are those of the claims: the course
   project's three. */
bool claims_are_of(const json_t *tasks);

/* claim_tolerance: the half-width of a 95 % interval of the claimed retention, in
   points, from the published noise. Formula: chapter "Verdicts". */
double claim_tolerance(const struct claim *claim);

/* Say how a run is judged */
/* verdicts_references: the summaries FOLDER/NAME/summary.json of this profile, by NAME.
   Fails, naming the file, if one is malformed. The caller frees it. */
json_t *verdicts_references(const char *folder, const char *profile);

/* verdicts_judge: the verdicts on a run. summary: as in its summary.json; references:
   other summaries of the same profile, {NAME: summary}; data: the profile's, "toyland"
   or "real". The caller frees it. Its shape is in the chapter "Verdicts". */
json_t *verdicts_judge(const json_t *summary, const json_t *references,
                       const char *data);

/* verdicts_set: sets what the report quotes of them, verdicts.…, agreement.… and
   tolerance.…; the chapter lists the keys. */
void verdicts_set(const json_t *verdicts, json_t *values);

/* verdicts_tables: writes FOLDER/tables/verdicts.tsv and agreement.tsv. */
void verdicts_tables(const json_t *verdicts, const char *folder);

/* verdicts_print: prints them for people. */
void verdicts_print(const json_t *verdicts);

/* verdicts_main: the command `distil verdicts`; argv[0] is "verdicts". Prints the
   verdicts that `distil results` left. */
int verdicts_main(int argc, char **argv);

#endif
