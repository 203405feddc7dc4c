/* A scripted HTTP/1.1 server for unit tests: one thread, one connection at a time, a fixed list of
 * replies, a record of the requests. Every wait is bounded; beyond the script it answers 500. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/unit/check.h"

enum fake_how {
    FAKE_REPLY,
    FAKE_CUT,   /* closes after half of the body */
    FAKE_RESET, /* closes with RST instead of an answer */
    FAKE_HANG,  /* never answers, until the client goes */
};

struct fake_reply {
    enum fake_how how;
    int status;
    const char *headers; /* whole lines with CRLF, or NULL */
    const char *body;    /* or NULL */
};

#define FAKE_REQUESTS_MAX 16
#define FAKE_HEAD_MAX 8192
struct fake_request {
    char head[FAKE_HEAD_MAX];
    char *body; /* NUL behind it */
    size_t body_n;
    int connection; /* counts from 1 */
};

struct fake_http {
    int listener;
    unsigned port;
    const struct fake_reply *script;
    size_t n_script;
    pthread_t thread;
    atomic_bool stop;
    atomic_size_t n_requests; /* recorded ones; those before it may be read */
    struct fake_request requests[FAKE_REQUESTS_MAX];
};

static inline bool fake_readable(struct fake_http *f, int fd)
{
    while (!atomic_load(&f->stop)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20) > 0) {
            return true;
        }
    }
    return false;
}

/* Reads one request; false at the end of the connection. */
static inline bool fake_read(struct fake_http *f, int fd, struct fake_request *r)
{
    size_t n = 0;
    char *end = NULL;
    while (!end) {
        if (n + 1 >= sizeof r->head || !fake_readable(f, fd)) {
            return false;
        }
        ssize_t got = recv(fd, r->head + n, sizeof r->head - 1 - n, 0);
        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        r->head[n] = '\0';
        end = strstr(r->head, "\r\n\r\n");
    }
    size_t head_n = (size_t)(end - r->head) + 4;
    const char *length = strcasestr(r->head, "\r\nContent-Length:");
    r->body_n = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    r->body = calloc(1, r->body_n + 1);
    size_t have = n - head_n < r->body_n ? n - head_n : r->body_n;
    memcpy(r->body, r->head + head_n, have);
    r->head[head_n] = '\0';
    while (have < r->body_n) {
        ssize_t got = fake_readable(f, fd) ? recv(fd, r->body + have, r->body_n - have, 0) : -1;
        if (got <= 0) {
            return false;
        }
        have += (size_t)got;
    }
    return true;
}

/* False when the connection is over. */
static inline bool fake_answer(struct fake_http *f, int fd, const struct fake_reply *reply)
{
    const char *body = reply->body ? reply->body : "";
    size_t n = strlen(body);
    if (reply->how == FAKE_HANG) {
        char c;
        while (fake_readable(f, fd) && recv(fd, &c, 1, 0) > 0) {}
        return false;
    }
    if (reply->how == FAKE_RESET) {
        struct linger hard = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        return false;
    }
    char head[1024];
    int head_n = snprintf(head, sizeof head, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n",
                          reply->status, n, reply->headers ? reply->headers : "");
    send(fd, head, (size_t)head_n, MSG_NOSIGNAL);
    send(fd, body, reply->how == FAKE_CUT ? n / 2 : n, MSG_NOSIGNAL);
    return reply->how == FAKE_REPLY;
}

static inline void *fake_run(void *arg)
{
    static const struct fake_reply beyond = {FAKE_REPLY, 500, NULL, NULL};
    struct fake_http *f = arg;
    for (int connection = 1; fake_readable(f, f->listener); connection++) {
        int fd = accept(f->listener, NULL, NULL);
        bool more = fd >= 0;
        while (more) {
            size_t i = atomic_load(&f->n_requests);
            struct fake_request *r = i < FAKE_REQUESTS_MAX ? &f->requests[i] : NULL;
            more = r && fake_read(f, fd, r);
            if (more) {
                r->connection = connection;
                atomic_store(&f->n_requests, i + 1);
                more = fake_answer(f, fd, i < f->n_script ? &f->script[i] : &beyond);
            } else if (r) {
                free(r->body);
                r->body = NULL;
            }
        }
        close(fd);
    }
    return NULL;
}

/* False when it cannot start (counts as a failed check). */
static inline bool fake_start(struct fake_http *f, const struct fake_reply script[], size_t n)
{
    memset(f, 0, sizeof *f);
    f->script = script;
    f->n_script = n;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = f->listener >= 0 && bind(f->listener, (struct sockaddr *)&a, sizeof a) == 0 &&
              listen(f->listener, 8) == 0 &&
              getsockname(f->listener, (struct sockaddr *)&a, &length) == 0;
    f->port = ntohs(a.sin_port);
    return CHECK(ok && pthread_create(&f->thread, NULL, fake_run, f) == 0);
}

static inline void fake_stop(struct fake_http *f)
{
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    close(f->listener);
    for (size_t i = 0; i < FAKE_REQUESTS_MAX; i++) {
        free(f->requests[i].body);
    }
}
