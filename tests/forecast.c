/* How long a run takes: what is counted for a T4, and how records change what is said of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "catch.h"
#include "folder.h"
#include "forecast.h"
#include "seal.h"

static struct forecast_row rows[] = {
    {"teacher", TIER_CORE, PRETRAIN, 100, -1, false},          {"distill-student", TIER_CORE, DISTILL, 50, -1, false},
    {"finetune-cola-teacher-1", TIER_CORE, FINETUNE, 10, -1, false}, {"finetune-cola-student-1", TIER_CORE, FINETUNE, 5, -1, false},
    {"finetune-cola-teacher-2", TIER_SEEDS, FINETUNE, 10, -1, false}, {"finetune-cola-student-2", TIER_SEEDS, FINETUNE, 5, -1, false},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* What is left of the run in the folder, with what its records say now. */
static struct forecast left(enum tier from, enum tier until)
{
    for (int i = 0; i < ROWS; i++)
        forecast_look(&rows[i], folder, folder);
    return forecast_left(rows, ROWS, from, until);
}

static void took(const char *stage, double seconds)
{
    char *path = text_format("%s/stages/%s.json", folder, stage);
    json_t *record = json_pack("{s:f, s:s}", "seconds", seconds, "key", "0123");
    seal_write(path, record);
    json_decref(record);
    free(path);
}

static void without_records_it_is_as_counted(void **state)
{
    (void)state;
    struct forecast all = left(TIER_CORE, TIERS - 1),
                    core = left(TIER_CORE, TIER_CORE);
    assert_true(all.stages == 6 && all.done == 0 && all.left == 180 && all.whole == 180 && !all.measured);
    assert_true(core.stages == 4 && core.left == 165);
}

static void records_set_the_pace(void **state)
{
    (void)state;
    took("teacher", 300); /* three times as long, and so will all else be until it is known better */
    struct forecast f = left(TIER_CORE, TIERS - 1);
    assert_true(f.measured && f.done == 1 && f.left == 240 && f.whole == 540);
    took("finetune-cola-teacher-1", 20); /* that kind takes twice as long */
    f = left(TIER_CORE, TIERS - 1);
    assert_true(f.done == 2 && f.whole - f.left == 320);
    assert_true(f.left > 2 * 20 + 50 * 2.9 && f.left < 2 * 20 + 50 * 3.0); /* the distillation by both */
    f = left(TIER_SEEDS, TIER_SEEDS);
    assert_true(f.stages == 2 && f.left == 30);
    free(folder_put("stages/distill-student.json", "{\"seconds\": 1}\n")); /* not sealed, so no record */
    assert_int_equal(left(TIER_CORE, TIERS - 1).done, 2);
}

static void a_record_of_another_key_is_not_done(void **state)
{
    (void)state;
    int done = left(TIER_CORE, TIERS - 1).done;
    free(folder_put("teacher.key", "0123\n"));
    assert_int_equal(left(TIER_CORE, TIERS - 1).done, done);
    free(folder_put("teacher.key", "4567\n"));
    struct forecast f = left(TIER_CORE, TIERS - 1);
    assert_int_equal(f.done, done - 1);
    assert_true(f.measured && f.left > 300); /* what it took is known */
}

static void a_t4_has_the_core_in_time(void **state)
{
    (void)state;
    struct settings *settings = settings_open("code/full.settings");
    settings_override(settings, "run.extended", "1");
    struct stage stage = {.plan = plan_open(settings), .data = "/nowhere", .run = "/nowhere"};
    const struct plan *plan = stage.plan;
    double *counted = forecast_count(&stage, "/nowhere", true), core = 0, teacher = 0, student = 0, replacing = 0;
    for (int i = 0; i < plan->stage_count; i++) {
        const struct planned_stage *s = &plan->stages[i];
        assert_true(counted[i] > 0);
        core += s->tier == TIER_CORE ? counted[i] : 0;
        teacher += !strcmp(s->name, "finetune-imdb-teacher-1") ? counted[i] : 0;
        student += !strcmp(s->name, "finetune-imdb-student-1") ? counted[i] : 0;
        replacing += !strcmp(s->name, "finetune-imdb-student-theseus-1") ? counted[i] : 0;
    }
    assert_true(core > 10 * 60 && core < 35 * 60);
    assert_true(teacher > 1.8 * student && teacher < 2.2 * student);
    assert_true(replacing > 0.8 * student && replacing < teacher);
    free(counted);
    plan_close(stage.plan);
}

/* The best student and its teacher, and each of the three tasks once, in the hour that the course project had. */
static void a_t4_has_the_best_student_in_an_hour(void **state)
{
    (void)state;
    struct stage stage = {.plan = plan_open(settings_open("code/full.settings")), .data = "/nowhere", .run = "/nowhere"};
    const struct plan *plan = stage.plan;
    double *counted = forecast_count(&stage, "/nowhere", true), all = 0;
    int stages = 0;
    for (int i = 0; i < plan->stage_count; i++) {
        const struct planned_stage *s = &plan->stages[i];
        bool asked = !strcmp(s->model->name, "teacher") || !strcmp(s->model->name, "student-best");
        if (!asked || (s->task && (!s->task->task->headline || s->seed != 1)))
            continue;
        all += counted[i];
        stages++;
    }
    printf("# %.0f minutes\n", all / 60);
    assert_int_equal(stages, 1 + 3 * 2); /* it has no distillation */
    assert_true(all > 25 * 60 && all < 33 * 60); /* an H100 took 1.8 times what is counted */
    free(counted);
    plan_close(stage.plan);
}

static void times_are_told_in_few_words(void **state)
{
    (void)state;
    const struct {
        double seconds;
        const char *text;
    } times[] = {{0.2, "0 s"}, {89, "89 s"}, {90, "2 min"}, {5399, "90 min"}, {5400, "1.5 h"}, {36000, "10 h"}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char *text = about_text(times[i].seconds);
        assert_string_equal(text, times[i].text);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_records_it_is_as_counted), cmocka_unit_test(records_set_the_pace),
        cmocka_unit_test(a_record_of_another_key_is_not_done),
        cmocka_unit_test(a_t4_has_the_core_in_time),        cmocka_unit_test(a_t4_has_the_best_student_in_an_hour),
              cmocka_unit_test(times_are_told_in_few_words),
    };
    return cmocka_run_group_tests_name("forecast", tests, folder_make, folder_remove);
}
