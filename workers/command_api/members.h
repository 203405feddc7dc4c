/* What members a call may have, as tables, and the check that a JSON object keeps to one.
 *
 * One row per member; the rows of a route describe body, path and query together, for they become
 * one object on the bus. Every fault is reported with its JSON Pointer and a rule's name, never
 * with a value. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "workers/command_api/problem.h"

#define MEMBER_INTEGER_MAX ((INT64_C(1) << 53) - 1)

enum member_kind {
    MEMBER_TEXT,
    MEMBER_NUMBER, /* integer */
    MEMBER_FLAG,
    MEMBER_OBJECT, /* with rows of its own; without rows any object */
    MEMBER_LIST,
    MEMBER_CUSTOM, /* check says it all */
};

enum member_form {
    FORM_FREE, /* no control characters */
    FORM_SOURCE,
    FORM_TAG,
    FORM_HASH,
    FORM_UUID,
    FORM_REF,
    FORM_URL,
    FORM_TIME,
    FORM_CHOICE, /* one of choices */
};

enum member_place { PLACE_BODY, PLACE_PATH, PLACE_QUERY };

struct member {
    const char *name;
    enum member_kind kind;
    enum member_form form;
    enum member_place place;
    bool required;
    bool not_empty;      /* MEMBER_OBJECT: has a member, whichever */
    int64_t min, max;    /* numbers; bytes of a text (max 0 = the form's); items of a list */
    const char *choices; /* "a|b" */
    const struct member *members; /* MEMBER_OBJECT */
    size_t n_members;
    const struct member *element; /* MEMBER_LIST */
    /* Rules between members, once each of them is good; what it is for MEMBER_CUSTOM. */
    void (*check)(const json_t *value, const char *pointer, struct refusal *r);
    const char *as;   /* its name on the bus; NULL = the same */
    const char *into; /* the object on the bus that it stands in; NULL = the top */
};

/* JSON has one kind of number: of a value and all in it, 7.0 becomes 7. The value that stands for
 * it now; the caller gives the old reference away and owns this one. NULL: no memory. */
MUST_CHECK json_t *members_settle(json_t *value);
/* Faults go into *r; it is untouched when there is none. pointer: of the object, "" = the top. */
void members_check(const struct member rows[], size_t n, const json_t *object, const char *pointer,
                   struct refusal *r);
/* A path or query member's JSON value from its text; NULL and a fault in *r when it has the wrong
 * form. The caller owns it. */
json_t *member_value(const struct member *row, struct view text, struct refusal *r);
const struct member *member_find(const struct member rows[], size_t n, struct view name);
/* Renames and moves (as, into) what stands at the top of the object. False: no memory. */
MUST_CHECK bool members_for_bus(const struct member rows[], size_t n, json_t *object);
/* pointer/name, cut and cleaned when the name comes from outside. */
void pointer_member(const char *pointer, struct view name, char out[static 128]);
