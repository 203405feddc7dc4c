-- How the letters of a plan fare, kept in the plan's row by a trigger: counting a million of them for each look at a
-- plan, and for each page of a canary, takes longer than the page.
ALTER TABLE ops.replay_plan
    ADD COLUMN sent      bigint NOT NULL DEFAULT 0,
    ADD COLUMN enqueued  bigint NOT NULL DEFAULT 0,
    ADD COLUMN done      bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed    bigint NOT NULL DEFAULT 0,
    ADD COLUMN discarded bigint NOT NULL DEFAULT 0,
    ADD COLUMN skipped   bigint NOT NULL DEFAULT 0,
    ADD COLUMN gone      bigint NOT NULL DEFAULT 0,
    ADD COLUMN turned_to bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.replay_plan.sent IS
    'letters of this outcome, as the columns behind it; those that had no turn yet are total without all of them';

COMMENT ON COLUMN ops.replay_plan.turned_to IS 'letters up to this sequence had their turn';

-- Turns are taken in order, so the primary key finds the next ones: an index of those that wait would have to step over the
-- entries of all that had their turn.
DROP INDEX ops.replay_item_waiting;
-- The oldest open letter. By any other index the search steps over all letters that were replayed.
CREATE INDEX letter_open ON ops.letter (dlq_seq) WHERE state = 'open' AND NOT parked;

UPDATE ops.replay_plan AS p
   SET sent = c.sent, enqueued = c.enqueued, done = c.done, failed = c.failed, discarded = c.discarded,
       skipped = c.skipped, gone = c.gone
  FROM (SELECT plan, count(*) FILTER (WHERE outcome = 'sent') AS sent,
               count(*) FILTER (WHERE outcome = 'enqueued') AS enqueued,
               count(*) FILTER (WHERE outcome = 'done') AS done, count(*) FILTER (WHERE outcome = 'failed') AS failed,
               count(*) FILTER (WHERE outcome = 'discarded') AS discarded,
               count(*) FILTER (WHERE outcome = 'skipped') AS skipped, count(*) FILTER (WHERE outcome = 'gone') AS gone
          FROM ops.replay_item GROUP BY plan) AS c
 WHERE c.plan = p.id;

-- Half of the time to list a million letters went into asking for the plan, which stands in the same transaction; plans are
-- deleted only when they have no letters left.
ALTER TABLE ops.replay_item DROP CONSTRAINT replay_item_plan_fkey;

CREATE FUNCTION ops.replay_plan_count() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ops
AS $count$
BEGIN
    UPDATE replay_plan AS p
       SET sent = p.sent + d.sent, enqueued = p.enqueued + d.enqueued, done = p.done + d.done,
           failed = p.failed + d.failed, discarded = p.discarded + d.discarded, skipped = p.skipped + d.skipped,
           gone = p.gone + d.gone
      FROM (SELECT plan, coalesce(sum(n) FILTER (WHERE outcome = 'sent'), 0) AS sent,
                   coalesce(sum(n) FILTER (WHERE outcome = 'enqueued'), 0) AS enqueued,
                   coalesce(sum(n) FILTER (WHERE outcome = 'done'), 0) AS done,
                   coalesce(sum(n) FILTER (WHERE outcome = 'failed'), 0) AS failed,
                   coalesce(sum(n) FILTER (WHERE outcome = 'discarded'), 0) AS discarded,
                   coalesce(sum(n) FILTER (WHERE outcome = 'skipped'), 0) AS skipped,
                   coalesce(sum(n) FILTER (WHERE outcome = 'gone'), 0) AS gone
              FROM (SELECT plan, outcome, count(*) AS n FROM after GROUP BY plan, outcome
                    UNION ALL
                    SELECT plan, outcome, -count(*) FROM before GROUP BY plan, outcome) AS change
             GROUP BY plan) AS d
     WHERE p.id = d.plan;
    RETURN NULL;
END
$count$;
CREATE TRIGGER count_changed AFTER UPDATE ON ops.replay_item REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION ops.replay_plan_count();
