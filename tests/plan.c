/* The plan: what a profile asks for, in which order, and what makes a stage another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "catch.h"
#include "fail.h"
#include "plan.h"

/* The plan of a profile with pairs of overrides, NULL behind the last. */
static struct plan *planned(const char *profile, const char *const *overrides)
{
    struct settings *settings = settings_open(profile);
    for (; overrides && *overrides; overrides += 2)
        settings_override(settings, overrides[0], overrides[1]);
    return plan_open(settings);
}

#define PLAN(profile, ...) planned(profile, (const char *const[]){__VA_ARGS__, NULL})
#define TINY "tests/fixtures/tiny.settings"

static int count(const struct plan *plan, enum stage_kind kind, enum tier tier)
{
    int stages = 0;
    for (int i = 0; i < plan->stage_count; i++)
        stages += plan->stages[i].kind == kind && plan->stages[i].tier == tier;
    return stages;
}

static void values_have_types(void **state)
{
    (void)state;
    struct plan *plan = PLAN(TINY, "student-alone.rate", "2e-3", "cola.length", "7");
    assert_true(plan->toyland && plan->scratch && plan->seed == 11 && plan->jobs == 1);
    assert_int_equal(plan->shape.width, 32);
    assert_int_equal(plan->recipe.accumulate, 2);
    assert_true(plan->recipe.optimizer.linear_decay);
    const struct planned_model *student = plan_model(plan, "student"), *alone = plan_model(plan, "student-alone");
    assert_true(student->losses.kl == 5 && alone->losses.kl == 0 && alone->initial == INITIAL_RANDOM);
    assert_true(student->recipe.optimizer.rate == 1e-3f && alone->recipe.optimizer.rate == 2e-3f);
    assert_true(alone->recipe.epochs == 3 && alone->corpus.split && alone->corpus.train_tokens == 1500);
    assert_int_equal(plan_task(plan, "cola")->length, 7);
    assert_int_equal(plan_task(plan, "mrpc")->length, 48);
    assert_null(plan_task(plan, "rte"));
    assert_null(plan_model(plan, "student-"));
    plan_close(plan);
}

static void stages_come_by_tiers(void **state)
{
    (void)state;
    struct plan *plan = PLAN("code/full.settings", "run.extended", "1");
    assert_string_equal(plan->stages[0].name, "teacher");
    assert_int_equal(count(plan, PRETRAIN, TIER_CORE) + count(plan, DISTILL, TIER_CORE), 2);
    assert_int_equal(count(plan, FINETUNE, TIER_CORE), 6);
    assert_int_equal(count(plan, FINETUNE, TIER_SEEDS), 2 * (4 + 4 + 2));
    assert_int_equal(count(plan, DISTILL, TIER_STUDENTS), 2);
    assert_int_equal(count(plan, DISTILL, TIER_ABLATIONS), 4);
    assert_int_equal(count(plan, DISTILL, TIER_EXTENDED), 12);
    const struct planned_model *related = plan_model(plan, "student-relations");
    assert_true(related->losses.relations == 1 && related->losses.relation_heads == 48);
    assert_true(plan_model(plan, "student")->losses.relations == 0);
    assert_int_equal(count(plan, FINETUNE, TIER_SQUAD), 4);
    for (int i = 0; i < plan->stage_count; i++) {
        const struct planned_stage *stage = &plan->stages[i];
        assert_true(i == 0 || plan->stages[i - 1].tier <= stage->tier);
        assert_true(stage->kind == PRETRAIN || stage->need_count > 0);
        for (int n = 0; n < stage->need_count; n++)
            assert_true(stage->needs[n] < i);
    }
    plan_close(plan);
}

static void tables_have_one_order(void **state)
{
    (void)state;
    struct plan *plan = PLAN("code/mini.settings", "finetune.models", "student-alone student teacher");
    const struct planned_task *task = plan_task(plan, "imdb");
    assert_int_equal(task->model_count, 3);
    assert_string_equal(task->models[0]->name, "teacher");
    assert_string_equal(task->models[1]->title, "student");
    assert_string_equal(task->models[2]->title, "student, no teacher at all");
    assert_false(plan_asks(task, plan_model(plan, "student-no-kl")));
    plan_close(plan);
}

/* A student of two distillations: its fine-tunings take turns. */
static void distillations_have_seeds(void **state)
{
    (void)state;
    struct plan *plan = PLAN(TINY, "distill.seeds", "4 5", "student-alone.seeds", "6", "finetune.seeds", "1 2 3",
                             "run.extended", "1", "finetune.extended", "student-twice");
    int which;
    assert_ptr_equal(plan_student(plan, "student.2", &which), plan_model(plan, "student"));
    assert_int_equal(which, 1);
    assert_null(plan_student(plan, "student.3", &which));
    assert_null(plan_student(plan, "student-alone.2", &which));
    assert_null(plan_student(plan, "student-twice", &which));
    assert_int_equal(plan_stage(plan, "distill-student.2")->seed, 5);
    assert_int_equal(plan_stage(plan, "distill-student-alone")->seed, 6);
    static const char *const parents[] = {"distill-student", "distill-student.2", "distill-student"};
    for (int seed = 1; seed <= 3; seed++)
        for (int twice = 0; twice < 2; twice++) {
            char *name = text_format("finetune-cola-student%s-%d", twice ? "-twice" : "", seed);
            const struct planned_stage *stage = plan_stage(plan, name);
            assert_string_equal(plan->stages[stage->needs[0]].name, parents[seed - 1]);
            assert_int_equal(stage->need_count, twice ? 2 : 1);
            free(name);
        }
    assert_int_equal(plan_stage(plan, "distill-student.2")->tier, TIER_SEEDS);
    plan_close(plan);
}

static void teachers_are_kept_for_those_who_hear_them(void **state)
{
    (void)state;
    struct plan *plan = PLAN(TINY, "run.extended", "1"), *plain = PLAN(TINY, "run.seed", "11");
    assert_true(plan_stage(plan, "finetune-mrpc-teacher-2")->kept);
    assert_false(plan_stage(plain, "finetune-mrpc-teacher-2")->kept);
    assert_false(plan_stage(plan, "finetune-mrpc-student-2")->kept);
    assert_int_equal(plan_stage(plan, "finetune-cola-student-twice-2")->need_count, 2);
    assert_int_equal(plan_stage(plan, "finetune-cola-student-ensemble-2")->need_count, 3);
    struct teaching teaching = plan_teaching(plan, plan_task(plan, "cola"), "student-ensemble");
    assert_true(teaching.teachers == 2 && teaching.soft == 0.5 && teaching.temperature == 2);
    assert_int_equal(plan_teaching(plan, plan_task(plan, "cola"), "student").teachers, 0);
    plan_close(plan);
    plan_close(plain);
}

/* Who replaces a teacher's layers needs the teacher of its seed and no distillation, and has a recipe of its own. */
static void layers_are_replaced_in_a_kept_teacher(void **state)
{
    (void)state;
    struct plan *plan = PLAN(TINY, "run.extended", "1", "finetune.extended", "student-theseus", "student-theseus.epochs", "7",
                             "mrpc.rate", "2e-5", "finetune.teachers", "1", "finetune.soft", "1", "finetune.temperature", "2");
    const struct planned_stage *stage = plan_stage(plan, "finetune-mrpc-student-theseus-2");
    assert_true(stage->model->replaces && stage->model->layers == 1 && stage->model->replacing.rate == 0.5);
    assert_int_equal(stage->need_count, 1);
    const struct planned_stage *teacher = &plan->stages[stage->needs[0]];
    assert_string_equal(teacher->name, "finetune-mrpc-teacher-2");
    assert_true(teacher->kept && stage->tier == TIER_EXTENDED);
    assert_null(plan_stage(plan, "distill-student-theseus"));
    int which;
    assert_null(plan_student(plan, "student-theseus", &which));
    struct recipe own = plan_recipe(plan, plan_task(plan, "mrpc"), "student-theseus"),
                  other = plan_recipe(plan, plan_task(plan, "mrpc"), "student");
    assert_true(own.epochs == 7 && other.epochs == 3);
    assert_true(own.optimizer.rate == 2e-5f && other.optimizer.rate == 2e-5f);
    assert_int_equal(plan_teaching(plan, plan_task(plan, "mrpc"), "student-theseus").teachers, 1);
    plan_close(plan);
    plan = PLAN(TINY, "run.extended", "1", "finetune.extended", "student-theseus", "student-theseus.teachers", "2",
                "student-theseus.soft", "0.5", "student-theseus.temperature", "2");
    stage = plan_stage(plan, "finetune-mrpc-student-theseus-1"); /* its own seed's, and those that it hears */
    assert_int_equal(stage->need_count, 3);
    plan_close(plan);
}

/* Where a student of another recipe has a setting other than the plain one. */
static void recipes_differ_in_one_thing(void **state)
{
    (void)state;
    struct plan *full = PLAN("code/full.settings", "run.extended", "1"),
                *compact = PLAN("code/compact.settings", "run.extended", "1");
    const struct planned_model *plain = plan_model(full, "student"), *compacted = plan_model(compact, "student"),
                               *best = plan_model(full, "student-best");
    assert_true(plan_model(full, "student-weights")->losses.kl == 5 && plain->losses.kl == 0.5f);
    assert_true(plan_model(compact, "student-weights")->losses.kl == 0.5f && compacted->losses.kl == 5);
    assert_true(plan_model(full, "student-schedule")->recipe.optimizer.linear_decay && !plain->recipe.optimizer.linear_decay);
    assert_false(plan_model(compact, "student-schedule")->recipe.optimizer.linear_decay);
    assert_true(plan_model(compact, "student-every")->copied_layers && !compacted->copied_layers);
    const struct planned_model *more = plan_model(compact, "student-more");
    assert_true(more->recipe.epochs * (double)more->corpus.train_tokens
                == compacted->recipe.epochs * (double)compacted->corpus.train_tokens);
    assert_false(more->own_texts);
    assert_true(plan_model(full, "student-more")->own_texts);
    const struct corpus_settings *texts = &plan_model(compact, "student-tasks")->corpus;
    assert_string_equal(texts->train, "");
    assert_int_equal(texts->task_count, 5);
    assert_string_equal(texts->tasks[3].task->name, "sst2");
    assert_int_equal(texts->train_tokens, compacted->corpus.train_tokens);
    assert_int_equal(compacted->corpus.task_count, 0);
    const struct planned_model *combined = plan_model(full, "student-combined"),
                               *longer = plan_model(compact, "student-longer");
    assert_true(combined->losses.relations == 1 && combined->copied_layers && combined->own_texts);
    assert_ptr_equal(plan_model(full, "student-combined-twice")->from, combined);
    assert_true(best->replaces && best->replacing.rate == 1 && best->tier == TIER_STUDENTS);
    assert_int_equal(plan_teaching(full, plan_task(full, "cola"), "student-best").teachers, 1);
    assert_ptr_equal(longer->from, compacted); /* it begins as that one, but has its own recipe for a task */
    assert_true(!longer->hears && plan_model(compact, "student-twice")->hears);
    assert_true(plan_recipe(compact, plan_task(compact, "cola"), "student-longer").epochs == 6);
    assert_true(plan_recipe(compact, plan_task(compact, "cola"), "student-twice").epochs == 3);
    plan_close(full);
    plan_close(compact);
    struct plan *choice = planned("code/choice.settings", NULL);
    assert_true(plan_task(choice, "cola")->rehearsal);
    assert_int_equal(plan_model(choice, "student-tasks")->corpus.tasks[0].held_back, plan_task(choice, "cola")->held_back);
    assert_null(plan_task(choice, "sst2"));
    plan_close(choice);
}

/* Whether the stage of a model and a task is another one under these settings. */
static bool differs(enum stage_kind kind, const char *model, const char *task, const char *key, const char *value)
{
    struct plan *before = planned(TINY, NULL), *after = PLAN(TINY, key, value);
    char *a = plan_hashed(before, kind, model, task), *b = plan_hashed(after, kind, model, task);
    bool other = strcmp(a, b);
    free(a);
    free(b);
    plan_close(before);
    plan_close(after);
    return other;
}

static void what_matters_makes_another_stage(void **state)
{
    (void)state;
    assert_true(differs(FINETUNE, "teacher", "mrpc", "mrpc.rate", "1e-5"));
    assert_true(differs(FINETUNE, "teacher", "mrpc", "finetune.rate", "1e-5"));
    assert_false(differs(FINETUNE, "teacher", "cola", "mrpc.rate", "1e-5"));
    assert_false(differs(FINETUNE, "teacher", "mrpc", "mrpc.rate", "3e-4")); /* as it was, in another section */
    assert_false(differs(FINETUNE, "teacher", "mrpc", "finetune.seeds", "1 2 3 4"));
    assert_false(differs(FINETUNE, "teacher", "mrpc", "finetune.models", "teacher"));
    assert_false(differs(FINETUNE, "teacher", "mrpc", "run.jobs", "7"));
    assert_false(differs(FINETUNE, "teacher", "mrpc", "student-twice.soft", "0.25"));
    assert_true(differs(FINETUNE, "student-twice", "mrpc", "student-twice.soft", "0.25"));
    assert_true(differs(FINETUNE, "student-theseus", "mrpc", "student-theseus.replacing-rate", "0.25"));
    assert_true(differs(FINETUNE, "student-theseus", "mrpc", "student-theseus.rate", "0.25"));
    assert_true(differs(FINETUNE, "student-theseus", "mrpc", "distill.layers", "1"));
    assert_true(differs(FINETUNE, "student-theseus", "mrpc", "mrpc.rate", "1e-5"));
    assert_false(differs(FINETUNE, "student-theseus", "mrpc", "distill.rate", "1"));
    assert_false(differs(FINETUNE, "student-theseus", "mrpc", "finetune.soft", "0.1"));
    assert_false(differs(FINETUNE, "student", "mrpc", "student-theseus.replacing-rate", "0.25"));
    assert_false(differs(FINETUNE, "student", "mrpc", "distill.layers", "1"));
    assert_true(differs(DISTILL, "student", NULL, "distill.layers", "1"));
    assert_false(differs(FINETUNE, "student", "mrpc", "distill.rate", "1"));
    assert_true(differs(DISTILL, "student", NULL, "distill.rate", "1"));
    assert_true(differs(DISTILL, "student", NULL, "corpus.length", "16"));
    assert_true(differs(DISTILL, "student", NULL, "distill.relations", "1"));
    assert_true(differs(DISTILL, "student-relations", NULL, "distill.relation-heads", "2"));
    assert_false(differs(DISTILL, "student", NULL, "distill.relation-heads", "2")); /* it has none */
    assert_true(differs(DISTILL, "student-tasks", NULL, "student-tasks.tasks", "cola"));
    assert_true(differs(DISTILL, "student-tasks", NULL, "mrpc.held-back", "9")); /* rows that are no text */
    assert_true(differs(DISTILL, "student", NULL, "corpus.tasks", "cola"));
    assert_false(differs(DISTILL, "student", NULL, "student-tasks.tasks", "cola"));
    assert_false(differs(DISTILL, "student", NULL, "mrpc.held-back", "9"));
    assert_false(differs(DISTILL, "student-tasks", NULL, "rte.held-back", "9"));
    assert_false(differs(DISTILL, "student-tasks", NULL, "mrpc.train-rows", "9"));
    assert_true(differs(PRETRAIN, "teacher", NULL, "corpus.tasks", "imdb"));
    assert_false(differs(DISTILL, "student", NULL, "student.title", "pupil"));
    assert_false(differs(DISTILL, "student", NULL, "student.tier", "extended"));
    assert_false(differs(DISTILL, "student", NULL, "teacher.rate", "1"));
    assert_true(differs(PRETRAIN, "teacher", NULL, "teacher.rate", "1"));
    assert_true(differs(PRETRAIN, "teacher", NULL, "run.seed", "12"));
    assert_false(differs(PRETRAIN, "teacher", NULL, "head.rate", "1")); /* it is from scratch */
}

static void a_record_tells_its_settings(void **state)
{
    (void)state;
    struct plan *plan = PLAN(TINY, "mrpc.rate", "1e-5");
    json_t *own = plan_settings(plan, FINETUNE, "student", "mrpc");
    assert_string_equal(json_string_value(json_object_get(own, "mrpc.rate")), "1e-5");
    assert_null(json_object_get(own, "finetune.rate"));
    assert_string_equal(json_string_value(json_object_get(own, "finetune.seeds")), "1 2");
    assert_null(json_object_get(own, "distill.rate"));
    json_decref(own);
    plan_close(plan);
}

static void slips_are_refused(void **state)
{
    (void)state;
    EXPECT_FAIL(PLAN(TINY, "student-alone.lawyers", "1"), "--student-alone.lawyers: the setting \"lawyers\" of");
    EXPECT_FAIL(PLAN(TINY, "distill.stride", "1"), "the setting \"stride\" of [distill] is not known");
    EXPECT_FAIL(PLAN(TINY, "finetune.models", "teacher pupil"), "found none for \"pupil\"");
    EXPECT_FAIL(PLAN(TINY, "finetune.models", "teacher; student"), "expected plain words or numbers, found \"teacher; student\"");
    EXPECT_FAIL(PLAN(TINY, "finetune.tasks", "cola karate"), "karate: is no task");
    EXPECT_FAIL(PLAN(TINY, "finetune.tasks", "mnlimm"), "mnlimm has no training set");
    EXPECT_FAIL(PLAN(TINY, "student-twice.from", "teacher"), "[student-twice] from: expected a student that is distilled once");
    EXPECT_FAIL(PLAN(TINY, "student-twice.from", "student-ensemble"), "expected a student that is distilled once");
    EXPECT_FAIL(PLAN(TINY, "run.extended", "1", "cola.seeds", "1"), "student-ensemble hears 2 teachers of cola, which has 1");
    EXPECT_FAIL(PLAN(TINY, "student-twice.from", "student-theseus"), "expected a student that is distilled once");
    EXPECT_FAIL(PLAN(TINY, "student-theseus.from", "student"), "student-theseus: begins as its teacher; expected layers");
    EXPECT_FAIL(PLAN(TINY, "student-theseus.layers", ""), "student-theseus: begins as its teacher; expected layers");
    EXPECT_FAIL(PLAN(TINY, "student-theseus.replacing-share", "1.5"),
                "expected replacing-rate and replacing-share from 0 to 1, found 0.5 and 1.5");
    EXPECT_FAIL(PLAN(TINY, "student-theseus.batch", "0", "run.extended", "1", "finetune.extended", "student-theseus"),
                "--student-theseus.batch: expected batch to be 1 or more");
    EXPECT_FAIL(PLAN(TINY, "distill.batch", "0"), "--distill.batch: expected batch to be 1 or more");
    EXPECT_FAIL(PLAN(TINY, "mrpc.accumulate", "0"), "expected accumulate to be 1 or more");
    EXPECT_FAIL(PLAN(TINY, "student-tasks.tasks", "cola karate"), "karate: is no task");
    EXPECT_FAIL(PLAN(TINY, "student-tasks.tasks", "mnlimm"),
                "--student-tasks.tasks: expected tasks with training rows, each once and at most 16, found \"mnlimm\"");
    EXPECT_FAIL(PLAN(TINY, "corpus.tasks", "cola mrpc cola"), "each once and at most 16, found \"cola\"");
    EXPECT_FAIL(PLAN(TINY, "corpus.tasks", "cola;mrpc"), "expected plain words or numbers");
    EXPECT_FAIL(PLAN(TINY, "run.data", "moon"), "[run] data: expected one of \"real toyland\", found \"moon\"");
    EXPECT_FAIL(PLAN(TINY, "student.tier", "first"), "[student] tier: expected one of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_types),
        cmocka_unit_test(stages_come_by_tiers),
        cmocka_unit_test(tables_have_one_order),
        cmocka_unit_test(recipes_differ_in_one_thing),
        cmocka_unit_test(distillations_have_seeds),
        cmocka_unit_test(teachers_are_kept_for_those_who_hear_them),
        cmocka_unit_test(layers_are_replaced_in_a_kept_teacher),
        cmocka_unit_test(what_matters_makes_another_stage),
        cmocka_unit_test(a_record_tells_its_settings),
        cmocka_unit_test(slips_are_refused),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
