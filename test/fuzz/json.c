/* Properties: what is read from JSON is written again, reads back to the same text, and packs into
 * what a consumer's wire check takes; what comes from the wire and has a JSON form is read back to
 * the same text. No fault holds more than names of the input. The first byte picks the message type
 * and, by its highest bit, the direction. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/json.h"
#include "contracts/registry.h"
#include "contracts/wire.h"

#define MAX_BYTES ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void demand(bool ok, const char *what, const struct err *err)
{
    if (!ok) {
        fprintf(stderr, "broken: %s (%s: %s)\n", what, err->code, err->text);
        abort();
    }
}

/* The text of a message, read and written once more, is the same text, and what was read is the
 * message: but for unknown fields, which JSON has no form for, the bits of a NaN, and a Value
 * without a kind, which is null. */
static void check_text(const ProtobufCMessage *m, const struct buf *text)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(4 * MAX_BYTES);
    struct buf again CLEANUP(buf_deinit);
    ProtobufCMessage *back = NULL;
    struct err err = ERR_INIT;

    buf_init(&again, MAX_BYTES);
    demand(json_decode(m->descriptor, buf_view(text), arena, &back, &err) == 0,
           "reads what it wrote", &err);
    bool loses = memmem(text->p, text->n, "NaN", 3) || memmem(text->p, text->n, "null", 4);
    demand(loses || message_equal(m, back), "the same message", &err);
    demand(json_encode(back, &again, &err) == 0, "writes what it read", &err);
    demand(view_eq(buf_view(text), buf_view(&again)), "the same text", &err);
}

static void check_wire(const ProtobufCMessage *m)
{
    struct buf packed CLEANUP(buf_deinit);
    struct err err = ERR_INIT;
    size_t size;

    buf_init(&packed, MAX_BYTES);
    demand(wire_encode(m, &packed, &err) == 0, "packs", &err);
    demand(wire_check(m->descriptor, bytes_of(buf_view(&packed)), 8 * MAX_BYTES, &size, &err) == 0,
           "consumers take it", &err);
}

static void ignore_fault(void *ctx, const struct fault *fault)
{
    unsigned *n = ctx;

    (*n)++;
    if (fault->path[0] == '\0' || fault->text[0] == '\0' || fault->code[0] == '\0')
        abort();
}

static void from_json(const ProtobufCMessageDescriptor *type, struct view input,
                      struct arena *arena)
{
    struct buf text CLEANUP(buf_deinit);
    ProtobufCMessage *m = NULL;
    struct err err = ERR_INIT;
    json_t *json = NULL;

    buf_init(&text, MAX_BYTES);
    if (json_parse(input, &json, &err) < 0)
        return;
    int r = json_decode_value(type, json, arena, &m, &err);
    struct arena *other CLEANUP(arena_freep) = arena_new(MAX_BYTES);
    ProtobufCMessage *reported = NULL;
    unsigned n = 0;
    unsigned faults = json_decode_report(type, json, other, &reported, ignore_fault, &n);
    json_decref(json);
    demand((r == 0) == (faults == 0) && n == faults, "both readers agree", &err);
    if (r < 0)
        return;
    check_wire(m);
    if (json_encode(m, &text, &err) == 0)
        check_text(m, &text);
}

static void from_wire(const ProtobufCMessageDescriptor *type, struct bytes input,
                      struct arena *arena)
{
    struct buf text CLEANUP(buf_deinit);
    ProtobufCMessage *m = NULL;
    struct err err = ERR_INIT;

    buf_init(&text, MAX_BYTES);
    if (wire_decode(type, input, MAX_BYTES, arena, &m, &err) == 0 &&
        json_encode(m, &text, &err) == 0)
        check_text(m, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    struct arena *arena CLEANUP(arena_freep) = arena_new(MAX_BYTES);
    const struct subject_def *def = &registry_subjects[(data[0] & 0x7f) % n_registry_subjects];
    const ProtobufCMessageDescriptor *type =
        def->message ? def->message : &echora__catalog__v1__catalog_get_reply__descriptor;
    if (data[0] & 0x80)
        from_wire(type, (struct bytes){data + 1, n - 1}, arena);
    else
        from_json(type, (struct view){(const char *)data + 1, n - 1}, arena);
    return 0;
}
