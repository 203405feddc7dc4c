/* Forward-only migrations: numbered files, each applied once, in order, in a transaction of its own
 * that also notes its checksum in ops.migration.
 *
 * One session holds an advisory lock for the whole run, so two of them never meet. What was applied
 * is never changed again: a file that differs from what was applied, an applied one that is missing
 * here, and a new one below the newest applied one are errors that change nothing. */
// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "ops/cli/cli.h"
#include "ops/cli/migrations.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"
#include "ops/sql.h"

#define MAX_MIGRATIONS 4096
#define MAX_FILE (4u << 20)
#define CHECKSUM_TEXT (2 * SHA256_SIZE + 1)

struct migrate_options {
    const char *dir;
    bool check;
    int64_t lock_timeout_ms;
};

static const struct option options[] = {
    {"dir", OPT_STRING, offsetof(struct migrate_options, dir), "", 0, 0, NULL, "FOLDER",
     "Take the files of this folder instead of those built in."},
    {"check", OPT_BOOL, offsetof(struct migrate_options, check), "false", 0, 0, NULL, NULL,
     "Change nothing; exit 1 when something is missing or differs."},
    {"lock-timeout", OPT_DURATION, offsetof(struct migrate_options, lock_timeout_ms), "60s", 1,
     3600000, NULL, "TIME", "How long to wait for another migration to end."},
};

struct known {
    int64_t number;
    const char *name, *sql;
    char checksum[CHECKSUM_TEXT];
    bool applied;
};

struct plan {
    struct known *rows;
    size_t n;
};

static const char ledger[] =
    "CREATE SCHEMA IF NOT EXISTS ops;"
    "CREATE TABLE IF NOT EXISTS ops.migration ("
    " number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
    " took_ms bigint NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());"
    "COMMENT ON TABLE ops.migration IS 'written by echora migrate: what was applied, and its "
    "SHA-256';"
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'echora_reader') THEN"
    " GRANT SELECT ON ops.migration TO echora_reader; END IF; END $$";

static int bad(struct err *err, const char *name, const char *what)
{
    return err_set(err, ERR_REJECT, "migration", "migrate", "%s: %s", name, what);
}

static int add(struct plan *plan, const char *name, const char *sql, struct err *err)
{
    struct view rest = view_of(name), number;
    struct known *row = &plan->rows[plan->n];
    uint8_t digest[SHA256_SIZE];

    if (plan->n == MAX_MIGRATIONS)
        return bad(err, name, "too many files");
    *row = (struct known){.name = name, .sql = sql};
    if (!view_split(&rest, '_', &number) || rest.n == 0 ||
        !view_to_i64(number, 1, INT64_MAX, &row->number))
        return bad(err, name, "a migration is called <number>_<name>.sql");
    if (plan->n && plan->rows[plan->n - 1].number >= row->number)
        return bad(err, name, "its number is not above the one before it");
    sha256(bytes_of(view_of(sql)), digest);
    for (size_t i = 0; i < SHA256_SIZE; i++)
        (void)snprintf(row->checksum + 2 * i, 3, "%02x", digest[i]);
    plan->n++;
    return 0;
}

static int is_migration(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return n > 4 && entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
           strcmp(entry->d_name + n - 4, ".sql") == 0;
}

static int load_file(struct cli *cli, const char *dir, const char *file, struct plan *plan,
                     struct err *err)
{
    struct buf content;
    const char *path = arena_printf(cli->arena, "%s/%s", dir, file);
    const char *name = arena_printf(cli->arena, "%.*s", (int)strlen(file) - 4, file);

    if (!path || !name)
        return err_set(err, ERR_RETRY, "no-memory", "migrate", "out of memory");
    int r = cli_read_file(path, MAX_FILE, &content, err);
    const char *sql = r == 0 ? arena_strdup(cli->arena, buf_view(&content)) : NULL;
    buf_deinit(&content);
    if (r < 0)
        return -1;
    if (!sql)
        return err_set(err, ERR_RETRY, "no-memory", "migrate", "out of memory");
    return add(plan, name, sql, err);
}

static int load_folder(struct cli *cli, const char *dir, struct plan *plan, struct err *err)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, is_migration, alphasort), r = 0;

    if (n < 0)
        return err_set(err, ERR_FATAL, "file", "migrate", "%s: can't list this folder", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = load_file(cli, dir, entries[i]->d_name, plan, err);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int load(struct cli *cli, const char *dir, struct plan *plan, struct err *err)
{
    plan->rows = arena_array(cli->arena, MAX_MIGRATIONS, sizeof(*plan->rows));
    if (!plan->rows)
        return err_set(err, ERR_RETRY, "no-memory", "migrate", "out of memory");
    if (*dir)
        return load_folder(cli, dir, plan, err);
    for (size_t i = 0; i < n_migrations; i++)
        if (add(plan, migrations[i].name, migrations[i].sql, err) < 0)
            return -1;
    return 0;
}

static int take_lock(struct pg *pg, int64_t timeout_ms, struct err *err)
{
    int64_t end = mono_ms() + timeout_ms;

    for (;;) {
        CLEANUP(pg_clearp) PGresult *result = NULL;
        if (pg_query(pg, &sql_migrate_lock, NULL, 0, &result, err) < 0)
            return strcmp(err->code, "pg-42501") == 0
                       ? err_set(err, ERR_FATAL, "pg-42501", "migrate",
                                 "this role may not: run it as echora_owner (pg-url, "
                                 "pg-password-file)")
                       : -1;
        if (pg_get_bool(result, 0, 0))
            return 0;
        if (mono_ms() >= end || !wait_ms(200))
            return err_set(err, ERR_RETRY, "migration", "migrate",
                           "another migration holds the lock");
    }
}

/* Marks what was applied; the ledger and the files must agree up to the newest applied number. */
static int compare(struct pg *pg, struct plan *plan, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *exists = NULL;
    CLEANUP(pg_clearp) PGresult *result = NULL;

    if (pg_query(pg, &sql_migrate_exists, NULL, 0, &exists, err) < 0)
        return -1;
    if (!pg_get_bool(exists, 0, 0))
        return 0;
    if (pg_query(pg, &sql_migrate_applied, NULL, 0, &result, err) < 0)
        return -1;
    size_t at = 0;
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t number = pg_get_i64(result, row, 0);
        struct view name = pg_get_text(result, row, 1);
        if (at < plan->n && plan->rows[at].number < number)
            return bad(err, plan->rows[at].name,
                       "a newer one was applied already; give it the next free number");
        if (at == plan->n || plan->rows[at].number > number)
            return err_set(err, ERR_REJECT, "migration", "migrate",
                           "%.*s was applied, but this program does not know it: it is older than "
                           "the database",
                           VIEW_ARG(name));
        if (!view_is(pg_get_text(result, row, 2), plan->rows[at].checksum))
            return bad(err, plan->rows[at].name,
                       "was changed after it was applied; put it back and write a new one");
        plan->rows[at++].applied = true;
    }
    return 0;
}

static int apply_one(struct pg *pg, const struct known *m, int64_t *ret_ms, struct err *err)
{
    int64_t start = mono_ms();

    if (pg_begin(pg, err) < 0)
        return -1;
    int r = pg_run(pg, m->sql, err);
    KILL_POINT("inside-migration");
    if (r == 0) {
        *ret_ms = mono_ms() - start;
        struct pg_param params[] = {pg_i64(m->number), pg_text(view_of(m->name)),
                                    pg_text(view_of(m->checksum)), pg_i64(*ret_ms)};
        r = pg_query(pg, &sql_migrate_note, params, ARRAY_LEN(params), NULL, err);
    }
    if (r == 0)
        r = pg_commit(pg, err);
    if (r < 0) {
        pg_rollback(pg);
        return err_wrap(err, "%s", m->name);
    }
    return 0;
}

static void say(const struct cli *cli, const struct known *m, const char *state, int64_t ms)
{
    if (cli->config.json)
        printf("{\"migration\":\"%s\",\"state\":\"%s\",\"took_ms\":%" PRId64 "}\n", m->name, state,
               ms);
    else if (strcmp(state, "applied") == 0)
        printf("%s%s%s applied in %" PRId64 " ms\n", paint(cli->color, PAINT_GREEN), m->name,
               paint_end(cli->color), ms);
    else
        printf("%s%s%s %s\n", paint(cli->color, PAINT_YELLOW), m->name, paint_end(cli->color),
               state);
    (void)fflush(stdout);
}

int migrate_look(struct cli *cli, struct pg *pg, struct migrate_state *ret, struct err *err)
{
    struct plan plan = {0};

    if (load(cli, "", &plan, err) < 0 || compare(pg, &plan, err) < 0)
        return -1;
    *ret = (struct migrate_state){.total = plan.n};
    for (size_t i = 0; i < plan.n; i++)
        ret->missing += !plan.rows[i].applied;
    return 0;
}

static int run(struct cli *cli, struct err *err)
{
    const struct migrate_options *o = cli->options;
    struct plan plan = {0};
    struct pg *pg;
    size_t open = 0, done = 0;

    if (load(cli, o->dir, &plan, err) < 0 || cli_pg(cli, &pg, err) < 0)
        return -1;
    if (!o->check && (take_lock(pg, o->lock_timeout_ms, err) < 0 || pg_run(pg, ledger, err) < 0))
        return -1;
    unsigned session = pg_generation(pg);
    if (compare(pg, &plan, err) < 0)
        return -1;
    for (size_t i = 0; i < plan.n; i++)
        open += !plan.rows[i].applied;
    for (size_t i = 0; i < plan.n && !interrupted(); i++) {
        int64_t ms = 0;
        if (plan.rows[i].applied)
            continue;
        if (o->check) {
            say(cli, &plan.rows[i], "missing", 0);
            continue;
        }
        if (pg_generation(pg) != session)
            return err_set(err, ERR_RETRY, "migration", "migrate",
                           "the connection was lost, and the lock with it; run it again");
        if (apply_one(pg, &plan.rows[i], &ms, err) < 0)
            return -1;
        KILL_POINT("after-migration");
        say(cli, &plan.rows[i], "applied", ms);
        done++;
    }
    if (!cli->config.json && open == 0)
        printf("nothing to do: %zu migrations are applied\n", plan.n);
    return done == open ? CLI_OK : CLI_FAILED;
}

const struct verb verb_migrate = {
    .name = "migrate",
    .args = "",
    .summary = "brings the database's schema up to date",
    .details = "Applies the numbered SQL files that are not applied yet, each in a transaction of "
               "its own,\nunder an advisory lock. Run it as the owner of the schema. Forward only.",
    .example = "echora migrate --pg-url postgresql://echora_owner@127.0.0.1:5432/echora "
               "--pg-password-file FILE",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct migrate_options),
    .run = run,
};
