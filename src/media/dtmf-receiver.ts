/**
 * Telephone events (RFC 4733) to digits. The time stamp names the event, so marker bits and end packets may be lost and
 * end packets repeated: each event is told exactly once.
 */

const DIGITS = '0123456789*#ABCD';
/** Without packets for this long, an event whose end packets were lost is over. */
const LOST_END_MS = 120;

export type DtmfListener = (digit: string, durationMs: number) => void;

export class DtmfReceiver {
  readonly #onDigit: DtmfListener;
  #isOpen = false;
  #timestamp = -1;
  #event = 0;
  #duration = 0;
  /** Length of earlier segments of a long event (RFC 4733 2.5.1.3). */
  #carried = 0;
  #lastPacketMs = 0;

  constructor(onDigit: DtmfListener) {
    this.#onDigit = onDigit;
  }

  /** An event is going on. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Takes a telephone-event payload; false when it is malformed. */
  packet(payload: DataView, timestamp: number, nowMs: number): boolean {
    if (payload.byteLength < 4) return false;
    const event = payload.getUint8(0);
    const isEnd = (payload.getUint8(1) & 0x80) !== 0;
    const duration = payload.getUint16(2);
    if (event >= DIGITS.length) return true;
    if (timestamp !== this.#timestamp && !this.#begin(event, timestamp)) return true;
    if (!this.#isOpen || event !== this.#event) return true;
    this.#lastPacketMs = nowMs;
    this.#duration = Math.max(this.#duration, duration);
    if (isEnd) this.#finish();
    return true;
  }

  /** Ends an event whose end packets were lost. Call it regularly. */
  tick(nowMs: number): void {
    if (this.#isOpen && nowMs - this.#lastPacketMs >= LOST_END_MS) this.#finish();
  }

  /** The stream began anew: time stamps of before mean nothing. */
  restart(): void {
    if (this.#isOpen) this.#finish();
    this.#timestamp = -1;
  }

  /** False for a packet that belongs to an event already over (reordered). */
  #begin(event: number, timestamp: number): boolean {
    if (this.#timestamp >= 0) {
      const step = (timestamp - this.#timestamp) | 0;
      if (step < 0) return false;
      if (this.#isOpen && event === this.#event && step === this.#duration && step > 0xff00) {
        this.#carried += this.#duration;
        this.#duration = 0;
        this.#timestamp = timestamp;
        return true;
      }
    }
    if (this.#isOpen) this.#finish();
    this.#isOpen = true;
    this.#timestamp = timestamp;
    this.#event = event;
    this.#duration = 0;
    this.#carried = 0;
    return true;
  }

  #finish(): void {
    this.#isOpen = false;
    this.#onDigit(DIGITS[this.#event] as string, Math.round((this.#carried + this.#duration) / 8));
  }
}
