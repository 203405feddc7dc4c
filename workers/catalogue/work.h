/* The working set of one transaction: the entities it has locked or makes, who owns which id and
 * reference, and what is to be written.
 *
 * Life of a transaction (txn.c): load what the operations speak of (load.c), apply them one after
 * the other (apply.c; each by itself, so that a rejected one leaves nothing behind), give
 * revisions, write (store.c), announce (announce.c). Everything here is arena memory and lasts for
 * one attempt. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"
#include "workers/catalogue/index.h"
#include "workers/catalogue/op.h"
#include "workers/catalogue/risk.h"

struct entity {
    enum entity_kind kind;
    struct uuid id;
    struct fields f;
    bool in_db;
    bool dirty;           /* its row is to be written */
    uint64_t reviews_due; /* fields whose clock moved or that were parked: reviews of them may be
                           * superseded */
    int64_t revision;
    struct announcement *said; /* the newest about it */
    /* anime */
    int32_t episode_rows;
    struct uuid merged_into; /* nil = not merged */
    uint64_t replaced;       /* fields whose projection tables are to be replaced */
    struct clock replaced_at;
    /* episode */
    struct uuid anime_id;
    int32_t number;
};

/* An entity that an operation changed: one revision, and one outbox row unless another covers it.
 */
enum announcement_kind { SAY_COVERED, SAY_SYNCED, SAY_CREATED, SAY_DELETED };
struct announcement {
    struct entity *entity;
    const struct op *op;
    enum announcement_kind kind;
    uint64_t changed; /* fields of the entity */
    const char
        *inherited; /* what changed in its search document beside its fields; NULL = nothing */
    int64_t revision;
    struct announcement *before; /* the one before it about the entity */
};

struct new_alias {
    struct uuid id;
    struct entity *entity;
};
struct new_ref {
    struct view ref;
    struct entity *entity;
};
struct cast {
    struct entity *anime, *character;
    const char *role;
    int32_t billing;
    struct clock clock;
};
struct parked {
    const struct op *op;
    struct entity *anime;
    uint64_t fields;
    struct uuid review_id;
    const ProtobufCMessage *copy; /* AnimeUpdatedEvent as it is published */
    const char **reason_list;
    size_t n_reasons;
};
/* A waiting update whose entity has come and would not have it. */
struct refused {
    const char *consumer;
    struct uuid event;
    int64_t time_us;
    struct err err; /* of class ERR_REJECT */
};
/* Members whose revisions follow from a change of their anime, looked up when all are applied. */
enum follow_kind { FOLLOW_NSFW, FOLLOW_REVIVED, FOLLOW_DELETED };
struct follow {
    enum follow_kind kind;
    struct entity *anime;
    const struct op *op;
};

/* A growing array of pointers in the arena. */
struct list {
    void **p;
    size_t n, capacity;
};

struct work {
    struct pg *pg;
    struct arena *arena;
    const struct risk_limits *limits;
    struct index index;
    struct list entities;      /* struct entity: loaded and made */
    struct list announcements; /* in the order in which they get revisions and outbox rows */
    struct list aliases;
    struct list refs;
    struct list casts;
    struct list parked;
    struct list rows;    /* struct outbox_row: announced behind all others, as they are */
    struct list refused; /* waiting updates that become dead letters */
    struct list follows;
    struct list merges; /* struct entity: those whose merged_into was set now */
    struct list ops;    /* every operation applied, pending ones included */
    struct list undo;
    bool recording;
    int64_t inbox_rows; /* of the insert that store_check asks about */
    size_t superseded;  /* reviews that ended because newer values overtook all of their fields */
};

void work_init(struct work *w, struct pg *pg, struct arena *arena,
               const struct risk_limits *limits);
/* False when the arena is full. */
MUST_CHECK bool work_add(struct work *w, struct list *list, void *item);

/* What the working set knows. NULL = no such thing (or not loaded). */
struct entity *work_by_id(const struct work *w, enum entity_kind kind, struct uuid id);
struct entity *work_by_ref(const struct work *w, enum entity_kind kind, struct view ref);
struct entity *work_episode(const struct work *w, struct uuid anime, int32_t number);
struct entity *work_named(const struct work *w, struct uuid anime, struct view name);
bool work_has_cast(const struct work *w, struct uuid anime, struct uuid character);
/* Another kind of thing than `kind` that has this id, as far as is known; NULL = none. */
const struct kind *work_other_kind(const struct work *w, enum entity_kind kind, struct uuid id);

/* Makes it known; while recording, work_undo takes it back. False when the arena is full. */
MUST_CHECK bool work_put_id(struct work *w, enum entity_kind kind, struct uuid id,
                            struct entity *e);
MUST_CHECK bool work_put_ref(struct work *w, enum entity_kind kind, struct view ref,
                             struct entity *e);
MUST_CHECK bool work_put_episode(struct work *w, struct uuid anime, int32_t number,
                                 struct entity *e);
MUST_CHECK bool work_put_name(struct work *w, struct uuid anime, struct view name,
                              struct entity *e);
/* Of an id that the database knows for this kind, without its entity being loaded. */
MUST_CHECK bool work_put_kind(struct work *w, enum entity_kind kind, struct uuid id);
MUST_CHECK bool work_put_cast(struct work *w, struct uuid anime, struct uuid character);

/* Everything that is added from here on can be taken back. */
struct work_mark {
    size_t entities, aliases, refs;
};
struct work_mark work_record(struct work *w);
void work_keep(struct work *w);
void work_undo(struct work *w, struct work_mark mark);

/* apply.c */
/* Applies one operation to what is loaded. Sets op->outcome, and op->err when it is rejected.
 * -1 = the attempt is over (no-memory). */
MUST_CHECK int work_apply(struct work *w, struct op *op, struct err *err);
/* Sets or moves the existence of an anime and announces what follows from it. */
MUST_CHECK int work_exist(struct work *w, struct op *op, struct entity *anime, bool made,
                          struct err *err);

/* The id of a character that is named without one: of its smallest reference, else of its name
 * within the anime. The same event makes the same ids again. */
struct uuid made_character_id(const struct thing *t, struct uuid anime);

/* announce.c */
/* Notes that op changed the entity; several notes of one op and entity are one announcement, of the
 * greater kind. */
MUST_CHECK int work_say(struct work *w, const struct op *op, struct entity *e,
                        enum announcement_kind kind, uint64_t changed, const char *inherited,
                        struct err *err);
