// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/verbs.h"

const struct verb *const cli_verbs[] = {
    &verb_publish,       &verb_validate,     &verb_decode,
    &verb_import_manami, &verb_streams_plan, &verb_streams_apply,
    &verb_streams_check, &verb_migrate,      NULL,
};
