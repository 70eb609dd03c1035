/** The account at Aliyun and the one at Volcengine (contract 2.2): one active row each, secrets sealed, never read back. */
import type { Actor } from '#lib/actor.ts';
import { newId, type Id } from '#lib/ids.ts';
import { writeAudit } from './audit.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';
import { putToken } from './vendor-tokens.ts';

export type AliyunConfig = {
  readonly id: Id;
  /** First 4 + **** + last 4: the whole of it is for calls alone. */
  readonly accessKeyId: string;
  readonly appKey: string;
  readonly region: string;
  readonly instanceId: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type NewAliyunConfig = {
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  readonly appKey: string;
  readonly region: string;
  readonly instanceId: string | null;
};

export type VolcengineConfig = {
  readonly id: Id;
  readonly appId: string;
  readonly hasSecretKey: boolean;
  readonly resourceId: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type NewVolcengineConfig = {
  readonly appId: string;
  readonly accessToken: string;
  readonly secretKey: string | null;
  /** Null: the default of the table. */
  readonly resourceId: string | null;
  readonly options: Readonly<Record<string, unknown>>;
};

/** A token that was fetched to try the account out; it becomes the first one that all nodes share. */
export type FirstToken = {
  readonly token: string;
  readonly fetchedAtMs: number;
  readonly expiresAtMs: number;
};

/** Errors throughout: E_DATABASE*. */
export type SpeechConfigs = {
  aliyun(actor: Actor): Promise<AliyunConfig | null>;
  /** Replaces the active row and drops its token, in one transaction. */
  saveAliyun(
    actor: Actor,
    wanted: NewAliyunConfig,
    token: FirstToken | null,
  ): Promise<AliyunConfig>;
  /** False when none is active. */
  endAliyun(actor: Actor): Promise<boolean>;
  volcengine(actor: Actor): Promise<VolcengineConfig | null>;
  saveVolcengine(actor: Actor, wanted: NewVolcengineConfig): Promise<VolcengineConfig>;
  endVolcengine(actor: Actor): Promise<boolean>;
};

export type SpeechConfigsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  /** Told after every change. */
  readonly onChange: (accountId: Id) => void;
};

type AliyunRow = {
  id: Id;
  access_key_id: string;
  app_key: string;
  region: string;
  instance_id: string | null;
  created_at: Date;
  updated_at: Date;
};

type VolcengineRow = {
  id: Id;
  app_id: string;
  has_secret_key: boolean;
  resource_id: string;
  options: Record<string, unknown>;
  created_at: Date;
  updated_at: Date;
};

const ALIYUN_COLUMNS =
  'id, access_key_id, app_key, region, instance_id, created_at, updated_at' as const;
const VOLCENGINE_COLUMNS =
  'id, app_id, secret_key IS NOT NULL AS has_secret_key, resource_id, options, created_at, updated_at' as const;

export function createSpeechConfigs(options: SpeechConfigsOptions): SpeechConfigs {
  const { database, sealer, onChange } = options;
  const change = async <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> => {
    const result = await database.withAccount(actor.accountId, actor.name, work);
    onChange(actor.accountId);
    return result;
  };
  const read = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    aliyun: (actor) =>
      read(actor, async (sql) => {
        const [row] = await sql.rows<AliyunRow>(
          `SELECT ${ALIYUN_COLUMNS} FROM aliyun_configs WHERE user_id = $1 AND is_active`,
          [actor.accountId],
        );
        return row === undefined ? null : aliyunOf(row);
      }),
    saveAliyun: (actor, wanted, token) =>
      change(actor, async (sql) => {
        await endActive(sql, 'aliyun_configs', actor);
        const row = await insertAliyun(sql, sealer, actor.accountId, wanted);
        if (token !== null) {
          const owner = { id: row.id, accountId: actor.accountId };
          await putToken(sql, sealer, owner, { ...token, refusedAtMs: null, refusedCode: null });
        }
        const accessKeyId = shownKeyId(wanted.accessKeyId);
        await audit(sql, actor, 'aliyun_config.save', row.id, { ...wanted, accessKeyId });
        return aliyunOf(row);
      }),
    endAliyun: (actor) =>
      change(actor, (sql) => endAudited(sql, 'aliyun_configs', 'aliyun_config.delete', actor)),
    volcengine: (actor) =>
      read(actor, async (sql) => {
        const [row] = await sql.rows<VolcengineRow>(
          `SELECT ${VOLCENGINE_COLUMNS} FROM volcengine_configs WHERE user_id = $1 AND is_active`,
          [actor.accountId],
        );
        return row === undefined ? null : volcengineOf(row);
      }),
    saveVolcengine: (actor, wanted) =>
      change(actor, async (sql) => {
        await endActive(sql, 'volcengine_configs', actor);
        const row = await insertVolcengine(sql, sealer, actor.accountId, wanted);
        await audit(sql, actor, 'volcengine_config.save', row.id, { ...wanted });
        return volcengineOf(row);
      }),
    endVolcengine: (actor) =>
      change(actor, (sql) =>
        endAudited(sql, 'volcengine_configs', 'volcengine_config.delete', actor),
      ),
  };
}

type SpeechTable = 'aliyun_configs' | 'volcengine_configs';

/** Ids of the rows that were active. One save at a time for each account: two at once would meet at the unique index. */
async function endActive(sql: Sql, table: SpeechTable, { accountId }: Actor): Promise<Id[]> {
  await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `callyard ${table} ${accountId}`,
  ]);
  const ended = await sql.rows<{ id: Id }>(
    `UPDATE ${table} SET is_active = false, updated_at = now() WHERE user_id = $1 AND is_active RETURNING id`,
    [accountId],
  );
  const ids = ended.map(({ id }) => id);
  if (table === 'aliyun_configs' && ids.length > 0) {
    await sql.run('DELETE FROM vendor_tokens WHERE config_id = ANY ($1::uuid[])', [ids]);
  }
  return ids;
}

async function endAudited(
  sql: Sql,
  table: SpeechTable,
  action: string,
  actor: Actor,
): Promise<boolean> {
  const ids = await endActive(sql, table, actor);
  for (const id of ids) await audit(sql, actor, action, id, {});
  return ids.length > 0;
}

async function insertAliyun(
  sql: Sql,
  sealer: Sealer,
  accountId: Id,
  wanted: NewAliyunConfig,
): Promise<AliyunRow> {
  const id = newId();
  const place = {
    ...{ table: 'aliyun_configs', column: 'access_key_secret' },
    ...{ accountId, rowId: id },
  };
  const rows = await sql.rows<AliyunRow>(
    `INSERT INTO aliyun_configs (id, user_id, access_key_id, access_key_secret, app_key, region, instance_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${ALIYUN_COLUMNS}`,
    [
      ...[id, accountId, wanted.accessKeyId, sealer.seal(wanted.accessKeySecret, place)],
      ...[wanted.appKey, wanted.region, wanted.instanceId],
    ],
  );
  return rows[0] as AliyunRow;
}

async function insertVolcengine(
  sql: Sql,
  sealer: Sealer,
  accountId: Id,
  wanted: NewVolcengineConfig,
): Promise<VolcengineRow> {
  const id = newId();
  const seal = (column: string, text: string): string =>
    sealer.seal(text, { table: 'volcengine_configs', column, accountId, rowId: id });
  const rows = await sql.rows<VolcengineRow>(
    `INSERT INTO volcengine_configs (id, user_id, app_id, access_token, secret_key, resource_id, options)
     VALUES ($1, $2, $3, $4, $5, coalesce($6, 'volc.speech.dialog'), $7) RETURNING ${VOLCENGINE_COLUMNS}`,
    [
      ...[id, accountId, wanted.appId, seal('access_token', wanted.accessToken)],
      wanted.secretKey === null ? null : seal('secret_key', wanted.secretKey),
      ...[wanted.resourceId, JSON.stringify(wanted.options)],
    ],
  );
  return rows[0] as VolcengineRow;
}

/** The log must not even hold secrets in the names of their fields: they are replaced here already. */
function audit(
  sql: Sql,
  actor: Actor,
  action: string,
  targetId: Id,
  changes: Readonly<Record<string, unknown>>,
): Promise<void> {
  const secret = /^(?:accessKeySecret|accessToken|secretKey)$/;
  const hidden = Object.entries(changes).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    secret.test(name) && value !== null ? '***' : value,
  ]);
  const entry = { action, targetType: action.split('.')[0] ?? action, targetId };
  return writeAudit(sql, actor, { ...entry, changes: Object.fromEntries(hidden) });
}

/** Of a short one nothing is shown, or both ends would be the whole of it. */
export function shownKeyId(accessKeyId: string): string {
  if (accessKeyId.length <= 8) return '****';
  return `${accessKeyId.slice(0, 4)}****${accessKeyId.slice(-4)}`;
}

function aliyunOf(row: AliyunRow): AliyunConfig {
  return {
    id: row.id,
    accessKeyId: shownKeyId(row.access_key_id),
    appKey: row.app_key,
    region: row.region,
    instanceId: row.instance_id,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function volcengineOf(row: VolcengineRow): VolcengineConfig {
  return {
    id: row.id,
    appId: row.app_id,
    hasSecretKey: row.has_secret_key,
    resourceId: row.resource_id,
    options: row.options,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
