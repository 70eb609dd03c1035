/** Webhooks without a database: signatures, patterns, the schedule, and the worker against a queue in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { EVENT_TYPES, isEventPattern } from '#lib/event-types.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { isSubscribed, type PublicEvent } from '#lib/public-event.ts';
import { DISABLE_AFTER_MS, MAX_ATTEMPTS, retryDelayMs } from '#lib/webhook-schedule.ts';
import { newWebhookSecret, signatureHeaders } from '#lib/webhook-signature.ts';
import { LEASE_MS, type Attempt, type Claim, type Sent, type Turn } from '#store/webhook-queue.ts';
import type { Sql } from '#store/pool.ts';
import { feedWebhooks } from '#store/webhook-feed.ts';
import { bodyOf } from '#store/webhook-sender.ts';
import { WebhookWorker } from '#store/webhook-worker.ts';
import { scriptCall } from './_store-entries.ts';

test('signature: golden vectors', () => {
  // The first is the example of the Standard Webhooks specification; the second was made with openssl.
  const rows = [
    {
      secret: 'whsec_plJ3nmyCDGBKInavdOK15jsl',
      content: {
        ...{ id: 'msg_loFOjxBNrRLzqYUf', timestampS: 1731705121 },
        body: '{"event_type":"ping","data":{"success":true}}',
      },
      signature: 'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=',
    },
    {
      secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
      content: { id: 'evt', timestampS: 1767225600, body: '{"text":"您好"}' },
      signature: 'v1,JnXJ4zxQN35qn2yHdTeyJuxAploRccb2Ei/EIG778KU=',
    },
  ];
  for (const { secret, content, signature } of rows) {
    assert.deepEqual(signatureHeaders(content, [secret]), {
      ...{ 'webhook-id': content.id, 'webhook-timestamp': String(content.timestampS) },
      'webhook-signature': signature,
    });
  }
});

test('signature: an independent library takes it, with either secret of a rotation, and with no other', () => {
  const [fresh, old, other] = [newWebhookSecret(), newWebhookSecret(), newWebhookSecret()];
  const content = { id: newId(), timestampS: Math.floor(Date.now() / 1000), body: '{"a":"é"}' };
  const headers = signatureHeaders(content, [fresh, old]);
  assert.deepEqual(new Webhook(fresh).verify(content.body, headers), { a: 'é' });
  assert.deepEqual(new Webhook(old).verify(content.body, headers), { a: 'é' });
  assert.throws(() => new Webhook(other).verify(content.body, headers), /No matching signature/);
  assert.throws(() => new Webhook(fresh).verify('{"a":"e"}', headers), /No matching signature/);
  const late = { ...content, timestampS: content.timestampS - 301 };
  const lateHeaders = signatureHeaders(late, [fresh]);
  assert.throws(() => new Webhook(fresh).verify(late.body, lateHeaders), /too old/);
});

test('secrets: 32 random bytes each; one of another form does not sign', () => {
  const secrets = Array.from({ length: 50 }, newWebhookSecret);
  assert.equal(new Set(secrets).size, 50);
  for (const secret of secrets) {
    assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
    assert.equal(Buffer.from(secret.slice(6), 'base64').length, 32);
  }
  const content = { id: 'a', timestampS: 1, body: '' };
  for (const wrong of ['', 'whsec_', 'secret', 'WHSEC_AAAA']) {
    assert.throws(() => signatureHeaders(content, [wrong]), { code: 'E_DATABASE' }, wrong);
  }
});

test('patterns: every type, its alias, the groups, and nothing else', () => {
  for (const type of EVENT_TYPES) assert.equal(isEventPattern(type), true, type);
  const known = ['*', 'call.*', 'recording.*', 'summary.*', 'campaign.*', 'trunk.*', 'dtmf.*'];
  known.push('supervisor.*', 'conversation.*', 'webhook.*', 'call-initiated', 'call-ended');
  for (const text of known) assert.equal(isEventPattern(text), true, text);
  const unknown = ['', '**', 'call', 'call.', 'call.*.x', 'call.unknown', 'Call.ended', ' call.*'];
  unknown.push('call-*', 'user-*', 'user-speech.*', 'call-error.*', 'toString', 'call-unknown');
  for (const text of unknown) assert.equal(isEventPattern(text), false, text);
});

test('patterns: what a subscription takes', () => {
  const rows: [readonly string[], string, boolean][] = [
    [['*'], 'call.ended', true],
    [['call.*'], 'call.ended', true],
    [['call.*'], 'call-error', false],
    [['call-ended'], 'call.ended', true],
    [['call-ended'], 'call.failed', false],
    [['user-speech', 'trunk.*'], 'trunk.changed', true],
    [['user-speech'], 'user-speech', true],
    [[], 'call.ended', false],
  ];
  for (const [patterns, type, expected] of rows) {
    assert.equal(isSubscribed(patterns, type), expected, `${patterns.join()} ${type}`);
  }
});

test('schedule: the waits of the contract, a tenth more or less, then the end', () => {
  const [s, min, h] = [1_000, 60_000, 3_600_000];
  const waits = [5 * s, 5 * min, 30 * min, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h];
  for (const [index, waitMs] of waits.entries()) {
    assert.equal(
      retryDelayMs(index + 1, () => 0.5),
      waitMs,
    );
    assert.equal(
      retryDelayMs(index + 1, () => 0),
      waitMs * 0.9,
    );
    assert.equal(
      retryDelayMs(index + 1, () => 1),
      Math.round(waitMs * 1.1),
    );
    const real = retryDelayMs(index + 1) ?? 0;
    assert.ok(real >= waitMs * 0.9 && real <= waitMs * 1.1);
  }
  assert.equal(retryDelayMs(waits.length + 1), null);
  assert.equal(MAX_ATTEMPTS, 10);
  assert.equal(DISABLE_AFTER_MS, 5 * 24 * h);
});

const EVENT: PublicEvent = {
  ...{ id: newId(), type: 'call.ended', alias: 'call-ended', time: '2026-01-01T00:00:00.000Z' },
  ...{ account_id: newId(), call_id: null, conversation_id: null, seq: null, node: 'n' },
  ...{ request_id: null, data: { b: 1, a: '您好' } },
};

test('body: the same bytes whatever the order of the stored fields', () => {
  const shuffled = Object.fromEntries(Object.entries(EVENT).reverse()) as unknown as PublicEvent;
  assert.equal(bodyOf(shuffled), JSON.stringify(EVENT));
  const more = { ...EVENT, extra: true } as PublicEvent;
  assert.equal(bodyOf(more), JSON.stringify(EVENT));
});

test('feed: one statement never carries more than it can write in its time', async () => {
  const accountId = newId();
  const sizes: number[] = [];
  const ids: string[] = [];
  const sql: Sql = {
    rows: async () => [{ user_id: accountId }] as never[],
    run: async (_text, [json]: readonly unknown[] = []) => {
      const rows = JSON.parse(json as string) as { id: string; place: number }[];
      sizes.push(rows.length === 1 ? 0 : (json as string).length);
      for (const { id, place } of rows) assert.equal(ids.push(id) - 1, place);
      return rows.length;
    },
  };
  const call = scriptCall(accountId, newId());
  const texts = [...Array.from({ length: 100 }, () => 20_000), 900_000, 10, 10];
  const entries = texts.map((size) => call.says('user', 'x'.repeat(size)));
  assert.equal(await feedWebhooks(sql, entries, JSON.stringify), entries.length);
  assert.deepEqual(
    ids,
    entries.map(({ event }) => event.id),
  );
  assert.ok(
    sizes.every((size) => size < 300_000),
    sizes.join(),
  );
  assert.ok(sizes.length < 20);
});

// ---- The worker ----

type Row = { claim: Claim; dueMs: number; isHeld: boolean };

/** A queue of one kind of row, as the database keeps it; `isAway` makes it fail. */
class MemoryQueue {
  readonly rows: Row[] = [];
  readonly written: Attempt[] = [];
  readonly turns: Turn[] = [];
  isAway = false;

  add(webhookId = newId(), attempts = 0): Row {
    const claim: Claim = {
      ...{ id: newId(), accountId: newId(), webhookId, payload: EVENT, attempts, leaseMs: 0 },
      ...{
        url: 'https://hooks.example.net/',
        secret: 's',
        oldSecret: null,
        oldSecretUntilMs: null,
      },
    };
    const row = { claim, dueMs: Number.NEGATIVE_INFINITY, isHeld: false };
    this.rows.push(row);
    return row;
  }

  async turn(turn: Turn) {
    if (this.isAway) throw new AppError('E_DATABASE_UNREACHABLE', 'away');
    this.turns.push(turn);
    for (const { id } of turn.released ?? []) this.#row(id).dueMs = Number.NEGATIVE_INFINITY;
    for (const attempt of turn.attempts) {
      this.written.push(attempt);
      const row = this.#row(attempt.claim.id);
      row.claim = { ...row.claim, attempts: attempt.claim.attempts + 1 };
      row.dueMs = attempt.nextMs ?? Number.POSITIVE_INFINITY;
    }
    const due = this.rows.filter((row) => row.dueMs <= turn.nowMs).slice(0, turn.free);
    const leaseMs = turn.nowMs + LEASE_MS;
    for (const row of due) row.dueMs = leaseMs;
    const later = this.rows.map((row) => row.dueMs).filter((dueMs) => dueMs > turn.nowMs);
    const nextMs = later.length === 0 ? null : Math.min(...later);
    const claims = due.map((row) => ({ ...row.claim, leaseMs }));
    return { claims, nextMs: Number.isFinite(nextMs) ? nextMs : null, disabled: [] };
  }

  #row(id: string): Row {
    const row = this.rows.find((each) => each.claim.id === id);
    assert.ok(row !== undefined);
    return row;
  }
}

const OK: Sent = { isOk: true, status: 200, durationMs: 1, error: null };
const FAILED: Sent = { isOk: false, status: 500, durationMs: 1, error: 'answered 500' };

function makeWorker(answer: (claim: Claim, signal?: AbortSignal) => Promise<Sent>, capacity = 10) {
  const clock = new SimulatedClock();
  const queue = new MemoryQueue();
  const statuses: string[] = [];
  const sentAtMs: number[] = [];
  const worker = new WebhookWorker({
    ...{ queue, clock, log: silentLog, capacity, random: () => 0.5 },
    onAttempt: (status) => statuses.push(status),
    sender: {
      send: (sending, signal) => {
        sentAtMs.push(clock.now());
        return answer(sending as Claim, signal);
      },
    },
  });
  /** Time passes in steps, with room for promises in between. */
  const pass = async (ms: number, stepMs = ms): Promise<void> => {
    for (let gone = 0; gone < ms; gone += stepMs) {
      clock.advance(stepMs);
      for (let i = 0; i < 12; i++) await Promise.resolve();
    }
  };
  return { clock, queue, statuses, sentAtMs, worker, pass };
}

test('worker: a delivery that fails is tried at each time of the schedule, then it is dead', async () => {
  const { queue, statuses, sentAtMs, worker, pass } = makeWorker(async () => FAILED);
  queue.add();
  worker.start();
  await pass(100, 10);
  await pass(20_000, 1_000);
  await pass(4 * 24 * 3_600_000, 60_000);
  const [s, min, h] = [1_000, 60_000, 3_600_000];
  const waits = [5 * s, 5 * min, 30 * min, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h];
  assert.equal(sentAtMs.length, MAX_ATTEMPTS);
  for (const [index, waitMs] of waits.entries()) {
    const realMs = (sentAtMs[index + 1] ?? 0) - (sentAtMs[index] ?? 0);
    assert.ok(realMs >= waitMs && realMs <= waitMs + 120_000, `wait ${index + 1}: ${realMs}`);
  }
  assert.deepEqual(statuses, [...Array.from({ length: 9 }, () => 'failed'), 'dead']);
  await worker.stop();
});

test('worker: no more requests under way than its capacity', async () => {
  const waiting: (() => void)[] = [];
  let [live, most] = [0, 0];
  const { queue, worker, pass } = makeWorker(async () => {
    most = Math.max(most, ++live);
    await new Promise<void>((resolve) => waiting.push(resolve));
    live--;
    return OK;
  }, 4);
  for (let i = 0; i < 30; i++) queue.add();
  worker.start();
  for (let i = 0; i < 60; i++) {
    await pass(20, 10);
    waiting.shift()?.();
  }
  await pass(100, 10);
  assert.deepEqual([most, queue.written.length, worker.isIdle], [4, 30, true]);
  await worker.stop();
});

test('worker: results outlive the database being away, and nothing new is claimed meanwhile', async () => {
  const answer = Promise.withResolvers<Sent>();
  const { queue, statuses, sentAtMs, worker, pass } = makeWorker(() => answer.promise);
  queue.add();
  worker.start();
  await pass(20, 10);
  queue.isAway = true;
  answer.resolve(OK);
  queue.add();
  worker.wake();
  await pass(60_000, 1_000);
  assert.deepEqual([queue.written.length, sentAtMs.length, statuses], [0, 1, []]);
  queue.isAway = false;
  // The wait between two looks is drawn by lot.
  await pass(40_000, 1_000);
  assert.deepEqual([queue.written.length, sentAtMs.length], [2, 2]);
  assert.deepEqual(statuses, ['delivered', 'delivered']);
  await worker.stop();
});

test('worker: when it stops, requests may end for 3 s; what is broken off is given back unspent', async () => {
  const slow = Promise.withResolvers<Sent>();
  const { queue, worker, pass, clock } = makeWorker((claim, signal) => {
    if (claim.attempts === 0) return slow.promise;
    return new Promise((resolve) => {
      const given = { isOk: false, status: null, durationMs: 1, error: 'given up' };
      signal?.addEventListener('abort', () => resolve(given), { once: true });
    });
  });
  const [ends, hangs] = [queue.add(), queue.add(newId(), 3)];
  worker.start();
  await pass(20, 10);
  const stopped = worker.stop();
  slow.resolve(OK);
  await pass(10);
  await pass(3_000);
  await stopped;
  await worker.stop();
  assert.deepEqual(
    queue.written.map(({ claim, status }) => [claim.id, status]),
    [[ends.claim.id, 'delivered']],
  );
  assert.deepEqual([hangs.claim.attempts, hangs.dueMs], [3, Number.NEGATIVE_INFINITY]);
  worker.wake();
  assert.equal(clock.pending, 0);
});
