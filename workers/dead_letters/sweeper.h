/* The second net: events that the server gave up delivering, with nobody alive to write their dead
 * letter. The stream ANIME_ADVISORY keeps what the server says about it. The letter has the
 * identity that the worker's own would have, so there is one, whoever is first. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

handle_fn sweep_advisories;
