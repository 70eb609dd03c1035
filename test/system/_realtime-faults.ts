/** Every fault of a realtime vendor's simulator, and what must come of it: a table that runs over every adapter. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { AppError, type ErrorCode } from '#lib/errors.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { openCall, WORDS, type RealtimeWorld } from './_realtime-contract.ts';
import { atEnd } from './_store.ts';

export type FaultContract = {
  readonly name: string;
  readonly start: () => Promise<RealtimeWorld>;
  /** What an error about credentials must name. */
  readonly account: string;
};

/** While opening: the error, within these ms. */
const OPENING: readonly (readonly [VendorFault, ErrorCode, number])[] = [
  [{ kind: 'refuse', status: 401 }, 'E_PROVIDER_AUTH', 300],
  [{ kind: 'refuse', status: 403 }, 'E_PROVIDER_AUTH', 300],
  [{ kind: 'refuse', status: 404 }, 'E_PROVIDER_PARAM', 300],
  [{ kind: 'refuse', status: 429 }, 'E_PROVIDER_QUOTA', 300],
  [{ kind: 'refuse', status: 503 }, 'E_PROVIDER_SERVER', 300],
  [{ kind: 'fail_before_start' }, 'E_PROVIDER_SERVER', 300],
  [{ kind: 'hang' }, 'E_TIMEOUT', 600],
];

type Row = {
  readonly fault: VendorFault;
  /** Connections it takes. */
  readonly lines: number;
  /** The caller's question is answered whole in this turn. */
  readonly turn: number;
  /** Errors that are told, none of them fatal. */
  readonly told: readonly ErrorCode[];
};

const TALKING: readonly Row[] = [
  { fault: { kind: 'cut' }, lines: 2, turn: 2, told: [] },
  { fault: { kind: 'half_open' }, lines: 2, turn: 2, told: [] },
  { fault: { kind: 'recycle' }, lines: 2, turn: 2, told: [] },
  { fault: { kind: 'huge', bytes: 9 * 1024 * 1024 }, lines: 2, turn: 2, told: [] },
  { fault: { kind: 'own', name: 'mute' }, lines: 2, turn: 1, told: [] },
  { fault: { kind: 'slow', ms: 250 }, lines: 1, turn: 1, told: [] },
  { fault: { kind: 'slow', ms: 5_000 }, lines: 2, turn: 2, told: [] },
  { fault: { kind: 'junk' }, lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: { kind: 'swapped' }, lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: { kind: 'late' }, lines: 1, turn: 1, told: [] },
  { fault: { kind: 'fail_midway' }, lines: 1, turn: 1, told: ['E_PROVIDER_SERVER'] },
  { fault: { kind: 'moderated' }, lines: 1, turn: 1, told: ['E_PROVIDER_CONTENT'] },
];

async function closed(world: RealtimeWorld): Promise<void> {
  for (let i = 0; i < 300 && world.server.open > 0; i++) await pause(5);
  assert.equal(world.server.open, 0, 'a socket stays open');
}

export function testRealtimeFaults({ name, start, account }: FaultContract): void {
  for (const [fault, code, withinMs] of OPENING) {
    test(`${name}: opening, ${JSON.stringify(fault)}: ${code}`, async (t) => {
      const world = await start();
      atEnd(t, () => world.close());
      world.faults.add(fault);
      const startMs = performance.now();
      await assert.rejects(openCall(t, world.provider), (error) => {
        assert.ok(error instanceof AppError);
        assert.equal(error.code, code, error.message);
        assert.doesNotMatch(error.message, /key-1|wss?:/);
        if (code === 'E_PROVIDER_AUTH') assert.ok(error.message.includes(account), error.message);
        return true;
      });
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs < withinMs + 200, `${tookMs} ms`);
      await closed(world);
    });
  }

  for (const { fault, lines, turn, told } of TALKING) {
    test(`${name}: talking, ${JSON.stringify(fault)}`, async (t) => {
      const world = await start();
      atEnd(t, () => world.close());
      world.faults.add(fault);
      const listener = await openCall(t, world.provider);
      listener.speak(7);
      await listener.turnDone(turn);
      assert.equal(world.server.accepted, lines);
      const errors = listener.all('error');
      assert.deepEqual(
        errors.map(({ error, isFatal }) => [(error as AppError).code, isFatal]),
        told.map((code) => [code, false]),
      );
      assert.equal(
        listener.all('user_transcript').findLast(({ isFinal }) => isFinal)?.text,
        WORDS[7],
      );
      // The call goes on as if nothing had been.
      listener.speak(9);
      const next = listener.all('turn_started').length + 1;
      await listener.turnDone(next);
      assert.equal(listener.textOf(next), `you said ${WORDS[9]}`);
      listener.do((session) => session.close());
      await closed(world);
      assert.deepEqual(world.violations, []);
    });
  }

  test(`${name}: a vendor that fails again and again is given up, once`, async (t) => {
    const world = await start();
    atEnd(t, () => world.close());
    world.faults.add(
      { kind: 'cut' },
      ...Array<VendorFault>(5).fill({ kind: 'refuse', status: 503 }),
    );
    const listener = await openCall(t, world.provider);
    listener.speak(7);
    await listener.until('a fatal error', () => listener.all('error').length > 0);
    const [last] = listener.all('error');
    assert.ok(last?.error instanceof AppError);
    assert.deepEqual([last.error.code, last.isFatal], ['E_PROVIDER_SERVER', true]);
    assert.equal(listener.events.at(-1), last, 'nothing is told after it');
    listener.speak(9);
    await pause(50);
    assert.equal(listener.events.at(-1), last);
    await closed(world);
  });

  test(`${name}: a key that is taken away in the middle ends the session at once`, async (t) => {
    const world = await start();
    atEnd(t, () => world.close());
    world.faults.add({ kind: 'cut' }, { kind: 'refuse', status: 401 });
    const listener = await openCall(t, world.provider);
    listener.speak(7);
    await listener.until('a fatal error', () => listener.all('error').length > 0);
    const [last] = listener.all('error');
    assert.ok(last?.error instanceof AppError);
    assert.deepEqual([last.error.code, last.isFatal], ['E_PROVIDER_AUTH', true]);
    assert.ok(last.error.message.includes(account));
    await closed(world);
  });

  test(`${name}: late sound after a cancel is not given out`, async (t) => {
    const world = await start();
    atEnd(t, () => world.close());
    world.faults.add({ kind: 'late' });
    const listener = await openCall(t, world.provider);
    listener.do((session) => session.say('one two three four five six seven eight nine ten'));
    await listener.until('sound', () => listener.all('audio').length >= 3);
    const count = listener.events.length;
    listener.do((session) => session.interrupt(1, 100));
    await pause(80);
    assert.deepEqual(
      listener.events.slice(count).filter((event) => 'generation' in event),
      [],
    );
    listener.do((session) => session.say('after that'));
    await listener.turnDone(2);
    assert.equal(listener.textOf(2), 'after that');
    listener.do((session) => session.close());
    await closed(world);
  });
}
