/* Tangled from chapters/60-bench.md; edit there. */
#include "estimate.h"
#include "distill.h"
#include "fail.h"
#include "model.h"
#include "optimizer.h"
#include "watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* State the shape of BERT-base */
const struct shape bert_base = {
    .family = BERT, .layers = 12, .width = 768, .heads = 12, .inner = 3072,
    .vocabulary = 30522, .positions = 512, .types = 2, .epsilon = 1e-12f,
    .dropout = 0.1f, .attention_dropout = 0.1f, .classifier_dropout = 0.1f,
    .tied = true,
};

/* Read a published number */
double published_number(const json_t *published, const char *path)
{
    char digits[32] = "", *end = digits, key[32];
    const json_t *at = published;
    for (const char *from = path; *from; from += strspn(from, ".")) {
        size_t length = strcspn(from, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, from);
        at = json_object_get(at, key);
        from += length;
    }
    for (const char *c = json_string_value(at); c && *c && end < digits + 31; c++)
        if (*c != ',')
            *end++ = *c;
    double number = strtod(digits, &end);
    if (!*digits || *end)
        fail(path, "expected a number under this key of the published figures");
    return number;
}

/* Make up lengths */
void made_up_lengths(int rows, int64_t tokens, double rms, int longest, int *lengths)
{
    double mean = (double)tokens / rows, variance = rms * rms - mean * mean;
    if (mean > longest || variance > (longest - mean) * (mean - 1))
        fail("lengths", "%d rows from 1 to %d tokens cannot have %lld in all and %g in "
             "the mean square", rows, longest, (long long)tokens, rms);
    double rest = longest - mean;
    double brief = rest > 0 ? mean - variance / rest : longest;
    double share = rest > 0 ? (mean - brief) / (longest - brief) : 1;
    int64_t many = llround(share * rows), few = rows - many;
    int64_t left = tokens - many * longest;
    for (int64_t i = 0, j = 0; i < rows; i++) {
        bool is_long = (i + 1) * many / rows > i * many / rows;
        lengths[i] = longest;
        if (!is_long) {
            lengths[i] = (int)((j + 1) * left / few - j * left / few);
            j++;
        }
    }
}

/* Supply batches of made-up rows */
struct supply {
    int rows, next, size; /* in all; of the next batch; of a batch */
    int *lengths;         /* [rows] */
    struct batch *batch;
};

static struct supply supply_open(const json_t *published, const char *name,
                                 const char *split, int longest, int size)
{
    char *path[] = {text_format("splits.%s.%s.rows", name, split),
                    text_format("splits.%s.%s.tokens", name, split),
                    text_format("splits.%s.%s.rms", name, split)};
    struct supply s = {.rows = (int)published_number(published, path[0]), .size = size};
    s.lengths = allocate((size_t)s.rows, sizeof *s.lengths);
    made_up_lengths(s.rows, (int64_t)published_number(published, path[1]),
                    published_number(published, path[2]), longest, s.lengths);
    s.batch = batch_create(longest * size, size);
    for (int i = 0; i < 3; i++)
        free(path[i]);
    return s;
}

static void supply_close(struct supply *s)
{
    batch_free(s->batch);
    free(s->lengths);
}

/* Puts the next rows into the batch; false if there are none. */
static bool supply_next(struct supply *s)
{
    batch_clear(s->batch);
    for (int i = 0; i < s->size && s->next < s->rows; i++) {
        int length = s->lengths[s->next++], ids[512];
        for (int t = 0; t < length; t++)
            ids[t] = 1 + (s->batch->tokens + t) % (bert_base.vocabulary - 1);
        batch_append(s->batch, ids, length, length, 0);
        s->batch->classes[i] = 0;
    }
    return s->batch->sequences > 0;
}

/* Add up what the watch saw */
struct portion {
    const char *name;
    struct tally families[FAMILIES];
    double tokens, steps;
};

/* Adds what the watch saw since it was cleared, so many times over, and clears it. */
static void add(struct portion *part, double times)
{
    for (enum kernel_family f = 0; f < FAMILIES; f++) {
        struct tally seen = watch_tally(f), *sum = &part->families[f];
        sum->flops += times * seen.flops;
        sum->bytes += times * seen.bytes;
        sum->estimate += times * seen.estimate;
    }
    watch_clear();
}

/* Imagine a model */
struct model *imagine(const struct kernels *k, const struct shape *shape,
                      enum head head, int classes, enum learning learning)
{
    struct parameters plan = parameters_plan(shape, head, classes);
    float *values = allocate(plan.size, sizeof *values);
    struct model *model = encoder_create(k, shape, head, classes, values, learning);
    free(values);
    parameters_free(&plan);
    return model;
}

const struct optimizer_settings any_rate = {.epsilon = 1e-8f, .steps = 1, .batches = 1};

static const struct planned_model *student_of(const struct plan *full)
{
    const struct planned_model *student = plan_model(full, "student");
    if (!student || student->recipe.batch == 0)
        fail(settings_path(full->settings), "expected a section [student]");
    return student;
}

/* Imagine the distillation */
/* Returns the bytes that both models take. */
static size_t imagine_distillation(const struct kernels *k,
                                   const struct planned_model *planned,
                                   const json_t *published, struct portion *part)
{
    int size = planned->recipe.batch, length = planned->corpus.length;
    struct shape shape = model_student_shape(&bert_base, planned->layers);
    struct loss_settings losses = distillation_losses(planned, bert_base.layers);
    watch_clear();
    /* Imagine both models with room for a batch */
    struct model *teacher = imagine(k, &bert_base, HEAD_MLM, 0, LEARN_NOTHING);
    struct model *student = imagine(k, &shape, HEAD_MLM, 0, LEARN_ALL);
    struct optimizer *optimizer = optimizer_create(student, &any_rate);
    encoder_reserve(teacher, length * size, size);
    encoder_reserve(student, length * size, size);
    size_t bytes = watch_allocated();
    struct supply rows = supply_open(published, "corpus", "train", length, size);
    double epochs = planned->recipe.epochs;
    watch_clear();
    /* Take one epoch of distillation */
    while (supply_next(&rows)) {
        distillation_step(student, teacher, rows.batch, &losses, 0, 1, NULL);
        optimizer_step(optimizer, 0);
        part->tokens += epochs * rows.batch->tokens;
        part->steps += epochs;
    }
    add(part, epochs);
    supply_close(&rows);
    optimizer_free(optimizer);
    encoder_free(student);
    encoder_free(teacher);
    return bytes;
}

/* Imagine the fine-tuning on a task */
static void imagine_finetuning(const struct kernels *k,
                               const struct planned_task *planned,
                               const json_t *published, const struct shape *shape,
                               struct portion *part)
{
    const char *task = planned->task->name;
    int length = planned->length, size = planned->recipe.batch;
    double epochs = planned->recipe.epochs;
    /* Imagine the model and its rows */
    struct model *model = imagine(k, shape, HEAD_CLASSIFIER, 2, LEARN_ALL);
    struct optimizer *optimizer = optimizer_create(model, &any_rate);
    struct supply train = supply_open(published, task, "train", length, size);
    struct supply dev = supply_open(published, task, "dev", length, size);
    float *logits = allocate((size_t)size * 2, sizeof *logits);
    encoder_reserve(model, length * size, size);
    watch_clear();
    /* Go over the rows of the task */
    while (supply_next(&train)) {
        classification_step(model, train.batch, 0, 1, NULL);
        optimizer_step(optimizer, 0);
        part->tokens += epochs * train.batch->tokens;
    }
    add(part, epochs);
    while (supply_next(&dev)) {
        classification_predict(model, dev.batch, logits);
        part->tokens += dev.batch->tokens;
    }
    add(part, 1);
    /* Forget the fine-tuning */
    supply_close(&dev);
    supply_close(&train);
    optimizer_free(optimizer);
    encoder_free(model);
    free(logits);
}

/* Describe a T4 */
struct machine estimate_t4(const json_t *published)
{
    return (struct machine){
        .real_size = 2,
        .logit_rows = GPU_LOGIT_ROWS,
        .gemm = 1e12 * published_number(published, "t4.sustained"),
        .other = 1e12 * published_number(published, "t4.fp32"),
        .bandwidth = 1e9 * published_number(published, "t4.bandwidth")
                     * published_number(published, "t4.bandwidth-share") / 100,
        .launch = 1e-6 * published_number(published, "t4.launch"),
    };
}

/* Report the estimate */
static double minutes(const struct portion *part)
{
    double seconds = 0;
    for (int f = 0; f < FAMILIES; f++)
        seconds += part->families[f].estimate;
    return seconds / 60;
}

/* The minutes of all distillations that the profile lists, by those of one: students of
   more or fewer epochs count by these, and none is cheaper for doing without a
   teacher. */
static double distilling(const struct plan *full, double one)
{
    double total = 0, epochs = student_of(full)->recipe.epochs;
    for (int i = 0; i < full->stage_count; i++)
        if (full->stages[i].kind == DISTILL)
            total += full->stages[i].model->recipe.epochs / epochs * one;
    return total;
}

/* The minutes of all fine-tunings on a task, by those of one. Who replaces a teacher's
   layers goes through these, too, and counts as it. */
static double answering(const struct plan *full, const struct planned_task *task,
                        double teacher, double student)
{
    double each = 0;
    for (int i = 0; i < task->model_count; i++) {
        const struct planned_model *model = task->models[i];
        struct recipe recipe = plan_recipe(full, task, model->name);
        each += (model->student && !model->replaces ? student : teacher)
                * (recipe.epochs / task->recipe.epochs);
    }
    return each * task->seeds;
}

static json_t *report(const struct portion *parts, size_t bytes, double profile)
{
    json_t *whole = json_object(), *families = json_object();
    double total = 0;
    for (const struct portion *p = parts; p < parts + 3; p++) {
        total += minutes(p);
        json_object_set_new(whole, p->name,
                            json_pack("{s:f, s:f}", "minutes", minutes(p), "millions",
                                      1e-6 * p->tokens));
    }
    /* Sum up each family over the parts */
    for (enum kernel_family f = 0; f < FAMILIES; f++) {
        double flops = 0, traffic = 0, seconds = 0;
        json_t *family = json_object();
        for (const struct portion *p = parts; p < parts + 3; p++) {
            const struct tally *tally = &p->families[f];
            flops += tally->flops;
            traffic += tally->bytes;
            seconds += tally->estimate;
            json_object_set_new(family, p->name, json_real(tally->estimate / 60));
        }
        json_object_set_new(family, "minutes", json_real(seconds / 60));
        json_object_set_new(family, "petaflops", json_real(1e-15 * flops));
        json_object_set_new(family, "terabytes", json_real(1e-12 * traffic));
        json_object_set_new(families, watch_name(f), family);
    }
    double distilled = minutes(&parts[0]);
    double products = parts[0].families[GEMM].estimate / 60 / distilled;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "minutes", total,
                     "gigabytes", 1e-9 * (double)bytes, "milliseconds",
                     60e3 * distilled / parts[0].steps, "products", 100 * products,
                     "hours_profile", profile / 60, "parts", whole, "families",
                     families);
}

/* Estimate the experiment */
json_t *estimate_experiment(const struct plan *full, const json_t *published)
{
    struct machine t4 = estimate_t4(published);
    const struct kernels *k = watch_open(NULL, &t4);
    struct portion parts[] = {
        {.name = "distillation"}, {.name = "teacher"}, {.name = "student"}};
    const struct planned_model *planned = student_of(full);
    struct shape student = model_student_shape(&bert_base, planned->layers);
    const char *name;
    json_t *unused;
    size_t bytes = imagine_distillation(k, planned, published, &parts[0]);
    double profile = distilling(full, minutes(&parts[0]));
    json_object_foreach(json_object_get(published, "splits"), name, unused) {
        /* Imagine both models on a task */
        const struct planned_task *task = plan_task(full, name);
        if (!task)
            continue;
        double teachers = minutes(&parts[1]), students = minutes(&parts[2]);
        imagine_finetuning(k, task, published, &bert_base, &parts[1]);
        imagine_finetuning(k, task, published, &student, &parts[2]);
        profile += answering(full, task, minutes(&parts[1]) - teachers,
                             minutes(&parts[2]) - students);
    }
    return report(parts, bytes, profile);
}
