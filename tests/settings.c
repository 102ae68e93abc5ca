/* Profiles: what is read, what overrides what, and that no slip passes in silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "catch.h"
#include "fail.h"
#include "settings.h"

static char path[64];

static const char *profile(const char *text)
{
    snprintf(path, sizeof path, "/tmp/settings-%d.settings", (int)getpid());
    FILE *stream = fopen(path, "w");
    fputs(text, stream);
    fclose(stream);
    return path;
}

static const char sample[] = "# a comment\n"
                             "[run]\n"
                             "seed = 7   # another\n"
                             "\n"
                             "[finetune]\n"
                             "  rate = 2e-5\r\n"
                             "seeds = 1 2   # and, on a line of its own:\n"
                             "    30\n"
                             "schedule = linear\n"
                             "[mrpc]\n"
                             "rate=1e-4";

static void values_are_read(void **state)
{
    (void)state;
    struct settings *s = settings_open(profile(sample));
    int seeds[8];
    assert_int_equal(settings_count(s, "run", "seed"), 7);
    assert_true(settings_number(s, "finetune", "rate") == 2e-5);
    assert_string_equal(settings_text(s, "finetune", "schedule"), "linear");
    assert_int_equal(settings_choice(s, "finetune", "schedule", "constant linear"), 1);
    assert_int_equal(settings_list(s, "finetune", "seeds", seeds, 8), 3);
    assert_int_equal(seeds[2], 30);
    settings_close(s);
}

static void special_section_wins(void **state)
{
    (void)state;
    struct settings *s = settings_open(profile(sample));
    assert_true(settings_number(s, "mrpc finetune", "rate") == 1e-4);
    assert_true(settings_number(s, "cola finetune", "rate") == 2e-5);
    settings_close(s);
}

static void command_line_overrides(void **state)
{
    (void)state;
    struct settings *s = settings_open(profile(sample));
    settings_override(s, "finetune.rate", "3");
    assert_true(settings_number(s, "finetune", "rate") == 3);
    settings_override(s, "mrpc.epochs", "5");
    assert_int_equal(settings_count(s, "mrpc", "epochs"), 5);
    EXPECT_FAIL(settings_override(s, "finetun.rate", "3"), "has no section for the setting \"finetun.rate\"");
    EXPECT_FAIL(settings_override(s, "rate", "3"), "has no section");
    settings_close(s);
    s = settings_open(profile("[distill]\nepochs = 2\n[student]\n[other]\nepochs = 1\n"));
    settings_override(s, "student.epochs", "3"); /* a section that sets nothing */
    assert_int_equal(settings_count(s, "student distill", "epochs"), 3);
    assert_int_equal(settings_count(s, "other distill", "epochs"), 1);
    settings_close(s);
}

/* What a run keeps of its settings reads the same, overrides included; what could not be kept is refused. */
static void settings_are_kept(void **state)
{
    (void)state;
    struct settings *s = settings_open(profile(sample));
    settings_override(s, "finetune.seeds", " 4 5 ");
    settings_override(s, "mrpc.epochs", "");
    char *kept = text_format("%s.kept", path);
    settings_write(s, kept);
    struct settings *again = settings_open(kept);
    for (const char *const *key = (const char *const[]){"seed", "rate", "seeds", "schedule", "epochs", NULL}; *key; key++)
        assert_string_equal(settings_text(again, "run mrpc finetune", *key), settings_text(s, "run mrpc finetune", *key));
    assert_string_equal(settings_text(again, "finetune", "seeds"), "4 5");
    EXPECT_FAIL(settings_override(s, "run.seed", "7 # 8"), "run.seed: expected a value as in a profile");
    EXPECT_FAIL(settings_override(s, "run.seed", "7\n8"), "expected a value as in a profile");
    unlink(kept);
    unlink(path);
    settings_close(s);
    settings_close(again);
    free(kept);
}

static void slips_are_refused(void **state)
{
    (void)state;
    EXPECT_FAIL(settings_open(profile("[a]\nhello\n")), ":2: expected \"key = value\"");
    EXPECT_FAIL(settings_open(profile("x = 1\n")), ":1: \"x\" stands before the first [section]");
    EXPECT_FAIL(settings_open(profile("[a]\nx = 1\n[b]\n  2\n")), ":4: expected \"key = value\"");
    EXPECT_FAIL(settings_open(profile("  1\n")), ":1: expected \"key = value\"");
    EXPECT_FAIL(settings_open(profile("[a]\nx = 1\nx = 2\n")), ":3: \"x\" is given twice in [a]");
    EXPECT_FAIL(settings_open("/nowhere.settings"), "/nowhere.settings: cannot be opened");
    EXPECT_FAIL(settings_open(profile("[a]\nepochs = -1\n")), ":2: [a] epochs: expected nothing below 0, found \"-1\"");
    EXPECT_FAIL(settings_open(profile("[a]\n\ndecay = -1e-9 # small\n")), ":3: [a] decay: expected nothing below 0");
    struct settings *s = settings_open(profile("[a]\nx = one\ny = 1.5\nz = 1 b\nw = 1e999\n"));
    EXPECT_FAIL(settings_override(s, "a.w", "-2"), "[a] w: expected nothing below 0, found \"-2\"");
    EXPECT_FAIL(settings_override(s, "a.clip", "-inf"), "[a] clip: expected nothing below 0");
    EXPECT_FAIL(settings_number(s, "a", "x"), "[a] x: expected a number, found \"one\"");
    EXPECT_FAIL(settings_number(s, "a", "w"), "expected a number");
    EXPECT_FAIL(settings_count(s, "a", "y"), "expected a whole number");
    int list[4];
    EXPECT_FAIL(settings_list(s, "a", "z", list, 4), "expected whole numbers separated by spaces");
    EXPECT_FAIL(settings_choice(s, "a", "x", "two three"), "expected one of \"two three\"");
    EXPECT_FAIL(settings_text(s, "b a", "q"), "the setting \"q\" is missing; it belongs to [a]");
    settings_close(s);
}

/* A profile is what differs from its base, and knows where each value is from. */
static void a_base_comes_first(void **state)
{
    (void)state;
    char *base = text_format("%s.base", path), *own = text_format("base = %s\n[b]\ny = 3\n[c]\n[a]\nx = 4\n", base);
    rename(profile("[a]\nx = 1\n  2\n[b]\ny = 2\nz = 5\n"), base);
    struct settings *s = settings_open(profile(own));
    assert_string_equal(settings_text(s, "a", "x"), "4");
    assert_int_equal(settings_count(s, "b", "y"), 3);
    assert_int_equal(settings_count(s, "b", "z"), 5);
    assert_string_equal(settings_section(s, 0), "a");
    assert_string_equal(settings_section(s, 2), "c");
    assert_null(settings_section(s, 3));
    settings_override(s, "c.w", "6");
    const struct {
        const char *key, *from;
    } wheres[] = {{"x", path}, {"z", base}, {"w", "--c.w"}};
    for (int i = 0; i < 3; i++) {
        char *where = settings_where(settings_find(s, "a b c", wheres[i].key));
        assert_ptr_equal(strstr(where, wheres[i].from), where);
        free(where);
    }
    settings_close(s);
    free(own);
    own = text_format("base = %s\n", base);
    rename(profile(own), base);
    EXPECT_FAIL(settings_open(base), "is based on too many files");
    EXPECT_FAIL(settings_open(profile("base = /nowhere.settings\n")), "/nowhere.settings: cannot be opened");
    EXPECT_FAIL(settings_open(profile("[a]\nx = 1\nbase = 2\nx = 1\n")), ":4: \"x\" is given twice");
    unlink(base);
    free(own);
    free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),          cmocka_unit_test(special_section_wins),
        cmocka_unit_test(command_line_overrides),   cmocka_unit_test(slips_are_refused),
        cmocka_unit_test(a_base_comes_first),       cmocka_unit_test(settings_are_kept),
    };
    int failed = cmocka_run_group_tests_name("settings", tests, NULL, NULL);
    unlink(path);
    return failed;
}
