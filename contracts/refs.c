/* URL to reference: take the URL apart, find the host's first matching row, else write it plainly.
 *
 * The rows are generated from hosts.csv. There are about a hundred, and hosts differ in their first
 * bytes, so a linear search is as fast as any. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/refs.h"

#include <stdlib.h>
#include <strings.h>

enum names { NAMES_ONE, NAMES_MANY, NAMES_ALIAS, NAMES_NONE };

static const struct rule {
    const char *host, *path, *query, *reference;
    enum names names;
} rules[] = {
#include "contracts/hosts.inc"
};

/* Longest query that is sorted; more parameters than that are no address. */
#define MAX_PARAMETERS 32

/* Fixed output, sticky overflow. */
struct out {
    char p[REF_MAX];
    size_t n;
    bool full;
};

static void put(struct out *o, struct view v)
{
    if (v.n > sizeof(o->p) - o->n) {
        o->full = true;
        return;
    }
    if (v.n)
        memcpy(o->p + o->n, v.p, v.n);
    o->n += v.n;
}

struct url {
    struct view host, path, query; /* path without trailing slashes */
    char host_text[254];
};

static struct view skip(struct view v, size_t n)
{
    return (struct view){v.p + n, v.n - n};
}

/* Splits off what follows c, c included; *ret_rest is empty when there is none. */
static struct view cut(struct view v, char c, struct view *ret_rest)
{
    const char *at = v.n ? memchr(v.p, c, v.n) : NULL;
    size_t n = at ? (size_t)(at - v.p) : v.n;
    *ret_rest = skip(v, n);
    return (struct view){v.p, n};
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
           (c & 0x80); /* international names, as written */
}

static const char *alias_of(const char *host)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].names == NAMES_ALIAS && strcmp(rules[i].host, host) == 0)
            return rules[i].reference;
    }
    return NULL;
}

/* Lower case, without "www.", default ports and a final dot, aliases folded. */
static bool read_host(struct view authority, struct url *url)
{
    struct view port, host = cut(authority, ':', &port);
    if (port.n && !view_is(port, ":") && !view_is(port, ":80") && !view_is(port, ":443"))
        host = authority;
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n > 4 && strncasecmp(host.p, "www.", 4) == 0)
        host = skip(host, 4);
    if (!host.n || host.n >= sizeof(url->host_text))
        return false;
    bool dot = false;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] | 0x20) : host.p[i];
        if (!is_host_char(c) && !(c == ':' && host.n == authority.n))
            return false;
        dot = dot || (c == '.' && i > 0);
        url->host_text[i] = c;
    }
    url->host_text[host.n] = 0;
    const char *alias = alias_of(url->host_text);
    url->host = alias ? view_of(alias) : (struct view){url->host_text, host.n};
    return dot;
}

/* A scheme is optional, so that "myanimelist.net/anime/1" works as well. */
static bool read_url(struct view text, struct url *url)
{
    if (text.n >= 8 && strncasecmp(text.p, "https://", 8) == 0)
        text = skip(text, 8);
    else if (text.n >= 7 && strncasecmp(text.p, "http://", 7) == 0)
        text = skip(text, 7);
    struct view fragment, query, path;
    text = cut(text, '#', &fragment);
    text = cut(text, '?', &query);
    struct view authority = cut(text, '/', &path);
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    url->path = path;
    url->query = query.n ? skip(query, 1) : query;
    return read_host(authority, url);
}

/* "mal:anime:1", "url:example.org/x": a lower-case word, a colon, and for providers another such.
 */
static bool is_reference(struct view text)
{
    struct view provider, kind;
    if (view_starts_with(text, "url:"))
        return text.n > 4 && text.p[4] != '/';
    if (!view_split(&text, ':', &provider) || !view_split(&text, ':', &kind) || !text.n)
        return false;
    const struct view words[] = {provider, kind};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!words[i].n)
            return false;
        for (size_t j = 0; j < words[i].n; j++) {
            char c = words[i].p[j];
            if (!(c >= 'a' && c <= 'z') && !(j && ((c >= '0' && c <= '9') || c == '-' || c == '_')))
                return false;
        }
    }
    return true;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (c & 0x80);
}

/* The id at the start of text, which ends there or goes on with at most one segment, a name. */
static bool read_id(const char *placeholder, struct view text, struct view *ret)
{
    size_t n = 0;
    if (strcmp(placeholder, "{number}") == 0) {
        while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
            n++;
        if (n < text.n && is_word(text.p[n]))
            return false;
        *ret = (struct view){text.p, n};
        while (ret->n > 1 && ret->p[0] == '0')
            *ret = skip(*ret, 1);
    } else {
        *ret = cut(text, '/', &(struct view){0});
        n = ret->n;
    }
    struct view tail = skip(text, n), more;
    if (tail.n && tail.p[0] == '/')
        tail = skip(tail, 1);
    cut(tail, '/', &more);
    return n > 0 && more.n == 0;
}

static bool match_path(const char *pattern, struct view path, struct view *ret_id)
{
    const char *placeholder = strchr(pattern, '{');
    size_t n = placeholder ? (size_t)(placeholder - pattern) : strlen(pattern);
    if (path.n < n || memcmp(path.p, pattern, n) != 0)
        return false;
    if (placeholder)
        return read_id(placeholder, skip(path, n), ret_id);
    return path.n == n;
}

/* Every parameter of the pattern is there; the order doesn't count. */
static bool match_query(const char *pattern, struct view query, struct view *ret_id)
{
    struct view rest = view_of(pattern), want;
    while (view_split(&rest, '&', &want)) {
        struct view left = query, have, value;
        struct view name = cut(want, '=', &value);
        bool found = false;
        while (!found && view_split(&left, '&', &have)) {
            struct view given;
            if (!view_eq(cut(have, '=', &given), name) || given.n < 2)
                continue;
            if (view_is(value, "={number}"))
                found = read_id("{number}", skip(given, 1), ret_id);
            else
                found = view_eq(given, value);
        }
        if (!found)
            return false;
    }
    return true;
}

static bool match_list(const char *path, struct view given)
{
    size_t n = strlen(path);
    return given.n >= n && memcmp(given.p, path, n) == 0 && (given.n == n || given.p[n] == '/');
}

static const struct rule *find_rule(const struct url *url, struct view *ret_id)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct rule *r = &rules[i];
        if (r->names == NAMES_ALIAS || !view_is(url->host, r->host))
            continue;
        if (r->names == NAMES_NONE) {
            if (match_list(r->path, url->path))
                return NULL;
        } else if (match_path(r->path, url->path, ret_id) &&
                   (!r->query || match_query(r->query, url->query, ret_id))) {
            return r;
        }
    }
    return NULL;
}

static int view_cmp(const void *a, const void *b)
{
    const struct view *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static bool is_tracking(struct view parameter)
{
    static const char *const names[] = {"fbclid", "gclid", "igshid", "msclkid"};
    struct view value, name = cut(parameter, '=', &value);
    if (view_starts_with(name, "utm_"))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (view_is(name, names[i]))
            return true;
    }
    return false;
}

static void put_query(struct out *o, struct view query)
{
    struct view parameters[MAX_PARAMETERS], one;
    size_t n = 0;
    while (view_split(&query, '&', &one)) {
        if (!one.n || is_tracking(one))
            continue;
        if (n == ARRAY_LEN(parameters)) {
            o->full = true;
            return;
        }
        parameters[n++] = one;
    }
    if (n)
        qsort(parameters, n, sizeof(*parameters), view_cmp);
    for (size_t i = 0; i < n; i++) {
        put(o, i ? VIEW_LIT("&") : VIEW_LIT("?"));
        put(o, parameters[i]);
    }
}

static bool is_clean(struct view text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f)
            return false;
    }
    return text.n > 0;
}

static bool write_reference(struct view source, struct out *o)
{
    struct url url;
    struct view id = {0};
    if (is_reference(source)) {
        put(o, source);
        return true;
    }
    if (!read_url(source, &url))
        return false;
    const struct rule *rule = find_rule(&url, &id);
    if (rule) {
        put(o, view_of(rule->reference));
        put(o, VIEW_LIT(":"));
        put(o, id);
        return true;
    }
    put(o, VIEW_LIT("url:"));
    put(o, url.host);
    put(o, url.path);
    put_query(o, url.query);
    return true;
}

int ref_from_source(struct view source, struct arena *arena, struct view *ret_ref, struct err *err)
{
    struct out o = {.n = 0};
    source = view_trim(source);
    if (!is_clean(source))
        return err_set(err, ERR_REJECT, "bad-reference", "read source",
                       "empty, or holds spaces or control characters");
    if (!write_reference(source, &o))
        return err_set(err, ERR_REJECT, "bad-reference", "read source", "no URL and no reference");
    if (o.full)
        return err_set(err, ERR_REJECT, "bad-reference", "read source", "longer than %d bytes",
                       REF_MAX);
    char *p = arena_strdup(arena, (struct view){o.p, o.n});
    if (!p)
        return err_set(err, ERR_RETRY, "no-memory", "read source", "the arena is full");
    *ret_ref = (struct view){p, o.n};
    return 0;
}

struct view ref_provider(struct view ref)
{
    struct view rest;
    return cut(ref, ':', &rest);
}

bool ref_names_one(struct view ref)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].names == NAMES_MANY && view_starts_with(ref, rules[i].reference) &&
            ref.n > strlen(rules[i].reference) && ref.p[strlen(rules[i].reference)] == ':')
            return false;
    }
    return true;
}
