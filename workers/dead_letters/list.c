/* dlq.list: a page from the index, or, while PostgreSQL is away, from the stream itself, which is
 * read backwards message by message and so for a short way only. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"
#include "workers/dead_letters/filter.h"
#include "workers/dead_letters/requests.h"
#include "workers/dead_letters/sql.h"

typedef Echora__Ops__V1__DlqListRequest ListRequest;
typedef Echora__Ops__V1__DlqListReply ListReply;
typedef Echora__Ops__V1__DlqGroup Group;

enum { LIMIT = 100, LIMIT_MAX = 1000, SCAN_MAX = 500 };

struct page {
    struct dead_letters *dl;
    const ListRequest *asked;
    struct arena *arena;
    ListReply *reply;
    size_t limit;
    bool grouped;
};

static int add_letter(struct page *p, const struct letter *letter, struct err *err)
{
    DlqLetter *m = letter_message(letter, p->arena);
    if (m == NULL)
        return dlq_no_memory(err);
    p->reply->letters[p->reply->n_letters++] = m;
    return 0;
}

static Group *add_group(struct page *p)
{
    Group *g = (Group *)message_new(&echora__ops__v1__dlq_group__descriptor, p->arena);
    if (g != NULL)
        p->reply->groups[p->reply->n_groups++] = g;
    return g;
}

static int group_of_row(struct page *p, const PGresult *rows, int row, struct err *err)
{
    Group *g = add_group(p);
    if (g == NULL)
        return dlq_no_memory(err);
    g->fingerprint = arena_strdup(p->arena, pg_get_text(rows, row, 0));
    g->consumer = arena_strdup(p->arena, pg_get_text(rows, row, 1));
    g->class_ = arena_strdup(p->arena, pg_get_text(rows, row, 2));
    g->code = arena_strdup(p->arena, pg_get_text(rows, row, 3));
    g->reason = arena_strdup(p->arena, pg_get_text(rows, row, 4));
    g->letters = pg_get_i64(rows, row, 5);
    g->first_failed = timestamp_message(pg_get_timestamp_us(rows, row, 6), p->arena);
    g->last_failed = timestamp_message(pg_get_timestamp_us(rows, row, 7), p->arena);
    g->sequence = (uint64_t)pg_get_i64(rows, row, 8);
    return arena_overflowed(p->arena) ? dlq_no_memory(err) : 0;
}

/* Counts are kept for these filters. */
static bool is_counted(const DlqFilter *f)
{
    return f == NULL || (f->from_sequence == 0 && f->to_sequence == 0 && f->entity[0] == '\0' &&
                         f->failed_from == NULL && f->failed_before == NULL);
}

static int ask_index(struct page *p, PGresult **ret, struct err *err)
{
    struct pg_param params[FILTER_PARAMS + 2];
    filter_params(p->asked->filter, params);
    params[FILTER_PARAMS] = p->asked->cursor > 0 ? pg_i64((int64_t)p->asked->cursor) : pg_null();
    params[FILTER_PARAMS + 1] = pg_i32((int32_t)p->limit);
    if (!p->grouped || !is_counted(p->asked->filter))
        return pg_query(p->dl->pg, p->grouped ? &sql_list_groups : &sql_list_letters, params,
                        ARRAY_LEN(params), ret, err);
    const struct pg_param counted[] = {params[2], params[3],  params[4],  params[5],
                                       params[9], params[10], params[11], params[12]};
    return pg_query(p->dl->pg, &sql_count_groups, counted, ARRAY_LEN(counted), ret, err);
}

static int from_index(struct page *p, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (ask_index(p, &rows, err) < 0)
        return -1;
    const int n = PQntuples(rows);
    for (int row = 0; row < n; row++) {
        struct letter letter;
        if (p->grouped ? group_of_row(p, rows, row, err) < 0
                       : letter_of_row(rows, row, p->arena, &letter, err) < 0 ||
                             add_letter(p, &letter, err) < 0)
            return -1;
    }
    if ((size_t)n == p->limit)
        p->reply->next_cursor = (uint64_t)pg_get_i64(rows, n - 1, p->grouped ? 8 : 1);
    p->reply->source = (char *)(uintptr_t) "index";
    return 0;
}

static int count_in_group(struct page *p, const struct letter *l, struct err *err)
{
    Group *g = NULL;
    for (size_t i = 0; i < p->reply->n_groups && g == NULL; i++) {
        if (strcmp(p->reply->groups[i]->fingerprint, l->fingerprint) == 0)
            g = p->reply->groups[i];
    }
    if (g == NULL) {
        g = add_group(p);
        if (g == NULL)
            return dlq_no_memory(err);
        g->fingerprint = (char *)(uintptr_t)l->fingerprint;
        g->consumer = (char *)(uintptr_t)l->consumer;
        g->class_ = (char *)(uintptr_t)l->class;
        g->code = (char *)(uintptr_t)l->code;
        g->reason = (char *)(uintptr_t)l->reason;
        g->last_failed = timestamp_message(l->failed_at_us, p->arena);
        g->sequence = l->sequence;
    }
    g->letters++;
    g->first_failed = timestamp_message(l->failed_at_us, p->arena);
    return arena_overflowed(p->arena) ? dlq_no_memory(err) : 0;
}

static int from_stream(struct page *p, struct err *err)
{
    struct stream_state state;
    if (stream_state(p->dl->bus, "ANIME_DLQ", &state, err) < 0)
        return -1;
    uint64_t at = state.last_sequence;
    if (p->asked->cursor > 0 && p->asked->cursor <= at)
        at = p->asked->cursor - 1;
    size_t scanned = 0;
    for (; at >= state.first_sequence && at > 0 && scanned < SCAN_MAX; at--, scanned++) {
        struct stored_message message;
        struct letter letter;
        bool found;
        if (p->reply->n_letters == p->limit || p->reply->n_groups == p->limit)
            break;
        arena_reset(p->dl->scratch);
        if (stream_message(p->dl->bus, "ANIME_DLQ", at, p->dl->scratch, &message, &found, err) < 0)
            return -1;
        if (!found)
            continue;
        if (letter_read(&message, p->arena, &letter, err) < 0)
            return -1;
        if (!filter_matches(p->asked->filter, &letter))
            continue;
        if (p->grouped ? count_in_group(p, &letter, err) < 0 : add_letter(p, &letter, err) < 0)
            return -1;
    }
    if (at >= state.first_sequence && at > 0)
        p->reply->next_cursor = at + 1;
    p->reply->source = (char *)(uintptr_t) "stream";
    return 0;
}

int answer_list(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                struct err *err)
{
    const ListRequest *asked = (const ListRequest *)request->message;
    struct page p = {.dl = context,
                     .asked = asked,
                     .arena = request->arena,
                     .limit = LIMIT,
                     .grouped = strcmp(asked->group_by, "fingerprint") == 0};
    if (filter_check(asked->filter, err) < 0)
        return -1;
    if (asked->group_by[0] != '\0' && !p.grouped)
        return err_set(err, ERR_REJECT, "bad-filter", "list", "group_by knows fingerprint only");
    if (asked->limit > 0)
        p.limit = asked->limit < LIMIT_MAX ? (size_t)asked->limit : LIMIT_MAX;
    p.reply = (ListReply *)message_new(&echora__ops__v1__dlq_list_reply__descriptor, p.arena);
    DlqLetter **letters = arena_array(p.arena, p.limit, sizeof(DlqLetter *));
    Group **groups = arena_array(p.arena, p.limit, sizeof(Group *));
    if (p.reply == NULL || letters == NULL || groups == NULL)
        return dlq_no_memory(err);
    p.reply->letters = letters;
    p.reply->groups = groups;
    struct err trouble = ERR_INIT;
    if (from_index(&p, &trouble) < 0) {
        if (trouble.class != ERR_UNAVAILABLE) {
            *err = trouble;
            return -1;
        }
        p.reply->n_letters = p.reply->n_groups = 0;
        if (from_stream(&p, err) < 0)
            return -1;
    }
    *ret_reply = &p.reply->base;
    return 0;
}
