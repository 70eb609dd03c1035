/** Webhooks from the journal to a receiver on the loopback, on a clock of the test's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { newId } from '#lib/ids.ts';
import { applyEntries } from '#store/projection-sql.ts';
import type { WebhookQueue } from '#store/webhook-queue.ts';
import { newReceiver, newWebhookKit, type Received } from './_webhook-kit.ts';

const MIN = 60_000;
const HOUR = 60 * MIN;
const DAY = 24 * HOUR;

function countById(received: readonly Received[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { id } of received) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

test('every event of a call arrives once, in order, signed, with its public shape', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  receiver.secret = (await kit.hook(receiver.url())).secret;
  const calls = Array.from({ length: 5 }, () => kit.newCall());
  for (const call of calls) {
    await kit.tell(call.initiated(), call.answered(), call.says('assistant', '您好'));
    await kit.tell(call.says('user', 'hi'), call.says('assistant', 'bye'), call.ended());
  }
  await kit.pass(1_000);
  assert.deepEqual(receiver.refused, []);
  assert.equal(receiver.received.length, 30);
  for (const call of calls) {
    const of = receiver.received.filter(({ event }) => event.call_id === call.id);
    assert.deepEqual(
      of.map(({ event }) => event.seq),
      [1, 2, 3, 4, 5, 6],
    );
  }
  const [first] = receiver.received;
  const call = calls.find(({ id }) => id === first?.event.call_id);
  assert.ok(first !== undefined && call !== undefined);
  const { data, ...common } = first.event;
  assert.deepEqual(common, {
    ...{ id: first.id, type: 'call.initiated', alias: 'call-initiated', time: common.time },
    ...{ account_id: kit.actor.accountId, call_id: call.id, conversation_id: call.id, seq: 1 },
    ...{ node: 'node-1', request_id: null },
  });
  assert.equal((data as { direction: string }).direction, 'inbound');
  assert.equal(first.headers['content-type'], 'application/json; charset=utf-8');
  assert.equal(first.headers['user-agent'], 'callyard/test');
  assert.ok(
    (await kit.rows()).every(({ status, attempts }) => status === 'delivered' && attempts === 1),
  );
});

test('a receiver that is away for hours gets every event when it returns, each once by id', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  receiver.secret = (await kit.hook(receiver.url())).secret;
  await receiver.close();
  const calls = Array.from({ length: 4 }, () => kit.newCall());
  const sent: string[] = [];
  for (const call of calls) {
    const entries = [call.initiated(), call.answered(), call.says('user', 'one'), call.ended()];
    sent.push(...entries.map(({ event }) => event.id));
    await kit.tell(...entries);
    await kit.pass(20 * MIN, 10 * MIN);
  }
  assert.equal(receiver.received.length, 0);
  const waiting = await kit.rows();
  assert.ok(waiting.every(({ status, attempts }) => status === 'pending' && attempts > 0));
  assert.deepEqual(
    new Set(waiting.map((row) => row.last_error)),
    new Set(['no answer could be had: ECONNREFUSED']),
  );
  // Answers with errors are no deliveries either.
  receiver.answer = 503;
  await receiver.open();
  await kit.pass(3 * HOUR, 30 * MIN);
  const bodies = new Map(receiver.received.map(({ id, body }) => [id, body]));
  assert.equal(bodies.size, sent.length);
  receiver.answer = 200;
  await kit.pass(11 * HOUR, HOUR);
  assert.deepEqual(countById(receiver.taken), new Map(sent.map((id) => [id, 1])));
  assert.deepEqual(receiver.refused, []);
  for (const { id, body } of receiver.taken) assert.equal(body, bodies.get(id));
  assert.ok((await kit.rows()).every(({ status }) => status === 'delivered'));
  assert.equal(kit.attempts.filter((status) => status === 'delivered').length, sent.length);
});

test('what is queued: by pattern, alias and account, final speech alone, to enabled hooks', async (t) => {
  const kit = await newWebhookKit(t);
  await kit.worker.stop();
  const url = 'https://hooks.example.net/';
  const hooks = {
    all: await kit.hook(url),
    life: await kit.hook(url, ['call.*']),
    alias: await kit.hook(url, ['call-ended', 'user-speech']),
    exact: await kit.hook(url, ['conversation.message', 'call.ended']),
    off: await kit.hook(url),
  };
  await kit.webhooks.update(kit.actor, hooks.off.row.id, { enabled: false });
  const call = kit.newCall();
  const speech = { text: 'a', start_ms: 0, end_ms: 1, confidence: null, language: null };
  await kit.tell(
    ...[call.initiated(), call.answered(), call.says('user', 'hello')],
    call.entry('user-speech', { ...speech, is_final: false }),
    call.entry('user-speech', { ...speech, is_final: true }),
    call.entry('call-error', {
      ...{ code: 'X', message: 'x', fault: 'us' },
      ...{ fatal: false, retryable: true },
    }),
    call.ended(),
    {
      event: {
        ...{ id: newId(), type: 'trunk.changed', time: new Date().toISOString(), seq: null },
        ...{ account_id: kit.actor.accountId, call_id: null, node: 'node-1', request_id: null },
        data: { trunk_id: newId(), registered: true, error: null },
      },
      ...{ record: null, recording: null },
    },
  );
  const queued = await kit.rows();
  const typesOf = (name: keyof typeof hooks): string[] =>
    queued.filter((row) => row.webhook_id === hooks[name].row.id).map((row) => row.event_type);
  const story = ['call.initiated', 'call.answered', 'conversation.message', 'user-speech'];
  assert.deepEqual(typesOf('all'), [...story, 'call-error', 'call.ended', 'trunk.changed']);
  assert.deepEqual(typesOf('life'), ['call.initiated', 'call.answered', 'call.ended']);
  assert.deepEqual(typesOf('alias'), ['user-speech', 'call.ended']);
  assert.deepEqual(typesOf('exact'), ['conversation.message', 'call.ended']);
  assert.deepEqual(typesOf('off'), []);
});

test('a batch that is applied twice queues nothing twice; a deleted record takes its deliveries along', async (t) => {
  const kit = await newWebhookKit(t);
  await kit.worker.stop();
  await kit.hook('https://hooks.example.net/');
  const call = kit.newCall();
  const entries = [call.initiated(), call.answered(), call.ended()];
  await kit.tell(...entries);
  const before = await kit.rows();
  assert.equal(before.length, 3);
  const { database } = kit.store;
  const again = await database.withSystem((sql) => applyEntries(sql, entries));
  assert.equal(again.deliveries, 0);
  // As if the events had been removed by retention and came again: the hook and the event's id still tell.
  await database.withSystem((sql) => sql.run('DELETE FROM call_events'));
  const replayed = await database.withSystem((sql) => applyEntries(sql, entries));
  assert.equal(replayed.deliveries, 0);
  assert.deepEqual(await kit.rows(), before);
  assert.equal(await kit.store.records.remove(kit.actor, call.id), null);
  assert.deepEqual(await kit.rows(), []);
});

test('the list of deliveries: a key for some agents sees those of their calls alone', async (t) => {
  const kit = await newWebhookKit(t);
  await kit.worker.stop();
  const { row } = await kit.hook('https://hooks.example.net/');
  const call = kit.newCall();
  await kit.tell(call.initiated(), call.ended());
  await kit.deliveries.test(kit.actor, row.id);
  const typesFor = async (agentIds: string[] | null): Promise<string[]> => {
    const page = { limit: 20, from: { offset: 0 } };
    const found = await kit.deliveries.list({ ...kit.actor, agentIds }, row.id, null, page);
    assert.ok(found !== 'missing');
    assert.equal(found.total, found.rows.length);
    return found.rows.map(({ eventType }) => eventType).toSorted();
  };
  assert.deepEqual(await typesFor(null), ['call.ended', 'call.initiated', 'webhook.test']);
  assert.deepEqual(await typesFor([newId(), call.agentId]), ['call.ended', 'call.initiated']);
  assert.deepEqual(await typesFor([newId()]), []);
});

test('410 disables the hook, what waits stays, and goes out when it is enabled again', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  const { row } = await kit.hook(receiver.url());
  receiver.answer = 410;
  const call = kit.newCall();
  await kit.tell(call.initiated());
  await kit.pass(1_000);
  const disabled = await kit.webhooks.get(kit.actor, row.id);
  assert.deepEqual([disabled?.enabled, disabled?.disabledReason], [false, 'gone']);
  await kit.tell(call.answered());
  await kit.pass(DAY, 6 * HOUR);
  assert.equal(receiver.received.length, 1);
  assert.deepEqual(
    (await kit.rows()).map(({ status, response_status }) => [status, response_status]),
    [['pending', 410]],
    'nothing is queued for a hook that is disabled',
  );
  const audit = await kit.store.database.withSystem((sql) =>
    sql.rows("SELECT actor, changes FROM audit_log WHERE action = 'webhook.disable'"),
  );
  assert.deepEqual(audit, [
    { actor: 'system', changes: { enabled: false, disabled_reason: 'gone' } },
  ]);
  receiver.answer = 204;
  const enabled = await kit.webhooks.update(kit.actor, row.id, { enabled: true });
  assert.deepEqual([enabled?.enabled, enabled?.disabledReason], [true, null]);
  await kit.pass(1_000);
  assert.deepEqual(
    receiver.taken.map(({ event }) => event.type),
    ['call.initiated'],
  );
});

test('five days without a success disable the hook; a success in between begins anew', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  const { row } = await kit.hook(receiver.url());
  receiver.answer = 500;
  const stateOf = async () => {
    const hook = await kit.webhooks.get(kit.actor, row.id);
    return [hook?.enabled, hook?.disabledReason, hook?.failingSince === null];
  };
  for (let day = 0; day < 4; day++) {
    await kit.tell(kit.newCall().initiated());
    await kit.pass(DAY, 6 * HOUR);
  }
  assert.deepEqual(await stateOf(), [true, null, false]);
  receiver.answer = 204;
  await kit.tell(kit.newCall().initiated());
  await kit.pass(1_000);
  assert.deepEqual(await stateOf(), [true, null, true]);
  receiver.answer = 500;
  for (let day = 0; day < 6; day++) {
    await kit.tell(kit.newCall().initiated());
    await kit.pass(DAY, 6 * HOUR);
  }
  assert.deepEqual(await stateOf(), [false, 'failing', false]);
  const before = receiver.received.length;
  await kit.pass(2 * DAY, 12 * HOUR);
  assert.equal(receiver.received.length, before);
});

test('redirects are not followed, and the answer says so', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  await kit.hook(receiver.url('/old'));
  receiver.answer = (one, response) => {
    one.status = 307;
    response.writeHead(307, { location: receiver.url('/new') }).end();
  };
  await kit.tell(kit.newCall().initiated());
  await kit.pass(10 * MIN, MIN);
  assert.deepEqual(new Set(receiver.received.map(({ path }) => path)), new Set(['/old']));
  const [state] = await kit.rows();
  assert.deepEqual(
    [state?.status, state?.response_status, state?.last_error],
    ['pending', 307, 'answered 307; redirects are not followed'],
  );
});

test('a receiver that never answers holds up nobody else, and times out after 15 s', async (t) => {
  const kit = await newWebhookKit(t);
  const [slow, quick] = [await newReceiver(t), await newReceiver(t)];
  let [live, most] = [0, 0];
  slow.answer = (_one, response) => {
    most = Math.max(most, ++live);
    response.on('close', () => live--);
  };
  const slowHook = await kit.hook(slow.url());
  const quickHook = await kit.hook(quick.url());
  for (let i = 0; i < 40; i++) await kit.tell(kit.newCall().initiated());
  // Time goes on slowly: nothing here is ever idle.
  const passUntil = async (isSo: () => boolean): Promise<void> => {
    for (let tries = 0; !isSo() && tries < 2_000; tries++) {
      kit.clock.advance(20);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.ok(isSo());
  };
  await passUntil(() => quick.taken.length === 40);
  const slowRows = (await kit.rows()).filter((row) => row.webhook_id === slowHook.row.id);
  assert.ok(slowRows.every(({ status, attempts }) => status === 'pending' && attempts === 0));
  await passUntil(() => kit.attempts.filter((status) => status === 'failed').length >= 8);
  assert.ok(most <= 8, `${most} at a time`);
  const states = await kit.rows();
  const late = states.filter((row) => row.webhook_id === slowHook.row.id && row.attempts > 0);
  assert.deepEqual(new Set(late.map((row) => row.last_error)), new Set(['no answer within 15 s']));
  assert.ok(late.length >= 8);
  assert.ok(
    states.every((row) => row.webhook_id !== quickHook.row.id || row.status === 'delivered'),
  );
});

test('rotation: both secrets verify during the overlap, the new one alone afterwards', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  const { row, secret: old } = await kit.hook(receiver.url());
  const rotated = await kit.webhooks.rotateSecret(kit.actor, row.id, 3_600);
  assert.ok(rotated !== null);
  await kit.tell(kit.newCall().initiated());
  await kit.pass(1_000);
  const [during] = receiver.received;
  assert.ok(during !== undefined);
  assert.equal(during.headers['webhook-signature']?.split(' ').length, 2);
  for (const secret of [old, rotated.secret])
    new Webhook(secret).verify(during.body, during.headers);
  await kit.pass(HOUR + MIN, 10 * MIN);
  await kit.tell(kit.newCall().initiated());
  await kit.pass(1_000);
  const after = receiver.received.at(-1);
  assert.ok(after !== undefined && after !== during);
  new Webhook(rotated.secret).verify(after.body, after.headers);
  assert.throws(() => new Webhook(old).verify(after.body, after.headers), /No matching/);
  const again = await kit.webhooks.rotateSecret(kit.actor, row.id, 0);
  await kit.tell(kit.newCall().initiated());
  await kit.pass(1_000);
  const last = receiver.received.at(-1);
  assert.ok(again !== null && last !== undefined);
  new Webhook(again.secret).verify(last.body, last.headers);
  assert.throws(() => new Webhook(rotated.secret).verify(last.body, last.headers), /No matching/);
});

test('a receiver with the wrong secret sees that it is wrong', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  await kit.hook(receiver.url());
  receiver.secret = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
  await kit.tell(kit.newCall().initiated());
  await kit.pass(1_000);
  assert.match(receiver.refused.join(), /No matching signature/);
  assert.deepEqual((await kit.rows())[0]?.last_error, 'answered 401');
});

test('after the last retry a delivery is dead; redelivered it goes out with its id', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  const { row } = await kit.hook(receiver.url());
  receiver.answer = 500;
  await kit.tell(kit.newCall().initiated());
  await kit.pass(HOUR, 5 * MIN);
  await kit.pass(100 * HOUR, HOUR);
  const [dead] = await kit.rows();
  assert.ok(dead !== undefined);
  assert.deepEqual([dead.status, dead.attempts, receiver.received.length], ['dead', 10, 10]);
  assert.deepEqual(kit.attempts.slice(-2), ['failed', 'dead']);
  receiver.answer = 200;
  const queued = await kit.deliveries.redeliver(kit.actor, row.id, dead.id);
  assert.ok(typeof queued !== 'string');
  assert.deepEqual([queued.status, queued.attempts], ['pending', 0]);
  await kit.pass(1_000);
  assert.deepEqual(
    receiver.taken.map(({ id }) => id),
    [dead.event_id],
  );
  assert.equal(new Set(receiver.received.map(({ body }) => body)).size, 1);
  assert.equal((await kit.rows())[0]?.status, 'delivered');
});

test('a node that dies between sending and writing it down: sent again after the lease, with the same id', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  await kit.worker.stop();
  await kit.hook(receiver.url());
  let isDead = false;
  const dying: WebhookQueue = {
    turn: async (turn) => {
      if (isDead || turn.attempts.length > 0) {
        isDead = true;
        throw new Error('this process is gone');
      }
      return kit.queue.turn(turn);
    },
  };
  await kit.tell(kit.newCall().initiated());
  const lost = kit.makeWorker(dying);
  for (let tries = 0; !isDead && tries < 400; tries++) {
    kit.clock.advance(10);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  assert.deepEqual([receiver.taken.length, isDead], [1, true]);
  await lost.stop();
  kit.abandon(lost);
  kit.makeWorker();
  await kit.pass(MIN, 10_000);
  assert.equal(receiver.taken.length, 1, 'the claim still holds');
  await kit.pass(2 * MIN, 10_000);
  const [first, second, ...more] = receiver.taken;
  assert.deepEqual([second?.id, second?.body, more.length], [first?.id, first?.body, 0]);
  assert.deepEqual(
    (await kit.rows()).map(({ status, attempts }) => [status, attempts]),
    [['delivered', 1]],
  );
});

test('two nodes deliver together: each event once', async (t) => {
  const kit = await newWebhookKit(t);
  const receiver = await newReceiver(t);
  await kit.worker.stop();
  receiver.secret = (await kit.hook(receiver.url())).secret;
  const sent: string[] = [];
  for (let i = 0; i < 30; i++) {
    const call = kit.newCall();
    const entries = [call.initiated(), call.answered(), call.says('user', 'x'), call.ended()];
    sent.push(...entries.map(({ event }) => event.id));
    await kit.tell(...entries);
  }
  kit.makeWorker();
  kit.makeWorker();
  await kit.pass(2_000, 100);
  assert.deepEqual(countById(receiver.taken), new Map(sent.map((id) => [id, 1])));
  const seqs = new Map<string, number>();
  for (const { event } of receiver.taken) {
    const callId = event.call_id ?? '';
    assert.equal(event.seq, (seqs.get(callId) ?? 0) + 1, 'one call’s events come in order');
    seqs.set(callId, event.seq ?? 0);
  }
});
