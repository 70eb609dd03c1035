/** Journal to Postgres: each event once, messages, cut texts, poison, outages. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Actor } from '#lib/actor.ts';
import type { RecordingPatch } from '#lib/call-events.ts';
import { newId } from '#lib/ids.ts';
import { openStore, type Store } from '#store/store.ts';
import { scriptCall, type CallScript } from '../unit/_store-entries.ts';
import { atEnd, newDatabase, newDataDir, newStore, storeOptions, until } from './_store.ts';
import { startProxy } from './_tcp-proxy.ts';

async function newCall(store: Store): Promise<CallScript> {
  const accountId = await store.defaultAccount();
  return scriptCall(accountId, (await store.agents.defaultFor(accountId)).id);
}

const drained = (store: Store): Promise<boolean> => store.projection.drain(15_000);

test('a call becomes one record with its messages; a replay changes nothing that a user set', async (t) => {
  const url = await newDatabase(t);
  const dataDir = newDataDir(t);
  const store = await newStore(t, storeOptions(dataDir, url));
  const call = await newCall(store);
  const recording: RecordingPatch = { id: newId(), status: 'active', uri: 'recordings/a.wav' };
  const first = call.initiated({
    caller_name: `${'名'.repeat(300)}\0`,
    caller_phone: '1'.repeat(60),
    recording_status: 'active',
    recording_id: recording.id,
  });
  store.journal.append({ ...first, recording });
  store.journal.append(call.answered());
  store.journal.append(call.says('assistant', '您好\0\ud800'));
  assert.equal(await drained(store), true);
  const live = await store.records.get(call.accountId, call.id);
  assert.deepEqual([live?.status, live?.messages.length, live?.source], ['answered', 1, 'core']);
  assert.deepEqual([live?.callerName, live?.callerPhone], ['名'.repeat(255), '1'.repeat(50)]);
  assert.equal(live?.messages[0]?.content, '您好\ufffd');

  store.journal.append(call.says('user', 'hello'));
  store.journal.append(call.ended());
  store.journal.append(
    call.entry(
      'recording.ready',
      { recording_id: recording.id, duration_ms: 900, bytes: 28_844 },
      { recording_status: 'ready' },
      { ...recording, status: 'ready', duration_ms: 900, bytes: 28_844 },
    ),
  );
  await drained(store);
  const done = await store.records.get(call.accountId, call.id);
  assert.deepEqual(
    done?.messages.map(({ role, content }) => [role, content]),
    [
      ['assistant', '您好\ufffd'],
      ['user', 'hello'],
    ],
  );
  assert.deepEqual(done?.recording, {
    id: recording.id,
    status: 'ready',
    durationMs: 900,
    uri: recording.uri,
  });
  assert.deepEqual(
    [done?.status, done?.outcome, done?.recordingStatus],
    ['ended', 'completed', 'ready'],
  );

  await store.database.withAccount(call.accountId, 'test', (sql) =>
    sql.run(
      "UPDATE call_records SET caller_name = 'Ann', summary = 'short', metadata = metadata || '{\"mine\": 1}' WHERE id = $1",
      [call.id],
    ),
  );
  await store.close();
  rmSync(path.join(dataDir, 'journal', 'postgres.cursor'));
  const again = await newStore(t, storeOptions(dataDir, url));
  await until(() => again.projection.lagEvents === 0, 'the replay');
  const kept = await again.records.get(call.accountId, call.id);
  assert.deepEqual(
    [kept?.callerName, kept?.summary, kept?.metadata, kept?.messages.length],
    ['Ann', 'short', { total_tokens: 0, mine: 1 }, 2],
  );
  const events = await again.database.withSystem((sql) =>
    sql.rows<{ seq: number }>('SELECT seq FROM call_events ORDER BY seq'),
  );
  assert.deepEqual(
    events.map(({ seq }) => seq),
    [1, 2, 3, 4, 5, 6],
  );
});

test('a record that was deleted does not come back with its key when the journal is read again', async (t) => {
  const url = await newDatabase(t);
  const dataDir = newDataDir(t);
  const store = await newStore(t, storeOptions(dataDir, url));
  const { accountId, agentId } = await newCall(store);
  const call = scriptCall(accountId, agentId, Date.now() - 60_000);
  const recording = { id: newId(), uri: 'recordings/a.cyr', key_enc: 'cy1.a.b.c.d' };
  const ready = { ...recording, status: 'ready' as const, duration_ms: 900, bytes: 28_844 };
  const data = { recording_id: recording.id, duration_ms: 900, bytes: 28_844 };
  const entries = [
    { ...call.initiated(), recording: { ...recording, status: 'active' as const } },
    call.answered(),
    call.says('user', 'a secret'),
    call.ended(),
    call.entry('recording.ready', data, { recording_status: 'ready' }, ready),
  ];
  for (const entry of entries) store.journal.append(entry);
  await drained(store);
  const actor: Actor = {
    ...{ name: 'key:x', accountId, role: 'admin', agentIds: null, requestId: 'r', ip: null },
  };
  assert.equal(await store.records.remove(actor, call.id), null);
  // As after the loss of the cursor, or a data directory that was restored from a copy.
  for (const entry of entries) store.journal.append(entry);
  const later = call.entry('summary.ready', { summary: 'late', source: 'extractive' });
  store.journal.append(later);
  await drained(store);
  assert.equal(await store.records.get(accountId, call.id), null);
  const left = await store.database.withSystem((sql) => sql.rows('SELECT id FROM recordings'));
  assert.deepEqual([left, store.projection.parked], [[], 0]);
});

test('entries that the database refuses are parked; the others of the same moment pass', async (t) => {
  const dataDir = newDataDir(t);
  const store = await newStore(t, storeOptions(dataDir, await newDatabase(t)));
  const good = await newCall(store);
  const noAgent = scriptCall(good.accountId, newId());
  const noRecord = await newCall(store);
  const wrongTime = await newCall(store);
  store.journal.append(good.initiated());
  store.journal.append(noAgent.initiated());
  store.journal.append(noRecord.answered());
  store.journal.append(wrongTime.initiated({ end_time: '2020-01-01T00:00:00.000Z' }));
  store.journal.append(good.ended());
  assert.equal(await drained(store), true);
  assert.equal(store.projection.parked, 3);
  assert.equal(store.projection.isUp, true);
  assert.equal((await store.records.get(good.accountId, good.id))?.status, 'ended');
  const parked = readFileSync(path.join(dataDir, 'journal', 'dead-letter.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { sqlState: string; entry: { event: { call_id: string } } });
  assert.deepEqual(
    parked.map(({ sqlState, entry }) => [sqlState, entry.event.call_id]),
    [
      ['23503', noAgent.id],
      ['23503', noRecord.id],
      ['23514', wrongTime.id],
    ],
  );
});

test('a call whose usage or contact the database refuses is stored without them, nothing of it is parked', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const call = await newCall(store);
  const vendor = { agent_id: call.agentId, vendor: 'mind', llm_tokens_in: 1.5 };
  const odd = { ...call.answered(), usage: [vendor] };
  store.journal.append(call.initiated());
  store.journal.append(odd);
  store.journal.append(
    call.entry('conversation.message', {
      message: {
        ...{ role: 'assistant', content: '', timestamp: 1 },
        tool_calls: [{ id: 'a', name: 'order', arguments: { 'te\0a\ud800': 1 } }],
      },
    }),
  );
  store.journal.append(call.ended());
  assert.equal(await drained(store), true);
  assert.equal(store.projection.parked, 0);
  const record = await store.records.get(call.accountId, call.id);
  assert.deepEqual([record?.status, record?.messages.length], ['ended', 1]);
});

test('calls that end while the database is away are all there afterwards, once', async (t) => {
  const url = await newDatabase(t);
  const proxy = await startProxy(url);
  atEnd(t, () => proxy.close());
  const dataDir = newDataDir(t);
  const store = await newStore(t, storeOptions(dataDir, proxy.url));
  const CALLS = 60;
  const calls: CallScript[] = [];
  for (let n = 0; n < CALLS; n++) calls.push(await newCall(store));
  for (const call of calls) store.journal.append(call.initiated());
  await until(() => store.projection.lagEvents < CALLS * 0.9, 'the first batch');
  proxy.cut();
  for (const call of calls) {
    store.journal.append(call.answered());
    store.journal.append(call.says('assistant', 'hello'));
  }
  await until(() => store.state() === 'down', 'the outage to be noticed');
  const agent = await store.agents.forInbound('5555');
  assert.equal(agent.name, 'Default agent', 'calls are answered all the same');
  for (const call of calls) store.journal.append(call.ended());
  proxy.restore();
  await until(() => store.projection.lagEvents === 0, 'the backlog to drain');
  await until(() => store.state() === 'up', 'the return to be noticed');
  const [found] = await store.database.withSystem((sql) =>
    sql.rows(
      `SELECT (SELECT count(*)::int FROM call_records WHERE status = 'ended' AND jsonb_array_length(messages) = 1) AS records,
              (SELECT count(*)::int FROM call_events) AS events`,
    ),
  );
  assert.deepEqual(found, { records: CALLS, events: CALLS * 4 });
  assert.equal(store.projection.parked, 0);
});

test('a giant Call-ID passes, and what a restart adds does not collide with what the journal lost', async (t) => {
  const store = await newStore(t, storeOptions(newDataDir(t), await newDatabase(t)));
  const call = await newCall(store);
  // Noise, because an index entry is compressed before its size is judged.
  let seed = 20_261_121;
  const noise = Array.from({ length: 2_000 }, () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return String.fromCodePoint(0x4e00 + (seed % 20_000));
  }).join('');
  store.journal.append(call.initiated({ sip_call_id: noise }));
  assert.equal(await drained(store), true);
  // In the database, yet in no journal: as after a power loss.
  await store.database.withSystem((sql) =>
    sql.run(
      "INSERT INTO call_events (id, user_id, call_id, seq, type, at) VALUES ($1, $2, $3, 2, 'call.answered', now())",
      [newId(), call.accountId, call.id],
    ),
  );
  await store.recover(async () => null);
  assert.equal(await drained(store), true);
  assert.equal(store.projection.parked, 0);
  assert.equal((await store.records.get(call.accountId, call.id))?.status, 'failed');
  const events = await store.database.withSystem((sql) =>
    sql.rows<{ seq: number; type: string }>(
      'SELECT seq, type FROM call_events WHERE call_id = $1 ORDER BY seq',
      [call.id],
    ),
  );
  assert.deepEqual(
    events.map(({ seq, type }) => [seq, type]),
    [
      [1, 'call.initiated'],
      [2, 'call.answered'],
      [3, 'call.failed'],
    ],
  );
});

test('a journal that fails to close does not keep the database open', async (t) => {
  const store = await openStore(storeOptions(newDataDir(t), await newDatabase(t)));
  atEnd(t, () => store.database.close());
  const close = store.journal.close.bind(store.journal);
  t.mock.method(store.journal, 'close', async () => {
    await close();
    throw new Error('the disk is gone');
  });
  await assert.rejects(store.close(), /the disk is gone/);
  await assert.rejects(store.database.ping(), /after calling end/);
});
