/* Messages with every field set, made from descriptors, for tests over all fields. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"

#define FILL_DEPTH 8

/* Sets one field. The same seed gives an equal value, another one a different value. Messages
 * below depth 0 stay empty, so that recursive types end. */
static inline void fill_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                              struct arena *arena, unsigned seed, int depth);

static inline ProtobufCMessage *fill_message(const ProtobufCMessageDescriptor *type,
                                             struct arena *arena, unsigned seed, int depth)
{
    ProtobufCMessage *m = message_new(type, arena);
    for (unsigned i = 0; m && depth > 0 && i < type->n_fields; i++)
        fill_field(m, &type->fields[i], arena, seed + i, depth);
    return m;
}

static inline void fill_value(const ProtobufCFieldDescriptor *f, void *v, struct arena *arena,
                              unsigned seed, int depth)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)v = arena_printf(arena, "%s-%u-\xe3\x82\xa2", f->name, seed);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)v =
            (ProtobufCBinaryData){4, (uint8_t *)arena_printf(arena, "%04u", seed % 10000)};
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)v = fill_message(f->descriptor, arena, seed, depth - 1);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)v = 1;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)v = (float)seed + 0.5f;
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *)v = seed + 0.25;
        break;
    default: {
        int64_t n = (int64_t)seed + 1;
        memcpy(v, &n, field_value_size(f));
    }
    }
}

static inline void fill_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                              struct arena *arena, unsigned seed, int depth)
{
    char *at = (char *)m + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = 3, size = field_value_size(f);
        char *array = arena_array(arena, n, size);
        for (size_t i = 0; array && i < n; i++)
            fill_value(f, array + i * size, arena, seed + (unsigned)i, depth);
        *(size_t *)((char *)m + f->quantifier_offset) = array ? n : 0;
        *(void **)at = array;
        return;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)((char *)m + f->quantifier_offset) = f->id;
    fill_value(f, at, arena, seed, depth);
}
