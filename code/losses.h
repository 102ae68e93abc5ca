/* Tangled from chapters/16-triple-loss.md; edit there. */
#ifndef LOSSES_H
#define LOSSES_H

#include "arena.h"
#include "encoder.h"

/* State the settings of the triple loss */
/* Which tokens a term looks at: all, with the padding, if there is any; all but the
   padding; or the masked ones alone. */
enum positions { ALL_POSITIONS, REAL_POSITIONS, MASKED_POSITIONS };

/* What the sum of the divergences is divided by: the tokens it is over, or the batch's
   sequences. */
enum divisor { BY_TOKENS, BY_SEQUENCES };

/* Hidden states that the cosine compares: number l is the output of l layers. */
struct layer_pair {
    int student, teacher;
};

enum { MAX_PAIRS = 64 };

struct loss_settings {
    float mlm, kl, cosine;           /* weights of the three terms; 0: left out */
    float relations;                 /* and of the fourth */
    float temperature;               /* of the soft targets */
    enum positions kl_positions;
    enum divisor kl_divisor;
    enum positions cosine_positions;
    int pairs;                       /* the cosine is the mean over these pairs */
    struct layer_pair pair[MAX_PAIRS];
    int relation_heads;              /* of teacher and student alike */
};

/* State what a loss reports */
enum { LOSS_TERMS = 4 };

/* The terms of the loss, before their weights, and what they were measured on. A term
   that is left out reads 0. Fine-tuning reports its loss as mlm, and as masked its
   sequences, or of spans their ends. */
struct loss_values {
    double mlm;     /* mean of -log p(word) over the masked tokens */
    double kl;      /* T^2 KL(teacher || student), divided as the settings say */
    double cosine;  /* mean of 1 - cos */
    double relations; /* mean over tokens and heads of the three divergences' sum */
    double total;   /* the weighted sum, which is what training makes smaller */
    int masked;     /* tokens with a label */
    int correct;    /* of these, how many the student's first choice was right on */
    int tokens;     /* of the batch, padding included */
    struct {
        double weight, count; /* in the total; what it is a mean over */
    } terms[LOSS_TERMS];      /* of mlm, kl, cosine and relations */
};

/* loss_values_join: makes *values what they would be of the batches of both. */
void loss_values_join(struct loss_values *values, const struct loss_values *more);

/* State the steps of training */
/* Each step runs a batch forward and backward and adds share times the gradient of its
   loss to model->gradient (times the loss scale); share is 1 / (batches per step of the
   optimiser). key: of the step's dropout. values: set, unless NULL: then the device is
   not waited for, and what was measured is counted into the values of the next step
   that asks. */

/* distillation_step: the triple loss. Both models have MLM heads and the same
   vocabulary; the student learns everything. The teacher is not asked for what no
   weight wants, and may be NULL if only mlm has one. Fails if a pair of layers does not
   exist or differs in width, or if the relation heads do not divide a width. */
void distillation_step(struct model *student, struct model *teacher,
                       const struct batch *batch, const struct loss_settings *settings,
                       uint64_t key, float share, struct loss_values *values);

/* relations_refuse: fails if relations have a weight and their heads do not divide the
   widths of both models. */
void relations_refuse(const struct loss_settings *settings, const struct shape *teacher,
                      const struct shape *student);

/* distillation_ahead: has the teacher read, beside whatever is called before the next
   distillation_step, the batch that this will be given. A step that is given another
   batch has the teacher read that. The batch must not change until then. */
void distillation_ahead(struct model *teacher, const struct batch *batch,
                        const struct loss_settings *settings);

/* masked_lm_step: masked-language modelling alone. With LEARN_HEAD the encoder runs
   without dropout and without a way back. */
void masked_lm_step(struct model *model, const struct batch *batch, uint64_t key,
                    float share, struct loss_values *values);

/* masked_lm_evaluate: measures the same loss without dropout and without learning. */
void masked_lm_evaluate(struct model *model, const struct batch *batch,
                        struct loss_values *values);

/* classification_step: the cross-entropy of batch->classes, for models with
   HEAD_CLASSIFIER; if there is one class, the mean square of what its logit misses
   batch->numbers by. With soft_share, classes are learnt from batch->soft as well:
   total = (1 - soft_share) mlm + soft_share kl. */
void classification_step(struct model *model, const struct batch *batch, uint64_t key,
                         float share, struct loss_values *values);

/* classification_predict: logits, host [sequences, classes], without dropout. */
void classification_predict(struct model *model, const struct batch *batch,
                            float *logits);

/* span_step: the cross-entropy of the two ends of batch->spans, each among the visible
   tokens of its sequence, for models with HEAD_SPAN. Sequences have two tokens at
   least. With soft_share, as above. */
void span_step(struct model *model, const struct batch *batch, uint64_t key,
               float share, struct loss_values *values);

/* span_predict: logits, host [tokens, 2], without dropout. */
void span_predict(struct model *model, const struct batch *batch, float *logits);

/* losses_room: room in an arena for the rows of the losses of a model, for batches of
   token_room tokens and sequence_room sequences. */
struct loss_rows losses_room(const struct model *model, struct arena *arena);

#endif
