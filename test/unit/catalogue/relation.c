/* Keys of relations to types. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/relation.h"
#include "test/unit/check.h"

static void test_keys(void)
{
    static const struct {
        const char *key, *type;
    } rows[] = {
        {"SEQUEL", "SEQUEL"},
        {"sequel", "SEQUEL"},
        {"Side story", "SIDE_STORY"},
        {"side-story", "SIDE_STORY"},
        {" Prequel ", "PREQUEL"},
        {"ANIME_RELATION_TYPE_FULL_STORY", "FULL_STORY"},
        {"anime_relation_type_summary", "SUMMARY"},
        {"ANIME_RELATION_TYPE_UNSPECIFIED", "UNSPECIFIED"},
        {"UNSPECIFIED", "UNSPECIFIED"},
        {"RELATED", "UNSPECIFIED"},
        {"related", "UNSPECIFIED"},
        {"", "UNSPECIFIED"},
        {"OTHER", "OTHER"},
        {"same franchise", "OTHER"},
        {"SEQUELS", "OTHER"},
        {"a key that is longer than any name of a type could ever be in this contract", "OTHER"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_STR(relation_type(view_of(rows[i].key)), rows[i].type);
    CHECK_STR(material_relation_type(VIEW_LIT("source_material_relation_type_adaptation")),
              "ADAPTATION");
    CHECK_STR(material_relation_type(VIEW_LIT("Source")), "SOURCE");
    CHECK_STR(material_relation_type(VIEW_LIT("SEQUEL")), "OTHER");
}

int main(void)
{
    RUN(test_keys);
    return check_result();
}
