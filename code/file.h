/* Tangled from chapters/64-helpers.md; edit there. */
#ifndef FILE_H
#define FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* file_read: the whole file, with a NUL after its last byte, for the caller to free;
   its length without the NUL goes to *size unless size is NULL. A named pipe to which
   nobody writes within a second is empty. Fails, naming path, if it cannot be read, and
   if it is a pipe or a device and has more than 64 MB. */
char *file_read(const char *path, size_t *size);

/* file_text: the same of a text in UTF-8, less the mark of byte order that some editors
   put first. Fails, naming path and line, at a byte of zero. */
char *file_text(const char *path, size_t *size);

/* file_exists: whether path names a file or folder that can be read. */
bool file_exists(const char *path);

/* file_make_folder: makes the folder and its missing parents; no harm if it is
   there. */
void file_make_folder(const char *path);

/* A file being written. It takes its name only when it is committed; if the program
   ends before, nothing of it remains. */
struct file_writer;

/* file_create: starts a file that shall become path; makes missing folders. Fails,
   naming path. */
struct file_writer *file_create(const char *path);

/* file_stream: where to write it, binary; owned by the writer. */
FILE *file_stream(struct file_writer *writer);

/* file_commit: forces the bytes to the disk, renames the file to its path and frees the
   writer. Fails if any write had failed (a full disk, say), and then leaves an older
   file at path alone. */
void file_commit(struct file_writer *writer);

#endif
