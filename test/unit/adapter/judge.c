/* The delivery table, written out once more. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/adapter/judge.h"

#include "test/unit/check.h"

static enum judgement expected(long status)
{
    if (status >= 200 && status < 300)
        return JUDGED_DELIVERED;
    if (status == 400 || status == 413 || status == 415 || status == 422)
        return JUDGED_REFUSED;
    if (status == 401 || status == 403)
        return JUDGED_AUTH;
    if (status == 410)
        return JUDGED_GONE;
    if (status == 408 || status == 425 || status == 429 || status >= 500 || status < 200)
        return JUDGED_TROUBLE;
    return JUDGED_MISCONFIGURED;
}

static void test_every_status(void)
{
    for (long s = 0; s < 1000; s++) {
        const struct http_outcome o = {.status = s, .code = s == 0 ? "http-reset" : ""};
        CHECK_EQ_INT(judge(&o, false), expected(s));
    }
}

static void test_only_202(void)
{
    for (long s = 0; s < 1000; s++) {
        const struct http_outcome o = {.status = s, .code = ""};
        const enum judgement any = judge(&o, false);
        const bool other = any == JUDGED_DELIVERED && s != 202;
        CHECK_EQ_INT(judge(&o, true), other ? JUDGED_TROUBLE : any);
    }
}

static struct err err_of(long status, const char *code, int64_t retry_after_ms, int64_t longest_ms)
{
    const struct http_outcome o = {
        .status = status, .code = code, .text = "why", .retry_after_ms = retry_after_ms};
    struct err err = ERR_INIT;

    judgement_err(judge(&o, false), &o, "webhook", longest_ms, &err);
    return err;
}

static void test_errors(void)
{
    CHECK_EQ_INT(err_of(422, "", 0, 1000000).class, ERR_REJECT);
    CHECK_STR(err_of(422, "", 0, 1000000).code, "http-422");
    CHECK_EQ_INT(err_of(410, "", 0, 1000000).class, ERR_REJECT);
    CHECK_EQ_INT(err_of(404, "", 0, 1000000).class, ERR_RETRY);
    CHECK_STR(err_of(0, "http-tls", 0, 1000000).code, "http-tls");
    CHECK_EQ_INT(err_of(0, "http-tls", 0, 1000000).retry_after_ms, 0);
    /* Overloaded, or a secret that somebody has to mend: left alone, however early the try. */
    CHECK_EQ_INT(err_of(429, "", 0, 1000000).retry_after_ms, 60000);
    CHECK_EQ_INT(err_of(0, "http-timeout", 0, 1000000).retry_after_ms, 60000);
    CHECK_EQ_INT(err_of(401, "", 0, 1000000).retry_after_ms, 600000);
    CHECK_EQ_INT(err_of(401, "", 0, 20).retry_after_ms, 20);
    CHECK_EQ_INT(err_of(503, "", 7000, 20).retry_after_ms, 7000);
    CHECK_EQ_INT(err_of(429, "", 7000, 1000000).retry_after_ms, 60000);
}

int main(void)
{
    RUN(test_every_status);
    RUN(test_only_202);
    RUN(test_errors);
    return check_result();
}
