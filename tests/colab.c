/* The notebook is one by the rules of nbformat 4, and says which chapter it is from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#undef fail
#include "fail.h"
#include "file.h"

static const char path[] = "code/colab.ipynb";

static json_t *read_notebook(void)
{
    json_error_t error;
    json_t *notebook = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!notebook)
        print_error("%s:%d: %s\n", path, error.line, error.text);
    assert_true(json_is_object(notebook));
    return notebook;
}

/* nbformat 4 allows these members and no other. */
static void expect_members(json_t *object, const char *allowed)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        char *word = text_format(" %s ", name);
        if (!strstr(allowed, word))
            print_error("%s: %s is not allowed there\n", path, name);
        assert_non_null(strstr(allowed, word));
        free(word);
    }
}

/* A list of lines, each but the last with its end. */
static void expect_source(json_t *source)
{
    size_t i;
    json_t *line;
    assert_true(json_is_array(source) && json_array_size(source) > 0);
    json_array_foreach(source, i, line) {
        assert_true(json_is_string(line));
        const char *end = strchr(json_string_value(line), '\n');
        bool last = i + 1 == json_array_size(source);
        assert_true(last ? !end : end && !end[1]);
    }
}

static void it_is_a_notebook(void **state)
{
    (void)state;
    json_t *notebook = read_notebook(), *cells = json_object_get(notebook, "cells");
    expect_members(notebook, " metadata nbformat nbformat_minor cells ");
    assert_int_equal(json_integer_value(json_object_get(notebook, "nbformat")), 4);
    /* from minor 5 on, cells need an id */
    assert_in_range(json_integer_value(json_object_get(notebook, "nbformat_minor")), 0, 4);
    json_t *metadata = json_object_get(notebook, "metadata");
    assert_true(json_is_string(json_object_get(json_object_get(metadata, "kernelspec"), "name")));
    assert_true(json_is_string(json_object_get(json_object_get(metadata, "kernelspec"), "display_name")));
    assert_true(json_array_size(cells) > 1);
    json_decref(notebook);
}

static void its_cells_are_cells(void **state)
{
    (void)state;
    size_t i;
    int codes = 0;
    json_t *notebook = read_notebook(), *cell;
    json_array_foreach(json_object_get(notebook, "cells"), i, cell) {
        const char *type = json_string_value(json_object_get(cell, "cell_type"));
        assert_non_null(type);
        assert_true(json_is_object(json_object_get(cell, "metadata")));
        expect_source(json_object_get(cell, "source"));
        if (!strcmp(type, "code")) {
            expect_members(cell, " cell_type metadata source execution_count outputs ");
            assert_true(json_is_null(json_object_get(cell, "execution_count")));
            assert_true(json_is_array(json_object_get(cell, "outputs")));
            assert_int_equal(json_array_size(json_object_get(cell, "outputs")), 0);
            codes++;
        } else {
            assert_string_equal(type, "markdown");
            expect_members(cell, " cell_type metadata source ");
        }
    }
    assert_true(codes > 0);
    json_decref(notebook);
}

static void its_first_line_names_its_chapter(void **state)
{
    (void)state;
    char chapter[200] = "", *text = file_text(path, NULL);
    assert_int_equal(sscanf(text, "{\"metadata\": {\"tangled\": \"Tangled from %199[^;]; edit there.\"", chapter), 1);
    char *source = file_text(chapter, NULL);
    assert_non_null(strstr(source, "<<code/colab.ipynb>>="));
    free(text);
    free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_notebook),
        cmocka_unit_test(its_cells_are_cells),
        cmocka_unit_test(its_first_line_names_its_chapter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
