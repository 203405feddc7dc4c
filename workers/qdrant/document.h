/* A search document: what the index should hold for one committed entity. Pure.
 *
 * Search text is the titles, synopsis, tags, genres and demographics of an anime, the names,
 * description and traits of a character, the titles and synopsis of an episode. Everything else is
 * payload: it changes without a new embedding. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "events/base/err.h"
#include "events/base/uuid.h"
#include "workers/qdrant/payload.h"

enum text_field {
    TEXT_TITLE,    /* and names */
    TEXT_SYNOPSIS, /* and descriptions */
    TEXT_TAG,      /* and traits */
    TEXT_GENRE,
    TEXT_DEMOGRAPHIC,
    N_TEXT_FIELDS,
};
const char *text_field_name(enum text_field field);

struct text_part {
    enum text_field field;
    struct view text; /* never empty */
};

#define EMB_TEXT 33 /* with NUL: 128 bits in hex, or "pending" */
#define EMB_PENDING "pending"

/* What a document is made from; children inherit nsfw. */
struct doc_source {
    enum doc_kind kind;
    struct uuid id;
    int64_t revision;
    const ProtobufCMessage *content; /* Anime, Character or Episode */
    char *const *anime_ids;          /* children: the anime it belongs to */
    size_t n_anime_ids;
    bool inherited_nsfw;
    int64_t episode_rows; /* anime: episodes that are stored */
};

struct document {
    enum doc_kind kind;
    struct uuid id;
    int64_t revision;
    struct text_part *parts; /* in fixed order */
    size_t n_parts;
    struct view text;    /* all parts, one a line: for BM25 and text models */
    struct view payload; /* JSON members, each with a comma behind it; without rev, emb, trace */
};

/* Memory is the arena's; views may point into the message. Codes no-memory, too-large. */
MUST_CHECK int document_make(const struct doc_source *source, struct arena *arena,
                             struct document *ret, struct err *err);
/* The hash that says what the vectors were made from: model identity and search text. */
MUST_CHECK int document_emb(const struct document *d, const char *model, char out[static EMB_TEXT],
                            struct err *err);
