/* Bytes to JSON. Made to stand behind `nats --translate`: whatever comes in, something readable
 * goes out and the exit code is 0, unless --strict asks otherwise. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/json.h"
#include "contracts/wire.h"
#include "events/base/buf.h"
#include "ops/cli/faults.h"
#include "ops/cli/fleet.h"
#include "ops/cli/verbs.h"

#define PAYLOAD_MAX (64u << 20)
#define JSON_OUT_MAX (256u << 20)
#define HEX_SHOWN 4096

struct decode_options {
    const char *subject, *type;
    bool strict, reply;
};

static const struct option options[] = {
    {"subject", OPT_STRING, offsetof(struct decode_options, subject), "", 0, 0, NULL, "SUBJECT",
     "Subject that the payload came on; dead-letter subjects are understood."},
    {"type", OPT_STRING, offsetof(struct decode_options, type), "", 0, 0, NULL, "MESSAGE",
     "Message by its full name, e.g. echora.events.v1.AnimeUpdatedEvent."},
    {"reply", OPT_BOOL, offsetof(struct decode_options, reply), "false", 0, 0, NULL, NULL,
     "The payload is the reply to a request on the subject."},
    {"strict", OPT_BOOL, offsetof(struct decode_options, strict), "false", 0, 0, NULL, NULL,
     "Exit 1 instead of a hex dump when it does not decode."},
};

static bool is_of(const struct subject_def *def, struct view name)
{
    return (def->message && view_is(name, def->message->name)) || view_is(name, def->schema);
}

static const ProtobufCMessageDescriptor *type_by_name(struct view name)
{
    for (size_t i = 0; i < n_registry_subjects; i++) {
        const struct subject_def *def = &registry_subjects[i];
        if (is_of(def, name))
            return def->message;
        if (def->reply && view_is(name, def->reply->name))
            return def->reply;
    }
    return NULL;
}

/* Consumers' names start with what they read: qdrant-anime-synced reads anime.synced. */
static const ProtobufCMessageDescriptor *type_by_consumer(struct view subject)
{
    struct fleet_consumer consumers[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(consumers);
    struct view part, last = {NULL, 0};

    while (view_split(&subject, '.', &part))
        last = part;
    for (size_t i = 0; i < n; i++)
        if (view_is(last, consumers[i].spec->durable) && consumers[i].spec->subject)
            return registry_must(consumers[i].spec->subject)->message;
    return NULL;
}

static const ProtobufCMessageDescriptor *pick(const struct decode_options *o)
{
    struct view subject = view_of(o->subject);

    if (*o->type)
        return type_by_name(view_of(o->type));
    if (view_starts_with(subject, "anime.dlq."))
        return type_by_consumer(subject);
    const struct subject_def *def = registry_subject(subject);
    return !def ? NULL : o->reply ? def->reply : def->message;
}

/* Every event type tried in turn: the one that decodes with nothing left over and valid. */
static const ProtobufCMessageDescriptor *guess(struct bytes payload, struct arena *arena)
{
    struct err ignored = ERR_INIT;

    for (size_t i = 0; i < n_registry_subjects; i++) {
        const struct subject_def *def = &registry_subjects[i];
        ProtobufCMessage *message = NULL;
        if (def->kind != SUBJECT_EVENT || !def->message)
            continue;
        arena_reset(arena);
        if (wire_decode(def->message, payload, WIRE_DECODE_MAX_DEFAULT, arena, &message,
                        &ignored) == 0 &&
            message->n_unknown_fields == 0 &&
            validate_or_err(def, message, INT64_MAX / 2, &ignored) == 0)
            return def->message;
    }
    return NULL;
}

static void hex_dump(struct bytes payload)
{
    size_t n = payload.n < HEX_SHOWN ? payload.n : HEX_SHOWN;

    for (size_t i = 0; i < n; i += 16) {
        printf("%06zx ", i);
        for (size_t j = i; j < i + 16; j++)
            if (j < n)
                printf(" %02x", payload.p[j]);
            else
                fputs("   ", stdout);
        fputs("  ", stdout);
        for (size_t j = i; j < i + 16 && j < n; j++)
            putchar(payload.p[j] >= 0x20 && payload.p[j] < 0x7f ? payload.p[j] : '.');
        putchar('\n');
    }
    if (n < payload.n)
        printf("... %zu bytes more\n", payload.n - n);
}

static int decode(const struct decode_options *o, struct bytes payload, struct buf *out,
                  struct err *err)
{
    CLEANUP(arena_freep) struct arena *arena = arena_new(WIRE_ARENA);
    ProtobufCMessage *message = NULL;

    if (!arena)
        return err_set(err, ERR_RETRY, "no-memory", "decode", "out of memory");
    const ProtobufCMessageDescriptor *type = pick(o);
    if (!type && !*o->type && !*o->subject)
        type = guess(payload, arena);
    if (!type)
        return err_set(err, ERR_REJECT, "decode", "decode",
                       "no message is known for this subject or type");
    arena_reset(arena);
    if (wire_decode(type, payload, WIRE_DECODE_MAX_DEFAULT, arena, &message, err) < 0)
        return -1;
    return json_encode(message, out, err);
}

static int run(struct cli *cli, struct err *err)
{
    const struct decode_options *o = cli->options;
    struct buf payload, out;
    struct err why = ERR_INIT;

    if (cli_read_file(cli->n_args ? cli->args[0] : "-", PAYLOAD_MAX, &payload, err) < 0) {
        buf_deinit(&payload);
        return -1;
    }
    buf_init(&out, JSON_OUT_MAX);
    struct bytes bytes = bytes_of(buf_view(&payload));
    int r = decode(o, bytes, &out, &why);
    if (r == 0) {
        (void)fwrite(out.p, 1, out.n, stdout);
        putchar('\n');
    } else if (!o->strict) {
        printf("# %s [%s]\n", why.text, why.code);
        hex_dump(bytes);
    }
    buf_deinit(&payload);
    buf_deinit(&out);
    if (r < 0 && o->strict) {
        *err = why;
        return -1;
    }
    return CLI_OK;
}

const struct verb verb_decode = {
    .name = "decode",
    .args = "[FILE]",
    .summary = "a protobuf payload as JSON",
    .details = "Reads standard input without FILE. Without --subject and --type it tries every "
               "event message.\nWhat does not decode is shown as a hex dump with exit code 0, so "
               "that it fits `nats --translate`.",
    .example = "nats stream get ANIME_DLQ 1 --translate \"echora decode --subject {{Subject}}\"",
    .max_args = 1,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct decode_options),
    .run = run,
};
