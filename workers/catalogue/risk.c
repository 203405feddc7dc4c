/* See risk.h. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "contracts/field.h"
#include "workers/catalogue/risk.h"

#define STATUS(name) ECHORA__CATALOG__V1__ANIME_STATUS__ANIME_STATUS_##name

bool risk_status_is_backward(int from, int to)
{
    /* Rows: from; columns: to. Numbers that this version does not know count as unknown. */
    enum { UNKNOWN, UPCOMING, ONGOING, FINISHED, CANCELLED, N };
    static const bool backward[N][N] = {
        [UPCOMING] = {[UNKNOWN] = true},
        [ONGOING] = {[UNKNOWN] = true, [UPCOMING] = true},
        [FINISHED] = {[UNKNOWN] = true, [UPCOMING] = true, [ONGOING] = true, [CANCELLED] = true},
        [CANCELLED] = {[UNKNOWN] = true, [UPCOMING] = true, [ONGOING] = true, [FINISHED] = true},
    };
    int rank[2] = {UNKNOWN, UNKNOWN}, status[2] = {from, to};
    for (int i = 0; i < 2; i++) {
        switch (status[i]) {
        case STATUS(UPCOMING):
            rank[i] = UPCOMING;
            break;
        case STATUS(ONGOING):
            rank[i] = ONGOING;
            break;
        case STATUS(FINISHED):
            rank[i] = FINISHED;
            break;
        case STATUS(CANCELLED):
            rank[i] = CANCELLED;
            break;
        }
    }
    return backward[rank[0]][rank[1]];
}

/* Characters, not bytes: text is valid UTF-8, so what is not a continuation byte starts one. */
static int64_t text_length(const char *text)
{
    int64_t n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static bool cut(int64_t before, int64_t after, int64_t percent)
{
    return (before - after) * 100 > before * percent;
}

static const char *text_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field)
{
    if (!field_is_set(m, field))
        return "";
    return *(char *const *)((const char *)m + field->offset);
}

static int64_t list_length(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field)
{
    return (int64_t) * (const size_t *)((const char *)m + field->quantifier_offset);
}

/* What is wrong with this field's change, NULL = nothing. */
static const char *judge(const struct risk_limits *limits, const Anime *current,
                         const Anime *proposed, const ProtobufCFieldDescriptor *field)
{
    const char *name = field->name;
    if (!field_is_set(&current->base, field))
        return NULL;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return cut(list_length(&current->base, field), list_length(&proposed->base, field),
                   limits->list_cut_percent)
                   ? "cut"
                   : NULL;
    if (strcmp(name, "title") == 0 || strcmp(name, "type") == 0 ||
        strcmp(name, "source_material") == 0)
        return "changed";
    if (strcmp(name, "episode_count") == 0)
        return proposed->episode_count < current->episode_count ? "lowered" : NULL;
    if (strcmp(name, "status") == 0)
        return risk_status_is_backward((int)current->status, (int)proposed->status) ? "backward"
                                                                                    : NULL;
    if (strcmp(name, "synopsis") == 0 || strcmp(name, "background") == 0) {
        int64_t before = text_length(text_of(&current->base, field));
        int64_t after = text_length(text_of(&proposed->base, field));
        if (before > 0 && after == 0)
            return "removed";
        return cut(before, after, limits->text_cut_percent) ? "cut" : NULL;
    }
    return NULL;
}

void risk_judge(const struct risk_limits *limits, const Anime *current, const Anime *proposed,
                uint64_t mask, struct risk *ret)
{
    *ret = (struct risk){0};
    for (unsigned i = 0; i < kinds[KIND_ANIME].n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kinds[KIND_ANIME].message->fields[i];
        const char *what =
            mask & field_bit((int)i) ? judge(limits, current, proposed, field) : NULL;
        if (!what)
            continue;
        ret->fields |= field_bit((int)i);
        char *reason = ret->reasons[ret->n++];
        snprintf(reason, sizeof(ret->reasons[0]), "%s-%s", field->name, what);
        for (char *c = reason; *c; c++)
            if (*c == '_')
                *c = '-';
    }
}
