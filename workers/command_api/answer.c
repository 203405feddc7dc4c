/* An answer as the gateway reads it: headers of CGI, an empty line, the body. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/fault.h"
#include "workers/command_api/call.h"

static void put_problem_headers(const struct call *c, struct buf *out)
{
    const int64_t retry_after = refusal_retry_after_s(&c->refusal);

    if (c->refusal.problem == PROBLEM_UNAUTHENTICATED)
        buf_printf(out, "WWW-Authenticate: Bearer realm=\"echora\"%s\r\n",
                   c->invalid_token ? ", error=\"invalid_token\"" : "");
    if (c->refusal.problem == PROBLEM_SCOPE && c->refusal.scope != NULL)
        buf_printf(out,
                   "WWW-Authenticate: Bearer realm=\"echora\", error=\"insufficient_scope\", "
                   "scope=\"%s\"\r\n",
                   c->refusal.scope);
    if (c->refusal.problem == PROBLEM_METHOD)
        buf_printf(out, "Allow: %s\r\n", c->allow);
    if (retry_after > 0)
        buf_printf(out, "Retry-After: %lld\r\n", (long long)retry_after);
}

static void put_headers(const struct call *c, struct buf *out)
{
    if (c->location[0] != '\0')
        buf_printf(out, "Location: %s\r\n", c->location);
    if (c->retry_after_s > 0)
        buf_printf(out, "Retry-After: %lld\r\n", (long long)c->retry_after_s);
    if (c->route->bridge == BRIDGE_ARTIFACT)
        buf_puts(out, "Content-Disposition: attachment\r\n");
    if (c->replayed)
        buf_puts(out, "Idempotent-Replayed: true\r\n");
    else if (c->wait_ms > 0)
        buf_printf(out, "Preference-Applied: wait=%lld\r\n", (long long)(c->wait_ms / 1000));
}

void answer_write(const struct call *c, struct buf *out)
{
    const bool good = c->refusal.problem == PROBLEM_NONE;
    struct buf body CLEANUP(buf_deinit) = {.max = 64 << 10};

    if (!good)
        problem_write(&c->refusal, c->id, &body);
    const struct view text = good ? c->reply : buf_view(&body);
    buf_printf(out, "Status: %d\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
               FAULT("status-unpromised") ? 418
               : good                     ? c->status
                                          : problem_defs[c->refusal.problem].status,
               good ? c->content_type : "application/problem+json", text.n);
    buf_printf(out,
               "X-Request-Id: %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
               c->id);
    if (c->rate[0] != '\0' && !FAULT("header-left-out"))
        buf_printf(out, "RateLimit-Policy: %s\r\nRateLimit: %s\r\n", c->rate_policy, c->rate);
    if (good)
        put_headers(c, out);
    else
        put_problem_headers(c, out);
    buf_puts(out, "\r\n");
    buf_append_view(out, text);
}
