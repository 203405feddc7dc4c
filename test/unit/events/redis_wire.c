/* Addresses. */
// SPDX-License-Identifier: Apache-2.0

#include "events/redis_wire.h"

#include "test/unit/check.h"

static void test_good(void)
{
    static const struct {
        const char *url, *host;
        int port;
    } rows[] = {
        {"redis://127.0.0.1:6380", "127.0.0.1", 6380},
        {"redis://127.0.0.1", "127.0.0.1", 6379},
        {"redis://localhost:1/", "localhost", 1},
        {"redis://[::1]:6380", "::1", 6380},
        {"redis://[::1]", "::1", 6379},
        {"unix:///run/redis.sock", "/run/redis.sock", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redis_address a;
        struct err err = ERR_INIT;
        CHECK_EQ_INT(redis_address_parse(rows[i].url, &a, &err), 0);
        CHECK_STR(a.host, rows[i].host);
        CHECK_EQ_INT(a.port, rows[i].port);
    }
}

static void test_bad(void)
{
    static const char *const urls[] = {
        "",
        "127.0.0.1:6379",
        "rediss://127.0.0.1:6379",
        "http://127.0.0.1",
        "redis://",
        "redis://:6379",
        "redis://[]:1",
        "redis://[::1",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:",
        "redis://h:1x",
        "redis://user:password@h:1",
        "redis://h:1/0",
        "unix://",
        "unix:///",
        "unix://relative",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct redis_address a;
        struct err err = ERR_INIT;
        CHECK_EQ_INT(redis_address_parse(urls[i], &a, &err), -1);
        CHECK_STR(err.code, "config");
        CHECK_EQ_INT(err.class, ERR_FATAL);
    }
}

int main(void)
{
    RUN(test_good);
    RUN(test_bad);
    return check_result();
}
