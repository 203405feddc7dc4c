// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/verbs.h"

const struct verb *const cli_verbs[] = {
    &verb_publish,
    &verb_validate,
    &verb_decode,
    &verb_get,
    &verb_delete,
    &verb_restore,
    &verb_import_manami,
    &verb_status,
    &verb_follow,
    &verb_search,
    &verb_pause,
    &verb_resume,
    &verb_reconcile,
    &verb_streams_plan,
    &verb_streams_apply,
    &verb_streams_check,
    &verb_migrate,
    &verb_doctor,
    &verb_contracts_asyncapi,
    &verb_reference_options,
    &verb_reference_metrics,
    &verb_reference_codes,
    &verb_reference_subjects,
    NULL,
};
