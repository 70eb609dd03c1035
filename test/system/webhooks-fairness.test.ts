/** Who gets the places of a node while receivers hang, fail or move: the queue itself, turn by turn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, type Id } from '#lib/ids.ts';
import type { Attempt, Claim, Sent, Turn, TurnResult } from '#store/webhook-queue.ts';
import { newReceiver, newWebhookKit, type WebhookKit } from './_webhook-kit.ts';

const MIN = 60_000;
const FAILED: Sent = { isOk: false, status: null, durationMs: 15_000, error: 'no answer' };

/** Deliveries of calls of their own, as the feed makes them. */
async function plant(kit: WebhookKit, accountId: Id, hookId: Id, count: number): Promise<void> {
  await kit.store.database.withSystem((sql) =>
    sql.run(
      `INSERT INTO webhook_deliveries (user_id, webhook_id, event_id, event_type, payload, next_attempt_at)
       SELECT $1, $2, gen_random_uuid(), 'call.ended', '{}', '-infinity' FROM generate_series(1, $3)`,
      [accountId, hookId, count],
    ),
  );
}

function turnOf(kit: WebhookKit, turn: Partial<Turn>): Promise<TurnResult> {
  const nowMs = kit.clock.wallMs();
  return kit.queue.turn({ nowMs, attempts: [], free: 100, sending: new Map(), ...turn });
}

test('a receiver that hangs while events keep coming: retries have their turn, and it ends', async (t) => {
  const kit = await newWebhookKit(t);
  await kit.worker.stop();
  const hook = await kit.hook('https://hooks.example.net/');
  let attempts: Attempt[] = [];
  let most = 0;
  const disabled: string[] = [];
  for (let turns = 0; turns < 30; turns++) {
    // More than two requests of 15 s each can take.
    await plant(kit, kit.actor.accountId, hook.row.id, 20);
    kit.clock.advance(turns === 20 ? 5 * 24 * 60 * MIN : 15_000);
    const atMs = kit.clock.wallMs();
    const result = await turnOf(kit, { attempts });
    disabled.push(...result.disabled.map(({ reason }) => reason));
    most = Math.max(most, ...result.claims.map((claim) => claim.attempts));
    attempts = result.claims.map((claim) => ({
      ...{ claim, sent: FAILED, atMs, status: 'pending', nextMs: atMs + 5_000 },
    }));
  }
  assert.ok(most >= 2, `${most} attempts were the most that any delivery had`);
  assert.deepEqual(disabled, ['failing']);
});

test('an account with many slow hooks leaves places to the others', async (t) => {
  const kit = await newWebhookKit(t);
  await kit.worker.stop();
  const other = newId();
  await kit.store.database.withSystem((sql) =>
    sql.run('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [other, 'other@example.test']),
  );
  const { accountId } = kit.actor;
  for (let i = 0; i < 30; i++) {
    const { row } = await kit.hook(`https://hooks.example.net/${i}`);
    await plant(kit, accountId, row.id, 10);
  }
  const first = await turnOf(kit, {});
  const busyOf = (claims: readonly Claim[], id: Id): number =>
    claims.filter((claim) => claim.accountId === id).length;
  assert.ok(busyOf(first.claims, accountId) <= 40, `${first.claims.length} at once`);
  assert.ok(busyOf(first.claims, accountId) >= 30);
  // None of them has ended when another account has something to say.
  const sending = new Map(first.claims.map(({ id, webhookId }) => [id, webhookId]));
  const made = await kit.webhooks.create(
    { ...kit.actor, accountId: other },
    { ...{ url: 'https://hooks.example.net/', events: ['*'] }, description: null, enabled: true },
  );
  assert.ok(made !== 'full');
  await plant(kit, other, made.row.id, 10);
  const second = await turnOf(kit, { sending, free: 100 - sending.size });
  assert.deepEqual([busyOf(second.claims, accountId), busyOf(second.claims, other)], [0, 8]);
});

test('an answer of the old URL says nothing of the new one', async (t) => {
  const kit = await newWebhookKit(t);
  const [old, fresh] = [await newReceiver(t), await newReceiver(t)];
  const { row } = await kit.hook(old.url());
  const asked = Promise.withResolvers<() => void>();
  old.answer = (_one, response) => asked.resolve(() => void response.writeHead(410).end());
  await kit.tell(kit.newCall().initiated());
  kit.clock.advance(10);
  const answer = await asked.promise;
  await kit.webhooks.update(kit.actor, row.id, { url: fresh.url() });
  answer();
  await kit.pass(1_000, 100);
  await kit.pass(10 * MIN, MIN);
  const now = await kit.webhooks.get(kit.actor, row.id);
  assert.deepEqual([now?.enabled, now?.disabledReason, now?.failingSince], [true, null, null]);
  assert.equal(fresh.taken.length, 1);
});

test('a 2xx whose body breaks off, or never ends, is delivered', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  await kit.hook(receiver.url());
  receiver.answer = (one, response) => {
    response.writeHead(200, { 'content-length': '50' });
    response.write('part', () => {
      // Long enough for the head to be read on its own.
      if (one.event.type === 'call.initiated') setImmediate(() => response.destroy());
    });
  };
  const call = kit.newCall();
  await kit.tell(call.initiated(), call.answered());
  for (let tries = 0; kit.attempts.length < 2 && tries < 3_000; tries++) {
    kit.clock.advance(20);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.deepEqual(
    (await kit.rows()).map((row) => [row.status, row.attempts, row.response_status]),
    [
      ['delivered', 1, 200],
      ['delivered', 1, 200],
    ],
  );
});
