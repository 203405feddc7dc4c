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
/* A round trip to the server. */
MUST_CHECK int bus_ping(struct bus *bus, struct err *err);
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

/* A raw request with a reply in the arena. JetStream API calls go through this too. */
MUST_CHECK int bus_request(struct bus *bus, const struct bus_message *request, int64_t timeout_ms,
                           struct arena *arena, struct bytes *ret_reply, struct err *err);
/* A protobuf request; an error reply (Nats-Service-Error-Code) becomes err with that code. */
MUST_CHECK int bus_call(struct bus *bus, const char *subject, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms,
                        struct arena *arena, ProtobufCMessage **ret_reply, struct err *err);

/* nats.c's connection, for consumer.c and pipeline.c only. */
void *bus_native(struct bus *bus);
