/* Tangled from chapters/33-cards.md; edit there. */
#ifndef CARD_H
#define CARD_H

#include "parameters.h"
#include "stage.h"

/* State what is known of a model */
/* A figure that a model has reached. */
struct card_score {
    const char *data, *measure;  /* "CoLA", "Matthews correlation" */
    double value;                /* in percent */
};

/* What a stage knows about a model that it has made. */
struct card {
    const char *name;            /* in its run: "student" */
    const char *making;          /* whole sentences */
    const struct shape *shape;
    enum head head;
    size_t parameters;           /* how many */
    char *sources;               /* all that it was made from: card_sources */
    const struct card_score *scores;
    int count;                   /* of scores */
};

/* State what can be done with a card */
/* card_sources: what a model is made from, for its card and for the caller to free: the
   run's generated data, or the texts of a corpus and the task (each NULL: none).
   card_of: what the model of a folder was made from, as its card says; "" if it has
   none. card_inherit: adds a model folder that it begins with or hears, with all that
   this was made from; so_far is freed. */
char *card_sources(const struct stage *stage, const struct corpus_settings *texts,
                   const char *task);
char *card_of(const char *folder);
char *card_inherit(char *so_far, const char *parent);

/* card_data: what the data of this name are called on a card: "CoLA", or its likeness
   in the run's generated language; for the caller to free. */
char *card_data(const struct stage *stage, const char *title);

/* card_write: writes the model's README.md into the folder, made if it is missing. */
void card_write(const char *folder, const struct stage *stage, const struct card *card);

#endif
