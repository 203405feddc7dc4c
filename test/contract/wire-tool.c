/* What our stack makes of somebody else's bytes.
 *
 * usage: wire-tool MESSAGE      ("AnimeRecord", "AnimeEnrichedEvent", …)
 * In:  frames of a 32-bit little-endian length and a payload.
 * Out: one JSON line per frame: {"unknown":N,"json":{…},"wire":"<base64 of our own encoding>"} or
 *      {"error":"<code>"}. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "contracts/gen/catalog.pb-c.h"
#include "contracts/gen/events.pb-c.h"
#include "contracts/json.h"
#include "contracts/wire.h"

enum { MOST_BYTES = 16 << 20 };

static const ProtobufCMessageDescriptor *const types[] = {
    &echora__catalog__v1__anime_record__descriptor,
    &echora__catalog__v1__anime__descriptor,
    &echora__catalog__v1__character__descriptor,
    &echora__catalog__v1__episode__descriptor,
    &echora__events__v1__anime_enriched_event__descriptor,
    &echora__events__v1__anime_updated_event__descriptor,
    &echora__events__v1__episode_aired_event__descriptor,
    &echora__events__v1__episode_updated_event__descriptor,
    &echora__events__v1__character_updated_event__descriptor,
};

static size_t count_unknown(const ProtobufCMessage *message)
{
    size_t n = message->n_unknown_fields;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const char *at = (const char *)message + field->offset;
        const char *quantifier = (const char *)message + field->quantifier_offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            ProtobufCMessage *const *items = *(ProtobufCMessage *const *const *)(const void *)at;
            size_t count = *(const size_t *)(const void *)quantifier;
            for (size_t k = 0; k < count; k++)
                n += count_unknown(items[k]);
        } else if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                   *(const uint32_t *)(const void *)quantifier == field->id) {
            const ProtobufCMessage *sub = *(ProtobufCMessage *const *)(const void *)at;
            if (sub)
                n += count_unknown(sub);
        }
    }
    return n;
}

static int convert(const ProtobufCMessageDescriptor *type, struct bytes payload,
                   struct arena *arena, struct buf *line, struct buf *wire, struct err *err)
{
    ProtobufCMessage *message;
    arena_reset(arena);
    if (wire_decode(type, payload, WIRE_DECODE_MAX_DEFAULT, arena, &message, err) < 0)
        return -1;
    buf_printf(line, "{\"unknown\":%zu,\"json\":", count_unknown(message));
    if (json_encode(message, line, err) < 0 || wire_encode(message, wire, err) < 0)
        return -1;
    buf_puts(line, ",\"wire\":\"");
    buf_put_base64(line, bytes_of(buf_view(wire)));
    buf_puts(line, "\"}\n");
    return 0;
}

int main(int argc, char **argv)
{
    const ProtobufCMessageDescriptor *type = NULL;
    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(types); i++) {
        if (strcmp(types[i]->short_name, argv[1]) == 0)
            type = types[i];
    }
    struct arena *arena = arena_new(64 << 20);
    uint8_t *payload = malloc(MOST_BYTES);
    if (!type || !arena || !payload) {
        fputs("usage: wire-tool MESSAGE\n", stderr);
        return 2;
    }
    struct buf line, wire;
    buf_init(&line, 64 << 20);
    buf_init(&wire, 64 << 20);
    uint32_t n;
    while (fread(&n, sizeof(n), 1, stdin) == 1) {
        if (n > MOST_BYTES || fread(payload, 1, n, stdin) != n)
            return 1;
        struct err err = ERR_INIT;
        buf_reset(&line);
        buf_reset(&wire);
        if (convert(type, (struct bytes){payload, n}, arena, &line, &wire, &err) < 0) {
            buf_reset(&line);
            buf_printf(&line, "{\"error\":\"%s\"}\n", err.code);
        }
        fwrite(line.p, 1, line.n, stdout);
    }
    buf_deinit(&line);
    buf_deinit(&wire);
    free(payload);
    arena_free(arena);
    return 0;
}
