/** Fakes of what the families of the facade need besides calls and records, holding data the tests put in. */
import assert from 'node:assert/strict';
import { EventHub } from '#api/event-hub.ts';
import type { FamilyPorts } from '#api/families.ts';
import type { Installation } from '#api/installation.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { createMetrics } from '#lib/metrics.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import type { CallCounts, TrunkFacts } from '#store/console-reads.ts';
import type { Contact } from '#store/contacts.ts';
import type { Extension } from '#store/extensions.ts';
import type { PhoneCallQuery } from '#store/phone-calls.ts';
import type { PhoneNumber } from '#store/phone-numbers.ts';

export type FamilyFakes = {
  readonly ports: FamilyPorts;
  readonly numbers: Map<string, PhoneNumber>;
  /** Ids of trunks that exist. */
  readonly trunkIds: Set<string>;
  readonly callQueries: PhoneCallQuery[];
  contacts: Contact[];
  extensions: Extension[];
  trunks: TrunkFacts[];
  today: CallCounts;
  /** Questions for the day's counts: each has the instant it asked from. */
  readonly countedSince: string[];
  environmentTrunk: Installation['environmentTrunk'];
  metricsAllow: string[];
};

/** `records` is read at each question, so what a test puts in later is found. */
export function makeFamilies(records: () => Iterable<RecordDetail>): FamilyFakes {
  const fakes: FamilyFakes = {
    ports: {} as FamilyPorts,
    numbers: new Map(),
    trunkIds: new Set(),
    callQueries: [],
    contacts: [],
    extensions: [],
    trunks: [],
    today: { calls: 3, answered: 2, failed: 1, totalDuration: 84 },
    countedSince: [],
    environmentTrunk: null,
    metricsAllow: [],
  };
  return Object.assign(fakes, { ports: portsOf(fakes, records) });
}

function portsOf(fakes: FamilyFakes, records: () => Iterable<RecordDetail>): FamilyPorts {
  return {
    phoneCalls: {
      list: async (actor, query) => {
        fakes.callQueries.push(query);
        const wanted = [...records()].filter(
          (record) =>
            (record.channel === 'phone' || record.channel === 'web') &&
            (actor.agentIds === null || actor.agentIds.includes(record.agentId)) &&
            (query.agentId === null || record.agentId === query.agentId) &&
            (query.direction === null || record.direction === query.direction) &&
            (query.statuses === null || query.statuses.includes(record.status)) &&
            !query.except.includes(record.id),
        );
        const rows = wanted.map((record) => ({
          ...record,
          startKey: record.startTime.replace(/Z$/, '000Z'),
        }));
        return pageOf(rows, query, (row) => row.startKey);
      },
    },
    numbers: numbersOf(fakes),
    contacts: {
      list: async (_actor, query) => {
        const word = query.keyword?.toLowerCase() ?? '';
        const found = fakes.contacts.filter(({ name }) => name.toLowerCase().includes(word));
        return pageOf(found, query, ({ name }) => name);
      },
      ...{ get: notFaked, add: notFaked, update: notFaked, remove: notFaked, import: notFaked },
    },
    usage: { report: notFaked },
    events: {
      hub: new EventHub((error) => assert.fail(String(error))),
      log: { timeOf: notFaked, since: notFaked, before: notFaked },
      lagEvents: () => 0,
    },
    consents: { list: notFaked, add: notFaked },
    extensions: {
      list: async () => ({ total: fakes.extensions.length, items: fakes.extensions }),
      ...{ page: notFaked, get: notFaked, add: notFaked, update: notFaked, remove: notFaked },
    },
    console: {
      trunks: async () => fakes.trunks,
      callsSince: async (_actor, since) => {
        fakes.countedSince.push(since);
        return fakes.today;
      },
    },
    installation: {
      startedAt: '2025-12-31T23:59:00.000Z',
      node: 'node-1',
      get environmentTrunk() {
        return fakes.environmentTrunk;
      },
      load: () => 0.25,
      providers: () => [{ kind: 'llm', vendor: 'sim', state: 'up', p50Ms: null }],
    },
    metrics: createMetrics({ outboxPending: () => 4 }),
    get metricsAllow() {
      return fakes.metricsAllow;
    },
  };
}

/** Tested on a real database alone. */
function notFaked(): Promise<never> {
  return Promise.reject(new Error('not faked'));
}

function numbersOf(fakes: FamilyFakes): FamilyPorts['numbers'] {
  const { numbers } = fakes;
  const checkTrunk = (trunkId: string | null | undefined): void => {
    if (trunkId === null || trunkId === undefined || fakes.trunkIds.has(trunkId)) return;
    throw new AppError('E_REFERENCE', 'violates foreign key constraint');
  };
  return {
    list: async (_actor, query) => pageOf([...numbers.values()], query, (row) => row.createdAt),
    get: async (_actor, id) => numbers.get(id) ?? null,
    add: async (_actor, { number, label = null, trunkId = null }) => {
      checkTrunk(trunkId);
      if ([...numbers.values()].some((each) => each.number === number)) {
        throw new AppError('E_CONFLICT', 'duplicate key value violates unique constraint');
      }
      const id = newId();
      const made: PhoneNumber = {
        ...{ id, number, label, trunkId, carrier: 'manual', status: 'active', agentId: null },
        monthlyCost: null,
        createdAt: '2026-01-01T00:00:00.000Z',
      };
      numbers.set(id, made);
      return made;
    },
    update: async (_actor, id, fields) => {
      const known = numbers.get(id);
      if (known === undefined) return null;
      checkTrunk(fields.trunkId);
      const changed: PhoneNumber = { ...known, ...fields };
      numbers.set(id, changed);
      return changed;
    },
    release: async (_actor, id) => numbers.delete(id),
  };
}

/** As readPage does: newest first by key, then id. */
function pageOf<T extends { readonly id: string }>(
  rows: readonly T[],
  query: PageQuery,
  keyOf: (row: T) => string,
): Page<T> {
  const sortKey = (row: T): string => `${keyOf(row)} ${row.id}`;
  const sorted = [...rows].sort((a, b) => (sortKey(a) < sortKey(b) ? 1 : -1));
  const { from } = query;
  const rest =
    'after' in from
      ? sorted.filter((row) => sortKey(row) < `${from.after.key} ${from.after.id}`)
      : sorted.slice(from.offset);
  const shown = rest.slice(0, query.limit);
  const last = rest.length > query.limit ? shown.at(-1) : undefined;
  return {
    rows: shown,
    total: rows.length,
    totalExact: true,
    next: last === undefined ? null : { key: keyOf(last), id: last.id },
  };
}
