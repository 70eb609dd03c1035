/** The quality in a call's final event, from what the media worker measured. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallQuality } from '#media/quality/call-quality.ts';
import type { MediaStats } from '#media/types.ts';
import { finalFactsOf, type FinalInput } from '#sessions/final-facts.ts';

const QUALITY: CallQuality = {
  ...{ mos: 4.123_456, mosMin: 3.987_6, r: 84, lossPct: 1.234_5, discardedPct: 0.2 },
  recoveredPct: 0,
  ...{ burstRatio: 1, jitterMs: 4.56, delayMs: 90, roundTripMs: 31, far: null },
  ...{ voiceDbov: -24, noiseDbov: -60, faults: [], fault: null },
};

const STATS: MediaStats = {
  ...{ packetsReceived: 500, packetsSent: 500, lost: 6, late: 1, duplicated: 0, concealedMs: 0 },
  ...{ foreignDropped: 0, malformedDropped: 0, jitterMs: 4, codec: 'PCMU', quality: QUALITY },
};

const quality = (change: Partial<FinalInput>) =>
  finalFactsOf({
    cause: { type: 'caller.hangup' },
    ending: { outcome: 'completed', hangupReason: 'user_hangup', endedBy: 'caller' },
    ...{ stats: STATS, codec: 'PCMU', latency: null, tokens: 0, confidence: null },
    recordingStatus: 'none',
    ...change,
  } as FinalInput).quality;

test('the figures of the record, rounded', () => {
  assert.deepEqual(quality({}), {
    ...{ mos: 4.12, mos_min: 3.99, loss_pct: 1.23, jitter_ms: 4.6, codec: 'PCMU', fault: null },
  });
});

test('the fault: what was measured; a call that ended for want of audio is told as such', () => {
  const cause = { type: 'media.lost' } as FinalInput['cause'];
  const withFault = (fault: CallQuality['fault']): MediaStats => ({
    ...STATS,
    quality: { ...QUALITY, fault },
  });
  assert.equal(quality({ stats: withFault('echo') })?.fault, 'echo');
  assert.equal(quality({ stats: withFault('echo'), cause })?.fault, 'media_lost');
  assert.equal(quality({ stats: withFault('one_way_audio'), cause })?.fault, 'one_way_audio');
});

test('no quality where nothing was measured', () => {
  assert.equal(quality({ stats: null }), null);
  assert.equal(quality({ stats: { ...STATS, quality: null } }), null);
  assert.equal(quality({ codec: null }), null);
});
