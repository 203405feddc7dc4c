/* Base64url as JOSE has it (RFC 7515, section 2): no padding, no blanks, and bits that are left
 * over are 0. So each value has one text, and a changed text is a changed value. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"

/* False when text is not the canonical one of its value, or its value has more than size bytes. An
 * empty text is an empty value. */
MUST_CHECK bool base64url_decode(struct view text, uint8_t *out, size_t size, size_t *ret_n);
void base64url_put(struct buf *out, struct bytes data);
