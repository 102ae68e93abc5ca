/* Tangled from chapters/11-tangler.md; edit there. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Describe chapters, chunks and places */
struct line {
    char *text;
    const char *name;    /* of the chunk that is mentioned here; NULL: none */
    struct chunk *chunk; /* that chunk */
};

struct chapter {
    const char *path;
    char *bytes; /* which the lines point into */
    struct line *lines;
    int count;
};

/* The code lies strictly between the header's line and the closing fence's; both count from 1. */
struct piece {
    const struct chapter *chapter;
    int header, end;
};

struct place {
    const struct chunk *chunk;
    int piece, line; /* piece counts from 0, line from 1 */
};

struct chunk {
    const char *name, *language;
    struct piece *pieces;
    int piece_count;
    struct place *uses; /* where it is mentioned */
    int use_count;
    enum { UNSEEN, OPEN, DONE } state; /* of the search for cycles, */
    const struct chunk *user;          /* which came here from this chunk */
};

struct book {
    struct chapter *chapters;
    int chapter_count;
    struct chunk *chunks;
    int chunk_count;
    int errors;
};

/* Give up on the machine */
static void give_up(const char *subject, const char *reason)
{
    fprintf(stderr, "tangle: %s: %s\n", subject, reason);
    exit(1);
}
/* Report a fault of the book */
__attribute__((format(printf, 4, 5)))
static void fault(struct book *book, const char *path, int line, const char *format, ...)
{
    fprintf(stderr, "%s:%d: error: ", path, line);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    book->errors++;
}
/* Keep arrays and texts that grow */
/* grow: array of count elements with room for one more; the old pointer is gone. */
static void *grow(void *array, int count, size_t size)
{
    if (count & (count - 1))
        return array;
    array = realloc(array, (count ? 2 * (size_t)count : 1) * size);
    if (!array)
        give_up("memory", "ran out");
    return array;
}
struct text {
    char *bytes; /* with a NUL behind them, once anything was added */
    size_t size, room;
};

static void text_reserve(struct text *text, size_t more)
{
    if (text->size + more < text->room)
        return;
    text->room = 2 * (text->size + more) + 1;
    text->bytes = realloc(text->bytes, text->room);
    if (!text->bytes)
        give_up("memory", "ran out");
}

__attribute__((format(printf, 2, 3)))
static void text_add(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t length = (size_t)vsnprintf(NULL, 0, format, arguments);
    text_reserve(text, length);
    vsnprintf(text->bytes + text->size, length + 1, format, again);
    text->size += length;
    va_end(again);
    va_end(arguments);
}

/* Split a chapter into lines */
static bool file_read(const char *path, struct text *text)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t got;
    do {
        text_reserve(text, BUFSIZ);
        got = fread(text->bytes + text->size, 1, BUFSIZ, file);
        text->bytes[text->size += got] = 0;
    } while (got);
    bool whole = !ferror(file);
    fclose(file);
    return whole;
}

static void chapter_split(struct book *book, struct chapter *chapter, size_t size)
{
    char *line = chapter->bytes, *next;
    for (; *line; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] == '\n');
        line[length] = 0;
        if (length && line[length - 1] == '\r')
            line[length - 1] = 0;
        chapter->lines = grow(chapter->lines, chapter->count, sizeof *chapter->lines);
        chapter->lines[chapter->count++] = (struct line){ .text = line };
    }
    if (line != chapter->bytes + size)
        fault(book, chapter->path, chapter->count, "a NUL byte; chapters are plain text");
}
/* Find the chunks of a chapter */
/* header_parse: '=' or '+' if line is <<name>>= or <<name>>+=, and then its name; else 0. */
static char header_parse(char *line, char **name)
{
    char *end = strstr(line, ">>");
    if (strncmp(line, "<<", 2) || line[2] == '<' || !end)
        return 0;
    char *sign = end + 2 + (end[2] == '+');
    if (*sign != '=' || sign[1 + strspn(sign + 1, " \t")])
        return 0;
    *end = 0;
    *name = line + 2;
    return end[2];
}
/* line_parse: finds out whether a line of a chunk is a mention. */
static void line_parse(struct line *line)
{
    char *start = line->text + strspn(line->text, " \t");
    char *end = strstr(start, ">>");
    if (strncmp(start, "<<", 2) || start[2] == '<' || !end || end < start + 3)
        return;
    if (end[2 + strspn(end + 2, " \t")])
        return;
    *start = *end = 0;
    line->name = start + 2;
}
enum { LONGEST_NAME = 120 };

static bool name_is_file(const char *name)
{
    return !strncmp(name, "code/", 5) || !strncmp(name, "figures/", 8);
}

/* name_fault: what is wrong with the name of a chunk; NULL: nothing. */
static const char *name_fault(const char *name)
{
    size_t length = strlen(name);
    if (!length || name[0] == ' ' || name[length - 1] == ' ')
        return "is empty, or begins or ends with a space";
    if (length > LONGEST_NAME)
        return "is longer than 120 bytes";
    for (const char *c = name; *c; c++)
        if (iscntrl((unsigned char)*c))
            return "holds a control character";
    if (strstr(name, "/*") || strstr(name, "*/") || strstr(name, "<<") || strchr(name, '\\'))
        return "holds one of /* */ << \\, which mean something to those who read it";
    if (!name_is_file(name))
        return NULL;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-/", *c))
            return "is a file's, and those are made of letters, digits and . _ - /";
    if (strstr(name, "/.") || strstr(name, "//") || name[length - 1] == '/')
        return "must be a file below code/ or figures/";
    return NULL;
}
/* fence_end: the line, from 0, of the fence that closes one of ticks backticks; count if there is none. */
static int fence_end(const struct chapter *chapter, int line, size_t ticks)
{
    for (; line < chapter->count; line++) {
        const char *text = chapter->lines[line].text;
        size_t space = strspn(text, " ");
        size_t found = strspn(text + space, "`");
        if (space < 4 && found >= ticks && !text[space + found + strspn(text + space + found, " \t")])
            break;
    }
    return line;
}

/* Add a piece to its chunk */
static char *word_trim(char *word)
{
    word += strspn(word, " \t");
    for (size_t length = strlen(word); length && isspace((unsigned char)word[length - 1]);)
        word[--length] = 0;
    return word;
}

static struct chunk *chunk_find(const struct book *book, const char *name)
{
    for (int i = 0; i < book->chunk_count; i++)
        if (!strcmp(book->chunks[i].name, name))
            return &book->chunks[i];
    return NULL;
}

/* header_check: reports what is wrong with a header, sign '=' or '+', given the chunk so far or NULL. */
static void header_check(struct book *book, const struct chapter *chapter, int line, char sign,
                         const char *name, const char *language, const struct chunk *before)
{
    const char *path = chapter->path;
    if (name_fault(name))
        fault(book, path, line, "the name \"%s\" %s", name, name_fault(name));
    if (language[strcspn(language, " \t{")])
        fault(book, path, line - 1, "the fence of a chunk has a language and nothing else");
    if (!before && sign == '+')
        fault(book, path, line, "chunk \"%s\" is continued before it is defined", name);
    if (!before)
        return;
    const struct piece *first = &before->pieces[0];
    if (sign == '=')
        fault(book, path, line, "chunk \"%s\" is defined twice, first at %s:%d; write += to continue it",
              name, first->chapter->path, first->header);
    if (strcmp(language, before->language))
        fault(book, path, line, "chunk \"%s\" continues in %s, but began in %s at %s:%d", name,
              language, before->language, first->chapter->path, first->header);
}
static void piece_read(struct book *book, const struct chapter *chapter, int header, int end,
                       const char *language)
{
    if (!*language || header == end)
        return;
    char *name, *first = chapter->lines[header].text;
    char sign = header_parse(first, &name);
    if (!sign) {
        if (!strncmp(first, "<<", 2) && first[2] != '<' && (strstr(first, ">>=") || strstr(first, ">>+=")))
            fault(book, chapter->path, header + 1, "expected <<name>>= or <<name>>+= and nothing else");
        return;
    }
    struct chunk *chunk = chunk_find(book, name);
    header_check(book, chapter, header + 1, sign, name, language, chunk);
    if (!chunk) {
        book->chunks = grow(book->chunks, book->chunk_count, sizeof *book->chunks);
        chunk = &book->chunks[book->chunk_count++];
        *chunk = (struct chunk){ .name = name, .language = language };
    }
    chunk->pieces = grow(chunk->pieces, chunk->piece_count, sizeof *chunk->pieces);
    chunk->pieces[chunk->piece_count++] = (struct piece){ chapter, header + 1, end + 1 };
    for (int i = header + 1; i < end; i++) {
        line_parse(&chapter->lines[i]);
        if (header_parse(chapter->lines[i].text, &name))
            fault(book, chapter->path, i + 1, "chunk \"%s\" begins inside a fence; give it its own", name);
    }
}

static void chapter_find_chunks(struct book *book, const struct chapter *chapter)
{
    for (int i = 0; i < chapter->count; i++) {
        char *language = chapter->lines[i].text;
        size_t ticks = strspn(language, "`");
        language += ticks;
        if (ticks < 3 || strchr(language, '`'))
            continue;
        int end = fence_end(chapter, i + 1, ticks);
        if (end == chapter->count)
            fault(book, chapter->path, i + 1, "the fence that opens here is never closed");
        else
            piece_read(book, chapter, i + 1, end, word_trim(language));
        i = end;
    }
}
/* Check the book */
static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* name_distance: how many letters must change to turn wrong into right, which is no longer than
   LONGEST_NAME. Case does not count. */
static int name_distance(const char *wrong, const char *right)
{
    int row[LONGEST_NAME + 1], length = (int)strlen(right);
    for (int j = 0; j <= length; j++)
        row[j] = j;
    for (int i = 0; wrong[i]; i++) {
        int before = row[0];
        row[0] = i + 1;
        for (int j = 0; j < length; j++) {
            int same = tolower((unsigned char)wrong[i]) == tolower((unsigned char)right[j]);
            int change = before + !same;
            before = row[j + 1];
            row[j + 1] = smaller(change, 1 + smaller(row[j], before));
        }
    }
    return row[length];
}
static void report_undefined(struct book *book, const char *path, int line, const char *name)
{
    const char *nearest = NULL;
    int least = smaller((int)strlen(name), LONGEST_NAME) / 3 + 1;
    for (int i = 0; i < book->chunk_count; i++) {
        const char *candidate = book->chunks[i].name;
        int far = strlen(candidate) > LONGEST_NAME ? least : name_distance(name, candidate);
        if (far < least) {
            least = far;
            nearest = candidate;
        }
    }
    if (nearest)
        fault(book, path, line, "chunk \"%s\" is not defined; did you mean \"%s\"?", name, nearest);
    else
        fault(book, path, line, "chunk \"%s\" is not defined", name);
}

static void chunk_resolve(struct book *book, const struct chunk *chunk)
{
    for (int p = 0; p < chunk->piece_count; p++) {
        const struct piece *piece = &chunk->pieces[p];
        for (int number = piece->header + 1; number < piece->end; number++) {
            struct line *line = &piece->chapter->lines[number - 1];
            if (!line->name)
                continue;
            struct chunk *used = chunk_find(book, line->name);
            line->chunk = used;
            if (!used) {
                report_undefined(book, piece->chapter->path, number, line->name);
                continue;
            }
            used->uses = grow(used->uses, used->use_count, sizeof *used->uses);
            used->uses[used->use_count++] = (struct place){ chunk, p, number };
        }
    }
}
/* trail: "first" uses ... uses "last", along the way by which the search came from first to last. */
static void trail(struct text *text, const struct chunk *first, const struct chunk *last)
{
    if (last != first)
        trail(text, first, last->user);
    text_add(text, "\"%s\" uses ", last->name);
}

static void chunk_find_cycles(struct book *book, struct chunk *chunk)
{
    chunk->state = OPEN;
    for (int p = 0; p < chunk->piece_count; p++) {
        const struct piece *piece = &chunk->pieces[p];
        for (int number = piece->header + 1; number < piece->end; number++) {
            struct chunk *used = piece->chapter->lines[number - 1].chunk;
            if (!used)
                continue;
            if (used->state == OPEN) {
                struct text cycle = { 0 };
                trail(&cycle, used, chunk);
                fault(book, piece->chapter->path, number, "a chunk contains itself: %s\"%s\"",
                      cycle.bytes, used->name);
                free(cycle.bytes);
            } else if (used->state == UNSEEN) {
                used->user = chunk;
                chunk_find_cycles(book, used);
            }
        }
    }
    chunk->state = DONE;
}
static void book_check(struct book *book, bool strict)
{
    for (int i = 0; i < book->chunk_count; i++)
        chunk_resolve(book, &book->chunks[i]);
    for (int i = 0; i < book->chunk_count; i++)
        if (book->chunks[i].state == UNSEEN)
            chunk_find_cycles(book, &book->chunks[i]);
    for (int i = 0; i < book->chunk_count; i++) {
        const struct chunk *chunk = &book->chunks[i];
        const struct piece *piece = &chunk->pieces[0];
        if (chunk->use_count || name_is_file(chunk->name))
            continue;
        if (strict)
            fault(book, piece->chapter->path, piece->header, "chunk \"%s\" is never used", chunk->name);
        else
            fprintf(stderr, "%s:%d: warning: chunk \"%s\" is never used\n", piece->chapter->path,
                    piece->header, chunk->name);
    }
}

/* Expand a file */
struct row {
    char *text;
    struct place place;
    bool note;   /* the name of a chunk, as a comment */
    bool joined; /* goes on with what the row before began: a macro, or a comment */
};

/* Describe tokens */
struct token {
    char kind;
    bool defines; /* found to be the name in a definition */
    const char *text;
    int length;
    int row;
};

struct tokens {
    struct token *list;
    int count;
};

struct output {
    const struct chunk *file;
    struct row *rows;
    int count;
    int steps; /* lines walked over */
    struct tokens code, directives;
};

static void row_add(struct output *output, struct place place, bool note, char *text)
{
    output->rows = grow(output->rows, output->count, sizeof *output->rows);
    output->rows[output->count++] = (struct row){ text, place, note, false };
}
static char *join(const char *a, const char *b, const char *c, const char *d)
{
    struct text text = { 0 };
    text_add(&text, "%s%s%s%s", a, b, c, d);
    return text.bytes;
}

static bool is_c(const char *language)
{
    return !strcmp(language, "c") || !strcmp(language, "cuda");
}

/* comment: words as a comment of the language, indented; the caller frees it. */
static char *comment(const char *language, const char *indent, const char *words)
{
    if (is_c(language))
        return join(indent, "/* ", words, " */");
    if (!strcmp(language, "lua"))
        return join(indent, "-- ", words, "");
    if (!strcmp(language, "tex"))
        return join(indent, "% ", words, "");
    return join(indent, "# ", words, "");
}
enum { MOST_LINES = 100000 };

static bool ends_in_backslash(const char *text)
{
    size_t length = strlen(text);
    return length && text[length - 1] == '\\';
}

static void expand(struct output *output, const struct chunk *chunk, const char *indent)
{
    for (int p = 0; p < chunk->piece_count; p++) {
        const struct piece *piece = &chunk->pieces[p];
        for (int number = piece->header + 1; number < piece->end; number++) {
            if (++output->steps > MOST_LINES)
                return;
            const struct line *line = &piece->chapter->lines[number - 1];
            struct place place = { chunk, p, number };
            char *text = join(*line->text || line->chunk ? indent : "", line->text, "", "");
            if (line->chunk) {
                /* Expand a mention, indented by text */
                if (!output->count || !ends_in_backslash(output->rows[output->count - 1].text))
                    row_add(output, place, true, comment(output->file->language, text, line->name));
                expand(output, line->chunk, text);
                free(text);
            } else {
                row_add(output, place, false, text);
            }
        }
    }
}
/* Print the committed form */
static void print_banner(struct text *text, const struct output *output)
{
    char *words = join("Tangled from ", output->file->pieces[0].chapter->path, "; edit there.", "");
    char *banner = comment(output->file->language, "", words);
    text_add(text, "%s\n", banner);
    free(banner);
    free(words);
}

static struct text print_committed(const struct output *output)
{
    struct text text = { 0 };
    print_banner(&text, output);
    for (int i = 0; i < output->count; i++)
        text_add(&text, "%s\n", output->rows[i].text);
    return text;
}
/* Print the compiled form */
static void text_quote(struct text *text, const char *string, int length)
{
    text_add(text, "\"");
    for (const char *c = string; c < string + length; c++) {
        if ((unsigned char)*c < ' ')
            text_add(text, "\\u%04x", *c);
        else
            text_add(text, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    }
    text_add(text, "\"");
}

static struct text print_compiled(const struct output *output)
{
    struct text text = { 0 };
    print_banner(&text, output);
    const struct chapter *chapter = NULL; /* what the compiler takes the next row for */
    int line = 0;
    for (int i = 0; i < output->count; i++, line++) {
        const struct row *row = &output->rows[i];
        const struct place *place = &row->place;
        const struct chapter *from = place->chunk->pieces[place->piece].chapter;
        if (row->note) {
            line--;
            continue;
        }
        if (!row->joined && (from != chapter || place->line != line)) {
            chapter = from;
            line = place->line;
            text_add(&text, "#line %d ", line);
            text_quote(&text, chapter->path, (int)strlen(chapter->path));
            text_add(&text, "\n");
        }
        text_add(&text, "%s\n", row->text);
    }
    return text;
}

/* Cut a file into tokens */
/* token_add: appends the token that text begins with and returns its end. */
static const char *token_add(struct tokens *tokens, const char *text, int row)
{
    int length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '_')
        length++;
    char kind = !length ? *text : isdigit((unsigned char)*text) ? '0' : 'a';
    if (!strncmp(text, "->", 2)) {
        kind = '.';
        length = 1;
    }
    length += !length;
    tokens->list = grow(tokens->list, tokens->count, sizeof *tokens->list);
    tokens->list[tokens->count++] = (struct token){ kind, false, text, length, row };
    return text + length;
}
static char row_cut(struct tokens *tokens, const char *text, int row, char inside)
{
    while (*text) {
        if (inside == '*') {
            const char *end = strstr(text, "*/");
            if (!end)
                return inside;
            text = end + 2;
            inside = 0;
        } else if (inside) {
            inside = *text == inside ? 0 : inside;
            text += 1 + (*text == '\\' && text[1]);
        } else if (!strncmp(text, "//", 2)) {
            return 0;
        } else if (!strncmp(text, "/*", 2)) {
            inside = '*';
            text += 2;
        } else if (isspace((unsigned char)*text)) {
            text++;
        } else {
            inside = *text == '"' || *text == '\'' ? *text : 0;
            text = token_add(tokens, text, row);
        }
    }
    return inside;
}
static void output_cut(struct book *book, struct output *output)
{
    struct tokens *tokens = &output->code;
    char inside = 0;
    bool continued = false;
    for (int i = 0; i < output->count; i++) {
        struct row *row = &output->rows[i];
        const struct piece *piece = &row->place.chunk->pieces[row->place.piece];
        row->joined = continued || inside == '*';
        if (row->note && inside == '*')
            fault(book, piece->chapter->path, row->place.line, "a chunk is mentioned inside a comment");
        if (row->note)
            continue;
        const char *start = row->text + strspn(row->text, " \t");
        if (!row->joined)
            tokens = *start == '#' ? &output->directives : &output->code;
        if (!row->joined && !strncmp(start, "#include", 8))
            continue;
        inside = row_cut(tokens, row->text, i, inside);
        continued = ends_in_backslash(row->text);
        if (!continued && inside != '*')
            inside = 0;
    }
}
/* Recognise what a file defines */
struct sighting {
    const char *name;
    int length;
    bool tag;
    int scope;        /* 0: the program; else 1 + the number of the file */
    const char *kind; /* of a definition; NULL: a use */
    struct place place;
};

struct sightings {
    struct sighting *list;
    int count;
};

static bool word_is(const struct token *token, const char *word)
{
    return token->kind == 'a' && (size_t)token->length == strlen(word) &&
           !strncmp(token->text, word, (size_t)token->length);
}

/* tag_kind: the word, if token is one of those that a tag follows; else NULL. */
static const char *tag_kind(const struct token *token)
{
    static const char *const kinds[] = { "struct", "union", "enum" };
    for (int i = 0; i < 3; i++)
        if (word_is(token, kinds[i]))
            return kinds[i];
    return NULL;
}
struct search {
    struct sightings *found;
    struct output *output;
    int file;    /* 1 + the number of the output */
    bool header; /* whether other files include it */
};

/* define: token is the name in a definition of that kind; hidden: by static. */
static void define(struct search *search, struct token *token, const char *kind, bool tag, bool hidden)
{
    struct sightings *found = search->found;
    bool linked = !strcmp(kind, "function") || !strcmp(kind, "variable");
    bool everywhere = search->header || (linked && !hidden);
    token->defines = true;
    found->list = grow(found->list, found->count, sizeof *found->list);
    found->list[found->count++] = (struct sighting){
        token->text, token->length, tag, everywhere ? 0 : search->file, kind,
        search->output->rows[token->row].place,
    };
}
static int nesting(const struct token *token)
{
    return strchr("([{", token->kind) ? 1 : strchr(")]}", token->kind) ? -1 : 0;
}

static void find_constants(struct search *search, int brace)
{
    struct tokens *code = &search->output->code;
    int depth = 0;
    for (int i = brace; i < code->count; i++) {
        struct token *token = &code->list[i];
        depth += nesting(token);
        if (depth == 0)
            return;
        if (depth == 1 && token->kind == 'a' && strchr("{,", token[-1].kind))
            define(search, token, "constant", false, false);
    }
}

static void find_tags(struct search *search)
{
    struct tokens *code = &search->output->code;
    for (int i = 0; i + 2 < code->count; i++) {
        struct token *token = &code->list[i];
        const char *kind = tag_kind(token);
        bool named = token[1].kind == 'a';
        if (!kind || token[1 + named].kind != '{')
            continue;
        if (named)
            define(search, &token[1], kind, true, false);
        if (*kind == 'e')
            find_constants(search, i + 1 + named);
    }
}
static void find_macros(struct search *search)
{
    struct tokens *directives = &search->output->directives;
    for (int i = 0; i + 3 < directives->count; i++) {
        struct token *token = &directives->list[i];
        if (token[0].kind == '#' && word_is(&token[1], "define") && token[2].kind == 'a' &&
            token[3].row == token[2].row)
            define(search, &token[2], "macro", false, false);
    }
}
/* declaration_end: the last token of the declaration that begins at the token first. */
static int declaration_end(const struct tokens *code, int first)
{
    bool body = false;
    int depth = 0;
    for (int i = first; i < code->count; i++) {
        const struct token *token = &code->list[i];
        char before = i > first ? token[-1].kind : 0;
        if (depth == 0 && token->kind == '{' && before == '"')
            return i;
        if (depth == 0 && token->kind == '{' && before == ')')
            body = true;
        depth += nesting(token);
        if (depth < 0 || (depth == 0 && (token->kind == ';' || (body && token->kind == '}'))))
            return i;
    }
    return code->count - 1;
}
static void declaration_read(struct search *search, int first, int last)
{
    struct token *list = search->output->code.list;
    bool hidden = false, elsewhere = false, type = false, value = false;
    int depth = 0;
    for (int i = first; i < last; i++) {
        struct token *token = &list[i];
        depth += nesting(token);
        if (depth == 0 && strchr("=,", token->kind))
            value = token->kind == '=';
        if (depth || value || token->kind != 'a')
            continue;
        hidden |= word_is(token, "static");
        elsewhere |= word_is(token, "extern");
        type |= word_is(token, "typedef");
        if (token[1].kind == '(' && *token->text != '_' && list[last].kind == '}') {
            define(search, token, "function", false, hidden);
            return;
        }
        if (strchr("=[,;", token[1].kind) && i > first && !tag_kind(&token[-1]) && !elsewhere)
            define(search, token, type ? "type" : "variable", false, hidden);
    }
}

static void find_definitions(struct search *search)
{
    find_tags(search);
    find_macros(search);
    const struct tokens *code = &search->output->code;
    for (int first = 0, last; first < code->count; first = last + 1) {
        last = declaration_end(code, first);
        declaration_read(search, first, last);
    }
}
/* Recognise what a file uses */
static int key_compare(const void *a, const void *b)
{
    const struct sighting *x = a, *y = b;
    int order = strncmp(x->name, y->name, (size_t)smaller(x->length, y->length));
    if (!order)
        order = x->length - y->length;
    if (!order)
        order = x->tag - y->tag;
    return order ? order : x->scope - y->scope;
}

static void find_uses(struct search *search, const struct tokens *tokens, size_t defined)
{
    struct sightings *found = search->found;
    for (int i = 0; i < tokens->count; i++) {
        const struct token *token = &tokens->list[i];
        if (token->kind != 'a' || token->defines || (i && token[-1].kind == '.'))
            continue;
        struct sighting use = { .name = token->text, .length = token->length, .scope = search->file,
                                .tag = i && tag_kind(&token[-1]),
                                .place = search->output->rows[token->row].place };
        if (!bsearch(&use, found->list, defined, sizeof use, key_compare)) {
            use.scope = 0;
            if (!bsearch(&use, found->list, defined, sizeof use, key_compare))
                continue;
        }
        found->list = grow(found->list, found->count, sizeof *found->list);
        found->list[found->count++] = use;
    }
}
static const struct chapter *place_chapter(const struct place *place)
{
    return place->chunk->pieces[place->piece].chapter;
}

static int sighting_compare(const void *a, const void *b)
{
    const struct sighting *x = a, *y = b;
    int order = key_compare(a, b);
    if (!order)
        order = !x->kind - !y->kind;
    if (!order) {
        const struct chapter *first = place_chapter(&x->place), *second = place_chapter(&y->place);
        order = (first > second) - (first < second);
    }
    return order ? order : x->place.line - y->place.line;
}

/* sightings_find: every definition and use in the C files among the outputs; the caller frees the list. */
static struct sightings sightings_find(struct output *outputs, int count)
{
    struct sightings found = { 0 };
    for (int round = 0, defined = 0; round < 2; round++) {
        for (int i = 0; i < count; i++) {
            size_t length = strlen(outputs[i].file->name);
            struct search search = { &found, &outputs[i], i + 1, outputs[i].file->name[length - 1] == 'h' };
            if (round == 0) {
                find_definitions(&search);
            } else {
                find_uses(&search, &outputs[i].code, (size_t)defined);
                find_uses(&search, &outputs[i].directives, (size_t)defined);
            }
        }
        if (found.count)
            qsort(found.list, (size_t)found.count, sizeof *found.list, sighting_compare);
        defined = found.count;
    }
    int kept = 0;
    for (int i = 0; i < found.count; i++)
        if (!kept || sighting_compare(&found.list[kept - 1], &found.list[i]))
            found.list[kept++] = found.list[i];
    found.count = kept;
    return found;
}
/* Print the cross references */
static void print_string(struct text *text, const char *string)
{
    text_quote(text, string, (int)strlen(string));
}

static void print_place(struct text *text, const struct place *place, bool first)
{
    text_add(text, "%s\n   {\"chunk\": ", first ? "" : ",");
    print_string(text, place->chunk->name);
    text_add(text, ", \"piece\": %d, \"file\": ", place->piece + 1);
    print_string(text, place_chapter(place)->path);
    text_add(text, ", \"line\": %d}", place->line);
}

static void print_chunk(struct text *text, const struct chunk *chunk)
{
    text_add(text, "  {\"name\": ");
    print_string(text, chunk->name);
    text_add(text, ", \"language\": ");
    print_string(text, chunk->language);
    text_add(text, ", \"file\": %s,\n  \"definitions\": [", name_is_file(chunk->name) ? "true" : "false");
    for (int p = 0; p < chunk->piece_count; p++) {
        const struct piece *piece = &chunk->pieces[p];
        text_add(text, "%s\n   {\"piece\": %d, \"file\": ", p ? "," : "", p + 1);
        print_string(text, piece->chapter->path);
        text_add(text, ", \"line\": %d, \"end\": %d}", piece->header, piece->end);
    }
    text_add(text, "],\n  \"uses\": [");
    for (int i = 0; i < chunk->use_count; i++)
        print_place(text, &chunk->uses[i], i == 0);
    text_add(text, "]}");
}
/* print_identifier: the sightings from first on that have its key; returns the first of another. */
static int print_identifier(struct text *text, const struct sightings *found, int first,
                            const struct output *outputs)
{
    const struct sighting *one = &found->list[first];
    text_add(text, "  {\"name\": ");
    text_quote(text, one->name, one->length);
    text_add(text, ", \"kind\": \"%s\"", one->kind);
    if (one->scope)
        text_add(text, ", \"file\": \"%s\"", outputs[one->scope - 1].file->name);
    text_add(text, ",\n  \"definitions\": [");
    int i = first;
    for (; i < found->count && !key_compare(one, &found->list[i]) && found->list[i].kind; i++)
        print_place(text, &found->list[i].place, i == first);
    text_add(text, "],\n  \"uses\": [");
    int used = i;
    for (; i < found->count && !key_compare(one, &found->list[i]); i++)
        print_place(text, &found->list[i].place, i == used);
    text_add(text, "]}");
    return i;
}

static struct text print_references(const struct book *book, struct output *outputs, int count)
{
    struct text text = { 0 };
    struct sightings found = sightings_find(outputs, count);
    text_add(&text, "{\n \"chunks\": [");
    for (int i = 0; i < book->chunk_count; i++) {
        text_add(&text, "%s\n", i ? "," : "");
        print_chunk(&text, &book->chunks[i]);
    }
    text_add(&text, "],\n \"identifiers\": [");
    for (int i = 0; i < found.count;) {
        text_add(&text, "%s\n", i ? "," : "");
        i = print_identifier(&text, &found, i, outputs);
    }
    text_add(&text, "]\n}\n");
    free(found.list);
    return text;
}

/* Write a file if it changed */
static void make_folders(const char *path)
{
    char *folder = join(path, "", "", "");
    for (char *slash = folder; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        if (mkdir(folder, 0777) && errno != EEXIST)
            give_up(folder, strerror(errno));
        *slash = '/';
    }
    free(folder);
}

static void file_write(const char *path, const struct text *text)
{
    struct text old = { 0 };
    bool same = file_read(path, &old) && old.size == text->size &&
                !memcmp(old.bytes, text->bytes, text->size);
    free(old.bytes);
    if (same)
        return;
    make_folders(path);
    char *partial = join(path, ".partial", "", "");
    FILE *file = fopen(partial, "wb");
    if (!file)
        give_up(partial, strerror(errno));
    bool whole = fwrite(text->bytes, 1, text->size, file) == text->size;
    if (fclose(file) || !whole || rename(partial, path)) {
        int error = errno;
        remove(partial);
        give_up(path, strerror(error));
    }
    free(partial);
}
/* Compare a file with its chunks */
/* file_differs: whether the file is not as the committed form says; reports it. */
static bool file_differs(const char *path, const struct text *text, const struct output *output)
{
    struct text there = { 0 };
    bool read = file_read(path, &there);
    size_t same = 0;
    int line = 1;
    while (read && same < text->size && same < there.size && there.bytes[same] == text->bytes[same])
        line += text->bytes[same++] == '\n';
    bool differs = !read || text->size != there.size || same < text->size;
    struct place place = { output->file, 0, output->file->pieces[0].header };
    if (line > 1 && line - 2 < output->count)
        place = output->rows[line - 2].place;
    if (!read)
        fprintf(stderr, "%s: error: is missing; %s:%d makes it\n", path, place_chapter(&place)->path,
                place.line);
    else if (differs)
        fprintf(stderr, "%s:%d: error: differs from %s:%d\n", path, line, place_chapter(&place)->path,
                place.line);
    free(there.bytes);
    return differs;
}
/* Sweep out files that no chunk makes */
/* is_left_over: whether path was tangled from a chapter of this book, or from one that is gone. */
static bool is_left_over(const struct book *book, const char *path)
{
    struct text text = { 0 };
    bool ours = file_read(path, &text);
    char *chapter = NULL, *end = NULL;
    if (ours) {
        text.bytes[strcspn(text.bytes, "\n")] = 0;
        chapter = strstr(text.bytes, "Tangled from ");
        end = strstr(text.bytes, "; edit there.");
    }
    ours = chapter && end && end > chapter;
    if (ours) {
        *end = 0;
        chapter += strlen("Tangled from ");
        ours = access(chapter, F_OK) != 0;
        for (int i = 0; i < book->chapter_count; i++)
            ours |= !strcmp(book->chapters[i].path, chapter);
    }
    free(text.bytes);
    return ours;
}
struct tree {
    const char *folder;
    bool compiled;
};

static char *tree_path(const struct tree *tree, const char *name)
{
    if (tree->compiled)
        return join(tree->folder, name + strlen("code"), "", "");
    return strcmp(tree->folder, ".") ? join(tree->folder, "/", name, "") : join(name, "", "", "");
}

/* sweep: looks at all files below name, "code" or "figures"; removes what was left over there or, in
   a check, reports what no chunk makes. Returns how many were reported. */
static int sweep(const struct book *book, const struct tree *tree, const char *name, bool check)
{
    int reported = 0, count;
    struct dirent **entries;
    char *folder = tree_path(tree, name);
    count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char *child = join(name, "/", entries[i]->d_name, "");
        char *path = tree_path(tree, child);
        struct stat status;
        if (entries[i]->d_name[0] == '.' || stat(path, &status))
            ;
        else if (S_ISDIR(status.st_mode))
            reported += sweep(book, tree, child, check);
        else if (!chunk_find(book, child))
            /* Report or remove the file at path */
            {
                if (check) {
                    fprintf(stderr, "%s: error: no chunk makes this file\n", path);
                    reported++;
                } else if (is_left_over(book, path)) {
                    fprintf(stderr, "tangle: removed %s, which no chunk makes any more\n", path);
                    remove(path);
                }
            }
        free(path);
        free(child);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    free(folder);
    return reported;
}

/* Read the command line */
static const char usage[] =
    "usage: tangle [--check] [--strict] [-o FOLDER] [--lines FOLDER] [--xref FILE] CHAPTER.md ...\n";

static const char help[] =
    "Takes the source out of the chapters, which are read in the order of their names.\n"
    "\n"
    "  -o FOLDER       write code/ and figures/ below FOLDER; by default here\n"
    "  --lines FOLDER  also write the C and CUDA files of code/ into FOLDER, with #line directives\n"
    "  --xref FILE     also write where chunks and identifiers are defined and used, as JSON\n"
    "  --check         write nothing; fail if code/ or figures/ are not what the chapters say\n"
    "  --strict        fail if a chunk is never used\n"
    "  --help          print this\n"
    "\n"
    "A file that would not change is not touched; one that no chunk makes any more is removed.\n"
    "Exit status: 0 all well, 1 something is wrong, 2 wrong usage.\n";

struct options {
    bool check, strict;
    const char *folder, *lines, *references;
    char **chapters;
    int chapter_count;
};

static void usage_fail(const char *problem, const char *argument)
{
    fprintf(stderr, "tangle: %s%s\n%s", problem, argument, usage);
    exit(2);
}
static struct options options_read(int argc, char **argv)
{
    struct options options = { .folder = ".", .chapters = argv };
    for (int i = 1; i < argc; i++) {
        const char **value = !strcmp(argv[i], "-o")        ? &options.folder
                             : !strcmp(argv[i], "--lines") ? &options.lines
                             : !strcmp(argv[i], "--xref")  ? &options.references
                                                           : NULL;
        if (value && i + 1 == argc)
            usage_fail("a name must follow ", argv[i]);
        else if (value)
            *value = argv[++i];
        else if (!strcmp(argv[i], "--check"))
            options.check = true;
        else if (!strcmp(argv[i], "--strict"))
            options.strict = true;
        else if (!strcmp(argv[i], "--help"))
            exit(printf("%s%s", usage, help) < 0);
        else if (argv[i][0] == '-')
            usage_fail("unknown option ", argv[i]);
        else
            options.chapters[options.chapter_count++] = argv[i];
    }
    if (!options.chapter_count)
        usage_fail("no chapters were given", "");
    if (options.check && (options.lines || options.references))
        usage_fail("--check writes nothing, so it goes with neither --lines nor --xref", "");
    return options;
}
/* Tangle */
static int path_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* book_add: bytes, which end in a NUL and now belong to the book, as its next chapter. */
static void book_add(struct book *book, const char *path, char *bytes, size_t size)
{
    struct chapter *chapter = &book->chapters[book->chapter_count++];
    *chapter = (struct chapter){ .path = path, .bytes = bytes };
    chapter_split(book, chapter, size);
    chapter_find_chunks(book, chapter);
}

static struct book book_read(char **paths, int count)
{
    struct book book = { .chapters = calloc((size_t)count, sizeof *book.chapters) };
    if (!book.chapters)
        give_up("memory", "ran out");
    qsort(paths, (size_t)count, sizeof *paths, path_compare);
    for (int i = 0; i < count; i++) {
        struct text text = { 0 };
        if (!file_read(paths[i], &text))
            give_up(paths[i], strerror(errno));
        book_add(&book, paths[i], text.bytes, text.size);
    }
    return book;
}

static void book_free(struct book *book)
{
    for (int i = 0; i < book->chapter_count; i++) {
        free(book->chapters[i].bytes);
        free(book->chapters[i].lines);
    }
    for (int i = 0; i < book->chunk_count; i++) {
        free(book->chunks[i].pieces);
        free(book->chunks[i].uses);
    }
    free(book->chapters);
    free(book->chunks);
}
/* book_expand: the files of a book without faults, *count of them; the caller frees them. */
static struct output *book_expand(struct book *book, int *count)
{
    struct output *outputs = NULL;
    *count = 0;
    for (int i = 0; i < book->chunk_count; i++) {
        const struct chunk *chunk = &book->chunks[i];
        const struct piece *piece = &chunk->pieces[0];
        if (!name_is_file(chunk->name))
            continue;
        struct output output = { .file = chunk };
        expand(&output, chunk, "");
        if (output.steps > MOST_LINES)
            fault(book, piece->chapter->path, piece->header, "%s expands to more than %d lines",
                  chunk->name, MOST_LINES);
        if (is_c(chunk->language))
            output_cut(book, &output);
        outputs = grow(outputs, *count, sizeof *outputs);
        outputs[(*count)++] = output;
    }
    return outputs;
}

static void outputs_free(struct output *outputs, int count)
{
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < outputs[i].count; j++)
            free(outputs[i].rows[j].text);
        free(outputs[i].rows);
        free(outputs[i].code.list);
        free(outputs[i].directives.list);
    }
    free(outputs);
}
/* outputs_deliver: writes or checks the files; returns how many are not as they should be. */
static int outputs_deliver(const struct book *book, const struct output *outputs, int count,
                           const struct options *options)
{
    struct tree committed = { options->folder, false }, compiled = { options->lines, true };
    int wrong = 0;
    for (int i = 0; i < count; i++) {
        const struct output *output = &outputs[i];
        struct text text = print_committed(output);
        char *path = tree_path(&committed, output->file->name);
        if (options->check)
            wrong += file_differs(path, &text, output);
        else
            file_write(path, &text);
        free(path);
        free(text.bytes);
        if (options->lines && is_c(output->file->language) && !strncmp(output->file->name, "code/", 5)) {
            /* Write the compiled form of output */
            text = print_compiled(output);
            path = tree_path(&compiled, output->file->name);
            file_write(path, &text);
            free(path);
            free(text.bytes);
        }
    }
    wrong += sweep(book, &committed, "code", options->check);
    wrong += sweep(book, &committed, "figures", options->check);
    if (options->lines)
        sweep(book, &compiled, "code", false);
    return wrong;
}
int main(int argc, char **argv)
{
    struct options options = options_read(argc, argv);
    struct book book = book_read(options.chapters, options.chapter_count);
    book_check(&book, options.strict);
    struct output *outputs = NULL;
    int count = 0, wrong = 0;
    if (!book.errors)
        outputs = book_expand(&book, &count);
    if (!book.errors)
        wrong = outputs_deliver(&book, outputs, count, &options);
    if (!book.errors && options.references) {
        struct text text = print_references(&book, outputs, count);
        file_write(options.references, &text);
        free(text.bytes);
    }
    wrong += book.errors;
    outputs_free(outputs, count);
    book_free(&book);
    return wrong > 0;
}
