/* Binary arrays and parameters, byte for byte as PostgreSQL's array_send writes them. */
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"

#include "test/unit/check.h"

#define HEADER(null, oid_hi, oid_lo, n)                                                            \
    0, 0, 0, 1, 0, 0, 0, null, 0, 0, oid_hi, oid_lo, 0, 0, 0, n, 0, 0, 0, 1

static void check_array(struct pg_array *a, const uint8_t *want, size_t n, unsigned oid)
{
    struct pg_param p = pg_array_param(a);
    CHECK_EQ_INT(p.type, oid);
    CHECK_EQ_INT(p.format, 1);
    CHECK_EQ_INT(p.length, (int64_t)n);
    CHECK(p.length == (int)n && memcmp(p.data, want, n) == 0);
    pg_array_deinit(a);
}
#define GOLDEN(a, oid, ...)                                                                        \
    do {                                                                                           \
        const uint8_t want_[] = {__VA_ARGS__};                                                     \
        check_array(a, want_, sizeof(want_), oid);                                                 \
    } while (0)

static void test_uuids(void)
{
    struct pg_array a;
    struct uuid id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    pg_array_init(&a, PG_UUIDS, 1000);
    pg_array_uuid(&a, id);
    pg_array_null(&a);
    GOLDEN(&a, 2951, HEADER(1, 0x0b, 0x86, 2), 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
           13, 14, 15, 16, 255, 255, 255, 255);
}

static void test_texts(void)
{
    struct pg_array a;
    pg_array_init(&a, PG_TEXTS, 1000);
    pg_array_text(&a, VIEW_LIT("ab"));
    pg_array_text(&a, (struct view){0});
    GOLDEN(&a, 1009, HEADER(0, 0, 25, 2), 0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0);
}

static void test_numbers(void)
{
    struct pg_array a;
    pg_array_init(&a, PG_I64S, 1000);
    pg_array_i64(&a, -2);
    GOLDEN(&a, 1016, HEADER(0, 0, 20, 1), 0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 254);
    pg_array_init(&a, PG_I32S, 1000);
    pg_array_i64(&a, 258);
    GOLDEN(&a, 1007, HEADER(0, 0, 23, 1), 0, 0, 0, 4, 0, 0, 1, 2);
    pg_array_init(&a, PG_BOOLS, 1000);
    pg_array_bool(&a, true);
    pg_array_bool(&a, false);
    GOLDEN(&a, 1000, HEADER(0, 0, 16, 2), 0, 0, 0, 1, 1, 0, 0, 0, 1, 0);
    pg_array_init(&a, PG_FLOAT4S, 1000);
    pg_array_float(&a, 1.5f);
    GOLDEN(&a, 1021, HEADER(0, 0x02, 0xbc, 1), 0, 0, 0, 4, 0x3f, 0xc0, 0, 0);
}

static void test_bytes_times_jsons(void)
{
    struct pg_array a;
    const uint8_t data[] = {0, 255};
    pg_array_init(&a, PG_BYTEAS, 1000);
    pg_array_bytea(&a, (struct bytes){data, 2});
    GOLDEN(&a, 1001, HEADER(0, 0, 17, 1), 0, 0, 0, 2, 0, 255);
    pg_array_init(&a, PG_TIMESTAMPS, 1000);
    pg_array_timestamp(&a, 946684800000001); /* 2000-01-01 and a microsecond */
    GOLDEN(&a, 1185, HEADER(0, 0x04, 0xa0, 1), 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1);
    pg_array_init(&a, PG_JSONS, 1000);
    pg_array_text(&a, VIEW_LIT("{}"));
    GOLDEN(&a, 3807, HEADER(0, 0x0e, 0xda, 1), 0, 0, 0, 3, 1, '{', '}');
}

static void test_empty(void)
{
    struct pg_array a;
    pg_array_init(&a, PG_TEXTS, 1000);
    pg_array_text(&a, VIEW_LIT("x"));
    pg_array_reset(&a);
    GOLDEN(&a, 1009, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25);
}

static void test_overflow(void)
{
    struct pg_array a;
    pg_array_init(&a, PG_TEXTS, 30);
    pg_array_text(&a, VIEW_LIT("123456"));
    CHECK_EQ_INT(pg_array_param(&a).length, 30);
    pg_array_text(&a, VIEW_LIT(""));
    struct pg_param p = pg_array_param(&a);
    CHECK_EQ_INT(p.length, -1);
    CHECK(p.data == NULL);
    pg_array_reset(&a);
    CHECK_EQ_INT(pg_array_param(&a).length, 12);
    pg_array_deinit(&a);
}

static void test_params(void)
{
    struct pg_param p = pg_i64(1);
    CHECK_EQ_INT(p.length, 8);
    CHECK_EQ_INT(p.inlined[7], 1);
    CHECK(p.data == NULL);
    p = pg_text((struct view){0});
    CHECK(p.data != NULL); /* empty, not NULL */
    CHECK_EQ_INT(p.length, 0);
    p = pg_null();
    CHECK(p.data == NULL && p.length == 0);
    p = pg_xid8(0x0102030405060708);
    CHECK_EQ_INT(p.inlined[0], 1);
    CHECK_EQ_INT(p.inlined[7], 8);
}

int main(void)
{
    RUN(test_uuids);
    RUN(test_texts);
    RUN(test_numbers);
    RUN(test_bytes_times_jsons);
    RUN(test_empty);
    RUN(test_overflow);
    RUN(test_params);
    return check_result();
}
