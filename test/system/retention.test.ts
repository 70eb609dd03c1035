/** Retention on real rows: what goes, what stays, in which order, and what a file that will not go changes. */
import assert from 'node:assert/strict';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { CallEntry, RecordingPatch } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { recordingPlace } from '#lib/recording-place.ts';
import { openPool, type Database } from '#store/pool.ts';
import { applyEntries } from '#store/projection-sql.ts';
import { createRecordingRemoval, type RecordingRemoval } from '#store/recording-removal.ts';
import { sweepOrphans } from '#store/recording-orphans.ts';
import { createRecordings, type Recordings } from '#store/recordings.ts';
import { Retention } from '#store/retention.ts';
import { createSealer } from '#store/sealed.ts';
import { scriptCall } from '../unit/_store-entries.ts';
import { atEnd, newDatabase, newDataDir } from './_store.ts';

const NOW = Date.UTC(2027, 5, 1);
const DAY_MS = 86_400_000;
const daysAgo = (days: number): string => new Date(NOW - days * DAY_MS).toISOString();

type Kit = {
  readonly database: Database;
  readonly recordings: Recordings;
  readonly removal: RecordingRemoval;
  readonly retention: Retention;
  readonly dataDir: string;
  readonly accountId: string;
  readonly agentId: string;
  readonly rows: <T extends object>(text: string, values?: unknown[]) => Promise<T[]>;
  /** A call with a ready recording and its file; gives both ids. */
  readonly call: (days: number, changes?: { status?: string; recorded?: boolean }) => Promise<Made>;
};
type Made = { readonly callId: string; readonly recordingId: string; readonly path: string };

async function setUp(t: TestContext, batch = 3): Promise<Kit> {
  const url = await newDatabase(t);
  const dataDir = newDataDir(t);
  const clock = new SimulatedClock(NOW);
  const database = openPool({ url, log: silentLog });
  atEnd(t, () => database.close());
  const place = recordingPlace(dataDir, null);
  const sealer = createSealer([Buffer.alloc(32, 1)]);
  const recordings = createRecordings({ database, sealer, clock });
  const removal = createRecordingRemoval({
    ...{ place, objects: null, log: silentLog },
    notes: join(dataDir, 'removals'),
  });
  const retention = new Retention({ database, removal, clock, log: silentLog, batch });
  const rows = <T extends object>(text: string, values: unknown[] = []): Promise<T[]> =>
    database.withSystem((sql) => sql.rows<T>(text, values));
  const { accountId, agentId } = await makeAccount(rows);
  const call: Kit['call'] = async (days, { status = 'ready', recorded = true } = {}) => {
    const callId = newId();
    const { seal, keyEnc } = recordings.newKey(accountId);
    const { path, uri } = place.newFile(seal.recordingId, NOW - days * DAY_MS);
    await rows(
      `INSERT INTO call_records (id, user_id, agent_id, start_time, status, source, channel, recording_status, recording_id)
       VALUES ($1, $2, $3, $4, 'ended', 'core', 'phone', $5, $6)`,
      [
        callId,
        accountId,
        agentId,
        daysAgo(days),
        ...(recorded ? [status, seal.recordingId] : ['none', null]),
      ],
    );
    if (recorded) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, 'sealed');
      await rows(
        `INSERT INTO recordings (id, user_id, call_id, status, uri, key_enc, started_at, duration_ms, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 60000, $7)`,
        [seal.recordingId, accountId, callId, status, uri, keyEnc, daysAgo(days)],
      );
    }
    return { callId, recordingId: seal.recordingId, path };
  };
  return {
    ...{ database, recordings, removal, retention, dataDir, accountId, agentId, rows, call },
  };
}

async function makeAccount(rows: Kit['rows']): Promise<{ accountId: string; agentId: string }> {
  const [user] = await rows<{ id: string }>(
    'INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), $1) RETURNING id',
    [`${newId()}@example.com`],
  );
  const accountId = user?.id ?? '';
  await rows('INSERT INTO account_settings (user_id) VALUES ($1)', [accountId]);
  const [agent] = await rows<{ id: string }>(
    "INSERT INTO agents (user_id, name) VALUES ($1, 'A') RETURNING id",
    [accountId],
  );
  return { accountId, agentId: agent?.id ?? '' };
}

const exists = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

type RecordingState = {
  status: string;
  key_enc: string | null;
  deleted_at: Date | null;
  expires_at: Date | null;
  recording_status: string;
};

async function stateOf(kit: Kit, { recordingId }: Made): Promise<RecordingState | undefined> {
  const [row] = await kit.rows<RecordingState>(
    `SELECT f.status, f.key_enc, f.deleted_at, f.expires_at, c.recording_status
       FROM recordings f JOIN call_records c ON c.id = f.call_id WHERE f.id = $1`,
    [recordingId],
  );
  return row;
}

test('old recordings lose key and file and say so; younger ones and the records stay', async (t) => {
  const kit = await setUp(t);
  const old = [];
  for (let i = 0; i < 7; i++) old.push(await kit.call(200 + i));
  const young = await kit.call(179);
  const failed = await kit.call(300, { status: 'failed' });
  const live = await kit.call(181, { status: 'active' });
  const abandoned = await kit.call(400, { status: 'active' });
  const done = await kit.retention.run();
  assert.deepEqual([done.recordings, done.files, done.records], [9, 9, 0]);
  const given = await stateOf(kit, abandoned);
  assert.deepEqual(
    [given?.status, given?.key_enc, given?.recording_status, await exists(abandoned.path)],
    ['failed', null, 'failed', false],
  );
  for (const each of old) {
    const state = await stateOf(kit, each);
    assert.deepEqual(
      [state?.status, state?.key_enc, state?.recording_status],
      ['expired', null, 'expired'],
    );
    assert.ok(state?.deleted_at !== null);
    assert.equal(await exists(each.path), false);
  }
  const kept = await stateOf(kit, young);
  assert.equal(kept?.status, 'ready');
  assert.equal(kept.expires_at?.getTime(), NOW - 179 * DAY_MS + 60_000 + 180 * DAY_MS);
  assert.ok((kept.key_enc ?? '').startsWith('cy1.') && (await exists(young.path)));
  assert.deepEqual(
    [(await stateOf(kit, failed))?.status, (await stateOf(kit, failed))?.key_enc],
    ['failed', null],
  );
  assert.equal((await stateOf(kit, live))?.status, 'active', 'one being written is left alone');
  const again = await kit.retention.run();
  assert.deepEqual([again.recordings, again.files], [0, 0]);
  const expired = await kit.recordings.find(kit.accountId, old[0]?.recordingId ?? '');
  assert.deepEqual([expired?.status, expired?.key], ['expired', null]);
});

test('settings are followed when they change: shorter, for ever, and back', async (t) => {
  const kit = await setUp(t);
  const made = await kit.call(40);
  const set = (days: number | null): Promise<object[]> =>
    kit.rows(
      'UPDATE account_settings SET retain_recordings_days = $2, updated_at = now() WHERE user_id = $1',
      [kit.accountId, days],
    );
  // The database stamps changes with its own clock, so each run here is of a job that has looked at nothing yet.
  await set(null);
  await kit.retention.run();
  assert.equal((await stateOf(kit, made))?.expires_at, null);
  const next = new Retention({
    ...{ database: kit.database, removal: kit.removal, log: silentLog },
    clock: new SimulatedClock(NOW),
  });
  await set(41);
  await next.run();
  assert.equal((await stateOf(kit, made))?.status, 'ready');
  const last = new Retention({
    ...{ database: kit.database, removal: kit.removal, log: silentLog },
    clock: new SimulatedClock(NOW),
  });
  await set(39);
  await last.run();
  assert.equal((await stateOf(kit, made))?.status, 'expired');
});

test('a file that will not go does not keep the key, nor the other files, and goes at the next run', async (t) => {
  const kit = await setUp(t, 2);
  const made = [];
  for (let i = 0; i < 5; i++) made.push(await kit.call(200 + i));
  const stuck = new Set(made.slice(0, 3).map(({ recordingId }) => recordingId));
  const removed: string[] = [];
  const removal: RecordingRemoval = {
    ...kit.removal,
    remove: async (uri) => {
      if ([...stuck].some((id) => uri.includes(id))) return false;
      removed.push(uri);
      return kit.removal.remove(uri);
    },
  };
  const retention = new Retention({
    ...{ database: kit.database, removal, log: silentLog, batch: 2 },
    clock: new SimulatedClock(NOW),
  });
  const first = await retention.run();
  assert.deepEqual([first.recordings, first.files], [5, 2]);
  for (const each of made) assert.equal((await stateOf(kit, each))?.key_enc, null);
  stuck.clear();
  const second = await retention.run();
  assert.deepEqual([second.recordings, second.files], [0, 3]);
  assert.equal(new Set(removed).size, 5);
  for (const each of made) assert.equal(await exists(each.path), false);
});

test('old records go with events, recordings and files; one whose file is stuck stays, without its key', async (t) => {
  const kit = await setUp(t, 2);
  await kit.rows('UPDATE account_settings SET retain_records_days = 30 WHERE user_id = $1', [
    kit.accountId,
  ]);
  const old = [];
  for (let i = 0; i < 5; i++) old.push(await kit.call(31 + i, { recorded: i % 2 === 0 }));
  const young = await kit.call(29);
  const abandoned = await kit.call(60, { status: 'active' });
  const stuckId = old[0]?.recordingId ?? '';
  const removal: RecordingRemoval = {
    ...kit.removal,
    remove: async (uri) => !uri.includes(stuckId) && kit.removal.remove(uri),
  };
  const retention = new Retention({
    ...{ database: kit.database, removal, log: silentLog, batch: 2 },
    clock: new SimulatedClock(NOW),
  });
  const done = await retention.run();
  assert.deepEqual([done.records, done.recordings], [5, 4]);
  const left = await kit.rows<{ id: string }>('SELECT id FROM call_records ORDER BY start_time');
  assert.deepEqual(
    left.map(({ id }) => id),
    [old[0]?.callId, young.callId],
  );
  assert.equal((await stateOf(kit, old[0] as Made))?.key_enc, null);
  assert.equal(await exists(abandoned.path), false);
  assert.equal(await exists(young.path), true);
  assert.equal((await kit.retention.run()).records, 1);
});

test('events, audit rows, idempotency keys and deliveries, each at its age, per account', async (t) => {
  const kit = await setUp(t, 2);
  const { callId } = await kit.call(5, { recorded: false });
  const other = await makeAccount(kit.rows);
  await kit.rows(
    'UPDATE account_settings SET retain_events_days = NULL, retain_audit_days = NULL WHERE user_id = $1',
    [other.accountId],
  );
  for (const [accountId, call] of [
    [kit.accountId, callId],
    [other.accountId, null],
  ] as const) {
    const hook = newId();
    await kit.rows(
      "INSERT INTO webhooks (id, user_id, url, secret) VALUES ($1, $2, 'https://example.com', 'x')",
      [hook, accountId],
    );
    for (const days of [0, 2, 29, 31, 89, 91, 92, 93, 729, 731, 732]) {
      await kit.rows(
        "INSERT INTO call_events (id, user_id, call_id, type, at) VALUES (gen_random_uuid(), $1, $2, 'dtmf.received', $3)",
        [accountId, days === 91 ? null : call, daysAgo(days)],
      );
      await kit.rows(
        "INSERT INTO audit_log (user_id, at, actor, actor_role, action) VALUES ($1, $2, 'system', 'system', 'a.b')",
        [accountId, daysAgo(days)],
      );
      await kit.rows(
        "INSERT INTO idempotency_keys (user_id, route, key, body_hash, created_at) VALUES ($1, 'r', $2, '\\x00', $3)",
        [accountId, `k${days}`, daysAgo(days)],
      );
      await kit.rows(
        `INSERT INTO webhook_deliveries (user_id, webhook_id, event_id, event_type, payload, status, delivered_at, created_at)
         VALUES ($1, $2, gen_random_uuid(), 'x', '{}', $3, $4, $4)`,
        [accountId, hook, days === 732 ? 'dead' : 'delivered', daysAgo(days)],
      );
    }
  }
  const done = await kit.retention.run();
  assert.deepEqual(
    [done.events, done.auditRows, done.idempotencyKeys, done.deliveries],
    [6, 2, 20, 15],
  );
  const count = async (table: string, accountId: string): Promise<number> => {
    const [row] = await kit.rows<{ n: number }>(
      `SELECT count(*)::int AS n FROM ${table} WHERE user_id = $1`,
      [accountId],
    );
    return row?.n ?? -1;
  };
  const counts = [];
  for (const table of ['call_events', 'audit_log', 'idempotency_keys', 'webhook_deliveries']) {
    counts.push(await count(table, kit.accountId), await count(table, other.accountId));
  }
  // What was never delivered holds the events' words, and goes with them.
  assert.deepEqual(counts, [5, 11, 9, 11, 1, 1, 3, 4]);
});

test('a webhook that was deleted goes after its deliveries; a secret that no longer signs goes too', async (t) => {
  const kit = await setUp(t);
  const [gone, kept] = [newId(), newId()];
  for (const [hook, deletedAt, days] of [
    [gone, daysAgo(0), 1],
    [kept, null, -1],
  ] as const) {
    await kit.rows(
      `INSERT INTO webhooks (id, user_id, url, secret, enabled, deleted_at, old_secret, old_secret_until)
       VALUES ($1, $2, 'https://receiver.invalid/', 'x', false, $3, 'old', $4)`,
      [hook, kit.accountId, deletedAt, daysAgo(days)],
    );
    await kit.rows(
      `INSERT INTO webhook_deliveries (user_id, webhook_id, event_id, event_type, payload, created_at)
       SELECT $1, $2, gen_random_uuid(), 'x', '{}', $3 FROM generate_series(1, 8)`,
      [kit.accountId, hook, daysAgo(0)],
    );
  }
  const secrets = () =>
    kit.rows('SELECT id, old_secret FROM webhooks WHERE user_id = $1', [kit.accountId]);
  assert.equal((await kit.retention.run()).deliveries, 8);
  assert.deepEqual(await secrets(), [{ id: kept, old_secret: 'old' }]);
  await kit.rows('UPDATE webhooks SET old_secret_until = $1', [daysAgo(1)]);
  assert.equal((await kit.retention.run()).deliveries, 0);
  assert.deepEqual(await secrets(), [{ id: kept, old_secret: null }]);
});

test('one node at a time: while another holds the lock nothing is touched', async (t) => {
  const kit = await setUp(t);
  const made = await kit.call(200);
  await kit.database.withSystem(async (sql) => {
    await sql.rows("SELECT pg_advisory_xact_lock(hashtextextended('callyard retention', 0))");
    const done = await kit.retention.run();
    assert.deepEqual([done.isElsewhere, done.recordings], [true, 0]);
  });
  assert.equal((await stateOf(kit, made))?.status, 'ready');
  assert.equal((await kit.retention.run()).recordings, 1);
});

test('hourly by the clock; a failed run is made good by the next; closing ends it', async (t) => {
  const kit = await setUp(t);
  const clock = new SimulatedClock(NOW);
  let runs = 0;
  let isBroken = true;
  const database: Database = {
    ...kit.database,
    withSystem: (work) => {
      if (isBroken) throw new Error('away');
      return kit.database.withSystem(work);
    },
  };
  const errors: string[] = [];
  const retention = new Retention({
    ...{ database, removal: kit.removal, clock, onRun: () => void runs++ },
    log: { ...silentLog, error: (event) => errors.push(event) },
  });
  const made = await kit.call(200);
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 200 && clock.pending === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  retention.start();
  clock.advance(60_000);
  await settle();
  assert.deepEqual([errors, runs], [['retention.failed'], 0]);
  isBroken = false;
  clock.advance(3_599_999);
  assert.equal(runs, 0);
  clock.advance(1);
  await settle();
  assert.equal(runs, 1);
  assert.equal((await stateOf(kit, made))?.status, 'expired');
  await retention.close();
  await retention.close();
  assert.equal(clock.pending, 0);
});

test('shredding on behalf of a request reaches its own account alone, and is idempotent', async (t) => {
  const kit = await setUp(t);
  const made = await kit.call(1);
  const other = await makeAccount(kit.rows);
  assert.deepEqual(await kit.recordings.shred(other.accountId, made.recordingId), []);
  assert.equal(await kit.recordings.find(other.accountId, made.recordingId), null);
  const before = await kit.recordings.find(kit.accountId, made.recordingId);
  assert.equal(before?.key?.length, 32);
  assert.equal((await kit.recordings.shred(kit.accountId, made.recordingId)).length, 1);
  assert.equal((await kit.recordings.shred(kit.accountId, made.recordingId)).length, 1);
  assert.equal((await stateOf(kit, made))?.recording_status, 'expired');
});

test('from the journal: key, hash and expiry arrive; a late patch brings no destroyed key back', async (t) => {
  const kit = await setUp(t);
  const call = scriptCall(kit.accountId, kit.agentId, NOW);
  const { seal, keyEnc } = kit.recordings.newKey(kit.accountId);
  const id = seal.recordingId;
  const patch = { id, uri: `recordings/${id}.cyr`, key_enc: keyEnc, started_at: daysAgo(0) };
  const ready: RecordingPatch = {
    ...{ ...patch, status: 'ready', duration_ms: 2048, bytes: 65_580, truncated: false },
    sha256: 'ab'.repeat(32),
  };
  const readyEntry = (): CallEntry =>
    call.entry(
      'recording.ready',
      { recording_id: id, duration_ms: 2048, bytes: 65_580 },
      { recording_status: 'ready', recording_id: id },
      ready,
    );
  const apply = (...entries: CallEntry[]): Promise<unknown> =>
    kit.database.withSystem((sql) => applyEntries(sql, entries));
  const answered = { ...call.answered(), recording: { ...patch, status: 'active' as const } };
  await apply(call.initiated(), answered);
  assert.deepEqual((await kit.recordings.find(kit.accountId, id))?.key, Buffer.from(seal.key));
  assert.deepEqual(await kit.recordings.shred(kit.accountId, id), [], 'it is being written');
  await apply(call.ended(), readyEntry());
  const [row] = await kit.rows<{ sha256: Buffer; expires_at: Date; status: string }>(
    'SELECT sha256, expires_at, status FROM recordings WHERE id = $1',
    [id],
  );
  assert.deepEqual([row?.status, row?.sha256.toString('hex')], ['ready', ready.sha256]);
  assert.equal(row?.expires_at.getTime(), NOW + 2048 + 180 * DAY_MS);
  assert.equal((await kit.recordings.shred(kit.accountId, id)).length, 1);
  await apply(readyEntry());
  const after = await kit.recordings.find(kit.accountId, id);
  assert.deepEqual([after?.status, after?.key], ['expired', null]);
});

test('files that nobody remembers go after a day: of deleted accounts, of rows gone while the file stayed', async (t) => {
  const kit = await setUp(t);
  const clock = new SimulatedClock(Date.now() + 2 * DAY_MS);
  let isCaughtUp = true;
  const place = recordingPlace(kit.dataDir, null);
  const sweep = (at = clock): Promise<number> =>
    sweepOrphans({
      ...{ database: kit.database, place, clock: at, log: silentLog },
      isCaughtUp: async () => isCaughtUp,
    });
  const kept = await kit.call(1);
  const active = await kit.call(2, { status: 'active' });
  const cascaded = await kit.call(3);
  const elsewhere = await kit.call(4); // another node counted it as removed, and had no such file
  const other = join(kit.dataDir, 'recordings', 'notes.cyr');
  await writeFile(other, 'somebody else’s');
  await kit.rows('DELETE FROM call_records WHERE id = $1', [cascaded.callId]);
  await kit.rows(
    "UPDATE recordings SET status = 'expired', key_enc = NULL, deleted_at = now() WHERE id = $1",
    [elsewhere.recordingId],
  );
  assert.equal(await sweep(new SimulatedClock(Date.now())), 0, 'none is a day old');
  isCaughtUp = false;
  assert.equal(await sweep(), 0, 'rows are still on their way');
  isCaughtUp = true;
  assert.equal(await sweep(), 2);
  for (const gone of [cascaded, elsewhere]) assert.equal(await exists(gone.path), false);
  for (const { path } of [kept, active]) assert.equal(await exists(path), true);
  assert.ok(await exists(other), 'what bears no id of ours is not touched');
  await kit.rows('DELETE FROM auth.users WHERE id = $1', [kit.accountId]);
  const mark = join(kit.dataDir, 'recordings', `.callyard-${'0'.repeat(32)}`);
  await writeFile(mark, '');
  assert.equal(await sweep(), 0, 'another installation has its files in this folder');
  await rm(mark);
  assert.equal(await sweep(), 2);
  assert.deepEqual([await exists(kept.path), await exists(active.path)], [false, false]);
});
