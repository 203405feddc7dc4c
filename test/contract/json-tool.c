/* Our codecs behind a pipe, for tests in other languages: one request a line, one answer a line.
 *
 *   decode TYPE HEX    -> ok {"unknown":["path.number",...],"json":{...}}
 *   encode TYPE JSON   -> ok HEX
 *   either             -> err CODE TEXT
 * TYPE is a full message name. Every message that the registry's messages reach is known, and those
 * of probe.proto. */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "contracts/registry.h"
#include "contracts/wire.h"
#include "test/contract/probe.pb-c.h"

#define MAX_TYPES 512
#define ARENA (256u << 20)

static const ProtobufCMessageDescriptor *types[MAX_TYPES];
static size_t n_types;

static void learn(const ProtobufCMessageDescriptor *type)
{
    if (!type)
        return;
    for (size_t i = 0; i < n_types; i++)
        if (types[i] == type)
            return;
    if (n_types == MAX_TYPES)
        abort();
    types[n_types++] = type;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            learn(type->fields[i].descriptor);
}

static const ProtobufCMessageDescriptor *find(const char *name)
{
    for (size_t i = 0; i < n_types; i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

static void list_unknown(const ProtobufCMessage *message, const char *path, struct buf *out)
{
    for (unsigned i = 0; i < message->n_unknown_fields; i++)
        buf_printf(out, "%s\"%s.%u\"", out->n && out->p[out->n - 1] != '[' ? "," : "", path,
                   message->unknown_fields[i].tag);
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || !field_is_set(message, field))
            continue;
        char *deeper = NULL;
        if (asprintf(&deeper, "%s.%s", path, field->name) < 0)
            abort();
        const char *at = (const char *)message + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(const size_t *)((const char *)message + field->quantifier_offset);
            ProtobufCMessage *const *items = *(ProtobufCMessage *const *const *)at;
            for (size_t k = 0; k < n; k++)
                list_unknown(items[k], deeper, out);
        } else {
            list_unknown(*(ProtobufCMessage *const *)at, deeper, out);
        }
        free(deeper);
    }
}

static int decode(const ProtobufCMessageDescriptor *type, struct view hex, struct arena *arena,
                  struct buf *out, struct err *err)
{
    ProtobufCMessage *message = NULL;
    uint8_t *payload = arena_alloc(arena, hex.n / 2 + 1);

    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char pair[3] = {hex.p[i], hex.p[i + 1], '\0'};
        payload[i / 2] = (uint8_t)strtoul(pair, NULL, 16);
    }
    if (wire_decode(type, (struct bytes){payload, hex.n / 2}, WIRE_DECODE_MAX_DEFAULT, arena,
                    &message, err) < 0)
        return -1;
    buf_puts(out, "{\"unknown\":[");
    list_unknown(message, type->short_name, out);
    buf_puts(out, "],\"json\":");
    if (json_encode(message, out, err) < 0)
        return -1;
    buf_putc(out, '}');
    return 0;
}

static int encode(const ProtobufCMessageDescriptor *type, struct view json, struct arena *arena,
                  struct buf *out, struct err *err)
{
    ProtobufCMessage *message = NULL;
    struct buf packed;
    size_t decoded_size;

    if (json_decode(type, json, arena, &message, err) < 0)
        return -1;
    buf_init(&packed, ARENA);
    int r = wire_encode(message, &packed, err);
    if (r == 0) {
        struct bytes bytes = bytes_of(buf_view(&packed));
        buf_put_hex(out, bytes);
        /* What is read from JSON, a consumer must be able to read from the wire. */
        r = wire_check(type, bytes, ARENA, &decoded_size, err);
    }
    buf_deinit(&packed);
    return r;
}

static void answer(char *line, size_t n, struct arena *arena, struct buf *out)
{
    struct view rest = {line, n}, verb, name;
    struct err err = ERR_INIT;
    int r = -1;

    buf_reset(out);
    if (view_split(&rest, ' ', &verb) && view_split(&rest, ' ', &name)) {
        char *text = arena_strdup(arena, name);
        const ProtobufCMessageDescriptor *type = find(text);
        if (!type)
            (void)err_set(&err, ERR_REJECT, "no-such-type", "find", "%s", text);
        else if (view_is(verb, "decode"))
            r = decode(type, rest, arena, out, &err);
        else if (view_is(verb, "encode"))
            r = encode(type, rest, arena, out, &err);
    }
    if (r < 0)
        printf("err %s %s\n", err.code, err.text);
    else
        printf("ok %s\n", buf_cstr(out));
    (void)fflush(stdout);
}

int main(void)
{
    CLEANUP(arena_freep) struct arena *arena = arena_new(ARENA);
    struct buf out;
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    for (size_t i = 0; i < n_registry_subjects; i++) {
        learn(registry_subjects[i].message);
        learn(registry_subjects[i].reply);
    }
    learn(&echora__probe__v1__probe__descriptor);
    learn(find("echora.catalog.v1.CatalogEntry"));
    buf_init(&out, ARENA);
    while ((n = getline(&line, &size, stdin)) > 0) {
        if (line[n - 1] == '\n')
            line[--n] = '\0';
        answer(line, (size_t)n, arena, &out);
        arena_reset(arena);
    }
    free(line);
    buf_deinit(&out);
    return 0;
}
