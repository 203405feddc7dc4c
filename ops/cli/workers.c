// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/workers.h"

#include <jansson.h>

#define BODY_MAX (64u << 10)
#define ASK_MS 1000

static void copy(char *to, size_t size, const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    (void)snprintf(to, size, "%s", text ? text : "?");
}

static void read_outages(const json_t *outages, struct worker_state *ret)
{
    const json_t *one;
    size_t i;

    json_array_foreach(outages, i, one)
    {
        if (ret->n_outages == WORKER_OUTAGES)
            return;
        struct worker_outage *o = &ret->outages[ret->n_outages++];
        copy(o->dependency, sizeof(o->dependency), one, "dependency");
        copy(o->code, sizeof(o->code), one, "code");
        copy(o->op, sizeof(o->op), one, "op");
        copy(o->reason, sizeof(o->reason), one, "reason");
        copy(o->since, sizeof(o->since), one, "since");
        o->for_ms = json_integer_value(json_object_get(one, "for_ms"));
        o->next_probe_ms = json_integer_value(json_object_get(one, "next_probe_ms"));
        o->failed_probes = json_integer_value(json_object_get(one, "failed_probes"));
        size_t n = strlen(ret->down);
        (void)snprintf(ret->down + n, sizeof(ret->down) - n, "%s%s", n ? ", " : "", o->dependency);
    }
}

static void read_state(struct view text, struct worker_state *ret)
{
    json_auto_t *body = json_loadb(text.p, text.n, 0, NULL);
    const json_t *missing = json_object_get(body, "missing"), *one;
    size_t i;

    json_array_foreach(missing, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *reason = json_string_value(json_object_get(one, "reason"));
        size_t n = strlen(ret->reason);
        (void)snprintf(ret->reason + n, sizeof(ret->reason) - n, "%s%s (%s)", n ? ", " : "",
                       name ? name : "?", reason ? reason : "?");
        n = strlen(ret->missing);
        (void)snprintf(ret->missing + n, sizeof(ret->missing) - n, "%s%s", n ? ", " : "",
                       name ? name : "?");
    }
    read_outages(json_object_get(body, "outages"), ret);
}

void worker_ask(struct cli *cli, struct view address, struct worker_state *ret)
{
    struct err err = ERR_INIT;
    struct http_reply reply;

    *ret = (struct worker_state){0};
    struct view name = address, rest = address;
    if (view_split(&rest, '=', &name) && rest.n) {
        (void)snprintf(ret->name, sizeof(ret->name), "%.*s", VIEW_ARG(name));
        address = rest;
    }
    (void)snprintf(ret->address, sizeof(ret->address), "%.*s", VIEW_ARG(address));
    struct http_options options = {.base_url = arena_printf(cli->arena, "http://%s", ret->address),
                                   .bearer = "",
                                   .api_key = "",
                                   .connect_timeout_ms = ASK_MS,
                                   .timeout_ms = ASK_MS,
                                   .max_reply = BODY_MAX};
    struct http *http = http_new(&options);
    http_reply_init(&reply, BODY_MAX);
    ret->ready =
        http && http_call(http, "GET", "/readyz", NULL, (struct view){0}, &reply, &err) == 0;
    ret->unreachable = reply.status == 0;
    read_state(buf_view(&reply.body), ret);
    http_reply_deinit(&reply);
    (void)http_free(http);
}
