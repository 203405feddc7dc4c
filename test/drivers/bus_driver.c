/* Drives questions and publishes of events/bus.h and events/bus_acks.h from a test: one command a
 * line on standard input, its words parted by blanks; one answer a line.
 *
 * usage: bus_driver URL TIMEOUT-MS
 * ask SUBJECT TEXT    the answer's text, or the error's code
 * publish SUBJECT TEXT NOTE | look    what failed since: NOTE=code …
 * free                that too, when nothing is awaited any more */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "events/bus_acks.h"

enum { LINE_MAX_BYTES = 4096 };

static struct bus *bus;
static struct bus_acks *acks;
static struct buf failures = {.max = 1 << 20};

static void note_failure(void *ctx, const char *note, const struct err *err)
{
    buf_printf(&failures, " %s=%s", note, err->code);
}

static void tell_failures(void)
{
    printf("ok%s\n", buf_cstr(&failures));
    buf_reset(&failures);
}

static void ask(const struct bus_message *message)
{
    const struct bus_exchange how = {.timeout_ms = 0};
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    struct bytes reply;
    struct err err = ERR_INIT;

    if (bus_exchange(bus, message, &how, arena, &reply, &err) < 0)
        printf("failed %s\n", err.code);
    else
        printf("ok %.*s\n", (int)reply.n, (const char *)reply.p);
}

static void publish(const struct bus_message *message, const char *note)
{
    struct err err = ERR_INIT;

    if (bus_acks_publish(acks, message, note, &err) < 0)
        printf("failed %s\n", err.code);
    else
        tell_failures();
}

static void run(char *line)
{
    char *rest = NULL;
    const char *command = strtok_r(line, " \n", &rest), *subject = strtok_r(NULL, " \n", &rest);
    const char *text = strtok_r(NULL, " \n", &rest), *note = strtok_r(NULL, " \n", &rest);
    const struct bus_message message = {.subject = subject, .payload = bytes_of(view_of(text))};

    if (command != NULL && strcmp(command, "ask") == 0 && text != NULL) {
        ask(&message);
    } else if (command != NULL && strcmp(command, "publish") == 0 && note != NULL) {
        publish(&message, note);
    } else if (command != NULL && strcmp(command, "look") == 0) {
        bus_acks_look(acks);
        tell_failures();
    } else if (command != NULL && strcmp(command, "free") == 0) {
        acks = bus_acks_free(acks);
        tell_failures();
    } else {
        puts("failed usage");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct bus_options options = {.url = argc == 3 ? argv[1] : "",
                                        .timeout_ms = argc == 3 ? strtol(argv[2], NULL, 10) : 0};
    char line[LINE_MAX_BYTES];
    struct err err = ERR_INIT;

    if (argc != 3 || bus_open(&bus, &options, &err) < 0) {
        fprintf(stderr, "bus_driver: %s\n", argc == 3 ? err.text : "usage: URL TIMEOUT-MS");
        return 2;
    }
    acks = bus_acks_new(bus, note_failure, NULL);
    while (fgets(line, sizeof(line), stdin) != NULL)
        run(line);
    bus_acks_free(acks);
    bus_close(bus);
    buf_deinit(&failures);
    return 0;
}
