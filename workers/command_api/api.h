/* What all calls share. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>

#include "events/bus_acks.h"
#include "events/metrics.h"
#include "events/redis.h"
#include "events/worker.h"
#include "workers/command_api/auth.h"
#include "workers/command_api/rate.h"

struct settings {
    const char *socket, *socket_mode;
    int64_t in_flight_max;
    int64_t head_ms, body_ms, reply_ms;
    struct auth_settings auth;
    struct redis_options redis;
};

struct api {
    struct lane *lane;
    const struct settings *settings;
    struct bus *bus;
    struct auth *auth;
    struct redis *redis;
    struct rate *rate;
    struct bus_acks *audit;
    atomic_int in_flight;
    _Atomic int64_t stopped_ms; /* monotonic: when it was asked to stop; 0 = it was not */
};

/* Replies are awaited that long after the process was asked to stop. */
#define STOP_WAIT_MS 6000
