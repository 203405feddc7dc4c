/* Who killed the process: evidence that outlives it, in the stream WORKER_SUSPECTS.
 *
 * From its third delivery on (RECORD_FROM) an event is handled alone in its process, and between
 * two marks: before it is looked at, the broker has stored "one more handling has begun"; when the
 * handling has ended, whatever its verdict, "none is open". What a process leaves behind when it
 * dies in between is the count of handlings that began and never ended. An event whose count is
 * CRASH_HANDLINGS is a crasher and not handled again. Events that were in hand beside it have no
 * mark, however often they are delivered; and the marks say how many of the deliveries were tries
 * that ended with a retry, so that those beside a crasher have theirs left.
 *
 * One subject for each event, suspect.<consumer>.<stream sequence>; the stream keeps the newest
 * message of each. Where nothing can be stored or read, work goes on without marks, the log says
 * so once a minute, and CRASH_LAST_RESORT (verdict.h) is left. Deliveries 1 and 2 cost nothing. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/intake.h"
#include "events/verdict.h"

#define SUSPECT_STREAM "WORKER_SUSPECTS"
#define SUSPECT_SUBJECT_MAX 160
#define SUSPECT_TEXT_MAX 512

/* A message of the stream. */
struct suspect_mark {
    unsigned begun;           /* handlings that began and never ended */
    unsigned retried;         /* handlings that ended with a retry, since delivery RECORD_FROM */
    int64_t stream_created_s; /* of the event's stream: one made anew counts from 1 again */
    bool done;                /* the newest handling ended with an ack */
    unsigned deliveries;      /* of the newest handling; the rest is for people */
    const char *worker;
    int64_t time_us;
};

/* Pure. */
void suspect_subject(char out[static SUSPECT_SUBJECT_MAX], const char *durable, uint64_t sequence);
/* JSON; returns its length. */
size_t suspect_format(const struct suspect_mark *mark, char out[static SUSPECT_TEXT_MAX]);
/* Fills all but worker; 0 when the text is no mark, or of another stream. */
void suspect_parse(struct view text, int64_t stream_created_s, struct suspect_mark *ret);

enum suspicion {
    SUSPECT_HANDLE, /* its handling has begun; marked where that could be stored */
    SUSPECT_CRASHER,
    SUSPECT_LATER, /* nats-server is away, nothing can be known or settled now */
};
/* Before anything of the event is looked at, in the process that handles it alone. *ret_reason says
 * why it is not handled. */
enum suspicion suspect_begin(struct lane *lane, const struct binding *b, struct held *h,
                             struct err *ret_reason);
/* Its handling has ended, and this comes of it; does nothing when no mark was made. */
void suspect_end(struct lane *lane, const struct binding *b, struct held *h,
                 enum settle_action action);
/* Before suspect_end: deliveries of the event that the record shows were no tries of its own, but
 * crashes of others, outages, ends of processes. They don't count toward give-up-at. */
unsigned suspect_no_tries(const struct held *h);
/* Says in the log what mends it when the stream can't be read. */
void suspect_check(struct lane *lane);
