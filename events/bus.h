/* NATS by nats.c: one connection, publish with acknowledgement, requests, hints.
 *
 * The only room that includes nats.h is this one's .c files (and consumer.c, pipeline.c beside it).
 * Publishes name their stream (Nats-Expected-Stream) and wait for the broker's ack. Errors: no
 * connection, timeout, no responders from JetStream = ERR_UNAVAILABLE (timeouts ERR_UNCERTAIN),
 * 10071 wrong expected sequence = ERR_REJECT with code nats-10071, unknown stream = ERR_FATAL,
 * max payload = ERR_REJECT too-large. One table, tested (nats_error.h). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/arena.h"
#include "events/base/buf.h"
#include "events/base/err.h"

struct bus;

struct bus_options {
    const char *url;
    const char *user;     /* "" = none */
    const char *password; /* from a secret file */
    const char *name;     /* "echora-<worker>/<version> <host>:<pid>" */
    int64_t timeout_ms;   /* publishes and requests, default 5,000 */
    /* NULL = "_INBOX_<user>" when a user is set (each user may read only its own), else "_INBOX".
     */
    const char *inbox_prefix;
    /* Small writes are gathered for up to 1 ms by nats.c's flusher instead of written at once: for
     * connections that publish in bulk without waiting for each (the relay). */
    bool buffered;
    /* What the server refuses for missing rights fails at once with nats-permission, for commands
     * that a person waits for; otherwise it is logged and the call ends at its timeout. */
    bool fail_refused;
};

struct bus_header {
    const char *name;
    const char *value;
};

struct bus_message {
    const char *subject;
    struct bytes payload;
    const struct bus_header *headers;
    size_t n_headers;
};

struct bus_ack {
    uint64_t sequence;
    bool duplicate;
    char stream[64];
};

/* Connects, or starts connecting when the server is away (then bus_connected is false and calls
 * fail with ERR_UNAVAILABLE until it is there). Reconnects for ever. */
MUST_CHECK int bus_open(struct bus **ret, const struct bus_options *options, struct err *err);
struct bus *bus_close(struct bus *bus); /* flushes (≤ 2 s), takes NULL */
bool bus_connected(const struct bus *bus);
/* A round trip to the server within timeout_ms (0 = the connection's timeout). */
MUST_CHECK int bus_ping(struct bus *bus, int64_t timeout_ms, struct err *err);
/* Bytes of payload and headers together; 0 while there was no connection yet. */
int64_t bus_max_payload(const struct bus *bus);

/* JetStream publish; returns when the broker has stored it. *ret may be NULL. */
MUST_CHECK int bus_publish(struct bus *bus, const struct bus_message *message, struct bus_ack *ret,
                           struct err *err);
/* Pipelined publish of n messages: all are sent, then all acks awaited. acks[i], errs[i] per
 * message (errs[i].class == ERR_NONE = stored). Returns -1 when the connection failed altogether.
 */
MUST_CHECK int bus_publish_many(struct bus *bus, const struct bus_message messages[], size_t n,
                                struct bus_ack acks[], struct err errs[], struct err *err);
/* Core NATS, no ack; may be lost. Never fails loudly. */
void bus_hint(struct bus *bus, const char *subject);

/* A raw request with a reply in the arena (NUL behind it). timeout_ms 0 = the connection's. Headers
 * of the reply are looked at only for Nats-Service-Error-Code, which becomes err. */
MUST_CHECK int bus_request(struct bus *bus, const struct bus_message *request, int64_t timeout_ms,
                           struct arena *arena, struct bytes *ret_reply, struct err *err);
/* A request of which the reply's headers matter, too, and whose waiting can be ended. */
struct bus_reply_header {
    const char *name;
    const char *value; /* filled, in the arena; NULL = the reply has none */
};
struct bus_exchange {
    int64_t timeout_ms;         /* 0 = the connection's */
    bool (*goes_on)(void *ctx); /* asked about every 50 ms; false ends the waiting as a timeout */
    void *ctx;
    struct bus_reply_header *headers;
    size_t n_headers;
};
/* As bus_request, but an error that the reply tells is the caller's to see, in its headers. */
MUST_CHECK int bus_exchange(struct bus *bus, const struct bus_message *request,
                            const struct bus_exchange *how, struct arena *arena,
                            struct bytes *ret_reply, struct err *err);
/* Pipelined requests: all are sent, then each answer is given to take as it comes, from this
 * thread; the text lives for the call. errs[i] is take's error (returned -1) or why there was no
 * answer; errors in an answer are take's to see. -1 when the connection failed altogether. */
typedef int bus_reply_fn(void *ctx, size_t i, struct view reply, struct err *err);
MUST_CHECK int bus_request_many(struct bus *bus, const struct bus_message requests[], size_t n,
                                bus_reply_fn *take, void *ctx, struct err errs[], struct err *err);
/* A JetStream API request ("$JS.API.STREAM.INFO.X") with a JSON body (may be empty). An error
 * member of the reply becomes err by nats_error.h's table. *ret: json_decref it (jansson). */
struct json_t;
MUST_CHECK int bus_js_api(struct bus *bus, const char *subject, struct view body,
                          struct json_t **ret, struct err *err);
/* timeout_ms 0 = the connection's. */
MUST_CHECK int bus_js_api_within(struct bus *bus, const char *subject, struct view body,
                                 int64_t timeout_ms, struct json_t **ret, struct err *err);
/* What such an answer says: *ret (json_decref it), or its error by the same table. */
MUST_CHECK int bus_js_reply(struct view reply, const char *op, struct json_t **ret,
                            struct err *err);
/* A protobuf request to another worker. An error reply becomes err with its code and class; nobody
 * there, no answer in time, or one that it can't serve (its ERR_FATAL) is ERR_UNAVAILABLE of
 * DEP_CATALOGUE, so that callers hold their events and stop fetching until it is back. timeout_ms
 * 0 = the connection's. */
MUST_CHECK int bus_call(struct bus *bus, const char *subject, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms,
                        struct arena *arena, ProtobufCMessage **ret_reply, struct err *err);

/* nats.c's connection, for the consumer loop, the request lane and pipeline.c only; NULL until it
 * has been made once. */
void *bus_native(struct bus *bus);
/* Rises with every connection made: requests in flight before it are lost. */
unsigned bus_generation(const struct bus *bus);
/* Called from nats.c's threads after connect, reconnect, disconnect and close; must not block nor
 * call bus_set_hook. One hook; NULL takes it away, and it is not running any more on return. */
void bus_set_hook(struct bus *bus, void (*hook)(void *ctx), void *ctx);
/* False, with the reason, once the connection is closed for good (credentials refused twice in a
 * row: nats-auth; an error of the server after which nats.c does not go on: nats-closed) or of no
 * use (it may not acknowledge: nats-permission). */
bool bus_alive(const struct bus *bus, struct err *ret_reason);
/* A new subject below the connection's own inbox prefix. */
#define BUS_INBOX_MAX 128
void bus_inbox(const struct bus *bus, char out[static BUS_INBOX_MAX]);
