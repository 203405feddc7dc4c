/* The risk policy at, just below and just above each of its limits. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/risk.h"
#include "test/unit/check.h"

#define STATUS(name) ECHORA__CATALOG__V1__ANIME_STATUS__ANIME_STATUS_##name

static const struct risk_limits limits = {.text_cut_percent = 50, .list_cut_percent = 50};
static const Anime empty = ECHORA__CATALOG__V1__ANIME__INIT;

/* The reasons, joined by spaces. */
static const char *judge(const Anime *current, const Anime *proposed, const char *field)
{
    static char out[512];
    struct risk risk;
    uint64_t mask = field ? kind_bit(KIND_ANIME, field) : ~UINT64_C(0);
    risk_judge(&limits, current, proposed, mask, &risk);
    out[0] = 0;
    for (unsigned i = 0; i < risk.n; i++)
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i ? " " : "",
                 risk.reasons[i]);
    return out;
}

static void test_identity_fields(void)
{
    Anime a = empty, b = empty;
    a.title = (char *)"A";
    b.title = (char *)"B";
    a.type = ECHORA__CATALOG__V1__ANIME_TYPE__ANIME_TYPE_TV;
    b.type = ECHORA__CATALOG__V1__ANIME_TYPE__ANIME_TYPE_OVA;
    CHECK_STR(judge(&a, &b, "title"), "title-changed");
    CHECK_STR(judge(&a, &b, "type"), "type-changed");
    CHECK_STR(judge(&empty, &b, "title"), "");
    CHECK_STR(judge(&a, &b, NULL), "title-changed type-changed");
    a.source_material = ECHORA__CATALOG__V1__SOURCE_MATERIAL_TYPE__SOURCE_MATERIAL_TYPE_MANGA;
    CHECK_STR(judge(&a, &b, "source_material"), "");
    a._source_material_case = ECHORA__CATALOG__V1__ANIME___SOURCE_MATERIAL_SOURCE_MATERIAL;
    CHECK_STR(judge(&a, &b, "source_material"), "source-material-changed");
}

static void test_episode_count(void)
{
    Anime a = empty, b = empty;
    a.episode_count = 12;
    b.episode_count = 11;
    CHECK_STR(judge(&a, &b, "episode_count"), "episode-count-lowered");
    b.episode_count = 13;
    CHECK_STR(judge(&a, &b, "episode_count"), "");
    CHECK_STR(judge(&a, &empty, "episode_count"), "episode-count-lowered");
    CHECK_STR(judge(&empty, &b, "episode_count"), "");
}

static const char *synopsis(const char *before, const char *after)
{
    Anime a = empty, b = empty;
    a._synopsis_case = ECHORA__CATALOG__V1__ANIME___SYNOPSIS_SYNOPSIS;
    a.synopsis = (char *)before;
    if (after) {
        b._synopsis_case = ECHORA__CATALOG__V1__ANIME___SYNOPSIS_SYNOPSIS;
        b.synopsis = (char *)after;
    }
    return judge(&a, &b, "synopsis");
}

static void test_text(void)
{
    CHECK_STR(synopsis("0123456789", "01234"), "");
    CHECK_STR(synopsis("0123456789", "0123"), "synopsis-cut");
    CHECK_STR(synopsis("0123456789", ""), "synopsis-removed");
    CHECK_STR(synopsis("0123456789", NULL), "synopsis-removed");
    CHECK_STR(synopsis("", NULL), "");
    CHECK_STR(synopsis("0123456789", "another text, longer"), "");
    /* Characters count, not bytes: four of eight stay. */
    CHECK_STR(synopsis("日本語日本語ab", "abcd"), "");
    CHECK_STR(synopsis("abcdefgh", "日本"), "synopsis-cut");
}

static const char *genres(size_t before, size_t after)
{
    static char *words[64];
    Anime a = empty, b = empty;
    a.n_genres = before;
    b.n_genres = after;
    a.genres = b.genres = words;
    return judge(&a, &b, "genres");
}

static void test_lists(void)
{
    CHECK_STR(genres(10, 5), "");
    CHECK_STR(genres(10, 4), "genres-cut");
    CHECK_STR(genres(1, 0), "genres-cut");
    CHECK_STR(genres(0, 3), "");
    CHECK_STR(genres(3, 2), "");
    CHECK_STR(genres(3, 1), "genres-cut");
}

static void test_status(void)
{
    static const int statuses[] = {STATUS(UNSPECIFIED),
                                   STATUS(UNKNOWN),
                                   STATUS(UPCOMING),
                                   STATUS(ONGOING),
                                   STATUS(FINISHED),
                                   STATUS(CANCELLED),
                                   77};
    /* Rows from, columns to, in the order above; x = backward. */
    static const char *const table[] = {
        ".......", ".......", "xx....x", "xxx...x", "xxxx.xx", "xxxxx.x", ".......",
    };
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        for (size_t j = 0; j < ARRAY_LEN(statuses); j++)
            CHECK_EQ_INT(risk_status_is_backward(statuses[i], statuses[j]), table[i][j] == 'x');
    Anime a = empty, b = empty;
    a.status = STATUS(FINISHED);
    b.status = STATUS(ONGOING);
    CHECK_STR(judge(&a, &b, "status"), "status-backward");
    CHECK_STR(judge(&b, &a, "status"), "");
}

static void test_only_the_mask_is_judged(void)
{
    Anime a = empty, b = empty;
    a.title = (char *)"A";
    b.title = (char *)"B";
    CHECK_STR(judge(&a, &b, "year"), "");
}

int main(void)
{
    RUN(test_identity_fields);
    RUN(test_episode_count);
    RUN(test_text);
    RUN(test_lists);
    RUN(test_status);
    RUN(test_only_the_mask_is_judged);
    return check_result();
}
