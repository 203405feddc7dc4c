// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/output.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "events/base/clock.h"

#define QUIET_MS 1000
#define REDRAW_MS 100
#define LINE_MS 10000
#define BAR_WIDTH 30

const char *paint(bool on, enum paint p)
{
    static const char *const codes[] = {
        [PAINT_NONE] = "",        [PAINT_GREEN] = "\033[32m", [PAINT_YELLOW] = "\033[33m",
        [PAINT_RED] = "\033[31m", [PAINT_DIM] = "\033[2m",    [PAINT_BOLD] = "\033[1m",
    };

    return on ? codes[p] : "";
}

const char *paint_end(bool on)
{
    return on ? "\033[0m" : "";
}

bool color_wanted(const char *mode, FILE *out)
{
    /* style: allow getenv, the terminal's own variables */
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

    if (strcmp(mode, "always") == 0)
        return true;
    if (strcmp(mode, "never") == 0)
        return false;
    return isatty(fileno(out)) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

void bar_start(struct bar *p, const char *what, uint64_t total, bool quiet)
{
    *p = (struct bar){.what = what,
                      .total = total,
                      .start_ms = mono_ms(),
                      .terminal = isatty(STDERR_FILENO),
                      .quiet = quiet};
}

static void draw(const struct bar *p, uint64_t done, int64_t elapsed_ms)
{
    double rate = elapsed_ms > 0 ? (double)done * 1000.0 / (double)elapsed_ms : 0;
    char bar[BAR_WIDTH + 1];

    if (p->terminal)
        fputs("\r\033[K", stderr);
    if (p->total) {
        uint64_t shown = done < p->total ? done : p->total;
        int filled = (int)(shown * BAR_WIDTH / p->total);
        memset(bar, '.', BAR_WIDTH);
        memset(bar, '#', (size_t)filled);
        bar[BAR_WIDTH] = '\0';
        fprintf(stderr, "[%s] %llu/%llu %s, %.0f/s", bar, (unsigned long long)done,
                (unsigned long long)p->total, p->what, rate);
    } else {
        fprintf(stderr, "%llu %s, %.0f/s", (unsigned long long)done, p->what, rate);
    }
    if (!p->terminal)
        fputc('\n', stderr);
    (void)fflush(stderr);
}

void bar_update(struct bar *p, uint64_t done)
{
    int64_t now = mono_ms(), elapsed = now - p->start_ms;

    if (p->quiet || elapsed < (p->terminal ? QUIET_MS : LINE_MS) ||
        now - p->shown_ms < (p->terminal ? REDRAW_MS : LINE_MS))
        return;
    p->shown_ms = now;
    p->shown = true;
    draw(p, done, elapsed);
}

void bar_end(struct bar *p)
{
    if (p->shown && p->terminal) {
        fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
}

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    if (stop_asked)
        _exit(128 + number); /* style: allow _exit, the second Ctrl-C */
    stop_asked = 1;
}

void interrupts_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

bool interrupted(void)
{
    return stop_asked;
}

bool wait_ms(int64_t ms)
{
    int64_t end = mono_ms() + ms;

    while (!interrupted()) {
        int64_t left = end - mono_ms();
        if (left <= 0)
            return true;
        if (left > 50)
            left = 50;
        struct timespec t = {.tv_nsec = left * 1000000};
        (void)nanosleep(&t, NULL);
    }
    return false;
}
