/* Small forms of output that several verbs share. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <stdint.h>

#include "events/base/uuid.h"

/* "3.2 s", "4 min", "2 h", "5 d" */
#define AGE_TEXT 24
void age_text(double seconds, char out[static AGE_TEXT]);
/* "12:34:56" today, else "2026-11-21 12:34:56" (UTC). */
#define TIME_TEXT 32
void time_text(int64_t wall_us, char out[static TIME_TEXT]);
/* For a terminal: what publishers wrote may hold its escape sequences. Control characters, also
 * those of two bytes (U+0080 to U+009F), become '?' in place. */
void text_plain(char *text, size_t n);
/* Prints the document: indented for people, one line with compact. */
void print_json(const json_t *document, bool compact);
/* Takes over `value`; NULL becomes null. */
void json_put(json_t *object, const char *name, json_t *value);
/* Who runs the command, for the audit; never NULL. */
const char *login_name(void);
json_t *json_uuid(struct uuid id);
