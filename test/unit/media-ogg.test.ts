/** Recordings as Ogg/Opus: pages as RFC 3533 and 7845 want them, both sides on the sample clock, whole pages at any end. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDecoder } from 'libopus-wasm';
import { SimulatedClock } from '#lib/clock.ts';
import { OGG_FIRST, OGG_LAST, oggPage, readOggPage, type FoundPage } from '#lib/ogg.ts';
import { joinSides, MAX_SIDES_BYTES, padSides, readOpusHead, splitSides } from '#lib/ogg-opus.ts';
import {
  SEALED_CHUNK_BYTES,
  SEALED_END_BYTES,
  SEALED_HEADER_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkOffset,
  SealedAudio,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { OggMuxer } from '#media/recording/ogg-muxer.ts';
import { openSidesEncoder } from '#media/recording/opus-sides.ts';
import { RecordingFile } from '#media/recording/recording-file.ts';
import { Recorder } from '#media/recording/recorder.ts';
import { repairSealed } from '#media/recording/sealed-repair.ts';
import { ScriptedDisk, type WriteFate } from './_disk.ts';

const SEAL: RecordingSeal = {
  recordingId: '0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9',
  key: Buffer.from(Array.from({ length: 32 }, (_, at) => 31 - at)),
  format: 'ogg',
};
const FRAME = 160;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function pagesOf(bytes: Uint8Array, from = 0): FoundPage[] {
  const pages: FoundPage[] = [];
  let page = readOggPage(bytes, from);
  for (; page !== null; page = readOggPage(bytes, page.end)) pages.push(page);
  assert.equal(pages.at(-1)?.end ?? from, bytes.length, 'nothing but whole pages');
  return pages;
}

/** The file that readers get. */
function openAll(file: Buffer): Buffer {
  const audio = new SealedAudio(SEAL);
  const dataBytes = audio.openEnd(file.subarray(-SEALED_END_BYTES), file.length);
  const parts: Buffer[] = [];
  for (let at = 0, index = 0; at < dataBytes; at += SEALED_CHUNK_BYTES, index++) {
    const length = Math.min(SEALED_CHUNK_BYTES, dataBytes - at) + SEALED_TAG_BYTES;
    const offset = sealedChunkOffset(index);
    parts.push(audio.openChunk(index, file.subarray(offset, offset + length)));
  }
  return Buffer.concat(parts);
}

/** Both sides as a player hears them: decoded, the start and the end cut where the file says. */
async function decode(ogg: Uint8Array): Promise<{ left: Int16Array; right: Int16Array }> {
  const [first, , ...rest] = pagesOf(ogg);
  const head = readOpusHead(first?.packets[0] ?? new Uint8Array(0));
  assert.ok(head !== null);
  const skip = head.preSkip / 6;
  const samples = (rest.at(-1)?.granule ?? head.preSkip) / 6 - skip;
  const sides = [];
  for (const side of ['left', 'right'] as const) {
    using decoder = await createDecoder({ channels: 1, sampleRate: 8000 });
    const packets = rest.flatMap((page) => page.packets);
    const frames = packets.map((packet) => decoder.decode(splitSides(packet)[side]).slice());
    const pcm = new Int16Array(frames.length * FRAME);
    frames.forEach((frame, at) => pcm.set(frame, at * FRAME));
    sides.push(pcm.subarray(skip, skip + samples));
  }
  return { left: sides[0] as Int16Array, right: sides[1] as Int16Array };
}

/** A tone that comes and goes, so that where it is can be seen; seeded noise keeps the packets of different sizes. */
function sound(at: number, seed: number): number {
  const on = Math.floor(at / 4000) % 2 === seed % 2 ? 1 : 0.02;
  return Math.round(on * 9000 * Math.sin((2 * Math.PI * (300 + 100 * seed) * at) / 8000));
}

type Talk = {
  readonly recorder: Recorder;
  readonly clock: SimulatedClock;
  readonly disk: ScriptedDisk;
};

async function talk({ recorder, clock }: Talk, frames: number, from = 0): Promise<void> {
  const noise = randomFrom(from + 1);
  for (let n = from; n < from + frames; n++) {
    const pcm = (seed: number): Int16Array =>
      Int16Array.from({ length: FRAME }, (_, i) => sound(n * FRAME + i, seed) + noise(900));
    recorder.writeCaller(pcm(0));
    recorder.writeAgent(pcm(1));
    clock.advance(20);
    if (n % 5 === 0) await turn();
  }
}

function setUp(
  fateOf?: (write: number, nowMs: number) => WriteFate,
  openEncoder = openSidesEncoder,
) {
  const clock = new SimulatedClock();
  const disk = new ScriptedDisk(clock, fateOf);
  const failures: string[] = [];
  const file = new RecordingFile({
    ...{ path: '/made/up.cyr', seal: SEAL, clock, openEncoder },
    open: () => Promise.resolve(disk),
    onFailed: (message) => failures.push(message),
  });
  return { clock, disk, failures, file, recorder: new Recorder(file) };
}

test('a page to the bit: header, lacing and checksum', () => {
  const page = oggPage({
    ...{ flags: OGG_FIRST, granule: 0, serial: 0x0a1b2c3d, sequence: 0 },
    packets: [new Uint8Array(255).fill(1), new Uint8Array(0), new Uint8Array(3).fill(2)],
  });
  assert.equal(Buffer.from(page).toString('latin1', 0, 4), 'OggS');
  assert.deepEqual([...page.subarray(26, 31)], [4, 255, 0, 0, 3]);
  const found = readOggPage(page, 0);
  assert.deepEqual(
    found?.packets.map((packet) => packet.length),
    [255, 0, 3],
  );
  for (let at = 0; at < page.length; at += 7) {
    const wrong = page.slice();
    wrong[at] = (wrong[at] as number) ^ 4;
    assert.equal(readOggPage(wrong, 0), null, `a bit of byte ${at}`);
  }
  for (const cut of [0, 26, 27, 30, page.length - 1]) {
    assert.equal(readOggPage(page.subarray(0, cut), 0), null, `cut at ${cut}`);
  }
});

test('two sides in one packet and back, also when it was padded by any number of bytes', async () => {
  const encoder = await openSidesEncoder();
  const wave = Int16Array.from({ length: 2 * FRAME }, (_, i) => sound(i, 0));
  const [packet] = await encoder.encode(wave);
  encoder.close();
  assert.ok(packet !== undefined);
  using decoder = await createDecoder({ channels: 1, sampleRate: 8000 });
  const { left, right } = splitSides(packet);
  assert.deepEqual(joinSides(left, right), packet);
  const heard = decoder.decode(right).slice();
  for (let by = 1; by <= 800; by += by < 300 ? 1 : 7) {
    const padded = padSides(packet, by);
    assert.equal(padded.length, packet.length + by);
    using again = await createDecoder({ channels: 1, sampleRate: 8000 });
    const sides = splitSides(padded);
    assert.deepEqual(sides.left, left);
    assert.deepEqual(again.decode(sides.right), heard, `by ${by}`);
  }
  for (const bad of [[], [0], [0, 5], [0, 5, 1, 1, 1, 1, 1], [3, 0, 0], [0, 252, 0]]) {
    assert.throws(() => splitSides(Uint8Array.from(bad)), { code: 'E_MEDIA' });
  }
});

test('no page lies across a border of the chunks, whatever the packets are like', () => {
  for (let seed = 1; seed <= 24; seed++) {
    const random = randomFrom(seed);
    const border = [2048, 8192, SEALED_CHUNK_BYTES][seed % 3] as number;
    const muxer = new OggMuxer({
      ...{ serial: seed, preSkip: 312, inputRateHz: 8000, border, packetGranules: 960 },
    });
    const sent: number[] = [];
    for (let i = 0; i < 3000; i++) {
      const loud = seed > 12 ? [200, MAX_SIDES_BYTES + 1] : [30, MAX_SIDES_BYTES + 1];
      const [least, most] = i % 400 < 200 && seed <= 18 ? [3, 20] : (loud as [number, number]);
      const packet = new Uint8Array(Math.max(4, least + random(most - least)));
      packet[1] = Math.min(1, packet.length - 4);
      sent.push(packet.length);
      muxer.add(packet);
    }
    muxer.finish(3000 * 960 - 100);
    const bytes = Buffer.concat(muxer.take());
    const pages = pagesOf(bytes);
    let start = 0;
    for (const [at, page] of pages.entries()) {
      assert.equal(page.sequence, at);
      assert.equal(Math.floor(start / border), Math.floor((page.end - 1) / border), `seed ${seed}`);
      start = page.end;
    }
    const found = pages.slice(2).flatMap((page) => page.packets.map(({ length }) => length));
    assert.equal(found.length, sent.length);
    const padding = found.reduce((sum, length, at) => sum + length - (sent[at] as number), 0);
    assert.ok(found.every((length, at) => length >= (sent[at] as number)));
    assert.ok(padding <= (bytes.length / border + 1) * 540, `${padding} bytes of padding`);
    assert.equal(pages.at(-1)?.granule, 3000 * 960 - 100);
    assert.equal(pages.at(-1)?.flags, OGG_LAST);
  }
});

test('a minute: two pages of headers, one page a second, the right length, each sample where it belongs', async () => {
  const call = setUp();
  await talk(call, 3000);
  const result = await call.recorder.finish();
  const ogg = openAll(call.disk.bytes);
  assert.deepEqual(result, {
    ...{ path: '/made/up.cyr', durationMs: 60_000, bytes: ogg.length, truncated: false },
    sha256: createHash('sha256').update(call.disk.bytes).digest('hex'),
  });
  const [head, tags, ...pages] = pagesOf(ogg);
  assert.deepEqual(
    Buffer.from(head?.packets[0] ?? []).toString('hex'),
    '4f7075734865616401023801401f0000000001020000' + '01',
  );
  assert.equal(
    Buffer.from(tags?.packets[0] ?? []).toString('hex'),
    '4f7075735461677308000000' + Buffer.from('callyard').toString('hex') + '00000000',
  );
  assert.deepEqual([head?.flags, head?.granule, tags?.granule], [OGG_FIRST, 0, 0]);
  assert.ok(pages.length >= 60 && pages.length <= 63, `${pages.length} pages`);
  let packets = 0;
  for (const page of pages.slice(0, -1)) {
    packets += page.packets.length;
    assert.equal(page.granule, packets * 960);
    assert.equal(page.flags, 0);
  }
  assert.deepEqual([pages.at(-1)?.granule, pages.at(-1)?.flags], [312 + 60_000 * 48, OGG_LAST]);
  const rate = (ogg.length * 8) / 60_000;
  assert.ok(rate < 34, `${rate} kbit/s`);
  const { left, right } = await decode(ogg);
  assert.deepEqual([left.length, right.length], [480_000, 480_000]);
  checkPlace(left, 0, 0, 480_000);
  checkPlace(right, 1, 0, 480_000);
});

/** Loud half seconds are where they were said, to 10 ms. */
function checkPlace(pcm: Int16Array, seed: number, from: number, to: number): void {
  for (let at = from; at + 4000 <= to; at += 4000) {
    const isLoud = Math.floor(at / 4000) % 2 === seed;
    const level = (a: number, b: number): number =>
      Math.sqrt(pcm.subarray(a, b).reduce((sum, x) => sum + x * x, 0) / (b - a));
    for (const part of [80, 1000, 3600]) {
      const rms = level(at + part, at + part + 240);
      assert.ok(isLoud ? rms > 3000 : rms < 2500, `side ${seed} at ${(at + part) / 8} ms: ${rms}`);
    }
  }
}

test('short calls: nothing, one sample, and lengths around a packet', async () => {
  for (const samples of [0, 1, 107, 108, 109, 160, 161, 268, 269]) {
    const { recorder, disk } = setUp();
    recorder.writeCaller(new Int16Array(samples).fill(1000));
    recorder.writeAgent(new Int16Array(samples).fill(-1000));
    const result = await recorder.finish();
    assert.equal(result?.durationMs, Math.round(samples / 8), `${samples} samples`);
    const { left } = await decode(openAll(disk.bytes));
    assert.equal(left.length, samples);
  }
});

test('a crash at any byte: whole pages up to the last seconds, twice alike', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'callyard-ogg-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'call.cyr');
  const call = setUp();
  const frames = 1600;
  await talk(call, frames);
  for (let i = 0; i < 20; i++) await turn();
  const left = Buffer.from(call.disk.bytes);
  assert.ok(left.length > sealedChunkOffset(1), 'a whole chunk and tails');
  const whole = openAllAfter(await call.recorder.finish(), call.disk.bytes);
  const full = await mend(path, left);
  assert.ok(full.durationMs > frames * 20 - 4000, `${full.durationMs} of ${frames * 20} ms`);
  const mended = openAll(full.file);
  assert.ok(whole.subarray(0, mended.length).equals(mended), 'it is the start of the whole');
  const heard = (await decode(mended)).left.length / 8;
  assert.ok(Math.abs(heard - full.durationMs) <= 1, `${heard} of ${full.durationMs} ms`);

  const random = randomFrom(20_261_121);
  for (let round = 0; round < 40; round++) {
    const cut = random(left.length + 1);
    const again = await mend(path, left.subarray(0, cut));
    assert.ok(pagesOf(openAll(again.file)).length >= 0, `cut at ${cut}`);
    const second = await mend(path, again.file);
    assert.ok(second.file.equals(again.file), 'mended twice');
  }
  // A tail torn in the middle of being written leaves the one before.
  for (const place of [1, 2]) {
    const torn = Buffer.from(left);
    torn.fill(7, sealedChunkOffset(place) + 100, sealedChunkOffset(place) + 200);
    const { durationMs } = await mend(path, torn);
    assert.ok(durationMs > frames * 20 - 7000, `${durationMs} ms with a torn tail`);
  }
});

function openAllAfter(result: unknown, file: Buffer): Buffer {
  assert.ok(result !== null);
  return openAll(file);
}

async function mend(path: string, file: Buffer): Promise<{ durationMs: number; file: Buffer }> {
  await writeFile(path, file);
  const { durationMs, bytes, sha256 } = await repairSealed(path, { ...SEAL, format: 'wav' });
  const mended = await readFile(path);
  if (mended.length <= SEALED_HEADER_BYTES + SEALED_END_BYTES) return { durationMs, file: mended };
  assert.equal(sha256, createHash('sha256').update(mended).digest('hex'));
  assert.equal(openAll(mended).length, bytes);
  return { durationMs, file: mended };
}

test('a disk that fills up: what is there is whole pages, and lasts as long as the result says', async () => {
  for (const capacity of [1000, 70_000, 140_000]) {
    const call = setUp();
    const write = call.disk.write.bind(call.disk);
    call.disk.write = async (bytes, position) => {
      if (position + bytes.length > capacity) throw new Error('ENOSPC');
      await write(bytes, position);
    };
    await talk(call, 2600);
    const result = await call.recorder.finish();
    assert.deepEqual(call.failures, ['ENOSPC'], `${capacity} bytes`);
    if (capacity === 1000) {
      assert.equal(result, null);
      assert.ok(call.disk.isRemoved);
      continue;
    }
    assert.ok(result?.truncated);
    const ogg = openAll(call.disk.bytes);
    assert.equal(ogg.length, result.bytes);
    assert.equal(result.sha256, createHash('sha256').update(call.disk.bytes).digest('hex'));
    const { left } = await decode(ogg);
    assert.ok(Math.abs(left.length / 8 - result.durationMs) <= 1);
    checkPlace(left, 0, 0, left.length - (left.length % 4000));
  }
});

test('an encoder that fails now and then costs nothing of the clock', async () => {
  let calls = 0;
  const call = setUp(undefined, async () => {
    const encoder = await openSidesEncoder();
    return {
      ...{ lookahead: encoder.lookahead, close: () => encoder.close() },
      encode: (stereo) =>
        ++calls % 7 === 3 ? Promise.reject(new Error('the encoder died')) : encoder.encode(stereo),
    };
  });
  await talk(call, 750);
  const result = await call.recorder.finish();
  assert.deepEqual(call.failures, ['the encoder died']);
  assert.equal(result?.durationMs, 15_000);
  const { left, right } = await decode(openAll(call.disk.bytes));
  checkPlace(left, 0, 0, 120_000);
  checkPlace(right, 1, 0, 120_000);
});
