// SPDX-License-Identifier: Apache-2.0

#include "events/standing.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static const struct metric_def pending_def = {
    "echora_consumer_pending", METRIC_GAUGE,
    "Events of the stream that the consumer has not been given yet; NaN while nats-server does not "
    "tell.",
    "stream,consumer", NULL};
static const struct metric_def in_hand_def = {
    "echora_consumer_in_hand", METRIC_GAUGE,
    "Events given to workers and not settled; NaN while nats-server does not tell.",
    "stream,consumer", NULL};
static const struct metric_def limit_def = {
    "echora_consumer_in_hand_limit", METRIC_GAUGE,
    "How many events may be in hand (max_ack_pending); at the limit nothing more is given out.",
    "stream,consumer", NULL};
static const struct metric_def messages_def = {
    "echora_stream_messages", METRIC_GAUGE,
    "Messages in the stream; NaN while nats-server does not tell.", "stream", NULL};
static const struct metric_def bytes_def = {
    "echora_stream_bytes", METRIC_GAUGE,
    "Bytes in the stream; NaN while nats-server does not tell.", "stream", NULL};
static const struct metric_def full_def = {
    "echora_stream_full_ratio", METRIC_GAUGE,
    "How full the stream is, by bytes or messages, whichever is nearer to its limit: 1 is full.",
    "stream", NULL};

void standing_unknown(struct standing *s)
{
    struct metric *const all[] = {s->pending,  s->in_hand, s->in_hand_limit,
                                  s->messages, s->bytes,   s->full};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        metric_set(all[i], NAN);
}

void standing_init(struct standing *s, const char *stream, const char *durable)
{
    const char *const labels[] = {stream, durable};
    s->pending = metric_series(&pending_def, labels);
    s->in_hand = metric_series(&in_hand_def, labels);
    s->in_hand_limit = metric_series(&limit_def, labels);
    s->messages = metric_series(&messages_def, labels);
    s->bytes = metric_series(&bytes_def, labels);
    s->full = metric_series(&full_def, labels);
    standing_unknown(s);
}

static double member(const json_t *object, const char *name)
{
    return (double)json_integer_value(json_object_get(object, name));
}

/* A limit of -1 or 0 is none. */
static double share(double used, double limit)
{
    return limit > 0 ? used / limit : 0;
}

static json_t *ask(struct bus *bus, const char *subject, int64_t timeout_ms)
{
    json_t *info = NULL;
    struct err ignored = ERR_INIT; /* the watch tells what is wrong with the server */
    return bus_js_api_within(bus, subject, VIEW_LIT(""), timeout_ms, &info, &ignored) < 0 ? NULL
                                                                                          : info;
}

static void show_consumer(struct standing *s, const json_t *info)
{
    const double limit = member(json_object_get(info, "config"), "max_ack_pending");
    metric_set(s->pending, member(info, "num_pending"));
    metric_set(s->in_hand, member(info, "num_ack_pending"));
    metric_set(s->in_hand_limit, limit > 0 ? limit : NAN);
}

static void show_stream(struct standing *s, const json_t *info)
{
    const json_t *state = json_object_get(info, "state"), *config = json_object_get(info, "config");
    const double messages = member(state, "messages"), bytes = member(state, "bytes");
    metric_set(s->messages, messages);
    metric_set(s->bytes, bytes);
    metric_set(s->full, fmax(share(messages, member(config, "max_msgs")),
                             share(bytes, member(config, "max_bytes"))));
}

void standing_look(struct standing *s, struct bus *bus, const char *stream, const char *durable,
                   int64_t timeout_ms)
{
    char subject[256];

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", stream, durable);
    json_t *consumer = ask(bus, subject, timeout_ms), *info = NULL;
    if (consumer != NULL) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", stream);
        info = ask(bus, subject, timeout_ms);
    }
    if (info != NULL) {
        show_consumer(s, consumer);
        show_stream(s, info);
    } else {
        standing_unknown(s);
    }
    json_decref(consumer);
    json_decref(info);
}
