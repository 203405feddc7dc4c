// SPDX-License-Identifier: Apache-2.0
#include "contracts/wire.h"

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/gen/events.pb-c.h"
#include "test/unit/check.h"
#include "test/unit/contracts/fill.h"

#include <stdlib.h>

#define ENRICHED &echora__events__v1__anime_enriched_event__descriptor
#define STAFF &echora__catalog__v1__staff_member__descriptor
#define CHARACTER &echora__catalog__v1__character__descriptor
#define SCORES &echora__catalog__v1__score_calculations__descriptor
#define VALUE &google__protobuf__value__descriptor
#define EPISODE &echora__catalog__v1__episode__descriptor

#define BYTES(s) .payload = (s), .n = sizeof(s) - 1

/* A check that passes promises that unpacking succeeds within the size it told. */
static int decode(const ProtobufCMessageDescriptor *type, struct bytes payload, size_t decode_max,
                  struct err *err)
{
    size_t size = 0;
    if (wire_check(type, payload, decode_max, &size, err) < 0)
        return -1;
    struct arena *arena CLEANUP(arena_freep) = arena_new(size);
    ProtobufCMessage *m = NULL;
    struct err second = ERR_INIT;
    if (CHECK(wire_decode(type, payload, decode_max, arena, &m, &second) == 0))
        CHECK(arena_used(arena) <= size);
    return 0;
}

static const struct row {
    const char *name;
    const ProtobufCMessageDescriptor *type;
    const char *payload;
    size_t n;
    const char *code; /* NULL = taken */
    const char *path; /* start of the error's text */
} rows[] = {
    {"empty", ENRICHED, BYTES(""), NULL, NULL},
    {"tag cut off", ENRICHED, BYTES("\x8a"), "decode", "tag"},
    {"tag of 5 bytes", ENRICHED, BYTES("\xf8\xff\xff\xff\x0f\x01"), NULL, NULL},
    {"tag above 32 bits", ENRICHED, BYTES("\xf8\xff\xff\xff\x1f\x01"), "decode", "tag"},
    {"tag of 6 bytes", ENRICHED, BYTES("\x88\x80\x80\x80\x80\x00\x01"), "decode", "tag"},
    {"tag with needless bytes", ENRICHED, BYTES("\x8a\x00\x01x"), NULL, NULL},
    {"field number 0", ENRICHED, BYTES("\x00\x01"), "decode", "field number 0"},
    {"field number 0, length", ENRICHED, BYTES("\x02\x01x"), "decode", "field number 0"},
    {"start of a group", ENRICHED, BYTES("\x83\x7d\x84\x7d"), "decode", "groups"},
    {"end of a group", ENRICHED, BYTES("\x84\x7d"), "decode", "groups"},
    {"wire type 6", ENRICHED, BYTES("\x86\x7d"), "decode", "groups"},
    {"wire type 7", ENRICHED, BYTES("\x87\x7d"), "decode", "groups"},
    {"known field as a group", ENRICHED, BYTES("\x0b\x0c"), "decode", "event_id: wire type"},

    {"unknown varint", ENRICHED, BYTES("\x80\x7d\x01"), NULL, NULL},
    {"unknown varint cut off", ENRICHED, BYTES("\x80\x7d\x80"), "decode", "varint"},
    {"unknown 64 bit", ENRICHED,
     BYTES("\x81\x7d"
           "12345678"),
     NULL, NULL},
    {"unknown 64 bit cut off", ENRICHED,
     BYTES("\x81\x7d"
           "1234567"),
     "decode", "value runs"},
    {"unknown 32 bit", ENRICHED,
     BYTES("\x85\x7d"
           "1234"),
     NULL, NULL},
    {"unknown 32 bit cut off", ENRICHED,
     BYTES("\x85\x7d"
           "123"),
     "decode", "value runs"},
    {"unknown bytes, any content", ENRICHED, BYTES("\x82\x7d\x03\xff\x00\x80"), NULL, NULL},
    {"unknown bytes cut off", ENRICHED, BYTES("\x82\x7d\x03\xff\x00"), "decode", "value runs"},

    {"text", ENRICHED,
     BYTES("\x0a\x05"
           "a\xe3\x82\xa2z"),
     NULL, NULL},
    {"empty text", ENRICHED, BYTES("\x0a\x00"), NULL, NULL},
    {"text over the end", ENRICHED, BYTES("\x0a\x03xy"), "decode", "event_id: value runs"},
    {"text without length", ENRICHED, BYTES("\x0a"), "decode", "event_id: length"},
    {"length of 6 bytes", ENRICHED, BYTES("\x0a\x80\x80\x80\x80\x80\x00"), "decode",
     "event_id: length"},
    {"length of 4 GiB", ENRICHED, BYTES("\x0a\xff\xff\xff\xff\x0f"), "decode",
     "event_id: value runs"},
    {"text twice", ENRICHED, BYTES("\x0a\x01x\x0a\x01y"), NULL, NULL},
    {"text as varint", ENRICHED, BYTES("\x08\x01"), "decode", "event_id: wire type"},
    {"NUL", ENRICHED, BYTES("\x0a\x03x\x00y"), "text-nul", "event_id: text holds NUL"},
    {"lone continuation byte", ENRICHED, BYTES("\x0a\x01\x80"), "bad-utf8", "event_id"},
    {"overlong slash", ENRICHED, BYTES("\x0a\x02\xc0\xaf"), "bad-utf8", "event_id"},
    {"surrogate", ENRICHED, BYTES("\x0a\x03\xed\xa0\x80"), "bad-utf8", "event_id"},
    {"cut character", ENRICHED, BYTES("\x0a\x02\xe3\x82"), "bad-utf8", "event_id"},
    {"above U+10FFFF", ENRICHED, BYTES("\x0a\x04\xf4\x90\x80\x80"), "bad-utf8", "event_id"},

    {"inner text", ENRICHED, BYTES("\x22\x03\x72\x01\xff"), "bad-utf8", "anime.title: "},
    {"map key", ENRICHED, BYTES("\x22\x06\x92\x02\x03\x0a\x01\xff"), "bad-utf8",
     "anime.external_sources.key: "},
    {"inner message over the outer's end", ENRICHED, BYTES("\x22\x05\x72\x01x"), "decode",
     "anime: value runs"},
    {"inner value over its message's end", ENRICHED, BYTES("\x22\x02\x72\x02xy"), "decode",
     "anime.title: value runs"},
    {"singular message twice", ENRICHED, BYTES("\x12\x00\x12\x00"), "decode",
     "timestamp: a singular message occurs twice"},
    {"repeated message", ENRICHED, BYTES("\x2a\x00\x2a\x00"), NULL, NULL},
    {"message as varint", ENRICHED, BYTES("\x10\x00"), "decode", "timestamp: wire type"},

    {"packed", STAFF, BYTES("\x52\x04\x01\x02\x96\x01"), NULL, NULL},
    {"packed, empty", STAFF, BYTES("\x52\x00"), NULL, NULL},
    {"unpacked", STAFF, BYTES("\x50\x01\x50\x96\x01"), NULL, NULL},
    {"packed and unpacked", STAFF, BYTES("\x50\x01\x52\x02\x02\x03\x50\x04"), NULL, NULL},
    {"packed, cut off", STAFF, BYTES("\x52\x02\x01\x80"), "decode", "years_active: varint"},
    {"packed negative", STAFF, BYTES("\x52\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL,
     NULL},
    {"packed, above 64 bits", STAFF, BYTES("\x52\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
     "decode", "years_active: varint"},
    {"packed, 11 bytes", STAFF, BYTES("\x52\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
     "decode", "years_active: varint"},
    {"unpacked, 11 bytes", STAFF, BYTES("\x50\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
     "decode", "years_active: varint"},
    {"repeated int as 32 bit", STAFF,
     BYTES("\x55"
           "1234"),
     "decode", "years_active: wire type"},
    {"packed enums, unknown number", CHARACTER, BYTES("\x3a\x03\x01\xe7\x07"), NULL, NULL},
    {"singular int, packed", EPISODE, BYTES("\x2a\x01\x01"), "decode", "episode_number: wire type"},
    {"bool of many bytes", EPISODE, BYTES("\x30\x80\x01"), NULL, NULL},
    {"float", SCORES,
     BYTES("\x1d"
           "1234"),
     NULL, NULL},
    {"float cut off", SCORES,
     BYTES("\x1d"
           "123"),
     "decode", "median: value runs"},
    {"float as 64 bit", SCORES,
     BYTES("\x19"
           "12345678"),
     "decode", "median: wire type"},
    {"float twice", SCORES,
     BYTES("\x1d"
           "1234"
           "\x1d"
           "1234"),
     NULL, NULL},
    {"oneof, another member after", VALUE, BYTES("\x08\x00\x1a\x01x\x20\x01\x1a\x01y"), NULL, NULL},
    {"oneof, text after message", VALUE, BYTES("\x2a\x00\x1a\x01x\x32\x00"), NULL, NULL},
    {"oneof, message twice", VALUE, BYTES("\x2a\x00\x1a\x01x\x2a\x00"), "decode",
     "struct_value: a singular message"},
};

static void test_rows(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct err err = ERR_INIT;
        /* A copy of its own size, so that ASan sees a read past the end. */
        uint8_t *copy = r->n ? malloc(r->n) : NULL;
        if (copy)
            memcpy(copy, r->payload, r->n);
        int rc = decode(r->type, (struct bytes){copy, r->n}, WIRE_DECODE_MAX_DEFAULT, &err);
        free(copy);
        CHECK_ROW(rc == (r->code ? -1 : 0), r->name);
        if (rc < 0 && r->code) {
            CHECK_ROW(err.class == ERR_REJECT && strcmp(err.code, r->code) == 0, r->name);
            CHECK_ROW(strncmp(err.text, r->path, strlen(r->path)) == 0, err.text);
        }
    }
}

/* Wraps out's content into field (tag byte) of one more message. */
static void wrap(struct buf *b, uint8_t tag)
{
    char inner[512];
    size_t n = b->n;
    memcpy(inner, b->p, n);
    buf_reset(b);
    buf_putc(b, (char)tag);
    if (n > 127)
        buf_putc(b, (char)(0x80 | (n & 0x7f)));
    buf_putc(b, (char)(n > 127 ? n >> 7 : n));
    buf_append(b, inner, n);
}

static void test_depth(void)
{
    for (int depth = WIRE_MAX_DEPTH - 2; depth <= WIRE_MAX_DEPTH + 2; depth++) {
        struct buf b;
        struct err err = ERR_INIT;
        buf_init(&b, 4096);
        buf_append(&b, "", 0);
        buf_putc(&b, 0x20); /* the innermost: bool_value or an unknown field */
        buf_putc(&b, 0x01);
        /* Value and ListValue in turn, the outermost a Value. */
        for (int d = depth; d > 1; d--)
            wrap(&b, d % 2 ? 0x0a : 0x32);
        int rc = decode(VALUE, bytes_of(buf_view(&b)), WIRE_DECODE_MAX_DEFAULT, &err);
        CHECK_EQ_INT(rc, depth <= WIRE_MAX_DEPTH ? 0 : -1);
        if (rc < 0)
            CHECK_STR(err.code, "too-deep");
        buf_deinit(&b);
    }
}

/* Small payloads that become large messages. */
static void test_size(void)
{
    struct buf b;
    struct err err = ERR_INIT;
    buf_init(&b, 8 << 20);
    for (int i = 0; i < 1 << 19; i++)
        buf_append(&b, "\x2a\x00", 2); /* characters, empty */
    CHECK_EQ_INT(decode(ENRICHED, bytes_of(buf_view(&b)), WIRE_DECODE_MAX_DEFAULT, &err), -1);
    CHECK_STR(err.code, "too-large");
    buf_reset(&b);
    for (int i = 0; i < 1 << 19; i++)
        buf_append(&b, "\x80\x7d\x01", 3); /* unknown fields */
    err = ERR_INIT;
    CHECK_EQ_INT(decode(ENRICHED, bytes_of(buf_view(&b)), WIRE_DECODE_MAX_DEFAULT, &err), -1);
    CHECK_STR(err.code, "too-large");

    /* The exact limit is taken, one byte less is not. */
    buf_reset(&b);
    for (int i = 0; i < 1000; i++)
        buf_append(&b, "\x2a\x03\x2a\x01x", 5);
    size_t size = 0;
    CHECK_EQ_INT(wire_check(ENRICHED, bytes_of(buf_view(&b)), 1 << 20, &size, &err), 0);
    CHECK_EQ_INT(decode(ENRICHED, bytes_of(buf_view(&b)), size, &err), 0);
    CHECK_EQ_INT(decode(ENRICHED, bytes_of(buf_view(&b)), size - 1, &err), -1);
    CHECK_STR(err.code, "too-large");
    buf_deinit(&b);
}

/* Every count around the sizes of protobuf-c's tables of scanned members. */
static void test_many_members(void)
{
    struct buf b;
    struct err err = ERR_INIT;
    buf_init(&b, 1 << 20);
    for (int n = 1; n < 1200; n++) {
        buf_append(&b, n % 3 ? "\x2a\x00" : "\x0a\x00", 2);
        CHECK_EQ_INT(decode(ENRICHED, bytes_of(buf_view(&b)), WIRE_DECODE_MAX_DEFAULT, &err), 0);
    }
    buf_deinit(&b);
}

static const ProtobufCMessageDescriptor *const all_types[] = {
    &echora__catalog__v1__anime_record__descriptor,
    &echora__catalog__v1__catalog_get_reply__descriptor,
    &echora__catalog__v1__catalog_xref_reply__descriptor,
    &echora__events__v1__anime_enriched_event__descriptor,
    &echora__events__v1__anime_updated_event__descriptor,
    &echora__events__v1__episode_aired_event__descriptor,
    &echora__events__v1__anime_synced_event__descriptor,
    &echora__events__v1__ingestion_review_ready_event__descriptor,
};

static void test_round_trip(void)
{
    for (size_t i = 0; i < ARRAY_LEN(all_types); i++) {
        struct arena *arena CLEANUP(arena_freep) = arena_new(64 << 20);
        struct buf out;
        struct err err = ERR_INIT;
        ProtobufCMessage *m = fill_message(all_types[i], arena, 3, 6), *back = NULL;
        size_t size = 0;
        buf_init(&out, 16 << 20);
        REQUIRE(m != NULL);
        CHECK_EQ_INT(wire_encode(m, &out, &err), 0);
        struct bytes bytes = bytes_of(buf_view(&out));
        if (!CHECK_EQ_INT(wire_check(all_types[i], bytes, 64 << 20, &size, &err), 0))
            fprintf(stderr, "%s: %s\n", all_types[i]->name, err.text);
        struct arena *exact CLEANUP(arena_freep) = arena_new(size);
        if (CHECK_EQ_INT(wire_decode(all_types[i], bytes, 64 << 20, exact, &back, &err), 0)) {
            CHECK_ROW(message_equal(m, back), all_types[i]->name);
            CHECK(arena_used(exact) <= size);
            /* An upper bound that wastes memory would be no good either. */
            CHECK_ROW(size < arena_used(exact) + arena_used(exact) / 4 + 256, all_types[i]->name);
        }
        buf_deinit(&out);
    }
}

static void test_unknown_enum_stays(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 16);
    struct err err = ERR_INIT;
    ProtobufCMessage *m = NULL;
    CHECK_EQ_INT(wire_decode(&echora__catalog__v1__anime__descriptor,
                             bytes_of(VIEW_LIT("\x60\x63")), 1 << 16, arena, &m, &err),
                 0);
    REQUIRE(m != NULL);
    CHECK_EQ_INT(((Echora__Catalog__V1__Anime *)m)->status, 99);
}

static void test_limits(void)
{
    struct err err = ERR_INIT;
    ProtobufCMessage *m = NULL;
    struct arena *arena CLEANUP(arena_freep) = arena_new(16);
    CHECK_EQ_INT(wire_decode(ENRICHED, bytes_of(VIEW_LIT("\x0a\x01x")), 1 << 16, arena, &m, &err),
                 -1);
    CHECK_STR(err.code, "no-memory");
    CHECK(err.class == ERR_RETRY && !m);

    Echora__Catalog__V1__Anime a = ECHORA__CATALOG__V1__ANIME__INIT;
    a.title = (char *)"a title that is longer than the buffer";
    struct buf out;
    buf_init(&out, 16);
    err = ERR_INIT;
    CHECK_EQ_INT(wire_encode(&a.base, &out, &err), -1);
    CHECK_STR(err.code, "too-large");
    buf_deinit(&out);
}

int main(void)
{
    RUN(test_rows);
    RUN(test_depth);
    RUN(test_size);
    RUN(test_many_members);
    RUN(test_round_trip);
    RUN(test_unknown_enum_stays);
    RUN(test_limits);
    return check_result();
}
