// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/clients.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "events/base/fault.h"
#include "workers/command_api/document.h"

#define TABLE_MAX ((size_t)64 << 10)
#define LIMIT_MAX 1000000

static const char op[] = "read clients";
static const struct client_limits usual = {.read = 300, .execute = 60, .approve = 60};

struct clients {
    atomic_uint references;
    size_t n;
    struct client list[];
};

static const struct {
    const char *name, *limit;
    unsigned bit;
    size_t offset; /* in struct client_limits */
} scopes[] = {
    {"workflow.read", "read", SCOPE_READ, offsetof(struct client_limits, read)},
    {"workflow.execute", "execute", SCOPE_EXECUTE, offsetof(struct client_limits, execute)},
    {"workflow.approve", "approve", SCOPE_APPROVE, offsetof(struct client_limits, approve)},
};

unsigned scope_find(struct view name)
{
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        if (view_is(name, scopes[i].name))
            return scopes[i].bit;
    }
    return 0;
}

static int wrong(struct err *err, size_t row, const char *what)
{
    return err_set(err, ERR_FATAL, "config", op, "client %zu: %s", row + 1, what);
}

static bool has_only(const json_t *object, const char *const names[], size_t n)
{
    size_t known = 0;

    for (size_t i = 0; i < n; i++)
        known += json_object_get(object, names[i]) != NULL;
    return json_object_size(object) == known;
}

/* Printable ASCII without a blank, for it stands in logs and keys. */
static bool is_id(const json_t *id)
{
    const size_t n = json_string_length(id);
    const char *p = json_string_value(id);

    for (size_t i = 0; i < n; i++) {
        if (p[i] <= 0x20 || p[i] >= 0x7f)
            return false;
    }
    return n > 0 && n <= CLIENT_ID_MAX;
}

static int read_scopes(const json_t *list, size_t row, struct client *ret, struct err *err)
{
    const json_t *name;
    size_t i;

    if (!json_is_array(list))
        return wrong(err, row, "scopes is no list");
    json_array_foreach(list, i, name)
    {
        const unsigned bit = scope_find(view_of(json_string_value(name)));

        if (bit == 0 || (ret->scopes & bit) != 0)
            return wrong(err, row,
                         "scopes are workflow.read, workflow.execute and workflow.approve, each "
                         "at most once");
        ret->scopes |= bit;
    }
    return 0;
}

static int read_limits(const json_t *limits, size_t row, struct client *ret, struct err *err)
{
    static const char *const names[] = {"read", "execute", "approve"};

    ret->limits = usual;
    if (limits == NULL)
        return 0;
    if (!json_is_object(limits) || !has_only(limits, names, ARRAY_LEN(names)))
        return wrong(err, row, "limits has members read, execute and approve, and no other");
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        const json_t *limit = json_object_get(limits, scopes[i].limit);
        const json_int_t value = json_integer_value(limit);

        if (limit == NULL)
            continue;
        if (value < 1 || value > LIMIT_MAX)
            return wrong(err, row, "a limit is a whole number from 1 to 1000000");
        memcpy((char *)&ret->limits + scopes[i].offset, &(int64_t){value}, sizeof(int64_t));
    }
    return 0;
}

static int read_row(const json_t *object, size_t row, struct clients *clients, struct err *err)
{
    static const char *const names[] = {"id", "scopes", "limits"};
    const json_t *id = json_object_get(object, "id");
    struct client *client = &clients->list[row];

    if (!json_is_object(object) || !has_only(object, names, ARRAY_LEN(names)))
        return wrong(err, row, "a client has members id, scopes and limits, and no other");
    if (!is_id(id))
        return wrong(err, row, "id is no text of 1 to 128 printable characters without blanks");
    memcpy(client->id, json_string_value(id), json_string_length(id));
    for (size_t i = 0; i < row; i++) {
        if (strcmp(clients->list[i].id, client->id) == 0)
            return wrong(err, row, "its id stands there twice");
    }
    clients->n = row + 1;
    if (read_scopes(json_object_get(object, "scopes"), row, client, err) < 0)
        return -1;
    return read_limits(json_object_get(object, "limits"), row, client, err);
}

static int read_rows(const json_t *root, struct clients **ret, struct err *err)
{
    const json_t *list = json_object_get(root, "clients"), *row;
    const size_t n = json_array_size(list);
    size_t i;

    if (!json_is_array(list) || json_object_size(root) != 1)
        return err_set(err, ERR_FATAL, "config", op, "no object with a list of clients alone");
    if (n > CLIENTS_MAX)
        return err_set(err, ERR_FATAL, "config", op, "more than %d clients", CLIENTS_MAX);
    struct clients *clients = calloc(1, sizeof(*clients) + n * sizeof(clients->list[0]));
    if (clients == NULL)
        return err_set(err, ERR_RETRY, "no-memory", op, "out of memory");
    atomic_init(&clients->references, 1);
    json_array_foreach(list, i, row)
    {
        if (read_row(row, i, clients, err) < 0) {
            clients_unref(clients);
            return -1;
        }
    }
    *ret = clients;
    return 0;
}

int clients_parse(struct view text, struct clients **ret, struct err *err)
{
    json_error_t fault;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &fault);

    if (root == NULL)
        return err_set(
            err, ERR_FATAL, "config", op, "line %d, column %d: %s", fault.line, fault.column,
            json_error_code(&fault) == json_error_duplicate_key ? "a member stands there twice"
                                                                : "no JSON");
    const int rc = read_rows(root, ret, err);
    json_decref(root);
    return rc;
}

int clients_read(const char *path, struct clients **ret, struct err *err)
{
    struct buf text CLEANUP(buf_deinit) = {.max = TABLE_MAX};

    if (document_read(path, &text, err) < 0)
        return -1;
    return clients_parse(buf_view(&text), ret, err) == 0 ? 0 : err_wrap(err, "%s", path);
}

struct clients *clients_ref(struct clients *clients)
{
    atomic_fetch_add_explicit(&clients->references, 1, memory_order_relaxed);
    return clients;
}

struct clients *clients_unref(struct clients *clients)
{
    if (clients != NULL &&
        atomic_fetch_sub_explicit(&clients->references, 1, memory_order_acq_rel) == 1)
        free(clients);
    return NULL;
}

void clients_unrefp(struct clients **clients)
{
    *clients = clients_unref(*clients);
}

const struct client *clients_find(const struct clients *clients, struct view id)
{
    for (size_t i = 0; i < clients->n; i++) {
        if (view_is(id, clients->list[i].id) || FAULT("client-unlisted"))
            return &clients->list[i];
    }
    return NULL;
}

size_t clients_count(const struct clients *clients)
{
    return clients->n;
}
