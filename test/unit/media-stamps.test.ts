/** Time stamps as phones, gateways and IVRs write them: they stand still, jump, or run at a rate of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SrtpKey } from '#lib/srtp-params.ts';
import { newEncoder, type PayloadEncoder } from '#media/codec/codecs.ts';
import { createOpusEncoder } from '#media/codec/opus-codec.ts';
import { SrtpSealer } from '#media/srtp/srtp.ts';
import type { Codec, MediaStats, NegotiatedAudio } from '#media/types.ts';
import { AUDIO, PHONE, rtp, testChain, type TestChain } from './_media.ts';
import { recorded, seeded } from './_noises.ts';

const TYPES: Record<Codec, number> = { PCMU: 0, PCMA: 8, G722: 9, L16: 97, opus: 111 };
const CODECS: readonly Codec[] = ['PCMU', 'G722', 'opus', 'L16'];
const SPOKEN = recorded('about-en');
const START = SPOKEN.findIndex((x) => Math.abs(x) > 2000);
const VOICE = SPOKEN.subarray(START, START + 6000 * 8);
/** In the middle of a word. */
const PAUSE_AT = 75;

function keyOf(seed: number): SrtpKey {
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => seed + i);
  return { suite: 'AES_CM_128_HMAC_SHA1_80', key: bytes(16), salt: bytes(14) };
}

/** A packet of the phone: when it leaves, and what its time stamp says, in samples of 8 kHz. */
type Said = {
  readonly atMs: number;
  readonly stamp: number;
  readonly marker?: boolean;
  readonly isLost?: boolean;
};

type Line = {
  readonly codec: Codec;
  readonly said: readonly Said[];
  readonly packetMs?: number;
  readonly isSecure?: boolean;
};

type Heard = { readonly pcm: Int16Array; readonly stats: MediaStats; readonly spurts: number };

/** `count` packets from `fromMs` on, whose stamps begin at `stamp` and take steps of `step`. */
function talk(count: number, fromMs: number, stamp: number, step = 160, packetMs = 20): Said[] {
  return Array.from({ length: count }, (_, i) => ({
    atMs: fromMs + i * packetMs,
    stamp: stamp + i * step,
  }));
}

/** A whole call: what the agent hears of it, by call time. */
async function callOf({ codec, packetMs = 20, said, isSecure = false }: Line): Promise<Heard> {
  const call = testChain({ isSpeech: (frame) => frame.some((x) => Math.abs(x) > 300) });
  const type = TYPES[codec];
  const receive = keyOf(50);
  const audio: NegotiatedAudio = {
    ...{ ...AUDIO, codec, payloadType: type, receivePayloadType: type },
    ...(isSecure ? { srtp: { send: keyOf(1), receive } } : {}),
  };
  await call.chain.prepare(audio);
  call.chain.start(audio);
  const sealer = isSecure ? new SrtpSealer(receive) : null;
  const encoder: PayloadEncoder =
    codec === 'opus' ? await createOpusEncoder(undefined) : newEncoder(codec);
  const [payload, bytes] = [new Uint8Array(1200), new Uint8Array(1300)];
  const heard: number[] = [];
  for (const [i, { atMs, stamp, marker = false, isLost = false }] of said.entries()) {
    wait(call, atMs, heard);
    const samples = packetMs * 8;
    const pcm = VOICE.slice(i * samples, (i + 1) * samples);
    const packet = rtp({
      ...{ sequence: 65_500 + i, marker, payloadType: type },
      timestamp: 4_294_900_000 + Math.round((stamp * encoder.clockHz) / 8000),
      payload: payload.subarray(0, encoder.encode(pcm, samples, payload)),
    });
    bytes.set(packet);
    const length = sealer?.rtp(bytes, packet.length) ?? packet.length;
    if (isLost) continue;
    const { listener } = call.transport;
    listener?.(bytes.slice(0, length), PHONE.address, PHONE.port, call.clock.now());
  }
  wait(call, call.clock.now() + 1000, heard);
  encoder.free();
  const spurts = call.events.filter(({ type: what }) => what === 'speech.started').length;
  const { stats } = await call.chain.close();
  return { pcm: Int16Array.from(heard), stats, spurts };
}

function wait({ clock, callerRing }: TestChain, untilMs: number, heard: number[]): void {
  const chunk = new Int16Array(1600);
  while (clock.now() < untilMs) {
    clock.advance(Math.min(100, untilMs - clock.now()));
    for (let n = callerRing.read(chunk, 1600); n > 0; n = callerRing.read(chunk, 1600))
      for (let i = 0; i < n; i++) heard.push(chunk[i] as number);
  }
}

/** Of every 100 ms that were said from `fromMs` of the voice on: whether they are heard at `atMs`, within 40 ms. */
function partsHeard(pcm: Int16Array, fromMs: number, lengthMs: number, atMs: number): boolean[] {
  const parts: boolean[] = [];
  for (let ms = 0; ms + 100 <= lengthMs; ms += 100) {
    const part = VOICE.subarray((fromMs + ms) * 8, (fromMs + ms + 100) * 8);
    if (energyOf(part, 0) > 800 * 300 ** 2) parts.push(isHeard(part, pcm, (atMs + ms) * 8));
  }
  return parts;
}

function isHeard(part: Int16Array, pcm: Int16Array, at: number): boolean {
  const energy = energyOf(part, 0);
  // From the middle on outwards: mostly it is there.
  for (let n = 0; n <= 640; n++) {
    const shift = (n & 1) === 0 ? n / 2 : -(n + 1) / 2;
    let dot = 0;
    for (let i = 0; i < part.length; i++) dot += (part[i] as number) * (pcm[at + shift + i] ?? 0);
    const whole = pcm.subarray(at + shift, at + shift + part.length);
    if (dot > 0.8 * Math.sqrt(energy * energyOf(whole, 1))) return true;
  }
  return false;
}

function energyOf(pcm: Int16Array, least: number): number {
  let sum = least;
  for (let i = 0; i < pcm.length; i++) sum += (pcm[i] as number) ** 2;
  return sum;
}

function checkHeard(parts: readonly boolean[], what: string, missing = 0): void {
  assert.ok(parts.length > 8, `${what}: ${parts.length} parts`);
  const heard = parts.filter(Boolean).length;
  assert.ok(parts.length - heard <= missing, `${what}: ${heard} of ${parts.length} parts`);
}

for (const codec of CODECS) {
  for (const isSecure of [false, true]) {
    test(`${codec}${isSecure ? ', SRTP, with marker bit' : ''}: stamps that stood still in a pause`, async () => {
      for (const pauseMs of [300, 500, 900, 1100, 2000, 5000]) {
        const resumedMs = 20 + PAUSE_AT * 20 + pauseMs;
        const after = talk(60, resumedMs, PAUSE_AT * 160);
        after[0] = { ...(after[0] as Said), marker: isSecure };
        const said = [...talk(PAUSE_AT, 20, 0), ...after];
        const { pcm, stats, spurts } = await callOf({ codec, isSecure, said });
        // The line could stand still as well: so long it is waited for, and what comes is what was missing.
        const atMs = resumedMs - (pauseMs < 500 ? pauseMs : 0);
        checkHeard(partsHeard(pcm, PAUSE_AT * 20, 1200, atMs), `${pauseMs} ms`, 1);
        assert.equal(stats.late, 0, `${pauseMs} ms`);
        assert.ok(spurts <= 4, `${pauseMs} ms: ${spurts} times begun to speak`);
      }
    });
  }
}

test('stamps that stood still, and the first packet after the pause is lost, or six come at once', async () => {
  for (const pauseMs of [900, 2000]) {
    const resumedMs = 20 + PAUSE_AT * 20 + pauseMs;
    const after = talk(100, resumedMs, PAUSE_AT * 160);
    const lossy = after.map((one, i) => ({ ...one, isLost: i === 0 }));
    const lost = await callOf({ codec: 'PCMU', said: [...talk(PAUSE_AT, 20, 0), ...lossy] });
    checkHeard(partsHeard(lost.pcm, PAUSE_AT * 20, 2000, resumedMs), `${pauseMs} ms, lost`, 1);
    // An IVR fills its peer's buffer first; a line that stood still gives out all that it held.
    const early = after.map((one, i) => ({ ...one, atMs: one.atMs - Math.min(i, 5) * 20 }));
    const burst = await callOf({ codec: 'PCMU', said: [...talk(PAUSE_AT, 20, 0), ...early] });
    const parts = [0, -100].map((by) =>
      partsHeard(burst.pcm, PAUSE_AT * 20 + 200, 1800, resumedMs + 200 + by),
    );
    checkHeard(
      (parts[0] ?? []).map((isThere, i) => isThere || parts[1]?.[i] === true),
      `${pauseMs} ms, at once`,
      1,
    );
  }
});

test('a line that stood still is not taken for stamps that did: nothing of its past is heard as present', async () => {
  for (const stallMs of [400, 700, 900]) {
    const said = talk(200, 20, 0).map(({ atMs, stamp }) => ({
      atMs: atMs >= 1500 && atMs < 1500 + stallMs ? 1500 + stallMs : atMs,
      stamp,
    }));
    const { pcm } = await callOf({ codec: 'PCMU', said });
    checkHeard(partsHeard(pcm, 1500 + stallMs, 1500, 1520 + stallMs), `${stallMs} ms`, 1);
    // The last half second of what it held is heard where it belongs.
    const held = partsHeard(
      pcm,
      1500 + Math.max(100, stallMs - 400),
      300,
      1520 + Math.max(100, stallMs - 400),
    );
    assert.ok(held.every(Boolean), `${stallMs} ms: ${held.join()}`);
  }
});

test('a silence that the stamps tell is no sound: what follows is where they say', async () => {
  // 20 ms of every 40 are left out, in numbers that go on: slower than sound, as the arrivals say too.
  const said = talk(120, 20, 0, 320, 40);
  const { pcm } = await callOf({ codec: 'PCMU', said });
  for (let i = 1; i < 110; i++) {
    const packet = VOICE.subarray(i * 160, (i + 1) * 160);
    if (energyOf(packet, 0) < 160 * 1000 ** 2) continue;
    assert.ok(isHeard(packet, pcm, 160 + i * 320), `packet ${i}`);
  }
});

for (const codec of ['PCMU', 'opus'] as const) {
  for (const jumpS of [3, 60, 3600, -60]) {
    test(`${codec}: stamps that jump by ${jumpS} s`, async () => {
      const said = [...talk(75, 20, 0), ...talk(100, 1520, 75 * 160 + jumpS * 8000)];
      const { pcm, stats } = await callOf({ codec, said });
      checkHeard(partsHeard(pcm, 0, 3400, 20), 'all of it', 1);
      assert.equal(stats.lost, 0);
    });
  }

  /** Length of packets, step of their stamps, parts that are lost until the sender is known. */
  for (const [packetMs, step, missing] of [
    [20, 80, 1],
    [20, 160 + 1, 1],
    [20, 160 - 3, 1],
    [20, 320, 6],
    [20, 240, 6],
    ...(codec === 'opus' ? [] : ([[30, 160, 1]] as const)),
  ] as const) {
    test(`${codec}: stamps that count ${step} for ${packetMs} ms, with losses`, async () => {
      const all = talk(Math.floor(5000 / packetMs), 20, 0, step, packetMs);
      const said = all.map((one, i) => ({ ...one, isLost: i % 50 === 49 }));
      const { pcm, stats } = await callOf({ codec, packetMs, said });
      // What is made up for a lost packet of Opus is less like it.
      checkHeard(partsHeard(pcm, 0, 4900, 20), 'all of it', missing + (codec === 'opus' ? 5 : 0));
      assert.equal(stats.late, 0);
    });
  }

  test(`${codec}: stamps of a clock that trembles`, async () => {
    const random = seeded(3);
    const said = talk(250, 20, 0).map(({ atMs, stamp }) => ({
      ...{ atMs },
      stamp: stamp + Math.round((random() - 0.5) * 12),
    }));
    const { pcm, stats } = await callOf({ codec, said });
    checkHeard(partsHeard(pcm, 0, 4900, 20), 'all of it', 1);
    assert.ok((stats.dropped?.stray ?? 0) < 10, `${stats.dropped?.stray} strays`);
    assert.equal(stats.lost, 0);
  });

  for (const [name, said] of [
    ['from the start on', talk(200, 20, 0, 0)],
    ['from some packet on', [...talk(75, 20, 0), ...talk(125, 1520, 74 * 160, 0)]],
    [
      'for a second, and go on from there',
      [...talk(75, 20, 0), ...talk(50, 1520, 74 * 160, 0), ...talk(75, 2520, 75 * 160)],
    ],
    [
      'for a second, and go on as if not',
      [...talk(75, 20, 0), ...talk(50, 1520, 74 * 160, 0), ...talk(75, 2520, 125 * 160)],
    ],
  ] as const) {
    test(`${codec}: stamps that stand still while sound goes on, ${name}`, async () => {
      const { pcm, stats } = await callOf({ codec, said });
      checkHeard(partsHeard(pcm, 0, 3900, 20), 'all of it', 2);
      assert.equal(stats.lost, 0);
    });
  }
}
