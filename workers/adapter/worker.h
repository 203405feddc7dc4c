/* The event adapter: three kinds of events become webhooks (spec event-adapter.md). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

extern const struct worker_spec adapter_worker;
