/* Where the issuer's keys come from: a file, or one URL over HTTP. Of one thread. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/jwks.h"

struct keysource;

/* give_up_at as in events/http.h. NULL with ERR_RETRY no-memory. */
struct keysource *keysource_open(const char *source, const char *ca_file, int64_t timeout_ms,
                                 const _Atomic int64_t *give_up_at, struct err *err);
struct keysource *keysource_close(struct keysource *s); /* takes NULL, returns NULL */
bool keysource_is_file(const struct keysource *s);
MUST_CHECK int keysource_read(struct keysource *s, struct keyset **ret, struct err *err);
