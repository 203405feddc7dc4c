// SPDX-License-Identifier: Apache-2.0
#include "events/trace_export.h"

#include <curl/curl.h>
#include <jansson.h>

#include "events/base/clock.h"
#include "events/metrics.h"
#include "test/unit/fake_http.h"

static double metric_line(const char *name)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    metrics_render(&out);
    const char *at = strstr(buf_cstr(&out), name);
    double v = at ? strtod(at + strlen(name), NULL) : -1;
    buf_deinit(&out);
    return v;
}
#define SENT "\nechora_trace_spans_sent_total "
#define DROPPED_FULL "\nechora_trace_spans_dropped_total{reason=\"queue\"} "
#define DROPPED_REFUSED "\nechora_trace_spans_dropped_total{reason=\"collector\"} "

static const char *text_at(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void test_encoding(void)
{
    struct ended_span second = {.end_us = 1795240800123456}, first = {.next = &second};
    struct trace_context parent;
    CHECK(trace_parse(VIEW_LIT("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                      VIEW_LIT("rojo=1"), &parent));
    span_start(&first.span, &parent, SPAN_CONSUMER, "process \"anime.enriched\"");
    span_attribute(&first.span, "messaging.system", "nats");
    span_attribute(&first.span, "bad", "\xff");
    first.failed = true;
    snprintf(first.code, sizeof first.code, "pg-40001");
    snprintf(first.text, sizeof first.text, "could not\nserialise");
    span_start(&second.span, NULL, SPAN_INTERNAL, "root");
    second.span.start_us = 1795240800000001;
    struct buf out;
    buf_init(&out, 1 << 20);
    trace_encode(&out, "echora-test", "host:1", &first);
    json_error_t error;
    json_t *root = json_loads(buf_cstr(&out), JSON_REJECT_DUPLICATES, &error);
    REQUIRE(root);
    json_t *resource = json_array_get(json_object_get(root, "resourceSpans"), 0);
    json_t *scope = json_array_get(json_object_get(resource, "scopeSpans"), 0);
    json_t *spans = json_object_get(scope, "spans");
    CHECK_EQ_INT(json_array_size(spans), 2);
    json_t *a = json_array_get(spans, 0), *b = json_array_get(spans, 1);
    CHECK_STR(text_at(a, "traceId"), "0af7651916cd43dd8448eb211c80319c");
    CHECK_STR(text_at(a, "parentSpanId"), "b7ad6b7169203331");
    CHECK_EQ_INT(strlen(text_at(a, "spanId")), 16);
    CHECK_STR(text_at(a, "traceState"), "rojo=1");
    CHECK_STR(text_at(a, "name"), "process \"anime.enriched\"");
    CHECK_EQ_INT(json_integer_value(json_object_get(a, "kind")), 5);
    json_t *attributes = json_object_get(a, "attributes");
    CHECK_EQ_INT(json_array_size(attributes), 3);
    CHECK_STR(text_at(json_array_get(attributes, 2), "key"), "error.type");
    CHECK_STR(text_at(json_object_get(json_array_get(attributes, 1), "value"), "stringValue"),
              "\xef\xbf\xbd");
    CHECK_EQ_INT(json_integer_value(json_object_get(json_object_get(a, "status"), "code")), 2);
    CHECK_STR(text_at(json_object_get(a, "status"), "message"), "could not\nserialise");
    CHECK(!json_object_get(b, "parentSpanId"));
    CHECK_STR(text_at(b, "startTimeUnixNano"), "1795240800000001000");
    CHECK_STR(text_at(b, "endTimeUnixNano"), "1795240800123456000");
    CHECK_EQ_INT(json_object_size(json_object_get(b, "status")), 0);
    json_t *of = json_object_get(json_object_get(resource, "resource"), "attributes");
    CHECK_STR(text_at(json_object_get(json_array_get(of, 0), "value"), "stringValue"),
              "echora-test");
    json_decref(root);
    buf_deinit(&out);
}

static void emit(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct span s;
        span_start(&s, NULL, SPAN_INTERNAL, "work");
        span_end(&s, NULL);
    }
}

static bool start(const struct fake_http *f, const char *suffix)
{
    char url[80];
    struct err err = ERR_INIT;
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", f->port, suffix);
    return CHECK(trace_init("test", url, &err) == 0);
}

static void test_stop_flushes(void)
{
    static const struct fake_reply script[] = {{FAKE_REPLY, 200, NULL, "{}"}};
    static struct fake_http f;
    REQUIRE(fake_start(&f, script, 1) && start(&f, ""));
    emit(3);
    struct trace_context unsampled;
    CHECK(trace_parse(VIEW_LIT("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
                      (struct view){0}, &unsampled));
    struct span s;
    span_start(&s, &unsampled, SPAN_INTERNAL, "not sampled");
    span_end(&s, NULL);
    trace_stop();
    trace_stop();
    emit(1); /* after the end: ignored */
    fake_stop(&f);
    CHECK_EQ_INT(f.n_requests, 1);
    CHECK(strncmp(f.requests[0].head, "POST /v1/traces HTTP/1.1\r\n", 26) == 0);
    CHECK(strstr(f.requests[0].head, "\r\nContent-Type: application/json\r\n") != NULL);
    CHECK_EQ_INT(metric_line(SENT), 3);
    CHECK_EQ_INT(metric_line(DROPPED_FULL), 0);
}

/* A full batch goes at once; 503 is tried again, 400 is not. */
static void test_retry(void)
{
    static const struct fake_reply script[] = {
        {FAKE_REPLY, 503, NULL, NULL},
        {FAKE_REPLY, 200, NULL, "{}"},
        {FAKE_REPLY, 400, NULL, NULL},
    };
    static struct fake_http f;
    REQUIRE(fake_start(&f, script, ARRAY_LEN(script)) && start(&f, "/v1/traces"));
    double sent = metric_line(SENT), refused = metric_line(DROPPED_REFUSED);
    emit(512);
    for (int i = 0; i < 300 && metric_line(SENT) < sent + 512; i++) {
        poll(NULL, 0, 10); /* a retry pause is at most a second */
    }
    CHECK_EQ_INT(metric_line(SENT), sent + 512);
    emit(2);
    trace_stop();
    fake_stop(&f);
    CHECK_EQ_INT(f.n_requests, 3);
    CHECK(strncmp(f.requests[1].head, "POST /v1/traces HTTP/1.1\r\n", 26) == 0);
    CHECK_EQ_INT(f.requests[0].body_n, f.requests[1].body_n);
    CHECK_EQ_INT(metric_line(SENT), sent + 512);
    CHECK_EQ_INT(metric_line(DROPPED_REFUSED), refused + 2);
}

/* A collector that hangs costs spans, never time of the worker. */
static void test_hanging_collector(void)
{
    static const struct fake_reply script[] = {{FAKE_HANG, 0, NULL, NULL}};
    static struct fake_http f;
    REQUIRE(fake_start(&f, script, 1) && start(&f, ""));
    double full = metric_line(DROPPED_FULL), refused = metric_line(DROPPED_REFUSED);
    emit(512);
    for (int i = 0; i < 300 && atomic_load(&f.n_requests) == 0; i++) {
        poll(NULL, 0, 10);
    }
    int64_t before = mono_ms();
    emit(2048 + 100);
    CHECK(mono_ms() - before < 500);
    CHECK_EQ_INT(metric_line(DROPPED_FULL), full + 100);
    before = mono_ms();
    trace_stop();
    CHECK(mono_ms() - before < 2500);
    fake_stop(&f);
    CHECK_EQ_INT(metric_line(DROPPED_REFUSED), refused + 512 + 2048);
}

static void test_settings(void)
{
    struct err err = ERR_INIT;
    CHECK_EQ_INT(trace_init("test", NULL, &err), 0);
    CHECK_EQ_INT(trace_init("test", "", &err), 0);
    trace_stop();
    CHECK_EQ_INT(trace_init("test", "localhost:4318", &err), -1);
    CHECK_STR(err.code, "config");
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    RUN(test_encoding);
    RUN(test_settings);
    RUN(test_stop_flushes);
    RUN(test_retry);
    RUN(test_hanging_collector);
    curl_global_cleanup();
    return check_result();
}
