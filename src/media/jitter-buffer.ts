/**
 * Caller audio between arrival and use: a window of samples addressed by call time. Packets are written where their RTP
 * time stamp says, so reordering and any packet length come for free; holes stay marked until they are read.
 *
 * Call time of a packet is when it arrived if the network had no jitter; the reader runs `depthMs` behind.
 */

export type JitterBufferOptions = {
  readonly depthMs?: number;
  /** Lateness the buffer adapts to beyond its depth. */
  readonly maxExtraMs?: number;
};

/** Not a value any decoder produces: G.711 stays within +-32,256, others are clamped to -32,767. */
export const EMPTY_SAMPLE = -32_768;

const UNITS_PER_MS = 8;
/** Speech detection looks at packets on arrival, so depth costs no reaction time; 60 ms ride out a phone's stalls. */
const DEFAULT_DEPTH_MS = 60;
const WINDOW = 8192;
const MASK = WINDOW - 1;
/** Time stamps further off than this from the arrival time have jumped (a new source, a broken clock). */
const MAX_AHEAD = 400 * UNITS_PER_MS;
const MAX_BEHIND = 1000 * UNITS_PER_MS;
const STEP = 20 * UNITS_PER_MS;
/** Late packets within the window that call for more delay: one stall of a sender does not. */
const MANY_LATE = 5;
const GROW_WINDOW = 2000 * UNITS_PER_MS;
const SHRINK_WINDOW = 10_000 * UNITS_PER_MS;
/** In-order packets late for this long mean that the path got longer, not that a burst was held up. */
const LATE_RUN = 200 * UNITS_PER_MS;

export class JitterBuffer {
  readonly depth: number;
  readonly #maxExtra: number;
  readonly #samples = new Int16Array(WINDOW).fill(EMPTY_SAMPLE);
  #readPosition = 0;
  #hasBase = false;
  #lastTimestamp = 0;
  #lastPosition = 0;
  #extra = 0;
  #late = 0;
  #jumps = 0;
  #adapted = 0;
  #lateInWindow = 0;
  #growSince = 0;
  #lateRunSince = -1;
  #lateRunLeast = 0;
  #shrinkSince = 0;
  #leastSlack = WINDOW;

  constructor(options: JitterBufferOptions = {}) {
    this.depth = (options.depthMs ?? DEFAULT_DEPTH_MS) * UNITS_PER_MS;
    this.#maxExtra = (options.maxExtraMs ?? 100) * UNITS_PER_MS;
  }

  /** Call time, in samples, of the next sample to be read. */
  get readPosition(): number {
    return this.#readPosition;
  }

  /** Packets that came after their time had been read. */
  get late(): number {
    return this.#late;
  }

  /** Times the time stamps jumped and the stream was placed anew. */
  get jumps(): number {
    return this.#jumps;
  }

  /** Times the delay was changed to follow the network or the sender's clock. */
  get adapted(): number {
    return this.#adapted;
  }

  /** Forgets where the stream is placed: the next packet is placed by its arrival. */
  restart(): void {
    this.#hasBase = false;
  }

  /**
   * Writes a packet's samples; `arrival` is its call time in samples, `inOrder` false for a reordered one.
   * Returns the call time of its first sample.
   */
  put(
    timestamp: number,
    pcm: Int16Array,
    length: number,
    arrival: number,
    inOrder: boolean,
  ): number {
    const position = this.#place(timestamp, arrival, inOrder);
    const slack = position + this.depth - arrival;
    if (position + length <= this.#readPosition) this.#late++;
    if (inOrder) this.#adapt(slack, arrival);
    const from = Math.max(0, this.#readPosition - position);
    const to = Math.min(length, this.#readPosition + WINDOW - position);
    for (let i = from; i < to; i++) this.#samples[(position + i) & MASK] = pcm[i] as number;
    return position;
  }

  /** Reads `into.length` samples, EMPTY_SAMPLE where none came; returns how many were there. */
  take(into: Int16Array): number {
    let present = 0;
    for (let i = 0; i < into.length; i++) {
      const at = (this.#readPosition + i) & MASK;
      const sample = this.#samples[at] as number;
      into[i] = sample;
      if (sample === EMPTY_SAMPLE) continue;
      present++;
      this.#samples[at] = EMPTY_SAMPLE;
    }
    this.#readPosition += into.length;
    return present;
  }

  #place(timestamp: number, arrival: number, inOrder: boolean): number {
    const step = (timestamp - this.#lastTimestamp) | 0;
    let position = this.#lastPosition + step;
    const ahead = position - arrival;
    const jumped = ahead > MAX_AHEAD || ahead < -MAX_BEHIND;
    if (!this.#hasBase || (jumped && inOrder)) {
      if (this.#hasBase) this.#jumps++;
      this.#hasBase = true;
      position = arrival;
      this.#resetWindows(arrival);
      this.#extra = 0;
    } else if (jumped || step < 0) {
      return position;
    }
    this.#lastTimestamp = timestamp;
    this.#lastPosition = position;
    return position;
  }

  /** Grows after repeated or lasting lateness, shrinks when ten seconds had time to spare. */
  #adapt(slack: number, arrival: number): void {
    this.#leastSlack = Math.min(this.#leastSlack, slack);
    if (slack < 0) {
      if (arrival - this.#growSince > GROW_WINDOW) {
        this.#growSince = arrival;
        this.#lateInWindow = 0;
      }
      this.#lateInWindow++;
      this.#lateRunLeast = this.#lateRunSince < 0 ? -slack : Math.min(this.#lateRunLeast, -slack);
      if (this.#lateRunSince < 0) this.#lateRunSince = arrival;
      if (arrival - this.#lateRunSince >= LATE_RUN) this.#shift(this.#lateRunLeast + STEP, arrival);
      else if (this.#lateInWindow === MANY_LATE && this.#extra < this.#maxExtra)
        this.#shift(STEP, arrival);
      return;
    }
    this.#lateRunSince = -1;
    if (arrival - this.#shrinkSince < SHRINK_WINDOW) return;
    const spare = this.#leastSlack - this.depth;
    if (spare > STEP / 2) this.#shift(-Math.min(STEP, spare), arrival);
    else this.#resetWindows(arrival);
  }

  #shift(units: number, arrival: number): void {
    this.#lastPosition += units;
    this.#extra = Math.max(0, this.#extra + units);
    this.#adapted++;
    this.#resetWindows(arrival);
  }

  #resetWindows(arrival: number): void {
    this.#lateInWindow = 0;
    this.#growSince = arrival;
    this.#lateRunSince = -1;
    this.#shrinkSince = arrival;
    this.#leastSlack = WINDOW;
  }
}
