/* Threads wait in epoll_wait of one instance, which wakes the newest waiter (accept wakes the
 * oldest). The listening socket is armed for one event at a time, and armed again once its
 * connection is taken; if there is another by then, the next thread wakes. */
// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "events/log.h"

#define BACKLOG 512
/* JSON may be nested as deep as jansson reads it. */
#define STACK_SIZE ((size_t)4 << 20)
#define PAUSE_NS 50000000

struct server {
    int fd, poll;
    bool bound;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    struct connection_room room;
    struct connection_limits limits;
    void (*serve)(void *ctx, struct connection *c);
    void *ctx;
    size_t n_threads;
    pthread_t threads[SERVER_THREADS];
};

static int fail(struct err *err, const char *path, const char *what)
{
    char why[128];

    return err_set(err, ERR_FATAL, "listen", "listen", "%s: %s: %s", path, what,
                   strerror_r(errno, why, sizeof(why)));
}

/* Out of descriptors or memory: a moment later there may be some. */
static void pause_shortly(void)
{
    const struct timespec t = {.tv_nsec = PAUSE_NS};

    nanosleep(&t, NULL);
}

static bool arm(const struct server *s, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};

    return epoll_ctl(s->poll, operation, s->fd, &event) == 0;
}

/* A connection; -1: none this time. */
static int take_connection(const struct server *s)
{
    struct epoll_event event;

    if (epoll_wait(s->poll, &event, 1, -1) != 1)
        return -1;
    const int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED &&
        !atomic_load(&s->room.stopping))
        pause_shortly();
    (void)arm(s, EPOLL_CTL_MOD);
    return fd;
}

static void *thread_main(void *arg)
{
    struct server *s = arg;
    struct connection *c = malloc(sizeof(*c));

    while (c != NULL && !atomic_load(&s->room.stopping)) {
        const int fd = take_connection(s);

        if (fd >= 0) {
            connection_init(c, fd, &s->room, s->limits);
            s->serve(s->ctx, c);
        }
    }
    free(c);
    return NULL;
}

/* A socket left by a process that was killed is in the way; one that is served is not ours. */
static int remove_stale(const struct sockaddr_un *address, struct err *err)
{
    struct stat st;

    if (lstat(address->sun_path, &st) < 0)
        return 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool served =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    if (fd >= 0)
        close(fd);
    if (served || !S_ISSOCK(st.st_mode)) {
        errno = EADDRINUSE;
        return fail(err, address->sun_path, served ? "another process listens" : "no socket");
    }
    return unlink(address->sun_path) == 0 ? 0 : fail(err, address->sun_path, "unlink");
}

static int listen_at(struct server *s, unsigned mode, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, s->path, sizeof(s->path));
    if (remove_stale(&address, err) < 0)
        return -1;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return fail(err, s->path, "socket");
    if (bind(s->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return fail(err, s->path, "bind");
    s->bound = true;
    if (chmod(s->path, mode) < 0 || listen(s->fd, BACKLOG) < 0)
        return fail(err, s->path, "listen");
    s->poll = epoll_create1(EPOLL_CLOEXEC);
    return s->poll >= 0 && arm(s, EPOLL_CTL_ADD) ? 0 : fail(err, s->path, "epoll");
}

static int start_threads(struct server *s, struct err *err)
{
    pthread_attr_t attr;
    int result = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    for (; result == 0 && s->n_threads < SERVER_THREADS; s->n_threads += result == 0)
        result = pthread_create(&s->threads[s->n_threads], &attr, thread_main, s);
    pthread_attr_destroy(&attr);
    return result == 0 ? 0 : err_set(err, ERR_RETRY, "no-memory", "listen", "no thread");
}

int server_start(struct server **ret, const char *path, unsigned mode,
                 struct connection_limits limits, void (*serve)(void *ctx, struct connection *c),
                 void *ctx, struct err *err)
{
    struct server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "listen", "out of memory");
    *s = (struct server){.fd = -1, .poll = -1, .limits = limits, .serve = serve, .ctx = ctx};
    if ((size_t)snprintf(s->path, sizeof(s->path), "%s", path) >= sizeof(s->path)) {
        free(s);
        return err_set(err, ERR_FATAL, "config", "listen",
                       "the socket's path is longer than %zu bytes", sizeof(s->path) - 1);
    }
    if (listen_at(s, mode, err) < 0 || start_threads(s, err) < 0) {
        server_stop(s);
        return -1;
    }
    *ret = s;
    return 0;
}

struct server *server_stop(struct server *s)
{
    if (s == NULL)
        return NULL;
    atomic_store(&s->room.stopping, true);
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR); /* an event for each that waits, one after the other */
    for (size_t i = 0; i < s->n_threads; i++)
        pthread_join(s->threads[i], NULL);
    if (s->poll >= 0)
        close(s->poll);
    if (s->fd >= 0)
        close(s->fd);
    if (s->bound)
        unlink(s->path);
    free(s);
    return NULL;
}
