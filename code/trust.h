/* Tangled from chapters/59-trust.md; edit there. */
#ifndef TRUST_H
#define TRUST_H

#include <jansson.h>
#include <stdbool.h>

/* State how files are held to sums */
/* trust_fault: holds the files of a folder to sums, {"path below the folder": sum}.
   Says what is wrong with the first that has not its sum, "curves/teacher.tsv is
   damaged", "… is missing", for the caller to free; NULL if nothing is. weights: false:
   the folder is packed, and may lack files that end in .safetensors. */
char *trust_fault(const char *folder, const json_t *sums, bool weights);

/* trust_is_weights: whether a file, by its name, holds a model's numbers. */
bool trust_is_weights(const char *name);

/* State how a stage is held to what it was made from */
/* trust_origin: holds what a stage was made from, {path: sum}, to what the stages of
   the run have left since. Says which file is another one, for the caller to free; NULL
   if none is. */
char *trust_origin(const json_t *from, const json_t *left);

/* due_main: the command `distil due`; argv[0] is "due". */
int due_main(int argc, char **argv);

#endif
