/* catalog.record.get, catalog.anime.get, catalog.character.get, catalog.episode.get.
 *
 * All statements of one request run in one repeatable-read transaction, so that a reply never mixes
 * two states. The documents of a reply are limited by bytes, not by count: what has no room is
 * listed in `unread`, or, for the members of the first anime, continued by `next_members`
 * ("<kind>:<position>:<id>" of the last member given). At least one thing is always given, so that
 * a caller who repeats comes to an end. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/json.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/types.h"

typedef Echora__Catalog__V1__CatalogGetRequest GetRequest;
typedef Echora__Catalog__V1__CatalogGetReply GetReply;
typedef Echora__Catalog__V1__CatalogEntry Entry;
typedef Echora__Catalog__V1__AnimeRecord Record;

enum {
    MOST_IDS = 256,
    MOST_MEMBERS = 4000, /* without content */
    MOST_MEMBER_DOCUMENTS = 1000,
    BUDGET_BYTES = 1 << 20, /* of document text in one reply */
};

struct cursor {
    int32_t kind; /* -1 = from the start; 0 characters, 1 episodes */
    int32_t position;
    struct uuid id;
};

struct reading {
    struct catalogue *catalogue;
    const GetRequest *request;
    const struct kind *kind;
    struct arena *arena;
    struct uuid_list ids;
    struct cursor cursor;
    bool record;         /* the content of members, too */
    size_t spent;        /* bytes of documents so far */
    size_t *asked_at;    /* per entry: its place in the request */
    struct uuid *own_id; /* per entry */
    GetReply *reply;
    struct err *err;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "read catalogue",
                   "the answer does not fit the arena");
}

static int parse_cursor(const char *text, struct cursor *ret, struct err *err)
{
    *ret = (struct cursor){.kind = -1};
    if (!text || !*text)
        return 0;
    struct view rest = view_of(text), part;
    int64_t kind, position;
    if (view_split(&rest, ':', &part) && view_to_i64(part, 0, 1, &kind) &&
        view_split(&rest, ':', &part) && view_to_i64(part, INT32_MIN, INT32_MAX, &position) &&
        uuid_parse(rest, &ret->id)) {
        ret->kind = (int32_t)kind;
        ret->position = (int32_t)position;
        return 0;
    }
    return err_set(err, ERR_REJECT, "bad-cursor", "read request",
                   "members_cursor is none that a reply gave");
}

static int check_request(struct reading *r)
{
    const GetRequest *request = r->request;
    if (request_ids(request->ids, request->n_ids, MOST_IDS, r->arena, &r->ids, r->err) < 0 ||
        parse_cursor(request->members_cursor, &r->cursor, r->err) < 0)
        return -1;
    if (r->cursor.kind >= 0 && r->ids.n != 1)
        return err_set(r->err, ERR_REJECT, "bad-cursor", "read request",
                       "members_cursor goes with one id");
    for (size_t i = 0; i < request->n_fields; i++) {
        if (kind_field(r->kind, view_of(request->fields[i])) < 0)
            return err_set(r->err, ERR_REJECT, "unknown-field", "read request",
                           "fields[%zu] is no field of %s", i, r->kind->name);
    }
    return 0;
}

/* Only the fields that were asked for; all when none was named. */
static int decode_document(struct reading *r, const struct kind *kind, struct view text,
                           bool all_fields, ProtobufCMessage **ret)
{
    json_error_t why = {0};
    json_t *document = json_loadb(text.p, text.n, 0, &why);
    if (!document && json_no_memory(&why))
        return no_memory(r->err);
    if (!document)
        return err_set(r->err, ERR_FATAL, "internal", "read catalogue", "stored document: %s",
                       why.text);
    int rc = 0;
    if (all_fields || r->request->n_fields == 0) {
        rc = json_decode_value(kind->message, document, r->arena, ret, r->err);
    } else {
        ProtobufCMessage *message = message_new(kind->message, r->arena);
        if (!message)
            rc = no_memory(r->err);
        for (size_t i = 0; rc == 0 && i < r->request->n_fields; i++) {
            const char *name = r->request->fields[i];
            char camel[64];
            const json_t *value =
                json_name(name, camel, sizeof(camel)) ? json_object_get(document, camel) : NULL;
            if (value)
                rc = json_decode_field(message, field_by_name(kind->message, view_of(name)), value,
                                       r->arena, r->err);
        }
        if (rc == 0)
            *ret = message;
    }
    json_decref(document);
    return rc;
}

/* "a,b,c" to a list of texts. */
static int split_ids(struct reading *r, struct view text, Entry *entry)
{
    if (text.n == 0)
        return 0;
    size_t n = (text.n + 1) / UUID_TEXT;
    entry->anime_ids = arena_array(r->arena, n, sizeof(char *));
    if (!entry->anime_ids)
        return no_memory(r->err);
    struct view rest = text, part;
    while (entry->n_anime_ids < n && view_split(&rest, ',', &part)) {
        char *copy = arena_strdup(r->arena, part);
        if (!copy)
            return no_memory(r->err);
        entry->anime_ids[entry->n_anime_ids++] = copy;
    }
    return 0;
}

static int add_unread(struct reading *r, size_t asked_at)
{
    r->reply->unread[r->reply->n_unread++] = r->request->ids[asked_at];
    return 0;
}

static Entry *new_entry(struct reading *r, struct uuid own_id, int64_t revision, bool deleted)
{
    Entry *entry = (Entry *)message_new(&echora__catalog__v1__catalog_entry__descriptor, r->arena);
    if (!entry)
        return NULL;
    entry->canonical_id = request_uuid_text(r->arena, own_id);
    if (!entry->canonical_id)
        return NULL;
    entry->revision = revision;
    entry->deleted = deleted;
    return entry;
}

static int set_content(struct reading *r, Entry *entry, ProtobufCMessage *content)
{
    switch (r->kind->kind) {
    case KIND_CHARACTER:
        entry->character = (Character *)content;
        return 0;
    case KIND_EPISODE:
        entry->episode = (Episode *)content;
        return 0;
    default:
        break;
    }
    if (!r->record) {
        entry->anime = (Anime *)content;
        return 0;
    }
    entry->record = (Record *)message_new(&echora__catalog__v1__anime_record__descriptor, r->arena);
    if (!entry->record)
        return no_memory(r->err);
    entry->record->anime = (Anime *)content;
    return 0;
}

static int read_entry(struct reading *r, const PGresult *rows, int row)
{
    GetReply *reply = r->reply;
    size_t asked_at = (size_t)pg_get_i64(rows, row, 0) - 1;
    bool deleted = pg_get_bool(rows, row, 3);
    if (deleted && !r->request->include_deleted) {
        reply->missing[reply->n_missing++] = r->request->ids[asked_at];
        return 0;
    }
    struct view document = pg_get_text(rows, row, 4);
    if (reply->n_entries > 0 && r->spent + document.n > BUDGET_BYTES)
        return add_unread(r, asked_at);
    struct uuid own_id = pg_get_uuid(rows, row, 1);
    Entry *entry = new_entry(r, own_id, pg_get_i64(rows, row, 2), deleted);
    if (!entry)
        return no_memory(r->err);
    entry->id = r->request->ids[asked_at];
    if (split_ids(r, pg_get_text(rows, row, 5), entry) < 0)
        return -1;
    if (document.n) {
        ProtobufCMessage *content;
        if (decode_document(r, r->kind, document, false, &content) < 0 ||
            set_content(r, entry, content) < 0)
            return -1;
        r->spent += document.n;
    }
    r->asked_at[reply->n_entries] = asked_at;
    r->own_id[reply->n_entries] = own_id;
    reply->entries[reply->n_entries++] = entry;
    return 0;
}

static const struct pg_statement *statement_of(enum entity_kind kind)
{
    static const struct pg_statement *const statements[N_KINDS] = {
        [KIND_ANIME] = &sql_get_anime,
        [KIND_CHARACTER] = &sql_get_character,
        [KIND_EPISODE] = &sql_get_episode,
    };
    return statements[kind];
}

static int query_ids(struct reading *r, const struct pg_statement *statement,
                     const struct uuid ids[], size_t n, const struct pg_param rest[], int n_rest,
                     PGresult **ret)
{
    struct pg_array array;
    pg_array_init(&array, PG_UUIDS, (MOST_IDS + 1) * 32);
    for (size_t i = 0; i < n; i++)
        pg_array_uuid(&array, ids[i]);
    struct pg_param params[6] = {pg_array_param(&array)};
    for (int i = 0; i < n_rest; i++)
        params[1 + i] = rest[i];
    int rc = pg_query(r->catalogue->pg, statement, params, 1 + n_rest, ret, r->err);
    pg_array_deinit(&array);
    return rc;
}

static int read_entries(struct reading *r)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    struct pg_param content = pg_bool(!r->request->revisions_only);
    if (query_ids(r, statement_of(r->kind->kind), r->ids.ids, r->ids.n, &content, 1, &rows) < 0)
        return -1;
    size_t next = 0; /* rows come in the order asked; those that are skipped are missing */
    for (int row = 0; row < PQntuples(rows); row++) {
        size_t asked_at = (size_t)pg_get_i64(rows, row, 0) - 1;
        for (; next < asked_at; next++)
            r->reply->missing[r->reply->n_missing++] = r->request->ids[next];
        next = asked_at + 1;
        if (read_entry(r, rows, row) < 0)
            return -1;
    }
    for (; next < r->ids.n; next++)
        r->reply->missing[r->reply->n_missing++] = r->request->ids[next];
    return 0;
}

static int add_member(struct reading *r, Entry *entry, const PGresult *rows, int row)
{
    bool episode = pg_get_i64(rows, row, 1) == 1;
    Entry *member = new_entry(r, pg_get_uuid(rows, row, 3), pg_get_i64(rows, row, 4),
                              pg_get_bool(rows, row, 5));
    if (!member)
        return no_memory(r->err);
    member->id = member->canonical_id;
    /* Which kind of thing it is: an empty message of it, as a member has no content of its own. */
    if (episode)
        member->episode = (Episode *)message_new(kinds[KIND_EPISODE].message, r->arena);
    else
        member->character = (Character *)message_new(kinds[KIND_CHARACTER].message, r->arena);
    if (!member->episode && !member->character)
        return no_memory(r->err);
    entry->members[entry->n_members++] = member;

    struct view document = pg_get_text(rows, row, 6);
    if (!document.n || !entry->record)
        return 0;
    ProtobufCMessage *content;
    if (decode_document(r, &kinds[episode ? KIND_EPISODE : KIND_CHARACTER], document, true,
                        &content) < 0)
        return -1;
    if (episode)
        entry->record->episodes[entry->record->n_episodes++] = (Episode *)content;
    else
        entry->record->characters[entry->record->n_characters++] = (Character *)content;
    r->spent += document.n;
    return 0;
}

/* Room for the members of one entry: rows [first, end) of the result are its. */
static int make_room(struct reading *r, Entry *entry, int n)
{
    entry->members = arena_array(r->arena, (size_t)n, sizeof(Entry *));
    if (!entry->members)
        return no_memory(r->err);
    if (!entry->record)
        return 0;
    entry->record->characters = arena_array(r->arena, (size_t)n, sizeof(Character *));
    entry->record->episodes = arena_array(r->arena, (size_t)n, sizeof(Episode *));
    if (!entry->record->characters || !entry->record->episodes)
        return no_memory(r->err);
    return 0;
}

/* Everything behind entry `from` was not read to its end: the caller asks again for it. */
static void leave_unread(struct reading *r, size_t from)
{
    for (size_t i = from; i < r->reply->n_entries; i++)
        (void)add_unread(r, r->asked_at[i]);
    r->reply->n_entries = from;
}

static int read_members(struct reading *r)
{
    GetReply *reply = r->reply;
    if (reply->n_entries == 0)
        return 0;
    bool content = r->record && !r->request->revisions_only;
    int most = content ? MOST_MEMBER_DOCUMENTS : MOST_MEMBERS;
    const struct pg_param rest[] = {
        pg_i32(r->cursor.kind), pg_i32(r->cursor.position), pg_uuid(r->cursor.id),
        pg_bool(content),       pg_i32(most + 1),
    };
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (query_ids(r, &sql_get_members, r->own_id, reply->n_entries, rest, ARRAY_LEN(rest), &rows) <
        0)
        return -1;
    int n = PQntuples(rows);
    for (int row = 0, first = 0; row < n; row++) {
        size_t at = (size_t)pg_get_i64(rows, row, 0) - 1;
        if (row == 0 || at != (size_t)pg_get_i64(rows, first, 0) - 1) {
            int end = row;
            while (end < n && (size_t)pg_get_i64(rows, end, 0) - 1 == at)
                end++;
            first = row;
            if (make_room(r, reply->entries[at], end - row) < 0)
                return -1;
        }
        bool full =
            row == most || (row > 0 && r->spent + pg_get_text(rows, row, 6).n > BUDGET_BYTES);
        if (!full) {
            if (add_member(r, reply->entries[at], rows, row) < 0)
                return -1;
            continue;
        }
        if (at > 0) {
            leave_unread(r, at);
            return 0;
        }
        char id[UUID_TEXT];
        uuid_format(pg_get_uuid(rows, row - 1, 3), id);
        reply->entries[0]->next_members =
            arena_printf(r->arena, "%d:%d:%s", (int)pg_get_i64(rows, row - 1, 1),
                         (int)pg_get_i64(rows, row - 1, 2), id);
        if (!reply->entries[0]->next_members)
            return no_memory(r->err);
        leave_unread(r, 1);
        return 0;
    }
    return 0;
}

static int get(void *context, const struct request *request, enum entity_kind kind, bool record,
               ProtobufCMessage **ret_reply, struct err *err)
{
    struct reading r = {.catalogue = context,
                        .request = (const GetRequest *)request->message,
                        .kind = &kinds[kind],
                        .arena = request->arena,
                        .record = record,
                        .err = err};
    if (check_request(&r) < 0)
        return -1;
    r.reply = (GetReply *)message_new(&echora__catalog__v1__catalog_get_reply__descriptor, r.arena);
    r.asked_at = arena_array(r.arena, r.ids.n, sizeof(*r.asked_at));
    r.own_id = arena_array(r.arena, r.ids.n, sizeof(*r.own_id));
    if (!r.reply || !r.asked_at || !r.own_id)
        return no_memory(err);
    r.reply->entries = arena_array(r.arena, r.ids.n, sizeof(Entry *));
    r.reply->missing = arena_array(r.arena, r.ids.n, sizeof(char *));
    r.reply->unread = arena_array(r.arena, r.ids.n, sizeof(char *));
    if (!r.reply->entries || !r.reply->missing || !r.reply->unread)
        return no_memory(err);

    if (pg_ensure(r.catalogue->pg, err) < 0 ||
        pg_run(r.catalogue->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) < 0)
        return -1;
    int rc = read_entries(&r);
    if (rc == 0 && kind == KIND_ANIME && r.request->n_fields == 0)
        rc = read_members(&r);
    pg_rollback(r.catalogue->pg); /* nothing was written */
    if (rc == 0)
        *ret_reply = &r.reply->base;
    return rc;
}

int answer_record_get(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                      struct err *err)
{
    return get(context, request, KIND_ANIME, true, ret_reply, err);
}

int answer_anime_get(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                     struct err *err)
{
    return get(context, request, KIND_ANIME, false, ret_reply, err);
}

int answer_character_get(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                         struct err *err)
{
    return get(context, request, KIND_CHARACTER, false, ret_reply, err);
}

int answer_episode_get(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                       struct err *err)
{
    return get(context, request, KIND_EPISODE, false, ret_reply, err);
}
