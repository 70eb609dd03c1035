-- Contacts, extensions and campaigns (contract 4.4). extensions.password is sealed.
-- Up Migration

CREATE TABLE contacts (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  phone varchar(50) NOT NULL,
  email varchar(255),
  company varchar(255),
  tags text[] NOT NULL DEFAULT '{}',
  note text,
  attributes jsonb NOT NULL DEFAULT '{}',
  do_not_call boolean NOT NULL DEFAULT false,
  last_call_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, phone)
);

CREATE TABLE extensions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  extension varchar(16) NOT NULL,
  name varchar(255) NOT NULL,
  kind text NOT NULL CHECK (kind IN ('sip', 'number', 'agent')),
  target varchar(255),
  agent_id uuid,
  password text,
  department varchar(255),
  enabled boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, extension),
  FOREIGN KEY (agent_id, user_id) REFERENCES agents (id, user_id)
);

CREATE TABLE campaigns (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  agent_id uuid NOT NULL,
  trunk_id uuid,
  from_number varchar(50),
  status text NOT NULL DEFAULT 'draft'
    CHECK (status IN ('draft', 'scheduled', 'running', 'paused', 'completed', 'cancelled')),
  pause_reason text,
  schedule jsonb NOT NULL DEFAULT '{}',
  settings jsonb NOT NULL DEFAULT '{}',
  started_at timestamptz,
  finished_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (id, user_id),
  FOREIGN KEY (agent_id, user_id) REFERENCES agents (id, user_id),
  FOREIGN KEY (trunk_id, user_id) REFERENCES sip_configs (id, user_id) ON DELETE SET NULL (trunk_id)
);

CREATE TABLE campaign_targets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL,
  campaign_id uuid NOT NULL,
  phone varchar(50) NOT NULL,
  name varchar(255),
  variables jsonb NOT NULL DEFAULT '{}',
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'dialing', 'done', 'failed', 'skipped')),
  attempts smallint NOT NULL DEFAULT 0,
  next_attempt_at timestamptz,
  last_call_id uuid,
  last_outcome text,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (campaign_id, phone),
  FOREIGN KEY (campaign_id, user_id) REFERENCES campaigns (id, user_id) ON DELETE CASCADE
);
CREATE INDEX idx_campaign_targets_due ON campaign_targets (campaign_id, next_attempt_at) WHERE status = 'pending';

-- Down Migration

DROP TABLE campaign_targets, campaigns, extensions, contacts;
