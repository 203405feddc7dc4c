/* Contexts and spans; trace_export.c carries the ended ones away.
 *
 * Parsing follows the W3C Trace Context Recommendation (level 1): a traceparent that breaks a rule
 * is refused; a tracestate that does is dropped while the traceparent stays. */
// SPDX-License-Identifier: Apache-2.0
#include "events/trace.h"

#include <stdio.h>

#include "events/base/backoff.h"
#include "events/base/clock.h"
#include "events/base/hash.h"
#include "events/trace_export.h"

#define FLAG_SAMPLED 0x01
#define TRACEPARENT_LENGTH 55 /* of version 00 */
#define MEMBERS_MAX 32
#define LONG_MEMBER 128 /* the first to go when a tracestate is too long */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* n bytes from 2 * n lower-case digits. */
static bool parse_hex(const char *p, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(p[2 * i]), low = hex_value(p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i]) {
            return false;
        }
    }
    return true;
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '*' ||
           c == '/';
}

/* One half of a key: its first character (a letter, or a digit where allowed), then key characters.
 */
static bool is_key_part(struct view v, size_t max, bool digit_first)
{
    if (v.n < 1 || v.n > max) {
        return false;
    }
    bool letter = v.p[0] >= 'a' && v.p[0] <= 'z';
    if (!letter && !(digit_first && v.p[0] >= '0' && v.p[0] <= '9')) {
        return false;
    }
    for (size_t i = 1; i < v.n; i++) {
        if (!is_key_char(v.p[i])) {
            return false;
        }
    }
    return true;
}

static bool is_key(struct view v)
{
    struct view system = v, tenant = {0};
    view_split(&system, '@', &tenant);
    if (!system.p) {
        return is_key_part(v, 256, false);
    }
    return is_key_part(tenant, 241, true) && is_key_part(system, 14, false);
}

static bool is_value(struct view v)
{
    if (v.n < 1 || v.n > 256 || v.p[v.n - 1] == ' ') {
        return false;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < 0x20 || v.p[i] > 0x7e || v.p[i] == ',' || v.p[i] == '=') {
            return false;
        }
    }
    return true;
}

static struct view trim_blanks(struct view v)
{
    while (v.n && (v.p[0] == ' ' || v.p[0] == '\t')) {
        v.p++;
        v.n--;
    }
    while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t')) {
        v.n--;
    }
    return v;
}

/* The list's members without blanks and empty ones; false when one breaks a rule. */
static bool split_state(struct view text, struct view members[MEMBERS_MAX], unsigned *ret_n)
{
    unsigned n = 0;
    struct view part;
    while (view_split(&text, ',', &part)) {
        part = trim_blanks(part);
        if (!part.n) {
            continue;
        }
        struct view value = part, key = {0};
        view_split(&value, '=', &key);
        if (n == MEMBERS_MAX || !value.p || !is_key(key) || !is_value(value)) {
            return false;
        }
        for (unsigned i = 0; i < n; i++) {
            if (members[i].n > key.n && members[i].p[key.n] == '=' &&
                memcmp(members[i].p, key.p, key.n) == 0) {
                return false;
            }
        }
        members[n++] = part;
    }
    *ret_n = n;
    return true;
}

static size_t state_length(const struct view members[], unsigned n)
{
    size_t total = n ? n - 1 : 0;
    for (unsigned i = 0; i < n; i++) {
        total += members[i].n;
    }
    return total;
}

/* Cuts whole members until the list fits: first long ones, then from the end. */
static unsigned shorten_state(struct view members[], unsigned n)
{
    for (unsigned i = n; i-- > 0 && state_length(members, n) >= TRACESTATE_MAX;) {
        if (members[i].n > LONG_MEMBER) {
            memmove(&members[i], &members[i + 1], (n - i - 1) * sizeof members[0]);
            n--;
        }
    }
    while (state_length(members, n) >= TRACESTATE_MAX) {
        n--;
    }
    return n;
}

static void parse_state(struct view text, char out[static TRACESTATE_MAX])
{
    struct view members[MEMBERS_MAX] = {0};
    unsigned n = 0;
    out[0] = '\0';
    if (!text.n || !split_state(text, members, &n)) {
        return;
    }
    n = shorten_state(members, n);
    char *p = out;
    for (unsigned i = 0; i < n; i++) {
        if (i) {
            *p++ = ',';
        }
        memcpy(p, members[i].p, members[i].n);
        p += members[i].n;
    }
    *p = '\0';
}

bool trace_parse(struct view traceparent, struct view tracestate, struct trace_context *ret)
{
    struct view v = trim_blanks(traceparent);
    uint8_t version = 0, flags = 0;
    struct trace_context c = {.set = true};
    if (v.n < TRACEPARENT_LENGTH || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-' ||
        !parse_hex(v.p, &version, 1) || !parse_hex(v.p + 3, c.trace_id, sizeof c.trace_id) ||
        !parse_hex(v.p + 36, c.span_id, sizeof c.span_id) || !parse_hex(v.p + 53, &flags, 1)) {
        return false;
    }
    if (version == 0xff || (version == 0 && v.n != TRACEPARENT_LENGTH) ||
        (v.n > TRACEPARENT_LENGTH && v.p[TRACEPARENT_LENGTH] != '-') ||
        all_zero(c.trace_id, sizeof c.trace_id) || all_zero(c.span_id, sizeof c.span_id)) {
        return false;
    }
    c.flags = flags & FLAG_SAMPLED; /* flags that we do not know are not passed on */
    parse_state(tracestate, c.state);
    *ret = c;
    return true;
}

static char *put_hex(char *p, const uint8_t *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *p++ = digits[data[i] >> 4];
        *p++ = digits[data[i] & 15];
    }
    return p;
}

void trace_format(const struct trace_context *c, char out[static TRACEPARENT_MAX])
{
    char *p = out;
    *p++ = '0';
    *p++ = '0';
    *p++ = '-';
    p = put_hex(p, c->trace_id, sizeof c->trace_id);
    *p++ = '-';
    p = put_hex(p, c->span_id, sizeof c->span_id);
    *p++ = '-';
    p = put_hex(p, &c->flags, 1);
    *p = '\0';
}

/* Ids need to be unique, not secret: a generator per thread, seeded by the system once. */
static uint64_t random_id(void)
{
    static _Thread_local struct prng prng;
    static _Thread_local bool seeded;
    if (!seeded) {
        random_bytes(&prng.state, sizeof prng.state);
        seeded = true;
    }
    uint64_t id;
    do {
        id = prng_next(&prng);
    } while (!id);
    return id;
}

static void new_span_id(struct trace_context *c)
{
    uint64_t id = random_id();
    memcpy(c->span_id, &id, sizeof id);
}

void trace_start_root(struct trace_context *ret)
{
    *ret = (struct trace_context){.set = true, .flags = FLAG_SAMPLED};
    uint64_t halves[2] = {random_id(), random_id()};
    memcpy(ret->trace_id, halves, sizeof halves);
    new_span_id(ret);
}

void span_start(struct span *s, const struct trace_context *parent, enum span_kind kind,
                const char *name)
{
    if (parent && parent->set) {
        s->context = *parent;
        memcpy(s->parent_id, parent->span_id, sizeof s->parent_id);
        new_span_id(&s->context);
    } else {
        trace_start_root(&s->context);
        memset(s->parent_id, 0, sizeof s->parent_id);
    }
    s->kind = kind;
    s->start_us = wall_us();
    snprintf(s->name, sizeof s->name, "%s", name);
    s->n_attributes = 0;
}

void span_attribute(struct span *s, const char *key, const char *value)
{
    if (s->n_attributes < ARRAY_LEN(s->attributes)) {
        unsigned i = s->n_attributes++;
        s->attributes[i].key = key;
        snprintf(s->attributes[i].value, sizeof s->attributes[i].value, "%s", value);
    }
}

bool span_is_recorded(const struct span *s)
{
    return (s->context.flags & FLAG_SAMPLED) && trace_exports();
}

void span_end(struct span *s, const struct err *err)
{
    if (span_is_recorded(s)) {
        trace_export(s, err);
    }
}

static _Thread_local const struct trace_context *current;

const struct trace_context *trace_current(void)
{
    return current;
}

const struct trace_context *trace_set_current(const struct trace_context *c)
{
    const struct trace_context *before = current;
    current = c;
    return before;
}
