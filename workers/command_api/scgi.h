/* The reader of SCGI requests: a netstring of NAME NUL VALUE NUL pairs, behind it the body.
 *
 * Pure over a buffer that grows as bytes come in: it never reads behind what it is given, never
 * allocates, and every size is checked before it is used. nginx has parsed HTTP; this reader trusts
 * none of it all the same. Views point into the buffer. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

#define SCGI_HEAD_MAX (16u << 10) /* bytes of HTTP field names and values together */
#define SCGI_FIELDS_MAX 64        /* HTTP fields */
#define SCGI_OWN_MAX 24           /* variables of the gateway beside them */
/* Longest netstring: the head, the "HTTP_" and NUL bytes of its fields, the gateway's variables. */
#define SCGI_NETSTRING_MAX (24u << 10)

enum scgi_result {
    SCGI_MORE,      /* nothing wrong so far */
    SCGI_DONE,      /* the head is whole */
    SCGI_BAD,       /* no SCGI, or a field that HTTP does not allow */
    SCGI_TOO_LARGE, /* more bytes or fields than the limits */
};

struct scgi_field {
    struct view name, value; /* "HTTP_IDEMPOTENCY_KEY", "REQUEST_URI", ... */
};

struct scgi_head {
    struct scgi_field fields[SCGI_FIELDS_MAX + SCGI_OWN_MAX];
    size_t n;
    size_t size; /* bytes of the netstring with length and comma: there the body begins */
    int64_t content_length; /* BODY_LENGTH when the gateway says that, else CONTENT_LENGTH */
};

/* *ret: with SCGI_BAD and SCGI_TOO_LARGE the fields in front of the fault, for who has to say so;
 * it must be zeroed before the first call. Values hold no control characters but tabs; names are
 * [A-Z0-9_]+; CONTENT_LENGTH comes first, SCGI is 1, no variable of the gateway comes twice.
 * BODY_LENGTH is there for nginx, which puts into CONTENT_LENGTH only what of a body it has already
 * when it does not wait for all of it. */
enum scgi_result scgi_read(struct view in, struct scgi_head *ret);
/* The value of the only field of that name: empty p when there is none. False: it comes twice. */
MUST_CHECK bool scgi_only(const struct scgi_head *head, const char *name, struct view *ret);
/* A variable of the gateway; empty p when there is none. */
struct view scgi_variable(const struct scgi_head *head, const char *name);
