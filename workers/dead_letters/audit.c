// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/audit.h"

#include "contracts/json.h"
#include "events/base/clock.h"
#include "events/log.h"
#include "workers/dead_letters/letter.h"
#include "workers/dead_letters/sql.h"

enum { RECORD_MAX = 4 << 20, ARRAY_MAX = 4 << 20 };

int audit_write(struct dead_letters *dl, DlqAudit *record, struct arena *arena, struct err *err)
{
    static const struct bus_header headers[] = {{"Content-Type", "application/json"},
                                                {"Echora-Schema", "echora.ops.v1.DlqAudit"}};
    CLEANUP(buf_deinit) struct buf json;
    buf_init(&json, RECORD_MAX);
    record->at = timestamp_message(wall_us(), arena);
    if (record->at == NULL)
        return dlq_no_memory(err);
    if (json_encode(&record->base, &json, err) < 0)
        return -1;
    const struct bus_message message = {.subject = "audit.dlq",
                                        .payload = bytes_of(buf_view(&json)),
                                        .headers = headers,
                                        .n_headers = ARRAY_LEN(headers)};
    return bus_publish(dl->bus, &message, NULL, err);
}

int audit_letters(struct dead_letters *dl, const char *plan_id, const char *kind,
                  DlqAuditItem *items[], size_t n, struct arena *arena, struct err *err)
{
    DlqAudit record = ECHORA__OPS__V1__DLQ_AUDIT__INIT;
    record.action = (char *)(uintptr_t) "letters";
    record.kind = (char *)(uintptr_t)kind;
    record.plan_id = (char *)(uintptr_t)plan_id;
    record.items = items;
    record.n_items = n;
    return audit_write(dl, &record, arena, err);
}

int audit_apply(struct dead_letters *dl, DlqAuditItem *const items[], size_t n, struct err *err)
{
    static const enum pg_array_kind kinds[3] = {PG_TEXTS, PG_TEXTS, PG_I32S};
    struct pg_array arrays[3];
    struct pg_param params[3];
    bool any = false;
    for (int a = 0; a < 3; a++)
        pg_array_init(&arrays[a], kinds[a], ARRAY_MAX);
    for (size_t i = 0; i < n; i++) {
        if (items[i]->state[0] == '\0')
            continue;
        pg_array_text(&arrays[0], view_of(items[i]->id));
        pg_array_text(&arrays[1], view_of(items[i]->state));
        pg_array_i64(&arrays[2], items[i]->attempt);
        any = true;
    }
    for (int a = 0; a < 3; a++)
        params[a] = pg_array_param(&arrays[a]);
    const int rc = any ? pg_query(dl->pg, &sql_settle_fates, params, 3, NULL, err) : 0;
    for (int a = 0; a < 3; a++)
        pg_array_deinit(&arrays[a]);
    return rc;
}

static bool is_state(const char *state)
{
    return state[0] == '\0' || strcmp(state, "open") == 0 || strcmp(state, "replayed") == 0 ||
           strcmp(state, "discarded") == 0;
}

static int read_one(struct dead_letters *dl, const struct event *event, struct arena *arena,
                    struct err *err)
{
    ProtobufCMessage *message;
    if (json_decode(&echora__ops__v1__dlq_audit__descriptor, view_of_bytes(event->payload), arena,
                    &message, err) < 0)
        return -1;
    const DlqAudit *record = (const DlqAudit *)message;
    for (size_t i = 0; i < record->n_items; i++) {
        if (!is_state(record->items[i]->state))
            return err_set(err, ERR_REJECT, "bad-record", "read audit", "an item's state is none");
    }
    return audit_apply(dl, record->items, record->n_items, err);
}

void audit_read(void *context, struct batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        struct err err = ERR_INIT;
        if (read_one(context, &batch->events[i], batch->arena, &err) == 0) {
            batch->verdicts[i].kind = VERDICT_DONE;
        } else if (err.class == ERR_REJECT) {
            log_err(LOG_LEVEL_WARN, "a record of audit.dlq can't be read, it is left out", &err);
            batch->verdicts[i].kind = VERDICT_SKIP;
        } else {
            batch_fail_rest(batch, &err);
            return;
        }
    }
}
