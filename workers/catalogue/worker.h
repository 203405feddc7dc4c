/* The catalogue worker: five consumers of ANIME_EVENTS and the requests that read or change the
 * catalogue. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

extern const struct worker_spec catalogue_worker;
