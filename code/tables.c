/* Tangled from chapters/53-results-program.md; edit there. */
#include "file.h"
#include "json.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Fill a template */
struct row {
    const struct task *task;
    const struct sheet *sheet;         /* the run's, if it has the task */
    const struct planned_model *model; /* NULL: a constant answer */
    const char *family;
};

/* What a letter behind % stands for; NULL: there is no such row. */
static const char *part(char letter, const struct row *row)
{
    const struct task *task = row->task;
    switch (letter) {
    case 't': return task->name;
    case 'T': return row->sheet ? row->sheet->title : task->title;
    case 'm': return row->model->name;
    case 'M': return row->model->title;
    case 'f': return row->family;
    case 'h': return task->headline ? task->title : NULL;
    case 'o':
        return row->sheet && row->sheet->shown && !task->headline ? task->title : NULL;
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
    for (const char *at; (at = strchr(template, '%')); template = at + 2) {
        const char *is = part(at[1], row);
        if (!is)
            return false;
        text = say("%s%.*s%s", text, (int)(at - template), template, is);
    }
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

/* Fills a template for one model and, if it names them, for all tasks or families. */
static void write_rows(const char *template, const char *families,
                       const struct planned_model *model, const struct results *r,
                       FILE *stream)
{
    const char *below = strchr(template, '\n');
    struct row row = {.model = model};
    json_t *family;
    bool any = false;
    template = say("%.*s", (int)strcspn(template, "\n"), template);
    if (strstr(template, "%t"))
        for (row.task = task_list; row.task->name; row.task++) {
            row.sheet = run_sheet(r->run, row.task->name);
            any |= write_template(template, &row, r->values, stream);
        }
    else if (strstr(template, "%f"))
        json_object_foreach(json_at(r->told, families), row.family, family) {
            any |= write_template(template, &row, r->values, stream);
        }
    else
        any = write_template(template, &row, r->values, stream);
    if (any && below)
        write_template(below + 1, &row, r->values, stream);
}

void table_write(const struct table *table, const struct results *r, FILE *stream)
{
    const struct plan *plan = r->run->plan;
    if (table->write)
        table->write(r, stream);
    else
        fputs(part_for(table->head, r->values), stream);
    for (const char *const *template = table->rows; *template; template++)
        for (int i = 0; i < (strstr(*template, "%m") ? plan->model_count : 1); i++)
            write_rows(*template, table->families, &plan->models[i], r, stream);
}

/* Write the tables of findings */
void write_cells(FILE *stream, const char *const *cells)
{
    for (int i = 0; cells[i]; i++)
        fprintf(stream, i ? "\t%s" : "%s", cells[i]);
    fputc('\n', stream);
}

static void write_scores(const struct results *r, FILE *stream)
{
    const struct planned_model *first = plan_model(r->run->plan, "student");
    const char *head = "Model", *constant = "a constant answer", *scores = "%M";
    for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++) {
        const char *task = sheet->task->name;
        if (sheet->shown) {
            head = say("%s\tscore, %%: %s", head, sheet->title);
            constant = say("%s\t%s", constant, value_get(r->values,
                                                         say("constant.%s", task)));
            scores = say("%s\t<score.%s.%%m.spread>", scores, task);
        }
    }
    write_row(stream, head, "score, %: mean", "retention, %: mean",
              "retention, %: 95 % interval");
    write_row(stream, constant, "–", "–", "–");
    scores = say("%s\t<score.mean.%%m>\t<retention.mean.%%m>"
                 "\t<retention.mean.%%m.interval>", scores);
    for (int i = 0; i < r->run->model_count; i++) {
        const struct row row = {.model = r->run->models[i]};
        enum difference it = difference_of(row.model, first);
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

static void add_record(json_t *groups, const char *group, const json_t *record)
{
    static const char *const keys[] = {"steps", "tokens", "seconds", "memory",
                                       "threads"};
    json_t *sums = json_object_get(groups, group);
    if (!sums)
        json_object_set_new(groups, group, sums = json_object());
    json_object_set_new(sums, "runs", json_real(number_at(sums, "runs") + 1));
    for (int k = 0; k < 5; k++) {
        double was = number_at(sums, keys[k]), is = number_at(record, keys[k]);
        json_object_set_new(sums, keys[k], json_real(k < 3 ? was + is : fmax(was, is)));
    }
}

static void write_stages(const struct results *r, FILE *stream)
{
    json_t *groups = json_object(), *sums;
    const char *group;
    for (enum stage_kind kind = PRETRAIN; kind <= FINETUNE; kind++)
        for (int i = 0; i < r->run->plan->stage_count; i++) {
            const struct planned_stage *stage = &r->run->plan->stages[i];
            const json_t *record = json_object_get(r->run->stages, stage->name);
            if (record && stage->kind == kind)
                add_record(groups, group_of(stage), record);
        }
    write_row(stream, "Stage", "Runs", "Steps", "Tokens", "Threads", "GB", "Time");
    json_object_foreach(groups, group, sums) {
        double memory = number_at(sums, "memory");
        write_row(stream, group, rounded(number_at(sums, "runs"), 0),
                  rounded(number_at(sums, "steps"), 0),
                  rounded(number_at(sums, "tokens"), 0),
                  rounded(number_at(sums, "threads"), 0),
                  memory > 0 ? significant(1e-9 * memory) : "–",
                  duration_said(number_at(sums, "seconds")));
    }
    json_decref(groups);
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
/* Write what rows of the paper share */
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
/* Write what columns of the benchmark share */
#define BESIDE(recipe, how) \
    "<?bench.pytorch." recipe ".distillation.pytorch>PyTorch, " how \
    "\t<bench.pytorch." recipe ".distillation.pytorch>\t<bench.pytorch." recipe \
    ".distillation.speed_ratio>\t<bench.pytorch." recipe \
    ".finetuning.pytorch>\t<bench.pytorch." recipe ".finetuning.speed_ratio>"
#define FAMILY(of, number) "\t<" of ".families.%f." number ">"
#define TIMES(step) FAMILY(step, "milliseconds") FAMILY(step, "roofline")
#define COLUMN(row, number) "\t<bench.estimate." row "." number ">"
#define ESTIMATE(row) \
    COLUMN(row, "petaflops") COLUMN(row, "terabytes") COLUMN(row, "distillation") \
    COLUMN(row, "teacher") COLUMN(row, "student") COLUMN(row, "minutes")

const struct table tables[] = {
    /* Declare the tables of the paper */
    {"glue", .head =
     "Model\tScore\tCoLA\tMNLI\tMRPC\tQNLI\tQQP\tRTE\tSST-2\tSTS-B\tWNLI\n"
     PAPER1("ELMo", "elmo") PAPER1("BERT", "bert") PAPER1("DistilBERT", "distilbert"),
     .rows = {"|<?glue.beyond.%m>%M\t<glue.mean.%m>\t<glue.cola.%m>\t<glue.mnli.%m>"
      "\t<glue.mrpc.%m>\t<glue.qnli.%m>\t<glue.qqp.%m>\t<glue.rte.%m>\t<glue.sst2.%m>"
      "\t<glue.stsb.%m>\t<glue.wnli.%m>"}},
    {"squad", .head =
     "Model\tIMDb\tSQuAD: exact match\tSQuAD: F1\n"
     PAPER2("BERT", "{{paper.table2.bert.rounded}}", "bert")
     PAPER2("DistilBERT", "{{paper.table2.distilbert.rounded}}", "distilbert")
     PAPER2("DistilBERT (D)", "–", "distilled"),
     .rows = {"|<?score.squad.%m>%M\t<score.imdb.%m>\t<second.squad.%m>"
              "\t<score.squad.%m>"}},
    {"speed", .head =
     "Model\tParameters, millions\tOne pass, s\tTimes as fast\n"
     PAPER3("ELMo", "elmo", "–") PAPER3("BERT", "bert", "1.00")
     PAPER3("DistilBERT", "distilbert", "{{paper.ratio.speed}}"),
     .rows = {"<?parameters.%m>%M, one core\t<parameters.%m>\t<seconds.one.%m>"
      "\t<times.one.%m>", "<?parameters.%m>%M, all cores\t<parameters.%m>\t<seconds.all.%m>"
      "\t<times.all.%m>"}},
    /* Declare the tables of retention and ablations */
    #define PAPER \
        "\t{{paper.table%p.bert.%n}}\t{{paper.table%p.distilbert.%n}}\t{{paper.ratio.%t}}"
    #define OURS "\t<score.%t.teacher>\t<score.%t.student>\t<retention.%t.student>"
    {"claim", .head =
     "Task\tpaper: BERT\tpaper: DistilBERT\tpaper: kept\tcourse project: teacher"
     "\tcourse project: student\tcourse project: kept|\tthis run: teacher"
     "\tthis run: student\tthis run: kept\n",
     .rows = {"%h" PAPER "\t{{course.%t.teacher}}\t{{course.%t.student}}"
      "\t{{course.ratio.%t}}|" OURS,
      "mean of the three\t\t\t{{paper.ratio.three}}\t\t\t{{course.retention}}|"
      "\t\t\t<retention.three.student>",
      "|%o" PAPER "\t–\t–\t–" OURS,
      "|<?retention.others.student>mean of those that count\t\t\t–\t\t\t–\t\t"
      "\t<retention.others.student>"}},
    {"retention", .head =
     "Model\tTask\tscore, %: constant\tscore, %: teacher\tscore, %: student"
     "\tretention, %: value\tretention, %: 95 % interval\n",
     .rows = {"<?score.%t.%m><?retention.%t.%m>%M\t%T\t<constant.%t>\t<score.%t.teacher>"
      "\t<score.%t.%m>\t<retention.%t.%m>\t<retention.%t.%m.interval>"
      "\n%M\tmean\t\t\t\t<retention.mean.%m>\t<retention.mean.%m.interval>"}},
    {"ablation", .head =
     "Student\tMasked words, %\tmean score, %: value\tmean score, %: change"
     "\tmean score, %: 95 % interval|\tGLUE score: paper's change\n",
     .rows = {"<?score.mean.student>student, all terms\t<accuracy.last.student>"
      "\t<score.mean.student>\t\t|\t",
      "<?ablation.parts.%m>%M\t<accuracy.last.%m>\t<score.mean.%m>\t<ablation.%m>"
      "\t<ablation.%m.interval>|\t%c"}},
    /* Declare the table of students */
    {"students", .head =
     "Student\tMasked words, %\tmean score, %: change"
     "\tmean score, %: 95 % interval\tretention, %: value"
     "\tretention, %: 95 % interval\tMinutes\n",
     .rows = {"<?score.mean.student>student\t<accuracy.last.student>\t\t"
      "\t<retention.mean.student>\t<retention.mean.student.interval>"
      "\t<minutes.student>",
      "<?ablation.further.%m>%M\t<accuracy.last.%m>\t<ablation.%m>"
      "\t<ablation.%m.interval>\t<retention.mean.%m>\t<retention.mean.%m.interval>"
      "\t<minutes.%m>"}},
    /* Declare the tables of the benchmark */
    {"programs", .head =
     "Program\tDistillation, tokens/s\tOurs is, times\tFine-tuning, tokens/s"
     "\tOurs is, times\n",
     .rows = {"this trainer\t<bench.distillation.tokens_per_second>\t1"
      "\t<bench.finetuning.tokens_per_second>\t1",
      BESIDE("usual", "as usual on a processor"),
      BESIDE("course", "as the course project used it"),
      BESIDE("practice", "best practice")}},
    {"families", .head =
     "Kernels\tDistillation, %\tms a step\tcounted\tFine-tuning, %\tms a step\tcounted\n",
     .rows = {"<bench.distillation.families.%f.title>"
      FAMILY("bench.distillation", "percent") TIMES("bench.distillation")
      FAMILY("bench.finetuning", "percent") TIMES("bench.finetuning")},
     .families = "bench/distillation/families"},
    {"roofline", .head =
     "Kernels\tPFLOP\tTB\tDistillation, min\tTeacher's tasks, min"
     "\tStudent's tasks, min\tAll, min\n",
     .rows = {"<bench.estimate.families.%f.title>" ESTIMATE("families.%f"),
      "<?bench.estimate.all.minutes>all" ESTIMATE("all")},
     .families = "bench/estimate/families"},
    {"gpu", .head =
     "Kernels\tDistillation, ms\tcounted\tFine-tuning, ms\tcounted\tT4, min\tstretched\n",
     .rows = {"<gpu.estimate.families.%f.title>"
      TIMES("gpu.distillation") TIMES("gpu.finetuning")
      FAMILY("gpu.estimate", "minutes") FAMILY("gpu.estimate", "stretched")},
     .families = "gpu/estimate/families"},
    {"scores", .write = write_scores},     {"settings", .write = write_settings},
    {"verdicts", .write = write_verdicts}, {"agreement", .write = write_agreement},
    {"seeds", .write = write_seeds},       {"confusion", .write = write_confusions},
    {"stages", .write = write_stages},     {"data", .write = write_data},
    {.name = NULL}};
