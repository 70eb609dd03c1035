/**
 * One key, told once, whatever ways it comes by: a gateway sends the event and leaves the tone in the audio, a proxy
 * adds an INFO. Presses of one digit that lie together in time and came by different ways are one press.
 */

/** `event`: RFC 4733. `signal`: SIP INFO, whose time is that of its coming. */
export type DtmfWay = 'event' | 'inband' | 'signal';

/** Presses kept for comparison: far more than anybody makes within the longest slack. */
const KEPT = 16;
/** Events and tones are in one stream: their times differ by the far end's detector and by jitter. */
const SLACK_MS = 150;
/** Signalling goes another road and may be repeated on it (RFC 3261 17.1.2: T1 + 2 T1 + 4 T1 is within it). */
const SIGNAL_SLACK_MS = 2000;

const BITS = { event: 1, inband: 2, signal: 4 } as const;

export class DtmfKeys {
  readonly #digits = new Uint16Array(KEPT);
  readonly #starts = new Float64Array(KEPT).fill(Number.NEGATIVE_INFINITY);
  readonly #ends = new Float64Array(KEPT).fill(Number.NEGATIVE_INFINITY);
  /** By which ways each has come. */
  readonly #ways = new Uint8Array(KEPT);
  #next = 0;
  #suppressed = 0;

  /** Presses not told because they had been. */
  get suppressed(): number {
    return this.#suppressed;
  }

  /** Whether this press is to be told: false when it is one that was told already. Times are call times. */
  press(digit: string, way: DtmfWay, startMs: number, endMs: number): boolean {
    const code = digit.charCodeAt(0);
    const at = this.#find(code, way, startMs, endMs);
    if (at < 0) {
      this.#keep(code, way, startMs, endMs);
      return true;
    }
    this.#suppressed++;
    this.#ways[at] = (this.#ways[at] as number) | BITS[way];
    // The whole of it: a tone in front of its event, and the rest behind it.
    this.#starts[at] = Math.min(this.#starts[at] as number, startMs);
    this.#ends[at] = Math.max(this.#ends[at] as number, endMs);
    return false;
  }

  /** Oldest first: two presses told by one way meet their two reports by the other in the same order. */
  #find(code: number, way: DtmfWay, startMs: number, endMs: number): number {
    for (let i = 0; i < KEPT; i++) {
      const at = (this.#next + i) % KEPT;
      if (this.#digits[at] !== code) continue;
      const ways = this.#ways[at] as number;
      const gapMs = Math.max(
        startMs - (this.#ends[at] as number),
        (this.#starts[at] as number) - endMs,
      );
      const isNew = (ways & BITS[way]) === 0;
      if (isNew && gapMs <= slackOf(ways | BITS[way])) return at;
      // A tone that was broken in two while its event went on.
      if (way === 'inband' && (ways & BITS.event) !== 0 && gapMs < 0) return at;
    }
    return -1;
  }

  #keep(code: number, way: DtmfWay, startMs: number, endMs: number): void {
    this.#digits[this.#next] = code;
    this.#ways[this.#next] = BITS[way];
    this.#starts[this.#next] = startMs;
    this.#ends[this.#next] = endMs;
    this.#next = (this.#next + 1) % KEPT;
  }
}

function slackOf(ways: number): number {
  return (ways & BITS.signal) === 0 ? SLACK_MS : SIGNAL_SLACK_MS;
}
