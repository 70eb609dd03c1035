/** Calls as networks make them, on a simulated clock: at the end both sides of the recording are still at wire time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import type { RecordingResult } from '#media/types.ts';
import { MemoryDisk } from '../unit/_disk.ts';
import { AUDIO, PHONE, rtp, testChain } from '../unit/_media.ts';

const codes = (value: (i: number) => number): Uint8Array =>
  Uint8Array.from({ length: 160 }, (_, i) => G711.PCMU.encode[value(i) & 0xffff] ?? 0);
const QUIET = codes((i) => 200 * Math.sin((2 * Math.PI * 5 * i) / 160));
const LOUD = codes((i) => 12_000 * Math.sin((2 * Math.PI * 10 * i) / 160));
const BEEP = Int16Array.from(
  { length: 800 },
  (_, i) => 12_000 * Math.sin((2 * Math.PI * 10 * i) / 160),
);
const BEEP_PACKETS = 5;
const BEEP_EVERY_MS = 5_000;
/** How near what is heard must be to when it was on the wire: at the end, and on the way while a buffer adapts. */
const NEAR_MS = 20;
const NEAR_ON_THE_WAY_MS = 40;
/** A beep is loud from its third sample on. */
const ONSET_MS = 0.25;
/** A buffer that has just met a stall needs this long to be itself again. */
const CALM_MS = 30_000;

type Packet = { readonly sentMs: number; readonly arrivesMs: number; readonly index: number };
type Scenario = {
  readonly name: string;
  readonly minutes: number;
  /** Length of 20 ms on the sender's clock, in parts of ours. */
  readonly skewPpm?: number;
  /** Added to the way of what is sent at `ms`; null: it is never sent (its time stamp passes). */
  readonly delayOf?: (ms: number, random: () => number) => number | null;
  /** What happens to the call at `ms`. */
  readonly at?: ReadonlyMap<number, 'hold' | 'unhold' | 'pause' | 'resume' | 'reinvite'>;
  /** Beeps of the caller between these times are not judged. */
  readonly unrest?: readonly (readonly [from: number, to: number])[];
};

const minutes = (count: number): number => count * 60_000;
/** Ten stalls of three seconds, each followed by all that was held up in one burst. */
const STALLS = Array.from({ length: 10 }, (_, i) => minutes(1) + i * 6_000);
const stalled = (ms: number): number => {
  const start = STALLS.find((from) => ms >= from && ms < from + 3_000);
  return start === undefined ? 0 : start + 3_000 - ms;
};

const SCENARIOS: readonly Scenario[] = [
  { name: 'nothing happens', minutes: 3 },
  { name: 'jitter of up to 40 ms', minutes: 3, delayOf: (_, random) => random() * 40 },
  {
    name: 'thirty seconds of stalls, each with its burst',
    minutes: 4,
    delayOf: stalled,
    unrest: [[minutes(1), minutes(2) + CALM_MS]],
  },
  {
    name: 'the stalls lose what they held up',
    minutes: 4,
    delayOf: (ms) => (stalled(ms) > 0 ? null : 0),
    unrest: [[minutes(1), minutes(2) + 5_000]],
  },
  { name: 'the sender is 100 ppm fast', minutes: 20, skewPpm: 100 },
  { name: 'the sender is 100 ppm slow', minutes: 20, skewPpm: -100 },
  {
    name: 'a sender that says nothing while it is silent',
    minutes: 4,
    delayOf: (ms) => (ms % BEEP_EVERY_MS > 800 && ms % BEEP_EVERY_MS < 4_000 ? null : 0),
  },
  {
    name: 'packets lost, one of fifty',
    minutes: 3,
    delayOf: (_, random) => (random() < 0.02 ? null : random() * 20),
  },
  {
    name: 'held, taken back and re-negotiated',
    minutes: 4,
    at: new Map([
      [minutes(1) + 2_500, 'hold'],
      [minutes(1) + 12_500, 'unhold'],
      [minutes(2) + 2_500, 'reinvite'],
      [minutes(2) + 7_500, 'reinvite'],
    ]),
    unrest: [[minutes(1), minutes(1) + 20_000]],
  },
  {
    name: 'paused twice',
    minutes: 4,
    at: new Map([
      [minutes(1) + 2_500, 'pause'],
      [minutes(1) + 22_500, 'resume'],
      [minutes(2) + 2_500, 'pause'],
      [minutes(2) + 7_500, 'resume'],
    ]),
  },
];

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function packetsOf({ minutes: count, skewPpm = 0, delayOf }: Scenario): Packet[] {
  const random = randomFrom(20_261_121);
  const packets: Packet[] = [];
  const tickMs = 20 / (1 + skewPpm / 1e6);
  for (let index = 0; index * tickMs < minutes(count); index++) {
    const sentMs = index * tickMs;
    const delayMs = delayOf === undefined ? 0 : delayOf(sentMs, random);
    if (delayMs !== null) packets.push({ sentMs, arrivesMs: sentMs + delayMs, index });
  }
  return packets.sort((a, b) => a.arrivesMs - b.arrivesMs);
}

type Played = {
  readonly recording: RecordingResult;
  readonly disk: MemoryDisk;
  /** When the beeps of either side were on the wire, call ms. */
  readonly beeps: { readonly caller: number[]; readonly agent: number[] };
  readonly cuts: [from: number, to: number][];
};

async function play(scenario: Scenario): Promise<Played> {
  const disk = new MemoryDisk();
  const call = testChain({ disk, isSpeech: () => false, rtpTimeoutMs: 60_000 });
  call.transport.keep = false;
  const startMs = call.clock.now();
  call.chain.start(AUDIO);
  const beeps = { caller: [] as number[], agent: [] as number[] };
  const cuts: [number, number][] = [];
  const packets = packetsOf(scenario);
  let next = 0;
  let utterance = 0;
  let isHeld = false;
  for (let ms = 0; ms < minutes(scenario.minutes); ms += 10) {
    act(scenario.at?.get(ms));
    for (let packet = packets[next]; packet !== undefined && packet.arrivesMs < ms + 10;) {
      call.clock.advance(Math.max(0, packet.arrivesMs - (call.clock.now() - startMs)));
      arrive(packet);
      packet = packets[++next];
    }
    call.clock.advance(Math.max(0, ms + 10 - (call.clock.now() - startMs)));
    if (ms % BEEP_EVERY_MS === 2_000 && !isHeld) await beep();
    if (ms % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    call.callerRing.skipTo(call.callerRing.written);
  }
  for (const event of call.events) {
    if (event.type === 'playout.started') beeps.agent.push(event.atMs);
  }
  const { recording } = await call.chain.close();
  assert.ok(recording !== null);
  return { recording, disk, beeps, cuts };

  function arrive({ sentMs, index }: Packet): void {
    const isBeep = sentMs % BEEP_EVERY_MS < BEEP_PACKETS * 20 && sentMs >= 20;
    if (isBeep && sentMs % BEEP_EVERY_MS < 20) beeps.caller.push(sentMs);
    const fields = { sequence: index, timestamp: index * 160, payload: isBeep ? LOUD : QUIET };
    call.transport.listener?.(rtp(fields), PHONE.address, PHONE.port);
  }

  async function beep(): Promise<void> {
    call.writer.begin(++utterance);
    await call.writer.write(utterance, BEEP);
    call.writer.end(utterance);
  }

  function act(what: 'hold' | 'unhold' | 'pause' | 'resume' | 'reinvite' | undefined): void {
    const nowMs = call.clock.now() - startMs;
    if (what === 'hold' || what === 'unhold') {
      isHeld = what === 'hold';
      call.chain.start({ ...AUDIO, send: !isHeld, receive: !isHeld });
    }
    if (what === 'reinvite') call.chain.start({ ...AUDIO });
    if (what === 'pause') {
      call.chain.recording.pause();
      cuts.push([nowMs, Number.POSITIVE_INFINITY]);
    }
    const cut = cuts.at(-1);
    if (what === 'resume' && cut !== undefined) {
      call.chain.recording.resume();
      cut[1] = nowMs;
    }
  }
}

/** Where in the file call time `ms` is; null when it was cut out. */
function placeOf(ms: number, cuts: Played['cuts']): number | null {
  if (cuts.some(([from, to]) => ms >= from - 200 && ms < to + 200)) return null;
  return cuts.reduce(
    (place, [, to], at) => (ms >= to ? place - (to - (cuts[at]?.[0] ?? 0)) : place),
    ms,
  );
}

/** The first loud sample within half a second of `ms`, as ms; NaN when there is none. */
function onset(pcm: Int16Array, ms: number): number {
  const from = Math.max(0, Math.round((ms - 500) * 8));
  const found = pcm.subarray(from, Math.round((ms + 500) * 8)).findIndex((x) => Math.abs(x) > 5000);
  return found < 0 ? Number.NaN : (from + found) / 8;
}

for (const scenario of SCENARIOS) {
  test(`the recording keeps to wire time: ${scenario.name}`, async () => {
    const { recording, disk, beeps, cuts } = await play(scenario);
    assert.equal(recording.truncated, false);
    const cutMs = cuts.reduce((sum, [from, to]) => sum + to - from, 0);
    const callMs = minutes(scenario.minutes) - cutMs;
    assert.ok(Math.abs(recording.durationMs - callMs) <= NEAR_MS, `${recording.durationMs} ms`);
    const off: Record<'caller' | 'agent', number[]> = { caller: [], agent: [] };
    for (const side of ['caller', 'agent'] as const) {
      const pcm = disk.channel(side === 'caller' ? 0 : 1);
      for (const wireMs of beeps[side]) {
        const place = placeOf(wireMs, cuts);
        if (place === null) continue;
        const isUnrest = (scenario.unrest ?? []).some(
          ([from, to]) => wireMs >= from && wireMs < to,
        );
        if (isUnrest) continue;
        const error = onset(pcm, place) - ONSET_MS - place;
        off[side].push(error);
        assert.ok(Math.abs(error) <= NEAR_ON_THE_WAY_MS, `${side} at ${wireMs} ms: ${error} off`);
      }
      const last = off[side].slice(-3);
      assert.ok(
        last.every((error) => Math.abs(error) <= NEAR_MS),
        `${side}: ${last.join()} ms off`,
      );
      assert.ok(off[side].length >= 12, `${side}: ${off[side].length} beeps`);
    }
    const apart = (off.caller.at(-1) ?? 0) - (off.agent.at(-1) ?? 0);
    assert.ok(Math.abs(apart) <= NEAR_MS, `the sides are ${apart} ms apart at the end`);
  });
}
