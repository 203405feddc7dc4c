/* The connections of a command, opened at first use and kept. */
// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "ops/cli/cli.h"
#include "ops/cli/output.h"

/* Statements of this command may take long (migrations, reports). */
#define STATEMENT_TIMEOUT_MS (10 * 60 * 1000)
#define READ_CHUNK 65536

int cli_bus(struct cli *cli, struct bus **ret, struct err *err)
{
    const struct cli_config *c = &cli->config;

    if (!cli->bus) {
        char name[128];
        (void)snprintf(name, sizeof(name), "echora-cli/%s %d", ECHORA_VERSION, (int)getpid());
        struct bus_options options = {.url = c->nats_url,
                                      .user = c->nats_user,
                                      .password = c->nats_password,
                                      .name = name,
                                      .timeout_ms = c->timeout_ms,
                                      .fail_refused = true};
        if (bus_open(&cli->bus, &options, err) < 0)
            return -1;
    }
    int64_t end = mono_ms() + c->timeout_ms;
    while (!bus_connected(cli->bus)) {
        if (!bus_alive(cli->bus, err))
            return -1;
        if (mono_ms() >= end || !wait_ms(5))
            return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-connect", "connect to NATS",
                               "no connection to %s as user \"%s\" within %lld ms: is the server "
                               "up, are user and password right (nats-url, nats-user, "
                               "nats-password-file)?",
                               c->nats_url, c->nats_user, (long long)c->timeout_ms);
    }
    *ret = cli->bus;
    return 0;
}

int cli_pg(struct cli *cli, struct pg **ret, struct err *err)
{
    const struct cli_config *c = &cli->config;

    if (!*c->pg_url)
        return cli_usage(err, "needs the option pg-url (or ECHORA_PG_URL)");
    if (!cli->pg) {
        struct pg_options options = {.url = c->pg_url,
                                     .password = c->pg_password,
                                     .application_name = "echora-cli",
                                     .connect_timeout_ms = c->timeout_ms,
                                     .statement_timeout_ms = STATEMENT_TIMEOUT_MS};
        cli->pg = pg_new(&options);
        if (!cli->pg)
            return err_set(err, ERR_RETRY, "no-memory", "open PostgreSQL", "out of memory");
    }
    if (pg_ensure(cli->pg, err) < 0)
        return -1;
    *ret = cli->pg;
    return 0;
}

int cli_qdrant(struct cli *cli, struct http **ret, struct err *err)
{
    const struct cli_config *c = &cli->config;

    if (!*c->qdrant_url)
        return cli_usage(err, "needs the option qdrant-url (or ECHORA_QDRANT_URL)");
    if (!cli->qdrant) {
        struct http_options options = {.base_url = c->qdrant_url,
                                       .bearer = "",
                                       .api_key = c->qdrant_api_key,
                                       .dependency = DEP_QDRANT,
                                       .connect_timeout_ms = c->timeout_ms,
                                       .timeout_ms = 30000,
                                       .max_reply = 64u << 20};
        cli->qdrant = http_new(&options);
        if (!cli->qdrant)
            return err_set(err, ERR_RETRY, "no-memory", "open Qdrant", "out of memory");
    }
    *ret = cli->qdrant;
    return 0;
}

int cli_read_file(const char *path, size_t max, struct buf *ret, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

    buf_init(ret, max + READ_CHUNK);
    if (fd < 0)
        return err_set(err, ERR_FATAL, "file", "read file", "%s: %s", path, strerrordesc_np(errno));
    ssize_t n;
    do {
        char *p = buf_extend(ret, READ_CHUNK);
        if (!p) {
            n = 0;
            break;
        }
        n = read(fd, p, READ_CHUNK);
        ret->n -= READ_CHUNK - (size_t)(n > 0 ? n : 0);
    } while (n > 0 || (n < 0 && errno == EINTR && !interrupted()));
    int failed = n < 0 ? errno : 0;
    if (!standard)
        (void)close(fd);
    if (failed)
        return err_set(err, ERR_FATAL, "file", "read file", "%s: %s", path,
                       strerrordesc_np(failed));
    if (buf_failed(ret) || ret->n > max)
        return err_set(err, ERR_REJECT, "too-large", "read file", "%s has more than %zu bytes",
                       path, max);
    return 0;
}
