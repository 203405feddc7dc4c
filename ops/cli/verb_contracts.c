// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "ops/cli/asyncapi.h"
#include "ops/cli/verbs.h"

static int run(struct cli *cli, struct err *err)
{
    json_t *document = asyncapi_document();
    char *text = json_dumps(document, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));

    (void)cli;
    json_decref(document);
    if (!text)
        return err_set(err, ERR_RETRY, "no-memory", "describe", "out of memory");
    printf("%s\n", text);
    free(text);
    return CLI_OK;
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
