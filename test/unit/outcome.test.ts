/** Contract 2.0, the outcome table: every cause, answered or not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endingOf, type EndCause } from '#sessions/outcome.ts';

type Row = [
  cause: EndCause,
  answered: boolean,
  outcome: string,
  reason: string | null,
  by: string,
  event: string,
];

const ROWS: Row[] = [
  [{ type: 'remote.bye', q850: 16 }, true, 'completed', 'user', 'caller', 'call.ended'],
  [{ type: 'agent.done' }, true, 'completed', 'ai', 'agent', 'call.ended'],
  [{ type: 'api.hangup', by: 'api' }, true, 'completed', 'ai', 'api', 'call.ended'],
  [{ type: 'api.hangup', by: 'supervisor' }, true, 'completed', 'ai', 'supervisor', 'call.ended'],
  [{ type: 'api.hangup', by: 'api' }, false, 'cancelled', null, 'api', 'call.failed'],
  [{ type: 'node.stop' }, true, 'completed', 'ai', 'system', 'call.ended'],
  [{ type: 'node.stop' }, false, 'cancelled', null, 'system', 'call.failed'],
  [{ type: 'remote.cancel' }, false, 'abandoned', 'timeout', 'caller', 'call.failed'],
  [{ type: 'caller.silent' }, true, 'silence', 'silence', 'agent', 'call.ended'],
  [{ type: 'duration.over' }, true, 'max_duration', 'timeout', 'system', 'call.ended'],
  [{ type: 'media.lost' }, true, 'media_lost', 'error', 'system', 'call.ended'],
  [{ type: 'provider.failed' }, true, 'provider_error', 'error', 'system', 'call.ended'],
  [{ type: 'signalling.lost' }, false, 'carrier_error', 'error', 'system', 'call.failed'],
  [{ type: 'signalling.lost' }, true, 'media_lost', 'error', 'system', 'call.ended'],
  [
    { type: 'callee.refused', outcome: 'busy', status: 486, q850: 17 },
    false,
    'busy',
    'error',
    'caller',
    'call.failed',
  ],
  [
    { type: 'callee.refused', outcome: 'no_answer', status: 487, q850: null },
    false,
    'no_answer',
    'timeout',
    'system',
    'call.timeout',
  ],
  [
    { type: 'callee.refused', outcome: 'auth_failed', status: 407, q850: null },
    false,
    'auth_failed',
    'error',
    'caller',
    'call.failed',
  ],
  [
    { type: 'callee.refused', outcome: 'cancelled', status: 487, q850: null },
    false,
    'cancelled',
    null,
    'system',
    'call.failed',
  ],
  [
    { type: 'we.refused', outcome: 'congestion', status: 503, reason: null },
    false,
    'congestion',
    'error',
    'system',
    'call.failed',
  ],
  [
    { type: 'we.refused', outcome: 'incompatible_media', status: 488, reason: null },
    false,
    'incompatible_media',
    'error',
    'system',
    'call.failed',
  ],
  [
    { type: 'we.refused', outcome: 'blocked', status: 603, reason: null },
    false,
    'blocked',
    null,
    'system',
    'call.failed',
  ],
  [
    { type: 'fault', code: 'E_MEDIA', message: 'x' },
    true,
    'internal_error',
    'error',
    'system',
    'call.ended',
  ],
  [
    { type: 'fault', code: 'E_MEDIA', message: 'x' },
    false,
    'internal_error',
    'error',
    'system',
    'call.failed',
  ],
];

test('each cause has one outcome, reason, party and final event', () => {
  for (const [cause, answered, outcome, reason, by, event] of ROWS) {
    const ending = endingOf(cause, answered);
    const label = `${JSON.stringify(cause)} answered=${answered}`;
    assert.equal(ending.outcome, outcome, label);
    assert.equal(ending.hangupReason, reason, label);
    assert.equal(ending.endedBy, by, label);
    assert.equal(ending.finalEvent, event, label);
    assert.equal(ending.status, answered ? 'ended' : 'failed', label);
  }
});
