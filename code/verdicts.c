/* Tangled from chapters/55-verdicts.md; edit there. */
#include "verdicts.h"
#include "fail.h"
#include "file.h"
#include "stage.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Decide by an interval */
enum verdict verdict_reaches(const struct estimate *measured, double bound)
{
    if (!measured->bounded)
        return UNDECIDED;
    return measured->low >= bound ? PASS : measured->high < bound ? FAIL : UNDECIDED;
}

enum verdict verdict_costs(const struct estimate *change)
{
    if (!change->bounded)
        return UNDECIDED;
    return change->high < 0 ? PASS : change->low > 0 ? FAIL : UNDECIDED;
}

enum verdict verdict_agrees(const struct estimate *a, const struct estimate *b)
{
    if (!a->bounded || !b->bounded)
        return UNDECIDED;
    return a->low <= b->high && b->low <= a->high ? PASS : FAIL;
}

/* State what was claimed */
const struct claim claims[] = {
    /* Claim that the student keeps so much */
    {"paper", "the student keeps %s %% (the paper)", RETENTION, "student", REACHES,
     97, 0, "paper.retention", 9, 0.287},
    {"course", "the student keeps %s %% (the course project)", RETENTION, "student",
     REACHES, 94.35, 2, "course.retention", 3, 1},
    {"paper", "the released student keeps %s %% (the paper)", RETENTION,
     "student-released", REACHES, 97, 0, "paper.retention", 9, 0.287},
    {"course", "the released student keeps %s %% (the course project)",
     RETENTION, "student-released", REACHES, 94.35, 2, "course.retention", 3, 1},
    /* Claim that an hour is enough */
    {"hour", "half the layers can keep %s %% within an hour", MOST_KEPT,
     NULL, REACHES, 97, 0, "paper.retention", 9, 0.287},
    /* Claim that the student is smaller and faster */
    {"smaller", "the student is %s %% smaller (the paper)", SMALLER, "student", REACHES,
     40, 0, "paper.smaller", 0, 0},
    {"faster", "it is %s %% faster on one core (the paper)", FASTER_ONE, "student",
     REACHES, 60, 0, "paper.faster", 0, 0},
    /* Claim that each term is worth something */
    {"term.student-no-kl", "soft targets help", CHANGE,
     "student-no-kl", COSTS, -2.96, 2, "paper.table4.kl", 0, 0},
    {"term.student-no-cosine", "the cosine helps", CHANGE,
     "student-no-cosine", COSTS, -1.46, 2, "paper.table4.cosine", 0, 0},
    {"term.student-no-mlm", "masked words help", CHANGE,
     "student-no-mlm", COSTS, -0.31, 2, "paper.table4.mlm", 0, 0},
    {"term.student-random", "the teacher's layers help", CHANGE,
     "student-random", COSTS, -3.69, 2, "paper.table4.random", 0, 0},
    {.name = NULL}};

const struct noise noise[] = {{"cola", 59.04, 1.06}, {"mrpc", 88.97, 0.72},
                              {"rte", 64.76, 1.04},  {"sst2", 92.23, 0.57},
                              {"stsb", 88.94, 0.07}, {.task = NULL}};

/* Allow for the noise of a claim */
double claim_tolerance(const struct claim *claim)
{
    if (claim->quantity == SMALLER)
        return claim->published - 100 * (1 - 66955010 / 109483778.0);
    if (claim->tasks == 0)
        return 0;
    double squares = 0;
    int count = 0;
    for (const struct noise *n = noise; n->task; n++, count++)
        squares += n->deviation / n->mean * (n->deviation / n->mean);
    return 1.96 * claim->published
           * sqrt(2 * claim->quiet * squares / count / claim->tasks);
}

/* Tell claims about English from others */
/* claimed_of_english: is the published figure one of scores? */
static bool claimed_of_english(const struct claim *claim)
{
    return claim->quantity == RETENTION || claim->quantity == MOST_KEPT
           || claim->quantity == CHANGE;
}

static const char *claim_said(const struct claim *claim, bool toyland)
{
    const char *published = rounded(claim->published, claim->decimals);
    if (claim->quantity != CHANGE)
        return say(claim->title, published);
    return toyland ? claim->title
                   : say("%s (the paper: %s without)", claim->title, published);
}

/* Judge a claim */
static void note(struct judgements *judgements, struct judgement judgement)
{
    size_t room = (size_t)(judgements->count + 1) * sizeof judgement;
    judgements->list = realloc(judgements->list, room);
    if (!judgements->list)
        fail("verdicts", "are too many for memory");
    judgements->list[judgements->count++] = judgement;
}
/* How much larger a run might decide; "" where a hundred times as large would not. */
static const char *more_needed(const struct estimate *is, double bound)
{
    double distance = fabs(is->value - bound),
           width = is->value > bound ? is->value - is->low : is->high - is->value,
           times = width / distance * (width / distance);
    return times <= 100 ? say("; %s ×", rounded(times, times < 10)) : "";
}
/* Why a claim is not held against this run, whatever was measured; NULL: it is. */
static const char *objection(const struct claim *claim, const struct findings *findings)
{
    bool of_taught = claim->quantity == RETENTION || claim->quantity == CHANGE;
    if (claim->quantity == RETENTION && !findings_three(findings, claim->model))
        return "other tasks count than the claim's";
    if (of_taught && findings->student != TAUGHT
        && strcmp(claim->model, "student-released"))
        return "the student was not distilled";
    return NULL;
}

static const char *reason(const struct claim *claim, const struct finding *f,
                          double bound, enum verdict verdict)
{
    /* List why there may be no interval */
    static const char *const unbounded[] = {
        [NO_TASK] = "no task counts", [NEAR_ZERO] = "the teacher is too near zero",
        [NO_PARTS] = "the benchmark kept no parts",
        [NO_STUDENT] = "no small student took an hour or less"};
    /* List the reasons of the rules */
    static const char *const reasons[][3] = {
        [REACHES] = {"the bound lies inside", "lies wholly at or above",
                     "lies wholly below"},
        [COSTS] = {"0 lies inside", "lies wholly below", "lies wholly above"}};
    if (!f->is.bounded)
        return f->why >= NO_TASK ? unbounded[f->why] : "not measured in this run";
    if (claim->quantity == SMALLER)
        return verdict == PASS ? "counted, with embeddings"
                               : "the embeddings stay as large";
    return say("%s%s", reasons[claim->rule][verdict],
               verdict == UNDECIDED ? more_needed(&f->is, bound) : "");
}
static const char *claim_named(const struct claim *claim)
{
    return claim->quantity == RETENTION
               ? say("retention.%s.%s", claim->model, claim->name) : claim->name;
}
static void pass_over(const struct claim *claim, struct judgements *list)
{
    note(list, (struct judgement){.name = claim_named(claim), .of = claim,
                                  .claim = claim_said(claim, true), .asked = "–",
                                  .verdict = NOT_JUDGED,
                                  .why = "a claim about English"});
}
static void judge(const struct claim *claim, const struct findings *findings,
                  bool toyland, struct judgements *list)
{
    const struct finding *f = finding_of(findings, claim->quantity, NULL, claim->model);
    const char *against = objection(claim, findings);
    double bound = claim->rule == COSTS ? 0
                                        : claim->published - claim_tolerance(claim);
    struct judgement j = {.measured = *f, .of = claim};
    j.measured.quantity = claim->quantity; /* also of what was not measured */
    if (!against)
        j.verdict = claim->rule == COSTS ? verdict_costs(&f->is)
                                         : verdict_reaches(&f->is, bound);
    /* Put the judgement into words */
    j.name = claim_named(claim);
    j.claim = claim_said(claim, toyland);
    j.asked = claim->rule == COSTS
                  ? "below 0"
                  : say("at least %s", rounded(bound, bound == floor(bound) ? 0 : 1));
    j.why = against && f->is.bounded ? against : reason(claim, f, bound, j.verdict);
    note(list, j);
}

/* Judge whether two runs agree */
/* Names a setting or file that both summaries have and that differs; NULL if none
   does. */
static const char *name_difference(const json_t *a, const json_t *b)
{
    static const char *const free_ones[] = {".tasks", ".models", ".extended", ".seeds"};
    for (const char *const *part = (const char *const[]){"settings", "data", NULL};
         *part; part++) {
        const char *key;
        json_t *here, *there;
        json_object_foreach(json_object_get(a, *part), key, here) {
            there = json_object_get(json_object_get(b, *part), key);
            bool free_one = !strncmp(key, "run.", 4);
            for (size_t i = 0; i < sizeof free_ones / sizeof *free_ones; i++)
                free_one |= strchr(key, '.') && !strcmp(strchr(key, '.'), free_ones[i]);
            if (there && !free_one && !json_equal(here, there))
                return say("%s differs", key);
        }
    }
    return NULL;
}
/* The same finding in the summary of another run: whether it is there, and what. */
static bool find_there(const struct finding *f, const json_t *summary,
                       const json_t *reference, struct estimate *there)
{
    const char *model = f->model ? f->model->name : "", *path = NULL;
    bool own = !strcmp(model, "student");
    if (!own && strcmp(model, "teacher") && strcmp(model, "student-released"))
        return false;
    if (f->quantity == SCORE && f->sheet)
        path = say("tasks/%s/median/%s", f->sheet->task->name, model);
    else if (f->quantity == RETENTION && !f->sheet)
        path = own ? "retention" : say("students/%s", model);
    const json_t *found = path ? json_at(reference, path) : NULL;
    *there = estimate_read(found, f->quantity == SCORE ? "score" : "mean");
    return found && (f->quantity == SCORE
                     || json_equal(json_at(json_at(summary, path), "counted"),
                                   json_at(found, "counted")));
}
static void compare(const struct finding *f, const struct estimate *there,
                    const char *run, const char *difference, struct judgements *list)
{
    struct finding other = *f;
    const char *key = f->sheet ? f->sheet->task->name : "retention";
    other.is = *there;
    struct judgement j = {
        .name = say("reference.%s.%s.%s", run, key, f->model->name),
        .claim = say("%s of the %s, as in %s", f->sheet ? f->sheet->title : key,
                     f->model->title, run),
        .asked = say("meets %s", finding_measured(&other)),
        .measured = *f, .reference = run, .there = *there,
        .verdict = difference ? UNDECIDED : verdict_agrees(&f->is, there)};
    j.why = !f->is.bounded       ? "this run has no interval"
            : difference         ? difference
            : !there->bounded    ? "the committed run has no interval"
            : j.verdict == PASS  ? "the intervals meet" : "the intervals do not meet";
    note(list, j);
}

/* difference: what name_difference says of the two; NULL: nothing. */
static void compare_runs(const struct findings *findings, const json_t *summary,
                         const char *run, const json_t *reference,
                         const char *difference, struct judgements *list)
{
    for (int i = 0; i < findings->count; i++) {
        struct estimate there;
        if (find_there(&findings->list[i], summary, reference, &there))
            compare(&findings->list[i], &there, run, difference, list);
    }
}
/* Whether the models and predictions of a run are those of a committed one, for people;
   NULL if either promises no bits, or they have none in common. */
static const char *compare_bits(const json_t *summary, const char *run,
                                const json_t *reference, const char *difference)
{
    json_t *sum, *there, *sums = json_object_get(summary, "sums");
    json_t *theirs = json_object_get(reference, "sums");
    const char *path, *first = NULL;
    int compared = 0, others = 0;
    if (!sums || !theirs)
        return NULL;
    if (difference)
        return say("not compared with the committed run %s: %s", run, difference);
    json_object_foreach(sums, path, sum) {
        there = json_object_get(theirs, path);
        compared += there != NULL;
        if (!there || json_equal(sum, there))
            continue;
        others++;
        first = first ? first : path;
    }
    if (first)
        return say("not identical to the committed run %s: of %d models and "
                   "predictions compared, %d %s, first %s",
                   run, compared, others, others == 1 ? "differs" : "differ", first);
    if (compared == 0)
        return NULL;
    return say("identical to the committed run %s: %d models and predictions "
               "compared, all the same",
               run, compared);
}

/* Judge a run */
struct verdicts *verdicts_judge(const struct findings *findings, bool toyland,
                                const json_t *summary, const json_t *references)
{
    struct verdicts *verdicts = allocate(1, sizeof *verdicts);
    const char *name;
    json_t *reference;
    struct words bits = {NULL, 0};
    verdicts->toyland = toyland;
    for (const struct claim *claim = claims; claim->name; claim++) {
        const struct finding *f = finding_of(findings, claim->quantity, NULL,
                                             claim->model);
        bool optional = claim->quantity == RETENTION || claim->quantity == MOST_KEPT;
        if (optional && f->quantity != claim->quantity)
            continue;
        if (toyland && claim->rule == REACHES && claimed_of_english(claim))
            pass_over(claim, &verdicts->claims);
        else
            judge(claim, findings, toyland, &verdicts->claims);
    }
    /* Hold the run against committed ones */
    json_object_foreach((json_t *)references, name, reference) {
        const char *difference = name_difference(summary, reference);
        compare_runs(findings, summary, name, reference, difference,
                     &verdicts->agreement);
        const char *said = compare_bits(summary, name, reference, difference);
        if (said)
            words_add(&bits, said);
    }
    verdicts->bits = words_joined(&bits, "; ");
    return verdicts;
}

void verdicts_free(struct verdicts *verdicts)
{
    free(verdicts->claims.list);
    free(verdicts->agreement.list);
    free(verdicts);
}

/* Put the verdicts into a sentence */
static const char *about(bool toyland)
{
    return toyland ? "Toyland is a generated language: what is claimed of English is "
                     "not judged here, and what a part of the recipe is worth is said "
                     "of Toyland alone."
                   : "The claims are held against real text.";
}

const char *verdicts_said(const char *what, const int counts[4], bool toyland)
{
    static const char *const verbs[3][2] = {
        {"is not decided", "are not decided"}, {"passes", "pass"}, {"fails", "fail"}};
    static const enum verdict order[] = {PASS, FAIL, UNDECIDED};
    int all = counts[UNDECIDED] + counts[PASS] + counts[FAIL];
    struct words parts = {NULL, 0};
    for (int i = 0; i < 3; i++) {
        /* Say how many have this verdict */
        int count = counts[order[i]];
        const char *verb = verbs[order[i]][count != 1],
                   *where = toyland && order[i] != UNDECIDED ? " on Toyland" : "",
                   *who = all == 1 ? "it" : count == all ? "all" : say("%d", count);
        if (count > 0)
            words_add(&parts, count == all && all > 1 && order[i] == UNDECIDED
                                  ? "none is decided"
                                  : say("%s %s%s", who, verb, where));
    }
    /* Say how many are not judged */
    int apart = counts[NOT_JUDGED];
    const char *passed_over = apart == 0 ? "" : say("; %d %s about English, and not judged",
                                                    apart, apart == 1 ? "is" : "are");
    return say("%s %s%s held against %s%s%s%s",
               all > 1 ? say("%d", all) : all ? "One" : "No", what,
               all > 1 ? "s are" : " is",
               !strcmp(what, "claim") ? "this run" : "committed runs", all ? ": " : "",
               words_said(&parts), passed_over);
}
static const char *counted(const struct verdicts *verdicts, const char *what)
{
    const struct judgements *list =
        !strcmp(what, "claim") ? &verdicts->claims : &verdicts->agreement;
    int counts[4] = {0, 0, 0, 0};
    for (int i = 0; i < list->count; i++)
        counts[list->list[i].verdict]++;
    return verdicts_said(what, counts, verdicts->toyland);
}

void verdicts_set(const struct verdicts *verdicts, json_t *values)
{
    value_set(values, counted(verdicts, "claim"), "verdicts.sentence");
    value_set(values, counted(verdicts, "number"), "agreement.sentence");
    value_flag(values, (verdicts->agreement.count > 0), "agreement.known");
    value_set(values, verdicts->bits, "bits");
    value_flag(values, *verdicts->bits != '\0', "bits.known");
    value_set(values, about(verdicts->toyland), "verdicts.about");
    for (const struct claim *claim = claims; claim->name; claim++)
        if (claim_tolerance(claim) > 0)
            value_set(values, rounded(claim_tolerance(claim), 1), "tolerance.%s",
                      claim->name);
}

/* Write the verdicts */
static const char *const verdict_names[] = {"not decided", "PASS", "FAIL",
                                            "not judged"};

const char *verdict_said(enum verdict verdict, bool toyland)
{
    return say("%s%s", verdict_names[verdict],
               toyland && (verdict == PASS || verdict == FAIL) ? " on Toyland" : "");
}

static json_t *judgement_json(const struct judgement *j, bool toyland)
{
    json_t *object = estimate_json(&j->measured.is, "measured");
    json_t *words = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s}", "name", j->name, "claim", j->claim, "asked",
        j->asked, "text", finding_measured(&j->measured), "verdict",
        verdict_names[j->verdict], "why", j->why);
    json_object_update(object, words);
    json_decref(words);
    if (j->of) {
        bool apart = toyland && claimed_of_english(j->of);
        double tolerance = claim_tolerance(j->of);
        json_object_set_new(object, "published",
                            apart ? json_null() : json_real(j->of->published));
        json_object_set_new(object, "tolerance",
                            apart ? json_null() : json_real(tolerance));
    } else {
        json_t *there = estimate_json(&j->there, "value");
        json_object_set_new(there, "run", json_string(j->reference));
        json_object_set_new(object, "reference", there);
    }
    return object;
}

static json_t *list_json(const struct judgements *judgements, bool toyland)
{
    json_t *list = json_array();
    for (int i = 0; i < judgements->count; i++)
        json_array_append_new(list, judgement_json(&judgements->list[i], toyland));
    return list;
}

json_t *verdicts_json(const struct verdicts *verdicts, const json_t *summary)
{
    json_t *claimed = list_json(&verdicts->claims, verdicts->toyland),
           *agreement = list_json(&verdicts->agreement, verdicts->toyland);
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s}, s:o, s:o, s:O*, s:O*, s:O*, s:O*}",
                     "data", verdicts->toyland ? "toyland" : "real", "about",
                     about(verdicts->toyland), "bits", verdicts->bits, "counts",
                     "claims", counted(verdicts, "claim"), "agreement",
                     counted(verdicts, "number"), "claims", claimed, "agreement",
                     agreement, "profile", json_at(summary, "profile"), "device",
                     json_at(summary, "device"), "date", json_at(summary, "date"),
                     "code", json_at(summary, "code"));
}

/* Print the verdicts */
static const char verdicts_usage[] =
    "usage: distil verdicts --run DIR\n"
    "\n"
    "Prints the verdict on each claim, and on the agreement with committed runs of\n"
    "the same profile, that `distil results` left in the run's folder.\n"
    "\n"
    "  --run DIR  a finished run, results/mini say\n";

void verdicts_print(const char *folder)
{
    static const char *const lists[][2] = {{"claims", "verdicts"},
                                           {"agreement", "agreement"}};
    const char *path = say("%s/verdicts.json", folder);
    if (!file_exists(path))
        fail(path, "expected the verdicts of a finished run; make verify finishes one");
    json_t *verdicts = run_json(path), *counts = json_object_get(verdicts, "counts");
    printf("profile %s on %s, finished on %s\n%s\n",
           json_string_value(json_object_get(verdicts, "profile")),
           json_string_value(json_object_get(verdicts, "device")),
           json_string_value(json_object_get(verdicts, "date")),
           json_string_value(json_object_get(verdicts, "about")));
    const char *bits = json_string_value(json_object_get(verdicts, "bits"));
    if (bits && *bits)
        printf("%s\n", bits);
    for (int i = 0; i < 2; i++) {
        struct grid *grid =
            kept(grid_read(say("%s/tables/%s.tsv", folder, lists[i][1])));
        if (grid->rows > 0)
            printf("\n%s\n", json_string_value(json_object_get(counts, lists[i][0])));
        for (int row = 0; row < grid->rows; row++)
            printf("%-15s  %s: %s; asked: %s; %s\n", grid_text(grid, row, 3),
                   grid_text(grid, row, 0), grid_text(grid, row, 2),
                   grid_text(grid, row, 1), grid_text(grid, row, 4));
    }
    json_decref(verdicts);
}

int verdicts_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, verdicts_usage, "--run");
    verdicts_print(stage.run);
    forget();
    stage_close(&stage);
    return 0;
}
