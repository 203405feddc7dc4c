/* The chain as Qdrant knows it. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/json.h"
#include "ops/cli/chain.h"
#include "ops/cli/points.h"

static void copy(char *out, size_t size, const json_t *value)
{
    const char *text = json_string_value(value);

    (void)snprintf(out, size, "%s", text ? text : "");
}

int chain_point(struct cli *cli, struct uuid id, struct chain_point *ret, struct err *err)
{
    char text[UUID_TEXT], body[256];
    json_t *result = NULL;

    uuid_format(id, text);
    (void)snprintf(body, sizeof(body),
                   "{\"ids\":[\"%s\"],\"with_payload\":[\"rev\",\"emb\",\"deleted\",\"trace\"],"
                   "\"with_vector\":false}",
                   text);
    if (points_call(cli, "POST", "/points", view_of(body), &result, err) < 0)
        return -1;
    const json_t *payload = json_object_get(json_array_get(result, 0), "payload");
    *ret = (struct chain_point){
        .found = payload != NULL,
        .deleted = json_is_true(json_object_get(payload, "deleted")),
        .rev = json_integer_value(json_object_get(payload, "rev")),
    };
    copy(ret->emb, sizeof(ret->emb), json_object_get(payload, "emb"));
    copy(ret->trace_id, sizeof(ret->trace_id), json_object_get(payload, "trace"));
    json_decref(result);
    return 0;
}

int chain_count(struct cli *cli, const char *entity_type, int64_t *ret, struct err *err)
{
    char body[512];
    json_t *result = NULL;

    (void)snprintf(body, sizeof(body),
                   "{\"filter\":{\"must\":[{\"key\":\"entity_type\",\"match\":{\"value\":\"%s\"}}],"
                   "\"must_not\":[{\"key\":\"deleted\",\"match\":{\"value\":true}}]},"
                   "\"exact\":true}",
                   entity_type);
    if (points_call(cli, "POST", "/points/count", view_of(body), &result, err) < 0)
        return -1;
    *ret = json_integer_value(json_object_get(result, "count"));
    json_decref(result);
    return 0;
}
