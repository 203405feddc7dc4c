/* --describe: the worker's tables as one JSON object, with every default filled in. Provisioning
 * makes consumers from it and the reference pages are checked against it. */
// SPDX-License-Identifier: Apache-2.0

#include "events/runtime.h"

static void put_string(struct buf *out, const char *name, const char *value)
{
    buf_putc(out, '"');
    buf_puts(out, name);
    buf_puts(out, "\":");
    if (value == NULL)
        buf_puts(out, "null");
    else
        buf_put_json_string(out, view_of(value));
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
    buf_printf(out, "\"%s\":%lld", name, (long long)value);
}

static void put_consumer(struct buf *out, const struct consumer_spec *c)
{
    const struct subject_def *def = c->filter != NULL ? NULL : registry_must(c->subject);

    buf_putc(out, '{');
    put_string(out, "durable", c->durable);
    buf_putc(out, ',');
    put_string(out, "stream", consumer_stream(c));
    buf_putc(out, ',');
    put_string(out, "subject", consumer_subject(c));
    buf_putc(out, ',');
    put_string(out, "message", def != NULL ? def->schema : NULL);
    buf_putc(out, ',');
    put_number(out, "batch_max", c->batch_max);
    buf_putc(out, ',');
    put_number(out, "ack_wait_ms", consumer_ack_wait_ms(c));
    buf_putc(out, ',');
    put_number(out, "max_deliver", consumer_max_deliver(c));
    buf_putc(out, ',');
    put_number(out, "max_ack_pending", consumer_max_ack_pending(c));
    buf_printf(out, ",\"parks\":%s,\"raw\":%s}", c->parks ? "true" : "false",
               c->raw ? "true" : "false");
}

static void put_request(struct buf *out, const struct request_spec *r)
{
    const struct subject_def *def = registry_must(r->subject);

    buf_putc(out, '{');
    put_string(out, "subject", r->subject);
    buf_putc(out, ',');
    put_string(out, "message", def->message != NULL ? def->message->name : NULL);
    buf_putc(out, ',');
    put_string(out, "reply", def->reply != NULL ? def->reply->name : NULL);
    buf_printf(out, ",\"always\":%s}", r->always ? "true" : "false");
}

static void put_option(struct buf *out, const struct option *o)
{
    static const char *const kinds[] = {
        [OPT_STRING] = "string",           [OPT_INT] = "integer", [OPT_BOOL] = "boolean",
        [OPT_DURATION] = "duration",       [OPT_SIZE] = "size",   [OPT_ENUM] = "choice",
        [OPT_SECRET_FILE] = "secret file",
    };

    buf_putc(out, '{');
    put_string(out, "name", o->name);
    buf_putc(out, ',');
    put_string(out, "kind", kinds[o->kind]);
    buf_putc(out, ',');
    put_string(out, "default", o->default_text != NULL ? o->default_text : "");
    buf_putc(out, ',');
    put_string(out, "choices", o->choices);
    buf_putc(out, ',');
    put_string(out, "help", o->help);
    buf_putc(out, '}');
}

static void put_options(struct buf *out, const struct option *rows, size_t n, bool *first)
{
    for (size_t i = 0; i < n; i++) {
        if (!*first)
            buf_putc(out, ',');
        *first = false;
        put_option(out, &rows[i]);
    }
}

void worker_describe(const struct worker_spec *spec, struct buf *out)
{
    bool first = true;

    buf_putc(out, '{');
    put_string(out, "name", spec->name);
    buf_putc(out, ',');
    put_string(out, "summary", spec->summary);
    buf_putc(out, ',');
    put_string(out, "version", ECHORA_VERSION);
    buf_puts(out, ",\"consumers\":[");
    for (size_t i = 0; i < spec->n_consumers; i++) {
        buf_puts(out, i > 0 ? "," : "");
        put_consumer(out, &spec->consumers[i]);
    }
    buf_puts(out, "],\"requests\":[");
    for (size_t i = 0; i < spec->n_requests; i++) {
        buf_puts(out, i > 0 ? "," : "");
        put_request(out, &spec->requests[i]);
    }
    buf_puts(out, "],\"needs\":[\"nats\"");
    for (enum dependency dep = DEP_POSTGRES; dep < DEP_MAX; dep++) {
        if (spec->needs & (1u << dep))
            buf_printf(out, ",\"%s\"", dependency_name(dep));
    }
    buf_puts(out, "],\"options\":[");
    put_options(out, worker_option_rows, n_worker_option_rows, &first);
    if (spec->needs & (1u << DEP_POSTGRES))
        put_options(out, worker_pg_option_rows, n_worker_pg_option_rows, &first);
    put_options(out, spec->options, spec->n_options, &first);
    buf_puts(out, "]}\n");
}
