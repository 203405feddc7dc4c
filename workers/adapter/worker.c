// SPDX-License-Identifier: Apache-2.0

#include "workers/adapter/worker.h"

#include <stdlib.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "workers/adapter/adapter.h"

#define FORGET_EVERY_MS 10000
#define LOOK_EVERY_MS 5000
#define DISABLED_LOOK_MS 2000

#define AT(member) offsetof(struct settings, member)
#define ROUTE_OPTIONS(route, word, path)                                                           \
    {.name = word "-url",                                                                          \
     .kind = OPT_STRING,                                                                           \
     .offset = AT(urls[route]),                                                                    \
     .default_text = "",                                                                           \
     .placeholder = "URL",                                                                         \
     .help = "Destination of route " word "; empty: base-url with " path "."},                     \
    {                                                                                              \
        .name = word "-secret-files", .kind = OPT_STRING, .offset = AT(route_secret_files[route]), \
        .default_text = "", .placeholder = "FILES",                                                \
        .help = "Secrets of route " word " alone, instead of secret-files."                        \
    }

static const struct option option_rows[] = {
    {.name = "base-url",
     .kind = OPT_STRING,
     .offset = AT(base_url),
     .default_text = "",
     .placeholder = "URL",
     .help = "Where n8n or another receiver listens, https://n8n.example.org; a route without a "
             "destination keeps its events in their stream."},
    ROUTE_OPTIONS(ROUTE_DLQ, "dlq", "/webhook/dlq-triage"),
    ROUTE_OPTIONS(ROUTE_RISK, "risk", "/webhook/risky-update"),
    ROUTE_OPTIONS(ROUTE_REVIEW, "review", "/webhook/review-ready"),
    {.name = "secret-files",
     .kind = OPT_STRING,
     .offset = AT(secret_files),
     .default_text = "",
     .placeholder = "FILES",
     .help = "Files with signing secrets, whsec_..., one a line, the current one first; several "
             "while one is replaced. Read again at SIGHUP."},
    {.name = "allow-http",
     .kind = OPT_BOOL,
     .offset = AT(allow_http),
     .default_text = "false",
     .help = "Destinations may be plain http://."},
    {.name = "only-202",
     .kind = OPT_BOOL,
     .offset = AT(only_202),
     .default_text = "false",
     .help =
         "Only status 202 counts as delivered, which the workflows of ops/n8n answer; any other "
         "2xx is tried again, for n8n answers 200 where a workflow failed before its answer."},
    {.name = "allow-networks",
     .kind = OPT_STRING,
     .offset = AT(allow_networks),
     .default_text = "",
     .placeholder = "CIDR,...",
     .help = "Private or special networks that a destination may lie in, 10.1.0.0/16,::1; all "
             "others are refused after name resolution."},
    {.name = "ca-file",
     .kind = OPT_STRING,
     .offset = AT(ca_file),
     .default_text = "",
     .placeholder = "FILE",
     .help = "Authorities that destinations' certificates are checked with, PEM; empty: the "
             "system's."},
    {.name = "calls",
     .kind = OPT_INT,
     .offset = AT(calls),
     .default_text = "4",
     .min = 1,
     .max = 64,
     .placeholder = "N",
     .help = "Most calls of one route at once."},
    {.name = "call-timeout",
     .kind = OPT_DURATION,
     .offset = AT(call_timeout_ms),
     .default_text = "15s",
     .min = 100,
     .max = 45000,
     .placeholder = "TIME",
     .help = "Longest time of one call, from name resolution to the end of the answer."},
    {.name = "breaker-after",
     .kind = OPT_INT,
     .offset = AT(breaker_after),
     .default_text = "10",
     .min = 1,
     .max = 1000,
     .placeholder = "N",
     .help = "Failed calls in a row after which a route rests; one with 401 or 403 is enough."},
    {.name = "breaker-pause",
     .kind = OPT_DURATION,
     .offset = AT(breaker_pause_ms),
     .default_text = "30s",
     .min = 10,
     .max = 3600000,
     .placeholder = "TIME",
     .help = "How long it rests at first; then one event is tried, and each failure doubles it, up "
             "to ten times."},
    {.name = "keep-attempts",
     .kind = OPT_DURATION,
     .offset = AT(keep_ms),
     .default_text = "30d",
     .min = 1000,
     .max = 3650LL * 86400 * 1000,
     .placeholder = "TIME",
     .help = "How long the log of attempts is kept."},
    {.name = "keep-attempts-max",
     .kind = OPT_INT,
     .offset = AT(keep_rows),
     .default_text = "1000000",
     .min = 1000,
     .max = 1000000000,
     .placeholder = "N",
     .help = "Most attempts that are kept in the log."},
};
#undef AT

bool adapter_route_of(const struct consumer_spec *consumer, enum route *ret)
{
    static const char prefix[] = "adapter-";

    return route_find(view_of(consumer->durable + sizeof(prefix) - 1), ret);
}

static void close_context(void *context)
{
    struct adapter *a = context;

    (void)http_pool_free(a->pool);
    explicit_bzero(&a->secrets, sizeof(a->secrets));
    free(a);
}

static int open_route(struct adapter *a, const struct consumer_spec *consumer, struct err *err)
{
    a->has_route = adapter_route_of(consumer, &a->route);
    if (!a->has_route)
        return err_set(err, ERR_FATAL, "internal", "open worker", "no route has this consumer");
    adapter_make_metrics(a);
    if (destination_open(a->settings, a->route, (unsigned)a->settings->calls, &a->pool, &a->secrets,
                         err) < 0)
        return -1;
    if (a->pool == NULL)
        log_info("route has no destination, its events wait in their stream",
                 LF_STR("route", route_name(a->route)));
    return 0;
}

static int open_context(struct lane *lane, void **ret_context, struct err *err)
{
    struct adapter *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "out of memory");
    a->lane = lane;
    a->settings = lane_options(lane);
    a->pg = lane_pg(lane);
    if (lane_consumer(lane) != NULL && open_route(a, lane_consumer(lane), err) < 0) {
        close_context(a);
        return -1;
    }
    *ret_context = a;
    return 0;
}

static int may_open(void *context, struct err *err)
{
    struct adapter *a = context;

    if (a->pool == NULL) {
        err->class = ERR_NONE;
        return -1;
    }
    const bool enabled = record_check(a->pg, a->route, err) == 0;

    if (enabled || strcmp(err->code, "route-disabled") == 0)
        metric_set(a->disabled, enabled ? 0 : 1);
    if (enabled)
        return 0;
    err->retry_after_ms = DISABLED_LOOK_MS;
    return -1;
}

static int reload(void *context, struct err *err)
{
    struct adapter *a = context;

    if (a->pool == NULL)
        return 0;
    if (destination_secrets(a->settings, a->route, &a->secrets, err) < 0)
        return -1;
    log_info("secrets read again", LF_STR("route", route_name(a->route)),
             LF_I64("secrets", (int64_t)a->secrets.n));
    return 0;
}

/* One thread each: a slow or dead receiver delays its own route alone. What a consumer gives up is
 * parked, which no adapter reads. */
#define ROUTE_CONSUMER(durable_)                                                                   \
    .durable = (durable_), .handle = deliver_batch, .batch_max = ADAPTER_BATCH, .parks = true,     \
    .own_lane = true, .pace = &deliver_pace, .max_ack_pending = 1000

static const struct consumer_spec consumers[] = {
    {ROUTE_CONSUMER("adapter-dlq"), .stream = "ANIME_DLQ", .filter = "anime.dlq.*", .raw = true},
    {ROUTE_CONSUMER("adapter-risk"), .subject = "anime.updated", .needs_header = "Echora-Review"},
    {ROUTE_CONSUMER("adapter-review"), .subject = "ingestion.review.ready"},
};

static int tick(void *context, struct err *err)
{
    struct adapter *a = context;
    const int64_t now = mono_ms();

    if (now >= a->next_look_ms) {
        a->next_look_ms = now + LOOK_EVERY_MS;
        waiting_look(a, consumers, ARRAY_LEN(consumers));
    }
    if (now < a->next_forget_ms)
        return 0;
    a->next_forget_ms = now + FORGET_EVERY_MS;
    return record_forget(a->pg, a->settings->keep_ms, a->settings->keep_rows, err);
}

static const struct request_spec requests[] = {
    {.subject = "webhook.test", .answer = answer_webhook_test, .json = true},
    {.subject = "webhook.replay", .answer = answer_webhook_replay, .json = true},
    {.subject = "webhook.enable", .answer = answer_webhook_enable, .json = true},
};

const struct worker_spec adapter_worker = {
    .name = "adapter",
    .summary = "Tells n8n or another receiver of dead letters, risky updates and reviews, by "
               "signed webhooks.",
    .options = option_rows,
    .n_options = ARRAY_LEN(option_rows),
    .options_size = sizeof(struct settings),
    .consumers = consumers,
    .n_consumers = ARRAY_LEN(consumers),
    .requests = requests,
    .n_requests = ARRAY_LEN(requests),
    .needs = 1u << DEP_POSTGRES,
    .open = open_context,
    .close = close_context,
    .tick = tick,
    .may_open = may_open,
    .reload = reload,
};
