/** People (`auth.users`): who exists, and what each may be on which account. Asked on every request with a token. */
import type { Role } from '#lib/actor.ts';
import type { Clock } from '#lib/clock.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { Database, Sql } from './pool.ts';
import { StaleCache } from './stale-cache.ts';

export type MemberRole = Exclude<Role, 'owner'>;

export type UserAccess = {
  readonly isUser: boolean;
  /** On the account that was asked about; `owner` on one's own, null without a membership. */
  readonly role: Role | null;
};

export type UserDirectory = {
  /** At most 2 s old; older while the database is away. Errors: E_DATABASE_UNREACHABLE, E_TIMEOUT. */
  access(userId: Id, accountId: Id): Promise<UserAccess>;
};

export type Users = UserDirectory & {
  /** After a change to a membership, so that it works on this node at once. */
  forget(userId: Id, accountId: Id): void;
};

export type UsersOptions = {
  readonly database: Database;
  /** Users that a valid token names and the database does not know are added (an outside issuer knows them). */
  readonly isProvisioning: boolean;
  readonly log: Log;
  readonly clock?: Clock;
};

/** A membership that ended must end within 3 s on every node. */
const FRESH_MS = 2_000;
const STALE_MS = 10 * 60_000;

export function createUsers(options: UsersOptions): Users {
  const { database, isProvisioning, log, clock } = options;
  const cache = new StaleCache<UserAccess>({
    ...{ name: 'users', log, freshMs: FRESH_MS, staleMs: STALE_MS, patienceMs: 1_000 },
    ...(clock === undefined ? {} : { clock }),
    capacity: 10_000,
    isKept: ({ role }) => role !== null,
  });
  const load = async (userId: Id, accountId: Id): Promise<UserAccess> =>
    database.withSystem(async (sql) => {
      const known = await readAccess(sql, userId, accountId);
      if (known.isUser || !isProvisioning || !(await provision(sql, userId))) return known;
      log.info('user.provisioned', { userId });
      return readAccess(sql, userId, accountId);
    });
  return {
    access: (userId, accountId) =>
      cache.get(`${userId} ${accountId}`, () => load(userId, accountId)),
    forget: (userId, accountId) => cache.delete(`${userId} ${accountId}`),
  };
}

async function readAccess(sql: Sql, userId: Id, accountId: Id): Promise<UserAccess> {
  const [row] = await sql.rows<{ role: MemberRole | null }>(
    `SELECT (SELECT m.role FROM members m WHERE m.user_id = $2 AND m.member_id = u.id) AS role
       FROM auth.users u WHERE u.id = $1`,
    [userId, accountId],
  );
  if (row === undefined) return { isUser: false, role: null };
  return { isUser: true, role: userId === accountId ? 'owner' : row.role };
}

/** On Supabase (its users have an `instance_id`) only its own service makes users. */
async function provision(sql: Sql, userId: Id): Promise<boolean> {
  const [table] = await sql.rows<{ is_ours: boolean }>(
    `SELECT has_table_privilege('auth.users', 'INSERT') AND NOT EXISTS (SELECT FROM pg_attribute
       WHERE attrelid = 'auth.users'::regclass AND attname = 'instance_id' AND NOT attisdropped) AS is_ours`,
  );
  if (table?.is_ours !== true) return false;
  await sql.run('INSERT INTO auth.users (id) VALUES ($1) ON CONFLICT (id) DO NOTHING', [userId]);
  return true;
}
