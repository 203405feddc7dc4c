/* SCGI heads as a broken or hostile gateway could send them, target and query behind them.
 *
 * Properties: nothing outside the input is read, what is taken lies inside it and keeps to the
 * limits, the answer does not depend on how the bytes came, and a head that is done stays done when
 * more bytes follow. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "test/fuzz/demand.h"
#include "workers/command_api/scgi.h"
#include "workers/command_api/target.h"

static void check_head(const struct scgi_head *head, struct view in)
{
    size_t http = 0, bytes = 0;

    demand(head->size <= in.n && head->size <= SCGI_NETSTRING_MAX + 8, "size", NULL);
    demand(head->content_length >= 0, "length", NULL);
    for (size_t i = 0; i < head->n; i++) {
        const struct scgi_field *f = &head->fields[i];

        demand(f->name.p >= in.p && f->value.p + f->value.n < in.p + head->size, "inside", NULL);
        for (size_t k = 0; k < f->value.n; k++)
            demand((unsigned char)f->value.p[k] >= ' ' || f->value.p[k] == '\t', "plain", NULL);
        if (view_starts_with(f->name, "HTTP_")) {
            http++;
            bytes += f->name.n - 5 + f->value.n;
        }
    }
    demand(http <= SCGI_FIELDS_MAX && bytes <= SCGI_HEAD_MAX, "limits", NULL);
}

static void use_target(const struct scgi_head *head)
{
    struct view ids[ROUTE_IDS_MAX] = {{0}};
    struct refusal r = {0};
    struct target target;
    char allow[32];

    if (!target_split(scgi_variable(head, "REQUEST_URI"), &target))
        return;
    const struct route *route =
        route_match(scgi_variable(head, "REQUEST_METHOD"), target.path, ids, allow);
    if (route == NULL)
        return;
    struct arena *arena = arena_new(1 << 16);
    json_t *object = json_object();
    demand(arena != NULL && object != NULL, "memory", NULL);
    target_ids(ids, route, object, &r);
    target_query(target.query, route, arena, object, &r);
    members_check(route->members, route->n_members, object, "", &r);
    demand(r.problem != PROBLEM_NONE || members_for_bus(route->members, route->n_members, object),
           "names on the bus", NULL);
    json_decref(object);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scgi_head whole, part;
    const struct view in = {(const char *)data, size};
    const enum scgi_result result = scgi_read(in, &whole);

    if (result == SCGI_DONE) {
        check_head(&whole, in);
        use_target(&whole);
    }
    for (size_t n = size > 64 ? size - 64 : 0; n < size; n++) {
        char *copy = malloc(n + 1);

        demand(copy != NULL, "memory", NULL);
        memcpy(copy, in.p, n);
        const enum scgi_result early = scgi_read((struct view){copy, n}, &part);
        demand(early == SCGI_MORE || early == result, "one answer", NULL);
        demand(early != SCGI_DONE || part.size == whole.size, "one size", NULL);
        free(copy);
    }
    return 0;
}
