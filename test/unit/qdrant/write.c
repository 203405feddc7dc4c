/* Request bodies: guards, payloads, decimals; which server versions will do; which ids differ. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/write.h"

#include "test/unit/check.h"
#include "workers/qdrant/reconcile.h"
#include "workers/qdrant/schema.h"

static const float vector[3] = {0.6f, -0.00000001f, 0};
static struct document doc = {.payload = {"\"entity_type\":\"anime\",", 22},
                              .text = {"a \"b\"", 5}};
static struct trace_context trace = {.set = true, .trace_id = {0xab, 1}};

static struct point_write write_of(enum plan_action action, uint8_t id, int64_t rev)
{
    return (struct point_write){.action = action,
                                .kind = DOC_ANIME,
                                .id = {{[15] = id}},
                                .rev = rev,
                                .doc = action == PLAN_TOMBSTONE ? NULL : &doc,
                                .emb = action == PLAN_TOMBSTONE ? "" : "e1",
                                .vector = action == PLAN_UPSERT ? vector : NULL,
                                .trace = &trace};
}

#define TRACE ",\"trace\":\"ab010000000000000000000000000000\"}"
#define ID(n) "00000000-0000-0000-0000-00000000000" #n

static void test_upsert(void)
{
    struct point_write a = write_of(PLAN_UPSERT, 1, 7), b = write_of(PLAN_TOMBSTONE, 2, 9);
    struct point_write *const writes[] = {&a, &b};
    struct buf out;
    b.or_equal = true;
    buf_init(&out, 1 << 20);
    put_upsert_body(&out, writes, 2, 3);
    CHECK_STR(buf_cstr(&out),
              "{\"points\":[{\"id\":\"" ID(
                  1) "\",\"vector\":{\"dense\":[0.60000002,-0.00000001,0.0],\"bm25\":"
                     "{\"model\":\"qdrant/bm25\",\"text\":\"a \\\"b\\\"\"}},\"payload\":"
                     "{\"entity_type\":\"anime\",\"emb\":\"e1\",\"rev\":7" TRACE "},{\"id\":\"" ID(
                         2) "\",\"vector\":{},\"payload\":{\"entity_type\":\"anime\","
                            "\"deleted\":true,\"rev\":9" TRACE
                            "}],\"update_filter\":{\"should\":[{\"is_empty\":"
                            "{\"key\":\"rev\"}},{\"must\":[{\"has_id\":[\"" ID(
                                1) "\"]},{\"key\":\"rev\",\"range\":{\"lt\":7}}]},"
                                   "{\"must\":[{\"has_id\":[\"" ID(
                                       2) "\"]},{\"key\":\"rev\",\"range\":{\"lte\":9}}]}"
                                          "]}}");
    buf_deinit(&out);
}

/* A point that comes in the meantime has a revision, and none of the conditions is about it. */
static void test_upsert_of_absent(void)
{
    struct point_write a = write_of(PLAN_UPSERT, 1, 7);
    struct point_write *const writes[] = {&a};
    struct buf out;
    a.absent = true;
    buf_init(&out, 1 << 20);
    put_upsert_body(&out, writes, 1, 3);
    const char *guard = strstr(buf_cstr(&out), ",\"update_filter\":");
    CHECK_STR(guard ? guard : "no guard",
              ",\"update_filter\":{\"should\":[{\"is_empty\":{\"key\":\"rev\"}}]}}");
    buf_deinit(&out);
}

static void test_payload(void)
{
    struct point_write a = write_of(PLAN_PAYLOAD, 1, 7);
    struct point_write *const writes[] = {&a};
    struct buf out;
    buf_init(&out, 1 << 20);
    put_payload_body(&out, writes, 1);
    CHECK_STR(buf_cstr(&out),
              "{\"operations\":[{\"overwrite_payload\":{\"payload\":{\"entity_type\":\"anime\","
              "\"emb\":\"e1\",\"rev\":7" TRACE ",\"filter\":{\"must\":[{\"has_id\":[\"" ID(
                  1) "\"]},{\"key\":\"emb\",\"match\":{\"value\":\"e1\"}},{\"key\":\"rev\","
                     "\"range\":{\"lt\":7}}]}}}]}");
    buf_deinit(&out);
}

static void test_decimals(void)
{
    static const struct {
        float value;
        const char *text;
    } rows[] = {{0, "[0.0]"},    {1, "[1.0]"},        {-1, "[-1.0]"},
                {0.5f, "[0.5]"}, {-0.25f, "[-0.25]"}, {0.03125f, "[0.03125]"},
                {0.1f, "[0.1]"}, {1e-9f, "[0.0]"},    {1.00001f, "[1.0]"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 100);
        put_vector(&out, &rows[i].value, 1);
        CHECK_STR(buf_cstr(&out), rows[i].text);
        buf_deinit(&out);
    }
}

static void test_versions(void)
{
    static const struct {
        const char *text;
        bool enough;
    } rows[] = {{"1.16.0", true},  {"1.17.1", true},  {"1.17.1-edge0.9.0", true},
                {"2.0.0", true},   {"1.100.0", true}, {"1.16.0-dev", true},
                {"1.15.9", false}, {"0.99.0", false}, {"", false},
                {"1", false},      {"1.x.3", false},  {"v1.17.1", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_ROW(version_is_enough(view_of(rows[i].text)) == rows[i].enough, rows[i].text);
}

static void test_drift(void)
{
    const struct stored absent = {0}, five = {true, true, 5, "a", false},
                        tomb = {true, true, 5, "", true},
                        pending = {true, true, 5, "pending", false}, bare = {.present = true};
    CHECK_EQ_INT(drift_of(true, 5, false, &five), DRIFT_NONE);
    CHECK_EQ_INT(drift_of(true, 5, false, &absent), DRIFT_MISSING);
    CHECK_EQ_INT(drift_of(true, 5, false, &tomb), DRIFT_MISSING);
    CHECK_EQ_INT(drift_of(true, 6, false, &five), DRIFT_STALE);
    CHECK_EQ_INT(drift_of(true, 5, false, &bare), DRIFT_STALE);
    CHECK_EQ_INT(drift_of(true, 4, false, &five), DRIFT_SURPLUS);
    CHECK_EQ_INT(drift_of(true, 5, false, &pending), DRIFT_PENDING);
    CHECK_EQ_INT(drift_of(true, 5, true, &five), DRIFT_SURPLUS);
    CHECK_EQ_INT(drift_of(true, 5, true, &tomb), DRIFT_NONE);
    CHECK_EQ_INT(drift_of(true, 5, true, &absent), DRIFT_NONE);
    CHECK_EQ_INT(drift_of(false, 0, false, &five), DRIFT_SURPLUS);
    CHECK_EQ_INT(drift_of(false, 0, false, &tomb), DRIFT_NONE);
}

int main(void)
{
    RUN(test_upsert);
    RUN(test_upsert_of_absent);
    RUN(test_payload);
    RUN(test_decimals);
    RUN(test_versions);
    RUN(test_drift);
    return check_result();
}
