/* pause and resume: a key of the bucket echora_control for each consumer (events/control.h).
 * Workers look once a second; what they have asked the server for before, they still get and
 * handle, so pause waits until no request is open and nothing is delivered any more. */
// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/control.h"
#include "events/stream.h"
#include "ops/cli/chain.h"
#include "ops/cli/fleet.h"
#include "ops/cli/output.h"
#include "ops/cli/pause.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

#define LOOK_MS 200
/* Workers look every second. */
#define QUIET_FOR_MS 2500

struct pause_options {
    const char *reason;
    int64_t wait_ms;
};

static const struct option pause_options[] = {
    {"reason", OPT_STRING, offsetof(struct pause_options, reason), "", 0, 0, NULL, "TEXT",
     "Why, for those who find it paused; required."},
    {"wait", OPT_DURATION, offsetof(struct pause_options, wait_ms), "30s", 0, 3600000, NULL, "TIME",
     "How long to wait until nothing is fetched any more; 0 = not at all."},
};

struct chosen {
    struct fleet_consumer list[FLEET_MAX_CONSUMERS];
    size_t n;
};

static int choose_one(struct chosen *c, const char *name, struct err *err)
{
    struct fleet_consumer all[FLEET_MAX_CONSUMERS];
    const size_t n = fleet_consumers(all), before = c->n;

    for (size_t i = 0; i < n; i++) {
        bool known = false;
        if (strcmp(name, all[i].worker) != 0 && strcmp(name, all[i].spec->durable) != 0)
            continue;
        for (size_t k = 0; k < c->n; k++)
            known |= c->list[k].spec == all[i].spec;
        if (!known)
            c->list[c->n++] = all[i];
        else
            return 0;
    }
    if (c->n > before)
        return 0;
    return cli_usage(
        err, "%s is no consumer and no worker that has some; `echora status` lists them", name);
}

static int choose(struct cli *cli, struct chosen *ret, struct bus **ret_bus, struct err *err)
{
    struct stream_state ignored;

    ret->n = 0;
    for (int i = 0; i < cli->n_args; i++)
        if (choose_one(ret, cli->args[i], err) < 0)
            return -1;
    if (cli_bus(cli, ret_bus, err) < 0)
        return -1;
    if (stream_state(*ret_bus, CONTROL_STREAM, &ignored, err) < 0)
        return strcmp(err->code, "nats-10059") == 0
                   ? err_wrap(err, "run `echora streams apply`, which makes the bucket")
                   : -1;
    return 0;
}

static int put(struct bus *bus, const char *durable, const char *value, struct err *err)
{
    const struct bus_header headers[] = {{"Nats-Expected-Stream", CONTROL_STREAM},
                                         {"KV-Operation", "DEL"}};
    char subject[160];
    const struct bus_message message = {.subject = subject,
                                        .payload = bytes_of(view_of(value)),
                                        .headers = headers,
                                        .n_headers = value ? 1 : 2};

    (void)snprintf(subject, sizeof(subject), CONTROL_PAUSED "%s", durable);
    return bus_publish(bus, &message, NULL, err);
}

/* Whether anything is on its way to a worker; *ret_delivered changes when something was. */
static int look(struct cli *cli, const struct chosen *c, bool *ret_waiting, uint64_t *ret_delivered,
                uint64_t *ret_in_hand, struct err *err)
{
    *ret_waiting = false;
    *ret_delivered = *ret_in_hand = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct chain_consumer state;
        if (chain_consumer(cli, c->list[i].stream, c->list[i].spec->durable, &state, err) < 0)
            return -1;
        *ret_waiting |= state.waiting > 0;
        *ret_delivered += state.delivered;
        *ret_in_hand += state.ack_pending;
    }
    return 0;
}

static int wait_until_quiet(struct cli *cli, const struct chosen *c, int64_t limit_ms,
                            bool *ret_quiet, uint64_t *ret_in_hand, struct err *err)
{
    const int64_t end = mono_ms() + limit_ms;
    int64_t since = mono_ms();
    uint64_t before = 0;

    for (bool first = true;; first = false) {
        uint64_t delivered;
        bool waiting;
        arena_reset(cli->arena);
        if (look(cli, c, &waiting, &delivered, ret_in_hand, err) < 0)
            return -1;
        const int64_t now = mono_ms();
        if (first || waiting || delivered != before)
            since = now;
        before = delivered;
        *ret_quiet = now - since >= QUIET_FOR_MS;
        if (*ret_quiet || now >= end || !wait_ms(LOOK_MS))
            return 0;
    }
}

static void answer(const struct cli *cli, const struct chosen *c, const char *state, bool quiet,
                   uint64_t in_hand)
{
    json_t *names = json_array();

    for (size_t i = 0; i < c->n; i++) {
        json_array_append_new(names, json_string(c->list[i].spec->durable));
        if (!cli->config.json)
            printf("%s %s\n", c->list[i].spec->durable, state);
    }
    if (cli->config.json) {
        json_t *doc = json_pack("{s:s, s:O, s:b, s:I}", "state", state, "consumers", names, "quiet",
                                quiet, "in_hand", (json_int_t)in_hand);
        print_json(doc, true);
        json_decref(doc);
    }
    json_decref(names);
}

int pause_worker(struct cli *cli, const char *worker, const char *reason, int64_t wait_limit_ms,
                 struct err *err)
{
    struct chosen c = {.n = 0};
    uint64_t in_hand;
    struct bus *bus;
    bool quiet;

    if (choose_one(&c, worker, err) < 0 || cli_bus(cli, &bus, err) < 0)
        return -1;
    const char *value = arena_printf(cli->arena, "%s: %s", login_name(), reason);
    for (size_t i = 0; i < c.n; i++)
        if (put(bus, c.list[i].spec->durable, value, err) < 0)
            return -1;
    if (wait_until_quiet(cli, &c, wait_limit_ms, &quiet, &in_hand, err) < 0)
        return -1;
    return quiet
               ? 0
               : err_set(err, ERR_RETRY, "timeout", "pause", "consumers of %s still fetch", worker);
}

static int run_pause(struct cli *cli, struct err *err)
{
    const struct pause_options *o = cli->options;
    struct chosen c;
    struct bus *bus;
    uint64_t in_hand = 0;
    bool quiet = false;

    if (!*o->reason)
        return cli_usage(err, "--reason is required");
    if (choose(cli, &c, &bus, err) < 0)
        return -1;
    const char *value = arena_printf(cli->arena, "%s: %s", login_name(), o->reason);
    for (size_t i = 0; i < c.n; i++)
        if (put(bus, c.list[i].spec->durable, value, err) < 0)
            return -1;
    if (o->wait_ms > 0 && wait_until_quiet(cli, &c, o->wait_ms, &quiet, &in_hand, err) < 0)
        return -1;
    answer(cli, &c, "paused", quiet, in_hand);
    if (o->wait_ms > 0 && !quiet)
        return err_set(err, ERR_RETRY, "timeout", "pause",
                       "paused, but something is still being fetched: is a worker cut off from "
                       "NATS, or older than `pause`?");
    if (o->wait_ms > 0 && !cli->config.json)
        printf("nothing is fetched any more, %llu events are in hand or wait for their retry\n",
               (unsigned long long)in_hand);
    return CLI_OK;
}

static int run_resume(struct cli *cli, struct err *err)
{
    struct chosen c;
    struct bus *bus;

    if (choose(cli, &c, &bus, err) < 0)
        return -1;
    for (size_t i = 0; i < c.n; i++)
        if (put(bus, c.list[i].spec->durable, NULL, err) < 0)
            return -1;
    answer(cli, &c, "resumed", false, 0);
    return CLI_OK;
}

const struct verb verb_pause = {
    .name = "pause",
    .args = "CONSUMER|WORKER...",
    .summary = "stops the fetching of consumers until `resume`",
    .details =
        "Fleet-wide and lasting: workers that start later keep to it. What a worker has in "
        "hand or has\nalready asked for (up to 5 s) is handled. Events wait in their stream, "
        "7 days at most. A worker's\nname means all its consumers. `status` and /readyz show "
        "it; the worker stays ready.\nNeeds the rights of operator or admin.",
    .example = "echora pause qdrant --reason 'index is moved'",
    .min_args = 1,
    .max_args = -1,
    .options = pause_options,
    .n_options = ARRAY_LEN(pause_options),
    .options_size = sizeof(struct pause_options),
    .run = run_pause,
};
const struct verb verb_resume = {
    .name = "resume",
    .args = "CONSUMER|WORKER...",
    .summary = "lets paused consumers fetch again",
    .details = "Workers notice within a second or two. What is not paused stays as it is.",
    .example = "echora resume qdrant",
    .min_args = 1,
    .max_args = -1,
    .run = run_resume,
};
