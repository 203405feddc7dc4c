// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "events/base/buf.h"
#include "ops/cli/chain.h"
#include "ops/cli/documents.h"
#include "ops/cli/event_input.h"
#include "ops/cli/faults.h"
#include "ops/cli/output.h"
#include "ops/cli/publisher.h"
#include "ops/cli/verbs.h"
#include "ops/cli/wait.h"

#define FILE_MAX (256u << 20)
#define DEAD_SEARCHED 2000

struct publish_options {
    bool dry_run, raw;
    const char *wait;
    int64_t wait_timeout_ms;
};

static const struct option options[] = {
    {"dry-run", OPT_BOOL, offsetof(struct publish_options, dry_run), "false", 0, 0, NULL, NULL,
     "Check and stamp, publish nothing."},
    {"raw", OPT_BOOL, offsetof(struct publish_options, raw), "false", 0, 0, NULL, NULL,
     "Each FILE is one ready protobuf payload."},
    {"wait", OPT_ENUM, offsetof(struct publish_options, wait), "stored", 0, 0, "stored|indexed",
     "STATE", "When to return: stored by the broker, or at its end in the index (needs pg-url)."},
    {"wait-timeout", OPT_DURATION, offsetof(struct publish_options, wait_timeout_ms), "1m", 1,
     86400000, NULL, "TIME", "Limit of --wait indexed."},
};

struct run {
    struct cli *cli;
    const struct subject_def *def;
    struct publisher *publisher; /* NULL with --dry-run */
    struct arena *arena;         /* for one event */
    unsigned events, faults;
    struct wait_list waiting;
};

static void show(const struct cli *cli, const struct published *e)
{
    if (cli->config.json) {
        struct buf b;
        buf_init(&b, 8192);
        buf_printf(&b, "{\"subject\":\"%s\",\"event_id\":\"%s\",\"entity_id\":\"%s\"",
                   e->def->subject, e->event_id, e->entity_id);
        if (e->err->class != ERR_NONE) {
            buf_printf(&b, ",\"code\":\"%s\",\"text\":", e->err->code);
            buf_put_json_string(&b, view_of(e->err->text));
        } else {
            buf_printf(&b,
                       ",\"stream\":\"%s\",\"sequence\":%" PRIu64
                       ",\"duplicate\":%s,\"trace_id\":\"%s\"",
                       e->ack->stream, e->ack->sequence, e->ack->duplicate ? "true" : "false",
                       e->trace_id);
        }
        printf("%s}\n", buf_cstr(&b));
        buf_deinit(&b);
    } else if (e->err->class != ERR_NONE) {
        printf("%s %srefused%s: %s [%s]\n", e->event_id, paint(cli->color, PAINT_RED),
               paint_end(cli->color), e->err->text, e->err->code);
    } else {
        printf("%s %s%s%s %s:%" PRIu64 " trace %s\n", e->event_id,
               paint(cli->color, e->ack->duplicate ? PAINT_YELLOW : PAINT_GREEN),
               e->ack->duplicate ? "duplicate" : "stored", paint_end(cli->color), e->ack->stream,
               e->ack->sequence, e->trace_id);
    }
}

static void on_published(void *ctx, const struct published *event)
{
    struct run *run = ctx;

    show(run->cli, event);
    if (event->err->class == ERR_NONE)
        wait_list_add(&run->waiting, event->event_id, event->ack->sequence);
}

static int send_one(struct run *run, const ProtobufCMessage *message, struct err *err)
{
    run->events++;
    if (run->publisher)
        return publisher_add(run->publisher, run->def, message, run->events, err);
    struct envelope envelope;
    envelope_read(run->def, message, &envelope);
    if (run->cli->config.json)
        printf("{\"subject\":\"%s\",\"event_id\":\"%.*s\",\"entity_id\":\"%.*s\",\"bytes\":%zu,"
               "\"dry_run\":true}\n",
               run->def->subject, VIEW_ARG(envelope.event_id), VIEW_ARG(envelope.entity_id),
               protobuf_c_message_get_packed_size(message));
    else
        printf("%.*s would be published on %s, %zu bytes\n", VIEW_ARG(envelope.event_id),
               run->def->subject, protobuf_c_message_get_packed_size(message));
    return 0;
}

static int publish_raw(struct run *run, const char *file, struct view text, struct err *err)
{
    struct fault_printer printer = {.cli = run->cli, .file = file};
    ProtobufCMessage *message = NULL;

    arena_reset(run->arena);
    unsigned n =
        event_check_bytes(run->def, bytes_of(text), run->arena, &message, print_fault, &printer);
    run->faults += n;
    return n ? 0 : send_one(run, message, err);
}

static int publish_json(struct run *run, const char *file, struct view text, struct err *err)
{
    struct fault_printer printer = {.cli = run->cli, .file = file};
    struct documents documents;
    json_t *json;
    int more = 0;

    documents_start(&documents, text);
    while (!interrupted() && (more = documents_next(&documents, &json, err)) > 0) {
        ProtobufCMessage *message = NULL;
        arena_reset(run->arena);
        printer.document = documents.number;
        event_complete(json);
        unsigned n = event_check_json(run->def, json, run->arena, &message, print_fault, &printer);
        json_decref(json);
        run->faults += n;
        if (n == 0 && send_one(run, message, err) < 0)
            return -1;
    }
    return more < 0 ? err_wrap(err, "%s: stopped", file) : 0;
}

static int publish_file(struct run *run, const char *file, struct err *err)
{
    const struct publish_options *o = run->cli->options;
    struct buf text;
    int r = cli_read_file(file, FILE_MAX, &text, err);

    if (r == 0)
        r = o->raw ? publish_raw(run, file, buf_view(&text), err)
                   : publish_json(run, file, buf_view(&text), err);
    buf_deinit(&text);
    return r;
}

static int publish_all(struct run *run, struct err *err)
{
    static char standard[] = "-", *only_standard[] = {standard};
    const struct cli *cli = run->cli;
    int n = cli->n_args > 1 ? cli->n_args - 1 : 1;
    char **files = cli->n_args > 1 ? cli->args + 1 : only_standard;
    int r = 0;

    for (int i = 0; i < n && r == 0; i++)
        r = publish_file(run, files[i], err);
    /* What was good before the fault goes out: it was said to be checked, not to be atomic. */
    struct err flushed = ERR_INIT;
    if (run->publisher && publisher_flush(run->publisher, &flushed) < 0 && r == 0) {
        *err = flushed;
        r = -1;
    } else if (run->publisher && r < 0) {
        struct publisher_counts counts = publisher_counts(run->publisher);
        (void)snprintf(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
                       "; %" PRIu64 " published", counts.stored + counts.duplicates);
    }
    if (r == 0 && run->events + run->faults == 0)
        return err_set(err, ERR_REJECT, "json-syntax", "publish", "no event in the input");
    return r;
}

static void show_end(const struct cli *cli, const char *id, const char *outcome,
                     const struct chain_handled *handled, const char *code)
{
    printf("%s %s%s%s", id, paint(cli->color, handled->found ? PAINT_GREEN : PAINT_RED), outcome,
           paint_end(cli->color));
    if (handled->revision)
        printf(" revision %" PRId64, handled->revision);
    if (strcmp(outcome, "parked") == 0)
        printf(", what is risky waits for a person: echora review show %s", id);
    printf("%s%s\n", *code ? " " : "", code);
}

/* How each one ended; what was rejected, with its code from the dead letter. */
static int show_ends(struct run *run, const struct wait_result *ends, struct err *err)
{
    const struct cli *cli = run->cli;

    for (size_t i = 0; i < run->waiting.n; i++) {
        struct chain_handled handled;
        struct chain_message dead = {0};
        char id[UUID_TEXT];
        if (chain_handled(run->cli, run->waiting.ids[i], &handled, err) < 0 ||
            (!handled.found && chain_search(run->cli, "ANIME_DLQ", run->waiting.ids[i],
                                            DEAD_SEARCHED, &dead, err) < 0))
            return -1;
        uuid_format(run->waiting.ids[i], id);
        const char *outcome = handled.found ? handled.outcome : "rejected";
        if (cli->config.json)
            printf("{\"event_id\":\"%s\",\"outcome\":\"%s\",\"revision\":%" PRId64
                   ",\"code\":\"%s\"}\n",
                   id, outcome, handled.revision, dead.code);
        else
            show_end(cli, id, outcome, &handled, dead.code);
        arena_reset(run->cli->arena);
    }
    return ends->rejected ? CLI_FAILED : CLI_OK;
}

static int wait_for_ends(struct run *run, struct err *err)
{
    const struct publish_options *o = run->cli->options;
    struct wait_result ends;

    if (run->waiting.n == 0)
        return CLI_OK;
    if (wait_indexed(run->cli, run->def, &run->waiting, o->wait_timeout_ms, &ends, err) < 0)
        return -1;
    return show_ends(run, &ends, err);
}

static int run_publish(struct cli *cli, struct err *err)
{
    const struct publish_options *o = cli->options;
    struct run run = {.cli = cli};
    bool waits = strcmp(o->wait, "indexed") == 0 && !o->dry_run;

    if (event_subject(cli->args[0], &run.def, err) < 0)
        return -1;
    if (run.def->stream->sole_writer)
        return err_set(err, ERR_FATAL, "nats-permission", "publish", "only the relay writes %s",
                       run.def->subject);
    if ((waits && wait_check(cli, err) < 0))
        return -1;
    if (!o->dry_run && publisher_new(&run.publisher, cli, on_published, &run, err) < 0)
        return -1;
    run.arena = arena_new(WIRE_ARENA);
    int r = run.arena ? publish_all(&run, err)
                      : err_set(err, ERR_RETRY, "no-memory", "publish", "out of memory");
    uint64_t refused = run.publisher ? publisher_counts(run.publisher).refused : 0;
    run.publisher = publisher_free(run.publisher);
    run.arena = arena_free(run.arena);
    if (r == 0 && waits)
        r = wait_for_ends(&run, err);
    wait_list_free(&run.waiting);
    if (r != 0)
        return r;
    return run.faults || refused || interrupted() ? CLI_FAILED : CLI_OK;
}

const struct verb verb_publish = {
    .name = "publish",
    .args = "SUBJECT [FILE...]",
    .summary = "checks, stamps and publishes events",
    .details = "FILE is JSON or NDJSON in canonical proto3 JSON; without FILE standard input is "
               "read.\nAn absent eventId and timestamp are filled in; give both yourself and the "
               "same event published\ntwice is stored once (answer: duplicate). An event with a "
               "fault is not published, the others are;\nwhat is no JSON ends the input there.",
    .example = "echora publish anime.enriched event.json",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct publish_options),
    .run = run_publish,
};
