/** Rewraps every sealed value under the present master key (contract 4.6), in batches that any reader may cross. */
import { backoffMs } from '#lib/backoff.ts';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';

export type SealedColumn = {
  readonly table: string;
  readonly column: string;
  /** SQL for what the value is bound to as its row, and its type: the order in which the rows are gone through. */
  readonly rowId: string;
  readonly idType: 'uuid' | 'text';
  /** SQL for the sealed text, when it is not the column itself, and for the column's value with a new one (`n.text`). */
  readonly text?: string;
  readonly value?: string;
};

const byId = (table: string, column: string, rowId = 'id'): SealedColumn => ({
  ...{ table, column, rowId, idType: 'uuid' },
});

/** Every sealed column there is; a unit test holds this list against the code that seals. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  byId('aliyun_configs', 'access_key_secret'),
  byId('volcengine_configs', 'access_token'),
  byId('volcengine_configs', 'secret_key'),
  byId('provider_configs', 'credentials'),
  byId('vendor_tokens', 'token', 'config_id'),
  byId('sip_configs', 'password'),
  byId('extensions', 'password'),
  byId('webhooks', 'secret'),
  byId('webhooks', 'old_secret'),
  byId('tool_secrets', 'secret', 'user_id'),
  byId('tool_secrets', 'old_secret', 'user_id'),
  byId('recordings', 'key_enc'),
  // The same digest as idempotency.ts makes.
  {
    ...{ table: 'idempotency_keys', column: 'response', idType: 'text' },
    rowId: `encode(sha256(convert_to(route, 'UTF8') || '\\x00'::bytea || convert_to(key, 'UTF8')), 'hex')`,
    text: `response ->> 'sealed'`,
    value: `jsonb_build_object('sealed', n.text)`,
  },
];

export type Rewrapped = {
  readonly table: string;
  readonly column: string;
  readonly rewrapped: number;
  /** Values that no known key opens, or that are damaged. They stay as they are. */
  readonly failed: number;
};

export type RewrapOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly log: Log;
  readonly batchSize?: number;
  /** Between two batches, so that a stop does not wait for a million rows. */
  readonly signal?: AbortSignal;
  readonly columns?: readonly SealedColumn[];
};

const BATCH = 200;
const BEFORE_ALL = { uuid: '00000000-0000-0000-0000-000000000000', text: '' } as const;

/** Safe to repeat, and to cut short anywhere. Errors: E_DATABASE*. */
export async function rewrapAll(options: RewrapOptions): Promise<Rewrapped[]> {
  const results: Rewrapped[] = [];
  for (const column of options.columns ?? SEALED_COLUMNS) {
    results.push(await rewrapColumn(column, options));
  }
  return results;
}

async function rewrapColumn(place: SealedColumn, options: RewrapOptions): Promise<Rewrapped> {
  const { table, column } = place;
  let after: Id | null = BEFORE_ALL[place.idType];
  let rewrapped = 0;
  let failed = 0;
  while (after !== null && options.signal?.aborted !== true) {
    const from: Id = after;
    const batch: Batch = await options.database.withSystem((sql) =>
      rewrapBatch(sql, place, from, options),
    );
    after = batch.last;
    rewrapped += batch.rewrapped;
    failed += batch.failed;
  }
  return { table, column, rewrapped, failed };
}

type Batch = { readonly last: Id | null; readonly rewrapped: number; readonly failed: number };

type SealedRow = { readonly id: Id; readonly user_id: Id; readonly text: string };

async function rewrapBatch(
  sql: Sql,
  place: SealedColumn,
  after: Id,
  { sealer, log, batchSize = BATCH }: RewrapOptions,
): Promise<Batch> {
  const { table, column, rowId, idType } = place;
  const rows = await sql.rows<SealedRow>(
    `SELECT ${rowId} AS id, user_id, ${textOf(place)} AS text FROM ${table}
      WHERE ${rowId} > $1::${idType} AND ${isOld(place)} ORDER BY ${rowId} LIMIT $3`,
    [after, sealer.keyId, batchSize],
  );
  const done: { id: Id; old: string; text: string }[] = [];
  for (const { id, user_id: accountId, text } of rows) {
    try {
      const fresh = sealer.rewrap(text, { table, column, accountId, rowId: id });
      if (fresh !== null) done.push({ id, old: text, text: fresh });
    } catch (error) {
      log.error('masterKey.notRewrapped', { table, column, id, error });
    }
  }
  const rewrapped = done.length === 0 ? 0 : await writeBack(sql, place, done);
  const last = rows.length < batchSize ? null : (rows.at(-1)?.id ?? null);
  return { last, rewrapped, failed: rows.length - done.length };
}

/** A value that was changed meanwhile is sealed anew already, and is left alone. */
function writeBack(
  sql: Sql,
  place: SealedColumn,
  done: readonly { readonly id: Id; readonly old: string; readonly text: string }[],
): Promise<number> {
  const { table, column, rowId, idType, value = 'n.text' } = place;
  return sql.run(
    `UPDATE ${table} SET ${column} = ${value}
       FROM unnest($1::${idType}[], $2::text[], $3::text[]) AS n (row_id, old, text)
      WHERE ${rowId} = n.row_id AND ${textOf(place)} = n.old`,
    [done.map(({ id }) => id), done.map(({ old }) => old), done.map(({ text }) => text)],
  );
}

function textOf({ column, text = column }: SealedColumn): string {
  return text;
}

/** `$2` is the id of the present key. */
function isOld(place: SealedColumn): string {
  const text = textOf(place);
  return `${text} LIKE 'cy1.%' AND NOT starts_with(${text}, 'cy1.' || $2 || '.')`;
}

/** Values that still need another key than the present one, by column; empty when no old key is needed any more. */
export async function countOld(
  options: Pick<RewrapOptions, 'database' | 'sealer'>,
): Promise<{ readonly table: string; readonly column: string; readonly count: number }[]> {
  const counts = await options.database.withSystem(async (sql) => {
    const found: { table: string; column: string; count: number }[] = [];
    for (const place of SEALED_COLUMNS) {
      const { table, column } = place;
      const [row] = await sql.rows<{ n: number }>(
        `SELECT count(*)::int AS n FROM ${table} WHERE $1::text IS NULL AND ${isOld(place)}`,
        [null, options.sealer.keyId],
      );
      found.push({ table, column, count: row?.n ?? 0 });
    }
    return found;
  });
  return counts.filter(({ count }) => count > 0);
}

/** Nodes that were not yet restarted with the new key go on sealing with the old one: it is looked for again. */
const AGAIN_MS = 3_600_000;
const RETRY = { firstMs: 5_000, maxMs: 300_000 };

/** Rewraps in the background for as long as old keys are set. The result stops it; idempotent. */
export function startRewrapping(
  options: Omit<RewrapOptions, 'signal'> & { readonly clock?: Clock },
): () => Promise<void> {
  const { sealer, log, clock = systemClock } = options;
  if (sealer.oldKeyIds.length === 0) return () => Promise.resolve();
  const stop = new AbortController();
  let timer: TimerHandle | undefined;
  let failures = 0;
  const sweep = async (): Promise<void> => {
    let waitMs = AGAIN_MS;
    try {
      const results = await rewrapAll({ ...options, signal: stop.signal });
      const sum = (of: 'rewrapped' | 'failed'): number =>
        results.reduce((total, result) => total + result[of], 0);
      failures = 0;
      const counts = { rewrapped: sum('rewrapped'), failed: sum('failed') };
      log.info('masterKey.rewrapped', { ...counts, keyId: sealer.keyId });
    } catch (error) {
      waitMs = backoffMs(++failures, RETRY);
      log.warn('masterKey.rewrapFailed', { error });
    }
    if (!stop.signal.aborted) timer = clock.setTimer(run, waitMs);
  };
  let running = Promise.resolve();
  const run = (): void => {
    running = sweep();
  };
  run();
  return async () => {
    stop.abort();
    clock.clearTimer(timer);
    await running;
  };
}
