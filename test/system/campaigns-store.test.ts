/** Campaigns on a real database: exact counts, claims, leases, what a crash leaves, and a million targets. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Actor } from '#lib/actor.ts';
import {
  DEFAULT_CAMPAIGN_SETTINGS,
  type Campaign,
  type CampaignSettings,
  type ClaimDecision,
  type ClaimResult,
} from '#lib/campaign.ts';
import { newId, type Id } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { createCampaignDialling, type CampaignDialling } from '#store/campaign-dialling.ts';
import {
  createCampaignTargets,
  type CampaignTargets,
  type NewTarget,
} from '#store/campaign-targets.ts';
import { createCampaigns, type Campaigns } from '#store/campaigns.ts';
import { openPool, type Database } from '#store/pool.ts';
import { queryRows } from './_database.ts';
import { systemRows } from './_identity.ts';
import { atEnd, newDatabase } from './_store.ts';

type World = {
  readonly url: string;
  readonly database: Database;
  readonly actor: Actor;
  readonly agentId: Id;
  readonly campaigns: Campaigns;
  readonly targets: CampaignTargets;
  readonly dialling: CampaignDialling;
  make(settings?: Partial<CampaignSettings>): Promise<Id>;
  add(id: Id, count: number, from?: number): Promise<void>;
  run(id: Id): Promise<void>;
  claim(id: Id, driver?: string): Promise<ClaimResult>;
  rows<T extends object>(text: string, values?: unknown[]): Promise<T[]>;
};

const DRIVER = 'node-1/a';
const now = (): number => Date.now();

async function makeWorld(t: TestContext, maxTargets?: number): Promise<World> {
  const url = await newDatabase(t);
  const database = openPool({ url, log: silentLog, size: 4 });
  atEnd(t, () => database.close());
  const rows = <T extends object>(text: string, values: unknown[] = []): Promise<T[]> =>
    database.withSystem((sql) => sql.rows<T>(text, values));
  const [accountId, agentId] = [newId(), newId()];
  await rows('INSERT INTO auth.users (id, email) VALUES ($1, $2)', [accountId, 'a@example.test']);
  await rows("INSERT INTO agents (id, user_id, name) VALUES ($1, $2, 'Ann')", [agentId, accountId]);
  const actor: Actor = {
    ...{ accountId, name: 'system', role: 'owner', agentIds: null, requestId: null, ip: null },
  };
  const campaigns = createCampaigns({
    ...{ database, node: 'node-1', countryCode: '1', environmentNumber: null },
  });
  const targets = createCampaignTargets(database, '1', maxTargets);
  const dialling = createCampaignDialling({ database, node: 'node-1', timeZone: 'UTC' });
  return {
    ...{ url, database, actor, agentId, campaigns, targets, dialling, rows },
    make: async (settings = {}) => {
      const made = await campaigns.create(actor, {
        ...{ name: 'c', agentId, trunkId: null, fromNumber: null },
        schedule: { startAt: null, endAt: null, windows: null, timezone: null },
        settings: { ...DEFAULT_CAMPAIGN_SETTINGS, ...settings },
      });
      assert.ok(made.ok);
      return made.campaign.id;
    },
    add: async (id, count, from = 0) => {
      const list = Array.from({ length: count }, (_, at) => targetAt(from + at));
      assert.notEqual(await targets.add(actor, id, list), null);
    },
    run: async (id) => {
      assert.equal((await campaigns.command(actor, id, 'start'))?.ok, true);
      await dialling.lead(DRIVER, 100, now());
    },
    claim: (campaignId, driver = DRIVER) =>
      dialling.claim({ campaignId, driver, callId: newId(), nowMs: now() }),
  };
}

function targetAt(at: number): NewTarget {
  return { line: at + 1, phone: `+1555${String(at).padStart(7, '0')}`, name: null, variables: {} };
}

const DONE: ClaimDecision = {
  ...{ status: 'done', isAttempt: true, nextAttemptAtMs: null, lastOutcome: 'completed' },
  ...{ recentEnds: '0', pauseReason: null },
};

async function read(world: World, id: Id): Promise<Campaign> {
  const found = await world.campaigns.get(world.actor, id);
  assert.ok(found !== null);
  return found;
}

/** What the rows themselves say. */
async function counted(world: World, id: Id): Promise<Record<string, number>> {
  const rows = await world.rows<{ status: string; n: number; attempts: number }>(
    'SELECT status, count(*)::int AS n, sum(attempts)::int AS attempts FROM campaign_targets WHERE campaign_id = $1 GROUP BY 1',
    [id],
  );
  const counts: Record<string, number> = {
    ...{ pending: 0, dialing: 0, done: 0, failed: 0, skipped: 0, attempts: 0 },
  };
  for (const { status, n, attempts } of rows) {
    counts[status] = n;
    counts['attempts'] = (counts['attempts'] ?? 0) + attempts;
  }
  return counts;
}

test('a number is added once, however it is written, and never beyond the limit', async (t) => {
  const world = await makeWorld(t, 5);
  const id = await world.make();
  const list = ['+15550100', '5550100', '05550100', '+15550101', '5550102'].map((phone, at) => ({
    ...{ line: at + 1, phone, name: `n${at}`, variables: { at } },
  }));
  assert.deepEqual(await world.targets.add(world.actor, id, list), {
    ...{ added: 3, duplicates: 2, rejected: [] },
  });
  const more = await world.targets.add(world.actor, id, [
    ...list.slice(0, 1),
    ...[targetAt(1), targetAt(2), targetAt(3)].map((each, at) => ({ ...each, line: at + 2 })),
  ]);
  assert.deepEqual(more, {
    ...{ added: 2, duplicates: 1 },
    rejected: [{ line: 4, reason: 'the campaign is full: it takes 5 targets' }],
  });
  assert.equal((await read(world, id)).counts.pending, 5);
  const page = await world.targets.list(world.actor, id, {
    ...{ limit: 10, from: { offset: 0 }, status: null },
  });
  const phones = page?.rows.map(({ phone }) => phone);
  assert.deepEqual(phones?.slice(-3), ['+15550102', '+15550101', '+15550100'], 'newest first');
  assert.deepEqual(page?.rows.at(-1)?.variables, { at: 0 });
});

test('a number added before the account had a country code is known by its other spelling', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make();
  const one = (phone: string) => [{ line: 1, phone, name: null, variables: {} }];
  const before = createCampaignTargets(world.database, null);
  await before.add(world.actor, id, one('05715550100'));
  for (const phone of ['+15715550100', '5715550100', '05715550100']) {
    const again = await world.targets.add(world.actor, id, one(phone));
    assert.deepEqual(again, { added: 0, duplicates: 1, rejected: [] }, phone);
  }
});

test('rows written past the API are read as it would have written them', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make();
  await world.add(id, 1);
  const window = { weekdays: [1], start: '09:00', end: '24:00' };
  const odd: [schedule: object, settings: object][] = [
    [{ windows: [{}] }, { concurrency: '9', cps: 0, ring_timeout_s: 4, max_attempts: 11 }],
    [{ windows: ['x'] }, { concurrency: 501, cps: -1, retry_delay_s: 0, stop_window: 0.5 }],
    [{ windows: [window, { ...window, end: 'x' }] }, { cps: 1e6, amd: 'x', retry_on: 'busy' }],
    [{ windows: [{ ...window, weekdays: ['1'] }] }, { voicemail: 'sing', retry_on: ['x'] }],
    [
      { windows: [], start_at: 5, timezone: 5 },
      { stop_failure_pct: 101, cps: [] },
    ],
  ];
  for (const [schedule, settings] of odd) {
    await world.rows('UPDATE campaigns SET schedule = $1, settings = $2', [schedule, settings]);
    const read_ = await read(world, id);
    assert.deepEqual(read_.settings, DEFAULT_CAMPAIGN_SETTINGS, JSON.stringify(settings));
    assert.deepEqual(read_.schedule.windows, null, JSON.stringify(schedule));
  }
  await world.rows('UPDATE campaigns SET schedule = $1, settings = $2', [
    { windows: [window] },
    { cps: 0.1, concurrency: 500, retry_on: [] },
  ]);
  const sound = await read(world, id);
  assert.deepEqual(sound.schedule.windows, [window]);
  assert.deepEqual(sound.settings, {
    ...DEFAULT_CAMPAIGN_SETTINGS,
    ...{ cps: 0.1, concurrency: 500, retryOn: [] },
  });
  await world.rows("UPDATE campaign_targets SET variables = 'null'");
  await world.run(id);
  const claimed = await world.claim(id);
  assert.ok(claimed.kind === 'claimed');
  assert.deepEqual(claimed.target.variables, {});
});

test('a campaign that is put off at the last moment does not begin', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make();
  const put = (startMs: number) =>
    world.campaigns.replace(world.actor, id, {
      ...{ name: 'c', agentId: world.agentId, trunkId: null, fromNumber: null },
      schedule: {
        ...{ startAt: new Date(startMs).toISOString(), endAt: null, windows: null },
        timezone: null,
      },
      settings: DEFAULT_CAMPAIGN_SETTINGS,
    });
  await put(now() + 60_000);
  await world.campaigns.command(world.actor, id, 'start');
  // Whoever puts it off holds the row while the dialler has already read that it is due.
  let begin: Promise<unknown> = Promise.resolve();
  await world.database.withSystem(async (sql) => {
    await sql.run('UPDATE campaigns SET schedule = $2 WHERE id = $1', [
      id,
      { start_at: new Date(now() + 86_400_000).toISOString() },
    ]);
    begin = world.dialling.startDue(now() + 61_000);
    await eventuallyWaits(world);
  });
  assert.deepEqual(await begin, []);
  assert.equal((await read(world, id)).status, 'scheduled');
});

/** Until somebody waits for a lock. */
async function eventuallyWaits(world: World): Promise<void> {
  for (;;) {
    const [row] = await queryRows<{ n: number }>(
      world.url,
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    if ((row?.n ?? 0) > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('two imports at one time never exceed the limit, and count exactly', async (t) => {
  const world = await makeWorld(t, 1_500);
  const id = await world.make();
  await Promise.all([0, 600, 1_200].map((from) => world.add(id, 800, from)));
  assert.deepEqual((await read(world, id)).counts, await counted(world, id));
  assert.equal((await read(world, id)).counts.pending, 1_500);
});

test('claims hold the concurrency, follow the list, and stop with the campaign', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make({ concurrency: 3 });
  await world.add(id, 10);
  assert.deepEqual(await world.claim(id), { kind: 'stopped' }, 'a draft');
  await world.run(id);
  assert.deepEqual(await world.claim(id, 'node-2/b'), { kind: 'stopped' }, 'another driver');
  const claims = await Promise.all(Array.from({ length: 8 }, () => world.claim(id)));
  const taken = claims.flatMap((each) => (each.kind === 'claimed' ? [each.target] : []));
  assert.deepEqual(
    taken.map(({ phone }) => phone).sort(),
    [0, 1, 2].map((at) => targetAt(at).phone),
  );
  assert.equal(claims.filter(({ kind }) => kind === 'full').length, 5);
  assert.deepEqual((await read(world, id)).counts, {
    ...{ pending: 7, dialing: 3, done: 0, failed: 0, skipped: 0, attempts: 3 },
  });
  const [first, second, third] = taken;
  assert.ok(first && second && third);
  await world.dialling.settle(first, () => DONE);
  await world.dialling.settle(first, () => ({ ...DONE, status: 'failed' }));
  await world.dialling.settle({ ...second, callId: newId() }, () => DONE);
  await world.dialling.settle(second, (facts) => {
    assert.equal(facts.attempts, 1);
    return { ...DONE, status: 'pending', nextAttemptAtMs: now() + 60_000, lastOutcome: 'busy' };
  });
  const back = { status: 'pending', isAttempt: false, lastOutcome: null } as const;
  await world.dialling.settle(third, () => ({ ...DONE, ...back, nextAttemptAtMs: now() - 1 }));
  assert.deepEqual((await read(world, id)).counts, {
    ...{ pending: 9, dialing: 0, done: 1, failed: 0, skipped: 0, attempts: 2 },
  });
  assert.deepEqual((await read(world, id)).counts, await counted(world, id));
  const again = await world.claim(id);
  assert.ok(again.kind === 'claimed');
  assert.equal(again.target.phone, third.phone, 'who was given back comes first');
  await world.campaigns.command(world.actor, id, 'pause');
  assert.deepEqual(await world.claim(id), { kind: 'stopped' });
  const [row] = await world.rows<{ last: Id | null; outcome: string | null; at: Date | null }>(
    'SELECT last_call_id AS last, last_outcome AS outcome, next_attempt_at AS at FROM campaign_targets WHERE id = $1',
    [second.targetId],
  );
  assert.deepEqual([row?.last, row?.outcome], [second.callId, 'busy']);
});

test('a call that never began leaves the one before as the last', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make();
  await world.add(id, 1);
  await world.run(id);
  const first = await world.claim(id);
  assert.ok(first.kind === 'claimed');
  const retry = { status: 'pending', nextAttemptAtMs: now() - 1, lastOutcome: 'busy' } as const;
  await world.dialling.settle(first.target, () => ({ ...DONE, ...retry }));
  const second = await world.claim(id);
  assert.ok(second.kind === 'claimed');
  const back = { ...DONE, ...retry, isAttempt: false, lastOutcome: null };
  await world.dialling.settle(second.target, () => back);
  const [row] = await world.rows(
    'SELECT last_call_id, last_outcome, attempts, claimed_by, former_call_id FROM campaign_targets',
  );
  assert.deepEqual(row, {
    ...{ last_call_id: first.target.callId, last_outcome: 'busy', attempts: 1 },
    ...{ claimed_by: null, former_call_id: null },
  });
});

test('one node leads at a time; after its lease another does, with the same claims', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make({ concurrency: 1 });
  await world.add(id, 3);
  await world.run(id);
  const { dialling } = world;
  assert.deepEqual(await dialling.lead('node-2/b', 10, now()), []);
  assert.equal((await dialling.lead(DRIVER, 10, now())).length, 1);
  const claimed = await world.claim(id);
  assert.ok(claimed.kind === 'claimed');
  await world.rows("UPDATE campaigns SET driver_until = now() - interval '1 second'");
  assert.deepEqual(await world.claim(id), { kind: 'stopped' }, 'a lease that has ended is none');
  const [lead] = await dialling.lead('node-2/b', 10, now());
  assert.equal(lead?.campaignId, id);
  assert.ok((lead?.leaseMs ?? 0) > 10_000);
  assert.deepEqual(await dialling.lead(DRIVER, 10, now()), []);
  assert.deepEqual(
    await world.claim(id, 'node-2/b'),
    { kind: 'full' },
    'the other node’s call counts',
  );
  const open = await dialling.openClaims(null, 10);
  assert.deepEqual(
    open.map(({ callId, claimedBy, record }) => ({ callId, claimedBy, record })),
    [{ callId: claimed.target.callId, claimedBy: DRIVER, record: null }],
  );
  assert.deepEqual(await dialling.openClaims(open[0] ?? null, 10), []);
  await dialling.release('node-2/b');
  assert.equal((await dialling.lead(DRIVER, 10, now())).length, 1, 'given back, taken at once');
  assert.equal((await dialling.lead(DRIVER, 0, now())).length, 1, 'what it has it keeps');
});

test('scheduled ones begin on time, those done are completed, and events wait until they are told', async (t) => {
  const world = await makeWorld(t);
  const { dialling, campaigns, actor } = world;
  const id = await world.make();
  await world.rows("UPDATE campaigns SET schedule = jsonb_build_object('start_at', $1::text)", [
    new Date(now() + 3_600_000).toISOString(),
  ]);
  await world.add(id, 1);
  const scheduled = await campaigns.command(actor, id, 'start');
  assert.ok(scheduled?.ok);
  assert.deepEqual([scheduled.campaign.status, scheduled.news], ['scheduled', []]);
  assert.deepEqual(await dialling.startDue(now()), []);
  const [started] = await dialling.startDue(now() + 3_600_001);
  assert.deepEqual([started?.type, started?.data.reason], ['campaign.started', 'scheduled']);
  assert.equal((await read(world, id)).status, 'running');
  await dialling.lead(DRIVER, 10, now());
  assert.deepEqual(await dialling.complete(id, null), [], 'somebody is left');
  const claimed = await world.claim(id);
  assert.ok(claimed.kind === 'claimed');
  assert.deepEqual(await dialling.complete(id, 'end_at'), [], 'a call is under way');
  await dialling.settle(claimed.target, () => DONE);
  const [completed] = await dialling.complete(id, null);
  assert.deepEqual(
    [completed?.type, completed?.data.counts.done, completed?.data.reason],
    ['campaign.completed', 1, null],
  );
  const found = await dialling.untold(now() + 10_000, 5_000);
  assert.deepEqual(
    found.map((event) => event.id),
    [started?.id, completed?.id],
  );
  await dialling.told(found.slice(0, 1));
  assert.deepEqual(
    (await dialling.untold(now() + 10_000, 5_000)).map((event) => event.id),
    [completed?.id],
  );
  await dialling.told(found);
  assert.deepEqual(await dialling.untold(now() + 10_000, 5_000), []);
  assert.deepEqual(await world.targets.add(actor, id, [targetAt(9)]), 'state');
});

test('the breaker pauses in the transaction of the end that trips it', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make();
  await world.add(id, 2);
  await world.run(id);
  const claimed = await world.claim(id);
  assert.ok(claimed.kind === 'claimed');
  const trip = {
    ...DONE,
    status: 'failed',
    recentEnds: '11',
    pauseReason: 'carrier_failures',
  } as const;
  const [paused] = await world.dialling.settle(claimed.target, () => trip);
  assert.deepEqual([paused?.type, paused?.data.counts.failed], ['campaign.paused', 1]);
  const { status, pauseReason } = await read(world, id);
  assert.deepEqual([status, pauseReason], ['paused', 'carrier_failures']);
  const resumed = await world.campaigns.command(world.actor, id, 'resume');
  assert.ok(resumed?.ok && resumed.campaign.pauseReason === null);
  await world.dialling.lead(DRIVER, 10, now());
  const next = await world.claim(id);
  assert.ok(next.kind === 'claimed');
  await world.dialling.settle(next.target, (facts) => {
    assert.equal(facts.recentEnds, '', 'what came before is forgotten');
    return DONE;
  });
});

test('at 300,000 targets counts, lists and claims read a handful of pages', async (t) => {
  const world = await makeWorld(t);
  const id = await world.make();
  // 300,000 in one statement, as many batches of an import would leave them.
  await systemRows(
    world.url,
    `INSERT INTO campaign_targets (user_id, campaign_id, phone, status, attempts, created_at)
     SELECT user_id, $1, '+1555' || n, CASE n % 3 WHEN 0 THEN 'done' WHEN 1 THEN 'failed' ELSE 'pending' END, 1,
            now() + n * interval '1 microsecond'
       FROM campaigns, generate_series(1, 300000) n WHERE id = $1`,
    [id],
  );
  assert.deepEqual((await read(world, id)).counts, await counted(world, id));
  await queryRows(world.url, 'ANALYZE campaign_targets');
  await world.run(id);
  const plans = await world.database.withAccount(world.actor.accountId, 'test', async (sql) => {
    const explain = async (text: string): Promise<string> => {
      const rows = await sql.rows<{ 'QUERY PLAN': string }>(
        `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) ${text}`,
        [id],
      );
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    const listed = 'SELECT id FROM campaign_targets WHERE campaign_id = $1';
    return {
      counts: await explain('SELECT targets_pending, targets_done FROM campaigns WHERE id = $1'),
      list: await explain(`${listed} ORDER BY created_at DESC, id DESC LIMIT 20`),
      failed: await explain(
        `${listed} AND status = 'failed' ORDER BY created_at DESC, id DESC LIMIT 20`,
      ),
      fresh: await explain(
        `${listed} AND status = 'pending' AND next_attempt_at IS NULL ORDER BY created_at, id LIMIT 1`,
      ),
      due: await explain(
        `${listed} AND status = 'pending' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 1`,
      ),
    };
  });
  for (const [name, plan] of Object.entries(plans)) {
    const [, hit = '0', , read = '0'] =
      /Buffers: shared(?: hit=(\d+))?( read=(\d+))?/.exec(plan) ?? [];
    assert.ok(Number(hit) + Number(read) < 100, `${name} reads too much:\n${plan}`);
    assert.doesNotMatch(plan, /Seq Scan on campaign_targets|Sort/, `${name}:\n${plan}`);
  }
  assert.equal((await world.claim(id)).kind, 'claimed');
  await world.campaigns.command(world.actor, id, 'cancel');
  assert.equal(await world.campaigns.remove(world.actor, id), true);
  assert.deepEqual(await world.rows('SELECT FROM campaign_targets LIMIT 1'), []);
});
