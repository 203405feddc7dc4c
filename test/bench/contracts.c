/* Rates of what every event passes before a handler: wire check, decode, validation; and both ways
 * of canonical JSON. One JSON line per job on standard output.
 *
 * usage: bench-contracts FILE.ndjson SECONDS      (events of anime.enriched as canonical JSON)
 */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "contracts/json.h"
#include "contracts/registry.h"
#include "contracts/validate.h"
#include "contracts/wire.h"
#include "events/base/clock.h"

enum { MOST_EVENTS = 4096, ARENA_CAP = 64 << 20 };

struct sample {
    struct view json;
    struct bytes wire;
};

static struct sample samples[MOST_EVENTS];
static size_t n_samples;
static size_t n_bytes;
static const struct subject_def *def;
static struct arena *scratch;
static struct buf out;

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench-contracts: %s: %s %s\n", what, err ? err->code : "",
            err ? err->text : "");
    exit(1);
}

static void load(const char *path, struct arena *keep)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die(path, NULL);
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    struct err err = ERR_INIT;
    while (n_samples < MOST_EVENTS && (n = getline(&line, &size, file)) > 0) {
        struct sample *s = &samples[n_samples];
        s->json.p = arena_strdup(keep, (struct view){line, (size_t)n});
        s->json.n = (size_t)n;
        ProtobufCMessage *message;
        arena_reset(scratch);
        if (!s->json.p || json_decode(def->message, s->json, scratch, &message, &err) < 0)
            die("sample", &err);
        buf_reset(&out);
        if (wire_encode(message, &out, &err) < 0)
            die("sample", &err);
        struct view copy = {arena_strdup(keep, buf_view(&out)), out.n};
        if (!copy.p)
            die("sample", NULL);
        s->wire = bytes_of(copy);
        n_bytes += out.n;
        n_samples++;
    }
    free(line);
    fclose(file);
    if (n_samples == 0)
        die("no events in the file", NULL);
}

static void run_check(const struct sample *s)
{
    struct err err = ERR_INIT;
    size_t size;
    if (wire_check(def->message, s->wire, WIRE_DECODE_MAX_DEFAULT, &size, &err) < 0)
        die("wire check", &err);
}

static ProtobufCMessage *decode(const struct sample *s)
{
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    arena_reset(scratch);
    if (wire_decode(def->message, s->wire, WIRE_DECODE_MAX_DEFAULT, scratch, &message, &err) < 0)
        die("decode", &err);
    return message;
}

static void run_decode(const struct sample *s)
{
    (void)decode(s);
}

static void run_whole(const struct sample *s)
{
    struct err err = ERR_INIT;
    if (validate_or_err(def, decode(s), wall_us(), &err) < 0)
        die("validate", &err);
}

static void run_json_write(const struct sample *s)
{
    struct err err = ERR_INIT;
    buf_reset(&out);
    if (json_encode(decode(s), &out, &err) < 0)
        die("json write", &err);
}

static void run_json_read(const struct sample *s)
{
    struct err err = ERR_INIT;
    ProtobufCMessage *message;
    arena_reset(scratch);
    if (json_decode(def->message, s->json, scratch, &message, &err) < 0)
        die("json read", &err);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static void measure(const char *job, void (*run)(const struct sample *), double seconds)
{
    double cpu = cpu_seconds();
    int64_t start = mono_us(), end = start + (int64_t)(seconds * 1e6), now = start;
    size_t events = 0;
    while (now < end) {
        for (size_t i = 0; i < n_samples; i++)
            run(&samples[i]);
        events += n_samples;
        now = mono_us();
    }
    double wall = (double)(now - start) / 1e6;
    double bytes = (double)n_bytes / (double)n_samples;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"job\":\"%s\",\"events_per_s\":%.0f,\"mb_per_s\":%.1f,\"cpu_s_per_million\":%.3f,"
           "\"bytes_per_event\":%.0f,\"peak_rss_mb\":%.1f}\n",
           job, (double)events / wall, (double)events * bytes / wall / 1e6,
           (cpu_seconds() - cpu) * 1e6 / (double)events, bytes, (double)usage.ru_maxrss / 1024);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: bench-contracts FILE.ndjson SECONDS\n", stderr);
        return 2;
    }
    def = registry_must("anime.enriched");
    scratch = arena_new(ARENA_CAP);
    struct arena *keep = arena_new((size_t)1 << 30);
    buf_init(&out, 16 << 20);
    if (!scratch || !keep)
        die("out of memory", NULL);
    load(argv[1], keep);
    double seconds = strtod(argv[2], NULL);
    measure("wire check", run_check, seconds);
    measure("wire check + decode", run_decode, seconds);
    measure("wire check + decode + validate", run_whole, seconds);
    measure("decode + JSON write", run_json_write, seconds);
    measure("JSON read", run_json_read, seconds);
    buf_deinit(&out);
    arena_free(keep);
    arena_free(scratch);
    return 0;
}
