/* Tangled from chapters/50-stages.md; edit there. */
#include "stage.h"
#include "fail.h"
#include "ranks.h"
#include "task.h"

#include <ctype.h>
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
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (!strcmp(options[i].option, option))
            return options[i].place;
    return NULL;
}

/* Open a profile and take its name */
static void open_profile(struct stage *stage, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    stage->settings = settings_open(path);
    stage->profile = text_format("%.*s", (int)strcspn(name, "."), name);
}

/* List the keys of each kind of section */
#define OPTIMISER                                                                      \
    " epochs batch accumulate rate warmup schedule beta1 beta2 epsilon decay clip"
#define CORPUS " train validation train-tokens validation-tokens"
#define TEACHING " teachers soft temperature"
#define TRIPLE                                                                         \
    " initial folder layers mlm kl cosine temperature kl-positions kl-divisor"         \
    " cosine-positions cosine-layers pad" OPTIMISER CORPUS

static const char *const kinds[][2] = {
    {"run", "seed jobs checkpoint device data"},
    {"toyland", "paragraphs train dev"},
    {"corpus", "length long" CORPUS},
    {"teacher", "source vocabulary layers width heads inner positions dropout"
                " classifier-dropout initializer pad" OPTIMISER CORPUS},
    {"head", "pad" OPTIMISER CORPUS},
    {"distill", TRIPLE},
    {"student", "from" TRIPLE TEACHING},
    {"finetune", "tasks models extended seeds length stride train-rows dev-rows"
                 OPTIMISER TEACHING},
};

/* Look through the whole profile */
/* The keys that a section may hold; NULL if there is no such section. */
static const char *keys_of(const char *section)
{
    const char *kind = section;
    if (!strncmp(section, "student", 7))
        kind = "student";
    for (const struct task *task = task_list; task->name; task++)
        if (!strcmp(task->name, section))
            kind = "finetune";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i][0], kind))
            return kinds[i][1];
    return NULL;
}

/* Read the options of a stage */
struct stage stage_open(int argc, char **argv, const char *usage, const char *required)
{
    struct stage stage = {.key = "", .seed = -1};
    /* Open the profile that the command line names */
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        }
        if (!strcmp(argv[i], "--ranks") && i + 1 < argc && names(usage, "--ranks"))
            ranks_open((int)whole_number(usage, "--ranks", argv[i + 1]));
        if (!strcmp(argv[i], "--profile") && i + 1 < argc && names(usage, "--profile"))
            open_profile(&stage, argv[i + 1]);
    }
    for (int i = 1; i < argc; i++) {
        char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(option, "--resume") && names(usage, option)) {
            stage.resume = true;
        } else if (!strcmp(option, "--lines") && names(usage, option)) {
            stage.lines = true;
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
            } else if (strchr(option, '.') && stage.settings) {
                settings_override(stage.settings, option + 2, value);
            } else if (strcmp(option, "--ranks") ? strcmp(option, "--profile") || !stage.settings
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
        if (place ? !*place : !strcmp(option, "--seed") ? stage.seed < 0 : !stage.settings)
            misuse(usage, "is required", option);
        r += strlen(option);
        free(option);
    }
    if (stage.settings)
        settings_limit(stage.settings, keys_of);
    return stage;
}

void stage_close(struct stage *stage)
{
    if (stage->settings)
        settings_close(stage->settings);
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
    opened = kernels_open(settings_text(stage->settings, "run", "device"));
    return opened;
}

const char *stage_device(void)
{
    static char device[256];
    if (opened && opened != kernels_cpu())
        return opened->name;
    char line[512], name[200] = "CPU";
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
