-- Who sees which row (contract 4.5): callyard_app sees the account of the transaction, callyard_system sees all.
-- Up Migration

DO $do$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['account_settings', 'members', 'agents', 'squads', 'squad_members', 'agent_bindings',
    'call_records', 'call_events', 'call_stats_days', 'call_stats_daily', 'recordings', 'sip_configs',
    'phone_numbers', 'api_keys'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', 'Users can manage own ' || replace(t, '_', ' '), t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL USING (user_id = (SELECT auth.uid())) '
      'WITH CHECK (user_id = (SELECT auth.uid()))', 'Users can manage own ' || replace(t, '_', ' '), t);
    -- BYPASSRLS cannot be granted on hosted databases, so the system role works by policy.
    EXECUTE format('DROP POLICY IF EXISTS %I ON %I', 'Callyard system ' || replace(t, '_', ' '), t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO callyard_system USING (true) WITH CHECK (true)',
      'Callyard system ' || replace(t, '_', ' '), t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO callyard_app, callyard_system', t);
  END LOOP;
END $do$;
CREATE POLICY "Users can view own call records" ON call_records FOR SELECT USING (user_id = (SELECT auth.uid()));
CREATE POLICY "Members can view their memberships" ON members FOR SELECT USING (member_id = (SELECT auth.uid()));

-- Append-only for requests.
REVOKE UPDATE, DELETE ON call_events FROM callyard_app;

GRANT USAGE ON SCHEMA public TO callyard_app, callyard_system;
-- On Supabase these belong to another role and may not be ours to grant; then its own grants must do.
DO $do$ DECLARE statement text; BEGIN
  FOREACH statement IN ARRAY ARRAY[
    'GRANT USAGE ON SCHEMA auth TO callyard_app, callyard_system',
    'GRANT EXECUTE ON FUNCTION auth.uid() TO callyard_app, callyard_system',
    'GRANT SELECT ON auth.users TO callyard_app',
    'GRANT SELECT, INSERT, UPDATE, DELETE ON auth.users TO callyard_system'] LOOP
    BEGIN
      EXECUTE statement;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'callyard: not granted: %', statement;
    END;
  END LOOP;
END $do$;

-- Down Migration

DO $do$ DECLARE p record; BEGIN
  FOR p IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' AND tablename IN (
    'account_settings', 'members', 'agents', 'squads', 'squad_members', 'agent_bindings', 'call_records',
    'call_events', 'call_stats_days', 'call_stats_daily', 'recordings', 'sip_configs', 'phone_numbers', 'api_keys')
    AND (policyname LIKE 'Callyard system %' OR policyname LIKE 'Users can manage own %'
      OR policyname IN ('Users can view own call records', 'Members can view their memberships')) LOOP
    EXECUTE format('DROP POLICY %I ON %I', p.policyname, p.tablename);
    EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', p.tablename);
    EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', p.tablename);
  END LOOP;
END $do$;
