/* What a consumer's state and marks prove, and what they don't. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/exhausted.h"

#include "test/unit/check.h"

#define CREATED_US INT64_C(1700000000000000)
#define INFO(policy, config)                                                                       \
    "{\"name\":\"catalog-updated\",\"created\":\"2023-11-14T22:13:20.5Z\",\"config\":{"            \
    "\"ack_policy\":\"" policy "\"," config "\"deliver_policy\":\"all\"},"                         \
    "\"delivered\":{\"consumer_seq\":9,\"stream_seq\":6},\"ack_floor\":{\"stream_seq\":2},"        \
    "\"num_ack_pending\":1,\"num_redelivered\":3,\"num_pending\":4}"

static bool read(const char *text, struct consumer_state *ret)
{
    static json_t *json;
    json_decref(json);
    json = json_loads(text, 0, NULL);
    return consumer_state_read("ANIME_EVENTS", json, ret);
}

static void test_a_state_is_read(void)
{
    struct consumer_state c;
    REQUIRE(read(INFO("explicit", "\"max_deliver\":2,\"filter_subject\":\"anime.updated\","), &c));
    CHECK_STR(c.name, "catalog-updated");
    CHECK(c.gives_all && c.max_deliver == 2 && c.created_us == CREATED_US + 500000);
    CHECK(c.floor == 2 && c.delivered == 6 && c.in_hand == 1 && c.redelivered == 3 &&
          c.pending == 4);
    CHECK_EQ_INT(c.n_filters, 1);
    CHECK_STR(c.filters[0], "anime.updated");
    REQUIRE(read(INFO("explicit", "\"max_deliver\":2,\"filter_subjects\":[\"a\",\"b.*\"],"), &c));
    CHECK_EQ_INT(c.n_filters, 2);
    REQUIRE(read(INFO("explicit", "\"max_deliver\":2,"), &c));
    CHECK_STR(c.filters[0], ">");
}

static void test_what_exhausts_nothing(void)
{
    struct consumer_state c;
    CHECK(!read(INFO("none", "\"max_deliver\":2,"), &c));
    CHECK(!read(INFO("explicit", "\"max_deliver\":-1,"), &c));
    CHECK(!read(INFO("explicit", ""), &c));
    CHECK(!read("{}", &c));
    CHECK(!read("[]", &c));
}

static void test_settled(void)
{
    struct consumer_state c = {.floor = 2, .delivered = 6, .in_hand = 1};
    CHECK_EQ_INT(consumer_state_settled(&c), 2);
    c.in_hand = 0;
    CHECK_EQ_INT(consumer_state_settled(&c), 6);
}

static void test_marks(void)
{
    const struct consumer_state c = {
        .floor = 9, .delivered = 12, .in_hand = 1, .max_deliver = 5, .created_us = CREATED_US};
    const struct suspect_mark good = {.begun = 1, .deliveries = 5, .time_us = CREATED_US};
    struct suspect_mark m = good;
    CHECK(exhausted_by_mark(&c, 9, &m));
    CHECK(!exhausted_by_mark(&c, 10, &m)); /* may be in hand */
    m.begun = 0;                           /* ended, but not with an ack */
    CHECK(exhausted_by_mark(&c, 9, &m));
    m.done = true;
    CHECK(!exhausted_by_mark(&c, 9, &m));
    m = good;
    m.deliveries = 4; /* it would come once more */
    CHECK(!exhausted_by_mark(&c, 9, &m));
    m = good;
    m.time_us = CREATED_US - 1; /* of a consumer that was there before */
    CHECK(!exhausted_by_mark(&c, 9, &m));
    m = (struct suspect_mark){0}; /* no mark, or of another stream */
    CHECK(!exhausted_by_mark(&c, 9, &m));
}

static void test_floor(void)
{
    struct consumer_memory m = {0};
    struct consumer_state c = {.floor = 2, .delivered = 6};
    uint64_t after;
    CHECK(consumer_floor_proves(&c, &m, &after) && after == 2); /* nothing is known: since ever */
    /* All up to 6 was settled, but 3 held the floor: an acked 7 would not move it. */
    consumer_memory_note(&m, &c, 0);
    c.delivered = 9;
    CHECK(!consumer_floor_proves(&c, &m, &after));
    c.floor = 8;
    CHECK(consumer_floor_proves(&c, &m, &after) && after == 8);
    /* Nothing held it, and nothing was left up to 20 of the stream. */
    c = (struct consumer_state){.floor = 10, .delivered = 10};
    consumer_memory_note(&m, &c, 20);
    CHECK_EQ_INT(m.clear, 20);
    c.delivered = 22;
    CHECK(consumer_floor_proves(&c, &m, &after) && after == 20);
    /* With something pending the stream's end tells nothing; in hand, nothing is noted. */
    c.pending = 1;
    consumer_memory_note(&m, &c, 30);
    CHECK_EQ_INT(m.clear, 22);
    c.delivered = 25;
    c.in_hand = 1;
    consumer_memory_note(&m, &c, 30);
    CHECK_EQ_INT(m.clear, 22);
}

int main(void)
{
    RUN(test_a_state_is_read);
    RUN(test_what_exhausts_nothing);
    RUN(test_settled);
    RUN(test_marks);
    RUN(test_floor);
    return check_result();
}
