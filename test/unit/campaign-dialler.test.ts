/** The dialler on a simulated clock: caps at every moment, crashes anywhere, refusals, hours, outages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '#lib/call-events.ts';
import { CampaignWorld, type FakeCampaign } from './_campaign-world.ts';

function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Fails when the carrier saw more at once, or closer together, than the campaign allows, or anybody once too often. */
function checkCaps(world: CampaignWorld, campaign: FakeCampaign): void {
  const { concurrency, cps, maxAttempts, retryDelayS } = campaign.settings;
  const calls = world.calls.filter(({ campaignId }) => campaignId === campaign.id);
  const byPhone = new Map<string, typeof calls>();
  for (const [at, call] of calls.entries()) {
    const live = calls.filter(
      ({ beganMs, endedMs }) =>
        beganMs <= call.beganMs && (endedMs === null || endedMs > call.beganMs),
    );
    assert.ok(live.length <= concurrency, `${live.length} at once at ${call.beganMs}`);
    const inWindow = calls.filter(
      ({ beganMs }) => beganMs >= call.beganMs && beganMs < call.beganMs + 1_000,
    );
    assert.ok(inWindow.length <= Math.max(1, cps), `${inWindow.length} within 1 s`);
    const before = calls[at - 1];
    const gapMs = before === undefined ? Infinity : call.beganMs - before.beganMs;
    assert.ok(gapMs >= 1000 / cps - 1e-6, `${gapMs} ms between two calls`);
    byPhone.set(call.phone, [...(byPhone.get(call.phone) ?? []), call]);
  }
  for (const [phone, mine] of byPhone) {
    assert.ok(mine.length <= maxAttempts, `${phone}: ${mine.length} calls`);
    for (const [at, call] of mine.slice(1).entries()) {
      const ended = mine[at]?.endedMs ?? null;
      assert.ok(
        ended !== null && call.beganMs >= ended + retryDelayS * 1000 - 1,
        `${phone} too soon`,
      );
    }
  }
}

test('over random callees and crashes: caps hold, nobody is called twice at once or forgotten', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    await t.test(`seed ${seed}`, async () => {
      const random = seeded(seed);
      const world = new CampaignWorld(random);
      const cps = [0.5, 2, 7.3, 20][seed % 4] ?? 1;
      const settings = {
        ...{ concurrency: 1 + Math.floor(random() * 6), cps, maxAttempts: 1 + (seed % 3) },
        ...{ retryDelayS: 2, ringTimeoutS: 5, stopFailurePct: 0 },
      };
      const campaign = world.add(cps < 1 ? 12 : 40, settings);
      const outcomes: readonly Outcome[] = [
        'busy',
        'no_answer',
        'completed',
        'declined',
        'completed',
      ];
      world.howEnds = () => {
        const outcome = outcomes[Math.floor(random() * outcomes.length)] ?? 'busy';
        return { outcome, wasAnswered: outcome === 'completed', afterMs: 50 + random() * 1_500 };
      };
      world.dialler.start();
      for (let round = 0; campaign.status === 'running' && round < 400; round++) {
        await world.pass(random() * 1_500);
        if (random() < 0.15 && round < 60) {
          world.crash();
          world.dialler.start();
        }
      }
      assert.equal(campaign.status, 'completed');
      for (const { status, phone } of campaign.targets) {
        assert.ok(status === 'done' || status === 'failed', `${phone} is ${status}`);
      }
      checkCaps(world, campaign);
      for (const target of campaign.targets) {
        const seen = world.calls.filter(({ phone }) => phone === target.phone);
        assert.equal(target.attempts, seen.length, 'each attempt was a call, each call an attempt');
      }
      assert.deepEqual(world.told.at(-1)?.type, 'campaign.completed');
      await closed(world);
    });
  }
});

async function closed(world: CampaignWorld): Promise<void> {
  const closing = world.dialler.close();
  await world.pass(4_000, 100);
  await closing;
}

test('full speed is close to the cap and never above it', async () => {
  const world = new CampaignWorld(() => 0.2);
  const campaign = world.add(400, { cps: 20, concurrency: 500 });
  world.dialler.start();
  await world.pass(11_000);
  checkCaps(world, campaign);
  assert.ok(world.calls.length >= 170, `${world.calls.length} calls in 10 s`);
  await closed(world);
});

test('many campaigns share the dialler fairly', async () => {
  const world = new CampaignWorld(seeded(7));
  const campaigns = Array.from({ length: 20 }, () => world.add(50, { cps: 10, concurrency: 50 }));
  world.dialler.start();
  await world.pass(5_000);
  const counts = campaigns.map(
    ({ id }) => world.calls.filter(({ campaignId }) => campaignId === id).length,
  );
  assert.ok(Math.min(...counts) > 0.7 * Math.max(...counts), String(counts));
  for (const campaign of campaigns) checkCaps(world, campaign);
  await closed(world);
});

test('whoever may not be called is skipped; a line that is busy is no attempt', async () => {
  const world = new CampaignWorld();
  const campaign = world.add(6, { cps: 10, concurrency: 10 });
  let busyUntilMs = 3_000;
  world.refuses = ({ to }) => {
    if (to.endsWith('1')) return { code: 'CONSENT_MISSING', retryAfterS: null, field: 'to' };
    if (to.endsWith('2')) return { code: 'NUMBER_NOT_ALLOWED', retryAfterS: null, field: 'to' };
    const isBusy = world.clock.now() < busyUntilMs;
    return isBusy ? { code: 'CONCURRENCY_LIMIT', retryAfterS: 1, field: 'trunk' } : null;
  };
  world.dialler.start();
  await world.pass(2_500);
  assert.equal(world.calls.length, 0);
  const [first] = campaign.targets;
  assert.deepEqual([first?.attempts, first?.callId], [0, null], 'the attempt was taken back');
  busyUntilMs = 0;
  await world.pass(15_000, 20);
  assert.equal(campaign.status, 'completed');
  assert.deepEqual(
    campaign.targets.map(
      ({ status, attempts, lastOutcome }) => `${status} ${attempts} ${lastOutcome}`,
    ),
    [
      ...['done 1 completed', 'skipped 0 consent_missing', 'skipped 0 number_not_allowed'],
      ...['done 1 completed', 'done 1 completed', 'done 1 completed'],
    ],
  );
  await closed(world);
});

test('what would refuse everybody pauses, and a trunk that stays away does after minutes', async () => {
  const rows = [
    [{ code: 'NUMBER_NOT_ALLOWED', field: 'from' }, 'from_number_not_allowed', 5_000],
    [{ code: 'REFERENCE_NOT_FOUND', field: 'trunk' }, 'trunk_missing', 5_000],
    [{ code: 'NO_ROUTE', field: 'trunk' }, 'no_route', 400_000],
  ] as const;
  for (const [refusal, reason, withinMs] of rows) {
    const world = new CampaignWorld();
    const campaign = world.add(2);
    world.refuses = () => ({ ...refusal, retryAfterS: null });
    world.dialler.start();
    await world.pass(withinMs, 50);
    assert.deepEqual([campaign.status, campaign.pauseReason], ['paused', reason]);
    assert.deepEqual(
      campaign.targets.map(({ status, attempts }) => `${status} ${attempts}`),
      ['pending 0', 'pending 0'],
    );
    assert.deepEqual(
      world.told.map(({ type, data }) => [type, data.reason]),
      [['campaign.paused', reason]],
    );
    await closed(world);
  }
});

test('what a campaign does about machines goes with each call', async () => {
  const rows = [
    [{}, true, 'hang_up'],
    [{ voicemail: 'message' }, true, 'message'],
    [{ amd: false }, false, 'hang_up'],
  ] as const;
  for (const [settings, amd, voicemail] of rows) {
    const world = new CampaignWorld();
    world.add(1, settings);
    const asked: unknown[] = [];
    world.refuses = (request) => {
      asked.push([request.amd, request.voicemail]);
      return { code: 'CONSENT_MISSING', field: 'to', retryAfterS: null };
    };
    world.dialler.start();
    await world.pass(5_000, 50);
    assert.deepEqual(asked, [[amd, voicemail]]);
    await closed(world);
  }
});

test('nobody is called outside the hours, after the end, or while calls could not be written down', async () => {
  const world = new CampaignWorld();
  // It is Monday 12:00 UTC.
  const soon = world.add(3);
  soon.schedule = {
    ...{ startAt: null, endAt: null, timezone: 'UTC' },
    windows: [{ weekdays: [1], start: '12:01', end: '12:02' }],
  };
  const past = world.add(3);
  past.schedule = {
    ...soon.schedule,
    windows: null,
    endAt: new Date(world.clock.wallMs()).toISOString(),
  };
  const wrong = world.add(1);
  wrong.schedule = { ...past.schedule, endAt: null, timezone: 'Mars/Olympus' };
  world.dialler.start();
  await world.pass(50_000, 50);
  assert.equal(world.calls.length, 0);
  assert.deepEqual([past.status, past.pauseReason], ['completed', 'end_at']);
  assert.deepEqual(new Set(past.targets.map(({ status }) => status)), new Set(['pending']));
  assert.deepEqual([wrong.status, wrong.pauseReason], ['paused', 'timezone_unknown']);
  world.isReady = false;
  await world.pass(15_000, 50);
  assert.equal(world.calls.length, 0);
  world.isReady = true;
  await world.pass(6_000, 50);
  assert.equal(world.calls.length, 3);
  assert.equal(soon.status, 'completed');
  await closed(world);
});

test('with the database away nobody new is called; what ends meanwhile is written afterwards', async () => {
  const world = new CampaignWorld();
  const campaign = world.add(10, { cps: 5, concurrency: 2 });
  world.howEnds = () => ({ outcome: 'completed', wasAnswered: true, afterMs: 3_000 });
  world.dialler.start();
  await world.pass(2_000);
  assert.equal(world.calls.length, 2);
  world.isAway = true;
  await world.pass(20_000, 20);
  assert.equal(world.calls.length, 2);
  assert.equal(campaign.targets.filter(({ status }) => status === 'dialing').length, 2);
  world.isAway = false;
  await world.pass(60_000, 20);
  assert.equal(campaign.status, 'completed');
  checkCaps(world, campaign);
  await closed(world);
});

test('another node takes over after the lease, and leaves the calls of the first alone', async () => {
  const world = new CampaignWorld();
  const campaign = world.add(6, { cps: 2, concurrency: 2, retryDelayS: 1, ringTimeoutS: 5 });
  world.howEnds = (_phone, attempt) => ({
    ...{ outcome: 'no_answer', wasAnswered: false, afterMs: attempt === 1 ? 4_000 : 400 },
  });
  world.dialler.start();
  await world.pass(2_000);
  assert.equal(world.calls.length, 2);
  world.crash('other');
  world.dialler.start();
  await world.pass(10_000, 20);
  assert.equal(world.calls.length, 2, 'the lease is still the first node’s');
  await world.pass(60_000, 20);
  assert.equal(campaign.status, 'completed');
  checkCaps(world, campaign);
  await closed(world);
});

test('a pause takes hold at once: who is claimed and not called yet is given back', async () => {
  for (const afterMs of [0, 5, 10, 15, 20, 25]) {
    const world = new CampaignWorld(() => 0.9);
    const campaign = world.add(50, { cps: 20, concurrency: 50 });
    world.dialler.start();
    const isDialing = () => campaign.targets.some(({ status }) => status === 'dialing');
    while (!isDialing()) await world.pass(1, 1);
    await world.pass(afterMs, 1);
    world.dialler.tell(world.pause(campaign));
    const begun = world.calls.length;
    await world.pass(3_000, 5);
    assert.equal(world.calls.length, begun, `${afterMs} ms after the claim`);
    const called = campaign.targets.filter(({ attempts }) => attempts > 0).length;
    assert.equal(called, begun, 'only calls count');
    await closed(world);
  }
});

test('somebody who cannot be called for a fault of ours does not hold up the others', async () => {
  const world = new CampaignWorld();
  const campaign = world.add(4, { cps: 10, concurrency: 10 });
  world.refuses = ({ to }) => {
    if (to.endsWith('0')) throw new TypeError('not foreseen');
    return null;
  };
  world.dialler.start();
  await world.pass(30_000, 20);
  assert.deepEqual(
    campaign.targets.map(({ status, attempts }) => `${status} ${attempts}`),
    ['pending 0', 'done 1', 'done 1', 'done 1'],
  );
  await closed(world);
});

test('stopping gives back who is claimed and not called yet', async () => {
  const world = new CampaignWorld(() => 0.9);
  const campaign = world.add(50, { cps: 20, concurrency: 50 });
  world.dialler.start();
  await world.pass(1_512, 3);
  const stopped = world.dialler.stopDialling();
  await world.pass(200);
  await stopped;
  const begun = world.calls.length;
  await world.pass(2_000);
  assert.equal(world.calls.length, begun);
  await closed(world);
  const called = campaign.targets.filter(({ attempts }) => attempts > 0).length;
  assert.equal(called, begun, 'only calls count');
  assert.equal(campaign.targets.filter(({ status }) => status === 'dialing').length, 0);
  assert.equal(world.clock.pending, 0, 'no timer is left');
});
