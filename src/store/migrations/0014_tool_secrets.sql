-- The secrets that an account's tools are signed with.
-- Up Migration

CREATE TABLE tool_secrets (
  user_id uuid PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE,
  secret text NOT NULL,
  old_secret text,
  old_secret_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tool_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tool_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY "Users can manage own tool secrets" ON tool_secrets FOR ALL
  USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY "Callyard system tool secrets" ON tool_secrets FOR ALL TO callyard_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON tool_secrets TO callyard_app, callyard_system;

-- What a caller said in earlier calls to the same agent (memory_calls).
CREATE INDEX idx_call_records_memory ON call_records (user_id, agent_id, caller_phone, start_time DESC)
  WHERE summary IS NOT NULL;

-- Down Migration

DROP INDEX idx_call_records_memory;
DROP TABLE tool_secrets;
