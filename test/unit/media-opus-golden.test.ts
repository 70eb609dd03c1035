/** Opus against FFmpeg's own decoder, which shares no code with ours: packets of every mode, at 8 kHz. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createOpusDecoder } from '#media/codec/opus-codec.ts';
import { opusUnits } from '#media/codec/opus-packet.ts';

const data = (name: string): Buffer =>
  readFileSync(new URL(`../data/opus/${name}`, import.meta.url));

function packetsOf(name: string): DataView[] {
  const bytes = data(`${name}.packets`);
  const packets: DataView[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at))
    packets.push(new DataView(bytes.buffer, bytes.byteOffset + at + 2, bytes.readUInt16BE(at)));
  return packets;
}

/** Begins `delay` samples later, not always whole ones: 49 taps of a windowed sinc. */
function shifted(pcm: Int16Array, delay: number): Float64Array {
  const part = delay - Math.floor(delay);
  const taps = Array.from({ length: 49 }, (_, i) => {
    const x = i - 24 - part;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    return sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / 25));
  });
  return Float64Array.from({ length: pcm.length }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < 49; k++)
      sum += (taps[k] as number) * (pcm[i + Math.floor(delay) + k - 24] ?? 0);
    return sum;
  });
}

/** Mode, length of a packet in samples, what the encoder looks ahead in samples of 8 kHz, and how near it has to be. */
for (const [name, samples, lookahead, least] of [
  ['silk-narrow', 160, 52, 36],
  ['silk-long', 480, 52, 25],
  ['silk-fec', 160, 52, 23],
  ['hybrid-wide', 160, 52, 25],
  ['celt-full', 80, 20, 33],
  ['stereo', 160, 52, 24],
] as const) {
  test(`${name}: what FFmpeg hears, we hear`, async () => {
    const decoder = await createOpusDecoder();
    const packets = packetsOf(name);
    const ours = new Int16Array(packets.length * samples);
    const into = new Int16Array(960);
    for (const [i, packet] of packets.entries()) {
      assert.equal(opusUnits(packet), samples * 6);
      assert.equal(decoder.decode(packet, into), samples);
      ours.set(into.subarray(0, samples), i * samples);
    }
    decoder.free();
    const bytes = data(`${name}.s16le`);
    const theirs = Int16Array.from({ length: bytes.length / 2 }, (_, i) =>
      bytes.readInt16LE(i * 2),
    );
    // Both convert rates, each with a delay of its own.
    const near = [-1, -0.5, -0.25, 0, 0.125, 0.25].map((by) => snr(theirs, ours, lookahead + by));
    const best = Math.max(...near);
    assert.ok(best >= least, `${best.toFixed(1)} dB`);
  });
}

function snr(wanted: Int16Array, pcm: Int16Array, delay: number): number {
  const heard = shifted(pcm, delay);
  let [signal, noise] = [0, 0];
  for (let i = 800; i < wanted.length - 400; i++) {
    signal += (wanted[i] as number) ** 2;
    noise += ((wanted[i] as number) - (heard[i] as number)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}
