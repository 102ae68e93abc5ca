/* Tangled from chapters/66-writing.md; edit there. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: placed PLACES COMMAND...\n"
    "Runs COMMAND, and where it speaks of a line of a tangled file on its standard\n"
    "error, adds the line of the chapter. PLACES: the table of tangle --places.\n"
    "Exits as COMMAND does.\n";

/* Look a place up */
static const char *places; /* the path of the table */

/* place_say: says where line number of the file is from, if the table knows. */
static void place_say(const char *file, long number)
{
    static char said[600]; /* last, and not twice in a row */
    char line[1000], place[600];
    FILE *table = fopen(places, "r");
    /* Say the place if the row has it */
    while (table && fgets(line, sizeof line, table)) {
        char name[200], chapter[200];
        long row, written;
        if (sscanf(line, "%199s %ld %199s %ld", name, &row, chapter, &written) != 4 ||
            row != number || strcmp(name, file))
            continue;
        snprintf(place, sizeof place, "%s:%ld: is line %ld of %s\n", chapter, written,
                 number, file);
        if (strcmp(place, said))
            fputs(place, stderr);
        memcpy(said, place, sizeof said);
        break;
    }
    if (table)
        fclose(table);
}
/* Find what is said of files */
/* place_at: looks up what is said at text, which begins with the name of a folder. */
static void place_at(const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
    size_t length = strspn(text, plain);
    const char *after = text + length + strspn(text + length, "\":, ");
    char file[200], *end;
    if (!strncmp(after, "line ", 5))
        after += 5;
    long number = isdigit((unsigned char)*after) ? strtol(after, &end, 10) : 0;
    if (!number || *end != ':' || length >= sizeof file)
        return;
    snprintf(file, sizeof file, "%.*s", (int)length, text);
    place_say(file, number);
}

static void line_read(const char *line)
{
    for (const char *c = line; *c; c++)
        if ((c == line || !isalnum((unsigned char)c[-1])) &&
            (!strncmp(c, "code/", 5) || !strncmp(c, "figures/", 8)))
            place_at(c);
}
/* Start a command whose messages are read */
static bool same_file(int a, int b)
{
    struct stat one, other;
    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

enum { TERMINAL = 9 }; /* a shell can name no descriptor above */

static void command_become(char **command, int pipe)
{
    if (isatty(STDERR_FILENO) && dup2(STDERR_FILENO, TERMINAL) == TERMINAL) {
        setenv("DISTIL_STDERR", "9", 1);
    } else {
        unsetenv("DISTIL_STDERR");
        if (same_file(STDOUT_FILENO, STDERR_FILENO))
            dup2(pipe, STDOUT_FILENO);
    }
    dup2(pipe, STDERR_FILENO);
    close(pipe);
    setenv("DISTIL_PLACED", "1", 1);
    execvp(command[0], command);
    fprintf(stderr, "placed: %s: %s\n", command[0], strerror(errno));
    _exit(127);
}
/* Pass signals on */
static pid_t child;

static void pass_on(int signal)
{
    kill(child, signal);
}

static void signals_pass(void)
{
    struct sigaction ignored = { .sa_handler = SIG_IGN };
    struct sigaction passed = { .sa_handler = pass_on, .sa_flags = SA_RESTART };
    sigaction(SIGINT, &ignored, NULL);
    sigaction(SIGQUIT, &ignored, NULL);
    sigaction(SIGTERM, &passed, NULL);
    sigaction(SIGHUP, &passed, NULL);
}
/* Pass messages on */
/* message_pass: passes on what there is to read; false: there is no more. */
static bool message_pass(int pipe)
{
    static char line[1000];
    static size_t length;
    char bytes[4096];
    ssize_t count = read(pipe, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR)
        return true;
    /* Pass bytes on and read whole lines */
    for (ssize_t i = 0, begin = 0; i < count; i++) {
        if (length < sizeof line - 1)
            line[length++] = bytes[i];
        if (bytes[i] != '\n' && i + 1 < count)
            continue;
        fwrite(bytes + begin, 1, (size_t)(i + 1 - begin), stderr);
        begin = i + 1;
        if (bytes[i] != '\n')
            continue;
        line[length] = 0;
        length = 0;
        line_read(line);
    }
    fflush(stderr);
    return count > 0;
}
/* Place the messages of a command */
/* command_follow: passes on what is said until the command has ended; its status. */
static int command_follow(int pipe)
{
    struct pollfd look = { .fd = pipe, .events = POLLIN };
    int status, ended = 0;
    for (;;) {
        int ready = poll(&look, 1, ended ? 0 : 100);
        if (ready > 0 && !message_pass(pipe))
            break;
        if (ready == 0 && ended)
            return status;
        if (!ended)
            ended = waitpid(child, &status, WNOHANG) == child;
    }
    while (!ended && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}
int main(int argc, char **argv)
{
    int ends[2];
    if (argc < 3) {
        fputs(usage, stderr);
        return 2;
    }
    places = argv[1];
    /* Step aside under another */
    if (getenv("DISTIL_PLACED")) {
        if (fcntl(TERMINAL, F_GETFD) < 0)
            unsetenv("DISTIL_STDERR");
        execvp(argv[2], argv + 2);
    }
    if (pipe2(ends, O_CLOEXEC) || (child = fork()) < 0) {
        fprintf(stderr, "placed: %s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    if (!child)
        command_become(argv + 2, ends[1]);
    close(ends[1]);
    signals_pass();
    int status = command_follow(ends[0]);
    /* End by the signal that ended the command */
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}
