/* The scripted worker: what an event's `source` says is what its handler does.
 *
 *   done skip retry uncertain reject fatal unset   that verdict
 *   retry-once                                     retry on the first delivery, else done
 *   retry-before:<n>                               retry on the deliveries before the n-th
 *   crash, segfault, kill                          the process dies in the handler, by that signal
 *   slow:<ms>                                      done after that time
 *   needs                                          unavailable while the dependency file is missing
 *   unavailable                                    always, although the dependency answers pings
 *   together                                       done, but unavailable beside an "unavailable"
 *
 * Every event that reaches a handler is one line of the journal:
 *   <pid> <lane> <durable> <batch size> <seq> <deliveries> <event id> <trace id> <source>
 * Requests: catalog.anime.get answers its ids as missing; the id "big:<bytes>" is repeated to that
 * size, "slow:<ms>" takes that time, "reject", "away" and "crash" do what they say. */
// SPDX-License-Identifier: Apache-2.0

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "catalog_requests.pb-c.h"
#include "contracts/field.h"
#include "events.pb-c.h"
#include "events/worker.h"

struct settings {
    const char *journal;
    const char *dependency_file;
};

static const struct option options[] = {
    {.name = "journal",
     .kind = OPT_STRING,
     .offset = offsetof(struct settings, journal),
     .default_text = "/dev/null",
     .placeholder = "FILE",
     .help = "What the handlers saw."},
    {.name = "dependency-file",
     .kind = OPT_STRING,
     .offset = offsetof(struct settings, dependency_file),
     .default_text = "",
     .placeholder = "FILE",
     .help = "The dependency is there while this file is."},
};

struct context {
    const struct settings *settings;
    unsigned lane;
    int journal;
};

static int open_context(struct lane *lane, void **ret, struct err *err)
{
    struct context *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return err_set(err, ERR_FATAL, "no-memory", "open", "out of memory");
    c->settings = lane_options(lane);
    c->lane = lane_index(lane);
    c->journal = open(c->settings->journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    *ret = c;
    return 0;
}

static void close_context(void *context)
{
    struct context *c = context;

    close(c->journal);
    free(c);
}

static bool dependency_there(const struct context *c)
{
    return c->settings->dependency_file[0] == '\0' ||
           access(c->settings->dependency_file, F_OK) == 0;
}

static int probe(void *context, enum dependency dep, struct err *err)
{
    if (dependency_there(context))
        return 0;
    return err_set_dep(err, ERR_UNAVAILABLE, dep, "http-connect", "probe", "the file is missing");
}

static void write_journal(const struct context *c, const struct batch *batch, size_t i,
                          const char *source)
{
    const struct event *e = &batch->events[i];
    char line[512], id[UUID_TEXT], trace[33];
    int n;

    uuid_format(e->event_id, id);
    for (int b = 0; b < 16; b++)
        snprintf(trace + 2 * b, 3, "%02x", e->trace.trace_id[b]);
    n = snprintf(line, sizeof(line), "%d %u %s %zu %llu %u %s %s %s\n", (int)getpid(), c->lane,
                 batch->consumer->durable, batch->n, (unsigned long long)e->stream_sequence,
                 e->deliveries, id, trace, source);
    if (write(c->journal, line, (size_t)n) != n)
        abort();
}

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct verdict fail(enum err_class class, enum dependency dep, const char *code)
{
    struct err err = ERR_INIT;

    err_set_dep(&err, class, dep, code, "follow the script", "the script wants %s",
                err_class_name(class));
    return verdict_of_err(&err);
}

static struct verdict play(const struct context *c, const char *source, unsigned deliveries)
{
    static const struct verdict done = {.kind = VERDICT_DONE};

    if (strcmp(source, "skip") == 0)
        return (struct verdict){.kind = VERDICT_SKIP};
    if (strcmp(source, "retry") == 0 || (strcmp(source, "retry-once") == 0 && deliveries == 1))
        return fail(ERR_RETRY, DEP_NONE, "pg-40001");
    if (strncmp(source, "retry-before:", 13) == 0 && deliveries < strtoul(source + 13, NULL, 10))
        return fail(ERR_RETRY, DEP_NONE, "pg-40001");
    if (strcmp(source, "uncertain") == 0)
        return fail(ERR_UNCERTAIN, DEP_NONE, "nats-timeout");
    if (strcmp(source, "reject") == 0)
        return fail(ERR_REJECT, DEP_NONE, "identity-conflict");
    if (strcmp(source, "fatal") == 0)
        return fail(ERR_FATAL, DEP_NONE, "pg-42P01");
    if (strcmp(source, "unset") == 0)
        return (struct verdict){.kind = VERDICT_UNSET};
    if (strcmp(source, "unavailable") == 0 ||
        (strcmp(source, "needs") == 0 && !dependency_there(c)))
        return fail(ERR_UNAVAILABLE, DEP_QDRANT, "http-connect");
    if (strcmp(source, "crash") == 0)
        abort();
    if (strcmp(source, "segfault") == 0) {
        signal(SIGSEGV, SIG_DFL); /* no finding of a sanitizer's */
        raise(SIGSEGV);
    }
    if (strcmp(source, "kill") == 0)
        raise(SIGKILL);
    if (strncmp(source, "slow:", 5) == 0)
        sleep_ms(strtol(source + 5, NULL, 10));
    return done;
}

static const char *source_of(const struct event *e)
{
    const ProtobufCFieldDescriptor *f = field_by_name(e->message->descriptor, VIEW_LIT("source"));

    return *(char *const *)((const char *)e->message + f->offset);
}

static void handle(void *context, struct batch *batch)
{
    bool poisoned = false;

    for (size_t i = 0; i < batch->n; i++)
        poisoned |= strcmp(source_of(&batch->events[i]), "unavailable") == 0;
    for (size_t i = 0; i < batch->n; i++) {
        const char *source = source_of(&batch->events[i]);

        write_journal(context, batch, i, source);
        if (poisoned && strcmp(source, "together") == 0)
            source = "unavailable";
        batch->verdicts[i] = play(context, source, batch->events[i].deliveries);
    }
}

static int answer_get(void *context, const struct request *request, ProtobufCMessage **ret,
                      struct err *err)
{
    const Echora__Catalog__V1__CatalogGetRequest *q =
        (const Echora__Catalog__V1__CatalogGetRequest *)request->message;
    const char *first = q->n_ids > 0 ? q->ids[0] : "";
    Echora__Catalog__V1__CatalogGetReply *reply;

    if (strcmp(first, "reject") == 0)
        return err_set(err, ERR_REJECT, "bad-kind", "answer", "the script wants an error");
    if (strcmp(first, "away") == 0)
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_QDRANT, "http-connect", "answer",
                           "the script wants an outage");
    if (strcmp(first, "crash") == 0)
        abort();
    if (strncmp(first, "slow:", 5) == 0)
        sleep_ms(strtol(first + 5, NULL, 10));
    reply = (Echora__Catalog__V1__CatalogGetReply *)message_new(
        &echora__catalog__v1__catalog_get_reply__descriptor, request->arena);
    if (reply == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "answer", "the arena is full");
    reply->n_missing = q->n_ids;
    reply->missing = q->ids;
    if (strncmp(first, "big:", 4) == 0) {
        const size_t n = strtoul(first + 4, NULL, 10);
        char *text = arena_alloc(request->arena, n + 1);

        if (text == NULL)
            return err_set(err, ERR_RETRY, "no-memory", "answer", "the arena is full");
        memset(text, 'x', n);
        text[n] = '\0';
        reply->missing[0] = text;
    }
    *ret = &reply->base;
    return 0;
}

static const struct consumer_spec consumers[] = {
    {.durable = "catalog-updated", .subject = "anime.updated", .handle = handle},
    {.durable = "catalog-character-updated", .subject = "character.updated", .handle = handle},
};

/* SCRIPTED_RAW: a wildcard consumer that decodes nothing; its script is the header X-Script. */
static void handle_raw(void *context, struct batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        const char *source = event_header(&batch->events[i], "X-Script");

        source = source != NULL ? source : "done";
        write_journal(context, batch, i, source);
        batch->verdicts[i] = play(context, source, batch->events[i].deliveries);
    }
}

static const struct consumer_spec raw_consumers[] = {
    {.durable = "adapter-dlq",
     .filter = "anime.dlq.*",
     .stream = "ANIME_DLQ",
     .raw = true,
     .parks = true,
     .handle = handle_raw},
};

static const struct request_spec requests[] = {
    {.subject = "catalog.anime.get", .answer = answer_get},
};

int main(int argc, char **argv)
{
    struct worker_spec spec = {
        .name = "scripted",
        .summary = "does what each event tells it, for tests of the runtime",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .options_size = sizeof(struct settings),
        .consumers = consumers,
        .n_consumers = ARRAY_LEN(consumers),
        .requests = requests,
        .n_requests = ARRAY_LEN(requests),
        .needs = 1u << DEP_QDRANT,
        .open = open_context,
        .close = close_context,
        .probe = probe,
    };

    if (getenv("SCRIPTED_POSTGRES") != NULL)
        spec.needs |= 1u << DEP_POSTGRES;
    if (getenv("SCRIPTED_RAW") != NULL) {
        spec.consumers = raw_consumers;
        spec.n_consumers = ARRAY_LEN(raw_consumers);
        spec.n_requests = 0;
    }
    return worker_main(&spec, argc, argv);
}
