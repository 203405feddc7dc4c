/* The chain as the streams know it. */
// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "contracts/json.h"
#include "events/base/clock.h"
#include "ops/cli/chain.h"
#include "ops/cli/jetstream.h"

/* Headers of a stored message are a few KiB; base64 makes them a third longer. */
#define HEADERS_MAX (64u << 10)

static uint64_t number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static int digit(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (int)(at - alphabet) : -1;
}

/* Decodes in front of the text's own end: out holds text.n bytes. */
static size_t decode_base64(struct view text, char *out)
{
    uint32_t bits = 0;
    size_t n = 0, digits = 0;

    for (size_t i = 0; i < text.n; i++) {
        int d = digit(text.p[i]);
        if (d < 0)
            break;
        bits = (bits << 6) | (uint32_t)d;
        if (++digits % 4 != 1)
            out[n++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)));
    }
    return n;
}

/* "NATS/1.0\r\nName: value\r\n..." */
static void find_header(struct view headers, const char *name, char *out, size_t size)
{
    struct view line;

    while (view_split(&headers, '\n', &line)) {
        size_t n = strlen(name);
        if (line.n > n && memcmp(line.p, name, n) == 0 && line.p[n] == ':') {
            struct view value = view_trim((struct view){line.p + n + 1, line.n - n - 1});
            (void)snprintf(out, size, "%.*s", VIEW_ARG(value));
            return;
        }
    }
}

static void read_headers(struct view base64, struct chain_message *ret)
{
    char *raw = malloc(base64.n + 1);
    char traceparent[64] = "";

    if (!raw || base64.n > HEADERS_MAX) {
        free(raw);
        return;
    }
    struct view headers = {raw, decode_base64(base64, raw)};
    find_header(headers, "Echora-Event-Id", ret->event_id, sizeof(ret->event_id));
    find_header(headers, "Nats-Msg-Id", ret->message_id, sizeof(ret->message_id));
    find_header(headers, "Echora-Dlq-Entity", ret->entity, sizeof(ret->entity));
    find_header(headers, "Echora-Dlq-Code", ret->code, sizeof(ret->code));
    find_header(headers, "Echora-Dlq-Reason", ret->reason, sizeof(ret->reason));
    find_header(headers, "traceparent", traceparent, sizeof(traceparent));
    if (strlen(traceparent) >= 35)
        (void)snprintf(ret->trace_id, sizeof(ret->trace_id), "%.32s", traceparent + 3);
    free(raw);
}

int chain_message(struct cli *cli, const char *stream, uint64_t sequence, struct chain_message *ret,
                  struct err *err)
{
    json_t *reply = NULL, *request = json_pack("{s:I}", "seq", (json_int_t)sequence);
    struct bus *bus;
    int r = cli_bus(cli, &bus, err);

    *ret = (struct chain_message){.sequence = sequence};
    if (r == 0)
        r = jetstream_call(cli, bus, arena_printf(cli->arena, "STREAM.MSG.GET.%s", stream), request,
                           &reply, err);
    json_decref(request);
    if (r < 0)
        return strcmp(err->code, "nats-10037") == 0 ? 0 : -1;
    const json_t *message = json_object_get(reply, "message");
    const char *headers = json_string_value(json_object_get(message, "hdrs"));
    const char *time = json_string_value(json_object_get(message, "time"));
    const char *subject = json_string_value(json_object_get(message, "subject"));
    int64_t seconds = 0;
    int32_t nanos = 0;
    ret->found = message != NULL;
    (void)snprintf(ret->subject, sizeof(ret->subject), "%s", subject ? subject : "");
    if (time && rfc3339_parse(view_of(time), &seconds, &nanos))
        ret->stored_us = seconds * 1000000 + nanos / 1000;
    if (headers)
        read_headers(view_of(headers), ret);
    json_decref(reply);
    return 0;
}

/* A limit of the configuration, 0 when there is none. */
static uint64_t limit(const json_t *config, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(config, name));

    return value > 0 ? (uint64_t)value : 0;
}

unsigned chain_stream_full(const struct chain_stream *stream)
{
    double bytes = 0, messages = 0;

    if (stream->max_bytes)
        bytes = (double)stream->bytes / (double)stream->max_bytes;
    if (stream->max_messages)
        messages = (double)stream->messages / (double)stream->max_messages;
    double most = bytes > messages ? bytes : messages;
    return most >= 1 ? 100 : (unsigned)(most * 100);
}

int chain_stream(struct cli *cli, const char *stream, struct chain_stream *ret, struct err *err)
{
    json_t *reply = NULL;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0 ||
        jetstream_call(cli, bus, arena_printf(cli->arena, "STREAM.INFO.%s", stream), NULL, &reply,
                       err) < 0)
        return -1;
    const json_t *state = json_object_get(reply, "state");
    *ret = (struct chain_stream){.messages = number(state, "messages"),
                                 .bytes = number(state, "bytes"),
                                 .first = number(state, "first_seq"),
                                 .last = number(state, "last_seq")};
    const json_t *config = json_object_get(reply, "config");
    const char *discard = json_string_value(json_object_get(config, "discard"));
    if (discard && strcmp(discard, "new") == 0) {
        ret->max_messages = limit(config, "max_msgs");
        ret->max_bytes = limit(config, "max_bytes");
    }
    json_decref(reply);
    return 0;
}

int chain_consumer(struct cli *cli, const char *stream, const char *durable,
                   struct chain_consumer *ret, struct err *err)
{
    json_t *reply = NULL;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0 ||
        jetstream_call(cli, bus, arena_printf(cli->arena, "CONSUMER.INFO.%s.%s", stream, durable),
                       NULL, &reply, err) < 0)
        return -1;
    *ret = (struct chain_consumer){
        .pending = number(reply, "num_pending"),
        .ack_pending = number(reply, "num_ack_pending"),
        .redelivered = number(reply, "num_redelivered"),
        .waiting = number(reply, "num_waiting"),
        .delivered = number(json_object_get(reply, "delivered"), "consumer_seq"),
        .ack_floor = number(json_object_get(reply, "ack_floor"), "stream_seq"),
    };
    json_decref(reply);
    return 0;
}

static bool names(const struct chain_message *m, const char *id)
{
    return strcasecmp(m->event_id, id) == 0 || strcasecmp(m->entity, id) == 0 ||
           (strncasecmp(m->message_id, id, UUID_TEXT - 1) == 0 &&
            m->message_id[UUID_TEXT - 1] == '-');
}

int chain_search(struct cli *cli, const char *stream, struct uuid wanted, uint64_t within,
                 struct chain_message *ret, struct err *err)
{
    struct chain_stream state;
    char id[UUID_TEXT];

    uuid_format(wanted, id);
    *ret = (struct chain_message){0};
    if (chain_stream(cli, stream, &state, err) < 0)
        return -1;
    uint64_t lowest = state.last > within ? state.last - within : 0;
    if (state.messages == 0)
        return 0;
    for (uint64_t s = state.last; s > lowest && s >= state.first; s--) {
        struct chain_message m;
        if (chain_message(cli, stream, s, &m, err) < 0)
            return -1;
        if (m.found && names(&m, id)) {
            *ret = m;
            return 0;
        }
    }
    return 0;
}
