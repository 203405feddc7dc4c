/* The OpenAPI 3.1 document of the Command API, made from its route table. What callers may send is
 * in openapi_request.c, what they get in openapi_answers.c, and one example of each in
 * openapi_examples.c; tests send and check every one. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "workers/command_api/routes.h"

/* The caller owns it; NULL when memory is out. */
json_t *openapi_document(void);

/* Parts of it; the caller owns each. */
json_t *openapi_body(const struct route *route);
json_t *openapi_parameters(const struct route *route);
/* The schema of a good answer; schemas: where the messages inside it are described, once each. */
json_t *openapi_answer(const struct route *route, int status, json_t *schemas);
/* A whole call's members, path and query among them; NULL = there is none. */
json_t *openapi_example_request(const struct route *route);
json_t *openapi_example_answer(const struct route *route, int status);
/* What all operations share. */
json_t *openapi_components(void);
/* JSON with ' for ", so that it can be read here; NULL for NULL. */
json_t *openapi_read(const char *text);
