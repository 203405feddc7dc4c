/* The client table: who may call, with which scopes and limits. Never changed once read, counted
 * references.
 *
 * A JSON file: {"clients": [{"id": "n8n", "scopes": ["workflow.read", "workflow.execute"],
 * "limits": {"execute": 120}}]}. Limits are requests a minute; what is left out is 300 for read,
 * 60 for execute and approve. Unknown and repeated members are refused, so are two rows of one
 * client. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

#define CLIENT_ID_MAX 128
#define CLIENTS_MAX 256

/* None implies another. */
enum { SCOPE_READ = 1, SCOPE_EXECUTE = 2, SCOPE_APPROVE = 4 };
/* The bit of "workflow.read", ...; 0 for every other text. */
unsigned scope_find(struct view name);

struct client_limits {
    int64_t read, execute, approve; /* requests a minute */
};

struct client {
    char id[CLIENT_ID_MAX + 1];
    unsigned scopes;
    struct client_limits limits;
};

struct clients;

/* At most 64 KiB. ERR_FATAL config; the text names the row. */
MUST_CHECK int clients_parse(struct view text, struct clients **ret, struct err *err);
MUST_CHECK int clients_read(const char *path, struct clients **ret, struct err *err);
struct clients *clients_ref(struct clients *clients);
/* Takes NULL; returns NULL. Of any thread. */
struct clients *clients_unref(struct clients *clients);
void clients_unrefp(struct clients **clients);
const struct client *clients_find(const struct clients *clients, struct view id);
size_t clients_count(const struct clients *clients);
