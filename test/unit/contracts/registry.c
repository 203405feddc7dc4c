// SPDX-License-Identifier: Apache-2.0
#include "contracts/registry.h"

#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/gen/events.pb-c.h"
#include "contracts/wire.h"
#include "test/unit/check.h"

#define MAX_SUBJECTS 64

static void test_matching(void)
{
    static const struct {
        const char *pattern, *subject;
        bool matches;
    } rows[] = {
        {"a.b", "a.b", true},
        {"a.b", "a.c", false},
        {"a.b", "a", false},
        {"a", "a.b", false},
        {"a.*", "a.b", true},
        {"a.*", "a", false},
        {"a.*", "a.b.c", false},
        {"*.b", "a.b", true},
        {"a.*.c", "a.b.c", true},
        {"a.>", "a.b", true},
        {"a.>", "a.b.c", true},
        {"a.>", "a", false},
        {">", "a", true},
        {"a.b*", "a.bc", false},
        {"ab", "a", false},
        {"anime.*", "anime.x.y", false},
        {"anime.dlq.>", "anime.dlq.parked.adapter-dlq", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_ROW(subject_matches(view_of(rows[i].pattern), view_of(rows[i].subject)) ==
                      rows[i].matches,
                  rows[i].pattern);
}

static void test_overlap(void)
{
    static const struct {
        const char *a, *b;
        bool overlaps;
    } rows[] = {
        {"a.b", "a.b", true},     {"a.b", "a.c", false},   {"a.*", "*.b", true},
        {"a.*", "b.*", false},    {"a.>", "a.b.*", true},  {"a.>", "a", false},
        {"a.*.c", "a.b.*", true}, {"*", ">", true},        {"a.*", "a.b.c", false},
        {"a.*.c", "a.>", true},   {"*.x", "y.*.z", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct view a = view_of(rows[i].a), b = view_of(rows[i].b);
        CHECK_ROW(subject_overlaps(a, b) == rows[i].overlaps, rows[i].a);
        CHECK_ROW(subject_overlaps(b, a) == rows[i].overlaps, rows[i].a);
    }
}

/* JetStream refuses streams that overlap, and a stream that overlaps with itself. */
static void test_streams_do_not_overlap(void)
{
    const char *subjects[MAX_SUBJECTS];
    const struct stream_def *owner[MAX_SUBJECTS];
    size_t n = 0;
    for (const struct stream_def *const *s = registry_streams; *s; s++) {
        size_t more = registry_stream_subjects(*s, subjects + n, MAX_SUBJECTS - n);
        REQUIRE(n + more <= MAX_SUBJECTS);
        CHECK_ROW(more > 0, (*s)->name);
        for (size_t i = 0; i < more; i++)
            owner[n + i] = *s;
        n += more;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            CHECK_ROW(!subject_overlaps(view_of(subjects[i]), view_of(subjects[j])), subjects[i]);
        if (!strpbrk(subjects[i], "*>"))
            CHECK_ROW(registry_stream_of(view_of(subjects[i])) == owner[i], subjects[i]);
    }
}

static void test_streams(void)
{
    int64_t disk = 0;
    for (const struct stream_def *const *s = registry_streams; *s; s++) {
        CHECK_ROW(registry_stream(view_of((*s)->name)) == *s, (*s)->name);
        CHECK_ROW((*s)->max_bytes > 0 && (*s)->max_age_s > 0, (*s)->name);
        CHECK_ROW((*s)->duplicate_window_s > 0 && (*s)->duplicate_window_s <= (*s)->max_age_s,
                  (*s)->name);
        bool dlq = strcmp((*s)->name, "ANIME_DLQ") == 0;
        bool notes = strncmp((*s)->name, "WORKER_", sizeof("WORKER_") - 1) == 0;
        CHECK_ROW((*s)->max_msg_size == (dlq ? -1 : (8 << 20) - (64 << 10)), (*s)->name);
        CHECK_ROW((*s)->sole_writer == (strcmp((*s)->name, "ANIME_SYNC") == 0), (*s)->name);
        CHECK_ROW((*s)->discard_old == (notes || strcmp((*s)->name, "ANIME_ADVISORY") == 0),
                  (*s)->name);
        CHECK_ROW((*s)->last_per_subject == notes, (*s)->name);
        disk += (*s)->max_bytes;
    }
    CHECK(disk <= (int64_t)10 << 30); /* half of a disk of 20 GB */
    CHECK(!registry_stream(view_of("NONE")));
}

static const ProtobufCFieldDescriptor *field(const ProtobufCMessageDescriptor *type,
                                             const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(type, name);
}

static void check_event(const struct subject_def *d)
{
    CHECK_ROW(d->stream && d->message && !d->reply, d->subject);
    if (!d->message)
        return;
    const ProtobufCFieldDescriptor *id = field(d->message, "event_id");
    const ProtobufCFieldDescriptor *time = field(d->message, "timestamp");
    CHECK_ROW(id && id->id == 1 && id->type == PROTOBUF_C_TYPE_STRING, d->subject);
    CHECK_ROW(time && time->id == 2 && time->descriptor == &google__protobuf__timestamp__descriptor,
              d->subject);
}

static void test_every_subject(void)
{
    for (size_t i = 0; i < n_registry_subjects; i++) {
        const struct subject_def *d = &registry_subjects[i];
        CHECK_ROW(registry_subject(view_of(d->subject)) == d, d->subject);
        CHECK_ROW(registry_must(d->subject) == d, d->subject);
        CHECK_ROW(d->published_by && d->description, d->subject);
        CHECK_ROW(!strpbrk(d->subject, "*> "), d->subject);
        for (size_t j = 0; j < i; j++)
            CHECK_ROW(strcmp(d->subject, registry_subjects[j].subject) != 0, d->subject);

        CHECK_ROW(!d->message == !d->schema, d->subject);
        if (d->message)
            CHECK_STR(d->schema, d->message->name);
        if (d->entity_id_field) {
            const ProtobufCFieldDescriptor *f = field(d->message, d->entity_id_field);
            CHECK_ROW(f && f->type == PROTOBUF_C_TYPE_STRING, d->subject);
            CHECK_ROW(d->entity_kind != NULL, d->subject);
        }
        if (d->kind == SUBJECT_EVENT) {
            check_event(d);
            continue;
        }
        /* JetStream would answer a request that lies in a stream. */
        CHECK_ROW(!d->stream, d->subject);
        for (const struct stream_def *const *s = registry_streams; *s; s++) {
            const char *subjects[MAX_SUBJECTS];
            size_t n = registry_stream_subjects(*s, subjects, MAX_SUBJECTS);
            for (size_t j = 0; j < n; j++)
                CHECK_ROW(!subject_matches(view_of(subjects[j]), view_of(d->subject)), d->subject);
        }
        CHECK_ROW((d->kind == SUBJECT_REQUEST) == (d->reply != NULL), d->subject);
        CHECK_ROW(!registry_stream_of(view_of(d->subject)), d->subject);
    }
    CHECK(!registry_subject(view_of("anime.*")));
    CHECK(!registry_subject(view_of("")));
}

static void test_streams_of_wildcards(void)
{
    CHECK_STR(registry_stream_of(view_of("anime.dlq.catalog-enriched"))->name, "ANIME_DLQ");
    CHECK_STR(registry_stream_of(view_of("audit.dlq"))->name, "AUDIT");
    CHECK_STR(registry_stream_of(view_of("suspect.catalog-enriched.7"))->name, "WORKER_SUSPECTS");
    CHECK_STR(registry_stream_of(view_of("kept.catalog.reconcile.00"))->name, "WORKER_REPLIES");
    CHECK_STR(registry_stream_of(view_of("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.C"))->name,
              "ANIME_ADVISORY");
    CHECK_STR(registry_stream_of(view_of("notification.quota.changed"))->name,
              "NOTIFICATION_EVENTS");
    CHECK(!registry_stream_of(view_of("anime.nothing")));
}

static void test_envelope(void)
{
    Echora__Events__V1__AnimeUpdatedEvent e = ECHORA__EVENTS__V1__ANIME_UPDATED_EVENT__INIT;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    const struct subject_def *def = registry_must("anime.updated");
    struct envelope env;
    envelope_read(def, &e.base, &env);
    CHECK(env.event_id.n == 0 && env.entity_id.n == 0 && !env.has_time);

    e.event_id = (char *)"e";
    e.anime_id = (char *)"a";
    e.timestamp = &t;
    t.seconds = 1700000000;
    t.nanos = 123456789;
    envelope_read(def, &e.base, &env);
    CHECK_VIEW(env.event_id, VIEW_LIT("e"));
    CHECK_VIEW(env.entity_id, VIEW_LIT("a"));
    CHECK(env.has_time);
    CHECK_EQ_INT(env.time_us, 1700000000123456);
    t.seconds = INT64_MAX;
    envelope_read(def, &e.base, &env);
    CHECK_EQ_INT(env.time_us, 253402300799000000);
    t.seconds = INT64_MIN;
    envelope_read(def, &e.base, &env);
    CHECK_EQ_INT(env.time_us, -62135596800000000);

    Echora__Catalog__V1__CatalogDeleteRequest r = ECHORA__CATALOG__V1__CATALOG_DELETE_REQUEST__INIT;
    r.anime_id = (char *)"a";
    envelope_read(registry_must("catalog.anime.delete"), &r.base, &env);
    CHECK_VIEW(env.entity_id, VIEW_LIT("a"));
    CHECK(env.event_id.n == 0 && !env.has_time);
    envelope_read(registry_must("hint.outbox"), NULL, &env);
    CHECK(!env.has_time);
}

int main(void)
{
    RUN(test_matching);
    RUN(test_overlap);
    RUN(test_streams_do_not_overlap);
    RUN(test_streams);
    RUN(test_every_subject);
    RUN(test_streams_of_wildcards);
    RUN(test_envelope);
    return check_result();
}
