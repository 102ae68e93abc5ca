/* Tangled from chapters/59-trust.md; edit there. */
#ifndef ARTIFACT_H
#define ARTIFACT_H

/* artifact_main: the command `distil artifact`; argv[0] is "artifact". */
int artifact_main(int argc, char **argv);

#endif
