/* The inside of struct bus, shared by bus.c and the bus_….c. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "events/bus.h"

#define BUS_BOXES_MAX 64
#define BUS_REPLY_MAX (BUS_INBOX_MAX + 24)

/* Where answers come, see bus_box.c. */
struct bus_box {
    natsSubscription *sub;
    char prefix[BUS_INBOX_MAX];
    uint64_t n; /* questions so far */
    char reply_to[BUS_REPLY_MAX];
};

struct bus {
    _Atomic(natsConnection *) nc; /* NULL until the first connection, then one for good */
    natsOptions *options;
    pthread_t connector; /* makes the first connection when bus_open could not */
    bool connecting;     /* it was started */
    unsigned refused;    /* for its credentials, in a row */
    pthread_cond_t closing_cond;
    int64_t timeout_ms;
    char inbox_prefix[80];
    atomic_uint generation;
    atomic_bool closed;  /* nats.c has called back for the last time */
    atomic_bool closing; /* by us */
    atomic_bool dead;    /* see bus_alive */
    natsStatus dead_status;
    char dead_text[256];
    pthread_mutex_t hook_mutex;
    void (*hook)(void *ctx);
    void *hook_ctx;
    bool fail_refused;
    char user[64];
    pthread_mutex_t refusal_mutex;
    char refusal[256]; /* the newest violation of rights in the server's words, "" = none */
    pthread_mutex_t box_mutex;
    struct bus_box *boxes[BUS_BOXES_MAX]; /* that nobody uses now */
    size_t n_boxes;
};

/* As natsMsg_Destroy, sooner or later. */
void bus_discard(natsMsg *msg);
static inline void bus_msgp(natsMsg **m)
{
    bus_discard(*m);
}

/* A box for one question, whose reply subject is (*ret)->reply_to. */
natsStatus bus_box_take(struct bus *bus, struct bus_box **ret);
/* The answer; NATS_NO_RESPONDERS is one, too. */
natsStatus bus_box_next(struct bus_box *box, int64_t timeout_ms, natsMsg **ret);
/* answered: nothing more can come, or nothing was asked. Takes NULL. */
void bus_box_give(struct bus *bus, struct bus_box *box, bool answered);
void bus_boxes_free(struct bus *bus);

/* A nats.c message of ours: payload, headers, and what every publish carries when the headers do
 * not name it: Nats-Expected-Stream of a subject that a stream captures, and the thread's trace
 * context.
 */
MUST_CHECK int bus_make_msg(const struct bus_message *message, const char *reply, natsMsg **ret,
                            struct err *err);
/* With fail_refused: whether the server refused to publish on this subject, or to listen for the
 * answer, since bus_forget_refusal. */
bool bus_refused(struct bus *bus, const char *subject);
void bus_forget_refusal(struct bus *bus);
/* The error of such a refusal, ERR_FATAL nats-permission. Returns -1. */
int bus_err_refused(struct bus *bus, const char *subject, struct err *err);
/* Sends a message and waits for its answer; the caller destroys *ret. */
MUST_CHECK int bus_ask(struct bus *bus, const struct bus_message *message, int64_t timeout_ms,
                       natsMsg **ret, struct err *err);
static inline void bus_subp(natsSubscription **sub)
{
    natsSubscription_Destroy(*sub);
}
/* {"stream":..,"seq":..,"duplicate":..} or {"error":..}; text is the server's. */
MUST_CHECK int bus_parse_ack(struct view text, struct bus_ack *ret, const char *op,
                             struct err *err);
