// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/dev_issuer.h"

#include <openssl/evp.h>
#include <strings.h>

#include "events/base/uuid.h"
#include "workers/command_api/clients.h"

#define EVERY_SCOPE "workflow.read workflow.execute workflow.approve"
#define CREDENTIAL_MAX 256

/* A value that has been decoded. */
struct value {
    bool given, twice;
    size_t n;
    char text[1024];
};

static struct view view_of_value(const struct value *v)
{
    return (struct view){v->text, v->n};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* application/x-www-form-urlencoded; false when it is not, or too long. */
static bool decode(struct view text, struct value *ret)
{
    ret->twice = ret->given;
    ret->given = true;
    ret->n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '%') {
            const int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
            const int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (ret->n == sizeof(ret->text) || c == '\0')
            return false;
        ret->text[ret->n++] = c;
    }
    return true;
}

struct form {
    struct value grant_type, scope, client_id, client_secret;
};

static bool read_form(struct view text, struct form *ret)
{
    const struct {
        const char *name;
        struct value *value;
    } known[] = {{"grant_type", &ret->grant_type},
                 {"scope", &ret->scope},
                 {"client_id", &ret->client_id},
                 {"client_secret", &ret->client_secret}};
    struct view pair;

    while (text.n > 0 && view_split(&text, '&', &pair)) {
        struct view value = pair, name;

        (void)view_split(&value, '=', &name);
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
            if (view_is(name, known[i].name) &&
                (!decode(value, known[i].value) || known[i].value->twice))
                return false;
        }
    }
    return true;
}

/* Basic, both halves encoded as in a form (RFC 6749, 2.3.1). The form may name the client too. */
static bool read_basic(struct view authorization, struct form *form)
{
    static const char scheme[] = "Basic ";
    const size_t at = sizeof(scheme) - 1;
    uint8_t text[CREDENTIAL_MAX * 3 / 4];
    struct value id = {.given = false};
    struct view client;

    if (authorization.n <= at || authorization.n > at + CREDENTIAL_MAX ||
        (authorization.n - at) % 4 != 0 || strncasecmp(authorization.p, scheme, at) != 0)
        return false;
    const char *base64 = authorization.p + at, *end = authorization.p + authorization.n;
    const int n = EVP_DecodeBlock(text, (const uint8_t *)base64, (int)(end - base64));
    if (n < 0)
        return false;
    struct view rest = {(const char *)text, (size_t)n - (end[-1] == '=') - (end[-2] == '=')};
    if (memchr(rest.p, ':', rest.n) == NULL)
        return false;
    (void)view_split(&rest, ':', &client);
    if (!decode(client, &id) || !decode(rest, &form->client_secret))
        return false;
    if (form->client_id.given && !view_eq(view_of_value(&id), view_of_value(&form->client_id)))
        return false;
    form->client_id = id;
    return true;
}

static unsigned refuse(struct buf *out, unsigned status, const char *error)
{
    buf_printf(out, "{\"error\":\"%s\"}\n", error);
    return status;
}

static bool scopes_are_known(struct view scopes)
{
    struct view one;
    bool known = true;

    while (view_split(&scopes, ' ', &one))
        known &= scope_find(one) != 0;
    return known;
}

static void put_claims(const struct dev_issuer *issuer, struct view client, struct view scope,
                       int64_t now_s, struct buf *out)
{
    char id[UUID_TEXT];

    uuid_format(uuid_v7(), id);
    buf_puts(out, "{\"iss\":");
    buf_put_json_string(out, view_of(issuer->issuer));
    buf_puts(out, ",\"aud\":");
    buf_put_json_string(out, view_of(issuer->audience));
    buf_puts(out, ",\"sub\":");
    buf_put_json_string(out, client);
    buf_puts(out, ",\"client_id\":");
    buf_put_json_string(out, client);
    buf_puts(out, ",\"scope\":");
    buf_put_json_string(out, scope);
    buf_printf(out, ",\"iat\":%lld,\"exp\":%lld,\"jti\":\"%s\"}", (long long)now_s,
               (long long)(now_s + DEV_TOKEN_S), id);
}

static unsigned grant(const struct dev_issuer *issuer, struct view client, struct view scope,
                      int64_t now_s, struct buf *out)
{
    struct buf claims CLEANUP(buf_deinit) = {.max = 4096};
    struct buf token CLEANUP(buf_deinit) = {.max = 8192};
    struct err err = ERR_INIT;

    put_claims(issuer, client, scope, now_s, &claims);
    if (buf_failed(&claims) || dev_key_sign(issuer->key, buf_view(&claims), &token, &err) < 0)
        return refuse(out, 500, "server_error");
    buf_printf(out,
               "{\"access_token\":\"%s\",\"token_type\":\"Bearer\",\"expires_in\":%d,\"scope\":",
               buf_cstr(&token), DEV_TOKEN_S);
    buf_put_json_string(out, scope);
    buf_puts(out, "}\n");
    return 200;
}

unsigned dev_issuer_token(const struct dev_issuer *issuer, struct view authorization,
                          struct view type, struct view form, int64_t now_s, struct buf *out)
{
    struct form f = {.scope = {.given = false}};
    struct view media = type, name;

    if (!view_split(&media, ';', &name) ||
        !view_is(view_trim(name), "application/x-www-form-urlencoded") || !read_form(form, &f))
        return refuse(out, 400, "invalid_request");
    if (authorization.p != NULL && f.client_secret.given)
        return refuse(out, 400, "invalid_request");
    if (authorization.p != NULL && !read_basic(authorization, &f))
        return refuse(out, 401, "invalid_client");
    if (!dev_secrets_fit(issuer->secrets, view_of_value(&f.client_id),
                         view_of_value(&f.client_secret)))
        return refuse(out, 401, "invalid_client");
    if (!view_is(view_of_value(&f.grant_type), "client_credentials"))
        return refuse(out, 400, f.grant_type.given ? "unsupported_grant_type" : "invalid_request");
    const struct view scope = f.scope.n > 0 ? view_of_value(&f.scope) : VIEW_LIT(EVERY_SCOPE);
    if (!scopes_are_known(scope))
        return refuse(out, 400, "invalid_scope");
    return grant(issuer, view_of_value(&f.client_id), scope, now_s, out);
}

void dev_issuer_describe(const struct dev_issuer *issuer, struct buf *out)
{
    buf_printf(out,
               "{\"issuer\":\"%s\",\"token_endpoint\":\"%s/oauth2/token\",\"jwks_uri\":\"%s/jwks\","
               "\"response_types_supported\":[],"
               "\"grant_types_supported\":[\"client_credentials\"],"
               "\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\","
               "\"client_secret_post\"],"
               "\"scopes_supported\":[\"workflow.read\",\"workflow.execute\","
               "\"workflow.approve\"]}\n",
               issuer->issuer, issuer->issuer, issuer->issuer);
}
