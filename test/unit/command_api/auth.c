/* Options that are wrong, by the text that a person reads; tokens and keys are the integration
 * tests' matter. */
// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/auth.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <unistd.h>

#include "test/unit/check.h"

static char clients_path[] = "/tmp/echora-test-clients-XXXXXX";

static struct auth_settings settings(void)
{
    return (struct auth_settings){.issuer = "https://issuer.example",
                                  .audience = "echora-command-api",
                                  .jwks = "https://127.0.0.1:1/jwks",
                                  .jwks_ca_file = "",
                                  .clients = clients_path,
                                  .algorithms = "RS256,ES256"};
}

static void check_refused(const struct auth_settings *s, const char *text)
{
    struct err err = ERR_INIT;
    struct auth *auth = NULL;

    CHECK_ROW(auth_open(&auth, s, NULL, &err) < 0, text);
    CHECK_STR(err.code, "config");
    CHECK_ROW(strstr(err.text, text) != NULL, err.text);
    auth_close(auth);
}

static void test_wrong_options(void)
{
    struct auth_settings s;

#define WRONG(member, value, text)                                                                 \
    s = settings();                                                                                \
    s.member = (value);                                                                            \
    check_refused(&s, text)
    WRONG(issuer, "", "must be set");
    WRONG(jwks, "", "must be set");
    WRONG(clients, "", "must be set");
    WRONG(audience, "", "audience");
    WRONG(issuer, "issuer.example", "issuer must be an https URL");
    WRONG(issuer, "https://", "issuer must be an https URL");
    WRONG(issuer, "http://issuer.example", "issuer: plain http needs --dev");
    WRONG(issuer, "http://127.0.0.1:8090", "issuer: plain http needs --dev");
    WRONG(jwks, "http://127.0.0.1:8090/jwks", "jwks: plain http needs --dev");
    WRONG(jwks, "ftp://127.0.0.1/jwks", "jwks must be an https URL");
    WRONG(jwks, "file:///etc/passwd", "jwks must be an https URL");
    WRONG(algorithms, "", "algorithms are");
    WRONG(algorithms, "RS256,none", "algorithms are");
    WRONG(algorithms, "HS256", "algorithms are");
#undef WRONG
    s = settings();
    s.dev = true;
    s.jwks = "http://10.0.0.1/jwks";
    check_refused(&s, "jwks: plain http needs --dev and an address of loopback");
}

static void test_dev_allows_loopback(void)
{
    struct auth_settings s = settings();
    struct err err = ERR_INIT;
    struct caller caller;
    struct auth *auth;

    s.dev = true;
    s.issuer = "http://127.0.0.1:8090";
    s.jwks = "http://127.0.0.1:1/jwks";
    s.algorithms = " ES256 , EdDSA";
    REQUIRE(auth_open(&auth, &s, NULL, &err) == 0);
    CHECK(!auth_ready(auth));
    CHECK_EQ_INT(auth_check(auth, (struct view){NULL, 0}, &caller), TOKEN_ABSENT);
    CHECK_EQ_INT(auth_check(auth, VIEW_LIT("Bearer a.b"), &caller), TOKEN_PARTS);
    CHECK(auth_reload(auth, &err) == 0);
    auth_close(auth);
}

static void test_reasons_have_texts(void)
{
    for (enum token_reason r = TOKEN_OK; r < TOKEN_REASONS; r++) {
        REQUIRE(token_reason_text(r) != NULL && *token_reason_text(r) != '\0');
        for (enum token_reason other = TOKEN_OK; other < r; other++)
            CHECK(strcmp(token_reason_text(r), token_reason_text(other)) != 0);
    }
}

int main(void)
{
    const int fd = mkstemp(clients_path);

    CHECK(fd >= 0 && write(fd, "{\"clients\":[]}", 14) == 14);
    close(fd);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    RUN(test_wrong_options);
    RUN(test_dev_allows_loopback);
    RUN(test_reasons_have_texts);
    curl_global_cleanup();
    unlink(clients_path);
    return check_result();
}
