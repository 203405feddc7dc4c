/* Marks as they are stored and read, and what is no mark. */
// SPDX-License-Identifier: Apache-2.0

#include "events/suspect.h"

#include "test/unit/check.h"

#define CREATED 1700000000

static const struct suspect_mark mark = {.begun = 2,
                                         .retried = 1,
                                         .done = true,
                                         .stream_created_s = CREATED,
                                         .deliveries = 4,
                                         .worker = "echora-catalogue/0.1.0 \"host\":17",
                                         .time_us = INT64_C(1700000100123456)};

static struct suspect_mark parse(struct view text, int64_t created_s)
{
    struct suspect_mark ret;

    suspect_parse(text, created_s, &ret);
    return ret;
}

static void test_a_mark_is_read_as_it_was_written(void)
{
    char text[SUSPECT_TEXT_MAX], subject[SUSPECT_SUBJECT_MAX];
    const size_t n = suspect_format(&mark, text);

    REQUIRE(n > 0 && n < sizeof(text));
    CHECK_EQ_INT(parse((struct view){text, n}, CREATED).begun, 2);
    CHECK_EQ_INT(parse((struct view){text, n}, CREATED).retried, 1);
    CHECK_EQ_INT(parse((struct view){text, n}, CREATED).deliveries, 4);
    CHECK(parse((struct view){text, n}, CREATED).done);
    CHECK_EQ_INT(parse((struct view){text, n}, CREATED).time_us, 1700000100000000);
    CHECK(memmem(text, n, "2023-11-14T22:15:00Z", 20) != NULL);
    suspect_subject(subject, "catalog-enriched", UINT64_MAX);
    CHECK_STR(subject, "suspect.catalog-enriched.18446744073709551615");
}

static void test_a_stream_made_anew_has_no_marks(void)
{
    char text[SUSPECT_TEXT_MAX];
    const size_t n = suspect_format(&mark, text);

    CHECK_EQ_INT(parse((struct view){text, n}, CREATED + 1).begun, 0);
    CHECK_EQ_INT(parse((struct view){text, n}, CREATED + 1).retried, 0);
}

static void test_what_is_no_mark_says_nothing(void)
{
    static const char *const texts[] = {
        "",
        "3",
        "nothing",
        "[3]",
        "{\"begun\":3}",
        "{\"begun\":3,\"stream_created\":\"1700000000\"}",
        "{\"begun\":\"3\",\"stream_created\":1700000000}",
        "{\"begun\":-3,\"stream_created\":1700000000}",
        "{\"begun\":3,\"stream_created\":1700000000",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        CHECK_ROW(parse(view_of(texts[i]), CREATED).begun == 0, texts[i]);
    CHECK_EQ_INT(parse((struct view){0}, CREATED).begun, 0);
    CHECK_EQ_INT(parse(view_of("{\"begun\":3,\"stream_created\":1700000000}"), CREATED).begun, 3);
    CHECK(parse(view_of("{\"begun\":9000000000,\"stream_created\":1700000000}"), CREATED).begun >
          9);
}

/* A mark that would be cut is not written at all. */
static void test_a_mark_that_does_not_fit(void)
{
    char text[SUSPECT_TEXT_MAX], name[SUSPECT_TEXT_MAX + 1];
    struct suspect_mark long_name = mark;

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    long_name.worker = name;
    CHECK_EQ_INT(suspect_format(&long_name, text), 0);
}

/* Deliveries 1 and 2 count as tries, whatever they were; then only what ended with a retry does. */
static void test_tries(void)
{
    struct held h = {.delivery.deliveries = 2};

    CHECK_EQ_INT(suspect_no_tries(&h), 0);
    h.delivery.deliveries = 9;
    CHECK_EQ_INT(suspect_no_tries(&h), 0); /* nothing is known */
    h.marked = true;
    CHECK_EQ_INT(suspect_no_tries(&h), 6);
    h.retried = 4;
    CHECK_EQ_INT(suspect_no_tries(&h), 2);
    h.retried = 6;
    CHECK_EQ_INT(suspect_no_tries(&h), 0);
    h.retried = 7;
    CHECK_EQ_INT(suspect_no_tries(&h), 0);
}

int main(void)
{
    RUN(test_a_mark_is_read_as_it_was_written);
    RUN(test_a_stream_made_anew_has_no_marks);
    RUN(test_what_is_no_mark_says_nothing);
    RUN(test_a_mark_that_does_not_fit);
    RUN(test_tries);
    return check_result();
}
