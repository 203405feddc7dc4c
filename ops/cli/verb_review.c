/* review list and show: risky updates, by request to the catalogue. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/json.h"
#include "events/base/clock.h"
#include "ops/cli/dlq.h"
#include "ops/cli/output.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

typedef Echora__Catalog__V1__Anime Anime;
typedef Echora__Catalog__V1__CatalogReview Review;
typedef Echora__Catalog__V1__CatalogReviewStep Step;
typedef Echora__Catalog__V1__CatalogReviewListRequest ListRequest;
typedef Echora__Catalog__V1__CatalogReviewListReply ListReply;
typedef Echora__Catalog__V1__CatalogReviewGetRequest GetRequest;
typedef Echora__Catalog__V1__CatalogReviewGetReply GetReply;

#define CALL_TIMEOUT_MS 30000
#define VALUE_MAX (16u << 20)
#define SHOWN 160 /* bytes of a value on the screen */

struct list_options {
    const char *state, *anime, *reason, *cursor;
    int64_t since_ms, limit;
};

static const struct option list_options[] = {
    {.name = "state",
     .kind = OPT_ENUM,
     .offset = offsetof(struct list_options, state),
     .default_text = "pending",
     .choices = "pending|approved|rejected|superseded|expired|all",
     .placeholder = "STATE",
     .help = "Only those in this state.",
     .not_in_environment = true}, /* ECHORA_STATE is where ops/up keeps its things */
    {"anime", OPT_STRING, offsetof(struct list_options, anime), "", 0, 0, NULL, "ID",
     "Only those about this anime."},
    {"reason", OPT_STRING, offsetof(struct list_options, reason), "", 0, 0, NULL, "TEXT",
     "Only those with this reason, as the list shows it."},
    {"since", OPT_DURATION, offsetof(struct list_options, since_ms), "0", 0,
     INT64_C(400) * 86400 * 1000, NULL, "TIME", "Only those parked within this time."},
    {"limit", OPT_INT, offsetof(struct list_options, limit), "50", 1, 500, NULL, "N",
     "Most lines."},
    {"cursor", OPT_STRING, offsetof(struct list_options, cursor), "", 0, 0, NULL, "TEXT",
     "Goes on where the page before ended, as it said."},
};

/* The request's strings are not written to. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static int64_t micros(const Google__Protobuf__Timestamp *t)
{
    return t ? t->seconds * 1000000 + t->nanos / 1000 : 0;
}

static const char *plain(const struct cli *cli, const char *from)
{
    char *copy = arena_strdup(cli->arena, view_of(from));

    if (copy)
        text_plain(copy, strlen(copy));
    return copy ? copy : "";
}

static void print_list(const struct cli *cli, char *const items[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? ", " : "", plain(cli, items[i]));
}

static void print_line(const struct cli *cli, const Review *r)
{
    char age[AGE_TEXT];

    age_text((double)(wall_us() - micros(r->created_at)) / 1e6, age);
    printf("%-36s  %-8s  %-10s  %-28.28s  ", r->review_id, age, r->state, plain(cli, r->title));
    printf("%s", paint(cli->color, PAINT_DIM));
    print_list(cli, r->risk_reasons, r->n_risk_reasons);
    printf("%s\n", paint_end(cli->color));
}

static int run_list(struct cli *cli, struct err *err)
{
    const struct list_options *o = cli->options;
    ListRequest request = ECHORA__CATALOG__V1__CATALOG_REVIEW_LIST_REQUEST__INIT;
    Google__Protobuf__Timestamp since = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    request.state = text(o->state);
    request.anime_id = text(o->anime);
    request.reason = text(o->reason);
    request.cursor = text(o->cursor);
    request.limit = (int32_t)o->limit;
    if (o->since_ms > 0) {
        since.seconds = (wall_us() / 1000 - o->since_ms) / 1000;
        request.since = &since;
    }
    if (bus_call(bus, "catalog.review.list", &request.base,
                 &echora__catalog__v1__catalog_review_list_reply__descriptor, CALL_TIMEOUT_MS,
                 cli->arena, &message, err) < 0)
        return -1;
    if (cli->config.json)
        return dlq_print_json(cli, message, err) < 0 ? -1 : CLI_OK;
    const ListReply *reply = (const ListReply *)(void *)message;
    if (reply->n_reviews == 0) {
        printf("no risky updates%s\n",
               strcmp(o->state, "pending") == 0 ? " wait (--state all shows the others)" : "");
        return CLI_OK;
    }
    printf("%s%-36s  %-8s  %-10s  %-28s  %s%s\n", paint(cli->color, PAINT_BOLD), "REVIEW", "AGE",
           "STATE", "ANIME", "REASONS", paint_end(cli->color));
    for (size_t i = 0; i < reply->n_reviews; i++)
        print_line(cli, reply->reviews[i]);
    if (*reply->next_cursor)
        printf("more: --cursor %s\n", reply->next_cursor);
    return CLI_OK;
}

const struct verb verb_review_list = {
    .name = "review list",
    .args = "",
    .summary = "risky updates that wait for a person, newest first",
    .details =
        "An update that changes a title, lowers an episode count, cuts a text or a list, moves a\n"
        "status backward or was flagged by its publisher waits until it is approved, rejected,\n"
        "overtaken by a newer value, or too old.",
    .example = "echora review list\n"
               "echora review list --state all --anime 0190a8a0-0000-7000-8000-000000000001",
    .options = list_options,
    .n_options = ARRAY_LEN(list_options),
    .options_size = sizeof(struct list_options),
    .run = run_list,
};

/* The value as JSON, cut to what a line can show. */
static int print_value(const Anime *of, const ProtobufCFieldDescriptor *field, struct err *err)
{
    CLEANUP(buf_deinit) struct buf json;

    buf_init(&json, VALUE_MAX);
    if (!of || !field_is_set(&of->base, field)) {
        printf("(empty)");
        return 0;
    }
    if (json_encode_field(&of->base, field, &json, err) < 0)
        return -1;
    size_t n = json.n;
    if (n > SHOWN) {
        for (n = SHOWN; n > 0 && ((unsigned char)json.p[n] & 0xc0) == 0x80;)
            n--;
    }
    text_plain(json.p, n);
    printf("%.*s", (int)n, (const char *)json.p);
    if (n < json.n)
        printf("... (%zu bytes; --json shows all)", json.n);
    return 0;
}

static bool among(char *const names[], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int print_fields(const struct cli *cli, const Review *r, struct err *err)
{
    for (size_t i = 0; i < r->n_changed_fields; i++) {
        const char *name = r->changed_fields[i];
        const ProtobufCFieldDescriptor *field =
            field_by_name(&echora__catalog__v1__anime__descriptor, view_of(name));
        bool late = among(r->superseded_fields, r->n_superseded_fields, name);
        if (!field)
            continue;
        printf("\n%s%s%s%s\n  now       ", paint(cli->color, PAINT_BOLD), name,
               paint_end(cli->color), late ? "  (superseded: the newer value stands)" : "");
        if (print_value(r->current, field, err) < 0)
            return -1;
        printf("\n  proposed  %s", paint(cli->color, late ? PAINT_DIM : PAINT_YELLOW));
        if (print_value(r->proposed, field, err) < 0)
            return -1;
        printf("%s\n", paint_end(cli->color));
    }
    return 0;
}

static void print_step(const struct cli *cli, const Step *s)
{
    char time[TIME_TEXT];

    time_text(micros(s->at), time);
    printf("  %-19s  %s%s%s", time, s->step, *s->actor ? " by " : "", s->actor);
    if (strcmp(s->step, "superseded") == 0)
        printf(" by event %s", s->event_id);
    if (s->n_fields) {
        printf(": ");
        print_list(cli, s->fields, s->n_fields);
    }
    if (*s->note)
        printf(" %s(%s)%s", paint(cli->color, PAINT_DIM), plain(cli, s->note),
               paint_end(cli->color));
    printf("\n");
}

static int print_review(const struct cli *cli, const Review *r, struct err *err)
{
    char age[AGE_TEXT], left[AGE_TEXT];
    bool pending = strcmp(r->state, "pending") == 0;

    age_text((double)(wall_us() - micros(r->created_at)) / 1e6, age);
    age_text((double)(micros(r->expires_at) - wall_us()) / 1e6, left);
    printf("review    %s\nupdate    %s%s%s\nanime     %s  \"%s\"\n", r->review_id, r->event_id,
           *r->source ? " from " : "", plain(cli, r->source), r->anime_id, plain(cli, r->title));
    printf("state     %s%s%s, parked %s ago",
           paint(cli->color, pending ? PAINT_YELLOW : PAINT_NONE), r->state, paint_end(cli->color),
           age);
    if (pending)
        printf(", expires in %s", left);
    printf("\nreasons   ");
    print_list(cli, r->risk_reasons, r->n_risk_reasons);
    printf("\n");
    if (print_fields(cli, r, err) < 0)
        return -1;
    printf("\nhistory\n");
    for (size_t i = 0; i < r->n_history; i++)
        print_step(cli, r->history[i]);
    if (pending)
        printf("\nechora review approve %s\nechora review reject %s --reason TEXT\n", r->review_id,
               r->review_id);
    return 0;
}

static int check_id(const struct cli *cli, struct err *err)
{
    struct uuid id;

    return uuid_parse(view_of(cli->args[0]), &id)
               ? 0
               : cli_usage(err, "ID is the UUID of a review, or of its update");
}

static int run_show(struct cli *cli, struct err *err)
{
    GetRequest request = ECHORA__CATALOG__V1__CATALOG_REVIEW_GET_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (check_id(cli, err) < 0 || cli_bus(cli, &bus, err) < 0)
        return -1;
    request.review_id = cli->args[0];
    if (bus_call(bus, "catalog.review.get", &request.base,
                 &echora__catalog__v1__catalog_review_get_reply__descriptor, CALL_TIMEOUT_MS,
                 cli->arena, &message, err) < 0)
        return -1;
    const GetReply *reply = (const GetReply *)(void *)message;
    int r = cli->config.json ? dlq_print_json(cli, &reply->review->base, err)
                             : print_review(cli, reply->review, err);
    return r < 0 ? -1 : CLI_OK;
}

const struct verb verb_review_show = {
    .name = "review show",
    .args = "ID",
    .summary = "one risky update: what stands, what is proposed, why it waits, its history",
    .details = "ID is the review's, or that of the update as it was published.",
    .example = "echora review show 0190a8a0-0000-7000-8000-000000000001",
    .min_args = 1,
    .max_args = 1,
    .run = run_show,
};
