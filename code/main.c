/* Tangled from chapters/62-commands.md; edit there. */
/* Declare the commands */
#include <stdio.h>
#include <string.h>

int artifact_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int distill_main(int argc, char **argv);
int due_main(int argc, char **argv);
int evaluate_main(int argc, char **argv);
int finetune_main(int argc, char **argv);
int gradients_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int plan_main(int argc, char **argv);
int left_main(int argc, char **argv);
int live_main(int argc, char **argv);
int pretrain_main(int argc, char **argv);
int results_main(int argc, char **argv);
int tokenize_main(int argc, char **argv);
int toyland_main(int argc, char **argv);
int verdicts_main(int argc, char **argv);
int verify_main(int argc, char **argv);

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *purpose;
} commands[] = {
    /* List the commands */
    {"toyland", toyland_main, "generate the language of the mini profile"},
    {"tokenize", tokenize_main, "print the token ids of lines"},
    {"pretrain", pretrain_main, "make a teacher: adopt one, train its head, or all of it"},
    {"distill", distill_main, "make a student and distil the teacher into it"},
    {"finetune", finetune_main, "train a model on a task and predict its development set"},
    {"evaluate", evaluate_main, "predict a task's development set with a fine-tuned model"},
    {"plan", plan_main, "print the stages of a run, or the rules by which make runs them"},
    {"left", left_main, "say before a stage how much of its run is left"},
    {"results", results_main, "compute scores, retention, tables and values from a run"},
    {"verdicts", verdicts_main, "print what a run says of each claim: PASS or FAIL"},
    {"verify", verify_main, "hold a run to its own records, and compute its numbers again"},
    {"live", live_main, "write down what a run has come to so far, for a page"},
    {"due", due_main, "say why a stage is due, if it is"},
    {"artifact", artifact_main, "put a finished run into a folder, for a grader"},
    {"bench", bench_main, "measure latency, and the throughput of distillation"},
    {"inspect", inspect_main, "write down what a model computes for some sequences"},
    {"gradients", gradients_main, "write down what a student would learn from a batch"},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* Tell what there is to command */
static int tell(FILE *stream, int status)
{
    fprintf(stream, "usage: distil COMMAND [OPTION VALUE …]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].purpose);
    fprintf(stream, "\ndistil COMMAND --help tells more.\n");
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return tell(stderr, 2);
    if (!strcmp(argv[1], "--help"))
        return tell(stdout, 0);
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].main(argc - 1, argv + 1);
    fprintf(stderr, "distil: %s: is not a command\n\n", argv[1]);
    return tell(stderr, 2);
}
