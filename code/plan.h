/* Tangled from chapters/45-plan.md; edit there. */
#ifndef PLAN_H
#define PLAN_H

#include "losses.h"
#include "optimizer.h"
#include "settings.h"
#include "task.h"

#include <jansson.h>

/* State how a model is trained */
/* How a model is trained. */
struct recipe {
    double epochs;
    int batch;       /* sequences, or rows of a task */
    int accumulate;  /* batches whose gradients are averaged for one step */
    int pad;         /* sequences are padded to so many tokens; 0: not at all */
    struct optimizer_settings optimizer; /* but its steps, which depend on the data */
};

/* State which texts there are */
/* A task whose training rows are read as a text, but so many of them held back. */
struct task_text {
    const struct task *task;
    int held_back;
};

enum { MOST_TEXTS = 16 };

/* Which texts a model is trained on. */
struct corpus_settings {
    const char *train, *validation;     /* names, patterns and alternatives */
    int task_count;
    struct task_text tasks[MOST_TEXTS]; /* they take turns with train */
    long train_tokens, validation_tokens; /* so many are used; 0: all */
    int length;                         /* tokens of a sequence */
    bool split;                         /* a longer line goes on in further ones */
};

/* State what a planned model is */
enum tier {
    TIER_CORE, TIER_SEEDS, TIER_STUDENTS, TIER_ABLATIONS, TIER_GLUE, TIER_SQUAD,
    TIER_EXTENDED, TIERS
};

/* Their names, and what each has, for people. */
extern const char *const tier_names[TIERS], *const tier_titles[TIERS];

enum initial { INITIAL_TEACHER, INITIAL_RANDOM, INITIAL_FOLDER };

enum { MOST_SEEDS = 64 };

/* How a student takes the places of its teacher's layers. */
struct replacing {
    double rate;  /* the probability of each layer in the first step; then it rises */
    double share; /* of the steps, after which it is 1 */
};

/* The teacher or a student. */
struct planned_model {
    const char *name, *title;        /* "student-random", "student, random start" */
    int rank;                        /* its place in tables, from 0 */
    enum tier tier;
    bool student;
    bool asked;                      /* some task is fine-tuned from it */
    /* Say as what a student begins */
    const struct planned_model *from; /* NULL: none */
    bool hears;                      /* teachers of its tasks, being from another */
    bool replaces;                   /* layers of a fine-tuned teacher, in this way: */
    struct replacing replacing;
    enum initial initial;
    const char *folder;              /* of INITIAL_FOLDER, below the data folder */
    int layers, layer[MAX_PAIRS];    /* the teacher's that it takes over, from 0 */
    /* Say from what a student learns */
    struct loss_settings losses;     /* but its pairs of layers */
    bool copied_layers;              /* the cosine compares each with its origin */
    struct recipe recipe;
    struct corpus_settings corpus;
    bool own_texts;                  /* which are other ones than [corpus] has */
    int seeds, seed[MOST_SEEDS];     /* of its distillations */
};

/* State what a planned task is */
/* What a student hears of fine-tuned teachers while it learns a task. */
struct teaching {
    int teachers;             /* how many; 0: none */
    double soft, temperature; /* the share of the soft targets in the loss */
};

struct planned_task {
    const struct task *task;
    enum tier tier;
    int seeds, seed[MOST_SEEDS];
    int model_count;
    const struct planned_model **models; /* by rank */
    bool *extended;                      /* [model_count] listed as an extended one */
    int length, stride;                  /* tokens; stride: of spans */
    int train_rows, dev_rows;            /* of a class-balanced sample; 0: all */
    int held_back;                       /* rows that are not trained on, and */
    bool rehearsal;                      /* they are predicted, not the development
                                            set */
    struct recipe recipe;
};

/* State what a planned stage is */
enum stage_kind { PRETRAIN, DISTILL, FINETUNE };

/* One run of the trainer. */
struct planned_stage {
    enum stage_kind kind;
    char *name;                        /* of its record: "finetune-cola-student-1" */
    const struct planned_model *model;
    const struct planned_task *task;   /* of FINETUNE; else NULL */
    int seed;
    int distillation;                  /* which of the model's: see plan_distillation */
    enum tier tier;
    bool kept;                         /* a fine-tuned teacher that students hear */
    int need_count, *needs;            /* stages whose models it takes, by number */
};

/* State what a plan is */
struct plan {
    struct settings *settings;           /* owned */
    /* Hold the settings of the run */
    int jobs;                            /* stages side by side */
    double checkpoint, weave;            /* seconds between two; 0: none */
    const char *device;
    bool same_bits;                      /* all products are made in order */
    bool toyland, extended;
    uint64_t seed;                       /* of the teacher and its corpus */
    int paragraphs, train, dev;          /* of Toyland */
    /* Hold what the teacher is made from */
    const char *source, *vocabulary;     /* of the teacher */
    bool scratch;                        /* it is trained from scratch: */
    struct shape shape;                  /* all but the number of pieces */
    struct recipe recipe;                /* of the teacher, or of the head it lacks */
    struct corpus_settings corpus;
    int model_count;
    struct planned_model *models;        /* by rank; the teacher first */
    int task_count;
    struct planned_task *tasks;          /* in the order of the profile */
    int stage_count;
    struct planned_stage *stages;
};

/* State what can be asked of a plan */
/* plan_open: what the settings, which it takes over, ask for. Fails, naming the profile
   or the line, on what it cannot make sense of. The caller closes it. */
struct plan *plan_open(struct settings *settings);
void plan_close(struct plan *plan);

/* plan_model, plan_task, plan_stage: by name, or NULL. A task that is only examined,
   with the models of another one, is found as that. */
const struct planned_model *plan_model(const struct plan *plan, const char *name);
const struct planned_task *plan_task(const struct plan *plan, const char *name);
const struct planned_stage *plan_stage(const struct plan *plan, const char *name);

/* plan_tier: the tier of that name; the last if it is NULL. Fails on any other name. */
enum tier plan_tier(const char *name);

/* plan_asks: whether the task is fine-tuned from the model. */
bool plan_asks(const struct planned_task *task, const struct planned_model *model);

/* plan_distillation: which of a student's distillations, from 0, the fine-tuning with
   the seed at this place of its task begins with; 0 of a teacher. */
int plan_distillation(const struct planned_model *model, int place);

/* plan_distilled: the name of a distilled student, "student", or "student.2" for one
   of a further seed; the caller frees it. plan_student: the student of such a name, and
   in *distillation which of its own it is; NULL for any other name. */
char *plan_distilled(const struct planned_model *model, int distillation);
const struct planned_model *plan_student(const struct plan *plan, const char *name,
                                         int *distillation);

/* plan_teaching: what a model, by its name, hears while it learns a task. plan_recipe:
   how it is trained then. */
struct teaching plan_teaching(const struct plan *plan, const struct planned_task *task,
                              const char *model);
struct recipe plan_recipe(const struct plan *plan, const struct planned_task *task,
                          const char *model);

/* plan_settings: what a stage is made with, {"section.key": "value"}. model, task: the
   names, NULL where there is none. The caller releases it. plan_hashed: the same as the
   lines "[section] key = value" that its key hashes, less what changes nothing in what
   it computes; the caller frees it. */
json_t *plan_settings(const struct plan *plan, enum stage_kind kind, const char *model,
                      const char *task);
char *plan_hashed(const struct plan *plan, enum stage_kind kind, const char *model,
                  const char *task);

#endif
