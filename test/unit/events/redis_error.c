/* Replies and errnos, one by one. */
// SPDX-License-Identifier: Apache-2.0

#include "events/redis_error.h"

#include <errno.h>

#include "test/unit/check.h"

static void test_replies(void)
{
    static const struct {
        const char *text;
        enum err_class class;
        const char *code;
    } rows[] = {
        {"NOAUTH Authentication required.", ERR_FATAL, "redis-noauth"},
        {"WRONGPASS invalid username-password pair", ERR_FATAL, "redis-wrongpass"},
        {"NOPERM this user has no permissions", ERR_FATAL, "redis-noperm"},
        {"ERR The user executing the script can't run this command or subcommand script: 0",
         ERR_FATAL, "redis-noperm"},
        {"ERR The user executing the script can't access at least one of the keys mentioned",
         ERR_FATAL, "redis-noperm"},
        {"ERR AUTH <password> called without any password configured for the default user.",
         ERR_FATAL, "redis-wrongpass"},
        {"LOADING Redis is loading the dataset in memory", ERR_UNAVAILABLE, "redis-loading"},
        {"BUSY Redis is busy running a script.", ERR_UNAVAILABLE, "redis-busy"},
        {"OOM command not allowed when used memory > 'maxmemory'.", ERR_UNAVAILABLE, "redis-oom"},
        {"MISCONF Errors writing to the AOF file", ERR_UNAVAILABLE, "redis-misconf"},
        {"READONLY You can't write against a read only replica.", ERR_UNAVAILABLE,
         "redis-readonly"},
        {"MASTERDOWN Link with MASTER is down", ERR_UNAVAILABLE, "redis-masterdown"},
        {"NOREPLICAS Not enough good replicas to write.", ERR_UNAVAILABLE, "redis-noreplicas"},
        {"CLUSTERDOWN The cluster is down", ERR_UNAVAILABLE, "redis-clusterdown"},
        {"TRYAGAIN Multiple keys request during rehashing", ERR_UNAVAILABLE, "redis-tryagain"},
        {"MOVED 3999 127.0.0.1:6381", ERR_FATAL, "redis-moved"},
        {"ASK 3999 127.0.0.1:6381", ERR_FATAL, "redis-ask"},
        {"WRONGTYPE Operation against a key", ERR_REJECT, "redis-wrongtype"},
        {"ERR max number of clients reached", ERR_UNAVAILABLE, "redis-maxclients"},
        {"ERR anything", ERR_RETRY, "redis-err"},
        {"BUSYGROUP Consumer Group name already exists", ERR_RETRY, "redis-busygroup"},
        {"", ERR_RETRY, "redis-"},
        {"A-VERY-LONG-WORD-THAT-NOBODY-SAYS x", ERR_RETRY, "redis-averylongwordthat"},
        {"\xff\n\x01 x", ERR_RETRY, "redis-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        CHECK_EQ_INT(redis_err_reply(&err, "op", view_of(rows[i].text)), -1);
        CHECK_EQ_INT(err.class, rows[i].class);
        CHECK_EQ_INT(err.dependency, DEP_REDIS);
        CHECK_STR(err.code, rows[i].code);
    }
}

/* A reply may quote what was sent. */
static void test_text_is_ours(void)
{
    struct err err = ERR_INIT;
    redis_err_reply(&err, "op", VIEW_LIT("ERR unknown command 'AUTH', with args: 'secret'"));
    CHECK(strstr(err.text, "secret") == NULL);
}

static void test_errnos(void)
{
    struct err err = ERR_INIT;
    redis_err_errno(&err, "op", ECONNREFUSED);
    CHECK_STR(err.code, "redis-connection");
    CHECK_EQ_INT(err.class, ERR_UNAVAILABLE);
    redis_err_errno(&err, "op", ETIMEDOUT);
    CHECK_STR(err.code, "redis-timeout");
    CHECK_EQ_INT(err.class, ERR_UNAVAILABLE);
    redis_err_errno(&err, "op", ENOMEM);
    CHECK_EQ_INT(err.class, ERR_RETRY);
}

static void test_noscript(void)
{
    CHECK(redis_reply_is_noscript(VIEW_LIT("NOSCRIPT No matching script. Please use EVAL.")));
    CHECK(!redis_reply_is_noscript(VIEW_LIT("NOSCRIPTS x")));
    CHECK(!redis_reply_is_noscript(VIEW_LIT("")));
}

int main(void)
{
    RUN(test_replies);
    RUN(test_text_is_ours);
    RUN(test_errnos);
    RUN(test_noscript);
    return check_result();
}
