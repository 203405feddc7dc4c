/* Mechanism: pipelined publishes under Nats-Msg-Id = event id, so a batch that is sent again is
 * stored once. Others publish on these streams, too, and may have taken the id before: what is
 * called a duplicate is looked at, and goes out under an id of its own when it is not this row. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/shared.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/fault.h"
#include "events/log.h"
#include "outbox/relayed.h"
#include "outbox/resume.h"

enum { HEADERS_MAX = 48, CHUNK = 64, TEXT_MAX = 64 << 10 };

/* One message with the memory that its headers point to. */
struct shared_message {
    struct bus_header headers[HEADERS_MAX];
    size_t n_headers;
    char event[UUID_TEXT], position[POSITION_MAX];
    char own_id[UUID_TEXT + POSITION_MAX]; /* where somebody else has the event's id */
    struct buf lines;
};

static void add(struct shared_message *m, const char *name, const char *value)
{
    if (m->n_headers < HEADERS_MAX)
        m->headers[m->n_headers++] = (struct bus_header){name, value};
}

static int fill(struct relay_lane *lane, const PGresult *page, int row, struct shared_message *m,
                struct bus_message *ret, struct err *err)
{
    m->n_headers = 0;
    uuid_format(pg_get_uuid(page, row, PAGE_EVENT), m->event);
    position_format(lane->batch.number, pg_get_i64(page, row, PAGE_ID), m->position);
    add(m, "Nats-Msg-Id", m->event);
    add(m, "Nats-Expected-Stream", lane->stream);
    add(m, "Echora-Event-Id", m->event);
    add(m, "Echora-Position", m->position);

    buf_reset(&m->lines);
    buf_append_view(&m->lines, pg_get_text(page, row, PAGE_HEADERS));
    char *line = m->lines.n > 0 ? (char *)(uintptr_t)buf_cstr(&m->lines) : NULL;
    if (buf_failed(&m->lines))
        return err_set(err, ERR_RETRY, "no-memory", "publish", "headers do not fit");
    while (line != NULL && *line != '\0') {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        char *value = strstr(line, ": ");
        if (value != NULL) {
            *value = '\0';
            add(m, line, value + 2);
        }
        line = next;
    }
    *ret = (struct bus_message){.subject = PQgetvalue(page, row, PAGE_SUBJECT),
                                .payload = pg_get_bytea(page, row, PAGE_PAYLOAD),
                                .headers = m->headers,
                                .n_headers = m->n_headers};
    return 0;
}

/* A message of this stream is the row with this id, whatever batch it came with. What is not kept
 * any more was stored once, and that is all that can be known. */
static int look_at_stored(struct relay_lane *lane, struct bus *bus, uint64_t sequence, int64_t id,
                          bool *ret_ours, struct err *err)
{
    struct relayed m CLEANUP(relayed_deinit);

    if (relayed_look(bus, lane->stream, sequence, &m, err) < 0)
        return -1;
    *ret_ours = !m.kept || (m.has_position && m.id == id);
    return 0;
}

/* 0 = the row is stored now. */
static int publish_taken(struct relay_lane *lane, struct bus *bus, int64_t id, uint64_t sequence,
                         struct shared_message *m, struct bus_message *out, struct err *err)
{
    struct bus_ack ack;
    bool ours = true;

    if (FAULT("taken-id-believed"))
        return 0;
    if (look_at_stored(lane, bus, sequence, id, &ours, err) < 0)
        return -1;
    if (ours)
        return 0;
    log_warn("somebody else published under an event's id: sent under another",
             LF_STR("stream", lane->stream), LF_STR("event", m->event),
             LF_I64("sequence", (int64_t)sequence));
    snprintf(m->own_id, sizeof(m->own_id), "%s:%" PRId64, m->event, id);
    m->headers[0].value = m->own_id;
    return bus_publish(bus, out, &ack, err);
}

static int publish_chunk(struct relay_lane *lane, struct bus *bus, const PGresult *page, int from,
                         int n, struct shared_message *messages, struct err *err)
{
    struct bus_message out[CHUNK];
    struct bus_ack acks[CHUNK];
    struct err errs[CHUNK];
    memset(errs, 0, sizeof(errs));
    for (int i = 0; i < n; i++)
        if (fill(lane, page, from + i, &messages[i], &out[i], err) < 0)
            return -1;
    if (bus_publish_many(bus, out, (size_t)n, acks, errs, err) < 0)
        return -1;
    metric_add(lane->metrics.published, n);
    int r = 0;
    for (int i = 0; i < n; i++) {
        if (errs[i].class == ERR_NONE && acks[i].duplicate)
            (void)!publish_taken(lane, bus, pg_get_i64(page, from + i, PAGE_ID), acks[i].sequence,
                                 &messages[i], &out[i], &errs[i]);
        if (errs[i].class != ERR_NONE) {
            metric_add(lane->metrics.rejected, 1);
            if (r == 0 && err != NULL) {
                *err = errs[i];
                err->dependency = DEP_NATS; /* also of what the stream finds wrong with the row */
            }
            r = -1;
            continue;
        }
        metric_add(lane->metrics.acknowledged, 1);
        if (r == 0) {
            lane->stored++;
            lane->after = pg_get_i64(page, from + i, PAGE_ID);
        }
    }
    return r;
}

int publish_shared(struct relay_lane *lane, struct bus *bus, const PGresult *page, struct err *err)
{
    struct shared_message *messages = calloc(CHUNK, sizeof(*messages));
    if (messages == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "publish", "out of memory");
    for (int i = 0; i < CHUNK; i++)
        buf_init(&messages[i].lines, TEXT_MAX);
    int n = PQntuples(page), r = 0;
    for (int from = 0, size; from < n && r == 0; from += size) {
        /* What was refused goes first and alone: while it is, nothing else is sent again and again,
         * past the end of the duplicate window. */
        size = from == 0 && lane->failures > 0 ? 1 : CHUNK;
        if (size > n - from)
            size = n - from;
        r = publish_chunk(lane, bus, page, from, size, messages, err);
    }
    for (int i = 0; i < CHUNK; i++)
        buf_deinit(&messages[i].lines);
    free(messages);
    return r;
}
