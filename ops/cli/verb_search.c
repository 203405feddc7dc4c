// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "events/base/buf.h"
#include "ops/cli/output.h"
#include "ops/cli/points.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

struct search_options {
    const char *kind;
    int64_t limit;
};

static const struct option options[] = {
    {"kind", OPT_ENUM, offsetof(struct search_options, kind), "any", 0, 0,
     "any|anime|character|episode", "KIND", "Only things of this kind."},
    {"limit", OPT_INT, offsetof(struct search_options, limit), "10", 1, 100, NULL, "N",
     "Most results."},
};

static void put_query(const struct search_options *o, struct view text, struct buf *b)
{
    buf_puts(b, "{\"query\":{\"model\":\"qdrant/bm25\",\"text\":");
    buf_put_json_string(b, text);
    buf_printf(b, "},\"using\":\"bm25\",\"limit\":%" PRId64 ",\"with_payload\":true,\"filter\":{",
               o->limit);
    if (strcmp(o->kind, "any") != 0)
        buf_printf(b, "\"must\":[{\"key\":\"entity_type\",\"match\":{\"value\":\"%s\"}}],",
                   o->kind);
    buf_puts(b, "\"must_not\":[{\"key\":\"deleted\",\"match\":{\"value\":true}}]}}");
}

static const char *text_of(const json_t *payload, const char *name)
{
    const char *text = json_string_value(json_object_get(payload, name));

    return text ? text : "";
}

static void show_point(const struct cli *cli, const json_t *point)
{
    const json_t *payload = json_object_get(point, "payload");
    const char *title = text_of(payload, "title"), *kind = text_of(payload, "entity_type");
    json_int_t year = json_integer_value(json_object_get(payload, "year"));

    printf("%6.2f  %s%s%s", json_number_value(json_object_get(point, "score")),
           paint(cli->color, PAINT_BOLD), *title ? title : text_of(payload, "name"),
           paint_end(cli->color));
    if (year)
        printf(" (%" JSON_INTEGER_FORMAT ")", year);
    printf("  %s%s %s%s\n", paint(cli->color, PAINT_DIM), kind,
           json_string_value(json_object_get(point, "id")), paint_end(cli->color));
}

static int run(struct cli *cli, struct err *err)
{
    json_t *result = NULL;
    struct buf query, words;

    buf_init(&words, 1u << 16);
    for (int i = 0; i < cli->n_args; i++)
        buf_printf(&words, "%s%s", i ? " " : "", cli->args[i]);
    if (!utf8_is_valid(bytes_of(buf_view(&words)))) {
        buf_deinit(&words);
        return cli_usage(err, "TEXT is no valid UTF-8");
    }
    buf_init(&query, 1u << 18);
    put_query(cli->options, buf_view(&words), &query);
    int r = points_call(cli, "POST", "/points/query", buf_view(&query), &result, err);
    buf_deinit(&query);
    buf_deinit(&words);
    if (r < 0)
        return -1;
    const json_t *points = json_object_get(result, "points");
    if (cli->config.json)
        print_json(points, true);
    for (size_t i = 0; !cli->config.json && i < json_array_size(points); i++)
        show_point(cli, json_array_get(points, i));
    if (!cli->config.json && json_array_size(points) == 0)
        printf("nothing found\n");
    json_decref(result);
    return CLI_OK;
}

const struct verb verb_search = {
    .name = "search",
    .args = "TEXT...",
    .summary = "a first look at what the index answers",
    .details = "Words of titles, synopses, tags, names (BM25, computed by Qdrant), best first.",
    .example = "echora search space bounty hunters",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct search_options),
    .run = run,
};
