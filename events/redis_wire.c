/* Mechanism: hiredis connects, formats commands and parses replies; bytes are moved here, with
 * poll(2), because every wait has a deadline and every reply a largest size. */
// SPDX-License-Identifier: Apache-2.0

#include "events/redis_wire.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "events/base/clock.h"
#include "events/redis_error.h"

/* The header shadows this for the static analyser. */
#undef redis_err_call

enum { REPLY_MAX = 1 << 20, READ_SIZE = 16 << 10 };

/* hiredis makes room for as many values as a reply's head says. */
static redisReplyObjectFunctions bounded;
static void *(*make_array)(const redisReadTask *task, int n);

static void *bounded_array(const redisReadTask *task, int n)
{
    return n <= REDIS_VALUES_MAX ? make_array(task, n) : NULL;
}

static void learn_functions(void)
{
    redisReader *reader = redisReaderCreate();

    if (reader == NULL)
        abort();
    bounded = *reader->fn;
    make_array = bounded.createArray;
    bounded.createArray = bounded_array;
    redisReaderFree(reader);
}

static int bad_url(struct err *err, const char *why)
{
    return err_set_dep(err, ERR_FATAL, DEP_REDIS, "config", "redis-url", "%s", why);
}

int redis_address_parse(const char *url, struct redis_address *ret, struct err *err)
{
    static const char tcp[] = "redis://", unix_socket[] = "unix://";
    struct view rest = view_of(url);
    int64_t port = 6379;

    *ret = (struct redis_address){0};
    if (view_starts_with(rest, "rediss://"))
        return bad_url(err,
                       "TLS is not spoken in this version: use loopback, a socket or a tunnel");
    if (view_starts_with(rest, unix_socket)) {
        rest = view_of(url + sizeof(unix_socket) - 1);
        if (rest.n < 2 || rest.p[0] != '/' || rest.n >= REDIS_HOST_MAX)
            return bad_url(err, "a socket is named by unix:// and its whole path");
        memcpy(ret->host, rest.p, rest.n);
        return 0;
    }
    if (!view_starts_with(rest, tcp))
        return bad_url(err, "begins with redis:// or unix://");
    rest = view_of(url + sizeof(tcp) - 1);
    if (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (memchr(rest.p, '@', rest.n) != NULL || memchr(rest.p, '/', rest.n) != NULL)
        return bad_url(err, "has no place for user, password or database number");
    struct view host = rest;
    const char *bracket = rest.n > 0 && rest.p[0] == '[' ? memchr(rest.p, ']', rest.n) : NULL;
    const char *from = bracket != NULL ? bracket : rest.p;
    const char *colon = memchr(from, ':', rest.n - (size_t)(from - rest.p));
    if (colon != NULL) {
        host.n = (size_t)(colon - rest.p);
        if (!view_to_i64((struct view){colon + 1, rest.n - host.n - 1}, 1, 65535, &port))
            return bad_url(err, "its port is none");
    }
    if (bracket != NULL)
        host = (struct view){host.p + 1, (size_t)(bracket - host.p) - 1};
    if (host.n == 0 || host.n >= REDIS_HOST_MAX)
        return bad_url(err, "names no host");
    memcpy(ret->host, host.p, host.n);
    ret->port = (int)port;
    return 0;
}

/* Until the socket is ready or the deadline; false then. */
static bool wait_socket(int fd, short events, int64_t deadline)
{
    for (;;) {
        const int64_t left = deadline - mono_ms();
        struct pollfd p = {.fd = fd, .events = events};

        if (left < 0)
            return false;
        const int n = poll(&p, 1, (int)left);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true; /* a broken one reads as ready: the next call says what it has */
    }
}

/* What came of moving bytes: 0, or an errno; ECONNRESET when the peer has closed. */
static int send_all(int fd, struct view data, int64_t deadline)
{
    while (data.n > 0) {
        const ssize_t n = send(fd, data.p, data.n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            data.p += n;
            data.n -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return errno;
        } else if (!wait_socket(fd, POLLOUT, deadline)) {
            return ETIMEDOUT;
        }
    }
    return 0;
}

/* One whole reply, NULL when it is too large or none. */
static int receive(redisContext *c, int64_t deadline, redisReply **ret)
{
    size_t got = 0;
    char part[READ_SIZE];
    void *reply = NULL;

    for (;;) {
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
            return EPROTO;
        if (reply != NULL) {
            *ret = reply;
            return 0;
        }
        if (!wait_socket(c->fd, POLLIN, deadline))
            return ETIMEDOUT;
        const ssize_t n = recv(c->fd, part, sizeof(part), MSG_DONTWAIT);
        if (n == 0)
            return ECONNRESET;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errno;
        if (n < 0)
            continue;
        got += (size_t)n;
        if (got > REPLY_MAX)
            return EPROTO;
        if (redisReaderFeed(c->reader, part, (size_t)n) != REDIS_OK)
            return ENOMEM;
    }
}

int redis_call(redisContext *c, int64_t deadline, const struct view words[], size_t n,
               redisReply **ret)
{
    const char *argv[REDIS_WORDS_MAX];
    size_t lengths[REDIS_WORDS_MAX];
    char *command = NULL;

    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i].n > 0 ? words[i].p : "";
        lengths[i] = words[i].n;
    }
    const int length = redisFormatCommandArgv(&command, (int)n, argv, lengths);
    if (length < 0)
        return ENOMEM;
    int rc = send_all(c->fd, (struct view){command, (size_t)length}, deadline);
    redisFreeCommand(command);
    if (rc == 0)
        rc = receive(c, deadline, ret);
    if (rc == 0 && c->reader->pos != c->reader->len) { /* more than was asked for */
        freeReplyObject(*ret);
        *ret = NULL;
        rc = EPROTO;
    }
    return rc;
}

int redis_err_call(struct err *err, const char *op, int number)
{
    if (number == EPROTO)
        return err_set_dep(err, ERR_RETRY, DEP_REDIS, "redis-reply", op,
                           "the answer is too large, or none of Redis");
    return redis_err_errno(err, op, number);
}

static int sign_in(const struct redis_login *login, redisContext *c, int64_t deadline,
                   struct err *err)
{
    const struct view words[] = {VIEW_LIT("AUTH"), view_of(login->user), view_of(login->password)};
    const bool old = login->user[0] == '\0'; /* AUTH with a password alone is the user `default` */
    redisReply *reply = NULL;

    if (login->password[0] == '\0')
        return 0;
    const struct view password_only[] = {words[0], words[2]};
    const int rc = redis_call(c, deadline, old ? password_only : words, old ? 2 : 3, &reply);
    if (rc != 0)
        return redis_err_call(err, "sign in to Redis", rc);
    const bool good = reply->type == REDIS_REPLY_STATUS;
    if (!good)
        redis_err_reply(err, "sign in to Redis", redis_reply_text(reply));
    freeReplyObject(reply);
    return good ? 0 : -1;
}

int redis_connect(const struct redis_address *address, const struct redis_login *login,
                  int64_t connect_ms, int64_t deadline, redisContext **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const char op[] = "connect to Redis";
    const int64_t left = deadline - mono_ms();
    const int64_t ms = left < connect_ms ? left : connect_ms;
    const struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    pthread_once(&once, learn_functions);
    if (ms <= 0)
        return redis_err_errno(err, op, ETIMEDOUT);
    errno = 0;
    redisContext *c = address->port > 0
                          ? redisConnectWithTimeout(address->host, address->port, limit)
                          : redisConnectUnixWithTimeout(address->host, limit);
    if (c == NULL)
        return redis_err_errno(err, op, ENOMEM);
    if (c->err != 0) {
        /* Anything but a failed call is a host that has no address now. */
        redis_err_errno(err, op, c->err == REDIS_ERR_IO ? errno : EHOSTUNREACH);
        redisFree(c);
        return -1;
    }
    c->reader->fn = &bounded;
    (void)redisEnableKeepAlive(c); /* not for a socket */
    if (sign_in(login, c, deadline, err) < 0) {
        redisFree(c);
        return -1;
    }
    *ret = c;
    return 0;
}
