/** Accounts: the default one of an installation, and the settings of each. */
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Clock } from '#lib/clock.ts';
import type { Database, Sql } from './pool.ts';
import { StaleCache } from './stale-cache.ts';

/** What a new account starts with. */
export type AccountDefaults = {
  /** IANA name. */
  readonly timezone: string;
  readonly language: string;
  /** Digits without `+`; null = numbers are never completed. */
  readonly countryCode: string | null;
  readonly currency: string;
};

export type AccountSettings = AccountDefaults & {
  readonly answerDefault: 'agent' | 'ring' | 'reject';
  readonly maxConcurrentCalls: number;
  readonly recordingDefault: boolean;
  /** Recording only after a consent of the other side. */
  readonly requireConsent: boolean;
  /** Said before anything is recorded; null: nothing is. */
  readonly recordingNotice: string | null;
};

export type Accounts = {
  /** The account that owns what belongs to nobody else; made on first use. */
  ensureDefault(): Promise<Id>;
  /** Created with the installation's defaults on first use. Null when there is no such account. */
  settings(accountId: Id): Promise<AccountSettings | null>;
  /** After a change, so that it works on this node at once; other nodes follow within a second. */
  forgetSettings(accountId: Id): void;
};

type SettingsRow = {
  timezone: string;
  language: string;
  country_code: string | null;
  currency: string;
  answer_default: AccountSettings['answerDefault'];
  max_concurrent_calls: number;
  recording_default: boolean;
  require_consent: boolean;
  recording_notice: string | null;
};

export type AccountsOptions = {
  readonly database: Database;
  readonly adminEmail: string;
  readonly defaults: AccountDefaults;
  readonly log: Log;
  readonly clock?: Clock;
};

export function createAccounts(options: AccountsOptions): Accounts {
  const { database, adminEmail, defaults, log, clock } = options;
  const cache = new StaleCache<AccountSettings | null>({
    name: 'account settings',
    log,
    freshMs: 1_000,
    ...(clock === undefined ? {} : { clock }),
  });
  return {
    ensureDefault: () =>
      database.withSystem(async (sql) => {
        const id = await findOrMakeUser(sql, adminEmail);
        await makeSettings(sql, id, defaults);
        return id;
      }),
    settings: (accountId) =>
      cache.get(accountId, () =>
        database.withSystem((sql) => loadSettings(sql, accountId, defaults)),
      ),
    forgetSettings: (accountId) => cache.delete(accountId),
  };
}

/** Two nodes may start at once; auth.users of Supabase has no unique e-mail that ON CONFLICT could name. */
async function findOrMakeUser(sql: Sql, email: string): Promise<Id> {
  await sql.rows("SELECT pg_advisory_xact_lock(hashtextextended('callyard default account', 0))");
  const found = await sql.rows<{ id: Id }>(
    'SELECT id FROM auth.users WHERE lower(email) = lower($1) ORDER BY created_at, id LIMIT 1',
    [email],
  );
  if (found[0] !== undefined) return found[0].id;
  const made = await sql.rows<{ id: Id }>(
    'INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), $1) RETURNING id',
    [email],
  );
  return (made[0] as { id: Id }).id;
}

/** Does nothing where the account has settings already. */
export async function makeSettings(
  sql: Sql,
  accountId: Id,
  defaults: AccountDefaults,
): Promise<void> {
  await sql.run(
    `INSERT INTO account_settings (user_id, timezone, language, country_code, currency)
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO NOTHING`,
    [accountId, defaults.timezone, defaults.language, defaults.countryCode, defaults.currency],
  );
}

async function loadSettings(
  sql: Sql,
  accountId: Id,
  defaults: AccountDefaults,
): Promise<AccountSettings | null> {
  const known = await sql.rows('SELECT FROM auth.users WHERE id = $1', [accountId]);
  if (known.length === 0) return null;
  await makeSettings(sql, accountId, defaults);
  const [row] = await sql.rows<SettingsRow>(
    `SELECT timezone, language, country_code, currency, answer_default, max_concurrent_calls, recording_default,
            require_consent, recording_notice
       FROM account_settings WHERE user_id = $1`,
    [accountId],
  );
  if (row === undefined) return null;
  return {
    timezone: row.timezone,
    language: row.language,
    countryCode: row.country_code,
    currency: row.currency,
    answerDefault: row.answer_default,
    maxConcurrentCalls: row.max_concurrent_calls,
    recordingDefault: row.recording_default,
    requireConsent: row.require_consent,
    recordingNotice: row.recording_notice?.trim() || null,
  };
}
