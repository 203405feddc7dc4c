/* What an answer means: the delivery table as code (spec event-adapter.md). Pure. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/http_pool.h"

enum judgement {
    JUDGED_DELIVERED,     /* 2xx */
    JUDGED_REFUSED,       /* 400, 413, 415, 422: this event, for good: parked */
    JUDGED_AUTH,          /* 401, 403: a secret's fault: the route rests, slow retry */
    JUDGED_MISCONFIGURED, /* 404, 405, redirects, other 4xx: a person must mend it: retry */
    JUDGED_TROUBLE,       /* 408, 425, 429, 5xx, network: retry */
    JUDGED_GONE,          /* 410: the route is disabled until a person enables it */
    JUDGED_MAX,
};
/* only_202: any other 2xx is trouble. */
enum judgement judge(const struct http_outcome *o, bool only_202);
/* "delivered", "refused", ...: metrics and the attempt log. */
const char *judgement_name(enum judgement j);
/* Fills *ret for all but JUDGED_DELIVERED: class, code http-<status> or the call's, a text without
 * anything that the receiver wrote. retry_after_ms is the receiver's hint, or the least pause that
 * this answer deserves, at most longest_ms. */
void judgement_err(enum judgement j, const struct http_outcome *o, const char *op,
                   int64_t longest_ms, struct err *ret);
