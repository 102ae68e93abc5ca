/* Tangled from chapters/55-verdicts.md; edit there. */
#include "verdicts.h"
#include "file.h"
#include "json.h"
#include "stage.h"
#include "values.h"

#include <math.h>
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
    return !a->bounded || !b->bounded               ? UNDECIDED
           : a->low <= b->high && b->low <= a->high ? PASS : FAIL;
}

/* State what was claimed */
#define PAPER 97, "paper.retention", 0.287 / 9
#define COURSE 94.35, "course.retention", 1 / 3.0

const struct claim claims[] = {
    {"paper", "the student keeps 97 % (the paper)", RETENTION, "student", PAPER},
    {"course", "the student keeps 94.35 % (the course project)", RETENTION, "student",
     COURSE},
    {"paper", "the released student keeps 97 % (the paper)", RETENTION,
     "student-released", PAPER},
    {"course", "the released student keeps 94.35 % (the course project)", RETENTION,
     "student-released", COURSE},
    {"hour", "half the layers can keep 97 % within an hour", MOST_KEPT, NULL, PAPER},
    {"smaller", "the student is 40 % smaller (the paper)", SMALLER, "student",
     40, "paper.smaller", 0},
    {"faster", "it is 60 % faster on one core (the paper)", FASTER_ONE, "student",
     60, "paper.faster", 0},
    {"term", "soft targets help", CHANGE, "student-no-kl",
     -2.96, "paper.table4.kl", 0},
    {"term", "the cosine helps", CHANGE, "student-no-cosine",
     -1.46, "paper.table4.cosine", 0},
    {"term", "masked words help", CHANGE, "student-no-mlm",
     -0.31, "paper.table4.mlm", 0},
    {"term", "the teacher's layers help", CHANGE, "student-random",
     -3.69, "paper.table4.random", 0},
    {.name = NULL}};

double claim_tolerance(const struct claim *claim)
{
    return claim->quantity == SMALLER
               ? claim->published - 100 * (1 - 66955010 / 109483778.0)
               : measure_tolerance(claim->published, claim->share);
}

/* Judge a claim */
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
                              const struct findings *findings)
{
    const struct finding *f = finding_of(findings, claim->quantity, NULL, claim->model);
    bool cost = claim->quantity == CHANGE, keeps = claim->quantity == RETENTION,
         taught = findings->student == TAUGHT;
    double bound = claim->published - claim_tolerance(claim);
    const char *other =
        keeps && !findings_three(findings, claim->model)
            ? "other tasks count than the claim's"
        : (keeps || cost) && !taught && strcmp(claim->model, "student-released")
            ? "the student was not distilled" : NULL;
    enum verdict verdict = other  ? UNDECIDED
                           : cost ? verdict_costs(&f->is)
                                  : verdict_reaches(&f->is, bound);
    struct judgement j = {
        cost    ? say("term.%s", claim->model)
        : keeps ? say("retention.%s.%s", claim->model, claim->name) : claim->name,
        claim, claim->title, cost ? "below 0" : say("at least %s", rounded(
                                                    bound, bound != floor(bound))),
        *f, verdict, other && f->is.bounded ? other : reason(f, cost, verdict)};
    j.measured.quantity = claim->quantity; /* also of what was not measured */
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
    const char *mean = own ? "retention" : say("students/%s", model);
    return f->quantity == RETENTION && !f->sheet
                   && json_equal(json_at(summary, say("%s/counted", mean)),
                                 json_at(reference, say("%s/counted", mean)))
               ? json_at(reference, mean) : NULL;
}

static struct judgement compare(const struct finding *f, const json_t *there,
                                const char *run, const char *difference)
{
    const char *task = f->sheet ? f->sheet->task->name : "retention",
               *title = f->sheet ? f->sheet->title : task, *model = f->model->title;
    struct finding other = *f;
    other.is = estimate_read(there, f->quantity == SCORE ? "score" : "mean");
    enum verdict verdict = difference ? UNDECIDED : verdict_agrees(&f->is, &other.is);
    return (struct judgement){
        say("reference.%s.%s.%s", run, task, f->model->name), NULL,
        say("%s of the %s, as in %s", title, model, run),
        say("meets %s", finding_measured(&other)), *f, verdict,
        !f->is.bounded      ? "this run has no interval"
        : difference        ? difference
        : !other.is.bounded ? "the committed run has no interval"
        : verdict == PASS   ? "the intervals meet" : "the intervals do not meet"};
}

/* Adds what a committed run says of this one to a list of judgements; of bits, if both
   promise some, to what is said of these. */
static void compare_runs(struct judgements *list, const struct findings *findings,
                         const json_t *summary, const char *run,
                         const json_t *reference, struct words *bits)
{
    const char *first = compare_part(summary, reference, "settings").first;
    first = first ? first : compare_part(summary, reference, "data").first;
    const char *difference = first ? say("%s differs", first) : NULL;
    for (int i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->list[i];
        const json_t *there = find_there(f, summary, reference);
        if (there)
            list->list[list->count++] = compare(f, there, run, difference);
    }
    struct common sums = compare_part(summary, reference, "sums");
    if (sums.all > 0)
        words_add(bits,
                  difference ? say("not compared with the committed run %s: %s", run,
                                   difference)
                  : sums.first ? say("not identical to the committed run %s in %d of "
                                     "%d models and predictions, first %s",
                                     run, sums.others, sums.all, sums.first)
                  : say("identical to the committed run %s: %d models and predictions "
                        "compared, all the same", run, sums.all));
}

/* Judge a run */
struct verdicts *verdicts_judge(const struct findings *findings, bool toyland,
                                const json_t *summary, const json_t *references)
{
    size_t most = (size_t)findings->count * json_object_size(references) + 1;
    struct judgement *held = kept(allocate(sizeof claims / sizeof *claims,
                                           sizeof *held)),
                     *compared = kept(allocate(most, sizeof *compared));
    struct verdicts *verdicts = kept(allocate(1, sizeof *verdicts));
    *verdicts = (struct verdicts){
        {"claim", "this run", toyland, held, 0},
        {"number", "committed runs", toyland, compared, 0}, ""};
    const char *name;
    json_t *reference;
    struct words bits = {NULL, 0};
    for (const struct claim *c = claims; c->name; c++)
        if (c->share == 0
            || (!toyland
                && finding_of(findings, c->quantity, NULL, c->model)->quantity))
            held[verdicts->claims.count++] = judge(c, findings);
    json_object_foreach((json_t *)references, name, reference) {
        compare_runs(&verdicts->agreement, findings, summary, name, reference, &bits);
    }
    verdicts->bits = words_joined(&bits, "; ");
    return verdicts;
}

/* Say the verdicts */
const char *verdict_said(enum verdict verdict, bool toyland)
{
    static const char *const names[] = {"not decided", "PASS", "FAIL"};
    return say("%s%s", names[verdict], verdict && toyland ? " on Toyland" : "");
}

const char *verdicts_said(const struct judgements *list)
{
    static const char *const verbs[][2] = {
        {"are not decided", "is not decided"}, {"pass", "passes"}, {"fail", "fails"}};
    struct words counts = {NULL, 0};
    for (int i = 1; i <= 3; i++) { /* PASS, FAIL, and last what is not decided */
        int verdict = i % 3, count = 0;
        for (int k = 0; k < list->count; k++)
            count += (int)list->list[k].verdict == verdict;
        if (count > 0)
            words_add(&counts, say("%d %s%s", count, verbs[verdict][count == 1],
                                   verdict && list->toyland ? " on Toyland" : ""));
    }
    return list->count == 0 ? say("No %s is held against %s", list->what, list->against)
                            : say("%s %s held against %s: %s",
                                  count_said(list->count, list->what),
                                  list->count == 1 ? "is" : "are", list->against,
                                  words_said(&counts));
}


static const char *about(bool toyland)
{
    return toyland ? "Toyland is a generated language: what is claimed of English is "
                     "not judged here, and what a part of the recipe is worth is said "
                     "of Toyland alone."
                   : "The claims are held against real text.";
}

void verdicts_set(const struct verdicts *verdicts, json_t *values)
{
    value_set(values, verdicts_said(&verdicts->claims), "verdicts.sentence");
    if (verdicts->agreement.count > 0)
        value_set(values, verdicts_said(&verdicts->agreement), "agreement.sentence");
    value_set(values, verdicts->bits, "bits");
    value_set(values, about(verdicts->claims.toyland), "verdicts.about");
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim_tolerance(claim) > 0)
            value_set(values, rounded(claim_tolerance(claim), 1), "tolerance.%s",
                      claim->name);
}

static json_t *judgements_json(const struct judgements *list)
{
    json_t *array = json_array();
    for (const struct judgement *j = list->list; j < list->list + list->count; j++) {
        json_t *object = estimate_json(&j->measured.is, "measured"), *words = json_pack(
            "{s:s, s:s, s:s, s:s, s:s, s:s, s:o*, s:o*}", "name", j->name, "claim",
            j->claim, "asked", j->asked, "text", finding_measured(&j->measured),
            "verdict", verdict_said(j->verdict, list->toyland), "why", j->why,
            "published", j->held ? json_real(j->held->published) : NULL, "tolerance",
            j->held ? json_real(claim_tolerance(j->held)) : NULL);
        json_object_update(object, words);
        json_decref(words);
        json_array_append_new(array, object);
    }
    return array;
}

json_t *verdicts_json(const struct verdicts *verdicts, const json_t *summary)
{
    const struct judgements *claimed = &verdicts->claims,
                            *agreed = &verdicts->agreement;
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s}, s:o, s:o, s:O*, s:O*, s:O*, s:O*}",
                     "data", claimed->toyland ? "toyland" : "real", "about",
                     about(claimed->toyland), "bits", verdicts->bits, "counts",
                     "claims", verdicts_said(claimed), "agreement",
                     verdicts_said(agreed), "claims", judgements_json(claimed),
                     "agreement", judgements_json(agreed), "profile",
                     json_at(summary, "profile"), "device", json_at(summary, "device"),
                     "date", json_at(summary, "date"), "code",
                     json_at(summary, "code"));
}

/* Print the verdicts */
void verdicts_print(const char *folder)
{
    static const char *const lists[] = {"claims", "agreement"};
    const char *path = say("%s/verdicts.json", folder);
    if (!file_exists(path))
        fail(path, "expected the verdicts of a finished run; make verify finishes one");
    json_t *verdicts = json_read(path), *j;
    const char *bits = text_at(verdicts, "bits", "");
    size_t k;
    printf("profile %s on %s, finished on %s\n%s\n%s%s",
           text_at(verdicts, "profile", "–"), text_at(verdicts, "device", "–"),
           text_at(verdicts, "date", "–"), text_at(verdicts, "about", ""), bits,
           *bits ? "\n" : "");
    for (int i = 0; i < 2; i++) {
        const json_t *list = json_object_get(verdicts, lists[i]);
        if (json_array_size(list) > 0)
            printf("\n%s\n", text_at(verdicts, say("counts/%s", lists[i]), ""));
        json_array_foreach((json_t *)list, k, j) {
            printf("%-15s  %s: %s; asked: %s; %s\n", text_at(j, "verdict", ""),
                   text_at(j, "claim", ""), text_at(j, "text", ""),
                   text_at(j, "asked", ""), text_at(j, "why", ""));
        }
    }
    json_decref(verdicts);
}

static const char verdicts_usage[] =
    "usage: distil verdicts --run DIR\n"
    "\n"
    "Prints what `distil results` left in the folder of a run: the verdict on each\n"
    "claim, and on the agreement with committed runs of the same profile.\n";

int verdicts_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, verdicts_usage, "--run");
    verdicts_print(stage.run);
    forget();
    stage_close(&stage);
    return 0;
}
