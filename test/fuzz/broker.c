/* What nats-server answers, without a network: nats.c's calls that reach one are wrapped and give
 * the pieces of the input, in turn.
 *
 * Properties: an acknowledgement that is taken names a stream and is ours; a pipeline vouches for
 * nothing that it has not sent; delivery subjects and pull states end in a known case. The first
 * byte picks what is asked. A piece may begin with header lines and an empty line. */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <jansson.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/bus_internal.h"
#include "events/pipeline.h"
#include "events/pull.h"
#include "events/stream.h"
#include "test/fuzz/demand.h"

static struct bytes rest;
static struct bus bus;
static char inbox[BUS_INBOX_MAX];

/* A message of the next piece; false at the end of the input. subject: what it came on. */
static bool next_message(const char *subject, natsMsg **ret)
{
    struct bytes piece;
    if (!next_piece(&rest, &piece))
        return false;
    struct view body = {(const char *)piece.p, piece.n};
    const char *split = piece.n ? memmem(piece.p, piece.n, "\n\n", 2) : NULL;
    struct view lines = {body.p, split ? (size_t)(split - body.p) : 0}, line, name;
    if (split)
        body = (struct view){split + 2, body.n - lines.n - 2};
    demand(natsMsg_Create(ret, subject, NULL, body.p, (int)body.n) == NATS_OK, "memory", NULL);
    while (lines.p && lines.n && view_split(&lines, '\n', &line)) {
        char text[2][256];
        struct view value = line;
        view_split(&value, ':', &name);
        snprintf(text[0], sizeof(text[0]), "%.*s", (int)name.n, name.p ? name.p : "");
        snprintf(text[1], sizeof(text[1]), "%.*s", (int)value.n, value.p ? value.p : "");
        natsMsgHeader_Add(*ret, text[0], text[1]);
    }
    return true;
}

natsStatus __wrap_natsConnection_RequestMsg(natsMsg **ret, natsConnection *nc, natsMsg *request,
                                            int64_t timeout);
natsStatus __wrap_natsConnection_RequestMsg(natsMsg **ret, natsConnection *nc, natsMsg *request,
                                            int64_t timeout)
{
    return next_message("reply", ret) ? NATS_OK : NATS_TIMEOUT;
}

natsStatus __wrap_natsConnection_SubscribeSync(natsSubscription **ret, natsConnection *nc,
                                               const char *subject);
natsStatus __wrap_natsConnection_SubscribeSync(natsSubscription **ret, natsConnection *nc,
                                               const char *subject)
{
    snprintf(inbox, sizeof(inbox), "%.*s", (int)strlen(subject) - 2, subject);
    return NATS_OK;
}

natsStatus __wrap_natsSubscription_SetPendingLimits(natsSubscription *sub, int n, int bytes);
natsStatus __wrap_natsSubscription_SetPendingLimits(natsSubscription *sub, int n, int bytes)
{
    return NATS_OK;
}

natsStatus __wrap_natsConnection_PublishMsg(natsConnection *nc, natsMsg *msg);
natsStatus __wrap_natsConnection_PublishMsg(natsConnection *nc, natsMsg *msg)
{
    return NATS_OK;
}

natsStatus __wrap_natsConnection_FlushTimeout(natsConnection *nc, int64_t timeout);
natsStatus __wrap_natsConnection_FlushTimeout(natsConnection *nc, int64_t timeout)
{
    return NATS_OK;
}

natsConnStatus __wrap_natsConnection_Status(natsConnection *nc);
natsConnStatus __wrap_natsConnection_Status(natsConnection *nc)
{
    return NATS_CONN_STATUS_CONNECTED;
}

/* The piece's first line is what stands behind the inbox. */
natsStatus __wrap_natsSubscription_NextMsg(natsMsg **ret, natsSubscription *sub, int64_t timeout);
natsStatus __wrap_natsSubscription_NextMsg(natsMsg **ret, natsSubscription *sub, int64_t timeout)
{
    char subject[BUS_INBOX_MAX + 64];
    struct bytes piece;
    if (!next_piece(&rest, &piece))
        return NATS_CONNECTION_CLOSED;
    struct view body = {(const char *)piece.p, piece.n}, first = {0};
    view_split(&body, '\n', &first);
    snprintf(subject, sizeof(subject), "%s%.*s", inbox, first.n < 48 ? (int)first.n : 48,
             first.p ? first.p : "");
    return natsMsg_Create(ret, subject, NULL, body.p ? body.p : "", (int)body.n);
}

static void run_publish(void)
{
    const struct bus_message message = {.subject = "anime.updated"};
    struct bus_ack ack = {0};
    struct err err = ERR_INIT;
    if (bus_publish(&bus, &message, &ack, &err) == 0)
        demand(strnlen(ack.stream, sizeof(ack.stream)) < sizeof(ack.stream), "a name", NULL);
    else
        demand(err.class != ERR_NONE && err.code[0], "an error has its name", &err);
}

static void run_publish_many(void)
{
    struct bus_message messages[3] = {
        {.subject = "anime.updated"}, {.subject = "anime.dlq.x"}, {.subject = "other"}};
    struct bus_ack acks[3];
    struct err errs[3], err = ERR_INIT;
    (void)!bus_publish_many(&bus, messages, 3, acks, errs, &err);
    for (size_t i = 0; i < 3; i++)
        demand(errs[i].class == ERR_NONE || errs[i].code[0], "an error has its name", &errs[i]);
}

static void run_stream(void)
{
    struct stream_state state = {0};
    struct buf headers CLEANUP(buf_deinit);
    struct err err = ERR_INIT;
    bool found = false;
    if (stream_state(&bus, "ANIME_SYNC", &state, &err) == 0)
        demand(strnlen(state.created, sizeof(state.created)) < sizeof(state.created), "fits", NULL);
    buf_init(&headers, 128 << 10);
    if (stream_headers(&bus, "ANIME_SYNC", 1, &headers, &found, &err) == 0 && found) {
        struct view value = stream_header(buf_view(&headers), "Echora-Position");
        demand(!value.n || (value.p > headers.p && value.p + value.n <= headers.p + headers.n),
               "a header lies within the headers", NULL);
    }
}

static void run_call(void)
{
    const Echora__Catalog__V1__CatalogGetRequest request =
        ECHORA__CATALOG__V1__CATALOG_GET_REQUEST__INIT;
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    ProtobufCMessage *reply = NULL;
    struct err err = ERR_INIT;
    if (bus_call(&bus, "catalog.anime.get", &request.base,
                 &echora__catalog__v1__catalog_get_reply__descriptor, 0, arena, &reply, &err) < 0)
        demand(err.class != ERR_NONE && strlen(err.code) < sizeof(err.code), "named", &err);
    else
        demand(reply != NULL, "a reply", NULL);
}

static void run_pipeline(void)
{
    const struct pipeline_options options = {.stream = "ANIME_SYNC", .ack_every = 2, .window = 4};
    const struct pipeline_message message = {
        .subject = "anime.synced", .event_id = "e", .position = "1:1"};
    struct pipeline *p = NULL;
    struct err err = ERR_INIT;
    int rc = 0;
    if (pipeline_new(&p, &bus, &options, &err) < 0)
        return;
    pipeline_start(p, 5);
    for (int i = 0; rc == 0 && i < 9; i++)
        rc = pipeline_publish(p, &message, i == 8, &err);
    if (rc == 0)
        rc = pipeline_finish(p, &err);
    demand(pipeline_acked(p) <= pipeline_sent(p), "only what was sent is vouched for", &err);
    demand(rc < 0 || pipeline_acked(p) == 14, "the end is where all is stored", &err);
    pipeline_free(p);
}

static void run_pull(struct view text)
{
    struct delivery d;
    struct view description = text, status;
    char word[8] = "", why[128] = "";
    if (delivery_parse(text, &d))
        demand(d.deliveries > 0 && d.stream.n + d.consumer.n < text.n, "a delivery", NULL);
    view_split(&description, ' ', &status);
    snprintf(word, sizeof(word), "%.*s", (int)status.n, status.p ? status.p : "");
    snprintf(why, sizeof(why), "%.*s", (int)description.n, description.p ? description.p : "");
    demand(pull_classify(word, why) <= PULL_UNKNOWN, "a known state", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    if (!bus.inbox_prefix[0]) {
        bus.nc = (natsConnection *)&bus; /* only ever handed to the wrapped calls */
        bus.timeout_ms = 1000;
        nats_Open(-1);
        snprintf(bus.inbox_prefix, sizeof(bus.inbox_prefix), "_INBOX");
        pthread_mutex_init(&bus.hook_mutex, NULL);
    }
    rest = (struct bytes){data + 1, n - 1};
    switch (data[0] % 6) {
    case 0:
        run_publish();
        break;
    case 1:
        run_publish_many();
        break;
    case 2:
        run_stream();
        break;
    case 3:
        run_call();
        break;
    case 4:
        run_pipeline();
        break;
    default:
        run_pull((struct view){(const char *)data + 1, n - 1});
    }
    return 0;
}
