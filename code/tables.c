/* Tangled from chapters/56-tables.md; edit there. */
#include "tables.h"
#include "fail.h"
#include "file.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Write a row of cells */
static void write_cells(FILE *stream, const char *const *cells)
{
    for (int i = 0; cells[i]; i++)
        fprintf(stream, i ? "\t%s" : "%s", cells[i]);
    fputc('\n', stream);
}

#define write_row(stream, ...) \
    write_cells(stream, (const char *const[]){__VA_ARGS__, NULL})

/* Start a table */
static struct file_writer *start(const char *folder, const char *kind,
                                 const char *name, FILE **stream)
{
    char *path = text_format("%s/%s/%s.tsv", folder, kind, name);
    struct file_writer *writer = file_create(path);
    *stream = file_stream(writer);
    free(path);
    return writer;
}

/* Write the table of scores */
/* "57.3 ± 0.8", or "57.3" for a single seed, or "–". */
static char *score_cell(const json_t *values, const char *task, const char *model)
{
    const char *score = value_get(values, "score.%s.%s", task, model);
    const char *spread = value_get(values, "score.%s.%s.spread", task, model);
    bool single = !strcmp(value_get(values, "score.%s.%s.seeds", task, model), "1");
    return !strcmp(spread, "–") || single ? text_format("%s", score)
                                          : text_format("%s ± %s", score, spread);
}

/* A retention as it is, or without the reason why it is not defined, for which a cell
   is too small. */
static const char *percent_cell(const char *retention)
{
    return strncmp(retention, "not defined", 11) ? retention : "not defined";
}

static void write_scores(const struct run *run, const json_t *values, FILE *stream)
{
    fputs("Model", stream);
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].shown)
            fprintf(stream, "\t%s", run->sheets[i].title);
    fputs("\tMean\tRetention, %\na constant answer", stream);
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].shown)
            fprintf(stream, "\t%s",
                    value_get(values, "constant.%s", run->sheets[i].task->name));
    fputs("\t–\t–\n", stream);
    for (int j = 0; j < run->model_count; j++) {
        const char *model = run->models[j];
        fputs(model_title(model), stream);
        for (int i = 0; i < run->count; i++) {
            if (!run->sheets[i].shown)
                continue;
            char *cell = score_cell(values, run->sheets[i].task->name, model);
            fprintf(stream, "\t%s", cell);
            free(cell);
        }
        /* Add the model's mean and retention to its row */
        const char *kept = !strcmp(model, "student")
                               ? value_get(values, "retention.mean")
                               : value_get(values, "retention.%s.mean", model);
        fprintf(stream, "\t%s\t%s\n", value_get(values, "score.mean.%s", model),
                percent_cell(kept));
    }
}

/* Write the paper's tables */
static void write_glue(const struct run *run, const json_t *values, FILE *stream)
{
    static const char *const order[] = {"score", "cola", "mnli", "mrpc", "qnli",
                                        "qqp",   "rte",  "sst2", "stsb", "wnli"};
    static const char *const papers[][2] = {
        {"elmo", "ELMo"}, {"bert", "BERT"}, {"distilbert", "DistilBERT"}};
    fputs("Model\tScore", stream);
    for (int i = 1; i < 10; i++)
        fprintf(stream, "\t%s", task_find(order[i])->title);
    for (int j = 0; j < 3; j++) {
        fprintf(stream, "\npaper: %s", papers[j][1]);
        for (int i = 0; i < 10; i++)
            fprintf(stream, "\t{{paper.table1.%s.%s}}", papers[j][0], order[i]);
    }
    for (int j = 0; j < run->model_count; j++) {
        if (!run_beyond(run, run->models[j]))
            continue;
        fprintf(stream, "\n%s", model_title(run->models[j]));
        for (int i = 0; i < 10; i++)
            fprintf(stream, "\t%s",
                    value_get(values, "glue.%s.%s", order[i], run->models[j]));
    }
    fputc('\n', stream);
}
static void write_squad(const struct run *run, const json_t *values, FILE *stream)
{
    write_row(stream, "Model", "IMDb", "SQuAD, exact match", "SQuAD, F1");
    write_row(stream, "paper: BERT", "{{paper.table2.bert.imdb}}",
              "{{paper.table2.bert.em}}", "{{paper.table2.bert.f1}}");
    write_row(stream, "paper: DistilBERT", "{{paper.table2.distilbert.imdb}}",
              "{{paper.table2.distilbert.em}}", "{{paper.table2.distilbert.f1}}");
    write_row(stream, "paper: DistilBERT (D)", "–", "{{paper.table2.distilled.em}}",
              "{{paper.table2.distilled.f1}}");
    for (int j = 0; j < run->model_count; j++) {
        const char *model = run->models[j],
                   *overlap = value_get(values, "score.squad.%s", model);
        if (strcmp(overlap, "–"))
            write_row(stream, model_title(model),
                      value_get(values, "score.imdb.%s", model),
                      value_get(values, "exact.squad.%s", model), overlap);
    }
}
static void write_speed(const struct run *run, const json_t *values, FILE *stream)
{
    static const char *const cores[][2] = {{"one", "one core"}, {"all", "all cores"}};
    const char *model;
    json_t *timed, *models = json_object_get(run->bench, "models");
    write_row(stream, "Model", "Parameters, millions", "One pass, s", "Times as fast");
    write_row(stream, "paper: ELMo", "{{paper.table3.elmo.parameters}}",
              "{{paper.table3.elmo.seconds}}", "–");
    write_row(stream, "paper: BERT", "{{paper.table3.bert.parameters}}",
              "{{paper.table3.bert.seconds}}", "1");
    write_row(stream, "paper: DistilBERT", "{{paper.table3.distilbert.parameters}}",
              "{{paper.table3.distilbert.seconds}}", "{{paper.ratio.speed}}");
    for (int i = 0; i < 2; i++)
        for (int rank = 0; rank <= model_rank(""); rank++)
            json_object_foreach(models, model, timed) {
                if (model_rank(model) == rank) {
                    /* Write what a model takes on so many cores */
                    char *title = text_format("%s, %s", model_title(model), cores[i][1]);
                    const char *count = value_get(values, "parameters.%s.millions", model),
                               *seconds = value_get(values, "speed.%s.%s", model, cores[i][0]),
                               *times = value_get(values, "speed.%s.%s.times", model, cores[i][0]);
                    write_row(stream, title, count, seconds, times);
                    free(title);
                }
            }
}

/* Write the table of the claim */
static void write_claim_row(const json_t *values, const struct task *task, FILE *stream)
{
    const char *papers[] = {"bert", "distilbert"}, *name = task->name;
    fputs(task->title, stream);
    for (int i = 0; i < 2; i++)
        if (task->answer == A_SPAN)
            fprintf(stream, "\t{{paper.table2.%s.f1}}", papers[i]);
        else
            fprintf(stream, "\t{{paper.table%d.%s.%s}}", task->glue ? 1 : 2, papers[i],
                    name);
    fprintf(stream, "\t{{paper.ratio.%s}}", name);
    if (task->headline)
        fprintf(stream, "\t{{course.%s.teacher}}\t{{course.%s.student}}"
                        "\t{{course.ratio.%s}}", name, name, name);
    else
        fputs("\t–\t–\t–", stream);
    fprintf(stream, "\t%s\t%s\t%s\n", value_get(values, "score.%s.teacher", name),
            value_get(values, "score.%s.student", name),
            percent_cell(value_get(values, "retention.%s", name)));
}
/* Whether a task that is not one of the three is in the run's own mean. */
static bool is_shown(const struct run *run, const struct task *task)
{
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].task == task)
            return run->sheets[i].shown;
    return false;
}

static void write_claim(const struct run *run, const json_t *values, FILE *stream)
{
    bool same = !strcmp(value_get(values, "retention.three"), "yes"),
         known = !strcmp(value_get(values, "retention.known"), "yes");
    const char *mean = percent_cell(value_get(values, "retention.mean"));
    write_row(stream, "", "paper: BERT", "DistilBERT", "kept", "course: teacher",
              "student", "kept", "ours: teacher", "student", "kept");
    for (const struct task *task = task_list; task->name; task++)
        if (task->headline)
            write_claim_row(values, task, stream);
    write_row(stream, "mean of the three", "", "", "{{paper.ratio.three}}", "", "",
              "{{course.retention}}", "", "", same ? mean : "–");
    for (const struct task *task = task_list; task->name; task++)
        if (!task->headline && is_shown(run, task))
            write_claim_row(values, task, stream);
    if (known && !same)
        write_row(stream, "mean of those that count", "", "", "–", "", "", "–", "", "",
                  mean);
}

/* Write the table of retention */
static void write_retention_of(const struct run *run, const json_t *values,
                               const char *model, FILE *stream)
{
    char *prefix = strcmp(model, "student") ? text_format("retention.%s", model)
                                            : text_format("retention");
    for (int i = 0; i < run->count; i++) {
        const char *task = run->sheets[i].task->name;
        if (!run->sheets[i].shown && !run_answers(&run->sheets[i], model))
            continue;
        write_row(stream, model_title(model), run->sheets[i].title,
                  value_get(values, "constant.%s", task),
                  value_get(values, "score.%s.teacher", task),
                  value_get(values, "score.%s.%s", task, model),
                  percent_cell(value_get(values, "%s.%s", prefix, task)),
                  value_get(values, "%s.%s.interval", prefix, task));
    }
    write_row(stream, model_title(model), "mean", "", "", "",
              percent_cell(value_get(values, "%s.mean", prefix)),
              value_get(values, "%s.interval", prefix));
    free(prefix);
}

static void write_retention(const struct run *run, const json_t *values, FILE *stream)
{
    write_row(stream, "Model", "Task", "A constant answer", "Teacher", "Student",
              "Retention, %", "95 % interval");
    for (int j = 0; j < run->model_count; j++)
        if (strcmp(run->models[j], "teacher"))
            write_retention_of(run, values, run->models[j], stream);
}

/* Write the table of ablations */
static void write_ablations(const struct run *run, const json_t *values, FILE *stream)
{
    write_row(stream, "Student", "Masked words, %", "Mean score", "Change",
              "95 % interval", "Paper's change");
    write_row(stream, "student, all terms", value_get(values, "accuracy.student.last"),
              value_get(values, "score.mean.student"), "", "", "");
    for (int j = 0; j < run->model_count; j++) {
        const char *model = run->models[j], *key = ablation_key(model);
        bool listed = model_rank(model) > model_rank("student");
        if (!listed || strcmp(value_get(values, "ablation.%s.known", key), "yes"))
            continue;
        bool quoted = !strcmp(key, "kl") || !strcmp(key, "cosine")
                      || !strcmp(key, "mlm") || !strcmp(key, "random");
        char *paper = quoted ? text_format("{{paper.table4.%s}}", key) : NULL;
        write_row(
            stream, model_title(model), value_get(values, "accuracy.%s.last", model),
            value_get(values, "score.mean.%s", model),
            value_get(values, "ablation.%s.change", key),
            value_get(values, "ablation.%s.change.interval", key), paper ? paper : "–");
        free(paper);
    }
}

/* Write the tables of the benchmark */
static void write_program(const json_t *values, const char *title, const char *recipe,
                          const json_t *timed, FILE *stream)
{
    static const char *const steps[] = {"distillation", "finetuning"};
    fputs(title, stream);
    for (int i = 0; i < 2; i++) {
        const json_t *step = json_object_get(timed, steps[i]);
        double tokens = json_number_value(
            json_object_get(step, recipe ? "pytorch" : "tokens_per_second"));
        char *number = tokens > 0 ? number_text(tokens, 0) : text_format("–");
        fprintf(stream, "\t%s\t%s", number,
                recipe ? value_get(values, "fast.%s.%s", recipe, steps[i]) : "1");
        free(number);
    }
    fputc('\n', stream);
}

static void write_programs(const struct run *run, const json_t *values, FILE *stream)
{
    const json_t *pytorch = json_object_get(run->bench, "pytorch");
    write_row(stream, "Program", "Distillation, tokens/s", "Ours is, times",
              "Fine-tuning, tokens/s", "Ours is, times");
    write_program(values, "this trainer", NULL, run->bench, stream);
    static const char *const recipes[][2] = {
        {"usual", "PyTorch, as usual on a processor"},
        {"course", "PyTorch, as the course project used it"},
        {"practice", "PyTorch, best practice"}};
    for (int i = 0; i < 3; i++) {
        const json_t *timed = json_object_get(pytorch, recipes[i][0]);
        if (timed)
            write_program(values, recipes[i][1], recipes[i][0], timed, stream);
    }
}

/* The names of an object's members, the one with the largest number `key` first; at
   most FAMILIES_ROOM. */
enum { FAMILIES_ROOM = 16 };

static int sort_families(json_t *families, const char *key, const char **names)
{
    int count = 0;
    const char *name;
    json_t *family;
    json_object_foreach(families, name, family) {
        double value = json_number_value(json_object_get(family, key));
        int at = count;
        if (count == FAMILIES_ROOM)
            break;
        for (; at > 0; at--) {
            json_t *before = json_object_get(families, names[at - 1]);
            if (json_number_value(json_object_get(before, key)) >= value)
                break;
            names[at] = names[at - 1];
        }
        names[at] = name;
        count++;
    }
    return count;
}

static double sum_of(json_t *families, const char *key)
{
    const char *name;
    json_t *family;
    double sum = 0;
    json_object_foreach(families, name, family)
        sum += json_number_value(json_object_get(family, key));
    return sum;
}

/* Milliseconds a step of one family, and the same as counted. */
static void write_times(FILE *stream, const json_t *step, const char *name)
{
    json_t *family = json_object_get(json_object_get(step, "families"), name);
    double steps = json_number_value(json_object_get(step, "steps"));
    const char *const keys[] = {"seconds", "counted"};
    for (int i = 0; i < 2; i++) {
        double seconds = json_number_value(json_object_get(family, keys[i]));
        char *each = significant_text(1e3 * seconds / steps);
        fprintf(stream, "\t%s", each);
        free(each);
    }
}

static void write_family(FILE *stream, const json_t *step, const char *name)
{
    json_t *families = json_object_get(step, "families");
    json_t *family = json_object_get(families, name);
    double seconds = json_number_value(json_object_get(family, "seconds"));
    char *share = number_text(100 * seconds / sum_of(families, "seconds"), 1);
    fprintf(stream, "\t%s", share);
    free(share);
    write_times(stream, step, name);
}

static void write_families(const struct run *run, const json_t *values, FILE *stream)
{
    const json_t *steps[] = {json_object_get(run->bench, "distillation"),
                             json_object_get(run->bench, "finetuning")};
    const char *names[FAMILIES_ROOM];
    int count = sort_families(json_object_get(steps[0], "families"), "seconds", names);
    (void)values;
    write_row(stream, "Kernels", "Distillation, %", "ms a step", "counted",
              "Fine-tuning, %", "ms a step", "counted");
    for (int i = 0; i < count; i++) {
        fputs(family_title(names[i]), stream);
        for (int s = 0; s < 2; s++)
            write_family(stream, steps[s], names[i]);
        fputc('\n', stream);
    }
}

static void write_roofline(const struct run *run, const json_t *values, FILE *stream)
{
    static const char *const columns[] = {"petaflops", "terabytes", "distillation",
                                          "teacher",   "student",   "minutes"};
    json_t *families =
        json_object_get(json_object_get(run->bench, "estimate"), "families");
    const char *names[FAMILIES_ROOM];
    int count = sort_families(families, "minutes", names);
    (void)values;
    write_row(stream, "Kernels", "PFLOP", "TB", "Distillation, min",
              "Teacher's tasks, min", "Student's tasks, min", "All, min");
    for (int i = 0; i <= count && count > 0; i++) {
        fputs(i < count ? family_title(names[i]) : "all", stream);
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
            json_t *family = json_object_get(families, i < count ? names[i] : "");
            char *number = number_text(
                family ? json_number_value(json_object_get(family, columns[c]))
                       : sum_of(families, columns[c]),
                1);
            fprintf(stream, "\t%s", number);
            free(number);
        }
        fputc('\n', stream);
    }
}

static void write_gpu(const struct run *run, const json_t *values, FILE *stream)
{
    const json_t *estimate = json_object_get(run->gpu, "estimate");
    json_t *families = json_object_get(estimate, "families");
    const char *names[FAMILIES_ROOM];
    int count = sort_families(families, "minutes", names);
    (void)values;
    write_row(stream, "Kernels", "Distillation, ms", "counted", "Fine-tuning, ms",
              "counted", "T4, min", "stretched");
    for (int i = 0; i < count; i++) {
        const char *const steps[] = {"distillation", "finetuning"};
        json_t *family = json_object_get(families, names[i]);
        fputs(family_title(names[i]), stream);
        for (int s = 0; s < 2; s++)
            write_times(stream, json_object_get(run->gpu, steps[s]), names[i]);
        double counted = json_number_value(json_object_get(family, "minutes"));
        char *minutes = number_text(counted, 1);
        char *longer = number_text(stretched_minutes(run->gpu, names[i]), 1);
        fprintf(stream, "\t%s\t%s\n", minutes, longer);
        free(minutes);
        free(longer);
    }
}

/* Write the table of every seed */
/* The seeds of a run, ascending; at most room. */
static int list_seeds(const struct run *run, int *seeds, int room)
{
    int count = 0;
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++)
            for (int k = 0; k < run->sheets[i].list[j].seeds; k++) {
                int seed = run->sheets[i].list[j].seed[k], at = 0;
                while (at < count && seeds[at] < seed)
                    at++;
                if (count == room || (at < count && seeds[at] == seed))
                    continue;
                memmove(seeds + at + 1, seeds + at,
                        (size_t)(count++ - at) * sizeof *seeds);
                seeds[at] = seed;
            }
    return count;
}

static void write_seeds(const struct run *run, const json_t *values, FILE *stream)
{
    int seeds[64], count = list_seeds(run, seeds, 64);
    (void)values;
    fputs("Task\tModel", stream);
    for (int s = 0; s < count; s++)
        fprintf(stream, "\tSeed %d", seeds[s]);
    fputc('\n', stream);
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++) {
            const struct answers *a = &run->sheets[i].list[j];
            fprintf(stream, "%s\t%s", run->sheets[i].title, model_title(a->model));
            for (int s = 0, at = 0; s < count; s++) {
                char *text = at < a->seeds && a->seed[at] == seeds[s]
                                 ? number_text(a->scores[at++], 2)
                                 : text_format("–");
                fprintf(stream, "\t%s", text);
                free(text);
            }
            fputc('\n', stream);
        }
}

/* Write the table of confusions */
static void write_confusions(const struct run *run, const json_t *values, FILE *stream)
{
    (void)values;
    fputs("Task\tModel\tSeed\t0 as 0\t0 as 1\t1 as 0\t1 as 1\n", stream);
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++) {
            const struct sheet *sheet = &run->sheets[i];
            const struct answers *a = &sheet->list[j];
            for (int s = 0; sheet->task->classes == 2 && s < a->seeds; s++) {
                struct confusion c =
                    confusion_count(sheet->labels, a->predictions[s], sheet->rows);
                fprintf(stream, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", sheet->title,
                        model_title(a->model), a->seed[s], c.true_negative,
                        c.false_positive, c.false_negative, c.true_positive);
            }
        }
}

/* Write the table of stages */
/* The order of stages in a run: what makes teachers, what makes students, what comes
   after. */
static int kind_of(const char *stage)
{
    return !strcmp(stage, "teacher") ? 0 : !strncmp(stage, "distill-", 8) ? 1 : 2;
}

static void write_stages(const struct run *run, const json_t *values, FILE *stream)
{
    const char *name;
    json_t *record, *groups = json_object(), *group;
    (void)values;
    for (int kind = 0; kind < 3; kind++)
        json_object_foreach(run->stages, name, record) {
            if (kind_of(name) != kind)
                continue;
            /* Add a stage to the group of its kind */
            const char *sums[] = {"steps", "tokens", "seconds"}, *last = strrchr(name, '-');
            bool seeded = !strncmp(name, "finetune-", 9) && last;
            char *kind =
                text_format("%.*s", (int)(seeded ? last - name : (long)strlen(name)), name);
            if (!(group = json_object_get(groups, kind))) {
                group = json_object();
                json_object_set_new(groups, kind, group);
                json_object_set(group, "threads", json_object_get(record, "threads"));
            }
            for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
                json_object_set_new(group, sums[i],
                                    json_real(json_number_value(json_object_get(group, sums[i]))
                                              + json_number_value(json_object_get(record,
                                                                                  sums[i]))));
            if (json_number_value(json_object_get(record, "memory"))
                > json_number_value(json_object_get(group, "memory")))
                json_object_set(group, "memory", json_object_get(record, "memory"));
            json_object_set_new(group, "runs",
                                json_integer(json_integer_value(json_object_get(group, "runs"))
                                             + 1));
            free(kind);
        }
    write_row(stream, "Stage", "Runs", "Steps", "Tokens", "Threads", "GB", "Time");
    json_object_foreach(groups, name, group) {
        /* Write the row of a group of stages */
        const char *const counts[] = {"runs", "steps", "tokens", "threads"};
        fputs(name, stream);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            char *count = number_text(json_number_value(json_object_get(group, counts[i])), 0);
            fprintf(stream, "\t%s", count);
            free(count);
        }
        double memory = json_number_value(json_object_get(group, "memory"));
        char *time = duration_text(json_number_value(json_object_get(group, "seconds")));
        char *most = memory > 0 ? significant_text(1e-9 * memory) : text_format("–");
        fprintf(stream, "\t%s\t%s\n", most, time);
        free(most);
        free(time);
    }
    json_decref(groups);
}

/* Write the tables of settings and data */
static void write_settings(const struct run *run, const json_t *values, FILE *stream)
{
    const char *name, *names[256];
    json_t *value;
    int count = 0;
    (void)run;
    json_object_foreach((json_t *)values, name, value) {
        bool short_one = json_string_length(value) <= SHORT_SETTING;
        if (!strncmp(name, "setting.", 8) && short_one && count < 256)
            names[count++] = name;
    }
    write_row(stream, "Setting", "Value", "Setting", "Value");
    int half = (count + 1) / 2;
    for (int i = 0; i < half; i++)
        write_row(stream, names[i] + 8, value_get(values, "%s", names[i]),
                  half + i < count ? names[half + i] + 8 : "",
                  half + i < count ? value_get(values, "%s", names[half + i]) : "");
}

static void write_data(const struct run *run, const json_t *values, FILE *stream)
{
    const char *name, *path;
    json_t *record, *hash, *files = json_object();
    (void)values;
    json_object_foreach(run->stages, name, record) {
        json_object_update(files, json_object_get(record, "data"));
    }
    write_row(stream, "File", "SHA-256, first half");
    json_object_foreach(files, path, hash) {
        fprintf(stream, "%s\t%.32s\n", path, json_string_value(hash));
    }
    json_decref(files);
}

/* Average rows of a column */
/* The mean over rows first .. end−1 of the column of that name. */
static double rows_mean(const struct grid *curve, const char *name, int first, int end)
{
    int column = grid_column(curve, name);
    double sum = 0;
    for (int row = first; row < end; row++)
        sum += grid_number(curve, row, column);
    return sum / (end - first);
}

/* Write what the figure of the losses plots */
enum { POINTS = 100 };

static void plot_losses(const struct run *run, FILE *stream)
{
    static const char *const terms[] = {"mlm", "kl", "cosine", "accuracy"};
    struct grid *curve = run_curve(run, "distill-student");
    write_row(stream, "step", terms[0], terms[1], terms[2], terms[3]);
    int points = !curve ? 0 : curve->rows < POINTS ? curve->rows : POINTS;
    for (int point = 0; point < points; point++) {
        int first = (int)((long)curve->rows * point / points);
        int end = (int)((long)curve->rows * (point + 1) / points);
        fprintf(stream, "%.1f", rows_mean(curve, "step", first, end));
        for (size_t i = 0; i < sizeof terms / sizeof *terms; i++)
            fprintf(stream, "\t%.6g", rows_mean(curve, terms[i], first, end));
        fputc('\n', stream);
    }
    if (curve)
        grid_free(curve);
}

/* Shorten a model's title */
static const char *short_title(const char *model)
{
    const char *title = model_title(model), *student = "student, ";
    return strncmp(title, student, strlen(student)) ? title : title + strlen(student);
}

/* Write what the figure of the models plots */
static void plot_models(const struct run *run, FILE *stream)
{
    for (int j = 0; j < run->model_count; j++)
        fprintf(stream, "%d\t%s\n", j + 1, short_title(run->models[j]));
}

/* Write what the figure of the accuracy plots */
static void plot_accuracy(const struct run *run, FILE *stream)
{
    json_t *distillation = json_object_get(run->stages, "distill-student");
    json_t *level = json_object_get(distillation, "teacher_accuracy");
    double last_step = 0;
    for (int i = 0; i < run->model_count; i++) {
        char *name = text_format("distill-%s-validation", run->models[i]);
        struct grid *curve = run_curve(run, name);
        int rows = curve && curve->rows > 1 ? curve->rows : 0;
        for (int row = 0; row < rows; row++) {
            double step = rows_mean(curve, "step", row, row + 1);
            last_step = fmax(last_step, step);
            fprintf(stream, "%.0f\t%.4f\t%d\t%s\n", step,
                    100 * rows_mean(curve, "accuracy", row, row + 1), i + 1,
                    short_title(run->models[i]));
        }
        if (rows > 0)
            fputs("\n\n", stream);
        if (curve)
            grid_free(curve);
        free(name);
    }
    double height = 100 * json_number_value(level);
    for (int end = 0; level && end < 2; end++)
        fprintf(stream, "%.0f\t%.4f\t1\tteacher\n", end * last_step, height);
}

/* Write what the figure of the scores plots */
/* The number of a task among those that are drawn; -1 for the others. */
static int drawn(const struct run *run, int sheet)
{
    int number = 0;
    for (int i = 0; i < sheet; i++)
        number += run->sheets[i].shown;
    return run->sheets[sheet].shown ? number : -1;
}

static void plot_scores(const struct run *run, FILE *stream)
{
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->model_count; j++) {
            const struct answers *a = run_answers(&run->sheets[i], run->models[j]);
            struct estimate e = measure_estimate(a ? a->score : NULL);
            if (e.bounded && run->sheets[i].shown)
                fprintf(stream, "%d\t%d\t%.4f\t%.4f\t%.4f\n", drawn(run, i), j + 1,
                        e.value, e.low, e.high);
        }
}

static void plot_seeds(const struct run *run, FILE *stream)
{
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->model_count; j++) {
            const struct answers *a = run_answers(&run->sheets[i], run->models[j]);
            for (int seed = 0; a && drawn(run, i) >= 0 && seed < a->seeds; seed++)
                fprintf(stream, "%d\t%d\t%.4f\n", drawn(run, i), j + 1,
                        a->scores[seed]);
        }
}

static void plot_tasks(const struct run *run, FILE *stream)
{
    for (int i = 0; i < run->count; i++)
        if (run->sheets[i].shown)
            fprintf(stream, "%d\t%s\n", drawn(run, i), run->sheets[i].title);
}

/* Write what the figure of the confusions plots */
static int typical_seed(const struct answers *a)
{
    int nearest = 0;
    for (int seed = 1; seed < a->seeds; seed++)
        if (fabs(a->scores[seed] - a->score->value)
            < fabs(a->scores[nearest] - a->score->value))
            nearest = seed;
    return nearest;
}

/* The number of a task among those that have confusion matrices, which are drawn and of
   two classes; -1 for the others. */
static int confused(const struct run *run, int sheet)
{
    int number = -1;
    for (int i = 0; i <= sheet; i++)
        number += run->sheets[i].shown && run->sheets[i].task->classes == 2;
    bool drawn = run->sheets[sheet].shown && run->sheets[sheet].task->classes == 2;
    return drawn ? number : -1;
}

static void plot_classes(const struct run *run, FILE *stream)
{
    for (int i = 0; i < run->count; i++)
        if (confused(run, i) >= 0)
            fprintf(stream, "%d\t%s\n", confused(run, i), run->sheets[i].title);
}

static void plot_confusions(const struct run *run, FILE *stream)
{
    static const char *const shown[] = {"teacher", "student"};
    write_row(stream, "task", "model", "prediction", "label", "share", "count");
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < 2; j++) {
            const struct sheet *sheet = &run->sheets[i];
            const struct answers *a = run_answers(sheet, shown[j]);
            if (!a || confused(run, i) < 0)
                continue;
            struct confusion c = confusion_count(
                sheet->labels, a->predictions[typical_seed(a)], sheet->rows);
            int counts[2][2] = {{c.true_negative, c.false_positive},
                                {c.false_negative, c.true_positive}};
            for (int label = 0; label < 2; label++)
                for (int prediction = 0; prediction < 2; prediction++) {
                    int count = counts[label][prediction],
                        all = counts[label][0] + counts[label][1];
                    fprintf(stream, "%d\t%d\t%d\t%d\t%.4f\t%d\n", confused(run, i), j,
                            prediction, label, all ? (double)count / all : 0, count);
                }
        }
}

/* Write what the figure of the speed plots */
static void plot_speed(const struct run *run, FILE *stream)
{
    const char *model;
    json_t *timed;
    write_row(stream, "model", "millions", "one", "all");
    json_object_foreach(json_object_get(run->bench, "models"), model, timed) {
        fprintf(stream, "%s\t%.6g\t%.6g\t%.6g\n", model_title(model),
                1e-6 * json_number_value(json_object_get(timed, "parameters")),
                json_number_value(json_object_get(timed, "seconds_one_core")),
                json_number_value(json_object_get(timed, "seconds_all_cores")));
    }
}

/* Write all tables */
void tables_write(const struct run *run, const json_t *values, const char *folder)
{
    static const struct {
        const char *name;
        void (*write)(const struct run *, const json_t *, FILE *);
    } tables[] = {{"glue", write_glue},           {"squad", write_squad},
                  {"claim", write_claim},         {"scores", write_scores},
                  {"retention", write_retention}, {"ablation", write_ablations},
                  {"speed", write_speed},         {"seeds", write_seeds},
                  {"confusion", write_confusions}, {"stages", write_stages},
                  {"settings", write_settings},   {"data", write_data},
                  {"programs", write_programs},   {"families", write_families},
                  {"roofline", write_roofline},   {"gpu", write_gpu}};
    static const struct {
        const char *name;
        void (*plot)(const struct run *, FILE *);
    } figures[] = {{"losses", plot_losses}, {"accuracy", plot_accuracy},
                   {"models", plot_models}, {"scores", plot_scores},
                   {"seeds", plot_seeds},   {"tasks", plot_tasks},
                   {"speed", plot_speed},   {"confusion", plot_confusions},
                   {"classes", plot_classes}};
    FILE *stream;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        struct file_writer *writer = start(folder, "tables", tables[i].name, &stream);
        tables[i].write(run, values, stream);
        file_commit(writer);
    }
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        struct file_writer *writer = start(folder, "figures", figures[i].name, &stream);
        figures[i].plot(run, stream);
        file_commit(writer);
    }
}
