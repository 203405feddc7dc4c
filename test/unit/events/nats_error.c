/* What NATS answers, as errors: each row that decides something is asserted once. */
// SPDX-License-Identifier: Apache-2.0

#include "events/nats_error.h"

#include <nats/nats.h>

#include "test/unit/check.h"

static void test_status_classes(void)
{
    static const struct {
        natsStatus status;
        enum err_class class;
        const char *code;
        enum dependency dep;
    } rows[] = {
        {NATS_TIMEOUT, ERR_UNCERTAIN, "nats-timeout", DEP_NATS},
        {NATS_NO_RESPONDERS, ERR_UNAVAILABLE, "nats-no-responders", DEP_NATS},
        {NATS_CONNECTION_DISCONNECTED, ERR_UNAVAILABLE, "nats-connection", DEP_NATS},
        {NATS_CONNECTION_CLOSED, ERR_UNAVAILABLE, "nats-connection", DEP_NATS},
        {NATS_INSUFFICIENT_BUFFER, ERR_UNAVAILABLE, "nats-buffer-full", DEP_NATS},
        {NATS_CONNECTION_AUTH_FAILED, ERR_FATAL, "nats-auth", DEP_NATS},
        {NATS_NOT_PERMITTED, ERR_FATAL, "nats-permission", DEP_NATS},
        {NATS_MAX_PAYLOAD, ERR_REJECT, "too-large", DEP_NONE},
        {NATS_NO_MEMORY, ERR_RETRY, "no-memory", DEP_NATS},
        {NATS_ERR, ERR_UNAVAILABLE, "nats-1", DEP_NATS},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;

        CHECK_EQ_INT(nats_err_status(&err, rows[i].status, "test"), -1);
        CHECK_EQ_INT(err.class, rows[i].class);
        CHECK_STR(err.code, rows[i].code);
        CHECK_EQ_INT(err.dependency, rows[i].dep);
    }
}

static void test_api_classes(void)
{
    static const struct {
        int http, api;
        enum err_class class;
        const char *code;
    } rows[] = {
        {400, 10071, ERR_REJECT, "nats-10071"},      {404, 10059, ERR_FATAL, "nats-10059"},
        {404, 10014, ERR_FATAL, "nats-10014"},       {400, 10060, ERR_FATAL, "nats-10060"},
        {503, 10077, ERR_UNAVAILABLE, "nats-10077"}, {503, 10023, ERR_UNAVAILABLE, "nats-10023"},
        {429, 10167, ERR_UNAVAILABLE, "nats-10167"}, {409, 10158, ERR_RETRY, "nats-10158"},
        {400, 10054, ERR_REJECT, "too-large"},       {400, 10097, ERR_REJECT, "too-large"},
        {503, 19999, ERR_UNAVAILABLE, "nats-19999"}, /* unknown: by the http code */
        {429, 19999, ERR_UNAVAILABLE, "nats-19999"}, {400, 19999, ERR_REJECT, "nats-19999"},
        {500, 0, ERR_UNAVAILABLE, "nats-500"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;

        CHECK_EQ_INT(nats_err_api(&err, rows[i].http, rows[i].api, NULL, "test"), -1);
        CHECK_EQ_INT(err.class, rows[i].class);
        CHECK_STR(err.code, rows[i].code);
        CHECK(err.text[0] != '\0');
    }
}

int main(void)
{
    RUN(test_status_classes);
    RUN(test_api_classes);
    return check_result();
}
