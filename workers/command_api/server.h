/* The Unix socket and its threads. Each thread accepts, serves one connection whole, and accepts
 * again; so there are never more connections in hand than threads, and what comes beyond waits in
 * the listen queue. A connection goes to the thread that was busy last: few calls keep few threads
 * warm, and the others cost an address range each. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/connection.h"

/* 64 calls in flight, those that send slowly, and always some to refuse one more. */
#define SERVER_THREADS (64 + CONNECTION_SLOW_HEADS + CONNECTION_SLOW_BODIES + 4)

struct server;

/* serve: of any of the threads; must end the connection. mode: of the socket's file. ERR_FATAL
 * listen when the path can't be used; a socket that nobody listens on is replaced. */
MUST_CHECK int server_start(struct server **ret, const char *path, unsigned mode,
                            struct connection_limits limits,
                            void (*serve)(void *ctx, struct connection *c), void *ctx,
                            struct err *err);
/* Nothing new is accepted, reading ends, what is being served goes on; returns when it is done. The
 * socket's file is gone. Takes NULL, returns NULL. */
struct server *server_stop(struct server *s);
