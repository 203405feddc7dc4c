// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "events/base/clock.h"

#define SLICE_MS 200
#define WRITE_MS 5000
/* How long what the peer still sends is read and dropped: closing with unread bytes would reset the
 * connection, and the answer with it. */
#define LINGER_MS 1000

void connection_init(struct connection *c, int fd, const atomic_bool *stopping,
                     struct connection_limits limits)
{
    c->fd = fd;
    c->stopping = stopping;
    c->limits = limits;
    c->n = 0;
    c->head.n = 0;
    c->whole = false;
}

/* Until fd is ready for these events: 1, 0 when the time is over, -1 when the process stops. */
static int wait_for(const struct connection *c, short events, int64_t deadline)
{
    for (;;) {
        const int64_t left = deadline - mono_ms();
        struct pollfd p = {.fd = c->fd, .events = events};

        if (left <= 0)
            return 0;
        const int n = poll(&p, 1, left < SLICE_MS ? (int)left : SLICE_MS);
        if (n > 0)
            return 1;
        if (n < 0 && errno != EINTR)
            return -1;
        if (atomic_load(c->stopping))
            return -1;
    }
}

static enum read_result receive(struct connection *c, char *to, size_t most, int64_t deadline,
                                size_t *ret_n)
{
    while (mono_ms() < deadline) {
        const ssize_t n = recv(c->fd, to, most, MSG_DONTWAIT);
        if (n > 0) {
            *ret_n = (size_t)n;
            return READ_OK;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return READ_GONE;
        if (wait_for(c, POLLIN, deadline) < 0)
            return READ_GONE;
    }
    return READ_SLOW;
}

enum read_result connection_head(struct connection *c)
{
    const int64_t deadline = mono_ms() + c->limits.head_ms;

    for (;;) {
        size_t n;
        const enum read_result got =
            receive(c, c->buffer + c->n, sizeof(c->buffer) - c->n, deadline, &n);

        if (got != READ_OK)
            return got;
        c->n += n;
        switch (scgi_read((struct view){c->buffer, c->n}, &c->head)) {
        case SCGI_DONE:
            c->whole = c->head.content_length == 0 && c->n == c->head.size;
            return READ_OK;
        case SCGI_BAD:
            return READ_BAD;
        case SCGI_TOO_LARGE:
            return READ_TOO_LARGE;
        case SCGI_MORE:
            break;
        }
        if (c->n == sizeof(c->buffer))
            return READ_TOO_LARGE;
    }
}

enum read_result connection_body(struct connection *c, struct buf *out)
{
    const int64_t deadline = mono_ms() + c->limits.body_ms;
    const size_t had = c->n - c->head.size;

    if (c->head.content_length > (int64_t)out->max)
        return READ_TOO_LARGE;
    const size_t wanted = (size_t)c->head.content_length;
    if (had > wanted)
        return READ_BAD;
    buf_append(out, c->buffer + c->head.size, had);
    while (out->n < wanted && !buf_failed(out)) {
        char part[16384];
        size_t n;
        const size_t left = wanted - out->n;
        const enum read_result got =
            receive(c, part, left < sizeof(part) ? left : sizeof(part), deadline, &n);

        if (got != READ_OK)
            return got;
        buf_append(out, part, n);
    }
    c->whole = !buf_failed(out);
    return c->whole ? READ_OK : READ_TOO_LARGE;
}

static bool send_all(const struct connection *c, struct view rest)
{
    const int64_t deadline = mono_ms() + WRITE_MS;

    while (rest.n > 0) {
        const ssize_t n = send(c->fd, rest.p, rest.n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            rest.p += n;
            rest.n -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = c->fd, .events = POLLOUT};

            if (mono_ms() >= deadline)
                return false;
            (void)poll(&p, 1, SLICE_MS);
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void drain(struct connection *c)
{
    const int64_t deadline = mono_ms() + LINGER_MS;
    char dropped[4096];
    size_t n;

    while (receive(c, dropped, sizeof(dropped), deadline, &n) == READ_OK)
        ;
}

void connection_end(struct connection *c, struct view answer)
{
    if (answer.n > 0 && send_all(c, answer) && !c->whole) {
        shutdown(c->fd, SHUT_WR);
        drain(c);
    }
    close(c->fd);
    c->fd = -1;
}
