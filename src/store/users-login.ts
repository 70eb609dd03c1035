/** Logins with a password (contract 1.2): who belongs to a name, and the audit row of each attempt. */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { writeAudit } from './audit.ts';
import type { Database } from './pool.ts';
import { hashPassword, isOurHash, isPassword } from './users-password.ts';

export type LoggedIn = { readonly id: Id; readonly email: string };

/** Where an attempt came from. */
export type LoginSource = { readonly requestId: string; readonly ip: string | null };

export type Logins = {
  /**
   * The user with this e-mail and password, or null; an unknown name takes the same work as a wrong password. Each
   * attempt at a known name is in its account's audit log. Errors: E_DATABASE_UNREACHABLE, E_QUEUE_FULL.
   */
  check(email: string, password: string, source: LoginSource): Promise<LoggedIn | null>;
};

type UserRow = { id: Id; email: string; encrypted_password: string | null };

export function createLogins(database: Database, log: Log): Logins {
  const audit = (user: UserRow, source: LoginSource, actor: Pick<Actor, 'name' | 'role'>) =>
    database.withAccount(user.id, actor.name, (sql) =>
      writeAudit(
        sql,
        { accountId: user.id, agentIds: null, ...source, ...actor },
        {
          action: actor.role === 'owner' ? 'user.login' : 'user.login_failed',
          ...{ targetType: 'user', targetId: user.id },
        },
      ),
    );
  return {
    async check(email, password, source) {
      const user = await findByEmail(database, email);
      const isRight = await isPassword(password, user?.encrypted_password ?? null);
      if (user === null) return null;
      if (isRight) {
        await audit(user, source, { name: `user:${user.id}`, role: 'owner' });
        return { id: user.id, email: user.email };
      }
      // Not waited for: a longer answer would tell which names exist. Nobody is proven, so nobody is named as actor.
      audit(user, source, { name: 'anonymous', role: 'system' }).catch((error: unknown) =>
        log.warn('login.notAudited', { userId: user.id, requestId: source.requestId, error }),
      );
      return null;
    },
  };
}

/** Every look-up reads the whole table in the same way, whether the name exists or not. */
async function findByEmail(database: Database, email: string): Promise<UserRow | null> {
  const rows = await database.withSystem((sql) =>
    sql.rows<UserRow>(
      `SELECT id, email, encrypted_password FROM auth.users
        WHERE lower(email) = lower($1) ORDER BY created_at, id LIMIT 1`,
      [email],
    ),
  );
  return rows[0] ?? null;
}

/**
 * CALLYARD_ADMIN_PASSWORD: the default account's password is this one, rewritten only when it is another. A password
 * that another system keeps in the same column stays, because that system's logins would break.
 */
export async function ensurePassword(
  database: Database,
  userId: Id,
  password: string,
  log: Log,
): Promise<void> {
  const [user] = await database.withSystem((sql) =>
    sql.rows<Pick<UserRow, 'encrypted_password'>>(
      'SELECT encrypted_password FROM auth.users WHERE id = $1',
      [userId],
    ),
  );
  const stored = user?.encrypted_password ?? '';
  if (stored !== '' && !isOurHash(stored)) {
    log.warn('admin.passwordKept', { userId, note: 'its form is of another system' });
    return;
  }
  if (stored !== '' && (await isPassword(password, stored))) return;
  const hash = await hashPassword(password);
  await database.withSystem((sql) =>
    sql.run('UPDATE auth.users SET encrypted_password = $2 WHERE id = $1', [userId, hash]),
  );
  log.info('admin.passwordSet', { userId });
}
