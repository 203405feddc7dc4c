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

/* Every status that nats.c has: what stands in no row of `named` is trouble of the connection. */
static void test_every_status(void)
{
    static const struct {
        natsStatus status;
        enum err_class class;
        const char *code;
    } named[] = {
        {NATS_TIMEOUT, ERR_UNCERTAIN, "nats-timeout"},
        {NATS_NO_RESPONDERS, ERR_UNAVAILABLE, "nats-no-responders"},
        {NATS_CONNECTION_CLOSED, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_CONNECTION_DISCONNECTED, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_NOT_YET_CONNECTED, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_NO_SERVER, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_IO_ERROR, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_STALE_CONNECTION, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_DRAINING, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_INVALID_SUBSCRIPTION, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_INSUFFICIENT_BUFFER, ERR_UNAVAILABLE, "nats-buffer-full"},
        {NATS_SLOW_CONSUMER, ERR_UNAVAILABLE, "nats-slow-consumer"},
        {NATS_SSL_ERROR, ERR_UNAVAILABLE, "nats-tls"},
        {NATS_SECURE_CONNECTION_WANTED, ERR_FATAL, "nats-tls"},
        {NATS_SECURE_CONNECTION_REQUIRED, ERR_FATAL, "nats-tls"},
        {NATS_CONNECTION_AUTH_FAILED, ERR_FATAL, "nats-auth"},
        {NATS_NOT_PERMITTED, ERR_FATAL, "nats-permission"},
        {NATS_ADDRESS_MISSING, ERR_FATAL, "config"},
        {NATS_NO_SERVER_SUPPORT, ERR_UNAVAILABLE, "nats-connection"},
        {NATS_MAX_PAYLOAD, ERR_REJECT, "too-large"},
        {NATS_INVALID_SUBJECT, ERR_REJECT, "nats-subject"},
        {NATS_NO_MEMORY, ERR_RETRY, "no-memory"},
        {NATS_INVALID_ARG, ERR_FATAL, "internal"},
    };
    size_t found = 0;
    for (int status = NATS_ERR; status <= NATS_MISSED_HEARTBEAT; status++) {
        enum err_class class = ERR_UNAVAILABLE;
        char code[32];
        struct err err = ERR_INIT;
        snprintf(code, sizeof(code), "nats-%d", status);
        for (size_t i = 0; i < ARRAY_LEN(named); i++) {
            if ((int)named[i].status == status) {
                class = named[i].class;
                snprintf(code, sizeof(code), "%s", named[i].code);
                found++;
            }
        }
        CHECK_EQ_INT(nats_err_status(&err, status, "test"), -1);
        CHECK_EQ_INT(err.class, class);
        CHECK_STR(err.code, code);
        CHECK_EQ_INT(err.dependency, class == ERR_REJECT ? DEP_NONE : DEP_NATS);
        CHECK(err.text[0] != '\0');
    }
    CHECK_EQ_INT(found, ARRAY_LEN(named));
}

/* Every API error code that servers have had or may get, under every kind of HTTP code. */
static void test_every_api_code(void)
{
    static const struct {
        int api;
        enum err_class class;
        const char *code;
    } named[] = {
        {JSClusterNotAvailErr, ERR_UNAVAILABLE, "nats-10008"},
        {JSClusterNotLeaderErr, ERR_UNAVAILABLE, "nats-10009"},
        {JSConsumerNotFoundErr, ERR_FATAL, "nats-10014"},
        {JSInsufficientResourcesErr, ERR_UNAVAILABLE, "nats-10023"},
        {JSInvalidJSONErr, ERR_FATAL, "nats-10025"},
        {JSNoMessageFoundErr, ERR_REJECT, "nats-10037"},
        {JSNotEnabledForAccountErr, ERR_FATAL, "nats-10039"},
        {JSStorageResourcesExceededErr, ERR_UNAVAILABLE, "nats-10047"},
        {JSStreamMessageExceedsMaximumErr, ERR_REJECT, "too-large"},
        {JSStreamNotFoundErr, ERR_FATAL, "nats-10059"},
        {JSStreamNotMatchErr, ERR_FATAL, "nats-10060"},
        {JSStreamWrongLastMsgIDErr, ERR_REJECT, "nats-10070"},
        {JSStreamWrongLastSequenceErr, ERR_REJECT, "nats-10071"},
        {JSNotEnabledErr, ERR_FATAL, "nats-10076"},
        {JSStreamStoreFailedErr, ERR_UNAVAILABLE, "nats-10077"},
        {10097, ERR_REJECT, "too-large"}, /* headers: not in this library's list */
        {JSStreamSealedErr, ERR_FATAL, "nats-10109"},
        {JSStreamOfflineErr, ERR_UNAVAILABLE, "nats-10118"},
        {JSConsumerOfflineErr, ERR_UNAVAILABLE, "nats-10119"},
        {10158, ERR_RETRY, "nats-10158"},
        {10167, ERR_UNAVAILABLE, "nats-10167"},
    };
    static const int https[] = {0, 400, 404, 408, 409, 429, 499, 500, 503, 599};
    for (int api = 10000; api < 10300; api++) {
        for (size_t h = 0; h < ARRAY_LEN(https); h++) {
            enum err_class class =
                https[h] >= 500 || https[h] == 429 ? ERR_UNAVAILABLE : ERR_REJECT;
            char code[32];
            struct err err = ERR_INIT;
            snprintf(code, sizeof(code), "nats-%d", api);
            for (size_t i = 0; i < ARRAY_LEN(named); i++) {
                if (named[i].api == api) {
                    class = named[i].class;
                    snprintf(code, sizeof(code), "%s", named[i].code);
                }
            }
            CHECK_EQ_INT(nats_err_api(&err, https[h], api, "text", "test"), -1);
            CHECK_ROW(err.class == class, code);
            CHECK_STR(err.code, code);
            CHECK_EQ_INT(err.dependency, class == ERR_REJECT ? DEP_NONE : DEP_NATS);
        }
    }
}

int main(void)
{
    RUN(test_status_classes);
    RUN(test_api_classes);
    RUN(test_every_status);
    RUN(test_every_api_code);
    return check_result();
}
