/* Which exit code an error selects: one table over the stable codes. */
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

static const struct {
    const char *code; /* a trailing '*' is a pattern */
    enum exit_code exit;
} rows[] = {
    {"config", EXIT_CODE_USAGE},
    {"listen", EXIT_CODE_USAGE},
    {"internal", EXIT_CODE_INTERNAL},
    {"no-memory", EXIT_CODE_INTERNAL},
    {"nats-auth", EXIT_CODE_CREDENTIALS},
    {"nats-permission", EXIT_CODE_CREDENTIALS},
    {"http-401", EXIT_CODE_CREDENTIALS},
    {"http-403", EXIT_CODE_CREDENTIALS},
    {"pg-28*", EXIT_CODE_CREDENTIALS},
    {"redis-noauth", EXIT_CODE_CREDENTIALS},
    {"redis-wrongpass", EXIT_CODE_CREDENTIALS},
    {"redis-noperm", EXIT_CODE_CREDENTIALS},
    {"nats-10059", EXIT_CODE_PROVISIONING}, /* stream not found */
    {"nats-10014", EXIT_CODE_PROVISIONING}, /* consumer not found */
    {"nats-10060", EXIT_CODE_PROVISIONING}, /* the subject lies in another stream */
    {"nats-no-stream", EXIT_CODE_PROVISIONING},
    {"bad-consumer", EXIT_CODE_PROVISIONING},
    {"pg-3D*", EXIT_CODE_PROVISIONING}, /* no such database */
    {"pg-3F*", EXIT_CODE_PROVISIONING}, /* no such schema */
    {"pg-42*", EXIT_CODE_PROVISIONING}, /* no such table, no right */
    {"qdrant-version", EXIT_CODE_PROVISIONING},
    {"qdrant-schema", EXIT_CODE_PROVISIONING},
    {"epoch-*", EXIT_CODE_REFUSED},
};

int exit_code_of(const struct err *fatal)
{
    const struct view code = view_of(fatal->code);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct view row = view_of(rows[i].code);
        const bool pattern = row.p[row.n - 1] == '*';
        const struct view head = {row.p, row.n - (pattern ? 1 : 0)};

        if (pattern ? code.n >= head.n && memcmp(code.p, head.p, head.n) == 0 : view_eq(code, row))
            return rows[i].exit;
    }
    return fatal->class == ERR_UNAVAILABLE ? EXIT_CODE_DEPENDENCY : EXIT_CODE_FATAL;
}
