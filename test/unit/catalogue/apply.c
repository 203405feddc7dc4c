/* Owners, members, announcements and parking, without a database: a working set that knows nothing
 * but what was applied to it. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/json.h"
#include "test/unit/check.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/types.h"
#include "workers/catalogue/work.h"

#define ID(n) "00000000-0000-4000-8000-00000000000" #n
#define TIME(n) "2024-05-17T00:00:0" #n "Z"

static struct arena *arena;
static struct work w;
static const struct risk_limits limits = {50, 50};
static unsigned n_events;

static void fresh(void)
{
    arena_reset(arena);
    work_init(&w, NULL, arena, &limits);
}

/* Applies an event written as JSON without its id (single quotes for double ones). */
static struct op *apply_flagged(const char *subject, const char *text, const char *flag)
{
    const struct subject_def *def = registry_must(subject);
    char *json =
        arena_printf(arena, "{'eventId':'00000000-0000-4000-9000-%012u',%s}", ++n_events, text);
    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    struct op *op = arena_zalloc(arena, sizeof(*op));
    if (json_decode(def->message, view_of(json), arena, &message, &err) < 0 ||
        op_init(op, def, message, arena, &err) < 0) {
        fprintf(stderr, "%s: %s in %s\n", err.code, err.text, json);
        CHECK(false);
        return op;
    }
    op->consumer = "test";
    op->risk_flag = flag;
    CHECK_EQ_INT(work_apply(&w, op, &err), 0);
    return op;
}

static struct op *apply(const char *subject, const char *text)
{
    return apply_flagged(subject, text, NULL);
}

#define ENRICHED(id, time, fields)                                                                 \
    "'animeId':'" id "','timestamp':'" time "','anime':{'title':'T'" fields "}"
#define REFS(...) ",'sources':[" __VA_ARGS__ "]"
#define ANIDB(n) "'https://anidb.net/anime/" #n "'"

static const struct announcement *said(size_t i)
{
    static const struct announcement none = {.kind = (enum announcement_kind) - 1};
    return i < w.announcements.n ? w.announcements.p[i] : &none;
}

static void test_a_new_anime_is_created(void)
{
    fresh();
    struct op *op = apply("anime.enriched", ENRICHED(ID(1), TIME(1), REFS(ANIDB(1))));
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    CHECK_EQ_INT(w.entities.n, 1);
    CHECK_EQ_INT(w.refs.n, 1);
    CHECK_EQ_INT(w.announcements.n, 1);
    CHECK_EQ_INT(said(0)->kind, SAY_CREATED);
}

static void test_references_join_and_the_id_becomes_an_alias(void)
{
    fresh();
    struct op *one = apply("anime.enriched", ENRICHED(ID(1), TIME(1), REFS(ANIDB(1))));
    struct op *two = apply("anime.enriched", ENRICHED(ID(2), TIME(2), REFS(ANIDB(1) "," ANIDB(2))));
    CHECK(two->main.entity == one->main.entity);
    CHECK_EQ_INT(w.aliases.n, 1);
    CHECK_EQ_INT(w.refs.n, 2);
    /* From then on the alias and the new reference answer. */
    struct op *three = apply("anime.enriched", ENRICHED(ID(2), TIME(3), ""));
    struct op *four = apply("anime.enriched", ENRICHED(ID(3), TIME(4), REFS(ANIDB(2))));
    CHECK(three->main.entity == one->main.entity && four->main.entity == one->main.entity);
    CHECK_EQ_INT(w.entities.n, 1);
}

static void test_what_names_nothing_joins_nothing(void)
{
    fresh();
    /* No URL at all, and a page of a franchise: two anime may have both. */
    for (int i = 1; i <= 2; i++)
        apply("anime.enriched",
              i == 1 ? ENRICHED(ID(1), TIME(1),
                                REFS("'no url','https://www.imdb.com/title/tt0112159'"))
                     : ENRICHED(ID(2), TIME(1),
                                REFS("'no url','https://www.imdb.com/title/tt0112159'")));
    CHECK_EQ_INT(w.entities.n, 2);
    CHECK_EQ_INT(w.refs.n, 0);
    CHECK_EQ_INT(((const Anime *)((struct entity *)w.entities.p[0])->f.message)->n_sources, 2);
}

static void test_a_conflict_leaves_nothing_behind(void)
{
    fresh();
    apply("anime.enriched", ENRICHED(ID(1), TIME(1), REFS(ANIDB(1))));
    apply("anime.enriched", ENRICHED(ID(2), TIME(1), REFS(ANIDB(2))));
    struct op *op =
        apply("anime.enriched", ENRICHED(ID(3), TIME(2), REFS(ANIDB(3) "," ANIDB(1) "," ANIDB(2))));
    CHECK_EQ_INT(op->outcome, OUTCOME_REJECTED);
    CHECK_STR(op->err.code, "identity-conflict");
    CHECK(strstr(op->err.text, ID(1)) && strstr(op->err.text, ID(2)));
    CHECK_EQ_INT(w.entities.n, 2);
    CHECK_EQ_INT(w.refs.n, 2);
    CHECK_EQ_INT(w.aliases.n, 0);
    /* An own id that belongs to another than the references is a conflict, too. */
    op = apply("anime.enriched", ENRICHED(ID(1), TIME(2), REFS(ANIDB(2))));
    CHECK_STR(op->err.code, "identity-conflict");
    /* A conflict among the members undoes what came before it in the same event. */
    const char *url1 = "'https://anidb.net/character/1'", *url2 = "'https://anidb.net/character/2'";
    char text[1024];
    snprintf(text, sizeof(text),
             "'animeId':'" ID(1) "','timestamp':'" TIME(
                 3) "','anime':{'title':'T'},"
                    "'characters':[{'name':'A','sources':[%s]},{'name':'B','sources':[%s]}]",
             url1, url2);
    apply("anime.enriched", text);
    size_t entities = w.entities.n;
    snprintf(text, sizeof(text),
             "'animeId':'" ID(4) "','timestamp':'" TIME(4) "','anime':{'title':'T'" REFS(
                 ANIDB(4)) "},'characters':[{'name':'New'},{'name':'A','sources':[%s,%s]}]",
             url1, url2);
    op = apply("anime.enriched", text);
    CHECK_STR(op->err.code, "identity-conflict");
    CHECK_EQ_INT(w.entities.n, entities);
    op = apply("anime.enriched", ENRICHED(ID(5), TIME(5), REFS(ANIDB(4))));
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    CHECK_EQ_INT(w.entities.n, entities + 1);
}

static void test_members(void)
{
    fresh();
    apply("anime.enriched", "'animeId':'" ID(1) "','timestamp':'" TIME(
                                1) "','anime':{'title':'T'},"
                                   "'characters':[{'name':'Plain'},{'id':'" ID(
                                       7) "','name':'Id'}],"
                                          "'episodes':[{'episodeNumber':1,'title':'One'},{'"
                                          "episodeNumber':2,'title':'Two'}]");
    CHECK_EQ_INT(w.announcements.n, 5);
    for (size_t i = 1; i < 5; i++)
        CHECK_EQ_INT(said(i)->kind, SAY_COVERED);
    struct entity *anime = w.entities.p[0];
    CHECK_EQ_INT(anime->episode_rows, 2);
    /* Matched by name within the anime, by id, by number; what is new is told by itself. */
    struct op *op = apply("anime.enriched",
                          "'animeId':'" ID(1) "','timestamp':'" TIME(
                              2) "','anime':{},"
                                 "'characters':[{'name':'Plain','description':'d'},{'id':'" ID(
                                     7) "','name':'Id'},"
                                        "{'name':'Third'}],"
                                        "'episodes':[{'episodeNumber':2,'title':'Deux'},{'"
                                        "episodeNumber':3,'title':'Three'}]");
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    CHECK_EQ_INT(w.entities.n, 7);
    CHECK_EQ_INT(w.announcements.n, 10);
    for (size_t i = 5; i < 10; i++)
        CHECK_EQ_INT(said(i)->kind, SAY_SYNCED);
    CHECK(said(9)->entity == anime); /* three rows: the shown episode count rose */
    CHECK(said(9)->changed == kind_bit(KIND_ANIME, "episode_count"));
    /* An id that names an episode of another number is refused. */
    const struct entity *first = work_episode(&w, anime->id, 1);
    char id[UUID_TEXT], text[512];
    uuid_format(first->id, id);
    snprintf(text, sizeof(text),
             "'animeId':'" ID(1) "','timestamp':'" TIME(
                 3) "','anime':{},"
                    "'episodes':[{'id':'%s','episodeNumber':2,'title':'x'}]",
             id);
    CHECK_STR(apply("anime.enriched", text)->err.code, "identity-conflict");
}

static void test_made_ids_are_the_same_again(void)
{
    struct uuid ids[2][3];
    for (int run = 0; run < 2; run++) {
        fresh();
        apply("anime.enriched",
              "'animeId':'" ID(1) "','timestamp':'" TIME(
                  1) "','anime':{'title':'T'},"
                     "'characters':[{'name':'Plain'},{'name':'B','sources':['https://anidb.net/"
                     "character/2','https://anidb.net/character/1']}],"
                     "'episodes':[{'episodeNumber':1,'title':'One'}]");
        for (size_t i = 0; i < 3; i++)
            ids[run][i] = ((struct entity *)w.entities.p[i + 1])->id;
    }
    for (size_t i = 0; i < 3; i++)
        CHECK_EQ_INT(uuid_cmp(ids[0][i], ids[1][i]), 0);
}

#define UPDATED(id, time, names, fields)                                                           \
    "'animeId':'" id "','timestamp':'" time "','changedFields':[" names "],'anime':{" fields "}"

static void test_updates(void)
{
    fresh();
    CHECK_EQ_INT(apply("anime.updated", UPDATED(ID(1), TIME(2), "'year'", "'year':2001"))->outcome,
                 OUTCOME_PENDING);
    CHECK_EQ_INT(w.entities.n, 0);
    apply("anime.enriched", ENRICHED(ID(1), TIME(1), ",'year':1999,'nsfw':false" REFS(ANIDB(1))));
    struct op *op = apply("anime.updated", UPDATED(ID(1), TIME(2), "'year'", "'year':2001"));
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    /* An unknown id with a known reference in a listed field is a known one. */
    op = apply("anime.updated",
               UPDATED(ID(2), TIME(3), "'sources','month'", "'month':'MAY'" REFS(ANIDB(1))));
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    CHECK_EQ_INT(w.aliases.n, 1);
    /* ... and in one that is not listed it says nothing. */
    op = apply("anime.updated", UPDATED(ID(3), TIME(3), "'month'", "'month':'MAY'" REFS(ANIDB(1))));
    CHECK_EQ_INT(op->outcome, OUTCOME_PENDING);
    CHECK_EQ_INT(apply("anime.updated", UPDATED(ID(1), TIME(1), "'year'", "'year':1990"))->outcome,
                 OUTCOME_UNCHANGED);
    CHECK_EQ_INT(w.follows.n, 0);
    apply("anime.updated", UPDATED(ID(1), TIME(4), "'nsfw'", "'nsfw':true"));
    CHECK_EQ_INT(w.follows.n, 1);
}

static void test_risky_fields_are_parked_and_safe_ones_applied(void)
{
    fresh();
    struct entity *e =
        apply("anime.enriched", ENRICHED(ID(1), TIME(1), ",'episodeCount':12"))->main.entity;
    struct op *op = apply("anime.updated", UPDATED(ID(1), TIME(2), "'title','year','episodeCount'",
                                                   "'title':'X','year':2001,'episodeCount':11"));
    /* episodeCount is no field's name: changed_fields are snake_case. */
    CHECK_EQ_INT(op->outcome, OUTCOME_PARKED);
    CHECK_STR(((Anime *)e->f.message)->title, "T");
    CHECK_EQ_INT(((Anime *)e->f.message)->year, 2001);
    CHECK_EQ_INT(w.parked.n, 1);
    const struct parked *p = w.parked.p[0];
    const Echora__Events__V1__AnimeUpdatedEvent *copy =
        (const Echora__Events__V1__AnimeUpdatedEvent *)p->copy;
    CHECK_EQ_INT(copy->n_changed_fields, 1);
    CHECK_STR(copy->changed_fields[0], "title");
    CHECK_STR(copy->risk_reasons[0], "title-changed");
    CHECK(strcmp(copy->event_id,
                 ((const Echora__Events__V1__AnimeUpdatedEvent *)op->event)->event_id) != 0);
    /* Older than what stands there: nothing would change, nothing is risky. */
    op = apply("anime.updated", UPDATED(ID(1), TIME(0), "'title'", "'title':'Y'"));
    CHECK_EQ_INT(op->outcome, OUTCOME_UNCHANGED);
    /* A publisher's flag parks all of it, with or without cause. */
    op = apply_flagged("anime.updated", UPDATED(ID(1), TIME(3), "'month'", "'month':'MAY'"), "odd");
    CHECK_EQ_INT(op->outcome, OUTCOME_PARKED);
    CHECK(!((Anime *)e->f.message)->_month_case);
    CHECK_EQ_INT(w.parked.n, 2);
    /* What the writer accepts from ingestion was reviewed. */
    op = apply("anime.enriched",
               "'animeId':'" ID(1) "','timestamp':'" TIME(4) "','anime':{'title':'New'}");
    CHECK_STR(((Anime *)e->f.message)->title, "New");
}

static void test_parked_sources_name_nobody(void)
{
    fresh();
    struct entity *e = apply("anime.enriched", ENRICHED(ID(1), TIME(1), ""))->main.entity;
    struct op *op = apply_flagged(
        "anime.updated",
        UPDATED(ID(1), TIME(2), "'sources','year'", "'year':2001,'sources':[" ANIDB(7) "]"), "odd");
    CHECK_EQ_INT(op->outcome, OUTCOME_PARKED);
    CHECK(op->main.entity == e);
    CHECK_EQ_INT(w.refs.n, 0);
    op = apply("anime.enriched", ENRICHED(ID(2), TIME(1), REFS(ANIDB(7))));
    CHECK(op->main.entity && op->main.entity != e);
    CHECK_EQ_INT(w.refs.n, 1);
}

static struct op *approve(const struct op *update)
{
    struct err err = ERR_INIT;
    struct op *op = arena_alloc(arena, sizeof(*op));
    struct decision *d = arena_zalloc(arena, sizeof(*d));
    *op = *update;
    *d = (struct decision){.approves = true, .id = uuid_v7()};
    op->consumer = NULL;
    op->judged = false;
    op->decision = d;
    CHECK_EQ_INT(work_apply(&w, op, &err), 0);
    return op;
}

static void test_an_approval_is_the_update_once_more(void)
{
    fresh();
    struct entity *e = apply("anime.enriched", ENRICHED(ID(1), TIME(1), ""))->main.entity;
    struct op *update = apply("anime.updated", UPDATED(ID(1), TIME(2), "'title'", "'title':'X'"));
    CHECK_STR(((Anime *)e->f.message)->title, "T");
    CHECK_EQ_INT(approve(update)->outcome, OUTCOME_APPLIED);
    CHECK_STR(((Anime *)e->f.message)->title, "X");
    CHECK_EQ_INT(w.parked.n, 1);
    /* It is as old as the update: what came later stands, and an approval in vain changes nothing.
     */
    apply("anime.enriched", ENRICHED(ID(1), TIME(3), ""));
    CHECK_EQ_INT(approve(update)->outcome, OUTCOME_UNCHANGED);
    CHECK_STR(((Anime *)e->f.message)->title, "T");
    e->f.deleted = true;
    CHECK_STR(approve(update)->err.code, "anime-deleted");
    apply("anime.enriched", ENRICHED(ID(2), TIME(1), REFS(ANIDB(2))));
    CHECK(
        work_put_id(&w, KIND_ANIME, e->id, work_by_ref(&w, KIND_ANIME, VIEW_LIT("anidb:anime:2"))));
    CHECK_STR(approve(update)->err.code, "anime-merged");
}

static void test_an_aired_episode(void)
{
    fresh();
    CHECK_EQ_INT(apply("anime.episode.aired",
                       "'animeId':'" ID(1) "','timestamp':'" TIME(
                           1) "','airedAt':'2024-01-01T00:00:00Z','episode':{"
                              "'episodeNumber':1}")
                     ->outcome,
                 OUTCOME_PENDING);
    struct entity *e = apply("anime.enriched", ENRICHED(ID(1), TIME(1), ""))->main.entity;
    struct op *op = apply("anime.episode.aired",
                          "'animeId':'" ID(1) "','timestamp':'" TIME(
                              2) "','airedAt':'2024-01-01T00:00:00Z','episode':{'episodeNumber':1,"
                                 "'title':'One'},'status':'ANIME_STATUS_ONGOING'");
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    CHECK_EQ_INT(((Anime *)e->f.message)->status,
                 ECHORA__CATALOG__V1__ANIME_STATUS__ANIME_STATUS_ONGOING);
    const struct entity *episode = work_episode(&w, e->id, 1);
    CHECK(episode && ((Episode *)episode->f.message)->_aired_case);
    CHECK_EQ_INT(((Episode *)episode->f.message)->aired->seconds, 1704067200);
    CHECK_EQ_INT(e->episode_rows, 1);
}

static struct op *exist(bool deleted, const char *id, int64_t time_us)
{
    struct err err = ERR_INIT;
    struct op *op = arena_zalloc(arena, sizeof(*op));
    *op = (struct op){.main = {.kind = KIND_ANIME, .has_id = true},
                      .clock = {time_us, uuid_v7()},
                      .creates = deleted,
                      .sets_existence = true,
                      .deleted = deleted};
    CHECK(uuid_parse(view_of(id), &op->main.id));
    CHECK_EQ_INT(work_apply(&w, op, &err), 0);
    return op;
}

static void test_existence(void)
{
    static const int64_t late = INT64_C(4102444800) * 1000000;
    fresh();
    apply("anime.enriched", ENRICHED(ID(1), TIME(1), REFS(ANIDB(1))));
    apply("anime.enriched", ENRICHED(ID(2), TIME(1), REFS(ANIDB(1))));
    CHECK_STR(exist(true, ID(2), late)->err.code, "alias");
    CHECK_STR(exist(true, ID(1), 1)->err.code, "superseded");
    struct op *op = exist(true, ID(1), late);
    CHECK_EQ_INT(op->outcome, OUTCOME_APPLIED);
    CHECK(op->main.entity->f.deleted);
    CHECK_EQ_INT(w.follows.n, 1);
    CHECK_EQ_INT(exist(true, ID(1), late + 1)->outcome, OUTCOME_UNCHANGED);
    CHECK_EQ_INT(exist(false, ID(1), late + 2)->outcome, OUTCOME_APPLIED);
    CHECK_EQ_INT(exist(false, ID(3), late)->outcome, OUTCOME_PENDING);
    /* A tombstone for an id that nobody knows. */
    op = exist(true, ID(4), late);
    CHECK(op->main.entity && op->main.entity->f.deleted);
    apply("anime.enriched", ENRICHED(ID(4), TIME(2), ""));
    CHECK(op->main.entity->f.deleted);
}

int main(void)
{
    arena = arena_new(64 << 20);
    RUN(test_a_new_anime_is_created);
    RUN(test_references_join_and_the_id_becomes_an_alias);
    RUN(test_what_names_nothing_joins_nothing);
    RUN(test_a_conflict_leaves_nothing_behind);
    RUN(test_members);
    RUN(test_made_ids_are_the_same_again);
    RUN(test_updates);
    RUN(test_risky_fields_are_parked_and_safe_ones_applied);
    RUN(test_parked_sources_name_nobody);
    RUN(test_an_approval_is_the_update_once_more);
    RUN(test_an_aired_episode);
    RUN(test_existence);
    arena_free(arena);
    return check_result();
}
