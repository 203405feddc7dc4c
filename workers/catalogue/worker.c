/* See worker.h. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/expire.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/review_chores.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/worker.h"

enum {
    FAILED_PAUSE_MS = 15 * 1000,
    SWEEP_BUSY_MS = 5000,
    SWEEP_EVERY_MS = 60 * 1000,
    EXPIRE_EVERY_MS = 60 * 1000,
    REVIEWS_EVERY_MS = 15 * 1000,
    MAINTAIN_EVERY_MS = 3600 * 1000,
};

static const struct option options[] = {
    {"risk-text-cut", OPT_INT, offsetof(struct catalogue_config, risk_text_cut), "50", 1, 100, NULL,
     "PERCENT", "A synopsis or background that loses more than this waits for a person."},
    {"risk-list-cut", OPT_INT, offsetof(struct catalogue_config, risk_list_cut), "50", 1, 100, NULL,
     "PERCENT", "A list that loses more than this waits for a person."},
    {"inbox-keep-days", OPT_INT, offsetof(struct catalogue_config, inbox_keep_days), "40", 8, 3650,
     NULL, "DAYS", "How long handled events are remembered (stream 7 days, dead letters 30)."},
    {"pending-keep", OPT_DURATION, offsetof(struct catalogue_config, pending_keep_ms), "7d", 100,
     INT64_C(30) * 86400 * 1000, NULL, "TIME",
     "How long an update waits for its entity before it becomes a dead letter."},
    {"review-remind", OPT_DURATION, offsetof(struct catalogue_config, review_remind_ms), "3d", 100,
     INT64_C(365) * 86400 * 1000, NULL, "TIME",
     "After this time a risky update that nobody has decided is announced once more."},
    {"review-expire", OPT_DURATION, offsetof(struct catalogue_config, review_expire_ms), "30d", 100,
     INT64_C(365) * 86400 * 1000, NULL, "TIME",
     "After this time a risky update that nobody has decided is discarded."},
};

static void handle(void *context, struct batch *batch)
{
    struct catalogue *c = context;
    writer_handle(&c->writer, batch);
}

static const struct consumer_spec consumers[] = {
    {.durable = "catalog-enriched",
     .subject = "anime.enriched",
     .handle = handle,
     .ack_wait_ms = 30000,
     .max_ack_pending = 4096},
    {.durable = "catalog-updated",
     .subject = "anime.updated",
     .handle = handle,
     .ack_wait_ms = 30000,
     .max_ack_pending = 4096},
    {.durable = "catalog-episode-aired",
     .subject = "anime.episode.aired",
     .handle = handle,
     .ack_wait_ms = 60000,
     .max_ack_pending = 4096},
    {.durable = "catalog-character-updated",
     .subject = "character.updated",
     .handle = handle,
     .ack_wait_ms = 30000,
     .max_ack_pending = 4096},
    {.durable = "catalog-episode-updated",
     .subject = "episode.updated",
     .handle = handle,
     .ack_wait_ms = 30000,
     .max_ack_pending = 4096},
};

static int open_lane(struct lane *lane, void **ret_context, struct err *err)
{
    const struct catalogue_config *config = lane_options(lane);
    struct catalogue *c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(err, ERR_FATAL, "no-memory", "open lane", "out of memory");
    c->pg = lane_pg(lane);
    c->bus = lane_bus(lane);
    c->config = config;
    struct risk_limits limits = {config->risk_text_cut, config->risk_list_cut};
    if (writer_init(&c->writer, c->pg, c->bus, &limits, err) < 0) {
        free(c);
        return -1;
    }
    review_chores_init(config->review_expire_ms);
    c->outbox = c->writer.outbox;
    *ret_context = c;
    return 0;
}

static void close_lane(void *context)
{
    struct catalogue *c = context;
    writer_deinit(&c->writer);
    free(c);
}

/* What has waited long enough for a person. Looks again at once while there is more. */
static int tend_reviews(struct catalogue *c, int64_t now, struct err *err)
{
    const struct catalogue_config *config = c->config;
    if (now < c->next_review_ms)
        return 0;
    c->next_review_ms = now + FAILED_PAUSE_MS;
    int expired = review_expire(&c->writer, config->review_expire_ms, err);
    int reminded = expired < 0 ? -1 : review_remind(&c->writer, config->review_remind_ms, err);
    if (reminded < 0 || review_gauge(c->pg, err) < 0)
        return -1;
    int64_t pause = config->review_remind_ms < config->review_expire_ms ? config->review_remind_ms
                                                                        : config->review_expire_ms;
    pause = pause / 4 < REVIEWS_EVERY_MS ? pause / 4 : REVIEWS_EVERY_MS;
    c->next_review_ms = expired + reminded > 0 ? now : now + pause;
    return 0;
}

/* A page at each tick, so that no event waits for a large table to be read, and a sweep that is
 * never done costs little. */
static int sweep_relations(struct catalogue *c, int64_t now, struct err *err)
{
    bool busy = c->swept_at != c->writer.committed;
    if (now < c->next_sweep_ms && !(busy && now >= c->next_busy_sweep_ms))
        return 0;
    c->next_sweep_ms = c->next_busy_sweep_ms = now + FAILED_PAUSE_MS;
    if (uuid_is_nil(c->swept_to))
        c->swept_at = c->writer.committed;
    struct pg_param behind = pg_uuid(c->swept_to);
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(c->pg, &sql_sweep_relations, &behind, 1, &r, err) < 0)
        return -1;
    bool more = PQntuples(r) > 0;
    c->swept_to = more ? pg_get_uuid(r, 0, 0) : (struct uuid){{0}};
    c->next_busy_sweep_ms = now + (more ? 0 : SWEEP_BUSY_MS);
    c->next_sweep_ms = now + (more ? 0 : SWEEP_EVERY_MS);
    return 0;
}

/* Chores of lane 0, each at its own pace: partitions of the inbox; updates and reviews
 * that waited too long; relations that two transactions brought past each other, often while events
 * come, seldom else. */
static int tick(void *context, struct err *err)
{
    struct catalogue *c = context;
    int64_t now = mono_ms();
    /* What fails (a lock that somebody holds) is tried again after a pause, not at every tick. */
    if (now >= c->next_maintenance_ms) {
        c->next_maintenance_ms = now + FAILED_PAUSE_MS;
        struct pg_param days = pg_i32((int32_t)c->config->inbox_keep_days);
        if (pg_query(c->pg, &sql_maintain_inbox, &days, 1, NULL, err) < 0)
            return -1;
        c->next_maintenance_ms = now + MAINTAIN_EVERY_MS;
    }
    /* What this lane refused is known at once, what others did within a minute. */
    if (now >= c->next_expiry_ms || c->expired_at != c->writer.refused) {
        c->next_expiry_ms = now + FAILED_PAUSE_MS;
        c->expired_at = c->writer.refused;
        int n = expire_pending(c->pg, c->bus, c->config->pending_keep_ms, err);
        if (n < 0)
            return -1;
        if (n > 0)
            log_info("waiting updates became dead letters", LF_I64("updates", n));
        int64_t pause = c->config->pending_keep_ms / 4;
        c->next_expiry_ms = n > 0 ? now : now + (pause < EXPIRE_EVERY_MS ? pause : EXPIRE_EVERY_MS);
    }
    if (tend_reviews(c, now, err) < 0)
        return -1;
    return sweep_relations(c, now, err);
}

const struct worker_spec catalogue_worker = {
    .name = "catalogue",
    .summary = "Commits what publishers say to PostgreSQL, with an outbox row for every change.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct catalogue_config),
    .consumers = consumers,
    .n_consumers = ARRAY_LEN(consumers),
    .requests = catalogue_requests,
    .n_requests = N_CATALOGUE_REQUESTS,
    .needs = 1u << DEP_POSTGRES,
    .open = open_lane,
    .close = close_lane,
    .tick = tick,
};
