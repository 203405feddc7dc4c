/* What a filter means for one letter, and what none is. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/filter.h"

#include "test/unit/check.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

static const struct letter letter = {.sequence = 7,
                                     .consumer = "catalog-updated",
                                     .class = "reject",
                                     .code = "bad-uuid",
                                     .fingerprint = "f0",
                                     .entity = "an entity",
                                     .failed_at_us = 5000000};

static DlqFilter none(void)
{
    return (DlqFilter)ECHORA__OPS__V1__DLQ_FILTER__INIT;
}

static void test_no_limits(void)
{
    const DlqFilter f = none();
    CHECK(filter_matches(NULL, &letter));
    CHECK(filter_matches(&f, &letter));
}

static void test_sequences(void)
{
    for (uint64_t from = 0; from < 10; from++) {
        for (uint64_t to = 0; to < 10; to++) {
            DlqFilter f = none();
            f.from_sequence = from;
            f.to_sequence = to;
            CHECK(filter_matches(&f, &letter) == (from <= 7 && (to == 0 || to >= 7)));
        }
    }
}

static void test_texts(void)
{
    DlqFilter f = none();
    f.consumer = TEXT("catalog-updated");
    f.class_ = TEXT("reject");
    f.code = TEXT("bad-uuid");
    f.fingerprint = TEXT("f0");
    f.entity = TEXT("an entity");
    CHECK(filter_matches(&f, &letter));
    char **each[] = {&f.consumer, &f.class_, &f.code, &f.fingerprint, &f.entity};
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        char *good = *each[i];
        *each[i] = TEXT("another");
        CHECK(!filter_matches(&f, &letter));
        *each[i] = good;
    }
}

static void test_times(void)
{
    Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT,
                                later = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    at.seconds = 5;
    later.seconds = 5;
    later.nanos = 1000;
    DlqFilter f = none();
    f.failed_from = &at;
    CHECK(filter_matches(&f, &letter));
    f.failed_from = &later;
    CHECK(!filter_matches(&f, &letter));
    f.failed_from = NULL;
    f.failed_before = &at;
    CHECK(!filter_matches(&f, &letter));
    f.failed_before = &later;
    CHECK(filter_matches(&f, &letter));
}

static void test_parked(void)
{
    struct letter parked = letter;
    DlqFilter f = none();
    parked.parked = true;
    CHECK(!filter_matches(&f, &parked));
    CHECK(!filter_matches(NULL, &parked));
    f.parked = true;
    CHECK(filter_matches(&f, &parked));
    CHECK(filter_matches(&f, &letter));
}

static void test_what_is_none(void)
{
    struct err err = ERR_INIT;
    DlqFilter f = none();
    CHECK(filter_check(NULL, &err) == 0 && filter_check(&f, &err) == 0);
    f.state = TEXT("all");
    CHECK(filter_check(&f, &err) == 0);
    f.state = TEXT("some");
    CHECK(filter_check(&f, &err) < 0);
    CHECK_STR(err.code, "bad-filter");
    f = none();
    f.to_sequence = (uint64_t)INT64_MAX + 1;
    CHECK(filter_check(&f, &err) < 0);
}

int main(void)
{
    RUN(test_no_limits);
    RUN(test_sequences);
    RUN(test_texts);
    RUN(test_times);
    RUN(test_parked);
    RUN(test_what_is_none);
    return check_result();
}
