/** Agent bindings (contract 2.3): which agent or squad answers a number, an app, a trunk, and everything else. */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import { comparablePhone, phoneForms } from '#lib/phone.ts';
import { boundApp, countryCodeOf } from './agent-choice.ts';
import { writeAudit } from './audit.ts';
import type { Database, Sql } from './pool.ts';
import { missingOf, type Written } from './references.ts';

export type BindingKind = 'number' | 'app' | 'trunk' | 'default';

export type Binding = {
  readonly id: Id;
  readonly kind: BindingKind;
  /** Null for `default`. */
  readonly value: string | null;
  readonly agentId: Id | null;
  readonly squadId: Id | null;
};

/** `value` of a number is in normal form, of an app NFKC and trimmed, of a trunk its id. */
export type BindingFields = Omit<Binding, 'id'>;

export type Bindings = {
  list(actor: Actor): Promise<Binding[]>;
  /** Replaces the binding of `(kind, value)`. Null: it is there and not this actor's to see. `full`: too many. */
  put(actor: Actor, binding: BindingFields): Promise<Written<Binding> | 'full' | null>;
  /** Null: no such binding. False: the default one, which stays. */
  remove(actor: Actor, id: Id): Promise<boolean | null>;
};

/** Every call reads the apps, and the list has no pages. */
export const MAX_BINDINGS: Readonly<Record<BindingKind, number>> = {
  number: 10_000,
  app: 1_000,
  trunk: 1_000,
  default: 1,
};

type BindingRow = {
  readonly id: Id;
  readonly kind: BindingKind;
  readonly value: string;
  readonly agent_id: Id | null;
  readonly squad_id: Id | null;
};

const COLUMNS = 'b.id, b.kind, b.value, b.agent_id, b.squad_id';
/** A key that sees some agents alone sees the bindings to these. `$2` is its list, null for all. */
const VISIBLE = '($2::uuid[] IS NULL OR b.agent_id = ANY ($2::uuid[]))';

/** `countryCode`: the installation's. */
export function createBindings(database: Database, countryCode: string | null): Bindings {
  const as = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    list: (actor) =>
      as(actor, async (sql) => {
        const rows = await sql.rows<BindingRow>(
          `SELECT ${COLUMNS} FROM agent_bindings b WHERE b.user_id = $1 AND ${VISIBLE}
            ORDER BY array_position(ARRAY['number', 'app', 'trunk', 'default'], b.kind), b.value, b.id`,
          [actor.accountId, actor.agentIds],
        );
        return rows.map(bindingOf);
      }),
    put: (actor, binding) => as(actor, (sql) => putBinding(sql, actor, binding, countryCode)),
    remove: (actor, id) => as(actor, (sql) => removeBinding(sql, actor, id)),
  };
}

async function putBinding(
  sql: Sql,
  actor: Actor,
  binding: BindingFields,
  countryCode: string | null,
): Promise<Written<Binding> | 'full' | null> {
  const { accountId } = actor;
  const { kind, agentId, squadId } = binding;
  const missing = await missingOf(sql, actor, {
    agents: agentId === null ? [] : [agentId],
    squads: squadId === null ? [] : [squadId],
    trunks: kind === 'trunk' && binding.value !== null ? [binding.value] : [],
  });
  if (missing.length > 0) return { ok: false, missing };
  // One at a time: two spellings of one app must not both be new.
  await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `callyard agent bindings ${accountId}`,
  ]);
  const { value, known } = await findSame(sql, accountId, binding, countryCode);
  if (known === undefined && (await isFull(sql, accountId, kind))) return 'full';
  if (known !== undefined && !maySee(actor, known)) return null;
  if (known !== undefined && known.value !== value) {
    await sql.run('UPDATE agent_bindings SET value = $3 WHERE user_id = $1 AND id = $2', [
      ...[accountId, known.id, value],
    ]);
  }
  const [row] = await sql.rows<BindingRow>(
    `INSERT INTO agent_bindings AS b (user_id, kind, value, agent_id, squad_id) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (user_id, kind, value) DO UPDATE SET agent_id = EXCLUDED.agent_id, squad_id = EXCLUDED.squad_id,
       updated_at = clock_timestamp() RETURNING ${COLUMNS}`,
    [accountId, kind, value, agentId, squadId],
  );
  const made = bindingOf(row as BindingRow);
  await writeAudit(sql, actor, {
    ...{ action: 'agent_binding.put', targetType: 'agent_binding', targetId: made.id },
    changes: { kind, value: made.value, agent_id: agentId, squad_id: squadId },
  });
  return { ok: true, value: made };
}

async function removeBinding(sql: Sql, actor: Actor, id: Id): Promise<boolean | null> {
  const [row] = await sql.rows<BindingRow>(
    `SELECT ${COLUMNS} FROM agent_bindings b WHERE b.user_id = $1 AND ${VISIBLE} AND b.id = $3 FOR UPDATE`,
    [actor.accountId, actor.agentIds, id],
  );
  if (row === undefined) return null;
  if (row.kind === 'default') return false;
  await sql.run('DELETE FROM agent_bindings WHERE user_id = $1 AND id = $2', [actor.accountId, id]);
  await writeAudit(sql, actor, {
    ...{ action: 'agent_binding.delete', targetType: 'agent_binding', targetId: id },
    changes: { kind: row.kind, value: row.value },
  });
  return true;
}

/**
 * The binding of the same number or app in whichever spelling, which is replaced, and the value to store: numbers with
 * the account's country code, apps as they were first written.
 */
async function findSame(
  sql: Sql,
  accountId: Id,
  binding: BindingFields,
  standardCode: string | null,
): Promise<{ readonly value: string; readonly known: BindingRow | undefined }> {
  const { kind } = binding;
  const spellings = await spellingsOf(sql, accountId, binding, standardCode);
  const [known] = await sql.rows<BindingRow>(
    `SELECT ${COLUMNS} FROM agent_bindings b WHERE b.user_id = $1 AND b.kind = $2 AND b.value = ANY ($3)
      ORDER BY array_position($3::text[], b.value) LIMIT 1`,
    [accountId, kind, spellings],
  );
  return { value: spellings[0] ?? '', known };
}

/** The one to store comes first. */
async function spellingsOf(
  sql: Sql,
  accountId: Id,
  { kind, value }: BindingFields,
  standardCode: string | null,
): Promise<readonly string[]> {
  if (value === null) return [''];
  if (kind === 'app') return [(await boundApp(sql, accountId, value)) ?? value];
  if (kind !== 'number') return [value];
  const countryCode = await countryCodeOf(sql, accountId, standardCode);
  return [comparablePhone(value, countryCode), ...phoneForms(value, countryCode)];
}

async function isFull(sql: Sql, accountId: Id, kind: BindingKind): Promise<boolean> {
  const [count] = await sql.rows<{ n: number }>(
    'SELECT count(*)::int AS n FROM agent_bindings WHERE user_id = $1 AND kind = $2',
    [accountId, kind],
  );
  return (count?.n ?? 0) >= MAX_BINDINGS[kind];
}

function maySee(actor: Actor, row: BindingRow): boolean {
  return (
    actor.agentIds === null || (row.agent_id !== null && actor.agentIds.includes(row.agent_id))
  );
}

function bindingOf(row: BindingRow): Binding {
  const { id, kind, value, agent_id: agentId, squad_id: squadId } = row;
  return { id, kind, value: kind === 'default' ? null : value, agentId, squadId };
}
