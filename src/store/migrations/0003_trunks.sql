-- Trunks and numbers (contract 4.3). sip_configs.password is sealed (contract 4.6).
-- Up Migration

-- Used in priority order among the active rows.
CREATE TABLE sip_configs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  is_active boolean NOT NULL DEFAULT true,
  priority integer NOT NULL DEFAULT 100,
  carrier text NOT NULL DEFAULT 'generic',
  host varchar(255) NOT NULL,
  port integer NOT NULL DEFAULT 5060 CHECK (port BETWEEN 1 AND 65535),
  transport text NOT NULL DEFAULT 'udp' CHECK (transport IN ('udp', 'tcp', 'tls')),
  username varchar(255),
  password text,
  realm varchar(255),
  domain varchar(255),
  outbound_proxy varchar(255),
  register boolean NOT NULL DEFAULT false,
  register_interval_s integer NOT NULL DEFAULT 3600 CHECK (register_interval_s BETWEEN 60 AND 86400),
  local_host varchar(255),
  local_port integer,
  display_name varchar(255),
  from_number varchar(50),
  codecs text[] NOT NULL DEFAULT '{PCMA,PCMU}',
  dtmf_mode text NOT NULL DEFAULT 'rfc4733' CHECK (dtmf_mode IN ('rfc4733', 'info', 'inband')),
  max_calls integer NOT NULL DEFAULT 100,
  max_cps integer NOT NULL DEFAULT 10,
  source_ips cidr[] NOT NULL DEFAULT '{}',
  allow_prefixes text[] NOT NULL DEFAULT '{}',
  deny_prefixes text[] NOT NULL DEFAULT '{}',
  options jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (id, user_id),
  UNIQUE (user_id, name)
);

CREATE TABLE phone_numbers (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  number varchar(32) NOT NULL,
  label varchar(255),
  trunk_id uuid,
  carrier text NOT NULL DEFAULT 'manual',
  carrier_ref text,
  monthly_cost numeric(14, 6),
  currency char(3),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('pending', 'active', 'released')),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (trunk_id, user_id) REFERENCES sip_configs (id, user_id) ON DELETE SET NULL (trunk_id)
);
-- One account per number.
CREATE UNIQUE INDEX phone_numbers_owner ON phone_numbers (number) WHERE status <> 'released';

-- Down Migration

DROP TABLE phone_numbers, sip_configs;
