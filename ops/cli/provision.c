// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/provision.h"

#include "events/control.h"
#include "events/runtime.h"

#define NANOS INT64_C(1000000000)
/* Of one stream; a unit test of the registry holds it to fewer. */
#define MAX_SUBJECTS 64

static json_t *subjects_of(const struct stream_def *def)
{
    const char *subjects[MAX_SUBJECTS];
    size_t n = registry_stream_subjects(def, subjects, MAX_SUBJECTS);
    json_t *list = json_array();

    for (size_t i = 0; i < n && i < MAX_SUBJECTS; i++)
        json_array_append_new(list, json_string(subjects[i]));
    return list;
}

static json_int_t per_subject(const struct stream_def *def)
{
    if (def->last_per_subject)
        return 1;
    return def->max_per_subject > 0 ? def->max_per_subject : -1;
}

json_t *provision_stream(const struct stream_def *def, int replicas, bool message_ttl)
{
    json_t *config = json_pack(
        "{s:s, s:s, s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:i, s:s, s:b, s:s, s:i, s:I, s:b, s:b, "
        "s:b}",
        "name", def->name, "description", def->description, "subjects", subjects_of(def),
        "retention", "limits", "max_consumers", -1, "max_msgs", (json_int_t)def->max_msgs,
        "max_bytes", (json_int_t)def->max_bytes, "max_age", (json_int_t)(def->max_age_s * NANOS),
        "max_msgs_per_subject", per_subject(def), "max_msg_size", def->max_msg_size, "discard",
        def->discard_old ? "old" : "new", "discard_new_per_subject",
        !def->discard_old && def->max_per_subject > 0, "storage", "file", "num_replicas", replicas,
        "duplicate_window", (json_int_t)(def->duplicate_window_s * NANOS), "allow_direct",
        def->allow_direct, "deny_delete", def->deny_delete, "deny_purge", false);

    /* Notices expire one by one where the server can. */
    if (message_ttl && def->patterns && strcmp(def->patterns[0], "notification.>") == 0)
        json_object_set_new(config, "allow_msg_ttl", json_true());
    return config;
}

json_t *provision_control(int replicas)
{
    return json_pack(
        "{s:s, s:s, s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:i, s:I, s:b, s:b, s:b, "
        "s:b}",
        "name", CONTROL_STREAM, "description", "What people have switched off.", "subjects",
        "$KV.echora_control.>", "retention", "limits", "max_consumers", -1, "max_msgs", -1,
        "max_bytes", 1 << 20, "max_age", 0, "max_msgs_per_subject", 1, "max_msg_size", 4096,
        "discard", "new", "storage", "file", "num_replicas", replicas, "duplicate_window",
        (json_int_t)120 * NANOS, "allow_direct", true, "allow_rollup_hdrs", true, "deny_delete",
        true, "deny_purge", false);
}

json_t *provision_consumer(const struct fleet_consumer *c)
{
    const struct consumer_spec *s = c->spec;

    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:s, s:s, s:i}", "durable_name", s->durable,
                     "description", c->worker, "deliver_policy", "all", "ack_policy", "explicit",
                     "ack_wait", (json_int_t)(consumer_ack_wait_ms(s) * 1000000), "max_deliver",
                     (int)consumer_max_deliver(s), "filter_subject", c->filter, "replay_policy",
                     "instant", "max_ack_pending", (int)consumer_max_ack_pending(s));
}

static bool holds(const json_t *list, const json_t *item)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), item))
            return true;
    return false;
}

static bool same(const json_t *have, const json_t *want)
{
    /* The server leaves out what is false, zero or empty. */
    if (!have)
        return json_is_false(want) || (json_is_integer(want) && json_integer_value(want) == 0);
    if (!json_is_array(want))
        return json_equal(have, want);
    if (json_array_size(have) != json_array_size(want))
        return false;
    for (size_t i = 0; i < json_array_size(want); i++)
        if (!holds(have, json_array_get(want, i)))
            return false;
    return true;
}

void provision_keep_raised(const json_t *have, json_t *want)
{
    static const char *const limits[] = {"max_bytes", "max_msgs", "max_msgs_per_subject"};

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        json_t *wanted = json_object_get(want, limits[i]);
        const json_int_t now = json_integer_value(json_object_get(have, limits[i]));
        /* 1 per subject is what a stream means, no limit. */
        if (wanted && json_integer_value(wanted) > 1 && now > json_integer_value(wanted))
            json_integer_set(wanted, now);
    }
}

unsigned provision_compare(const json_t *have, const json_t *want, provision_difference_fn *report,
                           void *ctx)
{
    const char *field;
    json_t *value;
    unsigned n = 0;

    json_object_foreach((json_t *)want, field, value)
    {
        const json_t *other = json_object_get(have, field);
        if (same(other, value))
            continue;
        n++;
        if (report)
            report(ctx, field, other, value);
    }
    return n;
}
