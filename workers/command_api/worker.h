/* The Command API: HTTP outside (nginx, SCGI), requests on the bus inside. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

extern const struct worker_spec command_api_worker;
