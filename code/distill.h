/* Tangled from chapters/53-distillation.md; edit there. */
#ifndef DISTILL_H
#define DISTILL_H

/* The command `distil distill`: makes RUN/models/STUDENT from RUN/models/teacher or --teacher.
   Returns the exit status. */
int distill_main(int argc, char **argv);

#endif
