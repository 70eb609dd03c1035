/** Notices that no RTP comes: once per silence, with one limit before the first packet and another after it. */

/** RFC 3389 sets no rate for silence descriptors: some far ends send a single one. */
const ANNOUNCED_FACTOR = 4;

export class RtpWatch {
  readonly #firstTimeoutMs: number;
  readonly #timeoutMs: number;
  #sinceMs = 0;
  #isExpecting = false;
  #toldForMs = -1;

  constructor(firstTimeoutMs: number, timeoutMs: number) {
    this.#firstTimeoutMs = firstTimeoutMs;
    this.#timeoutMs = timeoutMs;
  }

  /** Counting begins anew (call start, re-INVITE); a call on hold expects nothing. */
  restart(nowMs: number, isExpecting: boolean): void {
    this.#sinceMs = nowMs;
    this.#isExpecting = isExpecting;
    this.#toldForMs = -1;
  }

  /**
   * Milliseconds of silence when it has just become too long, else 0. `lastPacketMs` is -1 before the first packet;
   * `isAnnounced`: the other side has told that it would be silent, and longer silence is no fault of the line.
   */
  check(nowMs: number, lastPacketMs: number, isAnnounced = false): number {
    if (!this.#isExpecting) return 0;
    const fromMs = Math.max(this.#sinceMs, lastPacketMs);
    const usualMs = lastPacketMs < 0 ? this.#firstTimeoutMs : this.#timeoutMs;
    const limitMs = isAnnounced ? usualMs * ANNOUNCED_FACTOR : usualMs;
    if (nowMs - fromMs < limitMs || this.#toldForMs === fromMs) return 0;
    this.#toldForMs = fromMs;
    return nowMs - fromMs;
  }
}
