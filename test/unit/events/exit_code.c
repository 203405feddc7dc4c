/* Exit codes follow from stable error codes. */
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

#include "test/unit/check.h"

static void test_codes(void)
{
    static const struct {
        const char *code;
        enum err_class class;
        int exit;
    } rows[] = {
        {"config", ERR_FATAL, 2},
        {"listen", ERR_FATAL, 2},
        {"internal", ERR_FATAL, 1},
        {"nats-auth", ERR_FATAL, 5},
        {"pg-28P01", ERR_FATAL, 5},
        {"pg-28000", ERR_FATAL, 5},
        {"redis-wrongpass", ERR_FATAL, 5},
        {"redis-noperm", ERR_FATAL, 5},
        {"redis-connection", ERR_UNAVAILABLE, 3},
        {"nats-10059", ERR_FATAL, 4},
        {"nats-10014", ERR_FATAL, 4},
        {"bad-consumer", ERR_FATAL, 4},
        {"pg-42P01", ERR_FATAL, 4},
        {"pg-3D000", ERR_FATAL, 4},
        {"epoch-row", ERR_FATAL, 8},
        {"pg-connection", ERR_UNAVAILABLE, 3},
        {"http-401", ERR_FATAL, 5},
        {"http-400", ERR_FATAL, 6},
        {"pg-2", ERR_FATAL, 6},
        {"", ERR_FATAL, 6},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;

        err_set(&err, rows[i].class, rows[i].code, "test", "text");
        CHECK_EQ_INT(exit_code_of(&err), rows[i].exit);
    }
}

int main(void)
{
    RUN(test_codes);
    return check_result();
}
