/* Tangled from chapters/29-toyland.md; edit there. */
#ifndef TOYLAND_H
#define TOYLAND_H

#include <stdint.h>

/* State what to generate */
/* What to generate: everything follows from the seed and these sizes. */
struct toyland {
    const char *folder;   /* where to write; made if missing */
    uint64_t seed;
    int paragraphs;       /* of the training corpus; a twentieth more for validation */
    int train, dev;       /* rows of each task */
};

/* State how Toyland is written */
/* toyland_write: writes below the folder
     vocab.txt                                                 a WordPiece vocabulary
     corpus/wiki.{train,valid}.tokens                          WikiText's format
     glue/CoLA/{train,dev}.tsv                                 CoLA's
     glue/MRPC/msr_paraphrase_{train,test}.txt, mrpc_dev_ids.tsv
     imdb/aclImdb/{train,test}/{pos,neg}/NUMBER_STARS.txt      IMDb's
   Same settings, same bytes. Fails, naming the file, if one cannot be written. */
void toyland_write(const struct toyland *toyland);

/* toyland_main: the command `distil toyland`; returns the exit status. */
int toyland_main(int argc, char **argv);

#endif
