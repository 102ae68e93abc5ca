/* Toyland, held against a second grammar of it: this file lists the words again, reads every sentence,
   and works out for itself what is right, what means the same, and what is praise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "catch.h"
#include "check.h"
#include "corpus.h"
#include "fail.h"
#include "file.h"
#include "folder.h"
#include "task.h"
#include "tokenizer.h"
#include "toyland.h"

enum { PARAGRAPHS = 400, TRAINING = 300, DEVELOPMENT = 150 };

/* ---- The words. Places 2i and 2i + 1 are opposites; all words of a place mean the same. ---- */

static const char *const nouns[] = {   /* kind, gender; then singular and plural in turn */
    "pm man men gentleman gentlemen", "pm boy boys lad lads", "pm father fathers dad dads",
    "pm king kings emperor emperors", "pf woman women lady ladies", "pf girl girls maiden maidens",
    "pf mother mothers mum mums", "pf queen queens empress empresses", "p- doctor doctors physician physicians",
    "p- teacher teachers tutor tutors", "p- lawyer lawyers attorney attorneys", "p- child children kid kids",
    "p- thief thieves robber robbers", "p- sailor sailors mariner mariners", "a- cat cats kitten kittens",
    "a- dog dogs hound hounds", "a- rabbit rabbits hare hares", "a- horse horses steed steeds",
    "x- soup soups broth broths", "x- cookie cookies biscuit biscuits", "x- drink drinks beverage beverages",
    "x- pudding puddings dessert desserts", "x- film films movie movies", "x- book books novel novels",
    "x- song songs tune tunes", "x- tale tales story stories", "x- house houses home homes",
    "x- boat boats ship ships", "x- coat coats jacket jackets", "x- gift gifts present presents", NULL};
enum { FIRST_JUDGING_ACT = 18, JUDGING_DEEDS = 4, JUDGING_QUALITIES = 20 };
static const char *const acts[] = {    /* many do, one does, is done */
    "help helps helped assist assists assisted", "hinder hinders hindered obstruct obstructs obstructed",
    "follow follows followed pursue pursues pursued", "avoid avoids avoided evade evades evaded",
    "greet greets greeted welcome welcomes welcomed", "ignore ignores ignored neglect neglects neglected",
    "order orders ordered request requests requested", "refuse refuses refused reject rejects rejected",
    "taste tastes tasted sample samples sampled", "cook cooks cooked prepare prepares prepared",
    "create creates created compose composes composed", "ruin ruins ruined destroy destroys destroyed",
    "explain explains explained interpret interprets interpreted", "distort distorts distorted garble garbles garbled",
    "repair repairs repaired mend mends mended", "damage damages damaged wreck wrecks wrecked",
    "purchase purchases purchased acquire acquires acquired", "abandon abandons abandoned discard discards discarded",
    "love loves loved adore adores adored", "hate hates hated detest detests detested",
    "praise praises praised admire admires admired", "condemn condemns condemned despise despises despised", NULL};
static const char *const deeds[] = {   /* many do, one does */
    "smile smiles grin grins", "frown frowns scowl scowls", "cheer cheers rejoice rejoices",
    "complain complains grumble grumbles", "sleep sleeps doze dozes", "work works toil toils",
    "arrive arrives appear appears", "depart departs leave leaves", NULL};
static const char *const qualities[] = {
    "good great", "bad poor", "nice pleasant", "nasty horrid", "kind gentle", "cruel mean", "clever smart",
    "stupid foolish", "tasty delicious", "bland insipid", "fresh wholesome", "stale rotten", "funny amusing",
    "dull boring", "thrilling exciting", "tedious tiresome", "pretty beautiful", "ugly hideous", "useful handy",
    "useless worthless", "small little", "big large", "old ancient", "new recent", "strange odd",
    "ordinary common", NULL};

/* find: the place of the group that has word as its n-th word (from 0), and n; -1: none has it. */
static int find(const char *const *groups, int skip, const char *word, int *n)
{
    size_t length = strlen(word);
    for (int i = 0; word[0] && groups[i]; i++) {
        *n = -skip;
        for (const char *p = groups[i]; *p; p += strcspn(p, " "), p += *p == ' ', ++*n)
            if (*n >= 0 && strcspn(p, " ") == length && strncmp(p, word, length) == 0)
                return i;
    }
    return -1;
}

/* ---- Reading a sentence ---- */

struct reader {
    char text[1024];
    const char *words[128];
    int count, at;
    bool wrong;                      /* something did not agree, or stood in the wrong place */
};

struct thing {
    int noun, determiner, quality;   /* places; noun -1: a pronoun */
    bool plural;
    char gender;                     /* m, f, - */
};

struct meaning {
    struct thing agent, patient, other;   /* noun -2: nobody */
    int form, row, relative;
    bool side;                            /* of its row, after negation */
    int polarity;
};

static void reader_start(struct reader *r, const char *text)
{
    memset(r, 0, sizeof *r);
    snprintf(r->text, sizeof r->text, "%s", text);
    for (char *word = strtok(r->text, " \n"); word && r->count < 127; word = strtok(NULL, " \n"))
        r->words[r->count++] = word;
}

static const char *peek(const struct reader *r)
{
    return r->at < r->count ? r->words[r->at] : "";
}

static bool take(struct reader *r, const char *word)
{
    bool there = strcmp(peek(r), word) == 0;
    r->at += there;
    return there;
}

static bool expect(struct reader *r, bool truth)
{
    r->wrong |= !truth;
    return truth;
}

static struct thing read_thing(struct reader *r)
{
    static const char *const determiners[] = {"the", "this these", "one two", "every several", NULL};
    struct thing t = {-1, 0, -1, false, '-'};
    int n, form;
    if (take(r, "they"))
        return t.plural = true, t;
    if (take(r, "it"))
        return t;
    if (take(r, "he"))
        return t.gender = 'm', t;
    if (take(r, "she"))
        return t.gender = 'f', t;
    t.determiner = find(determiners, 0, peek(r), &n);
    r->at += expect(r, t.determiner >= 0);
    t.quality = find(qualities, 0, peek(r), &form);
    r->at += t.quality >= 0;
    t.noun = find(nouns, 1, peek(r), &form);
    if (!expect(r, t.noun >= 0))
        return t;
    r->at++;
    t.plural = form % 2;
    t.gender = nouns[t.noun][1];
    expect(r, t.determiner == 0 || n == t.plural);
    return t;
}

/* A verb: one of acts if so it is, else of deeds. Returns its place, or -1. */
static int read_verb(struct reader *r, bool plural, bool *act, bool *denied, int *adverb)
{
    bool auxiliary = false;
    *denied = take(r, "never");
    if (strcmp(peek(r), "do") == 0 || strcmp(peek(r), "does") == 0) {
        expect(r, take(r, plural ? "do" : "does"));
        expect(r, take(r, "not"));
        *denied = auxiliary = true;
    }
    *adverb = take(r, "truly") ? 1 : take(r, "utterly") ? -1 : 0;
    int n, place = find(acts, 0, peek(r), &n);
    *act = place >= 0;
    if (!*act)
        place = find(deeds, 0, peek(r), &n);
    if (!expect(r, place >= 0))
        return -1;
    r->at++;
    expect(r, n % (*act ? 3 : 2) == (plural || auxiliary ? 0 : 1));
    return place;
}

static void read_relative(struct reader *r, struct thing subject, struct meaning *m)
{
    bool who = take(r, "who"), act, denied;
    int adverb, place;
    if (!who && !take(r, "that"))
        return;
    expect(r, subject.noun >= 0 && who == (nouns[subject.noun][0] == 'p'));
    int n;
    bool doing = find(acts, 0, peek(r), &n) >= 0;
    if (!doing)
        m->other = read_thing(r);
    place = read_verb(r, doing ? subject.plural : m->other.plural, &act, &denied, &adverb);
    expect(r, act && !denied && !adverb);
    if (doing)
        m->other = read_thing(r);
    m->relative = 1 + 2 * place + doing;
}

static struct meaning read_clause(struct reader *r)
{
    struct thing nobody = {.noun = -2};
    struct meaning m = {.agent = nobody, .patient = nobody, .other = nobody};
    bool denied = false, act = false, judges = false;
    int adverb = 0, place = -1, n;
    m.agent = read_thing(r);
    read_relative(r, m.agent, &m);
    if (strcmp(peek(r), "is") == 0 || strcmp(peek(r), "are") == 0) {
        expect(r, take(r, m.agent.plural ? "are" : "is"));
        denied = take(r, "not") || take(r, "never");
        adverb = take(r, "truly") ? 1 : take(r, "utterly") ? -1 : 0;
        place = find(qualities, 0, peek(r), &n);
        m.form = 's';
        judges = place >= 0 && place < JUDGING_QUALITIES;
        if (place < 0 && (place = find(acts, 0, peek(r), &n)) >= 0) {
            expect(r, n % 3 == 2 && m.relative == 0);
            m.form = 'a';
            judges = place >= FIRST_JUDGING_ACT;
        }
        r->at += expect(r, place >= 0);
        if (m.form == 'a') {
            expect(r, take(r, "by"));
            m.patient = m.agent;
            m.agent = read_thing(r);
            read_relative(r, m.agent, &m);
        }
    } else {
        place = read_verb(r, m.agent.plural, &act, &denied, &adverb);
        m.form = act ? 'a' : 'd';
        judges = act ? place >= FIRST_JUDGING_ACT : place < JUDGING_DEEDS;
        bool himself = act && take(r, "himself"), herself = act && !himself && take(r, "herself");
        if (himself || herself) {
            m.form = 'r';
            expect(r, !m.agent.plural && m.agent.gender != (himself ? 'f' : 'm'));
        } else if (act && take(r, "themselves")) {
            m.form = 'r';
            expect(r, m.agent.plural);
        } else if (act) {
            m.patient = read_thing(r);
        }
    }
    m.row = place / 2;
    m.side = (place % 2) ^ denied;
    m.polarity = judges ? (m.side ? -1 : 1) : 0;
    if (adverb)
        expect(r, judges && adverb == (place % 2 ? -1 : 1));
    return m;
}

static bool same_thing(struct thing a, struct thing b)
{
    return a.noun == b.noun && (a.noun < 0 || (a.determiner == b.determiner && a.quality == b.quality
                                               && a.plural == b.plural));
}

static bool same_meaning(const struct meaning *a, const struct meaning *b)
{
    return same_thing(a->agent, b->agent) && same_thing(a->patient, b->patient) && same_thing(a->other, b->other)
        && a->form == b->form && a->row == b->row && a->side == b->side && a->relative == b->relative;
}

/* A sentence up to its full stop. What connectives claim of its clauses has to hold. */
static void read_sentence(struct reader *r)
{
    int mood = take(r, "fortunately") ? 1 : take(r, "sadly") ? -1 : 0;
    bool as = take(r, "as"), whereas = !as && take(r, "whereas");
    struct meaning first = read_clause(r), second;
    expect(r, !mood || first.polarity == mood);
    bool because = !as && !whereas && take(r, "because"), although = !as && !whereas && take(r, "although");
    if (as || whereas) {
        expect(r, take(r, ","));
        second = read_clause(r);
        expect(r, same_meaning(&first, &second) == as);
    }
    if (because || although) {
        second = read_clause(r);
        expect(r, first.polarity && second.polarity == (because ? first.polarity : -first.polarity));
        if (second.agent.noun == -1)
            expect(r, first.agent.plural == second.agent.plural
                          && (second.agent.plural || first.agent.gender == second.agent.gender));
    }
    expect(r, take(r, "."));
}

static bool acceptable(const char *text)
{
    struct reader r;
    reader_start(&r, text);
    read_sentence(&r);
    return !r.wrong && r.at == r.count;
}

/* ---- The tests ---- */

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int generate(void **state)
{
    int status = folder_make(state);
    toyland_write(&(struct toyland){folder, 3, PARAGRAPHS, TRAINING, DEVELOPMENT});
    return status;
}

/* each: calls row for every line of a file, without its newline; returns how many there were. */
static int each(const char *name, void (*row)(char *line, int number))
{
    char *text = file_read(path_of(name), NULL);
    int count = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        row(line, count++);
    }
    free(text);
    return count;
}

static void grammar_knows_right_from_wrong(void **state)
{
    (void)state;
    assert_true(acceptable("the queen who the sailors greet does not admire herself ."));
    assert_true(acceptable("these cats are followed by one dog that helps the small man ."));
    assert_false(acceptable("the queen who the sailors greet do not admire herself ."));
    assert_false(acceptable("the queen who the sailors greets does not admire herself ."));
    assert_false(acceptable("the queen admires himself ."));
    assert_false(acceptable("this cats sleep ."));
    assert_false(acceptable("the cats small sleep ."));
    assert_false(acceptable("the cats that sleeps ."));
    assert_false(acceptable("the cat is kind because it is not gentle ."));
    assert_true(acceptable("as the king loves the soup , the broth is adored by the emperor ."));
    assert_false(acceptable("as the king loves the soup , the emperor is adored by the broth ."));
}

static void check_acceptability(char *line, int number)
{
    (void)number;
    char *label = strchr(line, '\t') + 1, *star = strchr(label, '\t') + 1, *text = strchr(star, '\t') + 1;
    assert_memory_equal(line, "toy\t", 4);
    assert_true((label[0] == '1' && star[0] == '\t') || (label[0] == '0' && star[0] == '*'));
    if (acceptable(text) != (label[0] == '1'))
        fail_msg("labelled %c: %s", label[0], text);
}

static void acceptability_is_right(void **state)
{
    (void)state;
    assert_int_equal(each("glue/CoLA/train.tsv", check_acceptability), TRAINING);
    assert_int_equal(each("glue/CoLA/dev.tsv", check_acceptability), DEVELOPMENT);
}

enum { PAIRS = TRAINING + 2 * DEVELOPMENT };
static int pairs;
static double pair_labels[PAIRS];
static double guesses[2][PAIRS]; /* that both sentences are denied, or neither; that the second praises */

static bool denied(const char *text)
{
    return strstr(text, " not ") || strstr(text, " never ");
}

static void check_pair(char *line, int number)
{
    if (number == 0) {
        assert_string_equal(line, "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String");
        return;
    }
    char *second = strrchr(line, '\t');
    *second++ = '\0';
    char *first = strrchr(line, '\t') + 1;
    struct reader r;
    struct meaning m[2];
    for (int i = 0; i < 2; i++) {
        reader_start(&r, i ? second : first);
        m[i] = read_clause(&r);
        if (r.wrong || !take(&r, ".") || r.at != r.count)
            fail_msg("not a clause: %s", i ? second : first);
    }
    if (same_meaning(&m[0], &m[1]) != (line[0] == '1'))
        fail_msg("labelled %c: %s / %s", line[0], first, second);
    assert_true(pairs < PAIRS);
    pair_labels[pairs] = line[0] == '1';
    guesses[0][pairs] = denied(first) == denied(second);
    guesses[1][pairs++] = m[1].polarity > 0;
}

static void paraphrases_mean_the_same(void **state)
{
    (void)state;
    assert_int_equal(each("glue/MRPC/msr_paraphrase_train.txt", check_pair), 1 + TRAINING + DEVELOPMENT);
    assert_int_equal(each("glue/MRPC/msr_paraphrase_test.txt", check_pair), 1 + DEVELOPMENT);
    /* a rule that knows two words is no better than a coin, and one that knows all but half of the text not much */
    enum metric metric = task_find("mrpc")->metric;
    double denial = metric_score(metric, pair_labels, guesses[0], pairs);
    double second = metric_score(metric, pair_labels, guesses[1], pairs);
    assert_true(denial > 40 && denial < 60);
    assert_true(second > 84 && second < 96);
    check_report("toyland.denial", "%.1f", denial);
    check_report("toyland.second", "%.1f", second);
    check_report("toyland.pairs", "%.0f", pairs);
}

static void reviews_go_with_the_majority(void **state)
{
    (void)state;
    static const char *const folders[] = {"train/neg", "train/pos", "test/neg", "test/pos"};
    int count = 0, dissents = 0, denials = 0;
    for (int f = 0; f < 4; f++)
        for (int i = 0; i < TRAINING; i++)
            for (int stars = 1; stars <= 10; stars++) {
                char *name = text_format("imdb/aclImdb/%s/%d_%d.txt", folders[f], i, stars);
                if (!file_exists(path_of(name))) {
                    free(name);
                    continue;
                }
                char *text = file_read(path_of(name), NULL);
                struct reader r;
                reader_start(&r, text);
                int sum = 0, statements = 0;
                while (r.at < r.count && !r.wrong) {
                    struct meaning m = read_clause(&r);
                    expect(&r, take(&r, "."));
                    sum += m.polarity;
                    statements += m.polarity != 0;
                }
                if (r.wrong || statements != 3 || (sum > 0) != f % 2 || (sum > 0 ? stars < 7 : stars > 4)
                    || (abs(sum) == 3) != (stars < 3 || stars > 8))
                    fail_msg("%s: %s", name, text);
                dissents += abs(sum) == 1;
                denials += denied(text);
                count++;
                free(text);
                free(name);
            }
    assert_int_equal(count, TRAINING + DEVELOPMENT);
    assert_true(dissents > count / 2 && dissents < count);
    assert_true(denials > count / 2);
}

static int headings;

static void check_corpus(char *line, int number)
{
    (void)number;
    size_t length = strlen(line);
    assert_true(length > 0 && line[0] == ' ' && line[length - 1] == ' ');
    if (length == 1)
        return;
    if (line[1] == '=') {
        assert_memory_equal(line + length - 3, " = ", 3);
        headings++;
        return;
    }
    struct reader r;
    reader_start(&r, line);
    int sentences = 0;
    for (; r.at < r.count && !r.wrong; sentences++)
        read_sentence(&r);
    if (r.wrong || sentences != 2)
        fail_msg("goes wrong near word %d: %s", r.at, line);
}

static void corpus_keeps_to_the_grammar(void **state)
{
    (void)state;
    assert_int_equal(each("corpus/wiki.train.tokens", check_corpus), PARAGRAPHS + 3 * (PARAGRAPHS / 8));
    assert_int_equal(headings, PARAGRAPHS / 8);
    each("corpus/wiki.valid.tokens", check_corpus);
}

static void readers_read_it(void **state)
{
    (void)state;
    struct tokenizer *t = tokenizer_open(path_of("vocab.txt"));
    assert_in_range(t->count, 300, 600);
    struct corpus *c = corpus_read(t, (char *[]){path_of("corpus/wiki.train.tokens")}, 1, 128, false, 0);
    assert_int_equal(c->sequences, PARAGRAPHS + PARAGRAPHS / 8);
    int64_t longest = 0;
    for (int s = 0; s < c->sequences; s++)
        longest = c->starts[s + 1] - c->starts[s] > longest ? c->starts[s + 1] - c->starts[s] : longest;
    assert_true(longest < 128);   /* nothing was cut */
    for (int64_t i = 0; i < c->tokens; i++)
        assert_int_not_equal(c->ids[i], t->unk);
    static const char *const names[] = {"cola", "mrpc", "imdb"};
    for (int i = 0; i < 6; i++) {
        const struct task *task = task_find(names[i / 2]);
        enum split split = i % 2 ? DEV : TRAIN;
        struct examples *e = task_read(task, folder, split, t, (struct reading){.length = 128});
        assert_int_equal(e->count, split == DEV ? DEVELOPMENT : TRAINING);
        int ones = 0;
        for (int k = 0; k < e->count; k++)
            ones += e->labels[k];
        assert_in_range(ones, e->count * 2 / 5, e->count * 3 / 5);
        for (int64_t k = 0; k < e->starts[e->count]; k++)
            assert_int_not_equal(e->ids[k], t->unk);
        examples_free(e);
    }
    corpus_free(c);
    tokenizer_free(t);
}

static void word_pieces_have_work_to_do(void **state)
{
    (void)state;
    struct tokenizer *t = tokenizer_open(path_of("vocab.txt"));
    int ids[8];
    assert_int_equal(tokenizer_encode(t, "sailors", 7, ids, 8), 2);
    assert_int_equal(tokenizer_encode(t, "admired", 7, ids, 8), 2);
    assert_int_equal(tokenizer_encode(t, "greeted", 7, ids, 8), 2);
    assert_int_equal(tokenizer_encode(t, "women", 5, ids, 8), 1);
    assert_int_equal(tokenizer_encode(t, "greets", 6, ids, 8), 1);
    tokenizer_free(t);
}

static void no_row_is_seen_twice(void **state)
{
    (void)state;
    struct tokenizer *t = tokenizer_open(path_of("vocab.txt"));
    static const char *const names[] = {"cola", "mrpc", "imdb"};
    for (int i = 0; i < 3; i++) {
        struct examples *e[2];
        for (int s = 0; s < 2; s++)
            e[s] = task_read(task_find(names[i]), folder, s ? DEV : TRAIN, t, (struct reading){.length = 128});
        for (int a = 0; a < TRAINING + DEVELOPMENT; a++)
            for (int b = 0; b < a; b++) {
                const struct examples *ea = e[a >= TRAINING], *eb = e[b >= TRAINING];
                int ka = a % TRAINING, kb = b % TRAINING;
                int64_t la = ea->starts[ka + 1] - ea->starts[ka], lb = eb->starts[kb + 1] - eb->starts[kb];
                assert_false(la == lb && memcmp(ea->ids + ea->starts[ka], eb->ids + eb->starts[kb],
                                                (size_t)la * sizeof(int)) == 0);
            }
        examples_free(e[0]);
        examples_free(e[1]);
    }
    tokenizer_free(t);
}

static void seed_decides(void **state)
{
    (void)state;
    char *again = text_format("%s/again", folder), *other = text_format("%s/other", folder);
    toyland_write(&(struct toyland){again, 3, 40, 20, 10});
    toyland_write(&(struct toyland){other, 3, 40, 20, 10});
    char *command = text_format("diff -r %s %s >%s/difference", again, other, folder);
    assert_int_equal(system(command), 0);
    toyland_write(&(struct toyland){other, 4, 40, 20, 10});
    assert_int_not_equal(system(command), 0);
    free(command);
    free(again);
    free(other);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    char *arguments[] = {"toyland", "--out", folder, "--seed", "many", NULL};
    EXPECT_FAIL(toyland_main(5, arguments), "--seed: expected a number");
    arguments[4] = "-1";
    EXPECT_FAIL(toyland_main(5, arguments), "--seed: expected a number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar_knows_right_from_wrong), cmocka_unit_test(corpus_keeps_to_the_grammar),
        cmocka_unit_test(acceptability_is_right),         cmocka_unit_test(paraphrases_mean_the_same),
        cmocka_unit_test(reviews_go_with_the_majority),   cmocka_unit_test(readers_read_it),
        cmocka_unit_test(word_pieces_have_work_to_do),    cmocka_unit_test(no_row_is_seen_twice),
        cmocka_unit_test(seed_decides),                   cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests_name("toyland", tests, generate, folder_remove);
}
