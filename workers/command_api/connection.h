/* One connection of the gateway: an SCGI request in, an answer out, then closed.
 *
 * Deadlines are absolute: a head must be there whole 5 s after the connection came, a body 15 s
 * after its reading began, however steadily bytes trickle in. Who sends slowly holds a thread
 * meanwhile, so only some may: what is not there soon needs one of the places below, and is given
 * up when they are taken. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>

#include "events/base/buf.h"
#include "workers/command_api/scgi.h"

#define CONNECTION_SLOW_HEADS 4 /* a gateway sends them whole */
#define CONNECTION_SLOW_BODIES 16
/* Of one caller; so some are left to the others, whatever it sends. */
#define CONNECTION_SLOW_BODIES_EACH 12
#define CONNECTION_CALLERS 64 /* callers are told apart by a hash */

struct connection_limits {
    int64_t head_ms, body_ms;
};

/* What the connections of one server share. */
struct connection_room {
    atomic_bool stopping;               /* ends reading */
    atomic_int slow_heads, slow_bodies; /* places taken */
    atomic_int slow_bodies_of[CONNECTION_CALLERS];
};

struct connection {
    int fd;
    struct connection_room *room;
    struct connection_limits limits;
    struct scgi_head head;
    bool whole; /* all that was announced is read: nothing more is to come */
    size_t n;   /* bytes in the buffer; what stands behind the head is of the body */
    char buffer[SCGI_NETSTRING_MAX + 16];
};

enum read_result {
    READ_OK,
    READ_GONE, /* the peer closed, or the process stops */
    READ_BAD,
    READ_TOO_LARGE,
    READ_SLOW,    /* not there in time */
    READ_CROWDED, /* not there soon, and all places are taken */
};

/* Takes the descriptor. */
void connection_init(struct connection *c, int fd, struct connection_room *room,
                     struct connection_limits limits);
enum read_result connection_head(struct connection *c);
/* The body, whole, into *out, whose maximum is its limit. caller: whose places it takes when it is
 * slow. */
enum read_result connection_body(struct connection *c, struct view caller, struct buf *out);
/* Writes an answer, and takes leave in a way that lets the peer read it though it still sends. */
void connection_end(struct connection *c, struct view answer);
