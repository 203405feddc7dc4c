/* The reader of SCGI heads: what it takes, what it waits for, what it refuses. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/scgi.h"

#include <stdlib.h>

#include "events/base/buf.h"
#include "test/unit/check.h"

static struct scgi_head head;
static struct buf input = {.max = 1 << 20}; /* what head points into */

/* A netstring of these names and values; NULL ends them. */
static void put(struct buf *out, const char *const pairs[])
{
    struct buf content = {.max = 1 << 20};

    for (; *pairs != NULL; pairs++)
        buf_append(&content, *pairs, strlen(*pairs) + 1);
    buf_printf(out, "%zu:", content.n);
    buf_append_view(out, buf_view(&content));
    buf_putc(out, ',');
    buf_deinit(&content);
}

static enum scgi_result read_pairs(const char *const pairs[])
{
    buf_reset(&input);
    put(&input, pairs);
    return scgi_read(buf_view(&input), &head);
}

#define READ(...) read_pairs((const char *const[]){__VA_ARGS__, NULL})
#define START "CONTENT_LENGTH", "0", "SCGI", "1"

static enum scgi_result read_text(const char *text)
{
    return scgi_read(view_of(text), &head);
}

static void test_reads_every_prefix(void)
{
    struct buf in = {.max = 1 << 20};
    const char *const pairs[] = {"CONTENT_LENGTH", "3",           "SCGI", "1", "REQUEST_METHOD",
                                 "POST",           "HTTP_PREFER", "",     NULL};

    put(&in, pairs);
    const size_t size = in.n;
    buf_puts(&in, "abc");
    for (size_t n = 0; n < size; n++) {
        /* A copy of its own, so that a sanitizer sees any byte read behind it. */
        char *part = malloc(n + 1);
        memcpy(part, in.p, n);
        CHECK_EQ_INT(scgi_read((struct view){part, n}, &head), SCGI_MORE);
        free(part);
    }
    REQUIRE(scgi_read(buf_view(&in), &head) == SCGI_DONE);
    CHECK_EQ_INT(head.size, size);
    CHECK_EQ_INT(head.content_length, 3);
    CHECK_VIEW(scgi_variable(&head, "REQUEST_METHOD"), VIEW_LIT("POST"));
    CHECK(scgi_variable(&head, "REQUEST_URI").p == NULL);
    struct view prefer;
    CHECK(scgi_only(&head, "HTTP_PREFER", &prefer) && prefer.p != NULL && prefer.n == 0);
    buf_deinit(&in);
}

static void test_netstrings_that_are_none(void)
{
    CHECK_EQ_INT(read_text(":,"), SCGI_BAD);
    CHECK_EQ_INT(read_text("x"), SCGI_BAD);
    CHECK_EQ_INT(read_text("-1:"), SCGI_BAD);
    CHECK_EQ_INT(read_text("+1:"), SCGI_BAD);
    CHECK_EQ_INT(read_text(" 1:"), SCGI_BAD);
    CHECK_EQ_INT(read_text("01:a,"), SCGI_BAD);
    CHECK_EQ_INT(read_text("3:abc;"), SCGI_BAD);
    CHECK_EQ_INT(read_text("0:,"), SCGI_BAD);
    CHECK_EQ_INT(read_text("GET / HTTP/1.1\r\n"), SCGI_BAD);
    CHECK_EQ_INT(read_text("99999999999999999999:"), SCGI_TOO_LARGE);
    CHECK_EQ_INT(read_text("24577:"), SCGI_TOO_LARGE);
    CHECK_EQ_INT(read_text("24576:"), SCGI_MORE);
}

static void test_what_must_be_there(void)
{
    CHECK_EQ_INT(READ(START), SCGI_DONE);
    CHECK_EQ_INT(READ("SCGI", "1", "CONTENT_LENGTH", "0"), SCGI_BAD);
    CHECK_EQ_INT(READ("CONTENT_LENGTH", "0"), SCGI_BAD);
    CHECK_EQ_INT(READ("CONTENT_LENGTH", "0", "SCGI", "2"), SCGI_BAD);
    CHECK_EQ_INT(READ("CONTENT_LENGTH", "", "SCGI", "1"), SCGI_BAD);
    CHECK_EQ_INT(READ("CONTENT_LENGTH", "+3", "SCGI", "1"), SCGI_BAD);
    CHECK_EQ_INT(READ("CONTENT_LENGTH", "9999999999999999", "SCGI", "1"), SCGI_BAD);
}

static void test_body_length_of_a_gateway_that_does_not_wait(void)
{
    CHECK_EQ_INT(READ(START, "BODY_LENGTH", "7"), SCGI_DONE);
    CHECK_EQ_INT(head.content_length, 7);
    CHECK_EQ_INT(READ(START, "BODY_LENGTH", ""), SCGI_DONE);
    CHECK_EQ_INT(head.content_length, 0);
    CHECK_EQ_INT(READ(START, "BODY_LENGTH", "7x"), SCGI_BAD);
    CHECK_EQ_INT(READ("CONTENT_LENGTH", "8", "SCGI", "1", "BODY_LENGTH", "7"), SCGI_BAD);
}

static void test_fields(void)
{
    struct view value;

    CHECK_EQ_INT(READ(START, "HTTP_A", "x\ty"), SCGI_DONE);
    /* Names are tokens; those of the gateway are not free. */
    CHECK_EQ_INT(READ(START, "HTTP_A!#$%&'*+-.^_`|~0", "x"), SCGI_DONE);
    CHECK_EQ_INT(READ(START, "A.B", "x"), SCGI_BAD);
    for (const char *bad = " \t\"(),/:;<=>?@[\\]{}a\x7f\x80"; *bad != '\0'; bad++)
        CHECK_EQ_INT(READ(START, ((const char[]){'H', 'T', 'T', 'P', '_', *bad, '\0'}), "x"),
                     SCGI_BAD);
    CHECK_EQ_INT(READ(START, "HTTP_A", "x\ny"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "HTTP_A", "x\ry"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "HTTP_A", "\x7f"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "HTTP_A", "\xc3\xa9"), SCGI_DONE);
    CHECK_EQ_INT(READ(START, "HTTP_a", "x"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "HTTP A", "x"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "", "x"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "REQUEST_URI"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "SCGI", "1"), SCGI_BAD);
    CHECK_EQ_INT(READ(START, "REQUEST_URI", "/a", "REQUEST_URI", "/b"), SCGI_BAD);
    /* A caller may send a field twice; who reads it decides. */
    CHECK_EQ_INT(READ(START, "HTTP_A", "x", "HTTP_A", "y"), SCGI_DONE);
    CHECK(!scgi_only(&head, "HTTP_A", &value));
    CHECK(scgi_only(&head, "HTTP_B", &value) && value.p == NULL);
}

/* START and n fields of this size. */
static enum scgi_result read_many(size_t n, size_t value_size, const char *prefix)
{
    const char *pairs[2 * 200 + 5] = {START};
    char names[200][16], *value = malloc(value_size + 1);

    memset(value, 'v', value_size);
    value[value_size] = '\0';
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "%s%zu", prefix, i);
        pairs[4 + 2 * i] = names[i];
        pairs[5 + 2 * i] = value;
    }
    const enum scgi_result result = read_pairs(pairs);
    free(value);
    return result;
}

static void test_limits(void)
{
    CHECK_EQ_INT(read_many(64, 10, "HTTP_A"), SCGI_DONE);
    CHECK_EQ_INT(read_many(65, 10, "HTTP_A"), SCGI_TOO_LARGE);
    CHECK_EQ_INT(read_many(22, 10, "OWN_"), SCGI_DONE);
    CHECK_EQ_INT(read_many(23, 10, "OWN_"), SCGI_TOO_LARGE);
    CHECK_EQ_INT(read_many(1, SCGI_HEAD_MAX - 2, "HTTP_A"), SCGI_DONE);
    CHECK_EQ_INT(read_many(1, SCGI_HEAD_MAX - 1, "HTTP_A"), SCGI_TOO_LARGE);
}

int main(void)
{
    RUN(test_reads_every_prefix);
    RUN(test_netstrings_that_are_none);
    RUN(test_what_must_be_there);
    RUN(test_body_length_of_a_gateway_that_does_not_wait);
    RUN(test_fields);
    RUN(test_limits);
    buf_deinit(&input);
    return check_result();
}
