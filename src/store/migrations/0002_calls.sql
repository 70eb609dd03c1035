-- Calls, their events, recordings and the statistics roll-up (contract 4.2).
-- Up Migration

CREATE TYPE call_hangup_reason AS ENUM ('user', 'ai', 'timeout', 'silence', 'error');
CREATE TYPE call_status AS ENUM ('queued', 'dialing', 'ringing', 'answered', 'ended', 'failed');

CREATE TABLE call_records (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  agent_id uuid NOT NULL,
  caller_name varchar(255),
  caller_phone varchar(50),
  caller_app varchar(50),
  start_time timestamptz NOT NULL,
  end_time timestamptz,
  duration_seconds integer CHECK (duration_seconds BETWEEN 0 AND 86400),
  hangup_reason call_hangup_reason,
  messages jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(messages) = 'array'),
  summary text,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  source text NOT NULL DEFAULT 'api' CHECK (source IN ('api', 'core')),
  channel text NOT NULL DEFAULT 'external' CHECK (channel IN ('phone', 'web', 'external', 'text')),
  direction text NOT NULL DEFAULT 'inbound' CHECK (direction IN ('inbound', 'outbound')),
  from_number varchar(255),
  to_number varchar(255),
  status call_status NOT NULL DEFAULT 'answered',
  answer_time timestamptz,
  outcome text CHECK (outcome IN ('completed', 'transferred', 'voicemail', 'silence', 'max_duration', 'idle',
    'no_answer', 'abandoned', 'busy', 'declined', 'cancelled', 'blocked', 'invalid_number', 'unreachable',
    'congestion', 'auth_failed', 'carrier_error', 'incompatible_media', 'media_lost', 'provider_error',
    'node_lost', 'internal_error')),
  ended_by text CHECK (ended_by IN ('caller', 'agent', 'api', 'supervisor', 'system')),
  trunk_id uuid,
  node text,
  sip_call_id text,
  sip_status smallint,
  squad_id uuid,
  rule_id uuid,
  campaign_id uuid,
  contact_id uuid,
  customer_ref varchar(64),
  variables jsonb NOT NULL DEFAULT '{}',
  recording_status text NOT NULL DEFAULT 'none'
    CHECK (recording_status IN ('none', 'active', 'ready', 'failed', 'expired')),
  recording_id uuid,
  quality jsonb,
  latency jsonb,
  cost numeric(14, 6),
  currency char(3),
  summary_meta jsonb,
  UNIQUE (id, user_id),
  CHECK (end_time >= start_time),
  FOREIGN KEY (agent_id, user_id) REFERENCES agents (id, user_id)
);
-- Lists and statistics.
CREATE INDEX idx_call_records_user_id ON call_records (user_id, start_time DESC, id DESC)
  INCLUDE (agent_id, duration_seconds, hangup_reason, caller_app, channel);
CREATE INDEX idx_call_records_agent_id ON call_records (agent_id, start_time DESC, id DESC);
-- Retention.
CREATE INDEX idx_call_records_start_time ON call_records (start_time DESC);
CREATE INDEX idx_call_records_caller_phone
  ON call_records (user_id, caller_phone text_pattern_ops, start_time DESC);
CREATE INDEX idx_call_records_live ON call_records (user_id, status)
  WHERE status IN ('queued', 'dialing', 'ringing', 'answered');
CREATE INDEX idx_call_records_sip ON call_records (sip_call_id) WHERE sip_call_id IS NOT NULL;

-- Append-only; events of the account have neither call_id nor seq.
CREATE TABLE call_events (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  call_id uuid,
  seq integer,
  type text NOT NULL,
  at timestamptz NOT NULL,
  data jsonb NOT NULL DEFAULT '{}',
  node text,
  UNIQUE (call_id, seq),
  FOREIGN KEY (call_id, user_id) REFERENCES call_records (id, user_id) ON DELETE CASCADE
);
CREATE INDEX idx_call_events_user_at ON call_events (user_id, at DESC, id);

-- A marker: this closed local day is rolled up.
CREATE TABLE call_stats_days (
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  day date NOT NULL,
  computed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, day)
);
CREATE TABLE call_stats_daily (
  user_id uuid NOT NULL,
  day date NOT NULL,
  agent_id uuid NOT NULL,
  caller_app varchar(50) NOT NULL DEFAULT '',
  hangup_reason text NOT NULL DEFAULT '',
  calls integer NOT NULL,
  timed_calls integer NOT NULL,
  seconds bigint NOT NULL,
  PRIMARY KEY (user_id, day, agent_id, caller_app, hangup_reason),
  FOREIGN KEY (user_id, day) REFERENCES call_stats_days (user_id, day) ON DELETE CASCADE
);

-- A change to a record of a rolled-up day forgets that day, in the same transaction.
CREATE FUNCTION call_stats_forget() RETURNS trigger LANGUAGE plpgsql AS $f$ DECLARE r record; BEGIN
  FOR r IN SELECT DISTINCT v.user_id, (v.start_time AT TIME ZONE s.timezone)::date AS day
      FROM (VALUES (OLD.user_id, OLD.start_time), (NEW.user_id, NEW.start_time)) v(user_id, start_time)
      JOIN public.account_settings s USING (user_id) WHERE v.user_id IS NOT NULL LOOP
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(r.user_id::text || r.day::text, 0));
    DELETE FROM public.call_stats_days d WHERE d.user_id = r.user_id AND d.day = r.day;
  END LOOP;
  RETURN NULL;
END $f$;
CREATE TRIGGER call_stats_forget
  AFTER INSERT OR DELETE OR UPDATE OF agent_id, caller_app, start_time, duration_seconds, hangup_reason, channel
  ON call_records FOR EACH ROW EXECUTE FUNCTION call_stats_forget();

CREATE TABLE recordings (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  call_id uuid NOT NULL,
  status text NOT NULL CHECK (status IN ('active', 'ready', 'failed', 'expired')),
  uri text NOT NULL,
  format text NOT NULL DEFAULT 'wav',
  channels smallint NOT NULL DEFAULT 2,
  sample_rate integer NOT NULL DEFAULT 8000,
  duration_ms integer,
  bytes bigint,
  sha256 bytea,
  key_enc text,
  notice_at timestamptz,
  started_at timestamptz,
  truncated boolean NOT NULL DEFAULT false,
  expires_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (call_id, user_id) REFERENCES call_records (id, user_id) ON DELETE CASCADE
);
CREATE INDEX idx_recordings_call ON recordings (call_id);
CREATE INDEX idx_recordings_expiry ON recordings (expires_at) WHERE deleted_at IS NULL;

-- Down Migration

DROP TABLE recordings, call_stats_daily, call_stats_days, call_events, call_records;
DROP FUNCTION call_stats_forget();
DROP TYPE call_status, call_hangup_reason;
