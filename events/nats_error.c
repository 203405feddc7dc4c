/* The two tables. A stream or consumer that is missing is ERR_FATAL: workers bind to what exists,
 * and the exit names the command that mends it. A full or busy stream is ERR_UNAVAILABLE: breakers
 * open and nothing is lost. A lost reply is ERR_UNCERTAIN: ids make the repetition harmless. */
// SPDX-License-Identifier: Apache-2.0

#include "events/nats_error.h"

#include <nats/nats.h>
#include <stdio.h>

/* The header shadows these for the static analyser. */
#undef nats_err_status
#undef nats_err_api

const struct nats_error_row nats_status_rows[] = {
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
    /* Said of any server until the first connection; later of none that has JetStream. */
    {NATS_NO_SERVER_SUPPORT, ERR_UNAVAILABLE, "nats-connection"},
    {NATS_MAX_PAYLOAD, ERR_REJECT, "too-large"},
    {NATS_INVALID_SUBJECT, ERR_REJECT, "nats-subject"},
    {NATS_NO_MEMORY, ERR_RETRY, "no-memory"},
    {NATS_INVALID_ARG, ERR_FATAL, "internal"},
    {0, ERR_UNAVAILABLE, NULL},
};

const struct nats_error_row nats_api_rows[] = {
    {10008, ERR_UNAVAILABLE, NULL}, /* JetStream is temporarily unavailable */
    {10009, ERR_UNAVAILABLE, NULL}, /* cluster has no leader or peers */
    {10014, ERR_FATAL, NULL},       /* consumer not found */
    {10023, ERR_UNAVAILABLE, NULL}, /* insufficient resources */
    {10025, ERR_FATAL, NULL},       /* the request is not understood: a fault of ours */
    {10037, ERR_REJECT, NULL},      /* no message found */
    {10039, ERR_FATAL, NULL},       /* JetStream is not enabled for the account */
    {10047, ERR_UNAVAILABLE, NULL}, /* out of storage */
    {10054, ERR_REJECT, "too-large"}, {10059, ERR_FATAL, NULL}, /* stream not found */
    {10060, ERR_FATAL, NULL},       /* the subject belongs to another stream than expected */
    {10070, ERR_REJECT, NULL},      /* wrong last message id */
    {10071, ERR_REJECT, NULL},      /* wrong last sequence */
    {10076, ERR_FATAL, NULL},       /* JetStream is not enabled */
    {10077, ERR_UNAVAILABLE, NULL}, /* store failed: stream full, disk trouble */
    {10097, ERR_REJECT, "too-large"}, {10109, ERR_FATAL, NULL}, /* stream is sealed */
    {10118, ERR_UNAVAILABLE, NULL},                             /* stream is offline */
    {10119, ERR_UNAVAILABLE, NULL},                             /* consumer is offline */
    {10158, ERR_RETRY, NULL},       /* a duplicate is being stored right now */
    {10167, ERR_UNAVAILABLE, NULL}, /* too many requests */
    {0, ERR_UNAVAILABLE, NULL},
};

static const struct nats_error_row *find(const struct nats_error_row *rows, int number)
{
    while (rows->number != 0 && rows->number != number)
        rows++;
    return rows;
}

static void code_of(const struct nats_error_row *row, int number, char out[32])
{
    if (row->code != NULL)
        snprintf(out, 32, "%s", row->code);
    else
        snprintf(out, 32, "nats-%d", number);
}

int nats_err_status(struct err *err, int status, const char *op)
{
    const struct nats_error_row *row = find(nats_status_rows, status);
    char code[32];

    code_of(row, status, code);
    return err_set_dep(err, row->class, row->class == ERR_REJECT ? DEP_NONE : DEP_NATS, code, op,
                       "%s", natsStatus_GetText((natsStatus)status));
}

int nats_err_api(struct err *err, int http_code, int api_code, const char *description,
                 const char *op)
{
    const struct nats_error_row *row = find(nats_api_rows, api_code);
    enum err_class class = row->class;
    char code[32];

    if (row->number == 0 && http_code < 500 && http_code != 429)
        class = ERR_REJECT;
    code_of(row, api_code != 0 ? api_code : http_code, code);
    return err_set_dep(err, class, class == ERR_REJECT ? DEP_NONE : DEP_NATS, code, op, "%s",
                       description != NULL ? description : "JetStream refused");
}
