/* Tangled from chapters/53-results-program.md; edit there. */
#include "file.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Fill a template */
void write_cells(FILE *stream, const char *const *cells)
{
    for (int i = 0; cells[i]; i++)
        fprintf(stream, i ? "\t%s" : "%s", cells[i]);
    fputc('\n', stream);
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
    case 'n':
        return task->answer == A_SPAN ? "f1" : task->glue ? task->name : "rounded";
    }
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == CHANGE && !strcmp(claim->model, row->model->name))
            return say("{{%s}}", claim->path);
    return "–";
}

/* A template without its bar, and in a run of Toyland without what is behind it. */
static const char *part_for(const char *template, const json_t *values)
{
    const char *bar = strchr(template, '|');
    if (!bar)
        return template;
    bool toyland = !strcmp(value_get(values, "run.data"), "toyland");
    return say("%.*s%s", (int)(bar - template), template,
               toyland ? bar + strcspn(bar, "\n") : bar + 1);
}

/* Writes a row, and returns true, if there are all values that it depends on. */
static bool write_template(const char *template, const struct row *row,
                           const json_t *values, FILE *stream)
{
    const char *text = "", *line = "", *key;
    template = part_for(template, values);
    if (!*template)
        return false;
    for (const char *at; (at = strchr(template, '%')); template = at + 2)
        text = say("%s%.*s%s", text, (int)(at - template), template, part(at[1], row));
    text = say("%s%s", text, template);
    for (const char *open; (open = strchr(text, '<')); text = strchr(open, '>') + 1) {
        bool asked = open[1] == '?';
        key = open + 1 + asked;
        const char *value = value_get(values,
                                      say("%.*s", (int)strcspn(key, ">"), key));
        if (asked && !strcmp(value, "–"))
            return false;
        line = say("%s%.*s%s", line, (int)(open - text), text, asked ? "" : value);
    }
    fprintf(stream, "%s%s\n", line, text);
    return true;
}

/* Fills a template for one model or, if it names tasks, for all of these; returns
   whether there were rows. */
static bool write_rows(const char *template, const struct planned_model *model,
                       const struct results *r, FILE *stream)
{
    struct row row = {.model = model};
    bool any = false;
    if (!strstr(template, "%t"))
        return write_template(template, &row, r->values, stream);
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++) {
        row.task = sheet->task;
        row.title = sheet->title;
        any |= write_template(template, &row, r->values, stream);
    }
    return any;
}

void table_write(const struct table *table, const struct results *r, FILE *stream)
{
    if (table->write)
        table->write(r, stream);
    else
        fputs(part_for(table->head, r->values), stream);
    for (int group = 0; group < 2 && table->groups[group][0]; group++) {
        const char *const *templates = table->groups[group];
        int models = strstr(templates[0], "%m") ? r->run->plan->model_count : 1;
        for (int i = 0; i < models; i++) {
            bool any = true;
            for (int k = 0; any && templates[k]; k++)
                any = write_rows(templates[k], &r->run->plan->models[i], r, stream);
        }
    }
}

/* Write the tables of findings */
static void write_claim_row(const struct task *task, const char *course,
                            const struct results *r, FILE *stream)
{
    struct row row = {.task = task, .title = task->title};
    write_template(say("%s%s%s", "%T\t{{paper.table%p.bert.%n}}"
                       "\t{{paper.table%p.distilbert.%n}}\t{{paper.ratio.%t}}", course,
                       "|\t<score.%t.teacher>\t<score.%t.student>"
                       "\t<retention.%t.student>"), &row, r->values, stream);
}

static void write_claim(const struct results *r, FILE *stream)
{
    bool three = findings_three(r->findings, "student"),
         known = finding_of(r->findings, RETENTION, NULL, "student")->is.known;
    const char *mean = value_get(r->values, "retention.mean.student");
    const char *ours = r->run->plan->toyland ? NULL : "";
    write_row(stream, "Task", "paper: BERT", "paper: DistilBERT", "paper: kept",
              "course project: teacher", "course project: student",
              "course project: kept", ours ? "this run: teacher" : NULL,
              "this run: student", "this run: kept");
    /* Write the rows of the three tasks and of others */
    for (const struct task *task = task_list; task->name; task++)
        if (task->headline)
            write_claim_row(task, "\t{{course.%t.teacher}}\t{{course.%t.student}}"
                                  "\t{{course.ratio.%t}}", r, stream);
    write_row(stream, "mean of the three", "", "", "{{paper.ratio.three}}", "", "",
              "{{course.retention}}", ours, "", known && !three ? "–" : mean);
    for (const struct sheet *sheet = r->run->sheets; ours && sheet->count; sheet++)
        if (sheet->shown && !sheet->task->headline)
            write_claim_row(sheet->task, "\t–\t–\t–", r, stream);
    if (ours && known && !three)
        write_row(stream, "mean of those that count", "", "", "–", "", "", "–", "", "",
                  mean);
}

static void write_scores(const struct results *r, FILE *stream)
{
    const char *head = "Model", *constant = "a constant answer", *scores = "%M";
    struct row row = {.model = NULL};
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++) {
        const char *task = sheet->task->name;
        if (sheet->shown) {
            head = say("%s\tscore, %%: %s", head, sheet->title);
            constant = say("%s\t<constant.%s>", constant, task);
            scores = say("%s\t<score.%s.%%m.spread>", scores, task);
        }
    }
    write_row(stream, head, "score, %: mean", "retention, %: mean",
              "retention, %: 95 % interval");
    write_template(say("%s\t–\t–\t–", constant), &row, r->values, stream);
    scores = say("%s\t<score.mean.%%m>\t<retention.mean.%%m>"
                 "\t<retention.mean.%%m.interval>", scores);
    /* Write the rows of those that a claim is about */
    for (int i = 0; i < r->run->model_count; i++) {
        row.model = r->run->models[i];
        enum difference it = difference_of(row.model,
                                           plan_model(r->run->plan, "student"));
        if (it == NO_DIFFERENCE || it == ANOTHER_ORIGIN)
            write_template(scores, &row, r->values, stream);
    }
}

static void write_judgements(const struct judgements *list, const struct results *r,
                             FILE *stream)
{
    write_row(stream, "Claim", "Asked", "Measured", "Verdict", "Why");
    for (int i = 0; i < list->count; i++) {
        const struct judgement *j = &list->list[i];
        write_row(stream, j->claim, j->asked, finding_measured(&j->measured),
                  verdict_said(j->verdict, r->verdicts->toyland), j->why);
    }
}

static void write_verdicts(const struct results *r, FILE *stream)
{
    write_judgements(&r->verdicts->claims, r, stream);
}

static void write_agreement(const struct results *r, FILE *stream)
{
    write_judgements(&r->verdicts->agreement, r, stream);
}

/* Write the tables of the benchmark */
static void write_program(const struct results *r, const char *title,
                          const char *recipe, const json_t *timed, FILE *stream)
{
    static const char *const steps[] = {"distillation", "finetuning"};
    const char *row = title;
    for (int i = 0; i < 2; i++) {
        double tokens = number_at(timed, say("%s/%s", steps[i],
                                             recipe ? "pytorch" : "tokens_per_second"));
        row = say("%s\t%s\t%s", row, tokens > 0 ? rounded(tokens, 0) : "–",
                  recipe ? value_get(r->values, say("fast.%s.%s", recipe, steps[i]))
                         : "1");
    }
    write_row(stream, row);
}

static void write_programs(const struct results *r, FILE *stream)
{
    static const char *const recipes[][2] = {
        {"usual", "PyTorch, as usual on a processor"},
        {"course", "PyTorch, as the course project used it"},
        {"practice", "PyTorch, best practice"}};
    write_row(stream, "Program", "Distillation, tokens/s", "Ours is, times",
              "Fine-tuning, tokens/s", "Ours is, times");
    write_program(r, "this trainer", NULL, r->run->bench, stream);
    for (int i = 0; i < 3; i++) {
        const json_t *timed = json_at(r->run->bench, say("pytorch/%s", recipes[i][0]));
        if (timed)
            write_program(r, recipes[i][1], recipes[i][0], timed, stream);
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
        /* Insert the family */
        int at = count;
        if (count == FAMILIES_ROOM)
            break;
        for (; at > 0; at--) {
            if (number_at(json_at(families, names[at - 1]), key)
                >= number_at(family, key))
                break;
            names[at] = names[at - 1];
        }
        names[at] = name;
        count++;
    }
    return count;
}

/* A number of a family in a step, in milliseconds. */
static const char *milliseconds(const json_t *step, const char *name, const char *key)
{
    double seconds = number_at(step, say("families/%s/%s", name, key));
    return significant(1e3 * seconds / number_at(step, "steps"));
}

static void write_families(const struct results *r, FILE *stream)
{
    static const char *const steps[] = {"distillation", "finetuning"};
    const json_t *bench = r->run->bench;
    const char *names[FAMILIES_ROOM];
    int count = sort_families(json_at(bench, "distillation/families"), "seconds",
                              names);
    write_row(stream, "Kernels", "Distillation, %", "ms a step", "counted",
              "Fine-tuning, %", "ms a step", "counted");
    for (int i = 0; i < count; i++) {
        const char *row = family_title(names[i]);
        for (int s = 0; s < 2; s++) {
            const json_t *step = json_at(bench, steps[s]);
            double seconds = number_at(step, say("families/%s/seconds", names[i])),
                   all = family_sum(json_at(step, "families"), "seconds");
            row = say("%s\t%s\t%s\t%s", row, rounded(100 * seconds / all, 1),
                      milliseconds(step, names[i], "seconds"),
                      milliseconds(step, names[i], "counted"));
        }
        write_row(stream, row);
    }
}

static void write_roofline(const struct results *r, FILE *stream)
{
    static const char *const columns[] = {"petaflops", "terabytes", "distillation",
                                          "teacher",   "student",   "minutes"};
    json_t *families = json_at(r->run->bench, "estimate/families");
    const char *names[FAMILIES_ROOM];
    int count = sort_families(families, "minutes", names);
    write_row(stream, "Kernels", "PFLOP", "TB", "Distillation, min",
              "Teacher's tasks, min", "Student's tasks, min", "All, min");
    for (int i = 0; i <= count && count > 0; i++) {
        const char *row = i < count ? family_title(names[i]) : "all";
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            row = say("%s\t%s", row,
                      rounded(i < count ? number_at(json_at(families, names[i]),
                                                    columns[c])
                                        : family_sum(families, columns[c]), 1));
        write_row(stream, row);
    }
}

static void write_gpu(const struct results *r, FILE *stream)
{
    const json_t *bench = json_at(r->given, "gpu/bench"),
                 *steps[] = {json_at(bench, "distillation"),
                             json_at(bench, "finetuning")};
    json_t *families = json_at(bench, "estimate/families");
    const char *names[FAMILIES_ROOM];
    int count = sort_families(families, "minutes", names);
    write_row(stream, "Kernels", "Distillation, ms", "counted", "Fine-tuning, ms",
              "counted", "T4, min", "stretched");
    for (int i = 0; i < count; i++) {
        double minutes = number_at(json_at(families, names[i]), "minutes");
        write_row(stream, family_title(names[i]),
                  milliseconds(steps[0], names[i], "seconds"),
                  milliseconds(steps[0], names[i], "counted"),
                  milliseconds(steps[1], names[i], "seconds"),
                  milliseconds(steps[1], names[i], "counted"), rounded(minutes, 1),
                  rounded(stretched_minutes(bench, names[i]), 1));
    }
}

/* Write the tables of what was done */
/* The seed of the run that follows one; −1 behind the last. */
static int next_seed(const struct run *run, int last)
{
    int next = -1;
    for (const struct answers *a = run->answers; a->seeds; a++)
        for (int k = 0; k < a->seeds; k++)
            if (a->seed[k] > last && (next < 0 || a->seed[k] < next))
                next = a->seed[k];
    return next;
}

static void write_seeds(const struct results *r, FILE *stream)
{
    const struct run *run = r->run;
    const char *head = "Task\tModel";
    for (int seed = next_seed(run, -1); seed >= 0; seed = next_seed(run, seed))
        head = say("%s\tSeed %d", head, seed);
    write_row(stream, head, "Collapsed seeds");
    for (const struct answers *a = run->answers; a->seeds; a++) {
        struct words collapsed = {NULL, 0};
        const char *row = say("%s\t%s", a->sheet->title, a->model->title);
        for (int seed = next_seed(run, -1); seed >= 0; seed = next_seed(run, seed)) {
            int k = 0;
            while (k < a->seeds && a->seed[k] != seed)
                k++;
            row = say("%s\t%s", row, k < a->seeds ? rounded(a->scores[k], 2) : "");
            if (k < a->seeds && a->collapsed[k])
                words_add(&collapsed, say("%d", seed));
        }
        write_row(stream, row, collapsed.count ? words_said(&collapsed) : "none");
    }
}

static void write_confusions(const struct results *r, FILE *stream)
{
    write_row(stream, "Task", "Model", "Seed", "0 as 0", "0 as 1", "1 as 0", "1 as 1");
    for (const struct answers *a = r->run->answers; a->seeds; a++) {
        for (int k = 0; a->sheet->task->classes == 2 && k < a->seeds; k++) {
            struct confusion c = confusion_count(a->sheet->labels, a->predictions[k],
                                                 a->sheet->rows);
            fprintf(stream, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", a->sheet->title,
                    a->model->title, a->seed[k], c.true_negative, c.false_positive,
                    c.false_negative, c.true_positive);
        }
    }
}

/* The name of the row that a stage is in: "finetune-cola-student". */
static const char *group_of(const struct planned_stage *stage)
{
    const char *model = stage->model->name;
    return stage->kind == FINETUNE
               ? say("finetune-%s-%s", stage->task->task->name, model)
           : stage->kind == DISTILL ? say("distill-%s", model) : model;
}

static void write_group(const struct run *run, const char *group, FILE *stream)
{
    double steps = 0, tokens = 0, seconds = 0, memory = 0, threads = 0;
    int runs = 0;
    for (int i = 0; i < run->plan->stage_count; i++) {
        const struct planned_stage *stage = &run->plan->stages[i];
        const json_t *record = json_object_get(run->stages, stage->name);
        if (!record || strcmp(group_of(stage), group))
            continue;
        runs++;
        steps += number_at(record, "steps");
        tokens += number_at(record, "tokens");
        seconds += number_at(record, "seconds");
        memory = fmax(memory, number_at(record, "memory"));
        threads = fmax(threads, number_at(record, "threads"));
    }
    write_row(stream, group, say("%d", runs), rounded(steps, 0), rounded(tokens, 0),
              rounded(threads, 0), memory > 0 ? significant(1e-9 * memory) : "–",
              duration_said(seconds));
}

static void write_stages(const struct results *r, FILE *stream)
{
    const struct plan *plan = r->run->plan;
    struct words groups = {NULL, 0};
    for (enum stage_kind kind = PRETRAIN; kind <= FINETUNE; kind++)
        for (int i = 0; i < plan->stage_count; i++)
            if (plan->stages[i].kind == kind
                && json_object_get(r->run->stages, plan->stages[i].name))
                words_add(&groups, group_of(&plan->stages[i]));
    write_row(stream, "Stage", "Runs", "Steps", "Tokens", "Threads", "GB", "Time");
    for (int i = 0; i < groups.count; i++)
        write_group(r->run, groups.word[i], stream);
}

static void write_data(const struct results *r, FILE *stream)
{
    const char *path;
    json_t *hash;
    write_row(stream, "File", "SHA-256, first half");
    json_object_foreach(json_object_get(r->summary, "data"), path, hash) {
        fprintf(stream, "%s\t%.32s\n", path, json_string_value(hash));
    }
}

static void write_settings(const struct results *r, FILE *stream)
{
    struct words cells = {NULL, 0};
    const char *name;
    json_t *value;
    json_object_foreach(r->settings, name, value) {
        if (json_string_length(value) <= SHORT_SETTING)
            words_add(&cells, say("%s\t%s", name, json_string_value(value)));
    }
    if (cells.count % 2)
        words_add(&cells, "\t");
    write_row(stream, "Setting", "Value", "Setting", "Value");
    for (int i = 0, half = cells.count / 2; i < half; i++)
        write_row(stream, cells.word[i], cells.word[half + i]);
}

/* List the tables */
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

const struct table tables[] = {
    /* Declare the tables of the paper */
    {"glue", NULL, "Model\tScore\tCoLA\tMNLI\tMRPC\tQNLI\tQQP\tRTE\tSST-2\tSTS-B\tWNLI\n"
     PAPER1("ELMo", "elmo") PAPER1("BERT", "bert") PAPER1("DistilBERT", "distilbert"),
     {{"|<?glue.beyond.%m>%M\t<glue.mean.%m>\t<glue.cola.%m>\t<glue.mnli.%m>"
       "\t<glue.mrpc.%m>\t<glue.qnli.%m>\t<glue.qqp.%m>\t<glue.rte.%m>\t<glue.sst2.%m>"
       "\t<glue.stsb.%m>\t<glue.wnli.%m>"}}},
    {"squad", NULL, "Model\tIMDb\tSQuAD: exact match\tSQuAD: F1\n"
     PAPER2("BERT", "{{paper.table2.bert.rounded}}", "bert")
     PAPER2("DistilBERT", "{{paper.table2.distilbert.rounded}}", "distilbert")
     PAPER2("DistilBERT (D)", "–", "distilled"),
     {{"|<?score.squad.%m>%M\t<score.imdb.%m>\t<second.squad.%m>\t<score.squad.%m>"}}},
    {"speed", NULL, "Model\tParameters, millions\tOne pass, s\tTimes as fast\n"
     PAPER3("ELMo", "elmo", "–") PAPER3("BERT", "bert", "1.00")
     PAPER3("DistilBERT", "distilbert", "{{paper.ratio.speed}}"),
     {{"<?parameters.%m>%M, one core\t<parameters.%m>\t<seconds.one.%m>\t<times.one.%m>"},
      {"<?parameters.%m>%M, all cores\t<parameters.%m>\t<seconds.all.%m>"
       "\t<times.all.%m>"}}},
    /* Declare the tables of retention and ablations */
    {"retention", NULL,
     "Model\tTask\tscore, %: constant\tscore, %: teacher\tscore, %: student"
     "\tretention, %: value\tretention, %: 95 % interval\n",
     {{"<?score.%t.%m><?retention.%t.%m>%M\t%T\t<constant.%t>\t<score.%t.teacher>"
       "\t<score.%t.%m>\t<retention.%t.%m>\t<retention.%t.%m.interval>",
       "%M\tmean\t\t\t\t<retention.mean.%m>\t<retention.mean.%m.interval>"}}},
    {"ablation", NULL,
     "Student\tMasked words, %\tmean score, %: value\tmean score, %: change"
     "\tmean score, %: 95 % interval|\tGLUE score: paper's change\n",
     {{"<?score.mean.student>student, all terms\t<accuracy.last.student>"
       "\t<score.mean.student>\t\t|\t"},
      {"<?ablation.parts.%m>%M\t<accuracy.last.%m>\t<score.mean.%m>\t<ablation.%m>"
       "\t<ablation.%m.interval>|\t%c"}}},
    {"students", NULL,
     "Student\tMasked words, %\tmean score, %: change"
     "\tmean score, %: 95 % interval\tretention, %: value"
     "\tretention, %: 95 % interval\tMinutes\n",
     {{"<?score.mean.student>student\t<accuracy.last.student>\t\t"
       "\t<retention.mean.student>\t<retention.mean.student.interval>"
       "\t<minutes.student>"},
      {"<?ablation.further.%m>%M\t<accuracy.last.%m>\t<ablation.%m>"
       "\t<ablation.%m.interval>\t<retention.mean.%m>\t<retention.mean.%m.interval>"
       "\t<minutes.%m>"}}},
    {"claim", .write = write_claim},         {"scores", .write = write_scores},
    {"verdicts", .write = write_verdicts},   {"agreement", .write = write_agreement},
    {"seeds", .write = write_seeds},         {"confusion", .write = write_confusions},
    {"stages", .write = write_stages},       {"data", .write = write_data},
    {"settings", .write = write_settings},   {"programs", .write = write_programs},
    {"families", .write = write_families},   {"roofline", .write = write_roofline},
    {"gpu", .write = write_gpu},             {.name = NULL}};
