/* The OpenAPI 3.1 document of the Command API, made from its route table. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

/* The caller owns it; NULL when memory is out. */
json_t *openapi_document(void);
