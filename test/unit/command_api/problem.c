/* Refusals: the table of the specification written out once more, and the JSON that callers get. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/problem.h"

#include <jansson.h>

#include "test/unit/check.h"

static const struct {
    enum problem problem;
    const char *code;
    int status;
    bool retryable;
} expected[] = {
    {PROBLEM_SYNTAX, "validation_error", 400, false},
    {PROBLEM_INVALID, "validation_error", 422, false},
    {PROBLEM_UNAUTHENTICATED, "unauthenticated", 401, false},
    {PROBLEM_SCOPE, "insufficient_scope", 403, false},
    {PROBLEM_NOT_FOUND, "not_found", 404, false},
    {PROBLEM_METHOD, "method_not_allowed", 405, false},
    {PROBLEM_IDEMPOTENCY, "idempotency_conflict", 409, false},
    {PROBLEM_DECIDED, "already_decided", 409, false},
    {PROBLEM_RUN_STATE, "run_state_conflict", 409, false},
    {PROBLEM_RUN_LOCK, "run_lock_conflict", 409, true},
    {PROBLEM_IN_PROGRESS, "request_in_progress", 409, true},
    {PROBLEM_TOO_LARGE, "payload_too_large", 413, false},
    {PROBLEM_MEDIA_TYPE, "unsupported_media_type", 415, false},
    {PROBLEM_HEAD_TOO_LARGE, "headers_too_large", 431, false},
    {PROBLEM_RATE, "rate_limited", 429, true},
    {PROBLEM_FAILED, "non_retryable_error", 500, false},
    {PROBLEM_UNAVAILABLE, "retryable_upstream_error", 503, true},
    {PROBLEM_TIMEOUT, "retryable_upstream_error", 504, true},
};

static json_t *written(const struct refusal *r)
{
    struct buf out = {.max = 1 << 16};

    problem_write(r, "0190f0c4-0000-7000-8000-000000000001", &out);
    json_t *json = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
    buf_deinit(&out);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void test_the_table(void)
{
    CHECK_EQ_INT(ARRAY_LEN(expected), PROBLEM_MAX - 1);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct refusal r = {0};
        char type[80];

        CHECK(!refuse(&r, expected[i].problem, "why: %d", 7));
        json_t *json = written(&r);
        snprintf(type, sizeof(type), "urn:echora:problem:%s", expected[i].code);
        CHECK_STR(text_of(json, "type"), type);
        CHECK_STR(text_of(json, "code"), expected[i].code);
        CHECK_STR(text_of(json, "instance"), "urn:uuid:0190f0c4-0000-7000-8000-000000000001");
        CHECK_STR(text_of(json, "detail"), "why: 7");
        CHECK(text_of(json, "title") != NULL && text_of(json, "title")[0] != '\0');
        CHECK_EQ_INT(json_integer_value(json_object_get(json, "status")), expected[i].status);
        CHECK_ROW(json_is_true(json_object_get(json, "retryable")) == expected[i].retryable,
                  expected[i].code);
        CHECK_ROW((refusal_retry_after_s(&r) > 0) == expected[i].retryable, expected[i].code);
        CHECK_EQ_INT(problem_find(view_of(expected[i].code), expected[i].status),
                     expected[i].problem);
        json_decref(json);
    }
    CHECK_EQ_INT(problem_find(VIEW_LIT("validation_error"), 0), PROBLEM_SYNTAX);
    CHECK_EQ_INT(problem_find(VIEW_LIT("validation_error"), 500), PROBLEM_NONE);
    CHECK_EQ_INT(problem_find(VIEW_LIT(""), 200), PROBLEM_NONE);
    CHECK_EQ_INT(problem_find(VIEW_LIT("pg-23505"), 409), PROBLEM_NONE);
}

static void test_violations(void)
{
    struct refusal r = {0};

    for (int i = 0; i < VIOLATIONS_MAX + 5; i++)
        violate(&r, "/run_id", "range");
    CHECK_EQ_INT(r.problem, PROBLEM_INVALID);
    json_t *json = written(&r);
    const json_t *list = json_object_get(json, "violations");
    CHECK_EQ_INT(json_array_size(list), VIOLATIONS_MAX);
    CHECK_STR(text_of(json_array_get(list, 3), "pointer"), "/run_id");
    CHECK_STR(text_of(json_array_get(list, 3), "code"), "range");
    json_decref(json);
}

static void test_extras_and_retry_after(void)
{
    struct refusal r = {.phase = "staged", .state = "running", .holder_run_id = 12};

    refuse(&r, PROBLEM_RUN_LOCK, "held");
    json_t *json = written(&r);
    CHECK_STR(text_of(json, "phase"), "staged");
    CHECK_STR(text_of(json, "state"), "running");
    CHECK_EQ_INT(json_integer_value(json_object_get(json, "holder_run_id")), 12);
    json_decref(json);
    r.retry_after_ms = 1001;
    CHECK_EQ_INT(refusal_retry_after_s(&r), 2);
    r.retry_after_ms = INT64_MAX;
    CHECK_EQ_INT(refusal_retry_after_s(&r), 3600);
    r.retry_after_ms = INT64_MIN;
    CHECK_EQ_INT(refusal_retry_after_s(&r), 30); /* the table's */
    refuse(&r, PROBLEM_FAILED, "never");         /* whoever asks for a pause: it would not help */
    CHECK_EQ_INT(refusal_retry_after_s(&r), 0);
    r = (struct refusal){.scope = "workflow.approve"};
    refuse(&r, PROBLEM_SCOPE, "no");
    json = written(&r);
    CHECK_STR(text_of(json, "scope"), "workflow.approve");
    CHECK(json_object_get(json, "phase") == NULL);
    json_decref(json);
}

static void test_texts_are_cut_between_characters(void)
{
    static const char *const long_text =
        "/\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5"
        "\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5";
    struct refusal r = {.problem = PROBLEM_NONE};

    for (size_t n = 4; n < 40; n++) {
        char out[40];

        problem_text(long_text, out, n);
        CHECK(strlen(out) < n && utf8_is_valid(bytes_of(view_of(out))));
    }
    violate(&r, "/a", long_text);
    violate(&r, "/a", "\xff\xc3");
    json_t *json = written(&r);
    CHECK(json != NULL);
    json_decref(json);
}

int main(void)
{
    RUN(test_the_table);
    RUN(test_violations);
    RUN(test_extras_and_retry_after);
    RUN(test_texts_are_cut_between_characters);
    return check_result();
}
