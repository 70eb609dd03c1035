/** What the rows of `recordings` mean, stated once for all who write and expire them. */

/**
 * When recording `r` expires: so many days after its end as the account's settings say now; null keeps it. An account
 * without settings keeps too.
 */
export const EXPIRES_AT = `(SELECT coalesce(r.started_at + make_interval(secs => coalesce(r.duration_ms, 0) / 1000.0), r.created_at)
    + make_interval(hours => 24 * s.retain_recordings_days)
  FROM account_settings s WHERE s.user_id = r.user_id)`;

/**
 * Destroys the keys of recordings `$1` (ids) at the time `$2`, which destroys their audio, and says so on their calls.
 * Their files are removed afterwards; `deleted_at` is null until then. Those still being written are left out.
 */
export const SHRED = `WITH shredded AS (
    UPDATE recordings SET key_enc = NULL, expires_at = least(expires_at, $2::timestamptz),
      status = CASE status WHEN 'failed' THEN 'failed' ELSE 'expired' END
     WHERE id = ANY ($1::uuid[]) AND status <> 'active' RETURNING id, user_id, call_id, uri, status),
  marked AS (
    UPDATE call_records c SET recording_status = 'expired', updated_at = now() FROM shredded s
     WHERE c.id = s.call_id AND c.user_id = s.user_id AND c.recording_id = s.id AND s.status = 'expired')
  SELECT id, uri FROM shredded`;

export type ShreddedRow = { readonly id: string; readonly uri: string };
