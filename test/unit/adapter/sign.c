/* Signatures against published vectors. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/adapter/sign.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test/unit/check.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define OTHER "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* The vector of the Standard Webhooks libraries. */
static void test_standard_webhooks(void)
{
    struct secrets s = {.n = 1};
    char out[SIGNATURES_MAX];
    struct err err = ERR_INIT;

    CHECK(secret_parse(VIEW_LIT(SECRET), &s.list[0]));
    CHECK(sign_standard(&s, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                        VIEW_LIT("{\"test\": 2432232314}"), out, &err) == 0);
    CHECK_STR(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    CHECK(secret_parse(VIEW_LIT(OTHER), &s.list[1]));
    s.n = 2;
    CHECK(sign_standard(&s, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                        VIEW_LIT("{\"test\": 2432232314}"), out, &err) == 0);
    CHECK(strncmp(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,", 51) == 0);
    CHECK_EQ_INT((int64_t)strlen(out), 95);
}

/* GitHub's. */
static void test_signature_256(void)
{
    char out[SIGNATURE_256_MAX];
    struct err err = ERR_INIT;

    CHECK(sign_256(VIEW_LIT("It's a Secret to Everybody"), VIEW_LIT("Hello, World!"), out, &err) ==
          0);
    CHECK_STR(out, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

static void test_ten_secrets_have_room(void)
{
    struct secrets s = {.n = SECRETS_MAX};
    char out[SIGNATURES_MAX];
    struct err err = ERR_INIT;

    for (size_t i = 0; i < SECRETS_MAX; i++)
        CHECK(secret_parse(VIEW_LIT(SECRET), &s.list[i]));
    CHECK(sign_standard(&s, "x", 1, VIEW_LIT("y"), out, &err) == 0);
    CHECK_EQ_INT((int64_t)strlen(out), SECRETS_MAX * 48 - 1);
}

static void test_what_is_no_secret(void)
{
    /* 66 bytes */
    static const char too_long[] = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                                   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    static const char too_short[] = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAA="; /* 20 */
    const char *const bad[] = {
        "",
        "whsec_",
        "whsec_short",
        "whsec_!!!!",
        "hunter2 hunter2",
        too_short,
        too_long,
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB==" /* bits behind the key */};
    struct secret s;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_ROW(!secret_parse(view_of(bad[i]), &s), bad[i]);
    CHECK(secret_parse(VIEW_LIT("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), &s) && s.n_key == 24);
}

static void write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void test_files(void)
{
    char one[] = "/tmp/echora-secret-XXXXXX", two[] = "/tmp/echora-secret-XXXXXX", both[128];
    struct secrets s = {.n = 0};
    struct err err = ERR_INIT;

    close(mkstemp(one));
    close(mkstemp(two));
    write_file(one, SECRET "\r\n\n" OTHER "\n");
    write_file(two, OTHER);
    snprintf(both, sizeof(both), "%s, %s", one, two);
    CHECK(secrets_read(both, &s, &err) == 0);
    CHECK_EQ_INT((int64_t)s.n, 3);
    CHECK_STR(s.list[0].text, SECRET);
    CHECK_STR(s.list[1].text, OTHER);
    write_file(two, "hunter2 hunter2\n");
    CHECK(secrets_read(both, &s, &err) < 0);
    CHECK(s.n == 3 && strstr(err.text, "line 1") && !strstr(err.text, "hunter2"));
    unlink(one);
    unlink(two);
    CHECK(secrets_read(both, &s, &err) < 0);
    CHECK(secrets_read("", &s, &err) == 0 && s.n == 0);
}

int main(void)
{
    RUN(test_standard_webhooks);
    RUN(test_signature_256);
    RUN(test_ten_secrets_have_room);
    RUN(test_what_is_no_secret);
    RUN(test_files);
    return check_result();
}
