// SPDX-License-Identifier: Apache-2.0
#include "contracts/refs.h"

#include "test/unit/check.h"

static const struct {
    const char *source, *ref;
} rows[] = {
    {"https://myanimelist.net/anime/5114", "mal:anime:5114"},
    {"https://myanimelist.net/anime/5114/", "mal:anime:5114"},
    {"https://myanimelist.net/anime/5114/Fullmetal_Alchemist__Brotherhood", "mal:anime:5114"},
    {"http://www.myanimelist.net/anime/5114?q=x#top", "mal:anime:5114"},
    {"HTTPS://WWW.MyAnimeList.NET:443/anime/5114", "mal:anime:5114"},
    {"myanimelist.net/anime/5114", "mal:anime:5114"},
    {"  https://myanimelist.net/anime/5114\n", "mal:anime:5114"},
    {"https://myanimelist.net./anime/0005114", "mal:anime:5114"},
    {"https://myanimelist.net/anime.php?id=5114", "mal:anime:5114"},
    {"https://myanimelist.net/anime.php?x=1&id=5114&y", "mal:anime:5114"},
    {"https://myanimelist.net/manga/1", "mal:manga:1"},
    {"https://myanimelist.net/character/11/Edward_Elric", "mal:character:11"},
    {"https://myanimelist.net/people/185/Kana_Hanazawa", "mal:person:185"},
    {"https://myanimelist.net/anime/producer/14/Sunrise", "mal:company:14"},
    {"https://kitsu.io/anime/7442", "kitsu:anime:7442"},
    {"https://kitsu.app/anime/7442", "kitsu:anime:7442"},
    {"https://kitsu.app/anime/shingeki-no-kyojin", "kitsu:anime:shingeki-no-kyojin"},
    {"https://kitsu.io/anime/7442/episodes", "kitsu:anime:7442"},
    {"https://kitsu.io/api/edge/anime/12330", "kitsu:anime:12330"},
    {"https://kitsu.io/characters/9", "kitsu:character:9"},
    {"https://anidb.net/anime/7294", "anidb:anime:7294"},
    {"https://anidb.net/a7294", "anidb:anime:7294"},
    {"https://anidb.net/perl-bin/animedb.pl?show=anime&aid=7294", "anidb:anime:7294"},
    {"https://anidb.net/perl-bin/animedb.pl?aid=7294&show=anime", "anidb:anime:7294"},
    {"https://anidb.net/ch123", "anidb:character:123"},
    {"https://anidb.net/creator/32", "anidb:creator:32"},
    {"https://anilist.co/anime/20879/Yuki-Yuna", "anilist:anime:20879"},
    {"https://anilist.co/staff/132540", "anilist:person:132540"},
    {"https://anisearch.com/anime/18726", "anisearch:anime:18726"},
    {"https://www.anisearch.de/anime/18726,some-name", "anisearch:anime:18726"},
    {"https://anisearch.com/manga/91400,the-share-houses-secret-rule", "anisearch:manga:91400"},
    {"https://anime-planet.com/anime/washimo-3", "animeplanet:anime:washimo-3"},
    {"https://www.anime-planet.com/characters/edward-elric", "animeplanet:character:edward-elric"},
    {"https://www.anime-planet.com/anime/studios/sunrise", "animeplanet:company:sunrise"},
    {"https://notify.moe/anime/xx0uLCTnR", "notify:anime:xx0uLCTnR"},
    {"https://livechart.me/anime/5552", "livechart:anime:5552"},
    {"https://animenewsnetwork.com/encyclopedia/anime.php?id=25117", "ann:anime:25117"},
    {"https://simkl.com/anime/48858", "simkl:anime:48858"},
    {"https://animecountdown.com/48858", "animecountdown:anime:48858"},
    {"https://animeschedule.net/anime/nvade-show", "animeschedule:anime:nvade-show"},
    {"https://www.imdb.com/title/tt2560140/", "imdb:title:tt2560140"},
    {"https://m.imdb.com/title/tt2560140/reference", "imdb:title:tt2560140"},
    {"https://www.themoviedb.org/tv/1429-attack-on-titan", "tmdb:series:1429"},
    {"https://www.crunchyroll.com/series/GR751KNZY/attack-on-titan",
     "crunchyroll:series:GR751KNZY"},

    /* Pages below an entry are pages of their own, and so are lists and tags. */
    {"https://myanimelist.net/anime/5114/_/episode/3",
     "url:myanimelist.net/anime/5114/_/episode/3"},
    {"https://kitsu.io/anime/1/episodes/2", "url:kitsu.app/anime/1/episodes/2"},
    {"https://myanimelist.net/anime/season/2024/fall",
     "url:myanimelist.net/anime/season/2024/fall"},
    {"https://anime-planet.com/anime/tags/isekai", "url:anime-planet.com/anime/tags/isekai"},
    {"https://anime-planet.com/anime/all?name=x", "url:anime-planet.com/anime/all?name=x"},
    {"https://anime-planet.com/anime/all-out", "animeplanet:anime:all-out"},
    {"https://myanimelist.net/anime/5114x", "url:myanimelist.net/anime/5114x"},
    {"https://myanimelist.net/anime.php?id=x", "url:myanimelist.net/anime.php?id=x"},
    {"https://anidb.net/perl-bin/animedb.pl?show=group&aid=1",
     "url:anidb.net/perl-bin/animedb.pl?aid=1&show=group"},

    /* Hosts that are not in the table. */
    {"https://www.example.org/a/b/", "url:example.org/a/b"},
    {"http://example.org", "url:example.org"},
    {"https://example.org/#top", "url:example.org"},
    {"https://example.org:8443/a", "url:example.org:8443/a"},
    {"https://Example.org/A", "url:example.org/A"},
    {"https://example.org/show?b=2&a=1&utm_source=x&fbclid=y", "url:example.org/show?a=1&b=2"},
    {"https://example.org/show?utm_source=x", "url:example.org/show"},
    {"https://ja.wikipedia.org/wiki/0_(\xe6\xa0\x97)",
     "url:ja.wikipedia.org/wiki/0_(\xe6\xa0\x97)"},

    /* References stay. */
    {"mal:anime:5114", "mal:anime:5114"},
    {"kitsu:anime:a:b", "kitsu:anime:a:b"},
    {"url:example.org/a", "url:example.org/a"},

    /* Neither. */
    {"", NULL},
    {"   ", NULL},
    {"mal", NULL},
    {"mal:anime:", NULL},
    {"mal:anime", NULL},
    {"MAL:anime:1", NULL},
    {"ftp://example.org/a", NULL},
    {"mailto:a@example.org", NULL},
    {"https://", NULL},
    {"https:///anime/1", NULL},
    {"https://localhost/a", NULL},
    {"https://a@example.org/", NULL},
    {"https://a:b@example.org/", NULL},
    {"https://example.org/a b", NULL},
    {"https://example.org/a\tb", NULL},
    {"just some words", NULL},
};

static void test_rows(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        struct view ref = {0}, again = {0};
        int rc = ref_from_source(view_of(rows[i].source), arena, &ref, &err);
        CHECK_ROW(rc == (rows[i].ref ? 0 : -1), rows[i].source);
        if (rc < 0) {
            CHECK_STR(err.code, "bad-reference");
            continue;
        }
        CHECK_VIEW(ref, view_of(rows[i].ref));
        /* A reference is its own reference. */
        CHECK_EQ_INT(ref_from_source(ref, arena, &again, &err), 0);
        CHECK_VIEW(again, ref);
    }
}

static void test_limits(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(4096);
    struct err err = ERR_INIT;
    struct view ref;
    char long_url[REF_MAX + 64] = "https://example.org/";
    /* "url:" takes four, "https://" gives eight. */
    memset(long_url + 20, 'x', REF_MAX + 4 - 20);
    long_url[REF_MAX + 4] = 0;
    CHECK_EQ_INT(ref_from_source(view_of(long_url), arena, &ref, &err), 0);
    CHECK_EQ_INT(ref.n, REF_MAX);
    long_url[REF_MAX + 4] = 'x';
    long_url[REF_MAX + 5] = 0;
    CHECK_EQ_INT(ref_from_source(view_of(long_url), arena, &ref, &err), -1);
    CHECK_STR(err.code, "bad-reference");

    char many[400] = "https://example.org/?a", host[300] = "https://";
    for (size_t n = strlen(many); n < sizeof(many) - 3; n += 2)
        memcpy(many + n, "&b", 3);
    CHECK_EQ_INT(ref_from_source(view_of(many), arena, &ref, &err), -1);
    memset(host + 8, 'h', sizeof(host) - 9);
    host[20] = '.';
    CHECK_EQ_INT(ref_from_source(view_of(host), arena, &ref, &err), -1);
    CHECK_EQ_INT(ref_from_source(VIEW_LIT("a.b/c\0d"), arena, &ref, &err), -1);

    struct arena *none CLEANUP(arena_freep) = arena_new(0);
    CHECK_EQ_INT(ref_from_source(VIEW_LIT("a.b/c"), none, &ref, &err), -1);
    CHECK_STR(err.code, "no-memory");
}

static void test_parts(void)
{
    CHECK_VIEW(ref_provider(VIEW_LIT("mal:anime:1")), VIEW_LIT("mal"));
    CHECK_VIEW(ref_provider(VIEW_LIT("url:a.b/c:d")), VIEW_LIT("url"));
    CHECK(ref_names_one(VIEW_LIT("mal:anime:1")));
    CHECK(ref_names_one(VIEW_LIT("url:a.b/c")));
    CHECK(!ref_names_one(VIEW_LIT("imdb:title:tt1")));
    CHECK(ref_names_one(VIEW_LIT("imdb:titles:1")));
    CHECK(!ref_names_one(VIEW_LIT("tmdb:series:1")));
    CHECK(ref_names_one(VIEW_LIT("tmdb:movie:1")));
}

int main(void)
{
    RUN(test_rows);
    RUN(test_limits);
    RUN(test_parts);
    return check_result();
}
