/** 100,000 mutated packets from a call's own phone: nothing is thrown, and the caller is heard as without them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzCall, likeness } from './_media-fuzz.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261_121);
const FRAMES = 500;
const PER_FRAME = 200;

test('mutated RTP and RTCP of the latched source neither break the call nor its sound', async () => {
  const quiet = await fuzzCall({ seed: SEED, frames: FRAMES, perFrame: 0 });
  const loud = await fuzzCall({ seed: SEED, frames: FRAMES, perFrame: PER_FRAME });
  assert.equal(loud.mutated, FRAMES * PER_FRAME);
  assert.deepEqual(loud.thrown, [], `seed ${SEED}`);
  assert.deepEqual([loud.failed, loud.keys], [0, 0], `seed ${SEED}`);
  assert.ok(loud.reached >= 0.99 * loud.sent, `${loud.reached} of ${loud.sent} reached a parser`);
  assert.equal(loud.heard.length, quiet.heard.length);
  const alike = likeness(quiet.heard, loud.heard);
  assert.ok(alike >= 0.999, `correlation ${alike}, seed ${SEED}`);
});
