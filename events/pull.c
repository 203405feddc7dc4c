// SPDX-License-Identifier: Apache-2.0
#include "events/pull.h"

#include <stdio.h>

size_t pull_format(const struct pull_request *r, char out[static PULL_BODY_MAX])
{
    int n = snprintf(out, PULL_BODY_MAX, "{\"batch\":%u,\"expires\":%lld,\"idle_heartbeat\":%lld",
                     r->batch, (long long)r->expires_ms * 1000000,
                     (long long)r->heartbeat_ms * 1000000);

    if (r->max_bytes > 0)
        n += snprintf(out + n, PULL_BODY_MAX - (size_t)n, ",\"max_bytes\":%lld",
                      (long long)r->max_bytes);
    n += snprintf(out + n, PULL_BODY_MAX - (size_t)n, "}");
    return (size_t)n;
}

/* Descriptions of status 409, by what they begin with; servers add details behind some. */
static const struct {
    const char *prefix;
    enum pull_status status;
} conflicts[] = {
    {"Consumer Deleted", PULL_GONE},           {"Consumer is push based", PULL_GONE},
    {"Leadership Change", PULL_MOVED},         {"Server Shutdown", PULL_MOVED},
    {"Batch Completed", PULL_ENDED},           {"Message Size Exceeds MaxBytes", PULL_ENDED},
    {"Exceeded MaxWaiting", PULL_BUSY},        {"Exceeded MaxRequestBatch", PULL_BUSY},
    {"Exceeded MaxRequestExpires", PULL_BUSY}, {"Exceeded MaxRequestMaxBytes", PULL_BUSY},
};

enum pull_status pull_classify(const char *status, const char *description)
{
    int64_t number;

    if (!view_to_i64(view_of(status), 100, 999, &number))
        return PULL_UNKNOWN;
    switch (number) {
    case 100:
        return PULL_HEARTBEAT;
    case 404: /* nothing there (no-wait requests) */
    case 408: /* expired, or interest gone */
        return PULL_ENDED;
    case 423: /* pinned to another client */
        return PULL_BUSY;
    case 503:
        return PULL_NO_SERVICE;
    case 409:
        break;
    default:
        return PULL_UNKNOWN;
    }
    for (size_t i = 0; description != NULL && i < ARRAY_LEN(conflicts); i++) {
        if (view_starts_with(view_of(description), conflicts[i].prefix))
            return conflicts[i].status;
    }
    return PULL_UNKNOWN;
}

static bool to_number(struct view v, int64_t *ret)
{
    return view_to_i64(v, 0, INT64_MAX, ret);
}

bool delivery_parse(struct view ack_subject, struct delivery *ret)
{
    enum { SHORT = 9, LONG = 11, MOST = 12 };
    struct view tokens[MOST], part;
    size_t n = 0;
    int64_t numbers[5];

    while (view_split(&ack_subject, '.', &part)) {
        if (n == MOST)
            return false;
        tokens[n++] = part;
    }
    if (n != SHORT && n != LONG && n != MOST)
        return false;
    if (!view_is(tokens[0], "$JS") || !view_is(tokens[1], "ACK"))
        return false;
    const struct view *t = tokens + (n == SHORT ? 2 : 4);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!to_number(t[2 + i], &numbers[i]))
            return false;
    }
    *ret = (struct delivery){
        .stream = t[0],
        .consumer = t[1],
        .deliveries = numbers[0] > INT32_MAX ? INT32_MAX : (unsigned)numbers[0],
        .stream_sequence = (uint64_t)numbers[1],
        .consumer_sequence = (uint64_t)numbers[2],
        .stored_us = numbers[3] / 1000,
        .pending = (uint64_t)numbers[4],
    };
    return ret->deliveries > 0;
}

void ramp_init(struct ramp *r, unsigned max)
{
    *r = (struct ramp){.size = 1, .max = max > 0 ? max : 1};
}

void ramp_settled(struct ramp *r, bool all_first_deliveries)
{
    if (!all_first_deliveries)
        r->size = 1;
    else if (r->size <= r->max / 2)
        r->size *= 2;
    else
        r->size = r->max;
}

bool ramp_is_careful(const struct ramp *r)
{
    return r->size < r->max;
}
