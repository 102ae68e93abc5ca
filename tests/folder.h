/* A temporary folder for the files of a test or of a group of tests: folder_make and folder_remove are cmocka's set-up
   and tear-down. Include after cmocka.h. */
#ifndef FOLDER_H
#define FOLDER_H

#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "file.h"

static char folder[32];

static inline int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/distil-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int folder_remove(void **state)
{
    (void)state;
    char *command = text_format("rm -rf '%s'", folder);
    int status = system(command);
    free(command);
    return status;
}

/* folder_path: the path of a file in the folder; folder_put: writes the file as well. For the caller to free. */
static inline char *folder_path(const char *name)
{
    return text_format("%s/%s", folder, name);
}

static inline char *folder_put(const char *name, const char *text)
{
    char *path = folder_path(name);
    struct file_writer *writer = file_create(path);
    fputs(text, file_stream(writer));
    file_commit(writer);
    return path;
}

#endif
