/* review approve and reject: a person's decision, by request to the catalogue. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/base/uuid.h"
#include "ops/cli/dlq.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

typedef Echora__Catalog__V1__CatalogReviewDecideRequest DecideRequest;
typedef Echora__Catalog__V1__CatalogReviewDecideReply DecideReply;

#define CALL_TIMEOUT_MS 30000

struct decide_options {
    const char *reason, *actor, *decision_id;
};

static const struct option decide_options[] = {
    {"reason", OPT_STRING, offsetof(struct decide_options, reason), "", 0, 0, NULL, "TEXT",
     "Why, for the history and the audit."},
    {"actor", OPT_STRING, offsetof(struct decide_options, actor), "", 0, 0, NULL, "NAME",
     "Who decides; the login name by default."},
    {"decision-id", OPT_STRING, offsetof(struct decide_options, decision_id), "", 0, 0, NULL, "ID",
     "UUID of this decision, for who asks again; made from the others by default."},
};

/* The request's strings are not written to. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void print_names(const char *title, char *const names[], size_t n)
{
    printf("%s", title);
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? ", " : "", names[i]);
    printf("\n");
}

static void print_decision(const DecideReply *r)
{
    bool approved = strcmp(r->state, "approved") == 0;

    printf("%s %s%s", r->review_id, r->state, r->already_decided ? " already" : "");
    if (*r->reviewed_by)
        printf(" by %s", r->reviewed_by);
    printf(", the anime stands at revision %" PRId64 "\n", r->revision);
    if (approved)
        print_names("applied: ", r->applied_fields, r->n_applied_fields);
    if (r->n_superseded_fields) {
        printf("event %s came later: ", r->superseded_by);
        print_names("its values stand in ", r->superseded_fields, r->n_superseded_fields);
    }
}

static int decide(struct cli *cli, const char *decision, const char *wanted, struct err *err)
{
    const struct decide_options *o = cli->options;
    DecideRequest request = ECHORA__CATALOG__V1__CATALOG_REVIEW_DECIDE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;
    struct uuid id;

    if (!uuid_parse(view_of(cli->args[0]), &id))
        return cli_usage(err, "ID is the UUID of a review, or of its update");
    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    request.review_id = cli->args[0];
    request.decision = text(decision);
    request.reason = text(o->reason);
    request.reviewed_by = text(*o->actor ? o->actor : login_name());
    request.decision_id = text(o->decision_id);
    if (bus_call(bus, "catalog.review.decide", &request.base,
                 &echora__catalog__v1__catalog_review_decide_reply__descriptor, CALL_TIMEOUT_MS,
                 cli->arena, &message, err) < 0)
        return -1;
    const DecideReply *reply = (const DecideReply *)(void *)message;
    if (cli->config.json) {
        if (dlq_print_json(cli, message, err) < 0)
            return -1;
    } else {
        print_decision(reply);
    }
    return strcmp(reply->state, wanted) == 0 ? CLI_OK : CLI_FAILED;
}

static int run_approve(struct cli *cli, struct err *err)
{
    return decide(cli, "approve", "approved", err);
}

static int run_reject(struct cli *cli, struct err *err)
{
    return decide(cli, "reject", "rejected", err);
}

const struct verb verb_review_approve = {
    .name = "review approve",
    .args = "ID",
    .summary = "applies a risky update, as of its own time",
    .details =
        "Newer values that came meanwhile stand, and are told. Exit code 0 when it is approved,\n"
        "by you or by somebody before you; 1 when it was rejected, superseded or has expired.",
    .example =
        "echora review approve 0190a8a0-0000-7000-8000-000000000001 --reason \"seen on the site\"",
    .min_args = 1,
    .max_args = 1,
    .options = decide_options,
    .n_options = ARRAY_LEN(decide_options),
    .options_size = sizeof(struct decide_options),
    .run = run_approve,
};
const struct verb verb_review_reject = {
    .name = "review reject",
    .args = "ID",
    .summary = "discards a risky update",
    .details = "Its safe fields were applied when it came, and stay. Exit code as of approve.",
    .example =
        "echora review reject 0190a8a0-0000-7000-8000-000000000001 --reason \"wrong season\"",
    .min_args = 1,
    .max_args = 1,
    .options = decide_options,
    .n_options = ARRAY_LEN(decide_options),
    .options_size = sizeof(struct decide_options),
    .run = run_reject,
};
