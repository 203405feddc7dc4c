/* The table, and the members of each call as the specification of the Command API lists them. */
// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/routes.h"

#include <stdio.h>

#include "workers/command_api/selector.h"

#define ROWS(table) .members = (table), .n_members = ARRAY_LEN(table)
#define NUMBER(name_, min_, max_)                                                                  \
    .name = (name_), .kind = MEMBER_NUMBER, .min = (min_), .max = (max_)
#define TEXT(name_, form_) .name = (name_), .kind = MEMBER_TEXT, .form = (form_)
#define CHOICE(name_, choices_) TEXT(name_, FORM_CHOICE), .choices = (choices_)
#define FREE(name_, min_, max_) TEXT(name_, FORM_FREE), .min = (min_), .max = (max_)
#define FLAG(name_) .name = (name_), .kind = MEMBER_FLAG
#define RUN_ID NUMBER("run_id", 1, MEMBER_INTEGER_MAX), .required = true

#define STAGES                                                                                     \
    "stage1|stage2|stage3|stage4|stage5|stage1_metadata_validation|stage2_episode_enrichment|"     \
    "stage3_character_match|stage4_cross_source_merge|stage5_final_assembly"
#define REVIEWED_BY FREE("reviewed_by", 1, 120), .required = true
#define REASON FREE("reason", 0, 500)

static const struct member check_tag[] = {{TEXT("source", FORM_SOURCE), .required = true}};

static const struct member start_run[] = {
    {TEXT("source", FORM_SOURCE), .required = true},
    {TEXT("tag", FORM_TAG), .required = true},
    {TEXT("artifact_url", FORM_URL)},
    {TEXT("sha256", FORM_HASH)},
    {CHOICE("mode", "incremental|bootstrap")},
    {CHOICE("until", "fetch|diff|stages|review")},
};

static const struct member build_diff[] = {
    {RUN_ID},
    {NUMBER("snapshot_id", 1, MEMBER_INTEGER_MAX)},
    {NUMBER("previous_snapshot_id", 1, MEMBER_INTEGER_MAX)},
    {FLAG("accept_shrink")},
};

static const struct member process_stages[] = {
    {RUN_ID},
    {TEXT("entries_ref", FORM_REF)},
    {NUMBER("from_stage", 1, 5)},
};

static const struct member build_review[] = {{RUN_ID}, {TEXT("entries_ref", FORM_REF)}};

/* Rules between the members of a decision, of one entry or of a rule. */
static void check_decision(const json_t *value, const char *pointer, struct refusal *r)
{
    const struct view decision = view_of(json_string_value(json_object_get(value, "decision")));
    const bool sends_back = view_is(decision, "send_back_to_stage");
    const bool approves = view_starts_with(decision, "approve_");
    char at[128];

    pointer_member(pointer, VIEW_LIT("target_stage"), at);
    if (sends_back != (json_object_get(value, "target_stage") != NULL))
        violate(r, at, sends_back ? "missing" : "not-allowed");
    pointer_member(pointer, VIEW_LIT("edits"), at);
    if (!approves && json_object_get(value, "edits") != NULL)
        violate(r, at, "not-allowed");
}

/* Fields by name, set by hand: scalars and lists of texts. Which fields there are, and what fits
 * them, is the responder's knowledge. */
static void check_edits(const json_t *edits, const char *pointer, struct refusal *r)
{
    const char *name;
    json_t *value, *one;
    size_t i;
    char at[128];

    json_object_foreach((json_t *)(uintptr_t)edits, name, value)
    {
        const double number = json_number_value(value); /* 0 of what is none */
        bool good = !json_is_object(value);

        json_array_foreach(value, i, one) good &= json_is_string(one);
        pointer_member(pointer, view_of(name), at);
        if (!good)
            violate(r, at, "type");
        else if (number < -(double)MEMBER_INTEGER_MAX || number > (double)MEMBER_INTEGER_MAX)
            violate(r, at, "range");
        else if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name) || !*name)
            violate(r, at, "unknown");
    }
}

#define DECISION                                                                                   \
    CHOICE("decision",                                                                             \
           "approve_ingest|approve_partial_ingest|send_back_to_stage|reject_entry|defer"),         \
        .required = true
#define RESOLUTION CHOICE("merge_resolution", "approve_merge_lock|keep_separate")

static const struct member entry_decision[] = {
    {TEXT("entry_key", FORM_HASH), .required = true},
    {DECISION},
    {CHOICE("target_stage", STAGES)},
    {RESOLUTION},
    {.name = "edits", .kind = MEMBER_OBJECT, .check = check_edits},
    {REASON},
    {REVIEWED_BY},
};
static const struct member batch_rule[] = {
    {.name = "selector",
     .kind = MEMBER_OBJECT,
     .required = true,
     .not_empty = true,
     .members = selector_conditions,
     .n_members = SELECTOR_CONDITIONS},
    {DECISION},
    {CHOICE("target_stage", STAGES)},
    {RESOLUTION},
    {REASON},
    {REVIEWED_BY},
};
static const struct member one_decision = {
    .kind = MEMBER_OBJECT, ROWS(entry_decision), .check = check_decision};
static const struct member one_rule = {
    .kind = MEMBER_OBJECT, ROWS(batch_rule), .check = check_decision};

#define BATCH_RULES                                                                                \
    .name = "batch_rules", .kind = MEMBER_LIST, .element = &one_rule, .min = 1, .max = 50

static const struct member submit_decisions[] = {
    {RUN_ID},
    {.name = "entry_decisions",
     .kind = MEMBER_LIST,
     .element = &one_decision,
     .min = 1,
     .max = 1000},
    {BATCH_RULES},
};

static void check_submission(const json_t *body, const char *pointer, struct refusal *r)
{
    if (json_object_get(body, "entry_decisions") == NULL &&
        json_object_get(body, "batch_rules") == NULL)
        violate(r, "/entry_decisions", "missing");
}

static const struct member preview_batch[] = {{RUN_ID}, {BATCH_RULES, .required = true}};

static const struct member replay_stage[] = {
    {RUN_ID},
    {TEXT("decision_batch_id", FORM_UUID), .required = true},
    {CHOICE("target_stage", STAGES), .required = true},
};

static const struct member ingest_approved[] = {{RUN_ID}, {TEXT("decision_batch_id", FORM_UUID)}};

static const struct member finalize_run[] = {{RUN_ID}, {FLAG("force")}};

static const struct member run_get[] = {{RUN_ID, .place = PLACE_PATH}};

static const struct member artifact_get[] = {
    {TEXT("sha256", FORM_HASH), .required = true, .place = PLACE_PATH}};

static const struct member run_entries[] = {
    {RUN_ID, .place = PLACE_PATH},
    {CHOICE("state", "pending|waiting|failed|review_pending|approved|rejected|sent_back|published"),
     .place = PLACE_QUERY},
    {NUMBER("limit", 1, 500), .place = PLACE_QUERY},
    {FREE("cursor", 1, 512), .place = PLACE_QUERY},
};

static const struct member update_get[] = {
    {TEXT("event_id", FORM_UUID), .required = true, .place = PLACE_PATH, .as = "review_id"}};

static const struct member update_decision[] = {
    {TEXT("event_id", FORM_UUID), .required = true, .place = PLACE_PATH, .as = "review_id"},
    {CHOICE("decision", "approve|reject"), .required = true},
    {REASON},
    {REVIEWED_BY},
};

#define DLQ_FILTER(...)                                                                            \
    {NUMBER("from_sequence", 1, MEMBER_INTEGER_MAX), __VA_ARGS__},                                 \
        {NUMBER("to_sequence", 1, MEMBER_INTEGER_MAX), __VA_ARGS__},                               \
        {FREE("consumer", 1, 256), __VA_ARGS__},                                                   \
        {CHOICE("class", "reject|retry-exhausted|crash|expired"), __VA_ARGS__},                    \
        {FREE("code", 1, 64), __VA_ARGS__}, {FREE("fingerprint", 1, 128), __VA_ARGS__},            \
        {TEXT("entity", FORM_UUID), __VA_ARGS__}, {TEXT("failed_from", FORM_TIME), __VA_ARGS__},   \
        {TEXT("failed_before", FORM_TIME), __VA_ARGS__},                                           \
        {CHOICE("state", "open|replayed|discarded|all"), __VA_ARGS__},                             \
    {                                                                                              \
        FLAG("parked"), __VA_ARGS__                                                                \
    }

static const struct member dlq_list[] = {
    DLQ_FILTER(.place = PLACE_QUERY, .into = "filter"),
    {CHOICE("group_by", "fingerprint"), .place = PLACE_QUERY},
    {NUMBER("cursor", 1, MEMBER_INTEGER_MAX), .place = PLACE_QUERY},
    {NUMBER("limit", 1, 1000), .place = PLACE_QUERY},
};

static const struct member dlq_show[] = {{NUMBER("seq", 1, MEMBER_INTEGER_MAX), .required = true,
                                          .place = PLACE_PATH, .as = "sequence"}};

static const struct member dlq_filter[] = {DLQ_FILTER(.place = PLACE_BODY)};

static const struct member dlq_plan[] = {
    {.name = "filter", .kind = MEMBER_OBJECT, ROWS(dlq_filter)},
    {FLAG("dry_run")},
    {TEXT("plan_id", FORM_UUID)},
    {FLAG("stop")},
    {NUMBER("rate", 0, INT32_MAX)},
    {FLAG("canary")},
    {NUMBER("max_failure_percent", 0, 100)},
    {NUMBER("wait_seconds", 0, 86400)},
};

static void check_plan(const json_t *body, const char *pointer, struct refusal *r)
{
    const bool named = json_object_get(body, "plan_id") != NULL;

    if (named == (json_object_get(body, "filter") != NULL))
        violate(r, "/filter", named ? "not-allowed" : "missing");
    if (!named && json_is_true(json_object_get(body, "stop")))
        violate(r, "/plan_id", "missing");
}

static const struct member reconcile[] = {
    {CHOICE("kind", "anime|character|episode")},
    {TEXT("from_id", FORM_UUID)},
    {TEXT("to_id", FORM_UUID)},
    {FLAG("repair")},
    {NUMBER("rate", 1, INT32_MAX)},
    {NUMBER("limit", 1, MEMBER_INTEGER_MAX)},
};

static void check_reconcile(const json_t *body, const char *pointer, struct refusal *r)
{
    if (json_object_get(body, "limit") != NULL && json_object_get(body, "kind") == NULL)
        violate(r, "/kind", "missing");
}

#define POST_UP_TO(body_max_, path_, call_, subject_, scope_)                                      \
    .method = "POST", .path = (path_), .call = (call_), .subject = (subject_), .scope = (scope_),  \
    .body_max = (body_max_)
#define POST(path_, call_, subject_, scope_) POST_UP_TO(BODY_MAX, path_, call_, subject_, scope_)
#define WORKFLOW(call_, scope_) POST("/workflow/" call_, call_, "command." call_, scope_)
#define GET(path_, call_, subject_, scope_)                                                        \
    .method = "GET", .path = (path_), .call = (call_), .subject = (subject_), .scope = (scope_),   \
    .success = 200

const struct route routes[] = {
    {WORKFLOW("check-tag", SCOPE_READ), .success = 200, ROWS(check_tag),
     .summary = "The newest tag of a source, and whether it is another than the last accepted."},
    {WORKFLOW("start-incremental-run", SCOPE_EXECUTE), .keyed = true, .success = 201,
     ROWS(start_run), .summary = "Starts a run over a source's snapshot."},
    {WORKFLOW("build-diff", SCOPE_EXECUTE), .keyed = true, .lengthy = true, .success = 200,
     ROWS(build_diff),
     .summary = "Compares the snapshot with what is known. accept_shrink: true needs the scope "
                "workflow.approve, too."},
    {WORKFLOW("process-stages", SCOPE_EXECUTE), .keyed = true, .lengthy = true, .success = 200,
     ROWS(process_stages), .summary = "Runs stages 1 to 5."},
    {WORKFLOW("build-stage6-review", SCOPE_EXECUTE), .keyed = true, .lengthy = true, .success = 200,
     ROWS(build_review), .summary = "Makes the packet that a person reviews."},
    {POST_UP_TO(DECISIONS_BODY_MAX, "/workflow/submit-stage6-decisions", "submit-stage6-decisions",
                "command.submit-stage6-decisions", SCOPE_APPROVE),
     .keyed = true, .success = 200, ROWS(submit_decisions), .check = check_submission,
     .summary = "A person's decisions about entries, one by one or by rules."},
    {WORKFLOW("preview-stage6-batch", SCOPE_READ), .success = 200, ROWS(preview_batch),
     .summary = "What rules would decide, without deciding."},
    {WORKFLOW("replay-stage", SCOPE_APPROVE), .keyed = true, .lengthy = true, .success = 200,
     ROWS(replay_stage), .summary = "Sends a batch's entries through a stage again."},
    {WORKFLOW("ingest-approved", SCOPE_EXECUTE), .keyed = true, .lengthy = true, .success = 200,
     ROWS(ingest_approved), .summary = "Publishes approved entries."},
    {WORKFLOW("finalize-run", SCOPE_EXECUTE), .keyed = true, .success = 200, ROWS(finalize_run),
     .summary = "Ends a run and releases its lock."},

    {GET("/workflow/runs/{run_id}", "run-get", "command.run-get", SCOPE_READ), ROWS(run_get),
     .summary = "A run's progress."},
    {GET("/workflow/runs/{run_id}/entries", "run-entries", "command.run-entries", SCOPE_READ),
     ROWS(run_entries), .summary = "A run's entries, page by page."},
    {GET("/workflow/artifacts/{sha256}", "artifact-get", "command.artifact-get", SCOPE_APPROVE),
     .bridge = BRIDGE_ARTIFACT, ROWS(artifact_get),
     .summary = "The bytes that a run's reference names."},
    {GET("/updates/{event_id}", "update-get", "catalog.review.get", SCOPE_APPROVE),
     .bridge = BRIDGE_REVIEW, ROWS(update_get),
     .summary = "A risky update: its fields as they stand and as proposed."},
    {POST("/updates/{event_id}/decision", "update-decision", "catalog.review.decide",
          SCOPE_APPROVE),
     .keyed = true, .success = 200, .bridge = BRIDGE_DECISION, ROWS(update_decision),
     .summary = "Applies or discards a risky update."},
    {GET("/dlq", "dlq-list", "dlq.list", SCOPE_READ), .bridge = BRIDGE_LETTERS, ROWS(dlq_list),
     .summary = "Dead letters, newest first."},
    {GET("/dlq/{seq}", "dlq-show", "dlq.show", SCOPE_READ), .bridge = BRIDGE_LETTER, ROWS(dlq_show),
     .summary = "One dead letter, without its payload."},
    {POST("/dlq/replay", "dlq-replay", "dlq.replay", SCOPE_APPROVE), .keyed = true, .success = 202,
     .bridge = BRIDGE_PLAN, ROWS(dlq_plan), .check = check_plan, .names_actor = true,
     .summary = "Makes, runs or stops a plan that publishes dead letters again."},
    {POST("/dlq/discard", "dlq-discard", "dlq.discard", SCOPE_APPROVE), .keyed = true,
     .success = 202, .bridge = BRIDGE_PLAN, ROWS(dlq_plan), .check = check_plan,
     .names_actor = true,
     .summary = "Makes, runs or stops a plan after which dead letters are no longer offered."},
    {POST("/operations/reconcile", "reconcile", "catalog.reconcile", SCOPE_EXECUTE), .keyed = true,
     .success = 202, .bridge = BRIDGE_RECONCILE, ROWS(reconcile), .check = check_reconcile,
     .summary = "Compares the search index with the catalogue, and repairs it when told to."},
};
const size_t n_routes = ARRAY_LEN(routes);

/* Segment by segment; a name in braces takes any segment that is not empty. */
static bool matches(const char *pattern, struct view path, struct view ids[static ROUTE_IDS_MAX])
{
    struct view want = view_of(pattern), want_part, part;
    unsigned n = 0;

    while (view_split(&want, '/', &want_part)) {
        if (!view_split(&path, '/', &part))
            return false;
        if (want_part.n > 0 && want_part.p[0] == '{') {
            if (part.n == 0)
                return false;
            ids[n++] = part;
        } else if (!view_eq(want_part, part)) {
            return false;
        }
    }
    return path.p == NULL;
}

/* A path that is spelled out is never an id of a pattern: /dlq/replay is no letter. */
static bool is_spelled_out(struct view path)
{
    for (size_t i = 0; i < n_routes; i++) {
        if (view_is(path, routes[i].path) && strchr(routes[i].path, '{') == NULL)
            return true;
    }
    return false;
}

const struct route *route_match(struct view method, struct view path,
                                struct view ret_ids[static ROUTE_IDS_MAX],
                                char ret_allow[static 32])
{
    struct view ids[ROUTE_IDS_MAX] = {0};

    const bool spelled_out = is_spelled_out(path);

    ret_allow[0] = '\0';
    for (size_t i = 0; i < n_routes; i++) {
        if (spelled_out ? !view_is(path, routes[i].path) : !matches(routes[i].path, path, ids))
            continue;
        if (view_is(method, routes[i].method)) {
            memcpy(ret_ids, ids, sizeof(ids));
            return &routes[i];
        }
        const size_t n = strlen(ret_allow);
        if (strstr(ret_allow, routes[i].method) == NULL)
            (void)snprintf(ret_allow + n, 32 - n, "%s%s", n > 0 ? ", " : "", routes[i].method);
    }
    return NULL;
}

bool route_answers(const struct route *route, int64_t status)
{
    return status == route->success || (status == 202 && route->lengthy) ||
           (status == 200 && route->bridge == BRIDGE_PLAN);
}

struct view route_id_name(const struct route *route, unsigned i)
{
    struct view rest = view_of(route->path), part;

    while (view_split(&rest, '/', &part)) {
        if (part.n > 2 && part.p[0] == '{' && i-- == 0)
            return (struct view){part.p + 1, part.n - 2};
    }
    return (struct view){0};
}
