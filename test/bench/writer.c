/* The catalogue writer in one process, without NATS: decode, apply, commit. One JSON line on
 * standard output.
 *
 * usage: bench-writer postgresql://URL BATCH FILE.ndjson [SUBJECT]     (events as canonical JSON)
 * The environment: BENCH_PG_PASSWORD; with BENCH_WITHOUT_OUTBOX no outbox rows are written, for
 * which the linker puts __wrap_outbox_append before the writer's call (--wrap in meson.build).
 */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "contracts/json.h"
#include "contracts/registry.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "workers/catalogue/writer.h"

enum { BATCH_MAX = 1024, ARENA_CAP = 1 << 30 };

static struct writer writer;
static struct arena *scratch;
static int64_t busy_us;
static size_t counts[OUTCOME_REJECTED + 1], failed;

int __real_outbox_append(struct outbox *o, struct pg *pg, const struct outbox_row rows[], size_t n,
                         struct err *err);
int __wrap_outbox_append(struct outbox *o, struct pg *pg, const struct outbox_row rows[], size_t n,
                         struct err *err);
static bool without_outbox;

int __wrap_outbox_append(struct outbox *o, struct pg *pg, const struct outbox_row rows[], size_t n,
                         struct err *err)
{
    return without_outbox ? 0 : __real_outbox_append(o, pg, rows, n, err);
}

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench-writer: %s: %s %s\n", what, err ? err->code : "", err ? err->text : "");
    exit(1);
}

static void flush(struct op ops[], size_t n)
{
    struct written written[BATCH_MAX];
    for (size_t i = 0; i < n; i++)
        written[i] = (struct written){.op = &ops[i]};
    int64_t start = mono_us();
    writer_run(&writer, written, n);
    busy_us += mono_us() - start;
    for (size_t i = 0; i < n; i++) {
        counts[ops[i].outcome]++;
        if (written[i].err.class == ERR_NONE)
            continue;
        failed++;
        fprintf(stderr, "%s %s\n", written[i].err.code, written[i].err.text);
    }
}

int main(int argc, char **argv)
{
    static struct op ops[BATCH_MAX];
    struct err err = ERR_INIT;
    if (argc < 4)
        die("usage", NULL);
    without_outbox = getenv("BENCH_WITHOUT_OUTBOX") != NULL;
    const char *password = getenv("BENCH_PG_PASSWORD");
    struct pg_options options = {
        .url = argv[1], .password = password ? password : "", .application_name = "bench-writer"};
    struct pg *pg = pg_new(&options);
    struct risk_limits limits = {50, 50};
    if (!pg || writer_init(&writer, pg, NULL, &limits, &err) < 0)
        die("open", &err);
    size_t batch = strtoul(argv[2], NULL, 10), n = 0, total = 0;
    batch = batch && batch <= BATCH_MAX ? batch : BATCH_MAX;
    const struct subject_def *def =
        registry_subject(view_of(argc > 4 ? argv[4] : "anime.enriched"));
    FILE *file = fopen(argv[3], "r");
    if (!file || !def)
        die("file or subject", NULL);
    scratch = arena_new(ARENA_CAP);
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int64_t start = mono_us();
    while ((length = getline(&line, &size, file)) > 0) {
        ProtobufCMessage *message;
        if (json_decode(def->message, (struct view){line, (size_t)length}, scratch, &message,
                        &err) < 0 ||
            op_init(&ops[n], def, message, scratch, &err) < 0)
            die("event", &err);
        ops[n].consumer = "bench";
        ops[n].stream_sequence = ++total;
        if (++n < batch)
            continue;
        flush(ops, n);
        arena_reset(scratch);
        n = 0;
    }
    if (n)
        flush(ops, n);
    double seconds = (double)(mono_us() - start) / 1e6;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"events\":%zu,\"seconds\":%.2f,\"busy\":%.2f,\"user\":%.2f,\"sys\":%.2f,"
           "\"rss_kb\":%ld,\"applied\":%zu,\"unchanged\":%zu,\"pending\":%zu,\"rejected\":%zu,"
           "\"duplicate\":%zu,\"failed\":%zu}\n",
           total, seconds, (double)busy_us / 1e6,
           (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6,
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6, usage.ru_maxrss,
           counts[OUTCOME_APPLIED], counts[OUTCOME_UNCHANGED], counts[OUTCOME_PENDING],
           counts[OUTCOME_REJECTED], counts[OUTCOME_NONE], failed);
    return failed ? 1 : 0;
}
