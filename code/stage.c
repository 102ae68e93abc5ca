/* Tangled from chapters/48-stages.md; edit there. */
#include "stage.h"
#include "device.h"
#include "fail.h"
#include "products.h"
#include "ranks.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Refuse a wrong command line */
__attribute__((noreturn)) static void misuse(const char *usage, const char *what,
                                             const char *option)
{
    fprintf(stderr, "distil: %s: %s\n\n%s", option, what, usage);
    exit(2);
}

static bool names(const char *usage, const char *option)
{
    size_t length = strlen(option);
    for (const char *at = usage; (at = strstr(at, option)); at += length)
        if (at[length] == ' ' || at[length] == ']' || at[length] == '\n')
            return true;
    return false;
}

static long whole_number(const char *usage, const char *option, const char *value)
{
    char *end;
    long number = strtol(value, &end, 10);
    if (end == value || *end || number < 0 || number > INT_MAX)
        misuse(usage, "expected a whole number, 0 or more", option);
    return number;
}

/* Say where the value of an option goes */
static const char **text_option(struct stage *stage, const char *option)
{
    const struct {
        const char *option, **place;
    } options[] = {
        {"--run", &stage->run},         {"--data", &stage->data},
        {"--key", &stage->key},         {"--teacher", &stage->teacher},
        {"--student", &stage->student}, {"--task", &stage->task},
        {"--model", &stage->model},     {"--name", &stage->name},
        {"--out", &stage->out},         {"--checks", &stage->checks},
        {"--full", &stage->full},       {"--published", &stage->published},
        {"--record", &stage->record},   {"--title", &stage->title},
        {"--author", &stage->author},   {"--reference", &stage->reference},
        {"--keys", &stage->keys},       {"--until", &stage->until},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (!strcmp(options[i].option, option))
            return options[i].place;
    return NULL;
}

static bool *flag_option(struct stage *stage, const char *option)
{
    return !strcmp(option, "--resume")     ? &stage->resume
           : !strcmp(option, "--lines")    ? &stage->lines
           : !strcmp(option, "--launched") ? &stage->launched
           : !strcmp(option, "--make")     ? &stage->make
           : !strcmp(option, "--list")     ? &stage->list
           : !strcmp(option, "--settings") ? &stage->settings
           : !strcmp(option, "--room")     ? &stage->room
                                           : NULL;
}

/* Open a profile and take its name */
static struct settings *open_profile(struct stage *stage, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    stage->profile = text_format("%.*s", (int)strcspn(name, "."), name);
    return settings_open(path);
}

/* Read the options of a stage */
struct stage stage_open(int argc, char **argv, const char *usage, const char *required)
{
    struct stage stage = {.key = "", .seed = -1};
    struct settings *settings = NULL;
    /* Open the profile that the command line names */
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        }
        if (!strcmp(argv[i], "--ranks") && i + 1 < argc && names(usage, "--ranks"))
            ranks_open((int)whole_number(usage, "--ranks", argv[i + 1]));
        if (!strcmp(argv[i], "--profile") && i + 1 < argc && names(usage, "--profile"))
            settings = open_profile(&stage, argv[i + 1]);
    }
    for (int i = 1; i < argc; i++) {
        char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool *flag = flag_option(&stage, option);
        /* Take a flag, or an option with its value */
        if (flag && names(usage, option)) {
            *flag = true;
        } else if (strncmp(option, "--", 2)) {
            misuse(usage, "expected an option", option);
        } else if (!value) {
            misuse(usage, "expected a value after this option", option);
        } else {
            /* Take the value of one option */
            const char **place = text_option(&stage, option);
            if (place && names(usage, option)) {
                *place = value;
            } else if (!strcmp(option, "--seed") && names(usage, option)) {
                stage.seed = whole_number(usage, option, value);
            } else if (strchr(option, '.') && settings) {
                settings_override(settings, option + 2, value);
            } else if (strcmp(option, "--ranks") ? strcmp(option, "--profile") || !settings
                                                 : !names(usage, option)) {
                misuse(usage, "is not an option of this command", option);
            }
            i++;
        }
    }
    /* Insist on the options that are required */
    for (const char *r = required; *r; r += strspn(r, " ")) {
        char *option = text_format("%.*s", (int)strcspn(r, " "), r);
        const char **place = text_option(&stage, option);
        if (place ? !*place : !strcmp(option, "--seed") ? stage.seed < 0 : !settings)
            misuse(usage, "is required", option);
        r += strlen(option);
        free(option);
    }
    /* Make the plan of the profile and what was set over it */
    if (settings && stage.teacher)
        settings_override(settings, "teacher.source", stage.teacher);
    if (settings) {
        stage.plan = plan_open(settings);
        products_in_order(stage.plan->same_bits);
    }
    return stage;
}

void stage_close(struct stage *stage)
{
    if (stage->plan)
        plan_close(stage->plan);
    free(stage->profile);
    ranks_close();
}

/* Name a file of the run */
char *stage_path(const struct stage *stage, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char name[512];
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return text_format("%s/%s", stage->run, name);
}

/* Name the device */
static const struct kernels *opened; /* NULL: none yet */

const struct kernels *stage_kernels(const struct stage *stage)
{
    opened = device_open(stage->plan->device);
    if (stage->plan->same_bits && opened != kernels_cpu())
        fail("run.bits", "\"same\" is a promise of the CPU; expected run.device = cpu, "
                         "found %s", opened->name);
    return opened;
}

const char *stage_device(void)
{
    static char device[256];
    if (opened && opened != kernels_cpu())
        return opened->name;
    char line[512], name[200] = "CPU";
    /* Ask for the name of the processor */
    FILE *stream = fopen("/proc/cpuinfo", "r");
    while (stream && fgets(line, sizeof line, stream))
        if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(name, sizeof name, "%s",
                     strchr(line, ':') + 1 + strspn(strchr(line, ':') + 1, " "));
            break;
        }
    if (stream)
        fclose(stream);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(device, sizeof device, "%s, %ld core%s", name, cores,
             cores == 1 ? "" : "s");
    return device;
}
