// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/auth.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "events/metrics.h"
#include "workers/command_api/plain_url.h"
#include "workers/command_api/verified.h"

struct auth {
    struct token_rules rules; /* but for the clients */
    const struct auth_settings *settings;
    struct keyring *keyring;
    struct verified *verified;
    struct metric *outcomes[TOKEN_REASONS];
    pthread_mutex_t lock;
    struct clients *clients; /* under the lock */
};

static const struct metric_def tokens_def = {"echora_tokens_total", METRIC_COUNTER,
                                             "Access tokens by what became of them.", "outcome",
                                             NULL};

static int wrong(struct err *err, const char *what)
{
    return err_set(err, ERR_FATAL, "config", "read options", "%s", what);
}

static int read_algorithms(const char *text, unsigned *ret, struct err *err)
{
    struct view rest = view_of(text), name;

    *ret = 0;
    while (view_split(&rest, ',', &name)) {
        enum signing alg;

        if (!signing_find(view_trim(name), &alg))
            return wrong(err, "algorithms are RS256, ES256, PS256 and EdDSA, with commas between");
        *ret |= 1u << alg;
    }
    return 0;
}

/* Plain http only where nobody else can listen or answer, and only when asked for. */
static int check_url(const char *name, const char *url, bool dev, struct err *err)
{
    const struct view text = view_of(url);

    if (view_starts_with(text, "https://") && text.n > sizeof("https://") - 1)
        return 0;
    if (!view_starts_with(text, "http://"))
        return err_set(err, ERR_FATAL, "config", "read options", "%s must be an https URL", name);
    if (dev && url_is_plain_loopback(text))
        return 0;
    return err_set(err, ERR_FATAL, "config", "read options",
                   "%s: plain http needs --dev and an address of loopback", name);
}

static int check_settings(const struct auth_settings *s, struct token_rules *ret, struct err *err)
{
    const bool url = strstr(s->jwks, "://") != NULL;

    *ret =
        (struct token_rules){.issuer = s->issuer, .audience = s->audience, .typ_jwt = s->typ_jwt};
    if (s->issuer[0] == '\0' || s->jwks[0] == '\0' || s->clients[0] == '\0')
        return wrong(err, "issuer, jwks and clients must be set");
    if (s->audience[0] == '\0')
        return wrong(err, "audience must not be empty");
    if (check_url("issuer", s->issuer, s->dev, err) < 0 ||
        (url && check_url("jwks", s->jwks, s->dev, err) < 0))
        return -1;
    return read_algorithms(s->algorithms, &ret->algorithms, err);
}

static struct keyring_options keyring_options(const struct auth_settings *s,
                                              const struct keyring_options *pace)
{
    struct keyring_options o = pace != NULL ? *pace : (struct keyring_options){.source = NULL};

    o.source = s->jwks;
    o.ca_file = s->jwks_ca_file;
    return o;
}

int auth_open(struct auth **ret, const struct auth_settings *settings,
              const struct keyring_options *pace, struct err *err)
{
    struct auth *a = calloc(1, sizeof(*a));
    const struct keyring_options options = keyring_options(settings, pace);

    if (a == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open tokens", "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    a->settings = settings;
    a->verified = verified_new();
    if (a->verified == NULL) {
        auth_close(a);
        return err_set(err, ERR_RETRY, "no-memory", "open tokens", "out of memory");
    }
    if (check_settings(settings, &a->rules, err) < 0 ||
        clients_read(settings->clients, &a->clients, err) < 0 ||
        keyring_open(&a->keyring, &options, err) < 0) {
        auth_close(a);
        return -1;
    }
    for (enum token_reason r = TOKEN_OK; r < TOKEN_REASONS; r++)
        a->outcomes[r] = metric_series(&tokens_def, (const char *[]){token_reason_text(r)});
    *ret = a;
    return 0;
}

struct auth *auth_close(struct auth *a)
{
    if (a == NULL)
        return NULL;
    (void)keyring_close(a->keyring);
    (void)verified_free(a->verified);
    clients_unref(a->clients);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

static struct clients *get_clients(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    struct clients *clients = clients_ref(a->clients);
    pthread_mutex_unlock(&a->lock);
    return clients;
}

/* "Bearer" in any spelling, one blank or more, the token (RFC 6750, 7235). */
static bool find_token(struct view authorization, struct view *ret)
{
    static const char scheme[] = "Bearer ";
    const size_t n = sizeof(scheme) - 1;

    if (authorization.n < n || strncasecmp(authorization.p, scheme, n) != 0)
        return false;
    *ret = (struct view){authorization.p + n, authorization.n - n};
    while (ret->n > 0 && ret->p[0] == ' ')
        *ret = (struct view){ret->p + 1, ret->n - 1};
    return true;
}

static enum token_reason verify(struct auth *a, struct view token, struct caller *ret)
{
    CLEANUP(clients_unrefp) struct clients *clients = get_clients(a);
    CLEANUP(keyset_unrefp) struct keyset *keys = keyring_get(a->keyring);
    struct token_rules rules = a->rules;
    const int64_t now_s = wall_us() / 1000000;
    uint8_t hash[SHA256_SIZE];

    rules.clients = clients;
    sha256(bytes_of(token), hash);
    if (keys != NULL && verified_find(a->verified, hash, keys, clients, now_s, ret))
        return TOKEN_OK;
    enum token_reason reason = token_verify(&rules, keys, token, now_s, ret);
    if (reason == TOKEN_KEY_UNKNOWN && keyring_renew(a->keyring, keys)) {
        keyset_unref(keys);
        keys = keyring_get(a->keyring);
        reason = token_verify(&rules, keys, token, now_s, ret);
    }
    if (reason == TOKEN_OK)
        verified_keep(a->verified, hash, keys, clients, ret);
    return reason;
}

enum token_reason auth_check(struct auth *a, struct view authorization, struct caller *ret)
{
    struct view token;
    const enum token_reason reason =
        find_token(authorization, &token) ? verify(a, token, ret) : TOKEN_ABSENT;

    metric_add(a->outcomes[reason], 1);
    return reason;
}

bool auth_ready(struct auth *a)
{
    return keyring_ready(a->keyring);
}

int auth_reload(struct auth *a, struct err *err)
{
    struct clients *clients;

    keyring_refresh(a->keyring);
    if (clients_read(a->settings->clients, &clients, err) < 0)
        return -1;
    log_info("client table read again", LF_I64("clients", (int64_t)clients_count(clients)));
    pthread_mutex_lock(&a->lock);
    struct clients *before = a->clients;
    a->clients = clients;
    pthread_mutex_unlock(&a->lock);
    clients_unref(before);
    return 0;
}
