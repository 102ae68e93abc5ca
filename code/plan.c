/* Tangled from chapters/45-plan.md; edit there. */
#include "plan.h"
#include "fail.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Describe a setting */
enum value { IDLE_TEXT, TEXT, COUNT, LONG_COUNT, SEED, REAL, FLOAT, CHOICE, FLAG };

struct field {
    const char *key;
    enum value value;
    size_t place;        /* in the struct of its group */
    const char *choices; /* of CHOICE and FLAG */
    bool idle;
};

struct group {
    const struct field *fields;
    int count;
};

#define GROUP(fields) {fields, (int)(sizeof fields / sizeof *fields)}

/* List the settings of a recipe */
#define IN(member) offsetof(struct recipe, member)

static const struct field recipe_fields[] = {
    {"epochs", REAL, IN(epochs), NULL, false},
    {"batch", COUNT, IN(batch), NULL, false},
    {"accumulate", COUNT, IN(accumulate), NULL, false},
    {"rate", FLOAT, IN(optimizer.rate), NULL, false},
    {"warmup", REAL, IN(optimizer.warmup), NULL, false},
    {"schedule", FLAG, IN(optimizer.linear_decay), "constant linear", false},
    {"beta1", FLOAT, IN(optimizer.beta1), NULL, false},
    {"beta2", FLOAT, IN(optimizer.beta2), NULL, false},
    {"epsilon", FLOAT, IN(optimizer.epsilon), NULL, false},
    {"decay", FLOAT, IN(optimizer.decay), NULL, false},
    {"clip", FLOAT, IN(optimizer.clip), NULL, false},
};
static const struct field pad_fields[] = {{"pad", COUNT, IN(pad), NULL, false}};
#undef IN

#define IN(member) offsetof(struct corpus_settings, member)
static const struct field text_fields[] = {
    {"train", TEXT, IN(train), NULL, false},
    {"validation", TEXT, IN(validation), NULL, false},
    {"tasks", IDLE_TEXT, 0, NULL, false},
    {"train-tokens", LONG_COUNT, IN(train_tokens), NULL, false},
    {"validation-tokens", LONG_COUNT, IN(validation_tokens), NULL, false},
};
static const struct field line_fields[] = {
    {"length", COUNT, IN(length), NULL, false},
    {"long", FLAG, IN(split), "cut split", false},
};
#undef IN
static const struct group recipe_group = GROUP(recipe_fields),
                          pad_group = GROUP(pad_fields),
                          text_group = GROUP(text_fields),
                          line_group = GROUP(line_fields);

/* List the settings of the run */
#define IN(member) offsetof(struct plan, member)
static const struct field run_fields[] = {
    {"seed", SEED, IN(seed), NULL, false},
    {"device", TEXT, IN(device), NULL, false},
    {"bits", FLAG, IN(same_bits), "any same", false},
    {"data", FLAG, IN(toyland), "real toyland", false},
    {"jobs", COUNT, IN(jobs), NULL, true},
    {"checkpoint", REAL, IN(checkpoint), NULL, true},
    {"weave", REAL, IN(weave), NULL, true},
    {"extended", FLAG, IN(extended), "0 1", true},
};
static const struct field toyland_fields[] = {
    {"paragraphs", COUNT, IN(paragraphs), NULL, false},
    {"train", COUNT, IN(train), NULL, false},
    {"dev", COUNT, IN(dev), NULL, false},
};
static const struct group run_group = GROUP(run_fields),
                          toyland_group = GROUP(toyland_fields);

static const struct field source_fields[] = {
    {"title", IDLE_TEXT, 0, NULL, true},
    {"source", TEXT, IN(source), NULL, true},
};
static const struct field scratch_fields[] = {
    {"vocabulary", TEXT, IN(vocabulary), NULL, false},
    {"layers", COUNT, IN(shape.layers), NULL, false},
    {"width", COUNT, IN(shape.width), NULL, false},
    {"heads", COUNT, IN(shape.heads), NULL, false},
    {"inner", COUNT, IN(shape.inner), NULL, false},
    {"positions", COUNT, IN(shape.positions), NULL, false},
    {"dropout", FLOAT, IN(shape.dropout), NULL, false},
    {"classifier-dropout", FLOAT, IN(shape.classifier_dropout), NULL, false},
    {"initializer", FLOAT, IN(shape.initializer_range), NULL, false},
};
#undef IN
static const struct group source_group = GROUP(source_fields),
                          scratch_group = GROUP(scratch_fields);

/* List the settings of models and tasks */
#define IN(member) offsetof(struct planned_model, member)
static const struct field student_fields[] = {
    {"initial", CHOICE, IN(initial), "teacher random folder", false},
    {"mlm", FLOAT, IN(losses.mlm), NULL, false},
    {"kl", FLOAT, IN(losses.kl), NULL, false},
    {"cosine", FLOAT, IN(losses.cosine), NULL, false},
    {"relations", FLOAT, IN(losses.relations), NULL, false},
    {"temperature", FLOAT, IN(losses.temperature), NULL, false},
    {"kl-positions", CHOICE, IN(losses.kl_positions), "all real masked", false},
    {"kl-divisor", CHOICE, IN(losses.kl_divisor), "tokens sequences", false},
    {"cosine-positions", CHOICE, IN(losses.cosine_positions), "all real masked", false},
    {"cosine-layers", FLAG, IN(copied_layers), "last copied", false},
};
static const struct field layer_fields[] = {
    {"layers", IDLE_TEXT, 0, NULL, false},
};
static const struct field title_fields[] = {
    {"title", IDLE_TEXT, 0, NULL, true},
    {"tier", IDLE_TEXT, 0, NULL, true},
    {"seeds", IDLE_TEXT, 0, NULL, true},
};
static const struct field folder_fields[] = {{"folder", TEXT, IN(folder), NULL, false}};
static const struct field relation_fields[] = {
    {"relation-heads", COUNT, IN(losses.relation_heads), NULL, false},
};
static const struct field from_fields[] = {{"from", IDLE_TEXT, 0, NULL, true}};
static const struct field replacing_fields[] = {
    {"replacing-rate", REAL, IN(replacing.rate), NULL, false},
    {"replacing-share", REAL, IN(replacing.share), NULL, false},
};
#undef IN

#define IN(member) offsetof(struct planned_task, member)
static const struct field task_fields[] = {
    {"length", COUNT, IN(length), NULL, false},
    {"train-rows", COUNT, IN(train_rows), NULL, false},
    {"dev-rows", COUNT, IN(dev_rows), NULL, false},
    {"exam", FLAG, IN(rehearsal), "development held-back", false},
};
static const struct field held_fields[] = {
    {"held-back", COUNT, IN(held_back), NULL, false},
};
static const struct field stride_fields[] = {
    {"stride", COUNT, IN(stride), NULL, false},
};
static const struct field list_fields[] = {
    {"tasks", IDLE_TEXT, 0, NULL, true},
    {"models", IDLE_TEXT, 0, NULL, true},
    {"extended", IDLE_TEXT, 0, NULL, true},
    {"seeds", IDLE_TEXT, 0, NULL, true},
};
#undef IN
#define IN(member) offsetof(struct teaching, member)
static const struct field teacher_fields[] = {
    {"teachers", COUNT, IN(teachers), NULL, false},
};
static const struct field teaching_fields[] = {
    {"soft", REAL, IN(soft), NULL, false},
    {"temperature", REAL, IN(temperature), NULL, false},
};
#undef IN
static const struct group student_group = GROUP(student_fields),
                          layer_group = GROUP(layer_fields),
                          title_group = GROUP(title_fields),
                          folder_group = GROUP(folder_fields),
                          relation_group = GROUP(relation_fields),
                          from_group = GROUP(from_fields),
                          replacing_group = GROUP(replacing_fields),
                          task_group = GROUP(task_fields),
                          held_group = GROUP(held_fields),
                          stride_group = GROUP(stride_fields),
                          list_group = GROUP(list_fields),
                          teacher_group = GROUP(teacher_fields),
                          teaching_group = GROUP(teaching_fields);

/* Read a group of settings */
static void read_field(const struct settings *s, const char *sections,
                       const struct field *field, void *place)
{
    const char *key = field->key;
    switch (field->value) {
    case IDLE_TEXT: break;
    case TEXT: *(const char **)place = settings_text(s, sections, key); break;
    case COUNT: *(int *)place = (int)settings_count(s, sections, key); break;
    case LONG_COUNT: *(long *)place = settings_count(s, sections, key); break;
    case SEED: *(uint64_t *)place = (uint64_t)settings_count(s, sections, key); break;
    case REAL: *(double *)place = settings_number(s, sections, key); break;
    case FLOAT: *(float *)place = (float)settings_number(s, sections, key); break;
    case CHOICE:
        *(int *)place = settings_choice(s, sections, key, field->choices);
        break;
    case FLAG:
        *(bool *)place = settings_choice(s, sections, key, field->choices) == 1;
        break;
    }
}

static void read_group(const struct settings *s, const char *sections,
                       struct group group, void *target)
{
    for (int i = 0; i < group.count; i++)
        read_field(s, sections, &group.fields[i],
                   (char *)target + group.fields[i].place);
}

static void read_recipe(const struct settings *s, const char *sections,
                        struct recipe *recipe)
{
    read_group(s, sections, recipe_group, recipe);
    const char *const keys[] = {"batch", "accumulate"};
    const int counts[] = {recipe->batch, recipe->accumulate};
    for (int i = 0; i < 2; i++)
        if (counts[i] == 0) {
            char *where = settings_where(settings_find(s, sections, keys[i]));
            fail(where, "expected %s to be 1 or more", keys[i]);
        }
}

/* Read a list of names */
/* Calls use for each word of a list. */
static void each_name(const struct settings *s, const char *sections, const char *key,
                      void (*use)(void *context, const char *name), void *context)
{
    const struct setting *list = settings_find(s, sections, key);
    for (const char *at = list ? list->value : ""; *at;) {
        size_t length = strcspn(at, " ");
        char *name = text_format("%.*s", (int)length, at);
        /* Refuse a name that is no plain word */
        for (const char *c = name; *c; c++)
            if (!isalnum((unsigned char)*c) && !strchr("-_", *c)) {
                char *where = settings_where(list);
                fail(where, "expected plain words or numbers, found \"%s\"",
                     list->value);
            }
        use(context, name);
        free(name);
        at += length + strspn(at + length, " ");
    }
}

/* Read the tasks of a corpus */
struct text_listing {
    const struct settings *settings;
    const struct setting *list;
    struct corpus_settings *corpus;
};

static void add_to_corpus(void *context, const char *name)
{
    const struct text_listing *listing = context;
    struct corpus_settings *corpus = listing->corpus;
    const struct task *task = task_find(name);
    /* Refuse a task that is no text of its own */
    bool fits = !task->of && corpus->task_count < MOST_TEXTS;
    for (int i = 0; i < corpus->task_count; i++)
        fits &= corpus->tasks[i].task != task;
    if (!fits)
        fail(settings_where(listing->list), "expected tasks with training rows, each "
             "once and at most %d, found \"%s\"", MOST_TEXTS, name);
    char *sections = text_format("%s finetune", name);
    int held_back = (int)settings_count(listing->settings, sections, "held-back");
    corpus->tasks[corpus->task_count++] = (struct task_text){task, held_back};
    free(sections);
}

static void read_tasks_of_corpus(const struct settings *s, const char *sections,
                                 struct corpus_settings *corpus)
{
    struct text_listing listing = {s, settings_find(s, sections, "tasks"), corpus};
    corpus->task_count = 0;
    each_name(s, sections, "tasks", add_to_corpus, &listing);
}

/* sections: those of the recipe; the corpus has sections of its own behind them. */
static void read_texts(const struct settings *s, const char *sections,
                       struct recipe *recipe, struct corpus_settings *corpus)
{
    char *texts = text_format("%s corpus", sections);
    read_recipe(s, sections, recipe);
    read_group(s, sections, pad_group, recipe);
    read_group(s, texts, text_group, corpus);
    read_tasks_of_corpus(s, texts, corpus);
    read_group(s, "corpus", line_group, corpus);
    free(texts);
}

/* Tell what kind a section is of */
enum { MOST_GROUPS = 11 };

static const struct kind {
    const char *name;
    const struct group *groups[MOST_GROUPS];
} kinds[] = {
    {"run", {&run_group}},
    {"toyland", {&toyland_group}},
    {"corpus", {&line_group, &text_group}},
    {"teacher", {&source_group, &scratch_group, &recipe_group, &pad_group,
                 &text_group}},
    {"head", {&recipe_group, &pad_group, &text_group}},
    /* List what a student's section and a task's may hold */
    {"distill", {&student_group, &layer_group, &title_group, &folder_group,
                 &relation_group, &recipe_group, &pad_group, &text_group}},
    {"finetune", {&list_group, &task_group, &held_group, &stride_group,
                  &recipe_group, &teacher_group, &teaching_group}},
    {"student", {&student_group, &layer_group, &title_group, &folder_group,
                 &relation_group, &recipe_group, &pad_group, &text_group, &from_group,
                 &teaching_group, &replacing_group}},
};

static bool is_student(const struct settings *s, const char *section)
{
    return strcmp(section, "teacher") && settings_find(s, section, "title");
}

/* NULL: no stage reads such a section. */
static const struct kind *kind_of(const struct settings *s, const char *section)
{
    const char *name = is_student(s, section) ? "student" : section;
    for (const struct task *task = task_list; task->name; task++)
        if (!strcmp(task->name, section))
            name = "finetune";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

/* Refuse slips of the pen */
static bool knows(const struct kind *kind, const char *key)
{
    for (int g = 0; g < MOST_GROUPS && kind->groups[g]; g++)
        for (int i = 0; i < kind->groups[g]->count; i++)
            if (!strcmp(kind->groups[g]->fields[i].key, key))
                return true;
    return !strcmp(kind->name, "student") && !strcmp(key, teacher_fields[0].key);
}

static void refuse_slips(const struct settings *s)
{
    const char *section;
    const struct setting *setting;
    for (int i = 0; (section = settings_section(s, i)); i++)
        if (!kind_of(s, section))
            fail(settings_path(s), "[%s] is no section that any stage reads; a "
                 "student's has a title", section);
    for (int i = 0; (setting = settings_setting(s, i)); i++)
        if (!knows(kind_of(s, setting->section), setting->key)) {
            char *where = settings_where(setting);
            fail(where, "the setting \"%s\" of [%s] is not known", setting->key,
                 setting->section);
        }
}

/* Read the models */
static void read_teacher(struct plan *plan)
{
    const struct settings *s = plan->settings;
    read_group(s, "teacher", source_group, plan);
    plan->scratch = !strcmp(plan->source, "scratch");
    if (plan->scratch)
        read_group(s, "teacher", scratch_group, plan);
    read_texts(s, plan->scratch ? "teacher" : "head", &plan->recipe, &plan->corpus);
}

static void read_student(const struct plan *plan, const char *name,
                         struct planned_model *model)
{
    const struct settings *s = plan->settings;
    char *sections = text_format("%s distill", name);
    read_group(s, sections, student_group, model);
    if (model->initial == INITIAL_FOLDER)
        read_group(s, sections, folder_group, model);
    if (model->losses.relations > 0)
        read_group(s, sections, relation_group, model);
    model->layers = settings_list(s, sections, "layers", model->layer, MAX_PAIRS);
    read_texts(s, sections, &model->recipe, &model->corpus);
    /* Note whether its texts are its own */
    model->own_texts = settings_find(s, name, "train")
                       || settings_find(s, name, "validation")
                       || settings_find(s, name, "tasks");
    /* Read the seeds of its distillations */
    model->seeds = settings_find(s, sections, "seeds")
                       ? settings_list(s, sections, "seeds", model->seed, MOST_SEEDS)
                       : 0;
    if (model->seeds == 0)
        model->seed[model->seeds++] = (int)plan->seed;
    free(sections);
}

static void read_replacing(const struct plan *plan, const char *name,
                           struct planned_model *model)
{
    const struct settings *s = plan->settings;
    const struct replacing *r = &model->replacing;
    char *sections = text_format("%s distill", name);
    model->replaces = true;
    model->layers = settings_list(s, sections, "layers", model->layer, MAX_PAIRS);
    read_group(s, name, replacing_group, model);
    /* Refuse a student that cannot replace layers */
    if (!(r->rate >= 0 && r->rate <= 1 && r->share >= 0 && r->share <= 1))
        fail(name, "expected replacing-rate and replacing-share from 0 to 1, found %g "
             "and %g", r->rate, r->share);
    if (settings_find(s, name, "from") || model->layers == 0)
        fail(name, "begins as its teacher; expected layers and no \"from\"");
    free(sections);
}

/* Reads the model of a section with a title; the teacher has rank 0. */
static void add_model(struct plan *plan, const char *name)
{
    const struct settings *s = plan->settings;
    int rank = plan->model_count++;
    struct planned_model *model = &plan->models[rank];
    *model = (struct planned_model){.name = name, .rank = rank, .student = rank > 0,
                                    .tier = rank ? TIER_ABLATIONS : TIER_CORE,
                                    .seeds = 1};
    const struct setting *title = settings_find(s, name, "title");
    model->title = title ? title->value : name;
    if (!model->student)
        return;
    /* Read the tier of a student */
    char *sections = text_format("%s distill", name);
    if (settings_find(s, sections, "tier"))
        model->tier = (enum tier)settings_choice(
            s, sections, "tier", "core seeds students ablations glue squad extended");
    free(sections);
    /* Read what a student is made with */
    if (settings_find(s, name, "replacing-rate"))
        read_replacing(plan, name, model);
    else if (!settings_find(s, name, "from"))
        read_student(plan, name, model);
}

static void join_models(struct plan *plan)
{
    for (int i = 1; i < plan->model_count; i++) {
        struct planned_model *model = &plan->models[i];
        const struct setting *from = settings_find(plan->settings, model->name, "from");
        if (!from)
            continue;
        model->from = plan_model(plan, from->value);
        /* Refuse to begin as what is not distilled once */
        if (!model->from || !model->from->student || model->from->recipe.batch == 0) {
            char *where = settings_where(from);
            fail(where, "[%s] from: expected a student that is distilled once, found "
                 "\"%s\"", model->name, from->value);
        }
        char *sections = text_format("%s finetune", model->name);
        model->hears = settings_count(plan->settings, sections, "teachers") > 0;
        free(sections);
        model->seeds = model->from->seeds;
        memcpy(model->seed, model->from->seed, sizeof model->seed);
    }
}

static void read_models(struct plan *plan)
{
    const char *section;
    int sections = 0;
    while (settings_section(plan->settings, sections))
        sections++;
    plan->models = allocate((size_t)sections + 1, sizeof *plan->models);
    add_model(plan, "teacher");
    for (int i = 0; (section = settings_section(plan->settings, i)); i++)
        if (is_student(plan->settings, section))
            add_model(plan, section);
    join_models(plan);
}

/* Read the tasks */
struct listing {
    struct plan *plan;
    struct planned_task *task;
    bool extended;
};

static void add_to_task(void *context, const char *name)
{
    const struct listing *listing = context;
    struct planned_task *task = listing->task;
    const struct planned_model *model = plan_model(listing->plan, name);
    if (!model)
        fail(settings_path(listing->plan->settings), "[%s] models: expected a section "
             "with a title for each, found none for \"%s\"", task->task->name, name);
    if (plan_asks(task, model))
        return;
    /* Put the model in its place by rank */
    int at = task->model_count++;
    for (; at > 0 && task->models[at - 1]->rank > model->rank; at--) {
        task->models[at] = task->models[at - 1];
        task->extended[at] = task->extended[at - 1];
    }
    task->models[at] = model;
    task->extended[at] = listing->extended;
    listing->plan->models[model->rank].asked = true;
}

static void list_models(struct plan *plan, struct planned_task *task)
{
    const struct settings *s = plan->settings;
    const char *name = task->task->name;
    char *sections = text_format("%s finetune", name);
    size_t room = (size_t)plan->model_count;
    struct listing listing = {plan, task, false};
    task->models = allocate(room, sizeof *task->models);
    task->extended = allocate(room, sizeof *task->extended);
    each_name(s, sections, "models", add_to_task, &listing);
    bool own = settings_find(s, name, "models") || settings_find(s, name, "extended");
    listing.extended = true;
    if (plan->extended)
        each_name(s, own ? name : "finetune", "extended", add_to_task, &listing);
    free(sections);
}

static void add_task(void *context, const char *name)
{
    struct plan *plan = context;
    const struct settings *s = plan->settings;
    /* Make room for one more task */
    size_t room = (size_t)(plan->task_count + 1) * sizeof *plan->tasks;
    plan->tasks = realloc(plan->tasks, room);
    if (!plan->tasks)
        fail(name, "is one task too many for memory");
    struct planned_task *task = &plan->tasks[plan->task_count++];
    *task = (struct planned_task){.task = task_find(name)};
    /* Refuse a task without a training set */
    if (task->task->of)
        fail(settings_path(s), "[finetune] tasks: %s has no training set; it is "
             "predicted along with %s", name, task->task->of);
    char *sections = text_format("%s finetune", name);
    /* Read how a task is trained and examined */
    read_group(s, sections, task_group, task);
    read_group(s, sections, held_group, task);
    if (task->task->answer == A_SPAN)
        read_group(s, sections, stride_group, task);
    read_recipe(s, sections, &task->recipe);
    if (task->rehearsal && task->held_back == 0)
        fail(settings_path(s), "[finetune] exam: expected held-back to be 1 or more "
             "where held-back rows are predicted");
    task->seeds = settings_list(s, sections, "seeds", task->seed, MOST_SEEDS);
    list_models(plan, task);
    free(sections);
}

static void read_tasks(struct plan *plan)
{
    bool headlines = false;
    each_name(plan->settings, "finetune", "tasks", add_task, plan);
    for (int i = 0; i < plan->task_count; i++)
        headlines |= plan->tasks[i].task->headline;
    for (int i = 0; i < plan->task_count; i++) {
        const struct task *task = plan->tasks[i].task;
        plan->tasks[i].tier = task->headline || !headlines ? TIER_CORE
                              : task->answer == A_SPAN     ? TIER_SQUAD
                                                           : TIER_GLUE;
    }
}

/* Look things up in a plan */
const char *const tier_names[TIERS] = {"core", "seeds", "students", "ablations",
                                       "glue", "squad", "extended"};
const char *const tier_titles[TIERS] = {
    "teacher and student, one seed", "further seeds", "other students",
    "ablations", "other tasks", "questions and answers", "extended"};

const struct planned_model *plan_model(const struct plan *plan, const char *name)
{
    for (int i = 0; i < plan->model_count; i++)
        if (!strcmp(plan->models[i].name, name))
            return &plan->models[i];
    return NULL;
}

const struct planned_task *plan_task(const struct plan *plan, const char *name)
{
    for (const struct task *task = task_list; task->name; task++)
        if (!strcmp(task->name, name) && task->of)
            name = task->of;
    for (int i = 0; i < plan->task_count; i++)
        if (!strcmp(plan->tasks[i].task->name, name))
            return &plan->tasks[i];
    return NULL;
}

const struct planned_stage *plan_stage(const struct plan *plan, const char *name)
{
    for (int i = 0; i < plan->stage_count; i++)
        if (!strcmp(plan->stages[i].name, name))
            return &plan->stages[i];
    return NULL;
}

enum tier plan_tier(const char *name)
{
    for (enum tier tier = TIER_CORE; name && tier < TIERS; tier++)
        if (!strcmp(tier_names[tier], name))
            return tier;
    if (name) {
        /* Refuse a tier that is none */
        char *known = text_format("%s", tier_names[TIER_CORE]);
        for (enum tier tier = TIER_CORE + 1; tier < TIERS; tier++) {
            char *longer = text_format("%s%s%s", known, tier + 1 < TIERS ? ", " : " or ",
                                       tier_names[tier]);
            free(known);
            known = longer;
        }
        fail("UNTIL", "expected %s, found \"%s\"", known, name);
    }
    return TIERS - 1;
}

bool plan_asks(const struct planned_task *task, const struct planned_model *model)
{
    for (int i = 0; i < task->model_count; i++)
        if (task->models[i] == model)
            return true;
    return false;
}

static bool is_undistilled(const struct planned_model *model)
{
    return model && (model->from || model->replaces);
}

int plan_distillation(const struct planned_model *model, int place)
{
    return place % model->seeds;
}

char *plan_distilled(const struct planned_model *model, int distillation)
{
    const struct planned_model *first = model->from ? model->from : model;
    return distillation == 0 ? text_format("%s", first->name)
                             : text_format("%s.%d", first->name, distillation + 1);
}

const struct planned_model *plan_student(const struct plan *plan, const char *name,
                                         int *distillation)
{
    for (int i = 1; i < plan->model_count; i++) {
        const struct planned_model *model = &plan->models[i];
        for (int d = 0; !is_undistilled(model) && d < model->seeds; d++) {
            char *distilled = plan_distilled(model, d);
            bool found = !strcmp(distilled, name);
            free(distilled);
            *distillation = d;
            if (found)
                return model;
        }
    }
    return NULL;
}

struct teaching plan_teaching(const struct plan *plan, const struct planned_task *task,
                              const char *model)
{
    struct teaching teaching = {0};
    char *sections = text_format("%s %s finetune", model, task->task->name);
    read_group(plan->settings, sections, teacher_group, &teaching);
    if (teaching.teachers)
        read_group(plan->settings, sections, teaching_group, &teaching);
    /* Refuse what cannot be heard */
    if (teaching.teachers
        && !(teaching.soft >= 0 && teaching.soft <= 1 && teaching.temperature > 0))
        fail(model, "expected soft from 0 to 1 and temperature above 0");
    free(sections);
    return teaching;
}

struct recipe plan_recipe(const struct plan *plan, const struct planned_task *task,
                          const char *model)
{
    struct recipe recipe = task->recipe;
    if (is_undistilled(plan_model(plan, model))) {
        char *sections = text_format("%s %s finetune", model, task->task->name);
        read_recipe(plan->settings, sections, &recipe);
        free(sections);
    }
    return recipe;
}

/* List the stages */
static struct planned_stage *add_stage(struct plan *plan, struct planned_stage stage)
{
    size_t room = (size_t)(plan->stage_count + 1) * sizeof *plan->stages;
    plan->stages = realloc(plan->stages, room);
    if (!plan->stages)
        fail(settings_path(plan->settings), "has too many stages for memory");
    stage.needs = allocate(MOST_SEEDS + 1, sizeof *stage.needs);
    plan->stages[plan->stage_count] = stage;
    return &plan->stages[plan->stage_count++];
}

static void need(const struct plan *plan, struct planned_stage *stage, const char *name)
{
    for (int i = 0; i < plan->stage_count; i++)
        if (!strcmp(plan->stages[i].name, name))
            stage->needs[stage->need_count++] = i;
}

static bool is_distilled(const struct plan *plan, const struct planned_model *model)
{
    bool wanted = model->asked;
    for (int i = 0; i < plan->model_count; i++)
        wanted |= plan->models[i].asked && plan->models[i].from == model;
    return model->student && !is_undistilled(model) && wanted;
}

static void add_distillations(struct plan *plan, const struct planned_model *model)
{
    for (int d = 0; d < model->seeds; d++) {
        char *distilled = plan_distilled(model, d);
        struct planned_stage *stage = add_stage(
            plan, (struct planned_stage){.kind = DISTILL, .model = model,
                                         .name = text_format("distill-%s", distilled),
                                         .seed = model->seed[d], .distillation = d,
                                         .tier = TIERS});
        need(plan, stage, "teacher");
        free(distilled);
    }
}

static enum tier later(enum tier a, enum tier b)
{
    return a > b ? a : b;
}

static void need_teachers(struct plan *plan, struct planned_stage *stage, int count)
{
    const struct planned_task *task = stage->task;
    for (int i = 0; i < count; i++) {
        int seed = count == 1 ? stage->seed : task->seed[i];
        char *name = text_format("finetune-%s-teacher-%d", task->task->name, seed);
        need(plan, stage, name);
        plan->stages[stage->needs[stage->need_count - 1]].kept = true;
        free(name);
    }
}

static void check_teachers(const struct plan *plan, const struct planned_task *task,
                           const struct planned_model *model, int count)
{
    int trained = plan_asks(task, &plan->models[0]) ? task->seeds : 0;
    if (count > trained)
        fail(settings_path(plan->settings), "%s %s %d teachers of %s, which has %d; "
             "a teacher is trained for each of its seeds", model->name,
             model->replaces ? "needs" : "hears", count, task->task->name, trained);
}

static void need_distillation(struct plan *plan, struct planned_stage *stage)
{
    char *distilled = plan_distilled(stage->model, stage->distillation);
    char *parent = stage->model->student ? text_format("distill-%s", distilled)
                                         : text_format("teacher");
    need(plan, stage, parent);
    free(parent);
    free(distilled);
}

static void add_finetuning(struct plan *plan, const struct planned_task *task, int m,
                           int place)
{
    const struct planned_model *model = task->models[m];
    int seed = task->seed[place], d = plan_distillation(model, place);
    enum tier tier = later(task->tier, task->extended[m] ? TIER_EXTENDED : model->tier);
    struct planned_stage *stage = add_stage(
        plan, (struct planned_stage){
                  .kind = FINETUNE, .model = model, .task = task, .seed = seed,
                  .name = text_format("finetune-%s-%s-%d", task->task->name,
                                      model->name, seed),
                  .distillation = d, .tier = place ? later(tier, TIER_SEEDS) : tier});
    /* Say which stages a fine-tuning needs */
    int heard = plan_teaching(plan, task, model->name).teachers;
    plan_recipe(plan, task, model->name);
    check_teachers(plan, task, model, heard ? heard : model->replaces);
    if (!model->replaces)
        need_distillation(plan, stage);
    else if (heard != 1)
        need_teachers(plan, stage, 1);
    need_teachers(plan, stage, heard);
}

static void list_stages(struct plan *plan)
{
    add_stage(plan, (struct planned_stage){.kind = PRETRAIN,
                                           .model = &plan->models[0],
                                           .name = text_format("teacher"),
                                           .seed = (int)plan->seed});
    for (int i = 0; i < plan->model_count; i++)
        if (is_distilled(plan, &plan->models[i]))
            add_distillations(plan, &plan->models[i]);
    for (int t = 0; t < plan->task_count; t++)
        for (int m = 0; m < plan->tasks[t].model_count; m++)
            for (int place = 0; place < plan->tasks[t].seeds; place++)
                add_finetuning(plan, &plan->tasks[t], m, place);
}

/* Put the stages in order */
static void hasten(struct plan *plan)
{
    for (int i = plan->stage_count - 1; i >= 0; i--) {
        const struct planned_stage *stage = &plan->stages[i];
        for (int n = 0; n < stage->need_count; n++) {
            struct planned_stage *needed = &plan->stages[stage->needs[n]];
            needed->tier = needed->tier < stage->tier ? needed->tier : stage->tier;
        }
    }
}

static void order_stages(struct plan *plan)
{
    size_t count = (size_t)plan->stage_count;
    struct planned_stage *sorted = allocate(count, sizeof *sorted);
    int *places = allocate(count, sizeof *places), at = 0;
    for (enum tier tier = TIER_CORE; tier < TIERS; tier++)
        for (int i = 0; i < plan->stage_count; i++)
            if (plan->stages[i].tier == tier) {
                places[i] = at;
                sorted[at++] = plan->stages[i];
            }
    /* Number what they need anew */
    for (int i = 0; i < at; i++)
        for (int n = 0; n < sorted[i].need_count; n++)
            sorted[i].needs[n] = places[sorted[i].needs[n]];
    free(places);
    free(plan->stages);
    plan->stages = sorted;
    plan->stage_count = at;
}

/* Open a plan */
struct plan *plan_open(struct settings *settings)
{
    struct plan *plan = allocate(1, sizeof *plan);
    plan->settings = settings;
    refuse_slips(settings);
    read_group(settings, "run", run_group, plan);
    if (plan->toyland)
        read_group(settings, "toyland", toyland_group, plan);
    read_teacher(plan);
    read_models(plan);
    read_tasks(plan);
    list_stages(plan);
    hasten(plan);
    order_stages(plan);
    return plan;
}

void plan_close(struct plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        free(plan->stages[i].name);
        free(plan->stages[i].needs);
    }
    for (int i = 0; i < plan->task_count; i++) {
        free(plan->tasks[i].models);
        free(plan->tasks[i].extended);
    }
    free(plan->stages);
    free(plan->tasks);
    free(plan->models);
    settings_close(plan->settings);
    free(plan);
}

/* Tell what a stage is made with */
/* What to do with a setting that a stage reads. general: the last of its sections. */
typedef void use_setting(void *context, const struct field *field, const char *general,
                         const struct setting *setting);

static void go_through(const struct settings *s, const char *sections,
                       struct group group, use_setting *use, void *context)
{
    const char *last = strrchr(sections, ' ');
    for (int i = 0; i < group.count; i++) {
        const struct field *field = &group.fields[i];
        const struct setting *setting = settings_find(s, sections, field->key);
        if (setting)
            use(context, field, last ? last + 1 : sections, setting);
    }
}

static void go_through_texts(const struct settings *s, const char *sections,
                             const struct corpus_settings *corpus, use_setting *use,
                             void *context)
{
    char *texts = text_format("%s corpus", sections);
    go_through(s, sections, recipe_group, use, context);
    go_through(s, sections, pad_group, use, context);
    go_through(s, texts, text_group, use, context);
    go_through(s, "corpus", line_group, use, context);
    for (int i = 0; i < corpus->task_count; i++) {
        char *task = text_format("%s finetune", corpus->tasks[i].task->name);
        go_through(s, task, held_group, use, context);
        free(task);
    }
    free(texts);
}

static void go_through_distillation(const struct plan *plan, const char *student,
                                    use_setting *use, void *context)
{
    const struct settings *s = plan->settings;
    int distillation;
    const struct planned_model *model = plan_student(plan, student, &distillation);
    char *sections = text_format("%s distill", model->name);
    go_through(s, sections, student_group, use, context);
    go_through(s, sections, layer_group, use, context);
    if (model->initial == INITIAL_FOLDER)
        go_through(s, sections, folder_group, use, context);
    if (model->losses.relations > 0)
        go_through(s, sections, relation_group, use, context);
    go_through_texts(s, sections, &model->corpus, use, context);
    free(sections);
}

static void go_through_replacing(const struct plan *plan, const char *model,
                                 use_setting *use, void *context)
{
    const struct settings *s = plan->settings;
    char *sections = text_format("%s distill", model);
    go_through(s, sections, layer_group, use, context);
    go_through(s, model, replacing_group, use, context);
    free(sections);
}

static void go_through_task(const struct plan *plan, const struct planned_task *task,
                            const char *model, use_setting *use, void *context)
{
    const struct settings *s = plan->settings;
    char *sections = text_format("%s finetune", task->task->name),
         *heard = text_format("%s %s", model, sections);
    go_through(s, sections, list_group, use, context);
    go_through(s, sections, task_group, use, context);
    go_through(s, sections, held_group, use, context);
    const struct planned_model *planned = plan_model(plan, model);
    if (task->task->answer == A_SPAN)
        go_through(s, sections, stride_group, use, context);
    /* Go through what the model has of its own */
    go_through(s, is_undistilled(planned) ? heard : sections, recipe_group, use,
               context);
    if (planned && planned->replaces)
        go_through_replacing(plan, model, use, context);
    go_through(s, heard, teacher_group, use, context);
    if (plan_teaching(plan, task, model).teachers)
        go_through(s, heard, teaching_group, use, context);
    free(heard);
    free(sections);
}

static void go_through_stage(const struct plan *plan, enum stage_kind kind,
                             const char *model, const char *task, use_setting *use,
                             void *context)
{
    const struct settings *s = plan->settings;
    go_through(s, "run", run_group, use, context);
    if (kind == PRETRAIN) {
        go_through(s, "teacher", source_group, use, context);
        if (plan->scratch)
            go_through(s, "teacher", scratch_group, use, context);
        go_through_texts(s, plan->scratch ? "teacher" : "head", &plan->corpus, use,
                         context);
    } else if (kind == DISTILL) {
        go_through_distillation(plan, model, use, context);
    } else {
        go_through_task(plan, plan_task(plan, task), model, use, context);
    }
}

static void put_into_json(void *context, const struct field *field,
                          const char *general, const struct setting *setting)
{
    (void)field, (void)general;
    char *name = text_format("%s.%s", setting->section, setting->key);
    json_object_set_new(context, name, json_string(setting->value));
    free(name);
}

json_t *plan_settings(const struct plan *plan, enum stage_kind kind, const char *model,
                      const char *task)
{
    json_t *object = json_object();
    go_through_stage(plan, kind, model, task, put_into_json, object);
    return object;
}

static void put_into_lines(void *context, const struct field *field,
                           const char *general, const struct setting *setting)
{
    char **lines = context;
    if (field->idle)
        return;
    char *longer = text_format("%s[%s] %s = %s\n", *lines, general, field->key,
                               setting->value);
    free(*lines);
    *lines = longer;
}

char *plan_hashed(const struct plan *plan, enum stage_kind kind, const char *model,
                  const char *task)
{
    char *lines = text_format("%s", "");
    go_through_stage(plan, kind, model, task, put_into_lines, &lines);
    return lines;
}
