/* What Redis answers, as errors of the house: by the first word of an error reply, and by errno.
 *
 * The code is "redis-" and that word in lower case ("redis-loading"), unless its row says
 * otherwise. What is unknown is tried again. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

/* text: the reply behind its '-'. Returns -1. */
int redis_err_reply(struct err *err, const char *op, struct view text);
/* A connection that can't be made, broke or did not answer. Returns -1. */
int redis_err_errno(struct err *err, const char *op, int number);
/* The server does not know the script's digest. */
bool redis_reply_is_noscript(struct view text);

#ifdef __clang_analyzer__ /* as in err.h */
#define redis_err_reply(...) ((void)redis_err_reply(__VA_ARGS__), -1)
#define redis_err_errno(...) ((void)redis_err_errno(__VA_ARGS__), -1)
#endif
