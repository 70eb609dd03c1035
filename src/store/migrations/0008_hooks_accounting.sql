-- Webhooks, usage, consents, the audit log and answers kept for Idempotency-Key (contract 4.4).
-- Up Migration

-- secret and old_secret are sealed.
CREATE TABLE webhooks (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  url text NOT NULL,
  description varchar(255),
  events text[] NOT NULL DEFAULT '{*}',
  enabled boolean NOT NULL DEFAULT true,
  secret text NOT NULL,
  old_secret text,
  old_secret_until timestamptz,
  disabled_reason text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (id, user_id)
);

CREATE TABLE webhook_deliveries (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL,
  webhook_id uuid NOT NULL,
  event_id uuid NOT NULL,
  event_type text NOT NULL,
  payload jsonb NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead')),
  attempts smallint NOT NULL DEFAULT 0,
  next_attempt_at timestamptz,
  response_status smallint,
  response_ms integer,
  last_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  delivered_at timestamptz,
  UNIQUE (webhook_id, event_id),
  FOREIGN KEY (webhook_id, user_id) REFERENCES webhooks (id, user_id) ON DELETE CASCADE
);
CREATE INDEX idx_webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE status = 'pending';

-- day is a day of the account's time zone.
CREATE TABLE usage_daily (
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  day date NOT NULL,
  agent_id uuid NOT NULL,
  vendor text NOT NULL DEFAULT '',
  calls integer NOT NULL DEFAULT 0,
  answered integer NOT NULL DEFAULT 0,
  call_seconds bigint NOT NULL DEFAULT 0,
  stt_seconds numeric(14, 3) NOT NULL DEFAULT 0,
  tts_chars bigint NOT NULL DEFAULT 0,
  realtime_seconds numeric(14, 3) NOT NULL DEFAULT 0,
  llm_tokens_in bigint NOT NULL DEFAULT 0,
  llm_tokens_out bigint NOT NULL DEFAULT 0,
  cost numeric(14, 6) NOT NULL DEFAULT 0,
  currency char(3) NOT NULL DEFAULT 'CNY',
  PRIMARY KEY (user_id, day, agent_id, vendor, currency)
);

-- Append-only; the newest row per phone and kind wins.
CREATE TABLE consents (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  phone varchar(50) NOT NULL,
  kind text NOT NULL CHECK (kind IN ('recording', 'outbound', 'data')),
  granted boolean NOT NULL,
  source text NOT NULL,
  call_id uuid,
  evidence jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_consents_latest ON consents (user_id, phone, kind, created_at DESC);

-- Append-only.
CREATE TABLE audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  actor_role text NOT NULL,
  action text NOT NULL,
  target_type text,
  target_id text,
  request_id text,
  ip inet,
  changes jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX idx_audit_log_user_at ON audit_log (user_id, at DESC);

CREATE TABLE idempotency_keys (
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  route text NOT NULL,
  key varchar(255) NOT NULL,
  body_hash bytea NOT NULL,
  status smallint,
  response jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, route, key)
);
CREATE INDEX idx_idempotency_keys_created_at ON idempotency_keys (created_at);

-- Down Migration

DROP TABLE idempotency_keys, audit_log, consents, usage_daily, webhook_deliveries, webhooks;
