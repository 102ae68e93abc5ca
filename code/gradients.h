/* Tangled from chapters/59-probes.md; edit there. */
#ifndef GRADIENTS_H
#define GRADIENTS_H

/* The command `distil gradients`; returns the exit status. */
int gradients_main(int argc, char **argv);

#endif
