/* Drives events/redis.h and what the Command API keeps in Redis from a test: one command a line on
 * standard input, its words parted by tabs; one answer a line, parted likewise.
 *
 * usage: redis_driver URL USER PASSWORD TIMEOUT-MS CONNECTIONS
 * ping | eval SCRIPT | begin CLIENT PATH KEY BODY | renew|release CLIENT PATH KEY OWNER TOKEN |
 * finish CLIENT PATH KEY OWNER TOKEN STATUS TYPE LOCATION BODY | storm THREADS CLIENT PATH KEY BODY
 * | spend WHO NAME QUOTA WINDOW | fingerprint METHOD PATH QUERY TYPE BODY | key VALUE | name CLIENT
 * PATH KEY | peer ADDRESS. Answers "ok ...", or "class code text". */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/buf.h"
#include "workers/command_api/idempotency.h"
#include "workers/command_api/rate.h"

enum { WORDS_MAX = 12, LINE_MAX_BYTES = 1 << 20, THREADS_MAX = 256 };

static struct redis *redis;
static struct rate *rate;

static const char *const outcome_names[] = {"new", "takeover", "mismatch", "replay", "busy"};

static int bad(struct err *err)
{
    return err_set(err, ERR_FATAL, "usage", "driver", "unknown command, or an argument is wrong");
}

static int ping(const struct view w[], struct buf *out, struct err *err)
{
    return redis_ping(redis, 800, err);
}

/* With a digest of no script: EVALSHA is answered NOSCRIPT, EVAL runs it. */
static int eval(const struct view w[], struct buf *out, struct err *err)
{
    char *text = strndup(w[0].p, w[0].n);
    const struct redis_script script = {"test", "0000000000000000000000000000000000000000", text};
    struct redis_values values;
    const int rc = redis_eval(redis, &script, VIEW_LIT("echora:rl:v1:test"), NULL, 0, &values, err);
    free(text);
    if (rc < 0)
        return -1;
    for (size_t i = 0; i < values.n; i++) {
        const struct redis_value *v = &values.items[i];
        buf_putc(out, '\t');
        if (v->is_nil)
            buf_puts(out, "nil");
        else if (v->text.p != NULL)
            buf_append_view(out, v->text);
        else
            buf_put_i64(out, v->number);
    }
    redis_values_deinit(&values);
    return 0;
}

static int make(const struct view w[], struct idem_key *key, struct err *err)
{
    return idem_key_make(w[0], w[1], w[2], key) ? 0 : bad(err);
}

static int begin_with(const struct view w[], struct idem_begun *ret, struct err *err)
{
    const struct idem_request request = {
        .method = VIEW_LIT("POST"), .path = w[1], .media_type = VIEW_LIT("a/b"), .body = w[3]};
    char fingerprint[IDEM_FINGERPRINT_SIZE];
    struct idem_key key;
    if (make(w, &key, err) < 0 || !idem_fingerprint(&request, fingerprint))
        return bad(err);
    return idem_begin(redis, &key, fingerprint, ret, err);
}

static int begin(const struct view w[], struct buf *out, struct err *err)
{
    struct idem_begun b;
    if (begin_with(w, &b, err) < 0)
        return -1;
    buf_printf(out, "\t%s", outcome_names[b.outcome]);
    if (b.outcome == IDEM_NEW || b.outcome == IDEM_TAKEOVER)
        buf_printf(out, "\t%s\t%" PRId64, b.claim.owner, b.claim.token);
    if (b.outcome == IDEM_BUSY)
        buf_printf(out, "\t%" PRId64, b.busy_ms);
    if (b.outcome == IDEM_REPLAY)
        buf_printf(out, "\t%" PRId64 "\t%.*s\t%.*s\t%.*s", b.answer.status, VIEW_ARG(b.answer.type),
                   VIEW_ARG(b.answer.location), (int)b.answer.body.n, b.answer.body.p);
    idem_begun_deinit(&b);
    return 0;
}

static int claim_of(const struct view w[], struct idem_claim *ret, struct err *err)
{
    *ret = (struct idem_claim){0};
    if (w[0].n >= sizeof(ret->owner) || !view_to_i64(w[1], 0, INT64_MAX, &ret->token))
        return bad(err);
    memcpy(ret->owner, w[0].p, w[0].n);
    return 0;
}

static int say_kept(int rc, const bool *kept, struct buf *out)
{
    if (rc == 0)
        buf_puts(out, *kept ? "\tkept" : "\tlost");
    return rc;
}

static int renew(const struct view w[], struct buf *out, struct err *err)
{
    struct idem_key key;
    struct idem_claim claim;
    bool kept = false;
    if (make(w, &key, err) < 0 || claim_of(w + 3, &claim, err) < 0)
        return -1;
    return say_kept(idem_renew(redis, &key, &claim, &kept, err), &kept, out);
}

static int release(const struct view w[], struct buf *out, struct err *err)
{
    struct idem_key key;
    struct idem_claim claim;
    bool kept = false;
    if (make(w, &key, err) < 0 || claim_of(w + 3, &claim, err) < 0)
        return -1;
    return say_kept(idem_release(redis, &key, &claim, &kept, err), &kept, out);
}

static int finish(const struct view w[], struct buf *out, struct err *err)
{
    struct idem_key key;
    struct idem_claim claim;
    struct idem_answer answer = {.type = w[6], .location = w[7], .body = w[8]};
    bool kept = false;
    if (make(w, &key, err) < 0 || claim_of(w + 3, &claim, err) < 0 ||
        !view_to_i64(w[5], 100, 599, &answer.status))
        return bad(err);
    return say_kept(idem_finish(redis, &key, &claim, &answer, &kept, err), &kept, out);
}

struct storm {
    pthread_barrier_t barrier;
    const struct view *words;
    pthread_mutex_t mutex;
    unsigned outcomes[ARRAY_LEN(outcome_names)], failed;
};

static void *storm_thread(void *arg)
{
    struct storm *s = arg;
    struct idem_begun b;
    struct err err = ERR_INIT;
    pthread_barrier_wait(&s->barrier);
    const int rc = begin_with(s->words, &b, &err);
    pthread_mutex_lock(&s->mutex);
    if (rc < 0)
        s->failed++;
    else
        s->outcomes[b.outcome]++;
    pthread_mutex_unlock(&s->mutex);
    if (rc == 0)
        idem_begun_deinit(&b);
    return NULL;
}

/* All threads begin at once. */
static int storm(const struct view w[], struct buf *out, struct err *err)
{
    struct storm s = {.words = w + 1, .mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    int64_t n;
    if (!view_to_i64(w[0], 1, THREADS_MAX, &n))
        return bad(err);
    pthread_barrier_init(&s.barrier, NULL, (unsigned)n);
    for (int64_t i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, storm_thread, &s) != 0)
            abort(); /* the others wait for it */
    for (int64_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&s.barrier);
    for (size_t i = 0; i < ARRAY_LEN(outcome_names); i++)
        buf_printf(out, "\t%u", s.outcomes[i]);
    buf_printf(out, "\t%u", s.failed);
    return 0;
}

static int spend(const struct view w[], struct buf *out, struct err *err)
{
    char name[64];
    struct rate_limit limit = {.name = name};
    struct rate_state state;
    snprintf(name, sizeof(name), "%.*s", VIEW_ARG(w[1]));
    if (!view_to_i64(w[2], 1, 1000000, &limit.quota) ||
        !view_to_i64(w[3], 1, 86400, &limit.window_s))
        return bad(err);
    rate_spend(rate, w[0], &limit, &state);
    buf_printf(out, "\t%s\t%" PRId64 "\t%" PRId64 "\t%s", state.allowed ? "allowed" : "refused",
               state.remaining, state.more_s, state.local ? "local" : "shared");
    return 0;
}

static int fingerprint(const struct view w[], struct buf *out, struct err *err)
{
    const struct idem_request request = {w[0], w[1], w[2], w[3], w[4]};
    char text[IDEM_FINGERPRINT_SIZE];
    if (!idem_fingerprint(&request, text))
        return bad(err);
    buf_printf(out, "\t%s", text);
    return 0;
}

static int key(const struct view w[], struct buf *out, struct err *err)
{
    struct view parsed;
    if (!idem_key_parse(w[0], &parsed))
        return bad(err);
    buf_putc(out, '\t');
    buf_append_view(out, parsed);
    return 0;
}

static int name(const struct view w[], struct buf *out, struct err *err)
{
    struct idem_key made;
    if (make(w, &made, err) < 0)
        return -1;
    buf_printf(out, "\t%s\t%s", made.redis, made.hash);
    return 0;
}

static int peer(const struct view w[], struct buf *out, struct err *err)
{
    char text[RATE_PEER_SIZE];
    rate_peer(w[0], text);
    buf_printf(out, "\t%s", text);
    return 0;
}

static const struct {
    const char *verb;
    size_t n;
    int (*run)(const struct view w[], struct buf *out, struct err *err);
} verbs[] = {
    {"ping", 0, ping},   {"eval", 1, eval},       {"begin", 4, begin},
    {"renew", 5, renew}, {"release", 5, release}, {"finish", 9, finish},
    {"storm", 5, storm}, {"spend", 4, spend},     {"fingerprint", 5, fingerprint},
    {"key", 1, key},     {"name", 3, name},       {"peer", 1, peer},
};

static int run(struct view line, struct buf *out, struct err *err)
{
    struct view words[WORDS_MAX] = {{0}}, verb = {0};
    size_t n = 0;
    (void)view_split(&line, '\t', &verb);
    while (n < WORDS_MAX && line.p != NULL && view_split(&line, '\t', &words[n]))
        n++;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (view_is(verb, verbs[i].verb) && n == verbs[i].n)
            return verbs[i].run(words, out, err);
    return bad(err);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    if (argc != 6)
        return 2;
    const struct redis_options options = {.url = argv[1],
                                          .user = argv[2],
                                          .password = argv[3],
                                          .timeout_ms = strtol(argv[4], NULL, 10),
                                          .connections = strtol(argv[5], NULL, 10)};
    if (redis_new(&redis, &options, &err) < 0) {
        printf("%s\t%s\t%s\n", err_class_name(err.class), err.code, err.text);
        return 1;
    }
    rate = rate_new(redis);
    static char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        CLEANUP(buf_deinit) struct buf out;
        buf_init(&out, LINE_MAX_BYTES);
        line[strcspn(line, "\n")] = '\0';
        err = ERR_INIT;
        if (run(view_of(line), &out, &err) == 0)
            printf("ok%s\n", buf_cstr(&out));
        else
            printf("%s\t%s\t%s\n", err_class_name(err.class), err.code, err.text);
        fflush(stdout);
    }
    rate_free(rate);
    redis_free(redis);
    return 0;
}
