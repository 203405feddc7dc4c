/* Seen from Echora: it receives what others publish on its streams and sends what its relay and
 * workers publish; requests are received and answered. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/asyncapi.h"

#include "contracts/field.h"
#include "contracts/json_names.h"
#include "contracts/registry.h"

static json_t *ref(const char *where, const char *name)
{
    return json_pack("{s:s++}", "$ref", "#/", where, name);
}

/* What every publish carries (spec subjects.md, "Headers"). */
static json_t *event_headers(void)
{
    static const char *const names[][2] = {
        {"Nats-Msg-Id", "<entity id>-<first 8 hex of the payload's SHA-256>: repeats inside the "
                        "stream's window are dropped."},
        {"Nats-Expected-Stream", "The stream's name: a publish to the wrong cluster fails loudly."},
        {"Content-Type", "application/protobuf"},
        {"Echora-Event-Id", "The event's id, as in the message."},
        {"Echora-Schema", "The message's full name."},
        {"traceparent", "W3C trace context."},
        {"tracestate", "W3C trace context."},
    };
    json_t *members = json_object();

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        json_object_set_new(members, names[i][0],
                            json_pack("{s:s, s:s}", "type", "string", "description", names[i][1]));
    return json_pack("{s:s, s:o, s:[s]}", "type", "object", "properties", members, "required",
                     "Nats-Msg-Id");
}

static void learn(json_t *schemas, const ProtobufCMessageDescriptor *type)
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
        learn(schemas, inner);
    }
    json_object_set_new(schemas, type->name, asyncapi_schema(type));
}

static void add_message(json_t *components, const ProtobufCMessageDescriptor *type, bool event)
{
    json_t *messages = json_object_get(components, "messages");
    json_t *message = json_pack("{s:s, s:s, s:s, s:o}", "name", type->name, "title",
                                type->short_name, "contentType", "application/protobuf", "payload",
                                ref("components/schemas/", type->name));

    learn(json_object_get(components, "schemas"), type);
    if (event)
        json_object_set_new(message, "headers", ref("components/schemas/", "EventHeaders"));
    json_object_set_new(messages, type->name, message);
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
    if (def->stream)
        json_object_set_new(channel, "x-stream", json_string(def->stream->name));
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
    if (def->reply)
        json_object_set_new(
            operation, "reply",
            json_pack("{s:o, s:[{s:s+++}]}", "channel", ref("channels/", def->subject), "messages",
                      "$ref", "#/channels/", def->subject, "/messages/", def->reply->short_name));
    return operation;
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

json_t *asyncapi_document(void)
{
    json_t *channels = json_object(), *operations = json_object();
    json_t *components =
        json_pack("{s:{}, s:{s:o}}", "messages", "schemas", "EventHeaders", event_headers());

    for (size_t i = 0; i < n_registry_subjects; i++) {
        const struct subject_def *def = &registry_subjects[i];
        if (def->message)
            add_message(components, def->message, def->kind == SUBJECT_EVENT);
        if (def->reply)
            add_message(components, def->reply, false);
        json_object_set_new(channels, def->subject, channel_of(def));
        json_object_set_new(operations, def->subject, operation_of(def));
    }
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "asyncapi", "3.0.0", "info", info(),
                     "defaultContentType", "application/protobuf", "channels", channels,
                     "operations", operations, "components", components);
}
