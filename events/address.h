/* Which addresses an HTTP call may connect to: the guard against calls into one's own network.
 *
 * Asked after name resolution and before connecting, so neither a name that resolves to a private
 * address nor an odd spelling gets past it. Addresses of the special-purpose registries (private,
 * loopback, link-local, shared, documentation, multicast, tunnels) are refused unless a network of
 * the allow list holds them. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <sys/socket.h>

#include "events/base/err.h"
#include "events/base/view.h"

/* IPv4 as ::ffff:a.b.c.d, so that there is one kind. */
struct network {
    uint8_t address[16];
    unsigned prefix; /* bits, of 128 */
};
#define NETWORKS_MAX 32
struct networks {
    struct network list[NETWORKS_MAX];
    size_t n;
};

/* "10.1.0.0/16, ::1/128, 192.0.2.7"; a single address is its own network. ERR_FATAL config when
 * one can't be read, has bits behind its prefix, or there are too many. */
MUST_CHECK int networks_parse(struct view text, struct networks *ret, struct err *err);
/* False for every family but AF_INET and AF_INET6. An IPv4 address written as IPv6 counts as IPv4.
 */
bool address_allowed(const struct sockaddr *address, const struct networks *allowed);
