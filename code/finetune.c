/* Tangled from chapters/36-fine-tuning.md; edit there. */
#include "card.h"
#include "ensemble.h"
#include "checkpoint.h"
#include "elementary.h"
#include "fail.h"
#include "file.h"
#include "loader.h"
#include "model.h"
#include "task.h"
#include "theseus.h"
#include "training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* State the usage of fine-tuning and evaluation */
static const char finetune_usage[] =
    "usage: distil finetune --profile FILE --run DIR --data DIR --task NAME\n"
    "                       --model DIR --name NAME --seed N [--out DIR]\n"
    "                       [--resume] [--lines] [--key HASH] [--ranks N]\n"
    "                       [--SECTION.SETTING VALUE …]\n\n"
    "Trains the model folder --model on a task and writes what it predicts for\n"
    "the development set to predictions/TASK-NAME-SEED.tsv in the run's folder.\n"
    "--out keeps the model, too.\n";

static const char evaluate_usage[] =
    "usage: distil evaluate --profile FILE --run DIR --data DIR --task NAME\n"
    "                       --model DIR --name NAME --seed N\n"
    "                       [--SECTION.SETTING VALUE …]\n\n"
    "Predicts a task's development set with a model that was fine-tuned for it\n"
    "(finetune --out), and writes predictions/TASK-NAME-SEED.tsv in the run's\n"
    "folder.\n";

/* Describe a fine-tuning */
enum { MOST_EXAMS = 4 };

struct finetuning {
    const struct task *task;
    const struct planned_task *planned;
    const struct planned_model *student; /* that replaces the layers of --model, which
                                            is its teacher; or NULL */
    struct recipe recipe;
    struct tokenizer *tokenizer;
    struct examples *train;
    struct ensemble *ensemble;  /* of teachers for the training set, or NULL */
    struct theseus *theseus;    /* of the student, or NULL */
    /* Keep the exams */
    struct exam {
        const struct task *task;
        struct examples *examples;
        double score;
    } exams[MOST_EXAMS];        /* what is predicted in the end */
    int exam_count;
    /* Keep how the batches come */
    struct batch *batch;
    struct loader *loader;      /* of batches to train on */
    int size;                   /* examples in a batch */
    int *order;                 /* [train->count] of this epoch */
    long epoch;
    struct cut cut;             /* of the batches to train on */
    /* Keep who learns */
    struct shape teacher;       /* of --model, whoever that is */
    struct shape shape;         /* of who learns */
    struct parameters parameters;
    float *values;              /* [parameters.size] */
    enum head head;             /* the one that answers the task */
    struct model *model;
    struct record *record;
    uint64_t seed;
};

/* Read the examples of a task */
static struct examples *read_split(const struct stage *stage, struct finetuning *f,
                                   const struct task *task, enum split split)
{
    const struct planned_task *p = f->planned;
    if (p->length > f->shape.positions)
        fail(stage->model, "knows %d positions; the profile's length is %d",
             f->shape.positions, p->length);
    struct reading reading = {.length = p->length,
                              .stride = p->stride,
                              .limit = split == TRAIN ? p->train_rows : p->dev_rows,
                              .held_back = p->held_back};
    struct examples *examples =
        task_read(task, stage->data, split, f->tokenizer, reading);
    /* Say if they are not all of the task */
    if (!stage->plan->toyland)
        task_check_rows(task, split, examples);
    if (examples->kept < examples->rows && f->record)
        record_cut(f->record, examples->kept, examples->rows, "rows", "%s %s:",
                   task->title, split == DEV ? "dev" : "train");
    return examples;
}

static void read_exams(const struct stage *stage, struct finetuning *f)
{
    if (f->task->of)
        fail(f->task->name, "has no training set; it is predicted along with %s",
             f->task->of);
    enum split split = f->planned->rehearsal ? HELD_BACK : DEV;
    for (const struct task *task = task_list; task->name; task++)
        if (task == f->task || (split == DEV && task->of
                                && strcmp(task->of, f->task->name) == 0)) {
            /* Add an exam */
            if (f->exam_count == MOST_EXAMS)
                fail(task->name, "is one task of %s too many", f->task->name);
            f->exams[f->exam_count++] =
                (struct exam){task, read_split(stage, f, task, split), 0};
        }
}

/* Read the model that shall learn the task */
static void read_model(const struct stage *stage, struct finetuning *f, bool fresh)
{
    f->teacher = model_shape(stage->model);
    f->shape = f->student ? theseus_shape(&f->teacher, f->student) : f->teacher;
    f->head = f->task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    f->parameters = parameters_plan(&f->shape, f->head, f->task->classes);
    f->values = allocate(f->parameters.size, sizeof *f->values);
    if (f->student) {
        theseus_begin(stage->model, f->student, f->head, f->task->classes,
                      &f->parameters, f->values);
    } else if (fresh) {
        /* Take the encoder and draw a new last map */
        bool *found = allocate((size_t)f->parameters.count, sizeof *found);
        model_read(stage->model, &f->parameters, f->values, found);
        for (int i = 0; i < f->parameters.count; i++)
            if (strstr(f->parameters.list[i].name, "classifier")
                || strstr(f->parameters.list[i].name, "qa_outputs"))
                found[i] = false;
        model_initialise(&f->parameters, f->shape.initializer_range, f->values, found,
                         f->seed);
        free(found);
    } else {
        model_read(stage->model, &f->parameters, f->values, NULL);
    }
}

/* Put the model on the device */
static void place_model(const struct stage *stage, struct finetuning *f,
                        enum learning learning)
{
    const struct kernels *k = stage_kernels(stage);
    int tokens = f->size * f->planned->length;
    /* Count the memory that this takes */
    size_t bytes = encoder_bytes(k, &f->shape, f->head, f->task->classes, learning,
                                 tokens, f->size);
    if (learning != LEARN_NOTHING)
        bytes += optimizer_bytes(&f->parameters) + checkpoint_bytes(k, &f->parameters);
    if (f->student)
        bytes += theseus_bytes(k, &f->teacher, &f->shape, f->head, f->task->classes,
                               tokens, f->size);
    k->reserve(bytes, "lower [finetune] batch or length");
    f->batch = batch_create(tokens, f->size);
    f->model = encoder_create(k, &f->shape, f->head, f->task->classes, f->values,
                              learning);
}

/* Have the student replace its teacher */
static void take_places(const struct stage *stage, struct finetuning *f, long batches)
{
    if (!f->student)
        return;
    struct model *teacher = encoder_open(f->model->k, stage->model, f->head,
                                         f->task->classes, LEARN_NOTHING);
    f->theseus = theseus_create(f->model, teacher, &f->student->replacing, &f->recipe,
                                batches, f->seed);
}

static void leave_places(struct finetuning *f)
{
    if (f->theseus)
        theseus_free(f->theseus);
    f->theseus = NULL;
}

/* Ask the teachers that the student shall hear */
static void ask_teachers(const struct stage *stage, struct finetuning *f)
{
    struct teaching teaching = plan_teaching(stage->plan, f->planned, stage->name);
    int count = teaching.teachers;
    if (count == 0)
        return;
    if (count > f->planned->seeds)
        fail(stage->name, "wants %d teachers; only %d seeds of %s are listed", count,
             f->planned->seeds, f->task->title);
    /* Find the folders of the teachers */
    char **folders = allocate((size_t)count, sizeof *folders);
    for (int i = 0; i < count; i++) {
        folders[i] = stage_path(stage, "teachers/%s-%d", f->task->name,
                                count == 1 ? (int)stage->seed : f->planned->seed[i]);
        record_from(f->record, folders[i]);
    }
    f->ensemble = ensemble_ask(stage_kernels(stage), folders, count, f->task, f->train,
                               f->size, f->shape.vocabulary, (float)teaching.soft,
                               (float)teaching.temperature, f->record);
    for (int i = 0; i < count; i++)
        free(folders[i]);
    free(folders);
}

/* Fine-tune on one batch */
static void prepare(void *context, long index, struct batch *batch)
{
    struct finetuning *f = context;
    long epoch = cut_epoch(&f->cut, index);
    int first = cut_first(&f->cut, index);
    if (epoch != f->epoch) {
        /* Draw the order of the epoch */
        free(f->order);
        f->order = batch_order(f->train->count, f->seed, (int)epoch);
        f->epoch = epoch;
    }
    examples_batch(f->train, f->order, first, f->cut.size, batch, 0);
    if (f->ensemble)
        ensemble_advise(f->ensemble, f->order, first, batch);
}

static int work(void *context, long index, float share, struct loss_values *values)
{
    struct finetuning *f = context;
    const struct batch *batch = loader_batch(f->loader, index);
    if (f->theseus)
        theseus_draw(f->theseus, index / ranks_count());
    uint64_t key = random_key(f->seed, (uint64_t)index, 0);
    if (f->head == HEAD_SPAN)
        span_step(f->model, batch, key, share, values);
    else
        classification_step(f->model, batch, key, share, values);
    return batch->tokens;
}

/* Predict the development set */
static void predict(struct finetuning *f, const struct examples *examples,
                    double *predictions, double *scores)
{
    int classes = f->task->classes;
    float *logits = allocate((size_t)f->size * (size_t)classes, sizeof *logits);
    for (int first = 0; first < examples->count; first += f->size) {
        record_part(f->record, "exam", first, examples->count);
        examples_batch(examples, NULL, first, f->size, f->batch, 0);
        classification_predict(f->model, f->batch, logits);
        for (int i = 0; i < f->batch->sequences; i++) {
            const float *z = logits + (size_t)i * (size_t)classes;
            /* Choose a class and say how likely class 1 is */
            int best = 0;
            double total = 0;
            for (int c = 1; c < classes; c++)
                best = z[c] > z[best] ? c : best;
            for (int c = 0; c < classes; c++)
                total += exponential_double((double)z[c] - z[best]);
            predictions[first + i] = classes == 1 ? z[0] : best;
            scores[first + i] =
                classes == 1 ? z[0]
                             : exponential_double((double)z[1] - z[best]) / total;
        }
    }
    record_part(f->record, "exam", examples->count, examples->count);
    free(logits);
}

static struct reply *find_answers(struct finetuning *f, const struct examples *e)
{
    float *logits = allocate(2 * (size_t)f->batch->token_room, sizeof *logits);
    struct reply *best = allocate((size_t)e->questions->count, sizeof *best);
    for (int i = 0; i < e->questions->count; i++)
        best[i].score = -INFINITY;
    for (int first = 0; first < e->count; first += f->size) {
        record_part(f->record, "exam", first, e->count);
        examples_batch(e, NULL, first, f->size, f->batch, 0);
        span_predict(f->model, f->batch, logits);
        /* Let each window improve on its question's answer */
        for (int s = 0; s < f->batch->sequences; s++) {
            const struct window *window = &e->windows[first + s];
            window_find(e->questions, window, logits + 2 * f->batch->offsets[s],
                        &best[window->question]);
        }
    }
    record_part(f->record, "exam", e->count, e->count);
    free(logits);
    return best;
}

/* Write the predictions */
/* Writes the rows and returns the score. */
static double write_answers(struct finetuning *f, const struct exam *exam,
                            FILE *stream)
{
    const struct examples *e = exam->examples;
    double *predictions = allocate((size_t)e->count, sizeof *predictions);
    double *scores = allocate((size_t)e->count, sizeof *scores);
    predict(f, e, predictions, scores);
    fprintf(stream, "index\tlabel\tprediction\tscore\n");
    for (int i = 0; i < e->count; i++)
        fprintf(stream, "%d\t%.9g\t%.9g\t%.6f\n", e->indices[i], e->labels[i],
                predictions[i], scores[i]);
    double score = metric_score(exam->task->metric, e->labels, predictions, e->count);
    free(scores);
    free(predictions);
    return score;
}

static double write_replies(struct finetuning *f, const struct exam *exam, FILE *stream)
{
    const struct questions *q = exam->examples->questions;
    struct reply *best = find_answers(f, exam->examples);
    double total = 0;
    fprintf(stream, "index\tid\tf1\texact\tscore\tprediction\n");
    for (int i = 0; i < q->count; i++) {
        const struct question *question = &q->list[i];
        /* Write and judge the answer to a question */
        struct extent at = best[i].extent;
        char *text = text_format("%.*s", at.to - at.from, question->context + at.from);
        for (char *c = text; *c; c++)
            *c = strchr("\t\n\r", *c) ? ' ' : *c;
        double f1 = text_overlap(text, question->answers, question->answer_count);
        bool exact = text_exact(text, question->answers, question->answer_count);
        fprintf(stream, "%d\t%s\t%.9g\t%d\t%.6f\t%s\n", question->index, question->id,
                f1, exact, isfinite(best[i].score) ? best[i].score : 0, text);
        total += f1;
        free(text);
    }
    free(best);
    return 100 * total / q->count;
}

static void write_predictions(const struct stage *stage, struct finetuning *f,
                              struct exam *exam)
{
    char *path = stage_path(stage, "predictions/%s-%s-%ld.tsv", exam->task->name,
                            stage->name, stage->seed);
    struct file_writer *writer = file_create(path);
    exam->score = exam->task->answer == A_SPAN
                      ? write_replies(f, exam, file_stream(writer))
                      : write_answers(f, exam, file_stream(writer));
    file_commit(writer);
    fprintf(stderr, "%s-%s-%ld: %s %.2f\n", exam->task->name, stage->name, stage->seed,
            metric_name(exam->task->metric), exam->score);
    if (f->record)
        record_left(f->record, path);
    free(path);
}

static void take_exams(const struct stage *stage, struct finetuning *f)
{
    for (int i = 0; i < f->exam_count; i++)
        write_predictions(stage, f, &f->exams[i]);
}

/* Notes what the model is called and what it came to. */
static void record_scores(struct record *record, const struct stage *stage,
                          const struct finetuning *f)
{
    json_t *scores = json_object();
    for (int i = 0; i < f->exam_count; i++)
        json_object_set_new(scores, f->exams[i].task->name,
                            json_real(f->exams[i].score));
    record_set(record, "model", json_string(stage->name));
    record_set(record, "scores", scores);
}

/* Fine-tune a model on a task */
/* Begin a fine-tuning or an evaluation */
static struct finetuning begin(const struct stage *stage, struct record *record,
                               bool fresh)
{
    struct finetuning f = {
        .task = task_find(stage->task), .record = record, .epoch = -1};
    /* Ask the plan how the model learns the task */
    f.planned = plan_task(stage->plan, stage->task);
    if (!f.planned)
        fail(stage->profile, "[finetune] tasks: expected %s among them", stage->task);
    const struct planned_model *model = plan_model(stage->plan, stage->name);
    f.student = fresh && model && model->replaces ? model : NULL;
    f.recipe = plan_recipe(stage->plan, f.planned, stage->name);
    f.seed = (uint64_t)stage->seed;
    f.size = f.recipe.batch;
    f.tokenizer = tokenizer_open(stage->model);
    read_model(stage, &f, fresh);
    read_exams(stage, &f);
    return f;
}

/* End a fine-tuning or an evaluation */
static void end(struct stage *stage, struct finetuning *f)
{
    encoder_free(f->model);
    if (f->train)
        examples_free(f->train);
    for (int i = 0; i < f->exam_count; i++)
        examples_free(f->exams[i].examples);
    batch_free(f->batch);
    tokenizer_free(f->tokenizer);
    parameters_free(&f->parameters);
    if (f->ensemble)
        ensemble_free(f->ensemble);
    free(f->order);
    free(f->values);
    stage_close(stage);
}

int finetune_main(int argc, char **argv)
{
    struct stage stage = stage_open(
        argc, argv, finetune_usage,
        "--profile --run --data --task --model --name --seed");
    char *name = text_format("finetune-%s-%s-%ld", stage.task, stage.name, stage.seed);
    struct record *record = record_open(&stage, name);
    struct finetuning f = begin(&stage, record, true);
    record_from(record, stage.model);
    /* Set up the lessons */
    f.train = read_split(&stage, &f, f.task, TRAIN);
    ask_teachers(&stage, &f);
    place_model(&stage, &f, f.student ? LEARN_LAYERS : LEARN_ALL);
    f.cut = ranks_cut(stage.profile, f.train->count, f.size);
    f.loader = loader_create(prepare, &f, f.batch->token_room, f.size);
    /* Learn the task */
    struct training training = {
        .name = name,
        .recipe = &f.recipe,
        .model = f.model,
        .batches = (long)ceil(f.recipe.epochs * (double)f.cut.per_epoch),
        .cut = &f.cut,
        .work = work,
        .context = &f,
    };
    take_places(&stage, &f, training.batches);
    training_run(&stage, &training, record);
    leave_places(&f);
    loader_free(f.loader);
    if (ranks_rank() == 0) {
        /* Leave what the model has answered */
        take_exams(&stage, &f);
        /* Keep the fine-tuned model if it was asked for */
        if (stage.out) {
            /* Write the card of the fine-tuned model */
            /* List its scores for the card */
            struct card_score scores[MOST_EXAMS];
            char *titles[MOST_EXAMS];
            for (int i = 0; i < f.exam_count; i++)
                scores[i] = (struct card_score){
                    titles[i] = card_data(&stage, f.exams[i].task->title),
                    metric_name(f.exams[i].task->metric), f.exams[i].score};
            char *making = text_format(f.student ? "It has replaced the layers of a teacher of %s, "
                                                   "with seed %ld."
                                                 : "It was fine-tuned on %s, with seed %ld.",
                                       titles[0], stage.seed);
            char *from = f.student ? card_of(stage.model)
                                   : card_inherit(card_sources(&stage, NULL, f.task->name),
                                                  stage.model);
            card_write(stage.out, &stage,
                       &(struct card){stage.name, making, &f.shape, f.head,
                                      parameters_total(&f.parameters), from, scores,
                                      f.exam_count});
            for (int i = 0; i < f.exam_count; i++)
                free(titles[i]);
            free(making);
            free(from);
            encoder_download(f.model, f.values);
            model_write(stage.out, &f.shape, &f.parameters, f.head, f.task->classes,
                        f.values, stage.model);
            record_left_model(record, stage.out);
        }
        record_scores(record, &stage, &f);
        record_set(record, "parameters",
                   json_integer((json_int_t)parameters_total(&f.parameters)));
        record_close(record);
        checkpoint_remove(&stage, name);
    }
    end(&stage, &f);
    free(name);
    return 0;
}

/* Evaluate a model that knows its task */
int evaluate_main(int argc, char **argv)
{
    struct stage stage = stage_open(
        argc, argv, evaluate_usage,
        "--profile --run --data --task --model --name --seed");
    struct finetuning f = begin(&stage, NULL, false);
    place_model(&stage, &f, LEARN_NOTHING);
    take_exams(&stage, &f);
    end(&stage, &f);
    return 0;
}
