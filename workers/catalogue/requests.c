/* The table of the catalogue's requests. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/requests.h"

const struct request_spec catalogue_requests[N_CATALOGUE_REQUESTS] = {
    {"catalog.record.get", answer_record_get},
    {"catalog.anime.get", answer_anime_get},
    {"catalog.character.get", answer_character_get},
    {"catalog.episode.get", answer_episode_get},
    {"catalog.anime.delete", answer_anime_delete},
    {"catalog.anime.restore", answer_anime_restore},
    {"catalog.revisions.list", answer_revisions_list},
    {"catalog.xref.resolve", answer_xref_resolve},
    {"catalog.outbox.enqueue", answer_outbox_enqueue},
    {"catalog.review.list", answer_review_list},
    {"catalog.review.get", answer_review_get},
    {"catalog.review.decide", answer_review_decide},
    {"contracts.validate", answer_contracts_validate, .always = true},
};
