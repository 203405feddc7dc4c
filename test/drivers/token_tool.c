/* Our verifier of tokens behind a pipe, for tests in Python: one command a line, one answer a line.
 *
 * usage: token_tool ISSUER AUDIENCE CLIENTS-FILE ALGORITHMS [typ-jwt]
 *   keys JSON         reads a key set: "ok KEYS SKIPPED REFUSED", or "err CODE TEXT"
 *   verify NOW HEX    one token: its reason, and with "ok" {"client":...} behind it
 * or with a source of keys, and milliseconds (refresh, retry, between, stale, wait):
 *   open SOURCE CA-FILE|- N,N,N,N,N     "ok" or "err CODE TEXT"
 *   check HEX         the value of an Authorization header, at the time that it is
 *   storm N HEX       that, by N threads at once: "MS REASON=count ..." with the longest wait
 *   ready | reload | close
 *   metric NAME       its value, from the page of all metrics */
// SPDX-License-Identifier: Apache-2.0

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "events/metrics.h"
#include "workers/command_api/auth.h"
#include "workers/command_api/jwks.h"

#define STORM_MAX 256

static struct auth_settings settings;
static struct token_rules rules;
static struct keyset *keys;
static struct auth *auth;

static struct view unhex(struct view hex, char *out)
{
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        const char pair[3] = {hex.p[i], hex.p[i + 1], '\0'};
        out[i / 2] = (char)strtoul(pair, NULL, 16);
    }
    return (struct view){out, hex.n / 2};
}

static int refuse(const struct err *err)
{
    return printf("err %s %s\n", err->code, err->text);
}

static void tell(enum token_reason reason, const struct caller *c)
{
    struct buf b CLEANUP(buf_deinit) = {.max = 16384};

    if (reason == TOKEN_OK) {
        buf_puts(&b, " {\"client\":");
        buf_put_json_string(&b, view_of(c->client));
        buf_puts(&b, ",\"sub\":");
        buf_put_json_string(&b, view_of(c->sub));
        buf_printf(&b, ",\"scopes\":%u,\"limits\":[%lld,%lld,%lld],\"jti\":\"", c->scopes,
                   (long long)c->limits.read, (long long)c->limits.execute,
                   (long long)c->limits.approve);
        if (c->has_jti)
            buf_put_hex(&b, (struct bytes){c->jti_sha256, sizeof(c->jti_sha256)});
        buf_puts(&b, "\"}");
    }
    printf("%s%s\n", token_reason_text(reason), buf_cstr(&b));
}

static void read_keys(struct view text)
{
    struct err err = ERR_INIT;
    struct keyset *set;

    if (jwks_parse(text, &set, &err) < 0) {
        refuse(&err);
        return;
    }
    keyset_unref(keys);
    keys = set;
    printf("ok %zu %u %u\n", set->n, set->skipped, set->refused);
}

static void verify(struct view rest, char *scratch)
{
    struct caller caller;
    struct view now;
    int64_t now_s;

    if (!view_split(&rest, ' ', &now) || !view_to_i64(now, 0, INT64_MAX, &now_s))
        abort();
    const struct view token = unhex(rest, scratch);
    tell(token_verify(&rules, keys, token, now_s, &caller), &caller);
}

static void open_auth(struct view rest)
{
    static char source[1024], ca_file[1024];
    struct keyring_options pace = {.source = NULL};
    int64_t *const members[] = {&pace.refresh_ms, &pace.retry_ms, &pace.between_ms, &pace.stale_ms,
                                &pace.wait_ms};
    struct err err = ERR_INIT;
    struct view word, number;

    (void)view_split(&rest, ' ', &word);
    snprintf(source, sizeof(source), "%.*s", VIEW_ARG(word));
    (void)view_split(&rest, ' ', &word);
    snprintf(ca_file, sizeof(ca_file), "%.*s",
             VIEW_ARG(view_is(word, "-") ? (struct view){0} : word));
    for (size_t i = 0; i < ARRAY_LEN(members) && view_split(&rest, ',', &number); i++) {
        if (!view_to_i64(number, 0, INT64_MAX, members[i]))
            abort();
    }
    settings.jwks = source;
    settings.jwks_ca_file = ca_file;
    if (auth_open(&auth, &settings, &pace, &err) < 0)
        refuse(&err);
    else
        puts("ok");
}

struct one {
    pthread_t thread;
    struct view header;
    enum token_reason reason;
    int64_t ms;
};

static void *check_one(void *arg)
{
    struct one *one = arg;
    const int64_t began = mono_ms();
    struct caller caller;

    one->reason = auth_check(auth, one->header, &caller);
    one->ms = mono_ms() - began;
    return NULL;
}

static void storm(struct view rest, char *scratch)
{
    static struct one ones[STORM_MAX];
    unsigned counts[TOKEN_REASONS] = {0};
    struct view word;
    int64_t n, longest = 0;

    if (!view_split(&rest, ' ', &word) || !view_to_i64(word, 1, STORM_MAX, &n))
        abort();
    const struct view header = unhex(rest, scratch);
    for (int64_t i = 0; i < n; i++) {
        ones[i].header = header;
        if (pthread_create(&ones[i].thread, NULL, check_one, &ones[i]) != 0)
            abort();
    }
    for (int64_t i = 0; i < n; i++) {
        pthread_join(ones[i].thread, NULL);
        counts[ones[i].reason]++;
        longest = ones[i].ms > longest ? ones[i].ms : longest;
    }
    printf("%lld", (long long)longest);
    for (enum token_reason r = TOKEN_OK; r < TOKEN_REASONS; r++) {
        if (counts[r] > 0)
            printf(" %s=%u", token_reason_text(r), counts[r]);
    }
    puts("");
}

static void metric(struct view name)
{
    struct buf page CLEANUP(buf_deinit) = {.max = 1 << 20};
    struct view rest, line;

    metrics_render(&page);
    rest = buf_view(&page);
    while (view_split(&rest, '\n', &line)) {
        if (line.n > name.n && memcmp(line.p, name.p, name.n) == 0 && line.p[name.n] == ' ') {
            printf("%.*s\n", (int)(line.n - name.n - 1), line.p + name.n + 1);
            return;
        }
    }
    puts("none");
}

static void reload(void)
{
    struct err err = ERR_INIT;

    if (auth_reload(auth, &err) < 0)
        refuse(&err);
    else
        puts("ok");
}

static void obey(struct view rest, char *scratch)
{
    struct caller caller;
    struct view verb;

    (void)view_split(&rest, ' ', &verb);
    if (view_is(verb, "keys"))
        read_keys(rest);
    else if (view_is(verb, "verify"))
        verify(rest, scratch);
    else if (view_is(verb, "open"))
        open_auth(rest);
    else if (view_is(verb, "check"))
        tell(auth_check(auth, unhex(rest, scratch), &caller), &caller);
    else if (view_is(verb, "storm"))
        storm(rest, scratch);
    else if (view_is(verb, "metric"))
        metric(rest);
    else if (view_is(verb, "ready"))
        puts(auth_ready(auth) ? "yes" : "no");
    else if (view_is(verb, "reload"))
        reload();
    else if (view_is(verb, "close"))
        puts((auth = auth_close(auth)) == NULL ? "ok" : "");
    else
        puts("err usage no such command");
}

static int set_up(char **argv, int argc)
{
    struct err err = ERR_INIT;
    struct view rest = view_of(argv[4]), name;
    static struct clients *clients;

    settings = (struct auth_settings){.issuer = argv[1],
                                      .audience = argv[2],
                                      .clients = argv[3],
                                      .algorithms = argv[4],
                                      .typ_jwt = argc > 5,
                                      .dev = true};
    rules =
        (struct token_rules){.issuer = argv[1], .audience = argv[2], .typ_jwt = settings.typ_jwt};
    while (view_split(&rest, ',', &name)) {
        enum signing alg;
        if (signing_find(name, &alg))
            rules.algorithms |= 1u << alg;
    }
    if (clients_read(argv[3], &clients, &err) < 0) {
        refuse(&err);
        return -1;
    }
    rules.clients = clients;
    return 0;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    if (argc < 5)
        return 2;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    log_init("token-tool", LOG_LEVEL_DEBUG, "json");
    if (set_up(argv, argc) < 0)
        return 1;
    while ((n = getline(&line, &size, stdin)) > 0) {
        char *scratch = malloc((size_t)n);
        obey((struct view){line, (size_t)n - (line[n - 1] == '\n')}, scratch);
        free(scratch);
        (void)fflush(stdout);
    }
    free(line);
    auth_close(auth);
    keyset_unref(keys);
    struct clients *clients = (struct clients *)(uintptr_t)rules.clients;
    clients_unref(clients);
    curl_global_cleanup();
    return 0;
}
