// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/jetstream.h"

#include <stdlib.h>

int jetstream_call(struct cli *cli, struct bus *bus, const char *subject, const json_t *request,
                   json_t **ret, struct err *err)
{
    char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
    const char *full = arena_printf(cli->arena, "$JS.API.%s", subject);
    int r = bus_js_api(bus, full, view_of(body), ret, err);

    free(body);
    return r;
}

int jetstream_api_level(struct cli *cli, struct bus *bus, int64_t *ret, struct err *err)
{
    json_t *reply = NULL;

    if (jetstream_call(cli, bus, "INFO", NULL, &reply, err) < 0)
        return -1;
    *ret = json_integer_value(json_object_get(json_object_get(reply, "api"), "level"));
    json_decref(reply);
    return 0;
}
