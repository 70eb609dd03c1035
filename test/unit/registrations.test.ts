/** Many trunks kept registered: rows that come, change and go, a database that is away, an engine that returns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import type { FoundLine, TrunkLine } from '#lib/trunk.ts';
import { Registrations } from '#src/registrations.ts';
import { CHALLENGE, FakeRegistrar, lineOf, TRUNK_ID, type Asked } from './_fake-registrar.ts';
import { settle } from './_sip-link.ts';

function setUp() {
  const clock = new SimulatedClock();
  const peer = new FakeRegistrar();
  const entries: JournalEntry[] = [];
  const state = { rows: [] as FoundLine[], isAway: false, reads: 0 };
  const engine: (() => void)[] = [];
  const registrations = new Registrations({
    talk: peer.ports,
    lines: async () => {
      state.reads++;
      if (state.isAway) throw new AppError('E_DATABASE_UNREACHABLE', 'away');
      return state.rows;
    },
    onEngineUp: (listener) => void engine.push(listener),
    journal: { append: (entry) => void entries.push(entry) },
    ...{ node: 'n1', clock, log: silentLog, random: () => 0.5 },
  });
  return {
    ...{ clock, peer, registrations, state },
    engineUp: () => engine.forEach((listener) => listener()),
    /** What was told since the last question, and of whom. */
    told: () => {
      const taken = entries.splice(0);
      return taken.map(({ event }) => {
        const { type, account_id, call_id, seq, data } = event;
        assert.deepEqual([type, call_id, seq], ['trunk.changed', null, null]);
        assert.equal(account_id, lineOf().accountId);
        return data;
      });
    },
    follow: async (...lines: TrunkLine[]): Promise<void> => {
      state.rows = lines.map((line) => ({ ok: true, line }));
      await registrations.refresh();
      await settle();
    },
  };
}

/** Registers of a test, oldest first, as `alice 600 Authorization?`. */
const shown = (asked: readonly Asked[]): string[] =>
  asked.map((one) => {
    const user = /sip:([^@]+)@/.exec(one.header('from'))?.[1] ?? '';
    const login = one.header('authorization') === '' ? '' : ' login';
    const host = /sip:([^:;]+)/.exec(one.request.route)?.[1] ?? '';
    return `${user}@${host} ${one.header('expires')}${login}`;
  });

test('a row comes, is registered, told once, and refreshed without a word', async () => {
  const { registrations, follow, peer, told, clock, state } = setUp();
  await follow(lineOf());
  assert.equal(state.reads, 0, 'nothing happens before the start');
  registrations.start();
  await settle();
  assert.deepEqual(registrations.stateOf(TRUNK_ID)?.registered, false);
  peer.last.answer(200);
  await settle();
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: true, error: null }]);
  assert.equal(registrations.stateOf(TRUNK_ID)?.expiresAtMs, clock.wallMs() + 600_000);
  for (let s = 0; s < 510; s++) {
    clock.advance(1_000);
    await settle();
  }
  assert.equal(peer.asked.length, 2);
  assert.ok(state.reads >= 50, 'rows are read again all the time');
  peer.last.answer(200);
  await settle();
  assert.deepEqual(told(), []);
  const closing = registrations.close();
  await settle();
  assert.deepEqual(shown(peer.asked), [
    'alice@sip.example.net 600',
    'alice@sip.example.net 600',
    'alice@sip.example.net 0',
  ]);
  peer.last.answer(200);
  await closing;
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: false, error: null }]);
  assert.equal(registrations.stateOf(TRUNK_ID), null);
  assert.equal(clock.pending, 0);
  await registrations.refresh();
  assert.equal(clock.pending, 0, 'closed is closed');
});

test('what a change of the row does', async () => {
  const before = lineOf();
  const rows: [name: string, next: TrunkLine | null, sent: string[]][] = [
    ['a new name', lineOf({}, { name: 'Other', maxCalls: 3 } as object), []],
    [
      'a new password: the binding stays',
      lineOf({}, { password: 'x' }),
      ['alice@sip.example.net 600'],
    ],
    ['a new interval', lineOf({ intervalS: 60 }), ['alice@sip.example.net 60']],
    [
      'another name there: first away, then anew',
      lineOf({}, { username: 'bob' }),
      ['alice@sip.example.net 0', 'bob@sip.example.net 600'],
    ],
    [
      'another Contact',
      lineOf({ localPort: 6000 }),
      ['alice@sip.example.net 0', 'alice@sip.example.net 600'],
    ],
    [
      'another registrar: side by side',
      lineOf({}, { host: 'new.example.net' }),
      ['alice@sip.example.net 0', 'alice@new.example.net 600'],
    ],
    ['deleted, inactive or no longer wanted', null, ['alice@sip.example.net 0']],
  ];
  for (const [name, next, sent] of rows) {
    const { registrations, follow, peer, told } = setUp();
    registrations.start();
    await follow(before);
    peer.last.answer(200);
    await settle();
    told();
    const known = peer.asked.length;
    await follow(...(next === null ? [] : [next]));
    for (let at = known; at < peer.asked.length; at++) {
      peer.asked[at]?.answer(200);
      await settle();
    }
    assert.deepEqual(shown(peer.asked.slice(known)).sort(), [...sent].sort(), name);
    if (name !== 'another registrar: side by side') {
      assert.deepEqual(shown(peer.asked.slice(known)), sent, name);
    }
    const expected = next === null ? [{ trunk_id: TRUNK_ID, registered: false, error: null }] : [];
    assert.deepEqual(told(), expected, `${name}: told only when it has changed`);
    assert.equal(registrations.stateOf(TRUNK_ID)?.registered ?? null, next === null ? null : true);
    const closing = registrations.close();
    await settle();
    peer.last.answer(200);
    await closing;
  }
});

test('changes faster than the registrar answers: the last one holds', async () => {
  const { registrations, follow, peer, clock } = setUp();
  registrations.start();
  await follow(lineOf());
  peer.last.answer(200);
  await settle();
  await follow(lineOf({}, { username: 'bob' }));
  await follow(lineOf({}, { username: 'carol' }));
  await follow(lineOf({}, { username: 'dave' }));
  assert.deepEqual(shown(peer.asked.slice(1)), ['alice@sip.example.net 0'], 'not answered');
  clock.advance(2_000);
  await settle();
  assert.deepEqual(shown(peer.asked.slice(2)), ['dave@sip.example.net 600']);
  peer.last.answer(200);
  await settle();
  assert.equal(registrations.stateOf(TRUNK_ID)?.registered, true);
  await closed({ registrations, peer, clock });
});

async function closed({
  registrations,
  clock,
}: Pick<ReturnType<typeof setUp>, 'registrations' | 'peer' | 'clock'>): Promise<void> {
  const closing = registrations.close();
  await settle();
  clock.advance(2_000);
  await closing;
  assert.equal(clock.pending, 0);
}

test('with the database away what is known goes on; a failure is told, and its end', async () => {
  const run = setUp();
  const { registrations, follow, peer, told, clock, state } = run;
  registrations.start();
  await follow(lineOf());
  peer.last.answer(401, { 'www-authenticate': CHALLENGE });
  await settle();
  peer.last.answer(401, { 'www-authenticate': CHALLENGE });
  await settle();
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: false, error: 'auth_failed' }]);
  state.isAway = true;
  clock.advance(30_000);
  await settle();
  clock.advance(15_000);
  await settle();
  assert.ok(state.reads >= 3);
  peer.last.answer(200);
  await settle();
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: true, error: null }]);
  state.isAway = false;
  await follow(lineOf({}, { password: 'new' }));
  peer.last.answer(403);
  await settle();
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: false, error: 'refused (403)' }]);
  await closed(run);
});

test('a row that cannot be used says why, and is registered once it can', async () => {
  const run = setUp();
  const { registrations, follow, peer, told, state } = run;
  const { accountId, trunkId } = lineOf();
  registrations.start();
  state.rows = [{ ok: false, accountId, trunkId, flaw: 'tls_unsupported' }];
  await registrations.refresh();
  await registrations.refresh();
  await settle();
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: false, error: 'tls_unsupported' }]);
  assert.deepEqual(registrations.stateOf(TRUNK_ID)?.error, 'tls_unsupported');
  assert.equal(peer.asked.length, 0);
  const flawed = state.rows[0] as FoundLine;
  assert.deepEqual(await registrations.test(flawed), {
    ...{ ok: false, sipStatus: null, roundTripMs: null, error: 'tls_unsupported' },
  });
  await follow(lineOf());
  peer.last.answer(200);
  await settle();
  assert.deepEqual(told(), [{ trunk_id: TRUNK_ID, registered: true, error: null }]);
  await closed(run);
});

test('when the engine is back every trunk registers again; 32 requests at once at most', async () => {
  const run = setUp();
  const { registrations, follow, peer, engineUp } = run;
  registrations.start();
  await follow(...Array.from({ length: 40 }, () => lineOf({ trunkId: newId() })));
  assert.equal(peer.asked.length, 32);
  for (let at = 0; at < peer.asked.length; at++) {
    peer.asked[at]?.answer(200);
    await settle();
  }
  assert.equal(peer.asked.length, 40);
  engineUp();
  await settle();
  assert.equal(peer.asked.length, 72);
  for (let at = 40; at < peer.asked.length; at++) {
    peer.asked[at]?.answer(200);
    await settle();
  }
  assert.equal(peer.asked.length, 80);
  await closed(run);
});

test('an older read that comes back later does not undo a newer one', async () => {
  const clock = new SimulatedClock();
  const peer = new FakeRegistrar();
  const reads: ((rows: FoundLine[]) => void)[] = [];
  const registrations = new Registrations({
    talk: peer.ports,
    lines: () => new Promise((resolve) => void reads.push(resolve)),
    onEngineUp: () => undefined,
    journal: { append: () => undefined },
    ...{ node: 'n1', clock, log: silentLog },
  });
  registrations.start();
  void registrations.refresh();
  reads[1]?.([{ ok: true, line: lineOf() }]);
  await settle();
  reads[0]?.([]);
  await settle();
  assert.deepEqual(shown(peer.asked), ['alice@sip.example.net 600']);
  await closed({ registrations, peer, clock });
});
