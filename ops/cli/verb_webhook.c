/* webhook: what the event adapter has sent and to whom. Reading asks PostgreSQL, doing asks the
 * adapter, which alone has destinations and secrets. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/gen/ops.pb-c.h"
#include "events/base/clock.h"
#include "ops/cli/chain.h"
#include "ops/cli/output.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"
#include "ops/sql.h"

/* A call may take its whole time limit. */
#define CALL_TIMEOUT_MS 70000
#define REPLAYS_MAX 1000

typedef Echora__Ops__V1__WebhookSendReply SendReply;

static const struct {
    const char *name, *stream, *durable;
} routes[] = {
    {"dlq", "ANIME_DLQ", "adapter-dlq"},
    {"risk", "ANIME_EVENTS", "adapter-risk"},
    {"review", "INGESTION_EVENTS", "adapter-review"},
};

static int check_route(const char *name, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (strcmp(routes[i].name, name) == 0)
            return 0;
    }
    return cli_usage(err, "%s is no route; there are dlq, risk and review", name);
}

/* In full for machines, short for people. */
static void put_time(const struct cli *cli, int64_t at_us, char out[static RFC3339_MAX])
{
    if (cli->config.json)
        rfc3339_format(at_us / 1000000, (int32_t)(at_us % 1000000 * 1000), out);
    else
        time_text(at_us, out);
}

/* routes --------------------------------------------------------------------------------------- */

static int show_route(struct cli *cli, const PGresult *rows, int i, json_t *list, struct err *err)
{
    struct chain_consumer state;
    char newest[RFC3339_MAX] = "";
    const bool enabled = pg_get_bool(rows, i, 0);
    const struct view reason = pg_get_text(rows, i, 1), class = pg_get_text(rows, i, 5),
                      said = pg_get_text(rows, i, 6);

    if (chain_consumer(cli, routes[i].stream, routes[i].durable, &state, err) < 0)
        return -1;
    if (!pg_is_null(rows, i, 4))
        put_time(cli, pg_get_timestamp_us(rows, i, 4), newest);
    json_array_append_new(
        list,
        json_pack("{s:s, s:b, s:s%, s:I, s:I, s:I, s:I, s:s, s:s%}", "route", routes[i].name,
                  "enabled", enabled, "reason", reason.p ? reason.p : "", reason.n, "delivered",
                  (json_int_t)pg_get_i64(rows, i, 2), "failed", (json_int_t)pg_get_i64(rows, i, 3),
                  "pending", (json_int_t)state.pending, "in_hand", (json_int_t)state.ack_pending,
                  "newest", newest, "newest_class", class.p ? class.p : "", class.n));
    if (cli->config.json)
        return 0;
    printf("%-8s %s%-9s%s %9" PRIu64 " %8" PRIu64 " %10" PRId64 " %8" PRId64 "  %s", routes[i].name,
           paint(cli->color, enabled ? PAINT_GREEN : PAINT_RED), enabled ? "enabled" : "disabled",
           paint_end(cli->color), state.pending, state.ack_pending, pg_get_i64(rows, i, 2),
           pg_get_i64(rows, i, 3), *newest ? newest : "never");
    if (class.n > 0)
        printf(" %s%.*s %.*s%s",
               paint(cli->color, view_is(class, "delivered") ? PAINT_GREEN : PAINT_RED),
               VIEW_ARG(class), VIEW_ARG(said), paint_end(cli->color));
    if (!enabled)
        printf("; disabled: %.*s", VIEW_ARG(reason));
    putchar('\n');
    return 0;
}

static int run_routes(struct cli *cli, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    struct pg_array names;
    struct pg *pg;
    int rc = CLI_OK;

    if (cli_pg(cli, &pg, err) < 0)
        return -1;
    pg_array_init(&names, PG_TEXTS, 1024);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        pg_array_text(&names, view_of(routes[i].name));
    const struct pg_param param = pg_array_param(&names);
    const int asked = pg_query(pg, &sql_webhook_routes, &param, 1, &rows, err);
    pg_array_deinit(&names);
    if (asked < 0)
        return -1;
    json_t *list = json_array();
    if (!cli->config.json)
        printf("ROUTE    STATE       PENDING  IN HAND  DELIVERED   FAILED  NEWEST CALL\n");
    for (int i = 0; i < PQntuples(rows) && rc == CLI_OK; i++)
        rc = show_route(cli, rows, i, list, err);
    if (rc == CLI_OK && cli->config.json)
        print_json(list, true);
    json_decref(list);
    return rc;
}

const struct verb verb_webhook_routes = {
    .name = "webhook routes",
    .args = "",
    .summary = "the routes of webhooks: state, what waits, how the newest calls ended",
    .details =
        "PENDING: events that were not tried yet. IN HAND: tried, and tried again later. "
        "DELIVERED, FAILED:\nof the newest thousand calls, tests left out. NEWEST CALL: when, "
        "and how it ended. A route that its\nreceiver has closed (410) is disabled; what "
        "waits stays in its stream. Why a route rests: `echora status`.",
    .example = "echora webhook routes",
    .run = run_routes,
};

/* deliveries ----------------------------------------------------------------------------------- */

struct delivery_options {
    const char *class, *id;
    int64_t limit;
};

#define AT(member) offsetof(struct delivery_options, member)
static const struct option delivery_options[] = {
    {.name = "class",
     .kind = OPT_ENUM,
     .offset = AT(class),
     .default_text = "any",
     .choices = "any|delivered|refused|auth|misconfigured|trouble|gone",
     .placeholder = "CLASS",
     .help = "Only calls that ended so."},
    {.name = "id",
     .kind = OPT_STRING,
     .offset = AT(id),
     .default_text = "",
     .placeholder = "WEBHOOK-ID",
     .help = "Only of this webhook."},
    {.name = "limit",
     .kind = OPT_INT,
     .offset = AT(limit),
     .default_text = "50",
     .min = 1,
     .max = 100000,
     .placeholder = "N",
     .help = "Most lines."},
};
#undef AT

static int query_attempts(struct cli *cli, const char *route, const char *class, const char *id,
                          int64_t limit, PGresult **ret, struct err *err)
{
    struct uuid webhook;
    struct pg *pg;

    if (*id && !uuid_parse(view_of(id), &webhook))
        return cli_usage(err, "%s is no UUID", id);
    if (cli_pg(cli, &pg, err) < 0)
        return -1;
    const struct pg_param params[] = {pg_text(view_of(route)), pg_text(view_of(class)),
                                      *id ? pg_uuid(webhook) : pg_null(), pg_i64(limit)};
    return pg_query(pg, &sql_webhook_attempts, params, 4, ret, err);
}

/* Names and reasons that people gave may hold escape sequences of a terminal. */
static const char *plain(const struct cli *cli, struct view from)
{
    char *copy = arena_strdup(cli->arena, from);

    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    return copy != NULL ? copy : "";
}

static json_t *json_text(struct view text)
{
    return json_stringn(text.p != NULL ? text.p : "", text.n);
}

static void show_change(const struct cli *cli, const PGresult *rows, int i, const char *at,
                        json_t *list)
{
    const struct view route = pg_get_text(rows, i, 1), change = pg_get_text(rows, i, 4),
                      actor = pg_get_text(rows, i, 10), reason = pg_get_text(rows, i, 11);

    json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o}", "started", at, "route",
                                          json_text(route), "trigger", json_text(change), "actor",
                                          json_text(actor), "reason", json_text(reason)));
    if (!cli->config.json)
        printf("%-19s %-6.*s %.*s by %s%s%s\n", at, VIEW_ARG(route), VIEW_ARG(change),
               actor.n > 0 ? plain(cli, actor) : "somebody", reason.n > 0 ? ": " : "",
               plain(cli, reason));
}

static void print_attempt(const struct cli *cli, const PGresult *rows, int i, const char *started,
                          const char *id, const char *next)
{
    const struct view route = pg_get_text(rows, i, 1), trigger = pg_get_text(rows, i, 4),
                      error = pg_get_text(rows, i, 6), class = pg_get_text(rows, i, 7),
                      actor = pg_get_text(rows, i, 10), answer = pg_get_text(rows, i, 11);

    printf("%-19s %-6.*s %s %3" PRId64 " %-6.*s %3" PRId64 " %s%-13.*s%s %6" PRId64
           " ms  %.*s%s%s%s%s\n",
           started, VIEW_ARG(route), id, pg_get_i64(rows, i, 3), VIEW_ARG(trigger),
           pg_get_i64(rows, i, 5),
           paint(cli->color, view_is(class, "delivered") ? PAINT_GREEN : PAINT_YELLOW),
           VIEW_ARG(class), paint_end(cli->color), pg_get_i64(rows, i, 8), VIEW_ARG(error),
           *next ? "  again about " : "", next, actor.n > 0 ? "  by " : "", plain(cli, actor));
    if (answer.n > 0)
        printf("    it said: %s\n", plain(cli, answer));
}

static void show_attempt(const struct cli *cli, const PGresult *rows, int i, json_t *list)
{
    char started[RFC3339_MAX], next[RFC3339_MAX] = "", id[UUID_TEXT];

    put_time(cli, pg_get_timestamp_us(rows, i, 0), started);
    if (pg_is_null(rows, i, 2)) {
        show_change(cli, rows, i, started, list);
        return;
    }
    if (!pg_is_null(rows, i, 9))
        put_time(cli, pg_get_timestamp_us(rows, i, 9), next);
    uuid_format(pg_get_uuid(rows, i, 2), id);
    json_array_append_new(
        list,
        json_pack("{s:s, s:o, s:s, s:I, s:o, s:I, s:o, s:o, s:I, s:s, s:o, s:o}", "started",
                  started, "route", json_text(pg_get_text(rows, i, 1)), "webhook_id", id, "attempt",
                  (json_int_t)pg_get_i64(rows, i, 3), "trigger", json_text(pg_get_text(rows, i, 4)),
                  "status", (json_int_t)pg_get_i64(rows, i, 5), "error",
                  json_text(pg_get_text(rows, i, 6)), "class", json_text(pg_get_text(rows, i, 7)),
                  "ms", (json_int_t)pg_get_i64(rows, i, 8), "next_try", next, "actor",
                  json_text(pg_get_text(rows, i, 10)), "answer",
                  json_text(pg_get_text(rows, i, 11))));
    if (!cli->config.json)
        print_attempt(cli, rows, i, started, id, next);
}

static int run_deliveries(struct cli *cli, struct err *err)
{
    const struct delivery_options *o = cli->options;
    const char *route = cli->n_args > 0 ? cli->args[0] : "";
    CLEANUP(pg_clearp) PGresult *rows = NULL;

    if ((*route && check_route(route, err) < 0) ||
        query_attempts(cli, route, strcmp(o->class, "any") == 0 ? "" : o->class, o->id, o->limit,
                       &rows, err) < 0)
        return -1;
    json_t *list = json_array();
    if (!cli->config.json)
        printf("STARTED             ROUTE  WEBHOOK-ID                           TRY CAUSE  STATUS "
               "CLASS          TOOK\n");
    for (int i = 0; i < PQntuples(rows); i++) {
        arena_reset(cli->arena);
        show_attempt(cli, rows, i, list);
    }
    if (cli->config.json)
        print_json(list, true);
    json_decref(list);
    return CLI_OK;
}

const struct verb verb_webhook_deliveries = {
    .name = "webhook deliveries",
    .args = "[ROUTE]",
    .summary = "the log of webhook calls, newest first",
    .details = "One line per call: its webhook-id, which try it was, whether the schedule or a "
               "person caused it,\nwhat the receiver answered (status 0: nothing, then a code says "
               "why), when it is tried again; below\nit the beginning of what the receiver said, "
               "unless it took the webhook: other bytes than printable\nASCII as dots, secrets and "
               "signatures as asterisks. A route that was disabled or enabled is a line of\nits "
               "own. The log is kept for 30 days.",
    .example = "echora webhook deliveries dlq --class trouble",
    .max_args = 1,
    .options = delivery_options,
    .n_options = ARRAY_LEN(delivery_options),
    .options_size = sizeof(struct delivery_options),
    .run = run_deliveries,
};

/* test, replay, enable ------------------------------------------------------------------------- */

static bool show_sent(const struct cli *cli, const char *route, const SendReply *reply)
{
    const bool good = strcmp(reply->class_, "delivered") == 0;

    if (cli->config.json) {
        json_t *doc =
            json_pack("{s:s, s:s, s:i, s:s, s:s, s:I, s:s}", "route", route, "webhook_id",
                      reply->webhook_id, "status", (int)reply->status, "error", reply->error,
                      "class", reply->class_, "ms", (json_int_t)reply->ms, "answer", reply->answer);
        print_json(doc, true);
        json_decref(doc);
    } else {
        printf("%s %s: %s%s%s, ", route, reply->webhook_id,
               paint(cli->color, good ? PAINT_GREEN : PAINT_RED), reply->class_,
               paint_end(cli->color));
        if (reply->status > 0)
            printf("status %d", (int)reply->status);
        else
            printf("no answer");
        printf("%s%s, %" PRId64 " ms\n", *reply->error ? " " : "", reply->error, reply->ms);
        if (*reply->answer)
            printf("    it said: %s\n", plain(cli, view_of(reply->answer)));
    }
    return good;
}

static int run_test(struct cli *cli, struct err *err)
{
    Echora__Ops__V1__WebhookTestRequest request = ECHORA__OPS__V1__WEBHOOK_TEST_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (check_route(cli->args[0], err) < 0 || cli_bus(cli, &bus, err) < 0)
        return -1;
    request.route = cli->args[0];
    request.actor = (char *)(uintptr_t)login_name();
    if (bus_call(bus, "webhook.test", &request.base,
                 &echora__ops__v1__webhook_send_reply__descriptor, CALL_TIMEOUT_MS, cli->arena,
                 &message, err) < 0)
        return -1;
    return show_sent(cli, cli->args[0], (const SendReply *)(void *)message) ? CLI_OK : CLI_FAILED;
}

const struct verb verb_webhook_test = {
    .name = "webhook test",
    .args = "ROUTE",
    .summary = "sends a signed test event to a route's receiver",
    .details =
        "Type webhook.test; a receiver that knows it answers 2xx and does nothing. Exit code "
        "1 when it\nanswers anything else. Works while the route is disabled or rests. Needs "
        "the rights of operator.",
    .example = "echora webhook test dlq",
    .min_args = 1,
    .max_args = 1,
    .run = run_test,
};

struct replay_options {
    bool failed;
};
static const struct option replay_options[] = {
    {.name = "failed",
     .kind = OPT_BOOL,
     .offset = offsetof(struct replay_options, failed),
     .default_text = "false",
     .help = "All webhooks of the route whose newest call failed and is not tried again, instead "
             "of WEBHOOK-ID."},
};

static int replay_one(struct cli *cli, struct bus *bus, const char *route, const char *id,
                      bool *ret_good, struct err *err)
{
    Echora__Ops__V1__WebhookReplayRequest request = ECHORA__OPS__V1__WEBHOOK_REPLAY_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    arena_reset(cli->arena);
    request.route = (char *)(uintptr_t)route;
    request.webhook_id = (char *)(uintptr_t)id;
    request.actor = (char *)(uintptr_t)login_name();
    if (bus_call(bus, "webhook.replay", &request.base,
                 &echora__ops__v1__webhook_send_reply__descriptor, CALL_TIMEOUT_MS, cli->arena,
                 &message, err) < 0)
        return -1;
    *ret_good = show_sent(cli, route, (const SendReply *)(void *)message);
    return 0;
}

static int replay_failed(struct cli *cli, struct bus *bus, const char *route, bool *ret_good,
                         struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    struct pg *pg;
    const struct pg_param params[] = {pg_text(view_of(route)), pg_i64(REPLAYS_MAX)};

    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_webhook_failed, params, 2, &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0 && !cli->config.json)
        printf("%s: nothing has failed for good; what is still tried needs no replay\n", route);
    for (int i = 0; i < PQntuples(rows) && !interrupted(); i++) {
        char id[UUID_TEXT];
        bool good = false;

        uuid_format(pg_get_uuid(rows, i, 0), id);
        if (replay_one(cli, bus, route, id, &good, err) < 0) {
            if (strcmp(err->code, "no-event") != 0)
                return -1;
            fprintf(stderr, "%s: %s\n", id, err->text);
            *err = ERR_INIT;
        }
        *ret_good &= good;
    }
    return 0;
}

static int run_replay(struct cli *cli, struct err *err)
{
    const struct replay_options *o = cli->options;
    struct bus *bus;
    bool good = true;

    if (o->failed == (cli->n_args == 2))
        return cli_usage(err, "give a WEBHOOK-ID, or --failed");
    if (check_route(cli->args[0], err) < 0 || cli_bus(cli, &bus, err) < 0)
        return -1;
    const int rc = o->failed ? replay_failed(cli, bus, cli->args[0], &good, err)
                             : replay_one(cli, bus, cli->args[0], cli->args[1], &good, err);
    return rc < 0 ? -1 : good ? CLI_OK : CLI_FAILED;
}

const struct verb verb_webhook_replay = {
    .name = "webhook replay",
    .args = "ROUTE [WEBHOOK-ID]",
    .summary = "sends an event's webhook once more",
    .details =
        "The event is read from its stream again; webhook-id and body stay, timestamp and "
        "signatures\nare new. One call, whatever it ends with. Needs the rights of operator.",
    .example = "echora webhook replay dlq 0193f0a2-6d57-7a53-9c1c-1f1f0e6f7a10\n"
               "echora webhook replay risk --failed",
    .min_args = 1,
    .max_args = 2,
    .options = replay_options,
    .n_options = ARRAY_LEN(replay_options),
    .options_size = sizeof(struct replay_options),
    .run = run_replay,
};

static int run_enable(struct cli *cli, struct err *err)
{
    Echora__Ops__V1__WebhookEnableRequest request = ECHORA__OPS__V1__WEBHOOK_ENABLE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (check_route(cli->args[0], err) < 0 || cli_bus(cli, &bus, err) < 0)
        return -1;
    request.route = cli->args[0];
    request.actor = (char *)(uintptr_t)login_name();
    if (bus_call(bus, "webhook.enable", &request.base,
                 &echora__ops__v1__webhook_enable_reply__descriptor, CALL_TIMEOUT_MS, cli->arena,
                 &message, err) < 0)
        return -1;
    if (!cli->config.json)
        printf("%s enabled\n", cli->args[0]);
    return CLI_OK;
}

const struct verb verb_webhook_enable = {
    .name = "webhook enable",
    .args = "ROUTE",
    .summary = "uses a route again that its receiver has closed",
    .details = "A receiver closes a route with status 410. Within a few seconds one waiting event "
               "is tried, then\nthe others. What was parked is sent again by `webhook replay "
               "ROUTE --failed`. "
               "Needs the rights of operator.",
    .example = "echora webhook enable dlq",
    .min_args = 1,
    .max_args = 1,
    .run = run_enable,
};
