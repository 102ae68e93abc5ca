/* The plan of a model's parameters: names, counts, borders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "catch.h"
#include "drawn.h"
#include "parameters.h"

static const struct shape base = {
    .family = BERT, .layers = 12, .width = 768, .heads = 12, .inner = 3072,
    .vocabulary = 30522, .positions = 512, .types = 2, .tied = true,
};

static struct shape distilled(struct shape shape)
{
    shape.family = DISTILBERT;
    shape.layers /= 2;
    shape.types = 0;
    return shape;
}

static void counts_are_those_of_transformers(void **state)
{
    (void)state;
    struct shape student = distilled(base), untied = base;
    untied.tied = false;
    const struct {
        const struct shape *shape;
        enum head head;
        size_t number;
    } cases[] = {
        {&base, HEAD_CLASSIFIER, 109483778},        {&student, HEAD_CLASSIFIER, 66955010},
        {&base, HEAD_MLM, 109514298},               {&student, HEAD_MLM, 66985530},
        {&base, HEAD_NONE, 109482240 - 768 * 769},  {&student, HEAD_NONE, 66362880},
        {&untied, HEAD_MLM, 109514298 + 30522 * 768},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parameters p = parameters_plan(cases[i].shape, cases[i].head, 2);
        assert_int_equal(parameters_total(&p), cases[i].number);
        parameters_free(&p);
    }
}

/* What each array may use: up to the next one's offset. */
static void check_layout(const struct parameters *p)
{
    size_t end = 0;
    for (int i = 0; i < p->count; i++) {
        const struct parameter *q = &p->list[i];
        assert_true(q->offset >= end);
        size_t rows = (size_t)q->rows, columns = (size_t)q->columns;
        if (q->part == WORD_TABLE || q->part == DECODER_WEIGHT)
            rows = (size_t)parameters_room(q->rows);
        if (q->part == DECODER_BIAS)
            columns = (size_t)parameters_room(q->columns);
        end = q->offset + rows * columns;
        assert_true(q->matrix ? end <= p->decayed : q->offset >= p->decayed);
        bool follows = q->part == KEY_WEIGHT || q->part == VALUE_WEIGHT || q->part == KEY_BIAS
                    || q->part == VALUE_BIAS;
        if (!follows)
            assert_int_equal(q->offset % 64, 0);
        assert_ptr_equal(parameters_find(p, q->part, q->layer), q);
    }
    assert_true(end <= p->size);
    assert_int_equal(p->decayed % 64, 0);
    assert_int_equal(p->size % 64, 0);
}

static void arrays_do_not_overlap(void **state)
{
    (void)state;
    struct shape odd = {.family = BERT, .layers = 3, .width = 36, .heads = 4, .inner = 50,
                        .vocabulary = 97, .positions = 11, .types = 3};
    for (int family = 0; family < 2; family++, odd = distilled(odd))
        for (int head = HEAD_NONE; head <= HEAD_SPAN; head++) {
            struct parameters p = parameters_plan(&odd, (enum head)head, 5);
            check_layout(&p);
            for (int layer = 0; layer < odd.layers; layer++) {
                size_t weight = parameters_offset(&p, QUERY_WEIGHT, layer);
                size_t bias = parameters_offset(&p, QUERY_BIAS, layer);
                assert_int_equal(parameters_offset(&p, KEY_WEIGHT, layer), weight + 36 * 36);
                assert_int_equal(parameters_offset(&p, VALUE_WEIGHT, layer), weight + 2 * 36 * 36);
                assert_int_equal(parameters_offset(&p, KEY_BIAS, layer), bias + 36);
                assert_int_equal(parameters_offset(&p, VALUE_BIAS, layer), bias + 2 * 36);
            }
            parameters_free(&p);
        }
}

/* From one array to another, both included or not, as the vector has them. */
static double between(const struct parameters *p, enum part from, int layer, enum part to, int next)
{
    return (double)(parameters_offset(p, to, next) - parameters_offset(p, from, layer));
}

static void the_vector_is_drawn_to_scale(void **state)
{
    (void)state;
    struct shape student = distilled(base);
    struct parameters p = parameters_plan(&student, HEAD_MLM, 0);
    size_t transform = parameters_offset(&p, TRANSFORM_WEIGHT, 0), bias = parameters_offset(&p, TRANSFORM_BIAS, 0);
    double inner = between(&p, INNER_WEIGHT, 0, OUTER_WEIGHT, 0);
    assert_drawn_list("vector", "large", (double[]){between(&p, WORD_TABLE, 0, POSITION_TABLE, 0),
        between(&p, POSITION_TABLE, 0, QUERY_WEIGHT, 0), between(&p, QUERY_WEIGHT, 0, QUERY_WEIGHT, 1),
        (double)(p.decayed - transform)}, 4, 0);
    assert_drawn_list("vector", "matrix", (double[]){between(&p, QUERY_WEIGHT, 0, KEY_WEIGHT, 0),
        between(&p, KEY_WEIGHT, 0, VALUE_WEIGHT, 0), between(&p, VALUE_WEIGHT, 0, ATTENTION_WEIGHT, 0),
        between(&p, ATTENTION_WEIGHT, 0, INNER_WEIGHT, 0), inner, between(&p, OUTER_WEIGHT, 0, QUERY_WEIGHT, 1)}, 6, 0);
    assert_drawn_list("vector", "small", (double[]){between(&p, EMBEDDING_NORM_GAIN, 0, QUERY_BIAS, 0),
        between(&p, QUERY_BIAS, 0, QUERY_BIAS, 1), (double)(p.size - bias)}, 3, 0);
    assert_drawn("vector", "LAYERS = 6");
    assert_int_equal(parameters_offset(&p, EMBEDDING_NORM_GAIN, 0), p.decayed);
    parameters_free(&p);
}

static void names_are_those_of_hugging_face(void **state)
{
    (void)state;
    struct shape student = distilled(base);
    struct parameters p = parameters_plan(&base, HEAD_MLM, 0);
    struct parameters q = parameters_plan(&student, HEAD_CLASSIFIER, 2);
    assert_string_equal(parameters_find(&p, OUTER_NORM_GAIN, 11)->name,
                        "bert.encoder.layer.11.output.LayerNorm.weight");
    assert_string_equal(parameters_find(&q, QUERY_BIAS, 5)->name,
                        "distilbert.transformer.layer.5.attention.q_lin.bias");
    assert_string_equal(parameters_find(&q, SUMMARY_WEIGHT, 0)->name, "pre_classifier.weight");
    assert_null(parameters_find(&p, DECODER_WEIGHT, 0));
    assert_null(parameters_find(&q, TYPE_TABLE, 0));
    for (int i = 0; i < p.count; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(p.list[i].name, p.list[j].name);
    EXPECT_FAIL(parameters_offset(&p, QUERY_WEIGHT, 12), "has no such part");
    EXPECT_FAIL(parameters_offset(&q, TYPE_TABLE, 0), "token_type_embeddings");
    parameters_free(&p);
    parameters_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_transformers),
        cmocka_unit_test(arrays_do_not_overlap),
        cmocka_unit_test(the_vector_is_drawn_to_scale),
        cmocka_unit_test(names_are_those_of_hugging_face),
    };
    return cmocka_run_group_tests_name("parameters", tests, NULL, NULL);
}
