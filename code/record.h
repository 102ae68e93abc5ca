/* Tangled from chapters/48-stages.md; edit there. */
#ifndef RECORD_H
#define RECORD_H

#include "stage.h"

/* The record of one running stage. */
struct record;

/* State how a record grows */
/* record_open: starts the record of the stage called name. */
struct record *record_open(const struct stage *stage, const char *name);

/* record_expect: how many steps the stage will take, of which the next begins now; for
   the progress. */
void record_expect(struct record *record, long steps);

/* record_row: adds a row to a curve, "" for the stage's own or "-validation". columns:
   the names after "step", separated by tabs; values: as many numbers. Writes the curves
   as they stand, whole, unless that was done within the last second. */
void record_row(struct record *record, const char *curve, const char *columns,
                long step, const double *values, int count);

/* record_step: the stage has done `step` steps with `tokens` more tokens; shows the
   progress. */
void record_step(struct record *record, long step, int64_t tokens, double loss);

/* record_part: `done` of a `whole` of something that is not training are done; shows
   the progress if it takes long. To be called with 0 when it begins, and with the whole
   when it ends. record: NULL: nobody watches. */
void record_part(struct record *record, const char *what, long done, long whole);

/* Seconds and tokens since the stage began, over all its resumptions. */
double record_seconds(const struct record *record);
int64_t record_tokens(const struct record *record);

/* State how a record is kept over a pause */
/* record_resume: the stage goes on after `step` steps that took `seconds` and saw
   `tokens`, with its two curves as record_curve gave them then. */
void record_resume(struct record *record, long step, double seconds, int64_t tokens,
                   const char *curve, const char *validation);

/* record_curve: the text of a curve so far, "" if it has no row; the record's. */
const char *record_curve(const struct record *record, const char *curve);

/* record_copy: the record with its curves as they stand, for another thread to read
   while the stage goes on; the caller frees it. */
struct record *record_copy(const struct record *record);
void record_free(struct record *record);

/* State what else a record takes */
/* record_set: puts a value, whose reference it takes over, into the stage's JSON
   file. */
void record_set(struct record *record, const char *key, json_t *value);

/* record_data: notes the sha256 of a file that the stage read, as sha256sum gives it,
   under its path below the data folder, or its bare name if it lies elsewhere. */
void record_data(struct record *record, const char *path);

/* record_cut: notes that the stage used only a part of the whole, as a sentence without
   full stop: "IMDb train: 1,000 of 25,000 rows". format, ...: what was cut, up to the
   numbers; unit: "rows". */
void record_cut(struct record *record, int64_t used, int64_t whole, const char *unit,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

/* record_left: notes the sum of a file that the stage left, whole, in the folder of its
   run; of a file elsewhere nothing. record_left_model: the same of the files of a model
   folder. */
void record_left(struct record *record, const char *path);
void record_left_model(struct record *record, const char *folder);

/* record_from: notes the sum of the weights in a model folder of the run, which the
   stage begins with; of a folder elsewhere nothing. */
void record_from(struct record *record, const char *folder);

/* stage_left: what record_left does, for a stage that has no such record: into
   files. */
void stage_left(const struct stage *stage, json_t *files, const char *path);

/* record_close: writes curves and stages/NAME.json (seal.h), and frees the record. */
void record_close(struct record *record);

#endif
