/* What is remembered of a good token, and each thing that ends it. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/verified.h"
#include "test/unit/check.h"

#define NOW INT64_C(1800000000)

static const uint8_t token[SHA256_SIZE] = {1, 2, 3}, other[SHA256_SIZE] = {2, 2, 3},
                     same_place[SHA256_SIZE] = {1, 2, 4};

struct fixture {
    struct verified *verified;
    struct keyset *keys;
    struct clients *clients;
};

static struct clients *some_clients(void)
{
    struct clients *clients = NULL;
    struct err err = ERR_INIT;

    CHECK(clients_parse(VIEW_LIT("{\"clients\":[{\"id\":\"n8n\",\"scopes\":[\"workflow.read\"]}]}"),
                        &clients, &err) == 0);
    return clients;
}

static bool finds(const struct fixture *f, const uint8_t hash[static SHA256_SIZE], int64_t now_s)
{
    struct caller caller = {.client = ""};
    const bool found = verified_find(f->verified, hash, f->keys, f->clients, now_s, &caller);

    CHECK(!found || (strcmp(caller.client, "n8n") == 0 && caller.scopes == SCOPE_READ));
    return found;
}

static void keep(const struct fixture *f, const uint8_t hash[static SHA256_SIZE])
{
    const struct caller caller = {
        .client = "n8n", .scopes = SCOPE_READ, .from_s = NOW, .until_s = NOW + 600};

    verified_keep(f->verified, hash, f->keys, f->clients, &caller);
}

static struct fixture set_up(void)
{
    const struct fixture f = {verified_new(), keyset_new(), some_clients()};

    CHECK(!finds(&f, token, NOW));
    keep(&f, token);
    CHECK(finds(&f, token, NOW));
    return f;
}

static void tear_down(struct fixture *f)
{
    keyset_unref(f->keys);
    clients_unref(f->clients);
    verified_free(f->verified);
}

static void test_times(void)
{
    struct fixture f = set_up();

    CHECK(finds(&f, token, NOW + 599));
    CHECK(!finds(&f, token, NOW + 600));
    CHECK(!finds(&f, token, NOW - 1));
    CHECK(finds(&f, token, NOW));
    tear_down(&f);
}

static void test_other_tokens(void)
{
    struct fixture f = set_up();

    CHECK(!finds(&f, other, NOW));
    CHECK(!finds(&f, same_place, NOW));
    keep(&f, same_place);
    CHECK(finds(&f, same_place, NOW) && !finds(&f, token, NOW));
    tear_down(&f);
}

static void test_other_keys(void)
{
    struct fixture f = set_up();
    struct keyset *before = f.keys;

    f.keys = keyset_new();
    CHECK(!finds(&f, token, NOW));
    keyset_unref(before);
    keep(&f, token);
    CHECK(finds(&f, token, NOW));
    tear_down(&f);
}

static void test_other_clients(void)
{
    struct fixture f = set_up();

    clients_unref(f.clients);
    f.clients = some_clients();
    CHECK(!finds(&f, token, NOW));
    tear_down(&f);
}

/* A slow thread: meanwhile others have newer keys. */
static void test_late(void)
{
    struct fixture f = set_up(), old = f;

    f.keys = keyset_new();
    CHECK(!finds(&f, other, NOW));
    keep(&old, other);
    CHECK(!finds(&f, other, NOW));
    keyset_unref(old.keys);
    tear_down(&f);
}

int main(void)
{
    RUN(test_times);
    RUN(test_other_tokens);
    RUN(test_other_keys);
    RUN(test_other_clients);
    RUN(test_late);
    return check_result();
}
