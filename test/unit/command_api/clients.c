// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/clients.h"

#include "test/unit/check.h"

static void test_a_table(void)
{
    static const char text[] =
        "{\"clients\": [{\"id\": \"n8n\", \"scopes\": [\"workflow.read\", \"workflow.execute\"]},"
        "{\"id\": \"desk\", \"scopes\": [\"workflow.approve\"], \"limits\": {\"approve\": 7}},"
        "{\"id\": \"idle\", \"scopes\": []}]}";
    struct err err = ERR_INIT;
    struct clients *clients;

    REQUIRE(clients_parse(VIEW_LIT(text), &clients, &err) == 0);
    CHECK_EQ_INT(clients_count(clients), 3);
    const struct client *n8n = clients_find(clients, VIEW_LIT("n8n"));
    REQUIRE(n8n != NULL);
    CHECK_EQ_INT(n8n->scopes, SCOPE_READ | SCOPE_EXECUTE);
    CHECK_EQ_INT(n8n->limits.read, 300);
    CHECK_EQ_INT(n8n->limits.approve, 60);
    const struct client *desk = clients_find(clients, VIEW_LIT("desk"));
    REQUIRE(desk != NULL);
    CHECK_EQ_INT(desk->scopes, SCOPE_APPROVE);
    CHECK_EQ_INT(desk->limits.approve, 7);
    CHECK_EQ_INT(desk->limits.execute, 60);
    CHECK(clients_find(clients, VIEW_LIT("idle"))->scopes == 0);
    CHECK(clients_find(clients, VIEW_LIT("")) == NULL);
    CHECK(clients_find(clients, VIEW_LIT("n8")) == NULL);
    CHECK(clients_find(clients, VIEW_LIT("n8nn")) == NULL);
    struct clients *again = clients_ref(clients);
    clients_unref(clients);
    CHECK(clients_find(again, VIEW_LIT("desk")) != NULL);
    clients_unref(again);
}

static void test_an_empty_table(void)
{
    struct err err = ERR_INIT;
    struct clients *clients;

    REQUIRE(clients_parse(VIEW_LIT("{\"clients\":[]}"), &clients, &err) == 0);
    CHECK(clients_find(clients, VIEW_LIT("n8n")) == NULL);
    clients_unref(clients);
}

static void test_scopes(void)
{
    CHECK_EQ_INT(scope_find(VIEW_LIT("workflow.read")), 1);
    CHECK_EQ_INT(scope_find(VIEW_LIT("workflow.execute")), 2);
    CHECK_EQ_INT(scope_find(VIEW_LIT("workflow.approve")), 4);
    CHECK_EQ_INT(scope_find(VIEW_LIT("")), 0);
    CHECK_EQ_INT(scope_find(VIEW_LIT("workflow.rea")), 0);
    CHECK_EQ_INT(scope_find((struct view){NULL, 0}), 0);
}

/* Beside those of test/integration/test_tokens.py, which compares the texts. */
static void test_refused(void)
{
    static const char *const texts[] = {
        "",
        "x",
        "null",
        "{\"clients\":null}",
        "{\"clients\":[null]}",
        "{\"clients\":[{\"id\":\"a\\u0007\",\"scopes\":[]}]}",
        "{\"clients\":[{\"id\":\"\\u00e9\",\"scopes\":[]}]}",
        "{\"clients\":[{\"id\":\"a\",\"scopes\":[null]}]}",
        "{\"clients\":[{\"id\":\"a\",\"scopes\":[],\"limits\":null}]}"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err err = ERR_INIT;
        struct clients *clients = NULL;

        CHECK_ROW(clients_parse(view_of(texts[i]), &clients, &err) < 0 && clients == NULL,
                  texts[i]);
        CHECK_STR(err.code, "config");
        CHECK_EQ_INT(err.class, ERR_FATAL);
    }
}

int main(void)
{
    RUN(test_a_table);
    RUN(test_an_empty_table);
    RUN(test_scopes);
    RUN(test_refused);
    return check_result();
}
