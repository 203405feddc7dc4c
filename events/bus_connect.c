/* How a connection begins and ends: options that make an outage show as an error at once instead of
 * as a wait (requests fail on disconnect, small reconnect buffer, write deadline), nats.c's
 * callbacks, the first connection.
 *
 * The first connection is made here and not by nats.c's retry of a failed connect: when a server
 * dies between its greeting and its answer to CONNECT, that retry finds no current server in its
 * pool and closes the connection for good (_connect and _doReconnect of conn.c, 3.4 to 3.9,
 * measured). So bus_open tries once, and where that fails a thread of the bus goes on until there
 * is a connection, the bus is closed, or the credentials are refused twice in a row. Later
 * connections are nats.c's.
 *
 * nats.c's callbacks run on its own threads; they touch atomics and call the one hook. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "events/bus_internal.h"
#include "events/log.h"
#include "events/nats_error.h"

#define TIMEOUT_DEFAULT_MS 5000
#define CLOSE_FLUSH_MS 2000
/* A connection that is open and silent is given up after 15 s: before the ack wait (30 s) of what
 * is in hand is over. */
#define PING_MS 5000
#define PINGS_OUT 2
#define RECONNECT_MS 250
#define RECONNECT_JITTER_MS 100
#define RECONNECT_JITTER_TLS_MS 250
#define REFUSED_MAX 2 /* as nats.c does on later connections */

static void call_hook(struct bus *bus)
{
    pthread_mutex_lock(&bus->hook_mutex);
    if (bus->hook != NULL)
        bus->hook(bus->hook_ctx);
    pthread_mutex_unlock(&bus->hook_mutex);
}

static void on_connected(natsConnection *nc, void *closure)
{
    struct bus *bus = closure;

    atomic_fetch_add(&bus->generation, 1);
    log_debug("connected to nats-server");
    call_hook(bus);
}

static void on_disconnected(natsConnection *nc, void *closure)
{
    log_debug("connection to nats-server lost");
    call_hook(closure);
}

/* What is written here is read only after `dead`. */
static void end_for_good(struct bus *bus, natsStatus s, const char *text)
{
    if (atomic_load(&bus->dead))
        return;
    bus->dead_status = s;
    snprintf(bus->dead_text, sizeof(bus->dead_text), "%s",
             text != NULL && *text != '\0' ? text : natsStatus_GetText(s));
    atomic_store(&bus->dead, true);
    call_hook(bus);
}

static void on_closed(natsConnection *nc, void *closure)
{
    struct bus *bus = closure;
    const char *text = NULL;

    /* bus_close waits for this call: the mark is its last access. */
    if (!atomic_load(&bus->closing)) {
        const natsStatus s = natsConnection_GetLastError(nc, &text);

        end_for_good(bus, s, text);
    }
    atomic_store(&bus->closed, true);
}

/* Without a handler nats.c prints these to standard error. A permission violation shows only here:
 * the request itself just times out. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure)
{
    struct bus *bus = closure;
    const char *text = NULL;

    natsConnection_GetLastError(nc, &text);
    /* Without it every event comes again and again: not a thing to go on with. */
    if (status == NATS_NOT_PERMITTED && text != NULL && strstr(text, "\"$JS.ACK.") != NULL)
        end_for_good(bus, status, text);
    if (bus->fail_refused && status == NATS_NOT_PERMITTED) {
        pthread_mutex_lock(&bus->refusal_mutex);
        snprintf(bus->refusal, sizeof(bus->refusal), "%s", text != NULL ? text : "");
        pthread_mutex_unlock(&bus->refusal_mutex);
    } else if (status == NATS_NOT_PERMITTED || status == NATS_CONNECTION_AUTH_FAILED)
        log_error(
            "nats-server refused",
            LF_STR("reason", text != NULL && *text != '\0' ? text : natsStatus_GetText(status)));
    else
        log_debug("nats.c reports", LF_STR("reason", natsStatus_GetText(status)));
}

static natsStatus set_options(natsOptions *o, const struct bus_options *options, struct bus *bus)
{
    natsStatus s = natsOptions_SetURL(o, options->url);

#define SET(call)                                                                                  \
    if (s == NATS_OK)                                                                              \
    s = (call)
    if (options->user != NULL && *options->user != '\0')
        SET(natsOptions_SetUserInfo(o, options->user,
                                    options->password != NULL ? options->password : ""));
    if (options->name != NULL)
        SET(natsOptions_SetName(o, options->name));
    if (strncmp(options->url, "tls://", 6) == 0)
        SET(natsOptions_SetSecure(o, true)); /* before 3.13 the scheme alone does not */
    SET(natsOptions_SetTimeout(o, 2000));
    SET(natsOptions_SetMaxReconnect(o, -1));
    SET(natsOptions_SetReconnectWait(o, RECONNECT_MS));
    SET(natsOptions_SetReconnectJitter(o, RECONNECT_JITTER_MS, RECONNECT_JITTER_TLS_MS));
    SET(natsOptions_SetPingInterval(o, FAULT("silent-connection-kept") ? 3600000 : PING_MS));
    SET(natsOptions_SetMaxPingsOut(o, PINGS_OUT));
    SET(natsOptions_SetWriteDeadline(o, 5000));
    SET(natsOptions_SetFailRequestsOnDisconnect(o, true));
    SET(natsOptions_SetReconnectBufSize(o, 256 * 1024));
    SET(natsOptions_SetCustomInboxPrefix(o, bus->inbox_prefix));
    SET(natsOptions_SetSendAsap(o, !options->buffered));
    if (options->buffered)
        SET(natsOptions_SetIOBufSize(o, 128 * 1024));
    /* One thread for all asynchronous subscriptions of the process, not one each. */
    SET(natsOptions_UseGlobalMessageDelivery(o, true));
    SET(natsOptions_SetReconnectedCB(o, on_connected, bus));
    SET(natsOptions_SetDisconnectedCB(o, on_disconnected, bus));
    SET(natsOptions_SetClosedCB(o, on_closed, bus));
    SET(natsOptions_SetErrorHandler(o, on_error, bus));
#undef SET
    return s;
}

/* One try. False: not yet, or never (bus->dead). */
static bool try_connect(struct bus *bus)
{
    natsConnection *nc = NULL;
    const natsStatus s = natsConnection_Connect(&nc, bus->options);

    if (s == NATS_OK) {
        atomic_store(&bus->nc, nc);
        on_connected(nc, bus);
        return true;
    }
    log_debug("no first connection to nats-server yet", LF_STR("reason", natsStatus_GetText(s)));
    bus->refused = s == NATS_CONNECTION_AUTH_FAILED ? bus->refused + 1 : 0;
    if (bus->refused == REFUSED_MAX)
        end_for_good(bus, s, NULL);
    return false;
}

static void pause_between_tries(struct bus *bus)
{
    uint8_t random;
    random_bytes(&random, sizeof(random));
    const int64_t until = mono_ms() + RECONNECT_MS + random % RECONNECT_JITTER_MS;
    const struct timespec t = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    pthread_mutex_lock(&bus->hook_mutex);
    while (!atomic_load(&bus->closing) && mono_ms() < until)
        pthread_cond_timedwait(&bus->closing_cond, &bus->hook_mutex, &t);
    pthread_mutex_unlock(&bus->hook_mutex);
}

static void *connect_loop(void *arg)
{
    struct bus *bus = arg;

    do
        pause_between_tries(bus);
    while (!atomic_load(&bus->closing) && !try_connect(bus) && !atomic_load(&bus->dead));
    return NULL;
}

static void bus_init(struct bus *bus, const struct bus_options *options)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->closing_cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&bus->hook_mutex, NULL);
    pthread_mutex_init(&bus->refusal_mutex, NULL);
    pthread_mutex_init(&bus->box_mutex, NULL);
    bus->fail_refused = options->fail_refused;
    if (options->user != NULL)
        snprintf(bus->user, sizeof(bus->user), "%s", options->user);
    bus->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_DEFAULT_MS;
    if (options->inbox_prefix != NULL)
        snprintf(bus->inbox_prefix, sizeof(bus->inbox_prefix), "%s", options->inbox_prefix);
    else if (options->user != NULL && *options->user != '\0')
        snprintf(bus->inbox_prefix, sizeof(bus->inbox_prefix), "_INBOX_%.64s", options->user);
    else
        snprintf(bus->inbox_prefix, sizeof(bus->inbox_prefix), "_INBOX");
}

/* nats.c would turn 2,000 times round a lock that another thread holds, before it sleeps: with more
 * threads than processors that is time taken from the one that holds it. */
static void open_library(void)
{
    (void)nats_Open(0);
}

int bus_open(struct bus **ret, const struct bus_options *options, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct bus *bus = calloc(1, sizeof(*bus));
    natsStatus s;

    pthread_once(&once, open_library);
    if (bus == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "connect to NATS", "out of memory");
    bus_init(bus, options);
    s = natsOptions_Create(&bus->options);
    if (s == NATS_OK)
        s = set_options(bus->options, options, bus);
    if (s == NATS_OK && !try_connect(bus)) {
        if (pthread_create(&bus->connector, NULL, connect_loop, bus) == 0)
            bus->connecting = true;
        else
            s = NATS_NO_MEMORY;
    }
    if (s != NATS_OK) {
        nats_err_status(err, s, "connect to NATS");
        bus_close(bus);
        return -1;
    }
    *ret = bus;
    return 0;
}

static void end_connector(struct bus *bus)
{
    pthread_mutex_lock(&bus->hook_mutex);
    atomic_store(&bus->closing, true);
    pthread_cond_signal(&bus->closing_cond);
    pthread_mutex_unlock(&bus->hook_mutex);
    if (bus->connecting)
        pthread_join(bus->connector, NULL);
}

/* False: nats.c may still write to what is the bus's. */
static bool end_connection(struct bus *bus)
{
    natsConnection *nc = bus->nc;

    if (nc == NULL)
        return true;
    if (bus_connected(bus))
        natsConnection_FlushTimeout(nc, CLOSE_FLUSH_MS); /* close alone loses acks (< 3.13) */
    natsConnection_Close(nc);
    /* The closed callback holds a reference of its own; bus must outlive it. */
    for (int i = 0; i < 200 && !atomic_load(&bus->closed); i++)
        nats_Sleep(1);
    natsConnection_Destroy(nc);
    return atomic_load(&bus->closed);
}

struct bus *bus_close(struct bus *bus)
{
    if (bus == NULL)
        return NULL;
    bus_set_hook(bus, NULL, NULL);
    end_connector(bus);
    bus_boxes_free(bus);
    if (!end_connection(bus))
        return NULL; /* leak a few bytes rather than let nats.c write to freed memory */
    natsOptions_Destroy(bus->options);
    pthread_cond_destroy(&bus->closing_cond);
    pthread_mutex_destroy(&bus->hook_mutex);
    pthread_mutex_destroy(&bus->refusal_mutex);
    pthread_mutex_destroy(&bus->box_mutex);
    free(bus);
    return NULL;
}

bool bus_connected(const struct bus *bus)
{
    natsConnection *nc = bus != NULL ? atomic_load(&bus->nc) : NULL;

    return nc != NULL && natsConnection_Status(nc) == NATS_CONN_STATUS_CONNECTED;
}

unsigned bus_generation(const struct bus *bus)
{
    return atomic_load(&bus->generation);
}

void bus_set_hook(struct bus *bus, void (*hook)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&bus->hook_mutex);
    bus->hook_ctx = ctx;
    bus->hook = hook;
    pthread_mutex_unlock(&bus->hook_mutex);
}

bool bus_alive(const struct bus *bus, struct err *ret_reason)
{
    if (!atomic_load(&bus->dead))
        return true;
    if (bus->dead_status == NATS_CONNECTION_AUTH_FAILED)
        nats_err_status(ret_reason, NATS_CONNECTION_AUTH_FAILED, "connect to NATS");
    else if (bus->dead_status == NATS_NOT_PERMITTED)
        err_set_dep(ret_reason, ERR_FATAL, DEP_NATS, "nats-permission", "acknowledge",
                    "%s: see ops/nats/users.py", bus->dead_text);
    else
        err_set_dep(ret_reason, ERR_FATAL, DEP_NATS, "nats-closed", "connect to NATS",
                    "the connection was closed for good: %s", bus->dead_text);
    return false;
}
