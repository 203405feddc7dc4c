// SPDX-License-Identifier: Apache-2.0
#include "events/breaker.h"

#include "test/unit/check.h"

static const struct err trouble = {
    .class = ERR_UNAVAILABLE, .code = "pg-57P01", .op = "insert outbox"};

enum input { TRIP, DUE, GOOD, BAD };

/* The whole machine: from each state, each input. */
static void test_every_transition(void)
{
    static const struct {
        enum breaker_state from;
        enum input input;
        enum breaker_state to;
    } rows[] = {
        {BREAKER_CLOSED, TRIP, BREAKER_OPEN},      {BREAKER_CLOSED, DUE, BREAKER_CLOSED},
        {BREAKER_CLOSED, GOOD, BREAKER_CLOSED},    {BREAKER_CLOSED, BAD, BREAKER_CLOSED},
        {BREAKER_OPEN, TRIP, BREAKER_OPEN},        {BREAKER_OPEN, DUE, BREAKER_HALF_OPEN},
        {BREAKER_OPEN, GOOD, BREAKER_CLOSED},      {BREAKER_OPEN, BAD, BREAKER_OPEN},
        {BREAKER_HALF_OPEN, TRIP, BREAKER_OPEN},   {BREAKER_HALF_OPEN, DUE, BREAKER_HALF_OPEN},
        {BREAKER_HALF_OPEN, GOOD, BREAKER_CLOSED}, {BREAKER_HALF_OPEN, BAD, BREAKER_OPEN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct breaker b;
        breaker_init(&b, DEP_POSTGRES, i);
        if (rows[i].from != BREAKER_CLOSED) {
            breaker_trip(&b, 1000, &trouble);
        }
        if (rows[i].from == BREAKER_HALF_OPEN) {
            CHECK(breaker_probe_due(&b, 10000));
        }
        CHECK_EQ_INT(b.state, rows[i].from);
        switch (rows[i].input) {
        case TRIP:
            breaker_trip(&b, 20000, &trouble);
            break;
        case DUE:
            CHECK(breaker_probe_due(&b, 20000) == (rows[i].from == BREAKER_OPEN));
            break;
        case GOOD:
            breaker_probed(&b, 20000, true);
            break;
        case BAD:
            breaker_probed(&b, 20000, false);
            break;
        }
        CHECK_EQ_INT(b.state, rows[i].to);
        CHECK(breaker_allows(&b) == (rows[i].to == BREAKER_CLOSED));
    }
}

static void test_pauses_grow(void)
{
    static const int64_t pauses[] = {250, 500, 1000, 2000, 4000, 5000, 5000, 5000};
    bool differ = false;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct breaker b;
        breaker_init(&b, DEP_QDRANT, seed);
        int64_t now = 1000000;
        breaker_trip(&b, now, &trouble);
        CHECK_EQ_INT(b.opened_ms, now);
        CHECK_STR(b.cause.code, "pg-57P01");
        CHECK_STR(b.cause.op, "insert outbox");
        for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
            int64_t pause = b.next_probe_ms - now;
            CHECK(pause >= pauses[i] * 4 / 5 && pause <= pauses[i] * 6 / 5);
            differ |= pause != pauses[i];
            CHECK(!breaker_probe_due(&b, b.next_probe_ms - 1));
            now = b.next_probe_ms;
            CHECK(breaker_probe_due(&b, now));
            CHECK(!breaker_probe_due(&b, now));
            breaker_probed(&b, now, false);
            CHECK_EQ_INT(b.failures, i + 1);
            CHECK_EQ_INT(b.opened_ms, 1000000);
        }
        breaker_probed(&b, now, true);
        CHECK_EQ_INT(b.cause.class, ERR_NONE);
        CHECK_EQ_INT(b.failures, 0);
    }
    CHECK(differ);
}

/* Trouble reported again while it is open neither postpones nor hastens the probe. */
static void test_repeated_trips(void)
{
    struct breaker b;
    breaker_init(&b, DEP_NATS, 1);
    breaker_trip(&b, 1000, &trouble);
    int64_t probe = b.next_probe_ms;
    breaker_trip(&b, 1001, &trouble);
    CHECK_EQ_INT(b.next_probe_ms, probe);
    b.failures = UINT32_MAX;
    breaker_probed(&b, 5000, false);
    CHECK(b.next_probe_ms >= 9000 && b.next_probe_ms <= 11000);
}

static void test_names(void)
{
    CHECK_STR(breaker_state_name(BREAKER_CLOSED), "closed");
    CHECK_STR(breaker_state_name(BREAKER_OPEN), "open");
    CHECK_STR(breaker_state_name(BREAKER_HALF_OPEN), "half-open");
    CHECK_STR(breaker_state_name((enum breaker_state)9), "unknown");
}

int main(void)
{
    RUN(test_every_transition);
    RUN(test_pauses_grow);
    RUN(test_repeated_trips);
    RUN(test_names);
    return check_result();
}
