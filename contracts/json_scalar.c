// SPDX-License-Identifier: Apache-2.0
#include "contracts/json_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "contracts/json_names.h"

/* Every integer up to here is a double of its own, so a real below it lost nothing. */
#define EXACT_MAX 9007199254740992.0

/* Sign and magnitude hold every 64-bit integer, signed or not. */
struct integer {
    bool negative;
    uint64_t magnitude;
};

/* JSON's integer grammar: no plus sign, no leading zeros. */
static enum json_scalar_fault integer_of_text(struct view text, struct integer *ret)
{
    size_t i = text.n && text.p[0] == '-' ? 1 : 0;
    struct integer v = {.negative = i == 1};

    if (i == text.n || (text.p[i] == '0' && text.n > i + 1))
        return JSON_SCALAR_TYPE;
    for (; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return JSON_SCALAR_TYPE;
        if (__builtin_mul_overflow(v.magnitude, (uint64_t)10, &v.magnitude) ||
            __builtin_add_overflow(v.magnitude, (uint64_t)(text.p[i] - '0'), &v.magnitude))
            return JSON_SCALAR_RANGE;
    }
    *ret = v;
    return JSON_SCALAR_OK;
}

static enum json_scalar_fault integer_of_json(const json_t *json, struct integer *ret)
{
    switch (json_typeof(json)) {
    case JSON_INTEGER: {
        int64_t v = json_integer_value(json);
        ret->negative = v < 0;
        ret->magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        return JSON_SCALAR_OK;
    }
    case JSON_REAL: { /* 1.0 and 1e3 are integers too, when nothing is lost */
        double v = json_real_value(json);
        if (v != floor(v))
            return JSON_SCALAR_TYPE;
        if (fabs(v) > EXACT_MAX)
            return JSON_SCALAR_RANGE;
        ret->negative = v < 0;
        ret->magnitude = (uint64_t)fabs(v);
        return JSON_SCALAR_OK;
    }
    case JSON_STRING:
        return integer_of_text((struct view){json_string_value(json), json_string_length(json)},
                               ret);
    default:
        return JSON_SCALAR_TYPE;
    }
}

static bool fits_signed(struct integer v, unsigned bits)
{
    uint64_t limit = UINT64_C(1) << (bits - 1);

    return v.negative ? v.magnitude <= limit : v.magnitude < limit;
}

static enum json_scalar_fault store_integer(const ProtobufCFieldDescriptor *field, struct integer v,
                                            void *out)
{
    uint64_t bits = v.negative ? 0 - v.magnitude : v.magnitude;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        if (!fits_signed(v, 32))
            return JSON_SCALAR_RANGE;
        *(int32_t *)out = (int32_t)bits;
        return JSON_SCALAR_OK;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if ((v.negative && v.magnitude) || v.magnitude > UINT32_MAX)
            return JSON_SCALAR_RANGE;
        *(uint32_t *)out = (uint32_t)bits;
        return JSON_SCALAR_OK;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (v.negative && v.magnitude)
            return JSON_SCALAR_RANGE;
        *(uint64_t *)out = bits;
        return JSON_SCALAR_OK;
    default:
        if (!fits_signed(v, 64))
            return JSON_SCALAR_RANGE;
        *(int64_t *)out = (int64_t)bits;
        return JSON_SCALAR_OK;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* JSON's number grammar: strtod alone takes hexadecimal, "inf" and leading blanks too. */
static bool is_number_text(struct view text)
{
    const char *p = text.p, *end = text.p + text.n;

    if (p < end && *p == '-')
        p++;
    if (p == end || !is_digit(*p) || (*p == '0' && p + 1 < end && is_digit(p[1])))
        return false;
    while (p < end && is_digit(*p))
        p++;
    if (p < end && *p == '.') {
        if (++p == end || !is_digit(*p))
            return false;
        while (p < end && is_digit(*p))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        if (p == end || !is_digit(*p))
            return false;
        while (p < end && is_digit(*p))
            p++;
    }
    return p == end;
}

static enum json_scalar_fault double_of_text(struct view text, double *ret)
{
    if (view_is(text, "NaN"))
        *ret = (double)NAN;
    else if (view_is(text, "Infinity"))
        *ret = (double)INFINITY;
    else if (view_is(text, "-Infinity"))
        *ret = -(double)INFINITY;
    else if (!is_number_text(text))
        return JSON_SCALAR_TYPE;
    else {
        /* jansson's strings end with NUL; the process stays in the C locale. */
        double v = strtod(text.p, NULL);
        if (isinf(v))
            return JSON_SCALAR_RANGE;
        *ret = v;
    }
    return JSON_SCALAR_OK;
}

static enum json_scalar_fault read_float(const ProtobufCFieldDescriptor *field, const json_t *json,
                                         void *out)
{
    double v = 0;
    enum json_scalar_fault fault = JSON_SCALAR_OK;

    if (json_is_number(json))
        v = json_number_value(json);
    else if (json_is_string(json))
        fault =
            double_of_text((struct view){json_string_value(json), json_string_length(json)}, &v);
    else
        fault = JSON_SCALAR_TYPE;
    if (fault != JSON_SCALAR_OK)
        return fault;
    if (field->type == PROTOBUF_C_TYPE_DOUBLE) {
        *(double *)out = v;
        return JSON_SCALAR_OK;
    }
    /* What rounds to the greatest float still fits. */
    if (isfinite(v) && isinf((float)v))
        return JSON_SCALAR_RANGE;
    *(float *)out = (float)v;
    return JSON_SCALAR_OK;
}

static enum json_scalar_fault read_enum(const ProtobufCFieldDescriptor *field, const json_t *json,
                                        void *out)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;

    if (json_is_null_enum(type) && json_is_null(json)) {
        *(int *)out = 0;
        return JSON_SCALAR_OK;
    }
    if (json_is_string(json)) {
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(json));
        if (!value)
            return JSON_SCALAR_TYPE;
        *(int *)out = value->value;
        return JSON_SCALAR_OK;
    }
    struct integer v;
    enum json_scalar_fault fault = integer_of_json(json, &v);
    return fault != JSON_SCALAR_OK ? fault : store_integer(field, v, out);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

/* Both alphabets; padding may be left out, but is right when it is there. */
static enum json_scalar_fault read_bytes(struct view text, struct arena *arena, void *out)
{
    size_t n = text.n;
    uint32_t bits = 0;
    size_t length = 0;

    while (n && text.p[n - 1] == '=' && text.n - n < 2)
        n--;
    if ((text.n != n && text.n % 4 != 0) || n % 4 == 1)
        return JSON_SCALAR_TYPE;
    uint8_t *data = arena_alloc(arena, n / 4 * 3 + 3);
    if (!data)
        return JSON_SCALAR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0)
            return JSON_SCALAR_TYPE;
        bits = (bits << 6) | (uint32_t)digit;
        if (i % 4 == 1)
            data[length++] = (uint8_t)(bits >> 4);
        else if (i % 4 == 2)
            data[length++] = (uint8_t)(bits >> 2);
        else if (i % 4 == 3)
            data[length++] = (uint8_t)bits;
    }
    *(ProtobufCBinaryData *)out = (ProtobufCBinaryData){.len = length, .data = data};
    return JSON_SCALAR_OK;
}

static enum json_scalar_fault read_text(struct view text, struct arena *arena, void *out)
{
    char *copy = arena_strdup(arena, text);

    if (!copy)
        return JSON_SCALAR_MEMORY;
    *(char **)out = copy;
    return JSON_SCALAR_OK;
}

enum json_scalar_fault json_read_scalar(const ProtobufCFieldDescriptor *field, const json_t *json,
                                        struct arena *arena, void *out, const char **ret_expected)
{
    struct view text = {json_string_value(json), json_string_length(json)};

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *ret_expected = "expected true or false";
        if (!json_is_boolean(json))
            return JSON_SCALAR_TYPE;
        *(protobuf_c_boolean *)out = json_is_true(json);
        return JSON_SCALAR_OK;
    case PROTOBUF_C_TYPE_STRING:
        *ret_expected = "expected a string";
        return json_is_string(json) ? read_text(text, arena, out) : JSON_SCALAR_TYPE;
    case PROTOBUF_C_TYPE_BYTES:
        *ret_expected = "expected base64 text";
        return json_is_string(json) ? read_bytes(text, arena, out) : JSON_SCALAR_TYPE;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        *ret_expected = "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
        return read_float(field, json, out);
    case PROTOBUF_C_TYPE_ENUM:
        *ret_expected = "expected a name of the enum or its number";
        return read_enum(field, json, out);
    default: {
        struct integer v;
        *ret_expected = "expected an integer";
        enum json_scalar_fault fault = integer_of_json(json, &v);
        return fault != JSON_SCALAR_OK ? fault : store_integer(field, v, out);
    }
    }
}

enum json_scalar_fault json_read_key(const ProtobufCFieldDescriptor *field, struct view key,
                                     struct arena *arena, void *out, const char **ret_expected)
{
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return read_text(key, arena, out);
    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        *ret_expected = "expected true or false as the key";
        if (!view_is(key, "true") && !view_is(key, "false"))
            return JSON_SCALAR_TYPE;
        *(protobuf_c_boolean *)out = view_is(key, "true");
        return JSON_SCALAR_OK;
    }
    struct integer v;
    *ret_expected = "expected an integer as the key";
    enum json_scalar_fault fault = integer_of_text(key, &v);
    return fault != JSON_SCALAR_OK ? fault : store_integer(field, v, out);
}
