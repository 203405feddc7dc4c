// SPDX-License-Identifier: Apache-2.0
#include "events/health.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "events/metrics.h"
#include "test/unit/check.h"

static int connect_to(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = 3};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Sends a request, reads to the end of the connection. Returns the status, 0 without an answer. */
static int ask(unsigned port, const char *request, char *out, size_t size)
{
    int fd = connect_to(port);
    size_t n = 0;
    out[0] = '\0';
    if (fd < 0) {
        return 0;
    }
    send(fd, request, strlen(request), MSG_NOSIGNAL);
    ssize_t got;
    while (n < size - 1 && (got = recv(fd, out + n, size - 1 - n, 0)) > 0) {
        n += (size_t)got;
    }
    out[n] = '\0';
    close(fd);
    return n > 12 ? (int)strtol(out + 9, NULL, 10) : 0;
}

static const char *body_of(const char *reply)
{
    const char *at = strstr(reply, "\r\n\r\n");
    return at ? at + 4 : "";
}

#define TO(method, path) method " " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static struct health *started(void)
{
    struct health *h = NULL;
    struct err err = ERR_INIT;
    CHECK(health_start(&h, "127.0.0.1:0", &err) == 0);
    return h;
}

static char reply[1 << 20];

static void test_outages(void)
{
    struct health *h = started();
    REQUIRE(h);
    struct err cause = ERR_INIT;
    (void)err_set_dep(&cause, ERR_UNAVAILABLE, DEP_QDRANT, "http-connect", "write points",
                      "refused \"\xff\"");
    const struct outage outage = {.cause = &cause,
                                  .since_us = wall_us() - 5000000,
                                  .next_probe_ms = mono_ms() + 100000,
                                  .failed_probes = 7};
    const unsigned port = health_port(h);
    health_set_outage(h, DEP_QDRANT, &outage);
    health_set_outage(h, DEP_MAX, &outage);
    cause = ERR_INIT; /* it was copied */
    CHECK_EQ_INT(ask(port, TO("GET", "/readyz"), reply, sizeof reply), 503);
    json_t *o = json_loads(body_of(reply), 0, NULL);
    REQUIRE(o);
    CHECK_EQ_INT(json_array_size(json_object_get(o, "outages")), 1);
    const json_t *one = json_array_get(json_object_get(o, "outages"), 0);
    CHECK_STR(json_string_value(json_object_get(one, "dependency")), "qdrant");
    CHECK_STR(json_string_value(json_object_get(one, "code")), "http-connect");
    CHECK_STR(json_string_value(json_object_get(one, "op")), "write points");
    CHECK(strncmp(json_string_value(json_object_get(one, "reason")), "refused \"", 9) == 0);
    CHECK_EQ_INT(json_integer_value(json_object_get(one, "failed_probes")), 7);
    CHECK(json_integer_value(json_object_get(one, "for_ms")) >= 5000);
    CHECK(json_integer_value(json_object_get(one, "next_probe_ms")) > 0);
    CHECK(strchr(json_string_value(json_object_get(one, "since")), 'Z') != NULL);
    json_decref(o);
    health_set_outage(h, DEP_QDRANT, NULL);
    for (int round = 0; round < 2; round++) {
        health_set_paused(h, "one", true);
        health_set_paused(h, "two", true);
    }
    health_set_paused(h, "one", false);
    CHECK_EQ_INT(ask(port, TO("GET", "/readyz"), reply, sizeof reply), 503);
    CHECK(strstr(reply, "\"outages\":[],\"paused\":[\"two\"]") != NULL);
    CHECK(health_stop(h) == NULL);
}

static void test_ready(void)
{
    struct health *h = started();
    REQUIRE(h);
    unsigned port = health_port(h);
    CHECK(port > 0);
    CHECK_EQ_INT(ask(port, TO("GET", "/startupz"), reply, sizeof reply), 503);
    CHECK_STR(body_of(reply), "{\"started\":false}\n");
    CHECK_EQ_INT(ask(port, TO("GET", "/readyz"), reply, sizeof reply), 503);
    CHECK_STR(body_of(reply),
              "{\"ready\":false,\"missing\":[{\"name\":\"serving\",\"reason\":\"starting\"}],"
              "\"outages\":[],\"paused\":[]}\n");
    CHECK(strstr(reply, "\r\nContent-Type: application/json\r\n") != NULL);
    health_set_serving(h, true, NULL);
    CHECK_EQ_INT(ask(port, TO("GET", "/readyz"), reply, sizeof reply), 200);
    CHECK_STR(body_of(reply), "{\"ready\":true,\"missing\":[],\"outages\":[],\"paused\":[]}\n");
    health_set_dependency(h, DEP_POSTGRES, false, "refused: \"x\"\n");
    health_set_dependency(h, DEP_NATS, false, "no server \xff");
    health_set_dependency(h, DEP_QDRANT, true, NULL);
    health_set_dependency(h, DEP_MAX, false, "no such dependency");
    CHECK(!health_is_ready(h));
    CHECK_EQ_INT(ask(port, TO("GET", "/readyz"), reply, sizeof reply), 503);
    json_t *o = json_loads(body_of(reply), 0, NULL);
    REQUIRE(o);
    const json_t *missing = json_object_get(o, "missing");
    CHECK_EQ_INT(json_array_size(missing), 2);
    CHECK_STR(json_string_value(json_object_get(json_array_get(missing, 0), "name")), "nats");
    CHECK_STR(json_string_value(json_object_get(json_array_get(missing, 1), "reason")),
              "refused: \"x\"\n");
    json_decref(o);
    health_set_dependency(h, DEP_POSTGRES, true, NULL);
    health_set_dependency(h, DEP_NATS, true, NULL);
    CHECK(health_is_ready(h));
    health_set_serving(h, false, "draining");
    CHECK(!health_is_ready(h));
    CHECK_EQ_INT(ask(port, TO("GET", "/startupz"), reply, sizeof reply), 200);
    CHECK_STR(body_of(reply), "{\"started\":true}\n");
    CHECK(health_stop(h) == NULL);
}

static void test_pages(void)
{
    static const struct metric_def def = {"h_test_total", METRIC_COUNTER, "Test.", "", NULL};
    metric_add(metric_series(&def, NULL), 3);
    struct health *h = started();
    REQUIRE(h);
    unsigned port = health_port(h);
    CHECK_EQ_INT(ask(port, TO("GET", "/livez"), reply, sizeof reply), 200);
    CHECK(strncmp(body_of(reply), "{\"live\":true,\"beat_age_ms\":", 26) == 0);
    CHECK_EQ_INT(ask(port, TO("GET", "/metrics"), reply, sizeof reply), 200);
    CHECK(strstr(reply, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n") != NULL);
    CHECK(strstr(reply, "\nh_test_total 3\n") != NULL);
    CHECK_EQ_INT(ask(port, TO("GET", "/metrics?x=1"), reply, sizeof reply), 200);
    /* HEAD: the same head, no body. */
    CHECK_EQ_INT(ask(port, TO("HEAD", "/livez"), reply, sizeof reply), 200);
    CHECK_STR(body_of(reply), "");
    CHECK(strstr(reply, "\r\nContent-Length: 3") != NULL);
    CHECK_EQ_INT(ask(port, TO("HEAD", "/readyz"), reply, sizeof reply), 503);
    CHECK_STR(body_of(reply), "");
    /* Everything else is refused. */
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {TO("GET", "/"), 404},
        {TO("GET", "/livez/"), 404},
        {TO("GET", "//livez"), 404},
        {TO("GET", "/../livez"), 404},
        {TO("HEAD", "/nothing"), 404},
        {TO("POST", "/nothing"), 404},
        {TO("POST", "/livez"), 405},
        {TO("DELETE", "/metrics"), 405},
        {TO("OPTIONS", "/metrics"), 405},
        {"POST /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd",
         405},
        {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd",
         200},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_EQ_INT(ask(port, rows[i].request, reply, sizeof reply), rows[i].status);
        CHECK((strstr(reply, "\r\nAllow: GET, HEAD\r\n") != NULL) == (rows[i].status == 405));
    }
    static char huge[100000];
    memset(huge, 'x', sizeof huge - 1);
    memcpy(huge, "GET /", 5);
    int status = ask(port, huge, reply, sizeof reply);
    CHECK(status == 0 || (status >= 400 && status < 500));
    CHECK_EQ_INT(ask(port, TO("GET", "/livez"), reply, sizeof reply), 200);
    health_stop(h);
}

static void test_connection_limit(void)
{
    struct health *h = started();
    REQUIRE(h);
    unsigned port = health_port(h);
    int idle[40];
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        idle[i] = connect_to(port);
        CHECK(idle[i] >= 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        close(idle[i]);
    }
    int status = 0;
    for (int i = 0; i < 100 && status != 200; i++) {
        status = ask(port, TO("GET", "/livez"), reply, sizeof reply);
        poll(NULL, 0, status == 200 ? 0 : 10);
    }
    CHECK_EQ_INT(status, 200);
    health_stop(h);
}

static void test_listen(void)
{
    struct health *h = NULL, *second = NULL;
    struct err err = ERR_INIT;
    REQUIRE(health_start(&h, "", &err) == 0);
    CHECK_EQ_INT(health_port(h), 0);
    health_set_serving(h, true, NULL);
    CHECK(health_is_ready(h));
    health_stop(h);
    static const char *const bad[] = {
        "9101",  "localhost:9101", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x",
        ":9101", "::1:9101",       "[::1]",      "[127.0.0.1]:0",   "127.0.0.1:0 "};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err = ERR_INIT;
        CHECK_ROW(health_start(&h, bad[i], &err) == -1, bad[i]);
        CHECK_STR(err.code, "config");
        CHECK_EQ_INT(err.class, ERR_FATAL);
    }
    /* A port that is taken is said to be taken, not shared. */
    h = started();
    REQUIRE(h);
    char listen[40];
    snprintf(listen, sizeof listen, "127.0.0.1:%u", health_port(h));
    CHECK_EQ_INT(health_start(&second, listen, &err), -1);
    CHECK_STR(err.code, "listen");
    CHECK(error_code_find("listen") != NULL);
    CHECK(strstr(err.text, "in use") != NULL);
    /* ... and is free again at once after a stop. */
    CHECK_EQ_INT(ask(health_port(h), TO("GET", "/livez"), reply, sizeof reply), 200);
    health_stop(h);
    CHECK_EQ_INT(health_start(&second, listen, &err), 0);
    health_stop(second);
    CHECK(health_stop(NULL) == NULL);
}

static atomic_bool stop;
static void *change(void *arg)
{
    for (int i = 0; !atomic_load(&stop); i++) {
        health_beat(arg, (unsigned)i % 200);
        health_set_dependency(arg, DEP_POSTGRES, i % 2, i % 2 ? NULL : "away");
        health_set_serving(arg, i % 3, "busy");
        health_is_ready(arg);
    }
    return NULL;
}

static void test_threads(void)
{
    struct health *h = started();
    REQUIRE(h);
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, change, h) == 0);
    for (int i = 0; i < 60; i++) {
        static const char *const requests[] = {TO("GET", "/readyz"), TO("GET", "/livez"),
                                               TO("GET", "/metrics")};
        int status = ask(health_port(h), requests[i % 3], reply, sizeof reply);
        CHECK(status == 200 || (status == 503 && i % 3 == 0));
    }
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    health_stop(h);
}

int main(void)
{
    RUN(test_ready);
    RUN(test_outages);
    RUN(test_pages);
    RUN(test_connection_limit);
    RUN(test_listen);
    RUN(test_threads);
    return check_result();
}
