// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/plan.h"

#include "events/base/fault.h"

static bool holds_embedding(const struct committed *want, const struct stored *have)
{
    return strcmp(have->emb, want->emb) == 0;
}

static bool is_pending(const struct stored *have)
{
    return strcmp(have->emb, EMB_PENDING) == 0;
}

struct plan plan_point(const struct committed *want, const struct stored *have, bool repair)
{
    bool at_all = have->present && have->has_rev;
    if (at_all && have->rev > want->rev)
        return (struct plan){PLAN_NOTHING, false};
    bool same = at_all && have->rev == want->rev;
    struct plan plan = {PLAN_UPSERT, repair || same};
    if (want->deleted) {
        if (FAULT("tombstone-omitted") && !have->present)
            return (struct plan){PLAN_NOTHING, false};
        plan.action = same && have->deleted && !repair ? PLAN_NOTHING : PLAN_TOMBSTONE;
        return plan;
    }
    if (!at_all || have->deleted || repair)
        return plan;
    if (same)
        plan.action = holds_embedding(want, have) || is_pending(have) ? PLAN_NOTHING : PLAN_UPSERT;
    else if (holds_embedding(want, have))
        plan.action = PLAN_PAYLOAD;
    return plan;
}

bool plan_settled(const struct committed *want, const struct stored *have)
{
    if (!have->present || !have->has_rev || have->rev < want->rev)
        return false;
    if (have->rev > want->rev)
        return true;
    if (want->deleted || have->deleted)
        return want->deleted == have->deleted;
    return holds_embedding(want, have) || is_pending(have);
}
