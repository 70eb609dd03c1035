-- Row-level security of the tables since 0006 (contract 4.5).
-- Up Migration

DO $do$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['call_answer_rules', 'aliyun_configs', 'volcengine_configs', 'provider_configs',
    'vendor_tokens', 'contacts', 'extensions', 'campaigns', 'campaign_targets', 'webhooks', 'webhook_deliveries',
    'usage_daily', 'consents', 'audit_log', 'idempotency_keys'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL USING (user_id = (SELECT auth.uid())) '
      'WITH CHECK (user_id = (SELECT auth.uid()))', 'Users can manage own ' || replace(t, '_', ' '), t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL TO callyard_system USING (true) WITH CHECK (true)',
      'Callyard system ' || replace(t, '_', ' '), t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO callyard_app, callyard_system', t);
  END LOOP;
END $do$;

-- Append-only for requests; retention works as callyard_system.
REVOKE UPDATE, DELETE ON consents, audit_log FROM callyard_app;

-- Down Migration

DO $do$ DECLARE p record; BEGIN
  FOR p IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' AND tablename IN (
    'call_answer_rules', 'aliyun_configs', 'volcengine_configs', 'provider_configs', 'vendor_tokens', 'contacts',
    'extensions', 'campaigns', 'campaign_targets', 'webhooks', 'webhook_deliveries', 'usage_daily', 'consents',
    'audit_log', 'idempotency_keys')
    AND (policyname LIKE 'Callyard system %' OR policyname LIKE 'Users can manage own %') LOOP
    EXECUTE format('DROP POLICY %I ON %I', p.policyname, p.tablename);
    EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', p.tablename);
    EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', p.tablename);
  END LOOP;
END $do$;
