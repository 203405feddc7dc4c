// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/idempotency.h"

#include <stdio.h>
#include <stdlib.h>

#include "events/base/buf.h"
#include "events/base/fault.h"
#include "workers/command_api/lua.h"

enum { KEY_MAX = 255, PATH_BYTES_MAX = 256, QUERY_PARTS = 64, OWNER_BYTES = 16 };

#define KEEP_MS "2592000000" /* 30 days */
/* A day: by then no earlier owner is heard of any more, and who fails at its full rate for a month
 * would leave more than Redis has room for. */
#define RELEASED_MS "86400000"
#define TEXT_OF(number) #number
#define LEASE_TEXT(ms) TEXT_OF(ms)

static bool is_key_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
}

bool idem_key_parse(struct view value, struct view *ret)
{
    struct view key = value;

    if (key.n >= 2 && key.p[0] == '"' && key.p[key.n - 1] == '"')
        key = (struct view){key.p + 1, key.n - 2};
    if (key.n < 1 || key.n > KEY_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if (!is_key_char(key.p[i]))
            return false;
    *ret = key;
    return true;
}

static void hex(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static void sha256_hex(struct view text, char out[static 2 * SHA256_SIZE + 1])
{
    uint8_t digest[SHA256_SIZE];

    sha256(bytes_of(text), digest);
    hex(digest, sizeof(digest), out);
}

bool idem_key_make(struct view client, struct view path, struct view key, struct idem_key *ret)
{
    char client_hash[2 * SHA256_SIZE + 1], key_hash[2 * SHA256_SIZE + 1];

    if (path.n > PATH_BYTES_MAX)
        return false;
    sha256_hex(client, client_hash);
    sha256_hex(key, key_hash);
    snprintf(ret->redis, sizeof(ret->redis), "echora:idem:v1:%s:%.*s:%s", client_hash,
             VIEW_ARG(path), key_hash);
    sha256_hex(view_of(ret->redis), ret->hash);
    return true;
}

static int compare_views(const void *a, const void *b)
{
    const struct view *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;
    const int order = n > 0 ? memcmp(x->p, y->p, n) : 0;

    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

static bool put_sorted_query(struct buf *b, struct view query)
{
    struct view parts[QUERY_PARTS], rest = query;
    size_t n = 0;

    while (query.n > 0 && rest.p != NULL) {
        if (n == QUERY_PARTS || !view_split(&rest, '&', &parts[n]))
            return false;
        n++;
    }
    qsort(parts, n, sizeof(parts[0]), compare_views);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(b, '&');
        buf_append_view(b, parts[i]);
    }
    return true;
}

static void put_media_type(struct buf *b, struct view type)
{
    struct view rest = type, name = {0};

    (void)view_split(&rest, ';', &name);
    name = view_trim(name);
    for (size_t i = 0; i < name.n; i++) {
        const char c = name.p[i];

        buf_putc(b, c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c);
    }
}

bool idem_fingerprint(const struct idem_request *request, char out[static IDEM_FINGERPRINT_SIZE])
{
    CLEANUP(buf_deinit) struct buf b;

    buf_init(&b, request->body.n + request->query.n + request->path.n + request->media_type.n + 64);
    buf_append_view(&b, request->method);
    buf_putc(&b, '\n');
    buf_append_view(&b, request->path);
    buf_putc(&b, '\n');
    if (!put_sorted_query(&b, request->query))
        return false;
    buf_putc(&b, '\n');
    put_media_type(&b, request->media_type);
    buf_putc(&b, '\n');
    buf_append_view(&b, request->body);
    if (buf_failed(&b))
        return false;
    sha256_hex(buf_view(&b), out);
    return true;
}

void idem_begun_deinit(struct idem_begun *b)
{
    redis_values_deinit(&b->values);
}

/* The script's words, in the order of enum idem_outcome. */
static bool read_begun(struct idem_begun *b)
{
    static const char *const words[] = {"new", "takeover", "mismatch", "replay", "busy"};
    const struct redis_value *v = b->values.items;
    size_t i = 0;

    while (b->values.n > 0 && i < ARRAY_LEN(words) && !view_is(v[0].text, words[i]))
        i++;
    b->outcome = (enum idem_outcome)i;
    switch (b->outcome) {
    case IDEM_NEW:
    case IDEM_TAKEOVER:
        b->claim.token = b->values.n == 2 ? v[1].number : 0;
        return b->claim.token > 0;
    case IDEM_MISMATCH:
        return true;
    case IDEM_REPLAY:
        if (b->values.n != 5)
            return false;
        b->answer = (struct idem_answer){v[1].number, v[2].text, v[3].text, v[4].text};
        return true;
    case IDEM_BUSY:
        b->busy_ms = b->values.n == 2 ? v[1].number : 0;
        return b->busy_ms > 0;
    }
    return false;
}

int idem_begin(struct redis *r, const struct idem_key *key, const char *fingerprint,
               struct idem_begun *ret, struct err *err)
{
    struct idem_begun b = {0};
    uint8_t owner[OWNER_BYTES];

    random_bytes(owner, sizeof(owner));
    hex(owner, sizeof(owner), b.claim.owner);
    const struct view args[] = {
        FAULT("fingerprint-unchecked") ? VIEW_LIT("any") : view_of(fingerprint),
        view_of(b.claim.owner), VIEW_LIT(LEASE_TEXT(IDEM_LEASE_MS)), VIEW_LIT(KEEP_MS)};
    if (redis_eval(r, &lua_idem_begin, view_of(key->redis), args, ARRAY_LEN(args), &b.values, err) <
        0)
        return -1;
    if (!read_begun(&b)) {
        idem_begun_deinit(&b);
        return err_set_dep(err, ERR_RETRY, DEP_REDIS, "redis-reply", "begin",
                           "what is kept under this key can't be read");
    }
    *ret = b;
    return 0;
}

static int eval_kept(struct redis *r, const struct redis_script *script, const struct idem_key *key,
                     const struct view args[], size_t n, bool *ret_kept, struct err *err)
{
    struct redis_values values;

    if (redis_eval(r, script, view_of(key->redis), args, n, &values, err) < 0)
        return -1;
    *ret_kept = values.n == 1 && values.items[0].number == 1;
    redis_values_deinit(&values);
    return 0;
}

struct token_text {
    char text[24];
};

static struct token_text token_text(const struct idem_claim *claim)
{
    struct token_text t;

    snprintf(t.text, sizeof(t.text), "%lld", (long long)claim->token);
    return t;
}

int idem_renew(struct redis *r, const struct idem_key *key, const struct idem_claim *claim,
               bool *ret_kept, struct err *err)
{
    const struct token_text token = token_text(claim);
    const struct view args[] = {view_of(claim->owner), view_of(token.text),
                                VIEW_LIT(LEASE_TEXT(IDEM_LEASE_MS))};

    return eval_kept(r, &lua_idem_renew, key, args, ARRAY_LEN(args), ret_kept, err);
}

int idem_finish(struct redis *r, const struct idem_key *key, const struct idem_claim *claim,
                const struct idem_answer *answer, bool *ret_kept, struct err *err)
{
    const struct token_text token = token_text(claim);
    char status[24];

    if (answer->body.n > IDEM_BODY_MAX)
        return err_set(err, ERR_REJECT, "too-large", "finish", "the answer's body has %zu bytes",
                       answer->body.n);
    snprintf(status, sizeof(status), "%lld", (long long)answer->status);
    const struct view args[] = {
        view_of(claim->owner), view_of(token.text),
        view_of(status),       answer->type,
        answer->location,      answer->body,
        VIEW_LIT(KEEP_MS),     FAULT("finish-unfenced") ? VIEW_LIT("") : VIEW_LIT("fenced")};
    return eval_kept(r, &lua_idem_finish, key, args, ARRAY_LEN(args), ret_kept, err);
}

int idem_release(struct redis *r, const struct idem_key *key, const struct idem_claim *claim,
                 bool *ret_kept, struct err *err)
{
    const struct token_text token = token_text(claim);
    const struct view args[] = {view_of(claim->owner), view_of(token.text), VIEW_LIT(RELEASED_MS)};

    return eval_kept(r, &lua_idem_release, key, args, ARRAY_LEN(args), ret_kept, err);
}
