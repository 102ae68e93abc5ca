/* Tangled from chapters/59-probes.md; edit there. */
#ifndef INSPECT_H
#define INSPECT_H

/* The command `distil inspect`; returns the exit status. */
int inspect_main(int argc, char **argv);

#endif
