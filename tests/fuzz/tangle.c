/* Whatever the bytes of two chapters: they have faults, or every file comes out in both forms, each
   #line tells the truth, and the cross references are JSON. So that the fuzzer need not find out
   how a chunk is written, some control characters stand for parts of one; 0x1E ends the first
   chapter. */
#include <ctype.h>
#include <jansson.h>
#include <malloc.h>
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tangler frees nothing, so its memory is counted here and freed after each run. A block that
   was reallocated stays, poisoned: who still points to it is caught. */
static void **blocks;
static size_t block_count, block_room;

static void *tracked_realloc(void *old, size_t size)
{
    if (block_count == block_room) {
        block_room = 2 * block_room + 1000;
        blocks = realloc(blocks, block_room * sizeof *blocks);
    }
    void *block = blocks[block_count++] = malloc(size);
    if (old) {
        size_t before = malloc_usable_size(old);
        memcpy(block, old, before < size ? before : size);
        ASAN_POISON_MEMORY_REGION(old, before);
    }
    return block;
}

static ssize_t tracked_getline(char **text, size_t *room, FILE *file)
{
    char *line = NULL;
    ssize_t length = getline(&line, room, file);
    if (length >= 0) {
        *text = tracked_realloc(NULL, (size_t)length + 1);
        memcpy(*text, line, (size_t)length + 1);
    }
    free(line);
    return length;
}

#define realloc tracked_realloc
#define getline tracked_getline
#define main tangle_main
#include "../../code/tangle.c"
#undef realloc

static FILE *chapter_open(struct text *chapter, const uint8_t *bytes, size_t size)
{
    static const char *const words[] = {
        [1] = "```c\n<<", ">>=\n", ">>+=\n", "\n```\n", "code/a.c", "code/b.h", "\n  <<A>>\n",
        [14] = "```c\n<<A>>=\n", "```c\n<<code/a.c>>=\n", "\\\n", "#define ", "struct ", "enum {",
        [20] = "static ", "/*", "*/", "typedef ", "extern ", "```lua\n<<figures/a>>=\n",
    };
    FILE *stream = text_open(chapter);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] < sizeof words / sizeof *words && words[bytes[i]])
            fputs(words[bytes[i]], stream);
        else
            fputc(bytes[i], stream);
    fputc('\n', stream);
    text_close(stream);
    return fmemopen(chapter->bytes, chapter->size, "r");
}

/* What a compiler would believe, reading the compiled form, must be what the rows say. */
static void check_compiled(const struct output *output)
{
    struct text text;
    FILE *stream = text_open(&text);
    print_compiled(stream, output);
    text_close(stream);
    const char *here = banner(output) ? strchr(text.bytes, '\n') + 1 : text.bytes;
    int number = 0, file = 0;
    for (int i = 0; i < output->count; i++) {
        const struct row *row = &output->rows[i];
        if (row->note)
            continue;
        size_t length = strlen(row->text);
        if (!row->joined && sscanf(here, "#line %d \"%d.md\"\n", &number, &file) == 2 &&
            strncmp(row->text, "#line", 5))
            here = strchr(here, '\n') + 1;
        else if (!strncmp(row->text, "#line", 5))
            break;
        if (strncmp(here, row->text, length) || here[length] != '\n')
            abort();
        if (!row->joined && (number != row->line->number || file != atoi(line_path(row->line))))
            abort();
        number++;
        here += length + 1;
    }
    free(text.bytes);
}

static void check_references(struct book *book, struct output *outputs, int count, bool ascii)
{
    struct text text;
    FILE *stream = text_open(&text);
    print_references(stream, book, outputs, count);
    text_close(stream);
    json_t *json = json_loadb(text.bytes, text.size, JSON_REJECT_DUPLICATES, NULL);
    size_t chunks = json_array_size(json_object_get(json, "chunks"));
    if (ascii && (!json || chunks != (size_t)book->chunk_count))
        abort();
    json_decref(json);
    free(text.bytes);
}

static void check_book(struct book *book, bool ascii)
{
    int count;
    struct output *outputs = book_expand(book, &count);
    if (book->errors)
        return;
    for (int i = 0; i < count; i++) {
        struct text text;
        FILE *stream = text_open(&text);
        print_committed(stream, &outputs[i]);
        text_close(stream);
        size_t lines = 0;
        for (size_t k = 0; k < text.size; k++)
            lines += text.bytes[k] == '\n';
        if (lines != (size_t)outputs[i].count + (banner(&outputs[i]) != NULL))
            abort();
        free(text.bytes);
        check_compiled(&outputs[i]);
    }
    check_references(book, outputs, count, ascii);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const uint8_t *part = size ? memchr(bytes, 0x1E, size) : NULL;
    size_t first = part ? (size_t)(part - bytes) : size;
    bool ascii = true;
    for (size_t i = 0; i < size; i++)
        ascii &= bytes[i] < 0x80;
    struct book book = { 0 };
    for (int i = 0; i < 2; i++) {
        struct text chapter;
        FILE *file = chapter_open(&chapter, i ? bytes + first : bytes, i ? size - first : first);
        chapter_read(&book, i ? "2.md" : "1.md", file);
        fclose(file);
        free(chapter.bytes);
    }
    book_check(&book, size % 2);
    if (!book.errors)
        check_book(&book, ascii);
    while (block_count)
        free(blocks[--block_count]);
    return 0;
}
