// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/selector.h"

#define VALUES_MAX 64
#define NAME(name_)                                                                                \
    .name = (name_), .kind = MEMBER_LIST, .element = &word, .min = 1, .max = VALUES_MAX

static const struct member word = {.kind = MEMBER_TEXT, .form = FORM_FREE, .min = 1, .max = 64};
static const struct member lte[] = {
    {.name = "lte", .kind = MEMBER_NUMBER, .max = INT32_MAX, .required = true}};
static const struct member years[] = {{.name = "gte", .kind = MEMBER_NUMBER, .max = 9999},
                                      {.name = "lte", .kind = MEMBER_NUMBER, .max = 9999}};

/* A number, or {"lte": number}. */
static void check_count(const json_t *value, const char *pointer, struct refusal *r)
{
    if (json_is_object(value))
        members_check(lte, ARRAY_LEN(lte), value, pointer, r);
    else if (!json_is_integer(value))
        violate(r, pointer, "type");
    else if (json_integer_value(value) < 0 || json_integer_value(value) > INT32_MAX)
        violate(r, pointer, "range");
}

static void check_all(const json_t *value, const char *pointer, struct refusal *r)
{
    if (!json_is_true(value))
        violate(r, pointer, "choice");
}

const struct member selector_conditions[SELECTOR_CONDITIONS] = {
    {.name = "issues_count", .kind = MEMBER_CUSTOM, .check = check_count},
    {NAME("issue_any")},
    {NAME("issue_none")},
    {NAME("kind")},
    {NAME("state")},
    {NAME("type")},
    {NAME("status")},
    {.name = "year",
     .kind = MEMBER_OBJECT,
     .members = years,
     .n_members = ARRAY_LEN(years),
     .not_empty = true},
    {.name = "all", .kind = MEMBER_CUSTOM, .check = check_all},
};
