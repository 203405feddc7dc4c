/* Where a lane goes on: every combination of what database and stream may say. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/resume.h"

#include "test/unit/check.h"

struct row {
    const char *what;
    struct resume_facts facts;
    const char *code; /* "" = goes on */
    int64_t stored;
    enum resume_check check;
};

/* A batch 7 of 10 rows that began behind sequence 100. */
#define BATCH .has_batch = true, .batch = 7, .n_rows = 10, .start_sequence = 100
#define TAIL(batch_, id_)                                                                          \
    .has_tail = true, .has_position = true, .tail_batch = (batch_), .tail_id = (id_)

static const struct row rows[] = {
    {"all new", {.last_sequence = 0}, "", 0, RESUME_CHECK_NONE},
    {"no batch, a purged stream", {.last_sequence = 55}, "", 0, RESUME_CHECK_NONE},
    {"no batch, but a relay's message", {.last_sequence = 5, TAIL(1, 5)}, "epoch-database", 0, 0},
    {"no batch, somebody's message", {.last_sequence = 5, .has_tail = true}, "epoch-foreign", 0, 0},

    {"nothing of the batch yet",
     {BATCH, .last_sequence = 100, TAIL(6, 40)},
     "",
     0,
     RESUME_CHECK_TAIL},
    {"nothing of the batch yet, purged", {BATCH, .last_sequence = 100}, "", 0, RESUME_CHECK_NONE},
    {"part of it", {BATCH, .last_sequence = 104, TAIL(7, 44)}, "", 4, RESUME_CHECK_NTH_TAIL},
    {"part of it, purged", {BATCH, .last_sequence = 104}, "", 4, RESUME_CHECK_NTH},
    {"all of it", {BATCH, .last_sequence = 110, TAIL(7, 50)}, "", 10, RESUME_CHECK_NTH_TAIL},
    {"all of it, purged", {BATCH, .last_sequence = 110}, "", 10, RESUME_CHECK_NTH},

    {"more than all", {BATCH, .last_sequence = 111, TAIL(7, 50)}, "epoch-stream", 0, 0},
    {"more than all, purged", {BATCH, .last_sequence = 111}, "epoch-stream", 0, 0},
    {"fewer than before", {BATCH, .last_sequence = 99, TAIL(6, 40)}, "epoch-stream", 0, 0},
    {"an empty stream again", {BATCH, .last_sequence = 0}, "epoch-stream", 0, 0},
    {"a batch of the future", {BATCH, .last_sequence = 104, TAIL(8, 44)}, "epoch-database", 0, 0},
    {"part stored, tail of a former batch",
     {BATCH, .last_sequence = 104, TAIL(6, 40)},
     "epoch-stream",
     0,
     0},
    {"nothing stored, tail of this batch",
     {BATCH, .last_sequence = 100, TAIL(7, 41)},
     "epoch-stream",
     0,
     0},
    {"a foreign message", {BATCH, .last_sequence = 104, .has_tail = true}, "epoch-foreign", 0, 0},

    {"accepted by a person",
     {.has_batch = true,
      .batch = 9,
      .n_rows = 0,
      .start_sequence = 300,
      .last_sequence = 300,
      TAIL(8, 3)},
     "",
     0,
     RESUME_CHECK_TAIL},
};

static void test_decisions(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct resume got = {.stored = -1};
        struct err err = ERR_INIT;
        int r = resume_decide(&row->facts, &got, &err);
        bool ok = *row->code != '\0'
                      ? r < 0 && strcmp(err.code, row->code) == 0 && err.class == ERR_FATAL
                      : r == 0 && got.stored == row->stored && got.check == row->check;
        if (!ok)
            fprintf(stderr, "%s: %d, stored %lld, check %d, code %s\n", row->what, r,
                    (long long)got.stored, (int)got.check, err.code);
        CHECK(ok);
    }
}

static void test_refusals_name_the_runbook(void)
{
    struct resume got;
    struct err err = ERR_INIT;
    CHECK(resume_decide(&rows[2].facts, &got, &err) < 0);
    CHECK(strstr(err.text, "ops/runbooks/relay-refused.md") != NULL);
}

static void test_positions(void)
{
    char text[POSITION_MAX];
    int64_t batch = 0, id = 0;
    position_format(INT64_MAX, INT64_MAX, text);
    CHECK_STR(text, "9223372036854775807:9223372036854775807");
    CHECK(position_parse(view_of(text), &batch, &id));
    CHECK_EQ_INT(batch, INT64_MAX);
    CHECK_EQ_INT(id, INT64_MAX);
    static const char *const bad[] = {
        "",    ":",    "1",   "1:",   ":1",   "1:2:3", "0:1",
        "1:0", "-1:1", "1:x", " 1:2", "1: 2", "a:b",   "1:99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK(!position_parse(view_of(bad[i]), &batch, &id));
    CHECK(!position_parse((struct view){0}, &batch, &id));
}

int main(void)
{
    RUN(test_decisions);
    RUN(test_refusals_name_the_runbook);
    RUN(test_positions);
    return check_result();
}
