// SPDX-License-Identifier: Apache-2.0
#include "events/trace.h"

#include <pthread.h>

#include "events/base/clock.h"
#include "test/unit/check.h"

#define T "0af7651916cd43dd8448eb211c80319c"
#define S "b7ad6b7169203331"
#define P "00-" T "-" S "-01"

static void test_traceparent(void)
{
    static const struct {
        const char *text;
        const char *want; /* as we pass it on; NULL = refused */
    } rows[] = {
        /* the Recommendation's own examples */
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
         "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
        /* blanks around a header's value do not belong to it */
        {" \t" P " ", P},
        /* unknown flags are not passed on */
        {"00-" T "-" S "-ff", P},
        {"00-" T "-" S "-fe", "00-" T "-" S "-00"},
        /* versions */
        {"ff-" T "-" S "-01", NULL},
        {"cc-" T "-" S "-01", P},
        {"cc-" T "-" S "-01-what-the-future-will-be-like", P},
        {"cc-" T "-" S "-01.what", NULL},
        {"01-" T "-" S "-01-", P},
        {P "-", NULL},
        {P "-what", NULL},
        {P "x", NULL},
        {"0x-" T "-" S "-01", NULL},
        {".0-" T "-" S "-01", NULL},
        {"0-" T "-" S "-01", NULL},
        {"000-" T "-" S "-01", NULL},
        {"CC-" T "-" S "-01", NULL},
        /* ids */
        {"00-00000000000000000000000000000000-" S "-01", NULL},
        {"00-" T "-0000000000000000-01", NULL},
        {"00-0AF7651916cd43dd8448eb211c80319c-" S "-01", NULL},
        {"00-.af7651916cd43dd8448eb211c80319c-" S "-01", NULL},
        {"00-" T "-B7ad6b7169203331-01", NULL},
        {"00-" T "-b7ad6b716920333.-01", NULL},
        {"00-" T "0-" S "-01", NULL},
        {"00-" T "-" S "0-01", NULL},
        {"00-0af7651916cd43dd8448eb211c80319-" S "-01", NULL},
        /* flags */
        {"00-" T "-" S "-.1", NULL},
        {"00-" T "-" S "-0.", NULL},
        {"00-" T "-" S "-0A", NULL},
        {"00-" T "-" S "-1", NULL},
        {"00-" T "-" S "-001", NULL},
        {"00-" T "-" S "-", NULL},
        {"00-" T "-" S, NULL},
        /* separators, and nothing at all */
        {"00_" T "-" S "-01", NULL},
        {"00-" T "_" S "-01", NULL},
        {"00-" T "-" S "_01", NULL},
        {"", NULL},
        {"00", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct trace_context c = {.flags = 77};
        bool ok = trace_parse(view_of(rows[i].text), (struct view){0}, &c);
        CHECK_ROW(ok == (rows[i].want != NULL), rows[i].text);
        if (ok && rows[i].want) {
            char out[TRACEPARENT_MAX];
            trace_format(&c, out);
            CHECK_STR(out, rows[i].want);
            CHECK(c.set);
            CHECK_STR(c.state, "");
        } else {
            CHECK_EQ_INT(c.flags, 77);
        }
    }
}

#define K256 /* 256 characters */                                                                  \
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"                             \
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"                             \
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"                             \
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
#define K241 /* 241 characters */                                                                  \
    "tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt"                             \
    "tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt"                             \
    "tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt"                             \
    "ttttttttttttttttttttttttttttttttttttttttttttttttt"

static void test_tracestate(void)
{
    static const struct {
        const char *text, *want; /* "" = dropped whole */
    } rows[] = {
        {"", ""},
        {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
        {"foo=1 \t,\t bar=2", "foo=1,bar=2"},
        {",foo=1,,bar=2, ,", "foo=1,bar=2"},
        {" ", ""},
        {"fw529a3039@dt=FfAAAAE", "fw529a3039@dt=FfAAAAE"},
        {"0tenant@system=1", "0tenant@system=1"},
        {"abcdefghijklmnopqrstuvwxyz0123456789_-*/=!\"#$%&'()*+-./:;<>?@[]^_`{|}~",
         "abcdefghijklmnopqrstuvwxyz0123456789_-*/=!\"#$%&'()*+-./:;<>?@[]^_`{|}~"},
        {"foo=a b", "foo=a b"},
        {K256 "=1", K256 "=1"},
        {K256 "z=1", ""},
        {K241 "@vvvvvvvvvvvvvv=1", K241 "@vvvvvvvvvvvvvv=1"},
        {K241 "t@v=1", ""},
        {"t@vvvvvvvvvvvvvvv=1", ""},
        {"foo=" K256, "foo=" K256},
        {"foo=" K256 "z", ""},
        {"foo", ""},
        {"foo=", ""},
        {"=1", ""},
        {"foo=1=2", ""},
        {"foo=1,bar", ""},
        {"Foo=1", ""},
        {"0foo=1", ""},
        {"foo@=1", ""},
        {"@foo=1", ""},
        {"foo@@bar=1", ""},
        {"foo@bar@baz=1", ""},
        {"foo@0bar=1", ""},
        {"foo bar=1", ""},
        {"foo .=1", ""},
        {"foo=b\x7f", ""},
        {"foo=b\xc3\xa4", ""},
        {"foo=1;bar=2", ""},
        {"foo=1,foo=2", ""},
        {"foo=1,foob=2", "foo=1,foob=2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct trace_context c;
        CHECK(trace_parse(VIEW_LIT(P), view_of(rows[i].text), &c));
        CHECK_STR(c.state, rows[i].want);
    }
}

static void test_tracestate_limits(void)
{
    /* 32 members pass, 33 do not. */
    char text[2000] = "";
    size_t n = 0;
    for (int i = 0; i < 33; i++) {
        struct trace_context c;
        n += (size_t)snprintf(text + n, sizeof text - n, "%sk%d=%d", i ? "," : "", i, i);
        CHECK(trace_parse(VIEW_LIT(P), (struct view){text, n}, &c));
        CHECK_STR(c.state, i < 32 ? text : "");
    }
    /* Too long: members over 128 characters go first, then the last ones. */
    char a[101], b[201], want[1200];
    memset(a, 'a', 100);
    memset(b, 'b', 200);
    a[100] = b[200] = '\0';
    struct trace_context c;
    n = (size_t)snprintf(text, sizeof text, "k0=%s,k1=%s,k2=%s,k3=%s", a, b, a, b);
    CHECK(trace_parse(VIEW_LIT(P), (struct view){text, n}, &c));
    snprintf(want, sizeof want, "k0=%s,k1=%s,k2=%s", a, b, a);
    CHECK_STR(c.state, want);
    n = (size_t)snprintf(text, sizeof text, "k0=%s,k1=%s,k2=%s,k3=%s,k4=%s,k5=%s", a, a, a, a, a,
                         a);
    CHECK(trace_parse(VIEW_LIT(P), (struct view){text, n}, &c));
    snprintf(want, sizeof want, "k0=%s,k1=%s,k2=%s,k3=%s", a, a, a, a);
    CHECK_STR(c.state, want);
    /* Exactly 512 stays whole. */
    memset(text, 'x', sizeof text);
    n = (size_t)snprintf(text, sizeof text, "k0=%s,k1=%s,", b, b);
    text[n] = 'k';
    text[n + 1] = '=';
    memset(text + n + 2, 'v', sizeof text - n - 2);
    CHECK(trace_parse(VIEW_LIT(P), (struct view){text, 512}, &c));
    CHECK_EQ_INT(strlen(c.state), 512);
    CHECK(trace_parse(VIEW_LIT(P), (struct view){text, 513}, &c));
    CHECK_EQ_INT(strlen(c.state), 513 - 204); /* without k1 */
}

static void test_spans(void)
{
    struct trace_context root;
    trace_start_root(&root);
    CHECK(root.set && root.flags == 1);
    struct span s, other;
    span_start(&s, &root, SPAN_CONSUMER, "handle anime.enriched");
    CHECK(memcmp(s.context.trace_id, root.trace_id, 16) == 0);
    CHECK(memcmp(s.parent_id, root.span_id, 8) == 0);
    CHECK(memcmp(s.context.span_id, root.span_id, 8) != 0);
    CHECK(wall_us() - s.start_us < 1000000);
    for (int i = 0; i < 20; i++) {
        span_attribute(&s, "k",
                       "a value that is longer than there is room for in one attribute....");
    }
    CHECK_EQ_INT(s.n_attributes, 8);
    span_end(&s, NULL); /* goes nowhere: there is no exporter */
    struct trace_context unset = {0};
    span_start(&other, &unset, SPAN_CLIENT, "x");
    CHECK(other.context.set && other.context.flags == 1);
    CHECK(memcmp(other.context.trace_id, root.trace_id, 16) != 0);
    uint8_t zero[8] = {0};
    CHECK(memcmp(other.parent_id, zero, 8) == 0);
    /* What came unsampled stays so, and the state goes along. */
    struct trace_context c;
    CHECK(trace_parse(VIEW_LIT("00-" T "-" S "-00"), VIEW_LIT("foo=1"), &c));
    span_start(&other, &c, SPAN_CLIENT, "x");
    CHECK_EQ_INT(other.context.flags, 0);
    CHECK_STR(other.context.state, "foo=1");
}

static void *other_thread(void *arg)
{
    CHECK(trace_current() == NULL);
    struct trace_context c;
    trace_start_root(&c);
    trace_set_current(&c);
    memcpy(arg, c.trace_id, 16);
    trace_set_current(NULL);
    return NULL;
}

static void test_current_is_per_thread(void)
{
    struct trace_context c, inner;
    trace_start_root(&c);
    trace_start_root(&inner);
    CHECK(trace_set_current(&c) == NULL);
    CHECK(trace_set_current(&inner) == &c);
    CHECK(trace_current() == &inner);
    uint8_t id[16];
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, other_thread, id) == 0);
    pthread_join(t, NULL);
    CHECK(memcmp(id, c.trace_id, 16) != 0); /* generators differ between threads */
    CHECK(trace_set_current(NULL) == &inner);
}

int main(void)
{
    RUN(test_traceparent);
    RUN(test_tracestate);
    RUN(test_tracestate_limits);
    RUN(test_spans);
    RUN(test_current_is_per_thread);
    return check_result();
}
