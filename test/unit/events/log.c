// SPDX-License-Identifier: Apache-2.0
#include "events/log.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "events/trace.h"
#include "test/unit/check.h"

/* Standard error goes into a pipe while it is captured. A pipe holds 64 KiB: enough for the tests
 * that do not read along. */
static int saved_stderr, pipe_read;

static void capture(void)
{
    int fds[2];
    fflush(stderr);
    if (pipe(fds) == 0) {
        saved_stderr = dup(STDERR_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[1]);
        pipe_read = fds[0];
    }
}

/* Ends the capture; the text is valid until the next one. */
static const char *captured(void)
{
    static char text[70000];
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    ssize_t got;
    size_t n = 0;
    while (n < sizeof text - 1 && (got = read(pipe_read, text + n, sizeof text - 1 - n)) > 0) {
        n += (size_t)got;
    }
    text[n] = '\0';
    close(pipe_read);
    return text;
}

/* The one line that was written, as an object. */
static json_t *captured_object(void)
{
    const char *text = captured();
    const char *newline = strchr(text, '\n');
    CHECK(newline && newline[1] == '\0');
    CHECK(strlen(text) <= 4096);
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    CHECK_ROW(o != NULL, text);
    return o;
}

static const char *member(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void test_json_line(void)
{
    log_init("catalogue", LOG_LEVEL_INFO, "json");
    capture();
    log_info("relay \"started\"", LF_STR("stream", "ANIME\nSYNC"), LF_I64("rows", -5),
             LF_F64("rate", 0.5), LF_FLAG("again", true), LF_VIEW("view", VIEW_LIT("xyz")),
             LF_STR("none", NULL));
    log_debug("not shown", LF_I64("rows", 1));
    json_t *o = captured_object();
    CHECK_EQ_INT(json_object_size(o), 10);
    int64_t seconds;
    int32_t nanos;
    CHECK(rfc3339_parse(view_of(member(o, "ts")), &seconds, &nanos));
    CHECK(wall_us() / 1000000 - seconds <= 1);
    CHECK_STR(member(o, "level"), "info");
    CHECK_STR(member(o, "worker"), "catalogue");
    CHECK_STR(member(o, "msg"), "relay \"started\"");
    CHECK_STR(member(o, "stream"), "ANIME\nSYNC");
    CHECK_EQ_INT(json_integer_value(json_object_get(o, "rows")), -5);
    CHECK(json_real_value(json_object_get(o, "rate")) == 0.5);
    CHECK(json_is_true(json_object_get(o, "again")));
    CHECK_STR(member(o, "view"), "xyz");
    CHECK_STR(member(o, "none"), "");
    json_decref(o);
}

static void test_levels(void)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int least = LOG_LEVEL_DEBUG; least <= LOG_LEVEL_ERROR; least++) {
        log_init("w", (enum log_level)least, "json");
        for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
            CHECK(log_enabled((enum log_level)level) == (level >= least));
            capture();
            log_write((enum log_level)level, "m", NULL, 0);
            const char *text = captured();
            CHECK((text[0] != '\0') == (level >= least));
            CHECK(!text[0] || strstr(text, names[level]) != NULL);
        }
    }
}

static void test_trace_and_error(void)
{
    log_init("w", LOG_LEVEL_INFO, "json");
    struct trace_context c;
    CHECK(trace_parse(VIEW_LIT("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                      (struct view){0}, &c));
    struct err err = ERR_INIT;
    err_set_dep(&err, ERR_UNAVAILABLE, DEP_POSTGRES, "pg-57P01", "insert outbox", "going down");
    trace_set_current(&c);
    capture();
    log_err(LOG_LEVEL_WARN, "held", &err);
    json_t *o = captured_object();
    trace_set_current(NULL);
    CHECK_STR(member(o, "trace_id"), "0af7651916cd43dd8448eb211c80319c");
    CHECK_STR(member(o, "span_id"), "b7ad6b7169203331");
    CHECK_STR(member(o, "class"), "unavailable");
    CHECK_STR(member(o, "code"), "pg-57P01");
    CHECK_STR(member(o, "op"), "insert outbox");
    CHECK_STR(member(o, "text"), "going down");
    CHECK_STR(member(o, "dependency"), "postgres");
    json_decref(o);
    err_set(&err, ERR_REJECT, "decode", "x", "y");
    capture();
    log_err(LOG_LEVEL_WARN, "rejected", &err);
    o = captured_object();
    CHECK(!json_object_get(o, "dependency") && !json_object_get(o, "trace_id"));
    json_decref(o);
}

/* Whatever is logged, a line is one valid object of at most 4,096 bytes. */
static void test_hostile_values(void)
{
    log_init("w", LOG_LEVEL_INFO, "json");
    static char control[5000], broken[5000], wide[5001];
    memset(control, 1, sizeof control);
    memset(broken, 0xff, sizeof broken);
    for (size_t i = 0; i + 3 <= sizeof wide; i += 3) {
        memcpy(wide + i, "\xe9\xac\xbc", 3);
    }
    struct view views[] = {{control, sizeof control},
                           {broken, sizeof broken},
                           {wide, 4998},
                           {"a\0b", 3},
                           {NULL, 0},
                           {"\xe9\xac", 2}};
    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        capture();
        log_info("x", LF_VIEW("a", views[i]), LF_VIEW("b", views[i]), LF_VIEW("c", views[i]),
                 LF_VIEW("d", views[i]), LF_VIEW("e", views[i]), LF_I64("last", 1));
        json_t *o = json_loads(captured(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        CHECK(o != NULL);
        bool cut = json_is_true(json_object_get(o, "cut"));
        CHECK(cut == (i < 3));
        CHECK((json_object_get(o, "e") == NULL) == cut);
        CHECK(json_object_get(o, "last") != NULL); /* the short one still fits */
        json_decref(o);
    }
    char *msg = malloc(10000);
    REQUIRE(msg);
    memset(msg, 'm', 9999);
    msg[9999] = '\0';
    capture();
    log_write(LOG_LEVEL_INFO, msg, NULL, 0);
    free(msg);
    json_t *o = captured_object();
    CHECK(strlen(member(o, "msg")) <= 1024);
    CHECK(strcmp(member(o, "msg") + strlen(member(o, "msg")) - 4, "m\xe2\x80\xa6") == 0);
    json_decref(o);
}

static void test_text_form(void)
{
    log_init("relay", LOG_LEVEL_INFO, "text");
    capture();
    log_warn("stream is gone", LF_STR("stream", "ANIME_SYNC"), LF_STR("why", "no \"room\"\n"),
             LF_I64("n", 3), LF_STR("empty", ""));
    const char *text = captured();
    const char *want = " warn  relay: stream is gone stream=ANIME_SYNC why=\"no \\\"room\\\"\\n\" "
                       "n=3 empty=\"\"\n";
    CHECK(strlen(text) == strlen(want) + 12);
    CHECK_STR(text + 12, want);
    log_init("w", LOG_LEVEL_INFO, "auto"); /* a pipe is no terminal */
    capture();
    log_init("w", LOG_LEVEL_INFO, "auto");
    log_info("x", LF_I64("n", 1));
    json_decref(captured_object());
}

#define THREADS 4
#define LINES 300
static void *write_lines(void *arg)
{
    char filler[800] = {0};
    memset(filler, 'f', sizeof filler - 1);
    for (int i = 0; i < LINES; i++) {
        log_info("line", LF_I64("thread", *(int *)arg), LF_I64("i", i), LF_STR("a", filler),
                 LF_STR("b", filler), LF_STR("c", filler));
    }
    return NULL;
}

/* Lines of several threads into one pipe: none is mixed with another, none is lost. */
static void test_threads(void)
{
    log_init("w", LOG_LEVEL_INFO, "json");
    pthread_t t[THREADS];
    int ids[THREADS], next[THREADS] = {0};
    capture();
    FILE *in = fdopen(dup(pipe_read), "r");
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        pthread_create(&t[i], NULL, write_lines, &ids[i]);
    }
    static char line[5000];
    int bad = 0;
    for (int i = 0; in && i < THREADS * LINES && fgets(line, sizeof line, in); i++) {
        json_t *o = json_loads(line, 0, NULL);
        json_int_t thread = json_integer_value(json_object_get(o, "thread"));
        bool ok = o && thread >= 0 && thread < THREADS &&
                  json_integer_value(json_object_get(o, "i")) == next[thread];
        if (ok) {
            next[thread]++;
        }
        bad += !ok;
        json_decref(o);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    captured();
    if (in) {
        fclose(in);
    }
    CHECK_EQ_INT(bad, 0);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ_INT(next[i], LINES);
    }
}

int main(void)
{
    RUN(test_json_line);
    RUN(test_levels);
    RUN(test_trace_and_error);
    RUN(test_hostile_values);
    RUN(test_text_form);
    RUN(test_threads);
    return check_result();
}
