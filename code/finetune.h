/* Tangled from chapters/54-fine-tuning.md; edit there. */
#ifndef FINETUNE_H
#define FINETUNE_H

/* The commands `distil finetune` (trains, then writes the predictions of the development set) and
   `distil evaluate` (only predicts, with a model that was fine-tuned before). Both return the exit
   status. */
int finetune_main(int argc, char **argv);
int evaluate_main(int argc, char **argv);

#endif
