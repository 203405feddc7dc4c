/* Bodies: what stands in them when all is well, and what becomes of everything else. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/adapter/body.h"

#include "events.pb-c.h"
#include "test/unit/check.h"

#define ENTITY "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"

struct header {
    const char *name, *value;
};

static const char *header_of(const void *ctx, const char *name)
{
    for (const struct header *h = ctx; h->name != NULL; h++) {
        if (strcmp(h->name, name) == 0)
            return h->value;
    }
    return NULL;
}

/* The body of an event as text; static. */
static const char *built(enum route route, const struct original *o)
{
    static char text[BODY_MAX + 1];
    struct buf body = {.max = BODY_MAX};
    struct err err = ERR_INIT;
    struct uuid id;

    CHECK(body_id(route, o, &id, &err) == 0);
    CHECK(body_build(route, o, id, &body, &err) == 0);
    snprintf(text, sizeof(text), "%s", buf_cstr(&body));
    buf_deinit(&body);
    return text;
}

static const char *letter(const struct header *headers, const char *subject)
{
    const struct original o = {.subject = subject,
                               .stored_us = 1700000000000000,
                               .sequence = 42,
                               .header = header_of,
                               .ctx = headers};
    return built(ROUTE_DLQ, &o);
}

static void test_a_dead_letter(void)
{
    static const struct header headers[] = {{"Nats-Msg-Id", "ANIME_EVENTS:1:catalog-updated:7"},
                                            {"Echora-Event-Id", ENTITY},
                                            {"Echora-Dlq-Subject", "anime.updated"},
                                            {"Echora-Dlq-Code", "pg-23503"},
                                            {"Echora-Dlq-Entity", ENTITY},
                                            {"Echora-Dlq-Deliveries", "5"},
                                            {"Echora-Dlq-Fingerprint", "0123456789abcdef"},
                                            {"Echora-Dlq-Failed-At", "2026-01-02T03:04:05Z"},
                                            {NULL, NULL}};
    const char *text = letter(headers, "anime.dlq.catalog-updated");

    CHECK(strstr(text, "{\"type\":\"dead-letter.created\",\"timestamp\":\"2026-01-02T03:04:05Z\","
                       "\"id\":\"") == text);
    CHECK(strstr(text, "\"data\":{\"event_id\":\"" ENTITY "\",\"subject\":\"anime.updated\","
                       "\"error_type\":\"pg-23503\",\"entity_id\":\"" ENTITY
                       "\",\"source_service\":\"catalog-updated\",\"attempt_count\":5,"
                       "\"dlq_seq\":42,\"fingerprint\":\"0123456789abcdef\"}}") != NULL);
}

static void test_other_forms_become_null(void)
{
    static const struct header headers[] = {
        {"Echora-Event-Id", ENTITY "x"},        {"Echora-Dlq-Subject", "anime.updated.secret"},
        {"Echora-Dlq-Code", "a-title"},         {"Echora-Dlq-Entity", "A title"},
        {"Echora-Dlq-Deliveries", "5 secrets"}, {"Echora-Dlq-Fingerprint", "0123456789abcdeX"},
        {"Echora-Dlq-Failed-At", "yesterday"},  {NULL, NULL}};
    CHECK(strstr(letter(headers, "anime.dlq.A Title"), "\"timestamp\":\"2023-11-14T22:13:20Z\"") !=
          NULL);
    CHECK(strstr(letter(headers, "anime.dlq.A Title"),
                 "{\"event_id\":null,\"subject\":null,\"error_type\":null,\"entity_id\":null,"
                 "\"source_service\":null,\"attempt_count\":null,\"dlq_seq\":42,"
                 "\"fingerprint\":null}") != NULL);
}

static void test_a_subject_without_its_end(void)
{
    static const struct header none[] = {{NULL, NULL}};

    CHECK(strstr(letter(none, "anime.dlq."), "\"source_service\":null,") != NULL);
}

static const char *risky(char *fields[], size_t n_fields, char *reasons[], size_t n_reasons)
{
    Echora__Events__V1__AnimeUpdatedEvent m = ECHORA__EVENTS__V1__ANIME_UPDATED_EVENT__INIT;
    static const struct header none[] = {{NULL, NULL}};
    static char id[] = ENTITY, anime[] = "not an id";

    m.event_id = id;
    m.anime_id = anime;
    m.changed_fields = fields;
    m.n_changed_fields = n_fields;
    m.risk_reasons = reasons;
    m.n_risk_reasons = n_reasons;
    const struct original o = {
        .subject = "anime.updated", .message = &m.base, .header = header_of, .ctx = none};
    return built(ROUTE_RISK, &o);
}

static void test_names_and_reasons(void)
{
    char title[] = "title", secret[] = "My Secret", count[] = "episode_count";
    char good[] = "episode-count-lowered", own[] = "because I say so", near[] = "title-secret",
         bare[] = "-changed", unknown[] = "secret-changed";

    CHECK(strstr(risky((char *[]){secret, title, count}, 3, (char *[]){own, good, near}, 3),
                 "\"data\":{\"event_id\":\"" ENTITY "\",\"anime_id\":null,\"changed_fields\":"
                 "[\"title\",\"episode_count\"],\"risk_reason\":[\"episode-count-lowered\","
                 "\"flagged\"]}}") != NULL);
    CHECK(strstr(risky(NULL, 0, (char *[]){bare, unknown}, 2),
                 "\"changed_fields\":[],\"risk_reason\":[\"flagged\"]}") != NULL);
}

/* As many members as a message may have, and the body stays small. */
static void test_long_lists(void)
{
    static char title[] = "title_english", reason[] = "title-english-changed";
    char *fields[5000], *reasons[5000];

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        fields[i] = title;
        reasons[i] = reason;
    }
    CHECK(strlen(risky(fields, ARRAY_LEN(fields), reasons, ARRAY_LEN(reasons))) < BODY_MAX);
}

static void test_ids(void)
{
    static const struct header none[] = {{NULL, NULL}};
    static const struct header same[] = {{"Nats-Msg-Id", "ANIME_DLQ:7"}, {NULL, NULL}};
    const struct original a = {.sequence = 7, .header = header_of, .ctx = none};
    const struct original b = {.sequence = 9, .header = header_of, .ctx = same};
    struct uuid one = {{0}}, two = {{0}};
    struct err err = ERR_INIT;

    CHECK(body_id(ROUTE_DLQ, &a, &one, &err) == 0 && body_id(ROUTE_DLQ, &b, &two, &err) == 0);
    CHECK(uuid_cmp(one, two) == 0 && !uuid_is_nil(one));
}

int main(void)
{
    RUN(test_a_dead_letter);
    RUN(test_other_forms_become_null);
    RUN(test_a_subject_without_its_end);
    RUN(test_names_and_reasons);
    RUN(test_long_lists);
    RUN(test_ids);
    return check_result();
}
