/* Several HTTP POSTs at once to one configured address, on connections that are kept.
 *
 * A call is started, worked on by http_pool_wait, and looked at by its key when it is over; it may
 * go on over several turns of its owner. Never: redirects, a proxy, another protocol, an address
 * that events/address.h refuses, TLS without verification, more than 64 KiB of headers or of body.
 * Of what the answer says beyond its status only the beginning is kept, as it came. Of one lane;
 * not thread-safe. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/address.h"
#include "events/base/uuid.h"

struct http_pool;

struct http_pool_options {
    const char *url;                        /* http:// or https://, lower case */
    bool plain;                             /* http:// may be used */
    const char *ca_file;                    /* PEM; "" = the system's authorities */
    struct networks allowed;                /* beyond public addresses */
    int64_t connect_timeout_ms, timeout_ms; /* of a whole call */
    unsigned calls;                         /* at once */
    unsigned waiting; /* most that are over and not yet forgotten; then the oldest is */
    const char *user_agent;
};
/* Options are copied. NULL with ERR_FATAL config or no-memory in *err. */
struct http_pool *http_pool_new(const struct http_pool_options *options, struct err *err);
struct http_pool *http_pool_free(struct http_pool *p); /* gives up what runs; takes NULL */

struct http_field {
    const char *name, *value; /* printable ASCII */
};
/* Starts a call; body and fields are copied. key: the caller's, not in use.
 * There must be room. */
MUST_CHECK int http_pool_start(struct http_pool *p, struct uuid key,
                               const struct http_field fields[], size_t n_fields, struct view body,
                               struct err *err);
bool http_pool_has_room(const struct http_pool *p);
unsigned http_pool_running(const struct http_pool *p);

struct http_outcome {
    long status;      /* 0 = no whole answer */
    const char *code; /* "" with a status; else http-timeout, address-refused, ... (static text) */
    const char *text; /* for people; static */
    int64_t ms;
    int64_t retry_after_ms; /* at most an hour */
    bool seen;              /* told before by http_pool_look */
};
enum http_progress { HTTP_UNKNOWN, HTTP_RUNNING, HTTP_OVER };
/* *ret is filled when it is over. */
enum http_progress http_pool_look(struct http_pool *p, struct uuid key, struct http_outcome *ret);
/* The first bytes of an answer's body, at most so many, whatever its status: anything may stand in
 * them. They are the pool's until the call is forgotten or another one started; empty when there is
 * no such call. */
#define HTTP_ANSWER_KEPT 320
struct view http_pool_answer(const struct http_pool *p, struct uuid key);
/* The value of a header that the call was started with, under the same conditions. */
struct view http_pool_sent(const struct http_pool *p, struct uuid key, const char *name);
/* Ends the call, wherever it stands; its place is free. */
void http_pool_forget(struct http_pool *p, struct uuid key);
/* Works until a call is over, at most that long; at once when none runs. */
void http_pool_wait(struct http_pool *p, int64_t ms);
