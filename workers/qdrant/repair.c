// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/repair.h"

#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/control.h"
#include "events/log.h"
#include "events/metrics.h"
#include "workers/qdrant/sync.h"

/* A pass whose worker says nothing for so long is taken up by another. */
#define SILENT_MS 30000
#define SAVE_MS 5000
#define LOOK_MOST_MS 30000
#define LOOK_LEAST_MS 1000
#define OWED_PAUSE_MS 5000
#define BLOCKED_MS 600000

enum { KEY_MAX = 200, BODY_MAX = 256 };

/* What the bucket says of the newest pass. */
struct pass {
    int64_t started_s; /* 0 = there was none */
    bool done;
    enum doc_kind kind;
    struct id_range rest;
    uint64_t sequence; /* of the key, for the next one who writes it */
    int64_t written_us;
};

struct repair {
    struct repair_settings set;
    char key[KEY_MAX];
    bool mine;
    struct pass pass;
    struct drift total;
    int64_t next_look_ms, next_owed_ms, saved_ms;
};

static const struct metric_def passes_def = {"echora_repair_passes_total", METRIC_COUNTER,
                                             "Passes of drift repair that this process ended.", "",
                                             NULL};
static const struct metric_def enqueued_def = {"echora_repair_enqueued_total", METRIC_COUNTER,
                                               "Entities that scheduled repair sent to be synced.",
                                               "", NULL};

static const struct metric_def drift_def = {
    "echora_repair_drift_total", METRIC_COUNTER,
    "What drift repair found: entities missing or stale in the index, surplus there, or waiting "
    "for their vector (pending).",
    "drift", NULL};

/* Called with nothing too, so that the series are there before the first find. */
static void count_drift(const struct drift *found)
{
    const struct {
        const char *name;
        int64_t n;
    } kinds[] = {{"missing", found->missing},
                 {"stale", found->stale},
                 {"surplus", found->surplus},
                 {"pending", found->pending}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        metric_add(metric_series(&drift_def, (const char *[]){kinds[i].name}), (double)kinds[i].n);
    metric_add(metric_series(&enqueued_def, NULL), (double)found->enqueued);
}

struct repair *repair_new(const struct repair_settings *settings)
{
    struct repair *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->set = *settings;
    count_drift(&(struct drift){0});
    metric_add(metric_series(&passes_def, NULL), 0);
    snprintf(r->key, sizeof(r->key), "repair.%s", qdrant_collection(settings->qdrant));
    return r;
}

struct repair *repair_free(struct repair *r)
{
    free(r);
    return NULL;
}

static int read_pass(struct repair *r, struct err *err)
{
    struct control_value value;
    if (control_read(r->set.source.bus, r->key, &value, err) < 0)
        return -1;
    json_t *json = value.found ? json_loads(value.text, 0, NULL) : NULL;
    const char *from = json_string_value(json_object_get(json, "from"));
    struct pass *p = &r->pass;
    *p = (struct pass){.sequence = value.sequence, .written_us = value.since_us};
    p->started_s = json_integer_value(json_object_get(json, "started"));
    p->done = !json_is_false(json_object_get(json, "done"));
    p->kind = doc_kind_of(view_of(json_string_value(json_object_get(json, "kind"))));
    if (p->kind == N_DOC_KINDS)
        p->kind = DOC_ANIME;
    p->rest.has_from = from && uuid_parse(view_of(from), &p->rest.from);
    json_decref(json);
    return 0;
}

/* r->mine: whether this worker wrote it. Another one may have been quicker; without a bucket, or
 * without the right to write to it, nobody repairs, and the index is served all the same. */
static void write_pass(struct repair *r)
{
    char text[BODY_MAX], from[UUID_TEXT] = "";
    struct pass *p = &r->pass;
    struct err e = ERR_INIT;
    if (p->rest.has_from)
        uuid_format(p->rest.from, from);
    snprintf(text, sizeof(text),
             "{\"started\":%lld,\"done\":%s,\"kind\":\"%s\",\"from\":\"%s\",\"enqueued\":%lld}",
             (long long)p->started_s, p->done ? "true" : "false", doc_kind_name(p->kind), from,
             (long long)r->total.enqueued);
    r->mine = control_write(r->set.source.bus, r->key, text, &p->sequence, &e) == 0;
    r->saved_ms = mono_ms();
    if (r->mine || strcmp(e.code, "nats-10071") == 0)
        return;
    r->next_look_ms = r->next_owed_ms = mono_ms() + BLOCKED_MS;
    log_warn("repair can't note how far it is, so it rests for 10 minutes", LF_STR("key", r->key),
             LF_STR("code", e.code), LF_STR("reason", e.text));
}

/* Whether points wait for vectors that the provider would make now. */
static int vectors_can_be_made(struct repair *r, bool *ret, struct err *err)
{
    static const char body[] =
        "{\"limit\":1,\"with_payload\":false,\"with_vector\":false,\"filter\":"
        "{\"must\":[{\"key\":\"emb\",\"match\":{\"value\":\"" EMB_PENDING "\"}}]}}";
    json_t *result = NULL;
    *ret = false;
    if (!atomic_load(r->set.owed) || mono_ms() < r->next_owed_ms)
        return 0;
    r->next_owed_ms = mono_ms() + OWED_PAUSE_MS;
    if (!embedder_answers(r->set.embedder))
        return 0;
    atomic_store(r->set.owed, false); /* what fails from now on says so again */
    if (qdrant_scroll(r->set.qdrant, view_of(body), &result, err) < 0) {
        atomic_store(r->set.owed, true);
        return -1;
    }
    *ret = json_array_size(json_object_get(result, "points")) > 0;
    sync_tell_owed(*ret);
    json_decref(result);
    return 0;
}

static void start(struct repair *r, bool anew, const char *why)
{
    const struct pass before = r->pass;
    r->total = (struct drift){0};
    if (anew)
        r->pass = (struct pass){.started_s = wall_us() / 1000000, .sequence = before.sequence};
    write_pass(r);
    if (r->mine)
        log_info("repair begins", LF_STR("collection", qdrant_collection(r->set.qdrant)),
                 LF_STR("reason", why), LF_STR("kind", doc_kind_name(r->pass.kind)));
}

static int64_t look_pause(const struct repair *r)
{
    const int64_t pause = r->set.interval_ms / 10;
    return pause < LOOK_LEAST_MS ? LOOK_LEAST_MS : pause > LOOK_MOST_MS ? LOOK_MOST_MS : pause;
}

/* Whether it is time for a pass, and whether this worker may do it. */
static int look(struct repair *r, struct err *err)
{
    const int64_t now_us = wall_us();
    bool vectors = false;
    if (vectors_can_be_made(r, &vectors, err) < 0)
        return -1;
    if (!vectors && mono_ms() < r->next_look_ms)
        return 0;
    r->next_look_ms = mono_ms() + look_pause(r);
    if (read_pass(r, err) < 0)
        return -1;
    const struct pass *p = &r->pass;
    if (p->started_s == 0) { /* the first pass comes one interval after the first start */
        r->pass.started_s = now_us / 1000000;
        write_pass(r);
        r->mine = false;
    } else if (!p->done) {
        if (now_us - p->written_us > SILENT_MS * 1000 || FAULT("repair-unshared"))
            start(r, false, "taken up");
    } else if (vectors) {
        start(r, true, "vectors are owed");
    } else if (now_us / 1000 - p->started_s * 1000 >= r->set.interval_ms) {
        start(r, true, "interval");
    }
    return 0;
}

static void finish(struct repair *r)
{
    const struct drift *t = &r->total;
    r->pass.done = true;
    metric_add(metric_series(&passes_def, NULL), 1);
    log_info("repair ends", LF_STR("collection", qdrant_collection(r->set.qdrant)),
             LF_I64("compared", t->compared), LF_I64("missing", t->missing),
             LF_I64("stale", t->stale), LF_I64("surplus", t->surplus),
             LF_I64("pending", t->pending), LF_I64("enqueued", t->enqueued));
    write_pass(r);
    r->mine = false;
}

static int go_on(struct repair *r, struct err *err)
{
    const struct reconcile job = {
        .source = r->set.source, .qdrant = r->set.qdrant, .arena = r->set.arena};
    struct pass *p = &r->pass;
    struct drift drift = {0};
    p->rest.limit = r->set.rate;
    if (reconcile_kind(&job, p->kind, &p->rest, true, &drift, err) < 0)
        return -1;
    KILL_POINT("repair-page");
    drift_add(&r->total, &drift);
    count_drift(&drift);
    p->rest = (struct id_range){.has_from = drift.more, .from = drift.next};
    if (!drift.more && ++p->kind == N_DOC_KINDS) {
        p->kind = DOC_ANIME;
        finish(r);
    } else if (mono_ms() - r->saved_ms >= SAVE_MS) {
        write_pass(r);
    }
    return 0;
}

int repair_step(struct repair *r, struct err *err)
{
    if (r->set.interval_ms == 0)
        return 0;
    return r->mine ? go_on(r, err) : look(r, err);
}
