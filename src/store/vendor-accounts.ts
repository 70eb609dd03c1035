/**
 * The accounts at every vendor as one: `aliyun_configs`, `volcengine_configs` and `provider_configs` read alike. Writing
 * is in speech-configs.ts and provider-configs.ts.
 */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';
import { StaleCache } from './stale-cache.ts';

/** `speech`: one account for everything the vendor offers (Aliyun, Volcengine). */
export type VendorKind = 'stt' | 'llm' | 'tts' | 'realtime' | 'speech';

export type VendorAccount = {
  readonly id: Id;
  readonly accountId: Id;
  readonly kind: VendorKind;
  readonly vendor: string;
  readonly name: string;
  /** Opened; null when they were sealed with a master key that this node does not have, or are damaged. */
  readonly credentials: Readonly<Record<string, string>> | null;
  readonly options: Readonly<Record<string, unknown>>;
  readonly prices: Readonly<Record<string, unknown>>;
  /** Of the account that owns it: prices that name none are in it. */
  readonly currency: string;
  /** The lowest is used first. */
  readonly priority: number;
};

/** The active Aliyun account with what its tokens need; the same shape as sessions/vendor-tokens.ts states. */
export type AliyunAccount = {
  readonly id: Id;
  readonly accountId: Id;
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  readonly appKey: string;
  readonly region: string;
};

export type VendorAccounts = {
  /** The active ones by priority, at most 1 s old; older while the database is away. Errors: E_DATABASE*. */
  forCalls(accountId: Id): Promise<readonly VendorAccount[]>;
  /** Null without an active one. Errors: E_DATABASE*; E_CONFIG when its secret does not open. */
  aliyun(accountId: Id): Promise<AliyunAccount | null>;
  /** One account, active or not, as stored now; null when there is none. Errors: E_DATABASE*. */
  byId(accountId: Id, id: Id): Promise<VendorAccount | null>;
  /** What was read is read again: something was written. */
  forget(accountId: Id): void;
};

export type VendorAccountsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly log: Log;
  readonly clock?: Clock;
};

/** Secrets by name, sealed, with the column that each stands in. */
type SealedText = { readonly column: string; readonly text: string | null };
type AccountRow = Omit<VendorAccount, 'credentials' | 'accountId'> & {
  readonly user_id: Id;
  readonly table: string;
  readonly plain: Readonly<Record<string, string>>;
  readonly sealed: readonly SealedText[];
};

const FRESH_MS = 1_000;
const MAX_ROWS = 500;

/** The three tables in one shape; `$1` is the account. */
const ROWS = `
  SELECT id, user_id, 'aliyun_configs' AS "table", 'speech' AS kind, 'aliyun' AS vendor, 'Aliyun' AS name, is_active,
         jsonb_build_object('access_key_id', access_key_id) AS plain,
         jsonb_build_array(jsonb_build_object('column', 'access_key_secret', 'text', access_key_secret)) AS sealed,
         jsonb_build_object('app_key', app_key, 'region', region, 'instance_id', instance_id) AS options,
         '{}'::jsonb AS prices, 100 AS priority, created_at
    FROM aliyun_configs WHERE user_id = $1
  UNION ALL
  SELECT id, user_id, 'volcengine_configs', 'speech', 'volcengine', 'Volcengine', is_active,
         jsonb_build_object('app_id', app_id),
         jsonb_build_array(jsonb_build_object('column', 'access_token', 'text', access_token),
                           jsonb_build_object('column', 'secret_key', 'text', secret_key)),
         options || jsonb_build_object('resource_id', resource_id), '{}'::jsonb, 100, created_at
    FROM volcengine_configs WHERE user_id = $1
  UNION ALL
  SELECT id, user_id, 'provider_configs', kind, vendor, name, is_active, '{}'::jsonb,
         jsonb_build_array(jsonb_build_object('column', 'credentials', 'text', credentials)),
         options, prices, priority, created_at
    FROM provider_configs WHERE user_id = $1`;

export function createVendorAccounts(options: VendorAccountsOptions): VendorAccounts {
  const { database, log, clock } = options;
  const cache = new StaleCache<readonly VendorAccount[]>({
    ...{ name: 'vendor accounts', log, freshMs: FRESH_MS },
    ...(clock === undefined ? {} : { clock }),
  });
  const read = async (
    sql: Sql,
    accountId: Id,
    where: string,
    ...values: unknown[]
  ): Promise<VendorAccount[]> => {
    const rows = await sql.rows<AccountRow>(
      `SELECT *, coalesce((SELECT s.currency FROM account_settings s WHERE s.user_id = a.user_id), 'CNY') AS currency
         FROM (${ROWS}) a WHERE ${where} ORDER BY priority, created_at, id LIMIT ${MAX_ROWS}`,
      [accountId, ...values],
    );
    return rows.map((row) => accountOf(row, options));
  };
  const forCalls = (accountId: Id): Promise<readonly VendorAccount[]> =>
    cache.get(accountId, () => database.withSystem((sql) => read(sql, accountId, 'is_active')));
  return {
    forCalls,
    aliyun: async (accountId) => {
      const found = (await forCalls(accountId)).find(
        (account) => account.vendor === 'aliyun' && account.kind === 'speech',
      );
      return found === undefined ? null : aliyunOf(found);
    },
    byId: (accountId, id) =>
      database.withAccount(accountId, 'vendor-accounts', async (sql) => {
        const [found] = await read(sql, accountId, 'id = $2', id);
        return found ?? null;
      }),
    forget: (accountId) => cache.delete(accountId),
  };
}

function accountOf(row: AccountRow, options: VendorAccountsOptions): VendorAccount {
  const { id, kind, vendor, name, prices, currency, priority } = row;
  return {
    ...{ id, accountId: row.user_id, kind, vendor, name, prices, currency, priority },
    options: row.options,
    credentials: openAll(row, options),
  };
}

function openAll(
  row: AccountRow,
  { sealer, log }: VendorAccountsOptions,
): Record<string, string> | null {
  const opened: Record<string, string> = { ...row.plain };
  try {
    for (const { column, text } of row.sealed) {
      if (text === null) continue;
      const place = { table: row.table, column, accountId: row.user_id, rowId: row.id };
      const secret = sealer.open(text, place);
      // One column holds all secrets of a provider, as JSON by name.
      if (column === 'credentials') Object.assign(opened, JSON.parse(secret));
      else opened[column] = secret;
    }
    return opened;
  } catch (error) {
    log.error('vendorAccount.unreadable', { table: row.table, id: row.id, error });
    return null;
  }
}

function aliyunOf({ id, accountId, credentials, options }: VendorAccount): AliyunAccount {
  if (credentials === null) {
    throw new AppError(
      'E_CONFIG',
      'the secret of the Aliyun account cannot be opened; save the account again, or set the master key it was sealed with',
    );
  }
  return {
    ...{ id, accountId },
    accessKeyId: credentials['access_key_id'] ?? '',
    accessKeySecret: credentials['access_key_secret'] ?? '',
    appKey: options['app_key'] as string,
    region: options['region'] as string,
  };
}
