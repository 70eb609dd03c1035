/** Who may come in, in memory: keys and users for tests of the facade. What needs a database is tested on one. */
import type { Identity } from '#api/ports.ts';
import type { Role } from '#lib/actor.ts';
import type { StoredKey } from '#store/api-keys.ts';

/** `roles`: `<user> <account>` to role; who has a role anywhere exists. */
export function identityOf(
  keys: ReadonlyMap<string, StoredKey>,
  roles: ReadonlyMap<string, Role> = new Map(),
): Identity {
  const refuse = async (): Promise<never> => {
    throw new Error('this part of the identity is tested on a database');
  };
  return {
    keys: { findKey: async (prefix) => keys.get(prefix) ?? null },
    users: {
      access: async (userId, accountId) => ({
        isUser: [...roles.keys()].some((each) => each.startsWith(userId)),
        role: roles.get(`${userId} ${accountId}`) ?? null,
      }),
    },
    logins: { check: refuse },
    apiKeys: { create: refuse, list: refuse, rotate: refuse, revoke: refuse },
    settings: { get: refuse, change: refuse },
    members: { list: refuse, add: refuse, setRole: refuse, remove: refuse },
    auditLog: { list: refuse },
    idempotency: null,
  };
}
