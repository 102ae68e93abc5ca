/* Tangled from chapters/65-tangler.md; edit there. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Describe chunks and their lines */
struct piece {
    const char *path; /* of the chapter */
    int header, end;  /* lines of its name and of its closing fence, counted from 1 */
};

struct line {
    const struct chunk *owner;
    int piece, number;     /* pieces count from 0, numbers from 1 */
    char *text;            /* of a mention, only the indentation */
    const char *mention;   /* the name that is mentioned here; NULL: none */
    struct chunk *used;    /* the chunk of that name */
    struct change *change; /* by edits of the files it is in; NULL: not asked yet */
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
    struct text *texts; /* the chapters themselves; NULL: they are in their files */
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
/* Keep a text in memory */
struct text {
    char *bytes; /* a NUL follows them */
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

/* text_read: what the stream holds, up to its end. */
static struct text text_read(FILE *stream)
{
    struct text text;
    FILE *copy = text_open(&text);
    for (int c; (c = getc(stream)) != EOF;)
        putc(c, copy);
    text_close(copy);
    return text;
}
/* file_read: whether there is such a file; if so, text is what it holds. */
static bool file_read(const char *path, struct text *text)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    *text = text_read(file);
    if (ferror(file))
        give_up(path, strerror(errno));
    fclose(file);
    return true;
}

/* first_difference: the first line, from 1, where two texts differ; 0: none. */
static int first_difference(const struct text *a, const struct text *b)
{
    size_t i = 0;
    int line = 1;
    for (; i < a->size && i < b->size && a->bytes[i] == b->bytes[i]; i++)
        line += a->bytes[i] == '\n';
    return i == a->size && i == b->size ? 0 : line;
}

static bool text_same(const struct text *a, const struct text *b)
{
    return !first_difference(a, b);
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
    /* Add the piece to its chunk */
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
    struct line line = {
        chunk, chunk->piece_count - 1, number, text, mention, NULL, NULL,
    };
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
    struct line *line; /* where it is from; of a note, the mention */
    const char *indent; /* that the mentions above it add up to */
    int under;          /* the row that is the note of its chunk; -1: none */
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

static void row_add(struct output *output, struct row row)
{
    output->rows = grow(output->rows, output->count, sizeof *output->rows);
    output->rows[output->count++] = row;
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
    if (is_c(language) || !strcmp(language, "css") || !strcmp(language, "js"))
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

static void expand(struct output *output, const struct chunk *chunk, const char *indent,
                   int under)
{
    for (int i = 0; i < chunk->line_count && output->steps++ < MOST_LINES; i++) {
        struct row row = { NULL, &chunk->lines[i], indent, under, false, false };
        const char *own = row.line->text; /* of a mention, its indentation */
        if (!row.line->used) {
            row.text = join(*own ? indent : "", own, "", "");
            row_add(output, row);
            continue;
        }
        const char *deeper = join(indent, own, "", "");
        row.text = comment(output->file->language, deeper, row.line->mention);
        row.note = row.text &&
                   !(output->count && goes_on(output->rows[output->count - 1].text));
        if (row.note)
            row_add(output, row);
        expand(output, row.line->used, deeper, row.note ? output->count - 1 : under);
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
            /* Tell the compiler where it is */
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
        /* Count the angles of templates */
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
/* Print the places */
static void print_places(FILE *stream, const struct output *outputs, int count)
{
    for (int i = 0; i < count; i++) {
        const struct output *output = &outputs[i];
        int top = banner(output) ? 2 : 1;
        for (int k = 0; k < output->count && !is_c(output->file->language); k++) {
            const struct line *line = output->rows[k].line;
            fprintf(stream, "%s\t%d\t%s\t%d\n", output->file->name, k + top,
                    line_path(line), line->number);
        }
    }
}

/* Write a file if it changed */
static const char *path_in(const char *folder, const char *name)
{
    return strcmp(folder, ".") ? join(folder, "/", name, "") : name;
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
    struct text here;
    if (file_read(path, &here) && text_same(&here, text))
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
/* place_behind: "chapter:line" that this line of the committed form is from. */
static const char *place_behind(const struct output *output, int line)
{
    int row = line - (banner(output) ? 2 : 1), number = output->file->pieces[0].header;
    const char *path = output->file->pieces[0].path;
    char digits[12];
    if (row >= 0 && row < output->count) {
        path = line_path(output->rows[row].line);
        number = output->rows[row].line->number;
    }
    snprintf(digits, sizeof digits, "%d", number);
    return join(path, ":", digits, "");
}

static void file_check(struct book *book, const char *path, const struct text *text,
                       const struct output *output)
{
    const struct piece *piece = &output->file->pieces[0];
    struct text here;
    bool there = file_read(path, &here);
    int line = there ? first_difference(&here, text) : 0;
    if (!there)
        fault(book, piece->path, piece->header, "%s is missing", path);
    else if (line)
        fault(book, path, line, "differs from %s", place_behind(output, line));
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
    "usage: tangle [OPTION]... FILE...\n"
    "Takes the source out of chapters, in the order of their names.\n"
    "\n"
    "  -o DIR         write code/ and figures/ in DIR; by default here\n"
    "  --last DIR     keep there what was written last, and refuse to write over what\n"
    "                 was edited since\n"
    "  --stitch       carry such edits back into the chapters first\n"
    "  --lines DIR    write C and CUDA files into DIR, too, with #line directives\n"
    "  --xref FILE    write as JSON where chunks and identifiers are and are used\n"
    "  --places FILE  write where each line of the other files is from, as a table\n"
    "  --check        write nothing; fail if code/ or figures/ would change\n"
    "  --strict       fail if a chunk is never used\n"
    "  --help         print this\n"
    "\n"
    "A file that would not change is not touched; one that no chunk makes is removed.\n"
    "Exit status: 0 all is well; 1 something is not; 2 wrong usage.\n";

struct options {
    bool check, strict, stitch;
    const char *folder, *last, *lines, *references, *places;
};

static void misused(const char *problem, const char *argument)
{
    int line = (int)strcspn(help, "\n");
    fprintf(stderr, "tangle: %s%s\n%.*s\n", problem, argument, line, help);
    exit(2);
}
/* option_value: where the name goes that follows this option; NULL: none does. */
static const char **option_value(struct options *options, const char *option)
{
    return !strcmp(option, "-o")         ? &options->folder
           : !strcmp(option, "--last")   ? &options->last
           : !strcmp(option, "--lines")  ? &options->lines
           : !strcmp(option, "--xref")   ? &options->references
           : !strcmp(option, "--places") ? &options->places
                                         : NULL;
}

static void options_agree(const struct options *options)
{
    bool writes = options->lines || options->references || options->places;
    if (options->check && (writes || options->last))
        misused("--check writes nothing: no --last, --lines, --xref or --places", "");
    if (options->stitch && !options->last)
        misused("--stitch needs --last", "");
}
/* options_read: the options, and in the book the paths of the chapters. */
static struct options options_read(char **arguments, struct book *book)
{
    struct options options = { .folder = "." };
    book->paths = arguments;
    for (; *arguments; arguments++) {
        /* Take one argument */
        const char **value = option_value(&options, *arguments);
        if (value && !(*value = *++arguments))
            misused("a name must follow ", arguments[-1]);
        else if (value)
            continue;
        else if (!strcmp(*arguments, "--check"))
            options.check = true;
        else if (!strcmp(*arguments, "--strict"))
            options.strict = true;
        else if (!strcmp(*arguments, "--stitch"))
            options.stitch = true;
        else if (!strcmp(*arguments, "--help"))
            exit(fputs(help, stdout) < 0);
        else if (**arguments == '-')
            misused("unknown option ", *arguments);
        else
            book->paths[book->path_count++] = *arguments;
    }
    if (!book->path_count)
        misused("expected chapters", "");
    options_agree(&options);
    return options;
}
/* Read and expand the book */
static int path_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void book_read(struct book *book)
{
    qsort(book->paths, (size_t)book->path_count, sizeof *book->paths, path_compare);
    for (int i = 0; i < book->path_count; i++) {
        struct text *text = book->texts ? &book->texts[i] : NULL;
        FILE *file = text ? fmemopen(text->bytes, text->size, "r")
                          : fopen(book->paths[i], "rb");
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
        expand(&output, chunk, "", -1);
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
/* book_open: reads, checks, expands; the files, count of them, or NULL and faults. */
static struct output *book_open(struct book *book, bool strict, int *count)
{
    book_read(book);
    book_check(book, strict);
    struct output *outputs = book->errors ? NULL : book_expand(book, count);
    return book->errors ? NULL : outputs;
}

/* output_text: the committed form of a file. */
static struct text output_text(const struct output *output)
{
    struct text text;
    FILE *stream = text_open(&text);
    print_committed(stream, output);
    text_close(stream);
    return text;
}
/* Notice what was edited */
/* command_read: what a command of the shell writes; returns its exit status. */
static int command_read(const char *command, struct text *written)
{
    FILE *stream = popen(command, "r");
    if (!stream)
        give_up(command, strerror(errno));
    *written = text_read(stream);
    int status = pclose(stream);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* committed_read: whether the last commit has such a file; if so, text is that. */
static bool committed_read(const struct options *options, const char *name,
                           struct text *text)
{
    const char *command = join("git cat-file blob HEAD:./", name, " 2>/dev/null", "");
    return !strcmp(options->folder, ".") && command_read(command, text) == 0;
}
/* edited_read: whether the file was edited; if so, text is what it holds. now: what the
   chapters give; NULL: they have no such file. */
static bool edited_read(const struct options *options, const char *name,
                        const struct text *now, struct text *text)
{
    struct text other;
    if (!file_read(path_in(options->folder, name), text))
        return false;
    if (now && text_same(text, now))
        return false;
    if (file_read(path_in(options->last, name), &other) && text_same(text, &other))
        return false;
    return !(committed_read(options, name, &other) && text_same(text, &other));
}
/* refuse_orphans: a fault for each file of a folder, "code" or "figures", that no chunk
   makes any more, and that was edited. */
static void refuse_orphans(struct book *book, const char *folder,
                           const struct options *options)
{
    struct dirent **entries;
    struct text edited;
    int count = scandir(path_in(options->folder, folder), &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = join(folder, "/", entries[i]->d_name, "");
        const char *path = path_in(options->folder, name);
        if (name_fault(name) || chunk_find(book, name) || !is_left_over(book, path))
            continue;
        if (edited_read(options, name, NULL, &edited))
            fault(book, path, 1, "was edited, and no chunk makes it any more; 'rm %s' "
                  "drops it", path);
    }
}
/* refuse_edits: a fault of the book for each file that was edited. */
static void refuse_edits(struct book *book, const struct output *outputs, int count,
                         const struct options *options)
{
    struct text edited;
    for (int i = 0; i < count; i++) {
        const char *name = outputs[i].file->name;
        const char *path = path_in(options->folder, name);
        /* Refuse the file if it was edited */
        struct text now = output_text(&outputs[i]);
        if (!edited_read(options, name, &now, &edited))
            continue;
        int line = first_difference(&edited, &now);
        fault(book, path, line, "was edited, and is from %s; 'make stitch' carries the "
              "edit back, 'rm %s' drops it", place_behind(&outputs[i], line), path);
    }
    refuse_orphans(book, "code", options);
    refuse_orphans(book, "figures", options);
}
/* Carry edits back */
/* The lines of the edited file that stand for a line of the tangled one. */
struct share {
    int first, count; /* they count from 0 */
    int own;          /* the one that is the line itself, maybe changed; -1: none is */
};

struct edit {
    struct book *book;
    const struct output *output;
    const char *path;
    struct text now, text; /* what the chapters give, and what they shall give */
    char **lines;          /* of that text */
    int count;
    int top; /* 1: the first line is a banner; else 0 */
    struct share *shares; /* one for each line of what the chapters give */
    bool clashes;         /* with another use of one of its chunks */
};

/* What becomes of a chapter's line. */
struct change {
    const char **texts; /* the lines that stand for it, as in the chapter */
    int count;
    const char *path; /* of a file that has it, */
    int number;       /* and where */
};

/* Lay texts side by side */
static char desk[] = "/tmp/tangle-XXXXXX";
static const char *const desk_names[] = { "now", "base", "edited", "wanted" };

static void desk_clear(void)
{
    for (int i = 0; i < 4; i++)
        remove(path_in(desk, desk_names[i]));
    rmdir(desk);
}

static void desk_open(void)
{
    if (!mkdtemp(desk))
        give_up(desk, strerror(errno));
    atexit(desk_clear);
}

/* desk_run: what a command says in that folder; returns its exit status. */
static int desk_run(const char *command, struct text *said)
{
    return command_read(join("cd ", desk, " && ", command), said);
}
/* Take in what the chapters have changed as well */
/* base_read: what a file was before it was edited. */
static struct text base_read(const struct options *options, const char *name,
                             const struct text *now)
{
    struct text last, committed;
    bool kept = file_read(path_in(options->last, name), &last);
    if (kept && text_same(&last, now))
        return *now;
    if (committed_read(options, name, &committed) &&
        (!kept || text_same(&committed, now)))
        return committed;
    return kept ? last : *now;
}
static void report_clash(struct edit *edit)
{
    struct text said;
    int line = 1;
    desk_run("diff3 -a edited base now", &said);
    const char *mark = strncmp(said.bytes, "====\n", 5)
                           ? strstr(said.bytes, "\n====\n") : said.bytes - 1;
    if (mark)
        sscanf(mark + 6, "1:%d", &line);
    fault(edit->book, edit->path, line, "was edited, and so was its chapter, near %s",
          place_behind(edit->output, line));
}

/* edit_read: what a file holds, and what the chapters shall give. */
static struct edit edit_read(struct book *book, const struct output *output,
                             const struct options *options)
{
    const char *name = output->file->name;
    struct edit edit = { .book = book, .output = output };
    edit.path = path_in(options->folder, name);
    edit.now = edit.text = output_text(output);
    edit.top = banner(output) != NULL;
    if (!edited_read(options, name, &edit.now, &edit.text))
        return edit;
    struct text base = base_read(options, name, &edit.now);
    if (text_same(&base, &edit.now))
        return edit;
    /* Put both edits into one */
    file_write(path_in(desk, "edited"), &edit.text);
    file_write(path_in(desk, "base"), &base);
    file_write(path_in(desk, "now"), &edit.now);
    int status = desk_run("diff3 -a -m edited base now", &edit.text);
    if (status > 1)
        give_up("diff3", "failed");
    if (status == 1) {
        report_clash(&edit);
        edit.text = edit.now;
    }
    return edit;
}
/* Read the hunks of diff */
/* Lines [old, old + old_count) became [new, new + new_count), from 0. */
struct hunk {
    int old, old_count, new, new_count;
};

static const char *range_parse(const char *text, int *first, int *last)
{
    char *end;
    *first = *last = (int)strtol(text, &end, 10);
    if (*end == ',')
        *last = (int)strtol(end + 1, &end, 10);
    return end;
}

/* hunk_parse: whether a line of diff's heads a hunk, as in 12,14c15 or 8a9,10. */
static bool hunk_parse(const char *text, struct hunk *hunk)
{
    int a, b, c, d;
    if (!isdigit((unsigned char)*text))
        return false;
    const char *kind = range_parse(text, &a, &b);
    range_parse(kind + 1, &c, &d);
    bool added = *kind == 'a', deleted = *kind == 'd';
    *hunk = (struct hunk){ a - !added, added ? 0 : b - a + 1,
                           c - !deleted, deleted ? 0 : d - c + 1 };
    return true;
}
/* Share out the lines of an edited file */
/* row_at: the row that is this line of the file, from 0; NULL: the banner, or none. */
static const struct row *row_at(const struct edit *edit, int line)
{
    int row = line - edit->top;
    return row >= 0 && row < edit->output->count ? &edit->output->rows[row] : NULL;
}

/* is_next: whether the lines of two rows follow each other in a piece. */
static bool is_next(const struct row *row, const struct row *next)
{
    return next->line == row->line + 1 && next->line->owner == row->line->owner &&
           next->line->piece == row->line->piece;
}

static bool in_one_piece(const struct edit *edit, const struct hunk *hunk)
{
    const struct row *before = NULL;
    for (int i = hunk->old; i < hunk->old + hunk->old_count; i++) {
        const struct row *row = row_at(edit, i);
        if (!row || row->note || (before && !is_next(before, row)))
            return false;
        before = row;
    }
    return true;
}
static void hunk_share(struct edit *edit, const struct hunk *hunk)
{
    int old = hunk->old_count, new = hunk->new_count;
    if (old && new && old != new && !in_one_piece(edit, hunk))
        fault(edit->book, edit->path, hunk->new + 1,
              "%d lines from %s on became %d, and are not all of one chunk", old,
              place_behind(edit->output, hunk->old + 1), new);
    for (int i = 0; i < old; i++)
        edit->shares[hunk->old + i] =
            old == new ? (struct share){ hunk->new + i, 1, hunk->new + i }
                       : (struct share){ hunk->new + (i ? new : 0), i ? 0 : new, -1 };
}

/* pair: lines that are no part of a hunk stand for themselves, up to the line old. */
static void pair(struct edit *edit, int *old, int *new, int until)
{
    for (; *old < until; (*old)++, (*new)++)
        edit->shares[*old] = (struct share){ *new, 1, *new };
}
/* hunks_read: what diff says of a file; nothing of one that was not edited. */
static struct text hunks_read(const struct edit *edit)
{
    struct text said = { "", 0 };
    if (text_same(&edit->now, &edit->text))
        return said;
    file_write(path_in(desk, "now"), &edit->now);
    file_write(path_in(desk, "wanted"), &edit->text);
    if (desk_run("diff -a -w now wanted", &said) > 1)
        give_up("diff", "failed");
    return said;
}

/* edit_share: gives each line of the edited file to a line of the tangled one; but
   those that were inserted have yet to be given. */
static void edit_share(struct edit *edit)
{
    int total = edit->top + edit->output->count, old = 0, new = 0;
    struct text said = hunks_read(edit);
    struct hunk hunk;
    edit->shares = grow(NULL, 0, ((size_t)total + 1) * sizeof *edit->shares);
    for (const char *line = said.bytes; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!hunk_parse(line, &hunk))
            continue;
        pair(edit, &old, &new, hunk.old);
        hunk_share(edit, &hunk);
        old += hunk.old_count;
        new += hunk.new_count;
    }
    pair(edit, &old, &new, total);
}
/* Find the indentation of a chunk */
/* indent_now: the indentation that the chunk of a row has in the edited file. */
static const char *indent_now(const struct edit *edit, const struct row *row)
{
    if (row->under < 0)
        return row->indent;
    const struct row *note = &edit->output->rows[row->under];
    int own = edit->shares[edit->top + row->under].own;
    if (own < 0) /* which is a fault, and reported as one */
        return row->indent;
    size_t before = strlen(note->indent) + strlen(note->line->text);
    char *space = join(edit->lines[own], "", "", "");
    space[strspn(space, " \t")] = 0;
    return join(space, row->indent + before, "", "");
}

/* stripped: the line without that indentation; NULL: it has none. */
static const char *stripped(const char *line, const char *indent)
{
    size_t length = *line ? strlen(indent) : 0;
    return strncmp(line, indent, length) ? NULL : line + length;
}

/* fit: whether lines [first, last) of the edited file may stand in the row's chunk. */
static bool fit(const struct edit *edit, const struct row *row, int first, int last)
{
    const char *indent = indent_now(edit, row);
    for (int i = first; i < last; i++)
        if (!stripped(edit->lines[i], indent))
            return false;
    return true;
}
/* Give inserted lines to a chunk */
enum side { NEITHER, ABOVE, BELOW };

/* gap_side: whether lines [first, last) of the edited file, in front of a line of the
   tangled one, go with the row above or with that below. */
static enum side gap_side(const struct edit *edit, int line, int first, int last)
{
    const struct row *above = row_at(edit, line - 1), *below = row_at(edit, line);
    if (below && (!above || above->note))
        return line < edit->top ? NEITHER : BELOW;
    if (!above || above->note)
        return NEITHER;
    if (!below)
        return above->line->owner == edit->output->file ? ABOVE : NEITHER;
    if (is_next(above, below))
        return ABOVE;
    /* Let the indentation decide */
    const struct line *mention = below->line - 1;
    bool follows = below->line > below->line->owner->lines &&
                   mention->used == above->line->owner;
    bool fits = fit(edit, above, first, last) || !fit(edit, below, first, last);
    return follows && !fits ? BELOW : NEITHER;
}
static void gap_share(struct edit *edit, int line, int first, int last)
{
    const struct row *above = row_at(edit, line - 1), *below = row_at(edit, line);
    switch (gap_side(edit, line, first, last)) {
    case ABOVE:
        edit->shares[line - 1].count += last - first;
        break;
    case BELOW:
        edit->shares[line].first = first;
        edit->shares[line].count += last - first;
        break;
    case NEITHER:
        fault(edit->book, edit->path, first + 1,
              "what was inserted may belong behind %s or before %s; put it there",
              above ? place_behind(edit->output, line) : "the first line",
              below ? place_behind(edit->output, line + 1) : "the end");
    }
}

static void gaps_share(struct edit *edit)
{
    int total = edit->top + edit->output->count;
    for (int i = 0, end = 0; i <= total; i++) {
        int start = i < total ? edit->shares[i].first : edit->count;
        if (end < start)
            gap_share(edit, i, end, start);
        if (i < total)
            end = edit->shares[i].first + edit->shares[i].count;
    }
}
/* Say what a row becomes */
static bool is_named(const char *text)
{
    const char *name;
    return header_parse(join(text, "", "", ""), &name) ||
           mention_parse(join(text, "", "", ""));
}

/* mention_of: the line of a chapter that mentions a chunk, behind that indentation. */
static const char *mention_of(const struct line *line, const char *indent)
{
    return join(indent, "<<", line->mention, ">>");
}

/* note_text: the mention that a note of the edited file stands for; NULL: it is not the
   note any more. */
static const char *note_text(const struct row *row, const char *text)
{
    size_t space = strspn(text, " \t");
    if (strcmp(row->text + strspn(row->text, " \t"), text + space))
        return NULL;
    char *indent = join(text, "", "", "");
    indent[space] = 0;
    return mention_of(row->line, indent);
}
static struct change row_change(struct edit *edit, int line)
{
    const struct row *row = row_at(edit, line);
    const struct share *share = &edit->shares[line];
    struct change change = { NULL, 0, edit->path, share->first + 1 };
    const char *indent = indent_now(edit, row);
    bool noted = !row->note;
    /* Take the lines of the share */
    for (int i = share->first; i < share->first + share->count; i++) {
        const char *text = stripped(edit->lines[i], indent);
        if (!text || is_named(text))
            fault(edit->book, edit->path, i + 1, "%s in chunk \"%s\", at %s",
                  text ? "would be a mention or a header" : "stands too far left",
                  row->line->owner->name, place_behind(edit->output, line + 1));
        if (text && row->note && i == share->own) {
            text = note_text(row, text);
            noted = text != NULL;
        }
        change.texts = grow(change.texts, change.count, sizeof *change.texts);
        change.texts[change.count++] = text;
    }
    if (!noted)
        fault(edit->book, edit->path, share->first + 1,
              "a comment that names a chunk was here; its mention is at %s",
              place_behind(edit->output, line + 1));
    return change;
}
/* Hold the uses of a chunk against each other */
static bool change_same(const struct change *a, const struct change *b)
{
    if (a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (strcmp(a->texts[i], b->texts[i]))
            return false;
    return true;
}

static void line_change(struct edit *edit, struct line *line, struct change change)
{
    const struct change *other = line->change;
    if (!other) {
        line->change = grow(NULL, 0, sizeof change);
        *line->change = change;
    } else if (!edit->clashes && !change_same(&change, other)) {
        edit->clashes = true;
        fault(edit->book, change.path, change.number,
              "chunk \"%s\" is also used at %s:%d, and is not the same there; "
              "edit both alike", line->owner->name, other->path, other->number);
    }
}
/* edit_lines: the lines of a text, which end in a newline each. */
static void edit_lines(struct edit *edit)
{
    const struct text *text = &edit->text;
    if (strlen(text->bytes) < text->size)
        fault(edit->book, edit->path, 1, "a NUL byte; expected text");
    if (text->size && text->bytes[text->size - 1] != '\n')
        fault(edit->book, edit->path, 1, "expected a newline at its end");
    char *line = join(text->bytes, "", "", ""), *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        edit->lines = grow(edit->lines, edit->count, sizeof *edit->lines);
        edit->lines[edit->count++] = line;
    }
}

/* edit_carry: notes at the lines of the chapters what becomes of them. */
static void edit_carry(struct edit *edit)
{
    const struct output *output = edit->output;
    int before = edit->book->errors;
    edit_lines(edit);
    edit_share(edit);
    gaps_share(edit);
    bool headed = !edit->top || (edit->shares[0].count == 1 &&
                                 !strcmp(edit->lines[0], banner(output)));
    if (!headed)
        fault(edit->book, edit->path, 1, "the first line is the tangler's: expected %s",
              banner(output));
    if (edit->book->errors > before)
        return;
    for (int i = 0; i < output->count; i++)
        line_change(edit, output->rows[i].line, row_change(edit, i + edit->top));
}
/* Write a chapter anew */
static bool is_changed(const struct line *line)
{
    const struct change *change = line ? line->change : NULL;
    if (!change)
        return false;
    const char *before = line->mention ? mention_of(line, line->text) : line->text;
    return change->count != 1 || strcmp(change->texts[0], before);
}

/* lines_of: the lines of chunks in a chapter, by their numbers up to count. */
static struct line **lines_of(struct book *book, const char *path, int count)
{
    size_t size = ((size_t)count + 1) * sizeof(struct line *);
    struct line **lines = memset(grow(NULL, 0, size), 0, size);
    for (int i = 0; i < book->chunk_count; i++) {
        struct chunk *chunk = book->chunks[i];
        for (int k = 0; k < chunk->line_count; k++)
            if (!strcmp(line_path(&chunk->lines[k]), path))
                lines[chunk->lines[k].number] = &chunk->lines[k];
    }
    return lines;
}
/* chapter_print: writes the chapter, with its changes, and where they are to report. */
static void chapter_print(struct book *book, const char *path, const struct text *text,
                          FILE *stream, FILE *report)
{
    int count = 0, number = 1, fence = 0;
    for (size_t i = 0; i < text->size; i++)
        count += text->bytes[i] == '\n';
    struct line **lines = lines_of(book, path, count + 1);
    const char *here = text->bytes, *end;
    for (int i = 1; (end = strchr(here, '\n')); here = end + 1, i++) {
        int length = (int)(end - here) - (end > here && end[-1] == '\r');
        const struct line *line = lines[i];
        if (!line)
            fence = (int)strspn(here, " ");
        /* Copy a line that did not change */
        if (!is_changed(line)) {
            fprintf(stream, "%.*s", (int)(end + 1 - here), here);
            number++;
            continue;
        }
        /* Print a line that changed */
        if (!is_changed(lines[i - 1]))
            fprintf(report, "%s:%d: from %s:%d\n", path, number, line->change->path,
                    line->change->number);
        for (int k = 0; k < line->change->count; k++, number++) {
            const char *changed = line->change->texts[k];
            fprintf(stream, "%*s%s%.*s", *changed ? fence : 0, "", changed,
                    (int)(end + 1 - here) - length, here + length);
        }
    }
    fputs(here, stream);
}
static struct text chapter_anew(struct book *book, const char *path, FILE *report)
{
    struct text before, text;
    if (!file_read(path, &before))
        give_up(path, strerror(errno));
    FILE *stream = text_open(&text);
    chapter_print(book, path, &before, stream, report);
    text_close(stream);
    return text;
}
/* Stitch */
/* keeps_promise: whether the files of a new book are what the edits want. */
static bool keeps_promise(struct book *again, const struct edit *edits, int edit_count,
                          const struct output *outputs, int count)
{
    for (int i = 0; i < edit_count && !again->errors; i++) {
        struct text text = { 0 };
        if (i < count)
            text = output_text(&outputs[i]);
        int line = i < count ? first_difference(&text, &edits[i].text) : 1;
        if (line)
            fault(again, edits[i].path, line, "does not come out like this from %s",
                  place_behind(edits[i].output, line));
    }
    if (again->errors)
        fputs("tangle: that is how it would be with the edits in the chapters; nothing "
              "is written\n", stderr);
    return !again->errors;
}
/* chapters_anew: the book of the chapters with all changes, still unread. */
static struct book chapters_anew(struct book *book, struct text *report)
{
    struct book again = { .paths = book->paths, .path_count = book->path_count };
    FILE *stream = text_open(report);
    for (int i = 0; i < book->path_count; i++) {
        again.texts = grow(again.texts, i, sizeof *again.texts);
        again.texts[i] = chapter_anew(book, book->paths[i], stream);
    }
    text_close(stream);
    return again;
}

/* edits_carry: the edits of the files, count of them; what they change is noted. */
static struct edit *edits_carry(struct book *book, const struct output *outputs,
                                int count, const struct options *options)
{
    struct edit *edits = NULL;
    for (int i = 0; i < count; i++) {
        edits = grow(edits, i, sizeof *edits);
        edits[i] = edit_read(book, &outputs[i], options);
    }
    refuse_orphans(book, "code", options);
    refuse_orphans(book, "figures", options);
    for (int i = 0; i < count; i++)
        edit_carry(&edits[i]);
    return edits;
}
/* stitch: carries edits into the chapters, saves them, and makes book that book;
   returns its files, count of them, or has reported faults. */
static struct output *stitch(struct book *book, struct output *outputs, int *count,
                             const struct options *options)
{
    struct text report;
    int edit_count = *count;
    desk_open();
    struct edit *edits = edits_carry(book, outputs, edit_count, options);
    if (book->errors)
        return NULL;
    /* Save the chapters if they keep the promise */
    struct book again = chapters_anew(book, &report);
    outputs = book_open(&again, options->strict, count);
    book->errors = !keeps_promise(&again, edits, edit_count, outputs, *count);
    for (int i = 0; i < book->path_count && !book->errors; i++)
        file_write(book->paths[i], &again.texts[i]);
    fputs(book->errors ? "" : report.bytes, stderr);
    if (!book->errors)
        *book = again;
    return outputs;
}
/* Tangle */
static void output_deliver(struct book *book, const struct output *output,
                           const struct options *options)
{
    const char *name = output->file->name;
    const char *path = path_in(options->folder, name);
    struct text text = output_text(output);
    if (options->check)
        file_check(book, path, &text, output);
    else
        file_write(path, &text);
    if (options->last)
        file_write(path_in(options->last, name), &text);
    if (!options->lines || !is_c(output->file->language))
        return;
    FILE *stream = text_open(&text);
    print_compiled(stream, output);
    text_close(stream);
    file_write(path_in(options->lines, name_file(name)), &text);
}
static void outputs_deliver(struct book *book, struct output *outputs, int count,
                            const struct options *options)
{
    struct text text;
    for (int i = 0; i < count; i++)
        output_deliver(book, &outputs[i], options);
    /* Sweep each folder */
    sweep(book, path_in(options->folder, "code"), "code/", options->check);
    sweep(book, path_in(options->folder, "figures"), "figures/", options->check);
    if (options->lines)
        sweep(book, options->lines, "code/", false);
    if (options->last) {
        sweep(book, path_in(options->last, "code"), "code/", false);
        sweep(book, path_in(options->last, "figures"), "figures/", false);
    }
    /* Write places and cross references */
    if (options->places) {
        FILE *stream = text_open(&text);
        print_places(stream, outputs, count);
        text_close(stream);
        file_write(options->places, &text);
    }
    if (options->references) {
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
    int count = 0;
    struct output *outputs = book_open(&book, options.strict, &count);
    if (!book.errors && options.stitch)
        outputs = stitch(&book, outputs, &count, &options);
    else if (!book.errors && options.last)
        refuse_edits(&book, outputs, count, &options);
    if (!book.errors)
        outputs_deliver(&book, outputs, count, &options);
    return book.errors > 0;
}
