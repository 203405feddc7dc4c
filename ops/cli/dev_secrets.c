// SPDX-License-Identifier: Apache-2.0
#include <openssl/crypto.h>
#include <stdlib.h>

#include "events/base/hash.h"
#include "ops/cli/cli.h"
#include "ops/cli/dev_issuer.h"

#define FILE_MAX ((size_t)64 << 10)
#define CLIENTS_MOST 256
#define CLIENT_MAX 128

/* Digests alone: secrets stand nowhere in memory, and comparing takes the same time for all. */
struct dev_secrets {
    size_t n;
    struct {
        char client[CLIENT_MAX + 1];
        uint8_t digest[SHA256_SIZE];
    } list[CLIENTS_MOST];
};

static bool is_printable(struct view text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= 0x20 || text.p[i] >= 0x7f)
            return false;
    }
    return text.n > 0;
}

static int add(struct dev_secrets *secrets, struct view line, unsigned number, struct err *err)
{
    struct view secret = line, client;

    (void)view_split(&secret, ' ', &client);
    secret = view_trim(secret);
    if (!is_printable(client) || client.n > CLIENT_MAX || !is_printable(secret))
        return err_set(err, ERR_FATAL, "config", "read secrets",
                       "line %u is no client and its secret, with a blank between", number);
    if (secrets->n == CLIENTS_MOST)
        return err_set(err, ERR_FATAL, "config", "read secrets", "more than %d clients",
                       CLIENTS_MOST);
    for (size_t i = 0; i < secrets->n; i++) {
        if (view_is(client, secrets->list[i].client))
            return err_set(err, ERR_FATAL, "config", "read secrets",
                           "line %u: the client stands there twice", number);
    }
    memcpy(secrets->list[secrets->n].client, client.p, client.n);
    sha256(bytes_of(secret), secrets->list[secrets->n].digest);
    secrets->n++;
    return 0;
}

int dev_secrets_read(const char *path, struct dev_secrets **ret, struct err *err)
{
    struct buf text CLEANUP(buf_deinit) = {.max = 0};
    struct dev_secrets *secrets = NULL;
    struct view rest, line;

    if (cli_read_file(path, FILE_MAX, &text, err) < 0)
        return -1;
    secrets = calloc(1, sizeof(*secrets));
    if (secrets == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "read secrets", "out of memory");
    rest = buf_view(&text);
    for (unsigned number = 1; view_split(&rest, '\n', &line); number++) {
        line = view_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (add(secrets, line, number, err) < 0) {
            dev_secrets_free(secrets);
            return err_wrap(err, "%s", path);
        }
    }
    OPENSSL_cleanse(text.p, text.n);
    if (secrets->n == 0) {
        dev_secrets_free(secrets);
        return err_set(err, ERR_FATAL, "config", "read secrets", "%s names no client", path);
    }
    *ret = secrets;
    return 0;
}

struct dev_secrets *dev_secrets_free(struct dev_secrets *secrets)
{
    free(secrets);
    return NULL;
}

bool dev_secrets_fit(const struct dev_secrets *secrets, struct view client, struct view secret)
{
    uint8_t digest[SHA256_SIZE];

    sha256(bytes_of(secret), digest);
    for (size_t i = 0; i < secrets->n; i++) {
        if (view_is(client, secrets->list[i].client))
            return CRYPTO_memcmp(digest, secrets->list[i].digest, sizeof(digest)) == 0;
    }
    return false;
}
