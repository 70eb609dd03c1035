/** G.722 against FFmpeg's coder, code by code and sample by sample. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { G722Decoder, G722Encoder } from '#media/codec/g722.ts';

/** Half of the taps of the quadrature mirror filter (ITU-T G.722 table 11); the others mirror them. */
const TAPS = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

const data = (name: string) => readFile(new URL(`../data/g722/${name}`, import.meta.url));

const clip = (value: number): number => Math.max(-32_768, Math.min(32_767, value));

async function samples(name: string): Promise<Int16Array> {
  const bytes = await data(name);
  return Int16Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readInt16LE(i * 2));
}

/** The lower sub-band of 16 kHz audio (clause 3.1), in 15 bits. */
function lowerBand(wide: Int16Array): Int16Array {
  const line = new Int32Array(24);
  return Int16Array.from({ length: wide.length / 2 }, (_, n) => {
    line.copyWithin(0, 2);
    line[22] = wide[2 * n] ?? 0;
    line[23] = wide[2 * n + 1] ?? 0;
    let sum = 0;
    for (const [k, tap] of TAPS.entries()) {
      sum += (line[2 * k] ?? 0) * tap + (line[2 * k + 1] ?? 0) * (TAPS[11 - k] ?? 0);
    }
    return sum >> 14;
  });
}

/** 16 kHz audio of a lower sub-band whose upper one is silent (clause 4.4). */
function wideOf(low: Int16Array): Int16Array {
  const line = new Int32Array(24);
  const wide = new Int16Array(low.length * 2);
  for (const [n, sample] of low.entries()) {
    line.copyWithin(0, 2);
    line.fill(sample, 22);
    let [even, odd] = [0, 0];
    for (const [k, tap] of TAPS.entries()) {
      even += (line[2 * k + 1] ?? 0) * (TAPS[11 - k] ?? 0);
      odd += (line[2 * k] ?? 0) * tap;
    }
    wide[2 * n] = clip(even >> 11);
    wide[2 * n + 1] = clip(odd >> 11);
  }
  return wide;
}

function decode(codes: Uint8Array): Int16Array {
  const pcm = new Int16Array(codes.length);
  new G722Decoder().decode(new DataView(codes.buffer, codes.byteOffset, codes.length), pcm);
  return pcm;
}

test('every code of the lower band is the one that FFmpeg gives', async () => {
  const low = lowerBand(await samples('speech.s16le'));
  const codes = new Uint8Array(low.length);
  new G722Encoder().encode(
    low.map((x) => clip(x * 2)),
    low.length,
    codes,
  );
  const theirs = await data('speech.g722');
  assert.equal(codes.length, theirs.length);
  for (const [i, code] of codes.entries()) {
    assert.equal(code & 0x3f, (theirs[i] ?? 0) & 0x3f, `sample ${i}`);
    assert.equal(code >> 6, 3, 'a silent upper band');
  }
});

test('what FFmpeg decodes of it is our lower band through the filter bank, sample by sample', async () => {
  const ours = wideOf(decode(await data('lower-band.g722')).map((x) => x >> 1));
  const theirs = await samples('lower-band.s16le');
  assert.deepEqual(ours, theirs.subarray(0, ours.length));
});

test('a stream with sound in both bands: what is below 4 kHz is heard', async () => {
  const low = lowerBand(await samples('speech.s16le')).map((x) => clip(x * 2));
  const heard = decode(await data('speech.g722'));
  let [signal, noise] = [0, 0];
  for (const [i, x] of low.entries()) {
    signal += x * x;
    noise += (x - (heard[i] ?? 0)) ** 2;
  }
  const snr = 10 * Math.log10(signal / noise);
  assert.ok(snr > 30, `${snr.toFixed(1)} dB`);
});

test('the loudest signals neither overflow nor give the mark of a hole', () => {
  for (const amplitude of [32_767, -32_768]) {
    const square = Int16Array.from({ length: 8000 }, (_, i) =>
      i % 20 < 10 ? amplitude : -amplitude - 1,
    );
    const codes = new Uint8Array(square.length);
    new G722Encoder().encode(square, square.length, codes);
    const back = decode(codes);
    assert.ok(back.every((x) => x >= -32_767));
    assert.ok(back.some((x) => x > 20_000) && back.some((x) => x < -20_000));
  }
});

/** 16 kHz audio at 8 kHz by a sharp filter: the voice as a telephone of 8 kHz would have it. */
function atHalfRate(wide: Int16Array): Int16Array {
  const half = 63;
  const taps = Array.from({ length: 2 * half + 1 }, (_, k) => {
    const x = (k - half) * 0.48;
    const window = 0.54 - 0.46 * Math.cos((Math.PI * k) / half);
    return 0.48 * window * (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  });
  return Int16Array.from({ length: wide.length / 2 }, (_, n) => {
    let sum = 0;
    for (const [k, tap] of taps.entries()) sum += tap * (wide[2 * n + k - half] ?? 0);
    return clip(Math.round(sum));
  });
}

/** Power of 32 ms from `at` on at `hz`, by Goertzel, above that of quiet noise. */
function powerAt(pcm: Int16Array, at: number, hz: number): number {
  const turn = 2 * Math.cos((2 * Math.PI * hz) / 8000);
  let [one, two] = [0, 0];
  for (let i = 0; i < 256; i++) {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / 255);
    const next = (pcm[at + i] ?? 0) * window + turn * one - two;
    two = one;
    one = next;
  }
  return one * one + two * two - turn * one * two + 1e6;
}

/** Log-spectral distance between `fromHz` and `toHz` of the loud parts, dB. */
function distance(wanted: Int16Array, heard: Int16Array, fromHz: number, toHz: number): number {
  let [sum, frames] = [0, 0];
  for (let at = 400; at + 656 < wanted.length; at += 128) {
    const part = wanted.subarray(at, at + 256);
    if (part.every((x) => Math.abs(x) < 1500)) continue;
    let [squares, bins] = [0, 0];
    for (let hz = fromHz; hz <= toHz; hz += 31.25, bins++)
      squares += (10 * Math.log10(powerAt(wanted, at, hz) / powerAt(heard, at, hz))) ** 2;
    sum += Math.sqrt(squares / bins);
    frames++;
  }
  assert.ok(frames > 15, `${frames} loud parts`);
  return sum / frames;
}

test('a wideband caller is heard as well as one with G.711: below 4 kHz nothing is missing', async () => {
  const wanted = atHalfRate(await samples('speech.s16le'));
  const wideband = decode(await data('speech.g722'));
  const { encode } = G711.PCMU;
  const telephone = wanted.map((x) => G711.PCMU.decode[encode[x & 0xffff] ?? 0] ?? 0);
  const [ours, theirs] = [wideband, telephone].map((x) => distance(wanted, x, 200, 3500));
  assert.ok(ours !== undefined && theirs !== undefined);
  // Measured: 1.1 and 0.8 dB; where the filters of the two sub-bands cross, 1.8.
  assert.ok(ours <= theirs + 0.5, `${ours.toFixed(2)} dB, G.711 ${theirs.toFixed(2)}`);
  const edge = distance(wanted, wideband, 3500, 3900);
  assert.ok(edge < 2.5, `${edge.toFixed(2)} dB below the edge`);
});
