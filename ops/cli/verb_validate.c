// SPDX-License-Identifier: Apache-2.0
#include "events/base/buf.h"
#include "ops/cli/documents.h"
#include "ops/cli/event_input.h"
#include "ops/cli/faults.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"

#define FILE_MAX (256u << 20)

struct validate_options {
    bool raw, complete;
};

static const struct option options[] = {
    {"raw", OPT_BOOL, offsetof(struct validate_options, raw), "false", 0, 0, NULL, NULL,
     "The file is one ready protobuf payload."},
    {"complete", OPT_BOOL, offsetof(struct validate_options, complete), "false", 0, 0, NULL, NULL,
     "Fill an absent eventId and timestamp first, as publish does."},
};

/* Prints faults and counts those that publish would not see. */
struct reporter {
    struct fault_printer printer;
    unsigned filled_in;
};

static void report(void *ctx, const struct fault *fault)
{
    struct reporter *r = ctx;

    r->filled_in += strcmp(fault->kind, "absent") == 0 &&
                    (strcmp(fault->path, "event_id") == 0 || strcmp(fault->path, "timestamp") == 0);
    print_fault(&r->printer, fault);
}

static int check_all(struct cli *cli, const struct subject_def *def, const char *file,
                     struct view text, unsigned *ret_documents, unsigned *ret_faults,
                     struct err *err)
{
    const struct validate_options *o = cli->options;
    CLEANUP(arena_freep) struct arena *arena = arena_new(WIRE_ARENA);
    struct reporter r = {.printer = {.cli = cli, .file = file}};

    if (!arena)
        return err_set(err, ERR_RETRY, "no-memory", "validate", "out of memory");
    if (o->raw) {
        *ret_documents = 1;
        *ret_faults = event_check_bytes(def, bytes_of(text), arena, NULL, report, &r);
        return 0;
    }
    struct documents documents;
    json_t *json;
    int more;
    documents_start(&documents, text);
    while ((more = documents_next(&documents, &json, err)) > 0) {
        r.printer.document = documents.number;
        if (o->complete)
            event_complete(json);
        *ret_faults += event_check_json(def, json, arena, NULL, report, &r);
        json_decref(json);
        arena_reset(arena);
    }
    *ret_documents = documents.number;
    if (r.filled_in && r.filled_in == *ret_faults && !cli->config.json)
        printf("publish fills these in; --complete does the same\n");
    return more < 0 ? err_wrap(err, "%s: stopped", file) : 0;
}

static int run(struct cli *cli, struct err *err)
{
    const struct subject_def *def;
    struct buf text;
    const char *file = cli->args[1];
    unsigned n = 0, faults = 0;

    if (event_subject(cli->args[0], &def, err) < 0)
        return -1;
    int r = cli_read_file(file, FILE_MAX, &text, err);
    if (r == 0)
        r = check_all(cli, def, file, buf_view(&text), &n, &faults, err);
    buf_deinit(&text);
    if (r < 0)
        return -1;
    if (n == 0)
        return err_set(err, ERR_REJECT, "json-syntax", "validate", "%s holds no event", file);
    if (!cli->config.json)
        printf("%u event%s, %s%u fault%s%s\n", n, n == 1 ? "" : "s",
               paint(cli->color, faults ? PAINT_RED : PAINT_GREEN), faults, faults == 1 ? "" : "s",
               paint_end(cli->color));
    return faults ? CLI_FAILED : CLI_OK;
}

const struct verb verb_validate = {
    .name = "validate",
    .args = "SUBJECT FILE",
    .summary = "every fault of an event, before it is published",
    .details = "The checks of the workers: JSON form, required fields, ids, ranges, changed "
               "fields.\nFILE is JSON or NDJSON, - is standard input. Values are never shown.",
    .example = "echora validate anime.enriched event.json",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct validate_options),
    .run = run,
};
