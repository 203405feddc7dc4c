/* Arrays for PostgreSQL, read back by the format's documentation (array_recv), and readers of
 * results that a server sent.
 *
 * Property: an array holds each element as it was put, and the result readers give what stands in a
 * row. The input is a kind, then texts, each behind its length; length 255 is NULL. */
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"
#include "test/fuzz/demand.h"

enum { N_MAX = 64, TEXT_OID = 25, JSONB_OID = 3802, BYTEA_OID = 17 };

struct element {
    struct view text;
    bool null;
};

static size_t split(const uint8_t *p, size_t n, struct element ret[N_MAX])
{
    size_t count = 0;
    while (n > 0 && count < N_MAX) {
        bool null = *p == 255;
        size_t size = null ? 0 : *p;
        p++, n--;
        size = size < n ? size : n;
        ret[count++] = (struct element){{(const char *)p, size}, null};
        p += size, n -= size;
    }
    return count;
}

static int32_t word(const uint8_t **p, const uint8_t *end)
{
    demand(end - *p >= 4, "a whole word", NULL);
    const uint8_t *at = *p;
    *p += 4;
    return (int32_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
}

static void check_array(const struct pg_param *param, const struct element elements[], size_t n,
                        int32_t oid, bool has_null)
{
    const uint8_t *p = param->data, *end = p + param->length;
    demand(param->format == 1 && param->length >= 12, "a binary array", NULL);
    demand(word(&p, end) == (n ? 1 : 0) && word(&p, end) == has_null && word(&p, end) == oid,
           "dimensions, null mark, type", NULL);
    if (n)
        demand(word(&p, end) == (int32_t)n && word(&p, end) == 1, "length and bound", NULL);
    for (size_t i = 0; i < n; i++) {
        int32_t size = word(&p, end);
        if (elements[i].null) {
            demand(size == -1, "NULL", NULL);
            continue;
        }
        size_t version = oid == JSONB_OID;
        demand(size == (int32_t)(elements[i].text.n + version) && end - p >= size, "size", NULL);
        demand(!version || *p == 1, "jsonb's version", NULL);
        demand(elements[i].text.n == 0 ||
                   memcmp(p + version, elements[i].text.p, elements[i].text.n) == 0,
               "the element", NULL);
        p += size;
    }
    demand(p == end, "nothing behind it", NULL);
}

static void check_result(const struct element elements[], size_t n)
{
    PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[2] = {
        {.name = (char *)"t", .format = 1, .typid = TEXT_OID, .typlen = -1},
        {.name = (char *)"b", .format = 1, .typid = BYTEA_OID, .typlen = -1}};
    demand(r && PQsetResultAttrs(r, 2, columns), "memory", NULL);
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < 2; c++)
            demand(PQsetvalue(r, (int)i, c, elements[i].null ? NULL : (char *)elements[i].text.p,
                              elements[i].null ? -1 : (int)elements[i].text.n),
                   "memory", NULL);
        demand(pg_is_null(r, (int)i, 0) == elements[i].null, "NULL", NULL);
        struct bytes b = pg_get_bytea(r, (int)i, 1);
        demand(view_eq(pg_get_text(r, (int)i, 0), elements[i].text) &&
                   view_eq((struct view){(const char *)b.p, b.n}, elements[i].text),
               "the value", NULL);
    }
    PQclear(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct {
        enum pg_array_kind kind;
        int32_t oid;
    } kinds[] = {{PG_TEXTS, TEXT_OID}, {PG_JSONS, JSONB_OID}, {PG_BYTEAS, BYTEA_OID}};
    struct element elements[N_MAX];
    struct pg_array array;
    bool has_null = false;
    if (n < 1)
        return 0;
    unsigned k = data[0] % 3;
    size_t count = split(data + 1, n - 1, elements);
    pg_array_init(&array, kinds[k].kind, 1 << 20);
    for (size_t i = 0; i < count; i++) {
        has_null |= elements[i].null;
        if (elements[i].null)
            pg_array_null(&array);
        else if (kinds[k].kind == PG_BYTEAS)
            pg_array_bytea(&array, bytes_of(elements[i].text));
        else
            pg_array_text(&array, elements[i].text);
    }
    struct pg_param param = pg_array_param(&array);
    check_array(&param, elements, count, kinds[k].oid, has_null);
    check_result(elements, count);
    pg_array_deinit(&array);
    return 0;
}
