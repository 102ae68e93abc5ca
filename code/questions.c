/* Tangled from chapters/27-questions.md; edit there. */
#include "questions.h"
#include "cache.h"
#include "fail.h"
#include "foreign.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Find the byte of a character */
/* byte_of: where character number n of the text begins; -1 if it has not so many. */
static int byte_of(const char *text, json_int_t n)
{
    for (int byte = 0;; byte++) {
        bool begins = ((unsigned char)text[byte] & 0xC0) != 0x80;
        if (begins && n-- == 0)
            return byte;
        if (!text[byte])
            return -1;
    }
}

/* Read one question */
static const char *need_text(const char *path, const json_t *json, const char *key,
                             int index)
{
    const char *text = json_string_value(json_object_get(json, key));
    if (!text)
        fail(path, "question %d: expected a text \"%s\"", index, key);
    return text;
}

static struct question read_question(const char *path, const json_t *json,
                                     const char *context, int index)
{
    const json_t *answers = json_object_get(json, "answers");
    struct question q = {
        .id = need_text(path, json, "id", index),
        .text = need_text(path, json, "question", index),
        .context = context,
        .index = index,
        .answer_count = (int)json_array_size(answers),
    };
    if (strpbrk(q.id, "\t\n\r"))
        fail(path, "question %d: expected an id without tabs and line ends", index);
    if (q.answer_count == 0)
        fail(path, "question %d: expected an answer; SQuAD 1.1 has one to each", index);
    /* Take what the readers marked */
    q.answers = allocate((size_t)q.answer_count, sizeof *q.answers);
    for (int i = 0; i < q.answer_count; i++)
        q.answers[i] = need_text(path, json_array_get(answers, (size_t)i), "text",
                                 index);
    /* Find the first answer in the context */
    const json_t *start = json_object_get(json_array_get(answers, 0), "answer_start");
    int from = json_is_integer(start) && json_integer_value(start) >= 0
             ? byte_of(context, json_integer_value(start)) : -1;
    size_t size = strlen(q.answers[0]);
    if (size == 0)
        fail(path, "question %d: expected an answer of some words, found none", index);
    if (from < 0 || strlen(context) - (size_t)from < size)
        fail(path, "question %d: expected an \"answer_start\" within the context", index);
    q.answer = (struct extent){from, from + (int)size};
    return q;
}

/* Read the questions of a file */
static const json_t *need_list(const char *path, const json_t *json, const char *key)
{
    const json_t *list = json_object_get(json, key);
    if (!json_is_array(list))
        fail(path, "expected a list \"%s\", as in a file of SQuAD 1.1", key);
    return list;
}

static void add_questions(struct questions *q, const char *path,
                          const json_t *paragraph)
{
    const char *context = need_text(path, paragraph, "context", q->count);
    const json_t *list = need_list(path, paragraph, "qas");
    q->list = realloc(q->list, ((size_t)q->count + json_array_size(list) + 1)
                                   * sizeof *q->list);
    if (!q->list)
        fail("memory", "%d questions do not fit", q->count);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct question question =
            read_question(path, json_array_get(list, i), context, q->count);
        q->misplaced += strncmp(context + question.answer.from, question.answers[0],
                                strlen(question.answers[0])) != 0;
        q->list[q->count++] = question;
    }
}

struct questions *questions_read(const char *path)
{
    struct questions *q = allocate(1, sizeof *q);
    q->file = foreign_json(path);
    const json_t *articles = need_list(path, q->file, "data");
    for (size_t a = 0; a < json_array_size(articles); a++) {
        const json_t *list =
            need_list(path, json_array_get(articles, a), "paragraphs");
        for (size_t p = 0; p < json_array_size(list); p++)
            add_questions(q, path, json_array_get(list, p));
    }
    return q;
}

void questions_free(struct questions *q)
{
    for (int i = 0; i < q->count; i++)
        free(q->list[i].answers);
    free(q->list);
    free(q->numbers);
    json_decref(q->file);
    free(q);
}

void questions_keep(struct questions *q, const bool *keep)
{
    int kept = 0;
    for (int i = 0; i < q->count; i++)
        if (keep[i])
            q->list[kept++] = q->list[i];
        else
            free(q->list[i].answers);
    q->count = kept;
}

/* Encode the questions */
enum { LONGEST_QUESTION = 64 }; /* pieces, as in BERT's own code; the rest is cut off */

static bool has_new_context(const struct questions *q, int i)
{
    return i == 0 || q->list[i].context != q->list[i - 1].context;
}

static uint64_t questions_key(const struct questions *q, const struct tokenizer *t)
{
    uint64_t key = cache_hash(t->hash, "questions", 10);
    for (int i = 0; i < q->count; i++) {
        const char *context = has_new_context(q, i) ? q->list[i].context : "\xFF";
        key = cache_hash(key, context, strlen(context) + 1);
        key = cache_hash(key, q->list[i].text, strlen(q->list[i].text) + 1);
    }
    return key;
}

/* encode_all: the list of numbers, for the caller to free. */
static int *encode_all(const struct questions *q, const struct tokenizer *t,
                       int64_t *count)
{
    size_t room = 0, at = 0;
    for (int i = 0; i < q->count; i++)
        room += 2 + LONGEST_QUESTION
              + (has_new_context(q, i) ? 3 * strlen(q->list[i].context) : 0);
    int *numbers = allocate(room, sizeof *numbers);
    for (int i = 0; i < q->count; i++) {
        const struct question *question = &q->list[i];
        int size = (int)strlen(question->context), *head = numbers + at, length;
        /* Encode the question */
        length = tokenizer_encode(t, question->text, strlen(question->text), head + 1,
                                  LONGEST_QUESTION);
        head[0] = length < LONGEST_QUESTION ? length : LONGEST_QUESTION;
        at += 1 + (size_t)head[0];
        if (!has_new_context(q, i))
            continue;
        /* Encode the context and note where its pieces stand */
        struct extent *extents = allocate((size_t)size, sizeof *extents);
        length = tokenizer_locate(t, question->context, (size_t)size, numbers + at + 1,
                                  extents, size);
        numbers[at++] = length;
        memcpy(numbers + at + length, extents, (size_t)length * sizeof *extents);
        at += 3 * (size_t)length;
        free(extents);
    }
    *count = (int64_t)at;
    return numbers;
}

void questions_encode(struct questions *q, const struct tokenizer *tokenizer)
{
    int64_t count;
    uint64_t key = questions_key(q, tokenizer);
    q->numbers = cache_read(key, &count);
    if (!q->numbers) {
        q->numbers = encode_all(q, tokenizer, &count);
        cache_write(key, q->numbers, count);
    }
    const int *at = q->numbers;
    for (struct question *i = q->list; i < q->list + q->count; i++) {
        /* Point the question to its pieces */
        i->length = *at++;
        i->pieces = at;
        at += i->length;
        if (has_new_context(q, (int)(i - q->list))) {
            i->context_length = *at++;
            i->context_pieces = at;
            i->extents = (const struct extent *)(at + i->context_length);
            at += 3 * (ptrdiff_t)i->context_length;
        } else {
            i->context_length = i[-1].context_length;
            i->context_pieces = i[-1].context_pieces;
            i->extents = i[-1].extents;
        }
    }
}

/* Cut the contexts into windows */
struct window *questions_cut(const struct questions *q, int max_length, int stride,
                             int *count)
{
    struct window *windows = NULL;
    *count = 0;
    for (int i = 0; i < q->count; i++) {
        int room = max_length - q->list[i].length - 3,
            whole = q->list[i].context_length;
        if (room < 1 || stride < 1)
            fail("windows",
                 "a length of %d and a stride of %d leave no room for a text "
                 "behind a question of %d pieces",
                 max_length, stride, q->list[i].length);
        /* Count the windows until one reaches the end */
        int step = stride < room ? stride : room, more = 1;
        if (whole > room)
            more += (whole - room + step - 1) / step;
        windows = realloc(windows, (size_t)(*count + more) * sizeof *windows);
        if (!windows)
            fail("memory", "%d windows do not fit", *count + more);
        for (int first = 0; more > 0; more--, first += step) {
            int rest = whole - first < room ? whole - first : room;
            windows[(*count)++] = (struct window){i, first, rest};
        }
    }
    return windows;
}

/* Write a window as a sequence */
int window_sequence(const struct questions *q, const struct window *window,
                    const struct tokenizer *t, int *ids, int *first)
{
    const struct question *question = &q->list[window->question];
    int length = 0;
    ids[length++] = t->cls;
    memcpy(ids + length, question->pieces, (size_t)question->length * sizeof *ids);
    length += question->length;
    ids[length++] = t->sep;
    *first = length;
    memcpy(ids + length, question->context_pieces + window->first,
           (size_t)window->count * sizeof *ids);
    length += window->count;
    ids[length++] = t->sep;
    return length;
}

/* Find the answer's tokens in a window */
void window_answer(const struct questions *q, const struct window *window, int span[2])
{
    const struct question *question = &q->list[window->question];
    const struct extent *extents = question->extents + window->first;
    struct extent answer = question->answer;
    int before = question->length + 2, first = 0, last = window->count - 1;
    span[0] = span[1] = 0;
    if (window->count == 0 || extents[0].from > answer.from
        || extents[last].to < answer.to)
        return;
    /* Narrow the part down to the answer */
    while (first < last && extents[first + 1].from <= answer.from)
        first++;
    while (last > first && extents[last - 1].to >= answer.to)
        last--;
    span[0] = before + first;
    span[1] = before + last;
}

/* Find the best answer in a window */
/* best_tokens: the places of the largest logits of one kind (0: first, 1: last), in
   falling order; returns how many. */
static int best_tokens(const float *logits, int length, int kind, int best[BEST_TOKENS])
{
    int count = 0;
    for (int t = 0; t < length; t++) {
        /* Let the token in where its logit belongs */
        float logit = logits[2 * t + kind];
        int at = count < BEST_TOKENS ? count++ : BEST_TOKENS;
        for (; at > 0 && logits[2 * best[at - 1] + kind] < logit; at--)
            if (at < BEST_TOKENS)
                best[at] = best[at - 1];
        if (at < BEST_TOKENS)
            best[at] = t;
    }
    return count;
}

void window_find(const struct questions *q, const struct window *window,
                 const float *logits, struct reply *best)
{
    const struct question *question = &q->list[window->question];
    const struct extent *extents = question->extents + window->first;
    int before = question->length + 2, length = before + window->count + 1;
    int firsts[BEST_TOKENS] = {0}, lasts[BEST_TOKENS] = {0};
    int first_count = best_tokens(logits, length, 0, firsts);
    int last_count = best_tokens(logits, length, 1, lasts);
    for (int i = 0; i < first_count; i++)
        for (int j = 0; j < last_count; j++) {
            /* Take the answer if it is possible and better */
            int first = firsts[i] - before, last = lasts[j] - before;
            double score = (double)logits[2 * firsts[i]] + logits[2 * lasts[j] + 1];
            if (first < 0 || last < first || last >= window->count
                || last - first >= LONGEST_ANSWER || score <= best->score)
                continue;
            best->score = score;
            best->extent = (struct extent){extents[first].from, extents[last].to};
        }
}
