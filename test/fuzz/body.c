/* Bodies of the Command API's calls, as any client could send them.
 *
 * Properties: what is refused says why, with pointers and codes of plain characters; of what is
 * taken, every text outside `edits` is free of control characters and within the longest that any
 * row allows, every number is one that JSON's readers agree on; it can be written and read again
 * and stays the same; the same body gets the same verdict twice. The input's first byte chooses the
 * route, the second the caller's scopes; the rest is the body. */
// SPDX-License-Identifier: Apache-2.0

#include <limits.h>

#include "test/fuzz/demand.h"
#include "workers/command_api/call.h"

#define BODY_HERE_MAX 8192
#define TEXT_LONGEST 2048
#define DEPTH_MOST 64

/* A head as nginx writes it, then the body; all of it in the connection's buffer. */
static void arrive(struct connection *c, const struct route *route, struct view body)
{
    char fields[512], length[16];
    const int digits = snprintf(length, sizeof(length), "%zu", body.n);
    size_t n = 0;
    const char *const pairs[] = {"CONTENT_LENGTH",
                                 length,
                                 "SCGI",
                                 "1",
                                 "REQUEST_METHOD",
                                 route->method,
                                 "REQUEST_URI",
                                 route->path,
                                 "CONTENT_TYPE",
                                 "application/json",
                                 "HTTP_IDEMPOTENCY_KEY",
                                 "order-7"};

    demand(digits > 0, "a length", NULL);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        const size_t size = strlen(pairs[i]) + 1;
        demand(n + size <= sizeof(fields), "room for the head", NULL);
        memcpy(fields + n, pairs[i], size);
        n += size;
    }
    c->n = (size_t)snprintf(c->buffer, sizeof(c->buffer), "%zu:", n);
    memcpy(c->buffer + c->n, fields, n);
    c->n += n;
    c->buffer[c->n++] = ',';
    memcpy(c->buffer + c->n, body.p, body.n);
    c->n += body.n;
    memset(&c->head, 0, sizeof(c->head));
    demand(scgi_read((struct view){c->buffer, c->n}, &c->head) == SCGI_DONE, "a head", NULL);
}

static void check_refusal(const struct refusal *r)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-?/";

    demand(r->problem == PROBLEM_SYNTAX || r->problem == PROBLEM_INVALID ||
               r->problem == PROBLEM_SCOPE,
           "the caller's fault", NULL);
    demand(r->problem != PROBLEM_INVALID || r->n_violations > 0, "a rule", NULL);
    demand(r->n_violations <= VIOLATIONS_MAX, "so many", NULL);
    for (unsigned i = 0; i < r->n_violations; i++) {
        const struct violation *v = &r->violations[i];
        demand(strspn(v->pointer, allowed) == strlen(v->pointer), "a pointer", NULL);
        demand(v->code[0] != '\0' && strspn(v->code, allowed) == strlen(v->code), "a code", NULL);
    }
    struct buf text = {.max = 1 << 16};
    problem_write(r, "00000000-0000-7000-8000-000000000000", &text);
    json_t *back = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    demand(back != NULL, "a problem that can be read", NULL);
    json_decref(back);
    buf_deinit(&text);
}

static void check_taken(const json_t *value, int depth)
{
    const char *name;
    json_t *member;
    size_t i;

    demand(depth < DEPTH_MOST, "a depth", NULL);
    if (json_is_string(value)) {
        const char *p = json_string_value(value);
        const size_t n = json_string_length(value);
        demand(n <= TEXT_LONGEST, "a length", NULL);
        for (size_t k = 0; k < n; k++)
            demand((unsigned char)p[k] >= ' ' && p[k] != 0x7f, "no control character", NULL);
    }
    if (json_is_integer(value))
        demand(json_integer_value(value) >= 0 && json_integer_value(value) < INT64_C(1) << 53,
               "a number that every reader of JSON can hold", NULL);
    demand(!json_is_real(value) && !json_is_null(value), "a kind that some row has", NULL);
    json_array_foreach(value, i, member) check_taken(member, depth + 1);
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        if (strcmp(name, "edits") != 0)
            check_taken(member, depth + 1);
    }
}

static void check_written(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    demand(text != NULL, "it can be written", NULL);
    json_t *back = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    demand(back != NULL && json_equal(back, value), "what is written is what was taken", NULL);
    json_decref(back);
    free(text);
}

/* The verdict, and in *ret what goes to the bus. */
static struct refusal read_once(struct connection *connection, const struct route *route,
                                unsigned scopes, struct view body, json_t **ret)
{
    struct call c = {.connection = connection, .route = route, .arena = arena_new(1 << 16)};

    demand(c.arena != NULL, "memory", NULL);
    c.caller.scopes = scopes;
    c.ids[0] = strstr(route->path, "{event_id}") != NULL
                   ? VIEW_LIT("3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10")
                   : VIEW_LIT("7");
    arrive(connection, route, body);
    const bool taken = call_read(&c);
    demand(taken == (c.refusal.problem == PROBLEM_NONE), "a verdict", NULL);
    *ret = taken ? json_incref(c.members) : NULL;
    json_decref(c.members);
    buf_deinit(&c.body);
    arena_free(c.arena);
    return c.refusal;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct connection connection;
    static struct connection_room room;
    json_t *members, *again;

    if (size < 2 || size > BODY_HERE_MAX)
        return 0;
    const struct route *route = &routes[data[0] % n_routes];
    const struct view body = {(const char *)data + 2, size - 2};
    if (route->body_max == 0)
        return 0;
    connection_init(&connection, -1, &room, (struct connection_limits){1, 1});
    const struct refusal refusal = read_once(&connection, route, data[1], body, &members);
    const struct refusal same = read_once(&connection, route, data[1], body, &again);
    demand(refusal.problem == same.problem && refusal.n_violations == same.n_violations,
           "the same verdict twice", NULL);
    demand((members == NULL && again == NULL) || json_equal(members, again), "the same members",
           NULL);
    if (members == NULL) {
        check_refusal(&refusal);
    } else {
        demand(json_is_object(members), "an object", NULL);
        check_taken(members, 0);
        check_written(members);
    }
    json_decref(members);
    json_decref(again);
    return 0;
}
