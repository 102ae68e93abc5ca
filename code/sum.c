/* Tangled from chapters/64-helpers.md; edit there. */
#include "sum.h"
#include "fail.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Sum bytes that come in pieces */
struct summing *sum_begin(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        fail("libcrypto", "does not give a SHA-256");
    return (struct summing *)context;
}

void sum_add(struct summing *summing, const void *bytes, size_t size)
{
    if (EVP_DigestUpdate((EVP_MD_CTX *)summing, bytes, size) != 1)
        fail("libcrypto", "does not sum %zu bytes", size);
}

struct sum sum_end(struct summing *summing)
{
    struct sum sum;
    unsigned char bytes[SUM_DIGITS / 2];
    if (EVP_DigestFinal_ex((EVP_MD_CTX *)summing, bytes, NULL) != 1)
        fail("libcrypto", "does not end a SHA-256");
    EVP_MD_CTX_free((EVP_MD_CTX *)summing);
    for (size_t i = 0; i < sizeof bytes; i++)
        sprintf(sum.digits + 2 * i, "%02x", bytes[i]);
    return sum;
}

struct sum sum_bytes(const void *bytes, size_t size)
{
    struct summing *summing = sum_begin();
    sum_add(summing, bytes, size);
    return sum_end(summing);
}

/* Sum a file */
struct sum sum_file(const char *path)
{
    enum { PIECE = 1 << 20 };
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        fail(path, "is not a file");
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail(path, "cannot be opened: %s", strerror(errno));
    struct summing *summing = sum_begin();
    char *piece = allocate(PIECE, 1);
    for (size_t got; (got = fread(piece, 1, PIECE, stream)) > 0;)
        sum_add(summing, piece, got);
    if (ferror(stream))
        fail(path, "cannot be read: %s", strerror(errno));
    fclose(stream);
    free(piece);
    return sum_end(summing);
}
