/* import manami: one pass checks the whole file, a second one publishes it.
 *
 * So a cut or wrong file is refused before anything is published. Both passes stream; memory holds
 * a window of events. Everything published is a pure function of the file, so an import may be
 * broken off and repeated at will: the broker drops repeats, the catalogue ignores them. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/json.h"
#include "contracts/validate.h"
#include "events/base/buf.h"
#include "events/base/clock.h"
#include "ops/cli/lines.h"
#include "ops/cli/manami.h"
#include "ops/cli/output.h"
#include "ops/cli/publisher.h"
#include "ops/cli/verbs.h"
#include "ops/cli/wait.h"

#define SUBJECT "anime.enriched"
#define MAX_LINE (1u << 20)
#define MAX_TOTAL (UINT64_C(1) << 30)
#define ENTRY_ARENA (64u << 20)
#define LISTED 20

struct import_options {
    bool dry_run;
    int64_t limit, skip, rate;
    const char *wait;
    int64_t wait_timeout_ms;
};

static const struct option options[] = {
    {"dry-run", OPT_BOOL, offsetof(struct import_options, dry_run), "false", 0, 0, NULL, NULL,
     "Check the file, publish nothing."},
    {"limit", OPT_INT, offsetof(struct import_options, limit), "0", 0, INT64_MAX, NULL, "N",
     "Publish at most N entries; 0 = all."},
    {"skip", OPT_INT, offsetof(struct import_options, skip), "0", 0, INT64_MAX, NULL, "N",
     "Leave out the first N entries: goes on where an import was broken off."},
    {"rate", OPT_INT, offsetof(struct import_options, rate), "0", 0, 1000000, NULL, "N",
     "Publish at most N entries a second; 0 = as fast as it goes."},
    {"wait", OPT_ENUM, offsetof(struct import_options, wait), "stored", 0, 0, "stored|indexed",
     "STATE", "When to return: stored by the broker, or at its end in the index (needs pg-url)."},
    {"wait-timeout", OPT_DURATION, offsetof(struct import_options, wait_timeout_ms), "30m", 1,
     86400000, NULL, "TIME", "Limit of --wait indexed."},
};

struct import {
    struct cli *cli;
    const struct subject_def *def;
    struct lines *lines;
    struct manami_file file;
    struct arena *arena; /* for one entry */
    uint64_t line;       /* number of the line at hand, from 1 */
    uint64_t entries;    /* good ones */
    uint64_t bad;
    struct publisher *publisher;
    struct bar progress;
    int64_t start_ms;
    struct wait_list waiting;
};

static void list_bad(struct import *im, const struct err *e)
{
    im->bad++;
    if (im->bad > LISTED)
        return;
    fprintf(stderr, "line %" PRIu64 ": skipped: %s [%s]\n", im->line, e->text, e->code);
    if (im->bad == LISTED)
        fputs("more bad lines are only counted\n", stderr);
}

/* The next good entry's event, which lasts until the next call. 1, 0 at the end, -1 for a broken
 * file. */
static int next_event(struct import *im, bool list, Echora__Events__V1__AnimeEnrichedEvent **ret,
                      struct err *err)
{
    struct view line;
    bool too_long;
    int more;

    while ((more = lines_next(im->lines, &line, &too_long, err)) > 0) {
        struct err e = ERR_INIT;
        json_t *json = NULL;
        arena_reset(im->arena);
        im->line++;
        if (view_trim(line).n == 0)
            continue;
        int r = too_long ? err_set(&e, ERR_REJECT, "too-large", "read entry",
                                   "the line is longer than 1 MiB")
                         : json_parse(line, &json, &e);
        if (r == 0 && im->line == 1 && manami_is_metadata(json)) {
            json_decref(json);
            continue;
        }
        if (r == 0)
            r = manami_event(json, &im->file, im->arena, ret, &e);
        json_decref(json);
        if (r == 0)
            r = validate_or_err(im->def, &(*ret)->base, wall_us(), &e);
        if (r == 0)
            return 1;
        if (list)
            list_bad(im, &e);
    }
    return more;
}

static int read_metadata(struct import *im, struct err *err)
{
    struct view line;
    bool too_long;
    json_t *json = NULL;
    uint8_t digest[SHA256_SIZE];

    sha256(lines_raw(im->lines), digest);
    for (size_t i = 0; i < SHA256_SIZE; i++)
        (void)snprintf(im->file.sha256 + 2 * i, 3, "%02x", digest[i]);
    int more = lines_next(im->lines, &line, &too_long, err);
    if (more < 0)
        return -1;
    bool good = more > 0 && !too_long && json_parse(line, &json, err) == 0 &&
                manami_is_metadata(json) && manami_last_update(json, &im->file.time_s);
    json_decref(json);
    if (!good)
        return err_set(err, ERR_REJECT, "snapshot-invalid", "read file",
                       "the first line is no metadata with a lastUpdate");
    return 0;
}

static int check_pass(struct import *im, struct err *err)
{
    Echora__Events__V1__AnimeEnrichedEvent *event;
    int more = 0;

    if (read_metadata(im, err) < 0)
        return -1;
    lines_rewind(im->lines);
    im->line = 0;
    while (!interrupted() && (more = next_event(im, true, &event, err)) > 0)
        im->entries++;
    if (more < 0)
        return -1;
    if (im->entries == 0 || im->bad * 100 > im->entries + im->bad)
        return err_set(err, ERR_REJECT, "snapshot-invalid", "import",
                       "%" PRIu64 " of %" PRIu64 " lines are bad; nothing was published", im->bad,
                       im->entries + im->bad);
    return 0;
}

static void on_published(void *ctx, const struct published *event)
{
    struct import *im = ctx;

    if (event->err->class == ERR_NONE)
        wait_list_add(&im->waiting, event->event_id, event->ack->sequence);
    else
        fprintf(stderr, "entry %" PRIu64 " (%s): refused: %s [%s]\n", event->tag, event->entity_id,
                event->err->text, event->err->code);
}

/* Sleeps until the rate allows the n-th entry. */
static bool pace(const struct import *im, int64_t rate, uint64_t n)
{
    if (rate == 0)
        return !interrupted();
    int64_t due = im->start_ms + (int64_t)(n * 1000 / (uint64_t)rate);
    int64_t left = due - mono_ms();
    return left <= 0 ? !interrupted() : wait_ms(left);
}

/* What --rate holds back must not also lie in a half-full window. */
#define FLUSH_EVERY_MS 200

static int publish_pass(struct import *im, uint64_t *ret_last, struct err *err)
{
    const struct import_options *o = im->cli->options;
    Echora__Events__V1__AnimeEnrichedEvent *event;
    uint64_t skip = (uint64_t)o->skip, at = 0, sent = 0;
    uint64_t most = o->limit ? (uint64_t)o->limit : UINT64_MAX;
    uint64_t expected = im->entries > skip ? im->entries - skip : 0;
    int more = 0;

    lines_rewind(im->lines);
    im->line = 0;
    for (; at < skip && !interrupted(); at++) {
        more = next_event(im, false, &event, err);
        if (more <= 0)
            return more;
    }
    int64_t flushed_ms = im->start_ms = mono_ms();
    bar_start(&im->progress, "entries", expected < most ? expected : most, im->cli->config.json);
    while (sent < most && pace(im, o->rate, sent)) {
        if (o->rate && mono_ms() - flushed_ms >= FLUSH_EVERY_MS) {
            if (publisher_flush(im->publisher, err) < 0)
                return -1;
            flushed_ms = mono_ms();
        }
        more = next_event(im, false, &event, err);
        if (more <= 0)
            break;
        at++;
        if (publisher_add(im->publisher, im->def, &event->base, at, err) < 0)
            return -1;
        sent++;
        bar_update(&im->progress, sent);
    }
    *ret_last = at;
    if (more < 0 || publisher_flush(im->publisher, err) < 0)
        return -1;
    return 0;
}

static void summarise(const struct import *im, uint64_t last)
{
    struct publisher_counts n = {0};
    double seconds = (double)(mono_ms() - im->start_ms) / 1000;

    if (im->publisher)
        n = publisher_counts(im->publisher);
    if (im->cli->config.json) {
        printf("{\"entries\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"stored\":%" PRIu64
               ",\"duplicates\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"last_sequence\":%" PRIu64
               ",\"position\":%" PRIu64 ",\"sha256\":\"%s\",\"seconds\":%.3f}\n",
               im->entries, im->bad, n.stored, n.duplicates, n.refused, n.last_sequence, last,
               im->file.sha256, seconds);
        return;
    }
    printf("%" PRIu64 " entries, %" PRIu64 " bad lines", im->entries, im->bad);
    if (im->publisher)
        printf(": %s%" PRIu64 " stored%s, %" PRIu64 " duplicates, %" PRIu64 " refused in %.1f s",
               paint(im->cli->color, PAINT_GREEN), n.stored, paint_end(im->cli->color),
               n.duplicates, n.refused, seconds);
    printf("\n");
    if (interrupted())
        printf("broken off; go on with --skip %" PRIu64 "\n", last);
}

static int wait_for_ends(struct import *im, struct err *err)
{
    const struct import_options *o = im->cli->options;
    struct wait_result ends;

    if (wait_indexed(im->cli, im->def, &im->waiting, o->wait_timeout_ms, &ends, err) < 0)
        return -1;
    double seconds = (double)(mono_ms() - im->start_ms) / 1000;
    if (im->cli->config.json)
        printf("{\"applied\":%" PRIu64 ",\"unchanged\":%" PRIu64 ",\"parked\":%" PRIu64
               ",\"pending\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"seconds\":%.3f}\n",
               ends.applied, ends.unchanged, ends.parked, ends.pending, ends.rejected, seconds);
    else
        printf("indexed after %.1f s: %" PRIu64 " applied, %" PRIu64 " changed nothing, %" PRIu64
               " parked, %" PRIu64 " pending, %s%" PRIu64 " rejected%s\n",
               seconds, ends.applied, ends.unchanged, ends.parked, ends.pending,
               paint(im->cli->color, ends.rejected ? PAINT_RED : PAINT_GREEN), ends.rejected,
               paint_end(im->cli->color));
    return ends.rejected ? CLI_FAILED : CLI_OK;
}

static int import(struct import *im, struct err *err)
{
    const struct import_options *o = im->cli->options;
    uint64_t last = 0;

    bool waits = strcmp(o->wait, "indexed") == 0 && !o->dry_run;

    im->start_ms = mono_ms();
    if (!(im->arena = arena_new(ENTRY_ARENA)))
        return err_set(err, ERR_RETRY, "no-memory", "import", "out of memory");
    if ((waits && wait_check(im->cli, err) < 0) || check_pass(im, err) < 0)
        return -1;
    if (!o->dry_run && !interrupted()) {
        if (publisher_new(&im->publisher, im->cli, on_published, im, err) < 0)
            return -1;
        int r = publish_pass(im, &last, err);
        bar_end(&im->progress);
        if (r < 0)
            return err_wrap(err, "after %" PRIu64 " entries", last);
    }
    summarise(im, last);
    if (waits && !interrupted() && im->waiting.n) {
        int r = wait_for_ends(im, err);
        if (r != 0)
            return r;
    }
    bool refused = im->publisher && publisher_counts(im->publisher).refused;
    return refused || interrupted() ? CLI_FAILED : CLI_OK;
}

static int run(struct cli *cli, struct err *err)
{
    struct import im = {.cli = cli, .def = registry_must(SUBJECT)};

    if (lines_open(&im.lines, cli->args[0], MAX_LINE, MAX_TOTAL, err) < 0)
        return -1;
    int r = import(&im, err);
    im.publisher = publisher_free(im.publisher);
    im.arena = arena_free(im.arena);
    wait_list_free(&im.waiting);
    im.lines = lines_close(im.lines);
    return r;
}

const struct verb verb_import_manami = {
    .name = "import manami",
    .args = "FILE",
    .summary = "publishes an anime-offline-database snapshot",
    .details = "FILE is the JSONL form, plain or zstd. Every entry becomes one anime.enriched; "
               "ids and times\ncome from the file, so a repeated import changes nothing. The whole "
               "file is checked first:\nbad lines are listed and skipped, over 1 % of them refuse "
               "the file.",
    .example = "echora import manami anime-offline-database.jsonl.zst",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct import_options),
    .run = run,
};
