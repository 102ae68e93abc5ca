/* Any bytes as the table of a task, in each layout: either well-formed examples or a polite failure.
   The first byte chooses the task; bytes after the first 0x1E are the list of development pairs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "file.h"
#include "fuzz.h"
#include "task.h"
#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_LENGTH = 12 };

static char folder[] = "/tmp/fuzz-task-XXXXXX";
static const char *const tables[] = {
    "CoLA/train.tsv", "MRPC/train.tsv", "MRPC/msr_paraphrase_train.txt", "SST-2/train.tsv",
};
static const char *const names[] = {"cola", "mrpc", "mrpc", "sst2"};

static void remove_folder(void)
{
    char *command = text_format("rm -rf %s", folder);
    if (system(command) != 0)
        perror(folder);
    free(command);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
    char *path = text_format("%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    if (!stream)
        abort();
    fwrite(data, 1, size, stream);
    fclose(stream);
    free(path);
}

static void prepare(void)
{
    if (!mkdtemp(folder) || atexit(remove_folder) != 0)
        abort();
    const char *const folders[] = {"CoLA", "MRPC", "SST-2"};
    for (int i = 0; i < 3; i++) {
        char *path = text_format("%s/%s", folder, folders[i]);
        file_make_folder(path);
        free(path);
    }
}

static void expect(int promise)
{
    if (!promise)
        abort();
}

static void read_and_check(const struct tokenizer *tokenizer, const char *name, enum split split, int limit)
{
    const struct task *task = task_find(name);
    struct examples *e = task_read(task, folder, split, tokenizer, (struct reading){.length = MAX_LENGTH, .limit = limit});
    expect(e->count > 0 && e->count <= e->rows && (limit == 0 || e->count <= limit));
    for (int i = 0; i < e->count; i++) {
        int64_t length = e->starts[i + 1] - e->starts[i];
        expect(length >= (task->second ? 3 : 2) && length <= MAX_LENGTH);
        expect(e->firsts[i] >= 2 && e->firsts[i] <= length);
        expect(e->labels[i] >= 0 && e->labels[i] < task->classes);
        expect(e->indices[i] >= i && e->indices[i] < e->rows);
    }
    examples_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *tokenizer;
    if (!tokenizer) {
        prepare();
        tokenizer = tokenizer_open("tests/fixtures/tokenizer/vocab.txt");
    }
    if (size == 0)
        return 0;
    int choice = data[0] % 4, limit = data[0] / 4 % 8;
    const uint8_t *table = data + 1, *end = memchr(table, 0x1E, size - 1);
    size_t length = end ? (size_t)(end - table) : size - 1;
    put(tables[choice], table, length);
    put("MRPC/mrpc_dev_ids.tsv", end ? end + 1 : table, end ? (size_t)(data + size - end) - 1 : 0);
    FUZZ_TRY(read_and_check(tokenizer, names[choice], TRAIN, limit));
    if (choice == 2)
        FUZZ_TRY(read_and_check(tokenizer, names[choice], DEV, limit));
    char *path = text_format("%s/%s", folder, tables[choice]);
    remove(path);
    free(path);
    return 0;
}
