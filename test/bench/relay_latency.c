/* Commit to arrival: inserts outbox rows one a transaction at a fixed pace, sends the writer's hint
 * if there is one, and takes the time until the relay's message reaches a core NATS subscriber.
 * Shares no code with the product.
 *
 * usage: relay_latency PG-CONNINFO NATS-URL ROWS-PER-SECOND SECONDS SUBJECT INSERT [HINT-SUBJECT]
 * INSERT is one statement with the payload as $1. A second's rows come before, unmeasured.
 * Prints one JSON object; times in milliseconds from the return of the commit. */
// SPDX-License-Identifier: Apache-2.0

#include <libpq-fe.h>
#include <nats/nats.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_ROWS = 1 << 20, ENTITIES = 1000, BURST = 4 };
static double committed[MAX_ROWS], arrived[MAX_ROWS];
static long n_arrived, n_twice;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    char text[16] = "";
    memcpy(text, natsMsg_GetData(msg), 8);
    long i = strtol(text, NULL, 10);
    if (i >= 0 && i < MAX_ROWS) {
        if (arrived[i] > 0)
            n_twice++;
        arrived[i] = now();
        __atomic_add_fetch(&n_arrived, 1, __ATOMIC_RELAXED);
    }
    natsMsg_Destroy(msg);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc < 7 || argc > 8)
        die("usage", "PG-CONNINFO NATS-URL ROWS-PER-SECOND SECONDS SUBJECT INSERT [HINT-SUBJECT]");
    const char *hint = argc == 8 && *argv[7] ? argv[7] : NULL;
    const long rate = strtol(argv[3], NULL, 10), n = rate * strtol(argv[4], NULL, 10), warm = rate;
    if (n + warm > MAX_ROWS)
        die("rows", "too many");
    PGconn *pg = PQconnectdb(argv[1]);
    if (PQstatus(pg) != CONNECTION_OK)
        die("postgres", PQerrorMessage(pg));
    natsConnection *nc = NULL, *hints = NULL;
    natsSubscription *sub = NULL;
    natsOptions *options = NULL;
    if (natsOptions_Create(&options) != NATS_OK ||
        natsOptions_SetURL(options, argv[2]) != NATS_OK ||
        natsOptions_SetSendAsap(options, true) != NATS_OK ||
        natsConnection_Connect(&nc, options) != NATS_OK ||
        natsConnection_Connect(&hints, options) != NATS_OK ||
        natsConnection_Subscribe(&sub, nc, argv[5], on_message, NULL) != NATS_OK ||
        natsConnection_Flush(nc) != NATS_OK)
        die("nats", "no connection");
    PGresult *r = PQprepare(pg, "add", argv[6], 1, (const Oid[]){17});
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        die("prepare", PQerrorMessage(pg));
    PQclear(r);

    char payload[300];
    memset(payload, 'x', sizeof(payload));
    const double start = now();
    for (long i = 0; i < n + warm; i++) {
        double due = start + (double)i * 1000 / (double)rate, left = due - now();
        if (left > 0.06) {
            struct timespec t = {0, (long)((left - 0.05) * 1e6)};
            if (left > 1000)
                t = (struct timespec){1, 0};
            nanosleep(&t, NULL);
        }
        while (now() < due)
            ;
        /* The head that test/bench/kit/checker.py reads, in front of text: one peer takes no other.
         */
        const int head = snprintf(payload, sizeof(payload), "%08ld %06ld %08ld ", i,
                                  i / BURST % ENTITIES, i / (BURST * ENTITIES) * BURST + i % BURST);
        payload[head] = 'x';
        const char *values[] = {payload};
        r = PQexecPrepared(pg, "add", 1, values, (const int[]){sizeof(payload)}, (const int[]){1},
                           1);
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            die("insert", PQerrorMessage(pg));
        committed[i] = now();
        PQclear(r);
        if (hint)
            natsConnection_PublishString(hints, hint, "");
    }
    const double took = (now() - start) / 1e3;
    for (int i = 0; i < 1500 && __atomic_load_n(&n_arrived, __ATOMIC_RELAXED) < n + warm; i++)
        nats_Sleep(20);

    static double ms[MAX_ROWS];
    long got = 0;
    for (long i = warm; i < n + warm; i++)
        if (arrived[i] > 0)
            ms[got++] = arrived[i] - committed[i];
    qsort(ms, (size_t)got, sizeof(*ms), by_value);
    printf("{\"rate\": %.0f, \"rows\": %ld, \"missing\": %ld, \"twice\": %ld",
           (double)(n + warm) / took, n, n - got, n_twice);
    if (got > 0)
        printf(", \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p99_9\": %.3f, \"max\": %.3f",
               ms[got / 2], ms[got * 9 / 10], ms[got * 99 / 100], ms[got * 999 / 1000],
               ms[got - 1]);
    printf("}\n");
    return got == n && n_twice == 0 ? 0 : 1;
}
