/* Tangled from chapters/50-start.md; edit there. */
#include "checkpoint.h"
#include "fail.h"
#include "file.h"
#include "model.h"
#include "optimizer.h"
#include "pretrain.h"
#include "stage.h"
#include "task.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: distil room --profile FILE --run DIR --data DIR --teacher DIR\n"
    "                   [--student NAMES] [--name NAMES]\n"
    "                   [--SECTION.SETTING VALUE …]\n\n"
    "Prints how many bytes the models and checkpoints of a run will take on the\n"
    "disk beside those that are there. Fails if the memory is too small for one of\n"
    "the stages. --student: the students, separated by spaces; --name: the\n"
    "fine-tuned teachers that are kept.\n";

/* Add up what a run takes */
struct room {
    const struct stage *stage;
    const struct kernels *kernels;
    struct shape teacher;
    long jobs;
    size_t memory;  /* of what runs at one time, at most */
    size_t disk;    /* of models that are not yet there */
    size_t largest; /* parameters of a model in training */
};

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Adds a model in the run's folder of that name. */
static void add_model(struct room *room, const char *folder, const char *name,
                      const struct parameters *parameters)
{
    char *path = stage_path(room->stage, "%s/%s/model.safetensors", folder, name);
    if (!file_exists(path))
        room->disk += parameters->size * sizeof(float);
    free(path);
}

/* The bytes of a model in training: of a shape, by batches of so many tokens. */
static size_t in_training(struct room *room, const struct shape *shape, enum head head,
                          int classes, int tokens, int sequences)
{
    const struct kernels *k = room->kernels;
    struct parameters plan = parameters_plan(shape, head, classes);
    size_t bytes = encoder_bytes(k, shape, head, classes, LEARN_ALL, tokens, sequences)
                   + optimizer_bytes(&plan) + checkpoint_bytes(k, &plan);
    room->largest = most(room->largest, plan.size);
    parameters_free(&plan);
    return bytes;
}

/* Take the teacher into account */
/* The tokens of a batch of a corpus; *sequences: how many they are. */
static int corpus_tokens(struct room *room, const char *sections, int *sequences)
{
    struct settings *s = room->stage->settings;
    int length = (int)settings_count(s, "corpus", "length");
    int pad = (int)settings_count(s, sections, "pad");
    *sequences = (int)settings_count(s, sections, "batch");
    return *sequences * (pad > length ? pad : length);
}

static void add_teacher(struct room *room)
{
    const struct stage *stage = room->stage;
    bool scratch = !strcmp(stage->teacher, "scratch");
    if (scratch) {
        const char *name = settings_text(stage->settings, "teacher", "vocabulary");
        char *path = text_format("%s/%s", stage->data, name);
        struct tokenizer *tokenizer = tokenizer_open(path);
        room->teacher = scratch_shape(stage->settings, tokenizer->count);
        tokenizer_free(tokenizer);
        free(path);
        int sequences, tokens = corpus_tokens(room, "teacher", &sequences);
        room->memory = in_training(room, &room->teacher, HEAD_MLM, 0, tokens,
                                   sequences);
    } else {
        room->teacher = model_shape(stage->teacher);
    }
    struct parameters plan = parameters_plan(&room->teacher, HEAD_MLM, 0);
    add_model(room, "models", "teacher", &plan);
    parameters_free(&plan);
}

/* Take a student into account */
static void add_student(struct room *room, const char *name, long together)
{
    enum { MOST_LAYERS = 64 };
    int layers[MOST_LAYERS], sequences;
    char *sections = text_format("%s distill", name);
    int count = settings_list(room->stage->settings, sections, "layers", layers,
                              MOST_LAYERS);
    struct shape shape = model_student_shape(&room->teacher, count);
    int tokens = corpus_tokens(room, sections, &sequences);
    size_t bytes = in_training(room, &shape, HEAD_MLM, 0, tokens, sequences)
                   + encoder_bytes(room->kernels, &room->teacher, HEAD_MLM, 0,
                                   LEARN_NOTHING, tokens, sequences);
    room->memory = most(room->memory, bytes * (size_t)together);
    struct parameters plan = parameters_plan(&shape, HEAD_MLM, 0);
    add_model(room, "models", name, &plan);
    parameters_free(&plan);
    free(sections);
}

/* Take a task into account */
/* Adds the fine-tuning of the teacher, which is larger than its students. */
static void add_task(struct room *room, const char *name)
{
    const struct task *task = task_find(name);
    struct settings *s = room->stage->settings;
    char *sections = text_format("%s finetune", name);
    int size = (int)settings_count(s, sections, "batch");
    int tokens = size * (int)settings_count(s, sections, "length");
    enum head head = task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    size_t bytes = in_training(room, &room->teacher, head, task->classes, tokens, size);
    room->memory = most(room->memory, bytes * (size_t)room->jobs);
    free(sections);
}

/* Say how much room a run takes */
/* next_word: cuts the first word off *text; NULL if there is none. */
static char *next_word(char **text)
{
    char *word = *text + strspn(*text, " ");
    *text = word + strcspn(word, " ");
    if (**text)
        *(*text)++ = '\0';
    return *word ? word : NULL;
}

int room_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage,
                                    "--profile --run --data --teacher");
    struct room room = {.stage = &stage, .kernels = stage_kernels(&stage),
                        .jobs = settings_count(stage.settings, "run", "jobs")};
    char *students = text_format("%s", stage.student ? stage.student : "");
    char *kept = text_format("%s", stage.name ? stage.name : "");
    char *tasks = text_format("%s", settings_text(stage.settings, "finetune", "tasks"));
    /* Go through teacher, students and tasks */
    add_teacher(&room);
    long count = 0;
    for (const char *at = students; *at; at += strcspn(at, " "), at += strspn(at, " "))
        count++;
    char *word, *rest = students;
    while ((word = next_word(&rest)))
        add_student(&room, word, count < room.jobs ? count : room.jobs);
    struct parameters plan = parameters_plan(&room.teacher, HEAD_CLASSIFIER, 3);
    for (rest = kept; (word = next_word(&rest));)
        add_model(&room, "teachers", word, &plan);
    parameters_free(&plan);
    for (rest = tasks; (word = next_word(&rest));)
        add_task(&room, word);
    room.kernels->reserve(room.memory, "lower [run] jobs, or batches and lengths");
    size_t checkpoint = 3 * room.largest * sizeof(float);
    printf("%zu\n", room.disk + 2 * checkpoint * (size_t)room.jobs);
    free(students);
    free(kept);
    free(tasks);
    stage_close(&stage);
    return 0;
}
