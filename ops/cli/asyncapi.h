/* The AsyncAPI 3 document of the house: every subject, its message and what stands in it, from the
 * registry and the compiled descriptors. Payloads are described in their canonical JSON form. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <stdbool.h>

/* Caller owns. NULL when out of memory. */
json_t *asyncapi_document(void);
/* JSON Schema of one message's canonical JSON form: #/components/schemas/<name> references for
 * messages inside it. */
struct ProtobufCMessageDescriptor;
json_t *asyncapi_schema(const struct ProtobufCMessageDescriptor *type);
/* Adds what the .proto file says of a message or a field, by its full name; false when that is
 * nothing. */
bool asyncapi_describe(json_t *schema, const char *name);
/* Adds the schemas of a message and of those inside it to an object, by name. */
void asyncapi_learn(json_t *schemas, const struct ProtobufCMessageDescriptor *type);
/* JSON Schema (draft 2020-12) of one message with all that it refers to. Caller owns. */
json_t *json_schema_document(const struct ProtobufCMessageDescriptor *type, const char *id,
                             const char *title);
/* Schema of the headers of events, of dead letters, of the request contracts.validate, of requests
 * that have their effect once. */
enum asyncapi_headers { ASYNCAPI_EVENT, ASYNCAPI_DEAD_LETTER, ASYNCAPI_VALIDATE, ASYNCAPI_ONCE };
json_t *asyncapi_headers(enum asyncapi_headers which);
