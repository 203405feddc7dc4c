// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"

#define SLICE_MS 200
/* A head that nginx began is there at once, unless nginx was kept from running meanwhile. A body is
 * most often in one piece with it; its client may be far away. */
#define HEAD_SOON_MS 250
#define BODY_SOON_MS 20
#define WRITE_MS 5000
/* How long what the peer still sends is read and dropped: closing with unread bytes would reset the
 * connection, and the answer with it. */
#define LINGER_MS 1000

void connection_init(struct connection *c, int fd, struct connection_room *room,
                     struct connection_limits limits)
{
    c->fd = fd;
    c->room = room;
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
        if (atomic_load(&c->room->stopping))
            return -1;
    }
}

/* Until when one read of several parts lasts, and whether it has a place among the slow. */
struct patience {
    atomic_int *places;
    int max;
    atomic_int *own; /* the caller's of these; NULL = nobody's */
    int own_max;
    int64_t soon, deadline;
    bool placed;
};

static struct patience patience_of(atomic_int *places, int max, int64_t soon_ms, int64_t ms)
{
    const int64_t now = mono_ms();

    return (struct patience){.places = places,
                             .max = max,
                             .soon = now + (ms < soon_ms ? ms : soon_ms),
                             .deadline = now + ms};
}

static bool take_one(atomic_int *places, int max)
{
    if (atomic_fetch_add(places, 1) < max || FAULT("slow-unlimited"))
        return true;
    atomic_fetch_sub(places, 1);
    return false;
}

static bool take_place(struct patience *p)
{
    if (p->own != NULL && !take_one(p->own, p->own_max))
        return false;
    p->placed = take_one(p->places, p->max);
    if (p->own != NULL && !p->placed)
        atomic_fetch_sub(p->own, 1);
    return p->placed;
}

static void patience_end(const struct patience *p)
{
    if (!p->placed)
        return;
    atomic_fetch_sub(p->places, 1);
    if (p->own != NULL)
        atomic_fetch_sub(p->own, 1);
}

/* Until something can be read: READ_OK. */
static enum read_result wait_readable(const struct connection *c, struct patience *p)
{
    int ready = wait_for(c, POLLIN, p->placed ? p->deadline : p->soon);

    if (ready == 0 && !p->placed && p->soon < p->deadline) {
        if (!take_place(p))
            return READ_CROWDED;
        ready = wait_for(c, POLLIN, p->deadline);
    }
    return ready > 0 ? READ_OK : ready == 0 ? READ_SLOW : READ_GONE;
}

static enum read_result receive(const struct connection *c, char *to, size_t most,
                                struct patience *p, size_t *ret_n)
{
    while (mono_ms() < p->deadline) {
        const ssize_t n = recv(c->fd, to, most, MSG_DONTWAIT);
        if (n > 0) {
            *ret_n = (size_t)n;
            return READ_OK;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return READ_GONE;
        const enum read_result ready = wait_readable(c, p);
        if (ready != READ_OK)
            return ready;
    }
    return READ_SLOW;
}

static enum read_result read_head(struct connection *c, struct patience *p)
{
    for (;;) {
        size_t n;
        const enum read_result got = receive(c, c->buffer + c->n, sizeof(c->buffer) - c->n, p, &n);

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

enum read_result connection_head(struct connection *c)
{
    struct patience p =
        patience_of(&c->room->slow_heads, CONNECTION_SLOW_HEADS, HEAD_SOON_MS, c->limits.head_ms);
    const enum read_result got = read_head(c, &p);

    patience_end(&p);
    return got;
}

static enum read_result read_rest(const struct connection *c, struct patience *p, size_t wanted,
                                  struct buf *out)
{
    while (out->n < wanted && !buf_failed(out)) {
        char part[16384];
        size_t n;
        const size_t left = wanted - out->n;
        const enum read_result got =
            receive(c, part, left < sizeof(part) ? left : sizeof(part), p, &n);

        if (got != READ_OK)
            return got;
        buf_append(out, part, n);
    }
    return buf_failed(out) ? READ_TOO_LARGE : READ_OK;
}

enum read_result connection_body(struct connection *c, struct view caller, struct buf *out)
{
    struct patience p =
        patience_of(&c->room->slow_bodies, CONNECTION_SLOW_BODIES, BODY_SOON_MS, c->limits.body_ms);
    const size_t had = c->n - c->head.size;

    p.own = &c->room->slow_bodies_of[hash64(bytes_of(caller), 0) % CONNECTION_CALLERS];
    p.own_max = CONNECTION_SLOW_BODIES_EACH;
    if (c->head.content_length > (int64_t)out->max)
        return READ_TOO_LARGE;
    const size_t wanted = (size_t)c->head.content_length;
    if (had > wanted)
        return READ_BAD;
    buf_append(out, c->buffer + c->head.size, had);
    const enum read_result got = read_rest(c, &p, wanted, out);
    patience_end(&p);
    c->whole = got == READ_OK;
    return got;
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

static void drain(const struct connection *c)
{
    const int64_t deadline = mono_ms() + LINGER_MS;
    char dropped[4096];

    while (wait_for(c, POLLIN, deadline) > 0 &&
           recv(c->fd, dropped, sizeof(dropped), MSG_DONTWAIT) > 0)
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
