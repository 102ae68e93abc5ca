/* Tangled from chapters/55-values.md; edit there. */
#include "values.h"
#include "fail.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Write a number with three digits */
char *significant_text(double number)
{
    int magnitude = number == 0 ? 0 : (int)floor(log10(fabs(number)));
    return number_text(number, magnitude >= 2 ? 0 : 2 - magnitude);
}

/* Write a duration as text */
char *duration_text(double seconds)
{
    long whole = lround(seconds);
    if (seconds < 9.95)
        return text_format("%.1f s", seconds);
    if (whole < 60)
        return text_format("%ld s", whole);
    if (whole < 3600)
        return text_format("%ld min %02ld s", whole / 60, whole % 60);
    return text_format("%ld h %02ld min", whole / 3600, whole % 3600 / 60);
}

/* Write how many there are */
char *count_text(const char *number, const char *what)
{
    char *end;
    double count = strtod(number, &end);
    bool known = end > number && !*end;
    return text_format("%s %s%s", known && count == 0 ? "no" : number, what,
                       known && count == 1 ? "" : "s");
}

/* Write a list as text */
char *list_text(const char *list, const char *word, bool last)
{
    return text_format("%s%s%s", list, !*list ? "" : last ? " and " : ", ", word);
}

/* Write rates and families as text */
char *rate_text(double rate)
{
    bool tera = rate >= 1e12;
    char *number = significant_text(rate / (tera ? 1e12 : 1e9));
    char *text = text_format("%s %s", number, tera ? "TFLOP/s" : "GFLOP/s");
    free(number);
    return text;
}

const char *family_title(const char *name)
{
    static const struct {
        const char *name, *title;
    } families[] = {
        {"gemm", "matrix products"},        {"attention", "attention"},
        {"norm", "normalisation"},          {"pointwise", "activations and dropout"},
        {"embedding", "rows of tables"},    {"loss", "losses"},
        {"optimiser", "optimiser"},         {"memory", "copies and uploads"},
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i].name, name))
            return families[i].title;
    return name;
}

static double member(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

double stretch(const json_t *step, const char *name)
{
    const json_t *family = json_object_get(json_object_get(step, "families"), name);
    double counted = member(family, "counted");
    return counted > 0 ? member(family, "seconds") / counted : 1;
}

double stretched_minutes(const json_t *bench, const char *name)
{
    const json_t *estimate = json_object_get(bench, "estimate");
    const json_t *family = json_object_get(json_object_get(estimate, "families"), name);
    double tasks = member(family, "teacher") + member(family, "student");
    return member(family, "distillation")
               * stretch(json_object_get(bench, "distillation"), name)
           + tasks * stretch(json_object_get(bench, "finetuning"), name);
}

/* Set and get values */
static char *key_text(const char *key, va_list arguments)
{
    char text[256];
    int length = vsnprintf(text, sizeof text, key, arguments);
    if (length < 0 || (size_t)length >= sizeof text)
        fail(text, "is too long for the key of a value");
    return text_format("%s", text);
}

void value_set(json_t *values, const char *text, const char *key, ...)
{
    va_list arguments;
    va_start(arguments, key);
    char *name = key_text(key, arguments);
    va_end(arguments);
    if (json_object_set_new(values, name, json_string(text)) != 0)
        fail(name, "the value \"%s\" is not UTF-8", text);
    free(name);
}

void value_take(json_t *values, char *text, const char *key, ...)
{
    va_list arguments;
    va_start(arguments, key);
    char *name = key_text(key, arguments);
    va_end(arguments);
    value_set(values, text, "%s", name);
    free(name);
    free(text);
}
const char *value_get(const json_t *values, const char *key, ...)
{
    va_list arguments;
    va_start(arguments, key);
    char *name = key_text(key, arguments);
    va_end(arguments);
    const char *text = json_string_value(json_object_get(values, name));
    free(name);
    return text ? text : "–";
}

/* Set the values of an estimate */
void value_estimate(json_t *values, const struct estimate *estimate, const char *key)
{
    char *dash = "–", *value = estimate->known ? number_text(estimate->value, 1) : NULL;
    char *low = estimate->bounded ? number_text(estimate->low, 1) : NULL;
    char *high = estimate->bounded ? number_text(estimate->high, 1) : NULL;
    value_set(values, value ? value : dash, "%s", key);
    value_set(values, low ? low : dash, "%s.low", key);
    value_set(values, high ? high : dash, "%s.high", key);
    if (estimate->bounded)
        value_take(values, text_format("%s to %s", low, high), "%s.interval", key);
    else
        value_set(values, dash, "%s.interval", key);
    free(value);
    free(low);
    free(high);
}
