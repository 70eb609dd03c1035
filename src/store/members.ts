/** People allowed into an account (contract 2.8). On behalf of its owner. */
import type { Actor } from '#lib/actor.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import { writeAudit } from './audit.ts';
import { readPage, Where } from './paging.ts';
import type { Database, Sql } from './pool.ts';
import { hashPassword } from './users-password.ts';
import type { MemberRole, Users } from './users.ts';

export type Member = {
  readonly userId: Id;
  readonly email: string | null;
  readonly role: MemberRole;
  readonly createdAt: Date;
};

export type NewMember = {
  readonly email: string;
  readonly role: MemberRole;
  /** For a user that is made now. Null: cannot log in with a password. */
  readonly password: string | null;
};

export type Members = {
  list(actor: Actor, query: PageQuery): Promise<Page<Member>>;
  /**
   * Null when nobody has this e-mail and users are not ours to make. An existing user keeps the password it has.
   * Errors: E_CONFLICT for a member, and for the owner.
   */
  add(actor: Actor, wanted: NewMember): Promise<Member | null>;
  /** Null when the user is no member. */
  setRole(actor: Actor, userId: Id, role: MemberRole): Promise<Member | null>;
  /** False when the user is no member. */
  remove(actor: Actor, userId: Id): Promise<boolean>;
};

export type MembersOptions = {
  readonly database: Database;
  readonly users: Pick<Users, 'forget'>;
  /** True while Callyard holds the passwords, so that it may make users. */
  readonly isLocal: boolean;
};

type MemberRow = { member_id: Id; email: string | null; role: MemberRole; created_at: Date };

const TABLES = 'members m JOIN auth.users u ON u.id = m.member_id';
const COLUMNS = 'm.member_id, u.email, m.role, m.created_at';

export function createMembers({ database, users, isLocal }: MembersOptions): Members {
  const within = <T>(actor: Actor, work: (sql: Sql) => Promise<T>): Promise<T> =>
    database.withAccount(actor.accountId, actor.name, work);
  return {
    // A policy also shows the memberships that this user has elsewhere, hence the condition.
    list: (actor, query) =>
      within(actor, (sql) =>
        readPage<MemberRow, Member>(
          sql,
          { columns: COLUMNS, tables: TABLES, key: 'm.created_at', ...PAGING },
          new Where().add('m.user_id = ?', actor.accountId),
          query,
          memberOf,
        ),
      ),
    async add(actor, wanted) {
      const found = await within(actor, (sql) => findUser(sql, wanted.email));
      if (found === null && !isLocal) return null;
      const userId = found ?? (await makeUser(database, wanted));
      users.forget(userId, actor.accountId);
      return within(actor, (sql) => insertMember(sql, actor, userId, wanted));
    },
    async setRole(actor, userId, role) {
      const member = await within(actor, (sql) => updateRole(sql, actor, userId, role));
      users.forget(userId, actor.accountId);
      return member;
    },
    async remove(actor, userId) {
      const isGone = await within(actor, (sql) => deleteMember(sql, actor, userId));
      users.forget(userId, actor.accountId);
      return isGone;
    },
  };
}

const PAGING = { keyType: 'timestamptz', id: 'm.member_id' };

async function findUser(sql: Sql, email: string): Promise<Id | null> {
  const [user] = await sql.rows<{ id: Id }>(
    'SELECT id FROM auth.users WHERE lower(email) = lower($1) ORDER BY created_at, id LIMIT 1',
    [email],
  );
  return user?.id ?? null;
}

/** Users belong to no account, so this is the system's write. The lock stands in for a unique index on lower(email). */
async function makeUser(database: Database, { email, password }: NewMember): Promise<Id> {
  const hash = password === null ? null : await hashPassword(password);
  return database.withSystem(async (sql) => {
    await sql.rows('SELECT pg_advisory_xact_lock(hashtextextended(lower($1), 0))', [email]);
    const known = await findUser(sql, email);
    if (known !== null) return known;
    const [made] = await sql.rows<{ id: Id }>(
      `INSERT INTO auth.users (id, email, encrypted_password)
       VALUES (gen_random_uuid(), lower($1), $2) RETURNING id`,
      [email, hash],
    );
    return (made as { id: Id }).id;
  });
}

async function insertMember(
  sql: Sql,
  actor: Actor,
  userId: Id,
  { email, role }: NewMember,
): Promise<Member> {
  if (userId === actor.accountId) throw new AppError('E_CONFLICT', 'the owner is no member');
  await sql.run('INSERT INTO members (user_id, member_id, role) VALUES ($1, $2, $3)', [
    ...[actor.accountId, userId, role],
  ]);
  await writeAudit(sql, actor, {
    ...{ action: 'member.add', targetType: 'member', targetId: userId, changes: { email, role } },
  });
  return readMember(sql, actor, userId);
}

async function updateRole(
  sql: Sql,
  actor: Actor,
  userId: Id,
  role: MemberRole,
): Promise<Member | null> {
  const [before] = await sql.rows<{ role: MemberRole }>(
    'SELECT role FROM members WHERE user_id = $1 AND member_id = $2 FOR UPDATE',
    [actor.accountId, userId],
  );
  if (before === undefined) return null;
  await sql.run('UPDATE members SET role = $3 WHERE user_id = $1 AND member_id = $2', [
    ...[actor.accountId, userId, role],
  ]);
  await writeAudit(sql, actor, {
    ...{ action: 'member.update', targetType: 'member', targetId: userId },
    changes: { role: { from: before.role, to: role } },
  });
  return readMember(sql, actor, userId);
}

async function deleteMember(sql: Sql, actor: Actor, userId: Id): Promise<boolean> {
  const gone = await sql.rows<{ role: MemberRole }>(
    'DELETE FROM members WHERE user_id = $1 AND member_id = $2 RETURNING role',
    [actor.accountId, userId],
  );
  for (const { role } of gone) {
    await writeAudit(sql, actor, {
      ...{ action: 'member.remove', targetType: 'member', targetId: userId, changes: { role } },
    });
  }
  return gone.length > 0;
}

async function readMember(sql: Sql, actor: Actor, userId: Id): Promise<Member> {
  const [row] = await sql.rows<MemberRow>(
    `SELECT ${COLUMNS} FROM ${TABLES} WHERE m.user_id = $1 AND m.member_id = $2`,
    [actor.accountId, userId],
  );
  return memberOf(row as MemberRow);
}

function memberOf(row: MemberRow): Member {
  return {
    ...{ userId: row.member_id, email: row.email, role: row.role, createdAt: row.created_at },
  };
}
