/* Tangled from chapters/63-tangler.md; edit there. */
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

/* Describe chunks and their lines */
struct piece {
    const char *path; /* of the chapter */
    int header, end;  /* lines of its name and of its closing fence, counted from 1 */
};

struct line {
    const struct chunk *owner;
    int piece, number;   /* pieces count from 0, numbers from 1 */
    char *text;          /* of a mention, only the indentation */
    const char *mention; /* the name that is mentioned here; NULL: none */
    struct chunk *used;  /* the chunk of that name */
};

struct chunk {
    const char *name, *language;
    bool defined; /* not only continued */
    struct piece *pieces;
    int piece_count;
    struct line *lines;
    int line_count;
    const struct line **uses; /* the lines that mention it */
    int use_count;
    enum { UNSEEN, OPEN, DONE } state; /* of the search for cycles, */
    const struct chunk *user;          /* which came here from this chunk */
};

struct book {
    struct chunk **chunks; /* in reading order */
    int chunk_count;
    char **paths; /* of the chapters */
    int path_count;
    int errors;
};

static const char *line_path(const struct line *line)
{
    return line->owner->pieces[line->piece].path;
}

/* Give up on the machine */
static void give_up(const char *subject, const char *reason)
{
    fprintf(stderr, "tangle: %s: %s\n", subject, reason);
    exit(1);
}
/* Report a fault of the book */
__attribute__((format(printf, 4, 5)))
static void fault(struct book *book, const char *path, int number,
                  const char *format, ...)
{
    fprintf(stderr, "%s:%d: error: ", path, number);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    book->errors++;
}
/* Make room */
/* grow: the array with room for one element after its count elements. */
static void *grow(void *array, int count, size_t size)
{
    if (count & (count - 1))
        return array;
    array = realloc(array, (count ? 2 * (size_t)count : 1) * size);
    if (!array)
        give_up("memory", "ran out");
    return array;
}

static char *join(const char *a, const char *b, const char *c, const char *d)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *text = grow(NULL, 0, size);
    snprintf(text, size, "%s%s%s%s", a, b, c, d);
    return text;
}

/* Understand the lines of a chapter */
/* line_read: the next line of the chapter; NULL at its end. */
static char *line_read(struct book *book, const char *path, int number, FILE *file)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t length = getline(&text, &room, file);
    if (length < 0)
        return NULL;
    if (strlen(text) < (size_t)length)
        fault(book, path, number, "a NUL byte; a chapter is plain text");
    while (length && strchr("\r\n", text[length - 1]))
        text[--length] = 0;
    return text;
}
static bool is_blank(const char *text)
{
    return !text[strspn(text, " \t")];
}

struct fence {
    const char *mark;     /* "`" or "~" */
    size_t marks, indent; /* so many, behind so many spaces */
    char *language;
};

/* fence_open: whether the line opens a fence. */
static bool fence_open(char *text, struct fence *fence)
{
    fence->indent = strspn(text, " ");
    char *start = text + fence->indent;
    fence->mark = *start == '~' ? "~" : "`";
    fence->marks = strspn(start, fence->mark);
    start += fence->marks;
    bool spans = *fence->mark == '`' && strchr(start, '`'); /* code in a line */
    if (fence->indent > 3 || fence->marks < 3 || spans)
        return false;
    fence->language = start + strspn(start, " \t");
    size_t length = strlen(fence->language);
    while (length && is_blank(fence->language + length - 1))
        fence->language[--length] = 0;
    return true;
}
static bool fence_closes(const char *text, const struct fence *fence)
{
    size_t spaces = strspn(text, " ");
    size_t marks = strspn(text + spaces, fence->mark);
    bool near = spaces < 4 || fence->indent;
    return near && marks >= fence->marks && is_blank(text + spaces + marks);
}
/* span_end: behind the code that begins at these backticks, or behind them alone. */
static const char *span_end(const char *text)
{
    size_t ticks = strspn(text, "`"), closing = 0;
    const char *end = text + ticks;
    for (; (end = strchr(end, '`')); end += closing)
        if ((closing = strspn(end, "`")) == ticks)
            return end + ticks;
    return text + ticks;
}

/* comment_open: whether a comment is open behind a line, given that before it. */
static bool comment_open(const char *text, bool open)
{
    while (*text) {
        const char *mark = open ? "-->" : "<!--";
        if (!open && *text == '`') {
            text = span_end(text);
        } else if (!strncmp(text, mark, strlen(mark))) {
            text += strlen(mark);
            open = !open;
        } else {
            text++;
        }
    }
    return open;
}
/* header_parse: '=' or '+', and the name, of <<name>>= or <<name>>+=; else 0. */
static char header_parse(char *text, const char **name)
{
    char *end = strstr(text, ">>");
    if (strncmp(text, "<<", 2) || text[2] == '<' || !end)
        return 0;
    char sign = end[2];
    if (end[2 + (sign == '+')] != '=' || !is_blank(end + 3 + (sign == '+')))
        return 0;
    *end = 0;
    *name = text + 2;
    return sign;
}

/* mention_parse: the name in a mention, and text keeps the indentation; else NULL. */
static const char *mention_parse(char *text)
{
    char *start = text + strspn(text, " \t");
    char *end = strstr(start, ">>");
    if (strncmp(start, "<<", 2) || start[2] == '<' || !end || end < start + 3)
        return NULL;
    if (!is_blank(end + 2))
        return NULL;
    *start = *end = 0;
    return start + 2;
}
enum { LONGEST_NAME = 120 };

/* name_file: the name of a file without its folder; NULL if the chunk is not a file. */
static const char *name_file(const char *name)
{
    if (!strncmp(name, "code/", 5))
        return name + 5;
    return strncmp(name, "figures/", 8) ? NULL : name + 8;
}

/* name_fault: what is wrong with the name of a chunk; NULL: nothing. */
static const char *name_fault(const char *name)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const char *file = name_file(name);
    size_t length = strlen(name);
    if (!length || length > LONGEST_NAME || name[0] == ' ' || name[length - 1] == ' ')
        return "is empty, longer than 120 bytes, or has a space at an end";
    if (strstr(name, "/*") || strstr(name, "*/") || strchr(name, '\\'))
        return "holds one of /* */ \\, which would upset a comment";
    if (file && (!*file || *file == '.' || file[strspn(file, plain)]))
        return "is not that of a plain file in code/ or figures/";
    return NULL;
}
/* Collect the chunks of a chapter */
struct walk {
    struct book *book;
    const char *path;
    int number; /* of the line at hand */
    int opened; /* the line that opened the fence we are in; 0: in prose */
    struct fence fence;
    struct chunk *chunk; /* that the fence is a piece of; NULL: an example */
    int comment;         /* the line that opened an HTML comment; 0: none is open */
    bool fresh;          /* the line before was empty, or closed a fence */
};

/* Begin a piece of a chunk */
static struct chunk *chunk_find(const struct book *book, const char *name)
{
    for (int i = 0; i < book->chunk_count; i++)
        if (!strcmp(book->chunks[i]->name, name))
            return book->chunks[i];
    return NULL;
}

/* Check the header of a piece */
/* header_check: reports what is wrong with a header, given its chunk so far or NULL. */
static void header_check(struct book *book, const char *path, int number, char sign,
                         const char *name, const char *language,
                         const struct chunk *chunk)
{
    if (name_fault(name))
        fault(book, path, number, "the name \"%s\" %s", name, name_fault(name));
    if (language[strspn(language, "abcdefghijklmnopqrstuvwxyz")])
        fault(book, path, number - 1, "a chunk's fence takes one word, its language");
    if (!chunk && sign == '+')
        fault(book, path, number, "chunk \"%s\" is continued before it is defined",
              name);
    if (!chunk)
        return;
    const struct piece *first = &chunk->pieces[0];
    if (sign == '=' && chunk->defined)
        fault(book, path, number, "chunk \"%s\" is defined twice, first at %s:%d",
              name, first->path, first->header);
    if (strcmp(language, chunk->language))
        fault(book, path, number, "chunk \"%s\" is %s here, but %s at %s:%d", name,
              language, chunk->language, first->path, first->header);
}
/* Check that an example is none */
static void example_check(struct book *book, const char *path, int number,
                          const char *text, const char *language)
{
    text += strspn(text, " \t");
    bool meant = !strncmp(text, "<<", 2) && text[2] != '<';
    if (meant && (strstr(text, ">>=") || strstr(text, ">>+=")))
        fault(book, path, number, "expected <<name>>= or <<name>>+= and no more");
    if (*language != '{' && strpbrk(language, " \t"))
        fault(book, path, number - 1, "a fence takes one word, its language");
}

/* piece_begin: the chunk that the first line of a fence begins or continues; NULL: the
   fence is an example. */
static struct chunk *piece_begin(struct book *book, const char *path, int number,
                                 char *text, const char *language)
{
    const char *name;
    char sign = header_parse(text, &name);
    if (!sign) {
        example_check(book, path, number, text, language);
        return NULL;
    }
    struct chunk *chunk = chunk_find(book, name);
    header_check(book, path, number, sign, name, language, chunk);
    if (!chunk) {
        chunk = grow(NULL, 0, sizeof *chunk);
        *chunk = (struct chunk){ .name = name, .language = language };
        book->chunks = grow(book->chunks, book->chunk_count, sizeof *book->chunks);
        book->chunks[book->chunk_count++] = chunk;
    }
    chunk->defined |= sign == '=';
    chunk->pieces = grow(chunk->pieces, chunk->piece_count, sizeof *chunk->pieces);
    chunk->pieces[chunk->piece_count++] = (struct piece){ path, number, number };
    return chunk;
}
/* Add a line to a chunk */
static void line_add(struct book *book, struct chunk *chunk, int number, char *text)
{
    const char *name, *path = chunk->pieces[chunk->piece_count - 1].path;
    if (header_parse(text, &name))
        fault(book, path, number, "chunk \"%s\" needs a fence of its own", name);
    const char *mention = mention_parse(text);
    struct line line = { chunk, chunk->piece_count - 1, number, text, mention, NULL };
    chunk->lines = grow(chunk->lines, chunk->line_count, sizeof *chunk->lines);
    chunk->lines[chunk->line_count++] = line;
}
/* Walk over a line of prose */
static void refuse_header(const struct walk *walk, char *text)
{
    const char *name;
    while ((text = strstr(text, "<<")) && !header_parse(text, &name))
        text++;
    if (text && walk->comment)
        fault(walk->book, walk->path, walk->number,
              "chunk \"%s\" is inside the HTML comment that opens at line %d", name,
              walk->comment);
    else if (text)
        fault(walk->book, walk->path, walk->number,
              "chunk \"%s\" needs a fence, at most three spaces from the margin", name);
}

static void walk_prose(struct walk *walk, char *text)
{
    if (!walk->comment && fence_open(text, &walk->fence)) {
        walk->opened = walk->number;
        walk->chunk = NULL;
        bool plain = !walk->fence.indent && *walk->fence.mark == '`';
        if (!plain && !walk->fresh)
            fault(walk->book, walk->path, walk->number,
                  "a fence of tildes, or indented, needs an empty line above it");
        return;
    }
    if (!comment_open(text, walk->comment))
        walk->comment = 0;
    else if (!walk->comment)
        walk->comment = walk->number;
    walk->fresh = is_blank(text);
    refuse_header(walk, text);
}
/* Walk over a line inside a fence */
static void walk_fenced(struct walk *walk, char *text)
{
    struct book *book = walk->book;
    char *language = walk->fence.language;
    const char *name;
    size_t spaces = strspn(text, " "), indent = walk->fence.indent;
    if (spaces < indent && !is_blank(text))
        fault(book, walk->path, walk->number,
              "a line stands left of its fence, which opens at line %d", walk->opened);
    text += spaces < indent ? spaces : indent;
    if (walk->number == walk->opened + 1)
        walk->chunk = *language
            ? piece_begin(book, walk->path, walk->number, text, language) : NULL;
    else if (walk->chunk)
        line_add(book, walk->chunk, walk->number, text);
    else if (*language && header_parse(text, &name))
        fault(book, walk->path, walk->number,
              "chunk \"%s\" must be named on the first line of its fence", name);
}
/* Walk over the end of a fence */
static void walk_end(struct walk *walk, const char *text)
{
    size_t indent = walk->fence.indent;
    if (indent && strspn(text, " ") != indent)
        fault(walk->book, walk->path, walk->number,
              "the fence that opens at line %d must close at its indentation",
              walk->opened);
    if (walk->chunk)
        walk->chunk->pieces[walk->chunk->piece_count - 1].end = walk->number;
    walk->opened = 0;
    walk->fresh = true;
}

static void chapter_read(struct book *book, const char *path, FILE *file)
{
    struct walk walk = { .book = book, .path = path, .number = 1 };
    char *text;
    for (; (text = line_read(book, path, walk.number, file)); walk.number++) {
        if (!walk.opened)
            walk_prose(&walk, text);
        else if (fence_closes(text, &walk.fence))
            walk_end(&walk, text);
        else
            walk_fenced(&walk, text);
    }
    if (walk.opened)
        fault(book, path, walk.opened, "the fence that opens here is never closed");
}
/* Check the book */
static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* name_distance: how many letters must change to make wrong right; case is free. */
static int name_distance(const char *wrong, const char *right)
{
    int row[LONGEST_NAME + 1], length = smaller((int)strlen(right), LONGEST_NAME);
    for (int j = 0; j <= length; j++)
        row[j] = j;
    for (int i = 0; wrong[i]; i++) {
        int before = row[0];
        row[0] = i + 1;
        for (int j = 0; j < length; j++) {
            int old = tolower((unsigned char)wrong[i]);
            int replaced = before + (old != tolower((unsigned char)right[j]));
            before = row[j + 1];
            row[j + 1] = smaller(replaced, 1 + smaller(row[j], before));
        }
    }
    return row[length];
}
static void report_undefined(struct book *book, const struct line *line)
{
    const char *nearest = NULL;
    int least = smaller((int)strlen(line->mention), LONGEST_NAME) / 3 + 1;
    for (int i = 0; i < book->chunk_count; i++) {
        int distance = name_distance(line->mention, book->chunks[i]->name);
        if (distance < least) {
            least = distance;
            nearest = book->chunks[i]->name;
        }
    }
    fault(book, line_path(line), line->number, "chunk \"%s\" is not defined%s",
          line->mention, nearest ? join("; did you mean \"", nearest, "\"?", "") : "");
}

static void chunk_resolve(struct book *book, struct chunk *chunk)
{
    for (int i = 0; i < chunk->line_count; i++) {
        struct line *line = &chunk->lines[i];
        if (!line->mention)
            continue;
        struct chunk *used = line->used = chunk_find(book, line->mention);
        if (used) {
            used->uses = grow(used->uses, used->use_count, sizeof *used->uses);
            used->uses[used->use_count++] = line;
        } else {
            report_undefined(book, line);
        }
    }
}
/* trail: "first" uses ... "last" uses, the way by which the search came to last. */
static char *trail(const struct chunk *first, const struct chunk *last)
{
    const char *before = last == first ? "" : trail(first, last->user);
    return join(before, "\"", last->name, "\" uses ");
}

static void chunk_find_cycles(struct book *book, struct chunk *chunk)
{
    chunk->state = OPEN;
    for (int i = 0; i < chunk->line_count; i++) {
        const struct line *line = &chunk->lines[i];
        if (line->used && line->used->state == OPEN) {
            fault(book, line_path(line), line->number, "a cycle: %s\"%s\"",
                  trail(line->used, chunk), line->mention);
        } else if (line->used && line->used->state == UNSEEN) {
            line->used->user = chunk;
            chunk_find_cycles(book, line->used);
        }
    }
    chunk->state = DONE;
}
static void book_check(struct book *book, bool strict)
{
    for (int i = 0; i < book->chunk_count; i++)
        chunk_resolve(book, book->chunks[i]);
    for (int i = 0; i < book->chunk_count; i++)
        if (book->chunks[i]->state == UNSEEN)
            chunk_find_cycles(book, book->chunks[i]);
    for (int i = 0; i < book->chunk_count; i++) {
        const struct chunk *chunk = book->chunks[i];
        const struct piece *piece = &chunk->pieces[0];
        if (chunk->use_count || name_file(chunk->name))
            continue;
        fprintf(stderr, "%s:%d: %s: chunk \"%s\" is never used\n", piece->path,
                piece->header, strict ? "error" : "warning", chunk->name);
        book->errors += strict;
    }
}

/* Expand a file */
struct row {
    char *text;
    const struct line *line; /* where it is from; of a note, the mention */
    bool note;
    bool joined; /* goes on with what the row before began: a macro, or a comment */
};

/* Describe tokens */
struct token {
    char kind;
    bool defines; /* turned out to be the name in a definition */
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

static void row_add(struct output *output, const struct line *line, bool note,
                    char *text)
{
    output->rows = grow(output->rows, output->count, sizeof *output->rows);
    output->rows[output->count++] = (struct row){ text, line, note, false };
}
static bool is_c(const char *language)
{
    return !strcmp(language, "c") || !strcmp(language, "cuda");
}

/* The words as a comment; NULL in a language that has none. */
static char *comment(const char *language, const char *indent, const char *words)
{
    if (!strcmp(language, "json"))
        return NULL;
    if (is_c(language))
        return join(indent, "/* ", words, " */");
    if (!strcmp(language, "lua"))
        return join(indent, "-- ", words, "");
    if (!strcmp(language, "tex"))
        return join(indent, "% ", words, "");
    return join(indent, "# ", words, "");
}
enum { MOST_LINES = 100000 };

static bool goes_on(const char *text)
{
    size_t length = strlen(text);
    while (length && is_blank(text + length - 1))
        length--;
    return length && text[length - 1] == '\\';
}

static void expand(struct output *output, const struct chunk *chunk, const char *indent)
{
    for (int i = 0; i < chunk->line_count && output->steps++ < MOST_LINES; i++) {
        const struct line *line = &chunk->lines[i];
        if (!line->used) {
            const char *before = *line->text ? indent : "";
            row_add(output, line, false, join(before, line->text, "", ""));
            continue;
        }
        const char *deeper = join(indent, line->text, "", "");
        char *note = comment(output->file->language, deeper, line->mention);
        if (note && (!output->count || !goes_on(output->rows[output->count - 1].text)))
            row_add(output, line, true, note);
        expand(output, line->used, deeper);
    }
}
/* Print the committed form */
/* banner: a comment; NULL in a language that has none. */
static char *banner(const struct output *output)
{
    const char *chapter = output->file->pieces[0].path;
    char *words = join("Tangled from ", chapter, "; edit there.", "");
    return comment(output->file->language, "", words);
}

static void print_banner(FILE *stream, const struct output *output)
{
    if (banner(output))
        fprintf(stream, "%s\n", banner(output));
}

static void print_committed(FILE *stream, const struct output *output)
{
    print_banner(stream, output);
    for (int i = 0; i < output->count; i++)
        fprintf(stream, "%s\n", output->rows[i].text);
}
/* Print the compiled form */
/* Tell where the compiler may have lost count */
static bool loses_count(const char *text)
{
    static const char *const words[] = { "elif", "else", "endif", "line" };
    text += strspn(text, " \t");
    if (*text++ != '#')
        return false;
    text += strspn(text, " \t");
    for (int i = 0; i < 4; i++)
        if (!strncmp(text, words[i], strlen(words[i])))
            return true;
    return isdigit((unsigned char)*text);
}

/* print_string: the bytes as a string of C or of JSON. */
static void print_string(FILE *stream, const char *bytes, size_t size)
{
    fputc('"', stream);
    for (const char *c = bytes; c < bytes + size; c++) {
        if ((unsigned char)*c < ' ')
            fprintf(stream, "\\u%04x", *c);
        else
            fprintf(stream, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    }
    fputc('"', stream);
}

static void print_compiled(FILE *stream, const struct output *output)
{
    const char *path = ""; /* where the compiler believes the next row to be from */
    int number = 0;
    print_banner(stream, output);
    for (int i = 0; i < output->count; i++) {
        const struct row *row = &output->rows[i];
        const char *from = line_path(row->line);
        if (row->note)
            continue;
        if (!row->joined && (strcmp(from, path) || row->line->number != number)) {
            path = from;
            number = row->line->number;
            fprintf(stream, "#line %d ", number);
            print_string(stream, path, strlen(path));
            fputc('\n', stream);
        }
        fprintf(stream, "%s\n", row->text);
        number++;
        if (!row->joined && loses_count(row->text))
            path = "";
    }
}

/* Cut a file into tokens */
/* token_add: appends the token that text begins with, and returns its end. */
static const char *token_add(struct tokens *tokens, const char *text, int row)
{
    struct token token = { *text, false, text, 0, row };
    while (isalnum((unsigned char)text[token.length]) || text[token.length] == '_')
        token.length++;
    if (token.length)
        token.kind = isdigit((unsigned char)*text) ? '0' : 'a';
    if (!strncmp(text, "->", 2))
        token = (struct token){ '.', false, text, 2, row };
    token.length += !token.length;
    tokens->list = grow(tokens->list, tokens->count, sizeof *tokens->list);
    tokens->list[tokens->count++] = token;
    return text + token.length;
}
static char row_cut(struct tokens *tokens, const char *text, int row, char inside)
{
    while (*text) {
        if (inside == '*') {
            bool ends = !strncmp(text, "*/", 2);
            text += 1 + ends;
            inside = ends ? 0 : inside;
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
    for (int i = 0; i < output->count; i++) {
        struct row *row = &output->rows[i];
        row->joined = inside == '*' || (i && goes_on(row[-1].text));
        if (row->note && row->joined)
            fault(book, line_path(row->line), row->line->number,
                  "chunk \"%s\" is mentioned inside a comment", row->line->mention);
        if (row->note)
            continue;
        const char *start = row->text + strspn(row->text, " \t");
        if (!row->joined)
            tokens = *start == '#' ? &output->directives : &output->code;
        if (row->joined || strncmp(start, "#include", 8))
            inside = row_cut(tokens, row->text, i, inside);
        if (inside != '*' && !goes_on(row->text))
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
    const struct line *line;
};

struct search {
    struct sighting *found;
    int count;
    int defined;           /* the first so many are all definitions, sorted */
    struct output *output; /* the file at hand, */
    int file;              /* and 1 + its number */
};

static void sighting_add(struct search *search, struct sighting sighting)
{
    search->found = grow(search->found, search->count, sizeof sighting);
    search->found[search->count++] = sighting;
}

/* define: token is the name in a definition of that kind; hidden: by static. */
static void define(struct search *search, struct token *token, const char *kind,
                   bool tag, bool hidden)
{
    const char *name = search->output->file->name;
    bool header = name[strlen(name) - 1] == 'h';
    bool linked = !strcmp(kind, "function") || !strcmp(kind, "variable");
    token->defines = true;
    sighting_add(search, (struct sighting){
        token->text, token->length, tag,
        .scope = header || (linked && !hidden) ? 0 : search->file,
        .kind = kind,
        .line = search->output->rows[token->row].line,
    });
}
static bool word_is(const struct token *token, const char *word)
{
    return token->kind == 'a' && (size_t)token->length == strlen(word) &&
           !strncmp(token->text, word, (size_t)token->length);
}

/* tag_kind: the word, if token is one of those that a tag follows; else NULL. */
static const char *tag_kind(const struct token *token)
{
    return word_is(token, "struct")  ? "struct"
           : word_is(token, "union") ? "union"
           : word_is(token, "enum")  ? "enum"
                                     : NULL;
}

static int nesting(const struct token *token)
{
    return strchr("([{", token->kind) ? 1 : strchr(")]}", token->kind) ? -1 : 0;
}
static void find_constants(struct search *search, int brace)
{
    const struct tokens *code = &search->output->code;
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
    const struct tokens *code = &search->output->code;
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
    const struct tokens *directives = &search->output->directives;
    for (int i = 0; i + 3 < directives->count; i++) {
        struct token *token = &directives->list[i];
        bool defines = token->kind == '#' && word_is(&token[1], "define");
        if (defines && token[2].kind == 'a' && token[3].row == token[2].row)
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
        if (i > first && depth == 0 && token->kind == '{') {
            if (token[-1].kind == '"')
                return i;
            body |= token[-1].kind == ')';
        }
        depth += nesting(token);
        bool ends = token->kind == ';' || (body && token->kind == '}');
        if (depth < 0 || (depth == 0 && ends))
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
        if (!value)
            depth += (token->kind == '<') - (token->kind == '>');
        if (depth || value || token->kind != 'a')
            continue;
        hidden |= word_is(token, "static");
        elsewhere |= word_is(token, "extern");
        type |= word_is(token, "typedef");
        if (token[1].kind == '(' && *token->text != '_' && list[last].kind == '}') {
            define(search, token, "function", false, hidden);
            return;
        }
        bool tag = i > first && tag_kind(&token[-1]);
        if (i > first && !tag && !elsewhere && strchr("=[,;", token[1].kind))
            define(search, token, type ? "type" : "variable", false, hidden);
    }
}

static void find_declarations(struct search *search)
{
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

static bool is_defined(const struct search *search, const struct sighting *use)
{
    size_t defined = (size_t)search->defined;
    return defined && bsearch(use, search->found, defined, sizeof *use, key_compare);
}

static void find_uses(struct search *search, const struct tokens *tokens)
{
    for (int i = 0; i < tokens->count; i++) {
        const struct token *token = &tokens->list[i];
        if (token->kind != 'a' || token->defines || (i && token[-1].kind == '.'))
            continue;
        struct sighting use = {
            token->text, token->length,
            .tag = i && tag_kind(&token[-1]),
            .scope = search->file,
            .line = search->output->rows[token->row].line,
        };
        if (!is_defined(search, &use))
            use.scope = 0;
        if (is_defined(search, &use))
            sighting_add(search, use);
    }
}
static int sighting_compare(const void *a, const void *b)
{
    const struct sighting *x = a, *y = b;
    int order = key_compare(a, b);
    if (!order)
        order = !x->kind - !y->kind;
    if (!order)
        order = strcmp(line_path(x->line), line_path(y->line));
    return order ? order : x->line->number - y->line->number;
}

static void sightings_sort(struct search *search)
{
    int kept = 0;
    size_t count = (size_t)search->count;
    if (count)
        qsort(search->found, count, sizeof *search->found, sighting_compare);
    for (int i = 0; i < search->count; i++)
        if (!kept || sighting_compare(&search->found[kept - 1], &search->found[i]))
            search->found[kept++] = search->found[i];
    search->count = kept;
}

/* search_outputs: every definition and use of an identifier in the C files. */
static struct search search_outputs(struct output *outputs, int count)
{
    struct search search = { 0 };
    for (int i = 0; i < count; i++) {
        search.output = &outputs[i];
        search.file = i + 1;
        find_tags(&search);
        find_macros(&search);
        find_declarations(&search);
    }
    sightings_sort(&search);
    search.defined = search.count;
    for (int i = 0; i < count; i++) {
        search.output = &outputs[i];
        search.file = i + 1;
        find_uses(&search, &outputs[i].code);
        find_uses(&search, &outputs[i].directives);
    }
    sightings_sort(&search);
    return search;
}
/* Print the cross references */
static void print_key(FILE *stream, const char *key, const char *value)
{
    fprintf(stream, "\"%s\": ", key);
    print_string(stream, value, strlen(value));
    fputs(", ", stream);
}

static void print_place(FILE *stream, const struct line *line, bool first)
{
    fputs(first ? "\n    {" : ",\n    {", stream);
    print_key(stream, "chunk", line->owner->name);
    fprintf(stream, "\"piece\": %d, ", line->piece + 1);
    print_key(stream, "file", line_path(line));
    fprintf(stream, "\"line\": %d}", line->number);
}

static void print_chunk(FILE *stream, const struct chunk *chunk)
{
    fputs("  {", stream);
    print_key(stream, "name", chunk->name);
    print_key(stream, "language", chunk->language);
    fprintf(stream, "\"file\": %s, ", name_file(chunk->name) ? "true" : "false");
    fputs("\"definitions\": [", stream);
    for (int i = 0; i < chunk->piece_count; i++) {
        const struct piece *piece = &chunk->pieces[i];
        fprintf(stream, "%s\n    {\"piece\": %d, ", i ? "," : "", i + 1);
        print_key(stream, "file", piece->path);
        fprintf(stream, "\"line\": %d, \"end\": %d}", piece->header, piece->end);
    }
    fputs("],\n   \"uses\": [", stream);
    for (int i = 0; i < chunk->use_count; i++)
        print_place(stream, chunk->uses[i], i == 0);
    fputs("]}", stream);
}
/* print_identifier: prints what has the key of the first sighting; returns the next. */
static int print_identifier(FILE *stream, const struct search *search, int first,
                            const struct output *outputs)
{
    const struct sighting *found = search->found, *one = &found[first];
    int i = first, use, count = search->count;
    fputs("  {\"name\": ", stream);
    print_string(stream, one->name, (size_t)one->length);
    fputs(", ", stream);
    print_key(stream, "kind", one->kind);
    if (one->scope)
        print_key(stream, "file", outputs[one->scope - 1].file->name);
    fputs("\"definitions\": [", stream);
    for (; i < count && found[i].kind && !key_compare(one, &found[i]); i++)
        print_place(stream, found[i].line, i == first);
    fputs("],\n   \"uses\": [", stream);
    for (use = i; i < count && !key_compare(one, &found[i]); i++)
        print_place(stream, found[i].line, i == use);
    fputs("]}", stream);
    return i;
}

static void print_references(FILE *stream, const struct book *book,
                             struct output *outputs, int count)
{
    struct search search = search_outputs(outputs, count);
    fputs("{\n \"chunks\": [", stream);
    for (int i = 0; i < book->chunk_count; i++) {
        fputs(i ? ",\n" : "\n", stream);
        print_chunk(stream, book->chunks[i]);
    }
    fputs("],\n \"identifiers\": [", stream);
    for (int i = 0; i < search.count;) {
        fputs(i ? ",\n" : "\n", stream);
        i = print_identifier(stream, &search, i, outputs);
    }
    fputs("]\n}\n", stream);
}

/* Write a file if it changed */
struct text {
    char *bytes;
    size_t size;
};

/* text_open: a stream into the text, which is complete when the stream is closed. */
static FILE *text_open(struct text *text)
{
    FILE *stream = open_memstream(&text->bytes, &text->size);
    if (!stream)
        give_up("memory", "ran out");
    return stream;
}

static void text_close(FILE *stream)
{
    if (fclose(stream))
        give_up("memory", "ran out");
}

static const char *path_in(const char *folder, const char *name)
{
    return strcmp(folder, ".") ? join(folder, "/", name, "") : name;
}

/* first_difference: the first line, from 1, where the file is not the text; 0: there is
   none; -1: there is no such file. */
static int first_difference(const char *path, const struct text *text)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    const char *here = text->bytes, *end = here + text->size;
    int c, line = 1;
    while ((c = getc(file)) != EOF && here < end && c == (unsigned char)*here)
        line += *here++ == '\n';
    fclose(file);
    return c == EOF && here == end ? 0 : line;
}

static void make_folders(const char *path)
{
    char *folder = join(path, "", "", "");
    for (char *slash = folder; (slash = strchr(slash + 1, '/')); *slash = '/') {
        *slash = 0;
        if (mkdir(folder, 0777) && errno != EEXIST)
            give_up(folder, strerror(errno));
    }
}

static void file_write(const char *path, const struct text *text)
{
    if (!first_difference(path, text))
        return;
    make_folders(path);
    const char *partial = join(path, ".partial", "", "");
    FILE *file = fopen(partial, "wb");
    if (!file)
        give_up(partial, strerror(errno));
    bool whole = fwrite(text->bytes, 1, text->size, file) == text->size;
    if (fclose(file) || !whole || rename(partial, path)) {
        int error = errno;
        remove(partial);
        give_up(path, strerror(error));
    }
}
static void file_check(struct book *book, const char *path, const struct text *text,
                       const struct output *output)
{
    const struct piece *piece = &output->file->pieces[0];
    int line = first_difference(path, text), row = line - (banner(output) ? 2 : 1);
    bool in_row = row >= 0 && row < output->count;
    const struct line *right = in_row ? output->rows[row].line : NULL;
    if (line < 0)
        fault(book, piece->path, piece->header, "%s is missing", path);
    else if (right)
        fault(book, path, line, "differs from %s:%d", line_path(right), right->number);
    else if (line)
        fault(book, path, line, "differs from %s:%d", piece->path, piece->header);
}
/* Sweep out what no chunk makes */
/* is_left_over: whether a file was tangled from a chapter that was read, or is gone. */
static bool is_left_over(const struct book *book, const char *path)
{
    char line[1000] = "";
    FILE *file = fopen(path, "rb");
    if (!file || !fgets(line, sizeof line, file))
        line[0] = 0;
    if (file)
        fclose(file);
    char *chapter = strstr(line, "Tangled from "), *end = strstr(line, "; edit there.");
    if (!chapter || !end)
        return false;
    *end = 0;
    chapter += strlen("Tangled from ");
    for (int i = 0; i < book->path_count; i++)
        if (!strcmp(book->paths[i], chapter))
            return true;
    return access(chapter, F_OK) != 0;
}

/* sweep: rids a folder of what is not the file of a chunk named prefix.... */
static void sweep(struct book *book, const char *folder, const char *prefix, bool check)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        const char *path = join(folder, "/", name, "");
        if (name[0] == '.' || chunk_find(book, join(prefix, name, "", "")))
            continue;
        if (check) {
            fprintf(stderr, "%s: error: no chunk makes this file\n", path);
            book->errors++;
        } else if (is_left_over(book, path) && !remove(path)) {
            fprintf(stderr, "tangle: removed %s, since no chunk makes it\n", path);
        }
    }
}

/* Read the command line */
static const char help[] =
    "usage: tangle [--check] [--strict] [-o DIR] [--lines DIR] [--xref FILE] FILE...\n"
    "Takes the source out of chapters, in the order of their names.\n"
    "\n"
    "  -o DIR       write code/ and figures/ in DIR; by default here\n"
    "  --lines DIR  write C and CUDA files into DIR, too, with #line directives\n"
    "  --xref FILE  write where chunks and identifiers are defined and used, as JSON\n"
    "  --check      write nothing; fail if code/ or figures/ would change\n"
    "  --strict     fail if a chunk is never used\n"
    "  --help       print this\n"
    "\n"
    "A file that would not change is not touched; one that no chunk makes is removed.\n"
    "Exit status: 0 all is well; 1 something is not; 2 wrong usage.\n";

struct options {
    bool check, strict;
    const char *folder, *lines, *references;
};

static void misused(const char *problem, const char *argument)
{
    int line = (int)strcspn(help, "\n");
    fprintf(stderr, "tangle: %s%s\n%.*s\n", problem, argument, line, help);
    exit(2);
}
/* options_read: the options, and in the book the paths of the chapters. */
static struct options options_read(char **arguments, struct book *book)
{
    struct options options = { .folder = "." };
    book->paths = arguments;
    for (; *arguments; arguments++) {
        const char **value = !strcmp(*arguments, "-o")        ? &options.folder
                             : !strcmp(*arguments, "--lines") ? &options.lines
                             : !strcmp(*arguments, "--xref")  ? &options.references
                                                              : NULL;
        if (value && !(*value = *++arguments))
            misused("a name must follow ", arguments[-1]);
        else if (value)
            continue;
        else if (!strcmp(*arguments, "--check"))
            options.check = true;
        else if (!strcmp(*arguments, "--strict"))
            options.strict = true;
        else if (!strcmp(*arguments, "--help"))
            exit(fputs(help, stdout) < 0);
        else if (**arguments == '-')
            misused("unknown option ", *arguments);
        else
            book->paths[book->path_count++] = *arguments;
    }
    if (!book->path_count)
        misused("expected chapters", "");
    if (options.check && (options.lines || options.references))
        misused("--check writes nothing, neither --lines nor --xref", "");
    return options;
}
/* Tangle */
static int path_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void book_read(struct book *book)
{
    qsort(book->paths, (size_t)book->path_count, sizeof *book->paths, path_compare);
    for (int i = 0; i < book->path_count; i++) {
        FILE *file = fopen(book->paths[i], "rb");
        if (!file)
            give_up(book->paths[i], strerror(errno));
        chapter_read(book, book->paths[i], file);
        if (ferror(file))
            give_up(book->paths[i], strerror(errno));
        fclose(file);
    }
}

/* book_expand: the files of a book without faults, count of them. */
static struct output *book_expand(struct book *book, int *count)
{
    struct output *outputs = NULL;
    *count = 0;
    for (int i = 0; i < book->chunk_count; i++) {
        const struct chunk *chunk = book->chunks[i];
        if (!name_file(chunk->name))
            continue;
        struct output output = { .file = chunk };
        expand(&output, chunk, "");
        if (output.steps > MOST_LINES)
            fault(book, chunk->pieces[0].path, chunk->pieces[0].header,
                  "%s expands to more than %d lines", chunk->name, MOST_LINES);
        if (is_c(chunk->language))
            output_cut(book, &output);
        outputs = grow(outputs, *count, sizeof *outputs);
        outputs[(*count)++] = output;
    }
    return outputs;
}
static void output_deliver(struct book *book, const struct output *output,
                           const struct options *options)
{
    const char *name = output->file->name;
    const char *path = path_in(options->folder, name);
    struct text text;
    FILE *stream = text_open(&text);
    print_committed(stream, output);
    text_close(stream);
    if (options->check)
        file_check(book, path, &text, output);
    else
        file_write(path, &text);
    if (!options->lines || !is_c(output->file->language))
        return;
    stream = text_open(&text);
    print_compiled(stream, output);
    text_close(stream);
    file_write(path_in(options->lines, name_file(name)), &text);
}

static void outputs_deliver(struct book *book, struct output *outputs, int count,
                            const struct options *options)
{
    for (int i = 0; i < count; i++)
        output_deliver(book, &outputs[i], options);
    sweep(book, path_in(options->folder, "code"), "code/", options->check);
    sweep(book, path_in(options->folder, "figures"), "figures/", options->check);
    if (options->lines)
        sweep(book, options->lines, "code/", false);
    if (options->references) {
        struct text text;
        FILE *stream = text_open(&text);
        print_references(stream, book, outputs, count);
        text_close(stream);
        file_write(options->references, &text);
    }
}

int main(int argc, char **argv)
{
    struct book book = { 0 };
    struct options options = options_read(argv + (argc > 0), &book);
    struct output *outputs = NULL;
    int count = 0;
    book_read(&book);
    book_check(&book, options.strict);
    if (!book.errors)
        outputs = book_expand(&book, &count);
    if (!book.errors)
        outputs_deliver(&book, outputs, count, &options);
    return book.errors > 0;
}
