/* A student that takes the places of its teacher's layers: any route is the model of the layers on it, and only they learn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "batches.h"
#include "catch.h"
#include "check.h"
#include "counted.h"
#include "device.h"
#include "fail.h"
#include "losses.h"
#include "model.h"
#include "optimizer.h"
#include "theseus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEACHER = 4, STUDENT = 2, KEY = 5 };

static const struct kernels *k;
static const struct replacing how = {0.25, 0.5};
static const struct recipe recipe = {.epochs = 1, .batch = 3, .accumulate = 2};
static const struct optimizer_settings fast = {
    .rate = 1e-2f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-6f, .decay = 0.1f, .clip = 1, .steps = 5,
};

static const struct kind {
    const char *fixture; /* for its shape */
    enum head head;
    int classes;
} kinds[] = {
    {"tests/fixtures/bert-classifier", HEAD_CLASSIFIER, 3},
    {"tests/fixtures/bert-number", HEAD_CLASSIFIER, 1},
    {"tests/fixtures/bert-span", HEAD_SPAN, 0},
    {"tests/fixtures/distilbert-classifier", HEAD_CLASSIFIER, 2},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct shape shape_of(const struct kind *kind, int layers)
{
    struct shape shape = model_shape(kind->fixture);
    shape.layers = layers;
    shape.dropout = shape.attention_dropout = shape.classifier_dropout = shape.span_dropout = 0.3f;
    return shape;
}

/* A model of random parameters, large enough that nothing is nearly linear. */
static struct model *random_model(const struct kernels *table, const struct kind *kind, int layers, uint64_t seed,
                                  enum learning learning)
{
    struct shape shape = shape_of(kind, layers);
    struct parameters plan = parameters_plan(&shape, kind->head, kind->classes);
    float *values = allocate(plan.size, sizeof *values);
    model_initialise(&plan, 0.2f, values, NULL, seed);
    struct model *m = encoder_create(table, &shape, kind->head, kind->classes, values, learning);
    parameters_free(&plan);
    free(values);
    return m;
}

struct pair {
    struct model *student, *teacher;
    struct theseus *theseus;
    struct batch *batch;
};

static struct pair open_pair(const struct kernels *table, const struct kind *kind)
{
    struct pair p = {random_model(table, kind, STUDENT, 1, LEARN_LAYERS),
                     random_model(table, kind, TEACHER, 2, LEARN_NOTHING), NULL, NULL};
    p.theseus = theseus_create(p.student, p.teacher, &how, &recipe, 80, 7);
    p.batch = random_batch((int[]){9, 12, 4}, 3, p.student->shape.vocabulary, 0);
    return p;
}

static void close_pair(struct pair *p)
{
    theseus_free(p->theseus);
    encoder_free(p->student);
    batch_free(p->batch);
}

static double step(struct model *m, const struct batch *batch)
{
    struct loss_values values;
    (m->head == HEAD_SPAN ? span_step : classification_step)(m, batch, KEY, 1, &values);
    return values.total;
}

static float *last_states(const struct model *m)
{
    size_t n = (size_t)m->input.tokens * (size_t)m->shape.width;
    float *values = allocate(n, sizeof *values);
    encoder_fetch(m, m->hidden[m->depth], values, n);
    return values;
}

static float *gradient_of(struct model *m)
{
    float *values = allocate(m->parameters.size, sizeof *values);
    encoder_gradient(m, values);
    return values;
}

/* An ordinary model of the layers that stand on the student's route; all of it learns. */
static struct model *same_as_route(const struct model *student)
{
    struct shape shape = student->shape;
    shape.layers = student->depth;
    struct parameters plan = parameters_plan(&shape, student->head, student->classes);
    float *values = allocate(plan.size, sizeof *values);
    for (int i = 0; i < plan.count; i++) {
        const struct parameter *p = &plan.list[i];
        struct stop stop = part_in_layer(p->part) ? student->route[p->layer] : (struct stop){student, 0};
        float *from = allocate(stop.model->parameters.size, sizeof *from);
        encoder_download(stop.model, from);
        memcpy(values + p->offset, from + parameters_offset(&stop.model->parameters, p->part, stop.layer),
               (size_t)p->rows * (size_t)p->columns * sizeof *values);
        free(from);
    }
    struct model *m = encoder_create(k, &shape, student->head, student->classes, values, LEARN_ALL);
    parameters_free(&plan);
    free(values);
    return m;
}

/* Where a layer of the student stands; −1: nowhere. */
static int place_of(const struct model *student, int layer)
{
    for (int place = 0; place < student->depth; place++)
        if (student->route[place].model == student && student->route[place].layer == layer)
            return place;
    return -1;
}

/* Each of the student's gradients is to the bit that of the ordinary model, or 0 where nothing learns. */
static void compare_gradients(struct model *student, struct model *ordinary)
{
    float *found = gradient_of(student), *expected = gradient_of(ordinary);
    for (int i = 0; i < student->parameters.count; i++) {
        const struct parameter *p = &student->parameters.list[i];
        int place = part_in_layer(p->part) ? place_of(student, p->layer) : -1;
        size_t n = (size_t)p->rows * (size_t)p->columns;
        if (place >= 0)
            assert_memory_equal(found + p->offset,
                                expected + parameters_offset(&ordinary->parameters, p->part, place), n * sizeof *found);
        for (size_t j = 0; place < 0 && j < n; j++)
            assert_true(found[p->offset + j] == 0);
    }
    free(found);
    free(expected);
}

/* With no layer of its own the student is its teacher, with all of them itself, and in between each route is a model. */
static void a_route_is_the_model_of_its_layers(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++)
        for (int coins = 0; coins < 1 << STUDENT; coins++) {
            struct pair p = open_pair(k, &kinds[i]);
            bool stands[STUDENT];
            int own = 0;
            for (int b = 0; b < STUDENT; b++)
                own += stands[b] = coins >> b & 1;
            theseus_send(p.theseus, stands);
            assert_int_equal(p.student->depth, own + (STUDENT - own) * (TEACHER / STUDENT));
            struct model *ordinary = same_as_route(p.student);
            assert_true(step(p.student, p.batch) == step(ordinary, p.batch));
            float *found = last_states(p.student), *expected = last_states(ordinary);
            assert_memory_equal(found, expected, (size_t)(p.batch->tokens * ordinary->shape.width) * sizeof *found);
            compare_gradients(p.student, ordinary);
            free(found);
            free(expected);
            encoder_free(ordinary);
            close_pair(&p);
        }
}

/* When the teacher has left, the student answers by its own layers. */
static void in_the_end_it_stands_alone(void **state)
{
    (void)state;
    struct pair p = open_pair(k, &kinds[0]);
    theseus_send(p.theseus, (bool[STUDENT]){false, false});
    step(p.student, p.batch);
    theseus_send(p.theseus, (bool[STUDENT]){true, true});
    float routed[9], alone[9];
    classification_predict(p.student, p.batch, routed);
    theseus_free(p.theseus);
    assert_int_equal(p.student->depth, STUDENT);
    classification_predict(p.student, p.batch, alone);
    assert_memory_equal(routed, alone, sizeof alone);
    encoder_free(p.student);
    batch_free(p.batch);
}

/* With one block of either kind: the slope of the loss along the gradient is the gradient's length. */
static void the_gradient_is_the_slope(void **state)
{
    (void)state;
    double worst = 0;
    for (int trial = 0; trial < 2 * KINDS; trial++) {
        struct pair p = open_pair(k, &kinds[trial % KINDS]);
        bool first = trial < KINDS;
        theseus_send(p.theseus, (bool[STUDENT]){first, !first});
        size_t n = p.student->parameters.size;
        float *origin = allocate(n, sizeof *origin), *moved = allocate(n, sizeof *moved);
        encoder_download(p.student, origin);
        step(p.student, p.batch);
        float *gradient = gradient_of(p.student);
        double square = 0, loss[5];
        for (size_t i = 0; i < n; i++)
            square += (double)gradient[i] * gradient[i];
        double h = 0.003 / sqrt(square);
        for (int at = -2; at <= 2; at++) {
            for (size_t i = 0; i < n; i++)
                moved[i] = (float)(origin[i] + at * h * gradient[i]);
            encoder_upload(p.student, moved);
            loss[at + 2] = step(p.student, p.batch);
        }
        double slope = (8 * (loss[3] - loss[1]) - loss[4] + loss[0]) / (12 * h);
        worst = fmax(worst, fabs(slope / square - 1));
        free(gradient);
        free(moved);
        free(origin);
        close_pair(&p);
    }
    check_report("theseus.slope", "%.1e", worst);
    if (!(worst < 1e-4))
        fail_msg("the slope is off by %.1e", worst);
}

/* Tables, head and teacher stay as they are to the bit, decay or not; a layer that has never stood does so, too, but for
   its decay. */
static void only_layers_move(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct pair p = open_pair(k, &kinds[i]);
        struct optimizer *optimizer = optimizer_create(p.student, &fast);
        size_t n = p.student->parameters.size, whole = p.teacher->parameters.size;
        float *before = allocate(n, sizeof *before), *after = allocate(n, sizeof *after);
        float *teacher = allocate(whole, sizeof *teacher), *still = allocate(whole, sizeof *still);
        encoder_download(p.student, before);
        encoder_download(p.teacher, teacher);
        theseus_send(p.theseus, (bool[STUDENT]){false, true});
        double first = step(p.student, p.batch), last = first;
        for (int s = 0; s < 5; s++) {
            optimizer_step(optimizer, s);
            last = step(p.student, p.batch);
        }
        encoder_download(p.student, after);
        encoder_download(p.teacher, still);
        assert_memory_equal(teacher, still, whole * sizeof *still);
        for (int a = 0; a < p.student->parameters.count; a++) {
            const struct parameter *x = &p.student->parameters.list[a];
            size_t size = (size_t)x->rows * (size_t)x->columns, at = x->offset;
            bool stood = part_in_layer(x->part) && x->layer == 1, decays = part_in_layer(x->part) && x->matrix;
            if (!stood && !decays)
                assert_memory_equal(before + at, after + at, size * sizeof *before);
            for (size_t j = at; !stood && decays && j < at + size; j++)
                assert_true(fabsf(after[j] - before[j]) <= 0.006f * fabsf(before[j]));
            double moved = 0;
            for (size_t j = at; j < at + size; j++)
                moved = fmax(moved, fabs((double)after[j] - before[j]));
            assert_true(!stood || moved > 1e-3 || x->part == KEY_BIAS); /* which changes no softmax */
        }
        assert_true(last < first);
        free(before);
        free(after);
        free(teacher);
        free(still);
        optimizer_free(optimizer);
        close_pair(&p);
    }
}

/* The batches of a step may go by different routes: their shares add up, and nothing is left over for the next step. */
static void routes_add_up_in_a_step(void **state)
{
    (void)state;
    static const bool routes[2][STUDENT] = {{true, false}, {true, true}};
    struct pair p = open_pair(k, &kinds[0]);
    struct optimizer *optimizer = optimizer_create(p.student, &(struct optimizer_settings){.epsilon = 1, .steps = 9});
    size_t n = p.student->parameters.size;
    float *sum = allocate(n, sizeof *sum);
    for (int r = 0; r < 2; r++) {
        theseus_send(p.theseus, routes[r]);
        step(p.student, p.batch);
        float *one = gradient_of(p.student);
        for (size_t i = 0; i < n; i++)
            sum[i] += one[i] / 2;
        free(one);
        optimizer_step(optimizer, r); /* at a rate of 0 */
    }
    for (int r = 0; r < 2; r++) {
        theseus_send(p.theseus, routes[r]);
        classification_step(p.student, p.batch, KEY, 0.5f, NULL);
    }
    float *both = gradient_of(p.student);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(both[i] - sum[i]) < 1e-6f);
    optimizer_step(optimizer, 2);
    theseus_send(p.theseus, (bool[STUDENT]){false, false});
    step(p.student, p.batch);
    float *none = gradient_of(p.student);
    for (size_t i = 0; i < n; i++)
        assert_true(none[i] == 0);
    free(none);
    free(both);
    free(sum);
    optimizer_free(optimizer);
    close_pair(&p);
}

/* The book's example: four layers, two, and eight steps. */
static void rates_and_routes_are_those_of_the_book(void **state)
{
    (void)state;
    const double expected[] = {0.25, 0.4375, 0.625, 0.8125, 1, 1, 1, 1};
    struct pair p = open_pair(k, &kinds[0]);
    const struct stop last[] = {{p.teacher, 0}, {p.teacher, 1}, {p.student, 1}};
    const struct stop first[] = {{p.student, 0}, {p.teacher, 2}, {p.teacher, 3}};
    for (int s = 0; s < 8; s++)
        assert_true(theseus_rate(&how, s, 8) == expected[s]);
    for (int route = 0; route < 2; route++) {
        const struct stop *stops = route == 0 ? last : first;
        theseus_send(p.theseus, (bool[STUDENT]){route == 1, route == 0});
        assert_int_equal(p.student->depth, 3);
        for (int i = 0; i < 3; i++)
            assert_true(p.student->route[i].model == stops[i].model && p.student->route[i].layer == stops[i].layer);
    }
    close_pair(&p);
}

static void the_rate_rises_in_a_line(void **state)
{
    (void)state;
    assert_true(theseus_rate(&how, 0, 40) == 0.25);
    assert_true(fabs(theseus_rate(&how, 10, 40) - 0.625) < 1e-12);
    assert_true(theseus_rate(&how, 20, 40) == 1 && theseus_rate(&how, 39, 40) == 1);
    for (int s = 0; s < 20; s++)
        assert_true(theseus_rate(&how, s, 40) < theseus_rate(&how, s + 1, 40));
    assert_true(theseus_rate(&(struct replacing){0, 0}, 0, 40) == 1);
    assert_true(theseus_rate(&(struct replacing){0, 1}, 0, 40) == 0);
    assert_true(theseus_rate(&(struct replacing){1, 1}, 0, 40) == 1);
}

/* Who stands in these batches, as the student's route has it. */
static int count_standing(struct pair *p, struct theseus *t, long from, long to, int layer)
{
    int count = 0;
    for (long batch = from; batch < to; batch++) {
        theseus_draw(t, batch);
        count += place_of(p->student, layer) >= 0;
    }
    return count;
}

/* Coins fall as often as they shall, each by itself, and for a batch always alike. */
static void coins_fall_by_seed_and_batch(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    struct pair p = open_pair(k, &kinds[0]);
    struct model *teacher = random_model(k, &kinds[0], TEACHER, 2, LEARN_NOTHING);
    struct theseus *t = theseus_create(p.student, teacher, &(struct replacing){0.3, 1}, &recipe, 1L << 40, 7);
    double share[STUDENT], spread = sqrt(0.3 * 0.7 / MANY);
    for (int b = 0; b < STUDENT; b++) {
        share[b] = count_standing(&p, t, 0, MANY, b) / (double)MANY;
        assert_true(fabs(share[b] - 0.3) < 4 * spread);
        assert_int_equal(count_standing(&p, t, 0, MANY, b), (int)lround(share[b] * MANY));
    }
    int both = 0, depths[9];
    for (long batch = 0; batch < MANY; batch++) {
        theseus_draw(t, batch);
        both += p.student->depth == STUDENT;
    }
    assert_true(fabs(both / (double)MANY - 0.09) < 4 * sqrt(0.09 * 0.91 / MANY));
    for (int i = 0; i < 9; i++)
        theseus_draw(t, i), depths[i] = p.student->depth;
    for (int i = 8; i >= 0; i--)
        theseus_draw(t, i), assert_int_equal(depths[i], p.student->depth);
    theseus_free(t);
    /* of 80 batches, two to a step, all stand from step 20 on */
    assert_int_equal(count_standing(&p, p.theseus, 40, 80, 0), 40);
    assert_true(count_standing(&p, p.theseus, 0, 40, 0) < 40);
    close_pair(&p);
}

static void what_is_reserved_is_what_it_takes(void **state)
{
    (void)state;
    struct kernels counting = counting_table(k);
    for (int i = 0; i < KINDS; i++) {
        const struct kind *kind = &kinds[i];
        taken = 0;
        struct pair p = open_pair(&counting, kind);
        struct optimizer *optimizer = optimizer_create(p.student, &fast);
        int tokens = p.batch->token_room, sequences = p.batch->sequence_room;
        size_t reserved = encoder_bytes(k, &p.student->shape, kind->head, kind->classes, LEARN_LAYERS, tokens, sequences)
                          + theseus_bytes(k, &p.teacher->shape, &p.student->shape, kind->head, kind->classes, tokens,
                                          sequences)
                          + optimizer_bytes(&p.student->parameters);
        theseus_draw(p.theseus, 0);
        step(p.student, p.batch);
        optimizer_step(optimizer, 0);
        assert_true(taken <= reserved);
        assert_true(reserved - taken < 20 * 256);
        optimizer_free(optimizer);
        close_pair(&p);
    }
}

/* A student is its teacher with the layers that it lists; blocks must be equal. */
static void it_begins_as_its_teacher(void **state)
{
    (void)state;
    const char *folder = "tests/fixtures/bert-classifier";
    struct planned_model student = {.name = "student-theseus", .layers = 1, .layer = {1}};
    struct shape teacher = model_shape(folder), shape = theseus_shape(&teacher, &student);
    assert_int_equal(shape.layers, 1);
    assert_true(shape.family == BERT && shape.types == teacher.types);
    struct parameters plan = parameters_plan(&shape, HEAD_CLASSIFIER, 3);
    float *values = allocate(plan.size, sizeof *values);
    theseus_begin(folder, &student, HEAD_CLASSIFIER, 3, &plan, values);
    struct model *m = encoder_open(k, folder, HEAD_CLASSIFIER, 3, LEARN_NOTHING);
    float *whole = allocate(m->parameters.size, sizeof *whole);
    encoder_download(m, whole);
    for (int i = 0; i < plan.count; i++) {
        const struct parameter *p = &plan.list[i];
        assert_memory_equal(values + p->offset, whole + parameters_offset(&m->parameters, p->part, part_in_layer(p->part)),
                            (size_t)p->rows * (size_t)p->columns * sizeof *values);
    }
    student.layers = 3;
    teacher.layers = 4;
    EXPECT_FAIL(theseus_shape(&teacher, &student),
                "student-theseus: has 3 layers; expected as many equal blocks in the teacher's 4");
    student.layers = 0;
    EXPECT_FAIL(theseus_shape(&teacher, &student), "has 0 layers");
    encoder_free(m);
    parameters_free(&plan);
    free(values);
    free(whole);
}

int main(void)
{
    k = device_open("cpu");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_is_the_model_of_its_layers),
        cmocka_unit_test(in_the_end_it_stands_alone),
        cmocka_unit_test(the_gradient_is_the_slope),
        cmocka_unit_test(only_layers_move),
        cmocka_unit_test(routes_add_up_in_a_step),
        cmocka_unit_test(rates_and_routes_are_those_of_the_book),
        cmocka_unit_test(the_rate_rises_in_a_line),
        cmocka_unit_test(coins_fall_by_seed_and_batch),
        cmocka_unit_test(what_is_reserved_is_what_it_takes),
        cmocka_unit_test(it_begins_as_its_teacher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
