/* The worker around the calls: options, what calls share, the server's life.
 *
 * Redis away: the worker goes on, with rates of its own and without calls that need a key. Keys of
 * the issuer away: nobody is let in. Both show in readyz. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/worker.h"

#include <stdlib.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "workers/command_api/call.h"
#include "workers/command_api/server.h"

#define PING_MS 800
#define LOOK_MS 1000

#define AT(member) offsetof(struct settings, member)

static const struct option option_rows[] = {
    {.name = "socket",
     .kind = OPT_STRING,
     .offset = AT(socket),
     .default_text = "/run/echora-command-api/scgi.sock",
     .placeholder = "PATH",
     .help = "Unix socket that nginx speaks SCGI to."},
    {.name = "socket-mode",
     .kind = OPT_ENUM,
     .offset = AT(socket_mode),
     .default_text = "0660",
     .choices = "0600|0660|0666",
     .placeholder = "MODE",
     .help = "Rights of the socket; 0666 only where its folder says who may enter."},
    {.name = "in-flight-max",
     .kind = OPT_INT,
     .offset = AT(in_flight_max),
     .default_text = "64",
     .min = 1,
     .max = 64,
     .placeholder = "N",
     .help = "Most calls at once; one more is refused with 503."},
    {.name = "head-timeout",
     .kind = OPT_DURATION,
     .offset = AT(head_ms),
     .default_text = "5s",
     .min = 50,
     .max = 60000,
     .placeholder = "TIME",
     .help = "Within this time the head of a call must be there, whole."},
    {.name = "body-timeout",
     .kind = OPT_DURATION,
     .offset = AT(body_ms),
     .default_text = "15s",
     .min = 50,
     .max = 120000,
     .placeholder = "TIME",
     .help = "Within this time its body must be there, whole."},
    {.name = "reply-timeout",
     .kind = OPT_DURATION,
     .offset = AT(reply_ms),
     .default_text = "10s",
     .min = 50,
     .max = 25000,
     .placeholder = "TIME",
     .help = "How long a responder may take; a caller's Prefer: wait comes on top of it."},
    AUTH_OPTIONS(struct settings, auth),
    REDIS_OPTION_ROWS(struct settings, redis),
};
#undef AT

static void close_context(void *context)
{
    struct api *api = context;

    (void)bus_acks_free(api->audit);
    (void)auth_close(api->auth);
    (void)rate_free(api->rate);
    (void)redis_free(api->redis);
    free(api);
}

/* Also for the watch's thread, which only pings Redis: what calls need is made by run. */
static int open_context(struct lane *lane, void **ret_context, struct err *err)
{
    struct api *api = calloc(1, sizeof(*api));

    if (api == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "out of memory");
    api->lane = lane;
    api->settings = lane_options(lane);
    api->bus = lane_bus(lane);
    if (redis_new(&api->redis, &api->settings->redis, err) < 0) {
        close_context(api);
        return -1;
    }
    *ret_context = api;
    return 0;
}

static int probe(void *context, enum dependency dep, struct err *err)
{
    struct api *api = context;

    return dep == DEP_REDIS ? redis_ping(api->redis, PING_MS, err) : 0;
}

static int reload(void *context, struct err *err)
{
    struct api *api = context;

    return api->auth != NULL ? auth_reload(api->auth, err) : 0;
}

static int open_parts(struct api *api, struct err *err)
{
    if (api->rate == NULL && (api->rate = rate_new(api->redis)) == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "out of memory");
    if (api->audit == NULL &&
        (api->audit = bus_acks_new(api->bus, call_audit_failed, NULL)) == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "out of memory");
    return api->auth != NULL ? 0 : auth_open(&api->auth, &api->settings->auth, NULL, err);
}

static void look_at_keys(struct api *api, bool *ready)
{
    const bool now = auth_ready(api->auth);

    if (now != *ready)
        lane_report(api->lane, now ? NULL : "the issuer's keys are not at hand");
    *ready = now;
}

static int run(void *context, struct err *err)
{
    struct api *api = context;
    const struct settings *s = api->settings;
    const struct connection_limits limits = {s->head_ms, s->body_ms};
    struct server *server = NULL;
    bool ready = false;

    lane_report(api->lane, "starting");
    if (open_parts(api, err) < 0 ||
        server_start(&server, s->socket, (unsigned)strtoul(s->socket_mode, NULL, 8), limits,
                     call_serve, api, err) < 0)
        return -1;
    log_info("listening", LF_STR("socket", s->socket));
    do {
        look_at_keys(api, &ready);
        bus_acks_look(api->audit);
    } while (lane_pause(api->lane, LOOK_MS));
    atomic_store(&api->stopped_ms, mono_ms());
    (void)server_stop(server);
    api->audit = bus_acks_free(api->audit);
    return 0;
}

const struct worker_spec command_api_worker = {
    .name = "command-api",
    .summary =
        "Answers the Command API: calls over HTTP, behind nginx, become requests on the bus.",
    .options = option_rows,
    .n_options = ARRAY_LEN(option_rows),
    .options_size = sizeof(struct settings),
    .needs = 1u << DEP_REDIS,
    .open = open_context,
    .close = close_context,
    .probe = probe,
    .reload = reload,
    .run = run,
};
