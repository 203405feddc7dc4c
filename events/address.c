// SPDX-License-Identifier: Apache-2.0
#include "events/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#define V4_BITS 96

/* IPv4 and IPv6 special-purpose registries of IANA, with multicast and tunnels that reach IPv4. */
static const char refused[] =
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,"
    "192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,"
    "224.0.0.0/4,240.0.0.0/4,"
    "100::/64,2001::/23,2001:db8::/32,2002::/16,3fff::/20,5f00::/16,64:ff9b::/96,64:ff9b:1::/48,"
    "::ffff:0:0:0/96,fc00::/7,fe80::/10,fec0::/10,ff00::/8";
/* Unspecified, loopback and the former IPv4-compatible addresses; mapped ones are IPv4 here. */
static const struct network zeroes = {.prefix = V4_BITS};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void map_v4(const void *v4, uint8_t out[static 16])
{
    memcpy(out, mapped, sizeof(mapped));
    memcpy(out + sizeof(mapped), v4, 4);
}

static bool holds(const struct network *n, const uint8_t address[static 16])
{
    const unsigned bytes = n->prefix / 8, rest = n->prefix % 8;
    const uint8_t mask = (uint8_t)(0xff00u >> rest);

    return memcmp(n->address, address, bytes) == 0 &&
           (rest == 0 || (n->address[bytes] & mask) == (address[bytes] & mask));
}

static bool any_holds(const struct networks *list, const uint8_t address[static 16])
{
    for (size_t i = 0; i < list->n; i++) {
        if (holds(&list->list[i], address))
            return true;
    }
    return false;
}

static bool has_bits_behind(const struct network *n)
{
    for (unsigned bit = n->prefix; bit < 128; bit++) {
        if (n->address[bit / 8] & (0x80u >> bit % 8))
            return true;
    }
    return false;
}

static bool parse_one(struct view text, struct network *ret)
{
    struct view host = text, bits = {0};
    char name[INET6_ADDRSTRLEN];
    uint8_t v4[4];
    int64_t prefix;

    if (memchr(text.p, '/', text.n) != NULL) {
        bits = text;
        (void)view_split(&bits, '/', &host);
    }
    if (host.n >= sizeof(name))
        return false;
    snprintf(name, sizeof(name), "%.*s", VIEW_ARG(host));
    const bool is_v4 = inet_pton(AF_INET, name, v4) == 1;
    if (is_v4)
        map_v4(v4, ret->address);
    else if (inet_pton(AF_INET6, name, ret->address) != 1)
        return false;
    prefix = is_v4 ? 32 : 128;
    if (bits.p != NULL && !view_to_i64(bits, 0, prefix, &prefix))
        return false;
    ret->prefix = (unsigned)prefix + (is_v4 ? V4_BITS : 0);
    return !has_bits_behind(ret);
}

int networks_parse(struct view text, struct networks *ret, struct err *err)
{
    struct view rest = text, one;

    *ret = (struct networks){0};
    while (view_split(&rest, ',', &one)) {
        one = view_trim(one);
        if (one.n == 0)
            continue;
        if (ret->n == NETWORKS_MAX)
            return err_set(err, ERR_FATAL, "config", "read networks", "more than %d networks",
                           NETWORKS_MAX);
        if (!parse_one(one, &ret->list[ret->n]))
            return err_set(err, ERR_FATAL, "config", "read networks",
                           "%.*s is no network, such as 10.1.0.0/16 or ::1", VIEW_ARG(one));
        ret->n++;
    }
    return 0;
}

static bool is_refused(const uint8_t address[static 16])
{
    struct networks list;
    struct err err = ERR_INIT;

    if (memcmp(address, mapped, sizeof(mapped)) != 0 && holds(&zeroes, address))
        return true;
    return networks_parse(view_of(refused), &list, &err) < 0 || any_holds(&list, address);
}

bool address_allowed(const struct sockaddr *address, const struct networks *allowed)
{
    uint8_t bytes[16];

    if (address->sa_family == AF_INET)
        map_v4(&((const struct sockaddr_in *)(const void *)address)->sin_addr, bytes);
    else if (address->sa_family == AF_INET6)
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else
        return false;
    return any_holds(allowed, bytes) || !is_refused(bytes);
}
