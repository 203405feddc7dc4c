/* What a caller sends beside the token: headers, body, query, ids; read and checked. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/fault.h"
#include "workers/command_api/call.h"
#include "workers/command_api/weight.h"

#define WAIT_MAX_S 25

static bool is_json(struct view type)
{
    struct view rest = type, media;

    return view_split(&rest, ';', &media) && (media = view_trim(media)).n == 16 &&
           strncasecmp(media.p, "application/json", 16) == 0;
}

static bool read_body(struct call *c)
{
    const bool has_body = c->connection->head.content_length > 0;

    if (c->route->body_max == 0)
        return !has_body || refuse(&c->refusal, PROBLEM_SYNTAX, "This call has no body.");
    c->media_type = scgi_variable(&c->connection->head, "CONTENT_TYPE");
    if (has_body && !is_json(c->media_type))
        return refuse(&c->refusal, PROBLEM_MEDIA_TYPE, "Send Content-Type: application/json.");
    if (scgi_variable(&c->connection->head, "HTTP_CONTENT_ENCODING").n > 0)
        return refuse(&c->refusal, PROBLEM_MEDIA_TYPE, "No content encoding is known here.");
    buf_init(&c->body, c->route->body_max);
    switch (connection_body(c->connection, view_of(c->caller.client), &c->body)) {
    case READ_OK:
        return true;
    case READ_TOO_LARGE:
        return refuse(&c->refusal, PROBLEM_TOO_LARGE, "At most %zu bytes.", c->route->body_max);
    case READ_SLOW:
        return refuse(&c->refusal, PROBLEM_SYNTAX, "The body did not come in time.");
    case READ_CROWDED:
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "Too many bodies come slowly now.");
    case READ_GONE:
    case READ_BAD:
        break;
    }
    return refuse(&c->refusal, PROBLEM_SYNTAX, "The body did not come whole.");
}

static bool parse_body(struct call *c)
{
    json_error_t why = {0};

    if (c->body.n == 0) {
        c->members = json_object();
        return c->members != NULL || refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
    }
    if (json_values_most(buf_view(&c->body)) > REQUEST_VALUES_MAX)
        return refuse(&c->refusal, PROBLEM_TOO_LARGE, "At most %d values.", REQUEST_VALUES_MAX);
    c->members = json_loadb(c->body.p, c->body.n, JSON_REJECT_DUPLICATES, &why);
    if (c->members == NULL && json_error_code(&why) == json_error_duplicate_key) {
        violate(&c->refusal, "", "repeated");
        return false;
    }
    if (c->members == NULL)
        return refuse(&c->refusal, PROBLEM_SYNTAX, "The body is no JSON (line %d, column %d).",
                      why.line, why.column);
    c->members = members_settle(c->members);
    if (c->members == NULL)
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
    if (json_is_object(c->members))
        return true;
    violate(&c->refusal, "", "type");
    return false;
}

/* Members of path and query may stand there alone. */
static void refuse_misplaced(struct call *c)
{
    const char *name;
    json_t *value;
    char at[128];

    json_object_foreach(c->members, name, value)
    {
        const struct member *row =
            member_find(c->route->members, c->route->n_members, view_of(name));

        pointer_member("", view_of(name), at);
        if (row != NULL && row->place != PLACE_BODY)
            violate(&c->refusal, at, "unknown");
    }
}

static bool check_members(struct call *c)
{
    struct refusal *r = &c->refusal;

    refuse_misplaced(c);
    if (r->problem == PROBLEM_NONE) {
        target_ids(c->ids, c->route, c->members, r);
        target_query(c->target.query, c->route, c->arena, c->members, r);
    }
    if (r->problem == PROBLEM_NONE && !FAULT("members-unchecked"))
        members_check(c->route->members, c->route->n_members, c->members, "", r);
    if (r->problem == PROBLEM_NONE && c->route->check != NULL)
        c->route->check(c->members, "", r);
    return r->problem == PROBLEM_NONE;
}

static bool read_key(struct call *c)
{
    struct view value;

    if (!c->route->keyed)
        return true;
    if (!scgi_only(&c->connection->head, "HTTP_IDEMPOTENCY_KEY", &value))
        return refuse(&c->refusal, PROBLEM_SYNTAX, "There is more than one Idempotency-Key.");
    if (value.p == NULL)
        return refuse(&c->refusal, PROBLEM_SYNTAX, "This call needs the header Idempotency-Key.");
    return idem_key_parse(value, &c->key) ||
           refuse(&c->refusal, PROBLEM_SYNTAX,
                  "Idempotency-Key: 1 to 255 of A-Z a-z 0-9 . _ : -, bare or in double quotes.");
}

/* Preferences may be ignored (RFC 7240), also those that we can't read. The first one counts. */
static void read_preference(struct call *c)
{
    struct view rest, part, name;
    int64_t seconds;

    if (!c->route->lengthy || !scgi_only(&c->connection->head, "HTTP_PREFER", &rest))
        return;
    while (view_split(&rest, ',', &part)) {
        struct view value = part;

        if (!view_split(&value, '=', &name) || !view_is(view_trim(name), "wait"))
            continue;
        if (value.p != NULL && view_to_i64(view_trim(value), 1, WAIT_MAX_S, &seconds))
            c->wait_ms = seconds * 1000;
        return;
    }
}

/* There is one member that changes which scope a call needs. */
static bool check_extra_scope(struct call *c)
{
    const bool more = json_is_true(json_object_get(c->members, "accept_shrink"));

    c->approves = more || c->route->scope == SCOPE_APPROVE;
    return !more || call_may(c, SCOPE_APPROVE);
}

static bool for_bus(struct call *c)
{
    const bool good =
        members_for_bus(c->route->members, c->route->n_members, c->members) &&
        (!c->route->names_actor ||
         json_object_set_new(c->members, "actor", json_string(c->caller.client)) == 0);

    return good || refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
}

bool call_read(struct call *c)
{
    if (!read_body(c) || !read_key(c) || !parse_body(c) || !check_members(c) ||
        !check_extra_scope(c))
        return false;
    c->members_checked = true;
    read_preference(c);
    return for_bus(c);
}
