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

/* Fill a template */
/* What the paper's score changes by without this, as a key; "–" if it does not say. */
static const char *claimed_change(const char *model)
{
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == CHANGE && !strcmp(claim->model, model))
            return say("{{%s}}", claim->path);
    return "–";
}

struct row {
    const struct task *task;
    const char *title;                 /* of the task */
    const struct planned_model *model; /* NULL: a constant answer */
};

/* What a letter behind % stands for. */
static const char *part(char letter, const struct row *row)
{
    const struct task *task = row->task;
    switch (letter) {
    case 't': return task->name;
    case 'T': return row->title;
    case 'm': return row->model->name;
    case 'M': return row->model->title;
    case 'p': return task->glue ? "1" : "2";
    case 'n': return task->answer == A_SPAN ? "f1" : task->name;
    default: return claimed_change(row->model->name);
    }
}

static void write_template(const char *template, const struct row *row,
                           const json_t *values, FILE *stream)
{
    const char *text = "";
    for (size_t plain; *template; template += plain) {
        plain = strcspn(template, "%");
        text = say("%s%.*s", text, (int)plain, template);
        if (template[plain]) {
            text = say("%s%s", text, part(template[plain + 1], row));
            plain += 2;
        }
    }
    for (size_t length; *text; text += length) {
        length = strcspn(text, "<");
        fprintf(stream, "%.*s", (int)length, text);
        if (text[length] == '<') {
            size_t key = strcspn(text + length, ">");
            const char *name = say("%.*s", (int)key - 1, text + length + 1);
            fputs(value_get(values, name), stream);
            length += key + 1;
        }
    }
    fputc('\n', stream);
}

/* Declare the tables of findings */
#define PAPER1(title, model) \
    "paper: " title "\t{{paper.table1." model ".score}}\t{{paper.table1." model \
    ".cola}}\t{{paper.table1." model ".mnli}}\t{{paper.table1." model \
    ".mrpc}}\t{{paper.table1." model ".qnli}}\t{{paper.table1." model \
    ".qqp}}\t{{paper.table1." model ".rte}}\t{{paper.table1." model \
    ".sst2}}\t{{paper.table1." model ".stsb}}\t{{paper.table1." model ".wnli}}\n"
#define PAPER2(title, imdb, model) \
    "paper: " title "\t" imdb "\t{{paper.table2." model ".em}}\t{{paper.table2." \
    model ".f1}}\n"
#define PAPER3(title, model, times) \
    "paper: " title "\t{{paper.table3." model ".parameters}}\t{{paper.table3." model \
    ".seconds}}\t" times "\n"

/* Which rows a table has: the models with tasks of GLUE beside the course project's;
   those that answered SQuAD; those that were timed; the ablations; the students by
   their tasks; the tasks of the claim. */
enum rows { BEYOND, SQUAD, TIMED, CHANGED, KEPT, CLAIMED };

static const struct table {
    const char *name;
    enum rows rows;
    const char *head, *row, *other; /* what is the same in any run; templates */
} tables[] = {
    {"glue", BEYOND,
     "Model\tScore\tCoLA\tMNLI\tMRPC\tQNLI\tQQP\tRTE\tSST-2\tSTS-B\tWNLI\n"
     PAPER1("ELMo", "elmo") PAPER1("BERT", "bert") PAPER1("DistilBERT", "distilbert"),
     "%M\t<glue.mean.%m>\t<glue.cola.%m>\t<glue.mnli.%m>\t<glue.mrpc.%m>"
     "\t<glue.qnli.%m>\t<glue.qqp.%m>\t<glue.rte.%m>\t<glue.sst2.%m>"
     "\t<glue.stsb.%m>\t<glue.wnli.%m>", NULL},
    {"squad", SQUAD, "Model\tIMDb\tSQuAD, exact match\tSQuAD, F1\n"
     PAPER2("BERT", "{{paper.table2.bert.imdb}}", "bert")
     PAPER2("DistilBERT", "{{paper.table2.distilbert.imdb}}", "distilbert")
     PAPER2("DistilBERT (D)", "–", "distilled"),
     "%M\t<score.imdb.%m>\t<second.squad.%m>\t<score.squad.%m>", NULL},
    {"speed", TIMED, "Model\tParameters, millions\tOne pass, s\tTimes as fast\n"
     PAPER3("ELMo", "elmo", "–") PAPER3("BERT", "bert", "1.00")
     PAPER3("DistilBERT", "distilbert", "{{paper.ratio.speed}}"),
     "%M, one core\t<parameters.%m>\t<seconds.one.%m>\t<times.one.%m>",
     "%M, all cores\t<parameters.%m>\t<seconds.all.%m>\t<times.all.%m>"},
    /* Declare the tables of retention and ablations */
    {"claim", CLAIMED, "\tpaper: BERT\tDistilBERT\tkept\tcourse: teacher\tstudent\tkept"
     "\tours: teacher\tstudent\tkept\n",
     "%T\t{{paper.table%p.bert.%n}}\t{{paper.table%p.distilbert.%n}}\t{{paper.ratio.%t}}"
     "\t{{course.%t.teacher}}\t{{course.%t.student}}\t{{course.ratio.%t}}"
     "\t<score.%t.teacher>\t<score.%t.student>\t<retention.%t.student>",
     "%T\t{{paper.table%p.bert.%n}}\t{{paper.table%p.distilbert.%n}}\t{{paper.ratio.%t}}"
     "\t–\t–\t–\t<score.%t.teacher>\t<score.%t.student>\t<retention.%t.student>"},
    {"retention", KEPT, "Model\tTask\tA constant answer\tTeacher\tStudent\tRetention, %"
     "\t95 % interval\n",
     "%M\t%T\t<constant.%t>\t<score.%t.teacher>\t<score.%t.%m>\t<retention.%t.%m>"
     "\t<retention.%t.%m.interval>",
     "%M\tmean\t\t\t\t<retention.mean.%m>\t<retention.mean.%m.interval>"},
    {"ablation", CHANGED, "Student\tMasked words, %\tMean score\tChange\t95 % interval"
     "\tPaper's change\n",
     "%M\t<accuracy.last.%m>\t<score.mean.%m>\t<ablation.%m>\t<ablation.%m.interval>\t%c",
     "%M, all terms\t<accuracy.last.%m>\t<score.mean.%m>\t\t\t"},
};

/* Write the rows of a table */
static bool has_row(enum rows rows, const struct findings *f, const char *model)
{
    switch (rows) {
    case BEYOND: return findings_beyond(f, model);
    case SQUAD: return run_answers(run_sheet(f->run, "squad"), model);
    case TIMED: return finding_of(f, PARAMETERS, NULL, model)->is.known;
    default: return finding_of(f, CHANGE, NULL, model)->is.known;
    }
}

/* Rows of models: first all by one template, then all by the other. */
static void write_models(const struct table *t, const struct findings *f,
                         const json_t *values, FILE *stream)
{
    const char *const templates[] = {t->row, t->other};
    struct row student = {.model = plan_model(f->run->plan, "student")};
    if (t->rows == CHANGED && finding_of(f, SCORE, NULL, "student")->is.known)
        write_template(t->other, &student, values, stream);
    for (int i = 0; i < (t->rows == TIMED ? 2 : 1); i++)
        for (int j = 0; j < f->run->plan->model_count; j++) {
            struct row row = {.model = &f->run->plan->models[j]};
            if (has_row(t->rows, f, row.model->name))
                write_template(templates[i], &row, values, stream);
        }
}

static void write_kept(const struct table *t, const struct findings *f,
                       const json_t *values, FILE *stream)
{
    for (int i = 0; i < f->run->model_count; i++) {
        struct row row = {.model = f->run->models[i]};
        for (int j = 0; j < f->run->count && row.model->student; j++) {
            row.task = f->run->sheets[j].task;
            row.title = f->run->sheets[j].title;
            if (run_answers(&f->run->sheets[j], row.model->name))
                write_template(t->row, &row, values, stream);
        }
        if (row.model->student)
            write_template(t->other, &row, values, stream);
    }
}
static void write_claimed(const struct table *t, const struct findings *f,
                          const json_t *values, FILE *stream)
{
    bool three = findings_three(f, "student"),
         known = finding_of(f, RETENTION, NULL, "student")->is.known;
    const char *mean = value_get(values, "retention.mean.student");
    for (const struct task *task = task_list; task->name; task++) {
        struct row row = {.task = task, .title = task->title};
        if (task->headline)
            write_template(t->row, &row, values, stream);
    }
    write_row(stream, "mean of the three", "", "", "{{paper.ratio.three}}", "", "",
              "{{course.retention}}", "", "", known && !three ? "–" : mean);
    for (int i = 0; i < f->run->count; i++) {
        struct row row = {.task = f->run->sheets[i].task,
                          .title = f->run->sheets[i].task->title};
        if (f->run->sheets[i].shown && !row.task->headline)
            write_template(t->other, &row, values, stream);
    }
    if (known && !three)
        write_row(stream, "mean of those that count", "", "", "–", "", "", "–", "", "",
                  mean);
}
static void write_scores(const struct findings *f, const json_t *values, FILE *stream)
{
    const char *head = "Model", *constant = "a constant answer", *scores = "%M";
    for (int i = 0; i < f->run->count; i++) {
        const struct sheet *sheet = &f->run->sheets[i];
        const char *task = sheet->task->name;
        if (sheet->shown) {
            head = say("%s\t%s", head, sheet->title);
            constant = say("%s\t<constant.%s>", constant, task);
            scores = say("%s\t<score.%s.%%m.spread>", scores, task);
        }
    }
    fprintf(stream, "%s\tMean\tRetention, %%\n", head);
    struct row row = {.model = NULL};
    write_template(say("%s\t–\t–", constant), &row, values, stream);
    for (int i = 0; i < f->run->model_count; i++) {
        row.model = f->run->models[i];
        write_template(say("%s\t<score.mean.%%m>\t<retention.mean.%%m>", scores), &row,
                       values, stream);
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
        char *key = text_format("fast.%s.%s", recipe ? recipe : "", steps[i]);
        fprintf(stream, "\t%s\t%s", number, recipe ? value_get(values, key) : "1");
        free(number);
        free(key);
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

/* Write the tables of what was done */
/* The seed of the run that follows one; −1 behind the last. */
static int next_seed(const struct run *run, int last)
{
    int next = -1;
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++)
            for (int k = 0; k < run->sheets[i].list[j].seeds; k++) {
                int seed = run->sheets[i].list[j].seed[k];
                if (seed > last && (next < 0 || seed < next))
                    next = seed;
            }
    return next;
}

static void write_seed_row(const struct run *run, const struct sheet *sheet,
                           const struct answers *a, FILE *stream)
{
    struct words collapsed = {NULL, 0};
    fprintf(stream, "%s\t%s", sheet->title, a->model->title);
    for (int seed = next_seed(run, -1); seed >= 0; seed = next_seed(run, seed)) {
        const char *text = "";
        for (int k = 0; k < a->seeds; k++)
            if (a->seed[k] == seed) {
                text = rounded(a->scores[k], 2);
                if (a->collapsed[k])
                    words_add(&collapsed, say("%d", seed));
            }
        fprintf(stream, "\t%s", text);
    }
    fprintf(stream, "\t%s\n", collapsed.count ? words_said(&collapsed) : "none");
}
static void write_seeds(const struct findings *f, FILE *stream)
{
    const struct run *run = f->run;
    fputs("Task\tModel", stream);
    for (int seed = next_seed(run, -1); seed >= 0; seed = next_seed(run, seed))
        fprintf(stream, "\tSeed %d", seed);
    fputs("\tCollapsed seeds\n", stream);
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++)
            write_seed_row(run, &run->sheets[i], &run->sheets[i].list[j], stream);
}

static void write_confusions(const struct findings *f, FILE *stream)
{
    const struct run *run = f->run;
    fputs("Task\tModel\tSeed\t0 as 0\t0 as 1\t1 as 0\t1 as 1\n", stream);
    for (int i = 0; i < run->count; i++)
        for (int j = 0; j < run->sheets[i].count; j++) {
            const struct sheet *sheet = &run->sheets[i];
            const struct answers *a = &sheet->list[j];
            for (int k = 0; sheet->task->classes == 2 && k < a->seeds; k++) {
                struct confusion c =
                    confusion_count(sheet->labels, a->predictions[k], sheet->rows);
                fprintf(stream, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", sheet->title,
                        a->model->title, a->seed[k], c.true_negative, c.false_positive,
                        c.false_negative, c.true_positive);
            }
        }
}
static bool same_group(const struct planned_stage *a, const struct planned_stage *b)
{
    return a->kind == b->kind && a->model == b->model && a->task == b->task;
}

/* The row of the stages of the same kind as one, if it is the first of them. */
static void write_group(const struct run *run, const struct planned_stage *first,
                        FILE *stream)
{
    double sums[3] = {0}, memory = 0, threads = 0;
    static const char *const keys[3] = {"steps", "tokens", "seconds"};
    int runs = 0;
    for (int i = 0; i < run->plan->stage_count; i++) {
        const struct planned_stage *stage = &run->plan->stages[i];
        const json_t *record = json_object_get(run->stages, stage->name);
        if (!record || !same_group(stage, first))
            continue;
        if (runs++ == 0 && stage != first)
            return;
        for (int k = 0; k < 3; k++)
            sums[k] += json_number_value(json_object_get(record, keys[k]));
        memory = fmax(memory, json_number_value(json_object_get(record, "memory")));
        threads = fmax(threads, json_number_value(json_object_get(record, "threads")));
    }
    /* Write the sums of a group */
    const char *title = first->kind == FINETUNE
                            ? say("finetune-%s-%s", first->task->task->name,
                                  first->model->name)
                        : first->kind == DISTILL ? say("distill-%s", first->model->name)
                                                 : first->model->name;
    write_row(stream, title, say("%d", runs), rounded(sums[0], 0), rounded(sums[1], 0),
              rounded(threads, 0), memory > 0 ? kept(significant_text(1e-9 * memory)) : "–",
              duration_said(sums[2]));
}
static void write_stages(const struct findings *f, FILE *stream)
{
    const struct run *run = f->run;
    write_row(stream, "Stage", "Runs", "Steps", "Tokens", "Threads", "GB", "Time");
    for (enum stage_kind kind = PRETRAIN; kind <= FINETUNE; kind++)
        for (int i = 0; i < run->plan->stage_count; i++) {
            const struct planned_stage *stage = &run->plan->stages[i];
            if (stage->kind == kind && json_object_get(run->stages, stage->name))
                write_group(run, stage, stream);
        }
}

static void write_data(const struct findings *f, FILE *stream)
{
    const struct run *run = f->run;
    const char *name, *path;
    json_t *record, *hash, *files = json_object();
    json_object_foreach(run->stages, name, record) {
        json_object_update(files, json_object_get(record, "data"));
    }
    write_row(stream, "File", "SHA-256, first half");
    json_object_foreach(files, path, hash) {
        fprintf(stream, "%s\t%.32s\n", path, json_string_value(hash));
    }
    json_decref(files);
}
static void write_settings(const json_t *settings, FILE *stream)
{
    size_t count = 0;
    const char *name, **names = allocate(json_object_size(settings) + 1, sizeof *names),
                      **values = allocate(json_object_size(settings) + 1,
                                          sizeof *values);
    json_t *value;
    json_object_foreach((json_t *)settings, name, value) {
        if (json_string_length(value) > SHORT_SETTING)
            continue;
        names[count] = name;
        values[count++] = json_string_value(value);
    }
    names[count] = values[count] = "";
    write_row(stream, "Setting", "Value", "Setting", "Value");
    size_t half = (count + 1) / 2;
    for (size_t i = 0; i < half; i++)
        write_row(stream, names[i], values[i], names[half + i], values[half + i]);
    free(names);
    free(values);
}

static void write_judgements(const struct verdicts *verdicts,
                             const struct judgements *judgements, FILE *stream)
{
    write_row(stream, "Claim", "Asked", "Measured", "Verdict", "Why");
    for (int i = 0; i < judgements->count; i++) {
        const struct judgement *j = &judgements->list[i];
        write_row(stream, j->claim, j->asked, finding_measured(&j->measured),
                  verdict_said(j->verdict, verdicts->toyland), j->why);
    }
}

/* Prepare what is plotted */
enum { POINTS = 100 };

/* The mean over rows first .. end−1 of the column of that name. */
static double rows_mean(const struct grid *curve, const char *name, int first, int end)
{
    int column = grid_column(curve, name);
    double sum = 0;
    for (int row = first; row < end; row++)
        sum += grid_number(curve, row, column);
    return sum / (end - first);
}

static const char *short_title(const struct planned_model *model)
{
    const char *student = "student, ";
    return strncmp(model->title, student, strlen(student))
               ? model->title : model->title + strlen(student);
}

/* Plot the training */
static void plot_losses(const struct findings *f, FILE *stream)
{
    static const char *const terms[] = {"mlm", "kl", "cosine", "accuracy"};
    struct grid *curve = run_curve(f->run, "distill-student", "");
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
static void plot_accuracy(const struct findings *f, FILE *stream)
{
    const struct finding *level = finding_of(f, GUESSED_LAST, NULL, "teacher");
    double last_step = 0;
    for (int i = 0; i < f->run->model_count; i++) {
        const char *stage = say("distill-%s", f->run->models[i]->name);
        struct grid *curve = run_curve(f->run, stage, "-validation");
        int rows = curve && curve->rows > 1 ? curve->rows : 0;
        for (int row = 0; row < rows; row++) {
            double step = rows_mean(curve, "step", row, row + 1);
            last_step = fmax(last_step, step);
            fprintf(stream, "%.0f\t%.4f\t%d\t%s\n", step,
                    100 * rows_mean(curve, "accuracy", row, row + 1), i + 1,
                    short_title(f->run->models[i]));
        }
        if (rows > 0)
            fputs("\n\n", stream);
        if (curve)
            grid_free(curve);
    }
    for (int end = 0; level->is.known && end < 2; end++)
        fprintf(stream, "%.0f\t%.4f\t1\tteacher\n", end * last_step,
                level->is.value);
}

/* Plot the scores */
static void plot_models(const struct findings *f, FILE *stream)
{
    for (int j = 0; j < f->run->model_count; j++)
        fprintf(stream, "%d\t%s\n", j + 1, short_title(f->run->models[j]));
}

static void plot_tasks(const struct findings *f, FILE *stream)
{
    for (int i = 0, task = 0; i < f->run->count; i++)
        if (f->run->sheets[i].shown)
            fprintf(stream, "%d\t%s\n", task++, f->run->sheets[i].title);
}

static void plot_scores(const struct findings *f, FILE *stream)
{
    for (int i = 0, task = 0; i < f->run->count; task += f->run->sheets[i++].shown)
        for (int j = 0; j < f->run->model_count; j++) {
            const struct sheet *sheet = &f->run->sheets[i];
            struct estimate e = finding_of(f, SCORE, sheet->task->name,
                                           f->run->models[j]->name)->is;
            if (e.bounded && sheet->shown)
                fprintf(stream, "%d\t%d\t%.4f\t%.4f\t%.4f\n", task, j + 1, e.value,
                        e.low, e.high);
        }
}

static void plot_seeds(const struct findings *f, FILE *stream)
{
    for (int i = 0, task = 0; i < f->run->count; task += f->run->sheets[i++].shown)
        for (int j = 0; j < f->run->model_count; j++) {
            const struct answers *a = run_answers(&f->run->sheets[i],
                                                  f->run->models[j]->name);
            for (int k = 0; a && f->run->sheets[i].shown && k < a->seeds; k++)
                fprintf(stream, "%d\t%d\t%.4f\n", task, j + 1, a->scores[k]);
        }
}

/* Plot the confusions and the speed */
static bool confused(const struct sheet *sheet)
{
    return sheet->shown && sheet->task->classes == 2;
}

static void plot_classes(const struct findings *f, FILE *stream)
{
    for (int i = 0, task = 0; i < f->run->count; i++)
        if (confused(&f->run->sheets[i]))
            fprintf(stream, "%d\t%s\n", task++, f->run->sheets[i].title);
}

static int typical_seed(const struct answers *a)
{
    double median = measure_median(a->scores, a->seeds);
    int nearest = 0;
    for (int seed = 1; seed < a->seeds; seed++)
        if (fabs(a->scores[seed] - median) < fabs(a->scores[nearest] - median))
            nearest = seed;
    return nearest;
}
static void plot_matrix(int task, int model, struct confusion c, FILE *stream)
{
    int counts[2][2] = {{c.true_negative, c.false_positive},
                        {c.false_negative, c.true_positive}};
    for (int label = 0; label < 2; label++)
        for (int prediction = 0; prediction < 2; prediction++) {
            int count = counts[label][prediction],
                all = counts[label][0] + counts[label][1];
            fprintf(stream, "%d\t%d\t%d\t%d\t%.4f\t%d\n", task, model, prediction,
                    label, all ? (double)count / all : 0, count);
        }
}

static void plot_confusions(const struct findings *f, FILE *stream)
{
    write_row(stream, "task", "model", "prediction", "label", "share", "count");
    for (int i = 0, task = 0; i < f->run->count; task += confused(&f->run->sheets[i++]))
        for (int j = 0; j < 2; j++) {
            const struct sheet *sheet = &f->run->sheets[i];
            const struct answers *a = run_answers(sheet, j ? "student" : "teacher");
            if (a && confused(sheet))
                plot_matrix(task, j,
                            confusion_count(sheet->labels,
                                            a->predictions[typical_seed(a)],
                                            sheet->rows), stream);
        }
}

static void plot_speed(const struct findings *f, FILE *stream)
{
    write_row(stream, "model", "millions", "one", "all");
    for (int i = 0; i < f->run->plan->model_count; i++) {
        const struct planned_model *model = &f->run->plan->models[i];
        const struct finding *size = finding_of(f, PARAMETERS, NULL, model->name);
        if (size->is.known)
            fprintf(stream, "%s\t%.6g\t%.6g\t%.6g\n", model->title,
                    1e-6 * size->is.value,
                    finding_of(f, SECONDS_ONE, NULL, model->name)->is.value,
                    finding_of(f, SECONDS_ALL, NULL, model->name)->is.value);
    }
}

/* Write all tables */
static struct file_writer *start(const char *folder, const char *kind, const char *name)
{
    return file_create(say("%s/%s/%s.tsv", folder, kind, name));
}

/* What a function of its own writes, from the findings or from the benchmark. */
static const struct writing {
    const char *kind, *name;
    void (*write)(const struct findings *, FILE *);
    void (*bench)(const struct run *, const json_t *values, FILE *);
} writings[] = {
    {"tables", "seeds", write_seeds, NULL},
    {"tables", "confusion", write_confusions, NULL},
    {"tables", "stages", write_stages, NULL},
    {"tables", "data", write_data, NULL},
    {"tables", "programs", NULL, write_programs},
    {"tables", "families", NULL, write_families},
    {"tables", "roofline", NULL, write_roofline},
    {"tables", "gpu", NULL, write_gpu},
    {"figures", "losses", plot_losses, NULL},
    {"figures", "accuracy", plot_accuracy, NULL},
    {"figures", "models", plot_models, NULL},
    {"figures", "scores", plot_scores, NULL},
    {"figures", "seeds", plot_seeds, NULL},
    {"figures", "tasks", plot_tasks, NULL},
    {"figures", "speed", plot_speed, NULL},
    {"figures", "confusion", plot_confusions, NULL},
    {"figures", "classes", plot_classes, NULL},
};
static void write_rows(const struct table *t, const struct findings *f,
                       const json_t *values, FILE *stream)
{
    fputs(t->head, stream);
    if (t->rows == KEPT)
        write_kept(t, f, values, stream);
    else if (t->rows == CLAIMED)
        write_claimed(t, f, values, stream);
    else
        write_models(t, f, values, stream);
}

void tables_write(const struct findings *findings, const struct verdicts *verdicts,
                  const json_t *settings, const json_t *values, const char *folder)
{
    struct file_writer *w;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        w = start(folder, "tables", tables[i].name);
        write_rows(&tables[i], findings, values, file_stream(w));
        file_commit(w);
    }
    for (size_t i = 0; i < sizeof writings / sizeof *writings; i++) {
        const struct writing *writing = &writings[i];
        w = start(folder, writing->kind, writing->name);
        if (writing->write)
            writing->write(findings, file_stream(w));
        else
            writing->bench(findings->run, values, file_stream(w));
        file_commit(w);
    }
    /* Write the tables of scores, settings and verdicts */
    w = start(folder, "tables", "scores");
    write_scores(findings, values, file_stream(w));
    file_commit(w);
    w = start(folder, "tables", "settings");
    write_settings(settings, file_stream(w));
    file_commit(w);
    w = start(folder, "tables", "verdicts");
    write_judgements(verdicts, &verdicts->claims, file_stream(w));
    file_commit(w);
    w = start(folder, "tables", "agreement");
    write_judgements(verdicts, &verdicts->agreement, file_stream(w));
    file_commit(w);
}
