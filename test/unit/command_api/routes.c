/* The route table against the specification's two tables, and the matching of paths. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/routes.h"

#include <jansson.h>

#include "test/unit/check.h"
#include "workers/command_api/target.h"

static const struct {
    const char *method, *path, *subject;
    unsigned scope;
    bool keyed;
    bool lengthy;
    int success;
} expected[] = {
    {"POST", "/workflow/check-tag", "command.check-tag", SCOPE_READ, false, false, 200},
    {"POST", "/workflow/start-incremental-run", "command.start-incremental-run", SCOPE_EXECUTE,
     true, false, 201},
    {"POST", "/workflow/build-diff", "command.build-diff", SCOPE_EXECUTE, true, true, 200},
    {"POST", "/workflow/process-stages", "command.process-stages", SCOPE_EXECUTE, true, true, 200},
    {"POST", "/workflow/build-stage6-review", "command.build-stage6-review", SCOPE_EXECUTE, true,
     true, 200},
    {"POST", "/workflow/submit-stage6-decisions", "command.submit-stage6-decisions", SCOPE_APPROVE,
     true, false, 200},
    {"POST", "/workflow/preview-stage6-batch", "command.preview-stage6-batch", SCOPE_READ, false,
     false, 200},
    {"POST", "/workflow/replay-stage", "command.replay-stage", SCOPE_APPROVE, true, true, 200},
    {"POST", "/workflow/ingest-approved", "command.ingest-approved", SCOPE_EXECUTE, true, true,
     200},
    {"POST", "/workflow/finalize-run", "command.finalize-run", SCOPE_EXECUTE, true, false, 200},
    {"GET", "/workflow/runs/7", "command.run-get", SCOPE_READ, false, false, 200},
    {"GET", "/workflow/runs/7/entries", "command.run-entries", SCOPE_READ, false, false, 200},
    {"GET", "/workflow/artifacts/ab", "command.artifact-get", SCOPE_APPROVE, false, false, 200},
    {"GET", "/updates/x", "catalog.review.get", SCOPE_APPROVE, false, false, 200},
    {"POST", "/updates/x/decision", "catalog.review.decide", SCOPE_APPROVE, true, false, 200},
    {"GET", "/dlq", "dlq.list", SCOPE_READ, false, false, 200},
    {"GET", "/dlq/5", "dlq.show", SCOPE_READ, false, false, 200},
    {"POST", "/dlq/replay", "dlq.replay", SCOPE_APPROVE, true, false, 202},
    {"POST", "/dlq/discard", "dlq.discard", SCOPE_APPROVE, true, false, 202},
    {"POST", "/operations/reconcile", "catalog.reconcile", SCOPE_EXECUTE, true, false, 202},
};

static const struct route *find(const char *method, const char *path, char allow[static 32])
{
    struct view ids[ROUTE_IDS_MAX];

    return route_match(view_of(method), view_of(path), ids, allow);
}

static void test_every_route(void)
{
    char allow[32];

    CHECK_EQ_INT(n_routes, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const struct route *r = find(expected[i].method, expected[i].path, allow);

        if (!CHECK_ROW(r != NULL, expected[i].path))
            continue;
        CHECK_STR(r->subject, expected[i].subject);
        CHECK_ROW(r->scope == expected[i].scope, expected[i].path);
        CHECK_ROW(r->keyed == expected[i].keyed, expected[i].path);
        CHECK_ROW(r->lengthy == expected[i].lengthy, expected[i].path);
        CHECK_ROW(r->success == expected[i].success, expected[i].path);
        CHECK_ROW((r->body_max > 0) == (strcmp(r->method, "POST") == 0), expected[i].path);
        CHECK_ROW(r->n_members > 0 && r->summary != NULL, expected[i].path);
    }
    CHECK_EQ_INT(find("POST", "/workflow/submit-stage6-decisions", allow)->body_max, 1 << 20);
    CHECK_EQ_INT(find("POST", "/workflow/build-diff", allow)->body_max, 256 << 10);
}

static void test_what_is_spelled_out_is_no_id(void)
{
    char allow[32];

    CHECK(find("GET", "/dlq/replay", allow) == NULL);
    CHECK_STR(allow, "POST");
    CHECK(find("POST", "/dlq/7", allow) == NULL);
    CHECK_STR(allow, "GET");
    CHECK(find("GET", "/dlq/replays", allow) != NULL && find("GET", "/dlq/{seq}", allow) != NULL);
}

static void test_ids_are_members_of_the_path(void)
{
    for (size_t i = 0; i < n_routes; i++) {
        unsigned n = 0;

        for (; route_id_name(&routes[i], n).p != NULL; n++) {
            const struct member *row =
                member_find(routes[i].members, routes[i].n_members, route_id_name(&routes[i], n));
            CHECK_ROW(row != NULL && row->place == PLACE_PATH && row->required, routes[i].path);
        }
        for (size_t m = 0; m < routes[i].n_members; m++)
            n -= routes[i].members[m].place == PLACE_PATH;
        CHECK_ROW(n == 0, routes[i].path);
    }
}

static void test_paths_that_are_none(void)
{
    static const char *const paths[] = {
        "/",
        "/workflow",
        "/workflow/",
        "/workflow/check-tag/",
        "//dlq",
        "/dlq/",
        "/dlq/5/x",
        "/workflow/runs//entries",
        "/DLQ",
        "/dlq%2f5",
        "/updates/x/",
        "/workflow/runs/../check-tag",
        "/updates",
        "/workflow/",
        "/workflow/runs/7/entries/8",
    };
    char allow[32];

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        CHECK_ROW(find("GET", paths[i], allow) == NULL && allow[0] == '\0', paths[i]);
}

static void test_methods(void)
{
    char allow[32];

    CHECK(find("PUT", "/workflow/check-tag", allow) == NULL);
    CHECK_STR(allow, "POST");
    CHECK(find("post", "/workflow/check-tag", allow) == NULL);
    CHECK(find("GET", "/dlq/replay", allow) == NULL);
    CHECK_STR(allow, "POST");
    CHECK(find("HEAD", "/dlq", allow) == NULL);
    CHECK_STR(allow, "GET");
}

static void test_targets(void)
{
    struct target t;
    char long_one[TARGET_MAX + 2];

    CHECK(target_split(VIEW_LIT("/dlq"), &t) && view_is(t.path, "/dlq") && t.query.p == NULL);
    CHECK(target_split(VIEW_LIT("/dlq?"), &t) && view_is(t.path, "/dlq") && t.query.n == 0);
    CHECK(target_split(VIEW_LIT("/dlq?a=b?c"), &t) && view_is(t.query, "a=b?c"));
    CHECK(!target_split(VIEW_LIT(""), &t));
    CHECK(!target_split(VIEW_LIT("*"), &t));
    CHECK(!target_split(VIEW_LIT("http://a/dlq"), &t));
    CHECK(!target_split(VIEW_LIT("/dlq?a b"), &t));
    CHECK(!target_split(VIEW_LIT("/dlq#a"), &t));
    CHECK(!target_split(VIEW_LIT("/dlq\x80"), &t));
    memset(long_one, 'a', sizeof(long_one));
    long_one[0] = '/';
    CHECK(target_split((struct view){long_one, TARGET_MAX}, &t));
    CHECK(!target_split((struct view){long_one, TARGET_MAX + 1}, &t));
}

static unsigned query_faults(const char *query, const char **ret_first, json_t **ret)
{
    static struct refusal r;
    struct arena *arena = arena_new(1 << 16);
    char allow[32];

    r = (struct refusal){0};
    *ret = json_object();
    target_query(view_of(query), find("GET", "/dlq", allow), arena, *ret, &r);
    *ret_first = r.n_violations > 0 ? r.violations[0].code : "";
    arena_free(arena);
    return r.n_violations;
}

static void test_queries(void)
{
    const char *code;
    json_t *json;

    CHECK_EQ_INT(query_faults("consumer=a%2Bb+c&from_sequence=7&parked=true", &code, &json), 0);
    CHECK_STR(json_string_value(json_object_get(json, "consumer")), "a+b c");
    CHECK_EQ_INT(json_integer_value(json_object_get(json, "from_sequence")), 7);
    CHECK(json_is_true(json_object_get(json, "parked")));
    json_decref(json);
    static const struct {
        const char *query, *code;
    } bad[] = {
        {"consumer=a&consumer=a", "repeated"},
        {"payload=1", "unknown"},
        {"&", "unknown"},
        {"consumer=%4", "escape"},
        {"consumer=%zz", "escape"},
        {"consumer=%ff", "type"},
        {"consumer=%00", "type"},
        {"from_sequence=7x", "type"},
        {"from_sequence=", "type"},
        {"from_sequence=+7", "type"},
        {"parked=yes", "type"},
        {"consumer", "type"},
        {"seq=7", "unknown"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_ROW(query_faults(bad[i].query, &code, &json) > 0, bad[i].query);
        CHECK_STR(code, bad[i].code);
        json_decref(json);
    }
}

int main(void)
{
    RUN(test_every_route);
    RUN(test_what_is_spelled_out_is_no_id);
    RUN(test_ids_are_members_of_the_path);
    RUN(test_paths_that_are_none);
    RUN(test_methods);
    RUN(test_targets);
    RUN(test_queries);
    return check_result();
}
