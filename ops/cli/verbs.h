/* Every verb's row; verbs.c puts them in order. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "ops/cli/cli.h"

extern const struct verb verb_contracts_asyncapi, verb_contracts_openapi;
extern const struct verb verb_contracts_schema;
extern const struct verb verb_decode;
extern const struct verb verb_delete;
extern const struct verb verb_dev_issuer;
extern const struct verb verb_dlq_discard;
extern const struct verb verb_dlq_list;
extern const struct verb verb_dlq_replay;
extern const struct verb verb_dlq_show;
extern const struct verb verb_dlq_status;
extern const struct verb verb_doctor;
extern const struct verb verb_follow;
extern const struct verb verb_get;
extern const struct verb verb_import_manami;
extern const struct verb verb_migrate;
extern const struct verb verb_pause;
extern const struct verb verb_publish;
extern const struct verb verb_reconcile;
extern const struct verb verb_reference_codes;
extern const struct verb verb_reference_completion;
extern const struct verb verb_reference_man;
extern const struct verb verb_reference_metrics;
extern const struct verb verb_reference_options;
extern const struct verb verb_reference_subjects;
extern const struct verb verb_reindex;
extern const struct verb verb_restore;
extern const struct verb verb_resume;
extern const struct verb verb_review_approve;
extern const struct verb verb_review_list;
extern const struct verb verb_review_reject;
extern const struct verb verb_review_show;
extern const struct verb verb_search;
extern const struct verb verb_status;
extern const struct verb verb_streams_apply;
extern const struct verb verb_streams_check;
extern const struct verb verb_streams_plan;
extern const struct verb verb_validate;
extern const struct verb verb_webhook_deliveries;
extern const struct verb verb_webhook_enable;
extern const struct verb verb_webhook_replay;
extern const struct verb verb_webhook_routes;
extern const struct verb verb_webhook_test;
