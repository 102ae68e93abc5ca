/* Tangled from chapters/53-results-program.md; edit there. */
#include "results.h"
#include "benchmark.h"
#include "file.h"
#include "json.h"
#include "record.h"
#include "seal.h"
#include "trust.h"
#include "values.h"

#include <cblas.h>
#include <glob.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

/* Write the summary */
/* The object at a path, "tasks/cola" say, made where there is none. */
static json_t *place(json_t *json, const char *path)
{
    for (size_t length; *path; path += length + (path[length] == '/')) {
        const char *name = say("%.*s", (int)(length = strcspn(path, "/")), path);
        json_object_update_missing_new(json, json_pack("{s:{}}", name));
        json = json_object_get(json, name);
    }
    return json;
}

static void summarise_scores(const struct findings *all, json_t *summary)
{
    for (const struct sheet *s = all->run->sheets; s->count; s++)
        json_object_update_new(
            place(summary, say("tasks/%s", s->task->name)),
            json_pack("{s:s, s:s, s:i, s:f}", "title", s->title, "metric",
                      metric_name(s->task->metric), "rows", s->rows, "constant_answer",
                      finding_of(all, CONSTANT_SCORE, s->task->name, NULL)->is.value));
    for (const struct answers *a = all->run->answers; a->seeds; a++)
        for (int k = 0; k < a->seeds; k++)
            json_object_update_new(
                place(summary, say("tasks/%s/scores/%s", a->sheet->task->name,
                                   a->model->name)),
                json_pack("{s:f}", say("%d", a->seed[k]), a->scores[k]));
}

static void summarise_stages(const struct run *run, json_t *summary)
{
    const char *name, *path;
    const struct setting *now;
    json_t *record, *it, *settings = place(summary, "settings");
    size_t k;
    struct words cuts = {NULL, 0};
    json_object_foreach(run->stages, name, record) {
        json_object_update(settings, json_at(record, "settings"));
        json_object_update(place(summary, "data"), json_at(record, "data"));
        json_object_set(place(summary, "seconds"), name, json_at(record, "seconds"));
        json_array_foreach(json_at(record, "cuts"), k, it) {
            words_add(&cuts, json_string_value(it));
        }
        json_object_foreach(json_at(record, "files"), path, it) {
            if (run->plan->same_bits
                && (trust_is_weights(path) || !strncmp(path, "predictions/", 12)))
                json_object_set(place(summary, "sums"), path, it);
        }
    }
    json_object_set_new(summary, "cuts", it = json_array());
    for (int i = 0; i < cuts.count; i++)
        json_array_append_new(it, json_string(cuts.word[i]));
    for (int i = 0; (now = settings_setting(run->plan->settings, i)); i++) {
        name = say("%s.%s", now->section, now->key);
        if (strstr(" tasks models extended seeds ", say(" %s ", now->key))
            && json_object_get(settings, name))
            json_object_set_new(settings, name, json_string(now->value));
    }
}

static const struct {
    enum quantity quantity;
    bool of_task;
    const char *key, *path; /* of model and task */
} estimates[] = {{SCORE, true, "score", "tasks/%2$s/median/%1$s"},
                 {RETENTION, true, "retention", "students/%s/tasks/%s"},
                 {RETENTION, false, "mean", "students/%s"},
                 {CHANGE, false, "change", "ablations/%s"}};

static json_t *make_summary(const struct findings *all)
{
    json_t *summary = json_pack("{s:{}, s:{}}", "students", "ablations"), *students =
        json_object_get(summary, "students");
    summarise_scores(all, summary);
    summarise_stages(all->run, summary);
    for (const struct finding *f = all->list; f < all->list + all->count; f++) {
        const char *task = f->sheet ? f->sheet->task->name : NULL,
                   *model = f->model ? f->model->name : NULL;
        for (int k = 0; k < 4; k++)
            if (f->quantity == estimates[k].quantity && !task == !estimates[k].of_task)
                json_object_update_new(
                    place(summary, say(estimates[k].path, model, task)),
                    estimate_json(&f->is, estimates[k].key));
        if (f->quantity == RETENTION)
            json_object_update_missing_new(place(students, model),
                                           json_pack("{s:[]}", "counted"));
        if (finding_counts(f))
            json_array_append_new(json_at(students, say("%s/counted", model)),
                                  json_string(task));
    }
    json_object_set(summary, "retention", json_object_get(students, "student"));
    json_object_del(students, "student");
    return summary;
}

/* Fill a template */
/* A text with something in the place of a mark; NULL, no row, where that is NULL. */
static const char *put(const char *text, const char *mark, const char *is)
{
    const char *at = text ? strstr(text, mark) : NULL;
    return !at ? text : is ? say("%.*s%s%s", (int)(at - text), text, is,
                                 put(at + strlen(mark), mark, is)) : NULL;
}

static const char *put_values(const char *text, const json_t *values)
{
    const char *row = "", *open;
    for (; text && (open = strchr(text, '<')); text = strchr(open, '>') + 1) {
        bool asked = open[1] == '?';
        const char *key = open + 1 + asked, *value = value_get(
            values, say("%.*s", (int)strcspn(key, ">"), key));
        if (asked && !strcmp(value, "–"))
            return NULL;
        row = say("%s%.*s%s", row, (int)(open - text), text, asked ? "" : value);
    }
    return text ? say("%s%s", row, text) : NULL;
}

static const char *put_columns(const char *text, const struct run *run)
{
    const char *open = strchr(text, '['), *columns = "";
    for (const struct sheet *sheet = run->sheets; open && sheet->count; sheet++) {
        const char *column = say("%.*s", (int)strcspn(open, "]") - 1, open + 1);
        if (sheet->shown)
            columns = say("%s%s", columns, put(put(column, "%t", sheet->task->name),
                                               "%T", sheet->title));
    }
    return open ? say("%.*s%s%s", (int)(open - text), text, columns,
                      strchr(open, ']') + 1) : text;
}

/* Writes a row, and returns true, if there is one for this model and this task. */
static bool write_filled(const char *text, const struct planned_model *model,
                         const struct task *task, const struct results *r, FILE *stream)
{
    const struct sheet *sheet = run_sheet(r->run, task->name);
    enum difference it = difference_of(model, plan_model(r->run->plan, "student"));
    bool other = sheet && sheet->shown && !task->headline,
         claimed = finding_next(r->findings, NULL, SCORE, model->name)
                && (it == NO_DIFFERENCE || it == ANOTHER_ORIGIN);
    const struct { const char *mark, *is; } marks[] = {
        {"%m", model->name}, {"%t", task->name},
        {"%a", claimed ? "" : NULL},                 /* a claim is about the model */
        {"%h", task->headline ? task->title : NULL}, /* of the course project */
        {"%o", other ? task->title : NULL},          /* another of the report */
        {"%p", task->glue ? "1" : "2"},              /* the paper's table */
        {"%n", task->answer == A_SPAN ? "f1" : task->glue ? task->name : "rounded"}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        text = put(text, marks[i].mark, marks[i].is);
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim->quantity == CHANGE && !strcmp(claim->model, model->name))
            text = put(text, "%c", say("{{%s}}", claim->path)); /* of the same change */
    text = put(put_values(text, r->values), "%c", "–");
    text = put(put(text, "%T", sheet ? sheet->title : task->title), "%M", model->title);
    if (text && *text)
        fprintf(stream, "%s\n", text);
    return text && *text;
}

static void write_rows(const struct table *table, const char *rows,
                       const struct results *r, FILE *stream)
{
    const struct plan *plan = r->run->plan;
    const char *below = strchr(rows, '\n'), *name;
    json_t *family;
    rows = say("%.*s", (int)strcspn(rows, plan->toyland ? "|\n" : "\n"), rows);
    rows = put_columns(put(rows, "|", ""), r->run);
    for (int i = 0; i < (strstr(rows, "%m") ? plan->model_count : 1); i++) {
        const struct planned_model *model = &plan->models[i];
        const struct task *task = task_list;
        bool any = false;
        if (strstr(rows, "%t"))
            for (; task->name; task++)
                any |= write_filled(rows, model, task, r, stream);
        else if (strstr(rows, "%f"))
            json_object_foreach(json_at(r->told, table->families), name, family) {
                write_filled(put(rows, "%f", name), model, task, r, stream);
            }
        else
            write_filled(rows, model, task, r, stream);
        if (any && below)
            write_filled(below + 1, model, task_list, r, stream);
    }
}

static void write_tables(const struct table *list, const struct results *r,
                         const char *folder)
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
    fprintf(stream, "%s\tCollapsed seeds\n", head);
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
        fprintf(stream, "%s\t%s\n", row,
                collapsed.count ? words_said(&collapsed) : "none");
    }
}

static void write_stages(const struct results *r, FILE *stream)
{
    static const char *const keys[] = {"runs", "steps", "tokens", "threads", "memory",
                                       "seconds"};
    json_t *groups = json_object(), *sums;
    const char *group;
    for (enum stage_kind kind = PRETRAIN; kind <= FINETUNE; kind++)
        for (int i = 0; i < r->run->plan->stage_count; i++) {
            const struct planned_stage *stage = &r->run->plan->stages[i];
            const json_t *record = json_object_get(r->run->stages, stage->name);
            if (!record || stage->kind != kind)
                continue;
            const char *end = strrchr(stage->name, kind == FINETUNE ? '-' : '.');
            group = end ? say("%.*s", (int)(end - stage->name), stage->name)
                        : stage->name; /* finetune-cola-student-3, distill-student.2 */
            sums = place(groups, group);
            for (int k = 0; k < 6; k++) {
                double was = number_at(sums, keys[k]),
                       is = k ? number_at(record, keys[k]) : 1;
                bool most = k == 3 || k == 4;
                json_object_set_new(sums, keys[k],
                                    json_real(most ? fmax(was, is) : was + is));
            }
        }
    fputs("Stage\tRuns\tSteps\tTokens\tThreads\tGB\tTime\n", stream);
    json_object_foreach(groups, group, sums) {
        double memory = number_at(sums, "memory");
        fputs(group, stream);
        for (int k = 0; k < 4; k++)
            fprintf(stream, "\t%s", rounded(number_at(sums, keys[k]), 0));
        fprintf(stream, "\t%s\t%s\n",
                memory > 0 ? significant(1e-9 * memory) : "–",
                duration_said(number_at(sums, "seconds")));
    }
    json_decref(groups);
}

static void write_confusions(const struct results *r, FILE *stream)
{
    fputs("Task\tModel\tSeed\t0 as 0\t0 as 1\t1 as 0\t1 as 1\n", stream);
    for (const struct answers *a = r->run->answers; a->seeds; a++)
        for (int k = 0; a->sheet->task->classes == 2 && k < a->seeds; k++) {
            struct confusion c = confusion_count(a->sheet->labels, a->predictions[k],
                                                 a->sheet->rows);
            fprintf(stream, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", a->sheet->title,
                    a->model->title, a->seed[k], c.true_negative, c.false_positive,
                    c.false_negative, c.true_positive);
        }
}

static void write_data(const struct results *r, FILE *stream)
{
    const char *path;
    json_t *hash;
    fputs("File\tSHA-256, first half\n", stream);
    json_object_foreach(json_at(r->summary, "data"), path, hash) {
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
    fputs("Setting\tValue\tSetting\tValue\n", stream);
    for (int i = 0, half = cells.count / 2; i < half; i++)
        fprintf(stream, "%s\t%s\n", cells.word[i], cells.word[half + i]);
}

/* Write the tables of verdicts */
static void write_judgements(const struct judgements *list, FILE *stream)
{
    fputs("Claim\tAsked\tMeasured\tVerdict\tWhy\n", stream);
    for (int i = 0; i < list->count; i++) {
        const struct judgement *j = &list->list[i];
        fprintf(stream, "%s\t%s\t%s\t%s\t%s\n", j->claim, j->asked,
                finding_measured(&j->measured),
                verdict_said(j->verdict, list->toyland), j->why);
    }
}

static void write_verdicts(const struct results *r, FILE *stream)
{
    write_judgements(&r->verdicts->claims, stream);
}

static void write_agreement(const struct results *r, FILE *stream)
{
    write_judgements(&r->verdicts->agreement, stream);
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

static const struct table tables[] = {
    {"scores", .rows = {
     "Model[\tscore, %: %T]\tscore, %: mean\tretention, %: mean"
     "\tretention, %: 95 % interval",
     "a constant answer[\t<constant.%t>]\t–\t–\t–",
     "%a%M[\t<score.%t.%m.spread>]\t<score.mean.%m>\t<retention.mean.%m>"
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
     "%h" PAPERS "\t{{course.%t.teacher}}\t{{course.%t.student}}\t{{course.ratio.%t}}|"
      OURS,
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

/* Find a committed run on a GPU */
/* The benchmark of a committed run on a GPU, {"run": its name, "bench": …}; {} without
   one. */
static json_t *find_gpu(const char *reference)
{
    json_t *runs = json_others(reference, "bench.json", "gpu", "yes");
    void *first = json_object_iter(runs);
    json_t *gpu = first ? json_pack("{s:s, s:O}", "run", json_object_iter_key(first),
                                    "bench", json_object_iter_value(first))
                        : json_object();
    json_decref(runs);
    return gpu;
}

/* The run's benchmark and that one, as they are told. */
static json_t *tell_benches(const json_t *bench, const json_t *gpu)
{
    json_t *other = benchmark_told(json_at(gpu, "bench"));
    if (other)
        json_object_set(other, "run", json_object_get(gpu, "run"));
    return json_pack("{s:o*, s:o*}", "bench", benchmark_told(bench), "gpu", other);
}

/* Record what the results are made from */
/* The lines of a file as {KEY: text}; {} without the file. */
static json_t *read_pairs(const char *path)
{
    json_t *pairs = json_object();
    char *text = path && file_exists(path) ? kept(file_text(path, NULL)) : NULL,
         *line = text ? strtok(text, "\n") : NULL;
    for (; line; line = strtok(NULL, "\n")) {
        char *tab = strchr(line, '\t');
        if (!tab)
            fail(path, "expected a key, a tab and a text, found \"%s\"", line);
        *tab = '\0';
        value_put(pairs, line, tab + 1);
    }
    return pairs;
}

static json_t *gather(const struct stage *stage)
{
    const char *slash = strrchr(stage->run, '/'),
               *profile = slash && slash[1] ? slash + 1 : stage->run,
               *missing = stage->keys ? say("%s/missing", stage->keys) : NULL;
    return json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:o, s:o, s:o, s:o}", "profile", profile,
        "code", *stage->key ? stage->key : "not recorded", "versions", "gcc",
        __VERSION__, "openblas", openblas_get_config(), "jansson",
        jansson_version_str(), "utf8proc", utf8proc_version(), "checks",
        read_pairs(stage->checks), "unavailable", read_pairs(missing), "references",
        json_others(stage->reference, "summary.json", "profile", profile), "gpu",
        find_gpu(stage->reference));
}

/* Adds the sums of all that was left to files; where that is NULL, removes tables. */
static void each_left(const struct stage *stage, json_t *files)
{
    static const char *const left[] = {"tables/*.tsv", "figures/*.tsv", "run.settings",
                                       "summary.json", "verdicts.json", "values.json"};
    glob_t found = {0};
    for (int i = 0; i < (files ? 6 : 2); i++)
        glob(say("%s/%s", stage->run, left[i]), i ? GLOB_APPEND : 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (files)
            stage_left(stage, files, found.gl_pathv[i]);
        else
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

/* Run the command */
static const char usage[] =
    "usage: distil results --profile FILE --run DIR [--reference DIR]\n"
    "                      [--checks FILE] [--key HASH] [--keys DIR]\n"
    "\n"
    "Computes all scores of a finished run from its predictions and writes\n"
    "summary.json, verdicts.json, values.json, tables/ and figures/ into its folder.\n"
    "\n"
    "  --profile FILE   the settings of the run\n"
    "  --run DIR        what the stages left, results/mini say\n"
    "  --reference DIR  runs to compare with, DIR/NAME/summary.json, where they are\n"
    "                   of the same profile\n"
    "  --checks FILE    figures that the tests measured, \"key TAB text\" lines\n"
    "  --key HASH       hash of the code, to be stated in the report\n"
    "  --keys DIR       has what the data step could not have\n";

int results_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--profile --run");
    json_t *given = gather(&stage), *files = json_object();
    struct results results = results_compute(stage.run, stage.plan, given);
    each_left(&stage, NULL);
    results_write(&results, stage.run);
    settings_write(stage.plan->settings, say("%s/run.settings", stage.run));
    each_left(&stage, files);
    json_object_set_new(given, "files", files);
    seal_write(say("%s/results.json", stage.run), given);
    printf("results: the student %s\n", retention_said(results.findings, "student"));
    results_free(&results);
    json_decref(given);
    stage_close(&stage);
    return 0;
}

struct results results_compute(const char *folder, const struct plan *plan,
                               const json_t *given)
{
    static const char *const quoted[] = {"profile", "device", "date", "code"};
    struct results r = {.given = given, .run = run_open(folder, plan)};
    if (r.run->count == 0)
        fail(folder,
             "expected predictions of at least one model in predictions/, found none");
    r.told = tell_benches(r.run->bench, json_at(given, "gpu"));
    r.findings = findings_make(r.run);
    r.summary = make_summary(r.findings);
    r.settings = json_at(r.summary, "settings");
    r.verdicts = verdicts_judge(r.findings, plan->toyland, r.summary,
                                json_at(given, "references"));
    r.values = values_make(&r);
    for (int i = 0; i < 4; i++)
        value_put(r.summary, quoted[i], value_get(r.values, say("run.%s", quoted[i])));
    return r;
}

static void write_json(const json_t *object, const char *folder, const char *name)
{
    struct file_writer *writer = file_create(say("%s/%s", folder, name));
    json_dumpf(object, file_stream(writer),
               JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(10));
    fputc('\n', file_stream(writer));
    file_commit(writer);
}

void results_write(const struct results *results, const char *folder)
{
    json_t *verdicts = verdicts_json(results->verdicts, results->summary);
    write_json(results->summary, folder, "summary.json");
    write_json(verdicts, folder, "verdicts.json");
    write_tables(tables, results, say("%s/tables", folder));
    write_tables(plots, results, say("%s/figures", folder));
    write_json(results->values, folder, "values.json");
    json_decref(verdicts);
}

void results_free(struct results *results)
{
    json_decref(results->values);
    json_decref(results->summary);
    json_decref(results->told);
    findings_free(results->findings);
    run_close(results->run);
    forget();
}
