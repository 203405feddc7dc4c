/* Seen from Echora: it receives what others publish on its streams and sends what its relay and
 * workers publish; requests are received and answered. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/asyncapi.h"

#include "contracts/field.h"
#include "contracts/json_names.h"
#include "contracts/registry.h"
#include "ops/cli/fleet.h"

static json_t *ref(const char *where, const char *name)
{
    return json_pack("{s:s++}", "$ref", "#/", where, name);
}

void asyncapi_learn(json_t *schemas, const ProtobufCMessageDescriptor *type)
{
    if (!type || json_form_of(type) != JSON_FORM_PLAIN || json_object_get(schemas, type->name))
        return;
    json_object_set_new(schemas, type->name, json_null()); /* a message may hold itself */
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const ProtobufCMessageDescriptor *inner = field->descriptor;
        if (field_is_map(field)) {
            const ProtobufCFieldDescriptor *value = &inner->fields[1];
            inner = value->type == PROTOBUF_C_TYPE_MESSAGE ? value->descriptor : NULL;
        }
        asyncapi_learn(schemas, inner);
    }
    json_object_set_new(schemas, type->name, asyncapi_schema(type));
}

/* headers: the name of their schema; NULL = none are told. */
static void add_message(json_t *components, const ProtobufCMessageDescriptor *type,
                        const char *headers)
{
    json_t *messages = json_object_get(components, "messages");
    json_t *message = json_pack("{s:s, s:s, s:s, s:o}", "name", type->name, "title",
                                type->short_name, "contentType", "application/protobuf", "payload",
                                ref("components/schemas/", type->name));

    asyncapi_learn(json_object_get(components, "schemas"), type);
    if (headers != NULL)
        json_object_set_new(message, "headers", ref("components/schemas/", headers));
    json_object_set_new(messages, type->name, message);
}

/* contracts.validate: any event's payload. */
static bool is_validate(const struct subject_def *def)
{
    return def->kind == SUBJECT_REQUEST && !def->message;
}

/* The durables that read the subject. */
static json_t *consumers_of(const char *subject)
{
    struct fleet_consumer all[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(all);
    json_t *found = json_array();

    for (size_t i = 0; i < n; i++)
        if (subject_matches(view_of(all[i].filter), view_of(subject)))
            json_array_append_new(found, json_pack("{s:s, s:s}", "durable", all[i].spec->durable,
                                                   "worker", all[i].worker));
    return found;
}

static json_t *channel_of(const struct subject_def *def)
{
    json_t *messages = json_object();
    json_t *channel = json_pack("{s:s, s:s, s:o}", "address", def->subject, "description",
                                def->description, "messages", messages);

    if (def->message)
        json_object_set_new(messages, def->message->short_name,
                            ref("components/messages/", def->message->name));
    if (def->reply)
        json_object_set_new(messages, def->reply->short_name,
                            ref("components/messages/", def->reply->name));
    if (is_validate(def))
        json_object_set_new(messages, "Event", ref("components/messages/", "Event"));
    if (def->stream)
        json_object_set_new(channel, "x-stream", json_string(def->stream->name));
    if (def->kind == SUBJECT_EVENT)
        json_object_set_new(channel, "x-consumers", consumers_of(def->subject));
    if (def->entity_id_field)
        json_object_set_new(channel, "x-entity-field", json_string(def->entity_id_field));
    return channel;
}

/* Is it Echora itself that publishes here? */
static bool is_ours(const struct subject_def *def)
{
    return def->kind == SUBJECT_HINT || (def->stream && def->stream->sole_writer) ||
           strcmp(def->published_by, "outbox relay") == 0;
}

static json_t *operation_of(const struct subject_def *def)
{
    json_t *operation =
        json_pack("{s:s, s:o, s:s, s:s}", "action", is_ours(def) ? "send" : "receive", "channel",
                  ref("channels/", def->subject), "summary", def->description, "x-published-by",
                  def->published_by);

    if (def->message)
        json_object_set_new(operation, "messages",
                            json_pack("[{s:s+++}]", "$ref", "#/channels/", def->subject,
                                      "/messages/", def->message->short_name));
    if (is_validate(def))
        json_object_set_new(
            operation, "messages",
            json_pack("[{s:s+++}]", "$ref", "#/channels/", def->subject, "/messages/", "Event"));
    if (def->reply)
        json_object_set_new(
            operation, "reply",
            json_pack("{s:o, s:[{s:s+++}]}", "channel", ref("channels/", def->subject), "messages",
                      "$ref", "#/channels/", def->subject, "/messages/", def->reply->short_name));
    return operation;
}

static json_t *streams(void)
{
    json_t *all = json_object();

    for (const struct stream_def *const *s = registry_streams; *s; s++) {
        const char *subjects[64];
        size_t n = registry_stream_subjects(*s, subjects, ARRAY_LEN(subjects));
        json_t *names = json_array();

        for (size_t i = 0; i < n && i < ARRAY_LEN(subjects); i++)
            json_array_append_new(names, json_string(subjects[i]));
        json_object_set_new(
            all, (*s)->name,
            json_pack("{s:s, s:o, s:I, s:I, s:I, s:i}", "description", (*s)->description,
                      "subjects", names, "maxAgeSeconds", (json_int_t)(*s)->max_age_s,
                      "duplicateWindowSeconds", (json_int_t)(*s)->duplicate_window_s, "maxBytes",
                      (json_int_t)(*s)->max_bytes, "maxMessageSize", (int)(*s)->max_msg_size));
    }
    return all;
}

/* Dead letters: any event's bytes, under a subject for each consumer. */
static void add_dead_letters(json_t *channels, json_t *operations, json_t *components)
{
    json_object_set_new(json_object_get(components, "messages"), "DeadLetter",
                        json_pack("{s:s, s:s, s:o, s:{}}", "name", "DeadLetter", "summary",
                                  "The original payload, untouched, and the original headers.",
                                  "headers", ref("components/schemas/", "DeadLetterHeaders"),
                                  "payload"));
    json_object_set_new(
        channels, "anime.dlq",
        json_pack("{s:s, s:s, s:{s:{s:s}}, s:{s:o}, s:s}", "address", "anime.dlq.{consumer}",
                  "description", "Events that a consumer gave up on, stored whole.", "parameters",
                  "consumer", "description", "The durable, e.g. catalog-enriched.", "messages",
                  "DeadLetter", ref("components/messages/", "DeadLetter"), "x-stream",
                  "ANIME_DLQ"));
    json_object_set_new(operations, "anime.dlq",
                        json_pack("{s:s, s:o, s:s, s:[o], s:s}", "action", "send", "channel",
                                  ref("channels/", "anime.dlq"), "summary",
                                  "Events that a consumer gave up on, stored whole.", "messages",
                                  ref("channels/anime.dlq/messages/", "DeadLetter"),
                                  "x-published-by", "every worker, for its own consumers"));
}

static json_t *info(void)
{
    return json_pack(
        "{s:s, s:s, s:s, s:{s:s, s:s}}", "title", "Echora", "version", ECHORA_VERSION,
        "description",
        "Event backbone of an anime catalogue on NATS JetStream. Payloads are protobuf "
        "(contracts/proto); the schemas here describe the same messages in canonical proto3 JSON, "
        "which requests take too.",
        "license", "name", "Apache-2.0", "url", "https://www.apache.org/licenses/LICENSE-2.0");
}

static const char *headers_of(const struct subject_def *def)
{
    return def->kind == SUBJECT_EVENT ? "EventHeaders" : def->once ? "OnceHeaders" : NULL;
}

json_t *asyncapi_document(void)
{
    json_t *channels = json_object(), *operations = json_object();
    json_t *components = json_pack(
        "{s:{s:{s:s, s:s, s:o, s:{}}}, s:{s:o, s:o, s:o, s:o}}", "messages", "Event", "name",
        "Event", "summary", "An event as it would be published.", "headers",
        ref("components/schemas/", "ValidateHeaders"), "payload", "schemas", "EventHeaders",
        asyncapi_headers(ASYNCAPI_EVENT), "DeadLetterHeaders",
        asyncapi_headers(ASYNCAPI_DEAD_LETTER), "ValidateHeaders",
        asyncapi_headers(ASYNCAPI_VALIDATE), "OnceHeaders", asyncapi_headers(ASYNCAPI_ONCE));

    for (size_t i = 0; i < n_registry_subjects; i++) {
        const struct subject_def *def = &registry_subjects[i];
        if (def->message)
            add_message(components, def->message, headers_of(def));
        if (def->reply)
            add_message(components, def->reply, NULL);
        json_object_set_new(channels, def->subject, channel_of(def));
        json_object_set_new(operations, def->subject, operation_of(def));
    }
    add_dead_letters(channels, operations, components);
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "asyncapi", "3.0.0", "info", info(),
                     "defaultContentType", "application/protobuf", "channels", channels,
                     "operations", operations, "components", components, "x-streams", streams());
}
