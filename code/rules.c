/* Tangled from chapters/46-rules.md; edit there. */
#include "rules.h"
#include "device.h"
#include "fail.h"
#include "file.h"
#include "forecast.h"
#include "record.h"
#include "room.h"
#include "sum.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Say how a plan is asked for */
static const char usage[] =
    "usage: distil plan --profile FILE --run DIR --data DIR [--keys DIR]\n"
    "                   [--until TIER] [--make | --list | --settings | --room]\n"
    "                   [--launched] [--SECTION.SETTING VALUE …]\n\n"
    "Prints the stages of a run, by tiers, and which of them are done.\n\n"
    "  --keys DIR  has the keys of the data, and with --make gets those of the stages\n"
    "  --until     the last tier that shall run; by default the last there is\n"
    "  --make      prints rules of make instead\n"
    "  --list      prints a line for each stage instead: its name and its command\n"
    "  --settings  prints all settings instead, each with the place it is from\n"
    "  --room      prints instead how many bytes of the disk the models and their\n"
    "              checkpoints will take beside those that are there; fails if the\n"
    "              memory is too small for one of the stages, or for all that run at\n"
    "              once, unless they are launched elsewhere: --launched\n";

/* Know what the rules are made from */
struct rules {
    const struct stage *stage;
    const struct plan *plan;
    char *teacher;   /* the folder it is from, or "scratch" */
    char *missing;   /* what data.sh says of data that cannot be had, or "" */
    bool *left_out;  /* [stages] they need such data */
    enum tier last;  /* that shall run */
    double *counted; /* [stages] the seconds they would take, as counted */
    int due;         /* stages of the run that are not done */
    char *engine;    /* lines with the sums of the code that all stages run */
};

/* Look at what is there */
static char *find_teacher(const struct stage *stage)
{
    const char *source = stage->plan->source;
    char *config = text_format("%s/config.json", source);
    bool own = file_exists(config);
    free(config);
    return own || stage->plan->scratch ? text_format("%s", source)
                                       : text_format("%s/%s", stage->data, source);
}

static bool lacks(const struct rules *rules, const char *label)
{
    size_t length = strlen(label);
    for (const char *line = rules->missing; *line; line += strcspn(line, "\n")) {
        line += *line == '\n';
        if (!strncmp(line, label, length) && line[length] == '\t')
            return true;
    }
    return false;
}

static void leave_out(struct rules *rules)
{
    const struct plan *plan = rules->plan;
    for (int i = 0; i < plan->stage_count; i++) {
        const struct planned_stage *s = &plan->stages[i];
        bool out = s->kind == FINETUNE && lacks(rules, s->task->task->name);
        out |= s->kind == DISTILL && lacks(rules, s->model->name);
        for (int n = 0; n < s->need_count; n++)
            out |= rules->left_out[s->needs[n]];
        rules->left_out[i] = out;
    }
}

/* Write the command of a stage */
static void write_quoted(FILE *stream, const char *text, bool make)
{
    fputc('\'', stream);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stream);
        else if (*text == '$' && make)
            fputs("$$", stream);
        else
            fputc(*text, stream);
    fputc('\'', stream);
}

/* The folder that a model is fine-tuned from; the caller frees it. */
static char *model_folder(const struct rules *rules, const struct planned_model *model,
                          int distillation)
{
    if (!model->student && !rules->plan->scratch)
        return text_format("%s", rules->teacher);
    char *name = plan_distilled(model, distillation),
         *folder = stage_path(rules->stage, "models/%s", name);
    free(name);
    return folder;
}

/* Where the fine-tuned teacher of a stage's task and seed is kept; the same. */
static char *kept_folder(const struct rules *rules, const struct planned_stage *s)
{
    return stage_path(rules->stage, "teachers/%s-%d", s->task->task->name, s->seed);
}

static void write_command(FILE *stream, const struct rules *rules,
                          const struct planned_stage *s, bool make)
{
    const char *options = !make                  ? ""
                          : rules->plan->jobs > 1 && s->kind != PRETRAIN
                              ? " $(COMMON) --resume --lines"
                              : " $(COMMON) --resume";
    char *distilled = plan_distilled(s->model, s->distillation),
         *model = s->model->replaces ? kept_folder(rules, s)
                                     : model_folder(rules, s->model, s->distillation);
    /* Write the kind of a stage and its own options */
    if (s->kind == PRETRAIN) {
        fprintf(stream, "pretrain%s --teacher ", options);
        write_quoted(stream, rules->teacher, make);
    } else if (s->kind == DISTILL) {
        fprintf(stream, "distill%s --student %s", options, distilled);
    } else {
        fprintf(stream, "finetune%s --task %s --name %s --seed %d --model ", options,
                s->task->task->name, s->model->name, s->seed);
        write_quoted(stream, model, make);
    }
    free(model);
    /* Write where a teacher is kept */
    if (s->kept) {
        model = kept_folder(rules, s);
        fputs(" --out ", stream);
        write_quoted(stream, model, make);
        free(model);
    }
    free(distilled);
}

/* Write the wants of a run */
/* Each word of a list of texts, as LABEL:WORD. */
static void write_wants(FILE *stream, const char *label, const char *words)
{
    for (words += strspn(words, " "); *words; words += strspn(words, " ")) {
        char *want = text_format("%s:%.*s", label, (int)strcspn(words, " "), words);
        fputc(' ', stream);
        write_quoted(stream, want, true);
        words += strcspn(words, " ");
        free(want);
    }
}

static void write_text_wants(FILE *stream, const char *label,
                             const struct corpus_settings *corpus)
{
    write_wants(stream, label, corpus->train);
    for (int i = 0; i < corpus->task_count; i++)
        write_wants(stream, label, corpus->tasks[i].task->name);
    write_wants(stream, label, corpus->validation);
}

static void write_teacher_wants(FILE *stream, const struct rules *rules)
{
    const struct plan *plan = rules->plan;
    char *config = text_format("%s/config.json", plan->source);
    if (plan->scratch) {
        write_wants(stream, "teacher", plan->vocabulary);
        write_text_wants(stream, "teacher", &plan->corpus);
    } else if (!file_exists(config)) {
        write_wants(stream, "teacher", plan->source);
    }
    free(config);
}

static void write_student_wants(FILE *stream, const struct planned_model *student,
                                bool *corpus_wanted)
{
    char *label = text_format("%s?", student->name);
    if (student->own_texts)
        write_text_wants(stream, label, &student->corpus);
    else if (!*corpus_wanted)
        write_text_wants(stream, "corpus", &student->corpus);
    *corpus_wanted |= !student->own_texts;
    if (student->initial == INITIAL_FOLDER)
        write_wants(stream, label, student->folder);
    free(label);
}

static void write_data(FILE *stream, const struct rules *rules)
{
    const struct plan *plan = rules->plan;
    fputs("\ndata.planned:\n\t", stream);
    if (plan->toyland) {
        fprintf(stream, "$(GENERATE) --seed %d --paragraphs %d --train %d --dev %d\n",
                (int)plan->seed, plan->paragraphs, plan->train, plan->dev);
        return;
    }
    /* Ask for what the stages read */
    fputs("$(FIND)", stream);
    write_teacher_wants(stream, rules);
    bool corpus_wanted = false;
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].kind == DISTILL && plan->stages[i].distillation == 0)
            write_student_wants(stream, plan->stages[i].model, &corpus_wanted);
    for (int t = 0; t < plan->task_count; t++) {
        char *label = text_format("%s?", plan->tasks[t].task->name);
        write_wants(stream, label, plan->tasks[t].task->name);
        free(label);
    }
    fputc('\n', stream);
}

/* Write what a stage is made from */
static const char *const apart[] = {
    "tangle", "placed", "main", "rules", "room", "pretrain", "distill", "finetune",
    "results", "run", "measure", "tables", "values", "verdicts", "findings", "trust",
    "verify", "artifact", "bench", "benchmark", "estimate", "watch", "toyland",
    "tokenize", "inspect", "gradients", "live", "forecast", "plots", "grid", "json",
    "said"};

static bool is_apart(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    size_t length = strcspn(name, ".");
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
        if (strlen(apart[i]) == length && !strncmp(apart[i], name, length))
            return true;
    return false;
}

/* How many bytes of white space and comments begin here. */
static size_t gap(const char *text)
{
    size_t n = 0;
    for (;;)
        if (isspace((unsigned char)text[n])) {
            n++;
        } else if (!strncmp(text + n, "//", 2)) {
            n += strcspn(text + n, "\n");
        } else if (!strncmp(text + n, "/*", 2)) {
            const char *end = strstr(text + n + 2, "*/");
            n = end ? (size_t)(end - text) + 2 : strlen(text);
        } else {
            return n;
        }
}

/* How many bytes of a program belong together here: those of a literal, or one. */
static size_t piece(const char *text)
{
    size_t n = 1;
    if (*text != '"' && *text != '\'')
        return 1;
    while (text[n] && text[n] != *text)
        n += text[n] == '\\' && text[n + 1] ? 2 : 1;
    return text[n] ? n + 1 : n;
}

static struct sum sum_program(const char *path)
{
    char *text = file_text(path, NULL), *to = text;
    for (const char *at = text; *at;) {
        size_t left_out = gap(at), kept = piece(at + left_out);
        if (left_out > 0)
            *to++ = memchr(at, '\n', left_out) ? '\n' : ' ';
        if (!at[left_out])
            break;
        memmove(to, at + left_out, kept);
        to += kept;
        at += left_out + kept;
    }
    struct sum sum = sum_bytes(text, (size_t)(to - text));
    free(text);
    return sum;
}

enum { KEY_DIGITS = 16 };

static void write_sum(FILE *stream, const char *path)
{
    const char *end = strrchr(path, '.');
    bool program = !strcmp(end, ".c") || !strcmp(end, ".h") || !strcmp(end, ".cu");
    struct sum sum = program ? sum_program(path) : sum_file(path);
    fprintf(stream, "%s %.*s\n", path, KEY_DIGITS, sum.digits);
}

/* The lines of all code that is not apart. The caller frees them. */
static char *sum_engine(void)
{
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    glob_t files = {0};
    /* Find the files of the code */
    int faults = glob("code/*.[ch]", 0, NULL, &files);
    faults |= glob("code/*.cu", GLOB_APPEND, NULL, &files);
    if (faults)
        fail("code", "expected the program's code there; keys are made from it");
    for (size_t i = 0; i < files.gl_pathc; i++)
        if (!is_apart(files.gl_pathv[i]))
            write_sum(stream, files.gl_pathv[i]);
    globfree(&files);
    fclose(stream);
    return text;
}

static void put(const char *path, const char *text)
{
    char *old = file_exists(path) ? file_text(path, NULL) : NULL;
    if (!old || strcmp(old, text)) {
        struct file_writer *writer = file_create(path);
        fputs(text, file_stream(writer));
        file_commit(writer);
    }
    free(old);
}

/* Writes NAME.from, which has these lines, and NAME.key, which has their sum. */
static void put_key(const struct rules *rules, const char *name, const char *lines)
{
    char *from = text_format("%s/%s.from", rules->stage->keys, name),
         *path = text_format("%s/%s.key", rules->stage->keys, name);
    struct sum sum = sum_bytes(lines, strlen(lines));
    char *key = text_format("%.*s\n", KEY_DIGITS, sum.digits);
    put(from, lines);
    put(path, key);
    free(key);
    free(path);
    free(from);
}

/* Each line of a key, behind the name that it goes by. */
static void write_key(FILE *stream, const struct rules *rules, const char *key,
                      const char *name)
{
    char *path = text_format("%s/%s.key", rules->stage->keys, key);
    char *text = file_exists(path) ? file_text(path, NULL) : text_format("%s", "");
    for (char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        fprintf(stream, "%s %.*s\n", name, (int)strcspn(line, "\n"), line);
    free(text);
    free(path);
}

static void write_data_key(FILE *stream, const struct rules *rules, const char *label)
{
    char *name = text_format("data-%s", label);
    write_key(stream, rules, rules->plan->toyland ? "data" : name, name);
    free(name);
}

static void write_parent_key(FILE *stream, const struct rules *rules, const char *name)
{
    write_key(stream, rules, name, name);
}

static void write_teacher(FILE *stream, const struct rules *rules)
{
    static const char *const names[] = {"model.safetensors", "config.json",
                                        "vocab.txt"};
    write_data_key(stream, rules, "corpus");
    if (rules->plan->scratch) {
        write_data_key(stream, rules, "teacher");
        return;
    }
    /* Write the sums of the teacher's files */
    for (int i = 0; i < 3; i++) {
        char *path = text_format("%s/%s", rules->teacher, names[i]);
        if (file_exists(path))
            fprintf(stream, "teacher/%s %s\n", names[i], sum_file(path).digits);
        free(path);
    }
}

static void write_from(FILE *stream, const struct rules *rules,
                       const struct planned_stage *s)
{
    static const char *const own[] = {"pretrain", "distill", "finetune"};
    const char *task = s->task ? s->task->task->name : NULL;
    char *lines = plan_hashed(rules->plan, s->kind, s->model->name, task);
    fputs(lines, stream);
    free(lines);
    if (s->kind == DISTILL)
        fprintf(stream, "[distill] seed = %d\n", s->seed);
    fputs(rules->engine, stream);
    /* Write the sums of the stage's own files */
    for (const char *end = ".c\0.h\0"; *end; end += strlen(end) + 1) {
        char *path = text_format("code/%s%s", own[s->kind], end);
        if (file_exists(path))
            write_sum(stream, path);
        free(path);
    }
    /* Write the keys of the data that it reads */
    if (s->kind == PRETRAIN)
        write_teacher(stream, rules);
    else if (s->kind == FINETUNE)
        write_data_key(stream, rules, task);
    else if (!s->model->own_texts)
        write_data_key(stream, rules, "corpus");
    if (s->kind == DISTILL
        && (s->model->own_texts || s->model->initial == INITIAL_FOLDER))
        write_data_key(stream, rules, s->model->name);
    for (int n = 0; n < s->need_count; n++)
        write_parent_key(stream, rules, rules->plan->stages[s->needs[n]].name);
}

static void put_keys(struct rules *rules)
{
    rules->engine = sum_engine();
    for (int i = 0; i < rules->plan->stage_count; i++) {
        char *text;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        write_from(stream, rules, &rules->plan->stages[i]);
        fclose(stream);
        put_key(rules, rules->plan->stages[i].name, text);
        free(text);
    }
}

/* Write the key of the benchmark */
static void put_bench_key(const struct rules *rules)
{
    static const char *const files[] = {
        "code/bench.c", "code/estimate.c", "code/watch.c", "code/distill.c",
        "code/defaults.settings", "code/full.settings", "chapters/published.json"};
    const struct plan *plan = rules->plan;
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    /* Write how the teacher is fine-tuned on each task */
    for (int t = 0; t < plan->task_count; t++) {
        if (lacks(rules, plan->tasks[t].task->name))
            continue;
        char *lines = plan_hashed(plan, FINETUNE, "teacher", plan->tasks[t].task->name);
        fputs(lines, stream);
        free(lines);
    }
    fputs(rules->engine, stream);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        write_sum(stream, files[i]);
    write_parent_key(stream, rules, "distill-student");
    fclose(stream);
    put_key(rules, "bench", text);
    free(text);
}

/* Write the key of Toyland */
static void put_toyland_key(const struct rules *rules)
{
    const struct plan *plan = rules->plan;
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    fprintf(stream, "[toyland] %d %d %d %d\n", (int)plan->seed, plan->paragraphs,
            plan->train, plan->dev);
    fputs(rules->engine, stream);
    write_sum(stream, "code/toyland.c");
    fclose(stream);
    put_key(rules, "toyland", text);
    free(text);
}

/* Write rules of make */
static void write_rule(FILE *stream, const struct rules *rules,
                       const struct planned_stage *s)
{
    const char *run = rules->stage->run;
    if (s->kind == PRETRAIN)
        fprintf(stream, "\n%s/stages/%s.json: override JOBS := 1", run, s->name);
    fprintf(stream, "\n%s/stages/%s.json:", run, s->name);
    for (int n = 0; n < s->need_count; n++)
        fprintf(stream, " %s/stages/%s.json", run,
                rules->plan->stages[s->needs[n]].name);
    fputs(" FORCE\n\t$(STAGE) ", stream);
    write_command(stream, rules, s, true);
    fputc('\n', stream);
}

static void write_tier(FILE *stream, const struct rules *rules, enum tier tier)
{
    const struct plan *plan = rules->plan;
    fprintf(stream, "\n%s.tier:", tier_names[tier]);
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].tier == tier && !rules->left_out[i])
            fprintf(stream, " %s/stages/%s.json", rules->stage->run,
                    plan->stages[i].name);
    fputc('\n', stream);
}

static void write_rules(FILE *stream, const struct rules *rules)
{
    const struct plan *plan = rules->plan;
    bool tiers[TIERS] = {false};
    /* Find the tiers that have something to run */
    for (int i = 0; i < plan->stage_count; i++)
        tiers[plan->stages[i].tier] |= !rules->left_out[i]
                                       && plan->stages[i].tier <= rules->last;
    /* Name the numbers and the tiers of the run */
    fprintf(stream, "# What `distil plan --make` says of %s.\nJOBS := %d\nREPORTS ?= %g\n"
            "DUE := %.0d\nTIERS :=", settings_path(plan->settings), plan->jobs,
            plan->weave, rules->due);
    for (enum tier tier = TIER_CORE; tier < TIERS; tier++)
        if (tiers[tier])
            fprintf(stream, " %s", tier_names[tier]);
    /* Name the folders of the teacher */
    fputs("\nOWN_TEACHER := ", stream);
    if (!plan->scratch && !strcmp(rules->teacher, plan->source))
        write_quoted(stream, rules->teacher, true);
    char *model = model_folder(rules, &plan->models[0], 0);
    fputs("\nTEACHER_MODEL := ", stream);
    write_quoted(stream, model, true);
    fputc('\n', stream);
    free(model);
    write_data(stream, rules);
    for (enum tier tier = TIER_CORE; tier < TIERS; tier++)
        if (tiers[tier])
            write_tier(stream, rules, tier);
    for (int i = 0; i < plan->stage_count; i++)
        if (!rules->left_out[i])
            write_rule(stream, rules, &plan->stages[i]);
}

static void write_list(FILE *stream, const struct rules *rules)
{
    for (int i = 0; i < rules->plan->stage_count; i++) {
        const struct planned_stage *s = &rules->plan->stages[i];
        if (rules->left_out[i] || s->tier > rules->last)
            continue;
        fprintf(stream, "%s ", s->name);
        write_command(stream, rules, s, false);
        fputc('\n', stream);
    }
}

/* Print the plan for people */
/* The stages that are not left out, up to a tier; counted: their seconds; run: where
   their records are; NULL: they have none. */
static struct forecast_row *list_rows(const struct rules *rules, const double *counted,
                                      const char *run, enum tier until, int *count)
{
    const struct plan *plan = rules->plan;
    struct forecast_row *rows = allocate((size_t)plan->stage_count, sizeof *rows);
    *count = 0;
    for (int i = 0; i < plan->stage_count; i++)
        if (!rules->left_out[i] && plan->stages[i].tier <= until) {
            const struct planned_stage *s = &plan->stages[i];
            rows[*count] = (struct forecast_row){s->name, s->tier, s->kind, counted[i],
                                                 -1, false};
            if (run)
                forecast_look(&rows[*count], run, rules->stage->keys);
            ++*count;
        }
    return rows;
}

static void print_tier(const struct rules *rules, const struct forecast_row *rows,
                       int count, enum tier tier)
{
    struct forecast f = forecast_left(rows, count, tier, tier);
    if (!f.stages)
        return;
    char *whole = about_text(f.whole / rules->plan->jobs),
         *left = about_text(f.left / rules->plan->jobs);
    printf("%-9s %4d stage%s %4d done  %8s in all  %8s left   %s%s\n", tier_names[tier],
           f.stages, f.stages == 1 ? ", " : "s,", f.done, whole, left,
           tier_titles[tier], tier > rules->last ? " (not in this run)" : "");
    free(whole);
    free(left);
}

static void print_t4(const struct rules *rules)
{
    const char *device = rules->plan->device;
    if (!strcmp(device, "cpu") || device_away(device)
        || stage_kernels(rules->stage) != kernels_cpu())
        return;
    int count;
    double *counted = forecast_count(rules->stage, rules->teacher, true);
    struct forecast_row *rows = list_rows(rules, counted, NULL, rules->last, &count);
    struct forecast core = forecast_left(rows, count, TIER_CORE, TIER_CORE),
                    all = forecast_left(rows, count, TIER_CORE, rules->last);
    char *first = about_text(core.whole), *whole = about_text(all.whole);
    printf("plan: on a T4 the core is counted at %s, all of it at %s\n", first, whole);
    free(first);
    free(whole);
    free(rows);
    free(counted);
}

static void print_plan(const struct rules *rules)
{
    int count;
    struct forecast_row *rows = list_rows(rules, rules->counted, rules->stage->run,
                                          TIERS - 1, &count);
    for (enum tier tier = TIER_CORE; tier < TIERS; tier++)
        print_tier(rules, rows, count, tier);
    /* Say what the whole will take */
    struct forecast f = forecast_left(rows, count, TIER_CORE, rules->last);
    char *left = about_text(f.left / rules->plan->jobs);
    printf("plan: %d of %d stages are done; about %s left, %s\n", f.done, f.stages,
           left, f.measured ? "by what those took" : "as counted");
    struct shape teacher = forecast_teacher(rules->stage, rules->teacher);
    printf("plan: %.0f MB more on the disk for models and checkpoints\n",
           1e-6 * (double)room_disk(rules->stage, &teacher, rules->last));
    print_t4(rules);
    for (const char *line = rules->missing; *line; line += strcspn(line, "\n"))
        if (*(line += *line == '\n'))
            printf("plan: without %.*s\n", (int)strcspn(line, "\n"), line);
    free(rows);
    free(left);
}

/* Do what the command line asks */
static void keep_forecast(struct rules *rules)
{
    int count;
    struct forecast_row *rows = list_rows(rules, rules->counted, rules->stage->run,
                                          rules->last, &count);
    for (int i = 0; i < count; i++)
        rules->due += !rows[i].done;
    char *path = text_format("%s/forecast.tsv", rules->stage->keys);
    forecast_write(path, rows, count, rules->plan->jobs);
    free(path);
    free(rows);
}

int plan_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--profile --run --data");
    struct rules rules = {.stage = &stage, .plan = stage.plan,
                          .teacher = find_teacher(&stage),
                          .last = plan_tier(stage.until)};
    /* Learn which data are missing */
    char *missing = text_format("%s/missing", stage.keys ? stage.keys : "");
    bool told = stage.keys && file_exists(missing);
    rules.missing = told ? file_text(missing, NULL) : text_format("%s", "");
    rules.left_out = allocate((size_t)stage.plan->stage_count, sizeof *rules.left_out);
    leave_out(&rules);
    /* Count and keep what make will ask for */
    bool keeps = stage.make && stage.keys;
    if (keeps || !(stage.make || stage.settings || stage.list || stage.room))
        rules.counted = forecast_count(&stage, rules.teacher, false);
    if (keeps) {
        put_keys(&rules);
        put_bench_key(&rules);
        put_toyland_key(&rules);
        keep_forecast(&rules);
    }
    /* Print the form that was asked for */
    if (stage.settings)
        settings_print(stage.plan->settings, stdout, true);
    else if (stage.make)
        write_rules(stdout, &rules);
    else if (stage.list)
        write_list(stdout, &rules);
    else if (stage.room)
        printf("%zu\n", room_needed(&stage, rules.teacher, rules.last));
    else
        print_plan(&rules);
    free(rules.counted);
    free(rules.left_out);
    free(rules.missing);
    free(rules.teacher);
    free(rules.engine);
    free(missing);
    stage_close(&stage);
    return 0;
}
