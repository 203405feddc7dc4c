/* Mechanism: the newest batch of the database and the stream's tail, judged together. The stream
 * decides whose batch a number is: a small batch is published before its bounds are stored, and its
 * first message carries them. They are taken over from there when the database has not got them
 * yet, or has those of a relay whose own first message came too late. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/recover.h"

#include <inttypes.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/stream.h"
#include "outbox/bounds.h"
#include "outbox/relayed.h"
#include "outbox/resume.h"
#include "outbox_sql.h"

#define RUNBOOK "; see ops/runbooks/relay-refused.md"

/* Database and stream are those that the batches are of, or the lane is new and notes them. */
static int check_epoch(struct relay_lane *lane, struct pg *pg, const struct stream_state *state,
                       struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(lane->stream))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_epoch, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    bool noted = !pg_is_null(r, 0, 0);
    int64_t system = pg_get_i64(r, 0, 2);
    if (FAULT("epoch-unchecked"))
        return 0;
    if (noted && lane->batch.number > 0) {
        if (pg_get_i64(r, 0, 0) != system)
            return err_set(err, ERR_FATAL, "epoch-database", "resume relay",
                           "the batches of %s are of another PostgreSQL cluster" RUNBOOK,
                           lane->stream);
        if (!view_is(pg_get_text(r, 0, 1), state->created))
            return err_set(err, ERR_FATAL, "epoch-stream", "resume relay",
                           "stream %s was created anew since its batches were published" RUNBOOK,
                           lane->stream);
        return 0;
    }
    if (noted && pg_get_i64(r, 0, 0) == system && view_is(pg_get_text(r, 0, 1), state->created))
        return 0;
    /* A batch of no rows is a person's word that they belong together (ops.outbox_accept). */
    if (lane->batch.number > 0 && lane->batch.n_rows > 0)
        return err_set(err, ERR_FATAL, "epoch-database", "resume relay",
                       "%s has batches, but its epoch was never noted" RUNBOOK, lane->stream);
    const struct pg_param note[] = {pg_text(view_of(lane->stream)), pg_i64(system),
                                    pg_text(view_of(state->created))};
    return pg_query(pg, &sql_note_epoch, note, ARRAY_LEN(note), NULL, err);
}

struct tail {
    struct resume_facts facts;
    struct uuid event;
    bool has_event;
};

static int read_tail(struct relay_lane *lane, struct bus *bus, const struct stream_state *state,
                     struct tail *tail, struct err *err)
{
    const struct outbox_batch *b = &lane->batch;
    *tail = (struct tail){.facts = {.has_batch = b->number > 0,
                                    .batch = b->number,
                                    .n_rows = b->n_rows,
                                    .start_sequence = b->start_sequence,
                                    .last_sequence = state->last_sequence}};
    if (state->messages == 0)
        return 0;
    struct relayed m CLEANUP(relayed_deinit);
    struct resume_facts *f = &tail->facts;
    if (relayed_look(bus, lane->stream, state->last_sequence, &m, err) < 0)
        return -1;
    f->has_tail = m.kept;
    f->has_position = m.has_position;
    f->tail_batch = m.batch;
    f->tail_id = m.id;
    tail->has_event = uuid_parse(m.event_id, &tail->event);
    return 0;
}

/* The stream's message at the start of the batch is the batch's first: not one that somebody else
 * slipped in before it, which would count as a row that is not there. */
static int check_first(struct relay_lane *lane, struct pg *pg, struct bus *bus, struct err *err)
{
    const struct outbox_batch *b = &lane->batch;
    struct relayed m CLEANUP(relayed_deinit);
    struct uuid event;
    bool found = false;
    int64_t wanted = 0;
    if (relayed_look(bus, lane->stream, b->start_sequence + 1, &m, err) < 0)
        return -1;
    if (!m.kept)
        return 0;
    if (batch_nth(pg, lane->stream, b, 0, &found, &wanted, &event, err) < 0)
        return -1;
    if (!m.has_position || m.batch != b->number || !found || m.id != wanted)
        return err_set(err, ERR_FATAL, "epoch-foreign", "resume relay",
                       "%s: the message at the start of batch %" PRId64
                       " is not the relay's" RUNBOOK,
                       lane->stream, b->number);
    return 0;
}

static int refuse_row(const struct relay_lane *lane, const char *what, struct err *err)
{
    return err_set(err, ERR_FATAL, "epoch-row", "resume relay",
                   "%s: the row at the stream's last position %s" RUNBOOK, lane->stream, what);
}

/* Holds the tail against the rows, and finds the id that the stream has last. */
static int check_rows(struct relay_lane *lane, struct pg *pg, const struct tail *tail,
                      const struct resume *resume, struct err *err)
{
    const struct resume_facts *f = &tail->facts;
    struct uuid event = {{0}};
    bool found = false;
    int64_t id = 0;
    if (resume->check == RESUME_CHECK_NONE)
        return 0;
    if (resume->check == RESUME_CHECK_TAIL) {
        const struct pg_param params[] = {pg_text(view_of(lane->stream)),
                                          pg_i64((int64_t)f->last_sequence), pg_i64(f->tail_batch)};
        PGresult *r CLEANUP(pg_clearp) = NULL;
        if (pg_query(pg, &sql_marked, params, ARRAY_LEN(params), &r, err) < 0)
            return -1;
        if (pg_get_bool(r, 0, 0))
            return 0;
        id = f->tail_id;
        if (batch_row_event(pg, lane->stream, id, &found, &event, err) < 0)
            return -1;
    } else {
        if (batch_nth(pg, lane->stream, &lane->batch, resume->stored - 1, &found, &id, &event,
                      err) < 0)
            return -1;
        lane->after = id;
    }
    if (!found)
        return refuse_row(lane, "is missing", err);
    if (resume->check == RESUME_CHECK_NTH)
        return 0;
    if (id != f->tail_id)
        return refuse_row(lane, "is not the one that the number of messages tells", err);
    if (!tail->has_event || uuid_cmp(event, tail->event) != 0)
        return refuse_row(lane, "is of another event", err);
    return 0;
}

/* Are the rows of these bounds here, the first one under this event id? */
static int check_bounds(struct relay_lane *lane, struct pg *pg, const struct outbox_batch *b,
                        struct view event_id, struct err *err)
{
    struct uuid wanted, event;
    bool first = false, last = false;
    int64_t first_id = 0, last_id = 0;
    if (batch_nth(pg, lane->stream, b, b->n_rows - 1, &last, &last_id, &event, err) < 0 ||
        batch_nth(pg, lane->stream, b, 0, &first, &first_id, &event, err) < 0)
        return -1;
    if (!first || !last || first_id != b->first_id || last_id != b->last_id ||
        !uuid_parse(event_id, &wanted) || uuid_cmp(event, wanted) != 0)
        return err_set(err, ERR_FATAL, "epoch-database", "resume relay",
                       "%s: batch %" PRId64
                       " is in the stream, and its rows are not in the database" RUNBOOK,
                       lane->stream, b->number);
    return 0;
}

/* The message behind sequence `start` begins batch `number` and carries bounds: they are the
 * batch's. The lane's batch becomes it, in memory and in the database. */
static int adopt(struct relay_lane *lane, struct pg *pg, struct bus *bus, int64_t number,
                 uint64_t start, struct err *err)
{
    struct outbox_batch *b = &lane->batch;
    struct relayed m CLEANUP(relayed_deinit);
    if (relayed_look(bus, lane->stream, start + 1, &m, err) < 0)
        return -1;
    if (m.bounds.n == 0 || !m.has_position || m.batch != number || FAULT("told-bounds-ignored"))
        return 0;
    char stored[BOUNDS_MAX];
    const bool have = b->number == number;
    if (have && bounds_format(b, stored) && view_is(m.bounds, stored))
        return 0;
    const bool read = bounds_parse(m.bounds, b);
    if (buf_failed(&b->prev.text) || buf_failed(&b->cur.text))
        return err_set(err, ERR_RETRY, "no-memory", "resume relay", "the bounds do not fit");
    if (!read || b->first_id != m.id)
        return err_set(err, ERR_FATAL, "epoch-foreign", "resume relay",
                       "%s: message %" PRIu64 " carries bounds that no relay writes" RUNBOOK,
                       lane->stream, start + 1);
    b->number = number;
    b->start_sequence = start;
    b->closed = false;
    if (check_bounds(lane, pg, b, m.event_id, err) < 0 ||
        (have && batch_drop(pg, lane->stream, b, err) < 0))
        return -1;
    KILL_POINT("bounds-dropped");
    return batch_note(pg, lane->stream, b, err);
}

/* What the stream tells of batches that the database does not know, or knows otherwise. */
static int adopt_told(struct relay_lane *lane, struct pg *pg, struct bus *bus,
                      const struct stream_state *state, struct err *err)
{
    const struct outbox_batch *b = &lane->batch;
    if (b->number == 0)
        return 0;
    if (b->n_rows > 0 && state->last_sequence > b->start_sequence &&
        adopt(lane, pg, bus, b->number, b->start_sequence, err) < 0)
        return -1;
    const uint64_t end = b->start_sequence + (uint64_t)b->n_rows;
    if (state->last_sequence > end)
        return adopt(lane, pg, bus, b->number + 1, end, err);
    return 0;
}

int relay_lane_recover(struct relay_lane *lane, struct pg *pg, struct bus *bus, struct err *err)
{
    struct stream_state state;
    if (batch_newest(pg, lane->stream, &lane->batch, err) < 0 ||
        stream_state(bus, lane->stream, &state, err) < 0)
        return -1;
    /* A leader that has taken over may go on between the two looks; judged together they would say
     * that the stream holds more than the outbox. */
    const int64_t seen = lane->batch.number;
    if (batch_newest(pg, lane->stream, &lane->batch, err) < 0)
        return -1;
    if (lane->batch.number != seen)
        return err_set(err, ERR_RETRY, "race", "resume relay", "another relay opened a batch");
    if (check_epoch(lane, pg, &state, err) < 0 ||
        (lane->guarded && adopt_told(lane, pg, bus, &state, err) < 0))
        return -1;
    lane->stored = 0;
    lane->after = lane->batch.first_id - 1;
    lane->sequence = state.last_sequence;
    if (lane->guarded) {
        struct tail tail;
        struct resume resume;
        if (read_tail(lane, bus, &state, &tail, err) < 0 ||
            resume_decide(&tail.facts, &resume, err) < 0 ||
            check_rows(lane, pg, &tail, &resume, err) < 0 ||
            (resume.stored > 0 && check_first(lane, pg, bus, err) < 0))
            return -1;
        lane->stored = resume.stored;
        if (FAULT("tail-ignored"))
            lane->stored = 0, lane->after = lane->batch.first_id - 1;
        if (lane->pipe == NULL) {
            const struct pipeline_options options = {.stream = lane->stream};
            if (pipeline_new(&lane->pipe, bus, &options, err) < 0)
                return -1;
        }
        pipeline_start(lane->pipe, state.last_sequence);
    } else if (lane->batch.closed) {
        lane->stored = lane->batch.n_rows;
    }
    lane->passed = 0;
    if (lane->stored >= lane->batch.n_rows && batch_looked(pg, lane->stream, &lane->batch, err) < 0)
        return -1;
    memcpy(lane->created, state.created, sizeof(lane->created));
    lane->gone = false;
    lane->heard_ms = mono_ms();
    lane->recovered = true;
    metric_add(lane->metrics.recoveries, 1);
    return 0;
}
