/* Which addresses may be called: every refused network at its edges, and the allow list. */
// SPDX-License-Identifier: Apache-2.0

#include "events/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "test/unit/check.h"

static bool allowed(const char *text, const char *networks)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct networks list;
    struct err err = ERR_INIT;

    CHECK(networks_parse(view_of(networks), &list, &err) == 0);
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return address_allowed((const struct sockaddr *)(const void *)&v4, &list);
    CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    return address_allowed((const struct sockaddr *)(const void *)&v6, &list);
}

static void test_special_networks_are_refused(void)
{
    static const char *const refused[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001:db8::1",
        "2001::1",
        "2002:a00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fdff:ffff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        CHECK_ROW(!allowed(refused[i], ""), refused[i]);
}

static void test_their_neighbours_are_not(void)
{
    static const char *const good[] = {
        "1.0.0.0",         "9.255.255.255",   "11.0.0.0",       "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.1",      "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",  "172.32.0.0",     "192.0.1.0",
        "192.167.255.255", "192.169.0.0",     "198.17.255.255", "198.20.0.0",
        "223.255.255.255", "8.8.8.8",         "::ffff:8.8.8.8", "2606:4700::1111",
        "2a00::1",         "2001:200::1",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CHECK_ROW(allowed(good[i], ""), good[i]);
}

static void test_the_allow_list(void)
{
    CHECK(allowed("10.1.2.3", "10.1.0.0/16"));
    CHECK(allowed("::ffff:10.1.2.3", "10.1.0.0/16"));
    CHECK(!allowed("10.2.0.0", "10.1.0.0/16"));
    CHECK(allowed("127.0.0.1", " ::1 , 127.0.0.1 "));
    CHECK(!allowed("127.0.0.2", "127.0.0.1"));
    CHECK(allowed("fd00::7", "fd00::/8"));
    CHECK(!allowed("fc00::7", "fd00::/8"));
    CHECK(allowed("192.168.77.1", "192.168.64.0/20"));
    CHECK(!allowed("192.168.80.1", "192.168.64.0/20"));
    CHECK(!allowed("127.0.0.1", "::/96")); /* IPv4 is no part of that */
    CHECK(allowed("127.0.0.1", "0.0.0.0/0"));
    CHECK(!allowed("::1", "0.0.0.0/0"));
    CHECK(allowed("::1", "::/0"));
}

static void test_other_families_are_refused(void)
{
    const struct sockaddr unix_address = {.sa_family = AF_UNIX};
    struct networks list;
    struct err err = ERR_INIT;

    CHECK(networks_parse(VIEW_LIT("0.0.0.0/0,::/0"), &list, &err) == 0);
    CHECK(!address_allowed(&unix_address, &list));
}

static void test_what_is_no_network(void)
{
    static const char *const bad[] = {"x",          "10.0.0.0/33",  "10.0.0.0/-1", "10.0.0.1/8",
                                      "10.0.0.0/",  "::/129",       "fe80::1/10",  "127.1",
                                      "0x7f000001", "10.0.0.0/8/8", "1.2.3.4.5"};
    char many[NETWORKS_MAX * 8 + 16] = "";

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct networks list;
        struct err err = ERR_INIT;
        CHECK_ROW(networks_parse(view_of(bad[i]), &list, &err) < 0, bad[i]);
        CHECK_STR(err.code, "config");
    }
    for (int i = 0; i <= NETWORKS_MAX; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "1.1.1.1,");
    struct networks list;
    struct err err = ERR_INIT;
    CHECK(networks_parse(view_of(many), &list, &err) < 0);
}

int main(void)
{
    RUN(test_special_networks_are_refused);
    RUN(test_their_neighbours_are_not);
    RUN(test_the_allow_list);
    RUN(test_other_families_are_refused);
    RUN(test_what_is_no_network);
    return check_result();
}
