/* What a lane has asked for and what has come: pull requests, one shared inbox, one queue per
 * consumer.
 *
 * nats.c's delivery thread puts each event into its queue and starts its progress reports at once,
 * so that events fetched ahead are kept alive while a handler works. One pull per consumer is open
 * at a time; the next is sent when all of it has come, before the batch is handled, so the broker
 * fills the queue meanwhile: a lane holds at most two batches. An event delivered before is a
 * suspect: it stops fetching in the whole process until it has been handled once, and sets its
 * consumer's next fetch to 1 (poison isolation).
 *
 * All functions are for the lane's own thread. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <nats/nats.h>

#include "events/pull.h"
#include "events/runtime.h"

/* One event in hand. */
struct held {
    struct lease lease;
    struct held *next;
    natsMsg *msg;
    struct delivery delivery; /* views point into msg */
    int64_t received_ms;
    bool suspect;          /* delivered before */
    bool alone;            /* handled in a batch of its own: a suspect, or held again and again */
    bool looked;           /* begun and retried are known */
    bool marked;           /* its handling is on record as begun */
    unsigned begun;        /* earlier handlings that began and never ended (suspect.h) */
    unsigned retried;      /* earlier handlings that ended with a retry, of those on record */
    bool parsed;           /* its headers could be read */
    bool letter_waits;     /* its dead letter could not be stored */
    bool going_on;         /* its handler's work goes on (VERDICT_LATER) */
    unsigned holds;        /* times a dependency's trouble held it back */
    unsigned failed_alone; /* of these in a row: alone, and others were done with since the last */
    uint64_t done_then;    /* binding->done when it was held last */
    int64_t not_before_ms; /* of an event that is held or delivered again and again */
    enum dependency stuck; /* on which the watch was told that it is stuck; DEP_NONE = it is not */
    int64_t until_ms;      /* then it goes back, whatever it waits for */
};

struct source {
    struct binding *binding;
    struct held *head, **end; /* end: where the next one is linked */
    unsigned n, n_suspects;
    unsigned credit; /* asked for and not come */
    uint64_t pull_id;
    int64_t heard_ms;        /* of the open pull */
    int64_t not_before_ms;   /* of the next pull */
    int64_t handle_after_ms; /* a peer asked for a pause (Retry-After) */
    unsigned silent;         /* pulls without any answer, in a row */
    unsigned refused;
    bool look;     /* ask the server whether the consumer is there */
    bool only_one; /* the lane was shut: one event is tried */
    struct ramp ramp;
};

struct intake {
    struct lane *lane;
    natsSubscription *sub;
    char inbox[BUS_INBOX_MAX];
    struct source *sources;
    size_t n;
    unsigned generation; /* of the connection that the pulls went over */
    uint64_t next_pull;
    size_t first; /* the source that is asked first and has the first turn: by chance, so that one
                   * whose events end the process again and again does not shut out the others */
    bool letters_stuck; /* the dead-letter stream's breaker is open; set by the loop */
    bool closing;       /* what comes now goes back at once */
    bool finished;      /* nats.c will call no more */
};

MUST_CHECK int intake_open(struct intake *in, struct lane *lane, struct err *err);
/* Gives back everything: what is queued, and what arrives while the subscription ends. nats.c calls
 * no more when it returns. */
void intake_close(struct intake *in);
/* Forgets pulls of a former connection and pulls that fell silent; marks consumers to look at. */
void intake_review(struct intake *in, int64_t now_ms);
/* Sends the pulls that are wanted. */
void intake_pull(struct intake *in, int64_t now_ms);
/* Takes up to max events that may share a batch, or up to max of those that may not (and whose time
 * has come); going_on: only those whose handler's work goes on. In the order of arrival. While
 * letters are stuck, not those that wait to store one. */
size_t intake_take(struct intake *in, struct source *s, bool alone, bool going_on, int64_t now_ms,
                   struct held *ret[], size_t max);
/* When the next event has ended its pause, after now and at most latest. */
int64_t intake_next_ms(struct intake *in, int64_t now_ms, int64_t latest_ms);
/* Back to the front of the queue, in this order. */
void intake_put_back(struct intake *in, struct source *s, struct held *const held[], size_t n);
/* Takes one event whose time in hand is over; NULL when there is none. INT64_MAX takes any. */
struct held *intake_take_over(struct intake *in, struct source *s, int64_t now_ms);
/* Takes one event whose dead letter waits to be stored. */
struct held *intake_take_letter(struct intake *in, struct source *s);
/* The event has been handled alone and the process lives: it stops fetching no longer. In hand, not
 * queued. */
void intake_clear_suspect(struct intake *in, struct held *h);
/* Ends progress and frees. The event must have been settled. */
void intake_release(struct intake *in, struct held *h);
