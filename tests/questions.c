/* Questions about a text: windows, the tokens of answers and the best answers against transformers' tokenizer and the
   algorithm of its example for SQuAD (tests/reference/questions.py), and files that are not in the format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "batch.h"
#include "catch.h"
#include "fail.h"
#include "file.h"
#include "folder.h"
#include "questions.h"
#include "task.h"

#define FIXTURES "tests/fixtures/squad/"

static struct tokenizer *tokenizer;

static int open_vocabulary(void **state)
{
    (void)state;
    tokenizer = tokenizer_open("tests/fixtures/tokenizer/vocab.txt");
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

/* The questions that leave room for a context in so many tokens. */
static struct questions *open_questions(int length)
{
    struct questions *q = questions_read(FIXTURES "dev-v1.1.json");
    bool *keep = allocate((size_t)q->count, sizeof *keep);
    for (int i = 0; i < q->count; i++)
        keep[i] = length >= 72 || strlen(q->list[i].text) < 60;
    questions_keep(q, keep);
    free(keep);
    questions_encode(q, tokenizer);
    return q;
}

static void file_is_read(void **state)
{
    (void)state;
    struct questions *q = questions_read(FIXTURES "dev-v1.1.json");
    assert_int_equal(q->count, 24);
    assert_int_equal(q->misplaced, 0);
    for (int i = 0; i < q->count; i++) {
        const struct question *question = &q->list[i];
        assert_int_equal(question->index, i);
        assert_in_range(question->answer_count, 1, 3);
        assert_memory_equal(question->context + question->answer.from, question->answers[0],
                            strlen(question->answers[0]));
    }
    assert_string_equal(q->list[0].id, "q000");
    assert_string_equal(q->list[0].text, "Where were the fishermen?");
    assert_string_equal(q->list[1].answers[2], "The lighthouse keeper");
    assert_string_equal(q->list[14].answers[0], "中文");
    assert_string_equal(q->list[16].answers[0], "👩‍👩‍👧‍👦");
    questions_free(q);
}

/* read_number: the next number of a line; -1 at its end. */
static int read_number(char **line)
{
    char *end;
    long number = strtol(*line, &end, 10);
    if (end == *line)
        return -1;
    *line = end;
    return (int)number;
}

static void windows_are_those_of_transformers(void **state)
{
    (void)state;
    char *text = file_read(FIXTURES "windows.txt", NULL), *rest;
    struct questions *q = NULL;
    struct window *windows = NULL;
    int length = 0, stride = 0, at = 0, count = 0, answered = 0, lines = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++) {
        int next_length = read_number(&line), next_stride = read_number(&line);
        if (next_length != length || next_stride != stride) {
            assert_int_equal(at, count);
            if (q)
                questions_free(q);
            free(windows);
            length = next_length;
            stride = next_stride;
            q = open_questions(length);
            windows = questions_cut(q, length, stride, &count);
            at = 0;
        }
        assert_true(at < count);
        assert_int_equal(windows[at].question, read_number(&line));
        int ids[128], first, span[2], size = window_sequence(q, &windows[at], tokenizer, ids, &first);
        window_answer(q, &windows[at], span);
        for (int i = 0; i < 2; i++) {
            int expected = read_number(&line);
            if (span[i] != expected)
                fail_msg("window %d of %d, %d: end %d of the answer is %d, not %d", at, length, stride, i, span[i],
                         expected);
        }
        answered += span[0] > 0;
        assert_true(size <= length);
        assert_int_equal(first, q->list[windows[at].question].length + 2);
        for (int i = 0; i < size; i++)
            assert_int_equal(ids[i], read_number(&line));
        assert_int_equal(read_number(&line), -1);
        at++;
    }
    assert_int_equal(at, count);
    assert_true(lines > 400 && answered > 50);
    questions_free(q);
    free(windows);
    free(text);
}

/* As in tests/reference/questions.py; no two of a window and column are alike. */
static float logit(int64_t token, int64_t column, int64_t window, int64_t turn)
{
    return (float)((token * 7919 + column * 104729 + window * 1299709 + turn * 611953) % 32003 - 16000);
}

/* found_text: the answer that the made-up logits of a turn give to question number i. */
static char *found_text(const struct questions *q, const struct window *windows, int count, int i, int turn)
{
    struct reply best = {.score = -INFINITY};
    for (int w = 0; w < count; w++) {
        float logits[2 * 128];
        if (windows[w].question != i)
            continue;
        for (int t = 0; t < 128; t++)
            for (int column = 0; column < 2; column++)
                logits[2 * t + column] = logit(t, column, w, turn);
        window_find(q, &windows[w], logits, &best);
    }
    struct extent at = best.extent;
    char *text = text_format("%.*s", at.to - at.from, q->list[i].context + at.from);
    for (char *c = text; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    return text;
}

static void best_answers_are_those_of_transformers(void **state)
{
    (void)state;
    char line[1024], id[16], expected[512];
    FILE *stream = fopen(FIXTURES "answers.tsv", "r");
    assert_non_null(stream);
    int length, stride, turn, lines = 0;
    for (; fgets(line, sizeof line, stream); lines++) {
        *expected = '\0';
        assert_true(sscanf(line, "%d\t%d\t%d\t%15[^\t]\t%511[^\n]", &length, &stride, &turn, id, expected) >= 4);
        struct questions *q = open_questions(length);
        int count, i = 0;
        struct window *windows = questions_cut(q, length, stride, &count);
        while (i < q->count && strcmp(q->list[i].id, id))
            i++;
        assert_true(i < q->count);
        char *text = found_text(q, windows, count, i, turn);
        if (strcmp(text, expected))
            fail_msg("length %d, stride %d, %s: \"%s\" where \"%s\" was expected", length, stride, id, text, expected);
        free(text);
        free(windows);
        questions_free(q);
    }
    assert_true(lines > 200);
    fclose(stream);
}

static void without_a_valid_pair_nothing_is_found(void **state)
{
    (void)state;
    struct questions *q = open_questions(128);
    int count;
    struct window *windows = questions_cut(q, 128, 64, &count);
    float logits[2 * 128] = {0};
    for (int t = 0; t < 128; t++) { /* the best first tokens stand behind the best last tokens */
        logits[2 * t] = (float)t;
        logits[2 * t + 1] = (float)-t;
    }
    struct reply best = {.score = -INFINITY};
    window_find(q, &windows[0], logits, &best);
    assert_true(best.score == -INFINITY);
    best = (struct reply){.score = 1000, .extent = {1, 2}}; /* nor is what is better replaced */
    memset(logits, 0, sizeof logits);
    window_find(q, &windows[0], logits, &best);
    assert_true(best.score == 1000 && best.extent.from == 1);
    free(windows);
    questions_free(q);
}

static struct examples *read_squad(int limit)
{
    return task_read(task_find("squad"), folder, DEV, tokenizer, (struct reading){.length = 40, .stride = 16, .limit = limit});
}

static void a_task_is_read_in_windows(void **state)
{
    (void)state;
    char *data = file_read(FIXTURES "dev-v1.1.json", NULL), *question = strstr(data, "boat boat");
    question[4] = '\0'; /* a short question for the long one */
    char *rest = strchr(question + 5, '"'), *whole = text_format("%s%s", data, rest);
    put("squad/dev-v1.1.json", whole);
    struct examples *e = read_squad(0);
    assert_int_equal(e->rows, 24);
    assert_int_equal(e->kept, 24);
    assert_true(e->count > 60);
    struct batch *b = batch_create(400, 10);
    for (int i = 0; i < e->count; i++) {
        int span[2];
        window_answer(e->questions, &e->windows[i], span);
        examples_batch(e, NULL, i, 1, b, 0);
        assert_memory_equal(b->spans, span, sizeof span);
        assert_int_equal(e->indices[i], e->windows[i].question);
        assert_int_equal(b->ids[0], tokenizer->cls);
        assert_int_equal(b->ids[b->tokens - 1], tokenizer->sep);
        assert_int_equal(b->segments[e->firsts[i] - 1], 0);
        assert_int_equal(b->segments[e->firsts[i]], 1);
    }
    examples_free(e);
    e = read_squad(5);
    assert_int_equal(e->rows, 24);
    assert_int_equal(e->kept, 5);
    assert_int_equal(e->questions->count, 5);
    for (int i = 1; i < e->count; i++)
        assert_true(e->indices[i] >= e->indices[i - 1]);
    examples_free(e);
    batch_free(b);
    free(whole);
    free(data);
}

/* The same pieces whether they come out of the cache or not. */
static void pieces_are_kept(void **state)
{
    (void)state;
    char *cache = text_format("%s/cache", folder);
    setenv("DISTIL_CACHE", cache, 1);
    struct questions *first = open_questions(128), *again = open_questions(128);
    for (int i = 0; i < first->count; i++) {
        const struct question *a = &first->list[i], *b = &again->list[i];
        assert_int_equal(a->length, b->length);
        assert_memory_equal(a->pieces, b->pieces, (size_t)a->length * sizeof *a->pieces);
        assert_int_equal(a->context_length, b->context_length);
        assert_memory_equal(a->context_pieces, b->context_pieces, (size_t)a->context_length * sizeof *a->pieces);
        assert_memory_equal(a->extents, b->extents, (size_t)a->context_length * sizeof *a->extents);
    }
    questions_free(first);
    questions_free(again);
    char *command = text_format("[ $(ls %s | wc -l) = 1 ]", cache);
    assert_int_equal(system(command), 0);
    free(command);
    unsetenv("DISTIL_CACHE");
    free(cache);
}

static void refuse(const char *text, const char *fault)
{
    char *path = folder_put("squad.json", text);
    EXPECT_FAIL(questions_read(path), fault);
    free(path);
}

#define FILE_WITH(qas) "{\"data\": [{\"paragraphs\": [{\"context\": \"Ä b\", \"qas\": " qas "}]}]}"
#define QUESTION(answers) FILE_WITH("[{\"id\": \"1\", \"question\": \"?\", \"answers\": " answers "}]")

static void other_formats_are_refused(void **state)
{
    (void)state;
    refuse("{", "squad.json: is not JSON: line 1: ");
    refuse("{\"data\": 1}", "squad.json: expected a list \"data\"");
    refuse("{\"data\": [{}]}", "expected a list \"paragraphs\"");
    refuse("{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}", "question 0: expected a text \"context\"");
    refuse(FILE_WITH("1"), "expected a list \"qas\"");
    refuse(FILE_WITH("[{\"id\": \"1\"}]"), "question 0: expected a text \"question\"");
    refuse(QUESTION("[]"), "question 0: expected an answer");
    refuse(FILE_WITH("[{\"id\": \"a\\tb\", \"question\": \"?\", \"answers\": []}]"),
           "question 0: expected an id without tabs and line ends");
    refuse(FILE_WITH("[{\"id\": \"a\\n\", \"question\": \"?\", \"answers\": []}]"), "expected an id without tabs");
    refuse(QUESTION("[{\"answer_start\": 0}]"), "question 0: expected a text \"text\"");
    refuse(QUESTION("[{\"text\": \"b\"}]"), "expected an \"answer_start\" within the context");
    refuse(QUESTION("[{\"text\": \"b\", \"answer_start\": -1}]"), "expected an \"answer_start\" within the context");
    refuse(QUESTION("[{\"text\": \"b\", \"answer_start\": 3}]"), "expected an \"answer_start\" within the context");
    refuse(QUESTION("[{\"text\": \"b\", \"answer_start\": 9999999999}]"), "\"answer_start\" within the context");
    refuse(QUESTION("[{\"text\": \"\", \"answer_start\": 1}]"), "question 0: expected an answer of some words");
    put("squad.json", QUESTION("[{\"text\": \"b\", \"answer_start\": 2}]"));
    char *path = folder_path("squad.json");
    struct questions *q = questions_read(path);
    assert_int_equal(q->list[0].answer.from, 3); /* Ä has two bytes */
    assert_int_equal(q->list[0].answer.to, 4);
    assert_int_equal(q->misplaced, 0);
    questions_free(q);
    put("squad.json", QUESTION("[{\"text\": \"b\", \"answer_start\": 1}]"));
    q = questions_read(path);
    assert_int_equal(q->misplaced, 1);
    questions_free(q);
    free(path);
}

static void no_room_is_an_error(void **state)
{
    (void)state;
    struct questions *q = questions_read(FIXTURES "dev-v1.1.json");
    int count;
    questions_encode(q, tokenizer);
    EXPECT_FAIL(questions_cut(q, 67, 16, &count), "leave no room for a text behind a question of 64 pieces");
    EXPECT_FAIL(questions_cut(q, 100, 0, &count), "a stride of 0 leave no room");
    free(questions_cut(q, 68, 16, &count));
    questions_free(q);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_is_read),
        cmocka_unit_test(windows_are_those_of_transformers),
        cmocka_unit_test(best_answers_are_those_of_transformers),
        cmocka_unit_test(without_a_valid_pair_nothing_is_found),
        IN_FOLDER(a_task_is_read_in_windows),
        IN_FOLDER(pieces_are_kept),
        IN_FOLDER(other_formats_are_refused),
        cmocka_unit_test(no_room_is_an_error),
    };
    return cmocka_run_group_tests_name("questions", tests, open_vocabulary, free_vocabulary);
}
