/**
 * The caller's audio from packets to those who use it: jitter buffer and concealment, given out by call time, and the
 * line that listeners in real time hear. Parts of a frame are given out as they are there; allocates nothing per frame.
 */
import { ComfortNoise } from '../codec/comfort-noise.ts';
import { Concealment, MAX_BRIDGE } from './concealment.ts';
import { EMPTY_SAMPLE, JitterBuffer } from './jitter-buffer.ts';
import { LiveLine } from './live-line.ts';
import { MEMORY } from './sound-extension.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ, type JitterReport } from '../types.ts';

const MS = SAMPLE_RATE_HZ / 1000;
/** When each frame of call time was given out, kept for 2.5 s: longer than speech takes to be known as over. */
const SLOTS = 128;

/** Takes what is heard next: 160 samples at most, valid until the call returns; `position`: call time of the first. */
export type CallerListener = (pcm: Int16Array, position: number) => void;

/** What is given out next, of whichever call; and the first n samples of it, made when first needed. */
const frame = new Int16Array(FRAME_SAMPLES);
const parts: (Int16Array | undefined)[] = [];

export class CallerAudio {
  readonly #jitter = new JitterBuffer();
  readonly #concealment = new Concealment();
  readonly #noise = new ComfortNoise();
  readonly #live = new LiveLine();
  readonly #listener: CallerListener;
  readonly #liveFrame = new Int16Array(FRAME_SAMPLES);
  readonly #givenMs = new Float64Array(SLOTS);
  readonly #after = new Int16Array(MEMORY);
  #reordered = 0;
  /** Of the packet placed last: where its sound ended, and what its time was there. */
  #end = 0;
  #endTime = 0;
  #behind = 0;

  constructor(listener: CallerListener) {
    this.#listener = listener;
  }

  get late(): number {
    return this.#jitter.late;
  }

  /** See `JitterBuffer.put`; times in samples. */
  put(
    timestamp: number,
    pcm: Int16Array,
    length: number,
    arrival: number,
    order: { readonly isNew: boolean; readonly follows: boolean },
  ): number {
    if (!order.isNew) this.#reordered++;
    const { isNew, follows } = order;
    const position = this.#jitter.put(timestamp, pcm, length, arrival, isNew, follows);
    if (!isNew) return position;
    this.#noise.audio(position);
    this.#behind = Math.max(0, arrival - position);
    this.#end = position + length;
    this.#endTime = timestamp + length;
    return position;
  }

  /** Lost samples that the packet behind them brought; `arrival` is that packet's. */
  recover(timestamp: number, pcm: Int16Array, length: number, arrival: number): void {
    this.#jitter.put(timestamp, pcm, length, arrival, false);
  }

  /** A silence descriptor (RFC 3389): from `time` on, on the scale of `put`, packets stay away. */
  describeSilence(payload: DataView, time: number): void {
    this.#noise.describe(payload, this.#end + Math.max(0, (time - this.#endTime) | 0));
  }

  /** What was put last is silence to the other side: behind it packets may stay away (DTX). */
  hearSilence(pcm: Int16Array, length: number): void {
    this.#noise.hear(pcm, length, this.#end);
  }

  /** The other side sends nothing at present, and has told so. */
  get isSilent(): boolean {
    return this.#noise.isOn;
  }

  /** How far the packet placed last came after its call time. */
  get behindMs(): number {
    return this.#behind / MS;
  }

  /** How long a missing packet is waited for. */
  get patienceMs(): number {
    return this.#jitter.target / MS;
  }

  restart(): void {
    this.#jitter.restart();
    this.#noise.restart();
  }

  /** Gives out what is due at call time `nowMs`. `isEvent`: a telephone event is going on, and audio may stand still. */
  pull(nowMs: number, isEvent: boolean): void {
    const now = nowMs * MS;
    for (;;) {
      const isAway = isEvent || this.#noise.covers(this.#jitter.readPosition);
      const count = this.#jitter.due(now, !isAway);
      if (count === 0) return;
      this.#give(count, now, isEvent);
    }
  }

  /** The call is over: gives out all that is left up to `nowMs`, waiting for nothing. */
  flush(nowMs: number): void {
    const now = Math.floor(nowMs * MS);
    for (let left = now - this.#jitter.readPosition; left > 0;) {
      this.#give(Math.min(FRAME_SAMPLES, left), now, false);
      left = now - this.#jitter.readPosition;
    }
  }

  /** The next 20 ms for those who listen in real time; valid until the next call. Once each tick while anybody does. */
  live(nowMs: number): Int16Array {
    this.#live.next(this.#liveFrame, nowMs * MS);
    return this.#liveFrame;
  }

  /** Nobody listens in real time. */
  stopLive(): void {
    this.#live.stop();
  }

  /** How long what arrived at `arrivalMs` and ended at call time `endMs` was kept here before it was given out. */
  keptMs(endMs: number, arrivalMs: number): number {
    const end = Math.round(endMs * MS);
    const newest = this.#jitter.readPosition;
    if (end > newest || newest - end > (SLOTS - 2) * FRAME_SAMPLES) return 0;
    return Math.max(0, (this.#givenMs[slotOf(end - 1)] as number) - arrivalMs);
  }

  /** Call time, in samples, of what is given out next. */
  get readPosition(): number {
    return this.#jitter.readPosition;
  }

  /** How far behind the call real-time listeners are, and how many samples nothing was there for. */
  liveLagMs(nowMs: number): number {
    return this.#live.lag(nowMs * MS) / MS;
  }

  get liveGaps(): number {
    return this.#live.madeUp;
  }

  get report(): JitterReport {
    const [jitter, live] = [this.#jitter, this.#live];
    return {
      delayMs: tenths(jitter.held / MS),
      meanDelayMs: tenths(jitter.meanHeld / MS),
      maxDelayMs: tenths(jitter.mostHeld / MS),
      targetMs: tenths(jitter.target / MS),
      reordered: this.#reordered,
      adapted: jitter.adapted,
      acceleratedMs: Math.round(jitter.removed / MS + live.acceleratedMs),
      expandedMs: Math.round(jitter.inserted / MS + live.expandedMs),
    };
  }

  /** Mean time that audio was kept here after its call time. */
  get meanDelayMs(): number {
    return this.#jitter.meanHeld / MS;
  }

  /** Times that audio was given out. */
  get heard(): number {
    return this.#jitter.heard;
  }

  get concealedMs(): number {
    return this.#concealment.concealedMs;
  }

  #give(count: number, now: number, isEvent: boolean): void {
    const position = this.#jitter.readPosition;
    const pcm = partOf(count);
    const isAway = this.#noise.covers(position);
    if (!isAway && this.#concealment.isIntact && this.#jitter.isHole) this.#bridge();
    const taken = this.#jitter.take(pcm, now);
    const isNoise = taken < count && this.#noise.fill(pcm, position);
    const present = isNoise ? countPresent(pcm) : taken;
    if (isEvent || this.#jitter.wasPause) this.#concealment.expectSilence();
    this.#concealment.fill(pcm, present);
    this.#givenMs[slotOf(position + count - 1)] = now / MS;
    this.#live.push(pcm, position, taken > 0);
    this.#listener(pcm, position);
  }

  /** A hole begins: what is behind it, as far as it has come, helps to fill it. */
  #bridge(): void {
    const count = this.#jitter.peekBehind(this.#after, MAX_BRIDGE + 1);
    if (count > 0) this.#concealment.bridge(this.#jitter.gap, this.#after, count);
  }
}

function partOf(count: number): Int16Array {
  return (parts[count] ??= frame.subarray(0, count));
}

function countPresent(pcm: Int16Array): number {
  let present = 0;
  for (let i = 0; i < pcm.length; i++) if (pcm[i] !== EMPTY_SAMPLE) present++;
  return present;
}

function slotOf(position: number): number {
  return Math.floor(position / FRAME_SAMPLES) & (SLOTS - 1);
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
