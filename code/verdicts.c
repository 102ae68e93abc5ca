/* Tangled from chapters/56-verdicts.md; edit there. */
#include "verdicts.h"
#include "fail.h"
#include "file.h"
#include "run.h"
#include "stage.h"
#include "values.h"

#include <glob.h>
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
const struct claim claims[] = {{"paper", "the paper", 97, 9, 0.287},
                               {"course", "the course project", 94.35, 3, 1},
                               {.name = NULL}};

const struct noise noise[] = {{"cola", 59.04, 1.06}, {"mrpc", 88.97, 0.72},
                              {"rte", 64.76, 1.04},  {"sst2", 92.23, 0.57},
                              {"stsb", 88.94, 0.07}, {.task = NULL}};

/* Tell whether the claims are of the same tasks */
bool claims_are_of(const json_t *tasks)
{
    size_t found = 0, wanted = 0;
    for (const struct task *task = task_list; task->name; task++) {
        wanted += task->headline;
        for (size_t i = 0; task->headline && i < json_array_size(tasks); i++)
            found += !strcmp(json_string_value(json_array_get(tasks, i)), task->name);
    }
    return found == wanted && json_array_size(tasks) == wanted;
}

/* Allow for the noise of a claim */
double claim_tolerance(const struct claim *claim)
{
    double squares = 0;
    int count = 0;
    for (const struct noise *n = noise; n->task; n++, count++)
        squares += n->deviation / n->mean * (n->deviation / n->mean);
    return 1.96 * claim->value
           * sqrt(2 * claim->quiet * squares / count / claim->tasks);
}

/* Write down a finding */
struct finding {
    char *name;  /* "retention.student.paper" */
    char *claim; /* "the student keeps 97 % (the paper)" */
    char *asked; /* "at least 96.4" */
    struct estimate measured;
    int decimals; /* of the measured numbers in the text */
    enum verdict verdict;
    const char *whys[3]; /* [verdict] */
    const char *unknown; /* why, if there is no number or no interval */
};

static struct estimate read_estimate(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key),
                 *low = json_object_get(object, "low"),
                 *high = json_object_get(object, "high");
    return (struct estimate){json_is_number(value),
                             json_is_number(low) && json_is_number(high),
                             json_number_value(value), json_number_value(low),
                             json_number_value(high)};
}
/* "92.7 (87.1 to 96.1)", "43.5" for what is exact, "–" for what is not known. */
static char *estimate_text(const struct estimate *e, int decimals)
{
    if (!e->known)
        return text_format("–");
    char *value = number_text(e->value, decimals), *low = number_text(e->low, decimals),
         *high = number_text(e->high, decimals);
    char *text = !e->bounded        ? text_format("%s (no interval)", value)
                 : e->low < e->high ? text_format("%s (%s to %s)", value, low, high)
                                    : text_format("%s", value);
    free(value);
    free(low);
    free(high);
    return text;
}
static const char *const verdict_names[] = {"not decided", "PASS", "FAIL"};

static json_t *number_or_null(double number, bool known)
{
    return known ? json_real(number) : json_null();
}

/* Appends the finding to the list and frees its texts. The object is the list's. */
static json_t *note(json_t *list, const struct finding *f)
{
    const struct estimate *e = &f->measured;
    char *text = estimate_text(e, f->decimals);
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:s}", "name", f->name, "claim",
        f->claim, "asked", f->asked, "measured", number_or_null(e->value, e->known),
        "low", number_or_null(e->low, e->bounded), "high",
        number_or_null(e->high, e->bounded), "text", text, "verdict",
        verdict_names[f->verdict], "why",
        e->bounded ? f->whys[f->verdict] : f->unknown);
    json_array_append_new(list, object);
    free(text);
    free(f->name);
    free(f->claim);
    free(f->asked);
    return object;
}
/* "at least 96.4" */
static char *asked_text(double bound, int decimals)
{
    char *number = number_text(bound, decimals);
    char *text = text_format("at least %s", number);
    free(number);
    return text;
}

#define REACHES "the bound lies inside", "lies wholly at or above", "lies wholly below"

static const char not_measured[] = "not measured in this profile",
                  not_distilled[] = "the student was not distilled";

static bool was_distilled(const json_t *summary)
{
    return !json_is_false(json_object_get(summary, "distilled"));
}

static void note_claimed(json_t *object, double published, double tolerance)
{
    json_object_set_new(object, "published", json_real(published));
    json_object_set_new(object, "tolerance", json_real(tolerance));
}

/* Judge the retention */
static const struct {
    const char *name, *title;
} students[] = {{"student", "the student"},
                {"student-released", "the released student"}};

enum { STUDENTS = sizeof students / sizeof *students };

/* The retention of a student in a summary; NULL if it has none. */
static const json_t *retention_of(const json_t *summary, const char *student)
{
    return !strcmp(student, "student")
               ? json_object_get(summary, "retention")
               : json_object_get(json_object_get(summary, "students"), student);
}

/* Whether some task of the summary has a score of the model. */
static bool scored(const json_t *summary, const char *model)
{
    const char *task;
    json_t *record;
    json_object_foreach(json_object_get(summary, "tasks"), task, record) {
        if (json_object_get(json_object_get(record, "median"), model))
            return true;
    }
    return false;
}
static void judge_retention(const json_t *summary, int student, json_t *list)
{
    const char *name = students[student].name;
    const json_t *retention = retention_of(summary, name);
    struct estimate kept = read_estimate(retention, "mean");
    /* See whether the claims are about such a student */
    bool taught = strcmp(name, "student") || was_distilled(summary);
    const char *other = !claims_are_of(json_object_get(retention, "counted"))
                            ? "other tasks count than the claim's"
                        : !taught ? not_distilled
                                  : NULL;
    for (const struct claim *claim = claims; claim->name; claim++) {
        double tolerance = claim_tolerance(claim), bound = claim->value - tolerance;
        char *value = text_format("%g", claim->value);
        struct finding f = {
            .name = text_format("retention.%s.%s", name, claim->name),
            .claim = text_format("%s keeps %s %% (%s)", students[student].title, value,
                                 claim->whose),
            .asked = asked_text(bound, 1),
            .measured = kept,
            .decimals = 1,
            .verdict = other ? UNDECIDED : verdict_reaches(&kept, bound),
            .whys = {REACHES},
            .unknown = kept.known              ? "the teacher is too near zero"
                       : scored(summary, name) ? "no task counts"
                                               : not_measured};
        if (other)
            f.whys[UNDECIDED] = other;
        note_claimed(note(list, &f), claim->value, tolerance);
        free(value);
    }
}

/* Judge size and speed */
static double smaller(double teacher, double student)
{
    return 100 * (1 - student / teacher);
}

/* By how much the paper's claim exceeds the exact count of its own two models. */
static double size_tolerance(void)
{
    return 40 - smaller(109483778, 66955010);
}

static double measured_number(const json_t *models, const char *model, const char *key)
{
    return json_number_value(json_object_get(json_object_get(models, model), key));
}
static void judge_size(const json_t *summary, json_t *list)
{
    const json_t *models = json_object_get(summary, "models");
    double teacher = measured_number(models, "teacher", "parameters"),
           student = measured_number(models, "student", "parameters");
    bool known = teacher > 0 && student > 0;
    double value = known ? smaller(teacher, student) : 0, bound = 40 - size_tolerance();
    struct estimate size = {known, known, value, value, value};
    struct finding f = {
        .name = text_format("smaller"),
        .claim = text_format("the student is 40 %% smaller (the paper)"),
        .asked = asked_text(bound, 1),
        .measured = size,
        .decimals = 1,
        .verdict = verdict_reaches(&size, bound),
        .whys = {[PASS] = "counted, with embeddings",
                 [FAIL] = "the embeddings stay as large"},
        .unknown = not_measured};
    note_claimed(note(list, &f), 40, size_tolerance());
}
/* Percent faster on one core, as the paper forms it; its interval is that of the parts
   that the rows were taken in. */
static struct estimate read_speed(const json_t *models)
{
    static const char *const key = "parts_one_core";
    const json_t *parts = json_object_get(json_object_get(models, "teacher"), key),
                 *others = json_object_get(json_object_get(models, "student"), key);
    double teacher = measured_number(models, "teacher", "seconds_one_core"),
           student = measured_number(models, "student", "seconds_one_core");
    struct estimate speed = {.known = teacher > 0 && student > 0};
    if (!speed.known)
        return speed;
    speed.value = 100 * (teacher / student - 1);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        double part = json_number_value(json_array_get(parts, i)),
               other = json_number_value(json_array_get(others, i));
        double faster = 100 * (part / other - 1);
        if (part <= 0 || other <= 0)
            continue;
        speed.low = speed.bounded ? fmin(speed.low, faster) : faster;
        speed.high = speed.bounded ? fmax(speed.high, faster) : faster;
        speed.bounded = true;
    }
    return speed;
}
static void judge_speed(const json_t *summary, json_t *list)
{
    struct estimate speed = read_speed(json_object_get(summary, "models"));
    struct finding f = {
        .name = text_format("faster"),
        .claim = text_format("it is 60 %% faster on one core (the paper)"),
        .asked = asked_text(60, 0),
        .measured = speed,
        .verdict = verdict_reaches(&speed, 60),
        .whys = {REACHES},
        .unknown = speed.known ? "the benchmark kept no parts" : not_measured};
    note_claimed(note(list, &f), 60, 0);
}

/* Judge the share of each term */
static const struct {
    const char *key, *title;
    double published; /* change of the GLUE score, table 4 */
} terms[] = {{"kl", "soft targets help", -2.96},
             {"cosine", "the cosine helps", -1.46},
             {"mlm", "masked words help", -0.31},
             {"random", "the teacher's layers help", -3.69}};

static void judge_terms(const json_t *summary, json_t *list)
{
    bool taught = was_distilled(summary);
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        struct estimate change = read_estimate(
            json_object_get(json_object_get(summary, "ablations"), terms[i].key),
            "change");
        char *published = number_text(terms[i].published, 2);
        struct finding f = {
            .name = text_format("term.%s", terms[i].key),
            .claim = text_format("%s (the paper: %s without)", terms[i].title,
                                 published),
            .asked = text_format("below 0"),
            .measured = change,
            .decimals = 1,
            .verdict = taught ? verdict_costs(&change) : UNDECIDED,
            .whys = {taught ? "0 lies inside" : not_distilled, "lies wholly below",
                     "lies wholly above"},
            .unknown = change.known ? "has no interval" : not_measured};
        note_claimed(note(list, &f), terms[i].published, 0);
        free(published);
    }
}

/* Judge whether two runs agree */
/* Names a setting or file that both summaries have and that differs; NULL if none
   does. */
static char *name_difference(const json_t *a, const json_t *b)
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
                return text_format("%s differs", key);
        }
    }
    return NULL;
}
struct comparison {
    const char *name;            /* of the committed run */
    const json_t *summary, *reference;
    const char *difference;      /* why they cannot be compared, or NULL */
    json_t *list;
};

/* what, model: "toy CoLA", "teacher". a, b: NULL if a run has no such number. */
static void compare(const struct comparison *c, const char *key, const char *what,
                    const char *model, const json_t *a, const json_t *b,
                    const char *value)
{
    struct estimate here = read_estimate(a, value), there = read_estimate(b, value);
    char *other = estimate_text(&there, 1);
    struct finding f = {
        .name = text_format("reference.%s.%s.%s", c->name, key, model),
        .claim = text_format("%s of the %s, as in %s", what, model_title(model),
                             c->name),
        .asked = text_format("meets %s", other),
        .measured = here,
        .decimals = 1,
        .verdict = c->difference ? UNDECIDED : verdict_agrees(&here, &there),
        .whys = {c->difference ? c->difference : "the committed run has no interval",
                 "the intervals meet", "the intervals do not meet"},
        .unknown = "this run has no interval"};
    json_t *object = note(c->list, &f);
    json_object_set_new(object, "reference",
                        json_pack("{s:s, s:o, s:o, s:o}", "run", c->name, "value",
                                  number_or_null(there.value, there.known), "low",
                                  number_or_null(there.low, there.bounded), "high",
                                  number_or_null(there.high, there.bounded)));
    free(other);
}
static void compare_runs(const struct comparison *c)
{
    const char *task;
    json_t *here;
    json_t *tasks = json_object_get(c->reference, "tasks");
    json_object_foreach(json_object_get(c->summary, "tasks"), task, here) {
        json_t *there = json_object_get(json_object_get(tasks, task), "median");
        const char *title = json_string_value(json_object_get(here, "title"));
        for (int i = -1; i < STUDENTS; i++) {
            const char *model = i < 0 ? "teacher" : students[i].name;
            json_t *a = json_object_get(json_object_get(here, "median"), model),
                   *b = json_object_get(there, model);
            if (a && b)
                compare(c, task, title, model, a, b, "score");
        }
    }
    for (int i = 0; i < STUDENTS; i++) {
        const json_t *a = retention_of(c->summary, students[i].name),
                     *b = retention_of(c->reference, students[i].name);
        if (a && b && json_equal(json_object_get(a, "counted"),
                                 json_object_get(b, "counted")))
            compare(c, "retention", "retention", students[i].name, a, b, "mean");
    }
}

/* Judge a run */
static const char *about(const char *data)
{
    return strcmp(data, "toyland")
               ? "The claims are held against real text."
               : "For demonstration, claims about English are held against Toyland, a "
                 "generated language: no verdict here confirms or refutes them.";
}

json_t *verdicts_judge(const json_t *summary, const json_t *references,
                       const char *data)
{
    json_t *verdicts = json_pack("{s:s, s:s}", "data", data, "about", about(data)),
           *list = json_array(), *agreement = json_array();
    for (const char *const *key =
             (const char *const[]){"profile", "device", "date", "code", NULL};
         *key; key++)
        json_object_set(verdicts, *key, json_object_get(summary, *key));
    for (int i = 0; i < STUDENTS; i++)
        if (retention_of(summary, students[i].name))
            judge_retention(summary, i, list);
    judge_size(summary, list);
    judge_speed(summary, list);
    judge_terms(summary, list);
    /* Hold the run against the committed ones */
    const char *name;
    json_t *reference;
    json_object_foreach((json_t *)references, name, reference) {
        char *difference = name_difference(summary, reference);
        struct comparison comparison = {name, summary, reference, difference, agreement};
        compare_runs(&comparison);
        free(difference);
    }
    json_object_set_new(verdicts, "claims", list);
    json_object_set_new(verdicts, "agreement", agreement);
    return verdicts;
}

/* Find the committed runs of a profile */
json_t *verdicts_references(const char *folder, const char *profile)
{
    json_t *references = json_object();
    char *pattern = text_format("%s/*/summary.json", folder);
    glob_t found;
    bool any = glob(pattern, 0, NULL, &found) == 0;
    for (size_t i = 0; any && i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i], *name = path + strlen(folder) + 1;
        json_t *summary = run_json(path);
        const char *whose = json_string_value(json_object_get(summary, "profile"));
        char *run = text_format("%.*s", (int)strcspn(name, "/"), name);
        if (whose && !strcmp(whose, profile))
            json_object_set(references, run, summary);
        json_decref(summary);
        free(run);
    }
    if (any)
        globfree(&found);
    free(pattern);
    return references;
}

/* Put the verdicts into sentences */
/* What people read for a verdict's name. The caller frees it. */
static char *verdict_text(const json_t *verdicts, const char *name)
{
    bool toy = !strcmp(json_string_value(json_object_get(verdicts, "data")), "toyland");
    bool decided = strcmp(name, verdict_names[UNDECIDED]);
    return text_format(toy && decided ? "%s on Toyland" : "%s", name);
}

static int count_verdicts(const json_t *list, enum verdict verdict)
{
    int count = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        count += !strcmp(verdict_names[verdict],
                         json_string_value(json_object_get(json_array_get(list, i),
                                                           "verdict")));
    return count;
}

/* "3 PASS, 1 FAIL and 4 not decided" */
static char *counts_text(const json_t *verdicts, const char *list)
{
    const json_t *findings = json_object_get(verdicts, list);
    char *pass = verdict_text(verdicts, verdict_names[PASS]),
         *fail = verdict_text(verdicts, verdict_names[FAIL]);
    char *text = text_format("%d %s, %d %s and %d not decided",
                             count_verdicts(findings, PASS), pass,
                             count_verdicts(findings, FAIL), fail,
                             count_verdicts(findings, UNDECIDED));
    free(pass);
    free(fail);
    return text;
}
static int set_counts(const json_t *verdicts, const char *list, const char *key,
                      json_t *values)
{
    int count = (int)json_array_size(json_object_get(verdicts, list));
    value_take(values, text_format("%d", count), "%s.count", key);
    value_take(values, counts_text(verdicts, list), "%s.counts", key);
    return count;
}

void verdicts_set(const json_t *verdicts, json_t *values)
{
    set_counts(verdicts, "claims", "verdicts", values);
    bool known = set_counts(verdicts, "agreement", "agreement", values) > 0;
    value_set(values, known ? "yes" : "no", "agreement.known");
    value_set(values, json_string_value(json_object_get(verdicts, "about")),
              "verdicts.about");
    for (const struct claim *claim = claims; claim->name; claim++)
        value_take(values, number_text(claim_tolerance(claim), 1), "tolerance.%s",
                   claim->name);
    value_take(values, number_text(size_tolerance(), 1), "tolerance.smaller");
}

/* Write the tables of verdicts */
enum { COLUMNS = 5 };

static const char *const columns[COLUMNS] = {"Claim", "Asked", "Measured", "Verdict",
                                             "Why"};

/* The cells of a finding; the caller frees each. */
static void fill_cells(const json_t *verdicts, const json_t *finding,
                       char *cells[COLUMNS])
{
    static const char *const keys[COLUMNS] = {"claim", "asked", "text", "verdict",
                                              "why"};
    for (int i = 0; i < COLUMNS; i++) {
        const char *text = json_string_value(json_object_get(finding, keys[i]));
        cells[i] = strcmp(keys[i], "verdict") ? text_format("%s", text)
                                              : verdict_text(verdicts, text);
    }
}
static void write_table(const json_t *verdicts, const char *list, const char *folder,
                        const char *name)
{
    char *path = text_format("%s/tables/%s.tsv", folder, name), *cells[COLUMNS];
    struct file_writer *writer = file_create(path);
    const json_t *findings = json_object_get(verdicts, list);
    for (int i = 0; i < COLUMNS; i++)
        fprintf(file_stream(writer), "%s%c", columns[i], i + 1 < COLUMNS ? '\t' : '\n');
    for (size_t row = 0; row < json_array_size(findings); row++) {
        fill_cells(verdicts, json_array_get(findings, row), cells);
        for (int i = 0; i < COLUMNS; i++) {
            fprintf(file_stream(writer), "%s%c", cells[i],
                    i + 1 < COLUMNS ? '\t' : '\n');
            free(cells[i]);
        }
    }
    file_commit(writer);
    free(path);
}

void verdicts_tables(const json_t *verdicts, const char *folder)
{
    write_table(verdicts, "claims", folder, "verdicts");
    write_table(verdicts, "agreement", folder, "agreement");
}

/* Print a list of findings in columns */
static int letters(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += (*text & 0xc0) != 0x80; /* not the rest of a UTF-8 letter */
    return count;
}

static void print_list(const json_t *verdicts, const json_t *list)
{
    size_t rows = json_array_size(list);
    char *(*cells)[COLUMNS] = allocate(rows + 1, sizeof *cells);
    int widths[COLUMNS] = {0};
    for (int i = 0; i < COLUMNS; i++)
        cells[0][i] = text_format("%s", columns[i]);
    for (size_t row = 0; row < rows; row++)
        fill_cells(verdicts, json_array_get(list, row), cells[row + 1]);
    for (size_t row = 0; row <= rows; row++)
        for (int i = 0; i < COLUMNS; i++)
            if (letters(cells[row][i]) > widths[i])
                widths[i] = letters(cells[row][i]);
    putchar('\n');
    for (size_t row = 0; row <= rows; row++)
        for (int i = 0; i < COLUMNS; i++) {
            int room = i + 1 < COLUMNS ? widths[i] - letters(cells[row][i]) + 2 : 0;
            printf("%s%*s%s", cells[row][i], room, "", i + 1 < COLUMNS ? "" : "\n");
            free(cells[row][i]);
        }
    free(cells);
}

/* Print the verdicts */
static const char verdicts_usage[] =
    "usage: distil verdicts --run DIR\n"
    "\n"
    "Prints the verdict on each claim, and on the agreement with committed runs of\n"
    "the same profile, that `distil results` left in the run's verdicts.json.\n"
    "\n"
    "  --run DIR  a finished run, results/mini say\n";

void verdicts_print(const json_t *verdicts)
{
    /* Say which run it is and print its two lists */
    static const char *const lists[] = {"claims", "agreement"};
    printf("profile %s on %s, finished on %s\n%s\n",
           json_string_value(json_object_get(verdicts, "profile")),
           json_string_value(json_object_get(verdicts, "device")),
           json_string_value(json_object_get(verdicts, "date")),
           json_string_value(json_object_get(verdicts, "about")));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *list = json_object_get(verdicts, lists[i]);
        if (json_array_size(list) == 0)
            continue;
        char *counts = counts_text(verdicts, lists[i]);
        print_list(verdicts, list);
        printf("\n%s: %s\n", lists[i], counts);
        free(counts);
    }
}

int verdicts_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, verdicts_usage, "--run");
    char *path = stage_path(&stage, "verdicts.json");
    if (!file_exists(path))
        fail(path, "expected the verdicts of a finished run; make verify finishes one");
    json_t *verdicts = run_json(path);
    verdicts_print(verdicts);
    json_decref(verdicts);
    free(path);
    stage_close(&stage);
    return 0;
}
