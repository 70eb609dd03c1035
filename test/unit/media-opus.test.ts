/** Opus: round trip, redundancy, concealment, DTX, what a packet says of itself, and hostile bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Application, createEncoder } from 'libopus-wasm';
import type { OpusWishes } from '#lib/audio-codec.ts';
import { createOpusDecoder, createOpusEncoder } from '#media/codec/opus-codec.ts';
import { hasOpusFec, isOpusInactive, opusUnits } from '#media/codec/opus-packet.ts';
import { recorded, seeded } from './_noises.ts';

const WISHES = { useInbandFec: false, useDtx: false, maxAverageBitrate: null };
/** What libopus takes to look ahead at 8 kHz. */
const DELAY = 52;

const SPOKEN = recorded('about-en');
/** Where the voice has begun. */
const START = SPOKEN.findIndex((x) => Math.abs(x) > 2000);

function voice(ms: number): Int16Array {
  return SPOKEN.slice(START, START + ms * 8);
}

const view = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Packets of `length` samples; null where DTX sends none. */
async function packetsOf(pcm: Int16Array, length: number, wishes: OpusWishes = WISHES) {
  const encoder = await createOpusEncoder(wishes);
  const payload = new Uint8Array(1200);
  const packets: (Uint8Array | null)[] = [];
  for (let at = 0; at + length <= pcm.length; at += length) {
    const frame = pcm.slice(at, at + length);
    const bytes = encoder.encode(frame, length, payload);
    packets.push(bytes === 0 ? null : payload.slice(0, bytes));
  }
  encoder.free();
  return packets;
}

function snr(wanted: Int16Array, heard: Int16Array, from: number, to: number): number {
  let [signal, noise] = [1, 1];
  for (let i = from; i < to; i++) {
    const x = wanted[i - DELAY] ?? 0;
    signal += x * x;
    noise += (x - (heard[i] ?? 0)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

test('packets of 10, 20, 40 and 60 ms come back as what went in', async () => {
  const pcm = voice(1200);
  for (const length of [80, 160, 320, 480]) {
    const decoder = await createOpusDecoder();
    const heard = new Int16Array(pcm.length + 960);
    let at = 0;
    for (const packet of await packetsOf(pcm, length)) {
      assert.ok(packet);
      assert.equal(decoder.samplesIn(view(packet)), length);
      const into = heard.subarray(at);
      at += decoder.decode(view(packet), into);
    }
    decoder.free();
    assert.equal(at, Math.floor(pcm.length / length) * length);
    const ratio = snr(pcm, heard, 1600, at);
    assert.ok(ratio > 8, `${length / 8} ms: ${ratio.toFixed(1)} dB`);
  }
});

test('a lost packet is found in the next one; without redundancy it is bridged', async () => {
  const pcm = voice(4000);
  const ratios: number[] = [];
  for (const useInbandFec of [true, false]) {
    const packets = await packetsOf(pcm, 160, { ...WISHES, useInbandFec });
    const decoder = await createOpusDecoder();
    const heard = new Int16Array(pcm.length + 960);
    let [sum, lost] = [0, 0];
    for (const [i, packet] of packets.entries()) {
      assert.ok(packet);
      const isFound = i % 5 === 1 && i > 1;
      if (i % 5 === 0 && i > 0) continue;
      if (isFound) {
        const into = heard.subarray((i - 1) * 160);
        assert.equal(decoder.recover(view(packet), into, 160), 160);
      }
      decoder.decode(view(packet), heard.subarray(i * 160));
      const hasRedundancy = hasOpusFec(view(packet));
      if (!useInbandFec) assert.ok(!hasRedundancy, `packet ${i}`);
      if (!isFound || isOpusInactive(view(packet)) || hasRedundancy !== useInbandFec) continue;
      lost++;
      sum += snr(pcm, heard, (i - 1) * 160, i * 160);
    }
    decoder.free();
    assert.ok(lost > 10, `${lost} in the midst of speech`);
    ratios.push(sum / lost);
  }
  const [found = 0, bridged = 0] = ratios;
  assert.ok(found > 3 && found > bridged + 2, `${found.toFixed(1)} and ${bridged.toFixed(1)} dB`);
});

test('several lost packets: bridged up to the last one, which is found; limits', async () => {
  const packets = await packetsOf(voice(800), 160, { ...WISHES, useInbandFec: true });
  const decoder = await createOpusDecoder();
  const pcm = new Int16Array(1600);
  for (const packet of packets.slice(0, 20)) if (packet) decoder.decode(view(packet), pcm);
  const next = packets[24];
  assert.ok(next);
  assert.equal(decoder.recover(view(next), pcm, 640), 640);
  assert.equal(decoder.recover(view(next), pcm, 650), 640, 'whole 2.5 ms');
  assert.equal(decoder.recover(view(next), pcm, 5000), 0, 'longer than Opus can');
  assert.equal(decoder.recover(view(next), pcm, 10), 0);
  decoder.free();
});

test('DTX: silence sends next to nothing, and what is sent says that it is silence', async () => {
  const quiet = Int16Array.from({ length: 24_000 }, (_, i) => ((i * 7919) % 13) - 6);
  const pcm = new Int16Array(32_000);
  pcm.set(voice(1000));
  pcm.set(quiet, 8000);
  const packets = await packetsOf(pcm, 160, { ...WISHES, useDtx: true });
  const sent = packets.slice(75).filter((packet) => packet !== null);
  assert.ok(sent.length > 0 && sent.length < 20, `${sent.length} of 125 packets`);
  assert.ok(sent.every((packet) => isOpusInactive(view(packet))));
  const said = packets.slice(0, 50).filter((packet) => packet && !isOpusInactive(view(packet)));
  assert.ok(said.length > 30, `${said.length} of 50 are speech`);
  const always = await packetsOf(pcm, 160);
  assert.ok(
    always.every((packet) => packet !== null),
    'unless it is wished for',
  );
});

test('wishes: bit rate, with a floor', async () => {
  const pcm = voice(2000);
  const rate = async (maxAverageBitrate: number | null): Promise<number> => {
    const packets = await packetsOf(pcm, 160, { ...WISHES, maxAverageBitrate });
    return packets.reduce((sum, packet) => sum + (packet?.length ?? 0), 0) * 4;
  };
  const [free, bound, least] = [await rate(null), await rate(9000), await rate(1)];
  assert.ok(free > 12_000 && free < 30_000, `${free}`);
  assert.ok(bound < 11_000, `${bound}`);
  assert.ok(least > 1000 && least < 9000, `${least}`);
});

/** Length by the first byte (RFC 6716 table 2), the framing by the others. */
const PACKETS: readonly [hex: string, units: number][] = [
  ['', 0],
  ['00', 480],
  ['08aa', 960],
  ['10aa', 1920],
  ['18aa', 2880],
  ['60aa', 480],
  ['68aa', 960],
  ['80aa', 120],
  ['88aa', 240],
  ['90aa', 480],
  ['98aa', 960],
  ['09aabb', 1920],
  ['09aabbcc', 0],
  ['0a01aabb', 1920],
  ['0a03aabb', 0],
  ['0a', 0],
  ['0afc', 0],
  ['0b', 0],
  ['0b00', 0],
  ['0b03aabbcc', 2880],
  ['0b03aabb', 0],
  ['0b8301', 0],
  ['0b830101aabbcc', 2880],
  ['0b4101aa00', 960],
  ['0b41ffaa', 0],
  ['1b02aabb', 5760],
  ['1b03aabbcc', 0],
  ['1b07aabbccddeeff00', 0],
];

test('what a packet says of itself', () => {
  for (const [hex, units] of PACKETS) {
    assert.equal(opusUnits(view(Buffer.from(hex, 'hex'))), units, hex);
  }
});

test('a phone at 48 kHz, at any bit rate and packet length, is understood at 8 kHz', async () => {
  const pcm = voice(600);
  for (const [bitrate, ms] of [
    [12_000, 2.5],
    [24_000, 5],
    [32_000, 20],
    [64_000, 60],
  ] as const) {
    const application = Application.Audio;
    const encoder = await createEncoder({ sampleRate: 48_000, channels: 2, bitrate, application });
    const decoder = await createOpusDecoder();
    const length = ms * 8;
    const into = new Int16Array(1600);
    let energy = 0;
    for (let at = 0; at + length <= pcm.length; at += length) {
      const wide = Int16Array.from(
        { length: length * 12 },
        (_, i) => pcm[at + Math.floor(i / 12)] ?? 0,
      );
      const packet = encoder.encode(wide, { frameSize: length * 6 });
      assert.equal(decoder.samplesIn(view(packet)), length);
      assert.equal(decoder.decode(view(packet), into), length);
      for (let i = 0; i < length; i++) energy += (into[i] ?? 0) ** 2;
    }
    encoder.free();
    decoder.free();
    const own = pcm.reduce((sum, x) => sum + x * x, 0);
    assert.ok(energy > own / 3 && energy < own * 2, `${bitrate}, ${ms} ms: ${energy / own}`);
  }
});

test('20,000 packets of random and damaged bytes: no throw, no more than is announced', async () => {
  const random = seeded(6001);
  const good = (await packetsOf(voice(400), 160, { ...WISHES, useInbandFec: true })).flatMap((x) =>
    x === null ? [] : [x],
  );
  const decoder = await createOpusDecoder();
  const pcm = new Int16Array(1600);
  let decoded = 0;
  for (let n = 0; n < 20_000; n++) {
    const isDamaged = n % 2 === 0;
    const bytes = isDamaged
      ? Uint8Array.from(good[Math.floor(random() * good.length)] ?? [])
      : Uint8Array.from({ length: Math.floor(random() * 80) }, () => random() * 256);
    for (let k = 0; isDamaged && k < 4; k++)
      bytes[Math.floor(random() * bytes.length)] = random() * 256;
    const packet = view(
      isDamaged && n % 6 === 0 ? bytes.subarray(0, random() * bytes.length) : bytes,
    );
    const samples = decoder.samplesIn(packet);
    assert.ok(samples <= 960);
    hasOpusFec(packet);
    isOpusInactive(packet);
    if (samples === 0) continue;
    if (n % 5 === 0) assert.ok(decoder.recover(packet, pcm, 160) <= 160);
    const made = decoder.decode(packet, pcm);
    assert.ok(made === samples || made === 0, `${made} of ${samples}, packet ${n}`);
    if (made > 0) decoded++;
    assert.ok(!pcm.subarray(0, made).includes(-32_768), 'no mark of a hole');
  }
  decoder.free();
  assert.ok(decoded > 9000, `${decoded} were decoded`);
});
