/* The requests that the catalogue answers (spec contracts.md, "Reading the catalogue"). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"
#include "workers/catalogue/kind.h"

enum { N_CATALOGUE_REQUESTS = 13 };
extern const struct request_spec catalogue_requests[N_CATALOGUE_REQUESTS];

/* read.c: committed state with its revision. At most 256 ids; a reply that grows too large ends
 * early and lists the ids it left unread; the members of one anime go on with next_members. */
answer_fn answer_record_get, answer_anime_get, answer_character_get, answer_episode_get;
/* existence.c */
answer_fn answer_anime_delete, answer_anime_restore;
/* lookup.c */
answer_fn answer_revisions_list, answer_xref_resolve;
/* enqueue.c: fresh outbox rows under the lock of the entities' rows. */
answer_fn answer_outbox_enqueue;
/* review_list.c: risky updates, the committed state. */
answer_fn answer_review_list, answer_review_get;
/* review_decide.c */
answer_fn answer_review_decide;
/* check.c: contracts.validate. */
answer_fn answer_contracts_validate;

/* request_ids.c: ids of a request, checked. Codes missing-id, bad-uuid, too-many (ERR_REJECT). */
struct uuid_list {
    struct uuid *ids; /* arena memory */
    size_t n;
};
MUST_CHECK int request_ids(char *const texts[], size_t n, size_t most, struct arena *arena,
                           struct uuid_list *ret, struct err *err);
/* The id as text for a reply, in the arena; NULL when it is full. */
char *request_uuid_text(struct arena *arena, struct uuid id);
/* The kind of a request's `kind` text. Code bad-kind (ERR_REJECT). */
MUST_CHECK int request_kind(const char *text, const struct kind **ret, struct err *err);
