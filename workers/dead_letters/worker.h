/* echora-dead-letters: the index of dead letters, requests about them, replays, the sweeper. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

extern const struct worker_spec dead_letters_worker;
