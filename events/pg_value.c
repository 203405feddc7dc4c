/* Values of a result, out of PostgreSQL's binary format. The type of a column is the statement's,
 * so a wrong one is a fault of the program: an assertion. NULL reads as 0, empty or nil. */
// SPDX-License-Identifier: Apache-2.0

#include <assert.h>

#include "events/pg.h"
#include "events/pg_types.h"

static const uint8_t *value(const PGresult *r, int row, int column, size_t size)
{
    assert(PQfformat(r, column) == 1);
    assert((size_t)PQgetlength(r, row, column) == size);
    return (const uint8_t *)PQgetvalue(r, row, column);
}

static int64_t get_be(const PGresult *r, int row, int column, size_t size)
{
    const uint8_t *p = value(r, row, column, size);
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

bool pg_is_null(const PGresult *r, int row, int column)
{
    return PQgetisnull(r, row, column);
}

int64_t pg_get_i64(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return 0;
    switch (PQftype(r, column)) {
    case PG_OID_INT2:
        return (int16_t)get_be(r, row, column, 2);
    case PG_OID_INT4:
        return (int32_t)get_be(r, row, column, 4);
    case PG_OID_OID:
        return get_be(r, row, column, 4);
    default:
        assert(PQftype(r, column) == PG_OID_INT8 || PQftype(r, column) == PG_OID_XID8);
        return get_be(r, row, column, 8);
    }
}

bool pg_get_bool(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return false;
    assert(PQftype(r, column) == PG_OID_BOOL);
    return value(r, row, column, 1)[0] != 0;
}

struct view pg_get_text(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return (struct view){0};
    struct view v = {PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column)};
    Oid type = PQftype(r, column);
    if (type == PG_OID_JSONB) {
        assert(v.n > 0 && v.p[0] == PG_JSONB_VERSION);
        return (struct view){v.p + 1, v.n - 1};
    }
    assert(type == PG_OID_TEXT || type == PG_OID_VARCHAR || type == PG_OID_BPCHAR ||
           type == PG_OID_NAME || type == PG_OID_JSON || type == PG_OID_UNKNOWN ||
           type >= PG_OID_FIRST_USER);
    return v;
}

struct bytes pg_get_bytea(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return (struct bytes){0};
    assert(PQftype(r, column) == PG_OID_BYTEA);
    return (struct bytes){(const uint8_t *)PQgetvalue(r, row, column),
                          (size_t)PQgetlength(r, row, column)};
}

struct uuid pg_get_uuid(const PGresult *r, int row, int column)
{
    struct uuid id = {{0}};
    if (PQgetisnull(r, row, column))
        return id;
    assert(PQftype(r, column) == PG_OID_UUID);
    memcpy(id.b, value(r, row, column, sizeof(id.b)), sizeof(id.b));
    return id;
}

int64_t pg_get_timestamp_us(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return 0;
    assert(PQftype(r, column) == PG_OID_TIMESTAMPTZ);
    int64_t v = get_be(r, row, column, 8);
    /* Infinities stay at the ends of the range. */
    return v == INT64_MIN || v > INT64_MAX - PG_EPOCH_US ? v : v + PG_EPOCH_US;
}

double pg_get_double(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return 0;
    if (PQftype(r, column) == PG_OID_FLOAT4) {
        uint32_t bits = (uint32_t)get_be(r, row, column, 4);
        float f;
        memcpy(&f, &bits, sizeof(f));
        return (double)f;
    }
    assert(PQftype(r, column) == PG_OID_FLOAT8);
    uint64_t bits = (uint64_t)get_be(r, row, column, 8);
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}
