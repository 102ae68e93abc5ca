/* Tangled from chapters/49-start.md; edit there. */
#include "checkpoint.h"
#include "fail.h"
#include "file.h"
#include "losses.h"
#include "model.h"
#include "optimizer.h"
#include "pretrain.h"
#include "room.h"
#include "task.h"
#include "theseus.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Add up what a run takes */
struct room {
    const struct stage *stage;
    const struct kernels *kernels;
    struct shape teacher;
    long together;  /* stages that share the memory */
    size_t memory;  /* of what runs at one time, at most */
};

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The bytes of a model in training: of a shape, by batches of so many tokens. */
static size_t in_training(struct room *room, const struct shape *shape, enum head head,
                          int classes, enum learning learning, int tokens,
                          int sequences)
{
    const struct kernels *k = room->kernels;
    struct parameters plan = parameters_plan(shape, head, classes);
    size_t bytes = encoder_bytes(k, shape, head, classes, learning, tokens, sequences)
                   + optimizer_bytes(&plan) + checkpoint_bytes(k, &plan);
    parameters_free(&plan);
    return bytes;
}

/* Take the teacher into account */
/* The tokens of a batch of a corpus. */
static int corpus_tokens(const struct recipe *recipe,
                         const struct corpus_settings *corpus)
{
    int length = recipe->pad > corpus->length ? recipe->pad : corpus->length;
    return recipe->batch * length;
}

static void add_teacher(struct room *room, const char *folder)
{
    const struct stage *stage = room->stage;
    const struct plan *plan = stage->plan;
    if (plan->scratch) {
        /* Add the training of a teacher from scratch */
        char *path = text_format("%s/%s", stage->data, plan->vocabulary);
        struct tokenizer *tokenizer = tokenizer_open(path);
        room->teacher = scratch_shape(plan, tokenizer->count);
        tokenizer_free(tokenizer);
        free(path);
        int tokens = corpus_tokens(&plan->recipe, &plan->corpus);
        room->memory = in_training(room, &room->teacher, HEAD_MLM, 0, LEARN_ALL, tokens,
                                   plan->recipe.batch);
    } else {
        char *config = text_format("%s/config.json", folder);
        if (!file_exists(config))
            fail(plan->source, "expected a model folder there or below %s; give "
                 "TEACHER=FOLDER or TEACHER=scratch", stage->data);
        free(config);
        room->teacher = model_shape(folder);
    }
}

/* Take a student into account */
static void add_student(struct room *room, const struct planned_stage *distillation,
                        long together)
{
    const struct planned_model *model = distillation->model;
    struct shape shape = model_student_shape(&room->teacher, model->layers);
    relations_refuse(&model->losses, &room->teacher, &shape);
    int sequences = model->recipe.batch,
        tokens = corpus_tokens(&model->recipe, &model->corpus);
    size_t bytes = in_training(room, &shape, HEAD_MLM, 0, LEARN_ALL, tokens, sequences)
                   + encoder_bytes(room->kernels, &room->teacher, HEAD_MLM, 0,
                                   LEARN_NOTHING, tokens, sequences);
    room->memory = most(room->memory, bytes * (size_t)together);
}

/* Take a task into account */
/* Adds the fine-tuning of the teacher, which is larger than its students. */
static void add_task(struct room *room, const struct planned_task *planned)
{
    const struct task *task = planned->task;
    int size = planned->recipe.batch, tokens = size * planned->length;
    enum head head = task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    size_t bytes = in_training(room, &room->teacher, head, task->classes, LEARN_ALL,
                               tokens, size);
    room->memory = most(room->memory, bytes * (size_t)room->together);
}

static void add_replacing(struct room *room, const struct planned_stage *s)
{
    const struct task *task = s->task->task;
    struct shape shape = theseus_shape(&room->teacher, s->model);
    struct recipe recipe = plan_recipe(room->stage->plan, s->task, s->model->name);
    enum head head = task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    int size = recipe.batch, tokens = size * s->task->length;
    size_t bytes = in_training(room, &shape, head, task->classes, LEARN_LAYERS, tokens,
                               size)
                   + theseus_bytes(room->kernels, &room->teacher, &shape, head,
                                   task->classes, tokens, size);
    room->memory = most(room->memory, bytes * (size_t)room->together);
}

/* Count the bytes on the disk */
/* The bytes of a model that is not there yet; *largest: the most parameters so far. */
static size_t model_to_come(char *path, const struct shape *shape, enum head head,
                            int classes, size_t *largest)
{
    struct parameters plan = parameters_plan(shape, head, classes);
    size_t bytes = path && !file_exists(path) ? plan.size * sizeof(float) : 0;
    *largest = most(*largest, plan.size);
    parameters_free(&plan);
    free(path);
    return bytes;
}

static size_t stage_disk(const struct stage *stage, const struct planned_stage *s,
                         const struct shape *teacher, size_t *largest)
{
    struct shape shape = *teacher;
    char *path = NULL;
    if (s->kind == FINETUNE) {
        /* Count the model of a fine-tuning */
        const struct task *task = s->task->task;
        if (s->kept)
            path = stage_path(stage, "teachers/%s-%d/model.safetensors", task->name,
                              s->seed);
        return model_to_come(path, &shape,
                             task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER,
                             task->classes, largest);
    }
    char *name = s->kind == DISTILL ? plan_distilled(s->model, s->distillation)
                                    : text_format("teacher");
    if (s->kind == DISTILL)
        shape = model_student_shape(teacher, s->model->layers);
    path = stage_path(stage, "models/%s/model.safetensors", name);
    free(name);
    return model_to_come(path, &shape, HEAD_MLM, 0, largest);
}

size_t room_disk(const struct stage *stage, const struct shape *teacher,
                 enum tier last)
{
    const struct plan *plan = stage->plan;
    size_t bytes = 0, largest = 0;
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].tier <= last)
            bytes += stage_disk(stage, &plan->stages[i], teacher, &largest);
    size_t checkpoint = plan->checkpoint > 0 ? 3 * largest * sizeof(float) : 0;
    return bytes + 2 * checkpoint * (size_t)plan->jobs;
}

/* Say how much room a run takes */
size_t room_needed(const struct stage *stage, const char *teacher, enum tier last)
{
    const struct plan *plan = stage->plan;
    struct room room = {.stage = stage, .kernels = stage_kernels(stage),
                        .together = stage->launched ? 1 : plan->jobs};
    /* Go through teacher, students and tasks */
    add_teacher(&room, teacher);
    long count = 0;
    for (int i = 0; i < plan->stage_count; i++)
        count += plan->stages[i].kind == DISTILL && plan->stages[i].tier <= last;
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].kind == DISTILL && plan->stages[i].tier <= last)
            add_student(&room, &plan->stages[i],
                        count < room.together ? count : room.together);
    for (int i = 0; i < plan->task_count; i++)
        if (plan->tasks[i].tier <= last)
            add_task(&room, &plan->tasks[i]);
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].model->replaces && plan->stages[i].tier <= last)
            add_replacing(&room, &plan->stages[i]);
    room.kernels->reserve(room.memory, "lower [run] jobs, or batches and lengths");
    return room_disk(stage, &room.teacher, last);
}
