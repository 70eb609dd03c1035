/** Campaigns over real SIP: a carrier with many phones, busy ones, silent ones, ones that answer, and trunks that fail. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { eventually, startTestApp, type TestApp } from './_app.ts';
import { Callees, mostAtOnce, mostInOneSecond, type Callee } from './_callees.ts';
import { systemRows } from './_identity.ts';
import { atEnd } from './_store.ts';

type Campaign = {
  readonly id: string;
  readonly status: string;
  readonly pause_reason: string | null;
  readonly counts: Record<string, number>;
};
type Target = {
  readonly phone: string;
  readonly status: string;
  readonly attempts: number;
  readonly last_outcome: string | null;
  readonly last_call_id: string | null;
};

const URL = '/api/v1/campaigns';
const ALWAYS = {
  windows: [{ weekdays: [1, 2, 3, 4, 5, 6, 7], start: '00:00', end: '24:00' }],
  timezone: 'UTC',
};

async function start(t: TestContext, calleeOf: (number: string, attempt: number) => Callee) {
  const callees = await Callees.open(calleeOf);
  atEnd(t, () => callees.close());
  const server = await startTestApp(t, { CALLYARD_TRUNK: callees.trunk });
  const agent = await server.post<{ id: string }>('/api/v1/agents', {
    ...{ name: 'Ann', system_prompt: 'Be kind.', greeting: 'Hello {{name}}.' },
  });
  return { callees, server, agentId: agent.data.id };
}

async function launch(
  { server, agentId }: { readonly server: TestApp; readonly agentId: string },
  targets: readonly object[],
  settings: object,
): Promise<string> {
  const made = await server.post<Campaign>(URL, {
    ...{ name: 'c', agent_id: agentId, schedule: ALWAYS, settings },
  });
  assert.equal(made.status, 201, JSON.stringify(made.data));
  const { id } = made.data;
  assert.equal((await server.post(`${URL}/${id}/targets`, { targets })).status, 201);
  assert.equal((await server.post(`${URL}/${id}/start`, {})).status, 200);
  return id;
}

async function until(
  server: TestApp,
  id: string,
  isSo: (campaign: Campaign) => boolean,
): Promise<Campaign> {
  let last: Campaign | undefined;
  for (let tries = 0; tries < 8; tries++) {
    const read = async (): Promise<Campaign> => (await server.get<Campaign>(`${URL}/${id}`)).data;
    last = await eventually(read, isSo);
    if (isSo(last)) return last;
  }
  throw new Error(`never so: ${JSON.stringify(last)}`);
}

test('each callee ends as the contract says, within the caps, each attempt with its record', async (t) => {
  const behaviour: Record<string, (attempt: number) => Callee> = {
    '0': () => ({ status: 486, ringMs: 50 }),
    '1': () => ({ status: 480, ringMs: 20_000 }), // rings until it is cancelled
    '2': () => ({ status: 603, ringMs: 100 }),
    '3': () => ({ status: 404, ringMs: 0 }),
    '4': () => ({ status: 200, ringMs: 300, talkMs: 700 }),
    '5': () => ({ status: 480, ringMs: 10 }),
    '6': () => ({ status: 500, ringMs: 10 }),
    '7': (attempt) =>
      attempt === 1 ? { status: 486, ringMs: 50 } : { status: 200, ringMs: 50, talkMs: 300 },
  };
  const world = await start(
    t,
    (number, attempt) => behaviour[number.at(-1) ?? '']?.(attempt) ?? { status: 404, ringMs: 0 },
  );
  const { server, callees } = world;
  const expected: Record<string, [string, number, string | null]> = {
    '0': ['failed', 2, 'busy'],
    '1': ['failed', 2, 'no_answer'],
    '2': ['failed', 1, 'declined'],
    '3': ['failed', 1, 'invalid_number'],
    '4': ['done', 1, 'completed'],
    '5': ['failed', 2, 'unreachable'],
    '6': ['failed', 1, 'carrier_error'],
    '7': ['done', 2, 'completed'],
    '8': ['skipped', 0, 'consent_missing'],
    '9': ['skipped', 0, 'consent_missing'],
  };
  const phones = Array.from({ length: 40 }, (_, at) => `+155501${String(at).padStart(2, '0')}`);
  for (const phone of phones) {
    const barred = { name: 'x', phone, do_not_call: true };
    if (phone.endsWith('8')) await server.post('/api/v1/contacts', barred);
    if (phone.endsWith('9')) {
      const [user] = await systemRows<{ id: string }>(
        server.databaseUrl,
        'SELECT id FROM auth.users',
      );
      await systemRows(
        server.databaseUrl,
        "INSERT INTO consents (user_id, phone, kind, granted, source) VALUES ($1, $2, 'outbound', false, 'test')",
        [user?.id, phone],
      );
    }
  }
  const id = await launch(
    world,
    phones.map((phone) => ({ phone, name: `n${phone}` })),
    {
      ...{ concurrency: 6, cps: 20, ring_timeout_s: 5, max_attempts: 2, retry_delay_s: 1 },
      stop_failure_pct: 0,
    },
  );
  const done = await until(server, id, ({ status }) => status === 'completed');
  assert.deepEqual(done.counts, {
    ...{ pending: 0, dialing: 0, done: 8, failed: 24, skipped: 8, attempts: 48 },
  });
  const { targets } = (
    await server.get<{ targets: Target[] }>(`${URL}/${id}/targets?page_size=100`)
  ).data;
  for (const { phone, status, attempts, last_outcome: outcome } of targets) {
    assert.deepEqual([status, attempts, outcome], expected[phone.at(-1) ?? ''], phone);
    assert.equal(callees.calls.filter(({ number }) => number === phone).length, attempts, phone);
  }
  assert.equal(callees.calls.length, 48);
  assert.ok(mostAtOnce(callees.calls) <= 6, `${mostAtOnce(callees.calls)} at once`);
  assert.ok(mostInOneSecond(callees.calls) <= 20 + 1, `${mostInOneSecond(callees.calls)} in 1 s`);
  const listed = await server.get<{ records: { id: string }[]; pagination: { total: number } }>(
    `/api/v1/call-records?campaign_id=${id}&page_size=100`,
  );
  assert.equal(listed.data.pagination.total, 48, 'a record for each call, named by the campaign');
  const answered = targets.find(({ phone }) => phone.endsWith('4'));
  const record = await server.get<{ campaign_id: string; variables: object; messages: object[] }>(
    `/api/v1/call-records/${answered?.last_call_id}`,
  );
  assert.equal(record.data.campaign_id, id);
  assert.deepEqual(record.data.variables, { name: `n${answered?.phone}` });
});

test('a carrier that fails pauses the campaign; resumed, it goes on with those left', async (t) => {
  let isBroken = true;
  const world = await start(t, () =>
    isBroken ? { status: 503, ringMs: 0 } : { status: 200, ringMs: 0, talkMs: 100 },
  );
  const { server, callees } = world;
  const targets = Array.from({ length: 20 }, (_, at) => ({ phone: `+15550${100 + at}` }));
  const settings = {
    ...{ concurrency: 2, cps: 20, max_attempts: 10, retry_delay_s: 1, stop_failure_pct: 80 },
    stop_window: 5,
  };
  const id = await launch(world, targets, settings);
  const paused = await until(
    server,
    id,
    ({ status, counts }) => status === 'paused' && counts['dialing'] === 0,
  );
  assert.equal(paused.pause_reason, 'carrier_failures');
  assert.ok(
    callees.calls.length >= 5 && callees.calls.length <= 7,
    `${callees.calls.length} calls`,
  );
  const events = await eventually(
    () =>
      systemRows<{ type: string; reason: string | null }>(
        server.databaseUrl,
        "SELECT type, data ->> 'reason' AS reason FROM call_events WHERE type LIKE 'campaign.%' ORDER BY at",
      ),
    (rows) => rows.length === 2,
  );
  assert.deepEqual(events, [
    { type: 'campaign.started', reason: null },
    { type: 'campaign.paused', reason: 'carrier_failures' },
  ]);
  isBroken = false;
  assert.equal((await server.post(`${URL}/${id}/resume`, {})).status, 200);
  const done = await until(server, id, ({ status }) => status === 'completed');
  assert.equal(done.counts['done'], 20);
});

test('a pause and a cancellation let the calls under way finish and begin no other', async (t) => {
  const world = await start(t, () => ({ status: 200, ringMs: 0, talkMs: 1_500 }));
  const { server, callees } = world;
  const targets = Array.from({ length: 12 }, (_, at) => ({ phone: `+15550${100 + at}` }));
  const id = await launch(world, targets, { concurrency: 3, cps: 20 });
  // Claimed is not called yet: who is claimed only would be given back.
  await eventually(
    async () => callees.calls.length,
    (count) => count === 3,
  );
  assert.equal((await server.post(`${URL}/${id}/pause`, {})).status, 200);
  const held = await until(server, id, ({ counts }) => counts['dialing'] === 0);
  assert.deepEqual([held.status, held.counts['done'], held.counts['pending']], ['paused', 3, 9]);
  assert.equal(callees.calls.length, 3);
  assert.ok(callees.calls.every(({ how }) => how === 'bye'));
  assert.equal((await server.post(`${URL}/${id}/resume`, {})).status, 200);
  await until(server, id, ({ counts }) => (counts['dialing'] ?? 0) > 0);
  assert.equal((await server.post(`${URL}/${id}/cancel`, {})).status, 200);
  const ended = await until(server, id, ({ counts }) => counts['dialing'] === 0);
  assert.equal(ended.status, 'cancelled');
  assert.ok((ended.counts['pending'] ?? 0) > 0);
  assert.equal(callees.calls.length, 12 - (ended.counts['pending'] ?? 0));
});

test('a server that stops gives up what rings, and that is tried again; nobody is left dialing', async (t) => {
  const callees = await Callees.open((_number, attempt) =>
    attempt === 1 ? { status: 480, ringMs: 20_000 } : { status: 200, ringMs: 0, talkMs: 100 },
  );
  atEnd(t, () => callees.close());
  const env = { CALLYARD_TRUNK: callees.trunk };
  const first = await startTestApp(t, env);
  const agent = await first.post<{ id: string }>('/api/v1/agents', {
    ...{ name: 'Ann', system_prompt: 'Be kind.' },
  });
  const targets = Array.from({ length: 4 }, (_, at) => ({ phone: `+15550${100 + at}` }));
  const settings = { concurrency: 4, cps: 20, retry_delay_s: 1 };
  const id = await launch({ server: first, agentId: agent.data.id }, targets, settings);
  await until(first, id, ({ counts }) => counts['dialing'] === 4);
  await eventually(
    async () => callees.calls.length,
    (count) => count === 4,
  );
  const claims = await systemRows(
    first.databaseUrl,
    "SELECT DISTINCT claimed_by AS by FROM campaign_targets WHERE status = 'dialing'",
  );
  // Made anew elsewhere, over the same data directory, a server must know these claims for its own.
  const by = readFileSync(join(first.dataDir, 'dialler.id'), 'utf8');
  assert.deepEqual(claims, [{ by }]);
  await first.app.stop(0);
  const rows = await systemRows<{ status: string; outcome: string }>(
    first.databaseUrl,
    'SELECT status, last_outcome AS outcome FROM campaign_targets',
  );
  assert.deepEqual(rows, Array(4).fill({ status: 'pending', outcome: 'cancelled' }));
  const { dataDir, databaseUrl } = first;
  const second = await startTestApp(t, env, { dataDir, databaseUrl });
  const done = await until(second, id, ({ status }) => status === 'completed');
  assert.deepEqual([done.counts['done'], done.counts['attempts']], [4, 8]);
});
