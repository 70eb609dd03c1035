/**
 * The caller's audio from packets to those who use it: jitter buffer and concealment, given out by call time, and the
 * line that listeners in real time hear. Parts of a frame are given out as they are there; allocates nothing per frame.
 */
import { ComfortNoise } from '../codec/comfort-noise.ts';
import { Concealment, MAX_BRIDGE } from './concealment.ts';
import { EMPTY_SAMPLE, JitterBuffer, KEPT } from './jitter-buffer.ts';
import { LiveLine } from './live-line.ts';
import { MEMORY } from './sound-extension.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ, type JitterReport } from '../types.ts';

const MS = SAMPLE_RATE_HZ / 1000;
/** When each frame of call time was given out, kept for 2.5 s: longer than speech takes to be known as over. */
const SLOTS = 128;

/** An object rather than a function: of a function for each call, every frame would have to touch two objects more. */
export type CallerListener = {
  /** What is heard next: 160 samples at most, valid until the call returns; `position`: call time of the first. */
  given(pcm: Int16Array, position: number): void;
};

/** What is given out next, of whichever call; and the first n samples of it, made when first needed. */
const frame = new Int16Array(FRAME_SAMPLES);
const parts: (Int16Array | undefined)[] = [];
const liveFrame = new Int16Array(FRAME_SAMPLES);
/** The sound of the packet at hand alone, while packets are of one length and decoded to one place. */
let packet: Int16Array = frame;
let packetOf: Int16Array = frame;
/** What is there behind a hole. */
const after = new Int16Array(MEMORY);

export class CallerAudio {
  readonly #jitter = new JitterBuffer();
  readonly #listener: CallerListener;
  /** Of the packet placed last: where its sound began and ended, when it came, and what its time was at the end. */
  #start = 0;
  #end = 0;
  #arrival = 0;
  #endTime = 0;
  /** No hole is open, and nothing was made up that is still to be led back. */
  #isWhole = false;
  /** The other side has told at some time that it sends nothing in silence. */
  #hasSilence = false;
  #hasLive = false;
  /** Something of what was given out last had come. */
  #wasThere = false;
  #reordered = 0;
  readonly #concealment = new Concealment(this.#jitter);
  readonly #noise = new ComfortNoise();
  /** Made when somebody listens in real time. */
  #live: LiveLine | null = null;
  /** Frames that were not given out as they came, and when they were, in samples. */
  readonly #lateFrames = new Int32Array(SLOTS).fill(-1);
  readonly #lateGiven = new Int32Array(SLOTS);

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
    if (this.#hasSilence) this.#noise.audio(position);
    this.#start = position;
    this.#end = position + length;
    this.#arrival = arrival;
    this.#endTime = (timestamp + length) | 0;
    return position;
  }

  /** Lost samples that the packet behind them brought; `arrival` is that packet's. */
  recover(timestamp: number, pcm: Int16Array, length: number, arrival: number): void {
    this.#jitter.put(timestamp, pcm, length, arrival, false);
  }

  /** A silence descriptor (RFC 3389): from `time` on, on the scale of `put`, packets stay away. */
  describeSilence(payload: DataView, time: number): void {
    this.#hasSilence = true;
    this.#noise.describe(payload, this.#end + Math.max(0, (time - this.#endTime) | 0));
  }

  /** What was put last is silence to the other side: behind it packets may stay away (DTX). */
  hearSilence(pcm: Int16Array, length: number): void {
    this.#hasSilence = true;
    this.#noise.hear(pcm, length, this.#end);
  }

  /** The other side sends nothing at present, and has told so. */
  get isSilent(): boolean {
    return this.#hasSilence && this.#noise.isOn;
  }

  /** How far the packet placed last came after its call time. */
  get behindMs(): number {
    return Math.max(0, this.#arrival - this.#start) / MS;
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
    this.#giveDue(Math.floor(nowMs * MS), isEvent);
  }

  /**
   * The same when the packet placed last, `pcm`, has come: it is given out while all it touches is still at hand. Not where
   * its place is a guess that the packets behind it, if they come at once, will correct.
   */
  pullArrived(pcm: Int16Array, length: number, isEvent: boolean): void {
    const jitter = this.#jitter;
    if (jitter.isGuess) return;
    const isNext =
      this.#isWhole && length <= FRAME_SAMPLES && jitter.isAllThere(this.#start, length);
    if (isNext && this.#start <= this.#arrival)
      this.#giveOut(soundOf(pcm, length), length, this.#arrival);
    else this.#giveDue(this.#arrival, isEvent);
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
    const live = (this.#live ??= new LiveLine());
    if (!this.#hasLive) {
      this.#hasLive = true;
      const past = new Int16Array(KEPT);
      this.#jitter.copyPast(past, KEPT);
      live.push(past, this.#jitter.readPosition - KEPT, this.#wasThere);
    }
    live.next(liveFrame, nowMs * MS);
    return liveFrame;
  }

  /** Nobody listens in real time. */
  stopLive(): void {
    if (!this.#hasLive) return;
    this.#hasLive = false;
    this.#live?.stop();
  }

  /** How long what arrived at `arrivalMs` and ended at call time `endMs` was kept here before it was given out. */
  keptMs(endMs: number, arrivalMs: number): number {
    const end = Math.round(endMs * MS);
    const newest = this.#jitter.readPosition;
    if (end > newest || newest - end > (SLOTS - 2) * FRAME_SAMPLES) return 0;
    const at = frameOf(end - 1);
    if (this.#lateFrames[at & (SLOTS - 1)] !== at) return 0;
    return Math.max(0, (this.#lateGiven[at & (SLOTS - 1)] as number) / MS - arrivalMs);
  }

  /** Call time, in samples, of what is given out next. */
  get readPosition(): number {
    return this.#jitter.readPosition;
  }

  /** How far behind the call real-time listeners are, and how many samples nothing was there for. */
  liveLagMs(nowMs: number): number {
    return (this.#live?.lag(nowMs * MS) ?? 0) / MS;
  }

  get liveGaps(): number {
    return this.#live?.madeUp ?? 0;
  }

  get report(): JitterReport {
    const jitter = this.#jitter;
    const { acceleratedMs = 0, expandedMs = 0 } = this.#live ?? {};
    return {
      delayMs: tenths(jitter.held / MS),
      meanDelayMs: tenths(jitter.meanHeld / MS),
      maxDelayMs: tenths(jitter.mostHeld / MS),
      targetMs: tenths(jitter.target / MS),
      reordered: this.#reordered,
      adapted: jitter.adapted,
      acceleratedMs: Math.round(jitter.removed / MS + acceleratedMs),
      expandedMs: Math.round(jitter.inserted / MS + expandedMs),
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

  #giveDue(now: number, isEvent: boolean): void {
    for (;;) {
      const isAway = isEvent || this.#isSilence();
      const count = this.#jitter.due(now, !isAway);
      if (count === 0) return;
      this.#give(count, now, isEvent);
    }
  }

  #give(count: number, now: number, isEvent: boolean): void {
    const position = this.#jitter.readPosition;
    const pcm = partOf(count);
    const taken = this.#jitter.look(pcm);
    if (taken < count || !this.#isWhole) this.#mend(pcm, taken, position, isEvent);
    if (position < this.#start || now !== this.#arrival) this.#noteLate(position + count - 1, now);
    this.#giveOut(pcm, taken, now);
  }

  #giveOut(pcm: Int16Array, taken: number, now: number): void {
    const position = this.#jitter.readPosition;
    this.#jitter.pass(pcm.length, taken, now);
    this.#wasThere = taken > 0;
    if (this.#hasLive) this.#live?.push(pcm, position, taken > 0);
    this.#listener.given(pcm, position);
  }

  /** Fills what is missing in a frame of which `taken` samples came, or leads back from what was made up. */
  #mend(pcm: Int16Array, taken: number, position: number, isEvent: boolean): void {
    const jitter = this.#jitter;
    const concealment = this.#concealment;
    if (concealment.isIntact && jitter.isHole && !this.#isSilence()) this.#bridge();
    const isNoise = taken < pcm.length && this.#hasSilence && this.#noise.fill(pcm, position);
    const present = isNoise ? countPresent(pcm) : taken;
    if (isEvent || jitter.isPause) concealment.expectSilence();
    concealment.fill(pcm, present);
    this.#isWhole = concealment.isAtRest;
  }

  /** Whether what is missing at the place to be read is silence. */
  #isSilence(): boolean {
    return this.#hasSilence && this.#noise.covers(this.#jitter.readPosition);
  }

  #noteLate(position: number, now: number): void {
    const at = frameOf(position);
    this.#lateFrames[at & (SLOTS - 1)] = at;
    this.#lateGiven[at & (SLOTS - 1)] = now;
  }

  /** A hole begins: what is behind it, as far as it has come, helps to fill it. */
  #bridge(): void {
    const count = this.#jitter.peekBehind(after, MAX_BRIDGE + 1);
    if (count > 0) this.#concealment.bridge(this.#jitter.gap, after, count);
  }
}

function partOf(count: number): Int16Array {
  return (parts[count] ??= frame.subarray(0, count));
}

function soundOf(pcm: Int16Array, length: number): Int16Array {
  if (packetOf !== pcm || packet.length !== length) {
    packetOf = pcm;
    packet = pcm.subarray(0, length);
  }
  return packet;
}

function countPresent(pcm: Int16Array): number {
  let present = 0;
  for (let i = 0; i < pcm.length; i++) if (pcm[i] !== EMPTY_SAMPLE) present++;
  return present;
}

function frameOf(position: number): number {
  return Math.floor(position / FRAME_SAMPLES);
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
