// SPDX-License-Identifier: Apache-2.0
#include "events/deadletter.h"

#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "events/base/uuid.h"

#define OWN_HEADERS 20

bool dead_letter_strips(const char *header_name)
{
    const struct view name = view_of(header_name);

    return view_starts_with(name, "Nats-") || view_starts_with(name, "Echora-Dlq-") ||
           view_is(name, "Status") || view_is(name, "Description");
}

/* Length of the UUID that stands here, 0 when none does. */
static size_t uuid_at(const char *p)
{
    struct uuid ignored;

    return strnlen(p, UUID_TEXT - 1) == UUID_TEXT - 1 &&
                   uuid_parse((struct view){p, UUID_TEXT - 1}, &ignored)
               ? UUID_TEXT - 1
               : 0;
}

void dead_letter_fingerprint(const char *consumer, const char *code, const char *reason,
                             char out[static 17])
{
    char text[768];
    size_t n = (size_t)snprintf(text, sizeof(text), "%.128s\n%.32s\n", consumer, code);
    uint8_t digest[SHA256_SIZE];
    bool in_number = false;

    for (const char *p = reason; *p != '\0' && n < sizeof(text); p++) {
        const size_t id = uuid_at(p);
        const bool digit = id > 0 || (*p >= '0' && *p <= '9');

        if (id > 0)
            p += id - 1;
        if (!digit)
            text[n++] = *p;
        else if (!in_number)
            text[n++] = '#';
        in_number = digit;
    }
    sha256((struct bytes){(const uint8_t *)text, n}, digest);
    for (size_t i = 0; i < 8; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

struct builder {
    struct arena *arena;
    struct bus_header *headers;
    size_t n;
    size_t own_bytes; /* of Echora-Dlq-* so far */
};

char *dead_letter_text(struct view text, size_t max, struct arena *arena)
{
    const size_t n = text.n < max ? text.n : max;
    char *out = arena_alloc(arena, n + 1);

    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        out[i] = text.p[i] >= 0x20 && text.p[i] < 0x7f ? text.p[i] : '?';
    out[n] = '\0';
    return out;
}

char *dead_letter_identity(const char *stream, int64_t stream_created_s, const char *consumer,
                           uint64_t sequence, struct arena *arena)
{
    return arena_printf(arena, "%s:%lld:%s:%llu", stream, (long long)stream_created_s, consumer,
                        (unsigned long long)sequence);
}

static void put(struct builder *b, const char *name, const char *value)
{
    if (value == NULL)
        return; /* the arena is full, or there is nothing to say */
    b->headers[b->n++] = (struct bus_header){name, value};
    if (view_starts_with(view_of(name), "Echora-Dlq-"))
        b->own_bytes += strlen(name) + strlen(value) + 4; /* ": " and CR LF */
}

static void put_text(struct builder *b, const char *name, struct view value, size_t max)
{
    if (value.n > 0)
        put(b, name, dead_letter_text(value, max, b->arena));
}

static void put_number(struct builder *b, const char *name, uint64_t value)
{
    put(b, name, arena_printf(b->arena, "%llu", (unsigned long long)value));
}

static void put_time(struct builder *b, const char *name, int64_t time_us)
{
    char text[RFC3339_MAX];
    int64_t seconds = time_us / 1000000, rest = time_us % 1000000;

    if (rest < 0) {
        seconds--;
        rest += 1000000;
    }
    rfc3339_format(seconds, (int32_t)(rest * 1000), text);
    put(b, name, arena_strdup(b->arena, view_of(text)));
}

static void put_own(struct builder *b, const struct dead_letter *f)
{
    char fingerprint[17];

    if (!FAULT("dead-letter-without-id"))
        put(b, "Nats-Msg-Id",
            dead_letter_identity(f->stream, f->stream_created_s, f->consumer, f->sequence,
                                 b->arena));
    put(b, "Nats-Expected-Stream", "ANIME_DLQ");
    put_text(b, "Echora-Dlq-Stream", view_of(f->stream), 64);
    put_text(b, "Echora-Dlq-Consumer", view_of(f->consumer), 64);
    put_text(b, "Echora-Dlq-Subject", view_of(f->subject), 256);
    put_number(b, "Echora-Dlq-Seq", f->sequence);
    put_number(b, "Echora-Dlq-Deliveries", f->deliveries);
    put_text(b, "Echora-Dlq-Class", view_of(f->class), 32);
    put_text(b, "Echora-Dlq-Code", view_of(f->code), 32);
    dead_letter_fingerprint(f->consumer, f->code, f->reason, fingerprint);
    put_text(b, "Echora-Dlq-Fingerprint", view_of(fingerprint), 16);
    put_text(b, "Echora-Dlq-Entity", f->entity, 64);
    put_time(b, "Echora-Dlq-First-Seen", f->first_seen_us);
    put_time(b, "Echora-Dlq-Failed-At", f->failed_at_us);
    put_text(b, "Echora-Dlq-Worker", view_of(f->worker), 128);
    put_number(b, "Echora-Dlq-Hop", f->hop);
    /* Last, in what is left: the others together stay far below. */
    const size_t left = DEAD_LETTER_OWN_MAX - b->own_bytes - sizeof("Echora-Dlq-Reason: \r\n");
    put_text(b, "Echora-Dlq-Reason", view_of(f->reason),
             left < DEAD_LETTER_REASON_MAX ? left : DEAD_LETTER_REASON_MAX);
}

/* A name that every client can send and read: what a publisher wrote may be anything. */
static bool is_name(const char *name)
{
    for (const char *p = name; *p != '\0'; p++) {
        if (*p <= 0x20 || *p >= 0x7f || *p == ':')
            return false;
    }
    return *name != '\0';
}

static void put_original(struct builder *b, const struct dead_letter *f)
{
    size_t total = DEAD_LETTER_OWN_MAX + 512;

    for (size_t i = 0; i < f->n_original; i++) {
        const struct bus_header *h = &f->original[i];
        const size_t size = strlen(h->name) + strlen(h->value) + 4;

        if (!is_name(h->name) || dead_letter_strips(h->name) ||
            total + size > DEAD_LETTER_HEADERS_MAX)
            continue;
        total += size;
        put(b, h->name, h->value);
    }
}

int dead_letter_build(const struct dead_letter *facts, struct arena *arena, struct bus_message *ret,
                      struct err *err)
{
    const bool parked = facts->parks || facts->hop >= DEAD_LETTER_PARK_HOPS;
    struct builder b = {.arena = arena};

    b.headers = arena_array(arena, facts->n_original + OWN_HEADERS, sizeof(*b.headers));
    ret->subject = arena_printf(arena, "anime.dlq.%s%s", parked ? "parked." : "", facts->consumer);
    if (b.headers != NULL) {
        put_own(&b, facts);
        put_original(&b, facts);
    }
    if (b.headers == NULL || ret->subject == NULL || arena_overflowed(arena))
        return err_set(err, ERR_RETRY, "no-memory", "write dead letter", "the arena is full");
    ret->payload = facts->payload;
    ret->headers = b.headers;
    ret->n_headers = b.n;
    return 0;
}
