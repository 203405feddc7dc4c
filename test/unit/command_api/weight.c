/* How many values a JSON text can have: never less than a parser finds. */
// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/weight.h"

#include <jansson.h>

#include "test/unit/check.h"

static size_t values(const json_t *json)
{
    size_t n = 1, i;
    const char *name;
    json_t *one;

    json_object_foreach((json_t *)(uintptr_t)json, name, one) n += values(one);
    json_array_foreach(json, i, one) n += values(one);
    return n;
}

static void test_no_text_has_more(void)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "[[],[],{}]",
        "[0,1,2]",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\"}",
        "[\"a,b,[{\",\"\\\",\",\"\\\\\",1]",
        "{\"\\\\\":[1],\"\\\"[\":[2]}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_t *json = json_loads(texts[i], 0, NULL);

        CHECK(json != NULL);
        CHECK(json_values_most(view_of(texts[i])) >= values(json));
        CHECK(json_values_most(view_of(texts[i])) <= 2 * values(json));
        json_decref(json);
    }
}

static void test_what_stands_in_texts_does_not_count(void)
{
    CHECK_EQ_INT(json_values_most(VIEW_LIT("\",[{,,,\\\",,\"")), 1);
    CHECK_EQ_INT(json_values_most(VIEW_LIT("{\"a,,\":\",,\"}")), 2);
}

static void test_texts_that_end_within(void)
{
    static const char text[] = "[\"a\\\"b\\";

    for (size_t n = 0; n < sizeof(text); n++)
        CHECK(json_values_most((struct view){text, n}) <= 2);
    CHECK_EQ_INT(json_values_most((struct view){0}), 1);
}

int main(void)
{
    RUN(test_no_text_has_more);
    RUN(test_what_stands_in_texts_does_not_count);
    RUN(test_texts_that_end_within);
    return check_result();
}
