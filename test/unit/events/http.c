// SPDX-License-Identifier: Apache-2.0
#include "events/http.h"

#include <curl/curl.h>
#include <time.h>

#include "events/base/clock.h"
#include "test/unit/fake_http.h"

/* The rule, spelled another way than in the product. */
static enum err_class want_class(long status)
{
    if (status / 100 == 2) {
        return ERR_NONE;
    }
    if (status == 401 || status == 403) {
        return ERR_FATAL;
    }
    bool waits = status == 408 || status == 425 || status == 429;
    return status / 100 == 4 && !waits ? ERR_REJECT : ERR_UNAVAILABLE;
}

static void test_every_status(void)
{
    for (long status = 100; status <= 599; status++) {
        CHECK_EQ_INT(http_status_class(status), want_class(status));
    }
    static const long odd[] = {-1, 0, 1, 99, 600, 999, 100000};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        CHECK_EQ_INT(http_status_class(odd[i]), ERR_UNAVAILABLE);
    }
}

static void test_every_curl_code(void)
{
    static const struct {
        int curl;
        enum err_class class;
        const char *code;
    } rows[] = {
        {CURLE_COULDNT_RESOLVE_PROXY, ERR_UNAVAILABLE, "http-connect"},
        {CURLE_COULDNT_RESOLVE_HOST, ERR_UNAVAILABLE, "http-connect"},
        {CURLE_COULDNT_CONNECT, ERR_UNAVAILABLE, "http-connect"},
        {CURLE_OPERATION_TIMEDOUT, ERR_UNAVAILABLE, "http-timeout"},
        {CURLE_GOT_NOTHING, ERR_UNAVAILABLE, "http-reset"},
        {CURLE_PARTIAL_FILE, ERR_UNAVAILABLE, "http-reset"},
        {CURLE_RECV_ERROR, ERR_UNAVAILABLE, "http-reset"},
        {CURLE_SEND_ERROR, ERR_UNAVAILABLE, "http-reset"},
        {CURLE_AGAIN, ERR_UNAVAILABLE, "http-reset"},
        {CURLE_SSL_CONNECT_ERROR, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_ENGINE_NOTFOUND, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_ENGINE_SETFAILED, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_CERTPROBLEM, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_CIPHER, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_PEER_FAILED_VERIFICATION, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_ENGINE_INITFAILED, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_CACERT_BADFILE, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_SHUTDOWN_FAILED, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_CRL_BADFILE, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_ISSUER_ERROR, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_PINNEDPUBKEYNOTMATCH, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_INVALIDCERTSTATUS, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_SSL_CLIENTCERT, ERR_UNAVAILABLE, "http-tls"},
        {CURLE_URL_MALFORMAT, ERR_FATAL, "http-url"},
        {CURLE_UNSUPPORTED_PROTOCOL, ERR_FATAL, "http-url"},
        {CURLE_WRITE_ERROR, ERR_REJECT, "http-too-large"},
        {CURLE_OUT_OF_MEMORY, ERR_RETRY, "no-memory"},
        {CURLE_ABORTED_BY_CALLBACK, ERR_RETRY, "http-aborted"},
    };
    const char *code;
    size_t found = 0;
    for (int c = 1; c < CURL_LAST + 5; c++) { /* also what newer libraries add */
        enum err_class want = ERR_UNAVAILABLE;
        const char *want_code = "http-protocol";
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (rows[i].curl == c) {
                want = rows[i].class;
                want_code = rows[i].code;
                found++;
            }
        }
        enum err_class fresh = http_curl_class(c, true, false, &code);
        CHECK_ROW(fresh == want && strcmp(code, want_code) == 0, want_code);
        CHECK(error_code_find(code) != NULL);
        /* Only a reset under a write on a used connection is uncertain. */
        bool reset = strcmp(code, "http-reset") == 0;
        CHECK_EQ_INT(http_curl_class(c, true, true, &code), reset ? ERR_UNCERTAIN : fresh);
        CHECK_EQ_INT(http_curl_class(c, false, true, &code), fresh);
    }
    CHECK_EQ_INT(found, ARRAY_LEN(rows));
}

static struct http *client(const struct fake_http *f, int64_t timeout_ms, size_t max_reply)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/base/", f->port);
    struct http *h = http_new(&(struct http_options){.base_url = url,
                                                     .bearer = "tok3n",
                                                     .api_key = "k3y",
                                                     .dependency = DEP_QDRANT,
                                                     .timeout_ms = timeout_ms,
                                                     .max_reply = max_reply});
    CHECK(h != NULL);
    return h;
}

static void test_what_is_sent(void)
{
    static const struct fake_reply script[] = {
        {FAKE_REPLY, 200, "Content-Type: application/json\r\n", "{\"a\":1}"},
        {FAKE_REPLY, 201, NULL, NULL},
        {FAKE_REPLY, 204, NULL, NULL},
        {FAKE_REPLY, 200, NULL, NULL},
        {FAKE_REPLY, 200, "X: y\r\n", NULL},
    };
    static struct fake_http f;
    REQUIRE(fake_start(&f, script, ARRAY_LEN(script)));
    struct http *h = client(&f, 2000, 0);
    struct http_reply reply;
    struct err err = ERR_INIT;
    struct view none = {0};
    http_reply_init(&reply, 1000);
    CHECK_EQ_INT(http_call(h, "GET", "/collections", NULL, none, &reply, &err), 0);
    CHECK_EQ_INT(reply.status, 200);
    CHECK_STR(buf_cstr(&reply.body), "{\"a\":1}");
    CHECK_STR(reply.content_type, "application/json");
    CHECK_EQ_INT(
        http_call(h, "PUT", "/p?wait=true", "application/json", VIEW_LIT("[1,2]"), &reply, &err),
        0);
    CHECK_EQ_INT(reply.status, 201);
    CHECK_STR(buf_cstr(&reply.body), "");
    CHECK_STR(reply.content_type, "");
    CHECK_EQ_INT(http_call(h, "POST", "/q", NULL, none, &reply, &err), 0);
    CHECK_EQ_INT(http_call(h, "DELETE", "/r", NULL, none, &reply, &err), 0);
    CHECK_EQ_INT(http_call(h, "HEAD", "/s", NULL, none, &reply, &err), 0);
    h = http_free(h);
    http_reply_deinit(&reply);
    fake_stop(&f);
    CHECK_EQ_INT(err.class, ERR_NONE);
    CHECK_EQ_INT(f.n_requests, 5);
    static const char *const lines[] = {
        "GET /base/collections HTTP/1.1\r\n", "PUT /base/p?wait=true HTTP/1.1\r\n",
        "POST /base/q HTTP/1.1\r\n", "DELETE /base/r HTTP/1.1\r\n", "HEAD /base/s HTTP/1.1\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const char *head = f.requests[i].head;
        CHECK(strncmp(head, lines[i], strlen(lines[i])) == 0);
        CHECK(strstr(head, "\r\nAuthorization: Bearer tok3n\r\n") != NULL);
        CHECK(strstr(head, "\r\napi-key: k3y\r\n") != NULL);
        CHECK(strstr(head, "\r\nUser-Agent: echora/") != NULL);
        CHECK(strstr(head, "Expect") == NULL);
        CHECK((strstr(head, "\r\nContent-Type: application/json\r\n") != NULL) == (i == 1));
        CHECK((strstr(head, "\r\nContent-Length: ") != NULL) == (i == 1 || i == 2));
        CHECK_EQ_INT(f.requests[i].connection, 1);
    }
}

static void test_statuses_and_hints(void)
{
    char date[100], huge[100];
    time_t at = time(NULL) + 90;
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(date, sizeof date, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    snprintf(huge, sizeof huge, "Retry-After: 999999999\r\n");
    const struct fake_reply script[] = {
        {FAKE_REPLY, 429, "Retry-After: 7\r\n", "slow down"},
        {FAKE_REPLY, 503, date, NULL},
        {FAKE_REPLY, 503, huge, NULL},
        {FAKE_REPLY, 400, NULL, "secret value"},
        {FAKE_REPLY, 302, "Location: /elsewhere\r\n", NULL},
        {FAKE_REPLY, 401, NULL, NULL},
    };
    static struct fake_http f;
    REQUIRE(fake_start(&f, script, ARRAY_LEN(script)));
    struct http *h = client(&f, 2000, 0);
    struct http_reply reply;
    http_reply_init(&reply, 1000);
    for (size_t i = 0; i < ARRAY_LEN(script); i++) {
        struct err err = ERR_INIT;
        char code[32];
        CHECK_EQ_INT(http_call(h, "PUT", "/x?v=secret", NULL, VIEW_LIT("b"), &reply, &err), -1);
        CHECK_EQ_INT(reply.status, script[i].status);
        CHECK_EQ_INT(err.class, want_class(script[i].status));
        CHECK_EQ_INT(err.dependency, DEP_QDRANT);
        snprintf(code, sizeof code, "http-%d", script[i].status);
        CHECK_STR(err.code, code);
        CHECK_STR(err.op, "PUT /x");
        CHECK(!strstr(err.text, "secret"));
        CHECK_EQ_INT(err.retry_after_ms, reply.retry_after_ms);
        int64_t hint = err.retry_after_ms;
        CHECK(i == 0   ? hint == 7000
              : i == 1 ? hint >= 85000 && hint <= 91000
              : i == 2 ? hint == 3600 * 1000
                       : hint == 0);
    }
    h = http_free(h);
    http_reply_deinit(&reply);
    fake_stop(&f);
    CHECK_EQ_INT(f.n_requests, ARRAY_LEN(script)); /* the redirect was not followed */
}

static void test_faults(void)
{
    static char big[3000];
    memset(big, 'x', sizeof big - 1);
    const struct fake_reply script[] = {
        {FAKE_REPLY, 200, NULL, "fits"},       {FAKE_REPLY, 200, NULL, big}, /* over the cap */
        {FAKE_RESET, 0, NULL, NULL},           /* on a fresh connection */
        {FAKE_REPLY, 200, NULL, "good again"}, /* so that the next one is reused */
        {FAKE_CUT, 200, NULL, "only a half"},  {FAKE_HANG, 0, NULL, NULL},
        {FAKE_REPLY, 200, NULL, "good again"},
    };
    static const struct {
        enum err_class class;
        const char *code;
    } want[] = {
        {ERR_NONE, ""}, {ERR_REJECT, "http-too-large"}, {ERR_UNAVAILABLE, "http-reset"},
        {ERR_NONE, ""}, {ERR_UNCERTAIN, "http-reset"},  {ERR_UNAVAILABLE, "http-timeout"},
        {ERR_NONE, ""},
    };
    static struct fake_http f;
    REQUIRE(fake_start(&f, script, ARRAY_LEN(script)));
    struct http *h = client(&f, 200, 1000);
    struct http_reply reply;
    http_reply_init(&reply, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(script); i++) {
        struct err err = ERR_INIT;
        int rc = http_call(h, "PUT", "/x", NULL, VIEW_LIT("b"), &reply, &err);
        CHECK_EQ_INT(rc, want[i].class == ERR_NONE ? 0 : -1);
        CHECK_EQ_INT(err.class, want[i].class);
        CHECK_STR(err.code, want[i].code);
    }
    /* The reply buffer's own maximum holds too. */
    http_reply_deinit(&reply);
    fake_stop(&f);
    unsigned closed_port = f.port;
    h = http_free(h);
    f.port = closed_port;
    h = client(&f, 500, 0);
    http_reply_init(&reply, 10);
    struct err err = ERR_INIT;
    CHECK_EQ_INT(http_call(h, "GET", "/", NULL, (struct view){0}, &reply, &err), -1);
    CHECK_STR(err.code, "http-connect");
    CHECK_EQ_INT(reply.status, 0);
    h = http_free(h);
    http_reply_deinit(&reply);
}

static void test_refusals(void)
{
    CHECK(!http_new(&(struct http_options){.base_url = "http://x", .bearer = "a\r\nEvil: 1"}));
    CHECK(!http_new(&(struct http_options){.base_url = "http://x", .api_key = "a\n"}));
    CHECK(!http_free(NULL));
    struct http_reply reply;
    http_reply_init(&reply, 100);
    static const char *const bad[] = {"ftp://127.0.0.1", "file:///etc/hostname", "http://", "::"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http *h = http_new(&(struct http_options){.base_url = bad[i], .timeout_ms = 500});
        struct err err = ERR_INIT;
        REQUIRE(h);
        CHECK_EQ_INT(http_call(h, "GET", "", NULL, (struct view){0}, &reply, &err), -1);
        CHECK_ROW(err.class == ERR_FATAL, bad[i]);
        CHECK_STR(err.code, "http-url");
        char path[3000];
        memset(path, 'p', sizeof path - 1);
        path[sizeof path - 1] = '\0';
        CHECK_EQ_INT(http_call(h, "GET", path, NULL, (struct view){0}, &reply, &err), -1);
        CHECK_EQ_INT(err.class, ERR_REJECT);
        http_free(h);
    }
    http_reply_deinit(&reply);
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    RUN(test_every_status);
    RUN(test_every_curl_code);
    RUN(test_what_is_sent);
    RUN(test_statuses_and_hints);
    RUN(test_faults);
    RUN(test_refusals);
    curl_global_cleanup();
    return check_result();
}
