/* The selector of a batch rule: which entries a decision is for. Its conditions hold together; one
 * without any is refused, so that nobody decides about everything by leaving it empty. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/members.h"

enum { SELECTOR_CONDITIONS = 9 };
extern const struct member selector_conditions[SELECTOR_CONDITIONS];
