/* --describe: every default filled in, valid JSON, nothing forgotten. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "events/runtime.h"
#include "test/unit/check.h"

static void handle(void *context, struct batch *batch)
{
}

static int answer(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                  struct err *err)
{
    return 0;
}

static const struct consumer_spec consumers[] = {
    {.durable = "catalog-updated", .subject = "anime.updated", .handle = handle},
    {.durable = "catalog-episode-aired",
     .subject = "anime.episode.aired",
     .handle = handle,
     .ack_wait_ms = 60000,
     .batch_max = 7},
    {.durable = "adapter-dlq",
     .filter = "anime.dlq.*",
     .stream = "ANIME_DLQ",
     .raw = true,
     .parks = true,
     .max_deliver = 20,
     .handle = handle},
};
static const struct request_spec requests[] = {
    {.subject = "catalog.anime.get", .answer = answer},
    {.subject = "contracts.validate", .answer = answer, .always = true},
};
static const struct option own[] = {{.name = "own",
                                     .kind = OPT_ENUM,
                                     .default_text = "a",
                                     .choices = "a|b",
                                     .help = "Says \"a\"."}};

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value != NULL ? value : "(none)";
}

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void test_description(void)
{
    const struct worker_spec spec = {.name = "test",
                                     .summary = "a test",
                                     .options = own,
                                     .n_options = 1,
                                     .consumers = consumers,
                                     .n_consumers = ARRAY_LEN(consumers),
                                     .requests = requests,
                                     .n_requests = ARRAY_LEN(requests),
                                     .needs = 1u << DEP_POSTGRES};
    struct buf out CLEANUP(buf_deinit) = {.max = 1 << 20};
    const json_t *c, *options;

    worker_describe(&spec, &out);
    REQUIRE(!buf_failed(&out));
    json_t *json = json_loadb(out.p, out.n, 0, NULL);
    REQUIRE(json != NULL);
    CHECK_STR(text(json, "name"), "test");
    c = json_array_get(json_object_get(json, "consumers"), 0);
    CHECK_STR(text(c, "durable"), "catalog-updated");
    CHECK_STR(text(c, "stream"), "ANIME_EVENTS");
    CHECK_STR(text(c, "subject"), "anime.updated");
    CHECK_STR(text(c, "message"), "echora.events.v1.AnimeUpdatedEvent");
    CHECK_EQ_INT(number(c, "ack_wait_ms"), 30000);
    CHECK_EQ_INT(number(c, "max_deliver"), 100000);
    CHECK(number(c, "max_ack_pending") > 0);
    c = json_array_get(json_object_get(json, "consumers"), 1);
    CHECK_EQ_INT(number(c, "ack_wait_ms"), 60000);
    CHECK_EQ_INT(number(c, "batch_max"), 7);
    c = json_array_get(json_object_get(json, "consumers"), 2);
    CHECK_STR(text(c, "subject"), "anime.dlq.*");
    CHECK_STR(text(c, "stream"), "ANIME_DLQ");
    CHECK_EQ_INT(number(c, "max_deliver"), 20);
    CHECK(json_is_true(json_object_get(c, "raw")) && json_is_true(json_object_get(c, "parks")));
    CHECK(json_is_null(json_object_get(c, "message")));
    c = json_array_get(json_object_get(json, "requests"), 1);
    CHECK_STR(text(c, "subject"), "contracts.validate");
    CHECK(json_is_true(json_object_get(c, "always")));
    CHECK_EQ_INT(json_array_size(json_object_get(json, "needs")), 2);
    options = json_object_get(json, "options");
    CHECK_EQ_INT(json_array_size(options), n_worker_option_rows + n_worker_pg_option_rows + 1);
    CHECK_STR(text(json_array_get(options, json_array_size(options) - 1), "help"), "Says \"a\".");
    json_decref(json);
}

int main(void)
{
    RUN(test_description);
    return check_result();
}
