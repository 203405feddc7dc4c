/* What is written for every relation of committed state and stored point. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/plan.h"

#include <stdio.h>

#include "test/unit/check.h"

enum { PRESENT = 1, NO_REV = 2, GONE = 4 }; /* of the stored point */

static const struct {
    const char *what;
    int64_t rev; /* committed */
    bool deleted;
    const char *emb;
    unsigned have;
    int64_t have_rev;
    const char *have_emb;
    bool repair;
    enum plan_action action;
    bool or_equal;
    bool settled; /* the stored point, as it is */
} rows[] = {
    {"new", 5, false, "a", 0, 0, "", false, PLAN_UPSERT, false, false},
    {"no rev", 5, false, "a", PRESENT | NO_REV, 0, "a", false, PLAN_UPSERT, false, false},
    {"same", 5, false, "a", PRESENT, 5, "a", false, PLAN_NOTHING, true, true},
    {"newer is there", 5, false, "a", PRESENT, 6, "b", false, PLAN_NOTHING, false, true},
    {"newer tombstone is there", 5, false, "a", PRESENT | GONE, 6, "", false, PLAN_NOTHING, false,
     true},
    {"payload alone", 5, false, "a", PRESENT, 4, "a", false, PLAN_PAYLOAD, false, false},
    {"other text", 5, false, "a", PRESENT, 4, "b", false, PLAN_UPSERT, false, false},
    {"pending before", 5, false, "a", PRESENT, 4, EMB_PENDING, false, PLAN_UPSERT, false, false},
    {"pending at this revision", 5, false, "a", PRESENT, 5, EMB_PENDING, false, PLAN_NOTHING, true,
     true},
    {"repair of a pending one", 5, false, "a", PRESENT, 5, EMB_PENDING, true, PLAN_UPSERT, true,
     true},
    {"repair rewrites", 5, false, "a", PRESENT, 5, "a", true, PLAN_UPSERT, true, true},
    {"repair leaves newer", 5, false, "a", PRESENT, 6, "a", true, PLAN_NOTHING, false, true},
    {"same revision, other vectors", 5, false, "a", PRESENT, 5, "b", false, PLAN_UPSERT, true,
     false},
    {"revived", 5, false, "a", PRESENT | GONE, 4, "", false, PLAN_UPSERT, false, false},
    {"gone and never there", 5, true, "", 0, 0, "", false, PLAN_TOMBSTONE, false, false},
    {"gone", 5, true, "", PRESENT, 4, "a", false, PLAN_TOMBSTONE, false, false},
    {"gone, tombstone older", 5, true, "", PRESENT | GONE, 4, "", false, PLAN_TOMBSTONE, false,
     false},
    {"gone, tombstone there", 5, true, "", PRESENT | GONE, 5, "", false, PLAN_NOTHING, true, true},
    {"gone, repaired", 5, true, "", PRESENT | GONE, 5, "", true, PLAN_TOMBSTONE, true, true},
    {"gone, but newer is there", 5, true, "", PRESENT, 6, "a", false, PLAN_NOTHING, false, true},
};

static void test_table(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct committed want = {.rev = rows[i].rev, .deleted = rows[i].deleted};
        struct stored have = {.present = rows[i].have & PRESENT,
                              .has_rev = (rows[i].have & PRESENT) && !(rows[i].have & NO_REV),
                              .rev = rows[i].have_rev,
                              .deleted = rows[i].have & GONE};
        snprintf(want.emb, sizeof(want.emb), "%s", rows[i].emb);
        snprintf(have.emb, sizeof(have.emb), "%s", rows[i].have_emb);
        struct plan plan = plan_point(&want, &have, rows[i].repair);
        CHECK_ROW(plan.action == rows[i].action, rows[i].what);
        CHECK_ROW(plan.action == PLAN_NOTHING || plan.or_equal == rows[i].or_equal, rows[i].what);
        CHECK_ROW(plan_settled(&want, &have) == rows[i].settled, rows[i].what);
        if (plan.action == PLAN_NOTHING) /* or an event would never end */
            CHECK_ROW(plan_settled(&want, &have), rows[i].what);
    }
}

int main(void)
{
    RUN(test_table);
    return check_result();
}
