/* JSON names by protoc's rule: an underscore is dropped and the letter behind it is raised, nothing
 * else changes. The rule is not reversible ("a_4" and "a4" both give "a4"), so members are looked
 * up by comparing along the rule, never by turning a JSON name back into a proto name. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/json_names.h"

#include "contracts/field.h"
#include "contracts/json.h"

static char raise(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool json_name(const char *field_name, char *out, size_t size)
{
    size_t n = 0;
    bool up = false;

    for (const char *c = field_name; *c; c++) {
        if (*c == '_') {
            up = true;
            continue;
        }
        if (n + 1 >= size)
            return false;
        out[n++] = up ? raise(*c) : *c;
        up = false;
    }
    if (n >= size)
        return false;
    out[n] = '\0';
    return true;
}

/* Does `name` start with the JSON name of `field_name`? *ret_n is that name's length. */
static bool names_match(const char *field_name, const char *name, size_t *ret_n)
{
    size_t n = 0;
    bool up = false;

    for (const char *c = field_name; *c; c++) {
        if (*c == '_') {
            up = true;
            continue;
        }
        if (name[n] != (up ? raise(*c) : *c))
            return false;
        up = false;
        n++;
    }
    *ret_n = n;
    return true;
}

bool json_field_is_map(const ProtobufCFieldDescriptor *field)
{
    return field_is_map(field);
}

enum json_form json_form_of(const ProtobufCMessageDescriptor *type)
{
    static const char package[] = "google.protobuf.";

    if (strncmp(type->name, package, sizeof(package) - 1) != 0)
        return JSON_FORM_PLAIN;
    const char *name = type->name + sizeof(package) - 1;
    if (strcmp(name, "Timestamp") == 0)
        return JSON_FORM_TIMESTAMP;
    if (strcmp(name, "Struct") == 0)
        return JSON_FORM_STRUCT;
    if (strcmp(name, "Value") == 0)
        return JSON_FORM_VALUE;
    if (strcmp(name, "ListValue") == 0)
        return JSON_FORM_LIST;
    return JSON_FORM_PLAIN;
}

bool json_is_null_enum(const ProtobufCEnumDescriptor *type)
{
    return strcmp(type->name, "google.protobuf.NullValue") == 0;
}

static bool is_named(const ProtobufCFieldDescriptor *field, const char *name)
{
    size_t n;

    return (names_match(field->name, name, &n) && name[n] == '\0') ||
           strcmp(field->name, name) == 0;
}

const ProtobufCFieldDescriptor *json_find_field(const ProtobufCMessageDescriptor *type,
                                                const char *name, unsigned guess)
{
    if (guess < type->n_fields && is_named(&type->fields[guess], name))
        return &type->fields[guess];
    for (unsigned i = 0; i < type->n_fields; i++)
        if (is_named(&type->fields[i], name))
            return &type->fields[i];
    return NULL;
}
