/* Tangled from chapters/52-pretraining.md; edit there. */
#ifndef PRETRAIN_H
#define PRETRAIN_H

/* The command `distil pretrain`: makes RUN/models/teacher. Returns the exit status. */
int pretrain_main(int argc, char **argv);

#endif
