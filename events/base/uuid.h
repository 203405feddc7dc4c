/* UUIDs (RFC 9562), as 16 bytes in memory and 36 lower-case characters in text. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

struct uuid {
    uint8_t b[16];
};

#define UUID_TEXT 37 /* with NUL */

/* Accepts the 36-character form, either case; nothing else. */
MUST_CHECK bool uuid_parse(struct view text, struct uuid *ret);
void uuid_format(struct uuid id, char out[static UUID_TEXT]);
int uuid_cmp(struct uuid a, struct uuid b);
bool uuid_is_nil(struct uuid id);
/* Version 7: sorts by time; random part from the system. */
struct uuid uuid_v7(void);
/* Version 5 (SHA-1) of name in namespace. */
struct uuid uuid_v5(struct uuid space, struct view name);
/* Echora's own namespace, for ids that are pure functions of their input. */
extern const struct uuid uuid_echora;
