// SPDX-License-Identifier: Apache-2.0
#include "events/kept.h"

#include <inttypes.h>
#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"

enum { SUBJECT_MAX = 192 };

static void put_subject(const struct once *once, char out[static SUBJECT_MAX])
{
    const int n = snprintf(out, SUBJECT_MAX, "kept.%s.", once->request->def->subject);

    for (size_t i = 0; i < sizeof(once->key); i++)
        snprintf(out + n + 2 * i, 3, "%02x", once->key[i]);
}

static int as_refusal(struct err *err)
{
    err->class = ERR_RETRY;
    return -1;
}

int kept_read(struct bus *bus, const struct once *once, struct kept_note *ret, struct err *err)
{
    char subject[SUBJECT_MAX], api[SUBJECT_MAX + 64];
    struct bus_reply_header headers[] = {{"Nats-Sequence", NULL}, {"Nats-Time-Stamp", NULL}};
    const struct bus_exchange how = {.headers = headers, .n_headers = ARRAY_LEN(headers)};
    struct bytes reply;
    int64_t sequence = 0, seconds = 0;
    int32_t nanos = 0;

    *ret = (struct kept_note){0};
    put_subject(once, subject);
    snprintf(api, sizeof(api), "$JS.API.DIRECT.GET." KEPT_STREAM ".%s", subject);
    if (bus_exchange(bus, &(struct bus_message){.subject = api}, &how, once->request->arena, &reply,
                     err) < 0)
        return as_refusal(err);
    /* A subject without a message is answered by a status alone. */
    if (headers[0].value == NULL ||
        !view_to_i64(view_of(headers[0].value), 1, INT64_MAX, &sequence))
        return 0;
    if (rfc3339_parse(view_of(headers[1].value), &seconds, &nanos))
        ret->stored_us = seconds * 1000000 + nanos / 1000;
    ret->sequence = (uint64_t)sequence;
    ret->text = view_of_bytes(reply);
    return 0;
}

int kept_write(struct bus *bus, const struct once *once, struct view text, uint64_t *sequence,
               struct err *err)
{
    char subject[SUBJECT_MAX], expected[24];
    const struct bus_header headers[] = {{"Nats-Expected-Stream", KEPT_STREAM},
                                         {"Nats-Expected-Last-Subject-Sequence", expected}};
    const struct bus_message message = {.subject = subject,
                                        .payload = bytes_of(text),
                                        .headers = headers,
                                        .n_headers = FAULT("note-unfenced") ? 1 : 2};
    struct bus_ack ack;

    put_subject(once, subject);
    snprintf(expected, sizeof(expected), "%" PRIu64, *sequence);
    if (bus_publish(bus, &message, &ack, err) < 0)
        return as_refusal(err);
    *sequence = ack.sequence;
    return 0;
}
