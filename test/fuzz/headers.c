/* What a publisher may put into headers, and what becomes of it: the trace, for whom the event is,
 * and its dead letter.
 *
 * Properties: all headers are listed as they came; a dead letter's headers stay within their
 * limits, each own one is printable ASCII and stands once, and nothing that NATS gives a meaning is
 * copied. The input is lines "name: value", and behind an empty line the failure's code, reason,
 * entity. */
// SPDX-License-Identifier: Apache-2.0

#include <nats/nats.h>

#include "events/deadletter.h"
#include "events/event_internal.h"
#include "test/fuzz/demand.h"

enum { TEXT_MAX = 4096, ARENA_MAX = 4 << 20 };

static char *text_of(struct arena *arena, struct view v)
{
    char *text = arena_strdup(arena, v);
    demand(text != NULL, "memory", NULL);
    return text;
}

static natsMsg *message_of(struct arena *arena, struct view lines)
{
    natsMsg *msg = NULL;
    struct view line;
    demand(natsMsg_Create(&msg, "anime.updated", NULL, "x", 1) == NATS_OK, "memory", NULL);
    while (lines.p && view_split(&lines, '\n', &line)) {
        struct view value = line, name = {0};
        view_split(&value, ':', &name);
        if (name.n && value.p)
            natsMsgHeader_Add(msg, text_of(arena, name), text_of(arena, value));
    }
    return msg;
}

static void check_event(const struct event *e)
{
    struct trace_context trace, again;
    char text[TRACEPARENT_MAX];
    if (event_parent(e, &trace)) {
        trace_format(&trace, text);
        demand(trace_parse(view_of(text), view_of(trace.state), &again), "a trace goes on", NULL);
    }
    const char *only = event_header(e, "Echora-Replay-For");
    demand(event_is_for(e, "catalog-updated") ==
               (!only || !*only || strcmp(only, "catalog-updated") == 0),
           "for whom it is", NULL);
}

static void check_letter(const struct bus_message *letter, const struct dead_letter *facts)
{
    size_t own = 0, total = 0;
    for (size_t i = 0; i < letter->n_headers; i++) {
        const struct bus_header *h = &letter->headers[i];
        size_t size = strlen(h->name) + strlen(h->value) + 4;
        bool is_own = strncmp(h->name, "Echora-Dlq-", 11) == 0;
        total += size;
        own += is_own ? size : 0;
        for (const char *p = h->value; is_own && *p; p++)
            demand(*p >= 0x20 && *p < 0x7f, "own headers are printable", NULL);
        for (size_t k = 0; is_own && k < i; k++)
            demand(strcmp(letter->headers[k].name, h->name) != 0, "own headers stand once", NULL);
        demand(i < 2 || !dead_letter_strips(h->name) || is_own, "none of NATS' is copied", NULL);
    }
    demand(own <= DEAD_LETTER_OWN_MAX, "own headers have a limit", NULL);
    demand(total <= DEAD_LETTER_HEADERS_MAX, "all headers have one", NULL);
    demand(letter->payload.p == facts->payload.p, "the bytes are the original", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(ARENA_MAX);
    struct view all = {(const char *)data, n < TEXT_MAX ? n : TEXT_MAX}, lines = all,
                parts[3] = {0};
    const char *split = all.n ? memmem(all.p, all.n, "\n\n", 2) : NULL;
    struct view behind = {0};
    if (split) {
        lines.n = (size_t)(split - all.p);
        behind = (struct view){split + 2, all.n - lines.n - 2};
    }
    for (size_t i = 0; i < ARRAY_LEN(parts) && behind.p; i++)
        view_split(&behind, '\n', &parts[i]);

    static bool open;
    open = open || nats_Open(-1) == NATS_OK;
    natsMsg *msg = message_of(arena, lines);
    const struct delivery delivery = {.deliveries = 1, .stream_sequence = 7};
    struct event e;
    struct bus_message letter;
    struct err err = ERR_INIT;
    event_take(&e, registry_must("anime.updated"), msg, &delivery);
    check_event(&e);
    struct dead_letter facts = {.stream = "ANIME_EVENTS",
                                .consumer = "catalog-updated",
                                .subject = "anime.updated",
                                .sequence = 7,
                                .deliveries = 1,
                                .class = "reject",
                                .code = text_of(arena, parts[0]),
                                .reason = text_of(arena, parts[1]),
                                .entity = parts[2],
                                .worker = "catalogue",
                                .payload = e.payload};
    (void)!event_headers(&e, arena, &facts.original, &facts.n_original);
    demand(dead_letter_build(&facts, arena, &letter, &err) == 0, "a letter is written", &err);
    check_letter(&letter, &facts);
    natsMsg_Destroy(msg);
    return 0;
}
