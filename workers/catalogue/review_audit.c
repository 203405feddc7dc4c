/* What reviews leave behind for others: records in the stream AUDIT, names of fields, counters. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "contracts/gen/ops.pb-c.h"
#include "contracts/gen/timestamp.pb-c.h"
#include "contracts/registry.h"
#include "events/base/clock.h"
#include "events/metrics.h"
#include "workers/catalogue/review.h"

static const struct metric_def outcomes_def = {
    "echora_catalogue_reviews_total", METRIC_COUNTER,
    "Risky updates by what became of them: approved, rejected, superseded, expired; reminded.",
    "outcome", NULL};

void review_count(const char *outcome, double n)
{
    static const char *const outcomes[] = {"approved", "rejected", "superseded", "expired",
                                           "reminded"};
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        struct metric *m = metric_series(&outcomes_def, (const char *const[]){outcomes[i], NULL});
        if (outcome && strcmp(outcome, outcomes[i]) == 0)
            metric_add(m, n);
    }
}

char *review_names(struct arena *arena, uint64_t fields)
{
    const struct kind *kind = &kinds[KIND_ANIME];
    char text[64 * 32];
    size_t n = 0;
    text[0] = 0;
    for (unsigned i = 0; i < kind->n_fields; i++)
        if (fields & field_bit((int)i) && n < sizeof(text))
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "",
                                  kind->fields[i].name);
    return arena_strdup(arena, view_of(text));
}

uint64_t review_fields(struct view names)
{
    uint64_t fields = 0;
    struct view name;
    while (view_split(&names, ',', &name))
        fields |= field_bit(kind_field(&kinds[KIND_ANIME], name));
    return fields;
}

char **review_name_list(struct arena *arena, uint64_t fields, size_t *ret_n)
{
    const struct kind *kind = &kinds[KIND_ANIME];
    char **names = arena_array(arena, kind->n_fields, sizeof(*names));
    size_t n = 0;
    for (unsigned i = 0; names && i < kind->n_fields; i++)
        if (fields & field_bit((int)i))
            names[n++] = (char *)(uintptr_t)kind->fields[i].name;
    *ret_n = n;
    return names;
}

int review_audit(struct arena *arena, const struct audit_facts *facts, struct outbox_row *ret,
                 struct err *err)
{
    enum { EVENT, ANIME, REVIEW, UPDATE, N_IDS };
    const struct uuid ids[N_IDS] = {facts->event, facts->anime, facts->review, facts->update};
    char(*texts)[UUID_TEXT] = arena_array(arena, N_IDS, UUID_TEXT);
    Echora__Ops__V1__CatalogAudit *m = arena_alloc(arena, sizeof(*m));
    Google__Protobuf__Timestamp *at = arena_alloc(arena, sizeof(*at));
    if (!texts || !m || !at)
        return err_set(err, ERR_RETRY, "no-memory", "audit", "out of memory");
    for (int i = 0; i < N_IDS; i++)
        uuid_format(ids[i], texts[i]);
    google__protobuf__timestamp__init(at);
    int64_t now = wall_us();
    at->seconds = now / 1000000;
    at->nanos = (int32_t)(now % 1000000) * 1000;
    echora__ops__v1__catalog_audit__init(m);
    m->event_id = texts[EVENT];
    m->timestamp = at;
    m->action = (char *)(uintptr_t)facts->action;
    m->actor = (char *)(uintptr_t)facts->actor;
    m->note = (char *)(uintptr_t)facts->note;
    m->anime_id = texts[ANIME];
    m->review_id = texts[REVIEW];
    m->update_id = texts[UPDATE];
    m->revision = facts->revision;
    m->fields = review_name_list(arena, facts->fields, &m->n_fields);
    m->superseded_fields = review_name_list(arena, facts->superseded, &m->n_superseded_fields);
    if (!m->fields || !m->superseded_fields)
        return err_set(err, ERR_RETRY, "no-memory", "audit", "out of memory");
    *ret = (struct outbox_row){.def = registry_must("audit.catalog"),
                               .event_id = facts->event,
                               .entity_id = facts->anime,
                               .message = &m->base};
    return 0;
}
