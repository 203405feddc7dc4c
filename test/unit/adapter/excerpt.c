/* What of an answer goes into the log: printable, short, and nothing of ours. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/adapter/excerpt.h"

#include <ctype.h>
#include <stdlib.h>

#include "test/unit/check.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SIGNED "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define PLAIN "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
#define STARS_40 "****************************************"

static const struct view ours[] = {VIEW_LIT(SECRET), VIEW_LIT(SIGNED), VIEW_LIT(PLAIN)};

static const char *excerpt(struct view answer)
{
    static char out[EXCERPT_MAX + 1];

    excerpt_make(answer, ours, ARRAY_LEN(ours), out);
    return out;
}

#define EXCERPT(text) excerpt(VIEW_LIT(text))

static void test_plain_text_stays(void)
{
    CHECK_STR(EXCERPT(""), "");
    CHECK_STR(EXCERPT("{\"code\":404,\"message\":\"The requested webhook is not registered.\"}"),
              "{\"code\":404,\"message\":\"The requested webhook is not registered.\"}");
    CHECK_STR(EXCERPT(" ~"), " ~");
    /* The words alone are no secret. */
    CHECK_STR(EXCERPT("expected v1,... and sha256=... made with whsec_..."),
              "expected v1,... and sha256=... made with whsec_...");
}

static void test_other_bytes_are_dots(void)
{
    CHECK_STR(EXCERPT("a\r\nb\tc\x1b[31md\x7f\x80\xff"), "a..b.c.[31md...");
    CHECK_STR(EXCERPT("a\0b"), "a.b");
    CHECK_STR(EXCERPT("\xc3\xa4"), "..");
}

static void test_it_is_cut(void)
{
    char text[1000];

    memset(text, 'x', sizeof(text));
    for (size_t n = 250; n < sizeof(text); n++)
        CHECK_EQ_INT((int64_t)strlen(excerpt((struct view){text, n})),
                     n < EXCERPT_MAX ? (int64_t)n : EXCERPT_MAX);
}

static void test_ours_is_hidden(void)
{
    CHECK_STR(EXCERPT("<" SECRET ">"), "<**************************************>");
    CHECK_STR(EXCERPT("got " SIGNED " not"), "got " STARS_40 "******* not");
    CHECK_STR(EXCERPT("[" PLAIN "]"), "[" STARS_40 "*******************************]");
    /* Without its word, in capitals, with escaped slashes, in part. */
    CHECK(strstr(EXCERPT("key MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw."), "MfKQ") == NULL);
    CHECK(strstr(EXCERPT("757107EA0EB2509FC211221CCE984B8A"), "757107") == NULL);
    CHECK_STR(EXCERPT("g0hM9SsE+OTPJTGt\\/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
              "****************\\****************************");
    CHECK_STR(EXCERPT("9r8GKYqr"), "********");
    CHECK_STR(EXCERPT("9r8GKYq"), "9r8GKYq");
}

static void test_what_looks_alike_is_hidden(void)
{
    CHECK_STR(EXCERPT("old whsec_AAAAAAAAAAAAAAAAAAAAAAAA!"),
              "old ******************************!");
    CHECK_STR(EXCERPT("want v1,BBBBBBBBBBBBBBBB="), "want ********************");
    CHECK_STR(EXCERPT("want sha256=cccccccccccccccc,"), "want ***********************,");
}

/* Wherever ours begins, and wherever the answer ends, no EXCERPT_SECRET letters of it are seen. */
static void test_nothing_of_ours_at_the_edges(void)
{
    char text[400];

    for (size_t w = 0; w < ARRAY_LEN(ours); w++) {
        for (size_t at = 180; at < 260; at += 3) {
            memset(text, '.', sizeof(text));
            memcpy(text + at, ours[w].p, ours[w].n);
            for (size_t end = at + 1; end <= at + ours[w].n; end++) {
                const char *out = excerpt((struct view){text, end});
                size_t shown = 0;

                for (const char *c = out; *c != '\0'; c++)
                    shown += isalnum((unsigned char)*c) != 0;
                CHECK(shown < EXCERPT_SECRET);
            }
        }
    }
}

static void test_any_bytes(void)
{
    uint8_t text[600];
    unsigned seed = 7;

    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
        const char *out = excerpt((struct view){(const char *)text, (size_t)round % sizeof(text)});
        for (const char *c = out; *c != '\0'; c++)
            CHECK(*c >= ' ' && *c <= '~');
    }
}

int main(void)
{
    RUN(test_plain_text_stays);
    RUN(test_other_bytes_are_dots);
    RUN(test_it_is_cut);
    RUN(test_ours_is_hidden);
    RUN(test_what_looks_alike_is_hidden);
    RUN(test_nothing_of_ours_at_the_edges);
    RUN(test_any_bytes);
    return check_result();
}
