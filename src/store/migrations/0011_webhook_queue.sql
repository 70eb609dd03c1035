-- What the queue of webhook deliveries needs besides its rows (contract 2.8, 4.4).
-- Up Migration

-- Since when every attempt has failed; null after a success. Five days of it disable the hook.
ALTER TABLE webhooks ADD COLUMN failing_since timestamptz;
-- Nobody sees it any more; retention removes what was queued for it, batch by batch, and then the row.
ALTER TABLE webhooks ADD COLUMN deleted_at timestamptz;

-- The call and the place in it, both also in the payload: deliveries of one call go out in order, and go with its record.
ALTER TABLE webhook_deliveries ADD COLUMN call_id uuid, ADD COLUMN seq integer,
  ADD FOREIGN KEY (call_id, user_id) REFERENCES call_records (id, user_id) ON DELETE CASCADE;
CREATE INDEX idx_webhook_deliveries_call ON webhook_deliveries (call_id, webhook_id, seq) WHERE call_id IS NOT NULL;

-- The hooks that have something waiting are found one by one, and what each has due first.
CREATE INDEX idx_webhook_deliveries_waiting ON webhook_deliveries (webhook_id, next_attempt_at, created_at)
  WHERE status = 'pending';
-- Lists, newest first.
CREATE INDEX idx_webhook_deliveries_list ON webhook_deliveries (webhook_id, created_at DESC, id DESC);
-- Retention.
CREATE INDEX idx_webhook_deliveries_delivered ON webhook_deliveries (delivered_at) WHERE status = 'delivered';
CREATE INDEX idx_webhook_deliveries_left ON webhook_deliveries (user_id, created_at) WHERE status <> 'delivered';
CREATE INDEX idx_webhooks_user ON webhooks (user_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX idx_webhooks_deleted ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;

-- Down Migration

DROP INDEX idx_webhooks_deleted, idx_webhooks_user, idx_webhook_deliveries_left, idx_webhook_deliveries_delivered,
  idx_webhook_deliveries_list, idx_webhook_deliveries_waiting, idx_webhook_deliveries_call;
ALTER TABLE webhook_deliveries DROP COLUMN call_id, DROP COLUMN seq;
ALTER TABLE webhooks DROP COLUMN failing_since, DROP COLUMN deleted_at;
