/* Tangled from chapters/22-tokenizer.md; edit there. */
#include "tokenizer.h"
#include "cache.h"
#include "fail.h"
#include "vocabulary.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Keep the vocabulary as a tree of bytes */
enum { WORD_START = 0, WORD_REST = 1, NO_NODE = -1, NO_PIECE = -1 };

/* The tree's edges lie in one hash table with open addressing, at most half full. */
struct trie {
    struct edge {
        uint32_t key;   /* node * 256 + byte + 1; 0: a free place */
        int node;       /* where it leads */
    } *edges;           /* [1 << bits] */
    int bits;
    int *ids;           /* [nodes] the piece that ends here, or NO_PIECE */
    int nodes;
};

static struct edge *trie_edge(const struct trie *trie, int node, uint8_t byte)
{
    uint32_t key = (uint32_t)node * 256 + byte + 1, last = (1u << trie->bits) - 1;
    uint32_t place = key * 2654435769u >> (32 - trie->bits);
    while (trie->edges[place].key != 0 && trie->edges[place].key != key)
        place = (place + 1) & last;
    return &trie->edges[place];
}

/* Walk down the tree */
/* trie_step: the node that a byte leads to, or NO_NODE. */
static int trie_step(const struct trie *trie, int node, uint8_t byte)
{
    const struct edge *edge = trie_edge(trie, node, byte);
    return edge->key ? edge->node : NO_NODE;
}

/* Add a piece to the tree */
/* trie_add: puts a piece of `length` bytes below one of the two roots. */
static void trie_add(struct trie *trie, int root, const char *piece, size_t length,
                     int id)
{
    int node = root;
    for (size_t i = 0; i < length; i++) {
        /* Find the edge of the byte or make it */
        struct edge *edge = trie_edge(trie, node, (uint8_t)piece[i]);
        if (edge->key == 0) {
            edge->key = (uint32_t)node * 256 + (uint8_t)piece[i] + 1;
            edge->node = trie->nodes;
            trie->ids[trie->nodes++] = NO_PIECE;
        }
        node = edge->node;
    }
    trie->ids[node] = id;
}

static void trie_free(struct trie *trie)
{
    free(trie->edges);
    free(trie->ids);
    free(trie);
}

/* Collect pieces and the characters of a word */
enum { WORD_LIMIT = 100 };

struct encoding {
    const struct tokenizer *tokenizer;
    int *ids, room;              /* where pieces go, and how many may */
    struct extent *extents;      /* [room] where they stand; or NULL */
    int count;                   /* pieces found, stored or not */
    struct extent at;            /* the character of the text that is being read */
    struct extent whole;         /* of the text: all characters of the word so far */
    struct extent source[WORD_LIMIT]; /* and each of them */
    int32_t word[WORD_LIMIT];    /* code points of the word so far */
    int length;                  /* its characters, those beyond the limit too */
    int settled;                 /* its first characters, which stay where they are */
};

static void add_piece(struct encoding *encoding, int id, struct extent extent)
{
    if (encoding->count < encoding->room) {
        encoding->ids[encoding->count] = id;
        if (encoding->extents)
            encoding->extents[encoding->count] = extent;
    }
    encoding->count++;
}

/* Spell a word with the longest pieces */
/* spell: adds the pieces of a word of `length` bytes of UTF-8, or [UNK]. extents: of
   the text, what each of the bytes comes from. */
static void spell(struct encoding *encoding, const uint8_t *word,
                  const struct extent *extents, int length)
{
    const struct trie *trie = encoding->tokenizer->pieces;
    int before = encoding->count;
    for (int start = 0; start < length;) {
        int node = start == 0 ? WORD_START : WORD_REST, id = NO_PIECE, end = start;
        /* Find the longest piece that the word continues with */
        for (int i = start; i < length; i++) {
            if ((node = trie_step(trie, node, word[i])) == NO_NODE)
                break;
            if (trie->ids[node] != NO_PIECE) {
                id = trie->ids[node];
                end = i + 1;
            }
        }
        /* Give up a word that cannot be spelt */
        if (id == NO_PIECE) {
            encoding->count = before;
            add_piece(encoding, encoding->tokenizer->unk, encoding->whole);
            return;
        }
        add_piece(encoding, id,
                  (struct extent){extents[start].from, extents[end - 1].to});
        start = end;
    }
}

/* Finish a word */
static void finish_word(struct encoding *encoding)
{
    uint8_t bytes[4 * WORD_LIMIT];
    struct extent extents[4 * WORD_LIMIT];
    int size = 0;
    if (encoding->length > WORD_LIMIT) {
        add_piece(encoding, encoding->tokenizer->unk, encoding->whole);
    } else {
        /* Write the characters of the word as bytes */
        for (int i = 0; i < encoding->length; i++) {
            int end = size + (int)utf8proc_encode_char(encoding->word[i], bytes + size);
            while (size < end)
                extents[size++] = encoding->source[i];
        }
        spell(encoding, bytes, extents, size);
    }
    encoding->length = encoding->settled = 0;
}

/* Put a character into the word, in canonical order */
static void add_character(struct encoding *encoding, int32_t c, int combining_class)
{
    if (encoding->length == 0)
        encoding->whole = encoding->at;
    encoding->whole.to = encoding->at.to;
    if (encoding->length >= WORD_LIMIT) {
        encoding->length++;
        return;
    }
    int place = encoding->length++;
    if (combining_class == 0)
        encoding->settled = encoding->length;
    /* Move it back past all of a higher class */
    for (int32_t *word = encoding->word; place > encoding->settled; place--) {
        if (utf8proc_get_property(word[place - 1])->combining_class <= combining_class)
            break;
        word[place] = word[place - 1];
        encoding->source[place] = encoding->source[place - 1];
    }
    encoding->word[place] = c;
    encoding->source[place] = encoding->at;
}

/* Take a character apart and strip its accents */
static bool is_punctuation(int32_t c, utf8proc_category_t category)
{
    bool symbol = category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO;
    return (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO)
        || (symbol && c < 128);
}

/* Put a letter into the word, in lower case if that is wanted */
static void add_letter(struct encoding *encoding, int32_t c, int combining_class)
{
    enum { I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 };
    bool lower_case = encoding->tokenizer->lower_case;
    if (lower_case && c == I_WITH_DOT) {
        add_character(encoding, 'i', 0);
        add_character(encoding, DOT_ABOVE, 0);
    } else {
        add_character(encoding, lower_case ? utf8proc_tolower(c) : c, combining_class);
    }
}

static void add_parts(struct encoding *encoding, int32_t c)
{
    bool strip = encoding->tokenizer->strip_accents;
    int32_t parts[8] = {c};
    int count = 1, boundary = 0;
    if (strip)
        count = (int)utf8proc_decompose_char(c, parts, 8, UTF8PROC_DECOMPOSE,
                                             &boundary);
    for (int i = 0; i < count; i++) {
        /* Put the part where it belongs */
        const utf8proc_property_t *property = utf8proc_get_property(parts[i]);
        int class = property->combining_class;
        if (is_punctuation(parts[i], property->category)) {
            finish_word(encoding);
            add_character(encoding, parts[i], 0);
            finish_word(encoding);
        } else if (!strip) {
            add_letter(encoding, parts[i], 0);
        } else if (property->category != UTF8PROC_CATEGORY_MN) {
            add_letter(encoding, parts[i], class);
        } else if (class == 0) {
            encoding->settled = encoding->length;
        }
    }
}

/* Decide what a character does */
static bool is_ideograph(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF)
        || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F)
        || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF)
        || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static void take(struct encoding *encoding, int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    if (c == '\t' || c == '\n' || c == '\r'
        || (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP)) {
        finish_word(encoding);
    } else if (is_ideograph(c) && encoding->tokenizer->split_ideographs) {
        finish_word(encoding);
        add_parts(encoding, c);
        finish_word(encoding);
    } else if (category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_CF
               && category != UTF8PROC_CATEGORY_CO && c != 0xFFFD) {
        add_parts(encoding, c);
    }
}

/* Find a special token in the text */
static const char *const special_names[5] = {
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
};

/* special_at: the id of the special token that the text begins with and its length, or
   NO_PIECE. */
static int special_at(const struct tokenizer *t, const char *text, size_t size,
                      size_t *length)
{
    const int ids[5] = {t->pad, t->unk, t->cls, t->sep, t->mask};
    for (int i = 0; i < 5 && *text == '['; i++) {
        *length = strlen(special_names[i]);
        if (*length <= size && memcmp(text, special_names[i], *length) == 0)
            return ids[i];
    }
    return NO_PIECE;
}

bool tokenizer_special(const struct tokenizer *t, int id)
{
    return id == t->pad || id == t->unk || id == t->cls || id == t->sep
        || id == t->mask;
}

/* Encode a text */
int tokenizer_locate(const struct tokenizer *tokenizer, const char *text, size_t size,
                     int *ids, struct extent *extents, int room)
{
    struct encoding encoding = {
        .tokenizer = tokenizer, .ids = ids, .extents = extents, .room = room};
    for (size_t i = 0, length; i < size; i += length) {
        int special = special_at(tokenizer, text + i, size - i, &length);
        if (special != NO_PIECE) {
            finish_word(&encoding);
            add_piece(&encoding, special, (struct extent){(int)i, (int)(i + length)});
            continue;
        }
        /* Read the next character */
        int32_t c;
        utf8proc_ssize_t used = utf8proc_iterate((const uint8_t *)text + i,
                                                 (utf8proc_ssize_t)(size - i), &c);
        length = used > 0 ? (size_t)used : 1;
        encoding.at = (struct extent){(int)i, (int)(i + length)};
        if (used > 0)
            take(&encoding, c);
    }
    finish_word(&encoding);
    return encoding.count;
}

int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size,
                     int *ids, int room)
{
    return tokenizer_locate(tokenizer, text, size, ids, NULL, room);
}

/* Encode one text or two for the model */
/* shorten_longer: cuts the lengths of two texts so that their sum is at most room. */
static void shorten_longer(int *a, int *b, int room)
{
    int *longer = *a > *b ? a : b, *shorter = *a > *b ? b : a;
    if (*a + *b <= room)
        return;
    *shorter = *shorter < room / 2 ? *shorter : room / 2;
    *longer = room - *shorter;
}

int tokenizer_encode_pair(const struct tokenizer *t, const char *a, const char *b,
                          int max_length, int *ids, int *first)
{
    int room = max_length - (b ? 3 : 2), b_length = 0;
    if (room < 0)
        fail("max_length", "%d tokens leave no room for [CLS] and [SEP]", max_length);
    int *b_ids = allocate((size_t)room, sizeof *b_ids);
    int a_length = tokenizer_encode(t, a, strlen(a), ids + 1, room);
    if (b)
        b_length = tokenizer_encode(t, b, strlen(b), b_ids, room);
    shorten_longer(&a_length, &b_length, room);
    /* Join the texts to a sequence */
    ids[0] = t->cls;
    ids[a_length + 1] = t->sep;
    *first = a_length + 2;
    if (b) {
        memcpy(ids + *first, b_ids, (size_t)b_length * sizeof *ids);
        ids[*first + b_length] = t->sep;
    }
    free(b_ids);
    return b ? *first + b_length + 1 : *first;
}

/* Open a tokenizer */
/* Make an empty tree with room for a vocabulary */
static struct trie *trie_create(size_t bytes)
{
    struct trie *trie = allocate(1, sizeof *trie);
    trie->bits = 4;
    while ((size_t)1 << trie->bits < 2 * bytes)
        trie->bits++;
    trie->edges = allocate((size_t)1 << trie->bits, sizeof *trie->edges);
    trie->ids = allocate(bytes + 2, sizeof *trie->ids);
    trie->nodes = 2;
    trie->ids[WORD_START] = trie->ids[WORD_REST] = NO_PIECE;
    return trie;
}

/* Look up a special token */
static int find_special(const struct tokenizer *t, const char *name, const char *path)
{
    int node = WORD_START;
    for (const char *p = name; *p && node != NO_NODE; p++)
        node = trie_step(t->pieces, node, (uint8_t)*p);
    if (node == NO_NODE || t->pieces->ids[node] == NO_PIECE)
        fail(path, "has no piece %s, which every BERT vocabulary has", name);
    return t->pieces->ids[node];
}

struct tokenizer *tokenizer_open(const char *vocab_path)
{
    struct vocabulary v = vocabulary_read(vocab_path);
    struct tokenizer *t = allocate(1, sizeof *t);
    if (v.size > 1 << 23)
        fail(v.path, "has %zu bytes; a vocabulary has at most 8 million", v.size);
    t->pieces = trie_create(v.size);
    /* Add each line of the vocabulary to the tree */
    const char *end = v.pieces + v.size;
    for (const char *line = v.pieces; line < end; t->count++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *next = newline;
        next = newline ? newline + 1 : end;
        size_t length = (size_t)((newline ? newline : end) - line);
        if (length > 0 && line[length - 1] == '\r')
            length--;
        if (length > 2 && memcmp(line, "##", 2) == 0)
            trie_add(t->pieces, WORD_REST, line + 2, length - 2, t->count);
        else
            trie_add(t->pieces, WORD_START, line, length, t->count);
        line = next;
    }
    /* Learn the ids of the special tokens */
    int *ids[5] = {&t->pad, &t->unk, &t->cls, &t->sep, &t->mask};
    for (int i = 0; i < 5; i++)
        *ids[i] = find_special(t, special_names[i], v.path);
    if (t->pad != 0)
        fail(v.path, "has [PAD] on line %d; it must be the first", t->pad + 1);
    /* Take over what the files decide */
    t->lower_case = v.lower_case;
    t->strip_accents = v.strip_accents;
    t->split_ideographs = v.split_ideographs;
    const bool decisions[] = {t->lower_case, t->strip_accents, t->split_ideographs};
    t->hash = cache_hash(CACHE_START, v.pieces, v.size);
    t->hash = cache_hash(t->hash, decisions, sizeof decisions);
    vocabulary_free(&v);
    return t;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    trie_free(tokenizer->pieces);
    free(tokenizer);
}
