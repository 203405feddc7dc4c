// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/write.h"

#include <math.h>
#include <stdlib.h>

#include "events/base/fault.h"

enum {
    BODY_MAX = 8 << 20,
    BODY_SOFT_MAX = 3 << 20, /* a request is closed when its points pass this */
    POINTS_MAX = 128,
};

struct writer {
    struct qdrant *q;
    size_t dimension;
    struct buf body;
};

struct writer *writer_new(struct qdrant *q, size_t dimension)
{
    struct writer *w = calloc(1, sizeof(*w));
    if (w) {
        w->q = q;
        w->dimension = dimension;
        buf_init(&w->body, BODY_MAX);
    }
    return w;
}

struct writer *writer_free(struct writer *w)
{
    if (w) {
        buf_deinit(&w->body);
        free(w);
    }
    return NULL;
}

static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

/* Four digits of a number below 10,000. */
static void put_four(char *p, uint32_t n)
{
    memcpy(p, pairs + 2 * (size_t)(n / 100), 2);
    memcpy(p + 2, pairs + 2 * (size_t)(n % 100), 2);
}

/* Always with a point, also "0.0": readers take arrays of one kind of number faster. */
static char *put_decimal(char *p, float v)
{
    enum { PLACES = 8, ONE = 100000000 };
    if (v == 0) { /* of hashed texts most are */
        memcpy(p, "0.0", 3);
        return p + 3;
    }
    if (v < 0)
        *p++ = '-';
    double scaled = fabs((double)v) * ONE + 0.5;
    uint32_t n = scaled < ONE ? (uint32_t)scaled : ONE;
    *p++ = n < ONE ? '0' : '1';
    *p++ = '.';
    put_four(p, n % ONE / 10000);
    put_four(p + 4, n % 10000);
    int digits = PLACES;
    while (digits > 1 && p[digits - 1] == '0')
        digits--;
    return p + digits;
}

void put_vector(struct buf *out, const float *vector, size_t n)
{
    enum { GROUP = 64, LONGEST = 12 };
    char text[GROUP * (LONGEST + 1)];
    buf_putc(out, '[');
    for (size_t at = 0; at < n; at += GROUP) {
        char *p = text;
        for (size_t i = at; i < n && i < at + GROUP; i++) {
            if (i > 0)
                *p++ = ',';
            p = put_decimal(p, vector[i]);
        }
        buf_append(out, text, (size_t)(p - text));
    }
    buf_putc(out, ']');
}

static void put_trace(struct buf *out, const struct trace_context *trace)
{
    if (trace && trace->set) {
        buf_puts(out, ",\"trace\":\"");
        buf_put_hex(out, (struct bytes){trace->trace_id, sizeof(trace->trace_id)});
        buf_putc(out, '"');
    }
}

static void put_payload_of(struct buf *out, const struct point_write *w)
{
    buf_putc(out, '{');
    if (w->action == PLAN_TOMBSTONE) {
        buf_printf(out, "\"entity_type\":\"%s\",\"deleted\":true", doc_kind_name(w->kind));
    } else {
        buf_append_view(out, w->doc->payload); /* ends in a comma */
        buf_printf(out, "\"emb\":\"%s\"", w->emb);
    }
    buf_printf(out, ",\"rev\":%lld", (long long)w->rev);
    put_trace(out, w->trace);
    buf_putc(out, '}');
}

static void put_point(struct buf *out, const struct point_write *w, const char *id,
                      size_t dimension)
{
    buf_printf(out, "{\"id\":\"%s\",\"vector\":{", id);
    if (w->action == PLAN_UPSERT) {
        if (w->vector) {
            buf_puts(out, "\"dense\":");
            put_vector(out, w->vector, dimension);
            buf_putc(out, ',');
        }
        buf_puts(out, "\"bm25\":{\"model\":\"qdrant/bm25\",\"text\":");
        buf_put_json_string(out, w->doc->text);
        buf_putc(out, '}');
    }
    buf_puts(out, "},\"payload\":");
    put_payload_of(out, w);
    buf_putc(out, '}');
}

static void put_range(struct buf *out, const struct point_write *w)
{
    bool any = w->action == PLAN_PAYLOAD && FAULT("payload-without-rev");
    buf_printf(out, "{\"key\":\"rev\",\"range\":{\"%s\":%lld}}", w->or_equal ? "lte" : "lt",
               any ? 1LL << 52 : (long long)w->rev);
}

static void put_points(struct buf *out, struct point_write *const writes[], size_t n,
                       size_t dimension)
{
    for (size_t i = 0; i < n; i++) {
        char id[UUID_TEXT];
        uuid_format(writes[i]->id, id);
        buf_puts(out, i ? "," : "");
        put_point(out, writes[i], id, dimension);
    }
}

void put_upsert_body(struct buf *out, struct point_write *const writes[], size_t n,
                     size_t dimension)
{
    buf_puts(out, "{\"points\":[");
    put_points(out, writes, n, dimension);
    if (FAULT("upsert-unguarded")) {
        buf_puts(out, "]}");
        return;
    }
    buf_puts(out, "],\"update_filter\":{\"should\":[{\"is_empty\":{\"key\":\"rev\"}}");
    for (size_t i = 0; i < n; i++) {
        char id[UUID_TEXT];
        if (writes[i]->absent)
            continue;
        uuid_format(writes[i]->id, id);
        buf_printf(out, ",{\"must\":[{\"has_id\":[\"%s\"]},", id);
        put_range(out, writes[i]);
        buf_puts(out, "]}");
    }
    buf_puts(out, "]}}");
}

void put_payload_body(struct buf *out, struct point_write *const writes[], size_t n)
{
    buf_puts(out, "{\"operations\":[");
    for (size_t i = 0; i < n; i++) {
        char id[UUID_TEXT];
        uuid_format(writes[i]->id, id);
        buf_printf(out, "%s{\"overwrite_payload\":{\"payload\":", i ? "," : "");
        put_payload_of(out, writes[i]);
        buf_printf(out, ",\"filter\":{\"must\":[{\"has_id\":[\"%s\"]},", id);
        if (!FAULT("payload-without-emb"))
            buf_printf(out, "{\"key\":\"emb\",\"match\":{\"value\":\"%s\"}},", writes[i]->emb);
        put_range(out, writes[i]);
        buf_puts(out, "]}}}");
    }
    buf_puts(out, "]}");
}

/* One request; on a refusal by halves. */
static int send(struct writer *w, struct point_write *const writes[], size_t n, bool payload,
                struct err *err)
{
    buf_reset(&w->body);
    if (payload)
        put_payload_body(&w->body, writes, n);
    else
        put_upsert_body(&w->body, writes, n, w->dimension);
    if (buf_failed(&w->body))
        (void)buf_error(&w->body, "write points", "the request", err);
    else if (qdrant_write(w->q, payload ? "POST" : "PUT", payload ? "/points/batch" : "/points",
                          buf_view(&w->body), err) == 0)
        return 0;
    if (err->class != ERR_REJECT)
        return -1;
    if (n == 1) {
        writes[0]->err = *err;
        return 0;
    }
    if (send(w, writes, n / 2, payload, err) < 0)
        return -1;
    return send(w, writes + n / 2, n - n / 2, payload, err);
}

static size_t size_of(const struct writer *w, const struct point_write *write)
{
    size_t n = 512 + (write->doc ? write->doc->payload.n + write->doc->text.n : 0);
    return n + (write->vector ? w->dimension * 12 : 0);
}

static int send_all(struct writer *w, struct point_write *const writes[], size_t n, bool payload,
                    struct err *err)
{
    for (size_t at = 0; at < n;) {
        size_t size = 0, bytes = 0;
        while (at + size < n && size < POINTS_MAX && bytes < BODY_SOFT_MAX)
            bytes += size_of(w, writes[at + size++]);
        if (send(w, writes + at, size, payload, err) < 0)
            return -1;
        at += size;
    }
    return 0;
}

int writer_upsert(struct writer *w, struct point_write *const writes[], size_t n, struct err *err)
{
    return send_all(w, writes, n, false, err);
}

int writer_payload(struct writer *w, struct point_write *const writes[], size_t n, struct err *err)
{
    return send_all(w, writes, n, true, err);
}
