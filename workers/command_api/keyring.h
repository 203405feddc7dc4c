/* The issuer's keys, kept fresh by a thread of their own.
 *
 * They are read from a file or an https URL every 10 minutes, a failure is tried again after 30 s,
 * and old ones serve on for 24 hours. Whoever holds a token with an unknown kid may ask for one
 * more look: all who ask share it, 30 s pass between two of them whether they help or not, and each
 * waits for at most one, for a bounded time. Nobody else ever waits. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "workers/command_api/keyset.h"

struct keyring;

struct keyring_options {
    const char *source;  /* https:// or http:// URL, else a path; checked by the caller */
    const char *ca_file; /* PEM, for https; "" = the system's authorities */
    /* Milliseconds; 0 = as said above. */
    int64_t refresh_ms, retry_ms, between_ms, stale_ms;
    int64_t wait_ms; /* most that keyring_renew waits, and that a look takes; 0 = 3 s */
};

/* Options are copied. Keys of a file are there when it returns, or it fails (ERR_FATAL config); for
 * a URL the first look is under way. curl_global_init must have run. */
MUST_CHECK int keyring_open(struct keyring **ret, const struct keyring_options *options,
                            struct err *err);
/* Ends the thread, within about a second. Takes NULL; returns NULL. Nobody may be inside. */
struct keyring *keyring_close(struct keyring *k);

/* The rest may be called by any thread. */

/* A reference for the caller to give back; NULL while there are none, or too old ones. */
struct keyset *keyring_get(struct keyring *k);
/* For a token whose kid is not in `than`, which keyring_get gave. True when other keys are there
 * now: get them, and don't ask again for this token. */
bool keyring_renew(struct keyring *k, const struct keyset *than);
/* Looks soon, waits for nothing (SIGHUP). */
void keyring_refresh(struct keyring *k);
/* Keys are there, and not too old. */
bool keyring_ready(struct keyring *k);
