/* Pull requests, control statuses, ack subjects, the fetch ramp. */
// SPDX-License-Identifier: Apache-2.0

#include "events/pull.h"

#include "test/unit/check.h"

static void test_request_body(void)
{
    char out[PULL_BODY_MAX];
    struct pull_request r = {.batch = 64, .expires_ms = 5000, .heartbeat_ms = 2000};

    const size_t n = pull_format(&r, out);
    CHECK_EQ_INT(n, strlen(out));
    CHECK_STR(out, "{\"batch\":64,\"expires\":5000000000,\"idle_heartbeat\":2000000000}");
    r.max_bytes = 16 << 20;
    pull_format(&r, out);
    CHECK_STR(out, "{\"batch\":64,\"expires\":5000000000,\"idle_heartbeat\":2000000000,"
                   "\"max_bytes\":16777216}");
    r = (struct pull_request){UINT32_MAX, INT64_MAX / 2000000, INT64_MAX / 2000000, INT64_MAX};
    CHECK(pull_format(&r, out) < PULL_BODY_MAX);
}

static void test_statuses(void)
{
    static const struct {
        const char *status, *description;
        enum pull_status want;
    } rows[] = {
        {"100", "Idle Heartbeat", PULL_HEARTBEAT},
        {"404", "No Messages", PULL_ENDED},
        {"408", "Request Timeout", PULL_ENDED},
        {"408", "Interest Expired", PULL_ENDED},
        {"409", "Batch Completed", PULL_ENDED},
        {"409", "Message Size Exceeds MaxBytes", PULL_ENDED},
        {"409", "Exceeded MaxWaiting", PULL_BUSY},
        {"409", "Exceeded MaxRequestBatch of 10", PULL_BUSY},
        {"409", "Exceeded MaxRequestExpires of 1s", PULL_BUSY},
        {"409", "Consumer Deleted", PULL_GONE},
        {"409", "Consumer is push based", PULL_GONE},
        {"409", "Leadership Change", PULL_MOVED},
        {"409", "Server Shutdown", PULL_MOVED},
        {"409", "something new", PULL_UNKNOWN},
        {"409", NULL, PULL_UNKNOWN},
        {"423", "Nats-Wrong-Pin-Id", PULL_BUSY},
        {"503", NULL, PULL_NO_SERVICE},
        {"200", NULL, PULL_UNKNOWN},
        {"", NULL, PULL_UNKNOWN},
        {"40x", NULL, PULL_UNKNOWN},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_EQ_INT(pull_classify(rows[i].status, rows[i].description), rows[i].want);
}

static void test_ack_subject(void)
{
    struct delivery d;

    REQUIRE(delivery_parse(
        VIEW_LIT("$JS.ACK.ANIME_EVENTS.catalog-enriched.2.17.21.1700000000123456789.5"), &d));
    CHECK(view_is(d.stream, "ANIME_EVENTS"));
    CHECK(view_is(d.consumer, "catalog-enriched"));
    CHECK_EQ_INT(d.deliveries, 2);
    CHECK_EQ_INT((int64_t)d.stream_sequence, 17);
    CHECK_EQ_INT((int64_t)d.consumer_sequence, 21);
    CHECK_EQ_INT(d.stored_us, 1700000000123456);
    CHECK_EQ_INT((int64_t)d.pending, 5);

    REQUIRE(delivery_parse(VIEW_LIT("$JS.ACK.hub.Ab3X.S.c.1.9.9.1700000000000000000.0.tok"), &d));
    CHECK(view_is(d.stream, "S"));
    CHECK_EQ_INT((int64_t)d.stream_sequence, 9);
    REQUIRE(delivery_parse(VIEW_LIT("$JS.ACK._.Ab3X.S.c.1.9.9.1700000000000000000.0"), &d));
    CHECK(view_is(d.consumer, "c"));
}

static void test_bad_ack_subjects(void)
{
    static const char *const bad[] = {
        "",
        "_INBOX.abc",
        "$JS.ACK.S.c.1.2.3.4",
        "$JS.ACK.S.c.x.2.3.4.5",
        "$JS.ACK.S.c.-1.2.3.4.5",
        "$JS.ACK.S.c.0.2.3.4.5", /* deliveries count from 1 */
        "$JS.NAK.S.c.1.2.3.4.5",
        "$JS.ACK.a.b.S.c.1.2.3.4.5.6.7",
        "$JS.ACK.S.c.1.2.3.4.5.6",
    };
    struct delivery d;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK(!delivery_parse(view_of(bad[i]), &d));
}

static void test_ramp(void)
{
    static const unsigned sizes[] = {1, 2, 4, 8, 16, 32, 50, 50};
    struct ramp r;

    ramp_init(&r, 50);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CHECK_EQ_INT(r.size, sizes[i]);
        CHECK_EQ_INT(ramp_is_careful(&r), sizes[i] < 50);
        ramp_settled(&r, true);
    }
    ramp_settled(&r, false);
    CHECK_EQ_INT(r.size, 1);
    ramp_init(&r, 0);
    CHECK_EQ_INT(r.size, 1);
    ramp_settled(&r, true);
    CHECK_EQ_INT(r.size, 1);
    CHECK(!ramp_is_careful(&r));
}

int main(void)
{
    RUN(test_request_body);
    RUN(test_statuses);
    RUN(test_ack_subject);
    RUN(test_bad_ack_subjects);
    RUN(test_ramp);
    return check_result();
}
