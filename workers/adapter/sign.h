/* Signatures of a webhook: Standard Webhooks (several secrets while one is replaced by another) and
 * X-Signature-256. Secrets are never logged and never part of an error's text. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

#define SECRETS_MAX 10
#define SECRET_TEXT_MAX 128
struct secret {
    char text[SECRET_TEXT_MAX]; /* as configured */
    uint8_t key[64];
    size_t n_key;
};
/* The current one first. */
struct secrets {
    struct secret list[SECRETS_MAX];
    size_t n;
};

/* Files, separated by commas; each holds one secret a line: whsec_ and base64 of 24 to 64 bytes.
 * ERR_FATAL config, *ret is untouched then. No file: no secrets. */
MUST_CHECK int secrets_read(const char *files, struct secrets *ret, struct err *err);
/* One secret; false when it is none. */
MUST_CHECK bool secret_parse(struct view text, struct secret *ret);

/* "v1,<base64>", one for each secret, with a space between. */
#define SIGNATURES_MAX (SECRETS_MAX * 48 + 1)
MUST_CHECK int sign_standard(const struct secrets *secrets, const char *id, int64_t seconds,
                             struct view body, char out[static SIGNATURES_MAX], struct err *err);
/* "sha256=<hex>" by the secret's text, as GitHub does it. */
#define SIGNATURE_256_MAX 72
MUST_CHECK int sign_256(struct view secret, struct view body, char out[static SIGNATURE_256_MAX],
                        struct err *err);
