/** A far end that changes between the codecs that were agreed, in the middle of words, over a line with jitter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newEncoder, type PayloadEncoder } from '#media/codec/codecs.ts';
import { createOpusEncoder } from '#media/codec/opus-codec.ts';
import type { Codec, NegotiatedAudio } from '#media/types.ts';
import { AUDIO, PHONE, rtp, testChain } from './_media.ts';
import { recorded, seeded } from './_noises.ts';

const TYPES: Record<Codec, number> = { PCMU: 0, PCMA: 8, G722: 9, L16: 97, opus: 111 };
const SPOKEN = recorded('about-en');
const VOICE = SPOKEN.subarray(SPOKEN.findIndex((x) => Math.abs(x) > 2000)).subarray(0, 6000 * 8);

/** Six seconds of a voice, 20 changes, and what the agent hears of it. */
async function heardOf(codecs: readonly Codec[], jitterMs: number, lossPct: number) {
  const call = testChain();
  const [codec = 'PCMU', ...others] = codecs;
  const audio: NegotiatedAudio = {
    ...{ ...AUDIO, codec, payloadType: TYPES[codec], receivePayloadType: TYPES[codec] },
    alternatives: others.map((name) => ({ codec: name, payloadType: TYPES[name] })),
  };
  await call.chain.prepare(audio);
  call.chain.start(audio);
  const encoders = new Map<Codec, PayloadEncoder>();
  for (const name of codecs)
    encoders.set(name, name === 'opus' ? await createOpusEncoder(undefined) : newEncoder(name));
  const random = seeded(99);
  const payload = new Uint8Array(1200);
  const arrivals: { readonly atMs: number; readonly bytes: Uint8Array }[] = [];
  let timestamp = 4_294_960_000;
  for (let i = 0; i * 160 < VOICE.length; i++) {
    const name = codecs[Math.floor(i / 15) % codecs.length] as Codec;
    const encoder = encoders.get(name) as PayloadEncoder;
    const bytes = encoder.encode(VOICE.slice(i * 160, (i + 1) * 160), 160, payload);
    const fields = { sequence: 65_400 + i, timestamp, payloadType: TYPES[name] };
    const packet = rtp({ ...fields, payload: payload.subarray(0, bytes) });
    // As RFC 7160 4.2 has it: each packet's time passes in the clock of its own codec.
    timestamp += encoder.clockHz / 50;
    if (random() * 100 >= lossPct)
      arrivals.push({ atMs: 20 + i * 20 + random() * jitterMs, bytes: packet });
  }
  for (const encoder of encoders.values()) encoder.free();
  arrivals.sort((a, b) => a.atMs - b.atMs);
  const heard: number[] = [];
  const chunk = new Int16Array(1600);
  for (const { atMs, bytes } of [...arrivals, { atMs: 7000, bytes: new Uint8Array(0) }]) {
    call.clock.advance(Math.max(0, atMs - call.clock.now()));
    call.transport.listener?.(bytes, PHONE.address, PHONE.port, call.clock.now());
    for (let n = call.callerRing.read(chunk, 1600); n > 0; n = call.callerRing.read(chunk, 1600))
      for (let s = 0; s < n; s++) heard.push(chunk[s] as number);
  }
  const { stats } = await call.chain.close();
  return { heard: Int16Array.from(heard), stats };
}

/** Parts of 100 ms with a voice in them, and those found again within 60 ms of their place. */
function count(heard: Int16Array, jitterMs: number): { all: number; found: number } {
  let [all, found] = [0, 0];
  for (let at = 800; at + 1600 < VOICE.length; at += 800) {
    const part = VOICE.subarray(at, at + 800);
    const energy = part.reduce((sum, x) => sum + x * x, 0);
    if (energy < 800 * 500 ** 2) continue;
    all++;
    for (let shift = 80; shift <= 160 + 8 * (jitterMs + 20); shift++) {
      let [dot, other] = [0, 1];
      for (let i = 0; i < 800; i++) {
        const x = heard[at + shift + i] ?? 0;
        dot += x * (part[i] as number);
        other += x * x;
      }
      if (dot < 0.85 * Math.sqrt(energy * other)) continue;
      found++;
      break;
    }
  }
  return { all, found };
}

for (const [codecs, jitterMs, lossPct, missing] of [
  [['PCMU', 'G722'], 0, 0, 1],
  [['PCMU', 'G722'], 50, 0, 2],
  [['PCMA', 'PCMU', 'L16'], 50, 0, 1],
  [['opus', 'PCMU'], 0, 0, 4],
  [['opus', 'PCMU', 'G722'], 50, 0, 6],
  [['PCMU', 'G722'], 50, 3, 6],
] as const) {
  test(`${codecs.join(', ')} in turn, jitter ${jitterMs} ms, loss ${lossPct} %`, async () => {
    const { heard, stats } = await heardOf(codecs, jitterMs, lossPct);
    const { all, found } = count(heard, jitterMs);
    assert.ok(all > 40 && all - found <= missing, `${found} of ${all} parts`);
    assert.ok((stats.dropped?.late ?? 0) <= 1 && (stats.dropped?.stray ?? 0) <= 3);
    assert.ok(stats.lost <= (lossPct === 0 ? 2 : 15), `${stats.lost} lost`);
  });
}
