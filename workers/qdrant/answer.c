// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/answer.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/kept.h"
#include "events/log.h"

/* A run whose worker says nothing for so long is taken up by another. */
#define SILENT_MS 30000
#define SAVE_MS 5000
#define LOOK_MS 250

/* Ids of one page: a moment's work, and what may be repeated. */
enum { PAGE = 2000, NOTE_MAX = 640, DIGEST_MAX = 2 * SHA256_SIZE + 1 };

typedef Echora__Catalog__V1__CatalogReconcileRequest ReconcileRequest;
typedef Echora__Catalog__V1__CatalogReconcileReply ReconcileReply;

/* Open: nobody is at work on it. */
enum run_state { RUN_OPEN, RUN_RUNNING, RUN_DONE };
static const char *const state_names[] = {"open", "running", "done"};

struct run {
    const struct answering *a;
    struct once once;
    char digest[DIGEST_MAX];
    struct id_range asked;
    enum doc_kind end;
    bool repair;
    int64_t rate;
    /* What the note says. */
    uint64_t sequence;
    int64_t written_us;
    int64_t token;
    enum run_state state;
    enum doc_kind kind;
    struct id_range rest; /* limit: what is left of it */
    struct drift total;
    int64_t saved_ms;
    struct err lost; /* why the note could not be written */
};

/* --- the note --- */

static void format(const struct run *r, char out[static NOTE_MAX])
{
    char from[UUID_TEXT] = "";
    const struct drift *t = &r->total;

    if (r->rest.has_from)
        uuid_format(r->rest.from, from);
    snprintf(out, NOTE_MAX,
             "{\"request\":\"%s\",\"token\":%" PRId64 ",\"state\":\"%s\",\"kind\":\"%s\","
             "\"from\":\"%s\",\"left\":%" PRId64 ",\"compared\":%" PRId64 ",\"missing\":%" PRId64
             ",\"stale\":%" PRId64 ",\"surplus\":%" PRId64 ",\"pending\":%" PRId64
             ",\"enqueued\":%" PRId64 "}",
             r->digest, r->token, state_names[r->state],
             r->kind < N_DOC_KINDS ? doc_kind_name(r->kind) : "", from, r->rest.limit, t->compared,
             t->missing, t->stale, t->surplus, t->pending, t->enqueued);
}

static int64_t number(const json_t *json, const char *name)
{
    return json_integer_value(json_object_get(json, name));
}

static bool is(const json_t *json, const char *name, const char *text)
{
    const char *have = json_string_value(json_object_get(json, name));

    return have != NULL && strcmp(have, text) == 0;
}

/* The run as the note has it. False: it holds nothing that one can go on from. */
static bool parse(struct run *r, const struct kept_note *note, bool *ret_same)
{
    json_t *json = note->text.n > 0 ? json_loadb(note->text.p, note->text.n, 0, NULL) : NULL;
    const char *from = json_string_value(json_object_get(json, "from"));
    const char *kind = json_string_value(json_object_get(json, "kind"));
    const bool good = number(json, "token") > 0 &&
                      (is(json, "state", "done") || doc_kind_of(view_of(kind)) < N_DOC_KINDS);

    r->sequence = note->sequence;
    r->written_us = note->stored_us;
    *ret_same = is(json, "request", r->digest);
    if (good) {
        r->token = number(json, "token");
        r->state = is(json, "state", "done")      ? RUN_DONE
                   : is(json, "state", "running") ? RUN_RUNNING
                                                  : RUN_OPEN;
        r->kind = doc_kind_of(view_of(kind));
        r->rest.has_from = from != NULL && uuid_parse(view_of(from), &r->rest.from);
        r->rest.limit = number(json, "left");
        r->total = (struct drift){.compared = number(json, "compared"),
                                  .missing = number(json, "missing"),
                                  .stale = number(json, "stale"),
                                  .surplus = number(json, "surplus"),
                                  .pending = number(json, "pending"),
                                  .enqueued = number(json, "enqueued")};
    }
    json_decref(json);
    return good;
}

static int save(struct run *r, struct err *err)
{
    char text[NOTE_MAX];

    if (!r->once.asked)
        return 0;
    format(r, text);
    r->saved_ms = mono_ms();
    if (kept_write(r->a->source.bus, &r->once, view_of(text), &r->sequence, err) == 0)
        return 0;
    if (strcmp(err->code, "nats-10071") == 0)
        return err_set(err, ERR_RETRY, "stale-token", "note run",
                       "another worker has taken the run over");
    return -1;
}

/* --- whose run it is --- */

/* The note stands as it was read: does this worker go on with it? *ret_wait: another one is at it.
 */
static int take(struct run *r, bool same, bool *ret_wait, struct err *err)
{
    const int64_t silent_us = wall_us() - r->written_us;
    const bool higher = r->once.token > r->token;

    *ret_wait = false;
    if (once_check(&r->once, same, r->token, err) < 0)
        return -1;
    if (higher)
        r->token = r->once.token;
    if (r->state == RUN_DONE)
        return higher ? save(r, err) : 0;
    if (r->state == RUN_RUNNING && silent_us < SILENT_MS * 1000 && !FAULT("run-unshared")) {
        *ret_wait = true;
        return 0;
    }
    r->state = RUN_RUNNING;
    if (save(r, err) < 0)
        return -1;
    log_info("reconciling is taken up", LF_STR("kind", doc_kind_name(r->kind)),
             LF_I64("compared", r->total.compared), LF_I64("silent_ms", silent_us / 1000));
    return 0;
}

static void begin(struct run *r, enum doc_kind first)
{
    r->token = r->once.token;
    r->state = RUN_RUNNING;
    r->kind = first;
    r->rest = r->asked;
    r->total = (struct drift){0};
}

/* Waits for whoever is at it. */
static int claim(struct run *r, struct err *err)
{
    const enum doc_kind first = r->kind;

    begin(r, first);
    while (r->once.asked) {
        struct kept_note note;
        struct err e = ERR_INIT;
        bool same = false, wait = false;

        if (kept_read(r->a->source.bus, &r->once, &note, err) < 0)
            return -1;
        const bool known = parse(r, &note, &same);
        if (!known)
            begin(r, first);
        if ((known ? take(r, same, &wait, &e) : save(r, &e)) == 0 && !wait)
            break;
        /* Another one was quicker, or what was read is what a replica of the stream still had. */
        if (!wait && (strcmp(e.code, "stale-token") != 0 || r->once.token < r->token)) {
            *err = e;
            return -1;
        }
        if (!lane_pause(r->a->lane, LOOK_MS))
            return err_set(err, ERR_UNAVAILABLE, "stopping", "reconcile", "the worker is stopping");
    }
    KILL_POINT("reconcile-claimed");
    return 0;
}

/* --- the work --- */

/* Also what tells others that this worker lives, while a slow rate makes a page last. */
static bool pause_run(void *ctx, int64_t ms)
{
    struct run *r = ctx;

    if (r->once.asked && mono_ms() - r->saved_ms >= SAVE_MS && save(r, &r->lost) < 0)
        return false;
    return lane_pause(r->a->lane, ms);
}

static void advance(struct run *r, const struct id_range *page, const struct drift *drift)
{
    const bool spent = r->asked.limit > 0 && r->rest.limit == page->limit;

    drift_add(&r->total, drift);
    if (r->asked.limit > 0)
        r->rest.limit -= page->limit;
    r->rest.has_from = drift->more || r->asked.has_from;
    r->rest.from = drift->more ? drift->next : r->asked.from;
    if (drift->more && !spent)
        return;
    if (!drift->more)
        r->kind++;
    if (r->kind == r->end || spent) {
        r->rest.has_from = drift->more; /* the reply's next_id */
        r->state = RUN_DONE;
    }
}

static int work(struct run *r, struct err *err)
{
    const struct reconcile job = {.source = r->a->source,
                                  .qdrant = r->a->qdrant,
                                  .arena = r->a->arena,
                                  .rate = r->rate,
                                  .pause = pause_run,
                                  .pause_ctx = r};

    while (r->state != RUN_DONE) {
        struct id_range page = r->rest;
        struct drift drift = {0};

        page.limit = r->asked.limit > 0 && r->rest.limit < PAGE ? r->rest.limit : PAGE;
        if (reconcile_kind(&job, r->kind, &page, r->repair, &drift, err) < 0)
            return -1;
        KILL_POINT("reconcile-page");
        advance(r, &page, &drift);
        if (save(r, err) < 0)
            return -1;
    }
    return 0;
}

/* --- request and reply --- */

static int parse_bound(const char *text, bool *ret_has, struct uuid *ret, struct err *err)
{
    *ret_has = text && text[0];
    if (*ret_has && !uuid_parse(view_of(text), ret))
        return err_set(err, ERR_REJECT, "bad-uuid", "reconcile", "a bound is no UUID");
    return 0;
}

static int check(struct run *r, const ReconcileRequest *asked, struct err *err)
{
    const enum doc_kind only = doc_kind_of(view_of(asked->kind));

    if (asked->kind[0] && only == N_DOC_KINDS)
        return err_set(err, ERR_REJECT, "bad-kind", "reconcile", "no such kind");
    if (asked->limit < 0 || (asked->limit > 0 && !asked->kind[0]))
        return err_set(err, ERR_REJECT, "bad-kind", "reconcile", "a limit is for one kind");
    r->asked.limit = asked->limit;
    r->kind = only == N_DOC_KINDS ? DOC_ANIME : only;
    r->end = only == N_DOC_KINDS ? N_DOC_KINDS : only + 1;
    r->repair = asked->repair;
    r->rate = asked->rate > 0 ? asked->rate : r->a->rate;
    if (parse_bound(asked->from_id, &r->asked.has_from, &r->asked.from, err) < 0)
        return -1;
    return parse_bound(asked->to_id, &r->asked.has_to, &r->asked.to, err);
}

static int reply_of(const struct run *r, struct arena *arena, ProtobufCMessage **ret,
                    struct err *err)
{
    ReconcileReply *reply = (ReconcileReply *)arena_alloc(arena, sizeof(*reply));
    char *next = r->rest.has_from ? arena_alloc(arena, UUID_TEXT) : NULL;

    if (!reply || (r->rest.has_from && !next))
        return err_set(err, ERR_RETRY, "no-memory", "reconcile", "arena is full");
    *reply = (ReconcileReply)ECHORA__CATALOG__V1__CATALOG_RECONCILE_REPLY__INIT;
    reply->compared = r->total.compared;
    reply->missing = r->total.missing;
    reply->stale = r->total.stale;
    reply->surplus = r->total.surplus;
    reply->pending = r->total.pending;
    reply->enqueued = r->total.enqueued;
    if (next) {
        uuid_format(r->rest.from, next);
        reply->next_id = next;
    }
    *ret = &reply->base;
    return 0;
}

int answer_reconcile(const struct answering *a, const struct request *request,
                     ProtobufCMessage **ret_reply, struct err *err)
{
    struct run r = {.a = a};

    if (check(&r, (const ReconcileRequest *)request->message, err) < 0 ||
        once_read(request, &r.once, err) < 0)
        return -1;
    for (size_t i = 0; i < SHA256_SIZE; i++)
        snprintf(r.digest + 2 * i, 3, "%02x", r.once.digest[i]);
    if (claim(&r, err) < 0)
        return -1;
    if (work(&r, err) < 0) {
        struct err ignored = ERR_INIT;

        if (r.lost.class != ERR_NONE)
            *err = r.lost;
        r.state = RUN_OPEN; /* whoever asks next goes on */
        if (strcmp(err->code, "stale-token") != 0)
            (void)!save(&r, &ignored);
        return -1;
    }
    return reply_of(&r, request->arena, ret_reply, err);
}
