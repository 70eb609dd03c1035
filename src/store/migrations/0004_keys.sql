-- API keys (contract 4.4). The key itself is never stored, only its SHA-256.
-- Up Migration

CREATE TABLE api_keys (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  prefix char(8) NOT NULL UNIQUE,
  key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
  role text NOT NULL CHECK (role IN ('admin', 'developer', 'supervisor', 'viewer')),
  agent_ids uuid[],
  ip_allow cidr[],
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  replaced_by uuid,
  created_by uuid,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Down Migration

DROP TABLE api_keys;
