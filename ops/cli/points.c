// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/points.h"

#include "contracts/json.h"

#define REPLY_MAX (64u << 20)

static int call(struct cli *cli, const char *method, const char *path, struct view body,
                json_t **ret, struct err *err)
{
    struct http_reply reply;
    struct http *http;

    if (cli_qdrant(cli, &http, err) < 0)
        return -1;
    http_reply_init(&reply, REPLY_MAX);
    int r = http_call(http, method, path, body.n ? "application/json" : NULL, body, &reply, err);
    if (r == 0)
        r = json_parse(buf_view(&reply.body), ret, err);
    http_reply_deinit(&reply);
    return r;
}

int points_call(struct cli *cli, const char *method, const char *path, struct view body,
                json_t **ret, struct err *err)
{
    json_t *reply = NULL;
    const char *full = arena_printf(cli->arena, "/collections/%s%s", INDEX_ALIAS, path);

    if (call(cli, method, full, body, &reply, err) < 0)
        return -1;
    *ret = json_incref(json_object_get(reply, "result"));
    json_decref(reply);
    if (!*ret)
        return err_set_dep(err, ERR_RETRY, DEP_QDRANT, "http-reply", "ask Qdrant",
                           "a reply without result");
    return 0;
}

int points_get(struct cli *cli, const char *path, json_t **ret, struct err *err)
{
    return call(cli, "GET", path, (struct view){0}, ret, err);
}
