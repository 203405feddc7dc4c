/* Where a route's webhooks go, with which secrets, and the headers of a call. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "events/base/clock.h"
#include "events/trace.h"
#include "workers/adapter/adapter.h"

#define CONNECT_TIMEOUT_MS 5000

static const char *const paths[ROUTES] = {
    [ROUTE_DLQ] = "/webhook/dlq-triage",
    [ROUTE_RISK] = "/webhook/risky-update",
    [ROUTE_REVIEW] = "/webhook/review-ready",
};

/* False when the route has no destination. */
static bool find_url(const struct settings *s, enum route route, char *out, size_t size)
{
    size_t n = strlen(s->base_url);

    while (n > 0 && s->base_url[n - 1] == '/')
        n--;
    if (*s->urls[route] != '\0')
        snprintf(out, size, "%s", s->urls[route]);
    else
        snprintf(out, size, "%.*s%s", (int)n, s->base_url, paths[route]);
    return *s->urls[route] != '\0' || n > 0;
}

bool destination_is_set(const struct settings *s, enum route route)
{
    char url[2048];

    return find_url(s, route, url, sizeof(url));
}

int destination_secrets(const struct settings *s, enum route route, struct secrets *ret,
                        struct err *err)
{
    const char *own = s->route_secret_files[route];

    if (secrets_read(*own != '\0' ? own : s->secret_files, ret, err) < 0)
        return err_wrap(err, "route %s", route_name(route));
    if (ret->n == 0)
        return err_set(err, ERR_FATAL, "config", "read secrets", "route %s has no secret",
                       route_name(route));
    return 0;
}

int destination_open(const struct settings *s, enum route route, unsigned calls,
                     struct http_pool **ret_pool, struct secrets *ret_secrets, struct err *err)
{
    char url[2048];
    struct http_pool_options o = {.url = url,
                                  .plain = s->allow_http,
                                  .ca_file = s->ca_file,
                                  .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                  .timeout_ms = s->call_timeout_ms,
                                  .calls = calls,
                                  .waiting = ADAPTER_BATCH,
                                  .user_agent = "Echora-Event-Adapter/" ECHORA_VERSION};

    *ret_pool = NULL;
    if (!find_url(s, route, url, sizeof(url)))
        return 0;
    if (strlen(url) == sizeof(url) - 1) /* it may be cut */
        return err_set(err, ERR_FATAL, "config", "read destination",
                       "the URL of route %s has more than %zu bytes", route_name(route),
                       sizeof(url) - 2);
    if (networks_parse(view_of(s->allow_networks), &o.allowed, err) < 0 ||
        destination_secrets(s, route, ret_secrets, err) < 0)
        return -1;
    *ret_pool = http_pool_new(&o, err);
    return *ret_pool != NULL ? 0 : err_wrap(err, "route %s", route_name(route));
}

int destination_send(struct http_pool *pool, const struct secrets *secrets, struct uuid id,
                     struct view body, const struct trace_context *parent, struct err *err)
{
    char id_text[UUID_TEXT], seconds_text[24], standard[SIGNATURES_MAX], plain[SIGNATURE_256_MAX],
        trace[TRACEPARENT_MAX];
    const int64_t seconds = wall_us() / 1000000;

    uuid_format(id, id_text);
    snprintf(seconds_text, sizeof(seconds_text), "%lld", (long long)seconds);
    if (sign_standard(secrets, id_text, seconds, body, standard, err) < 0 ||
        sign_256(view_of(secrets->list[0].text), body, plain, err) < 0)
        return -1;
    struct http_field fields[6] = {
        {"Content-Type", "application/json"}, {"webhook-id", id_text},
        {"webhook-timestamp", seconds_text},  {"webhook-signature", standard},
        {"X-Signature-256", plain},
    };
    size_t n = 5;
    if (parent != NULL && parent->set) {
        trace_format(parent, trace);
        fields[n++] = (struct http_field){"traceparent", trace};
    }
    return http_pool_start(pool, id, fields, n, body, err);
}

void destination_answer(const struct http_pool *pool, const struct secrets *secrets, struct uuid id,
                        char out[static EXCERPT_MAX + 1])
{
    struct view hidden[SECRETS_MAX + 2];
    size_t n = 0;

    for (; n < secrets->n; n++)
        hidden[n] = view_of(secrets->list[n].text);
    hidden[n++] = http_pool_sent(pool, id, "webhook-signature");
    hidden[n++] = http_pool_sent(pool, id, "X-Signature-256");
    excerpt_make(http_pool_answer(pool, id), hidden, n, out);
}
