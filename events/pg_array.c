/* Parameters and one-dimensional arrays in PostgreSQL's binary format (documentation: array_send,
 * and the *_send function of each type). An array is a 20-byte header (dimensions, null mark,
 * element type, length, lower bound), patched when it is handed out, then length and data of each
 * element; -1 is NULL. Numbers are big-endian. */
// SPDX-License-Identifier: Apache-2.0

#include <assert.h>
#include <endian.h>
#include <limits.h>

#include "events/pg.h"
#include "events/pg_types.h"

enum { HEADER_SIZE = 20 };

static const struct {
    Oid element, array;
} kinds[] = {
    [PG_UUIDS] = {PG_OID_UUID, 2951},
    [PG_TEXTS] = {PG_OID_TEXT, 1009},
    [PG_I64S] = {PG_OID_INT8, 1016},
    [PG_I32S] = {PG_OID_INT4, 1007},
    [PG_BOOLS] = {PG_OID_BOOL, 1000},
    [PG_BYTEAS] = {PG_OID_BYTEA, 1001},
    [PG_TIMESTAMPS] = {PG_OID_TIMESTAMPTZ, 1185},
    [PG_JSONS] = {PG_OID_JSONB, 3807},
    [PG_FLOAT4S] = {PG_OID_FLOAT4, 1021},
};

static void put_i32(struct buf *b, int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);
    buf_append(b, &be, sizeof(be));
}

static void put_i64(struct buf *b, int64_t v)
{
    uint64_t be = htobe64((uint64_t)v);
    buf_append(b, &be, sizeof(be));
}

void pg_array_init(struct pg_array *a, enum pg_array_kind kind, size_t max_bytes)
{
    *a = (struct pg_array){.element = kinds[kind].element, .array = kinds[kind].array};
    buf_init(&a->buf, max_bytes < INT_MAX ? max_bytes : INT_MAX);
    pg_array_reset(a);
}

void pg_array_deinit(struct pg_array *a)
{
    buf_deinit(&a->buf);
}

void pg_array_reset(struct pg_array *a)
{
    static const char zeros[HEADER_SIZE];
    buf_reset(&a->buf);
    buf_append(&a->buf, zeros, sizeof(zeros));
    a->n = 0;
    a->has_null = false;
}

/* The element's length word; the caller appends the data. */
static void element(struct pg_array *a, size_t n)
{
    if (n > INT32_MAX || a->n == INT32_MAX) {
        a->buf.failed = true;
        return;
    }
    put_i32(&a->buf, (int32_t)n);
    a->n++;
}

void pg_array_null(struct pg_array *a)
{
    put_i32(&a->buf, -1);
    a->n++;
    a->has_null = true;
}

void pg_array_uuid(struct pg_array *a, struct uuid v)
{
    assert(a->element == PG_OID_UUID);
    element(a, sizeof(v.b));
    buf_append(&a->buf, v.b, sizeof(v.b));
}

void pg_array_text(struct pg_array *a, struct view v)
{
    assert(a->element == PG_OID_TEXT || a->element == PG_OID_JSONB);
    if (a->element == PG_OID_JSONB) {
        element(a, v.n + 1);
        buf_putc(&a->buf, PG_JSONB_VERSION);
    } else {
        element(a, v.n);
    }
    buf_append_view(&a->buf, v);
}

void pg_array_i64(struct pg_array *a, int64_t v)
{
    assert(a->element == PG_OID_INT8 || a->element == PG_OID_INT4);
    if (a->element == PG_OID_INT8) {
        element(a, sizeof(int64_t));
        put_i64(&a->buf, v);
        return;
    }
    assert(v >= INT32_MIN && v <= INT32_MAX);
    element(a, sizeof(int32_t));
    put_i32(&a->buf, (int32_t)v);
}

void pg_array_bool(struct pg_array *a, bool v)
{
    assert(a->element == PG_OID_BOOL);
    element(a, 1);
    buf_putc(&a->buf, v ? 1 : 0);
}

void pg_array_bytea(struct pg_array *a, struct bytes v)
{
    assert(a->element == PG_OID_BYTEA);
    element(a, v.n);
    buf_append(&a->buf, v.p, v.n);
}

void pg_array_timestamp(struct pg_array *a, int64_t wall)
{
    assert(a->element == PG_OID_TIMESTAMPTZ);
    element(a, sizeof(int64_t));
    put_i64(&a->buf, wall - PG_EPOCH_US);
}

void pg_array_float(struct pg_array *a, float v)
{
    assert(a->element == PG_OID_FLOAT4);
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    element(a, sizeof(bits));
    put_i32(&a->buf, (int32_t)bits);
}

struct pg_param pg_array_param(struct pg_array *a)
{
    struct pg_param p = {.type = a->array,
                         .format = 1,
                         .length = buf_no_memory(&a->buf) ? PG_NO_MEMORY : PG_TOO_LARGE};
    if (buf_failed(&a->buf))
        return p;
    uint32_t header[5] = {htobe32(a->n > 0 ? 1 : 0), htobe32(a->has_null), htobe32(a->element),
                          htobe32((uint32_t)a->n), htobe32(1)};
    memcpy(a->buf.p, header, sizeof(header));
    p.data = a->buf.p;
    /* An empty array has no dimension words. */
    p.length = a->n > 0 ? (int)a->buf.n : 12;
    return p;
}

static struct pg_param inlined(Oid type, const void *be, size_t n)
{
    struct pg_param p = {.type = type, .format = 1, .length = (int)n};
    memcpy(p.inlined, be, n);
    return p;
}

struct pg_param pg_null(void)
{
    return (struct pg_param){.format = 1};
}

struct pg_param pg_i64(int64_t v)
{
    uint64_t be = htobe64((uint64_t)v);
    return inlined(PG_OID_INT8, &be, sizeof(be));
}

struct pg_param pg_i32(int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);
    return inlined(PG_OID_INT4, &be, sizeof(be));
}

struct pg_param pg_bool(bool v)
{
    uint8_t byte = v ? 1 : 0;
    return inlined(PG_OID_BOOL, &byte, 1);
}

struct pg_param pg_uuid(struct uuid v)
{
    return inlined(PG_OID_UUID, v.b, sizeof(v.b));
}

struct pg_param pg_timestamptz(int64_t wall)
{
    uint64_t be = htobe64((uint64_t)(wall - PG_EPOCH_US));
    return inlined(PG_OID_TIMESTAMPTZ, &be, sizeof(be));
}

static struct pg_param pointed(Oid type, const void *p, size_t n, int format)
{
    return (struct pg_param){.data = p != NULL ? p : "",
                             .length = n <= INT_MAX ? (int)n : PG_TOO_LARGE,
                             .type = type,
                             .format = format};
}

struct pg_param pg_text(struct view v)
{
    return pointed(PG_OID_TEXT, v.p, v.n, 1);
}

struct pg_param pg_bytea(struct bytes v)
{
    return pointed(PG_OID_BYTEA, v.p, v.n, 1);
}

struct pg_param pg_json(struct view v)
{
    return pointed(PG_OID_JSONB, v.p, v.n, 0);
}

struct pg_param pg_xid8(uint64_t v)
{
    uint64_t be = htobe64(v);
    return inlined(PG_OID_XID8, &be, sizeof(be));
}

struct pg_param pg_snapshot(struct view v)
{
    return pointed(PG_OID_PG_SNAPSHOT, v.p, v.n, 0);
}
