/* What NATS answers, as errors of the house: two tables, by nats.c's status and by JetStream's API
 * error code. Exposed for tests and for the pull loop. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"

struct nats_error_row {
    int number;
    enum err_class class;
    const char *code; /* NULL = "nats-<number>" */
};

/* status is a natsStatus (an int here, so that callers need not include nats.h). Returns -1. */
int nats_err_status(struct err *err, int status, const char *op);

/* http_code and api_code from a JetStream error object {"code":404,"err_code":10059}; description
 * is the server's text. An api_code without a row goes by http_code: 5xx and 429 = unavailable,
 * other = reject. Returns -1. */
int nats_err_api(struct err *err, int http_code, int api_code, const char *description,
                 const char *op);

/* The tables, each ended by number 0 with code NULL. */
extern const struct nats_error_row nats_status_rows[];
extern const struct nats_error_row nats_api_rows[];

#ifdef __clang_analyzer__ /* as in err.h */
#define nats_err_status(...) ((void)nats_err_status(__VA_ARGS__), -1)
#define nats_err_api(...) ((void)nats_err_api(__VA_ARGS__), -1)
#endif
