/** The numbers of contract section 6 from counts, and what a PATCH does to a record (2.1), as plain functions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordChange } from '#lib/call-record.ts';
import { changedColumns, type ChangeableRow } from '#store/call-record-changes.ts';
import { statisticsOf, type Counts } from '#store/statistics.ts';

type Reason = Counts['reasons'][number];

function reason(name: string, calls: number, timed = calls, seconds = 0): Reason {
  return { name, calls, timed, seconds };
}

function ofReasons(...reasons: readonly Reason[]) {
  return statisticsOf({ days: [], apps: [], reasons });
}

test('the worked example', () => {
  const counted = statisticsOf({
    days: [
      { name: '2026-11-16', calls: 3, seconds: 601 },
      { name: '2026-11-17', calls: 1, seconds: 46 },
      { name: '2026-11-18', calls: 2, seconds: 0 },
    ],
    apps: [
      { name: '钉钉', calls: 1, seconds: 0 },
      { name: '', calls: 1, seconds: 0 },
      { name: '企业微信', calls: 1, seconds: 301 },
      { name: '微信', calls: 3, seconds: 346 },
    ],
    reasons: [
      reason('user', 1, 1, 300),
      reason('ai', 1, 1, 301),
      reason('timeout', 1, 1, 0),
      reason('silence', 1, 1, 46),
      reason('', 2, 1, 0),
    ],
  });
  assert.deepEqual(counted, {
    ...{ totalCalls: 6, totalDurationSeconds: 647, avgDurationSeconds: 129 },
    ...{ successCalls: 3, failedCalls: 1, otherCalls: 2, successRate: 75 },
    hangupReasons: { user: 1, ai: 1, timeout: 1, silence: 1, error: 0 },
    days: [
      { date: '2026-11-16', calls: 3, seconds: 601 },
      { date: '2026-11-17', calls: 1, seconds: 46 },
      { date: '2026-11-18', calls: 2, seconds: 0 },
    ],
    apps: [
      { name: '微信', calls: 3 },
      { name: 'unknown', calls: 1 },
      { name: '企业微信', calls: 1 },
      { name: '钉钉', calls: 1 },
    ],
  });
});

test('the second check: success counts silence, failure counts timeout', () => {
  const { successCalls, failedCalls, successRate, otherCalls } = ofReasons(
    ...[reason('user', 80), reason('ai', 50), reason('timeout', 10)],
    ...[reason('silence', 5), reason('error', 5)],
  );
  assert.deepEqual([successCalls, failedCalls, successRate, otherCalls], [135, 15, 90, 0]);
});

test('ratios are rounded half up', () => {
  const rates: [number, number, number][] = [
    [0, 0, 0],
    [1, 0, 100],
    [0, 1, 0],
    [1, 2, 33.3],
    [2, 1, 66.7],
    [1, 15, 6.3], // 6.25
    [3, 77, 3.8], // 3.75
    [1, 1999, 0.1], // 0.05
    [1, 2000, 0], // 0.04998
    [899_999, 100_001, 90],
  ];
  for (const [success, failed, rate] of rates) {
    const { successRate } = ofReasons(reason('user', success), reason('error', failed));
    assert.equal(successRate, rate, `${success} of ${success + failed}`);
  }
  const averages: [number, number, number][] = [
    [0, 0, 0],
    [647, 5, 129],
    [3, 2, 2],
    [1, 2, 1],
    [1, 3, 0],
    [86_400_000_001, 1_000_000, 86_400],
  ];
  for (const [seconds, timed, average] of averages) {
    const { avgDurationSeconds } = ofReasons(reason('user', timed, timed, seconds));
    assert.equal(avgDurationSeconds, average, `${seconds} / ${timed}`);
  }
});

test('apps: at most 50 names, ties by name, the rest under other, no name twice', () => {
  const many = (count: number, more: Counts['apps'] = []): Counts['apps'] => [
    ...more,
    ...Array.from({ length: count }, (_, at) => ({
      ...{ name: `app${String(at).padStart(3, '0')}`, calls: 1 + (at % 3), seconds: 0 },
    })),
  ];
  const appsOf = (apps: Counts['apps']) => statisticsOf({ days: [], reasons: [], apps }).apps;
  assert.deepEqual(appsOf([]), []);
  assert.equal(appsOf(many(50)).length, 50);
  assert.equal(appsOf(many(50)).at(-1)?.name, 'app048');
  const cut = appsOf(many(60));
  assert.equal(cut.length, 50);
  assert.deepEqual(cut[0], { name: 'other', calls: 11 });
  assert.equal(
    cut.reduce((sum, app) => sum + app.calls, 0),
    many(60).reduce((sum, app) => sum + app.calls, 0),
  );
  const named = appsOf(many(60, [{ name: 'other', calls: 100, seconds: 0 }]));
  assert.equal(new Set(named.map(({ name }) => name)).size, named.length);
  assert.equal(named.length <= 50, true);
  const unknown = appsOf([
    ...[{ name: '', calls: 2, seconds: 0 }],
    ...[{ name: 'unknown', calls: 3, seconds: 0 }],
  ]);
  assert.deepEqual(unknown, [{ name: 'unknown', calls: 5 }]);
});

const START = '2026-11-18T02:00:00.000Z';
const NOW = Date.parse('2026-11-18T03:00:00.000Z');

function row(changes: Partial<ChangeableRow> = {}): ChangeableRow {
  return {
    ...{ source: 'api', status: 'answered', start_time: new Date(START), end_time: null },
    ...{ duration_seconds: null, hangup_reason: null, metadata: {}, patched: null },
    ...changes,
  };
}

function at(seconds: number): string {
  return new Date(Date.parse(START) + seconds * 1000).toISOString();
}

test('end, duration, reason and status follow from each other', () => {
  const ended = row({ status: 'ended', end_time: new Date(at(60)), hangup_reason: 'user' });
  const cases: [string, ChangeableRow, RecordChange, object | string][] = [
    [
      'an end gives the duration',
      row(),
      { endTime: at(90.5) },
      { end_time: at(90.5), duration_seconds: 91, status: 'ended' },
    ],
    [
      'rounded half up',
      row(),
      { endTime: at(90.499) },
      { end_time: at(90.499), duration_seconds: 90, status: 'ended' },
    ],
    [
      'no time at all',
      row(),
      { endTime: START },
      { end_time: START, duration_seconds: 0, status: 'ended' },
    ],
    ['an end before the start', row(), { endTime: at(-0.001) }, 'endBeforeStart'],
    ['an end two days later', row(), { endTime: at(172_800) }, 'endTooLate'],
    [
      'but with a duration',
      row(),
      { endTime: at(172_800), durationSeconds: 60 },
      { end_time: at(172_800), duration_seconds: 60, status: 'ended' },
    ],
    [
      'one second more is rounding',
      row(),
      { endTime: at(60), durationSeconds: 61 },
      { end_time: at(60), duration_seconds: 61, status: 'ended' },
    ],
    ['two are not', row(), { endTime: at(60), durationSeconds: 62 }, 'durationTooLong'],
    ['nor against the end that is there', ended, { durationSeconds: 62 }, 'durationTooLong'],
    ['a duration alone ends nothing', row(), { durationSeconds: 62 }, { duration_seconds: 62 }],
    [
      'a reason alone ends',
      row(),
      { hangupReason: 'ai' },
      { hangup_reason: 'ai', status: 'ended' },
    ],
    [
      'one cleared: still ended',
      ended,
      { hangupReason: null },
      { hangup_reason: null, status: 'ended' },
    ],
    [
      'the end cleared: its duration with it',
      ended,
      { endTime: null },
      { end_time: null, duration_seconds: null, status: 'ended' },
    ],
    [
      'both cleared: open again',
      ended,
      { endTime: null, hangupReason: null },
      { end_time: null, duration_seconds: null, hangup_reason: null, status: 'answered' },
    ],
    ['names leave the status alone', ended, { callerName: null }, { caller_name: null }],
  ];
  for (const [name, before, change, expected] of cases) {
    const columns = changedColumns(before, change, NOW);
    const found = typeof columns === 'string' ? columns : Object.fromEntries(columns);
    assert.deepEqual(found, expected, name);
  }
});

test('metadata merges one level deep, and a core record remembers what was patched', () => {
  const metadata = { a: 1, b: { x: null, y: 2 }, avg_confidence: null };
  const change: RecordChange = { metadata: { a: null, b: { z: null }, c: [null], gone: null } };
  const merged = { b: { z: null }, c: [null], avg_confidence: null };
  const columns = changedColumns(row({ metadata }), change, NOW);
  assert.deepEqual(columns, new Map([['metadata', merged]]));
  const before = { metadata: { a: 5, old: null } };
  const core = row({ source: 'core', status: 'ended', metadata, patched: before });
  const kept = changedColumns(core, { ...change, callerName: 'Ann' }, NOW);
  assert.deepEqual(
    kept,
    new Map<string, unknown>([
      ['caller_name', 'Ann'],
      ['metadata', merged],
      [
        'patched',
        {
          caller_name: true,
          metadata: { a: null, old: null, b: { z: null }, c: [null], gone: null },
        },
      ],
    ]),
  );
  for (const field of ['endTime', 'durationSeconds', 'hangupReason', 'callerPhone', 'callerApp']) {
    assert.equal(changedColumns(core, { [field]: null, summary: null }, NOW), 'readOnly', field);
  }
  assert.equal(changedColumns(core, { messages: [] }, NOW), 'readOnly');
  const large = { metadata: { big: 'x'.repeat(16_000) } };
  assert.equal(
    changedColumns(row({ metadata: { more: 'y'.repeat(500) } }), large, NOW),
    'metadataTooLarge',
  );
});

test('a summary of a client says so', () => {
  const columns = changedColumns(row(), { summary: { text: '回电', language: 'zh' } }, NOW);
  assert.deepEqual(
    columns,
    new Map<string, unknown>([
      ['summary', '回电'],
      [
        'summary_meta',
        { source: 'client', model: null, language: 'zh', generated_at: '2026-11-18T03:00:00.000Z' },
      ],
    ]),
  );
  const cleared = changedColumns(row(), { summary: null }, NOW);
  assert.deepEqual(
    cleared,
    new Map([
      ['summary', null],
      ['summary_meta', null],
    ]),
  );
});
