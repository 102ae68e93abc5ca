/* Tangled from chapters/29-toyland.md; edit there. */
#include "toyland.h"
#include "fail.h"
#include "file.h"
#include "random.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* List the words of Toyland */
/* List the kinds of things in Toyland */
enum kind { PERSON = 1, ANIMAL = 2, FOOD = 4, WORK = 8, THING = 16,
            ALIVE = PERSON | ANIMAL, ANY = ALIVE | FOOD | WORK | THING };

/* List the nouns of Toyland */
static const struct noun {
    enum kind kind;
    char gender;              /* m, f, or 0 where either will do */
    const char *name[2];      /* two synonyms, each "singular" or "singular/plural" */
} nouns[] = {
    {PERSON, 'm', {"man/men", "gentleman/gentlemen"}},
    {PERSON, 'f', {"woman/women", "lady/ladies"}},
    {PERSON, 'm', {"boy", "lad"}},             {PERSON, 'f', {"girl", "maiden"}},
    {PERSON, 'm', {"father", "dad"}},          {PERSON, 'f', {"mother", "mum"}},
    {PERSON, 'm', {"king", "emperor"}},
    {PERSON, 'f', {"queen", "empress/empresses"}},
    {PERSON, 0, {"doctor", "physician"}},      {PERSON, 0, {"teacher", "tutor"}},
    {PERSON, 0, {"lawyer", "attorney"}},       {PERSON, 0, {"child/children", "kid"}},
    {PERSON, 0, {"thief/thieves", "robber"}},  {PERSON, 0, {"sailor", "mariner"}},
    {ANIMAL, 0, {"cat", "kitten"}},            {ANIMAL, 0, {"dog", "hound"}},
    {ANIMAL, 0, {"rabbit", "hare"}},           {ANIMAL, 0, {"horse", "steed"}},
    {FOOD, 0, {"soup", "broth"}},              {FOOD, 0, {"cookie", "biscuit"}},
    {FOOD, 0, {"drink", "beverage"}},          {FOOD, 0, {"pudding", "dessert"}},
    {WORK, 0, {"film", "movie"}},              {WORK, 0, {"book", "novel"}},
    {WORK, 0, {"song", "tune"}},               {WORK, 0, {"tale", "story/stories"}},
    {THING, 0, {"house", "home"}},             {THING, 0, {"boat", "ship"}},
    {THING, 0, {"coat", "jacket"}},            {THING, 0, {"gift", "present"}},
};

/* List what the Toylanders do and are like */
struct opposites {
    int about;                    /* the kinds that are acted on, or that can be so */
    bool judges;                  /* whether the left praises and the right blames */
    const char *word[2][2];
};

/* List the acts of Toyland */
static const struct opposites acts[] = {
    {ALIVE, false, {{"help", "assist"}, {"hinder", "obstruct"}}},
    {ALIVE, false, {{"follow", "pursue"}, {"avoid", "evade"}}},
    {ALIVE, false, {{"greet", "welcome"}, {"ignore", "neglect"}}},
    {FOOD, false, {{"order", "request"}, {"refuse", "reject"}}},
    {FOOD, false, {{"taste", "sample"}, {"cook", "prepare"}}},
    {WORK, false, {{"create", "compose"}, {"ruin", "destroy"}}},
    {WORK, false, {{"explain", "interpret"}, {"distort", "garble"}}},
    {THING, false, {{"repair", "mend"}, {"damage", "wreck"}}},
    {THING, false, {{"purchase", "acquire"}, {"abandon", "discard"}}},
    {ANY, true, {{"love", "adore"}, {"hate", "detest"}}},
    {ANY, true, {{"praise", "admire"}, {"condemn", "despise"}}},
};

/* List the deeds of Toyland */
static const struct opposites deeds[] = {
    {ALIVE, true, {{"smile", "grin"}, {"frown", "scowl"}}},
    {ALIVE, true, {{"cheer", "rejoice"}, {"complain", "grumble"}}},
    {ALIVE, false, {{"sleep", "doze"}, {"work", "toil"}}},
    {ALIVE, false, {{"arrive", "appear"}, {"depart", "leave"}}},
};

/* List the qualities of Toyland */
static const struct opposites qualities[] = {
    {ANY, true, {{"good", "great"}, {"bad", "poor"}}},
    {ANY, true, {{"nice", "pleasant"}, {"nasty", "horrid"}}},
    {ALIVE, true, {{"kind", "gentle"}, {"cruel", "mean"}}},
    {ALIVE, true, {{"clever", "smart"}, {"stupid", "foolish"}}},
    {FOOD, true, {{"tasty", "delicious"}, {"bland", "insipid"}}},
    {FOOD, true, {{"fresh", "wholesome"}, {"stale", "rotten"}}},
    {WORK, true, {{"funny", "amusing"}, {"dull", "boring"}}},
    {WORK, true, {{"thrilling", "exciting"}, {"tedious", "tiresome"}}},
    {THING, true, {{"pretty", "beautiful"}, {"ugly", "hideous"}}},
    {THING, true, {{"useful", "handy"}, {"useless", "worthless"}}},
    {ANY, false, {{"small", "little"}, {"big", "large"}}},
    {ANY, false, {{"old", "ancient"}, {"new", "recent"}}},
    {ANY, false, {{"strange", "odd"}, {"ordinary", "common"}}},
};

enum { NOUNS = sizeof nouns / sizeof *nouns, ACTS = sizeof acts / sizeof *acts,
       DEEDS = sizeof deeds / sizeof *deeds,
       QUALITIES = sizeof qualities / sizeof *qualities };

/* Throw dice for Toyland */
struct dice {
    uint64_t key, count;
};

static int roll(struct dice *dice, int sides)
{
    return (int)random_below(dice->key, dice->count++, (uint64_t)sides);
}

static bool chance(struct dice *dice, int percent)
{
    return roll(dice, 100) < percent;
}

struct word {
    int row, side, name;
};

static struct word draw_word(struct dice *dice, const struct opposites *table, int rows,
                             int about, bool judges)
{
    struct word word = {.side = roll(dice, 2), .name = roll(dice, 2)};
    do
        word.row = roll(dice, rows);
    while (!(table[word.row].about & about) || table[word.row].judges != judges);
    return word;
}

/* Compose a line of Toyland's words */
enum flaw { SOUND, WRONG_VERB, WRONG_DETERMINER, WRONG_REFLEXIVE, WRONG_ORDER, FLAWS };

struct line {
    char text[1024];
    enum flaw flaw;               /* what goes wrong in it, if anything */
    int place;                    /* and at which of the places where it could */
    int places[FLAWS];            /* counts those places, for each flaw */
};

static bool slips(struct line *line, enum flaw flaw)
{
    return line->places[flaw]++ == line->place && line->flaw == flaw;
}

static void say(struct line *line, const char *word, size_t length, const char *ending)
{
    size_t used = strlen(line->text);
    snprintf(line->text + used, sizeof line->text - used, "%s%.*s%s", used ? " " : "",
             (int)length, word, ending);
}

static void say_word(struct line *line, const char *word)
{
    if (*word)
        say(line, word, strlen(word), "");
}
enum negation { AFFIRMED, NOT, NEVER };

struct manner {
    enum negation negation;
    const char *adverb;           /* "": none */
};

static void say_verb(struct line *line, const char *verb, bool plural,
                     struct manner manner)
{
    plural ^= slips(line, WRONG_VERB);
    if (manner.negation == NEVER)
        say_word(line, "never");
    /* Let the auxiliary take the number */
    if (manner.negation == NOT) {
        say_word(line, plural ? "do" : "does");
        say_word(line, "not");
        plural = true;
    }
    say_word(line, manner.adverb);
    say(line, verb, strlen(verb), plural ? "" : "s");
}
static void say_be(struct line *line, bool plural, struct manner manner)
{
    plural ^= slips(line, WRONG_VERB);
    say_word(line, plural ? "are" : "is");
    if (manner.negation)
        say_word(line, manner.negation == NOT ? "not" : "never");
    say_word(line, manner.adverb);
}

static void say_participle(struct line *line, const char *verb)
{
    size_t length = strlen(verb);
    say(line, verb, length, verb[length - 1] == 'e' ? "d" : "ed");
}

/* Describe a mention of a noun */
static const char *const determiners[][2] = {
    {"the", "the"}, {"this", "these"}, {"one", "two"}, {"every", "several"}};
enum { DETERMINERS = sizeof determiners / sizeof *determiners };

struct mention {
    int noun, name, determiner;
    bool plural, pronoun;
    struct word quality;          /* row < 0: none */
};

static void say_noun(struct line *line, const struct mention *m)
{
    const char *name = nouns[m->noun].name[m->name], *slash = strchr(name, '/');
    if (m->plural && slash)
        say_word(line, slash + 1);
    else
        say(line, name, strcspn(name, "/"), m->plural ? "s" : "");
}
static void say_mention(struct line *line, const struct mention *m)
{
    /* Say a pronoun */
    if (m->pronoun) {
        char gender = nouns[m->noun].gender;
        const char *one = gender == 'm' ? "he" : gender == 'f' ? "she" : "it";
        say_word(line, m->plural ? "they" : one);
        return;
    }
    bool plural = m->plural;
    if (m->determiner != 0)
        plural ^= slips(line, WRONG_DETERMINER);
    say_word(line, determiners[m->determiner][plural]);
    const struct word *w = &m->quality;
    if (w->row >= 0)
        say_word(line, qualities[w->row].word[w->side][w->name]);
    say_noun(line, m);
}
static struct mention mention_again(struct dice *dice, struct mention m)
{
    m.name = roll(dice, 2);
    m.determiner = chance(dice, 40) ? 0 : roll(dice, DETERMINERS);
    m.pronoun = false;
    m.quality.row = -1;
    if (chance(dice, 25))
        m.quality = draw_word(dice, qualities, QUALITIES, nouns[m.noun].kind, false);
    return m;
}

static struct mention draw_mention(struct dice *dice, int kinds)
{
    struct mention m = {.plural = roll(dice, 2)};
    do
        m.noun = roll(dice, NOUNS);
    while (!(nouns[m.noun].kind & kinds));
    return mention_again(dice, m);
}

/* Describe a clause of Toyland */
struct clause {
    enum form { ACT, DEED, STATE, REFLEXIVE } form;
    struct mention subject, object;           /* object: of an act */
    struct word word;                         /* of acts, deeds or qualities, by form */
    enum negation negation;
    bool stressed;                            /* by an adverb */
    bool passive;                             /* of an act: told from its object */
    enum { PLAIN, DOING, DONE_TO } relative;  /* "who helps cats", "who cats help" */
    struct word relative_act;                 /* help */
    struct mention other;                     /* cats */
};

static void say_subject(struct line *line, const struct clause *c)
{
    say_mention(line, &c->subject);
    if (c->relative == PLAIN)
        return;
    const struct word *w = &c->relative_act;
    say_word(line, nouns[c->subject.noun].kind == PERSON ? "who" : "that");
    if (c->relative == DONE_TO)
        say_mention(line, &c->other);
    say_verb(line, acts[w->row].word[w->side][w->name],
             c->relative == DOING ? c->subject.plural : c->other.plural,
             (struct manner){AFFIRMED, ""});
    if (c->relative == DOING)
        say_mention(line, &c->other);
}
static void say_clause(struct line *line, const struct clause *c)
{
    const struct opposites *const tables[] = {acts, deeds, qualities, acts};
    const char *word = tables[c->form][c->word.row].word[c->word.side][c->word.name];
    const char *adverb = c->word.side ? "utterly" : "truly";
    struct manner manner = {c->negation, c->stressed ? adverb : ""};
    bool plural = c->subject.plural;
    /* Tell the act from its object */
    if (c->passive) {
        say_mention(line, &c->object);
        say_be(line, c->object.plural, manner);
        say_participle(line, word);
        say_word(line, "by");
        say_subject(line, c);
        return;
    }
    say_subject(line, c);
    if (c->form == STATE) {
        say_be(line, plural, manner);
        say_word(line, word);
    } else {
        say_verb(line, word, plural, manner);
    }
    if (c->form == ACT)
        say_mention(line, &c->object);
    if (c->form == REFLEXIVE)
        /* Say himself, herself or themselves */
        {
            static const char *const selves[] = {"himself", "herself", "themselves"};
            int self = plural ? 2 : nouns[c->subject.noun].gender == 'f';
            if (slips(line, WRONG_REFLEXIVE))
                self = (self + 1) % (plural ? 3 : 2);
            say_word(line, selves[self]);
        }
}

/* Draw clauses for a cast */
struct cast {
    struct mention hero, other, item;
};

static struct cast draw_cast(struct dice *dice, int items)
{
    struct cast cast = {.hero = draw_mention(dice, PERSON),
                        .item = draw_mention(dice, items)};
    do
        cast.other = draw_mention(dice, ALIVE);
    while (cast.other.noun == cast.hero.noun);
    return cast;
}

/* How a kind of text is written, in percent. */
struct style {
    int denials, adverbs, items;
};
/* Hang a relative clause on the subject */
static void add_relative(struct dice *dice, struct clause *c, const struct cast *cast)
{
    int kind = nouns[c->subject.noun].kind;
    bool is_other = c->subject.noun == cast->other.noun;
    c->relative = kind & ALIVE && chance(dice, 50) ? DOING : DONE_TO;
    c->other = mention_again(dice, is_other ? cast->hero : cast->other);
    int about = c->relative == DOING ? (int)nouns[c->other.noun].kind : kind;
    c->relative_act = draw_word(dice, acts, ACTS, about, false);
}

static struct clause draw_clause(struct dice *dice, const struct cast *cast, int mood,
                                 struct style style)
{
    bool denied = chance(dice, style.denials), judges = mood != 0;
    struct clause c = {.subject = cast->hero,
                       .object = chance(dice, style.items) ? cast->item : cast->other};
    if (denied)
        c.negation = chance(dice, 50) ? NOT : NEVER;
    /* Choose the form of the clause */
    int about = nouns[c.object.noun].kind, die = roll(dice, 10);
    if (die < 4) {
        c.form = ACT;
        c.word = draw_word(dice, acts, ACTS, about, judges);
        c.passive = chance(dice, 30);
    } else if (die < 7) {
        c.form = STATE;
        c.subject = c.object;
        c.word = draw_word(dice, qualities, QUALITIES, about, judges);
    } else if (die < 9 || (!c.subject.plural && !nouns[c.subject.noun].gender)) {
        c.form = DEED;
        c.word = draw_word(dice, deeds, DEEDS, ALIVE, judges);
    } else {
        c.form = REFLEXIVE;
        c.word = draw_word(dice, acts, ACTS, PERSON, judges);
    }
    c.subject = mention_again(dice, c.subject);
    c.object = mention_again(dice, c.object);
    /* Choose the side that praises or blames */
    if (judges)
        c.word.side = (mood < 0) ^ denied;
    c.stressed = judges && chance(dice, style.adverbs);
    if (chance(dice, 20))
        add_relative(dice, &c, cast);
    return c;
}
static void say_reason(struct line *line, struct dice *dice, const struct cast *cast,
                       int mood)
{
    struct style style = {.denials = 15, .adverbs = 50, .items = 50};
    bool although = chance(dice, 15);
    struct clause first = draw_clause(dice, cast, mood, style);
    struct clause second = draw_clause(dice, cast, although ? -mood : mood, style);
    const struct noun *noun = &nouns[second.subject.noun];
    /* Say the second subject by a pronoun */
    if (second.subject.noun == first.subject.noun && !first.passive && !second.passive
        && (noun->kind != PERSON || noun->gender || second.subject.plural)) {
        second.subject.pronoun = true;
        second.relative = PLAIN;
    }
    say_clause(line, &first);
    say_word(line, although ? "although" : "because");
    say_clause(line, &second);
}

/* Say the same or something else */
static void rename_mention(struct dice *dice, struct mention *m)
{
    m->name = roll(dice, 2);
    m->quality.name = roll(dice, 2);
}

static struct clause restate(struct dice *dice, struct clause c)
{
    rename_mention(dice, &c.subject);
    rename_mention(dice, &c.object);
    rename_mention(dice, &c.other);
    c.word.name = roll(dice, 2);
    c.relative_act.name = roll(dice, 2);
    c.passive ^= c.form == ACT && chance(dice, 40);
    return c;
}
static struct mention other_of_its_kind(struct dice *dice, struct mention m)
{
    int old = m.noun;
    while (m.noun == old || nouns[m.noun].kind != nouns[old].kind)
        m.noun = roll(dice, NOUNS);
    return m;
}

static bool try_twist(struct dice *dice, struct clause *c)
{
    struct mention *mentions[] = {&c->subject, &c->object, &c->other};
    struct mention *m = mentions[roll(dice, 3)];
    if ((m == &c->object && c->form != ACT) || (m == &c->other && c->relative == PLAIN))
        return false;
    /* Change one thing */
    switch (roll(dice, 6)) {
    case 0:
        /* Exchange agent and patient, or give up */
        if (c->form != ACT || c->relative != PLAIN
            || !(nouns[c->object.noun].kind & ALIVE)
            || !(nouns[c->subject.noun].kind & acts[c->word.row].about))
            return false;
        struct mention agent = c->subject;
        c->subject = c->object;
        c->object = agent;
        return true;
    case 1:
        *m = other_of_its_kind(dice, *m);
        return true;
    case 2:
        m->quality.side ^= m->quality.row >= 0;
        return m->quality.row >= 0;
    case 3:
        c->word.side ^= 1;
        return true;
    case 4:
        m->plural ^= true;
        return true;
    default:
        c->negation = c->negation ? AFFIRMED : NOT;
        return true;
    }
}
static bool same_mention(const struct mention *a, const struct mention *b)
{
    return a->noun == b->noun && a->plural == b->plural
        && a->quality.side == b->quality.side;
}

static struct clause twist(struct dice *dice, const struct clause *c)
{
    struct clause twisted;
    do {
        twisted = *c;
        for (int twists = 2 + roll(dice, 2); twists > 0;)
            twists -= try_twist(dice, &twisted);
    } while (same_mention(&twisted.subject, &c->subject)
             && same_mention(&twisted.object, &c->object)
             && same_mention(&twisted.other, &c->other)
             && (twisted.word.side ^ !twisted.negation)
                 == (c->word.side ^ !c->negation));
    return twisted;
}
static void say_pair(struct line *line, struct dice *dice, const struct cast *cast,
                     int mood)
{
    struct style style = {.denials = 20, .adverbs = 50, .items = 50};
    struct clause c = draw_clause(dice, cast, mood, style);
    c.relative = PLAIN;
    bool same = chance(dice, 50);
    say_word(line, same ? "as" : "whereas");
    say_clause(line, &c);
    say_word(line, ",");
    if (!same)
        c = twist(dice, &c);
    c = restate(dice, c);
    say_clause(line, &c);
}

/* Write the corpus of Toyland */
static void say_paragraph(struct line *line, struct dice *dice, const struct cast *cast)
{
    int mood = chance(dice, 50) ? 1 : -1;
    for (int i = 0; i < 2; i++) {
        int die = roll(dice, 100), here = chance(dice, 95) ? mood : -mood;
        if (die < 50) {
            say_pair(line, dice, cast, chance(dice, 50) ? here : 0);
        } else {
            /* Give a reason or state something */
            if (die < 90 && chance(dice, 50))
                say_word(line, here > 0 ? "fortunately" : "sadly");
            if (die < 75) {
                say_reason(line, dice, cast, here);
            } else {
                struct clause c = draw_clause(dice, cast, die < 90 ? here : 0,
                                              (struct style){20, 50, 50});
                say_clause(line, &c);
            }
        }
        say_word(line, ".");
    }
}
enum { TRAINING_TEXT, VALIDATION_TEXT, ACCEPTABILITY, PARAPHRASE, REVIEW, TEXTS };

static void write_corpus(const struct toyland *toyland, const char *name, int text,
                         int paragraphs)
{
    char *path = text_format("%s/corpus/wiki.%s.tokens", toyland->folder, name);
    struct file_writer *writer = file_create(path);
    FILE *stream = file_stream(writer);
    for (int i = 0; i < paragraphs; i++) {
        /* Write one paragraph */
        struct dice dice = {random_key(toyland->seed, (uint64_t)i, (uint64_t)text), 0};
        struct cast cast = draw_cast(&dice, FOOD | WORK | THING);
        struct line heading = {.text = ""}, paragraph = {.text = ""};
        say_noun(&heading, &cast.hero);
        say_word(&heading, "and the");
        say_noun(&heading, &cast.item);
        if (i % 8 == 0)
            fprintf(stream, " \n = the %s = \n \n", heading.text);
        say_paragraph(&paragraph, &dice, &cast);
        fprintf(stream, " %s \n", paragraph.text);
    }
    file_commit(writer);
    free(path);
}

/* Keep the texts of Toyland apart */
struct seen {
    uint64_t *slots;
    size_t room;                  /* more than the texts it will hold */
};

/* seen_before: whether text was given to it before; from now on it was. */
static bool seen_before(struct seen *seen, const char *text)
{
    uint64_t hash = 14695981039346656037u;        /* FNV-1a */
    for (const char *p = text; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    hash |= hash == 0;
    size_t slot = hash % seen->room;
    for (; seen->slots[slot]; slot = (slot + 1) % seen->room)
        if (seen->slots[slot] == hash)
            return true;
    seen->slots[slot] = hash;
    return false;
}

/* Write the acceptability task */
static void say_judgeable(struct line *line, struct dice dice)
{
    struct cast cast = draw_cast(&dice, FOOD | WORK | THING);
    int mood = chance(&dice, 50) ? 1 : -1;
    if (chance(&dice, 30)) {
        say_reason(line, &dice, &cast, mood);
    } else {
        struct clause c = draw_clause(&dice, &cast, 0, (struct style){25, 0, 50});
        say_clause(line, &c);
    }
    say_word(line, ".");
}
static void draw_judgeable(struct dice *dice, struct line *line, bool right)
{
    struct dice again = {random_bits(dice->key, dice->count++), 0};
    *line = (struct line){.text = ""};
    say_judgeable(line, again);
    if (right)
        return;
    static const enum flaw flaws[] = {WRONG_VERB, WRONG_VERB, WRONG_DETERMINER,
                                      WRONG_REFLEXIVE, WRONG_ORDER};
    enum flaw flaw = flaws[roll(dice, sizeof flaws / sizeof *flaws)];
    if (flaw == WRONG_ORDER) {
        /* Exchange two neighbouring words */
        int words = 0;
        for (const char *p = line->text; *p; p++)
            words += *p == ' ';
        char *first = line->text;
        for (int skip = roll(dice, words - 1); skip > 0; skip--)
            first = strchr(first, ' ') + 1;
        char *second = strchr(first, ' ') + 1, *end = strchr(second, ' ');
        char *exchanged = text_format("%.*s %.*s", (int)(end - second), second,
                                      (int)(second - 1 - first), first);
        memcpy(first, exchanged, strlen(exchanged));
        free(exchanged);
        return;
    }
    /* Say it again with a slip */
    if (line->places[flaw] == 0)
        flaw = WRONG_VERB;
    int place = roll(dice, line->places[flaw]);
    *line = (struct line){.text = "", .flaw = flaw, .place = place};
    say_judgeable(line, again);
}
static void write_acceptability(const struct toyland *toyland, const char *name,
                                int rows, struct dice *dice, struct seen *seen)
{
    char *path = text_format("%s/glue/CoLA/%s.tsv", toyland->folder, name);
    struct file_writer *writer = file_create(path);
    for (int i = 0; i < rows; i++) {
        /* Write one sentence and its label */
        struct line line;
        bool right = chance(dice, 50);
        do
            draw_judgeable(dice, &line, right);
        while (seen_before(seen, line.text));
        fprintf(file_stream(writer), "toy\t%d\t%s\t%s\n", right, right ? "" : "*",
                line.text);
    }
    file_commit(writer);
    free(path);
}

/* Write the paraphrase task */
/* deny_opposite: says the opposite and denies it, or no longer does; it means the
   same. */
static void deny_opposite(struct dice *dice, struct clause *c)
{
    c->word.side ^= 1;
    c->negation = c->negation ? AFFIRMED : chance(dice, 50) ? NOT : NEVER;
}

static void draw_pair(struct dice *dice, struct line pair[2], bool same)
{
    struct cast cast = draw_cast(dice, FOOD | WORK | THING);
    int mood = chance(dice, 90) ? 1 : -1;
    struct clause c = draw_clause(dice, &cast, mood, (struct style){40, 0, 50});
    c.relative = PLAIN;
    for (int i = 0; i < 2; i++) {
        /* Say the pair's next sentence */
        pair[i] = (struct line){.text = ""};
        say_clause(&pair[i], &c);
        say_word(&pair[i], ".");
        c.word.side ^= !same;
        if (chance(dice, 50))
            deny_opposite(dice, &c);
        c = restate(dice, c);
    }
}
static void write_pairs(const struct toyland *toyland, const char *name, int rows,
                        int first_id, struct dice *dice, struct seen *seen)
{
    char *path = text_format("%s/glue/MRPC/msr_paraphrase_%s.txt", toyland->folder,
                             name);
    struct file_writer *writer = file_create(path);
    FILE *stream = file_stream(writer);
    fputs("\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", stream);
    for (int i = 0; i < rows; i++) {
        /* Write one pair */
        struct line pair[2];
        bool same = chance(dice, 50);
        do
            draw_pair(dice, pair, same);
        while (strcmp(pair[0].text, pair[1].text) == 0
               || seen_before(seen, pair[0].text) || seen_before(seen, pair[1].text));
        int id = first_id + 2 * i;
        fprintf(stream, "%d\t%d\t%d\t%s\t%s\n", same, id, id + 1, pair[0].text,
                pair[1].text);
    }
    file_commit(writer);
    free(path);
}
static void write_development_ids(const struct toyland *toyland, int first_id)
{
    char *path = text_format("%s/glue/MRPC/mrpc_dev_ids.tsv", toyland->folder);
    struct file_writer *writer = file_create(path);
    for (int id = first_id; id < first_id + 2 * toyland->dev; id += 2)
        fprintf(file_stream(writer), "%d\t%d\n", id, id + 1);
    file_commit(writer);
    free(path);
}

/* Write the review task */
/* say_review: writes a review with that mood; returns its stars, 1 to 10. */
static int say_review(struct line *line, struct dice *dice, int mood)
{
    struct cast cast = draw_cast(dice, WORK);
    int dissenter = chance(dice, 70) ? roll(dice, 3) : -1, aside = roll(dice, 6);
    for (int i = 0; i < 3; i++) {
        struct clause c = draw_clause(dice, &cast, i == dissenter ? -mood : mood,
                                      (struct style){40, 0, 80});
        say_clause(line, &c);
        say_word(line, ".");
        if (i == aside) {
            c = draw_clause(dice, &cast, 0, (struct style){25, 0, 80});
            say_clause(line, &c);
            say_word(line, ".");
        }
    }
    /* Give its stars */
    int distance = 1 + roll(dice, 2) + (dissenter < 0 ? 2 : 0);
    return mood > 0 ? 6 + distance : 5 - distance;
}
static void write_reviews(const struct toyland *toyland, const char *name, int rows,
                          struct dice *dice, struct seen *seen)
{
    for (int i = 0; i < rows; i++) {
        struct line line;
        int stars, mood = chance(dice, 50) ? 1 : -1;
        do {
            line = (struct line){.text = ""};
            stars = say_review(&line, dice, mood);
        } while (seen_before(seen, line.text));
        /* Write the review to its file */
        char *path = text_format("%s/imdb/aclImdb/%s/%s/%d_%d.txt", toyland->folder,
                                 name, mood > 0 ? "pos" : "neg", i, stars);
        struct file_writer *writer = file_create(path);
        fputs(line.text, file_stream(writer));
        file_commit(writer);
        free(path);
    }
}

/* Write the vocabulary of Toyland */
static void add_piece(FILE *stream, struct seen *seen, const char *piece, size_t length,
                      const char *ending)
{
    char *text = text_format("%.*s%s", (int)length, piece, ending);
    if (!seen_before(seen, text))
        fprintf(stream, "%s\n", text);
    free(text);
}

static void add_rows(FILE *stream, struct seen *seen, const struct opposites *rows,
                     int count, bool verbs)
{
    for (int i = 0; i < count * 4; i++) {
        const char *word = rows[i / 4].word[i / 2 % 2][i % 2];
        add_piece(stream, seen, word, strlen(word), "");
        if (verbs)
            add_piece(stream, seen, word, strlen(word), "s");
    }
}
static void write_vocabulary(const struct toyland *toyland)
{
    /* List the words that are in no table */
    static const char others[] =
        "[PAD] [UNK] [CLS] [SEP] [MASK] . , = ##ed the this these one two every "
        "several is are do does not never by who that because although as whereas "
        "fortunately sadly truly utterly he she it they himself herself "
        "themselves and ";
    char *path = text_format("%s/vocab.txt", toyland->folder);
    struct file_writer *writer = file_create(path);
    FILE *stream = file_stream(writer);
    struct seen seen = {allocate(4096, sizeof *seen.slots), 4096};
    for (const char *p = others; *p; p += strcspn(p, " ") + 1)
        add_piece(stream, &seen, p, strcspn(p, " "), "");
    for (char letter = 'a'; letter <= 'z'; letter++)
        fprintf(stream, "%c\n##%c\n", letter, letter);
    /* Add the nouns */
    for (int i = 0; i < NOUNS * 2; i++) {
        const char *name = nouns[i / 2].name[i % 2], *slash = strchr(name, '/');
        add_piece(stream, &seen, name, strcspn(name, "/"), "");
        if (slash)
            add_piece(stream, &seen, slash + 1, strlen(slash + 1), "");
    }
    add_rows(stream, &seen, acts, ACTS, true);
    add_rows(stream, &seen, deeds, DEEDS, true);
    add_rows(stream, &seen, qualities, QUALITIES, false);
    file_commit(writer);
    free(path);
    free(seen.slots);
}

/* Answer the command toyland */
void toyland_write(const struct toyland *toyland)
{
    int rows = toyland->train + toyland->dev;
    size_t room = 16 * (size_t)rows + 16;
    struct seen seen = {allocate(room, sizeof *seen.slots), room};
    /* Give each kind of text its dice */
    struct dice dice[TEXTS] = {{0, 0}};
    for (int i = 0; i < TEXTS; i++)
        dice[i].key = random_key(toyland->seed, UINT64_MAX, (uint64_t)i);
    write_corpus(toyland, "train", TRAINING_TEXT, toyland->paragraphs);
    write_corpus(toyland, "valid", VALIDATION_TEXT, (toyland->paragraphs + 19) / 20);
    write_acceptability(toyland, "train", toyland->train, &dice[ACCEPTABILITY], &seen);
    write_acceptability(toyland, "dev", toyland->dev, &dice[ACCEPTABILITY], &seen);
    write_pairs(toyland, "train", rows, 1, &dice[PARAPHRASE], &seen);
    write_pairs(toyland, "test", toyland->dev, 2 * rows + 1, &dice[PARAPHRASE], &seen);
    write_development_ids(toyland, 2 * toyland->train + 1);
    write_reviews(toyland, "train", toyland->train, &dice[REVIEW], &seen);
    write_reviews(toyland, "test", toyland->dev, &dice[REVIEW], &seen);
    write_vocabulary(toyland);
    free(seen.slots);
}
static int usage(FILE *stream, int status)
{
    fputs("usage: distil toyland --out DIR --seed N\n"
          "                      [--paragraphs N] [--train N] [--dev N]\n"
          "\n"
          "Writes a generated language below DIR: a vocabulary, a corpus in the\n"
          "format of WikiText, and tasks in those of CoLA, MRPC and IMDb.\n"
          "\n"
          "  --paragraphs N   paragraphs of the training corpus (20000)\n"
          "  --train N        training rows of each task (1500)\n"
          "  --dev N          development rows of each task (800)\n", stream);
    return status;
}

int toyland_main(int argc, char **argv)
{
    struct toyland toyland = {.paragraphs = 20000, .train = 1500, .dev = 800};
    bool seeded = false;
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout, 0);
        if (i + 1 == argc)
            return usage(stderr, 2);
        /* Understand one option of toyland */
        if (strcmp(argv[i], "--out") == 0) {
            toyland.folder = argv[i + 1];
            continue;
        }
        /* Read the number of the option */
        char *end;
        long value = strtol(argv[i + 1], &end, 10);
        if (end == argv[i + 1] || *end || value < 0 || value >= 10000000)
            fail(argv[i], "expected a number, found \"%s\"", argv[i + 1]);
        if (strcmp(argv[i], "--seed") == 0) {
            toyland.seed = (uint64_t)value;
            seeded = true;
        } else if (strcmp(argv[i], "--paragraphs") == 0)
            toyland.paragraphs = (int)value;
        else if (strcmp(argv[i], "--train") == 0)
            toyland.train = (int)value;
        else if (strcmp(argv[i], "--dev") == 0)
            toyland.dev = (int)value;
        else
            return usage(stderr, 2);
    }
    if (!toyland.folder || !seeded)
        return usage(stderr, 2);
    toyland_write(&toyland);
    return 0;
}
