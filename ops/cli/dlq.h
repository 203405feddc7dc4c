/* What the verbs of `echora dlq` share: which letters are meant, and how they are shown. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/gen/ops.pb-c.h"
#include "ops/cli/cli.h"

struct dlq_filter {
    const char *consumer, *class, *code, *fingerprint, *entity, *state;
    int64_t from, to, since_ms;
    bool parked;
};

/* First member of the verb's options. */
#define DLQ_FILTER_AT(member) offsetof(struct dlq_filter, member)
#define DLQ_FILTER_OPTIONS                                                                         \
    {.name = "consumer",                                                                           \
     .kind = OPT_STRING,                                                                           \
     .offset = DLQ_FILTER_AT(consumer),                                                            \
     .placeholder = "NAME",                                                                        \
     .help = "Only what this consumer gave up."},                                                  \
        {.name = "class",                                                                          \
         .kind = OPT_ENUM,                                                                         \
         .offset = DLQ_FILTER_AT(class),                                                           \
         .default_text = "any",                                                                    \
         .choices = "any|reject|retry-exhausted|crash|expired",                                    \
         .placeholder = "CLASS",                                                                   \
         .help = "Only letters of this class."},                                                   \
        {.name = "code",                                                                           \
         .kind = OPT_STRING,                                                                       \
         .offset = DLQ_FILTER_AT(code),                                                            \
         .placeholder = "CODE",                                                                    \
         .help = "Only letters of this error code."},                                              \
        {.name = "fingerprint",                                                                    \
         .kind = OPT_STRING,                                                                       \
         .offset = DLQ_FILTER_AT(fingerprint),                                                     \
         .placeholder = "HEX",                                                                     \
         .help = "Only letters of one group, as `dlq list --groups` names it."},                   \
        {.name = "entity",                                                                         \
         .kind = OPT_STRING,                                                                       \
         .offset = DLQ_FILTER_AT(entity),                                                          \
         .placeholder = "ID",                                                                      \
         .help = "Only letters about this entity."},                                               \
        {.name = "from",                                                                           \
         .kind = OPT_INT,                                                                          \
         .offset = DLQ_FILTER_AT(from),                                                            \
         .default_text = "0",                                                                      \
         .max = INT64_MAX,                                                                         \
         .placeholder = "SEQ",                                                                     \
         .help = "Only from this sequence of ANIME_DLQ on."},                                      \
        {.name = "to",                                                                             \
         .kind = OPT_INT,                                                                          \
         .offset = DLQ_FILTER_AT(to),                                                              \
         .default_text = "0",                                                                      \
         .max = INT64_MAX,                                                                         \
         .placeholder = "SEQ",                                                                     \
         .help = "Only up to this sequence; 0 = no limit."},                                       \
        {.name = "since",                                                                          \
         .kind = OPT_DURATION,                                                                     \
         .offset = DLQ_FILTER_AT(since_ms),                                                        \
         .default_text = "0",                                                                      \
         .max = 365LL * 86400 * 1000,                                                              \
         .placeholder = "TIME",                                                                    \
         .help = "Only what failed within this time, such as 24h; 0 = no limit."},                 \
        {.name = "state",                                                                          \
         .kind = OPT_ENUM,                                                                         \
         .offset = DLQ_FILTER_AT(state),                                                           \
         .default_text = "open",                                                                   \
         .choices = "open|replayed|discarded|all",                                                 \
         .placeholder = "STATE",                                                                   \
         .help = "Letters in this state.",                                                         \
         .not_in_environment = true}, /* ECHORA_STATE is where ops/up keeps its things */          \
    {                                                                                              \
        .name = "parked", .kind = OPT_BOOL, .offset = DLQ_FILTER_AT(parked),                       \
        .default_text = "false", .help = "Also parked ones, which failed three replays."           \
    }

/* NULL when the arena is full. */
Echora__Ops__V1__DlqFilter *dlq_filter_message(const struct dlq_filter *filter,
                                               struct arena *arena);
/* Limits nothing but state and parked. */
bool dlq_filter_is_empty(const struct dlq_filter *filter);
/* One document of canonical JSON on standard output. */
MUST_CHECK int dlq_print_json(const struct cli *cli, const ProtobufCMessage *message,
                              struct err *err);
void dlq_print_letters(const struct cli *cli, Echora__Ops__V1__DlqLetter *const letters[],
                       size_t n);
void dlq_print_groups(const struct cli *cli, Echora__Ops__V1__DlqGroup *const groups[], size_t n);
void dlq_print_plan(const struct cli *cli, const Echora__Ops__V1__DlqPlan *plan);
