// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/scgi.h"

#define LENGTH_DIGITS_MAX 5 /* of SCGI_NETSTRING_MAX */
#define CONTENT_DIGITS_MAX 15

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The netstring's content. SCGI_DONE: it is there whole, with its comma. */
static enum scgi_result netstring(struct view in, struct view *ret)
{
    size_t n = 0, digits = 0;

    while (digits < in.n && is_digit(in.p[digits])) {
        if (digits == LENGTH_DIGITS_MAX)
            return SCGI_TOO_LARGE;
        n = n * 10 + (size_t)(in.p[digits++] - '0');
    }
    if (digits == in.n)
        return SCGI_MORE;
    if (in.p[digits] != ':' || digits == 0 || (in.p[0] == '0' && digits > 1))
        return SCGI_BAD;
    if (n > SCGI_NETSTRING_MAX)
        return SCGI_TOO_LARGE;
    if (in.n - digits - 1 < n + 1)
        return SCGI_MORE;
    if (in.p[digits + 1 + n] != ',')
        return SCGI_BAD;
    *ret = (struct view){in.p + digits + 1, n};
    return SCGI_DONE;
}

/* Takes text up to the next NUL. */
static bool take(struct view *rest, struct view *ret)
{
    const char *end = rest->n > 0 ? memchr(rest->p, '\0', rest->n) : NULL;

    if (end == NULL)
        return false;
    *ret = (struct view){rest->p, (size_t)(end - rest->p)};
    *rest = (struct view){end + 1, rest->n - ret->n - 1};
    return true;
}

static bool is_http(struct view name)
{
    return view_starts_with(name, "HTTP_");
}

/* Variables of the gateway; and names of fields, which may have any character of a token (RFC
 * 9110), put in capitals by the gateway. */
static bool is_name(struct view name)
{
    const char *more = is_http(name) ? "_!#$%&'*+-.^`|~" : "_";

    for (size_t i = 0; i < name.n; i++) {
        const char c = name.p[i];

        if (!((c >= 'A' && c <= 'Z') || is_digit(c) || (c != '\0' && strchr(more, c) != NULL)))
            return false;
    }
    return name.n > 0;
}

static bool is_value(struct view value)
{
    for (size_t i = 0; i < value.n; i++) {
        const unsigned char c = (unsigned char)value.p[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool has(const struct scgi_head *head, struct view name)
{
    for (size_t i = 0; i < head->n; i++) {
        if (view_eq(head->fields[i].name, name))
            return true;
    }
    return false;
}

struct counts {
    size_t http, own, bytes;
};

static enum scgi_result count(struct counts *c, const struct scgi_field *field)
{
    if (is_http(field->name)) {
        c->http++;
        c->bytes += field->name.n - (sizeof("HTTP_") - 1) + field->value.n;
    } else {
        c->own++;
    }
    return c->http > SCGI_FIELDS_MAX || c->own > SCGI_OWN_MAX || c->bytes > SCGI_HEAD_MAX
               ? SCGI_TOO_LARGE
               : SCGI_DONE;
}

static enum scgi_result read_fields(struct view rest, struct scgi_head *ret)
{
    struct counts counts = {0};

    while (rest.n > 0) {
        struct scgi_field field;

        if (!take(&rest, &field.name) || !take(&rest, &field.value) || !is_name(field.name) ||
            !is_value(field.value) || (!is_http(field.name) && has(ret, field.name)))
            return SCGI_BAD;
        if (count(&counts, &field) != SCGI_DONE)
            return SCGI_TOO_LARGE;
        ret->fields[ret->n++] = field;
    }
    return SCGI_DONE;
}

static bool read_length(struct view text, int64_t *ret)
{
    if (text.n == 0 || text.n > CONTENT_DIGITS_MAX)
        return false;
    *ret = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return false;
        *ret = *ret * 10 + (text.p[i] - '0');
    }
    return true;
}

static bool check(struct scgi_head *head)
{
    const struct view body = scgi_variable(head, "BODY_LENGTH");
    int64_t sent;

    if (head->n == 0 || !view_is(head->fields[0].name, "CONTENT_LENGTH") ||
        !read_length(head->fields[0].value, &sent) || !view_is(scgi_variable(head, "SCGI"), "1"))
        return false;
    head->content_length = sent;
    return body.n == 0 ||
           (read_length(body, &head->content_length) && sent <= head->content_length);
}

enum scgi_result scgi_read(struct view in, struct scgi_head *ret)
{
    struct view content;
    enum scgi_result result = netstring(in, &content);

    if (result != SCGI_DONE)
        return result;
    ret->n = 0;
    result = read_fields(content, ret);
    if (result != SCGI_DONE)
        return result;
    ret->size = (size_t)(content.p + content.n + 1 - in.p);
    return check(ret) ? SCGI_DONE : SCGI_BAD;
}

bool scgi_only(const struct scgi_head *head, const char *name, struct view *ret)
{
    bool found = false;

    *ret = (struct view){0};
    for (size_t i = 0; i < head->n; i++) {
        if (!view_is(head->fields[i].name, name))
            continue;
        if (found)
            return false;
        found = true;
        *ret = head->fields[i].value;
    }
    return true;
}

struct view scgi_variable(const struct scgi_head *head, const char *name)
{
    for (size_t i = 0; i < head->n; i++) {
        if (view_is(head->fields[i].name, name))
            return head->fields[i].value;
    }
    return (struct view){0};
}
