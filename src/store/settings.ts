/** The settings of an account as its people see and change them (contract 2.8, columns of `account_settings`). */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import { makeSettings, type AccountDefaults, type Accounts } from './accounts.ts';
import { writeAudit } from './audit.ts';
import type { Database, Sql } from './pool.ts';
import { sqlStateOf } from './sql-errors.ts';

export type Holiday = {
  /** `YYYY-MM-DD` in the account's time zone. */
  readonly date: string;
  /** `work`: a day that is worked although the week says otherwise. */
  readonly kind: 'off' | 'work';
  readonly name?: string;
};

/** By column name. */
export type SettingsColumns = {
  readonly timezone: string;
  readonly language: string;
  readonly country_code: string | null;
  readonly currency: string;
  readonly answer_default: 'agent' | 'ring' | 'reject';
  readonly holidays: readonly Holiday[];
  readonly max_concurrent_calls: number;
  readonly recording_default: boolean;
  readonly recording_notice: string | null;
  readonly require_consent: boolean;
  /** Null = kept for ever, like the three below. */
  readonly retain_records_days: number | null;
  readonly retain_recordings_days: number | null;
  readonly retain_events_days: number | null;
  readonly retain_audit_days: number | null;
};

export type SettingsRow = SettingsColumns & { readonly user_id: Id; readonly updated_at: Date };

export type Settings = {
  /** Made with the installation's defaults on first use. */
  get(actor: Actor): Promise<SettingsRow>;
  /** `timezone` when the database does not know that zone. */
  change(actor: Actor, changes: Partial<SettingsColumns>): Promise<SettingsRow | 'timezone'>;
};

export type SettingsOptions = {
  readonly database: Database;
  readonly accounts: Pick<Accounts, 'forgetSettings'>;
  readonly defaults: AccountDefaults;
};

const COLUMNS = [
  ...['timezone', 'language', 'country_code', 'currency', 'answer_default', 'holidays'],
  ...['max_concurrent_calls', 'recording_default', 'recording_notice', 'require_consent'],
  ...['retain_records_days', 'retain_recordings_days', 'retain_events_days', 'retain_audit_days'],
] as const satisfies readonly (keyof SettingsColumns)[];

export function createSettings({ database, accounts, defaults }: SettingsOptions): Settings {
  const within = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    get: (actor) =>
      within(actor, async (sql) => {
        const known = await read(sql, actor.accountId);
        if (known !== undefined) return known;
        await makeSettings(sql, actor.accountId, defaults);
        return (await read(sql, actor.accountId)) as SettingsRow;
      }),
    async change(actor, changes) {
      if (changes.timezone !== undefined && !(await knowsZone(database, actor, changes.timezone))) {
        return 'timezone';
      }
      const row = await within(actor, (sql) => change(sql, actor, changes, defaults));
      accounts.forgetSettings(actor.accountId);
      return row;
    },
  };
}

async function change(
  sql: Sql,
  actor: Actor,
  changes: Partial<SettingsColumns>,
  defaults: AccountDefaults,
): Promise<SettingsRow> {
  const { accountId } = actor;
  await makeSettings(sql, accountId, defaults);
  const before = (await read(sql, accountId, 'FOR UPDATE')) as SettingsRow;
  const changed = COLUMNS.filter(
    (name) => changes[name] !== undefined && !isSame(changes[name], before[name]),
  );
  if (changed.length === 0) return before;
  const places = changed.map((name, index) => `${name} = $${index + 2}`);
  const values = changed.map((name) =>
    name === 'holidays' ? JSON.stringify(changes.holidays) : changes[name],
  );
  await sql.run(
    `UPDATE account_settings SET ${places.join(', ')}, updated_at = now() WHERE user_id = $1`,
    [accountId, ...values],
  );
  // Rolled-up days begin and end at the old zone's midnights.
  if (changed.includes('timezone')) {
    await sql.run('DELETE FROM call_stats_days WHERE user_id = $1', [accountId]);
  }
  await writeAudit(sql, actor, {
    ...{ action: 'settings.update', targetType: 'settings', targetId: accountId },
    changes: Object.fromEntries(
      changed.map((name) => [name, { from: before[name], to: changes[name] }]),
    ),
  });
  return (await read(sql, accountId)) as SettingsRow;
}

async function read(sql: Sql, accountId: Id, lock = ''): Promise<SettingsRow | undefined> {
  const [row] = await sql.rows<SettingsRow>(
    `SELECT user_id, ${COLUMNS.join(', ')}, updated_at FROM account_settings WHERE user_id = $1 ${lock}`,
    [accountId],
  );
  return row;
}

/** Statistics are made by the database, whose list of zones is not Node's. */
async function knowsZone(database: Database, actor: Actor, timezone: string): Promise<boolean> {
  try {
    await database.withAccount(actor.accountId, actor.name, (sql) =>
      sql.rows('SELECT now() AT TIME ZONE $1', [timezone]),
    );
    return true;
  } catch (error) {
    if (sqlStateOf(error) === '22023') return false;
    throw error;
  }
}

/** jsonb gives the keys of an object back in another order. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
