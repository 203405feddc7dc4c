/* Families in order of their names, each with its series. Making a series takes the lock; updating
 * one is a relaxed atomic on its own cells; rendering takes the lock and reads the cells one by
 * one, so that a histogram's count always equals its last bucket. */
// SPDX-License-Identifier: Apache-2.0
#include "events/metrics.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SERIES_LIMIT 4096
#define LABELS_MAX 1024

static const double default_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                         0.5,   0.75,   1,     2.5,  5,     7.5,  10,    0};

/* A double in an atomic word, because C has no atomic addition of doubles. */
typedef _Atomic uint64_t cell;

struct metric {
    struct metric *next; /* in its family */
    const struct metric_def *def;
    char *labels; /* rendered: a="x",b="y" */
    cell value;   /* of a histogram: the sum */
    unsigned n_buckets;
    _Atomic uint64_t *buckets; /* n_buckets and one for +Inf, not cumulative */
};

struct family {
    struct family *next; /* by name */
    const struct metric_def *def;
    struct metric *first, **last;
};

static struct {
    pthread_mutex_t lock;
    struct family *families;
    unsigned n_series;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const struct metric_def dead_def = {"dead", METRIC_GAUGE, "", "", NULL};
static struct metric dead = {.def = &dead_def};

static double to_double(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t to_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void cell_add(cell *c, double amount)
{
    uint64_t before = atomic_load_explicit(c, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(c, &before, to_bits(to_double(before) + amount),
                                                  memory_order_relaxed, memory_order_relaxed)) {}
}

static double cell_get(const cell *c)
{
    return to_double(atomic_load_explicit(c, memory_order_relaxed));
}

static const double *buckets_of(const struct metric_def *def)
{
    return def->buckets ? def->buckets : default_buckets;
}

/* Text format 0.0.4: backslash, quote and newline are escaped in label values. */
static void put_label_value(struct buf *out, const char *value)
{
    for (const char *p = value; *p; p++) {
        if (*p == '\n') {
            buf_puts(out, "\\n");
            continue;
        }
        if (*p == '\\' || *p == '"') {
            buf_putc(out, '\\');
        }
        buf_putc(out, *p);
    }
}

/* The label part of a series; NULL when memory or LABELS_MAX is spent. */
static char *render_labels(const struct metric_def *def, const char *const values[])
{
    struct buf out;
    buf_init(&out, LABELS_MAX);
    struct view names = view_of(def->labels), name;
    unsigned i = 0;
    while (names.n && view_split(&names, ',', &name)) {
        buf_puts(&out, i ? "," : "");
        buf_append_view(&out, name);
        buf_puts(&out, "=\"");
        put_label_value(&out, values[i] ? values[i] : "");
        buf_putc(&out, '"');
        i++;
    }
    char *labels = buf_failed(&out) ? NULL : strdup(buf_cstr(&out));
    buf_deinit(&out);
    return labels;
}

static struct family *find_family(const struct metric_def *def)
{
    struct family **link = &registry.families;
    while (*link && strcmp((*link)->def->name, def->name) < 0) {
        link = &(*link)->next;
    }
    if (*link && strcmp((*link)->def->name, def->name) == 0) {
        bool same =
            (*link)->def->kind == def->kind && strcmp((*link)->def->labels, def->labels) == 0;
        return same ? *link : NULL;
    }
    struct family *f = calloc(1, sizeof *f);
    if (f) {
        *f = (struct family){.next = *link, .def = def};
        f->last = &f->first;
        *link = f;
    }
    return f;
}

/* Takes labels over when it succeeds. */
static struct metric *add_series(struct family *f, char *labels)
{
    struct metric *m = calloc(1, sizeof *m);
    if (!m) {
        return NULL;
    }
    m->def = f->def;
    if (f->def->kind == METRIC_HISTOGRAM) {
        const double *bounds = buckets_of(f->def);
        while (bounds[m->n_buckets] > 0) {
            m->n_buckets++;
        }
        m->buckets = calloc(m->n_buckets + 1, sizeof *m->buckets);
        if (!m->buckets) {
            free(m);
            return NULL;
        }
    }
    m->labels = labels;
    *f->last = m;
    f->last = &m->next;
    registry.n_series++;
    return m;
}

static struct metric *find_or_add(const struct metric_def *def, char **labels)
{
    struct family *f = find_family(def);
    if (!f) {
        return NULL;
    }
    for (struct metric *m = f->first; m; m = m->next) {
        if (strcmp(m->labels, *labels) == 0) {
            return m;
        }
    }
    struct metric *m = registry.n_series < SERIES_LIMIT ? add_series(f, *labels) : NULL;
    if (m) {
        *labels = NULL;
    }
    return m;
}

struct metric *metric_series(const struct metric_def *def, const char *const label_values[])
{
    char *labels = render_labels(def, label_values);
    if (!labels) {
        return &dead;
    }
    pthread_mutex_lock(&registry.lock);
    struct metric *m = find_or_add(def, &labels);
    pthread_mutex_unlock(&registry.lock);
    free(labels);
    return m ? m : &dead;
}

void metric_add(struct metric *m, double amount)
{
    if (m->def->kind == METRIC_HISTOGRAM || (m->def->kind == METRIC_COUNTER && !(amount >= 0))) {
        return;
    }
    cell_add(&m->value, amount);
}

void metric_set(struct metric *m, double value)
{
    if (m->def->kind == METRIC_GAUGE) {
        atomic_store_explicit(&m->value, to_bits(value), memory_order_relaxed);
    }
}

void metric_observe(struct metric *m, double seconds)
{
    if (m->def->kind != METRIC_HISTOGRAM || isnan(seconds)) {
        return;
    }
    const double *bounds = buckets_of(m->def);
    unsigned i = 0;
    while (i < m->n_buckets && seconds > bounds[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    cell_add(&m->value, seconds);
}

double metric_value(const struct metric *m)
{
    if (m->def->kind != METRIC_HISTOGRAM) {
        return cell_get(&m->value);
    }
    uint64_t count = 0;
    for (unsigned i = 0; i <= m->n_buckets; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
    }
    return (double)count;
}

static void put_number(struct buf *out, double v)
{
    if (isnan(v)) {
        buf_puts(out, "NaN");
    } else if (isinf(v)) {
        buf_puts(out, v < 0 ? "-Inf" : "+Inf");
    } else {
        buf_put_double(out, v);
    }
    buf_putc(out, '\n');
}

static void put_head(struct buf *out, const char *name, enum metric_kind kind, const char *help)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s ", name);
    for (const char *p = help; *p; p++) {
        if (*p == '\n' || *p == '\\') {
            buf_puts(out, *p == '\n' ? "\\n" : "\\\\");
        } else {
            buf_putc(out, *p);
        }
    }
    buf_printf(out, "\n# TYPE %s %s\n", name, kinds[kind]);
}

/* name suffix {labels} */
static void put_series(struct buf *out, const struct metric *m, const char *suffix)
{
    buf_puts(out, m->def->name);
    buf_puts(out, suffix);
    if (m->labels[0]) {
        buf_putc(out, '{');
        buf_puts(out, m->labels);
        buf_putc(out, '}');
    }
    buf_putc(out, ' ');
}

static void put_histogram(struct buf *out, const struct metric *m)
{
    const double *bounds = buckets_of(m->def);
    uint64_t count = 0;
    for (unsigned i = 0; i <= m->n_buckets; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", m->def->name, m->labels, m->labels[0] ? "," : "");
        if (i < m->n_buckets) {
            buf_put_double(out, bounds[i]);
        } else {
            buf_puts(out, "+Inf");
        }
        buf_puts(out, "\"} ");
        buf_put_i64(out, (int64_t)count);
        buf_putc(out, '\n');
    }
    put_series(out, m, "_sum");
    put_number(out, cell_get(&m->value));
    put_series(out, m, "_count");
    buf_put_i64(out, (int64_t)count);
    buf_putc(out, '\n');
}

static void put_single(struct buf *out, const char *name, enum metric_kind kind, const char *help,
                       double value)
{
    put_head(out, name, kind, help);
    buf_puts(out, name);
    buf_putc(out, ' ');
    put_number(out, value);
}

static double count_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return 0;
    }
    double n = -1; /* the directory's own */
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        n += e->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

static size_t read_small_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    if (f) {
        fclose(f);
    }
    out[n] = '\0';
    return n;
}

/* The index-th word (from 0) of text as a number; 0 when there is none. */
static int64_t word_number(struct view text, unsigned index)
{
    struct view word = {0};
    int64_t v = 0;
    for (unsigned i = 0; i <= index; i++) {
        if (!view_split(&text, ' ', &word)) {
            return 0;
        }
    }
    return view_to_i64(view_trim(word), 0, INT64_MAX, &v) ? v : 0;
}

/* proc_pid_stat(5): starttime is the 22nd field in clock ticks since boot; the second field, the
 * name in parentheses, may hold blanks. */
static double start_time_seconds(void)
{
    char text[1024];
    read_small_file("/proc/self/stat", text, sizeof text);
    const char *behind_name = strrchr(text, ')');
    if (!behind_name || behind_name[1] != ' ') {
        return 0;
    }
    double ticks = (double)word_number(view_of(behind_name + 2), 19);
    struct timespec wall, boot;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return round((double)(wall.tv_sec - boot.tv_sec) + ticks / (double)sysconf(_SC_CLK_TCK));
}

static void put_process(struct buf *out)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    put_single(out, "process_cpu_seconds_total", METRIC_COUNTER, "CPU time spent.",
               (double)(cpu.tv_sec * 1000000 + cpu.tv_nsec / 1000) / 1e6);
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    put_single(out, "process_max_fds", METRIC_GAUGE, "Most open file descriptors allowed.",
               (double)limit.rlim_cur);
    put_single(out, "process_open_fds", METRIC_GAUGE, "Open file descriptors.", count_open_fds());
    char statm[256];
    read_small_file("/proc/self/statm", statm, sizeof statm);
    put_single(out, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory.",
               (double)(word_number(view_of(statm), 1) * sysconf(_SC_PAGESIZE)));
    put_single(out, "process_start_time_seconds", METRIC_GAUGE,
               "Start of the process, seconds since 1970.", start_time_seconds());
}

void metrics_render(struct buf *out)
{
    put_head(out, "echora_build_info", METRIC_GAUGE, "Always 1; the labels tell the build.");
    buf_puts(out, "echora_build_info{version=\"" ECHORA_VERSION "\"} 1\n");
    pthread_mutex_lock(&registry.lock);
    for (const struct family *f = registry.families; f; f = f->next) {
        if (!f->first) {
            continue;
        }
        put_head(out, f->def->name, f->def->kind, f->def->help);
        for (const struct metric *m = f->first; m; m = m->next) {
            if (f->def->kind == METRIC_HISTOGRAM) {
                put_histogram(out, m);
            } else {
                put_series(out, m, "");
                put_number(out, cell_get(&m->value));
            }
        }
    }
    pthread_mutex_unlock(&registry.lock);
    put_process(out);
}
