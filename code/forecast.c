/* Tangled from chapters/47-forecast.md; edit there. */
#include "forecast.h"
#include "device.h"
#include "distill.h"
#include "estimate.h"
#include "fail.h"
#include "file.h"
#include "model.h"
#include "pretrain.h"
#include "grid.h"
#include "seal.h"
#include "theseus.h"
#include "watch.h"

#include <glob.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Describe this machine in a moment */
static double time_products(const struct kernels *k, int rows, int width, int inner)
{
    const double spell = 0.1; /* seconds */
    real *x = k->allocate((size_t)rows * (size_t)width * k->real_size);
    real *w = k->allocate((size_t)width * (size_t)inner * k->real_size);
    real *y = k->allocate((size_t)rows * (size_t)inner * k->real_size);
    /* Time products for a moment */
    double best = INFINITY, first = omp_get_wtime(), began = first;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (; began < first + spell || best == INFINITY; began = omp_get_wtime()) {
        k->linear(x, w, NULL, y, rows, width, inner);
        k->wait();
        best = fmin(best, omp_get_wtime() - began);
    }
    omp_set_num_threads(threads);
    k->release(x);
    k->release(w);
    k->release(y);
    return 2.0 * rows * width * inner / best;
}

/* k: NULL: a GPU that is not here. */
static struct machine describe(const struct kernels *k, const struct shape *shape,
                               int jobs)
{
    if (k == kernels_cpu()) {
        int threads = omp_get_max_threads() / (jobs > 0 ? jobs : 1);
        double rate = time_products(k, 512, shape->width, shape->inner)
                      * (threads > 0 ? threads : 1);
        return (struct machine){.real_size = sizeof(float), .logit_rows = 1024,
                                .gemm = rate, .other = rate / 8, .bandwidth = 8e9,
                                .launch = 2e-6};
    }
    /* Describe the T4 that is not here */
    static const char path[] = "chapters/published.json";
    json_error_t error;
    json_t *figures = json_load_file(path, 0, &error);
    if (!figures)
        fail(path, "line %d: %s", error.line, error.text);
    struct machine t4 = estimate_t4(figures);
    json_decref(figures);
    return t4;
}

/* Guess how much there is to read */
enum { BYTES_OF_TOKEN = 5, WIKITEXT_TOKENS = 1739500, VALIDATIONS = 20 };

static double tokens_of(const struct stage *stage, const char *words, long limit)
{
    double bytes = 0;
    for (const char *word = words; *word; word += strspn(word, " |")) {
        size_t length = strcspn(word, " |");
        /* Add the bytes of the files that a word stands for */
        char *pattern = text_format("%s/%.*s", stage->data, (int)length, word);
        glob_t files = {0};
        struct stat status;
        glob(pattern, 0, NULL, &files);
        for (size_t i = 0; i < files.gl_pathc; i++)
            bytes += stat(files.gl_pathv[i], &status) ? 0 : (double)status.st_size;
        globfree(&files);
        free(pattern);
        word += length;
    }
    double whole = bytes > 0 ? bytes / BYTES_OF_TOKEN
                   : limit   ? (double)limit : WIKITEXT_TOKENS;
    return limit && limit < whole ? (double)limit : whole;
}

struct reading_load {
    double rows, exam; /* to learn from in an epoch, and to answer in the end */
    int length;        /* tokens of a row, in the mean */
};

enum { UNKNOWN_ROWS = 10000 };

static double rows_of(const struct plan *plan, const struct task *task, int held_back)
{
    double rows = plan->toyland ? plan->train : task->rows[TRAIN];
    return rows > held_back ? rows - held_back : UNKNOWN_ROWS;
}

/* Tokens of a row that is cut to so many, in the mean. */
static int row_length(const struct plan *plan, const struct task *task, int cut)
{
    enum { SENTENCE = 20 };
    bool full = task->answer == A_SPAN || task->tree[TRAIN];
    int length = SENTENCE * (task->second ? 2 : 1);
    return full && !plan->toyland ? cut * 4 / 5 : length < cut ? length : cut;
}

static struct reading_load load_of(const struct plan *plan,
                                   const struct planned_task *t)
{
    double rows = rows_of(plan, t->task, t->held_back),
           exam = t->rehearsal    ? t->held_back
                  : plan->toyland ? plan->dev : t->task->rows[DEV];
    exam = exam > 0 ? exam : UNKNOWN_ROWS / 10;
    return (struct reading_load){
        t->train_rows && t->train_rows < rows ? t->train_rows : rows,
        t->dev_rows && t->dev_rows < exam ? t->dev_rows : exam,
        row_length(plan, t->task, t->length)};
}

struct text_load {
    double tokens;
    int length; /* tokens of a sequence, in the mean */
};

/* How many tokens each of count texts, with so many, gives at most. */
static double find_level(const double *tokens, int count, double limit)
{
    double level = limit > 0 ? 0 : INFINITY;
    for (int pass = 0; pass < count && limit > 0; pass++) {
        double taken = 0;
        int more = 0;
        for (int i = 0; i < count; i++) {
            taken += fmin(tokens[i], level);
            more += tokens[i] > level;
        }
        level += more ? (limit - taken) / more : 0;
    }
    return level;
}

static struct text_load train_load(const struct stage *stage,
                                   const struct corpus_settings *corpus)
{
    double tokens[MOST_TEXTS + 1], all = 0, sequences = 0;
    int length[MOST_TEXTS + 1], count = 0;
    bool alone = corpus->task_count == 0;
    /* Count the tokens of the files */
    if (*corpus->train || alone) {
        length[0] = (corpus->length * 6 + 9) / 10;
        tokens[count++] =
            tokens_of(stage, corpus->train, alone ? corpus->train_tokens : 0);
    }
    /* Count the tokens of the tasks */
    for (int i = 0; i < corpus->task_count; i++) {
        const struct task_text *text = &corpus->tasks[i];
        double rows = rows_of(stage->plan, text->task, text->held_back);
        length[count] = row_length(stage->plan, text->task, corpus->length);
        tokens[count] = rows * length[count];
        count++;
    }
    double level = find_level(tokens, count, (double)corpus->train_tokens);
    for (int i = 0; i < count; i++) {
        all += fmin(tokens[i], level);
        sequences += fmin(tokens[i], level) / length[i];
    }
    return (struct text_load){all, (int)(all / sequences + 0.5)};
}

/* Imagine one step of each kind */
/* A batch of rows of one length. */
static struct batch *imagined_batch(int rows, int length)
{
    struct batch *batch = batch_create(rows * length, rows);
    int *ids = allocate((size_t)length, sizeof *ids);
    for (int t = 0; t < length; t++)
        ids[t] = 5 + t;
    for (int i = 0; i < rows; i++) {
        batch_append(batch, ids, length, length, 0);
        batch->classes[i] = 0;
    }
    for (int t = 0; t < batch->tokens; t += 7)
        batch->labels[t] = 5;
    free(ids);
    return batch;
}

static double counted_seconds(void)
{
    double seconds = 0;
    for (enum kernel_family f = 0; f < FAMILIES; f++)
        seconds += watch_tally(f).estimate;
    return seconds;
}


static void answer(struct model *model, const struct batch *batch)
{
    (model->head == HEAD_SPAN ? span_step : classification_step)(model, batch, 0, 1,
                                                                 NULL);
}

/* Frees the models. losses: NULL: there is no teacher. */
static double imagine_step(struct model *model, struct model *master,
                           const struct loss_settings *losses, int rows, int length)
{
    struct optimizer *optimizer = optimizer_create(model, &any_rate);
    struct batch *batch = imagined_batch(rows, length);
    watch_clear();
    /* Take the step that the model is made for */
    if (losses)
        distillation_step(model, master, batch, losses, 0, 1, NULL);
    else if (model->head == HEAD_MLM)
        masked_lm_step(model, batch, 0, 1, NULL);
    else
        answer(model, batch);
    optimizer_step(optimizer, 0);
    batch_free(batch);
    optimizer_free(optimizer);
    encoder_free(model);
    if (master)
        encoder_free(master);
    return counted_seconds();
}

/* Frees the models. */
static double imagine_replacing(struct model *student, struct model *teacher,
                                const struct replacing *how, int rows, int length)
{
    enum { STEPS = 20, ANY_SEED = 1 };
    struct recipe recipe = {.accumulate = 1};
    struct theseus *theseus = theseus_create(student, teacher, how, &recipe, STEPS,
                                             ANY_SEED);
    struct optimizer *optimizer = optimizer_create(student, &any_rate);
    struct batch *batch = imagined_batch(rows, length);
    watch_clear();
    /* Take steps from the first to the last */
    for (int step = 0; step < STEPS; step++) {
        theseus_draw(theseus, step);
        answer(student, batch);
        optimizer_step(optimizer, 0);
    }
    batch_free(batch);
    optimizer_free(optimizer);
    theseus_free(theseus);
    encoder_free(student);
    return counted_seconds() / STEPS;
}

/* Count the stages of a plan */
struct counting {
    const struct stage *stage;
    const struct kernels *k;
    struct shape teacher;
    bool headed; /* it has its head, and is only examined */
};

/* step: the seconds of one, on a batch of sequences as there are. */
static double count_reading(const struct counting *c, const struct recipe *recipe,
                            const struct corpus_settings *corpus, struct text_load load,
                            double step)
{
    double checked =
        tokens_of(c->stage, corpus->validation, corpus->validation_tokens);
    return (recipe->epochs * load.tokens + VALIDATIONS * checked / 3)
           / (recipe->batch * load.length) * step;
}

static double count_teacher(const struct counting *c)
{
    const struct plan *plan = c->stage->plan;
    struct model *model = imagine(c->k, &c->teacher, HEAD_MLM, 0,
                                  plan->scratch ? LEARN_ALL : LEARN_HEAD);
    struct text_load load = train_load(c->stage, &plan->corpus);
    double step = imagine_step(model, NULL, NULL, plan->recipe.batch, load.length);
    struct recipe recipe = plan->recipe;
    recipe.epochs = c->headed ? 0 : recipe.epochs;
    return count_reading(c, &recipe, &plan->corpus, load, step);
}

static double count_student(const struct counting *c, const struct planned_model *m)
{
    struct shape shape = model_student_shape(&c->teacher, m->layers);
    struct loss_settings losses = distillation_losses(m, c->teacher.layers);
    struct model *master = imagine(c->k, &c->teacher, HEAD_MLM, 0, LEARN_NOTHING),
                 *model = imagine(c->k, &shape, HEAD_MLM, 0, LEARN_ALL);
    struct text_load load = train_load(c->stage, &m->corpus);
    double step = imagine_step(model, master, &losses, m->recipe.batch, load.length);
    return count_reading(c, &m->recipe, &m->corpus, load, step);
}

/* A step of a model on a task, in the mean. */
static double count_task_step(const struct counting *c, const struct planned_task *t,
                              const struct planned_model *m, int rows, int length)
{
    const struct planned_model *first = m->from ? m->from : m;
    struct shape shape = m->student ? model_student_shape(&c->teacher, first->layers)
                                    : c->teacher;
    enum head head = t->task->answer == A_SPAN ? HEAD_SPAN : HEAD_CLASSIFIER;
    if (!m->replaces)
        return imagine_step(imagine(c->k, &shape, head, t->task->classes, LEARN_ALL),
                            NULL, NULL, rows, length);
    /* Count a step of a student that replaces layers */
    shape = c->teacher;
    if (m->layers < shape.layers)
        shape.layers = m->layers;
    return imagine_replacing(imagine(c->k, &shape, head, t->task->classes, LEARN_LAYERS),
                             imagine(c->k, &c->teacher, head, t->task->classes,
                                     LEARN_NOTHING),
                             &m->replacing, rows, length);
}

static double count_finetuning(const struct counting *c, const struct planned_task *t,
                               const struct planned_model *m)
{
    struct reading_load load = load_of(c->stage->plan, t);
    struct recipe recipe = plan_recipe(c->stage->plan, t, m->name);
    double step = count_task_step(c, t, m, recipe.batch, load.length);
    return (recipe.epochs * load.rows + load.exam / 3) / recipe.batch * step;
}

static void find_shape(struct counting *c, const char *teacher)
{
    enum { TOY_PIECES = 1000 };
    const struct plan *plan = c->stage->plan;
    int classes, pieces = plan->toyland ? TOY_PIECES : bert_base.vocabulary;
    char *config = text_format("%s/config.json", teacher);
    bool there = !plan->scratch && file_exists(config);
    c->teacher = plan->scratch ? scratch_shape(plan, pieces)
                 : there       ? model_shape(teacher)
                               : bert_base;
    c->headed = !plan->scratch && (!there || model_head(teacher, &classes) == HEAD_MLM);
    free(config);
}

struct shape forecast_teacher(const struct stage *stage, const char *teacher)
{
    struct counting c = {.stage = stage};
    find_shape(&c, teacher);
    return c.teacher;
}

double *forecast_count(const struct stage *stage, const char *teacher, bool t4)
{
    const struct plan *plan = stage->plan;
    bool away = t4 || device_away(plan->device);
    double *counted = allocate((size_t)plan->stage_count, sizeof *counted);
    struct counting c = {.stage = stage};
    find_shape(&c, teacher);
    struct machine machine = describe(away ? NULL : stage_kernels(stage), &c.teacher,
                                      plan->jobs);
    c.k = watch_open(NULL, &machine);
    for (int i = 0; i < plan->stage_count; i++) {
        const struct planned_stage *s = &plan->stages[i];
        /* Take the seconds of a stage like it */
        for (int j = 0; j < i && counted[i] == 0; j++) {
            const struct planned_stage *other = &plan->stages[j];
            if (other->kind == s->kind && other->model == s->model
                && other->task == s->task)
                counted[i] = counted[j];
        }
        /* Count the stage if there is none */
        if (counted[i] == 0)
            counted[i] = s->kind == PRETRAIN  ? count_teacher(&c)
                         : s->kind == DISTILL ? count_student(&c, s->model)
                                              : count_finetuning(&c, s->task, s->model);
    }
    return counted;
}

/* Say what is left of a run */
void forecast_look(struct forecast_row *row, const char *run, const char *keys)
{
    char *path = text_format("%s/stages/%s.json", run, row->name),
         *wanted = text_format("%s/%s.key", keys ? keys : "", row->name);
    json_t *record = seal_read(path);
    const char *key = json_string_value(json_object_get(record, "key"));
    char *now = keys && file_exists(wanted) ? file_text(wanted, NULL) : NULL;
    if (now)
        now[strcspn(now, "\n")] = '\0';
    row->taken = record ? json_number_value(json_object_get(record, "seconds")) : -1;
    row->done = record && (!now || (key && !strcmp(key, now)));
    json_decref(record);
    free(now);
    free(wanted);
    free(path);
}

struct forecast forecast_left(const struct forecast_row *rows, int count,
                              enum tier from, enum tier until)
{
    struct forecast f = {0};
    double took[4] = {0}, expected[4] = {0}; /* of each kind, and of all */
    /* Learn the pace of each kind of stage */
    for (int i = 0; i < count; i++)
        if (rows[i].taken >= 0) {
            took[rows[i].kind] += rows[i].taken, took[3] += rows[i].taken;
            expected[rows[i].kind] += rows[i].counted, expected[3] += rows[i].counted;
        }
    /* Add up what there is and what is left */
    for (int i = 0; i < count; i++) {
        if (rows[i].tier < from || rows[i].tier > until)
            continue;
        int kind = expected[rows[i].kind] > 0 ? (int)rows[i].kind : 3;
        double pace = expected[kind] > 0 ? took[kind] / expected[kind] : 1;
        f.stages++;
        f.done += rows[i].done;
        f.left += rows[i].done ? 0 : pace * rows[i].counted;
        f.whole += rows[i].done ? rows[i].taken : pace * rows[i].counted;
    }
    f.measured = expected[3] > 0;
    return f;
}

char *about_text(double seconds)
{
    return seconds < 90      ? text_format("%.0f s", seconds)
           : seconds < 5400  ? text_format("%.0f min", seconds / 60)
           : seconds < 36000 ? text_format("%.1f h", seconds / 3600)
                             : text_format("%.0f h", seconds / 3600);
}

/* Keep the forecast in a table */
void forecast_write(const char *path, const struct forecast_row *rows, int count,
                    int jobs)
{
    struct file_writer *writer = file_create(path);
    fprintf(file_stream(writer), "stage\ttier\tkind\tseconds\tjobs\n");
    for (int i = 0; i < count; i++)
        fprintf(file_stream(writer), "%s\t%d\t%d\t%.3g\t%d\n", rows[i].name,
                (int)rows[i].tier, (int)rows[i].kind, rows[i].counted, jobs);
    file_commit(writer);
}

/* Reads the rows, whose names are the grid's; *jobs: how many run side by side. */
static struct forecast_row *read_rows(const struct grid *grid, const char *run,
                                      const char *keys, int *jobs)
{
    struct forecast_row *rows = allocate((size_t)grid->rows + 1, sizeof *rows);
    int name = grid_column(grid, "stage"), tier = grid_column(grid, "tier"),
        kind = grid_column(grid, "kind"), seconds = grid_column(grid, "seconds"),
        side = grid_column(grid, "jobs");
    for (int i = 0; i < grid->rows; i++) {
        rows[i].name = (char *)grid_text(grid, i, name);
        rows[i].tier = (enum tier)grid_number(grid, i, tier);
        rows[i].kind = (enum stage_kind)grid_number(grid, i, kind);
        rows[i].counted = grid_number(grid, i, seconds);
        forecast_look(&rows[i], run, keys);
        *jobs = (int)grid_number(grid, i, side);
    }
    return rows;
}

/* Say it between two stages */
static const char left_usage[] =
    "usage: distil left --run DIR --keys DIR --name STAGE\n\n"
    "Says before a stage where its run stands: its tier, how many stages are done,\n"
    "and how long the rest will take, by the table that `distil plan` left with the\n"
    "keys.\n";

int left_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, left_usage, "--run --keys --name");
    char *path = text_format("%s/forecast.tsv", stage.keys);
    struct grid *grid = file_exists(path) ? grid_read(path) : NULL;
    int jobs = 1;
    struct forecast_row *rows =
        grid ? read_rows(grid, stage.run, stage.keys, &jobs) : NULL;
    for (int i = 0; grid && i < grid->rows; i++)
        /* Say where the run stands at a stage */
        if (!strcmp(rows[i].name, stage.name)) {
            struct forecast f = forecast_left(rows, grid->rows, TIER_CORE, TIERS - 1);
            char *left = about_text(f.left / jobs);
            printf("%s, %d of %d stages done, about %s left\n",
                   tier_names[rows[i].tier], f.done, f.stages, left);
            free(left);
        }
    free(rows);
    free(grid);
    free(path);
    stage_close(&stage);
    return 0;
}
