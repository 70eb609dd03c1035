/** The tone code of scripted utterances: every id, through G.711, losses, noise and speech. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  decodeUtteranceId,
  encodeUtteranceId,
  MAX_UTTERANCE_ID,
  UtteranceToneDecoder,
} from '#lib/utterance-tones.ts';
import { decodeWav } from '#providers/local/wav.ts';
import { PROMPTS_DIR } from '#providers/local/recorded.ts';

const SOME_IDS = [0, 1, 7, 8, 63, 64, 100, 255, 292, 365, 448, 511];

function randomizer(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Mu-law and back by the formula of G.711, independent of the server's tables. */
function throughMuLaw(pcm: Int16Array): Int16Array {
  return pcm.map((sample) => {
    const magnitude = Math.min(Math.abs(sample), 32635) + 132;
    const exponent = Math.floor(Math.log2(magnitude)) - 7;
    const mantissa = (magnitude >> (exponent + 3)) & 15;
    const decoded = (((mantissa << 3) + 132) << exponent) - 132;
    return sample < 0 ? -decoded : decoded;
  });
}

function idsOf(pcm: Int16Array, chunk: () => number): number[] {
  const ids: number[] = [];
  const decoder = new UtteranceToneDecoder((id) => ids.push(id));
  for (let at = 0; at < pcm.length;) {
    const size = chunk();
    decoder.push(pcm.subarray(at, at + size));
    at += size;
  }
  return ids;
}

function joined(...parts: Int16Array[]): Int16Array {
  return Int16Array.from(parts.flatMap((part) => [...part]));
}

const speech = decodeWav(readFileSync(new URL('greeting-en.wav', PROMPTS_DIR)), 'greeting');

test('every id survives mu-law', () => {
  for (let id = 0; id <= MAX_UTTERANCE_ID; id++) {
    assert.equal(decodeUtteranceId(throughMuLaw(encodeUtteranceId(id))), id);
  }
});

test('ids out of range are refused', () => {
  for (const id of [-1, 512, 1.5, Number.NaN])
    assert.throws(() => encodeUtteranceId(id), RangeError);
});

test('chunk size and offset make no difference, and a code is reported once', () => {
  const random = randomizer(1);
  for (const id of SOME_IDS) {
    const lead = new Int16Array(Math.floor(random() * 500));
    const pcm = joined(lead, encodeUtteranceId(id), speech.subarray(0, 8000));
    assert.deepEqual(
      idsOf(pcm, () => 1 + Math.floor(random() * 400)),
      [id],
    );
  }
});

test('level from loud to faint, noise at 20 dB', () => {
  const random = randomizer(2);
  for (const gain of [2, 1, 0.3, 0.1]) {
    for (const id of SOME_IDS) {
      const pcm = encodeUtteranceId(id).map((sample) =>
        Math.max(-32768, Math.min(32767, gain * (sample + (random() - 0.5) * 1400))),
      );
      assert.equal(decodeUtteranceId(throughMuLaw(pcm)), id, `gain ${gain}`);
    }
  }
});

test('a frame lost, silenced or repeated anywhere does no harm', () => {
  for (const id of SOME_IDS) {
    const pcm = joined(new Int16Array(80), encodeUtteranceId(id), new Int16Array(800));
    for (let at = 0; at + 160 <= 2640; at += 160) {
      const lost = joined(pcm.subarray(0, at), pcm.subarray(at + 160));
      const twice = joined(pcm.subarray(0, at + 160), pcm.subarray(at));
      const silent = pcm.slice();
      silent.fill(0, at, at + 160);
      for (const [what, damaged] of Object.entries({ lost, twice, silent })) {
        assert.equal(decodeUtteranceId(damaged), id, `id ${id}, frame at ${at} ${what}`);
      }
    }
  }
});

test('two codes in a row, each with its speech', () => {
  const pcm = joined(
    ...[encodeUtteranceId(9), speech.subarray(0, 6000)],
    ...[encodeUtteranceId(9), encodeUtteranceId(300)],
  );
  assert.deepEqual(
    idsOf(pcm, () => 160),
    [9, 9, 300],
  );
});

test('speech, keys, noise and damaged codes are no ids', () => {
  for (const name of readdirSync(PROMPTS_DIR).filter((file) => file.endsWith('.wav'))) {
    const pcm = decodeWav(readFileSync(new URL(name, PROMPTS_DIR)), name);
    assert.deepEqual(
      idsOf(pcm, () => 1600),
      [],
      name,
    );
  }
  const random = randomizer(3);
  const noise = new Int16Array(80_000).map(() => (random() - 0.5) * 20_000);
  assert.deepEqual(
    idsOf(noise, () => 160),
    [],
  );
  for (const low of [697, 770, 852, 941]) {
    for (const high of [1209, 1336, 1477, 1633]) {
      const key = new Int16Array(1600).map(
        (_, i) =>
          6000 *
          (Math.sin((2 * Math.PI * low * i) / 8000) + Math.sin((2 * Math.PI * high * i) / 8000)),
      );
      assert.deepEqual(
        idsOf(key, () => 160),
        [],
      );
    }
  }
  // The third symbol of one code in another: the check digit tells.
  const spoilt = encodeUtteranceId(0);
  spoilt.set(encodeUtteranceId(5).subarray(1280, 1920), 1280);
  assert.deepEqual(
    idsOf(spoilt, () => 160),
    [],
  );
});
