/* The rules, by message type, over a walk of the message.
 *
 * Three layers: the envelope (id, moment, entity), what belongs to the message type (required
 * fields, changed fields, inner ids), and the values, by field name, wherever in the message they
 * stand. Of a sparse event only the listed fields are looked at: the rest is never read by anyone.
 *
 * A missing entity in a sparse event is an empty one: what is listed is then absent. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/validate.h"

#include <math.h>
#include <stdio.h>

#include "contracts/field.h"
#include "contracts/gen/catalog.pb-c.h"
#include "contracts/gen/events.pb-c.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/uuid.h"

#define FUTURE_MAX_US (600 * INT64_C(1000000))

/* One step of a path: a field's name, or an index when name is NULL. Text is made of them only when
 * there is a fault to tell. */
struct step {
    const char *name;
    size_t index;
};

struct walk {
    fault_fn *report;
    void *ctx;
    unsigned n;
    size_t depth;
    struct step steps[2 * WIRE_MAX_DEPTH + 4];
};

static size_t push(struct walk *w, struct step step)
{
    size_t before = w->depth;
    if (w->depth < ARRAY_LEN(w->steps))
        w->steps[w->depth++] = step;
    return before;
}

/* Both return the depth before, for back(). */
static size_t step(struct walk *w, const char *name)
{
    return push(w, (struct step){.name = name});
}

static size_t step_index(struct walk *w, size_t i)
{
    return push(w, (struct step){.index = i});
}

static void back(struct walk *w, size_t depth)
{
    w->depth = depth;
}

static void write_path(const struct walk *w, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < w->depth && n < size; i++) {
        const struct step *s = &w->steps[i];
        int more = s->name ? snprintf(out + n, size - n, "%s%s", n ? "." : "", s->name)
                           : snprintf(out + n, size - n, "[%zu]", s->index);
        n += (size_t)more;
    }
}

static bool is_full(const struct walk *w)
{
    return w->n >= VALIDATE_MAX_FAULTS;
}

static void fault(struct walk *w, const char *code, const char *kind, const char *rule)
{
    if (is_full(w))
        return;
    w->n++;
    if (!w->report)
        return;
    struct fault f = {.code = code};
    write_path(w, f.path, sizeof(f.path));
    snprintf(f.text, sizeof(f.text), "%s", rule);
    snprintf(f.kind, sizeof(f.kind), "%s", kind);
    w->report(w->ctx, &f);
}

static void fault_at(struct walk *w, const char *name, const char *code, const char *kind,
                     const char *rule)
{
    size_t n = step(w, name);
    fault(w, code, kind, rule);
    back(w, n);
}

/* ---- ids ---- */

static bool check_uuid(struct walk *w, const char *text, struct uuid *ret)
{
    if (uuid_parse(view_of(text), ret))
        return true;
    fault(w, "bad-uuid", "string", "must be a UUID of 36 characters");
    return false;
}

/* An inner id may be empty; else it is a UUID, and the envelope's where that has one. */
static void check_inner_id(struct walk *w, const char *name, const char *text, const char *envelope)
{
    struct uuid id, outer;
    if (!text || !*text)
        return;
    size_t n = step(w, name);
    if (check_uuid(w, text, &id) && envelope && uuid_parse(view_of(envelope), &outer) &&
        uuid_cmp(id, outer) != 0)
        fault(w, "id-mismatch", "string", "must be empty or the id that the event names");
    back(w, n);
}

static void check_id_list(struct walk *w, const char *name, char *const *ids, size_t n_ids)
{
    struct uuid ignored;
    size_t n = step(w, name);
    for (size_t i = 0; i < n_ids && !is_full(w); i++) {
        size_t m = step_index(w, i);
        (void)check_uuid(w, ids[i], &ignored);
        back(w, m);
    }
    back(w, n);
}

/* ---- values ---- */

static const struct range_rule {
    const char *field;
    double min, max;
    const char *text;
} range_rules[] = {
    {"arithmetic_geometric_mean", 0, 10, "must be 0 to 10"},
    {"arithmetic_mean", 0, 10, "must be 0 to 10"},
    {"duration", 0, INT32_MAX, "must be 0 or more seconds"},
    {"episode_count", 0, INT32_MAX, "must be 0 or more"},
    {"episode_number", 0, INT32_MAX, "must be 0 or more"},
    {"median", 0, 10, "must be 0 to 10"},
    {"score", 0, 10, "must be 0 to 10"},
    {"year", 1900, 2100, "must be 1900 to 2100"},
};

static const struct range_rule *range_rule(const char *field)
{
    for (size_t i = 0; i < ARRAY_LEN(range_rules); i++) {
        if (strcmp(field, range_rules[i].field) == 0)
            return &range_rules[i];
    }
    return NULL;
}

static void check_number(struct walk *w, const char *field, double v)
{
    const struct range_rule *rule = range_rule(field);
    if (!isfinite(v))
        fault(w, "not-finite", "number", "must be a finite number");
    else if (rule && (v < rule->min || v > rule->max))
        fault(w, "out-of-range", "number", rule->text);
}

/* False when it is no moment that can be stored: years 0001 to 9999. */
static bool check_timestamp(struct walk *w, const Google__Protobuf__Timestamp *t)
{
    if (t->seconds >= -62135596800 && t->seconds <= 253402300799 && t->nanos >= 0 &&
        t->nanos <= 999999999)
        return true;
    fault(w, "bad-timestamp", "timestamp", "must lie within the years 0001 to 9999");
    return false;
}

static void walk_message(struct walk *w, const ProtobufCMessage *m, int depth);

static void walk_value(struct walk *w, const ProtobufCFieldDescriptor *f, const void *v, int depth)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_FLOAT:
        check_number(w, f->name, (double)*(const float *)v);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        check_number(w, f->name, *(const double *)v);
        break;
    case PROTOBUF_C_TYPE_INT32:
        check_number(w, f->name, *(const int32_t *)v);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        walk_message(w, *(const ProtobufCMessage *const *)v, depth + 1);
        break;
    default:
        break;
    }
}

static bool is_checked(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_FLOAT || f->type == PROTOBUF_C_TYPE_DOUBLE ||
           f->type == PROTOBUF_C_TYPE_INT32 || f->type == PROTOBUF_C_TYPE_MESSAGE;
}

static void walk_field(struct walk *w, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                       int depth)
{
    if (!is_checked(f) || !field_is_set(m, f) || is_full(w))
        return;
    const char *value = (const char *)m + f->offset;
    size_t n = step(w, f->name);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)((const char *)m + f->quantifier_offset);
        const char *array = *(const char *const *)value;
        for (size_t i = 0; i < count && !is_full(w); i++) {
            size_t before = step_index(w, i);
            walk_value(w, f, array + i * field_value_size(f), depth);
            back(w, before);
        }
    } else {
        walk_value(w, f, value, depth);
    }
    back(w, n);
}

static void walk_message(struct walk *w, const ProtobufCMessage *m, int depth)
{
    if (!m || depth > WIRE_MAX_DEPTH)
        return;
    if (m->descriptor == &google__protobuf__timestamp__descriptor) {
        (void)check_timestamp(w, (const Google__Protobuf__Timestamp *)m);
        return;
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        walk_field(w, m, &m->descriptor->fields[i], depth);
}

/* ---- envelope ---- */

static void check_id_field(struct walk *w, const char *name, struct view text)
{
    struct uuid ignored;
    if (!text.n)
        fault_at(w, name, "missing-id", "absent", "must be set");
    else if (!uuid_parse(text, &ignored))
        fault_at(w, name, "bad-uuid", "string", "must be a UUID of 36 characters");
}

static void check_envelope(struct walk *w, const struct subject_def *def,
                           const ProtobufCMessage *message, int64_t now_us)
{
    struct envelope e;
    envelope_read(def, message, &e);
    check_id_field(w, "event_id", e.event_id);
    if (def->entity_id_field)
        check_id_field(w, def->entity_id_field, e.entity_id);

    /* An invalid one is found by the walk over all values. */
    if (!e.has_time)
        fault_at(w, "timestamp", "missing-required", "absent", "must be set: it decides order");
    else if (e.time_us > now_us && e.time_us - now_us > FUTURE_MAX_US)
        fault_at(w, "timestamp", "future-timestamp", "timestamp",
                 "must not lie more than 10 minutes ahead");
}

/* ---- rules of one message type ---- */

static const char *const anime_required[] = {"title", "type", "status", NULL};
static const char *const never_changed[] = {"id", "entity_type", "similarity_score", NULL};

static bool is_listed(const char *const *names, const char *name)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

/* Changed fields of a sparse event, and the values of those that are listed. name: the field of the
 * event that holds the entity; entity may be NULL. */
static void check_sparse(struct walk *w, char *const *changed, size_t n_changed, const char *name,
                         const ProtobufCMessageDescriptor *type, const ProtobufCMessage *entity,
                         const char *const *required)
{
    uint64_t seen[2] = {0};
    for (size_t i = 0; i < n_changed && !is_full(w); i++) {
        const ProtobufCFieldDescriptor *f = field_by_name(type, view_of(changed[i]));
        size_t n = step(w, "changed_fields");
        step_index(w, i);
        if (!f)
            fault(w, "unknown-field", "string", "must be a top-level snake_case field name");
        else if (is_listed(never_changed, f->name))
            fault(w, "forbidden-field", "string",
                  "id, entity_type and similarity_score never change");
        back(w, n);
        if (!f || is_listed(never_changed, f->name))
            continue;

        size_t index = (size_t)(f - type->fields);
        if (index < 128 && (seen[index / 64] & 1ull << index % 64))
            continue; /* listed twice, looked at once */
        if (index < 128)
            seen[index / 64] |= 1ull << index % 64;
        n = step(w, name);
        if (entity && field_is_set(entity, f))
            walk_field(w, entity, f, 1);
        else if (is_listed(required, f->name))
            fault_at(w, f->name, "missing-required", "absent",
                     "is required and can't be cleared by an update");
        back(w, n);
    }
}

static bool lists(char *const *changed, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(changed[i], name) == 0)
            return true;
    }
    return false;
}

static const char *text_or_null(bool set, const char *text)
{
    return set ? text : NULL;
}

static void check_episode_ids(struct walk *w, const Echora__Catalog__V1__Episode *e,
                              const char *episode_id, const char *anime_id)
{
    check_inner_id(w, "id", text_or_null(e->_id_case, e->id), episode_id);
    check_inner_id(w, "anime_id", text_or_null(e->_anime_id_case, e->anime_id), anime_id);
}

static void check_enriched(struct walk *w, const Echora__Events__V1__AnimeEnrichedEvent *e)
{
    if (!e->anime) {
        fault_at(w, "anime", "missing-required", "absent", "must be set");
    } else {
        size_t n = step(w, "anime");
        check_inner_id(w, "id", e->anime->id, e->anime_id);
        for (const char *const *name = anime_required; *name; name++) {
            const ProtobufCFieldDescriptor *f =
                field_by_name(e->anime->base.descriptor, view_of(*name));
            if (!field_is_set(&e->anime->base, f))
                fault_at(w, *name, "missing-required", "absent", "must be set in a full record");
        }
        back(w, n);
    }
    for (size_t i = 0; i < e->n_characters && !is_full(w); i++) {
        const Echora__Catalog__V1__Character *c = e->characters[i];
        size_t n = step(w, "characters");
        step_index(w, i);
        check_inner_id(w, "id", text_or_null(c->_id_case, c->id), NULL);
        check_id_list(w, "anime_ids", c->anime_ids, c->n_anime_ids);
        back(w, n);
    }
    for (size_t i = 0; i < e->n_episodes && !is_full(w); i++) {
        size_t n = step(w, "episodes");
        step_index(w, i);
        check_episode_ids(w, e->episodes[i], NULL, e->anime_id);
        back(w, n);
    }
    walk_message(w, &e->base, 0);
}

static void check_anime_updated(struct walk *w, const Echora__Events__V1__AnimeUpdatedEvent *e)
{
    if (e->anime) {
        size_t n = step(w, "anime");
        check_inner_id(w, "id", e->anime->id, e->anime_id);
        back(w, n);
    }
    check_sparse(w, e->changed_fields, e->n_changed_fields, "anime",
                 &echora__catalog__v1__anime__descriptor, e->anime ? &e->anime->base : NULL,
                 anime_required);
}

static void check_episode_updated(struct walk *w, const Echora__Events__V1__EpisodeUpdatedEvent *e)
{
    static const char *const required[] = {NULL};
    if (e->episode) {
        size_t n = step(w, "episode");
        bool moved = lists(e->changed_fields, e->n_changed_fields, "anime_id");
        check_inner_id(w, "id", text_or_null(e->episode->_id_case, e->episode->id), e->episode_id);
        if (moved)
            check_inner_id(w, "anime_id",
                           text_or_null(e->episode->_anime_id_case, e->episode->anime_id), NULL);
        back(w, n);
    }
    check_sparse(w, e->changed_fields, e->n_changed_fields, "episode",
                 &echora__catalog__v1__episode__descriptor, e->episode ? &e->episode->base : NULL,
                 required);
}

static void check_character_updated(struct walk *w,
                                    const Echora__Events__V1__CharacterUpdatedEvent *e)
{
    static const char *const required[] = {NULL};
    const Echora__Catalog__V1__Character *c = e->character;
    if (c) {
        size_t n = step(w, "character");
        check_inner_id(w, "id", text_or_null(c->_id_case, c->id), e->character_id);
        if (lists(e->changed_fields, e->n_changed_fields, "anime_ids"))
            check_id_list(w, "anime_ids", c->anime_ids, c->n_anime_ids);
        back(w, n);
    }
    check_sparse(w, e->changed_fields, e->n_changed_fields, "character",
                 &echora__catalog__v1__character__descriptor, c ? &c->base : NULL, required);
}

static void check_episode_aired(struct walk *w, const Echora__Events__V1__EpisodeAiredEvent *e)
{
    int64_t seconds;
    int32_t nanos;
    if (!*e->aired_at)
        fault_at(w, "aired_at", "missing-required", "absent", "must be set");
    else if (!rfc3339_parse(view_of(e->aired_at), &seconds, &nanos))
        fault_at(w, "aired_at", "bad-timestamp", "string", "must be an RFC 3339 time with offset");
    if (!e->episode) {
        fault_at(w, "episode", "missing-required", "absent", "must be set");
    } else {
        size_t n = step(w, "episode");
        check_episode_ids(w, e->episode, NULL, e->anime_id);
        back(w, n);
    }
    walk_message(w, &e->base, 0);
}

/* The walk over an event whose entity is sparse leaves that to check_sparse. */
static void walk_timestamp(struct walk *w, const ProtobufCMessage *m)
{
    walk_field(w, m, field_by_name(m->descriptor, VIEW_LIT("timestamp")), 0);
}

unsigned validate_event(const struct subject_def *def, const ProtobufCMessage *message,
                        int64_t now_us, fault_fn *report, void *ctx)
{
    struct walk w = {.report = report, .ctx = ctx};
    if (def->kind != SUBJECT_EVENT || !message)
        return 0;
    check_envelope(&w, def, message, now_us);
    const ProtobufCMessageDescriptor *type = message->descriptor;
    if (type == &echora__events__v1__anime_enriched_event__descriptor) {
        check_enriched(&w, (const Echora__Events__V1__AnimeEnrichedEvent *)message);
    } else if (type == &echora__events__v1__anime_updated_event__descriptor) {
        walk_timestamp(&w, message);
        check_anime_updated(&w, (const Echora__Events__V1__AnimeUpdatedEvent *)message);
    } else if (type == &echora__events__v1__episode_updated_event__descriptor) {
        walk_timestamp(&w, message);
        check_episode_updated(&w, (const Echora__Events__V1__EpisodeUpdatedEvent *)message);
    } else if (type == &echora__events__v1__character_updated_event__descriptor) {
        walk_timestamp(&w, message);
        check_character_updated(&w, (const Echora__Events__V1__CharacterUpdatedEvent *)message);
    } else if (type == &echora__events__v1__episode_aired_event__descriptor) {
        check_episode_aired(&w, (const Echora__Events__V1__EpisodeAiredEvent *)message);
    } else {
        walk_message(&w, message, 0);
    }
    return w.n;
}

struct first_fault {
    struct fault fault;
    bool have;
};

static void keep_first(void *ctx, const struct fault *f)
{
    struct first_fault *first = ctx;
    if (!first->have)
        first->fault = *f;
    first->have = true;
}

int validate_or_err(const struct subject_def *def, const ProtobufCMessage *message, int64_t now_us,
                    struct err *err)
{
    struct first_fault first = {.have = false};
    unsigned n = validate_event(def, message, now_us, keep_first, &first);
    if (!n)
        return 0;
    err_set(err, ERR_REJECT, first.fault.code, "validate", "%s: %s (%s)", first.fault.path,
            first.fault.text, first.fault.kind);
    return n > 1 ? err_wrap(err, "%u faults, the first is", n) : -1;
}
