/* JSON to message, all memory in the arena.
 *
 * One reader walks jansson's document along the descriptors. It carries the path of names and
 * indexes down to where it is, so that a fault says where; a fault never holds a value, and names
 * that come from the input are cut and cleaned before they enter the path. With a report function
 * the reader goes on behind a fault (the faulty member counts as absent), without one it stops at
 * the first. */
// SPDX-License-Identifier: Apache-2.0
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "contracts/json_names.h"
#include "contracts/json_scalar.h"
#include "events/base/clock.h"

#define MAX_FIELDS 256
/* Longest part of a name from the input that is shown. */
#define SHOWN_NAME 48

struct reader {
    struct arena *arena;
    struct err *err;
    fault_fn *report; /* NULL = stop at the first fault */
    void *ctx;
    unsigned faults;
    unsigned depth;
    size_t path_n;
    char path[sizeof(((struct fault *)NULL)->path)];
};

static int read_message(struct reader *r, const ProtobufCMessageDescriptor *type,
                        const json_t *json, ProtobufCMessage **ret);

/* Appends to the path; what does not fit is cut. Returns the length to go back to. */
static size_t push(struct reader *r, const char *before, const char *name, const char *after)
{
    size_t former = r->path_n;
    char part[SHOWN_NAME + 8];
    size_t n = 0;

    for (; *before; before++)
        part[n++] = *before;
    for (size_t i = 0; name[i] && i < SHOWN_NAME; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-' || c == '.' || c == '@' || c == '$';
        part[n++] = plain ? c : '?';
    }
    for (; *after; after++)
        part[n++] = *after;
    if (n > sizeof(r->path) - 1 - r->path_n)
        n = sizeof(r->path) - 1 - r->path_n;
    memcpy(r->path + r->path_n, part, n);
    r->path_n += n;
    r->path[r->path_n] = '\0';
    return former;
}

static size_t push_member(struct reader *r, const char *name)
{
    return push(r, r->path_n ? "." : "", name, "");
}

static size_t push_index(struct reader *r, size_t i)
{
    char number[24];

    (void)snprintf(number, sizeof(number), "%zu", i);
    return push(r, "[", number, "]");
}

static void pop(struct reader *r, size_t former)
{
    r->path_n = former;
    r->path[former] = '\0';
}

static const char *kind_of(const json_t *json)
{
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    default:
        return "null";
    }
}

static int fail(struct reader *r, const char *code, const json_t *found, const char *rule)
{
    struct fault fault = {.code = code};

    r->faults++;
    (void)snprintf(fault.path, sizeof(fault.path), "%s", r->path_n ? r->path : "(document)");
    (void)snprintf(fault.text, sizeof(fault.text), "%s", rule);
    (void)snprintf(fault.kind, sizeof(fault.kind), "%s", kind_of(found));
    if (r->report)
        r->report(r->ctx, &fault);
    return err_set(r->err, ERR_REJECT, code, "read json", "%s: %s, found %s", fault.path, rule,
                   fault.kind);
}

/* Does the walk go on behind a fault? */
static bool goes_on(const struct reader *r)
{
    return r->report && !arena_overflowed(r->arena);
}

static int fail_memory(struct reader *r)
{
    if (arena_no_memory(r->arena) && !r->report)
        return err_set(r->err, ERR_RETRY, "no-memory", "read json", "no memory for the message");
    return fail(r, "too-large", NULL, "the decoded form passes the size limit");
}

static int fail_scalar(struct reader *r, enum json_scalar_fault fault, const json_t *found,
                       const char *expected)
{
    switch (fault) {
    case JSON_SCALAR_RANGE:
        return fail(r, "json-range", found, "the number does not fit the field");
    case JSON_SCALAR_MEMORY:
        return fail_memory(r);
    default:
        return fail(r, "json-type", found, expected);
    }
}

static int read_timestamp(struct reader *r, const json_t *json, ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *fields = message->descriptor->fields;
    int64_t seconds;
    int32_t nanos;

    if (!json_is_string(json))
        return fail(r, "json-type", json, "expected an RFC 3339 timestamp");
    struct view text = {json_string_value(json), json_string_length(json)};
    if (!rfc3339_parse(text, &seconds, &nanos))
        return fail(r, "json-type", json, "expected an RFC 3339 timestamp with its offset");
    if (seconds < JSON_TIMESTAMP_MIN || seconds > JSON_TIMESTAMP_MAX)
        return fail(r, "json-range", json, "the year must lie within 0001 to 9999");
    *(int64_t *)((char *)message + fields[0].offset) = seconds;
    *(int32_t *)((char *)message + fields[1].offset) = nanos;
    return 0;
}

/* p: where the value goes (an element, or the member itself). */
static int read_element(struct reader *r, const ProtobufCFieldDescriptor *field, const json_t *json,
                        void *p)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage *message = NULL;
        int result = read_message(r, field->descriptor, json, &message);
        *(ProtobufCMessage **)p = message;
        return result;
    }
    const char *expected = "";
    enum json_scalar_fault fault = json_read_scalar(field, json, r->arena, p, &expected);
    if (fault != JSON_SCALAR_OK)
        return fail_scalar(r, fault, json, expected);
    return 0;
}

/* A message with faults inside that were reported: the rest of it counts. */
static bool is_partial(const ProtobufCFieldDescriptor *field, const void *element)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE && *(ProtobufCMessage *const *)element != NULL;
}

/* JSON null stands for a value only where the type has one. */
static bool takes_null(const ProtobufCFieldDescriptor *field)
{
    return (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            json_form_of(field->descriptor) == JSON_FORM_VALUE) ||
           (field->type == PROTOBUF_C_TYPE_ENUM && json_is_null_enum(field->descriptor));
}

static void set_repeated(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                         void *elements, size_t n)
{
    *(size_t *)((char *)message + field->quantifier_offset) = n;
    *(void **)((char *)message + field->offset) = n ? elements : NULL;
}

static int read_list(struct reader *r, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *field, const json_t *json)
{
    if (!json_is_array(json))
        return fail(r, "json-type", json, "expected an array");
    size_t n = json_array_size(json), size = field_value_size(field), kept = 0;
    char *elements = n ? arena_array(r->arena, n, size) : NULL;
    if (n && !elements)
        return fail_memory(r);
    int result = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(json, i);
        size_t former = push_index(r, i);
        int one = json_is_null(item) && !takes_null(field)
                      ? fail(r, "json-type", item, "null can't be an element")
                      : read_element(r, field, item, elements + kept * size);
        pop(r, former);
        if (one == 0 || is_partial(field, elements + kept * size))
            kept++;
        if (one == 0)
            continue;
        result = -1;
        if (!goes_on(r))
            return -1;
    }
    set_repeated(message, field, elements, kept);
    return result;
}

static int read_entry(struct reader *r, const ProtobufCMessageDescriptor *type, const char *key,
                      size_t key_n, const json_t *value, ProtobufCMessage **ret)
{
    const ProtobufCFieldDescriptor *fields = type->fields;
    ProtobufCMessage *entry = message_new(type, r->arena);
    if (!entry)
        return fail_memory(r);
    if (json_is_null(value) && !takes_null(&fields[1]))
        return fail(r, "json-type", value, "null can't be a map value");
    const char *expected = "";
    enum json_scalar_fault fault = json_read_key(&fields[0], (struct view){key, key_n}, r->arena,
                                                 (char *)entry + fields[0].offset, &expected);
    if (fault != JSON_SCALAR_OK)
        return fail_scalar(r, fault, NULL, expected);
    if (read_element(r, &fields[1], value, (char *)entry + fields[1].offset) < 0)
        return -1;
    *ret = entry; // NOLINT(clang-analyzer-core.NullDereference): no entries, no call
    return 0;
}

static int read_map(struct reader *r, ProtobufCMessage *message,
                    const ProtobufCFieldDescriptor *field, const json_t *json)
{
    if (!json_is_object(json))
        return fail(r, "json-type", json, "expected an object");
    if (r->depth >= JSON_MAX_DEPTH)
        return fail(r, "too-deep", json, "nesting must stay within 32 levels");
    size_t n = json_object_size(json), kept = 0;
    ProtobufCMessage **entries = n ? arena_array(r->arena, n, sizeof(*entries)) : NULL;
    if (n && !entries)
        return fail_memory(r);
    const char *key;
    size_t key_n;
    json_t *value;
    int result = 0;
    r->depth++;
    json_object_keylen_foreach((json_t *)json, key, key_n, value)
    {
        size_t former = push(r, "[", key, "]");
        int one = read_entry(r, field->descriptor, key, key_n, value, &entries[kept]);
        pop(r, former);
        if (one == 0) {
            kept++;
            continue;
        }
        result = -1;
        if (!goes_on(r))
            break;
    }
    r->depth--;
    set_repeated(message, field, entries, kept);
    return result;
}

static bool is_oneof(const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static void mark_present(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *quantifier = (char *)message + field->quantifier_offset;

    if (is_oneof(field))
        *(uint32_t *)quantifier = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
             field->type != PROTOBUF_C_TYPE_MESSAGE)
        *(protobuf_c_boolean *)quantifier = 1;
}

static int read_field(struct reader *r, ProtobufCMessage *message,
                      const ProtobufCFieldDescriptor *field, const json_t *json)
{
    if (json_is_null(json) && (field->label == PROTOBUF_C_LABEL_REPEATED || !takes_null(field))) {
        field_clear(message, field);
        return 0;
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return json_field_is_map(field) ? read_map(r, message, field, json)
                                        : read_list(r, message, field, json);
    /* Through a local, so that a fault leaves the field and its oneof untouched. */
    union {
        uint64_t number;
        void *pointer;
        ProtobufCBinaryData bytes;
    } value = {0};
    int result = read_element(r, field, json, &value);
    if (result < 0 && !is_partial(field, &value))
        return -1;
    memcpy((char *)message + field->offset, &value, field_value_size(field));
    mark_present(message, field);
    return result;
}

static int read_members(struct reader *r, const json_t *json, ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool seen[MAX_FIELDS] = {false};
    const char *name;
    json_t *value;
    unsigned guess = 0;
    int result = 0;

    if (!json_is_object(json))
        return fail(r, "json-type", json, "expected an object");
    if (type->n_fields > MAX_FIELDS)
        return err_set(r->err, ERR_FATAL, "internal", "read json", "%s has over %d fields",
                       type->name, MAX_FIELDS);
    json_object_foreach((json_t *)json, name, value)
    {
        const ProtobufCFieldDescriptor *field = json_find_field(type, name, guess);
        size_t former = push_member(r, name);
        int one = 0;
        if (!field) {
            one = fail(r, "json-unknown-field", value, "the message has no such field");
        } else {
            unsigned index = (unsigned)(field - type->fields);
            guess = index + 1;
            if (seen[index])
                one = fail(r, "json-syntax", value, "the field stands there twice");
            else if (is_oneof(field) && !json_is_null(value) &&
                     *(uint32_t *)((char *)message + field->quantifier_offset) != 0)
                one = fail(r, "json-type", value, "another member of its oneof stands there too");
            else
                one = read_field(r, message, field, value);
            seen[index] = true;
        }
        pop(r, former);
        if (one < 0) {
            result = -1;
            if (!goes_on(r))
                return -1;
        }
    }
    return result;
}

/* google.protobuf.Value: the kind of JSON value picks the member of its oneof. */
static int read_value(struct reader *r, const json_t *json, ProtobufCMessage *message)
{
    static const char *const members[] = {
        [JSON_OBJECT] = "struct_value", [JSON_ARRAY] = "list_value",
        [JSON_STRING] = "string_value", [JSON_INTEGER] = "number_value",
        [JSON_REAL] = "number_value",   [JSON_TRUE] = "bool_value",
        [JSON_FALSE] = "bool_value",    [JSON_NULL] = "null_value",
    };
    const char *name = members[json_typeof(json)];
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);

    if (!field)
        return err_set(r->err, ERR_FATAL, "internal", "read json", "Value has no %s", name);
    return read_field(r, message, field, json);
}

static int read_message(struct reader *r, const ProtobufCMessageDescriptor *type,
                        const json_t *json, ProtobufCMessage **ret)
{
    if (r->depth >= JSON_MAX_DEPTH)
        return fail(r, "too-deep", json, "nesting must stay within 32 levels");
    ProtobufCMessage *message = message_new(type, r->arena);
    if (!message)
        return fail_memory(r);
    int result;
    r->depth++;
    switch (json_form_of(type)) {
    case JSON_FORM_TIMESTAMP:
        result = read_timestamp(r, json, message);
        break;
    case JSON_FORM_VALUE:
        result = read_value(r, json, message);
        break;
    case JSON_FORM_STRUCT:
        result = read_map(r, message, &type->fields[0], json);
        break;
    case JSON_FORM_LIST:
        result = read_list(r, message, &type->fields[0], json);
        break;
    default:
        result = read_members(r, json, message);
        break;
    }
    r->depth--;
    if (result == 0 || r->report)
        *ret = message;
    return result;
}

/* jansson's own message quotes the input, so only its code and position are passed on. */
static int fail_parse(const json_error_t *error, struct err *err)
{
    if (json_no_memory(error))
        return err_set(err, ERR_RETRY, "no-memory", "read json", "parsing");
    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return err_set(err, ERR_REJECT, "bad-utf8", "read json", "line %d column %d", error->line,
                       error->column);
    case json_error_null_character:
        return err_set(err, ERR_REJECT, "text-nul", "read json", "line %d column %d", error->line,
                       error->column);
    case json_error_numeric_overflow:
        return err_set(err, ERR_REJECT, "json-range", "read json",
                       "line %d column %d: the number is too large", error->line, error->column);
    case json_error_stack_overflow:
        return err_set(err, ERR_REJECT, "too-deep", "read json", "line %d column %d", error->line,
                       error->column);
    case json_error_duplicate_key:
        return err_set(err, ERR_REJECT, "json-syntax", "read json",
                       "line %d column %d: a member stands there twice", error->line,
                       error->column);
    default:
        return err_set(err, ERR_REJECT, "json-syntax", "read json",
                       "line %d column %d: not a JSON document", error->line, error->column);
    }
}

int json_parse(struct view text, json_t **ret, struct err *err)
{
    json_error_t error = {0};
    json_t *json =
        json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

    if (!json)
        return fail_parse(&error, err);
    *ret = json;
    return 0;
}

int json_decode_value(const ProtobufCMessageDescriptor *type, const json_t *json,
                      struct arena *arena, ProtobufCMessage **ret, struct err *err)
{
    struct reader r = {.arena = arena, .err = err};

    return read_message(&r, type, json, ret);
}

unsigned json_decode_report(const ProtobufCMessageDescriptor *type, const json_t *json,
                            struct arena *arena, ProtobufCMessage **ret_message, fault_fn *report,
                            void *ctx)
{
    struct err ignored = ERR_INIT;
    struct reader r = {.arena = arena, .err = &ignored, .report = report, .ctx = ctx};

    *ret_message = NULL;
    if (read_message(&r, type, json, ret_message) < 0 && r.faults == 0)
        (void)fail_memory(&r);
    return r.faults;
}

int json_decode(const ProtobufCMessageDescriptor *type, struct view json, struct arena *arena,
                ProtobufCMessage **ret, struct err *err)
{
    json_t *document = NULL;

    if (json_parse(json, &document, err) < 0)
        return -1;
    int result = json_decode_value(type, document, arena, ret, err);
    json_decref(document);
    return result;
}

int json_decode_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      const json_t *value, struct arena *arena, struct err *err)
{
    struct reader r = {.arena = arena, .err = err, .depth = 1};

    (void)push_member(&r, field->name);
    return read_field(&r, message, field, value);
}
