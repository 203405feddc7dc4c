/* A small file, read whole. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"

/* Into *out, whose maximum holds. ERR_FATAL file, ERR_REJECT too-large, ERR_RETRY no-memory; the
 * text names the path. */
MUST_CHECK int document_read(const char *path, struct buf *out, struct err *err);
