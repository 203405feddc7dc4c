// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/workers.h"

#include <jansson.h>

#define METRICS_MAX (4u << 20)
#define ASK_MS 1000

/* The value of a label in `name{a="x",b="y"} 1`. */
static struct view label(struct view line, const char *name)
{
    char start[64];
    int n = snprintf(start, sizeof(start), "%s=\"", name);

    for (size_t i = 0; i + (size_t)n < line.n; i++) {
        if (memcmp(line.p + i, start, (size_t)n) != 0)
            continue;
        const char *value = line.p + i + n;
        const char *end = memchr(value, '"', line.n - i - (size_t)n);
        return end ? (struct view){value, (size_t)(end - value)} : (struct view){0};
    }
    return (struct view){0};
}

static void read_metrics(struct view text, struct worker_state *ret)
{
    struct view line;

    while (view_split(&text, '\n', &line)) {
        if (view_starts_with(line, "echora_breaker_open{") && line.n > 2 &&
            line.p[line.n - 1] == '1' && line.p[line.n - 2] == ' ') {
            size_t n = strlen(ret->down);
            (void)snprintf(ret->down + n, sizeof(ret->down) - n, "%s%.*s", n ? ", " : "",
                           VIEW_ARG(label(line, "dependency")));
        }
    }
}

static void read_reasons(struct view text, struct worker_state *ret)
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
                                   .max_reply = METRICS_MAX};
    struct http *http = http_new(&options);
    http_reply_init(&reply, METRICS_MAX);
    if (http && http_call(http, "GET", "/readyz", NULL, (struct view){0}, &reply, &err) == 0)
        ret->ready = true;
    else
        read_reasons(buf_view(&reply.body), ret);
    if (http && http_call(http, "GET", "/metrics", NULL, (struct view){0}, &reply, &err) == 0)
        read_metrics(buf_view(&reply.body), ret);
    else
        ret->unreachable = true;
    http_reply_deinit(&reply);
    (void)http_free(http);
}
