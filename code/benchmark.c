/* Tangled from chapters/60-bench.md; edit there. */
#include "benchmark.h"
#include "json.h"
#include "said.h"

#include <math.h>
#include <string.h>

/* Tell what a benchmark found */
static void put(json_t *json, const char *key, double number)
{
    json_object_set_new(json, key, json_real(number));
}

/* Puts titles into families, and the one with the largest number `key` first. */
static void sort_families(json_t *families, const char *key)
{
    static const char *const titles[][2] = {
        {"gemm", "matrix products"}, {"attention", "attention"},
        {"norm", "normalisation"}, {"pointwise", "activations and dropout"},
        {"embedding", "rows of tables"}, {"loss", "losses"},
        {"optimiser", "optimiser"}, {"memory", "copies and uploads"}};
    json_t *left = json_copy(families), *family;
    const char *name, *next;
    json_object_clear(families);
    for (; json_object_size(left) > 0; json_object_del(left, next)) {
        next = NULL;
        json_object_foreach(left, name, family) {
            const json_t *best = next ? json_object_get(left, next) : NULL;
            if (!best || number_at(family, key) > number_at(best, key))
                next = name;
        }
        family = json_object_get(left, next);
        for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
            if (!strcmp(titles[i][0], next))
                json_object_set_new(family, "title", json_string(titles[i][1]));
        json_object_set(families, next, family);
        next = say("%s", next);
    }
    json_decref(left);
}

static double family_sum(const json_t *families, const char *key)
{
    const char *name;
    json_t *family;
    double sum = 0;
    json_object_foreach((json_t *)families, name, family) {
        sum += number_at(family, key);
    }
    return sum;
}

static void tell_step(json_t *step)
{
    static const char *const raw[] = {"bytes", "calls", "counted", "flops", "seconds"};
    json_t *families = json_object_get(step, "families"), *family;
    double steps = number_at(step, "steps") / 1e3,
           all = family_sum(families, "seconds"),
           seconds = number_at(step, "seconds"),
           in_turn = number_at(step, "seconds_in_turn");
    const char *name;
    put(step, "counted", family_sum(families, "counted") / steps);
    sort_families(families, "seconds");
    json_object_foreach(families, name, family) {
        put(family, "percent", 100 * number_at(family, "seconds") / all);
        put(family, "milliseconds", number_at(family, "seconds") / steps);
        put(family, "roofline", number_at(family, "counted") / steps);
    }
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++)
        json_object_foreach(families, name, family) {
            json_object_del(family, raw[i]);
        }
    json_object_set(step, "most",
                    json_object_iter_value(json_object_iter(families)));
    put(step, "percent", families ? 100 * number_at(step, "share") : NAN);
    put(step, "milliseconds", seconds / steps);
    put(step, "in_turn", in_turn > 0 ? in_turn / steps : NAN);
    put(step, "lanes", in_turn > 0 ? in_turn / seconds : NAN);
}

/* How many times as long as counted a family took in a step; 1 if it was not. */
static double stretch(const json_t *step, const char *name)
{
    const json_t *family = json_at(step, say("families/%s", name));
    double counted = number_at(family, "counted");
    return counted > 0 ? number_at(family, "seconds") / counted : 1;
}

/* told: takes it. */
static void tell_estimate(const json_t *bench, json_t *told)
{
    json_t *all = json_object(), *estimate = json_object_get(told, "estimate"),
           *families = json_object_get(estimate, "families"), *family, *number;
    const char *name, *key;
    sort_families(families, "minutes");
    json_object_foreach(families, name, family) {
        double tasks = number_at(family, "teacher") + number_at(family, "student");
        put(family, "stretched",
            number_at(family, "distillation")
                    * stretch(json_at(bench, "distillation"), name)
                + tasks * stretch(json_at(bench, "finetuning"), name));
        json_object_foreach(family, key, number) {
            if (json_is_number(number))
                put(all, key, number_at(all, key) + json_number_value(number));
        }
    }
    json_object_set_new(estimate, "all", all);
}

json_t *benchmark_told(const json_t *bench)
{
    json_t *told = json_deep_copy(bench), *aimed = json_object(),
           *pytorch = json_at(bench, "pytorch");
    bool gpu = !strcmp(text_at(bench, "gpu", "no"), "yes"),
         applies = gpu && number_at(bench, "batch") == number_at(bench, "aimed_batch");
    const struct {
        const char *aim;
        double found; /* 0: nothing */
    } aims[] = {
        {"course", gpu * number_at(pytorch, "course/distillation/speed_ratio")},
        {"practice", gpu * number_at(pytorch, "practice/distillation/speed_ratio")},
        {"share", applies * 100 * number_at(bench, "distillation/share")},
        {"minutes", number_at(bench, "estimate/minutes")}};
    for (int i = 0; i < 4; i++) {
        double aim = number_at(bench, say("aims/%s", aims[i].aim)),
               found = aims[i].found;
        bool met = !strcmp(aims[i].aim, "minutes") ? found <= aim : found >= aim;
        if (aim > 0 && found > 0)
            json_object_set_new(aimed, aims[i].aim,
                                json_string(met ? "met" : "missed"));
    }
    tell_step(json_object_get(told, "distillation"));
    tell_step(json_object_get(told, "finetuning"));
    tell_estimate(bench, told);
    put(json_object_get(told, "squares"), "teraflops",
        1e-12 * number_at(bench, "squares/rate"));
    json_object_set_new(told, "aimed", aimed);
    json_object_del(told, "sum"); /* of its file: it tells a reader nothing */
    return told;
}
