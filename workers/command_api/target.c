// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/target.h"

bool target_split(struct view uri, struct target *ret)
{
    if (uri.n == 0 || uri.n > TARGET_MAX || uri.p[0] != '/')
        return false;
    for (size_t i = 0; i < uri.n; i++) {
        if (uri.p[i] <= ' ' || uri.p[i] >= 0x7f || uri.p[i] == '#')
            return false;
    }
    ret->query = uri;
    return view_split(&ret->query, '?', &ret->path);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* False: an escape is none, or memory is out. */
static bool decode(struct view text, struct arena *arena, struct view *ret)
{
    char *out = arena_alloc(arena, text.n + 1);
    size_t n = 0;

    for (size_t i = 0; out != NULL && i < text.n; i++) {
        char c = text.p[i];

        if (c == '%') {
            const int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
            const int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    *ret = (struct view){out, n};
    return out != NULL;
}

static void add(const struct member *row, struct view text, json_t *object, struct refusal *r)
{
    json_t *value = member_value(row, text, r);

    if (value != NULL && json_object_set_new(object, row->name, value) < 0)
        refuse(r, PROBLEM_UNAVAILABLE, "No memory.");
}

static void take_part(struct view part, const struct route *route, struct arena *arena,
                      json_t *object, struct refusal *r)
{
    struct view value = part, name;
    const struct member *row = NULL;
    char at[128];

    (void)view_split(&value, '=', &name);
    const bool has_value = value.p != NULL;
    if (!decode(name, arena, &name) || !decode(value, arena, &value)) {
        violate(r, "", "escape");
        return;
    }
    row = member_find(route->members, route->n_members, name);
    pointer_member("", name, at);
    if (row == NULL || row->place != PLACE_QUERY)
        violate(r, at, "unknown");
    else if (json_object_get(object, row->name) != NULL)
        violate(r, at, "repeated");
    else if (!has_value)
        violate(r, at, "type");
    else
        add(row, value, object, r);
}

void target_query(struct view query, const struct route *route, struct arena *arena, json_t *object,
                  struct refusal *r)
{
    struct view part;

    if (query.n == 0)
        return;
    while (view_split(&query, '&', &part))
        take_part(part, route, arena, object, r);
}

void target_ids(const struct view ids[static ROUTE_IDS_MAX], const struct route *route,
                json_t *object, struct refusal *r)
{
    for (unsigned i = 0; i < ROUTE_IDS_MAX && ids[i].p != NULL; i++) {
        const struct member *row =
            member_find(route->members, route->n_members, route_id_name(route, i));

        if (row != NULL)
            add(row, ids[i], object, r);
    }
}
