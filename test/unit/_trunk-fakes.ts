/** Trunks in memory, for tests of the facade alone. */
import type { TrunkPorts } from '#api/trunks.ts';
import { newId } from '#lib/ids.ts';
import type { RegistrationState, TrunkTest } from '#lib/trunk.ts';
import type { StoredTrunk, TrunkFields } from '#store/trunk-admin.ts';

export type TrunkFakes = {
  readonly ports: TrunkPorts;
  readonly rows: Map<string, StoredTrunk>;
  readonly states: Map<string, RegistrationState>;
  /** Accounts whose rows were said to have changed. */
  readonly changed: string[];
  testResult: TrunkTest;
};

const TIMES = { createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' };

export function makeTrunks(): TrunkFakes {
  const rows = new Map<string, StoredTrunk>();
  const keep = (id: string, { password, ...fields }: TrunkFields): StoredTrunk => {
    const hasPassword =
      password === undefined ? (rows.get(id)?.hasPassword ?? false) : password !== null;
    const row = { ...fields, id, hasPassword, ...TIMES };
    rows.set(id, row);
    return row;
  };
  const fakes: TrunkFakes = {
    ports: {} as TrunkPorts,
    ...{ rows, states: new Map(), changed: [] },
    testResult: { ok: true, sipStatus: 200, roundTripMs: 3.4, error: null },
  };
  const ports: TrunkPorts = {
    admin: {
      create: async (_actor, wanted) => keep(newId(), wanted),
      list: async () => ({
        ...{ rows: [...rows.values()], total: rows.size, totalExact: true, next: null },
      }),
      get: async (_actor, id) => rows.get(id) ?? null,
      async update(_actor, id, changes) {
        const row = rows.get(id);
        if (row === undefined) return 'missing';
        const after = { ...row, password: undefined, ...changes };
        return after.register && after.username === null ? { needs: 'username' } : keep(id, after);
      },
      remove: async (_actor, id) => rows.delete(id),
    },
    state: (id) => fakes.states.get(id) ?? null,
    changed: async (accountId) => void fakes.changed.push(accountId),
    test: async (_accountId, id) => (rows.has(id) ? fakes.testResult : null),
  };
  return Object.assign(fakes, { ports });
}
