/* Property: what wire_check takes with a size, protobuf-c unpacks within that size; and what was
 * unpacked packs, passes again and is equal. The first byte picks the message type. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/registry.h"
#include "contracts/validate.h"
#include "contracts/wire.h"

#define DECODE_MAX ((size_t)8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void demand(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

/* NaN is equal to itself here: floats compare by bits. */
static void check_round_trip(const ProtobufCMessage *m)
{
    struct buf out;
    struct err err = ERR_INIT;
    ProtobufCMessage *back = NULL;
    buf_init(&out, DECODE_MAX);
    demand(wire_encode(m, &out, &err) == 0, "packs");
    struct arena *arena CLEANUP(arena_freep) = arena_new(4 * DECODE_MAX);
    demand(wire_decode(m->descriptor, bytes_of(buf_view(&out)), 4 * DECODE_MAX, arena, &back,
                       &err) == 0,
           "unpacks again");
    demand(message_equal(m, back), "is equal after packing and unpacking");
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    const struct subject_def *def = &registry_subjects[data[0] % n_registry_subjects];
    const ProtobufCMessageDescriptor *type =
        def->message ? def->message : &echora__catalog__v1__catalog_get_reply__descriptor;
    struct bytes payload = {data + 1, n - 1};
    struct err err = ERR_INIT;
    size_t size = 0;
    if (wire_check(type, payload, DECODE_MAX, &size, &err) < 0) {
        demand(err.class == ERR_REJECT && err.code[0], "a refusal has a code");
        return 0;
    }
    struct arena *arena CLEANUP(arena_freep) = arena_new(size);
    ProtobufCMessage *m = NULL;
    demand(wire_decode(type, payload, DECODE_MAX, arena, &m, &err) == 0,
           "what was checked unpacks in the size that was told");
    demand(arena_used(arena) <= size, "the size is an upper bound");
    if (def->message) {
        unsigned faults = validate_event(def, m, 1700000000000000, NULL, NULL);
        demand(faults <= VALIDATE_MAX_FAULTS, "faults are limited");
    }
    check_round_trip(m);
    return 0;
}
