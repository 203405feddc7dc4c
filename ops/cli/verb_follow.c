/* An entity or an event through the chain, one line a station:
 *
 *   received   the event's message in its stream, or its dead letter
 *   written    what the catalogue did with it, and the entity's revision
 *   outbox     the row of that change
 *   relayed    the message of that row in its stream
 *   indexed    the point in Qdrant, at which revision
 *
 * A risky update has more of them between written and outbox:
 *
 *   flagged    the copy for people, in ANIME_EVENTS
 *   webhook    the newest attempt to tell a receiver, where there is an event adapter
 *   decision   what a person, a newer value or time made of it
 *
 * A station that is not reached says what it waits for, one whose server is away that it is. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdarg.h>

#include "events/base/clock.h"
#include "ops/cli/follow.h"
#include "ops/cli/output.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

struct follow_options {
    int64_t wait_ms;
};

static const struct option options[] = {
    {"wait", OPT_DURATION, offsetof(struct follow_options, wait_ms), "0", 0, 3600000, NULL, "TIME",
     "Look again until it is at its end, at most this long."},
};

void reach(struct path *p, const char *name, enum follow_state state, int64_t at_us,
           const char *trace_id, const char *fmt, ...)
{
    struct station *s = &p->stations[p->n];
    va_list args;

    if (p->n == MAX_STATIONS)
        return;
    p->n++;
    *s = (struct station){.name = name, .state = state, .at_us = at_us};
    (void)snprintf(s->trace_id, sizeof(s->trace_id), "%s", trace_id);
    va_start(args, fmt);
    (void)vsnprintf(s->text, sizeof(s->text), fmt, args);
    va_end(args);
    text_plain(s->text, strlen(s->text));
}

int reach_away(struct path *p, const char *name, const struct err *err)
{
    const char *server = err->dependency == DEP_NATS     ? "NATS"
                         : err->dependency == DEP_QDRANT ? "Qdrant"
                                                         : "PostgreSQL";

    if (err->class != ERR_UNAVAILABLE)
        return -1;
    reach(p, name, UNKNOWN, 0, "", "%s does not answer [%s]", server, err->code);
    return 0;
}

/* By an entity's id the message tells which event it was. */
static void take_event(struct path *p, const struct chain_message *m)
{
    struct uuid event;

    if (m->found && uuid_parse(view_of(m->event_id), &event))
        p->event = event;
}

static int see_received(struct cli *cli, struct path *p, const struct chain_handled *handled,
                        struct err *err)
{
    struct chain_message m = {0}, dead = {0};

    if (handled->found) {
        if (chain_message(cli, "ANIME_EVENTS", handled->sequence, &m, err) < 0)
            return -1;
        if (m.found)
            reach(p, "received", DONE, m.stored_us, m.trace_id, "%s, ANIME_EVENTS %" PRIu64,
                  m.subject, m.sequence);
        else
            reach(p, "received", DONE, 0, "", "ANIME_EVENTS %" PRIu64 ", no longer kept",
                  handled->sequence);
        return 0;
    }
    if (chain_search(cli, "ANIME_EVENTS", p->event, FOLLOW_SEARCHED, &m, err) < 0 ||
        chain_search(cli, "ANIME_DLQ", p->event, FOLLOW_SEARCHED, &dead, err) < 0)
        return -1;
    take_event(p, dead.found ? &dead : &m);
    if (m.found)
        reach(p, "received", DONE, m.stored_us, m.trace_id, "%s, ANIME_EVENTS %" PRIu64, m.subject,
              m.sequence);
    if (dead.found)
        reach(p, "rejected", FAILED, dead.stored_us, dead.trace_id,
              "%s, ANIME_DLQ %" PRIu64 ": %s [%s]", dead.subject, dead.sequence, dead.reason,
              dead.code);
    else if (m.found && !p->pg_away)
        reach(p, "written", WAITING, 0, "", "the catalogue has not handled it yet");
    return 0;
}

static void see_written(struct path *p, const struct chain_handled *handled)
{
    const struct chain_entity *e = &p->entity;

    if (handled->found && p->review.found && strcmp(handled->outcome, "parked") == 0)
        follow_parked(p, handled);
    else if (handled->found && strcmp(handled->outcome, "applied") == 0)
        reach(p, "written", DONE, handled->handled_us, "", "%s \"%s\" revision %" PRId64 "%s",
              e->kind, e->title, handled->revision, e->deleted ? ", now deleted" : "");
    else if (handled->found && strcmp(handled->outcome, "unchanged") == 0)
        reach(p, "written", DONE, handled->handled_us, "",
              "changed nothing; %s \"%s\" stands at revision %" PRId64, e->kind, e->title,
              e->revision);
    else if (handled->found)
        reach(p, "written", WAITING, handled->handled_us, "", "%s: waits for %s", handled->outcome,
              strcmp(handled->outcome, "parked") == 0 ? "a person's decision"
                                                      : "its entity to appear");
    else if (e->found)
        reach(p, "written", DONE, 0, "", "%s \"%s\" revision %" PRId64 "%s", e->kind, e->title,
              e->revision, e->deleted ? ", deleted" : "");
}

static int see_relayed(struct cli *cli, struct path *p, struct err *err)
{
    struct chain_row rows[CHAIN_ROWS];
    size_t n = 0;
    const struct chain_row *row = NULL;

    if (chain_rows(cli, p->entity.id, rows, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n && !row; i++)
        if (strcmp(rows[i].stream, "ANIME_SYNC") == 0)
            row = &rows[i];
    if (!row) {
        reach(p, "outbox", DONE, 0, "", "no row kept: covered by its anime, or older than 48 h");
        return 0;
    }
    reach(p, "outbox", DONE, row->created_us, row->trace_id, "%s", row->subject);
    struct chain_message m = {0};
    if (p->nats_away) {
        reach(p, "relayed", UNKNOWN, 0, "", "NATS does not answer");
        return 0;
    }
    if (row->sequence && chain_message(cli, row->stream, row->sequence, &m, err) < 0)
        return -1;
    if (m.found)
        reach(p, "relayed", DONE, m.stored_us, m.trace_id, "%s %" PRIu64, row->stream, m.sequence);
    else
        reach(p, "relayed", WAITING, 0, "", "waits for the relay%s",
              row->batch ? ", its batch is open" : "");
    return 0;
}

static int see_indexed(struct cli *cli, struct path *p, struct err *err)
{
    struct chain_point point;

    if (chain_point(cli, p->entity.id, &point, err) < 0)
        return -1;
    if (!point.found)
        reach(p, "indexed", WAITING, 0, "", "no point in Qdrant yet");
    else if (point.rev < p->entity.revision)
        reach(p, "indexed", WAITING, 0, point.trace_id,
              "the point stands at revision %" PRId64 " of %" PRId64, point.rev,
              p->entity.revision);
    else
        reach(p, "indexed", DONE, 0, point.trace_id, "revision %" PRId64 "%s", point.rev,
              point.deleted                       ? ", as a tombstone"
              : strcmp(point.emb, "pending") == 0 ? ", vector pending"
                                                  : "");
    return 0;
}

/* Entity, event and what became of it, from PostgreSQL. */
static int see_records(struct cli *cli, struct uuid id, struct path *p,
                       struct chain_handled *handled, struct chain_waiting *waiting,
                       struct err *err)
{
    if (chain_entity(cli, id, &p->entity, err) < 0 ||
        chain_waiting(cli, p->entity.found ? p->entity.id : id, waiting, err) < 0)
        return -1;
    p->by_entity = p->entity.found;
    if (p->entity.found) {
        json_t *history = NULL;
        if (chain_history(cli, p->entity.id, &history, err) < 0)
            return -1;
        const char *last =
            json_string_value(json_object_get(json_array_get(history, 0), "eventId"));
        p->has_event = last && uuid_parse(view_of(last), &p->event);
        json_decref(history);
    } else if (waiting->found) {
        p->event = waiting->event;
    }
    if (p->has_event &&
        (follow_take_review(cli, p, err) < 0 || chain_handled(cli, p->event, handled, err) < 0))
        return -1;
    if (p->entity.found)
        return 0;
    if (p->review.found)
        return chain_entity(cli, p->review.anime, &p->entity, err);
    if (handled->found && !uuid_is_nil(handled->entity))
        return chain_entity(cli, handled->entity, &p->entity, err);
    return 0;
}

/* An older update of the entity may wait while the newest is at its end. */
static void see_waiting(struct path *p, const struct chain_waiting *waiting)
{
    char event[UUID_TEXT];

    if (!p->by_entity || !waiting->found ||
        (p->has_event && memcmp(&waiting->event, &p->event, sizeof(p->event)) == 0))
        return;
    uuid_format(waiting->event, event);
    reach(p, "waiting", WAITING, 0, "", "event %s is %s", event, waiting->outcome);
}

static int look(struct cli *cli, struct uuid id, struct path *p, struct err *err)
{
    struct chain_handled handled = {0};
    struct chain_waiting waiting = {0};
    struct err pg_err = ERR_INIT;

    *p = (struct path){.event = id, .has_event = true};
    if (see_records(cli, id, p, &handled, &waiting, &pg_err) < 0) {
        if (pg_err.class != ERR_UNAVAILABLE) {
            *err = pg_err;
            return -1;
        }
        p->pg_away = true;
    }
    if (p->has_event && see_received(cli, p, &handled, err) < 0) {
        if (reach_away(p, "received", err) < 0)
            return -1;
        p->nats_away = true;
    }
    if (p->pg_away)
        return reach_away(p, "written", &pg_err);
    see_written(p, &handled);
    if (follow_review(cli, p, err) < 0)
        return -1;
    see_waiting(p, &waiting);
    if (!p->entity.found)
        return 0;
    if (see_relayed(cli, p, err) < 0 && reach_away(p, "relayed", err) < 0)
        return -1;
    if (see_indexed(cli, p, err) < 0)
        return reach_away(p, "indexed", err);
    return 0;
}

static enum follow_state end_of(const struct path *p)
{
    enum follow_state state = p->n ? DONE : FAILED;

    for (size_t i = 0; i < p->n; i++)
        if (p->stations[i].state != DONE)
            state = p->stations[i].state;
    return state;
}

static bool all_seen(const struct path *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->stations[i].state == UNKNOWN)
            return false;
    return true;
}

static void show_json(const struct path *p)
{
    static const char *const states[] = {"done", "waiting", "failed", "unknown"};
    json_t *document = json_object(), *list = json_array();

    if (p->entity.found) {
        json_put(document, "kind", json_string(p->entity.kind));
        json_put(document, "id", json_uuid(p->entity.id));
        json_put(document, "title", json_string(p->entity.title));
        json_put(document, "revision", json_integer(p->entity.revision));
        json_put(document, "deleted", json_boolean(p->entity.deleted));
    }
    json_put(document, "eventId", p->has_event ? json_uuid(p->event) : NULL);
    for (size_t i = 0; i < p->n; i++) {
        const struct station *s = &p->stations[i];
        json_t *row = json_object();
        json_put(row, "station", json_string(s->name));
        json_put(row, "state", json_string(states[s->state]));
        json_put(row, "at_us", s->at_us ? json_integer(s->at_us) : NULL);
        json_put(row, "trace_id", *s->trace_id ? json_string(s->trace_id) : NULL);
        json_put(row, "text", json_string(s->text));
        json_array_append_new(list, row);
    }
    json_put(document, "state", json_string(states[end_of(p)]));
    json_put(document, "stations", list);
    print_json(document, true);
    json_decref(document);
}

/* Work is told in milliseconds; what waited, for a person say, in larger units. */
static void show_lapse(const struct cli *cli, int64_t us)
{
    char text[AGE_TEXT];

    if (us < 10000000)
        (void)snprintf(text, sizeof(text), "%.1f ms", (double)us / 1000);
    else
        age_text((double)us / 1e6, text);
    printf(" %s(+%s)%s", paint(cli->color, PAINT_DIM), text, paint_end(cli->color));
}

static void show(const struct cli *cli, const struct path *p)
{
    static const struct {
        const char *mark;
        enum paint paint;
    } looks[] = {{"ok", PAINT_GREEN}, {"..", PAINT_YELLOW}, {"!!", PAINT_RED}, {"??", PAINT_RED}};
    int64_t before_us = 0;

    if (cli->config.json) {
        show_json(p);
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct station *s = &p->stations[i];
        char time[TIME_TEXT] = "";
        if (s->at_us)
            time_text(s->at_us, time);
        printf("%s%s%s %-9s %-8s %s", paint(cli->color, looks[s->state].paint),
               looks[s->state].mark, paint_end(cli->color), s->name, time, s->text);
        if (s->at_us && before_us && s->at_us >= before_us)
            show_lapse(cli, s->at_us - before_us);
        if (*s->trace_id)
            printf(" %strace %s%s", paint(cli->color, PAINT_DIM), s->trace_id,
                   paint_end(cli->color));
        putchar('\n');
        if (s->at_us)
            before_us = s->at_us;
    }
}

static int run(struct cli *cli, struct err *err)
{
    const struct follow_options *o = cli->options;
    int64_t end = mono_ms() + o->wait_ms;
    struct path path;
    struct uuid id;

    if (!uuid_parse(view_of(cli->args[0]), &id))
        return cli_usage(err, "ID is the UUID of an entity or an event");
    for (;;) {
        arena_reset(cli->arena);
        if (look(cli, id, &path, err) < 0)
            return -1;
        if (end_of(&path) == DONE || (end_of(&path) == FAILED && path.n) || mono_ms() >= end ||
            !wait_ms(100))
            break;
    }
    if (path.n == 0)
        return err_set(err, ERR_REJECT, "not-found", "follow",
                       "nobody knows this id: no entity, no handled event, and not among the "
                       "newest %d messages",
                       FOLLOW_SEARCHED);
    show(cli, &path);
    if (!all_seen(&path))
        return CLI_UNREACHABLE;
    return end_of(&path) == DONE ? CLI_OK : CLI_FAILED;
}

const struct verb verb_follow = {
    .name = "follow",
    .args = "ID",
    .summary = "an entity or event through the chain, or where and why it stands",
    .details =
        "Looks into PostgreSQL, the streams and Qdrant; asks no worker. For an entity it "
        "shows its newest event;\nof a risky update the id of its review or decision is as "
        "good.\nExit code 0 when it is at its end, 1 when it waits or was "
        "rejected, 3 when\na server does not answer; what can be read is shown all the same.",
    .example = "echora follow 0190a8a0-0000-7000-8000-000000000001 --wait 10s",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct follow_options),
    .run = run,
};
