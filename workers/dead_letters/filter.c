// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/filter.h"

static const DlqFilter no_limits = ECHORA__OPS__V1__DLQ_FILTER__INIT;

int filter_check(const DlqFilter *f, struct err *err)
{
    static const char *const states[] = {"", "open", "replayed", "discarded", "all"};
    if (f == NULL)
        return 0;
    if (f->from_sequence > INT64_MAX || f->to_sequence > INT64_MAX)
        return err_set(err, ERR_REJECT, "bad-filter", "filter", "a sequence is out of range");
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(f->state, states[i]) == 0)
            return 0;
    }
    return err_set(err, ERR_REJECT, "bad-filter", "filter",
                   "state is none of open, replayed, discarded, all");
}

static struct pg_param text_or_null(const char *text)
{
    return text[0] != '\0' ? pg_text(view_of(text)) : pg_null();
}

static int64_t micros(const Google__Protobuf__Timestamp *t)
{
    return t->seconds * 1000000 + t->nanos / 1000;
}

void filter_params(const DlqFilter *f, struct pg_param out[static FILTER_PARAMS])
{
    f = f != NULL ? f : &no_limits;
    const char *state = f->state[0] != '\0' ? f->state : "open";
    out[0] = f->from_sequence > 0 ? pg_i64((int64_t)f->from_sequence) : pg_null();
    out[1] = f->to_sequence > 0 ? pg_i64((int64_t)f->to_sequence) : pg_null();
    out[2] = text_or_null(f->consumer);
    out[3] = text_or_null(f->class_);
    out[4] = text_or_null(f->code);
    out[5] = text_or_null(f->fingerprint);
    out[6] = text_or_null(f->entity);
    out[7] = f->failed_from != NULL ? pg_timestamptz(micros(f->failed_from)) : pg_null();
    out[8] = f->failed_before != NULL ? pg_timestamptz(micros(f->failed_before)) : pg_null();
    out[9] = strcmp(state, "all") == 0 ? pg_null() : pg_text(view_of(state));
    out[10] = pg_bool(f->parked);
}

static bool is(const char *wanted, const char *value)
{
    return wanted[0] == '\0' || strcmp(wanted, value) == 0;
}

bool filter_matches(const DlqFilter *f, const struct letter *l)
{
    f = f != NULL ? f : &no_limits;
    return l->sequence >= f->from_sequence &&
           (f->to_sequence == 0 || l->sequence <= f->to_sequence) && is(f->consumer, l->consumer) &&
           is(f->class_, l->class) && is(f->code, l->code) && is(f->fingerprint, l->fingerprint) &&
           is(f->entity, l->entity) &&
           (f->failed_from == NULL || l->failed_at_us >= micros(f->failed_from)) &&
           (f->failed_before == NULL || l->failed_at_us < micros(f->failed_before)) &&
           (f->parked || !l->parked);
}
