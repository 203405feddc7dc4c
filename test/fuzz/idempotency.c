/* The value of Idempotency-Key, and what makes two requests the same.
 *
 * Properties: a value is taken exactly when a check written here takes it, and its key lies inside
 * it; the parts of a query count in any order; every name fits. The input is lines: the value, the
 * query, the media type; then the body. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/idempotency.h"
#include "test/fuzz/demand.h"

static bool taken_here(struct view v)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
    const bool quoted = v.n > 0 && v.p[0] == '"';
    const size_t n = quoted ? v.n - 2 : v.n;
    if ((quoted && (v.n < 3 || v.p[v.n - 1] != '"')) || n < 1 || n > 255)
        return false;
    for (size_t i = quoted; i < v.n - quoted; i++)
        if (v.p[i] == '\0' || strchr(allowed, v.p[i]) == NULL)
            return false;
    return true;
}

static void check_key(struct view value)
{
    struct view key;
    struct idem_key made;
    if (!idem_key_parse(value, &key)) {
        demand(!taken_here(value), "a good key is taken", NULL);
        return;
    }
    demand(taken_here(value), "a bad key is refused", NULL);
    demand(key.p >= value.p && key.p + key.n <= value.p + value.n, "the key lies in the value",
           NULL);
    demand(idem_key_make(key, VIEW_LIT("/workflow/build-diff"), key, &made), "a name", NULL);
    demand(strlen(made.hash) == 64 && strlen(made.redis) < sizeof(made.redis) - 1, "it fits", NULL);
}

/* The last part first. */
static struct view turned(struct view query, char *out)
{
    size_t at = query.n;
    while (at > 0 && query.p[at - 1] != '&')
        at--;
    if (at == 0)
        return query;
    const size_t tail = query.n - at;
    memcpy(out, query.p + at, tail);
    out[tail] = '&';
    memcpy(out + tail + 1, query.p, at - 1);
    return (struct view){out, query.n};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char room[1 << 20];
    struct view rest = {(const char *)data, size}, value = {0}, query = {0}, type = {0};
    char one[IDEM_FINGERPRINT_SIZE], other[IDEM_FINGERPRINT_SIZE];
    if (size > sizeof(room) || !view_split(&rest, '\n', &value))
        return 0;
    check_key(value);
    if (!view_split(&rest, '\n', &query) || !view_split(&rest, '\n', &type))
        return 0;
    struct idem_request request = {VIEW_LIT("POST"), VIEW_LIT("/p"), query, type, rest};
    const bool made = idem_fingerprint(&request, one);
    request.query = turned(query, room);
    demand(idem_fingerprint(&request, other) == made, "as many parts", NULL);
    demand(!made || memcmp(one, other, sizeof(one)) == 0, "the order of a query does not count",
           NULL);
    return 0;
}
