/** The contract's "SIP to outcome" table, row by row, and the Reason header. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  outcomeOfRefusal,
  parseReason,
  reasonHeader,
  type Refusal,
  type RefusalOutcome,
} from '#sip/status.ts';

const REFUSED: Refusal = {
  cause: 'refused',
  status: 500,
  reason: null,
  q850: null,
  retryAfter: false,
  authFailed: false,
};

test('every status of the table has its outcome', () => {
  const rows: [RefusalOutcome, number[]][] = [
    ['busy', [486, 600]],
    ['no_answer', [408]],
    ['unreachable', [480, 410, 430]],
    ['invalid_number', [404, 484, 485, 604, 416]],
    ['declined', [403, 603, 607, 608]],
    ['auth_failed', [401, 407]],
    ['incompatible_media', [415, 488, 606]],
    ['congestion', [503]],
    ['carrier_error', [300, 302, 380, 400, 402, 406, 420, 482, 483, 487, 489, 500, 502, 504, 605]],
  ];
  for (const [outcome, statuses] of rows) {
    for (const status of statuses) {
      assert.equal(outcomeOfRefusal({ ...REFUSED, status }), outcome, String(status));
    }
  }
});

test('every Q.850 cause of the table wins over the status; 16 and 31 say nothing', () => {
  const rows: [RefusalOutcome, number[]][] = [
    ['busy', [17]],
    ['no_answer', [18, 19]],
    ['unreachable', [20, 27]],
    ['invalid_number', [1, 22, 28]],
    ['declined', [21]],
    ['incompatible_media', [65, 79, 88]],
    ['congestion', [34, 38, 41, 42, 44, 47]],
    ['carrier_error', [2, 3, 6, 29, 58, 102, 111, 127]],
  ];
  for (const [outcome, causes] of rows) {
    for (const q850 of causes) {
      assert.equal(outcomeOfRefusal({ ...REFUSED, status: 480, q850 }), outcome, String(q850));
    }
  }
  for (const q850 of [16, 31]) {
    assert.equal(outcomeOfRefusal({ ...REFUSED, status: 486, q850 }), 'busy');
  }
});

test('what we did ourselves, credentials and Retry-After', () => {
  const rows: [RefusalOutcome, Partial<Refusal>][] = [
    ['no_answer', { cause: 'no_answer', status: 487 }],
    ['no_answer', { cause: 'no_answer', status: 487, q850: 127 }],
    ['cancelled', { cause: 'cancelled', status: 487 }],
    ['cancelled', { cause: 'cancelled', status: null }],
    ['unreachable', { cause: 'unreachable', status: 408 }],
    ['unreachable', { cause: 'unreachable', status: null }],
    ['congestion', { status: 480, retryAfter: true }],
    ['no_answer', { status: 480, retryAfter: true, q850: 19 }],
    ['busy', { status: 486, retryAfter: true }],
    ['auth_failed', { status: 407, authFailed: true }],
    ['carrier_error', { status: null }],
  ];
  for (const [outcome, fields] of rows) {
    assert.equal(outcomeOfRefusal({ ...REFUSED, ...fields }), outcome, JSON.stringify(fields));
  }
});

test('Reason headers', () => {
  const rows: [string | undefined, number | null, string | null][] = [
    [undefined, null, null],
    ['', null, null],
    ['Q.850;cause=17;text="User busy"', 17, 'User busy'],
    ['q.850 ; Cause = 16', 16, null],
    ['SIP;cause=200;text="Call completed elsewhere"', null, 'Call completed elsewhere'],
    ['SIP;cause=480;text="a, b", Q.850;cause=19;text="no answer"', 19, 'no answer'],
    ['Q.850;text="say \\"hi\\"";cause=31', 31, 'say "hi"'],
    ['Q.850;cause=abc', null, null],
    ['Q.850;cause=9999', null, null],
    ['\u0000;;;=,,,"', null, null],
  ];
  for (const [value, q850, reason] of rows)
    assert.deepEqual(parseReason(value), { q850, reason }, value);
  const ours = reasonHeader({ q850: 16, text: 'done "now"\r\nX: y' });
  assert.equal(ours, 'Q.850;cause=16;text="done nowX: y"');
  assert.deepEqual(parseReason(ours), { q850: 16, reason: 'done nowX: y' });
});
