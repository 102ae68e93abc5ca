/* Ranks without MPI: processes that are forked off a test and speak through pairs of sockets. mesh_start forks them, and
   each runs body as one of them; mesh_wait is whether all came to its end. The test itself must not have used OpenMP's
   threads, which do not survive a fork. A rank checks by `must`, for cmocka's assertions belong to the test. */
#ifndef MESH_H
#define MESH_H

#include "ranks.h"

#include <errno.h>
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESH_MOST = 8 };

static int mesh_sockets[MESH_MOST][MESH_MOST]; /* [rank][peer] */
static pid_t mesh_children[MESH_MOST];
static int mesh_count;

static struct wire mesh_wire;

#define must(truth)                                                                              \
    do {                                                                                         \
        if (!(truth)) {                                                                          \
            fprintf(stderr, "%s:%d: rank %d: not so: %s\n", __FILE__, __LINE__, ranks_rank(), #truth); \
            _exit(1);                                                                            \
        }                                                                                        \
    } while (0)

/* A message is its length and its bytes. Both ways go on as each has room, so nobody waits for a peer that waits. */
static void mesh_swap(int to, const void *out, size_t sent, int from, void *in, size_t got)
{
    size_t goes = to < 0 ? 0 : sizeof sent + sent, comes = from < 0 ? 0 : sizeof got + got, gone = 0, come = 0, length;
    char *going = malloc(goes + 1), *coming = malloc(comes + 1);
    if (goes) {
        memcpy(going, &sent, sizeof sent);
        memcpy(going + sizeof sent, sent ? out : "", sent);
    }
    while (gone < goes || come < comes) {
        struct pollfd ends[] = {
            {.fd = gone < goes ? mesh_sockets[mesh_wire.rank][to] : -1, .events = POLLOUT},
            {.fd = come < comes ? mesh_sockets[mesh_wire.rank][from] : -1, .events = POLLIN},
        };
        must(poll(ends, 2, 60000) > 0);
        ssize_t n = ends[0].revents ? send(ends[0].fd, going + gone, goes - gone, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        must(n >= 0 || errno == EAGAIN);
        gone += n > 0 ? (size_t)n : 0;
        n = ends[1].revents ? recv(ends[1].fd, coming + come, comes - come, MSG_DONTWAIT) : -1;
        must(n > 0 || (n < 0 && (!ends[1].revents || errno == EAGAIN)));
        come += n > 0 ? (size_t)n : 0;
    }
    if (comes) {
        memcpy(&length, coming, sizeof length);
        must(length == got); /* what one sends, the other must want */
        if (got)
            memcpy(in, coming + sizeof got, got);
    }
    free(going);
    free(coming);
}

static void mesh_close(void) {}

static void mesh_start(int count, void (*body)(void *context), void *context)
{
    fflush(NULL);
    mesh_count = count;
    for (int a = 0; a < count; a++)
        for (int b = 0, pair[2]; b < a; b++) {
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
                abort();
            mesh_sockets[a][b] = pair[0];
            mesh_sockets[b][a] = pair[1];
        }
    for (int rank = 0; rank < count; rank++)
        if ((mesh_children[rank] = fork()) == 0) {
            mesh_wire = (struct wire){rank, count, 0, 1, mesh_swap, mesh_close};
            omp_set_num_threads(1);
            if (count > 1)
                ranks_join(&mesh_wire);
            body(context);
            fflush(NULL);
            _exit(0);
        }
    for (int a = 0; a < count; a++)
        for (int b = 0; b < count; b++)
            if (a != b)
                close(mesh_sockets[a][b]);
}

static bool mesh_wait(void)
{
    bool good = true;
    for (int rank = 0, status; rank < mesh_count; rank++)
        good &= waitpid(mesh_children[rank], &status, 0) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return good;
}

static bool mesh_run(int count, void (*body)(void *context), void *context)
{
    mesh_start(count, body, context);
    return mesh_wait();
}

/* mesh_memory: zeros that the ranks and the test have in common. */
static inline void *mesh_memory(size_t bytes)
{
    FILE *file = tmpfile();
    bool given = file && ftruncate(fileno(file), (off_t)bytes) == 0;
    void *memory = given ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0) : MAP_FAILED;
    if (memory == MAP_FAILED)
        abort();
    fclose(file);
    return memory;
}

/* What rank r has at i: sums of such numbers show in what order they were made. */
static float mesh_number(int rank, size_t i)
{
    unsigned x = (unsigned)i * 2654435761u + (unsigned)rank * 40503u + 12345u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    float sizes[] = {1e-4f, 1, 1e4f};
    return ((float)(x >> 8) / (1 << 23) - 1) * sizes[x % 3];
}

/* mesh_total: the sum of what so many ranks have at i, in their order. */
static float mesh_total(int count, size_t i)
{
    float sum = mesh_number(0, i);
    for (int rank = 1; rank < count; rank++)
        sum += mesh_number(rank, i);
    return sum;
}

#endif
