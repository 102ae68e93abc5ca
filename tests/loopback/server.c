/* A web server for tests/data.sh, on the loopback interface: server ROOT LOG PATIENCE.
   Prints its port, serves the files below ROOT until it is killed, and notes each request in LOG as
   "METHOD PATH FIRST-BYTE". What the first folder of a path is called says how it behaves:

   /plain/…    as a server should
   /slow/…     in small pieces, with a pause after each
   /cut/…      stops in the middle of what is left, and closes
   /stall/…    sends one half and then no more, but leaves the connection open for PATIENCE seconds
   /mute/…     takes the request and says nothing for PATIENCE seconds
   /whole/…    knows no ranges: always sends all
   /hole/…     knows no ranges, and stops in the middle
   /wrong/…    sends the file with one byte changed
   /page/…     sends a page with an apology, status 200
   /moved/…    says that it is at /plain/… now
   /busy/…     is unavailable, status 503
   /soon/…     asks for patience, status 429, of a second; later as a server should
   /date/…     the same, status 503, until a date
   /never/…    asks for an hour of it */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void answer(FILE *out, const char *status, const char *headers, const char *body)
{
    fprintf(out, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, headers,
            strlen(body), body);
}

/* send_bytes: bytes first .. last-1 of the file, as the behaviour wants it */
static void send_bytes(FILE *out, const char *how, FILE *file, long first, long last)
{
    int pieces = strcmp(how, "slow") == 0 ? 20 : 1;
    if (!strcmp(how, "cut") || !strcmp(how, "hole") || !strcmp(how, "stall"))
        last = first + (last - first + 1) / 2;
    for (long at = first; at < last; at++) {
        int byte = fseek(file, at, SEEK_SET) ? EOF : getc(file);
        putc(!strcmp(how, "wrong") && at == 3 ? byte ^ 1 : byte, out);
        if (pieces > 1 && (at - first) % ((last - first) / pieces + 1) == 0) {
            fflush(out);
            usleep(100000);
        }
    }
}

/* ask_for_patience: with a file beside the served one, which says that it was asked for; false if it was before */
static int ask_for_patience(FILE *out, const char *how, const char *full)
{
    char marker[2200], header[200];
    snprintf(marker, sizeof marker, "%s.%s", full, how);
    if (strcmp(how, "never") && access(marker, F_OK) == 0)
        return 0;
    FILE *file = fopen(marker, "w");
    if (file)
        fclose(file);
    time_t then = time(NULL) + 2;
    strftime(header, sizeof header, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(&then));
    if (!strcmp(how, "date"))
        answer(out, "503 Service Unavailable", header, "later\n");
    else
        answer(out, "429 Too Many Requests", !strcmp(how, "soon") ? "retry-after: 1\r\n" : "Retry-After: 3600\r\n", "later\n");
    return 1;
}

static void serve(FILE *out, const char *root, const char *path, long first, unsigned patience)
{
    char how[16] = "", name[1000] = "", full[2100];
    sscanf(path, "/%15[^/]/%999s", how, name);
    snprintf(full, sizeof full, "%s/%s", root, name);
    FILE *file = fopen(full, "rb");
    struct stat state = {0};
    if (!strcmp(how, "mute")) {
        sleep(patience);
    } else if (!strcmp(how, "page")) {
        answer(out, "200 OK", "Content-Type: text/html\r\n", "<!DOCTYPE html><html><body>Please log in.</body></html>\n");
    } else if ((!strcmp(how, "soon") || !strcmp(how, "date") || !strcmp(how, "never")) && ask_for_patience(out, how, full)) {
        return;
    } else if (!strcmp(how, "busy")) {
        answer(out, "503 Service Unavailable", "", "busy\n");
    } else if (!strcmp(how, "moved")) {
        char where[1100];
        snprintf(where, sizeof where, "Location: /plain/%s\r\n", name);
        answer(out, "302 Found", where, "moved\n");
    } else if (!file || stat(full, &state) != 0 || !S_ISREG(state.st_mode)) {
        answer(out, "404 Not Found", "", "no such file\n");
    } else {
        long size = (long)state.st_size;
        if (!strcmp(how, "whole") || !strcmp(how, "hole"))
            first = 0;
        if (first >= size && first) {
            answer(out, "416 Range Not Satisfiable", "", "");
            return;
        }
        if (first)
            fprintf(out, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %ld-%ld/%ld\r\n", first, size - 1, size);
        else
            fprintf(out, "HTTP/1.1 200 OK\r\n");
        fprintf(out, "Content-Length: %ld\r\nConnection: close\r\n\r\n", size - first);
        send_bytes(out, how, file, first, size);
        fflush(out);
        if (!strcmp(how, "stall"))
            sleep(patience);
    }
}

/* converse: reads one request from the socket and answers it */
static void converse(int socket, const char *root, const char *log, unsigned patience)
{
    FILE *in = fdopen(socket, "rb"), *out = fdopen(dup(socket), "wb"), *notes = fopen(log, "a");
    char line[2000], method[16] = "", path[1100] = "";
    long first = 0;
    if (fgets(line, sizeof line, in))
        sscanf(line, "%15s %1099s", method, path);
    while (fgets(line, sizeof line, in) && line[0] != '\r')
        sscanf(line, "Range: bytes=%ld-", &first);
    fprintf(notes, "%s %s %ld\n", method, path, first);
    fclose(notes);
    serve(out, root, path, first, patience);
    fclose(out);
    fclose(in);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: server ROOT LOG PATIENCE\n", stderr);
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    if (bind(listening, (struct sockaddr *)&address, size) != 0 || listen(listening, 16) != 0
        || getsockname(listening, (struct sockaddr *)&address, &size) != 0)
        die("server");
    printf("%d\n", ntohs(address.sin_port));
    fclose(stdout);
    for (;;) {
        int socket = accept(listening, NULL, NULL);
        if (socket < 0)
            continue;
        if (fork() == 0) {
            close(listening);
            converse(socket, argv[1], argv[2], (unsigned)atoi(argv[3]));
            exit(0);
        }
        close(socket);
    }
}
