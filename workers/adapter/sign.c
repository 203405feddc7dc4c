// SPDX-License-Identifier: Apache-2.0
#include "workers/adapter/sign.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <unistd.h>

#include "events/base/buf.h"

#define FILE_MAX 4096
#define KEY_LEAST 24
#define DIGEST 32
/* id.timestamp. in front of the body */
#define SIGNED_MAX ((size_t)64 << 10)

bool secret_parse(struct view text, struct secret *ret)
{
    static const char prefix[] = "whsec_";
    struct view base64 = text;
    uint8_t key[SECRET_TEXT_MAX];

    if (text.n == 0 || text.n >= sizeof(ret->text))
        return false;
    if (view_starts_with(text, prefix))
        base64 = (struct view){text.p + sizeof(prefix) - 1, text.n - (sizeof(prefix) - 1)};
    const int n = EVP_DecodeBlock(key, (const uint8_t *)base64.p, (int)base64.n);
    size_t padding = 0;
    while (padding < 2 && padding < base64.n && base64.p[base64.n - 1 - padding] == '=')
        padding++;
    if (n < 0 || (size_t)n < padding + KEY_LEAST || (size_t)n - padding > sizeof(ret->key))
        return false;
    /* Receivers refuse bits behind the key; so that both sides read the same secret or none. */
    uint8_t again[SECRET_TEXT_MAX];
    if (EVP_EncodeBlock(again, key, n - (int)padding) != (int)base64.n ||
        memcmp(again, base64.p, base64.n) != 0)
        return false;
    *ret = (struct secret){.n_key = (size_t)n - padding};
    memcpy(ret->key, key, ret->n_key);
    memcpy(ret->text, text.p, text.n);
    return true;
}

static int read_file(const char *path, struct secrets *ret, struct err *err)
{
    char content[FILE_MAX];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof(content));
    struct view rest = {content, n > 0 ? (size_t)n : 0}, line;

    if (fd >= 0)
        close(fd);
    if (n < 0 || n == (ssize_t)sizeof(content))
        return err_set(err, ERR_FATAL, "config", "read secrets", "%s can't be read, or is too long",
                       path);
    for (unsigned number = 1; view_split(&rest, '\n', &line); number++) {
        line = view_trim(line);
        if (line.n == 0)
            continue;
        if (ret->n == SECRETS_MAX)
            return err_set(err, ERR_FATAL, "config", "read secrets", "more than %d secrets",
                           SECRETS_MAX);
        if (!secret_parse(line, &ret->list[ret->n]))
            return err_set(err, ERR_FATAL, "config", "read secrets",
                           "%s, line %u: no secret; one is whsec_ and base64 of 24 to 64 bytes",
                           path, number);
        ret->n++;
    }
    return 0;
}

int secrets_read(const char *files, struct secrets *ret, struct err *err)
{
    struct secrets found = {.n = 0};
    struct view rest = view_of(files), one;
    char path[1024];

    while (view_split(&rest, ',', &one)) {
        one = view_trim(one);
        if (one.n == 0)
            continue;
        if (one.n >= sizeof(path))
            return err_set(err, ERR_FATAL, "config", "read secrets", "a path is too long");
        snprintf(path, sizeof(path), "%.*s", VIEW_ARG(one));
        if (read_file(path, &found, err) < 0)
            return -1;
    }
    *ret = found;
    return 0;
}

static int hmac(struct bytes key, struct view text, uint8_t out[static DIGEST], struct err *err)
{
    unsigned n = DIGEST;

    if (HMAC(EVP_sha256(), key.p, (int)key.n, (const uint8_t *)text.p, text.n, out, &n) == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "sign webhook", "out of memory");
    return 0;
}

int sign_standard(const struct secrets *secrets, const char *id, int64_t seconds, struct view body,
                  char out[static SIGNATURES_MAX], struct err *err)
{
    struct buf text CLEANUP(buf_deinit) = {.max = SIGNED_MAX};
    size_t at = 0;

    buf_printf(&text, "%s.%lld.", id, (long long)seconds);
    buf_append_view(&text, body);
    if (buf_failed(&text))
        return buf_error(&text, "sign webhook", "the body", err);
    for (size_t i = 0; i < secrets->n; i++) {
        const struct secret *s = &secrets->list[i];
        uint8_t digest[DIGEST];

        if (hmac((struct bytes){s->key, s->n_key}, buf_view(&text), digest, err) < 0)
            return -1;
        at += (size_t)snprintf(out + at, SIGNATURES_MAX - at, "%sv1,", i > 0 ? " " : "");
        at += (size_t)EVP_EncodeBlock((uint8_t *)out + at, digest, DIGEST);
    }
    out[at] = '\0';
    return 0;
}

int sign_256(struct view secret, struct view body, char out[static SIGNATURE_256_MAX],
             struct err *err)
{
    static const char start[] = "sha256=";
    uint8_t digest[DIGEST];

    if (hmac(bytes_of(secret), body, digest, err) < 0)
        return -1;
    memcpy(out, start, sizeof(start));
    for (size_t i = 0; i < DIGEST; i++)
        snprintf(out + sizeof(start) - 1 + 2 * i, 3, "%02x", digest[i]);
    return 0;
}
