/* The answers of a scroll; what else Qdrant may answer is the fuzz target's (test/fuzz/qdrant.c).
 */
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/client.h"

#include "test/unit/check.h"

#define ID(last) "0190a8a0-0000-7000-8000-00000000000" last

static const struct {
    const char *what, *from, *result;
    int more;
} pages[] = {
    {"the last page", ID("1"), "{\"points\":[],\"next_page_offset\":null}", 0},
    {"no member at all", ID("1"), "{\"points\":[]}", 0},
    {"no object", ID("1"), "[]", 0},
    {"the first page", NULL, "{\"next_page_offset\":\"" ID("2") "\"}", 1},
    {"a later page", ID("1"), "{\"next_page_offset\":\"" ID("2") "\"}", 1},
    {"the same page", ID("2"), "{\"next_page_offset\":\"" ID("2") "\"}", -1},
    {"an earlier page", ID("3"), "{\"next_page_offset\":\"" ID("2") "\"}", -1},
    {"a number", ID("1"), "{\"next_page_offset\":7}", -1},
    {"another text", ID("1"), "{\"next_page_offset\":\"x\"}", -1},
};

static void test_next_page(void)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        json_t *result = json_loads(pages[i].result, 0, NULL);
        struct uuid from = {{0}}, next = {{0}};
        struct err err = ERR_INIT;
        bool has_from = pages[i].from && uuid_parse(view_of(pages[i].from), &from);
        int more = qdrant_next_page(result, has_from ? &from : NULL, &next, &err);
        CHECK_ROW(more == pages[i].more, pages[i].what);
        CHECK_ROW((more < 0) == (strcmp(err.code, "qdrant-reply") == 0), pages[i].what);
        CHECK_ROW((more > 0) == !uuid_is_nil(next), pages[i].what);
        json_decref(result);
    }
}

int main(void)
{
    RUN(test_next_page);
    return check_result();
}
