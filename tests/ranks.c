/* Several ranks: the order of their sums, the cut of their batches, and trainings of two ranks against those of one. */
#include "device.h"
#include "fail.h"
#include "file.h"
#include "kernels.h"
#include "mesh.h"
#include "safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "catch.h"
#include "check.h"
#include "folder.h"

/* ---- What ranks say to each other ---- */

static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, 4096, RANKS_BLOCK + 77};

enum { SIZES = sizeof sizes / sizeof *sizes };

static void sum_all(void *unused)
{
    (void)unused;
    int count = ranks_count();
    for (size_t s = 0; s < SIZES && (count == 2 || sizes[s] < RANKS_BLOCK); s++) {
        float *x = malloc((sizes[s] + 1) * sizeof *x);
        for (size_t i = 0; i <= sizes[s]; i++)
            x[i] = mesh_number(ranks_rank(), i);
        kernels_cpu()->all_sum(x, sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++)
            must(x[i] == mesh_total(count, i));
        must(x[sizes[s]] == mesh_number(ranks_rank(), sizes[s])); /* and nothing behind */
        free(x);
    }
}

static void sums_are_in_the_order_of_the_ranks(void **state)
{
    (void)state;
    int differs = 0;
    for (size_t i = 0; i < 1000; i++) /* there is something to see */
        differs += mesh_total(3, i) != mesh_number(0, i) + (mesh_number(1, i) + mesh_number(2, i));
    assert_in_range(differs, 100, 900);
    for (int count = 1; count <= 5; count++)
        assert_true(mesh_run(count, sum_all, NULL));
}

static void cover(void *unused)
{
    (void)unused;
    int count = ranks_count();
    for (size_t n = 0; n < 400; n += 7) {
        must(ranks_slice(n, 0) == 0 && ranks_slice(n, count) == n);
        for (int rank = 0; rank < count; rank++) {
            size_t length = ranks_slice(n, rank + 1) - ranks_slice(n, rank);
            must(ranks_slice(n, rank + 1) >= ranks_slice(n, rank) && length <= ranks_slice(n, 1));
            must(ranks_slice(n, rank) % 16 == 0 || ranks_slice(n, rank) == n);
        }
    }
}

static void slices_cover_the_block(void **state)
{
    (void)state;
    for (int count = 1; count <= 7; count++)
        assert_true(mesh_run(count, cover, NULL));
}

static void tell(void *unused)
{
    (void)unused;
    int rank = ranks_rank(), count = ranks_count(), mine[3] = {rank, 10 * rank, 7}, all[MESH_MOST][3];
    ranks_gather(mine, all, sizeof mine);
    for (int r = 0; r < count; r++)
        must(all[r][0] == r && all[r][1] == 10 * r && all[r][2] == 7);
    size_t many = RANKS_BLOCK * sizeof(float) + 12345;
    unsigned char *bytes = malloc(many);
    for (size_t i = 0; i < many; i++)
        bytes[i] = (unsigned char)(rank == 0 ? i * i : 0);
    ranks_share(bytes, many);
    for (size_t i = 0; i < many; i++)
        must(bytes[i] == (unsigned char)(i * i));
    free(bytes);
}

static void what_one_knows_all_are_told(void **state)
{
    (void)state;
    for (int count = 1; count <= 4; count++)
        assert_true(mesh_run(count, tell, NULL));
}

/* ---- The cut ---- */

/* Each sequence is in one piece of the epoch; pieces of one batch are each rank's; nobody skips one of his. */
static void cut(void *unused)
{
    (void)unused;
    int count = ranks_count(), batch = 2 * count;
    for (int sequences = 1; sequences < 40; sequences++) {
        struct cut c = ranks_cut("test", sequences, batch);
        long pieces = c.per_epoch * count, last = -1;
        must(c.size == 2 && c.per_epoch == (sequences + batch - 1) / batch);
        int seen = 0;
        for (long p = 0; p < 2 * pieces; p++) {
            must(cut_epoch(&c, p) == p / pieces);
            seen = p % pieces == 0 ? 0 : seen;
            must(cut_first(&c, p) == 2 * (int)(p % pieces) && cut_empty(&c, p) == (seen == sequences));
            seen += cut_empty(&c, p) ? 0 : cut_first(&c, p) + 2 <= sequences ? 2 : sequences - cut_first(&c, p);
            must(p % pieces != pieces - 1 || seen == sequences);
            if (p % count != ranks_rank() || cut_empty(&c, p))
                continue;
            must(last < 0 || cut_next(&c, last) == p);
            last = p;
        }
    }
}

static void refuse_cut(void *unused)
{
    (void)unused;
    EXPECT_FAIL(ranks_cut("distill", 10, 0), "distill: expected a batch of at least one sequence");
    EXPECT_FAIL(ranks_cut("distill", 10, 8), "distill: expected a batch that 3 ranks can share evenly, found 8");
}

static void batches_are_cut_for_the_ranks(void **state)
{
    (void)state;
    for (int count = 1; count <= 4; count++)
        assert_true(mesh_run(count, cut, NULL));
    assert_true(mesh_run(3, refuse_cut, NULL));
}

/* ---- Whole trainings ---- */

int toyland_main(int argc, char **argv);
int pretrain_main(int argc, char **argv);
int distill_main(int argc, char **argv);
int finetune_main(int argc, char **argv);

/* A command line; {} in it stands for the test's folder. The corpus has 64 sequences, so that no piece is empty. */
struct command {
    int (*main)(int argc, char **argv);
    const char *line;
};

static void obey(void *context)
{
    const struct command *command = context;
    char *words = NULL, *rest = NULL, *argv[64] = {"distil"}, *line = text_format("%s", command->line);
    int argc = 1;
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        must(argc < 64);
        argv[argc++] = !strncmp(word, "{}", 2) ? text_format("%s%s", folder, word + 2) : word;
    }
    must(!words && command->main(argc, argv) == 0);
}

#define SETTINGS "--profile tests/fixtures/tiny.settings --data {}/data --lines --corpus.train-tokens 1484 "
#define STUDENT SETTINGS "--teacher {}/one/models/teacher --student student --key 1 --resume "
#define TASK SETTINGS "--task mrpc --model {}/one/models/teacher --name teacher --seed 1 --finetune.epochs 1 "
#define HALF(section) " --" section ".batch 4 --" section ".accumulate 2 "

static bool trains(int ranks, int (*main)(int argc, char **argv), const char *line)
{
    return mesh_run(ranks, obey, &(struct command){main, line});
}

/* How far the parameters of a run are from those of the other, as vectors. */
static double apart(const char *run, const char *other, const char *model)
{
    double squares = 0, error = 0;
    char *paths[] = {text_format("%s/%s/%s/model.safetensors", folder, run, model),
                     text_format("%s/%s/%s/model.safetensors", folder, other, model)};
    struct safetensors *files[] = {safetensors_open(paths[0]), safetensors_open(paths[1])};
    for (int i = 0; i < files[0]->count; i++) {
        const struct tensor *a = &files[0]->list[i], *b = safetensors_find(files[1], a->name);
        float *x = calloc(a->count + 1, sizeof *x), *y = calloc(a->count + 1, sizeof *y);
        assert_true(b && b->count == a->count);
        safetensors_floats(files[0], a, x);
        safetensors_floats(files[1], b, y);
        for (size_t j = 0; j < a->count; j++) {
            squares += (double)x[j] * x[j];
            error += ((double)x[j] - y[j]) * ((double)x[j] - y[j]);
        }
        free(x);
        free(y);
    }
    for (int i = 0; i < 2; i++) {
        safetensors_close(files[i]);
        free(paths[i]);
    }
    return sqrt(error / squares);
}

/* What two ways of adding may differ by in a whole model, as in tests/cuda.c. */
static const double WHOLE = 2e-5;

static void two_ranks_train_as_one(void **state)
{
    (void)state;
    assert_true(trains(1, toyland_main, "--out {}/data --seed 3 --paragraphs 60 --train 60 --dev 40"));
    assert_true(trains(1, pretrain_main, "--run {}/one --teacher scratch " SETTINGS
                       " --teacher.batch 4 --teacher.accumulate 4"));
    assert_true(trains(2, pretrain_main, "--run {}/two --teacher scratch " SETTINGS));
    assert_true(trains(1, distill_main, "--run {}/one " STUDENT HALF("distill")));
    assert_true(trains(2, distill_main, "--run {}/two " STUDENT));
    assert_true(trains(1, finetune_main, "--run {}/one --out {}/one/models/task " TASK HALF("finetune")));
    assert_true(trains(2, finetune_main, "--run {}/two --out {}/two/models/task " TASK));
    double teacher = apart("one", "two", "models/teacher"), student = apart("one", "two", "models/student"),
           task = apart("one", "two", "models/task");
    assert_true(teacher > 0 && student > 0 && task > 0); /* they did not add in the same order */
    print_message("apart: %.1e %.1e %.1e\n", teacher, student, task);
    assert_true(teacher < WHOLE && student < WHOLE && task < WHOLE);
    check_report("ranks.model", "%.1e", fmax(teacher, fmax(student, task)));
}

/* ---- A pause ---- */

#define LONG STUDENT "--distill.epochs 6 "

static void nap(long microseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000 * microseconds}, NULL);
}

/* Two ranks begin, and are killed soon after their first checkpoint. */
static void begin_and_kill(const char *run)
{
    char *line = text_format("--run {}/%s " LONG, run);
    char *path = text_format("%s/%s/checkpoints/distill-student.safetensors", folder, run);
    bool killed = false;
    for (int try = 0; try < 10 && !killed; try++) {
        mesh_start(2, obey, &(struct command){distill_main, line});
        for (int wait = 0; wait < 10000 && !file_exists(path); wait++)
            nap(500);
        nap(20000);
        for (int rank = 0; rank < 2; rank++)
            kill(mesh_children[rank], SIGKILL);
        killed = !mesh_wait() && file_exists(path);
    }
    assert_true(killed);
    free(line);
    free(path);
}

/* They go on, and say so: the first step that they show is not the first. */
static void go_on(int ranks, const char *run, const char *more)
{
    char *line = text_format("--run {}/%s " LONG "%s", run, more), *said = folder_path("said");
    int saved = dup(2), percent = 0;
    assert_non_null(freopen(said, "w", stderr));
    bool good = trains(ranks, distill_main, line);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    size_t size;
    char *text = file_read(said, &size);
    assert_true(good);
    assert_null(strstr(text, "of no use"));
    assert_int_equal(sscanf(text, "distill-student %d %%", &percent), 1);
    assert_true(percent > 2); /* of 48 steps the first is 2 % */
    free(text);
    free(said);
    free(line);
}

static void a_pause_changes_no_bit(void **state)
{
    (void)state;
    assert_true(trains(2, distill_main, "--run {}/whole " LONG));
    begin_and_kill("killed");
    go_on(2, "killed", "");
    assert_true(apart("whole", "killed", "models/student") == 0);
    begin_and_kill("other");
    go_on(1, "other", HALF("distill"));
    double other = apart("whole", "other", "models/student");
    assert_true(other > 0 && other < WHOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_in_the_order_of_the_ranks),
        cmocka_unit_test(slices_cover_the_block),
        cmocka_unit_test(what_one_knows_all_are_told),
        cmocka_unit_test(batches_are_cut_for_the_ranks),
        cmocka_unit_test(two_ranks_train_as_one),
        cmocka_unit_test(a_pause_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
