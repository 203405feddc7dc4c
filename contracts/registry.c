/* The table of streams and subjects, and look-ups in it.
 *
 * Invariants, each held by a unit test: no two streams overlap, no request or hint lies in a
 * stream, a schema is the name of its message, an entity field is one of it, and every event has
 * event_id as field 1 and timestamp as field 2. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"

#include <stdlib.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/gen/events.pb-c.h"
#include "contracts/gen/ops.pb-c.h"

#define MINUTES(n) ((n)*60L)
#define HOURS(n) ((n)*3600L)
#define DAYS(n) ((n)*86400L)
#define MIB(n) ((int64_t)(n) << 20)

/* max_payload of the server is 8 MiB; the room left is for the headers of a dead letter, whose
 * stream takes all that the server takes. */
#define MSG_SIZE ((int32_t)(MIB(8) - (64 << 10)))

/* nats-server sets max_bytes aside when it makes a stream, so the sum must fit a small disk:
 * 8.5 GiB. A larger machine raises them by updating the stream. */
static const struct stream_def anime_events = {
    .name = "ANIME_EVENTS",
    .description = "What publishers say.",
    .max_age_s = DAYS(7),
    .duplicate_window_s = HOURS(24),
    .max_msgs = -1,
    .max_bytes = MIB(3072),
    .max_msg_size = MSG_SIZE,
};
static const struct stream_def anime_sync = {
    .name = "ANIME_SYNC",
    .description = "What PostgreSQL has committed. Written by the relay alone.",
    .max_age_s = DAYS(7),
    .duplicate_window_s = MINUTES(2),
    .max_msgs = -1,
    .max_bytes = MIB(2048),
    .max_msg_size = MSG_SIZE,
    .sole_writer = true,
};
static const struct stream_def anime_dlq = {
    .name = "ANIME_DLQ",
    .description = "Dead letters, whole messages.",
    .patterns = (const char *const[]){"anime.dlq.>", NULL},
    .max_age_s = DAYS(30),
    .duplicate_window_s = DAYS(7),
    .max_msgs = 1000000,
    .max_per_subject = 250000, /* one consumer's storm leaves room for the letters of others */
    .max_bytes = MIB(2048),
    .max_msg_size = -1,
    .allow_direct = true,
};
static const struct stream_def anime_advisory = {
    .name = "ANIME_ADVISORY",
    .description = "Advisories of the broker, which it drops when nobody captures them.",
    .patterns = (const char *const[]){"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*",
                                      "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.*.*", NULL},
    .max_age_s = DAYS(30),
    .duplicate_window_s = MINUTES(2),
    .max_msgs = -1,
    .max_bytes = MIB(128),
    .max_msg_size = MSG_SIZE,
    .discard_old = true,
};
static const struct stream_def worker_suspects = {
    .name = "WORKER_SUSPECTS",
    .description = "Which events' handlings began and never ended: evidence of crashes, for the "
                   "workers.",
    .patterns = (const char *const[]){"suspect.>", NULL},
    .max_age_s = DAYS(8), /* longer than events are kept */
    .duplicate_window_s = MINUTES(2),
    .max_msgs = 200000,
    .max_bytes = MIB(64),
    .max_msg_size = MSG_SIZE,
    .discard_old = true,
    .last_per_subject = true,
    .allow_direct = true,
};
static const struct stream_def worker_replies = {
    .name = "WORKER_REPLIES",
    .description = "What workers without PostgreSQL answered to an Idempotency-Key.",
    .patterns = (const char *const[]){"kept.>", NULL},
    .max_age_s = DAYS(30),
    .duplicate_window_s = MINUTES(2),
    .max_msgs = -1,
    .max_bytes = MIB(64),
    .max_msg_size = MSG_SIZE,
    .discard_old = true,
    .last_per_subject = true,
    .allow_direct = true,
};
static const struct stream_def ingestion_events = {
    .name = "INGESTION_EVENTS",
    .description = "Stages and reviews of ingestion.",
    .max_age_s = DAYS(7),
    .duplicate_window_s = HOURS(24),
    .max_msgs = -1,
    .max_bytes = MIB(512),
    .max_msg_size = MSG_SIZE,
};
static const struct stream_def notification_events = {
    .name = "NOTIFICATION_EVENTS",
    .description = "Notices for people.",
    .patterns = (const char *const[]){"notification.>", NULL},
    .max_age_s = DAYS(3),
    .duplicate_window_s = HOURS(1),
    .max_msgs = -1,
    .max_bytes = MIB(256),
    .max_msg_size = MSG_SIZE,
};
static const struct stream_def audit = {
    .name = "AUDIT",
    .description = "Who did what: replays, discards, decisions.",
    .patterns = (const char *const[]){"audit.>", NULL},
    .max_age_s = DAYS(400),
    .duplicate_window_s = HOURS(24),
    .max_msgs = -1,
    .max_bytes = MIB(2048),
    .max_msg_size = MSG_SIZE,
    .deny_delete = true,
};

const struct stream_def *const registry_streams[] = {
    &anime_events,   &anime_sync,       &anime_dlq,           &anime_advisory, &worker_suspects,
    &worker_replies, &ingestion_events, &notification_events, &audit,          NULL,
};

#define EVENT_MESSAGE(name) .message = &echora__events__v1__##name##__descriptor
#define REQUEST(in, out)                                                                           \
    .kind = SUBJECT_REQUEST, .message = &echora__catalog__v1__##in##__descriptor,                  \
    .reply = &echora__catalog__v1__##out##__descriptor
#define OPS_REQUEST(in, out)                                                                       \
    .kind = SUBJECT_REQUEST, .message = &echora__ops__v1__##in##__descriptor,                      \
    .reply = &echora__ops__v1__##out##__descriptor
#define ENTITY(kind, field) .entity_kind = (kind), .entity_id_field = (field)

const struct subject_def registry_subjects[] = {
    {.subject = "anime.enriched",
     .stream = &anime_events,
     EVENT_MESSAGE(anime_enriched_event),
     .schema = "echora.events.v1.AnimeEnrichedEvent",
     ENTITY("anime", "anime_id"),
     .published_by = "ingestion",
     .description = "A full record of an anime with characters and episodes, new or known."},
    {.subject = "anime.updated",
     .stream = &anime_events,
     EVENT_MESSAGE(anime_updated_event),
     .schema = "echora.events.v1.AnimeUpdatedEvent",
     ENTITY("anime", "anime_id"),
     .published_by = "update service; relay (flagged copies)",
     .description = "A few fields of an anime changed."},
    {.subject = "anime.episode.aired",
     .stream = &anime_events,
     EVENT_MESSAGE(episode_aired_event),
     .schema = "echora.events.v1.EpisodeAiredEvent",
     ENTITY("anime", "anime_id"),
     .published_by = "update service",
     .description = "An episode went on air."},
    {.subject = "character.updated",
     .stream = &anime_events,
     EVENT_MESSAGE(character_updated_event),
     .schema = "echora.events.v1.CharacterUpdatedEvent",
     ENTITY("character", "character_id"),
     .published_by = "update service",
     .description = "A few fields of a character changed."},
    {.subject = "episode.updated",
     .stream = &anime_events,
     EVENT_MESSAGE(episode_updated_event),
     .schema = "echora.events.v1.EpisodeUpdatedEvent",
     ENTITY("episode", "episode_id"),
     .published_by = "update service",
     .description = "A few fields of an episode changed."},

    {.subject = "anime.created",
     .stream = &anime_sync,
     EVENT_MESSAGE(anime_created_event),
     .schema = "echora.events.v1.AnimeCreatedEvent",
     ENTITY("anime", "anime_id"),
     .published_by = "outbox relay",
     .description =
         "An anime was committed, new or alive again, with its characters and episodes."},
    {.subject = "anime.synced",
     .stream = &anime_sync,
     EVENT_MESSAGE(anime_synced_event),
     .schema = "echora.events.v1.AnimeSyncedEvent",
     ENTITY("anime", "anime_id"),
     .published_by = "outbox relay",
     .description = "A change of an anime was committed."},
    {.subject = "anime.deleted",
     .stream = &anime_sync,
     EVENT_MESSAGE(anime_deleted_event),
     .schema = "echora.events.v1.AnimeDeletedEvent",
     ENTITY("anime", "anime_id"),
     .published_by = "outbox relay",
     .description = "The deletion of an anime was committed, with what belongs to it alone."},
    {.subject = "character.synced",
     .stream = &anime_sync,
     EVENT_MESSAGE(character_synced_event),
     .schema = "echora.events.v1.CharacterSyncedEvent",
     ENTITY("character", "character_id"),
     .published_by = "outbox relay",
     .description = "A change of a character was committed."},
    {.subject = "episode.synced",
     .stream = &anime_sync,
     EVENT_MESSAGE(episode_synced_event),
     .schema = "echora.events.v1.EpisodeSyncedEvent",
     ENTITY("episode", "episode_id"),
     .published_by = "outbox relay",
     .description = "A change of an episode was committed."},

    {.subject = "ingestion.review.ready",
     .stream = &ingestion_events,
     EVENT_MESSAGE(ingestion_review_ready_event),
     .schema = "echora.events.v1.IngestionReviewReadyEvent",
     .published_by = "ingestion",
     .description = "Entries of an ingestion run wait for a person's decision."},

    {.subject = "notification.episode.upcoming",
     .stream = &notification_events,
     EVENT_MESSAGE(episode_upcoming_notification),
     .schema = "echora.events.v1.EpisodeUpcomingNotification",
     ENTITY("anime", "anime_id"),
     .published_by = "update service",
     .description = "An episode goes on air soon."},
    {.subject = "notification.episode.aired",
     .stream = &notification_events,
     EVENT_MESSAGE(episode_aired_notification),
     .schema = "echora.events.v1.EpisodeAiredNotification",
     ENTITY("anime", "anime_id"),
     .published_by = "outbox relay",
     .description = "An episode went on air, for people."},
    {.subject = "notification.anime.status.changed",
     .stream = &notification_events,
     EVENT_MESSAGE(anime_status_changed_notification),
     .schema = "echora.events.v1.AnimeStatusChangedNotification",
     ENTITY("anime", "anime_id"),
     .published_by = "outbox relay",
     .description = "The status of an anime changed, for people."},

    {.subject = "audit.catalog",
     .stream = &audit,
     .message = &echora__ops__v1__catalog_audit__descriptor,
     .schema = "echora.ops.v1.CatalogAudit",
     ENTITY("anime", "anime_id"),
     .published_by = "outbox relay",
     .description = "A person's decision about the catalogue, or the end of what waited for one."},

    {.subject = "catalog.record.get",
     REQUEST(catalog_get_request, catalog_get_reply),
     .schema = "echora.catalog.v1.CatalogGetRequest",
     .entity_kind = "anime",
     .published_by = "Qdrant sync, people",
     .description = "Anime with their characters and episodes, as committed."},
    {.subject = "catalog.anime.get",
     REQUEST(catalog_get_request, catalog_get_reply),
     .schema = "echora.catalog.v1.CatalogGetRequest",
     .entity_kind = "anime",
     .published_by = "Qdrant sync, people",
     .description = "Anime as committed."},
    {.subject = "catalog.character.get",
     REQUEST(catalog_get_request, catalog_get_reply),
     .schema = "echora.catalog.v1.CatalogGetRequest",
     .entity_kind = "character",
     .published_by = "Qdrant sync, people",
     .description = "Characters as committed."},
    {.subject = "catalog.episode.get",
     REQUEST(catalog_get_request, catalog_get_reply),
     .schema = "echora.catalog.v1.CatalogGetRequest",
     .entity_kind = "episode",
     .published_by = "Qdrant sync, people",
     .description = "Episodes as committed."},
    {.subject = "catalog.anime.delete",
     REQUEST(catalog_delete_request, catalog_delete_reply),
     .schema = "echora.catalog.v1.CatalogDeleteRequest",
     ENTITY("anime", "anime_id"),
     .published_by = "operators",
     .description = "Hides an anime; with merge_into its id and references go to the survivor."},
    {.subject = "catalog.anime.restore",
     REQUEST(catalog_restore_request, catalog_restore_reply),
     .schema = "echora.catalog.v1.CatalogRestoreRequest",
     ENTITY("anime", "anime_id"),
     .published_by = "operators",
     .description = "Brings a deleted anime back."},
    {.subject = "catalog.outbox.enqueue",
     REQUEST(catalog_enqueue_request, catalog_enqueue_reply),
     .schema = "echora.catalog.v1.CatalogEnqueueRequest",
     .published_by = "Qdrant sync, dead letters",
     .description = "Writes fresh outbox rows for entities, for replay and repair."},
    {.subject = "catalog.revisions.list",
     REQUEST(catalog_revisions_request, catalog_revisions_reply),
     .schema = "echora.catalog.v1.CatalogRevisionsRequest",
     .published_by = "Qdrant sync",
     .description = "One page of all ids of a kind with their revisions."},
    {.subject = "catalog.xref.resolve",
     REQUEST(catalog_xref_request, catalog_xref_reply),
     .schema = "echora.catalog.v1.CatalogXrefRequest",
     .published_by = "ingestion, people",
     .description = "Which entities own references."},
    {.subject = "catalog.review.list",
     REQUEST(catalog_review_list_request, catalog_review_list_reply),
     .schema = "echora.catalog.v1.CatalogReviewListRequest",
     .published_by = "people",
     .description = "A page of risky updates that wait for a person, or waited, newest first."},
    {.subject = "catalog.review.get",
     REQUEST(catalog_review_get_request, catalog_review_get_reply),
     .schema = "echora.catalog.v1.CatalogReviewGetRequest",
     .published_by = "people, Command API",
     .description = "One risky update: its fields as they stand and as proposed, and its history."},
    {.subject = "catalog.review.decide",
     REQUEST(catalog_review_decide_request, catalog_review_decide_reply),
     .schema = "echora.catalog.v1.CatalogReviewDecideRequest",
     .once = true,
     .published_by = "operators, Command API",
     .description = "Applies a risky update under the order rule, or discards it."},
    {.subject = "catalog.reconcile",
     REQUEST(catalog_reconcile_request, catalog_reconcile_reply),
     .schema = "echora.catalog.v1.CatalogReconcileRequest",
     .once = true,
     .published_by = "operators, schedule, Command API",
     .description = "Compares the search index with the catalogue, and repairs it when told to."},
    {.subject = "contracts.validate",
     .kind = SUBJECT_REQUEST,
     .reply = &echora__ops__v1__contracts_validate_reply__descriptor,
     .published_by = "publishers",
     .description = "Whether an event would be taken: its body as it would be published, its "
                    "subject in the header Echora-Subject."},

    {.subject = "dlq.list",
     OPS_REQUEST(dlq_list_request, dlq_list_reply),
     .schema = "echora.ops.v1.DlqListRequest",
     .published_by = "people",
     .description = "A page of dead letters, newest first, or of groups that failed alike."},
    {.subject = "dlq.show",
     OPS_REQUEST(dlq_show_request, dlq_show_reply),
     .schema = "echora.ops.v1.DlqShowRequest",
     .published_by = "people",
     .description = "One dead letter with its headers and its payload."},
    {.subject = "dlq.status",
     OPS_REQUEST(dlq_status_request, dlq_status_reply),
     .schema = "echora.ops.v1.DlqStatusRequest",
     .published_by = "people",
     .description = "How many dead letters there are, and how plans are getting on."},
    {.subject = "dlq.replay",
     OPS_REQUEST(dlq_replay_request, dlq_replay_reply),
     .schema = "echora.ops.v1.DlqReplayRequest",
     .once = true,
     .published_by = "operators",
     .description = "Makes, runs or stops a plan that publishes dead letters again."},
    {.subject = "dlq.discard",
     OPS_REQUEST(dlq_replay_request, dlq_replay_reply),
     .schema = "echora.ops.v1.DlqReplayRequest",
     .once = true,
     .published_by = "operators",
     .description = "Makes, runs or stops a plan after which dead letters are no longer offered."},

    {.subject = "webhook.test",
     OPS_REQUEST(webhook_test_request, webhook_send_reply),
     .schema = "echora.ops.v1.WebhookTestRequest",
     .published_by = "operators",
     .description = "Sends a signed test event to a route's receiver."},
    {.subject = "webhook.replay",
     OPS_REQUEST(webhook_replay_request, webhook_send_reply),
     .schema = "echora.ops.v1.WebhookReplayRequest",
     .published_by = "operators",
     .description = "Sends an event's webhook once more, under the same webhook-id."},
    {.subject = "webhook.enable",
     OPS_REQUEST(webhook_enable_request, webhook_enable_reply),
     .schema = "echora.ops.v1.WebhookEnableRequest",
     .published_by = "operators",
     .description = "Uses a route again that its receiver has closed."},

    {.subject = "hint.outbox",
     .kind = SUBJECT_HINT,
     .published_by = "catalogue writer",
     .description = "New outbox rows were committed. May be lost; the relay polls as well."},
};
const size_t n_registry_subjects = ARRAY_LEN(registry_subjects);

const struct subject_def *registry_subject(struct view subject)
{
    for (size_t i = 0; i < n_registry_subjects; i++) {
        if (view_is(subject, registry_subjects[i].subject))
            return &registry_subjects[i];
    }
    return NULL;
}

const struct stream_def *registry_stream(struct view name)
{
    for (const struct stream_def *const *s = registry_streams; *s; s++) {
        if (view_is(name, (*s)->name))
            return *s;
    }
    return NULL;
}

const struct subject_def *registry_must(const char *subject)
{
    const struct subject_def *def = registry_subject(view_of(subject));
    if (!def)
        abort();
    return def;
}

/* Takes one token off the front; false when there is none left. */
static bool next_token(struct view *rest, struct view *ret)
{
    if (!rest->p)
        return false;
    const char *dot = rest->n ? memchr(rest->p, '.', rest->n) : NULL;
    if (!dot) {
        *ret = *rest;
        *rest = (struct view){0};
        return true;
    }
    size_t n = (size_t)(dot - rest->p);
    *ret = (struct view){rest->p, n};
    *rest = (struct view){dot + 1, rest->n - n - 1};
    return true;
}

static bool is_char(struct view token, char c)
{
    return token.n == 1 && token.p[0] == c;
}

bool subject_matches(struct view pattern, struct view subject)
{
    struct view p, s;
    for (;;) {
        bool more_p = next_token(&pattern, &p);
        bool more_s = next_token(&subject, &s);
        if (!more_p || !more_s)
            return more_p == more_s;
        if (is_char(p, '>') && !pattern.p)
            return true;
        if (!is_char(p, '*') && !view_eq(p, s))
            return false;
    }
}

bool subject_overlaps(struct view a, struct view b)
{
    struct view ta, tb;
    for (;;) {
        bool more_a = next_token(&a, &ta);
        bool more_b = next_token(&b, &tb);
        if (!more_a || !more_b)
            return more_a == more_b;
        if (is_char(ta, '>') || is_char(tb, '>'))
            return true;
        if (!is_char(ta, '*') && !is_char(tb, '*') && !view_eq(ta, tb))
            return false;
    }
}

static bool pattern_covers(const struct stream_def *stream, struct view subject)
{
    for (const char *const *p = stream->patterns; p && *p; p++) {
        if (subject_matches(view_of(*p), subject))
            return true;
    }
    return false;
}

const struct stream_def *registry_stream_of(struct view subject)
{
    const struct subject_def *def = registry_subject(subject);
    if (def)
        return def->stream;
    for (const struct stream_def *const *s = registry_streams; *s; s++) {
        if (pattern_covers(*s, subject))
            return *s;
    }
    return NULL;
}

size_t registry_stream_subjects(const struct stream_def *stream, const char **ret, size_t max)
{
    size_t n = 0;
    for (const char *const *p = stream->patterns; p && *p; p++, n++) {
        if (n < max)
            ret[n] = *p;
    }
    for (size_t i = 0; i < n_registry_subjects; i++) {
        const struct subject_def *def = &registry_subjects[i];
        if (def->stream != stream || pattern_covers(stream, view_of(def->subject)))
            continue;
        if (n < max)
            ret[n] = def->subject;
        n++;
    }
    return n;
}

static struct view text_field(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    if (!field || field->type != PROTOBUF_C_TYPE_STRING || field->label != PROTOBUF_C_LABEL_NONE)
        return (struct view){0};
    return view_of(*(const char *const *)((const char *)message + field->offset));
}

/* Microseconds; times that microseconds can't hold end at the bounds of years 1 and 9999, which
 * validation refuses anyway. */
static int64_t time_us(const Google__Protobuf__Timestamp *t)
{
    const int64_t first = -62135596800, last = 253402300799;
    if (t->seconds < first)
        return first * 1000000;
    if (t->seconds > last)
        return last * 1000000;
    return t->seconds * 1000000 + t->nanos / 1000;
}

void envelope_read(const struct subject_def *def, const ProtobufCMessage *message,
                   struct envelope *ret)
{
    *ret = (struct envelope){0};
    if (!message)
        return;
    ret->event_id = text_field(message, "event_id");
    if (def->entity_id_field)
        ret->entity_id = text_field(message, def->entity_id_field);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "timestamp");
    if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE ||
        field->descriptor != &google__protobuf__timestamp__descriptor)
        return;
    const Google__Protobuf__Timestamp *time =
        *(Google__Protobuf__Timestamp *const *)((const char *)message + field->offset);
    if (!time)
        return;
    ret->time_us = time_us(time);
    ret->has_time = true;
}
