/* What needs no Redis. The digests were made with sha256sum. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/idempotency.h"
#include "test/unit/check.h"

static struct view parsed(const char *value)
{
    struct view key = VIEW_LIT("(none)");

    return idem_key_parse(view_of(value), &key) ? key : VIEW_LIT("(none)");
}

static void test_keys(void)
{
    char most[258];

    CHECK_VIEW(parsed("a"), VIEW_LIT("a"));
    CHECK_VIEW(parsed("\"a\""), VIEW_LIT("a"));
    CHECK_VIEW(parsed("AZaz09._:-"), VIEW_LIT("AZaz09._:-"));
    static const char *const bad[] = {
        "",    "\"\"",     "\"",  "\"a", "a\"",       "\"a\"b", " a",   "a b", "a,b", "a;b",
        "a/b", "\xc3\xa9", "a\n", "'a'", "\"\"a\"\"", "a=b",    "a\tb", "@",   "[",   "`"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_VIEW(parsed(bad[i]), VIEW_LIT("(none)"));
    memset(most, 'x', sizeof(most) - 1);
    most[257] = '\0';
    CHECK_VIEW(parsed(most), VIEW_LIT("(none)"));
    most[256] = '\0';
    CHECK_VIEW(parsed(most), VIEW_LIT("(none)"));
    most[255] = '\0';
    CHECK_EQ_INT(parsed(most).n, 255);
    struct view key;
    CHECK(!idem_key_parse((struct view){"a\0b", 3}, &key));
}

static void test_names(void)
{
    struct idem_key key;
    char path[258];

    CHECK(idem_key_make(VIEW_LIT("n8n"), VIEW_LIT("/workflow/build-diff"), VIEW_LIT("order-7"),
                        &key));
    CHECK_STR(key.redis,
              "echora:idem:v1:636396f02b6571e40d8fe91cba550515c0cdc0e7d314c210e00b02256375a796"
              ":/workflow/build-diff:"
              "df8cf80227ec3237922df0ecd88385c546e4a31bdb8127b033f01e6f21f175df");
    CHECK_STR(key.hash, "aba7c7ab7014354faf9b0a6152bfea62a0d3226a3fc34f0c43f0f650bc36069f");
    memset(path, 'p', sizeof(path));
    CHECK(idem_key_make(VIEW_LIT(""), (struct view){path, 256}, VIEW_LIT("k"), &key));
    CHECK_EQ_INT(strlen(key.redis), 15 + 64 + 1 + 256 + 1 + 64);
    CHECK(!idem_key_make(VIEW_LIT(""), (struct view){path, 257}, VIEW_LIT("k"), &key));
}

static const char *print_of(const char *method, const char *path, const char *query,
                            const char *type, struct view body)
{
    static char out[4][IDEM_FINGERPRINT_SIZE];
    static unsigned at;
    const struct idem_request request = {view_of(method), view_of(path), view_of(query),
                                         view_of(type), body};
    char *text = out[at++ % 4];

    return idem_fingerprint(&request, text) ? text : "(none)";
}

#define JSON "application/json"

static void test_fingerprint(void)
{
    const struct view body = VIEW_LIT("{\"run_id\": 7}");
    char one[IDEM_FINGERPRINT_SIZE];

    memcpy(one, print_of("POST", "/workflow/build-diff", "b=2&a=1", JSON, body), sizeof(one));
    CHECK_STR(one, "af545fcc5cd0efe680f63763ea4a1347e303025a66c81ba8900d5ac9d1ea9d2c");
    CHECK_STR(print_of("POST", "/workflow/build-diff", "a=1&b=2", JSON, body), one);
    CHECK_STR(print_of("POST", "/workflow/build-diff", "a=1&b=2", "Application/JSON; charset=utf-8",
                       body),
              one);
    static const struct {
        const char *method, *path, *query, *type, *body;
    } others[] = {
        {"PUT", "/workflow/build-diff", "a=1&b=2", JSON, "{\"run_id\": 7}"},
        {"POST", "/workflow/build-dif", "a=1&b=2", JSON, "{\"run_id\": 7}"},
        {"POST", "/workflow/build-diff", "a=1&b=3", JSON, "{\"run_id\": 7}"},
        {"POST", "/workflow/build-diff", "a=1", JSON, "{\"run_id\": 7}"},
        {"POST", "/workflow/build-diff", "a=1&b=2&", JSON, "{\"run_id\": 7}"},
        {"POST", "/workflow/build-diff", "a=1&b=2", "text/plain", "{\"run_id\": 7}"},
        {"POST", "/workflow/build-diff", "a=1&b=2", JSON, "{\"run_id\":7}"},
        {"POST", "/workflow/build-diff", "a=1&b=2", JSON, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        CHECK(strcmp(print_of(others[i].method, others[i].path, others[i].query, others[i].type,
                              view_of(others[i].body)),
                     one) != 0);
    /* Nothing at all, and bytes of any kind. */
    CHECK_STR(print_of("", "", "", "", (struct view){0}),
              "545c38b0922de19734fbffde62792c37c2aef6a3216cfa472449173165220f7d");
    CHECK(strcmp(print_of("", "", "", "", (struct view){"\0", 1}),
                 print_of("", "", "", "", (struct view){"\0\0", 2})) != 0);
}

static void test_queries_have_an_end(void)
{
    char query[200];
    size_t n = 0;

    for (int i = 0; i < 64; i++) {
        query[n++] = (char)('a' + i % 26);
        query[n++] = '&';
    }
    query[n - 1] = '\0';
    CHECK(strlen(print_of("GET", "/", query, "", VIEW_LIT(""))) == 64);
    query[n - 1] = '&';
    query[n] = '\0';
    CHECK_STR(print_of("GET", "/", query, "", VIEW_LIT("")), "(none)");
}

int main(void)
{
    RUN(test_keys);
    RUN(test_names);
    RUN(test_fingerprint);
    RUN(test_queries_have_an_end);
    return check_result();
}
