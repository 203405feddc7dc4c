/* Checks that several requests share. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/requests.h"

int request_ids(char *const texts[], size_t n, size_t most, struct arena *arena,
                struct uuid_list *ret, struct err *err)
{
    if (n == 0)
        return err_set(err, ERR_REJECT, "missing-id", "read request",
                       "ids: at least one is needed");
    if (n > most)
        return err_set(err, ERR_REJECT, "too-many", "read request", "ids: at most %zu, got %zu",
                       most, n);
    struct uuid *ids = arena_array(arena, n, sizeof(*ids));
    if (!ids)
        return err_set(err, ERR_RETRY, "no-memory", "read request", "arena is full");
    for (size_t i = 0; i < n; i++) {
        if (!uuid_parse(view_of(texts[i]), &ids[i]))
            return err_set(err, ERR_REJECT, "bad-uuid", "read request", "ids[%zu] is no UUID", i);
    }
    *ret = (struct uuid_list){ids, n};
    return 0;
}

int request_kind(const char *text, const struct kind **ret, struct err *err)
{
    const struct kind *kind = kind_by_name(view_of(text));
    if (!kind)
        return err_set(err, ERR_REJECT, "bad-kind", "read request",
                       "kind must be anime, character or episode");
    *ret = kind;
    return 0;
}

char *request_uuid_text(struct arena *arena, struct uuid id)
{
    char *text = arena_alloc(arena, UUID_TEXT);
    if (text)
        uuid_format(id, text);
    return text;
}
