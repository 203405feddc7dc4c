/* See expire.h. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <stdio.h>

#include "contracts/json.h"
#include "contracts/registry.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/deadletter.h"
#include "events/stream.h"
#include "workers/catalogue/expire.h"
#include "workers/catalogue/sql.h"

enum { PAGE = 64, ARENA_CAP = 64 << 20, ARRAY_BYTES = 1 << 20 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "expire waiting updates", "out of memory");
}

/* The headers that the update came with. False when memory is out. */
static bool headers_of(struct view json, struct arena *arena, struct dead_letter *facts)
{
    json_error_t why = {0};
    json_auto_t *pairs = json_loadb(json.p, json.n, 0, &why);
    size_t n = json_array_size(pairs), i;
    struct bus_header *headers = arena_array(arena, n, sizeof(*headers));
    json_t *pair;
    if ((n && !headers) || (!pairs && json_no_memory(&why)))
        return false;
    json_array_foreach(pairs, i, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));
        const char *value = json_string_value(json_array_get(pair, 1));
        if (!name || !value)
            continue;
        struct bus_header *h = &headers[facts->n_original++];
        *h = (struct bus_header){arena_strdup(arena, view_of(name)),
                                 arena_strdup(arena, view_of(value))};
        if (!h->name || !h->value)
            return false;
        int64_t hop;
        if (strcmp(name, "Echora-Replay-Hop") == 0 && view_to_i64(view_of(value), 0, 1000, &hop))
            facts->hop = (unsigned)hop;
    }
    facts->original = headers;
    return true;
}

static int build(const PGresult *r, int row, const char *stream, int64_t created_s,
                 struct arena *arena, struct bus_message *ret, struct err *err)
{
    char *entity = arena_alloc(arena, UUID_TEXT);
    bool refused = !pg_is_null(r, row, 9);
    struct dead_letter facts = {
        .stream = stream,
        .stream_created_s = created_s,
        .consumer = arena_strdup(arena, pg_get_text(r, row, 0)),
        .subject = arena_strdup(arena, pg_get_text(r, row, 1)),
        .sequence = (uint64_t)pg_get_i64(r, row, 4),
        .deliveries = 1,
        .class = refused ? "reject" : "expired",
        .code = refused ? arena_strdup(arena, pg_get_text(r, row, 9)) : "unknown-entity",
        .reason = refused ? arena_strdup(arena, pg_get_text(r, row, 10))
                          : "the entity did not appear while the update waited",
        .first_seen_us = pg_get_timestamp_us(r, row, 5),
        .failed_at_us = wall_us(),
        .worker = "echora-catalogue",
        .payload = pg_get_bytea(r, row, 3),
    };
    if (!entity || !facts.consumer || !facts.subject || !facts.code || !facts.reason ||
        !headers_of(pg_get_text(r, row, 2), arena, &facts))
        return no_memory(err);
    uuid_format(pg_get_uuid(r, row, 8), entity);
    facts.entity = view_of(entity);
    return dead_letter_build(&facts, arena, ret, err);
}

/* Publishes them all; appends what the broker has stored. */
static int publish(struct bus *bus, const PGresult *r, struct arena *arena,
                   struct pg_array *consumers, struct pg_array *ids, struct err *err)
{
    const char *stream = registry_must("anime.updated")->stream->name;
    struct stream_state state;
    int64_t created_s;
    int32_t nanos;
    if (stream_state(bus, stream, &state, err) < 0)
        return -1;
    if (!rfc3339_parse(view_of(state.created), &created_s, &nanos))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", "expire waiting updates",
                           "stream info without its creation time");
    struct bus_message messages[PAGE];
    struct bus_ack acks[PAGE];
    struct err errs[PAGE];
    int n = PQntuples(r) < PAGE ? PQntuples(r) : PAGE;
    for (int i = 0; i < n; i++)
        if (build(r, i, stream, created_s, arena, &messages[i], err) < 0)
            return -1;
    if (bus_publish_many(bus, messages, (size_t)n, acks, errs, err) < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        if (errs[i].class != ERR_NONE) {
            *err = errs[i];
            err->class = ERR_RETRY; /* a full ANIME_DLQ is no reason to stop fetching */
            continue;
        }
        pg_array_text(consumers, pg_get_text(r, i, 0));
        pg_array_uuid(ids, pg_get_uuid(r, i, 6));
    }
    return ids->n > 0 ? 0 : -1;
}

static int expire_page(struct pg *pg, struct bus *bus, int64_t keep_ms, struct arena *arena,
                       struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param keep = pg_i64(keep_ms);
    if (pg_query(pg, &sql_refused_pending, NULL, 0, &r, err) < 0)
        return -1;
    if (PQntuples(r) == 0) {
        pg_clearp(&r);
        if (pg_query(pg, &sql_expired_pending, &keep, 1, &r, err) < 0)
            return -1;
    }
    if (PQntuples(r) == 0)
        return 0;
    CLEANUP(pg_array_deinit) struct pg_array consumers;
    CLEANUP(pg_array_deinit) struct pg_array ids;
    pg_array_init(&consumers, PG_TEXTS, ARRAY_BYTES);
    pg_array_init(&ids, PG_UUIDS, ARRAY_BYTES);
    KILL_POINT("before-pending-letters");
    if (publish(bus, r, arena, &consumers, &ids, err) < 0)
        return -1;
    KILL_POINT("before-forget-pending");
    struct pg_param params[] = {pg_array_param(&consumers), pg_array_param(&ids)};
    return pg_query(pg, &sql_forget_pending, params, 2, NULL, err) < 0 ? -1 : ids.n;
}

int expire_pending(struct pg *pg, struct bus *bus, int64_t keep_ms, struct err *err)
{
    CLEANUP(arena_freep) struct arena *arena = arena_new(ARENA_CAP);
    if (!arena)
        return no_memory(err);
    if (pg_begin(pg, err) < 0)
        return -1;
    int n = expire_page(pg, bus, keep_ms, arena, err);
    if (n >= 0 && pg_commit(pg, err) == 0)
        return n;
    pg_rollback(pg);
    return -1;
}
