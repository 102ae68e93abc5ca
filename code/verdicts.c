/* Tangled from chapters/55-verdicts.md; edit there. */
#include "verdicts.h"
#include "file.h"
#include "json.h"
#include "stage.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Decide by an interval */
enum verdict verdict_reaches(const struct estimate *measured, double bound)
{
    return !measured->bounded      ? UNDECIDED
           : measured->low >= bound ? PASS
           : measured->high < bound ? FAIL : UNDECIDED;
}

enum verdict verdict_costs(const struct estimate *change)
{
    return !change->bounded  ? UNDECIDED
           : change->high < 0 ? PASS
           : change->low > 0  ? FAIL : UNDECIDED;
}

enum verdict verdict_agrees(const struct estimate *a, const struct estimate *b)
{
    return !a->bounded || !b->bounded                   ? UNDECIDED
           : a->low <= b->high && b->low <= a->high ? PASS : FAIL;
}

/* State what was claimed */
#define PAPER .published = 97, .path = "paper.retention", .tasks = 9, .quiet = 0.287
#define COURSE .published = 94.35, .path = "course.retention", .tasks = 3, .quiet = 1
#define KEEPS(model, who) \
    {"paper", who " keeps %s %% (the paper)", RETENTION, model, PAPER}, \
    {"course", who " keeps %s %% (the course project)", RETENTION, model, COURSE}
#define HELPS(model, part, points, key) \
    {"term." model, part, CHANGE, model, .published = points, \
     .path = "paper.table4." key}

const struct claim claims[] = {
    KEEPS("student", "the student"),
    KEEPS("student-released", "the released student"),
    {"hour", "half the layers can keep %s %% within an hour", MOST_KEPT, NULL, PAPER},
    {"smaller", "the student is %s %% smaller (the paper)", SMALLER, "student",
     .published = 40, .path = "paper.smaller"},
    {"faster", "it is %s %% faster on one core (the paper)", FASTER_ONE, "student",
     .published = 60, .path = "paper.faster"},
    HELPS("student-no-kl", "soft targets help", -2.96, "kl"),
    HELPS("student-no-cosine", "the cosine helps", -1.46, "cosine"),
    HELPS("student-no-mlm", "masked words help", -0.31, "mlm"),
    HELPS("student-random", "the teacher's layers help", -3.69, "random"),
    {.name = NULL}};

const struct noise noise[] = {{"cola", 59.04, 1.06}, {"mrpc", 88.97, 0.72},
                              {"rte", 64.76, 1.04},  {"sst2", 92.23, 0.57},
                              {"stsb", 88.94, 0.07}, {.task = NULL}};

double claim_tolerance(const struct claim *claim)
{
    double squares = 0, count = 0;
    for (const struct noise *n = noise; n->task; n++, count++)
        squares += n->deviation / n->mean * (n->deviation / n->mean);
    return claim->quantity == SMALLER
               ? claim->published - 100 * (1 - 66955010 / 109483778.0)
           : claim->tasks == 0
               ? 0
               : 1.96 * claim->published
                     * sqrt(2 * claim->quiet * squares / count / claim->tasks);
}

/* Judge a claim */
static bool is_held(const struct claim *claim, const struct findings *findings,
                    bool toyland)
{
    bool kept = claim->quantity == RETENTION || claim->quantity == MOST_KEPT;
    return !kept || (!toyland && finding_of(findings, claim->quantity, NULL,
                                            claim->model)->quantity);
}

static const char *objection(const struct claim *claim, const struct findings *findings)
{
    bool scores = claim->quantity == RETENTION || claim->quantity == MOST_KEPT
               || claim->quantity == CHANGE, taught = findings->student == TAUGHT
               || !claim->model || !strcmp(claim->model, "student-released");
    return claim->quantity == RETENTION && !findings_three(findings, claim->model)
               ? "other tasks count than the claim's"
           : scores && !taught ? "the student was not distilled" : NULL;
}

static const char *reason(const struct finding *f, bool cost, enum verdict verdict)
{
    static const char *const unbounded[] = {
        [NO_TASK] = "no task counts", [NEAR_ZERO] = "the teacher is too near zero",
        [NO_PARTS] = "the benchmark kept no parts",
        [NO_STUDENT] = "no small student took an hour or less"};
    static const char *const reasons[][3] = {
        {"the bound lies inside", "lies wholly at or above", "lies wholly below"},
        {"0 lies inside", "lies wholly below", "lies wholly above"}};
    return f->is.bounded      ? reasons[cost][verdict]
           : f->why < NO_TASK ? "not measured in this run" : unbounded[f->why];
}

static struct judgement judge(const struct claim *claim,
                              const struct findings *findings, bool toyland)
{
    const struct finding *f = finding_of(findings, claim->quantity, NULL, claim->model);
    bool cost = claim->quantity == CHANGE, bare = cost && toyland;
    double figure = claim->published,
           bound = cost ? 0 : figure - claim_tolerance(claim);
    const char *against = objection(claim, findings),
               *published = rounded(figure, figure == floor(figure) ? 0 : 2);
    struct judgement j = {
        .held = claim,
        .name = claim->quantity == RETENTION
                    ? say("retention.%s.%s", claim->model, claim->name) : claim->name,
        .claim = bare ? claim->title
                 : say(cost ? "%s (the paper: %s without)" : claim->title,
                       cost ? claim->title : published, published),
        .asked = cost ? "below 0"
                      : say("at least %s", rounded(bound, bound != floor(bound))),
        .measured = *f,
        .verdict = against ? UNDECIDED
                   : cost ? verdict_costs(&f->is) : verdict_reaches(&f->is, bound)};
    j.measured.quantity = claim->quantity; /* also of what was not measured */
    j.why = against && f->is.bounded ? against : reason(f, cost, j.verdict);
    return j;
}

/* Judge whether two runs agree */
/* Of what two summaries both have in a part of them: how much, how much of it differs,
   and the first that does, or NULL. */
struct common {
    int all, others;
    const char *first;
};

static struct common compare_part(const json_t *a, const json_t *b, const char *part)
{
    static const char *const free_ones[] = {".tasks", ".models", ".extended", ".seeds"};
    struct common common = {0, 0, NULL};
    const char *key;
    json_t *here, *there;
    json_object_foreach(json_object_get(a, part), key, here) {
        bool may = !strncmp(key, "run.", 4);
        for (int i = 0; i < 4; i++)
            may |= text_ends(key, free_ones[i]);
        there = json_object_get(json_object_get(b, part), key);
        common.all += there && !may;
        if (there && !may && !json_equal(here, there) && common.others++ == 0)
            common.first = key;
    }
    return common;
}

/* The same finding in the summary of another run; NULL if it is not there, or not asked
   for. */
static const json_t *find_there(const struct finding *f, const json_t *summary,
                                const json_t *reference)
{
    const char *model = f->model ? f->model->name : "";
    bool own = !strcmp(model, "student");
    if (!own && strcmp(model, "teacher") && strcmp(model, "student-released"))
        return NULL;
    if (f->quantity == SCORE && f->sheet)
        return json_at(reference,
                       say("tasks/%s/median/%s", f->sheet->task->name, model));
    if (f->quantity != RETENTION || f->sheet)
        return NULL;
    const char *path = own ? "retention" : say("students/%s", model);
    const json_t *there = json_at(reference, path);
    return json_equal(json_at(json_at(summary, path), "counted"),
                      json_at(there, "counted")) ? there : NULL;
}

static struct judgement compare(const struct finding *f, const json_t *found,
                                const char *run, const char *difference)
{
    struct finding other = *f;
    other.is = estimate_read(found, f->quantity == SCORE ? "score" : "mean");
    const char *key = f->sheet ? f->sheet->task->name : "retention";
    struct judgement j = {
        .name = say("reference.%s.%s.%s", run, key, f->model->name),
        .claim = say("%s of the %s, as in %s", f->sheet ? f->sheet->title : key,
                     f->model->title, run),
        .asked = say("meets %s", finding_measured(&other)),
        .measured = *f, .run = run, .other = other.is,
        .verdict = difference ? UNDECIDED : verdict_agrees(&f->is, &other.is)};
    j.why = !f->is.bounded       ? "this run has no interval"
            : difference         ? difference
            : !other.is.bounded  ? "the committed run has no interval"
            : j.verdict == PASS  ? "the intervals meet" : "the intervals do not meet";
    return j;
}

/* Whether the models and predictions of a run are those of a committed one, for people;
   NULL if either promises no bits, or they have none in common. */
static const char *compare_bits(const json_t *summary, const char *run,
                                const json_t *reference, const char *difference)
{
    struct common sums = compare_part(summary, reference, "sums");
    if (difference && json_at(summary, "sums") && json_at(reference, "sums"))
        return say("not compared with the committed run %s: %s", run, difference);
    return sums.first
               ? say("not identical to the committed run %s: of %d models and "
                     "predictions compared, %d %s, first %s", run, sums.all,
                     sums.others, sums.others == 1 ? "differs" : "differ", sums.first)
           : sums.all > 0
               ? say("identical to the committed run %s: %d models and predictions "
                     "compared, all the same", run, sums.all)
               : NULL;
}

/* Adds what a committed run says of this one. */
static void compare_runs(struct judgements *list, const struct findings *findings,
                         const json_t *summary, const char *run,
                         const json_t *reference, struct words *bits)
{
    const char *first = compare_part(summary, reference, "settings").first;
    first = first ? first : compare_part(summary, reference, "data").first;
    const char *difference = first ? say("%s differs", first) : NULL;
    for (int i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        const json_t *found = find_there(f, summary, reference);
        if (found)
            list->list[list->count++] = compare(f, found, run, difference);
    }
    const char *said = compare_bits(summary, run, reference, difference);
    if (said)
        words_add(bits, said);
}

/* Judge a run */
struct verdicts *verdicts_judge(const struct findings *findings, bool toyland,
                                const json_t *summary, const json_t *references)
{
    struct verdicts *verdicts = kept(allocate(1, sizeof *verdicts));
    size_t most = (size_t)findings->count * json_object_size(references) + 1;
    const char *name;
    json_t *reference;
    struct words bits = {NULL, 0};
    *verdicts = (struct verdicts){
        toyland,
        {"claim", "this run",
         kept(allocate(sizeof claims / sizeof *claims, sizeof(struct judgement))), 0},
        {"number", "committed runs",
         kept(allocate(most, sizeof(struct judgement))), 0}, ""};
    for (const struct claim *c = claims; c->name; c++)
        if (is_held(c, findings, toyland))
            verdicts->claims.list[verdicts->claims.count++] =
                judge(c, findings, toyland);
    json_object_foreach((json_t *)references, name, reference) {
        compare_runs(&verdicts->agreement, findings, summary, name, reference, &bits);
    }
    verdicts->bits = words_joined(&bits, "; ");
    return verdicts;
}

/* Write the verdicts */
static const char *about(bool toyland)
{
    return toyland ? "Toyland is a generated language: what is claimed of English is "
                     "not judged here, and what a part of the recipe is worth is said "
                     "of Toyland alone."
                   : "The claims are held against real text.";
}

static const char *const verdict_names[] = {"not decided", "PASS", "FAIL"};

/* A verdict by its name, with where it holds. */
static const char *placed(const char *name, bool toyland)
{
    return say("%s%s", name, toyland && *name != 'n' ? " on Toyland" : "");
}

const char *verdict_said(enum verdict verdict, bool toyland)
{
    return placed(verdict_names[verdict], toyland);
}

const char *verdicts_said(const struct judgements *list, bool toyland)
{
    static const char *const verbs[][2] = {
        {"are not decided", "is not decided"}, {"pass", "passes"}, {"fail", "fails"}};
    static const enum verdict order[] = {PASS, FAIL, UNDECIDED};
    struct words parts = {NULL, 0};
    for (int i = 0; i < 3; i++) {
        int count = 0;
        for (int k = 0; k < list->count; k++)
            count += list->list[k].verdict == order[i];
        if (count > 0)
            words_add(&parts, placed(say("%d %s", count, verbs[order[i]][count == 1]),
                                     toyland && order[i] != UNDECIDED));
    }
    return list->count == 0 ? say("No %s is held against %s", list->what, list->against)
                            : say("%s %s held against %s: %s",
                                  count_said(list->count, list->what),
                                  list->count == 1 ? "is" : "are", list->against,
                                  words_said(&parts));
}

void verdicts_set(const struct verdicts *verdicts, json_t *values)
{
    bool toyland = verdicts->toyland;
    value_set(values, verdicts_said(&verdicts->claims, toyland), "verdicts.sentence");
    if (verdicts->agreement.count > 0)
        value_set(values, verdicts_said(&verdicts->agreement, toyland),
                  "agreement.sentence");
    value_set(values, verdicts->bits, "bits");
    value_set(values, about(toyland), "verdicts.about");
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim_tolerance(claim) > 0)
            value_set(values, rounded(claim_tolerance(claim), 1), "tolerance.%s",
                      claim->name);
}

static json_t *judgement_json(const struct judgement *j, bool toyland)
{
    const struct claim *held = j->held;
    bool figure = held && (held->quantity != CHANGE || !toyland);
    json_t *there = estimate_json(&j->other, "value"),
           *object = estimate_json(&j->measured.is, "measured"), *others;
    if (j->run)
        json_object_set_new(there, "run", json_string(j->run));
    others = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:O*, s:o*, s:o*}", "name", j->name, "claim",
        j->claim, "asked", j->asked, "text", finding_measured(&j->measured), "verdict",
        verdict_names[j->verdict], "why", j->why, "reference", held ? NULL : there,
        "published", figure ? json_real(held->published) : NULL, "tolerance",
        figure ? json_real(claim_tolerance(held)) : NULL);
    json_object_update(object, others);
    json_decref(others);
    json_decref(there);
    return object;
}

json_t *verdicts_json(const struct verdicts *verdicts, const json_t *summary)
{
    const struct judgements *lists[] = {&verdicts->claims, &verdicts->agreement};
    bool toyland = verdicts->toyland;
    json_t *arrays[] = {json_array(), json_array()};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < lists[i]->count; k++)
            json_array_append_new(arrays[i],
                                  judgement_json(&lists[i]->list[k], toyland));
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s}, s:o, s:o, s:O*, s:O*, s:O*, s:O*}",
                     "data", toyland ? "toyland" : "real", "about", about(toyland),
                     "bits", verdicts->bits, "counts", "claims",
                     verdicts_said(lists[0], toyland), "agreement",
                     verdicts_said(lists[1], toyland), "claims", arrays[0],
                     "agreement", arrays[1], "profile", json_at(summary, "profile"),
                     "device", json_at(summary, "device"), "date",
                     json_at(summary, "date"), "code", json_at(summary, "code"));
}

/* Print the verdicts */
void verdicts_print(const char *folder)
{
    static const char *const lists[] = {"claims", "agreement"};
    const char *path = say("%s/verdicts.json", folder);
    if (!file_exists(path))
        fail(path, "expected the verdicts of a finished run; make verify finishes one");
    json_t *verdicts = json_read(path), *j;
    bool toyland = !strcmp(text_at(verdicts, "data", ""), "toyland");
    printf("profile %s on %s, finished on %s\n%s\n", text_at(verdicts, "profile", "–"),
           text_at(verdicts, "device", "–"), text_at(verdicts, "date", "–"),
           text_at(verdicts, "about", ""));
    const char *bits = text_at(verdicts, "bits", "");
    if (*bits)
        printf("%s\n", bits);
    for (int i = 0; i < 2; i++) {
        json_t *list = json_object_get(verdicts, lists[i]);
        size_t k;
        if (json_array_size(list) > 0)
            printf("\n%s\n", text_at(verdicts, say("counts/%s", lists[i]), ""));
        json_array_foreach(list, k, j) {
            printf("%-15s  %s: %s; asked: %s; %s\n",
                   placed(text_at(j, "verdict", ""), toyland), text_at(j, "claim", ""),
                   text_at(j, "text", ""), text_at(j, "asked", ""),
                   text_at(j, "why", ""));
        }
    }
    json_decref(verdicts);
}

static const char verdicts_usage[] =
    "usage: distil verdicts --run DIR\n"
    "\n"
    "Prints the verdict on each claim, and on the agreement with committed runs of\n"
    "the same profile, that `distil results` left in the run's folder.\n"
    "\n"
    "  --run DIR  a finished run, results/mini say\n";

int verdicts_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, verdicts_usage, "--run");
    verdicts_print(stage.run);
    forget();
    stage_close(&stage);
    return 0;
}
