/* dlq replay, dlq discard: make a plan, run it, watch it. The dead-letter worker does the work and
 * goes on without us; Ctrl-C ends the watching alone. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <pwd.h>
#include <unistd.h>

#include "contracts/field.h"
#include "events/base/clock.h"
#include "ops/cli/dlq.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"

/* A plan of a million letters is made in one request. */
#define CALL_TIMEOUT_MS 300000
#define LOOK_MS 250

typedef Echora__Ops__V1__DlqPlan DlqPlan;
typedef Echora__Ops__V1__DlqReplayReply ReplayReply;

struct plan_options {
    struct dlq_filter filter;
    bool all, dry_run, stop, watch, canary;
    int64_t rate, max_failure, wait_ms;
    const char *actor;
};

#define AT(member) offsetof(struct plan_options, member)
#define PLAN_OPTIONS                                                                               \
    DLQ_FILTER_OPTIONS,                                                                            \
        {.name = "all",                                                                            \
         .kind = OPT_BOOL,                                                                         \
         .offset = AT(all),                                                                        \
         .default_text = "false",                                                                  \
         .help = "All open letters, when no option above names some."},                            \
        {.name = "dry-run",                                                                        \
         .kind = OPT_BOOL,                                                                         \
         .offset = AT(dry_run),                                                                    \
         .default_text = "false",                                                                  \
         .help = "Only makes the plan and shows it; run it later by its id."},                     \
        {.name = "stop",                                                                           \
         .kind = OPT_BOOL,                                                                         \
         .offset = AT(stop),                                                                       \
         .default_text = "false",                                                                  \
         .help = "Stops PLAN; running it again goes on."},                                         \
        {.name = "watch",                                                                          \
         .kind = OPT_BOOL,                                                                         \
         .offset = AT(watch),                                                                      \
         .default_text = "true",                                                                   \
         .help = "Stays until every letter has its outcome; =false returns at once."},             \
        {.name = "actor",                                                                          \
         .kind = OPT_STRING,                                                                       \
         .offset = AT(actor),                                                                      \
         .placeholder = "NAME",                                                                    \
         .help = "Who asks, for the audit; the login name by default."},                           \
    {                                                                                              \
        .name = "wait", .kind = OPT_DURATION, .offset = AT(wait_ms), .default_text = "5m",         \
        .min = 1000, .max = 86400 * 1000, .placeholder = "TIME",                                   \
        .help = "How long consumers may take for an outcome, before canary or watching give up."   \
    }

static const struct option replay_options[] = {
    PLAN_OPTIONS,
    {.name = "rate",
     .kind = OPT_INT,
     .offset = AT(rate),
     .default_text = "0",
     .max = 1000000,
     .placeholder = "N",
     .help = "At most N letters a second; 0 = no limit."},
    {.name = "canary",
     .kind = OPT_BOOL,
     .offset = AT(canary),
     .default_text = "false",
     .help = "One first, then ten times as many each time, while few enough fail."},
    {.name = "max-failure",
     .kind = OPT_INT,
     .offset = AT(max_failure),
     .default_text = "10",
     .min = 1,
     .max = 100,
     .placeholder = "PERCENT",
     .help = "The canary stops when more than this share fails."},
};
static const struct option discard_options[] = {PLAN_OPTIONS};
#undef AT

static const char *actor_of(const struct plan_options *o)
{
    const struct passwd *user = *o->actor ? NULL : getpwuid(getuid());

    return *o->actor ? o->actor : user ? user->pw_name : "unknown";
}

static int load(struct cli *cli, struct bus *bus, const char *id, DlqPlan **ret, struct err *err)
{
    Echora__Ops__V1__DlqStatusRequest request = ECHORA__OPS__V1__DLQ_STATUS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.plan_id = (char *)(uintptr_t)id;
    if (bus_call(bus, "dlq.status", &request.base, &echora__ops__v1__dlq_status_reply__descriptor,
                 CALL_TIMEOUT_MS, cli->arena, &message, err) < 0)
        return -1;
    const Echora__Ops__V1__DlqStatusReply *reply =
        (const Echora__Ops__V1__DlqStatusReply *)(void *)message;
    *ret = reply->n_plans == 1 ? reply->plans[0] : NULL; /* PostgreSQL may be away for a while */
    return 0;
}

static bool is_over(const DlqPlan *plan)
{
    return strcmp(plan->state, "running") != 0 && plan->sent + plan->enqueued == 0;
}

/* Until every letter has its outcome, nothing has moved for `wait`, or Ctrl-C. */
static int watch(struct cli *cli, struct bus *bus, DlqPlan **plan, int64_t wait, struct err *err)
{
    struct bar bar;
    char id[UUID_TEXT];
    int64_t moved = mono_ms(), left_before = -1;

    (void)snprintf(id, sizeof(id), "%s", (*plan)->id);
    bar_start(&bar, "letters", (uint64_t)(*plan)->total, cli->config.json);
    while (!is_over(*plan) && mono_ms() - moved < wait && wait_ms(LOOK_MS)) {
        DlqPlan *now = NULL;
        arena_reset(cli->arena);
        if (load(cli, bus, id, &now, err) < 0) {
            bar_end(&bar);
            return -1;
        }
        if (!now) {
            *plan = (DlqPlan *)message_new(&echora__ops__v1__dlq_plan__descriptor, cli->arena);
            if (!*plan || !((*plan)->id = arena_strdup(cli->arena, view_of(id))))
                return err_set(err, ERR_RETRY, "no-memory", "watch plan", "out of memory");
            (*plan)->state = (char *)(uintptr_t) "running";
            continue;
        }
        *plan = now;
        int64_t left = now->waiting + now->sent + now->enqueued;
        if (left != left_before)
            moved = mono_ms();
        left_before = left;
        bar_update(&bar, (uint64_t)(now->total - left));
    }
    bar_end(&bar);
    return 0;
}

static int ask(struct cli *cli, const char *subject, struct bus *bus, ReplayReply **ret,
               struct err *err)
{
    const struct plan_options *o = cli->options;
    Echora__Ops__V1__DlqReplayRequest request = ECHORA__OPS__V1__DLQ_REPLAY_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    if (cli->n_args > 0)
        request.plan_id = cli->args[0];
    else
        request.filter = dlq_filter_message(&o->filter, cli->arena);
    if (cli->n_args == 0 && !request.filter)
        return err_set(err, ERR_RETRY, "no-memory", subject, "out of memory");
    request.dry_run = o->dry_run;
    request.stop = o->stop;
    request.rate = (int32_t)o->rate;
    request.canary = o->canary;
    request.max_failure_percent = (int32_t)o->max_failure;
    request.wait_seconds = (int32_t)(o->wait_ms / 1000);
    request.actor = (char *)(uintptr_t)actor_of(o);
    if (bus_call(bus, subject, &request.base, &echora__ops__v1__dlq_replay_reply__descriptor,
                 CALL_TIMEOUT_MS, cli->arena, &message, err) < 0)
        return -1;
    *ret = (ReplayReply *)(void *)message;
    if (!(*ret)->plan)
        return err_set(err, ERR_RETRY, "bad-reply", subject, "the answer holds no plan");
    return 0;
}

static int show_dry_run(const struct cli *cli, const char *verb, const ReplayReply *reply,
                        struct err *err)
{
    if (cli->config.json)
        return dlq_print_json(cli, &reply->base, err) < 0 ? -1 : CLI_OK;
    dlq_print_plan(cli, reply->plan);
    if (reply->n_sample > 0)
        dlq_print_letters(cli, reply->sample, reply->n_sample);
    if (reply->plan->total > (int64_t)reply->n_sample)
        printf("and %" PRId64 " more\n", reply->plan->total - (int64_t)reply->n_sample);
    printf("run it: echora dlq %s %s\n", verb, reply->plan->id);
    return CLI_OK;
}

static int run(struct cli *cli, const char *verb, const char *subject, struct err *err)
{
    const struct plan_options *o = cli->options;
    ReplayReply *reply = NULL;
    struct bus *bus;
    const bool named = cli->n_args > 0, filtered = !dlq_filter_is_empty(&o->filter);

    if (named && (filtered || o->all || o->dry_run))
        return cli_usage(err, "a plan is exact: give its id alone, or name letters by options");
    if (!named && o->stop)
        return cli_usage(err, "--stop needs the id of the plan");
    if (!named && filtered == o->all)
        return cli_usage(err, "name letters by options, or --all, or give the id of a plan");
    if (cli_bus(cli, &bus, err) < 0 || ask(cli, subject, bus, &reply, err) < 0)
        return -1;
    if (o->dry_run)
        return show_dry_run(cli, verb, reply, err);
    DlqPlan *plan = reply->plan;
    const bool watches = o->watch && !o->stop;
    if (watches && watch(cli, bus, &plan, o->wait_ms, err) < 0)
        return -1;
    if (cli->config.json ? dlq_print_json(cli, &plan->base, err) < 0 : false)
        return -1;
    if (!cli->config.json)
        dlq_print_plan(cli, plan);
    if (!watches)
        return CLI_OK;
    if (!is_over(plan))
        fprintf(stderr, "it goes on; look: echora dlq status %s; stop: echora dlq %s --stop %s\n",
                plan->id, verb, plan->id);
    return is_over(plan) && strcmp(plan->state, "done") == 0 && plan->failed == 0 ? CLI_OK
                                                                                  : CLI_FAILED;
}

static int run_replay(struct cli *cli, struct err *err)
{
    return run(cli, "replay", "dlq.replay", err);
}

static int run_discard(struct cli *cli, struct err *err)
{
    return run(cli, "discard", "dlq.discard", err);
}

const struct verb verb_dlq_replay = {
    .name = "dlq replay",
    .args = "[PLAN]",
    .summary = "gives dead letters to the consumer that failed, once more",
    .details =
        "Options name the letters, which makes a plan: an exact list. With PLAN a plan that was "
        "made by --dry-run\nor has stopped is run.\nOnly the consumer that failed acts; newer "
        "values in the catalogue stay. What fails again comes back as a letter;\nafter three "
        "replays it is parked. Exit code 1 when a letter failed, or the plan is not over.",
    .example = "echora dlq replay --code too-large --dry-run\n"
               "echora dlq replay --consumer catalog-updated --since 24h --canary",
    .max_args = 1,
    .options = replay_options,
    .n_options = ARRAY_LEN(replay_options),
    .options_size = sizeof(struct plan_options),
    .run = run_replay,
};
const struct verb verb_dlq_discard = {
    .name = "dlq discard",
    .args = "[PLAN]",
    .summary = "dead letters that nobody needs are no longer offered",
    .details = "They stay in the stream until it drops them (30 days), and can still be listed and "
               "replayed: --state discarded.",
    .example = "echora dlq discard --fingerprint 0f1e2d3c4b5a6978 --dry-run",
    .max_args = 1,
    .options = discard_options,
    .n_options = ARRAY_LEN(discard_options),
    .options_size = sizeof(struct plan_options),
    .run = run_discard,
};
