/* A stuck loop ends /livez after 60 s, however busy the others are: with a clock of our own. */
// SPDX-License-Identifier: Apache-2.0
#include <curl/curl.h>

#include "events/base/clock.h"
#include "events/health.h"
#include "events/http.h"
#include "test/unit/check.h"

static _Atomic int64_t clock_ms = 1000000;

int64_t __wrap_mono_ms(void);
int64_t __wrap_mono_ms(void)
{
    return atomic_load(&clock_ms);
}

static struct health *h;
static struct http *client;
static struct http_reply reply;

static long livez(void)
{
    struct err err = ERR_INIT;
    int rc = http_call(client, "GET", "/livez", NULL, (struct view){0}, &reply, &err);
    CHECK((rc == 0) == (reply.status == 200));
    return reply.status;
}

static void pass(int64_t seconds)
{
    atomic_fetch_add(&clock_ms, seconds * 1000);
}

static void test_stuck_loop(void)
{
    CHECK_EQ_INT(livez(), 200);
    pass(60);
    CHECK_EQ_INT(livez(), 200);
    pass(1); /* no loop ever began */
    CHECK_EQ_INT(livez(), 503);
    health_beat(h, 0);
    health_beat(h, 7);
    CHECK_EQ_INT(livez(), 200);
    for (int i = 0; i < 6; i++) {
        pass(10);
        health_beat(h, 0);
        CHECK_EQ_INT(livez(), 200);
    }
    pass(1); /* loop 7 has not moved for 61 s */
    health_beat(h, 0);
    CHECK_EQ_INT(livez(), 503);
    CHECK_STR(buf_cstr(&reply.body), "{\"live\":false,\"beat_age_ms\":61000}\n");
    health_beat(h, HEALTH_LOOPS_MAX);
    health_beat(h, 7);
    CHECK_EQ_INT(livez(), 200);
}

int main(void)
{
    struct err err = ERR_INIT;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!CHECK(health_start(&h, "127.0.0.1:0", &err) == 0)) {
        return check_result();
    }
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", health_port(h));
    client = http_new(&(struct http_options){.base_url = url});
    http_reply_init(&reply, 1000);
    RUN(test_stuck_loop);
    http_reply_deinit(&reply);
    client = http_free(client);
    h = health_stop(h);
    curl_global_cleanup();
    return check_result();
}
