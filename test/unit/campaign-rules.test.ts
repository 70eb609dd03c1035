/** When a campaign calls, whom it calls again, and when it stops by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '#lib/call-events.ts';
import {
  CAMPAIGN_STATUSES,
  DEFAULT_CAMPAIGN_SETTINGS,
  isChangeable,
  statusAfter,
  type CampaignCommand,
  type CampaignStatus,
  type CampaignWindow,
  type OpenClaim,
} from '#lib/campaign.ts';
import { isTimeZone } from '#lib/wall-time.ts';
import { Pacer } from '#sessions/campaign-pacer.ts';
import {
  BREAKER_REASON,
  decideEnd,
  endOfClaim,
  giveBack,
  hasTripped,
  LOST_AFTER_MS,
  skip,
  verdictOf,
  type CallEnd,
} from '#sessions/campaign-rules.ts';
import { isCallingTime } from '#sessions/campaign-windows.ts';

const settings = { ...DEFAULT_CAMPAIGN_SETTINGS, retryDelayS: 60, maxAttempts: 3 };
const facts = { settings, attempts: 1, recentEnds: '' };
const NOW = Date.UTC(2026, 4, 4, 12);

function end(outcome: Outcome, changes: Partial<CallEnd> = {}): CallEnd {
  return { outcome, wasAnswered: false, endedAtMs: NOW - 1_000, endedBy: 'caller', ...changes };
}

test('commands lead from state to state, and nowhere else', () => {
  const allowed: [CampaignStatus, CampaignCommand, CampaignStatus][] = [
    ['draft', 'start', 'running'],
    ['draft', 'cancel', 'cancelled'],
    ['scheduled', 'pause', 'paused'],
    ['scheduled', 'cancel', 'cancelled'],
    ['running', 'pause', 'paused'],
    ['running', 'cancel', 'cancelled'],
    ['paused', 'resume', 'running'],
    ['paused', 'cancel', 'cancelled'],
    ['cancelled', 'cancel', 'cancelled'],
  ];
  for (const from of CAMPAIGN_STATUSES) {
    for (const command of ['start', 'pause', 'resume', 'cancel'] as const) {
      const row = allowed.find(([state, each]) => state === from && each === command);
      assert.equal(statusAfter(command, from, false), row?.[2] ?? null, `${command} of ${from}`);
    }
  }
  assert.equal(statusAfter('start', 'draft', true), 'scheduled');
  assert.equal(statusAfter('resume', 'paused', true), 'scheduled');
  assert.deepEqual(
    CAMPAIGN_STATUSES.filter((each) => isChangeable(each)),
    ['draft', 'scheduled', 'completed', 'cancelled'],
  );
});

test('windows follow the clock on the wall, over midnight and when it is changed', () => {
  const all = [1, 2, 3, 4, 5, 6, 7];
  const night: CampaignWindow[] = [{ weekdays: [5], start: '22:00', end: '02:00' }];
  const gap: CampaignWindow[] = [{ weekdays: all, start: '02:00', end: '03:00' }];
  const early: CampaignWindow[] = [{ weekdays: all, start: '01:00', end: '02:00' }];
  const whole: CampaignWindow[] = [{ weekdays: [7], start: '06:00', end: '06:00' }];
  const late: CampaignWindow[] = [{ weekdays: all, start: '20:00', end: '24:00' }];
  const two: CampaignWindow[] = [
    { weekdays: [1], start: '08:00', end: '09:00' },
    { weekdays: [2], start: '09:00', end: '10:00' },
  ];
  const rows: [CampaignWindow[] | null, string, string, boolean][] = [
    [null, 'Asia/Shanghai', '2026-05-04T01:00:00Z', true],
    [null, 'Asia/Shanghai', '2026-05-04T00:59:59Z', false],
    [null, 'Asia/Shanghai', '2026-05-04T11:59:59Z', true],
    [null, 'Asia/Shanghai', '2026-05-04T12:00:00Z', false],
    [null, 'UTC', '2026-05-03T12:00:00Z', true],
    // Friday 22:00 to Saturday 02:00.
    [night, 'UTC', '2026-05-08T21:59:00Z', false],
    [night, 'UTC', '2026-05-08T22:00:00Z', true],
    [night, 'UTC', '2026-05-09T01:59:00Z', true],
    [night, 'UTC', '2026-05-09T02:00:00Z', false],
    [night, 'UTC', '2026-05-09T22:30:00Z', false],
    [night, 'UTC', '2026-05-08T01:00:00Z', false],
    // Berlin skips 02:00-03:00 on 29 March 2026, and has 02:00-03:00 twice on 25 October.
    [gap, 'Europe/Berlin', '2026-03-29T00:59:00Z', false],
    [gap, 'Europe/Berlin', '2026-03-29T01:00:00Z', false],
    [gap, 'Europe/Berlin', '2026-10-25T00:30:00Z', true],
    [gap, 'Europe/Berlin', '2026-10-25T01:30:00Z', true],
    [gap, 'Europe/Berlin', '2026-10-25T02:00:00Z', false],
    // The same hour of the wall is another hour of the day in summer.
    [early, 'America/New_York', '2026-03-07T06:30:00Z', true],
    [early, 'America/New_York', '2026-03-09T06:30:00Z', false],
    [early, 'America/New_York', '2026-03-09T05:30:00Z', true],
    [whole, 'UTC', '2026-05-03T05:59:00Z', false],
    [whole, 'UTC', '2026-05-03T06:00:00Z', true],
    [whole, 'UTC', '2026-05-04T05:59:00Z', true],
    [whole, 'UTC', '2026-05-04T06:00:00Z', false],
    [late, 'UTC', '2026-05-04T23:59:59Z', true],
    [late, 'UTC', '2026-05-05T00:00:00Z', false],
    [two, 'UTC', '2026-05-04T08:30:00Z', true],
    [two, 'UTC', '2026-05-04T09:30:00Z', false],
    [two, 'UTC', '2026-05-05T09:30:00Z', true],
  ];
  for (const [windows, zone, at, expected] of rows) {
    assert.ok(isTimeZone(zone));
    assert.equal(isCallingTime(windows, zone, Date.parse(at)), expected, `${zone} ${at}`);
  }
});

test('each outcome is done, tried again or given up', () => {
  const rows: [CallEnd, number, string][] = [
    [end('completed', { wasAnswered: true }), 1, 'done'],
    [end('transferred', { wasAnswered: true }), 1, 'done'],
    [end('voicemail', { wasAnswered: true }), 1, 'done'],
    [end('silence', { wasAnswered: true }), 1, 'done'],
    [end('max_duration', { wasAnswered: true }), 1, 'done'],
    [end('media_lost', { wasAnswered: true }), 1, 'done'],
    [end('node_lost', { wasAnswered: true }), 1, 'done'],
    [end('busy'), 1, 'pending'],
    [end('busy'), 3, 'failed'],
    [end('no_answer'), 2, 'pending'],
    [end('unreachable'), 1, 'pending'],
    [end('congestion'), 1, 'pending'],
    [end('node_lost', { endedBy: 'system' }), 1, 'pending'],
    [end('node_lost', { endedBy: 'system' }), 3, 'failed'],
    [end('internal_error', { endedBy: 'system' }), 1, 'pending'],
    [end('cancelled', { endedBy: 'system' }), 1, 'pending'],
    [end('cancelled', { endedBy: 'api' }), 1, 'failed'],
    [end('declined'), 1, 'failed'],
    [end('invalid_number'), 1, 'failed'],
    [end('auth_failed'), 1, 'failed'],
    [end('carrier_error'), 1, 'failed'],
    [end('incompatible_media'), 1, 'failed'],
  ];
  for (const [how, attempts, status] of rows) {
    const decision = decideEnd(how, { ...facts, attempts }, NOW);
    assert.equal(decision.status, status, `${how.outcome} after ${attempts}`);
    assert.deepEqual([decision.isAttempt, decision.lastOutcome], [true, how.outcome]);
    assert.equal(decision.nextAttemptAtMs !== null, status === 'pending');
  }
  const none = { ...facts, settings: { ...settings, retryOn: [] } };
  assert.equal(decideEnd(end('busy'), none, NOW).status, 'failed');
  assert.equal(decideEnd(end('node_lost'), none, NOW).status, 'pending', 'it was our fault');
});

test('a voicemail box is tried again where the campaign says so, and is done in the end', () => {
  const box = end('voicemail', { wasAnswered: true });
  const again = { ...facts, settings: { ...settings, retryOn: ['voicemail' as const] } };
  assert.equal(decideEnd(box, again, NOW).status, 'pending');
  assert.equal(decideEnd(box, again, NOW).nextAttemptAtMs, NOW - 1_000 + 60_000);
  assert.equal(decideEnd(box, { ...again, attempts: 3 }, NOW).status, 'done');
});

test('the delay counts from the end of the call; a lost one may still ring', () => {
  assert.equal(decideEnd(end('busy'), facts, NOW).nextAttemptAtMs, NOW - 1_000 + 60_000);
  assert.equal(decideEnd(end('node_lost'), facts, NOW).nextAttemptAtMs, NOW + 60_000);
  const quick = { ...facts, settings: { ...settings, retryDelayS: 1 } };
  assert.equal(decideEnd(end('node_lost'), quick, NOW).nextAttemptAtMs, NOW + 35_000);
  assert.equal(decideEnd(end('busy'), quick, NOW).nextAttemptAtMs, NOW);
});

test('the breaker counts the carrier’s failures among the last ends, once the window is full', () => {
  const small = { ...settings, stopWindow: 4, stopFailurePct: 50 };
  let recentEnds = '';
  const ends: [Outcome, boolean][] = [
    ['congestion', false],
    ['busy', false],
    ['auth_failed', false],
    ['completed', true],
    ['no_answer', false],
    ['carrier_error', false],
    ['busy', false],
    ['busy', false],
  ];
  const tripped = ends.map(([outcome, wasAnswered]) => {
    const decision = decideEnd(
      end(outcome, { wasAnswered }),
      { ...facts, settings: small, recentEnds },
      NOW,
    );
    ({ recentEnds } = decision);
    return decision.pauseReason;
  });
  const yes = BREAKER_REASON;
  // 1, 10, 101, 1010 (2 of 4), 0100, 1001 (2 of 4), 0010, 0100.
  assert.deepEqual(tripped, [null, null, null, yes, null, yes, null, null]);
  assert.equal(recentEnds.length, 4);
  assert.equal(hasTripped('1111', { stopWindow: 4, stopFailurePct: 100 }), true);
  assert.equal(hasTripped('1110', { stopWindow: 4, stopFailurePct: 100 }), false);
  assert.equal(hasTripped('111', { stopWindow: 4, stopFailurePct: 1 }), false, 'not full');
  assert.equal(hasTripped('1111', { stopWindow: 4, stopFailurePct: 0 }), false, 'switched off');
});

test('refusals skip the one, hold all for a while, or pause', () => {
  const of = (
    code: Parameters<typeof verdictOf>[0]['code'],
    field?: 'agent' | 'trunk' | 'to' | 'from',
  ) => {
    const verdict = verdictOf({ code, retryAfterS: 5, ...(field === undefined ? {} : { field }) });
    return verdict.kind === 'wait'
      ? `wait ${verdict.retryAfterS}`
      : `${verdict.kind} ${verdict.reason}`;
  };
  assert.equal(of('CONSENT_MISSING', 'to'), 'skip consent_missing');
  assert.equal(of('NUMBER_NOT_ALLOWED', 'to'), 'skip number_not_allowed');
  assert.equal(of('NUMBER_NOT_ALLOWED', 'from'), 'pause from_number_not_allowed');
  assert.equal(of('REFERENCE_NOT_FOUND', 'agent'), 'pause agent_missing');
  assert.equal(of('REFERENCE_NOT_FOUND', 'trunk'), 'pause trunk_missing');
  for (const code of [
    'NO_ROUTE',
    'CONCURRENCY_LIMIT',
    'OVERLOADED',
    'DRAINING',
    'UNAVAILABLE',
  ] as const)
    assert.equal(of(code), 'wait 5');
  assert.deepEqual(giveBack({ ...facts, recentEnds: '10' }, NOW), {
    ...{ status: 'pending', isAttempt: false, nextAttemptAtMs: NOW },
    ...{ lastOutcome: null, recentEnds: '10', pauseReason: null },
  });
  assert.deepEqual(skip(facts, 'why'), {
    ...{ status: 'skipped', isAttempt: false, nextAttemptAtMs: null },
    ...{ lastOutcome: 'why', recentEnds: '', pauseReason: null },
  });
});

test('what a crash left is settled by what is known, and by nothing less', () => {
  const open: OpenClaim = {
    ...{ campaignId: 'c', targetId: 't', callId: 'x', accountId: 'a', claimedBy: 'me' },
    ...{ ageMs: 1_000, record: null },
  };
  const live = {
    ...{ isOver: false, outcome: null, wasAnswered: true, endedAtMs: null, endedBy: null },
  };
  const over = {
    ...{ isOver: true, outcome: 'busy' as const, wasAnswered: false },
    ...{ endedAtMs: NOW - 5, endedBy: 'caller' },
  };
  const mine = { isMine: true, isSettled: true, isLive: false, nowMs: NOW };
  const other = { ...mine, isMine: false };
  const lost = { outcome: 'node_lost', endedAtMs: NOW, endedBy: 'system' };
  const rows: [string, Partial<OpenClaim>, typeof mine, unknown][] = [
    ['never began', {}, mine, 'never began'],
    ['may be on its way', {}, { ...mine, isSettled: false }, null],
    ['is live', { record: live }, { ...mine, isLive: true }, null],
    ['lost its journal', { record: live }, mine, { ...lost, wasAnswered: true }],
    [
      'is over',
      { record: over },
      { ...mine, isSettled: false },
      { ...end('busy'), endedAtMs: NOW - 5 },
    ],
    ['another node’s', {}, other, null],
    ['another node’s, live', { record: live }, other, null],
    ['another node’s, over', { record: over }, other, { ...end('busy'), endedAtMs: NOW - 5 }],
    ['another node’s, lost', { ageMs: LOST_AFTER_MS + 1 }, other, { ...lost, wasAnswered: false }],
    [
      'another node’s, lost while it was answered',
      { ageMs: LOST_AFTER_MS + 1, record: live },
      other,
      { ...lost, wasAnswered: true },
    ],
  ];
  for (const [name, changes, node, expected] of rows) {
    assert.deepEqual(endOfClaim({ ...open, ...changes }, node), expected, name);
  }
});

test('the pacer never makes up for time that went by', () => {
  const pacer = new Pacer(2, 1_000);
  assert.equal(pacer.nextMs, 1_500, 'the first waits too');
  pacer.note(9_000);
  assert.equal(pacer.nextMs, 9_500);
  pacer.note(8_000);
  assert.equal(pacer.nextMs, 9_500, 'never backwards');
  pacer.setRate(0.1);
  assert.equal(pacer.nextMs, 19_000);
});
