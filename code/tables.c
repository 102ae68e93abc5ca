/* Tangled from chapters/53-results-program.md; edit there. */
#include "file.h"
#include "json.h"
#include "values.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* Fill a template */
struct row {
    const struct results *r;
    const char *is['z' + 1]; /* the letters; NULL: there is no such row */
};

static void take_model(struct row *row, const struct planned_model *model)
{
    const struct run *run = row->r->run;
    enum difference it = difference_of(model, plan_model(run->plan, "student"));
    bool claimed = it == NO_DIFFERENCE || it == ANOTHER_ORIGIN;
    row->is['m'] = model->name;
    row->is['M'] = model->title;
    row->is['a'] = claimed && run_has(run, model) ? model->title : NULL;
    row->is['c'] = "–"; /* the paper's figure for the same ablation */
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == CHANGE && !strcmp(claim->model, model->name))
            row->is['c'] = say("{{%s}}", claim->path);
}

static void take_task(struct row *row, const struct task *task)
{
    const struct sheet *sheet = run_sheet(row->r->run, task->name);
    bool other = sheet && sheet->shown && !task->headline;
    row->is['t'] = task->name;
    row->is['T'] = sheet ? sheet->title : task->title;
    row->is['h'] = task->headline ? task->title : NULL; /* of the course project */
    row->is['o'] = other ? task->title : NULL;          /* of the report, too */
    row->is['p'] = task->glue ? "1" : "2";              /* the paper's table */
    row->is['n'] = task->answer == A_SPAN ? "f1"        /* and its name there */
                   : task->glue ? task->name : "rounded";
}

/* The row that a template becomes; NULL: there is none. at: where it is read, up to a
   line's or a bracket's end. */
static const char *fill(const char **at, struct row *row)
{
    const struct results *r = row->r;
    const char *text = "", *is = "";
    while (is) {
        int plain = (int)strcspn(*at, "%<>[]|\n");
        text = say("%s%s%.*s", text, is, plain, *at);
        char mark = (*at += plain)[0];
        *at += mark != '\0';
        if (!mark || strchr(">]\n", mark) || (mark == '|' && r->run->plan->toyland))
            return text;
        is = "";
        if (mark == '%')
            is = isalpha(**at) ? row->is[(int)*(*at)++] : "%";
        else if (mark == '<') {
            bool asked = **at == '?';
            *at += asked;
            is = value_get(r->values, fill(at, row));
            is = !asked ? is : strcmp(is, "–") ? "" : NULL;
        } else if (mark == '[') {
            for (const struct sheet *sheet = r->run->sheets; sheet->count; sheet++)
                if (sheet->shown) {
                    const char *inside = *at;
                    take_task(row, sheet->task);
                    is = say("%s%s", is, fill(&inside, row));
                }
            *at = strchr(*at, ']') + 1;
        }
    }
    return NULL;
}

static bool write_filled(const char *template, struct row *row, FILE *stream)
{
    const char *text = fill(&template, row);
    bool there = text && *text;
    if (there)
        fprintf(stream, "%s\n", text);
    return there;
}

static void write_rows(const struct table *table, const char *rows,
                       const struct results *r, FILE *stream)
{
    const struct plan *plan = r->run->plan;
    const char *below = strchr(rows, '\n'), *name;
    bool tasks = strstr(rows, "%t") && !strchr(rows, '[');
    struct words each = {NULL, 0};
    struct row row = {.r = r};
    json_t *family;
    for (const struct task *task = task_list; tasks && task->name; task++)
        words_add(&each, task->name);
    if (strstr(rows, "%f"))
        json_object_foreach(json_at(r->told, table->families), name, family) {
            words_add(&each, name);
        }
    else if (!tasks)
        words_add(&each, "");
    for (int i = 0; i < (strstr(rows, "%m") ? plan->model_count : 1); i++) {
        bool any = false;
        take_model(&row, &plan->models[i]);
        for (int k = 0; k < each.count; k++) {
            row.is['f'] = each.word[k];
            if (tasks)
                take_task(&row, task_find(each.word[k]));
            any |= write_filled(rows, &row, stream);
        }
        if (any && below)
            write_filled(below + 1, &row, stream);
    }
}

void tables_write(const struct table *list, const struct results *r, const char *folder)
{
    for (; list->name; list++) {
        struct file_writer *writer = file_create(say("%s/%s.tsv", folder, list->name));
        if (list->write)
            list->write(r, file_stream(writer));
        for (const char *const *rows = list->rows; *rows; rows++)
            write_rows(list, *rows, r, file_stream(writer));
        file_commit(writer);
    }
}

void write_cells(FILE *stream, const char *const *cells)
{
    for (int i = 0; cells[i]; i++)
        fprintf(stream, i ? "\t%s" : "%s", cells[i]);
    fputc('\n', stream);
}

/* Write the tables of what was judged */
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
    for (int seed = -1; (seed = next_seed(run, seed)) >= 0;)
        head = say("%s\tSeed %d", head, seed);
    write_row(stream, head, "Collapsed seeds");
    for (const struct answers *a = run->answers; a->seeds; a++) {
        struct words collapsed = {NULL, 0};
        const char *row = say("%s\t%s", a->sheet->title, a->model->title);
        for (int seed = -1; (seed = next_seed(run, seed)) >= 0;) {
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
    for (const struct answers *a = r->run->answers; a->seeds; a++)
        for (int k = 0; a->sheet->task->classes == 2 && k < a->seeds; k++) {
            struct confusion c = confusion_count(a->sheet->labels, a->predictions[k],
                                                 a->sheet->rows);
            fprintf(stream, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", a->sheet->title,
                    a->model->title, a->seed[k], c.true_negative, c.false_positive,
                    c.false_negative, c.true_positive);
        }
}

/* Adds the record of a stage to those of its group: "finetune-cola-student-3" to
   "finetune-cola-student", "distill-student.2" to "distill-student". */
static void add_record(json_t *groups, const struct planned_stage *stage,
                       const json_t *record)
{
    static const char *const keys[] = {"steps", "tokens", "seconds", "memory",
                                       "threads"};
    const char *last = strrchr(stage->name, stage->kind == FINETUNE ? '-' : '.'),
               *group = last ? say("%.*s", (int)(last - stage->name), stage->name)
                             : stage->name;
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
                add_record(groups, stage, record);
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
#define GLUE(a, z) "\t" a "cola" z "\t" a "mnli" z "\t" a "mrpc" z "\t" a "qnli" z \
    "\t" a "qqp" z "\t" a "rte" z "\t" a "sst2" z "\t" a "stsb" z "\t" a "wnli" z
#define PAPER1(title, model) "paper: " title "\t{{paper.table1." model ".score}}" \
    GLUE("{{paper.table1." model ".", "}}")
#define PAPER2(model) "\t{{paper.table2." model ".em}}\t{{paper.table2." model ".f1}}"
#define PAPER3(model) \
    "\t{{paper.table3." model ".parameters}}\t{{paper.table3." model ".seconds}}"
#define OURS "\t<score.%t.teacher>\t<score.%t.student>\t<retention.%t.student>"
#define PAPERS \
    "\t{{paper.table%p.bert.%n}}\t{{paper.table%p.distilbert.%n}}\t{{paper.ratio.%t}}"
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
    {"scores", .rows = {
     "Model[\tscore, %: %T]\tscore, %: mean\tretention, %: mean"
     "\tretention, %: 95 % interval",
     "a constant answer[\t<constant.%t>]\t–\t–\t–",
     "%a[\t<score.%t.%m.spread>]\t<score.mean.%m>\t<retention.mean.%m>"
     "\t<retention.mean.%m.interval>"}},
    /* Declare the tables of the paper */
    {"glue", .rows = {
     "Model\tScore\tCoLA\tMNLI\tMRPC\tQNLI\tQQP\tRTE\tSST-2\tSTS-B\tWNLI",
     PAPER1("ELMo", "elmo"), PAPER1("BERT", "bert"), PAPER1("DistilBERT", "distilbert"),
     "|<?glue.beyond.%m>%M\t<glue.mean.%m>" GLUE("<glue.", ".%m>")}},
    {"squad", .rows = {
     "Model\tIMDb\tSQuAD: exact match\tSQuAD: F1",
     "paper: BERT\t{{paper.table2.bert.rounded}}" PAPER2("bert"),
     "paper: DistilBERT\t{{paper.table2.distilbert.rounded}}" PAPER2("distilbert"),
     "paper: DistilBERT (D)\t–" PAPER2("distilled"),
     "|<?score.squad.%m>%M\t<score.imdb.%m>\t<second.squad.%m>\t<score.squad.%m>"}},
    {"speed", .rows = {
     "Model\tParameters, millions\tOne pass, s\tTimes as fast",
     "paper: ELMo" PAPER3("elmo") "\t–",
     "paper: BERT" PAPER3("bert") "\t1.00",
     "paper: DistilBERT" PAPER3("distilbert") "\t{{paper.ratio.speed}}",
     "<?parameters.%m>%M, one core\t<parameters.%m>\t<seconds.one.%m>\t<times.one.%m>",
     "<?parameters.%m>%M, all cores\t<parameters.%m>\t<seconds.all.%m>\t<times.all.%m>"}},
    /* Declare the tables of retention and ablations */
    {"claim", .rows = {
     "Task\tpaper: BERT\tpaper: DistilBERT\tpaper: kept\tcourse project: teacher"
      "\tcourse project: student\tcourse project: kept|\tthis run: teacher"
      "\tthis run: student\tthis run: kept",
     "%h" PAPERS "\t{{course.%t.teacher}}\t{{course.%t.student}}\t{{course.ratio.%t}}|" OURS,
     "mean of the three\t\t\t{{paper.ratio.three}}\t\t\t{{course.retention}}|"
      "\t\t\t<retention.three.student>",
     "|%o" PAPERS "\t–\t–\t–" OURS,
     "|<?retention.others.student>mean of those that count\t\t\t–\t\t\t–\t\t"
      "\t<retention.others.student>"}},
    {"retention", .rows = {
     "Model\tTask\tscore, %: constant\tscore, %: teacher\tscore, %: student"
      "\tretention, %: value\tretention, %: 95 % interval",
     "<?score.%t.%m><?retention.%t.%m>%M\t%T\t<constant.%t>\t<score.%t.teacher>"
      "\t<score.%t.%m>\t<retention.%t.%m>\t<retention.%t.%m.interval>\n"
      "%M\tmean\t\t\t\t<retention.mean.%m>\t<retention.mean.%m.interval>"}},
    {"ablation", .rows = {
     "Student\tMasked words, %\tmean score, %: value\tmean score, %: change"
      "\tmean score, %: 95 % interval|\tGLUE score: paper's change",
     "<?score.mean.student>student, all terms\t<accuracy.last.student>"
      "\t<score.mean.student>\t\t|\t",
     "<?ablation.parts.%m>%M\t<accuracy.last.%m>\t<score.mean.%m>\t<ablation.%m>"
      "\t<ablation.%m.interval>|\t%c"}},
    /* Declare the table of students */
    {"students", .rows = {
     "Student\tMasked words, %\tmean score, %: change"
      "\tmean score, %: 95 % interval\tretention, %: value"
      "\tretention, %: 95 % interval\tMinutes",
     "<?score.mean.student>student\t<accuracy.last.student>\t\t"
      "\t<retention.mean.student>\t<retention.mean.student.interval>"
      "\t<minutes.student>",
     "<?ablation.further.%m>%M\t<accuracy.last.%m>\t<ablation.%m>"
      "\t<ablation.%m.interval>\t<retention.mean.%m>\t<retention.mean.%m.interval>"
      "\t<minutes.%m>"}},
    /* Declare the tables of the benchmark */
    {"programs", .rows = {
     "Program\tDistillation, tokens/s\tOurs is, times\tFine-tuning, tokens/s"
      "\tOurs is, times",
     "this trainer\t<bench.distillation.tokens_per_second>\t1"
      "\t<bench.finetuning.tokens_per_second>\t1",
     BESIDE("usual", "as usual on a processor"),
     BESIDE("course", "as the course project used it"),
     BESIDE("practice", "best practice")}},
    {"families", .rows = {
     "Kernels\tDistillation, %\tms a step\tcounted\tFine-tuning, %\tms a step\tcounted",
     "<bench.distillation.families.%f.title>"
      FAMILY("bench.distillation", "percent") TIMES("bench.distillation")
      FAMILY("bench.finetuning", "percent") TIMES("bench.finetuning")},
     .families = "bench/distillation/families"},
    {"roofline", .rows = {
     "Kernels\tPFLOP\tTB\tDistillation, min\tTeacher's tasks, min"
      "\tStudent's tasks, min\tAll, min",
     "<bench.estimate.families.%f.title>" ESTIMATE("families.%f"),
     "<?bench.estimate.all.minutes>all" ESTIMATE("all")},
     .families = "bench/estimate/families"},
    {"gpu", .rows = {
     "Kernels\tDistillation, ms\tcounted\tFine-tuning, ms\tcounted\tT4, min\tstretched",
     "<gpu.estimate.families.%f.title>"
      TIMES("gpu.distillation") TIMES("gpu.finetuning")
      FAMILY("gpu.estimate", "minutes") FAMILY("gpu.estimate", "stretched")},
     .families = "gpu/estimate/families"},
    {"verdicts", .write = write_verdicts}, {"agreement", .write = write_agreement},
    {"settings", .write = write_settings}, {"data", .write = write_data},
    {"seeds", .write = write_seeds},       {"confusion", .write = write_confusions},
    {"stages", .write = write_stages},     {.name = NULL}};
