// SPDX-License-Identifier: Apache-2.0
#include "events/base/err.h"

#include "test/unit/check.h"

static void test_set_and_wrap(void)
{
    struct err err = ERR_INIT;
    CHECK_EQ_INT(err_set(&err, ERR_REJECT, "decode", "read anime", "field %d", 7), -1);
    CHECK_EQ_INT(err.class, ERR_REJECT);
    CHECK_EQ_INT(err.dependency, DEP_NONE);
    CHECK_STR(err.code, "decode");
    CHECK_STR(err.op, "read anime");
    CHECK_STR(err.text, "field 7");
    CHECK_EQ_INT(err_wrap(&err, "entry %d", 3), -1);
    CHECK_STR(err.text, "entry 3: field 7");
    CHECK_STR(err.code, "decode");
    err.retry_after_ms = 5;
    err_set_dep(&err, ERR_UNAVAILABLE, DEP_QDRANT, "http-503", err.op, "again: %s", err.text);
    CHECK_STR(err.text, "again: entry 3: field 7");
    CHECK_STR(err.op, "read anime");
    CHECK_EQ_INT(err.dependency, DEP_QDRANT);
    CHECK_EQ_INT(err.retry_after_ms, 0);
    CHECK_EQ_INT(err_set(NULL, ERR_FATAL, "x", "y", "z"), -1);
    CHECK_EQ_INT(err_wrap(NULL, "z"), -1);
}

/* A cut text stays whole characters. */
static void test_cuts(void)
{
    for (int shift = 0; shift < 4; shift++) {
        char text[700];
        memset(text, 'a', (size_t)shift);
        for (size_t i = (size_t)shift; i + 3 < sizeof text; i += 3) {
            memcpy(text + i, "\xe9\xac\xbc", 4);
        }
        struct err err = ERR_INIT;
        err_set(&err, ERR_REJECT, text, text, "%s", text);
        const char *const parts[] = {err.code, err.op, err.text};
        const size_t sizes[] = {sizeof err.code, sizeof err.op, sizeof err.text};
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            CHECK(utf8_is_valid(bytes_of(view_of(parts[i]))));
            CHECK(strlen(parts[i]) >= sizes[i] - 4 && strlen(parts[i]) < sizes[i]);
        }
        err_wrap(&err, "%s", text);
        CHECK(utf8_is_valid(bytes_of(view_of(err.text))));
    }
}

static void test_names(void)
{
    for (int c = ERR_NONE; c <= ERR_FATAL; c++) {
        CHECK(strcmp(err_class_name((enum err_class)c), "unknown") != 0);
    }
    CHECK_STR(err_class_name((enum err_class)99), "unknown");
    for (int d = DEP_NONE; d < DEP_MAX; d++) {
        CHECK(dependency_name((enum dependency)d)[0] != '\0');
    }
    CHECK_STR(dependency_name(DEP_POSTGRES), "postgres");
    CHECK_STR(dependency_name(DEP_MAX), "unknown");
}

static void test_codes(void)
{
    for (unsigned i = 0; i < n_error_codes; i++) {
        const struct error_code *row = &error_codes[i];
        CHECK_ROW(strlen(row->code) > 0 && strlen(row->code) < sizeof((struct err *)0)->code,
                  row->code);
        CHECK_ROW(row->meaning[0] && row->meaning[strlen(row->meaning) - 1] == '.', row->code);
        CHECK_ROW(row->action[0] && row->action[strlen(row->action) - 1] == '.', row->code);
        CHECK_ROW(error_code_find(row->code) == row, row->code); /* no double rows */
        const char *star = strchr(row->code, '*');
        CHECK_ROW(!star || star[1] == '\0', row->code);
    }
    CHECK_STR(error_code_find("pg-40001")->code, "pg-*");
    CHECK_STR(error_code_find("pg-connection")->code, "pg-connection");
    CHECK(!error_code_find("no-such-code"));
    CHECK(!error_code_find(""));
}

int main(void)
{
    RUN(test_set_and_wrap);
    RUN(test_cuts);
    RUN(test_names);
    RUN(test_codes);
    return check_result();
}
