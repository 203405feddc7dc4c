// SPDX-License-Identifier: Apache-2.0
#include "workers/adapter/judge.h"

#include <stdio.h>

#include "events/base/fault.h"

/* A receiver that is overloaded, or whose secret somebody has to mend, is left alone for a while.
 */
#define OVERLOADED_MS 60000
#define AUTH_MS 600000

enum judgement judge(const struct http_outcome *o, bool only_202)
{
    const long s = o->status;

    if (s >= 200 && s <= 299)
        return only_202 && s != 202 ? JUDGED_TROUBLE : JUDGED_DELIVERED;
    if (FAULT("failure-taken-for-delivery"))
        return JUDGED_DELIVERED;
    switch (s) {
    case 400:
    case 413:
    case 415:
    case 422:
        return JUDGED_REFUSED;
    case 401:
    case 403:
        return JUDGED_AUTH;
    case 410:
        return JUDGED_GONE;
    case 408:
    case 425:
    case 429:
        return JUDGED_TROUBLE;
    default:
        return s >= 300 && s <= 499 ? JUDGED_MISCONFIGURED : JUDGED_TROUBLE;
    }
}

const char *judgement_name(enum judgement j)
{
    static const char *const names[JUDGED_MAX] = {
        [JUDGED_DELIVERED] = "delivered", [JUDGED_REFUSED] = "refused",
        [JUDGED_AUTH] = "auth",           [JUDGED_MISCONFIGURED] = "misconfigured",
        [JUDGED_TROUBLE] = "trouble",     [JUDGED_GONE] = "gone",
    };
    return (unsigned)j < JUDGED_MAX ? names[j] : "?";
}

static int64_t least_pause(enum judgement j, const struct http_outcome *o)
{
    if (j == JUDGED_AUTH)
        return AUTH_MS;
    return o->status == 429 || strcmp(o->code, "http-timeout") == 0 ? OVERLOADED_MS : 0;
}

void judgement_err(enum judgement j, const struct http_outcome *o, const char *op,
                   int64_t longest_ms, struct err *ret)
{
    const int64_t least = least_pause(j, o);
    char code[32];

    snprintf(code, sizeof(code), "http-%ld", o->status);
    const bool final = j == JUDGED_REFUSED || j == JUDGED_GONE;
    if (o->status != 0)
        err_set(ret, final ? ERR_REJECT : ERR_RETRY, code, op,
                "the receiver answered with status %ld", o->status);
    else
        err_set(ret, ERR_RETRY, o->code, op, "%s", o->text);
    ret->retry_after_ms = least < longest_ms ? least : longest_ms;
    if (o->retry_after_ms > ret->retry_after_ms)
        ret->retry_after_ms = o->retry_after_ms;
}
