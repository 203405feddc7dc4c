/* A check of everything that can be asked from here, each with the command that mends it. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/control.h"
#include "ops/cli/chain.h"
#include "ops/cli/epochs.h"
#include "ops/cli/fleet.h"
#include "ops/cli/jetstream.h"
#include "ops/cli/migrations.h"
#include "ops/cli/output.h"
#include "ops/cli/points.h"
#include "ops/cli/provision.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"
#include "ops/cli/workers.h"
#include "ops/sql.h"

#define NEEDED_PAYLOAD (8 << 20)
#define NEEDED_PG 150000
#define SKEW_MAX_US 2000000

enum health { GOOD, DOUBTFUL, BAD };

struct doctor_options {
    const char *workers;
};

static const struct option options[] = {
    {"workers", OPT_STRING, offsetof(struct doctor_options, workers), "", 0, 0, NULL,
     "NAME=HOST:PORT,...", "Health listeners of the workers, to be asked too."},
};

struct doctor {
    struct cli *cli;
    json_t *list;
    unsigned bad, doubtful, unreachable;
};

static void say(struct doctor *d, const char *what, enum health health, const char *mend,
                const char *fmt, ...) PRINTF_LIKE(5, 6);
static void say(struct doctor *d, const char *what, enum health health, const char *mend,
                const char *fmt, ...)
{
    static const struct {
        const char *word;
        enum paint paint;
    } looks[] = {{"ok", PAINT_GREEN}, {"warn", PAINT_YELLOW}, {"FAIL", PAINT_RED}};
    char text[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    d->bad += health == BAD;
    d->doubtful += health == DOUBTFUL;
    if (health == GOOD)
        mend = NULL;
    json_array_append_new(d->list, json_pack("{s:s, s:s, s:s, s:s?}", "check", what, "state",
                                             looks[health].word, "text", text, "mend", mend));
    if (d->cli->config.json)
        return;
    printf("%s%-4s%s %-20s %s\n", paint(d->cli->color, looks[health].paint), looks[health].word,
           paint_end(d->cli->color), what, text);
    if (mend)
        printf("     %-20s -> %s\n", "", mend);
}

static void unreachable(struct doctor *d, const char *what, const struct err *e, const char *mend)
{
    d->unreachable += e->class == ERR_UNAVAILABLE;
    say(d, what, BAD, mend, "%s [%s]", e->text, e->code);
}

static bool check_thing(struct doctor *d, struct bus *bus, const char *info, json_t *want,
                        const char *name, unsigned *ret_differ)
{
    struct err err = ERR_INIT;
    json_t *reply = NULL;
    bool there = jetstream_call(d->cli, bus, info, NULL, &reply, &err) == 0;

    provision_keep_raised(json_object_get(reply, "config"), want);
    if (there && provision_compare(json_object_get(reply, "config"), want, NULL, NULL) > 0)
        (*ret_differ)++;
    else if (!there)
        say(d, name, BAD, "echora streams apply (as user admin)", "%s", err.text);
    json_decref(reply);
    json_decref(want);
    return there;
}

static void check_paused(struct doctor *d, struct bus *bus, const struct fleet_consumer consumers[],
                         size_t n)
{
    char names[256] = "";
    unsigned paused = 0;

    for (size_t i = 0; i < n; i++) {
        struct err err = ERR_INIT;
        struct pause_state state;
        if (control_pause_of(bus, consumers[i].spec->durable, &state, &err) < 0) {
            unreachable(d, "paused", &err, "who may read what: ops/nats/users.py");
            return;
        }
        size_t used = strlen(names);
        if (state.paused)
            (void)snprintf(names + used, sizeof(names) - used, "%s%s", paused++ ? ", " : "",
                           consumers[i].spec->durable);
    }
    say(d, "paused", paused ? DOUBTFUL : GOOD, "echora resume CONSUMER", "%s",
        paused ? names : "no consumer");
}

static void check_streams(struct doctor *d, struct bus *bus, int64_t level)
{
    struct fleet_consumer consumers[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(consumers);
    unsigned there = 0, differ = 0, total = (unsigned)n + 1;
    struct arena *a = d->cli->arena;

    for (const struct stream_def *const *s = registry_streams; *s; s++, total++) {
        json_t *want = provision_stream(*s, 1, level >= 1);
        json_object_del(want, "num_replicas"); /* one's own choice */
        there += check_thing(d, bus, arena_printf(a, "STREAM.INFO.%s", (*s)->name), want,
                             (*s)->name, &differ);
    }
    json_t *control = provision_control(1);
    json_object_del(control, "num_replicas");
    there += check_thing(d, bus, "STREAM.INFO." CONTROL_STREAM, control, CONTROL_STREAM, &differ);
    for (size_t i = 0; i < n; i++)
        there += check_thing(
            d, bus,
            arena_printf(a, "CONSUMER.INFO.%s.%s", consumers[i].stream, consumers[i].spec->durable),
            provision_consumer(&consumers[i]), consumers[i].spec->durable, &differ);
    if (there == total)
        say(d, "streams", differ ? BAD : GOOD, "echora streams plan, then echora streams apply",
            "%u streams and consumers, %u differ from the registry", total, differ);
    check_paused(d, bus, consumers, n);
}

static void check_nats(struct doctor *d)
{
    struct err err = ERR_INIT;
    struct bus *bus;
    int64_t level = 0, start = mono_us();

    if (cli_bus(d->cli, &bus, &err) < 0 || bus_ping(bus, 0, &err) < 0) {
        unreachable(d, "nats", &err, "start nats-server, or set nats-url and nats-user");
        return;
    }
    say(d, "nats", GOOD, NULL, "%s answers, connected and pinged in %.1f ms",
        d->cli->config.nats_url, (double)(mono_us() - start) / 1000);
    int64_t payload = bus_max_payload(bus);
    say(d, "max_payload", payload >= NEEDED_PAYLOAD ? GOOD : BAD,
        "set `max_payload: 8MB` in nats-server's configuration", "%" PRId64 " bytes", payload);
    if (jetstream_api_level(d->cli, bus, &level, &err) < 0) {
        unreachable(d, "jetstream", &err, "enable JetStream: `jetstream {store_dir: ...}`");
        return;
    }
    say(d, "jetstream", level >= 1 ? GOOD : DOUBTFUL,
        "nats-server 2.12 or later is advised: 2.9 has known holes (CVE-2025-30215), keep it on "
        "loopback",
        "API level %" PRId64 "%s", level, level >= 1 ? "" : " (a server before 2.11)");
    check_streams(d, bus, level);
}

static void check_facts(struct doctor *d, const PGresult *facts, int64_t asked_us)
{
    int64_t version = pg_get_i64(facts, 0, 0), skew = pg_get_i64(facts, 0, 1) - asked_us;
    struct view fsync = pg_get_text(facts, 0, 2), commit = pg_get_text(facts, 0, 3);
    struct view missing = pg_get_text(facts, 0, 4);

    say(d, "postgresql", version >= NEEDED_PG ? GOOD : BAD, "use PostgreSQL 15 or later",
        "version %" PRId64 ".%" PRId64, version / 10000, version % 10000);
    bool skewed = skew > SKEW_MAX_US || skew < -SKEW_MAX_US;
    say(d, "clock", skewed ? BAD : GOOD, "run an NTP client on both machines",
        "PostgreSQL's is %+.3f s from this machine's", (double)skew / 1e6);
    bool durable = view_is(fsync, "on") && !view_is(commit, "off");
    say(d, "durability", durable ? GOOD : DOUBTFUL, "fsync = on, synchronous_commit = on",
        "fsync %.*s, synchronous_commit %.*s", VIEW_ARG(fsync), VIEW_ARG(commit));
    say(d, "roles", missing.n ? BAD : GOOD, "run ops/postgres/roles.sql as superuser",
        missing.n ? "missing: %.*s" : "all there%.*s", VIEW_ARG(missing));
}

static void check_pg(struct doctor *d)
{
    CLEANUP(pg_clearp) PGresult *facts = NULL;
    struct err err = ERR_INIT;
    struct migrate_state applied;
    struct pg *pg;

    if (!*d->cli->config.pg_url) {
        say(d, "postgresql", DOUBTFUL, "set pg-url", "not asked");
        return;
    }
    int64_t asked_us = wall_us();
    if (cli_pg(d->cli, &pg, &err) < 0 ||
        pg_query(pg, &sql_server_facts, NULL, 0, &facts, &err) < 0) {
        unreachable(d, "postgresql", &err, "start PostgreSQL, or set pg-url and pg-password-file");
        return;
    }
    check_facts(d, facts, asked_us);
    if (migrate_look(d->cli, pg, &applied, &err) < 0)
        say(d, "migrations", BAD, "echora migrate", "%s", err.text);
    else
        say(d, "migrations", applied.missing ? BAD : GOOD, "echora migrate (as echora_owner)",
            "%zu of %zu applied", applied.total - applied.missing, applied.total);
    struct chain_lag lag;
    if (chain_lag(d->cli, &lag, &err) == 0) {
        char age[AGE_TEXT];
        age_text(lag.seconds, age);
        say(d, "outbox", lag.seconds > 60 ? BAD : GOOD, "is echora-relay running? see its log",
            "%" PRId64 " rows behind, oldest %s", lag.rows, age);
    }
}

/* Both servers are needed; what can't be reached has been told. */
static void check_epochs(struct doctor *d)
{
    struct err err = ERR_INIT;
    struct epochs e;

    if (!*d->cli->config.pg_url || d->unreachable || epochs_look(d->cli, &e, &err) < 0)
        return;
    say(d, "epochs", e.wrong ? BAD : GOOD,
        "ops/runbooks/relay-refused.md; don't start the relay before",
        "%u streams of the relay%s%s", e.streams,
        e.wrong ? ": " : " and this database belong together", e.text);
}

static void check_qdrant(struct doctor *d)
{
    struct err err = ERR_INIT;
    json_t *about = NULL, *info = NULL;
    int major = 0, minor = 0;

    if (points_get(d->cli, "/", &about, &err) < 0) {
        unreachable(d, "qdrant", &err, "start Qdrant, or set qdrant-url");
        return;
    }
    const char *version = json_string_value(json_object_get(about, "version"));
    bool known = version && sscanf(version, "%3d.%3d", &major, &minor) == 2;
    bool good = known && (major > 1 || (major == 1 && minor >= 16));
    say(d, "qdrant", good ? GOOD : BAD, "use Qdrant 1.16 or later: guarded writes need it",
        "version %s", version ? version : "unknown");
    json_decref(about);
    if (points_call(d->cli, "GET", "", (struct view){0}, &info, &err) < 0) {
        say(d, "collection", BAD, "start echora-qdrant-sync: it makes collection and alias", "%s",
            err.text);
        return;
    }
    const char *status = json_string_value(json_object_get(info, "status"));
    say(d, "collection", status && strcmp(status, "red") != 0 ? GOOD : BAD, "see Qdrant's log",
        "%s: %" JSON_INTEGER_FORMAT " points, %s", INDEX_ALIAS,
        json_integer_value(json_object_get(info, "points_count")), status ? status : "?");
    json_decref(info);
}

/* What the index lacks as a whole; revisions are compared by `reconcile`. */
static void check_index(struct doctor *d)
{
    static const char *const kinds[] = {"anime", "character", "episode"};
    CLEANUP(pg_clearp) PGresult *counts = NULL;
    struct err err = ERR_INIT;
    struct pg *pg;
    int64_t rows = 0, points = 0;

    if (!*d->cli->config.pg_url || d->unreachable || cli_pg(d->cli, &pg, &err) < 0 ||
        pg_query(pg, &sql_catalogue_counts, NULL, 0, &counts, &err) < 0)
        return;
    for (int i = 0; i < 3; i++) {
        int64_t n;
        if (chain_count(d->cli, kinds[i], &n, &err) < 0)
            return;
        rows += pg_get_i64(counts, 0, i);
        points += n;
    }
    say(d, "index", rows == points ? GOOD : DOUBTFUL,
        "events on their way make it differ for a moment; if it stays: echora reconcile --repair",
        "%" PRId64 " in the catalogue, %" PRId64 " in the index", rows, points);
}

/* Says nothing where no webhook was ever sent. The adapter itself is ready while its receivers
 * fail. */
static void check_webhooks(struct doctor *d)
{
    static const char *const routes[] = {"dlq", "risk", "review"};
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    struct err err = ERR_INIT;
    struct pg_array names;
    struct pg *pg;
    bool used = false, good = true;

    if (!*d->cli->config.pg_url || d->unreachable || cli_pg(d->cli, &pg, &err) < 0)
        return;
    pg_array_init(&names, PG_TEXTS, 1024);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        pg_array_text(&names, view_of(routes[i]));
    const struct pg_param param = pg_array_param(&names);
    const int asked = pg_query(pg, &sql_webhook_routes, &param, 1, &rows, &err);
    pg_array_deinit(&names);
    for (int i = 0; asked == 0 && i < PQntuples(rows); i++) {
        const bool called = !pg_is_null(rows, i, 4), enabled = pg_get_bool(rows, i, 0);
        const struct view reason = pg_get_text(rows, i, 1), class = pg_get_text(rows, i, 5),
                          said = pg_get_text(rows, i, 6);

        used |= called;
        good &= enabled && (!called || view_is(class, "delivered"));
        if (!enabled)
            say(d, "webhooks", DOUBTFUL,
                arena_printf(d->cli->arena, "mend its receiver, then: echora webhook enable %s",
                             routes[i]),
                "route %s is disabled: %.*s", routes[i], VIEW_ARG(reason));
        else if (called && !view_is(class, "delivered"))
            say(d, "webhooks", DOUBTFUL,
                arena_printf(d->cli->arena,
                             "echora webhook deliveries %s; ops/runbooks/webhooks.md", routes[i]),
                "route %s: the newest call ended as %.*s %.*s", routes[i], VIEW_ARG(class),
                VIEW_ARG(said));
    }
    if (used && good)
        say(d, "webhooks", GOOD, NULL, "the newest call of each route was delivered");
}

static void check_workers(struct doctor *d, const char *workers)
{
    struct view rest = view_of(workers), one;

    while (view_split(&rest, ',', &one)) {
        struct worker_state w;
        one = view_trim(one);
        if (one.n == 0)
            continue;
        worker_ask(d->cli, one, &w);
        const char *mend = "start it, and see its log; exit code 8: ops/runbooks/relay-refused.md";
        if (!w.unreachable && *w.missing)
            mend = arena_printf(d->cli->arena, "first mend what it waits for: %s", w.missing);
        else if (!w.unreachable)
            mend = "see its log and /readyz";
        say(d, *w.name ? w.name : "worker", w.ready ? GOOD : BAD, mend, "%s %s%s%s", w.address,
            w.ready         ? "ready"
            : w.unreachable ? "does not answer"
                            : "not ready",
            *w.reason ? ": " : "", w.reason);
    }
}

static int run(struct cli *cli, struct err *err)
{
    const struct doctor_options *o = cli->options;
    struct doctor d = {.cli = cli, .list = json_array()};

    (void)err;
    check_nats(&d);
    check_pg(&d);
    check_epochs(&d);
    check_webhooks(&d);
    check_qdrant(&d);
    check_index(&d);
    check_workers(&d, o->workers);
    if (cli->config.json)
        print_json(d.list, true);
    else
        printf("%u failed, %u doubtful, %zu checked\n", d.bad, d.doubtful, json_array_size(d.list));
    json_decref(d.list);
    return d.unreachable ? CLI_UNREACHABLE : d.bad ? CLI_FAILED : CLI_OK;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .args = "",
    .summary = "checks servers, settings, rights and versions, and says what mends them",
    .details = "Changes nothing. Exit code 1 when a check fails, 3 when a server can't be reached.",
    .example = "echora doctor",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct doctor_options),
    .run = run,
};
