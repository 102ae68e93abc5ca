/* Tangled from chapters/59-trust.md; edit there. */
#ifndef VERIFY_H
#define VERIFY_H

#include <jansson.h>
#include <stdbool.h>

/* verify_run: holds the run in a folder to its own records, and computes its results
   again. Prints what was found to be as it should; fails, naming the file or number, at
   the first that is not. weights: false: the folder is packed and holds no models.
   code: the hash of the code at hand, to be told where another code's results differ;
   "" if it is not known. Returns all its files, records too, {"path below the folder":
   sum}, for the caller to release. */
json_t *verify_run(const char *folder, bool weights, const char *code);

/* verify_main: the command `distil verify`; argv[0] is "verify". */
int verify_main(int argc, char **argv);

#endif
