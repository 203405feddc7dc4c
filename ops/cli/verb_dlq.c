/* dlq list, show, status: what there is, by request to the dead-letter worker. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/json.h"
#include "ops/cli/dlq.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"

#define CALL_TIMEOUT_MS 30000

struct list_options {
    struct dlq_filter filter;
    bool groups;
    int64_t limit, cursor;
};

static const struct option list_options[] = {
    DLQ_FILTER_OPTIONS,
    {.name = "groups",
     .kind = OPT_BOOL,
     .offset = offsetof(struct list_options, groups),
     .default_text = "false",
     .help = "One line for all that failed alike."},
    {.name = "limit",
     .kind = OPT_INT,
     .offset = offsetof(struct list_options, limit),
     .default_text = "50",
     .min = 1,
     .max = 1000,
     .placeholder = "N",
     .help = "Most lines."},
    {.name = "cursor",
     .kind = OPT_INT,
     .offset = offsetof(struct list_options, cursor),
     .default_text = "0",
     .max = INT64_MAX,
     .placeholder = "SEQ",
     .help = "Goes on where the page before ended, as it said."},
};

static void warn_of_source(const char *source)
{
    if (strcmp(source, "stream") == 0)
        fputs("PostgreSQL is away: this comes from the stream itself, without states and plans\n",
              stderr);
}

static int run_list(struct cli *cli, struct err *err)
{
    const struct list_options *o = cli->options;
    Echora__Ops__V1__DlqListRequest request = ECHORA__OPS__V1__DLQ_LIST_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    request.filter = dlq_filter_message(&o->filter, cli->arena);
    if (!request.filter)
        return err_set(err, ERR_RETRY, "no-memory", "dlq list", "out of memory");
    request.limit = (int32_t)o->limit;
    request.cursor = (uint64_t)o->cursor;
    if (o->groups)
        request.group_by = (char *)(uintptr_t) "fingerprint";
    if (bus_call(bus, "dlq.list", &request.base, &echora__ops__v1__dlq_list_reply__descriptor,
                 CALL_TIMEOUT_MS, cli->arena, &message, err) < 0)
        return -1;
    const Echora__Ops__V1__DlqListReply *reply =
        (const Echora__Ops__V1__DlqListReply *)(void *)message;
    if (cli->config.json)
        return dlq_print_json(cli, message, err) < 0 ? -1 : CLI_OK;
    warn_of_source(reply->source);
    if (reply->n_letters + reply->n_groups == 0)
        printf("no dead letters\n");
    else if (o->groups)
        dlq_print_groups(cli, reply->groups, reply->n_groups);
    else
        dlq_print_letters(cli, reply->letters, reply->n_letters);
    if (reply->next_cursor)
        printf("more: --cursor %" PRIu64 "\n", reply->next_cursor);
    return CLI_OK;
}

const struct verb verb_dlq_list = {
    .name = "dlq list",
    .args = "",
    .summary = "dead letters, newest first, or groups that failed alike",
    .details = "Shows what is open and not parked, unless told otherwise.",
    .example = "echora dlq list --groups\n"
               "echora dlq list --code bad-uuid --since 24h",
    .options = list_options,
    .n_options = ARRAY_LEN(list_options),
    .options_size = sizeof(struct list_options),
    .run = run_list,
};

static int run_show(struct cli *cli, struct err *err)
{
    Echora__Ops__V1__DlqShowRequest request = ECHORA__OPS__V1__DLQ_SHOW_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;
    int64_t sequence;

    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    if (view_to_i64(view_of(cli->args[0]), 1, INT64_MAX, &sequence))
        request.sequence = (uint64_t)sequence;
    else
        request.id = cli->args[0];
    if (bus_call(bus, "dlq.show", &request.base, &echora__ops__v1__dlq_show_reply__descriptor,
                 CALL_TIMEOUT_MS, cli->arena, &message, err) < 0)
        return -1;
    if (!cli->config.json)
        warn_of_source(((const Echora__Ops__V1__DlqShowReply *)(void *)message)->source);
    return dlq_print_json(cli, message, err) < 0 ? -1 : CLI_OK;
}

const struct verb verb_dlq_show = {
    .name = "dlq show",
    .args = "SEQUENCE|ID",
    .summary = "one dead letter with its headers and its payload",
    .example = "echora dlq show 17",
    .min_args = 1,
    .max_args = 1,
    .run = run_show,
};

static void print_status(const struct cli *cli, const Echora__Ops__V1__DlqStatusReply *r)
{
    warn_of_source(r->source);
    printf("%" PRId64 " in ANIME_DLQ", r->letters);
    if (strcmp(r->source, "index") == 0)
        printf(": %s%" PRId64 " open%s, %" PRId64 " parked, %" PRId64 " replayed, %" PRId64
               " discarded",
               paint(cli->color, r->open ? PAINT_RED : PAINT_GREEN), r->open, paint_end(cli->color),
               r->parked, r->replayed, r->discarded);
    if (r->behind)
        printf("; %" PRId64 " not indexed yet", r->behind);
    printf("\n");
    for (size_t i = 0; i < r->n_plans; i++)
        dlq_print_plan(cli, r->plans[i]);
}

static int run_status(struct cli *cli, struct err *err)
{
    Echora__Ops__V1__DlqStatusRequest request = ECHORA__OPS__V1__DLQ_STATUS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    if (cli->n_args > 0)
        request.plan_id = cli->args[0];
    if (bus_call(bus, "dlq.status", &request.base, &echora__ops__v1__dlq_status_reply__descriptor,
                 CALL_TIMEOUT_MS, cli->arena, &message, err) < 0)
        return -1;
    if (cli->config.json)
        return dlq_print_json(cli, message, err) < 0 ? -1 : CLI_OK;
    print_status(cli, (const Echora__Ops__V1__DlqStatusReply *)(void *)message);
    return CLI_OK;
}

const struct verb verb_dlq_status = {
    .name = "dlq status",
    .args = "[PLAN]",
    .summary = "how many dead letters there are, and how plans are getting on",
    .example = "echora dlq status",
    .max_args = 1,
    .run = run_status,
};
