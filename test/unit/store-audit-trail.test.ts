/** Audit rows of acts that do not wait for the database: none is lost while the process lives. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Actor } from '#lib/actor.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog, type Log } from '#lib/log.ts';
import { createAuditTrail } from '#store/audit-trail.ts';
import type { Sql } from '#store/pool.ts';
import { settle } from './_fakes.ts';

const ACTOR: Actor = {
  ...{ accountId: '00000000-0000-4000-8000-000000000001', name: 'key:1', role: 'supervisor' },
  ...{ agentIds: null, requestId: 'r1', ip: '192.0.2.1' },
};

function start() {
  const clock = new SimulatedClock();
  const rows: unknown[][] = [];
  const logged: string[] = [];
  const state = { isAway: false, hangs: null as Promise<void> | null };
  const sql: Sql = {
    rows: async () => [],
    run: async (_text, values = []) => {
      rows.push([...values]);
      return 1;
    },
  };
  const log: Log = {
    ...silentLog,
    warn: (event) => logged.push(event),
    error: (event) => logged.push(event),
  };
  const trail = createAuditTrail({
    database: {
      withAccount: async (account, _actor, use) => {
        if (state.hangs !== null) await state.hangs;
        if (state.isAway) throw new AppError('E_DATABASE_UNREACHABLE', 'away');
        const cause = Object.assign(new Error('no such user'), { code: '23503' });
        if (account === 'gone') throw new AppError('E_REFERENCE', 'no such user', { cause });
        return use(sql);
      },
    },
    ...{ clock, log },
  });
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(500);
      await settle();
    }
  };
  return { clock, rows, logged, state, trail, pass };
}

const act = (action: string) => ({ action, targetType: 'call_record', targetId: 'c1' });
const actions = (rows: unknown[][]): unknown[] => rows.map((values) => values[3]);

test('written at once where that is possible', async () => {
  const { trail, rows, clock } = start();
  await trail.note(ACTOR, act('recording.start'));
  assert.deepEqual(actions(rows), ['recording.start']);
  assert.equal(rows[0]?.at(-1), '{}', 'no other time than the row’s own');
  await trail.close();
  assert.equal(clock.pending, 0);
});

test('while the database is away they wait in order, say when they were, and follow', async () => {
  const { trail, rows, logged, state, pass, clock } = start();
  state.isAway = true;
  for (const action of ['recording.start', 'recording.stop']) await trail.note(ACTOR, act(action));
  assert.deepEqual([rows.length, logged], [0, ['audit.delayed', 'audit.delayed']]);
  await pass(60_000);
  state.isAway = false;
  await pass(40_000);
  assert.deepEqual(actions(rows), ['recording.start', 'recording.stop']);
  assert.match(String(rows[0]?.at(-1)), /"acted_at":"2026-01-01T00:00:00.000Z"/);
  assert.equal(clock.pending, 0, 'nothing more is tried');
  await trail.close();
});

test('a database that hangs holds nobody up, and no row is written twice', async () => {
  const { trail, rows, state, pass } = start();
  const hang = Promise.withResolvers<void>();
  state.hangs = hang.promise;
  const noted = trail.note(ACTOR, act('recording.pause'));
  await pass(1000);
  await noted;
  state.hangs = null;
  hang.resolve();
  await pass(5000);
  assert.deepEqual(actions(rows), ['recording.pause']);
  await trail.close();
});

test('a row that is refused for what it is holds up no other', async () => {
  const { trail, rows, logged, state, pass } = start();
  state.isAway = true;
  await trail.note({ ...ACTOR, accountId: 'gone' }, act('recording.start'));
  await trail.note(ACTOR, act('recording.stop'));
  state.isAway = false;
  await pass(2000);
  assert.deepEqual(actions(rows), ['recording.stop']);
  assert.equal(logged.at(-1), 'audit.lost');
  await trail.close();
});

test('closing waits for what is being written', async () => {
  const { trail, rows, state } = start();
  const hang = Promise.withResolvers<void>();
  state.hangs = hang.promise;
  const noted = trail.note(ACTOR, act('recording.start'));
  let isClosed = false;
  const closed = trail.close().then(() => (isClosed = true));
  await settle();
  assert.ok(!isClosed);
  state.hangs = null;
  hang.resolve();
  await Promise.all([noted, closed]);
  assert.deepEqual(actions(rows), ['recording.start']);
});

test('closing tries once more, and says what is lost', async () => {
  const back = start();
  back.state.isAway = true;
  await back.trail.note(ACTOR, act('recording.start'));
  back.state.isAway = false;
  await back.trail.close();
  await back.trail.close();
  assert.deepEqual(actions(back.rows), ['recording.start']);
  const away = start();
  away.state.isAway = true;
  await away.trail.note(ACTOR, act('recording.start'));
  await away.trail.close();
  assert.equal(away.logged.at(-1), 'audit.lost');
  assert.equal(away.clock.pending, 0);
});
