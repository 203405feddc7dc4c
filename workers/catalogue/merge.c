/* See merge.h. */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <jansson.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "events/base/fault.h"
#include "workers/catalogue/merge.h"

#define EXISTS_NAME "@exists"

int clock_cmp(struct clock a, struct clock b)
{
    if (a.time_us != b.time_us)
        return a.time_us < b.time_us ? -1 : 1;
    return a.time_us == CLOCK_NEVER ? 0 : uuid_cmp(a.event, b.event);
}

int fields_init(struct fields *f, const struct kind *kind, struct arena *arena, struct err *err)
{
    *f = (struct fields){.kind = kind, .message = message_new(kind->message, arena)};
    f->clocks = arena_array(arena, kind->n_fields + 1, sizeof(struct clock));
    if (!f->message || !f->clocks)
        return err_set(err, ERR_RETRY, "no-memory", "merge", "the batch's memory is spent");
    for (unsigned i = 0; i <= kind->n_fields; i++)
        f->clocks[i].time_us = CLOCK_NEVER;
    return 0;
}

struct clock fields_existence_clock(const struct fields *f)
{
    return f->clocks[f->kind->n_fields];
}

uint64_t merge_mask_present(const struct kind *kind, const ProtobufCMessage *message)
{
    uint64_t mask = 0, stored = kind_stored_mask(kind);
    for (unsigned i = 0; i < kind->n_fields; i++)
        if (stored & field_bit((int)i) && field_is_set(message, &message->descriptor->fields[i]))
            mask |= field_bit((int)i);
    return mask;
}

uint64_t merge_mask_listed(const struct kind *kind, char *const names[], size_t n)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < n; i++)
        mask |= field_bit(kind_field(kind, view_of(names[i])));
    return mask & kind_stored_mask(kind);
}

static bool is_newer(struct clock at, struct clock have)
{
    if (FAULT("clock-reversed") && have.time_us != CLOCK_NEVER)
        return clock_cmp(at, have) < 0;
    return clock_cmp(at, have) > 0;
}

uint64_t merge_would_change(const struct fields *to, const ProtobufCMessage *from, uint64_t mask,
                            struct clock at)
{
    uint64_t changes = 0;
    for (unsigned i = 0; i < to->kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &to->kind->message->fields[i];
        if (mask & field_bit((int)i) && is_newer(at, to->clocks[i]) &&
            !field_equal(to->message, from, field))
            changes |= field_bit((int)i);
    }
    return changes;
}

void merge_fields(struct fields *to, const ProtobufCMessage *from, uint64_t mask, struct clock at,
                  struct merged *result)
{
    uint64_t changes = merge_would_change(to, from, mask, at);
    for (unsigned i = 0; i < to->kind->n_fields; i++) {
        if (!(mask & field_bit((int)i)) || !is_newer(at, to->clocks[i]))
            continue;
        to->clocks[i] = at;
        result->set |= field_bit((int)i);
        result->moved = true;
        if (changes & field_bit((int)i))
            field_share(to->message, from, &to->kind->message->fields[i]);
    }
    result->changed |= changes;
}

bool merge_existence(struct fields *to, bool deleted, struct clock at, struct merged *result)
{
    struct clock *clock = &to->clocks[to->kind->n_fields];
    if (!is_newer(at, *clock) && !FAULT("existence-clock-ignored"))
        return false;
    *clock = at;
    result->moved = true;
    bool changed = to->deleted != deleted;
    to->deleted = deleted;
    return changed;
}

/* Does this clock need no mention while it equals the base? Existence has no value of its own:
 * whoever has a clock for it is "set". What is not stored has no clock. */
static bool is_set(const struct fields *f, unsigned i)
{
    if (i == f->kind->n_fields)
        return f->clocks[i].time_us != CLOCK_NEVER;
    return (f->kind->fields[i].home == HOME_META || f->kind->fields[i].home == HOME_COLUMN) &&
           field_is_set(f->message, &f->kind->message->fields[i]);
}

static struct clock base_clock(const struct fields *f)
{
    struct clock best = {.time_us = 0};
    unsigned best_count = 0;
    for (unsigned i = 0; i <= f->kind->n_fields; i++) {
        struct clock c = f->clocks[i];
        if (c.time_us == CLOCK_NEVER || !is_set(f, i) ||
            (best_count > 0 && clock_cmp(c, best) == 0))
            continue;
        unsigned count = 0;
        for (unsigned j = i; j <= f->kind->n_fields; j++)
            count += clock_cmp(f->clocks[j], c) == 0 && is_set(f, j);
        if (count > best_count || (count == best_count && clock_cmp(c, best) > 0)) {
            best = c;
            best_count = count;
        }
    }
    return best;
}

void clocks_encode(const struct fields *f, struct clock *ret_base, struct buf *out)
{
    struct clock base = base_clock(f);
    char open = '{';
    for (unsigned i = 0; i <= f->kind->n_fields; i++) {
        struct clock c = f->clocks[i];
        if (c.time_us == CLOCK_NEVER || (clock_cmp(c, base) == 0 && is_set(f, i)))
            continue;
        char id[UUID_TEXT];
        uuid_format(c.event, id);
        buf_printf(out, "%c\"%s\":\"%" PRId64 ":%s\"", open,
                   i < f->kind->n_fields ? f->kind->fields[i].name : EXISTS_NAME, c.time_us, id);
        open = ',';
    }
    if (open == ',')
        buf_putc(out, '}');
    *ret_base = base;
}

static bool clock_parse(const char *text, struct clock *ret)
{
    struct view rest = view_of(text), time;
    return view_split(&rest, ':', &time) &&
           view_to_i64(time, INT64_MIN + 1, INT64_MAX, &ret->time_us) &&
           uuid_parse(rest, &ret->event);
}

int clocks_decode(struct fields *f, struct clock base, struct view text, struct err *err)
{
    unsigned n = f->kind->n_fields;
    for (unsigned i = 0; i < n; i++)
        f->clocks[i] = is_set(f, i) ? base : (struct clock){.time_us = CLOCK_NEVER};
    /* Only anime exist by themselves; the others do through theirs. */
    f->clocks[n] = f->kind->kind == KIND_ANIME ? base : (struct clock){.time_us = CLOCK_NEVER};
    if (text.n == 0)
        return 0;
    json_error_t why = {0};
    CLEANUP(json_decrefp) json_t *object = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
    const char *name;
    json_t *value;
    if (!object && json_no_memory(&why))
        return err_set(err, ERR_RETRY, "no-memory", "read clocks", "no memory");
    if (!json_is_object(object))
        return err_set(err, ERR_FATAL, "internal", "read clocks", "stored clocks are no object");
    json_object_foreach(object, name, value)
    {
        int i = strcmp(name, EXISTS_NAME) == 0 ? (int)n : kind_field(f->kind, view_of(name));
        if (i < 0) /* a field that a newer version knows */
            continue;
        if (!json_is_string(value) || !clock_parse(json_string_value(value), &f->clocks[i]))
            return err_set(err, ERR_FATAL, "internal", "read clocks", "stored clock of %s", name);
    }
    return 0;
}
