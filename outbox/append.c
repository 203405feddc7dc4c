/* Mechanism: the rows' columns are gathered in arrays and inserted by one statement with unnest(),
 * which keeps their order, so ids rise in the order of rows[]. (In the SELECT list they go row by
 * row; in FROM each would be stored first, which took a third of the insert's time.) Arrays that
 * grow past CHUNK_BYTES are flushed and the rest follows in a further statement of the same
 * transaction.
 *
 * headers is one text of lines "Name: value" that the relay can hand on without parsing values.
 * Echora-Event-Id is not among them: the relay makes it from the column. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/append.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    /* As the table's CHECKs; what is left below the streams' max_msg_size is the relay's. */
    MESSAGE_MAX = 8388608 - 65536 - 1024,
    HEADERS_MAX = 8192, /* and so OUTBOX_PAYLOAD_MAX */
    CHUNK_BYTES = 16 << 20,
    ARRAY_MAX = CHUNK_BYTES + MESSAGE_MAX + (1 << 20),
};

_Static_assert(MESSAGE_MAX - HEADERS_MAX == OUTBOX_PAYLOAD_MAX, "append.h promises it");

enum { STREAM, SUBJECT, ENTITY_TYPE, ENTITY_ID, EVENT_ID, HEADERS, PAYLOAD, N_COLUMNS };
static const enum pg_array_kind column_kinds[N_COLUMNS] = {
    [STREAM] = PG_TEXTS,   [SUBJECT] = PG_TEXTS, [ENTITY_TYPE] = PG_TEXTS, [ENTITY_ID] = PG_UUIDS,
    [EVENT_ID] = PG_UUIDS, [HEADERS] = PG_TEXTS, [PAYLOAD] = PG_BYTEAS,
};

struct outbox {
    struct pg_array columns[N_COLUMNS];
    struct buf headers, payload;
    char name[96];
    char sql[512];
    struct pg_statement insert;
};

struct outbox *outbox_new(const char *schema)
{
    struct outbox *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return NULL;
    for (int i = 0; i < N_COLUMNS; i++)
        pg_array_init(&o->columns[i], column_kinds[i], ARRAY_MAX);
    buf_init(&o->headers, HEADERS_MAX);
    buf_init(&o->payload, MESSAGE_MAX);
    snprintf(o->name, sizeof(o->name), "outbox_append_%s", schema);
    snprintf(o->sql, sizeof(o->sql),
             "INSERT INTO \"%s\".outbox"
             " (stream, subject, entity_type, entity_id, event_id, headers, payload) "
             "SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), "
             "unnest($7)",
             schema);
    o->insert = (struct pg_statement){o->name, o->sql};
    return o;
}

struct outbox *outbox_free(struct outbox *o)
{
    if (o == NULL)
        return NULL;
    for (int i = 0; i < N_COLUMNS; i++)
        pg_array_deinit(&o->columns[i]);
    buf_deinit(&o->headers);
    buf_deinit(&o->payload);
    free(o);
    return NULL;
}

/* A header name is a token of RFC 9110; a value has no control characters. */
static bool header_is_good(const char *name, const char *value)
{
    if (name[0] == '\0')
        return false;
    for (const char *p = name; *p != '\0'; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == ':')
            return false;
    for (const char *p = value; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return false;
    return true;
}

static int put_header(struct buf *b, const char *name, const char *value, struct err *err)
{
    if (value[0] == '\0') /* says nothing, and older clients misread the header behind it */
        return 0;
    if (!header_is_good(name, value))
        return err_set(err, ERR_REJECT, "header", "outbox", "bad header \"%.60s\"", name);
    if (b->n > 0)
        buf_putc(b, '\n');
    buf_puts(b, name);
    buf_puts(b, ": ");
    buf_puts(b, value);
    return 0;
}

static int put_headers(struct buf *b, const struct outbox_row *row, struct err *err)
{
    buf_reset(b);
    if (put_header(b, "Content-Type", "application/protobuf", err) < 0 ||
        put_header(b, "Echora-Schema", row->def->schema, err) < 0)
        return -1;
    if (row->trace.set) {
        char traceparent[TRACEPARENT_MAX];
        trace_format(&row->trace, traceparent);
        if (put_header(b, "traceparent", traceparent, err) < 0)
            return -1;
        if (row->trace.state[0] != '\0' && put_header(b, "tracestate", row->trace.state, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < row->n_extra; i++)
        if (put_header(b, row->extra[i].name, row->extra[i].value, err) < 0)
            return -1;
    return 0;
}

static int put_payload(struct buf *b, const struct outbox_row *row, size_t limit, struct err *err)
{
    buf_reset(b);
    size_t n = protobuf_c_message_get_packed_size(row->message);
    if (n > limit)
        return err_set(err, ERR_REJECT, "too-large", "outbox",
                       "%s of %zu bytes does not fit the stream (%zu)", row->def->subject, n,
                       limit);
    uint8_t *out = buf_extend(b, n);
    if (out == NULL && n > 0)
        return err_set(err, ERR_RETRY, "no-memory", "outbox", "out of memory");
    if (n > 0)
        protobuf_c_message_pack(row->message, out);
    return 0;
}

static int add_row(struct outbox *o, const struct outbox_row *row, struct err *err)
{
    if (row->def->stream == NULL)
        return err_set(err, ERR_FATAL, "internal", "outbox", "%s is on no stream",
                       row->def->subject);
    if (put_headers(&o->headers, row, err) < 0)
        return -1;
    if (buf_failed(&o->headers))
        return buf_error(&o->headers, "outbox", "the header block", err);
    if (put_payload(&o->payload, row, MESSAGE_MAX - o->headers.n, err) < 0)
        return -1;
    pg_array_text(&o->columns[STREAM], view_of(row->def->stream->name));
    pg_array_text(&o->columns[SUBJECT], view_of(row->def->subject));
    pg_array_text(&o->columns[ENTITY_TYPE], view_of(row->def->entity_kind));
    if (uuid_is_nil(row->entity_id))
        pg_array_null(&o->columns[ENTITY_ID]);
    else
        pg_array_uuid(&o->columns[ENTITY_ID], row->entity_id);
    pg_array_uuid(&o->columns[EVENT_ID], row->event_id);
    pg_array_text(&o->columns[HEADERS], buf_view(&o->headers));
    pg_array_bytea(&o->columns[PAYLOAD], bytes_of(buf_view(&o->payload)));
    return 0;
}

static void reset_columns(struct outbox *o)
{
    for (int i = 0; i < N_COLUMNS; i++)
        pg_array_reset(&o->columns[i]);
}

static int flush(struct outbox *o, struct pg *pg, struct err *err)
{
    struct pg_param params[N_COLUMNS];
    for (int i = 0; i < N_COLUMNS; i++)
        params[i] = pg_array_param(&o->columns[i]);
    int r = pg_query(pg, &o->insert, params, N_COLUMNS, NULL, err);
    reset_columns(o);
    return r;
}

int outbox_append(struct outbox *o, struct pg *pg, const struct outbox_row rows[], size_t n,
                  struct err *err)
{
    reset_columns(o);
    for (size_t i = 0; i < n; i++) {
        if (add_row(o, &rows[i], err) < 0)
            return -1;
        size_t bytes = o->columns[PAYLOAD].buf.n + o->columns[HEADERS].buf.n;
        if (bytes >= CHUNK_BYTES && flush(o, pg, err) < 0)
            return -1;
    }
    return o->columns[EVENT_ID].n > 0 ? flush(o, pg, err) : 0;
}

void outbox_hint(struct bus *bus)
{
    bus_hint(bus, "hint.outbox");
}
