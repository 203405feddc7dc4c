/* Provisioning: every stream of the registry and every consumer of the fleet, made or updated on
 * the server and read back. Nothing is ever deleted here. */
// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "events/control.h"
#include "ops/cli/jetstream.h"
#include "ops/cli/output.h"
#include "ops/cli/provision.h"
#include "ops/cli/verbs.h"

/* Below this a long series with a thousand characters does not fit. */
#define NEEDED_PAYLOAD (8 << 20)

enum mode { PLAN, APPLY, CHECK };

struct streams_options {
    int64_t replicas;
};

static const struct option options[] = {
    {"replicas", OPT_INT, offsetof(struct streams_options, replicas), "1", 1, 5, NULL, "N",
     "Copies of each stream; 3 in production."},
};

struct context {
    struct cli *cli;
    struct bus *bus;
    enum mode mode;
    unsigned missing, different, changed;
    json_t *rows;   /* for --json */
    json_t *fields; /* differences of the thing at hand */
};

static void note_difference(void *ctx, const char *field, const json_t *have, const json_t *want)
{
    struct context *c = ctx;

    json_array_append_new(
        c->fields, json_pack("{s:s, s:O?, s:O}", "field", field, "have", have, "want", want));
}

static void print_fields(const struct context *c)
{
    for (size_t i = 0; i < json_array_size(c->fields); i++) {
        const json_t *row = json_array_get(c->fields, i);
        char *have = json_dumps(json_object_get(row, "have"), JSON_ENCODE_ANY | JSON_COMPACT);
        char *want = json_dumps(json_object_get(row, "want"), JSON_ENCODE_ANY | JSON_COMPACT);
        printf("      %s: %s -> %s\n", json_string_value(json_object_get(row, "field")),
               have ? have : "(unset)", want ? want : "?");
        free(have);
        free(want);
    }
}

/* One line per thing that is not as it should be; with --json every thing. */
static void say(struct context *c, const char *kind, const char *name, const char *action)
{
    bool none = strcmp(action, "none") == 0;

    json_array_append_new(c->rows, json_pack("{s:s, s:s, s:s, s:O}", "kind", kind, "name", name,
                                             "action", action, "fields", c->fields));
    if (c->cli->config.json || none)
        return;
    bool creates = strcmp(action, "create") == 0;
    printf("  %s%s%s %s %s\n", paint(c->cli->color, creates ? PAINT_GREEN : PAINT_YELLOW),
           creates ? "+" : "~", paint_end(c->cli->color), kind, name);
    if (!creates)
        print_fields(c);
}

struct thing {
    const char *kind, *name;
    const char *info, *create, *update; /* API subjects below $JS.API. */
    json_t *want;
    json_t *request; /* body of create and update */
};

/* *ret_have: NULL when the server does not know it. Caller owns. */
static int read_config(struct context *c, const struct thing *t, json_t **ret_have, struct err *err)
{
    json_t *reply = NULL;

    *ret_have = NULL;
    if (jetstream_call(c->cli, c->bus, t->info, NULL, &reply, err) < 0)
        return strcmp(err->code, "nats-10059") == 0 || strcmp(err->code, "nats-10014") == 0 ? 0
                                                                                            : -1;
    *ret_have = json_incref(json_object_get(reply, "config"));
    json_decref(reply);
    if (!*ret_have)
        return err_set(err, ERR_RETRY, "nats-reply", "streams", "%s %s: a reply without config",
                       t->kind, t->name);
    return 0;
}

static int settle(struct context *c, const struct thing *t, struct err *err)
{
    json_t *have = NULL, *reply = NULL;

    if (read_config(c, t, &have, err) < 0)
        return -1;
    c->fields = json_array();
    bool create = !have;
    provision_keep_raised(have, t->want);
    unsigned n = create ? 0 : provision_compare(have, t->want, note_difference, c);
    json_decref(have);
    c->missing += create;
    c->different += n > 0;
    say(c, t->kind, t->name, create ? "create" : n ? "update" : "none");
    json_decref(c->fields);
    if (c->mode != APPLY || (!create && n == 0))
        return 0;

    if (jetstream_call(c->cli, c->bus, create ? t->create : t->update, t->request, &reply, err) < 0)
        return err_wrap(err, "%s %s", t->kind, t->name);
    json_decref(reply);
    c->changed++;
    /* An old server drops what it does not know without a word: look again. */
    if (read_config(c, t, &have, err) < 0)
        return -1;
    c->fields = json_array();
    n = provision_compare(have, t->want, note_difference, c);
    json_decref(have);
    if (n)
        (void)err_set(err, ERR_REJECT, "nats-config", "streams",
                      "%s %s: the server took it but keeps %s otherwise", t->kind, t->name,
                      json_string_value(json_object_get(json_array_get(c->fields, 0), "field")));
    json_decref(c->fields);
    return n ? -1 : 0;
}

/* want is freed here. */
static int settle_stream(struct context *c, const char *name, json_t *want, struct err *err)
{
    struct arena *a = c->cli->arena;
    struct thing t = {
        .kind = "stream",
        .name = name,
        .info = arena_printf(a, "STREAM.INFO.%s", name),
        .create = arena_printf(a, "STREAM.CREATE.%s", name),
        .update = arena_printf(a, "STREAM.UPDATE.%s", name),
        .want = want,
        .request = want,
    };
    int r = settle(c, &t, err);

    json_decref(want);
    return r;
}

static int settle_consumer(struct context *c, const struct fleet_consumer *consumer,
                           struct err *err)
{
    struct arena *a = c->cli->arena;
    const char *durable = consumer->spec->durable;
    json_t *want = provision_consumer(consumer);
    json_t *request = json_pack("{s:s, s:O}", "stream_name", consumer->stream, "config", want);
    const char *create =
        arena_printf(a, "CONSUMER.DURABLE.CREATE.%s.%s", consumer->stream, durable);
    struct thing t = {
        .kind = "consumer",
        .name = arena_printf(a, "%s/%s", consumer->stream, durable),
        .info = arena_printf(a, "CONSUMER.INFO.%s.%s", consumer->stream, durable),
        .create = create,
        .update = create,
        .want = want,
        .request = request,
    };
    int r = settle(c, &t, err);

    json_decref(request);
    json_decref(want);
    return r;
}

static int settle_all(struct context *c, struct err *err)
{
    const struct streams_options *o = c->cli->options;
    const int replicas = (int)o->replicas;
    struct fleet_consumer consumers[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(consumers);
    int64_t level = 0;

    if (jetstream_api_level(c->cli, c->bus, &level, err) < 0)
        return -1;
    for (const struct stream_def *const *s = registry_streams; *s; s++)
        if (settle_stream(c, (*s)->name, provision_stream(*s, replicas, level >= 1), err) < 0)
            return -1;
    if (settle_stream(c, CONTROL_STREAM, provision_control(replicas), err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (settle_consumer(c, &consumers[i], err) < 0)
            return -1;
    return 0;
}

static void summarise(const struct context *c, bool payload_ok)
{
    static const char *const words[] = {[PLAN] = "plan", [APPLY] = "apply", [CHECK] = "check"};

    if (c->cli->config.json) {
        json_t *doc = json_pack("{s:s, s:i, s:i, s:i, s:I, s:b, s:O}", "mode", words[c->mode],
                                "missing", c->missing, "different", c->different, "changed",
                                c->changed, "max_payload", (json_int_t)bus_max_payload(c->bus),
                                "max_payload_ok", payload_ok, "things", c->rows);
        char *text = json_dumps(doc, JSON_COMPACT);
        printf("%s\n", text ? text : "{}");
        free(text);
        json_decref(doc);
        return;
    }
    if (!payload_ok)
        printf("  %s!%s max_payload of the server is %lld bytes, needed are %d: set "
               "`max_payload: 8MB` in its configuration\n",
               paint(c->cli->color, PAINT_RED), paint_end(c->cli->color),
               (long long)bus_max_payload(c->bus), NEEDED_PAYLOAD);
    if (c->missing + c->different == 0)
        printf("all %zu streams and consumers are as they should be\n", json_array_size(c->rows));
    else if (c->mode == APPLY)
        printf("%u created, %u updated\n", c->missing, c->different);
    else
        printf("%u missing, %u different; `echora streams apply` mends it\n", c->missing,
               c->different);
}

static int run(struct cli *cli, enum mode mode, struct err *err)
{
    struct context c = {.cli = cli, .mode = mode, .rows = json_array()};
    int r = cli_bus(cli, &c.bus, err);

    if (r == 0)
        r = settle_all(&c, err);
    bool payload_ok = r < 0 || bus_max_payload(c.bus) >= NEEDED_PAYLOAD;
    if (r == 0)
        summarise(&c, payload_ok);
    json_decref(c.rows);
    if (r < 0)
        return -1;
    bool good = payload_ok && c.missing + c.different == 0;
    return mode == CHECK && !good ? CLI_FAILED : CLI_OK;
}

static int run_plan(struct cli *cli, struct err *err)
{
    return run(cli, PLAN, err);
}

static int run_apply(struct cli *cli, struct err *err)
{
    return run(cli, APPLY, err);
}

static int run_check(struct cli *cli, struct err *err)
{
    return run(cli, CHECK, err);
}

const struct verb verb_streams_plan = {
    .name = "streams plan",
    .args = "",
    .summary = "shows what `streams apply` would change",
    .example = "echora streams plan",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct streams_options),
    .run = run_plan,
};
const struct verb verb_streams_apply = {
    .name = "streams apply",
    .args = "",
    .summary = "makes and updates streams and consumers",
    .details = "From the registry of subjects and the tables of the workers. May be repeated; "
               "deletes nothing.\nLimits of size that were raised by hand stay. Needs the rights "
               "of the user admin.",
    .example = "echora streams apply --nats-user admin --nats-password-file admin.pass",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct streams_options),
    .run = run_apply,
};
const struct verb verb_streams_check = {
    .name = "streams check",
    .args = "",
    .summary = "exits 1 when a stream or consumer is missing or differs",
    .example = "echora streams check --json",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct streams_options),
    .run = run_check,
};
