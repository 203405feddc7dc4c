/* The SQLSTATE table against every code of PostgreSQL's list, and messages of refused connections.
 */
// SPDX-License-Identifier: Apache-2.0

#include "events/pg_error.h"

#include "test/unit/check.h"

/* One line per class, in the order of PostgreSQL's appendix A; codes of our own choice beside it.
 */
static const struct {
    const char *state;
    enum err_class class;
} wanted[] = {
    {"01000", ERR_RETRY},       {"02000", ERR_RETRY},       {"03000", ERR_RETRY},
    {"08000", ERR_UNAVAILABLE}, {"08001", ERR_UNAVAILABLE}, {"08003", ERR_UNAVAILABLE},
    {"08004", ERR_UNAVAILABLE}, {"08006", ERR_UNAVAILABLE}, {"08007", ERR_UNCERTAIN},
    {"08P01", ERR_UNAVAILABLE}, {"09000", ERR_RETRY},       {"0A000", ERR_RETRY},
    {"0B000", ERR_RETRY},       {"0F000", ERR_RETRY},       {"0F001", ERR_RETRY},
    {"0L000", ERR_RETRY},       {"0LP01", ERR_RETRY},       {"0P000", ERR_RETRY},
    {"0Z000", ERR_RETRY},       {"0Z002", ERR_RETRY},       {"20000", ERR_RETRY},
    {"21000", ERR_RETRY},       {"22000", ERR_REJECT},      {"22001", ERR_REJECT},
    {"22003", ERR_REJECT},      {"22007", ERR_REJECT},      {"22012", ERR_REJECT},
    {"22021", ERR_REJECT},      {"22P02", ERR_REJECT},      {"22P05", ERR_REJECT},
    {"2203G", ERR_REJECT},      {"23000", ERR_REJECT},      {"23502", ERR_REJECT},
    {"23503", ERR_REJECT},      {"23505", ERR_REJECT},      {"23514", ERR_REJECT},
    {"23P01", ERR_REJECT},      {"24000", ERR_RETRY},       {"25000", ERR_RETRY},
    {"25001", ERR_RETRY},       {"25006", ERR_UNAVAILABLE}, {"25P02", ERR_RETRY},
    {"25P03", ERR_RETRY},       {"26000", ERR_RETRY},       {"27000", ERR_RETRY},
    {"28000", ERR_FATAL},       {"28P01", ERR_FATAL},       {"2B000", ERR_RETRY},
    {"2BP01", ERR_RETRY},       {"2D000", ERR_RETRY},       {"2F000", ERR_RETRY},
    {"34000", ERR_RETRY},       {"38000", ERR_RETRY},       {"39000", ERR_RETRY},
    {"3B000", ERR_RETRY},       {"3D000", ERR_FATAL},       {"3F000", ERR_FATAL},
    {"40000", ERR_RETRY},       {"40001", ERR_RETRY},       {"40002", ERR_RETRY},
    {"40003", ERR_UNCERTAIN},   {"40P01", ERR_RETRY},       {"42000", ERR_FATAL},
    {"42501", ERR_FATAL},       {"42601", ERR_FATAL},       {"42703", ERR_FATAL},
    {"42883", ERR_FATAL},       {"42P01", ERR_FATAL},       {"44000", ERR_RETRY},
    {"53000", ERR_UNAVAILABLE}, {"53100", ERR_UNAVAILABLE}, {"53200", ERR_UNAVAILABLE},
    {"53300", ERR_UNAVAILABLE}, {"53400", ERR_UNAVAILABLE}, {"54000", ERR_RETRY},
    {"54001", ERR_RETRY},       {"55000", ERR_RETRY},       {"55006", ERR_RETRY},
    {"55P02", ERR_RETRY},       {"55P03", ERR_RETRY},       {"57000", ERR_UNAVAILABLE},
    {"57014", ERR_RETRY},       {"57P01", ERR_UNAVAILABLE}, {"57P02", ERR_UNAVAILABLE},
    {"57P03", ERR_UNAVAILABLE}, {"57P04", ERR_FATAL},       {"57P05", ERR_UNAVAILABLE},
    {"58000", ERR_UNAVAILABLE}, {"58030", ERR_UNAVAILABLE}, {"58P01", ERR_UNAVAILABLE},
    {"F0000", ERR_RETRY},       {"HV000", ERR_RETRY},       {"P0000", ERR_RETRY},
    {"P0001", ERR_RETRY},       {"XX000", ERR_RETRY},       {"XX001", ERR_RETRY},
    {"XX002", ERR_RETRY},
};

static void test_classes(void)
{
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        enum err_class got = pg_sqlstate_class(wanted[i].state);
        if (got != wanted[i].class)
            fprintf(stderr, "SQLSTATE %s\n", wanted[i].state);
        CHECK_EQ_INT(got, wanted[i].class);
    }
}

/* Every class that could be: only the listed ones differ from retry. */
static void test_every_class(void)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const classes[] = {"08", "22", "23", "28", "3D",
                                          "3F", "42", "53", "57", "58"};
    static const enum err_class of[] = {
        ERR_UNAVAILABLE, ERR_REJECT, ERR_REJECT,      ERR_FATAL,       ERR_FATAL,
        ERR_FATAL,       ERR_FATAL,  ERR_UNAVAILABLE, ERR_UNAVAILABLE, ERR_UNAVAILABLE};
    static const char *const tails[] = {"000", "P02", "099", "ZZZ"};
    unsigned wrong = 0;
    for (int n = 0; n < 36 * 36; n++)
        for (size_t t = 0; t < ARRAY_LEN(tails); t++) {
            char s[6] = {digits[n / 36], digits[n % 36], tails[t][0], tails[t][1], tails[t][2], 0};
            enum err_class want = ERR_RETRY;
            for (size_t i = 0; i < ARRAY_LEN(classes); i++)
                if (strncmp(s, classes[i], 2) == 0)
                    want = of[i];
            wrong += pg_sqlstate_class(s) != want;
        }
    CHECK_EQ_INT(wrong, 0);
}

/* The list that the server ships, where one is installed: each of its classes is decided on
 * purpose, and each code is its class or one of the exceptions. */
static void test_errcodes(void)
{
    static const struct {
        const char *state; /* a class, or a whole code that differs from it */
        enum err_class class;
    } decided[] = {
        {"00", ERR_RETRY},        {"01", ERR_RETRY},          {"02", ERR_RETRY},
        {"03", ERR_RETRY},        {"08", ERR_UNAVAILABLE},    {"09", ERR_RETRY},
        {"0A", ERR_RETRY},        {"0B", ERR_RETRY},          {"0F", ERR_RETRY},
        {"0L", ERR_RETRY},        {"0P", ERR_RETRY},          {"0Z", ERR_RETRY},
        {"10", ERR_RETRY},        {"20", ERR_RETRY},          {"21", ERR_RETRY},
        {"22", ERR_REJECT},       {"23", ERR_REJECT},         {"24", ERR_RETRY},
        {"25", ERR_RETRY},        {"26", ERR_RETRY},          {"27", ERR_RETRY},
        {"28", ERR_FATAL},        {"2B", ERR_RETRY},          {"2D", ERR_RETRY},
        {"2F", ERR_RETRY},        {"34", ERR_RETRY},          {"38", ERR_RETRY},
        {"39", ERR_RETRY},        {"3B", ERR_RETRY},          {"3D", ERR_FATAL},
        {"3F", ERR_FATAL},        {"40", ERR_RETRY},          {"42", ERR_FATAL},
        {"44", ERR_RETRY},        {"53", ERR_UNAVAILABLE},    {"54", ERR_RETRY},
        {"55", ERR_RETRY},        {"57", ERR_UNAVAILABLE},    {"58", ERR_UNAVAILABLE},
        {"72", ERR_RETRY},        {"F0", ERR_RETRY},          {"HV", ERR_RETRY},
        {"P0", ERR_RETRY},        {"XX", ERR_RETRY},          {"08007", ERR_UNCERTAIN},
        {"40003", ERR_UNCERTAIN}, {"25006", ERR_UNAVAILABLE}, {"57014", ERR_RETRY},
        {"57P04", ERR_FATAL},
    };
    FILE *list = fopen("/usr/share/postgresql/15/errcodes.txt", "r");
    char line[512];
    unsigned n = 0;
    if (!list)
        return;
    while (fgets(line, sizeof(line), list)) {
        char state[8], kind[8], macro[128];
        int want = -1;
        if (line[0] == '#' || sscanf(line, "%7s %7s %127s", state, kind, macro) != 3 ||
            strlen(state) != 5 || strncmp(macro, "ERRCODE_", 8) != 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(decided); i++) { /* whole codes stand behind classes */
            if (strncmp(state, decided[i].state, strlen(decided[i].state)) == 0)
                want = (int)decided[i].class;
        }
        CHECK_ROW(want >= 0 && (int)pg_sqlstate_class(state) == want, state);
        n++;
    }
    fclose(list);
    CHECK(n > 250);
}

static void test_no_state(void)
{
    CHECK_EQ_INT(pg_sqlstate_class(NULL), ERR_UNAVAILABLE);
    CHECK_EQ_INT(pg_sqlstate_class(""), ERR_UNAVAILABLE);
    CHECK_EQ_INT(pg_sqlstate_class("2300"), ERR_UNAVAILABLE);
}

static void test_state_in_message(void)
{
    char s[6] = "";
    CHECK(pg_sqlstate_in_message("connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  "
                                 "28P01: password authentication failed for user \"x\"\n",
                                 s));
    CHECK_STR(s, "28P01");
    CHECK(pg_sqlstate_in_message("SCHWERWIEGEND:  3D000: Datenbank fehlt", s));
    CHECK_STR(s, "3D000");
    CHECK(!pg_sqlstate_in_message("connection refused", s));
    CHECK(!pg_sqlstate_in_message("FATAL:  too bad", s));
    CHECK(!pg_sqlstate_in_message("FATAL:  28P0", s));
    CHECK(!pg_sqlstate_in_message("FATAL:  ", s));
    CHECK(!pg_sqlstate_in_message(NULL, s));
}

static void test_no_connection(void)
{
    struct err err = ERR_INIT;
    CHECK_EQ_INT(pg_err_connection(&err, "read", NULL), -1);
    CHECK_EQ_INT(err.class, ERR_UNAVAILABLE);
    CHECK_EQ_INT(err.dependency, DEP_POSTGRES);
    CHECK_STR(err.code, "pg-connection");
    CHECK_STR(err.op, "read");
}

int main(void)
{
    RUN(test_classes);
    RUN(test_every_class);
    RUN(test_errcodes);
    RUN(test_no_state);
    RUN(test_state_in_message);
    RUN(test_no_connection);
    return check_result();
}
