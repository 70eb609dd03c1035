-- Answer rules and the accounts at vendors (contract 4.3). Secrets are sealed (contract 4.6).
-- Up Migration

CREATE TABLE call_answer_rules (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  enabled boolean NOT NULL DEFAULT true,
  priority integer NOT NULL CHECK (priority BETWEEN 1 AND 10000),
  conditions jsonb NOT NULL,
  action jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_call_answer_rules_user_id ON call_answer_rules (user_id);
CREATE INDEX idx_call_answer_rules_priority ON call_answer_rules (user_id, priority, created_at, id) WHERE enabled;

-- access_key_secret is sealed.
CREATE TABLE aliyun_configs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  access_key_id varchar(255) NOT NULL,
  access_key_secret text NOT NULL,
  app_key varchar(255) NOT NULL,
  region text NOT NULL DEFAULT 'cn-shanghai',
  instance_id varchar(255),
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
-- Any number of inactive rows.
CREATE UNIQUE INDEX aliyun_configs_one_active ON aliyun_configs (user_id) WHERE is_active;

-- access_token and secret_key are sealed.
CREATE TABLE volcengine_configs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  app_id varchar(255) NOT NULL,
  access_token text NOT NULL,
  secret_key text,
  resource_id varchar(255) NOT NULL DEFAULT 'volc.speech.dialog',
  options jsonb NOT NULL DEFAULT '{}',
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX volcengine_configs_one_active ON volcengine_configs (user_id) WHERE is_active;

-- Every other vendor; credentials is sealed JSON.
CREATE TABLE provider_configs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('stt', 'llm', 'tts', 'realtime')),
  vendor varchar(64) NOT NULL,
  name varchar(255) NOT NULL,
  credentials text,
  options jsonb NOT NULL DEFAULT '{}',
  prices jsonb NOT NULL DEFAULT '{}',
  priority integer NOT NULL DEFAULT 100,
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, kind, name)
);

-- The one token that all nodes share for a vendor account; `token` is sealed. Its refresh holds an advisory lock.
CREATE TABLE vendor_tokens (
  config_id uuid PRIMARY KEY REFERENCES aliyun_configs (id) ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  token text,
  fetched_at timestamptz,
  expires_at timestamptz,
  refused_at timestamptz,
  refused_code text
);

-- Down Migration

DROP TABLE vendor_tokens, provider_configs, volcengine_configs, aliyun_configs, call_answer_rules;
