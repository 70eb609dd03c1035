/** The secret that an account's tools are signed with (docs/tools.md): made on first use, shown to its administrators. */
import type { Actor } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { newWebhookSecret } from '#lib/webhook-signature.ts';
import { writeAudit } from './audit.ts';
import type { Database, Sql } from './pool.ts';
import type { Sealer } from './sealed.ts';
import { StaleCache } from './stale-cache.ts';

export type ToolSecret = {
  readonly secret: string;
  /** Until when the secret before the last rotation signs as well. */
  readonly oldSecretUntil: Date | null;
  readonly updatedAt: Date;
};

/** Errors throughout: E_DATABASE, E_DATABASE_UNREACHABLE; E_CONFIG with another master key. */
export type ToolSecrets = {
  get(actor: Actor): Promise<ToolSecret>;
  rotate(actor: Actor, overlapS: number): Promise<ToolSecret>;
  /** Those to sign with, the present one first; from memory while the database is away. */
  of(accountId: Id): Promise<readonly string[]>;
};

export type ToolSecretsOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly log: Log;
};

type Row = {
  secret: string;
  old_secret: string | null;
  old_secret_until: Date | null;
  updated_at: Date;
};

type Known = { readonly secret: string; readonly old: string | null; readonly oldUntilMs: number };

const TABLE = 'tool_secrets';
const COLUMNS = 'secret, old_secret, old_secret_until, updated_at';
/** Other nodes sign with a new secret this much later; the old one overlaps. */
const FRESH_MS = 5_000;

export function createToolSecrets(options: ToolSecretsOptions): ToolSecrets {
  const { database, sealer, clock, log } = options;
  const cache = new StaleCache<Known>({ name: 'tool secrets', log, clock, freshMs: FRESH_MS });
  return {
    get: (actor) =>
      database.withAccount(actor.accountId, actor.name, async (sql) =>
        shown(sealer, actor.accountId, await made(sql, sealer, actor.accountId)),
      ),
    async rotate(actor, overlapS) {
      const rotated = await database.withAccount(actor.accountId, actor.name, (sql) =>
        rotate(sql, options, actor, overlapS),
      );
      cache.delete(actor.accountId);
      return rotated;
    },
    async of(accountId) {
      const { secret, old, oldUntilMs } = await cache.get(accountId, async () => {
        const row = await database.withSystem((sql) => made(sql, sealer, accountId));
        return known(sealer, accountId, row);
      });
      return old !== null && clock.wallMs() < oldUntilMs ? [secret, old] : [secret];
    },
  };
}

/** The row, made if there is none; of two at the same time the first one stays. */
async function made(sql: Sql, sealer: Sealer, accountId: Id): Promise<Row> {
  const [found] = await sql.rows<Row>(`SELECT ${COLUMNS} FROM ${TABLE} WHERE user_id = $1`, [
    accountId,
  ]);
  if (found !== undefined) return found;
  await sql.run(
    `INSERT INTO ${TABLE} (user_id, secret) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING`,
    [accountId, sealer.seal(newWebhookSecret(), place(accountId, 'secret'))],
  );
  const [row] = await sql.rows<Row>(`SELECT ${COLUMNS} FROM ${TABLE} WHERE user_id = $1`, [
    accountId,
  ]);
  return row as Row;
}

async function rotate(
  sql: Sql,
  { sealer, clock }: ToolSecretsOptions,
  actor: Actor,
  overlapS: number,
): Promise<ToolSecret> {
  const { accountId } = actor;
  await made(sql, sealer, accountId);
  const [before] = await sql.rows<Row>(
    `SELECT ${COLUMNS} FROM ${TABLE} WHERE user_id = $1 FOR NO KEY UPDATE`,
    [accountId],
  );
  const isKept = overlapS > 0;
  // A sealed text is bound to its column.
  const old = isKept
    ? sealer.seal(
        sealer.open((before as Row).secret, place(accountId, 'secret')),
        place(accountId, 'old_secret'),
      )
    : null;
  const [row] = await sql.rows<Row>(
    `UPDATE ${TABLE} SET secret = $2, old_secret = $3, old_secret_until = $4, updated_at = now()
      WHERE user_id = $1 RETURNING ${COLUMNS}`,
    [
      ...[accountId, sealer.seal(newWebhookSecret(), place(accountId, 'secret')), old],
      isKept ? new Date(clock.wallMs() + overlapS * 1_000).toISOString() : null,
    ],
  );
  await writeAudit(sql, actor, {
    ...{ action: 'tool_secret.rotate', targetType: 'settings', targetId: accountId },
    changes: { overlap_s: overlapS },
  });
  return shown(sealer, accountId, row as Row);
}

function place(accountId: Id, column: 'secret' | 'old_secret') {
  return { table: 'tool_secrets', column, accountId, rowId: accountId };
}

function shown(sealer: Sealer, accountId: Id, row: Row): ToolSecret {
  return {
    secret: sealer.open(row.secret, place(accountId, 'secret')),
    oldSecretUntil: row.old_secret_until,
    updatedAt: row.updated_at,
  };
}

function known(sealer: Sealer, accountId: Id, row: Row): Known {
  return {
    secret: sealer.open(row.secret, place(accountId, 'secret')),
    old:
      row.old_secret === null ? null : sealer.open(row.old_secret, place(accountId, 'old_secret')),
    oldUntilMs: row.old_secret_until?.getTime() ?? 0,
  };
}
