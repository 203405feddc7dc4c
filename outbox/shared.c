// SPDX-License-Identifier: Apache-2.0

#include "outbox/shared.h"

#include <stdlib.h>

#include "outbox/resume.h"

enum { HEADERS_MAX = 48, CHUNK = 64, TEXT_MAX = 64 << 10 };

/* One message with the memory that its headers point to. */
struct shared_message {
    struct bus_header headers[HEADERS_MAX];
    size_t n_headers;
    char event[UUID_TEXT], position[POSITION_MAX];
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
