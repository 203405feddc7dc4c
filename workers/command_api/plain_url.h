/* Plain http URLs that never leave this machine. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

/* http://, then 127.x.y.z, [::1] or localhost, a port or none, a path or none. Whatever else a URL
 * may have in front of its host (user@) or an address may look like is false. */
bool url_is_plain_loopback(struct view url);
/* "127.0.0.1", "::1"; numeric, of loopback. */
bool address_is_loopback(struct view host);
