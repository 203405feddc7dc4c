/* The members of every call: one good body each, and each rule broken once. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/members.h"

#include "test/unit/check.h"
#include "workers/command_api/routes.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"
#define ONE "\"entry_key\":\"" KEY "\",\"reviewed_by\":\"anna\""

static struct refusal faults_of(const char *call, const char *body)
{
    struct refusal r = {0};
    json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);

    CHECK_ROW(json != NULL, body);
    json = members_settle(json);
    for (size_t i = 0; i < n_routes; i++) {
        if (strcmp(routes[i].call, call) != 0)
            continue;
        members_check(routes[i].members, routes[i].n_members, json, "", &r);
        if (r.problem == PROBLEM_NONE && routes[i].check != NULL)
            routes[i].check(json, "", &r);
    }
    json_decref(json);
    return r;
}

static const struct {
    const char *call, *body;
} good[] = {
    {"check-tag", "{\"source\":\"manami-1_x\"}"},
    {"start-incremental-run", "{\"source\":\"manami\",\"tag\":\"2026-01.A_b\"}"},
    {"start-incremental-run",
     "{\"source\":\"manami\",\"tag\":\"a\",\"artifact_url\":\"https://e.org/x?y\",\"sha256\":\"" KEY
     "\",\"mode\":\"bootstrap\",\"until\":\"review\"}"},
    {"build-diff",
     "{\"run_id\":1.0,\"snapshot_id\":9007199254740991.0,\"previous_snapshot_id\":1e3}"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE ",\"decision\":\"approve_ingest\",\"edits\":"
     "{\"a_1\":null,\"b\":[],\"c\":[\"x\"],\"d\":1.5,\"e\":9007199254740991,\"f\":true}}]}"},
    {"build-diff", "{\"run_id\":9007199254740991,\"snapshot_id\":1,\"accept_shrink\":true}"},
    {"process-stages", "{\"run_id\":1,\"entries_ref\":\"artifact:sha256/" KEY "\","
                       "\"from_stage\":5}"},
    {"build-stage6-review", "{\"run_id\":1,\"entries_ref\":\"s3://b/sha256/x\"}"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE ",\"decision\":\"approve_ingest\",\"edits\":"
     "{\"title\":\"x\"},\"merge_resolution\":\"keep_separate\",\"reason\":\"\"},{" ONE
     ",\"decision\":\"send_back_to_stage\",\"target_stage\":\"stage3_character_match\"}],"
     "\"batch_rules\":[{\"selector\":{\"issues_count\":{\"lte\":2},\"kind\":[\"new\"],\"year\":"
     "{\"gte\":1990}},\"decision\":\"defer\",\"reviewed_by\":\"anna\"}]}"},
    {"preview-stage6-batch",
     "{\"run_id\":1,\"batch_rules\":[{\"selector\":{\"all\":true},\"decision\":\"reject_entry\","
     "\"reviewed_by\":\"anna\"}]}"},
    {"replay-stage", "{\"run_id\":1,\"decision_batch_id\":\"" ID "\",\"target_stage\":\"stage2\"}"},
    {"ingest-approved", "{\"run_id\":1}"},
    {"finalize-run", "{\"run_id\":1,\"force\":false}"},
    {"run-entries", "{\"run_id\":1,\"state\":\"review_pending\",\"limit\":500}"},
    {"update-decision", "{\"event_id\":\"" ID "\",\"decision\":\"approve\",\"reviewed_by\":\"a\"}"},
    {"dlq-replay", "{\"filter\":{\"consumer\":\"catalog-updated\",\"class\":\"reject\","
                   "\"failed_from\":\"2026-01-01T00:00:00Z\"},\"dry_run\":true}"},
    {"dlq-discard", "{\"plan_id\":\"" ID "\",\"stop\":true}"},
    {"reconcile", "{}"},
    {"reconcile", "{\"kind\":\"anime\",\"limit\":5,\"repair\":true}"},
};

static void test_good_bodies(void)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const struct refusal r = faults_of(good[i].call, good[i].body);

        if (!CHECK_ROW(r.problem == PROBLEM_NONE, good[i].body))
            fprintf(stderr, "  %s %s\n", r.violations[0].pointer, r.violations[0].code);
    }
}

static const struct {
    const char *call, *body, *pointer, *code;
} bad[] = {
    {"check-tag", "{}", "/source", "missing"},
    {"check-tag", "{\"source\":\"A\"}", "/source", "pattern"},
    {"check-tag", "{\"source\":\"\"}", "/source", "pattern"},
    {"check-tag", "{\"source\":7}", "/source", "type"},
    {"check-tag", "{\"source\":null}", "/source", "type"},
    {"check-tag", "{\"source\":\"a\",\"sou/rce\":1}", "/sou?rce", "unknown"},
    {"start-incremental-run", "{\"source\":\"a\",\"tag\":\"a/b\"}", "/tag", "pattern"},
    {"start-incremental-run", "{\"source\":\"a\",\"tag\":\"a\",\"artifact_url\":\"http://e.org/\"}",
     "/artifact_url", "pattern"},
    {"start-incremental-run", "{\"source\":\"a\",\"tag\":\"a\",\"sha256\":\"AB\"}", "/sha256",
     "pattern"},
    {"start-incremental-run", "{\"source\":\"a\",\"tag\":\"a\",\"mode\":\"full\"}", "/mode",
     "choice"},
    {"build-diff", "{\"run_id\":0}", "/run_id", "range"},
    {"build-diff", "{\"run_id\":9007199254740992}", "/run_id", "range"},
    {"build-diff", "{\"run_id\":1.5}", "/run_id", "type"},
    {"build-diff", "{\"run_id\":1e300}", "/run_id", "type"},
    {"build-diff", "{\"run_id\":9007199254740992.0}", "/run_id", "type"},
    {"build-diff", "{\"run_id\":\"1\"}", "/run_id", "type"},
    {"build-diff", "{\"run_id\":1,\"accept_shrink\":1}", "/accept_shrink", "type"},
    {"process-stages", "{\"run_id\":1,\"from_stage\":6}", "/from_stage", "range"},
    {"process-stages", "{\"run_id\":1,\"entries_ref\":\"/etc/passwd\"}", "/entries_ref", "pattern"},
    {"submit-stage6-decisions", "{\"run_id\":1}", "/entry_decisions", "missing"},
    {"submit-stage6-decisions", "{\"run_id\":1,\"entry_decisions\":[]}", "/entry_decisions",
     "items"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE ",\"decision\":\"defer\",\"edits\":{}}]}",
     "/entry_decisions/0/edits", "not-allowed"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE
     ",\"decision\":\"approve_ingest\",\"edits\":{\"a\":{}}}]}",
     "/entry_decisions/0/edits/a", "type"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE
     ",\"decision\":\"approve_ingest\",\"edits\":{\"a\":[\"x\",1]}}]}",
     "/entry_decisions/0/edits/a", "type"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE
     ",\"decision\":\"approve_ingest\",\"edits\":{\"a\":-9007199254740992}}]}",
     "/entry_decisions/0/edits/a", "range"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE
     ",\"decision\":\"approve_ingest\",\"edits\":{\"A\":1}}]}",
     "/entry_decisions/0/edits/A", "unknown"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE ",\"decision\":\"send_back_to_stage\"}]}",
     "/entry_decisions/0/target_stage", "missing"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE
     ",\"decision\":\"defer\",\"target_stage\":\"stage1\"}]}",
     "/entry_decisions/0/target_stage", "not-allowed"},
    {"submit-stage6-decisions",
     "{\"run_id\":1,\"entry_decisions\":[{" ONE
     ",\"decision\":\"defer\",\"reason\":\"a\\u0007\"}]}",
     "/entry_decisions/0/reason", "pattern"},
    {"preview-stage6-batch",
     "{\"run_id\":1,\"batch_rules\":[{\"selector\":{},\"decision\":\"defer\",\"reviewed_by\":"
     "\"a\"}]}",
     "/batch_rules/0/selector", "empty"},
    {"preview-stage6-batch",
     "{\"run_id\":1,\"batch_rules\":[{\"selector\":{\"all\":false},\"decision\":\"defer\","
     "\"reviewed_by\":\"a\"}]}",
     "/batch_rules/0/selector/all", "choice"},
    {"preview-stage6-batch",
     "{\"run_id\":1,\"batch_rules\":[{\"selector\":{\"issues_count\":{\"lte\":1,\"gte\":1}},"
     "\"decision\":"
     "\"defer\",\"reviewed_by\":\"a\"}]}",
     "/batch_rules/0/selector/issues_count/gte", "unknown"},
    {"preview-stage6-batch",
     "{\"run_id\":1,\"batch_rules\":[{\"selector\":{\"all\":true},\"decision\":\"approve_ingest\","
     "\"edits\":{},\"reviewed_by\":\"a\"}]}",
     "/batch_rules/0/edits", "unknown"},
    {"preview-stage6-batch",
     "{\"run_id\":1,\"batch_rules\":[{\"selector\":{\"all\":true},\"decision\":\"defer\","
     "\"reviewed_by\":\"\"}]}",
     "/batch_rules/0/reviewed_by", "length"},
    {"replay-stage", "{\"run_id\":1,\"decision_batch_id\":\"7\",\"target_stage\":\"stage2\"}",
     "/decision_batch_id", "pattern"},
    {"update-decision", "{\"event_id\":\"" ID "\",\"decision\":\"defer\",\"reviewed_by\":\"a\"}",
     "/decision", "choice"},
    {"dlq-replay", "{}", "/filter", "missing"},
    {"dlq-replay", "{\"filter\":{},\"plan_id\":\"" ID "\"}", "/filter", "not-allowed"},
    {"dlq-replay", "{\"filter\":{},\"stop\":true}", "/plan_id", "missing"},
    {"dlq-replay", "{\"filter\":{},\"actor\":\"somebody\"}", "/actor", "unknown"},
    {"dlq-replay", "{\"filter\":{\"failed_from\":\"today\"}}", "/filter/failed_from", "pattern"},
    {"reconcile", "{\"limit\":5}", "/kind", "missing"},
};

static void test_each_rule(void)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct refusal r = faults_of(bad[i].call, bad[i].body);

        if (!CHECK_ROW(r.problem == PROBLEM_INVALID && r.n_violations == 1, bad[i].body))
            continue;
        CHECK_STR(r.violations[0].pointer, bad[i].pointer);
        CHECK_STR(r.violations[0].code, bad[i].code);
    }
}

static void test_limits_of_lists_and_texts(void)
{
    struct buf body = {.max = 1 << 20};

    for (int n = 50; n <= 51; n++) {
        buf_reset(&body);
        buf_puts(&body, "{\"run_id\":1,\"batch_rules\":[");
        for (int i = 0; i < n; i++)
            buf_printf(&body,
                       "%s{\"selector\":{\"all\":true},\"decision\":\"defer\",\"reviewed_by\":"
                       "\"a\"}",
                       i > 0 ? "," : "");
        buf_puts(&body, "]}");
        CHECK_EQ_INT(faults_of("preview-stage6-batch", buf_cstr(&body)).n_violations, n > 50);
    }
    for (int n = 500; n <= 501; n++) {
        buf_reset(&body);
        buf_printf(&body,
                   "{\"event_id\":\"" ID "\",\"decision\":\"reject\",\"reviewed_by\":\"a\","
                   "\"reason\":\"%0*d\"}",
                   n, 0);
        CHECK_EQ_INT(faults_of("update-decision", buf_cstr(&body)).n_violations, n > 500);
    }
    buf_deinit(&body);
}

static void test_names_on_the_bus(void)
{
    json_t *json = json_loads("{\"event_id\":\"" ID "\",\"decision\":\"reject\"}", 0, NULL);
    json_t *list = json_loads("{\"consumer\":\"a\",\"limit\":5}", 0, NULL);

    for (size_t i = 0; i < n_routes; i++) {
        if (strcmp(routes[i].call, "update-decision") == 0)
            CHECK(members_for_bus(routes[i].members, routes[i].n_members, json));
        if (strcmp(routes[i].call, "dlq-list") == 0)
            CHECK(members_for_bus(routes[i].members, routes[i].n_members, list));
    }
    CHECK_STR(json_string_value(json_object_get(json, "review_id")), ID);
    CHECK(json_object_get(json, "event_id") == NULL);
    CHECK_STR(json_string_value(json_object_get(json_object_get(list, "filter"), "consumer")), "a");
    CHECK_EQ_INT(json_integer_value(json_object_get(list, "limit")), 5);
    CHECK_EQ_INT(json_object_size(list), 2);
    json_decref(json);
    json_decref(list);
}

int main(void)
{
    RUN(test_good_bodies);
    RUN(test_each_rule);
    RUN(test_limits_of_lists_and_texts);
    RUN(test_names_on_the_bus);
    return check_result();
}
