// SPDX-License-Identifier: Apache-2.0
#include "events/base/uuid.h"

#include <pthread.h>

#include "events/base/clock.h"
#include "test/unit/check.h"

static struct uuid from(const char *text)
{
    struct uuid id = {{0}};
    CHECK_ROW(uuid_parse(view_of(text), &id), text);
    return id;
}

static const char dns[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

static void test_text(void)
{
    char out[UUID_TEXT];
    uuid_format(from("6BA7B810-9dad-11D1-80b4-00C04FD430C8"), out);
    CHECK_STR(out, dns);
    CHECK(uuid_is_nil(from("00000000-0000-0000-0000-000000000000")));
    CHECK(!uuid_is_nil(from(dns)));
    static const char *const bad[] = {
        "",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c88",
        "6ba7b810x9dad-11d1-80b4-00c04fd430c8",
        "6ba7b8109-dad-11d1-80b4-00c04fd430c8",
        "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430c}",
        "6ba7b8109dad11d180b400c04fd430c8",
        "6ba7b810-9dad-11d1-80b4-00c04fd430 8",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct uuid id = from(dns);
        CHECK_ROW(!uuid_parse(view_of(bad[i]), &id), bad[i]);
        CHECK(uuid_cmp(id, from(dns)) == 0);
    }
}

static void test_v5(void)
{
    /* RFC 9562 appendix A.4, then values of other implementations */
    static const char *const rows[][2] = {
        {"www.example.com", "2ed6657d-e927-568b-95e1-2665a8aea6a2"},
        {"python.org", "886313e1-3b8a-5372-9b90-0c9aee199e5d"},
        {"", "4ebd0208-8328-5d69-8c44-ec50939c0967"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[UUID_TEXT];
        uuid_format(uuid_v5(from(dns), view_of(rows[i][0])), out);
        CHECK_STR(out, rows[i][1]);
    }
    CHECK(uuid_cmp(uuid_echora, uuid_v5(from(dns), VIEW_LIT("echora"))) == 0);
}

static void test_v7(void)
{
    struct uuid last = {{0}};
    for (int i = 0; i < 5000; i++) {
        int64_t before = wall_us() / 1000;
        struct uuid id = uuid_v7();
        int64_t ms = 0;
        for (int k = 0; k < 6; k++) {
            ms = ms << 8 | id.b[k];
        }
        CHECK(ms >= before && ms <= wall_us() / 1000 + 5);
        CHECK_EQ_INT(id.b[6] >> 4, 7);
        CHECK_EQ_INT(id.b[8] >> 6, 2);
        CHECK(uuid_cmp(last, id) < 0);
        last = id;
    }
}

#define PER_THREAD 3000
static void *make_many(void *arg)
{
    struct uuid *ids = arg;
    for (int i = 0; i < PER_THREAD; i++) {
        ids[i] = uuid_v7();
    }
    return NULL;
}

/* Two threads never share a time: the first eight bytes differ already. */
static void test_v7_threads(void)
{
    static struct uuid ids[2][PER_THREAD];
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&t[i], NULL, make_many, ids[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    for (int a = 0, b = 0; a < PER_THREAD && b < PER_THREAD;) {
        int order = memcmp(ids[0][a].b, ids[1][b].b, 8);
        CHECK(order != 0);
        if (order < 0) {
            a++;
        } else {
            b++;
        }
    }
}

int main(void)
{
    RUN(test_text);
    RUN(test_v5);
    RUN(test_v7);
    RUN(test_v7_threads);
    return check_result();
}
