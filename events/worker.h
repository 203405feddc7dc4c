/* The runtime as an author of a worker sees it.
 *
 * A worker is this table, a context and handlers. The runtime reads configuration, connects, checks
 * that streams and consumers exist, pulls, decodes, validates, skips replays meant for others,
 * opens spans, logs, counts, acks, naks, dead-letters, breaks circuits, answers requests, drains
 * and exits with a named code. A handler never does any of that, and never sleeps, retries or reads
 * the environment.
 *
 * Threads: `lanes` consumer lanes (own bus subscription, own context), one request lane when there
 * are requests, the watch (pings, breakers), progress, one of libmicrohttpd, those of nats.c. Lane
 * contexts share nothing. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/event.h"
#include "events/option.h"
#include "events/pg.h"

/* Options that every worker has (rows in worker_options.c). */
struct worker_config {
    const char *nats_url, *nats_user, *nats_password;
    const char *pg_url, *pg_password;
    const char *listen; /* health and metrics */
    const char *log_level, *log_format;
    const char *otlp_endpoint;
    int64_t lanes;
    int64_t fetch_size; /* events per pull and batch, upper bound */
    int64_t decode_max; /* bytes */
    int64_t drain_timeout_ms;
    int64_t give_up_at; /* deliveries */
    int64_t hold_limit_ms;
    int64_t retry_longest_ms;
};

struct lane; /* opaque: what the runtime gives a context */
const struct worker_config *lane_config(const struct lane *lane);
void *lane_options(const struct lane *lane); /* the worker's own filled option struct */
struct bus *lane_bus(struct lane *lane);
struct pg *lane_pg(struct lane *lane); /* NULL unless the worker needs DEP_POSTGRES */
bool lane_stopping(const struct lane *lane);
/* Waits, for work that keeps to a rate; false at once when the worker is to stop. */
bool lane_pause(struct lane *lane, int64_t ms);
unsigned lane_index(const struct lane *lane);
/* For run: what keeps the worker from its work though its dependencies answer (a full stream), as
 * readyz shall say it; NULL = it works again. The text is copied. */
void lane_report(struct lane *lane, const char *reason);

/* The consumer of a lane of its own; NULL for every other lane. */
const struct consumer_spec *lane_consumer(const struct lane *lane);
/* For a handler with a lane of its own, whose peer is in trouble: nothing is fetched for that long,
 * what is in hand waits; then one event is, and when its handling does not shut the lane again,
 * work goes on. Other lanes don't notice. Told by log, metrics and readyz (ready all the same),
 * with the cause. Verdicts are not touched. */
void lane_shut(struct lane *lane, const struct err *cause, int64_t pause_ms);
/* Nothing new may be begun; work that goes on may be ended. */
bool lane_is_shut(const struct lane *lane);

typedef void handle_fn(void *context, struct batch *batch);

struct consumer_spec {
    const char *durable; /* "catalog-enriched" */
    const char *subject; /* registered; gives stream and message */
    handle_fn *handle;
    unsigned batch_max;   /* ≤ fetch-size; 0 = fetch-size */
    int64_t ack_wait_ms;  /* 30,000 unless the spec says otherwise */
    unsigned max_deliver; /* of the server: MAX_DELIVER, out of reach (verdict.h); at least 51 */
    unsigned max_ack_pending;
    bool parks;         /* dead letters go to anime.dlq.parked.<durable> */
    bool raw;           /* never decoded, whoever a replay is for; payload and headers only */
    const char *filter; /* raw wildcard consumers only; else NULL = subject */
    const char *stream; /* raw wildcard consumers only */
    /* Events without this header are none of the consumer's: acked, never looked at. NULL = all. */
    const char *needs_header;
    /* A thread and a context for this consumer alone, beside those of `lanes`: a slow or failing
     * peer delays no other consumer. An event delivered before is alone in this lane only. */
    bool own_lane;
    const struct retry_pace *pace; /* NULL = retry_pace_usual */
};

/* The stream that the consumer reads. */
const char *consumer_stream(const struct consumer_spec *spec);

struct request {
    const struct subject_def *def;
    const ProtobufCMessage *message; /* decoded from protobuf or JSON, in the arena */
    struct trace_context trace;
    bool traced; /* trace goes on with one that the caller sent */
    struct arena *arena;
    struct bytes payload; /* as it came */
    const void *native;   /* headers; use request_header */
};
const char *request_header(const struct request *request, const char *name);

/* Fills *ret_reply (arena memory, of def->reply) or *err. ERR_UNAVAILABLE trips the breaker. */
typedef int answer_fn(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                      struct err *err);
struct request_spec {
    const char *subject;
    answer_fn *answer;
    bool always; /* answered while a dependency is away; others are refused at once then */
    bool json;   /* JSON is its form when no Content-Type says otherwise: for people's tools */
};

struct worker_spec {
    const char *name;             /* "catalogue"; metrics label, NATS queue group, log field */
    const char *summary;          /* first line of --help */
    const struct option *options; /* the worker's own */
    size_t n_options;
    size_t options_size; /* of the struct they fill */
    const struct consumer_spec *consumers;
    size_t n_consumers;
    const struct request_spec *requests;
    size_t n_requests;
    unsigned needs; /* bit set of 1u << enum dependency, besides NATS */
    int64_t lanes;  /* unless --lanes says otherwise; 0 = 1 */
    bool bulk; /* lane_bus gathers writes (bus_options.buffered): for workers that only publish */
    /* Per lane, in the lane's thread. open fails with ERR_FATAL for good, ERR_UNAVAILABLE to be
     * tried again. A worker with a probe gets one more context, for the watch thread alone. */
    int (*open)(struct lane *lane, void **ret_context, struct err *err);
    void (*close)(void *context);
    /* Is this dependency there now? For DEP_POSTGRES and DEP_NATS the runtime asks itself; the
     * worker answers for the others, within 900 ms (readiness must turn false within 2 s). Called
     * every second, and with growing pauses while a breaker is open. NULL = always there. */
    int (*probe)(void *context, enum dependency dep, struct err *err);
    /* Chores between batches (expiry, sweeps), about every second, in lane 0, while every
     * dependency is there. May be NULL. Only workers with consumers have it. */
    int (*tick)(void *context, struct err *err);
    /* For lanes of their own: may events be fetched? Asked in the lane's thread before the first
     * fetch, and when the pause of lane_shut is over. -1 keeps the lane shut for another
     * err->retry_after_ms (5 s when 0); class ERR_NONE: and nobody is told. May be NULL. */
    int (*may_open)(void *context, struct err *err);
    /* SIGHUP: read files that may have changed, in the thread of each consumer and request lane,
     * between batches; of a worker with run, in lane_pause. On -1 what was read before stays, and
     * the log says why. May be NULL. */
    int (*reload)(void *context, struct err *err);
    /* A worker without consumers (the relay) runs this in its lane until lane_stopping. Returns 0,
     * or -1: ERR_UNAVAILABLE = wait for the dependency and call again, ERR_FATAL = exit. */
    int (*run)(void *context, struct err *err);
};

/* Exit codes, for supervisors and runbooks. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_INTERNAL = 1,
    EXIT_CODE_USAGE = 2,      /* options, configuration */
    EXIT_CODE_DEPENDENCY = 3, /* not reachable at start within the limit */
    EXIT_CODE_PROVISIONING =
        4, /* missing stream, consumer, table: says the command that mends it */
    EXIT_CODE_CREDENTIALS = 5,
    EXIT_CODE_FATAL = 6,   /* a handler's fatal verdict */
    EXIT_CODE_FORCED = 7,  /* second signal, or drain timeout */
    EXIT_CODE_REFUSED = 8, /* refuses to run by name (relay epochs): see the runbook */
};

/* Everything: parse, run, drain. Returns the exit code. SIGTERM or SIGINT drains, a second one
 * forces. */
int worker_main(const struct worker_spec *spec, int argc, char **argv);
/* The exit code that an ERR_FATAL error selects by its code: config, pg-28* and nats-auth
 * (credentials), missing streams, consumers, tables (provisioning), epoch-* (refused) and so on. */
int exit_code_of(const struct err *fatal);
