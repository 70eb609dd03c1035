-- What users changed in records of calls, and statistics that are quick and exact at a million records (contract 2.1, 6).
-- Up Migration

-- What PATCH has set on a record that the server keeps: {caller_name, metadata}, so that later events leave it alone.
ALTER TABLE call_records ADD COLUMN patched jsonb;

-- Days of the whole account, by reason and by app: a year of them is a few thousand rows, whatever the number of agents.
CREATE TABLE call_stats_account_daily (
  user_id uuid NOT NULL,
  day date NOT NULL,
  kind text NOT NULL CHECK (kind IN ('app', 'reason')),
  name varchar(50) NOT NULL,
  calls integer NOT NULL,
  timed_calls integer NOT NULL,
  seconds bigint NOT NULL,
  PRIMARY KEY (user_id, day, kind, name),
  FOREIGN KEY (user_id, day) REFERENCES call_stats_days (user_id, day) ON DELETE CASCADE
);
ALTER TABLE call_stats_account_daily ENABLE ROW LEVEL SECURITY;
ALTER TABLE call_stats_account_daily FORCE ROW LEVEL SECURITY;
CREATE POLICY "Users can manage own call stats account daily" ON call_stats_account_daily FOR ALL
  USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY "Callyard system call stats account daily" ON call_stats_account_daily FOR ALL TO callyard_system
  USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON call_stats_account_daily TO callyard_app, callyard_system;
CREATE INDEX idx_call_stats_daily_agent ON call_stats_daily (user_id, agent_id, day);

-- Days 400 apart share a lock, so that a statement that touches every day of many years takes 400 locks and not
-- thousands, which would fill the server's table of them. No two days that are rolled up at the same time lie so far apart.
CREATE FUNCTION call_stats_lock(user_id uuid, day date) RETURNS bigint LANGUAGE sql IMMUTABLE AS $f$
  SELECT hashtextextended(user_id::text || ' ' || abs(day - date '2000-01-01') % 400, 0) $f$;

-- A record and a change of the account's zone exclude each other: else the day that was forgotten could be another than
-- the day on which the record counts.
CREATE OR REPLACE FUNCTION call_stats_forget() RETURNS trigger LANGUAGE plpgsql AS $f$ DECLARE r record; BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('zone ' || coalesce(NEW.user_id, OLD.user_id)::text, 0));
  FOR r IN SELECT DISTINCT v.user_id, (v.start_time AT TIME ZONE s.timezone)::date AS day
      FROM (VALUES (OLD.user_id, OLD.start_time), (NEW.user_id, NEW.start_time)) v(user_id, start_time)
      JOIN public.account_settings s USING (user_id) WHERE v.user_id IS NOT NULL LOOP
    PERFORM pg_advisory_xact_lock_shared(public.call_stats_lock(r.user_id, r.day));
    DELETE FROM public.call_stats_days d WHERE d.user_id = r.user_id AND d.day = r.day;
  END LOOP;
  RETURN NULL;
END $f$;

CREATE FUNCTION call_stats_forget_zone() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('zone ' || NEW.user_id::text, 0));
  DELETE FROM public.call_stats_days WHERE user_id = NEW.user_id;
  RETURN NEW;
END $f$;
CREATE TRIGGER call_stats_forget_zone BEFORE UPDATE OF timezone ON account_settings
  FOR EACH ROW WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone) EXECUTE FUNCTION call_stats_forget_zone();

-- Every filter of the list is answered from an index alone: only the rows of the page shown are read whole. A status
-- changes an index anyway, by idx_call_records_live.
DROP INDEX idx_call_records_user_id, idx_call_records_agent_id, idx_call_records_caller_phone;
CREATE INDEX idx_call_records_user_id ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (agent_id, duration_seconds, hangup_reason, caller_app, channel, direction, status, outcome);
CREATE INDEX idx_call_records_agent_id ON call_records (user_id, agent_id, start_time DESC, id DESC)
  INCLUDE (duration_seconds, hangup_reason, caller_app, channel);
CREATE INDEX idx_call_records_caller_phone
  ON call_records (user_id, caller_phone text_pattern_ops, start_time DESC, id DESC) INCLUDE (channel);
CREATE INDEX idx_call_records_outcome ON call_records (user_id, outcome, start_time DESC, id DESC) INCLUDE (channel)
  WHERE outcome IS NOT NULL;
-- Comparing a status or a reason is not leakproof, so that under row-level security it is no condition of an index, and the
-- planner knows nothing of how few rows it means. An index of one value has nothing left to compare, and a known size.
CREATE INDEX idx_call_records_open ON call_records (user_id, start_time DESC, id DESC) INCLUDE (status, channel)
  WHERE status IN ('queued', 'dialing', 'ringing');
CREATE INDEX idx_call_records_answered ON call_records (user_id, start_time DESC, id DESC) INCLUDE (channel) WHERE status = 'answered';
CREATE INDEX idx_call_records_reason_user ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (channel, direction, status, outcome) WHERE hangup_reason = 'user';
CREATE INDEX idx_call_records_reason_ai ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (channel, direction, status, outcome) WHERE hangup_reason = 'ai';
CREATE INDEX idx_call_records_reason_timeout ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (channel, direction, status, outcome) WHERE hangup_reason = 'timeout';
CREATE INDEX idx_call_records_reason_silence ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (channel, direction, status, outcome) WHERE hangup_reason = 'silence';
CREATE INDEX idx_call_records_reason_error ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (channel, direction, status, outcome) WHERE hangup_reason = 'error';
CREATE INDEX idx_call_records_failed ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (channel, direction, hangup_reason, outcome) WHERE status = 'failed';
CREATE INDEX idx_call_records_inbound ON call_records (user_id, start_time DESC, id DESC) INCLUDE (channel) WHERE direction = 'inbound';
CREATE INDEX idx_call_records_outbound ON call_records (user_id, start_time DESC, id DESC) INCLUDE (channel) WHERE direction = 'outbound';
CREATE INDEX idx_call_records_channel ON call_records (user_id, channel, start_time DESC, id DESC);
-- Most records have neither.
CREATE INDEX idx_call_records_customer ON call_records (user_id, customer_ref, start_time DESC, id DESC)
  WHERE customer_ref IS NOT NULL;
CREATE INDEX idx_call_records_campaign ON call_records (user_id, campaign_id, start_time DESC, id DESC)
  WHERE campaign_id IS NOT NULL;

-- Events that are still on their way when their call's record is deleted are told by this.
CREATE INDEX idx_audit_log_deleted_records ON audit_log (target_id) WHERE action = 'call_record.delete';

-- Totals and statistics read the index alone, which works only for pages that a vacuum has seen: by the defaults that
-- would be after every 200,000 new records of a million.
ALTER TABLE call_records SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000,
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Down Migration

ALTER TABLE call_records RESET (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold,
  autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
DROP INDEX idx_call_records_reason_user, idx_call_records_reason_ai, idx_call_records_reason_timeout,
  idx_call_records_reason_silence, idx_call_records_reason_error,
  idx_call_records_failed, idx_call_records_answered, idx_call_records_inbound, idx_call_records_outbound, idx_call_records_channel;
DROP INDEX idx_audit_log_deleted_records, idx_call_records_campaign, idx_call_records_customer, idx_call_records_open, idx_call_records_outcome,
  idx_call_stats_daily_agent, idx_call_records_user_id, idx_call_records_agent_id, idx_call_records_caller_phone;
CREATE INDEX idx_call_records_agent_id ON call_records (agent_id, start_time DESC, id DESC);
CREATE INDEX idx_call_records_user_id ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (agent_id, duration_seconds, hangup_reason, caller_app, channel);
CREATE INDEX idx_call_records_caller_phone
  ON call_records (user_id, caller_phone text_pattern_ops, start_time DESC);
DROP TRIGGER call_stats_forget_zone ON account_settings;
DROP FUNCTION call_stats_forget_zone();
CREATE OR REPLACE FUNCTION call_stats_forget() RETURNS trigger LANGUAGE plpgsql AS $f$ DECLARE r record; BEGIN
  FOR r IN SELECT DISTINCT v.user_id, (v.start_time AT TIME ZONE s.timezone)::date AS day
      FROM (VALUES (OLD.user_id, OLD.start_time), (NEW.user_id, NEW.start_time)) v(user_id, start_time)
      JOIN public.account_settings s USING (user_id) WHERE v.user_id IS NOT NULL LOOP
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(r.user_id::text || r.day::text, 0));
    DELETE FROM public.call_stats_days d WHERE d.user_id = r.user_id AND d.day = r.day;
  END LOOP;
  RETURN NULL;
END $f$;
DROP FUNCTION call_stats_lock(uuid, date);
DROP TABLE call_stats_account_daily;
ALTER TABLE call_records DROP COLUMN patched;
