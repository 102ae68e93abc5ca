/* Tangled from chapters/26-tasks.md; edit there. */
#include "task.h"
#include "cache.h"
#include "fail.h"
#include "file.h"
#include "random.h"

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* List the tasks */
#define COLA_HEADER "source\tlabel\tstar\tsentence"

const struct task task_list[] = {
    /* List the task of acceptable sentences */
    {
        .name = "cola", .title = "CoLA",
        .metric = MATTHEWS,
        .headline = true, .glue = true,
        .classes = 2, .names = {"0", "1"}, .rows = {8551, 1043},
        .layouts = {
            {{{"CoLA/train.tsv"}, {"CoLA/dev.tsv"}}, COLA_HEADER, NULL},
            {{{"cola_public/raw/in_domain_train.tsv"},
              {"cola_public/raw/in_domain_dev.tsv",
               "cola_public/raw/out_of_domain_dev.tsv"}}, COLA_HEADER, NULL},
        },
        .label = "label", .text = "sentence",
    },
    /* List the task of paraphrases */
    {
        .name = "mrpc", .title = "MRPC",
        .metric = ACCURACY_AND_F1, .also = F1,
        .headline = true, .glue = true,
        .classes = 2, .names = {"0", "1"}, .rows = {3668, 408},
        .layouts = {
            {{{"MRPC/train.tsv"}, {"MRPC/dev.tsv"}}, NULL, NULL},
            {{{"MRPC/msr_paraphrase_train.txt"}, {"MRPC/msr_paraphrase_train.txt"}},
             NULL, "MRPC/mrpc_dev_ids.tsv"},
        },
        .label = "Quality", .text = "#1 String", .second = "#2 String",
        .ids = {"#1 ID", "#2 ID"},
    },
    /* List the tasks that are lists of opinions */
    {
        .name = "imdb", .title = "IMDb",
        .metric = ACCURACY, .headline = true,
        .classes = 2, .names = {"neg", "pos"}, .rows = {25000, 25000},
        .tree = {"aclImdb/train", "aclImdb/test"},
    },
    {
        .name = "sst2", .title = "SST-2",
        .metric = ACCURACY, .glue = true,
        .classes = 2, .names = {"0", "1"}, .rows = {67349, 872},
        .layouts = {{{{"SST-2/train.tsv"}, {"SST-2/dev.tsv"}}, NULL, NULL}},
        .label = "label", .text = "sentence",
    },
    /* List the tasks that compare two sentences */
    {
        .name = "qqp", .title = "QQP",
        .metric = ACCURACY_AND_F1, .also = F1, .glue = true,
        .classes = 2, .names = {"0", "1"}, .rows = {363846, 40430}, .torn = true,
        .layouts = {{{{"QQP/train.tsv"}, {"QQP/dev.tsv"}}, NULL, NULL}},
        .label = "is_duplicate", .text = "question1", .second = "question2",
    },
    {
        .name = "stsb", .title = "STS-B",
        .answer = A_NUMBER,
        .metric = PEARSON_AND_SPEARMAN, .glue = true, .classes = 1, .most = 5,
        .rows = {5749, 1500},
        .layouts = {{{{"STS-B/train.tsv"}, {"STS-B/dev.tsv"}}, NULL, NULL}},
        .label = "score", .text = "sentence1", .second = "sentence2",
    },
    /* List the tasks that draw conclusions */
    {
        .name = "mnli", .title = "MNLI",
        .metric = ACCURACY, .glue = true,
        .classes = 3, .names = {"contradiction", "entailment", "neutral"},
        .rows = {392702, 9815},
        .layouts = {{{{"MNLI/train.tsv"}, {"MNLI/dev_matched.tsv"}}, NULL, NULL}},
        .label = "gold_label", .text = "sentence1", .second = "sentence2",
    },
    {
        .name = "mnlimm", .title = "MNLI mismatched",
        .of = "mnli", .metric = ACCURACY,
        .classes = 3, .names = {"contradiction", "entailment", "neutral"},
        .rows = {0, 9832},
        .layouts = {{{{NULL}, {"MNLI/dev_mismatched.tsv"}}, NULL, NULL}},
        .label = "gold_label", .text = "sentence1", .second = "sentence2",
    },
    {
        .name = "qnli", .title = "QNLI",
        .metric = ACCURACY, .glue = true,
        .classes = 2, .names = {"entailment", "not_entailment"}, .rows = {104743, 5463},
        .layouts = {{{{"QNLI/train.tsv"}, {"QNLI/dev.tsv"}}, NULL, NULL}},
        .label = "label", .text = "question", .second = "sentence",
    },
    {
        .name = "rte", .title = "RTE",
        .metric = ACCURACY, .glue = true,
        .classes = 2, .names = {"entailment", "not_entailment"}, .rows = {2490, 277},
        .layouts = {{{{"RTE/train.tsv"}, {"RTE/dev.tsv"}}, NULL, NULL}},
        .label = "label", .text = "sentence1", .second = "sentence2",
    },
    {
        .name = "wnli", .title = "WNLI",
        .metric = ACCURACY, .glue = true,
        .classes = 2, .names = {"0", "1"}, .rows = {635, 71},
        .layouts = {{{{"WNLI/train.tsv"}, {"WNLI/dev.tsv"}}, NULL, NULL}},
        .label = "label", .text = "sentence1", .second = "sentence2",
    },
    /* List the task of answers in a text */
    {
        .name = "squad", .title = "SQuAD",
        .answer = A_SPAN, .metric = TEXT_OVERLAP,
        .also = TEXT_EXACT,
        .rows = {87599, 10570},
        .layouts = {{{{"train-v1.1.json"}, {"dev-v1.1.json"}}, NULL, NULL}},
    },
    {.name = NULL},
};

/* Find a task by its name */
const struct task *task_find(const char *name)
{
    char *known = text_format("%s", "");
    for (const struct task *task = task_list; task->name; task++) {
        if (strcmp(task->name, name) == 0) {
            free(known);
            return task;
        }
        char *longer = text_format("%s %s", known, task->name);
        free(known);
        known = longer;
    }
    fail(name, "is no task; the tasks are%s", known);
}

/* Collect rows of text */
struct row {
    char *text, *second;   /* owned; second is NULL for a single text */
    double label;
    int index;             /* number of the row in its split */
};

struct rows {
    struct row *list;
    int count, room;
};

static void add_row(struct rows *rows, double label, char *text, char *second)
{
    if (rows->count == rows->room) {
        rows->room = rows->room ? 2 * rows->room : 1024;
        rows->list = realloc(rows->list, (size_t)rows->room * sizeof *rows->list);
        if (!rows->list)
            fail("memory", "%d rows of a task do not fit", rows->room);
    }
    rows->list[rows->count] = (struct row){text, second, label, rows->count};
    rows->count++;
}

/* Find a file in one of the places */
/* find_file: the path of a file or folder of a data set, for the caller to free; NULL
   if it is in none of the places. */
static char *find_file(const char *data_dir, const char *name)
{
    static const char *const places[] = {"glue/", "imdb/", "squad/", ""};
    for (int i = 0; i < 4; i++) {
        char *path = text_format("%s/%s%s", data_dir, places[i], name);
        if (file_exists(path))
            return path;
        free(path);
    }
    return NULL;
}

bool task_is_there(const struct task *task, const char *data_dir)
{
    const struct layout *layout = task->layouts;
    char *path = task->tree[DEV] ? find_file(data_dir, task->tree[DEV]) : NULL;
    for (; !path && layout->files[DEV][0]; layout++)
        path = find_file(data_dir, layout->files[DEV][0]);
    free(path);
    return path;
}

static char *need_file(const char *data_dir, const struct task *task, const char *name)
{
    char *path = find_file(data_dir, name);
    if (!path)
        fail(data_dir, "has no %s: expected %s there, or in glue, imdb or squad",
             task->title, name);
    return path;
}

/* Read the rows of a table */
enum { MOST_COLUMNS = 16 };

struct columns { int label, text, second, ids[2], count; };

/* Cut a line at its tabs */
static int split_line(char *line, char *fields[MOST_COLUMNS])
{
    int count = 0;
    for (char *field = line; field; count++) {
        if (count < MOST_COLUMNS)
            fields[count] = field;
        if ((field = strchr(field, '\t')))
            *field++ = '\0';
    }
    return count;
}

/* Find the columns by their names */
/* find_column: the place of a name among the fields of a header; -1 for name NULL. */
static int find_column(char *fields[], int count, const char *name, const char *path)
{
    int found = -1;
    for (int i = 0; name && i < count && i < MOST_COLUMNS; i++) {
        if (strcmp(fields[i], name) != 0)
            continue;
        if (found >= 0)
            fail(path, "line 1: the column \"%s\" is named twice", name);
        found = i;
    }
    if (name && found < 0)
        fail(path, "line 1: expected a column \"%s\" among the %d", name, count);
    return found;
}

static struct columns find_columns(const struct task *task, char *header, bool ids,
                                   const char *path)
{
    char *fields[MOST_COLUMNS];
    int n = split_line(header, fields);
    return (struct columns){
        .label = find_column(fields, n, task->label, path),
        .text = find_column(fields, n, task->text, path),
        .second = find_column(fields, n, task->second, path),
        .ids = {find_column(fields, n, ids ? task->ids[0] : NULL, path),
                find_column(fields, n, ids ? task->ids[1] : NULL, path)},
        .count = n,
    };
}

/* Read the list of pairs that are the development set */
struct pairs {
    char *path, *text;   /* owned; NULL where there is no list */
    char **lines;        /* [count] */
    int count, found;
};

static struct pairs read_pairs(char *path)
{
    struct pairs pairs = {.path = path};
    if (!path)
        return pairs;
    size_t size;
    pairs.text = file_text(path, &size);
    pairs.lines = allocate(size, sizeof *pairs.lines);
    for (char *line = strtok(pairs.text, "\r\n"); line; line = strtok(NULL, "\r\n"))
        pairs.lines[pairs.count++] = line;
    qsort(pairs.lines, (size_t)pairs.count, sizeof *pairs.lines, text_order);
    return pairs;
}
/* in_pairs: whether the two ids are a pair of the list. */
static bool in_pairs(struct pairs *pairs, const char *a, const char *b)
{
    char *line = text_format("%s\t%s", a, b);
    bool found = bsearch(&line, pairs->lines, (size_t)pairs->count,
                         sizeof *pairs->lines, text_order);
    free(line);
    pairs->found += found;
    return found;
}

static void finish_pairs(struct pairs *pairs, const char *table)
{
    if (pairs->found != pairs->count)
        fail(pairs->path, "has %d pairs of ids; %d rows of %s have such ids",
             pairs->count, pairs->found, table);
    free(pairs->path);
    free(pairs->text);
    free(pairs->lines);
}

/* Read a label */
static double read_label(const struct task *task, const char *label, const char *path,
                         long line)
{
    /* Read a label that is a number */
    char *end;
    double number = strtod(label, &end);
    if (task->answer == A_NUMBER && end > label && !*end && number >= 0
        && number <= task->most)
        return number;
    if (task->answer == A_NUMBER)
        fail(path,
             "line %ld: expected a number from 0 to %g in column \"%s\", found \"%s\"",
             line, task->most, task->label, label);
    for (int class = 0; class < task->classes; class++)
        if (strcmp(task->names[class], label) == 0)
            return class;
    fail(path, "line %ld: expected a class like \"%s\" in column \"%s\", found \"%s\"",
         line, task->names[0], task->label, label);
}

/* Take the row of a line */
static void take_row(const struct task *task, enum split split, struct columns at,
                     struct pairs *pairs, char *line, const char *path, long number,
                     struct rows *rows)
{
    char *fields[MOST_COLUMNS];
    int count = split_line(line, fields);
    if (task->torn && count < at.count)
        return;
    if (count != at.count)
        fail(path, "line %ld: expected %d columns, found %d", number, at.count, count);
    double label = read_label(task, fields[at.label], path, number);
    /* Leave the rows of the other split */
    if (pairs->path) {
        bool dev = in_pairs(pairs, fields[at.ids[0]], fields[at.ids[1]]);
        if (dev != (split == DEV))
            return;
    }
    add_row(rows, label, text_format("%s", fields[at.text]),
            task->second ? text_format("%s", fields[at.second]) : NULL);
}

/* Read one file of a table */
static void read_table(const struct task *task, enum split split,
                       const struct layout *layout, struct pairs *pairs,
                       const char *path, struct rows *rows)
{
    size_t size;
    char *text = file_text(path, &size), *end = text + size, *line = text, *next;
    char *header = layout->header ? text_format("%s", layout->header) : NULL;
    struct columns at = {0};
    while (end > text && (end[-1] == '\n' || end[-1] == '\r'))
        *--end = '\0'; /* an empty last line is no row */
    if (header)
        at = find_columns(task, header, layout->dev_ids, path);
    for (long number = 1; line < end; number++, line = next) {
        /* End the line where its text ends */
        char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        if (newline)
            newline[newline > line && newline[-1] == '\r' ? -1 : 0] = '\0';
        if (number == 1 && !header)
            at = find_columns(task, line, layout->dev_ids, path);
        else
            take_row(task, split, at, pairs, line, path, number, rows);
    }
    free(header);
    free(text);
}

/* Read a table in the layout that is there */
static void read_tables(const struct task *task, const char *data_dir, enum split split,
                        struct rows *rows)
{
    const struct layout *layout = task->layouts;
    char *path = NULL;
    /* Choose the layout whose file is there */
    for (; layout->files[split][0]; layout++)
        if ((path = find_file(data_dir, layout->files[split][0])))
            break;
    if (!path)
        layout = task->layouts;
    free(path);
    path = layout->dev_ids ? need_file(data_dir, task, layout->dev_ids) : NULL;
    struct pairs pairs = read_pairs(path);
    for (int i = 0; i < 2 && layout->files[split][i]; i++) {
        path = need_file(data_dir, task, layout->files[split][i]);
        read_table(task, split, layout, &pairs, path, rows);
        free(path);
    }
    finish_pairs(&pairs, layout->files[split][0]);
}

/* Read the rows of a tree */
static int is_text_file(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && strcmp(dot, ".txt") == 0;
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
    long x = strtol((*a)->d_name, NULL, 10), y = strtol((*b)->d_name, NULL, 10);
    return x != y ? (x > y) - (x < y) : strcmp((*a)->d_name, (*b)->d_name);
}

static void read_folder(const char *path, int class, struct rows *rows)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_text_file, by_number);
    if (count <= 0)
        fail(path, "expected a folder with .txt files in it");
    for (int i = 0; i < count; i++) {
        char *file = text_format("%s/%s", path, entries[i]->d_name);
        add_row(rows, class, file_text(file, NULL), NULL);
        free(file);
        free(entries[i]);
    }
    free(entries);
}
static void read_tree(const struct task *task, const char *data_dir, enum split split,
                      struct rows *rows)
{
    char *tree = need_file(data_dir, task, task->tree[split]);
    for (int class = 0; class < task->classes; class++) {
        char *path = text_format("%s/%s", tree, task->names[class]);
        read_folder(path, class, rows);
        free(path);
    }
    free(tree);
}

/* Keep a balanced sample */
enum { SAMPLING = 0x73616d70 };

/* sample: which of count rows are kept, [count]. list: their labels; NULL: of one
   class, all. barred: [count] those that are not to be; NULL: none. */
static bool *sample(const struct row *list, int count, int classes, int limit,
                    const bool *barred)
{
    int *order = batch_order(count, SAMPLING, 0), kept = 0;
    int *taken = allocate((size_t)classes, sizeof *taken);
    bool *keep = allocate((size_t)count, sizeof *keep);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < count && kept < limit; i++) {
            /* Keep the row if its class has room */
            int row = order[i], class = classes > 1 ? (int)list[row].label : 0;
            int share = limit / classes + (class < limit % classes);
            if (!keep[row] && (round == 1 || taken[class] < share)
                && !(barred && barred[row])) {
                keep[row] = true;
                taken[class]++;
                kept++;
            }
        }
    free(order);
    free(taken);
    return keep;
}

/* stored_in: the split in whose files a split's rows are. */
static enum split stored_in(enum split split)
{
    return split == DEV ? DEV : TRAIN;
}

/* choose_rows: which of the count > 0 rows of a split's files are read, [count]; in
   *split_rows how many of them are in the split. */
static bool *choose_rows(const struct row *list, int count, int classes,
                         enum split split, struct reading reading, int *split_rows)
{
    int held_back = split == DEV ? 0 : reading.held_back;
    held_back = held_back < count ? held_back : count;
    bool *held = sample(list, count, classes, held_back, NULL);
    *split_rows = split == HELD_BACK ? held_back : count - held_back;
    if (split == HELD_BACK)
        return held;
    bool *keep =
        sample(list, count, classes, reading.limit ? reading.limit : count, held);
    free(held);
    return keep;
}

static void keep_rows(struct rows *rows, const bool *keep)
{
    int count = 0;
    for (int i = 0; i < rows->count; i++) {
        if (keep[i]) {
            rows->list[count++] = rows->list[i];
        } else {
            free(rows->list[i].text);
            free(rows->list[i].second);
        }
    }
    rows->count = count;
}

/* Encode the rows */
static uint64_t rows_key(const struct rows *rows, const struct tokenizer *tokenizer,
                         int max_length)
{
    uint64_t key = cache_hash(tokenizer->hash, &max_length, sizeof max_length);
    for (const struct row *row = rows->list; row < rows->list + rows->count; row++) {
        const char *second = row->second ? row->second : "\xFF";
        key = cache_hash(key, row->text, strlen(row->text) + 1);
        key = cache_hash(key, second, strlen(second) + 1);
    }
    return key;
}
static int *encode_texts(const struct rows *rows, const struct tokenizer *tokenizer,
                         int max_length, int64_t *count)
{
    uint64_t key = rows_key(rows, tokenizer, max_length);
    int *numbers = cache_read(key, count);
    if (numbers)
        return numbers;
    numbers = allocate((size_t)rows->count * (size_t)(max_length + 2), sizeof *numbers);
    *count = 0;
    for (const struct row *row = rows->list; row < rows->list + rows->count; row++) {
        /* Encode the texts of the row */
        int *at = numbers + *count;
        at[0] = tokenizer_encode_pair(tokenizer, row->text, row->second, max_length,
                                      at + 2, at + 1);
        *count += 2 + at[0];
    }
    cache_write(key, numbers, *count);
    return numbers;
}
static struct examples *encode_rows(struct rows *rows,
                                    const struct tokenizer *tokenizer, int max_length)
{
    int64_t count, n = rows->count;
    int *numbers = encode_texts(rows, tokenizer, max_length, &count), *at = numbers;
    struct examples *e = allocate(1, sizeof *e);
    /* Make room for the examples */
    *e = (struct examples){
        .starts = allocate((size_t)n + 1, sizeof *e->starts),
        .ids = allocate((size_t)(count - 2 * n), sizeof *e->ids),
        .firsts = allocate((size_t)n, sizeof *e->firsts),
        .labels = allocate((size_t)n, sizeof *e->labels),
        .indices = allocate((size_t)n, sizeof *e->indices),
    };
    for (; e->count < n; e->count++, at += 2 + at[0]) {
        /* Append the pieces of the row */
        struct row *row = &rows->list[e->count];
        int64_t start = e->starts[e->count];
        memcpy(e->ids + start, at + 2, (size_t)at[0] * sizeof *at);
        e->starts[e->count + 1] = start + at[0];
        e->firsts[e->count] = at[1];
        e->labels[e->count] = row->label;
        e->indices[e->count] = row->index;
        free(row->text);
        free(row->second);
    }
    free(numbers);
    e->kept = e->count;
    return e;
}

/* Refuse a split without rows */
static void need_rows(const struct task *task, const char *data_dir, enum split split,
                      int count)
{
    if (count == 0)
        fail(data_dir, "has no row of %s in its %s", task->title,
             split == DEV ? "development set" : "training set");
}

static void need_some(const struct task *task, const char *data_dir, enum split split,
                      const struct examples *e)
{
    if (e->rows == 0)
        fail(data_dir, "has %d training rows of %s: %s of them held back", e->published,
             task->title, split == TRAIN ? "expected fewer" : "expected some");
}

/* Read the windows of questions */
static struct examples *read_windows(const struct task *task, const char *data_dir,
                                     enum split split,
                                     const struct tokenizer *tokenizer,
                                     struct reading reading)
{
    char *path = need_file(data_dir, task, task->layouts[0].files[stored_in(split)][0]);
    struct examples *e = allocate(1, sizeof *e);
    struct questions *q = e->questions = questions_read(path);
    free(path);
    /* Keep a sample of the questions */
    need_rows(task, data_dir, split, q->count);
    e->published = q->count;
    bool *keep = choose_rows(NULL, q->count, 1, split, reading, &e->rows);
    need_some(task, data_dir, split, e);
    questions_keep(q, keep);
    free(keep);
    e->kept = q->count;
    questions_encode(q, tokenizer);
    e->windows = questions_cut(q, reading.length, reading.stride, &e->count);
    /* Write the windows as examples */
    size_t n = (size_t)e->count;
    e->starts = allocate(n + 1, sizeof *e->starts);
    for (size_t i = 0; i < n; i++)
        e->starts[i + 1] = e->starts[i] + q->list[e->windows[i].question].length
                         + e->windows[i].count + 3;
    e->ids = allocate((size_t)e->starts[n], sizeof *e->ids);
    e->firsts = allocate(n, sizeof *e->firsts);
    e->labels = allocate(n, sizeof *e->labels);
    e->indices = allocate(n, sizeof *e->indices);
    e->spans = allocate(2 * n, sizeof *e->spans);
    /* Write the sequence and the answer of each window */
    for (size_t i = 0; i < n; i++) {
        window_sequence(q, &e->windows[i], tokenizer, e->ids + e->starts[i],
                        &e->firsts[i]);
        window_answer(q, &e->windows[i], e->spans + 2 * i);
        e->indices[i] = q->list[e->windows[i].question].index;
    }
    return e;
}

/* Read a split of a task */
struct examples *task_read(const struct task *task, const char *data_dir,
                           enum split split, const struct tokenizer *tokenizer,
                           struct reading reading)
{
    struct rows rows = {0};
    struct examples whole = {0};
    if (task->answer == A_SPAN)
        return read_windows(task, data_dir, split, tokenizer, reading);
    if (task->tree[stored_in(split)])
        read_tree(task, data_dir, stored_in(split), &rows);
    else
        read_tables(task, data_dir, stored_in(split), &rows);
    /* Choose among the rows */
    need_rows(task, data_dir, split, whole.published = rows.count);
    bool *keep = choose_rows(rows.list, rows.count, task->classes, split, reading,
                             &whole.rows);
    need_some(task, data_dir, split, &whole);
    keep_rows(&rows, keep);
    struct examples *examples = encode_rows(&rows, tokenizer, reading.length);
    examples->published = whole.published;
    examples->rows = whole.rows;
    free(keep);
    free(rows.list);
    return examples;
}

void examples_free(struct examples *e)
{
    free(e->starts);
    free(e->ids);
    free(e->firsts);
    free(e->labels);
    free(e->indices);
    if (e->questions)
        questions_free(e->questions);
    free(e->windows);
    free(e->spans);
    free(e);
}
void task_check_rows(const struct task *task, enum split split,
                     const struct examples *examples)
{
    int published = task->rows[stored_in(split)];
    if (published && published != examples->published)
        fprintf(stderr, "distil: %s: warning: %d rows, where %d were published\n",
                task->title, examples->published, published);
    if (examples->questions && examples->questions->misplaced)
        fprintf(stderr, "distil: %s: warning: %d answers do not stand where the file "
                "says\n", task->title, examples->questions->misplaced);
}

/* Fill a batch from examples */
void examples_batch(const struct examples *e, const int *order, int first, int count,
                    struct batch *batch, int pad_to)
{
    batch_clear(batch);
    for (int i = first; i < first + count && i < e->count; i++) {
        int n = order ? order[i] : i, length = (int)(e->starts[n + 1] - e->starts[n]);
        batch_append(batch, e->ids + e->starts[n], length, e->firsts[n], pad_to);
        batch->classes[batch->sequences - 1] = (int)e->labels[n];
        batch->numbers[batch->sequences - 1] = (float)e->labels[n];
        if (e->spans)
            memcpy(batch->spans + 2 * (batch->sequences - 1), e->spans + 2 * n,
                   2 * sizeof *e->spans);
    }
}
