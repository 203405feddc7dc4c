// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/members.h"

#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/uuid.h"

#define SHOWN_NAME_MAX 48
#define URL_MAX 2048
#define REF_MAX 512

void pointer_member(const char *pointer, struct view name, char out[static 128])
{
    char shown[SHOWN_NAME_MAX + 1];
    size_t n = 0;

    for (; n < name.n && n < SHOWN_NAME_MAX; n++) {
        const char c = name.p[n];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '_' || c == '-';

        shown[n] = plain ? c : '?';
    }
    shown[n] = '\0';
    (void)snprintf(out, 128, "%.75s/%s", pointer, shown);
}

static bool is_of(struct view text, const char *set)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\0' || strchr(set, text.p[i]) == NULL)
            return false;
    }
    return true;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_free(struct view text)
{
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];

        if (c < ' ' || c == 0x7f)
            return false;
    }
    return true;
}

/* Printable ASCII without blanks. */
static bool is_graphic(struct view text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f)
            return false;
    }
    return true;
}

static bool is_choice(struct view text, const char *choices)
{
    struct view rest = view_of(choices), one;

    while (view_split(&rest, '|', &one)) {
        if (view_eq(one, text))
            return true;
    }
    return false;
}

static bool has_form(const struct member *row, struct view text)
{
    struct uuid id;
    int64_t seconds;
    int32_t nanos;

    switch (row->form) {
    case FORM_FREE:
        return is_free(text);
    case FORM_SOURCE:
        return text.n >= 1 && text.n <= 32 && is_of(text, LOWER DIGITS "_-");
    case FORM_TAG:
        return text.n >= 1 && text.n <= 64 && is_of(text, UPPER LOWER DIGITS "._-");
    case FORM_HASH:
        return text.n == 64 && is_of(text, "abcdef" DIGITS);
    case FORM_UUID:
        return uuid_parse(text, &id);
    case FORM_REF:
        return text.n <= REF_MAX && is_graphic(text) &&
               (view_starts_with(text, "artifact:sha256/") || view_starts_with(text, "s3://"));
    case FORM_URL:
        return text.n <= URL_MAX && is_graphic(text) && view_starts_with(text, "https://");
    case FORM_TIME:
        return rfc3339_parse(text, &seconds, &nanos);
    case FORM_CHOICE:
        return is_choice(text, row->choices);
    }
    return false;
}

static void check_text(const struct member *row, struct view text, const char *pointer,
                       struct refusal *r)
{
    if (row->max > 0 && ((int64_t)text.n < row->min || (int64_t)text.n > row->max))
        violate(r, pointer, "length");
    else if (!has_form(row, text))
        violate(r, pointer, row->form == FORM_CHOICE ? "choice" : "pattern");
}

static void check_number(const struct member *row, int64_t value, const char *pointer,
                         struct refusal *r)
{
    if (value < row->min || value > row->max)
        violate(r, pointer, "range");
}

static void check_value(const struct member *row, const json_t *value, const char *pointer,
                        struct refusal *r);

static void check_list(const struct member *row, const json_t *list, const char *pointer,
                       struct refusal *r)
{
    const size_t n = json_array_size(list);
    char at[128];

    if ((int64_t)n < row->min || (int64_t)n > row->max) {
        violate(r, pointer, "items");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(at, sizeof(at), "%.100s/%zu", pointer, i);
        check_value(row->element, json_array_get(list, i), at, r);
    }
}

static bool has_kind(const struct member *row, const json_t *value)
{
    switch (row->kind) {
    case MEMBER_TEXT:
        return json_is_string(value);
    case MEMBER_NUMBER:
        return json_is_integer(value);
    case MEMBER_FLAG:
        return json_is_boolean(value);
    case MEMBER_OBJECT:
        return json_is_object(value);
    case MEMBER_LIST:
        return json_is_array(value);
    case MEMBER_CUSTOM:
        return true;
    }
    return false;
}

static void check_value(const struct member *row, const json_t *value, const char *pointer,
                        struct refusal *r)
{
    const unsigned before = r->n_violations;

    if (!has_kind(row, value)) {
        violate(r, pointer, "type");
        return;
    }
    if (row->kind == MEMBER_TEXT)
        check_text(row, (struct view){json_string_value(value), json_string_length(value)}, pointer,
                   r);
    else if (row->kind == MEMBER_NUMBER)
        check_number(row, json_integer_value(value), pointer, r);
    else if (row->kind == MEMBER_OBJECT && row->not_empty && json_object_size(value) == 0)
        violate(r, pointer, "empty");
    else if (row->kind == MEMBER_OBJECT && row->n_members > 0)
        members_check(row->members, row->n_members, value, pointer, r);
    else if (row->kind == MEMBER_LIST)
        check_list(row, value, pointer, r);
    if (row->check != NULL && r->n_violations == before)
        row->check(value, pointer, r);
}

const struct member *member_find(const struct member rows[], size_t n, struct view name)
{
    for (size_t i = 0; i < n; i++) {
        if (view_is(name, rows[i].name))
            return &rows[i];
    }
    return NULL;
}

static bool settle_object(json_t *object)
{
    bool good = true;

    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        json_t *settled = members_settle(json_incref(json_object_iter_value(at)));

        good &= settled != NULL && json_object_iter_set_new(object, at, settled) == 0;
    }
    return good;
}

static bool settle_array(json_t *array)
{
    bool good = true;

    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *settled = members_settle(json_incref(json_array_get(array, i)));

        good &= settled != NULL && json_array_set_new(array, i, settled) == 0;
    }
    return good;
}

json_t *members_settle(json_t *value)
{
    const double real = json_real_value(value); /* 0 of what is none */
    const bool good = (!json_is_object(value) || settle_object(value)) &&
                      (!json_is_array(value) || settle_array(value));

    if (good && (!json_is_real(value) || real < -(double)MEMBER_INTEGER_MAX ||
                 real > (double)MEMBER_INTEGER_MAX || real != (double)(json_int_t)real))
        return value;
    json_decref(value);
    return good ? json_integer((json_int_t)real) : NULL;
}

void members_check(const struct member rows[], size_t n, const json_t *object, const char *pointer,
                   struct refusal *r)
{
    const char *name;
    json_t *value;
    char at[128];

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct member *row = member_find(rows, n, view_of(name));

        pointer_member(pointer, view_of(name), at);
        if (row == NULL)
            violate(r, at, "unknown");
        else
            check_value(row, value, at, r);
    }
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].required || json_object_get(object, rows[i].name) != NULL)
            continue;
        pointer_member(pointer, view_of(rows[i].name), at);
        violate(r, at, "missing");
    }
}

json_t *member_value(const struct member *row, struct view text, struct refusal *r)
{
    int64_t number;
    char at[128];

    if (row->kind == MEMBER_NUMBER && text.n > 0 && text.p[0] != '+' &&
        view_to_i64(text, INT64_MIN, INT64_MAX, &number))
        return json_integer(number);
    if (row->kind == MEMBER_FLAG && (view_is(text, "true") || view_is(text, "false")))
        return json_boolean(view_is(text, "true"));
    if (row->kind == MEMBER_TEXT && utf8_is_valid(bytes_of(text)))
        return json_stringn(text.p, text.n);
    pointer_member("", view_of(row->name), at);
    violate(r, at, "type");
    return NULL;
}

static bool move(const struct member *row, json_t *object)
{
    json_t *value = json_incref(json_object_get(object, row->name)), *to = object;

    json_object_del(object, row->name);
    if (row->into != NULL) {
        to = json_object_get(object, row->into);
        if (to == NULL && json_object_set_new(object, row->into, to = json_object()) < 0) {
            json_decref(value);
            return false;
        }
    }
    return json_object_set_new(to, row->as != NULL ? row->as : row->name, value) == 0;
}

bool members_for_bus(const struct member rows[], size_t n, json_t *object)
{
    for (size_t i = 0; i < n; i++) {
        if ((rows[i].as != NULL || rows[i].into != NULL) &&
            json_object_get(object, rows[i].name) != NULL && !move(&rows[i], object))
            return false;
    }
    return true;
}
