/* Stands for the workers that would serve command.check-tag and command.start-incremental-run:
 * answers at once, and counts what it did. Shares no code with the product.
 *
 * usage: command_responder NATS-URL
 * The number in a request (of nine digits) comes back in its answer. On bench.count it tells how
 * many calls it served and how many runs it was asked to start twice. */
// SPDX-License-Identifier: Apache-2.0

#include <nats/nats.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGITS = 9, RUNS_MAX = 1 << 23 };
#define FIRST 100000000u

static atomic_ulong checked, started, repeated;
static uint8_t seen[RUNS_MAX / 8];

static void must(natsStatus s, const char *what)
{
    if (s == NATS_OK)
        return;
    fprintf(stderr, "command_responder: %s: %s\n", what, natsStatus_GetText(s));
    exit(1);
}

static void answer(natsConnection *nc, natsMsg *request, const char *status, const char *body)
{
    natsMsg *msg = NULL;

    must(natsMsg_Create(&msg, natsMsg_GetReply(request), NULL, body, (int)strlen(body)), "message");
    if (status != NULL)
        must(natsMsgHeader_Set(msg, "Echora-Status", status), "header");
    must(natsConnection_PublishMsg(nc, msg), "publish");
    natsMsg_Destroy(msg);
}

/* The number behind this text of the body, 0 when there is none. */
static unsigned number_behind(natsMsg *request, const char *text)
{
    char body[512];
    const int n = natsMsg_GetDataLength(request);

    if (n >= (int)sizeof(body))
        return 0;
    memcpy(body, natsMsg_GetData(request), (size_t)n);
    body[n] = '\0';
    const char *at = strstr(body, text);
    return at != NULL ? (unsigned)strtoul(at + strlen(text), NULL, 10) : 0;
}

static void on_check(natsConnection *nc, natsSubscription *sub, natsMsg *request, void *closure)
{
    char body[256];

    snprintf(body, sizeof(body),
             "{\"latest_tag\":\"s%09u\",\"changed\":true,\"latest_snapshot_id\":null,"
             "\"artifact_url\":null,\"artifact_sha256\":null}",
             number_behind(request, "\"source\":\"s"));
    atomic_fetch_add(&checked, 1);
    answer(nc, request, "200", body);
    natsMsg_Destroy(request);
}

static void on_start(natsConnection *nc, natsSubscription *sub, natsMsg *request, void *closure)
{
    const unsigned number = number_behind(request, "\"tag\":\"t"), i = number - FIRST;
    char body[128];

    atomic_fetch_add(&started, 1);
    if (i >= RUNS_MAX || seen[i / 8] & 1u << i % 8)
        atomic_fetch_add(&repeated, 1);
    else
        seen[i / 8] |= (uint8_t)(1u << i % 8);
    snprintf(body, sizeof(body), "{\"run_id\":%u,\"snapshot_id\":%u}", number, number);
    answer(nc, request, "201", body);
    natsMsg_Destroy(request);
}

static void on_count(natsConnection *nc, natsSubscription *sub, natsMsg *request, void *closure)
{
    char body[128];

    snprintf(body, sizeof(body), "{\"checked\":%lu,\"started\":%lu,\"repeated\":%lu}",
             atomic_load(&checked), atomic_load(&started), atomic_load(&repeated));
    answer(nc, request, NULL, body);
    natsMsg_Destroy(request);
}

int main(int argc, char **argv)
{
    natsConnection *nc = NULL;
    natsSubscription *subs[3] = {NULL};

    if (argc != 2) {
        fputs("usage: command_responder NATS-URL\n", stderr);
        return 2;
    }
    must(natsConnection_ConnectTo(&nc, argv[1]), "connect");
    must(
        natsConnection_QueueSubscribe(&subs[0], nc, "command.check-tag", "command", on_check, NULL),
        "subscribe");
    must(natsConnection_QueueSubscribe(&subs[1], nc, "command.start-incremental-run", "command",
                                       on_start, NULL),
         "subscribe");
    must(natsConnection_Subscribe(&subs[2], nc, "bench.count", on_count, NULL), "subscribe");
    must(natsConnection_Flush(nc), "flush");
    for (;;)
        pause();
}
