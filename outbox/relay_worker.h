/* The relay's table, so that tests and generated pages read the same rows as main. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

extern const struct worker_spec relay_worker;
