/* echora-relay: publishes what was committed. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay_worker.h"

#include <stdio.h>
#include <stdlib.h>

#include "contracts/registry.h"
#include "events/worker.h"
#include "outbox/relay.h"

enum { STREAMS_MAX = 16 };

struct relay_config {
    const char *outbox;
    const char *streams;
    int64_t keep_ms, keeper_every_ms, poll_max_ms;
    int64_t page_rows;
};

#define AT(member) offsetof(struct relay_config, member)
static const struct option options[] = {
    {.name = "outbox",
     .kind = OPT_STRING,
     .offset = AT(outbox),
     .default_text = "catalog",
     .placeholder = "SCHEMA",
     .help = "Schema whose outbox is relayed."},
    {.name = "streams",
     .kind = OPT_STRING,
     .offset = AT(streams),
     .default_text = "ANIME_SYNC,ANIME_EVENTS,AUDIT",
     .placeholder = "NAMES",
     .help = "Target streams, comma separated, the busiest first."},
    {.name = "keep",
     .kind = OPT_DURATION,
     .offset = AT(keep_ms),
     .default_text = "48h",
     .min = 1000,
     .max = 365LL * 86400 * 1000,
     .placeholder = "TIME",
     .help = "How long published rows are kept at least."},
    {.name = "housekeeping",
     .kind = OPT_DURATION,
     .offset = AT(keeper_every_ms),
     .default_text = "30s",
     .min = 100,
     .max = 86400 * 1000,
     .placeholder = "TIME",
     .help = "Pause between looks for rows that need not be kept any more."},
    {.name = "poll-max",
     .kind = OPT_DURATION,
     .offset = AT(poll_max_ms),
     .default_text = "50ms",
     .min = 1,
     .max = 60000,
     .placeholder = "TIME",
     .help = "Longest pause between looks at an idle outbox, when no hint comes."},
    {.name = "page-rows",
     .kind = OPT_INT,
     .offset = AT(page_rows),
     .default_text = "500",
     .min = 1,
     .max = 10000,
     .placeholder = "N",
     .help = "Most rows that are read at once."},
};

struct context {
    struct lane *lane;
    struct relay *relay;
    const struct stream_def *streams[STREAMS_MAX + 1];
};

static int parse_streams(const char *text, const struct stream_def *ret[], struct err *err)
{
    struct view rest = view_of(text), name;
    size_t n = 0;
    while (view_split(&rest, ',', &name)) {
        name = view_trim(name);
        const struct stream_def *stream = registry_stream(name);
        if (stream == NULL)
            return err_set(err, ERR_FATAL, "config", "streams", "no stream \"%.*s\"",
                           VIEW_ARG(name));
        if (n == STREAMS_MAX)
            return err_set(err, ERR_FATAL, "config", "streams", "more than %d streams",
                           (int)STREAMS_MAX);
        ret[n++] = stream;
    }
    ret[n] = NULL;
    return 0;
}

static void close_context(void *context)
{
    struct context *c = context;
    relay_free(c->relay);
    free(c);
}

static void report(void *ctx, const char *reason)
{
    struct context *c = ctx;
    lane_report(c->lane, reason);
}

static int open_context(struct lane *lane, void **ret_context, struct err *err)
{
    const struct relay_config *config = lane_options(lane);
    const struct worker_config *common = lane_config(lane);
    struct context *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open", "out of memory");
    c->lane = lane;
    const struct relay_options relay = {
        .schema = config->outbox,
        .streams = c->streams,
        .pg = {.url = common->pg_url,
               .password = common->pg_password,
               .application_name = "echora-relay"},
        .bus = lane_bus(lane),
        .page_rows = (int)config->page_rows,
        .poll_max_ms = config->poll_max_ms,
        .keep_ms = config->keep_ms,
        .keeper_every_ms = config->keeper_every_ms,
        .report = report,
        .report_ctx = c,
    };
    if (parse_streams(config->streams, c->streams, err) < 0 ||
        relay_new(&c->relay, &relay, err) < 0) {
        close_context(c);
        return -1;
    }
    *ret_context = c;
    return 0;
}

static bool stopping(void *ctx)
{
    const struct context *c = ctx;
    return lane_stopping(c->lane);
}

static int run(void *context, struct err *err)
{
    struct context *c = context;
    return relay_run(c->relay, stopping, c, err);
}

const struct worker_spec relay_worker = {
    .name = "relay",
    .summary = "publishes what was committed",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct relay_config),
    .needs = 1u << DEP_POSTGRES,
    .bulk = true,
    .open = open_context,
    .close = close_context,
    .run = run,
};
