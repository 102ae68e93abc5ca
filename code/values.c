/* Tangled from chapters/56-sentences.md; edit there. */
#include "values.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Keep what is said */
static struct said {
    struct said *before;
    char *text;
} *said;

const char *kept(char *text)
{
    struct said *last = allocate(1, sizeof *last);
    *last = (struct said){said, text};
    said = last;
    return text;
}

const char *say(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    char *text = allocate((size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(again);
    va_end(arguments);
    return kept(text);
}

void forget_said(void)
{
    while (said) {
        struct said *last = said;
        said = last->before;
        free(last->text);
        free(last);
    }
}

/* Write numbers and durations */
const char *rounded(double number, int decimals)
{
    return kept(number_text(number, decimals));
}

char *significant_text(double number)
{
    int magnitude = number == 0 ? 0 : (int)floor(log10(fabs(number)));
    return number_text(number, magnitude >= 2 ? 0 : 2 - magnitude);
}

const char *duration_said(double seconds)
{
    long whole = lround(seconds);
    return seconds < 9.95 ? say("%.1f s", seconds)
           : whole < 60   ? say("%ld s", whole)
           : whole < 3600 ? say("%ld min %02ld s", whole / 60, whole % 60)
                          : say("%ld h %02ld min", whole / 3600, whole % 3600 / 60);
}

const char *count_said(double count, const char *what)
{
    return say("%s %s%s", count == 0 ? "no" : say("%g", count), what,
               count == 1 ? "" : "s");
}

/* Write a list of words */
void words_add(struct words *words, const char *word)
{
    for (int i = 0; i < words->count; i++)
        if (!strcmp(words->word[i], word))
            return;
    words->word = realloc(words->word, (size_t)(words->count + 1) * sizeof word);
    if (!words->word)
        fail(word, "is a word too many for memory");
    words->word[words->count++] = word;
}

void words_shorten(struct words *words, int most)
{
    int more = words->count - most;
    if (more > 0) {
        words->count = most;
        words_add(words, say("%d more", more));
    }
}

/* Joins them, with `last` before the last one. */
static const char *join(struct words *words, const char *between, const char *last)
{
    const char *text = "";
    for (int i = 0; i < words->count; i++)
        text = say("%s%s%s", text,
                   i == 0 ? "" : i + 1 < words->count ? between : last, words->word[i]);
    free(words->word);
    *words = (struct words){NULL, 0};
    return text;
}

const char *words_said(struct words *words)
{
    return join(words, ", ", " and ");
}

const char *words_joined(struct words *words, const char *between)
{
    return join(words, between, between);
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

/* Write a finding */
static const char *quantity_said(enum quantity quantity, double value)
{
    switch (quantity) {
    case PARAMETERS: return kept(significant_text(1e-6 * value)); /* in millions */
    case SECONDS_ONE:
    case SECONDS_ALL: return kept(significant_text(value));
    case TIMES_ONE:
    case TIMES_ALL: return rounded(value, 2);
    case FASTER_ONE:
    case FASTER_ALL: return rounded(value, 0);
    default: return rounded(value, 1);
    }
}

const char *finding_said(const struct finding *f)
{
    return f->is.known ? quantity_said(f->quantity, f->is.value)
           : f->quantity == RETENTION && f->why != NOT_MEASURED ? "not defined" : "–";
}

const char *finding_interval(const struct finding *f)
{
    return f->is.bounded ? say("%s to %s", quantity_said(f->quantity, f->is.low),
                               quantity_said(f->quantity, f->is.high)) : "–";
}

const char *finding_measured(const struct finding *f)
{
    const char *value = finding_said(f);
    return !f->is.known             ? "–"
           : !f->is.bounded         ? say("%s (no interval)", value)
           : f->is.low < f->is.high ? say("%s (%s)", value, finding_interval(f))
                                    : value;
}

/* Set and get values */
void value_put(json_t *values, const char *key, const char *text)
{
    if (json_object_set_new(values, key, json_string(text)) != 0)
        fail(key, "the value \"%s\" is not UTF-8", text);
}

const char *value_get(const json_t *values, const char *key)
{
    const char *text = json_string_value(json_object_get(values, key));
    return text ? text : "–";
}
