/**
 * What a media worker says of itself without a message: a beat that stops when its loop does, and how busy it is. Four
 * words of shared memory, written by the worker, read by the main thread.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';

const BEATS = 0;
const BUSY = 1;
const SESSIONS = 2;
const WORDS = 4;
/** A share of one core, in ten-thousandths. */
const BUSY_UNIT = 10_000;

export const BEAT_MS = 250;
/** Half of the newest reading, half of those before: calls come and go, a burst of packets is no load. */
const SMOOTHING = 0.5;

/** How busy a worker was when it last looked. */
export type WorkerLoad = {
  /** CPU of its thread over time passed: 1 is a whole core. */
  readonly busyShare: number;
  /** Calls it had then. */
  readonly sessions: number;
};

export class WorkerPulse {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  static create(): WorkerPulse {
    return new WorkerPulse(new SharedArrayBuffer(WORDS * 4));
  }

  /** The worker's view. */
  static attach(buffer: SharedArrayBuffer): WorkerPulse {
    return new WorkerPulse(buffer);
  }

  /** Beats so far; 0 before the worker works. Wraps; only a change means something. */
  get beats(): number {
    return Atomics.load(this.#words, BEATS);
  }

  get load(): WorkerLoad {
    return {
      busyShare: Atomics.load(this.#words, BUSY) / BUSY_UNIT,
      sessions: Atomics.load(this.#words, SESSIONS),
    };
  }

  beat({ busyShare, sessions }: WorkerLoad): void {
    Atomics.store(this.#words, BUSY, Math.round(busyShare * BUSY_UNIT));
    Atomics.store(this.#words, SESSIONS, sessions);
    Atomics.add(this.#words, BEATS, 1);
  }
}

export type PulseParts = {
  readonly pulse: WorkerPulse;
  readonly clock: Clock;
  /** CPU time of this thread so far, ms. */
  readonly cpuMs: () => number;
  readonly sessions: () => number;
};

/** Beats from now on, as long as the thread's loop turns. Returns what ends it. */
export function startPulse({ pulse, clock, cpuMs, sessions }: PulseParts): () => void {
  let busyShare = 0;
  let [atMs, usedMs] = [clock.now(), cpuMs()];
  let timer: TimerHandle;
  const beat = (): void => {
    const [nowMs, cpuNowMs] = [clock.now(), cpuMs()];
    if (nowMs > atMs) {
      const share = (cpuNowMs - usedMs) / (nowMs - atMs);
      busyShare += (Math.min(1, Math.max(0, share)) - busyShare) * SMOOTHING;
    }
    [atMs, usedMs] = [nowMs, cpuNowMs];
    pulse.beat({ busyShare, sessions: sessions() });
    timer = clock.setTimer(beat, BEAT_MS);
  };
  beat();
  return () => clock.clearTimer(timer);
}

/** Looks as often as it is asked to, and tells when a worker has not beaten for too many looks in a row. */
export class PulseWatch {
  readonly #pulse: WorkerPulse;
  readonly #maxMissed: number;
  #lastBeats = 0;
  #missed = 0;

  constructor(pulse: WorkerPulse, maxMissed: number) {
    this.#pulse = pulse;
    this.#maxMissed = maxMissed;
  }

  /** Looks without a beat in a row. Looks are counted, not time: who looks may have stood still himself. */
  get missed(): number {
    return this.#missed;
  }

  /** True when the worker has to be taken for dead. */
  look(): boolean {
    const { beats } = this.#pulse;
    this.#missed = beats === this.#lastBeats ? this.#missed + 1 : 0;
    this.#lastBeats = beats;
    return this.#missed > this.#maxMissed;
  }
}

/** What a call costs a worker that has told nothing yet, as a share of a core: about 320 calls fill one. */
const FIRST_COST = 0.003;
const MIN_COST = 0.0005;

/** Less than this is noise of the reading: then the number of calls decides, so that a death takes down few. */
const BAND = 0.25;

/** What placing a call goes by: first the band of CPU, then how many calls a worker has. */
export type Burden = { readonly band: number; readonly sessions: number };

/**
 * The burden of a worker as it is going to be: what it told, and for each call placed since then what its calls cost on
 * average. So a burst of calls is spread although no reading can have seen it yet.
 */
export function burdenOf(load: WorkerLoad, sessionsNow: number): Burden {
  const isKnown = load.sessions > 0 && load.busyShare > 0;
  const cost = isKnown ? Math.max(MIN_COST, load.busyShare / load.sessions) : FIRST_COST;
  const share = Math.max(0, load.busyShare + (sessionsNow - load.sessions) * cost);
  return { band: Math.floor(share / BAND), sessions: sessionsNow };
}

export function isLighter(one: Burden, other: Burden): boolean {
  return one.band === other.band ? one.sessions < other.sessions : one.band < other.band;
}
