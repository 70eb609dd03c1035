-- Identity, settings, agents and bindings (contract 4.1), and the two roles every query runs under (contract 4).
-- Up Migration

-- Roles belong to the whole server: another Callyard database may have made them already, or be making them now.
DO $do$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY ARRAY['callyard_app', 'callyard_system'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', r);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
  END LOOP;
END $do$;

-- Object by object: Supabase has all of these already, and its owner may not create in that schema.
DO $do$ BEGIN
  IF to_regnamespace('auth') IS NULL THEN
    CREATE SCHEMA auth;
  END IF;
  IF to_regclass('auth.users') IS NULL THEN
    CREATE TABLE auth.users (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      email text UNIQUE,
      encrypted_password text,
      created_at timestamptz NOT NULL DEFAULT now()
    );
  END IF;
  IF to_regprocedure('auth.uid()') IS NULL THEN
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $f$
      SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $f$;
  END IF;
END $do$;

-- One row per account, created with the installation's defaults on first use.
CREATE TABLE account_settings (
  user_id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
  timezone text NOT NULL DEFAULT 'Asia/Shanghai',
  language text NOT NULL DEFAULT 'zh-CN',
  country_code varchar(4),
  currency char(3) NOT NULL DEFAULT 'CNY',
  answer_default text NOT NULL DEFAULT 'agent' CHECK (answer_default IN ('agent', 'ring', 'reject')),
  holidays jsonb NOT NULL DEFAULT '[]',
  max_concurrent_calls integer NOT NULL DEFAULT 100,
  recording_default boolean NOT NULL DEFAULT false,
  recording_notice text,
  require_consent boolean NOT NULL DEFAULT false,
  retain_records_days integer,
  retain_recordings_days integer DEFAULT 180,
  retain_events_days integer DEFAULT 90,
  retain_audit_days integer DEFAULT 730,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- user_id is the account, member_id a person allowed into it.
CREATE TABLE members (
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  member_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  role text NOT NULL CHECK (role IN ('admin', 'developer', 'supervisor', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, member_id),
  CHECK (user_id <> member_id)
);

-- config is the Agent shape of contract 2.3 without id, name and times. An existing table only gains what it lacks.
CREATE TABLE IF NOT EXISTS agents (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  config jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  UNIQUE (id, user_id)
);
ALTER TABLE agents
  ADD COLUMN IF NOT EXISTS config jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN IF NOT EXISTS deleted_at timestamptz;
DO $do$ BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_constraint c
    WHERE c.conrelid = 'agents'::regclass AND c.contype IN ('u', 'p')
      AND (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a
           WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)) = ARRAY['id', 'user_id']::name[]
  ) THEN
    ALTER TABLE agents ADD CONSTRAINT agents_id_user_id_key UNIQUE (id, user_id);
  END IF;
END $do$;

CREATE TABLE squads (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  name varchar(255) NOT NULL,
  transfers jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  UNIQUE (id, user_id)
);

-- References between tenant tables carry user_id: foreign keys do not pass row-level security.
CREATE TABLE squad_members (
  squad_id uuid NOT NULL,
  agent_id uuid NOT NULL,
  user_id uuid NOT NULL,
  role text NOT NULL CHECK (role IN ('primary', 'secondary', 'specialist')),
  skills text[] NOT NULL DEFAULT '{}',
  priority integer NOT NULL DEFAULT 1 CHECK (priority BETWEEN 1 AND 100),
  PRIMARY KEY (squad_id, agent_id),
  FOREIGN KEY (squad_id, user_id) REFERENCES squads (id, user_id) ON DELETE CASCADE,
  FOREIGN KEY (agent_id, user_id) REFERENCES agents (id, user_id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX squad_members_one_primary ON squad_members (squad_id) WHERE role = 'primary';

CREATE TABLE agent_bindings (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('number', 'app', 'trunk', 'default')),
  value text NOT NULL DEFAULT '',
  agent_id uuid,
  squad_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, kind, value),
  CHECK ((kind = 'default') = (value = '')),
  CHECK (num_nonnulls(agent_id, squad_id) = 1),
  FOREIGN KEY (agent_id, user_id) REFERENCES agents (id, user_id) ON DELETE CASCADE,
  FOREIGN KEY (squad_id, user_id) REFERENCES squads (id, user_id) ON DELETE CASCADE
);

-- Down Migration

-- auth.*, agents and the roles stay: they may have been there before, or serve another database.
DROP TABLE agent_bindings, squad_members, squads, members, account_settings;
