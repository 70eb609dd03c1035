/**
 * Telephone events (RFC 4733) to digits. The time stamp names the event, so marker bits and end packets may be lost and
 * end packets repeated: each event is told exactly once. Begin, middle or end of it may be missing.
 */
import { DTMF_DIGITS } from './dtmf-tones.ts';

/** Without packets for this long, an event whose end packets were lost is over. */
const LOST_END_MS = 120;
/** The same when audio has come meanwhile; updates come every 20 to 50 ms (RFC 4733 2.5.1.2). */
const LOST_END_WITH_AUDIO_MS = 70;
/** A time stamp before that of the last event is a packet out of order for this long; then it is another clock. */
const REORDER_MS = 1000;
/** A segment of a long event ends about here (2.5.1.3): senders stop at a whole packet, the last may be lost. */
const LONG_SEGMENT = 0xe000;
const LEAST_STEP = 0xff00;
const MOST_STEP = 0xffff;

/** `startMs`, on the clock: when its first packet came; its end is now. */
export type DtmfListener = (digit: string, durationMs: number, startMs: number) => void;

export class DtmfReceiver {
  readonly #onDigit: DtmfListener;
  #unitsPerMs = 8;
  #isOpen = false;
  /** Whether the last event was ended by its sender, not given up. */
  #isEnded = false;
  #timestamp = -1;
  #event = 0;
  #duration = 0;
  /** Length of earlier segments of a long event (RFC 4733 2.5.1.3). */
  #carried = 0;
  #startMs = 0;
  #lastPacketMs = 0;

  constructor(onDigit: DtmfListener) {
    this.#onDigit = onDigit;
  }

  /** An event is going on. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Durations are counted in units of the codec's clock (RFC 4733 2.5.1.2): 8000 or 48000. */
  negotiate(clockHz = 8000): void {
    this.#unitsPerMs = clockHz / 1000;
  }

  /** Takes a telephone-event payload; false when it is malformed. */
  packet(payload: DataView, timestamp: number, nowMs: number): boolean {
    if (payload.byteLength < 4) return false;
    const event = payload.getUint8(0);
    const isEnd = (payload.getUint8(1) & 0x80) !== 0;
    const duration = payload.getUint16(2);
    if (event >= DTMF_DIGITS.length) return true;
    if (!this.#belongs(event, timestamp, nowMs)) return true;
    this.#lastPacketMs = nowMs;
    if (!this.#isOpen) return true;
    this.#duration = Math.max(this.#duration, duration);
    if (isEnd) this.#finish(true);
    return true;
  }

  /** Audio has come: an event that is not told of any more is over sooner. */
  audio(nowMs: number): void {
    if (this.#isOpen && nowMs - this.#lastPacketMs >= LOST_END_WITH_AUDIO_MS) this.#finish(false);
  }

  /** Ends an event whose end packets were lost. Call it regularly. */
  tick(nowMs: number): void {
    if (this.#isOpen && nowMs - this.#lastPacketMs >= LOST_END_MS) this.#finish(false);
  }

  /** The stream began anew: time stamps of before mean nothing. */
  restart(): void {
    if (this.#isOpen) this.#finish(false);
    this.#timestamp = -1;
  }

  /** Whether the packet is of the latest event, a new one included; not of one before it (reordered). */
  #belongs(event: number, timestamp: number, nowMs: number): boolean {
    if (this.#timestamp < 0) return this.#begin(event, timestamp, nowMs);
    if (timestamp === this.#timestamp) {
      // Some senders do not move the time stamp from key to key.
      return event === this.#event || this.#begin(event, timestamp, nowMs);
    }
    const step = (timestamp - this.#timestamp) | 0;
    if (step < 0 && nowMs - this.#lastPacketMs < REORDER_MS) return false;
    if (this.#isNextSegment(event, step)) {
      this.#carried += step;
      this.#duration = 0;
      this.#timestamp = timestamp;
      return true;
    }
    return this.#begin(event, timestamp, nowMs);
  }

  /** Also of an event that was given up for want of packets, and told: it is not told again. */
  #isNextSegment(event: number, step: number): boolean {
    return (
      !this.#isEnded &&
      event === this.#event &&
      this.#duration >= LONG_SEGMENT &&
      step >= Math.max(LEAST_STEP, this.#duration) &&
      step <= MOST_STEP
    );
  }

  #begin(event: number, timestamp: number, nowMs: number): true {
    if (this.#isOpen) this.#finish(false);
    this.#isOpen = true;
    this.#isEnded = false;
    this.#timestamp = timestamp;
    this.#event = event;
    this.#duration = 0;
    this.#carried = 0;
    this.#startMs = nowMs;
    return true;
  }

  #finish(isEnded: boolean): void {
    this.#isOpen = false;
    this.#isEnded = isEnded;
    const units = this.#carried + this.#duration;
    const durationMs = Math.round(units / this.#unitsPerMs);
    this.#onDigit(DTMF_DIGITS[this.#event] as string, durationMs, this.#startMs);
  }
}
