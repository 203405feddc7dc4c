/* Dead letters: exact headers, the size of ours, what is kept of the original. */
// SPDX-License-Identifier: Apache-2.0

#include "events/deadletter.h"

#include "test/unit/check.h"

static const char *header(const struct bus_message *m, const char *name)
{
    const char *found = NULL;

    for (size_t i = 0; i < m->n_headers; i++) {
        if (strcmp(m->headers[i].name, name) == 0) {
            CHECK(found == NULL); /* never twice */
            found = m->headers[i].value;
        }
    }
    return found != NULL ? found : "(absent)";
}

static struct dead_letter facts(void)
{
    return (struct dead_letter){
        .stream = "ANIME_EVENTS",
        .stream_created_s = 1763700000,
        .consumer = "catalog-updated",
        .subject = "anime.updated",
        .sequence = 4711,
        .deliveries = 5,
        .class = "retry-exhausted",
        .code = "pg-40001",
        .reason = "could not serialize access 12",
        .entity = VIEW_LIT("0191c8f0-0000-7000-8000-000000000001"),
        .first_seen_us = 1763700001250000,
        .failed_at_us = 1763700100000000,
        .worker = "echora-catalogue/0.1.0 host:1",
        .payload = {(const uint8_t *)"\x0a\x00\xff", 3},
    };
}

static void test_headers(void)
{
    static const struct bus_header original[] = {
        {"Nats-Msg-Id", "x-1"},      {"Nats-Expected-Stream", "ANIME_EVENTS"},
        {"traceparent", "00-aa-bb"}, {"X-Twice", "1"},
        {"Echora-Dlq-Hop", "9"},     {"Status", "100"},
        {"Echora-Event-Id", "e"},
    };
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    struct dead_letter f = facts();
    struct bus_message m = {0};
    struct err err = ERR_INIT;

    f.original = original;
    f.n_original = ARRAY_LEN(original);
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    CHECK_STR(m.subject, "anime.dlq.catalog-updated");
    CHECK_STR(header(&m, "Nats-Msg-Id"), "ANIME_EVENTS:1763700000:catalog-updated:4711");
    CHECK_STR(header(&m, "Nats-Expected-Stream"), "ANIME_DLQ");
    CHECK_STR(header(&m, "Echora-Dlq-Stream"), "ANIME_EVENTS");
    CHECK_STR(header(&m, "Echora-Dlq-Consumer"), "catalog-updated");
    CHECK_STR(header(&m, "Echora-Dlq-Subject"), "anime.updated");
    CHECK_STR(header(&m, "Echora-Dlq-Seq"), "4711");
    CHECK_STR(header(&m, "Echora-Dlq-Deliveries"), "5");
    CHECK_STR(header(&m, "Echora-Dlq-Class"), "retry-exhausted");
    CHECK_STR(header(&m, "Echora-Dlq-Code"), "pg-40001");
    CHECK_STR(header(&m, "Echora-Dlq-Reason"), "could not serialize access 12");
    CHECK_STR(header(&m, "Echora-Dlq-Entity"), "0191c8f0-0000-7000-8000-000000000001");
    CHECK_STR(header(&m, "Echora-Dlq-First-Seen"), "2025-11-21T04:40:01.250Z");
    CHECK_STR(header(&m, "Echora-Dlq-Failed-At"), "2025-11-21T04:41:40Z");
    CHECK_STR(header(&m, "Echora-Dlq-Worker"), "echora-catalogue/0.1.0 host:1");
    CHECK_STR(header(&m, "Echora-Dlq-Hop"), "0");
    CHECK_STR(header(&m, "traceparent"), "00-aa-bb");
    CHECK_STR(header(&m, "X-Twice"), "1");
    CHECK_STR(header(&m, "Echora-Event-Id"), "e");
    CHECK_STR(header(&m, "Status"), "(absent)");
    CHECK_EQ_INT(m.payload.n, 3);
    CHECK(m.payload.p == f.payload.p);
}

/* A publisher's header whose name no client may send would make the dead letter impossible. */
static void test_impossible_names_are_left_out(void)
{
    static const struct bus_header original[] = {
        {"", "empty"},
        {"X Y", "space"},
        {"a:b", "colon"},
        {"X\n", "control"},
        {"na\xc3\xafve", "not ASCII"},
        {"X-Good", "kept"},
    };
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    struct dead_letter f = facts();
    struct bus_message m = {0};
    struct err err = ERR_INIT;

    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    const size_t own = m.n_headers;
    f.original = original;
    f.n_original = ARRAY_LEN(original);
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    CHECK_EQ_INT(m.n_headers, own + 1);
    CHECK_STR(header(&m, "X-Good"), "kept");
}

static void test_parking(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    struct dead_letter f = facts();
    struct bus_message m = {0};
    struct err err = ERR_INIT;

    f.hop = 2;
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    CHECK_STR(m.subject, "anime.dlq.catalog-updated");
    f.hop = 3;
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    CHECK_STR(m.subject, "anime.dlq.parked.catalog-updated");
    f.hop = 0;
    f.parks = true;
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    CHECK_STR(m.subject, "anime.dlq.parked.catalog-updated");
}

/* Whatever the texts are, our headers stay within 2 KiB, in one line each, printable. */
static void test_bounds(void)
{
    static char longest[4096];
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    struct dead_letter f = facts();
    struct bus_message m = {0};
    struct err err = ERR_INIT;
    size_t own = 0;

    memset(longest, 'x', sizeof(longest) - 1);
    longest[5] = '\n';
    longest[6] = (char)0xc3;
    f.stream = "S";
    f.subject = f.code = f.reason = f.worker = f.class = longest;
    f.entity = (struct view){longest, sizeof(longest) - 1};
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    for (size_t i = 0; i < m.n_headers; i++) {
        if (view_starts_with(view_of(m.headers[i].name), "Echora-Dlq-"))
            own += strlen(m.headers[i].name) + strlen(m.headers[i].value) + 4;
        for (const char *p = m.headers[i].value; *p != '\0'; p++)
            CHECK(*p >= 0x20 && *p < 0x7f);
    }
    CHECK(own <= DEAD_LETTER_OWN_MAX);
    CHECK_EQ_INT(strlen(header(&m, "Echora-Dlq-Reason")), DEAD_LETTER_REASON_MAX);
}

/* A publisher's own headers may fill the block; the dead letter must still be storable. */
static void test_original_headers_are_capped(void)
{
    static char value[10000];
    struct bus_header original[10];
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    struct dead_letter f = facts();
    struct bus_message m = {0};
    struct err err = ERR_INIT;
    size_t total = 0;

    memset(value, 'v', sizeof(value) - 1);
    for (size_t i = 0; i < ARRAY_LEN(original); i++)
        original[i] = (struct bus_header){i == 9 ? "traceparent" : "X-Big", i == 9 ? "t" : value};
    f.original = original;
    f.n_original = ARRAY_LEN(original);
    REQUIRE(dead_letter_build(&f, arena, &m, &err) == 0);
    for (size_t i = 0; i < m.n_headers; i++)
        total += strlen(m.headers[i].name) + strlen(m.headers[i].value) + 4;
    CHECK(total < 64 * 1024 - 512);
    CHECK_STR(header(&m, "traceparent"), "t"); /* small ones behind a big one are kept */
}

static void test_fingerprint(void)
{
    char a[17], b[17], c[17], d[17];

    dead_letter_fingerprint("q", "bad-uuid", "episodes[3].id: no UUID", a);
    dead_letter_fingerprint("q", "bad-uuid", "episodes[12].id: no UUID", b);
    dead_letter_fingerprint("q", "bad-utf8", "episodes[3].id: no UUID", c);
    dead_letter_fingerprint("r", "bad-uuid", "episodes[3].id: no UUID", d);
    CHECK_STR(a, b);
    CHECK(strcmp(a, c) != 0);
    CHECK(strcmp(a, d) != 0);
    CHECK_EQ_INT(strlen(a), 16);
    dead_letter_fingerprint("q", "c", "belongs to 0191c8f0-0000-7000-8000-00000000000a: merge", a);
    dead_letter_fingerprint("q", "c", "belongs to f191c8f0-abcd-7000-8000-00000000000b: merge", b);
    dead_letter_fingerprint("q", "c", "belongs to f191c8f0-abcd-7000-8000: merge", c);
    CHECK_STR(a, b);
    CHECK(strcmp(a, c) != 0);
}

static void test_full_arena(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(64);
    const struct dead_letter f = facts();
    struct bus_message m = {0};
    struct err err = ERR_INIT;

    CHECK(dead_letter_build(&f, arena, &m, &err) < 0);
    CHECK_STR(err.code, "no-memory");
}

int main(void)
{
    RUN(test_headers);
    RUN(test_impossible_names_are_left_out);
    RUN(test_parking);
    RUN(test_bounds);
    RUN(test_original_headers_are_capped);
    RUN(test_fingerprint);
    RUN(test_full_arena);
    return check_result();
}
