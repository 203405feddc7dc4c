// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/plain_url.h"

#include <arpa/inet.h>
#include <stdio.h>

bool address_is_loopback(struct view host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    struct in_addr v4;

    if (host.n >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", VIEW_ARG(host));
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static size_t host_length(struct view rest)
{
    size_t n = 0;

    if (rest.n > 0 && rest.p[0] == '[') {
        while (n < rest.n && rest.p[n] != ']')
            n++;
        return n < rest.n ? n + 1 : 0;
    }
    while (n < rest.n && rest.p[n] != ':' && rest.p[n] != '/')
        n++;
    return n;
}

bool url_is_plain_loopback(struct view url)
{
    static const char scheme[] = "http://";
    const size_t at = sizeof(scheme) - 1;

    if (!view_starts_with(url, scheme))
        return false;
    struct view rest = {url.p + at, url.n - at};
    struct view host = {rest.p, host_length(rest)};
    rest = (struct view){rest.p + host.n, rest.n - host.n};
    if (rest.n > 0 && rest.p[0] == ':') {
        struct view port = {rest.p + 1, 0};
        int64_t number;

        while (port.n + 1 < rest.n && port.p[port.n] != '/')
            port.n++;
        if (!view_to_i64(port, 1, 65535, &number))
            return false;
        rest = (struct view){port.p + port.n, rest.n - 1 - port.n};
    }
    if (rest.n > 0 && rest.p[0] != '/')
        return false;
    if (host.n > 2 && host.p[0] == '[')
        host = (struct view){host.p + 1, host.n - 2};
    return view_is(host, "localhost") || address_is_loopback(host);
}
