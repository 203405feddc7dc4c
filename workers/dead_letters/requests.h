/* What this worker answers (spec dead-letters.md, "Replay"). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

answer_fn answer_list, answer_show, answer_status, answer_replay, answer_discard;
