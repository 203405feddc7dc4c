/* Hostile tokens against the verifier.
 *
 * The first byte chooses what the rest is: a whole token, or header and payload (a piece each, see
 * next_piece) that are encoded and signed here with a key that the verifier knows, so that the
 * fuzzer gets behind the signature. Properties: the same each time; a text is taken only when its
 * signature is ours; what is taken says a client of the table, in a form that logs can hold; and a
 * token that was taken is refused with any one byte of its end changed or with one appended. */
// SPDX-License-Identifier: Apache-2.0

#include <openssl/evp.h>

#include "test/fuzz/demand.h"
#include "workers/command_api/base64url.h"
#include "workers/command_api/token.h"

enum { NOW = 1800000000, WHOLE_MAX = 16384 };

static const uint8_t secret[32] = {1, 2, 3};
static struct token_rules rules;
static struct keyset *keys;
static EVP_PKEY *own;

static void set_up(void)
{
    struct err err = ERR_INIT;
    static struct clients *clients;
    uint8_t x[32];
    size_t n = sizeof(x);

    demand(
        clients_parse(VIEW_LIT("{\"clients\":[{\"id\":\"n8n\",\"scopes\":[\"workflow.read\"]}]}"),
                      &clients, &err) == 0,
        "clients", &err);
    rules = (struct token_rules){.issuer = "https://i",
                                 .audience = "a",
                                 .algorithms = (1u << SIGNINGS) - 1,
                                 .typ_jwt = true,
                                 .clients = clients};
    own = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof(secret));
    keys = keyset_new();
    demand(own != NULL && keys != NULL && EVP_PKEY_get_raw_public_key(own, x, &n) == 1, "a key",
           NULL);
    keys->n = 1;
    keys->keys[0] = (struct key){.has_kid = true,
                                 .kid = "k",
                                 .alg = SIGN_EDDSA,
                                 .pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n)};
}

static void sign(struct buf *token)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t signature[64];
    size_t n = sizeof(signature);

    demand(EVP_DigestSignInit(ctx, NULL, NULL, NULL, own) == 1 &&
               EVP_DigestSign(ctx, signature, &n, (const uint8_t *)token->p, token->n) == 1,
           "a signature", NULL);
    EVP_MD_CTX_free(ctx);
    buf_putc(token, '.');
    base64url_put(token, (struct bytes){signature, n});
}

static enum token_reason verify(struct view token, struct caller *caller)
{
    struct caller again;
    const enum token_reason reason = token_verify(&rules, keys, token, NOW, caller);

    demand(token_verify(&rules, keys, token, NOW, &again) == reason, "the same each time", NULL);
    demand(reason >= TOKEN_OK && reason < TOKEN_REASONS && reason != TOKEN_ABSENT, "a reason",
           NULL);
    return reason;
}

static void check_taken(struct buf *token, const struct caller *caller)
{
    struct caller other;

    demand(strcmp(caller->client, "n8n") == 0 && caller->scopes <= SCOPE_READ, "the client", NULL);
    demand(utf8_is_valid(bytes_of(view_of(caller->sub))), "sub", NULL);
    token->p[token->n - 1] ^= 1;
    demand(verify(buf_view(token), &other) != TOKEN_OK, "a changed end", NULL);
    token->p[token->n - 1] ^= 1;
    buf_putc(token, 'A');
    demand(verify(buf_view(token), &other) != TOKEN_OK, "a longer end", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf token CLEANUP(buf_deinit) = {.max = WHOLE_MAX};
    struct bytes rest = {data + 1, n > 0 ? n - 1 : 0}, piece;
    struct caller caller;

    if (own == NULL)
        set_up();
    if (n == 0 || n > TOKEN_MAX)
        return 0;
    if (data[0] % 2 == 0) {
        demand(verify(view_of_bytes(rest), &caller) != TOKEN_OK, "nobody signs so", NULL);
        return 0;
    }
    for (unsigned part = 0; part < 2; part++) {
        piece = (struct bytes){0};
        (void)next_piece(&rest, &piece);
        buf_puts(&token, part > 0 ? "." : "");
        base64url_put(&token, piece);
    }
    sign(&token);
    demand(!buf_failed(&token), "memory", NULL);
    const enum token_reason reason = verify(buf_view(&token), &caller);
    demand(reason != TOKEN_BASE64 && reason != TOKEN_PARTS, "our own form", NULL);
    if (reason == TOKEN_OK)
        check_taken(&token, &caller);
    return 0;
}
