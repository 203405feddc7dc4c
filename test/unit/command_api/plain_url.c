// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/plain_url.h"

#include "test/unit/check.h"

static void test_loopback(void)
{
    static const char *const urls[] = {
        "http://127.0.0.1",       "http://127.0.0.1:8090", "http://127.0.0.1:8090/",
        "http://127.0.0.1/a/b?c", "http://127.1.2.3:1/x",  "http://[::1]:8090/jwks",
        "http://[::1]",           "http://localhost:8090", "http://localhost/jwks",
    };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        CHECK_ROW(url_is_plain_loopback(view_of(urls[i])), urls[i]);
}

static void test_elsewhere(void)
{
    static const char *const urls[] = {
        "",
        "http://",
        "http:///x",
        "https://127.0.0.1",
        "HTTP://127.0.0.1",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://128.0.0.1",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@example.org",
        "http://127.0.0.1:80@example.org",
        "http://127.0.0.1:8090@example.org/",
        "http://localhost@example.org",
        "http://localhost.example.org",
        "http://Xlocalhost",
        "http://127.0.0.1:",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://127.0.0.1:x",
        "http://127.0.0.1?x",
        "http://127.0.0.1#x",
        "http://127.0.0.1\\@example.org",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://0177.0.0.1",
        "http://[::1",
        "http://[::1]x",
        "http://[::2]",
        "http://[::ffff:127.0.0.1]",
        "http://::1",
        "http://[]",
    };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        CHECK_ROW(!url_is_plain_loopback(view_of(urls[i])), urls[i]);
}

int main(void)
{
    RUN(test_loopback);
    RUN(test_elsewhere);
    return check_result();
}
