-- What dialling a campaign needs (contract 2.8): exact counts, one driver at a time, claims that outlive a crash.
-- Up Migration

ALTER TABLE campaigns
  -- Kept by the triggers below, so they are exact whoever writes targets, and cost one row to read at a million targets.
  ADD COLUMN targets_pending integer NOT NULL DEFAULT 0,
  ADD COLUMN targets_dialing integer NOT NULL DEFAULT 0,
  ADD COLUMN targets_done integer NOT NULL DEFAULT 0,
  ADD COLUMN targets_failed integer NOT NULL DEFAULT 0,
  ADD COLUMN targets_skipped integer NOT NULL DEFAULT 0,
  ADD COLUMN attempts integer NOT NULL DEFAULT 0,
  -- The attempts that ended since the last start or resume, newest last: 1 = the carrier failed, 0 = it did not.
  ADD COLUMN recent_ends text NOT NULL DEFAULT '',
  -- The node that dials, and until when nobody else does.
  ADD COLUMN driver text,
  ADD COLUMN driver_until timestamptz,
  -- Events that are decided and may not be journaled yet.
  ADD COLUMN untold jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(untold) = 'array');

ALTER TABLE campaign_targets
  -- While `dialing`: who dials, since when, and the call before, which comes back when this one never begins.
  ADD COLUMN claimed_by text,
  ADD COLUMN claimed_at timestamptz,
  ADD COLUMN former_call_id uuid;

UPDATE campaigns c SET targets_pending = n.pending, targets_dialing = n.dialing, targets_done = n.done,
       targets_failed = n.failed, targets_skipped = n.skipped, attempts = n.attempts
  FROM (SELECT campaign_id, count(*) FILTER (WHERE status = 'pending') AS pending,
               count(*) FILTER (WHERE status = 'dialing') AS dialing, count(*) FILTER (WHERE status = 'done') AS done,
               count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'skipped') AS skipped,
               sum(attempts) AS attempts
          FROM campaign_targets GROUP BY campaign_id) n
 WHERE c.id = n.campaign_id;

-- Once per statement, not per row: an import of thousands is one update of the campaign.
CREATE FUNCTION campaign_targets_count() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE public.campaigns c SET targets_pending = c.targets_pending + n.pending,
           targets_dialing = c.targets_dialing + n.dialing, targets_done = c.targets_done + n.done,
           targets_failed = c.targets_failed + n.failed, targets_skipped = c.targets_skipped + n.skipped,
           attempts = c.attempts + n.attempts
      FROM (SELECT campaign_id, count(*) FILTER (WHERE status = 'pending') AS pending,
                   count(*) FILTER (WHERE status = 'dialing') AS dialing, count(*) FILTER (WHERE status = 'done') AS done,
                   count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'skipped') AS skipped,
                   sum(attempts) AS attempts
              FROM added GROUP BY campaign_id) n
     WHERE c.id = n.campaign_id;
  ELSIF TG_OP = 'UPDATE' THEN
    UPDATE public.campaigns c SET targets_pending = c.targets_pending + n.pending,
           targets_dialing = c.targets_dialing + n.dialing, targets_done = c.targets_done + n.done,
           targets_failed = c.targets_failed + n.failed, targets_skipped = c.targets_skipped + n.skipped,
           attempts = c.attempts + n.attempts
      FROM (SELECT campaign_id, coalesce(sum(sign) FILTER (WHERE status = 'pending'), 0) AS pending,
                   coalesce(sum(sign) FILTER (WHERE status = 'dialing'), 0) AS dialing,
                   coalesce(sum(sign) FILTER (WHERE status = 'done'), 0) AS done,
                   coalesce(sum(sign) FILTER (WHERE status = 'failed'), 0) AS failed,
                   coalesce(sum(sign) FILTER (WHERE status = 'skipped'), 0) AS skipped,
                   sum(sign * attempts) AS attempts
              FROM (SELECT campaign_id, status, attempts, 1 AS sign FROM added
                    UNION ALL SELECT campaign_id, status, attempts, -1 FROM removed) t GROUP BY campaign_id) n
     WHERE c.id = n.campaign_id;
  ELSE
    UPDATE public.campaigns c SET targets_pending = c.targets_pending - n.pending,
           targets_dialing = c.targets_dialing - n.dialing, targets_done = c.targets_done - n.done,
           targets_failed = c.targets_failed - n.failed, targets_skipped = c.targets_skipped - n.skipped,
           attempts = c.attempts - n.attempts
      FROM (SELECT campaign_id, count(*) FILTER (WHERE status = 'pending') AS pending,
                   count(*) FILTER (WHERE status = 'dialing') AS dialing, count(*) FILTER (WHERE status = 'done') AS done,
                   count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'skipped') AS skipped,
                   sum(attempts) AS attempts
              FROM removed GROUP BY campaign_id) n
     WHERE c.id = n.campaign_id;
  END IF;
  RETURN NULL;
END $f$;
CREATE TRIGGER campaign_targets_added AFTER INSERT ON campaign_targets
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION campaign_targets_count();
CREATE TRIGGER campaign_targets_changed AFTER UPDATE ON campaign_targets
  REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION campaign_targets_count();
CREATE TRIGGER campaign_targets_removed AFTER DELETE ON campaign_targets
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION campaign_targets_count();

CREATE INDEX idx_campaigns_user ON campaigns (user_id, created_at DESC, id DESC);
CREATE INDEX idx_campaigns_open ON campaigns (status, id) WHERE status IN ('scheduled', 'running');
CREATE INDEX idx_campaigns_untold ON campaigns (id) WHERE untold <> '[]';
CREATE INDEX idx_campaign_targets_list ON campaign_targets (campaign_id, created_at DESC, id DESC);
CREATE INDEX idx_campaign_targets_status ON campaign_targets (campaign_id, status, created_at DESC, id DESC);
-- Who was never called, in the order of the list; whoever waits for another try is found by idx_campaign_targets_due.
CREATE INDEX idx_campaign_targets_fresh ON campaign_targets (campaign_id, created_at, id)
  WHERE status = 'pending' AND next_attempt_at IS NULL;
-- A handful of rows: what is being dialled now, over all campaigns.
CREATE INDEX idx_campaign_targets_dialing ON campaign_targets (claimed_at, id) WHERE status = 'dialing';

-- The next target is found behind those already dialled: their dead index entries must not wait for a fifth of a million.
ALTER TABLE campaign_targets SET (autovacuum_vacuum_scale_factor = 0.02);
-- Counts change with every call; room on the page keeps that from touching the indexes.
ALTER TABLE campaigns SET (fillfactor = 50);

-- Down Migration

ALTER TABLE campaigns RESET (fillfactor);
ALTER TABLE campaign_targets RESET (autovacuum_vacuum_scale_factor);
DROP INDEX idx_campaign_targets_dialing, idx_campaign_targets_fresh, idx_campaign_targets_status, idx_campaign_targets_list, idx_campaigns_untold,
  idx_campaigns_open, idx_campaigns_user;
DROP TRIGGER campaign_targets_added ON campaign_targets;
DROP TRIGGER campaign_targets_changed ON campaign_targets;
DROP TRIGGER campaign_targets_removed ON campaign_targets;
DROP FUNCTION campaign_targets_count();
ALTER TABLE campaign_targets DROP COLUMN claimed_by, DROP COLUMN claimed_at, DROP COLUMN former_call_id;
ALTER TABLE campaigns DROP COLUMN targets_pending, DROP COLUMN targets_dialing, DROP COLUMN targets_done,
  DROP COLUMN targets_failed, DROP COLUMN targets_skipped, DROP COLUMN attempts, DROP COLUMN recent_ends,
  DROP COLUMN driver, DROP COLUMN driver_until, DROP COLUMN untold;
