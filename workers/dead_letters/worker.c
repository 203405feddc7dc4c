// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/worker.h"

#include <stddef.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/once.h"
#include "workers/dead_letters/audit.h"
#include "workers/dead_letters/gauges.h"
#include "workers/dead_letters/index.h"
#include "workers/dead_letters/reconcile.h"
#include "workers/dead_letters/requests.h"
#include "workers/dead_letters/runner.h"
#include "workers/dead_letters/sql.h"
#include "workers/dead_letters/sweeper.h"

/* A page of a replay: its letters, once as they came and once decoded. */
enum { SCRATCH_MAX = 96 << 20, FORGET_EVERY_MS = 60 * 1000 };

static const struct option options[] = {
    {.name = "reconcile-interval",
     .kind = OPT_DURATION,
     .offset = offsetof(struct dead_letters_config, reconcile_interval_ms),
     .default_text = "30s",
     .min = 0,
     .max = 7LL * 86400 * 1000,
     .placeholder = "TIME",
     .help = "How often consumers are looked at for events that the server gave up unnoticed; also "
             "at the start. 0 = never."},
};

static void close_context(void *context)
{
    struct dead_letters *dl = context;
    arena_free(dl->scratch);
    reconcile_free(dl->reconcile);
    gauges_free(dl->gauges);
    free(dl);
}

static int open_context(struct lane *lane, void **ret_context, struct err *err)
{
    struct dead_letters *dl = calloc(1, sizeof(*dl));
    if (dl == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "out of memory");
    *dl = (struct dead_letters){.lane = lane,
                                .pg = lane_pg(lane),
                                .bus = lane_bus(lane),
                                .scratch = arena_new(SCRATCH_MAX),
                                .reconcile = reconcile_new(),
                                .gauges = gauges_new()};
    if (dl->scratch == NULL || dl->reconcile == NULL || dl->gauges == NULL) {
        close_context(dl);
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "out of memory");
    }
    if (index_follow_stream(dl, err) < 0) {
        close_context(dl);
        return -1;
    }
    *ret_context = dl;
    return 0;
}

/* What is older than any letter, a part each time. */
static int forget_old(struct dead_letters *dl, struct err *err)
{
    static const struct pg_statement *const statements[] = {&sql_forget_items, &sql_forget_plans,
                                                            &sql_forget_fates};
    if (mono_ms() < dl->next_forget_ms)
        return 0;
    dl->next_forget_ms = mono_ms() + FORGET_EVERY_MS;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        if (pg_query(dl->pg, statements[i], NULL, 0, NULL, err) < 0)
            return -1;
    }
    return once_forget(dl->pg, err);
}

static int tick(void *context, struct err *err)
{
    struct dead_letters *dl = context;
    if (index_follow_stream(dl, err) < 0 || forget_old(dl, err) < 0 || runner_tick(dl, err) < 0)
        return -1;
    if (reconcile_tick(dl, err) < 0)
        return -1;
    return gauges_tick(dl, err);
}

static const struct consumer_spec consumers[] = {
    {.durable = INDEX_CONSUMER,
     .stream = "ANIME_DLQ",
     .filter = "anime.dlq.>",
     .raw = true,
     .parks = true,
     .handle = index_letters},
    {.durable = "dlq-audit",
     .stream = "AUDIT",
     .filter = "audit.dlq",
     .raw = true,
     .parks = true,
     .handle = audit_read},
    {.durable = "dlq-sweeper",
     .stream = "ANIME_ADVISORY",
     .filter = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*",
     .raw = true,
     .parks = true,
     .batch_max = 8, /* each event may be as large as a payload can be */
     .handle = sweep_advisories},
};

static const struct request_spec requests[] = {
    {.subject = "dlq.list", .answer = answer_list, .always = true, .json = true},
    {.subject = "dlq.show", .answer = answer_show, .always = true, .json = true},
    {.subject = "dlq.status", .answer = answer_status, .always = true, .json = true},
    {.subject = "dlq.replay", .answer = answer_replay, .json = true},
    {.subject = "dlq.discard", .answer = answer_discard, .json = true},
};

const struct worker_spec dead_letters_worker = {
    .name = "dead-letters",
    .summary = "Keeps the index of dead letters, answers dlq.*, replays, and sweeps up what nobody "
               "wrote a letter for.",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct dead_letters_config),
    .consumers = consumers,
    .n_consumers = ARRAY_LEN(consumers),
    .requests = requests,
    .n_requests = ARRAY_LEN(requests),
    .needs = 1u << DEP_POSTGRES,
    .bulk = true, /* a page of a replay is a thousand small writes */
    .open = open_context,
    .close = close_context,
    .tick = tick,
};
