/* A row of the consumer table meets the server: what the row means when members are left out, and
 * whether stream and consumer exist as the row needs them. Workers bind to what is there and never
 * create or change it; the message names the command that mends it. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <stdio.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "events/runtime.h"

#define ACK_WAIT_DEFAULT_MS 30000
#define MAX_ACK_PENDING_DEFAULT 1000
#define MEND "run `echora streams apply`"

unsigned consumer_max_ack_pending(const struct consumer_spec *spec)
{
    return spec->max_ack_pending > 0 ? spec->max_ack_pending : MAX_ACK_PENDING_DEFAULT;
}

unsigned consumer_max_deliver(const struct consumer_spec *spec)
{
    return spec->max_deliver > 0 ? spec->max_deliver : MAX_DELIVER;
}

int64_t consumer_ack_wait_ms(const struct consumer_spec *spec)
{
    return spec->ack_wait_ms > 0 ? spec->ack_wait_ms : ACK_WAIT_DEFAULT_MS;
}

const char *consumer_subject(const struct consumer_spec *spec)
{
    return spec->filter != NULL ? spec->filter : spec->subject;
}

const char *consumer_stream(const struct consumer_spec *spec)
{
    return spec->stream != NULL ? spec->stream : registry_must(spec->subject)->stream->name;
}

static const struct metric_def outcome_def = {"echora_messages_processed_total", METRIC_COUNTER,
                                              "Events by consumer and what became of them.",
                                              "stream,consumer,outcome", NULL};
static const struct metric_def redelivered_def = {
    "echora_messages_redelivered_total", METRIC_COUNTER, "Events that had been delivered before.",
    "stream,consumer", NULL};
static const struct metric_def batch_seconds_def = {
    "echora_batch_process_duration_seconds", METRIC_HISTOGRAM, "Time of the handler for one batch.",
    "stream,consumer", NULL};
static const struct metric_def batch_events_def = {"echora_batch_events_total", METRIC_COUNTER,
                                                   "Events that reached a handler.",
                                                   "stream,consumer", NULL};
static const struct metric_def age_def = {
    "echora_message_age_seconds", METRIC_HISTOGRAM,
    "Age of an event when its handling starts, since the broker stored it.", "stream,consumer",
    NULL};
static const struct metric_def pulls_def = {"echora_pulls_total", METRIC_COUNTER,
                                            "Pull requests sent.", "stream,consumer", NULL};
static const struct metric_def trouble_def = {"echora_pull_trouble_total", METRIC_COUNTER,
                                              "Pull requests that were refused or got no answer.",
                                              "stream,consumer", NULL};
static const struct metric_def success_def = {"echora_last_success_timestamp_seconds", METRIC_GAUGE,
                                              "When the consumer last settled an event as done.",
                                              "stream,consumer", NULL};
static const struct metric_def dlq_failures_def = {
    "echora_dlq_publish_failures_total", METRIC_COUNTER,
    "Dead letters that could not be stored; their events are held.", "stream,consumer", NULL};

static const struct metric_def paused_def = {"echora_consumer_paused", METRIC_GAUGE,
                                             "1 while a person has paused the consumer.",
                                             "stream,consumer", NULL};

static void make_metrics(struct binding *b)
{
    static const char *const outcomes[] = {
        [OUTCOME_DONE] = "done",
        [OUTCOME_SKIP] = "skip",
        [OUTCOME_NOT_FOR_US] = "not-for-us",
        [OUTCOME_RETRY] = "retry",
        [OUTCOME_UNCERTAIN] = "uncertain",
        [OUTCOME_HELD] = "held",
        [OUTCOME_REJECT] = "reject",
        [OUTCOME_EXHAUSTED] = "retry-exhausted",
        [OUTCOME_CRASH] = "crash",
        [OUTCOME_LATER] = "later",
        [OUTCOME_FATAL] = "fatal",
    };
    const char *const labels[] = {b->stream, b->spec->durable};
    struct consumer_metrics *m = &b->metrics;

    for (int i = 0; i < OUTCOME_MAX; i++)
        m->outcome[i] =
            metric_series(&outcome_def, (const char *[]){b->stream, b->spec->durable, outcomes[i]});
    m->redelivered = metric_series(&redelivered_def, labels);
    m->batch_seconds = metric_series(&batch_seconds_def, labels);
    m->batch_events = metric_series(&batch_events_def, labels);
    m->age_seconds = metric_series(&age_def, labels);
    m->pulls = metric_series(&pulls_def, labels);
    m->pull_trouble = metric_series(&trouble_def, labels);
    m->last_success = metric_series(&success_def, labels);
    m->dead_letter_failures = metric_series(&dlq_failures_def, labels);
    m->paused = metric_series(&paused_def, labels);
    standing_init(&b->standing, b->stream, b->spec->durable);
}

void binding_init(struct binding *b, const struct consumer_spec *spec,
                  const struct worker_config *config)
{
    const unsigned fetch = (unsigned)config->fetch_size;

    b->spec = spec;
    b->def = spec->filter != NULL ? NULL : registry_must(spec->subject);
    b->stream = consumer_stream(spec);
    b->max_ack_pending = consumer_max_ack_pending(spec);
    b->batch_max = spec->batch_max > 0 && spec->batch_max < fetch ? spec->batch_max : fetch;
    /* A batch in hand and one fetched ahead in each lane must leave the window open for others. */
    const unsigned lanes = spec->own_lane ? 1 : (unsigned)config->lanes;
    const unsigned share = b->max_ack_pending / (2 * lanes + 1);
    if (b->batch_max > share)
        b->batch_max = share > 0 ? share : 1;
    atomic_store(&b->ack_wait_ms, consumer_ack_wait_ms(spec));
    make_metrics(b);
}

/* A missing thing gets the command that mends it. */
static int with_mend(struct err *err)
{
    return err->class == ERR_FATAL ? err_wrap(err, MEND) : -1;
}

static int check_stream(struct runtime *rt, struct binding *b, struct err *err)
{
    char subject[160];
    json_t *info;
    int64_t seconds = 0;
    int32_t nanos;

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", b->stream);
    if (bus_js_api(rt->bus, subject, VIEW_LIT(""), &info, err) < 0)
        return with_mend(err);
    const bool good = rfc3339_parse(view_of(json_string_value(json_object_get(info, "created"))),
                                    &seconds, &nanos);
    json_decref(info);
    if (!good)
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", subject,
                           "stream info without its creation time");
    atomic_store(&b->stream_created_s, seconds);
    return 0;
}

static int refuse(struct err *err, const struct binding *b, const char *what)
{
    return err_set_dep(err, ERR_FATAL, DEP_NATS, "bad-consumer", "check consumer",
                       "consumer %s of stream %s: %s; " MEND, b->spec->durable, b->stream, what);
}

static int check_config(struct runtime *rt, struct binding *b, const json_t *config,
                        struct err *err)
{
    const char *policy = json_string_value(json_object_get(config, "ack_policy"));
    const char *filter = json_string_value(json_object_get(config, "filter_subject"));
    const json_int_t max_deliver = json_integer_value(json_object_get(config, "max_deliver"));
    const json_int_t ack_wait_ns = json_integer_value(json_object_get(config, "ack_wait"));
    const json_int_t pending = json_integer_value(json_object_get(config, "max_ack_pending"));

    if (policy == NULL || strcmp(policy, "explicit") != 0)
        return refuse(err, b, "its ack policy is not explicit");
    if (filter == NULL || strcmp(filter, consumer_subject(b->spec)) != 0)
        return refuse(err, b, "it filters another subject");
    if (json_object_get(config, "deliver_subject") != NULL)
        return refuse(err, b, "it is a push consumer");
    if (json_array_size(json_object_get(config, "backoff")) > 0)
        return refuse(err, b, "it has a backoff, which replaces the ack wait");
    if (max_deliver > 0 &&
        (max_deliver <= CRASH_LAST_RESORT || max_deliver <= rt->config->give_up_at))
        return refuse(err, b,
                      "the server would drop an event before the worker gives it up: its "
                      "max deliver is too small");
    if (ack_wait_ns > 0)
        atomic_store(&b->ack_wait_ms, ack_wait_ns / 1000000);
    if (pending > 0 && pending < 2 * (json_int_t)b->batch_max * rt->config->lanes)
        log_warn("max_ack_pending is small for fetch-size and lanes",
                 LF_STR("consumer", b->spec->durable), LF_I64("max_ack_pending", pending));
    return 0;
}

int binding_check(struct runtime *rt, struct binding *b, struct err *err)
{
    char subject[256];
    json_t *info;

    if (check_stream(rt, b, err) < 0)
        return -1;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", b->stream, b->spec->durable);
    if (bus_js_api(rt->bus, subject, VIEW_LIT(""), &info, err) < 0)
        return with_mend(err);
    const int result = check_config(rt, b, json_object_get(info, "config"), err);
    json_decref(info);
    return result < 0 ? result : control_look(rt, b, err);
}
