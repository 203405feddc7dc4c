/* follow: a risky update's stations. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "ops/cli/follow.h"

int follow_take_review(struct cli *cli, struct path *p, struct err *err)
{
    if (chain_review(cli, p->event, &p->review, err) < 0)
        return -1;
    if (p->review.found)
        p->event = p->review.update;
    return 0;
}

void follow_parked(struct path *p, const struct chain_handled *handled)
{
    const struct chain_review *r = &p->review;

    if (handled->revision)
        reach(p, "written", DONE, handled->handled_us, "",
              "parked: %s [%s]; its other fields are revision %" PRId64, r->fields, r->reasons,
              handled->revision);
    else
        reach(p, "written", DONE, handled->handled_us, "", "parked: %s [%s]", r->fields,
              r->reasons);
}

static int see_flagged(struct cli *cli, struct path *p, struct err *err)
{
    struct chain_message m = {0};

    if (p->nats_away) {
        reach(p, "flagged", UNKNOWN, 0, "", "NATS does not answer");
        return 0;
    }
    if (chain_search(cli, "ANIME_EVENTS", p->review.review, FOLLOW_SEARCHED, &m, err) < 0)
        return -1;
    if (m.found)
        reach(p, "flagged", DONE, m.stored_us, m.trace_id, "copy for people, ANIME_EVENTS %" PRIu64,
              m.sequence);
    else if (p->review.has_row && strcmp(p->review.state, "pending") == 0)
        reach(p, "flagged", WAITING, 0, "",
              "not among the newest %d messages of ANIME_EVENTS: waits for the relay, or is older",
              FOLLOW_SEARCHED);
    else
        reach(p, "flagged", DONE, 0, "", "the copy is no longer among the newest messages");
    return 0;
}

static int see_webhook(struct cli *cli, struct path *p, struct err *err)
{
    struct chain_delivery d;
    char answer[96] = "no answer";

    if (chain_delivery(cli, &p->review, &d, err) < 0)
        return -1;
    if (!d.has_adapter || (!d.found && strcmp(p->review.state, "pending") != 0))
        return 0;
    if (d.status)
        (void)snprintf(answer, sizeof(answer), "%" PRId64, d.status);
    else if (*d.error)
        (void)snprintf(answer, sizeof(answer), "%s", d.error);
    if (!d.found)
        reach(p, "webhook", WAITING, 0, "", "no attempt yet");
    else
        reach(p, "webhook",
              strcmp(d.class, "delivered") == 0 ? DONE
              : d.goes_on                       ? WAITING
                                                : FAILED,
              d.started_us, "", "%s, attempt %" PRId64 ": %s (%s)", d.route, d.attempt, answer,
              d.class);
    return 0;
}

static void see_decision(struct path *p)
{
    const struct chain_review *r = &p->review;
    char id[UUID_TEXT], by[UUID_TEXT], late[256] = "";

    uuid_format(r->review, id);
    uuid_format(r->superseded_by, by);
    if (*r->superseded)
        (void)snprintf(late, sizeof(late), "; newer values stand in %s", r->superseded);
    if (strcmp(r->state, "pending") == 0)
        reach(p, "decision", WAITING, 0, "", "waits for a person: echora review show %s%s", id,
              late);
    else if (strcmp(r->state, "superseded") == 0)
        reach(p, "decision", DONE, r->decided_us, "", "superseded by event %s", by);
    else if (strcmp(r->state, "expired") == 0)
        reach(p, "decision", DONE, r->decided_us, "", "expired: nobody decided");
    else
        reach(p, "decision", DONE, r->decided_us, "", "%s by %s, revision %" PRId64 "%s", r->state,
              r->reviewed_by, r->revision, late);
}

int follow_review(struct cli *cli, struct path *p, struct err *err)
{
    if (!p->review.found)
        return 0;
    if (see_flagged(cli, p, err) < 0 && reach_away(p, "flagged", err) < 0)
        return -1;
    if (see_webhook(cli, p, err) < 0)
        return -1;
    see_decision(p);
    return 0;
}
