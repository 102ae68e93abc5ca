/* Tasks: every layout, every kind of malformed row, and a task that is only a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "catch.h"
#include "batch.h"
#include "cache.h"
#include "fail.h"
#include "file.h"
#include "folder.h"
#include "task.h"
#include "tokenizer.h"

/* ids of tests/fixtures/tokenizer/ab.txt */
enum { PAD, UNK, CLS, SEP, MASK, A, B, AB };

static struct tokenizer *tokenizer;
static int open_vocabulary(void **state)
{
    (void)state;
    tokenizer = tokenizer_open("tests/fixtures/tokenizer/ab.txt");
    return 0;
}

static int free_vocabulary(void **state)
{
    (void)state;
    tokenizer_free(tokenizer);
    return 0;
}

static void put(const char *name, const char *text)
{
    free(folder_put(name, text));
}

static struct examples *read_split(const char *task, enum split split, int limit)
{
    return task_read(task_find(task), folder, split, tokenizer, (struct reading){.length = 16, .limit = limit});
}

/* expect: the examples are these labels, and their pieces, one after the other, these ids. */
static void expect(struct examples *e, int count, const int *labels, int tokens, const int *ids)
{
    assert_int_equal(e->count, count);
    assert_int_equal(e->rows, count);
    assert_int_equal(e->starts[count], tokens);
    for (int i = 0; i < count; i++) {
        assert_int_equal(e->labels[i], labels[i]);
        assert_int_equal(e->indices[i], i);
    }
    for (int i = 0; i < tokens; i++)
        assert_int_equal(e->ids[i], ids[i]);
    examples_free(e);
}

static void cola_has_no_header(void **state)
{
    (void)state;
    put("glue/CoLA/train.tsv", "gj04\t1\t\ta b\ngj04\t0\t*\t\"b\n");
    put("glue/CoLA/dev.tsv", "gj04\t0\t*\tab"); /* no newline at the end, as in the original */
    expect(read_split("cola", TRAIN, 0), 2, (int[]){1, 0}, 8, (int[]){CLS, A, B, SEP, CLS, UNK, B, SEP});
    expect(read_split("cola", DEV, 0), 1, (int[]){0}, 3, (int[]){CLS, AB, SEP});
}

static void cola_comes_from_its_authors_too(void **state)
{
    (void)state;
    put("cola_public/raw/in_domain_train.tsv", "gj04\t1\t\ta\n");
    put("cola_public/raw/in_domain_dev.tsv", "gj04\t1\t\ta\n");
    put("cola_public/raw/out_of_domain_dev.tsv", "clc95\t0\t*\tb\n");
    expect(read_split("cola", TRAIN, 0), 1, (int[]){1}, 3, (int[]){CLS, A, SEP});
    expect(read_split("cola", DEV, 0), 2, (int[]){1, 0}, 6, (int[]){CLS, A, SEP, CLS, B, SEP});
}

#define MRPC_HEADER "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"

static void mrpc_takes_its_development_set_out(void **state)
{
    (void)state;
    put("glue/MRPC/msr_paraphrase_train.txt", "\xEF\xBB\xBF" MRPC_HEADER
        "1\t10\t11\ta\tb\n0\t12\t13\tb\ta\n1\t1\t213\tab\ta\n1\t11\t10\tab\tb\n");
    put("glue/MRPC/mrpc_dev_ids.tsv", "12\t13\n11\t10\n");
    expect(read_split("mrpc", TRAIN, 0), 2, (int[]){1, 1}, 10,
           (int[]){CLS, A, SEP, B, SEP, CLS, AB, SEP, A, SEP});
    struct examples *e = read_split("mrpc", DEV, 0);
    assert_int_equal(e->firsts[0], 3);
    expect(e, 2, (int[]){0, 1}, 10, (int[]){CLS, B, SEP, A, SEP, CLS, AB, SEP, B, SEP});
    put("glue/MRPC/mrpc_dev_ids.tsv", "12\t13\n99\t10\n");
    EXPECT_FAIL(read_split("mrpc", DEV, 0), "mrpc_dev_ids.tsv: has 2 pairs of ids; 1 rows of");
}

static void mrpc_has_a_header_in_glue(void **state)
{
    (void)state;
    put("MRPC/train.tsv", "#1 String\t#2 ID\t#1 ID\tQuality\t#2 String\r\na\t1\t2\t1\tb\r\n");
    put("MRPC/dev.tsv", MRPC_HEADER "0\t1\t2\t\"a\t'b\n");
    expect(read_split("mrpc", TRAIN, 0), 1, (int[]){1}, 5, (int[]){CLS, A, SEP, B, SEP});
    expect(read_split("mrpc", DEV, 0), 1, (int[]){0}, 7, (int[]){CLS, UNK, A, SEP, UNK, B, SEP});
}

static void imdb_is_read_in_the_order_of_numbers(void **state)
{
    (void)state;
    put("imdb/aclImdb/train/pos/2_9.txt", "a");
    put("imdb/aclImdb/train/pos/10_7.txt", "b");
    put("imdb/aclImdb/train/neg/0_1.txt", "ab");
    put("imdb/aclImdb/train/neg/notes.html", "a");
    put("aclImdb/test/pos/0_10.txt", "a\tb\n<br />\n");
    put("aclImdb/test/neg/0_2.txt", "");
    expect(read_split("imdb", TRAIN, 0), 3, (int[]){0, 1, 1}, 9,
           (int[]){CLS, AB, SEP, CLS, A, SEP, CLS, B, SEP});
    expect(read_split("imdb", DEV, 0), 2, (int[]){0, 1}, 10,
           (int[]){CLS, SEP, CLS, A, B, UNK, UNK, UNK, UNK, SEP});
    put("imdb/aclImdb/test/pos/0_10.txt", "a"); /* found first, and without a class */
    EXPECT_FAIL(read_split("imdb", DEV, 0), "aclImdb/test/neg: expected a folder with .txt files");
}

static void long_rows_are_cut(void **state)
{
    (void)state;
    put("CoLA/train.tsv", "x\t1\t\ta b a b a b a b a b a b a b a b a b a b\n");
    struct examples *e = read_split("cola", TRAIN, 0);
    assert_int_equal(e->starts[1], 16);
    assert_int_equal(e->ids[15], SEP);
    assert_int_equal(e->firsts[0], 16);
    examples_free(e);
}

/* A task that this program has never heard of. */
static void a_new_task_is_a_row(void **state)
{
    (void)state;
    const struct task sick = {
        .name = "sick", .title = "SICK", .metric = ACCURACY,
        .classes = 3, .names = {"NEUTRAL", "ENTAILMENT", "CONTRADICTION"}, .rows = {4500, 500},
        .layouts = {{{{"SICK_train.txt"}, {"SICK_trial.txt"}}, NULL, NULL}},
        .label = "entailment_judgment", .text = "sentence_A", .second = "sentence_B",
    };
    put("SICK_trial.txt", "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
        "4\ta\tb\t4.9\tCONTRADICTION\n24\tb\ta\t3.5\tNEUTRAL\n");
    expect(task_read(&sick, folder, DEV, tokenizer, (struct reading){.length = 16}), 2, (int[]){2, 0}, 10,
           (int[]){CLS, A, SEP, B, SEP, CLS, B, SEP, A, SEP});
}

static void sst2_has_a_header(void **state)
{
    (void)state;
    put("glue/SST-2/dev.tsv", "sentence\tlabel\na b \t1\n");
    expect(read_split("sst2", DEV, 0), 1, (int[]){1}, 4, (int[]){CLS, A, B, SEP});
}

static void torn_lines_of_qqp_are_left_out(void **state)
{
    (void)state;
    const char *table = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
                        "1\t2\t3\t\"a\tb\t1\n" /* one quotation mark */
                        "4\t5\t6\ta\n"
                        "b\ta\t0\n\n"
                        "7\t8\t9\tb\tab\t0\n";
    put("glue/QQP/train.tsv", table);
    expect(read_split("qqp", TRAIN, 0), 2, (int[]){1, 0}, 11,
           (int[]){CLS, UNK, A, SEP, B, SEP, CLS, B, SEP, AB, SEP});
    put("glue/QQP/dev.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta\tb\t1\t1\n");
    EXPECT_FAIL(read_split("qqp", DEV, 0), "dev.tsv: line 2: expected 6 columns, found 7");
}

static void stsb_asks_for_numbers(void **state)
{
    (void)state;
    const char *header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n";
    char *table = text_format("%s0\tmain\tMSR\t2012\t0001\tnone\tnone\ta\t\"b\t3.800\n"
                              "1\tmain\tMSR\t2012\t0002\tnone\tnone\tb\ta\t0\n", header);
    put("glue/STS-B/train.tsv", table);
    free(table);
    struct examples *e = read_split("stsb", TRAIN, 0);
    assert_true(e->labels[0] == 3.8 && e->labels[1] == 0);
    struct batch *b = batch_create(32, 4);
    examples_batch(e, NULL, 0, 2, b, 0);
    assert_true(b->numbers[0] == 3.8f && b->numbers[1] == 0);
    batch_free(b);
    examples_free(e);
    e = read_split("stsb", TRAIN, 1); /* a sample, without classes to balance */
    assert_int_equal(e->count, 1);
    examples_free(e);
    const char *const bad[] = {"", "good", "3.8x", "nan", "-0.1", "5.001", "inf"};
    for (int i = 0; i < 7; i++) {
        table = text_format("score\tsentence1\tsentence2\n1\ta\tb\n%s\ta\tb\n", bad[i]);
        put("glue/STS-B/dev.tsv", table);
        free(table);
        EXPECT_FAIL(read_split("stsb", DEV, 0),
                    "dev.tsv: line 3: expected a number from 0 to 5 in column \"score\", found \"");
    }
    put("glue/STS-B/dev.tsv", "score\tsentence1\tscore\tsentence2\n1\ta\t2\tb\n");
    EXPECT_FAIL(read_split("stsb", DEV, 0), "dev.tsv: line 1: the column \"score\" is named twice");
}

static void mnli_has_two_development_sets(void **state)
{
    (void)state;
    const char *matched = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
                          "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\t"
                          "label4\tlabel5\tgold_label\n"
                          "0\t63735\t63735n\tslate\t( a )\t( b )\t(ROOT a)\t(ROOT b)\ta\tb\t"
                          "neutral\tneutral\tneutral\tneutral\tcontradiction\tneutral\n";
    put("glue/MNLI/train.tsv", "sentence1\tsentence2\tlabel1\tgold_label\nb\ta\tneutral\tcontradiction\n"
        "a\ta\tneutral\tentailment\n");
    put("glue/MNLI/dev_matched.tsv", matched);
    put("glue/MNLI/dev_mismatched.tsv", "sentence1\tsentence2\tgold_label\nab\tab\tentailment\n");
    expect(read_split("mnli", TRAIN, 0), 2, (int[]){0, 1}, 10, (int[]){CLS, B, SEP, A, SEP, CLS, A, SEP, A, SEP});
    expect(read_split("mnli", DEV, 0), 1, (int[]){2}, 5, (int[]){CLS, A, SEP, B, SEP});
    expect(read_split("mnlimm", DEV, 0), 1, (int[]){1}, 5, (int[]){CLS, AB, SEP, AB, SEP});
    assert_string_equal(task_find("mnlimm")->of, "mnli");
    EXPECT_FAIL(read_split("mnlimm", TRAIN, 0), "has no row of MNLI mismatched in its training set");
}

static void the_others_of_glue_differ_in_their_columns(void **state)
{
    (void)state;
    put("glue/QNLI/dev.tsv", "index\tquestion\tsentence\tlabel\n0\ta\tb\tnot_entailment");
    put("glue/RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tb\ta\tentailment\n");
    put("glue/WNLI/dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tab\t1\n");
    expect(read_split("qnli", DEV, 0), 1, (int[]){1}, 5, (int[]){CLS, A, SEP, B, SEP});
    expect(read_split("rte", DEV, 0), 1, (int[]){0}, 5, (int[]){CLS, B, SEP, A, SEP});
    expect(read_split("wnli", DEV, 0), 1, (int[]){1}, 5, (int[]){CLS, A, SEP, AB, SEP});
}

/* kept: the key of the one file in the cache, which is removed. */
static uint64_t kept(void)
{
    char *command = text_format("ls %s/cache && rm %s/cache/*", folder, folder), name[64];
    FILE *pipe = popen(command, "r");
    assert_int_equal(fscanf(pipe, "%63s", name), 1);
    assert_int_equal(fscanf(pipe, "%63s", name), EOF);
    assert_int_equal(pclose(pipe), 0);
    free(command);
    return strtoull(name, NULL, 16);
}

static uint64_t kept_for(const char *rows, int max_length)
{
    put("MRPC/dev.tsv", rows);
    examples_free(task_read(task_find("mrpc"), folder, DEV, tokenizer, (struct reading){.length = max_length}));
    return kept();
}

static void pieces_are_kept(void **state)
{
    (void)state;
    char *cache = text_format("%s/cache", folder);
    setenv("DISTIL_CACHE", cache, 1);
    uint64_t key = kept_for(MRPC_HEADER "1\t10\t11\ta\tb\n", 16);
    assert_true(kept_for(MRPC_HEADER "1\t10\t11\ta\tb\n", 15) != key);
    assert_true(kept_for(MRPC_HEADER "1\t10\t11\ta\ta\n", 16) != key);
    assert_true(kept_for(MRPC_HEADER "1\t10\t11\ta b\t\n", 16) != key);
    assert_true(kept_for(MRPC_HEADER "0\t7\t8\ta\tb\n", 16) == key); /* labels and ids are read anew */
    cache_write(key, (int[]){4, 2, CLS, SEP, AB, SEP}, 6);
    put("MRPC/dev.tsv", MRPC_HEADER "0\t7\t8\ta\tb\n");
    expect(read_split("mrpc", DEV, 0), 1, (int[]){0}, 4, (int[]){CLS, SEP, AB, SEP});
    unsetenv("DISTIL_CACHE");
    free(cache);
}

static void empty_last_lines_are_no_rows(void **state)
{
    (void)state;
    put("CoLA/train.tsv", "x\t0\t\tb\nx\t1\t\ta\r\n\n\r\n\n");
    expect(read_split("cola", TRAIN, 0), 2, (int[]){0, 1}, 6, (int[]){CLS, B, SEP, CLS, A, SEP});
    put("CoLA/train.tsv", "x\t0\t\tb");
    expect(read_split("cola", TRAIN, 0), 1, (int[]){0}, 3, (int[]){CLS, B, SEP});
}

static void malformed_tables_are_refused_by_line(void **state)
{
    (void)state;
    EXPECT_FAIL(task_find("hans"), "hans: is no task; the tasks are cola mrpc imdb");
    EXPECT_FAIL(read_split("cola", DEV, 0),
                "has no CoLA: expected CoLA/dev.tsv there, or in glue, imdb or squad");
    put("CoLA/train.tsv", "x\t1\t\ta\nx\t1\tb\n");
    EXPECT_FAIL(read_split("cola", TRAIN, 0), "CoLA/train.tsv: line 2: expected 4 columns, found 3");
    put("CoLA/train.tsv", "x\t1\t\ta\tb\n");
    EXPECT_FAIL(read_split("cola", TRAIN, 0), "line 1: expected 4 columns, found 5");
    put("CoLA/train.tsv", "x\t1\t\ta\n\nx\t1\t\ta\n");
    EXPECT_FAIL(read_split("cola", TRAIN, 0), "line 2: expected 4 columns, found 1");
    put("CoLA/train.tsv", "x\t2\t\ta\n");
    EXPECT_FAIL(read_split("cola", TRAIN, 0),
                "line 1: expected a class like \"0\" in column \"label\", found \"2\"");
    put("CoLA/train.tsv", "");
    EXPECT_FAIL(read_split("cola", TRAIN, 0), "has no row of CoLA in its training set");
    put("SST-2/dev.tsv", "sentences\tlabel\na\t1\n");
    EXPECT_FAIL(read_split("sst2", DEV, 0), "dev.tsv: line 1: expected a column \"sentence\" among the 2");
    put("MRPC/msr_paraphrase_train.txt", MRPC_HEADER "1\t10\t11\ta\tb\n");
    EXPECT_FAIL(read_split("mrpc", DEV, 0), "expected MRPC/mrpc_dev_ids.tsv there");
}

static void samples_are_balanced_and_repeatable(void **state)
{
    (void)state;
    enum { ROWS = 200, ONES = 30 };
    char *path = text_format("%s/CoLA/train.tsv", folder);
    struct file_writer *w = file_create(path);
    for (int i = 0; i < ROWS; i++)
        fprintf(file_stream(w), "x\t%d\t\t%s\n", i < ONES, i < ONES ? "a" : "b");
    file_commit(w);
    free(path);
    struct examples *e = read_split("cola", TRAIN, 41), *again = read_split("cola", TRAIN, 41);
    assert_int_equal(e->count, 41);
    assert_int_equal(e->rows, ROWS);
    assert_memory_equal(e->indices, again->indices, 41 * sizeof(int));
    int ones = 0, spread = 0;
    for (int i = 0; i < 41; i++) {
        ones += e->labels[i];
        spread += e->indices[i] >= ROWS / 2;
        assert_true(i == 0 || e->indices[i] > e->indices[i - 1]);
        assert_int_equal(e->labels[i], e->indices[i] < ONES);
        assert_int_equal(e->ids[e->starts[i] + 1], e->labels[i] ? A : B);
    }
    assert_int_equal(ones, 20);
    assert_in_range(spread, 6, 18);
    examples_free(e);
    examples_free(again);
    e = read_split("cola", TRAIN, 100); /* more than there are ones: the rest are zeros */
    ones = 0;
    for (int i = 0; i < e->count; i++)
        ones += e->labels[i];
    assert_int_equal(e->count, 100);
    assert_int_equal(ones, ONES);
    examples_free(e);
    e = read_split("cola", TRAIN, ROWS + 1);
    assert_int_equal(e->count, ROWS);
    examples_free(e);
}

static void batches_carry_classes(void **state)
{
    (void)state;
    put("CoLA/dev.tsv", "x\t1\t\ta\nx\t0\t\tb\nx\t1\t\ta b\n");
    struct examples *e = read_split("cola", DEV, 0);
    struct batch *b = batch_create(32, 4);
    examples_batch(e, (int[]){2, 1, 0}, 1, 2, b, 4);
    assert_int_equal(b->sequences, 2);
    assert_int_equal(b->classes[0], 0);
    assert_int_equal(b->classes[1], 1);
    assert_int_equal(b->ids[1], B);
    assert_int_equal(b->tokens, 8);
    examples_batch(e, NULL, 2, 2, b, 0);
    assert_int_equal(b->sequences, 1);
    assert_int_equal(b->classes[0], 1);
    assert_int_equal(b->tokens, 4);
    batch_free(b);
    examples_free(e);
}

static void a_task_knows_its_metric(void **state)
{
    (void)state;
    const double labels[] = {1, 1, 0, 0}, predictions[] = {1, 0, 0, 0};
    const struct {
        const char *task;
        double score;
    } cases[] = {{"cola", 57.735}, {"mrpc", 70.833}, {"qqp", 70.833}, {"imdb", 75}, {"sst2", 75}, {"mnli", 75},
                 {"mnlimm", 75}, {"qnli", 75}, {"rte", 75}, {"wnli", 75}, {"stsb", 57.735}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(fabs(metric_score(task_find(cases[i].task)->metric, labels, predictions, 4)
                         - cases[i].score) < 1e-3);
}

/* Rows held back and rows to train on: each row is one of the two, and a sample is of the latter. */
static void held_back_rows_are_not_trained_on(void **state)
{
    (void)state;
    enum { ROWS = 90, BACK = 30 };
    int times[ROWS] = {0};
    struct reading reading = {.length = 16, .held_back = BACK};
    char *path = text_format("%s/CoLA/train.tsv", folder);
    struct file_writer *w = file_create(path);
    for (int i = 0; i < ROWS; i++)
        fprintf(file_stream(w), "x\t%d\t\ta\n", i % 3 == 0);
    file_commit(w);
    free(path);
    for (int split = TRAIN; split <= HELD_BACK; split += HELD_BACK) {
        struct examples *e = task_read(task_find("cola"), folder, (enum split)split, tokenizer, reading);
        int ones = 0;
        assert_int_equal(e->count, split == TRAIN ? ROWS - BACK : BACK);
        assert_true(e->rows == e->count && e->kept == e->count && e->published == ROWS);
        for (int i = 0; i < e->count; i++) {
            times[e->indices[i]]++;
            ones += e->labels[i];
        }
        assert_int_equal(ones, 15); /* of 30: half of each; what is left has as many */
        examples_free(e);
    }
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(times[i], 1);
    reading.limit = 20;
    struct examples *sample = task_read(task_find("cola"), folder, TRAIN, tokenizer, reading),
                    *back = task_read(task_find("cola"), folder, HELD_BACK, tokenizer, reading);
    assert_true(sample->count == 20 && sample->rows == ROWS - BACK && back->count == BACK);
    for (int i = 0; i < 20; i++)
        for (int j = 0; j < BACK; j++)
            assert_int_not_equal(sample->indices[i], back->indices[j]);
    examples_free(sample);
    examples_free(back);
}

static void as_many_rows_as_there_are_cannot_be_held_back(void **state)
{
    (void)state;
    put("CoLA/train.tsv", "x\t1\t\ta\nx\t0\t\tb\n");
    EXPECT_FAIL(task_read(task_find("cola"), folder, TRAIN, tokenizer, (struct reading){.length = 16, .held_back = 2}),
                "has 2 training rows of CoLA: expected fewer of them held back");
    EXPECT_FAIL(task_read(task_find("cola"), folder, HELD_BACK, tokenizer, (struct reading){.length = 16}),
                "has 2 training rows of CoLA: expected some of them held back");
}

static void missing_rows_are_worth_a_warning(void **state)
{
    (void)state;
    put("CoLA/dev.tsv", "x\t1\t\ta\n");
    struct examples *e = read_split("cola", DEV, 0);
    char *path = text_format("%s/warning", folder);
    fflush(stderr);
    int saved = dup(2);
    assert_non_null(freopen(path, "w", stderr));
    task_check_rows(task_find("cola"), DEV, e);
    e->published = 1043;
    task_check_rows(task_find("cola"), DEV, e);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    char *warning = file_read(path, NULL);
    assert_string_equal(warning, "distil: CoLA: warning: 1 rows, where 1043 were published\n");
    free(warning);
    free(path);
    examples_free(e);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(cola_has_no_header),
        IN_FOLDER(cola_comes_from_its_authors_too),
        IN_FOLDER(mrpc_takes_its_development_set_out),
        IN_FOLDER(mrpc_has_a_header_in_glue),
        IN_FOLDER(imdb_is_read_in_the_order_of_numbers),
        IN_FOLDER(long_rows_are_cut),
        IN_FOLDER(sst2_has_a_header),
        IN_FOLDER(torn_lines_of_qqp_are_left_out),
        IN_FOLDER(stsb_asks_for_numbers),
        IN_FOLDER(mnli_has_two_development_sets),
        IN_FOLDER(the_others_of_glue_differ_in_their_columns),
        IN_FOLDER(a_new_task_is_a_row),
        IN_FOLDER(pieces_are_kept),
        IN_FOLDER(empty_last_lines_are_no_rows),
        IN_FOLDER(malformed_tables_are_refused_by_line),
        IN_FOLDER(samples_are_balanced_and_repeatable),
        IN_FOLDER(batches_carry_classes),
        IN_FOLDER(a_task_knows_its_metric),
        IN_FOLDER(held_back_rows_are_not_trained_on),
        IN_FOLDER(as_many_rows_as_there_are_cannot_be_held_back),
        IN_FOLDER(missing_rows_are_worth_a_warning),
    };
    return cmocka_run_group_tests_name("task", tests, open_vocabulary, free_vocabulary);
}
