/* A worker's main: configuration, threads, signals, the orderly end.
 *
 * Signals are blocked before the first thread starts and read from a descriptor by the main thread,
 * which does nothing else: a signal is data, never an interruption. End: fetching stops, batches in
 * hand are finished, the rest is given back, connections are flushed and closed. What is not over
 * within drain-timeout, or at a second signal, is left to the ack wait: nothing is lost by it. */
// SPDX-License-Identifier: Apache-2.0

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <nats/nats.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/runtime.h"
#include "events/settle.h"
#include "events/trace.h"

#define RUN_PAUSE_MS 250

bool runtime_stopping(const struct runtime *rt)
{
    return atomic_load(&rt->stopping);
}

int64_t runtime_nak_delay_ms(const struct runtime *rt, unsigned deliveries)
{
    return atomic_load(&rt->has_fatal) ? verdict_exit_delay_ms(deliveries)
                                       : verdict_drain_delay_ms(deliveries);
}

void runtime_wake(struct runtime *rt)
{
    for (size_t i = 0; i < rt->n_lanes; i++)
        lane_wake(&rt->lanes[i]);
}

static void tell_main(struct runtime *rt)
{
    const uint64_t one = 1;

    (void)!write(rt->event_fd, &one, sizeof(one));
}

void runtime_stop(struct runtime *rt, const struct err *fatal)
{
    pthread_mutex_lock(&rt->fatal_mutex);
    if (fatal != NULL && !atomic_load(&rt->has_fatal) && !atomic_load(&rt->stopping)) {
        rt->fatal = *fatal;
        atomic_store(&rt->has_fatal, true);
        log_error("cannot serve, leaving", LF_STR("code", fatal->code), LF_STR("op", fatal->op),
                  LF_STR("reason", fatal->text));
    }
    atomic_store(&rt->stopping, true);
    pthread_mutex_unlock(&rt->fatal_mutex);
    health_set_serving(rt->health, false, fatal != NULL ? fatal->text : "stopping");
    runtime_wake(rt);
    tell_main(rt);
}

void runtime_note_serving(struct runtime *rt)
{
    bool all = !runtime_stopping(rt);

    for (size_t i = 0; i < rt->n_lanes; i++)
        all &= atomic_load(&rt->lanes[i].serving);
    if (!all)
        return;
    health_set_serving(rt->health, true, NULL);
    log_info("serving", LF_STR("instance", rt->instance), LF_I64("lanes", rt->config->lanes),
             LF_I64("port", health_port(rt->health)));
}

/* The worker's own loop (no consumers). */
static void own_run(struct lane *lane)
{
    const struct worker_spec *spec = lane->rt->spec;
    struct err err = ERR_INIT;

    if (lane_open(lane, &err) < 0) {
        if (err.class != ERR_NONE)
            runtime_stop(lane->rt, &err);
        return;
    }
    atomic_store(&lane->serving, true);
    runtime_note_serving(lane->rt);
    while (!lane_stopping(lane)) {
        err = ERR_INIT;
        if (spec->run(lane->context, &err) == 0)
            break;
        if (err.class == ERR_FATAL || err.class == ERR_REJECT) {
            err.class = ERR_FATAL;
            runtime_stop(lane->rt, &err);
            return;
        }
        log_warn("run ended, goes on when it can", LF_STR("code", err.code), LF_STR("op", err.op),
                 LF_STR("reason", err.text));
        if (err.class == ERR_UNAVAILABLE)
            watch_trip(lane->rt->watch, &err);
        do
            lane_wait_until(lane, mono_ms() + RUN_PAUSE_MS);
        while (!lane_stopping(lane) && !watch_allows(lane->rt->watch));
    }
    runtime_stop(lane->rt, NULL);
}

static void *lane_thread(void *arg)
{
    struct lane *lane = arg;

    if (lane->kind == LANE_REQUESTS)
        request_run(lane);
    else if (lane->rt->spec->n_consumers > 0)
        consumer_run(lane);
    else
        own_run(lane);
    lane_close(lane);
    nats_ReleaseThreadMemory();
    atomic_store(&lane->serving, false);
    atomic_store(&lane->ended, true);
    tell_main(lane->rt);
    return NULL;
}

static void on_bus_change(void *ctx)
{
    struct runtime *rt = ctx;

    if (rt->watch != NULL)
        watch_poke(rt->watch);
    runtime_wake(rt);
}

static void send_progress(void *ctx, const char *ack_subject)
{
    settle_wpi(ctx, ack_subject);
}

static int open_bus(struct runtime *rt, const char *suffix, bool buffered, struct bus **ret,
                    struct err *err)
{
    char name[224];
    const struct worker_config *c = rt->config;
    const struct bus_options options = {.url = c->nats_url,
                                        .user = c->nats_user,
                                        .password = c->nats_password,
                                        .name = name,
                                        .buffered = buffered};

    snprintf(name, sizeof(name), "%s%s", rt->instance, suffix);
    return bus_open(ret, &options, err);
}

static bool shares_lanes(const struct worker_spec *spec)
{
    bool shares = spec->run != NULL;

    for (size_t i = 0; i < spec->n_consumers; i++)
        shares |= !spec->consumers[i].own_lane;
    return shares;
}

static int make_lanes(struct runtime *rt, struct err *err)
{
    const struct worker_spec *spec = rt->spec;
    const size_t shared =
        shares_lanes(spec) ? (spec->run != NULL ? 1 : (size_t)rt->config->lanes) : 0;
    const size_t all = shared + spec->n_consumers + 1;
    size_t n = 0;

    rt->lanes = calloc(all, sizeof(*rt->lanes));
    if (rt->lanes == NULL)
        return err_set(err, ERR_FATAL, "no-memory", "start", "out of memory");
    for (; n < shared; n++)
        lane_init(&rt->lanes[n], rt, LANE_CONSUME, (unsigned)n);
    for (size_t i = 0; i < spec->n_consumers; i++) {
        struct lane *lane = &rt->lanes[n];

        if (!spec->consumers[i].own_lane)
            continue;
        lane_init(lane, rt, LANE_CONSUME, (unsigned)n++);
        isolation_init(&lane->own_isolation);
        lane->isolation = &lane->own_isolation;
        lane->only = &rt->bindings[i];
    }
    if (spec->n_requests > 0) {
        lane_init(&rt->lanes[n], rt, LANE_REQUESTS, (unsigned)n);
        n++;
    }
    rt->n_lanes = n;
    return 0;
}

static int start(struct runtime *rt, struct err *err)
{
    const struct worker_spec *spec = rt->spec;

    if (health_start(&rt->health, rt->config->listen, err) < 0 ||
        trace_init(spec->name,
                   *rt->config->otlp_endpoint != '\0' ? rt->config->otlp_endpoint : NULL,
                   err) < 0 ||
        open_bus(rt, "", spec->bulk, &rt->bus, err) < 0)
        return -1;
    if (spec->n_requests > 0 && open_bus(rt, " requests", false, &rt->request_bus, err) < 0)
        return -1;
    if (spec->n_consumers > 0 && open_bus(rt, " acks", true, &rt->ack_bus, err) < 0)
        return -1;
    if (progress_start(&rt->progress, rt->config->hold_limit_ms, send_progress, rt->ack_bus, err) <
        0)
        return -1;
    rt->bindings = calloc(spec->n_consumers + 1, sizeof(*rt->bindings));
    if (rt->bindings == NULL)
        return err_set(err, ERR_FATAL, "no-memory", "start", "out of memory");
    for (size_t i = 0; i < spec->n_consumers; i++)
        binding_init(&rt->bindings[i], &spec->consumers[i], rt->config);
    if (make_lanes(rt, err) < 0 || watch_start(rt, err) < 0 ||
        (spec->n_consumers > 0 && control_start(rt, err) < 0))
        return -1;
    bus_set_hook(rt->bus, on_bus_change, rt);
    for (size_t i = 0; i < rt->n_lanes; i++) {
        if (pthread_create(&rt->lanes[i].thread, NULL, lane_thread, &rt->lanes[i]) != 0)
            return err_set(err, ERR_FATAL, "no-memory", "start", "no thread");
        rt->lanes[i].started = true;
    }
    return 0;
}

#define TICK_MS 1000
#define HANG_TICKS 60 /* as long as a loop may stand still for livez */
struct ticks {
    unsigned rounds, same;
};

static bool lanes_ended(const struct runtime *rt)
{
    bool ended = true;

    for (size_t i = 0; i < rt->n_lanes; i++)
        ended &= !rt->lanes[i].started || atomic_load(&rt->lanes[i].ended);
    return ended;
}

static void reload(struct runtime *rt)
{
    log_info(rt->spec->reload != NULL ? "asked to read files again"
                                      : "SIGHUP: nothing is read again without a restart");
    atomic_fetch_add(&rt->reloads, 1);
    runtime_wake(rt);
}

/* Whether the watch has made no round for long, in ticks of this thread, so that a process that was
 * stopped is not blamed. A client library that hangs holds its locks, and what touches it hangs
 * too: nats.c 3.4 was seen waiting without a deadline, under the lock of the connection, for an
 * answer while it connected again over a half-open connection. Only another process helps. */
static bool watch_hangs(const struct runtime *rt, struct ticks *t)
{
    const unsigned rounds = watch_rounds(rt->watch);

    t->same = rounds == t->rounds && !FAULT("hang-endured") ? t->same + 1 : 0;
    t->rounds = rounds;
    if (t->same < HANG_TICKS)
        return false;
    log_error("a client library hangs, the process ends");
    return true;
}

/* Waits for the end. False: it must be forced. */
static bool supervise(struct runtime *rt, int signal_fd)
{
    int64_t deadline = INT64_MAX;
    struct ticks ticks = {0};
    bool asked = false;

    while (!runtime_stopping(rt) || !lanes_ended(rt)) {
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                               {.fd = rt->event_fd, .events = POLLIN}};
        struct signalfd_siginfo info;
        uint64_t count;
        const int64_t left = deadline - mono_ms();

        if (left <= 0)
            return false;
        const int n = poll(fds, ARRAY_LEN(fds), left < TICK_MS ? (int)left : TICK_MS);
        if ((n < 0 && errno != EINTR) || (n == 0 && watch_hangs(rt, &ticks)))
            return false;
        if (fds[1].revents & POLLIN)
            (void)!read(rt->event_fd, &count, sizeof(count));
        if ((fds[0].revents & POLLIN) && read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
            if (info.ssi_signo == SIGHUP) {
                reload(rt);
                continue;
            }
            if (asked)
                return false;
            asked = true;
            log_info("asked to stop", LF_STR("signal", strsignal((int)info.ssi_signo)));
            runtime_stop(rt, NULL);
        }
        if (runtime_stopping(rt) && deadline == INT64_MAX)
            deadline = mono_ms() + rt->config->drain_timeout_ms;
    }
    return true;
}

/* Closing waits for pings and for nats.c; should one of them hang, the process ends all the same.
 */
static void *enforce_end(void *arg)
{
    const struct worker_config *config = arg;

    const struct timespec limit = {.tv_sec = config->drain_timeout_ms / 1000,
                                   .tv_nsec = config->drain_timeout_ms % 1000 * 1000000};

    nanosleep(&limit, NULL);
    log_warn("closing took too long, forced to stop");
    _exit(EXIT_CODE_FORCED); /* style: allow _exit, main hangs in a client library */
}

static void close_all(struct runtime *rt)
{
    pthread_t enforcer;

    if (pthread_create(&enforcer, NULL, enforce_end, (void *)rt->config) == 0)
        pthread_detach(enforcer);
    for (size_t i = 0; i < rt->n_lanes; i++) {
        if (rt->lanes[i].started)
            pthread_join(rt->lanes[i].thread, NULL);
    }
    bus_set_hook(rt->bus, NULL, NULL);
    control_stop(rt);
    watch_stop(rt);
    for (size_t i = 0; i < rt->n_lanes; i++)
        lane_deinit(&rt->lanes[i]);
    rt->progress = progress_stop(rt->progress);
    rt->ack_bus = bus_close(rt->ack_bus);
    rt->request_bus = bus_close(rt->request_bus);
    rt->bus = bus_close(rt->bus);
    trace_stop();
    rt->health = health_stop(rt->health);
    free(rt->lanes);
    free(rt->bindings);
    nats_CloseAndWait(2000);
}

static void runtime_init(struct runtime *rt, const struct worker_spec *spec,
                         const struct worker_config *config, void *options)
{
    char host[64] = "?";

    *rt = (struct runtime){.spec = spec, .config = config, .options = options};
    gethostname(host, sizeof(host) - 1);
    snprintf(rt->instance, sizeof(rt->instance), "echora-%s/%s %s:%d", spec->name, ECHORA_VERSION,
             host, (int)getpid());
    pthread_mutex_init(&rt->fatal_mutex, NULL);
    isolation_init(&rt->isolation);
    rt->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int take_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static enum log_level level_of(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum log_level)i;
    }
    return LOG_LEVEL_INFO;
}

static int run_worker(const struct worker_spec *spec, const struct worker_config *config,
                      void *options)
{
    const int signal_fd = take_signals();
    struct runtime rt;
    struct err err = ERR_INIT;
    int code = EXIT_CODE_OK;

    /* Two heaps for a dozen threads: they allocate little, and each heap costs resident memory. */
    mallopt(M_ARENA_MAX, 2);
    log_init(spec->name, level_of(config->log_level), config->log_format);
    for (unsigned i = 0; options_warning(i) != NULL; i++)
        log_warn("configuration", LF_STR("reason", options_warning(i)));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    runtime_init(&rt, spec, config, options);
    if (signal_fd < 0 || rt.event_fd < 0)
        err_set(&err, ERR_FATAL, "internal", "start", "no descriptors for signals");
    if (err.class != ERR_NONE || start(&rt, &err) < 0) {
        log_error("cannot start", LF_STR("code", err.code), LF_STR("op", err.op),
                  LF_STR("reason", err.text));
        _exit(exit_code_of(&err)); /* style: allow _exit, threads may hang in a client library */
    }
    if (!supervise(&rt, signal_fd)) {
        log_warn("forced to stop", LF_I64("events_in_hand", progress_count(rt.progress)));
        _exit(EXIT_CODE_FORCED); /* style: allow _exit, lanes still run */
    }
    if (atomic_load(&rt.has_fatal))
        code = exit_code_of(&rt.fatal);
    close_all(&rt);
    log_info("stopped", LF_I64("exit_code", code));
    curl_global_cleanup();
    return code;
}

static bool asks_describe(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--describe") == 0)
            return true;
    }
    return false;
}

static int describe(const struct worker_spec *spec)
{
    struct buf out CLEANUP(buf_deinit) = {.max = 1 << 20};

    worker_describe(spec, &out);
    fwrite(out.p, 1, out.n, stdout);
    return fflush(stdout) == 0 && !buf_failed(&out) ? EXIT_CODE_OK : EXIT_CODE_INTERNAL;
}

static void print_help(const struct worker_spec *spec, const struct option_set sets[], size_t n)
{
    printf("%s: %s\n\nUsage: %s [OPTIONS]\n\n", program_invocation_short_name, spec->summary,
           program_invocation_short_name);
    options_print_help(sets, n, stdout);
    printf("\n  --describe        print consumers, requests and options as JSON\n");
}

/* jansson goes on when a text does not grow for want of memory: it would lose characters, or read
 * on behind the text's end. Rather no process: what it has in hand comes again. */
static void *json_memory(size_t n)
{
    void *p = malloc(n);

    if (p == NULL) {
        log_error("no memory to read JSON, leaving", LF_STR("code", "no-memory"));
        _exit(EXIT_CODE_INTERNAL); /* style: allow _exit, nothing may go on in here */
    }
    return p;
}

int worker_main(const struct worker_spec *spec, int argc, char **argv)
{
    static struct worker_config config;
    const bool pg = (spec->needs & (1u << DEP_POSTGRES)) != 0;
    void *options = calloc(1, spec->options_size > 0 ? spec->options_size : 1);
    const struct option_set sets[] = {
        {worker_option_rows, n_worker_option_rows, &config},
        {worker_pg_option_rows, pg ? n_worker_pg_option_rows : 0, &config},
        {spec->options, spec->n_options, options},
    };
    struct err err = ERR_INIT;
    int rest = argc, code = EXIT_CODE_OK;

    if (options == NULL)
        return EXIT_CODE_INTERNAL;
    json_set_alloc_funcs(json_memory, free);
    const enum option_wish wish = options_wish(sets, ARRAY_LEN(sets), argc, argv);
    if (asks_describe(argc, argv)) {
        code = describe(spec);
    } else if (wish == OPTIONS_HELP) {
        print_help(spec, sets, ARRAY_LEN(sets));
    } else if (wish == OPTIONS_VERSION) {
        printf("%s %s\n", program_invocation_short_name, ECHORA_VERSION);
    } else if (wish == OPTIONS_REFERENCE) {
        options_print_reference(sets, ARRAY_LEN(sets), stdout);
    } else if (options_load(sets, ARRAY_LEN(sets), argc, argv, &rest, &err) < 0) {
        fprintf(stderr, "%s: %s\n", program_invocation_short_name, err.text);
        code = exit_code_of(&err);
    } else if (rest < argc) {
        fprintf(stderr, "%s: unexpected argument: %s\n", program_invocation_short_name, argv[rest]);
        code = EXIT_CODE_USAGE;
    } else if (wish == OPTIONS_PRINT) {
        options_print(sets, ARRAY_LEN(sets), stdout);
    } else {
        if (config.lanes == 0)
            config.lanes = spec->lanes > 0 ? spec->lanes : 1;
        code = run_worker(spec, &config, options);
    }
    free(options);
    return code;
}
