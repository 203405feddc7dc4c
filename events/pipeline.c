/* Mechanism: replies come to <inbox>.<run>.<sequence>, read by the publishing thread itself (one
 * synchronous subscription, no callbacks). `run` changes with each pipeline_start, so late answers
 * of a former run are told apart and dropped.
 *
 * Headers: nats.c allocates four times per header that is set and copies values byte by byte, which
 * costs more than everything else together. It writes a header's name as it stands, so all lines go
 * in as one name; whether this version of nats.c does so is tried at start with a message to
 * ourselves, and else headers are set one by one. */
// SPDX-License-Identifier: Apache-2.0

#include "events/pipeline.h"

#include <inttypes.h>
#include <jansson.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/nats_error.h"

enum {
    ACK_EVERY = 32,
    WINDOW = 512,
    TIMEOUT_MS = 5000,
    PROBE_TIMEOUT_MS = 2000,
    LINES_MAX = 16384,
    SLICE_MS = 50
};

struct pipeline {
    struct bus *bus;
    natsConnection *nc;
    natsSubscription *acks;
    char stream[64];
    char inbox[BUS_INBOX_MAX];
    unsigned ack_every, window;
    int64_t timeout_ms;
    unsigned run;
    unsigned generation;         /* of the connection: what was in flight on a former one is lost */
    uint64_t sent, acked, asked; /* asked: last sequence whose acknowledgement was asked for */
    bool joined;                 /* all headers go in as one name */
    struct buf lines;
};

static void msgp(natsMsg **m)
{
    natsMsg_Destroy(*m);
}

static int probe_joined_headers(struct pipeline *p, struct err *err);

int pipeline_new(struct pipeline **ret, struct bus *bus, const struct pipeline_options *options,
                 struct err *err)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "pipeline", "out of memory");
    p->bus = bus;
    p->nc = bus_native(bus);
    snprintf(p->stream, sizeof(p->stream), "%s", options->stream);
    p->ack_every = options->ack_every > 0 ? options->ack_every : ACK_EVERY;
    p->window = options->window > 0 ? options->window : WINDOW;
    p->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    if (p->window < p->ack_every)
        p->window = p->ack_every;
    buf_init(&p->lines, LINES_MAX);
    bus_inbox(bus, p->inbox);

    char wildcard[BUS_INBOX_MAX + 8];
    snprintf(wildcard, sizeof(wildcard), "%s.>", p->inbox);
    natsStatus s = natsConnection_SubscribeSync(&p->acks, p->nc, wildcard);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(p->acks, -1, -1);
    if (s != NATS_OK) {
        nats_err_status(err, (int)s, "subscribe to acknowledgements");
        pipeline_free(p);
        return -1;
    }
    if (probe_joined_headers(p, err) < 0) {
        pipeline_free(p);
        return -1;
    }
    *ret = p;
    return 0;
}

struct pipeline *pipeline_free(struct pipeline *p)
{
    if (p == NULL)
        return NULL;
    natsSubscription_Destroy(p->acks);
    buf_deinit(&p->lines);
    free(p);
    return NULL;
}

void pipeline_start(struct pipeline *p, uint64_t last_sequence)
{
    p->run++;
    p->generation = bus_generation(p->bus);
    p->sent = p->acked = p->asked = last_sequence;
}

uint64_t pipeline_sent(const struct pipeline *p)
{
    return p->sent;
}

uint64_t pipeline_acked(const struct pipeline *p)
{
    return p->acked;
}

/* Sets headers of "Name: value" lines one by one; the lines are cut in place. */
static natsStatus set_lines(natsMsg *m, char *lines)
{
    natsStatus s = NATS_OK;
    while (s == NATS_OK && lines != NULL && *lines != '\0') {
        char *next = strchr(lines, '\n');
        if (next != NULL)
            *next++ = '\0';
        size_t n = strlen(lines);
        if (n > 0 && lines[n - 1] == '\r')
            lines[n - 1] = '\0';
        char *value = strstr(lines, ": ");
        if (value == NULL)
            return NATS_INVALID_ARG;
        *value = '\0';
        s = natsMsgHeader_Set(m, lines, value + 2);
        lines = next;
    }
    return s;
}

/* All lines but the last header's value are the name, the value is that of the last one. */
static natsStatus set_headers(struct pipeline *p, natsMsg *m, const char *last_name,
                              const char *last_value)
{
    struct buf *b = &p->lines;
    if (p->joined) {
        buf_puts(b, last_name);
        const char *name = buf_cstr(b);
        return buf_failed(b) ? NATS_NO_MEMORY : natsMsgHeader_Set(m, name, last_value);
    }
    buf_puts(b, last_name);
    buf_puts(b, ": ");
    buf_puts(b, last_value);
    buf_putc(b, '\0');
    return buf_failed(b) ? NATS_NO_MEMORY : set_lines(m, b->p);
}

static void put_line(struct buf *b, const char *name, struct view value)
{
    size_t n = strlen(name);
    char *out = buf_extend(b, n + value.n + 4);
    if (out == NULL)
        return;
    memcpy(out, name, n);
    memcpy(out + n, ": ", 2);
    memcpy(out + n + 2, value.p, value.n);
    memcpy(out + n + 2 + value.n, "\r\n", 2);
}

/* The row's own lines end in "\n", the wire's in "\r\n". */
static void put_lines(struct buf *b, struct view lines)
{
    struct view line;
    while (lines.n > 0 && view_split(&lines, '\n', &line))
        if (line.n > 0) {
            buf_append_view(b, line);
            buf_append(b, "\r\n", 2);
        }
}

static int probe_joined_headers(struct pipeline *p, struct err *err)
{
    char subject[BUS_INBOX_MAX + 16];
    snprintf(subject, sizeof(subject), "%s.probe", p->inbox);
    natsMsg *m CLEANUP(msgp) = NULL;
    natsMsg *back CLEANUP(msgp) = NULL;

    p->joined = true;
    buf_reset(&p->lines);
    put_line(&p->lines, "A", VIEW_LIT("1"));
    put_line(&p->lines, "B", VIEW_LIT("2"));
    natsStatus s = natsMsg_Create(&m, subject, NULL, "", 0);
    if (s == NATS_OK && set_headers(p, m, "C", "3") != NATS_OK) {
        p->joined = false;
        return 0;
    }
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(p->nc, m);
    if (s == NATS_OK)
        s = natsConnection_FlushTimeout(p->nc, PROBE_TIMEOUT_MS);
    if (s != NATS_OK)
        return nats_err_status(err, (int)s, "probe headers");
    /* The server has answered the flush, so a message that may come is here already. None comes
     * when the user may not publish to its own inbox. */
    if (natsSubscription_NextMsg(&back, p->acks, 1) != NATS_OK) {
        p->joined = false;
        return 0;
    }

    static const char *const want[][2] = {{"A", "1"}, {"B", "2"}, {"C", "3"}};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const char *got = NULL;
        if (natsMsgHeader_Get(back, want[i][0], &got) != NATS_OK || strcmp(got, want[i][1]) != 0)
            p->joined = false;
    }
    return 0;
}

/* 0 = the acknowledgement of our run that was expected, or one to be ignored. */
static int take_ack(struct pipeline *p, natsMsg *m, struct err *err)
{
    const char *token = natsMsg_GetSubject(m) + strlen(p->inbox);
    unsigned run;
    uint64_t sequence;
    if (sscanf(token, ".%u.%" SCNu64, &run, &sequence) != 2 || run != p->run)
        return 0;
    if (natsMsg_IsNoResponders(m))
        return nats_err_status(err, NATS_NO_RESPONDERS, "publish");

    json_t *ack = json_loadb(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), 0, NULL);
    const json_t *error = json_object_get(ack, "error");
    const char *stream = json_string_value(json_object_get(ack, "stream"));
    uint64_t stored = (uint64_t)json_integer_value(json_object_get(ack, "seq"));
    int r = 0;
    if (error != NULL) {
        int api = (int)json_integer_value(json_object_get(error, "err_code"));
        r = nats_err_api(err, (int)json_integer_value(json_object_get(error, "code")), api,
                         json_string_value(json_object_get(error, "description")), "publish");
        /* Not the message's fault: somebody was there before, or a predecessor did not get in. */
        if (api == 10071 && err != NULL)
            err->class = ERR_UNCERTAIN;
    } else if (stream == NULL || strcmp(stream, p->stream) != 0 || stored != sequence) {
        r = err_set_dep(err, ERR_UNCERTAIN, DEP_NATS, "nats-ack", "publish",
                        "stored at %s %" PRIu64 ", expected %s %" PRIu64,
                        stream != NULL ? stream : "?", stored, p->stream, sequence);
    } else if (sequence > p->acked && sequence <= p->sent) {
        p->acked = sequence;
    }
    json_decref(ack);
    return r;
}

/* Reads what is there; while more than `in_flight` messages are out, waits. */
static int take_acks(struct pipeline *p, uint64_t in_flight, struct err *err)
{
    int64_t deadline = 0;
    for (;;) {
        natsMsg *m CLEANUP(msgp) = NULL;
        bool must = p->sent - p->acked > in_flight;
        int64_t wait = 0;
        if (must) {
            int64_t now = mono_ms();
            deadline = deadline > 0 ? deadline : now + p->timeout_ms;
            wait = deadline > now ? deadline - now : 0;
            wait = wait < SLICE_MS ? wait : SLICE_MS;
            if (bus_generation(p->bus) != p->generation || !bus_connected(p->bus))
                return err_set_dep(err, ERR_UNCERTAIN, DEP_NATS, "nats-reconnect", "publish",
                                   "the connection broke with publishes in flight");
        }
        natsStatus s = natsSubscription_NextMsg(&m, p->acks, wait);
        if (s == NATS_TIMEOUT) {
            if (!must)
                return 0;
            if (wait > 0)
                continue;
            return err_set_dep(err, ERR_UNCERTAIN, DEP_NATS, "nats-timeout", "publish",
                               "no acknowledgement within %lld ms", (long long)p->timeout_ms);
        }
        if (s != NATS_OK)
            return nats_err_status(err, (int)s, "publish");
        uint64_t before = p->acked;
        if (take_ack(p, m, err) < 0)
            return -1;
        if (p->acked != before)
            deadline = 0;
    }
}

/* printf takes longer than all else that is done for a message here. */
static void decimal(uint64_t v, char out[static 24])
{
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    out[n] = '\0';
}

int pipeline_publish(struct pipeline *p, const struct pipeline_message *message, bool last,
                     struct err *err)
{
    uint64_t sequence = p->sent + 1;
    bool ask = last || sequence - p->asked >= p->ack_every;
    char reply[BUS_INBOX_MAX + 48], expected[24];
    if (ask)
        snprintf(reply, sizeof(reply), "%s.%u.%" PRIu64, p->inbox, p->run, sequence);
    decimal(p->sent, expected);

    natsMsg *m CLEANUP(msgp) = NULL;
    natsStatus s = natsMsg_Create(&m, message->subject, ask ? reply : NULL,
                                  (const char *)message->payload.p, (int)message->payload.n);
    struct buf *b = &p->lines;
    buf_reset(b);
    put_lines(b, message->headers);
    put_line(b, "Echora-Event-Id", view_of(message->event_id));
    put_line(b, "Echora-Position", view_of(message->position));
    if (message->batch != NULL)
        put_line(b, "Echora-Batch", view_of(message->batch));
    /* Only an answer could tell that it is another stream; the sequence guards the others. */
    if (ask)
        put_line(b, "Nats-Expected-Stream", view_of(p->stream));
    if (s == NATS_OK && FAULT("expected-sequence-omitted"))
        s = set_headers(p, m, "Unguarded", expected);
    else if (s == NATS_OK)
        s = set_headers(p, m, "Nats-Expected-Last-Sequence", expected);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(p->nc, m);
    if (s != NATS_OK)
        return nats_err_status(err, (int)s, "publish");
    p->sent = sequence;
    if (!ask)
        return 0;
    p->asked = sequence;
    /* Room for one more stretch without an acknowledgement. */
    return take_acks(p, p->window - p->ack_every, err);
}

int pipeline_finish(struct pipeline *p, struct err *err)
{
    if (p->acked == p->sent)
        return 0;
    /* nats.c would write the last buffer out up to a millisecond later. */
    natsStatus s = natsConnection_FlushTimeout(p->nc, p->timeout_ms);
    if (s != NATS_OK)
        return nats_err_status(err, (int)s, "flush");
    return take_acks(p, 0, err);
}
