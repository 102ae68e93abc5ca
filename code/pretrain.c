/* Tangled from chapters/34-pretraining.md; edit there. */
#include "card.h"
#include "checkpoint.h"
#include "fail.h"
#include "feed.h"
#include "file.h"
#include "model.h"
#include "pretrain.h"
#include "training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* State the usage of pretraining */
static const char usage[] =
    "usage: distil pretrain --profile FILE --run DIR --data DIR --teacher DIR\n"
    "                       [--resume] [--lines] [--key HASH] [--ranks N]\n"
    "                       [--SECTION.SETTING VALUE …]\n\n"
    "Makes DIR/models/teacher in the run's folder: adopts the model folder\n"
    "--teacher, trains an MLM head for it if it has none, or with --teacher\n"
    "scratch trains one of the profile's shape.\n";

/* Describe the teacher in the making */
enum beginning { ADOPTED, HEADLESS, SCRATCH };

static const enum learning learnings[] = {LEARN_NOTHING, LEARN_HEAD, LEARN_ALL};

struct pretraining {
    enum beginning beginning;
    struct shape shape;
    struct parameters parameters;
    float *values;   /* [parameters.size] */
    char *vocabulary;
    struct feed feed;
    struct model *model;
    struct record *record;
    uint64_t seed;
};

/* Choose the shape of a teacher from scratch */
struct shape scratch_shape(const struct plan *plan, int vocabulary)
{
    struct shape shape = plan->shape;
    shape.family = BERT;
    shape.vocabulary = vocabulary;
    shape.types = 2;
    shape.epsilon = 1e-12f;
    shape.attention_dropout = shape.dropout;
    shape.tied = true;
    return shape;
}

/* Read or initialise the teacher */
static void begin(const struct stage *stage, struct pretraining *p)
{
    bool scratch = stage->plan->scratch;
    /* Find the teacher's vocabulary and its shape */
    if (scratch)
        p->vocabulary = text_format("%s/%s", stage->data, stage->plan->vocabulary);
    else
        p->vocabulary = text_format("%s", stage->teacher);
    struct tokenizer *tokenizer = tokenizer_open(p->vocabulary);
    p->shape = scratch ? scratch_shape(stage->plan, tokenizer->count)
                       : model_shape(stage->teacher);
    if (tokenizer->count > p->shape.vocabulary)
        fail(p->vocabulary, "has %d pieces; the model knows %d", tokenizer->count,
             p->shape.vocabulary);
    tokenizer_free(tokenizer);
    p->parameters = parameters_plan(&p->shape, HEAD_MLM, 0);
    p->values = allocate(p->parameters.size, sizeof *p->values);
    bool *found = allocate((size_t)p->parameters.count, sizeof *found);
    if (!scratch)
        model_read(stage->teacher, &p->parameters, p->values, found);
    /* Tell how the teacher begins */
    int head = 0, head_found = 0;
    for (int i = 0; i < p->parameters.count && !scratch; i++) {
        const char *name = p->parameters.list[i].name;
        bool encoder = !strncmp(name, "bert.", 5) || !strncmp(name, "distilbert.", 11);
        head += !encoder;
        head_found += !encoder && found[i];
    }
    if (head_found && head_found < head)
        fail(stage->teacher, "has %d of the %d tensors of an MLM head", head_found, head);
    p->beginning = scratch ? SCRATCH : head_found ? ADOPTED : HEADLESS;
    model_initialise(&p->parameters, p->shape.initializer_range, p->values, found,
                     p->seed);
    free(found);
}

/* Train the teacher on one batch */
static int work(void *context, long index, float share, struct loss_values *values)
{
    struct pretraining *p = context;
    feed_batch(&p->feed, index);
    masked_lm_step(p->model, p->feed.batch, random_key(p->seed, (uint64_t)index, 0),
                   share, values);
    return p->feed.batch->tokens;
}

static void validate(void *context, long step)
{
    struct pretraining *p = context;
    double values[2];
    feed_validate(&p->feed, p->model, &values[0], &values[1]);
    record_row(p->record, "-validation", "mlm\taccuracy", step, values, 2);
}

/* Make the teacher */
int pretrain_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage,
                                    "--profile --run --data --teacher");
    struct pretraining p = {
        .seed = stage.plan->seed};
    begin(&stage, &p);
    /* Put the teacher and its texts in place */
    const struct plan *plan = stage.plan;
    const struct kernels *k = stage_kernels(&stage);
    enum learning learning = learnings[p.beginning];
    p.record = record_open(&stage, "teacher");
    p.feed = feed_open(&stage, &plan->recipe, &plan->corpus, p.seed, p.vocabulary,
                       p.shape.positions, p.record);
    k->reserve(encoder_bytes(k, &p.shape, HEAD_MLM, 0, learning, p.feed.token_room,
                             p.feed.sequence_room)
                   + optimizer_bytes(&p.parameters)
                   + checkpoint_bytes(k, &p.parameters),
               p.beginning == SCRATCH ? "lower [teacher] batch or [corpus] length"
                                      : "lower [head] batch or [corpus] length");
    p.model = encoder_create(k, &p.shape, HEAD_MLM, 0, p.values, learning);
    if (p.beginning != ADOPTED) {
        /* Train the teacher for its epochs */
        struct training training = {
            .name = "teacher",
            .recipe = &plan->recipe,
            .model = p.model,
            .batches = (long)ceil(plan->recipe.epochs * (double)p.feed.cut.per_epoch),
            .cut = &p.feed.cut,
            .work = work,
            .validate = validate,
            .context = &p,
        };
        training_run(&stage, &training, p.record);
    }
    if (ranks_rank() == 0) {
        /* Leave the teacher behind */
        static const char *const beginnings[] = {"adopted", "given a head", "from scratch"};
        if (p.beginning == ADOPTED)
            validate(&p, 0);
        char *folder = stage_path(&stage, "models/teacher");
        encoder_download(p.model, p.values);
        /* Write the teacher's card */
        double loss, accuracy;
        feed_validate(&p.feed, p.model, &loss, &accuracy);
        char *making = text_format("It is a teacher, %s, on the way to a student.",
                                   beginnings[p.beginning]);
        char *from =
            card_sources(&stage, p.beginning == ADOPTED ? NULL : &plan->corpus, NULL);
        if (p.beginning != SCRATCH)
            from = card_inherit(from, stage.teacher);
        struct card_score score = {"validation text", "masked words found", 100 * accuracy};
        card_write(folder, &stage,
                   &(struct card){"teacher", making, &p.shape, HEAD_MLM,
                                  parameters_total(&p.parameters), from, &score, 1});
        free(making);
        free(from);
        model_write(folder, &p.shape, &p.parameters, HEAD_MLM, 0, p.values, p.vocabulary);
        /* Record what the teacher is */
        record_set(p.record, "beginning", json_string(beginnings[p.beginning]));
        record_set(p.record, "parameters",
                   json_integer((json_int_t)parameters_total(&p.parameters)));
        if (p.beginning != SCRATCH) {
            char *weights = text_format("%s/model.safetensors", stage.teacher);
            record_data(p.record, weights);
            free(weights);
        }
        record_left_model(p.record, folder);
        record_close(p.record);
        checkpoint_remove(&stage, "teacher");
        free(folder);
    }
    /* Forget the teacher */
    encoder_free(p.model);
    feed_close(&p.feed);
    parameters_free(&p.parameters);
    free(p.values);
    free(p.vocabulary);
    stage_close(&stage);
    return 0;
}
