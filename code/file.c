/* Tangled from chapters/64-helpers.md; edit there. */
#include "file.h"
#include "fail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Read a whole file */
enum { DEVICE_LIMIT = 1 << 26, PATIENCE = 1000 /* milliseconds */ };

static FILE *open_without_waiting(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_NONBLOCK);
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    if (descriptor < 0)
        return NULL;
    poll(&wait, 1, PATIENCE);
    if (fcntl(descriptor, F_SETFL, 0) != 0)
        return NULL;
    return fdopen(descriptor, "rb");
}

static bool is_regular(FILE *stream)
{
    struct stat status;
    return fstat(fileno(stream), &status) == 0 && S_ISREG(status.st_mode);
}

char *file_read(const char *path, size_t *size)
{
    FILE *stream = open_without_waiting(path);
    if (!stream)
        fail(path, "cannot be opened: %s", strerror(errno));
    size_t room = 1 << 12, length = 0;
    char *bytes = allocate(room + 1, 1);
    /* Read to the end */
    for (size_t got; (got = fread(bytes + length, 1, room - length, stream)) > 0;) {
        length += got;
        if (length < room)
            continue;
        char *larger = realloc(bytes, (room *= 2) + 1);
        if (!larger)
            fail(path, "is too large for memory at %zu bytes", length);
        bytes = larger;
        if (length > DEVICE_LIMIT && !is_regular(stream))
            fail(path, "gave %zu bytes and is no file that ends", length);
    }
    if (ferror(stream))
        fail(path, "cannot be read: %s", strerror(errno));
    fclose(stream);
    bytes[length] = '\0';
    if (size)
        *size = length;
    return bytes;
}

bool file_exists(const char *path)
{
    return access(path, R_OK) == 0;
}

/* Read a text */
static bool begins(const char *text, size_t length, const char *with)
{
    return length >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

char *file_text(const char *path, size_t *size)
{
    size_t length;
    char *text = file_read(path, &length), *zero = memchr(text, '\0', length);
    if (begins(text, length, "\xFF\xFE") || begins(text, length, "\xFE\xFF"))
        fail(path, "is UTF-16; expected UTF-8");
    /* Refuse a byte of zero */
    if (zero) {
        long line = 1;
        for (const char *c = text; c < zero; c++)
            line += *c == '\n';
        fail(path, "line %ld: holds a byte of zero; expected text in UTF-8", line);
    }
    size_t mark = begins(text, length, "\xEF\xBB\xBF") ? 3 : 0;
    memmove(text, text + mark, length - mark + 1);
    if (size)
        *size = length - mark;
    return text;
}

/* Make a folder and its parents */
void file_make_folder(const char *path)
{
    char *partial = text_format("%s", path);
    for (char *p = partial + 1; ; p++) {
        char end = *p;
        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            fail(partial, "cannot be made a folder: %s", strerror(errno));
        if (end == '\0')
            break;
        *p = '/';
    }
    free(partial);
}

/* Keep a list of the files being written */
struct file_writer {
    FILE *stream;
    char *path, *partial;
    struct file_writer *next;
};

static struct file_writer *writers;
static pthread_mutex_t writers_lock = PTHREAD_MUTEX_INITIALIZER;

/* Remove at the end what was not committed */
static void remove_uncommitted(void)
{
    pthread_mutex_lock(&writers_lock);
    for (struct file_writer *w = writers; w; w = w->next)
        unlink(w->partial);
}

static void remove_at_end(void)
{
    if (atexit(remove_uncommitted) != 0 || at_quick_exit(remove_uncommitted) != 0)
        fail("memory", "is out, and half-written files could not be removed");
}

FILE *file_stream(struct file_writer *writer)
{
    return writer->stream;
}

/* Start a file under a temporary name */
/* Make the folder of a file */
static void make_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return;
    char *folder = text_format("%.*s", (int)(slash - path), path);
    file_make_folder(folder);
    free(folder);
}

struct file_writer *file_create(const char *path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, remove_at_end);
    make_folder_of(path);
    struct file_writer *w = allocate(1, sizeof *w);
    w->path = text_format("%s", path);
    w->partial = text_format("%s.partial", path);
    /* Open the file and put it on the list */
    pthread_mutex_lock(&writers_lock);
    if ((w->stream = fopen(w->partial, "wb"))) {
        w->next = writers;
        writers = w;
    }
    int error = errno;
    pthread_mutex_unlock(&writers_lock);
    if (!w->stream)
        fail(path, "cannot be written: %s", strerror(error));
    return w;
}

/* Commit a file to its name */
/* Store what was written */
static bool store(FILE *stream)
{
    bool stored = !ferror(stream) && fflush(stream) == 0
                  && (fsync(fileno(stream)) == 0 || errno == EINVAL
                      || errno == EROFS);
    int error = errno;
    bool closed = fclose(stream) == 0;
    if (!stored)
        errno = error;
    return stored && closed;
}

void file_commit(struct file_writer *writer)
{
    if (!store(writer->stream) || rename(writer->partial, writer->path) != 0)
        fail(writer->path, "could not be written whole: %s", strerror(errno));
    /* Take the writer off the list */
    pthread_mutex_lock(&writers_lock);
    struct file_writer **w = &writers;
    while (*w != writer)
        w = &(*w)->next;
    *w = writer->next;
    pthread_mutex_unlock(&writers_lock);
    free(writer->path);
    free(writer->partial);
    free(writer);
}
