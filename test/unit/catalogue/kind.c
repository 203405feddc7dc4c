/* The table of stored fields against the contract's descriptors. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/kind.h"
#include "test/unit/check.h"

static void test_every_domain_field_is_accounted_for(void)
{
    for (int k = 0; k < N_KINDS; k++) {
        const struct kind *kind = &kinds[k];
        CHECK(kind->kind == (enum entity_kind)k);
        CHECK(kind->n_fields <= 63);
        CHECK_EQ_INT(kind->n_fields, kind->message->n_fields);
        for (unsigned i = 0; i < kind->n_fields && i < kind->message->n_fields; i++)
            CHECK_STR(kind->fields[i].name, kind->message->fields[i].name);
    }
}

static void test_masks(void)
{
    uint64_t anime = kind_stored_mask(&kinds[KIND_ANIME]);
    CHECK(anime & kind_bit(KIND_ANIME, "title"));
    CHECK(anime & kind_bit(KIND_ANIME, "country_of_origin"));
    CHECK(!(anime & kind_bit(KIND_ANIME, "id")));
    CHECK(!(anime & kind_bit(KIND_ANIME, "similarity_score")));
    CHECK(!(kind_stored_mask(&kinds[KIND_EPISODE]) & kind_bit(KIND_EPISODE, "episode_number")));
    CHECK_EQ_INT(kind_field(&kinds[KIND_ANIME], VIEW_LIT("nope")), -1);
    CHECK(kind_by_name(VIEW_LIT("episode")) == &kinds[KIND_EPISODE]);
    CHECK(kind_by_name(VIEW_LIT("studio")) == NULL);
}

int main(void)
{
    RUN(test_every_domain_field_is_accounted_for);
    RUN(test_masks);
    return check_result();
}
