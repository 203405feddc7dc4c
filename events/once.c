// SPDX-License-Identifier: Apache-2.0
#include "events/once.h"

#include "contracts/wire.h"
#include "events/base/fault.h"
#include "events/once_sql.h"

enum { MESSAGE_MAX = 64 << 20 };
#define TOKEN_MAX ((INT64_C(1) << 53) - 1)

static bool unhex(struct view text, uint8_t out[static SHA256_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    if (text.n != 2 * SHA256_SIZE)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = memchr(digits, text.p[i], 16);
        if (at == NULL)
            return false;
        const uint8_t high = (uint8_t)(i % 2 ? out[i / 2] << 4 : 0);
        out[i / 2] = (uint8_t)(high | (at - digits));
    }
    return true;
}

/* The message as we pack it: JSON and protobuf of the same request are the same. */
static int digest(struct once *once, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;
    const struct request *request = once->request;

    buf_init(&b, MESSAGE_MAX);
    buf_puts(&b, request->def->subject);
    buf_putc(&b, '\n');
    if (wire_encode(request->message, &b, err) < 0)
        return -1;
    sha256(bytes_of(buf_view(&b)), once->digest);
    return 0;
}

int once_read(const struct request *request, struct once *ret, struct err *err)
{
    const char *header = request_header(request, "Echora-Idem");
    struct view rest = view_of(header), key = {0};

    *ret = (struct once){.request = request};
    if (header == NULL || FAULT("reply-not-kept"))
        return 0;
    if (!view_split(&rest, ':', &key) || !unhex(key, ret->key) ||
        !view_to_i64(rest, 1, TOKEN_MAX, &ret->token))
        return err_set(err, ERR_REJECT, "bad-request", "read request",
                       "Echora-Idem is <64 lower-case hex digits>:<token from 1>");
    ret->asked = true;
    return digest(ret, err);
}

int once_check(const struct once *once, bool same, int64_t token, struct err *err)
{
    if (!same)
        return err_set(err, ERR_REJECT, "idempotency-conflict", "look for reply",
                       "another request was answered under this key");
    if (once->token < token && !FAULT("stale-token-served"))
        return err_set(err, ERR_RETRY, "stale-token", "look for reply",
                       "who has claimed the key after this one has asked already: %lld, not %lld",
                       (long long)token, (long long)once->token);
    return 0;
}

int once_find(struct pg *pg, const struct once *once, ProtobufCMessage **ret_kept, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    const struct pg_param params[] = {pg_bytea((struct bytes){once->key, sizeof(once->key)}),
                                      pg_bytea((struct bytes){once->digest, sizeof(once->digest)}),
                                      pg_i64(once->token)};

    *ret_kept = NULL;
    if (!once->asked)
        return 0;
    if (pg_query(pg, &sql_once_find, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    if (PQntuples(r) == 0)
        return 0;
    if (once_check(once, pg_get_bool(r, 0, 0), pg_get_i64(r, 0, 1), err) < 0)
        return -1;
    return wire_decode(once->request->def->reply, pg_get_bytea(r, 0, 3), WIRE_DECODE_MAX_DEFAULT,
                       once->request->arena, ret_kept, err);
}

int once_begin(struct pg *pg, const struct once *once, ProtobufCMessage **ret_kept, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    const struct pg_param params[] = {pg_bytea((struct bytes){once->key, sizeof(once->key)}),
                                      pg_text(view_of(once->request->def->subject)),
                                      pg_bytea((struct bytes){once->digest, sizeof(once->digest)}),
                                      pg_i64(once->token)};

    *ret_kept = NULL;
    if (!once->asked)
        return 0;
    if (pg_query(pg, &sql_once_claim, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    return PQntuples(r) > 0 ? 0 : once_find(pg, once, ret_kept, err);
}

int once_drop(struct pg *pg, const struct once *once, struct err *err)
{
    const struct pg_param key = pg_bytea((struct bytes){once->key, sizeof(once->key)});

    return once->asked ? pg_query(pg, &sql_once_drop, &key, 1, NULL, err) : 0;
}

int once_keep(struct pg *pg, const struct once *once, int status, const ProtobufCMessage *reply,
              struct err *err)
{
    CLEANUP(buf_deinit) struct buf b;

    buf_init(&b, MESSAGE_MAX);
    if (!once->asked)
        return 0;
    if (wire_encode(reply, &b, err) < 0)
        return -1;
    const struct pg_param params[] = {pg_bytea((struct bytes){once->key, sizeof(once->key)}),
                                      pg_i32(status), pg_bytea(bytes_of(buf_view(&b)))};
    return pg_query(pg, &sql_once_keep, params, ARRAY_LEN(params), NULL, err);
}

int once_forget(struct pg *pg, struct err *err)
{
    return pg_query(pg, &sql_once_forget, NULL, 0, NULL, err);
}
