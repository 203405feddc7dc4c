/* The inside of a worker process, shared by the modules of the runtime and by nobody else.
 *
 * Threads: main waits for signals; the watch pings dependencies and works the breakers; control
 * looks for consumers that people pause; progress reports what is in hand; each lane runs the
 * consumer loop (or the worker's own run); the request lane answers. Lanes share the connection,
 * the watch, progress and this struct's constants.
 *
 * Locks, each for itself and never nested but as said: lane.mutex (what nats.c's callback hands
 * over, and waking), watch's and progress' own. isolation.alone: batches hold it shared, an event
 * delivered before holds it exclusively while its handler runs, so that an event that kills the
 * process takes nobody along; but for lanes of their own, whose events may take long. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <pthread.h>
#include <stdatomic.h>

#include "events/health.h"
#include "events/metrics.h"
#include "events/progress.h"
#include "events/standing.h"
#include "events/worker.h"

struct control;
struct watch;
struct runtime;

enum outcome {
    OUTCOME_DONE,
    OUTCOME_SKIP,
    OUTCOME_NOT_FOR_US, /* a replay for another consumer */
    OUTCOME_RETRY,
    OUTCOME_UNCERTAIN,
    OUTCOME_HELD,
    OUTCOME_REJECT,
    OUTCOME_EXHAUSTED,
    OUTCOME_CRASH,
    OUTCOME_LATER,
    OUTCOME_FATAL,
    OUTCOME_MAX,
};

struct consumer_metrics {
    struct metric *outcome[OUTCOME_MAX];
    struct metric *redelivered, *batch_seconds, *batch_events, *age_seconds;
    struct metric *pulls, *pull_trouble, *last_success;
    struct metric *dead_letter_failures;
    struct metric *paused;
};

/* A consumer of the table with what the server says of it. One per row, shared by all lanes;
 * written before lanes start, but for the atomics. */
struct binding {
    const struct consumer_spec *spec;
    const struct subject_def *def; /* NULL: raw wildcard */
    const char *stream;
    unsigned batch_max;
    unsigned max_ack_pending;
    _Atomic int64_t ack_wait_ms;      /* the server's */
    _Atomic int64_t stream_created_s; /* Unix seconds; part of a dead letter's identity */
    atomic_ullong done;               /* events done with: what they depend on serves */
    atomic_bool paused;               /* by a person: nothing is fetched (control.h) */
    struct consumer_metrics metrics;
    struct standing standing;
};

/* Who an event delivered before is alone among: the shared lanes together, or a lane of its own. */
struct isolation {
    pthread_rwlock_t alone;
    atomic_int suspects; /* events delivered before, waiting or handled: nothing is fetched */
};

/* A lane that its own handler has shut (shut.c). The lane's thread's alone. */
struct shut {
    bool shut, trial; /* trial: the pause is over, one event is handled */
    bool again;       /* shut anew while the trial was handled */
    int64_t until_ms; /* monotonic */
    int64_t since_us; /* wall clock */
    unsigned failures;
    struct err cause;
    struct metric *open, *opened;
};

enum lane_kind { LANE_CONSUME, LANE_REQUESTS, LANE_PROBE };

struct lane {
    struct runtime *rt;
    enum lane_kind kind;
    unsigned index;
    struct bus *bus;
    struct bus *acks;     /* where the lane settles its events */
    struct binding *only; /* of a lane of its own: the one consumer; NULL = all that share lanes */
    struct isolation *isolation, own_isolation;
    struct shut shut;
    unsigned reloads; /* of rt->reloads, those done */
    struct pg *pg;
    void *context;
    bool opened;
    pthread_t thread;
    bool started;
    /* Waking: whoever changes what the lane waits for calls lane_wake. */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool woken;
    atomic_bool serving, ended;
};

struct runtime {
    const struct worker_spec *spec;
    const struct worker_config *config;
    void *options;
    char instance[192];  /* "echora-catalogue/0.1.0 host:pid" */
    struct bus *bus;     /* pulls, requests to others, dead letters: each written at once */
    struct bus *ack_bus; /* acks, naks, progress: gathered for up to 1 ms, one write for a batch */
    struct bus *request_bus;
    struct binding *bindings; /* spec->n_consumers */
    struct health *health;
    struct progress *progress;
    struct watch *watch;
    struct control *control; /* NULL: a worker without consumers */
    struct lane *lanes;      /* config->lanes, then the request lane */
    size_t n_lanes;
    struct isolation isolation;      /* of the lanes that share consumers */
    atomic_uint reloads;             /* SIGHUPs so far */
    _Atomic int64_t suspect_tell_ms; /* monotonic: when the log may complain again (suspect.c) */
    _Atomic int64_t suspect_rest_ms; /* until then WORKER_SUSPECTS is not asked */
    atomic_bool stopping;
    int event_fd; /* tells main that something ended */
    pthread_mutex_t fatal_mutex;
    atomic_bool has_fatal;
    struct err fatal;
};

/* Ends the process in order: fatal NULL = as asked by a signal. The first reason stays. */
void runtime_stop(struct runtime *rt, const struct err *fatal);
bool runtime_stopping(const struct runtime *rt);
/* Nak delay of what is given back unhandled at the end. */
int64_t runtime_nak_delay_ms(const struct runtime *rt, unsigned deliveries);
void runtime_wake(struct runtime *rt);
/* Serving as a whole: all lanes serve. */
void runtime_note_serving(struct runtime *rt);

void isolation_init(struct isolation *i);
void lane_init(struct lane *lane, struct runtime *rt, enum lane_kind kind, unsigned index);
void lane_deinit(struct lane *lane);
void lane_wake(struct lane *lane);
/* Until woken or the monotonic time; returns at once when it was woken since the last wait. */
void lane_wait_until(struct lane *lane, int64_t until_ms);
/* The worker's open, repeated while a dependency is away. -1: fatal, or stopping (class ERR_NONE).
 */
MUST_CHECK int lane_open(struct lane *lane, struct err *err);
void lane_close(struct lane *lane);
/* Has the worker read its files again when a SIGHUP has come since the last call. */
void lane_reload(struct lane *lane);
/* The consumers that this lane pulls: whether b is one of them. */
bool lane_serves(const struct lane *lane, const struct binding *b);

/* Of breakers, by dependency; a lane of its own that is shut counts by its consumer's name. */
extern const struct metric_def breaker_open_def, breaker_opened_def, breaker_trips_def;

/* shut.c. shut_allows: whether the lane may fetch; asks the worker's may_open when a pause is over
 * (*ret_trial: then one event may). shut_handled: the handler has given real verdicts. */
void shut_start(struct lane *lane);
bool shut_allows(struct lane *lane, int64_t now_ms, bool *ret_trial);
void shut_handled(struct lane *lane);

/* Reads stream, consumer and whether it is paused from the server into the binding. ERR_FATAL
 * nats-10059, nats-10014 or bad-consumer when the worker can't be served by what is there. */
MUST_CHECK int binding_check(struct runtime *rt, struct binding *b, struct err *err);
void binding_init(struct binding *b, const struct consumer_spec *spec,
                  const struct worker_config *config);
unsigned consumer_max_ack_pending(const struct consumer_spec *spec);
unsigned consumer_max_deliver(const struct consumer_spec *spec);
int64_t consumer_ack_wait_ms(const struct consumer_spec *spec);
const char *consumer_subject(const struct consumer_spec *spec);

/* The loops of the lane threads; they return when stopping, after giving back what they hold. */
void consumer_run(struct lane *lane);
void request_run(struct lane *lane);

/* control.c. control_look: whether a person has paused this consumer. */
MUST_CHECK int control_start(struct runtime *rt, struct err *err);
void control_stop(struct runtime *rt);
MUST_CHECK int control_look(struct runtime *rt, struct binding *b, struct err *err);

/* watch.c */
MUST_CHECK int watch_start(struct runtime *rt, struct err *err);
void watch_stop(struct runtime *rt);
/* How often it has looked so far: at least once a second, but while a ping is under way. */
unsigned watch_rounds(struct watch *w);
/* Every dependency answered once and no breaker is open, but for the dead-letter stream's: that one
 * stops only the consumers whose events wait for it. */
bool watch_allows(struct watch *w);
bool watch_stores_letters(struct watch *w);
/* Opens the breaker of err->dependency. */
void watch_trip(struct watch *w, const struct err *cause);
/* An event is stuck on err->dependency, which answers pings and fails it again and again (a full
 * disk): not ready, with that reason, until as many have come off. watch_unstick: one has. */
void watch_stuck(struct watch *w, const struct err *cause);
void watch_unstick(struct watch *w, enum dependency dep);
/* The dead-letter stream answers no ping, so the held event itself is the test: true when its
 * breaker is open, a try is due and no other dependency is away. The caller handles one event that
 * waits for it, then calls watch_tried, which closes the breaker unless the try has tripped it
 * again. */
bool watch_try_dead_letter(struct watch *w);
void watch_tried_dead_letter(struct watch *w);
/* Something about a connection changed: look now. */
void watch_poke(struct watch *w);
/* The dependency that is away, as an ERR_UNAVAILABLE; false when none is. Requests need no
 * dead-letter stream. */
bool watch_trouble(struct watch *w, struct err *ret);

/* worker_options.c */
extern const struct option worker_option_rows[];
extern const size_t n_worker_option_rows;
extern const struct option worker_pg_option_rows[];
extern const size_t n_worker_pg_option_rows;
/* worker_describe.c: JSON for provisioning and documents. */
void worker_describe(const struct worker_spec *spec, struct buf *out);
