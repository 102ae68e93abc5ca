/* Tangled from chapters/58-live.md; edit there. */
#include "fail.h"
#include "file.h"
#include "grid.h"
#include "measure.h"
#include "seal.h"
#include "stage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Say how the command for the page is called */
static const char usage[] =
    "usage: distil live --profile FILE --run DIR --out DIR --name STAGES\n\n"
    "Writes what a run has come to so far into the folder --out: state.html, a piece\n"
    "of a page, and tables for figures/live.gp to draw. --profile: the settings of\n"
    "the run; --name: its stages, separated by spaces.\n";

/* Look at a stage */
struct look {
    const char *name;
    json_t *record; /* NULL: the stage is not done */
    double begun;   /* seconds ago; NAN: it has not begun, or is done */
    double seconds; /* that it took; NAN: it is not done */
};

/* A list of such stages. */
struct looks {
    const char *run;
    struct look *list;
    int count, done, begun; /* how many there are, are done, are at work */
};

static struct look look_at(const char *run, const char *name)
{
    struct stat file;
    char *record = text_format("%s/stages/%s.json", run, name),
         *from = text_format("%s/stages/%s.from", run, name);
    struct look look = {.name = name, .record = seal_read(record), .begun = NAN};
    if (!look.record && stat(from, &file) == 0)
        look.begun = fmax(0, difftime(time(NULL), file.st_mtime));
    look.seconds = look.record
                       ? json_number_value(json_object_get(look.record, "seconds"))
                       : NAN;
    free(record);
    free(from);
    return look;
}

/* names: the stages, separated by spaces; cut into pieces. */
static struct looks look_at_all(const char *run, char *names)
{
    struct looks looks = {.run = run};
    looks.list = allocate(strlen(names) / 2 + 1, sizeof *looks.list);
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
        struct look look = look_at(run, name);
        looks.done += look.record != NULL;
        looks.begun += !isnan(look.begun);
        looks.list[looks.count++] = look;
    }
    return looks;
}

/* Guess how long the rest takes */
/* How many letters of whole words two names share at their beginning. */
static int likeness(const char *a, const char *b)
{
    int words = 0;
    for (int i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '-')
            words = i + 1;
    return words;
}

/* The seconds that a stage will take; NAN if there is none like it. */
static double guess(const struct looks *looks, const char *name)
{
    double total = 0;
    int most = 1, count = 0;
    for (const struct look *l = looks->list; l < looks->list + looks->count; l++) {
        int like = likeness(l->name, name);
        if (isnan(l->seconds) || like < most)
            continue;
        if (like > most)
            total = count = 0;
        most = like;
        total += l->seconds;
        count++;
    }
    return count ? total / count : NAN;
}

/* "; about 12 minutes are left" or nothing, a new string. */
static char *rest_text(const struct looks *looks)
{
    double left = 0;
    const char *about = "about";
    for (const struct look *l = looks->list; l < looks->list + looks->count; l++) {
        double seconds = l->record ? 0 : guess(looks, l->name);
        if (isnan(seconds))
            about = "more than";
        else
            left += fmax(0, seconds - (isnan(l->begun) ? 0 : l->begun));
    }
    left /= looks->begun > 1 ? looks->begun : 1;
    /* Say the seconds that are left in a unit of their size */
    bool hours = left >= 5400, minutes = left >= 90;
    double number = hours ? left / 3600 : minutes ? left / 60 : left;
    if (number < 1)
        return text_format("%s", "");
    return text_format("; %s %.*f %s are left", about, hours ? 1 : 0, number,
                       hours ? "hours" : minutes ? "minutes" : "seconds");
}

/* Choose the stages whose curves are shown */
enum { SHOWN = 4 };

/* Returns how many. */
static int choose(const struct looks *looks, const struct look *shown[SHOWN])
{
    int count = 0;
    const struct look *longest = NULL;
    for (const struct look *l = looks->list; l < looks->list + looks->count; l++) {
        if (!isnan(l->begun) && count < SHOWN)
            shown[count++] = l;
        if (l->record && (!longest || l->seconds > longest->seconds))
            longest = l;
    }
    if (count == 0 && longest)
        shown[count++] = longest;
    return count;
}

/* Write the tables of the curves */
/* The curve of a stage; NULL if there is none. */
static struct grid *read_curve(const struct looks *looks, const char *name,
                               const char *suffix)
{
    char *path = text_format("%s/curves/%s%s.tsv", looks->run, name, suffix);
    struct grid *grid = file_exists(path) ? grid_read(path) : NULL;
    free(path);
    return grid;
}

/* The columns of a curve, which are separated by spaces, as a block. */
static void write_block(FILE *stream, const char *name, const struct grid *curve,
                        const char *columns)
{
    fprintf(stream, "%s%s\n", ftell(stream) > 0 ? "\n\n" : "", name);
    for (int row = 0; row < curve->rows; row++) {
        for (const char *at = columns; *at; at += strspn(at, " ")) {
            char *column = text_format("%.*s", (int)strcspn(at, " "), at);
            fprintf(stream, "%s%s", at == columns ? "" : "\t",
                    grid_text(curve, row, grid_column(curve, column)));
            at += strlen(column);
            free(column);
        }
        fputc('\n', stream);
    }
}

static struct file_writer *open_table(const char *out, const char *name)
{
    char *path = text_format("%s/%s.tsv", out, name);
    struct file_writer *writer = file_create(path);
    free(path);
    return writer;
}

static void write_losses(const struct looks *looks, const struct look *const *shown,
                         int count, const char *out)
{
    struct file_writer *speed = NULL;
    for (int i = 0; i < count; i++) {
        struct grid *curve = read_curve(looks, shown[i]->name, "");
        if (!curve)
            continue;
        if (!speed)
            speed = open_table(out, "speed");
        write_block(file_stream(speed), shown[i]->name, curve,
                    "step tokens_per_second");
        /* Write the table of one loss */
        char *table = text_format("loss-%s", shown[i]->name);
        struct file_writer *loss = open_table(out, table);
        write_block(file_stream(loss), "loss", curve,
                    grid_has(curve, "relations") ? "step loss mlm kl cosine relations"
                                                 : "step loss mlm kl cosine");
        file_commit(loss);
        free(table);
        free(curve);
    }
    if (speed)
        file_commit(speed);
}

static void write_accuracy(const struct looks *looks, const char *out)
{
    struct file_writer *writer = NULL;
    for (const struct look *l = looks->list; l < looks->list + looks->count; l++) {
        struct grid *curve = l->record || !isnan(l->begun)
                                 ? read_curve(looks, l->name, "-validation")
                                 : NULL;
        if (!curve)
            continue;
        if (!writer)
            writer = open_table(out, "accuracy");
        write_block(file_stream(writer), l->name, curve, "step accuracy");
        free(curve);
    }
    if (writer)
        file_commit(writer);
}

/* Gather the scores */
struct score {
    int task;          /* its place in task_list */
    const struct planned_model *model;
    double value;
};

struct scores {
    struct score *list;
    int count;
};

static struct scores gather(const struct looks *looks, const struct plan *plan)
{
    int tasks = 0;
    while (task_list[tasks].name)
        tasks++;
    struct scores scores = {0};
    scores.list = allocate((size_t)(looks->count * tasks), sizeof *scores.list);
    for (const struct look *l = looks->list; l < looks->list + looks->count; l++) {
        json_t *name = json_object_get(l->record, "model");
        const struct planned_model *model =
            name ? plan_model(plan, json_string_value(name)) : NULL;
        /* Take the scores of one record */
        json_t *values = json_object_get(l->record, "scores");
        for (int task = 0; model && task < tasks; task++) {
            json_t *value = json_object_get(values, task_list[task].name);
            if (json_is_number(value))
                scores.list[scores.count++] =
                    (struct score){task, model, json_number_value(value)};
        }
    }
    return scores;
}

static int score_order(const void *a, const void *b)
{
    const struct score *one = a, *other = b;
    int rank = one->model->rank - other->model->rank;
    return rank ? rank : one->task - other->task;
}

/* How many scores, from the first of a model on, are that model's. */
static int of_model(const struct scores *scores, int first)
{
    int end = first;
    while (end < scores->count && scores->list[end].model == scores->list[first].model)
        end++;
    return end - first;
}

/* The column of a task among those that have a score; −1 if it has none. */
static int column_of(const struct scores *scores, int task)
{
    int column = 0;
    for (int other = 0; other <= task; other++) {
        bool scored = false;
        for (int i = 0; i < scores->count && !scored; i++)
            scored = scores->list[i].task == other;
        if (other == task)
            return scored ? column : -1;
        column += scored;
    }
    return -1;
}

/* Write the table of the scores */
static void write_points(FILE *stream, const char *name, const struct scores *scores,
                         int first, int count)
{
    fprintf(stream, "%s%s\n", ftell(stream) > 0 ? "\n\n" : "", name);
    for (const struct score *s = scores->list + first; count > 0; s++, count--)
        fprintf(stream, "%d\t%s\t%.4f\n", column_of(scores, s->task),
                task_list[s->task].title, s->value);
}

static void plot_scores(const struct scores *scores, const char *out)
{
    if (scores->count == 0)
        return;
    struct file_writer *writer = open_table(out, "scores");
    FILE *stream = file_stream(writer);
    write_points(stream, "tasks", scores, 0, scores->count);
    for (int first = 0; first < scores->count; first += of_model(scores, first))
        write_points(stream, scores->list[first].model->title, scores, first,
                     of_model(scores, first));
    file_commit(writer);
}

static void write_cell(FILE *page, const struct score *list, int count, int task)
{
    double *values = allocate((size_t)count, sizeof *values);
    int seeds = 0;
    for (int i = 0; i < count; i++)
        if (list[i].task == task)
            values[seeds++] = list[i].value;
    fputs("<td>", page);
    if (seeds)
        fprintf(page, "%.1f <small>%d</small>", measure_median(values, seeds), seeds);
    free(values);
}

static void write_scores(FILE *page, const struct scores *scores)
{
    if (scores->count == 0)
        return;
    fputs("<h2>Scores</h2>\n<p>The median of the seeds so far, and how many these"
          " are.</p>\n<table>\n<tr><th>", page);
    for (int task = 0; task_list[task].name; task++)
        if (column_of(scores, task) >= 0)
            fprintf(page, "<th>%s", task_list[task].title);
    for (int first = 0; first < scores->count; first += of_model(scores, first)) {
        const struct score *list = scores->list + first;
        fprintf(page, "\n<tr><th>%s", list->model->title);
        for (int task = 0; task_list[task].name; task++)
            if (column_of(scores, task) >= 0)
                write_cell(page, list, of_model(scores, first), task);
    }
    fputs("\n</table>\n", page);
}

/* Write a piece of the page */
static void write_stage(FILE *page, const struct looks *looks, const struct look *look)
{
    const struct {
        const char *column;
        int decimals;
    } cells[] = {{"step", 0}, {"loss", 4}, {"tokens_per_second", 0}};
    struct grid *curve = read_curve(looks, look->name, "");
    fprintf(page, "\n<tr><th>%s", look->name);
    for (int i = 0; curve && curve->rows > 0 && i < 3; i++) {
        int column = grid_column(curve, cells[i].column);
        double number = grid_number(curve, curve->rows - 1, column);
        char *text = number_text(number, cells[i].decimals);
        fprintf(page, "<td>%s", text);
        free(text);
    }
    free(curve);
}

static void write_page(const struct looks *looks, const struct scores *scores,
                       FILE *page)
{
    char *rest = rest_text(looks);
    fprintf(page, "<p><progress max=\"%d\" value=\"%d\"></progress></p>\n<p>%d of %d"
            " stages are done%s.</p>\n", looks->count, looks->done, looks->done,
            looks->count, rest);
    if (looks->begun)
        fputs("<table>\n<tr><th>begun<th>step<th>loss<th>tokens/s", page);
    for (const struct look *l = looks->list; l < looks->list + looks->count; l++)
        if (!isnan(l->begun))
            write_stage(page, looks, l);
    if (looks->begun)
        fputs("\n</table>\n", page);
    write_scores(page, scores);
    free(rest);
}

/* Look at a run */
int live_main(int argc, char **argv)
{
    struct stage stage = stage_open(argc, argv, usage, "--profile --run --out --name");
    char *names = text_format("%s", stage.name),
         *path = text_format("%s/state.html", stage.out);
    const struct look *shown[SHOWN] = {0};
    struct looks looks = look_at_all(stage.run, names);
    struct scores scores = gather(&looks, stage.plan);
    qsort(scores.list, (size_t)scores.count, sizeof *scores.list, score_order);
    write_losses(&looks, shown, choose(&looks, shown), stage.out);
    write_accuracy(&looks, stage.out);
    plot_scores(&scores, stage.out);
    struct file_writer *page = file_create(path);
    write_page(&looks, &scores, file_stream(page));
    file_commit(page);
    /* Forget what was seen of a run */
    for (int i = 0; i < looks.count; i++)
        json_decref(looks.list[i].record);
    free(looks.list);
    free(scores.list);
    free(names);
    free(path);
    stage_close(&stage);
    return 0;
}
