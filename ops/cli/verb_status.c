/* One screen: what lies in the streams, what consumers still have to do, the outbox, dead letters,
 * the index against the catalogue, the workers. A part that can't be asked says so and the others
 * are shown. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/control.h"
#include "ops/cli/chain.h"
#include "ops/cli/fleet.h"
#include "ops/cli/output.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"
#include "ops/cli/workers.h"
#include "ops/sql.h"

#define DEAD_SHOWN 200
#define FULL_WARN 90 /* percent */
#define MAX_CODES 16

struct status_options {
    bool watch;
    int64_t interval_ms;
    const char *workers;
};

static const struct option options[] = {
    {"watch", OPT_BOOL, offsetof(struct status_options, watch), "false", 0, 0, NULL, NULL,
     "Again and again, until Ctrl-C."},
    {"interval", OPT_DURATION, offsetof(struct status_options, interval_ms), "2s", 200, 3600000,
     NULL, "TIME", "Pause of --watch."},
    {"workers", OPT_STRING, offsetof(struct status_options, workers), "", 0, 0, NULL,
     "NAME=HOST:PORT,...", "Health listeners of the workers, to show their state and breakers."},
};

/* What was seen last time, for rates. */
struct memory {
    uint64_t pending[FLEET_MAX_CONSUMERS];
    int64_t at_ms;
};

struct screen {
    struct cli *cli;
    json_t *document;
    unsigned trouble; /* parts that could not be asked */
};

static bool plain(const struct screen *s)
{
    return !s->cli->config.json;
}

static void head(const struct screen *s, const char *text)
{
    if (plain(s))
        printf("%s%s%s\n", paint(s->cli->color, PAINT_BOLD), text, paint_end(s->cli->color));
}

static void unknown(struct screen *s, const char *part, const struct err *e)
{
    s->trouble++;
    json_put(s->document, part, json_pack("{s:s, s:s}", "error", e->code, "text", e->text));
    if (plain(s))
        printf("%s%s: %s [%s]%s\n", paint(s->cli->color, PAINT_RED), part, e->text, e->code,
               paint_end(s->cli->color));
}

static int show_streams(struct screen *s, struct err *err)
{
    json_t *list = json_array();

    json_object_set_new(s->document, "streams", list);
    head(s, "STREAM                 MESSAGES        MiB       LAST   FULL");
    for (const struct stream_def *const *def = registry_streams; *def; def++) {
        struct chain_stream state;
        if (chain_stream(s->cli, (*def)->name, &state, err) < 0)
            return -1;
        unsigned full = chain_stream_full(&state);
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:i}", "name", (*def)->name,
                                              "messages", (json_int_t)state.messages, "bytes",
                                              (json_int_t)state.bytes, "last",
                                              (json_int_t)state.last, "full_percent", (int)full));
        if (plain(s))
            printf("%-20s %10" PRIu64 " %10.1f %10" PRIu64 " %s%5u%%%s\n", (*def)->name,
                   state.messages, (double)state.bytes / 1048576, state.last,
                   paint(s->cli->color, full >= FULL_WARN ? PAINT_RED : PAINT_GREEN), full,
                   paint_end(s->cli->color));
    }
    return 0;
}

/* Age of the oldest message that a consumer has not settled. */
static int oldest_age(struct screen *s, const struct fleet_consumer *c,
                      const struct chain_consumer *state, double *ret, struct err *err)
{
    struct chain_message m;

    *ret = 0;
    if (state->pending + state->ack_pending == 0)
        return 0;
    if (chain_message(s->cli, c->stream, state->ack_floor + 1, &m, err) < 0)
        return -1;
    if (m.found && m.stored_us)
        *ret = (double)(wall_us() - m.stored_us) / 1e6;
    return 0;
}

static void estimate_text(uint64_t before, uint64_t now, int64_t ms, char out[static AGE_TEXT])
{
    if (ms > 0 && before > now && now > 0)
        age_text((double)now * (double)ms / 1000 / (double)(before - now), out);
    else
        (void)snprintf(out, AGE_TEXT, "%s", now == 0 ? "" : "?");
}

/* *ret: null, or since when and why. */
static int show_paused(struct screen *s, const char *durable, json_t **ret, struct err *err)
{
    struct pause_state state;
    char since[TIME_TEXT];
    struct bus *bus;

    *ret = json_null();
    if (cli_bus(s->cli, &bus, err) < 0 || control_pause_of(bus, durable, &state, err) < 0)
        return -1;
    if (!state.paused)
        return 0;
    time_text(state.since_us, since);
    *ret = json_pack("{s:I, s:s}", "since_us", (json_int_t)state.since_us, "why", state.why);
    if (plain(s))
        printf("  %spaused%s since %s, %s\n", paint(s->cli->color, PAINT_YELLOW),
               paint_end(s->cli->color), since, state.why);
    return 0;
}

static int show_consumers(struct screen *s, struct memory *memory, struct err *err)
{
    struct fleet_consumer consumers[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(consumers);
    int64_t now = mono_ms(), passed = memory->at_ms ? now - memory->at_ms : 0;
    json_t *list = json_array();

    json_object_set_new(s->document, "consumers", list);
    head(s, "CONSUMER                     PENDING  IN HAND  REDELIVERED     OLDEST   DRAINED IN");
    for (size_t i = 0; i < n; i++) {
        struct chain_consumer state;
        char oldest[AGE_TEXT] = "", drain[AGE_TEXT];
        double age;
        if (chain_consumer(s->cli, consumers[i].stream, consumers[i].spec->durable, &state, err) <
                0 ||
            oldest_age(s, &consumers[i], &state, &age, err) < 0)
            return -1;
        if (age > 0)
            age_text(age, oldest);
        estimate_text(memory->pending[i], state.pending, passed, drain);
        memory->pending[i] = state.pending;
        if (plain(s))
            printf("%-26s %9" PRIu64 " %8" PRIu64 " %12" PRIu64 " %10s %12s\n",
                   consumers[i].spec->durable, state.pending, state.ack_pending, state.redelivered,
                   oldest, drain);
        json_t *paused;
        if (show_paused(s, consumers[i].spec->durable, &paused, err) < 0)
            return -1;
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:o}", "name", consumers[i].spec->durable,
                      "stream", consumers[i].stream, "pending", (json_int_t)state.pending,
                      "ack_pending", (json_int_t)state.ack_pending, "redelivered",
                      (json_int_t)state.redelivered, "oldest_seconds", age, "paused", paused));
    }
    memory->at_ms = now;
    return 0;
}

static int show_outbox(struct screen *s, struct err *err)
{
    struct chain_lag lag;
    char age[AGE_TEXT];

    if (chain_lag(s->cli, &lag, err) < 0)
        return -1;
    age_text(lag.seconds, age);
    json_put(s->document, "outbox",
             json_pack("{s:I, s:f}", "rows", (json_int_t)lag.rows, "seconds", lag.seconds));
    if (plain(s))
        printf("%soutbox%s        %" PRId64 " rows behind, oldest %s\n",
               paint(s->cli->color, PAINT_BOLD), paint_end(s->cli->color), lag.rows, age);
    return 0;
}

static int show_dead(struct screen *s, struct err *err)
{
    struct chain_stream state;
    json_t *codes = json_object();
    const char *code;
    json_t *count;

    json_t *part = json_object();
    json_object_set_new(s->document, "dead_letters", part);
    json_object_set_new(part, "codes", codes);
    if (chain_stream(s->cli, "ANIME_DLQ", &state, err) < 0)
        return -1;
    json_put(part, "messages", json_integer((json_int_t)state.messages));
    uint64_t lowest = state.last > DEAD_SHOWN ? state.last - DEAD_SHOWN : 0;
    for (uint64_t q = state.last; state.messages && q > lowest && q >= state.first; q--) {
        struct chain_message m;
        if (chain_message(s->cli, "ANIME_DLQ", q, &m, err) < 0)
            return -1;
        if (m.found && *m.code)
            json_put(codes, m.code,
                     json_integer(json_integer_value(json_object_get(codes, m.code)) + 1));
    }
    if (!plain(s))
        return 0;
    printf("%sdead letters%s  %s%" PRIu64 "%s", paint(s->cli->color, PAINT_BOLD),
           paint_end(s->cli->color), paint(s->cli->color, state.messages ? PAINT_RED : PAINT_GREEN),
           state.messages, paint_end(s->cli->color));
    json_object_foreach(codes, code, count)
    {
        printf("  %s %" JSON_INTEGER_FORMAT, code, json_integer_value(count));
    }
    putchar('\n');
    return 0;
}

static int show_index(struct screen *s, struct err *err)
{
    static const char *const kinds[] = {"anime", "character", "episode"};
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg *pg;
    json_t *part = json_object();

    json_object_set_new(s->document, "index", part);
    if (cli_pg(s->cli, &pg, err) < 0 ||
        pg_query(pg, &sql_catalogue_counts, NULL, 0, &result, err) < 0)
        return -1;
    json_put(part, "pending_updates", json_integer(pg_get_i64(result, 0, 3)));
    json_put(part, "pending_reviews", json_integer(pg_get_i64(result, 0, 4)));
    if (plain(s))
        printf("%swaiting%s       %" PRId64 " updates for their entity, %" PRId64 " for a person\n",
               paint(s->cli->color, PAINT_BOLD), paint_end(s->cli->color), pg_get_i64(result, 0, 3),
               pg_get_i64(result, 0, 4));
    for (int i = 0; i < 3; i++) {
        int64_t rows = pg_get_i64(result, 0, i), points;
        if (chain_count(s->cli, kinds[i], &points, err) < 0)
            return -1;
        json_put(
            part, kinds[i],
            json_pack("{s:I, s:I}", "catalogue", (json_int_t)rows, "index", (json_int_t)points));
        if (plain(s))
            printf("%s%-13s%s %" PRId64 " in the catalogue, %s%" PRId64 " in the index%s\n",
                   paint(s->cli->color, PAINT_BOLD), kinds[i], paint_end(s->cli->color), rows,
                   paint(s->cli->color, rows == points ? PAINT_GREEN : PAINT_YELLOW), points,
                   paint_end(s->cli->color));
    }
    return 0;
}

static json_t *show_outages(const struct screen *s, const struct worker_state *w)
{
    json_t *list = json_array();

    for (size_t i = 0; i < w->n_outages; i++) {
        const struct worker_outage *o = &w->outages[i];
        char lasts[AGE_TEXT];
        age_text((double)o->for_ms / 1000, lasts);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}",
                                              "dependency", o->dependency, "code", o->code, "op",
                                              o->op, "reason", o->reason, "since", o->since,
                                              "for_ms", (json_int_t)o->for_ms, "failed_probes",
                                              (json_int_t)o->failed_probes, "next_probe_ms",
                                              (json_int_t)o->next_probe_ms));
        if (plain(s))
            printf("  %soutage%s      %-12s since %s (%s): %s: %s [%s], %" PRId64
                   " probe%s failed, next in %.1f s\n",
                   paint(s->cli->color, PAINT_RED), paint_end(s->cli->color), o->dependency,
                   o->since, lasts, o->op, o->reason, o->code, o->failed_probes,
                   o->failed_probes == 1 ? "" : "s", (double)o->next_probe_ms / 1000);
    }
    return list;
}

static void show_workers(struct screen *s, const char *workers)
{
    struct view rest = view_of(workers), one;
    json_t *list = json_array();

    json_object_set_new(s->document, "workers", list);
    while (view_split(&rest, ',', &one)) {
        struct worker_state w;
        one = view_trim(one);
        if (one.n == 0)
            continue;
        worker_ask(s->cli, one, &w);
        if (plain(s))
            printf("%sworker%s        %-12s %s%s%s%s%s%s%s\n", paint(s->cli->color, PAINT_BOLD),
                   paint_end(s->cli->color), *w.name ? w.name : w.address,
                   paint(s->cli->color, w.ready ? PAINT_GREEN : PAINT_RED),
                   w.ready         ? "ready"
                   : w.unreachable ? "unreachable"
                                   : "not ready",
                   paint_end(s->cli->color), *w.reason ? ": " : "", w.reason,
                   *w.down && !*w.reason ? ", breaker open: " : "", *w.reason ? "" : w.down);
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:s, s:s, s:o}", "address",
                                              w.address, "worker", w.name, "ready", w.ready,
                                              "unreachable", w.unreachable, "down", w.down,
                                              "reason", w.reason, "outages", show_outages(s, &w)));
    }
}

static unsigned look(struct cli *cli, struct memory *memory, struct err *worst)
{
    const struct status_options *o = cli->options;
    struct screen s = {.cli = cli, .document = json_object()};
    struct err err = ERR_INIT;

    if (show_streams(&s, &err) < 0 || show_consumers(&s, memory, &err) < 0 ||
        show_dead(&s, &err) < 0) {
        unknown(&s, "nats", &err);
        *worst = err;
    }
    if (*cli->config.pg_url) {
        if (show_outbox(&s, &err) < 0) {
            unknown(&s, "postgresql", &err);
            *worst = err;
        } else if (show_index(&s, &err) < 0) {
            unknown(&s, "qdrant", &err);
            *worst = err;
        }
    }
    show_workers(&s, o->workers);
    if (cli->config.json)
        print_json(s.document, true);
    json_decref(s.document);
    (void)fflush(stdout);
    return s.trouble;
}

static int run(struct cli *cli, struct err *err)
{
    const struct status_options *o = cli->options;
    struct memory memory = {0};
    struct err worst = ERR_INIT;
    unsigned trouble;

    (void)err;
    for (;;) {
        arena_reset(cli->arena);
        if (o->watch && cli->color)
            fputs("\033[H\033[2J", stdout);
        trouble = look(cli, &memory, &worst);
        if (!o->watch || !wait_ms(o->interval_ms))
            break;
    }
    if (trouble == 0)
        return CLI_OK;
    return worst.class == ERR_UNAVAILABLE ? CLI_UNREACHABLE : CLI_FAILED;
}

const struct verb verb_status = {
    .name = "status",
    .args = "",
    .summary = "one screen: streams, consumers, outbox, dead letters, index",
    .details = "Parts whose server is not given (pg-url) are left out; what can't be reached is "
               "said and\nthe rest is shown.",
    .example = "echora status --watch",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct status_options),
    .run = run,
};
