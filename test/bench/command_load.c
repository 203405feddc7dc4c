/* Sends calls of the Command API over kept connections, one call at a time on each, and checks
 * every answer: its status, its body to the byte, whether it says that it is a replay. Shares no
 * code with the product.
 *
 * usage: command_load PORT CALL CONNECTIONS SECONDS RATE FIRST DISTINCT < TOKEN
 * CALL is check-tag, start or replay; calls carry numbers of nine digits from FIRST on, which come
 * again after DISTINCT (0: never). RATE 0: each connection sends its next call when it has an
 * answer. Else calls are due RATE a second, and their time counts from then, whether or not a
 * connection was free. Writes one line of JSON; times are microseconds. */
// SPDX-License-Identifier: Apache-2.0

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIGITS = 9, PLACES = 4, CONNECTIONS_MAX = 512, ANSWER_MAX = 16384, TOKEN_MAX = 8192 };
enum { PATIENCE_NS = 1000000000 };
#define GAP "000000000"
/* Calls that may be timed: beyond them the run ends. */
#define CALLS_MAX ((size_t)4 << 20)

/* A text with gaps for a number, and where they are. */
struct form {
    char text[TOKEN_MAX + 1024];
    size_t n, places[PLACES], n_places;
};

struct connection {
    int fd;
    bool busy;
    uint64_t number;
    int64_t since_ns;
    char answer[ANSWER_MAX];
    size_t n;
};

static struct {
    uint16_t port;
    int poll;
    struct form request, expected;
    const char *status;
    bool replay;
    struct connection connections[CONNECTIONS_MAX];
    uint32_t *took_us;
    size_t sent, answered, wrong;
    char first_wrong[256];
} load;

static void fail(const char *what)
{
    char why[128];

    fprintf(stderr, "command_load: %s: %s\n", what, strerror_r(errno, why, sizeof(why)));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void find_gaps(struct form *f)
{
    f->n = strlen(f->text);
    for (char *at = f->text; (at = strstr(at, GAP)) != NULL; at += DIGITS)
        f->places[f->n_places++] = (size_t)(at - f->text);
}

static void fill(struct form *f, uint64_t number)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%09" PRIu64, number);
    for (size_t i = 0; i < f->n_places; i++)
        memcpy(f->text + f->places[i], digits, DIGITS);
}

static void make_forms(const char *call)
{
    const bool reads = strcmp(call, "check-tag") == 0;
    const char *path = reads ? "check-tag" : "start-incremental-run";
    const char *body = reads ? "{\"source\":\"s" GAP "\"}"
                             : "{\"source\":\"bench\",\"tag\":\"t" GAP "\",\"until\":\"diff\"}";
    char token[TOKEN_MAX];

    if (fgets(token, sizeof(token), stdin) == NULL)
        fail("token");
    token[strcspn(token, "\n")] = '\0';
    snprintf(load.request.text, sizeof(load.request.text),
             "POST /workflow/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
             path, token, reads ? "" : "Idempotency-Key: bench-" GAP "\r\n", strlen(body), body);
    snprintf(load.expected.text, sizeof(load.expected.text), "%s",
             reads ? "{\"latest_tag\":\"s" GAP "\",\"changed\":true,\"latest_snapshot_id\":null,"
                     "\"artifact_url\":null,\"artifact_sha256\":null}"
                   : "{\"run_id\":" GAP ",\"snapshot_id\":" GAP "}");
    load.status = reads ? "200" : "201";
    load.replay = strcmp(call, "replay") == 0;
    find_gaps(&load.request);
    find_gaps(&load.expected);
}

static void open_connection(struct connection *c)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(load.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(load.poll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll_ctl");
    c->busy = false;
    c->n = 0;
}

static void open_again(struct connection *c)
{
    close(c->fd);
    open_connection(c);
}

static void send_call(struct connection *c, uint64_t number, int64_t since_ns)
{
    fill(&load.request, number);
    c->busy = true;
    c->number = number;
    c->since_ns = since_ns;
    load.sent++;
    if (send(c->fd, load.request.text, load.request.n, MSG_NOSIGNAL) == (ssize_t)load.request.n)
        return;
    /* Closed while it was idle, as servers may. */
    open_again(c);
    c->busy = true;
    if (send(c->fd, load.request.text, load.request.n, MSG_NOSIGNAL) != (ssize_t)load.request.n)
        fail("send");
}

static bool is_right(const struct connection *c, const char *body, size_t n)
{
    fill(&load.expected, c->number);
    return strncmp(c->answer + sizeof("HTTP/1.1 ") - 1, load.status, 3) == 0 &&
           n == load.expected.n && memcmp(body, load.expected.text, n) == 0 &&
           (strcasestr(c->answer, "\r\nIdempotent-Replayed: true\r\n") != NULL) == load.replay;
}

static void end_call(struct connection *c, bool right)
{
    c->busy = false;
    if (right) {
        load.took_us[load.answered++] = (uint32_t)((now_ns() - c->since_ns) / 1000);
    } else if (load.wrong++ == 0) {
        for (size_t i = 0; i < sizeof(load.first_wrong) - 1 && i < c->n; i++)
            load.first_wrong[i] =
                c->answer[i] < ' ' || strchr("\"\\", c->answer[i]) != NULL ? ' ' : c->answer[i];
    }
}

/* Looks whether the answer is there whole. */
static void take_answer(struct connection *c)
{
    c->answer[c->n] = '\0';
    const char *end = strstr(c->answer, "\r\n\r\n");
    if (end == NULL)
        return;
    const char *length = strcasestr(c->answer, "\r\nContent-Length:");
    const size_t head = (size_t)(end + 4 - c->answer);
    const size_t n = length != NULL && length < end
                         ? strtoul(length + sizeof("\r\nContent-Length:") - 1, NULL, 10)
                         : 0;
    if (c->n < head + n)
        return;
    const char *closes = strcasestr(c->answer, "\r\nConnection: close\r\n");
    end_call(c, c->n == head + n && is_right(c, end + 4, n));
    c->n = 0;
    if (closes != NULL && closes < end)
        open_again(c);
}

static void receive(struct connection *c)
{
    const ssize_t n = recv(c->fd, c->answer + c->n, ANSWER_MAX - 1 - c->n, 0);

    if (n > 0) {
        c->n += (size_t)n;
        take_answer(c);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (c->busy)
            end_call(c, false);
        open_again(c);
    }
}

static void wait_for_events(int64_t until_ns)
{
    struct epoll_event events[64];
    const int64_t left = until_ns - now_ns();
    const struct timespec t = {.tv_sec = left > 0 ? left / 1000000000 : 0,
                               .tv_nsec = left > 0 ? left % 1000000000 : 0};
    const int n = epoll_pwait2(load.poll, events, 64, &t, NULL);

    for (int i = 0; i < n; i++)
        receive(events[i].data.ptr);
}

static int ascending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static uint32_t percentile(double share)
{
    const size_t i = (size_t)(share * (double)load.answered);

    return load.answered == 0 ? 0 : load.took_us[i < load.answered ? i : load.answered - 1];
}

/* Sends what is due at now; returns when the next is, if a connection is free for it. */
static int64_t send_due(size_t connections, double seconds, double rate, uint64_t first,
                        uint64_t distinct, int64_t began)
{
    const int64_t now = now_ns(), end = began + (int64_t)(seconds * 1e9);

    for (size_t i = 0; i < connections; i++) {
        struct connection *c = &load.connections[i];
        const uint64_t number = first + (distinct > 0 ? load.sent % distinct : load.sent);
        const int64_t due = rate > 0 ? began + (int64_t)((double)load.sent / rate * 1e9) : now;

        if (due >= end || load.sent == CALLS_MAX)
            return -1;
        if (due > now)
            return due;
        if (!c->busy)
            send_call(c, number, due);
    }
    return now + PATIENCE_NS;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fputs("usage: command_load PORT CALL CONNECTIONS SECONDS RATE FIRST DISTINCT < TOKEN\n",
              stderr);
        return 2;
    }
    load.port = (uint16_t)strtoul(argv[1], NULL, 10);
    const size_t connections = strtoul(argv[3], NULL, 10);
    const double seconds = strtod(argv[4], NULL), rate = strtod(argv[5], NULL);
    const uint64_t first = strtoull(argv[6], NULL, 10), distinct = strtoull(argv[7], NULL, 10);
    load.took_us = calloc(CALLS_MAX, sizeof(*load.took_us));
    load.poll = epoll_create1(EPOLL_CLOEXEC);
    if (connections == 0 || connections > CONNECTIONS_MAX || load.took_us == NULL || load.poll < 0)
        fail("start");
    prctl(PR_SET_TIMERSLACK, 1);
    make_forms(argv[2]);
    for (size_t i = 0; i < connections; i++)
        open_connection(&load.connections[i]);

    const int64_t began = now_ns();
    int64_t next;
    while ((next = send_due(connections, seconds, rate, first, distinct, began)) >= 0)
        wait_for_events(next);
    const int64_t give_up = now_ns() + 20 * INT64_C(1000000000);
    while (load.answered + load.wrong < load.sent && now_ns() < give_up)
        wait_for_events(give_up);
    const double took = (double)(now_ns() - began) / 1e9;

    qsort(load.took_us, load.answered, sizeof(*load.took_us), ascending);
    printf("{\"sent\":%zu,\"answered\":%zu,\"wrong\":%zu,\"seconds\":%.6f,\"p50\":%u,\"p99\":%u,"
           "\"most\":%u,\"first_wrong\":\"%s\"}\n",
           load.sent, load.answered, load.wrong, took, percentile(0.5), percentile(0.99),
           percentile(1), load.first_wrong);
    return 0;
}
