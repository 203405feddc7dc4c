// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "contracts/registry.h"
#include "ops/cli/asyncapi.h"
#include "ops/cli/openapi.h"
#include "ops/cli/verbs.h"

static int print(json_t *document, struct err *err)
{
    char *text = json_dumps(document, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));

    json_decref(document);
    if (!text)
        return err_set(err, ERR_RETRY, "no-memory", "describe", "out of memory");
    printf("%s\n", text);
    free(text);
    return CLI_OK;
}

static int run(struct cli *cli, struct err *err)
{
    (void)cli;
    return print(asyncapi_document(), err);
}

static int run_openapi(struct cli *cli, struct err *err)
{
    (void)cli;
    json_t *document = openapi_document();
    return document != NULL ? print(document, err)
                            : err_set(err, ERR_RETRY, "no-memory", "describe", "out of memory");
}

/* "echora.ops.v1.DlqListRequest" has version "v1". */
static const char *version_of(const ProtobufCMessageDescriptor *type, char out[static 16])
{
    const size_t package = strlen(type->package_name);
    const char *dot = strrchr(type->package_name, '.');

    snprintf(out, 16, "%.*s", (int)(package - (size_t)(dot + 1 - type->package_name)), dot + 1);
    return out;
}

static int run_schema(struct cli *cli, struct err *err)
{
    const struct subject_def *def = registry_subject(view_of(cli->args[0]));
    const bool request = strcmp(cli->args[1], "request") == 0;
    char id[160], title[160], version[16];

    if (!request && strcmp(cli->args[1], "answer") != 0)
        return cli_usage(err, "%s is neither request nor answer", cli->args[1]);
    if (!def || def->kind != SUBJECT_REQUEST)
        return cli_usage(err, "%s is no request", cli->args[0]);
    const ProtobufCMessageDescriptor *type = request ? def->message : def->reply;
    if (!type)
        return cli_usage(err, "the request of %s is any event", cli->args[0]);
    snprintf(id, sizeof(id), "urn:echora:%s:%s:%s", def->subject, cli->args[1],
             version_of(type, version));
    snprintf(title, sizeof(title), "%s, %s, %s", def->subject, cli->args[1], version);
    return print(json_schema_document(type, id, title), err);
}

const struct verb verb_contracts_asyncapi = {
    .name = "contracts asyncapi",
    .args = "",
    .summary = "the AsyncAPI 3 document of every subject",
    .details =
        "Made from the registry and the compiled descriptors; contracts/asyncapi.json is its "
        "output.",
    .example = "echora contracts asyncapi > asyncapi.json",
    .run = run,
};

const struct verb verb_contracts_openapi = {
    .name = "contracts openapi",
    .args = "",
    .summary = "the OpenAPI 3.1 document of the Command API",
    .details = "Made from its route table; contracts/openapi.json is its output.",
    .example = "echora contracts openapi > openapi.json",
    .run = run_openapi,
};

const struct verb verb_contracts_schema = {
    .name = "contracts schema",
    .args = "SUBJECT request|answer",
    .summary = "the JSON Schema of a request or its answer",
    .details = "Draft 2020-12, standing alone; contracts/schemas holds those of dead letters. "
               "Members with their default value are left out of answers, so none is required.",
    .example = "echora contracts schema dlq.list answer",
    .min_args = 2,
    .max_args = 2,
    .run = run_schema,
};
