// SPDX-License-Identifier: Apache-2.0
#include "events/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "test/unit/check.h"

static const double bounds[] = {0.1, 1, 0};
static const struct metric_def events_def = {"t_events_total", METRIC_COUNTER,
                                             "Events.\nAll \\ of.", "consumer,outcome", NULL};
static const struct metric_def lag_def = {"t_lag_seconds", METRIC_GAUGE, "Lag.", "", NULL};
static const struct metric_def time_def = {"t_duration_seconds", METRIC_HISTOGRAM, "Time.", "what",
                                           bounds};
static const struct metric_def time_plain_def = {"t_plain_seconds", METRIC_HISTOGRAM, "Time.", "",
                                                 NULL};

static char *rendered(void)
{
    struct buf out;
    buf_init(&out, 8 << 20);
    metrics_render(&out);
    CHECK(!buf_failed(&out));
    char *text = strdup(buf_cstr(&out));
    buf_deinit(&out);
    return text;
}

static void check_holds(const char *want)
{
    char *text = rendered();
    CHECK_ROW(strstr(text, want) != NULL, want);
    free(text);
}

static void test_text_format(void)
{
    struct metric *done = metric_series(&events_def, (const char *const[]){"a", "done"});
    struct metric *odd = metric_series(&events_def, (const char *const[]){"q\"\\\n", "skip"});
    struct metric *lag = metric_series(&lag_def, NULL);
    struct metric *time = metric_series(&time_def, (const char *const[]){"db"});
    CHECK(done != odd);
    CHECK(metric_series(&events_def, (const char *const[]){"a", "done"}) == done);
    metric_add(done, 1);
    metric_add(done, 2.5);
    metric_add(done, -1); /* counters never fall */
    metric_add(done, (double)NAN);
    metric_set(done, 100); /* nor are they set */
    metric_observe(done, 1);
    metric_add(odd, 7);
    metric_set(lag, 5);
    metric_add(lag, -7.25);
    metric_observe(time, 0.1);
    metric_observe(time, 0.5);
    metric_observe(time, 2);
    metric_observe(time, (double)NAN);
    metric_add(time, 1);
    metric_set(time, 1);
    CHECK(metric_value(done) == 3.5);
    CHECK(metric_value(time) == 3);
    check_holds("# HELP t_events_total Events.\\nAll \\\\ of.\n"
                "# TYPE t_events_total counter\n"
                "t_events_total{consumer=\"a\",outcome=\"done\"} 3.5\n"
                "t_events_total{consumer=\"q\\\"\\\\\\n\",outcome=\"skip\"} 7\n"
                "# HELP t_lag_seconds Lag.\n"
                "# TYPE t_lag_seconds gauge\n"
                "t_lag_seconds -2.25\n");
    check_holds("# TYPE t_duration_seconds histogram\n"
                "t_duration_seconds_bucket{what=\"db\",le=\"0.1\"} 1\n"
                "t_duration_seconds_bucket{what=\"db\",le=\"1\"} 2\n"
                "t_duration_seconds_bucket{what=\"db\",le=\"+Inf\"} 3\n"
                "t_duration_seconds_sum{what=\"db\"} 2.6\n"
                "t_duration_seconds_count{what=\"db\"} 3\n");
    metric_set(lag, (double)INFINITY);
    check_holds("\nt_lag_seconds +Inf\n");
    metric_set(lag, (double)NAN);
    check_holds("\nt_lag_seconds NaN\n");
    metric_observe(metric_series(&time_plain_def, NULL), 0.003);
    check_holds(
        "t_plain_seconds_bucket{le=\"0.0025\"} 0\nt_plain_seconds_bucket{le=\"0.005\"} 1\n");
    check_holds("\nt_plain_seconds_sum 0.003\nt_plain_seconds_count 1\n");
}

static double value_of(const char *text, const char *line)
{
    const char *at = strstr(text, line);
    return at ? strtod(at + strlen(line), NULL) : -1;
}

static void test_process(void)
{
    char *text = rendered();
    CHECK(strstr(text, "\nechora_build_info{version=\"" ECHORA_VERSION "\"} 1\n") != NULL);
    double start = value_of(text, "\nprocess_start_time_seconds ");
    CHECK(fabs(start - (double)time(NULL)) < 60);
    CHECK(value_of(text, "\nprocess_cpu_seconds_total ") > 0);
    CHECK(value_of(text, "\nprocess_resident_memory_bytes ") > 100e3);
    CHECK(value_of(text, "\nprocess_max_fds ") > 2);
    double fds = value_of(text, "\nprocess_open_fds ");
    CHECK(fds >= 3);
    free(text);
    int fd = dup(0);
    text = rendered();
    CHECK(value_of(text, "\nprocess_open_fds ") == fds + 1);
    free(text);
    close(fd);
}

/* Every line is a comment or name{labels} value, each family stands in one piece. */
static void test_lines(void)
{
    char *text = rendered();
    CHECK(text[0] && text[strlen(text) - 1] == '\n');
    struct view rest = {text, strlen(text) - 1}, line;
    char family[100] = "";
    while (view_split(&rest, '\n', &line)) {
        if (view_starts_with(line, "# TYPE ")) {
            struct view name = {line.p + 7, line.n - 7}, word;
            view_split(&name, ' ', &word);
            snprintf(family, sizeof family, "%.*s", VIEW_ARG(word));
        } else if (line.p[0] != '#') {
            CHECK_ROW(view_starts_with(line, family), family);
            const char *space = memrchr(line.p, ' ', line.n);
            REQUIRE(space);
            char *end;
            strtod(space + 1, &end);
            CHECK(end == line.p + line.n);
        }
    }
    free(text);
}

/* What does not fit is dead: it takes updates and is not shown. */
static void test_dead_series(void)
{
    static const struct metric_def other_kind = {"t_lag_seconds", METRIC_COUNTER, "", "", NULL};
    static const struct metric_def other_labels = {"t_events_total", METRIC_COUNTER, "", "x", NULL};
    static const struct metric_def many_def = {"t_many", METRIC_GAUGE, "Many.", "i", NULL};
    struct metric *dead = metric_series(&other_kind, NULL);
    CHECK(metric_series(&other_labels, (const char *const[]){"1"}) == dead);
    char label[2000];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    CHECK(metric_series(&many_def, (const char *const[]){label}) == dead);
    int made = 0;
    for (int i = 0; i < 5000; i++) {
        snprintf(label, sizeof label, "%d", i);
        struct metric *m = metric_series(&many_def, (const char *const[]){label});
        metric_add(m, 1);
        metric_observe(m, 1);
        metric_set(m, 4711);
        made += m != dead;
    }
    CHECK(made > 4000 && made < 4096);
    char *text = rendered();
    CHECK(strstr(text, "t_many{i=\"4050\"} 4711\n") != NULL);
    CHECK(strstr(text, "dead") == NULL);
    CHECK(strstr(text, "t_many{i=\"4999\"}") == NULL);
    free(text);
}

#define THREADS 4
#define ROUNDS 20000
static void *update(void *arg)
{
    static const struct metric_def def = {"t_shared_total", METRIC_COUNTER, "Shared.", "", NULL};
    static const struct metric_def h_def = {"t_shared_seconds", METRIC_HISTOGRAM, "S.", "", NULL};
    struct metric *m = metric_series(&def, NULL), *h = metric_series(&h_def, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(m, 1);
        metric_observe(h, 0.5);
        if (i % 4000 == 0) {
            free(rendered());
        }
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&t[i], NULL, update, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    char *text = rendered();
    CHECK(value_of(text, "\nt_shared_total ") == THREADS * ROUNDS);
    CHECK(value_of(text, "\nt_shared_seconds_sum ") == THREADS * ROUNDS * 0.5);
    CHECK(value_of(text, "\nt_shared_seconds_count ") == THREADS * ROUNDS);
    free(text);
}

int main(void)
{
    RUN(test_text_format);
    RUN(test_process);
    RUN(test_threads);
    RUN(test_lines);
    RUN(test_dead_series);
    return check_result();
}
